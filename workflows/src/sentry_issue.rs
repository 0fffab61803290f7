//! One error that Sentry reports, from its first spike until it stays gone.
//!
//! Workflow type `sentry_issue`, id `sentry-<issue id>`, input [`ErrorReported`]. It takes no signals: a report of the same
//! issue joins the run, which reads Sentry itself when its time has come; an alert may fire every few minutes for weeks, and each
//! signal would grow the history. Queries: `status`, `log`. Ends with [`ErrorEnd`].
//!
//! `Watch::look_after` is the business flow from top to bottom. Below its threshold an error has no effect at all.

mod aftermath;
mod desk;
mod report;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use temporalio_common::data_converters::RawValue;
use temporalio_common::error::ApplicationFailure;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{WorkflowContext, WorkflowContextView, WorkflowResult, WorkflowTermination};

use crate::contract::ids::{Generation, TicketKey};
use crate::contract::money::MicroUsd;
use crate::contract::policy::{Policy, PolicySource};
use crate::contract::sentry::ErrorIssue;
use crate::contract::slack::MessageRef;
use crate::contract::status::LogEntry;
use crate::contract::trigger::{ErrorReported, SENTRY_WORKFLOW};
use crate::journal::{Journal, Occurrences};
use crate::kit::{self, CallError};
use crate::policy::Family;
use desk::Watch;

/// Label of every ticket that an error made.
pub const REPORT_LABEL: &str = "sentry-auto";

/// Entries kept in the log.
const LOG_ENTRIES: usize = 100;
/// Why there is no ticket for what has none.
const NO_STACK_TRACE: &str = "Sentry has no stack trace of it";

/// How the run of an error ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorEnd {
    /// Too few events; nothing was done.
    BelowThreshold {
        /// Events of the last 24 hours.
        events: u64,
        /// From how many on it counts.
        threshold: u64,
    },
    /// It was resolved, ignored or archived, by a person or by Sentry's own rules.
    NotUnresolved,
    /// Sentry does not know it any more.
    Deleted,
    /// There is no stack trace, or no Jira project: people were told, no ticket was made.
    ToldOnly(String),
    /// It stayed gone after the merge and was resolved in Sentry.
    Resolved(TicketKey),
    /// Its ticket ended without a merge.
    NotMended(TicketKey, String),
}

/// What the `status` query answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorStatus {
    /// What is going on, in words.
    pub doing: String,
    /// The issue, once it was read.
    pub issue: Option<ErrorIssue>,
    /// Its ticket.
    pub ticket: Option<TicketKey>,
    /// Spent on the analysis.
    pub spent: MicroUsd,
}

/// The `sentry_issue` workflow.
#[workflow]
pub struct SentryIssueWorkflow {
    input: Result<ErrorReported, String>,
    state: State,
}

#[derive(Default)]
struct State {
    policy: Policy,
    doing: String,
    issue: Option<ErrorIssue>,
    ticket: Option<TicketKey>,
    spent: MicroUsd,
    thread: Option<MessageRef>,
    occurrences: Occurrences,
    log: Journal<LOG_ENTRIES>,
}

#[workflow_methods]
impl SentryIssueWorkflow {
    #[init]
    fn new(_ctx: &WorkflowContextView, raw: RawValue) -> Self {
        Self { input: kit::decode(raw), state: State::default() }
    }

    /// Looks after the error until it is gone or nothing can be done.
    #[run(name = SENTRY_WORKFLOW)]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<ErrorEnd> {
        let input = match ctx.state(|s| s.input.clone()) {
            Ok(input) => input,
            Err(fault) => {
                let fault = format!("the input of {SENTRY_WORKFLOW} does not decode: {fault}");
                return Err(ApplicationFailure::non_retryable(fault).into());
            }
        };
        let generation = Generation::of_event(&input.event.id);
        let watch = Watch { ctx: ctx.clone(), token: ctx.cancellation_token(), input, generation };
        match watch.look_after().await {
            Ok(end) => {
                watch.enter(end.words());
                Ok(end)
            }
            Err(CallError::Cancelled) => Err(WorkflowTermination::cancelled()),
            Err(CallError::Failed(failure)) => {
                Err(ApplicationFailure::non_retryable(format!("{} The next sweep looks again.", failure.message))
                    .into())
            }
        }
    }

    /// Where it stands.
    #[query(name = "status")]
    pub fn status(&self, _ctx: &WorkflowContextView, _raw: RawValue) -> ErrorStatus {
        let State { doing, issue, ticket, spent, .. } = &self.state;
        ErrorStatus { doing: doing.clone(), issue: issue.clone(), ticket: ticket.clone(), spent: *spent }
    }

    /// What happened so far.
    #[query(name = "log")]
    pub fn log(&self, _ctx: &WorkflowContextView, _raw: RawValue) -> Vec<LogEntry> {
        self.state.log.entries().cloned().collect()
    }
}

