//! Our own runs as activities need them: by the start function of the ingress.

use activities::failure::ServiceError;
use activities::tasks::Runs;
use async_trait::async_trait;
use ingress::start::{self, StartOutcome, Started};
use ingress::tasks;
use ingress::temporal::TemporalError;
use temporalio_client::Client;
use workflows::contract::failure::FailureKind;
use workflows::contract::ids::TicketKey;
use workflows::contract::tasks::{RunStarted, TaskState};
use workflows::contract::trigger::{ErrorReported, TicketLabelled};

/// Runs on the server that the worker is connected to.
pub(crate) struct TemporalRuns(pub Client);

#[async_trait]
impl Runs for TemporalRuns {
    async fn start_ticket(&self, labelled: &TicketLabelled) -> Result<RunStarted, ServiceError> {
        start::start_ticket(&self.0, labelled).await.map(started).map_err(failed)
    }

    async fn start_error(&self, reported: &ErrorReported) -> Result<RunStarted, ServiceError> {
        start::start_error(&self.0, reported).await.map(started).map_err(failed)
    }

    async fn ticket_state(&self, ticket: &TicketKey) -> Result<Option<TaskState>, ServiceError> {
        tasks::ticket_state(&self.0, ticket).await.map_err(failed)
    }
}

fn started(started: Started) -> RunStarted {
    let Started { workflow_id, run_id, outcome } = started;
    RunStarted { workflow_id, run_id, new: outcome == StartOutcome::Started }
}

fn failed(error: TemporalError) -> ServiceError {
    let kind = match &error {
        TemporalError::Unavailable(_) => FailureKind::Unavailable,
        TemporalError::Refused(_) => FailureKind::Invalid,
    };
    ServiceError::new(kind, error.to_string())
}
