//! The client against a small scripted server: addresses, paging, redaction, limits, and every kind of refusal.

use serde_json::{Value, json};
use workflows::contract::failure::FailureKind;
use workflows::contract::ids::SentryIssueId;
use workflows::contract::sentry::{Level, LinkTicket};

use super::{Redactor, SentryClient, Settings};
use crate::capture::{Call, Capture, Reply, hangs_up};

const ISSUES: &str = "/api/0/organizations/acme-shop/issues/";

async fn sentry(answer: impl FnMut(&Call) -> Reply + Send + 'static) -> (Capture, SentryClient) {
    let server = Capture::start(answer).await;
    let client = connect(&format!("{}/", server.url));
    (server, client)
}

fn connect(url: &str) -> SentryClient {
    let settings = Settings { url: url.to_owned(), organisation: "acme-shop".into() };
    SentryClient::new(&settings, "s3ntry".to_owned().into()).unwrap()
}

fn id(text: &str) -> SentryIssueId {
    text.parse().unwrap()
}

fn issue(id: &str) -> Value {
    json!({
        "id": id, "shortId": "SHOP-API-4K", "title": "KeyError: jane@mail.example", "culprit": "shop.cart in total", "level": "warning",
        "status": "unresolved", "platform": "python", "project": {"id": "2", "slug": "shop-api"}, "count": "30", "userCount": 2,
        "firstSeen": "2026-11-01T10:00:00Z", "lastSeen": "2026-11-21T10:00:00Z", "permalink": "https://acme.sentry.io/issues/7/",
        "lifetime": {"count": "150", "userCount": 9, "firstSeen": "2026-10-01T10:00:00Z", "lastSeen": "2026-11-21T10:00:00Z"},
        "stats": {"24h": [[1_763_715_600, 13], [1_763_719_200, 17]]},
    })
}

#[tokio::test]
async fn unresolved_issues_come_in_pages_with_the_counts_of_a_day_and_of_always() {
    let (server, sentry) = sentry(|call| {
        assert_eq!(call.header("authorization"), "Bearer s3ntry");
        let link = |results: bool, cursor: &str| {
            format!(
                "<http://x/?a=1,2>; rel=\"previous\"; results=\"true\"; cursor=\"0:0:1\", <http://x/>; rel=\"next\"; results=\"{results}\"; cursor=\"{cursor}\""
            )
        };
        let second = call.line.contains("cursor=0%3A100%3A0");
        let page = if second { json!([issue("8")]) } else { json!([issue("7"), {"id": "no number"}]) };
        Reply::ok(page).header("link", if second { link(false, "0:200:0") } else { link(true, "0:100:0") })
    })
    .await;
    let page = sentry.unresolved(None, &Redactor::default()).await.unwrap();
    assert_eq!((page.issues.len(), page.next.as_deref()), (1, Some("0:100:0")));
    let first = &page.issues[0];
    assert_eq!((first.level, first.events_24h, first.events, first.users), (Level::Warning, 30, 150, 9));
    assert_eq!((first.title.as_str(), first.project.as_str()), ("KeyError: [redacted]", "shop-api"));
    assert_eq!((first.first_seen, first.fingerprint.as_str()), (1_790_848_800, "7"));
    let page = sentry.unresolved(page.next.as_deref(), &Redactor::default()).await.unwrap();
    assert_eq!((page.issues[0].id.as_str(), page.next), ("8", None));
    let asked = server.lines()[0].clone();
    for part in [ISSUES, "query=is%3Aunresolved", "statsPeriod=24h", "groupStatsPeriod=24h", "limit=100"] {
        assert!(asked.contains(part), "{asked}");
    }
}

#[tokio::test]
async fn a_level_that_sentry_does_not_know_or_say_counts_as_error() {
    let (_, sentry) = sentry(|_| {
        let levels = [json!("unknown"), Value::Null, json!("debug")];
        let of = |level: &Value| {
            let mut issue = issue("7");
            issue["level"] = level.clone();
            issue
        };
        Reply::ok(levels.iter().map(of).collect())
    })
    .await;
    let page = sentry.unresolved(None, &Redactor::default()).await.unwrap();
    let levels: Vec<Level> = page.issues.iter().map(|issue| issue.level).collect();
    assert_eq!(levels, [Level::Error, Level::Error, Level::Other]);
}

