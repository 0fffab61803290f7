//! Errors that Sentry reports: from the first spike to an error that stays gone, each effect once; or no effect at all.

use serde_json::Value;
use workflows::contract::status::{Stage, TicketStatus};
use world::jira::Failure;
use world::samples;
use world::sentry::{NewError, Status};

use crate::scene::{REPOSITORY, STAGE, Scene, play};

/// The ticket that the error becomes: the project's next number.
const BUG: &str = "SHOP-2";
/// Seconds where production has a day.
const POLICY: &str = "[policy.sentry]\nquiet_seconds = 4\nsettle_seconds = 1\n[policy.sentry.projects]\nshop-api = \"SHOP\"\nbilling = \"BILL\"\n";

impl Scene {
    /// Sentry reports to this product, and the model knows what to say about the sample error.
    async fn with_sentry() -> anyhow::Result<Self> {
        let scene = Self::start(POLICY).await?;
        scene.stack.world.bedrock.set_script(samples::script("sentry")?);
        scene.observer.wait_until_ready(STAGE).await?;
        Ok(scene)
    }

    /// What the schedule does every hour, now.
    async fn sweep(&self) -> anyhow::Result<()> {
        let namespace = &self.stack.namespace;
        self.cli(&["schedule", "trigger", "-n", namespace, "--schedule-id", "sentry-sweep"]).await
    }

    /// Waits until so many sweeps are over.
    async fn swept(&self, times: usize) -> anyhow::Result<()> {
        let over = "WorkflowType = 'sentry_sweep' AND ExecutionStatus = 'Completed'";
        self.eventually("the sweeps are over", async || Ok(self.observer.runs(over).await?.len() >= times)).await
    }

    /// Waits until this run of the error is over, and says in its own words how it ended.
    async fn looked_after(&self, issue: &str, runs: usize) -> anyhow::Result<String> {
        let id = format!("sentry-{issue}");
        let over = format!("WorkflowId = '{id}' AND ExecutionStatus = 'Completed'");
        self.eventually(&format!("{id} is over"), async || Ok(self.observer.runs(&over).await?.len() >= runs)).await?;
        Ok(self.observer.error_status(&id).await?.doing)
    }

    async fn bug_in(&self, stage: Stage) -> anyhow::Result<TicketStatus> {
        self.observer.wait_for_stage(BUG, stage, STAGE).await
    }

    async fn bug_presented(&self) -> anyhow::Result<TicketStatus> {
        let presented =
            |status: &TicketStatus| status.stage == Stage::ReadyForReview && self.bug_status() == "In Review";
        self.observer.wait_for(BUG, "ready for review, everyone told", STAGE, presented).await
    }

    fn bug_status(&self) -> String {
        self.stack.world.jira.issue(BUG).map(|bug| bug.status).unwrap_or_default()
    }

    fn reports(&self) -> Vec<world::slack::Message> {
        self.stack.world.slack.messages("#errors")
    }

    async fn merge(&self) -> anyhow::Result<()> {
        let github = &self.stack.world.github;
        let open = github.pull_requests(REPOSITORY).into_iter().find(|pr| pr.state == "open");
        github.merge_pull_request(REPOSITORY, open.expect("a pull request").number, "bo").await.map(|_| ())
    }

