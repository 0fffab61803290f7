//! What tests look at: pull requests, comments, branches, files, diffs and checks as plain values.

use anyhow::Context as _;

use super::GitHub;
use super::check_views::ACTIONS;

/// A pull request as tests see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// Number in its repository.
    pub number: u64,
    /// Title.
    pub title: String,
    /// Description, empty when there is none.
    pub body: String,
    /// `open` or `closed`.
    pub state: &'static str,
    /// Still a draft.
    pub draft: bool,
    /// It was merged.
    pub merged: bool,
    /// Branch with the change.
    pub head_branch: String,
    /// Its newest commit.
    pub head_sha: String,
    /// Branch it merges into.
    pub base: String,
    /// Web page.
    pub url: String,
}

/// A comment on a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequestComment {
    /// Id, as in `/issues/comments/{id}`.
    pub id: u64,
    /// Who wrote it.
    pub user: String,
    /// Markdown.
    pub body: String,
    /// Emoji on it, as `eyes`.
    pub reactions: Vec<String>,
}

/// A check on a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Name of the job.
    pub name: String,
    /// `queued`, `in_progress` or `completed`.
    pub status: &'static str,
    /// `success`, `failure`, ...; `None` until it is completed.
    pub conclusion: Option<String>,
    /// The event that ran it: `push` or `pull_request`; for other CI the name of its app.
    pub event: String,
    /// What it printed.
    pub log: String,
}

impl GitHub {
    /// All pull requests of a repository, oldest first; none when there is no such repository.
    pub fn pull_requests(&self, repo: &str) -> Vec<PullRequest> {
        let Ok(place) = self.place(repo) else { return Vec::new() };
        let pulls = self.hub.with(&place, |repository| repository.pulls.clone()).unwrap_or_default();
        let plain = |pull: super::state::Pull| PullRequest {
            number: pull.number,
            state: if pull.open { "open" } else { "closed" },
            merged: pull.merged(),
            title: pull.title,
            body: pull.body.unwrap_or_default(),
            draft: pull.draft,
            head_branch: pull.head_branch,
            head_sha: pull.head_sha,
            base: pull.base_branch,
            url: format!("{}/{}/pull/{}", self.hub.base, place.full, pull.number),
        };
        pulls.into_values().map(plain).collect()
    }

    /// Names of a repository's branches.
    pub async fn branches(&self, repo: &str) -> Vec<String> {
        let Ok(place) = self.place(repo) else { return Vec::new() };
        let references = place.git.references().await.unwrap_or_default();
        references.into_keys().filter_map(|name| name.strip_prefix("refs/heads/").map(str::to_owned)).collect()
    }

    /// Text of a file at a branch, tag or commit; `None` when it is not there.
    pub async fn file(&self, repo: &str, reference: &str, path: &str) -> Option<String> {
        let place = self.place(repo).ok()?;
        let commit = place.git.resolve(reference).await?;
        place.git.file(&commit, path).await.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Messages of the newest commits of a branch, tag or commit, newest first, at most 100.
    pub async fn commit_messages(&self, repo: &str, reference: &str) -> Vec<String> {
        let Ok(place) = self.place(repo) else { return Vec::new() };
        let Some(commit) = place.git.resolve(reference).await else { return Vec::new() };
        let commits = place.git.commits(&["--max-count=100", &commit]).await.unwrap_or_default();
        commits.into_iter().map(|commit| commit.message.trim_end().to_owned()).collect()
    }

    /// Unified diff of a pull request.
    ///
    /// # Errors
    /// When there is no such pull request.
    pub async fn diff(&self, repo: &str, number: u64) -> anyhow::Result<String> {
        let place = self.place(repo)?;
        let pull = self.hub.pull(&place, number)?;
        place.git.diff_text(&self.hub.fork_point(&place, &pull).await, &pull.head_sha).await
    }

    /// Comments of a pull request, oldest first.
    pub fn comments(&self, repo: &str, number: u64) -> Vec<PullRequestComment> {
        let Ok(place) = self.place(repo) else { return Vec::new() };
        let read = |repository: &mut super::state::Repository| {
            let comments = repository.comments.iter().filter(|comment| comment.number == number);
            let plain = |comment: &super::state::Comment| {
                let subject = format!("comments/{}", comment.id);
                let of = repository.reactions.iter().filter(|reaction| reaction.subject == subject);
                PullRequestComment {
                    id: comment.id,
                    user: comment.user.clone(),
                    body: comment.body.clone(),
                    reactions: of.map(|reaction| reaction.content.clone()).collect(),
                }
            };
            comments.map(plain).collect()
        };
        self.hub.with(&place, read).unwrap_or_default()
    }

    /// Newest check of each name and event on a commit.
    pub fn checks(&self, repo: &str, sha: &str) -> Vec<Check> {
        let Ok(place) = self.place(repo) else { return Vec::new() };
        let read = |repository: &mut super::state::Repository| {
            let plain = |check: super::state::CheckRun| {
                let run = repository.runs.iter().find(|run| run.suite == check.suite);
                let suite = repository.suites.iter().find(|suite| suite.id == check.suite);
                let app = suite.map_or(ACTIONS, |suite| &suite.app).to_owned();
                let job = repository.jobs.iter().find(|job| job.id == check.id);
                Check {
                    name: check.name,
                    status: check.status,
                    conclusion: check.conclusion,
                    event: run.map_or(app, |run| run.event.clone()),
                    log: job.map(|job| job.log.clone()).unwrap_or_default(),
                }
            };
            repository.checks_of(sha, true).into_iter().map(plain).collect()
        };
        self.hub.with(&place, read).unwrap_or_default()
    }

    /// Waits until every check on a commit is completed and there is at least one; fails after `limit` with what is
    /// still open.
    ///
    /// # Errors
    /// When the time is over.
    pub async fn wait_for_checks(
        &self,
        repo: &str,
        sha: &str,
        limit: std::time::Duration,
    ) -> anyhow::Result<Vec<Check>> {
        let mut finished = self.hub.runs_finished.subscribe();
        let done = tokio::time::timeout(limit, async {
            loop {
                let checks = self.checks(repo, sha);
                let idle = !self.place(repo).is_ok_and(|place| self.hub.is_running(&place, sha));
                if idle && !checks.is_empty() && checks.iter().all(|check| check.status == "completed") {
                    return checks;
                }
                // The sender lives in `self`, so this errs only when everything is gone.
                if finished.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        });
        done.await.with_context(|| format!("waited {limit:?} for checks of {repo}@{sha}: {:?}", self.checks(repo, sha)))
    }
}
