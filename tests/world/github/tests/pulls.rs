//! Pull requests from draft to merge, by REST, GraphQL and people.

use serde_json::{Value, json};

use super::Site;

const PULLS: &str = "/repos/acme/shop-api/pulls";

fn names(list: &Value) -> Vec<u64> {
    list.as_array().into_iter().flatten().filter_map(|pull| pull["number"].as_u64()).collect()
}

#[tokio::test]
async fn a_draft_becomes_ready_and_is_merged() -> anyhow::Result<()> {
    let site = Site::start().await?;
    let pull = site.open_pull("agent/SHOP-1/clamp-1", true).await?;
    assert_eq!((&pull["number"], &pull["draft"], &pull["mergeable_state"]), (&json!(1), &json!(true), &json!("draft")));
    assert_eq!(pull["html_url"], site.url("/acme/shop-api/pull/1"));
    assert_eq!((&pull["commits"], &pull["changed_files"], &pull["additions"]), (&json!(1), &json!(1), &json!(1)));

    let (status, twin) =
        site.call("POST", PULLS, json!({"title": "x", "head": "agent/SHOP-1/clamp-1", "base": "main"})).await?;
    assert_eq!(status, 422);
    assert_eq!(twin["errors"][0]["message"], "A pull request already exists for acme:agent/SHOP-1/clamp-1.");
    let found = site.get(&format!("{PULLS}?head=acme:agent/SHOP-1/clamp-1&state=all")).await?;
    assert_eq!(names(&found), [1]);

    // REST has no way out of draft.
    let (status, still) = site.call("PATCH", &format!("{PULLS}/1"), json!({"draft": false, "title": "New"})).await?;
    assert_eq!((status, &still["draft"], &still["title"]), (200, &json!(true), &json!("New")));
    assert!(site.github().merge_pull_request("acme/shop-api", 1, "ana").await.is_err(), "a draft is not merged");

    let query =
        "mutation($id: ID!) { markPullRequestReadyForReview(input: {pullRequestId: $id}) { pullRequest { isDraft } } }";
    let call = json!({"query": query, "variables": {"id": pull["node_id"]}});
    let (status, answer) = site.call("POST", &site.url("/api/graphql"), call.clone()).await?;
    assert_eq!(status, 200);
    assert_eq!(answer["data"]["markPullRequestReadyForReview"]["pullRequest"]["isDraft"], false, "{answer}");
    let (_, wrong) =
        site.call("POST", &site.url("/api/graphql"), json!({"query": query, "variables": {"id": "PR_x"}})).await?;
    assert_eq!(wrong["errors"][0]["type"], "NOT_FOUND");

    site.github().merge_pull_request("acme/shop-api", 1, "ana").await?;
    let closed = site.webhook("closed", |event, body| event == "pull_request" && body["action"] == "closed").await?;
    assert_eq!((&closed["pull_request"]["merged"], &closed["sender"]["login"]), (&json!(true), &json!("ana")));
    assert_eq!(closed["pull_request"]["head"]["ref"], "agent/SHOP-1/clamp-1");
    assert_eq!(site.github().file("acme/shop-api", "main", "PLAN.md").await.as_deref(), Some("# Plan\n"));
    let merged = &site.github().pull_requests("acme/shop-api")[0];
    assert_eq!((merged.merged, merged.state, merged.draft), (true, "closed", false));
    assert!(site.github().diff("acme/shop-api", 1).await?.contains("+# Plan"), "the diff stays");
    assert_eq!(site.call("GET", &format!("{PULLS}/1/merge"), Value::Null).await?.0, 204);

    let kinds = ["pull_request.opened", "pull_request.updated", "pull_request.ready_for_review"];
    let own: Vec<String> = site.effects().into_iter().filter(|effect| effect.starts_with("pull_request")).collect();
    assert_eq!(own, kinds.map(|kind| format!("{kind} acme/shop-api#1")), "people's deeds are not effects");
    Ok(())
}

