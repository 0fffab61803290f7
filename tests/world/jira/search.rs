//! `POST /search/jql`: enhanced search, with its strict body.

use axum::extract::State;
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use chrono::Utc;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::issues::chosen_fields;
use super::jql::{Name, Query};
use super::rest::{Answer, Error, object, ok};
use super::{Jira, SERVICE};

/// `SearchAndReconcileRequestBean` of the API description; it allows nothing else.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Body {
    #[serde(default)]
    jql: String,
    #[serde(default)]
    fields: Vec<String>,
    #[serde(default = "fifty")]
    max_results: usize,
    next_page_token: Option<String>,
    #[serde(default, rename = "expand")]
    _expand: Option<String>,
    #[serde(default)]
    reconcile_issues: Vec<u64>,
    #[serde(default)]
    properties: Vec<String>,
    #[serde(default, rename = "fieldsByKeys")]
    _fields_by_keys: Option<bool>,
    #[serde(default, rename = "failFast")]
    _fail_fast: Option<bool>,
}

fn fifty() -> usize {
    50
}

/// Most issues in one page.
const MAX_PAGE: usize = 5000;

pub(super) async fn search(State(jira): State<Jira>, headers: HeaderMap, body: Bytes) -> Answer {
    let sent = object(&headers, &body)?;
    let refused = |message: String| {
        // A query the stand-in cannot answer may be valid in reality: never let it pass unseen.
        let detail = json!({"error": message, "body": sent});
        jira.effects.record_unexpected(SERVICE, "POST /rest/api/3/search/jql", detail);
        Error::invalid(message)
    };
    let body: Body = serde_json::from_value(Value::Object(sent.clone())).map_err(|error| {
        refused(format!("Invalid request payload. Refer to the REST API documentation and try again. ({error})"))
    })?;
    if body.reconcile_issues.len() > 50 {
        return Err(refused("reconcileIssues takes at most 50 ids.".into()));
    }
    let query = Query::parse(&body.jql).map_err(&refused)?;
    let start = match &body.next_page_token {
        None => 0,
        Some(token) => offset(token).ok_or_else(|| Error::invalid("The nextPageToken is invalid or expired."))?,
    };
    let state = jira.lock();
    for (kind, name) in query.names() {
        match kind {
            Name::Project if !state.projects.iter().any(|p| p.key.eq_ignore_ascii_case(name)) => {
                return Err(Error::invalid(format!("The value '{name}' does not exist for the field 'project'.")));
            }
            Name::Key
                if !state.issues.values().any(|i| i.key.eq_ignore_ascii_case(name) || i.id.to_string() == name) =>
            {
                return Err(Error::invalid(format!("An issue with key '{name}' does not exist for field 'key'.")));
            }
            Name::Project | Name::Key => {}
        }
    }
    let now = Utc::now();
    let indexed = state.issues.values().filter(|issue| {
        body.reconcile_issues.contains(&issue.id) || issue.created <= now - state.index_lag || state.index_lag.is_zero()
    });
    let found = query.select(indexed, now);
    let count = body.max_results.clamp(1, MAX_PAGE);
    let fields = if body.fields.is_empty() { vec!["id".to_owned()] } else { body.fields };
    let issues: Vec<Value> = found
        .iter()
        .skip(start)
        .take(count)
        .map(|issue| {
            let mut shown = json!({"id": issue.id.to_string()});
            // The default is the id alone, without even the key.
            if fields != ["id"] {
                shown["key"] = json!(issue.key);
                shown["self"] = json!(format!("{}/rest/api/3/issue/{}", state.base_url, issue.id));
                shown["fields"] = Value::Object(chosen_fields(&state, issue, &fields));
            }
            if !body.properties.is_empty() {
                let properties: Map<String, Value> = issue
                    .properties
                    .iter()
                    .filter(|(name, _)| body.properties.iter().any(|wanted| wanted == *name || wanted == "*all"))
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect();
                shown["properties"] = Value::Object(properties);
            }
            shown
        })
        .collect();
    let end = start + issues.len();
    let mut answer = json!({"issues": issues, "isLast": end >= found.len()});
    if end < found.len() {
        answer["nextPageToken"] = json!(URL_SAFE_NO_PAD.encode(format!("offset={end}")));
    }
    Ok(ok(answer))
}

fn offset(token: &str) -> Option<usize> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    text.strip_prefix("offset=")?.parse().ok()
}
