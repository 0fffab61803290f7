//! Our own tickets as readable text, for the slack agent.

use workflows::contract::ids::TicketKey;
use workflows::contract::status::Stage;
use workflows::contract::tasks::TaskLine;
use workflows::contract::tools::{ListTasks, TaskKey, TaskLog};

use super::Trouble;
use crate::tasks::Runs;

/// Log entries that are shown when no number is given, and at most.
const ENTRIES: (usize, usize) = (20, 50);

/// Where a ticket stands.
pub(super) async fn status(runs: &dyn Runs, asked: TaskKey) -> Result<String, Trouble> {
    let ticket = known(runs, &asked.ticket).await?;
    let Some(state) = runs.ticket_state(&ticket).await? else { return Err(unknown(runs, &asked.ticket).await?) };
    let Some(status) = &state.status else {
        return Ok(format!("{ticket} is {}. No worker answers, so nothing more is known.", state.state));
    };
    let mut lines = vec![
        format!("{ticket}: {}", status.summary),
        format!("stage: {} ({})", status.stage, if state.running { "running" } else { &state.state }),
        format!("doing: {}", status.doing),
        format!("tasks done: {} of {}", status.tasks_done, status.tasks),
        format!("spent: {} of {}", status.spent, status.cap),
    ];
    if let Some(parked) = &status.parked {
        lines.push(format!("parked ({}): {}", parked.reason.as_str(), parked.message));
    }
    if let Some(hash) = &status.plan_hash {
        lines.push(format!("plan: v{} {hash}", status.plan_version));
    }
    if let Some(by) = &status.approved_by {
        lines.push(format!("approved by: {by}"));
    }
    lines.extend(status.pull_requests.iter().map(|url| format!("pull request: {url}")));
    Ok(lines.join("\n"))
}

/// Which tickets there are.
pub(super) async fn list(runs: &dyn Runs, asked: ListTasks) -> Result<String, Trouble> {
    let stage = match &asked.stage {
        None => None,
        Some(name) => Some(Stage::named(name).ok_or_else(|| {
            let stages: Vec<&str> = Stage::ALL.iter().map(|stage| stage.as_str()).collect();
            Trouble::Told(format!("There is no stage {name:?}. Stages: {}", stages.join(", ")))
        })?),
    };
    let lines = runs.list(stage).await?;
    Ok(if lines.is_empty() { "No ticket.".to_owned() } else { shown(&lines) })
}

/// The last entries of a ticket's log.
pub(super) async fn log(runs: &dyn Runs, asked: TaskLog) -> Result<String, Trouble> {
    let ticket = known(runs, &asked.ticket).await?;
    let last = asked.last.unwrap_or(ENTRIES.0).clamp(1, ENTRIES.1);
    match runs.log(&ticket, last).await? {
        Some(entries) if entries.is_empty() => Ok("Its log is empty.".to_owned()),
        Some(entries) => {
            Ok(entries.iter().map(|e| format!("{} {}", time(e.at), e.text)).collect::<Vec<_>>().join("\n"))
        }
        None => match runs.ticket_state(&ticket).await? {
            Some(_) => Ok(format!("{ticket} does not answer: no worker runs.")),
            None => Err(unknown(runs, &asked.ticket).await?),
        },
    }
}

async fn known(runs: &dyn Runs, typed: &str) -> Result<TicketKey, Trouble> {
    match typed.trim().to_uppercase().parse() {
        Ok(ticket) => Ok(ticket),
        Err(_) => Err(unknown(runs, typed).await?),
    }
}

async fn unknown(runs: &dyn Runs, typed: &str) -> Result<Trouble, Trouble> {
    let near = runs.nearest(&typed.trim().to_uppercase()).await?;
    let near = if near.is_empty() { String::new() } else { format!(" The nearest ones:\n{}", shown(&near)) };
    Ok(Trouble::Told(format!("There is no ticket {typed:?}.{near}")))
}

