//! What is read, and that it stays inside the organisation and the repository.

use serde_json::{Value, json};
use workflows::contract::failure::FailureKind;
use workflows::contract::github::{CheckState, HeadOf, PullRequestRef, PullRequestState, ReadChecks};
use workflows::contract::ids::RepositoryName;

use super::{HEAD, github, pull_request};
use crate::capture::Reply;

fn shop() -> RepositoryName {
    "acme/shop".parse().unwrap()
}

#[tokio::test]
async fn a_repository_is_read_with_the_head_of_its_default_branch() {
    let (_, client) = github(|line, call| match line {
        "GET /repos/acme/shop" => Reply::ok(json!({"default_branch": "release/2", "html_url": "https://x"})),
        "GET /repos/acme/shop/git/ref/heads/release/2" => Reply::ok(json!({"object": {"sha": HEAD}})),
        "GET /repos/acme/empty" => Reply::ok(json!({"default_branch": "main", "html_url": "https://x"})),
        "GET /repos/acme/empty/git/ref/heads/main" => {
            Reply::status(409, json!({"message": "Git Repository is empty."}))
        }
        _ => Reply::unplanned(call),
    })
    .await;
    let read = client.repository(&shop()).await.unwrap();
    assert_eq!((read.default_branch.as_str(), read.head.as_str()), ("release/2", HEAD));
    let empty = client.repository(&"acme/empty".parse().unwrap()).await.unwrap_err();
    assert_eq!(empty.kind, FailureKind::Invalid);
    assert_eq!(client.repository(&"evil/shop".parse().unwrap()).await.unwrap_err().kind, FailureKind::Invalid);
}

#[tokio::test]
async fn a_file_is_read_by_its_encoded_path() {
    let (_, client) = github(|line, call| match line {
        "GET /repos/acme/shop/contents/a%20dir/b%23c.txt?ref=agent%2FX-1" => {
            Reply::ok(json!({"sha": "1", "encoding": "base64", "content": "w6TD\ntg==\n"}))
        }
        "GET /repos/acme/shop/contents/gone" => Reply::status(404, json!({"message": "Not Found"})),
        "GET /repos/acme/shop/contents/src" => Reply::ok(json!([])),
        "GET /repos/acme/shop/contents/logo.png" => {
            Reply::ok(json!({"sha": "1", "encoding": "base64", "content": "/9j/"}))
        }
        "GET /repos/acme/shop/contents/big" => Reply::ok(json!({"sha": "1", "encoding": "none", "content": ""})),
        _ => Reply::unplanned(call),
    })
    .await;
    let read = async |at: &str, path: &str| client.file(&shop(), at, path).await;
    assert_eq!(read("agent/X-1", "a dir/b#c.txt").await.unwrap().unwrap(), "äö");
    assert_eq!(read("", "gone").await.unwrap(), None);
    for path in ["src", "logo.png", "big"] {
        assert_eq!(read("", path).await.unwrap_err().kind, FailureKind::Invalid, "{path}");
    }
}

#[tokio::test]
async fn a_path_cannot_leave_its_repository() {
    let (server, client) = github(|_, call| Reply::unplanned(call)).await;
    for path in ["../../secret/contents/key", "a/../../x", ".", "a//b", "", "a/./b"] {
        assert_eq!(client.file(&shop(), "", path).await.unwrap_err().kind, FailureKind::Invalid, "{path}");
    }
    assert!(server.calls().is_empty());
}

#[tokio::test]
async fn a_pull_requests_state_is_open_closed_or_merged() {
    for (state, expected) in
        [("open", PullRequestState::Open), ("closed", PullRequestState::Closed), ("merged", PullRequestState::Merged)]
    {
        let (_, client) = github(move |_, _| Reply::ok(pull_request(1, state))).await;
        let read = client.pull_request(&PullRequestRef { repository: shop(), number: 1 }).await.unwrap();
        assert_eq!(read.state, expected);
    }
}

#[tokio::test]
async fn only_pull_requests_of_this_very_branch_are_found() {
    let (_, client) = github(|_, _| {
        let mut foreign = pull_request(9, "open");
        foreign["head"]["ref"] = json!("other");
        Reply::ok(json!([foreign, pull_request(2, "open"), pull_request(1, "closed")]))
    })
    .await;
    let found = client.find_pull_request(&shop(), &"agent/SHOP-1/clamp-1".parse().unwrap()).await.unwrap();
    assert_eq!(found.unwrap().number, 2);
    let none = client.find_pull_request(&shop(), &"agent/SHOP-2/x-1".parse().unwrap()).await.unwrap();
    assert_eq!(none, None);
}

