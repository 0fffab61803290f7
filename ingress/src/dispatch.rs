//! From a trigger to a workflow: start it, or tell it.

use serde_json::{Value, json};
use temporalio_client::Client;
use workflows::contract::trigger::{Decision, Trigger};

use crate::start::{self, Outcome, StartError};

/// What became of a trigger.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispatched {
    /// A workflow took it.
    pub accepted: bool,
    /// For the sender, as JSON.
    pub answer: Value,
    /// For the person who clicked, when nobody took it.
    pub remark: Option<String>,
}

/// Starts or signals the workflow that a trigger names.
pub async fn dispatch(client: &Client, trigger: &Trigger) -> Result<Dispatched, StartError> {
    match trigger {
        Trigger::TicketLabelled(labelled) => {
            let started = start::start_ticket(client, labelled).await?;
            Ok(Dispatched {
                accepted: true,
                answer: json!({
                    "ticket": labelled.ticket,
                    "workflow_id": started.workflow_id,
                    "run_id": started.run_id,
                    "new": started.outcome == Outcome::Started,
                    "outcome": started.outcome,
                }),
                remark: None,
            })
        }
        Trigger::Decided(decided) => {
            let id = decided.ticket.workflow_id();
            match &decided.decision {
                Decision::Approve(approve) => tell(client, &id, "approve", approve).await,
                Decision::Reject(reject) => tell(client, &id, "reject", reject).await,
            }
        }
        Trigger::ChecksChanged { ticket, news } => tell(client, &ticket.workflow_id(), "checks_changed", news).await,
        Trigger::PullRequestChanged { ticket, news } => {
            tell(client, &ticket.workflow_id(), "pull_request_changed", news).await
        }
    }
}

async fn tell(
    client: &Client,
    workflow_id: &str,
    signal: &str,
    value: &impl serde::Serialize,
) -> Result<Dispatched, StartError> {
    if start::signal(client, workflow_id, signal, value).await? {
        let answer = json!({ "workflow_id": workflow_id, "signal": signal });
        return Ok(Dispatched { accepted: true, answer, remark: None });
    }
    let state = start::describe(client, workflow_id).await?;
    let end = match state {
        Some(state) if state.stage.is_empty() => state.status.as_str_name().to_lowercase(),
        Some(state) => state.stage,
        None => "unknown".to_owned(),
    };
    let remark = match end.as_str() {
        "unknown" => "I don't know this ticket. Was its run deleted?".to_owned(),
        end => format!("This ticket is over ({}); your click changed nothing. Label it again to start over.", end.replace('_', " ")),
    };
    let answer = json!({ "workflow_id": workflow_id, "not_running": end });
    Ok(Dispatched { accepted: false, answer, remark: Some(remark) })
}
