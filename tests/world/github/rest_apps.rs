//! REST: the GitHub App, its installation and its tokens. <https://docs.github.com/en/rest/apps>

use std::collections::{BTreeMap, HashSet};

use chrono::{Duration, Utc};
use serde_json::{Value, json};

use super::access::app_permissions;
use super::hub::Hub;
use super::reply::{Answer, Call, Failure, Reply};
use super::rest_repositories::visible;
use super::state::{App, InstallationToken, Repository, node_id};
use super::views::time;

/// Tokens live one hour. <https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app>
const TOKEN_LIFE: Duration = Duration::hours(1);

const EVENTS: [&str; 6] = ["check_run", "check_suite", "issue_comment", "pull_request", "push", "workflow_run"];

fn installed(hub: &Hub) -> Result<App, Failure> {
    hub.state().app.clone().ok_or_else(Failure::not_found)
}

/// The organisation the App is installed on: the owner of the first repository.
fn account(hub: &Hub) -> Value {
    let owner = hub.state().repositories.values().next().map_or("acme".to_owned(), |r| r.owner.clone());
    let user = hub.state().user(&owner, "Organization");
    hub.user_view(&user)
}

/// `GET /app`.
pub(super) fn app(hub: &Hub) -> Answer {
    let app = installed(hub)?;
    Ok(Reply::ok(json!({
        "id": app.id,
        "slug": app.slug,
        "client_id": format!("Iv23{:016}", app.id),
        "node_id": node_id("A", app.id),
        "owner": account(hub),
        "name": app.slug,
        "description": "",
        "external_url": format!("{}/apps/{}", hub.base, app.slug),
        "html_url": format!("{}/apps/{}", hub.base, app.slug),
        "created_at": time(app.created),
        "updated_at": time(app.created),
        "permissions": app_permissions(),
        "events": EVENTS,
        "installations_count": 1,
    })))
}

fn installation(hub: &Hub, app: &App) -> Value {
    let account = account(hub);
    let id = app.installation;
    json!({
        "id": id,
        "client_id": format!("Iv23{:016}", app.id),
        "account": account,
        "repository_selection": "all",
        "access_tokens_url": hub.api(&format!("/app/installations/{id}/access_tokens")),
        "repositories_url": hub.api("/installation/repositories"),
        "html_url": format!("{}/organizations/{}/settings/installations/{id}", hub.base, account["login"].as_str().unwrap_or_default()),
        "app_id": app.id,
        "app_slug": app.slug,
        "target_id": account["id"],
        "target_type": "Organization",
        "permissions": app_permissions(),
        "events": EVENTS,
        "created_at": time(app.created),
        "updated_at": time(app.created),
        "single_file_name": null,
        "has_multiple_single_files": false,
        "single_file_paths": [],
        "suspended_by": null,
        "suspended_at": null,
    })
}

/// `GET /app/installations`.
pub(super) fn installations(hub: &Hub, call: &Call) -> Answer {
    let app = installed(hub)?;
    Ok(call.list(vec![installation(hub, &app)], &hub.base))
}

/// `GET /app/installations/{id}`.
pub(super) fn installation_by_id(hub: &Hub, id: &str) -> Answer {
    let app = installed(hub)?;
    match app.installation.to_string() == id {
        true => Ok(Reply::ok(installation(hub, &app))),
        false => Err(Failure::not_found()),
    }
}

/// `GET /repos/{owner}/{repo}/installation`, `GET /orgs/{org}/installation`.
pub(super) fn installation_of(hub: &Hub, owner: &str) -> Answer {
    let app = installed(hub)?;
    let installation = installation(hub, &app);
    match installation["account"]["login"].as_str().is_some_and(|login| login.eq_ignore_ascii_case(owner)) {
        true => Ok(Reply::ok(installation)),
        false => Err(Failure::not_found()),
    }
}

/// `POST /app/installations/{id}/access_tokens` with optional `repositories`, `repository_ids`, `permissions`.
pub(super) fn access_token(hub: &Hub, call: &Call, id: &str) -> Answer {
    let app = installed(hub)?;
    if app.installation.to_string() != id {
        return Err(Failure::not_found());
    }
    let body = call.json()?;
    let granted = app_permissions();
    let permissions = match body["permissions"].as_object() {
        None => granted,
        Some(asked) => {
            let mut given = BTreeMap::from([("metadata".to_owned(), "read".to_owned())]);
            for (name, level) in asked {
                let level = level.as_str().unwrap_or_default();
                let enough = granted.get(name).is_some_and(|most| level == "read" || level == most);
                if !enough {
                    let text = "The permissions requested are not granted to this installation.";
                    return Err(Failure::new(422, text));
                }
                given.insert(name.clone(), level.to_owned());
            }
            given
        }
    };
    let all: Vec<Repository> = hub.state().repositories.values().cloned().collect();
    let names = body["repositories"].as_array().map(|names| names.iter().filter_map(Value::as_str).collect::<Vec<_>>());
    let ids = body["repository_ids"].as_array().map(|ids| ids.iter().filter_map(Value::as_u64).collect::<Vec<_>>());
    let limited = names.is_some() || ids.is_some();
    let chosen: Vec<&Repository> = all
        .iter()
        .filter(|repository| {
            !limited
                || names.iter().flatten().any(|name| name.eq_ignore_ascii_case(&repository.name))
                || ids.iter().flatten().any(|id| *id == repository.id)
        })
        .collect();
    let asked = names.as_ref().map_or(0, Vec::len) + ids.as_ref().map_or(0, Vec::len);
    if limited && chosen.len() < asked {
        let text =
            "There is at least one repository that does not exist or is not accessible to the parent installation.";
        return Err(Failure::new(422, text));
    }
    let token = format!("ghs_{}", uuid::Uuid::new_v4().simple());
    let expires = Utc::now() + TOKEN_LIFE;
    let only: HashSet<String> = chosen.iter().map(|repository| repository.name.to_ascii_lowercase()).collect();
    let mut answer = json!({
        "token": token,
        "expires_at": time(expires),
        "permissions": permissions,
        "repository_selection": if limited { "selected" } else { "all" },
    });
    if limited {
        answer["repositories"] = chosen.iter().map(|repository| hub.repository_view(repository)).collect();
    }
    let found = InstallationToken { expires, permissions, repositories: limited.then_some(only) };
    hub.state().tokens.insert(token, found);
    Ok(Reply::created(answer))
}

/// `GET /installation/repositories`.
pub(super) fn repositories(hub: &Hub, call: &Call) -> Answer {
    let all = visible(hub, call);
    let total = all.len();
    let (page, link) = call.paged(all, &hub.base);
    Ok(Reply::ok(json!({"total_count": total, "repository_selection": "all", "repositories": page})).link(link))
}
