//! Slack's interactions (<https://api.slack.com/reference/interaction-payloads/block-actions>): Approve and Reject.

use serde::Deserialize;
use workflows::contract::access::{Person, Via};
use workflows::contract::ids::TicketKey;
use workflows::contract::trigger::{Approve, Decided, Decision, Reject, Trigger};

use super::{Meaning, Unreadable};

/// An interaction and where to answer the person.
#[derive(Debug, Clone, PartialEq)]
pub struct Interaction {
    /// What it means.
    pub meaning: Meaning,
    /// Where an ephemeral answer can be posted, up to five times in 30 minutes.
    pub response_url: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Form {
    payload: String,
}

#[derive(Debug, Deserialize)]
struct Payload {
    #[serde(rename = "type")]
    kind: String,
    user: Option<User>,
    #[serde(default)]
    response_url: Option<String>,
    #[serde(default)]
    actions: Vec<Action>,
}

#[derive(Debug, Deserialize)]
struct User {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    username: String,
}

#[derive(Debug, Deserialize)]
struct Action {
    #[serde(default)]
    action_id: String,
    #[serde(default)]
    value: String,
}

/// What our buttons carry.
#[derive(Debug, Deserialize)]
struct Value {
    ticket: TicketKey,
    plan_hash: String,
}

/// Reads an interaction whose signature was verified.
pub fn read(body: &[u8]) -> Result<Interaction, Unreadable> {
    let form: Form = serde_urlencoded::from_bytes(body).map_err(|fault| Unreadable(fault.to_string()))?;
    let payload: Payload = serde_json::from_str(&form.payload)?;
    let response_url = payload.response_url.clone();
    let meaning = meaning_of(payload)?;
    Ok(Interaction { meaning, response_url })
}

fn meaning_of(payload: Payload) -> Result<Meaning, Unreadable> {
    if payload.kind != "block_actions" {
        return Ok(Meaning::ignore(format!("{} interactions are not used", payload.kind)));
    }
    let Some(user) = payload.user else {
        return Err(Unreadable("an interaction without its user".to_owned()));
    };
    let Some(action) = payload.actions.into_iter().find(|a| a.action_id == "approve" || a.action_id == "reject") else {
        return Ok(Meaning::ignore("no button of ours"));
    };
    let value: Value = serde_json::from_str(&action.value)?;
    let name = if user.name.is_empty() { user.username } else { user.name };
    let by = Person { via: Via::Slack, id: user.id, name };
    let decision = if action.action_id == "approve" {
        Decision::Approve(Approve { by, plan_hash: Some(value.plan_hash), comment: None })
    } else {
        Decision::Reject(Reject { by, comment: None })
    };
    Ok(Meaning::act(Trigger::Decided(Decided { ticket: value.ticket, decision })))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form(payload: &serde_json::Value) -> Vec<u8> {
        serde_urlencoded::to_string([("payload", payload.to_string())]).unwrap().into_bytes()
    }

    fn click(action: &str, value: &str) -> serde_json::Value {
        json!({"type": "block_actions", "user": {"id": "U0ANA", "username": "ana", "team_id": "T0"},
               "response_url": "http://slack/response/1",
               "actions": [{"action_id": action, "block_id": "decision", "value": value, "type": "button"}]})
    }

    #[test]
    fn a_click_is_a_decision_of_a_slack_user_about_one_plan() {
        let value = r#"{"ticket":"SHOP-1","plan_hash":"4f2a91c7"}"#;
        let interaction = read(&form(&click("approve", value))).unwrap();
        assert_eq!(interaction.response_url.as_deref(), Some("http://slack/response/1"));
        let Meaning::Act(trigger) = interaction.meaning else { panic!() };
        let Trigger::Decided(Decided { ticket, decision: Decision::Approve(approve) }) = *trigger else { panic!() };
        assert_eq!(ticket.as_str(), "SHOP-1");
        assert_eq!(approve.plan_hash.as_deref(), Some("4f2a91c7"));
        assert_eq!(approve.by, Person { via: Via::Slack, id: "U0ANA".into(), name: "ana".into() });
    }

    #[test]
    fn foreign_buttons_are_ignored_and_broken_ones_unreadable() {
        assert!(matches!(read(&form(&click("other", ""))).unwrap().meaning, Meaning::Ignore(_)));
        assert!(read(&form(&click("approve", "x"))).is_err());
        assert!(read(b"no=payload").is_err());
        assert!(read(b"payload=%7B").is_err());
    }
}
