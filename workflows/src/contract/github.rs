//! What the domain needs of GitHub.

use serde::{Deserialize, Serialize};
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

use super::ids::{BranchName, CommitSha, RepositoryName};

/// A repository's default branch and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Repository {
    /// `owner/name`.
    pub name: RepositoryName,
    /// Name of the default branch.
    pub default_branch: String,
    /// Its head.
    pub head: CommitSha,
    /// Link for people.
    pub url: String,
}

/// A branch to create, or to find as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateBranch {
    /// In which repository.
    pub repository: RepositoryName,
    /// Its name.
    pub branch: BranchName,
    /// Where it starts.
    pub from: CommitSha,
}

/// PLAN.md to write to a branch. The only file that may be written before a plan is approved; its path is fixed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WritePlan {
    /// In which repository.
    pub repository: RepositoryName,
    /// On which branch.
    pub branch: BranchName,
    /// Markdown.
    pub content: String,
    /// Commit message.
    pub message: String,
}

/// A pull request to open, as a draft.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenPullRequest {
    /// In which repository.
    pub repository: RepositoryName,
    /// From which branch.
    pub head: BranchName,
    /// Into which branch.
    pub base: String,
    /// Title.
    pub title: String,
    /// Markdown.
    pub body: String,
}

/// A pull request's address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PullRequestRef {
    /// In which repository.
    pub repository: RepositoryName,
    /// Its number.
    pub number: u64,
}

/// New text of a pull request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EditPullRequest {
    /// Which one.
    pub pull_request: PullRequestRef,
    /// New title.
    pub title: String,
    /// New body, Markdown.
    pub body: String,
}

/// A pull request as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PullRequest {
    /// In which repository.
    pub repository: RepositoryName,
    /// Its number.
    pub number: u64,
    /// Link for people.
    pub url: String,
    /// Its branch.
    pub head: BranchName,
    /// Head of its branch.
    pub head_sha: CommitSha,
    /// Draft.
    pub draft: bool,
    /// State.
    pub state: PullRequestState,
    /// Branch it merges into.
    #[serde(default)]
    pub base: String,
    /// Head of that branch when GitHub last compared the two. `None` where a version before 0.3.0 has read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_sha: Option<CommitSha>,
    /// Title.
    #[serde(default)]
    pub title: String,
    /// Its branch lies in another repository, where we cannot push.
    #[serde(default)]
    pub fork: bool,
}

impl PullRequest {
    /// Its address.
    pub fn address(&self) -> PullRequestRef {
        PullRequestRef { repository: self.repository.clone(), number: self.number }
    }
}

/// State of a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullRequestState {
    /// Open, draft or not.
    Open,
    /// Closed without merge.
    Closed,
    /// Merged.
    Merged,
}

/// A branch's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BranchRef {
    /// In which repository.
    pub repository: RepositoryName,
    /// Its name.
    pub branch: BranchName,
}

/// A commit's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRef {
    /// In which repository.
    pub repository: RepositoryName,
    /// Its id.
    pub sha: CommitSha,
}

/// A commit whose checks are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadChecks {
    /// In which repository.
    pub repository: RepositoryName,
    /// Its id.
    pub sha: CommitSha,
    /// The pull request whose head it is believed to be; without it nobody asks whether it still is.
    #[serde(default)]
    pub head_of: Option<HeadOf>,
}

/// A pull request and its branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadOf {
    /// Number of the pull request.
    pub number: u64,
    /// The branch it merges from.
    pub branch: BranchName,
}

/// All checks of one commit: check runs of every app, and commit statuses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Checks {
    /// One entry per check name, the worst of its latest runs (a push and a pull request may both run it); sorted by name; at
    /// most 100, the unfinished and red ones first kept.
    pub checks: Vec<Check>,
    /// The commit is not the head of its pull request any more, or that is closed or merged: these checks count for nothing.
    #[serde(default)]
    pub overtaken: bool,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Name, as people see it on the pull request.
    pub name: String,
    /// Where it stands.
    pub state: CheckState,
    /// Link to its log, or empty.
    pub url: String,
    /// The GitHub Actions job that made it; other apps have none.
    #[serde(default)]
    pub job: Option<u64>,
    /// What the app said about it, one line, at most 200 characters.
    #[serde(default)]
    pub summary: String,
}

/// Where a check stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// Queued or running.
    Pending,
    /// success, skipped or neutral.
    Passed,
    /// failure, timed_out, action_required, startup_failure, error.
    Failed,
    /// Cancelled or stale.
    Cancelled,
}

/// A job of GitHub Actions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRef {
    /// In which repository.
    pub repository: RepositoryName,
    /// GitHub's id of the job.
    pub job: u64,
}

/// What a failed job printed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobLog {
    /// The failing step.
    Step {
        /// Name of the step, or empty.
        step: String,
        /// Its output's end without time stamps and colours, at most 16 KB. Untrusted.
        tail: String,
    },
    /// GitHub has deleted it.
    Expired,
}

/// A reaction to leave on a comment in a pull request's conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct React {
    /// In which repository.
    pub repository: RepositoryName,
    /// GitHub's id of the comment.
    pub comment: u64,
    /// `eyes`, `rocket`, `confused`, ...
    pub content: String,
}

/// A comment to write once in a pull request's conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WriteReply {
    /// On which one.
    pub pull_request: PullRequestRef,
    /// Kept in the comment as a hidden marker and looked for before writing.
    pub effect: super::ids::EffectKey,
    /// Markdown.
    pub body: String,
}

