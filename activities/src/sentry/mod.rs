//! Sentry's web API (<https://docs.sentry.io/api/>): errors read and redacted, their ticket named on them, resolved.
//!
//! Everything that leaves this module has been through [`Redactor`]: no workflow, model, Jira or Slack sees the original.

mod client;
mod event;
mod redact;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use workflows::contract::ids::{SentryIssueId, TicketKey};
use workflows::contract::sentry::{ErrorEvent, ErrorIssue, ErrorPage, LinkTicket, ListErrors, ReadError, definitions};

use crate::failure::ServiceError;
use crate::heartbeat::to_its_end;
pub use client::{Hour, Organisation, SentryClient, Settings};
pub use redact::{BadPattern, Redactor};

/// Sentry, as activities.
#[derive(Debug)]
pub struct SentryActivities {
    /// The connection.
    pub sentry: Arc<SentryClient>,
}

#[activities]
impl SentryActivities {
    /// Reads one page of unresolved issues with their statistics of the last 24 hours. No effect.
    #[activity(definition = definitions::ListErrors)]
    pub async fn list_errors(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: ListErrors,
    ) -> Result<ErrorPage, ActivityError> {
        let read = async || {
            let redactor = Redactor::new(&request.redact)?;
            self.sentry.unresolved(request.cursor.as_deref(), &redactor).await
        };
        told(&ctx, read().await)
    }

    /// Reads an issue; `None` when it was deleted or merged away. No effect.
    #[activity(definition = definitions::GetError)]
    pub async fn get_error(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: ReadError,
    ) -> Result<Option<ErrorIssue>, ActivityError> {
        let read = async || self.sentry.issue(&request.issue, &Redactor::new(&request.redact)?).await;
        told(&ctx, read().await)
    }

    /// Reads an issue's newest event; `None` when Sentry keeps none. No effect.
    #[activity(definition = definitions::LatestEvent)]
    pub async fn latest_event(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: ReadError,
    ) -> Result<Option<ErrorEvent>, ActivityError> {
        let read = async || self.sentry.latest_event(&request.issue, &Redactor::new(&request.redact)?).await;
        told(&ctx, read().await)
    }

    /// Names the ticket on the issue. Sentry keeps one link per issue and app, so a second call replaces the first.
    #[activity(definition = definitions::LinkTicket)]
    pub async fn link_ticket(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: LinkTicket,
    ) -> Result<bool, ActivityError> {
        to_its_end(&ctx, self.sentry.link_ticket(&request)).await
    }

    /// The ticket that an earlier run named on the issue. No effect.
    #[activity(definition = definitions::LinkedTicket)]
    pub async fn linked_ticket(
        self: Arc<Self>,
        ctx: ActivityContext,
        issue: SentryIssueId,
    ) -> Result<Option<TicketKey>, ActivityError> {
        told(&ctx, self.sentry.linked_ticket(&issue).await)
    }

    /// Resolves an issue; a resolved one is left alone, and one that is gone needs nothing.
    #[activity(definition = definitions::Resolve)]
    pub async fn resolve(self: Arc<Self>, ctx: ActivityContext, issue: SentryIssueId) -> Result<(), ActivityError> {
        to_its_end(&ctx, self.sentry.resolve(&issue)).await
    }
}

fn told<T>(ctx: &ActivityContext, result: Result<T, ServiceError>) -> Result<T, ActivityError> {
    result.map_err(|error| error.into_activity_error(ctx.info().attempt))
}
