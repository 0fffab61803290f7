//! Against a small capture server: what goes over the wire, look before write, and the meaning of errors.

use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use workflows::contract::failure::FailureKind;
use workflows::contract::ids::{EffectKey, Generation};
use workflows::contract::slack::PostMessage;

use super::*;
use crate::capture::{Capture, Reply, hangs_up};

#[derive(Default)]
struct Fake {
    calls: Vec<(String, String)>,
    history: Vec<Value>,
    refuse: Option<(u16, Value)>,
}

type Shared = Arc<Mutex<Fake>>;

async fn answer(
    State(fake): State<Shared>,
    Path(method): Path<String>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, HeaderMap, Json<Value>) {
    assert_eq!(headers["authorization"], "Bearer xoxb-secret");
    let mut fake = fake.lock().unwrap();
    fake.calls.push((method.clone(), body.clone()));
    let mut reply_headers = HeaderMap::new();
    if method.starts_with("chat.")
        && let Some((status, reply)) = fake.refuse.take()
    {
        reply_headers.insert("retry-after", "7".parse().unwrap());
        return (StatusCode::from_u16(status).unwrap(), reply_headers, Json(reply));
    }
    let reply = match method.as_str() {
        "conversations.list" => json!({"ok": true, "channels": [{"id": "C1", "name": "ai-agents"}]}),
        "conversations.history" | "conversations.replies" => json!({"ok": true, "messages": fake.history}),
        "chat.postMessage" => {
            let mut message: Value = serde_json::from_str(&body).unwrap();
            message["ts"] = json!("1700000000.000100");
            fake.history.push(message);
            json!({"ok": true, "ts": "1700000000.000100", "channel": "C1"})
        }
        "chat.postEphemeral" => json!({"ok": true, "message_ts": "1700000000.000200"}),
        _ => json!({"ok": false, "error": "unknown_method"}),
    };
    (StatusCode::OK, reply_headers, Json(reply))
}

async fn slack(fake: &Shared) -> SlackClient {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api_url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().route("/{method}", post(answer)).with_state(fake.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    SlackClient::new(&Settings { api_url }, "xoxb-secret".to_owned().into()).unwrap()
}

fn message() -> PostMessage {
    PostMessage {
        channel: "#ai-agents".into(),
        thread: None,
        effect: EffectKey::new("ticket-SHOP-1", &Generation::of_event("e"), "slack/approval", 1),
        text: "hello".into(),
        blocks: vec![],
    }
}

#[tokio::test]
async fn a_message_whose_reply_was_lost_is_found_and_not_posted_again() {
    let fake = Shared::default();
    let slack = slack(&fake).await;
    let first = slack.post_once(&message()).await.unwrap();
    let second = slack.post_once(&message()).await.unwrap();
    assert_eq!(first, second);
    let posts = fake.lock().unwrap().calls.iter().filter(|(method, _)| method == "chat.postMessage").count();
    assert_eq!(posts, 1);
}

#[tokio::test]
async fn a_note_for_one_person_goes_to_them_alone_directly_if_they_are_not_in_the_channel() {
    let fake = Shared::default();
    let slack = slack(&fake).await;
    let note =
        TellPerson { channel: "#ai-agents".into(), thread: None, person: "U0BO".into(), text: "You may not.".into() };
    slack.tell(&note).await.unwrap();
    let (method, body) = fake.lock().unwrap().calls.last().unwrap().clone();
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(method, "chat.postEphemeral");
    assert_eq!(body, json!({"channel": "C1", "user": "U0BO", "text": "You may not."}));
    fake.lock().unwrap().refuse = Some((200, json!({"ok": false, "error": "user_not_in_channel"})));
    slack.tell(&note).await.unwrap();
    let (method, body) = fake.lock().unwrap().calls.last().unwrap().clone();
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (method.as_str(), &body["channel"], &body["text"]),
        ("chat.postMessage", &json!("U0BO"), &json!("You may not."))
    );
    fake.lock().unwrap().refuse = Some((200, json!({"ok": false, "error": "missing_scope", "needed": "chat:write"})));
    assert_eq!(slack.tell(&note).await.unwrap_err().kind, FailureKind::Unauthorized);
}