#[tokio::test]
async fn an_issue_has_the_smallest_of_its_hashes_and_one_that_is_gone_or_merged_is_none() {
    let (_, sentry) = sentry(|call| match call.line.trim_start_matches("GET ").trim_start_matches(ISSUES) {
        "7/" => Reply::ok(issue("7")),
        "7/hashes/?full=false" => Reply::ok(json!([{"id": "ff"}, {"id": "0c"}]))
            .header("link", "<http://x>; rel=\"next\"; results=\"true\"; cursor=\"1\""),
        "7/hashes/?full=false&cursor=1" => Reply::ok(json!([{"id": "0b"}])),
        "8/" => Reply::ok(issue("7")),
        _ => Reply::status(404, json!({"detail": "The requested resource does not exist"})),
    })
    .await;
    let found = sentry.issue(&id("7"), &Redactor::default()).await.unwrap().unwrap();
    assert_eq!(found.fingerprint, "0b");
    for gone in ["8", "9"] {
        assert_eq!(sentry.issue(&id(gone), &Redactor::default()).await.unwrap(), None);
        assert_eq!(sentry.statistics(&id(gone)).await.unwrap(), None);
    }
    assert_eq!(sentry.latest_event(&id("9"), &Redactor::default()).await.unwrap(), None);
    assert_eq!(sentry.linked_ticket(&id("9")).await.unwrap(), None);
    sentry.resolve(&id("9")).await.unwrap();
}

#[tokio::test]
async fn an_event_keeps_fifty_innermost_frames_and_says_nothing_about_people() {
    let (_, sentry) = sentry(|_| {
        let frame = |n: u32| json!({"filename": format!("shop/f{n}.py"), "function": "run", "lineNo": n, "inApp": n > 55, "context": [[n, "  go(\"ghp_0123456789abcdefABCDEF\")"]]});
        let frames: Vec<Value> = (1..=60).map(frame).collect();
        Reply::ok(json!({
            "eventID": "aa", "dateCreated": "2026-11-21T10:00:00.5Z", "title": "ignored",
            "user": {"email": "jane@mail.example", "ip_address": "192.168.1.1"},
            "tags": [{"key": "environment", "value": "production"}, {"key": "user", "value": "id:550747"}, {"key": "browser", "value": "Firefox"}],
            "release": {"version": "shop-api@1.4.2"},
            "entries": [
                {"type": "exception", "data": {"values": [
                    {"type": "KeyError", "value": "cause", "stacktrace": {"frames": [{"filename": "cause.py"}]}},
                    {"type": "OrderError", "value": "for jane@mail.example", "stacktrace": {"frames": frames}},
                ]}},
                {"type": "request", "data": {"method": "GET", "url": "https://shop.example/pay?token=a1b2c3d4"}},
            ],
        }))
    })
    .await;
    let event = sentry.latest_event(&id("7"), &Redactor::default()).await.unwrap().unwrap();
    assert_eq!((event.frames.len(), event.frames[0].line, event.frames[49].line), (50, 11, 60));
    assert_eq!(event.frames[49].text, "go(\"[redacted]\")");
    assert!(event.frames[49].in_app && !event.frames[0].in_app);
    assert_eq!(event.message, "OrderError: for [redacted]");
    assert_eq!((event.release.as_str(), event.environment.as_str()), ("shop-api@1.4.2", "production"));
    assert_eq!(event.tags, ["environment: production", "browser: Firefox"]);
    assert_eq!(event.request, "GET https://shop.example/pay?token=[redacted]");
    let shown = serde_json::to_string(&event).unwrap();
    for secret in ["jane", "192.168", "550747", "ghp_", "a1b2c3d4"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[tokio::test]
async fn a_crashed_thread_counts_where_there_is_no_exception_and_a_bare_message_has_no_frames() {
    let mut events = vec![
        json!({"eventID": "b", "message": "disk full", "title": "x", "entries": [{"type": "message", "data": {}}]}),
        json!({"eventID": "a", "title": "SIGSEGV", "entries": [{"type": "threads", "data": {"values": [
            {"stacktrace": {"frames": [{"module": "idle"}]}},
            {"crashed": true, "stacktrace": {"frames": [{"absPath": "/src/main.c", "lineNo": null}]}},
        ]}}]}),
    ];
    let (_, sentry) = sentry(move |_| Reply::ok(events.pop().unwrap())).await;
    let crashed = sentry.latest_event(&id("7"), &Redactor::default()).await.unwrap().unwrap();
    assert_eq!(
        (crashed.message.as_str(), crashed.frames[0].path.as_str(), crashed.frames[0].line),
        ("SIGSEGV", "/src/main.c", 0)
    );
    let bare = sentry.latest_event(&id("7"), &Redactor::default()).await.unwrap().unwrap();
    assert!(bare.message == "disk full" && bare.frames.is_empty(), "{bare:?}");
}

#[tokio::test]
async fn a_ticket_is_named_by_the_installation_that_our_token_belongs_to() {
    let mut named = false;
    let (server, sentry) = sentry(move |call| match call.line.as_str() {
        "GET /api/0/organizations/acme-shop/sentry-app-installations/" => Reply::ok(json!([
            {"uuid": "old", "status": "pending"}, {"uuid": "other-app", "status": "installed"}, {"uuid": "ours", "status": "installed"},
        ])),
        "POST /api/0/sentry-app-installations/ours/external-issues/" => {
            named = true;
            Reply::ok(json!({"id": "1"}))
        }
        "GET /api/0/organizations/acme-shop/issues/7/external-issues/" if !named => Reply::ok(json!([
            {"displayName": "tracker#12"}, {"displayName": "SHOP#SHOP-40"},
        ])),
        "GET /api/0/organizations/acme-shop/issues/7/external-issues/" => Reply::ok(json!([
            {"displayName": "tracker#12"}, {"displayName": "HR#SHOP-7"}, {"displayName": "SHOP#SHOP-41"},
        ])),
        line if line.ends_with("other-app/external-issues/") => Reply::status(403, json!({"detail": "no"})),
        _ => Reply::unplanned(call),
    })
    .await;
    let link = LinkTicket {
        issue: id("7"),
        ticket: "SHOP-41".parse().unwrap(),
        url: "https://acme.atlassian.net/browse/SHOP-41".into(),
    };
    assert!(sentry.link_ticket(&link).await.unwrap());
    let written = server.writes().pop().unwrap().json;
    assert_eq!(written, json!({"issueId": 7, "webUrl": link.url, "project": "SHOP", "identifier": "SHOP-41"}));
    let writes = server.writes().len();
    assert!(sentry.link_ticket(&link).await.unwrap(), "it is named already");
    assert_eq!(server.writes().len(), writes);
    assert_eq!(sentry.linked_ticket(&id("7")).await.unwrap(), Some(link.ticket));
}

#[tokio::test]
async fn without_an_app_of_ours_nothing_is_named_and_that_is_no_failure() {
    let none = || Reply::ok(json!([]));
    let mut replies = vec![Reply::status(403, json!({"detail": "no"})), none(), none(), none()];
    let (server, sentry) = sentry(move |_| replies.pop().unwrap()).await;
    let link = LinkTicket { issue: id("7"), ticket: "SHOP-41".parse().unwrap(), url: "https://x".into() };
    assert!(!sentry.link_ticket(&link).await.unwrap());
    assert!(!sentry.link_ticket(&link).await.unwrap());
    assert!(server.writes().is_empty());
}

#[tokio::test]
async fn an_issue_is_resolved_once() {
    let mut status = "unresolved";
    let (server, sentry) = sentry(move |call| {
        if call.line.starts_with("PUT ") {
            status = "resolved";
        }
        let mut json = issue("7");
        json["status"] = json!(status);
        Reply::ok(json)
    })
    .await;
    sentry.resolve(&id("7")).await.unwrap();
    sentry.resolve(&id("7")).await.unwrap();
    let writes = server.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].line, format!("PUT {ISSUES}7/"));
    assert_eq!(writes[0].json, json!({"status": "resolved"}));
}

