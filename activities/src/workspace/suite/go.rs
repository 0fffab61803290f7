//! `go test -json`: one event per line (`go doc test2json`). Package events decide nothing: a `TestMain` can forge them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Broken, Failure, Fate, Report};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    action: String,
    #[serde(default)]
    package: String,
    #[serde(default)]
    import_path: String,
    test: Option<String>,
    #[serde(default)]
    output: String,
}

/// Reads the events; ids are `package.Test` and `package.Test/sub`.
pub(super) fn read(output: &str) -> Report {
    let mut report = Report::default();
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    let mut build: BTreeMap<String, String> = BTreeMap::new();
    for event in output.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok()) {
        let id = event.test.as_ref().map(|test| format!("{}.{test}", event.package));
        match (event.action.as_str(), id) {
            ("run", Some(id)) => {
                report.unfinished.insert(id);
            }
            ("output", Some(id)) => said.entry(id).or_default().push_str(&event.output),
            ("pass", Some(id)) => report.note(&id, Fate::Passed),
            ("skip", Some(id)) => report.note(&id, Fate::Skipped),
            ("fail", Some(id)) => {
                let failure = failure(said.get(&id).map(String::as_str).unwrap_or_default());
                report.note(&id, Fate::Failed(failure));
            }
            ("build-output", None) => build.entry(event.import_path).or_default().push_str(&event.output),
            ("pass" | "fail" | "skip", None) => report.ended = true,
            _ => {}
        }
    }
    for (package, text) in build {
        // `shop [shop.test]`: the package compiled with its tests.
        let name = package.split_whitespace().next().unwrap_or_default().to_owned();
        let line = text.lines().find(|line| line.contains(".go:")).unwrap_or_default();
        let line = line.split_once(": ").map_or(line, |(_, message)| message).to_owned();
        report.broken.push(Broken { name, failure: Failure { asserted: false, line, text } });
    }
    report
}

/// `    a_test.go:12: got 3, want 4` is how `t.Error` and `t.Fatal` speak; a panic is no assertion.
fn failure(said: &str) -> Failure {
    let panicked = said.lines().find(|line| line.starts_with("panic:"));
    let asserted = said.lines().map(str::trim).find(|line| line.contains("_test.go:"));
    match (panicked, asserted) {
        (Some(line), _) => Failure { asserted: false, line: line.to_owned(), text: said.to_owned() },
        (None, Some(line)) => Failure { asserted: true, line: line.to_owned(), text: said.to_owned() },
        (None, None) => Failure { asserted: false, line: "failed without a message".to_owned(), text: said.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_tests_and_builds_are_read() {
        let report = read(
            r#"{"ImportPath":"shop/new [shop/new.test]","Action":"build-output","Output":"new/new_test.go:5:9: undefined: Clamp\n"}
{"Action":"run","Package":"shop","Test":"TestA"}
{"Action":"output","Package":"shop","Test":"TestA","Output":"    a_test.go:12: got 3, want 4\n"}
{"Action":"fail","Package":"shop","Test":"TestA","Elapsed":0}
{"Action":"run","Package":"shop","Test":"TestB"}
{"Action":"output","Package":"shop","Test":"TestB","Output":"panic: boom\n"}
{"Action":"fail","Package":"shop","Test":"TestB"}
{"Action":"run","Package":"shop","Test":"TestC"}
{"Action":"pass","Package":"shop","Test":"TestC"}
{"Action":"fail","Package":"shop","Elapsed":0.1}
"#,
        );
        assert!(
            matches!(&report.tests["shop.TestA"], Fate::Failed(f) if f.asserted && f.line == "a_test.go:12: got 3, want 4")
        );
        assert!(matches!(&report.tests["shop.TestB"], Fate::Failed(f) if !f.asserted));
        assert!(report.passed("shop.TestC") && report.ended && report.unfinished.is_empty());
        assert_eq!(report.broken_for("shop/new.TestD").unwrap().failure.line, "undefined: Clamp");
    }
}
