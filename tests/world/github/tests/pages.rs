//! Pages that people open.

use serde_json::json;

use super::Site;

#[tokio::test]
async fn a_pull_request_can_be_read() -> anyhow::Result<()> {
    let site = Site::start().await?;
    site.open_pull("feature/b1", true).await?;
    site.call("POST", "/repos/acme/shop-api/issues/1/comments", json!({"body": "Looks **good**"})).await?;
    let page = site.http.get(site.url("/acme/shop-api/pull/1")).send().await?;
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let page = page.text().await?;
    for part in [
        "SHOP-1: Clamp",
        "<span class=\"pill draft\">Draft</span>",
        "<p>Why\n</p>",
        "<span class=\"add\">+# Plan</span>",
        "Looks <b>good</b>",
        "Write PLAN.md",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    let root = site.http.get(site.url("/acme/shop-api")).send().await?.text().await?;
    assert!(root.contains("#1 SHOP-1: Clamp") && root.contains("src/cart.py"), "{root}");
    let file = site.http.get(site.url("/acme/shop-api/blob/feature/b1/PLAN.md")).send().await?;
    assert_eq!(file.text().await?, "# Plan\n");
    let diff = site.http.get(site.url("/acme/shop-api/pull/1.diff")).send().await?.text().await?;
    assert!(diff.starts_with("diff --git a/PLAN.md b/PLAN.md"), "{diff}");
    assert_eq!(site.http.get(site.url("/acme/nothing")).send().await?.status(), 404);
    assert!(site.world.effects.unexpected().is_empty());
    Ok(())
}
