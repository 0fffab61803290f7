//! Effects that happen once.

use serde_json::{Value, json};
use workflows::contract::failure::FailureKind;
use workflows::contract::github::{
    BranchRef, CreateBranch, EditPullRequest, OpenPullRequest, PullRequestRef, PullRequestState, WritePlan,
};

use super::{HEAD, OTHER, github, pull_request};
use crate::capture::Reply;

const REF: &str = "GET /repos/acme/shop/git/ref/heads/agent/SHOP-1/clamp-1";
const LIST: &str = "GET /repos/acme/shop/pulls?state=all&head=acme%3Aagent%2FSHOP-1%2Fclamp-1&per_page=100";

fn branch() -> CreateBranch {
    CreateBranch {
        repository: "acme/shop".parse().unwrap(),
        branch: "agent/SHOP-1/clamp-1".parse().unwrap(),
        from: OTHER.parse().unwrap(),
    }
}

fn opening() -> OpenPullRequest {
    OpenPullRequest {
        repository: "acme/shop".parse().unwrap(),
        head: "agent/SHOP-1/clamp-1".parse().unwrap(),
        base: "main".into(),
        title: "SHOP-1: Clamp".into(),
        body: "Why\nand how".into(),
    }
}

fn first() -> PullRequestRef {
    PullRequestRef { repository: "acme/shop".parse().unwrap(), number: 1 }
}

#[tokio::test]
async fn a_branch_is_created_or_found_where_it_stands() {
    let (server, client) = github(|_, _| Reply::status(201, json!({}))).await;
    assert_eq!(client.create_branch(&branch()).await.unwrap().as_str(), OTHER);
    let sent = &server.calls()[0];
    assert_eq!(sent.line, "POST /api/v3/repos/acme/shop/git/refs");
    assert_eq!(sent.json, json!({"ref": "refs/heads/agent/SHOP-1/clamp-1", "sha": OTHER}));

    let (_, client) = github(|line, call| match line {
        REF => Reply::ok(json!({"object": {"sha": HEAD}})),
        "POST /repos/acme/shop/git/refs" => Reply::status(422, json!({"message": "Reference already exists"})),
        _ => Reply::unplanned(call),
    })
    .await;
    assert_eq!(client.create_branch(&branch()).await.unwrap().as_str(), HEAD);

    let (_, client) = github(|_, _| Reply::status(422, json!({"message": "Object does not exist"}))).await;
    assert_eq!(client.create_branch(&branch()).await.unwrap_err().kind, FailureKind::Invalid);
}

fn plan() -> WritePlan {
    WritePlan {
        repository: "acme/shop".parse().unwrap(),
        branch: "agent/SHOP-1/clamp-1".parse().unwrap(),
        content: "# Plan".into(),
        message: "SHOP-1: plan".into(),
    }
}

const PLAN: &str = "GET /repos/acme/shop/contents/PLAN.md?ref=agent%2FSHOP-1%2Fclamp-1";
const PUT: &str = "PUT /repos/acme/shop/contents/PLAN.md";

fn stored(sha: &str, base64: &str) -> Reply {
    Reply::ok(json!({"type": "file", "sha": sha, "encoding": "base64", "content": format!("{base64}\n")}))
}

#[tokio::test]
async fn a_plan_that_is_there_already_is_left_alone() {
    let (server, client) = github(|line, call| match line {
        PLAN => stored("s1", "IyBQbGFu"),
        REF => Reply::ok(json!({"object": {"sha": HEAD}})),
        _ => Reply::unplanned(call),
    })
    .await;
    assert_eq!(client.write_plan(&plan()).await.unwrap().as_str(), HEAD);
    assert!(server.writes().is_empty());
}

