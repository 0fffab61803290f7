//! Jira Cloud's REST API v3 (<https://developer.atlassian.com/cloud/jira/platform/rest/v3/>).

mod adf_read;
#[cfg(test)]
mod adf_tests;
mod adf_write;
mod client;
mod report;
#[cfg(test)]
mod report_tests;
#[cfg(test)]
mod tests;
mod ticket;

use std::sync::Arc;

use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use workflows::contract::ids::TicketKey;
use workflows::contract::jira::{
    CommentRef, FindReport, MoveTicket, Moved, ReportBug, Reported, Ticket, WriteComment, definitions,
};

use crate::heartbeat::to_its_end;
pub use client::{Auth, JiraClient, Myself, Settings};

/// Jira, as activities.
#[derive(Debug)]
pub struct JiraActivities {
    /// The connection.
    pub jira: Arc<JiraClient>,
}

#[activities]
impl JiraActivities {
    /// Reads a ticket. No effect.
    #[activity(definition = definitions::GetTicket)]
    pub async fn get_ticket(self: Arc<Self>, ctx: ActivityContext, key: TicketKey) -> Result<Ticket, ActivityError> {
        self.jira.ticket(&key).await.map_err(|error| error.into_activity_error(ctx.info().attempt))
    }

    /// Writes a comment once: the effect key is kept as a comment property and looked for before writing.
    #[activity(definition = definitions::WriteComment)]
    pub async fn write_comment(
        self: Arc<Self>,
        ctx: ActivityContext,
        comment: WriteComment,
    ) -> Result<CommentRef, ActivityError> {
        to_its_end(&ctx, self.jira.write_comment_once(&comment)).await
    }

    /// Creates a bug once: the effect key is kept as an entity property and looked for before creating.
    #[activity(definition = definitions::ReportBug)]
    pub async fn report_bug(self: Arc<Self>, ctx: ActivityContext, bug: ReportBug) -> Result<Reported, ActivityError> {
        let is_first = ctx.info().attempt == 1;
        to_its_end(&ctx, self.jira.report_once(&bug, is_first)).await
    }

    /// Finds the newest report of an error. No effect.
    #[activity(definition = definitions::FindReport)]
    pub async fn find_report(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: FindReport,
    ) -> Result<Option<Reported>, ActivityError> {
        self.jira.find_report(&request).await.map_err(|error| error.into_activity_error(ctx.info().attempt))
    }

    /// Moves a ticket to a status by name; a ticket that is there already is left alone.
    #[activity(definition = definitions::MoveTicket)]
    pub async fn move_ticket(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: MoveTicket,
    ) -> Result<Moved, ActivityError> {
        to_its_end(&ctx, self.jira.move_ticket(&request)).await
    }
}
