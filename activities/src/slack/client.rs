//! The calls we make, and what Slack's errors mean for the caller.

use std::collections::BTreeMap;
use std::sync::Mutex;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use workflows::contract::failure::FailureKind;
use workflows::contract::slack::{MessageRef, PostMessage, TellPerson, UpdateMessage};

use crate::failure::ServiceError;
use crate::http;

/// Type of the metadata event that carries an effect key.
const EFFECT_EVENT: &str = "ticketwright_effect";
/// Messages looked through for an effect key. A retry comes seconds after the attempt, so the newest suffice.
const LOOKED_THROUGH: u32 = 200;

/// Where Slack is.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Base URL of the Web API. Default `https://slack.com/api`.
    pub api_url: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { api_url: "https://slack.com/api".to_owned() }
    }
}

/// Who we are at Slack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name of the bot.
    pub user: String,
    /// Name of the workspace.
    pub team: String,
    /// OAuth scopes of the token, as the `x-oauth-scopes` header lists them; empty when it is absent.
    pub scopes: Vec<String>,
}

/// What looking for a channel came to.
enum Listed {
    /// Its id.
    Seen(String),
    /// It is not among those that the bot sees.
    Absent,
    /// The token may not look at this type of channels.
    NotAllowed,
}

/// A connection with one bot token.
#[derive(Debug)]
pub struct SlackClient {
    http: reqwest::Client,
    api_url: String,
    token: SecretString,
    /// Channel name without `#` -> id.
    channels: Mutex<BTreeMap<String, String>>,
}

impl SlackClient {
    /// A connection; nothing is sent yet.
    pub fn new(settings: &Settings, token: SecretString) -> Result<Self, ServiceError> {
        let api_url = settings.api_url.trim_end_matches('/').to_owned();
        Ok(Self { http: http::client()?, api_url, token, channels: Mutex::default() })
    }

    /// Who we are (`auth.test`).
    pub async fn who_am_i(&self) -> Result<Identity, ServiceError> {
        let (reply, scopes) = self.ask("auth.test", &json!({})).await?;
        let reply = judged("auth.test", reply)?;
        let text = |name: &str| reply[name].as_str().unwrap_or_default().to_owned();
        Ok(Identity { user: text("user"), team: text("team"), scopes })
    }

    /// Whether the bot is in a channel (`conversations.info`).
    pub async fn is_member(&self, channel: &str) -> Result<bool, ServiceError> {
        let id = self.channel_id(channel).await?;
        let reply = self.call("conversations.info", &json!({ "channel": id })).await?;
        Ok(reply["channel"]["is_member"].as_bool().unwrap_or(false))
    }

    pub(super) async fn post_once(&self, message: &PostMessage) -> Result<MessageRef, ServiceError> {
        let channel = self.channel_id(&message.channel).await?;
        let at = |ts: String| MessageRef { channel: channel.clone(), ts };
        if let Some(posted) = self.oldest(&channel, message).await? {
            return Ok(at(posted));
        }
        let mut body = json!({
            "channel": channel,
            "text": message.text,
            "unfurl_links": false,
            "unfurl_media": false,
            "metadata": {"event_type": EFFECT_EVENT, "event_payload": {"key": message.effect}},
        });
        if !message.blocks.is_empty() {
            body["blocks"] = Value::Array(message.blocks.clone());
        }
        if let Some(thread) = &message.thread {
            body["thread_ts"] = json!(thread);
        }
        let reply = self.call("chat.postMessage", &body).await?;
        let ts = reply["ts"].as_str().map(str::to_owned);
        let ts = ts.ok_or_else(|| ServiceError::new(FailureKind::Unexpected, "Slack posted a message without a ts"))?;
        // Another attempt may have run beside this one: the oldest message stays, ours goes if it is younger.
        match self.oldest(&channel, message).await? {
            Some(oldest) if older(&oldest, &ts) => {
                match self.call("chat.delete", &json!({ "channel": channel, "ts": ts })).await {
                    Err(error) if error.kind != FailureKind::NotFound => Err(error),
                    _ => Ok(at(oldest)),
                }
            }
            _ => Ok(at(ts)),
        }
    }

