//! The Web API: one handler per method, `ok: false` with Slack's error words otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::blocks::{Surface, problems, view_problems};
use super::state::{APP, BOT, Channel, Message, State as Memory, TEAM, View};
use super::{Failure, SERVICE, Slack, scopes};
use crate::faults::cut_connection;

/// Longest text of a message; beyond, Slack refuses.
const MAX_TEXT: usize = 40_000;
/// Life of a `trigger_id`.
const TRIGGER_LIFE: Duration = Duration::from_secs(3);

/// An error word, and what Slack adds to it.
#[derive(Debug)]
struct Refused {
    error: String,
    messages: Vec<String>,
    /// The scope that is missing.
    needed: Option<&'static str>,
}

type Done = Result<Value, Refused>;

fn refused(error: &str) -> Refused {
    Refused { error: error.into(), messages: Vec::new(), needed: None }
}

fn refuse<T>(error: &str) -> Result<T, Refused> {
    Err(refused(error))
}

/// Arguments of a call, however they were sent; JSON texts in forms are read where objects are due.
struct Arguments(Map<String, Value>);

impl Arguments {
    fn read(query: &str, headers: &HeaderMap, body: &[u8]) -> Result<Self, Refused> {
        let mut all = Map::new();
        let pairs = |bytes: &[u8]| -> Vec<(String, Value)> {
            url::form_urlencoded::parse(bytes).map(|(k, v)| (k.into_owned(), Value::String(v.into_owned()))).collect()
        };
        all.extend(pairs(query.as_bytes()));
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.starts_with("application/json") && !body.is_empty() {
            match serde_json::from_slice(body) {
                Ok(Value::Object(map)) => all.extend(map),
                Ok(_) => return refuse("json_not_object"),
                Err(_) => return refuse("invalid_json"),
            }
        } else if kind.starts_with("application/x-www-form-urlencoded") {
            all.extend(pairs(body));
        } else if !body.is_empty() {
            return refuse("invalid_post_type");
        }
        Ok(Self(all))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.0.get(name), Some(Value::Bool(true))) || matches!(self.text(name), Some("true" | "1"))
    }

    fn number(&self, name: &str) -> Option<usize> {
        let value = self.0.get(name)?;
        value.as_u64().and_then(|n| usize::try_from(n).ok()).or_else(|| value.as_str()?.parse().ok())
    }

    /// An object or array, or its JSON text.
    fn json(&self, name: &str) -> Result<Value, serde_json::Error> {
        match self.0.get(name) {
            Some(Value::String(text)) if text.is_empty() => Ok(Value::Null),
            Some(Value::String(text)) => serde_json::from_str(text),
            Some(value) => Ok(value.clone()),
            None => Ok(Value::Null),
        }
    }
}

pub(super) async fn call(
    State(slack): State<Slack>,
    Path(method): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match slack.faults.take_refusal(&method) {
        Some(Failure::RateLimited { retry_after }) => {
            let refused = axum::Json(json!({"ok": false, "error": "ratelimited"}));
            return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, retry_after.to_string())], refused)
                .into_response();
        }
        Some(Failure::Error(error)) => return slack.answer(refuse(&error)),
        Some(Failure::Http(status)) => {
            return StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
        }
        None => {}
    }
    let done = Arguments::read(&query.unwrap_or_default(), &headers, &body).and_then(|arguments| {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        match bearer.or_else(|| arguments.text("token")) {
            None => return refuse("not_authed"),
            Some(token) if token != slack.token => return refuse("invalid_auth"),
            Some(_) => {}
        }
        slack.perform(&method, &arguments)
    });
    if let Err(Refused { error, .. }) = &done
        && error == UNKNOWN
    {
        slack.effects.record_unexpected(SERVICE, format!("POST /api/{method}"), json!(String::from_utf8_lossy(&body)));
        let explanation = format!("the world's Slack does not know the method {method}");
        let refused = json!({"ok": false, "error": UNKNOWN, "response_metadata": {"messages": [explanation]}});
        return (StatusCode::NOT_IMPLEMENTED, axum::Json(refused)).into_response();
    }
    if done.is_ok() && slack.faults.take_lost_reply(&method) {
        return cut_connection();
    }
    slack.answer(done)
}

const UNKNOWN: &str = "unknown_method";

impl Slack {
    fn answer(&self, done: Done) -> Response {
        let scopes = self.lock().scopes.join(",");
        let body = match done {
            Ok(mut body) => {
                body["ok"] = json!(true);
                body
            }
            Err(Refused { error, messages, needed }) => {
                let mut body = json!({"ok": false, "error": error});
                if !messages.is_empty() {
                    let shown: Vec<String> = messages.iter().map(|message| format!("[ERROR] {message}")).collect();
                    body["errors"] = json!(messages);
                    body["response_metadata"] = json!({"messages": shown});
                }
                if let Some(needed) = needed {
                    body["needed"] = json!(needed);
                    body["provided"] = json!(scopes);
                }
                body
            }
        };
        let mut response = axum::Json(body).into_response();
        let scopes = HeaderValue::from_str(&scopes).expect("scopes are plain words");
        response.headers_mut().insert("x-oauth-scopes", scopes);
        response
    }

