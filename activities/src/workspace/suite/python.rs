//! pytest and unittest, by a plug-in and a runner of our own that write one JSON line per event.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::Deserialize;

use super::{Broken, Failure, Fate, Report};

const HARNESS: [(&str, &str); 3] = [
    ("ticketwright_report.py", include_str!("../harness/ticketwright_report.py")),
    ("ticketwright_unittest.py", include_str!("../harness/ticketwright_unittest.py")),
    ("ticketwright_pytest.py", include_str!("../harness/ticketwright_pytest.py")),
];

/// Puts the modules into `directory`, readable for the sandbox's user.
pub(super) fn write_harness(directory: &Path) -> io::Result<()> {
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))?;
    for (name, text) in HARNESS {
        std::fs::write(directory.join(name), text)?;
        std::fs::set_permissions(directory.join(name), std::fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Event {
    start: Option<String>,
    id: Option<String>,
    broken: Option<String>,
    end: Option<i64>,
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    line: String,
    #[serde(default)]
    text: String,
}

/// Reads the events. A line that is none was not written by the harness and ends the reading.
pub(super) fn read(lines: &str) -> Report {
    let mut report = Report::default();
    for line in lines.lines() {
        let Ok(event) = serde_json::from_str::<Event>(line) else {
            report.ended = false;
            break;
        };
        let failure = |asserted| Failure { asserted, line: event.line.clone(), text: event.text.clone() };
        if let Some(id) = event.start {
            report.unfinished.insert(id);
        } else if let Some(id) = event.id {
            let fate = match event.outcome.as_str() {
                "passed" => Fate::Passed,
                "skipped" => Fate::Skipped,
                outcome => Fate::Failed(failure(outcome == "failed")),
            };
            report.note(&id, fate);
        } else if let Some(name) = event.broken {
            let failure = failure(event.line.starts_with("AssertionError"));
            report.broken.push(Broken { name, failure });
        } else if event.end.is_some() {
            report.ended = true;
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_become_a_report() {
        let report = read(
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
        assert!(read("{\"end\": 3}\n").ended);
        assert!(!read("{\"end\": 3}\nforged\n").ended);
    }

    #[test]
    fn what_pytest_9_reports_is_read() {
        // Recorded from pytest 9.2: subtests report one id several times, a fixture's failure is no assertion.
        let report = read(
            r#"{"broken": "tests/test_b.py", "line": "ModuleNotFoundError: No module named 'shop.tax'", "text": "..."}
{"start": "tests/test_a.py::test_assert"}
{"id": "tests/test_a.py::test_assert", "outcome": "failed", "line": "AssertionError: assert -5 == 0", "text": "..."}
{"id": "tests/test_a.py::test_noraise", "outcome": "failed", "line": "Failed: DID NOT RAISE ValueError", "text": "..."}
{"id": "tests/test_a.py::test_fx", "outcome": "error", "line": "RuntimeError: fx", "text": "..."}
{"id": "tests/test_a.py::test_xpass", "outcome": "skipped"}
{"id": "tests/test_a.py::T::test_sub", "outcome": "failed", "line": "AssertionError: 0 != 1", "text": "..."}
{"id": "tests/test_a.py::T::test_sub", "outcome": "passed"}
{"id": "tests/test_a.py::test_par[\\xe9]", "outcome": "passed"}
{"end": 1}
"#,
        );
        let asserted = |id: &str| matches!(&report.tests[id], Fate::Failed(failure) if failure.asserted);
        assert!(asserted("tests/test_a.py::test_assert") && asserted("tests/test_a.py::test_noraise"));
        assert!(!asserted("tests/test_a.py::test_fx") && asserted("tests/test_a.py::T::test_sub"));
        assert!(!report.passed("tests/test_a.py::test_xpass") && report.passed(r"tests/test_a.py::test_par[\xe9]"));
        assert!(report.broken_for("tests/test_b.py::test_z").is_some() && report.ended);
    }
}
