//! Time-outs and retries of every activity family, in one table.
//!
//! Time-outs nest: an HTTP call (8 s) < a heartbeat (10 s) < one attempt < the whole call with its retries. Effects retry
//! after 3 s at the earliest, so that a dead attempt is noticed before the next one begins, and report cancellation only when
//! they have really ended: compensation must never overtake them.

use std::time::Duration;

use temporalio_workflow::WorkflowCancellationToken;
use temporalio_workflow::{ActivityCancellationType, ActivityCloseTimeouts, ActivityOptions, RetryPolicy};

use crate::contract::{MODEL_QUEUE, SANDBOX_QUEUE};

/// Longest set-up of a repository's dependencies, which the first command in it may have to wait for.
pub const SET_UP: Duration = Duration::from_secs(900);
/// Runs of a whole suite that a proof takes at most; the cheap ones are not counted.
pub const PROOF_RUNS: u64 = 10;

const HEARTBEAT: Duration = Duration::from_secs(10);

/// A family of activities with the same time-outs and retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Reads of GitHub, Jira and Slack, the policy and the access rules.
    Read,
    /// Writes to GitHub, Jira and Slack.
    Effect,
    /// Undoing effects: never gives up on a service that is down.
    Compensation,
    /// One attempt of a model turn; the agent's loop decides about the next.
    Model,
    /// A tool call or proof in a workspace whose commands may take this long.
    Sandbox {
        /// Longest run of all commands together.
        commands: Duration,
    },
}

struct Row {
    attempt: Duration,
    in_all: Duration,
    first_retry: Duration,
    longest_retry: Duration,
    attempts: u32,
}

/// Options of one call.
pub fn activity_options(family: Family, token: &WorkflowCancellationToken, summary: &str) -> ActivityOptions {
    let seconds = Duration::from_secs;
    let hours = |n: u64| seconds(n * 3600);
    let row = match family {
        Family::Read => row(seconds(30), hours(1), seconds(1), seconds(60), 0),
        Family::Effect => row(seconds(90), hours(1), seconds(3), seconds(60), 0),
        Family::Compensation => row(seconds(90), hours(7 * 24), seconds(3), seconds(600), 0),
        Family::Model => row(seconds(20 * 60), hours(1), seconds(3), seconds(60), 1),
        Family::Sandbox { commands } => row(commands + SET_UP, hours(4), seconds(1), seconds(60), 0),
    };
    let retries = RetryPolicy::builder()
        .initial_interval(row.first_retry)
        .backoff_coefficient(2.0)
        .maximum_interval(row.longest_retry);
    let retries = if row.attempts > 0 { retries.maximum_attempts(row.attempts).build() } else { retries.build() };
    let options = ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: row.in_all,
        start_to_close: row.attempt,
    })
    .retry_policy(retries)
    .cancellation_token(token.clone())
    .cancellation_type(match family {
        Family::Read => ActivityCancellationType::TryCancel,
        _ => ActivityCancellationType::WaitCancellationCompleted,
    })
    .maybe_heartbeat_timeout((family != Family::Read).then_some(HEARTBEAT))
    .maybe_task_queue(match family {
        Family::Model => Some(MODEL_QUEUE.to_owned()),
        Family::Sandbox { .. } => Some(SANDBOX_QUEUE.to_owned()),
        _ => None,
    })
    .summary(summary.chars().take(200).collect::<String>());
    options.build()
}

fn row(attempt: Duration, in_all: Duration, first_retry: Duration, longest_retry: Duration, attempts: u32) -> Row {
    Row { attempt, in_all, first_retry, longest_retry, attempts }
}
