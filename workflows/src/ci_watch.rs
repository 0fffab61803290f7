//! Waits for the checks of one pull request's head: webhook first, a slow poll as safety net, no model call while waiting.
//!
//! Workflow type `ci_watch`, id `<parent id>/ci/<owner>.<repository>/<pr>-<n>`. Signal `checks_changed`: a nudge, GitHub is
//! read again. Query: none; the parent's `status` tells. Ends with a [`CiOutcome`].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use temporalio_common::data_converters::RawValue;
use temporalio_common::error::ApplicationFailure;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult, WorkflowTermination,
};

use crate::contract::github::{Check, CheckState, Checks, CommitRef, GitHub};
use crate::contract::policy::CiPolicy;
use crate::kit::{self, CallError, Waited};
use crate::policy::Family;

/// Longest pause between two polls.
const SLOWEST_POLL: Duration = Duration::from_secs(3600);

/// Input of `ci_watch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CiWatchInput {
    /// The commit whose checks count.
    pub commit: CommitRef,
    /// Limits.
    pub policy: CiPolicy,
}

/// How CI ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CiOutcome {
    /// Every check passed; skipped and neutral count.
    Green(Vec<Check>),
    /// The head has no check at all.
    NoChecks,
    /// These checks failed.
    Red(Vec<Check>),
    /// These did not finish in time.
    TimedOut(Vec<Check>),
    /// GitHub refused to tell.
    Unreadable(String),
}

/// The `ci_watch` workflow.
#[workflow]
pub struct CiWatchWorkflow {
    input: Result<CiWatchInput, String>,
    nudges: u32,
}

#[workflow_methods]
impl CiWatchWorkflow {
    #[init]
    fn new(_ctx: &WorkflowContextView, raw: RawValue) -> Self {
        Self { input: kit::decode(raw), nudges: 0 }
    }

    /// Watches until there is an outcome.
    #[run(name = "ci_watch")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<CiOutcome> {
        match ctx.state(|s| s.input.clone()) {
            Ok(input) => watch(ctx, input).await,
            Err(fault) => {
                let fault = format!("the input of ci_watch does not decode: {fault}");
                Err(ApplicationFailure::non_retryable(fault).into())
            }
        }
    }

    /// Something happened to the checks.
    #[signal(name = "checks_changed")]
    pub fn checks_changed(&mut self, _ctx: &mut SyncWorkflowContext<Self>, _raw: RawValue) {
        self.nudges += 1;
    }
}

async fn watch(ctx: &WorkflowContext<CiWatchWorkflow>, input: CiWatchInput) -> WorkflowResult<CiOutcome> {
    let token = ctx.cancellation_token();
    let began = kit::now(ctx);
    let limit = Duration::from_secs(input.policy.limit_seconds);
    let none_after = Duration::from_secs(input.policy.none_after_seconds);
    let mut poll = Duration::from_secs(input.policy.poll_seconds.max(1));
    loop {
        let nudges = ctx.state(|s| s.nudges);
        let summary = format!("read checks of {}", input.commit.sha.short());
        let read = kit::call(ctx, &token, Family::Read, &summary, GitHub::read_checks, input.commit.clone()).await;
        let checks = match read {
            Ok(checks) => checks,
            Err(CallError::Cancelled) => return Err(WorkflowTermination::cancelled()),
            Err(CallError::Failed(failure)) => return Ok(CiOutcome::Unreadable(failure.message)),
        };
        let elapsed = kit::since(ctx, began);
        if let Some(outcome) = judge(&checks, elapsed, none_after, limit) {
            return Ok(outcome);
        }
        let deadline = if checks.checks.is_empty() { none_after } else { limit };
        let pause = poll.min(deadline.saturating_sub(elapsed)).max(Duration::from_secs(1));
        match kit::wait_until(ctx, &token, pause, "wait for checks", |s| s.nudges > nudges).await {
            Waited::Cancelled => return Err(WorkflowTermination::cancelled()),
            Waited::Fulfilled => {}
            Waited::TimedOut => poll = (poll * 2).min(SLOWEST_POLL),
        }
    }
}

fn judge(checks: &Checks, elapsed: Duration, none_after: Duration, limit: Duration) -> Option<CiOutcome> {
    let having = |state: CheckState| -> Vec<Check> {
        checks.checks.iter().filter(|check| check.state == state).cloned().collect()
    };
    let (pending, failed, cancelled) =
        (having(CheckState::Pending), having(CheckState::Failed), having(CheckState::Cancelled));
    if checks.checks.is_empty() {
        (elapsed >= none_after).then_some(CiOutcome::NoChecks)
    } else if pending.is_empty() && failed.is_empty() && cancelled.is_empty() {
        Some(CiOutcome::Green(checks.checks.clone()))
    } else if pending.is_empty() {
        Some(CiOutcome::Red(failed.into_iter().chain(cancelled).collect()))
    } else if elapsed >= limit {
        Some(CiOutcome::TimedOut(pending))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(states: &[CheckState]) -> Checks {
        let check =
            |(n, state): (usize, &CheckState)| Check { name: format!("c{n}"), state: *state, url: String::new() };
        Checks { checks: states.iter().enumerate().map(check).collect() }
    }

    #[test]
    fn an_outcome_needs_every_check_to_be_finished() {
        use CheckState::{Failed, Passed, Pending};
        let minute = Duration::from_secs(60);
        let judge = |states: &[CheckState], elapsed| judge(&checks(states), elapsed, minute * 10, minute * 60);
        assert_eq!(judge(&[], minute), None);
        assert_eq!(judge(&[], minute * 10), Some(CiOutcome::NoChecks));
        assert_eq!(judge(&[Passed, Pending], minute), None);
        assert_eq!(judge(&[Failed, Pending], minute), None);
        assert!(matches!(judge(&[Failed, Passed], minute), Some(CiOutcome::Red(red)) if red.len() == 1));
        assert!(matches!(judge(&[Passed, Passed], minute), Some(CiOutcome::Green(_))));
        assert!(matches!(judge(&[Passed, Pending], minute * 60), Some(CiOutcome::TimedOut(slow)) if slow.len() == 1));
    }
}
