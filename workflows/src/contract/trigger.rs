//! What comes in: verified webhooks as a closed set of triggers, the ticket workflow's input, and its signals.

use serde::{Deserialize, Serialize};

use super::access::Person;
use super::github::PullRequestState;
use super::ids::{BranchName, CommitSha, RepositoryName, TicketKey};
use super::policy::Policy;

/// Type name of the ticket workflow.
pub const TICKET_WORKFLOW: &str = "ticket";

/// Everything the ingress can ask for. Each variant names one workflow that starts or is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// A ticket got the label.
    TicketLabelled(TicketLabelled),
    /// A person decided about a plan in Slack.
    Decided(Decided),
    /// Checks of one of our branches finished.
    ChecksChanged {
        /// Ticket named by the branch.
        ticket: TicketKey,
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
}

/// A ticket got the label.
#[derive(Debug, Clone, PartialEq)]
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

/// A person decided in Slack.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// About which ticket.
    pub ticket: TicketKey,
    /// What.
    pub decision: Decision,
}

/// A decision.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Go.
    Approve(Approve),
    /// Do not.
    Reject(Reject),
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
