//! Calls about one issue: fields, comments, properties, transitions, remote links.

use std::collections::{BTreeMap, HashMap};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::Jira;
use super::adf;
use super::changes::{Draft, Edit};
use super::rest::{Answer, Error, number, object, ok};
use super::state::{BOT, Comment, ISSUE_TYPES, Issue, PRIORITIES, Rich, State as Memory, TRANSITIONS, time};

/// Longest value of an entity property, in characters.
const MAX_PROPERTY: usize = 32_768;
/// Longest comment or description, in characters of text.
const MAX_TEXT: usize = 32_767;

type Names = HashMap<String, String>;

/// The fields a caller asked for: names, `*all`, `*navigable`, `-name`. Comments come with `*all` and by name.
pub(super) fn chosen_fields(state: &Memory, issue: &Issue, wanted: &[String]) -> Map<String, Value> {
    let mut all = state.fields_json(issue, Rich::Documents);
    let comments: Vec<Value> =
        issue.comments.iter().map(|comment| state.comment_json(issue, comment, Rich::Documents)).collect();
    all["comment"] = json!({
        "comments": comments, "total": comments.len(), "maxResults": comments.len(), "startAt": 0,
        "self": format!("{}/rest/api/3/issue/{}/comment", state.base_url, issue.id),
    });
    let Value::Object(all) = all else { return Map::new() };
    let has = |name: &str| wanted.iter().any(|w| w == name);
    all.into_iter()
        .filter(|(name, _)| {
            !has(&format!("-{name}")) && (has(name) || has("*all") || (has("*navigable") && name != "comment"))
        })
        .collect()
}

pub(super) async fn read(State(jira): State<Jira>, Path(key): Path<String>, Query(query): Query<Names>) -> Answer {
    let mut state = jira.lock();
    let issue = state.find(&key).ok_or_else(Error::no_issue)?.clone();
    let wanted = query.get("fields").map_or("*all", String::as_str);
    let wanted: Vec<String> = wanted.split(',').map(|name| name.trim().to_owned()).collect();
    let mut body = json!({
        "expand": "renderedFields,names,schema,transitions,changelog",
        "id": issue.id.to_string(),
        "key": issue.key,
        "self": format!("{}/rest/api/3/issue/{}", state.base_url, issue.id),
        "fields": chosen_fields(&state, &issue, &wanted),
    });
    if let Some(names) = query.get("properties") {
        let names: Vec<&str> = names.split(',').collect();
        let has = |name: &str| names.contains(&"*all") || names.contains(&name);
        let chosen: Map<String, Value> =
            issue.properties.iter().filter(|(n, _)| has(n)).map(|(n, v)| (n.clone(), v.clone())).collect();
        body["properties"] = Value::Object(chosen);
    }
    let expand: Vec<&str> = query.get("expand").map(|e| e.split(',').collect()).unwrap_or_default();
    if expand.contains(&"changelog") {
        let histories: Vec<Value> = issue
            .history
            .iter()
            .rev()
            .map(|change| {
                let author = state.user_json(&change.author);
                json!({"id": change.id.to_string(), "author": author, "created": time(change.at), "items": change.items})
            })
            .collect();
        body["changelog"] =
            json!({"startAt": 0, "maxResults": histories.len(), "total": histories.len(), "histories": histories});
    }
    if expand.contains(&"renderedFields") {
        body["renderedFields"] = json!({"description": adf::to_html(&issue.description)});
    }
    Ok(ok(body))
}

/// One row of a table by `{name}` or `{id}`.
fn lookup(table: &[(&str, &str)], value: &Value) -> Option<String> {
    let by = |member: &str| value[member].as_str();
    let found = table.iter().find(|(id, name)| by("id") == Some(id) || by("name") == Some(name));
    found.map(|(_, name)| (*name).to_owned())
}

fn label_list(value: &Value) -> Result<Vec<String>, String> {
    let labels: Option<Vec<String>> =
        value.as_array().and_then(|list| list.iter().map(|l| l.as_str().map(str::to_owned)).collect());
    let labels = labels.ok_or("data was not an array of strings")?;
    match labels.iter().find(|label| label.contains(char::is_whitespace) || label.is_empty() || label.len() > 255) {
        Some(label) => Err(format!("The label '{label}' contains spaces which is invalid.")),
        None => Ok(labels),
    }
}

