//! Waits for the checks of one pull request's head, and makes red ones green: webhook first, a slow poll as safety net, no model
//! call and no sandbox while waiting.
//!
//! Workflow type `ci_watch`, id `<parent id>/ci/<owner>.<repository>/<pr>-<n>`. Signal `checks_changed`: a nudge, GitHub is
//! read again. Query: none; the parent's `status` tells, by the signal `ci_progress` it gets. Ends with a [`CiReport`].

mod mend;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use temporalio_common::data_converters::RawValue;
use temporalio_common::error::ApplicationFailure;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    SignalWorkflowOptions, SyncWorkflowContext, WorkflowCancellationToken, WorkflowContext, WorkflowContextView,
    WorkflowResult, WorkflowTermination,
};

use crate::contract::agent::{AgentInput, AgentSpent, Purse};
use crate::contract::analysis::RedKind;
use crate::contract::github::{Check, CheckState, Checks, CommitRef, GitHub, HeadOf, PullRequestRef, ReadChecks};
use crate::contract::ids::{BranchName, CommitSha, Generation, RepositoryName, TicketKey};
use crate::contract::money::{MicroUsd, Usage};
use crate::contract::policy::{CiPolicy, ModelChoice};
use crate::contract::status::CheckLog;
use crate::contract::trigger::ChecksChanged;
use crate::contract::workspace::Authority;
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
    /// What it may do about red checks; without it they are only reported.
    #[serde(default)]
    pub mending: Option<Mending>,
    /// An earlier head of the pull request had checks: none on this one is no sign that there is no CI.
    #[serde(default)]
    pub had_checks: bool,
}

/// The right and the means to make red checks green.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mending {
    /// The pull request.
    pub pull_request: PullRequestRef,
    /// Its branch.
    pub branch: BranchName,
    /// The branch it merges into.
    pub base: String,
    /// The commit of that branch whose rules count; `None` from versions before 0.3.0.
    #[serde(default)]
    pub approved: Option<CommitSha>,
    /// Why pushes are allowed.
    pub authority: Authority,
    /// For which ticket; absent where none is involved.
    #[serde(default)]
    pub ticket: Option<TicketKey>,
    /// Generation of the run it works for.
    pub generation: Generation,
    /// Model of the ci agent; without one only rules and fixers work.
    #[serde(default)]
    pub model: Option<ModelChoice>,
    /// What the ci agent may spend in all, unless it is leased more.
    pub lease: MicroUsd,
    /// Who can lease the ci agent more.
    #[serde(default)]
    pub purse: Option<Purse>,
    /// History events after which an agent continues as new.
    #[serde(default = "AgentInput::default_history_events")]
    pub history_events: u32,
    /// Seconds a sandboxed command may run.
    pub command_seconds: u64,
    /// Attempts that this pull request has used before.
    pub attempts: u32,
    /// What people said to mind, for the ci agent.
    #[serde(default)]
    pub guidance: Vec<String>,
    /// Workflow that is told of every step by the signal `ci_progress`.
    #[serde(default)]
    pub report_to: Option<String>,
}

/// How CI ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CiOutcome {
    /// Every check passed; skipped and neutral count.
    Green(Vec<Check>),
    /// The head has no check at all.
    NoChecks,
    /// These checks failed, and there was no right to do anything about it.
    Red(Vec<Check>),
    /// These did not finish in time. None: no check appeared, though earlier heads had some.
    TimedOut(Vec<Check>),
    /// GitHub refused to tell.
    Unreadable(String),
    /// The branch's own change made this fail: it is never patched, the work is to be done again under its tests.
    Ours(Ours),
    /// Somebody else pushed to the branch, or the pull request is over: what GitHub says of it now counts.
    Moved,
    /// A person has to look at it.
    Escalated(Diagnosis),
}

/// A failure that the branch's own change caused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ours {
    /// The red check.
    pub check: Check,
    /// Logic or compile.
    pub kind: RedKind,
    /// What the next attempt has to know: the cause and the log's end, at most 4 KB. Untrusted.
    pub failure: String,
    /// What the check printed last, for people.
    #[serde(default)]
    pub log: Option<CheckLog>,
}

/// What a person is told about red checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The red checks, at most ten.
    pub checks: Vec<Check>,
    /// Kind of failure, as far as it is known.
    pub kind: Option<RedKind>,
    /// Why, in one or two sentences.
    pub cause: String,
    /// What was tried on this head and the ones before.
    pub tried: Vec<String>,
    /// What the red checks printed last, as far as it was read.
    #[serde(default)]
    pub logs: Vec<CheckLog>,
}

