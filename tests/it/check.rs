//! `ticketwright check` against the world: one line per service, who we are there, and nothing changed anywhere.

use crate::scene::{Scene, play};

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_who_we_are_at_every_service_and_changes_nothing() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, check(&scene).await).await;
}

async fn check(scene: &Scene) -> anyhow::Result<()> {
    let before = scene.stack.world.effects.all().len();
    let output = tokio::task::block_in_place(|| scene.stack.ticketwright(&["check"]))?;
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    for service in ["Temporal", "GitHub", "Jira", "Sentry", "Slack", "Bedrock", "Blobs", "Workspace"] {
        assert!(table.contains(service), "{service} is missing in:\n{table}");
    }
    assert!(table.contains("ticketwright"), "who we are is missing in:\n{table}");
    for good in ["✓ GitHub", "✓ Jira", "✓ Sentry", "✓ Blobs", "✓ Workspace"] {
        assert!(table.contains(good), "no {good:?} in:\n{table}");
    }
    let credentials = &scene.stack.world.credentials;
    for secret in [&credentials.github_token, &credentials.jira_token, &credentials.sentry_token] {
        assert!(!table.contains(secret.as_str()), "a secret is in the table");
    }
    scene.stack.world.sentry.set_scopes(&["event:read", "org:read"]);
    let output = tokio::task::block_in_place(|| scene.stack.ticketwright(&["check"]))?;
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    for missing in ["✗ Sentry", "scope event:write", "scope project:read"] {
        assert!(table.contains(missing), "no {missing:?} in:\n{table}");
    }
    assert_eq!(scene.stack.world.effects.all().len(), before, "check must change nothing");
    Ok(())
}
