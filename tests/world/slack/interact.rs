//! What people do in Slack, sent to the app signed as Slack signs: buttons, modals, slash commands, mentions; and the
//! `response_url` the app may answer to.
//!
//! Source: "Verifying requests from Slack" and "Handling user interaction", Slack platform documentation.

use std::time::{Duration, Instant};

use anyhow::Context;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

use super::methods::Content;
use super::state::{APP, BOT, Message, ResponseUrl, TEAM, View};
use super::{SERVICE, Slack};
use crate::webhook::{Delivery, hmac_sha256_hex};

/// A `response_url` works this often, this long.
const RESPONSE_USES: u32 = 5;
const RESPONSE_LIFE: Duration = Duration::from_secs(30 * 60);

const FORM: &str = "application/x-www-form-urlencoded";

/// One request to the app as it was sent first.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Path at the ingress.
    pub path: &'static str,
    /// Content type of the body.
    pub content_type: &'static str,
    /// The exact bytes.
    pub body: Vec<u8>,
}

/// `X-Slack-Signature` of a body sent at a time (seconds since 1970).
pub(super) fn signature(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let message = [b"v0:", timestamp.as_bytes(), b":", body].concat();
    format!("v0={}", hmac_sha256_hex(secret, &message))
}

impl Slack {
    /// Signs and sends; `retry` is the number of Slack's own retry, 0 at first.
    async fn deliver(&self, sent: &Sent, retry: u32) -> Delivery {
        let timestamp = chrono::Utc::now().timestamp().to_string();
        let mut headers = vec![
            ("Content-Type".to_owned(), sent.content_type.to_owned()),
            ("User-Agent".to_owned(), "Slackbot 1.0 (+https://api.slack.com/robots)".to_owned()),
            ("X-Slack-Signature".to_owned(), signature(&self.signing_secret, &timestamp, &sent.body)),
            ("X-Slack-Request-Timestamp".to_owned(), timestamp),
        ];
        if retry > 0 {
            headers.push(("X-Slack-Retry-Num".to_owned(), retry.to_string()));
            headers.push(("X-Slack-Retry-Reason".to_owned(), "http_timeout".to_owned()));
        }
        self.webhooks.deliver(SERVICE, sent.path, headers, sent.body.clone()).await
    }

    async fn send(&self, path: &'static str, content_type: &'static str, body: Vec<u8>) -> Delivery {
        let sent = Sent { path, content_type, body };
        self.sent.lock().expect("no holder of this lock panics").push(sent.clone());
        self.deliver(&sent, 0).await
    }

