//! The GitHub App: JWT, installation tokens and their limits.

use chrono::Utc;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::Site;

/// A key pair made for this test; it opens nothing else.
const PRIVATE: &str = include_str!("app-key.pem");
const PUBLIC: &str = include_str!("app-key.pub.pem");

fn jwt(issuer: u64, from_now: i64) -> anyhow::Result<String> {
    let now = Utc::now().timestamp();
    let claims = json!({"iat": now - 60, "exp": now + from_now, "iss": issuer.to_string()});
    Ok(encode(&Header::new(Algorithm::RS256), &claims, &EncodingKey::from_rsa_pem(PRIVATE.as_bytes())?)?)
}

impl Site {
    async fn by(&self, token: &str, method: &str, path: &str, body: Value) -> anyhow::Result<(u16, Value)> {
        let request =
            self.http.request(method.parse()?, self.url(&format!("/api/v3{path}"))).header("user-agent", "tests");
        let response = request.bearer_auth(token).json(&body).send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }
}

#[tokio::test]
async fn an_installation_token_does_what_it_was_made_for() -> anyhow::Result<()> {
    let site = Site::start().await?;
    let id = site.github().set_app(7, "ticketwright-app", PUBLIC);
    let app = jwt(7, 540)?;
    assert_eq!(site.by(&app, "GET", "/app", json!({})).await?.1["id"], 7);
    assert_eq!(site.by(&app, "GET", "/repos/acme/shop-api/installation", json!({})).await?.1["id"], id);
    assert_eq!(site.by(&app, "GET", "/repos/acme/shop-api", json!({})).await?.0, 403);
    assert_eq!(site.by(&jwt(8, 540)?, "GET", "/app", json!({})).await?.0, 401, "another app");
    assert_eq!(site.by(&jwt(7, 900)?, "GET", "/app", json!({})).await?.0, 401, "more than ten minutes");
    assert_eq!(site.by(&jwt(7, -5)?, "GET", "/app", json!({})).await?.0, 401, "expired");

    let tokens = format!("/app/installations/{id}/access_tokens");
    let asked = json!({"repositories": ["shop-api"], "permissions": {"contents": "read", "pull_requests": "write"}});
    let (status, token) = site.by(&app, "POST", &tokens, asked).await?;
    assert_eq!(status, 201);
    let granted = json!({"contents": "read", "metadata": "read", "pull_requests": "write"});
    assert_eq!((&token["permissions"], &token["repository_selection"]), (&granted, &json!("selected")));
    let token = token["token"].as_str().unwrap_or_default();
    assert!(token.starts_with("ghs_"));
    assert_eq!(site.by(token, "GET", "/repos/acme/shop-api/contents/README.md", json!({})).await?.0, 200);
    let branch = json!({"ref": "refs/heads/x", "sha": site.main().await?});
    assert_eq!(site.by(token, "POST", "/repos/acme/shop-api/git/refs", branch.clone()).await?.0, 403, "read only");
    assert_eq!(site.by(token, "GET", "/installation/repositories", json!({})).await?.1["total_count"], 1);

    let (_, all) = site.by(&app, "POST", &tokens, json!({})).await?;
    let all = all["token"].as_str().unwrap_or_default().to_owned();
    assert_eq!(site.by(&all, "POST", "/repos/acme/shop-api/git/refs", branch).await?.0, 201);
    let too_much = json!({"permissions": {"administration": "write"}});
    assert_eq!(site.by(&app, "POST", &tokens, too_much).await?.0, 422);
    Ok(())
}
