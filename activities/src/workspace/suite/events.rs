//! What our reporters write: one JSON object per line, with the nonce of the run.

use serde::Deserialize;

use super::{Failure, Fate};

/// A line of a report.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    /// The nonce of the run.
    n: String,
    /// A runner began; a script may start several.
    pub(super) begin: Option<String>,
    /// A file or test was started.
    pub(super) start: Option<String>,
    /// A file has been told of.
    pub(super) done: Option<String>,
    /// A test has ended.
    pub(super) id: Option<String>,
    /// A file or module could not be loaded.
    pub(super) broken: Option<String>,
    /// Snapshots that a file wrote.
    pub(super) snapshots: Option<u32>,
    /// The code with which the runner means to end.
    pub(super) end: Option<i64>,
    /// With `end`: how many tests that runner has reported.
    pub(super) tests: Option<usize>,
    outcome: String,
    pub(super) line: String,
    text: String,
}

/// Said of a report with lines of others.
pub(super) const FOREIGN: &str = "its report has lines that the harness did not write";
/// Said of a report that goes on after its runner's end.
pub(super) const LATE: &str = "its report goes on after its end";
/// Said of a report that has lost or gained tests.
pub(super) const UNCOUNTED: &str = "its report tells of other tests than it counted";

impl Event {
    /// Reads a line. `None`: it was not written by the harness in this run.
    pub(super) fn of(line: &str, nonce: &str) -> Option<Self> {
        serde_json::from_str::<Self>(line).ok().filter(|event| event.n == nonce)
    }

    /// The failure that it tells of.
    pub(super) fn failure(&self, asserted: bool) -> Failure {
        Failure { asserted, line: self.line.clone(), text: self.text.clone() }
    }

    /// What became of the test that has ended.
    pub(super) fn fate(&self) -> Fate {
        match self.outcome.as_str() {
            "passed" => Fate::Passed,
            "skipped" => Fate::Skipped,
            outcome => Fate::Failed(self.failure(outcome == "failed")),
        }
    }
}
