//! What the domain needs of workspaces: repository copies in which agents work and the harness proves.
//!
//! A workspace is (repository, base commit, snapshot). Every call that changes files returns a new snapshot; any worker
//! can take the next call from it.

use serde::{Deserialize, Serialize};
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

use super::access::Person;
use super::ids::{BranchName, CommitSha, Digest, RepositoryName, TicketKey};
use super::tools::{ToolCall, ToolReply};

/// A repository's files at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Of which repository.
    pub repository: RepositoryName,
    /// The commit on GitHub it started from.
    pub base: CommitSha,
    /// What was changed since; `None`: nothing.
    pub snapshot: Option<Snapshot>,
}

/// Changes since a workspace's base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Commit that holds the files; it exists only inside the bundle.
    pub commit: CommitSha,
    /// Its tree: equal trees are equal files.
    pub tree: CommitSha,
    /// Git bundle `base..commit` in the blob store.
    pub bundle: Digest,
}

/// A tool call of an agent, in a workspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkspaceCall {
    /// Where.
    pub workspace: Workspace,
    /// What.
    pub call: ToolCall,
    /// Seconds a command may run.
    pub command_seconds: u64,
}

/// What a workspace tool call came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkspaceReply {
    /// The files after the call.
    pub workspace: Workspace,
    /// What the model is told.
    pub reply: ToolReply,
}

/// A proof to make: the tests that `head` adds to `base` fail there and pass here, and nothing else broke.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prove {
    /// Files before the task.
    pub base: Workspace,
    /// Files after it.
    pub head: Workspace,
    /// Seconds each run may take.
    pub command_seconds: u64,
}

/// Result of a proof run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum ProofOutcome {
    /// It holds.
    Proven(Proof),
    /// It does not; this goes back to the agent, and to a person when attempts are used up.
    Refused {
        /// What is wrong and what to do, at most 4 KB.
        reason: String,
        /// Full output of the runs.
        log: Digest,
    },
}

/// Red on the base, green on the head, made by the harness.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// The command that ran the suite.
    pub command: String,
    /// Commit the red run was made on.
    pub base: CommitSha,
    /// The new tests; at most 100 are listed.
    pub new_tests: Vec<ProvenTest>,
    /// The whole suite on the head.
    pub suite: SuiteCount,
    /// Full output of all runs.
    pub log: Digest,
}

/// One new test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProvenTest {
    /// The runner's id.
    pub id: String,
    /// The line with which it failed on the base.
    pub red: String,
}

/// Counts of a suite run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuiteCount {
    /// Passed, new tests included.
    pub passed: u32,
    /// Failed.
    pub failed: u32,
    /// Skipped.
    pub skipped: u32,
}

/// Why a push is allowed. Made only where a human's word was checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authority {
    /// An approved plan, with the cap that was approved. The activity re-reads the plan and checks its hash.
    ApprovedPlan {
        /// Full hash.
        hash: Digest,
        /// Who approved it.
        by: Person,
        /// The plan itself, canonical JSON in the blob store; its digest is `hash`.
        plan: Digest,
    },
    /// A person with write access asked for it in a pull request's comment; the activity asks GitHub again whether they have
    /// it.
    Commanded {
        /// Who.
        by: Person,
        /// GitHub's id of the comment.
        comment: u64,
    },
}

/// Fixers to run: the repository's own, found in its files, never a model's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fix {
    /// Files as they stand on the branch.
    pub workspace: Workspace,
    /// Which kinds of failure to fix.
    pub kinds: Vec<FixKind>,
    /// Seconds each command may run.
    pub command_seconds: u64,
}

/// What a repository's own fixers can mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FixKind {
    /// `ruff check --fix`, `eslint --fix`, `clippy --fix`, ...
    Lint,
    /// `ruff format`, `black`, `prettier --write`, `cargo fmt`, `gofmt -w`, ...
    Format,
    /// The lock file of the package manager.
    Lockfile,
}

/// What the fixers did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fixed {
    /// The files after them.
    pub workspace: Workspace,
    /// Commands that ran, with how they ended: `ruff check --fix . (exit 0)`.
    pub commands: Vec<String>,
    /// They changed something.
    pub changed: bool,
}

/// Whether a model's fix leaves the tests what they were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedFix {
    /// What it does to the tests, and what to do instead, at most 4 KB; `None`: nothing is wrong with it.
    pub refusal: Option<String>,
    /// Full output of the runs.
    pub log: Digest,
}

/// One commit to put on a branch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Push {
    /// The files.
    pub workspace: Workspace,
    /// The branch.
    pub branch: BranchName,
    /// The commit it goes on top of: where the branch must stand now, or already have this very commit.
    pub parent: CommitSha,
    /// Commit message, with trailers.
    pub message: String,
    /// Author and committer date, seconds since 1970: from the run, so that a repeated push makes the same commit.
    pub authored_at: i64,
    /// Paths to leave out, PLAN.md with the last push.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Why it is allowed.
    pub authority: Authority,
    /// For the activity's log and the trailer check; absent where no ticket is involved.
    #[serde(default)]
    pub ticket: Option<TicketKey>,
}

/// A commit on GitHub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pushed {
    /// Its id.
    pub sha: CommitSha,
    /// Files it changed, PLAN.md not counted.
    pub files: u32,
    /// Lines it added.
    pub insertions: u32,
    /// Lines it removed.
    pub deletions: u32,
}

/// Workspaces, as activities on the sandbox queue.
pub struct Workspaces;

#[activity_definitions]
impl Workspaces {
    /// Runs one tool call. Workspace effects happen once: a repeated call starts from the same snapshot.
    #[activity(name = "workspace.call_tool")]
    pub fn call_tool(_call: WorkspaceCall) -> Result<WorkspaceReply, ActivityError> {
        unimplemented!()
    }

    /// Runs the proof: new tests red on the base, green on the head, suite green.
    #[activity(name = "workspace.prove")]
    pub fn prove(_request: Prove) -> Result<ProofOutcome, ActivityError> {
        unimplemented!()
    }

    /// Runs the suite: green on the head, nothing lost or weakened. Asks for no new test, and lists those that are red on the
    /// base. For changes that need none, which people ask for by name.
    #[activity(name = "workspace.check")]
    pub fn check(_request: Prove) -> Result<ProofOutcome, ActivityError> {
        unimplemented!()
    }

    /// Runs the repository's own fixers in the sandbox. No effect outside the workspace.
    #[activity(name = "workspace.fix")]
    pub fn fix(_request: Fix) -> Result<Fixed, ActivityError> {
        unimplemented!()
    }

    /// Looks at a fix of red checks: no test deleted, skipped or weakened. It need not make the suite green; CI tells that.
    #[activity(name = "workspace.judge_fix")]
    pub fn judge_fix(_request: Prove) -> Result<JudgedFix, ActivityError> {
        unimplemented!()
    }

    /// Pushes one commit. Content-addressed: a branch that has it already is left alone. A branch that moved is a conflict.
    #[activity(name = "workspace.push")]
    pub fn push(_request: Push) -> Result<Pushed, ActivityError> {
        unimplemented!()
    }
}

/// The definitions, for the adapters that implement them: `#[activity(definition = ...)]`.
pub mod definitions {
    pub use super::workspaces::*;
}
