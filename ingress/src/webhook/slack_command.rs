//! Slack's slash command `/agent ...`. Commands are parsed, never guessed.
//!
//! The body is a form: <https://docs.slack.dev/interactivity/implementing-slash-commands#app_command_handling>. Whether the
//! person may do what they ask for is asked by the workflow, not here.

use workflows::budget;
use workflows::contract::access::{Person, Via};
use workflows::contract::status::Stage;
use workflows::contract::trigger::{Approve, Command, ExtendBudget, Reject, RequestChanges, Steer, Word};

use super::Unreadable;

/// Log entries that are shown when no number is given, and at most.
const ENTRIES: (usize, usize) = (10, 50);
/// Longest text that a person can give, in characters.
const TEXT: usize = 4000;

/// What somebody typed.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// What there is.
    Help,
    /// It cannot be understood; what is wrong with it.
    Usage(String),
    /// Where a ticket stands. The key as it was typed, in upper case.
    Status(String),
    /// Which tickets there are.
    List(Option<Stage>),
    /// The last entries of a ticket's log.
    Logs {
        /// The key as it was typed, in upper case.
        ticket: String,
        /// How many.
        last: usize,
    },
    /// What a ticket cost. The key as it was typed, in upper case.
    Cost(String),
    /// Say something to a ticket.
    Say {
        /// The key as it was typed, in upper case.
        ticket: String,
        /// What.
        word: Word,
    },
    /// Slack tests the certificate of an address so when it is entered.
    Nothing,
}

/// Reads a command.
///
/// # Errors
/// When the form does not name the person.
pub fn read(body: &[u8]) -> Result<Asked, Unreadable> {
    let (mut text, mut id, mut name) = (String::new(), String::new(), String::new());
    for (field, value) in url::form_urlencoded::parse(body) {
        match field.as_ref() {
            "text" => text = value.into_owned(),
            "user_id" => id = value.into_owned(),
            "user_name" => name = value.into_owned(),
            "ssl_check" => return Ok(Asked::Nothing),
            _ => {}
        }
    }
    if id.is_empty() {
        return Err(Unreadable("the form field user_id is missing".into()));
    }
    Ok(parse(&text, Person { via: Via::Slack, id, name }))
}

