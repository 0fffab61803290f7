//! Proofs on a small unittest project: an honest change holds, the usual cheats do not.

use super::*;

const FIXED: &str = "def total(price, discount):\n    return max(price - discount, 0)\n";
const NEW_TEST: &str = "
    def test_discount_over_price(self):
        self.assertEqual(total(100, 600), 0)
";

impl Bench {
    async fn prove(&self, head: &Workspace) -> Result<workflows::contract::workspace::Proof, (String, String)> {
        let request = Prove {
            base: self.base(),
            head: head.clone(),
            command_seconds: 60,
            without_tests: None,
            removed_tests: Vec::new(),
        };
        match self.worker.prove_for(&self.claim(), request, Demand::RedToGreen).await.unwrap() {
            ProofOutcome::Proven(proof) => Ok(*proof),
            ProofOutcome::Refused { reason, log, .. } => Err((reason, self.text(&log).await)),
        }
    }

    async fn refused(&self, head: &Workspace, because: &str) {
        let reason = match self.prove(head).await {
            Ok(proof) => panic!("accepted: {proof:?}"),
            Err((reason, _)) => reason,
        };
        assert!(reason.contains(because), "{reason}");
        assert!(reason.len() <= 4096);
    }
}

#[tokio::test]
async fn a_change_that_needs_no_new_test_is_checked_all_the_same() {
    let bench = Bench::new().await;
    let check = async |head: &Workspace| {
        let request = Prove {
            base: bench.base(),
            head: head.clone(),
            command_seconds: 60,
            without_tests: None,
            removed_tests: Vec::new(),
        };
        bench.worker.prove_for(&bench.claim(), request, Demand::Green).await.unwrap()
    };
    let refused = async |head: &Workspace| match check(head).await {
        ProofOutcome::Refused { reason, .. } => reason,
        ProofOutcome::Proven(proof) => panic!("accepted: {proof:?}"),
    };
    let renamed = "def total(gross, discount):\n    return gross - discount\n";
    let head = bench.write(&bench.base(), "shop/pricing.py", renamed).await;
    let ProofOutcome::Proven(proof) = check(&head).await else { panic!("a green suite is enough") };
    assert_eq!((proof.new_tests.len(), proof.suite.passed), (0, 2));

    // A test of what is so already is green on both sides; one that is red on the base is named.
    let again = "\n    def test_again(self):\n        self.assertEqual(total(100, 20), 80)\n";
    let head = bench.write(&bench.base(), "tests/test_pricing.py", &format!("{TESTS}{again}")).await;
    let ProofOutcome::Proven(proof) = check(&head).await else { panic!("more tests are welcome") };
    assert_eq!((proof.new_tests.len(), proof.suite.passed), (0, 3));
    let head = bench.write(&head, "shop/pricing.py", FIXED).await;
    let head = bench.write(&head, "tests/test_pricing.py", &format!("{TESTS}{again}{NEW_TEST}")).await;
    let ProofOutcome::Proven(proof) = check(&head).await else { panic!("red to green is fine too") };
    assert_eq!((proof.new_tests.len(), proof.suite.passed), (1, 4));

    let broken = bench.write(&bench.base(), "shop/pricing.py", "def total(price, discount):\n    return 0\n").await;
    assert!(refused(&broken).await.contains("passed on the base"));
    let weaker = TESTS.replace("total(100, 30), 70", "total(100, 30), total(100, 30)");
    let weaker = bench.write(&broken, "tests/test_pricing.py", &weaker.replace("total(100, 0), 100", "0, 0")).await;
    assert!(refused(&weaker).await.contains("demand"));
    let gone = TESTS.split("    def test_discount").next().unwrap();
    let gone = bench.write(&bench.base(), "tests/test_pricing.py", gone).await;
    assert!(refused(&gone).await.contains("no longer"));
}

