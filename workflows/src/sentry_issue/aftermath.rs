//! What a run waits for: the merge of its ticket, the quiet time after it, and the end of an error that gets no ticket.

use std::time::Duration;

use serde_json::json;

use super::ErrorEnd;
use super::desk::Watch;
use crate::contract::ids::TicketKey;
use crate::contract::policy::PolicySource;
use crate::contract::sentry::{ErrorIssue, Sentry};
use crate::contract::status::Stage;
use crate::contract::tasks::{TaskState, Tasks};
use crate::kit::{CallError, Waited, now, wait_until};
use crate::messages::Template;
use crate::policy::Family;

/// First and longest pause between two looks at what nobody tells the run about; never longer than the quiet time.
const LOOKS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(4 * 3600));
const DAY: u64 = 24 * 3600;

impl Watch {
    /// Waits for the ticket's end: when it was merged (seconds since 1970), or how else it ended.
    pub(super) async fn await_merge(&self, ticket: &TicketKey) -> Result<Result<i64, String>, CallError> {
        self.enter(format!("{ticket} is at work"));
        let mut pauses = self.pauses();
        loop {
            match self.state_of(ticket).await? {
                Look::Failed => {}
                // Forgotten, or it never began: its label was taken off before we handed it over.
                Look::Gone => return Ok(Err("unknown to Temporal".to_owned())),
                Look::Seen(state) if state.running => {}
                Look::Seen(state) if state.ended_as(Stage::Merged) => {
                    return Ok(Ok(state.ended_at.unwrap_or_else(|| now(&self.ctx))));
                }
                Look::Seen(state) => return Ok(Err(state.end())),
            }
            self.pause(pauses.next(), "look at the ticket again").await?;
        }
    }

    /// Waits until the error stays gone; `None`: it was seen again.
    pub(super) async fn await_quiet(&self, ticket: &TicketKey, merged_at: i64) -> Result<Option<ErrorEnd>, CallError> {
        let quiet = self.read(|s| s.policy.sentry.quiet_seconds);
        self.enter(format!("{ticket} is merged, waiting whether the error stays gone"));
        let (mut since, mut pauses) = (merged_at, self.pauses());
        loop {
            let left = since.saturating_add_unsigned(quiet).saturating_sub(now(&self.ctx));
            let left = Duration::from_secs(u64::try_from(left).unwrap_or_default());
            self.pause(pauses.next().min(left), "it stays gone").await?;
            let issue = match self.look_again().await? {
                Look::Failed => continue,
                Look::Gone => return Ok(Some(self.closed(ErrorEnd::Deleted).await)),
                Look::Seen(issue) if !issue.unresolved => return Ok(Some(self.closed(ErrorEnd::NotUnresolved).await)),
                Look::Seen(issue) => issue,
            };
            if issue.last_seen > since {
                if self.is_back(&issue, merged_at, quiet).await? {
                    return Ok(None);
                }
                since = issue.last_seen;
            } else if now(&self.ctx) >= since.saturating_add_unsigned(quiet) {
                self.call(Family::Effect, "resolve the issue", Sentry::resolve, issue.id.clone()).await?;
                self.tell_end("it stayed gone after the merge, so I resolved it in Sentry.").await;
                return Ok(Some(ErrorEnd::Resolved(ticket.clone())));
            }
        }
    }

    /// Releases take a while, and what an old one still reports is no proof. An event of a release that is younger than the merge
    /// is; so is one that comes when a whole quiet time has passed since.
    async fn is_back(&self, issue: &ErrorIssue, merged_at: i64, quiet: u64) -> Result<bool, CallError> {
        if issue.last_seen > merged_at.saturating_add_unsigned(quiet) {
            return Ok(true);
        }
        match self.newest_event().await {
            Ok(event) => Ok(event.is_some_and(|event| event.released_at.is_some_and(|at| at > merged_at))),
            Err(CallError::Failed(_)) => Ok(false),
            Err(cancelled) => Err(cancelled),
        }
    }

    /// The ticket ended without a merge, and what a person ended stays so. The run stays too: reports of the error join it, so
    /// that it is not begun anew every hour. `None`: there is work on the ticket again.
    pub(super) async fn await_new_work(&self, ticket: &TicketKey, how: &str) -> Result<Option<ErrorEnd>, CallError> {
        self.tell_end(&format!("its ticket ended {how}; nobody works on it. Label {ticket} again to change that."))
            .await;
        self.enter(format!("{ticket} ended {how}: not mended"));
        let mut vigil = self.vigil(ErrorEnd::NotMended(ticket.clone(), how.to_owned()));
        loop {
            if let Some(end) = self.keep_vigil(&mut vigil).await? {
                return Ok(Some(end));
            }
            if let Look::Seen(state) = self.state_of(ticket).await?
                && (state.running || state.ended_as(Stage::Merged))
            {
                return Ok(None);
            }
        }
    }

