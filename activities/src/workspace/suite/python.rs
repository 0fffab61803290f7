//! pytest and unittest, by a plug-in and a runner of our own that write one JSON line per event.

use std::sync::Arc;

use super::events::{Event, FOREIGN, LATE, UNCOUNTED};
use super::{Broken, Canary, HARNESS, Left, Nonce, Only, Report, Runner};
use crate::sandbox::Exit;
use crate::workspace::repository::Repository;

const MODULES: [(&str, &str); 3] = [
    ("ticketwright_report.py", include_str!("../harness/ticketwright_report.py")),
    ("ticketwright_unittest.py", include_str!("../harness/ticketwright_unittest.py")),
    ("ticketwright_pytest.py", include_str!("../harness/ticketwright_pytest.py")),
];
/// What the plug-in and the runner write.
const EVENTS: &str = "tests.jsonl";
/// Which tests to run, one id or canary per line. Absent: all.
const CHOICE: &str = "only";

/// pytest, or the standard library's unittest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Python {
    Pytest,
    Unittest,
}

pub(super) fn recognise(_: &Repository, command: &str) -> Option<Arc<dyn Runner>> {
    if command.contains("pytest") {
        Some(Arc::new(Python::Pytest))
    } else if command.contains("-m unittest") {
        Some(Arc::new(Python::Unittest))
    } else {
        None
    }
}

impl Runner for Python {
    fn script(&self, command: &str, _only: Option<&Only<'_>>) -> String {
        // The plug-in and the runner choose by themselves, so that every command of a repository can be narrowed down.
        match self {
            Self::Pytest => patient(command),
            Self::Unittest => patient(&command.replace("-m unittest", "-m ticketwright_unittest")),
        }
    }

