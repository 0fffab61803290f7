//! From Sentry's JSON to the issues and events of the contract: redacted and capped.
//!
//! Shapes: the published description of the API, operations "List an Organization's Issues", "Retrieve an Issue" and
//! "Retrieve an Issue Event". Every field is treated as optional: which ones come depends on the SDK that sent the event.

use chrono::DateTime;
use serde_json::Value;
use workflows::contract::ids::SentryIssueId;
use workflows::contract::sentry::{ErrorEvent, ErrorIssue, Frame, Level};

use super::redact::Redactor;

/// Most frames of an event; the innermost stay.
const FRAMES: usize = 50;
/// Most tags of an event.
const TAGS: usize = 20;
/// Longest one-line text, in characters.
const LINE: usize = 300;
/// Longest message, in characters.
const MESSAGE: usize = 2000;

/// An issue as lists and details have it. `None` when it has no id that can be one.
pub(super) fn issue(json: &Value, fingerprint: Option<String>, redactor: &Redactor) -> Option<ErrorIssue> {
    let id: SentryIssueId = json["id"].as_str()?.parse().ok()?;
    // With a period asked for, the counts beside `lifetime` are those of the period.
    let lifetime = |field: &str| match &json["lifetime"][field] {
        Value::Null => &json[field],
        whole => whole,
    };
    let line = |field: &Value| redactor.text(text(field), LINE);
    Some(ErrorIssue {
        short_id: text(&json["shortId"]).to_owned(),
        title: line(&json["title"]),
        culprit: line(&json["culprit"]),
        level: level(&json["level"]),
        unresolved: json["status"] == "unresolved",
        project: text(&json["project"]["slug"]).to_owned(),
        platform: text(&json["platform"]).to_owned(),
        events_24h: hours(json).iter().map(|(_, count)| count).sum(),
        events: count(lifetime("count")),
        users: count(lifetime("userCount")),
        first_seen: seconds(lifetime("firstSeen")),
        last_seen: seconds(lifetime("lastSeen")),
        url: text(&json["permalink"]).to_owned(),
        fingerprint: fingerprint.unwrap_or_else(|| id.to_string()),
        id,
    })
}

/// `unknown` is what Sentry's description has for an issue without a level that it knows.
fn level(json: &Value) -> Level {
    match text(json) {
        "unknown" => Level::Error,
        name => Level::from_name(name),
    }
}

/// Events per hour of the last 24 hours: seconds since 1970 at which the hour begins, and how many.
pub(super) fn hours(json: &Value) -> Vec<(i64, u64)> {
    let points = json["stats"]["24h"].as_array().into_iter().flatten();
    points.filter_map(|point| Some((point[0].as_i64()?, point[1].as_u64()?))).collect()
}

/// An event.
pub(super) fn event(json: &Value, redactor: &Redactor) -> ErrorEvent {
    let line = |field: &Value| redactor.text(text(field), LINE);
    let tag = |name: &str| {
        let found = tags(json).find(|(key, _)| *key == name).map(|(_, value)| value);
        redactor.text(found.unwrap_or_default(), LINE)
    };
    let release = match &json["release"]["version"] {
        Value::String(version) => redactor.text(version, LINE),
        _ => tag("release"),
    };
    // Who it happened to is nobody's business here.
    let shown = tags(json).filter(|(key, _)| *key != "user" && !key.starts_with("user."));
    ErrorEvent {
        id: text(&json["eventID"]).to_owned(),
        at: seconds(&json["dateCreated"]),
        message: message(json, redactor),
        frames: frames(json).into_iter().map(|json| frame(json, redactor)).collect(),
        environment: tag("environment"),
        released_at: Some(seconds(&json["release"]["dateCreated"])).filter(|at| *at > 0),
        release,
        tags: shown.take(TAGS).map(|(key, value)| redactor.text(&format!("{key}: {value}"), LINE)).collect(),
        request: entry(json, "request").map_or_else(String::new, |request| {
            let asked = format!("{} {}", text(&request["method"]), text(&request["url"]));
            line(&Value::from(asked.trim()))
        }),
    }
}

fn message(json: &Value, redactor: &Redactor) -> String {
    let raised = exceptions(json).last();
    let message = match raised.map(|raised| (text(&raised["type"]), text(&raised["value"]))) {
        Some((kind, value)) if !kind.is_empty() && !value.is_empty() => format!("{kind}: {value}"),
        Some((kind, value)) if !kind.is_empty() || !value.is_empty() => format!("{kind}{value}"),
        _ if text(&json["message"]).is_empty() => text(&json["title"]).to_owned(),
        _ => text(&json["message"]).to_owned(),
    };
    redactor.text(&message, MESSAGE)
}

/// The innermost frames, innermost last: of the exception that was raised last, else of the thread that crashed, else of the
/// bare stack trace.
fn frames(json: &Value) -> Vec<&Value> {
    let of = |holder: &'_ Value| holder["stacktrace"]["frames"].as_array().is_some_and(|frames| !frames.is_empty());
    let threads = || entry(json, "threads").and_then(|data| data["values"].as_array()).into_iter().flatten();
    let crashed =
        || threads().find(|thread| thread["crashed"] == true && of(thread)).or_else(|| threads().find(|t| of(t)));
    let holder = exceptions(json).rev().find(|raised| of(raised)).or_else(crashed);
    let all = match holder {
        Some(holder) => holder["stacktrace"]["frames"].as_array(),
        None => entry(json, "stacktrace").and_then(|data| data["frames"].as_array()),
    };
    let all = all.map(Vec::as_slice).unwrap_or_default();
    all[all.len().saturating_sub(FRAMES)..].iter().collect()
}

fn frame(json: &Value, redactor: &Redactor) -> Frame {
    let line = json["lineNo"].as_u64().and_then(|line| u32::try_from(line).ok()).unwrap_or_default();
    let named = ["filename", "module", "absPath"].into_iter().map(|field| text(&json[field]));
    let context = json["context"].as_array().into_iter().flatten();
    let here =
        context.filter(|pair| line > 0 && pair[0].as_u64() == Some(line.into())).map(|pair| text(&pair[1])).next();
    Frame {
        path: redactor.text(named.into_iter().find(|name| !name.is_empty()).unwrap_or_default(), LINE),
        function: redactor.text(text(&json["function"]), LINE),
        line,
        in_app: json["inApp"] == true,
        text: redactor.text(here.unwrap_or_default().trim(), LINE),
    }
}

/// Exceptions of the event, the one that was raised last at the end.
fn exceptions(json: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    entry(json, "exception").and_then(|data| data["values"].as_array()).into_iter().flatten()
}

fn entry<'a>(json: &'a Value, kind: &str) -> Option<&'a Value> {
    let entries = json["entries"].as_array()?;
    entries.iter().find(|entry| entry["type"] == kind).map(|entry| &entry["data"])
}

fn tags(json: &Value) -> impl Iterator<Item = (&str, &str)> {
    let all = json["tags"].as_array().into_iter().flatten();
    all.map(|tag| (text(&tag["key"]), text(&tag["value"]))).filter(|(key, _)| !key.is_empty())
}

fn text(json: &Value) -> &str {
    json.as_str().unwrap_or_default()
}

/// Sentry writes big counts as text.
fn count(json: &Value) -> u64 {
    json.as_u64().or_else(|| json.as_str()?.parse().ok()).unwrap_or_default()
}

/// Seconds since 1970 of an ISO 8601 time; 0 when there is none.
fn seconds(json: &Value) -> i64 {
    json.as_str().and_then(|time| DateTime::parse_from_rfc3339(time).ok()).map_or(0, |time| time.timestamp())
}
