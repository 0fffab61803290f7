//! GitHub Actions: finds the workflows that listen to an event, runs their jobs for real, and reports runs, checks and
//! webhooks as GitHub does.

mod expression;
mod filter;
mod job;
mod run;
mod sandbox;
mod steps;
mod workflow;

use chrono::Utc;
use tokio_util::sync::CancellationToken;

use super::check_views::ACTIONS;
use super::events::SharedHub;
use super::hub::{Hub, Place};
use super::state::{CheckRun, Pull, Run, Suite};
use filter::{Facts, listens};
use workflow::Workflow;

/// Something that may start workflows.
#[derive(Debug, Clone)]
pub(super) struct Occasion {
    /// `push` or `pull_request`.
    event: &'static str,
    /// Type of a pull request event.
    action: Option<&'static str>,
    /// Branch with the change.
    branch: String,
    sha: String,
    /// Where the change begins: the branch before the push, or the base of the pull request.
    from: Option<String>,
    base_branch: Option<String>,
    pull: Option<u64>,
    actor: String,
}

impl Occasion {
    /// A branch was pushed.
    pub(super) fn push(branch: &str, after: &str, before: Option<&str>, actor: &str) -> Self {
        Self {
            event: "push",
            action: None,
            branch: branch.to_owned(),
            sha: after.to_owned(),
            from: before.map(str::to_owned),
            base_branch: None,
            pull: None,
            actor: actor.to_owned(),
        }
    }

    /// Something happened to a pull request.
    pub(super) fn pull(pull: &Pull, action: &'static str, actor: &str) -> Self {
        Self {
            event: "pull_request",
            action: Some(action),
            branch: pull.head_branch.clone(),
            sha: pull.head_sha.clone(),
            from: Some(pull.base_sha.clone()),
            base_branch: Some(pull.base_branch.clone()),
            pull: Some(pull.number),
            actor: actor.to_owned(),
        }
    }
}

/// Words in a commit message that keep Actions quiet.
const SKIP: [&str; 5] = ["[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[actions skip]"];

/// Starts every workflow that listens to this occasion. Returns at once; the runs go on by themselves.
pub(super) async fn start(hub: &SharedHub, place: &Place, occasion: Occasion) {
    if !hub.with(place, |repository| repository.actions).unwrap_or(false) {
        return;
    }
    let message = place.git.commit(&occasion.sha).await.map(|commit| commit.message).unwrap_or_default();
    let message = message.to_lowercase();
    if SKIP.iter().any(|words| message.contains(words)) {
        return;
    }
    let files = changed_files(place, &occasion).await;
    let facts = Facts {
        event: occasion.event,
        action: occasion.action,
        branch: occasion.base_branch.as_deref().unwrap_or(&occasion.branch),
        files: &files,
    };
    for path in workflow_files(place, &occasion.sha).await {
        let text = place.git.file(&occasion.sha, &path).await.unwrap_or_default();
        match Workflow::parse(&String::from_utf8_lossy(&text)) {
            Ok(workflow) if listens(&workflow.on, &facts) => {
                let run = hub.new_run(place, &occasion, &path, workflow.name.as_deref());
                if let Some((place, run)) = run.map(|run| (place.clone(), run)) {
                    hub.announce_run(&place, &run, "requested").await;
                    run::spawn(hub, &place, run, workflow, run::Which::All).await;
                }
            }
            Ok(_) => {}
            Err(error) if occasion.event == "push" => {
                if let Some(run) = hub.new_run(place, &occasion, &path, None) {
                    hub.announce_run(place, &run, "requested").await;
                    tracing::warn!(repository = %place.full, %path, "workflow file is wrong: {error:#}");
                    run::end(hub, place, run.id, "startup_failure").await;
                }
            }
            Err(_) => {}
        }
    }
}

pub(super) use run::Which;

/// Starts a finished run again, all of it or a part. `None` when it is not there or still runs.
pub(super) async fn again(hub: &SharedHub, place: &Place, id: u64, which: Which) -> Option<Run> {
    let text = {
        let run = hub.run(place, id).filter(|run| run.status == "completed")?;
        place.git.file(&run.head_sha, &run.path).await?
    };
    let workflow = Workflow::parse(&String::from_utf8_lossy(&text)).ok()?;
    let run = hub
        .with(place, |repository| {
            let run = repository.runs.iter_mut().find(|run| run.id == id && run.status == "completed")?;
            run.attempt += 1;
            (run.status, run.conclusion, run.updated) = ("queued", None, Utc::now());
            run.stop = CancellationToken::default();
            let run = run.clone();
            if let Some(suite) = repository.suites.iter_mut().find(|suite| suite.id == run.suite) {
                (suite.status, suite.conclusion, suite.updated) = ("queued", None, Utc::now());
            }
            Some(run)
        })
        .ok()??;
    hub.announce_run(place, &run, "requested").await;
    run::spawn(hub, place, run.clone(), workflow, which).await;
    Some(run)
}

