//! What kind of failure a red check is, by rules over the end of its log. Deterministic, and free; what no rule knows is left to
//! the ci agent.

use crate::contract::analysis::RedKind;
use crate::contract::github::Check;
use crate::contract::workspace::FixKind;
use crate::messages::shorten;

/// Longest cause, in characters.
const CAUSE: usize = 300;

/// What a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Kind of failure.
    pub kind: RedKind,
    /// The line that tells, for people.
    pub cause: String,
    /// Which of the repository's own fixers may mend it.
    pub fix: Option<FixKind>,
}

/// One rule: a line that has all of `words` says so. Words are looked for without regard to case.
struct Rule {
    kind: RedKind,
    fix: Option<FixKind>,
    words: &'static [&'static str],
}

const fn rule(kind: RedKind, words: &'static [&'static str]) -> Rule {
    Rule { kind, fix: None, words }
}

const fn fixable(kind: RedKind, fix: FixKind, words: &'static [&'static str]) -> Rule {
    Rule { kind, fix: Some(fix), words }
}

/// The first rule that a line of the log meets decides, so what explains other failures stands before them: a lost runner before
/// everything, a missing module before the test that it broke.
const RULES: &[Rule] = {
    use FixKind::{Format as Formatter, Lint as Linter, Lockfile};
    use RedKind::{Compile, Dependency, Format, Import, Infrastructure, Lint, Logic, Security, Timeout, Type};
    &[
        rule(Infrastructure, &["the runner has received a shutdown signal"]),
        rule(Infrastructure, &["runner lost communication with the server"]),
        rule(Infrastructure, &["no space left on device"]),
        rule(Security, &["leaks found:"]),
        rule(Security, &[">> issue: [b", "]"]),
        rule(Security, &["found", "vulnerabilit", "severity"]),
        rule(Security, &["error: vulnerability found"]),
        rule(Security, &["error:", "vulnerabilities found"]),
        fixable(Format, Formatter, &["would be reformatted"]),
        fixable(Format, Formatter, &["would reformat"]),
        fixable(Format, Formatter, &["code style issues found"]),
        fixable(Format, Formatter, &["forgot to run prettier"]),
        fixable(Format, Formatter, &["diff in ", ".rs"]),
        fixable(Format, Formatter, &["imports are incorrectly sorted"]),
        fixable(Lint, Linter, &["fixable with the `--fix` option"]),
        fixable(Lint, Linter, &["✖ ", " problem"]),
        fixable(Lint, Linter, &["-d clippy::"]),
        fixable(Lint, Linter, &["-d warnings", "implied by"]),
        fixable(Dependency, Lockfile, &["`npm ci` can only install packages when"]),
        fixable(Dependency, Lockfile, &["err_pnpm_outdated_lockfile"]),
        fixable(Dependency, Lockfile, &["lockfile would have been modified by this install"]),
        fixable(Dependency, Lockfile, &["the lockfile at `uv.lock` needs to be updated"]),
        fixable(Dependency, Lockfile, &["changed significantly since poetry.lock was last generated"]),
        fixable(Dependency, Lockfile, &["needs to be updated but --locked was passed"]),
        fixable(Dependency, Lockfile, &["missing go.sum entry"]),
        fixable(Dependency, Lockfile, &["updates to go.mod needed"]),
        rule(Dependency, &["npm", "eresolve"]),
        rule(Dependency, &["could not find a version that satisfies the requirement"]),
        rule(Dependency, &["no matching package named"]),
        rule(Import, &["modulenotfounderror: no module named"]),
        rule(Import, &["importerror: cannot import name"]),
        rule(Import, &["error ts2307"]),
        rule(Import, &["error: cannot find module '"]),
        rule(Import, &["no required module provides package"]),
        rule(Type, &["error ts"]),
        rule(Type, &[".py:", ": error: ", "["]),
        rule(Type, &[".py:", " - error: "]),
        rule(Compile, &["error[e0"]),
        rule(Compile, &["error: could not compile"]),
        rule(Compile, &["[build failed]"]),
        rule(Compile, &["syntaxerror: "]),
        rule(Compile, &["indentationerror: "]),
        rule(Compile, &["compilation failure"]),
        rule(Compile, &[".java:", ": error: "]),
        rule(Timeout, &["failed: timeout >"]),
        rule(Timeout, &["exceeded timeout of", "for a test"]),
        rule(Timeout, &["test timed out in"]),
        rule(Timeout, &["panic: test timed out after"]),
        rule(Timeout, &["exceeded", "maximum execution time"]),
        rule(Logic, &["assertionerror"]),
        rule(Logic, &["failed ", "::"]),
        rule(Logic, &["failed (", "="]),
        rule(Logic, &["--- fail:"]),
        rule(Logic, &["test result: failed"]),
        rule(Logic, &["assertion `", "failed"]),
        rule(Logic, &["tests:", " failed"]),
        rule(Logic, &["tests run:", "failures:"]),
        rule(Infrastructure, &["could not resolve host"]),
        rule(Infrastructure, &["temporary failure in name resolution"]),
        rule(Infrastructure, &["econnreset"]),
        rule(Infrastructure, &["etimedout"]),
        rule(Infrastructure, &["connection reset by peer"]),
        rule(Infrastructure, &["tls handshake timeout"]),
        rule(Infrastructure, &["503 service unavailable"]),
        rule(Infrastructure, &["502 bad gateway"]),
        rule(Infrastructure, &["429 too many requests"]),
        rule(Infrastructure, &["failed to download action"]),
    ]
};

