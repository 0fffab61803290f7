//! Tool results as text a model reads well.

use chrono::{DateTime, SecondsFormat};
use workflows::contract::jira::Ticket;
use workflows::contract::sentry::{ErrorEvent, ErrorIssue};

use crate::github::{CodeHit, PullRequestLine, RepositoryLine};
use crate::sentry::Hour;

/// Largest tool result, in bytes.
pub(crate) const LIMIT: usize = 64 * 1024;

/// At most [`LIMIT`] bytes, with a note where it was cut.
pub(crate) fn capped(text: String) -> String {
    if text.len() <= LIMIT {
        return text;
    }
    let end = (0..=LIMIT - 200).rev().find(|&n| text.is_char_boundary(n)).unwrap_or_default();
    let (kept, rest) = text.split_at(end);
    format!("{kept}\n[truncated: {} more bytes; ask for a smaller part]", rest.len())
}

pub(super) fn hits(hits: &[CodeHit]) -> String {
    if hits.is_empty() {
        return "Nothing found. Try fewer or other words.".to_owned();
    }
    let hit = |hit: &CodeHit| {
        let fragments: Vec<String> =
            hit.fragments.iter().flat_map(|fragment| fragment.lines()).map(|line| format!("    {line}")).collect();
        format!("{} {}\n{}", hit.repository, hit.path, fragments.join("\n"))
    };
    hits.iter().map(hit).map(|text| text.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

pub(super) fn repositories(repositories: &[RepositoryLine], more: bool) -> String {
    let language = |r: &RepositoryLine| if r.language.is_empty() { "-".to_owned() } else { r.language.clone() };
    let line = |r: &RepositoryLine| format!("{} ({}) {}", r.name, language(r), r.description).trim_end().to_owned();
    let mut lines: Vec<String> = repositories.iter().map(line).collect();
    if more {
        lines.push("[truncated: there are more repositories; search_code finds code in all of them]".to_owned());
    }
    if lines.is_empty() { "No repository can be seen.".to_owned() } else { lines.join("\n") }
}

pub(super) fn tree(paths: &[String], below: Option<&str>, truncated: bool) -> String {
    let folder = below.map(|path| path.trim_matches('/')).filter(|path| !path.is_empty() && *path != ".");
    let inside = |path: &&String| {
        folder.is_none_or(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
    };
    let mut lines: Vec<&str> = paths.iter().filter(inside).map(String::as_str).collect();
    if truncated {
        lines.push("[GitHub left out files: the repository is very large]");
    }
    if lines.is_empty() { "No files there.".to_owned() } else { lines.join("\n") }
}

/// A file with line numbers.
pub(crate) fn numbered(text: &str) -> String {
    text.lines().enumerate().map(|(n, line)| format!("{:>5}  {line}", n + 1)).collect::<Vec<_>>().join("\n")
}

pub(super) fn pull_requests(list: &[PullRequestLine]) -> String {
    if list.is_empty() {
        return "No pull requests yet.".to_owned();
    }
    list.iter().map(|pr| format!("#{} {} ({})", pr.number, pr.title, pr.state)).collect::<Vec<_>>().join("\n")
}

pub(super) fn ticket(ticket: &Ticket) -> String {
    let comments: Vec<String> =
        ticket.comments.iter().map(|comment| format!("\n{} wrote:\n{}", comment.author, comment.body)).collect();
    format!(
        "{} {} ({}, {}, {})\n\n{}\n{}\n{}",
        ticket.key,
        ticket.summary,
        ticket.issue_type,
        ticket.priority,
        ticket.status,
        ticket.description,
        ticket.links.join("\n"),
        comments.join("\n")
    )
}

pub(super) fn error_issue(issue: &ErrorIssue) -> String {
    let state = if issue.unresolved { "unresolved" } else { "not unresolved" };
    format!(
        "{} {}\n{}\nlevel {}, {state}, project {}, platform {}\n{} events in 24 hours, {} in all, {} users\nfirst seen {}, last seen {}",
        issue.short_id,
        issue.title,
        issue.culprit,
        issue.level.as_str(),
        issue.project,
        issue.platform,
        issue.events_24h,
        issue.events,
        issue.users,
        time(issue.first_seen),
        time(issue.last_seen),
    )
}

pub(super) fn error_event(event: &ErrorEvent) -> String {
    let mut lines = vec![format!("event {} at {}", event.id, time(event.at)), event.message.clone()];
    for (name, value) in [("release", &event.release), ("environment", &event.environment), ("request", &event.request)]
    {
        if !value.is_empty() {
            lines.push(format!("{name}: {value}"));
        }
    }
    if event.frames.is_empty() {
        lines.push("There is no stack trace.".to_owned());
    } else {
        lines.push("Frames, innermost last:".to_owned());
    }
    lines.extend(event.frames.iter().map(|frame| {
        let own = if frame.in_app { " (own code)" } else { "" };
        format!("{}:{} {}{own}  {}", frame.path, frame.line, frame.function, frame.text).trim_end().to_owned()
    }));
    if !event.tags.is_empty() {
        lines.push("Tags:".to_owned());
        lines.extend(event.tags.iter().cloned());
    }
    lines.join("\n")
}

pub(super) fn statistics(hours: &[Hour]) -> String {
    let total: u64 = hours.iter().map(|hour| hour.events).sum();
    let lines = hours.iter().map(|hour| format!("{} {}", time(hour.begins), hour.events));
    std::iter::once(format!("{total} events in 24 hours. Per hour, from:")).chain(lines).collect::<Vec<_>>().join("\n")
}

fn time(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0)
        .map_or_else(|| "unknown".to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_cut_at_folder_names_not_at_prefixes() {
        let paths = ["shop/a.py", "shopping/b.py", "README.md"].map(str::to_owned);
        assert_eq!(tree(&paths, Some("shop/"), false), "shop/a.py");
        assert_eq!(tree(&paths, Some("."), false).lines().count(), 3);
        assert_eq!(tree(&paths, Some("none"), false), "No files there.");
    }

    #[test]
    fn a_long_result_says_that_it_was_cut() {
        let text = capped("ä".repeat(LIMIT));
        assert!(text.len() <= LIMIT && text.contains("[truncated:"));
    }
}