    /// Shows a note to one person (`chat.postEphemeral`). Somebody who is not in the channel cannot be told there, and nobody
    /// else may read the note: they get it as a direct message. A user id as the channel opens one, with chat:write alone
    /// (<https://docs.slack.dev/reference/methods/chat.postMessage#channels>). A note whose reply is lost may come twice.
    pub(super) async fn tell(&self, note: &TellPerson) -> Result<(), ServiceError> {
        let channel = self.channel_id(&note.channel).await?;
        let mut body = json!({ "channel": channel, "user": note.person, "text": note.text });
        if let Some(thread) = &note.thread {
            body["thread_ts"] = json!(thread);
        }
        let (reply, _) = self.ask("chat.postEphemeral", &body).await?;
        if reply["error"] == "user_not_in_channel" {
            tracing::info!(person = note.person, channel, "a person outside the channel is told directly");
            let direct =
                json!({ "channel": note.person, "text": note.text, "unfurl_links": false, "unfurl_media": false });
            return self.call("chat.postMessage", &direct).await.map(|_| ());
        }
        judged("chat.postEphemeral", reply).map(|_| ())
    }

    pub(super) async fn update(&self, update: &UpdateMessage) -> Result<(), ServiceError> {
        let body = json!({
            "channel": update.message.channel,
            "ts": update.message.ts,
            "text": update.text,
            "blocks": update.blocks,
        });
        self.call("chat.update", &body).await.map(|_| ())
    }

