//! The door: tells git, web pages, GraphQL and REST apart, checks who calls, and holds the table of REST routes.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::json;

use super::access::Actor;
use super::events::SharedHub;
use super::hub::Place;
use super::reply::{Answer, Call, Failure, Reply, respond};
use super::{faults, git_http, graphql, pages};
use super::{rest_actions, rest_apps, rest_checks, rest_commits, rest_contents, rest_git};
use super::{rest_issues, rest_pulls, rest_repositories, rest_search};

/// GitHub takes 100 MB in a request at most.
const BODY_LIMIT: usize = 100 * 1024 * 1024;

/// Scopes of the bot's token.
const SCOPES: &str = "repo, workflow";

/// Every request below the stand-in's prefix.
pub(super) async fn entry(State(hub): State<SharedHub>, request: Request) -> Response {
    let method = request.method().to_string();
    let path = request.uri().path().to_owned();
    if let Some(mut planned) = hub.planned_error(&method, &path) {
        hub.stamp(&mut planned, &path);
        return planned;
    }
    let cut = hub.planned_cut(&method, &path);
    let mut response = if path.starts_with("/api/") {
        api(&hub, request, &path).await
    } else if git_http::is_git(&path) {
        git_http::serve(&hub, request, cut).await
    } else {
        pages::serve(&hub, &method, &path).await
    };
    if cut {
        return faults::cut();
    }
    if path.starts_with("/api/") {
        hub.stamp(&mut response, &path);
    }
    response
}