#[tokio::test]
async fn a_search_cannot_be_talked_out_of_the_organisation() {
    let (server, client) = github(|_, _| {
        let item = |repository: &str| json!({"repository": {"full_name": repository}, "path": "a.py", "text_matches": [{"fragment": "total = x"}]});
        Reply::ok(json!({"items": [item("acme/shop"), item("evil/acme")]}))
    })
    .await;
    let hits = client.search_code("std::total \"x org:evil", None).await.unwrap();
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0].fragments, ["total = x"]);
    client.search_code("total", Some(&shop())).await.unwrap();
    let calls = server.calls();
    assert_eq!(calls[0].line, "GET /api/v3/search/code?q=std%20total%20x%20org%20evil%20org%3Aacme&per_page=20");
    assert_eq!(calls[0].headers.get_all("accept").iter().count(), 1);
    assert_eq!(calls[0].header("accept"), "application/vnd.github.text-match+json");
    assert_eq!(calls[1].line, "GET /api/v3/search/code?q=total%20repo%3Aacme%2Fshop&per_page=20");
    assert!(client.search_code("\":", None).await.is_err());
    assert!(client.search_code("x", Some(&"evil/shop".parse().unwrap())).await.is_err());
}

#[tokio::test]
async fn repositories_of_a_person_are_listed_as_well() {
    let repository = |n: usize| json!({"full_name": format!("acme/r{n}"), "description": null, "language": "Go", "archived": n == 0});
    let (server, client) = github(move |line, call| match line {
        "GET /orgs/acme/repos?sort=pushed&per_page=100&page=1" => Reply::status(404, json!({"message": "Not Found"})),
        "GET /users/acme/repos?sort=pushed&per_page=100&page=1" => {
            Reply::ok((0..100).map(repository).collect::<Value>())
        }
        "GET /users/acme/repos?sort=pushed&per_page=100&page=2" => {
            Reply::ok((100..105).map(repository).collect::<Value>())
        }
        _ => Reply::unplanned(call),
    })
    .await;
    let (list, more) = client.repositories(200).await.unwrap();
    assert_eq!((list.len(), more, list[0].name.as_str()), (104, false, "acme/r1"));
    let (list, more) = client.repositories(50).await.unwrap();
    assert_eq!((list.len(), more), (49, true));
    assert_eq!(server.calls().len(), 5);
}

fn run(id: u64, name: &str, conclusion: Option<&str>) -> Value {
    let status = if conclusion.is_some() { "completed" } else { "in_progress" };
    json!({"id": id, "name": name, "status": status, "conclusion": conclusion, "html_url": format!("https://x/{id}")})
}

async fn states(runs: Vec<Value>, statuses: Value, suites: Value) -> Vec<(String, CheckState)> {
    let base = format!("GET /repos/acme/shop/commits/{HEAD}");
    let (_, client) = github(move |line, call| {
        let rest = line.strip_prefix(&base).unwrap_or_default();
        let page = |n: usize| runs.iter().skip(100 * (n - 1)).take(100).cloned().collect::<Value>();
        match rest {
            "/check-runs?filter=latest&per_page=100&page=1" => Reply::ok(json!({"check_runs": page(1)})),
            "/check-runs?filter=latest&per_page=100&page=2" => Reply::ok(json!({"check_runs": page(2)})),
            "/status?per_page=100&page=1" => Reply::ok(json!({"state": "pending", "statuses": statuses})),
            "/check-suites?per_page=100&page=1" => Reply::ok(json!({"check_suites": suites})),
            _ => Reply::unplanned(call),
        }
    })
    .await;
    let commit = ReadChecks { repository: shop(), sha: HEAD.parse().unwrap(), head_of: None };
    let checks = client.checks(&commit).await.unwrap().checks;
    checks.into_iter().map(|check| (check.name, check.state)).collect()
}

