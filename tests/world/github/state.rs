//! What the stand-in remembers in memory: people, pull requests, comments, statuses, checks and runs. Objects and refs
//! live in git.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

/// What a person may do in every repository. GitHub's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Sees nothing.
    None,
    /// Reads.
    Read,
    /// Pushes, merges.
    Write,
    /// Owns.
    Admin,
}

impl Permission {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// An account.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) id: u64,
    pub(super) login: String,
    /// `User`, `Bot` or `Organization`.
    pub(super) kind: &'static str,
    pub(super) permission: Permission,
}

/// The GitHub App that is installed, when tests use one.
#[derive(Debug, Clone)]
pub(super) struct App {
    pub(super) id: u64,
    pub(super) slug: String,
    pub(super) public_pem: String,
    pub(super) installation: u64,
    pub(super) created: DateTime<Utc>,
}

/// A `ghs_` token.
#[derive(Debug, Clone)]
pub(super) struct InstallationToken {
    pub(super) expires: DateTime<Utc>,
    /// Permission name to `read` or `write`.
    pub(super) permissions: BTreeMap<String, String>,
    /// Names of repositories it is limited to; `None`: all.
    pub(super) repositories: Option<HashSet<String>>,
}

/// A pull request.
#[derive(Debug, Clone)]
pub(super) struct Pull {
    pub(super) id: u64,
    pub(super) number: u64,
    pub(super) title: String,
    pub(super) body: Option<String>,
    pub(super) open: bool,
    pub(super) draft: bool,
    pub(super) merged_by: Option<String>,
    pub(super) merge_commit: Option<String>,
    pub(super) head_branch: String,
    /// Owner of the fork that holds the branch; `None`: it lies in this repository.
    pub(super) fork: Option<String>,
    pub(super) head_sha: String,
    pub(super) base_branch: String,
    /// Tip of the base branch; frozen when the pull request ends, so that its diff stays what it was.
    pub(super) base_sha: String,
    pub(super) user: String,
    pub(super) labels: Vec<String>,
    pub(super) created: DateTime<Utc>,
    pub(super) updated: DateTime<Utc>,
    pub(super) closed: Option<DateTime<Utc>>,
}

impl Pull {
    /// The branch, if it lies in this repository.
    pub(super) fn own_branch(&self) -> Option<&str> {
        self.fork.is_none().then_some(self.head_branch.as_str())
    }

    pub(super) fn merged(&self) -> bool {
        self.merged_by.is_some()
    }

    pub(super) fn node_id(&self) -> String {
        node_id("PR", self.id)
    }

    pub(super) fn end(&mut self) {
        self.open = false;
        self.updated = Utc::now();
        self.closed = Some(self.updated);
    }
}

/// A comment in the conversation of a pull request.
#[derive(Debug, Clone)]
pub(super) struct Comment {
    pub(super) id: u64,
    pub(super) number: u64,
    pub(super) user: String,
    pub(super) body: String,
    pub(super) created: DateTime<Utc>,
    pub(super) updated: DateTime<Utc>,
}

/// An emoji on a comment or on a pull request's description.
#[derive(Debug, Clone)]
pub(super) struct Reaction {
    pub(super) id: u64,
    /// `issues/1` or `comments/7`.
    pub(super) subject: String,
    pub(super) user: String,
    pub(super) content: String,
    pub(super) created: DateTime<Utc>,
}

/// A commit status (the older way of CI to report).
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) id: u64,
    pub(super) sha: String,
    pub(super) state: String,
    pub(super) context: String,
    pub(super) description: Option<String>,
    pub(super) target_url: Option<String>,
    pub(super) creator: String,
    pub(super) created: DateTime<Utc>,
}

/// All check runs that one app made for one event on one commit.
#[derive(Debug, Clone)]
pub(super) struct Suite {
    pub(super) id: u64,
    pub(super) app: String,
    pub(super) head_branch: String,
    pub(super) head_sha: String,
    pub(super) before: Option<String>,
    pub(super) status: &'static str,
    pub(super) conclusion: Option<String>,
    pub(super) created: DateTime<Utc>,
    pub(super) updated: DateTime<Utc>,
}

/// One check. Those of GitHub Actions share their id with the job.
#[derive(Debug, Clone)]
pub(super) struct CheckRun {
    pub(super) id: u64,
    pub(super) suite: u64,
    pub(super) name: String,
    pub(super) head_sha: String,
    pub(super) status: &'static str,
    pub(super) conclusion: Option<String>,
    pub(super) title: Option<String>,
    pub(super) summary: Option<String>,
    pub(super) details_url: String,
    pub(super) started: DateTime<Utc>,
    pub(super) completed: Option<DateTime<Utc>>,
}

