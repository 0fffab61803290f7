//! jest, vitest, `node --test` and mocha, by reporters of our own that write one JSON line per event.
//!
//! A script that node preloads adds the reporter to the runner's arguments, so that it does not matter how a repository
//! starts it: `npm test`, `npx`, a script in `package.json` or `make`. It also takes out what waits for edits or rewrites
//! snapshots, and jest always runs with `--ci`: a snapshot that is not there fails its test instead of being written.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::events::{Event, FOREIGN, LATE, UNCOUNTED};
use super::{Broken, Canary, HARNESS, Left, Nonce, Only, Report, Runner, words};
use crate::workspace::repository::Repository;

/// Writes the assertion of a canary: the name of its own function, left, right.
type Assertion = fn(&str, u64, u64) -> String;

const FILES: [(&str, &str); 7] = [
    ("bin/node", include_str!("../harness/ticketwright_node.sh")),
    ("ticketwright_preload.cjs", include_str!("../harness/ticketwright_preload.cjs")),
    ("ticketwright_report.cjs", include_str!("../harness/ticketwright_report.cjs")),
    ("ticketwright_jest.cjs", include_str!("../harness/ticketwright_jest.cjs")),
    ("ticketwright_vitest.mjs", include_str!("../harness/ticketwright_vitest.mjs")),
    ("ticketwright_node_test.mjs", include_str!("../harness/ticketwright_node_test.mjs")),
    ("ticketwright_mocha.cjs", include_str!("../harness/ticketwright_mocha.cjs")),
];
/// What the reporters write.
const EVENTS: &str = "node.jsonl";
/// Which tests to run, as JSON. Absent: all.
const CHOICE: &str = "only";
/// Programs that lead to a runner of JavaScript.
const PROGRAMS: [&str; 9] = ["npm", "npx", "pnpm", "yarn", "node", "jest", "vitest", "mocha", "react-scripts"];

/// Whatever runner a command of node's world starts.
#[derive(Debug)]
struct Node;

pub(super) fn recognise(_: &Repository, command: &str) -> Option<Arc<dyn Runner>> {
    words(command).any(|word| PROGRAMS.contains(&word)).then(|| Arc::new(Node) as Arc<dyn Runner>)
}

/// The test command that a `package.json` suggests. `names`: the repository's files.
pub(in crate::workspace) fn detect(package: &str, names: &[&str]) -> Option<String> {
    let package: serde_json::Value = serde_json::from_str(package).ok()?;
    // What `npm init` writes is no command.
    if package["scripts"]["test"].as_str().is_some_and(|script| !script.contains("no test specified")) {
        return Some("npm test --silent".to_owned());
    }
    let depends = |name: &str| ["devDependencies", "dependencies"].iter().any(|kind| package[kind][name].is_string());
    if depends("vitest") {
        return Some("npx vitest run".to_owned());
    }
    if depends("jest") {
        return Some("npx jest --ci".to_owned());
    }
    if depends("mocha") {
        return Some("npx mocha".to_owned());
    }
    let is_test = |name: &&str| {
        let (stem, script) = name.rsplit_once('.').unwrap_or((name, ""));
        matches!(script, "js" | "mjs" | "cjs") && (stem.ends_with(".test") || name.starts_with("test/"))
    };
    names.iter().any(is_test).then(|| "node --test".to_owned())
}

impl Runner for Node {
    fn script(&self, command: &str, _only: Option<&Only<'_>>) -> String {
        // First on the path for scripts that set NODE_OPTIONS themselves, as jest's ES modules need it.
        format!("export PATH={HARNESS}/bin:\"$PATH\"\n{command}")
    }

