//! The table of cheats: for each language and runner an honest change that is proven, and each way to fake one that is refused.
//! A language that misses one does not compile.

use super::proving::{
    Change, POM, all_refused, bench_with, cargo, go, maven_repository, node_modules, proof_of, pytest_bench, toolchain,
    with_modules,
};
use super::*;

/// A change, and what its refusal says.
type Refused = (Change<'static>, &'static str);

/// What may not be proven.
struct Cheats {
    deleted_test: Refused,
    skip_mark: Refused,
    assert_true: Refused,
    swallowed_exception: Refused,
    snapshot_overwritten: Refused,
    unrelated_import: Refused,
    excluded_by_settings: Refused,
}

async fn hold(bench: &Bench, honest: Change<'static>, cheats: Cheats) {
    let proof = proof_of(bench, &honest, None).await.unwrap();
    assert_eq!((proof.new_tests.len(), proof.suite.failed, proof.suite.skipped), (1, 0, 0), "{proof:?}");
    assert!(proof.evidence.canaries && proof.evidence.undone > 0, "{:?}", proof.evidence);
    assert_eq!(proof.evidence.flipped, 1, "{:?}", proof.evidence);
    let Cheats {
        deleted_test,
        skip_mark,
        assert_true,
        swallowed_exception,
        snapshot_overwritten,
        unrelated_import,
        excluded_by_settings,
    } = cheats;
    let named = [
        ("deleted test", deleted_test),
        ("skip mark", skip_mark),
        ("assert true", assert_true),
        ("swallowed exception", swallowed_exception),
        ("snapshot overwritten", snapshot_overwritten),
        ("unrelated import", unrelated_import),
        ("excluded by settings", excluded_by_settings),
    ];
    let named: Vec<_> = named.into_iter().map(|(name, (change, because))| (name, change, because)).collect();
    all_refused(bench, &named).await;
}

/// What the refusal of a changed snapshot says.
const SNAPSHOT: &str = "Only snapshots tell your change from the base";

/// `text` with one part in place of another, which is there.
fn swap(text: &str, part: &str, with: &str) -> String {
    assert!(text.contains(part), "{part} is not in {text}");
    text.replace(part, with)
}

#[tokio::test]
async fn python_with_pytest() {
    const CODE: &str = "shop/pricing.py";
    const TEST: &str = "tests/test_pricing.py";
    const LABEL: &str = "tests/golden/label.txt";
    let code =
        "def total(price, discount):\n    return price - discount\n\n\ndef label(price):\n    return f'{price} EUR'\n";
    let tests = "from shop.pricing import label, total


def test_plain():
    assert total(100, 0) == 100


def test_discount():
    assert total(100, 30) == 70


def test_label():
    with open('tests/golden/label.txt') as golden:
        assert label(5) == golden.read().strip()
";
    let bench = pytest_bench(&[(CODE, code), (TEST, tests), (LABEL, "5 EUR\n")]).await;
    let fixed = (CODE, swap(code, "price - discount", "max(price - discount, 0)"));
    let added = (CODE, format!("{code}\n\ndef floor():\n    return 0\n"));
    let new = "\n\ndef test_new():\n    assert total(100, 600) == 0\n";
    let of = |text: String| (TEST, text);
    let honest = || of(format!("{tests}{new}"));
    let body = |body: &str| of(format!("{tests}\n\ndef test_new():\n    from shop.pricing import floor\n{body}"));
    let discount = "def test_discount():\n    assert total(100, 30) == 70\n\n\n";
    let cheats = Cheats {
        deleted_test: (vec![fixed.clone(), of(swap(&honest().1, discount, ""))], "test_discount is gone"),
        skip_mark: (
            vec![
                fixed.clone(),
                of(format!(
                    "import pytest\n{}",
                    swap(&honest().1, "def test_plain", "@pytest.mark.skip\ndef test_plain")
                )),
            ],
            "test_plain is skipped",
        ),
        assert_true: (vec![added.clone(), body("    floor()\n    assert True\n")], "compares constants"),
        swallowed_exception: (
            vec![added.clone(), body("    try:\n        assert floor() == 5\n    except Exception:\n        pass\n")],
            "catches what the assertions before it raise",
        ),
        snapshot_overwritten: (vec![(CODE, swap(code, "EUR", "USD")), (LABEL, "5 USD\n".into())], SNAPSHOT),
        unrelated_import: (
            vec![
                added,
                of(format!(
                    "{tests}\n\ndef test_new():\n    import shop.pricing\n    if not hasattr(shop.pricing, 'floor'):\n        import unrelated\n    assert total(5, 2) == 3\n"
                )),
            ],
            "your change does not add unrelated",
        ),
        excluded_by_settings: (
            vec![
                fixed.clone(),
                honest(),
                ("pytest.ini", "[pytest]\naddopts = --deselect tests/test_pricing.py::test_plain\n".into()),
            ],
            "test_plain is gone",
        ),
    };
    hold(&bench, vec![fixed, honest()], cheats).await;
}

