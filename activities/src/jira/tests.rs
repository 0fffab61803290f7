//! The client against a small capture server.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use workflows::contract::failure::FailureKind;
use workflows::contract::ids::{EffectKey, Generation};
use workflows::contract::jira::{MoveTicket, Moved, WriteComment};

use super::adf_write::document;
use super::{Auth, JiraClient, Settings};

#[derive(Default)]
struct Fake {
    calls: Vec<(String, Value)>,
    comments: Vec<Value>,
    status: String,
    refuse: Option<(u16, &'static str)>,
}

type Shared = Arc<Mutex<Fake>>;

async fn answer(State(fake): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let expected = "Basic Ym90QGFjbWUuZXhhbXBsZTpzM2NyM3Q=";
    assert_eq!(parts.headers["authorization"], expected);
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let call = format!("{} {}", parts.method, parts.uri.path().trim_start_matches("/rest/api/3"));
    let mut fake = fake.lock().unwrap();
    fake.calls.push((call.clone(), body.clone()));
    if let Some((status, text)) = fake.refuse.take() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "3".parse().unwrap());
        return (StatusCode::from_u16(status).unwrap(), headers, text).into_response();
    }
    let reply = match call.as_str() {
        "GET /myself" => json!({"accountId": "bot", "displayName": "Ticketwright"}),
        "GET /issue/SHOP-1" => json!({"key": "SHOP-1", "fields": {
            "summary": "Cart", "description": document("Total is **negative**"), "labels": ["AI"], "priority": {"name": "High"},
            "issuetype": {"name": "Bug"}, "status": {"name": fake.status}, "reporter": {"accountId": "bo", "displayName": "Bo"},
            "issuelinks": [{"type": {"outward": "blocks"}, "outwardIssue": {"key": "SHOP-7", "fields": {"summary": "Tax"}}}],
        }}),
        "GET /issue/SHOP-1/comment" => json!({"comments": fake.comments, "total": fake.comments.len(), "startAt": 0}),
        "POST /issue/SHOP-1/comment" => {
            let id = (10_000 + fake.comments.len()).to_string();
            let mut comment = body;
            comment["id"] = json!(id);
            comment["author"] = json!({"accountId": "bot"});
            fake.comments.push(comment.clone());
            comment
        }
        "GET /issue/SHOP-1/transitions" => json!({"transitions": [
            {"id": "31", "name": "Start", "to": {"name": "In Progress"}}, {"id": "41", "name": "Close", "to": {"name": "Done"}},
        ]}),
        "POST /issue/SHOP-1/transitions" => {
            fake.status = "In Progress".into();
            return StatusCode::NO_CONTENT.into_response();
        }
        other => panic!("unexpected {other}"),
    };
    axum::Json(reply).into_response()
}

async fn jira(fake: &Shared) -> JiraClient {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(fake.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let auth = Auth::Token { email: "bot@acme.example".into(), token: "s3cr3t".to_owned().into() };
    JiraClient::new(&Settings { url }, auth).unwrap()
}

fn comment() -> WriteComment {
    WriteComment {
        ticket: "SHOP-1".parse().unwrap(),
        effect: EffectKey::new("ticket-SHOP-1", &Generation::of_event("e"), "jira/plan", 1),
        markdown: "> [!info] **Plan**".into(),
    }
}

#[tokio::test]
async fn a_comment_whose_reply_was_lost_is_found_and_not_written_again() {
    let fake = Shared::default();
    let jira = jira(&fake).await;
    let first = jira.write_comment_once(&comment()).await.unwrap();
    let second = jira.write_comment_once(&comment()).await.unwrap();
    assert_eq!(first, second);
    assert!(first.url.ends_with("/browse/SHOP-1?focusedCommentId=10000"), "{}", first.url);
    assert_eq!(fake.lock().unwrap().comments.len(), 1);
}

#[tokio::test]
async fn a_ticket_is_read_as_markdown_without_our_own_comments() {
    let fake = Shared::default();
    {
        let mut fake = fake.lock().unwrap();
        fake.status = "To Do".into();
        fake.comments = vec![
            json!({"id": "1", "author": {"accountId": "ana", "displayName": "Ana"}, "body": document("Since Monday")}),
            json!({"id": "2", "author": {"accountId": "bot"}, "body": document("ours")}),
        ];
    }
    let ticket = jira(&fake).await.ticket(&"SHOP-1".parse().unwrap()).await.unwrap();
    assert_eq!(ticket.description, "Total is **negative**");
    assert_eq!(ticket.comments.len(), 1);
    assert_eq!(ticket.comments[0].body, "Since Monday");
    assert_eq!(ticket.links, ["blocks SHOP-7: Tax"]);
}

#[tokio::test]
async fn a_ticket_moves_by_status_name_once() {
    let fake = Shared::default();
    fake.lock().unwrap().status = "To Do".into();
    let jira = jira(&fake).await;
    let to = |status: &str| MoveTicket { ticket: "SHOP-1".parse().unwrap(), status: status.into() };
    assert_eq!(jira.move_ticket(&to("in progress")).await.unwrap(), Moved::Done);
    assert_eq!(jira.move_ticket(&to("In Progress")).await.unwrap(), Moved::Already);
    let moved = jira.move_ticket(&to("Deployed")).await.unwrap();
    assert_eq!(moved, Moved::NoTransition { available: vec!["In Progress".into(), "Done".into()] });
    let sent = fake.lock().unwrap().calls.iter().find(|(call, _)| call.starts_with("POST")).unwrap().1.clone();
    assert_eq!(sent, json!({"transition": {"id": "31"}}));
}

#[tokio::test]
async fn refusals_say_what_the_caller_should_do() {
    for (status, kind) in [
        (401, FailureKind::Unauthorized),
        (404, FailureKind::NotFound),
        (400, FailureKind::Invalid),
        (429, FailureKind::RateLimited),
        (503, FailureKind::Unavailable),
    ] {
        let fake = Shared::default();
        let jira = jira(&fake).await;
        fake.lock().unwrap().refuse = Some((status, r#"{"errorMessages":["No."],"errors":{}}"#));
        let error = jira.ticket(&"SHOP-1".parse().unwrap()).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains("No.") && !error.to_string().contains("s3cr3t"), "{error}");
        if status == 429 {
            assert_eq!(error.retry_after, Some(std::time::Duration::from_secs(3)));
        }
    }
}
