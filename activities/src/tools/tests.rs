//! Each tool from its input in the blob store to the text a model reads.

use serde_json::{Value, json};
use workflows::contract::failure::FailureKind;
use workflows::contract::tools::{ReadCall, ToolCall};

use super::ReadToolActivities;
use crate::blobs::Blobs;
use crate::capture::{Call, Capture, Reply};
use crate::failure::ServiceError;
use crate::github::{GitHubAuth, GitHubClient};
use crate::jira::{Auth, JiraClient};
use crate::sentry::{Redactor, SentryClient};

const HEAD: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

struct Tools {
    activities: ReadToolActivities,
    server: Capture,
    _directory: tempfile::TempDir,
}

impl Tools {
    async fn new(mut answer: impl FnMut(&Call) -> Reply + Send + 'static) -> Self {
        let server = Capture::start(move |call| match call.line.as_str() {
            "GET /repos/acme/shop" => Reply::ok(json!({"default_branch": "main", "html_url": "https://x"})),
            "GET /repos/acme/shop/git/ref/heads/main" => Reply::ok(json!({"object": {"sha": HEAD}})),
            "GET /rest/api/3/myself" => Reply::ok(json!({"accountId": "bot"})),
            _ => answer(call),
        })
        .await;
        let directory = tempfile::tempdir().unwrap();
        let github = crate::github::Settings {
            api_url: server.url.clone(),
            web_url: server.url.clone(),
            organisation: "acme".into(),
        };
        let jira = crate::jira::Settings { url: server.url.clone(), api_url: None };
        let sentry = crate::sentry::Settings { url: server.url.clone(), organisation: "acme".into() };
        let activities = ReadToolActivities {
            github: GitHubClient::new(github, GitHubAuth::Token("t".to_owned().into())).unwrap().into(),
            jira: JiraClient::new(&jira, Auth::Bearer("j".to_owned().into())).unwrap().into(),
            sentry: Some(SentryClient::new(&sentry, "s".to_owned().into()).unwrap().into()),
            redactor: Redactor::new(&[r"ACC-\d+".to_owned()]).unwrap(),
            blobs: Blobs::open(directory.path().to_str().unwrap()).unwrap(),
            runs: std::sync::Arc::new(super::tasks::tests::OneTicket),
        };
        Self { activities, server, _directory: directory }
    }

    async fn call(&self, tool: &str, input: Value) -> Result<(String, bool), ServiceError> {
        self.call_about(None, None, tool, input).await
    }

    /// The same by an agent that looks into this issue, or works on this repository.
    async fn call_about(
        &self,
        issue: Option<&str>,
        repository: Option<&str>,
        tool: &str,
        input: Value,
    ) -> Result<(String, bool), ServiceError> {
        let blobs = &self.activities.blobs;
        let input = blobs.put(input.to_string()).await?;
        let call = ToolCall { id: "1".into(), name: tool.into(), input, label: tool.into() };
        let (issue, repository) = (issue.map(|id| id.parse().unwrap()), repository.map(|name| name.parse().unwrap()));
        let reply =
            self.activities.answer(&ReadCall { ticket: "SHOP-1".parse().ok(), issue, repository, call }).await?;
        let text = String::from_utf8(blobs.get(&reply.output).await?.to_vec()).unwrap();
        Ok((text, reply.is_error))
    }

    async fn good(&self, tool: &str, input: Value) -> String {
        let (text, is_error) = self.call(tool, input).await.unwrap();
        assert!(!is_error, "{text}");
        text
    }

    async fn told(&self, tool: &str, input: Value) -> String {
        let (text, is_error) = self.call(tool, input).await.unwrap();
        assert!(is_error, "{text}");
        text
    }
}

