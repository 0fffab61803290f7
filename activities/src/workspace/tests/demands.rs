//! Proofs against changes that only look tested, and for honest ones that touch old tests, names and settings.

use super::proving::{FIXED, FUNCTIONS, NEW_FUNCTION, all_refused, bench_with, proof_of, pytest_bench, with};
use super::*;

fn tests(more: &str) -> (&'static str, String) {
    ("tests/test_pricing.py", with(FUNCTIONS, more))
}

#[tokio::test]
async fn tests_that_meet_nothing_of_the_change_are_refused() {
    let bench = pytest_bench(&[]).await;
    let nothing = ("shop/pricing.py", with(PRICING, "\n\ndef floor():\n    pass\n"));
    let import = "\n\ndef test_new():\n    from shop.pricing import floor\n";
    let presence = FUNCTIONS
        .replace("assert total(100, 30) == 70", "import shop.pricing\n    assert hasattr(shop.pricing, 'floor')");
    let broken = with(&PRICING.replace("price - discount", "price - discount * 2"), "\n\ndef floor():\n    pass\n");
    let watches = "\n\nif 'floor() == ' + str(1) in open(__file__).read():\n    raise OSError('no')\n\n\ndef test_new():\n    from shop.pricing import floor\n    assert floor() == 0\n";
    let zero = ("shop/pricing.py", with(PRICING, "\n\ndef floor():\n    return 0\n"));
    all_refused(
        &bench,
        &[
            (
                "a word that asks",
                vec![nothing.clone(), tests(&format!("{import}    expected = floor()\n    assert True\n"))],
                "compares constants",
            ),
            (
                "no assertion",
                vec![nothing.clone(), tests(&format!("{import}    error = floor()\n"))],
                "asserts nothing",
            ),
            (
                "an old demand beside a new name",
                vec![nothing, tests(&format!("{import}    assert total(100, 30) == 70\n"))],
                "they still pass when every function that you add does nothing",
            ),
            (
                "an old test for another",
                vec![("shop/pricing.py", broken), ("tests/test_pricing.py", presence)],
                "test_discount no longer tests what it tested",
            ),
            (
                "an assertion of mere presence",
                vec![
                    ("shop/pricing.py", with(PRICING, "\n\ndef floor():\n    pass\n")),
                    tests("\n\ndef test_new():\n    import shop.pricing\n    assert hasattr(shop.pricing, 'floor')\n"),
                ],
                "they still pass when every function that you add does nothing",
            ),
            ("a file that reads itself", vec![zero, tests(watches)], "With other expectations in the new tests"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_test_of_mere_presence_beside_others_is_shown() {
    let bench = pytest_bench(&[]).await;
    let code = ("shop/pricing.py", with(FIXED, "\n\ndef floor():\n    return 0\n"));
    let asks =
        "\n\ndef test_there():\n    import shop.pricing\n    assert callable(getattr(shop.pricing, 'floor', None))\n";
    let proof = proof_of(&bench, &[code.clone(), tests(&with(NEW_FUNCTION, asks))], None).await.unwrap();
    let told = &proof.evidence.look_at;
    assert!(told.iter().any(|it| it.contains("test_there only asks whether something exists")), "{told:?}");
    let asserts = with(asks, "    assert shop.pricing.floor() == 0\n");
    let proof = proof_of(&bench, &[code, tests(&with(NEW_FUNCTION, &asserts))], None).await.unwrap();
    assert!(!proof.evidence.look_at.iter().any(|it| it.contains("exists")), "{:?}", proof.evidence);
}

#[tokio::test]
async fn old_tests_may_follow_a_name_and_are_shown() {
    let bench = pytest_bench(&[]).await;
    let renamed = |text: &str| text.replace("total(", "compute_total(").replace("import total", "import compute_total");
    let head = [("shop/pricing.py", renamed(PRICING)), ("tests/test_pricing.py", renamed(FUNCTIONS))];
    let proof = proof_of(&bench, &head, None).await.unwrap();
    assert_eq!(proof.new_tests.len(), 2);
    assert!(proof.evidence.look_at[0].contains("existed and demanded something else"), "{:?}", proof.evidence);

    // A name that the change does not take away is no reason.
    let more =
        ("shop/pricing.py", with(&PRICING.replace("- discount", "- discount - 1"), "\n\ndef floor():\n    return 0\n"));
    let weak =
        FUNCTIONS.replace("import total", "import floor, total").replace("== 70", ">= 0").replace("== 100", ">= 0");
    all_refused(
        &bench,
        &[("beside a new name", vec![more, ("tests/test_pricing.py", weak)], "You changed 2 old tests")],
    )
    .await;

    // What an old test demands may change, where all can see it.
    let other = PRICING.replace("price - discount", "price - discount - 1");
    let sharp = FUNCTIONS.replace("== 70", "== 69").replace("== 100", "== 99");
    let proof = proof_of(&bench, &[("shop/pricing.py", other), ("tests/test_pricing.py", sharp)], None).await.unwrap();
    let told = &proof.evidence.look_at;
    assert!(told.iter().any(|it| it.contains("test_discount existed") && it.contains("assert 69 == 70")), "{told:?}");
}

#[tokio::test]
async fn a_file_is_one_of_tests_when_the_runner_says_so() {
    let settings = "test = \"python3 -m unittest discover -s shop -t .\"\n";
    let files = [
        ("shop/__init__.py", ""),
        ("shop/testpricing.py", TESTS),
        ("shop/pricing.py", PRICING),
        ("ticketwright.toml", settings),
    ];
    let bench = bench_with(&files, &[]).await;
    let fixed = ("shop/pricing.py", FIXED.to_owned());
    let new = format!("{TESTS}\n    def test_new(self):\n        self.assertEqual(total(100, 600), 0)\n");
    let proof = proof_of(&bench, &[fixed, ("shop/testpricing.py", new)], None).await.unwrap();
    assert_eq!((proof.new_tests.len(), proof.evidence.flipped), (1, 1));

    let broken = ("shop/pricing.py", PRICING.replace("price - discount", "price - discount - 1"));
    let weak = TESTS.replace("70)", "total(100, 30))").replace("100, 0), 100", "100, 0), 99");
    all_refused(&bench, &[("weaker", vec![broken, ("shop/testpricing.py", weak)], "You changed 1 old test")]).await;
}

#[tokio::test]
async fn names_lines_and_settings_of_any_kind_are_no_obstacle() {
    let bench = pytest_bench(&[("pytest.ini", "[pytest]\naddopts = -x\n")]).await;
    let code = "def floor(price):\n    return max(price, 0)\n";
    let test = "import os\n\nfrom shop.caf\u{e9} import floor\n\n\ndef test_floor():\n    assert floor(-3) == 0\n    assert not os.path.exists('/run/cache')\n";
    let head = [("shop/caf\u{e9}.py", code.to_owned()), ("tests/test_floor.py", test.to_owned())];
    let proof = proof_of(&bench, &head, None).await.unwrap();
    assert_eq!((proof.evidence.canaries, proof.evidence.undone), (true, 1));

    let fixed = ("shop/pricing.py", FIXED.to_owned());
    let long = NEW_FUNCTION.replace("== 0", "== 0, 'x' * 3_000_000");
    let proof = proof_of(&bench, &[fixed.clone(), tests(&long)], None).await.unwrap();
    assert!(proof.new_tests[0].red.chars().count() <= 303, "{}", proof.new_tests[0].red.len());
    let long = "\n\nimport pytest\n\n\n@pytest.mark.parametrize('text', ['y' * 300_000])\ndef test_new(text):\n    assert total(1, len(text)) == 0\n";
    all_refused(&bench, &[("a long name", vec![fixed.clone(), tests(long)], "name its cases")]).await;

    // An honest change whose parts are each enough alone.
    let twice = "def total(price, discount):\n    price = max(price, discount)\n    rest = price - discount\n    return max(rest, 0)\n";
    let proof = proof_of(&bench, &[("shop/pricing.py", twice.to_owned()), tests(NEW_FUNCTION)], None).await.unwrap();
    assert_eq!(proof.new_tests.len(), 1);
}

#[tokio::test]
async fn tolerances_and_patterns_are_turned_beyond_what_they_allow() {
    let bench = pytest_bench(&[]).await;
    let code = "def tax(price):\n    if price < 0:\n        raise ValueError('the price is negative')\n    return price * 0.07\n";
    let test = "import unittest

import pytest

from shop.tax import tax


def test_near():
    assert tax(100_000) == pytest.approx(7000, rel=0.01)


def test_patterns():
    with pytest.raises(ValueError, match='negative|below zero') as raised:
        tax(-1)
        assert tax(1) == 3
    assert 'price' in str(raised.value)


class Tax(unittest.TestCase):
    def test_delta(self):
        self.assertAlmostEqual(tax(100_000), 7000, delta=10)

    def test_regex(self):
        with self.assertRaisesRegex(ValueError, 'below|negative'):
            tax(-1)
";
    let head = [("shop/tax.py", code.to_owned()), ("tests/test_tax.py", test.to_owned())];
    let proof = proof_of(&bench, &head, None).await.unwrap();
    assert_eq!((proof.new_tests.len(), proof.evidence.flipped), (4, 4), "{:?}", proof.evidence);
}

#[tokio::test]
async fn cases_and_places_of_old_tests_may_change_and_are_shown() {
    let cases = |cases: &str| {
        with(
            FUNCTIONS,
            &format!(
                "\n\nimport pytest\n\n\n@pytest.mark.parametrize('discount, left', [{cases}])\ndef test_cases(discount, left):\n    assert total(100, discount) == left\n"
            ),
        )
    };
    let bench = pytest_bench(&[("tests/test_pricing.py", &cases("(10, 90), (20, 80)"))]).await;
    let of = |text: String| ("tests/test_pricing.py", text);
    let less = ("shop/pricing.py", PRICING.replace("- discount", "- discount - 1"));
    let fixed = ("shop/pricing.py", FIXED.to_owned());
    let sharp = |text: String| text.replace("== 70", "== 69").replace("100, 0) == 100", "100, 0) == 99");

    // Another demand: the old cases fail, the new ones fail on the base.
    let proof = proof_of(&bench, &[less.clone(), of(sharp(cases("(10, 89), (20, 79)")))], None).await.unwrap();
    assert!(proof.new_tests.iter().any(|test| test.id.ends_with("test_cases[10-89]")), "{:?}", proof.new_tests);
    let told = &proof.evidence.look_at;
    assert!(told.iter().any(|it| it.contains("test_cases[10-90] existed and demanded something else")), "{told:?}");

    // The same tests in another file, and under another name.
    let moved = cases("(10, 90), (20, 80)").replace("def test_discount", "def test_thirty");
    let head = [
        fixed.clone(),
        ("tests/test_pricing.py", String::new()),
        ("tests/unit/test_pricing.py", with(&moved, NEW_FUNCTION)),
    ];
    let proof = proof_of(&bench, &head, None).await.unwrap();
    let ids: Vec<&str> = proof.new_tests.iter().map(|test| test.id.as_str()).collect();
    assert_eq!(ids, ["tests/unit/test_pricing.py::test_discount_over_price"]);
    let told = &proof.evidence.look_at;
    let renamed =
        "tests/test_pricing.py::test_discount is tests/unit/test_pricing.py::test_thirty now, with the same text";
    assert!(told.iter().any(|it| it == renamed), "{told:?}");

    let honest = |text: &str| of(with(text, NEW_FUNCTION));
    let stub = moved
        .replace("from shop.pricing import total", "def total(price, discount):\n    return price - max(discount, 0)");
    all_refused(
        &bench,
        &[
            (
                "a case less",
                vec![fixed.clone(), honest(&cases("(10, 90)"))],
                "test_cases[20-80] is gone",
            ),
            (
                "cases to fit",
                vec![
                    ("shop/pricing.py", FIXED.replace("price - discount", "price - discount - (discount == 10)")),
                    honest(&cases("(11, 89), (20, 80)")),
                ],
                "has lost 1 of its cases",
            ),
            (
                "moved and cut off from the code",
                vec![less, ("tests/test_pricing.py", String::new()), ("tests/unit/test_pricing.py", with(&stub, "\n\ndef test_new():\n    import shop.pricing\n    assert shop.pricing.total(100, 0) == 99\n"))],
                "is gone",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn files_that_the_settings_name_are_those_of_the_base() {
    let settings = "[pytest]\naddopts = -p tests.plugin\npythonpath = .\n";
    let bench =
        pytest_bench(&[("pytest.ini", settings), ("tests/plugin.py", "NAME = 1\n"), ("tests/__init__.py", "")]).await;
    let fixed = ("shop/pricing.py", FIXED.to_owned());
    let rewrites = "import pytest\n\nNAME = 2\n\n\n@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtest_makereport(item, call):\n    outcome = yield\n    if 'floor' in open('shop/pricing.py').read():\n        outcome.get_result().outcome = 'passed'\n";
    let marked = ("shop/pricing.py", with(PRICING, "\n\ndef floor():\n    return 0\n"));
    let absent = tests("\n\ndef test_new():\n    from shop.pricing import floor\n    assert floor() == 5\n");
    all_refused(
        &bench,
        &[(
            "a plug-in that the settings load",
            vec![marked, absent, ("tests/plugin.py", rewrites.to_owned())],
            "need your changes to tests/plugin.py",
        )],
    )
    .await;
    let head = [
        fixed,
        tests(NEW_FUNCTION),
        ("tests/helper.py", "ONE = 1\n".to_owned()),
        ("tests/plugin.py", "NAME = 3\n".to_owned()),
    ];
    let proof = proof_of(&bench, &head, None).await.unwrap();
    let told = &proof.evidence.look_at;
    assert!(told.contains(&"tests/plugin.py changes how tests are run".to_owned()), "{told:?}");
    assert!(told.contains(&"tests/helper.py holds no test and stands among them".to_owned()), "{told:?}");
}

#[tokio::test]
async fn what_fails_on_the_base_is_not_taken_away() {
    let fault = "\n\ndef test_known_fault():\n    assert total(100, 700) == 0\n\n\ndef test_other_fault():\n    assert total(1, 1) == 5\n";
    let unloadable = "from shop.absent import x\n\n\ndef test_x():\n    assert x() == 1\n";
    let bench =
        pytest_bench(&[("tests/test_pricing.py", &with(FUNCTIONS, fault)), ("tests/test_absent.py", unloadable)]).await;
    let fixed = ("shop/pricing.py", FIXED.to_owned());
    let new = fault.replace("known_fault", "more").replace("700", "600");
    let without = with(FUNCTIONS, &new);
    let skipped =
        with(FUNCTIONS, &fault.replace("def test_other", "import pytest\n\n\n@pytest.mark.skip\ndef test_other"));
    let all = || with(&with(FUNCTIONS, fault), NEW_FUNCTION);
    all_refused(
        &bench,
        &[
            ("gone", vec![fixed.clone(), ("tests/test_pricing.py", without)], "test_known_fault fails on the base"),
            (
                "skipped",
                vec![fixed.clone(), ("tests/test_pricing.py", with(&skipped, NEW_FUNCTION))],
                "test_other_fault fails on the base",
            ),
            (
                "a file that cannot be loaded",
                vec![fixed.clone(), ("tests/test_pricing.py", all()), ("tests/test_absent.py", String::new())],
                "tests/test_absent.py cannot be loaded on the base",
            ),
        ],
    )
    .await;
    let moved = [fixed, ("tests/test_pricing.py", all().replace("test_known_fault", "test_mended"))];
    let proof = proof_of(&bench, &moved, None).await.unwrap();
    let told = &proof.evidence.look_at;
    assert!(told.iter().any(|it| it.ends_with("test_mended now, with the same text")), "{told:?}");
}

#[tokio::test]
async fn old_tests_that_need_no_edit_demand_no_less() {
    let bench = pytest_bench(&[]).await;
    let fixed = ("shop/pricing.py", FIXED.to_owned());
    let edited = |line: &str| {
        let text = FUNCTIONS.replace("assert total(100, 30) == 70", line);
        vec![fixed.clone(), ("tests/test_pricing.py", with(&text, NEW_FUNCTION))]
    };
    let renamed = |text: &str| text.replace("total(", "compute_total(").replace("import total", "import compute_total");
    let empty = ("shop/pricing.py", "def compute_total(price, discount):\n    return 0\n".to_owned());
    let follows = renamed(FUNCTIONS).replace("== 70", "is not None").replace("== 100", "is not None");
    let stub = "def total(price, discount):\n    return max(price - discount, 0)";
    let stub = FUNCTIONS.replace("from shop.pricing import total", stub);
    let new = with("from shop.pricing import total\n", NEW_FUNCTION);
    all_refused(
        &bench,
        &[
            (
                "a bound",
                edited("assert total(100, 30) <= 70"),
                "demands less than before, and it passes with your change",
            ),
            ("anything", edited("assert total(100, 30) is not None"), "demands less than before"),
            (
                "behind a new name",
                vec![empty, ("tests/test_pricing.py", follows)],
                "demands less than before, and it only follows another name",
            ),
            (
                "moved onto a stub",
                vec![
                    fixed.clone(),
                    ("tests/test_pricing.py", String::new()),
                    ("tests/test_stub.py", stub),
                    ("tests/test_new.py", new),
                ],
                "is gone",
            ),
        ],
    )
    .await;
    for line in ["assert total(100, 30) == 70, 'thirty off'", "expected = 70\n    assert total(100, 30) == expected"] {
        let proof = proof_of(&bench, &edited(line), None).await.unwrap();
        let told = &proof.evidence.look_at;
        let shown = told.iter().find(|it| it.contains("test_discount was edited and need not be"));
        assert!(shown.is_some_and(|it| it.contains("`assert total(100, 30) == 70` -> `assert total")), "{told:?}");
    }
    let proof = proof_of(&bench, &edited("# thirty off\n    assert total(100,  30) == 70"), None).await.unwrap();
    assert!(proof.evidence.look_at.is_empty(), "{:?}", proof.evidence);
    // Another parameter, and with it another demand.
    let taxed = ("shop/pricing.py", "def total(price, discount, tax):\n    return price - discount + tax\n".to_owned());
    let sharp = FUNCTIONS.replace("30) == 70", "30, 7) == 77").replace("0) == 100", "0, 1) == 101");
    let proof = proof_of(&bench, &[taxed, ("tests/test_pricing.py", sharp)], None).await.unwrap();
    let told = &proof.evidence.look_at;
    assert!(told.iter().any(|it| it.contains("test_discount demands something else beside a name")), "{told:?}");
}

#[tokio::test]
async fn data_that_old_tests_compare_with_is_no_proof_alone() {
    let code =
        "def total(price, discount):\n    return price - discount\n\n\ndef label(price):\n    return f'{price} EUR'\n";
    let tests = "import json\n\nfrom shop.pricing import label, total\n\nCASES = [(100, 30, 70)]\n\n\ndef test_cases():\n    for price, discount, left in CASES:\n        assert total(price, discount) == left\n\n\ndef test_label():\n    with open('tests/data/expected.json') as expected:\n        assert label(5) == json.load(expected)['label']\n";
    let bench = pytest_bench(&[
        ("shop/pricing.py", code),
        ("tests/test_pricing.py", tests),
        ("tests/data/expected.json", "{\"label\": \"5 EUR\"}\n"),
    ])
    .await;
    let other = || ("shop/pricing.py", code.replace("EUR", "USD"));
    let data = || ("tests/data/expected.json", "{\"label\": \"5 USD\"}\n".to_owned());
    all_refused(&bench, &[("data", vec![other(), data()], "Only data or helpers of the tests tell")]).await;
    let new = with(tests, "\n\ndef test_new():\n    assert label(6) == '6 USD'\n");
    let proof = proof_of(&bench, &[other(), data(), ("tests/test_pricing.py", new)], None).await.unwrap();
    let told = &proof.evidence.look_at;
    assert!(told.iter().any(|it| it.ends_with("test_label compares with other data or helpers now")), "{told:?}");

    // A table beside its test is part of it.
    let less = ("shop/pricing.py", code.replace("price - discount", "price - discount - 1"));
    let table = ("tests/test_pricing.py", tests.replace("30, 70)", "30, 69)"));
    assert_eq!(proof_of(&bench, &[less, table], None).await.unwrap().new_tests.len(), 1);
}
