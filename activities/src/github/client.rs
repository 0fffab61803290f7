//! The connection: authentication, one request, and what GitHub's errors mean for the caller.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::BodyExt as _;
use octocrab::Octocrab;
use octocrab::models::{AppId, InstallationId};
use octocrab::service::middleware::retry::RetryConfig;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use workflows::contract::failure::FailureKind;
use workflows::contract::ids::RepositoryName;

use crate::failure::ServiceError;

/// Shorter than a heartbeat time-out (10 s), so that a dead attempt is over before the next one begins.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Where GitHub is.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Base URL of the REST API: `https://api.github.com`, or `https://<host>/api/v3` on GitHub Enterprise Server.
    pub api_url: String,
    /// Base URL for people and git: `https://github.com`.
    pub web_url: String,
    /// The organisation whose repositories may be looked at and changed.
    pub organisation: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            api_url: "https://api.github.com".to_owned(),
            web_url: "https://github.com".to_owned(),
            organisation: String::new(),
        }
    }
}

/// How we prove who we are.
#[derive(Debug, Clone)]
pub enum GitHubAuth {
    /// A token of the bot's account.
    Token(SecretString),
    /// A GitHub App.
    App(AppKey),
}

/// A GitHub App's identity.
#[derive(Debug, Clone)]
pub struct AppKey {
    /// App id.
    pub id: u64,
    /// Private key, PEM.
    pub private_key: SecretString,
    /// Installation in the organisation.
    pub installation: u64,
}

/// A connection with one identity.
pub struct GitHubClient {
    rest: Octocrab,
    graphql: Octocrab,
    auth: GitHubAuth,
    pub(super) settings: Settings,
}

impl std::fmt::Debug for GitHubClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitHubClient").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// An answer, not judged yet.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
    wait: Option<Duration>,
    limited: bool,
}

impl GitHubClient {
    /// A connection; nothing is sent yet. Needs a Tokio runtime.
    pub fn new(settings: Settings, auth: GitHubAuth) -> Result<Self, ServiceError> {
        let trim = |url: &str| url.trim_end_matches('/').to_owned();
        let settings = Settings { api_url: trim(&settings.api_url), web_url: trim(&settings.web_url), ..settings };
        // GraphQL is a sibling of REST: /graphql beside the root on github.com, /api/graphql beside /api/v3 on a server.
        let graphql_url = settings.api_url.strip_suffix("/v3").unwrap_or(&settings.api_url).to_owned();
        let rest = connect(&settings.api_url, &auth)?;
        let graphql = connect(&graphql_url, &auth)?;
        Ok(Self { rest, graphql, auth, settings })
    }

    /// Clone URL, user name and token for git over HTTPS
    /// (<https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app>).
    pub async fn push_credentials(
        &self,
        repository: &RepositoryName,
    ) -> Result<(String, String, SecretString), ServiceError> {
        self.refuse_foreign(repository)?;
        let url = format!("{}/{repository}.git", self.settings.web_url);
        let token = match &self.auth {
            GitHubAuth::Token(token) => token.clone(),
            GitHubAuth::App(app) => {
                let (_, token) = self
                    .rest_app(app)?
                    .installation_and_token(InstallationId(app.installation))
                    .await
                    .map_err(|error| transport("installation token", error))?;
                token
            }
        };
        Ok((url, "x-access-token".to_owned(), token))
    }

    fn rest_app(&self, app: &AppKey) -> Result<Octocrab, ServiceError> {
        builder(&self.settings.api_url)?
            .app(AppId(app.id), app_key(app)?)
            .build()
            .map_err(|error| transport("App authentication", error))
    }

    /// Repositories outside the organisation are not ours to look at, whatever a ticket or model says.
    pub(super) fn refuse_foreign(&self, repository: &RepositoryName) -> Result<(), ServiceError> {
        if self.settings.organisation.is_empty() || repository.owner().eq_ignore_ascii_case(&self.settings.organisation)
        {
            return Ok(());
        }
        let message = format!("{repository} is outside the organisation {}", self.settings.organisation);
        Err(ServiceError::new(FailureKind::Invalid, message))
    }

    pub(super) async fn get(&self, doing: &str, route: &str) -> Result<Answer, ServiceError> {
        read(doing, self.rest._get(route).await).await
    }

    pub(super) async fn post(&self, doing: &str, route: &str, body: &Value) -> Result<Answer, ServiceError> {
        read(doing, self.rest._post(route, Some(body)).await).await
    }

    pub(super) async fn put(&self, doing: &str, route: &str, body: &Value) -> Result<Answer, ServiceError> {
        read(doing, self.rest._put(route, Some(body)).await).await
    }

    pub(super) async fn patch(&self, doing: &str, route: &str, body: &Value) -> Result<Answer, ServiceError> {
        read(doing, self.rest._patch(route, Some(body)).await).await
    }

    pub(super) async fn delete(&self, doing: &str, route: &str) -> Result<Answer, ServiceError> {
        read(doing, self.rest._delete(route, None::<&()>).await).await
    }

    pub(super) async fn graphql(&self, doing: &str, query: &Value) -> Result<Value, ServiceError> {
        let answer = read(doing, self.graphql._post("/graphql", Some(query)).await).await?;
        let data: Value = answer.into(doing)?;
        // GraphQL reports refusals with status 200.
        if let Some(fault) = data["errors"][0]["message"].as_str() {
            let kind = match data["errors"][0]["type"].as_str() {
                Some("NOT_FOUND") => FailureKind::NotFound,
                Some("FORBIDDEN") => FailureKind::Unauthorized,
                Some("RATE_LIMITED") => FailureKind::RateLimited,
                _ => FailureKind::Invalid,
            };
            return Err(ServiceError::new(kind, format!("GitHub refused to {doing}: {fault}")));
        }
        Ok(data)
    }