#[tokio::test]
async fn refusals_say_what_the_caller_should_do() {
    let cases = [
        (429, json!({}), FailureKind::RateLimited),
        (503, json!({}), FailureKind::Unavailable),
        (200, json!({"ok": false, "error": "channel_not_found"}), FailureKind::NotFound),
        (200, json!({"ok": false, "error": "not_in_channel"}), FailureKind::Unauthorized),
        (200, json!({"ok": false, "error": "invalid_blocks"}), FailureKind::Invalid),
        (200, json!({"ok": false, "error": "internal_error"}), FailureKind::Unavailable),
    ];
    for (status, reply, kind) in cases {
        let fake = Shared::default();
        let slack = slack(&fake).await;
        fake.lock().unwrap().refuse = Some((status, reply));
        let error = slack.post_once(&message()).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(!error.to_string().contains("xoxb-secret"));
        if status == 429 {
            assert_eq!(error.retry_after, Some(std::time::Duration::from_secs(7)));
        }
    }
}

#[tokio::test]
async fn a_channel_nobody_can_see_is_named() {
    let fake = Shared::default();
    let slack = slack(&fake).await;
    let error = slack.post_once(&PostMessage { channel: "#nowhere".into(), ..message() }).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::NotFound);
    assert!(error.to_string().contains("#nowhere"));
}

/// A Slack with these public and private channels; without private ones the token may not see any.
async fn with_channels(public: &'static str, private: Option<&'static str>) -> (Capture, SlackClient) {
    let listed = |name: &str| Reply::ok(json!({"ok": true, "channels": [{"id": format!("C-{name}"), "name": name}]}));
    let server = Capture::start(move |call| match (call.line.as_str(), call.text.as_str()) {
        ("POST /conversations.list", text) if text.contains("types=public_channel") && !text.contains("private") => {
            listed(public)
        }
        ("POST /conversations.list", text) if text.contains("types=private_channel") => match private {
            Some(private) => listed(private),
            None => Reply::ok(json!({"ok": false, "error": "missing_scope", "needed": "groups:read"})),
        },
        ("POST /conversations.info", _) => Reply::ok(json!({"ok": true, "channel": {"is_member": true}})),
        _ => Reply::unplanned(call),
    })
    .await;
    let slack = SlackClient::new(&Settings { api_url: server.url.clone() }, "xoxb-secret".to_owned().into()).unwrap();
    (server, slack)
}

#[tokio::test]
async fn a_public_channel_needs_no_scope_for_private_ones() {
    let (server, slack) = with_channels("ai-agents", None).await;
    assert!(slack.is_member("#ai-agents").await.unwrap());
    assert_eq!(server.lines(), ["POST /conversations.list", "POST /conversations.info"]);
    assert!(server.calls()[1].text.contains("channel=C-ai-agents"));
}

#[tokio::test]
async fn a_private_channel_is_looked_for_last_and_is_absent_for_a_token_that_may_not_see_it() {
    let (server, slack) = with_channels("general", Some("ai-agents")).await;
    assert!(slack.is_member("#ai-agents").await.unwrap());
    assert!(server.calls()[2].text.contains("channel=C-ai-agents"));
    let (server, slack) = with_channels("general", None).await;
    let error = slack.is_member("#ai-agents").await.unwrap_err();
    assert_eq!((error.kind, server.calls().len()), (FailureKind::NotFound, 2));
    assert!(error.message.contains("#ai-agents") && error.message.contains("groups:read"), "{error}");
}

#[tokio::test]
async fn a_scope_for_public_channels_that_is_missing_is_named() {
    let refused = json!({"ok": false, "error": "missing_scope", "needed": "channels:read"});
    let server = Capture::start(move |_| Reply::ok(refused.clone())).await;
    let slack = SlackClient::new(&Settings { api_url: server.url.clone() }, "xoxb-secret".to_owned().into()).unwrap();
    let error = slack.is_member("#ai-agents").await.unwrap_err();
    assert_eq!((error.kind, server.calls().len()), (FailureKind::Unauthorized, 1));
    assert!(error.message.contains("needs channels:read"), "{error}");
}

