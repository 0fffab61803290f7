//! The chat page: channels, messages, threads, buttons, modals, a line to write. A small script polls the feed.

use std::collections::HashMap;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::state::{BOT, Message, State as Memory};
use super::{SERVICE, Slack, mrkdwn};
use crate::escape::html;
use crate::webhook::Delivery;

pub(super) fn routes() -> Router<Slack> {
    Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/page.js", get(async || script("text/javascript", include_str!("page.js"))))
        .route("/page.css", get(async || script("text/css", include_str!("page.css"))))
        .route("/feed", get(feed))
        .route("/click", post(click))
        .route("/say", post(say))
        .route("/submit", post(submit))
        .route("/close", post(close))
}

fn script(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind)], text)
}

pub(super) async fn unexpected(State(slack): State<Slack>, method: Method, uri: Uri, body: Bytes) -> Response {
    let call = format!("{method} {uri}");
    slack.effects.record_unexpected(SERVICE, call.clone(), json!(String::from_utf8_lossy(&body)));
    (StatusCode::NOT_IMPLEMENTED, format!("the world's Slack does not know {call}")).into_response()
}

/// Everything the page shows for a channel and a person.
async fn feed(State(slack): State<Slack>, Query(query): Query<HashMap<String, String>>) -> Response {
    let state = slack.lock();
    let wanted = query.get("channel").map_or("ai-agents", String::as_str);
    let Some(channel) = state.channel(wanted).or(state.channels.first()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let me = query.get("user").and_then(|user| state.user(user)).map_or("U0ANA", |user| user.id.as_str());
    let visible: Vec<&Message> = state
        .messages
        .iter()
        .filter(|m| m.channel == channel.id && m.ephemeral_to.as_deref().is_none_or(|user| user == me))
        .collect();
    let mut page = String::new();
    for message in visible.iter().filter(|message| message.thread_ts.is_none()) {
        page += &show(message, &state);
        let replies: Vec<&&Message> =
            visible.iter().filter(|reply| reply.thread_ts.as_ref() == Some(&message.ts)).collect();
        if !replies.is_empty() {
            let shown: String = replies.iter().map(|reply| show(reply, &state)).collect();
            let count = if replies.len() == 1 { "1 reply".into() } else { format!("{} replies", replies.len()) };
            page += &format!("<div class=\"thread\"><div class=\"count\">{count}</div>{shown}</div>");
        }
    }
    let channels: Vec<Value> = state
        .channels
        .iter()
        .filter(|c| c.direct_with.as_deref().is_none_or(|user| user == me))
        .map(|c| {
            let count = state.messages.iter().filter(|m| m.channel == c.id && m.ephemeral_to.is_none()).count();
            json!({"id": c.id, "name": c.name, "count": count})
        })
        .collect();
    let people: Vec<Value> = state
        .users
        .iter()
        .filter(|user| user.id != BOT)
        .map(|user| json!({"id": user.id, "name": user.name, "real_name": user.real_name}))
        .collect();
    let views: Vec<Value> = state
        .views
        .iter()
        .filter(|view| view.user == me)
        .map(|view| json!({"id": view.id, "html": show_view(&view.view, &view.errors, &state)}))
        .collect();
    let current = json!({"id": channel.id, "name": channel.name});
    axum::Json(json!({
        "channel": current, "user": me, "channels": channels, "people": people, "views": views, "html": page,
    }))
    .into_response()
}

fn show(message: &Message, state: &Memory) -> String {
    let author = state.user(&message.user).map_or(message.user.as_str(), |user| user.real_name.as_str());
    let seconds = message.ts.split('.').next().and_then(|s| s.parse().ok()).unwrap_or_default();
    let at = chrono::DateTime::from_timestamp(seconds, 0).map(|at| at.format("%H:%M").to_string()).unwrap_or_default();
    let body = if message.blocks.is_empty() {
        mrkdwn::render(&message.text, state)
    } else {
        mrkdwn::blocks(&message.blocks, &message.ts, state)
    };
    let bot = message.user == BOT;
    let reactions: String = message
        .reactions
        .iter()
        .map(|(name, users)| format!("<span>{} {}</span>", html(&mrkdwn::reaction(name)), users.len()))
        .collect();
    format!(
        "<article class=\"message{}\" data-ts=\"{}\"><div class=\"face{}\">{}</div><div class=\"body\"><div class=\"who\">\
         <b>{}</b>{}<time>{at}</time>{}{}</div><div class=\"text\">{body}</div>{}</div></article>",
        if message.ephemeral_to.is_some() { " ephemeral" } else { "" },
        html(&message.ts),
        if bot { " bot" } else { "" },
        html(&author.chars().take(1).collect::<String>()),
        html(author),
        if bot { "<i class=\"app\">APP</i>" } else { "" },
        if message.edited { "<i class=\"edited\">(edited)</i>" } else { "" },
        if message.ephemeral_to.is_some() { "<i class=\"edited\">Only visible to you</i>" } else { "" },
        if reactions.is_empty() { String::new() } else { format!("<div class=\"reactions\">{reactions}</div>") },
    )
}

/// A modal as a form; inputs are named `block_id action_id`.
fn show_view(view: &Value, errors: &Value, state: &Memory) -> String {
    let mut form = format!("<h2>{}</h2>", mrkdwn::text_object(&view["title"], state));
    for block in view["blocks"].as_array().into_iter().flatten() {
        if block["type"] != "input" {
            form += &mrkdwn::blocks(std::slice::from_ref(block), "", state);
            continue;
        }
        let (id, element) = (block["block_id"].as_str().unwrap_or_default(), &block["element"]);
        let name = html(&format!("{id} {}", element["action_id"].as_str().unwrap_or_default()));
        let text = |value: &Value| html(value.as_str().unwrap_or_default());
        let required = if block["optional"] == true { "" } else { " required" };
        let field = match element["type"].as_str() {
            Some("static_select" | "radio_buttons") => {
                let options: String = element["options"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|o| format!("<option value=\"{}\">{}</option>", text(&o["value"]), text(&o["text"]["text"])))
                    .collect();
                format!("<select name=\"{name}\">{options}</select>")
            }
            Some("plain_text_input") if element["multiline"] == true => format!(
                "<textarea name=\"{name}\" rows=\"4\" placeholder=\"{}\"{required}>{}</textarea>",
                text(&element["placeholder"]["text"]),
                text(&element["initial_value"])
            ),
            _ => format!(
                "<input name=\"{name}\" placeholder=\"{}\" value=\"{}\"{required}>",
                text(&element["placeholder"]["text"]),
                text(&element["initial_value"])
            ),
        };
        let error = errors[id].as_str().map(|e| format!("<div class=\"error\">{}</div>", html(e)));
        form += &format!("<label>{}{field}</label>{}", text(&block["label"]["text"]), error.unwrap_or_default());
    }
    let label = |name: &str, otherwise: &str| html(view[name]["text"].as_str().unwrap_or(otherwise));
    let submit = match view.get("submit") {
        Some(_) => format!("<button class=\"button primary\" type=\"submit\">{}</button>", label("submit", "Submit")),
        None => String::new(),
    };
    let close = format!("<button class=\"button\" type=\"button\" data-close>{}</button>", label("close", "Cancel"));
    form + &format!("<div class=\"actions end\">{close}{submit}</div>")
}

/// What the page tells the person about the app's answer.
fn told(sent: anyhow::Result<Option<Delivery>>) -> Response {
    match sent {
        Ok(None) => axum::Json(json!({"ok": true})).into_response(),
        Ok(Some(delivery)) if delivery.status == 200 => axum::Json(json!({"ok": true})).into_response(),
        Ok(Some(delivery)) => {
            let error = match delivery.status {
                0 => "The app did not answer.".to_owned(),
                status => format!("The app answered with {status}. {}", delivery.answer),
            };
            axum::Json(json!({"ok": false, "error": error})).into_response()
        }
        Err(error) => {
            (StatusCode::BAD_REQUEST, axum::Json(json!({"ok": false, "error": error.to_string()}))).into_response()
        }
    }
}

#[derive(Debug, Deserialize)]
struct Click {
    user: String,
    ts: String,
    action_id: String,
    /// Name of an input of the message (`block_id action_id`) to its text.
    #[serde(default)]
    values: HashMap<String, String>,
}

async fn click(State(slack): State<Slack>, axum::Json(click): axum::Json<Click>) -> Response {
    let typed = inputs(&click.values);
    told(slack.click_with(&click.user, &click.ts, &click.action_id, &typed).await.map(Some))
}

#[derive(Debug, Deserialize)]
struct Said {
    user: String,
    channel: String,
    text: String,
    thread_ts: Option<String>,
}

async fn say(State(slack): State<Slack>, axum::Json(said): axum::Json<Said>) -> Response {
    let text = said.text.trim();
    if text.starts_with('/') {
        let (command, rest) = text.split_once(' ').unwrap_or((text, ""));
        return told(slack.command(&said.user, &said.channel, command, rest.trim()).await.map(Some));
    }
    // As in the real composer, a typed handle becomes a mention.
    let text = text.replace("@ticketwright", &format!("<@{BOT}>"));
    told(slack.say(&said.user, &said.channel, &text, said.thread_ts.as_deref()).await.map(|(_, delivery)| delivery))
}

#[derive(Debug, Deserialize)]
struct Submit {
    view: String,
    /// Input name (`block_id action_id`) to value.
    #[serde(default)]
    values: HashMap<String, String>,
}

fn inputs(values: &HashMap<String, String>) -> Vec<(&str, &str, &str)> {
    let parts =
        values.iter().filter_map(|(name, value)| name.split_once(' ').map(|(block, action)| (block, action, value)));
    parts.map(|(block, action, value)| (block, action, value.as_str())).collect()
}

async fn submit(State(slack): State<Slack>, axum::Json(submit): axum::Json<Submit>) -> Response {
    let values = inputs(&submit.values);
    told(slack.submit_view(&submit.view, &values).await.map(Some))
}

async fn close(State(slack): State<Slack>, axum::Json(submit): axum::Json<Submit>) -> Response {
    slack.close_view(&submit.view);
    told(Ok(None))
}
