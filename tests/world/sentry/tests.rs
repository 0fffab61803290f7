//! Sentry over HTTP: what a client and a webhook receiver see.

use std::time::{Duration, Instant};

use activities::sentry::{Redactor, SentryClient, Settings};
use axum::routing::post;
use reqwest::Method;
use serde_json::{Value, json};

use super::*;
use crate::webhook::hmac_sha256_hex;

const LIMIT: Duration = Duration::from_secs(20);

/// A Sentry on a free port, with a receiver of its webhooks, and the product's own client.
struct Stage {
    sentry: Sentry,
    effects: Effects,
    webhooks: Webhooks,
    base: String,
    credentials: Credentials,
    client: SentryClient,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Stage {
    async fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (credentials, effects, webhooks) = (Credentials::random(), Effects::default(), Webhooks::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("free port");
        let world = format!("http://{}", listener.local_addr().expect("address"));
        let sentry = Sentry::new(&world, &credentials, &effects, &webhooks);
        let app = axum::Router::new().nest("/sentry", sentry.router()).route("/webhooks/sentry", post(|| async { "" }));
        let server = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("server");
        });
        webhooks.set_target(&world);
        let base = format!("{world}/sentry");
        let settings = Settings { url: base.clone(), organisation: ORGANISATION.into() };
        let client = SentryClient::new(&settings, credentials.sentry_token.clone().into()).expect("client");
        Self { sentry, effects, webhooks, base, credentials, client, server }
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = reqwest::Client::new()
            .request(method, format!("{}/api/0{path}", self.base))
            .bearer_auth(&self.credentials.sentry_token);
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.expect("answer");
        assert!(response.headers().contains_key("x-sentry-rate-limit-remaining"));
        (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
    }

