//! Old tests that an approved plan lets go: these and no others.

use workflows::contract::plan::RemovedTest;
use workflows::contract::workspace::Proof;

use super::proving::{bench_with, cargo, go, toolchain};
use super::*;

const CODE: &str =
    "def total(price, discount):\n    return price - discount\n\n\ndef coupon(price):\n    return price - 5\n";
/// The code without what its tests go with.
const LEFT: &str = PRICING;
const BOTH: &str = "import unittest

from shop.pricing import coupon, total


class Pricing(unittest.TestCase):
    def test_plain(self):
        self.assertEqual(total(100, 0), 100)

    def test_coupon(self):
        self.assertEqual(coupon(100), 95)

    def test_discount(self):
        self.assertEqual(total(100, 30), 70)
";
const COUPONS: &str = "import unittest

from shop.pricing import coupon


class Coupon(unittest.TestCase):
    def test_five(self):
        self.assertEqual(coupon(5), 0)

    def test_six(self):
        self.assertEqual(coupon(6), 1)
";
const GONE: &str = "import unittest

import shop.pricing


class Gone(unittest.TestCase):
    def test_no_coupon(self):
        self.assertNotIn('coupon', dir(shop.pricing))
";

fn named(file: &str, test: &str) -> RemovedTest {
    RemovedTest { file: file.into(), test: test.into(), reason: "Coupons are no longer sold.".into() }
}

/// The proof of a change of these files, whose plan lets these tests go. An empty content removes the file.
async fn prove(bench: &Bench, files: &[(&str, String)], removed_tests: Vec<RemovedTest>) -> Result<Proof, String> {
    let mut head = bench.base();
    for (path, content) in files {
        head = match content.is_empty() {
            true => bench.call(&head, "run_command", json!({"command": format!("rm {path}")})).await.0,
            false => bench.write(&head, path, content).await,
        };
    }
    let request = Prove { base: bench.base(), head, command_seconds: 120, without_tests: None, removed_tests };
    match bench.worker.prove_for(&bench.claim(), request, Demand::RedToGreen).await.unwrap() {
        ProofOutcome::Proven(proof) => Ok(*proof),
        ProofOutcome::Refused { reason, unmendable, .. } => {
            assert!(!unmendable, "{reason}");
            Err(reason)
        }
    }
}

