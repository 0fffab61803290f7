//! Jira's admin webhooks (<https://developer.atlassian.com/cloud/jira/platform/webhooks/>): a ticket gets the label.

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use workflows::contract::access::{Person, Via};
use workflows::contract::ids::TicketKey;
use workflows::contract::trigger::{EventId, TicketLabelled, Trigger};

use super::{Meaning, Unreadable};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    #[serde(default)]
    timestamp: i64,
    webhook_event: String,
    issue: Option<Issue>,
    user: Option<User>,
    changelog: Option<Changelog>,
}

#[derive(Debug, Deserialize)]
struct Issue {
    key: String,
    #[serde(default)]
    fields: Fields,
}

#[derive(Debug, Default, Deserialize)]
struct Fields {
    #[serde(default)]
    summary: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    #[serde(default)]
    account_id: String,
    #[serde(default)]
    display_name: String,
}

#[derive(Debug, Deserialize)]
struct Changelog {
    #[serde(default)]
    items: Vec<Value>,
}

/// Reads a webhook whose signature was verified. `label` hands a ticket over; what `bot` (our account id) does is an echo.
pub fn read(body: &[u8], label: &str, bot: Option<&str>) -> Result<Meaning, Unreadable> {
    let payload: Payload = serde_json::from_slice(body)?;
    let Some(issue) = payload.issue else {
        return Ok(Meaning::ignore(format!("{} is not about a ticket", payload.webhook_event)));
    };
    let by = payload.user.filter(|user| !user.account_id.is_empty());
    if by.as_ref().is_some_and(|user| Some(user.account_id.as_str()) == bot) {
        return Ok(Meaning::ignore("an echo of our own change"));
    }
    let labelled = match payload.webhook_event.as_str() {
        "jira:issue_created" => issue.fields.labels.iter().any(|had| had == label),
        "jira:issue_updated" => {
            payload.changelog.is_some_and(|log| log.items.iter().any(|item| adds_label(item, label)))
        }
        other => return Ok(Meaning::ignore(format!("{other} does not hand over a ticket"))),
    };
    if !labelled {
        return Ok(Meaning::ignore(format!("{} did not get the label {label}", issue.key)));
    }
    let ticket: TicketKey = match issue.key.parse() {
        Ok(ticket) => ticket,
        Err(fault) => return Err(Unreadable(format!("{fault}"))),
    };
    Ok(Meaning::act(Trigger::TicketLabelled(TicketLabelled {
        ticket,
        event: event_of(body, payload.timestamp),
        by: by.map(|user| Person { via: Via::Jira, id: user.account_id, name: user.display_name }),
        summary: issue.fields.summary.unwrap_or_default(),
    })))
}

/// The event's id comes from the signed body, not from an unsigned header: a redelivery has the same bytes.
fn event_of(body: &[u8], at: i64) -> EventId {
    let digest = hex::encode(Sha256::digest(body));
    EventId { id: format!("jira-{}", &digest[..32]), at }
}

/// Label changes carry all labels before and after, separated by spaces.
fn adds_label(item: &Value, label: &str) -> bool {
    let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
    let has = |name: &str| text(name).split_whitespace().any(|one| one == label);
    text("field") == "labels" && has("toString") && !has("fromString")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_json(value: &Value) -> Result<Meaning, Unreadable> {
        read(value.to_string().as_bytes(), "AI", Some("bot-1"))
    }

    fn updated(from: &str, to: &str) -> Value {
        json!({
            "timestamp": 1_790_000_000_123_i64, "webhookEvent": "jira:issue_updated",
            "user": {"accountId": "ana-1", "displayName": "Ana", "active": "true"},
            "issue": {"id": "10001", "key": "SHOP-1", "fields": {"summary": "Cart", "labels": [to]}},
            "changelog": {"id": 7, "items": [
                {"field": "labels", "fieldtype": "jira", "from": null, "fromString": from, "to": null, "toString": to},
            ]},
        })
    }

    #[test]
    fn a_label_that_is_added_hands_the_ticket_over() {
        let Ok(Meaning::Act(trigger)) = read_json(&updated("backend", "backend AI")) else { panic!() };
        let Trigger::TicketLabelled(labelled) = *trigger else { panic!() };
        assert_eq!(labelled.ticket.as_str(), "SHOP-1");
        assert_eq!(labelled.event.at, 1_790_000_000_123);
        assert_eq!(labelled.by.unwrap().name, "Ana");
    }

    #[test]
    fn the_same_bytes_are_the_same_event() {
        let event = |value: &Value| match read_json(value) {
            Ok(Meaning::Act(trigger)) => match *trigger {
                Trigger::TicketLabelled(labelled) => labelled.event,
                _ => panic!(),
            },
            _ => panic!(),
        };
        assert_eq!(event(&updated("", "AI")), event(&updated("", "AI")));
        assert_ne!(event(&updated("", "AI")), event(&updated("x", "x AI")));
    }

    #[test]
    fn everything_else_is_ignored_with_a_reason() {
        let created = |labels: &[&str]| {
            json!({"webhookEvent": "jira:issue_created", "issue": {"key": "SHOP-2", "fields": {"labels": labels}}})
        };
        assert!(matches!(read_json(&created(&["AI"])), Ok(Meaning::Act(_))));
        let ignored = [
            created(&["AIM", "ai"]),
            updated("AI", "AI backend"),
            updated("AI", ""),
            json!({"webhookEvent": "comment_created", "issue": {"key": "SHOP-2"}}),
            json!({"webhookEvent": "project_created"}),
            json!({"webhookEvent": "jira:issue_created", "user": {"accountId": "bot-1"},
                   "issue": {"key": "SHOP-2", "fields": {"labels": ["AI"]}}}),
        ];
        for value in ignored {
            assert!(matches!(read_json(&value), Ok(Meaning::Ignore(why)) if !why.is_empty()), "{value}");
        }
    }

    #[test]
    fn unreadable_bodies_say_where() {
        assert!(read(b"{", "AI", None).is_err());
        assert!(read(b"[]", "AI", None).is_err());
        let odd = json!({"webhookEvent": "jira:issue_created", "issue": {"key": "../x", "fields": {"labels": ["AI"]}}});
        assert!(read_json(&odd).unwrap_err().to_string().contains("PROJ-123"));
    }
}
