//! Where a ticket stands: stages, reasons to park, ends, and what the `status` query answers.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::agent::{AgentName, Steered};
use super::ids::{Digest, RepositoryName};
use super::money::{MicroUsd, Usage};
use super::workspace::{Proof, Workspace};

/// Stage of a ticket. Also the `Stage` search attribute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Looking for the repositories.
    #[default]
    Discovering,
    /// Writing the plan.
    Planning,
    /// Waiting for a human.
    AwaitingApproval,
    /// Doing the tasks.
    Executing,
    /// Waiting for checks.
    WatchingCi,
    /// Making red checks green.
    FixingCi,
    /// Waiting for review and merge.
    ReadyForReview,
    /// Waiting for a person to unblock it.
    Parked,
    /// Undoing what was done.
    CleaningUp,
    /// Ended: all pull requests merged.
    Merged,
    /// Ended: a person closed the pull requests.
    Closed,
    /// Ended: the plan was rejected.
    Rejected,
    /// Ended: cancelled.
    Cancelled,
    /// Ended: parked until nobody came.
    Abandoned,
}

impl Stage {
    /// All stages, in the order of a ticket's life.
    pub const ALL: [Self; 14] = [
        Self::Discovering,
        Self::Planning,
        Self::AwaitingApproval,
        Self::Executing,
        Self::WatchingCi,
        Self::FixingCi,
        Self::ReadyForReview,
        Self::Parked,
        Self::CleaningUp,
        Self::Merged,
        Self::Closed,
        Self::Rejected,
        Self::Cancelled,
        Self::Abandoned,
    ];

    /// Wire name, as people see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discovering => "discovering",
            Self::Planning => "planning",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Executing => "executing",
            Self::WatchingCi => "watching_ci",
            Self::FixingCi => "fixing_ci",
            Self::ReadyForReview => "ready_for_review",
            Self::Parked => "parked",
            Self::CleaningUp => "cleaning_up",
            Self::Merged => "merged",
            Self::Closed => "closed",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Abandoned => "abandoned",
        }
    }

    /// The stage of that wire name, however it is written: `awaiting approval` too.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.trim().to_lowercase().replace([' ', '-'], "_");
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }

    /// The agent that works in this stage, if one does.
    pub fn agent(self) -> Option<AgentName> {
        match self {
            Self::Discovering => Some(AgentName::Discovery),
            Self::Planning => Some(AgentName::Planning),
            Self::Executing => Some(AgentName::Execution),
            Self::FixingCi => Some(AgentName::Ci),
            _ => None,
        }
    }

    /// The ticket's run is over.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Merged | Self::Closed | Self::Rejected | Self::Cancelled | Self::Abandoned)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a ticket is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParkReason {
    /// Nobody approved the plan in time.
    PlanExpired,
    /// The money is used up.
    Budget,
    /// An agent ran into its turn or time limit.
    Limit,
    /// An agent did not answer in the asked form.
    InvalidAnswer,
    /// No repository fits the ticket, or the ticket is too vague.
    Unanswered,
    /// A task's proof failed on every attempt.
    TaskFailed,
    /// A check is red, or checks did not finish in time.
    CiFailed,
    /// Someone else changed what we were changing.
    Conflict,
    /// A service refused or failed for good.
    Upstream,
}

impl ParkReason {
    /// Wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PlanExpired => "plan_expired",
            Self::Budget => "budget",
            Self::Limit => "limit",
            Self::InvalidAnswer => "invalid_answer",
            Self::Unanswered => "unanswered",
            Self::TaskFailed => "task_failed",
            Self::CiFailed => "ci_failed",
            Self::Conflict => "conflict",
            Self::Upstream => "upstream",
        }
    }
}

/// Why, and what a person is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Reason.
    pub reason: ParkReason,
    /// What happened and what it means, at most 2 KB.
    pub message: String,
}

/// One line of a run's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Seconds since 1970, the workflow's clock.
    pub at: i64,
    /// One line.
    pub text: String,
}

/// What the failing step of a red check printed last. Answer of the `check_log` query, by job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckLog {
    /// GitHub's id of the job.
    pub job: u64,
    /// Name of the check.
    pub check: String,
    /// Name of the step, or empty.
    pub step: String,
    /// Link to the whole log, or empty.
    pub url: String,
    /// Its output's end, at most 2,500 characters. Untrusted.
    pub tail: String,
}

/// Answer of the `status` query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TicketStatus {
    /// Ticket key.
    pub ticket: String,
    /// Its summary.
    pub summary: String,
    /// Stage.
    pub stage: Stage,
    /// Why it is parked, if it is.
    pub parked: Option<Parked>,
    /// What is going on, in words.
    pub doing: String,
    /// First eight characters of the plan's hash.
    pub plan_hash: Option<String>,
    /// Version of the plan.
    pub plan_version: u32,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// Tasks done.
    pub tasks_done: usize,
    /// Tasks in all.
    pub tasks: usize,
    /// Links of the pull requests.
    pub pull_requests: Vec<String>,
    /// Spent so far, in millionths of a US dollar.
    #[serde(rename = "spent_micro_usd")]
    pub spent: MicroUsd,
    /// Hard cap, in millionths of a US dollar.
    #[serde(rename = "cap_micro_usd")]
    pub cap: MicroUsd,
    /// Command lines that work now.
    pub commands: Vec<String>,
    /// Seconds since 1970 of the last news.
    pub updated_at: i64,
    /// Link of the ticket in Jira, once it was read.
    #[serde(default)]
    pub ticket_url: String,
    /// Link of the run in Temporal's Web UI, or empty.
    #[serde(default)]
    pub run_url: String,
}