const JS_CODE: &str = "src/cart.js";
const JS_TEST: &str = "test/cart.test.js";
const JS_SNAP: &str = "test/__snapshots__/cart.test.js.snap";

/// What differs between runners of JavaScript.
struct Script {
    /// The code, with `total` and `label`.
    code: String,
    /// What it is followed by: a function `floor`.
    floor: &'static str,
    /// The tests `plain`, `discount` and `label`.
    tests: String,
    /// How a test says that the call `$` returns `#`.
    asserts: &'static str,
    /// An assertion that always holds.
    holds: &'static str,
    /// Where `floor` comes from, in a test.
    import: &'static str,
    /// Loads what is not there, in a test without `floor`.
    unrelated: &'static str,
    /// The snapshot, with `EUR` in it.
    snapshot: (&'static str, &'static str),
    /// Leaves the old tests out.
    settings: (&'static str, &'static str),
    /// What a test that is skipped by `.skip` is said to be.
    skipped: &'static str,
}

async fn javascript(bench: &Bench, script: &Script) {
    let Script { code, tests, .. } = script;
    let fixed = (JS_CODE, swap(code, "price - discount", "Math.max(price - discount, 0)"));
    let added = (JS_CODE, format!("{code}{}", script.floor));
    let asserts = |call: &str, value: &str| script.asserts.replace('$', call).replace('#', value);
    let of = |text: String| (JS_TEST, text);
    let new = format!("\ntest('new', () => {{\n  {}\n}});\n", asserts("total(100, 600)", "0"));
    let honest = || of(format!("{tests}{new}"));
    let body = |body: &str| of(format!("{tests}\ntest('new', async () => {{\n  {}\n  {body}\n}});\n", script.import));
    let (before, rest) = tests.split_once("test('plain'").unwrap();
    let (_, after) = rest.split_once("});\n").unwrap();
    let caught = format!("floor();\n  try {{\n    {}\n  }} catch {{}}", asserts("floor()", "5"));
    let unrelated = format!("{}\n  {}", script.unrelated, asserts("total(5, 2)", "3"));
    let cheats = Cheats {
        deleted_test: (vec![fixed.clone(), of(format!("{before}{after}{new}"))], "::plain is gone"),
        skip_mark: (vec![fixed.clone(), of(swap(&honest().1, "test('plain'", "test.skip('plain'"))], script.skipped),
        assert_true: (vec![added.clone(), body(&format!("floor();\n  {}", script.holds))], "compares constants"),
        swallowed_exception: (vec![added.clone(), body(&caught)], "catches what the assertions before it raise"),
        snapshot_overwritten: (
            vec![(JS_CODE, swap(code, "EUR", "USD")), (script.snapshot.0, swap(script.snapshot.1, "EUR", "USD"))],
            SNAPSHOT,
        ),
        unrelated_import: (
            vec![added, of(format!("{tests}\ntest('new', async () => {{\n  {unrelated}\n}});\n"))],
            "unrelated",
        ),
        excluded_by_settings: (
            vec![
                fixed.clone(),
                (script.settings.0, script.settings.1.to_owned()),
                ("test/other.test.js", format!("{}{new}", tests.split("\ntest('plain'").next().unwrap())),
            ],
            "::plain is gone",
        ),
    };
    hold(bench, vec![fixed, honest()], cheats).await;
}