impl ErrorEnd {
    fn words(&self) -> String {
        match self {
            Self::BelowThreshold { events, threshold } => {
                format!("{events} events in 24 hours, {threshold} are needed: nothing to do")
            }
            Self::NotUnresolved => "it is not open in Sentry any more: nothing to do".to_owned(),
            Self::Deleted => "Sentry does not know it any more: nothing to do".to_owned(),
            Self::ToldOnly(why) => format!("told in Slack, no ticket: {why}"),
            Self::Resolved(ticket) => format!("stayed gone after {ticket}: resolved in Sentry"),
            Self::NotMended(ticket, how) => format!("{ticket} ended {how}: not mended"),
        }
    }
}

/// What is known of an issue after the first look.
enum Look {
    Counts(ErrorIssue),
    Ends(ErrorEnd),
}

impl Watch {
    /// The business flow.
    async fn look_after(&self) -> Result<ErrorEnd, CallError> {
        self.enter("reading the statistics");
        let policy: Policy = self.call(Family::Read, "read policy", PolicySource::read, ()).await?;
        self.write(|s| s.policy = policy);
        let issue = match self.look().await? {
            Look::Counts(issue) => issue,
            Look::Ends(end) => return Ok(end),
        };
        let event = self.newest_event().await?;
        let known = match self.known_report(&issue).await {
            Ok(known) => known,
            Err(CallError::Cancelled) => return Err(CallError::Cancelled),
            Err(CallError::Failed(failure)) => return self.tell_only(&issue, &failure.message).await,
        };
        let ticket = match (known, event) {
            (Some(known), event) => self.pick_up(&issue, event.as_ref(), known).await?,
            (None, Some(event)) if !event.frames.is_empty() => match self.report(&issue, &event).await? {
                Ok(ticket) => ticket,
                Err(end) => return Ok(end),
            },
            (None, _) => return self.tell_only(&issue, NO_STACK_TRACE).await,
        };
        loop {
            match self.await_merge(&ticket).await? {
                Ok(merged_at) => match self.await_quiet(&ticket, merged_at).await? {
                    Some(end) => return Ok(end),
                    None => self.seen_again(&ticket).await?,
                },
                Err(how) => {
                    if let Some(end) = self.await_new_work(&ticket, &how).await? {
                        return Ok(end);
                    }
                }
            }
        }
    }

    /// Reads the issue and judges whether it counts. No effect. Sentry counts with a delay, and what is reported while the run
    /// reads only joins it: with too few events it looks once more before it ends.
    async fn look(&self) -> Result<Look, CallError> {
        match self.look_once().await? {
            Look::Ends(ErrorEnd::BelowThreshold { .. }) => {}
            look => return Ok(look),
        }
        self.pause(Duration::from_secs(self.read(|s| s.policy.sentry.settle_seconds)), "Sentry counts").await?;
        self.look_once().await
    }

    async fn look_once(&self) -> Result<Look, CallError> {
        let Some(issue) = self.read_issue().await? else { return Ok(Look::Ends(ErrorEnd::Deleted)) };
        if !issue.unresolved {
            return Ok(Look::Ends(ErrorEnd::NotUnresolved));
        }
        let threshold = self.read(|s| s.policy.sentry.thresholds.of(issue.level));
        if issue.events_24h < threshold {
            return Ok(Look::Ends(ErrorEnd::BelowThreshold { events: issue.events_24h, threshold }));
        }
        Ok(Look::Counts(issue))
    }
}
