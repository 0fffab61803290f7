//! Cheats against a proof, each in the real sandbox, with pytest, unittest, go test and cargo test: an honest change holds, and
//! what only looks like one is refused with the reason.

use super::proving::{
    FIXED, FUNCTIONS, NEW_FUNCTION, all_refused, bench_with, cargo, go, proof_of, pytest_bench, toolchain, with,
};
use super::*;

#[tokio::test]
async fn pytest_proves_an_honest_change_and_says_what_it_checked() {
    let bench = pytest_bench(&[]).await;
    let fixed = ("shop/pricing.py", with(FIXED, "\n\ndef shown(price):\n    return f\"{price} USD\"\n"));
    let tests = ("tests/test_pricing.py", with(FUNCTIONS, NEW_FUNCTION));
    let proof = proof_of(&bench, &[fixed.clone(), tests], None).await.unwrap();
    assert_eq!(proof.new_tests[0].id, "tests/test_pricing.py::test_discount_over_price");
    assert_eq!(proof.new_tests[0].red, "AssertionError: assert -500 == 0");
    let evidence = &proof.evidence;
    assert!(evidence.canaries && evidence.base_settings, "{evidence:?}");
    assert_eq!((evidence.flipped, evidence.undone), (1, 1));
    assert_eq!(evidence.unnoticed, ["shop/pricing.py:5"], "nobody misses what no test asks for");
    assert!(evidence.look_at.is_empty(), "{evidence:?}");
    assert_eq!((proof.count(), proof.marks.len()), (1, 1));
    assert!(bench.text(&proof.log).await.contains("== 8 runs"));

    // A test that reads the source is for a person to look at.
    let reads = "\n\ndef test_source():\n    text = open('shop/pricing.py').read()\n    assert 'max(' in text\n";
    let proof = proof_of(&bench, &[fixed, ("tests/test_pricing.py", with(FUNCTIONS, reads))], None).await.unwrap();
    assert!(proof.evidence.look_at[0].contains("reads files or the environment"), "{:?}", proof.evidence);
}

