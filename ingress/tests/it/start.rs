//! The start function: one run per event, whatever the deliveries do.

use std::collections::BTreeSet;

use ingress::start::{StartOutcome, Started, start_ticket};
use ingress::temporal::TemporalError;
use serde_json::{Value, json};
use temporalio_client::Client;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use workflows::contract::access::{Person, Via};
use workflows::contract::trigger::{EventId, TicketLabelled};

use crate::dev_server::{DevServer, history, now, runs, signals, terminate};

fn labelled(key: &str, event: &str, at: i64) -> TicketLabelled {
    TicketLabelled {
        ticket: key.parse().unwrap(),
        event: EventId { id: format!("jira-{key}-{event}"), at },
        by: Some(Person { via: Via::Jira, id: "5b10".into(), name: "Bo".into() }),
        summary: "Cart total is wrong".into(),
    }
}

async fn start(client: &Client, labelled: &TicketLabelled) -> Started {
    start_ticket(client, labelled).await.unwrap()
}

/// Delivers the same event twenty times at once; returns the runs that the answers name. All answers say that the event
/// began a run, or that it is known; none says that it joined another's.
async fn at_once(client: &Client, labelled: &TicketLabelled) -> BTreeSet<String> {
    let deliveries: Vec<_> = (0..20)
        .map(|_| {
            let (client, labelled) = (client.clone(), labelled.clone());
            tokio::spawn(async move { start(&client, &labelled).await })
        })
        .collect();
    let mut runs = BTreeSet::new();
    for delivery in deliveries {
        let started = delivery.await.unwrap();
        assert_ne!(started.outcome, StartOutcome::Joined);
        runs.insert(started.run_id);
    }
    runs
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_duplicates_at_once_start_one_run() {
    let server = DevServer::shared();
    let client = server.client("default").await;
    let ids = at_once(&client, &labelled("DUP-1", "a", now())).await;
    assert_eq!(ids.len(), 1);
    assert_eq!(runs(&client, "ticket-DUP-1", 1).await, 1);
    assert_eq!(signals(&client, "ticket-DUP-1").await, vec![], "a duplicate is no news");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_run_hears_of_newer_events_only() {
    let server = DevServer::shared();
    let client = server.client("default").await;
    let at = now();
    let first = start(&client, &labelled("JOIN-1", "a", at)).await;
    assert_eq!(first.outcome, StartOutcome::Started);
    for (event, at, expected) in [
        ("a", at, StartOutcome::Dropped),
        ("older", at - 1, StartOutcome::Dropped),
        ("newer", at + 1, StartOutcome::Joined),
        // The memo is moved on by the run, and no worker runs here: a repeated join must be harmless without it.
        ("newer", at + 1, StartOutcome::Joined),
    ] {
        let again = start(&client, &labelled("JOIN-1", event, at)).await;
        assert_eq!((again.outcome, &again.run_id), (expected, &first.run_id), "{event}");
    }
    let by = json!({"via": "jira", "id": "5b10", "name": "Bo"});
    let joined = json!({"event": {"id": "jira-JOIN-1-newer", "at": at + 1}, "by": by});
    assert_eq!(signals(&client, "ticket-JOIN-1").await, vec![("trigger".to_owned(), joined)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_run_is_followed_only_for_an_event_after_its_end() {
    let server = DevServer::shared();
    let client = server.client("default").await;
    let at = now();
    let first = start(&client, &labelled("END-1", "a", at)).await;
    terminate(&client, "ticket-END-1").await;

    let redelivered = start(&client, &labelled("END-1", "a", at)).await;
    assert_eq!((redelivered.outcome, &redelivered.run_id), (StartOutcome::Dropped, &first.run_id));
    let late = start(&client, &labelled("END-1", "b", at + 1)).await;
    assert_eq!(late.outcome, StartOutcome::Dropped, "it happened while the first run was there");

    let newer = labelled("END-1", "c", now() + 60_000);
    let ids = at_once(&client, &newer).await;
    assert_eq!(ids.len(), 1);
    assert!(!ids.contains(&first.run_id));

    // Temporal has forgotten the first event's id by now; its time has not become newer.
    let very_late = start(&client, &labelled("END-1", "a", at)).await;
    assert_eq!(very_late.outcome, StartOutcome::Dropped);
    terminate(&client, "ticket-END-1").await;
    assert_eq!(start(&client, &newer).await.outcome, StartOutcome::Dropped);
    assert_eq!(runs(&client, "ticket-END-1", 2).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn different_events_at_once_are_one_run_that_hears_of_the_others() {
    let server = DevServer::shared();
    let client = server.client("default").await;
    let at = now();
    let deliveries: Vec<_> = (0..10)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { start(&client, &labelled("RACE-1", &n.to_string(), at + n)).await })
        })
        .collect();
    let mut outcomes = Vec::new();
    for delivery in deliveries {
        outcomes.push(delivery.await.unwrap().outcome);
    }
    let started = outcomes.iter().filter(|outcome| **outcome == StartOutcome::Started).count();
    assert_eq!(started, 1, "{outcomes:?}");
    assert_eq!(runs(&client, "ticket-RACE-1", 1).await, 1);
    let joined = outcomes.iter().filter(|outcome| **outcome == StartOutcome::Joined).count();
    assert_eq!(signals(&client, "ticket-RACE-1").await.len(), joined);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_starts_with_all_that_the_cli_and_the_web_ui_show() {
    let server = DevServer::shared();
    let client = server.client("default").await;
    let at = now();
    start(&client, &labelled("SHOW-1", "a", at)).await;
    let first = history(&client, "ticket-SHOW-1").await.remove(0);
    let summary = first.user_metadata.unwrap().summary.unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&summary.data).unwrap(), "SHOW-1 Cart total is wrong");
    let Some(Attributes::WorkflowExecutionStartedEventAttributes(begun)) = first.attributes else { panic!() };
    assert_eq!(begun.workflow_type.unwrap().name, "ticket");
    assert_eq!(begun.task_queue.unwrap().name, "ticketwright");
    let input: Value = serde_json::from_slice(&begun.input.unwrap().payloads[0].data).unwrap();
    assert_eq!(input["key"], "SHOW-1");
    assert_eq!(input["event"], json!({"id": "jira-SHOW-1-a", "at": at}));
    assert_eq!(input["requested_by"]["id"], "5b10");
    let value = |data: &[u8]| serde_json::from_slice::<Value>(data).unwrap();
    assert_eq!(value(&begun.memo.unwrap().fields["last_event_at"].data), at);
    let attributes = begun.search_attributes.unwrap().indexed_fields;
    for (name, expected) in [("TicketKey", "SHOW-1"), ("Stage", "discovering"), ("RequestedBy", "Bo")] {
        assert_eq!(value(&attributes[name].data), expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_namespace_is_a_matter_of_set_up_and_not_a_ticket_without_a_run() {
    let server = DevServer::shared();
    let client = server.client("nowhere").await;
    let error = start_ticket(&client, &labelled("NS-1", "a", now())).await.unwrap_err();
    assert!(matches!(error, TemporalError::Refused(_)), "{error}");
}