#[tokio::test]
async fn refusals_say_what_to_do_and_a_rate_limit_how_long_to_wait() {
    for (status, kind) in [
        (401, FailureKind::Unauthorized),
        (403, FailureKind::Unauthorized),
        (400, FailureKind::Invalid),
        (502, FailureKind::Unavailable),
    ] {
        let (_, sentry) = sentry(move |_| Reply::status(status, json!({"detail": "Because."}))).await;
        let error = sentry.unresolved(None, &Redactor::default()).await.unwrap_err();
        assert_eq!((error.kind, error.retry_after), (kind, None));
        assert!(error.message.contains("Because."), "{error}");
        assert_eq!(error.message.contains("SENTRY_AUTH_TOKEN"), kind == FailureKind::Unauthorized);
    }
    let reset = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 30;
    for (name, value) in [("retry-after", 30), ("x-sentry-rate-limit-reset", reset)] {
        let (_, sentry) = sentry(move |_| Reply::status(429, json!({})).header(name, value)).await;
        let error = sentry.issue(&id("7"), &Redactor::default()).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::RateLimited);
        let wait = error.retry_after.unwrap().as_secs();
        assert!((25..=30).contains(&wait), "{wait}");
    }
    let error = connect(&hangs_up().await).unresolved(None, &Redactor::default()).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unavailable);
    let (_, sentry) = sentry(|_| Reply::ok(json!({"not": "a list"}))).await;
    assert_eq!(sentry.unresolved(None, &Redactor::default()).await.unwrap_err().kind, FailureKind::Unexpected);
}

#[tokio::test]
async fn the_organisation_tells_what_the_token_may_do() {
    let (server, sentry) = sentry(|_| Reply::ok(json!({"name": "Acme", "access": ["org:read", "event:read"]}))).await;
    let found = sentry.organisation().await.unwrap();
    assert_eq!((found.name.as_str(), found.scopes.len()), ("Acme", 2));
    assert_eq!(server.lines(), ["GET /api/0/organizations/acme-shop/"]);
    assert!(!format!("{sentry:?}").contains("s3ntry"));
}
