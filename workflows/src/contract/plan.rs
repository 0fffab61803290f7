//! What the agents answer: a discovery report, a plan, a task's result. Their JSON schemas are what the model sees.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{Digest, RepositoryName};
use super::money::MicroUsd;
use crate::agents::untrusted::visible;

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
    /// Only for a task that takes away what old tests are for: those that go with it. The approver reads each of them, and no
    /// other may go. Not serialised when empty, so that plans of before keep their hash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed_tests: Vec<RemovedTest>,
    /// Command that runs them; empty: the repository's own.
    #[serde(default)]
    pub test_command: String,
    /// Estimated hours.
    pub hours: f64,
}

/// An old test that a task takes away, or a file of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemovedTest {
    /// The one file in which it stands, from the repository's root. No folder and no pattern.
    pub file: String,
    /// Name of the one test in it that goes, as the source has it: `test_coupon`. Empty: the file goes with all its tests.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub test: String,
    /// What it was for and why that goes, in one sentence for the approver.
    pub reason: String,
}

impl RemovedTest {
    /// What is wrong with it, as a clause. A name that could stand for many tests is none that a person can approve.
    fn fault(&self) -> Option<&'static str> {
        let parts: Vec<&str> = self.file.split('/').collect();
        let is_file = parts.last().is_some_and(|name| name.contains('.') && !name.ends_with('.'));
        // What a person reads is what is compared.
        let is_plain = |text: &str| text == text.trim() && !text.contains(['\n', '\t']) && visible(text) == text;
        if self.file.chars().count() > REMOVED_WORDS
            || !is_file
            || parts.iter().any(|part| matches!(*part, "" | "." | ".."))
            || !is_plain(&self.file)
        {
            Some("must name one file by its path from the repository's root, no folder")
        } else if self.file.contains(['*', '?']) {
            Some("must name one file, no pattern")
        } else if !is_plain(&self.test) || self.test.chars().count() > REMOVED_WORDS {
            Some("must name one test as the source has it")
        } else if self.reason.trim().is_empty() || self.reason.chars().count() > REMOVED_WORDS {
            Some("must have a reason of one sentence")
        } else {
            None
        }
    }
}

/// Most tests or files of tests that one task may take away: a person reads each of them in a message.
const REMOVED: usize = 12;
/// Most of them in a plan: all of them have to be in the message.
const REMOVED_IN_ALL: usize = 30;
/// Most characters of the path and the name of a test that goes, and of the reason.
const REMOVED_WORDS: usize = 300;

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
        if self.tasks.iter().map(|task| task.removed_tests.len()).sum::<usize>() > REMOVED_IN_ALL {
            faults.push(format!(
                "the tasks take away more than {REMOVED_IN_ALL} tests or files: plan a first part, and say so in the summary"
            ));
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
            if !task.removed_tests.is_empty() && !task.without_tests.trim().is_empty() {
                faults.push(format!(
                    "task {:?} changes only documents or settings, so removed_tests must be empty",
                    task.id
                ));
            }
            if task.removed_tests.len() > REMOVED {
                faults.push(format!(
                    "task {:?} takes away more than {REMOVED} tests or files: make it several tasks",
                    task.id
                ));
            }
            for removed in &task.removed_tests {
                if let Some(fault) = removed.fault() {
                    faults.push(format!("task {:?}, removed_tests {:?}: it {fault}", task.id, removed.file));
                }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A plan of one task that takes these tests away.
    fn plan(removed: &serde_json::Value, without_tests: &str) -> Plan {
        let mut task = json!({
            "id": "t1", "title": "Stop selling coupons", "repository": "acme/shop-api", "description": "d",
            "files": ["shop/coupon.py"], "tests": ["a coupon changes nothing"], "hours": 1.0, "without_tests": without_tests,
        });
        if !without_tests.is_empty() {
            task["tests"] = json!([]);
        }
        if !removed.is_null() {
            task["removed_tests"] = removed.clone();
        }
        let tests = json!([{"description": "d", "file": "tests/test_cart.py", "kind": "unit"}]);
        let plan = json!({
            "title": "t", "summary": "s", "scope_in": [], "architecture": "a", "tests": tests, "tasks": [task], "risk": "r",
            "rollback": "r",
        });
        serde_json::from_value(plan).unwrap()
    }

    #[test]
    fn tests_that_go_are_named_one_by_one() {
        let of =
            |file: &str, test: &str| json!([{"file": file, "test": test, "reason": "Coupons are no longer sold."}]);
        for (file, test) in
            [("tests/test_coupon.py", ""), ("tests/test_cart.py", "test_coupon"), ("a[id].test.ts", "a? b")]
        {
            assert_eq!(plan(&of(file, test), "").faults(&[]), Vec::<String>::new(), "{file}");
        }
        for file in [
            "",
            "tests",
            "tests/",
            "tests/*.py",
            "tests/**/a.py",
            "tests/test_?.py",
            "/tests/a.py",
            "../a.py",
            "./a.py",
            "tests/.",
            "tests//a.py",
            "tests/a.py\u{202e}",
            " tests/a.py",
            "tests/a\u{ad}.py",
            &format!("{}/a.py", "t".repeat(REMOVED_WORDS)),
        ] {
            assert_eq!(plan(&of(file, ""), "").faults(&[]).len(), 1, "{file:?}");
        }
        assert_eq!(plan(&json!([{"file": "tests/a.py", "reason": " "}]), "").faults(&[]).len(), 1);
        let many: Vec<_> = (0..=REMOVED).map(|n| json!({"file": format!("tests/{n}.py"), "reason": "r"})).collect();
        assert!(plan(&json!(many), "").faults(&[])[0].contains("more than 12"));
        let mut three = plan(&json!(many[1..]), "");
        let task = three.tasks[0].clone();
        three.tasks.extend(["t2", "t3"].map(|id| PlannedTask { id: id.into(), ..task.clone() }));
        assert!(three.faults(&[])[0].contains("more than 30"), "{:?}", three.faults(&[]));
        assert!(plan(&of("tests/a.py", ""), "A text.").faults(&[])[0].contains("only documents or settings"));
    }

    #[test]
    fn a_plan_that_takes_no_test_away_keeps_its_hash() {
        let text = serde_json::to_string(&plan(&serde_json::Value::Null, "")).unwrap();
        assert!(!text.contains("removed_tests"), "{text}");
    }
}
