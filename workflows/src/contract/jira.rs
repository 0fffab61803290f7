//! What the domain needs of Jira.

use serde::{Deserialize, Serialize};
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

use super::access::Person;
use super::ids::{EffectKey, TicketKey};

/// A ticket as the agents and messages need it. All text is untrusted. At most 64 KB as JSON: long texts are cut with a
/// visible note.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    /// Key.
    pub key: TicketKey,
    /// Link for people.
    pub url: String,
    /// One line.
    pub summary: String,
    /// Description as Markdown (converted from ADF), at most 16 KB.
    pub description: String,
    /// Comments, oldest first, our own left out; at most 16 KB in all.
    pub comments: Vec<TicketComment>,
    /// Labels.
    pub labels: Vec<String>,
    /// Priority's name, `Medium`.
    pub priority: String,
    /// Issue type's name, `Bug`.
    pub issue_type: String,
    /// Status name.
    pub status: String,
    /// Who reported it.
    #[serde(default)]
    pub reporter: Option<Person>,
    /// Linked issues, `blocks SHOP-7: summary`, at most 20.
    #[serde(default)]
    pub links: Vec<String>,
}

/// A comment on a ticket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TicketComment {
    /// Author's display name.
    pub author: String,
    /// Markdown.
    pub body: String,
}

/// A comment to write once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WriteComment {
    /// On which ticket.
    pub ticket: TicketKey,
    /// Kept in a comment property and looked for before writing.
    pub effect: EffectKey,
    /// Markdown; sent as ADF. A block quote that begins with `[!info]`, `[!success]`, `[!warning]` or `[!error]` becomes a panel.
    pub markdown: String,
}

/// A comment that exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommentRef {
    /// Jira's id.
    pub id: String,
    /// Link for people.
    pub url: String,
}

/// A status to reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MoveTicket {
    /// Which ticket.
    pub ticket: TicketKey,
    /// Status name, compared without case.
    pub status: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moved {
    /// It was moved.
    Done,
    /// It already had that status.
    Already,
    /// The workflow has no such transition from here; these exist.
    NoTransition {
        /// Names of the statuses that can be reached.
        available: Vec<String>,
    },
}

/// A bug to report once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportBug {
    /// Project key, `SHOP`.
    pub project: String,
    /// One line, at most 255 characters.
    pub summary: String,
    /// Markdown; sent as ADF.
    pub description: String,
    /// Labels; none has a space.
    pub labels: Vec<String>,
    /// Priority by name; left out where the project has no such priority or field.
    pub priority: String,
    /// Kept in an entity property and looked for before creating.
    pub effect: EffectKey,
    /// What identifies the error over months; kept in the same property.
    pub fingerprint: String,
}

/// A report to look for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindReport {
    /// Project key.
    pub project: String,
    /// What identifies the error.
    pub fingerprint: String,
    /// Label that all reports carry.
    pub label: String,
    /// How far to look back.
    pub days: u32,
    /// The ticket that the error itself names: read first, for the search learns of a new issue only after a while.
    #[serde(default)]
    pub linked: Option<TicketKey>,
}

/// A ticket that we once reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reported {
    /// Its key.
    pub key: TicketKey,
    /// Its link.
    pub url: String,
    /// Its status is in Jira's category "done".
    pub done: bool,
}

/// Jira, as activities.
pub struct Jira;

#[activity_definitions]
impl Jira {
    /// Reads a ticket. No effect.
    #[activity(name = "jira.get_ticket")]
    pub fn get_ticket(_key: TicketKey) -> Result<Ticket, ActivityError> {
        unimplemented!()
    }

    /// Writes a comment once: looks for the effect key among the ticket's comment properties first.
    #[activity(name = "jira.write_comment")]
    pub fn write_comment(_comment: WriteComment) -> Result<CommentRef, ActivityError> {
        unimplemented!()
    }

    /// Creates a bug once: looks for one with the same effect key first.
    #[activity(name = "jira.report_bug")]
    pub fn report_bug(_bug: ReportBug) -> Result<Reported, ActivityError> {
        unimplemented!()
    }

    /// Finds the newest report of an error. No effect.
    #[activity(name = "jira.find_report")]
    pub fn find_report(_request: FindReport) -> Result<Option<Reported>, ActivityError> {
        unimplemented!()
    }

    /// Moves a ticket to a status by name; a ticket already there is left alone.
    #[activity(name = "jira.move_ticket")]
    pub fn move_ticket(_request: MoveTicket) -> Result<Moved, ActivityError> {
        unimplemented!()
    }
}

/// The definitions, for the adapters that implement them: `#[activity(definition = ...)]`.
pub mod definitions {
    pub use super::jira::*;
}
