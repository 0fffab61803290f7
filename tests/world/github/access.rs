//! Who is calling: personal token, installation token or App JWT; what they may do; and the rate limit headers.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, Method, header};
use axum::response::Response;
use base64::Engine as _;
use chrono::Utc;
use serde::Deserialize;

use super::hub::{BOT, Hub};
use super::reply::Failure;

/// Who makes a call.
#[derive(Debug, Clone)]
pub(super) enum Actor {
    /// The bot's own account, by personal access token. It may do everything.
    Bot,
    /// An installation of the App.
    Installation {
        /// `<slug>[bot]`.
        login: String,
        /// The token, to look up its limits.
        token: String,
    },
    /// The App itself: only `/app...` and `/repos/.../installation`.
    App,
}

impl Actor {
    /// Login that shows as author.
    pub(super) fn login(&self) -> &str {
        match self {
            Self::Bot | Self::App => BOT,
            Self::Installation { login, .. } => login,
        }
    }
}

/// Claims of an App JWT. <https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app>
#[derive(Debug, Deserialize)]
struct Claims {
    iat: i64,
    exp: i64,
    iss: serde_json::Value,
}

impl Hub {
    /// Reads the `Authorization` header of a REST or GraphQL call.
    pub(super) fn authenticate(&self, headers: &HeaderMap) -> Result<Actor, Failure> {
        if headers.get(header::USER_AGENT).is_none_or(axum::http::HeaderValue::is_empty) {
            return Err(Failure::new(
                403,
                "Request forbidden by administrative rules. Please make sure your request has a User-Agent header",
            ));
        }
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if value.is_empty() {
            return Err(Failure::new(401, "Requires authentication"));
        }
        let (scheme, token) = value.split_once(' ').unwrap_or_default();
        if !scheme.eq_ignore_ascii_case("bearer") && !scheme.eq_ignore_ascii_case("token") {
            return Err(Failure::new(401, "Bad credentials"));
        }
        if token.split('.').count() == 3 { self.app_actor(token) } else { self.token_actor(token) }
    }

    /// Reads Basic credentials of git: any user name, the token as password.
    pub(super) fn authenticate_git(&self, headers: &HeaderMap) -> Result<Actor, Failure> {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let encoded = value.strip_prefix("Basic ").unwrap_or_default();
        let decoded = base64::prelude::BASE64_STANDARD.decode(encoded.trim()).unwrap_or_default();
        let decoded = String::from_utf8(decoded).unwrap_or_default();
        let (user, password) = decoded.split_once(':').unwrap_or_default();
        // `https://<token>@host` puts the token where the user name goes; GitHub takes both.
        self.token_actor(if password.is_empty() { user } else { password })
    }

    fn token_actor(&self, token: &str) -> Result<Actor, Failure> {
        if !token.is_empty() && token == self.token {
            return Ok(Actor::Bot);
        }
        let state = self.state();
        match (state.tokens.get(token), &state.app) {
            (Some(found), Some(app)) if found.expires > Utc::now() => {
                Ok(Actor::Installation { login: format!("{}[bot]", app.slug), token: token.to_owned() })
            }
            _ => Err(Failure::new(401, "Bad credentials")),
        }
    }

    fn app_actor(&self, token: &str) -> Result<Actor, Failure> {
        let Some(app) = self.state().app.clone() else {
            return Err(Failure::new(401, "Integration not found"));
        };
        let undecodable = || Failure::new(401, "A JSON web token could not be decoded");
        let key = jsonwebtoken::DecodingKey::from_rsa_pem(app.public_pem.as_bytes()).map_err(|_| undecodable())?;
        let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
        rules.validate_aud = false;
        rules.leeway = 0;
        let claims =
            jsonwebtoken::decode::<Claims>(token, &key, &rules).map_err(|error| match error.into_kind() {
                jsonwebtoken::errors::ErrorKind::ExpiredSignature => {
                    Failure::new(401, "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires")
                }
                _ => undecodable(),
            })?;
        let claims = claims.claims;
        let issuer = claims.iss.as_str().map_or_else(|| claims.iss.to_string(), str::to_owned);
        if issuer != app.id.to_string() {
            return Err(Failure::new(401, "Integration not found"));
        }
        if claims.exp > Utc::now().timestamp() + 600 {
            return Err(Failure::new(401, "'Expiration time' claim ('exp') is too far in the future"));
        }
        if claims.iat > Utc::now().timestamp() {
            return Err(Failure::new(
                401,
                "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
            ));
        }
        Ok(Actor::App)
    }

