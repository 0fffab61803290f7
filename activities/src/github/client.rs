//! The connection: one identity, one organisation, one request at a time.

use http::HeaderMap;
use http::header::{ACCEPT, HeaderValue};
use octocrab::Octocrab;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use workflows::contract::failure::FailureKind;
use workflows::contract::ids::RepositoryName;

use super::answer::{Answer, RawBody, exchange, exchange_streaming};
use super::auth::{GitHubAuth, Login, anonymous};
use crate::failure::ServiceError;

/// Media type of GitHub's JSON (<https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api#media-types>).
const JSON: &str = "application/vnd.github+json";
/// The same, with the text around each hit of a search.
const JSON_WITH_MATCHES: &str = "application/vnd.github.text-match+json";
/// Entries per page; the most GitHub gives.
const PAGE: usize = 100;

/// Where GitHub is.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Base URL of the REST API: `https://api.github.com`, or `https://<host>/api/v3` on GitHub Enterprise Server.
    pub api_url: String,
    /// Base URL for people and git: `https://github.com`.
    pub web_url: String,
    /// The organisation (or person) whose repositories may be looked at and changed.
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

/// A connection with one identity.
pub struct GitHubClient {
    login: Login,
    graphql: Octocrab,
    pub(super) settings: Settings,
}

