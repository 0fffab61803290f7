//! Authentication, headers, errors.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use secrecy::ExposeSecret as _;
use serde_json::json;
use workflows::contract::failure::FailureKind;

use super::super::{AppKey, GitHubAuth, GitHubClient, Settings};
use super::{github, settings};
use crate::capture::{Capture, Reply, hangs_up};

/// Made for these tests; opens nothing.
const KEY: &str = include_str!("../testdata/test-only-app-key.pem");

fn repository() -> workflows::contract::ids::RepositoryName {
    "acme/shop".parse().unwrap()
}

#[tokio::test]
async fn a_token_goes_with_every_call_and_stays_out_of_logs() {
    let (server, github) = github(|_, _| Reply::ok(json!({"login": "ticketwright-bot"}))).await;
    assert_eq!(github.who_am_i().await.unwrap(), "ticketwright-bot");
    github.get("x", "/rate_limit").await.unwrap();
    for call in server.calls() {
        assert_eq!(call.header("authorization"), "Bearer t0ken");
        assert_eq!(call.header("x-github-api-version"), "2022-11-28");
        assert!(!call.header("user-agent").is_empty());
    }
    assert_eq!(server.calls()[1].header("accept"), "application/vnd.github+json");
    assert!(!format!("{github:?}").contains("t0ken"));
}

#[tokio::test]
async fn git_gets_an_address_a_name_and_a_token() {
    let (server, github) = github(|_, call| Reply::unplanned(call)).await;
    let (url, user, token) = github.push_credentials(&repository()).await.unwrap();
    assert_eq!((url.as_str(), user.as_str()), ("https://git.acme.example/acme/shop.git", "x-access-token"));
    assert_eq!(token.expose_secret(), "t0ken");
    let error = github.push_credentials(&"evil/shop".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Invalid);
    assert!(server.calls().is_empty());
}

fn app(server: &Capture, installation: Option<u64>) -> GitHubClient {
    let key = AppKey { id: 7, private_key: KEY.to_owned().into(), installation };
    GitHubClient::new(settings(&server.url), GitHubAuth::App(key)).unwrap()
}

fn app_replies(call: &crate::capture::Call) -> Reply {
    let as_app = call.header("authorization").starts_with("Bearer ey");
    match call.line.as_str() {
        "GET /api/v3/app" if as_app => Reply::ok(json!({"slug": "ticketwright"})),
        "GET /api/v3/orgs/acme/installation" if as_app => Reply::status(404, json!({"message": "Not Found"})),
        "GET /api/v3/users/acme/installation" if as_app => Reply::ok(json!({"id": 42})),
        "POST /api/v3/app/installations/42/access_tokens" if as_app => {
            let token = if call.json["repositories"].is_null() { "ghs_all" } else { "ghs_one" };
            let granted =
                json!({"token": token, "expires_at": "2199-01-01T00:00:00Z", "permissions": {}, "repositories": []});
            Reply::status(201, granted)
        }
        "GET /api/v3/rate_limit" if call.header("authorization") == "Bearer ghs_all" => Reply::ok(json!({})),
        "POST /api/graphql" if call.header("authorization") == "Bearer ghs_all" => Reply::ok(json!({"data": {}})),
        _ => Reply::unplanned(call),
    }
}

#[tokio::test]
async fn an_app_finds_its_installation_once_and_keeps_its_token() {
    let server = Capture::start(app_replies).await;
    let github = app(&server, None);
    assert_eq!(github.who_am_i().await.unwrap(), "ticketwright");
    for _ in 0..2 {
        assert_eq!(github.get("x", "/rate_limit").await.unwrap().status, 200);
        github.graphql("x", &json!({"query": "{ viewer { login } }"})).await.unwrap();
    }
    let lines = server.lines();
    let count = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
    assert_eq!((count("/installation"), count("access_tokens"), count("rate_limit"), count("graphql")), (3, 1, 2, 2));
}

#[tokio::test]
async fn an_apps_token_for_git_reaches_one_repository() {
    let server = Capture::start(app_replies).await;
    let (_, _, token) = app(&server, Some(42)).push_credentials(&repository()).await.unwrap();
    assert_eq!(token.expose_secret(), "ghs_one");
    assert_eq!(server.calls()[0].json["repositories"], json!(["shop"]));
}

