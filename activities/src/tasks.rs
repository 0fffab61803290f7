//! Our own runs, as activities: starting them, and looking at them.

use std::sync::Arc;

use async_trait::async_trait;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use workflows::contract::ids::TicketKey;
use workflows::contract::tasks::{RunStarted, TaskState, definitions};
use workflows::contract::trigger::{ErrorReported, TicketLabelled};

use crate::failure::ServiceError;
use crate::heartbeat::to_its_end;

/// Where runs are started and looked at: the start function that webhooks use too.
#[async_trait]
pub trait Runs: Send + Sync {
    /// Starts a ticket, or joins its run.
    async fn start_ticket(&self, labelled: &TicketLabelled) -> Result<RunStarted, ServiceError>;

    /// Starts the run of an error, or joins it.
    async fn start_error(&self, reported: &ErrorReported) -> Result<RunStarted, ServiceError>;

    /// A ticket's newest run; `None`: Temporal knows none.
    async fn ticket_state(&self, ticket: &TicketKey) -> Result<Option<TaskState>, ServiceError>;
}

/// Our own runs, as activities.
pub struct TaskActivities {
    /// Where they are.
    pub runs: Arc<dyn Runs>,
}

#[activities]
impl TaskActivities {
    /// Starts a ticket, or joins its run. Idempotent by the event.
    #[activity(definition = definitions::StartTicket)]
    pub async fn start_ticket(
        self: Arc<Self>,
        ctx: ActivityContext,
        labelled: TicketLabelled,
    ) -> Result<RunStarted, ActivityError> {
        to_its_end(&ctx, self.runs.start_ticket(&labelled)).await
    }

    /// Starts the run of an error, or joins it. Idempotent by the event.
    #[activity(definition = definitions::StartError)]
    pub async fn start_error(
        self: Arc<Self>,
        ctx: ActivityContext,
        reported: ErrorReported,
    ) -> Result<RunStarted, ActivityError> {
        to_its_end(&ctx, self.runs.start_error(&reported)).await
    }

    /// Looks at a ticket's newest run. No effect.
    #[activity(definition = definitions::TicketState)]
    pub async fn ticket_state(
        self: Arc<Self>,
        ctx: ActivityContext,
        ticket: TicketKey,
    ) -> Result<Option<TaskState>, ActivityError> {
        self.runs.ticket_state(&ticket).await.map_err(|error| error.into_activity_error(ctx.info().attempt))
    }
}
