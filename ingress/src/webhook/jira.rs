//! Jira's admin webhooks. Only two events matter: an issue created with the label, and a label added to an issue.
//!
//! The body has the shape of REST v2 whatever the site uses otherwise:
//! <https://developer.atlassian.com/cloud/jira/platform/webhooks/#issue-webhooks>. Labels in a change log are one
//! space-separated text; labels themselves have no spaces.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use workflows::contract::access::{Person, Via};
use workflows::contract::ids::TicketKey;
use workflows::contract::trigger::{EventId, TicketLabelled, Trigger};
use workflows::messages::shorten;

use super::{Meaning, Unreadable, delivery_id, json, untimely};
use crate::config::Service;

/// Longest summary that is handed on, in characters.
const SUMMARY: usize = 200;

/// What decides which events count.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Label that hands a ticket over.
    pub label: &'a str,
    /// The bot's own account, whose changes echo back.
    pub bot_account_id: Option<&'a str>,
    /// When the delivery came.
    pub now: DateTime<Utc>,
}

#[derive(Debug, Deserialize)]
struct Delivery {
    /// Milliseconds since 1970.
    timestamp: Option<i64>,
    #[serde(rename = "webhookEvent", default)]
    event: String,
    user: Option<User>,
    issue: Option<Issue>,
    changelog: Option<ChangeLog>,
}

