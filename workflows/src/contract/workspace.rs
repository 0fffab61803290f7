//! What the domain needs of workspaces: repository copies in which agents work and the harness proves.
//!
//! A workspace is (repository, base commit, snapshot). Every call that changes files returns a new snapshot; any worker
//! can take the next call from it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

use super::access::Person;
use super::ids::{BranchName, CommitSha, Digest, RepositoryName, TicketKey};
use super::plan::RemovedTest;
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
    /// The commit that people have merged, see [`Workspace::approved`]. `None` in workspaces of 0.2.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<CommitSha>,
}

impl Workspace {
    /// The files of `base`, a commit on the way from `approved`.
    pub fn at(repository: RepositoryName, base: CommitSha, approved: CommitSha) -> Self {
        Self { repository, base, snapshot: None, approved: Some(approved) }
    }

    /// The commit whose `ticketwright.toml`, set-up and build programs count. The base of a second task is a commit of ours, and
    /// whoever writes a change must not write the rules for the next one.
    pub fn approved(&self) -> &CommitSha {
        self.approved.as_ref().unwrap_or(&self.base)
    }
}

/// Changes since a workspace's base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Commit that holds the files; it exists only inside the bundle.
    pub commit: CommitSha,
    /// Its tree: equal trees are equal files.
    pub tree: CommitSha,
    /// Git bundle in the blob store: what is new since the base, or since the snapshot before, whose bundle it names.
    pub bundle: Digest,
    /// Number of bundles that this one builds on, one on the other.
    #[serde(default, skip_serializing_if = "is_none")]
    pub builds_on: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it a reference")]
fn is_none(bundles: &u32) -> bool {
    *bundles == 0
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

/// What to survey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurveyRequest {
    /// Where. Workers of 0.3.0 and before know no more than this.
    #[serde(flatten)]
    pub workspace: Workspace,
    /// Paths that the work is about, whether they are there or not: what does not fit of the conventions is what is far from them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<String>,
}

/// What a repository says about itself, for the agents that work in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    /// Its `AGENTS.md` files: the root's, those above what the work is about, then the nearest to it; at most 20 of them and 32 KB in
    /// all. Untrusted.
    pub conventions: Vec<Conventions>,
    /// Paths of further ones, the nearest first; at most 100. Untrusted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<String>,
    /// Command of the whole suite, written in `ticketwright.toml` or detected.
    pub test: Option<String>,
    /// What it is written in: `Python`, or `TypeScript, JavaScript`, the one with most files first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Command of the linter.
    pub lint: Option<String>,
    /// Command of the formatter.
    pub format: Option<String>,
    /// What is out of the ordinary, one line each: submodules that are not there, pointers instead of large files, a set-up
    /// that failed. At most 20.
    pub notes: Vec<String>,
    /// Those of the notes that are about what could not be installed: tests that need it cannot run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set_up: Vec<String>,
}

/// One `AGENTS.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conventions {
    /// Path from the repository's root; it holds for everything in its directory.
    pub path: String,
    /// Its text, cut with a note where it is too long.
    pub text: String,
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
    /// Why the change has no new test, as the approved plan says. Then only documents and settings may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_tests: Option<String>,
    /// Old tests that go with the change, as the approved plan says. No other may go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed_tests: Vec<RemovedTest>,
}

/// Result of a proof run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum ProofOutcome {
    /// It holds.
    Proven(Box<Proof>),
    /// It does not; this goes back to the agent, and to a person when attempts are used up.
    Refused {
        /// What is wrong and what to do, at most 4 KB.
        reason: String,
        /// Full output of the runs.
        log: Digest,
        /// No change of the agent's can mend it: a person has to do something first. When in doubt it is not set.
        #[serde(default, skip_serializing_if = "is_false")]
        unmendable: bool,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Red on the base, green on the head, made by the harness.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// The command that ran the suite; empty: none was run.
    pub command: String,
    /// Commit the red run was made on.
    pub base: CommitSha,
    /// The new tests; at most 100 are listed.
    pub new_tests: Vec<ProvenTest>,
    /// How many there are, listed or not. 0 in proofs of 0.2.0, whose list is all that is known.
    #[serde(default, skip_serializing_if = "is_none")]
    pub all_new: u32,
    /// [`mark`] of each of them, in order, so that two proofs can be compared beyond what is listed; at most 4000. Empty in proofs of
    /// 0.2.0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<String>,
    /// The whole suite on the head.
    pub suite: SuiteCount,
    /// What else was checked.
    #[serde(default)]
    pub evidence: Evidence,
    /// Why there is no new test, as the approved plan says; `None`: there is one.
    #[serde(default)]
    pub without_tests: Option<String>,
    /// Old tests that went, as the approved plan says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<GoneTests>,
    /// Full output of all runs.
    pub log: Digest,
    /// Where this proof is kept: JSON in the blob store, without this field. `None` in proofs of 0.2.0.
    #[serde(default)]
    pub kept: Option<Digest>,
}

/// Most marks of one proof.
pub const MARKS: usize = 4000;

/// What stands for a test's id in a proof: the first twelve digits of its digest.
pub fn mark(id: &str) -> String {
    Digest::of(id).to_string().chars().take(12).collect()
}

impl Proof {
    /// How many new tests there are.
    pub fn count(&self) -> usize {
        self.new_tests.len().max(self.all_new as usize)
    }

