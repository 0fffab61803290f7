//! What a person who clicked is told when the click could not do what the button says. Only they see it.

use std::time::Duration;

use serde_json::json;
use url::Url;
use workflows::contract::ids::TicketKey;
use workflows::contract::trigger::Word;

use crate::dispatch::Outcome;
use crate::temporal::TemporalError;

/// How long Slack may take to accept an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The client for answers. It follows no redirect: a response URL is used as Slack gave it, or not at all.
pub(crate) fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build()
}

/// The text for the one who clicked; `None`: the click worked, and the message itself will change.
pub(crate) fn text(
    ticket: &TicketKey,
    word: &Word,
    result: &Result<Outcome, TemporalError>,
    label: &str,
) -> Option<String> {
    let verb = match word {
        Word::Approve(_) => "approve",
        Word::Reject(_) => "reject",
        Word::RequestChanges(_) => "ask for changes of",
        Word::Retry(_) => "retry",
        Word::Cancel(_) => "cancel",
        Word::Steer(_) => "steer",
        Word::ExtendBudget(_) => "extend the budget of",
    };
    match result {
        Ok(Outcome::Closed(_, state)) => {
            Some(format!("{ticket} is {}; there is nothing left to {verb}.", state.replace('_', " ")))
        }
        Ok(Outcome::NoRun(_)) => {
            Some(format!("{ticket} has no run any more. Add the label {label} to the ticket again to start a new one."))
        }
        Ok(_) => None,
        Err(_) => Some(format!(
            "I could not {verb} {ticket}: Temporal does not answer. Nothing was done; try again in a minute."
        )),
    }
}

/// Posts the text for the one who clicked. Failures are logged: the click itself was answered already.
pub(crate) async fn post(http: reqwest::Client, response_url: Url, text: String) {
    let message = json!({"response_type": "ephemeral", "replace_original": false, "text": text});
    let answer = http.post(response_url).json(&message).send().await.and_then(reqwest::Response::error_for_status);
    if let Err(error) = answer {
        // The URL lets anyone who reads it post into the channel for 30 minutes.
        tracing::warn!(error = %error.without_url(), "Slack did not take an answer to a click");
    }
}

#[cfg(test)]
mod tests {
    use workflows::contract::access::Person;
    use workflows::contract::trigger::{Approve, Reject};

    use super::*;

    #[test]
    fn the_text_says_what_happened_and_what_to_do() {
        let ticket: TicketKey = "SHOP-1".parse().unwrap();
        let by = Person::cli("ana");
        let approve = Word::Approve(Approve { by: by.clone(), plan_hash: None, comment: None });
        let reject = Word::Reject(Reject { plan_hash: None, by, comment: None });
        let say = |decision, result| text(&ticket, decision, &result, "AI");
        assert_eq!(say(&approve, Ok(Outcome::Told(ticket.workflow_id()))), None);
        assert_eq!(
            say(&approve, Ok(Outcome::Closed(ticket.workflow_id(), "timed_out".into()))).unwrap(),
            "SHOP-1 is timed out; there is nothing left to approve."
        );
        assert!(say(&reject, Ok(Outcome::NoRun(ticket.workflow_id()))).unwrap().contains("label AI"));
        let away = TemporalError::Unavailable("10.0.0.1".into());
        let said = say(&reject, Err(away)).unwrap();
        assert!(said.contains("could not reject SHOP-1") && !said.contains("10.0.0.1"), "{said}");
    }
}