#[derive(Debug, Deserialize)]
struct User {
    #[serde(rename = "accountId")]
    account_id: Option<String>,
    #[serde(rename = "displayName")]
    display_name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Issue {
    key: String,
    #[serde(default)]
    fields: Fields,
}

#[derive(Debug, Default, Deserialize)]
struct Fields {
    summary: Option<String>,
    labels: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct ChangeLog {
    #[serde(default)]
    items: Vec<Change>,
}

#[derive(Debug, Deserialize)]
struct Change {
    #[serde(default)]
    field: String,
    #[serde(rename = "fromString")]
    from: Option<String>,
    #[serde(rename = "toString")]
    to: Option<String>,
}

/// Reads a delivery.
///
/// # Errors
/// When the body is not JSON of that shape, or an event that matters lacks its key or time.
pub fn read(body: &[u8], rules: Rules<'_>) -> Result<Meaning, Unreadable> {
    let delivery: Delivery = json(body)?;
    let created = match delivery.event.as_str() {
        "jira:issue_created" => true,
        "jira:issue_updated" => false,
        other => return Meaning::ignored(format!("the event {other:?} starts nothing")),
    };
    let issue = delivery.issue.ok_or_else(|| Unreadable(format!("{} without an issue", delivery.event)))?;
    let label = rules.label;
    if created && !issue.fields.labels.iter().flatten().any(|has| has == label) {
        return Meaning::ignored(format!("{} was created without the label {label}", issue.key));
    }
    if !created && !delivery.changelog.is_some_and(|log| log.items.iter().any(|change| change.adds(label))) {
        return Meaning::ignored(format!("the label {label} was not added to {} by this change", issue.key));
    }
    let by = delivery.user.and_then(User::person);
    if rules.bot_account_id.is_some() && by.as_ref().map(|person| person.id.as_str()) == rules.bot_account_id {
        return Meaning::ignored("this is our own change coming back");
    }
    let ticket: TicketKey = issue.key.parse()?;
    let at = delivery.timestamp.ok_or_else(|| Unreadable("the field timestamp is missing".into()))?;
    if let Some(why) = untimely(at, rules.now, "add the label again") {
        // Somebody labelled a ticket and sees nothing happen.
        tracing::warn!(%ticket, why, "a signed event starts nothing");
        return Meaning::ignored(why);
    }
    let event = EventId { id: delivery_id(Service::Jira, body), at };
    let summary = shorten(&issue.fields.summary.unwrap_or_default(), SUMMARY);
    Ok(Meaning::Trigger(Trigger::TicketLabelled(TicketLabelled { ticket, event, by, summary })))
}

impl User {
    fn person(self) -> Option<Person> {
        let id = self.account_id.filter(|id| !id.is_empty())?;
        Some(Person { via: Via::Jira, id, name: self.display_name.unwrap_or_default() })
    }
}

impl Change {
    fn adds(&self, label: &str) -> bool {
        fn words(text: Option<&str>) -> BTreeSet<&str> {
            text.unwrap_or_default().split_whitespace().collect()
        }
        self.field == "labels"
            && words(self.to.as_deref()).contains(label)
            && !words(self.from.as_deref()).contains(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPDATED: &str = include_str!("../testdata/jira_issue_updated.json");
    const CREATED: &str = include_str!("../testdata/jira_issue_created.json");
    /// Time of the event in `UPDATED`.
    const AT: i64 = 1_763_700_000_123;

    fn read_at(now: i64, body: &str) -> Result<Meaning, Unreadable> {
        let now = DateTime::from_timestamp_millis(now).unwrap();
        read(body.as_bytes(), Rules { label: "AI", bot_account_id: Some("bot-1"), now })
    }

    fn read_now(body: &str) -> Result<Meaning, Unreadable> {
        read_at(AT + 1500, body)
    }

    fn labelled(body: &str) -> TicketLabelled {
        match read_now(body).unwrap() {
            Meaning::Trigger(Trigger::TicketLabelled(labelled)) => labelled,
            other => panic!("{other:?}"),
        }
    }

    fn ignored(body: &str) -> String {
        match read_now(body).unwrap() {
            Meaning::Ignored(why) => why,
            other @ Meaning::Trigger(_) => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_added_label_starts_its_ticket() {
        let labelled = labelled(UPDATED);
        assert_eq!(labelled.ticket.as_str(), "SHOP-1");
        assert_eq!(labelled.summary, "Cart total is wrong when a discount exceeds the price");
        let by = Person { via: Via::Jira, id: "5b10a2844c20165700ede21g".into(), name: "Bo Larsen".into() };
        assert_eq!(labelled.by, Some(by));
        assert_eq!(labelled.event.at, AT);
        assert!(labelled.event.id.starts_with("jira-") && labelled.event.id.len() == 5 + 32);
    }

    #[test]
    fn an_issue_created_with_the_label_starts_and_its_event_is_another() {
        let created = labelled(CREATED);
        assert_eq!(created.ticket.as_str(), "SHOP-2");
        assert_ne!(created.event.id, labelled(UPDATED).event.id);
        assert_eq!(created.event.id, labelled(CREATED).event.id, "a redelivery is the same event");
        assert!(ignored(&CREATED.replace("\"AI\"", "\"ai-later\"")).contains("without the label"));
    }

    #[test]
    fn only_the_change_that_adds_the_label_counts() {
        for (from, to, adds) in [
            ("null", "\"AI\"", true),
            ("\"\"", "\"billing AI\"", true),
            ("\"billing\"", "\"AI billing\"", true),
            ("\"AI\"", "\"AI billing\"", false),
            ("\"AI billing\"", "\"billing\"", false),
            ("\"billing\"", "\"billing AI2\"", false),
            ("null", "null", false),
        ] {
            let body = UPDATED
                .replace("\"fromString\": \"billing\"", &format!("\"fromString\": {from}"))
                .replace("\"toString\": \"billing AI\"", &format!("\"toString\": {to}"));
            let meaning = read_now(&body).unwrap();
            assert_eq!(matches!(meaning, Meaning::Trigger(_)), adds, "{from} -> {to}");
        }
        assert!(ignored(&UPDATED.replace("\"field\": \"labels\"", "\"field\": \"summary\"")).contains("not added"));
    }

    #[test]
    fn other_events_and_our_own_echo_are_ignored() {
        assert!(
            ignored(r#"{"timestamp":1,"webhookEvent":"comment_created","comment":{}}"#).contains("comment_created")
        );
        assert!(ignored(r#"{"hello":"world"}"#).contains("starts nothing"));
        assert!(ignored(&UPDATED.replace("5b10a2844c20165700ede21g", "bot-1")).contains("our own"));
    }

    #[test]
    fn an_event_of_another_day_or_of_the_future_starts_nothing() {
        const HOUR: i64 = 3_600_000;
        for (now, starts) in [
            (AT, true),
            (AT + 24 * HOUR, true),
            (AT + 24 * HOUR + 1, false),
            (AT + 365 * 24 * HOUR, false),
            (AT - HOUR, true),
            (AT - HOUR - 1, false),
        ] {
            let meaning = read_at(now, UPDATED).unwrap();
            assert_eq!(matches!(meaning, Meaning::Trigger(_)), starts, "{meaning:?}");
        }
        let Meaning::Ignored(why) = read_at(AT + 25 * HOUR, UPDATED).unwrap() else { panic!() };
        assert_eq!(why, "the event is from 2025-11-21T04:40:00Z: too old to start anything; add the label again");
        assert!(ignored(&UPDATED.replace("1763700000123", &i64::MAX.to_string())).contains("is none"));
        assert!(
            ignored(&UPDATED.replace("1763700000123", "4000000000000")).contains("from 2096-10-02T07:06:40Z, which")
        );
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (body, reason) in [
            ("{", "EOF"),
            ("[1]", "JSON we expect"),
            (r#"{"webhookEvent":"jira:issue_created"}"#, "without an issue"),
            (
                r#"{"webhookEvent":"jira:issue_created","timestamp":1,"issue":{"key":"../x","fields":{"labels":["AI"]}}}"#,
                "PROJ-123",
            ),
            (r#"{"webhookEvent":"jira:issue_created","issue":{"key":"A-1","fields":{"labels":["AI"]}}}"#, "timestamp"),
        ] {
            let error = read_now(body).unwrap_err().to_string();
            assert!(error.contains(reason), "{body}: {error}");
        }
    }

    #[test]
    fn a_person_without_an_account_is_nobody() {
        let body = UPDATED.replace("\"accountId\"", "\"accoundId\"");
        assert_eq!(labelled(&body).by, None);
    }
}
