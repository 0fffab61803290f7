//! From a trigger to a workflow: one is started, or the ticket's running one is told.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use temporalio_client::Client;
use uuid::Uuid;
use workflows::contract::trigger::{ChecksChanged, Commanded, Trigger, Word};

use crate::execution::{self, Signal};
use crate::nudge::{Nudge, Nudges};
use crate::start::{Started, start_error, start_instruction, start_mention, start_ticket};
use crate::temporal::{Temporal, TemporalError};

/// How long check events of one head are gathered after the first.
const GATHER: Duration = Duration::from_secs(1);
/// How long one signal of gathered events may take: a head whose signal hangs must not count as signalled for ever.
const SEND_LIMIT: Duration = Duration::from_secs(8);
/// How often a signal is tried while the run continues as new under our hands.
const SIGNAL_TRIES: usize = 3;

/// What a trigger came to. Runs are named by their workflow id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A run was started, joined, or knew the event.
    Run(Started),
    /// The run was told.
    Told(String),
    /// The run was told a moment ago about the same commit, and will be told once more shortly.
    Gathered(String),
    /// The run is over. Holds its final state.
    Closed(String, String),
    /// There never was such a run, or it is forgotten.
    NoRun(String),
}

/// Hands triggers to Temporal. Cloning shares everything.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    temporal: Temporal,
    nudges: Arc<Nudges>,
}

impl Dispatcher {
    /// A dispatcher that uses this connection.
    pub fn new(temporal: Temporal) -> Self {
        Self { temporal, nudges: Arc::default() }
    }

    /// The connection.
    pub fn temporal(&self) -> &Temporal {
        &self.temporal
    }

    /// Starts or tells. `delivery` is the id of the delivery; the same one twice has the effect of one.
    ///
    /// # Errors
    /// When Temporal does not answer or refuses; the delivery may be tried again.
    pub async fn dispatch(&self, trigger: Trigger, delivery: &str) -> Result<Outcome, TemporalError> {
        let client = self.temporal.client()?;
        match trigger {
            Trigger::TicketLabelled(labelled) => start_ticket(client, &labelled).await.map(Outcome::Run),
            Trigger::ErrorReported(reported) => start_error(client, &reported).await.map(Outcome::Run),
            Trigger::Instructed(instructed) => start_instruction(client, &instructed).await.map(Outcome::Run),
            Trigger::Mentioned(mentioned) => start_mention(client, &mentioned).await.map(Outcome::Run),
            Trigger::Commanded(commanded) => command(client, commanded, delivery).await,
            Trigger::PullRequestChanged { ticket, news } => {
                tell(client, &ticket.workflow_id(), "pull_request_changed", delivery, news).await
            }
            Trigger::ChecksChanged { ticket, pull_requests, news } => {
                let of_requests = pull_requests.iter().map(|n| news.repository.pull_request_workflow_id(*n));
                let targets: Vec<String> =
                    ticket.map(|ticket| ticket.workflow_id()).into_iter().chain(of_requests).collect();
                self.checks_changed(client, targets, news).await
            }
        }
    }

    /// Tells everyone who may wait for these checks. What the first of them said that there is, is the answer.
    async fn checks_changed(
        &self,
        client: &Client,
        targets: Vec<String>,
        news: ChecksChanged,
    ) -> Result<Outcome, TemporalError> {
        let mut answer = Outcome::NoRun(String::new());
        for target in targets {
            let client = client.clone();
            let send = move |nudge| {
                let client = client.clone();
                async move { send(&client, nudge).await }
            };
            let outcome = self.nudge(Nudge { target, news: news.clone() }, send).await?;
            if matches!(&answer, Outcome::NoRun(_) | Outcome::Closed(..)) && answer != outcome {
                answer = outcome;
            }
        }
        Ok(answer)
    }

    /// Sends what still waits to be gathered. For the end of the process.
    pub async fn flush(&self) {
        for nudge in self.nudges.drain() {
            if let Ok(client) = self.temporal.client() {
                report(&nudge, send(client, nudge.clone()).await);
            }
        }
    }

    async fn nudge<S, F>(&self, nudge: Nudge, send: S) -> Result<Outcome, TemporalError>
    where
        S: Fn(Nudge) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Outcome, TemporalError>> + Send + 'static,
    {
        if !self.nudges.note(&nudge) {
            return Ok(Outcome::Gathered(nudge.target));
        }
        let send = Arc::new(send);
        // Before the first signal: this future is dropped when Temporal is slow or the sender hangs up, and what is noted
        // for this head must be let go nevertheless.
        tokio::spawn(gather(Arc::clone(&self.nudges), nudge.clone(), Arc::clone(&send)));
        send(nudge).await
    }
}

