//! What is done about red checks, cheapest first: run again what may be chance, the repository's own fixers, then the ci agent.
//! Logic and compile failures are never patched here.

mod asking;

use std::collections::BTreeSet;
use std::time::Duration;

use temporalio_common::data_converters::RawValue;
use temporalio_workflow::SignalWorkflowOptions;

use super::{Cancelled, CiOutcome, CiProgress, Diagnosis, Mending, Ours, Watch};
use crate::ci_rules::{self, Finding};
use crate::contract::analysis::RedKind;
use crate::contract::failure::FailureKind;
use crate::contract::github::{BranchRef, Check, CheckState, GitHub, JobLog, JobRef, ReadChecks};
use crate::contract::status::CheckLog;
use crate::contract::workspace::{Authority, Fix, FixKind, Push, Workspace, Workspaces};
use crate::kit::{self, CallError, Failure, Waited};
use crate::messages::{one_line, quiet, shorten};
use crate::policy::Family;
use crate::ticket::TicketWorkflow;

/// Red checks whose logs are read; what mends these may mend the others.
const LOGS: usize = 5;
/// Red checks that a person is told of.
const TOLD: usize = 10;
/// How often what looks like trouble of the runner is run again.
const RUNNER_TROUBLE: u32 = 3;
/// Longest end of a log that people are shown, in characters; a message of Slack takes little more.
const SHOWN: usize = 2500;
/// Longest text about a failure of our own, in characters.
const FAILURE: usize = 4000;

/// A red check and what is known about it.
struct Red {
    check: Check,
    step: String,
    tail: String,
    finding: Option<Finding>,
}

/// Why mending stops here.
#[expect(clippy::large_enum_variant, reason = "made once per red head")]
enum Stop {
    Cancelled,
    End(CiOutcome),
}