/// The end of a watch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "AnyReport")]
pub struct CiReport {
    /// How CI ended.
    pub outcome: CiOutcome,
    /// Where the branch stands.
    pub head: Option<CommitSha>,
    /// Attempts used in all.
    pub attempts: u32,
    /// What the ci agent spent.
    pub spent: MicroUsd,
    /// What was changed or found out on the way, for the pull request.
    pub notes: Vec<String>,
    /// The pull request has had checks, on this head or an earlier one.
    #[serde(default)]
    pub had_checks: bool,
    /// What the ci agent did for the money.
    #[serde(default)]
    pub work: CiWork,
    /// It was cancelled: only what it spent counts.
    #[serde(default)]
    pub cancelled: bool,
}

/// What the ci agents of a watch did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CiWork {
    /// Model turns.
    pub turns: u32,
    /// Tokens of all replies.
    pub usage: Usage,
    /// Numbers of the remarks that a model was told.
    pub heard: Vec<u32>,
    /// One of them died: nobody knows what it spent of what it was granted.
    pub lost: bool,
}

/// Watches that began before there was anything to report ended with the bare outcome.
#[derive(Deserialize)]
#[serde(untagged)]
enum AnyReport {
    Whole {
        outcome: CiOutcome,
        head: Option<CommitSha>,
        attempts: u32,
        spent: MicroUsd,
        notes: Vec<String>,
        #[serde(default)]
        had_checks: bool,
        #[serde(default)]
        work: CiWork,
        #[serde(default)]
        cancelled: bool,
    },
    Bare(CiOutcome),
}

impl From<AnyReport> for CiReport {
    fn from(report: AnyReport) -> Self {
        match report {
            AnyReport::Whole { outcome, head, attempts, spent, notes, had_checks, work, cancelled } => {
                Self { outcome, head, attempts, spent, notes, had_checks, work, cancelled }
            }
            AnyReport::Bare(outcome) => Self {
                outcome,
                head: None,
                attempts: 0,
                spent: MicroUsd::default(),
                notes: Vec::new(),
                had_checks: false,
                work: CiWork::default(),
                cancelled: false,
            },
        }
    }
}

/// Signal `ci_progress`: what a watch just did. Sent to the workflow that asked for it, before the next step begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CiProgress {
    /// Repository.
    pub repository: RepositoryName,
    /// Where the branch stands now.
    pub head: CommitSha,
    /// Attempts used in all.
    pub attempts: u32,
    /// It is at work on red checks, rather than waiting.
    pub fixing: bool,
    /// What is going on, in words.
    pub doing: String,
    /// Everything there is to say in the pull request so far.
    pub notes: Vec<String>,
    /// The ci agent that ended last, and what it spent.
    #[serde(default)]
    pub ended: Option<EndedAgent>,
}

/// A ci agent that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedAgent {
    /// Which, and what it spent in all.
    pub told: AgentSpent,
    /// It died: nobody knows what it spent of what it was leased.
    pub lost: bool,
}

/// Tells a watch that checks of its head have changed; `false`: it is over.
pub async fn nudge<W>(ctx: &WorkflowContext<W>, watch: String, news: &ChecksChanged) -> bool {
    let raw = RawValue::from_value(news, ctx.payload_converter());
    let options = SignalWorkflowOptions::builder().summary("checks changed".to_owned()).build();
    let watch = ctx.external_workflow(watch, None);
    watch.signal(CiWatchWorkflow::checks_changed, raw, options).await.is_ok()
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
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<CiReport> {
        let input = match ctx.state(|s| s.input.clone()) {
            Ok(input) => input,
            Err(fault) => {
                let fault = format!("the input of ci_watch does not decode: {fault}");
                return Err(ApplicationFailure::non_retryable(fault).into());
            }
        };
        let mut watch = Watch::new(ctx.clone(), input);
        match watch.finish().await {
            Ok(outcome) => Ok(watch.report(outcome)),
            // Who pays has to know what was spent.
            Err(Cancelled) if watch.has_purse() && watch.spent != MicroUsd::default() => {
                let outcome = CiOutcome::Unreadable("the watch was cancelled".to_owned());
                Ok(CiReport { cancelled: true, ..watch.report(outcome) })
            }
            Err(Cancelled) => Err(WorkflowTermination::cancelled()),
        }
    }

    /// Something happened to the checks.
    #[signal(name = "checks_changed")]
    pub fn checks_changed(&mut self, _ctx: &mut SyncWorkflowContext<Self>, _raw: RawValue) {
        self.nudges += 1;
    }
}

/// The run is being cancelled.
struct Cancelled;

