//! Jira over HTTP: what a client and a webhook receiver see.

use axum::routing::post;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

/// A Jira on a free port, with a receiver of its webhooks that answers from a list.
struct Stage {
    jira: Jira,
    effects: Effects,
    webhooks: Webhooks,
    base: String,
    http: reqwest::Client,
    credentials: Credentials,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Stage {
    /// The receiver answers its first deliveries with `answers`, then with 200.
    async fn new(answers: &[u16]) -> Self {
        let (credentials, effects, webhooks) = (Credentials::random(), Effects::default(), Webhooks::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("free port");
        let world = format!("http://{}", listener.local_addr().expect("address"));
        let jira = Jira::new(&world, &credentials, &effects, &webhooks);
        let answers = Arc::new(Mutex::new(answers.to_vec()));
        let receiver = post(move || async move {
            let mut answers = answers.lock().expect("answers");
            let status = if answers.is_empty() { 200 } else { answers.remove(0) };
            StatusCode::from_u16(status).expect("status")
        });
        let app = axum::Router::new().nest("/jira", jira.router()).route("/webhooks/jira", receiver);
        let server = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("server");
        });
        webhooks.set_target(&world);
        let base = format!("{world}/jira");
        Self { jira, effects, webhooks, base, http: reqwest::Client::new(), credentials, server }
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let mut request = self
            .http
            .request(method, format!("{}/rest/api/3{path}", self.base))
            .basic_auth(&self.credentials.jira_email, Some(&self.credentials.jira_token));
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.expect("answer");
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call(Method::GET, path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Waits until so many webhooks were answered; gives their bodies.
    async fn delivered(&self, count: usize) -> Vec<Value> {
        let begun = std::time::Instant::now();
        while self.webhooks.log().len() < count {
            assert!(begun.elapsed() < LIMIT, "only {} of {count} webhooks", self.webhooks.log().len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.webhooks.log().iter().map(|d| serde_json::from_slice(&d.body).expect("json")).collect()
    }
}

fn document(text: &str) -> Value {
    json!({"type": "doc", "version": 1, "content": [
        {"type": "paragraph", "content": [{"type": "text", "text": text}]}]})
}

#[tokio::test]
async fn a_person_writes_and_labels_a_ticket_and_the_receiver_hears_signed_events() {
    let stage = Stage::new(&[]).await;
    let key = stage.jira.create_issue("SHOP", NewIssue::new("Total is wrong", "It is **negative**.").label("cart"));
    stage.jira.add_label(&key, "AI", "ana");
    stage.jira.add_label(&key, "AI", "ana");
    stage.jira.comment(&key, "See `pricing.py`", "bo");
    let bodies = stage.delivered(3).await;
    assert_eq!(key, "SHOP-1");
    assert_eq!(bodies[0]["webhookEvent"], "jira:issue_created");
    assert_eq!(bodies[0]["issue"]["fields"]["description"], "It is negative.");
    assert_eq!(bodies[0]["user"]["accountId"], "712020:bo");
    assert_eq!(bodies[1]["webhookEvent"], "jira:issue_updated");
    let item = &bodies[1]["changelog"]["items"][0];
    assert_eq!((&item["fromString"], &item["toString"]), (&json!("cart"), &json!("cart AI")));
    assert_eq!(bodies[1]["issue"]["fields"]["labels"], json!(["cart", "AI"]));
    assert_eq!(bodies[2]["webhookEvent"], "comment_created");
    assert_eq!(bodies[2]["comment"]["body"], "See pricing.py");
    assert_eq!(bodies[2]["comment"]["author"]["accountId"], "712020:bo");
    assert!(bodies.windows(2).all(|pair| pair[0]["timestamp"].as_i64() < pair[1]["timestamp"].as_i64()));
    for delivery in stage.webhooks.log() {
        let signature = outbox::signature(&stage.credentials.jira_webhook_secret, &delivery.body);
        assert!(delivery.headers.contains(&("X-Hub-Signature".into(), signature)));
    }
    assert!(stage.effects.all().is_empty(), "what people do is no effect of the product");
}

#[tokio::test]
async fn the_product_reads_comments_labels_and_moves_and_its_changes_echo() {
    let stage = Stage::new(&[]).await;
    let key = stage.jira.create_issue("SHOP", NewIssue::new("Total is wrong", "# Seen\n\n```\n-5\n```"));
    let issue = stage.get("/issue/SHOP-1?fields=summary,description,comment&expand=changelog").await;
    assert_eq!(issue["fields"]["summary"], "Total is wrong");
    assert_eq!(issue["fields"]["description"]["content"][1]["type"], "codeBlock");
    assert!(issue["fields"].get("labels").is_none());

    let marker = json!([{"key": "ticketwright", "value": {"effect": "abc"}}]);
    let sent = json!({"body": document("Plan is ready"), "properties": marker});
    let (status, comment) = stage.call(Method::POST, "/issue/SHOP-1/comment", sent).await;
    assert_eq!((status, &comment["author"]["accountId"]), (201, &json!(stage.jira.bot())));
    let listed = stage.get("/issue/SHOP-1/comment?expand=properties&maxResults=1").await;
    assert_eq!((&listed["total"], &listed["comments"][0]["properties"]), (&json!(1), &marker));
    let newest = stage.get("/issue/SHOP-1/comment?maxResults=100&orderBy=-created&expand=properties").await;
    assert_eq!(newest["comments"][0]["properties"], marker);
    let plain = stage.get("/issue/SHOP-1/comment?orderBy=-created").await;
    assert!(plain["comments"][0].get("properties").is_none(), "only for those who ask");
    let path = format!("/issue/SHOP-1/comment/{}", comment["id"].as_str().expect("id"));
    assert_eq!(stage.call(Method::PUT, &path, json!({"body": document("Plan v2")})).await.0, 200);

    let labels = json!({"update": {"labels": [{"add": "planned"}, {"remove": "gone"}]}});
    assert_eq!(stage.call(Method::PUT, "/issue/SHOP-1", labels).await.0, 204);
    let list = stage.get("/issue/SHOP-1/transitions").await;
    assert_eq!((&list["transitions"][1]["id"], &list["transitions"][1]["name"]), (&json!("21"), &json!("In Progress")));
    let moved = stage.call(Method::POST, "/issue/SHOP-1/transitions", json!({"transition": {"id": "21"}})).await;
    assert_eq!(moved.0, 204);
    let refused = stage.call(Method::POST, "/issue/SHOP-1/transitions", json!({"transition": {"id": "99"}})).await;
    assert_eq!(refused.0, 400);

    let issue = stage.jira.issue(&key).expect("issue");
    assert_eq!((issue.status.as_str(), issue.labels.as_slice()), ("In Progress", &["planned".to_owned()][..]));
    assert_eq!(issue.comments[0].text, "Plan v2");
    let kinds: Vec<String> = stage.effects.all().into_iter().map(|effect| effect.kind).collect();
    assert_eq!(kinds, ["comment.created", "comment.updated", "issue.edited", "issue.transitioned"]);
    assert_eq!(stage.effects.all()[0].detail["properties"]["ticketwright"]["effect"], "abc");
    let events: Vec<Value> = stage.delivered(5).await.into_iter().map(|b| b["webhookEvent"].clone()).collect();
    assert_eq!(
        events,
        ["jira:issue_created", "comment_created", "comment_updated", "jira:issue_updated", "jira:issue_updated"]
    );
    assert!(stage.effects.unexpected().is_empty());
}

#[tokio::test]
async fn issues_are_created_with_properties_and_found_by_search() {
    let stage = Stage::new(&[]).await;
    let fields = json!({"project": {"key": "SHOP"}, "summary": "Crash", "issuetype": {"name": "Bug"},
        "labels": ["AI", "sentry-7"], "description": document("ValueError")});
    let sent = json!({"fields": fields, "properties": [{"key": "k", "value": 1}]});
    let (status, created) = stage.call(Method::POST, "/issue", sent).await;
    assert_eq!((status, &created["key"]), (201, &json!("SHOP-1")));
    for n in 2..=3 {
        stage.jira.create_issue("SHOP", NewIssue::new(format!("Other {n}"), "x").label("AI"));
    }
    let search = |body: Value| stage.call(Method::POST, "/search/jql", body);
    let bare = search(json!({"jql": "labels = \"sentry-7\""})).await.1;
    assert_eq!(bare, json!({"issues": [{"id": created["id"]}], "isLast": true}));
    let body = json!({"jql": "labels = AI ORDER BY key", "fields": ["summary"], "maxResults": 2, "properties": ["k"]});
    let first = search(body.clone()).await.1;
    assert_eq!((&first["isLast"], &first["issues"][0]["properties"]["k"]), (&json!(false), &json!(1)));
    let mut next = body;
    next["nextPageToken"] = first["nextPageToken"].clone();
    let second = search(next).await.1;
    assert_eq!((&second["issues"][0]["key"], &second["isLast"]), (&json!("SHOP-3"), &json!(true)));
    stage.jira.set_index_lag(Duration::from_secs(3600));
    assert_eq!(search(json!({"jql": "labels = AI"})).await.1["issues"], json!([]));
    let id: u64 = created["id"].as_str().expect("id").parse().expect("number");
    let found = search(json!({"jql": "labels = AI", "reconcileIssues": [id]})).await.1;
    assert_eq!(found["issues"].as_array().expect("list").len(), 1);
    assert!(stage.effects.unexpected().is_empty());
    for wrong in [json!({"jql": "labels = AI", "startAt": 0}), json!({"jql": "sprint = 1"}), json!({"jql": ""})] {
        assert_eq!(search(wrong).await.0, 400);
    }
    assert_eq!(stage.effects.unexpected().len(), 3);
    assert_eq!(search(json!({"jql": "key = NOPE-1"})).await.0, 400);
}

#[tokio::test]
async fn wrong_requests_are_refused_as_jira_refuses_them() {
    let stage = Stage::new(&[]).await;
    stage.jira.create_issue("SHOP", NewIssue::new("Total", "x"));
    let empty = json!({"type": "doc", "version": 1, "content": []});
    let cases = [
        (Method::POST, "/issue/SHOP-1/comment", json!({"body": empty}), 400),
        (Method::POST, "/issue", json!({"fields": {"project": {"key": "NO"}}}), 400),
        (Method::PUT, "/issue/SHOP-1", json!({"fields": {"customfield_1": 1}}), 400),
        (Method::PUT, "/issue/SHOP-1", json!({"update": {"labels": [{"add": "two words"}]}}), 400),
        (Method::GET, "/issue/SHOP-9", Value::Null, 404),
        (Method::GET, "/issue/SHOP-1/properties/none", Value::Null, 404),
        (Method::PUT, "/issue/SHOP-1/properties/big", json!("x".repeat(32_767)), 400),
        (Method::GET, "/mypermissions", Value::Null, 400),
    ];
    for (method, path, body, expected) in cases {
        let (status, answer) = stage.call(method, path, body).await;
        assert_eq!(status, expected, "{path}: {answer}");
        assert!(answer["errorMessages"].is_array() && answer["errors"].is_object(), "{answer}");
    }
    assert!(stage.effects.all().is_empty());
    let stranger = stage.http.get(format!("{}/rest/api/3/myself", stage.base)).send().await.expect("answer");
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(stage.call(Method::POST, "/issue/SHOP-1/votes", Value::Null).await.0, 501);
    assert_eq!(stage.call(Method::DELETE, "/issue/SHOP-1", Value::Null).await.0, 501);
    let calls: Vec<String> = stage.effects.unexpected().into_iter().map(|effect| effect.target).collect();
    assert_eq!(calls, ["POST /rest/api/3/issue/SHOP-1/votes", "DELETE /rest/api/3/issue/SHOP-1"]);
}

#[tokio::test]
async fn the_product_takes_back_its_own_comment_and_reads_a_mark() {
    let stage = Stage::new(&[]).await;
    stage.jira.create_issue("SHOP", NewIssue::new("Total", "x"));
    let theirs = stage.jira.comment("SHOP-1", "Looks bad", "ana").expect("comment");
    let sent = json!({"body": document("Plan"), "properties": [{"key": "mark", "value": {"key": "abc"}}]});
    let (_, ours) = stage.call(Method::POST, "/issue/SHOP-1/comment", sent).await;
    let ours = ours["id"].as_str().expect("id");
    assert_eq!(stage.get(&format!("/comment/{ours}/properties/mark")).await["value"]["key"], "abc");
    assert_eq!(stage.call(Method::GET, &format!("/comment/{ours}/properties/other"), Value::Null).await.0, 404);
    for (id, expected) in [(theirs.as_str(), 400), (ours, 204), (ours, 404)] {
        let path = format!("/issue/SHOP-1/comment/{id}");
        assert_eq!(stage.call(Method::DELETE, &path, Value::Null).await.0, expected, "{path}");
    }
    assert_eq!(stage.effects.of("jira", "comment.deleted").len(), 1);
    assert_eq!(stage.delivered(4).await[3]["webhookEvent"], "comment_deleted");
    assert!(stage.effects.unexpected().is_empty());
}

#[tokio::test]
async fn requests_that_are_not_as_described_are_refused_and_loud() {
    let stage = Stage::new(&[]).await;
    stage.jira.create_issue("SHOP", NewIssue::new("Total", "x"));
    let text = |text: &str, mark: &str| json!({"type": "text", "text": text, "marks": [{"type": mark}]});
    let with = |node: Value| {
        json!({"type": "doc", "version": 1, "content": [
            {"type": "paragraph", "content": []}, {"type": "paragraph", "content": [node]}]})
    };
    let issue = |description: Value| json!({"fields": {"project": {"key": "SHOP"}, "description": description}});
    let cases = [
        (Method::GET, "/issue/SHOP-1?field=summary", Value::Null, "query parameter \"field\" is not described"),
        (
            Method::GET,
            "/issue/SHOP-1/comment?maxResults=all",
            Value::Null,
            "query parameter \"maxResults\" at /: \"all\" is not of type \"integer\"",
        ),
        (
            Method::POST,
            "/issue/SHOP-1/transitions",
            json!({"transition": "31"}),
            "body at /transition: \"31\" is not of type \"object\"",
        ),
        (Method::POST, "/issue/SHOP-1/transitions", Value::Null, "body: there is none"),
        (Method::POST, "/issue/SHOP-1/comment", json!({"body": "text"}), "body at /body: \"text\" is not of type"),
        (Method::POST, "/issue/SHOP-1/comment", json!({"text": "text"}), "body at /body: null is not of type"),
        (Method::POST, "/issue/SHOP-1/comment", json!({"body": with(text("x", "blink"))}), "body at /body/content/1"),
        (Method::POST, "/issue", issue(with(text("", "strong"))), "body at /fields/description/content/1"),
        (Method::POST, "/issue", issue(json!({"type": "doc", "content": []})), "\"version\" is missing"),
    ];
    for (method, path, body, expected) in &cases {
        let (status, answer) = stage.call(method.clone(), path, body.clone()).await;
        let message = answer["errorMessages"][0].as_str().unwrap_or_default();
        assert_eq!((status, message.contains(expected)), (400, true), "{path} {body}: {message}");
    }
    let unexpected = stage.effects.unexpected();
    assert_eq!(unexpected.len(), cases.len());
    assert_eq!(unexpected[0].target, "GET /rest/api/3/issue/SHOP-1?field=summary");
    assert!(stage.jira.issue("SHOP-1").expect("issue").comments.is_empty());
}

#[tokio::test]
async fn properties_and_remote_links_are_kept_and_replaced() {
    let stage = Stage::new(&[]).await;
    stage.jira.create_issue("SHOP", NewIssue::new("Total", "x"));
    let property = "/issue/SHOP-1/properties/ticketwright.state";
    assert_eq!(stage.call(Method::PUT, property, json!({"stage": "planning"})).await.0, 201);
    assert_eq!(stage.call(Method::PUT, property, json!({"stage": "done"})).await.0, 200);
    assert_eq!(stage.get(property).await["value"]["stage"], "done");
    assert_eq!(stage.get("/issue/SHOP-1/properties").await["keys"][0]["key"], "ticketwright.state");
    assert_eq!(stage.call(Method::DELETE, property, Value::Null).await.0, 204);
    let link = |title: &str| json!({"globalId": "pr=1", "object": {"url": "http://x.example/1", "title": title}});
    let (status, first) = stage.call(Method::POST, "/issue/SHOP-1/remotelink", link("PR")).await;
    let (again, second) = stage.call(Method::POST, "/issue/SHOP-1/remotelink", link("PR #1")).await;
    assert_eq!((status, again, &first["id"]), (201, 200, &second["id"]));
    let links = stage.get("/issue/SHOP-1/remotelink").await;
    assert_eq!((links.as_array().expect("list").len(), &links[0]["object"]["title"]), (1, &json!("PR #1")));
    assert_eq!(stage.get("/issue/SHOP-1/remotelink?globalId=pr%3D1").await["id"], first["id"]);
    assert!(stage.effects.unexpected().is_empty(), "{:?}", stage.effects.unexpected());
}

#[tokio::test]
async fn every_answer_is_as_described() {
    let stage = Stage::new(&[]).await;
    stage.jira.create_issue("SHOP", NewIssue::new("Total", "x").label("cart"));
    stage.jira.create_issue("SHOP", NewIssue::new("Other", "y"));
    stage.jira.link("SHOP-1", "SHOP-2");
    stage.jira.comment("SHOP-1", "Looks bad", "ana");
    stage.jira.set_summary("SHOP-1", "Total is wrong", "ana");
    for path in [
        "/myself",
        "/serverInfo",
        "/mypermissions?permissions=BROWSE_PROJECTS,EDIT_ISSUES&projectKey=SHOP",
        "/project/search?maxResults=1&query=shop",
        "/project/SHOP",
        "/field",
        "/label",
        "/issue/SHOP-1?fields=*all&properties=*all&expand=changelog,renderedFields",
        "/issue/SHOP-1/comment?expand=properties,renderedBody",
        "/issue/SHOP-1/transitions",
        "/issue/SHOP-1/properties",
    ] {
        stage.get(path).await;
    }
    let search = json!({"jql": "project = SHOP", "fields": ["*all"], "properties": ["*all"], "maxResults": 1});
    assert_eq!(stage.call(Method::POST, "/search/jql", search).await.0, 200);
    assert!(stage.effects.unexpected().is_empty(), "{:#?}", stage.effects.unexpected());
}

#[test]
fn every_described_call_is_answered_and_no_other() {
    crate::specs::assert_same_calls(&crate::specs::JIRA, &rest::routes());
}

#[tokio::test]
async fn planned_trouble_comes_once_and_a_lost_reply_leaves_its_effect() {
    let stage = Stage::new(&[]).await;
    stage.jira.create_issue("SHOP", NewIssue::new("Total", "x"));
    stage.jira.fail_next("GET /rest/api/3/issue/SHOP-1", Failure { status: 429, retry_after: Some(2) });
    assert_eq!(stage.call(Method::GET, "/issue/SHOP-1", Value::Null).await.0, 429);
    assert_eq!(stage.call(Method::GET, "/issue/SHOP-1", Value::Null).await.0, 200);
    stage.jira.drop_reply_after_effect("/comment");
    let url = format!("{}/rest/api/3/issue/SHOP-1/comment", stage.base);
    let request = stage.http.post(url).basic_auth(&stage.credentials.jira_email, Some(&stage.credentials.jira_token));
    assert!(request.json(&json!({"body": document("once")})).send().await.is_err());
    assert_eq!(stage.jira.issue("SHOP-1").expect("issue").comments.len(), 1);
}

#[tokio::test]
async fn jira_retries_a_failing_receiver_and_a_redelivery_is_the_same_again() {
    let stage = Stage::new(&[503, 500]).await;
    stage.jira.create_issue("SHOP", NewIssue::new("Total", "x"));
    stage.delivered(3).await;
    let redelivered = stage.jira.redeliver(0).await.expect("webhook");
    assert_eq!(redelivered.status, 200);
    let log = stage.webhooks.log();
    let header = |n: usize, name: &str| log[n].headers.iter().find(|(h, _)| h == name).map(|(_, value)| value.clone());
    assert_eq!(log.iter().map(|d| d.status).collect::<Vec<_>>(), [503, 500, 200, 200]);
    let retries: Vec<_> = (0..4).map(|n| header(n, "X-Atlassian-Webhook-Retry")).collect();
    assert_eq!(retries, [None, Some("1".into()), Some("2".into()), Some("1".into())]);
    assert!(log.iter().all(|delivery| delivery.body == log[0].body));
    assert!(
        (0..4).all(|n| header(n, "X-Atlassian-Webhook-Identifier") == Some(stage.jira.sent()[0].identifier.clone()))
    );
    assert!(stage.jira.redeliver(7).await.is_none());
}

#[tokio::test]
async fn the_pages_show_the_ticket_and_hide_no_markup_in_it() {
    let stage = Stage::new(&[]).await;
    let key = stage.jira.create_issue("SHOP", NewIssue::new("Total <b>", "See [docs](https://x.example)").label("AI"));
    stage.jira.comment(&key, "Looks **bad**", "ana");
    let page = |path: String| async move {
        let response = reqwest::get(path).await.expect("page");
        (response.status().as_u16(), response.text().await.expect("text"))
    };
    let (_, board) = page(stage.base.clone()).await;
    assert!(board.contains("Total &lt;b&gt;") && board.contains("/browse/SHOP-1"), "{board}");
    let (_, issue) = page(format!("{}/browse/SHOP-1", stage.base)).await;
    assert!(
        issue.contains("<a href=\"https://x.example\">docs</a>") && issue.contains("<strong>bad</strong>"),
        "{issue}"
    );
    assert_eq!(page(format!("{}/browse/SHOP-9", stage.base)).await.0, 404);
}
