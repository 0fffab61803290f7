//! Runs a whole test suite in the sandbox and reads what became of each test.

mod cargo;
mod go;
mod junit;
mod python;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::area::{Area, Checkout};
use super::paths::InnerPath;
use super::repository::Repository;
use super::{WorkspaceActivities, disk};
use crate::failure::ServiceError;
use crate::sandbox::{Bind, Command, Exit};

/// Output kept of one run: enough for `cargo test` and `go test -json` of a big suite.
const OUTPUT_CAP: usize = 8 << 20;

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It ran and passed.
    Passed,
    /// It ran and failed, or could not run.
    Failed(Failure),
    /// It was skipped, or expected to fail.
    Skipped,
}

/// How a test failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Failure {
    /// By an assertion, not by another error.
    pub(super) asserted: bool,
    /// The one line that says it.
    pub(super) line: String,
    /// The last lines of its output.
    pub(super) text: String,
}

/// Tests that could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    /// Module, file or package: the ids of its tests begin with this.
    pub(super) name: String,
    /// Why.
    pub(super) failure: Failure,
}

/// What a run reported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// By the runner's id.
    pub(super) tests: BTreeMap<String, Fate>,
    /// What could not be loaded.
    pub(super) broken: Vec<Broken>,
    /// Tests that began and never ended: the process died in them.
    pub(super) unfinished: BTreeSet<String>,
    /// The runner reported its own end.
    pub(super) ended: bool,
}

impl Report {
    /// Notes a test; of several reports about one, the worst counts.
    fn note(&mut self, id: &str, fate: Fate) {
        let rank = |fate: &Fate| match fate {
            Fate::Passed => 0,
            Fate::Skipped => 1,
            Fate::Failed(_) => 2,
        };
        self.unfinished.remove(id);
        match self.tests.get(id) {
            Some(known) if rank(known) >= rank(&fate) => {}
            _ => {
                self.tests.insert(id.to_owned(), fate);
            }
        }
    }

    /// Whether this test passed.
    pub(super) fn passed(&self, id: &str) -> bool {
        self.tests.get(id) == Some(&Fate::Passed)
    }

    /// Ids of a fate.
    pub(super) fn with(&self, wanted: impl Fn(&Fate) -> bool) -> Vec<&str> {
        self.tests.iter().filter(|(_, fate)| wanted(fate)).map(|(id, _)| id.as_str()).collect()
    }

    /// What kept the module or package of this test from loading.
    pub(super) fn broken_for(&self, id: &str) -> Option<&Broken> {
        self.broken.iter().find(|broken| {
            id.strip_prefix(&broken.name)
                .is_some_and(|rest| rest.starts_with(['.', ':', '/']) || broken.name.is_empty())
        })
    }
}

/// A run of the suite.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// What was reported.
    pub(super) report: Report,
    /// How the command ended.
    pub(super) exit: Exit,
    /// What it printed.
    pub(super) output: String,
}

impl Run {
    /// Last lines of the output, for a person or a model.
    pub(super) fn tail(&self, lines: usize) -> String {
        let all: Vec<&str> = self.output.trim_end().lines().collect();
        all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
    }
}

/// A suite: how it is run, and how it is read.
#[derive(Debug, Clone)]
pub(super) struct Suite {
    /// The command as people know it.
    pub(super) command: String,
    script: String,
    reader: Reader,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reader {
    Python,
    Go,
    Cargo,
    Junit(String),
}

impl Suite {
    /// The suite of `repository`.
    ///
    /// # Errors
    /// A sentence for people: no command, or a runner whose single tests cannot be read.
    pub(super) fn of(repository: &Repository) -> Result<Self, String> {
        let Some(command) = repository.test.clone() else {
            return Err("I found no test command. A person must add one to ticketwright.toml on the base branch, \
                        like test = \"python3 -m pytest\"."
                .to_owned());
        };
        let (reader, run) = if let Some(path) = &repository.junit {
            InnerPath::parse(path).map_err(|why| format!("junit in ticketwright.toml: {why}"))?;
            (Reader::Junit(path.clone()), command.clone())
        } else if command.contains("pytest") || command.contains("-m unittest") {
            (Reader::Python, command.replace("-m unittest", "-m ticketwright_unittest"))
        } else if command.contains("go test") {
            let run = if command.contains("-json") {
                command.clone()
            } else {
                command.replace("go test", "go test -json -count=1")
            };
            (Reader::Go, run)
        } else if command.contains("cargo test") {
            (Reader::Cargo, command.clone())
        } else {
            return Err(format!(
                "`{command}` does not tell me about single tests, so nothing can be proven. A person must add \
                 junit = \"path/of/the/report.xml\" to ticketwright.toml on the base branch."
            ));
        };
        Ok(Self { command, script: run, reader })
    }

