//! What comes in: verified webhooks as a closed set of triggers, the ticket workflow's input, and its signals.

use serde::{Deserialize, Serialize};

use super::access::Person;
use super::github::PullRequestState;
use super::ids::{BranchName, CommitSha, RepositoryName, SentryIssueId, TicketKey};
use super::policy::Policy;

/// Type name of the ticket workflow.
pub const TICKET_WORKFLOW: &str = "ticket";

/// Type name of the workflow that looks after one Sentry error.
pub const SENTRY_WORKFLOW: &str = "sentry_issue";
/// Type name of the workflow that follows an instruction on a pull request.
pub const PULL_REQUEST_WORKFLOW: &str = "pull_request";
/// Type name of the workflow that answers a mention.
pub const MENTION_WORKFLOW: &str = "mention";

/// Everything the ingress can ask for. Each variant names one workflow that starts or is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// A ticket got the label.
    TicketLabelled(TicketLabelled),
    /// A person said something about a ticket in Slack: a button, or a command.
    Commanded(Commanded),
    /// Checks of a commit finished.
    ChecksChanged {
        /// Ticket named by the branch, when it is one of ours.
        ticket: Option<TicketKey>,
        /// Pull requests of that head in the same repository.
        pull_requests: Vec<u64>,
        /// News.
        news: ChecksChanged,
    },
    /// A pull request of one of our branches changed.
    PullRequestChanged {
        /// Ticket named by the branch.
        ticket: TicketKey,
        /// News.
        news: PullRequestChanged,
    },
    /// Somebody wrote `@agent ...` on a pull request.
    Instructed(Instructed),
    /// Sentry reported an error.
    ErrorReported(ErrorReported),
    /// Somebody mentioned the bot in Slack.
    Mentioned(Mentioned),
}

/// A ticket got the label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TicketLabelled {
    /// The ticket.
    pub ticket: TicketKey,
    /// Id of the event, made from its signed content: equal for every redelivery.
    pub event: EventId,
    /// Who did it.
    pub by: Option<Person>,
    /// One line, for the Web UI.
    pub summary: String,
}

/// An event and when it happened at its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventId {
    /// Stable id.
    pub id: String,
    /// Milliseconds since 1970, from the signed body.
    pub at: i64,
}

/// A person's word about a ticket.
#[derive(Debug, Clone, PartialEq)]
pub struct Commanded {
    /// About which ticket.
    pub ticket: TicketKey,
    /// What.
    pub word: Word,
}

/// What a person can say to a ticket. Each is one signal of its run.
#[derive(Debug, Clone, PartialEq)]
pub enum Word {
    /// Go.
    Approve(Approve),
    /// Do not.
    Reject(Reject),
    /// Another plan.
    RequestChanges(RequestChanges),
    /// Try again.
    Retry(Command),
    /// Stop and clean up.
    Cancel(Command),
    /// Mind this.
    Steer(Steer),
    /// Spend more.
    ExtendBudget(ExtendBudget),
}

impl Word {
    /// Name of the signal.
    pub fn signal(&self) -> &'static str {
        match self {
            Self::Approve(_) => "approve",
            Self::Reject(_) => "reject",
            Self::RequestChanges(_) => "request_changes",
            Self::Retry(_) => "retry",
            Self::Cancel(_) => "cancel",
            Self::Steer(_) => "steer",
            Self::ExtendBudget(_) => "extend_budget",
        }
    }
}

/// Somebody wrote `@agent ...` on a pull request. Input of the `pull_request` workflow, and its signal `instruct`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instructed {
    /// Repository.
    pub repository: RepositoryName,
    /// Number of the pull request.
    pub number: u64,
    /// GitHub's id of the comment.
    pub comment: u64,
    /// What follows `@agent`, at most 4,000 characters; empty when nothing does.
    pub instruction: String,
    /// Who wrote it.
    pub by: Person,
    /// The event.
    pub event: EventId,
}

/// Sentry reported an error, or the sweep found it. Input of the `sentry_issue` workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorReported {
    /// The issue.
    pub issue: SentryIssueId,
    /// The event.
    pub event: EventId,
    /// One line, for the Web UI.
    #[serde(default)]
    pub summary: String,
}

/// Somebody mentioned the bot. Input of the `mention` workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mentioned {
    /// Slack's id of the team.
    pub team: String,
    /// Slack's id of the event.
    pub event: EventId,
    /// Channel id.
    pub channel: String,
    /// `ts` of the thread it belongs to, or of the message itself.
    pub thread: String,
    /// Who.
    pub by: Person,
    /// What they wrote, the mention itself left out; at most 4,000 characters.
    pub text: String,
}

