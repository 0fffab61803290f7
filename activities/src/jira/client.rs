//! The calls we make, and what Jira's errors mean for the caller.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use workflows::contract::failure::FailureKind;
use workflows::contract::ids::TicketKey;
use workflows::contract::jira::{CommentRef, MoveTicket, Moved, Ticket, WriteComment};

use super::adf_write::document;
use super::ticket::{Comments, cut, read_ticket};
use crate::failure::ServiceError;
use crate::http;

/// Comment property that carries an effect key.
const EFFECT_PROPERTY: &str = "ticketwright.effect";
/// Comments per page; the most Jira gives.
const PAGE: usize = 100;
/// Longest comment we write, in bytes of Markdown: Jira refuses documents of more than 32,767 characters.
const COMMENT_LIMIT: usize = 24 * 1024;

/// Where Jira is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Base URL of the site, `https://acme.atlassian.net`; links for people begin with it.
    pub url: String,
    /// Base URL of the API where it differs: `https://api.atlassian.com/ex/jira/<cloud id>` for OAuth 2.0 and for API tokens
    /// with scopes. Default: `url`.
    pub api_url: Option<String>,
}

/// How we prove who we are.
#[derive(Debug, Clone)]
pub enum Auth {
    /// E-mail and API token of the bot's account (HTTP Basic).
    Token {
        /// E-mail.
        email: String,
        /// API token.
        token: SecretString,
    },
    /// OAuth 2.0 access token.
    Bearer(SecretString),
}

/// Who we are at Jira.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Myself {
    /// Account id.
    pub account_id: String,
    /// Name.
    #[serde(default)]
    pub display_name: String,
}

/// A connection with one account.
#[derive(Debug)]
pub struct JiraClient {
    http: reqwest::Client,
    site: String,
    api: String,
    auth: Auth,
    myself: OnceCell<Myself>,
}

impl JiraClient {
    /// A connection; nothing is sent yet.
    pub fn new(settings: &Settings, auth: Auth) -> Result<Self, ServiceError> {
        let site = settings.url.trim_end_matches('/').to_owned();
        let api = settings.api_url.as_deref().map_or(site.as_str(), |api| api.trim_end_matches('/')).to_owned();
        Ok(Self { http: http::client()?, site, api, auth, myself: OnceCell::new() })
    }

    /// Who we are (`GET /myself`); asked once.
    pub async fn myself(&self) -> Result<&Myself, ServiceError> {
        let ask = async || {
            let reply = self.get("who am I", "myself").await?;
            serde_json::from_value(reply).map_err(|error| odd("myself", error))
        };
        self.myself.get_or_try_init(ask).await
    }

    /// Which of these global or project permissions we have (`GET /mypermissions`).
    pub async fn permissions(&self, names: &[&str]) -> Result<Vec<(String, bool)>, ServiceError> {
        let reply = self.get("my permissions", &format!("mypermissions?permissions={}", names.join(","))).await?;
        let has = |name: &str| reply["permissions"][name]["havePermission"].as_bool().unwrap_or(false);
        Ok(names.iter().map(|name| ((*name).to_owned(), has(name))).collect())
    }

    /// A ticket as agents and messages need it.
    pub async fn ticket(&self, key: &TicketKey) -> Result<Ticket, ServiceError> {
        let fields = "summary,description,labels,priority,issuetype,status,reporter,issuelinks";
        let issue = self.get(&format!("read {key}"), &format!("issue/{key}?fields={fields}")).await?;
        let comments = self.newest_comments(key).await?;
        Ok(read_ticket(key, &self.browse(key), &issue, &comments))
    }

    /// The newest comments of people. Ours are those that carry our mark: the account may also be somebody's own, whose
    /// comments count.
    async fn newest_comments(&self, key: &TicketKey) -> Result<Comments, ServiceError> {
        let path = format!("issue/{key}/comment?maxResults={PAGE}&orderBy=-created&expand=properties");
        let mut page = self.get(&format!("read comments of {key}"), &path).await?;
        let total = page["total"].as_u64().and_then(|total| usize::try_from(total).ok());
        let Value::Array(all) = page["comments"].take() else {
            return Ok(Comments { newest: Vec::new(), earlier: 0 });
        };
        let earlier = total.unwrap_or_default().saturating_sub(all.len());
        let mut newest = Vec::with_capacity(all.len());
        for comment in all {
            if self.mark_of(&comment).await?.is_none() {
                newest.push(comment);
            }
        }
        Ok(Comments { newest, earlier })
    }

