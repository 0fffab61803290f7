//! Cancel by signal and by the Web UI's native cancel, with the worker killed in the middle of the clean-up: the same end.

use workflows::contract::status::Stage;

use crate::scene::{KEY, STAGE, Scene, play};
use crate::the_flow::assert_clean;

#[tokio::test(flavor = "multi_thread")]
async fn cancel_by_signal_cleans_up_even_when_the_worker_dies_in_the_middle() {
    let mut scene = Scene::start("").await.unwrap();
    let done = cancelled(&mut scene, false).await;
    play(&scene, done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn native_cancel_cleans_up_even_when_the_worker_dies_in_the_middle() {
    let mut scene = Scene::start("").await.unwrap();
    let done = cancelled(&mut scene, true).await;
    play(&scene, done).await;
}

async fn cancelled(scene: &mut Scene, native: bool) -> anyhow::Result<()> {
    scene.label();
    scene.stage(Stage::AwaitingApproval).await?;
    scene.click("ana", "approve").await?;
    scene.stage(Stage::Executing).await?;
    if native {
        let namespace = scene.stack.namespace.clone();
        scene.cli(&["workflow", "cancel", "-n", &namespace, "-w", &format!("ticket-{KEY}")]).await?;
    } else {
        scene.signal_by_cli("cancel", Some(r#"{"by":"bo"}"#)).await?;
    }
    let effects = scene.stack.world.effects.clone();
    effects.wait_for("the PR closed", STAGE, |e| e.service == "github" && e.kind == "pull_request.closed").await?;
    scene.stack.kill_worker();
    // A second cancel must not cut the clean-up in half.
    scene.signal_by_cli("cancel", Some(r#"{"by":"bo"}"#)).await?;
    scene.stack.start_worker()?;
    let expected = if native { "Canceled" } else { "Completed" };
    scene.closed(expected).await?;
    assert_clean(scene).await;
    let told = scene.effects("jira", "comment.created");
    assert!(told.iter().any(|e| e.detail["text"].as_str().is_some_and(|t| t.contains("Cancelled"))), "{told:#?}");
    scene.assert_once();
    Ok(())
}
