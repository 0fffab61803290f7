//! Jira's REST routes: who may call, planned trouble, and the calls that are not about one issue.

use std::collections::HashMap;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::state::{BOT, ISSUE_TYPES};
use super::{Jira, SERVICE, documents, issues, search};
use crate::faults::cut_connection;
use crate::specs::{JIRA, Route};

/// A reply that is not a success: Jira's `ErrorCollection`.
#[derive(Debug)]
pub(super) struct Error {
    status: StatusCode,
    messages: Vec<String>,
    errors: Map<String, Value>,
}

pub(super) type Answer = Result<Response, Error>;

impl Error {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, messages: vec![message.into()], errors: Map::new() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 400 about certain fields.
    pub(super) fn fields(errors: impl IntoIterator<Item = (String, String)>) -> Self {
        let errors = errors.into_iter().map(|(field, message)| (field, Value::String(message))).collect();
        Self { status: StatusCode::BAD_REQUEST, messages: Vec::new(), errors }
    }

    pub(super) fn no_issue() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Issue does not exist or you do not have permission to see it.")
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = json!({"errorMessages": self.messages, "errors": self.errors});
        (self.status, axum::Json(body)).into_response()
    }
}

pub(super) fn ok(body: Value) -> Response {
    axum::Json(body).into_response()
}

/// The body as a JSON object; Jira reads the type from the header, so it must be right.
pub(super) fn object(headers: &axum::http::HeaderMap, body: &[u8]) -> Result<Map<String, Value>, Error> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json"));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(Error::invalid("Invalid request payload. Refer to the REST API documentation and try again.")),
    }
}

/// A number from the query string, or its default.
pub(super) fn number(query: &HashMap<String, String>, name: &str, default: usize) -> Result<usize, Error> {
    match query.get(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| Error::invalid(format!("'{name}' must be a number."))),
    }
}

/// Every call that this stand-in answers. Tests hold the list against the official description.
pub(super) fn routes() -> Vec<Route<Jira>> {
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    vec![
        Route::new(&get, "/myself", myself),
        Route::new(&get, "/serverInfo", server_info),
        Route::new(&get, "/mypermissions", my_permissions),
        Route::new(&get, "/project/search", projects),
        Route::new(&get, "/project/{key}", project),
        Route::new(&get, "/field", fields),
        Route::new(&get, "/label", labels),
        Route::new(&post, "/search/jql", search::search),
        Route::new(&post, "/issue", issues::create),
        Route::new(&get, "/issue/{key}", issues::read),
        Route::new(&put, "/issue/{key}", issues::edit),
        Route::new(&get, "/issue/{key}/comment", issues::comments),
        Route::new(&post, "/issue/{key}/comment", issues::add_comment),
        Route::new(&get, "/issue/{key}/comment/{id}", issues::comment),
        Route::new(&put, "/issue/{key}/comment/{id}", issues::change_comment),
        Route::new(&delete, "/issue/{key}/comment/{id}", issues::remove_comment),
        Route::new(&get, "/comment/{id}/properties/{property}", issues::comment_property),
        Route::new(&get, "/issue/{key}/properties", issues::property_keys),
        Route::new(&get, "/issue/{key}/properties/{property}", issues::property),
        Route::new(&put, "/issue/{key}/properties/{property}", issues::set_property),
        Route::new(&delete, "/issue/{key}/properties/{property}", issues::remove_property),
        Route::new(&get, "/issue/{key}/transitions", issues::transitions),
        Route::new(&post, "/issue/{key}/transitions", issues::transition),
        Route::new(&get, "/issue/{key}/remotelink", issues::remote_links),
        Route::new(&post, "/issue/{key}/remotelink", issues::set_remote_link),
    ]
}

pub(super) fn router(jira: &Jira) -> Router {
    let api = Route::router(&JIRA, routes())
        .fallback(unexpected)
        .layer(DefaultBodyLimit::max(8 * 1024 * 1024))
        .layer(from_fn_with_state(jira.clone(), guard))
        .with_state(jira.clone());
    Router::new().nest("/rest/api/3", api).fallback(unexpected).with_state(jira.clone())
}

/// Checks the credentials and holds the request against the official description, plays planned refusals, holds the answer against
/// the description, and loses planned replies after the call had its effect.
async fn guard(State(jira): State<Jira>, request: Request, next: Next) -> Response {
    let expected = format!("Basic {}", STANDARD.encode(format!("{}:{}", jira.email, jira.token)));
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if given != Some(expected.as_str()) {
        let message = "Client must be authenticated to access this resource.";
        return Error::new(StatusCode::UNAUTHORIZED, message).into_response();
    }
    let call = format!("{} /rest/api/3{}", request.method(), request.uri().path());
    let (operation, request) = match JIRA.admit(&jira.effects, request, documents::faults).await {
        Ok(admitted) => admitted,
        Err(refusal) => return Error::new(refusal.status, refusal.message).into_response(),
    };
    if let Some(failure) = jira.faults.take_refusal(&call) {
        let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Error::new(status, "Planned failure of the stand-in.").into_response();
        if let Some(seconds) = failure.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            let reason = axum::http::HeaderValue::from_static("jira-burst-based");
            response.headers_mut().insert("ratelimit-reason", reason);
        }
        return response;
    }
    let response = JIRA.vouch(&jira.effects, operation, next.run(request).await).await;
    if response.status().is_success() && jira.faults.take_lost_reply(&call) {
        return cut_connection();
    }
    response
}

