//! Histories of every release replay with today's code. Append-only: regenerating one proves nothing.
//!
//! To add histories: `TICKETWRIGHT_GOLDENS=tests/goldens/<version> cargo test --workspace --test it`. Every scenario that ends well
//! writes those of its runs there, as `<scenario>/<workflow id>.pb`, and only where none is yet.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use prost::Message as _;
use temporalio_common::protos::temporal::api::history::v1::History;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_sdk::workflow_replayer::{
    WorkflowReplayer, WorkflowReplayerOptions, WorkflowReplayerOptionsBuilder as Builder,
};
use workflows::agent_run::AgentWorkflow;
use workflows::ci_watch::CiWatchWorkflow;
use workflows::mention::MentionWorkflow;
use workflows::pull_request::PullRequestWorkflow;
use workflows::sentry_issue::SentryIssueWorkflow;
use workflows::sentry_sweep::SentrySweepWorkflow;
use workflows::ticket::TicketWorkflow;

fn goldens(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("tests/goldens exists").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(goldens(&path));
        } else if path.extension().is_some_and(|extension| extension == "pb") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn history_of(golden: &Path) -> History {
    History::decode(std::fs::read(golden).unwrap().as_slice()).unwrap()
}

/// Replays a history with today's code; the error says where it differs.
pub(crate) async fn replay(history: History) -> Result<(), String> {
    let options = WorkflowReplayerOptions::new()
        .register_workflow::<TicketWorkflow>()
        .and_then(Builder::register_workflow::<AgentWorkflow>)
        .and_then(Builder::register_workflow::<CiWatchWorkflow>)
        .and_then(Builder::register_workflow::<MentionWorkflow>)
        .and_then(Builder::register_workflow::<PullRequestWorkflow>)
        .and_then(Builder::register_workflow::<SentryIssueWorkflow>)
        .and_then(Builder::register_workflow::<SentrySweepWorkflow>)
        .unwrap()
        .build();
    let replayed = WorkflowReplayer::new(options).unwrap().replay_workflow(history.into()).await;
    replayed.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn every_released_history_replays() {
    let mut types = BTreeSet::new();
    for golden in all_goldens() {
        let history = history_of(&golden);
        types.extend(workflow_type(&history));
        let replayed = replay(history).await;
        assert!(replayed.is_ok(), "{}: {}", golden.display(), replayed.unwrap_err());
    }
    let all = ["agent", "ci_watch", "mention", "pull_request", "sentry_issue", "sentry_sweep", "ticket"];
    assert!(types.iter().eq(all), "each workflow has a history: {types:?}");
}

fn all_goldens() -> Vec<PathBuf> {
    goldens(&world::stack::project_root().join("tests/goldens"))
}

fn workflow_type(history: &History) -> Option<String> {
    match history.events.first()?.attributes.as_ref()? {
        Attributes::WorkflowExecutionStartedEventAttributes(started) => Some(started.workflow_type.clone()?.name),
        _ => None,
    }
}

/// A ticket's whole life, as the first release recorded it.
fn merged() -> History {
    let golden = all_goldens().into_iter().find(|golden| golden.ends_with("0.1.0/merged.pb"));
    history_of(&golden.expect("the first release has one"))
}

#[tokio::test]
async fn an_extension_that_an_older_release_dropped_has_no_effect_on_its_history() {
    for input in [r#"{"by":"ana","usd":5}"#, r#"{"by":"ana","usd":-1}"#, "\"what?\""] {
        let mut history = merged();
        let nudge = history.events.iter_mut().find_map(|event| match &mut event.attributes {
            Some(Attributes::WorkflowExecutionSignaledEventAttributes(signal)) => {
                // A nudge about the checks of a draft: nothing follows from it.
                (signal.signal_name == "checks_changed").then_some(signal)
            }
            _ => None,
        });
        let signal = nudge.unwrap();
        signal.signal_name = "extend_budget".to_owned();
        let payload = signal.input.as_mut().and_then(|input| input.payloads.first_mut()).unwrap();
        payload.data = input.as_bytes().to_vec();
        let replayed = replay(history).await;
        assert!(replayed.is_ok(), "{input}: {}", replayed.unwrap_err());
    }
}

#[tokio::test]
async fn a_changed_history_does_not_replay() {
    let mut history = merged();
    // An activity that the code does not schedule at this place.
    for event in &mut history.events {
        if let Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) = &mut event.attributes
            && let Some(kind) = &mut scheduled.activity_type
        {
            kind.name = "another.activity".to_owned();
        }
    }
    assert!(replay(history).await.is_err(), "the replay test cannot fail");
}
