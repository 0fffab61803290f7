//! From green checks to merged pull requests: ready for review, the wait for merge.

use std::time::Duration;

use serde_json::json;

use super::flow::{Flow, Stop};
use crate::contract::github::{GitHub, PullRequest, PullRequestState};
use crate::contract::ids::RepositoryName;
use crate::contract::status::Stage;
use crate::contract::workspace::{Proof, SuiteCount};
use crate::kit::{Waited, now, wait_until};
use crate::messages::Template;
use crate::policy::Family;

/// New tests named in Jira.
const TESTS: usize = 5;
/// First and longest pause between looks at pull requests that nobody told us about.
const REVIEW_POLLS: (Duration, Duration) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));

impl Flow {
    /// Takes the pull requests out of draft and tells everyone, with proof and cost.
    pub(super) async fn present(&self) -> Result<(), Stop> {
        self.enter(Stage::ReadyForReview, "presenting the work");
        self.return_unheard();
        let repositories: Vec<RepositoryName> = self.read(|s| s.repositories.keys().cloned().collect());
        for repository in &repositories {
            self.refresh_pull_request(repository).await;
            if let Some(pull_request) = self.pull_request(repository).filter(|pr| pr.state == PullRequestState::Open) {
                let summary = format!("mark PR #{} ready for review", pull_request.number);
                let ready = self.call(Family::Effect, &summary, GitHub::mark_ready, pull_request.address()).await?;
                self.keep(ready);
            }
        }
        // People have decided about every one while its checks ran: nothing is left to present.
        let open = |s: &super::state::TicketState| {
            let mut states = s.repositories.values().filter_map(|d| d.pull_request.as_ref()).map(|pr| pr.state);
            states.any(|state| state == PullRequestState::Open)
        };
        if !self.read(open) {
            return Ok(());
        }
        self.enter(Stage::ReadyForReview, "waiting for review and merge");
        let proof = self.read(|s| {
            let proofs: Vec<&Proof> = s.tasks.iter().filter_map(|task| task.proof.as_ref()).collect();
            let tests = || proofs.iter().flat_map(|proof| &proof.new_tests);
            json!({
                "new_tests": proofs.iter().map(|proof| proof.count()).sum::<usize>(),
                "tests": tests().take(TESTS).collect::<Vec<_>>(),
                "suite": proofs.last().map_or_else(SuiteCount::default, |proof| proof.suite),
                "without_tests": proofs.iter().filter_map(|proof| proof.without_tests.as_ref()).collect::<Vec<_>>(),
                "proofs": proofs,
            })
        });
        self.say("ready", Template::SlackReady, proof.clone()).await;
        self.tell_jira("ready", Template::JiraReady, proof).await;
        self.move_ticket(self.read(|s| s.policy.jira.ready.clone())).await;
        Ok(())
    }

    /// Waits until people have merged or closed every pull request. Told by webhook, with a slow look of its own.
    pub(super) async fn follow_to_merge(&self) -> Result<Stage, Stop> {
        if self.read(|s| s.stage) == Stage::Parked {
            self.enter(Stage::ReadyForReview, "waiting for review and merge");
            self.return_unheard();
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

    /// Tells people whose remarks came after the last agent's work.
    fn return_unheard(&self) {
        let at = now(&self.ctx);
        self.write(|s| s.return_unheard(at));
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