#[tokio::test]
async fn tests_that_the_plan_names_may_go_and_no_others() {
    let files = [("shop/pricing.py", CODE), ("tests/test_pricing.py", BOTH), ("tests/test_coupon.py", COUPONS)];
    let bench = Bench::with(&files).await;
    let without = |test: &str| {
        let (before, rest) = BOTH.split_once(&format!("    def {test}(self):\n")).unwrap();
        let after = rest.split_once('\n').unwrap().1.trim_start_matches('\n');
        format!("{before}{after}").replace("import coupon, total", "import total")
    };
    let change = |tests: String, more: &[(&'static str, String)]| {
        let mut change = vec![
            ("shop/pricing.py", LEFT.to_owned()),
            ("tests/test_pricing.py", tests),
            ("tests/test_coupon.py", String::new()),
            ("tests/test_gone.py", GONE.to_owned()),
        ];
        change.extend(more.iter().cloned());
        change
    };
    let plan = || vec![named("tests/test_pricing.py", "test_coupon"), named("tests/test_coupon.py", "")];
    let honest = || without("test_coupon");

    let proof = prove(&bench, &change(honest(), &[]), plan()).await.unwrap();
    let counts: Vec<_> = proof.removed.iter().map(|gone| (gone.named.file.as_str(), gone.count)).collect();
    assert_eq!(counts, [("tests/test_pricing.py", 1), ("tests/test_coupon.py", 2)]);
    assert_eq!((proof.new_tests.len(), proof.suite.passed), (1, 3), "{proof:?}");
    assert_eq!(proof.removed[0].named.reason, "Coupons are no longer sold.");

    let one_more = honest().replace("    def test_plain(self):\n        self.assertEqual(total(100, 0), 100)\n\n", "");
    let weaker = honest().replace("assertEqual(total(100, 30), 70)", "assertLessEqual(total(100, 30), 70)");
    let twice = honest() + "\n    def test_discount(self):\n        self.assertLessEqual(total(100, 30), 70)\n";
    let skipped = BOTH.replace("    def test_coupon", "    @unittest.skip('no coupons')\n    def test_coupon");
    let skipped = skipped.replace("import coupon, total", "import total");
    let swapped = honest().replace("from shop.pricing import", "from shop.fake import");
    let fake = ("shop/fake.py", LEFT.to_owned());
    let lower = ("shop/pricing.py", LEFT.replace("price - discount", "price - discount - (discount > 0)"));
    for (name, change, plan, because) in [
        ("no plan", change(honest(), &[]), vec![], "is gone"),
        ("one more than named", change(one_more, &[]), plan(), "`def test_plain(self):` is missing"),
        ("the file alone", change(honest(), &[]), vec![named("tests/test_coupon.py", "")], "test_coupon is gone"),
        (
            "one test of a file",
            change(honest(), &[]),
            vec![plan()[0].clone(), named("tests/test_coupon.py", "test_five")],
            "test_six is gone",
        ),
        (
            "a folder",
            change(honest(), &[]),
            vec![named("tests", ""), named("tests/", ""), named("tests/*", "")],
            "is gone",
        ),
        (
            "all of a file that stays",
            change(honest(), &[]),
            vec![named("tests/test_pricing.py", ""), plan()[1].clone()],
            "test_coupon is gone",
        ),
        (
            "every test",
            change(honest(), &[]),
            vec![named("tests/test_pricing.py", "test_*"), plan()[1].clone()],
            "test_coupon is gone",
        ),
        ("skipped", change(skipped, &[]), plan(), "test_coupon is skipped"),
        (
            "a weaker neighbour",
            change(weaker, &[lower]),
            plan(),
            "`self.assertLessEqual(total(100, 30), 70)` is new or another",
        ),
        ("a second form of a neighbour", change(twice, &[]), plan(), "`def test_discount(self):` is new or another"),
        ("another module", change(swapped, &[fake]), plan(), "`from shop.fake import total` is new or another"),
        (
            "a helper beside it",
            change(honest().replace("\n\nclass", "\ntotal = lambda *_: 70\n\n\nclass"), &[]),
            plan(),
            "`total = lambda *_: 70` is new",
        ),
    ] {
        match prove(&bench, &change, plan).await {
            Ok(proof) => panic!("{name}: accepted: {proof:?}"),
            Err(reason) => assert!(reason.contains(because), "{name}: {reason}"),
        }
    }
}

/// In a package that is compiled, an old test of what is gone would keep all others from running.
#[tokio::test]
async fn a_test_goes_from_a_file_of_go_that_stays() {
    let test = |name: &str, call: &str, value: u32| {
        format!(
            "\nfunc Test{name}(t *testing.T) {{\n\tif got := {call}; got != {value} {{\n\t\tt.Errorf(\"got %v\", got)\n\t}}\n}}\n"
        )
    };
    let code = "package cart\n\nfunc Total(price, discount int) int {\n\treturn price - discount\n}\n\nfunc Coupon(price int) int {\n\treturn Total(price, 5)\n}\n";
    let head = "package cart\n\nimport \"testing\"\n";
    let (plain, coupon) = (test("Plain", "Total(100, 0)", 100), test("Coupon", "Coupon(100)", 95));
    let tests = format!("{head}{plain}{coupon}");
    let (cache, settings) = go().await;
    let files = [
        ("go.mod", "module example.com/shop\n\ngo 1.21\n"),
        ("ticketwright.toml", &settings),
        ("cart/cart.go", code),
        ("cart/cart_test.go", &tests),
    ];
    let bench = bench_with(&files, &[cache]).await;
    let left = code
        .split("\nfunc Coupon")
        .next()
        .unwrap()
        .replace("\treturn price - discount", "\tif discount > price {\n\t\treturn 0\n\t}\n\treturn price - discount");
    let new = format!("{head}{}", test("Over", "Total(100, 600)", 0));
    let change = [("cart/cart.go", left), ("cart/cart_test.go", format!("{head}{plain}")), ("cart/over_test.go", new)];
    let proof = prove(&bench, &change, vec![named("cart/cart_test.go", "TestCoupon")]).await.unwrap();
    assert_eq!((proof.new_tests.len(), proof.removed[0].count), (1, 1), "{proof:?}");
    let reason = prove(&bench, &change, vec![named("cart/cart_test.go", "TestPlain")]).await.unwrap_err();
    assert!(reason.contains("TestCoupon is gone"), "{reason}");
}

/// Crates have their tests beside the code, and those of a module that is gone go with its file.
#[tokio::test]
async fn tests_go_from_a_source_of_rust_that_stays_and_with_one_that_is_gone() {
    let total = "pub fn total(price: i64, discount: i64) -> i64 {\n    price - discount\n}\n";
    let gift = "\npub fn gift(price: i64) -> i64 {\n    price - 5\n}\n";
    let of_gift =
        "\n    /// Five off.\n    #[test]\n    fn gift_takes_five() {\n        assert_eq!(gift(100), 95);\n    }\n";
    let plain = "    #[test]\n    fn plain() {\n        assert_eq!(total(100, 0), 100);\n    }\n";
    let tests = |tests: &str| format!("\n#[cfg(test)]\nmod tests {{\n    use super::*;\n\n{tests}}}\n");
    let coupon = "pub fn coupon(price: i64) -> i64 {\n    price - 10\n}\n".to_owned()
        + &tests("    #[test]\n    fn takes_ten() {\n        assert_eq!(coupon(100), 90);\n    }\n");
    let tools = toolchain();
    let settings = cargo(&tools);
    let code = format!("pub mod coupon;\n\n{total}{gift}{}", tests(&format!("{plain}{of_gift}")));
    let files = [
        ("Cargo.toml", "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
        ("Cargo.lock", "version = 3\n\n[[package]]\nname = \"shop\"\nversion = \"0.1.0\"\n"),
        ("ticketwright.toml", &settings),
        ("src/lib.rs", &code),
        ("src/coupon.rs", &coupon),
    ];
    let bench = bench_with(&files, &[tools]).await;
    let fixed = total.replace("price - discount", "(price - discount).max(0)");
    let new = "#[test]\nfn floor() {\n    assert_eq!(shop::total(100, 600), 0);\n}\n";
    let change = |left: &str| {
        let code = format!("{fixed}{}", tests(left));
        [("src/lib.rs", code), ("src/coupon.rs", String::new()), ("tests/floor.rs", new.to_owned())]
    };
    let plan = || vec![named("src/lib.rs", "gift_takes_five"), named("src/coupon.rs", "")];
    let proof = prove(&bench, &change(plain), plan()).await.unwrap();
    assert_eq!(proof.removed.iter().map(|gone| gone.count).collect::<Vec<_>>(), [1, 1], "{proof:?}");

    let weaker = plain.replace("assert_eq!(total(100, 0), 100)", "assert!(total(100, 0) > 0)");
    let reason = prove(&bench, &change(&weaker), plan()).await.unwrap_err();
    assert!(reason.contains("`assert!(total(100, 0) > 0);` is new or another"), "{reason}");
    let reason = prove(&bench, &change(plain), plan()[..1].to_vec()).await.unwrap_err();
    assert!(reason.contains("takes_ten is gone"), "{reason}");
}