fn parse(text: &str, by: Person) -> Asked {
    let (verb, rest) = first_word(text);
    let (key, more) = first_word(rest);
    let ticket = key.to_uppercase();
    let verb = verb.to_lowercase();
    let without_key = |example: &str| Asked::Usage(format!("`{verb}` needs a ticket: `/agent {verb} {example}`"));
    match verb.as_str() {
        "" | "help" => Asked::Help,
        "list" => match rest.trim() {
            "" => Asked::List(None),
            stage => match Stage::named(stage) {
                Some(stage) => Asked::List(Some(stage)),
                None => {
                    let stages: Vec<&str> = Stage::ALL.iter().map(|stage| stage.as_str()).collect();
                    Asked::Usage(format!("There is no stage `{}`. Stages: {}", plain(stage), stages.join(", ")))
                }
            },
        },
        "status" if ticket.is_empty() => without_key("SHOP-1"),
        "status" => Asked::Status(ticket),
        "logs" | "log" if ticket.is_empty() => without_key("SHOP-1 20"),
        "logs" | "log" => match more {
            "" => Asked::Logs { ticket, last: ENTRIES.0 },
            number => match number.parse::<usize>() {
                Ok(last) => Asked::Logs { ticket, last: last.clamp(1, ENTRIES.1) },
                Err(_) => Asked::Usage(format!("`{}` is not a number: `/agent logs SHOP-1 20`", plain(number))),
            },
        },
        "cost" if ticket.is_empty() => without_key("SHOP-1"),
        "cost" => Asked::Cost(ticket),
        "extend" if ticket.is_empty() => without_key("SHOP-1 5"),
        "extend" => match amount(more) {
            Some(usd) => Asked::Say { ticket, word: Word::ExtendBudget(ExtendBudget { by, usd, cap: None }) },
            None => {
                let typed = plain(more);
                let typed = if typed.is_empty() { "Nothing".to_owned() } else { format!("`{typed}`") };
                let most = budget::LARGEST_EXTENSION;
                Asked::Usage(format!(
                    "{typed} is no amount in US dollars, over 0 and at most {most}: `/agent extend {ticket} 5`"
                ))
            }
        },
        "approve" if ticket.is_empty() => without_key("SHOP-1"),
        "approve" => {
            let plan_hash = Some(first_word(more).0.trim_matches('`').to_lowercase()).filter(|hash| !hash.is_empty());
            Asked::Say { ticket, word: Word::Approve(Approve { by, plan_hash, comment: None }) }
        }
        "reject" if ticket.is_empty() => without_key("SHOP-1 why not"),
        "reject" => Asked::Say { ticket, word: Word::Reject(Reject { plan_hash: None, by, comment: given(more) }) },
        "request-changes" | "request_changes" | "steer" => match given(more) {
            None => {
                Asked::Usage(format!("`{verb}` needs a ticket and a text: `/agent {verb} SHOP-1 Keep the old name`"))
            }
            Some(text) if verb == "steer" => Asked::Say { ticket, word: Word::Steer(Steer { by, text }) },
            Some(comment) => {
                Asked::Say { ticket, word: Word::RequestChanges(RequestChanges { by, comment, plan_hash: None }) }
            }
        },
        "retry" | "cancel" if ticket.is_empty() => without_key("SHOP-1"),
        "retry" => Asked::Say { ticket, word: Word::Retry(Command { by }) },
        "cancel" => Asked::Say { ticket, word: Word::Cancel(Command { by }) },
        other => Asked::Usage(format!("I don't know the command `{}`.", plain(other))),
    }
}

fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    match text.split_once(char::is_whitespace) {
        Some((first, rest)) => (first, rest.trim()),
        None => (text, ""),
    }
}

fn given(text: &str) -> Option<String> {
    let text: String = text.trim().chars().take(TEXT).collect();
    (!text.is_empty()).then_some(text)
}

/// An amount as people write it: `5`, `$5`, `2.50`, `5 USD`.
fn amount(text: &str) -> Option<f64> {
    let text = text.trim().to_lowercase();
    let number = text.trim_start_matches('$').trim_end_matches("usd").trim_end_matches('$').trim();
    // Digits and one point only: `1e3`, `inf` and `+5` are numbers for a computer.
    let plain = number.chars().all(|c| c.is_ascii_digit() || c == '.');
    let usd = number.parse().ok().filter(|_| plain)?;
    budget::extension(usd).map(|_| usd)
}