/// A document that is not too long; that it is one was checked before (see `documents`).
fn document(value: &Value, field: &str) -> Result<Value, Error> {
    if adf::plain(value).chars().count() > MAX_TEXT {
        return Err(Error::fields([(
            field.to_owned(),
            format!("The entered text is too long. It exceeds the allowed limit of {MAX_TEXT} characters."),
        )]));
    }
    Ok(value.clone())
}

/// `[{key, value}]`, as issues and comments take them.
fn properties(value: Option<&Value>) -> Result<BTreeMap<String, Value>, Error> {
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    let list = value.as_array().ok_or_else(|| Error::invalid("'properties' must be a list."))?;
    list.iter()
        .map(|property| match (property["key"].as_str(), property.get("value")) {
            (Some(key), Some(value)) => {
                check_property(key, &value.to_string())?;
                Ok((key.to_owned(), value.clone()))
            }
            _ => Err(Error::invalid("Each property has 'key' and 'value'.")),
        })
        .collect()
}

fn check_property(key: &str, value: &str) -> Result<(), Error> {
    if key.is_empty() || key.len() > 255 {
        return Err(Error::invalid("The length of the property key must be between 1 and 255 characters."));
    }
    if value.chars().count() > MAX_PROPERTY {
        return Err(Error::invalid(format!("The property value is too long: more than {MAX_PROPERTY} characters.")));
    }
    Ok(())
}

