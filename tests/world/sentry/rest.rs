//! Sentry's web API: who may call, planned trouble, lists, issues, links.

use std::collections::HashMap;

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::Utc;
use serde_json::{Value, json};

use super::state::{APP, Issue, Link, State as Memory, Status};
use super::{ORGANISATION, SERVICE, Sentry};
use crate::faults::cut_connection;
use crate::specs::{Route, SENTRY};

/// A reply that is not a success: `{"detail": ...}`.
#[derive(Debug)]
struct Error(StatusCode, String);

type Answer = Result<Response, Error>;
type Names = HashMap<String, String>;

impl Error {
    fn invalid(detail: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, detail.into())
    }

    fn gone() -> Self {
        Self(StatusCode::NOT_FOUND, "The requested resource does not exist".into())
    }

    fn forbidden() -> Self {
        Self(StatusCode::FORBIDDEN, "You do not have permission to perform this action.".into())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        (self.0, axum::Json(json!({"detail": self.1}))).into_response()
    }
}

fn ok(body: Value) -> Response {
    axum::Json(body).into_response()
}

/// Every call that this stand-in answers. Tests hold the list against the official description.
pub(super) fn routes() -> Vec<Route<Sentry>> {
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let of = |path: &str| format!("/organizations/{ORGANISATION}/{path}");
    vec![
        Route::new(&get, &of(""), organisation),
        Route::new(&get, &of("issues/"), issues),
        Route::new(&get, &of("issues/{id}/"), issue),
        Route::new(&put, &of("issues/{id}/"), update),
        Route::new(&get, &of("issues/{id}/hashes/"), hashes),
        Route::new(&get, &of("issues/{id}/events/latest/"), latest_event),
        Route::new(&get, &of("issues/{id}/external-issues/"), links),
        Route::new(&get, &of("sentry-app-installations/"), installations),
        Route::new(&post, "/sentry-app-installations/{uuid}/external-issues/", link),
    ]
}

pub(super) fn router(sentry: &Sentry) -> Router {
    let api = Route::router(&SENTRY, routes())
        .fallback(unexpected_call)
        .layer(from_fn_with_state(sentry.clone(), guard))
        .with_state(sentry.clone());
    Router::new().nest("/api/0", api).fallback(unexpected).with_state(sentry.clone())
}

/// Checks the token and holds the request against the official description, plays planned refusals, holds the answer against the
/// description, loses planned replies after the call had its effect, and tells the rate limit.
async fn guard(State(sentry): State<Sentry>, request: Request, next: Next) -> Response {
    let expected = format!("Bearer {}", sentry.token);
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if given != Some(expected.as_str()) {
        return Error(StatusCode::UNAUTHORIZED, "Invalid token".into()).into_response();
    }
    let call = format!("{} /api/0{}", request.method(), request.uri().path());
    let admitted = SENTRY.admit(&sentry.effects, request, |_, _| Vec::new()).await;
    let mut response = match (admitted, sentry.faults.take_refusal(&call)) {
        (Err(refusal), _) => Error(refusal.status, refusal.message).into_response(),
        (Ok(_), Some(failure)) => {
            let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = Error(status, "Planned failure of the stand-in.".into()).into_response();
            if let Some(seconds) = failure.retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            response
        }
        (Ok((operation, request)), None) => SENTRY.vouch(&sentry.effects, operation, next.run(request).await).await,
    };
    if response.status().is_success() && sentry.faults.take_lost_reply(&call) {
        return cut_connection();
    }
    let limits = [("limit", 40), ("remaining", 39), ("reset", Utc::now().timestamp() + 1), ("concurrentlimit", 25)];
    for (name, value) in limits {
        if let Ok(name) = header::HeaderName::try_from(format!("x-sentry-rate-limit-{name}")) {
            response.headers_mut().insert(name, value.into());
        }
    }
    response
}

/// Holds a scope, or a greater one of its kind.
fn may(state: &Memory, scope: &str) -> Result<(), Error> {
    let (kind, least) = scope.split_once(':').unwrap_or_default();
    let enough: &[&str] = if least == "read" { &["read", "write", "admin"] } else { &["write", "admin"] };
    let has = enough.iter().any(|right| state.scopes.contains(&format!("{kind}:{right}")));
    if has { Ok(()) } else { Err(Error::forbidden()) }
}

async fn unexpected(State(sentry): State<Sentry>, method: Method, uri: Uri, body: Bytes) -> Error {
    refuse_unknown(&sentry, format!("{method} {uri}"), &body)
}

/// A call that is described, of another organisation or event: this stand-in has one of each.
async fn unexpected_call(State(sentry): State<Sentry>, method: Method, uri: Uri, body: Bytes) -> Error {
    refuse_unknown(&sentry, format!("{method} /api/0{uri}"), &body)
}