async fn api(hub: &SharedHub, request: Request, path: &str) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_LIMIT).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "request too large or broken off");
    };
    // Links to logs carry their own secret, as on GitHub's storage.
    if let Some(secret) = path.strip_prefix("/api/v3/_logs/") {
        return respond(rest_actions::log_by_link(hub, secret));
    }
    let actor = match hub.authenticate(&parts.headers) {
        Ok(actor) => actor,
        Err(failure) => return respond(Err(failure)),
    };
    let segments = path.strip_prefix("/api/v3").unwrap_or_default();
    let decode = |segment: &str| percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned();
    // A classic personal token tells its scopes with every reply; tokens of Apps have none.
    let classic = matches!(actor, Actor::Bot);
    let call = Call {
        method: parts.method,
        path: segments.split('/').filter(|segment| !segment.is_empty()).map(decode).collect(),
        query: url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
        headers: parts.headers,
        body,
        actor,
    };
    if path == "/api/graphql" {
        return respond(graphql::answer(hub, &call).await);
    }
    let answer = match path.starts_with("/api/v3/") {
        true => route(hub, &call).await,
        false => None,
    };
    match answer {
        Some(answer) => {
            let mut response = respond(answer);
            if classic {
                response.headers_mut().insert("x-oauth-scopes", HeaderValue::from_static(SCOPES));
            }
            response
        }
        None => {
            let name = format!("{} {path}", call.method);
            let body = String::from_utf8_lossy(&call.body).chars().take(2_000).collect::<String>();
            hub.effects.record_unexpected("github", name.clone(), json!({"body": body}));
            respond(Err(Failure::new(501, format!("the stand-in of GitHub does not know {name}"))))
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

/// Answers a REST call, or `None` for a route that is not here.
async fn route(hub: &SharedHub, call: &Call) -> Option<Answer> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    if let Err(failure) = hub.authorize(&call.actor, &call.method, &path) {
        return Some(Err(failure));
    }
    let answer = match (call.method.as_str(), path.as_slice()) {
        ("GET", []) => Ok(Reply::ok(json!({"current_user_url": hub.api("/user")}))),
        ("GET", ["user"]) => rest_repositories::current_user(hub, call),
        ("GET", ["users", login]) => rest_repositories::user(hub, login),
        ("GET", ["orgs", login]) => rest_repositories::organization(hub, login),
        ("GET", ["rate_limit"]) => rest_repositories::rate_limit(hub),
        ("GET", ["user", "repos"]) => rest_repositories::list(hub, call, None),
        ("GET", ["orgs" | "users", owner, "repos"]) => rest_repositories::list(hub, call, Some(owner)),
        ("GET", ["search", "repositories"]) => rest_search::repositories(hub, call).await,
        ("GET", ["search", "code"]) => rest_search::code(hub, call).await,
        ("GET", ["app"]) => rest_apps::app(hub),
        ("GET", ["app", "installations"]) => rest_apps::installations(hub, call),
        ("GET", ["app", "installations", id]) => rest_apps::installation_by_id(hub, id),
        ("POST", ["app", "installations", id, "access_tokens"]) => rest_apps::access_token(hub, call, id),
        ("GET", ["orgs", owner, "installation"]) => rest_apps::installation_of(hub, owner),
        ("GET", ["installation", "repositories"]) => rest_apps::repositories(hub, call),
        (_, ["repos", owner, name, rest @ ..]) => match hub.find(owner, name) {
            Ok(place) => return in_repository(hub, call, &place, rest).await,
            Err(failure) => Err(failure),
        },
        _ => return None,
    };
    Some(answer)
}

/// The routes below `/repos/{owner}/{repo}`.
async fn in_repository(hub: &SharedHub, call: &Call, place: &Place, rest: &[&str]) -> Option<Answer> {
    let answer = match (call.method.as_str(), rest) {
        ("GET", []) => rest_repositories::get(hub, place),
        ("GET", ["installation"]) => rest_apps::installation_of(hub, &place.owner),
        ("GET", ["languages"]) => rest_repositories::languages(place).await,
        ("GET", ["collaborators", login, "permission"]) => rest_repositories::permission(hub, login),
        ("GET", ["branches"]) => rest_repositories::branches(hub, call, place).await,
        ("GET", ["branches", branch @ ..]) => rest_repositories::branch(hub, place, &branch.join("/")).await,

        ("GET", ["readme"]) => rest_contents::readme(hub, call, place).await,
        ("GET", ["contents", path @ ..]) => rest_contents::get(hub, call, place, &path.join("/")).await,
        ("PUT", ["contents", path @ ..]) => rest_contents::put(hub, call, place, &path.join("/")).await,
        ("DELETE", ["contents", path @ ..]) => rest_contents::delete(hub, call, place, &path.join("/")).await,

        ("GET", ["git", "ref", name @ ..]) => rest_git::get_ref(hub, place, &name.join("/")).await,
        ("GET", ["git", "matching-refs", name @ ..]) => {
            rest_git::matching_refs(hub, call, place, &name.join("/")).await
        }
        ("POST", ["git", "refs"]) => rest_git::create_ref(hub, call, place).await,
        ("PATCH", ["git", "refs", name @ ..]) => rest_git::update_ref(hub, call, place, &name.join("/")).await,
        ("DELETE", ["git", "refs", name @ ..]) => rest_git::delete_ref(hub, call, place, &name.join("/")).await,
        ("GET", ["git", "blobs", sha]) => rest_git::get_blob(hub, call, place, sha).await,
        ("POST", ["git", "blobs"]) => rest_git::create_blob(hub, call, place).await,
        ("GET", ["git", "trees", name @ ..]) => rest_git::get_tree(hub, call, place, &name.join("/")).await,
        ("POST", ["git", "trees"]) => rest_git::create_tree(hub, call, place).await,
        ("GET", ["git", "commits", sha]) => rest_git::get_commit(hub, place, sha).await,
        ("POST", ["git", "commits"]) => rest_git::create_commit(hub, call, place).await,

        ("GET", ["commits"]) => rest_commits::list(hub, call, place).await,
        ("GET", ["commits", name @ .., "check-runs"]) => rest_checks::runs(hub, call, place, &name.join("/")).await,
        ("GET", ["commits", name @ .., "check-suites"]) => rest_checks::suites(hub, call, place, &name.join("/")).await,
        ("GET", ["commits", name @ .., "status"]) => rest_checks::status(hub, call, place, &name.join("/")).await,
        ("GET", ["commits", name @ .., "statuses"]) => rest_checks::statuses(hub, call, place, &name.join("/")).await,
        ("GET", ["commits", name @ ..]) => rest_commits::get(hub, call, place, &name.join("/")).await,
        ("GET", ["compare", range @ ..]) => rest_commits::compare(hub, call, place, &range.join("/")).await,
        ("POST", ["statuses", sha]) => rest_checks::create_status(hub, call, place, sha).await,
        ("GET", ["check-runs", id]) => rest_checks::run(hub, place, id),
        ("GET", ["check-suites", id]) => rest_checks::suite(hub, place, id).await,
        ("GET", ["check-suites", id, "check-runs"]) => rest_checks::runs_of_suite(hub, call, place, id),

        ("GET", ["pulls"]) => rest_pulls::list(hub, call, place),
        ("POST", ["pulls"]) => rest_pulls::create(hub, call, place).await,
        ("GET", ["pulls", n]) => rest_pulls::get(hub, call, place, n).await,
        ("PATCH", ["pulls", n]) => rest_pulls::update(hub, call, place, n).await,
        ("GET", ["pulls", n, "files"]) => rest_pulls::files(hub, call, place, n).await,
        ("GET", ["pulls", n, "commits"]) => rest_pulls::commits(hub, call, place, n).await,
        ("GET", ["pulls", n, "merge"]) => rest_pulls::is_merged(hub, place, n),
        ("PUT", ["pulls", n, "merge"]) => rest_pulls::merge(hub, call, place, n).await,

        ("GET", ["issues", "comments", id]) => rest_issues::get_comment(hub, place, id),
        ("PATCH", ["issues", "comments", id]) => rest_issues::update_comment(hub, call, place, id).await,
        ("DELETE", ["issues", "comments", id]) => rest_issues::delete_comment(hub, call, place, id).await,
        ("POST", ["issues", "comments", id, "reactions"]) => rest_issues::react_to_comment(hub, call, place, id),
        ("GET", ["issues", "comments", id, "reactions"]) => rest_issues::comment_reactions(hub, call, place, id),
        ("GET", ["issues", n]) => rest_issues::get(hub, place, n),
        ("GET", ["issues", n, "comments"]) => rest_issues::comments(hub, call, place, n),
        ("POST", ["issues", n, "comments"]) => rest_issues::create_comment(hub, call, place, n).await,
        ("POST", ["issues", n, "reactions"]) => rest_issues::react(hub, call, place, n),
        ("GET", ["issues", n, "labels"]) => rest_issues::labels(hub, place, n),
        ("POST", ["issues", n, "labels"]) => rest_issues::add_labels(hub, call, place, n).await,
        ("DELETE", ["issues", n, "labels", name]) => rest_issues::remove_label(hub, call, place, n, name).await,

        ("GET", ["actions", "runs"]) => rest_actions::runs(hub, call, place).await,
        ("GET", ["actions", "runs", id]) => rest_actions::run(hub, place, id).await,
        ("GET", ["actions", "runs", id, "jobs"]) => rest_actions::jobs(hub, call, place, id),
        ("POST", ["actions", "runs", id, "rerun"]) => rest_actions::rerun(hub, call, place, id, false).await,
        ("POST", ["actions", "runs", id, "rerun-failed-jobs"]) => rest_actions::rerun(hub, call, place, id, true).await,
        ("POST", ["actions", "runs", id, "cancel"]) => rest_actions::cancel(hub, call, place, id),
        ("GET", ["actions", "jobs", id]) => rest_actions::job(hub, place, id),
        ("POST", ["actions", "jobs", id, "rerun"]) => rest_actions::rerun_job(hub, call, place, id).await,
        ("GET", ["actions", "jobs", id, "logs"]) => rest_actions::logs(hub, place, id),
        _ => return None,
    };
    Some(answer)
}

impl Call {
    /// The product as the one who changes refs.
    pub(super) fn pusher(&self) -> super::pushes::Pusher {
        super::pushes::Pusher::product(self.actor.login())
    }

    /// Whether a repository is visible to the caller.
    pub(super) fn sees(&self, hub: &super::hub::Hub, place: &Place) -> bool {
        match &self.actor {
            Actor::Installation { token, .. } => hub.check_installation(token, &place.full, "metadata", false).is_ok(),
            Actor::Bot | Actor::App => true,
        }
    }
}