/// Signals what came since the last signal, until nothing did.
async fn gather<S, F>(nudges: Arc<Nudges>, nudge: Nudge, send: Arc<S>)
where
    S: Fn(Nudge) -> F,
    F: Future<Output = Result<Outcome, TemporalError>>,
{
    loop {
        tokio::time::sleep(GATHER).await;
        if !nudges.due(&nudge) {
            break;
        }
        let outcome = tokio::time::timeout(SEND_LIMIT, send(nudge.clone())).await;
        let too_late = |_| Err(TemporalError::Unavailable(format!("no answer within {SEND_LIMIT:?}")));
        report(&nudge, outcome.unwrap_or_else(too_late));
    }
}

/// A nudge has no identity: what it says is read again from GitHub, so two are as good as one.
async fn send(client: &Client, nudge: Nudge) -> Result<Outcome, TemporalError> {
    tell(client, &nudge.target, "checks_changed", &Uuid::new_v4().to_string(), nudge.news).await
}

fn report(nudge: &Nudge, outcome: Result<Outcome, TemporalError>) {
    if let Err(error) = outcome {
        // The run polls GitHub too, only slower.
        tracing::warn!(run = nudge.target, %error, "a check event was not delivered; the run finds it by polling");
    }
}

async fn command(client: &Client, commanded: Commanded, delivery: &str) -> Result<Outcome, TemporalError> {
    let workflow_id = commanded.ticket.workflow_id();
    let name = commanded.word.signal();
    match commanded.word {
        Word::Approve(approve) => tell(client, &workflow_id, name, delivery, approve).await,
        Word::Reject(reject) => tell(client, &workflow_id, name, delivery, reject).await,
        Word::RequestChanges(request) => tell(client, &workflow_id, name, delivery, request).await,
        Word::Retry(command) | Word::Cancel(command) => tell(client, &workflow_id, name, delivery, command).await,
        Word::Steer(steer) => tell(client, &workflow_id, name, delivery, steer).await,
        Word::ExtendBudget(extend) => tell(client, &workflow_id, name, delivery, extend).await,
    }
}

async fn tell<T>(
    client: &Client,
    workflow_id: &str,
    name: &str,
    request_id: &str,
    input: T,
) -> Result<Outcome, TemporalError>
where
    T: Serialize + Send + Sync + 'static,
{
    let input = execution::encode(client, &input).await?;
    for _ in 0..SIGNAL_TRIES {
        let signal = Signal { workflow_id, run_id: "", name, request_id };
        if execution::signal(client, signal, input.clone()).await? {
            return Ok(Outcome::Told(workflow_id.to_owned()));
        }
        match execution::describe(client, workflow_id).await? {
            None => return Ok(Outcome::NoRun(workflow_id.to_owned())),
            Some(run) if run.closed_at.is_some() => return Ok(Outcome::Closed(workflow_id.to_owned(), run.state)),
            Some(_) => {}
        }
    }
    Err(TemporalError::Unavailable(format!("{workflow_id} keeps changing its run")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_first_signal_that_is_cut_leaves_nothing_behind() {
        let dispatcher = Dispatcher::new(Temporal::default());
        let news = ChecksChanged {
            repository: "acme/shop-api".parse().unwrap(),
            sha: "81c0d1e2f3a4b5c6d7e8f9011223344556677889".parse().unwrap(),
        };
        let nudge = Nudge { target: "ticket-SHOP-1".into(), news };
        let (sent, mut signals) = tokio::sync::mpsc::unbounded_channel();
        let send = move |_: Nudge| {
            sent.send(()).unwrap();
            std::future::pending()
        };
        let cut = dispatcher.nudge(nudge.clone(), send.clone());
        assert!(tokio::time::timeout(Duration::ZERO, cut).await.is_err(), "Temporal does not answer");
        assert!(signals.try_recv().is_ok());
        let next = dispatcher.nudge(nudge.clone(), send).await.unwrap();
        assert_eq!(next, Outcome::Gathered(nudge.target), "noted for the signal that follows");
        signals.recv().await.unwrap();
    }
}
