//! What stops a ticket parks it; nothing is thrown away, and a person lets it go on.

use workflows::contract::status::{ParkReason, Stage};

use crate::scene::{KEY, STAGE, Scene, play};

#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_plan_parks_and_a_late_approval_continues_it() {
    let scene = Scene::start("[policy.approval]\nexpires_after_seconds = 2").await.unwrap();
    play(&scene, late_approval(&scene).await).await;
}

async fn late_approval(scene: &Scene) -> anyhow::Result<()> {
    scene.label();
    let parked = scene.stage(Stage::Parked).await?;
    assert_eq!(parked.parked.as_ref().map(|parked| parked.reason), Some(ParkReason::PlanExpired));
    let hash = parked.plan_hash.unwrap_or_default();
    assert!(parked.commands.iter().any(|line| line.contains("--name approve")), "{:?}", parked.commands);
    scene.signal_by_cli("approve", Some(&format!(r#"{{"by":"ana","plan_hash":"{hash}"}}"#))).await?;
    let ready = scene.ready().await?;
    assert_eq!(ready.plan_version, 1, "the plan must be the one that was approved");
    scene.assert_once();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_red_check_parks_as_ci_failed_and_a_retry_goes_on() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, red_ci(&scene).await).await;
}

async fn red_ci(scene: &Scene) -> anyhow::Result<()> {
    let github = &scene.stack.world.github;
    github.set_actions_enabled(crate::scene::REPOSITORY, false)?;
    scene.label();
    scene.stage(Stage::AwaitingApproval).await?;
    scene.click("ana", "approve").await?;
    scene.stage(Stage::WatchingCi).await?;
    let head = github.pull_requests(crate::scene::REPOSITORY)[0].head_sha.clone();
    github.report_check(crate::scene::REPOSITORY, &head, "other-ci", "test", "failure", "one test fails").await?;
    let parked = scene.stage(Stage::Parked).await?;
    let why = parked.parked.unwrap();
    assert_eq!(why.reason, ParkReason::CiFailed);
    assert!(why.message.contains("test"), "{}", why.message);
    // The person does what the message asks for: mends it on the branch. The new head's checks count.
    let branch = github.pull_requests(crate::scene::REPOSITORY)[0].head_branch.clone();
    let (path, content) = ("shop/version.py", "VERSION = \"1.0.1\"\n");
    let mended = github.push_commit(crate::scene::REPOSITORY, &branch, path, content, "bo").await?;
    assert_ne!(mended, head);
    github.report_check(crate::scene::REPOSITORY, &mended, "other-ci", "test", "success", "all pass").await?;
    scene.signal_by_cli("retry", Some(r#"{"by":"you"}"#)).await?;
    scene.ready().await?;
    assert_eq!(github.pull_requests(crate::scene::REPOSITORY)[0].head_sha, mended, "the person's commit stays");
    scene.assert_once();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn work_begins_on_what_a_person_pushed_to_the_draft() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, moved_branch(&scene).await).await;
}

async fn moved_branch(scene: &Scene) -> anyhow::Result<()> {
    let github = &scene.stack.world.github;
    scene.label();
    scene.stage(Stage::AwaitingApproval).await?;
    let branch = github.pull_requests(crate::scene::REPOSITORY)[0].head_branch.clone();
    let (path, content) = ("shop/version.py", "VERSION = \"1.0.1\"\n");
    github.push_commit(crate::scene::REPOSITORY, &branch, path, content, "bo").await?;
    scene.click("ana", "approve").await?;
    scene.ready().await?;
    let kept = github.file(crate::scene::REPOSITORY, &branch, path).await;
    assert_eq!(kept.as_deref(), Some(content), "the person's commit stays");
    scene.assert_once();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_its_schema_goes_back_three_times_then_parks() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, bad_answers(&scene).await).await;
}

async fn bad_answers(scene: &Scene) -> anyhow::Result<()> {
    let script = "conversations:\n  - agent: discovery\n    turns:\n      - calls: [{tool: submit_answer, input: {wrong: 1}}]\n      - expect: does not fit\n        calls: [{tool: submit_answer, input: {repositories: 7}}]\n      - expect: does not fit\n        calls: [{tool: submit_answer, input: {}}]\n";
    scene.stack.world.bedrock.set_script(world::bedrock::Script::parse(script, std::path::Path::new("."))?);
    scene.label();
    let parked = scene.observer.wait_for_stage(KEY, Stage::Parked, STAGE).await?;
    assert_eq!(parked.parked.map(|parked| parked.reason), Some(ParkReason::InvalidAnswer));
    assert_eq!(scene.paid_turns(), 3);
    assert!(scene.stack.world.bedrock.unused_turns().is_empty());
    // There is no plan yet: an approval now would approve what nobody has seen.
    scene.signal_by_cli("approve", Some(r#"{"by":"bo"}"#)).await?;
    scene.said("bo (command line) could not approve").await?;
    scene.stack.world.bedrock.set_script(world::samples::script(KEY)?);
    scene.signal_by_cli("retry", Some(r#"{"by":"bo"}"#)).await?;
    let shown = scene.stage(Stage::AwaitingApproval).await?;
    assert_eq!(shown.approved_by, None);
    scene.click("ana", "reject").await?;
    scene.stage(Stage::Rejected).await?;
    scene.assert_once();
    Ok(())
}