/// Calls outside `/rest/api/3`; the guard refuses those inside that are not described.
async fn unexpected(State(jira): State<Jira>, method: Method, uri: Uri, body: Bytes) -> Error {
    let call = format!("{method} {uri}");
    jira.effects.record_unexpected(SERVICE, call.clone(), json!(String::from_utf8_lossy(&body)));
    Error::new(StatusCode::NOT_IMPLEMENTED, format!("the world's Jira does not know {call}"))
}

async fn myself(State(jira): State<Jira>) -> Response {
    ok(jira.lock().user_json(BOT))
}

async fn server_info(State(jira): State<Jira>) -> Response {
    let mut state = jira.lock();
    let now = super::state::time(state.tick());
    ok(json!({
        "baseUrl": state.base_url, "displayUrl": state.base_url, "version": "1001.0.0-SNAPSHOT",
        "versionNumbers": [1001, 0, 0], "deploymentType": "Cloud", "buildNumber": 100_298,
        "buildDate": "2026-11-01T00:00:00.000+0000", "serverTime": now, "serverTitle": "Jira",
        "serverTimeZone": "Etc/UTC", "scmInfo": "0000000000000000000000000000000000000000",
    }))
}

async fn my_permissions(State(jira): State<Jira>, Query(query): Query<HashMap<String, String>>) -> Answer {
    let Some(asked) = query.get("permissions") else {
        return Err(Error::invalid("The 'permissions' query parameter is required."));
    };
    if let Some(key) = query.get("projectKey")
        && !jira.lock().projects.iter().any(|project| project.key == *key)
    {
        return Err(Error::new(StatusCode::NOT_FOUND, format!("No project could be found with key '{key}'.")));
    }
    let permissions: Map<String, Value> = asked
        .split(',')
        .enumerate()
        .map(|(id, key)| {
            let permission = json!({
                "id": id.to_string(), "key": key, "name": key, "type": "PROJECT", "description": "",
                "havePermission": true,
            });
            (key.to_owned(), permission)
        })
        .collect();
    Ok(ok(json!({"permissions": permissions})))
}

async fn projects(State(jira): State<Jira>, Query(query): Query<HashMap<String, String>>) -> Answer {
    let state = jira.lock();
    let start = number(&query, "startAt", 0)?;
    let count = number(&query, "maxResults", 50)?;
    let wanted = query.get("query").map(|text| text.to_lowercase()).unwrap_or_default();
    let matching: Vec<Value> = state
        .projects
        .iter()
        .filter(|project| format!("{} {}", project.key, project.name).to_lowercase().contains(&wanted))
        .map(|project| state.project_json(&project.key))
        .collect();
    let values: Vec<Value> = matching.iter().skip(start).take(count).cloned().collect();
    let is_last = start + values.len() >= matching.len();
    Ok(ok(json!({
        "self": format!("{}/rest/api/3/project/search", state.base_url), "startAt": start, "maxResults": count,
        "total": matching.len(), "isLast": is_last, "values": values,
    })))
}

async fn project(State(jira): State<Jira>, Path(key): Path<String>) -> Answer {
    let state = jira.lock();
    let found =
        state.projects.iter().find(|project| project.key.eq_ignore_ascii_case(&key) || project.id.to_string() == key);
    let Some(project) = found else {
        return Err(Error::new(StatusCode::NOT_FOUND, format!("No project could be found with key '{key}'.")));
    };
    let mut body = state.project_json(&project.key);
    let types: Vec<Value> =
        ISSUE_TYPES.iter().map(|(id, name)| json!({"id": id, "name": name, "subtask": false})).collect();
    body["issueTypes"] = json!(types);
    body["lead"] = state.user_json(&state.users[1].account_id);
    Ok(ok(body))
}

async fn fields() -> Response {
    let named = [
        ("summary", "Summary", "string"),
        ("description", "Description", "string"),
        ("labels", "Labels", "array"),
        ("project", "Project", "project"),
        ("issuetype", "Issue Type", "issuetype"),
        ("priority", "Priority", "priority"),
        ("status", "Status", "status"),
        ("reporter", "Reporter", "user"),
        ("assignee", "Assignee", "user"),
        ("created", "Created", "datetime"),
        ("updated", "Updated", "datetime"),
        ("comment", "Comment", "comments-page"),
        ("issuelinks", "Linked Issues", "array"),
    ];
    let fields: Vec<Value> = named
        .iter()
        .map(|(id, name, kind)| {
            json!({
                "id": id, "key": id, "name": name, "custom": false, "orderable": true, "navigable": true,
                "searchable": true, "clauseNames": [id], "schema": {"type": kind, "system": id},
            })
        })
        .collect();
    ok(json!(fields))
}

async fn labels(State(jira): State<Jira>, Query(query): Query<HashMap<String, String>>) -> Answer {
    let state = jira.lock();
    let all: std::collections::BTreeSet<&String> = state.issues.values().flat_map(|issue| &issue.labels).collect();
    let start = number(&query, "startAt", 0)?;
    let count = number(&query, "maxResults", 1000)?;
    let values: Vec<&&String> = all.iter().skip(start).take(count).collect();
    let is_last = start + values.len() >= all.len();
    Ok(ok(json!({
        "startAt": start, "maxResults": count, "total": all.len(), "isLast": is_last, "values": values,
    })))
}
