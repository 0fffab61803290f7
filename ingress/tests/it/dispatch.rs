//! Decisions and news reach the ticket's run once, and a missing or closed run is an answer, not an error.

use ingress::dispatch::{Dispatcher, Outcome};
use ingress::start::start_ticket;
use serde_json::json;
use temporalio_client::Client;
use workflows::contract::access::{Person, Via};
use workflows::contract::github::PullRequestState;
use workflows::contract::ids::TicketKey;
use workflows::contract::trigger::{
    Approve, ChecksChanged, Commanded, EventId, PullRequestChanged, Reject, TicketLabelled, Trigger, Word,
};

use crate::dev_server::{DevServer, eventually, now, signals, terminate};

const SHA: &str = "81c0d1e2f3a4b5c6d7e8f9011223344556677889";

fn key(text: &str) -> TicketKey {
    text.parse().unwrap()
}

fn commanded(ticket: &str, word: Word) -> Trigger {
    Trigger::Commanded(Commanded { ticket: key(ticket), word })
}

fn ana() -> Person {
    Person { via: Via::Slack, id: "U0ANA".into(), name: "ana".into() }
}

fn approve() -> Word {
    Word::Approve(Approve { by: ana(), plan_hash: Some("4f2a91c7".into()), comment: None })
}

async fn run(client: &Client, ticket: &str) {
    let labelled = TicketLabelled {
        ticket: key(ticket),
        event: EventId { id: format!("jira-{ticket}"), at: now() },
        by: None,
        summary: String::new(),
    };
    start_ticket(client, &labelled).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_and_news_are_signals_and_a_redelivery_is_not_a_second_one() {
    let server = DevServer::shared();
    let client = server.client("default").await;
    let dispatcher = Dispatcher::new(client.clone().into());
    run(&client, "TELL-1").await;
    let pull_request = PullRequestChanged {
        repository: "acme/shop-api".parse().unwrap(),
        number: 1,
        branch: "agent/TELL-1/clamp-1a2b3c4d".parse().unwrap(),
        sha: SHA.parse().unwrap(),
        state: PullRequestState::Merged,
        by: "ana".into(),
    };
    let reject = Word::Reject(Reject { plan_hash: None, by: ana(), comment: None });
    for (trigger, delivery) in [
        (commanded("TELL-1", approve()), "slack-1"),
        (commanded("TELL-1", approve()), "slack-1"),
        (commanded("TELL-1", reject), "slack-2"),
        (Trigger::PullRequestChanged { ticket: key("TELL-1"), news: pull_request }, "github-1"),
    ] {
        let outcome = dispatcher.dispatch(trigger, delivery).await.unwrap();
        assert_eq!(outcome, Outcome::Told("ticket-TELL-1".into()), "{delivery}");
    }
    let told = signals(&client, "ticket-TELL-1").await;
    let names: Vec<_> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["approve", "reject", "pull_request_changed"]);
    let by = json!({"via": "slack", "id": "U0ANA", "name": "ana"});
    assert_eq!(told[0].1, json!({"by": by, "plan_hash": "4f2a91c7", "comment": null}));
    assert_eq!(told[2].1["state"], "merged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_checks_is_one_signal_at_once_and_one_after() {
    let server = DevServer::shared();
    let client = server.client("default").await;
    let dispatcher = Dispatcher::new(client.clone().into());
    run(&client, "STORM-1").await;
    let news = ChecksChanged { repository: "acme/shop-api".parse().unwrap(), sha: SHA.parse().unwrap() };
    let trigger = Trigger::ChecksChanged { ticket: Some(key("STORM-1")), pull_requests: vec![], news };
    assert_eq!(dispatcher.dispatch(trigger.clone(), "github-0").await.unwrap(), Outcome::Told("ticket-STORM-1".into()));
    for _ in 0..40 {
        let outcome = dispatcher.dispatch(trigger.clone(), "github-x").await.unwrap();
        assert_eq!(outcome, Outcome::Gathered("ticket-STORM-1".into()));
    }
    eventually("the gathered signal", async || (signals(&client, "ticket-STORM-1").await.len() == 2).then_some(()))
        .await;
    let said = json!({"repository": "acme/shop-api", "sha": SHA});
    assert_eq!(signals(&client, "ticket-STORM-1").await, vec![("checks_changed".to_owned(), said); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gathered_is_sent_before_the_process_ends() {
    let server = DevServer::shared();
    let client = server.client("default").await;
    let dispatcher = Dispatcher::new(client.clone().into());
    run(&client, "FLUSH-1").await;
    let news = ChecksChanged { repository: "acme/shop-api".parse().unwrap(), sha: SHA.parse().unwrap() };
    let trigger = Trigger::ChecksChanged { ticket: Some(key("FLUSH-1")), pull_requests: vec![], news };
    dispatcher.dispatch(trigger.clone(), "github-0").await.unwrap();
    dispatcher.dispatch(trigger, "github-1").await.unwrap();
    dispatcher.flush().await;
    assert_eq!(signals(&client, "ticket-FLUSH-1").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_closed_run_is_an_answer() {
    let server = DevServer::shared();
    let client = server.client("default").await;
    let dispatcher = Dispatcher::new(client.clone().into());
    let outcome = dispatcher.dispatch(commanded("GONE-1", approve()), "slack-1").await.unwrap();
    assert_eq!(outcome, Outcome::NoRun("ticket-GONE-1".into()));
    run(&client, "GONE-1").await;
    terminate(&client, "ticket-GONE-1").await;
    let outcome = dispatcher.dispatch(commanded("GONE-1", approve()), "slack-1").await.unwrap();
    assert_eq!(outcome, Outcome::Closed("ticket-GONE-1".into(), "terminated".into()));
}
