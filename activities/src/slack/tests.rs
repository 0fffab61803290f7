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
