//! Slack's Block Kit around our texts.

use serde_json::{Value, json};

use crate::contract::money::MicroUsd;

/// Id of the block with the field that says what should be different, as it comes back with a click.
pub const CHANGES_BLOCK: &str = "changes";
/// Id of that field.
pub const CHANGES_INPUT: &str = "text";

/// Longest text of a section block, from Slack's Block Kit reference.
const SECTION_TEXT: usize = 3000;
/// Sections of one text: a message has 50 blocks (the same reference), and some are buttons.
const SECTIONS: usize = 40;

/// Escapes the three characters that Slack's mrkdwn gives meaning to.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A moment (seconds since 1970) that Slack shows in the reader's own time; others see it in UTC
/// (<https://api.slack.com/reference/surfaces/formatting#date-formatting>).
pub fn date(seconds: i64) -> String {
    format!("<!date^{seconds}^{{date_short_pretty}} {{time}}|{}>", utc(seconds))
}

/// `2026-11-22 06:49 UTC`, by the proleptic Gregorian calendar (Howard Hinnant's `civil_from_days`).
pub fn utc(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3_600, rest % 3_600 / 60)
}

/// A section with `text` in mrkdwn.
pub fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": cut(text)}})
}

/// All of `text`, in as many sections as it takes: a person decides with it. It is parted between lines.
fn sections(text: &str) -> Vec<Value> {
    let mut parts = vec![String::new()];
    for line in text.split_inclusive('\n') {
        let is_full = |part: &String| part.chars().count() + line.chars().count() > SECTION_TEXT;
        match parts.last_mut() {
            Some(part) if part.is_empty() || !is_full(part) => part.push_str(line),
            _ => parts.push(line.to_owned()),
        }
    }
    if parts.len() > SECTIONS {
        parts.truncate(SECTIONS - 1);
        parts.push("[cut]".to_owned());
    }
    parts.iter().map(|part| section(part)).collect()
}

/// A text with links as buttons under it.
pub fn with_links(text: &str, links: &[(&str, &str)]) -> Vec<Value> {
    let button = |(label, url): &(&str, &str)| {
        json!({
            "type": "button",
            "action_id": format!("open {label}").to_lowercase().replace(' ', "_"),
            "text": {"type": "plain_text", "text": label},
            "url": url,
        })
    };
    let links: Vec<Value> = links.iter().filter(|(_, url)| !url.is_empty()).map(button).collect();
    let mut blocks = vec![section(text)];
    if !links.is_empty() {
        blocks.push(json!({"type": "actions", "block_id": "links", "elements": links}));
    }
    blocks
}

/// Small print.
pub fn context(text: &str) -> Value {
    json!({"type": "context", "elements": [{"type": "mrkdwn", "text": cut(text)}]})
}

/// The approval message: the plan, a field for changes, the buttons, the small print. Each button carries ticket and plan hash.
pub fn approval(text: &str, foot: &str, ticket: &str, plan_hash: &str) -> Vec<Value> {
    let value = json!({"ticket": ticket, "plan_hash": plan_hash});
    let mut blocks = sections(text);
    blocks.extend([
        json!({
            "type": "input",
            "block_id": CHANGES_BLOCK,
            "optional": true,
            "label": {"type": "plain_text", "text": "What should be different? (for Request changes)"},
            "element": {"type": "plain_text_input", "action_id": CHANGES_INPUT, "multiline": true, "max_length": 3000},
        }),
        json!({
            "type": "actions",
            "block_id": "decision",
            "elements": [
                button("approve", "Approve", Some("primary"), &value),
                button("request_changes", "Request changes", None, &value),
                button("reject", "Reject", Some("danger"), &value),
                button("view_logs", "View logs", None, &value),
            ],
        }),
        context(foot),
    ]);
    blocks
}

/// A message about a parked ticket, with what a person can do about it.
pub fn parked(text: &str, ticket: &str) -> Vec<Value> {
    let value = json!({ "ticket": ticket });
    let buttons = [button("retry", "Retry", Some("primary"), &value), button("view_logs", "View logs", None, &value)];
    vec![section(text), json!({"type": "actions", "block_id": "parked", "elements": buttons})]
}