    /// A new test of this proof that `later`, another proof of the same task, does not have, for a sentence.
    pub fn lost_in(&self, later: &Self) -> Option<String> {
        let of_listed = later.new_tests.iter().map(|test| mark(&test.id));
        let there: BTreeSet<String> = of_listed.chain(later.marks.iter().cloned()).collect();
        // An id that was too long to be listed whole is known by its mark only.
        let known = |mark: &String| self.marks.is_empty() || self.marks.contains(mark);
        let lost = |mark: &String| !there.contains(mark) && known(mark);
        if let Some(test) = self.new_tests.iter().find(|test| lost(&mark(&test.id))) {
            return Some(test.id.clone());
        }
        let open = self.marks.iter().filter(|mark| !there.contains(*mark)).count();
        // A proof of 0.2.0 lists what it lists; what else it had is not known.
        let whole = !later.marks.is_empty() && later.marks.len() < MARKS;
        (open > 0 && whole).then(|| match open {
            1 => "A test that is not listed".to_owned(),
            _ => format!("One of {open} tests that are not listed"),
        })
    }
}

/// What the harness checked beside red and green. What a runner does not allow to be checked stays at its default, and is not
/// claimed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// A passing and a failing test of the harness's own, beside the new ones, were reported as what they are.
    pub canaries: bool,
    /// Literals of the new tests that were changed; with all of them changed, each new test that has one went red.
    pub flipped: u32,
    /// Parts of the change that were taken back, one at a time, each turning a new test red.
    pub undone: u32,
    /// Parts that no new test misses, `shop/pricing.py:42`; at most 20.
    pub unnoticed: Vec<String>,
    /// The new tests pass with the test settings and support files of the base, too.
    pub base_settings: bool,
    /// What a person should look at: changed snapshots, tests that read files or the environment. At most 20.
    pub look_at: Vec<String>,
}

/// Old tests that went because the approved plan names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneTests {
    /// What the plan says.
    #[serde(flatten)]
    pub named: RemovedTest,
    /// How many tests that the runner had reported went with it.
    pub count: u32,
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

    /// The text of all that was changed since the workspace's base, in the blob store, as `git diff` shows it; at most 64 KB, cut
    /// with a note.
    #[activity(name = "workspace.diff")]
    pub fn diff(_workspace: Workspace) -> Result<Digest, ActivityError> {
        unimplemented!()
    }

    /// Reads what the repository says about itself at the workspace's base, and sets its dependencies up. No effect outside the
    /// workspace's cache.
    #[activity(name = "workspace.survey")]
    pub fn survey(_request: SurveyRequest) -> Result<Survey, ActivityError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survey_is_asked_for_as_it_was() {
        let workspace = Workspace::at(
            "acme/shop".parse().unwrap(),
            "81c0".repeat(10).parse().unwrap(),
            "3e11".repeat(10).parse().unwrap(),
        );
        let before = serde_json::to_string(&workspace).unwrap();
        let request: SurveyRequest = serde_json::from_str(&before).unwrap();
        assert_eq!(request, SurveyRequest { workspace: workspace.clone(), near: vec![] });
        assert_eq!(serde_json::to_string(&request).unwrap(), before);
        let near = SurveyRequest { near: vec!["web/a.ts".into()], ..request };
        let read: Workspace = serde_json::from_str(&serde_json::to_string(&near).unwrap()).unwrap();
        assert_eq!(read, workspace, "a worker of before reads what it knows");
    }

    fn proof(ids: &[String], listed: usize, marked: bool) -> Proof {
        Proof {
            command: "pytest".into(),
            base: "81c0".repeat(10).parse().unwrap(),
            new_tests: ids.iter().take(listed).map(|id| ProvenTest { id: id.clone(), red: "no".into() }).collect(),
            all_new: if marked { u32::try_from(ids.len()).unwrap() } else { 0 },
            marks: if marked { ids.iter().map(|id| mark(id)).collect() } else { Vec::new() },
            suite: SuiteCount::default(),
            evidence: Evidence::default(),
            without_tests: None,
            removed: Vec::new(),
            log: Digest::of("log"),
            kept: None,
        }
    }

    #[test]
    fn proofs_are_compared_beyond_what_they_list() {
        let ids: Vec<String> = (0..150).map(|n| format!("test_{n:03}")).collect();
        let later: Vec<String> = (0..151).map(|n| format!("test_{n:03}")).rev().collect();
        let whole = proof(&ids, 100, true);
        assert_eq!((whole.count(), proof(&ids, 100, false).count()), (150, 100));
        // Other tests are listed, and all are there.
        assert_eq!(whole.lost_in(&proof(&later, 100, true)), None);
        assert_eq!(proof(&ids, 100, false).lost_in(&proof(&later, 100, true)), None);
        assert_eq!(whole.lost_in(&proof(&ids[1..], 100, true)).as_deref(), Some("test_000"));
        assert_eq!(whole.lost_in(&proof(&ids[..149], 100, true)).as_deref(), Some("A test that is not listed"));
        assert_eq!(
            whole.lost_in(&proof(&ids[..120], 100, true)).as_deref(),
            Some("One of 30 tests that are not listed")
        );
        // Proofs of 0.2.0 know what they list.
        assert_eq!(whole.lost_in(&proof(&ids, 100, false)), None);
        assert_eq!(proof(&ids, 100, false).lost_in(&proof(&ids[1..], 100, false)).as_deref(), Some("test_000"));
        // What was cut is found by its mark.
        let mut cut = proof(&ids[..2], 2, true);
        cut.new_tests[0].id = "test_0...abc".into();
        assert_eq!(cut.lost_in(&proof(&ids[..2], 2, true)), None);
        let old = r#"{"command": "pytest", "base": "81c081c081c081c081c081c081c081c081c081c0", "new_tests": [], "suite":
            {"passed": 1, "failed": 0, "skipped": 0}, "log": "#;
        let old: Proof = serde_json::from_str(&format!("{old}\"{}\"}}", "ab".repeat(32))).unwrap();
        assert_eq!(old.count(), 0);
        assert!(!serde_json::to_string(&old).unwrap().contains("marks"));
    }
}