    /// `ts` of the oldest recent message that carries this effect key.
    async fn oldest(&self, channel: &str, message: &PostMessage) -> Result<Option<String>, ServiceError> {
        let mut body = json!({ "channel": channel, "limit": LOOKED_THROUGH, "include_all_metadata": true });
        let method = match &message.thread {
            Some(thread) => {
                body["ts"] = json!(thread);
                "conversations.replies"
            }
            None => "conversations.history",
        };
        let carries = |posted: &Value| {
            let metadata = &posted["metadata"];
            metadata["event_type"] == EFFECT_EVENT
                && metadata["event_payload"]["key"].as_str() == Some(message.effect.as_str())
        };
        let mut oldest: Option<String> = None;
        loop {
            let reply = self.call(method, &body).await?;
            let messages = reply["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
            for ts in messages.iter().filter(|posted| carries(posted)).filter_map(|posted| posted["ts"].as_str()) {
                if oldest.as_deref().is_none_or(|known| older(ts, known)) {
                    oldest = Some(ts.to_owned());
                }
            }
            let cursor = reply["response_metadata"]["next_cursor"].as_str().unwrap_or_default();
            // A thread is listed oldest first and is short: read it whole. Of a channel only the newest matter.
            if cursor.is_empty() || message.thread.is_none() {
                return Ok(oldest);
            }
            body["cursor"] = json!(cursor);
        }
    }

    async fn channel_id(&self, channel: &str) -> Result<String, ServiceError> {
        let Some(name) = channel.strip_prefix('#') else {
            return Ok(channel.to_owned());
        };
        if let Some(id) = self.known_channel(name) {
            return Ok(id);
        }
        // Private channels need a scope of their own, and asking for both kinds at once without it gives neither.
        if let Listed::Seen(id) = self.look_for(name, "public_channel").await? {
            return Ok(id);
        }
        let hint = match self.look_for(name, "private_channel").await? {
            Listed::Seen(id) => return Ok(id),
            Listed::Absent => "",
            Listed::NotAllowed => " If it is private, the bot also needs the scopes groups:read and groups:history.",
        };
        let message =
            format!("Slack has no channel #{name} that the bot can see. Create it, then /invite the bot.{hint}");
        Err(ServiceError::new(FailureKind::NotFound, message))
    }

    /// Looks for a channel among those of one type, and remembers all it sees on the way.
    async fn look_for(&self, name: &str, types: &str) -> Result<Listed, ServiceError> {
        let mut cursor = String::new();
        loop {
            let mut body = json!({ "limit": 1000, "exclude_archived": true, "types": types });
            if !cursor.is_empty() {
                body["cursor"] = json!(cursor);
            }
            let (reply, _) = self.ask("conversations.list", &body).await?;
            if types == "private_channel" && reply["error"] == "missing_scope" {
                return Ok(Listed::NotAllowed);
            }
            let reply = judged("conversations.list", reply)?;
            if let Ok(mut known) = self.channels.lock() {
                for listed in reply["channels"].as_array().into_iter().flatten() {
                    if let (Some(name), Some(id)) = (listed["name"].as_str(), listed["id"].as_str()) {
                        known.insert(name.to_owned(), id.to_owned());
                    }
                }
            }
            if let Some(id) = self.known_channel(name) {
                return Ok(Listed::Seen(id));
            }
            reply["response_metadata"]["next_cursor"].as_str().unwrap_or_default().clone_into(&mut cursor);
            if cursor.is_empty() {
                return Ok(Listed::Absent);
            }
        }
    }

    fn known_channel(&self, name: &str) -> Option<String> {
        self.channels.lock().ok()?.get(name).cloned()
    }

    async fn call(&self, method: &str, body: &Value) -> Result<Value, ServiceError> {
        let (reply, _) = self.ask(method, body).await?;
        judged(method, reply)
    }

    /// Slack's answer, an `ok: false` included, and the token's scopes.
    async fn ask(&self, method: &str, body: &Value) -> Result<(Value, Vec<String>), ServiceError> {
        // Reading methods take form parameters only; writing ones take both
        // (https://api.slack.com/web#posting_json), and blocks are easier to read as JSON.
        let request = self.http.post(format!("{}/{method}", self.api_url)).bearer_auth(self.token.expose_secret());
        let request = if method.starts_with("chat.") { request.json(body) } else { request.form(&form_of(body)) };
        let response = request.send().await.map_err(|error| http::unanswered("Slack", error))?;
        let (status, wait) = (response.status(), http::retry_after(&response));
        let scopes = response.headers().get("x-oauth-scopes").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let scopes: Vec<String> = scopes.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect();
        if status.as_u16() == 429 {
            return Err(ServiceError::rate_limited(format!("Slack asks to wait before {method}"), wait));
        }
        let text = response.text().await.map_err(|error| http::unanswered("Slack", error))?;
        if !status.is_success() {
            return Err(http::refused("Slack", method, status, wait, &text));
        }
        let reply: Value = serde_json::from_str(&text).map_err(|error| {
            ServiceError::new(FailureKind::Unexpected, format!("Slack's answer to {method} is no JSON"))
                .caused_by(error)
        })?;
        Ok((reply, scopes))
    }
}

/// The answer, if Slack did what it was asked.
fn judged(method: &str, reply: Value) -> Result<Value, ServiceError> {
    if reply["ok"].as_bool() == Some(true) {
        return Ok(reply);
    }
    Err(refusal(method, reply["error"].as_str().unwrap_or("unknown_error"), &reply))
}

/// A `ts` is seconds and a counter of six digits: `1700000000.000100`.
fn older(one: &str, other: &str) -> bool {
    let parts = |ts: &str| {
        let (seconds, counter) = ts.split_once('.').unwrap_or((ts, "0"));
        (seconds.parse::<u64>().unwrap_or_default(), counter.parse::<u64>().unwrap_or_default())
    };
    parts(one) < parts(other)
}

fn form_of(body: &Value) -> Vec<(String, String)> {
    let fields = body.as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    fields.map(|(name, value)| (name.clone(), text(value))).collect()
}

/// What an `ok: false` means for the caller (<https://api.slack.com/methods/chat.postMessage#errors>).
fn refusal(method: &str, error: &str, reply: &Value) -> ServiceError {
    let (kind, next) = match error {
        "channel_not_found" | "message_not_found" | "thread_not_found" => (FailureKind::NotFound, ""),
        "not_in_channel" => (FailureKind::Unauthorized, " Invite the bot: /invite @ticketwright in that channel."),
        "invalid_auth" | "not_authed" | "token_revoked" | "token_expired" | "account_inactive" => {
            (FailureKind::Unauthorized, " Check SLACK_BOT_TOKEN.")
        }
        "messages_tab_disabled" => (FailureKind::Unauthorized, " Switch on the Messages Tab under App Home."),
        "missing_scope" | "no_permission" | "restricted_action" => {
            (FailureKind::Unauthorized, " Add the scope under OAuth & Permissions and install the app again.")
        }
        "ratelimited" | "rate_limited" => (FailureKind::RateLimited, ""),
        "internal_error" | "fatal_error" | "request_timeout" | "service_unavailable" => (FailureKind::Unavailable, ""),
        _ => (FailureKind::Invalid, ""),
    };
    let needed = reply["needed"].as_str().map(|scope| format!(" (needs {scope})")).unwrap_or_default();
    ServiceError::new(kind, format!("Slack refused {method}: {error}{needed}.{next}"))
}