/// A watch at work.
struct Watch {
    ctx: WorkflowContext<CiWatchWorkflow>,
    token: WorkflowCancellationToken,
    policy: CiPolicy,
    mending: Option<Mending>,
    /// The commit whose checks count now.
    head: CommitRef,
    attempts: u32,
    spent: MicroUsd,
    notes: Vec<String>,
    tried: Vec<String>,
    /// What the red checks of this head printed last.
    logs: Vec<CheckLog>,
    /// Why the harness refused the ci agent's last change.
    refusal: String,
    /// How often each red check of this head was run again, by its lineage.
    reruns: BTreeMap<String, u32>,
    /// Jobs that were run again: what they said before does not count any more.
    stale: BTreeSet<u64>,
    agents: u32,
    /// The pull request has had checks.
    had_checks: bool,
    work: CiWork,
    ended: Option<EndedAgent>,
}

impl Watch {
    fn new(ctx: WorkflowContext<CiWatchWorkflow>, input: CiWatchInput) -> Self {
        let CiWatchInput { commit, policy, mending, had_checks } = input;
        Self {
            token: ctx.cancellation_token(),
            ctx,
            policy,
            attempts: mending.as_ref().map_or(0, |mending| mending.attempts),
            mending,
            head: commit,
            spent: MicroUsd::default(),
            notes: Vec::new(),
            tried: Vec::new(),
            logs: Vec::new(),
            refusal: String::new(),
            reruns: BTreeMap::new(),
            stale: BTreeSet::new(),
            agents: 0,
            had_checks,
            work: CiWork::default(),
            ended: None,
        }
    }

    fn has_purse(&self) -> bool {
        self.mending.as_ref().is_some_and(|mending| mending.purse.is_some())
    }

    async fn finish(&mut self) -> Result<CiOutcome, Cancelled> {
        loop {
            match (self.await_checks().await?, self.mending.clone()) {
                (CiOutcome::Red(red), Some(mending)) => {
                    if let Some(end) = self.mend(&mending, red).await? {
                        return Ok(end);
                    }
                }
                (end, _) => {
                    if matches!(end, CiOutcome::Green(_)) {
                        self.note_flaky();
                    }
                    return Ok(end);
                }
            }
        }
    }

    fn report(self, outcome: CiOutcome) -> CiReport {
        let Self { head, attempts, spent, notes, had_checks, work, .. } = self;
        CiReport { outcome, head: Some(head.sha), attempts, spent, notes, had_checks, work, cancelled: false }
    }

    /// Waits until all checks of the head have ended, or for as long as the policy says.
    async fn await_checks(&mut self) -> Result<CiOutcome, Cancelled> {
        let began = kit::now(&self.ctx);
        let limit = Duration::from_secs(self.policy.limit_seconds);
        let none_after = Duration::from_secs(self.policy.none_after_seconds);
        let mut poll = Duration::from_secs(self.policy.poll_seconds.max(1));
        let head_of = self
            .mending
            .as_ref()
            .map(|mending| HeadOf { number: mending.pull_request.number, branch: mending.branch.clone() });
        loop {
            let nudges = self.ctx.state(|s| s.nudges);
            let summary = format!("read checks of {}", self.head.sha.short());
            let CommitRef { repository, sha } = self.head.clone();
            let commit = ReadChecks { repository, sha, head_of: head_of.clone() };
            let read = kit::call(&self.ctx, &self.token, Family::Read, &summary, GitHub::read_checks, commit).await;
            let checks = match read {
                Ok(checks) => without_stale(checks, &self.stale),
                Err(CallError::Cancelled) => return Err(Cancelled),
                Err(CallError::Failed(failure)) => return Ok(CiOutcome::Unreadable(failure.message)),
            };
            if checks.overtaken {
                return Ok(CiOutcome::Moved);
            }
            self.had_checks |= !checks.checks.is_empty();
            let elapsed = kit::since(&self.ctx, began);
            if let Some(outcome) = judge(&checks, self.had_checks, elapsed, none_after, limit) {
                return Ok(outcome);
            }
            let deadline = if checks.checks.is_empty() { none_after } else { limit };
            let pause = poll.min(deadline.saturating_sub(elapsed)).max(Duration::from_secs(1));
            match kit::wait_until(&self.ctx, &self.token, pause, "wait for checks", |s| s.nudges > nudges).await {
                Waited::Cancelled => return Err(Cancelled),
                Waited::Fulfilled => {}
                Waited::TimedOut => poll = (poll * 2).min(SLOWEST_POLL),
            }
        }
    }
}