impl From<Cancelled> for Stop {
    fn from(Cancelled: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl Watch {
    /// Does one thing about red checks. `None`: done, the checks are to be watched again.
    pub(super) async fn mend(&mut self, mending: &Mending, red: Vec<Check>) -> Result<Option<CiOutcome>, Cancelled> {
        match self.try_to_mend(mending, &red).await {
            Ok(()) => Ok(None),
            Err(Stop::End(CiOutcome::Escalated(mut diagnosis))) => {
                diagnosis.logs = self.logs_for(&diagnosis.checks).await?;
                Ok(Some(CiOutcome::Escalated(diagnosis)))
            }
            Err(Stop::End(end)) => Ok(Some(end)),
            Err(Stop::Cancelled) => Err(Cancelled),
        }
    }

    /// What a person wants to see of red checks: what is known already, else the log of the first that has one.
    async fn logs_for(&mut self, checks: &[Check]) -> Result<Vec<CheckLog>, Cancelled> {
        let of_them = |log: &&CheckLog| checks.iter().any(|check| check.job == Some(log.job));
        let known: Vec<CheckLog> = self.logs.iter().filter(of_them).cloned().collect();
        let Some(check) = checks.iter().find(|check| check.job.is_some()).filter(|_| known.is_empty()) else {
            return Ok(known);
        };
        match self.read_log(check).await {
            Ok(Ok(JobLog::Step { step, tail })) => Ok(vec![shown(check, &step, &tail)]),
            // Nobody waits for it.
            Ok(_) | Err(Stop::End(_)) => Ok(known),
            Err(Stop::Cancelled) => Err(Cancelled),
        }
    }

    async fn try_to_mend(&mut self, mending: &Mending, red: &[Check]) -> Result<(), Stop> {
        let (cancelled, failed): (Vec<&Check>, Vec<&Check>) =
            red.iter().partition(|check| check.state == CheckState::Cancelled);
        if let Some(scanner) = failed.iter().find(|check| ci_rules::is_scanner(check)) {
            let cause = format!("{} reports a finding. {}", scanner.name, scanner.summary);
            return Err(self.escalate(red, Some(RedKind::Security), cause));
        }
        if failed.is_empty() {
            return if self.run_again(&cancelled, 1).await? {
                Ok(())
            } else {
                Err(self.escalate(red, None, "It was cancelled, also when run again.".to_owned()))
            };
        }
        let on_base = self.red_on_base(mending).await?;
        let (old, new): (Vec<&Check>, Vec<&Check>) = failed.iter().partition(|check| on_base.contains(&check.name));
        if new.is_empty() {
            let cause = format!("{} is red on {} too, so not from this change.", names(&old), mending.base);
            return Err(self.escalate(red, Some(RedKind::BaseBranch), cause));
        }
        let (reds, expired) = self.read_logs(&new).await?;
        if reds.is_empty() {
            if self.run_again(&expired, 1).await? {
                return Ok(());
            }
            let cause = match expired.first() {
                Some(check) => {
                    format!("GitHub has deleted the log of {}, and running it again did not help.", check.name)
                }
                None => without_log(&new),
            };
            return Err(self.escalate(red, None, cause));
        }
        self.mend_known(mending, red, &reds).await
    }

    /// With logs at hand.
    async fn mend_known(&mut self, mending: &Mending, all: &[Check], reds: &[Red]) -> Result<(), Stop> {
        let of = |kind: RedKind| reds.iter().find(|red| red.kind() == Some(kind));
        if let Some(red) = of(RedKind::Security) {
            return Err(self.escalate(all, Some(RedKind::Security), red.cause()));
        }
        let real: Vec<&Red> = reds.iter().filter(|red| red.kind() != Some(RedKind::Infrastructure)).collect();
        if real.is_empty() {
            let checks: Vec<&Check> = reds.iter().map(|red| &red.check).collect();
            return self.wait_out_the_runner(all, &checks, reds.first().map(Red::cause).unwrap_or_default()).await;
        }
        let left = self.attempts < self.policy.attempts.max(1);
        let kinds: BTreeSet<FixKind> =
            real.iter().filter_map(|red| red.finding.as_ref().and_then(|finding| finding.fix)).collect();
        let fixable: Vec<&Check> = real.iter().filter(|red| red.is_fixable()).map(|red| &red.check).collect();
        if left && !kinds.is_empty() && self.fix(mending, kinds, &names(&fixable)).await? {
            return Ok(());
        }
        // What may be chance is run again once before anything is changed; green then costs no attempt.
        let by_chance: Vec<&Check> = real.iter().filter(|red| red.may_be_chance()).map(|red| &red.check).collect();
        if self.run_again(&by_chance, 1).await? {
            return Ok(());
        }
        if !left {
            let cause = real.first().map(|red| red.cause()).unwrap_or_default();
            let kind = real.first().and_then(|red| red.kind());
            return Err(self.escalate(all, kind, cause));
        }
        let files = self.changed_files(mending).await?;
        let ours = real.iter().find(|red| matches!(red.kind(), Some(RedKind::Logic | RedKind::Compile)));
        if let Some(red) = ours
            && ci_rules::names_one(&red.tail, &files).is_some()
        {
            let kind = red.kind().unwrap_or(RedKind::Logic);
            return Err(self.give_back(red, kind, &red.cause()));
        }
        self.ask_agent(mending, all, &real, files).await
    }

    /// Names of checks that are red on the base branch as well.
    async fn red_on_base(&self, mending: &Mending) -> Result<BTreeSet<String>, Stop> {
        let repository = self.head.repository.clone();
        let Ok(branch) = mending.base.parse() else { return Ok(BTreeSet::new()) };
        let summary = format!("look at {}", mending.base);
        let branch = BranchRef { repository: repository.clone(), branch };
        let head = self.call(Family::Read, &summary, GitHub::branch_head, branch).await?;
        // A base that cannot be read tells nothing; the failure counts as new.
        let Ok(Some(sha)) = head else { return Ok(BTreeSet::new()) };
        let summary = format!("read checks of {}", mending.base);
        let request = ReadChecks { repository, sha, head_of: None };
        let checks = self.call(Family::Read, &summary, GitHub::read_checks, request).await?;
        let checks = checks.map(|checks| checks.checks).unwrap_or_default();
        let red = checks.into_iter().filter(|check| check.state == CheckState::Failed);
        Ok(red.map(|check| check.name).collect())
    }

    /// The ends of the failing steps' logs, and the checks whose logs GitHub has deleted.
    async fn read_logs<'a>(&mut self, failed: &[&'a Check]) -> Result<(Vec<Red>, Vec<&'a Check>), Stop> {
        let (mut reds, mut expired) = (Vec::new(), Vec::new());
        self.logs.clear();
        for &check in failed {
            if check.job.is_none() {
                continue;
            }
            if reds.len() == LOGS {
                break;
            }
            match self.read_log(check).await? {
                Ok(JobLog::Step { step, tail }) => {
                    let finding = ci_rules::classify(check, &step, &tail);
                    self.logs.push(shown(check, &step, &tail));
                    reds.push(Red { check: check.clone(), step, tail, finding });
                }
                Ok(JobLog::Expired) => expired.push(check),
                Err(failure) => {
                    let cause = format!("The log of {} cannot be read: {}", check.name, failure.message);
                    return Err(self.escalate(std::slice::from_ref(check), None, cause));
                }
            }
        }
        Ok((reds, expired))
    }

