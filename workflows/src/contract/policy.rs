//! Policy: every duration, limit, threshold, model and convention that a run keeps from its first activity on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

/// What a run does, how long it waits, and what it may spend. Read once per run, then part of its history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Label that hands a ticket to Ticketwright. Default `AI`.
    pub label: String,
    /// Waiting for people.
    pub approval: ApprovalPolicy,
    /// Looking for repositories.
    pub discovery: DiscoveryPolicy,
    /// Doing the work.
    pub execution: ExecutionPolicy,
    /// Watching CI.
    pub ci: CiPolicy,
    /// Errors that Sentry reports.
    pub sentry: SentryPolicy,
    /// Money.
    pub budget: BudgetPolicy,
    /// The loop that runs every agent.
    pub agents: AgentPolicy,
    /// Model per agent: agent name -> Bedrock inference profile id.
    pub models: BTreeMap<String, ModelChoice>,
    /// Jira statuses by name.
    pub jira: JiraPolicy,
    /// Slack channels.
    pub slack: SlackPolicy,
    /// Names of branches, commits and files.
    pub conventions: Conventions,
    /// How long a parked ticket waits for a person, in seconds. Default 14 days.
    pub parked_for_seconds: u64,
    /// Base URL of Temporal's Web UI, for links: `http://127.0.0.1:8233`. Empty: no links.
    pub temporal_ui_url: String,
    /// Namespace shown in Web UI links. Default `default`.
    pub temporal_namespace: String,
    /// How people here call Temporal's CLI, with flags when they need some; begins the command lines that messages show.
    /// Default `temporal`.
    pub temporal_cli: String,
}

/// Waiting for the approval of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApprovalPolicy {
    /// Seconds until an unanswered plan parks its ticket. Default 24 h.
    pub expires_after_seconds: u64,
}

/// Looking for repositories.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiscoveryPolicy {
    /// Lowest score that counts. Default 0.3.
    pub minimum_score: f64,
    /// Repositories handed to planning. Default 5, at most 10.
    pub best: usize,
    /// Repositories that get a branch and a draft pull request. Default 3.
    pub pull_requests: usize,
}

/// Doing the work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecutionPolicy {
    /// Attempts per task. Default 3.
    pub attempts: u32,
    /// Seconds of active work per repository. Default 2 h.
    pub wall_seconds: u64,
    /// Seconds per command in the sandbox. Default 300.
    pub command_seconds: u64,
}

/// Watching CI.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CiPolicy {
    /// Seconds until unfinished checks are escalated. Default 1 h.
    pub limit_seconds: u64,
    /// Seconds after which a head without any check counts as "no CI". Default 10 min.
    pub none_after_seconds: u64,
    /// Seconds between the first polls; doubles up to an hour. Webhooks come first, this is the net. Default 60.
    pub poll_seconds: u64,
    /// Attempts to make a red pull request green before a person is called; `retry` begins anew. Default 3.
    pub attempts: u32,
}

/// Money.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetPolicy {
    /// Hard cap per ticket in micro-dollars. Default 12,000,000 (12 USD).
    pub ticket_cap_micro_usd: u64,
    /// Hard cap per analysed error in micro-dollars. Default 1,000,000 (1 USD).
    pub error_cap_micro_usd: u64,
    /// Hard cap per instruction on a pull request in micro-dollars. Default 6,000,000 (6 USD).
    pub instruction_cap_micro_usd: u64,
    /// Hard cap per answered mention in micro-dollars. Default 200,000 (0.20 USD).
    pub mention_cap_micro_usd: u64,
}

/// The loop that runs every agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentPolicy {
    /// Events of history after which an agent's run continues as new; the server's own suggestion counts too. Default 10,000.
    pub history_events: u32,
}

/// Errors that Sentry reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SentryPolicy {
    /// Seconds between sweeps over all unresolved issues. Default 1 h.
    pub sweep_seconds: u64,
    /// Events within 24 h from which an issue counts, per level. Default fatal 1, error 10, warning 50, info 100, other 10.
    pub thresholds: Thresholds,
    /// Jira project per Sentry project slug. A project that is not named here gets a notice in Slack, no ticket.
    pub projects: BTreeMap<String, String>,
    /// Days within which an error that was reported before is not reported anew. Default 90.
    pub dedupe_days: u32,
    /// New runs that one sweep begins at most; the other errors wait for the next, the most frequent go first. Default 25.
    pub starts_per_sweep: u32,
    /// Seconds until an error with too few events is looked at once more: Sentry counts with a delay. Default 60.
    pub settle_seconds: u64,
    /// Seconds without an event after the merge until the issue is resolved in Sentry. Default 24 h.
    pub quiet_seconds: u64,
    /// Regular expressions whose matches are redacted before model, Jira and Slack see them, beside the built-in ones
    /// (e-mail addresses, tokens, card numbers).
    pub redact: Vec<String>,
}

/// Events within 24 h from which an issue counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// The process died.
    pub fatal: u64,
    /// Errors, and issues without a level.
    pub error: u64,
    /// Warnings.
    pub warning: u64,
    /// Information.
    pub info: u64,
    /// Anything else.
    pub other: u64,
}

impl Thresholds {
    /// The threshold of a level.
    pub fn of(&self, level: super::sentry::Level) -> u64 {
        use super::sentry::Level;
        match level {
            Level::Fatal => self.fatal,
            Level::Error => self.error,
            Level::Warning => self.warning,
            Level::Info => self.info,
            Level::Other => self.other,
        }
    }
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { fatal: 1, error: 10, warning: 50, info: 100, other: 10 }
    }
}

