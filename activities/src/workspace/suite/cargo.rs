//! `cargo test`: the text of the standard harness, and cargo's own account of which program is whose. An id is the source of a test
//! program, from the repository's root, and the test's name, so crates of one workspace never share one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use super::{Broken, CACHE, Canary, Failure, Fate, Left, Nonce, Only, Report, Runner};
use crate::sandbox::ROOT;
use crate::workspace::assertions::inline;
use crate::workspace::repository::{Repository, is_test};
use crate::workspace::symbols::Missing;

/// cargo with the standard test harness.
#[derive(Debug)]
struct Cargo;

/// Has cargo tell on its output what it builds, one JSON object a line, and show what the compiler says as ever
/// (<https://doc.rust-lang.org/cargo/reference/external-tools.html#json-messages>).
const MESSAGES: &str = "--message-format=json-render-diagnostics";
/// Between the id of a documented example and its number, where one item has several.
const EXAMPLE: &str = " (example ";

pub(super) fn recognise(_: &Repository, command: &str) -> Option<Arc<dyn Runner>> {
    command.contains("cargo test").then(|| Arc::new(Cargo) as Arc<dyn Runner>)
}

impl Runner for Cargo {
    fn script(&self, command: &str, only: Option<&Only<'_>>) -> String {
        let command = without_format(command);
        // Without this cargo stops at the first program with a red test, and the others are not known.
        let all = if command.contains("--no-fail-fast") { "" } else { " --no-fail-fast" };
        let command = &command.replacen("cargo test", &format!("cargo test{all} {MESSAGES}"), 1);
        let Some(only) = only else { return command.clone() };
        // `tests/api.rs::adds`, `unittests src/lib.rs::tests::adds`, `shop::src/lib.rs - add` of a documented example.
        let parts: Vec<_> = only.ids.iter().filter_map(|id| id.split_once("::")).collect();
        let targets: BTreeSet<Option<String>> = parts.iter().map(|(target, _)| flag(target)).collect();
        let names = parts.iter().map(|(_, name)| *name).chain(only.canaries.iter().copied());
        let names: BTreeSet<String> = names.filter_map(filter).collect();
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
        let place = source(target);
        let modules: Vec<&str> = name.split("::").collect();
        let Some((_, modules)) = modules.split_last() else { return false };
        let rest = if path == place { Some(0) } else { inside(path, place, modules) };
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
        let content = format!("{}\n{}", content.trim_end(), nonce.in_any_order(&test(&a, x, y), &test(&b, y, y)));
        Some(Canary { path: path.to_owned(), content, passes: b, fails: a })
    }

    fn read(&self, left: &Left<'_>) -> Report {
        read(left.output, &|path, line| path.ends_with(".rs") && panics_at(path, &left.file(path), line))
    }

    /// What people read of it: without cargo's account of what it built.
    fn shown(&self, output: String) -> String {
        if !output.lines().any(is_account) {
            return output;
        }
        output.lines().filter(|line| !is_account(line)).flat_map(|line| [line, "\n"]).collect()
    }
}

/// Whether this line is one of [`MESSAGES`].
fn is_account(line: &str) -> bool {
    line.starts_with("{\"reason\":")
}

/// A program of tests, as cargo tells of it.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    executable: Option<String>,
}

/// What it was built from.
#[derive(Deserialize)]
struct Target {
    name: String,
    src_path: String,
}

/// The source of each program from the repository's root, by the program's file name, which has a hash of its crate in it.
fn programs(output: &str) -> BTreeMap<String, String> {
    // Everything is built before anything runs; what comes later was printed by a test.
    let built = output.lines().take_while(|line| !line.starts_with("{\"reason\":\"build-finished\""));
    let artifacts = built.filter(|line| line.starts_with("{\"reason\":\"compiler-artifact\""));
    let artifacts = artifacts.filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    artifacts
        .filter_map(|artifact| {
            let program = artifact.executable?;
            let source = artifact.target.src_path.strip_prefix(ROOT)?.strip_prefix('/')?.to_owned();
            // A target that is not called as its file is chosen by its own name.
            let own = target_of(&source).is_none_or(|name| name == artifact.target.name);
            let source = if own { source } else { format!("{source} ({})", artifact.target.name) };
            Some((program.rsplit('/').next()?.to_owned(), source))
        })
        .collect()
}

