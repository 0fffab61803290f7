//! GraphQL: the two mutations that REST has no way for. The operation is recognised by the mutation's name; the
//! answer holds the fields of a pull request that clients select. <https://docs.github.com/en/graphql/reference/mutations>

use serde_json::{Value, json};

use super::events::SharedHub;
use super::hub::{Hub, Place};
use super::reply::{Answer, Call, Failure, Reply};

/// Answers one GraphQL request. Errors of the operation itself come with status 200, as on GitHub.
pub(super) async fn answer(hub: &SharedHub, call: &Call) -> Answer {
    let body = call.json()?;
    let query = body["query"].as_str().ok_or_else(|| Failure::new(400, "A query attribute must be specified"))?;
    let (name, draft) = match query {
        query if query.contains("markPullRequestReadyForReview") => ("markPullRequestReadyForReview", false),
        query if query.contains("convertPullRequestToDraft") => ("convertPullRequestToDraft", true),
        query if query.contains("viewer") => {
            return Ok(Reply::ok(json!({"data": {"viewer": {"login": call.actor.login()}}})));
        }
        _ => {
            hub.effects.record_unexpected("github", "POST /api/graphql", json!({"query": query}));
            return Err(Failure::new(501, "the stand-in of GitHub does not know this GraphQL operation"));
        }
    };
    let Some(id) = pull_request_id(query, &body["variables"]) else {
        return Ok(problem(name, "INVALID", "Variable $pullRequestId of type ID! was provided invalid value"));
    };
    let Some((place, number)) = by_node_id(hub, &id) else {
        return Ok(problem(name, "NOT_FOUND", &format!("Could not resolve to a node with the global id of '{id}'")));
    };
    if let Err(failure) =
        hub.authorize(&call.actor, &axum::http::Method::POST, &["repos", &place.owner, &place.name, "pulls"])
    {
        return Ok(problem(name, "FORBIDDEN", &failure.message));
    }
    if let Err(failure) = hub.set_draft(&place, number, draft, &call.pusher()).await {
        return Ok(problem(name, "UNPROCESSABLE", &failure.message));
    }
    let pull = hub.pull(&place, number)?;
    let view = json!({
        "id": pull.node_id(),
        "databaseId": pull.id,
        "number": number,
        "title": pull.title,
        "body": pull.body,
        "isDraft": pull.draft,
        "state": if pull.merged() { "MERGED" } else if pull.open { "OPEN" } else { "CLOSED" },
        "url": format!("{}/{}/pull/{number}", hub.base, place.full),
        "headRefName": pull.head_branch,
        "headRefOid": pull.head_sha,
        "baseRefName": pull.base_branch,
    });
    let mutation = body["variables"]["clientMutationId"].clone();
    Ok(Reply::ok(json!({"data": {name: {"clientMutationId": mutation, "pullRequest": view}}})))
}

/// The id from the variables (plain or inside an `input` object), or written into the query.
fn pull_request_id(query: &str, variables: &Value) -> Option<String> {
    fn in_value(value: &Value) -> Option<String> {
        match value {
            Value::String(text) if text.starts_with("PR_") => Some(text.clone()),
            Value::Object(fields) => fields.values().find_map(in_value),
            _ => None,
        }
    }
    let written = || {
        let rest = query.split_once("pullRequestId")?.1.split_once('"')?.1;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let any = || variables.as_object()?.values().find_map(|value| value.as_str().map(str::to_owned));
    in_value(variables).or_else(written).or_else(any)
}

fn by_node_id(hub: &Hub, id: &str) -> Option<(Place, u64)> {
    let found = hub.state().repositories.values().find_map(|repository| {
        let pull = repository.pulls.values().find(|pull| pull.node_id() == id)?;
        Some((repository.full_name(), pull.number))
    });
    let (full, number) = found?;
    Some((hub.place(&full)?, number))
}

fn problem(name: &str, kind: &str, message: &str) -> Reply {
    let error = json!({"type": kind, "path": [name], "message": message, "locations": [{"line": 1, "column": 1}]});
    Reply::ok(json!({"data": {name: null}, "errors": [error]}))
}
