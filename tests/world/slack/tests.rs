//! Slack over HTTP: what the app and a person at the page see.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::webhook::Delivery;

/// Requests the app got: path, content type, body.
type Received = Arc<Mutex<Vec<(String, String, String)>>>;

/// A Slack on a free port, with an app that answers 200 and remembers.
struct Stage {
    slack: Slack,
    effects: Effects,
    base: String,
    http: reqwest::Client,
    received: Received,
    secret: String,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Stage {
    async fn new() -> Self {
        let (credentials, effects, webhooks) = (Credentials::random(), Effects::default(), Webhooks::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("free port");
        let world = format!("http://{}", listener.local_addr().expect("address"));
        let slack = Slack::new(&world, &credentials, &effects, &webhooks);
        let received = Received::default();
        let seen = received.clone();
        let app = any(move |uri: axum::http::Uri, headers: axum::http::HeaderMap, body: String| async move {
            let kind = headers["content-type"].to_str().expect("content type").to_owned();
            seen.lock().expect("received").push((uri.path().to_owned(), kind, body.clone()));
            let is_submission = body.contains("view_submission");
            let is_short = is_submission && body.contains("%22value%22%3A%22short%22");
            match uri.path() {
                "/app/slack/commands" => r#"{"text": "SHOP-1 · executing"}"#.to_owned(),
                _ if is_short => r#"{"response_action": "errors", "errors": {"why": "Say more."}}"#.to_owned(),
                _ => String::new(),
            }
        });
        let router = axum::Router::new().nest("/slack", slack.router()).route("/app/{*path}", app);
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("server");
        });
        webhooks.set_target(format!("{world}/app"));
        let secret = credentials.slack_signing_secret;
        Self { slack, effects, base: format!("{world}/slack"), http: reqwest::Client::new(), received, secret, server }
    }

    async fn raw(&self, method: &str, body: &Value) -> reqwest::Result<reqwest::Response> {
        let url = format!("{}/api/{method}", self.base);
        self.http.post(url).bearer_auth(&self.slack.token).json(body).send().await
    }

    async fn call(&self, method: &str, body: Value) -> Value {
        let response = self.raw(method, &body).await.expect("answer");
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.expect("json")
    }

    async fn page(&self, path: &str, body: Value) -> Value {
        let sent = self.http.post(format!("{}/{path}", self.base)).json(&body).send().await.expect("answer");
        sent.json().await.expect("json")
    }

    /// The `payload` of the newest interaction.
    fn payload(&self) -> Value {
        let received = self.received.lock().expect("received");
        let (_, _, body) = received.iter().rev().find(|(path, ..)| path.ends_with("interactions")).expect("one");
        let pair = url::form_urlencoded::parse(body.as_bytes()).next().expect("payload");
        assert_eq!(pair.0, "payload");
        serde_json::from_str(&pair.1).expect("json")
    }

    async fn respond(&self, url: &str, body: Value) -> u16 {
        self.http.post(url).json(&body).send().await.expect("answer").status().as_u16()
    }
}

fn plan() -> Value {
    json!({
        "channel": "#ai-agents", "text": "SHOP-1: plan for your approval",
        "metadata": {"event_type": "ticketwright", "event_payload": {"key": "abc"}},
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": "*SHOP-1* · plan for your approval"}},
            {"type": "actions", "block_id": "decide", "elements": [
                {"type": "button", "action_id": "approve", "value": "{\"hash\":\"4f2a\"}", "style": "primary",
                 "text": {"type": "plain_text", "text": "Approve"}},
                {"type": "button", "action_id": "reject", "text": {"type": "plain_text", "text": "Reject"}},
            ]},
        ],
    })
}

fn signed(delivery: &Delivery, secret: &str) -> bool {
    let header = |name: &str| delivery.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let timestamp = header("X-Slack-Request-Timestamp").expect("timestamp");
    header("X-Slack-Signature") == Some(interact::signature(secret, timestamp, &delivery.body).as_str())
}