/// The file of a target: `tests/api.rs` of `tests/api.rs (contract)`.
fn source(target: &str) -> &str {
    let place = target.strip_prefix("unittests ").unwrap_or(target);
    place.split_once(" (").map_or(place, |(place, _)| place)
}

/// The command without choices of its own of what cargo and the harness print, as far as the arguments of `cargo test` go.
fn without_format(command: &str) -> String {
    let Some((before, after)) = command.split_once("cargo test") else { return command.to_owned() };
    let end = after.find(['&', ';', '|', '\n', ')']).unwrap_or(after.len());
    let (arguments, rest) = after.split_at(end);
    let mut kept = String::new();
    let (mut of_harness, mut value_follows) = (false, false);
    for word in arguments.split_inclusive(char::is_whitespace) {
        let bare = word.trim_end();
        of_harness |= bare == "--";
        let name = bare.split_once('=').map_or(bare, |(name, _)| name);
        // `-Z` stands for other things before the harness.
        let with_value = name == "--message-format"
            || of_harness && (matches!(name, "--format" | "--logfile" | "--color") || bare == "-Z");
        let quiet = matches!(bare, "-q" | "--quiet" | "--nocapture" | "--no-capture" | "--show-output")
            || of_harness && bare.starts_with("-Z");
        if bare.is_empty() || !(with_value || quiet || value_follows) {
            kept.push_str(word);
        }
        if !bare.is_empty() {
            value_follows = with_value && !bare.contains('=');
        }
    }
    let gap = if rest.is_empty() || kept.ends_with(char::is_whitespace) { "" } else { " " };
    let kept = if rest.is_empty() { kept.trim_end() } else { &kept };
    // Nothing is left for the harness.
    let kept = kept.strip_suffix(" --").unwrap_or(kept);
    format!("{before}cargo test{kept}{gap}{rest}")
}

/// A test's name as the harness finds it by, for the command line; `None`: it has what no name has.
fn filter(name: &str) -> Option<String> {
    let word = |c: char| c.is_alphanumeric() || "_:".contains(c);
    if name.chars().all(word) {
        return Some(name.to_owned());
    }
    // `src/lib.rs - add - compile fail`: after the item stands what is not part of it.
    let item: Vec<&str> = name.split(" - ").take(2).collect();
    let item = item.join(" - ");
    let item = item.split(EXAMPLE).next().unwrap_or_default();
    item.chars().all(|c| word(c) || "/.-<>,& ".contains(c)).then(|| format!("'{item}'"))
}

/// How many of the `modules` of a test lead from the target's root at `place` to the file at `path`; `None`: they do not. The
/// module `a::b` of `src/lib.rs` is `src/a/b.rs` or `src/a/b/mod.rs`.
fn inside(path: &str, place: &str, modules: &[&str]) -> Option<usize> {
    let root = place.rsplit_once('/').map_or("", |(root, _)| root);
    let stem = path.strip_suffix(".rs")?;
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    (1..=modules.len()).rev().find(|count| {
        let module = modules[..*count].join("/");
        stem == if root.is_empty() { module } else { format!("{root}/{module}") }
    })
}

/// The name that cargo gives to the target of this file: `api` to `shop/tests/api.rs` and `shop/tests/api/main.rs`. `None`: it
/// is no file of integration tests.
fn target_of(source: &str) -> Option<&str> {
    let test = source.strip_prefix("tests/").or_else(|| source.split_once("/tests/").map(|(_, test)| test))?;
    let name = test.strip_suffix(".rs")?;
    let name = name.strip_suffix("/main").unwrap_or(name);
    (!name.contains('/')).then_some(name)
}

