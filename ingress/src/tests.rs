//! The routes as a whole, without a Temporal: every way a request can be refused, and what is ignored.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::app::{App, BODY_LIMIT};
use crate::config::Options;
use crate::temporal::Temporal;

const JIRA: &str = include_str!("testdata/jira_issue_updated.json");
const GITHUB: &str = include_str!("testdata/github_pull_request.json");
const SENTRY: &str = include_str!("testdata/sentry_event_alert.json");
const SLACK: &str = include_str!("testdata/slack_block_actions.json");

fn app_with(jira: Option<&str>) -> App {
    // As `main` does; a second time in the same process is refused and harmless.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let options = Options {
        jira_webhook_secret: jira.map(|secret| secret.to_owned().into()),
        github_webhook_secret: Some("github-secret".to_owned().into()),
        slack_signing_secret: Some("slack-secret".to_owned().into()),
        sentry_client_secret: Some("sentry-secret".to_owned().into()),
        ..Options::for_tests()
    };
    App::new(options.settings().unwrap(), Temporal::default()).unwrap()
}

fn app() -> App {
    app_with(Some("jira-secret"))
}

fn hmac(secret: &str, message: &[u8]) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message);
    hex::encode(mac.finalize().into_bytes())
}

/// The label is added at this moment.
fn labelled_now() -> String {
    JIRA.replace("1763700000123", &chrono::Utc::now().timestamp_millis().to_string())
}