    async fn send_payload(&self, payload: &Value) -> Delivery {
        let body =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &payload.to_string()).finish();
        self.send("/slack/interactions", FORM, body.into_bytes()).await
    }

    /// Sends a request again: same body, a new time and signature, marked as Slack's retry.
    pub async fn redeliver(&self, index: usize) -> Option<Delivery> {
        let sent = self.sent().get(index).cloned()?;
        Some(self.deliver(&sent, 1).await)
    }

    /// A person clicks a button of a message (`ts`). Waits for the app's answer.
    pub async fn click(&self, user: &str, ts: &str, action_id: &str) -> anyhow::Result<Delivery> {
        self.click_with(user, ts, action_id, &[]).await
    }

    /// The same after the person has typed into the message's input fields: `block_id`, `action_id`, text.
    pub async fn click_with(
        &self,
        user: &str,
        ts: &str,
        action_id: &str,
        typed: &[(&str, &str, &str)],
    ) -> anyhow::Result<Delivery> {
        let payload = {
            let mut state = self.lock();
            let user = state.user(user).with_context(|| format!("there is no user {user}"))?.clone();
            let message = state
                .messages
                .iter()
                .find(|message| message.ts == ts)
                .with_context(|| format!("no message {ts}"))?
                .clone();
            let buttons = message.buttons();
            let button = buttons.iter().find(|button| button.action_id == action_id).with_context(|| {
                let there: Vec<&String> = buttons.iter().map(|button| &button.action_id).collect();
                format!("message {ts} has no button {action_id}, it has {there:?}: {}", message.text)
            })?;
            let values = input_values(&message, typed)?;
            let response = ResponseUrl {
                channel: message.channel.clone(),
                user: user.id.clone(),
                ts: Some(ts.to_owned()),
                thread_ts: message.thread_ts.clone(),
                made: Instant::now(),
                uses: 0,
            };
            let mut action = button.element.clone();
            action["block_id"] = json!(button.block_id);
            action["action_ts"] = json!(state.ts());
            let channel = state.channel(&message.channel).map(|channel| channel.name.clone());
            json!({
                "type": "block_actions",
                "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": TEAM},
                "api_app_id": APP,
                "token": "deprecated",
                "container": {
                    "type": "message", "message_ts": ts, "channel_id": message.channel,
                    "is_ephemeral": message.ephemeral_to.is_some(), "thread_ts": message.thread_ts,
                },
                "trigger_id": state.trigger(&user.id),
                "team": {"id": TEAM, "domain": "acme"},
                "enterprise": null,
                "is_enterprise_install": false,
                "channel": {"id": message.channel, "name": channel},
                "message": state.message_json(&message, true),
                "state": {"values": values},
                "response_url": state.response_url(response),
                "actions": [action],
            })
        };
        Ok(self.send_payload(&payload).await)
    }

    /// The same for the newest message that fulfils `pred` and has such a button.
    pub async fn click_where(
        &self,
        user: &str,
        pred: impl Fn(&Message) -> bool,
        action_id: &str,
    ) -> anyhow::Result<Delivery> {
        let fits = |m: &&Message| pred(m) && m.buttons().iter().any(|button| button.action_id == action_id);
        let found = self.lock().messages.iter().rev().find(fits).map(|message| message.ts.clone());
        let ts = found.with_context(|| format!("no such message has a button {action_id}"))?;
        self.click(user, &ts, action_id).await
    }

    /// A person sends a slash command, as `/agent` with `status SHOP-1`, in a channel or in their direct messages with the bot
    /// (`@`). The app's direct answer is shown to them.
    pub async fn command(&self, user: &str, channel: &str, command: &str, text: &str) -> anyhow::Result<Delivery> {
        let (body, user, channel) = {
            let mut state = self.lock();
            let user = state.user(user).with_context(|| format!("there is no user {user}"))?.clone();
            let direct = (channel == "@").then(|| state.direct(&user.id)).flatten();
            let wanted = direct.as_deref().unwrap_or(channel);
            let channel = state.channel(wanted).with_context(|| format!("there is no channel {wanted}"))?.clone();
            let channel_name = if direct.is_some() { "directmessage" } else { &channel.name };
            let response = ResponseUrl {
                channel: channel.id.clone(),
                user: user.id.clone(),
                ts: None,
                thread_ts: None,
                made: Instant::now(),
                uses: 0,
            };
            let response_url = state.response_url(response);
            let trigger_id = state.trigger(&user.id);
            let pairs = [
                ("token", "deprecated"),
                ("team_id", TEAM),
                ("team_domain", "acme"),
                ("channel_id", &channel.id),
                ("channel_name", channel_name),
                ("user_id", &user.id),
                ("user_name", &user.name),
                ("command", command),
                ("text", text),
                ("api_app_id", APP),
                ("is_enterprise_install", "false"),
                ("response_url", &response_url),
                ("trigger_id", &trigger_id),
            ];
            (url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish(), user, channel)
        };
        let delivery = self.send("/slack/commands", FORM, body.into_bytes()).await;
        let answer: Value = serde_json::from_str(&delivery.answer).unwrap_or_else(|_| json!({"text": delivery.answer}));
        if delivery.status == 200
            && let Ok(content) = Content::from_json(&answer)
        {
            let only_to = (answer["response_type"] != "in_channel").then_some(user.id);
            self.post_answer(content.message(channel.id, None, only_to));
        }
        Ok(delivery)
    }

    /// A person writes in a channel, in a thread if `thread_ts` is given. When the text mentions the bot
    /// (`<@U0TICKETWRIGHT>`), the app gets an `app_mention` event.
    pub async fn say(
        &self,
        user: &str,
        channel: &str,
        text: &str,
        thread_ts: Option<&str>,
    ) -> anyhow::Result<(Message, Option<Delivery>)> {
        let (message, event) = {
            let mut state = self.lock();
            let user = state.user(user).with_context(|| format!("there is no user {user}"))?.id.clone();
            let channel = state.channel(channel).with_context(|| format!("there is no channel {channel}"))?.id.clone();
            let content = Content { text: text.to_owned(), blocks: Vec::new(), metadata: Value::Null };
            let mut message = content.message(channel, thread_ts.map(str::to_owned), None);
            message.user = user;
            let message = state.post(message);
            let mut event = state.message_json(&message, false);
            event["type"] = json!("app_mention");
            event["channel"] = json!(message.channel);
            event["event_ts"] = json!(message.ts);
            let event_id = format!("Ev{:08}", state.number());
            (
                message,
                json!({
                    "token": "deprecated", "team_id": TEAM, "api_app_id": APP, "event": event, "type": "event_callback",
                    "event_id": event_id, "event_time": chrono::Utc::now().timestamp(),
                    "authorizations": [{"team_id": TEAM, "user_id": BOT, "is_bot": true, "is_enterprise_install": false}],
                }),
            )
        };
        if !text.contains(&format!("<@{BOT}>")) {
            return Ok((message, None));
        }
        let delivery = self.send("/slack/events", "application/json", event.to_string().into_bytes()).await;
        Ok((message, Some(delivery)))
    }

    /// A person submits an open modal. `values` are the inputs by `block_id` and `action_id`. The modal stays open when
    /// the app answers with errors.
    pub async fn submit_view(&self, view_id: &str, values: &[(&str, &str, &str)]) -> anyhow::Result<Delivery> {
        let payload = {
            let mut state = self.lock();
            let open = state.views.iter().find(|view| view.id == view_id);
            let View { user, mut view, .. } = open.with_context(|| format!("no open view {view_id}"))?.clone();
            let mut inputs = json!({});
            for (block_id, action_id, value) in values {
                let kind = element(&view, block_id, action_id)
                    .with_context(|| format!("view {view_id} has no input {block_id}/{action_id}"))?;
                inputs[*block_id][*action_id] = match kind.as_str() {
                    "static_select" | "radio_buttons" => json!({"type": kind, "selected_option": {"value": value}}),
                    _ => json!({"type": kind, "value": value}),
                };
            }
            view["state"] = json!({"values": inputs});
            let user = state.user(&user).context("the view's user")?.clone();
            json!({
                "type": "view_submission",
                "team": {"id": TEAM, "domain": "acme"},
                "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": TEAM},
                "api_app_id": APP, "token": "deprecated", "trigger_id": state.trigger(&user.id), "view": view,
                "response_urls": [], "is_enterprise_install": false, "enterprise": null,
            })
        };
        let delivery = self.send_payload(&payload).await;
        let answer: Value = serde_json::from_str(&delivery.answer).unwrap_or(Value::Null);
        let mut state = self.lock();
        if delivery.status == 200 && answer["response_action"] != "errors" {
            state.views.retain(|view| view.id != view_id);
        } else if let Some(open) = state.views.iter_mut().find(|view| view.id == view_id) {
            open.errors = answer["errors"].clone();
        }
        Ok(delivery)
    }

    /// A person closes a modal without submitting.
    pub fn close_view(&self, view_id: &str) {
        self.lock().views.retain(|view| view.id != view_id);
    }

    /// Posts what the app answered, and records it as the app's doing.
    fn post_answer(&self, message: Message) {
        let mut state = self.lock();
        let message = state.post(message);
        let kind = if message.ephemeral_to.is_some() { "ephemeral.posted" } else { "message.posted" };
        self.announce(state, kind, &message);
    }
}