impl Mentioned {
    /// Id of the workflow that answers.
    pub fn workflow_id(&self) -> String {
        format!("slack-{}-{}", self.team, self.event.id)
    }
}

/// Input of the ticket workflow. Everything but the key has a default, so that the CLI can start one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TicketInput {
    /// Jira key. A text, because input that does not decode would block the run for ever.
    pub key: String,
    /// The event that began this run.
    pub event: Option<EventId>,
    /// Who asked for it.
    pub requested_by: Option<Person>,
    /// Policy to run under; absent: the one in force.
    pub policy: Option<Policy>,
}

/// Signal `approve`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approve {
    /// Who. A plain text counts as somebody at the command line.
    #[serde(deserialize_with = "person_or_name")]
    pub by: Person,
    /// First characters (at least 8) of the plan's hash. Without it only version 1 can be approved.
    #[serde(default)]
    pub plan_hash: Option<String>,
    /// What they said.
    #[serde(default)]
    pub comment: Option<String>,
}

/// Signal `reject`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reject {
    /// First characters of the hash of the plan that was read. A button carries it; by command line it may be left out.
    #[serde(default)]
    pub plan_hash: Option<String>,
    /// Who.
    #[serde(deserialize_with = "person_or_name")]
    pub by: Person,
    /// Why.
    #[serde(default)]
    pub comment: Option<String>,
}

/// Signal `request_changes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestChanges {
    /// Who.
    #[serde(deserialize_with = "person_or_name")]
    pub by: Person,
    /// What should be different.
    pub comment: String,
    /// First characters of the hash of the plan that was read.
    #[serde(default)]
    pub plan_hash: Option<String>,
}

/// Signal `steer`: something to mind from now on. A parked ticket goes on with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Steer {
    /// Who.
    #[serde(deserialize_with = "person_or_name")]
    pub by: Person,
    /// What.
    pub text: String,
}

/// Signal `extend_budget`: more money for a ticket. One that waits for money goes on where it stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtendBudget {
    /// Who.
    #[serde(deserialize_with = "person_or_name")]
    pub by: Person,
    /// How much more, in US dollars: over 0, at most 1,000, cents count.
    pub usd: f64,
    /// The cap that the person saw. A button carries it: a second click on it adds nothing. By command line it may be left out.
    #[serde(default, rename = "cap_micro_usd", skip_serializing_if = "Option::is_none")]
    pub cap: Option<super::money::MicroUsd>,
}

/// Signals `cancel` and `retry`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Who.
    #[serde(deserialize_with = "person_or_name")]
    pub by: Person,
}

/// Signal `trigger`: an event joined this run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Joined {
    /// The event.
    pub event: EventId,
    /// Who did it.
    #[serde(default)]
    pub by: Option<Person>,
}

/// Signal `checks_changed`: a nudge, the run reads GitHub again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChecksChanged {
    /// Repository.
    pub repository: RepositoryName,
    /// Commit.
    pub sha: CommitSha,
}

/// Signal `pull_request_changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequestChanged {
    /// Repository.
    pub repository: RepositoryName,
    /// Number.
    pub number: u64,
    /// Branch.
    pub branch: BranchName,
    /// Head.
    pub sha: CommitSha,
    /// State.
    pub state: PullRequestState,
    /// Who did it, GitHub login.
    #[serde(default)]
    pub by: String,
}

fn person_or_name<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Person, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum PersonOrName {
        Person(Person),
        Name(String),
    }
    Ok(match PersonOrName::deserialize(deserializer)? {
        PersonOrName::Person(person) => person,
        PersonOrName::Name(name) => Person::cli(&name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_may_name_a_person_by_a_plain_text() {
        let approve: Approve = serde_json::from_str(r#"{"by":"you","plan_hash":"4f2a91c7"}"#).unwrap();
        assert_eq!(approve.by, Person::cli("you"));
        let reject: Reject = serde_json::from_str(r#"{"by":{"via":"slack","id":"U0ANA"}}"#).unwrap();
        assert_eq!(reject.by.id, "U0ANA");
    }

    #[test]
    fn a_ticket_starts_with_its_key_alone() {
        let input: TicketInput = serde_json::from_str(r#"{"key":"PROJ-123"}"#).unwrap();
        assert_eq!(input, TicketInput { key: "PROJ-123".into(), ..TicketInput::default() });
    }
}