    fn env(&self) -> Vec<(String, String)> {
        let options = "-p no:cacheprovider -p ticketwright_pytest --continue-on-collection-errors --maxfail=0";
        [
            ("PYTHONPATH", HARNESS.to_owned()),
            ("TICKETWRIGHT_REPORT", format!("{}/{EVENTS}", super::REPORT)),
            ("TICKETWRIGHT_ONLY", format!("{HARNESS}/{CHOICE}")),
            ("PYTEST_ADDOPTS", options.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    fn harness(&self, only: Option<&Only<'_>>) -> Vec<(String, String)> {
        let mut files = MODULES.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec();
        if let Some(only) = only {
            let ids = only.ids.iter().map(|id| format!("={id}\n"));
            let canaries = only.canaries.iter().map(|name| format!("~{name}\n"));
            // An id of pytest begins with a path from the root of its own, which may lie below the repository's.
            let paths = only.files.iter().map(|path| format!("/{path}\n"));
            files.push((CHOICE.to_owned(), ids.chain(canaries).chain(paths).collect()));
        }
        files
    }

    fn holds(&self, path: &str, _content: &str, id: &str) -> bool {
        let Some(stem) = path.strip_suffix(".py") else { return false };
        let ends = |path: &str, end: &str| path == end || path.ends_with(&format!("/{end}"));
        match self {
            Self::Pytest => {
                let (file, test) = id.split_once("::").unwrap_or((id, ""));
                // `shop/pricing.py::shop.pricing.total` is a text in the code's own documentation.
                let documents = test.split('[').next().unwrap_or_default().contains('.');
                !documents && ends(path, file)
            }
            Self::Unittest => {
                let mut parts = id.rsplitn(3, '.').skip(2);
                parts.next().is_some_and(|module| ends(stem, &module.replace('.', "/")))
            }
        }
    }

    fn title<'a>(&self, id: &'a str) -> &'a str {
        let id = id.split('[').next().unwrap_or(id);
        id.rsplit([':', '.']).next().unwrap_or(id)
    }

    /// At the end of the test file itself, so that whatever finds the tests there finds these. Functions beside functions,
    /// classes beside classes: a hook may look at one of them only.
    fn canary(&self, path: &str, content: &str, ids: &[&str], nonce: &Nonce) -> Option<Canary> {
        let (a, b, x, y) = (nonce.word(1), nonce.word(2), nonce.number(1), nonce.number(2));
        let function = ids.iter().find(|id| *self == Self::Pytest && id.matches("::").count() == 1);
        let added = match function {
            Some(id) => {
                // The name of a test that was found, with more after it: the repository's own patterns find this too.
                let name = self.title(id);
                let test =
                    |word: &str, left, right| format!("def {name}_{word}():\n    assert {left} == {right}\n\n\n");
                nonce.in_any_order(&test(&a, x, y), &test(&b, y, y))
            }
            None => {
                let test = |word: &str, left, right| {
                    format!("\n    def test_{word}(self):\n        self.assertEqual({left}, {right})\n")
                };
                let tests = nonce.in_any_order(&test(&a, x, y), &test(&b, y, y));
                format!("import unittest as _{a}\n\n\nclass Test{b}(_{a}.TestCase):{tests}")
            }
        };
        let (fails, passes) = match function {
            Some(id) => (format!("{}_{a}", self.title(id)), format!("{}_{b}", self.title(id))),
            None => (format!("test_{a}"), format!("test_{b}")),
        };
        let content = format!("{}\n\n\n{added}", content.trim_end());
        Some(Canary { path: path.to_owned(), content, passes, fails })
    }

    fn read(&self, left: &Left<'_>) -> Report {
        let mut report = read(&left.report(EVENTS), left.nonce);
        let said = match (left.exit, report.1) {
            (Exit::Code(0), Some(said)) if *self == Self::Pytest && said != 0 => Some(said),
            _ => None,
        };
        if let (Some(said), None) = (said, &report.0.doubt) {
            report.0.doubt = Some(format!("pytest wanted to end with exit code {said}, and it ended with 0"));
        }
        report.0
    }
}

/// The command without what ends the session at the first red test: there would be no report of the others.
fn patient(command: &str) -> String {
    let words = command
        .split(' ')
        .filter(|word| !matches!(*word, "-x" | "-f" | "--exitfirst" | "--failfast") && !word.starts_with("--maxfail="));
    words.collect::<Vec<_>>().join(" ")
}

/// Reads the events, and the code that the runner means to end with. A line without the run's nonce was not written by the
/// harness and ends the reading: a report after that is none.
fn read(lines: &str, nonce: &str) -> (Report, Option<i64>) {
    let mut report = Report::default();
    let mut end = None;
    let mut told = 0;
    for line in lines.lines() {
        let event = Event::of(line, nonce);
        let Some(event) = event else {
            report.ended = false;
            report.doubt = Some(FOREIGN.to_owned());
            break;
        };
        if report.ended {
            report.doubt = Some(LATE.to_owned());
        }
        if let Some(id) = &event.start {
            report.unfinished.insert(id.clone());
        } else if let Some(id) = &event.id {
            told += 1;
            report.note(id, event.fate());
        } else if let Some(name) = &event.broken {
            let failure = event.failure(event.line.starts_with("AssertionError"));
            report.broken.push(Broken { name: name.clone(), failure });
        } else if let Some(code) = event.end {
            report.ended = true;
            end = Some(code);
            if event.tests != Some(told) {
                report.doubt = Some(UNCOUNTED.to_owned());
            }
        }
    }
    (report, end)
}

#[cfg(test)]
mod tests {
    use super::super::{Failure, Fate};
    use super::*;

    /// The report of lines that carry the nonce.
    fn events(lines: &str) -> Report {
        let lines: String =
            lines.lines().map(|line| format!("{}\n", line.replacen('{', "{\"n\": \"w\", ", 1))).collect();
        read(&lines, "w").0
    }

    #[test]
    fn events_become_a_report() {
        let report = events(
            r#"{"start": "t.A.x"}
{"id": "t.A.x", "outcome": "passed"}
{"start": "t.A.y"}
{"id": "t.A.y", "outcome": "failed", "line": "AssertionError: 1 != 2", "text": "..."}
{"broken": "t2", "line": "ImportError: cannot import name 'z' from 'shop'", "text": ""}
{"start": "t.A.dies"}
"#,
        );
        assert!(report.passed("t.A.x"));
        let failure = Failure { asserted: true, line: "AssertionError: 1 != 2".into(), text: "...".into() };
        assert_eq!(report.tests["t.A.y"], Fate::Failed(failure));
        assert_eq!(report.broken_for("t2.B.z").unwrap().name, "t2");
        assert!(report.broken_for("t22.B.z").is_none());
        assert_eq!(report.unfinished.iter().collect::<Vec<_>>(), ["t.A.dies"]);
        assert!(!report.ended);
        assert!(events("{\"end\": 0, \"tests\": 0}\n").ended);
        assert!(!events("{\"end\": 0, \"tests\": 0}\nforged\n").ended);
        assert!(read("{\"n\": \"other\", \"id\": \"a\", \"outcome\": \"passed\"}\n", "w").0.tests.is_empty());
        assert!(events("{\"end\": 0, \"tests\": 3}\n").doubt.unwrap().contains("counted"));
        assert!(events("{\"end\": 0, \"tests\": 0}\n{\"start\": \"t\"}\n").doubt.unwrap().contains("after its end"));
    }