fn posted(ts: &str) -> Value {
    let key = message().effect;
    json!({"ts": ts, "metadata": {"event_type": "ticketwright_effect", "event_payload": {"key": key}}})
}

async fn scripted(mut history: Vec<Vec<Value>>) -> (Capture, SlackClient) {
    let server = Capture::start(move |call| match call.line.as_str() {
        "POST /conversations.history" | "POST /conversations.replies" => {
            let more = if call.line.ends_with("replies") && history.len() > 1 { "next" } else { "" };
            let messages = if history.is_empty() { vec![] } else { history.remove(0) };
            Reply::ok(json!({"ok": true, "messages": messages, "response_metadata": {"next_cursor": more}}))
        }
        "POST /chat.postMessage" => Reply::ok(json!({"ok": true, "ts": "1700000010.000200"})),
        "POST /chat.delete" => Reply::ok(json!({"ok": true})),
        _ => Reply::unplanned(call),
    })
    .await;
    let slack = SlackClient::new(&Settings { api_url: server.url.clone() }, "xoxb-secret".to_owned().into()).unwrap();
    (server, slack)
}

#[tokio::test]
async fn of_two_attempts_side_by_side_the_older_message_stays() {
    let (server, slack) = scripted(vec![vec![], vec![posted("1700000010.000200"), posted("1700000009.999999")]]).await;
    let kept = slack.post_once(&PostMessage { channel: "C1".into(), ..message() }).await.unwrap();
    assert_eq!(kept.ts, "1700000009.999999");
    let calls = server.calls();
    assert_eq!(calls[1].json["metadata"], posted("")["metadata"]);
    assert_eq!(calls[1].json["unfurl_links"], false);
    assert_eq!(calls[3].json, json!({"channel": "C1", "ts": "1700000010.000200"}));
}

#[tokio::test]
async fn a_thread_is_looked_through_to_its_end_and_other_apps_metadata_does_not_count() {
    let mut foreign = posted("1700000001.000000");
    foreign["metadata"]["event_type"] = json!("other_app");
    let (server, slack) = scripted(vec![vec![foreign], vec![posted("1700000002.000000")]]).await;
    let reply = PostMessage { channel: "C1".into(), thread: Some("1700000000.000000".into()), ..message() };
    assert_eq!(slack.post_once(&reply).await.unwrap().ts, "1700000002.000000");
    let calls = server.calls();
    assert_eq!(calls.len(), 2);
    for part in ["channel=C1", "ts=1700000000.000000", "include_all_metadata=true", "limit=200"] {
        assert!(calls[0].text.contains(part), "{}", calls[0].text);
    }
    assert!(calls[1].text.contains("cursor=next"));
}

#[tokio::test]
async fn a_cut_connection_is_an_outage_without_secrets() {
    let slack = SlackClient::new(&Settings { api_url: hangs_up().await }, "xoxb-secret".to_owned().into()).unwrap();
    let error = slack.post_once(&message()).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unavailable);
    assert!(!format!("{error:?} {slack:?}").contains("xoxb-secret"));
}

#[tokio::test]
async fn an_update_replaces_text_and_blocks() {
    let server = Capture::start(|_| Reply::ok(json!({"ok": true}))).await;
    let slack = SlackClient::new(&Settings { api_url: server.url.clone() }, "xoxb-secret".to_owned().into()).unwrap();
    let message = MessageRef { channel: "C1".into(), ts: "1.2".into() };
    let blocks = vec![json!({"type": "divider"})];
    slack.update(&UpdateMessage { message, text: "Approved".into(), blocks: blocks.clone() }).await.unwrap();
    let call = &server.calls()[0];
    assert_eq!(call.line, "POST /chat.update");
    assert_eq!(call.header("authorization"), "Bearer xoxb-secret");
    assert_eq!(call.json, json!({"channel": "C1", "ts": "1.2", "text": "Approved", "blocks": blocks}));
}
