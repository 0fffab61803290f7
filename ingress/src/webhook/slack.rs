//! Slack's interactions: somebody clicked a button under a plan.
//!
//! The body is a form with one field `payload` that holds JSON:
//! <https://docs.slack.dev/reference/interaction-payloads/block_actions-payload>. Our buttons have the action ids
//! `approve` and `reject` and the value `{"ticket": "SHOP-1", "plan_hash": "4f2a91c7"}`. Whether the person may decide is
//! asked by the workflow, not here.

use serde::Deserialize;
use url::Url;
use workflows::contract::access::{Person, Via};
use workflows::contract::ids::TicketKey;
use workflows::contract::trigger::{Approve, Commanded, Reject, Word};

use super::Unreadable;

/// What an interaction means to us.
#[derive(Debug, Clone, PartialEq)]
pub enum Interaction {
    /// A decision about a plan.
    Click(Click),
    /// Nothing, and why.
    Ignored(String),
}

/// A decision, and where its maker can be answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Click {
    /// What was said, about which ticket.
    pub commanded: Commanded,
    /// Takes up to five answers within 30 minutes.
    pub response_url: Option<Url>,
}

#[derive(Debug, Deserialize)]
struct Payload {
    #[serde(rename = "type", default)]
    kind: String,
    user: Option<User>,
    response_url: Option<String>,
    #[serde(default)]
    actions: Vec<ActionTaken>,
}

#[derive(Debug, Deserialize)]
struct User {
    id: String,
    name: Option<String>,
    username: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ActionTaken {
    #[serde(default)]
    action_id: String,
    value: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ButtonValue {
    ticket: TicketKey,
    plan_hash: Option<String>,
}

/// Reads an interaction.
///
/// # Errors
/// When the form has no readable payload, or one of our own buttons carries something else than we put there.
pub fn read(body: &[u8]) -> Result<Interaction, Unreadable> {
    let mut payload = None;
    for (name, value) in url::form_urlencoded::parse(body) {
        match name.as_ref() {
            "payload" => payload = Some(value.into_owned()),
            // Slack tests the certificate of an address so when it is entered.
            "ssl_check" => return Ok(Interaction::Ignored("ssl_check".into())),
            _ => {}
        }
    }
    let payload = payload.ok_or_else(|| Unreadable("the form field payload is missing".into()))?;
    let payload: Payload = serde_json::from_str(&payload)
        .map_err(|error| Unreadable(format!("payload is not the JSON we expect: {error}")))?;
    if payload.kind != "block_actions" {
        return Ok(Interaction::Ignored(format!("the interaction {:?} is not a button click", payload.kind)));
    }
    let ours = |action: &&ActionTaken| matches!(action.action_id.as_str(), "approve" | "reject");
    let Some(action) = payload.actions.iter().find(ours) else {
        return Ok(Interaction::Ignored("no button of ours was clicked".into()));
    };
    let user = payload.user.ok_or_else(|| Unreadable("the field user is missing".into()))?;
    let by = Person { via: Via::Slack, id: user.id, name: user.name.or(user.username).unwrap_or_default() };
    let value: ButtonValue = serde_json::from_str(action.value.as_deref().unwrap_or_default())
        .map_err(|error| Unreadable(format!("the value of the button is not one of ours: {error}")))?;
    let word = if action.action_id == "approve" {
        Word::Approve(Approve { by, plan_hash: value.plan_hash, comment: None })
    } else {
        Word::Reject(Reject { plan_hash: value.plan_hash, by, comment: None })
    };
    let response_url = payload.response_url.and_then(|url| url.parse().ok());
    Ok(Interaction::Click(Click { commanded: Commanded { ticket: value.ticket, word }, response_url }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(payload: &str) -> Vec<u8> {
        url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", payload).finish().into_bytes()
    }

    fn fixture() -> serde_json::Value {
        serde_json::from_str(include_str!("../testdata/slack_block_actions.json")).unwrap()
    }

    fn click(payload: &serde_json::Value) -> Click {
        match read(&form(&payload.to_string())).unwrap() {
            Interaction::Click(click) => click,
            Interaction::Ignored(why) => panic!("{why}"),
        }
    }

    #[test]
    fn a_click_on_approve_carries_the_plan_and_the_person() {
        let click = click(&fixture());
        assert_eq!(click.commanded.ticket.as_str(), "SHOP-1");
        let by = Person { via: Via::Slack, id: "U0ANA".into(), name: "ana".into() };
        let approve = Approve { by, plan_hash: Some("4f2a91c7".into()), comment: None };
        assert_eq!(click.commanded.word, Word::Approve(approve));
        assert_eq!(click.response_url.unwrap().host_str(), Some("hooks.slack.com"));
    }

    #[test]
    fn a_click_on_reject_is_a_rejection() {
        let mut payload = fixture();
        payload["actions"][0]["action_id"] = "reject".into();
        payload["user"] = serde_json::json!({"id": "U0BO", "username": "bo"});
        let Word::Reject(reject) = click(&payload).commanded.word else { panic!() };
        assert_eq!((reject.by.id.as_str(), reject.by.name.as_str()), ("U0BO", "bo"));
    }

    #[test]
    fn other_interactions_are_ignored() {
        let mut link = fixture();
        link["actions"][0]["action_id"] = "view_pr".into();
        let mut modal = fixture();
        modal["type"] = "view_submission".into();
        for payload in [link, modal] {
            assert!(matches!(read(&form(&payload.to_string())), Ok(Interaction::Ignored(_))));
        }
        assert!(matches!(read(b"ssl_check=1&token=x"), Ok(Interaction::Ignored(_))));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let mut foreign = fixture();
        foreign["actions"][0]["value"] = "SHOP-1".into();
        let mut hostile = fixture();
        hostile["actions"][0]["value"] = r#"{"ticket":"../x"}"#.into();
        let mut nobody = fixture();
        nobody["user"] = serde_json::Value::Null;
        for (body, reason) in [
            (b"".to_vec(), "payload is missing"),
            (form("{"), "EOF"),
            (form(&foreign.to_string()), "value of the button"),
            (form(&hostile.to_string()), "PROJ-123"),
            (form(&nobody.to_string()), "user is missing"),
        ] {
            let error = read(&body).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