    fn env(&self) -> Vec<(String, String)> {
        [
            ("NODE_OPTIONS", format!("--require {HARNESS}/ticketwright_preload.cjs")),
            ("TICKETWRIGHT_REPORT", format!("{}/{EVENTS}", super::REPORT)),
            // Assertions keep their full text in a log without colours.
            ("NO_COLOR", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    fn harness(&self, only: Option<&Only<'_>>) -> Vec<(String, String)> {
        let mut files = FILES.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec();
        if let Some(only) = only {
            let names: BTreeSet<&str> =
                only.ids.iter().filter_map(|id| id.split_once("::")).map(|(_, name)| name).collect();
            // An id begins with its file.
            let of_ids = only.ids.iter().filter_map(|id| id.split_once("::")).map(|(file, _)| file);
            let homes: BTreeSet<&str> = of_ids.chain(only.files.iter().copied()).collect();
            let choice = json!({"files": homes, "names": names, "canaries": only.canaries});
            files.push((CHOICE.to_owned(), choice.to_string()));
        }
        files
    }

    fn holds(&self, path: &str, _content: &str, id: &str) -> bool {
        id.split_once("::").is_some_and(|(file, _)| file == path)
    }

    fn title<'a>(&self, id: &'a str) -> &'a str {
        let name = id.split_once("::").map_or(id, |(_, name)| name);
        name.rsplit(" > ").next().unwrap_or(name)
    }

    /// At the end of the test file itself, with the functions that its tests use: whatever replaces them meets these too.
    fn canary(&self, path: &str, content: &str, _ids: &[&str], nonce: &Nonce) -> Option<Canary> {
        let (a, b, x, y) = (nonce.word(1), nonce.word(2), nonce.number(1), nonce.number(2));
        let test = ["test", "it"].into_iter().find(|name| calls(content, name))?;
        let own = format!("_{}", nonce.word(3));
        let (import, assertion): (String, Assertion) = if calls(content, "expect") {
            let chai = [".to.equal(", ".to.be.", ".to.eql(", ".to.deep."].iter().any(|word| content.contains(word));
            let jest: Assertion = |_, left, right| format!("expect({left}).toBe({right})");
            (String::new(), if chai { |_, left, right| format!("expect({left}).to.equal({right})") } else { jest })
        } else if content.contains("assert.") {
            (String::new(), |_, left, right| format!("assert.strictEqual({left}, {right})"))
        } else {
            let modules = path.ends_with(".mjs") || path.ends_with("ts") || content.lines().any(is_import);
            let import = if modules {
                format!("import {{ strictEqual as {own} }} from 'node:assert';\n")
            } else {
                format!("const {{ strictEqual: {own} }} = require('node:assert');\n")
            };
            (import, |own, left, right| format!("{own}({left}, {right})"))
        };
        let case =
            |name: &str, left, right| format!("{test}('{name}', () => {{\n  {};\n}});\n", assertion(&own, left, right));
        let cases = nonce.in_any_order(&case(&a, x, y), &case(&b, y, y));
        let content = format!("{}\n\n{import}{cases}", content.trim_end());
        Some(Canary { path: path.to_owned(), content, passes: b, fails: a })
    }

    fn read(&self, left: &Left<'_>) -> Report {
        read(&left.report(EVENTS), left.nonce)
    }
}

/// Whether `content` calls a function of this name, not a method.
fn calls(content: &str, name: &str) -> bool {
    content.match_indices(name).any(|(at, _)| {
        let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '\'' | '"' | '`');
        !content[..at].ends_with(word) && content[at + name.len()..].trim_start().starts_with(['(', '.'])
    })
}

fn is_import(line: &str) -> bool {
    line.starts_with("import ") || line.starts_with("import{") || line.starts_with("export ")
}

/// Reads the events. A line without the run's nonce was not written by a reporter and ends the reading.
fn read(lines: &str, nonce: &str) -> Report {
    let mut report = Report::default();
    let (mut begun, mut ended, mut told, mut counted) = (0, 0, 0, 0);
    for line in lines.lines() {
        let Some(event) = Event::of(line, nonce) else {
            report.doubt = Some(FOREIGN.to_owned());
            // What came after may have been told truly, and is not known.
            report.unfinished.clear();
            return report;
        };
        if event.begin.is_some() {
            begun += 1;
        } else if begun == ended {
            report.doubt = Some(LATE.to_owned());
        }
        if let Some(name) = &event.start {
            report.unfinished.insert(name.clone());
        } else if let Some(name) = &event.done {
            report.unfinished.remove(name);
        } else if let Some(id) = &event.id {
            told += 1;
            report.note(id, event.fate());
        } else if let Some(name) = &event.broken {
            report.unfinished.remove(name);
            report.broken.push(Broken { name: name.clone(), failure: event.failure(false) });
        } else if let Some(snapshots) = event.snapshots {
            report.snapshots += snapshots;
        } else if event.end.is_some() {
            ended += 1;
            counted += event.tests.unwrap_or_default();
        }
    }
    report.ended = begun > 0 && begun == ended;
    if report.ended && told != counted {
        report.doubt = Some(UNCOUNTED.to_owned());
    }
    report
}

#[cfg(test)]
mod tests {
    use super::super::Fate;
    use super::*;

    /// The report of lines that carry the nonce.
    fn events(lines: &str) -> Report {
        let lines: String = lines.lines().map(|line| format!("{}\n", line.replacen('{', "{\"n\":\"w\",", 1))).collect();
        read(&lines, "w")
    }