impl std::fmt::Debug for GitHubClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitHubClient").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl GitHubClient {
    /// A connection; nothing is sent yet. Needs a Tokio runtime.
    ///
    /// # Errors
    /// [`FailureKind::Invalid`]: the organisation is missing or the API's address is no URL.
    /// [`FailureKind::Unauthorized`]: the App's key is no key.
    pub fn new(settings: Settings, auth: GitHubAuth) -> Result<Self, ServiceError> {
        if settings.organisation.is_empty() {
            let message = "github.organisation is empty: it says whose repositories may be worked on";
            return Err(ServiceError::new(FailureKind::Invalid, message));
        }
        let trim = |url: &str| url.trim_end_matches('/').to_owned();
        let settings = Settings { api_url: trim(&settings.api_url), web_url: trim(&settings.web_url), ..settings };
        // GraphQL is a sibling of REST: /graphql beside the root on github.com, /api/graphql beside /api/v3 on a server.
        let graphql_url = settings.api_url.strip_suffix("/v3").unwrap_or(&settings.api_url);
        let graphql = anonymous(graphql_url)?;
        Ok(Self { login: Login::new(&settings, &auth)?, graphql, settings })
    }

    /// Login of the token's user, or the App's slug.
    ///
    /// # Errors
    /// GitHub does not accept us, or does not answer.
    pub async fn who_am_i(&self) -> Result<String, ServiceError> {
        self.login.name().await
    }

    /// Clone URL, user name and token for git over HTTPS
    /// (<https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-as-a-github-app-installation>).
    /// An App's token reaches this repository only.
    ///
    /// # Errors
    /// The repository is outside the organisation, or GitHub makes no token for it.
    pub async fn push_credentials(
        &self,
        repository: &RepositoryName,
    ) -> Result<(String, String, SecretString), ServiceError> {
        self.refuse_foreign(repository)?;
        let url = format!("{}/{repository}.git", self.settings.web_url);
        Ok((url, "x-access-token".to_owned(), self.login.token_for(repository).await?))
    }

    /// Repositories outside the organisation are not ours to look at, whatever a ticket or model says.
    pub(super) fn refuse_foreign(&self, repository: &RepositoryName) -> Result<(), ServiceError> {
        if self.is_ours(repository.owner()) {
            return Ok(());
        }
        let message = format!("{repository} is outside the organisation {}", self.settings.organisation);
        Err(ServiceError::new(FailureKind::Invalid, message))
    }

    pub(super) fn is_ours(&self, owner: &str) -> bool {
        owner.eq_ignore_ascii_case(&self.settings.organisation)
    }

    pub(super) async fn get(&self, doing: &str, route: &str) -> Result<Answer, ServiceError> {
        self.get_as(doing, route, JSON).await
    }

    pub(super) async fn get_with_matches(&self, doing: &str, route: &str) -> Result<Answer, ServiceError> {
        self.get_as(doing, route, JSON_WITH_MATCHES).await
    }

    async fn get_as(&self, doing: &str, route: &str, media_type: &'static str) -> Result<Answer, ServiceError> {
        // Octocrab adds default headers without looking for ours, so each request brings its own.
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(media_type))]);
        exchange(doing, self.login.rest().await?._get_with_headers(route, Some(headers))).await
    }

    /// A text that may be large, as it arrives. GitHub sends it from another host by a link that lives a minute; octocrab
    /// follows it, and leaves our credentials behind.
    pub(super) async fn get_text(&self, doing: &str, route: &str) -> Result<Result<RawBody, Answer>, ServiceError> {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(JSON))]);
        exchange_streaming(doing, self.login.rest().await?._get_with_headers(route, Some(headers))).await
    }

    pub(super) async fn post(&self, doing: &str, route: &str, body: &Value) -> Result<Answer, ServiceError> {
        self.send(doing, http::Method::POST, route, Some(body)).await
    }

    pub(super) async fn put(&self, doing: &str, route: &str, body: &Value) -> Result<Answer, ServiceError> {
        self.send(doing, http::Method::PUT, route, Some(body)).await
    }

    pub(super) async fn patch(&self, doing: &str, route: &str, body: &Value) -> Result<Answer, ServiceError> {
        self.send(doing, http::Method::PATCH, route, Some(body)).await
    }

    pub(super) async fn delete(&self, doing: &str, route: &str) -> Result<Answer, ServiceError> {
        self.send(doing, http::Method::DELETE, route, None).await
    }

    async fn send(
        &self,
        doing: &str,
        method: http::Method,
        route: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ServiceError> {
        let rest = self.login.rest().await?;
        exchange(doing, execute(rest, method, route, body)).await
    }

    /// Runs a GraphQL query. The connection has another base than REST, where an App could not get its tokens: it brings one.
    pub(super) async fn graphql(&self, doing: &str, query: &Value) -> Result<Value, ServiceError> {
        let token = self.login.token().await?;
        let graphql = self.graphql.user_access_token(token).map_err(|error| super::answer::transport(doing, error))?;
        let sent = execute(&graphql, http::Method::POST, "/graphql", Some(query));
        exchange(doing, sent).await?.into_graphql(doing)
    }

    /// All pages of a list, at most `most` entries, and whether there are more. Pages by number, since following absolute links
    /// would drop the authorisation of an App on another host than api.github.com.
    pub(super) async fn all(
        &self,
        doing: &str,
        route: &str,
        field: Option<&str>,
        most: usize,
    ) -> Result<(Vec<Value>, bool), ServiceError> {
        let joint = if route.contains('?') { '&' } else { '?' };
        let mut all = Vec::new();
        for page in 1.. {
            let mut reply: Value =
                self.get(doing, &format!("{route}{joint}per_page={PAGE}&page={page}")).await?.into(doing)?;
            let list = match field {
                Some(field) => reply[field].take(),
                None => reply,
            };
            let Value::Array(entries) = list else {
                break;
            };
            let full = entries.len() == PAGE;
            all.extend(entries);
            if !full || all.len() >= most {
                let more = all.len() > most || full;
                all.truncate(most);
                return Ok((all, more));
            }
        }
        Ok((all, false))
    }
}

async fn execute(
    connection: &Octocrab,
    method: http::Method,
    route: &str,
    body: Option<&Value>,
) -> Result<http::Response<http_body_util::combinators::BoxBody<bytes::Bytes, octocrab::Error>>, octocrab::Error> {
    let request = http::request::Builder::new().method(method).uri(route).header(ACCEPT, JSON);
    connection.execute(connection.build_request(request, body)?).await
}
