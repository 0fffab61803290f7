//! Looking at tickets: the newest run as Temporal knows it, and what its workflow says of itself.

use std::time::Duration;

use temporalio_client::Client;
use workflows::contract::ids::TicketKey;
use workflows::contract::status::TicketStatus;
use workflows::contract::tasks::TaskState;

use crate::execution;
use crate::temporal::TemporalError;

/// How long a workflow may take to answer: without a worker it never does, and a person waits at most 3 s.
const QUERY: Duration = Duration::from_secs(2);

/// A ticket's newest run; `None`: Temporal knows none. The status is absent when no worker answers in time, or the run is
/// older than its history is kept.
///
/// # Errors
/// When Temporal does not answer.
pub async fn ticket_state(client: &Client, ticket: &TicketKey) -> Result<Option<TaskState>, TemporalError> {
    let Some(run) = execution::describe(client, &ticket.workflow_id()).await? else { return Ok(None) };
    let status = tokio::time::timeout(QUERY, status(client, ticket)).await.ok().flatten();
    Ok(Some(TaskState { status, running: run.closed_at.is_none(), state: run.state }))
}

async fn status(client: &Client, ticket: &TicketKey) -> Option<TicketStatus> {
    match execution::query(client, &ticket.workflow_id(), "status").await {
        Ok(status) => Some(status),
        Err(error) => {
            tracing::info!(%ticket, %error, "the run does not answer");
            None
        }
    }
}
