//! Input and result of an agent's run.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::{Generation, TicketKey};
use super::money::MicroUsd;
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
    /// What this run may spend.
    pub lease: MicroUsd,
    /// How far an earlier run of this agent got, when it continued as new.
    #[serde(default)]
    pub progress: Option<super::status::AgentProgress>,
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
