//! What people in Slack read: where tickets stand, their logs, the commands there are. All of it in mrkdwn, for one person.

use workflows::contract::ids::TicketKey;
use workflows::contract::status::{CheckLog, LogEntry, ParkReason, Stage, TicketStatus};
use workflows::contract::tasks::{TaskLine, TaskState};
use workflows::contract::trigger::Word;
use workflows::messages::counted;
use workflows::messages::slack::{EXTENSION, date, escape};

/// Steps of a progress bar.
const BAR: usize = 10;
/// Longest list of log entries, in characters: a section of Slack takes 3,000.
const LOG: usize = 2800;

/// What happens to those whose word has no effect.
const TOLD: &str = "you are told why";

/// Every command, with what it is for.
pub(crate) const HELP: &str = "*What you can ask me*\n\
    `/agent status SHOP-1` where a ticket stands\n\
    `/agent list [stage]` running tickets, or those of one stage\n\
    `/agent logs SHOP-1 [20]` what happened last\n\
    `/agent cost SHOP-1` what it cost, run by run\n\
    *What you can tell me*\n\
    `/agent approve SHOP-1 [plan hash]` build the plan; the hash stands under it, from version 2 on it is needed\n\
    `/agent request-changes SHOP-1 what should be different` a new plan, and a new approval\n\
    `/agent reject SHOP-1 [why]` no; drafts and branches are removed\n\
    `/agent steer SHOP-1 what to mind` from now on; a parked ticket goes on with it, unless it lacks money\n\
    `/agent retry SHOP-1` let a parked ticket go on\n\
    `/agent extend SHOP-1 5` let it spend $5 more; a ticket that waits for money goes on\n\
    `/agent cancel SHOP-1` stop and clean up\n\
    Or mention me with a question. Work begins with the label on a ticket in Jira.";

/// A command that cannot be understood.
pub(crate) fn usage(fault: &str) -> String {
    format!("{}\n`/agent help` lists all commands.", escape(fault))
}

/// Where a ticket stands. `now`: seconds since 1970.
pub(crate) fn status(ticket: &TicketKey, state: &TaskState, now: i64) -> String {
    let Some(status) = &state.status else {
        let when = if state.running { "It runs on as soon as a worker is back" } else { "Its history is gone" };
        return format!("*{ticket}* · {}\nNo worker answers, so this is all I know. {when}.", words(&state.state));
    };
    // A run that was terminated says nothing of it itself.
    let stage = match (state.running, status.stage.is_end()) {
        (false, false) => words(&state.state),
        _ => words(status.stage.as_str()),
    };
    let mut lines = vec![format!("*{ticket}* · {stage}{}{}", task(status), bar(status))];
    if !status.summary.is_empty() {
        lines.push(escape(&status.summary));
    }
    match (&status.parked, state.running) {
        (Some(parked), _) => lines.push(format!("⏸ {}: {}", words(parked.reason.as_str()), escape(&parked.message))),
        (None, true) => {
            let agent = status.stage.agent().map_or_else(String::new, |agent| format!("{agent} agent: "));
            lines.push(format!("{agent}{}", escape(&status.doing)));
        }
        (None, false) => {}
    }
    lines.push(facts(status, now));
    let links = links(status);
    if !links.is_empty() {
        lines.push(links);
    }
    lines.push(format!("`/agent logs {ticket}`{}", next(ticket, status)));
    lines.join("\n")
}

fn task(status: &TicketStatus) -> String {
    if status.stage == Stage::Executing && status.tasks > 0 {
        format!(" (task {} of {})", (status.tasks_done + 1).min(status.tasks), status.tasks)
    } else {
        String::new()
    }
}

/// How far a ticket is, in per cent: of its way, not of its time.
fn progress(status: &TicketStatus) -> usize {
    let tasks = status.tasks_done * 50 / status.tasks.max(1);
    match status.stage {
        Stage::Discovering => 5,
        Stage::Planning => 15,
        Stage::AwaitingApproval => 25,
        Stage::Executing => 30 + tasks,
        Stage::WatchingCi | Stage::FixingCi => 85,
        Stage::ReadyForReview => 95,
        Stage::Parked if status.plan_version == 0 => 10,
        Stage::Parked => 25 + tasks,
        _ => 100,
    }
}

fn bar(status: &TicketStatus) -> String {
    if status.stage.is_end() || status.stage == Stage::CleaningUp {
        return String::new();
    }
    let done = progress(status);
    let full = (done * BAR + 50) / 100;
    format!("   {}{} {done} %", "▓".repeat(full), "░".repeat(BAR.saturating_sub(full)))
}

