//! A later task begins on a commit of ours. The rules stay those of the commit that people merged.

use workflows::contract::workspace::{ProofOutcome, Prove};

use super::super::judge::Demand;
use super::*;

/// A repository with settings, and a workspace on a commit of ours that changed them.
async fn lowered() -> (Bench, Workspace) {
    let bench = Bench::with(&[
        ("shop/pricing.py", PRICING),
        ("tests/test_pricing.py", TESTS),
        ("ticketwright.toml", "test = \"python3 -m unittest discover -s tests\"\n"),
    ])
    .await;
    let approved = bench.base().base;
    let seed = bench.directory.path().join("seed");
    put(&seed, "ticketwright.toml", b"test = \"python3 -m unittest shop.pricing\"\n");
    run_git(&seed, &["commit", "--quiet", "--all", "--message=Lower the bar"]);
    run_git(&seed, &["push", "--quiet", "../origin.git", "HEAD:agent"]);
    let ours: CommitSha = bench.git(&["rev-parse", "agent"]).parse().unwrap();
    (bench, Workspace::at(repository(), ours, approved))
}

#[tokio::test]
async fn tests_run_by_the_settings_that_people_merged() {
    let (bench, ours) = lowered().await;
    let (_, said) = bench.call(&ours, "run_tests", json!({})).await;
    assert!(said.unwrap().starts_with("$ python3 -m unittest discover -s tests\n"));
    let merged = Workspace::at(repository(), ours.base.clone(), ours.base.clone());
    let (_, said) = bench.call(&merged, "run_tests", json!({})).await;
    let said = said.unwrap_or_else(|said| said);
    assert!(said.starts_with("$ python3 -m unittest shop.pricing\n"), "once merged they count: {said}");
    let surveyed = bench.worker.survey_for(&bench.claim(), survey_of(ours)).await.unwrap();
    assert_eq!(surveyed.test.as_deref(), Some("python3 -m unittest discover -s tests"));
}

#[tokio::test]
async fn a_proof_runs_the_suite_that_people_merged() {
    let (bench, ours) = lowered().await;
    let tests = TESTS.replace("30), 70", "130), 0");
    let broken = bench.write(&ours, "tests/test_pricing.py", &tests).await;
    let request =
        Prove { base: ours, head: broken, command_seconds: 60, without_tests: None, removed_tests: Vec::new() };
    let outcome = bench.worker.prove_for(&bench.claim(), request, Demand::RedToGreen).await.unwrap();
    let ProofOutcome::Refused { reason, .. } = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("test_discount"), "the red test was run: {reason}");
}