/// The flag that chooses a target; `None`: there is none for it. In a workspace it chooses targets of the same name in all crates.
fn flag(target: &str) -> Option<String> {
    if let Some(place) = target.strip_prefix("unittests ") {
        if place.contains(" (") {
            return None;
        }
        let of_crate = |file: &str| place == file || place.ends_with(&format!("/{file}"));
        return if of_crate("src/lib.rs") {
            Some("--lib".to_owned())
        } else {
            (of_crate("src/main.rs") || place.contains("src/bin/")).then(|| "--bins".to_owned())
        };
    }
    let named = target.split_once(" (").map(|(_, name)| name.trim_end_matches(')'));
    let name = named.or_else(|| target_of(target))?;
    Some(format!("--test {name}"))
}

/// A documented example without its line, which moves with all that is written above it: `src/lib.rs - add (line 3)`.
fn example(name: &str) -> Option<(usize, String)> {
    let (item, rest) = name.split_once(" (line ")?;
    let (line, rest) = rest.split_once(')')?;
    item.contains(" - ").then_some(())?;
    Some((line.parse().ok()?, format!("{item}{rest}")))
}

/// The lines of one program about its tests, until its result tells how many there are.
#[derive(Default)]
struct Program {
    /// Its target.
    target: String,
    /// It said how many tests it runs, and has not said what became of them.
    open: bool,
    /// How many it runs.
    announced: usize,
    /// Names of tests, and what became of them.
    outcomes: Vec<(String, String)>,
    /// Names with what these tests printed.
    failures: Vec<(String, String)>,
}

impl Program {
    /// Notes its tests. Tells what contradicts what it said itself: whatever a test prints looks like a line of its program.
    fn close(&mut self, report: &mut Report, result: Option<&str>, place: &InPlace<'_>) {
        if self.outcomes.len() > self.announced {
            // Lines of tools that run in a test and write as the harness does, of files.
            self.outcomes.retain(|(name, _)| !name.contains('/') || name.contains(" - "));
        }
        let counted = |outcome: &str| self.outcomes.iter().filter(|(_, known)| known.starts_with(outcome)).count();
        let told = |word: &str| {
            let before = result?.split(word).next()?.trim_end();
            before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok()
        };
        let more = [("ok", " passed"), ("FAILED", " failed"), ("ignored", " ignored")]
            .into_iter()
            .any(|(outcome, word)| told(word).is_some_and(|told| counted(outcome) > told));
        if more || self.outcomes.len() > self.announced {
            let what = format!("{} tells of more tests than it ran", self.target);
            report.doubt.get_or_insert(what);
        }
        for (name, outcome) in std::mem::take(&mut self.outcomes) {
            let id = format!("{}::{name}", self.target);
            match outcome.as_str() {
                "ok" => report.note(&id, Fate::Passed),
                "FAILED" => report.note(&id, Fate::Failed(Failure::default())),
                _ if outcome.starts_with("ignored") => report.note(&id, Fate::Skipped),
                _ => {
                    report.unfinished.insert(id);
                }
            }
        }
        for (name, text) in std::mem::take(&mut self.failures) {
            if let Some(fate @ Fate::Failed(_)) = report.tests.get_mut(&format!("{}::{name}", self.target)) {
                *fate = Fate::Failed(failure(text, place));
            }
        }
        (self.open, self.announced) = (false, 0);
    }
}

/// Whether a test itself fails with a message at this line of this file, from the repository's root.
type InPlace<'a> = dyn Fn(&str, usize) -> bool + 'a;