/// Answer of the `proofs` query, one per proven task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskProof {
    /// The task's title.
    pub task: String,
    /// Its repository.
    pub repository: RepositoryName,
    /// What was proven.
    pub proof: Proof,
}

/// Answer of the `cost` query. Amounts are integers in millionths of a US dollar, with a text for people beside them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CostReport {
    /// Ticket key.
    pub ticket: String,
    /// Hard cap, extensions included.
    #[serde(rename = "cap_micro_usd")]
    pub cap: MicroUsd,
    /// Spent so far, running agents included as far as they have told.
    #[serde(rename = "spent_micro_usd")]
    pub spent: MicroUsd,
    /// Held by what runs now, beyond what that has told it spent: cap = spent + leased + free.
    #[serde(rename = "leased_micro_usd")]
    pub leased: MicroUsd,
    /// Neither spent nor held.
    #[serde(rename = "free_micro_usd")]
    pub free: MicroUsd,
    /// The same for people.
    pub usd: CostTexts,
    /// One line per run of an agent, oldest first, at most 200. The agents of a watch of checks share a line.
    pub agents: Vec<CostLine>,
    /// Lines that made room.
    pub earlier: Option<EarlierCost>,
    /// Sums by task, of runs that have ended.
    pub tasks: Vec<TaskCost>,
    /// What people added to the cap.
    pub extensions: Vec<Extension>,
}

/// The sums of a [`CostReport`], `$0.118`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostTexts {
    /// Hard cap.
    pub cap: String,
    /// Spent.
    pub spent: String,
    /// Held.
    pub leased: String,
    /// Free.
    pub free: String,
}

/// What one run of an agent cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostLine {
    /// Its workflow id; of the agents of a watch of checks, that of the watch.
    pub id: String,
    /// Which agent.
    pub agent: AgentName,
    /// In which repository, where it works in one.
    pub repository: Option<RepositoryName>,
    /// Number of the task, from 1.
    pub task: Option<usize>,
    /// Model turns.
    pub turns: u32,
    /// Tokens of all replies; known when it has ended.
    pub usage: Usage,
    /// Spent.
    #[serde(rename = "spent_micro_usd")]
    pub spent: MicroUsd,
    /// Spent, for people.
    pub usd: String,
    /// It is at work.
    pub running: bool,
}

/// The sum of older lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierCost {
    /// Runs of agents.
    pub runs: u32,
    /// Model turns.
    pub turns: u32,
    /// Tokens.
    pub usage: Usage,
    /// Spent.
    #[serde(rename = "spent_micro_usd")]
    pub spent: MicroUsd,
    /// Spent, for people.
    pub usd: String,
}

impl EarlierCost {
    /// Takes in a line.
    pub fn add(&mut self, line: &CostLine) {
        self.runs += 1;
        self.turns += line.turns;
        self.usage += line.usage;
        self.spent += line.spent;
    }
}

/// What a task cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCost {
    /// Its number, from 1.
    pub task: usize,
    /// Its title.
    pub title: String,
    /// Model turns.
    pub turns: u32,
    /// Spent.
    #[serde(rename = "spent_micro_usd")]
    pub spent: MicroUsd,
    /// Spent, for people.
    pub usd: String,
}

/// What a person added to the cap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Who, `Ana (Slack)`.
    pub by: String,
    /// How much.
    #[serde(rename = "amount_micro_usd")]
    pub amount: MicroUsd,
    /// How much, for people.
    pub usd: String,
    /// Seconds since 1970, the workflow's clock.
    pub at: i64,
}

/// How far an agent's run got: all that continue-as-new has to carry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentProgress {
    /// Head of the transcript.
    pub head: Option<Digest>,
    /// Turns taken.
    pub turns: u32,
    /// Money spent.
    pub spent: MicroUsd,
    /// Answers that did not fit.
    pub bad_answers: u32,
    /// An answer that fits, while its author reviews the change once more.
    pub answer: Option<serde_json::Value>,
    /// Seconds of active work.
    pub active_seconds: u64,
    /// The files as they stand.
    pub workspace: Option<Workspace>,
    /// What the model has not been told yet.
    pub news: Option<super::model::News>,
    /// What the harness wants to say beside it.
    pub notes: Vec<String>,
    /// What people said and the model has not been told yet.
    pub steered: Vec<Steered>,
    /// Numbers of what people said and the model was told.
    pub heard: Vec<u32>,
    /// Tokens of all replies.
    pub usage: Usage,
    /// Leased beyond the first lease.
    pub granted: MicroUsd,
    /// What was booked for the last lost attempt of this turn. It is given back when that attempt's reply turns up.
    pub lost: MicroUsd,
    /// What the owner of the money was told of.
    pub told_spent: MicroUsd,
    /// Seconds in which it waited for money.
    pub waited_seconds: u64,
    /// Replies in a row without a tool call.
    pub silent_replies: u32,
    /// Tokens of the whole conversation, as of the last reply.
    pub context_tokens: u64,
    /// Hand-overs so far.
    pub hand_overs: u32,
    /// Times in a row the model was asked for one in vain.
    pub vain_hand_overs: u32,
    /// Calls since the files last changed, and how often each gave the same result.
    pub seen: Vec<SeenCall>,
}

/// A call with its result, and how often both came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenCall {
    /// Digest of tool, input and output.
    pub what: Digest,
    /// How often.
    pub times: u32,
}
