//! REST: accounts, repositories, branches, permissions. <https://docs.github.com/en/rest/repos>

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::access::Actor;
use super::hub::{Hub, Place};
use super::reply::{Answer, Call, Failure, Reply, encode_path};
use super::state::{Permission, Repository};
use super::views::time;

/// `GET /user`.
pub(super) fn current_user(hub: &Hub, call: &Call) -> Answer {
    Ok(Reply::ok(profile(hub.user(call.actor.login()))))
}

/// `GET /users/{login}`.
pub(super) fn user(hub: &Hub, login: &str) -> Answer {
    let found = hub.state().users.get(&login.to_ascii_lowercase()).cloned();
    found.map(|user| Reply::ok(profile(hub.user_view(&user)))).ok_or_else(Failure::not_found)
}

/// `GET /orgs/{org}`.
pub(super) fn organization(hub: &Hub, login: &str) -> Answer {
    let found = hub.state().users.get(&login.to_ascii_lowercase()).filter(|user| user.kind == "Organization").cloned();
    found.map(|user| Reply::ok(profile(hub.user_view(&user)))).ok_or_else(Failure::not_found)
}

fn profile(mut user: Value) -> Value {
    for field in ["name", "company", "location", "email", "hireable", "bio", "twitter_username"] {
        user[field] = Value::Null;
    }
    user["name"] = user["login"].clone();
    user["blog"] = json!("");
    for field in ["public_repos", "public_gists", "followers", "following"] {
        user[field] = json!(0);
    }
    user["created_at"] = json!("2025-01-01T00:00:00Z");
    user["updated_at"] = json!("2025-01-01T00:00:00Z");
    user
}

/// `GET /rate_limit`.
pub(super) fn rate_limit(hub: &Hub) -> Answer {
    let now = chrono::Utc::now().timestamp();
    let used = |name: &str| hub.state().used.get(name).copied().unwrap_or_default();
    let resource = |name: &str, limit: u64, window: i64| {
        let used = used(name);
        let reset = now - now % window + window;
        json!({"limit": limit, "used": used, "remaining": limit.saturating_sub(used), "reset": reset})
    };
    let core = resource("core", 5_000, 3_600);
    Ok(Reply::ok(json!({
        "resources": {
            "core": core,
            "search": resource("search", 30, 60),
            "code_search": resource("code_search", 10, 60),
            "graphql": resource("graphql", 5_000, 3_600),
        },
        "rate": core,
    })))
}

/// `GET /user/repos`, `GET /orgs/{org}/repos`, `GET /users/{user}/repos`.
pub(super) fn list(hub: &Hub, call: &Call, owner: Option<&&str>) -> Answer {
    if let Some(owner) = owner
        && !hub.state().users.contains_key(&owner.to_ascii_lowercase())
    {
        return Err(Failure::not_found());
    }
    let mut all: Vec<Repository> = hub.state().repositories.values().cloned().collect();
    all.retain(|repository| owner.is_none_or(|owner| repository.owner.eq_ignore_ascii_case(owner)));
    all.retain(|repository| hub.place(&repository.full_name()).is_some_and(|place| call.sees(hub, &place)));
    if matches!(call.query("sort"), Some("pushed" | "updated")) {
        all.sort_by_key(|repository| std::cmp::Reverse(repository.pushed));
    }
    if matches!(call.query("sort"), None | Some("created")) && owner.is_some() {
        all.sort_by_key(|repository| std::cmp::Reverse(repository.id));
    }
    let views = all.iter().map(|repository| hub.repository_view(repository)).collect();
    Ok(call.list(views, &hub.base))
}

/// `GET /repos/{owner}/{repo}`.
pub(super) fn get(hub: &Hub, place: &Place) -> Answer {
    let mut view = hub.repository(place)?;
    view["organization"] = view["owner"].clone();
    view["network_count"] = json!(0);
    view["subscribers_count"] = json!(0);
    Ok(Reply::ok(view))
}

/// `GET /repos/{owner}/{repo}/languages`: bytes by language, judged by file name.
pub(super) async fn languages(place: &Place) -> Answer {
    let mut sizes: BTreeMap<&'static str, u64> = BTreeMap::new();
    for entry in place.git.tree(&place.default_branch, true).await.unwrap_or_default() {
        if let (Some(language), Some(size)) = (language_of(&entry.path), entry.size) {
            *sizes.entry(language).or_default() += size;
        }
    }
    Ok(Reply::ok(json!(sizes)))
}

