//! What the agents answer: a discovery report, a plan, a task's result. Their JSON schemas are what the model sees.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{Digest, RepositoryName};
use super::money::MicroUsd;

/// Where a ticket's change belongs. Answer of the discovery agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DiscoveryReport {
    /// Candidates that were looked at, best first.
    pub repositories: Vec<RankedRepository>,
    /// Ways in which the change crosses repositories.
    #[serde(default)]
    pub dependencies: Vec<CrossRepositoryDependency>,
    /// low: 1 repository, under 5 files; medium: 1-2 repositories, 5-15 files; high: more, or a complex architecture.
    pub complexity: Complexity,
    /// How you would go about it, in two or three sentences.
    pub approach: String,
}

/// One candidate repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RankedRepository {
    /// `owner/name`.
    pub repository: RepositoryName,
    /// 1.0 named in the ticket; 0.7-0.9 strong evidence; 0.4-0.6 related; 0.1-0.3 weak.
    pub score: f64,
    /// The evidence, in one sentence a colleague can check.
    pub reason: String,
    /// Files that matter.
    #[serde(default)]
    pub files: Vec<RelevantFile>,
}

/// A file that matters to the change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RelevantFile {
    /// Path from the repository's root.
    pub path: String,
    /// What kind of file it is.
    pub kind: FileKind,
    /// Why it matters, in a few words.
    pub relevance: String,
}

/// Kind of a relevant file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// Program text.
    Source,
    /// Tests.
    Test,
    /// Settings, build and deployment files.
    Config,
}

/// How big a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Complexity {
    /// One repository, under 5 files.
    Low,
    /// One or two repositories, 5 to 15 files.
    Medium,
    /// Three or more repositories, or a complex architecture.
    High,
}

/// One repository needs another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CrossRepositoryDependency {
    /// The repository that needs the other.
    pub from: RepositoryName,
    /// The repository that is needed.
    pub to: RepositoryName,
    /// api, shared_library or event.
    pub kind: String,
    /// What exactly.
    pub detail: String,
}

/// What will be done, in which order, and how it will be proven. Answer of the planning agent; a human approves it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Title of the pull request without the ticket key, imperative, at most 72 characters.
    pub title: String,
    /// Two or three sentences: what is wrong, what will be done.
    pub summary: String,
    /// What the change includes.
    pub scope_in: Vec<String>,
    /// What it leaves alone on purpose.
    #[serde(default)]
    pub scope_out: Vec<String>,
    /// Other work this depends on.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// Components, data flow, and an optional diagram, in Markdown.
    pub architecture: String,
    /// The tests, before anything else.
    pub tests: Vec<PlannedTest>,
    /// The steps, each with its own tests, of 1 to 4 hours.
    pub tasks: Vec<PlannedTask>,
    /// Steps across repositories: order of merge, migration, flags.
    #[serde(default)]
    pub cross_repository_steps: Vec<String>,
    /// What happens on bad input and failure.
    #[serde(default)]
    pub error_handling: String,
    /// Load, size, performance.
    #[serde(default)]
    pub scalability: String,
    /// Security considerations.
    #[serde(default)]
    pub security: String,
    /// What could go wrong for users, in one sentence for the approver.
    pub risk: String,
    /// How to take it back.
    pub rollback: String,
}

/// One test of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedTest {
    /// What it shows.
    pub description: String,
    /// Where it will live.
    pub file: String,
    /// What it asserts.
    #[serde(default)]
    pub assertions: Vec<String>,
    /// unit, integration or end_to_end.
    pub kind: TestKind,
}

/// Level of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TestKind {
    /// One function or type.
    Unit,
    /// Several parts together.
    Integration,
    /// The program as its users meet it.
    EndToEnd,
}

