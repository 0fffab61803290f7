//! The calls we make, and what Sentry's errors mean for the caller.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use workflows::contract::failure::FailureKind;
use workflows::contract::ids::{SentryIssueId, TicketKey};
use workflows::contract::sentry::{ErrorEvent, ErrorIssue, ErrorPage, LinkTicket};

use super::event;
use super::redact::Redactor;
use crate::failure::ServiceError;
use crate::http;

/// Issues per page; the most Sentry gives.
const PAGE: usize = 100;
/// Most pages of hashes that are read: an issue has one or a few.
const HASH_PAGES: usize = 5;
/// What may stand in a path or query as it is (RFC 3986 section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Longest wait that a rate limit may ask for; its windows are seconds.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Where Sentry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Base URL, `https://sentry.io`, `https://de.sentry.io` or that of an own installation.
    pub url: String,
    /// Slug of the organisation.
    pub organisation: String,
}

/// An organisation as our token sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organisation {
    /// Its name.
    pub name: String,
    /// What the token may do there, `event:read`.
    pub scopes: Vec<String>,
}

/// An hour of an issue's statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hour {
    /// When it begins, in seconds since 1970.
    pub begins: i64,
    /// Events in it.
    pub events: u64,
}

/// A connection with one token.
#[derive(Debug)]
pub struct SentryClient {
    http: reqwest::Client,
    api: String,
    organisation: String,
    token: SecretString,
}

/// A page of a list.
struct Page {
    body: Value,
    next: Option<String>,
}

impl SentryClient {
    /// A connection; nothing is sent yet.
    pub fn new(settings: &Settings, token: SecretString) -> Result<Self, ServiceError> {
        Ok(Self {
            http: http::client()?,
            api: format!("{}/api/0", settings.url.trim_end_matches('/')),
            organisation: encoded(&settings.organisation),
            token,
        })
    }

