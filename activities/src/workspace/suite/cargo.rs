//! `cargo test`: the text of the standard harness. An id is the test binary's source and the test's name.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Broken, CACHE, Canary, Failure, Fate, Left, Nonce, Only, Report, Runner};
use crate::workspace::repository::Repository;
use crate::workspace::symbols::Missing;

/// cargo with the standard test harness.
#[derive(Debug)]
struct Cargo;

pub(super) fn recognise(_: &Repository, command: &str) -> Option<Arc<dyn Runner>> {
    command.contains("cargo test").then(|| Arc::new(Cargo) as Arc<dyn Runner>)
}

impl Runner for Cargo {
    fn script(&self, command: &str, only: Option<&Only<'_>>) -> String {
        // Without this cargo stops at the first program with a red test, and the others are not known.
        let all = if command.contains("--no-fail-fast") { "" } else { " --no-fail-fast" };
        let command = &command.replacen("cargo test", &format!("cargo test{all}"), 1);
        let Some(only) = only else { return command.clone() };
        // `tests/api.rs::adds`, `unittests src/lib.rs::tests::adds`, `shop::src/lib.rs - add (line 3)` of a doc-test.
        let parts: Vec<_> = only.ids.iter().filter_map(|id| id.split_once("::")).collect();
        let targets: BTreeSet<Option<String>> = parts.iter().map(|(target, _)| flag(target)).collect();
        let names = parts.iter().map(|(_, name)| *name).chain(only.canaries.iter().copied());
        let names: BTreeSet<&str> =
            names.filter(|name| name.chars().all(|c| c.is_alphanumeric() || "_:".contains(c))).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(" ");
        // Filters are parts of names: a few more tests may run. Without `--exact`, because canaries are known by a part.
        let filtered = match command.split_once(" -- ") {
            Some((cargo, rest)) => format!("{cargo} -- {names} {rest}"),
            None => format!("{command} -- {names}"),
        };
        let chosen: Option<Vec<String>> = targets.into_iter().collect();
        let has_target =
            ["--test", "--lib", "--bin", "--doc", "--all-targets"].iter().any(|flag| command.contains(flag));
        match chosen {
            Some(flags) if !has_target => {
                filtered.replacen("cargo test", &format!("cargo test {}", flags.join(" ")), 1)
            }
            _ => filtered,
        }
    }

    fn env(&self) -> Vec<(String, String)> {
        // Dependencies are compiled once for all runs of a proof; cargo tells changed files by their time.
        vec![("CARGO_TARGET_DIR".to_owned(), format!("{CACHE}/cargo"))]
    }

    fn holds(&self, path: &str, content: &str, id: &str) -> bool {
        let Some((target, name)) = id.split_once("::") else { return false };
        let place = target.strip_prefix("unittests ").unwrap_or(target);
        let modules: Vec<&str> = name.split("::").collect();
        let Some((_, modules)) = modules.split_last() else { return false };
        let rest =
            if path == place || path.ends_with(&format!("/{place}")) { Some(0) } else { inside(path, place, modules) };
        let declared = |name: &&str| {
            let declaration = format!("mod {name}");
            let mut from = content.match_indices(&declaration).map(|(at, found)| &content[at + found.len()..]);
            from.any(|after| after.trim_start().starts_with('{'))
        };
        let here = rest.is_some_and(|rest| modules[rest..].iter().all(declared));
        path.ends_with(".rs") && here && content.contains(&format!("fn {}(", self.title(id)))
    }

    fn title<'a>(&self, id: &'a str) -> &'a str {
        id.rsplit(':').next().unwrap_or(id)
    }

    /// At the end of the file itself: a file beside it would be a program of its own, or no part of one.
    fn canary(&self, path: &str, content: &str, _ids: &[&str], nonce: &Nonce) -> Option<Canary> {
        let (a, b, x, y) = (nonce.word(1), nonce.word(2), nonce.number(1), nonce.number(2));
        let test =
            |name: &str, left, right| format!("\n#[test]\nfn {name}() {{\n    assert_eq!({left}, {right});\n}}\n");
        let content = format!("{}\n{}{}", content.trim_end(), test(&a, x, y), test(&b, y, y));
        Some(Canary { path: path.to_owned(), content, passes: b, fails: a })
    }

    fn read(&self, left: &Left<'_>) -> Report {
        read(left.output)
    }
}