    /// Runs it on the files of `checkout`. `name`: of this run, unique in `area`.
    pub(super) async fn run(
        &self,
        activities: &WorkspaceActivities,
        area: &Area,
        checkout: &Checkout,
        name: &str,
        limit: Duration,
    ) -> Result<Run, ServiceError> {
        let report = area.make(&format!("{name}-report"))?;
        let harness = area.make(&format!("{name}-harness"))?;
        python::write_harness(&harness).map_err(disk)?;
        if let Some(path) = self.junit().filter(|path| path.read(&checkout.files).is_ok()) {
            // A report that lies in the repository is not one of this run.
            let _ = path.write(&checkout.files, b"");
        }
        let env = [
            ("PYTHONPATH", "/run/harness"),
            ("TICKETWRIGHT_REPORT", "/run/report/tests.jsonl"),
            (
                "PYTEST_ADDOPTS",
                "-p no:cacheprovider -p no:rerunfailures -p ticketwright_pytest --continue-on-collection-errors",
            ),
        ];
        let mut command = Command { output_cap: OUTPUT_CAP, ..checkout.script(&self.script, limit) };
        command.binds.push(Bind { from: harness, to: "/run/harness".into(), writable: false });
        command.binds.push(Bind { from: report.clone(), to: "/run/report".into(), writable: true });
        command.env.extend(env.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let finished = activities.run(command).await?;
        let output = finished.stdout.text();
        let report = match &self.reader {
            Reader::Python => python::read(&text_of(&report, InnerPath::parse("tests.jsonl").ok())),
            Reader::Go => go::read(&output),
            Reader::Cargo => cargo::read(&output),
            Reader::Junit(_) => junit::read(&text_of(&checkout.files, self.junit())),
        };
        Ok(Run { report, exit: finished.exit, output })
    }

    fn junit(&self) -> Option<InnerPath> {
        match &self.reader {
            Reader::Junit(path) => InnerPath::parse(path).ok(),
            _ => None,
        }
    }
}

/// A report, or nothing. Code under test may have put a link in its place, so no path leads out of `root`.
fn text_of(root: &Path, path: Option<InnerPath>) -> String {
    let bytes = path.and_then(|path| path.read(root).ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_told_by_its_command() {
        let suite = |test: &str, junit: Option<&str>| {
            Suite::of(&Repository { test: Some(test.into()), junit: junit.map(Into::into), ..Repository::default() })
        };
        let unittest = suite("cd app && python3 -m unittest discover", None).unwrap();
        assert_eq!(unittest.script, "cd app && python3 -m ticketwright_unittest discover");
        assert_eq!(unittest.command, "cd app && python3 -m unittest discover");
        assert_eq!(suite("go test ./...", None).unwrap().script, "go test -json -count=1 ./...");
        assert_eq!(suite("npm test", Some("r.xml")).unwrap().reader, Reader::Junit("r.xml".into()));
        assert!(suite("npm test", None).unwrap_err().contains("junit"));
        assert!(Suite::of(&Repository::default()).unwrap_err().contains("ticketwright.toml"));
    }

    #[test]
    fn the_worst_report_of_a_test_counts() {
        let mut report = Report::default();
        let failed = Fate::Failed(Failure::default());
        for fate in [Fate::Passed, failed.clone(), Fate::Passed] {
            report.note("a", fate);
        }
        assert_eq!(report.tests["a"], failed);
    }
}