/// What a job that runs again said before is no news: GitHub may show it for a moment.
fn without_stale(mut checks: Checks, stale: &BTreeSet<u64>) -> Checks {
    for check in &mut checks.checks {
        let old = check.job.is_some_and(|job| stale.contains(&job));
        if old && matches!(check.state, CheckState::Failed | CheckState::Cancelled) {
            check.state = CheckState::Pending;
        }
    }
    checks
}

/// `had`: there were checks before, so that none is no sign of a repository without CI.
fn judge(checks: &Checks, had: bool, elapsed: Duration, none_after: Duration, limit: Duration) -> Option<CiOutcome> {
    let having = |state: CheckState| -> Vec<Check> {
        checks.checks.iter().filter(|check| check.state == state).cloned().collect()
    };
    let (pending, failed, cancelled) =
        (having(CheckState::Pending), having(CheckState::Failed), having(CheckState::Cancelled));
    if checks.checks.is_empty() {
        let none = if had { CiOutcome::TimedOut(Vec::new()) } else { CiOutcome::NoChecks };
        (elapsed >= none_after).then_some(none)
    } else if pending.is_empty() && failed.is_empty() && cancelled.is_empty() {
        Some(CiOutcome::Green(checks.checks.clone()))
    } else if pending.is_empty() {
        Some(CiOutcome::Red(failed.into_iter().chain(cancelled).collect()))
    } else if elapsed >= limit {
        // What hangs must not hide what is known to be red.
        Some(if failed.is_empty() { CiOutcome::TimedOut(pending) } else { CiOutcome::Red(failed) })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(states: &[CheckState]) -> Checks {
        let check = |(n, state): (usize, &CheckState)| Check {
            name: format!("c{n}"),
            state: *state,
            url: String::new(),
            job: None,
            summary: String::new(),
        };
        Checks { checks: states.iter().enumerate().map(check).collect(), overtaken: false }
    }

    #[test]
    fn an_outcome_needs_every_check_to_be_finished() {
        use CheckState::{Failed, Passed, Pending};
        let minute = Duration::from_secs(60);
        let judge_after =
            |had, states: &[CheckState], elapsed| judge(&checks(states), had, elapsed, minute * 10, minute * 60);
        let judge = |states: &[CheckState], elapsed| judge_after(false, states, elapsed);
        assert_eq!(judge(&[], minute), None);
        assert_eq!(judge(&[], minute * 10), Some(CiOutcome::NoChecks));
        assert_eq!(judge(&[Passed, Pending], minute), None);
        assert_eq!(judge(&[Failed, Pending], minute), None);
        assert!(matches!(judge(&[Failed, Passed], minute), Some(CiOutcome::Red(red)) if red.len() == 1));
        assert!(matches!(judge(&[Passed, Passed], minute), Some(CiOutcome::Green(_))));
        assert!(matches!(judge(&[Passed, Pending], minute * 60), Some(CiOutcome::TimedOut(slow)) if slow.len() == 1));
        assert_eq!(judge_after(true, &[], minute), None);
        assert_eq!(judge_after(true, &[], minute * 10), Some(CiOutcome::TimedOut(Vec::new())));
        let hanging = judge(&[Failed, Pending], minute * 60);
        assert!(matches!(hanging, Some(CiOutcome::Red(red)) if red.len() == 1 && red[0].state == Failed));
    }

    #[test]
    fn a_job_that_runs_again_is_not_red_before_it_has_ended() {
        let mut red = checks(&[CheckState::Failed, CheckState::Passed]);
        red.checks[0].job = Some(7);
        red.checks[1].job = Some(8);
        let seen = without_stale(red, &BTreeSet::from([7, 8]));
        assert_eq!(
            seen.checks.iter().map(|check| check.state).collect::<Vec<_>>(),
            [CheckState::Pending, CheckState::Passed]
        );
    }

    #[test]
    fn a_bare_outcome_of_an_older_watch_is_a_report() {
        let bare: CiReport = serde_json::from_value(serde_json::json!({"green": []})).unwrap();
        assert_eq!((bare.outcome, bare.head), (CiOutcome::Green(vec![]), None));
        let bare: CiReport = serde_json::from_value(serde_json::json!("no_checks")).unwrap();
        assert_eq!(bare.outcome, CiOutcome::NoChecks);
        let whole = CiReport {
            outcome: CiOutcome::Moved,
            head: None,
            attempts: 2,
            spent: MicroUsd(5),
            notes: vec!["x".into()],
            had_checks: true,
            work: CiWork { turns: 3, heard: vec![1], ..CiWork::default() },
            cancelled: false,
        };
        let back: CiReport = serde_json::from_value(serde_json::to_value(&whole).unwrap()).unwrap();
        assert_eq!(back, whole);
    }
}