/// What somebody typed, fit to stand between back-ticks.
fn plain(text: &str) -> String {
    text.replace('`', "'").chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ana() -> Person {
        Person { via: Via::Slack, id: "U0ANA".into(), name: "ana".into() }
    }

    fn asked(text: &str) -> Asked {
        let fields = [("command", "/agent"), ("text", text), ("user_id", "U0ANA"), ("user_name", "ana")];
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        read(body.as_bytes()).unwrap()
    }

    #[test]
    fn every_command_is_understood() {
        let say = |ticket: &str, word| Asked::Say { ticket: ticket.into(), word };
        let by = ana();
        for (text, expected) in [
            ("", Asked::Help),
            ("  help  ", Asked::Help),
            ("status shop-1", Asked::Status("SHOP-1".into())),
            ("STATUS SHOP-1", Asked::Status("SHOP-1".into())),
            ("list", Asked::List(None)),
            ("list awaiting approval", Asked::List(Some(Stage::AwaitingApproval))),
            ("list parked", Asked::List(Some(Stage::Parked))),
            ("list fixing ci", Asked::List(Some(Stage::FixingCi))),
            ("logs SHOP-1", Asked::Logs { ticket: "SHOP-1".into(), last: 10 }),
            ("logs SHOP-1 5", Asked::Logs { ticket: "SHOP-1".into(), last: 5 }),
            ("logs SHOP-1 5000", Asked::Logs { ticket: "SHOP-1".into(), last: 50 }),
            (
                "approve SHOP-1 `4F2A91C7`",
                say(
                    "SHOP-1",
                    Word::Approve(Approve { by: by.clone(), plan_hash: Some("4f2a91c7".into()), comment: None }),
                ),
            ),
            (
                "approve SHOP-1",
                say("SHOP-1", Word::Approve(Approve { by: by.clone(), plan_hash: None, comment: None })),
            ),
            (
                "reject SHOP-1 not  now",
                say(
                    "SHOP-1",
                    Word::Reject(Reject { plan_hash: None, by: by.clone(), comment: Some("not  now".into()) }),
                ),
            ),
            (
                "request-changes SHOP-1 keep the name",
                say(
                    "SHOP-1",
                    Word::RequestChanges(RequestChanges {
                        by: by.clone(),
                        comment: "keep the name".into(),
                        plan_hash: None,
                    }),
                ),
            ),
            (
                "steer SHOP-1 mind the cache",
                say("SHOP-1", Word::Steer(Steer { by: by.clone(), text: "mind the cache".into() })),
            ),
            ("cost shop-1", Asked::Cost("SHOP-1".into())),
            (
                "extend SHOP-1 5",
                say("SHOP-1", Word::ExtendBudget(ExtendBudget { by: by.clone(), usd: 5.0, cap: None })),
            ),
            (
                "extend shop-1 $2.50",
                say("SHOP-1", Word::ExtendBudget(ExtendBudget { by: by.clone(), usd: 2.5, cap: None })),
            ),
            (
                "extend SHOP-1 7 USD",
                say("SHOP-1", Word::ExtendBudget(ExtendBudget { by: by.clone(), usd: 7.0, cap: None })),
            ),
            ("retry SHOP-1", say("SHOP-1", Word::Retry(Command { by: by.clone() }))),
            ("cancel SHOP-1", say("SHOP-1", Word::Cancel(Command { by }))),
        ] {
            assert_eq!(asked(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_unknown_or_incomplete_gets_its_usage() {
        for (text, part) in [
            ("dance SHOP-1", "`dance`"),
            ("status", "/agent status SHOP-1"),
            ("logs", "/agent logs SHOP-1 20"),
            ("logs SHOP-1 many", "not a number"),
            ("approve", "/agent approve SHOP-1"),
            ("reject", "needs a ticket"),
            ("request-changes SHOP-1", "needs a ticket and a text"),
            ("steer", "needs a ticket and a text"),
            ("retry", "needs a ticket"),
            ("cost", "/agent cost SHOP-1"),
            ("extend", "/agent extend SHOP-1 5"),
            ("extend SHOP-1", "Nothing is no amount"),
            ("extend SHOP-1 lots", "`lots` is no amount"),
            ("extend SHOP-1 -5", "at most 1000: `/agent extend SHOP-1 5`"),
            ("extend SHOP-1 0", "`0` is no amount"),
            ("extend SHOP-1 1001", "`1001` is no amount"),
            ("extend SHOP-1 1e2", "`1e2` is no amount"),
            ("extend SHOP-1 inf", "`inf` is no amount"),
            ("list nowhere", "awaiting_approval"),
            ("`x`", "`'x'`"),
        ] {
            let Asked::Usage(said) = asked(text) else { panic!("{text}") };
            assert!(said.contains(part), "{text}: {said}");
        }
        assert_eq!(read(b"ssl_check=1&token=x"), Ok(Asked::Nothing));
        assert!(read(b"text=help").is_err(), "nobody");
    }
}