#[tokio::test]
async fn a_change_that_somebody_asked_for_needs_no_suite() {
    let check = async |bench: &Bench, path: &str, content: &str| {
        let head = bench.write(&bench.base(), path, content).await;
        let request =
            Prove { base: bench.base(), head, command_seconds: 60, without_tests: None, removed_tests: Vec::new() };
        match bench.worker.prove_for(&bench.claim(), request, Demand::Green).await.unwrap() {
            ProofOutcome::Proven(proof) => Ok(proof.evidence.look_at),
            ProofOutcome::Refused { reason, .. } => Err(reason),
        }
    };
    let bench = Bench::with(&[("README.md", "Prizes\n"), ("shop/pricing.py", PRICING)]).await;
    assert_eq!(check(&bench, "README.md", "Prices\n").await.unwrap(), Vec::<String>::new());
    let told = check(&bench, "shop/pricing.py", FIXED).await.unwrap();
    assert!(told[0].starts_with("nothing was run: I found no test command"), "{told:?}");
    assert!(check(&bench, "conftest.py", "x = 1\n").await.unwrap_err().contains("no test command"));

    let dies = TESTS.replace("self.assertEqual(total(100, 0), 100)", "import os; os._exit(0)");
    let bench =
        Bench::with(&[("README.md", "Prizes\n"), ("shop/pricing.py", PRICING), ("tests/test_pricing.py", &dies)]).await;
    assert!(check(&bench, "README.md", "Prices\n").await.unwrap()[0].contains("neither before nor after"));
    let told = check(&bench, "shop/pricing.py", FIXED).await.unwrap();
    assert!(told[0].starts_with("nothing was run: "), "{told:?}");
    let weaker = dies.replace("total(100, 30), 70", "1, 1");
    assert!(check(&bench, "tests/test_pricing.py", &weaker).await.is_err());
}

#[tokio::test]
async fn names_that_are_no_text_are_no_way_around_a_proof() {
    let bench = Bench::new().await;
    let make = async |command: &str| {
        let head = bench.write(&bench.base(), "shop/pricing.py", FIXED).await;
        let head = bench.write(&head, "tests/test_pricing.py", &format!("{TESTS}{NEW_TEST}")).await;
        bench.call(&head, "run_command", json!({"command": command})).await.0
    };
    for command in [
        "printf 'x = 1\\n' > \"$(printf 'shop/a\\357\\277\\275.py')\"",
        "printf 'x = 1\\n' > \"$(printf 'shop/a\\377.py')\"",
        "ln -s /etc \"$(printf 'docs\\377.md')\"",
    ] {
        bench.refused(&make(command).await, "its name is not plain text").await;
    }
    let proof = bench.prove(&make("printf 'Notes\\n' > \"$(printf 'notes\\377.md')\"").await).await.unwrap();
    assert!(proof.evidence.look_at[0].contains("name that is not plain text"), "{:?}", proof.evidence);
}

#[tokio::test]
async fn an_honest_change_is_proven() {
    let bench = Bench::new().await;
    let head = bench.write(&bench.base(), "shop/pricing.py", FIXED).await;
    let head = bench.write(&head, "tests/test_pricing.py", &format!("{TESTS}{NEW_TEST}")).await;
    let proof = bench.prove(&head).await.unwrap();
    assert_eq!(proof.base, bench.base().base);
    assert_eq!(proof.new_tests.len(), 1);
    assert!(proof.new_tests[0].id.ends_with("test_pricing.Pricing.test_discount_over_price"), "{:?}", proof.new_tests);
    assert_eq!(proof.new_tests[0].red, "AssertionError: -500 != 0");
    assert_eq!((proof.suite.passed, proof.suite.failed, proof.suite.skipped), (3, 0, 0));
    assert!(proof.command.starts_with("python3 -m "));
    let log = bench.text(&proof.log).await;
    for run in ["on base:", "on head:", "on base with your tests:", "on your change with the old tests:"] {
        assert!(log.contains(run), "{run}: {log}");
    }
    swept(&bench.worker.settings.work(), &[]);
}

#[tokio::test]
async fn a_symbol_that_the_change_adds_may_be_what_is_missing() {
    let bench = Bench::new().await;
    let head = bench.write(&bench.base(), "shop/tax.py", "def tax(price):\n    return price * 7 // 100\n").await;
    let test = "import unittest\n\nfrom shop.tax import tax\n\n\nclass Tax(unittest.TestCase):\n    def test_seven(self):\n        self.assertEqual(tax(100), 7)\n";
    let head = bench.write(&head, "tests/test_tax.py", test).await;
    let proof = bench.prove(&head).await.unwrap();
    assert_eq!(proof.new_tests[0].red, "ModuleNotFoundError: No module named 'shop.tax'");

    // A module that is missing everywhere but in the tests' own folder is no proof.
    let helper = bench.write(&bench.base(), "shop/pricing.py", FIXED).await;
    let test = "import unittest\n\ntry:\n    import shop.pricing as p\n    p.floor\nexcept AttributeError:\n    import unrelated_module\n\n\nclass T(unittest.TestCase):\n    def test_x(self):\n        self.assertTrue(True)\n";
    let fixed = format!("{FIXED}\n\nif True:\n    globals()['floor'] = 0\n");
    let helper = bench.write(&helper, "shop/pricing.py", &fixed).await;
    let helper = bench.write(&helper, "tests/test_helper.py", test).await;
    bench.refused(&helper, "but your change does not add unrelated_module").await;
}

