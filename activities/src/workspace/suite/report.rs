//! What a run of tests reported, whatever runner it was.

use std::collections::{BTreeMap, BTreeSet};

/// How the line of a test begins that failed first and passed when its runner ran it again. That is no pass, and its runner
/// thinks it is.
pub(super) const AGAIN: &str = "it passed only when it was run again";

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::workspace) enum Fate {
    /// It ran and passed.
    Passed,
    /// It ran and failed, or could not run.
    Failed(Failure),
    /// It was skipped, or expected to fail.
    Skipped,
}

/// How a test failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::workspace) struct Failure {
    /// By an assertion, not by another error.
    pub(in crate::workspace) asserted: bool,
    /// The one line that says it.
    pub(in crate::workspace) line: String,
    /// The last lines of its output.
    pub(in crate::workspace) text: String,
}

/// Tests that could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::workspace) struct Broken {
    /// Module, file or package: the ids of its tests begin with this. Empty: all tests.
    pub(in crate::workspace) name: String,
    /// Why.
    pub(in crate::workspace) failure: Failure,
}

/// What a run reported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::workspace) struct Report {
    /// By the runner's id.
    pub(in crate::workspace) tests: BTreeMap<String, Fate>,
    /// What could not be loaded.
    pub(in crate::workspace) broken: Vec<Broken>,
    /// Tests that began and never ended: the process died in them.
    pub(in crate::workspace) unfinished: BTreeSet<String>,
    /// The runner reported its own end.
    pub(in crate::workspace) ended: bool,
    /// What in the report contradicts itself or the exit code, as a clause: `it ended with exit code 0 although a test failed`.
    pub(in crate::workspace) doubt: Option<String>,
    /// Snapshots that the run wrote or changed, where the runner counts them.
    pub(in crate::workspace) snapshots: u32,
}

impl Report {
    /// Notes a test; of several reports about one, the worst counts.
    pub(super) fn note(&mut self, id: &str, fate: Fate) {
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
    pub(in crate::workspace) fn passed(&self, id: &str) -> bool {
        self.tests.get(id) == Some(&Fate::Passed)
    }

    /// How this test failed; a test whose file or package did not load failed by that.
    pub(in crate::workspace) fn failure(&self, id: &str) -> Option<&Failure> {
        match self.tests.get(id) {
            Some(Fate::Failed(failure)) => Some(failure),
            Some(_) => None,
            None => self.broken_for(id).map(|broken| &broken.failure),
        }
    }

    /// Ids of a fate.
    pub(in crate::workspace) fn with(&self, wanted: impl Fn(&Fate) -> bool) -> Vec<&str> {
        self.tests.iter().filter(|(_, fate)| wanted(fate)).map(|(id, _)| id.as_str()).collect()
    }

    /// What kept the module or package of this test from loading.
    pub(in crate::workspace) fn broken_for(&self, id: &str) -> Option<&Broken> {
        self.broken.iter().find(|broken| {
            id.strip_prefix(&broken.name)
                .is_some_and(|rest| rest.starts_with(['.', ':', '/']) || broken.name.is_empty())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
