//! Input and result of an agent's run.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::{Generation, TicketKey};
use super::money::{MicroUsd, Usage};
use super::policy::ModelChoice;
use super::workspace::Workspace;

/// The agents that exist. Adding one is a folder under `agents/` and a variant here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentName {
    /// Finds the repositories.
    Discovery,
    /// Writes the plan.
    Planning,
    /// Does one task in a workspace.
    Execution,
    /// Finds out why a check is red, and mends what may be mended.
    Ci,
    /// Finds out why an error happens.
    Sentry,
    /// Answers a mention in Slack.
    Slack,
}

impl AgentName {
    /// The name in workflow ids, policy and request metadata.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Planning => "planning",
            Self::Execution => "execution",
            Self::Ci => "ci",
            Self::Sentry => "sentry",
            Self::Slack => "slack",
        }
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Input of the `agent` workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentInput {
    /// Which agent.
    pub agent: AgentName,
    /// For which ticket; absent where none is involved.
    #[serde(default)]
    pub ticket: Option<TicketKey>,
    /// Generation of the run it works for.
    pub generation: Generation,
    /// Model and reply length.
    pub model: ModelChoice,
    /// Variables of the agent's prompt.
    pub brief: serde_json::Value,
    /// The workspace, for agents that work in one.
    #[serde(default)]
    pub workspace: Option<Workspace>,
    /// Seconds a sandboxed command may run.
    pub command_seconds: u64,
    /// What this run may spend at first.
    pub lease: MicroUsd,
    /// Who can lease it more; absent: the lease is all there is.
    #[serde(default)]
    pub purse: Option<Purse>,
    /// Under which rules of the loop it began: 0 = those of 0.1.0, without the guards that came later; 1 = without the review of
    /// its own change; newer ones count up.
    /// Histories replay by the rules they began with.
    #[serde(default)]
    pub rules: u32,
    /// History events after which it continues as new, besides when the server suggests it.
    #[serde(default = "AgentInput::default_history_events")]
    pub history_events: u32,
    /// How far an earlier run of this agent got, when it continued as new.
    #[serde(default)]
    pub progress: Option<super::status::AgentProgress>,
}

impl AgentInput {
    /// The rules of today.
    pub const RULES: u32 = 2;

    /// Where an agent continues as new, unless its input says otherwise: in good time before Temporal's own limit.
    pub fn default_history_events() -> u32 {
        10_000
    }
}

/// The root run that owns the money of its agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purse {
    /// Its workflow id. It takes the signals `budget_ask` ([`BudgetAsk`]) and `agent_spent` ([`AgentSpent`]).
    pub owner: String,
    /// It is told whenever so much more was spent.
    pub tell_every: MicroUsd,
}

/// Signal `budget_ask` to the owner of the money: the lease does not cover the next call. The agent waits for the signal
/// `budget_grant`, for as long as it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetAsk {
    /// Workflow id of the agent.
    pub agent: String,
    /// All that it was leased so far.
    pub lease: MicroUsd,
    /// What it has spent of it.
    pub spent: MicroUsd,
    /// What its next call costs at worst.
    pub need: MicroUsd,
}

/// Signal `budget_grant` to an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetGrant {
    /// All that it is leased from now on, the first lease included. Never less than before.
    pub lease: MicroUsd,
}

/// Signal `agent_spent` to the owner of the money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSpent {
    /// Workflow id of the agent.
    pub agent: String,
    /// What it has spent so far.
    pub spent: MicroUsd,
    /// Model turns so far.
    pub turns: u32,
}

/// Signal `steer` to an agent: reaches the model before its next turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steered {
    /// Number of the remark in the sender's count; the result says which were heard.
    pub n: u32,
    /// Who says it, for the model.
    pub by: String,
    /// What.
    pub text: String,
}

/// How an agent's run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentResult {
    /// Its end.
    pub end: AgentEnd,
    /// What it spent.
    pub spent: MicroUsd,
    /// Model turns it took.
    pub turns: u32,
    /// The workspace as it left it.
    #[serde(default)]
    pub workspace: Option<Workspace>,
    /// Tokens of all replies.
    #[serde(default)]
    pub usage: Usage,
    /// Seconds in which it waited for money.
    #[serde(default)]
    pub waited_seconds: u64,
    /// Numbers of the remarks ([`Steered::n`]) that its model was told.
    #[serde(default)]
    pub heard: Vec<u32>,
}

/// The end of an agent's run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentEnd {
    /// It answered, and the answer fits its type.
    Answered(serde_json::Value),
    /// It did not answer well within three tries; the last fault.
    InvalidAnswer(String),
    /// It ran into its turn or time limit.
    Limit(String),
    /// Its lease is used up; the next call needs this much at worst.
    Budget {
        /// What the next call needs at worst.
        needed: MicroUsd,
    },
    /// A service it needs failed for good.
    Failed(String),
}
