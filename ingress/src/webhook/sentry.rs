//! Sentry's webhooks of an internal integration: an alert rule that fired, and an issue that is new or open again.
//!
//! Shapes: <https://docs.sentry.io/organization/integrations/integration-platform/webhooks/>. What the resource is stands in a
//! header that no signature covers; a body under a wrong resource lacks what that resource needs and is refused. Numbers of
//! events do not come along: the run reads them itself.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use workflows::contract::ids::SentryIssueId;
use workflows::contract::trigger::{ErrorReported, EventId, Trigger};

use super::{Meaning, Unreadable, delivery_id, json, untimely};
use crate::config::Service;

/// Longest part of a summary, in characters.
const PART: usize = 60;

#[derive(Debug, Deserialize)]
struct Delivery {
    #[serde(default)]
    action: String,
    #[serde(default)]
    data: Data,
}

#[derive(Debug, Default, Deserialize)]
struct Data {
    event: Option<Event>,
    issue: Option<Issue>,
}

#[derive(Debug, Deserialize)]
struct Event {
    issue_id: Option<Id>,
    /// Seconds since 1970, with a fraction.
    timestamp: Option<f64>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Issue {
    id: Option<Id>,
    #[serde(default)]
    short_id: Option<String>,
    first_seen: Option<String>,
    last_seen: Option<String>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// Sentry writes ids as text, and now and then as a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

/// Reads a delivery about `resource` (the header `Sentry-Hook-Resource`) that came at `now`.
///
/// # Errors
/// When the body is not JSON of that shape, or a report lacks its issue or time.
pub fn read(resource: &str, body: &[u8], now: DateTime<Utc>) -> Result<Meaning, Unreadable> {
    let (id, at, summary) = match resource {
        "event_alert" => {
            let event = json::<Delivery>(body)?.data.event.ok_or_else(|| lacks(resource, "an event"))?;
            let at = event.timestamp.and_then(milliseconds).ok_or_else(|| lacks(resource, "a time"))?;
            (event.issue_id, at, summary(None, event.metadata))
        }
        "issue" => {
            let delivery: Delivery = json(body)?;
            if !matches!(delivery.action.as_str(), "created" | "unresolved") {
                return Meaning::ignored(format!("an issue that is {:?} starts nothing", delivery.action));
            }
            let issue = delivery.data.issue.ok_or_else(|| lacks(resource, "an issue"))?;
            // The newest event's time, since that decides whether this is newer than what a run knows. The body has no time of
            // its own, and the one in the header is not signed.
            let seen = [issue.last_seen, issue.first_seen].into_iter().flatten();
            let at = seen
                .filter_map(|time| DateTime::parse_from_rfc3339(&time).ok())
                .map(|time| time.timestamp_millis())
                .next();
            (issue.id, at.ok_or_else(|| lacks(resource, "a time"))?, summary(issue.short_id, issue.metadata))
        }
        other => return Meaning::ignored(format!("the resource {other:?} starts nothing")),
    };
    let issue: SentryIssueId = match id.ok_or_else(|| lacks(resource, "an issue's id"))? {
        Id::Text(id) => id.parse()?,
        Id::Number(id) => id.to_string().parse()?,
    };
    if let Some(why) = untimely(at, now, "the sweep finds it if it goes on") {
        return Meaning::ignored(why);
    }
    let event = EventId { id: delivery_id(Service::Sentry, body), at };
    Ok(Meaning::Trigger(Trigger::ErrorReported(ErrorReported { issue, event, summary })))
}

fn lacks(resource: &str, what: &str) -> Unreadable {
    Unreadable(format!("the {resource} lacks {what}"))
}

fn milliseconds(seconds: f64) -> Option<i64> {
    // Far inside the numbers that both types hold exactly.
    let sound = seconds.is_finite() && (0.0..1e12).contains(&seconds);
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    sound.then_some((seconds * 1000.0).round() as i64)
}

/// Never the title: it quotes what the program was given, which may be an address or a password, and this line is kept in
/// Temporal as it is.
fn summary(short_id: Option<String>, metadata: Metadata) -> String {
    let parts = [short_id, metadata.kind].into_iter().flatten();
    let word = |part: String| part.split_whitespace().next().map(|word| word.chars().take(PART).collect::<String>());
    parts.filter_map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALERT: &str = include_str!("../testdata/sentry_event_alert.json");
    const ISSUE: &str = include_str!("../testdata/sentry_issue.json");
    /// Time of the event in both.
    const AT: i64 = 1_763_700_000_123;

    fn read_at(now: i64, resource: &str, body: &str) -> Result<Meaning, Unreadable> {
        read(resource, body.as_bytes(), DateTime::from_timestamp_millis(now).unwrap())
    }

    fn reported(resource: &str, body: &str) -> ErrorReported {
        match read_at(AT + 500, resource, body).unwrap() {
            Meaning::Trigger(Trigger::ErrorReported(reported)) => reported,
            other => panic!("{other:?}"),
        }
    }

    fn ignored(resource: &str, body: &str) -> String {
        match read_at(AT + 500, resource, body).unwrap() {
            Meaning::Ignored(why) => why,
            other @ Meaning::Trigger(_) => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_alert_and_an_issue_report_the_same_error_each_as_its_own_event() {
        let (alert, issue) = (reported("event_alert", ALERT), reported("issue", ISSUE));
        for reported in [&alert, &issue] {
            assert_eq!((reported.issue.as_str(), reported.event.at), ("1170820242", AT));
            assert!(reported.event.id.starts_with("sentry-") && reported.event.id.len() == 7 + 32);
        }
        assert_ne!(alert.event.id, issue.event.id);
        assert_eq!(reported("issue", ISSUE), issue, "a redelivery is the same event");
        let numbered = ALERT.replace("\"issue_id\": \"1170820242\"", "\"issue_id\": 1170820242");
        assert_eq!(reported("event_alert", &numbered).issue, alert.issue);
        let again = ISSUE.replace("\"created\"", "\"unresolved\"");
        assert_eq!(reported("issue", &again).issue, issue.issue);
    }

    #[test]
    fn the_summary_names_the_error_and_quotes_nothing_of_it() {
        assert_eq!(reported("issue", ISSUE).summary, "SHOP-API-4K ValueError");
        assert_eq!(reported("event_alert", ALERT).summary, "ValueError");
        let bare = ISSUE.replace("\"type\": \"ValueError\", ", "").replace("\"SHOP-API-4K\"", "null");
        assert_eq!(reported("issue", &bare).summary, "");
    }

    #[test]
    fn other_resources_and_actions_are_ignored_with_the_reason() {
        for resource in ["installation", "error", "comment", "metric_alert", "seer"] {
            assert!(ignored(resource, "not even JSON").contains(resource));
        }
        for action in ["resolved", "assigned", "archived", "ignored", ""] {
            let body = ISSUE.replace("\"created\"", &format!("{action:?}"));
            assert!(ignored("issue", &body).contains(&format!("{action:?}")));
        }
    }

    #[test]
    fn an_event_of_another_day_or_of_the_future_starts_nothing() {
        const HOUR: i64 = 3_600_000;
        for (now, starts) in
            [(AT + 24 * HOUR, true), (AT + 24 * HOUR + 1, false), (AT - HOUR, true), (AT - HOUR - 1, false)]
        {
            for (resource, body) in [("issue", ISSUE), ("event_alert", ALERT)] {
                let meaning = read_at(now, resource, body).unwrap();
                assert_eq!(matches!(meaning, Meaning::Trigger(_)), starts, "{meaning:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (resource, body, reason) in [
            ("issue", "{", "JSON we expect"),
            ("event_alert", "[1]", "JSON we expect"),
            ("event_alert", ISSUE, "the event_alert lacks an event"),
            ("issue", r#"{"action":"created","data":{}}"#, "the issue lacks an issue"),
            ("issue", r#"{"action":"created","data":{"issue":{"id":"1"}}}"#, "lacks a time"),
            ("event_alert", r#"{"data":{"event":{"timestamp":1763700000}}}"#, "lacks an issue's id"),
            ("event_alert", r#"{"data":{"event":{"issue_id":"1","timestamp":-5}}}"#, "lacks a time"),
            ("event_alert", r#"{"data":{"event":{"issue_id":"../1","timestamp":1763700000}}}"#, "digits"),
        ] {
            let error = read_at(AT, resource, body).unwrap_err().to_string();
            assert!(error.contains(reason), "{body}: {error}");
        }
    }
}