#[tokio::test]
async fn an_app_that_github_refuses_is_told_so_at_once() {
    let server =
        Capture::start(|_| Reply::status(401, json!({"message": "A JSON web token could not be decoded"}))).await;
    let error = app(&server, Some(42)).get("x", "/rate_limit").await.err().unwrap();
    assert_eq!(error.kind, FailureKind::Unauthorized, "{error}");
    let nowhere = Capture::start(|_| Reply::status(404, json!({"message": "Not Found"}))).await;
    let error = app(&nowhere, None).get("x", "/rate_limit").await.err().unwrap();
    assert!(error.kind == FailureKind::Unauthorized && error.message.contains("not installed at acme"), "{error}");
    let key = AppKey { id: 7, private_key: "no key".to_owned().into(), installation: None };
    let error = GitHubClient::new(settings("http://127.0.0.1:1"), GitHubAuth::App(key)).err().unwrap();
    assert_eq!(error.kind, FailureKind::Unauthorized);
    assert!(!format!("{error:?}").contains("no key"));
}

#[tokio::test]
async fn without_an_organisation_there_is_no_client() {
    let settings = Settings { organisation: String::new(), ..settings("http://127.0.0.1:1") };
    let made = GitHubClient::new(settings, GitHubAuth::Token("t".to_owned().into()));
    assert_eq!(made.err().unwrap().kind, FailureKind::Invalid);
}

#[tokio::test]
async fn refusals_say_what_the_caller_should_do() {
    let in_ten_minutes = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 600;
    let said = |text: &str| json!({"message": text});
    let cases = [
        (Reply::status(401, said("Bad credentials")), FailureKind::Unauthorized, None),
        (Reply::status(403, said("Resource not accessible by integration")), FailureKind::Unauthorized, None),
        (Reply::status(404, said("Not Found")), FailureKind::NotFound, None),
        (Reply::status(409, said("Conflict")), FailureKind::Conflict, None),
        (Reply::status(422, said("Validation Failed")), FailureKind::Invalid, None),
        (Reply::status(500, said("oops")), FailureKind::Unavailable, None),
        (Reply::status(502, json!("<html>")), FailureKind::Unavailable, None),
        (Reply::status(429, said("slow")).header("retry-after", 7), FailureKind::RateLimited, Some(7..=7)),
        (Reply::status(403, said("slow")).header("retry-after", 9), FailureKind::RateLimited, Some(9..=9)),
        (Reply::status(403, said("You have exceeded a secondary rate limit")), FailureKind::RateLimited, Some(60..=60)),
        (
            Reply::status(403, said("used up"))
                .header("x-ratelimit-remaining", 0)
                .header("x-ratelimit-reset", in_ten_minutes),
            FailureKind::RateLimited,
            Some(590..=600),
        ),
    ];
    for (reply, kind, wait) in cases {
        let mut reply = Some(reply);
        let (server, github) = github(move |_, call| reply.take().unwrap_or_else(|| Reply::unplanned(call))).await;
        let error = github.repository(&repository()).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        match wait {
            Some(range) => assert!(range.contains(&error.retry_after.unwrap_or(Duration::ZERO).as_secs()), "{error:?}"),
            None => assert_eq!(error.retry_after, None, "{error:?}"),
        }
        assert!(!format!("{error:?}").contains("t0ken"));
        assert_eq!(server.calls().len(), 1, "only Temporal repeats a call");
    }
}

#[tokio::test]
async fn graphql_refusals_come_with_status_200() {
    for (name, kind) in [
        ("NOT_FOUND", FailureKind::NotFound),
        ("FORBIDDEN", FailureKind::Unauthorized),
        ("RATE_LIMITED", FailureKind::RateLimited),
        ("UNPROCESSABLE", FailureKind::Invalid),
    ] {
        let (server, github) =
            github(move |_, _| Reply::ok(json!({"data": null, "errors": [{"type": name, "message": "No."}]}))).await;
        let error = github.graphql("look", &json!({"query": "{}"})).await.unwrap_err();
        assert_eq!(error.kind, kind);
        assert_eq!(server.lines(), ["POST /api/graphql"]);
    }
}

#[tokio::test]
async fn a_cut_connection_is_an_outage_without_secrets() {
    let github = GitHubClient::new(settings(&hangs_up().await), GitHubAuth::Token("t0ken".to_owned().into())).unwrap();
    let error = github.repository(&repository()).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unavailable);
    assert!(!format!("{error:?}").contains("t0ken"));
}
