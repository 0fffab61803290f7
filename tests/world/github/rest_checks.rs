//! REST: check runs, check suites and commit statuses. <https://docs.github.com/en/rest/checks>

use chrono::Utc;
use serde_json::{Value, json};

use super::hub::{Hub, Place};
use super::reply::{Answer, Call, Failure, Reply};
use super::rest_commits::no_commit;
use super::state::{CheckRun, Status};

async fn commit(place: &Place, name: &str) -> Result<String, Failure> {
    place.git.resolve(name).await.ok_or_else(|| no_commit(name))
}

fn check_list(hub: &Hub, call: &Call, place: &Place, mut checks: Vec<CheckRun>) -> Reply {
    checks.retain(|check| call.query("check_name").is_none_or(|name| check.name == name));
    checks.retain(|check| call.query("status").is_none_or(|status| check.status == status));
    let total = checks.len();
    let (page, link) = call.paged(checks, &hub.base);
    let views: Vec<Value> = page.iter().map(|check| hub.check_view(place, check)).collect();
    Reply::ok(json!({"total_count": total, "check_runs": views})).link(link)
}

/// `GET /repos/{owner}/{repo}/commits/{ref}/check-runs`; `filter=latest` unless told `all`.
pub(super) async fn runs(hub: &Hub, call: &Call, place: &Place, name: &str) -> Answer {
    let sha = commit(place, name).await?;
    let latest = call.query("filter") != Some("all");
    let checks = hub.with(place, |repository| repository.checks_of(&sha, latest))?;
    Ok(check_list(hub, call, place, checks))
}

/// `GET /repos/{owner}/{repo}/commits/{ref}/check-suites`.
pub(super) async fn suites(hub: &Hub, call: &Call, place: &Place, name: &str) -> Answer {
    let sha = commit(place, name).await?;
    let all = hub.with(place, |repository| repository.suites.clone())?;
    let of: Vec<_> = all.into_iter().filter(|suite| suite.head_sha == sha).collect();
    let total = of.len();
    let (page, link) = call.paged(of, &hub.base);
    let mut views = Vec::new();
    for suite in &page {
        let mut view = hub.suite_view(place, suite).await;
        view["repository"] = hub.repository(place)?;
        views.push(view);
    }
    Ok(Reply::ok(json!({"total_count": total, "check_suites": views})).link(link))
}

/// `GET /repos/{owner}/{repo}/check-runs/{id}`.
pub(super) fn run(hub: &Hub, place: &Place, id: &str) -> Answer {
    let found = hub.with(place, |r| r.checks.iter().find(|check| check.id.to_string() == id).cloned())?;
    found.map(|check| Reply::ok(hub.check_view(place, &check))).ok_or_else(Failure::not_found)
}

/// `GET /repos/{owner}/{repo}/check-suites/{id}`.
pub(super) async fn suite(hub: &Hub, place: &Place, id: &str) -> Answer {
    let found = hub.with(place, |r| r.suites.iter().find(|suite| suite.id.to_string() == id).cloned())?;
    let suite = found.ok_or_else(Failure::not_found)?;
    let mut view = hub.suite_view(place, &suite).await;
    view["repository"] = hub.repository(place)?;
    Ok(Reply::ok(view))
}

/// `GET /repos/{owner}/{repo}/check-suites/{id}/check-runs`.
pub(super) fn runs_of_suite(hub: &Hub, call: &Call, place: &Place, id: &str) -> Answer {
    let sha = hub.with(place, |r| r.suites.iter().find(|s| s.id.to_string() == id).map(|s| s.head_sha.clone()))?;
    let sha = sha.ok_or_else(Failure::not_found)?;
    let latest = call.query("filter") != Some("all");
    let mut checks = hub.with(place, |repository| repository.checks_of(&sha, latest))?;
    checks.retain(|check| check.suite.to_string() == id);
    Ok(check_list(hub, call, place, checks))
}

/// `GET /repos/{owner}/{repo}/commits/{ref}/status`: `pending` when there is none, as on GitHub.
pub(super) async fn status(hub: &Hub, call: &Call, place: &Place, name: &str) -> Answer {
    let sha = commit(place, name).await?;
    let latest = hub.latest_statuses(place, &sha);
    let state = match () {
        () if latest.iter().any(|status| matches!(status.state.as_str(), "failure" | "error")) => "failure",
        () if latest.is_empty() || latest.iter().any(|status| status.state == "pending") => "pending",
        () => "success",
    };
    let total = latest.len();
    let (page, link) = call.paged(latest, &hub.base);
    let views: Vec<Value> = page.iter().map(|status| hub.status_view(place, status)).collect();
    let commit_url = hub.api(&format!("/repos/{}/commits/{sha}", place.full));
    Ok(Reply::ok(json!({
        "state": state,
        "statuses": views,
        "sha": sha,
        "total_count": total,
        "repository": hub.repository(place)?,
        "commit_url": commit_url,
        "url": format!("{commit_url}/status"),
    }))
    .link(link))
}

/// `GET /repos/{owner}/{repo}/commits/{ref}/statuses`, newest first.
pub(super) async fn statuses(hub: &Hub, call: &Call, place: &Place, name: &str) -> Answer {
    let sha = commit(place, name).await?;
    let mut of = hub.with(place, |repository| repository.statuses.clone())?;
    of.retain(|status| status.sha == sha);
    of.reverse();
    Ok(call.list(of.iter().map(|status| hub.status_view(place, status)).collect(), &hub.base))
}

/// `POST /repos/{owner}/{repo}/statuses/{sha}`.
pub(super) async fn create_status(hub: &Hub, call: &Call, place: &Place, sha: &str) -> Answer {
    let body = call.json()?;
    let state = body["state"].as_str().unwrap_or_default();
    if !["error", "failure", "pending", "success"].contains(&state) {
        return Err(Failure::field("Status", "state", "invalid"));
    }
    if sha.len() != 40 || place.git.kind(sha).await.as_deref() != Some("commit") {
        return Err(no_commit(sha));
    }
    let text = |field: &str| body[field].as_str().map(str::to_owned);
    let status = Status {
        id: hub.next_id(),
        sha: sha.to_owned(),
        state: state.to_owned(),
        context: text("context").unwrap_or_else(|| "default".into()),
        description: text("description"),
        target_url: text("target_url"),
        creator: call.actor.login().to_owned(),
        created: Utc::now(),
    };
    hub.with(place, |repository| repository.statuses.push(status.clone()))?;
    let detail = json!({"state": status.state, "context": status.context, "description": status.description});
    hub.effect("status.created", place.at(sha), detail);
    let view = hub.status_view(place, &status);
    let mut payload = view.clone();
    payload["sha"] = json!(sha);
    payload["name"] = json!(place.full);
    payload["commit"] = hub.commit_view(place, &place.git.commit(sha).await?);
    let references = place.git.references().await?;
    let on: Vec<Value> = references
        .iter()
        .filter(|(_, tip)| *tip == sha)
        .filter_map(|(name, _)| name.strip_prefix("refs/heads/"))
        .map(|name| json!({"name": name, "commit": {"sha": sha}, "protected": false}))
        .collect();
    payload["branches"] = Value::Array(on);
    hub.announce(place, "status", call.actor.login(), payload);
    Ok(Reply::created(view))
}