fn shown(lines: &[TaskLine]) -> String {
    let line = |line: &TaskLine| match line.ended_at {
        None => format!("{} {}, since {}", line.ticket, line.state, time(line.started_at)),
        Some(at) => format!("{} {}, ended {}", line.ticket, line.state, time(at)),
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn time(seconds: i64) -> String {
    chrono::DateTime::from_timestamp(seconds, 0)
        .map_or_else(String::new, |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use async_trait::async_trait;
    use workflows::contract::status::LogEntry;
    use workflows::contract::tasks::{RunStarted, TaskState};
    use workflows::contract::trigger::{ErrorReported, TicketLabelled};

    use super::*;
    use crate::failure::ServiceError;

    /// SHOP-1 runs, and no worker answers.
    pub(crate) struct OneTicket;

    fn shop_1() -> TaskLine {
        TaskLine { ticket: "SHOP-1".parse().unwrap(), state: "executing".into(), started_at: 0, ended_at: None }
    }

    #[async_trait]
    impl Runs for OneTicket {
        async fn start_ticket(&self, _: &TicketLabelled) -> Result<RunStarted, ServiceError> {
            unreachable!("reading starts nothing")
        }

        async fn start_error(&self, _: &ErrorReported) -> Result<RunStarted, ServiceError> {
            unreachable!("reading starts nothing")
        }

        async fn ticket_state(&self, ticket: &TicketKey) -> Result<Option<TaskState>, ServiceError> {
            let known = TaskState { status: None, running: true, state: "executing".into(), ended_at: None };
            Ok((ticket.as_str() == "SHOP-1").then_some(known))
        }

        async fn list(&self, stage: Option<Stage>) -> Result<Vec<TaskLine>, ServiceError> {
            Ok(if stage.is_none_or(|stage| stage == Stage::Executing) { vec![shop_1()] } else { vec![] })
        }

        async fn nearest(&self, _: &str) -> Result<Vec<TaskLine>, ServiceError> {
            Ok(vec![shop_1()])
        }

        async fn log(&self, ticket: &TicketKey, last: usize) -> Result<Option<Vec<LogEntry>>, ServiceError> {
            let entry = |n| LogEntry { at: n, text: format!("entry {n}") };
            Ok((ticket.as_str() == "SHOP-1").then(|| (0..3).map(entry).take(last).collect()))
        }
    }

    fn told(answer: Result<String, Trouble>) -> String {
        match answer {
            Ok(text) => text,
            Err(Trouble::Told(text)) => format!("told: {text}"),
            Err(Trouble::Failed(error)) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn a_mistyped_ticket_gets_the_nearest_one() {
        let key = |ticket: &str| TaskKey { ticket: ticket.into() };
        assert!(told(status(&OneTicket, key("shop-1")).await).starts_with("SHOP-1 is executing. No worker"));
        for typed in ["SHOP-11", "shop 1"] {
            let text = told(status(&OneTicket, key(typed)).await);
            assert!(
                text.starts_with("told: There is no ticket") && text.contains("SHOP-1 executing, since 1970"),
                "{text}"
            );
        }
        let text = told(log(&OneTicket, TaskLog { ticket: "SHOP-7".into(), last: None }).await);
        assert!(text.starts_with("told: There is no ticket \"SHOP-7\""), "{text}");
    }

    #[tokio::test]
    async fn lists_and_logs_are_lines() {
        let stage = |stage: &str| ListTasks { stage: Some(stage.into()) };
        assert_eq!(
            told(list(&OneTicket, ListTasks { stage: None }).await),
            "SHOP-1 executing, since 1970-01-01 00:00:00 UTC"
        );
        assert_eq!(told(list(&OneTicket, stage("parked")).await), "No ticket.");
        assert!(told(list(&OneTicket, stage("nowhere")).await).contains("watching_ci"));
        let text = told(log(&OneTicket, TaskLog { ticket: "SHOP-1".into(), last: Some(2) }).await);
        assert_eq!(text, "1970-01-01 00:00:00 UTC entry 0\n1970-01-01 00:00:01 UTC entry 1");
    }
}