fn refuse_unknown(sentry: &Sentry, call: String, body: &[u8]) -> Error {
    sentry.effects.record_unexpected(SERVICE, call.clone(), json!(String::from_utf8_lossy(body)));
    Error(StatusCode::NOT_IMPLEMENTED, format!("the world's Sentry does not know {call}"))
}

/// Parameters that this stand-in understands; any other one might change the answer in reality.
fn only(sentry: &Sentry, call: &str, query: &Names, known: &[&str]) -> Result<(), Error> {
    match query.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(refuse_unknown(sentry, format!("{call} with {name}={}", query[name]), b"")),
    }
}

async fn organisation(State(sentry): State<Sentry>) -> Answer {
    let state = sentry.lock();
    may(&state, "org:read")?;
    Ok(ok(json!({
        "id": "1", "slug": ORGANISATION, "name": "Acme", "status": {"id": "active", "name": "active"}, "access": state.scopes,
        "links": {"organizationUrl": state.base_url, "regionUrl": state.base_url}, "features": [],
        "dateCreated": "2018-11-06T21:19:55.101Z", "isEarlyAdopter": false, "require2FA": false, "hasAuthProvider": false,
        "avatar": {"avatarType": "letter_avatar", "avatarUuid": null}, "allowMemberInvite": true,
        "allowMemberProjectCreation": true, "allowSuperuserAccess": false,
    })))
}

async fn issues(State(sentry): State<Sentry>, Query(query): Query<Names>) -> Answer {
    let known = ["query", "statsPeriod", "groupStatsPeriod", "sort", "limit", "cursor"];
    only(&sentry, "GET issues", &query, &known)?;
    let mut state = sentry.lock();
    may(&state, "event:read")?;
    let text = |name: &str, default: &str| query.get(name).map_or(default.to_owned(), Clone::clone);
    let status = match text("query", "is:unresolved").as_str() {
        "" => None,
        "is:unresolved" => Some(Status::Unresolved),
        "is:resolved" => Some(Status::Resolved),
        other => return Err(refuse_unknown(&sentry, format!("GET issues with query={other}"), b"")),
    };
    if text("statsPeriod", "24h") != "24h" || !["24h", "auto"].contains(&text("groupStatsPeriod", "24h").as_str()) {
        return Err(refuse_unknown(&sentry, format!("GET issues with {query:?}"), b""));
    }
    let limit: usize = text("limit", "100").parse().map_err(|_| Error::invalid("Invalid limit"))?;
    if !(1..=100).contains(&limit) {
        return Err(Error::invalid("Invalid limit: it is at most 100"));
    }
    // `0:100:0`: a value, an offset, whether it leads back.
    let cursor = text("cursor", "0:0:0");
    let offset: Option<usize> = cursor.split(':').nth(1).and_then(|offset| offset.parse().ok());
    let offset = offset.ok_or_else(|| Error::invalid("Invalid cursor parameter."))?;
    let now = state.tick();
    let mut found: Vec<&Issue> =
        state.issues.values().filter(|issue| status.is_none_or(|wanted| issue.status == wanted)).collect();
    let frequency = |issue: &Issue| issue.hours(now).iter().map(|(_, count)| *count).sum::<u64>();
    found.retain(|issue| frequency(issue) > 0);
    match text("sort", "date").as_str() {
        "freq" => found.sort_by_key(|issue| std::cmp::Reverse(frequency(issue))),
        _ => found.sort_by_key(|issue| std::cmp::Reverse(issue.last_seen)),
    }
    let page: Vec<Value> = found.iter().skip(offset).take(limit).map(|issue| state.listed_json(issue, now)).collect();
    let has_more = offset + page.len() < found.len();
    let here = format!("{}/api/0/organizations/{ORGANISATION}/issues/", state.base_url);
    let one = |rel: &str, results: bool, cursor: String| {
        format!("<{here}?cursor={cursor}>; rel=\"{rel}\"; results=\"{results}\"; cursor=\"{cursor}\"")
    };
    let link = format!(
        "{}, {}",
        one("previous", offset > 0, format!("0:{}:1", offset.saturating_sub(limit))),
        one("next", has_more, format!("0:{}:0", offset + limit))
    );
    let mut response = ok(json!(page));
    if let Ok(link) = HeaderValue::from_str(&link) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

async fn issue(State(sentry): State<Sentry>, Path(id): Path<String>) -> Answer {
    let mut state = sentry.lock();
    may(&state, "event:read")?;
    let now = state.tick();
    let issue = state.find(&id).ok_or_else(Error::gone)?;
    Ok(ok(state.details_json(issue, now)))
}

async fn hashes(State(sentry): State<Sentry>, Path(id): Path<String>) -> Answer {
    let state = sentry.lock();
    may(&state, "event:read")?;
    let issue = state.find(&id).ok_or_else(Error::gone)?;
    let shown =
        |hash: &String| json!({"id": hash, "latestEvent": {}, "mergedBySeer": false, "seerMatchDistance": null});
    let hashes: Vec<Value> = issue.hashes.iter().rev().map(shown).collect();
    Ok(ok(json!(hashes)))
}

async fn latest_event(State(sentry): State<Sentry>, Path(id): Path<String>) -> Answer {
    let state = sentry.lock();
    may(&state, "event:read")?;
    let issue = state.find(&id).ok_or_else(Error::gone)?;
    let event_id = issue.event_id.as_deref().ok_or_else(Error::gone)?;
    Ok(ok(state.event_json(issue, event_id)))
}

async fn links(State(sentry): State<Sentry>, Path(id): Path<String>) -> Answer {
    let state = sentry.lock();
    may(&state, "event:read")?;
    let issue = state.find(&id).ok_or_else(Error::gone)?;
    Ok(ok(json!(issue.links.iter().map(|link| Memory::link_json(issue, link)).collect::<Vec<_>>())))
}

async fn installations(State(sentry): State<Sentry>) -> Answer {
    let state = sentry.lock();
    may(&state, "org:read")?;
    let one = |uuid: &str, slug: &str, id: u32| {
        json!({
            "uuid": uuid, "status": "installed", "organization": {"slug": ORGANISATION},
            "app": {"uuid": uuid, "slug": slug, "sentryAppId": id},
        })
    };
    // Another app is installed as well, as in most organisations; our token is not for it.
    let mut all = vec![one(OTHER_APP, "other-tracker", 1)];
    all.extend(state.installation.as_deref().map(|uuid| one(uuid, APP, 2)));
    Ok(ok(json!(all)))
}

/// Uuid of the other app's installation.
const OTHER_APP: &str = "00000000-0000-4000-8000-000000000001";

async fn link(State(sentry): State<Sentry>, Path(uuid): Path<String>, headers: HeaderMap, body: Bytes) -> Answer {
    let mut state = sentry.lock();
    may(&state, "event:write")?;
    if state.installation.as_deref() != Some(uuid.as_str()) {
        return Err(Error::forbidden());
    }
    let sent = object(&headers, &body)?;
    let text = |name: &str| match sent[name].as_str() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(Error::invalid(format!("{name} is required"))),
    };
    let (url, project, identifier) = (text("webUrl")?, text("project")?, text("identifier")?);
    // The description wants a number here, unlike everywhere else.
    let id = sent["issueId"].as_u64().ok_or_else(|| Error::invalid("issueId is required"))?.to_string();
    let fresh = state.id();
    let issue = state.issues.get_mut(&id).ok_or_else(Error::gone)?;
    // One link per issue and app: another one replaces it.
    let link = Link { id: issue.links.first().map_or(fresh, |link| link.id), project, identifier, url };
    let is_new = issue.links.is_empty();
    issue.links = vec![link.clone()];
    let shown = Memory::link_json(issue, &link);
    drop(state);
    sentry.effects.record(
        SERVICE,
        "link.set",
        id,
        json!({"url": link.url, "project": link.project, "identifier": link.identifier, "new": is_new}),
    );
    Ok(ok(shown))
}