fn facts(status: &TicketStatus, now: i64) -> String {
    let mut facts = vec![];
    let plan = status.plan_hash.as_ref().map(|hash| format!("plan v{} `{hash}`", status.plan_version));
    match (&status.approved_by, plan) {
        (Some(by), Some(plan)) => facts.push(format!("approved by {} ({plan})", escape(by))),
        (_, Some(plan)) => facts.push(plan),
        _ => {}
    }
    facts.push(format!("{} of {}", status.spent, status.cap));
    facts.push(format!("last news {} ago", ago(now - status.updated_at)));
    facts.join(" · ")
}

fn links(status: &TicketStatus) -> String {
    let pull_requests = status.pull_requests.iter().map(|url| {
        let number = url.rsplit('/').next().unwrap_or_default();
        format!("<{url}|PR #{number}>")
    });
    let others = [("Jira", &status.ticket_url), ("Web UI", &status.run_url)];
    let others = others.into_iter().filter(|(_, url)| !url.is_empty()).map(|(name, url)| format!("<{url}|{name}>"));
    pull_requests.chain(others).collect::<Vec<_>>().join(" · ")
}

/// The commands that make sense now.
fn next(ticket: &TicketKey, status: &TicketStatus) -> String {
    let commands: &[&str] = match status.stage {
        Stage::AwaitingApproval => &["approve", "request-changes", "reject"],
        Stage::Parked if waits_for_money(status) => &["extend", "cancel"],
        Stage::Parked => &["retry", "steer", "cancel"],
        Stage::Discovering | Stage::Planning | Stage::Executing | Stage::WatchingCi | Stage::FixingCi => {
            &["steer", "cancel"]
        }
        _ => &[],
    };
    let hash = status.plan_hash.as_deref().unwrap_or_default();
    let line = |command: &&str| match *command {
        "approve" => format!("  `/agent approve {ticket} {hash}`"),
        "extend" => format!("  `/agent extend {ticket} {EXTENSION}`"),
        "steer" | "request-changes" => {
            format!("  `/agent {command} {ticket} <text>`").replace('<', "&lt;").replace('>', "&gt;")
        }
        _ => format!("  `/agent {command} {ticket}`"),
    };
    commands.iter().map(line).collect()
}

fn waits_for_money(status: &TicketStatus) -> bool {
    status.parked.as_ref().is_some_and(|parked| parked.reason == ParkReason::Budget)
}

/// Tickets, one per line.
pub(crate) fn list(lines: &[TaskLine], stage: Option<Stage>, now: i64) -> String {
    if lines.is_empty() {
        return match stage {
            Some(stage) => format!("No ticket is {}.", words(stage.as_str())),
            None => "No ticket is running. Work begins with the label on a ticket in Jira.".to_owned(),
        };
    }
    let shown = lines.iter().map(|line| {
        let when = match line.ended_at {
            Some(at) => format!("ended {} ago", ago(now - at)),
            None => format!("started {} ago", ago(now - line.started_at)),
        };
        format!("*{}* · {} · {when}", line.ticket, words(&line.state))
    });
    shown.collect::<Vec<_>>().join("\n")
}

/// The last entries of a log, as many of the newest as fit; what stopped a parked ticket and its checks stand first.
pub(crate) fn log(ticket: &TicketKey, entries: &[LogEntry], status: Option<&TicketStatus>) -> String {
    let mut head = vec![format!("*{ticket}* · last {}", counted(entries.len(), "log entry", "log entries"))];
    if let Some(parked) = status.and_then(|status| status.parked.as_ref()) {
        head.push(format!("⏸ {}: {}", words(parked.reason.as_str()), escape(&parked.message)));
    }
    if let Some(status) = status.filter(|status| !status.pull_requests.is_empty()) {
        let checks = status.pull_requests.iter().map(|url| format!("<{url}/checks|checks of PR #{}>", tail(url)));
        let run = Some(&status.run_url).filter(|url| !url.is_empty()).map(|url| format!("<{url}|Web UI>"));
        head.push(checks.chain(run).collect::<Vec<_>>().join(" · "));
    }
    let mut room = LOG.saturating_sub(head.iter().map(|line| line.chars().count() + 1).sum());
    let mut lines: Vec<String> = vec![];
    for entry in entries.iter().rev() {
        let line = format!("{}  {}", date(entry.at), escape(&entry.text));
        let length = line.chars().count() + 1;
        if length > room {
            break;
        }
        room -= length;
        lines.push(line);
    }
    head.extend(lines.into_iter().rev());
    head.join("\n")
}