#[tokio::test]
async fn pytest_cheats_with_more_art_are_refused() {
    let bench = pytest_bench(&[]).await;
    let tests = |more: &str| ("tests/test_pricing.py", with(FUNCTIONS, more));
    let honest = tests(NEW_FUNCTION);
    let marked = ("shop/pricing.py", with(PRICING, "\n\nDONE = 1\n"));
    let floor = ("shop/pricing.py", with(FIXED, "\n\ndef floor():\n    return 0\n"));
    let rewrites = "import pytest\nimport shop.pricing\n\n\n@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtest_makereport(item, call):\n    outcome = yield\n    if hasattr(shop.pricing, 'DONE'):\n        outcome.get_result().outcome = 'passed'\n";
    all_refused(
        &bench,
        &[
            (
                "a pair",
                vec![floor.clone(), tests("\n\ndef test_new():\n    from shop.pricing import floor\n    assert (floor() == 5, 'five')\n")],
                "asserts a pair",
            ),
            (
                "swallowed elsewhere",
                vec![floor.clone(), tests("\n\ndef quietly(check):\n    try:\n        check()\n    except Exception as error:\n        print(error)\n\n\ndef test_new():\n    from shop.pricing import floor\n\n    def check():\n        assert floor() == 5\n\n    quietly(check)\n")],
                "they still pass",
            ),
            (
                "a conftest that rewrites reports",
                vec![marked.clone(), honest.clone(), ("tests/conftest.py", rewrites.into())],
                "Your new tests need your changes to tests/conftest.py",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn pytest_cheats_that_reach_into_the_runner_are_refused() {
    let bench = pytest_bench(&[]).await;
    let fixed = ("shop/pricing.py", FIXED.to_owned());
    let tests = |more: &str| ("tests/test_pricing.py", with(FUNCTIONS, more));
    let honest = tests(NEW_FUNCTION);
    let marked = ("shop/pricing.py", with(PRICING, "\n\nDONE = 1\n"));
    let floor = ("shop/pricing.py", with(FIXED, "\n\ndef floor():\n    return 0\n"));
    let of = |text: String| ("tests/test_pricing.py", text);
    let equal = "class Any:\n    def __eq__(self, other):\n        return True\n\n\ndef total(price, discount):\n    return price - discount if price >= discount else Any()\n";
    let forged = "\n\ndef test_new():\n    import os\n    from shop.pricing import DONE\n    with open(os.environ['TICKETWRIGHT_REPORT'], 'a') as report:\n        report.write('{\"id\": \"tests/test_pricing.py::test_new\", \"outcome\": \"passed\"}\\n{\"end\": 0}\\n')\n    os._exit(0)\n";
    let late = "\n\ndef test_new():\n    import atexit, os\n    atexit.register(os._exit, 0)\n    assert total(100, 600) == 0\n";
    all_refused(
        &bench,
        &[
            ("a forged report", vec![marked, tests(forged)], "report cannot be trusted"),
            ("an exit code", vec![fixed.clone(), tests(late)], "report cannot be trusted"),
            (
                "an object that equals everything",
                vec![("shop/pricing.py", equal.into()), honest.clone()],
                "they still pass",
            ),
            (
                "an exit",
                vec![
                    floor,
                    tests("\n\ndef test_new():\n    import os\n    from shop.pricing import floor\n    os._exit(0)\n"),
                ],
                "the process died in tests/test_pricing.py::test_new",
            ),
            (
                "an emptied test",
                vec![
                    fixed.clone(),
                    of(with(&FUNCTIONS.replace("assert total(100, 30) == 70", "total(100, 30)"), NEW_FUNCTION)),
                ],
                "test_discount in tests/test_pricing.py asserts nothing any more",
            ),
            (
                "a renamed test",
                vec![
                    fixed.clone(),
                    of(with(&FUNCTIONS.replace("test_discount", "test_other").replace("== 70", "<= 70"), NEW_FUNCTION)),
                ],
                "test_discount is gone",
            ),
            (
                "a weakened expectation",
                vec![
                    ("shop/pricing.py", FIXED.replace("discount, 0", "discount - 1, 0")),
                    of(with(&FUNCTIONS.replace("== 70", "<= 70").replace("== 100", "<= 100"), NEW_FUNCTION)),
                ],
                "You changed 2 old tests",
            ),
            (
                "a test of nothing in the change",
                vec![
                    ("shop/pricing.py", with(FIXED, "")),
                    ("tests/flag.txt", "on\n".into()),
                    tests(
                        "\n\ndef test_new():\n    import pathlib\n    assert pathlib.Path('tests/flag.txt').exists()\n",
                    ),
                ],
                "passes on the base already",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_test_that_hangs_is_named() {
    let bench = Bench::new().await;
    let hangs = format!("{TESTS}\n    def test_new(self):\n        while True:\n            pass\n");
    let head = bench.write(&bench.base(), "tests/test_pricing.py", &hangs).await;
    let request =
        Prove { base: bench.base(), head, command_seconds: 5, without_tests: None, removed_tests: Vec::new() };
    let outcome = bench.worker.prove_for(&bench.claim(), request, Demand::RedToGreen).await.unwrap();
    let ProofOutcome::Refused { reason, .. } = outcome else { panic!("accepted: {outcome:?}") };
    assert!(reason.contains("takes more than 5 s with your change, in test_pricing.Pricing.test_new"), "{reason}");
}

#[tokio::test]
async fn a_base_that_is_red_already_blocks_no_change() {
    let red = "\n\ndef test_old_fault():\n    assert total(1, 1) == 5\n\n\ndef test_known_fault():\n    assert total(100, 700) == 0\n";
    let bench = pytest_bench(&[("tests/test_pricing.py", &with(FUNCTIONS, red))]).await;
    let head = [
        ("shop/pricing.py", FIXED.to_owned()),
        ("tests/test_more.py", with("from shop.pricing import total\n", NEW_FUNCTION)),
    ];
    let proof = proof_of(&bench, &head, None).await.unwrap();
    let ids: Vec<_> = proof.new_tests.iter().map(|test| test.id.as_str()).collect();
    assert_eq!(ids, ["tests/test_more.py::test_discount_over_price", "tests/test_pricing.py::test_known_fault"]);
    assert_eq!(proof.suite.failed, 1);
    let note = "tests/test_pricing.py::test_old_fault was red before and after: AssertionError: assert 0 == 5";
    assert_eq!(proof.evidence.look_at, [note]);

    // A test that was red already and that the change makes green is proof enough.
    let proof = proof_of(&bench, &head[..1], None).await.unwrap();
    assert_eq!(proof.new_tests.len(), 1);
    assert_eq!((proof.evidence.flipped, proof.evidence.undone), (1, 1));
}

#[tokio::test]
async fn a_change_without_tests_is_one_of_documents_and_settings() {
    let bench = Bench::new().await;
    let because = Some("the texts of the manual are read by people only.");
    let documents = [("README.md", "Prices\n".into()), ("config/app.yaml", "a: 1\n".into())];
    let proof = proof_of(&bench, &documents, because).await.unwrap();
    assert_eq!(proof.without_tests.as_deref(), because);
    assert_eq!((proof.suite.passed, proof.new_tests.len()), (2, 0));
    for (path, content, why) in [
        (
            "shop/pricing.py",
            FIXED,
            "shop/pricing.py is code: the plan says that this task has no test because the texts of",
        ),
        ("tests/test_pricing.py", "", "tests/test_pricing.py belongs to the tests"),
        ("pytest.ini", "[pytest]\n", "pytest.ini is a setting of the tests"),
        ("ticketwright.toml", "test = \"true\"\n", "decides how changes are tested"),
        ("pyproject.toml", "[tool.pytest.ini_options]\naddopts = \"-q\"\n", "changes settings of the tests"),
        ("package.json", r#"{"scripts": {"postinstall": "node x.js"}}"#, "changes what is built, found or started"),
    ] {
        let reason = proof_of(&bench, &[(path, content.to_owned())], because).await.unwrap_err();
        assert!(reason.contains(why), "{path}: {reason}");
    }
    let bench = Bench::with(&[("notes.txt", "a\n")]).await;
    let proof = proof_of(&bench, &[("notes.txt", "b\n".into())], because).await.unwrap();
    assert_eq!(proof.command, "");
}

#[tokio::test]
async fn unittest_cheats_are_refused() {
    let bench = Bench::new().await;
    let fixed = ("shop/pricing.py", FIXED.to_owned());
    let tests = |body: &str| ("tests/test_pricing.py", format!("{TESTS}\n    def test_new(self):\n{body}"));
    let floor = ("shop/pricing.py", with(FIXED, "\n\ndef floor():\n    return 0\n"));
    let new = "        from shop.pricing import floor\n";
    let honest = "        self.assertEqual(total(100, 600), 0)\n";
    // Code under test that reaches into the runner.
    let patched = "import unittest\n\nunittest.TestCase.assertEqual = lambda *arguments: None\n\n\n";
    all_refused(
        &bench,
        &[
            ("assert true", vec![floor.clone(), tests(&format!("{new}        self.assertTrue(True)\n"))], "compares constants"),
            (
                "swallowed",
                vec![floor.clone(), tests(&format!("{new}        try:\n            self.assertEqual(floor(), 5)\n        except AssertionError:\n            pass\n"))],
                "catches what",
            ),
            ("nothing", vec![floor.clone(), tests(&format!("{new}        floor()\n"))], "asserts nothing"),
            ("exit", vec![floor.clone(), tests(&format!("{new}        import os\n        os._exit(0)\n"))], "the process died in"),
            (
                "a patched unittest",
                vec![("shop/pricing.py", format!("{patched}{PRICING}")), tests(honest)],
                "a test of the harness that fails was reported as passed",
            ),
            (
                "emptied",
                vec![fixed, ("tests/test_pricing.py", format!("{}\n    def test_new(self):\n{honest}", TESTS.replace("self.assertEqual(total(100, 30), 70)", "self.assertEqual(70, 70)")))],
                "compares nothing but constants now",
            ),
        ],
    )
    .await;
}

/// A module of Go with one package.
const GO: [(&str, &str); 3] = [
    ("go.mod", "module example.com/shop\n\ngo 1.21\n"),
    ("cart/cart.go", "package cart\n\nfunc Total(price, discount int) int {\n\treturn price - discount\n}\n"),
    (
        "cart/cart_test.go",
        "package cart\n\nimport \"testing\"\n\nfunc TestPlain(t *testing.T) {\n\tif got := Total(100, 0); got != 100 {\n\t\tt.Errorf(\"got %d, want 100\", got)\n\t}\n}\n",
    ),
];

#[tokio::test]
async fn go_proves_an_honest_change_and_refuses_cheats() {
    let (cache, settings) = go().await;
    let mut files = GO.to_vec();
    files.push(("ticketwright.toml", &settings));
    let bench = bench_with(&files, &[cache]).await;
    let fixed = (
        GO[1].0,
        GO[1]
            .1
            .replace("return price - discount", "if discount > price {\n\t\treturn 0\n\t}\n\treturn price - discount"),
    );
    let test = |body: &str| (GO[2].0, format!("{}\nfunc TestFloor(t *testing.T) {{\n{body}}}\n", GO[2].1));
    let honest = test("\tif got := Total(100, 600); got != 0 {\n\t\tt.Errorf(\"got %d, want 0\", got)\n\t}\n");
    let proof = proof_of(&bench, &[fixed.clone(), honest.clone()], None).await.unwrap();
    assert_eq!(proof.new_tests[0].id, "example.com/shop/cart.TestFloor");
    assert!(proof.new_tests[0].red.ends_with("got -500, want 0"), "{:?}", proof.new_tests);
    assert!(proof.evidence.canaries);
    assert_eq!((proof.evidence.flipped, proof.evidence.undone), (1, 1));

    let added = (GO[1].0, format!("{}\nfunc Floor() int {{\n\treturn 0\n}}\n", GO[1].1));
    let file = |name: &str, condition: &str| {
        format!(
            "package cart\n\nimport \"testing\"\n\nfunc Test{name}(t *testing.T) {{\n\tif {condition} {{\n\t\tt.Error(\"no\")\n\t}}\n}}\n"
        )
    };
    let floor = ("cart/floor_test.go", file("Floor", "Floor() != 0"));
    let main = ("cart/main_test.go", "package cart\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc TestMain(m *testing.M) {\n\tm.Run()\n\tos.Exit(0)\n}\n".to_owned());
    all_refused(
        &bench,
        &[
            ("nothing", vec![added.clone(), test("\tFloor()\n")], "TestFloor in cart/cart_test.go asserts nothing"),
            (
                "behind another's missing symbol",
                vec![added, floor, ("cart/known_test.go", file("Known", "Total(5, 2) != 3"))],
                "cart.TestKnown passes on the base already",
            ),
            ("exit code", vec![fixed, honest, main], "cannot be trusted"),
        ],
    )
    .await;
}

/// A crate.
const RUST: [(&str, &str); 4] = [
    ("Cargo.toml", "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
    ("Cargo.lock", "version = 3\n\n[[package]]\nname = \"shop\"\nversion = \"0.1.0\"\n"),
    ("src/lib.rs", "pub fn total(price: i64, discount: i64) -> i64 {\n    price - discount\n}\n"),
    ("tests/cart.rs", "use shop::total;\n\n#[test]\nfn plain() {\n    assert_eq!(total(100, 0), 100);\n}\n"),
];

#[tokio::test]
async fn cargo_proves_tests_wherever_they_stand() {
    let tools = toolchain();
    let settings = cargo(&tools);
    let mut files = RUST.to_vec();
    files.push(("ticketwright.toml", &settings));
    let bench = bench_with(&files, &[tools]).await;
    let fixed = (RUST[2].0, RUST[2].1.replace("price - discount", "(price - discount).max(0)"));
    let test = |body: &str| (RUST[3].0, format!("{}\n#[test]\nfn floor() {{\n{body}}}\n", RUST[3].1));
    let honest = test("    assert_eq!(total(100, 600), 0);\n");
    let proof = proof_of(&bench, &[fixed.clone(), honest.clone()], None).await.unwrap();
    assert_eq!(proof.new_tests[0].id, "tests/cart.rs::floor");
    assert!(proof.new_tests[0].red.contains("left: -500 right: 0"), "{:?}", proof.new_tests);
    assert!(proof.evidence.canaries);
    assert_eq!((proof.evidence.flipped, proof.evidence.undone), (1, 1));

    // Tests beside the code, as most crates have them.
    let beside = "\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn never_negative() {\n        assert_eq!(crate::total(1, 3), 0);\n    }\n}\n";
    let proof = proof_of(&bench, &[(RUST[2].0, format!("{}{beside}", fixed.1))], None).await.unwrap();
    assert_eq!(proof.new_tests[0].id, "unittests src/lib.rs::tests::never_negative");
    let evidence = &proof.evidence;
    assert_eq!((evidence.canaries, evidence.flipped, evidence.undone), (true, 1, 1), "{evidence:?}");
    let log = bench.text(&proof.log).await;
    let undone = log.split("== PATH").find(|run| run.contains("on head without src/lib.rs:2")).unwrap_or_default();
    assert!(
        undone.contains("left: -2"),
        "the part that is taken back is one of the code, and no brace of the tests: {log}"
    );

    // And in a new file that has both, with attributes between.
    let tax = "pub fn tax(price: i64) -> i64 {\n    price * 7 / 100\n}\n\n#[cfg(test)]\n#[allow(unused_imports)]\npub(crate) mod tests {\n    use super::*;\n\n    #[test]\n    fn seven() {\n        assert_eq!(tax(100), 7);\n    }\n}\n";
    let declared = (RUST[2].0, format!("{}\npub mod tax;\n", RUST[2].1));
    let proof = proof_of(&bench, &[declared.clone(), ("src/tax.rs", tax.to_owned())], None).await.unwrap();
    assert_eq!(proof.new_tests[0].id, "unittests src/lib.rs::tax::tests::seven");
    assert!(proof.new_tests[0].red.contains("`tax`"), "{:?}", proof.new_tests);
    let evidence = &proof.evidence;
    assert!(evidence.canaries && evidence.flipped == 1 && evidence.undone > 0, "{evidence:?}");

    // A file of tests that only its declaration tells.
    let checks = "#[test]\nfn floor() {\n    assert_eq!(crate::total(100, 600), 0);\n}\n";
    let declared = (fixed.0, format!("{}\n#[cfg(test)]\nmod checks;\n", fixed.1));
    let proof = proof_of(&bench, &[declared, ("src/checks.rs", checks.to_owned())], None).await.unwrap();
    assert!(proof.new_tests[0].red.contains("left: -500 right: 0"), "{:?}", proof.new_tests);

    let added = (RUST[2].0, format!("{}\npub fn floor() -> i64 {{\n    0\n}}\n", RUST[2].1));
    all_refused(
        &bench,
        &[("exit", vec![added, test("    shop::floor();\n    std::process::exit(0);\n")], "did not run to its end")],
    )
    .await;
}

#[tokio::test]
async fn tests_of_the_same_name_in_two_crates_are_two() {
    let tools = toolchain();
    let settings = cargo(&tools);
    let package = |name: &str| format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
    let code = |body: &str, tests: &str| {
        format!("pub fn one() -> i64 {{\n    {body}\n}}\n\n#[cfg(test)]\nmod tests {{\n{tests}}}\n")
    };
    let new = "    #[test]\n    fn new() {\n        assert_eq!(super::one(), 1);\n    }\n";
    let more = "    #[test]\n    fn more() {\n        assert!(super::one() > 0);\n    }\n";
    let outside = |name: &str| format!("#[test]\nfn whole() {{\n    assert_eq!({name}::one(), 1);\n}}\n");
    let (a, b) = (code("1", new), code("0 + 1", &format!("{new}{more}")));
    let lock = "version = 3\n\n[[package]]\nname = \"a\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"b\"\nversion = \"0.1.0\"\n";
    let (package_a, package_b, outside_a, outside_b) = (package("a"), package("b"), outside("a"), outside("b"));
    let files = [
        ("Cargo.toml", "[workspace]\nmembers = [\"a\", \"b\"]\nresolver = \"2\"\n"),
        ("Cargo.lock", lock),
        ("a/Cargo.toml", &package_a),
        ("b/Cargo.toml", &package_b),
        ("a/src/lib.rs", &a),
        ("b/src/lib.rs", &b),
        ("a/tests/it.rs", &outside_a),
        ("b/tests/it.rs", &outside_b),
        ("ticketwright.toml", &settings),
    ];
    let bench = bench_with(&files, &[tools]).await;

    // `more` is new in the one crate, although the other has it.
    let two = "    #[test]\n    fn more() {\n        assert_eq!(super::one(), 2);\n    }\n";
    let head = [
        ("a/src/lib.rs", code("2", &format!("{}{two}", new.replace("1)", "2)")))),
        ("a/tests/it.rs", outside_a.replace(", 1", ", 2")),
    ];
    let proof = proof_of(&bench, &head, None).await.unwrap();
    let ids: Vec<&str> = proof.new_tests.iter().map(|test| test.id.as_str()).collect();
    assert!(ids.contains(&"unittests a/src/lib.rs::tests::more") && ids.contains(&"a/tests/it.rs::whole"), "{ids:?}");
    assert!(proof.evidence.canaries && proof.evidence.undone > 0, "{:?}", proof.evidence);

    let gone = ("b/tests/it.rs", "#[test]\nfn other() {}\n".to_owned());
    let head = [&head[..], &[gone]].concat();
    all_refused(&bench, &[("deleted in one of them", head, "b/tests/it.rs::whole is gone")]).await;

    // An old test beside the code stays one, too.
    let empty = code("0 + 1 + 0", &format!("{more}{}", new.replace("assert_eq!(super::one(), 1);", "super::one();")));
    let head = vec![
        ("b/src/lib.rs", empty),
        ("b/tests/new.rs", "#[test]\nfn x() {\n    assert_eq!(b::one(), 1);\n}\n".to_owned()),
    ];
    all_refused(&bench, &[("emptied", head, "passes on the base already")]).await;
}
