//! The promise: a labelled ticket becomes a human-approved, CI-green pull request.

use workflows::contract::status::Stage;

use crate::scene::{KEY, REPOSITORY, STAGE, Scene, play};

#[tokio::test(flavor = "multi_thread")]
async fn a_label_and_a_click_become_a_green_pull_request() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, label_and_click(&scene).await).await;
}

async fn label_and_click(scene: &Scene) -> anyhow::Result<()> {
    scene.label();
    let waiting = scene.stage(Stage::AwaitingApproval).await?;
    // Before the approval there is PLAN.md in a draft and nothing else.
    let drafts = scene.stack.world.github.pull_requests(REPOSITORY);
    assert_eq!(drafts.len(), 1);
    assert!(drafts[0].draft && drafts[0].title.starts_with("SHOP-1: "), "{drafts:?}");
    let branch = drafts[0].head_branch.clone();
    assert!(branch.starts_with("agent/SHOP-1/"), "{branch}");
    let plan = scene.stack.world.github.file(REPOSITORY, &branch, "PLAN.md").await;
    assert!(plan.is_some_and(|text| text.contains("## Implementation Tasks")), "PLAN.md is missing");
    assert_eq!(waiting.plan_version, 1);

    scene.click("ana", "approve").await?;
    let ready = scene.ready().await?;
    assert_eq!(ready.tasks_done, ready.tasks);
    assert!(ready.approved_by.as_deref().is_some_and(|by| by.contains("Slack")), "{ready:?}");
    let pr = &scene.stack.world.github.pull_requests(REPOSITORY)[0];
    assert!(!pr.draft, "still a draft");
    assert!(pr.body.contains(": red at `"), "no proof in:\n{}", pr.body);
    assert!(pr.body.contains("CI green"), "{}", pr.body);
    let head = scene.stack.world.github.file(REPOSITORY, &branch, "PLAN.md").await;
    assert_eq!(head, None, "PLAN.md must leave the branch");
    // One thread: every message but the first is a reply to it.
    let posted = scene.effects("slack", "message.posted");
    let roots = posted.iter().filter(|effect| effect.detail["thread_ts"].is_null()).count();
    assert_eq!(roots, 1, "{posted:#?}");
    assert!(scene.stack.world.bedrock.unused_turns().is_empty(), "{:?}", scene.stack.world.bedrock.unused_turns());
    scene.assert_once();

    scene.stack.world.github.merge_pull_request(REPOSITORY, pr.number, "ana").await?;
    scene.observer.wait_for_stage(KEY, Stage::Merged, STAGE).await?;
    scene.closed("Completed").await?;
    assert_eq!(scene.jira_status(), "Done");
    scene.assert_once();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_alone_approves_with_plain_json() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, approve_by_cli(&scene).await).await;
}

async fn approve_by_cli(scene: &Scene) -> anyhow::Result<()> {
    scene.label();
    let waiting = scene.stage(Stage::AwaitingApproval).await?;
    let hash = waiting.plan_hash.unwrap_or_default();
    // What people send by mistake is recorded and changes nothing.
    scene.signal_by_cli("approve", None).await?;
    scene.signal_by_cli("approve", Some("\"yes\"")).await?;
    scene.signal_by_cli("approve", Some(r#"{"by":"you","plan_hash":"deadbeef"}"#)).await?;
    scene.signal_by_cli("retry", Some("[1,2]")).await?;
    let noted =
        |log: &[workflows::contract::status::LogEntry]| log.iter().filter(|e| e.text.contains("ignored")).count() >= 3;
    let limit = std::time::Instant::now();
    while !noted(&scene.observer.log(KEY).await?) {
        anyhow::ensure!(limit.elapsed() < STAGE, "malformed signals are not in the log");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(scene.observer.status(KEY).await?.stage, Stage::AwaitingApproval);
    // The very line that messages show works.
    let line = waiting.commands.first().cloned().unwrap_or_default();
    assert!(line.contains(&format!("--name approve --input '{{\"by\":\"you\",\"plan_hash\":\"{hash}\"}}'")), "{line}");
    scene.signal_by_cli("approve", Some(&format!(r#"{{"by":"you","plan_hash":"{hash}"}}"#))).await?;
    let ready = scene.ready().await?;
    assert_eq!(ready.approved_by.as_deref(), Some("someone (command line)"));
    scene.assert_once();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_plan_leaves_nothing_behind() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, reject(&scene).await).await;
}

async fn reject(scene: &Scene) -> anyhow::Result<()> {
    scene.label();
    scene.stage(Stage::AwaitingApproval).await?;
    scene.click("ana", "reject").await?;
    scene.observer.wait_for_stage(KEY, Stage::Rejected, STAGE).await?;
    scene.closed("Completed").await?;
    assert_clean(scene).await;
    let told = scene.effects("jira", "comment.created");
    assert!(told.iter().any(|e| e.detail["text"].as_str().is_some_and(|t| t.contains("Rejected by"))), "{told:#?}");
    let said = scene.stack.world.slack.find("was rejected by");
    assert!(said.is_some(), "Slack was not told");
    scene.assert_once();
    Ok(())
}

/// No open pull request, no branch of ours.
pub(crate) async fn assert_clean(scene: &Scene) {
    let open = scene.stack.world.github.pull_requests(REPOSITORY).into_iter().filter(|pr| pr.state == "open").count();
    assert_eq!(open, 0, "an orphan pull request");
    let branches = scene.stack.world.github.branches(REPOSITORY).await;
    assert!(branches.iter().all(|branch| !branch.starts_with("agent/")), "an orphan branch: {branches:?}");
}
