//! Histories of every release replay with today's code. Append-only: regenerating one proves nothing.
//!
//! To add histories: `TICKETWRIGHT_GOLDENS=tests/goldens/<version> cargo test --workspace --test it`; each scenario that has
//! one writes it there, and only where none is yet.

use std::path::{Path, PathBuf};

use prost::Message as _;
use temporalio_common::protos::temporal::api::history::v1::History;
use temporalio_sdk::workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions};
use workflows::agent_run::AgentWorkflow;
use workflows::ci_watch::CiWatchWorkflow;
use workflows::pull_request::PullRequestWorkflow;
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

#[tokio::test]
async fn every_released_history_replays() {
    let all = goldens(&world::stack::project_root().join("tests/goldens"));
    assert!(all.len() >= 5, "closed and parked histories are kept: {all:?}");
    for path in all {
        let bytes = std::fs::read(&path).unwrap();
        let history = History::decode(bytes.as_slice()).unwrap();
        let options = WorkflowReplayerOptions::new()
            .register_workflow::<TicketWorkflow>()
            .and_then(
                temporalio_sdk::workflow_replayer::WorkflowReplayerOptionsBuilder::register_workflow::<AgentWorkflow>,
            )
            .and_then(
                temporalio_sdk::workflow_replayer::WorkflowReplayerOptionsBuilder::register_workflow::<CiWatchWorkflow>,
            )
            .and_then(
                temporalio_sdk::workflow_replayer::WorkflowReplayerOptionsBuilder::register_workflow::<
                    PullRequestWorkflow,
                >,
            )
            .unwrap()
            .build();
        let replayed = WorkflowReplayer::new(options).unwrap().replay_workflow(history.into()).await;
        assert!(replayed.is_ok(), "{}: {}", path.display(), replayed.unwrap_err());
    }
}

#[tokio::test]
async fn a_changed_history_does_not_replay() {
    let all = goldens(&world::stack::project_root().join("tests/goldens"));
    let bytes = std::fs::read(&all[0]).unwrap();
    let mut history = History::decode(bytes.as_slice()).unwrap();
    // An activity that the code does not schedule at this place.
    for event in &mut history.events {
        use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
        if let Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) = &mut event.attributes
            && let Some(kind) = &mut scheduled.activity_type
        {
            kind.name = "another.activity".to_owned();
        }
    }
    let options = WorkflowReplayerOptions::new()
        .register_workflow::<TicketWorkflow>()
        .and_then(temporalio_sdk::workflow_replayer::WorkflowReplayerOptionsBuilder::register_workflow::<AgentWorkflow>)
        .and_then(
            temporalio_sdk::workflow_replayer::WorkflowReplayerOptionsBuilder::register_workflow::<CiWatchWorkflow>,
        )
        .unwrap()
        .build();
    let replayed = WorkflowReplayer::new(options).unwrap().replay_workflow(history.into()).await;
    assert!(replayed.is_err(), "the replay test cannot fail");
}
