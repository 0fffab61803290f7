//! Who may do what. Asked at the time of use, never pinned: an approver who was removed must not approve for days.

use serde::{Deserialize, Serialize};
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

use super::ids::TicketKey;

/// A person, and the door they came through. Only the ingress writes `slack`, `github` and `jira`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Person {
    /// Door.
    pub via: Via,
    /// Id at that door: Slack user id, GitHub login, Jira account id, or the name given on the command line.
    pub id: String,
    /// Name to show, where the door told one.
    #[serde(default)]
    pub name: String,
}

/// The door a person came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Temporal's CLI or Web UI.
    Cli,
    /// A verified Slack interaction or command.
    Slack,
    /// A verified GitHub webhook.
    Github,
    /// A verified Jira webhook.
    Jira,
}

impl Person {
    /// Somebody at the command line.
    pub fn cli(name: &str) -> Self {
        Self { via: Via::Cli, id: name.to_owned(), name: name.to_owned() }
    }

    /// How a text names this person: `Ana (Slack)`.
    pub fn label(&self) -> String {
        let name = match (self.via, self.name.as_str()) {
            // What the printed command lines say until somebody writes their name in.
            (Via::Cli, "" | "you") => "someone",
            (_, "") => &self.id,
            (_, name) => name,
        };
        let via = match self.via {
            Via::Cli => "command line",
            Via::Slack => "Slack",
            Via::Github => "GitHub",
            Via::Jira => "Jira",
        };
        format!("{name} ({via})")
    }
}

/// What a person wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Approve a plan, or add to a budget: an approval is about money too.
    Approve,
    /// Reject a plan, ask for another one, steer or cancel a run, or let it try again.
    Command,
    /// Have a model answer a mention: it costs money.
    Ask,
}

/// Question to the access rules.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MayThey {
    /// Who.
    pub who: Person,
    /// What.
    pub action: Action,
    /// On which ticket; absent where none is involved.
    #[serde(default)]
    pub ticket: Option<TicketKey>,
    /// Who asked for the ticket, for rules like "approver other than requester".
    #[serde(default)]
    pub requested_by: Option<Person>,
}

/// Answer of the access rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Yes.
    Allowed,
    /// No, and the sentence to tell the person.
    Refused(String),
}

/// The access rules, as activities.
pub struct Access;

#[activity_definitions]
impl Access {
    /// Asks whether a person may do something now. Reads the live policy; no effect.
    #[activity(name = "access.may_they")]
    pub fn may_they(_question: MayThey) -> Result<Verdict, ActivityError> {
        unimplemented!()
    }
}

/// The definitions, for the adapters that implement them: `#[activity(definition = ...)]`.
pub mod definitions {
    pub use super::access::*;
}
