//! Looks through all unresolved errors once an hour and starts a run for each that is over its threshold.
//!
//! Workflow type `sentry_sweep`, started by the schedule [`SCHEDULE`]; by hand: `temporal schedule trigger --schedule-id
//! sentry-sweep`. Input [`SweepInput`], all of it optional. Webhooks tell of errors faster; this finds what they missed. Both
//! meet in one run per issue (`sentry-<issue id>`).

use serde::{Deserialize, Serialize};
use temporalio_common::data_converters::RawValue;
use temporalio_common::error::ApplicationFailure;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ContinueAsNewOptions, WorkflowCancellationToken, WorkflowContext, WorkflowContextView, WorkflowResult,
    WorkflowTermination,
};

use crate::contract::policy::{Policy, PolicySource};
use crate::contract::sentry::{ErrorIssue, ErrorPage, ListErrors, Sentry};
use crate::contract::tasks::Tasks;
use crate::contract::trigger::{ErrorReported, EventId};
use crate::kit::{self, CallError, now_milliseconds};
use crate::policy::Family;

/// Id of the schedule that starts sweeps, and of their runs' prefix.
pub const SCHEDULE: &str = "sentry-sweep";
/// Type name of the workflow.
pub const SENTRY_SWEEP_WORKFLOW: &str = "sentry_sweep";

/// Errors started by one run; more go on in the next, so that no history grows without bounds.
const STARTS: u32 = 300;
/// Errors that could not be started in a row until the sweep gives up: Temporal itself is in trouble then.
const FAILURES: u32 = 5;

/// Input of `sentry_sweep`, and how far an earlier run of it got.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SweepInput {
    /// Where to go on.
    pub cursor: Option<String>,
    /// Counts so far.
    pub swept: Swept,
}

/// What a sweep came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Swept {
    /// Unresolved issues looked at.
    pub looked_at: u64,
    /// Of these, over their threshold.
    pub over_threshold: u64,
    /// Of these, a run was begun; the others have one or are known.
    pub started: u64,
    /// Of these, could not be started now; the next sweep finds them again.
    pub failed: u64,
    /// Of these, left for the next sweep: this one has begun as many runs as it may.
    pub postponed: u64,
}

/// The `sentry_sweep` workflow.
#[workflow]
pub struct SentrySweepWorkflow {
    input: Result<SweepInput, String>,
    swept: Swept,
}

#[workflow_methods]
impl SentrySweepWorkflow {
    #[init]
    fn new(_ctx: &WorkflowContextView, raw: RawValue) -> Self {
        // A schedule edited by hand may send nothing at all.
        let input = if raw.payloads.is_empty() { Ok(SweepInput::default()) } else { kit::decode(raw) };
        Self { input, swept: Swept::default() }
    }

    /// Sweeps once.
    #[run(name = SENTRY_SWEEP_WORKFLOW)]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<Swept> {
        let input = match ctx.state(|s| s.input.clone()) {
            Ok(input) => input,
            Err(fault) => {
                let fault = format!("the input of {SENTRY_SWEEP_WORKFLOW} does not decode: {fault}");
                return Err(ApplicationFailure::non_retryable(fault).into());
            }
        };
        let sweep = Sweep { ctx: ctx.clone(), token: ctx.cancellation_token() };
        match sweep.all_pages(input).await {
            Ok(None) => Ok(ctx.state(|s| s.swept)),
            Ok(Some(rest)) => {
                let raw = RawValue::from_value(&rest, ctx.payload_converter());
                match ctx.continue_as_new(raw, ContinueAsNewOptions::default())? {}
            }
            Err(CallError::Cancelled) => Err(WorkflowTermination::cancelled()),
            Err(CallError::Failed(failure)) => {
                let text = format!("{} The next sweep tries again.", failure.message);
                Err(ApplicationFailure::non_retryable(text).into())
            }
        }
    }

    /// Counts so far.
    #[query(name = "status")]
    pub fn status(&self, _ctx: &WorkflowContextView, _raw: RawValue) -> Swept {
        self.swept
    }
}

struct Sweep {
    ctx: WorkflowContext<SentrySweepWorkflow>,
    token: WorkflowCancellationToken,
}

impl Sweep {
    /// All pages, or what is left when this run has started enough.
    async fn all_pages(&self, input: SweepInput) -> Result<Option<SweepInput>, CallError> {
        self.ctx.state_mut(|s| s.swept = input.swept);
        let policy: Policy =
            kit::call(&self.ctx, &self.token, Family::Read, "read policy", PolicySource::read, ()).await?;
        let mut cursor = input.cursor;
        let mut starts = 0;
        loop {
            let request = ListErrors { cursor, redact: policy.sentry.redact.clone() };
            let page: ErrorPage =
                kit::call(&self.ctx, &self.token, Family::Read, "list unresolved errors", Sentry::list_errors, request)
                    .await?;
            starts += self.start_those_over_threshold(&page.issues, &policy).await?;
            let Some(next) = page.next else { return Ok(None) };
            cursor = Some(next);
            if starts >= STARTS || self.ctx.continue_as_new_suggested() {
                let swept = self.ctx.state(|s| s.swept);
                return Ok(Some(SweepInput { cursor, swept }));
            }
        }
    }

    async fn start_those_over_threshold(&self, issues: &[ErrorIssue], policy: &Policy) -> Result<u32, CallError> {
        let (mut starts, mut failures) = (0, 0);
        for issue in issues {
            let over = issue.events_24h >= policy.sentry.thresholds.of(issue.level);
            self.count(|swept| {
                swept.looked_at += 1;
                swept.over_threshold += u64::from(over);
            });
            if !over {
                continue;
            }
            // The day Sentry is switched on must not become hundreds of plans in an hour.
            if self.ctx.state(|s| s.swept.started) >= policy.sentry.starts_per_sweep.into() {
                self.count(|swept| swept.postponed += 1);
                continue;
            }
            starts += 1;
            match self.start(issue).await {
                Ok(new) => {
                    failures = 0;
                    self.count(|swept| swept.started += u64::from(new));
                }
                Err(CallError::Failed(_)) if failures < FAILURES => {
                    failures += 1;
                    self.count(|swept| swept.failed += 1);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(starts)
    }

    /// The event is the sweep's own look: Sentry counts with a delay, so an issue whose last run found too few events may be
    /// over its threshold now without a newer event.
    async fn start(&self, issue: &ErrorIssue) -> Result<bool, CallError> {
        let at = now_milliseconds(&self.ctx);
        let event = EventId { id: format!("sweep-{}-{at}", issue.id), at };
        let reported = ErrorReported { issue: issue.id.clone(), event, summary: issue.short_id.clone() };
        let summary = format!("start the run of {}", issue.short_id);
        let started = kit::call(&self.ctx, &self.token, Family::Read, &summary, Tasks::start_error, reported).await?;
        Ok(started.new)
    }

    fn count(&self, count: impl FnOnce(&mut Swept)) {
        self.ctx.state_mut(|s| count(&mut s.swept));
    }
}