#[tokio::test]
async fn a_lost_race_for_the_plan_is_run_again_from_a_new_look() {
    let mut looks = 0;
    let (server, client) = github(move |line, call| match (line, &call.json["sha"]) {
        (PLAN, _) => {
            looks += 1;
            match looks {
                1 => Reply::status(404, json!({"message": "Not Found"})),
                2 => stored("s1", "b2xk"),
                _ => stored("s2", "b2xkZXI="),
            }
        }
        (PUT, Value::Null) => Reply::status(422, json!({"message": "Invalid request.\n\n\"sha\" wasn't supplied."})),
        (PUT, sha) if sha == "s1" => Reply::status(409, json!({"message": "PLAN.md does not match s1"})),
        (PUT, _) => Reply::ok(json!({"commit": {"sha": OTHER}})),
        _ => Reply::unplanned(call),
    })
    .await;
    assert_eq!(client.write_plan(&plan()).await.unwrap().as_str(), OTHER);
    let last = server.writes().pop().unwrap();
    let body = json!({"message": "SHOP-1: plan", "content": "IyBQbGFu", "branch": "agent/SHOP-1/clamp-1", "sha": "s2"});
    assert_eq!(last.json, body);
}

#[tokio::test]
async fn a_race_without_end_is_a_conflict() {
    let (server, client) = github(|line, _| match line {
        PLAN => stored("s1", "b2xk"),
        _ => Reply::status(409, json!({"message": "does not match"})),
    })
    .await;
    assert_eq!(client.write_plan(&plan()).await.unwrap_err().kind, FailureKind::Conflict);
    assert_eq!(server.writes().len(), 4);
}

#[tokio::test]
async fn a_pull_request_is_opened_as_a_draft() {
    let mut open = false;
    let (server, client) = github(move |line, call| match line {
        LIST if open => Reply::ok(json!([pull_request(1, "open")])),
        LIST => Reply::ok(json!([])),
        "POST /repos/acme/shop/pulls" => {
            open = true;
            Reply::status(201, pull_request(1, "open"))
        }
        _ => Reply::unplanned(call),
    })
    .await;
    for _ in 0..2 {
        let opened = client.open_pull_request(&opening()).await.unwrap();
        assert_eq!((opened.number, opened.draft, opened.state), (1, true, PullRequestState::Open));
    }
    let writes = server.writes();
    assert_eq!(writes.len(), 1);
    let body = json!({"title": "SHOP-1: Clamp", "body": "Why\nand how", "head": "agent/SHOP-1/clamp-1", "base": "main", "draft": true});
    assert_eq!(writes[0].json, body);
}

#[tokio::test]
async fn a_closed_pull_request_of_the_branch_is_returned_as_it_is() {
    let (server, client) = github(|line, call| {
        if line == LIST {
            Reply::ok(json!([pull_request(4, "closed"), pull_request(2, "merged")]))
        } else {
            Reply::unplanned(call)
        }
    })
    .await;
    let found = client.open_pull_request(&opening()).await.unwrap();
    assert_eq!((found.number, found.state), (4, PullRequestState::Closed));
    assert!(server.writes().is_empty());
}

#[tokio::test]
async fn a_pull_request_that_github_says_exists_is_fetched() {
    let mut looks = 0;
    let (_, client) = github(move |line, call| match line {
        LIST => {
            looks += 1;
            Reply::ok(if looks == 1 { json!([]) } else { json!([pull_request(3, "open")]) })
        }
        "POST /repos/acme/shop/pulls" => {
            let error = json!({"resource": "PullRequest", "message": "A pull request already exists for acme:agent/SHOP-1/clamp-1."});
            Reply::status(422, json!({"message": "Validation Failed", "errors": [error]}))
        }
        _ => Reply::unplanned(call),
    })
    .await;
    assert_eq!(client.open_pull_request(&opening()).await.unwrap().number, 3);
}

#[tokio::test]
async fn of_two_attempts_side_by_side_the_older_pull_request_stays() {
    let mut looks = 0;
    let (server, client) = github(move |line, call| match line {
        LIST => {
            looks += 1;
            Reply::ok(if looks == 1 { json!([]) } else { json!([pull_request(6, "open"), pull_request(5, "open")]) })
        }
        "POST /repos/acme/shop/pulls" => Reply::status(201, pull_request(6, "open")),
        "GET /repos/acme/shop/pulls/6" => Reply::ok(pull_request(6, "open")),
        "PATCH /repos/acme/shop/pulls/6" => Reply::ok(pull_request(6, "closed")),
        _ => Reply::unplanned(call),
    })
    .await;
    assert_eq!(client.open_pull_request(&opening()).await.unwrap().number, 5);
    assert_eq!(server.writes()[1].json, json!({"state": "closed"}));
}

