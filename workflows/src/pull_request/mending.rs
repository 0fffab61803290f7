//! From a pushed commit to green checks: the watch mends what it may on the word of the person who asked, what the commit itself
//! broke is done again, and the reply says how it ended.

use std::convert::Infallible;

use temporalio_common::data_converters::RawValue;
use temporalio_workflow::WaitConditionOptions;

use super::desk::{Desk, Stop};
use crate::ci_watch::{self, CiOutcome, CiReport, CiWatchInput, CiWatchWorkflow, Mending, Ours};
use crate::contract::agent::AgentName;
use crate::contract::failure::FailureKind;
use crate::contract::github::{CommitRef, PullRequest};
use crate::contract::ids::{CommitSha, Generation};
use crate::contract::money::MicroUsd;
use crate::contract::trigger::Instructed;
use crate::contract::workspace::Authority;
use crate::kit::{self, CallError};
use crate::messages::checks::{For, diagnosed, late, links, names, words};

/// How far CI is.
struct Way {
    /// Where the branch stands.
    head: CommitSha,
    attempts: u32,
    /// What was changed or found out, for the reply.
    notes: Vec<String>,
    had_checks: bool,
}

/// How the way to green checks ended. Whatever stopped it, the commit is on the branch.
pub(super) struct Ended {
    /// What became of the checks, a sentence.
    pub(super) said: String,
    /// This run is being cancelled.
    pub(super) cancelled: bool,
}

impl Desk {
    /// Watches the checks until they are green or a person has to look; what became of them.
    pub(super) async fn until_green(
        &self,
        asked: &Instructed,
        pull_request: &PullRequest,
        pushed: &CommitSha,
    ) -> Ended {
        let mut way = Way { head: pushed.clone(), attempts: 0, notes: Vec::new(), had_checks: false };
        let (said, cancelled) = match self.go(asked, pull_request, &mut way).await {
            Ok(said) => (said, false),
            Err(Stop::Told(why)) => (format!("What CI says is not known: {}", words(&why)), false),
            Err(Stop::Cancelled | Stop::CancelledAfter(_)) => {
                ("The run was cancelled before CI was through, so look at the checks yourself".to_owned(), true)
            }
        };
        // A watch that was cut short has told what it did by then.
        if let Some(progress) = self.write(|s| s.last_progress.take()) {
            way.notes.extend(progress.notes);
        }
        Ended { said: with_notes(said, &way.notes), cancelled }
    }

    async fn go(&self, asked: &Instructed, pull_request: &PullRequest, way: &mut Way) -> Result<String, Stop> {
        loop {
            let CiReport { outcome, head, attempts, notes, had_checks, .. } =
                self.watch_ci(asked, pull_request, way).await?;
            way.attempts = attempts;
            way.had_checks |= had_checks;
            if let Some(head) = head {
                way.head = head;
            }
            way.notes.extend(notes);
            return Ok(match outcome {
                CiOutcome::Ours(ours) => match self.do_again(asked, pull_request, way, &ours).await? {
                    None => continue,
                    Some(why) => format!("CI is red: {}. {why}", links(&[ours.check], For::GitHub)),
                },
                other => said(other, way.attempts),
            });
        }
    }

    /// The commit made CI red: it is done again, with what CI said. Says why when that does not work; what is pushed stays pushed.
    async fn do_again(
        &self,
        asked: &Instructed,
        pull_request: &PullRequest,
        way: &mut Way,
        ours: &Ours,
    ) -> Result<Option<String>, Stop> {
        self.log(format!("{} is red for what was pushed: it is done again", ours.check.name));
        let on = PullRequest { head_sha: way.head.clone(), ..pull_request.clone() };
        let made = match self.make(asked, &on, ours.failure.clone()).await {
            Ok(Ok(made)) => made,
            Ok(Err(result)) => return Ok(Some(format!("I saw nothing to change: {}", words(&result.summary)))),
            Err(Stop::Told(why)) => return Ok(Some(words(&why))),
            Err(stop) => return Err(stop),
        };
        match self.push(asked, &on, &made).await {
            Ok(pushed) if pushed.sha == way.head => Ok(Some("Doing it again changed nothing".to_owned())),
            Ok(pushed) => {
                way.notes.push(format!("{} ({})", words(&made.result.summary), pushed.sha.short()));
                way.head = pushed.sha;
                Ok(None)
            }
            Err(CallError::Cancelled) => Err(Stop::Cancelled),
            Err(CallError::Failed(failure)) if failure.kind == FailureKind::Conflict => {
                Ok(Some("Somebody else pushed to the branch meanwhile, so what I made of it is not on it".to_owned()))
            }
            Err(CallError::Failed(failure)) => Ok(Some(words(&failure.message))),
        }
    }