/// One step of the plan: tests first, then the change that makes them pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedTask {
    /// Short id, unique in the plan: `t1`.
    pub id: String,
    /// Imperative, at most 72 characters; becomes the commit's subject.
    pub title: String,
    /// The repository it changes.
    pub repository: RepositoryName,
    /// What to do, for the engineer who does it.
    pub description: String,
    /// Files it will touch, tests included.
    pub files: Vec<String>,
    /// Ids of tasks that come first.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// Which tests it adds.
    pub tests: Vec<String>,
    /// Only for a task that changes nothing but documents or settings: why no test can fail before it. The approver reads it,
    /// and nothing but documents and settings may change then. Not serialised when empty, so that plans of before keep their hash.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub without_tests: String,
    /// Command that runs them; empty: the repository's own.
    #[serde(default)]
    pub test_command: String,
    /// Estimated hours.
    pub hours: f64,
}

impl Plan {
    /// Faults a schema cannot see, told so that the model can mend them. Empty: the plan is sound.
    pub fn faults(&self, known: &[RepositoryName]) -> Vec<String> {
        let mut faults = Vec::new();
        if self.tasks.is_empty() {
            faults.push("tasks is empty: a plan has at least one task".to_owned());
        }
        if self.tests.is_empty() && self.tasks.iter().any(|task| task.without_tests.trim().is_empty()) {
            faults.push("tests is empty: name the tests before the tasks".to_owned());
        }
        for (n, task) in self.tasks.iter().enumerate() {
            if self.tasks.iter().skip(n + 1).any(|other| other.id == task.id) {
                faults.push(format!("task id {:?} is used twice", task.id));
            }
            if !known.is_empty() && !known.contains(&task.repository) {
                faults.push(format!("task {:?} names {}, which discovery did not find", task.id, task.repository));
            }
            match (task.tests.is_empty(), task.without_tests.trim().is_empty()) {
                (true, true) => faults.push(format!(
                    "task {:?} names no test: a task contains its tests. One that changes only documents or settings says why \
                     in without_tests",
                    task.id
                )),
                (false, _) if !task.without_tests.is_empty() => {
                    faults.push(format!("task {:?} has tests, so without_tests must be empty", task.id));
                }
                _ => {}
            }
            for needed in &task.depends_on {
                let position = self.tasks.iter().position(|other| &other.id == needed);
                match position {
                    None => faults.push(format!("task {:?} depends on {needed:?}, which does not exist", task.id)),
                    Some(p) if p >= n => faults.push(format!(
                        "task {:?} depends on {needed:?}, which comes later: list tasks in the order they are done",
                        task.id
                    )),
                    Some(_) => {}
                }
            }
        }
        faults
    }

    /// Repositories of the plan's tasks, in the order of their first task.
    pub fn repositories(&self) -> Vec<RepositoryName> {
        let mut repositories = Vec::new();
        for task in &self.tasks {
            if !repositories.contains(&task.repository) {
                repositories.push(task.repository.clone());
            }
        }
        repositories
    }

    /// Estimated hours of all tasks.
    pub fn hours(&self) -> f64 {
        self.tasks.iter().map(|task| task.hours).sum()
    }

    /// What an approval is bound to, as canonical JSON: `[plan, repositories, initial cost cap]`.
    pub fn canonical(&self, cap: MicroUsd) -> Vec<u8> {
        // Fields serialise in declaration order and no map is involved, so the bytes are canonical.
        serde_json::to_vec(&(self, self.repositories(), cap)).unwrap_or_default()
    }

    /// Digest of [`Plan::canonical`].
    pub fn hash(&self, cap: MicroUsd) -> Digest {
        Digest::of(self.canonical(cap))
    }
}

/// What an execution agent says about a finished task. The harness proves it; this text only explains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskResult {
    /// What was changed and why, one or two sentences for the reviewer.
    pub summary: String,
    /// Two or three places that deserve a human's eyes.
    #[serde(default)]
    pub look_here: Vec<LookHere>,
    /// What was left out on purpose, one line each.
    #[serde(default)]
    pub not_done: Vec<String>,
}

/// A place that deserves a human's eyes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LookHere {
    /// Path, with a line if it helps: `shop/pricing.py:42`.
    pub path: String,
    /// Why.
    pub why: String,
}
