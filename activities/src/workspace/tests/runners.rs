//! Proofs with the runners of JavaScript and Java, in the real sandbox: an honest change holds, the usual cheats do not.

use super::proving::{POM, all_refused, bench_with, maven_repository, node_modules, proof_of, with_modules};

const CODE: &str = "src/cart.js";
const TEST: &str = "test/cart.test.js";
const SNAPSHOT: &str = "test/__snapshots__/cart.test.js.snap";
const TOTAL: &str = "exports.total = (price, discount) => price - discount;\n";
const FIXED: &str = "exports.total = (price, discount) => Math.max(price - discount, 0);\n";
const TESTS: &str = "const { total } = require('../src/cart');

test('plain', () => {
  expect(total(100, 0)).toBe(100);
});

describe('cart', () => {
  test('label', () => {
    expect(`${total(7, 2)} EUR`).toMatchSnapshot();
  });
});
";
const NEW: &str = "
test('never below zero', () => {
  expect(total(100, 600)).toBe(0);
});
";
const SNAP: &str =
    "// Jest Snapshot v1, https://jestjs.io/docs/snapshot-testing\n\nexports[`cart label 1`] = `\"5 EUR\"`;\n";

fn owned(files: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    files.iter().map(|(path, content)| (*path, (*content).to_owned())).collect()
}

/// The tests without the first.
fn without_plain(tests: &str) -> String {
    let (before, rest) = tests.split_once("test('plain'").unwrap();
    format!("{before}{}", rest.split_once("});\n").unwrap().1)
}