    /// The organisation, and what we may do there.
    pub async fn organisation(&self) -> Result<Organisation, ServiceError> {
        let page = self.get("read the organisation", "").await?;
        let scopes = page.body["access"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(Organisation {
            name: page.body["name"].as_str().unwrap_or_default().to_owned(),
            scopes: scopes.map(str::to_owned).collect(),
        })
    }

    /// One page of unresolved issues that happened within 24 hours, most frequent first. Their fingerprint is their id: hashes
    /// are read for one issue at a time only.
    pub async fn unresolved(&self, cursor: Option<&str>, redactor: &Redactor) -> Result<ErrorPage, ServiceError> {
        let cursor = cursor.map(|cursor| format!("&cursor={}", encoded(cursor))).unwrap_or_default();
        let query =
            format!("query=is%3Aunresolved&statsPeriod=24h&groupStatsPeriod=24h&sort=freq&limit={PAGE}{cursor}");
        let page = self.get("list unresolved issues", &format!("issues/?{query}")).await?;
        let issues = page.body.as_array().ok_or_else(|| odd("list unresolved issues"))?;
        let issues = issues.iter().filter_map(|json| event::issue(json, None, redactor)).collect();
        Ok(ErrorPage { issues, next: page.next })
    }

    /// An issue; `None` when it is gone.
    pub async fn issue(&self, id: &SentryIssueId, redactor: &Redactor) -> Result<Option<ErrorIssue>, ServiceError> {
        let Some(json) = self.details(id).await? else { return Ok(None) };
        let fingerprint = self.smallest_hash(id).await?;
        Ok(event::issue(&json, fingerprint, redactor))
    }

    /// Events of an issue per hour of the last 24; `None` when it is gone.
    pub async fn statistics(&self, id: &SentryIssueId) -> Result<Option<Vec<Hour>>, ServiceError> {
        let hours =
            |json: Value| event::hours(&json).into_iter().map(|(begins, events)| Hour { begins, events }).collect();
        Ok(self.details(id).await?.map(hours))
    }

    async fn details(&self, id: &SentryIssueId) -> Result<Option<Value>, ServiceError> {
        let found = unless_gone(self.get(&format!("read issue {id}"), &format!("issues/{id}/")).await)?;
        // An issue that was merged into another one answers with that other one.
        Ok(found.map(|page| page.body).filter(|json| json["id"].as_str() == Some(id.as_str())))
    }

    /// The smallest of its hashes, so that the answer does not depend on their order.
    async fn smallest_hash(&self, id: &SentryIssueId) -> Result<Option<String>, ServiceError> {
        let mut smallest: Option<String> = None;
        let mut cursor = String::new();
        for _ in 0..HASH_PAGES {
            let path = format!("issues/{id}/hashes/?full=false{cursor}");
            let Some(page) = unless_gone(self.get(&format!("read the hashes of issue {id}"), &path).await)? else {
                break;
            };
            let hashes = page.body.as_array().into_iter().flatten().filter_map(|hash| hash["id"].as_str());
            smallest = hashes.map(str::to_owned).chain(smallest).min();
            match page.next {
                Some(next) => cursor = format!("&cursor={}", encoded(&next)),
                None => break,
            }
        }
        Ok(smallest)
    }

    /// The newest event of an issue; `None` when the issue or its events are gone.
    pub async fn latest_event(
        &self,
        id: &SentryIssueId,
        redactor: &Redactor,
    ) -> Result<Option<ErrorEvent>, ServiceError> {
        let path = format!("issues/{id}/events/latest/");
        let found = unless_gone(self.get(&format!("read the newest event of issue {id}"), &path).await)?;
        Ok(found.map(|page| event::event(&page.body, redactor)))
    }

    /// Names a ticket on an issue as an external issue, unless it is named there; `false` when our token belongs to no app that is installed.
    pub(super) async fn link_ticket(&self, link: &LinkTicket) -> Result<bool, ServiceError> {
        let issue: u64 = link.issue.as_str().parse().map_err(|_| {
            ServiceError::new(FailureKind::Invalid, format!("{} is no number Sentry knows", link.issue))
        })?;
        if self.linked_ticket(&link.issue).await?.as_ref() == Some(&link.ticket) {
            return Ok(true);
        }
        let project = link.ticket.project();
        let body = json!({
            "issueId": issue, "webUrl": link.url, "project": project, "identifier": link.ticket,
        });
        let installed = unless_refused(self.get("list installations", "sentry-app-installations/").await)?;
        let installed = installed.map(|page| page.body).unwrap_or_default();
        for installation in installed.as_array().into_iter().flatten().filter(|one| one["status"] == "installed") {
            let Some(uuid) = installation["uuid"].as_str() else { continue };
            // Only the app that a token belongs to may write its links, and the list does not tell which one that is.
            let path = format!("{}/sentry-app-installations/{}/external-issues/", self.api, encoded(uuid));
            let doing = format!("name {} on issue {}", link.ticket, link.issue);
            if unless_refused(self.send(&doing, Method::POST, &path, Some(&body)).await)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The ticket that we named on an issue.
    pub(super) async fn linked_ticket(&self, id: &SentryIssueId) -> Result<Option<TicketKey>, ServiceError> {
        let found = unless_gone(
            self.get(&format!("read the links of issue {id}"), &format!("issues/{id}/external-issues/")).await,
        )?;
        let links = found.map(|page| page.body).unwrap_or_default();
        Ok(links.as_array().into_iter().flatten().find_map(ours))
    }

    /// Resolves an issue. One that is resolved or gone is left alone.
    pub(super) async fn resolve(&self, id: &SentryIssueId) -> Result<(), ServiceError> {
        let Some(json) = self.details(id).await? else { return Ok(()) };
        if json["status"] == "resolved" {
            return Ok(());
        }
        let url = self.in_organisation(&format!("issues/{id}/"));
        let sent =
            self.send(&format!("resolve issue {id}"), Method::PUT, &url, Some(&json!({"status": "resolved"}))).await;
        unless_gone(sent).map(drop)
    }

    fn in_organisation(&self, path: &str) -> String {
        format!("{}/organizations/{}/{path}", self.api, self.organisation)
    }

    async fn get(&self, doing: &str, path: &str) -> Result<Page, ServiceError> {
        self.send(doing, Method::GET, &self.in_organisation(path), None).await
    }

    async fn send(&self, doing: &str, method: Method, url: &str, body: Option<&Value>) -> Result<Page, ServiceError> {
        let request = self.http.request(method, url).bearer_auth(self.token.expose_secret());
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request.send().await.map_err(|error| http::unanswered("Sentry", error))?;
        let status = response.status();
        let wait = http::retry_after(&response).or_else(|| until_reset(response.headers()));
        let next = next_cursor(response.headers());
        let text = response.text().await.map_err(|error| http::unanswered("Sentry", error))?;
        if !status.is_success() {
            let detail = serde_json::from_str::<Value>(&text).ok();
            let detail = detail.as_ref().and_then(|json| json["detail"].as_str()).unwrap_or(&text);
            // Only a refusal for being too fast is mended by waiting.
            let wait = wait.filter(|_| status.as_u16() == 429);
            let mut error = http::refused("Sentry", doing, status, wait, detail);
            if matches!(status.as_u16(), 401 | 403) {
                error.message.push_str(
                    " Check SENTRY_AUTH_TOKEN and its scopes: event:read, event:write, project:read, org:read.",
                );
            }
            return Err(error);
        }
        if text.is_empty() {
            return Ok(Page { body: Value::Null, next });
        }
        let body = serde_json::from_str(&text).map_err(|error| odd(doing).caused_by(error))?;
        Ok(Page { body, next })
    }
}

/// Our links read `SHOP#SHOP-7`: Sentry makes the name of project and identifier.
fn ours(link: &Value) -> Option<TicketKey> {
    let (project, key) = link["displayName"].as_str()?.split_once('#')?;
    let key: TicketKey = key.parse().ok()?;
    (project == key.project()).then_some(key)
}

fn unless_gone<T>(result: Result<T, ServiceError>) -> Result<Option<T>, ServiceError> {
    match result {
        Err(error) if error.kind == FailureKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// 403 and 404 alike: which one an app gets that asks for another app's things is not documented.
fn unless_refused<T>(result: Result<T, ServiceError>) -> Result<Option<T>, ServiceError> {
    match result {
        Err(error) if matches!(error.kind, FailureKind::NotFound | FailureKind::Unauthorized) => Ok(None),
        other => other.map(Some),
    }
}

/// `X-Sentry-Rate-Limit-Reset`: seconds since 1970 (<https://docs.sentry.io/api/ratelimits/>).
fn until_reset(headers: &HeaderMap) -> Option<Duration> {
    let reset: u64 = headers.get("x-sentry-rate-limit-reset")?.to_str().ok()?.trim().parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // At least a second: the clock there may be behind ours.
    Some(Duration::from_secs(reset.saturating_sub(now).max(1)).min(LONGEST_WAIT))
}

/// The cursor of the next page, from `Link: <...>; rel="next"; results="true"; cursor="0:100:0"`
/// (<https://docs.sentry.io/api/pagination/>). Sentry names a next page even where there is none: `results` tells.
fn next_cursor(headers: &HeaderMap) -> Option<String> {
    let link = headers.get("link")?.to_str().ok()?;
    // A cursor has no comma, and of the address only what stands behind it is read.
    link.split('<').filter_map(|one| one.split_once('>')).find_map(|(_, attributes)| {
        let value = |name: &str| {
            let (_, rest) = attributes.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value)
        };
        (value("rel") == Some("next") && value("results") == Some("true"))
            .then(|| value("cursor").map(str::to_owned))?
    })
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

fn odd(doing: &str) -> ServiceError {
    let message = format!("Sentry's answer to \"{doing}\" is not what its API promises");
    ServiceError::new(FailureKind::Unexpected, message)
}
