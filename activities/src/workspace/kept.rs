//! Whether a fix of red checks leaves the tests, and the rules of linters and type checkers, what they were. It proves nothing
//! and need not make the suite green, CI tells that; but what makes CI green by asking for less is no fix.
//!
//! Told by the change itself where no suite can be run here, and by the suite on both sides where it can.

use workflows::contract::workspace::{JudgedFix, Prove};

use super::area::Claim;
use super::diff;
use super::judge::{self, Refusal};
use super::prove::{Making, REASON_CAP};
use super::repository::is_test;
use super::rules::{RULE_SWITCHES, rules_of};
use super::{WorkspaceActivities, text};
use crate::failure::ServiceError;

/// What switches a test off, or all others: unittest and pytest, Jest, Mocha and Vitest, Go, Rust, `JUnit`.
pub(super) const SWITCHES: [&str; 24] = [
    "@skip",
    "@unittest.skip",
    "unittest.expectedFailure",
    "self.skipTest(",
    "unittest.SkipTest",
    "pytest.mark.skip",
    "pytest.mark.xfail",
    "pytest.skip(",
    "pytest.xfail(",
    "pytest.importorskip(",
    "it.skip(",
    "it.only(",
    "it.todo(",
    "test.skip(",
    "test.only(",
    "test.todo(",
    "describe.skip(",
    "describe.only(",
    "xit(",
    "xdescribe(",
    "t.Skip",
    "#[ignore",
    "@Disabled",
    "@Ignore",
];

impl WorkspaceActivities {
    /// Judges a fix. Repeating it changes nothing but the log.
    pub(super) async fn judge_fix_for(&self, claim: &Claim, request: Prove) -> Result<JudgedFix, ServiceError> {
        let (mut making, base, head) = self.making(claim, &request).await?;
        let refusal = making.keeps_tests(&base, &head).await?.err();
        let log = self.blobs.put(making.log).await?;
        Ok(JudgedFix { refusal: refusal.map(|reason| text::cap(&reason, REASON_CAP)), log })
    }
}

impl Making<'_> {
    async fn keeps_tests(&mut self, base_tree: &str, head_tree: &str) -> Result<Result<(), Refusal>, ServiceError> {
        if let Err(refusal) = self.unnamed(base_tree, head_tree).await? {
            return Ok(Err(refusal));
        }
        let changed = self.changed(base_tree, head_tree).await?;
        let tests: Vec<_> = changed.iter().filter(|change| is_test(&change.path)).collect();
        if let Some(gone) = tests.iter().find(|change| change.status == 'D') {
            return Ok(Err(format!("{} is gone. Tests may not be deleted or renamed: bring it back.", gone.path)));
        }
        let diff = match self.diff(base_tree, head_tree).await? {
            Ok(diff) => diff,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some((path, line)) = switched_off(&diff) {
            return Ok(Err(format!("{path} switches a test off: `{line}`. Tests may not be skipped: take that back.")));
        }
        if let Some((path, line)) = rule_switched_off(&diff) {
            return Ok(Err(format!("{path} switches a rule off: `{line}`. Mend what it asks for instead.")));
        }
        for change in &changed {
            let before = self.content(base_tree, &change.path, change.status != 'A').await?;
            let after = self.content(head_tree, &change.path, change.status != 'D').await?;
            if rules_of(&change.path, &before) != rules_of(&change.path, &after) {
                let path = &change.path;
                return Ok(Err(format!("{path} changes what linters or type checkers ask for: take that back.")));
            }
        }
        let Ok(suite) = self.suite(head_tree).await? else { return Ok(Ok(())) };
        let base = self.run(&suite, "base", base_tree).await?;
        // A suite that does not run here tells nothing: CI may have what it lacks.
        if !base.is_whole() {
            return Ok(Ok(()));
        }
        let head = self.run(&suite, "head", head_tree).await?;
        self.reported(&suite, [&base, &head], &changed, head_tree).await?;
        let tests = changed.iter().filter(|change| self.is_test(&change.path));
        let edited: Vec<_> = tests.filter(|change| change.status != 'A').collect();
        let old = if edited.is_empty() {
            None
        } else {
            let originals = self.originals(base_tree, &edited).await?;
            let with_old = self.overlay(head_tree, originals.iter()).await?;
            Some(self.run(&suite, "your change with the old tests", &with_old).await?)
        };
        Ok(judge::kept(&base, &head, old.as_ref(), &suite.command))
    }
}