/// The last words of a red check, in a block of code.
pub(crate) fn check_log(ticket: &TicketKey, log: &CheckLog) -> String {
    let step = if log.step.is_empty() { String::new() } else { format!(", step \"{}\"", escape(&log.step)) };
    let whole = if log.url.is_empty() { String::new() } else { format!(" · <{}|whole log>", log.url) };
    let head = format!("*{ticket}* · check {}{step}, its last lines{whole}", escape(&log.check));
    // A fence inside would end ours.
    let text = escape(&log.tail.replace("```", "` ` `"));
    let room = LOG.saturating_sub(head.chars().count());
    let skip = text.chars().count().saturating_sub(room);
    let mut shown: &str = text.char_indices().nth(skip).map_or("", |(at, _)| &text[at..]);
    if skip > 0
        && let Some((_, whole_lines)) = shown.split_once('\n')
    {
        shown = whole_lines;
    }
    format!("{head}\n```\n{}\n```", shown.trim_end())
}

fn tail(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}

/// A key that nobody knows, and what may have been meant.
pub(crate) fn unknown(typed: &str, near: &[TaskLine], label: &str) -> String {
    let typed: String = typed.chars().take(60).collect();
    let typed = escape(&typed);
    let names: Vec<String> = near.iter().map(|line| format!("*{}* ({})", line.ticket, words(&line.state))).collect();
    match names.split_last() {
        None => format!(
            "I don't know {typed}. `/agent list` shows the running tickets; a ticket starts with the label {label} in Jira."
        ),
        Some((last, [])) => format!("I don't know {typed}. Did you mean {last}?"),
        Some((last, rest)) => format!("I don't know {typed}. Did you mean {} or {last}?", rest.join(", ")),
    }
}

/// What becomes of a command that was passed on. Whether it counts is judged by the ticket's run, which tells a person why not.
pub(crate) fn taken(ticket: &TicketKey, word: &Word) -> String {
    match word {
        Word::Approve(_) => {
            format!(
                "Your approval is passed on to {ticket}. The plan's message changes when it counts; if not, {TOLD}."
            )
        }
        Word::Reject(_) => {
            format!(
                "Your rejection is passed on to {ticket}. The plan's message changes when it counts; if not, {TOLD}."
            )
        }
        Word::RequestChanges(_) => {
            format!(
                "Your changes are passed on to {ticket}. A new plan follows for approval when they count; if not, {TOLD}."
            )
        }
        Word::Retry(_) => format!("Your retry is passed on to {ticket}; if it does not count, {TOLD}."),
        Word::Cancel(_) => format!("Your cancel is passed on to {ticket}; if it does not count, {TOLD}."),
        Word::Steer(_) => format!("What to mind is passed on to {ticket}; if it does not count, {TOLD}."),
        Word::ExtendBudget(extend) => {
            format!(
                "Your ${:.2} more are passed on to {ticket}: `/agent cost {ticket}` shows the new cap. If they do not count, \
                 {TOLD}.",
                extend.usd
            )
        }
    }
}

fn words(name: &str) -> String {
    escape(&name.replace('_', " "))
}