    #[test]
    fn what_pytest_9_reports_is_read() {
        // Recorded from pytest 9.2: subtests report one id several times, a fixture's failure is no assertion.
        let report = events(
            r#"{"broken": "tests/test_b.py", "line": "ModuleNotFoundError: No module named 'shop.tax'", "text": "..."}
{"start": "tests/test_a.py::test_assert"}
{"id": "tests/test_a.py::test_assert", "outcome": "failed", "line": "AssertionError: assert -5 == 0", "text": "..."}
{"id": "tests/test_a.py::test_noraise", "outcome": "failed", "line": "Failed: DID NOT RAISE ValueError", "text": "..."}
{"id": "tests/test_a.py::test_fx", "outcome": "error", "line": "RuntimeError: fx", "text": "..."}
{"id": "tests/test_a.py::test_xpass", "outcome": "skipped"}
{"id": "tests/test_a.py::T::test_sub", "outcome": "failed", "line": "AssertionError: 0 != 1", "text": "..."}
{"id": "tests/test_a.py::T::test_sub", "outcome": "passed"}
{"id": "tests/test_a.py::test_par[\\xe9]", "outcome": "passed"}
{"end": 1, "tests": 7}
"#,
        );
        let asserted = |id: &str| matches!(&report.tests[id], Fate::Failed(failure) if failure.asserted);
        assert!(asserted("tests/test_a.py::test_assert") && asserted("tests/test_a.py::test_noraise"));
        assert!(!asserted("tests/test_a.py::test_fx") && asserted("tests/test_a.py::T::test_sub"));
        assert!(!report.passed("tests/test_a.py::test_xpass") && report.passed(r"tests/test_a.py::test_par[\xe9]"));
        assert!(report.broken_for("tests/test_b.py::test_z").is_some() && report.ended);
        assert_eq!(report.doubt, None);
    }

    #[test]
    fn ids_lead_to_files_and_names() {
        let (pytest, unittest) = (Python::Pytest, Python::Unittest);
        assert!(pytest.holds("app/tests/test_a.py", "", "tests/test_a.py::T::test_x[1-2]"));
        assert!(!pytest.holds("shop/pricing.py", "", "shop/pricing.py::shop.pricing.total"));
        assert!(pytest.holds("app/tests.py", "", "app/tests.py::T::test_x[a.b]"));
        assert_eq!(patient("cd a && pytest -x --maxfail=1 -q"), "cd a && pytest -q");
        assert!(!pytest.holds("app/tests/test_aa.py", "", "tests/test_a.py::test_x"));
        assert!(unittest.holds("tests/test_a.py", "", "test_a.T.test_x"));
        assert!(unittest.holds("tests/test_a.py", "", "tests.test_a.T.test_x"));
        assert!(!unittest.holds("tests/test_b.py", "", "test_a.T.test_x"));
        assert_eq!(pytest.title("tests/test_a.py::T::test_x[a.b::c]"), "test_x");
        assert_eq!(unittest.title("tests.test_a.T.test_x"), "test_x");
    }

    #[test]
    fn canaries_stand_beside_the_tests() {
        let nonce = Nonce::new();
        let canary =
            Python::Pytest.canary("tests/test_a.py", "def test_x():\n    pass\n", &["test_a.py::test_x"], &nonce);
        let canary = canary.unwrap();
        assert!(canary.content.starts_with("def test_x():\n    pass\n\n\ndef test_x_"));
        assert!(canary.content.contains(&canary.passes) && canary.content.contains(&canary.fails));
        let canary = Python::Unittest.canary("tests/test_a.py", "", &["test_a.T.test_x"], &nonce).unwrap();
        assert!(canary.content.contains(".TestCase)") && canary.path == "tests/test_a.py");
    }
}