#[tokio::test]
async fn an_edit_sends_only_what_changed() {
    let (server, client) = github(|line, call| match line {
        "GET /repos/acme/shop/pulls/1" | "PATCH /repos/acme/shop/pulls/1" => Reply::ok(pull_request(1, "open")),
        _ => Reply::unplanned(call),
    })
    .await;
    let edit = |body: &str| EditPullRequest { pull_request: first(), title: "SHOP-1: Clamp".into(), body: body.into() };
    client.edit_pull_request(&edit("Why\nand how")).await.unwrap();
    assert!(server.writes().is_empty());
    client.edit_pull_request(&edit("New")).await.unwrap();
    assert_eq!(server.writes()[0].json, json!({"title": "SHOP-1: Clamp", "body": "New"}));
}

#[tokio::test]
async fn a_draft_becomes_ready_by_graphql() {
    let mut ready = false;
    let (server, client) = github(move |line, call| match line {
        "GET /repos/acme/shop/pulls/1" => {
            let mut answer = pull_request(1, "open");
            answer["draft"] = json!(!ready);
            Reply::ok(answer)
        }
        "POST /api/graphql" => {
            ready = true;
            Reply::ok(json!({"data": {"markPullRequestReadyForReview": {"pullRequest": {"isDraft": false}}}}))
        }
        _ => Reply::unplanned(call),
    })
    .await;
    for _ in 0..2 {
        assert!(!client.mark_ready(&first()).await.unwrap().draft);
    }
    let writes = server.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].header("authorization"), "Bearer t0ken");
    assert_eq!(writes[0].json["variables"], json!({"id": "PR_1"}));
    assert!(writes[0].json["query"].as_str().unwrap().contains("markPullRequestReadyForReview"));
}

#[tokio::test]
async fn closing_and_deleting_again_is_fine() {
    let (server, client) = github(|line, call| match line {
        "GET /repos/acme/shop/pulls/1" => Reply::ok(pull_request(1, "merged")),
        _ => Reply::unplanned(call),
    })
    .await;
    assert_eq!(client.close_pull_request(&first()).await.unwrap().state, PullRequestState::Merged);
    assert!(server.writes().is_empty());

    let branch = BranchRef { repository: branch().repository, branch: branch().branch };
    for (status, message, fine) in [
        (204, "", true),
        (422, "Reference does not exist", true),
        (404, "Not Found", true),
        (422, "Cannot delete protected branch", false),
    ] {
        let (server, client) = github(move |_, _| match status {
            204 => Reply::empty(204),
            _ => Reply::status(status, json!({"message": message})),
        })
        .await;
        assert_eq!(client.delete_branch(&branch).await.is_ok(), fine, "{status} {message}");
        assert_eq!(server.lines(), ["DELETE /api/v3/repos/acme/shop/git/refs/heads/agent/SHOP-1/clamp-1"]);
    }
}

#[tokio::test]
async fn nothing_is_written_outside_the_organisation() {
    let (server, client) = github(|_, call| Reply::unplanned(call)).await;
    let repository = || "evil/shop".parse().unwrap();
    assert!(client.create_branch(&CreateBranch { repository: repository(), ..branch() }).await.is_err());
    assert!(client.write_plan(&WritePlan { repository: repository(), ..plan() }).await.is_err());
    assert!(client.open_pull_request(&OpenPullRequest { repository: repository(), ..opening() }).await.is_err());
    let pull_request = PullRequestRef { repository: repository(), number: 1 };
    assert!(client.close_pull_request(&pull_request).await.is_err());
    assert!(client.mark_ready(&pull_request).await.is_err());
    let branch = BranchRef { repository: repository(), branch: branch().branch };
    assert!(client.delete_branch(&branch).await.is_err());
    assert!(server.calls().is_empty());
}
