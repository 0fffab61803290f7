//! Comments on pull requests that call us: a line that begins with `@agent`.
//!
//! Shape: <https://docs.github.com/en/webhooks/webhook-events-and-payloads#issue_comment>. Whether the author may have work
//! done is asked of GitHub by the run: `author_association` says what somebody is to the project, not what they may do.

use chrono::DateTime;
use serde::Deserialize;
use workflows::contract::access::{Person, Via};
use workflows::contract::ids::RepositoryName;
use workflows::contract::trigger::{EventId, Instructed, Trigger};

use super::{Meaning, Unreadable};

/// Longest instruction, in characters; the rest is cut.
const LONGEST: usize = 4_000;
/// How the hidden marker of our own comments begins.
const OUR_MARK: &str = "<!-- ticketwright:";

#[derive(Debug, Deserialize)]
pub(super) struct Issue {
    number: u64,
    /// There only when the issue is a pull request.
    pull_request: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Comment {
    id: u64,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    created_at: String,
    /// Absent when the account is gone.
    user: Option<Author>,
}

#[derive(Debug, Deserialize)]
struct Author {
    login: String,
    #[serde(default, rename = "type")]
    kind: String,
}

pub(super) fn read(
    repository: RepositoryName,
    issue: &Issue,
    comment: &Comment,
    handle: &str,
) -> Result<Meaning, Unreadable> {
    let (number, id) = (issue.number, comment.id);
    if issue.pull_request.is_none() {
        return Meaning::ignored(format!("comment {id} is on issue #{number}, not on a pull request"));
    }
    let body = comment.body.as_deref().unwrap_or_default();
    let Some(instruction) = instruction(body, handle) else {
        return Meaning::ignored(format!("comment {id} on #{number} has no line that begins with @{handle}"));
    };
    if body.contains(OUR_MARK) {
        return Meaning::ignored(format!("comment {id} on #{number} is one of our own"));
    }
    let Some(author) = &comment.user else {
        return Meaning::ignored(format!("comment {id} on #{number} has no author any more"));
    };
    if author.kind == "Bot" || author.login.ends_with("[bot]") {
        return Meaning::ignored(format!("comment {id} on #{number} is by the bot {}", author.login));
    }
    let created = DateTime::parse_from_rfc3339(&comment.created_at)
        .map_err(|error| Unreadable(format!("comment.created_at {:?} is no time: {error}", comment.created_at)))?;
    Ok(Meaning::Trigger(Trigger::Instructed(Instructed {
        repository,
        number,
        comment: id,
        instruction,
        by: Person { via: Via::Github, id: author.login.clone(), name: author.login.clone() },
        event: EventId { id: format!("github-comment-{id}"), at: created.timestamp_millis() },
    })))
}

/// What follows the first line that begins with our handle, to the end of the comment; `None`: nobody calls us. Lines in
/// fenced code are examples, and quoted lines are somebody else's.
fn instruction(body: &str, handle: &str) -> Option<String> {
    let (mut fence, mut rest) = (None, body);
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let text = line.trim_start();
        match fence {
            None => fence = ["```", "~~~"].into_iter().find(|mark| text.starts_with(mark)),
            Some(mark) if text.starts_with(mark) => fence = None,
            Some(_) => {}
        }
        if fence.is_none()
            && let Some(said) = called(text, handle)
        {
            let whole = format!("{said}\n{after}").replace('\r', "");
            let whole = whole.trim_start_matches([',', ':', ' ', '\t']).trim();
            return Some(whole.chars().take(LONGEST).collect());
        }
        rest = after;
    }
    None
}

/// What follows `@handle` at the beginning of a line. `@agents` and `@agent-smith` are other names.
fn called<'a>(line: &'a str, handle: &str) -> Option<&'a str> {
    let (name, after) = line.strip_prefix('@')?.split_at_checked(handle.len())?;
    let ends = !after.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '/' | '['));
    (name.eq_ignore_ascii_case(handle) && ends).then_some(after)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn meaning(body: &str, login: &str, kind: &str, on_pull_request: bool) -> Meaning {
        let mut issue = json!({"number": 3});
        if on_pull_request {
            issue["pull_request"] = json!({"url": "..."});
        }
        let comment = json!({"id": 77, "body": body, "created_at": "2026-11-21T06:00:00Z",
                             "author_association": "OWNER", "user": {"login": login, "type": kind}});
        let (issue, comment) = (serde_json::from_value(issue).unwrap(), serde_json::from_value(comment).unwrap());
        read("acme/shop-api".parse().unwrap(), &issue, &comment, "agent").unwrap()
    }

    fn said(body: &str) -> Option<String> {
        instruction(body, "agent")
    }

    #[test]
    fn a_call_names_who_where_and_what() {
        let Meaning::Trigger(Trigger::Instructed(instructed)) = meaning("@Agent add a test", "ana", "User", true)
        else {
            panic!("not a call")
        };
        assert_eq!((instructed.number, instructed.comment, instructed.instruction.as_str()), (3, 77, "add a test"));
        assert_eq!((instructed.by.via, instructed.by.id.as_str()), (Via::Github, "ana"));
        assert_eq!(instructed.event, EventId { id: "github-comment-77".into(), at: 1_795_240_800_000 });
        assert_eq!(instructed.repository.as_str(), "acme/shop-api");
    }

    #[test]
    fn issues_bots_and_our_own_words_have_no_effect_and_the_log_says_why() {
        for (body, login, kind, on_pull_request, why) in [
            ("@agent go", "ana", "User", false, "not on a pull request"),
            ("nice work", "ana", "User", true, "no line that begins with @agent"),
            ("@agent go", "ci[bot]", "Bot", true, "by the bot ci[bot]"),
            ("@agent go", "helper", "Bot", true, "by the bot helper"),
            ("@agent go\n<!-- ticketwright: 1 -->", "ticketwright", "User", true, "our own"),
        ] {
            let Meaning::Ignored(said) = meaning(body, login, kind, on_pull_request) else {
                panic!("{body} by {login}")
            };
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn the_handle_stands_at_the_beginning_of_a_line() {
        for (body, expected) in [
            ("@agent fix the test", "fix the test"),
            ("@AGENT: fix it", "fix it"),
            ("Thanks.\r\n  @agent, also\r\nupdate the docs\r\n", "also\nupdate the docs"),
            ("@agent", ""),
            ("@agent   \n", ""),
            ("@agent\nfix\n```\ncode\n```", "fix\n```\ncode\n```"),
        ] {
            assert_eq!(said(body).as_deref(), Some(expected), "{body:?}");
        }
        for body in [
            "ask @agent",
            "> @agent fix",
            "@agents fix",
            "@agent-smith fix",
            "@agent/team fix",
            "`@agent fix`",
            "```\n@agent fix\n```",
            "~~~\n@agent fix",
            "@age",
            "@agénts",
            "",
        ] {
            assert_eq!(said(body), None, "{body:?}");
        }
    }

    #[test]
    fn a_long_instruction_is_cut() {
        let long = said(&format!("@agent {}", "ü".repeat(5_000))).unwrap();
        assert_eq!(long.chars().count(), 4_000);
    }
}
