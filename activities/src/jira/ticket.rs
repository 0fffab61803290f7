//! From Jira's JSON to the ticket that agents and messages see, capped with visible notes.

use serde_json::Value;
use workflows::contract::access::{Person, Via};
use workflows::contract::ids::TicketKey;
use workflows::contract::jira::{Ticket, TicketComment};

use super::adf_read::markdown;

/// Most bytes of the description, and of all comments together.
const TEXT_LIMIT: usize = 16 * 1024;
/// Most bytes of a ticket as JSON: it enters a workflow's history.
const TICKET_LIMIT: usize = 64 * 1024;
/// Most links.
const LINKS: usize = 20;

/// Comments of a ticket, as read.
pub(super) struct Comments {
    /// The newest ones, newest first, without what we wrote for the ticket.
    pub(super) newest: Vec<Value>,
    /// How many older ones there are.
    pub(super) earlier: usize,
}

/// The ticket. What is left out is noted where it would stand.
pub(super) fn read_ticket(key: &TicketKey, url: &str, issue: &Value, comments: &Comments) -> Ticket {
    let fields = &issue["fields"];
    let name = |field: &str| cut_line(fields[field]["name"].as_str().unwrap_or_default(), 200);
    let labels = fields["labels"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let description = markdown(&fields["description"]);
    let mut ticket = Ticket {
        key: key.clone(),
        url: url.to_owned(),
        summary: cut_line(fields["summary"].as_str().unwrap_or_default(), 500),
        description: cut(&description, TEXT_LIMIT),
        comments: read_comments(comments, TEXT_LIMIT),
        labels: labels.take(50).map(str::to_owned).collect(),
        priority: name("priority"),
        issue_type: name("issuetype"),
        status: name("status"),
        reporter: person(&fields["reporter"]),
        links: fields["issuelinks"].as_array().into_iter().flatten().filter_map(link).take(LINKS).collect(),
    };
    // Control characters take six bytes each as JSON.
    let mut limit = TEXT_LIMIT;
    while limit > 1024 && serde_json::to_vec(&ticket).map_or(0, |json| json.len()) > TICKET_LIMIT {
        limit /= 2;
        ticket.description = cut(&description, limit);
        ticket.comments = read_comments(comments, limit);
    }
    ticket
}

/// The newest comments that fit, oldest first.
fn read_comments(comments: &Comments, limit: usize) -> Vec<TicketComment> {
    let mut newest = comments.newest.iter();
    let mut left = limit;
    let mut kept = Vec::new();
    for comment in newest.by_ref() {
        let author = cut_line(comment["author"]["displayName"].as_str().unwrap_or("unknown"), 100);
        let body = cut(&markdown(&comment["body"]), left);
        left = left.saturating_sub(body.len() + author.len());
        kept.push(TicketComment { author, body });
        if left == 0 {
            break;
        }
    }
    let earlier = newest.count() + comments.earlier;
    if earlier > 0 {
        kept.push(TicketComment {
            author: "Ticketwright".to_owned(),
            body: format!("[cut: {earlier} earlier comments]"),
        });
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
    Some(cut_line(&format!("{verb} {}: {summary}", other["key"].as_str()?), 200))
}

/// At most `limit` bytes, with a note on a line of its own where it was cut.
pub(super) fn cut(text: &str, limit: usize) -> String {
    noted(text, limit, "\n")
}

fn cut_line(text: &str, limit: usize) -> String {
    noted(text, limit, " ")
}

fn noted(text: &str, limit: usize, before_note: &str) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = (0..=limit).rev().find(|&n| text.is_char_boundary(n)).unwrap_or_default();
    let (kept, rest) = text.split_at(end);
    format!("{kept}{before_note}[cut: {} more characters]", rest.chars().count())
}
