//! Fixes of red checks on a small unittest project: an honest one is fine, what asks for less is refused.

use super::*;

/// Red: one test finds a name that nobody imported, one finds a wrong sum.
const RED: &str = "import unittest

from shop.pricing import total


class Pricing(unittest.TestCase):
    def test_plain(self):
        self.assertEqual(total(100, 0), 100)

    def test_import(self):
        self.assertEqual(math.floor(total(100, 30)), 70)

    def test_logic(self):
        self.assertEqual(total(100, 600), 0)
";

#[tokio::test]
async fn a_fix_may_not_ask_for_less() {
    let bench = Bench::with(&[("shop/pricing.py", PRICING), ("tests/test_pricing.py", RED)]).await;
    let judged = async |text: &str| {
        let head = bench.write(&bench.base(), "tests/test_pricing.py", text).await;
        let request =
            Prove { base: bench.base(), head, command_seconds: 60, without_tests: None, removed_tests: Vec::new() };
        bench.worker.judge_fix_for(&bench.claim(), request).await.unwrap()
    };
    let imported = format!("import math\n{RED}");
    let honest = judged(&imported).await;
    assert_eq!(honest.refusal, None);
    assert!(bench.text(&honest.log).await.contains("on your change with the old tests:"));
    let first = RED.split("    def test_logic").next().unwrap();
    for (text, why) in [
        (imported.replace("total(100, 600), 0", "total(100, 600), -500"), "1 test fails in its old version"),
        (imported.replace("600), 0)", "600), -500)"), "AssertionError: -500 != 0"),
        (
            format!("import math\n{first}"),
            "test_logic fails on the base, and with your change it does not run any more",
        ),
        (
            imported.replace("    def test_logic", "    @unittest.skip('later')\n    def test_logic"),
            "switches a test off",
        ),
        (
            imported.replace("self.assertEqual(total(100, 0), 100)", "raise KeyError"),
            "passed on the base and no longer does",
        ),
    ] {
        let refusal = judged(&text).await.refusal.unwrap_or_default();
        assert!(refusal.contains(why), "{why}: {refusal}");
    }
    let quiet = bench.write(&bench.base(), "ruff.toml", "lint.ignore = [\"F\"]\n").await;
    let request =
        Prove { base: bench.base(), head: quiet, command_seconds: 60, without_tests: None, removed_tests: Vec::new() };
    let refusal = bench.worker.judge_fix_for(&bench.claim(), request).await.unwrap().refusal.unwrap_or_default();
    assert!(refusal.contains("ruff.toml changes what linters or type checkers ask for"), "{refusal}");
    let refusal = judged(&imported.replace("import math", "import math  # noqa")).await.refusal.unwrap_or_default();
    assert!(refusal.contains("switches a rule off: `import math  # noqa`"), "{refusal}");
    let moved = bench.write(&bench.base(), "shop/pricing.py", "def total(price, discount):\n    return 0\n").await;
    let request =
        Prove { base: bench.base(), head: moved, command_seconds: 60, without_tests: None, removed_tests: Vec::new() };
    let refusal = bench.worker.judge_fix_for(&bench.claim(), request).await.unwrap().refusal.unwrap_or_default();
    assert!(refusal.contains("test_plain fails: AssertionError: 0 != 100"), "{refusal}");
}

#[tokio::test]
async fn a_fix_without_a_suite_is_judged_by_what_it_changes() {
    let bench = Bench::with(&[("checks/test_it.sh", "exit 1\n"), ("tests/data.txt", "1\n")]).await;
    let head = bench.write(&bench.base(), "shop/a.txt", "x\n").await;
    let request =
        Prove { base: bench.base(), head, command_seconds: 60, without_tests: None, removed_tests: Vec::new() };
    assert_eq!(bench.worker.judge_fix_for(&bench.claim(), request).await.unwrap().refusal, None);
    let (head, _) = bench.call(&bench.base(), "run_command", json!({"command": "rm tests/data.txt"})).await;
    let request =
        Prove { base: bench.base(), head, command_seconds: 60, without_tests: None, removed_tests: Vec::new() };
    let refusal = bench.worker.judge_fix_for(&bench.claim(), request).await.unwrap().refusal.unwrap_or_default();
    assert!(refusal.starts_with("tests/data.txt is gone"), "{refusal}");
}