    /// Tells people of an error that gets no ticket, and stays, so that nobody is told again every hour. It ends when the error
    /// is gone, when a new run could report it, or when it may be told anew.
    pub(super) async fn tell_only(&self, issue: &ErrorIssue, why: &str) -> Result<ErrorEnd, CallError> {
        let mut vigil = self.tell_without_ticket(issue, why).await;
        loop {
            if let Some(end) = self.keep_vigil(&mut vigil).await? {
                return Ok(end);
            }
            // The run keeps its policy; whether a new run would find a project is asked of the one in force.
            let policy = self.seen(self.call(Family::Read, "read policy", PolicySource::read, ()).await.map(Some))?;
            let event = self.seen(self.newest_event().await)?;
            if let (Look::Seen(policy), Look::Seen(event)) = (policy, event)
                && !event.frames.is_empty()
                && policy.sentry.projects.contains_key(&issue.project)
                && !matches!(self.known_report(issue).await, Err(CallError::Failed(_)))
            {
                return Ok(ErrorEnd::ToldOnly(why.to_owned()));
            }
        }
    }

    /// Tells people once that there is an error without a ticket, and why.
    pub(super) async fn tell_without_ticket(&self, issue: &ErrorIssue, why: &str) -> Vigil {
        let vigil = self.vigil(ErrorEnd::ToldOnly(why.to_owned()));
        let why = why.trim_end_matches('.');
        let extra = json!({ "ticket": "", "ticket_url": "", "analysis": null, "why": format!("No ticket: {why}.") });
        self.tell("told", Template::SlackError, issue, extra, None).await;
        self.enter(format!("told in Slack, no ticket: {why}"));
        vigil
    }

    fn vigil(&self, end: ErrorEnd) -> Vigil {
        let days = self.read(|s| u64::from(s.policy.sentry.dedupe_days));
        Vigil { until: now(&self.ctx).saturating_add_unsigned(days * DAY), pauses: self.pauses(), end }
    }

    /// Pauses and looks. `Some` when the vigil is over.
    pub(super) async fn keep_vigil(&self, vigil: &mut Vigil) -> Result<Option<ErrorEnd>, CallError> {
        if now(&self.ctx) >= vigil.until {
            return Ok(Some(vigil.end.clone()));
        }
        self.pause(vigil.pauses.next(), "look at the error again").await?;
        Ok(match self.look_again().await? {
            Look::Gone => Some(ErrorEnd::Deleted),
            Look::Seen(issue) if !issue.unresolved => Some(ErrorEnd::NotUnresolved),
            Look::Seen(_) | Look::Failed => None,
        })
    }

    async fn closed(&self, end: ErrorEnd) -> ErrorEnd {
        self.tell_end(if end == ErrorEnd::Deleted {
            "Sentry does not know it any more."
        } else {
            "it is not open in Sentry any more."
        })
        .await;
        end
    }

    async fn look_again(&self) -> Result<Look<ErrorIssue>, CallError> {
        self.seen(self.read_issue().await)
    }

    async fn state_of(&self, ticket: &TicketKey) -> Result<Look<TaskState>, CallError> {
        let summary = format!("look at {ticket}");
        self.seen(self.call(Family::Read, &summary, Tasks::ticket_state, ticket.clone()).await)
    }

    /// A run that waits for days outlives hours in which somebody does not answer.
    fn seen<T>(&self, read: Result<Option<T>, CallError>) -> Result<Look<T>, CallError> {
        match read {
            Ok(Some(seen)) => Ok(Look::Seen(seen)),
            Ok(None) => Ok(Look::Gone),
            Err(CallError::Failed(failure)) => {
                self.log(format!("looking again later: {}", failure.message));
                Ok(Look::Failed)
            }
            Err(CallError::Cancelled) => Err(CallError::Cancelled),
        }
    }

    fn pauses(&self) -> Pauses {
        let quiet = Duration::from_secs(self.read(|s| s.policy.sentry.quiet_seconds).max(1));
        Pauses { next: LOOKS.0.min(quiet), longest: LOOKS.1.min(quiet) }
    }

    pub(super) async fn pause(&self, pause: Duration, what: &str) -> Result<(), CallError> {
        let pause = pause.max(Duration::from_secs(1));
        match wait_until(&self.ctx, &self.token, pause, what, |_| false).await {
            Waited::Cancelled => Err(CallError::Cancelled),
            Waited::TimedOut | Waited::Fulfilled => Ok(()),
        }
    }
}

/// What a look came to.
enum Look<T> {
    Seen(T),
    Gone,
    /// Nobody answered.
    Failed,
}

/// A wait for something that may never come.
pub(super) struct Vigil {
    /// Seconds since 1970 when it is given up.
    until: i64,
    pauses: Pauses,
    /// The run's end then.
    pub(super) end: ErrorEnd,
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
