//! What a run waits for: the merge of its ticket, the quiet time after it, and the end of an error that gets no ticket.

use std::time::Duration;

use serde_json::json;

use super::ErrorEnd;
use super::desk::Watch;
use crate::contract::ids::TicketKey;
use crate::contract::policy::{Policy, PolicySource};
use crate::contract::sentry::{ErrorIssue, Sentry};
use crate::contract::status::Stage;
use crate::contract::tasks::Tasks;
use crate::kit::{CallError, Waited, now, wait_until};
use crate::messages::Template;
use crate::policy::Family;

/// First and longest pause between two looks at what nobody tells the run about; never longer than the quiet time.
const LOOKS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(4 * 3600));
const DAY: u64 = 24 * 3600;

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
        let mut pauses = self.pauses();
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
            self.pause(pauses.next(), "look at the ticket again").await?;
        }
    }

    /// Waits until the error stays gone; `None`: it was seen again.
    pub(super) async fn await_quiet(&self, ticket: &TicketKey) -> Result<Option<ErrorEnd>, CallError> {
        let release = self.newest_event().await?.map(|event| event.release).unwrap_or_default();
        let merge = Merge { at: now(&self.ctx), release };
        let quiet = self.read(|s| s.policy.sentry.quiet_seconds);
        self.enter(format!("{ticket} is merged, waiting whether the error stays gone"));
        let (mut since, mut pauses) = (merge.at, self.pauses());
        loop {
            let left = since.saturating_add_unsigned(quiet).saturating_sub(now(&self.ctx));
            let left = Duration::from_secs(u64::try_from(left).unwrap_or_default());
            self.pause(pauses.next().min(left), "it stays gone").await?;
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
            } else if now(&self.ctx) >= since.saturating_add_unsigned(quiet) {
                self.call(Family::Effect, "resolve the issue", Sentry::resolve, issue.id.clone()).await?;
                self.tell_end(&issue, "it stayed gone after the merge, so I resolved it in Sentry.").await;
                return Ok(Some(ErrorEnd::Resolved(ticket.clone())));
            }
        }
    }

    /// Tells people of an error that gets no ticket, and stays: reports of it join the run, so that nobody is told again every
    /// hour. It ends when the error is gone, when it could get a ticket now, or when it may be told anew.
    pub(super) async fn tell_only(&self, issue: &ErrorIssue, why: &str) -> Result<ErrorEnd, CallError> {
        let extra = json!({ "ticket": "", "ticket_url": "", "analysis": null, "why": format!("No ticket: {why}.") });
        self.tell("told", Template::SlackError, issue, extra, None).await;
        self.enter(format!("told in Slack, no ticket: {why}"));
        let until = now(&self.ctx).saturating_add_unsigned(self.read(|s| u64::from(s.policy.sentry.dedupe_days) * DAY));
        let mut pauses = self.pauses();
        while now(&self.ctx) < until {
            self.pause(pauses.next(), "look at the error again").await?;
            let Some(issue) = self.read_issue().await? else { return Ok(ErrorEnd::Deleted) };
            if !issue.unresolved {
                return Ok(ErrorEnd::NotUnresolved);
            }
            // The run keeps its policy; whether a new run would find a project for it is asked of the one in force.
            let policy: Policy = self.call(Family::Read, "read policy", PolicySource::read, ()).await?;
            let has_frames = self.newest_event().await?.is_some_and(|event| !event.frames.is_empty());
            if has_frames && policy.sentry.projects.contains_key(&issue.project) {
                break;
            }
        }
        Ok(ErrorEnd::ToldOnly(why.to_owned()))
    }

    fn pauses(&self) -> Pauses {
        let quiet = Duration::from_secs(self.read(|s| s.policy.sentry.quiet_seconds).max(1));
        Pauses { next: LOOKS.0.min(quiet), longest: LOOKS.1.min(quiet) }
    }

    async fn pause(&self, pause: Duration, what: &str) -> Result<(), CallError> {
        let pause = pause.max(Duration::from_secs(1));
        match wait_until(&self.ctx, &self.token, pause, what, |_| false).await {
            Waited::Cancelled => Err(CallError::Cancelled),
            Waited::TimedOut | Waited::Fulfilled => Ok(()),
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

/// Pauses that double.
struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }
}
