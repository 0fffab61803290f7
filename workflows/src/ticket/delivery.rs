//! From pushed commits to merged pull requests: CI, ready for review, the wait for merge.

use std::convert::Infallible;
use std::time::Duration;

use serde_json::json;
use temporalio_common::data_converters::RawValue;
use temporalio_workflow::workflows::join_all;
use temporalio_workflow::{SignalWorkflowOptions, WaitConditionOptions};

use super::flow::{Flow, Stop, park};
use super::state::Delivery;
use crate::ci_watch::{CiOutcome, CiWatchInput, CiWatchWorkflow};
use crate::contract::github::{Check, CommitRef, GitHub, PullRequest, PullRequestState};
use crate::contract::ids::RepositoryName;
use crate::contract::status::{ParkReason, Stage};
use crate::contract::trigger::ChecksChanged;
use crate::contract::workspace::SuiteCount;
use crate::kit::{self, Waited, wait_until};
use crate::messages::Template;
use crate::policy::Family;

/// First and longest pause between looks at pull requests that nobody told us about.
const REVIEW_POLLS: (Duration, Duration) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));

impl Flow {
    /// Waits for the checks of every pull request.
    pub(super) async fn watch_ci(&self) -> Result<(), Stop> {
        let again = self.read(|s| s.stage) == Stage::Parked;
        let none_after = self.read(|s| s.policy.ci.none_after_seconds);
        self.enter(Stage::WatchingCi, format!("waiting for checks (none within {none_after} s: no CI)"));
        if again {
            self.follow_people().await?;
        }
        let waiting: Vec<Delivery> =
            self.read(|s| s.repositories.values().filter(|d| d.ci.is_empty()).cloned().collect());
        let outcomes = join_all(waiting.iter().map(|delivery| self.watch_one(delivery))).await;
        let mut red = Vec::new();
        for (delivery, outcome) in waiting.iter().zip(outcomes) {
            match outcome? {
                Ok(words) => {
                    let name = delivery.repository.name.clone();
                    self.log(format!("{name}: {words}"));
                    self.write(|s| {
                        if let Some(delivery) = s.repositories.get_mut(&name) {
                            delivery.ci = words;
                        }
                    });
                }
                Err(words) => red.push(format!("{}: {words}", delivery.repository.name)),
            }
        }
        if red.is_empty() { Ok(()) } else { Err(park(ParkReason::CiFailed, red.join(" "))) }
    }

    /// After a red check a person has probably pushed to the branch, or decided about the pull request: that counts now.
    async fn follow_people(&self) -> Result<(), Stop> {
        let waiting: Vec<Delivery> =
            self.read(|s| s.repositories.values().filter(|d| d.ci.is_empty()).cloned().collect());
        for delivery in waiting {
            let Some(known) = &delivery.pull_request else { continue };
            let summary = format!("look at PR #{}", known.number);
            let pull_request = self.call(Family::Read, &summary, GitHub::get_pull_request, known.address()).await?;
            let name = delivery.repository.name.clone();
            if pull_request.head_sha != delivery.head {
                self.log(format!("{name}: a person pushed {}, its checks count now", pull_request.head_sha.short()));
            }
            let decided = match pull_request.state {
                PullRequestState::Open => "",
                PullRequestState::Closed => "closed by a person before CI was green",
                PullRequestState::Merged => "merged by a person before CI was green",
            };
            self.write(|s| {
                if let Some(delivery) = s.repositories.get_mut(&name) {
                    delivery.head = pull_request.head_sha.clone();
                    decided.clone_into(&mut delivery.ci);
                }
            });
            self.keep(pull_request);
        }
        Ok(())
    }

    async fn watch_one(&self, delivery: &Delivery) -> Result<Result<String, String>, Stop> {
        let repository = &delivery.repository.name;
        let number = delivery.pull_request.as_ref().map_or(0, |pr| pr.number);
        let base = format!("{}/ci/{}.{}/{number}", self.ctx.workflow_id(), repository.owner(), repository.name());
        let base = base.to_lowercase().replacen(&self.ctx.workflow_id().to_lowercase(), self.ctx.workflow_id(), 1);
        let n = self.write(|s| {
            let n = s.occurrences.entry(format!("child {base}")).or_default();
            *n += 1;
            *n
        });
        let id = format!("{base}-{n}");
        let commit = CommitRef { repository: repository.clone(), sha: delivery.head.clone() };
        let input = CiWatchInput { commit: commit.clone(), policy: self.read(|s| s.policy.ci.clone()) };
        let raw = RawValue::from_value(&input, self.ctx.payload_converter());
        let title = format!("{}: CI of {} #{number}", self.key, repository.name());
        let forward = self.forward_checks(id.clone(), commit);
        let outcome = kit::run_child(&self.ctx, &self.token, CiWatchWorkflow::run, raw, id, title, forward).await?;
        Ok(match outcome {
            CiOutcome::Green(checks) => Ok(format!("CI green ({})", names(&checks))),
            CiOutcome::NoChecks => Ok("no CI on this repository".to_owned()),
            CiOutcome::Red(checks) => {
                Err(format!("red: {}. Fix it on the branch or in CI, then retry.", links(&checks)))
            }
            CiOutcome::TimedOut(checks) => {
                Err(format!("not finished in time: {}. Look at it, then retry.", links(&checks)))
            }
            CiOutcome::Unreadable(why) => Err(format!("checks cannot be read: {why}")),
        })
    }