    /// Whether this caller may make this call. A personal token may do everything but speak for the App.
    pub(super) fn authorize(&self, actor: &Actor, method: &Method, path: &[&str]) -> Result<(), Failure> {
        let app_route = matches!(path, ["app", ..] | ["repos", _, _, "installation"] | ["orgs", _, "installation"]);
        match actor {
            Actor::Bot if app_route => Err(Failure::new(401, "A JSON web token could not be decoded")),
            Actor::Bot => Ok(()),
            Actor::App if app_route => Ok(()),
            Actor::App => {
                Err(Failure::new(403, "You must authenticate with an installation access token in order to call this"))
            }
            Actor::Installation { .. } if app_route => Err(Failure::new(401, "A JSON web token could not be decoded")),
            Actor::Installation { token, .. } => match path {
                ["user", ..] => Err(Failure::new(403, "Resource not accessible by integration")),
                ["repos", owner, name, rest @ ..] => {
                    let write = !matches!(*method, Method::GET | Method::HEAD);
                    self.check_installation(token, &format!("{owner}/{name}"), permission_of(rest), write)
                }
                _ => Ok(()),
            },
        }
    }

    /// Whether an installation token reaches a repository with this permission.
    pub(super) fn check_installation(
        &self,
        token: &str,
        full: &str,
        permission: &str,
        write: bool,
    ) -> Result<(), Failure> {
        let state = self.state();
        let Some(found) = state.tokens.get(token) else { return Err(Failure::new(401, "Bad credentials")) };
        let name = full.split_once('/').map_or(full, |(_, name)| name).to_ascii_lowercase();
        if found.repositories.as_ref().is_some_and(|only| !only.contains(&name)) {
            return Err(Failure::not_found());
        }
        let mut granted = found.permissions.get(permission).map(String::as_str);
        if permission == "issues" && granted != Some("write") {
            // The conversation of a pull request opens with either permission; there are no other issues here.
            granted = found.permissions.get("pull_requests").map(String::as_str).or(granted);
        }
        match (granted, write) {
            (Some("write" | "admin"), _) | (Some("read"), false) => Ok(()),
            _ => Err(Failure::new(403, "Resource not accessible by integration")),
        }
    }

    /// Adds the headers that GitHub puts on every reply.
    pub(super) fn stamp(&self, response: &mut Response, path: &str) {
        let (resource, limit) = resource_of(path);
        let used = {
            let mut state = self.state();
            let used = state.used.entry(resource).or_default();
            *used += 1;
            *used
        };
        let now = Utc::now().timestamp();
        let window = if resource == "core" || resource == "graphql" { 3_600 } else { 60 };
        let headers = [
            ("x-ratelimit-limit", limit.to_string()),
            // Counted, never enforced: tests plan their own 403 and 429.
            ("x-ratelimit-remaining", limit.saturating_sub(used).max(1).to_string()),
            ("x-ratelimit-used", used.to_string()),
            ("x-ratelimit-reset", (now - now % window + window).to_string()),
            ("x-ratelimit-resource", resource.to_owned()),
            ("x-github-media-type", "github.v3; format=json".to_owned()),
            ("x-github-request-id", uuid::Uuid::new_v4().simple().to_string()),
        ];
        for (name, value) in headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().entry(name).or_insert(value);
            }
        }
    }
}

/// Rate limit resource of a path and its limit per window.
pub(super) fn resource_of(path: &str) -> (&'static str, u64) {
    match path {
        "/api/v3/search/code" => ("code_search", 10),
        path if path.starts_with("/api/v3/search/") => ("search", 30),
        "/api/graphql" => ("graphql", 5_000),
        _ => ("core", 5_000),
    }
}

/// The App permission that a path below a repository needs.
fn permission_of(rest: &[&str]) -> &'static str {
    match rest {
        ["pulls", _, "merge"] => "contents",
        ["pulls", ..] => "pull_requests",
        ["issues", ..] => "issues",
        ["actions", ..] => "actions",
        ["commits", .., "check-runs" | "check-suites"] => "checks",
        ["commits", .., "status"] | ["statuses", ..] => "statuses",
        [] | ["collaborators", ..] | ["languages"] => "metadata",
        _ => "contents",
    }
}

/// What the App was given at installation.
pub(super) fn app_permissions() -> BTreeMap<String, String> {
    let all = [
        ("actions", "write"),
        ("checks", "read"),
        ("contents", "write"),
        ("metadata", "read"),
        ("pull_requests", "write"),
        ("statuses", "write"),
        ("workflows", "write"),
    ];
    all.into_iter().map(|(name, level)| (name.to_owned(), level.to_owned())).collect()
}