#[tokio::test]
async fn a_changed_demand_counts_when_the_base_fails_it() {
    let bench = Bench::new().await;
    let head = bench
        .write(&bench.base(), "shop/pricing.py", "def total(price, discount):\n    return price - discount - 1\n")
        .await;
    let tests = TESTS.replace("100, 0), 100", "100, 0), 99").replace("70)", "69)");
    let head = bench.write(&head, "tests/test_pricing.py", &tests).await;
    let proof = bench.prove(&head).await.unwrap();
    assert_eq!(proof.new_tests.len(), 2);

    let weak = TESTS.replace("100, 0), 100", "100, 0), total(100, 0)");
    let cheat = bench.write(&head, "tests/test_pricing.py", &weak.replace("70)", "69)")).await;
    bench.refused(&cheat, "You changed 1 old test so that it demands less").await;
}

#[tokio::test]
async fn changes_that_prove_nothing_are_refused_with_what_to_do() {
    let bench = Bench::new().await;
    let fixed = bench.write(&bench.base(), "shop/pricing.py", FIXED).await;
    bench.refused(&fixed, "No test file was added or changed").await;

    let with = |test: &str| format!("{TESTS}{test}");
    let always = bench
        .write(&fixed, "tests/test_pricing.py", &with("\n    def test_new(self):\n        self.assertTrue(True)\n"))
        .await;
    bench.refused(&always, "test_new passes on the base already").await;

    let comment = bench.write(&fixed, "tests/test_pricing.py", &with("\n# more\n")).await;
    bench.refused(&comment, "There is no new test").await;

    let error = bench
        .write(
            &fixed,
            "tests/test_pricing.py",
            &with("\n    def test_new(self):\n        if total(1, 2) < 0:\n            raise KeyError('x')\n"),
        )
        .await;
    bench.refused(&error, "fails on the base with `KeyError: 'x'`, which is no assertion").await;

    let skipped = bench
        .write(
            &fixed,
            "tests/test_pricing.py",
            &with("\n    @unittest.skip('later')\n    def test_new(self):\n        self.assertEqual(total(1, 2), 0)\n"),
        )
        .await;
    bench.refused(&skipped, "test_new is skipped").await;

    let unfixed = bench.write(&bench.base(), "tests/test_pricing.py", &with(NEW_TEST)).await;
    bench.refused(&unfixed, "AssertionError: -500 != 0").await;
}

#[tokio::test]
async fn old_tests_must_stay() {
    let bench = Bench::new().await;
    let fixed = bench.write(&bench.base(), "shop/pricing.py", FIXED).await;
    let tests = format!("{TESTS}{NEW_TEST}");
    for (cheat, because) in [
        (
            tests.replace("def test_plain", "def test_renamed").replace("100, 0), 100", "100, 0), 50 + 50"),
            "test_plain is gone",
        ),
        (
            tests.replace("    def test_plain", "    @unittest.skip('slow')\n    def test_plain"),
            "test_plain is skipped",
        ),
        (tests.replace("    def test_plain", "    @unittest.expectedFailure\n    def test_plain"), "test_plain"),
        (tests.replace("from shop", "import os\nos._exit(0)\nfrom shop"), "without a report"),
        (
            tests.replace("class Pricing", "raise SystemExit(0)\n\n\nclass Pricing"),
            "cannot be loaded with your change, so its tests did not run: SystemExit: 0",
        ),
        (format!("{tests}\n    def test_zz(self):\n        import os\n        os._exit(0)\n"), "the process died in"),
    ] {
        let head = bench.write(&fixed, "tests/test_pricing.py", &cheat).await;
        bench.refused(&head, because).await;
    }
    let (deleted, _) = bench
        .call(
            &fixed,
            "run_command",
            json!({"command": "rm tests/test_pricing.py; printf 'import unittest\\n' > tests/test_new.py"}),
        )
        .await;
    bench.refused(&deleted, "is gone").await;
    let broken = bench.write(&fixed, "shop/pricing.py", "def total(price, discount)\n").await;
    let broken = bench.write(&broken, "tests/test_pricing.py", &tests).await;
    bench.refused(&broken, "cannot be loaded with your change").await;
}

