//! `go test -json`: one event per line (`go doc test2json`). Package events decide nothing: a `TestMain` can forge them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use super::{Broken, CACHE, Canary, Failure, Fate, Left, Nonce, Only, Report, Runner};
use crate::workspace::repository::Repository;
use crate::workspace::symbols::Missing;

/// The go command.
#[derive(Debug)]
struct Go;

pub(super) fn recognise(_: &Repository, command: &str) -> Option<Arc<dyn Runner>> {
    // `cargo test` is none.
    let alone = command.match_indices("go test").any(|(at, _)| !command[..at].ends_with(word));
    alone.then(|| Arc::new(Go) as Arc<dyn Runner>)
}

impl Runner for Go {
    fn script(&self, command: &str, only: Option<&Only<'_>>) -> String {
        let mut flags = if command.contains("-json") { String::new() } else { " -json -count=1".to_owned() };
        let Some(only) = only.filter(|_| !command.contains("-run")) else {
            return command.replacen("go test", &format!("go test{flags}"), 1);
        };
        // `package.TestX/sub`: a package's path has slashes and dots, a subtest's name any character but blanks.
        let parts = only.ids.iter().filter_map(|id| split(id));
        let packages: BTreeSet<&str> = parts.clone().map(|(package, _)| package).collect();
        let tests: BTreeSet<&str> = parts.map(|(_, test)| test).chain(only.canaries.iter().copied()).collect();
        let pattern: Vec<&str> = tests.into_iter().filter(|test| test.chars().all(word)).collect();
        flags.push_str(&format!(" -run '^({})$'", pattern.join("|")));
        let run = command.replacen("go test", &format!("go test{flags}"), 1);
        let packages: Vec<&str> = packages.into_iter().filter(|path| path.chars().all(in_path)).collect();
        if packages.is_empty() { run } else { run.replacen("./...", &packages.join(" "), 1) }
    }

    fn env(&self) -> Vec<(String, String)> {
        // The sandbox's own is empty in each run, and compiling the standard library takes longer than most tests.
        vec![("GOCACHE".to_owned(), format!("{CACHE}/go"))]
    }

    fn holds(&self, path: &str, content: &str, id: &str) -> bool {
        let Some((package, test)) = split(id) else { return false };
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let last = package.rsplit('/').next().unwrap_or_default();
        path.ends_with("_test.go")
            && (folder.is_empty() || folder.ends_with(last) || package.ends_with(folder))
            && content.contains(&format!("func {test}("))
    }

    fn title<'a>(&self, id: &'a str) -> &'a str {
        split(id).map_or(id, |(_, test)| test)
    }

    fn canary(&self, path: &str, content: &str, _ids: &[&str], nonce: &Nonce) -> Option<Canary> {
        let package = content.lines().find_map(|line| line.strip_prefix("package "))?;
        let package: String = package.chars().take_while(|c| word(*c)).collect();
        let (a, b, x, y) = (nonce.word(1), nonce.word(2), nonce.number(1), nonce.number(2));
        let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let test = |name: &str, left, right| {
            format!("\nfunc Test_{name}(t *testing.T) {{\n\tif {left} != {right} {{\n\t\tt.Error({right})\n\t}}\n}}\n")
        };
        let tests = nonce.in_any_order(&test(&a, x, y), &test(&b, y, y));
        let content = format!("package {package}\n\nimport \"testing\"\n{tests}");
        let path = format!("{folder}{}_test.go", nonce.word(3));
        Some(Canary { path, content, passes: format!("Test_{b}"), fails: format!("Test_{a}") })
    }

    fn read(&self, left: &Left<'_>) -> Report {
        read(left.output)
    }
}

/// `shop/cart.TestTotal/empty`: the package, and the test without its subtest. The last dot before the first slash after it.
fn split(id: &str) -> Option<(&str, &str)> {
    let at = [".Test", ".Fuzz", ".Example", ".Benchmark"].iter().filter_map(|mark| id.find(mark)).min()?;
    let test = id[at + 1..].split('/').next()?;
    Some((&id[..at], test))
}

fn word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn in_path(c: char) -> bool {
    word(c) || "./-~".contains(c)
}

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
fn read(output: &str) -> Report {
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
        // Of several errors the one that names no symbol: it decides.
        let errors = text.lines().filter(|line| line.contains(".go:"));
        let errors: Vec<&str> = errors.map(|line| line.split_once(": ").map_or(line, |(_, message)| message)).collect();
        let line = errors.iter().find(|line| Missing::of(line).is_none()).or_else(|| errors.first());
        let line = line.copied().unwrap_or_default().to_owned();
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

    #[test]
    fn single_tests_are_chosen_by_package_and_name() {
        let only = Only {
            ids: vec!["example.com/shop/cart.TestTotal/empty", "example.com/shop/cart.TestSum"],
            canaries: vec!["Test_abc"],
            ..Only::default()
        };
        let script = Go.script("cd api && go test ./...", Some(&only));
        assert_eq!(
            script,
            "cd api && go test -json -count=1 -run '^(TestSum|TestTotal|Test_abc)$' example.com/shop/cart"
        );
        let content = "package cart_test\n\nfunc TestTotal(t *testing.T) {\n";
        assert!(Go.holds("cart/a_test.go", content, "example.com/shop/cart.TestTotal/empty"));
        assert!(Go.holds("a_test.go", content, "shop.TestTotal"));
        assert!(!Go.holds("cart/a_test.go", content, "example.com/shop/cart.TestSum"));
        let canary = Go.canary("cart/a_test.go", content, &[], &Nonce::new()).unwrap();
        assert!(canary.content.starts_with("package cart_test\n") && canary.path.starts_with("cart/"));
        assert!(canary.content.contains(&format!("func {}(", canary.passes)));
    }
}