/// What one click adds to a budget, in whole US dollars.
pub const EXTENSION: u64 = 5;

/// A ticket without money: a button that adds some to the cap that the message shows, and one that ends it.
pub fn out_of_money(text: &str, ticket: &str, cap: MicroUsd) -> Vec<Value> {
    let extend = json!({ "ticket": ticket, "usd": EXTENSION, "cap_micro_usd": cap });
    let buttons = [
        button("extend_budget", &format!("Extend by ${EXTENSION}"), Some("primary"), &extend),
        confirmed("Cancel and clean up", ticket, "cancel"),
        button("view_logs", "View logs", None, &json!({ "ticket": ticket })),
    ];
    vec![section(text), json!({"type": "actions", "block_id": "parked", "elements": buttons})]
}

/// An answer with a command that the person has to confirm.
pub fn proposal(text: &str, ticket: &str, word: &str) -> Vec<Value> {
    let label = match word {
        "retry" => format!("Retry {ticket}"),
        _ => format!("Cancel {ticket}"),
    };
    let button = confirmed(&label, ticket, word);
    vec![section(text), json!({"type": "actions", "block_id": "proposal", "elements": [button]})]
}

/// A button with a command that asks once more.
fn confirmed(label: &str, ticket: &str, word: &str) -> Value {
    let (title, what) = match word {
        "retry" => (format!("Retry {ticket}?"), format!("{ticket} tries again what stopped it.")),
        _ => (
            format!("Cancel {ticket}?"),
            format!("{ticket} stops. Its draft pull requests are closed and its branches deleted."),
        ),
    };
    let style = if word == "retry" { "primary" } else { "danger" };
    let mut button = button("confirm_command", label, Some(style), &json!({"ticket": ticket, "word": word}));
    button["confirm"] = json!({
        "title": {"type": "plain_text", "text": title},
        "text": {"type": "plain_text", "text": what},
        "confirm": {"type": "plain_text", "text": "Do it"},
        "deny": {"type": "plain_text", "text": "Leave it"},
    });
    button
}

fn button(action: &str, label: &str, style: Option<&str>, value: &Value) -> Value {
    let mut button = json!({
        "type": "button",
        "action_id": action,
        "text": {"type": "plain_text", "text": label},
        "value": value.to_string(),
    });
    if let Some(style) = style {
        button["style"] = json!(style);
    }
    button
}

/// What the buttons of a red pull request carry and lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedButtons {
    /// The ticket.
    pub ticket: String,
    /// Link of the pull request, or empty.
    pub pull_request: String,
    /// Repository and job of the red check, for its log; absent when it has none.
    pub job: Option<(String, u64)>,
}

/// CI is red and a person has to look: what is known, and the buttons View PR, View logs and Retry.
pub fn red(text: &str, buttons: &RedButtons) -> Vec<Value> {
    let mut value = json!({"ticket": buttons.ticket});
    let label = |label: &str| json!({"type": "plain_text", "text": label});
    let retry = json!({
        "type": "button", "action_id": "retry", "text": label("Retry"), "style": "primary", "value": value.to_string(),
    });
    if let Some((repository, job)) = &buttons.job {
        value["repository"] = json!(repository);
        value["job"] = json!(job);
    }
    let logs =
        json!({"type": "button", "action_id": "view_logs", "text": label("View logs"), "value": value.to_string()});
    let mut elements = vec![logs, retry];
    if !buttons.pull_request.is_empty() {
        let url = &buttons.pull_request;
        elements.insert(0, json!({"type": "button", "action_id": "view_pr", "text": label("View PR"), "url": url}));
    }
    vec![section(text), json!({"type": "actions", "block_id": "red", "elements": elements})]
}

/// The approval message after the decision: the plan without buttons, and what was decided.
pub fn decided(text: &str, decision: &str) -> Vec<Value> {
    [sections(text), vec![context(decision)]].concat()
}

fn cut(text: &str) -> String {
    if text.chars().count() <= SECTION_TEXT {
        return text.to_owned();
    }
    let kept: String = text.chars().take(SECTION_TEXT - 20).collect();
    format!("{kept}\n[cut]")
}
