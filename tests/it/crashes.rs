//! kill -9 in every stage: the ticket finishes after the restart, with every effect once and no finished model call repeated.

use std::time::{Duration, Instant};

use workflows::contract::status::Stage;
use world::sentry::NewError;
use world::stack::{TemporalOptions, TemporalServer};

use crate::scene::{KEY, STAGE, Scene, play};

/// The longest a ticket may stand still after a worker is back.
const RESUMES_WITHIN: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_every_stage_loses_and_doubles_nothing() {
    let mut scene = Scene::start("").await.unwrap();
    let done = killed_everywhere(&mut scene).await;
    play(&scene, done).await;
}

async fn killed_everywhere(scene: &mut Scene) -> anyhow::Result<()> {
    scene.label();
    for (service, kind, detail) in [
        ("bedrock", "turn.answered", "discovery"),
        ("bedrock", "turn.answered", "planning"),
        ("github", "pull_request.opened", ""),
    ] {
        kill_after(scene, service, kind, detail).await?;
    }
    scene.stage(Stage::AwaitingApproval).await?;
    scene.click("ana", "approve").await?;
    for (service, kind, detail) in [("bedrock", "turn.answered", "execution"), ("github", "commit.pushed", "")] {
        kill_after(scene, service, kind, detail).await?;
    }
    scene.stage(Stage::WatchingCi).await?;
    restart(scene).await?;
    scene.ready().await?;
    scene.assert_once();
    // At most one in-flight call is repeated per kill; a finished one never is.
    assert!(scene.repeated_turns() <= 6, "{} calls repeated", scene.repeated_turns());
    assert!(scene.stack.world.bedrock.unused_turns().is_empty());
    Ok(())
}

/// Kills the worker as soon as this effect is there, and starts it again.
async fn kill_after(scene: &mut Scene, service: &str, kind: &str, target: &str) -> anyhow::Result<()> {
    let what = format!("{service} {kind} {target}");
    let before = scene.stack.world.effects.all().len();
    let effects = scene.stack.world.effects.clone();
    let matches = |e: &world::effects::Effect| e.service == service && e.kind == kind && e.target.contains(target);
    effects.wait_for(&what, STAGE, matches).await?;
    let _ = before;
    restart(scene).await
}

async fn restart(scene: &mut Scene) -> anyhow::Result<()> {
    let seen = scene.stack.world.effects.all().len();
    scene.stack.kill_worker();
    scene.stack.start_worker()?;
    let back = Instant::now();
    // Work resumes: a new effect appears, or the ticket has nothing to do but wait.
    loop {
        if scene.stack.world.effects.all().len() > seen {
            return Ok(());
        }
        let status = tokio::time::timeout(Duration::from_secs(5), scene.observer.status(KEY)).await;
        if let Ok(Ok(status)) = status
            && matches!(status.stage, Stage::AwaitingApproval | Stage::WatchingCi | Stage::ReadyForReview)
        {
            return Ok(());
        }
        anyhow::ensure!(back.elapsed() < RESUMES_WITHIN * 2, "work did not resume within {:?}", RESUMES_WITHIN * 2);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_and_restarted_on_its_file_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let options = TemporalOptions { directory: directory.path().join("temporal"), port: 0, ui_port: 0 };
    let mut server = TemporalServer::start(options).await.unwrap();
    let scene = Scene::on(&server, "").await.unwrap();
    let done = server_killed(&scene, &mut server).await;
    play(&scene, done).await;
}

async fn server_killed(scene: &Scene, server: &mut TemporalServer) -> anyhow::Result<()> {
    scene.label();
    scene.stage(Stage::AwaitingApproval).await?;
    server.freeze()?;
    answered_in_time(scene).await?;
    server.kill();
    server.resume().await?;
    scene.stage(Stage::AwaitingApproval).await?;
    scene.click("ana", "approve").await?;
    let effects = scene.stack.world.effects.clone();
    effects.wait_for("a commit", STAGE, |e| e.service == "github" && e.kind == "commit.pushed").await?;
    server.kill();
    server.resume().await?;
    scene.ready().await?;
    scene.assert_once();
    Ok(())
}

/// Sentry gives up after a second, and then it counts the integration as broken: a server that hangs must not take longer.
async fn answered_in_time(scene: &Scene) -> anyhow::Result<()> {
    let world = &scene.stack.world;
    let began = Instant::now();
    world.sentry.create_issue(NewError::new("shop-api", "Hanging", "the server hangs"));
    let answer = loop {
        if let Some(delivery) = world.webhooks.log().into_iter().find(|delivery| delivery.service == "sentry") {
            break delivery;
        }
        anyhow::ensure!(began.elapsed() < RESUMES_WITHIN, "no answer to Sentry");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(answer.status, 503, "{}", answer.answer);
    assert!(answer.took < Duration::from_secs(1), "answered after {:?}", answer.took);
    Ok(())
}
