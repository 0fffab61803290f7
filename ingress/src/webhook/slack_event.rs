//! Slack's Events API: somebody mentioned the bot.
//!
//! <https://docs.slack.dev/apis/events-api>: the body is JSON. An address that is entered is tested with
//! `url_verification`; an unanswered event comes up to three times more with the same `event_id`.

use serde::Deserialize;
use workflows::contract::access::{Person, Via};
use workflows::contract::trigger::{EventId, Mentioned, Trigger};

use super::{Meaning, Unreadable, json};

/// Longest text that is handed on, in characters.
const TEXT: usize = 4000;

/// What an event means to us.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Slack tests the address: the text goes back as it is.
    Challenge(String),
    /// A mention, or nothing.
    Meaning(Meaning),
}

#[derive(Debug, Deserialize)]
struct Envelope {
    #[serde(rename = "type", default)]
    kind: String,
    challenge: Option<String>,
    #[serde(default)]
    team_id: String,
    /// The organisation that the workspace belongs to, on Enterprise Grid.
    enterprise_id: Option<String>,
    #[serde(default)]
    event_id: String,
    /// Seconds since 1970.
    #[serde(default)]
    event_time: i64,
    event: Option<Inner>,
    #[serde(default)]
    authorizations: Vec<Authorization>,
}

#[derive(Debug, Deserialize)]
struct Inner {
    #[serde(rename = "type", default)]
    kind: String,
    subtype: Option<String>,
    bot_id: Option<String>,
    user: Option<String>,
    /// The writer's own workspace or organisation, and the one they wrote from: another one in channels shared by Slack Connect
    /// (<https://docs.slack.dev/tools/node-slack-sdk/reference/types/interfaces/AppMentionEvent>).
    user_team: Option<String>,
    source_team: Option<String>,
    #[serde(default)]
    text: String,
    #[serde(default)]
    channel: String,
    #[serde(default)]
    ts: String,
    thread_ts: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Authorization {
    #[serde(default)]
    user_id: String,
}

/// Reads an event.
///
/// # Errors
/// When it is no JSON, or lacks what every event has.
pub fn read(body: &[u8]) -> Result<Event, Unreadable> {
    let envelope: Envelope = json(body)?;
    if envelope.kind == "url_verification" {
        return match envelope.challenge {
            Some(challenge) => Ok(Event::Challenge(challenge)),
            None => Err(Unreadable("the field challenge is missing".into())),
        };
    }
    meaning(envelope).map(Event::Meaning)
}

fn meaning(envelope: Envelope) -> Result<Meaning, Unreadable> {
    let Some(event) = envelope.event.filter(|_| envelope.kind == "event_callback") else {
        return Meaning::ignored(format!("{:?} is not an event", envelope.kind));
    };
    if event.kind != "app_mention" {
        return Meaning::ignored(format!("the event {:?} is not a mention", event.kind));
    }
    let us = envelope.authorizations.first().map(|authorization| authorization.user_id.as_str()).unwrap_or_default();
    let Some(user) = event.user.filter(|user| user != us && event.bot_id.is_none() && event.subtype.is_none()) else {
        return Meaning::ignored("bots are not answered");
    };
    let ours = |team: &&String| *team == &envelope.team_id || Some(*team) == envelope.enterprise_id.as_ref();
    if let Some(team) = event.user_team.iter().chain(&event.source_team).find(|team| !ours(team)) {
        tracing::info!(person = user, team, event = envelope.event_id, "mentioned by a guest, who is not answered");
        return Meaning::ignored("people of other workspaces are not answered");
    }
    for (name, id) in
        [("team_id", &envelope.team_id), ("event_id", &envelope.event_id), ("user", &user), ("channel", &event.channel)]
    {
        if id.is_empty() || id.len() > 40 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Unreadable(format!("the field {name} is not an id of Slack")));
        }
    }
    if event.ts.is_empty() {
        return Err(Unreadable("the field ts is missing".into()));
    }
    Ok(Meaning::Trigger(Trigger::Mentioned(Mentioned {
        team: envelope.team_id,
        event: EventId { id: envelope.event_id, at: envelope.event_time.saturating_mul(1000) },
        channel: event.channel,
        thread: event.thread_ts.unwrap_or(event.ts),
        by: Person { via: Via::Slack, id: user, name: String::new() },
        text: without_mention(&event.text, us),
    })))
}