    fn perform(&self, method: &str, arguments: &Arguments) -> Done {
        {
            let state = self.lock();
            let needed = scopes::needed(&state, method, arguments.text("types"), arguments.text("channel"));
            if let Some(missing) = needed.into_iter().find(|scope| !state.scopes.iter().any(|has| has == scope)) {
                return Err(Refused { needed: Some(missing), ..refused("missing_scope") });
            }
        }
        match method {
            "auth.test" => Ok(self.auth_test()),
            "chat.postMessage" => self.post_message(arguments),
            "chat.update" => self.update_message(arguments),
            "chat.postEphemeral" => self.post_ephemeral(arguments),
            "conversations.list" => self.list_channels(arguments),
            "conversations.info" => {
                let state = self.lock();
                let channel = by_id(&state, arguments)?;
                Ok(json!({"channel": state.channel_json(state.channel(&channel).ok_or_else(lost)?)}))
            }
            "conversations.history" => self.history(arguments, false),
            "conversations.replies" => self.history(arguments, true),
            "users.info" => {
                let state = self.lock();
                let wanted = arguments.text("user").unwrap_or_default();
                match state.users.iter().find(|user| user.id == wanted) {
                    Some(user) => Ok(json!({"user": state.user_json(user)})),
                    None => refuse("user_not_found"),
                }
            }
            "users.list" => {
                let state = self.lock();
                let members: Vec<Value> = state.users.iter().map(|user| state.user_json(user)).collect();
                let (page, next) = page(&members, arguments)?;
                Ok(json!({"members": page, "response_metadata": {"next_cursor": next}}))
            }
            "usergroups.users.list" => {
                let state = self.lock();
                match state.user_groups.get(arguments.text("usergroup").unwrap_or_default()) {
                    Some(users) => Ok(json!({"users": users})),
                    None => refuse("no_such_subteam"),
                }
            }
            "reactions.add" => self.react(arguments),
            "views.open" => self.open_view(arguments),
            _ => refuse(UNKNOWN),
        }
    }

    fn auth_test(&self) -> Value {
        let url = self.lock().base_url.clone();
        json!({
            "url": format!("{url}/"), "team": "acme", "team_id": TEAM, "user": "ticketwright", "user_id": BOT,
            "bot_id": "B0TICKETWRIGHT", "app_id": APP, "is_enterprise_install": false,
        })
    }

    fn post_message(&self, arguments: &Arguments) -> Done {
        let mut state = self.lock();
        let direct = arguments.text("channel").and_then(|user| state.direct(user));
        let is_direct = direct.is_some();
        let channel = direct.map_or_else(|| channel_of(&state, arguments), Ok)?;
        let content = Content::read(arguments)?;
        let thread_ts = arguments.text("thread_ts").filter(|ts| !ts.is_empty()).map(str::to_owned);
        if let Some(ts) = &thread_ts
            && !state.messages.iter().any(|m| m.channel == channel && m.ts == *ts && m.thread_ts.is_none())
        {
            return refuse("thread_not_found");
        }
        let message = state.post(content.message(channel.clone(), thread_ts, None));
        let shown = state.message_json(&message, true);
        self.announce(state, if is_direct { "direct.posted" } else { "message.posted" }, &message);
        Ok(json!({"channel": channel, "ts": message.ts, "message": shown}))
    }

    fn post_ephemeral(&self, arguments: &Arguments) -> Done {
        let mut state = self.lock();
        let channel = channel_of(&state, arguments)?;
        let user = arguments.text("user").unwrap_or_default().to_owned();
        if !state.channel(&channel).is_some_and(|channel| channel.members.contains(&user)) {
            return refuse("user_not_in_channel");
        }
        let content = Content::read(arguments)?;
        let thread_ts = arguments.text("thread_ts").map(str::to_owned);
        let message = state.post(content.message(channel, thread_ts, Some(user)));
        let ts = message.ts.clone();
        self.announce(state, "ephemeral.posted", &message);
        Ok(json!({"message_ts": ts}))
    }