/// A time span in its largest unit.
fn ago(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3_600),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use workflows::contract::money::MicroUsd;
    use workflows::contract::status::Parked;

    use super::*;

    fn executing() -> TicketStatus {
        TicketStatus {
            ticket: "SHOP-1".into(),
            summary: "Totals & <discounts>".into(),
            stage: Stage::Executing,
            parked: None,
            doing: "task-2 in shop-api".into(),
            plan_hash: Some("4f2a91c7".into()),
            plan_version: 1,
            approved_by: Some("Ana (Slack)".into()),
            tasks_done: 1,
            tasks: 2,
            pull_requests: vec!["https://github.example/acme/shop-api/pull/7".into()],
            spent: MicroUsd(90_000),
            cap: MicroUsd(12_000_000),
            commands: vec![],
            updated_at: 1_000,
            ticket_url: "https://jira.example/browse/SHOP-1".into(),
            run_url: String::new(),
        }
    }

    fn key() -> TicketKey {
        "SHOP-1".parse().unwrap()
    }

    #[test]
    fn a_status_says_everything_at_a_glance() {
        let state = TaskState { status: Some(executing()), running: true, state: "executing".into(), ended_at: None };
        let text = status(&key(), &state, 1_012);
        for part in [
            "*SHOP-1* · executing (task 2 of 2)   ▓▓▓▓▓▓░░░░ 55 %",
            "Totals &amp; &lt;discounts&gt;",
            "execution agent: task-2 in shop-api",
            "approved by Ana (Slack) (plan v1 `4f2a91c7`) · $0.090 of $12.00 · last news 12 s ago",
            "<https://github.example/acme/shop-api/pull/7|PR #7> · <https://jira.example/browse/SHOP-1|Jira>",
            "`/agent logs SHOP-1`  `/agent steer SHOP-1 &lt;text&gt;`  `/agent cancel SHOP-1`",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn without_a_worker_the_stage_is_still_known() {
        let state = TaskState { status: None, running: true, state: "awaiting_approval".into(), ended_at: None };
        let text = status(&key(), &state, 0);
        assert!(text.starts_with("*SHOP-1* · awaiting approval\nNo worker answers"), "{text}");
        let fixing = TicketStatus { stage: Stage::FixingCi, ..executing() };
        let fixing = TaskState { status: Some(fixing), running: true, state: "fixing_ci".into(), ended_at: None };
        let text = status(&key(), &fixing, 0);
        assert!(text.contains("\nci agent: task-2 in shop-api\n"), "{text}");
        assert!(text.contains("· fixing ci   ▓▓▓▓▓▓▓▓▓░ 85 %") && text.contains("/agent cancel SHOP-1"), "{text}");
        let reason = Parked { reason: ParkReason::Budget, message: "$11.98 of $12.00 are spent.".into() };
        let poor = TicketStatus { stage: Stage::Parked, parked: Some(reason), ..executing() };
        let poor = TaskState { status: Some(poor), running: true, state: "parked".into(), ended_at: None };
        let text = status(&key(), &poor, 0);
        assert!(text.contains("⏸ budget: $11.98") && text.contains("`/agent extend SHOP-1 5`"), "{text}");
        let ended = TaskState { status: Some(executing()), running: false, state: "terminated".into(), ended_at: None };
        assert!(status(&key(), &ended, 0).contains("· terminated"));
    }

    #[test]
    fn a_log_keeps_its_newest_entries_and_says_what_stopped_the_ticket() {
        let entries: Vec<LogEntry> =
            (0..50).map(|n| LogEntry { at: n, text: format!("entry {n} {}", "x".repeat(200)) }).collect();
        let mut parked = executing();
        let message = "`test` is red".to_owned();
        parked.parked = Some(Parked { reason: ParkReason::CiFailed, message });
        let text = log(&key(), &entries, Some(&parked));
        assert!(
            text.contains("⏸ ci failed: `test` is red") && text.contains("/pull/7/checks|checks of PR #7>"),
            "{text}"
        );
        assert!(text.contains("entry 49") && !text.contains("entry 0 "), "{text}");
        assert!(text.chars().count() <= 3000);
    }

    #[test]
    fn a_red_checks_last_lines_are_shown_as_they_are() {
        let mut log = CheckLog {
            job: 7,
            check: "test <3.12>".into(),
            step: "Run pytest".into(),
            url: "https://github.example/job/7".into(),
            tail: "FAILED a < b\n```\n@channel".into(),
        };
        assert_eq!(
            check_log(&key(), &log),
            "*SHOP-1* · check test &lt;3.12&gt;, step \"Run pytest\", its last lines · <https://github.example/job/7|whole log>\n\
             ```\nFAILED a &lt; b\n` ` `\n@channel\n```"
        );
        log.tail = (0..400).map(|n| format!("line {n} <\n")).collect();
        let text = check_log(&key(), &log);
        assert!(
            text.chars().count() < 3000 && text.contains("line 399 &lt;\n```") && !text.contains("line 0 "),
            "{text}"
        );
    }

    #[test]
    fn a_command_that_was_passed_on_promises_no_effect() {
        use workflows::contract::access::{Person, Via};
        use workflows::contract::trigger::{Approve, Command, ExtendBudget, Reject, RequestChanges, Steer};

        let by = || Person { via: Via::Slack, id: "U0BO".into(), name: "bo".into() };
        for word in [
            Word::Approve(Approve { by: by(), plan_hash: None, comment: None }),
            Word::Reject(Reject { by: by(), plan_hash: None, comment: None }),
            Word::RequestChanges(RequestChanges { by: by(), plan_hash: None, comment: "shorter".into() }),
            Word::Retry(Command { by: by() }),
            Word::Cancel(Command { by: by() }),
            Word::Steer(Steer { by: by(), text: "the cache".into() }),
            Word::ExtendBudget(ExtendBudget { by: by(), usd: 2.5, cap: None }),
        ] {
            let text = taken(&key(), &word);
            assert!(text.contains("passed on to SHOP-1") && text.ends_with("you are told why."), "{text}");
        }
    }

    #[test]
    fn an_unknown_key_gets_the_nearest_ones() {
        let near = |ticket: &str, state: &str| TaskLine {
            ticket: ticket.parse().unwrap(),
            state: state.into(),
            started_at: 0,
            ended_at: None,
        };
        assert_eq!(
            unknown("SHOP-11", &[near("SHOP-1", "executing"), near("SHOP-10", "merged")], "AI"),
            "I don't know SHOP-11. Did you mean *SHOP-1* (executing) or *SHOP-10* (merged)?"
        );
        assert!(unknown("<X>", &[], "AI").starts_with("I don't know &lt;X&gt;. `/agent list`"));
        assert_eq!(list(&[], Some(Stage::Parked), 0), "No ticket is parked.");
        assert_eq!(list(&[near("SHOP-1", "watching_ci")], None, 300), "*SHOP-1* · watching ci · started 5 min ago");
    }
}
