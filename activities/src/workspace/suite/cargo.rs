//! `cargo test`: the text of the standard harness. An id is the test binary's source and the test's name.

use super::{Broken, Failure, Fate, Report};

/// Reads the text. A binary without its result line died: `exit(0)` in a test looks like that.
pub(super) fn read(output: &str) -> Report {
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
    let first_error = output.lines().find(|line| line.starts_with("error[E"));
    if let Some(line) = first_error {
        // One error blocks the package: no test of it ran.
        let failure = Failure { asserted: false, line: line.to_owned(), text: output.to_owned() };
        report.broken.push(Broken { name: String::new(), failure });
    }
    report
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
    }
}