    fn update_message(&self, arguments: &Arguments) -> Done {
        let mut state = self.lock();
        // Unlike postMessage, update takes ids only.
        let channel = by_id(&state, arguments)?;
        let ts = arguments.text("ts").unwrap_or_default().to_owned();
        let content = Content::read(arguments)?;
        let blocks = state.with_block_ids(content.blocks);
        let Some(message) = state.message(&channel, &ts).filter(|message| message.ephemeral_to.is_none()) else {
            return refuse("message_not_found");
        };
        if message.user != BOT {
            return refuse("cant_update_message");
        }
        message.text = content.text;
        message.blocks = blocks;
        if !content.metadata.is_null() {
            message.metadata = content.metadata;
        }
        message.edited = true;
        let message = message.clone();
        let shown = state.message_json(&message, true);
        self.announce(state, "message.updated", &message);
        Ok(json!({"channel": channel, "ts": ts, "text": message.text, "message": shown}))
    }

    fn list_channels(&self, arguments: &Arguments) -> Done {
        let state = self.lock();
        let types = arguments.text("types");
        let is = |kind: &str| scopes::kinds(types).any(|wanted| wanted == kind);
        // A private channel exists only for those who are in it.
        let listed = |channel: &&Channel| {
            if channel.direct_with.is_some() {
                is("im")
            } else if channel.is_private {
                is("private_channel") && channel.bot_is_member
            } else {
                is("public_channel")
            }
        };
        let all: Vec<Value> = state.channels.iter().filter(listed).map(|channel| state.channel_json(channel)).collect();
        let (page, next) = page(&all, arguments)?;
        Ok(json!({"channels": page, "response_metadata": {"next_cursor": next}}))
    }

    fn history(&self, arguments: &Arguments, replies: bool) -> Done {
        let state = self.lock();
        let channel = by_id(&state, arguments)?;
        if !state.channel(&channel).is_some_and(|channel| channel.bot_is_member) {
            return refuse("not_in_channel");
        }
        let parent = arguments.text("ts").unwrap_or_default();
        let seen = |message: &&Message| message.channel == channel && message.ephemeral_to.is_none();
        let mut found: Vec<&Message> = if replies {
            if !state.messages.iter().filter(seen).any(|message| message.ts == parent) {
                return refuse("thread_not_found");
            }
            let in_thread = |m: &&Message| m.ts == parent || m.thread_ts.as_deref() == Some(parent);
            state.messages.iter().filter(seen).filter(in_thread).collect()
        } else {
            // Newest first, and without replies.
            state.messages.iter().rev().filter(seen).filter(|message| message.thread_ts.is_none()).collect()
        };
        let inclusive = arguments.flag("inclusive");
        let bound = |name: &str| arguments.text(name).filter(|ts| !ts.is_empty() && *ts != "0").map(ts_number);
        if let Some(oldest) = bound("oldest") {
            found.retain(|m| ts_number(&m.ts) > oldest || (inclusive && ts_number(&m.ts) == oldest));
        }
        if let Some(latest) = bound("latest") {
            found.retain(|m| ts_number(&m.ts) < latest || (inclusive && ts_number(&m.ts) == latest));
        }
        let metadata = arguments.flag("include_all_metadata");
        let shown: Vec<Value> = found.into_iter().map(|message| state.message_json(message, metadata)).collect();
        let (page, next) = page(&shown, arguments)?;
        let has_more = !next.is_empty();
        Ok(json!({"messages": page, "has_more": has_more, "response_metadata": {"next_cursor": next}}))
    }

    fn react(&self, arguments: &Arguments) -> Done {
        let mut state = self.lock();
        let channel = by_id(&state, arguments)?;
        let name = arguments.text("name").unwrap_or_default().trim_matches(':').to_owned();
        if name.is_empty() {
            return refuse("invalid_name");
        }
        let ts = arguments.text("timestamp").unwrap_or_default();
        let Some(message) = state.message(&channel, ts) else { return refuse("message_not_found") };
        let users = message.reactions.entry(name.clone()).or_default();
        if users.iter().any(|user| user == BOT) {
            return refuse("already_reacted");
        }
        users.push(BOT.to_owned());
        let detail = json!({"ts": ts, "name": name});
        let target = state.channel(&channel).map(Channel::label).unwrap_or_default();
        drop(state);
        self.effects.record(SERVICE, "reaction.added", target, detail);
        Ok(json!({}))
    }

