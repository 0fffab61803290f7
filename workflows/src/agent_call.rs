//! Sending an agent on an errand: the child workflow that runs it, under the model and limits of a policy. Who sends it
//! decides about money and about what an answer that is none means.

use serde_json::Value;
use temporalio_common::data_converters::RawValue;
use temporalio_workflow::{WorkflowCancellationToken, WorkflowContext};

use crate::agent_run::AgentWorkflow;
use crate::contract::agent::{AgentEnd, AgentInput, AgentName, AgentResult, Purse};
use crate::contract::ids::{Generation, TicketKey};
use crate::contract::money::MicroUsd;
use crate::contract::policy::{ModelChoice, Policy};
use crate::contract::workspace::{Survey, Workspace};
use crate::kit::{self, CallError};

/// What an agent is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Errand {
    /// Which agent.
    pub agent: AgentName,
    /// For which ticket; `None` where none is involved.
    pub ticket: Option<TicketKey>,
    /// Generation of the run that sends it.
    pub generation: Generation,
    /// Variables of the agent's prompt.
    pub brief: Value,
    /// The workspace, for agents that work in one.
    pub workspace: Option<Workspace>,
    /// What it may spend at first.
    pub lease: MicroUsd,
    /// Who can lease it more.
    pub purse: Option<Purse>,
}

/// What an agent works with.
#[derive(Debug, Clone, PartialEq)]
pub struct Means {
    /// Its model.
    pub model: ModelChoice,
    /// Seconds a sandboxed command may run.
    pub command_seconds: u64,
    /// History events after which it continues as new.
    pub history_events: u32,
}

/// Puts what a repository says about itself into the brief of an agent that works there, where a survey was made.
pub(crate) fn tell_survey(brief: &mut Value, survey: Option<&Survey>) {
    if let (Some(brief), Some(survey)) = (brief.as_object_mut(), survey) {
        brief.insert("survey".to_owned(), serde_json::json!(survey));
    }
}

/// Runs an agent to its end as a child with this workflow id, with the means of a policy.
///
/// # Errors
/// The policy names no model for it, in words for people; nothing was started then.
pub async fn call<W>(
    ctx: &WorkflowContext<W>,
    token: &WorkflowCancellationToken,
    policy: &Policy,
    id: String,
    title: String,
    errand: Errand,
) -> Result<Result<AgentResult, CallError>, String> {
    let agent = errand.agent;
    let Some(model) = policy.models.get(agent.as_str()).cloned() else {
        return Err(format!("The policy names no model for the {agent} agent. Add [policy.models.{agent}]."));
    };
    let means = Means {
        model,
        command_seconds: policy.execution.command_seconds,
        history_events: policy.agents.history_events,
    };
    Ok(call_with(ctx, token, means, id, title, errand).await)
}

/// Runs an agent to its end as a child with this workflow id, with these means.
pub async fn call_with<W>(
    ctx: &WorkflowContext<W>,
    token: &WorkflowCancellationToken,
    means: Means,
    id: String,
    title: String,
    errand: Errand,
) -> Result<AgentResult, CallError> {
    let Means { model, command_seconds, history_events } = means;
    let Errand { agent, ticket, generation, brief, workspace, lease, purse } = errand;
    let input = AgentInput {
        agent,
        ticket,
        generation,
        model,
        brief,
        workspace,
        command_seconds,
        lease,
        purse,
        rules: AgentInput::RULES,
        history_events,
        progress: None,
    };
    let raw = RawValue::from_value(&input, ctx.payload_converter());
    kit::run_child(ctx, token, AgentWorkflow::run, raw, id, title, std::future::pending()).await
}

/// Why an agent's end is no answer, in words for people; `None`: it answered.
pub fn fault(end: &AgentEnd) -> Option<String> {
    match end {
        AgentEnd::Answered(_) => None,
        AgentEnd::InvalidAnswer(fault) => Some(format!("the answer did not fit after three tries: {fault}")),
        AgentEnd::Limit(limit) => Some(limit.clone()),
        AgentEnd::Budget { needed } => Some(format!("the money is used up, the next model call may cost {needed}")),
        AgentEnd::Failed(message) => Some(message.clone()),
    }
}