/// Names of checks that tell security scanners, word by word; their findings are for people.
const SCANNERS: [&[&str]; 10] = [
    &["codeql"],
    &["security"],
    &["snyk"],
    &["trivy"],
    &["gitleaks"],
    &["semgrep"],
    &["secret", "scan"],
    &["secret", "scanning"],
    &["dependency", "review"],
    &["audit"],
];

/// Words that tell a run of tests, whatever those are about.
const TESTS: [&str; 9] = ["test", "tests", "testing", "unittest", "pytest", "jest", "vitest", "mocha", "e2e"];

/// A check that is a security scanner, by its name. The tests of an audit log are none.
pub fn is_scanner(check: &Check) -> bool {
    let words = words(&check.name);
    let named = |scanner: &&[&str]| words.windows(scanner.len()).any(|part| part.iter().eq(scanner.iter()));
    SCANNERS.iter().any(named) && !is_of_tests(&words)
}

fn words(name: &str) -> Vec<String> {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

fn is_of_tests(words: &[String]) -> bool {
    words.iter().any(|word| TESTS.contains(&word.as_str()))
}

/// Reads the end of a failing step's log.
pub fn classify(check: &Check, step: &str, tail: &str) -> Option<Finding> {
    let lines: Vec<(&str, String)> = tail.lines().map(|line| (line, line.to_lowercase())).collect();
    let says = |rule: &Rule| {
        let mut said = lines.iter().filter(|(_, line)| rule.words.iter().all(|word| line.contains(word)));
        said.next_back().map(|(line, _)| shorten(line, CAUSE))
    };
    let found = RULES.iter().find_map(|rule| Some(Finding { kind: rule.kind, cause: says(rule)?, fix: rule.fix }));
    found.or_else(|| linted(&lines)).or_else(|| named(check, step, tail))
}

/// Linters that end with a list of `path:line:column: CODE words` (ruff, flake8) or with ruff's longer `CODE words` and `--> path`.
fn linted(lines: &[(&str, String)]) -> Option<Finding> {
    let coded = |line: &str| {
        let code = line.split_whitespace().next().unwrap_or_default();
        let letters = code.chars().take_while(char::is_ascii_uppercase).count();
        let digits = code.len() - letters;
        (1..=4).contains(&letters)
            && (3..=4).contains(&digits)
            && code.chars().skip(letters).all(|c| c.is_ascii_digit())
    };
    let short = |line: &str| {
        let mut parts = line.splitn(4, ':');
        let numbers = |part: Option<&str>| part.is_some_and(|part| part.parse::<u32>().is_ok());
        parts.next().is_some_and(|path| path.ends_with(".py"))
            && numbers(parts.next())
            && numbers(parts.next())
            && parts.next().is_some_and(|rest| coded(rest.trim_start()))
    };
    let mut pairs = lines.windows(2);
    let long = pairs.find(|pair| coded(pair[0].0) && pair[1].0.trim_start().starts_with("--> "));
    let line = lines.iter().find(|(line, _)| short(line)).map(|(line, _)| *line).or(long.map(|pair| pair[0].0))?;
    Some(Finding { kind: RedKind::Lint, cause: shorten(line, CAUSE), fix: Some(FixKind::Lint) })
}

/// Nothing in the log tells, but the name of the job or step does: gofmt, say, only lists files.
fn named(check: &Check, step: &str, tail: &str) -> Option<Finding> {
    // The step is nearer to what failed. One that runs tests is neither, whatever the job around it is called.
    let (step, job) = (words(step), words(&check.name));
    let (kind, fix) = tidied(&step).or_else(|| (!is_of_tests(&step)).then(|| tidied(&job)).flatten())?;
    Some(Finding { kind, cause: last_words(tail), fix: Some(fix) })
}

/// What a name says that formats or lints, and nothing else.
fn tidied(words: &[String]) -> Option<(RedKind, FixKind)> {
    let says =
        |names: &[&str], end: &str| words.iter().any(|word| names.contains(&word.as_str()) || word.ends_with(end));
    if is_of_tests(words) {
        None
    } else if says(&["format", "formatting", "formatter", "prettier", "black", "isort"], "fmt") {
        Some((RedKind::Format, FixKind::Format))
    } else if says(&["linter", "linters", "linting", "ruff", "flake8", "clippy"], "lint") {
        Some((RedKind::Lint, FixKind::Lint))
    } else {
        None
    }
}

/// The last line that says something, for people.
pub fn last_words(tail: &str) -> String {
    let telling = |line: &&str| !line.trim().is_empty() && !line.contains("Process completed with exit code");
    shorten(tail.lines().rfind(telling).unwrap_or_default(), CAUSE)
}

/// The log names one of these files: the failure goes through what they say.
pub fn names_one<'a>(tail: &str, files: &'a [String]) -> Option<&'a str> {
    let alone = |at: usize, file: &str| {
        let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        !tail[..at].ends_with(part) && !tail[at + file.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
    };
    let named = |file: &&String| tail.match_indices(file.as_str()).any(|(at, _)| alone(at, file));
    files.iter().find(named).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::github::CheckState;

    fn check(name: &str) -> Check {
        Check { name: name.into(), state: CheckState::Failed, url: String::new(), job: Some(1), summary: String::new() }
    }

    /// Ends of logs as the tools write them.
    #[test]
    #[expect(clippy::too_many_lines, reason = "one table of cases")]
    fn real_logs_are_told_apart() {
        use FixKind::{Format as Formatter, Lint as Linter, Lockfile};
        use RedKind::{Compile, Dependency, Format, Import, Infrastructure, Lint, Logic, Security, Timeout, Type};
        let cases: &[(&str, RedKind, Option<FixKind>)] = &[
            (
                "Run ruff check .\nshop/a.py:1:8: F401 [*] `os` imported but unused\nFound 1 error.\n[*] 1 fixable with the `--fix` option.",
                Lint,
                Some(Linter),
            ),
            ("E501 Line too long (120 > 100)\n --> shop/a.py:3:101\n  |\nFound 1 error.", Lint, Some(Linter)),
            ("./shop/a.py:10:80: E501 line too long (95 > 79 characters)", Lint, Some(Linter)),
            (
                "/home/runner/work/web/src/a.js\n  3:7  error  'x' is assigned a value but never used  no-unused-vars\n\n✖ 1 problem (1 error, 0 warnings)",
                Lint,
                Some(Linter),
            ),
            (
                "error: this `if` has identical blocks\n  = note: `-D clippy::if-same-then-else` implied by `-D warnings`\nerror: could not compile `shop` (lib) due to 1 previous error",
                Lint,
                Some(Linter),
            ),
            (
                "would reformat /home/runner/work/shop/shop/a.py\n\nOh no! 💥 💔 💥\n1 file would be reformatted, 30 files would be left unchanged.",
                Format,
                Some(Formatter),
            ),
            (
                "Would reformat: shop/a.py\n1 file would be reformatted, 12 files already formatted",
                Format,
                Some(Formatter),
            ),
            (
                "Checking formatting...\n[warn] src/a.ts\n[warn] Code style issues found in the above file. Run Prettier with --write to fix.",
                Format,
                Some(Formatter),
            ),
            ("Diff in /home/runner/work/x/src/main.rs:3:\n-fn main(){}\n+fn main() {}", Format, Some(Formatter)),
            (
                "E       assert 10 == 9\n\ntests/test_a.py:4: AssertionError\nFAILED tests/test_a.py::test_total - assert 10 == 9",
                Logic,
                None,
            ),
            ("AssertionError: 150 != 450\n\n------\nRan 41 tests in 0.003s\n\nFAILED (failures=1)", Logic, None),
            ("--- FAIL: TestTotal (0.00s)\n    a_test.go:9: got 3, want 4\nFAIL", Logic, None),
            ("test result: FAILED. 3 passed; 1 failed; 0 ignored", Logic, None),
            ("Tests:       1 failed, 20 passed, 21 total", Logic, None),
            (
                "ImportError while importing test module\nE   ModuleNotFoundError: No module named 'requests'\n1 error",
                Import,
                None,
            ),
            ("ImportError: cannot import name 'share' from 'shop.money' (shop/money.py)", Import, None),
            (
                "src/a.ts(1,20): error TS2307: Cannot find module 'lodash' or its corresponding type declarations.",
                Import,
                None,
            ),
            (
                "shop/a.py:12: error: Incompatible return value type (got \"None\", expected \"int\")  [return-value]\nFound 1 error in 1 file (checked 12 source files)",
                Type,
                None,
            ),
            ("src/a.ts(3,5): error TS2322: Type 'string' is not assignable to type 'number'.", Type, None),
            (
                "error[E0425]: cannot find value `x` in this scope\n --> src/main.rs:2:5\nerror: could not compile `shop` (bin \"shop\") due to 1 previous error",
                Compile,
                None,
            ),
            ("./a.go:3:5: undefined: x\nFAIL\tshop [build failed]", Compile, None),
            ("  File \"shop/a.py\", line 3\n    def f(:\n          ^\nSyntaxError: invalid syntax", Compile, None),
            (
                "npm error code ERESOLVE\nnpm error ERESOLVE could not resolve\nnpm error While resolving: web@1.0.0",
                Dependency,
                None,
            ),
            (
                "npm error code EUSAGE\nnpm error\nnpm error `npm ci` can only install packages when your package.json and package-lock.json or npm-shrinkwrap.json are in sync.",
                Dependency,
                Some(Lockfile),
            ),
            (
                "error: the lock file /w/Cargo.lock needs to be updated but --locked was passed to prevent this",
                Dependency,
                Some(Lockfile),
            ),
            ("The lockfile at `uv.lock` needs to be updated, but `--locked` was provided.", Dependency, Some(Lockfile)),
            ("go: github.com/x/y@v1.2.3: missing go.sum entry for go.mod file", Dependency, Some(Lockfile)),
            ("thrown: \"Exceeded timeout of 5000 ms for a test.", Timeout, None),
            ("E       Failed: Timeout >10.0s", Timeout, None),
            ("Error: The job has exceeded the maximum execution time of 6m0s", Timeout, None),
            (
                "Error: The runner has received a shutdown signal. This can happen when the runner service is stopped.",
                Infrastructure,
                None,
            ),
            (
                "fatal: unable to access 'https://github.com/acme/x/': Could not resolve host: github.com",
                Infrastructure,
                None,
            ),
            (
                "npm error network request to https://registry.npmjs.org/x failed, reason: read ECONNRESET",
                Infrastructure,
                None,
            ),
            ("WRN leaks found: 1", Security, None),
        ];
        for (tail, kind, fix) in cases {
            let found = classify(&check("build"), "Run it", tail).unwrap_or_else(|| panic!("nothing found in {tail}"));
            assert_eq!((found.kind, found.fix), (*kind, *fix), "{tail}\n{}", found.cause);
            assert!(!found.cause.is_empty());
        }
    }

    #[test]
    fn a_name_tells_when_the_log_does_not() {
        let found = classify(
            &check("fmt"),
            "Run gofmt -l .",
            "Run gofmt -l .\na.go\nError: Process completed with exit code 1.",
        );
        let expected = Finding { kind: RedKind::Format, cause: "a.go".into(), fix: Some(FixKind::Format) };
        assert_eq!(found, Some(expected));
        assert_eq!(classify(&check("build"), "Run make", "make: *** [all] Error 2"), None);
    }

    #[test]
    fn names_are_read_word_by_word() {
        for scanner in ["CodeQL / analyze", "npm-audit", "Security", "secret-scanning", "dependency review (main)"] {
            assert!(is_scanner(&check(scanner)), "{scanner}");
        }
        for other in ["test", "audit-log tests", "auditing", "review dependency", "insecurity"] {
            assert!(!is_scanner(&check(other)), "{other}");
        }
        for (job, step, kind) in [
            ("information", "Run make", None),
            ("blackbox", "Run make", None),
            ("lint-and-test", "Run make check", None),
            ("lint", "Run npm test", None),
            ("lint", "Run make check", Some(RedKind::Lint)),
            ("build", "Run gofmt -l .", Some(RedKind::Format)),
            ("quality", "Run npx eslint src", Some(RedKind::Lint)),
            ("format", "Run npx eslint src", Some(RedKind::Lint)),
        ] {
            let found = classify(&check(job), step, "make: *** [all] Error 2").map(|found| found.kind);
            assert_eq!(found, kind, "{job}, {step}");
        }
    }

    #[test]
    fn a_file_is_named_as_a_whole() {
        let files = ["shop/a.py".to_owned(), "b.py".to_owned()];
        assert_eq!(names_one("File \"/home/runner/work/shop/shop/a.py\", line 3", &files), Some("shop/a.py"));
        assert_eq!(names_one("tests/test_b.py and shop/a.pyi", &files), None);
        assert_eq!(names_one("./b.py:3:1", &files), Some("b.py"));
    }
}
