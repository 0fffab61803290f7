//! Slack's interactions: somebody clicked a button under one of our messages.
//!
//! The body is a form with one field `payload` that holds JSON:
//! <https://docs.slack.dev/reference/interaction-payloads/block_actions-payload>. Our buttons have the action ids
//! `approve`, `reject`, `request_changes`, `retry`, `extend_budget`, `view_logs` and `confirm_command` and the value
//! `{"ticket": "SHOP-1", "plan_hash": "4f2a91c7"}`, without the hash where no plan is decided about; `view_logs` under a message
//! about red checks also names the `job`, `extend_budget` the amount and the cap that the message shows. Whether the person may do it is asked by the workflow, not here.

use std::collections::BTreeMap;

use serde::Deserialize;
use url::Url;
use workflows::contract::access::{Person, Via};
use workflows::contract::analysis::ProposedWord;
use workflows::contract::ids::TicketKey;
use workflows::contract::money::MicroUsd;
use workflows::contract::trigger::{Approve, Command, Commanded, ExtendBudget, Reject, RequestChanges, Word};
use workflows::messages::slack::{CHANGES_BLOCK, CHANGES_INPUT};

use super::Unreadable;

/// What an interaction means to us.
#[derive(Debug, Clone, PartialEq)]
pub enum Interaction {
    /// A decision, or a command.
    Click(Click),
    /// Somebody wants to read a ticket's log, or that of a red check.
    Logs {
        /// The ticket.
        ticket: TicketKey,
        /// The red check's job at GitHub.
        job: Option<u64>,
        /// Where the log goes.
        response_url: Option<Url>,
    },
    /// Changes are asked for, but not which.
    Incomplete {
        /// Where the person is told.
        response_url: Option<Url>,
    },
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
    /// The button belongs to an answer to a mention, which does not change by itself: the person is told what becomes of it.
    pub confirmed: bool,
}

/// Longest text that a person can give, in characters.
const TEXT: usize = 4000;

#[derive(Debug, Deserialize)]
struct Payload {
    #[serde(rename = "type", default)]
    kind: String,
    user: Option<User>,
    response_url: Option<String>,
    #[serde(default)]
    actions: Vec<ActionTaken>,
    #[serde(default)]
    state: State,
}

/// What stands in the input fields of the message: block id -> action id -> element.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    values: BTreeMap<String, BTreeMap<String, Input>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Input {
    value: Option<String>,
}

impl State {
    fn text(&self, block: &str, action: &str) -> Option<String> {
        let typed = self.values.get(block)?.get(action)?.value.as_deref()?.trim();
        let text: String = typed.chars().take(TEXT).collect();
        (!text.is_empty()).then_some(text)
    }
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
    /// The job of a red check.
    job: Option<u64>,
    /// The command that a button confirms.
    word: Option<ProposedWord>,
    /// What a button adds to the budget.
    usd: Option<f64>,
    /// The cap it adds to.
    cap_micro_usd: Option<MicroUsd>,
}