/// The first line that switches a test off, with its file. Rust's tests stand beside the code, so their marker counts everywhere.
fn switched_off(diff: &str) -> Option<(String, String)> {
    let marks = |path: &str, line: &str| {
        let there = is_test(path) || path.ends_with(".rs");
        SWITCHES.into_iter().filter(|switch| there && has(line, switch)).collect()
    };
    first_added(diff, marks)
}

/// The first line that switches a rule of a linter or type checker off, with its file.
fn rule_switched_off(diff: &str) -> Option<(String, String)> {
    let marks = |path: &str, line: &str| {
        let line: String = line.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
        RULE_SWITCHES.into_iter().filter(|switch| !path.ends_with(".md") && line.contains(switch)).collect()
    };
    first_added(diff, marks)
}

/// The first line of a `git diff --unified=0` that adds a mark, with its file. Lines that only moved do not count.
fn first_added(text: &str, marks: impl Fn(&str, &str) -> Vec<&'static str>) -> Option<(String, String)> {
    let (mut path, mut in_header) = (String::new(), false);
    let (mut before, mut after): (Vec<&str>, Vec<(String, &str, &str)>) = (Vec::new(), Vec::new());
    for line in text.lines() {
        if line.starts_with("diff --git ") {
            in_header = true;
        } else if in_header && line.starts_with("+++ ") {
            path = diff::named(line).unwrap_or_default();
        } else if line.starts_with("@@") {
            in_header = false;
        } else if !in_header {
            for switch in marks(&path, line.get(1..).unwrap_or_default()) {
                match line.as_bytes().first() {
                    Some(b'-') => before.push(switch),
                    Some(b'+') => after.push((path.clone(), switch, line)),
                    _ => {}
                }
            }
        }
    }
    after.into_iter().find_map(|(path, switch, line)| {
        if let Some(moved) = before.iter().position(|known| *known == switch) {
            before.swap_remove(moved);
            return None;
        }
        Some((path, super::text::cap_line(line.trim_start_matches('+').trim(), 200)))
    })
}

/// `switch` as a word of its own: `xit(` is none in `exit(`.
pub(super) fn has(line: &str, switch: &str) -> bool {
    line.match_indices(switch).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(path: &str, lines: &[&str]) -> String {
        format!("diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n{}\n", lines.join("\n"))
    }

    #[test]
    fn switches_are_seen_where_tests_are() {
        for (path, lines, off) in [
            ("tests/test_a.py", &["+    @unittest.skip('slow')"][..], true),
            ("tests/test_a.py", &["+@pytest.mark.xfail"], true),
            ("src/a.test.js", &["+  xit('adds', () => {"], true),
            ("src/a.test.js", &["-  it.skip('adds'", "+  it.only('adds'"], true),
            ("a_test.go", &["+\tt.Skip(\"later\")"], true),
            ("src/lib.rs", &["+    #[ignore = \"slow\"]"], true),
            ("src/main/AdderTest.java", &["+  @Disabled"], true),
            ("tests/test_a.py", &["+    sys.exit(1)"], false),
            ("tests/test_a.py", &["-@pytest.mark.skip", "+@pytest.mark.skip"], false),
            ("tests/test_a.py", &["-@pytest.mark.skip"], false),
            ("shop/pricing.py", &["+    pytest.skip(1)"], false),
        ] {
            assert_eq!(switched_off(&diff(path, lines)).is_some(), off, "{path} {lines:?}");
        }
        for (path, lines, off) in [
            ("shop/a.py", &["+import os  # noqa: F401"][..], true),
            ("shop/a.py", &["+x = f()  #type:ignore[arg-type]"], true),
            ("shop/a.py", &["+# pylint: disable=all"], true),
            ("src/a.ts", &["+// @ts-expect-error later"], true),
            ("src/a.js", &["+/* eslint-disable no-console */"], true),
            ("src/lib.rs", &["+#[allow(dead_code)]"], true),
            ("a.go", &["+\tx := 1 //nolint:errcheck"], true),
            ("A.java", &["+  @SuppressWarnings(\"unchecked\")"], true),
            ("shop/a.py", &["-import os  # noqa", "+import os, sys  # noqa"], false),
            ("shop/a.py", &["-import os  # noqa"], false),
            ("shop/a.py", &["+allow(x)", "+x = 'type: ignored'"], false),
            ("README.md", &["+Never write `# noqa`."], false),
        ] {
            assert_eq!(rule_switched_off(&diff(path, lines)).is_some(), off, "{path} {lines:?}");
        }
        let found = switched_off(&diff("tests/test_a.py", &["+    @unittest.skip('slow')"]));
        assert_eq!(found, Some(("tests/test_a.py".to_owned(), "@unittest.skip('slow')".to_owned())));
    }
}