type Headers = Vec<(&'static str, String)>;

fn jira(secret: &str, body: &[u8]) -> Headers {
    vec![("x-hub-signature", format!("sha256={}", hmac(secret, body)))]
}

fn github(secret: &str, event: &str, body: &[u8]) -> Headers {
    vec![("x-github-event", event.into()), ("x-hub-signature-256", format!("sha256={}", hmac(secret, body)))]
}

fn sentry(secret: &str, resource: &str, body: &[u8]) -> Headers {
    vec![("sentry-hook-resource", resource.into()), ("sentry-hook-signature", hmac(secret, body))]
}

/// The error happened at this moment.
fn reported_now() -> String {
    SENTRY.replace("1763700000.123", &format!("{}.5", chrono::Utc::now().timestamp()))
}

fn slack(secret: &str, age: i64, body: &[u8]) -> Headers {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let time = (i64::try_from(now).unwrap() - age).to_string();
    let message = [b"v0:", time.as_bytes(), b":", body].concat();
    vec![("x-slack-signature", format!("v0={}", hmac(secret, &message))), ("x-slack-request-timestamp", time)]
}

fn form(payload: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", payload).finish()
}

async fn post(app: &App, path: &str, headers: Headers, body: impl Into<Body>) -> Response<Body> {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    app.router().oneshot(request.body(body.into()).unwrap()).await.unwrap()
}

async fn read(response: Response<Body>) -> (StatusCode, Value) {
    assert!(response.headers().contains_key("x-request-id"));
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn requests_without_a_fitting_signature_get_401() {
    let app = app();
    let slack_body = form(SLACK);
    let other = |headers: Headers| headers.into_iter().filter(|(name, _)| !name.contains("signature")).collect();
    let cases: Vec<(&str, &str, Headers, &str)> = vec![
        ("jira, wrong secret", "/webhooks/jira", jira("x", JIRA.as_bytes()), "does not fit"),
        ("jira, other body", "/webhooks/jira", jira("jira-secret", b"{}"), "does not fit"),
        ("jira, none", "/webhooks/jira", vec![], "X-Hub-Signature is missing"),
        ("jira, empty secret", "/webhooks/jira", jira("", JIRA.as_bytes()), "does not fit"),
        (
            "jira, GitHub's header",
            "/webhooks/jira",
            github("jira-secret", "x", JIRA.as_bytes()),
            "X-Hub-Signature is missing",
        ),
        ("github, wrong", "/webhooks/github", github("x", "ping", GITHUB.as_bytes()), "does not fit"),
        ("github, none", "/webhooks/github", vec![("x-github-event", "ping".into())], "X-Hub-Signature-256 is missing"),
        ("sentry, wrong", "/webhooks/sentry", sentry("x", "event_alert", SENTRY.as_bytes()), "does not fit"),
        ("sentry, none", "/webhooks/sentry", vec![("sentry-hook-resource", "issue".into())], "Signature is missing"),
        ("slack, wrong", "/slack/interactions", slack("x", 0, slack_body.as_bytes()), "does not fit"),
        ("slack, command", "/slack/commands", slack("x", 0, slack_body.as_bytes()), "does not fit"),
        ("slack, stale event", "/slack/events", slack("slack-secret", 330, slack_body.as_bytes()), "5 minutes"),
        ("slack, stale", "/slack/interactions", slack("slack-secret", 330, slack_body.as_bytes()), "5 minutes"),
        ("slack, future", "/slack/interactions", slack("slack-secret", -330, slack_body.as_bytes()), "5 minutes"),
        ("slack, no time", "/slack/interactions", vec![("x-slack-signature", "v0=00".into())], "Timestamp is missing"),
        ("slack, no signature", "/slack/interactions", other(slack("slack-secret", 0, b"")), "Signature is missing"),
    ];
    for (name, path, headers, reason) in cases {
        let body = match path {
            "/webhooks/jira" => JIRA.to_owned(),
            "/webhooks/github" => GITHUB.to_owned(),
            "/webhooks/sentry" => SENTRY.to_owned(),
            _ => slack_body.clone(),
        };
        let (status, answer) = read(post(&app, path, headers, body).await).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{name}");
        assert!(answer["error"].as_str().unwrap().contains(reason), "{name}: {answer}");
    }
}

#[tokio::test]
async fn a_signed_body_that_cannot_be_read_gets_400_with_the_reason() {
    let app = app();
    for (body, reason) in [("{", "JSON"), ("", "JSON"), ("payload=%7B%7D", "JSON")] {
        let headers = jira("jira-secret", body.as_bytes());
        let (status, answer) = read(post(&app, "/webhooks/jira", headers, body).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(answer["error"].as_str().unwrap().contains(reason), "{answer}");
    }
    let headers = github("github-secret", "pull_request", b"[]");
    assert_eq!(post(&app, "/webhooks/github", headers, "[]").await.status(), StatusCode::BAD_REQUEST);
    let mut headers = github("github-secret", "ping", b"{}");
    headers.remove(0);
    let (status, answer) = read(post(&app, "/webhooks/github", headers, "{}").await).await;
    assert_eq!(
        (status, answer["error"].as_str().unwrap()),
        (StatusCode::BAD_REQUEST, "the header X-GitHub-Event is missing")
    );
    let headers = sentry("sentry-secret", "event_alert", b"[]");
    assert_eq!(post(&app, "/webhooks/sentry", headers, "[]").await.status(), StatusCode::BAD_REQUEST);
    let mut headers = sentry("sentry-secret", "event_alert", SENTRY.as_bytes());
    headers.remove(0);
    let (status, answer) = read(post(&app, "/webhooks/sentry", headers, SENTRY).await).await;
    assert_eq!(
        (status, answer["error"].as_str().unwrap()),
        (StatusCode::BAD_REQUEST, "the header Sentry-Hook-Resource is missing")
    );
    let headers = slack("slack-secret", 0, b"payload=x");
    assert_eq!(post(&app, "/slack/interactions", headers, "payload=x").await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_is_not_for_us_gets_200_and_the_reason() {
    let app = app();
    let comment = r#"{"timestamp":1,"webhookEvent":"comment_created"}"#;
    let modal = form(r#"{"type":"view_closed"}"#);
    for (path, headers, body, reason) in [
        ("/webhooks/jira", jira("jira-secret", comment.as_bytes()), comment, "comment_created"),
        (
            "/webhooks/jira",
            jira("jira-secret", JIRA.as_bytes()),
            JIRA,
            "too old to start anything; add the label again",
        ),
        ("/webhooks/github", github("github-secret", "ping", b"{}"), "{}", "ping"),
        ("/webhooks/github", github("github-secret", "push", b"{}"), "{}", "push"),
        ("/webhooks/sentry", sentry("sentry-secret", "installation", b"{}"), "{}", "installation"),
        (
            "/webhooks/sentry",
            sentry("sentry-secret", "event_alert", SENTRY.as_bytes()),
            SENTRY,
            "too old to start anything; the sweep finds it",
        ),
        ("/slack/interactions", slack("slack-secret", 0, modal.as_bytes()), &modal, "view_closed"),
    ] {
        let (status, answer) = read(post(&app, path, headers, body.to_owned()).await).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(answer["ignored"].as_str().unwrap().contains(reason), "{answer}");
    }
}

#[tokio::test]
async fn slack_commands_and_events_are_answered_without_temporal_too() {
    let app = app();
    let command = |text: &str| format!("command=%2Fagent&text={text}&user_id=U0ANA&user_name=ana");
    for (text, part) in [
        ("", "/agent status SHOP-1"),
        ("help", "/agent request-changes"),
        ("dance", "I don't know the command `dance`"),
        ("status", "needs a ticket"),
        ("status+SHOP-1", "Temporal does not answer"),
        ("cancel+SHOP-1", "could not cancel SHOP-1"),
    ] {
        let body = command(text);
        let headers = slack("slack-secret", 0, body.as_bytes());
        let (status, answer) = read(post(&app, "/slack/commands", headers, body).await).await;
        assert_eq!((status, &answer["response_type"]), (StatusCode::OK, &json!("ephemeral")), "{text}");
        assert!(answer["text"].as_str().unwrap().contains(part), "{text}: {answer}");
        assert_eq!(answer["blocks"][0]["type"], "section");
    }
    let test = r#"{"type":"url_verification","challenge":"3eZbrw1a"}"#;
    let headers = slack("slack-secret", 0, test.as_bytes());
    let (status, answer) = read(post(&app, "/slack/events", headers, test).await).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({"challenge": "3eZbrw1a"})));
    for (path, body) in [("/slack/commands", "text=help"), ("/slack/events", "{")] {
        let headers = slack("slack-secret", 0, body.as_bytes());
        assert_eq!(post(&app, path, headers, body).await.status(), StatusCode::BAD_REQUEST, "{path}");
    }
}

#[tokio::test]
async fn a_body_over_the_cap_gets_413_before_anything_is_computed() {
    let app = app();
    let body = vec![b' '; BODY_LIMIT + 1];
    let (status, answer) = read(post(&app, "/webhooks/github", vec![], body).await).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer["error"].as_str().unwrap().contains("25 MiB"));
    let body = vec![b' '; BODY_LIMIT];
    let status = post(&app, "/webhooks/github", vec![], body).await.status();
    assert_eq!(status, StatusCode::UNAUTHORIZED, "the cap itself still fits");
}

#[tokio::test]
async fn other_routes_and_methods_are_answered_in_json() {
    let app = app();
    for (method, path, expected) in [
        ("GET", "/", 404),
        ("POST", "/webhooks/gitlab", 404),
        ("POST", "/webhooks/jira/", 404),
        ("GET", "/webhooks/jira", 405),
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 503),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let (status, answer) = read(app.router().oneshot(request).await.unwrap()).await;
        assert_eq!(status.as_u16(), expected, "{method} {path}");
        assert!(answer.is_object(), "{method} {path}");
    }
}

#[tokio::test]
async fn a_route_without_a_secret_is_off_and_says_how_to_switch_it_on() {
    for secret in [None, Some(""), Some("  ")] {
        let headers = jira(secret.unwrap_or_default(), JIRA.as_bytes());
        let response = post(&app_with(secret), "/webhooks/jira", headers, JIRA).await;
        assert!(response.headers().contains_key("retry-after"));
        let (status, answer) = read(response).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer["error"].as_str().unwrap().contains("JIRA_WEBHOOK_SECRET"), "{answer}");
    }
}

#[tokio::test]
async fn without_temporal_the_sender_is_asked_to_come_again() {
    let app = app();
    let (slack_body, labelled, reported) = (form(SLACK), labelled_now(), reported_now());
    for (path, headers, body) in [
        ("/webhooks/jira", jira("jira-secret", labelled.as_bytes()), labelled.as_str()),
        ("/webhooks/github", github("github-secret", "pull_request", GITHUB.as_bytes()), GITHUB),
        ("/webhooks/sentry", sentry("sentry-secret", "event_alert", reported.as_bytes()), reported.as_str()),
    ] {
        let response = post(&app, path, headers, body.to_owned()).await;
        assert_eq!(response.headers()["retry-after"], "15", "{path}");
        assert_eq!(read(response).await.0, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    // The person who clicked is told; here through a Slack of our own.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/answer", listener.local_addr().unwrap());
    let (sent, mut told) = tokio::sync::mpsc::channel(1);
    let slack_api = axum::Router::new().route(
        "/answer",
        axum::routing::post(move |axum::Json(message): axum::Json<Value>| async move {
            sent.send(message).await.unwrap();
        }),
    );
    tokio::spawn(async move { axum::serve(listener, slack_api).await });
    let mut payload: Value = serde_json::from_str(SLACK).unwrap();
    payload["response_url"] = json!(url);
    assert_ne!(form(&payload.to_string()), slack_body);
    let body = form(&payload.to_string());
    let headers = slack("slack-secret", 0, body.as_bytes());
    let status = post(&app, "/slack/interactions", headers, body).await.status();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let message = told.recv().await.unwrap();
    assert_eq!(message["response_type"], "ephemeral");
    assert_eq!(message["replace_original"], false);
    assert!(message["text"].as_str().unwrap().contains("could not approve SHOP-1"), "{message}");
}
