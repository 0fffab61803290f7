//! The whole way: a signed delivery over TCP, a run in Temporal, a clean stop.

use std::time::Duration;

use clap::Parser;
use hmac::{Hmac, KeyInit, Mac};
use ingress::app::App;
use ingress::config::Options;
use ingress::serve::serve;
use ingress::temporal::Temporal;
use serde_json::Value;
use temporalio_client::ClientOptions;

use crate::dev_server::{DevServer, signals, terminate};

const JIRA: &str = include_str!("../../src/testdata/jira_issue_updated.json");
const SLACK: &str = include_str!("../../src/testdata/slack_block_actions.json");

fn sign(secret: &str, message: &[u8]) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message);
    hex::encode(mac.finalize().into_bytes())
}

async fn label(http: &reqwest::Client, base: &str, body: &str) -> (u16, Value) {
    let request = http.post(format!("{base}/webhooks/jira")).body(body.to_owned());
    let request = request.header("X-Hub-Signature", format!("sha256={}", sign("jira-secret", body.as_bytes())));
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn click(http: &reqwest::Client, base: &str, payload: &Value) -> reqwest::Response {
    let time = (crate::dev_server::now() / 1000).to_string();
    let form =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &payload.to_string()).finish();
    let signature = sign("slack-secret", format!("v0:{time}:{form}").as_bytes());
    let request = http.post(format!("{base}/slack/interactions")).header("X-Slack-Request-Timestamp", time);
    let request = request.header("X-Slack-Signature", format!("v0={signature}"));
    request.header("Content-Type", "application/x-www-form-urlencoded").body(form).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_signed_delivery_to_a_run_and_to_the_end() {
    let server = DevServer::shared();
    let client = server.client("default").await;
    let options = ["ingress", "--jira-webhook-secret", "jira-secret", "--slack-signing-secret", "slack-secret"];
    let settings = Options::try_parse_from(options).unwrap().settings().unwrap();
    let temporal = Temporal::default();
    let app = App::new(settings, temporal.clone()).unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, app, async {
        let _ = stopped.await;
    }));
    let http = reqwest::Client::new();
    let labelled = JIRA.replace("1763700000123", &crate::dev_server::now().to_string());
    let status = |path: &'static str| {
        let request = http.get(format!("{base}{path}"));
        async move { request.send().await.unwrap().status().as_u16() }
    };

    // Up at once, ready once Temporal is.
    assert_eq!((status("/healthz").await, status("/readyz").await), (200, 503));
    assert_eq!(label(&http, &base, &labelled).await.0, 503);
    temporal.connect(server.connection(), ClientOptions::new("default").build()).await;
    assert_eq!(status("/readyz").await, 200);

    let (code, first) = label(&http, &base, &labelled).await;
    assert_eq!((code, &first["ticket"], &first["new"]), (202, &"SHOP-1".into(), &true.into()), "{first}");
    assert_eq!((&first["workflow_id"], &first["outcome"]), (&"ticket-SHOP-1".into(), &"started".into()));
    let (code, again) = label(&http, &base, &labelled).await;
    assert_eq!((code, &again["new"], &again["run_id"]), (202, &false.into(), &first["run_id"]), "{again}");

    // A click works, and after the end the one who clicks hears of it.
    let (sent, mut told) = tokio::sync::mpsc::channel(1);
    let answer = axum::routing::post(move |axum::Json(message): axum::Json<Value>| async move {
        sent.send(message).await.unwrap();
    });
    let slack = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let mut payload: Value = serde_json::from_str(SLACK).unwrap();
    payload["response_url"] = format!("http://{}/", slack.local_addr().unwrap()).into();
    tokio::spawn(async move { axum::serve(slack, axum::Router::new().route("/", answer)).await });
    let clicked = click(&http, &base, &payload).await;
    assert_eq!((clicked.status().as_u16(), clicked.text().await.unwrap()), (200, String::new()));
    assert_eq!(signals(&client, "ticket-SHOP-1").await[0].0, "approve");
    terminate(&client, "ticket-SHOP-1").await;
    payload["actions"][0]["action_ts"] = "1763700999.000001".into();
    assert_eq!(click(&http, &base, &payload).await.status().as_u16(), 200);
    let message = tokio::time::timeout(Duration::from_secs(10), told.recv()).await.unwrap().unwrap();
    assert_eq!(message["text"], "SHOP-1 is terminated; there is nothing left to approve.");

    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
    let refused = reqwest::Client::new().get(format!("{base}/healthz")).send().await.unwrap_err();
    assert!(refused.is_connect(), "{refused}");
}
