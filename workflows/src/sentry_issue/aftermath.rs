//! From a ticket at work to an error that is gone: the merge, the quiet time, the resolution.

use std::time::Duration;

use super::ErrorEnd;
use super::desk::Watch;
use crate::contract::ids::TicketKey;
use crate::contract::sentry::{ErrorIssue, Sentry};
use crate::contract::status::Stage;
use crate::contract::tasks::Tasks;
use crate::kit::{CallError, Waited, now, wait_until};
use crate::policy::Family;

/// First and longest pause between looks at the ticket.
const TICKET_POLLS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// When the change was merged, and what ran in production then.
struct Merge {
    /// Seconds since 1970.
    at: i64,
    /// Release of the newest event before the merge, or empty.
    release: String,
}

impl Watch {
    /// Waits for the ticket's end; when it was not merged: how else it ended.
    pub(super) async fn await_merge(&self, ticket: &TicketKey) -> Result<Result<(), String>, CallError> {
        self.enter(format!("{ticket} is at work"));
        let quiet = Duration::from_secs(self.read(|s| s.policy.sentry.quiet_seconds).max(1));
        let (mut pause, longest) = (TICKET_POLLS.0.min(quiet), TICKET_POLLS.1.min(quiet));
        loop {
            let summary = format!("look at {ticket}");
            let state = self.call(Family::Read, &summary, Tasks::ticket_state, ticket.clone()).await?;
            match state {
                // Forgotten, or it never began: its label was taken off before we handed it over.
                None => return Ok(Err("unknown to Temporal".to_owned())),
                Some(state) if state.running => {}
                Some(state) if state.ended_as(Stage::Merged) => return Ok(Ok(())),
                Some(state) => return Ok(Err(state.end())),
            }
            match wait_until(&self.ctx, &self.token, pause, "look at the ticket again", |_| false).await {
                Waited::Cancelled => return Err(CallError::Cancelled),
                _ => pause = (pause * 2).min(longest),
            }
        }
    }

    /// Waits until the error stays gone; `None`: it was seen again.
    pub(super) async fn await_quiet(&self, ticket: &TicketKey) -> Result<Option<ErrorEnd>, CallError> {
        let release = self.newest_event().await?.map(|event| event.release).unwrap_or_default();
        let merge = Merge { at: now(&self.ctx), release };
        let quiet = self.read(|s| s.policy.sentry.quiet_seconds);
        self.enter(format!("{ticket} is merged, waiting whether the error stays gone"));
        let mut since = merge.at;
        loop {
            let reports = self.read(|s| s.reports);
            let left = since.saturating_add_unsigned(quiet).saturating_sub(now(&self.ctx));
            let limit = Duration::from_secs(u64::try_from(left).unwrap_or_default().max(1));
            let waited =
                wait_until(&self.ctx, &self.token, limit, "it stays gone", |w| w.state.reports > reports).await;
            if waited == Waited::Cancelled {
                return Err(CallError::Cancelled);
            }
            let Some(issue) = self.read_issue().await? else { return Ok(Some(ErrorEnd::Deleted)) };
            if !issue.unresolved {
                self.tell_end(&issue, "a person has resolved it in Sentry.").await;
                return Ok(Some(ErrorEnd::NotUnresolved));
            }
            if issue.last_seen > since {
                if self.is_back(&issue, &merge, quiet).await? {
                    return Ok(None);
                }
                since = issue.last_seen;
            } else if waited == Waited::TimedOut {
                self.call(Family::Effect, "resolve the issue", Sentry::resolve, issue.id.clone()).await?;
                self.tell_end(&issue, "it stayed gone after the merge, so I resolved it in Sentry.").await;
                return Ok(Some(ErrorEnd::Resolved(ticket.clone())));
            }
        }
    }

    /// Releases take a while, and what the old one still reports is no proof. An event of another release is; so is one that
    /// comes when a whole quiet time has passed since the merge.
    async fn is_back(&self, issue: &ErrorIssue, merge: &Merge, quiet: u64) -> Result<bool, CallError> {
        if issue.last_seen > merge.at.saturating_add_unsigned(quiet) {
            return Ok(true);
        }
        let release = self.newest_event().await?.map(|event| event.release).unwrap_or_default();
        Ok(!release.is_empty() && release != merge.release)
    }
}