/// Language of a file by its name, as GitHub's linguist calls it. Data and prose do not count.
pub(super) fn language_of(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name {
        "Makefile" => return Some("Makefile"),
        "Dockerfile" => return Some("Dockerfile"),
        _ => {}
    }
    let language = match name.rsplit_once('.')?.1 {
        "rs" => "Rust",
        "py" | "pyi" => "Python",
        "js" | "mjs" | "cjs" | "jsx" => "JavaScript",
        "ts" | "tsx" | "mts" => "TypeScript",
        "go" => "Go",
        "java" => "Java",
        "kt" | "kts" => "Kotlin",
        "rb" => "Ruby",
        "php" => "PHP",
        "c" | "h" => "C",
        "cc" | "cpp" | "hpp" => "C++",
        "cs" => "C#",
        "swift" => "Swift",
        "scala" => "Scala",
        "sh" | "bash" => "Shell",
        "html" => "HTML",
        "css" => "CSS",
        "scss" => "SCSS",
        "sql" => "SQL",
        "tf" => "HCL",
        _ => return None,
    };
    Some(language)
}

/// `GET /repos/{owner}/{repo}/collaborators/{login}/permission`.
pub(super) fn permission(hub: &Hub, login: &str) -> Answer {
    let found = hub.state().users.get(&login.to_ascii_lowercase()).cloned();
    let user = found.ok_or_else(|| Failure::new(404, format!("{login} is not a user")))?;
    let granted = if user.login == super::hub::BOT { Permission::Write } else { user.permission };
    let mut view = hub.user_view(&user);
    view["permissions"] = json!({
        "pull": granted >= Permission::Read,
        "triage": granted >= Permission::Write,
        "push": granted >= Permission::Write,
        "maintain": granted >= Permission::Admin,
        "admin": granted >= Permission::Admin,
    });
    view["role_name"] = json!(granted.name());
    Ok(Reply::ok(json!({"permission": granted.name(), "role_name": granted.name(), "user": view})))
}

/// `GET /repos/{owner}/{repo}/branches`.
pub(super) async fn branches(hub: &Hub, call: &Call, place: &Place) -> Answer {
    let references = place.git.references().await?;
    let branches = references.iter().filter_map(|(name, sha)| Some((name.strip_prefix("refs/heads/")?, sha)));
    let view = |(name, sha): (&str, &String)| {
        let url = hub.api(&format!("/repos/{}/commits/{sha}", place.full));
        json!({"name": name, "commit": {"sha": sha, "url": url}, "protected": false})
    };
    Ok(call.list(branches.map(view).collect(), &hub.base))
}

/// `GET /repos/{owner}/{repo}/branches/{branch}`.
pub(super) async fn branch(hub: &Hub, place: &Place, branch: &str) -> Answer {
    let sha = place.git.reference(&format!("refs/heads/{branch}")).await;
    let sha = sha.ok_or_else(|| Failure::new(404, "Branch not found"))?;
    let commit = place.git.commit(&sha).await?;
    let path = encode_path(branch);
    let url = hub.api(&format!("/repos/{}/branches/{path}", place.full));
    Ok(Reply::ok(json!({
        "name": branch,
        "commit": hub.commit_view(place, &commit),
        "_links": {"self": url, "html": format!("{}/{}/tree/{path}", hub.base, place.full)},
        "protected": false,
        "protection": {"enabled": false, "required_status_checks": {"enforcement_level": "off", "contexts": [], "checks": []}},
        "protection_url": format!("{url}/protection"),
    })))
}

/// Repositories an installation sees, with their number.
pub(super) fn visible(hub: &Hub, call: &Call) -> Vec<Value> {
    let all: Vec<Repository> = hub.state().repositories.values().cloned().collect();
    let sees = |repository: &&Repository| match (&call.actor, hub.place(&repository.full_name())) {
        (Actor::App, _) | (_, None) => false,
        (_, Some(place)) => call.sees(hub, &place),
    };
    all.iter().filter(sees).map(|repository| hub.repository_view(repository)).collect()
}

/// When a repository last changed, for sorting in search.
pub(super) fn updated(repository: &Repository) -> String {
    time(repository.pushed)
}