    /// The end of a check's log. A check without a job has none, as if it were deleted.
    async fn read_log(&self, check: &Check) -> Result<Result<JobLog, Failure>, Stop> {
        let Some(job) = check.job else { return Ok(Ok(JobLog::Expired)) };
        let summary = format!("read the log of {}", check.name);
        let job = JobRef { repository: self.head.repository.clone(), job };
        self.call(Family::Read, &summary, GitHub::job_log, job).await
    }

    /// Runs checks again that were not yet, at most `times` on this head. False when there is none. GitHub lets a run go on one
    /// job at a time, so only the first of each run is asked for; the others follow when that has ended.
    async fn run_again(&mut self, checks: &[&Check], times: u32) -> Result<bool, Stop> {
        let mut runs = BTreeSet::new();
        for check in checks {
            let Some(job) = check.job else { continue };
            let done = self.reruns.get(&lineage(check)).copied().unwrap_or_default();
            if done >= times || !runs.insert(run_of(check)) {
                continue;
            }
            self.tell(true, format!("running {} again", check.name)).await;
            let summary = format!("run {} again", check.name);
            let job_ref = JobRef { repository: self.head.repository.clone(), job };
            if let Err(failure) = self.call(Family::Effect, &summary, GitHub::rerun_job, job_ref).await? {
                let cause = format!("{} cannot be run again: {}", check.name, failure.message);
                return Err(self.escalate(&[(*check).clone()], None, cause));
            }
            *self.reruns.entry(lineage(check)).or_default() += 1;
            self.stale.insert(job);
            self.tried.push(format!("{} run again", check.name));
        }
        if !runs.is_empty() {
            self.tell(false, "waiting for checks that run again".to_owned()).await;
        }
        Ok(!runs.is_empty())
    }

    /// Trouble of the runner, the network or a registry: waits longer each time, then runs again.
    async fn wait_out_the_runner(&mut self, all: &[Check], checks: &[&Check], cause: String) -> Result<(), Stop> {
        let before = checks.iter().filter_map(|check| self.reruns.get(&lineage(check))).max().copied();
        let before = before.unwrap_or_default();
        if before >= RUNNER_TROUBLE {
            return Err(self.escalate(all, Some(RedKind::Infrastructure), cause));
        }
        let pause = Duration::from_secs(self.policy.poll_seconds.max(1)) * 2u32.pow(before);
        if kit::wait_until(&self.ctx, &self.token, pause, "let the runner recover", |_| false).await
            == Waited::Cancelled
        {
            return Err(Stop::Cancelled);
        }
        if self.run_again(checks, RUNNER_TROUBLE).await? {
            return Ok(());
        }
        Err(self.escalate(all, Some(RedKind::Infrastructure), cause))
    }

    /// Runs the repository's own fixers and pushes what they changed. False when they changed nothing.
    async fn fix(&mut self, mending: &Mending, kinds: BTreeSet<FixKind>, red: &str) -> Result<bool, Stop> {
        self.tell(true, format!("{red} red, running the repository's own fixers")).await;
        let request = Fix {
            workspace: self.workspace(),
            kinds: kinds.into_iter().collect(),
            command_seconds: mending.command_seconds,
        };
        let commands = Duration::from_secs(mending.command_seconds * 6);
        let fixed = self.call(Family::Sandbox { commands }, "run the repository's fixers", Workspaces::fix, request);
        let fixed = match fixed.await? {
            Ok(fixed) => fixed,
            Err(failure) => {
                self.tried.push(format!("fixers could not run: {}", failure.message));
                return Ok(false);
            }
        };
        self.tried.extend(fixed.commands.iter().cloned());
        if !fixed.changed {
            return Ok(false);
        }
        let ran: Vec<&str> =
            fixed.commands.iter().filter_map(|line| line.rsplit_once(" (")).map(|(ran, _)| ran).collect();
        let what = format!("ran {}", ran.join(", "));
        self.push(mending, fixed.workspace, &what).await?;
        Ok(true)
    }

