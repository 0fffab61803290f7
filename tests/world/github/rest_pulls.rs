//! REST: pull requests. <https://docs.github.com/en/rest/pulls>

use serde_json::{Value, json};

use super::events::SharedHub;
use super::hub::{Hub, Place};
use super::pull_life::NewPull;
use super::pushes::Pusher;
use super::reply::{Answer, Call, Failure, Reply};
use super::rest_commits::between;
use super::state::Pull;

fn number(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| Failure::not_found())
}

/// `GET /repos/{owner}/{repo}/pulls` with `state`, `head`, `base`, `sort`, `direction`.
pub(super) fn list(hub: &Hub, call: &Call, place: &Place) -> Answer {
    let mut pulls: Vec<Pull> = hub.with(place, |repository| repository.pulls.values().cloned().collect())?;
    match call.query("state").unwrap_or("open") {
        "all" => {}
        "closed" => pulls.retain(|pull| !pull.open),
        "open" => pulls.retain(|pull| pull.open),
        _ => return Err(Failure::field("PullRequest", "state", "invalid")),
    }
    if let Some(head) = call.query("head") {
        // GitHub ignores a head that does not have the form owner:branch.
        if let Some((owner, branch)) = head.split_once(':') {
            let owner_of = |pull: &Pull| pull.fork.as_ref().unwrap_or(&place.owner).to_ascii_lowercase();
            pulls.retain(|pull| owner_of(pull) == owner.to_ascii_lowercase() && pull.head_branch == branch);
        }
    }
    if let Some(base) = call.query("base") {
        pulls.retain(|pull| pull.base_branch == base);
    }
    let sort = call.query("sort").unwrap_or("created");
    match sort {
        "updated" => pulls.sort_by_key(|pull| (pull.updated, pull.number)),
        _ => pulls.sort_by_key(|pull| pull.number),
    }
    let newest_first = call.query("direction").map_or(sort == "created", |direction| direction == "desc");
    if newest_first {
        pulls.reverse();
    }
    let (page, link) = call.paged(pulls, &hub.base);
    let views: Result<Vec<Value>, Failure> = page.iter().map(|pull| hub.pull_view(place, pull)).collect();
    Ok(Reply::ok(Value::Array(views?)).link(link))
}

/// `POST /repos/{owner}/{repo}/pulls`.
pub(super) async fn create(hub: &SharedHub, call: &Call, place: &Place) -> Answer {
    let body = call.json()?;
    let text = |field: &str| body[field].as_str().map(str::to_owned);
    let new = NewPull {
        title: text("title").filter(|title| !title.trim().is_empty()),
        body: text("body"),
        head: text("head").unwrap_or_default(),
        base: text("base").unwrap_or_default(),
        draft: body["draft"] == json!(true),
    };
    let pull = hub.clone().open_pull(place, new, &call.pusher()).await?;
    Ok(Reply::created(hub.full_pull_view(place, pull.number).await?))
}

/// `GET /repos/{owner}/{repo}/pulls/{n}`, or its diff when asked for that media type.
pub(super) async fn get(hub: &Hub, call: &Call, place: &Place, n: &str) -> Answer {
    let number = number(n)?;
    if call.accepts("diff") || call.accepts("patch") {
        let pull = hub.pull(place, number)?;
        let diff = place.git.diff_text(&hub.fork_point(place, &pull).await, &pull.head_sha).await?;
        return Ok(Reply::raw("application/vnd.github.v3.diff; charset=utf-8", diff.into_bytes()));
    }
    Ok(Reply::ok(hub.full_pull_view(place, number).await?))
}