#[tokio::test]
async fn the_judges_command_cannot_be_changed_by_the_change() {
    let bench = Bench::with(&[("README.md", "no tests yet\n"), ("shop/pricing.py", PRICING)]).await;
    let own =
        bench.write(&bench.base(), "ticketwright.toml", "test = \"python3 -m unittest discover -s tests\"\n").await;
    let own = bench.write(&own, "tests/test_a.py", TESTS).await;
    bench.refused(&own, "I found no test command").await;

    // Without settings of its own, the first tests of a repository are found by their names.
    let head = bench.write(&bench.base(), "shop/pricing.py", FIXED).await;
    let first = "import unittest\n\nfrom shop.pricing import total\n\n\nclass Pricing(unittest.TestCase):\n";
    let head = bench.write(&head, "tests/test_pricing.py", &format!("{first}{NEW_TEST}")).await;
    let proof = bench.prove(&head).await.unwrap();
    assert_eq!(proof.new_tests[0].red, "AssertionError: -500 != 0");

    let bench = Bench::with(&[("ticketwright.toml", "test = \"make check\"\n")]).await;
    let head = bench.write(&bench.base(), "tests/test_a.py", TESTS).await;
    bench.refused(&head, "`make check` does not tell me about single tests").await;
}

#[tokio::test]
async fn what_no_agent_can_mend_is_told_apart() {
    const TEST: &str = "tests/test_pricing.py";
    let refused = async |base: &[(&str, &str)], change: &[(&str, &str)], seconds: u64| {
        let bench = Bench::with(base).await;
        let mut head = bench.base();
        for (path, content) in change {
            head = bench.write(&head, path, content).await;
        }
        let request = Prove {
            base: bench.base(),
            head,
            command_seconds: seconds,
            without_tests: None,
            removed_tests: Vec::new(),
        };
        match bench.worker.prove_for(&bench.claim(), request, Demand::RedToGreen).await.unwrap() {
            ProofOutcome::Proven(proof) => panic!("accepted: {proof:?}"),
            ProofOutcome::Refused { reason, log, unmendable } => (reason, bench.text(&log).await, unmendable),
        }
    };
    let code = ("shop/pricing.py", PRICING);
    let more = format!("{TESTS}{NEW_TEST}");
    let change = [("shop/pricing.py", FIXED), (TEST, &*more)];

    let (reason, _, unmendable) = refused(&[code, (TEST, TESTS)], &change[1..], 60).await;
    assert!(!unmendable, "the agent has not mended the code: {reason}");

    // The suite does not run on the base, where nothing of the change is.
    let dies = format!("{TESTS}\n    def test_zz(self):\n        import os\n        os._exit(3)\n");
    let (reason, log, unmendable) = refused(&[code, (TEST, &dies)], &change, 60).await;
    assert!(unmendable && reason.contains("on the base, without your change"), "{reason}");
    assert!(log.contains("on base once more:") && log.contains("== 2 runs"), "{log}");

    // The rules that people have approved name no suite, or one whose runner is not there.
    for (command, why) in [("make check", "does not tell me"), ("/nowhere/python3 -m pytest", "did not run to its end")]
    {
        let settings = format!("test = \"{command}\"\n");
        let base = [code, (TEST, TESTS), ("ticketwright.toml", &*settings)];
        let (reason, _, unmendable) = refused(&base, &change, 60).await;
        assert!(unmendable && reason.contains(why), "{command}: {reason}");
    }

    // On a base without any test the command is the change's own, so that the agent can mend it.
    let base = [("package.json", r#"{"scripts": {"test": "no-such-runner # no test specified"}}"#)];
    let misspelt = r#"{"scripts": {"test": "no-such-runner"}}"#;
    let change_of_its_own = [("package.json", misspelt), ("test/cart.test.js", "test('a', () => {});\n")];
    let (reason, _, unmendable) = refused(&base, &change_of_its_own, 60).await;
    assert!(!unmendable && reason.contains("with your change"), "{reason}");

    // A suite that takes too long: on the base nobody can mend it here.
    let slow = format!("import time\ntime.sleep(20)\n{TESTS}");
    let (reason, _, unmendable) = refused(&[code, (TEST, &slow)], &change, 3).await;
    assert!(
        unmendable && reason.starts_with("The suite takes more than 3 s on the base, without your change"),
        "{reason}"
    );
    assert!(reason.contains("a faster command into `test` of ticketwright.toml"), "{reason}");
    let waits = format!(
        "{TESTS}\n    def test_new(self):\n        while total(100, 600) < 0:\n            pass\n        self.assertEqual(total(100, 600), 0)\n"
    );
    let (reason, _, unmendable) = refused(&[code, (TEST, TESTS)], &[change[0], (TEST, &*waits)], 5).await;
    assert!(!unmendable && reason.starts_with("The suite takes more than 5 s on the base with your tests"), "{reason}");
    assert!(reason.contains("in test_pricing.Pricing.test_new"), "{reason}");
}