    /// Puts a change on the branch: one attempt.
    async fn push(&mut self, mending: &Mending, workspace: Workspace, what: &str) -> Result<(), Stop> {
        let what = quiet(&one_line(what));
        let title = match &mending.ticket {
            Some(ticket) => format!("{ticket}: Make CI green"),
            None => "Make CI green".to_owned(),
        };
        let trailer = trailer(mending);
        let request = Push {
            workspace,
            branch: mending.branch.clone(),
            parent: self.head.sha.clone(),
            message: format!("{title}\n\n{what}\n\n{trailer}\n"),
            authored_at: kit::now(&self.ctx),
            remove: Vec::new(),
            authority: mending.authority.clone(),
            ticket: mending.ticket.clone(),
        };
        let family = Family::Sandbox { commands: Duration::from_secs(60) };
        let pushed = match self.call(family, "push what makes CI green", Workspaces::push, request).await? {
            Ok(pushed) => pushed,
            Err(failure) if failure.kind == FailureKind::Conflict => return Err(Stop::End(CiOutcome::Moved)),
            Err(failure) => {
                let cause = format!("What would mend it cannot be pushed: {}", failure.message);
                return Err(self.escalate(&[], None, cause));
            }
        };
        self.attempts += 1;
        let note = format!("{what} ({})", pushed.sha.short());
        self.tried.push(note.clone());
        self.notes.push(note);
        self.head.sha = pushed.sha;
        self.refusal.clear();
        self.reruns.clear();
        self.stale.clear();
        self.tell(false, format!("waiting for the checks of {}", self.head.sha.short())).await;
        Ok(())
    }

    /// The files that the branch changes, PLAN.md left out.
    async fn changed_files(&self, mending: &Mending) -> Result<Vec<String>, Stop> {
        let summary = format!("list the files of PR #{}", mending.pull_request.number);
        let files = self.call(Family::Read, &summary, GitHub::changed_files, mending.pull_request.clone()).await?;
        let mut files = files.unwrap_or_default();
        files.retain(|file| file != "PLAN.md");
        Ok(files)
    }

    /// The branch's own change did it: the work is done again, which is one attempt.
    fn give_back(&mut self, red: &Red, kind: RedKind, cause: &str) -> Stop {
        self.attempts += 1;
        let step = if red.step.is_empty() { String::new() } else { format!(", step \"{}\"", red.step) };
        let head = format!(
            "CI is red on {}: check \"{}\"{step} ({}). {cause}\nThe end of its log:\n",
            self.head.sha.short(),
            red.check.name,
            kind.as_str()
        );
        let room = FAILURE.saturating_sub(head.chars().count());
        let skip = red.tail.chars().count().saturating_sub(room);
        let failure = head + &red.tail.chars().skip(skip).collect::<String>();
        let log = Some(shown(&red.check, &red.step, &red.tail));
        Stop::End(CiOutcome::Ours(Ours { check: red.check.clone(), kind, failure, log }))
    }

    fn escalate(&self, checks: &[Check], kind: Option<RedKind>, cause: String) -> Stop {
        Stop::End(CiOutcome::Escalated(Diagnosis {
            checks: checks.iter().take(TOLD).cloned().collect(),
            kind,
            cause: shorten(&cause, 1200),
            tried: self.tried.clone(),
            logs: Vec::new(),
        }))
    }

    /// What was red and is green without a change.
    pub(super) fn note_flaky(&mut self) {
        for lineage in self.reruns.keys() {
            let name = lineage.split('\n').next().unwrap_or_default();
            self.notes.push(format!("{name} was red, and green when run again on {}", self.head.sha.short()));
        }
    }

    fn workspace(&self) -> Workspace {
        let approved = self.mending.as_ref().and_then(|mending| mending.approved.clone());
        let head = self.head.clone();
        Workspace::at(head.repository, head.sha.clone(), approved.unwrap_or(head.sha))
    }

    /// Tells the workflow that asked for it. One that is gone needs no telling.
    async fn tell(&self, fixing: bool, doing: String) {
        let Some(asker) = self.mending.as_ref().and_then(|mending| mending.report_to.clone()) else { return };
        let progress = CiProgress {
            repository: self.head.repository.clone(),
            head: self.head.sha.clone(),
            attempts: self.attempts,
            fixing,
            doing,
            notes: self.notes.clone(),
            ended: self.ended.clone(),
        };
        let raw = RawValue::from_value(&progress, self.ctx.payload_converter());
        // Every workflow that asks for a watch has a signal of this name and payload.
        let options = SignalWorkflowOptions::builder().summary("CI progress".to_owned()).build();
        let told = self.ctx.external_workflow(asker, None).signal(TicketWorkflow::ci_progress, raw, options).await;
        if told.is_err() && !self.ctx.is_replaying() {
            tracing::info!("the run that asked for this watch is over");
        }
    }

