//! Slack's Block Kit around our texts.

use serde_json::{Value, json};

/// Longest text of a section block, from Slack's Block Kit reference.
const SECTION_TEXT: usize = 3000;

/// Escapes the three characters that Slack's mrkdwn gives meaning to.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
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