impl Default for SentryPolicy {
    fn default() -> Self {
        Self {
            sweep_seconds: 3600,
            starts_per_sweep: 25,
            settle_seconds: 60,
            thresholds: Thresholds::default(),
            projects: BTreeMap::new(),
            dedupe_days: 90,
            quiet_seconds: 24 * 3600,
            redact: vec![],
        }
    }
}

/// A model and how much it may write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelChoice {
    /// Bedrock inference profile or model id.
    pub id: String,
    /// Most tokens per reply.
    #[serde(default = "ModelChoice::default_max_tokens")]
    pub max_tokens: u32,
    /// Tokens that the model can hold. A conversation that fills six tenths of it is handed over and begins anew.
    #[serde(default = "ModelChoice::default_context_tokens")]
    pub context_tokens: u32,
}

impl ModelChoice {
    fn default_max_tokens() -> u32 {
        16_000
    }

    fn default_context_tokens() -> u32 {
        200_000
    }

    fn new(id: &str) -> Self {
        let (max_tokens, context_tokens) = (Self::default_max_tokens(), Self::default_context_tokens());
        Self { id: id.to_owned(), max_tokens, context_tokens }
    }
}

/// Jira statuses to move to, by name; a status that the workflow lacks is skipped with a note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JiraPolicy {
    /// When a plan is approved. Default `In Progress`.
    pub approved: String,
    /// When the pull requests are ready. Default `In Review`.
    pub ready: String,
    /// When they are merged. Default `Done`.
    pub merged: String,
}

/// Slack channels, by name or id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlackPolicy {
    /// Where tickets have their thread. Default `#ai-agents`. Empty: Slack is off, approvals come by CLI and Web UI.
    pub channel: String,
    /// Where errors go. Default `#errors`.
    pub errors: String,
}

/// Names of branches and files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conventions {
    /// Branch template with `{key}`, `{slug}` and `{generation}`. Default `agent/{key}/{slug}-{generation}`.
    pub branch: String,
    /// First line of a task's commit, with `{key}`, `{title}` and `{task}`. Default `{key}: {title}`. What was done and the
    /// trailers `Ticket` and `Task` follow it.
    pub commit: String,
    /// Name by which people call us in a pull request's comments, without `@`. Default `agent`.
    pub handle: String,
    /// Keep PLAN.md on the branch. Default false: it leaves with the last push, its text stays in the pull request.
    pub keep_plan: bool,
}

impl Default for Policy {
    fn default() -> Self {
        let sonnet = ModelChoice::new("us.anthropic.claude-sonnet-4-5-20250929-v1:0");
        let haiku = ModelChoice::new("us.anthropic.claude-haiku-4-5-20251001-v1:0");
        let opus = ModelChoice::new("us.anthropic.claude-opus-4-5-20251101-v1:0");
        Self {
            label: "AI".into(),
            approval: ApprovalPolicy::default(),
            discovery: DiscoveryPolicy::default(),
            execution: ExecutionPolicy::default(),
            ci: CiPolicy::default(),
            sentry: SentryPolicy::default(),
            budget: BudgetPolicy::default(),
            agents: AgentPolicy::default(),
            models: BTreeMap::from([
                ("ci".into(), sonnet.clone()),
                ("discovery".into(), sonnet.clone()),
                ("execution".into(), opus.clone()),
                ("planning".into(), opus),
                ("sentry".into(), sonnet),
                ("slack".into(), haiku),
            ]),
            jira: JiraPolicy::default(),
            slack: SlackPolicy::default(),
            conventions: Conventions::default(),
            parked_for_seconds: 14 * 24 * 3600,
            temporal_ui_url: String::new(),
            temporal_namespace: "default".into(),
            temporal_cli: "temporal".into(),
        }
    }
}

impl Default for ApprovalPolicy {
    fn default() -> Self {
        Self { expires_after_seconds: 24 * 3600 }
    }
}

impl Default for DiscoveryPolicy {
    fn default() -> Self {
        Self { minimum_score: 0.3, best: 5, pull_requests: 3 }
    }
}

impl Default for ExecutionPolicy {
    fn default() -> Self {
        Self { attempts: 3, wall_seconds: 2 * 3600, command_seconds: 300 }
    }
}

impl Default for CiPolicy {
    fn default() -> Self {
        Self { limit_seconds: 3600, none_after_seconds: 600, poll_seconds: 60, attempts: 3 }
    }
}

impl Default for AgentPolicy {
    fn default() -> Self {
        Self { history_events: super::agent::AgentInput::default_history_events() }
    }
}

impl Default for BudgetPolicy {
    fn default() -> Self {
        Self {
            ticket_cap_micro_usd: 12_000_000,
            error_cap_micro_usd: 1_000_000,
            instruction_cap_micro_usd: 6_000_000,
            mention_cap_micro_usd: 200_000,
        }
    }
}

impl Default for JiraPolicy {
    fn default() -> Self {
        Self { approved: "In Progress".into(), ready: "In Review".into(), merged: "Done".into() }
    }
}

impl Default for SlackPolicy {
    fn default() -> Self {
        Self { channel: "#ai-agents".into(), errors: "#errors".into() }
    }
}

impl Default for Conventions {
    fn default() -> Self {
        Self {
            branch: "agent/{key}/{slug}-{generation}".into(),
            commit: "{key}: {title}".into(),
            handle: "agent".into(),
            keep_plan: false,
        }
    }
}

/// Reading the policy, as an activity.
pub struct PolicySource;

#[activity_definitions]
impl PolicySource {
    /// The policy in force now. First activity of a run whose input brings none; no effect.
    #[activity(name = "policy.read")]
    pub fn read() -> Result<Policy, ActivityError> {
        unimplemented!()
    }
}

/// The definitions, for the adapters that implement them: `#[activity(definition = ...)]`.
pub mod definitions {
    pub use super::policy_source::*;
}