/// Another CI service reports a finished check: (name, conclusion, summary).
pub(super) async fn report(hub: &Hub, place: &Place, sha: &str, app: &str, result: (&str, &str, &str)) {
    let (name, conclusion, summary) = result;
    let now = Utc::now();
    // An app has one suite per commit; what it reports again replaces what it reported before.
    let known = hub.with(place, |repository| {
        let of_app = |suite: &&Suite| suite.app == app && suite.head_sha == sha;
        repository.suites.iter().find(of_app).map(|suite| suite.id)
    });
    let known = known.ok().flatten();
    let (suite, check) = (known.unwrap_or_else(|| hub.next_id()), hub.next_id());
    let branch = hub.open_pulls(place, |pull| pull.head_sha == sha).first().map(|pull| pull.head_branch.clone());
    let suite = Suite {
        id: suite,
        app: app.to_owned(),
        head_branch: branch.unwrap_or_default(),
        head_sha: sha.to_owned(),
        before: None,
        status: "completed",
        conclusion: Some(conclusion.to_owned()),
        created: now,
        updated: now,
    };
    let check = CheckRun {
        id: check,
        suite: suite.id,
        name: name.to_owned(),
        head_sha: sha.to_owned(),
        status: "completed",
        conclusion: Some(conclusion.to_owned()),
        title: Some(name.to_owned()),
        summary: Some(summary.to_owned()),
        details_url: format!("{}/{}/runs/{check}", hub.base, place.full),
        started: now,
        completed: Some(now),
    };
    let _ = hub.with(place, |repository| {
        repository.suites.retain(|other| other.id != suite.id);
        repository.suites.push(suite.clone());
        repository.checks.push(check.clone());
    });
    hub.announce_check(place, &check, "created", app);
    hub.announce_check(place, &check, "completed", app);
    hub.announce_suite(place, &suite, "completed", app).await;
    hub.runs_finished.send_modify(|count| *count += 1);
}

async fn changed_files(place: &Place, occasion: &Occasion) -> Vec<String> {
    // A new branch changes what sets it apart from the default branch.
    let from = match &occasion.from {
        Some(before) if occasion.pull.is_none() => before.clone(),
        other => {
            let base = other.clone().unwrap_or_else(|| format!("refs/heads/{}", place.default_branch));
            place.git.merge_base(&base, &occasion.sha).await.unwrap_or(base)
        }
    };
    place.git.diff(&from, &occasion.sha).await.unwrap_or_default().into_iter().map(|file| file.path).collect()
}

async fn workflow_files(place: &Place, sha: &str) -> Vec<String> {
    let entries = place.git.tree(&format!("{sha}:.github/workflows"), false).await.unwrap_or_default();
    let is_workflow = |name: &str| name.ends_with(".yml") || name.ends_with(".yaml");
    let names = entries.into_iter().filter(|entry| entry.kind == "blob" && is_workflow(&entry.path));
    names.map(|entry| format!(".github/workflows/{}", entry.path)).collect()
}

impl Hub {
    /// A copy of a run.
    pub(super) fn run(&self, place: &Place, id: u64) -> Option<Run> {
        self.with(place, |repository| repository.runs.iter().find(|run| run.id == id).cloned()).ok().flatten()
    }

    /// Whether Actions still work on a commit.
    pub(super) fn is_running(&self, place: &Place, sha: &str) -> bool {
        let busy = |run: &Run| run.head_sha == sha && run.status != "completed";
        self.with(place, |repository| repository.runs.iter().any(busy)).unwrap_or(false)
    }

    fn new_run(&self, place: &Place, occasion: &Occasion, path: &str, name: Option<&str>) -> Option<Run> {
        let (id, suite, workflow) = (self.next_id(), self.next_id(), self.next_id());
        let now = Utc::now();
        self.with(place, |repository| {
            let earlier: Vec<&Run> = repository.runs.iter().filter(|run| run.path == path).collect();
            let run = Run {
                id,
                workflow_id: earlier.first().map_or(workflow, |run| run.workflow_id),
                name: name.unwrap_or(path).to_owned(),
                path: path.to_owned(),
                event: occasion.event.to_owned(),
                head_branch: occasion.branch.clone(),
                head_sha: occasion.sha.clone(),
                number: earlier.len() as u64 + 1,
                attempt: 1,
                status: "queued",
                conclusion: None,
                suite,
                actor: occasion.actor.clone(),
                pull: occasion.pull,
                base_branch: occasion.base_branch.clone(),
                created: now,
                updated: now,
                group: None,
                stop: CancellationToken::default(),
            };
            repository.suites.push(Suite {
                id: suite,
                app: ACTIONS.to_owned(),
                head_branch: occasion.branch.clone(),
                head_sha: occasion.sha.clone(),
                before: occasion.from.clone().filter(|_| occasion.pull.is_none()),
                status: "queued",
                conclusion: None,
                created: now,
                updated: now,
            });
            repository.runs.push(run.clone());
            run
        })
        .ok()
    }
}