    /// How often the bug was told that the error is back.
    fn evidence(&self) -> usize {
        let comments = self.effects("jira", "comment.created");
        comments.iter().filter(|comment| comment.detail.to_string().contains("It is back")).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spike_is_one_bug_one_pull_request_and_gone_and_evidence_when_it_is_back() {
    let scene = Scene::with_sentry().await.unwrap();
    play(&scene, mended(&scene).await).await;
}

async fn mended(scene: &Scene) -> anyhow::Result<()> {
    let world = &scene.stack.world;
    let issue = world.sentry.create_issue(samples::error());
    world.sentry.report_events(&issue, 3, 1);
    scene.sweep().await?;
    scene.bug_in(Stage::AwaitingApproval).await?;
    scene.swept(1).await?;
    assert_reported(scene, &issue);

    scene.click("ana", "approve").await?;
    let ready = scene.bug_presented().await?;
    assert_eq!((ready.tasks_done, ready.tasks), (1, 1), "{ready:?}");
    let pull_request = world.github.pull_requests(REPOSITORY).remove(0);
    let checks = world.github.checks(REPOSITORY, &pull_request.head_sha);
    assert!(!checks.is_empty() && checks.iter().all(|check| check.conclusion.as_deref() == Some("success")));
    scene.merge().await?;
    scene
        .eventually("it is quiet", async || Ok(world.sentry.issue(&issue).unwrap().status == Status::Resolved))
        .await?;
    assert_eq!(scene.looked_after(&issue, 1).await?, format!("stayed gone after {BUG}: resolved in Sentry"));
    let thread = world.slack.thread("#errors", &scene.reports()[0].ts);
    assert!(thread.last().unwrap().text.contains("stayed gone after the merge"), "{thread:#?}");
    assert_eq!(scene.runs_of(BUG).await?, 1, "Jira's own webhook joined the run");
    assert!(world.bedrock.unused_turns().is_empty());
    assert_no_personal_data(scene);
    scene.assert_once();

    // Weeks later a new release has it again: webhooks and sweep tell of it, the same ticket gets the evidence once.
    world.bedrock.set_script(samples::script("sentry")?);
    world.sentry.deploy(&issue, "shop-api@1.6.0");
    world.sentry.report_events(&issue, 12, 2);
    scene.sweep().await?;
    scene.eventually("the ticket has a second run", async || Ok(scene.runs_of(BUG).await? == 2)).await?;
    scene.bug_in(Stage::AwaitingApproval).await?;
    scene.swept(2).await?;
    assert_eq!((scene.evidence(), world.jira.issues().len()), (1, 2), "evidence once, no second bug");
    assert_eq!(scene.observer.runs(&format!("WorkflowId = 'sentry-{issue}'")).await?.len(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_has_the_error_again_is_evidence_and_what_a_person_ends_stays_so() {
    let scene = Scene::with_sentry().await.unwrap();
    play(&scene, back_again(&scene).await).await;
}

async fn back_again(scene: &Scene) -> anyhow::Result<()> {
    let world = &scene.stack.world;
    let issue = world.sentry.create_issue(samples::error());
    let run = format!("sentry-{issue}");
    scene.bug_in(Stage::AwaitingApproval).await?;
    scene.click("ana", "approve").await?;
    scene.bug_presented().await?;
    scene.merge().await?;
    let doing =
        async |what: &str| Ok(scene.observer.error_status(&run).await.is_ok_and(|status| status.doing.contains(what)));
    scene.eventually("it waits for quiet", async || doing("waiting whether the error stays gone").await).await?;
    // What is still in production says nothing; what was released since does.
    world.sentry.report_events(&issue, 3, 1);
    world.bedrock.set_script(samples::script("sentry")?);
    world.sentry.deploy(&issue, "shop-api@1.4.3");
    world.sentry.report_events(&issue, 1, 1);
    scene.eventually("the ticket has a second run", async || Ok(scene.runs_of(BUG).await? == 2)).await?;
    scene.bug_in(Stage::AwaitingApproval).await?;
    assert_eq!((scene.evidence(), world.jira.issues().len()), (1, 2), "evidence once, no second bug");

    scene.signal_ticket_by_cli(BUG, "reject", Some(r#"{"by":"ana"}"#)).await?;
    scene.eventually("the end is noticed", async || doing("SHOP-2 ended rejected: not mended").await).await?;
    scene.sweep().await?;
    scene.swept(1).await?;
    world.sentry.resolve(&issue);
    let end = "it is not open in Sentry any more: nothing to do";
    assert_eq!(scene.looked_after(&issue, 1).await?, end);
    assert_eq!((scene.evidence(), scene.runs_of(BUG).await?, world.jira.issues().len()), (1, 2, 2));
    assert_eq!(scene.observer.runs(&format!("WorkflowId = '{run}'")).await?.len(), 1, "the sweep joined it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_jira_lacks_is_told_once_and_reported_when_it_is_there() {
    let scene = Scene::with_sentry().await.unwrap();
    play(&scene, refused(&scene).await).await;
}

async fn refused(scene: &Scene) -> anyhow::Result<()> {
    let world = &scene.stack.world;
    let mut error = samples::error();
    "billing".clone_into(&mut error.project);
    let issue = world.sentry.create_issue(error);
    scene.eventually("people are told", async || Ok(!scene.reports().is_empty())).await?;
    world.sentry.report_events(&issue, 5, 1);
    scene.sweep().await?;
    scene.swept(1).await?;
    assert!(scene.reports()[0].text.contains("No ticket:"), "{}", scene.reports()[0].text);
    assert_eq!(scene.paid_turns(), 0, "nothing is paid for before Jira can be asked");
    world.jira.add_project("BILL", "Billing");
    scene.looked_after(&issue, 1).await?;
    scene.sweep().await?;
    scene.eventually("the bug is reported", async || Ok(world.jira.issue("BILL-1").is_some())).await?;
    scene.eventually("it is handed over", async || Ok(scene.runs_of("BILL-1").await? == 1)).await?;
    assert_eq!(scene.effects("jira", "issue.created").len(), 1);
    scene.assert_once();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bug_that_jira_refuses_is_told_once_paid_once_and_reported_when_jira_takes_it() {
    let scene = Scene::with_sentry().await.unwrap();
    play(&scene, refused_bug(&scene).await).await;
}

async fn refused_bug(scene: &Scene) -> anyhow::Result<()> {
    let world = &scene.stack.world;
    for _ in 0..2 {
        world.jira.fail_next("POST /rest/api/3/issue", Failure { status: 400, retry_after: None });
    }
    world.sentry.create_issue(samples::error());
    scene.bug_in(Stage::AwaitingApproval).await?;
    scene.eventually("people are told", async || Ok(scene.reports().len() == 2)).await?;
    assert!(scene.reports()[0].text.contains("No ticket:"), "{}", scene.reports()[0].text);
    assert_eq!(scene.effects("jira", "issue.created").len(), 1);
    assert_eq!(scene.effects("bedrock", "turn.repeated").len(), 0, "one analysis");
    scene.assert_once();
    Ok(())
}

/// One bug, as people expect it; one notice with its links; one link at Sentry; one run.
fn assert_reported(scene: &Scene, issue: &str) {
    let world = &scene.stack.world;
    let bug = world.jira.issue(BUG).expect("the bug");
    assert_eq!(world.jira.issues().len(), 2, "SHOP-1 was there before");
    assert_eq!((bug.issue_type.as_str(), bug.priority.as_str()), ("Bug", "High"));
    assert_eq!(bug.labels, ["AI", "sentry-auto", "error"]);
    let title = bug.summary.strip_prefix("[AUTO] ").expect("the prefix");
    assert!(title.starts_with("AttributeError: 'list' object") && title.chars().count() <= 80, "{title}");
    let description = bug.description.to_string();
    for part in [
        "shop/api.py passes whatever JSON it was sent",
        "43 in 24 h",
        "production",
        "shop-api@1.4.2",
        "python",
        "shop/api.py:69 _route (own code)",
        "SHOP-API-1 in Sentry",
        &world.sentry.issue(issue).expect("the error").hashes.first().expect("a hash").clone(),
    ] {
        assert!(description.contains(part), "{part}\n{description}");
    }
    let reports = scene.reports();
    assert_eq!(reports.len(), 1, "{reports:#?}");
    let links: Vec<String> = reports[0].buttons().into_iter().map(|button| button.label).collect();
    assert_eq!(links, ["View ticket", "View in Sentry"]);
    assert_eq!(scene.effects("sentry", "link.set").len(), 1);
}

/// What identifies a person was seen by Sentry alone.
fn assert_no_personal_data(scene: &Scene) {
    let mut seen: Vec<String> =
        scene.stack.world.effects.all().iter().map(|effect| effect.detail.to_string()).collect();
    seen.extend(scene.stack.world.bedrock.requests().iter().map(|request| request.body.to_string()));
    for secret in ["jane.doe", "4111 1111"] {
        assert!(!seen.iter().any(|text| text.contains(secret)), "{secret} got out");
    }
    assert!(seen.iter().any(|text| text.contains("[redacted]")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_count_has_no_effect_and_without_a_stack_trace_there_is_one_notice() {
    let mut scene = Scene::with_sentry().await.unwrap();
    let done = not_mended(&mut scene).await;
    play(&scene, done).await;
}

async fn not_mended(scene: &mut Scene) -> anyhow::Result<()> {
    let sentry = scene.stack.world.sentry.clone();
    // Webhooks arrive, and nobody looks before all of it has happened.
    scene.stack.kill_worker();
    let rare = |kind: &str, level: &str, events: u64| {
        sentry.create_issue(NewError::new("shop-api", kind, "rare").level(level).events(events, 1).frame(
            "shop/api.py",
            "handle",
            51,
            "",
        ))
    };
    let error = rare("BelowError", "error", 9);
    let warning = rare("BelowWarning", "warning", 49);
    let unnamed = rare("NoLevel", "", 9);
    let debug = rare("Debug", "debug", 9);
    let resolved = rare("Resolved", "fatal", 5);
    let deleted = rare("Deleted", "fatal", 5);
    scene
        .eventually("all are reported", async || {
            Ok(scene.observer.runs("WorkflowType = 'sentry_issue'").await?.len() == 6)
        })
        .await?;
    sentry.resolve(&resolved);
    sentry.delete(&deleted);
    scene.stack.start_worker()?;
    scene.sweep().await?;
    scene.swept(1).await?;
    for (issue, end) in [
        (&error, "9 events in 24 hours, 10 are needed: nothing to do"),
        (&warning, "49 events in 24 hours, 50 are needed: nothing to do"),
        (&unnamed, "9 events in 24 hours, 10 are needed: nothing to do"),
        (&debug, "9 events in 24 hours, 10 are needed: nothing to do"),
        (&resolved, "it is not open in Sentry any more: nothing to do"),
        (&deleted, "Sentry does not know it any more: nothing to do"),
    ] {
        assert_eq!(scene.looked_after(issue, 1).await?, end);
    }
    let effects = scene.stack.world.effects.all();
    assert!(effects.is_empty(), "no effect at all: {effects:#?}");

    let traceless = sentry.create_issue(NewError::new("shop-api", "Traceless", "no frames").events(12, 1));
    let run = format!("sentry-{traceless}");
    let told = async || {
        let status = scene.observer.error_status(&run).await;
        Ok(status.is_ok_and(|status| status.doing == "told in Slack, no ticket: Sentry has no stack trace of it"))
    };
    scene.eventually("people are told", told).await?;
    // Every sweep and alert comes by again, and nobody wants to read of it every hour.
    sentry.report_events(&traceless, 1, 1);
    scene.sweep().await?;
    scene.swept(2).await?;
    sentry.resolve(&traceless);
    let end = "it is not open in Sentry any more: nothing to do";
    assert_eq!(scene.looked_after(&traceless, 1).await?, end);
    let reports = scene.reports();
    assert_eq!(reports.len(), 1, "{reports:#?}");
    assert!(reports[0].text.contains("No ticket: Sentry has no stack trace of it."), "{}", reports[0].text);
    let kinds: Vec<Value> = scene.stack.world.effects.all().into_iter().map(|effect| effect.kind.into()).collect();
    assert_eq!(kinds, ["message.posted"]);
    assert_eq!(scene.observer.runs(&format!("WorkflowId = '{run}'")).await?.len(), 1, "they joined the run");
    assert_eq!(scene.paid_turns(), 0);
    scene.assert_once();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_every_step_reports_an_error_once() {
    let mut scene = Scene::with_sentry().await.unwrap();
    let done = killed(&mut scene).await;
    play(&scene, done).await;
}

async fn killed(scene: &mut Scene) -> anyhow::Result<()> {
    let issue = scene.stack.world.sentry.create_issue(samples::error());
    for (service, kind) in
        [("bedrock", "turn.answered"), ("jira", "issue.created"), ("sentry", "link.set"), ("slack", "message.posted")]
    {
        let effects = scene.stack.world.effects.clone();
        effects.wait_for(kind, STAGE, |e| e.service == service && e.kind == kind).await?;
        scene.stack.kill_worker();
        scene.stack.start_worker()?;
    }
    scene.bug_in(Stage::AwaitingApproval).await?;
    let handed_over = async || {
        let status = scene.observer.error_status(&format!("sentry-{issue}")).await?;
        Ok(status.doing == format!("{BUG} is at work"))
    };
    scene.eventually("the bug is handed over", handed_over).await?;
    assert_eq!(scene.effects("jira", "issue.created").len(), 1);
    assert_eq!((scene.reports().len(), scene.effects("sentry", "link.set").len()), (1, 1));
    assert_eq!(scene.runs_of(BUG).await?, 1);
    scene.assert_once();
    Ok(())
}