#[tokio::test]
async fn code_is_found_listed_and_read_with_line_numbers() {
    let tools = Tools::new(|call| match call.line.split(['?', '&']).next() {
        Some("GET /search/code") => Reply::ok(json!({"items": [
            {"repository": {"full_name": "acme/shop"}, "path": "shop/cart.py", "text_matches": [{"fragment": "def total():\n    x"}]},
        ]})),
        Some("GET /orgs/acme/repos") => {
            Reply::ok(json!([{"full_name": "acme/shop", "description": "The shop", "language": "Python"}, {"full_name": "acme/web"}]))
        }
        Some("GET /repos/acme/shop/git/trees/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa") => Reply::ok(json!({"truncated": true, "tree": [
            {"path": "shop", "type": "tree"}, {"path": "shop/cart.py", "type": "blob"}, {"path": "README.md", "type": "blob"},
        ]})),
        Some("GET /repos/acme/shop/contents/shop/cart.py") => {
            Reply::ok(json!({"sha": "1", "encoding": "base64", "content": "YQpiCg=="}))
        }
        Some("GET /repos/acme/shop/pulls") => Reply::ok(json!([{
            "number": 7, "node_id": "x", "html_url": "https://x", "title": "Clamp", "state": "closed", "merged_at": "2026-01-01T00:00:00Z",
            "head": {"ref": "b", "sha": HEAD},
        }])),
        _ => Reply::unplanned(call),
    })
    .await;
    let found = tools.good("search_code", json!({"query": "total", "repository": "acme/shop"})).await;
    assert_eq!(found, "acme/shop shop/cart.py\n    def total():\n        x");
    assert_eq!(tools.good("list_repositories", json!({})).await, "acme/shop (Python) The shop\nacme/web (-)");
    let tree = tools.good("repository_tree", json!({"repository": "acme/shop", "path": "shop"})).await;
    assert_eq!(tree, "shop/cart.py\n[GitHub left out files: the repository is very large]");
    let file = tools.good("read_file", json!({"repository": "acme/shop", "path": "/shop/cart.py"})).await;
    assert_eq!(file, "    1  a\n    2  b");
    assert_eq!(tools.good("list_pull_requests", json!({"repository": "acme/shop"})).await, "#7 Clamp (merged)");
}

#[tokio::test]
async fn tickets_are_read_and_searched_in_their_own_project_only() {
    let tools = Tools::new(|call| match call.line.split('?').next() {
        Some("GET /rest/api/3/issue/SHOP-2") => Reply::ok(json!({"fields": {
            "summary": "Tax", "description": "Total is wrong", "issuetype": {"name": "Bug"}, "priority": {"name": "High"}, "status": {"name": "Open"},
        }})),
        Some("GET /rest/api/3/issue/SHOP-2/comment") => {
            Reply::ok(json!({"total": 1, "comments": [{"author": {"displayName": "Ana"}, "body": "Since Monday"}]}))
        }
        Some("POST /rest/api/3/search/jql") => Reply::ok(json!({"issues": []})),
        _ => Reply::unplanned(call),
    })
    .await;
    let ticket = tools.good("get_ticket", json!({"key": "SHOP-2"})).await;
    for part in ["SHOP-2 Tax (Bug, High, Open)", "Total is wrong", "Ana wrote:\nSince Monday"] {
        assert!(ticket.contains(part), "{ticket}");
    }
    assert_eq!(tools.good("search_tickets", json!({"text": "tax"})).await, "No ticket has these words.");
    let search = tools.server.calls().pop().unwrap();
    assert!(search.json["jql"].as_str().unwrap().starts_with("project = \"SHOP\" AND "), "{}", search.json);
    assert!(tools.told("get_ticket", json!({"key": "HR-1"})).await.contains("only tickets of SHOP"));
}

#[tokio::test]
async fn only_the_errands_own_error_and_logs_are_read() {
    let tools = Tools::new(|_| Reply::status(404, json!({"detail": "none"}))).await;
    for tool in ["get_issue", "get_event", "get_issue_statistics"] {
        let (told, _) = tools.call_about(Some("7"), None, tool, json!({"issue": "8"})).await.unwrap();
        assert_eq!(told, "You look into issue 7; issue 8 cannot be read.");
    }
    let log = json!({"repository": "acme/secret", "job": 7});
    let (told, is_error) = tools.call_about(None, Some("acme/shop"), "read_log", log).await.unwrap();
    assert_eq!((told.as_str(), is_error), ("You work on acme/shop; logs of acme/secret cannot be read.", true));
    assert!(tools.server.calls().is_empty(), "{:?}", tools.server.lines());
    let (told, _) = tools.call_about(Some("7"), None, "get_issue", json!({"issue": "7"})).await.unwrap();
    assert!(told.contains("nothing for issue 7"), "{told}");
    let log = json!({"repository": "Acme/shop", "job": 7});
    let (told, _) = tools.call_about(None, Some("acme/shop"), "read_log", log).await.unwrap();
    assert!(told.contains("no log of job 7"), "{told}");
}