const JS_TESTS: &str = "
test('plain', () => {
  expect(total(100, 0)).toBe(100);
});

test('discount', () => {
  expect(total(100, 30)).toBe(70);
});

test('label', () => {
  expect(label(5)).toMatchSnapshot();
});
";

#[tokio::test]
async fn javascript_with_jest() {
    const SNAP: &str =
        "// Jest Snapshot v1, https://jestjs.io/docs/snapshot-testing\n\nexports[`label 1`] = `\"5 EUR\"`;\n";
    let modules = node_modules().await;
    let script = Script {
        code: "exports.total = (price, discount) => price - discount;\nexports.label = (price) => `${price} EUR`;\n"
            .into(),
        floor: "exports.floor = () => 0;\n",
        tests: format!("const {{ total, label }} = require('../src/cart');\n{JS_TESTS}"),
        asserts: "expect($).toBe(#);",
        holds: "expect(true).toBe(true);",
        import: "const { floor } = require('../src/cart');",
        unrelated: "if (!require('../src/cart').floor) require('unrelated');",
        snapshot: (JS_SNAP, SNAP),
        settings: ("package.json", r#"{"scripts":{"test":"jest"},"jest":{"testPathIgnorePatterns":["cart"]}}"#),
        skipped: "::plain is skipped",
    };
    let toml = with_modules(&modules, "npm test --silent");
    let files = [
        ("package.json", r#"{"scripts":{"test":"jest"}}"#),
        ("ticketwright.toml", &toml),
        (JS_CODE, &script.code),
        (JS_TEST, &script.tests),
        (JS_SNAP, SNAP),
    ];
    javascript(&bench_with(&files, &[modules]).await, &script).await;
}

#[tokio::test]
async fn javascript_with_vitest() {
    const SNAP: &str =
        "// Vitest Snapshot v1, https://vitest.dev/guide/snapshot.html\n\nexports[`label 1`] = `\"5 EUR\"`;\n";
    let modules = node_modules().await;
    let script = Script {
        code: "export const total = (price, discount) => price - discount;\nexport const label = (price) => `${price} EUR`;\n"
            .into(),
        floor: "export const floor = () => 0;\n",
        tests: format!("import {{ expect, test }} from 'vitest';\nimport * as cart from '../src/cart.js';\nconst {{ total, label }} = cart;\n{JS_TESTS}"),
        asserts: "expect($).toBe(#);",
        holds: "expect(true).toBe(true);",
        import: "const { floor } = cart;",
        unrelated: "const name = 'unrelated';\n  if (!('floor' in cart)) await import(name);",
        snapshot: (JS_SNAP, SNAP),
        settings: (
            "vitest.config.js",
            "export default { test: { exclude: ['**/node_modules/**', 'test/cart.test.js'] } };\n",
        ),
        skipped: "::plain is skipped",
    };
    let toml = with_modules(&modules, "./node_modules/.bin/vitest");
    let files = [
        ("package.json", r#"{"type":"module"}"#),
        ("ticketwright.toml", &toml),
        (JS_CODE, &script.code),
        (JS_TEST, &script.tests),
        (JS_SNAP, SNAP),
    ];
    javascript(&bench_with(&files, &[modules]).await, &script).await;
}

#[tokio::test]
async fn javascript_with_node() {
    const LABEL: &str = "test/golden/label.txt";
    let script = Script {
        code: "exports.total = (price, discount) => price - discount;\nexports.label = (price) => `${price} EUR`;\n"
            .into(),
        floor: "exports.floor = () => 0;\n",
        tests: "const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const { total, label } = require('../src/cart');

test('plain', () => {
  assert.strictEqual(total(100, 0), 100);
});

test('discount', () => {
  assert.strictEqual(total(100, 30), 70);
});

test('label', () => {
  assert.strictEqual(label(5), fs.readFileSync('test/golden/label.txt', 'utf8').trim());
});
"
        .into(),
        asserts: "assert.strictEqual($, #);",
        holds: "assert.ok(true);",
        import: "const { floor } = require('../src/cart');",
        unrelated: "if (!require('../src/cart').floor) require('unrelated');",
        snapshot: (LABEL, "5 EUR\n"),
        settings: ("package.json", r#"{"scripts":{"test":"node --test test/other.test.js"}}"#),
        skipped: "::plain is skipped",
    };
    let files = [
        ("package.json", r#"{"scripts":{"test":"node --test"}}"#),
        ("ticketwright.toml", "test = \"npm test --silent\"\n"),
        (JS_CODE, &script.code),
        (JS_TEST, &script.tests),
        (LABEL, "5 EUR\n"),
    ];
    javascript(&bench_with(&files, &[]).await, &script).await;
}

#[tokio::test]
async fn rust_with_cargo() {
    const CODE: &str = "src/lib.rs";
    const TEST: &str = "tests/cart.rs";
    const LABEL: &str = "tests/golden/label.txt";
    let tools = toolchain();
    let manifest = "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
    let code = "pub fn total(price: i64, discount: i64) -> i64 {\n    price - discount\n}\n\npub fn label(price: i64) -> String {\n    format!(\"{price} EUR\")\n}\n";
    let tests = "use shop::*;

#[test]
fn plain() {
    assert_eq!(total(100, 0), 100);
}

#[test]
fn discount() {
    assert_eq!(total(100, 30), 70);
}

#[test]
fn named() {
    assert_eq!(label(5), include_str!(\"golden/label.txt\").trim());
}
";
    let settings = cargo(&tools);
    let lock = "version = 3\n\n[[package]]\nname = \"shop\"\nversion = \"0.1.0\"\n";
    let files = [
        ("Cargo.toml", manifest),
        ("Cargo.lock", lock),
        (CODE, code),
        (TEST, tests),
        (LABEL, "5 EUR\n"),
        ("ticketwright.toml", &settings),
    ];
    let bench = bench_with(&files, &[tools]).await;
    let fixed = (CODE, swap(code, "price - discount", "(price - discount).max(0)"));
    let added = (CODE, format!("{code}\npub fn floor() -> i64 {{\n    0\n}}\n"));
    let test = |body: &str| format!("\n#[test]\nfn new() {{\n    {body}\n}}\n");
    let new = test("assert_eq!(total(100, 600), 0);");
    let of = |text: String| (TEST, text);
    let honest = || of(format!("{tests}{new}"));
    let body = |body: &str| of(format!("{tests}{}", test(body)));
    let plain = "#[test]\nfn plain() {\n    assert_eq!(total(100, 0), 100);\n}\n";
    let cheats = Cheats {
        deleted_test: (vec![fixed.clone(), of(swap(&honest().1, plain, ""))], "tests/cart.rs::plain is gone"),
        skip_mark: (
            vec![fixed.clone(), of(swap(&honest().1, "fn plain", "#[ignore]\nfn plain"))],
            "tests/cart.rs::plain is skipped",
        ),
        assert_true: (vec![added.clone(), body("floor();\n    assert!(true);")], "compares constants"),
        swallowed_exception: (
            vec![added.clone(), body("floor();\n    let _ = std::panic::catch_unwind(|| assert_eq!(floor(), 5));")],
            "they still pass",
        ),
        snapshot_overwritten: (vec![(CODE, swap(code, "EUR", "USD")), (LABEL, "5 USD\n".into())], SNAPSHOT),
        unrelated_import: (
            vec![
                added,
                ("generated/unrelated.rs", "pub const ONE: i64 = 1;\n".into()),
                of(format!(
                    "#[path = \"../generated/unrelated.rs\"]\nmod unrelated;\n{tests}{}",
                    test("assert_eq!(total(5, 2), unrelated::ONE + 2);")
                )),
            ],
            "did not run on the base",
        ),
        excluded_by_settings: (
            vec![
                fixed.clone(),
                ("Cargo.toml", format!("{manifest}\n[[test]]\nname = \"cart\"\ntest = false\n")),
                ("tests/other.rs", format!("use shop::*;\n{new}")),
            ],
            "tests/cart.rs::plain is gone",
        ),
    };
    hold(&bench, vec![fixed, honest()], cheats).await;
}

#[tokio::test]
async fn go_with_its_own_runner() {
    const CODE: &str = "cart/cart.go";
    const TEST: &str = "cart/cart_test.go";
    const LABEL: &str = "cart/testdata/label.golden";
    let code = "package cart\n\nimport \"strconv\"\n\nfunc Total(price, discount int) int {\n\treturn price - discount\n}\n\nfunc Label(price int) string {\n\treturn strconv.Itoa(price) + \" EUR\"\n}\n";
    let test = |name: &str, body: &str| format!("\nfunc Test{name}(t *testing.T) {{\n{body}}}\n");
    let asserts = |call: &str, value: &str| {
        format!("\tif got := {call}; got != {value} {{\n\t\tt.Errorf(\"got %v\", got)\n\t}}\n")
    };
    let (plain, discount) =
        (test("Plain", &asserts("Total(100, 0)", "100")), test("Discount", &asserts("Total(100, 30)", "70")));
    let label = test(
        "Label",
        "\tgolden, err := os.ReadFile(\"testdata/label.golden\")\n\tif err != nil {\n\t\tt.Fatal(err)\n\t}\n\tif got := Label(5) + \"\\n\"; got != string(golden) {\n\t\tt.Errorf(\"got %q\", got)\n\t}\n",
    );
    let head = "package cart\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n";
    let alone = "package cart\n\nimport \"testing\"\n";
    let tests = format!("{head}{plain}{discount}{label}");
    let (cache, settings) = go().await;
    let files = [
        ("go.mod", "module example.com/shop\n\ngo 1.21\n"),
        ("ticketwright.toml", &settings),
        (CODE, code),
        (TEST, &tests),
        (LABEL, "5 EUR\n"),
    ];
    let bench = bench_with(&files, &[cache]).await;
    let fixed = (
        CODE,
        swap(
            code,
            "\treturn price - discount",
            "\tif discount > price {\n\t\treturn 0\n\t}\n\treturn price - discount",
        ),
    );
    let added = (CODE, format!("{code}\nfunc Floor() int {{\n\treturn 0\n}}\n"));
    let new = test("New", &asserts("Total(100, 600)", "0"));
    let of = |text: String| (TEST, text);
    let honest = || of(format!("{tests}{new}"));
    let body = |body: &str| of(format!("{tests}{}", test("New", body)));
    let cheats = Cheats {
        deleted_test: (vec![fixed.clone(), of(format!("{head}{discount}{label}{new}"))], "cart.TestPlain is gone"),
        skip_mark: (
            vec![
                fixed.clone(),
                of(swap(&honest().1, "TestPlain(t *testing.T) {", "TestPlain(t *testing.T) {\n\tt.Skip()")),
            ],
            "cart.TestPlain is skipped",
        ),
        assert_true: (
            vec![added.clone(), body("\tFloor()\n\tif true != true {\n\t\tt.Error(\"no\")\n\t}\n")],
            "compares constants",
        ),
        swallowed_exception: (
            vec![added.clone(), body("\tdefer func() { recover() }()\n\tif Floor() != 5 {\n\t\tpanic(\"no\")\n\t}\n")],
            "catches what the assertions before it raise",
        ),
        snapshot_overwritten: (vec![(CODE, swap(code, "EUR", "USD")), (LABEL, "5 USD\n".into())], SNAPSHOT),
        unrelated_import: (
            vec![
                added,
                (
                    "cart/new_test.go",
                    format!("package cart\n\nimport (\n\t\"testing\"\n\n\t_ \"example.com/unrelated\"\n)\n{new}"),
                ),
            ],
            "example.com/unrelated",
        ),
        excluded_by_settings: (
            vec![
                fixed.clone(),
                of(format!("//go:build never\n\n{tests}")),
                ("cart/other_test.go", format!("{alone}{new}")),
            ],
            "cart.TestPlain is gone",
        ),
    };
    hold(&bench, vec![fixed, honest()], cheats).await;
}

#[tokio::test]
async fn java_with_surefire() {
    const CODE: &str = "src/main/java/p/Cart.java";
    const TEST: &str = "src/test/java/p/CartTest.java";
    const LABEL: &str = "src/test/golden/label.txt";
    let code = "package p;\n\npublic class Cart {\n    public static int total(int price, int discount) {\n        return price - discount;\n    }\n\n    public static String label(int price) {\n        return price + \" EUR\";\n    }\n}\n";
    let test = |name: &str, body: &str| {
        format!("\n    @Test\n    void {name}() throws Exception {{\n        {body}\n    }}\n")
    };
    let head = "package p;

import static org.junit.jupiter.api.Assertions.*;

import java.nio.file.*;
import org.junit.jupiter.api.*;

class CartTest {
";
    let (plain, discount) = (
        test("plain", "assertEquals(100, Cart.total(100, 0));"),
        test("discount", "assertEquals(70, Cart.total(100, 30));"),
    );
    let label =
        test("label", "assertEquals(Files.readString(Path.of(\"src/test/golden/label.txt\")).trim(), Cart.label(5));");
    let tests = format!("{head}{plain}{discount}{label}");
    let whole = |tests: &str| format!("{tests}}}\n");
    let base_tests = whole(&tests);
    let repository = maven_repository(&[("pom.xml", POM), (CODE, code), (TEST, &base_tests), (LABEL, "5 EUR\n")]).await;
    let quick = "MAVEN_OPTS='-XX:TieredStopAtLevel=1 -XX:+UseSerialGC'";
    let toml = format!("test = \"{quick} mvn -q -Dmaven.repo.local={} test\"\n", repository.display());
    let files = [("pom.xml", POM), ("ticketwright.toml", &toml), (CODE, code), (TEST, &base_tests), (LABEL, "5 EUR\n")];
    let bench = bench_with(&files, &[repository]).await;
    let fixed = (CODE, swap(code, "price - discount", "Math.max(price - discount, 0)"));
    let added = (
        CODE,
        swap(
            code,
            "    public static String",
            "    public static int floor() {\n        return 0;\n    }\n\n    public static String",
        ),
    );
    let new = test("added", "assertEquals(0, Cart.total(100, 600));");
    let of = |tests: String| (TEST, whole(&tests));
    let honest = || of(format!("{tests}{new}"));
    let body = |body: &str| of(format!("{tests}{}", test("added", body)));
    let excludes =
        "<version>3.5.4</version><configuration><excludes><exclude>**/CartTest*</exclude></excludes></configuration>";
    let cheats = Cheats {
        deleted_test: (vec![fixed.clone(), of(format!("{head}{discount}{label}{new}"))], "p.CartTest#plain is gone"),
        skip_mark: (
            vec![fixed.clone(), (TEST, honest().1.replacen("@Test", "@Disabled @Test", 1))],
            "p.CartTest#plain is skipped",
        ),
        assert_true: (vec![added.clone(), body("Cart.floor();\n        assertTrue(true);")], "compares constants"),
        swallowed_exception: (
            vec![
                added.clone(),
                body("Cart.floor();\n        try { assertEquals(5, Cart.floor()); } catch (Throwable t) { }"),
            ],
            "catches what the assertions before it raise",
        ),
        snapshot_overwritten: (vec![(CODE, swap(code, "EUR", "USD")), (LABEL, "5 USD\n".into())], SNAPSHOT),
        unrelated_import: (
            vec![
                added,
                ("src/main/java/q/Unrelated.java", "package q;\n\npublic class Unrelated {\n}\n".into()),
                body("Class.forName(\"q.Unrelated\");\n        assertEquals(3, Cart.total(5, 2));"),
            ],
            "which is no assertion",
        ),
        excluded_by_settings: (
            vec![
                fixed.clone(),
                ("pom.xml", swap(POM, "<version>3.5.4</version>", excludes)),
                (
                    "src/test/java/p/OtherTest.java",
                    swap(&whole(&format!("{head}{new}")), "class CartTest", "class OtherTest"),
                ),
            ],
            "p.CartTest#plain is gone",
        ),
    };
    hold(&bench, vec![fixed, honest()], cheats).await;
}