/// How many of the `modules` of a test lead from the target's root at `place` to the file at `path`; `None`: they do not. The
/// module `a::b` of `src/lib.rs` is `src/a/b.rs` or `src/a/b/mod.rs`.
fn inside(path: &str, place: &str, modules: &[&str]) -> Option<usize> {
    let root = place.rsplit_once('/').map_or("", |(root, _)| root);
    let stem = path.strip_suffix(".rs")?;
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    (1..=modules.len()).rev().find(|count| {
        let module = format!("{root}/{}", modules[..*count].join("/"));
        stem == module || stem.ends_with(&format!("/{module}"))
    })
}

/// The flag that chooses a target as cargo names it; `None`: there is none for it.
fn flag(target: &str) -> Option<String> {
    if let Some(test) = target.strip_prefix("tests/").and_then(|rest| rest.strip_suffix(".rs")) {
        // `tests/api/main.rs` is the target `api`.
        let name = test.strip_suffix("/main").unwrap_or(test);
        return (!name.contains('/')).then(|| format!("--test {name}"));
    }
    (target == "unittests src/lib.rs").then(|| "--lib".to_owned())
}

/// Reads the text. A binary without its result line died: `exit(0)` in a test looks like that.
fn read(output: &str) -> Report {
    let mut report = Report { ended: true, ..Report::default() };
    let mut binary = String::new();
    let mut open = false;
    let mut seen = false;
    let mut failing: Vec<String> = Vec::new();
    let mut block: Option<(String, String)> = None;
    for line in output.lines() {
        let trimmed = line.trim();
        let starts = trimmed.strip_prefix("Running ").or_else(|| trimmed.strip_prefix("Doc-tests "));
        if let Some(what) = starts {
            report.ended &= !open;
            open = false;
            what.split(" (").next().unwrap_or_default().clone_into(&mut binary);
        } else if line.starts_with("running ") {
            open = true;
            seen = true;
        } else if line.starts_with("test result: ") {
            open = false;
            close(&mut report, &binary, block.take());
        } else if let Some((name, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) {
            let id = format!("{binary}::{name}");
            match outcome {
                "ok" => report.note(&id, Fate::Passed),
                "FAILED" => {
                    failing.push(id.clone());
                    report.note(&id, Fate::Failed(Failure::default()));
                }
                _ if outcome.starts_with("ignored") => report.note(&id, Fate::Skipped),
                _ => {
                    report.unfinished.insert(id);
                }
            }
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            close(&mut report, &binary, block.take());
            block = Some((name.to_owned(), String::new()));
        } else if line == "failures:" {
            close(&mut report, &binary, block.take());
        } else if let Some((_, text)) = &mut block {
            text.push_str(line);
            text.push('\n');
        }
    }
    report.ended &= seen && !open;
    if let Some(line) = compile_error(output) {
        // One error blocks the package: no test of it ran.
        let failure = Failure { asserted: false, line, text: output.to_owned() };
        report.broken.push(Broken { name: String::new(), failure });
    }
    report
}

/// What the compiler says. Of several errors the one that names no symbol: it decides.
fn compile_error(output: &str) -> Option<String> {
    let lines: Vec<&str> = output.lines().collect();
    let errors = (0..lines.len()).filter(|at| lines[*at].starts_with("error[E")).map(|at| {
        // The function that has other parameters now stands in a note below.
        let of_this = lines[at + 1..].iter().take_while(|line| !line.starts_with("error"));
        let mut defined = of_this.skip_while(|line| !line.contains(" defined here"));
        let name = defined
            .find_map(|line| line.split_once("fn "))
            .map(|(_, rest)| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>());
        match name {
            Some(name) if lines[at].starts_with("error[E0061]") => format!("{}: `{name}`", lines[at]),
            _ => lines[at].to_owned(),
        }
    });
    let errors: Vec<String> = errors.collect();
    // That a type cannot be told may follow from a name that is not there.
    let decides =
        |line: &&String| Missing::of(line).is_none() && !line.contains("[E0282]") && !line.contains("[E0283]");
    errors.iter().find(decides).or_else(|| errors.first()).cloned()
}

/// Adds to a failed test what it printed.
fn close(report: &mut Report, binary: &str, block: Option<(String, String)>) {
    let Some((name, text)) = block else { return };
    let panic = text.lines().skip_while(|line| !line.contains("panicked at")).collect::<Vec<_>>();
    let message = panic.get(1).copied().unwrap_or_default().trim().to_owned();
    let asserted = message.starts_with("assertion ") || message.contains("assertion failed");
    let values = panic.iter().skip(2).take(2).map(|line| line.trim()).filter(|line| line.contains(": "));
    let line = values.fold(message, |line, value| format!("{line} {value}"));
    if let Some(fate) = report.tests.get_mut(&format!("{binary}::{name}")) {
        *fate = Fate::Failed(Failure { asserted, line, text });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "   Compiling shop v0.1.0
     Running unittests src/lib.rs (target/debug/deps/shop-1a2b)

running 3 tests
test tests::adds ... ok
test tests::clamps ... FAILED
test tests::slow ... ignored

failures:

---- tests::clamps stdout ----

thread 'tests::clamps' (71) panicked at src/lib.rs:14:9:
assertion `left == right` failed
  left: -5
 right: 0

failures:
    tests::clamps

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn the_text_is_read() {
        let report = read(TEXT);
        assert!(report.ended && report.passed("unittests src/lib.rs::tests::adds"));
        assert_eq!(report.tests["unittests src/lib.rs::tests::slow"], Fate::Skipped);
        let Fate::Failed(failure) = &report.tests["unittests src/lib.rs::tests::clamps"] else { panic!("{report:?}") };
        assert!(failure.asserted);
        assert_eq!(failure.line, "assertion `left == right` failed left: -5 right: 0");
    }

    #[test]
    fn a_binary_that_died_did_not_end() {
        let cut = TEXT.split("test tests::slow").next().unwrap();
        assert!(!read(cut).ended);
        assert!(!read("").ended);
    }

    #[test]
    fn a_compile_error_breaks_all() {
        let report = read("error[E0425]: cannot find function `clamp` in this scope\n --> tests/a.rs:3:5\n");
        assert!(report.broken_for("tests/a.rs::x").unwrap().failure.line.contains("`clamp`"));
        let two =
            "error[E0432]: unresolved import `shop::clamp`\n --> tests/a.rs:1:5\n\nerror[E0308]: mismatched types\n";
        assert_eq!(read(two).broken[0].failure.line, "error[E0308]: mismatched types");
        let other = "error[E0061]: this function takes 3 arguments but 2 arguments were supplied\n --> tests/cart.rs:5:16\n  |\n5 |     assert_eq!(total(100, 0), 100);\n  |                ^^^^^-------- argument #3 is missing\n  |\nnote: function defined here\n --> src/lib.rs:1:8\n  |\n1 | pub fn total(price: i64, discount: i64, tax: i64) -> i64 {\n";
        assert!(read(other).broken[0].failure.line.ends_with("supplied: `total`"));
    }

    #[test]
    fn single_tests_are_chosen_by_target_and_name() {
        let only = |ids: &[&'static str]| Only { ids: ids.to_vec(), canaries: vec!["abc"], ..Only::default() };
        let script = |command: &str, ids: &[&'static str]| Cargo.script(command, Some(&only(ids)));
        assert_eq!(
            script("cargo test --offline", &["tests/a.rs::x"]),
            "cargo test --test a --no-fail-fast --offline -- abc x"
        );
        assert_eq!(
            script("cargo test", &["unittests src/lib.rs::t::x", "tests/a.rs::y"]),
            "cargo test --lib --test a --no-fail-fast -- abc t::x y"
        );
        assert_eq!(
            script("cargo test -- --nocapture", &["unittests src/main.rs::t::x"]),
            "cargo test --no-fail-fast -- abc t::x --nocapture"
        );
        assert!(Cargo.holds("tests/a.rs", "fn x() {", "tests/a.rs::x"));
        assert!(Cargo.holds("src/cart.rs", "mod tests { fn x() {", "unittests src/lib.rs::cart::tests::x"));
        let beside = "pub fn clamp() {}\nmod tests {\n    fn clamp() {}\n}\n";
        assert!(Cargo.holds("shop/src/cart.rs", beside, "unittests src/lib.rs::cart::tests::clamp"));
        assert!(Cargo.holds("src/cart/tests.rs", "fn clamp() {", "unittests src/lib.rs::cart::tests::clamp"));
        assert!(!Cargo.holds("src/other.rs", beside, "unittests src/lib.rs::cart::tests::clamp"));
        assert!(!Cargo.holds("src/lib.rs", "mod cart;\nfn clamp() {", "unittests src/lib.rs::cart::tests::clamp"));
        assert!(!Cargo.holds("tests/a.rs", "fn y() {", "tests/a.rs::x"));
    }
}
