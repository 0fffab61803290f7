//! Slack's Block Kit around our texts.

use serde_json::{Value, json};

/// Longest text of a section block, from Slack's Block Kit reference.
const SECTION_TEXT: usize = 3000;

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
fn utc(seconds: i64) -> String {
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

/// Small print.
pub fn context(text: &str) -> Value {
    json!({"type": "context", "elements": [{"type": "mrkdwn", "text": cut(text)}]})
}

/// The approval message: the plan, the buttons, the small print. Each button carries ticket and plan hash.
pub fn approval(text: &str, foot: &str, ticket: &str, plan_hash: &str) -> Vec<Value> {
    let value = json!({"ticket": ticket, "plan_hash": plan_hash}).to_string();
    let button = |action: &str, label: &str, style: &str| {
        json!({
            "type": "button",
            "action_id": action,
            "text": {"type": "plain_text", "text": label},
            "style": style,
            "value": value,
        })
    };
    vec![
        section(text),
        json!({
            "type": "actions",
            "block_id": "decision",
            "elements": [button("approve", "Approve", "primary"), button("reject", "Reject", "danger")],
        }),
        context(foot),
    ]
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
    vec![section(text), context(decision)]
}

fn cut(text: &str) -> String {
    if text.chars().count() <= SECTION_TEXT {
        return text.to_owned();
    }
    let kept: String = text.chars().take(SECTION_TEXT - 20).collect();
    format!("{kept}\n[cut]")
}