    /// Calls an activity; a failure is a value here, because most of them only make a red check harder to understand.
    async fn call<A>(
        &self,
        family: Family,
        summary: &str,
        activity: A,
        input: A::Input,
    ) -> Result<Result<A::Output, Failure>, Stop>
    where
        A: temporalio_common::ActivityDefinition,
        A::Input: Clone,
        A::Output: temporalio_common::data_converters::TemporalDeserializable,
    {
        match kit::call(&self.ctx, &self.token, family, summary, activity, input).await {
            Ok(output) => Ok(Ok(output)),
            Err(CallError::Failed(failure)) => Ok(Err(failure)),
            Err(CallError::Cancelled) => Err(Stop::Cancelled),
        }
    }
}

impl Red {
    fn kind(&self) -> Option<RedKind> {
        self.finding.as_ref().map(|finding| finding.kind)
    }

    fn cause(&self) -> String {
        let cause = match &self.finding {
            Some(finding) => finding.cause.clone(),
            None => ci_rules::last_words(&self.tail),
        };
        format!("{}: {cause}", self.check.name)
    }

    fn is_fixable(&self) -> bool {
        self.finding.as_ref().is_some_and(|finding| finding.fix.is_some())
    }

    fn may_be_chance(&self) -> bool {
        matches!(self.kind(), None | Some(RedKind::Logic | RedKind::Timeout | RedKind::Flaky))
    }
}

/// Why the push is allowed, as the commit says it.
fn trailer(mending: &Mending) -> String {
    match (&mending.authority, &mending.ticket) {
        (Authority::Commanded { by, comment }, _) => format!("Instructed-by: @{}\nComment: {comment}", by.id),
        (Authority::ApprovedPlan { hash, .. }, None) => format!("Plan: {}", hash.short()),
        (Authority::ApprovedPlan { .. }, Some(ticket)) => format!("Ticket: {ticket}"),
    }
}

/// The end of a log, for people.
fn shown(check: &Check, step: &str, tail: &str) -> CheckLog {
    let skip = tail.chars().count().saturating_sub(SHOWN);
    CheckLog {
        job: check.job.unwrap_or_default(),
        check: check.name.clone(),
        step: step.to_owned(),
        url: check.url.clone(),
        tail: tail.chars().skip(skip).collect(),
    }
}

/// What stays the same when a check is run again: its name and the run it belongs to, which a job's link begins with.
fn lineage(check: &Check) -> String {
    format!("{}\n{}", check.name, run_of(check))
}

fn run_of(check: &Check) -> String {
    check.url.split("/job/").next().unwrap_or_default().to_owned()
}

fn names(checks: &[&Check]) -> String {
    checks.iter().take(TOLD).map(|check| check.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Checks of other services: what they say of themselves is all there is.
fn without_log(checks: &[&Check]) -> String {
    let said = |check: &&Check| match check.summary.as_str() {
        "" => check.name.clone(),
        summary => format!("{} ({summary})", check.name),
    };
    let said: Vec<String> = checks.iter().take(TOLD).map(said).collect();
    let have = if said.len() == 1 { "has" } else { "have" };
    format!("{} {have} no log that I can read.", said.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_keeps_its_lineage_when_it_is_run_again() {
        let check = |url: &str| Check {
            name: "test".into(),
            state: CheckState::Failed,
            url: url.into(),
            job: Some(1),
            summary: String::new(),
        };
        assert_eq!(
            lineage(&check("https://x/actions/runs/5/job/7")),
            lineage(&check("https://x/actions/runs/5/job/9"))
        );
        assert_ne!(
            lineage(&check("https://x/actions/runs/5/job/7")),
            lineage(&check("https://x/actions/runs/6/job/7"))
        );
    }

    #[test]
    fn what_another_service_says_is_told() {
        let mut check = Check {
            name: "test".into(),
            state: CheckState::Failed,
            url: String::new(),
            job: None,
            summary: "one test fails".into(),
        };
        assert_eq!(without_log(&[&check]), "test (one test fails) has no log that I can read.");
        check.summary.clear();
        assert_eq!(without_log(&[&check]), "test has no log that I can read.");
    }
}
