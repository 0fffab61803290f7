//! The effect happened, the reply was lost: the second attempt finds it. Every kind of write, once.

use workflows::contract::status::Stage;

use crate::scene::{KEY, REPOSITORY, STAGE, Scene, play};

#[tokio::test(flavor = "multi_thread")]
async fn every_write_whose_reply_is_lost_happens_once() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, lost(&scene).await).await;
}

async fn lost(scene: &Scene) -> anyhow::Result<()> {
    let world = &scene.stack.world;
    let github = &world.github;
    github.drop_reply_after_effect("POST /repos/acme/shop-api/git/refs");
    github.drop_reply_after_effect("PUT /repos/acme/shop-api/contents/PLAN.md");
    github.drop_reply_after_effect("POST /repos/acme/shop-api/pulls");
    github.drop_reply_after_effect("POST /acme/shop-api.git/git-receive-pack");
    world.jira.drop_reply_after_effect(&format!("POST /rest/api/3/issue/{KEY}/comment"));
    world.slack.drop_reply_after_effect("chat.postMessage");
    scene.label();
    scene.stage(Stage::AwaitingApproval).await?;
    scene.click("ana", "approve").await?;
    scene.ready().await?;
    scene.assert_once();
    let commits = scene.effects("github", "commit.pushed");
    // PLAN.md, and one commit per task.
    assert_eq!(commits.len(), 3, "{commits:#?}");

    github.drop_reply_after_effect("PATCH /repos/acme/shop-api/pulls/1");
    github.drop_reply_after_effect("DELETE /repos/acme/shop-api/git/refs");
    scene.signal_by_cli("cancel", Some(r#"{"by":"bo"}"#)).await?;
    scene.observer.wait_for_stage(KEY, Stage::Cancelled, STAGE).await?;
    scene.closed("Completed").await?;
    crate::the_flow::assert_clean(scene).await;
    assert_eq!(github.pull_requests(REPOSITORY).len(), 1);
    scene.assert_once();
    Ok(())
}
