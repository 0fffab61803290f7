//! All checks of a commit: check runs of every app, commit statuses, and suites that have not made their runs yet.

use serde::de::DeserializeOwned;
use serde_json::Value;
use workflows::contract::github::{Check, CheckState, Checks, HeadOf, PullRequestRef, PullRequestState, ReadChecks};
use workflows::contract::ids::{CommitSha, RepositoryName};
use workflows::messages::shorten;

use super::answer::odd;
use super::client::GitHubClient;
use super::reply::{CheckRun, Status, Suite};
use crate::failure::ServiceError;

/// Slug of the app that GitHub Actions reports as.
const ACTIONS: &str = "github-actions";
/// Longest summary of a check, in characters.
const SUMMARY: usize = 200;
/// Most checks in the answer.
const LIMIT: usize = 100;
/// Most check runs that are read; GitHub itself looks at the newest 1,000 suites.
const RUNS: usize = 1000;

impl GitHubClient {
    /// All checks of a commit, one per name, and whether it still is the head of its pull request.
    pub async fn checks(&self, commit: &ReadChecks) -> Result<Checks, ServiceError> {
        self.refuse_foreign(&commit.repository)?;
        let overtaken = match &commit.head_of {
            Some(of) => self.is_overtaken(&commit.repository, &commit.sha, of).await?,
            None => false,
        };
        let base = format!("/repos/{}/commits/{}", commit.repository, commit.sha);
        let doing = format!("read the checks of {}", commit.sha.short());
        let read = async |route: &str, field: &str, most: usize| {
            self.all(&doing, &format!("{base}/{route}"), Some(field), most).await.map(|(list, _)| list)
        };
        let mut runs: Vec<CheckRun> = decoded(&doing, read("check-runs?filter=latest", "check_runs", RUNS).await?)?;
        let statuses: Vec<Status> = decoded(&doing, read("status", "statuses", RUNS).await?)?;
        let suites: Vec<Suite> = decoded(&doing, read("check-suites", "check_suites", RUNS).await?)?;
        // A re-run has a higher id.
        runs.sort_by_key(|run| run.id);
        let mut checks: Vec<Check> = Vec::new();
        for run in runs {
            let state = state_of_run(&run.status, run.conclusion.as_deref());
            // A check run of GitHub Actions is a job, and has its id.
            let job = run.app.is_some_and(|app| app.slug.as_deref() == Some(ACTIONS)).then_some(run.id);
            let said = [run.output.title, run.output.summary].into_iter().flatten().collect::<Vec<_>>().join(": ");
            let url = run.html_url.unwrap_or_default();
            merge(&mut checks, Check { name: run.name, state, url, job, summary: shorten(&said, SUMMARY) });
        }
        for status in statuses {
            let state = state_of_status(&status.state);
            merge(
                &mut checks,
                Check {
                    name: status.context,
                    state,
                    url: status.target_url.unwrap_or_default(),
                    job: None,
                    summary: shorten(&status.description.unwrap_or_default(), SUMMARY),
                },
            );
        }
        for suite in suites {
            let app = suite.app.and_then(|app| app.slug).unwrap_or_default();
            // Jobs that need others get their check run late: the suite knows that more is to come. Suites without any run
            // belong to apps that watch the repository but do nothing.
            let working = matches!(suite.status.as_deref(), Some(status) if status != "completed");
            if working && (suite.latest_check_runs_count > 0 || app == ACTIONS) {
                merge(
                    &mut checks,
                    Check {
                        name: format!("{app} suite"),
                        state: CheckState::Pending,
                        url: String::new(),
                        job: None,
                        summary: String::new(),
                    },
                );
            }
        }
        // What is cut must not be what is red.
        checks.sort_by_key(|check| std::cmp::Reverse(weight(check.state)));
        checks.truncate(LIMIT);
        checks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Checks { checks, overtaken })
    }

    /// Somebody pushed another commit, or the pull request is over. A pull request shows a push a moment late, so what it says of
    /// its head is asked of the branch itself.
    async fn is_overtaken(
        &self,
        repository: &RepositoryName,
        sha: &CommitSha,
        of: &HeadOf,
    ) -> Result<bool, ServiceError> {
        let address = PullRequestRef { repository: repository.clone(), number: of.number };
        let pull_request = self.pull_request(&address).await?;
        if pull_request.state != PullRequestState::Open {
            return Ok(true);
        }
        if &pull_request.head_sha == sha {
            return Ok(false);
        }
        Ok(self.branch_head(repository, of.branch.as_str()).await?.as_ref() != Some(sha))
    }
}

/// One entry per name. A push and a pull request may both run the job of one name on a commit: the worse news counts. A cancelled
/// run counts for nothing once there is a newer one.
fn merge(checks: &mut Vec<Check>, newer: Check) {
    match checks.iter_mut().find(|check| check.name == newer.name) {
        Some(known) if known.state == CheckState::Cancelled || weight(newer.state) > weight(known.state) => {
            *known = newer;
        }
        Some(_) => {}
        None => checks.push(newer),
    }
}

fn weight(state: CheckState) -> u8 {
    match state {
        CheckState::Passed => 0,
        CheckState::Cancelled => 1,
        CheckState::Failed => 2,
        CheckState::Pending => 3,
    }
}

/// <https://docs.github.com/en/rest/checks/runs>: `status` and `conclusion`.
fn state_of_run(status: &str, conclusion: Option<&str>) -> CheckState {
    match (status, conclusion) {
        ("completed", Some("success" | "skipped" | "neutral")) => CheckState::Passed,
        ("completed", Some("cancelled" | "stale")) => CheckState::Cancelled,
        ("completed", _) => CheckState::Failed,
        _ => CheckState::Pending,
    }
}

/// <https://docs.github.com/en/rest/commits/statuses>: `state`.
fn state_of_status(state: &str) -> CheckState {
    match state {
        "success" => CheckState::Passed,
        "pending" => CheckState::Pending,
        _ => CheckState::Failed,
    }
}

fn decoded<T: DeserializeOwned>(doing: &str, list: Vec<Value>) -> Result<Vec<T>, ServiceError> {
    list.into_iter().map(|entry| serde_json::from_value(entry).map_err(|error| odd(doing, error))).collect()
}