/// A comment of ours to look for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindReply {
    /// On which pull request.
    pub pull_request: PullRequestRef,
    /// The key it was written with.
    pub effect: super::ids::EffectKey,
}

/// Whether a person may push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MayPush {
    /// To which repository.
    pub repository: RepositoryName,
    /// GitHub login.
    pub login: String,
}

/// A file to read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadFile {
    /// From which repository.
    pub repository: RepositoryName,
    /// At which branch or commit.
    pub at: String,
    /// Path from the root.
    pub path: String,
}

/// GitHub, as activities.
pub struct GitHub;

#[activity_definitions]
impl GitHub {
    /// Reads a repository and the head of its default branch. No effect.
    #[activity(name = "github.get_repository")]
    pub fn get_repository(_name: RepositoryName) -> Result<Repository, ActivityError> {
        unimplemented!()
    }

    /// Creates a branch, or finds it: an existing one is returned with its present head.
    #[activity(name = "github.create_branch")]
    pub fn create_branch(_request: CreateBranch) -> Result<CommitSha, ActivityError> {
        unimplemented!()
    }

    /// Writes PLAN.md; a branch that has this very content already is left alone. Returns the branch's head.
    #[activity(name = "github.write_plan")]
    pub fn write_plan(_request: WritePlan) -> Result<CommitSha, ActivityError> {
        unimplemented!()
    }

    /// Reads a file of at most 256 KB; `None` when it does not exist. No effect.
    #[activity(name = "github.read_file")]
    pub fn read_file(_request: ReadFile) -> Result<Option<String>, ActivityError> {
        unimplemented!()
    }

    /// Opens a draft pull request, or finds the one of this branch, closed ones included.
    #[activity(name = "github.open_pull_request")]
    pub fn open_pull_request(_request: OpenPullRequest) -> Result<PullRequest, ActivityError> {
        unimplemented!()
    }

    /// Reads a pull request. No effect.
    #[activity(name = "github.get_pull_request")]
    pub fn get_pull_request(_request: PullRequestRef) -> Result<PullRequest, ActivityError> {
        unimplemented!()
    }

    /// Sets title and body; unchanged text is not sent.
    #[activity(name = "github.edit_pull_request")]
    pub fn edit_pull_request(_request: EditPullRequest) -> Result<PullRequest, ActivityError> {
        unimplemented!()
    }

    /// Takes a pull request out of draft (GraphQL `markPullRequestReadyForReview`; REST has no way).
    #[activity(name = "github.mark_ready")]
    pub fn mark_ready(_request: PullRequestRef) -> Result<PullRequest, ActivityError> {
        unimplemented!()
    }

    /// Closes a pull request; a closed or merged one is left alone.
    #[activity(name = "github.close_pull_request")]
    pub fn close_pull_request(_request: PullRequestRef) -> Result<PullRequest, ActivityError> {
        unimplemented!()
    }

    /// Finds the newest pull request of a branch, in any state. No effect.
    #[activity(name = "github.find_pull_request")]
    pub fn find_pull_request(_request: BranchRef) -> Result<Option<PullRequest>, ActivityError> {
        unimplemented!()
    }

    /// Deletes a branch; a missing one is fine.
    #[activity(name = "github.delete_branch")]
    pub fn delete_branch(_request: BranchRef) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Whether a person has write access (`write`, `maintain` or `admin`). No effect.
    #[activity(name = "github.may_push")]
    pub fn may_push(_question: MayPush) -> Result<bool, ActivityError> {
        unimplemented!()
    }

    /// Leaves a reaction; one that is there already stays.
    #[activity(name = "github.react")]
    pub fn react(_reaction: React) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Writes a comment once; returns its link.
    #[activity(name = "github.write_reply")]
    pub fn write_reply(_reply: WriteReply) -> Result<String, ActivityError> {
        unimplemented!()
    }

    /// Looks for a comment that was written with this key; its link. No effect.
    #[activity(name = "github.find_reply")]
    pub fn find_reply(_reply: FindReply) -> Result<Option<String>, ActivityError> {
        unimplemented!()
    }

    /// Reads the end of the failing step's log. No effect.
    #[activity(name = "github.job_log")]
    pub fn job_log(_job: JobRef) -> Result<JobLog, ActivityError> {
        unimplemented!()
    }

    /// Runs a finished job again, with those that depend on it. A job that already runs again is left alone.
    #[activity(name = "github.rerun_job")]
    pub fn rerun_job(_job: JobRef) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Reads where a branch stands; `None` when it does not exist. No effect.
    #[activity(name = "github.branch_head")]
    pub fn branch_head(_branch: BranchRef) -> Result<Option<CommitSha>, ActivityError> {
        unimplemented!()
    }

    /// Lists the files that a pull request changes, at most 300. No effect.
    #[activity(name = "github.changed_files")]
    pub fn changed_files(_request: PullRequestRef) -> Result<Vec<String>, ActivityError> {
        unimplemented!()
    }

    /// Reads all checks of a commit, and whether it still is the head of its pull request. No effect.
    #[activity(name = "github.read_checks")]
    pub fn read_checks(_request: ReadChecks) -> Result<Checks, ActivityError> {
        unimplemented!()
    }
}

/// The definitions, for the adapters that implement them: `#[activity(definition = ...)]`.
pub mod definitions {
    pub use super::git_hub::*;
}