#[tokio::test]
async fn runs_statuses_and_waiting_suites_are_one_list() {
    let runs = vec![
        run(1, "lint", Some("success")),
        run(2, "docs", Some("skipped")),
        run(3, "audit", Some("neutral")),
        run(4, "test", Some("failure")),
        run(5, "slow", Some("timed_out")),
        run(6, "gone", Some("cancelled")),
        run(7, "deploy", None),
        run(8, "gate", Some("action_required")),
    ];
    let statuses = json!([
        {"context": "ci/old", "state": "success", "target_url": null}, {"context": "ci/bad", "state": "error"},
        {"context": "ci/wait", "state": "pending"},
    ]);
    let suites = json!([
        {"status": "queued", "latest_check_runs_count": 0, "app": {"slug": "github-actions"}},
        {"status": "queued", "latest_check_runs_count": 0, "app": {"slug": "idle-app"}},
        {"status": "completed", "latest_check_runs_count": 3, "app": {"slug": "other"}},
    ]);
    let expected = [
        ("audit", CheckState::Passed),
        ("ci/bad", CheckState::Failed),
        ("ci/old", CheckState::Passed),
        ("ci/wait", CheckState::Pending),
        ("deploy", CheckState::Pending),
        ("docs", CheckState::Passed),
        ("gate", CheckState::Failed),
        ("github-actions suite", CheckState::Pending),
        ("gone", CheckState::Cancelled),
        ("lint", CheckState::Passed),
        ("slow", CheckState::Failed),
        ("test", CheckState::Failed),
    ];
    assert_eq!(states(runs, statuses, suites).await, expected.map(|(name, state)| (name.to_owned(), state)));
}

#[tokio::test]
async fn a_head_that_is_none_any_more_is_said_to_be_overtaken() {
    const NEWER: &str = "cccccccccccccccccccccccccccccccccccccccc";
    for (state, of_pull_request, of_branch, overtaken) in [
        ("open", HEAD, HEAD, false),
        ("open", NEWER, NEWER, true),
        // GitHub has our push, and does not show it at the pull request yet.
        ("open", NEWER, HEAD, false),
        ("closed", HEAD, HEAD, true),
        ("merged", HEAD, HEAD, true),
    ] {
        let (_, client) = github(move |line, call| match line.split('?').next().unwrap_or_default() {
            "GET /repos/acme/shop/pulls/3" => {
                let mut shown = pull_request(3, state);
                shown["head"]["sha"] = json!(of_pull_request);
                Reply::ok(shown)
            }
            "GET /repos/acme/shop/git/ref/heads/agent/SHOP-1/clamp-1" => {
                Reply::ok(json!({"object": {"sha": of_branch}}))
            }
            line if line.ends_with("/check-runs") => Reply::ok(json!({"check_runs": []})),
            line if line.ends_with("/status") => Reply::ok(json!({"statuses": []})),
            line if line.ends_with("/check-suites") => Reply::ok(json!({"check_suites": []})),
            _ => Reply::unplanned(call),
        })
        .await;
        let head_of = Some(HeadOf { number: 3, branch: "agent/SHOP-1/clamp-1".parse().unwrap() });
        let asked = ReadChecks { repository: shop(), sha: HEAD.parse().unwrap(), head_of };
        let seen = client.checks(&asked).await.unwrap().overtaken;
        assert_eq!(seen, overtaken, "{state} {of_pull_request} {of_branch}");
    }
}

#[tokio::test]
async fn of_runs_with_one_name_the_worse_counts_and_a_cancelled_one_only_while_it_is_the_newest() {
    let of_two = async |first: Option<&str>, second: Option<&str>| {
        states(vec![run(2, "test", second), run(1, "test", first)], json!([]), json!([])).await[0].1
    };
    assert_eq!(of_two(Some("failure"), Some("success")).await, CheckState::Failed);
    assert_eq!(of_two(Some("success"), None).await, CheckState::Pending);
    assert_eq!(of_two(Some("cancelled"), Some("success")).await, CheckState::Passed);
    assert_eq!(of_two(Some("success"), Some("cancelled")).await, CheckState::Cancelled);
}

#[tokio::test]
async fn of_more_checks_than_fit_the_red_ones_stay() {
    let mut runs: Vec<Value> = (0..130).map(|n| run(n, &format!("a{n:03}"), Some("success"))).collect();
    runs.push(run(200, "z", Some("failure")));
    let states = states(runs, json!([]), json!([])).await;
    assert_eq!(states.len(), 100);
    assert_eq!(states[99], ("z".to_owned(), CheckState::Failed));
}