/// One run of a workflow file.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) id: u64,
    pub(super) workflow_id: u64,
    pub(super) name: String,
    /// `.github/workflows/ci.yml`.
    pub(super) path: String,
    pub(super) event: String,
    pub(super) head_branch: String,
    pub(super) head_sha: String,
    pub(super) number: u64,
    pub(super) attempt: u32,
    pub(super) status: &'static str,
    pub(super) conclusion: Option<String>,
    pub(super) suite: u64,
    pub(super) actor: String,
    pub(super) pull: Option<u64>,
    pub(super) base_branch: Option<String>,
    pub(super) created: DateTime<Utc>,
    pub(super) updated: DateTime<Utc>,
    /// `concurrency.group`, when the workflow cancels its earlier runs.
    pub(super) group: Option<String>,
    pub(super) stop: tokio_util::sync::CancellationToken,
}

/// One job of a run.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) run: u64,
    pub(super) attempt: u32,
    /// Key in the workflow file.
    pub(super) key: String,
    pub(super) name: String,
    pub(super) status: &'static str,
    pub(super) conclusion: Option<String>,
    pub(super) labels: Vec<String>,
    pub(super) steps: Vec<Value>,
    /// For the jobs that need this one, also in a later attempt that does not run it again.
    pub(super) outputs: Value,
    pub(super) log: String,
    pub(super) created: DateTime<Utc>,
    pub(super) started: DateTime<Utc>,
    pub(super) completed: Option<DateTime<Utc>>,
}

/// A repository's share of the memory.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    pub(super) id: u64,
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) default_branch: String,
    pub(super) created: DateTime<Utc>,
    pub(super) pushed: DateTime<Utc>,
    pub(super) actions: bool,
    pub(super) git: super::git::Git,
    /// Held while refs change, so that "before" and "after" of one change belong together.
    pub(super) writing: Arc<tokio::sync::Mutex<()>>,
    pub(super) next_number: u64,
    pub(super) pulls: BTreeMap<u64, Pull>,
    pub(super) comments: Vec<Comment>,
    pub(super) reactions: Vec<Reaction>,
    pub(super) statuses: Vec<Status>,
    pub(super) suites: Vec<Suite>,
    pub(super) checks: Vec<CheckRun>,
    pub(super) runs: Vec<Run>,
    pub(super) jobs: Vec<Job>,
    /// Jobs whose logs are kept no longer.
    pub(super) expired_logs: BTreeSet<u64>,
    /// Logs are deleted as soon as their job has ended.
    pub(super) forgets_logs: bool,
}

impl Repository {
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// Checks of a commit; with `latest` only the newest of each name in each suite, as GitHub's `filter=latest`.
    pub(super) fn checks_of(&self, sha: &str, latest: bool) -> Vec<CheckRun> {
        let of: Vec<&CheckRun> = self.checks.iter().filter(|check| check.head_sha == sha).collect();
        let newer = |check: &CheckRun| {
            of.iter().any(|other| other.id > check.id && other.suite == check.suite && other.name == check.name)
        };
        of.iter().filter(|check| !latest || !newer(check)).map(|check| (*check).clone()).collect()
    }
}

/// Everything.
#[derive(Debug, Default)]
pub(super) struct State {
    last_id: u64,
    pub(super) users: BTreeMap<String, User>,
    /// By full name in lower case.
    pub(super) repositories: BTreeMap<String, Repository>,
    pub(super) app: Option<App>,
    pub(super) tokens: HashMap<String, InstallationToken>,
    /// Calls so far by rate limit resource.
    pub(super) used: HashMap<&'static str, u64>,
    /// Open links to logs: secret to (repository, job, end of life).
    pub(super) log_links: HashMap<String, (String, u64, DateTime<Utc>)>,
}

impl State {
    /// A number no other object has.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        1_000 + self.last_id
    }

    pub(super) fn repository(&self, full_name: &str) -> Option<&Repository> {
        self.repositories.get(&full_name.to_ascii_lowercase())
    }

    pub(super) fn repository_mut(&mut self, full_name: &str) -> Option<&mut Repository> {
        self.repositories.get_mut(&full_name.to_ascii_lowercase())
    }

    /// The account of that login; made on first sight with `kind`, so that every author has one.
    pub(super) fn user(&mut self, login: &str, kind: &'static str) -> User {
        if let Some(user) = self.users.values().find(|user| user.login.eq_ignore_ascii_case(login)) {
            return user.clone();
        }
        let user = User { id: self.next_id(), login: login.to_owned(), kind, permission: Permission::None };
        self.users.insert(login.to_ascii_lowercase(), user.clone());
        user
    }
}

/// An opaque GraphQL id in the style of GitHub.
pub(super) fn node_id(kind: &str, id: u64) -> String {
    format!("{kind}_kwDO{id:010}")
}