    fn open_view(&self, arguments: &Arguments) -> Done {
        let Ok(view) = arguments.json("view") else { return refuse("invalid_arguments") };
        let messages = view_problems(&view);
        if !messages.is_empty() {
            return Err(Refused { messages, ..refused("invalid_arguments") });
        }
        let mut state = self.lock();
        let Some(trigger) = state.triggers.get_mut(arguments.text("trigger_id").unwrap_or_default()) else {
            return refuse("invalid_trigger_id");
        };
        if trigger.used {
            return refuse("exchanged_trigger_id");
        }
        if trigger.made.elapsed() > TRIGGER_LIFE {
            return refuse("expired_trigger_id");
        }
        trigger.used = true;
        let user = trigger.user.clone();
        let id = format!("V{}", state.number());
        let mut shown = view.clone();
        let blocks = view["blocks"].as_array().cloned().unwrap_or_default();
        shown["blocks"] = json!(state.with_block_ids(blocks));
        shown["id"] = json!(id);
        shown["team_id"] = json!(TEAM);
        shown["app_id"] = json!(APP);
        shown["hash"] = json!(state.ts());
        state.views.push(View { id, user: user.clone(), view: shown.clone(), errors: Value::Null });
        drop(state);
        self.effects.record(SERVICE, "view.opened", user, json!({"view": shown}));
        Ok(json!({"view": shown}))
    }
}

fn lost() -> Refused {
    refused("channel_not_found")
}

/// Id of a channel given by id.
fn by_id(state: &Memory, arguments: &Arguments) -> Result<String, Refused> {
    let wanted = arguments.text("channel").unwrap_or_default();
    state.channels.iter().find(|channel| channel.id == wanted).map(|channel| channel.id.clone()).ok_or_else(lost)
}

/// Id of a channel given by id or name, which the bot may write to.
fn channel_of(state: &Memory, arguments: &Arguments) -> Result<String, Refused> {
    let channel = state.channel(arguments.text("channel").unwrap_or_default()).ok_or_else(lost)?;
    if channel.bot_is_member { Ok(channel.id.clone()) } else { refuse("not_in_channel") }
}

fn ts_number(ts: &str) -> i64 {
    let (seconds, micros) = ts.split_once('.').unwrap_or((ts, "0"));
    seconds.parse::<i64>().unwrap_or_default() * 1_000_000 + format!("{micros:0<6}").parse::<i64>().unwrap_or_default()
}

/// One page of a list by `cursor` and `limit`, and the cursor of the next (empty at the end).
fn page(all: &[Value], arguments: &Arguments) -> Result<(Vec<Value>, String), Refused> {
    let limit = arguments.number("limit").filter(|limit| *limit > 0).unwrap_or(100).min(999);
    let start = match arguments.text("cursor").filter(|cursor| !cursor.is_empty()) {
        None => 0,
        Some(cursor) => match cursor.strip_prefix("next:").and_then(|start| start.parse().ok()) {
            Some(start) => start,
            None => return refuse("invalid_cursor"),
        },
    };
    let page: Vec<Value> = all.iter().skip(start).take(limit).cloned().collect();
    let end = start + page.len();
    Ok((page, if end < all.len() { format!("next:{end}") } else { String::new() }))
}

/// What a message says, checked.
pub(super) struct Content {
    pub text: String,
    pub blocks: Vec<Value>,
    pub metadata: Value,
}

impl Content {
    fn read(arguments: &Arguments) -> Result<Self, Refused> {
        let text = arguments.text("text").unwrap_or_default().to_owned();
        let (Ok(blocks), Ok(metadata)) = (arguments.json("blocks"), arguments.json("metadata")) else {
            return refuse("invalid_blocks_format");
        };
        Self::check(text, blocks, metadata)
    }

    /// The same from the parts of a `response_url` post; the error is Slack's word.
    pub(super) fn from_json(body: &Value) -> Result<Self, String> {
        let text = body["text"].as_str().unwrap_or_default().to_owned();
        Self::check(text, body["blocks"].clone(), Value::Null).map_err(|refused| refused.error)
    }

    fn check(text: String, blocks: Value, metadata: Value) -> Result<Self, Refused> {
        let blocks = match blocks {
            Value::Null => Vec::new(),
            Value::Array(blocks) => blocks,
            _ => return refuse("invalid_blocks_format"),
        };
        if text.is_empty() && blocks.is_empty() {
            return refuse("no_text");
        }
        if text.chars().count() > MAX_TEXT {
            return refuse("msg_too_long");
        }
        let messages = problems(&blocks, Surface::Message);
        if !messages.is_empty() {
            return Err(Refused { messages, ..refused("invalid_blocks") });
        }
        let complete = metadata["event_type"].is_string() && metadata["event_payload"].is_object();
        if !complete && !metadata.is_null() {
            return refuse("invalid_metadata_format");
        }
        Ok(Self { text, blocks, metadata })
    }

    /// A message of the bot; its `ts` comes when it is posted.
    pub(super) fn message(self, channel: String, thread_ts: Option<String>, ephemeral_to: Option<String>) -> Message {
        Message {
            channel,
            ts: String::new(),
            thread_ts,
            user: BOT.to_owned(),
            text: self.text,
            blocks: self.blocks,
            metadata: self.metadata,
            edited: false,
            reactions: BTreeMap::new(),
            ephemeral_to,
        }
    }
}