    /// Waits until so many webhooks were answered; gives resource, action and body of each.
    async fn delivered(&self, count: usize) -> Vec<(String, Value)> {
        let begun = Instant::now();
        while self.webhooks.log().len() < count {
            assert!(begun.elapsed() < LIMIT, "only {} of {count} webhooks", self.webhooks.log().len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let log = self.webhooks.log();
        assert_eq!(log.len(), count);
        log.iter()
            .map(|delivery| {
                let header = |name: &str| delivery.headers.iter().find(|(n, _)| n == name).expect("header").1.clone();
                let signature = hmac_sha256_hex(&self.credentials.sentry_client_secret, &delivery.body);
                assert_eq!(header("Sentry-Hook-Signature"), signature);
                let body: Value = serde_json::from_slice(&delivery.body).expect("json");
                (format!("{}.{}", header("Sentry-Hook-Resource"), body["action"].as_str().expect("action")), body)
            })
            .collect()
    }
}

fn division() -> NewError {
    NewError::new("shop-api", "ZeroDivisionError", "division by zero")
        .frame("site-packages/flask/app.py", "dispatch", 10, "return view()")
        .frame("shop/pricing.py", "total", 31, "share = price / count")
        .events(12, 3)
}

#[tokio::test]
async fn errors_are_listed_by_frequency_in_pages_and_read_by_the_products_client() {
    let stage = Stage::new().await;
    let id = stage.sentry.create_issue(division().fingerprint("beef"));
    for n in 0..101 {
        stage.sentry.create_issue(NewError::new("shop-web", "TypeError", &format!("{n}")).level("").silent());
    }
    let redactor = Redactor::default();
    let first = stage.client.unresolved(None, &redactor).await.expect("page");
    assert_eq!((first.issues.len(), first.issues[0].id.as_str(), first.issues[0].events_24h), (100, id.as_str(), 12));
    let second = stage.client.unresolved(first.next.as_deref(), &redactor).await.expect("page");
    assert_eq!((second.issues.len(), second.next), (2, None));
    assert_eq!(second.issues[0].level, workflows::contract::sentry::Level::Error, "a missing level counts as error");

    let id = id.parse().expect("id");
    let issue = stage.client.issue(&id, &redactor).await.expect("answer").expect("issue");
    assert_eq!((issue.short_id.as_str(), issue.project.as_str(), issue.users), ("SHOP-API-1", "shop-api", 3));
    assert_eq!((issue.fingerprint.as_str(), issue.culprit.as_str()), ("beef", "shop/pricing.py in total"));
    let event = stage.client.latest_event(&id, &redactor).await.expect("answer").expect("event");
    assert_eq!((event.frames.len(), event.frames[1].line, event.frames[1].in_app), (2, 31, true));
    assert_eq!(
        (event.message.as_str(), event.release.as_str()),
        ("ZeroDivisionError: division by zero", "shop-api@1.4.2")
    );
    let hours = stage.client.statistics(&id).await.expect("answer").expect("hours");
    assert_eq!((hours.len(), hours.iter().map(|hour| hour.events).sum::<u64>()), (24, 12));
    assert!(reqwest::get(&issue.url).await.expect("page").status().is_success(), "{}", issue.url);
    assert!(stage.effects.all().is_empty(), "reading has no effect");
}

#[tokio::test]
async fn a_spike_a_regression_and_people_are_told_by_signed_webhooks_in_order() {
    let stage = Stage::new().await;
    let id = stage.sentry.create_issue(division());
    stage.sentry.report_events(&id, 40, 5);
    stage.sentry.resolve(&id);
    stage.sentry.resolve(&id);
    stage.sentry.report_events(&id, 1, 0);
    stage.sentry.report_events_silently(&id, 2, 0);
    let heard = stage.delivered(5).await;
    let names: Vec<&str> = heard.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["issue.created", "event_alert.triggered", "issue.resolved", "issue.unresolved", "event_alert.triggered"]
    );
    assert_eq!(heard[0].1["data"]["issue"]["id"], id.as_str());
    assert_eq!(heard[1].1["data"]["event"]["issue_id"], id.as_str());
    assert!(heard[1].1["data"]["event"]["timestamp"].as_f64() < heard[4].1["data"]["event"]["timestamp"].as_f64());
    let issue = stage.sentry.issue(&id).expect("issue");
    assert_eq!((issue.total(), issue.users, issue.status), (55, 8, Status::Unresolved));
    let again = stage.sentry.redeliver(0).await.expect("sent before");
    assert_eq!(again.body, stage.webhooks.log()[0].body);
    assert!(stage.sentry.redeliver(9).await.is_none());
    assert!(stage.effects.all().is_empty(), "what people and errors do is no effect of the product");
}

#[tokio::test]
async fn the_product_resolves_and_links_and_each_is_an_effect_once() {
    let stage = Stage::new().await;
    let id = stage.sentry.create_issue(division().silent());
    let path = format!("/organizations/{ORGANISATION}/issues/{id}/");
    for _ in 0..2 {
        let (status, body) = stage.call(Method::PUT, &path, json!({"status": "resolved"})).await;
        assert_eq!((status, &body["status"]), (200, &json!("resolved")));
    }
    assert_eq!(stage.effects.of("sentry", "issue.resolved").len(), 1);
    assert!(stage.effects.unexpected().is_empty(), "{:#?}", stage.effects.unexpected());
    assert_eq!(stage.delivered(1).await[0].0, "issue.resolved");

    let (_, installed) = stage.call(Method::GET, "/organizations/acme/sentry-app-installations/", Value::Null).await;
    let number: u64 = id.parse().expect("number");
    let link =
        json!({"issueId": number, "webUrl": "https://j/browse/SHOP-7", "project": "SHOP", "identifier": "SHOP-7"});
    let mut answers = Vec::new();
    for installation in installed.as_array().expect("list") {
        let path =
            format!("/sentry-app-installations/{}/external-issues/", installation["uuid"].as_str().expect("uuid"));
        answers.push(stage.call(Method::POST, &path, link.clone()).await.0);
    }
    assert_eq!(answers, [403, 200], "only for the app that the token belongs to");
    assert_eq!(stage.sentry.issue(&id).expect("issue").links[0].identifier, "SHOP-7");
    let (_, links) = stage.call(Method::GET, &format!("{path}external-issues/"), Value::Null).await;
    assert_eq!(links[0]["displayName"], "SHOP#SHOP-7");
    let page = reqwest::get(format!("{}/organizations/acme/issues/{id}/", stage.base)).await;
    let page = page.expect("page").text().await.expect("text");
    assert!(page.contains(">SHOP-7</a>") && page.contains("division by zero"), "{page}");
    stage.sentry.uninstall_app();
    let (_, installed) = stage.call(Method::GET, "/organizations/acme/sentry-app-installations/", Value::Null).await;
    assert_eq!(installed.as_array().map(Vec::len), Some(1));
    assert_eq!(stage.client.organisation().await.expect("answer").scopes.len(), SCOPES.len());
    assert!(stage.effects.unexpected().is_empty(), "{:#?}", stage.effects.unexpected());
}

#[tokio::test]
async fn requests_that_are_not_as_described_are_refused_and_loud() {
    let stage = Stage::new().await;
    let id = stage.sentry.create_issue(division().silent());
    let issue = format!("/organizations/{ORGANISATION}/issues/{id}/");
    let list = |query: &str| format!("/organizations/{ORGANISATION}/issues/?{query}");
    let link = "/sentry-app-installations/7/external-issues/".to_owned();
    let cases = [
        (Method::GET, list("state=unresolved"), Value::Null, "query parameter \"state\" is not described"),
        (Method::GET, list("limit=many"), Value::Null, "\"limit\" at /: \"many\" is not of type \"integer\""),
        (Method::GET, list("groupStatsPeriod=1h"), Value::Null, "\"groupStatsPeriod\" at /: \"1h\" is not one of"),
        (Method::GET, list("limit=1&limit=2"), Value::Null, "query parameter \"limit\" is given more than once"),
        (Method::GET, format!("{issue}hashes/?full=no"), Value::Null, "\"no\" is not of type \"boolean\""),
        (Method::GET, format!("{issue}events/newest/"), Value::Null, "path parameter \"event_id\" at /: \"newest\""),
        (Method::PUT, issue.clone(), json!({"status": "done"}), "body at /status: \"done\" is not one of"),
        (Method::PUT, issue.clone(), json!({"state": "resolved"}), "body at /: Additional properties are not allowed"),
        (Method::POST, link.clone(), json!({"issueId": id, "webUrl": "u"}), "body at /issueId"),
        (Method::POST, link, json!({"issueId": 7, "webUrl": "u", "project": "P"}), "\"identifier\" is missing"),
    ];
    for (method, path, body, expected) in &cases {
        let (status, answer) = stage.call(method.clone(), path, body.clone()).await;
        let message = answer["detail"].as_str().unwrap_or_default();
        assert_eq!((status, message.contains(expected)), (400, true), "{path} {body}: {message}");
    }
    assert_eq!(stage.effects.unexpected().len(), cases.len());
    assert_eq!(stage.effects.all().len(), cases.len(), "nothing else happened");
}

#[test]
fn every_described_call_is_answered_and_no_other() {
    crate::specs::assert_same_calls(&crate::specs::SENTRY, &rest::routes());
}

#[tokio::test]
async fn scopes_tokens_and_what_is_gone_are_refused_as_sentry_does() {
    let stage = Stage::new().await;
    let (kept, merged) =
        (stage.sentry.create_issue(division().silent()), stage.sentry.create_issue(division().silent()));
    let path = |id: &str| format!("/organizations/{ORGANISATION}/issues/{id}/");
    stage.sentry.merge(&merged, &kept);
    assert_eq!(stage.call(Method::GET, &path(&merged), Value::Null).await.1["id"], kept.as_str());
    assert_eq!(stage.client.issue(&merged.parse().expect("id"), &Redactor::default()).await.expect("answer"), None);
    stage.sentry.delete(&kept);
    assert_eq!(stage.call(Method::GET, &path(&kept), Value::Null).await.0, 404);
    stage.sentry.set_scopes(&["event:read"]);
    assert_eq!(stage.call(Method::PUT, &path(&kept), json!({"status": "resolved"})).await.0, 403);
    assert_eq!(stage.call(Method::GET, "/organizations/acme/", Value::Null).await.0, 403);
    let stranger = reqwest::get(format!("{}/api/0/organizations/acme/", stage.base)).await.expect("answer");
    assert_eq!(stranger.status().as_u16(), 401);
    assert!(stage.effects.unexpected().is_empty());
}

#[tokio::test]
async fn planned_trouble_happens_once_and_unknown_calls_are_loud() {
    let stage = Stage::new().await;
    let id = stage.sentry.create_issue(division().silent());
    let path = format!("/organizations/{ORGANISATION}/issues/{id}/");
    stage.sentry.fail_next("GET /api/0/organizations/acme/issues", Failure { status: 429, retry_after: Some(2) });
    assert_eq!(stage.call(Method::GET, &path, Value::Null).await.0, 429);
    assert_eq!(stage.call(Method::GET, &path, Value::Null).await.0, 200);
    stage.sentry.drop_reply_after_effect("PUT ");
    let lost = reqwest::Client::new()
        .put(format!("{}/api/0{path}", stage.base))
        .bearer_auth(&stage.credentials.sentry_token)
        .json(&json!({"status": "resolved"}))
        .send()
        .await;
    assert!(lost.is_err() || lost.expect("checked").bytes().await.is_err());
    assert_eq!(stage.sentry.issue(&id).expect("issue").status, Status::Resolved);
    for (method, path) in
        [(Method::GET, "/organizations/acme/issues/?query=is%3Aignored"), (Method::DELETE, &path), (Method::GET, "/x/")]
    {
        assert_eq!(stage.call(method, path, Value::Null).await.0, 501, "{path}");
    }
    assert_eq!(stage.effects.unexpected().len(), 3);
}
