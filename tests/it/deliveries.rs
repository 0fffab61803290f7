//! Webhooks come twice, late and out of order: one run, one pull request. The label added again after the end: a second run.

use workflows::contract::status::Stage;

use crate::scene::{KEY, REPOSITORY, STAGE, Scene, play};
use crate::the_flow::assert_clean;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_duplicate_deliveries_are_one_run_and_a_new_label_is_a_second_one() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, duplicates(&scene).await).await;
}

async fn duplicates(scene: &Scene) -> anyhow::Result<()> {
    let jira = &scene.stack.world.jira;
    scene.label();
    scene.observer.wait_for(KEY, "the run", STAGE, |_| true).await?;
    let label = jira.sent().len() - 1;
    let storm = (0..19).map(|n| jira.redeliver(if n % 3 == 0 { 0 } else { label }));
    for delivery in futures::future::join_all(storm).await.into_iter().flatten() {
        assert!(matches!(delivery.status, 200 | 202), "{} {}", delivery.status, delivery.answer);
        assert!(!delivery.answer.contains("\"new\":true"), "{}", delivery.answer);
    }
    scene.stage(Stage::AwaitingApproval).await?;
    scene.click("ana", "reject").await?;
    scene.observer.wait_for_stage(KEY, Stage::Rejected, STAGE).await?;
    scene.closed("Completed").await?;
    // A late redelivery after the end.
    let late = jira.redeliver(label).await.unwrap();
    assert!(late.answer.contains("\"outcome\":\"dropped\""), "{}", late.answer);
    let query = "WorkflowType = 'ticket'";
    wait_for_runs(scene, query, 1).await?;
    assert_eq!(scene.stack.world.github.pull_requests(REPOSITORY).len(), 1);
    assert_clean(scene).await;
    scene.assert_once();

    // A person really labels it again.
    let first = scene.stack.world.github.pull_requests(REPOSITORY)[0].head_branch.clone();
    scene.stack.world.bedrock.set_script(world::samples::script(KEY)?);
    jira.remove_label(KEY, "AI", "ana");
    scene.label();
    scene.stage(Stage::AwaitingApproval).await?;
    wait_for_runs(scene, query, 2).await?;
    let branches = scene.stack.world.github.branches(REPOSITORY).await;
    let second = branches.iter().find(|branch| branch.starts_with("agent/")).cloned().unwrap_or_default();
    assert_ne!(second, first, "the second run must not reuse the first one's branch");
    assert_eq!(scene.stack.world.github.pull_requests(REPOSITORY).len(), 2);
    Ok(())
}

/// Visibility lags a little behind.
async fn wait_for_runs(scene: &Scene, query: &str, count: usize) -> anyhow::Result<()> {
    let limit = std::time::Instant::now();
    loop {
        let runs = scene.observer.runs(query).await?;
        if runs.len() == count {
            return Ok(());
        }
        anyhow::ensure!(limit.elapsed() < std::time::Duration::from_secs(20), "{count} runs expected: {runs:?}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_their_status_and_start_nothing() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, bad_requests(&scene).await).await;
}

async fn bad_requests(scene: &Scene) -> anyhow::Result<()> {
    let base = &scene.stack.ingress_url;
    let secret = &scene.stack.world.credentials.jira_webhook_secret;
    // A refused body closes its connection: each request has one of its own.
    let http = reqwest::Client::builder().pool_max_idle_per_host(0).build()?;
    let post = async |path: &str, signature: Option<String>, body: Vec<u8>| {
        let mut request = http.post(format!("{base}{path}")).body(body);
        if let Some(signature) = signature {
            request = request.header("x-hub-signature", signature);
        }
        request.send().await.map(|answer| answer.status().as_u16())
    };
    let sign = |body: &[u8]| Some(format!("sha256={}", world::webhook::hmac_sha256_hex(secret, body)));
    let event =
        br#"{"timestamp":1,"webhookEvent":"jira:issue_created","issue":{"key":"SHOP-9","fields":{"labels":["AI"]}}}"#;
    assert_eq!(post("/webhooks/jira", None, event.to_vec()).await?, 401);
    assert_eq!(post("/webhooks/jira", Some("sha256=00".into()), event.to_vec()).await?, 401);
    assert_eq!(post("/webhooks/jira", sign(b"other"), event.to_vec()).await?, 401);
    assert_eq!(post("/webhooks/jira", sign(b"{"), b"{".to_vec()).await?, 400);
    let irrelevant = br#"{"webhookEvent":"comment_created"}"#;
    assert_eq!(post("/webhooks/jira", sign(irrelevant), irrelevant.to_vec()).await?, 200);
    let large = vec![b' '; 26 * 1024 * 1024];
    assert_eq!(post("/webhooks/jira", sign(&large), large).await?, 413);
    assert_eq!(post("/nowhere", None, vec![]).await?, 404);
    assert_eq!(post("/slack/interactions", None, b"payload=1".to_vec()).await?, 401);
    assert_eq!(post("/webhooks/github", None, b"{}".to_vec()).await?, 401);
    assert!(scene.observer.runs("WorkflowType = 'ticket'").await?.is_empty());
    Ok(())
}