async fn update(State(sentry): State<Sentry>, Path(id): Path<String>, headers: HeaderMap, body: Bytes) -> Answer {
    may(&sentry.lock(), "event:write")?;
    let sent = object(&headers, &body)?;
    let members = sent.as_object().into_iter().flatten();
    if members.map(|(name, _)| name.as_str()).collect::<Vec<_>>() != ["status"] {
        return Err(refuse_unknown(&sentry, format!("PUT issue {id}"), &body));
    }
    let status = match sent["status"].as_str() {
        Some("resolved") => Status::Resolved,
        Some("unresolved") => Status::Unresolved,
        Some("ignored") => Status::Ignored,
        _ => return Err(Error::invalid("status: is not a valid choice.")),
    };
    let action = if status == Status::Ignored { "archived" } else { status.as_str() };
    if !sentry.lock().issues.contains_key(&id) {
        return Err(Error::gone());
    }
    if sentry.set_status(&id, status, action).is_some() {
        sentry.effects.record(SERVICE, format!("issue.{action}"), id.clone(), json!({"status": status.as_str()}));
    }
    let mut state = sentry.lock();
    let now = state.tick();
    let issue = state.find(&id).ok_or_else(Error::gone)?;
    Ok(ok(state.details_json(issue, now)))
}

fn object(headers: &HeaderMap, body: &[u8]) -> Result<Value, Error> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err(Error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type in request.".into()));
    }
    serde_json::from_slice(body).ok().filter(Value::is_object).ok_or_else(|| Error::invalid("JSON parse error"))
}