#[tokio::test]
async fn wrong_pull_requests_are_refused() -> anyhow::Result<()> {
    let site = Site::start().await?;
    let main = site.main().await?;
    site.call("POST", "/repos/acme/shop-api/git/refs", json!({"ref": "refs/heads/same", "sha": main})).await?;
    let (status, same) = site.call("POST", PULLS, json!({"title": "x", "head": "same", "base": "main"})).await?;
    assert_eq!((status, &same["errors"][0]["message"]), (422, &json!("No commits between main and same")));
    let (status, none) = site.call("POST", PULLS, json!({"title": "x", "head": "none", "base": "main"})).await?;
    assert_eq!((status, &none["errors"][0]["field"]), (422, &json!("head")));
    assert_eq!(site.call("GET", &format!("{PULLS}/7"), Value::Null).await?.0, 404);
    Ok(())
}

#[tokio::test]
async fn lists_are_paged_with_links() -> anyhow::Result<()> {
    let site = Site::start().await?;
    for number in 1..=3 {
        site.open_pull(&format!("b{number}"), false).await?;
    }
    let first = site.request("GET", &format!("{PULLS}?per_page=2&state=open")).send().await?;
    let link = first.headers()["link"].to_str()?.to_owned();
    assert_eq!(names(&first.json().await?), [3, 2]);
    let next = link.split(['<', '>']).nth(1).unwrap_or_default();
    assert_eq!(next, site.url("/api/v3/repos/acme/shop-api/pulls?per_page=2&state=open&page=2"));
    assert_eq!(names(&site.request("GET", next).send().await?.json().await?), [1]);
    Ok(())
}

#[tokio::test]
async fn closing_deleting_and_reopening() -> anyhow::Result<()> {
    let site = Site::start().await?;
    site.open_pull("b1", false).await?;
    site.open_pull("b2", false).await?;
    let (_, closed) = site.call("PATCH", &format!("{PULLS}/1"), json!({"state": "closed"})).await?;
    assert_eq!((&closed["state"], &closed["merged"]), (&json!("closed"), &json!(false)));
    let (_, open) = site.call("PATCH", &format!("{PULLS}/1"), json!({"state": "open"})).await?;
    assert_eq!(open["state"], "open");
    site.call("DELETE", "/repos/acme/shop-api/git/refs/heads/b2", Value::Null).await?;
    let all = site.github().pull_requests("acme/shop-api");
    assert_eq!((all[0].state, all[1].state), ("open", "closed"));
    assert_eq!(site.call("PATCH", &format!("{PULLS}/2"), json!({"state": "open"})).await?.0, 422, "its branch is gone");
    assert!(site.effects().contains(&"pull_request.closed acme/shop-api#2".into()));
    Ok(())
}

#[tokio::test]
async fn conversation_holds_comments_reactions_and_labels() -> anyhow::Result<()> {
    let site = Site::start().await?;
    site.open_pull("b1", false).await?;
    let issue = "/repos/acme/shop-api/issues";
    let (status, comment) =
        site.call("POST", &format!("{issue}/1/comments"), json!({"body": "Hello <!-- key -->"})).await?;
    assert_eq!(status, 201);
    let id = comment["id"].as_u64().unwrap_or_default();
    let (status, changed) = site.call("PATCH", &format!("{issue}/comments/{id}"), json!({"body": "Bye"})).await?;
    assert_eq!((status, &changed["body"]), (200, &json!("Bye")));
    let react = format!("{issue}/comments/{id}/reactions");
    assert_eq!(site.call("POST", &react, json!({"content": "eyes"})).await?.0, 201);
    assert_eq!(site.call("POST", &react, json!({"content": "eyes"})).await?.0, 200);
    assert_eq!(site.call("POST", &react, json!({"content": "tada"})).await?.0, 422);
    let (status, labels) = site.call("POST", &format!("{issue}/1/labels"), json!({"labels": ["ai"]})).await?;
    assert_eq!((status, &labels[0]["name"]), (200, &json!("ai")));
    site.github().comment("acme/shop-api", 1, "@agent try again", "ana").await?;
    assert_eq!(site.get(&format!("{issue}/1/comments")).await?.as_array().map(Vec::len), Some(2));
    let seen = site.github().comments("acme/shop-api", 1);
    assert_eq!((seen[0].body.as_str(), seen[0].reactions.as_slice()), ("Bye", ["eyes".to_owned()].as_slice()));
    let told = site
        .webhook("ana's comment", |event, body| event == "issue_comment" && body["sender"]["login"] == "ana")
        .await?;
    assert_eq!(told["comment"]["body"], "@agent try again");
    assert_eq!(told["issue"]["pull_request"]["html_url"], site.url("/acme/shop-api/pull/1"));
    Ok(())
}
