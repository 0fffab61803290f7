//! What the domain needs of Temporal itself: starting runs, and looking at other runs.

use serde::{Deserialize, Serialize};
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

use super::ids::TicketKey;
use super::status::{Stage, TicketStatus};
use super::trigger::{ErrorReported, TicketLabelled};

/// What a start came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStarted {
    /// The workflow's id.
    pub workflow_id: String,
    /// The run that was started, joined, or already knew the event.
    pub run_id: String,
    /// This event began it.
    pub new: bool,
}

/// A run of a ticket, as far as Temporal still knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskState {
    /// Its last status; absent when no worker answers or the run is too old.
    #[serde(default)]
    pub status: Option<TicketStatus>,
    /// It still runs.
    pub running: bool,
    /// How it ended (`completed`, `cancelled`, ...) or `running`.
    pub state: String,
    /// Seconds since 1970 when it ended; absent while it runs.
    #[serde(default)]
    pub ended_at: Option<i64>,
}

impl TaskState {
    /// The run is over and ended in this stage.
    pub fn ended_as(&self, stage: Stage) -> bool {
        !self.running && self.end() == stage.as_str()
    }

    /// How it ended, for people: its last stage where that is known.
    pub fn end(&self) -> String {
        self.status.as_ref().map_or_else(|| self.state.clone(), |status| status.stage.to_string())
    }
}

/// One ticket in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLine {
    /// The ticket.
    pub ticket: TicketKey,
    /// Its stage, or how its run ended.
    pub state: String,
    /// Seconds since 1970 when its run began.
    pub started_at: i64,
    /// Seconds since 1970 when it ended; absent while it runs.
    pub ended_at: Option<i64>,
}

/// Runs of Ticketwright, as activities.
pub struct Tasks;

#[activity_definitions]
impl Tasks {
    /// Starts a ticket, or joins its run: the one start function that webhooks use too. Idempotent by the event.
    #[activity(name = "tasks.start_ticket")]
    pub fn start_ticket(_labelled: TicketLabelled) -> Result<RunStarted, ActivityError> {
        unimplemented!()
    }

    /// Starts the run of an error, or joins it. Idempotent by the event.
    #[activity(name = "tasks.start_error")]
    pub fn start_error(_reported: ErrorReported) -> Result<RunStarted, ActivityError> {
        unimplemented!()
    }

    /// Looks at a ticket's newest run; `None`: Temporal knows none. No effect.
    #[activity(name = "tasks.ticket_state")]
    pub fn ticket_state(_ticket: TicketKey) -> Result<Option<TaskState>, ActivityError> {
        unimplemented!()
    }
}

/// The definitions, for the adapters that implement them: `#[activity(definition = ...)]`.
pub mod definitions {
    pub use super::tasks::*;
}