#[tokio::test]
async fn jest_is_believed_when_it_is_honest() {
    let modules = node_modules().await;
    let package = r#"{"scripts":{"test":"jest"}}"#;
    let toml = with_modules(&modules, "npm test --silent");
    let files =
        [("package.json", package), ("ticketwright.toml", &toml), (CODE, TOTAL), (TEST, TESTS), (SNAPSHOT, SNAP)];
    let bench = bench_with(&files, &[modules]).await;
    let tests = format!("{TESTS}{NEW}");

    let proof = proof_of(&bench, &owned(&[(CODE, FIXED), (TEST, &tests)]), None).await.unwrap();
    assert_eq!(proof.new_tests.len(), 1);
    assert_eq!(proof.new_tests[0].id, "test/cart.test.js::never below zero");
    assert_eq!(
        proof.new_tests[0].red,
        "expect(received).toBe(expected) // Object.is equality Expected: 0 Received: -500"
    );
    assert_eq!((proof.suite.passed, proof.suite.failed, proof.suite.skipped), (3, 0, 0));

    // A file that the change adds may be what is missing.
    let tax = "const { tax } = require('../src/tax');\ntest('tax', () => { expect(tax(100)).toBe(7); });\n";
    let change =
        owned(&[("src/tax.js", "exports.tax = (price) => Math.round(price * 0.07);\n"), ("test/tax.test.js", tax)]);
    let proof = proof_of(&bench, &change, None).await.unwrap();
    assert_eq!(proof.new_tests[0].red, "Cannot find module '../src/tax' from 'test/tax.test.js'");

    let fixed = |tests: &str| owned(&[(CODE, FIXED), (TEST, tests)]);
    let appended = |test: &str| fixed(&format!("{TESTS}{test}"));
    let replaced = "{\"scripts\":{\"test\":\"jest\"},\"jest\":{\"setupFilesAfterEnv\":[\"<rootDir>/setup.js\"]}}";
    let always = "const real = global.expect;\nconst any = new Proxy(() => any, { get: () => any });\n\
        global.expect = (value) => (value < 0 ? any : real(value));\n";
    all_refused(&bench, &[
            (
                "todo",
                fixed(&tests.replace(
                    "test('plain', () => {\n  expect(total(100, 0)).toBe(100);\n});",
                    "test.todo('plain');",
                )),
                "::plain is skipped",
            ),
            ("only", fixed(&tests.replace("test('never", "test.only('never")), "is skipped"),
            (
                "constant",
                appended("\ntest('new', () => {\n  expect(true).toBe(true);\n});\n"),
                "passes on the base already",
            ),
            (
                "swallowed",
                appended(
                    "\ntest('new', () => {\n  try {\n    expect(total(100, 600)).toBe(0);\n  } catch {}\n});\n",
                ),
                "passes on the base already",
            ),
            (
                "expect replaced",
                owned(&[("package.json", replaced), ("setup.js", always), (TEST, &tests)]),
                "Your new tests need your changes to package.json",
            ),
            ("exit", appended("\ntest('new', () => {\n  process.exit(0);\n});\n"), "the process died in test/cart.test.js"),
            (
                "forged report",
                appended(&format!(
                    "{NEW}\nrequire('node:fs').appendFileSync('/run/report/node.jsonl', '{{\"id\":\"x\",\"outcome\":\"passed\"}}\\n');\n"
                )),
                "lines that the harness did not write",
            ),
            (
                "snapshots rewritten by the command",
                owned(&[
                    ("package.json", r#"{"scripts":{"test":"jest -u"}}"#),
                    (CODE, "exports.total = (price, discount) => (price === 7 ? 6 : Math.max(price - discount, 0));\n"),
                    (TEST, &tests),
                ]),
                "cart > label",
            ),
        ])
        .await;
}

#[tokio::test]
async fn vitest_is_believed_when_it_is_honest() {
    let modules = node_modules().await;
    let toml = with_modules(&modules, "./node_modules/.bin/vitest");
    let code = TOTAL.replace("exports.total =", "export const total =");
    let fixed = FIXED.replace("exports.total =", "export const total =");
    let head = "import { describe, expect, test } from 'vitest';\nimport { total } from '../src/cart.js';";
    let old = TESTS.replace("const { total } = require('../src/cart');", head);
    let snap =
        "// Vitest Snapshot v1, https://vitest.dev/guide/snapshot.html\n\nexports[`cart > label 1`] = `\"5 EUR\"`;\n";
    let files = [
        ("package.json", r#"{"type":"module"}"#),
        ("ticketwright.toml", &toml),
        (CODE, &code),
        (TEST, &old),
        (SNAPSHOT, snap),
    ];
    let bench = bench_with(&files, &[modules]).await;
    let tests = format!("{old}{NEW}");

    let proof = proof_of(&bench, &owned(&[(CODE, &fixed), (TEST, &tests)]), None).await.unwrap();
    assert_eq!(proof.new_tests.len(), 1);
    assert_eq!(proof.new_tests[0].id, "test/cart.test.js::never below zero");
    assert_eq!(proof.new_tests[0].red, "AssertionError: expected -500 to be +0 // Object.is equality");
    assert_eq!((proof.suite.passed, proof.suite.failed, proof.suite.skipped), (3, 0, 0));

    // A function that the change adds may be what is missing.
    let clamp = format!("{code}export function clamp(price) {{\n  return Math.max(price, 3);\n}}\n");
    let test = "import { expect, it } from 'vitest';\nimport { clamp } from '../src/cart.js';\n\
        it('clamps', () => { expect(clamp(1)).toBe(3); });\n";
    let proof = proof_of(&bench, &owned(&[(CODE, &clamp), ("test/clamp.test.js", test)]), None).await.unwrap();
    assert!(proof.new_tests[0].red.ends_with("clamp) is not a function"), "{:?}", proof.new_tests);

    let change = |tests: &str| owned(&[(CODE, &fixed), (TEST, tests)]);
    all_refused(&bench, &[
            ("only", change(&tests.replace("test('never", "test.only('never")), "Unexpected .only"),
            ("fails", change(&tests.replace("test('plain'", "test.fails('plain'")), "::plain"),
            (
                "swallowed",
                change(&format!("{old}\ntest('new', () => {{\n  try {{\n    expect(total(1, 6)).toBe(0);\n  }} catch {{}}\n}});\n")),
                "passes on the base already",
            ),
            ("exit", change(&tests.replace("expect(total(100, 600)).toBe(0);", "process.exit(0);")), "process.exit"),
            (
                "retried",
                change(&format!(
                    "{old}\nlet tries = 0;\ntest('new', {{ retry: 3 }}, () => {{\n  tries += 1;\n  expect(total(100, 600) + tries).toBe(2);\n}});\n"
                )),
                "it passed only when it was run again, at try 2",
            ),
        ])
        .await;
}

/// What a test itself throws is its word, as an assertion is; what the code under test throws is none, in whichever runner.
#[tokio::test]
async fn an_error_that_the_test_itself_throws_is_an_assertion() {
    let modules = node_modules().await;
    let strict = "\nexports.strict = (price, discount) => {\n  if (price < discount) throw new Error('below zero');\n  return 0;\n};\n";
    let mended = strict.replace("if (price < discount) throw new Error('below zero');\n  ", "");
    let old = "test('plain', () => {\n  if (total(100, 0) !== 100) throw new Error('not plain');\n});\n";
    let new = "\ntest('own', () => {\n  const got = total(100, 600);\n  if (got !== 0) throw new Error(`got ${got}, want 0`);\n});\n\
        test('theirs', () => {\n  strict(100, 600);\n});\n";
    let required = "const { total, strict } = require('../src/cart');\n";
    let imported = "import { test } from 'vitest';\nimport { strict, total } from '../src/cart.js';\n".to_owned();
    for (command, package, head) in [
        ("npm test --silent", r#"{"scripts":{"test":"jest"}}"#, required.to_owned()),
        ("./node_modules/.bin/vitest", r#"{"type":"module"}"#, imported),
        ("./node_modules/.bin/mocha test/cart.test.js", "{}", format!("const test = it;\n{required}")),
        ("node --test test/", "{}", format!("const test = require('node:test');\n{required}")),
    ] {
        let toml = with_modules(&modules, command);
        let script = |code: &str| match package.contains("module") {
            true => code
                .replace("exports.total =", "export const total =")
                .replace("exports.strict =", "export const strict ="),
            false => code.to_owned(),
        };
        let (code, tests) = (script(&format!("{TOTAL}{strict}")), format!("{head}{old}"));
        let files = [("package.json", package), ("ticketwright.toml", &toml), (CODE, &code), (TEST, &tests)];
        let bench = bench_with(&files, std::slice::from_ref(&modules)).await;
        let fixed = script(&format!("{FIXED}{mended}"));
        let refusal = proof_of(&bench, &owned(&[(CODE, &fixed), (TEST, &format!("{tests}{new}"))]), None).await;
        let reason = refusal.unwrap_err();
        assert!(
            reason.contains("::theirs fails on the base with `Error: below zero`, which is no"),
            "{command}: {reason}"
        );
        assert!(!reason.contains("::own"), "{command}: {reason}");
    }
}

#[tokio::test]
async fn node_and_mocha_are_believed_when_they_are_honest() {
    let modules = node_modules().await;
    let head = "const test = require('node:test');\nconst assert = require('node:assert');\n\
        const { total } = require('../src/cart');";
    let old = format!(
        "{head}\n\ntest('plain', () => {{\n  assert.strictEqual(total(100, 0), 100);\n}});\n\
         test.describe('cart', () => {{\n  test('discount', () => {{\n    assert.strictEqual(total(7, 2), 5);\n  }});\n}});\n"
    );
    let new = "\ntest('never below zero', () => {\n  assert.strictEqual(total(100, 600), 0);\n});\n";
    let files = [
        ("ticketwright.toml", "test = \"node --test\"\n"),
        (CODE, TOTAL),
        (TEST, &old),
        ("test/helper.js", "exports.one = 1;\n"),
    ];
    let node = bench_with(&files, std::slice::from_ref(&modules)).await;
    let tests = format!("{old}{new}");
    let proof = proof_of(&node, &owned(&[(CODE, FIXED), (TEST, &tests)]), None).await.unwrap();
    assert_eq!(proof.new_tests.len(), 1);
    assert_eq!(proof.new_tests[0].id, "test/cart.test.js::never below zero");
    assert_eq!(proof.new_tests[0].red, "AssertionError: Expected values to be strictly equal: -500 !== 0");
    assert_eq!((proof.suite.passed, proof.suite.failed, proof.suite.skipped), (3, 0, 0));

    let change = |tests: &str| owned(&[(CODE, FIXED), (TEST, tests)]);
    let cheats = |exit: &'static str| {
        vec![
            ("deleted", change(&without_plain(&tests)), "::plain is gone"),
            ("skipped", change(&tests.replace("test('plain'", "test.skip('plain'")), "::plain is skipped"),
            (
                "constant",
                change(&format!("{old}\ntest('new', () => {{\n  assert.ok(true);\n}});\n")),
                "passes on the base already",
            ),
            ("exit", change(&tests.replace("assert.strictEqual(total(100, 600), 0)", "process.exit(0)")), exit),
        ]
    };
    all_refused(&node, &cheats("is gone")).await;
    let import = "const { x } = require('unrelated');\nconst test = require('node:test');\ntest('x', () => {});\n";
    let todo = tests.replace("test('plain', ", "test('plain', { todo: true }, ");
    all_refused(
        &node,
        &[
            ("import", owned(&[(CODE, FIXED), ("test/x.test.js", import)]), "Cannot find module 'unrelated'"),
            ("todo", change(&todo), "::plain is skipped"),
        ],
    )
    .await;

    // mocha has the same functions under other names.
    let old =
        old.replace("const test = require('node:test');", "const test = it;").replace("test.describe(", "describe(");
    let toml = with_modules(&modules, "./node_modules/.bin/mocha test/*.test.js");
    let mocha = bench_with(&[("ticketwright.toml", &toml), (CODE, TOTAL), (TEST, &old)], &[modules]).await;
    let tests = format!("{old}{new}");
    let proof = proof_of(&mocha, &owned(&[(CODE, FIXED), (TEST, &tests)]), None).await.unwrap();
    assert_eq!(proof.new_tests[0].id, "test/cart.test.js::never below zero");
    let change = |tests: &str| owned(&[(CODE, FIXED), (TEST, tests)]);
    all_refused(
        &mocha,
        &[
            ("skipped", change(&tests.replace("test('plain'", "test.skip('plain'")), "::plain is skipped"),
            (
                "exit",
                change(&tests.replace("assert.strictEqual(total(100, 600), 0)", "process.exit(0)")),
                "the process died in test/cart.test.js::never below zero",
            ),
        ],
    )
    .await;
}

const CLASS: &str = "src/main/java/p/Cart.java";
const CLASS_TEST: &str = "src/test/java/p/CartTest.java";
const TOTAL_JAVA: &str = "package p;\n\npublic class Cart {\n    public static int total(int price, int discount) {\n        \
    return price - discount;\n    }\n}\n";
const TESTS_JAVA: &str = "package p;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.*;

class CartTest {
    @Test
    void plain() {
        assertEquals(100, Cart.total(100, 0));
    }

    @Test
    void discount() {
        assertEquals(70, Cart.total(100, 30));
    }
}
";
const NEW_JAVA: &str = "
    @Test
    void neverBelowZero() {
        assertEquals(0, Cart.total(100, 600));
    }
}
";
#[tokio::test]
async fn surefire_is_believed_when_it_is_honest() {
    let repository = maven_repository(&[("pom.xml", POM), (CLASS, TOTAL_JAVA), (CLASS_TEST, TESTS_JAVA)]).await;
    let quick = "MAVEN_OPTS='-XX:TieredStopAtLevel=1 -XX:+UseSerialGC'";
    let toml = format!("test = \"{quick} mvn -q -Dmaven.repo.local={} test\"\n", repository.display());
    let files = [("pom.xml", POM), ("ticketwright.toml", &toml), (CLASS, TOTAL_JAVA), (CLASS_TEST, TESTS_JAVA)];
    let bench = bench_with(&files, &[repository]).await;
    let with = |test: &str| format!("{}{test}", TESTS_JAVA.trim_end().trim_end_matches('}').trim_end());
    let fixed = TOTAL_JAVA.replace("price - discount", "Math.max(price - discount, 0)");

    let proof = proof_of(&bench, &owned(&[(CLASS, &fixed), (CLASS_TEST, &with(NEW_JAVA))]), None).await.unwrap();
    assert_eq!(proof.new_tests.len(), 1);
    assert_eq!(proof.new_tests[0].id, "p.CartTest#neverBelowZero");
    assert_eq!(proof.new_tests[0].red, "expected: <0> but was: <-500>");
    assert_eq!((proof.suite.passed, proof.suite.failed, proof.suite.skipped), (3, 0, 0));

    let change = |tests: &str| owned(&[(CLASS, &fixed), (CLASS_TEST, tests)]);
    let tests = with(NEW_JAVA);
    let cheats = vec![
        (
            "deleted and disabled",
            change(&tests.replace("void plain", "void other").replacen("@Test", "@Disabled @Test", 2)),
            "p.CartTest#plain is gone",
        ),
        (
            "exit",
            change(&tests.replace("assertEquals(0, Cart.total(100, 600))", "System.exit(0)")),
            "ended without a report",
        ),
        (
            "swallowed",
            change(&tests.replace(
                "assertEquals(0, Cart.total(100, 600));",
                "try { assertEquals(0, Cart.total(100, 600)); } catch (Throwable t) { }",
            )),
            "passes on the base already",
        ),
    ];
    all_refused(&bench, &cheats).await;
}
