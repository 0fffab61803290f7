//! Looking at tickets: the newest run as Temporal knows it, what its workflow says of itself, and which tickets there are.

use std::time::Duration;

use temporalio_client::Client;
use temporalio_client::grpc::WorkflowService;
use temporalio_client::tonic::IntoRequest;
use temporalio_common::protos::temporal::api::common::v1::Payload;
use temporalio_common::protos::temporal::api::workflow::v1::WorkflowExecutionInfo;
use temporalio_common::protos::temporal::api::workflowservice::v1::ListWorkflowExecutionsRequest;
use workflows::contract::ids::TicketKey;
use workflows::contract::status::{CheckLog, CostReport, LogEntry, Stage, TicketStatus};
use workflows::contract::tasks::{TaskLine, TaskState};
use workflows::contract::trigger::TICKET_WORKFLOW;

use crate::execution;
use crate::temporal::TemporalError;

/// How long a workflow may take to answer: without a worker it never does, and a person waits at most 3 s.
const QUERY: Duration = Duration::from_secs(2);
/// Runs that are compared with a mistyped key, the newest ones.
const COMPARED: i32 = 500;
/// Keys that are suggested.
const SUGGESTED: usize = 3;
/// Most characters in which a suggested key differs.
const FARTHEST: usize = 2;

/// A ticket's newest run; `None`: Temporal knows none. The status is absent when no worker answers in time, or the run is
/// older than its history is kept.
///
/// # Errors
/// When Temporal does not answer.
pub async fn ticket_state(client: &Client, ticket: &TicketKey) -> Result<Option<TaskState>, TemporalError> {
    let Some(run) = execution::describe(client, &ticket.workflow_id()).await? else { return Ok(None) };
    let status: Option<TicketStatus> = ask(client, ticket, "status", None).await;
    let ended_at = run.closed_at.map(|milliseconds| milliseconds.div_euclid(1000));
    Ok(Some(TaskState { status, running: ended_at.is_none(), state: run.state, ended_at }))
}

/// The last entries of a ticket's log; `None`: no worker answers, or there is no such run.
pub async fn log(client: &Client, ticket: &TicketKey, last: usize) -> Option<Vec<LogEntry>> {
    let mut entries: Vec<LogEntry> = ask(client, ticket, "log", None).await?;
    Some(entries.split_off(entries.len().saturating_sub(last)))
}

/// What a ticket cost; `None`: no worker answers, or there is no such run.
pub async fn cost(client: &Client, ticket: &TicketKey) -> Option<CostReport> {
    ask(client, ticket, "cost", None).await
}

/// What a red check printed last; `None`: the run does not know that job, or no worker answers.
pub async fn check_log(client: &Client, ticket: &TicketKey, job: u64) -> Option<CheckLog> {
    let job = execution::encode(client, &job).await.ok()?;
    ask::<Option<CheckLog>>(client, ticket, "check_log", Some(job)).await?
}

/// Tickets, the newest run first: the running ones, or those in a stage. A stage that ends a ticket lists the ended ones.
///
/// # Errors
/// When Temporal does not answer.
pub async fn list(client: &Client, stage: Option<Stage>, limit: i32) -> Result<Vec<TaskLine>, TemporalError> {
    let of_tickets = format!("WorkflowType = '{TICKET_WORKFLOW}'");
    let query = match stage {
        None => format!("{of_tickets} AND ExecutionStatus = 'Running'"),
        Some(stage) if stage.is_end() => format!("{of_tickets} AND Stage = '{stage}' AND ExecutionStatus != 'Running'"),
        Some(stage) => format!("{of_tickets} AND Stage = '{stage}' AND ExecutionStatus = 'Running'"),
    };
    listed(client, query, limit).await
}

/// Tickets whose keys are like a mistyped one, the likest first.
///
/// # Errors
/// When Temporal does not answer.
pub async fn nearest(client: &Client, mistyped: &str) -> Result<Vec<TaskLine>, TemporalError> {
    let all = listed(client, format!("WorkflowType = '{TICKET_WORKFLOW}'"), COMPARED).await?;
    Ok(likest(all, mistyped))
}

fn likest(all: Vec<TaskLine>, mistyped: &str) -> Vec<TaskLine> {
    let mut near: Vec<(usize, TaskLine)> = vec![];
    for line in all {
        let distance = distance(mistyped, line.ticket.as_str());
        // Of a ticket's runs the newest comes first.
        if distance <= FARTHEST && !near.iter().any(|(_, known)| known.ticket == line.ticket) {
            near.push((distance, line));
        }
    }
    near.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.ticket.cmp(&other.ticket)));
    near.into_iter().take(SUGGESTED).map(|(_, line)| line).collect()
}

/// Levenshtein's distance: how many characters have to be put in, left out or changed.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (done, character) in one.chars().enumerate() {
        let mut diagonal = done;
        let mut left = done + 1;
        for (cell, known) in row.iter_mut().skip(1).zip(&other) {
            let above = *cell;
            let changed = diagonal + usize::from(character != *known);
            *cell = changed.min(above + 1).min(left + 1);
            (diagonal, left) = (above, *cell);
        }
        if let Some(first) = row.first_mut() {
            *first = done + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

async fn listed(client: &Client, query: String, limit: i32) -> Result<Vec<TaskLine>, TemporalError> {
    let request = ListWorkflowExecutionsRequest {
        namespace: client.options().namespace.clone(),
        page_size: limit,
        query,
        ..Default::default()
    };
    let answer = client.clone().list_workflow_executions(request.into_request()).await?.into_inner();
    let mut lines: Vec<TaskLine> = answer.executions.into_iter().filter_map(line).collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.started_at));
    Ok(lines)
}

fn line(info: WorkflowExecutionInfo) -> Option<TaskLine> {
    let ticket = info.execution.as_ref()?.workflow_id.strip_prefix("ticket-")?.parse().ok()?;
    let started_at = info.start_time.as_ref().map_or(0, |at| at.seconds);
    let ended_at = info.close_time.as_ref().map(|at| at.seconds);
    let state = execution::state_of(&info);
    Some(TaskLine { ticket, state, started_at, ended_at })
}

async fn ask<T>(client: &Client, ticket: &TicketKey, query: &str, input: Option<Payload>) -> Option<T>
where
    T: temporalio_common::data_converters::TemporalDeserializable + 'static,
{
    match tokio::time::timeout(QUERY, execution::query(client, &ticket.workflow_id(), query, input)).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::info!(%ticket, %error, "the run does not answer");
            None
        }
        Err(_) => {
            tracing::info!(%ticket, "no worker answers");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_single_characters() {
        for (one, other, expected) in [
            ("SHOP-1", "SHOP-1", 0),
            ("SHOP-11", "SHOP-1", 1),
            ("SHPO-1", "SHOP-1", 2),
            ("SHOP1", "SHOP-1", 1),
            ("", "ABC", 3),
            ("ABC", "", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn the_likest_keys_come_first_and_once() {
        let line = |ticket: &str, state: &str| TaskLine {
            ticket: ticket.parse().unwrap(),
            state: state.into(),
            started_at: 0,
            ended_at: None,
        };
        let all = vec![
            line("SHOP-10", "merged"),
            line("SHOP-1", "executing"),
            line("SHOP-1", "rejected"),
            line("WEB-7", "planning"),
            line("SHOP-110", "parked"),
        ];
        let found: Vec<String> = likest(all, "SHOP-11").iter().map(|l| format!("{} {}", l.ticket, l.state)).collect();
        assert_eq!(found, ["SHOP-1 executing", "SHOP-10 merged", "SHOP-110 parked"]);
    }
}