    /// All pages of a list, at most `most` entries. Pages by number, since following absolute links would drop the
    /// authorisation of an App on another host than api.github.com.
    pub(super) async fn all(
        &self,
        doing: &str,
        route: &str,
        field: Option<&str>,
        most: usize,
    ) -> Result<Vec<Value>, ServiceError> {
        let joint = if route.contains('?') { '&' } else { '?' };
        let mut all = Vec::new();
        for page in 1.. {
            let reply: Value =
                self.get(doing, &format!("{route}{joint}per_page=100&page={page}")).await?.into(doing)?;
            let list = field.map_or(&reply, |field| &reply[field]);
            let entries = list.as_array().cloned().unwrap_or_default();
            let full = entries.len() == 100;
            all.extend(entries);
            if !full || all.len() >= most {
                break;
            }
        }
        all.truncate(most);
        Ok(all)
    }
}

impl Answer {
    /// Success decodes, anything else is the error it means.
    pub(super) fn into<T: DeserializeOwned>(self, doing: &str) -> Result<T, ServiceError> {
        if !(200..300).contains(&self.status) {
            return Err(self.refusal(doing));
        }
        serde_json::from_value(self.body).map_err(|error| {
            let message = format!("GitHub's answer to \"{doing}\" is not what its API promises");
            ServiceError::new(FailureKind::Unexpected, message).caused_by(error)
        })
    }

    /// What GitHub said, and what to do about it.
    pub(super) fn refusal(&self, doing: &str) -> ServiceError {
        let said = self.body["message"].as_str().unwrap_or_default();
        let detail = self.body["errors"][0]["message"].as_str().unwrap_or_default();
        let kind = if self.limited { FailureKind::RateLimited } else { ServiceError::kind_of_status(self.status) };
        let next = match kind {
            FailureKind::Unauthorized if self.status == 401 => " Check GITHUB_TOKEN or the App's key.",
            FailureKind::Unauthorized => " The token or App lacks a permission: see `ticketwright check`.",
            _ => "",
        };
        let message = format!("GitHub answered {} to \"{doing}\": {said} {detail}", self.status);
        let mut error = ServiceError::new(kind, format!("{}.{next}", message.trim().trim_end_matches('.')));
        error.retry_after = self.wait;
        error
    }

    /// The refusal's words contain this.
    pub(super) fn says(&self, words: &str) -> bool {
        self.body.to_string().to_lowercase().contains(words)
    }
}

type Raw = http::Response<http_body_util::combinators::BoxBody<bytes::Bytes, octocrab::Error>>;

async fn read(doing: &str, sent: Result<Raw, octocrab::Error>) -> Result<Answer, ServiceError> {
    let response = sent.map_err(|error| transport(doing, error))?;
    let status = response.status().as_u16();
    let header =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    let retry_after = header("retry-after").map(Duration::from_secs);
    let used_up = header("x-ratelimit-remaining") == Some(0);
    let refused = matches!(status, 403 | 429);
    // https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
    let until_reset = header("x-ratelimit-reset").filter(|_| refused && used_up).map(|reset| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Duration::from_secs(reset.saturating_sub(now).clamp(1, 3600))
    });
    let wait = retry_after.or(until_reset);
    let limited = refused && (wait.is_some() || status == 429);
    let collected = response.into_body().collect().await.map_err(|error| transport(doing, error))?;
    let bytes = collected.to_bytes();
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).chars().take(300).collect()));
    Ok(Answer { status, body, wait, limited })
}

fn transport(doing: &str, error: octocrab::Error) -> ServiceError {
    let message = format!("GitHub does not answer to \"{doing}\"");
    ServiceError::new(FailureKind::Unavailable, message).caused_by(error)
}

type Builder = octocrab::OctocrabBuilder<
    octocrab::NoSvc,
    octocrab::DefaultOctocrabBuilderConfig,
    octocrab::NoAuth,
    octocrab::NotLayerReady,
>;

fn builder(base: &str) -> Result<Builder, ServiceError> {
    let wrong = |error| {
        ServiceError::new(FailureKind::Invalid, format!("github.api_url {base:?} is no URL"))
            .caused_by(anyhow::Error::new(error))
    };
    // Octocrab would repeat POSTs by itself; Temporal owns retries.
    let builder = Octocrab::builder()
        .base_uri(base)
        .map_err(wrong)?
        .add_retry_config(RetryConfig::None)
        .add_header(http::header::ACCEPT, "application/vnd.github+json".to_owned())
        .set_connect_timeout(Some(TIMEOUT))
        .set_read_timeout(Some(TIMEOUT))
        .set_write_timeout(Some(TIMEOUT));
    Ok(builder)
}

fn connect(base: &str, auth: &GitHubAuth) -> Result<Octocrab, ServiceError> {
    let failed = |error| transport("connect", error);
    match auth {
        GitHubAuth::Token(token) => builder(base)?.personal_token(token.clone()).build().map_err(failed),
        GitHubAuth::App(app) => {
            let as_app = builder(base)?.app(AppId(app.id), app_key(app)?).build().map_err(failed)?;
            as_app.installation(InstallationId(app.installation)).map_err(failed)
        }
    }
}

fn app_key(app: &AppKey) -> Result<jsonwebtoken::EncodingKey, ServiceError> {
    use secrecy::ExposeSecret as _;
    jsonwebtoken::EncodingKey::from_rsa_pem(app.private_key.expose_secret().as_bytes()).map_err(|_| {
        // The library's error could quote the key.
        ServiceError::new(FailureKind::Unauthorized, "GITHUB_APP_PRIVATE_KEY is no RSA private key in PEM form")
    })
}