#[test]
fn signs_slacks_published_vector() {
    let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    assert_eq!(
        interact::signature("8f742231b10e8888abcd99yyyzzz85a5", "1531420618", body),
        "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    );
}

#[tokio::test]
async fn the_app_posts_threads_updates_and_reads_back() {
    let stage = Stage::new().await;
    let posted = stage.call("chat.postMessage", plan()).await;
    assert_eq!((&posted["ok"], &posted["channel"]), (&json!(true), &json!("C0AIAGENTS")));
    let ts = posted["ts"].as_str().expect("ts").to_owned();
    let reply = json!({"channel": "C0AIAGENTS", "thread_ts": ts, "text": "Writing the tests first."});
    let reply = stage.call("chat.postMessage", reply).await;
    let update = json!({"channel": "C0AIAGENTS", "ts": ts, "text": "Approved by Ana", "blocks": []});
    assert_eq!(stage.call("chat.update", update).await["text"], "Approved by Ana");

    let history =
        stage.call("conversations.history", json!({"channel": "C0AIAGENTS", "include_all_metadata": true})).await;
    assert_eq!(history["messages"].as_array().expect("list").len(), 1);
    assert_eq!(history["messages"][0]["metadata"]["event_payload"]["key"], "abc");
    assert_eq!(history["messages"][0]["reply_count"], 1);
    let replies = json!({"channel": "C0AIAGENTS", "ts": ts, "limit": 1});
    let first = stage.call("conversations.replies", replies.clone()).await;
    assert_eq!((&first["has_more"], &first["messages"][0]["ts"]), (&json!(true), &json!(ts)));
    assert!(first["messages"][0].get("metadata").is_none());
    let mut next = replies;
    next["cursor"] = first["response_metadata"]["next_cursor"].clone();
    assert_eq!(stage.call("conversations.replies", next).await["messages"][0]["ts"], reply["ts"]);
    assert!(ts.as_str() < reply["ts"].as_str().expect("ts"));

    assert_eq!(stage.slack.thread("ai-agents", &ts).len(), 2);
    assert_eq!(stage.slack.find("tests first").expect("reply").thread_ts, Some(ts));
    let effects = stage.effects.all();
    let kinds: Vec<&str> = effects.iter().map(|effect| effect.kind.as_str()).collect();
    assert_eq!(kinds, ["message.posted", "message.posted", "message.updated"]);
    assert_eq!(
        (effects[0].target.as_str(), effects[0].detail["metadata"]["event_type"].as_str()),
        ("#ai-agents", Some("ticketwright"))
    );
}

#[tokio::test]
async fn forms_are_read_as_well_and_tokens_are_checked() {
    let stage = Stage::new().await;
    let blocks = plan()["blocks"].to_string();
    let form =
        [("token", stage.slack.token.as_str()), ("channel", "errors"), ("text", "x"), ("blocks", blocks.as_str())];
    let sent =
        stage.http.post(format!("{}/api/chat.postMessage", stage.base)).form(&form).send().await.expect("answer");
    assert_eq!(sent.json::<Value>().await.expect("json")["message"]["blocks"][1]["block_id"], "decide");
    assert_eq!(stage.slack.messages("#errors").len(), 1);
    for (token, error) in [(Some("wrong"), "invalid_auth"), (None, "not_authed")] {
        let mut request = stage.http.post(format!("{}/api/auth.test", stage.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer: Value = request.send().await.expect("answer").json().await.expect("json");
        assert_eq!(answer, json!({"ok": false, "error": error}));
    }
    assert_eq!(stage.call("auth.test", json!({})).await["bot_id"], "B0TICKETWRIGHT");
}

#[tokio::test]
async fn refusals_use_slacks_words() {
    let stage = Stage::new().await;
    stage.slack.add_channel("C0SECRET", "secret");
    let long = "x".repeat(40_001);
    let section = json!([{"type": "section", "text": {"type": "mrkdwn", "text": "x".repeat(3001)}}]);
    let cases = [
        ("chat.postMessage", json!({"channel": "nowhere", "text": "x"}), "channel_not_found"),
        ("chat.postMessage", json!({"channel": "secret", "text": "x"}), "not_in_channel"),
        ("chat.postMessage", json!({"channel": "errors"}), "no_text"),
        ("chat.postMessage", json!({"channel": "errors", "text": long}), "msg_too_long"),
        ("chat.postMessage", json!({"channel": "errors", "text": "x", "blocks": section}), "invalid_blocks"),
        ("chat.postMessage", json!({"channel": "errors", "text": "x", "thread_ts": "1.2"}), "thread_not_found"),
        ("chat.postMessage", json!({"channel": "errors", "text": "x", "metadata": {}}), "invalid_metadata_format"),
        ("chat.update", json!({"channel": "C0ERRORS", "ts": "1.2", "text": "x"}), "message_not_found"),
        ("chat.update", json!({"channel": "errors", "ts": "1.2", "text": "x"}), "channel_not_found"),
        ("conversations.history", json!({"channel": "C0SECRET"}), "not_in_channel"),
        ("users.info", json!({"user": "U9"}), "user_not_found"),
        ("usergroups.users.list", json!({"usergroup": "S9"}), "no_such_subteam"),
        ("views.open", json!({"trigger_id": "1", "view": {}}), "invalid_arguments"),
    ];
    for (method, body, error) in cases {
        let answer = stage.call(method, body).await;
        assert_eq!((&answer["ok"], &answer["error"]), (&json!(false), &json!(error)), "{method}");
        if error == "invalid_blocks" {
            let message = answer["response_metadata"]["messages"][0].as_str().expect("message");
            assert_eq!(message, "[ERROR] must be less than 3001 characters [json-pointer:/blocks/0/text/text]");
        }
    }
    assert!(stage.effects.all().is_empty());
    let unknown = stage.raw("pins.add", &json!({})).await.expect("answer");
    assert_eq!(unknown.status(), StatusCode::NOT_IMPLEMENTED);
    assert_eq!(stage.effects.unexpected()[0].target, "POST /api/pins.add");
}

#[tokio::test]
async fn one_kind_of_channel_without_its_scope_refuses_the_whole_list() {
    let stage = Stage::new().await;
    stage.slack.add_private_channel("C0QUIET", "quiet");
    let both = json!({"types": "public_channel,private_channel"});
    let refused = stage.call("conversations.list", both.clone()).await;
    assert_eq!((&refused["error"], &refused["needed"]), (&json!("missing_scope"), &json!("groups:read")));
    assert!(refused.get("channels").is_none(), "not even the public ones");
    assert!(refused["provided"].as_str().is_some_and(|has| has.contains("channels:read")));
    let names = |listed: &Value| -> Vec<String> {
        let all = listed["channels"].as_array().expect("list").iter();
        all.map(|channel| channel["name"].as_str().expect("name").to_owned()).collect()
    };
    assert_eq!(names(&stage.call("conversations.list", json!({})).await), ["ai-agents", "errors"]);
    assert_eq!(stage.call("conversations.info", json!({"channel": "C0QUIET"})).await["needed"], "groups:read");
    assert_eq!(stage.call("conversations.history", json!({"channel": "C0QUIET"})).await["needed"], "groups:history");

    let scopes = stage.slack.scopes();
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).chain(["groups:read"]).collect();
    stage.slack.set_scopes(&scopes);
    assert_eq!(names(&stage.call("conversations.list", both).await), ["ai-agents", "errors", "quiet"]);
    let private = stage.call("conversations.list", json!({"types": "private_channel"})).await;
    assert_eq!((names(&private), &private["channels"][0]["is_private"]), (vec!["quiet".into()], &json!(true)));
    stage.slack.kick("quiet");
    assert!(names(&stage.call("conversations.list", json!({"types": "private_channel"})).await).is_empty());
    stage.slack.set_scopes(&[]);
    assert_eq!(stage.call("chat.postMessage", plan()).await["needed"], "chat:write");
}

#[tokio::test]
async fn a_click_is_signed_and_its_response_url_works_five_times() {
    let stage = Stage::new().await;
    let ts = stage.call("chat.postMessage", plan()).await["ts"].as_str().expect("ts").to_owned();
    let delivery = stage.slack.click("ana", &ts, "approve").await.expect("delivery");
    assert!(delivery.status == 200 && signed(&delivery, &stage.secret));
    let payload = stage.payload();
    assert_eq!((&payload["type"], &payload["user"]["id"]), (&json!("block_actions"), &json!("U0ANA")));
    assert_eq!(payload["container"]["message_ts"], json!(ts));
    let action = &payload["actions"][0];
    assert_eq!((&action["block_id"], &action["value"]), (&json!("decide"), &json!("{\"hash\":\"4f2a\"}")));
    assert_eq!(payload["message"]["metadata"]["event_payload"]["key"], "abc");

    let url = payload["response_url"].as_str().expect("url");
    assert_eq!(stage.respond(url, json!({"text": "Only approvers can approve."})).await, 200);
    let told = stage.slack.find("Only approvers").expect("ephemeral");
    assert_eq!(told.ephemeral_to.as_deref(), Some("U0ANA"));
    assert_eq!(stage.respond(url, json!({"text": "Approved", "replace_original": true})).await, 200);
    assert_eq!(stage.slack.thread("ai-agents", &ts)[0].text, "Approved");
    for _ in 0..3 {
        assert_eq!(stage.respond(url, json!({"text": "x", "response_type": "in_channel"})).await, 200);
    }
    assert_eq!(stage.respond(url, json!({"text": "x"})).await, 404);

    assert!(stage.slack.click("ana", &ts, "approve").await.is_err(), "the buttons are gone");
    let again = stage.slack.redeliver(0).await.expect("delivery");
    assert_eq!(again.body, delivery.body);
    assert!(again.headers.contains(&("X-Slack-Retry-Num".into(), "1".into())) && signed(&again, &stage.secret));
    stage.call("chat.postMessage", plan()).await;
    let newest = stage.slack.click_where("bo", |message| message.all_text().contains("SHOP-1"), "reject").await;
    assert_eq!(newest.expect("delivery").status, 200);
    assert_eq!(stage.payload()["user"]["id"], "U0BO");
}

#[tokio::test]
async fn a_modal_opens_once_per_trigger_and_closes_when_the_app_accepts() {
    let stage = Stage::new().await;
    let ts = stage.call("chat.postMessage", plan()).await["ts"].as_str().expect("ts").to_owned();
    stage.slack.click("ana", &ts, "approve").await.expect("delivery");
    let input = json!({"type": "input", "block_id": "why", "label": {"type": "plain_text", "text": "What should change?"},
        "element": {"type": "plain_text_input", "action_id": "text", "multiline": true}});
    let view = json!({"type": "modal", "callback_id": "changes", "private_metadata": "SHOP-1", "blocks": [input],
        "title": {"type": "plain_text", "text": "Request changes"}, "submit": {"type": "plain_text", "text": "Send"}});
    let open = json!({"trigger_id": stage.payload()["trigger_id"], "view": view});
    let opened = stage.call("views.open", open.clone()).await;
    assert_eq!(stage.call("views.open", open).await["error"], "exchanged_trigger_id");
    let id = opened["view"]["id"].as_str().expect("id");
    stage.slack.submit_view(id, &[("why", "text", "short")]).await.expect("delivery");
    assert_eq!(stage.slack.views("ana")[0].errors["why"], "Say more.");
    let answer = stage.page("submit", json!({"view": id, "values": {"why text": "Clamp per line"}})).await;
    assert_eq!(answer, json!({"ok": true}));
    assert!(stage.slack.views("ana").is_empty());
    let payload = stage.payload();
    assert_eq!(payload["view"]["state"]["values"]["why"]["text"]["value"], "Clamp per line");
    assert_eq!((&payload["type"], &payload["view"]["private_metadata"]), (&json!("view_submission"), &json!("SHOP-1")));
}

#[tokio::test]
async fn commands_and_mentions_reach_the_app() {
    let stage = Stage::new().await;
    let delivery = stage.slack.command("bo", "ai-agents", "/agent", "status SHOP-1").await.expect("delivery");
    assert!(signed(&delivery, &stage.secret));
    let answer = stage.slack.find("SHOP-1 · executing").expect("answer");
    assert_eq!(answer.ephemeral_to.as_deref(), Some("U0BO"));
    let (_, quiet) = stage.slack.say("bo", "ai-agents", "nice", None).await.expect("message");
    assert!(quiet.is_none());
    let said =
        stage.page("say", json!({"user": "ana", "channel": "ai-agents", "text": "@ticketwright how far?"})).await;
    assert_eq!(said, json!({"ok": true}));
    let received = stage.received.lock().expect("received").clone();
    assert_eq!(received[0].0, "/app/slack/commands");
    let form: std::collections::BTreeMap<_, _> = url::form_urlencoded::parse(received[0].2.as_bytes()).collect();
    assert_eq!((&*form["command"], &*form["text"], &*form["user_id"]), ("/agent", "status SHOP-1", "U0BO"));
    let event: Value = serde_json::from_str(&received[1].2).expect("event");
    assert_eq!((&event["type"], &event["event"]["type"]), (&json!("event_callback"), &json!("app_mention")));
    assert_eq!(event["event"]["text"], "<@U0TICKETWRIGHT> how far?");
    assert_eq!(received.len(), 2);
}

#[tokio::test]
async fn who_is_not_in_a_channel_is_told_in_direct_messages() {
    let stage = Stage::new().await;
    let note = json!({"channel": "C0AIAGENTS", "user": "U0BO", "text": "You may not."});
    assert_eq!(stage.call("chat.postEphemeral", note.clone()).await["ok"], true);
    stage.slack.leave("bo", "#ai-agents");
    assert_eq!(stage.call("chat.postEphemeral", note.clone()).await["error"], "user_not_in_channel");
    let to_ana = json!({"channel": "C0AIAGENTS", "user": "U0ANA", "text": "Nor you."});
    assert_eq!(stage.call("chat.postEphemeral", to_ana).await["ok"], true);
    assert!(stage.slack.direct_messages("bo").is_empty());
    let posted = stage.call("chat.postMessage", json!({"channel": "U0BO", "text": "You may not."})).await;
    assert_eq!(posted["channel"], "D0BO");
    let direct = stage.slack.direct_messages("bo");
    assert_eq!((direct.len(), direct[0].text.as_str()), (1, "You may not."));
    assert!(stage.slack.direct_messages("ana").is_empty());
    let gone = stage.call("chat.postMessage", json!({"channel": "U0NOBODY", "text": "x"})).await;
    assert_eq!(gone["error"], "channel_not_found");
    // Direct messages are no channels, and reading them takes a scope of its own.
    let listed = stage.call("conversations.list", json!({})).await;
    assert_eq!(listed["channels"].as_array().map(Vec::len), Some(2));
    let history = stage.call("conversations.history", json!({"channel": "D0BO"})).await;
    assert_eq!((&history["error"], &history["needed"]), (&json!("missing_scope"), &json!("im:history")));
    stage.slack.command("bo", "@", "/agent", "status SHOP-1").await.expect("delivery");
    let (_, _, form) = stage.received.lock().expect("received").last().expect("one").clone();
    assert!(form.contains("channel_id=D0BO") && form.contains("channel_name=directmessage"), "{form}");
}

#[tokio::test]
async fn planned_trouble_comes_once_and_a_lost_reply_leaves_its_effect() {
    let stage = Stage::new().await;
    let body = json!({"channel": "errors", "text": "once"});
    stage.slack.fail_next("chat.postMessage", Failure::RateLimited { retry_after: 3 });
    let limited = stage.raw("chat.postMessage", &body).await.expect("answer");
    assert_eq!((limited.status().as_u16(), limited.headers()["retry-after"].to_str().expect("text")), (429, "3"));
    stage.slack.fail_next("chat.postMessage", Failure::Error("internal_error".into()));
    assert_eq!(stage.call("chat.postMessage", body.clone()).await["error"], "internal_error");
    assert!(stage.slack.messages("errors").is_empty());
    stage.slack.drop_reply_after_effect("chat.postMessage");
    assert!(stage.raw("chat.postMessage", &body).await.is_err());
    assert_eq!(stage.slack.messages("errors").len(), 1);
}

#[tokio::test]
async fn the_page_shows_messages_and_its_buttons_work() {
    let stage = Stage::new().await;
    let ts = stage.call("chat.postMessage", plan()).await["ts"].as_str().expect("ts").to_owned();
    stage.call("chat.postMessage", json!({"channel": "ai-agents", "thread_ts": ts, "text": "In the *thread*"})).await;
    let feed: Value = reqwest::get(format!("{}/feed?channel=ai-agents&user=ana", stage.base))
        .await
        .expect("feed")
        .json()
        .await
        .expect("json");
    let shown = feed["html"].as_str().expect("html");
    assert!(shown.contains("<b>SHOP-1</b> · plan") && shown.contains("data-action=\"approve\""), "{shown}");
    assert!(shown.contains("1 reply") && shown.contains("In the <b>thread</b>"), "{shown}");
    let clicked = stage.page("click", json!({"user": "U0BO", "ts": ts, "action_id": "approve"})).await;
    assert_eq!(clicked, json!({"ok": true}));
    assert_eq!(stage.payload()["user"]["id"], "U0BO");
    for file in ["", "/page.js", "/page.css"] {
        let page = reqwest::get(format!("{}{file}", stage.base)).await.expect("page");
        assert_eq!(page.status(), StatusCode::OK, "{file}");
    }
    let limit = Duration::from_secs(5);
    stage.effects.wait_for("the post", limit, |effect| effect.kind == "message.posted").await.expect("effect");
}
