//! What a person should look at in the added lines of tests. None of it is refused: each has honest uses, and the runs of a proof
//! have seen what it does.

use super::assertions::Language;
use super::diff;
use super::kept::{SWITCHES, has as has_word};
use super::text;

/// Most lines shown to a person.
pub(super) const SHOWN: usize = 20;
/// Characters shown of one line.
const WIDTH: usize = 160;

/// How tests reach what is no result of the code: its source, files, the environment, other programs.
const READING: [(Language, &[&str]); 5] = [
    (
        Language::Python,
        &[
            "open(",
            "read_text(",
            "read_bytes(",
            "getsource(",
            "environ",
            "getenv(",
            "subprocess",
            "__file__",
            "os.system(",
        ],
    ),
    (
        Language::JavaScript,
        &["readFile", "createReadStream", "process.env", "child_process", "__filename", ".toString()"],
    ),
    (
        Language::Go,
        &["os.Getenv", "os.LookupEnv", "os.ReadFile", "os.Open", "ioutil.", "exec.Command", "runtime.Caller"],
    ),
    (
        Language::Rust,
        &["include_str!", "include_bytes!", "env::var", "env!(", "fs::read", "File::open", "Command::new", "file!("],
    ),
    (
        Language::Java,
        &["System.getenv", "System.getProperty", "Files.read", "FileReader", "FileInputStream", "ProcessBuilder"],
    ),
];

/// How a test is run again until it passes, or given more time.
const PATIENCE: [&str; 11] = [
    "flaky",
    "rerun",
    "retryTimes",
    "retry:",
    "retries",
    "setTimeout(",
    "timeout=",
    "timeout:",
    "this.timeout(",
    "@RepeatedTest",
    "@Timeout",
];

/// How a test's process is ended, or code is run at its end.
const ENDING: [&str; 10] = [
    "os._exit",
    "sys.exit(",
    "pytest.exit",
    "atexit",
    "os.Exit",
    "func TestMain",
    "process::exit",
    "process.exit",
    "System.exit",
    "Runtime.getRuntime().halt",
];

/// Sentences about the added lines of tests in `git diff --unified=0`.
pub(super) fn to_look_at(diff: &str, is_test: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (path, line) in added(diff) {
        let Some(language) = Language::of(&path).filter(|_| is_test(&path)) else { continue };
        let reading = READING.iter().find(|(of, _)| *of == language).map_or(&[][..], |(_, words)| words);
        let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
        let what = if SWITCHES.iter().any(|switch| has_word(line, switch)) {
            "may switch tests off"
        } else if has(&ENDING) {
            "may end the tests' process"
        } else if has(&PATIENCE) {
            "may run a test again or give it more time"
        } else if has(reading) {
            "reads files or the environment"
        } else {
            continue;
        };
        found.push(format!("{path} {what}: `{}`", text::cap_line(line.trim(), WIDTH)));
    }
    found.sort();
    found.dedup();
    found
}

/// Snapshots that a change brings or alters: what is expected was written by the code itself.
pub(super) fn snapshots<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<String> {
    paths
        .filter(|path| is_snapshot(path))
        .map(|path| format!("{path} is a snapshot: what it expects was written by the code itself"))
        .collect()
}

/// Whether a file holds what code wrote and tests expect: of Jest, syrupy, insta, approval tests, and golden files.
pub(super) fn is_snapshot(path: &str) -> bool {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    let folder =
        |name: &str| matches!(name, "__snapshots__" | "snapshots" | "golden" | "goldens" | "__image_snapshots__");
    folders.split('/').any(folder)
        || name.contains(".approved.")
        || [".snap", ".ambr", ".snap.new", ".golden", ".snapshot"].iter().any(|end| name.ends_with(end))
}

/// Added lines with their files.
fn added(text: &str) -> impl Iterator<Item = (String, &str)> {
    let (mut path, mut in_header) = (String::new(), true);
    text.lines().filter_map(move |line| {
        if line.starts_with("diff --git ") {
            path.clear();
            in_header = true;
        } else if in_header && let Some(name) = diff::named(line) {
            path = name;
        } else if line.starts_with("@@ ") {
            in_header = false;
        } else if !in_header && let Some(added) = line.strip_prefix('+') {
            return Some((path.clone(), added));
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_worth_a_look_are_named() {
        let look = |path: &str, line: &str| {
            let text = format!("diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-x\n+{line}\n");
            to_look_at(&text, &crate::workspace::repository::is_test)
        };
        for (path, line, what) in [
            ("tests/test_a.py", "    text = open('shop/a.py').read()", "reads files"),
            ("tests/test_a.py", "    if os.environ.get('X'):", "reads files"),
            ("tests/test_a.py", "@pytest.mark.flaky(reruns=3)", "again"),
            ("tests/test_a.py", "    os._exit(0)", "end the tests' process"),
            ("src/a.test.js", "jest.retryTimes(3)", "again"),
            ("src/a.test.js", "fs.readFileSync('a.js')", "reads files"),
            ("a_test.go", "func TestMain(m *testing.M) {", "end the tests' process"),
            ("tests/a.rs", "let text = include_str!(\"../src/lib.rs\");", "reads files"),
            ("tests/test_a.py", "@pytest.mark.skipif(WINDOWS, reason='x')", "switch tests off"),
        ] {
            let found = look(path, line);
            assert!(found.len() == 1 && found[0].contains(what), "{line}: {found:?}");
        }
        assert!(look("tests/test_a.py", "    assert total(1) == 2").is_empty());
        assert!(look("shop/a.py", "    open('x')").is_empty());
        assert_eq!(snapshots(["a/__snapshots__/b.snap", "testdata/a.golden", "a/b.js"].into_iter()).len(), 2);
    }
}
