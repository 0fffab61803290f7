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
use crate::capture::{Call, Capture, Reply, hangs_up};

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
    JiraClient::new(&Settings { url, api_url: None }, auth).unwrap()
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
            json!({"id": "2", "author": {"accountId": "bot"}, "body": document("ours"), "properties": ours(2)["properties"]}),
        ];
    }
    let ticket = jira(&fake).await.ticket(&"SHOP-1".parse().unwrap()).await.unwrap();
    assert_eq!(ticket.description, "Total is **negative**");
    assert_eq!(ticket.comments.len(), 1);
    assert_eq!(ticket.comments[0].body, "Since Monday");
    assert_eq!(ticket.links, ["blocks SHOP-7: Tax"]);
}

#[tokio::test]
async fn what_a_person_writes_with_our_account_is_read_and_only_marked_comments_are_not() {
    let other = json!([{"key": "other.app", "value": {"key": "x"}}]);
    for expands in [true, false] {
        let other = other.clone();
        let (server, jira) = scripted(move |call| {
            let comment = |id: u32, body: &str, properties: Value| {
                let mut comment = json!({"id": id.to_string(), "author": {"accountId": "bot"}, "body": body});
                if expands {
                    comment["properties"] = properties;
                }
                comment
            };
            match call.line.trim_start_matches("GET /rest/api/3/") {
                "issue/SHOP-1/comment?maxResults=100&orderBy=-created&expand=properties" => {
                    let comments = [
                        comment(33, "only cents", json!([])),
                        comment(32, "plan", ours(32)["properties"].clone()),
                        comment(31, "also in euros", other.clone()),
                    ];
                    Reply::ok(json!({"total": 5, "comments": comments}))
                }
                "comment/32/properties/ticketwright.effect" => Reply::ok(json!({"value": {"key": "some key"}})),
                line if line.starts_with("comment/") => Reply::status(404, json!({"errorMessages": ["none"]})),
                line if line.starts_with("issue/SHOP-1?") => Reply::ok(json!({"fields": {"summary": "Cart"}})),
                _ => Reply::unplanned(call),
            }
        })
        .await;
        let ticket = jira.ticket(&"SHOP-1".parse().unwrap()).await.unwrap();
        let bodies: Vec<&str> = ticket.comments.iter().map(|comment| comment.body.as_str()).collect();
        assert_eq!(bodies, ["[cut: 2 earlier comments]", "also in euros", "only cents"]);
        let asked = server.lines().iter().filter(|line| line.contains("/properties/")).count();
        assert_eq!(asked, if expands { 0 } else { 3 });
    }
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
        (403, FailureKind::Unauthorized),
        (409, FailureKind::Conflict),
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

/// A Jira whose answers a test writes down. Asks for who we are are answered.
async fn scripted(mut answer: impl FnMut(&Call) -> Reply + Send + 'static) -> (Capture, JiraClient) {
    let server = Capture::start(move |call| match call.line.as_str() {
        "GET /rest/api/3/myself" => Reply::ok(json!({"accountId": "bot"})),
        _ => answer(call),
    })
    .await;
    let settings = Settings { url: "https://acme.atlassian.net/".into(), api_url: Some(format!("{}/", server.url)) };
    let jira = JiraClient::new(&settings, Auth::Bearer("0auth".to_owned().into())).unwrap();
    (server, jira)
}

fn ours(id: u32) -> Value {
    json!({
        "id": id.to_string(), "author": {"accountId": "bot"},
        "properties": [{"key": "ticketwright.effect", "value": {"key": comment().effect}}],
    })
}

#[tokio::test]
async fn of_two_attempts_side_by_side_the_older_comment_stays() {
    let mut looks = 0;
    let (server, jira) = scripted(move |call| match call.line.split(' ').next() {
        Some("GET") => {
            looks += 1;
            let comments = if looks == 1 { vec![] } else { vec![ours(31), ours(30)] };
            Reply::ok(json!({"total": comments.len(), "comments": comments}))
        }
        Some("POST") => Reply::status(201, ours(31)),
        _ => Reply::empty(204),
    })
    .await;
    let written = jira.write_comment_once(&comment()).await.unwrap();
    assert_eq!(written.url, "https://acme.atlassian.net/browse/SHOP-1?focusedCommentId=30");
    let writes = server.writes();
    assert_eq!(writes[0].header("authorization"), "Bearer 0auth");
    assert_eq!(writes[0].json["properties"], ours(1)["properties"]);
    assert_eq!(writes[0].json["body"]["content"][0]["type"], "panel");
    assert_eq!(writes[1].line, "DELETE /rest/api/3/issue/SHOP-1/comment/31");
}

#[tokio::test]
async fn a_comment_is_found_on_the_last_page_and_where_jira_does_not_expand_properties() {
    let (server, jira) = scripted(|call| {
        let line = call.line.trim_start_matches("GET /rest/api/3/");
        let page = |from: u32, to: u32| {
            let author = |id: u32| if id > 100 { "bot" } else { "ana" };
            let other = |id: u32| json!({"id": id.to_string(), "author": {"accountId": author(id)}});
            let comments: Vec<Value> = (from..to).map(other).collect();
            Reply::ok(json!({"total": 103, "startAt": from, "comments": comments}))
        };
        match line {
            "issue/SHOP-1/comment?startAt=0&maxResults=100&expand=properties" => page(0, 100),
            "issue/SHOP-1/comment?startAt=100&maxResults=100&expand=properties" => page(100, 103),
            "comment/102/properties/ticketwright.effect" => Reply::ok(json!({"value": {"key": comment().effect}})),
            "comment/101/properties/ticketwright.effect" => Reply::status(404, json!({"errorMessages": ["none"]})),
            _ => Reply::unplanned(call),
        }
    })
    .await;
    assert_eq!(jira.write_comment_once(&comment()).await.unwrap().id, "102");
    assert!(server.writes().is_empty());
}

#[tokio::test]
async fn a_long_ticket_is_cut_with_visible_notes() {
    let (_server, jira) = scripted(|call| {
        if call.line.contains("/comment?") {
            assert!(call.line.ends_with("maxResults=100&orderBy=-created&expand=properties"), "{}", call.line);
            let comment =
                |n: u32| json!({"id": n, "author": {"displayName": "Ana"}, "body": format!("{n} {}", "x".repeat(400))});
            let comments: Vec<Value> = (0..100).map(|n| comment(999 - n)).collect();
            return Reply::ok(json!({"total": 700, "comments": comments}));
        }
        Reply::ok(json!({"fields": {"summary": "s".repeat(600), "description": "\u{1}".repeat(40_000)}}))
    })
    .await;
    let ticket = jira.ticket(&"SHOP-1".parse().unwrap()).await.unwrap();
    assert!(serde_json::to_vec(&ticket).unwrap().len() <= 64 * 1024);
    assert!(ticket.summary.ends_with("[cut: 100 more characters]"));
    assert!(ticket.description.contains("\n[cut: "), "{}", ticket.description.len());
    assert!(ticket.comments[0].body.starts_with("[cut: 6"), "{}", ticket.comments[0].body);
    assert!(ticket.comments.last().unwrap().body.starts_with("999 "));
    assert!(ticket.comments[1].body.contains("[cut: "));
}

#[tokio::test]
async fn words_of_a_model_cannot_leave_the_project() {
    let (server, jira) = scripted(|_| {
        Reply::ok(json!({"issues": [{"key": "SHOP-2", "fields": {"summary": "Tax", "status": {"name": "Done"}}}]}))
    })
    .await;
    let found = jira.search("SHOP", r#"cart\" OR project = "HR" ORDER BY x -- total_price (+*~)"#).await.unwrap();
    assert_eq!(found, ["SHOP-2 Tax (Done)"]);
    let jql = "project = \"SHOP\" AND text ~ \"cart OR project HR ORDER BY x total_price\" ORDER BY updated DESC";
    assert_eq!(server.calls()[0].json["jql"], jql);
    assert_eq!(jira.search("SHOP", "\"").await.unwrap_err().kind, FailureKind::Invalid);
}

#[tokio::test]
async fn a_transition_counts_by_where_it_leads_not_by_its_name() {
    let (server, jira) = scripted(|call| {
        if call.line.ends_with("?fields=status") {
            return Reply::ok(json!({"fields": {"status": {"name": "To Do"}}}));
        }
        Reply::ok(json!({"transitions": [{"id": "1", "name": "Done", "to": {"name": "Archived"}}, {"id": "2", "name": "x", "to": {"name": "Archived"}}]}))
    })
    .await;
    let moved =
        jira.move_ticket(&MoveTicket { ticket: "SHOP-1".parse().unwrap(), status: "Done".into() }).await.unwrap();
    assert_eq!(moved, Moved::NoTransition { available: vec!["Archived".into()] });
    assert!(server.writes().is_empty());
}

#[tokio::test]
async fn a_cut_connection_is_an_outage_without_secrets() {
    let settings = Settings { url: hangs_up().await, api_url: None };
    let jira = JiraClient::new(&settings, Auth::Bearer("0auth".to_owned().into())).unwrap();
    let error = jira.ticket(&"SHOP-1".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unavailable);
    assert!(!format!("{error:?} {jira:?}").contains("0auth"));
}