fn check_members(map: &Map<String, Value>, known: &[&str]) -> Result<(), Error> {
    let unknown = map.keys().filter(|name| !known.contains(&name.as_str()));
    let errors: Vec<(String, String)> = unknown
        .map(|name| {
            let message = format!("Field '{name}' cannot be set. It is not on the appropriate screen, or unknown.");
            (name.clone(), message)
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(Error::fields(errors)) }
}

pub(super) async fn create(State(jira): State<Jira>, headers: HeaderMap, body: Bytes) -> Answer {
    let body = object(&headers, &body)?;
    check_members(&body, &["fields", "update", "properties", "historyMetadata"])?;
    let empty = Map::new();
    let fields = body.get("fields").and_then(Value::as_object).unwrap_or(&empty);
    check_members(fields, &["project", "summary", "issuetype", "description", "labels", "priority", "reporter"])?;
    let mut errors = Vec::new();
    let mut wrong = |field: &str, message: &str| errors.push((field.to_owned(), message.to_owned()));
    let project = {
        let state = jira.lock();
        let wanted = fields.get("project").unwrap_or(&Value::Null);
        let by_id = |id: u64| wanted["id"].as_str() == Some(id.to_string().as_str());
        state
            .projects
            .iter()
            .find(|p| wanted["key"].as_str() == Some(p.key.as_str()) || by_id(p.id))
            .map(|p| p.key.clone())
    };
    if project.is_none() {
        wrong("project", "Specify a valid project ID or key");
    }
    let summary = fields.get("summary").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    if summary.is_empty() {
        wrong("summary", "You must specify a summary of the issue.");
    } else if summary.chars().count() > 255 || summary.contains('\n') {
        wrong("summary", "Summary must be one line of at most 255 characters.");
    }
    let issue_type = fields.get("issuetype").and_then(|value| lookup(&ISSUE_TYPES, value));
    if issue_type.is_none() {
        wrong("issuetype", "Specify an issue type");
    }
    let priority = match fields.get("priority") {
        None => Some("Medium".to_owned()),
        Some(value) => lookup(&PRIORITIES, value),
    };
    if priority.is_none() {
        wrong("priority", "Specify the Priority (name or id) in the string format");
    }
    let labels = fields.get("labels").map_or(Ok(Vec::new()), label_list).unwrap_or_else(|message| {
        wrong("labels", &message);
        Vec::new()
    });
    if !errors.is_empty() {
        return Err(Error::fields(errors));
    }
    let description = match fields.get("description") {
        None | Some(Value::Null) => Value::Null,
        Some(value) => document(value, "description")?,
    };
    let issue = jira.create(
        BOT,
        Draft {
            project: project.unwrap_or_default(),
            number: None,
            summary,
            description,
            labels,
            priority: priority.unwrap_or_default(),
            issue_type: issue_type.unwrap_or_default(),
            reporter: BOT.to_owned(),
            properties: properties(body.get("properties"))?,
        },
    );
    let link = format!("{}/rest/api/3/issue/{}", jira.lock().base_url, issue.id);
    let created = json!({"id": issue.id.to_string(), "key": issue.key, "self": link});
    Ok((StatusCode::CREATED, axum::Json(created)).into_response())
}

pub(super) async fn edit(State(jira): State<Jira>, Path(key): Path<String>, headers: HeaderMap, body: Bytes) -> Answer {
    let body = object(&headers, &body)?;
    check_members(&body, &["fields", "update", "properties", "historyMetadata"])?;
    let before = jira.issue(&key).ok_or_else(Error::no_issue)?;
    let empty = Map::new();
    let fields = body.get("fields").and_then(Value::as_object).unwrap_or(&empty);
    let update = body.get("update").and_then(Value::as_object).unwrap_or(&empty);
    check_members(fields, &["summary", "description", "labels", "priority"])?;
    check_members(update, &["labels"])?;
    if fields.contains_key("labels") && update.contains_key("labels") {
        let message = "Field 'labels' cannot appear in both 'fields' and 'update'";
        return Err(Error::fields([("labels".to_owned(), message.to_owned())]));
    }
    let mut edit = Edit { properties: properties(body.get("properties"))?, ..Edit::default() };
    if let Some(summary) = fields.get("summary") {
        let text = summary.as_str().map(str::trim).filter(|text| !text.is_empty() && text.chars().count() <= 255);
        let text =
            text.ok_or_else(|| Error::fields([("summary".into(), "You must specify a summary of the issue.".into())]))?;
        edit.summary = Some(text.to_owned());
    }
    if let Some(value) = fields.get("description") {
        edit.description = Some(if value.is_null() { Value::Null } else { document(value, "description")? });
    }
    if let Some(value) = fields.get("priority") {
        let message = "Specify the Priority (name or id) in the string format";
        let name = lookup(&PRIORITIES, value);
        edit.priority = Some(name.ok_or_else(|| Error::fields([("priority".into(), message.into())]))?);
    }
    let wrong = |message: String| Error::fields([("labels".to_owned(), message)]);
    if let Some(value) = fields.get("labels") {
        edit.labels = Some(label_list(value).map_err(wrong)?);
    }
    if let Some(operations) = update.get("labels") {
        let mut labels = before.labels;
        for operation in operations.as_array().ok_or_else(|| wrong("data was not an array".into()))? {
            let operation = operation.as_object().filter(|map| map.len() == 1);
            match operation.and_then(|map| map.iter().next()).map(|(verb, value)| (verb.as_str(), value)) {
                Some(("set", value)) => labels = label_list(value).map_err(wrong)?,
                Some((verb @ ("add" | "remove"), label @ Value::String(_))) => {
                    let label = label_list(&json!([label])).map_err(wrong)?.swap_remove(0);
                    labels.retain(|l| *l != label);
                    if verb == "add" {
                        labels.push(label);
                    }
                }
                _ => return Err(wrong("Operation must be one of add, remove, set with a value.".into())),
            }
        }
        edit.labels = Some(labels);
    }
    jira.edit(BOT, &key, edit).ok_or_else(Error::no_issue)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn comment_with(state: &Memory, issue: &Issue, comment: &Comment, expand: &str) -> Value {
    let mut shown = state.comment_json(issue, comment, Rich::Documents);
    if expand.split(',').any(|part| part == "properties") {
        let list: Vec<Value> = comment.properties.iter().map(|(k, v)| json!({"key": k, "value": v})).collect();
        shown["properties"] = json!(list);
    }
    if expand.split(',').any(|part| part == "renderedBody") {
        shown["renderedBody"] = json!(adf::to_html(&comment.body));
    }
    shown
}

pub(super) async fn comments(State(jira): State<Jira>, Path(key): Path<String>, Query(query): Query<Names>) -> Answer {
    let mut state = jira.lock();
    let issue = state.find(&key).ok_or_else(Error::no_issue)?.clone();
    let start = number(&query, "startAt", 0)?;
    let count = number(&query, "maxResults", 100)?.min(5000);
    let expand = query.get("expand").map_or("", String::as_str);
    let mut ordered: Vec<&Comment> = issue.comments.iter().collect();
    match query.get("orderBy").map(String::as_str) {
        None | Some("created" | "+created") => {}
        Some("-created") => ordered.reverse(),
        Some(other) => return Err(Error::invalid(format!("The orderBy value '{other}' is not supported."))),
    }
    let shown: Vec<Value> =
        ordered.into_iter().skip(start).take(count).map(|c| comment_with(&state, &issue, c, expand)).collect();
    Ok(ok(json!({
        "comments": shown, "startAt": start, "maxResults": count, "total": issue.comments.len(),
        "self": format!("{}/rest/api/3/issue/{}/comment", state.base_url, issue.id),
    })))
}

pub(super) async fn comment(
    State(jira): State<Jira>,
    Path((key, id)): Path<(String, String)>,
    Query(query): Query<Names>,
) -> Answer {
    let mut state = jira.lock();
    let issue = state.find(&key).ok_or_else(Error::no_issue)?.clone();
    let comment = issue.comments.iter().find(|comment| comment.id == id).ok_or_else(|| no_comment(&id))?;
    Ok(ok(comment_with(&state, &issue, comment, query.get("expand").map_or("", String::as_str))))
}

fn no_comment(id: &str) -> Error {
    Error::new(StatusCode::NOT_FOUND, format!("Can not find a comment for the id: {id}."))
}

/// Body and properties of a comment as sent.
fn comment_parts(headers: &HeaderMap, body: &[u8]) -> Result<(Value, BTreeMap<String, Value>), Error> {
    let sent = object(headers, body)?;
    let known = ["body", "properties", "visibility"];
    if let Some(name) = sent.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(Error::invalid(format!("Unrecognized field \"{name}\".")));
    }
    let body = document(&sent["body"], "comment")?;
    if adf::plain(&body).is_empty() {
        return Err(Error::fields([("comment".to_owned(), "Comment body can not be empty!".to_owned())]));
    }
    Ok((body, properties(sent.get("properties"))?))
}

pub(super) async fn add_comment(
    State(jira): State<Jira>,
    Path(key): Path<String>,
    Query(query): Query<Names>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let (body, properties) = comment_parts(&headers, &body)?;
    let (issue, comment) = jira.add_comment(BOT, &key, body, properties).ok_or_else(Error::no_issue)?;
    let shown = comment_with(&jira.lock(), &issue, &comment, query.get("expand").map_or("", String::as_str));
    Ok((StatusCode::CREATED, axum::Json(shown)).into_response())
}

pub(super) async fn change_comment(
    State(jira): State<Jira>,
    Path((key, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let (body, properties) = comment_parts(&headers, &body)?;
    let author = jira.issue(&key).ok_or_else(Error::no_issue)?.comments.into_iter().find(|c| c.id == id);
    if author.ok_or_else(|| no_comment(&id))?.author != BOT {
        return Err(Error::invalid("You do not have the permission to edit this comment."));
    }
    let (issue, comment) = jira.change_comment(BOT, &key, &id, body, properties).ok_or_else(|| no_comment(&id))?;
    Ok(ok(comment_with(&jira.lock(), &issue, &comment, "")))
}

/// Only one's own comments, as with the permission to delete own comments.
pub(super) async fn remove_comment(State(jira): State<Jira>, Path((key, id)): Path<(String, String)>) -> Answer {
    let comments = jira.issue(&key).ok_or_else(Error::no_issue)?.comments;
    let comment = comments.into_iter().find(|comment| comment.id == id).ok_or_else(|| no_comment(&id))?;
    if comment.author != BOT {
        return Err(Error::invalid("You do not have the permission to delete this comment."));
    }
    jira.remove_comment(&key, &id).ok_or_else(|| no_comment(&id))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn comment_property(State(jira): State<Jira>, Path((id, name)): Path<(String, String)>) -> Answer {
    let state = jira.lock();
    let mut comments = state.issues.values().flat_map(|issue| &issue.comments);
    let comment = comments.find(|comment| comment.id == id).ok_or_else(|| no_comment(&id))?;
    let value = comment.properties.get(&name).ok_or_else(|| no_property(&name))?;
    Ok(ok(json!({"key": name, "value": value})))
}

pub(super) async fn property_keys(State(jira): State<Jira>, Path(key): Path<String>) -> Answer {
    let issue = jira.issue(&key).ok_or_else(Error::no_issue)?;
    let base = jira.lock().base_url.clone();
    let link = |name: &str| format!("{base}/rest/api/3/issue/{}/properties/{name}", issue.id);
    let keys: Vec<Value> = issue.properties.keys().map(|name| json!({"key": name, "self": link(name)})).collect();
    Ok(ok(json!({"keys": keys})))
}

fn no_property(name: &str) -> Error {
    Error::new(StatusCode::NOT_FOUND, format!("The property {name} does not exist."))
}

pub(super) async fn property(State(jira): State<Jira>, Path((key, name)): Path<(String, String)>) -> Answer {
    let issue = jira.issue(&key).ok_or_else(Error::no_issue)?;
    let value = issue.properties.get(&name).ok_or_else(|| no_property(&name))?;
    Ok(ok(json!({"key": name, "value": value})))
}

pub(super) async fn set_property(
    State(jira): State<Jira>,
    Path((key, name)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let text = String::from_utf8_lossy(&body);
    check_property(&name, &text)?;
    let value: Value =
        serde_json::from_str(&text).map_err(|_| Error::invalid("The property value must be valid, non-empty JSON."))?;
    let existed = jira.set_property(&key, &name, Some(value)).ok_or_else(Error::no_issue)?;
    let status = if existed { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, axum::Json(json!({}))).into_response())
}

pub(super) async fn remove_property(State(jira): State<Jira>, Path((key, name)): Path<(String, String)>) -> Answer {
    match jira.set_property(&key, &name, None).ok_or_else(Error::no_issue)? {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(no_property(&name)),
    }
}

pub(super) async fn transitions(State(jira): State<Jira>, Path(key): Path<String>) -> Answer {
    jira.issue(&key).ok_or_else(Error::no_issue)?;
    let state = jira.lock();
    let list: Vec<Value> = TRANSITIONS
        .iter()
        .map(|(id, name)| {
            json!({
                "id": id, "name": name, "to": state.status_json(name), "hasScreen": false, "isGlobal": true,
                "isInitial": false, "isAvailable": true, "isConditional": false, "looped": false,
            })
        })
        .collect();
    Ok(ok(json!({"expand": "transitions", "transitions": list})))
}

pub(super) async fn transition(
    State(jira): State<Jira>,
    Path(key): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let body = object(&headers, &body)?;
    jira.issue(&key).ok_or_else(Error::no_issue)?;
    let id = body.get("transition").and_then(|transition| transition["id"].as_str());
    let Some(id) = id.filter(|_| body.len() == 1) else {
        return Err(Error::invalid("Can not deserialize the request: expected {\"transition\": {\"id\": \"…\"}}."));
    };
    let Some((_, status)) = TRANSITIONS.iter().find(|(known, _)| *known == id) else {
        let message =
            format!("It seems that you have tried to perform an illegal workflow operation: transition {id}.");
        return Err(Error::invalid(message));
    };
    jira.edit(BOT, &key, Edit { status: Some(status), ..Edit::default() }).ok_or_else(Error::no_issue)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn remote_links(
    State(jira): State<Jira>,
    Path(key): Path<String>,
    Query(query): Query<Names>,
) -> Answer {
    let issue = jira.issue(&key).ok_or_else(Error::no_issue)?;
    let base = jira.lock().base_url.clone();
    let shown = |link: &super::RemoteLink| {
        let mut shown = link.sent.clone();
        shown["id"] = json!(link.id);
        shown["self"] = json!(format!("{base}/rest/api/3/issue/{}/remotelink/{}", issue.key, link.id));
        shown
    };
    match query.get("globalId") {
        None => Ok(ok(issue.remote_links.iter().map(shown).collect())),
        Some(wanted) => {
            let link = issue.remote_links.iter().find(|link| link.global_id.as_ref() == Some(wanted));
            let missing = || Error::new(StatusCode::NOT_FOUND, format!("No remote link with global id '{wanted}'."));
            Ok(ok(shown(link.ok_or_else(missing)?)))
        }
    }
}

pub(super) async fn set_remote_link(
    State(jira): State<Jira>,
    Path(key): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let sent = object(&headers, &body)?;
    let text = |name: &str| sent.get("object").and_then(|object| object[name].as_str()).unwrap_or_default().to_owned();
    let missing: Vec<(String, String)> = ["title", "url"]
        .into_iter()
        .filter(|name| text(name).is_empty())
        .map(|name| (name.to_owned(), format!("'{name}' is required.")))
        .collect();
    if !missing.is_empty() {
        return Err(Error::fields(missing));
    }
    let (id, is_new) = jira.set_remote_link(&key, Value::Object(sent)).ok_or_else(Error::no_issue)?;
    let link = format!("{}/rest/api/3/issue/{key}/remotelink/{id}", jira.lock().base_url);
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(json!({"id": id, "self": link}))).into_response())
}