/// `PATCH /repos/{owner}/{repo}/pulls/{n}`: title, body, state, base. `draft` is ignored: only GraphQL changes it.
pub(super) async fn update(hub: &SharedHub, call: &Call, place: &Place, n: &str) -> Answer {
    let number = number(n)?;
    let body = call.json()?;
    let before = hub.pull(place, number)?;
    let pusher = call.pusher();
    if body["title"].as_str().is_some_and(|title| title.trim().is_empty()) {
        return Err(Failure::field("PullRequest", "title", "missing_field"));
    }
    if let Some(base) = body["base"].as_str().filter(|base| *base != before.base_branch) {
        let tip = place.git.reference(&format!("refs/heads/{base}")).await;
        let tip = tip.ok_or_else(|| Failure::field("PullRequest", "base", "invalid"))?;
        hub.change_pull(place, number, |pull| (pull.base_branch, pull.base_sha) = (base.to_owned(), tip))?;
    }
    hub.change_pull(place, number, |pull| {
        if let Some(title) = body["title"].as_str() {
            title.clone_into(&mut pull.title);
        }
        if let Some(text) = body.get("body") {
            pull.body = text.as_str().map(str::to_owned);
        }
    })?;
    let after = hub.pull(place, number)?;
    let mut changed = json!({});
    for (field, from, to) in [
        ("title", json!(before.title), json!(after.title)),
        ("body", json!(before.body), json!(after.body)),
        ("base", json!(before.base_branch), json!(after.base_branch)),
    ] {
        if from != to {
            changed[field] = json!({"from": from});
        }
    }
    if changed.as_object().is_some_and(|changed| !changed.is_empty()) {
        let detail = json!({"title": after.title, "body": after.body, "base": after.base_branch, "changed": changed});
        hub.effect("pull_request.updated", place.issue(number), detail);
        hub.announce_pull(place, number, "edited", &pusher.login, json!({"changes": changed})).await;
    }
    match body["state"].as_str() {
        Some("closed") if after.open => hub.close_pull(place, number, &pusher).await?,
        Some("open") if !after.open => hub.reopen_pull(place, number, &pusher).await?,
        Some("open" | "closed") | None => {}
        Some(_) => return Err(Failure::field("PullRequest", "state", "invalid")),
    }
    Ok(Reply::ok(hub.full_pull_view(place, number).await?))
}

/// `GET /repos/{owner}/{repo}/pulls/{n}/files`.
pub(super) async fn files(hub: &Hub, call: &Call, place: &Place, n: &str) -> Answer {
    let pull = hub.pull(place, number(n)?)?;
    let files = hub.pull_files(place, &pull).await?;
    let views = files.iter().map(|file| hub.file_view(place, &pull.head_sha, file)).collect();
    Ok(call.list(views, &hub.base))
}

/// `GET /repos/{owner}/{repo}/pulls/{n}/commits`, oldest first.
pub(super) async fn commits(hub: &Hub, call: &Call, place: &Place, n: &str) -> Answer {
    let pull = hub.pull(place, number(n)?)?;
    let commits = between(place, &pull.base_sha, &pull.head_sha).await?;
    Ok(call.list(commits.iter().map(|commit| hub.commit_view(place, commit)).collect(), &hub.base))
}

/// `GET /repos/{owner}/{repo}/pulls/{n}/merge`: 204 when merged, else 404.
pub(super) fn is_merged(hub: &Hub, place: &Place, n: &str) -> Answer {
    if hub.pull(place, number(n)?)?.merged() { Ok(Reply::empty(204)) } else { Err(Failure::not_found()) }
}

/// `PUT /repos/{owner}/{repo}/pulls/{n}/merge`.
pub(super) async fn merge(hub: &SharedHub, call: &Call, place: &Place, n: &str) -> Answer {
    let number = number(n)?;
    let body = call.json()?;
    let pull = hub.pull(place, number)?;
    if body["sha"].as_str().is_some_and(|sha| sha != pull.head_sha) {
        return Err(Failure::new(409, "Head branch was modified. Review and try the merge again."));
    }
    let method = body["merge_method"].as_str().unwrap_or("merge");
    let title = body["commit_title"].as_str().map(str::to_owned);
    let message = body["commit_message"].as_str().map(str::to_owned);
    let pusher: Pusher = call.pusher();
    let sha =
        hub.clone().merge_pull(place, number, method, title.zip(message.or(Some(String::new()))), &pusher).await?;
    Ok(Reply::ok(json!({"sha": sha, "merged": true, "message": "Pull Request successfully merged"})))
}