    async fn watch_ci(&self, asked: &Instructed, pull_request: &PullRequest, way: &Way) -> Result<CiReport, Stop> {
        self.enter(format!("waiting for checks of {}", way.head.short()));
        let repository = self.address.repository.clone();
        let lease = self.write(|s| s.budget.lease(AgentName::Ci.as_str(), 1)).unwrap_or_default();
        let input = CiWatchInput {
            commit: CommitRef { repository, sha: way.head.clone() },
            policy: self.read(|s| s.policy.ci.clone()),
            mending: Some(self.mending(asked, pull_request, way.attempts, lease)),
            had_checks: way.had_checks,
        };
        let raw = RawValue::from_value(&input, self.ctx.payload_converter());
        let id = self.child("ci", &self.address.number.to_string());
        let title = format!("CI of {}#{}", self.address.repository.name(), self.address.number);
        self.write(|s| {
            s.ci_progress.clear();
            s.last_progress = None;
        });
        let attending = self.attend_watch(id.clone());
        match kit::run_child(&self.ctx, &self.token, CiWatchWorkflow::run, raw, id, title, attending).await {
            Ok(report) => {
                let report: CiReport = report;
                self.write(|s| {
                    s.budget.settle(AgentName::Ci.as_str(), report.spent);
                    // The report has all of it.
                    s.last_progress = None;
                });
                Ok(report)
            }
            Err(error) => {
                // A child that died cannot say what it spent: its whole lease counts as gone.
                self.write(|s| s.budget.forfeit(AgentName::Ci.as_str()));
                Err(error.into())
            }
        }
    }

    /// What the watch may do: what the person who asked may, for what is left of the instruction's money.
    fn mending(&self, asked: &Instructed, pull_request: &PullRequest, attempts: u32, lease: MicroUsd) -> Mending {
        let policy = self.read(|s| s.policy.clone());
        Mending {
            pull_request: self.address.clone(),
            branch: pull_request.head.clone(),
            base: pull_request.base.clone(),
            approved: pull_request.base_sha.clone(),
            authority: Authority::Commanded { by: asked.by.clone(), comment: asked.comment },
            ticket: None,
            generation: Generation::of_event(&asked.event.id),
            model: policy.models.get(AgentName::Ci.as_str()).cloned(),
            lease,
            purse: None,
            history_events: policy.agents.history_events,
            command_seconds: policy.execution.command_seconds,
            attempts,
            guidance: Vec::new(),
            report_to: Some(self.ctx.workflow_id().to_owned()),
        }
    }

    /// Beside a watch: passes nudges on to it, and shows what it does. A nudge about another commit is passed on as well: somebody
    /// may have pushed it. A closed child needs none.
    async fn attend_watch(&self, child: String) -> Infallible {
        loop {
            let options = WaitConditionOptions::builder().cancellation_token(self.token.clone()).build();
            let called =
                |w: &super::PullRequestWorkflow| !(w.state.checks.is_empty() && w.state.ci_progress.is_empty());
            if self.ctx.wait_condition_with_options(called, options).await.is_err() {
                std::future::pending::<Infallible>().await;
            }
            while let Some(progress) = self.write(|s| s.ci_progress.pop_front()) {
                self.enter(progress.doing.clone());
                self.write(|s| s.last_progress = Some(progress));
            }
            let Some(news) = self.write(|s| std::mem::take(&mut s.checks)).pop() else { continue };
            if !ci_watch::nudge(&self.ctx, child.clone(), &news).await {
                self.log("the CI watch is over, nobody to tell");
            }
        }
    }
}

fn said(outcome: CiOutcome, attempts: u32) -> String {
    match outcome {
        CiOutcome::Green(checks) => format!("CI is green ({})", names(&checks)),
        CiOutcome::NoChecks => "This repository has no CI".to_owned(),
        CiOutcome::Red(checks) => format!("CI is red: {}", links(&checks, For::GitHub)),
        CiOutcome::TimedOut(checks) => format!("CI has no result, {}", late(&checks, For::GitHub)),
        CiOutcome::Unreadable(why) => format!("CI cannot be read: {}", words(&why)),
        CiOutcome::Ours(ours) => format!("CI is red: {}", links(&[ours.check], For::GitHub)),
        CiOutcome::Moved => {
            "Somebody else pushed to the branch meanwhile, or closed the pull request: my commit's checks count no more"
                .to_owned()
        }
        CiOutcome::Escalated(diagnosis) => {
            format!("CI is {}. It needs you", diagnosed(&diagnosis, attempts, For::GitHub))
        }
    }
}

fn with_notes(said: String, notes: &[String]) -> String {
    if notes.is_empty() {
        return said;
    }
    let notes: Vec<String> = notes.iter().map(|note| words(note)).collect();
    format!("{said}. On the way: {}", notes.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ci_watch::Diagnosis;
    use crate::contract::github::{Check, CheckState};

    #[test]
    fn the_reply_says_what_is_red_what_was_tried_and_calls_nobody() {
        let check = Check {
            name: "test".into(),
            state: CheckState::Failed,
            url: "https://x/1".into(),
            job: Some(1),
            summary: String::new(),
        };
        let diagnosis = Diagnosis {
            checks: vec![check.clone()],
            kind: None,
            cause: "expects UTC,\n@everyone gets local time.".into(),
            tried: vec!["test run again".into()],
            logs: Vec::new(),
        };
        let red = said(CiOutcome::Escalated(diagnosis), 3);
        assert!(red.starts_with("CI is red after 3 attempts: [test](https://x/1). expects UTC, "), "{red}");
        assert!(
            red.ends_with("gets local time. Tried: test run again. It needs you") && !red.contains("@everyone"),
            "{red}"
        );
        let green = with_notes(said(CiOutcome::Green(vec![check]), 1), &["ran ruff check --fix . (81c0d1e2)".into()]);
        assert_eq!(green, "CI is green (test). On the way: ran ruff check --fix . (81c0d1e2)");
    }
}