/// What stands in the input fields of a message, as a click carries it; an empty field has the value null.
fn input_values(message: &Message, typed: &[(&str, &str, &str)]) -> anyhow::Result<Value> {
    let mut values = json!({});
    for block in message.blocks.iter().filter(|block| block["type"] == "input") {
        let (Some(id), Some(action)) = (block["block_id"].as_str(), block["element"]["action_id"].as_str()) else {
            continue;
        };
        let text = typed.iter().find(|(block, field, _)| *block == id && *field == action).map(|(_, _, text)| *text);
        let text = text.filter(|text| !text.is_empty());
        values[id][action] = json!({"type": block["element"]["type"], "value": text});
    }
    for (block, action, _) in typed {
        anyhow::ensure!(!values[*block][*action].is_null(), "the message has no input {block}/{action}");
    }
    Ok(values)
}

/// Type of a modal's input element.
fn element(view: &Value, block_id: &str, action_id: &str) -> Option<String> {
    let blocks = view["blocks"].as_array()?;
    let block =
        blocks.iter().find(|block| block["block_id"] == block_id && block["element"]["action_id"] == action_id)?;
    block["element"]["type"].as_str().map(str::to_owned)
}

/// `POST` to a `response_url`.
pub(super) async fn respond(State(slack): State<Slack>, Path(id): Path<String>, body: Bytes) -> Response {
    let refuse =
        |status: StatusCode, error: &str| (status, axum::Json(json!({"ok": false, "error": error}))).into_response();
    let Ok(sent @ Value::Object(_)) = serde_json::from_slice::<Value>(&body) else {
        return refuse(StatusCode::BAD_REQUEST, "invalid_payload");
    };
    if slack.faults.take_refusal("response_url").is_some() {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal_error");
    }
    let mut state = slack.lock();
    let Some(response) = state.responses.get_mut(&id) else { return refuse(StatusCode::NOT_FOUND, "no_service") };
    if response.made.elapsed() > RESPONSE_LIFE {
        return refuse(StatusCode::NOT_FOUND, "expired_url");
    }
    if response.uses >= RESPONSE_USES {
        return refuse(StatusCode::NOT_FOUND, "used_url");
    }
    response.uses += 1;
    let response = response.clone();
    let acted_on = |m: &Message| m.channel == response.channel && Some(&m.ts) == response.ts.as_ref();
    if sent["delete_original"] == true {
        let before = state.messages.iter().find(|message| acted_on(message)).cloned();
        state.messages.retain(|message| !acted_on(message));
        if let Some(message) = before {
            slack.announce(state, "message.deleted", &message);
        }
        return "ok".into_response();
    }
    let content = match Content::from_json(&sent) {
        Ok(content) => content,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
    };
    if sent["replace_original"] == true {
        let blocks = state.with_block_ids(content.blocks);
        let Some(message) = state.messages.iter_mut().find(|message| acted_on(message)) else {
            return refuse(StatusCode::NOT_FOUND, "message_not_found");
        };
        message.text = content.text;
        message.blocks = blocks;
        message.edited = true;
        let message = message.clone();
        slack.announce(state, "message.updated", &message);
        return "ok".into_response();
    }
    drop(state);
    let only_to = (sent["response_type"] != "in_channel").then(|| response.user.clone());
    let thread_ts = sent["thread_ts"].as_str().map(str::to_owned).or(response.thread_ts);
    slack.post_answer(content.message(response.channel, thread_ts, only_to));
    "ok".into_response()
}
