//! Deliveries: signed, in order, again on demand.

use super::{PATIENCE, Site};
use crate::webhook::hmac_sha256_hex;

#[tokio::test]
async fn deliveries_are_signed_and_can_be_repeated() -> anyhow::Result<()> {
    let site = Site::start().await?;
    site.open_pull("b1", true).await?;
    site.webhook("opened", |event, body| event == "pull_request" && body["action"] == "opened").await?;
    assert_eq!(site.events(), ["create", "push", "push", "pull_request opened"]);
    // The log gets its line when the answer has come back.
    tokio::time::timeout(PATIENCE, async {
        while site.github().deliveries().len() < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    let sent = site.github().deliveries().remove(3);
    let header = |name: &str| {
        sent.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let signature = hmac_sha256_hex(&site.world.credentials.github_webhook_secret, &sent.body);
    assert_eq!(header("X-Hub-Signature-256"), format!("sha256={signature}"));
    assert_eq!(header("X-GitHub-Event"), "pull_request");
    assert_eq!((sent.status, header("Content-Type").as_str()), (202, "application/json"));
    assert!(header("User-Agent").starts_with("GitHub-Hookshot/"));
    let again = site.github().redeliver(3).await?;
    assert_eq!((again.headers, again.body), (sent.headers, sent.body), "same delivery id, same bytes");
    assert_eq!(site.events().len(), 5);
    assert!(site.github().redeliver(99).await.is_err());
    Ok(())
}
