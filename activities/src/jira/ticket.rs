//! From Jira's JSON to the ticket that agents and messages see, capped with visible notes.

use serde_json::Value;
use workflows::contract::access::{Person, Via};
use workflows::contract::ids::TicketKey;
use workflows::contract::jira::{Ticket, TicketComment};

use super::adf_read::markdown;

/// Most characters of the description, and of all comments together.
const TEXT_LIMIT: usize = 16 * 1024;
/// Most links.
const LINKS: usize = 20;

pub(super) fn read_ticket(key: &TicketKey, url: &str, issue: &Value, comments: &[Value], me: &str) -> Ticket {
    let fields = &issue["fields"];
    let name = |field: &str| fields[field]["name"].as_str().unwrap_or_default().to_owned();
    let labels = fields["labels"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Ticket {
        key: key.clone(),
        url: url.to_owned(),
        summary: cut(fields["summary"].as_str().unwrap_or_default(), 500),
        description: cut(&markdown(&fields["description"]), TEXT_LIMIT),
        comments: read_comments(comments, me),
        labels: labels.take(50).map(str::to_owned).collect(),
        priority: name("priority"),
        issue_type: name("issuetype"),
        status: name("status"),
        reporter: person(&fields["reporter"]),
        links: fields["issuelinks"].as_array().into_iter().flatten().filter_map(link).take(LINKS).collect(),
    }
}

/// The newest comments that fit, oldest first; our own are left out.
fn read_comments(comments: &[Value], me: &str) -> Vec<TicketComment> {
    let mut left = TEXT_LIMIT;
    let mut kept = Vec::new();
    let others = comments.iter().filter(|comment| comment["author"]["accountId"].as_str() != Some(me));
    for comment in others.rev() {
        if left == 0 {
            break;
        }
        let body = cut(&markdown(&comment["body"]), left);
        left = left.saturating_sub(body.len());
        let author = comment["author"]["displayName"].as_str().unwrap_or("unknown").to_owned();
        kept.push(TicketComment { author, body });
    }
    kept.reverse();
    kept
}

fn person(user: &Value) -> Option<Person> {
    let id = user["accountId"].as_str()?.to_owned();
    Some(Person { via: Via::Jira, id, name: user["displayName"].as_str().unwrap_or_default().to_owned() })
}

fn link(link: &Value) -> Option<String> {
    let (direction, other) = match (&link["outwardIssue"], &link["inwardIssue"]) {
        (Value::Object(_), _) => ("outward", &link["outwardIssue"]),
        (_, Value::Object(_)) => ("inward", &link["inwardIssue"]),
        _ => return None,
    };
    let verb = link["type"][direction].as_str().unwrap_or("relates to");
    let summary = other["fields"]["summary"].as_str().unwrap_or_default();
    Some(cut(&format!("{verb} {}: {summary}", other["key"].as_str()?), 200))
}

/// At most `limit` bytes, with a note where it was cut.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = (0..=limit).rev().find(|&n| text.is_char_boundary(n)).unwrap_or_default();
    let (kept, rest) = text.split_at(end);
    format!("{kept}\n[cut: {} more characters]", rest.chars().count())
}