    /// Tickets of a project whose text has these words, as `KEY summary (status)` lines, at most 20.
    pub async fn search(&self, project: &str, words: &str) -> Result<Vec<String>, ServiceError> {
        // The words come from a model: letters and digits only, since JQL's text search has operators of its own inside the
        // quotes (https://support.atlassian.com/jira-software-cloud/docs/search-syntax-for-text-fields/).
        let plain = |text: &str| text.replace(|c: char| !c.is_alphanumeric() && c != '_', " ");
        let words = plain(words).split_whitespace().collect::<Vec<_>>().join(" ");
        if words.is_empty() {
            return Err(ServiceError::new(
                FailureKind::Invalid,
                "There are no words to search for. Give at least one.",
            ));
        }
        let jql = format!("project = \"{}\" AND text ~ \"{words}\" ORDER BY updated DESC", plain(project));
        let body = json!({ "jql": jql, "fields": ["summary", "status"], "maxResults": 20 });
        let reply = self.send("search tickets", reqwest::Method::POST, "search/jql", Some(&body)).await?;
        let line = |issue: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (summary, status) = (&issue["fields"]["summary"], &issue["fields"]["status"]["name"]);
            format!("{} {} ({})", text(&issue["key"]), text(summary), text(status))
        };
        Ok(reply["issues"].as_array().into_iter().flatten().map(line).collect())
    }

    pub(super) async fn write_comment_once(&self, comment: &WriteComment) -> Result<CommentRef, ServiceError> {
        if let Some(oldest) = self.ours(comment).await?.first() {
            return Ok(self.comment_ref(&comment.ticket, *oldest));
        }
        let body = json!({
            "body": document(&cut(&comment.markdown, COMMENT_LIMIT)),
            "properties": [{"key": EFFECT_PROPERTY, "value": {"key": comment.effect}}],
        });
        let path = format!("issue/{}/comment", comment.ticket);
        let doing = format!("comment on {}", comment.ticket);
        let written = self.send(&doing, reqwest::Method::POST, &path, Some(&body)).await?;
        let id = id_of(&written)
            .ok_or_else(|| ServiceError::new(FailureKind::Unexpected, "Jira wrote a comment and did not say its id"))?;
        // Another attempt may have run beside this one: the oldest comment stays, ours goes if it is younger.
        let oldest = self.ours(comment).await?.first().map_or(id, |oldest| id.min(*oldest));
        if oldest != id {
            let path = format!("issue/{}/comment/{id}", comment.ticket);
            match self.send("delete our second comment", reqwest::Method::DELETE, &path, None).await {
                Err(error) if error.kind != FailureKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(self.comment_ref(&comment.ticket, oldest))
    }

    /// Ids of comments that carry this effect key, oldest first. Jira counts ids up.
    async fn ours(&self, comment: &WriteComment) -> Result<Vec<u64>, ServiceError> {
        let mut ids = Vec::new();
        for written in self.comments(&comment.ticket).await? {
            if let (Some(id), Some(mark)) = (id_of(&written), self.mark_of(&written).await?)
                && mark == comment.effect.as_str()
            {
                ids.push(id);
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// The effect key that a comment of our account carries; `None` for every comment that we did not write.
    async fn mark_of(&self, comment: &Value) -> Result<Option<String>, ServiceError> {
        let me = self.myself().await?;
        let Some(id) = id_of(comment).filter(|_| comment["author"]["accountId"] == json!(me.account_id)) else {
            return Ok(None);
        };
        let key_in = |value: &Value| value["key"].as_str().map(str::to_owned);
        if let Some(properties) = comment["properties"].as_array() {
            let ours = properties.iter().find(|property| property["key"] == EFFECT_PROPERTY);
            return Ok(ours.and_then(|property| key_in(&property["value"])));
        }
        // `expand=properties` is not in Jira's published description; where it is ignored, ask for the property.
        match self.get("read our mark on a comment", &format!("comment/{id}/properties/{EFFECT_PROPERTY}")).await {
            Ok(property) => Ok(key_in(&property["value"])),
            Err(error) if error.kind == FailureKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All comments, oldest first, with their properties.
    async fn comments(&self, key: &TicketKey) -> Result<Vec<Value>, ServiceError> {
        let mut all = Vec::new();
        loop {
            let path = format!("issue/{key}/comment?startAt={}&maxResults={PAGE}&expand=properties", all.len());
            let page = self.get(&format!("read comments of {key}"), &path).await?;
            let comments = page["comments"].as_array().cloned().unwrap_or_default();
            let total = page["total"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or_default();
            let empty = comments.is_empty();
            all.extend(comments);
            if empty || all.len() >= total {
                return Ok(all);
            }
        }
    }

    pub(super) async fn move_ticket(&self, request: &MoveTicket) -> Result<Moved, ServiceError> {
        let key = &request.ticket;
        let status = request.status.trim().to_lowercase();
        let wanted = |name: &Value| name.as_str().is_some_and(|name| name.to_lowercase() == status);
        let issue = self.get(&format!("read the status of {key}"), &format!("issue/{key}?fields=status")).await?;
        if wanted(&issue["fields"]["status"]["name"]) {
            return Ok(Moved::Already);
        }
        let reply = self.get(&format!("read transitions of {key}"), &format!("issue/{key}/transitions")).await?;
        let transitions = reply["transitions"].as_array().cloned().unwrap_or_default();
        let Some(transition) = transitions.iter().find(|transition| wanted(&transition["to"]["name"])) else {
            let mut available: Vec<String> = Vec::new();
            for name in transitions.iter().filter_map(|transition| transition["to"]["name"].as_str()) {
                if !available.iter().any(|known| known == name) {
                    available.push(name.to_owned());
                }
            }
            return Ok(Moved::NoTransition { available });
        };
        // The id is per workflow and must be a string inside an object.
        let body = json!({ "transition": { "id": transition["id"] } });
        let doing = format!("move {key} to {}", request.status);
        self.send(&doing, reqwest::Method::POST, &format!("issue/{key}/transitions"), Some(&body)).await?;
        Ok(Moved::Done)
    }

    pub(super) fn browse(&self, key: &TicketKey) -> String {
        format!("{}/browse/{key}", self.site)
    }

    fn comment_ref(&self, key: &TicketKey, id: u64) -> CommentRef {
        CommentRef { id: id.to_string(), url: format!("{}?focusedCommentId={id}", self.browse(key)) }
    }

    pub(super) async fn get(&self, doing: &str, path: &str) -> Result<Value, ServiceError> {
        self.send(doing, reqwest::Method::GET, path, None).await
    }

    pub(super) async fn send(
        &self,
        doing: &str,
        method: reqwest::Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ServiceError> {
        self.attempt(doing, method, path, body).await.map_err(|refused| refused.error)
    }

    /// As [`Self::send`], and tells which fields Jira found fault with.
    pub(super) async fn attempt(
        &self,
        doing: &str,
        method: reqwest::Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Refused> {
        let request = self.http.request(method, format!("{}/rest/api/3/{path}", self.api));
        let request = request.header("accept", "application/json");
        let request = match &self.auth {
            Auth::Token { email, token } => request.basic_auth(email, Some(token.expose_secret())),
            Auth::Bearer(token) => request.bearer_auth(token.expose_secret()),
        };
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request.send().await.map_err(|error| http::unanswered("Jira", error))?;
        let (status, wait) = (response.status(), http::retry_after(&response));
        let text = response.text().await.map_err(|error| http::unanswered("Jira", error))?;
        if !status.is_success() {
            let mut error = http::refused("Jira", doing, status, wait, &messages_of(&text));
            if matches!(status.as_u16(), 401 | 403) {
                error.message.push_str(" Check JIRA_EMAIL and JIRA_API_TOKEN, and the account's project permissions.");
            }
            return Err(Refused { error, fields: fields_of(&text) });
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_str(&text).map_err(|error| odd(doing, error))?)
    }
}

/// A call that failed.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: ServiceError,
    /// Fields that Jira found fault with.
    pub(super) fields: Vec<String>,
}

impl From<ServiceError> for Refused {
    fn from(error: ServiceError) -> Self {
        Self { error, fields: Vec::new() }
    }
}

fn id_of(comment: &Value) -> Option<u64> {
    comment["id"].as_str()?.parse().ok()
}

/// Jira's own words from an `ErrorCollection`.
fn messages_of(text: &str) -> String {
    let Ok(collection) = serde_json::from_str::<Value>(text) else {
        return text.to_owned();
    };
    let messages = collection["errorMessages"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let fields = collection["errors"].as_object().into_iter().flatten();
    let fields = fields.map(|(field, fault)| format!("{field}: {}", fault.as_str().unwrap_or_default()));
    messages.map(str::to_owned).chain(fields).collect::<Vec<_>>().join("; ")
}

/// Names of the fields in an `ErrorCollection`.
fn fields_of(text: &str) -> Vec<String> {
    let collection: Value = serde_json::from_str(text).unwrap_or_default();
    collection["errors"].as_object().into_iter().flatten().map(|(field, _)| field.clone()).collect()
}

fn odd(doing: &str, error: serde_json::Error) -> ServiceError {
    let message = format!("Jira's answer to \"{doing}\" is not what its API promises");
    ServiceError::new(FailureKind::Unexpected, message).caused_by(error)
}