    /// Passes nudges about this head on to the child that watches it. A closed child needs none.
    async fn forward_checks(&self, child: String, commit: CommitRef) -> Infallible {
        let news = ChecksChanged { repository: commit.repository, sha: commit.sha };
        loop {
            let options = WaitConditionOptions::builder().cancellation_token(self.token.clone()).build();
            let wanted = news.clone();
            let woken =
                self.ctx.wait_condition_with_options(move |w| w.state.inbox.checks.contains(&wanted), options).await;
            if woken.is_err() {
                std::future::pending::<Infallible>().await;
            }
            self.write(|s| s.inbox.checks.retain(|other| other != &news));
            let raw = RawValue::from_value(&news, self.ctx.payload_converter());
            let options = SignalWorkflowOptions::builder().summary("checks changed".to_owned()).build();
            let told = self.ctx.external_workflow(child.clone(), None);
            if told.signal(CiWatchWorkflow::checks_changed, raw, options).await.is_err() {
                self.log("the CI watch is over, nobody to tell");
            }
        }
    }

    /// Takes the pull requests out of draft and tells everyone, with proof and cost.
    pub(super) async fn present(&self) -> Result<(), Stop> {
        self.enter(Stage::ReadyForReview, "presenting the work");
        let repositories: Vec<RepositoryName> = self.read(|s| s.repositories.keys().cloned().collect());
        for repository in &repositories {
            self.refresh_pull_request(repository).await;
            if let Some(pull_request) = self.pull_request(repository).filter(|pr| pr.state == PullRequestState::Open) {
                let summary = format!("mark PR #{} ready for review", pull_request.number);
                let ready = self.call(Family::Effect, &summary, GitHub::mark_ready, pull_request.address()).await?;
                self.keep(ready);
            }
        }
        self.enter(Stage::ReadyForReview, "waiting for review and merge");
        let (new_tests, suite) = self.read(|s| {
            let proofs = || s.tasks.iter().filter_map(|task| task.proof.as_ref());
            let last = proofs().next_back().map_or_else(SuiteCount::default, |proof| proof.suite);
            (proofs().map(|proof| proof.new_tests.len()).sum::<usize>(), last)
        });
        let proof = json!({ "new_tests": new_tests, "suite": suite });
        self.say("ready", Template::SlackReady, proof.clone()).await;
        self.tell_jira("ready", Template::JiraReady, proof).await;
        self.move_ticket(self.read(|s| s.policy.jira.ready.clone())).await;
        Ok(())
    }

    /// Waits until people have merged or closed every pull request. Told by webhook, with a slow look of its own.
    pub(super) async fn follow_to_merge(&self) -> Result<Stage, Stop> {
        if self.read(|s| s.stage) == Stage::Parked {
            self.enter(Stage::ReadyForReview, "waiting for review and merge");
        }
        let mut pause = REVIEW_POLLS.0;
        loop {
            let news = self.read(|s| s.inbox.pull_request_news);
            let repositories: Vec<RepositoryName> = self.read(|s| s.repositories.keys().cloned().collect());
            for repository in &repositories {
                let Some(pull_request) = self.pull_request(repository) else { continue };
                if pull_request.state == PullRequestState::Open {
                    let summary = format!("look at PR #{}", pull_request.number);
                    let now =
                        self.call(Family::Read, &summary, GitHub::get_pull_request, pull_request.address()).await?;
                    self.keep(now);
                }
            }
            let states: Vec<PullRequestState> = self
                .read(|s| s.repositories.values().filter_map(|d| d.pull_request.as_ref()).map(|pr| pr.state).collect());
            if !states.contains(&PullRequestState::Open) {
                let merged = states.contains(&PullRequestState::Merged);
                return Ok(if merged { Stage::Merged } else { Stage::Closed });
            }
            let waited = wait_until(&self.ctx, &self.token, pause, "look at the pull requests again", |w| {
                w.state.inbox.pull_request_news > news
            })
            .await;
            match waited {
                Waited::Cancelled => return Err(Stop::Cancelled),
                Waited::TimedOut => pause = (pause * 2).min(REVIEW_POLLS.1),
                Waited::Fulfilled => {}
            }
        }
    }

    fn pull_request(&self, repository: &RepositoryName) -> Option<PullRequest> {
        self.read(|s| s.repositories.get(repository).and_then(|d| d.pull_request.clone()))
    }

    /// Keeps what a pull request has become.
    pub(super) fn keep(&self, pull_request: PullRequest) {
        self.write(|s| {
            if let Some(delivery) = s.repositories.get_mut(&pull_request.repository) {
                delivery.pull_request = Some(pull_request);
            }
        });
    }
}

fn names(checks: &[Check]) -> String {
    checks.iter().map(|check| check.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn links(checks: &[Check]) -> String {
    let link = |check: &Check| match check.url.as_str() {
        "" => check.name.clone(),
        url => format!("{} ({url})", check.name),
    };
    checks.iter().map(link).collect::<Vec<_>>().join(", ")
}