#[tokio::test]
async fn wrong_input_and_missing_objects_are_told_with_what_to_do() {
    let tools = Tools::new(|_| Reply::status(404, json!({"message": "Not Found"}))).await;
    for (tool, input, expected) in [
        (
            "read_file",
            json!({"repository": "acme/shop", "path": "none"}),
            "has no file none. repository_tree lists them.",
        ),
        ("read_file", json!({"repository": "acme/shop", "path": "../x"}), "no path inside a repository"),
        ("read_file", json!({"repository": "evil/shop", "path": "x"}), "outside the organisation acme"),
        ("read_file", json!({"repository": "no name", "path": "x"}), "a repository looks like owner/name"),
        ("read_file", json!({"path": "x"}), "The input of read_file does not fit: missing field `repository`"),
        ("repository_tree", json!({"repository": "acme/gone"}), "404"),
        ("list_repositories", json!({"all": true}), "unknown field"),
        ("search_code", json!({"query": "\":"}), "Give at least one"),
        ("search_tickets", json!({"text": "-"}), "Give at least one"),
        ("get_ticket", json!({"key": "SHOP-99"}), "404"),
        ("write_file", json!({}), "There is no tool \"write_file\" here"),
    ] {
        let told = tools.told(tool, input).await;
        assert!(told.contains(expected), "{told}");
    }
}

#[tokio::test]
async fn an_outage_is_a_failure_that_temporal_retries_and_not_an_answer() {
    for (reply, kind) in
        [(503, FailureKind::Unavailable), (429, FailureKind::RateLimited), (401, FailureKind::Unauthorized)]
    {
        let tools = Tools::new(move |_| Reply::status(reply, json!({}))).await;
        let error = tools.call("list_pull_requests", json!({"repository": "acme/shop"})).await.unwrap_err();
        assert_eq!(error.kind, kind);
    }
}

#[tokio::test]
async fn a_long_file_is_cut_with_a_visible_note() {
    use base64::Engine as _;
    let content = base64::engine::general_purpose::STANDARD.encode("line\n".repeat(20_000));
    let tools = Tools::new(move |_| Reply::ok(json!({"sha": "1", "encoding": "base64", "content": content}))).await;
    let text = tools.good("read_file", json!({"repository": "acme/shop", "path": "big"})).await;
    assert!(text.len() <= 64 * 1024, "{}", text.len());
    assert!(text.lines().last().unwrap().starts_with("[truncated: "));
}

#[tokio::test]
async fn an_error_is_read_redacted_with_its_event_and_its_hours() {
    let tools = Tools::new(|call| match call.line.split('?').next() {
        Some("GET /api/0/organizations/acme/issues/7/") => Reply::ok(json!({
            "id": "7", "shortId": "SHOP-API-1", "title": "ValueError: no user a@b.example", "culprit": "shop.api in order",
            "level": "fatal", "status": "unresolved", "project": {"slug": "shop-api"}, "platform": "python", "count": "12",
            "userCount": 3, "firstSeen": "2026-11-20T10:00:00Z", "lastSeen": "2026-11-21T10:00:00.123456Z",
            "stats": {"24h": [[1_763_715_600, 4], [1_763_719_200, 5]]},
        })),
        Some("GET /api/0/organizations/acme/issues/7/hashes/") => Reply::ok(json!([{"id": "beef"}])),
        Some("GET /api/0/organizations/acme/issues/7/events/latest/") => Reply::ok(json!({
            "eventID": "e1", "dateCreated": "2026-11-21T10:00:00Z", "title": "t", "tags": [{"key": "release", "value": "1.4"}],
            "entries": [{"type": "exception", "data": {"values": [{"type": "ValueError", "value": "account ACC-77", "stacktrace": {
                "frames": [{"filename": "shop/api.py", "function": "order", "lineNo": 9, "inApp": true, "context": [[8, "x"], [9, "  raise"]]}],
            }}]}}],
        })),
        _ => Reply::status(404, json!({"detail": "The requested resource does not exist"})),
    })
    .await;
    let issue = tools.good("get_issue", json!({"issue": "7"})).await;
    assert_eq!(
        issue,
        "SHOP-API-1 ValueError: no user [redacted]\nshop.api in order\nlevel fatal, unresolved, project shop-api, platform python\n\
         9 events in 24 hours, 12 in all, 3 users\nfirst seen 2026-11-20T10:00:00Z, last seen 2026-11-21T10:00:00Z"
    );
    let event = tools.good("get_event", json!({"issue": "7"})).await;
    for part in ["ValueError: account [redacted]", "release: 1.4", "shop/api.py:9 order (own code)  raise"] {
        assert!(event.contains(part), "{event}");
    }
    let hours = tools.good("get_issue_statistics", json!({"issue": "7"})).await;
    assert_eq!(hours, "9 events in 24 hours. Per hour, from:\n2025-11-21T09:00:00Z 4\n2025-11-21T10:00:00Z 5");
    for tool in ["get_issue", "get_event", "get_issue_statistics"] {
        assert!(tools.told(tool, json!({"issue": "8"})).await.contains("nothing for issue 8"));
        assert!(tools.told(tool, json!({"issue": "../7"})).await.contains("digits"));
    }
}