/// Action ids of our buttons that do something here; those that open a link do not.
const BUTTONS: [&str; 7] =
    ["approve", "reject", "request_changes", "retry", "extend_budget", "view_logs", "confirm_command"];

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
    let ours = |action: &&ActionTaken| BUTTONS.contains(&action.action_id.as_str());
    let Some(action) = payload.actions.iter().find(ours) else {
        return Ok(Interaction::Ignored("no button of ours was clicked".into()));
    };
    let user = payload.user.ok_or_else(|| Unreadable("the field user is missing".into()))?;
    let by = Person { via: Via::Slack, id: user.id, name: user.name.or(user.username).unwrap_or_default() };
    let ButtonValue { ticket, plan_hash, job, word, usd, cap_micro_usd: cap } =
        serde_json::from_str(action.value.as_deref().unwrap_or_default())
            .map_err(|error| Unreadable(format!("the value of the button is not one of ours: {error}")))?;
    let response_url = payload.response_url.and_then(|url| url.parse().ok());
    let word = match (action.action_id.as_str(), word) {
        ("view_logs", _) => return Ok(Interaction::Logs { ticket, job, response_url }),
        ("approve", _) => Word::Approve(Approve { by, plan_hash, comment: None }),
        ("reject", _) => Word::Reject(Reject { plan_hash, by, comment: None }),
        ("request_changes", _) => match payload.state.text(CHANGES_BLOCK, CHANGES_INPUT) {
            Some(comment) => Word::RequestChanges(RequestChanges { by, comment, plan_hash }),
            None => return Ok(Interaction::Incomplete { response_url }),
        },
        ("extend_budget", _) => match usd {
            Some(usd) => Word::ExtendBudget(ExtendBudget { by, usd, cap }),
            None => return Err(Unreadable("the value of the button names no amount".into())),
        },
        ("retry", _) | (_, Some(ProposedWord::Retry)) => Word::Retry(Command { by }),
        (_, Some(ProposedWord::Cancel)) => Word::Cancel(Command { by }),
        (_, None) => return Err(Unreadable("the value of the button names no command".into())),
    };
    let confirmed = action.action_id == "confirm_command";
    Ok(Interaction::Click(Click { commanded: Commanded { ticket, word }, response_url, confirmed }))
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
            other => panic!("{other:?}"),
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
    fn changes_come_from_the_field_of_the_same_message() {
        let mut payload = fixture();
        payload["actions"][0]["action_id"] = "request_changes".into();
        let asked = |payload: &serde_json::Value| read(&form(&payload.to_string())).unwrap();
        assert!(matches!(asked(&payload), Interaction::Incomplete { response_url: Some(_) }));
        payload["state"] =
            serde_json::json!({"values": {"changes": {"text": {"type": "plain_text_input", "value": null}}}});
        assert!(matches!(asked(&payload), Interaction::Incomplete { .. }));
        payload["state"]["values"]["changes"]["text"]["value"] = " Keep the old name. ".into();
        let Word::RequestChanges(request) = click(&payload).commanded.word else { panic!() };
        assert_eq!((request.comment.as_str(), request.plan_hash.as_deref()), ("Keep the old name.", Some("4f2a91c7")));
    }

    #[test]
    fn the_other_buttons_name_their_ticket() {
        let mut payload = fixture();
        payload["actions"][0]["value"] = r#"{"ticket":"SHOP-1"}"#.into();
        payload["actions"][0]["action_id"] = "retry".into();
        let retry = click(&payload);
        assert!(matches!(retry.commanded.word, Word::Retry(_)) && !retry.confirmed);
        payload["actions"][0]["action_id"] = "view_logs".into();
        let logs = read(&form(&payload.to_string())).unwrap();
        assert!(matches!(logs, Interaction::Logs { ticket, job: None, .. } if ticket.as_str() == "SHOP-1"));
        payload["actions"][0]["value"] = r#"{"ticket":"SHOP-1","repository":"acme/shop-api","job":7}"#.into();
        let logs = read(&form(&payload.to_string())).unwrap();
        assert!(matches!(logs, Interaction::Logs { job: Some(7), .. }));
        payload["actions"][0]["value"] = r#"{"ticket":"SHOP-1"}"#.into();
        payload["actions"][0]["action_id"] = "confirm_command".into();
        assert!(read(&form(&payload.to_string())).is_err(), "no command");
        payload["actions"][0]["value"] = r#"{"ticket":"SHOP-1","word":"cancel"}"#.into();
        let cancel = click(&payload);
        assert!(matches!(cancel.commanded.word, Word::Cancel(_)) && cancel.confirmed);
    }

    #[test]
    fn a_click_that_adds_money_carries_the_amount_and_the_cap_it_adds_to() {
        let mut payload = fixture();
        payload["actions"][0]["action_id"] = "extend_budget".into();
        let blocks = workflows::messages::slack::out_of_money("", "SHOP-1", MicroUsd::dollars(12));
        payload["actions"][0]["value"] = blocks[1]["elements"][0]["value"].clone();
        let extend = click(&payload);
        let by = Person { via: Via::Slack, id: "U0ANA".into(), name: "ana".into() };
        let expected = ExtendBudget { by, usd: 5.0, cap: Some(MicroUsd::dollars(12)) };
        assert_eq!(extend.commanded.word, Word::ExtendBudget(expected));
        payload["actions"][0]["value"] = r#"{"ticket":"SHOP-1"}"#.into();
        assert!(read(&form(&payload.to_string())).is_err(), "no amount");
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