    #[test]
    fn what_the_reporters_write_is_read() {
        // Recorded from jest 30.2 and, after it in the same script, node 20.
        let report = events(
            r#"{"begin":"jest"}
{"start":"test/cart.test.js"}
{"id":"test/cart.test.js::adds","outcome":"passed"}
{"id":"test/cart.test.js::group > inner","outcome":"failed","line":"expect(received).toBe(expected) // Object.is equality Expected: 0 Received: -4","text":"..."}
{"id":"test/cart.test.js::group > sk","outcome":"skipped"}
{"id":"test/cart.test.js::und","outcome":"error","line":"TypeError: Cannot read properties of undefined (reading 'y')","text":"..."}
{"snapshots":2,"file":"test/cart.test.js"}
{"done":"test/cart.test.js"}
{"start":"test/imp.test.js"}
{"broken":"test/imp.test.js","line":"Cannot find module '../src/tax' from 'test/imp.test.js'","text":"..."}
{"done":"test/imp.test.js"}
{"end":17,"tests":4}
{"begin":"node"}
{"id":"test/node.mjs::adds","outcome":"passed"}
{"end":1,"tests":1}
"#,
        );
        assert!(report.ended && report.doubt.is_none() && report.unfinished.is_empty());
        assert!(report.passed("test/cart.test.js::adds") && report.passed("test/node.mjs::adds"));
        assert!(matches!(&report.tests["test/cart.test.js::group > inner"], Fate::Failed(f) if f.asserted));
        assert!(matches!(&report.tests["test/cart.test.js::und"], Fate::Failed(f) if !f.asserted));
        assert_eq!(report.tests["test/cart.test.js::group > sk"], Fate::Skipped);
        assert!(report.broken_for("test/imp.test.js::x").unwrap().failure.line.contains("../src/tax"));
        assert_eq!(report.snapshots, 2);
    }

    #[test]
    fn what_the_reporters_did_not_write_is_not_believed() {
        let died = events("{\"begin\":\"jest\"}\n{\"start\":\"a.test.js\"}\n");
        assert!(!died.ended && died.unfinished.contains("a.test.js"));
        assert!(!events("").ended);
        let forged = format!("{}\n{{\"id\":\"b\",\"outcome\":\"passed\"}}\n", r#"{"n":"w","begin":"jest"}"#);
        assert!(read(&forged, "w").tests.is_empty() && read(&forged, "w").doubt.is_some());
        let late = events("{\"begin\":\"jest\"}\n{\"end\":0,\"tests\":0}\n{\"id\":\"a\",\"outcome\":\"passed\"}\n");
        assert!(late.doubt.is_some());
        let more = events("{\"begin\":\"jest\"}\n{\"id\":\"a\",\"outcome\":\"passed\"}\n{\"end\":0,\"tests\":0}\n");
        assert!(more.doubt.unwrap().contains("counted"));
    }

    #[test]
    fn a_package_tells_its_command() {
        for (package, names, command) in [
            (r#"{"scripts":{"test":"jest"}}"#, &[][..], Some("npm test --silent")),
            (
                r#"{"scripts":{"test":"echo \"Error: no test specified\" && exit 1"},"devDependencies":{"vitest":"4"}}"#,
                &[],
                Some("npx vitest run"),
            ),
            (r#"{"devDependencies":{"jest":"30"}}"#, &[], Some("npx jest --ci")),
            (r#"{"dependencies":{"mocha":"11"}}"#, &[], Some("npx mocha")),
            ("{}", &["src/a.test.mjs"], Some("node --test")),
            ("{}", &["src/a.js"], None),
            ("", &["test/a.js"], None),
        ] {
            assert_eq!(detect(package, names).as_deref(), command, "{package}");
        }
        let known = |command: &str| recognise(&Repository::default(), command).is_some();
        for command in ["npm test", "cd web && yarn test", "NODE_ENV=test ./node_modules/.bin/jest", "(npx vitest run)"]
        {
            assert!(known(command), "{command}");
        }
        assert!(!known("make test") && !known("./nodetest.sh"));
    }

    #[test]
    fn canaries_use_what_the_tests_use() {
        let nonce = Nonce::new();
        let canary = |path: &str, content: &str| Node.canary(path, content, &[], &nonce);
        for (path, content, has) in [
            ("a.test.js", "test('a', () => { expect(1).toBe(1) })", "expect("),
            ("a.test.js", "it('a', () => { expect(1).to.equal(1) })", ").to.equal("),
            ("a.test.js", "test('a', () => assert.ok(x()))", "assert.strictEqual("),
            ("a.test.js", "test('a', () => ok(x()))", "require('node:assert')"),
            ("a.test.mjs", "test('a', () => ok(x()))", "import { strictEqual as _"),
            ("a.test.js", "import { ok } from 'x';\ntest.each([1])('a', () => ok(x()))", "import { strictEqual as _"),
        ] {
            let canary = canary(path, content).unwrap();
            let added = canary.content.strip_prefix(content).unwrap();
            assert!(added.contains(has), "{added}");
            assert!(added.contains(&format!("('{}', ", canary.passes)) && added.contains(&canary.fails));
        }
        assert_eq!(canary("a.test.js", "describe('a', () => latest('b'))"), None);
    }

    #[test]
    fn ids_lead_to_files_and_names() {
        assert!(Node.holds("src/a.test.ts", "", "src/a.test.ts::cart > adds"));
        assert!(!Node.holds("src/b.test.ts", "", "src/a.test.ts::cart > adds"));
        assert_eq!(Node.title("src/a.test.ts::cart > adds :: up"), "adds :: up");
        let only = Only { ids: vec!["a.js::x > y"], files: vec!["a.js"], canaries: vec!["abc"] };
        let (_, choice) = Node.harness(Some(&only)).pop().unwrap();
        assert_eq!(choice, r#"{"canaries":["abc"],"files":["a.js"],"names":["x > y"]}"#);
    }
}