/// Reads the text. A binary without its result line died: `exit(0)` in a test looks like that.
fn read(output: &str, place: &InPlace<'_>) -> Report {
    let programs = programs(output);
    let mut report = Report { ended: true, ..Report::default() };
    let mut program = Program::default();
    let mut seen = false;
    let mut in_block = false;
    for line in output.lines() {
        if let Some(target) = starts(line.trim(), &programs, program.open) {
            report.ended &= !program.open;
            program.close(&mut report, None, place);
            (program, in_block) = (Program { target, ..Program::default() }, false);
        } else if let Some(count) = announced(line) {
            // The program before it died, or a test printed this.
            report.ended &= !program.open;
            program.open = true;
            program.announced += count;
            seen = true;
        } else if line.starts_with("test result: ") {
            if !program.open {
                report.doubt.get_or_insert_with(|| format!("{} ended twice", program.target));
            }
            program.close(&mut report, Some(line), place);
            in_block = false;
        } else if let Some((name, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) {
            program.outcomes.push((name.to_owned(), outcome.to_owned()));
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            program.failures.push((name.to_owned(), String::new()));
            in_block = true;
        } else if line == "failures:" {
            in_block = false;
        } else if let (true, Some((_, text))) = (in_block, program.failures.last_mut()) {
            text.push_str(line);
            text.push('\n');
        }
    }
    report.ended &= seen && !program.open;
    program.close(&mut report, None, place);
    report.tests = without_lines(std::mem::take(&mut report.tests));
    if let Some(line) = compile_error(output) {
        // One error blocks the package: no test of it ran.
        let errors = output.lines().skip_while(|line| !line.starts_with("error"));
        let text = errors.filter(|line| !is_account(line)).flat_map(|line| [line, "\n"]).collect();
        let failure = Failure { asserted: false, line, text };
        report.broken.push(Broken { name: String::new(), failure });
    }
    report
}

/// How many tests a program says that it runs.
fn announced(line: &str) -> Option<usize> {
    let rest = line.strip_prefix("running ")?;
    let count = rest.strip_suffix(" tests").or_else(|| rest.strip_suffix(" test"))?;
    count.parse().ok()
}

/// The target of the program that cargo begins with this line. Tests may print the like: a program is one that cargo told of, and
/// documented examples come when no program is open.
fn starts(line: &str, programs: &BTreeMap<String, String>, open: bool) -> Option<String> {
    if let Some(what) = line.strip_prefix("Running ") {
        let (_, file) = what.rsplit_once(" (")?;
        let file = file.strip_suffix(')')?.rsplit('/').next()?;
        return (programs.is_empty() || programs.contains_key(file)).then(|| program(what, programs));
    }
    let name = line.strip_prefix("Doc-tests ").filter(|_| !open)?;
    name.chars().all(|c| c.is_alphanumeric() || "_-".contains(c)).then(|| name.to_owned())
}

/// The target of the program that cargo says it runs: `unittests src/lib.rs (target/debug/deps/shop-1a2b)`.
fn program(what: &str, programs: &BTreeMap<String, String>) -> String {
    let (target, file) = what.split_once(" (").unwrap_or((what, ""));
    let file = file.trim_end_matches(')').rsplit('/').next().unwrap_or_default();
    match programs.get(file) {
        Some(source) if target.starts_with("unittests ") => format!("unittests {source}"),
        Some(source) => source.clone(),
        None => target.to_owned(),
    }
}

/// The tests with documented examples under names that stay when lines above them change; the examples of one item in their order.
fn without_lines(tests: BTreeMap<String, Fate>) -> BTreeMap<String, Fate> {
    let mut named = BTreeMap::new();
    let mut examples: BTreeMap<String, Vec<(usize, Fate)>> = BTreeMap::new();
    for (id, fate) in tests {
        match example(&id) {
            Some((line, item)) => examples.entry(item).or_default().push((line, fate)),
            None => {
                named.insert(id, fate);
            }
        }
    }
    for (item, mut fates) in examples {
        fates.sort_by_key(|(line, _)| *line);
        for (at, (_, fate)) in fates.into_iter().enumerate() {
            let id = if at == 0 { item.clone() } else { format!("{item}{EXAMPLE}{})", at + 1) };
            named.insert(id, fate);
        }
    }
    named
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

/// How a test failed that printed this.
fn failure(text: String, place: &InPlace<'_>) -> Failure {
    let panic = text.lines().skip_while(|line| !line.contains("panicked at")).collect::<Vec<_>>();
    let message = panic.get(1).copied().unwrap_or_default().trim().to_owned();
    let asserts = message.starts_with("assertion ") || message.contains("assertion failed");
    // `thread 'x' (7) panicked at tests/cart.rs:3:5:`
    let at = panic.first().and_then(|line| line.rsplit_once("panicked at ")).map(|(_, at)| at);
    let mut at = at.unwrap_or_default().trim_end_matches(':').rsplitn(3, ':');
    let (_, line, file) = (at.next(), at.next(), at.next());
    let at = file.zip(line.and_then(|line| line.parse().ok()));
    let asserted = asserts || at.is_some_and(|(file, line)| place(file, line));
    let values = panic.iter().skip(2).take(2).map(|line| line.trim()).filter(|line| asserts && line.contains(": "));
    let mut line = values.fold(message, |line, value| format!("{line} {value}"));
    if panic.is_empty() {
        // A test that returns an error.
        text.lines().find(|line| line.starts_with("Error: ")).unwrap_or_default().clone_into(&mut line);
    }
    Failure { asserted, line, text }
}

/// Whether a test of the source fails with words of its own at this line: by `panic!`, and not by what some code does there.
fn panics_at(path: &str, content: &str, line: usize) -> bool {
    let words = ["panic!(", "unreachable!("];
    let there = line.checked_sub(1).and_then(|at| content.lines().nth(at));
    let of_tests =
        is_test(path) || inline::is_all_for_tests(content) || inline::has_line(&inline::blocks(content), line);
    of_tests && there.is_some_and(|there| words.iter().any(|word| there.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nowhere(_: &str, _: usize) -> bool {
        false
    }

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
        let report = read(TEXT, &nowhere);
        assert!(report.ended && report.passed("unittests src/lib.rs::tests::adds"));
        assert_eq!(report.tests["unittests src/lib.rs::tests::slow"], Fate::Skipped);
        let Fate::Failed(failure) = &report.tests["unittests src/lib.rs::tests::clamps"] else { panic!("{report:?}") };
        assert!(failure.asserted);
        assert_eq!(failure.line, "assertion `left == right` failed left: -5 right: 0");
    }

    #[test]
    fn choices_of_what_is_printed_are_left_out() {
        for (command, plain) in [
            ("cargo test -q", "cargo test"),
            ("cargo test --quiet --offline", "cargo test --offline"),
            ("cargo test -- --nocapture --test-threads=1", "cargo test -- --test-threads=1"),
            ("cargo test -- -Z unstable-options --format json --ignored", "cargo test -- --ignored"),
            ("cargo test --message-format=short -Z build-std -- --show-output", "cargo test -Z build-std"),
            ("A=1 cargo test -q && tool -q", "A=1 cargo test && tool -q"),
            ("cargo test --offline", "cargo test --offline"),
        ] {
            assert_eq!(without_format(command), plain, "{command}");
        }
    }

    #[test]
    fn what_a_test_prints_is_no_report() {
        let doubt = |text: &str| read(text, &nowhere).doubt;
        assert_eq!(doubt(TEXT), None);
        let forged = TEXT.replace("test tests::slow", "test gone ... ok\ntest tests::slow");
        assert!(doubt(&forged).unwrap().contains("more tests than it ran"));
        let again = TEXT.replace(
            "ignored\n\nfailures",
            "ignored\ntest result: ok. 9 passed; 0 failed\nrunning 1 test\ntest gone ... ok\n\nfailures",
        );
        assert!(doubt(&again).is_some());
        let of_files = TEXT.replace("test tests::slow", "test tests/ui/a.rs ... ok\ntest tests::slow");
        assert_eq!(doubt(&of_files), None, "tools write like this of files");
        assert!(!read(&of_files, &nowhere).tests.keys().any(|id| id.contains("ui")));
        // What a child process prints begins no program.
        let child = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"shop\",\"src_path\":\"/w/src/lib.rs\"},\"executable\":\"/x/shop-1a2b\"}\n{\"reason\":\"build-finished\"}\n";
        let text = TEXT.replace(
            "test tests::slow",
            " Running migrations\n Running all (of them)\n Doc-tests soon\ntest tests::slow",
        );
        let report = read(&format!("{child}{text}"), &nowhere);
        assert!(report.ended && report.doubt.is_none() && report.tests.len() == 3, "{report:?}");
    }

    #[test]
    fn a_test_may_fail_with_its_own_words() {
        let text = "thread 'x' (7) panicked at tests/cart.rs:3:9:\nexpected an error\nnote: run with\n".to_owned();
        let own = "fn x() {\n    let Err(_) = f() else {\n        panic!(\"expected an error\")\n    };\n}\n";
        let found = failure(text.clone(), &|path, line| panics_at(path, own, line));
        assert!(found.asserted && found.line == "expected an error", "{found:?}");
        let calls = own.replace("panic!(", "f().expect(");
        assert!(!failure(text, &|path, line| panics_at(path, &calls, line)).asserted);
        assert!(!panics_at("src/lib.rs", own, 3), "the code's own panic");
        assert_eq!(failure("Error: \"no\"\n".to_owned(), &nowhere).line, "Error: \"no\"");
    }

    #[test]
    fn a_binary_that_died_did_not_end() {
        let cut = TEXT.split("test tests::slow").next().unwrap();
        assert!(!read(cut, &nowhere).ended);
        assert!(!read("", &nowhere).ended);
    }

    #[test]
    fn a_compile_error_breaks_all() {
        let report = read("error[E0425]: cannot find function `clamp` in this scope\n --> tests/a.rs:3:5\n", &nowhere);
        assert!(report.broken_for("tests/a.rs::x").unwrap().failure.line.contains("`clamp`"));
        let two =
            "error[E0432]: unresolved import `shop::clamp`\n --> tests/a.rs:1:5\n\nerror[E0308]: mismatched types\n";
        assert_eq!(read(two, &nowhere).broken[0].failure.line, "error[E0308]: mismatched types");
        let other = "error[E0061]: this function takes 3 arguments but 2 arguments were supplied\n --> tests/cart.rs:5:16\n  |\n5 |     assert_eq!(total(100, 0), 100);\n  |                ^^^^^-------- argument #3 is missing\n  |\nnote: function defined here\n --> src/lib.rs:1:8\n  |\n1 | pub fn total(price: i64, discount: i64, tax: i64) -> i64 {\n";
        assert!(read(other, &nowhere).broken[0].failure.line.ends_with("supplied: `total`"));
    }

    #[test]
    fn crates_of_a_workspace_share_no_id() {
        let artifact = |path: &str, program: &str, name: &str| {
            format!(
                "{{\"reason\":\"compiler-artifact\",\"package_id\":\"x\",\"target\":{{\"kind\":[\"test\"],\"name\":\"{name}\",\
                 \"src_path\":\"/w/{path}\"}},\"executable\":\"/run/cache/cargo/debug/deps/{program}\",\"fresh\":false}}\n"
            )
        };
        let run = |what: &str, program: &str, outcome: &str| {
            format!(
                "     Running {what} (/run/cache/cargo/debug/deps/{program})\n\nrunning 1 test\ntest new ... {outcome}\n\n\
                 test result: ok. 1 passed; 0 failed\n\n"
            )
        };
        let output = [
            artifact("a/src/lib.rs", "a-11", "a"),
            artifact("b/src/lib.rs", "b-22", "b"),
            artifact("a/tests/it.rs", "it-33", "it"),
            artifact("b/tests/it.rs", "it-44", "it"),
            artifact("b/tests/other.rs", "contract-55", "contract"),
            "{\"reason\":\"build-finished\",\"success\":true}\n".to_owned(),
            run("unittests src/lib.rs", "a-11", "ok"),
            run("unittests src/lib.rs", "b-22", "FAILED"),
            run("tests/it.rs", "it-33", "ok"),
            run("tests/it.rs", "it-44", "ok"),
            run("tests/other.rs", "contract-55", "ok"),
        ]
        .concat();
        let report = read(&output, &nowhere);
        let ids: Vec<&str> = report.tests.keys().map(String::as_str).collect();
        let expected = [
            "a/tests/it.rs::new",
            "b/tests/it.rs::new",
            "b/tests/other.rs (contract)::new",
            "unittests a/src/lib.rs::new",
            "unittests b/src/lib.rs::new",
        ];
        assert_eq!(ids, expected);
        assert!(report.passed(ids[3]) && !report.passed(ids[4]));
        assert!(
            Cargo.holds("b/tests/other.rs", "fn new() {", ids[2])
                && !Cargo.holds("a/tests/it.rs", "fn new() {", ids[1])
        );
        assert!(
            Cargo.holds("a/src/lib.rs", "fn new() {", ids[3]) && !Cargo.holds("b/src/lib.rs", "fn new() {", ids[3])
        );
        let shown = Cargo.shown(output);
        assert!(!shown.contains("reason") && shown.contains("Running tests/it.rs"), "{shown}");
    }

    #[test]
    fn examples_keep_their_ids_when_lines_move() {
        let text = |a: u32, b: u32, c: u32| {
            format!(
                "   Doc-tests shop\n\nrunning 3 tests\ntest src/lib.rs - add (line {b}) ... FAILED\ntest src/lib.rs - add (line {a}) \
                 ... ok\ntest src/lib.rs - Cart::new (line {c}) - compile fail ... ok\n\ntest result: FAILED.\n"
            )
        };
        let report = read(&text(9, 11, 30), &nowhere);
        assert_eq!(
            report.tests.keys().collect::<Vec<_>>(),
            read(&text(1, 20, 3), &nowhere).tests.keys().collect::<Vec<_>>()
        );
        assert!(
            report.passed("shop::src/lib.rs - add") && report.passed("shop::src/lib.rs - Cart::new - compile fail")
        );
        assert!(!report.passed("shop::src/lib.rs - add (example 2)"));
        let ids = report.tests.keys().map(String::as_str).collect();
        let script = Cargo.script("cargo test", Some(&Only { ids, ..Only::default() }));
        assert!(script.ends_with(" -- 'src/lib.rs - Cart::new' 'src/lib.rs - add'"), "{script}");
    }

    #[test]
    fn single_tests_are_chosen_by_target_and_name() {
        let only = |ids: &[&'static str]| Only { ids: ids.to_vec(), canaries: vec!["abc"], ..Only::default() };
        let script = |command: &str, ids: &[&'static str]| Cargo.script(command, Some(&only(ids)));
        assert_eq!(
            script("cargo test --offline", &["tests/a.rs::x"]),
            "cargo test --test a --no-fail-fast --message-format=json-render-diagnostics --offline -- abc x"
        );
        assert_eq!(
            script("cargo test", &["unittests src/lib.rs::t::x", "tests/a.rs::y"]),
            "cargo test --lib --test a --no-fail-fast --message-format=json-render-diagnostics -- abc t::x y"
        );
        assert_eq!(
            script("cargo test --message-format short -- --nocapture", &["unittests src/main.rs::t::x"]),
            "cargo test --bins --no-fail-fast --message-format=json-render-diagnostics -- abc t::x"
        );
        assert!(Cargo.holds("tests/a.rs", "fn x() {", "tests/a.rs::x"));
        assert!(Cargo.holds("src/cart.rs", "mod tests { fn x() {", "unittests src/lib.rs::cart::tests::x"));
        let beside = "pub fn clamp() {}\nmod tests {\n    fn clamp() {}\n}\n";
        assert!(Cargo.holds("shop/src/cart.rs", beside, "unittests shop/src/lib.rs::cart::tests::clamp"));
        assert!(Cargo.holds("src/cart/tests.rs", "fn clamp() {", "unittests src/lib.rs::cart::tests::clamp"));
        assert!(!Cargo.holds("shop/src/cart.rs", beside, "unittests src/lib.rs::cart::tests::clamp"));
        assert!(!Cargo.holds("src/other.rs", beside, "unittests src/lib.rs::cart::tests::clamp"));
        assert!(!Cargo.holds("src/lib.rs", "mod cart;\nfn clamp() {", "unittests src/lib.rs::cart::tests::clamp"));
        assert!(!Cargo.holds("tests/a.rs", "fn y() {", "tests/a.rs::x"));
    }
}