/// The text without our own mention, Slack's three escapes undone.
fn without_mention(text: &str, us: &str) -> String {
    let text = text.replace(&format!("<@{us}>"), " ");
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    text.trim().chars().take(TEXT).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event() -> Value {
        json!({
            "type": "event_callback", "team_id": "T0ACME", "event_id": "Ev00000001", "event_time": 1_763_700_000,
            "authorizations": [{"user_id": "U0TICKETWRIGHT", "is_bot": true}],
            "event": {
                "type": "app_mention", "user": "U0ANA", "text": "<@U0TICKETWRIGHT> is SHOP-1 &gt; 50 % done?",
                "ts": "1763700000.000100", "channel": "C0AIAGENTS",
            },
        })
    }

    fn read_it(event: &Value) -> Result<Event, Unreadable> {
        read(event.to_string().as_bytes())
    }

    #[test]
    fn a_mention_is_a_question_in_its_thread() {
        let Ok(Event::Meaning(Meaning::Trigger(Trigger::Mentioned(mention)))) = read_it(&event()) else { panic!() };
        assert_eq!(mention.workflow_id(), "slack-T0ACME-Ev00000001");
        assert_eq!((mention.text.as_str(), mention.thread.as_str()), ("is SHOP-1 > 50 % done?", "1763700000.000100"));
        assert_eq!((mention.by.id.as_str(), mention.event.at), ("U0ANA", 1_763_700_000_000));
        let mut reply = event();
        reply["event"]["thread_ts"] = "1763600000.000100".into();
        let Ok(Event::Meaning(Meaning::Trigger(Trigger::Mentioned(mention)))) = read_it(&reply) else { panic!() };
        assert_eq!(mention.thread, "1763600000.000100");
    }

    #[test]
    fn bots_and_other_events_are_ignored() {
        let mut bot = event();
        bot["event"]["bot_id"] = "B1".into();
        let mut ourselves = event();
        ourselves["event"]["user"] = "U0TICKETWRIGHT".into();
        let mut joined = event();
        joined["event"]["type"] = "member_joined_channel".into();
        let mut edited = event();
        edited["event"]["subtype"] = "message_changed".into();
        for event in [bot, ourselves, joined, edited, json!({"type": "app_rate_limited"})] {
            assert!(matches!(read_it(&event), Ok(Event::Meaning(Meaning::Ignored(_)))), "{event}");
        }
    }

    #[test]
    fn a_guest_from_another_workspace_is_ignored() {
        for field in ["user_team", "source_team"] {
            let mut guest = event();
            guest["event"][field] = "T0OTHER".into();
            assert!(matches!(read_it(&guest), Ok(Event::Meaning(Meaning::Ignored(_)))), "{guest}");
            let mut ours = event();
            ours["event"][field] = "T0ACME".into();
            assert!(matches!(read_it(&ours), Ok(Event::Meaning(Meaning::Trigger(_)))), "{ours}");
            ours["event"][field] = "E0ACME".into();
            ours["enterprise_id"] = "E0ACME".into();
            assert!(matches!(read_it(&ours), Ok(Event::Meaning(Meaning::Trigger(_)))), "{ours}");
        }
    }

    #[test]
    fn the_address_test_is_answered_and_the_rest_refused() {
        let test = json!({"type": "url_verification", "challenge": "3eZbrw1a"});
        assert_eq!(read_it(&test), Ok(Event::Challenge("3eZbrw1a".into())));
        let mut hostile = event();
        hostile["event_id"] = "../x".into();
        for bad in [json!({"type": "url_verification"}), hostile, json!("x")] {
            assert!(read_it(&bad).is_err(), "{bad}");
        }
    }
}
