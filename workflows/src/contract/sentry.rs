//! What the domain needs of Sentry.

use serde::{Deserialize, Serialize};
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

use super::ids::{SentryIssueId, TicketKey};

/// How bad an error is. Sentry leaves it out now and then; that counts as `error`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The process died.
    Fatal,
    /// An error.
    #[default]
    Error,
    /// A warning.
    Warning,
    /// Information.
    Info,
    /// Anything else: `debug`, `sample`.
    Other,
}

impl Level {
    /// From Sentry's name; empty or absent counts as `error`.
    pub fn from_name(name: &str) -> Self {
        match name {
            "fatal" => Self::Fatal,
            "" | "error" => Self::Error,
            "warning" => Self::Warning,
            "info" => Self::Info,
            _ => Self::Other,
        }
    }

    /// Name, as people see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Other => "other",
        }
    }
}

/// An issue: a group of equal errors, with its statistics. All text is untrusted and already redacted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorIssue {
    /// Id.
    pub id: SentryIssueId,
    /// Id for people, `SHOP-API-4K`.
    pub short_id: String,
    /// One line.
    pub title: String,
    /// Where it happens, `shop.pricing in total`.
    pub culprit: String,
    /// Level.
    pub level: Level,
    /// Nobody has resolved, ignored or archived it.
    pub unresolved: bool,
    /// Slug of its project.
    pub project: String,
    /// `python`, `javascript`, ...
    pub platform: String,
    /// Events of the last 24 hours.
    pub events_24h: u64,
    /// Events ever.
    pub events: u64,
    /// Affected users.
    pub users: u64,
    /// Seconds since 1970.
    pub first_seen: i64,
    /// Seconds since 1970.
    pub last_seen: i64,
    /// Link for people.
    pub url: String,
    /// What groups its events: the smallest of the issue's hashes, or its id where Sentry gives none. In a list always the id:
    /// hashes are read for one issue at a time.
    pub fingerprint: String,
}

/// One event of an issue, the newest. All text is untrusted and already redacted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorEvent {
    /// Id, 32 hex digits.
    pub id: String,
    /// Seconds since 1970.
    pub at: i64,
    /// `ZeroDivisionError: division by zero`.
    pub message: String,
    /// Stack frames, innermost last; at most 50, the innermost kept. Empty: Sentry has no stack trace.
    pub frames: Vec<Frame>,
    /// `production`, or empty.
    pub environment: String,
    /// Release, or empty.
    pub release: String,
    /// Seconds since 1970 when that release was made known to Sentry; absent where it is none of its releases.
    #[serde(default)]
    pub released_at: Option<i64>,
    /// Tags, `browser: Firefox`, at most 20.
    pub tags: Vec<String>,
    /// `GET https://...` of the request, or empty.
    pub request: String,
}

/// A stack frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// File, as the platform names it.
    pub path: String,
    /// Function, or empty.
    pub function: String,
    /// Line, from 1; 0: unknown.
    pub line: u32,
    /// The project's own code, not a library's.
    pub in_app: bool,
    /// The line's text, or empty.
    pub text: String,
}

/// A page of unresolved issues to read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ListErrors {
    /// Where the last page ended; absent: the first page.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Patterns to redact, from the policy.
    #[serde(default)]
    pub redact: Vec<String>,
}

/// A page of issues.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorPage {
    /// Issues, most frequent first; at most 100.
    pub issues: Vec<ErrorIssue>,
    /// Where the next page begins.
    #[serde(default)]
    pub next: Option<String>,
}

/// An issue to read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadError {
    /// Which.
    pub issue: SentryIssueId,
    /// Patterns to redact, from the policy: regular expressions whose matches become `[redacted]`.
    #[serde(default)]
    pub redact: Vec<String>,
}

/// A ticket to name on an issue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkTicket {
    /// On which issue.
    pub issue: SentryIssueId,
    /// The ticket.
    pub ticket: TicketKey,
    /// Its link.
    pub url: String,
}

/// Sentry, as activities.
pub struct Sentry;

#[activity_definitions]
impl Sentry {
    /// Reads one page of the unresolved issues that happened within 24 hours, with their statistics. No effect.
    #[activity(name = "sentry.list_errors")]
    pub fn list_errors(_request: ListErrors) -> Result<ErrorPage, ActivityError> {
        unimplemented!()
    }

    /// Reads an issue; `None` when it was deleted or merged away. No effect.
    #[activity(name = "sentry.get_error")]
    pub fn get_error(_request: ReadError) -> Result<Option<ErrorIssue>, ActivityError> {
        unimplemented!()
    }

    /// Reads an issue's newest event; `None` when Sentry keeps none. No effect.
    #[activity(name = "sentry.latest_event")]
    pub fn latest_event(_request: ReadError) -> Result<Option<ErrorEvent>, ActivityError> {
        unimplemented!()
    }

    /// Names the ticket on the issue (external link), once; without a Sentry app it does nothing and returns false.
    #[activity(name = "sentry.link_ticket")]
    pub fn link_ticket(_request: LinkTicket) -> Result<bool, ActivityError> {
        unimplemented!()
    }

    /// The ticket that an earlier run named on the issue. No effect.
    #[activity(name = "sentry.linked_ticket")]
    pub fn linked_ticket(_issue: SentryIssueId) -> Result<Option<TicketKey>, ActivityError> {
        unimplemented!()
    }

    /// Resolves an issue; a resolved one is left alone.
    #[activity(name = "sentry.resolve")]
    pub fn resolve(_issue: SentryIssueId) -> Result<(), ActivityError> {
        unimplemented!()
    }
}

/// The definitions, for the adapters that implement them: `#[activity(definition = ...)]`.
pub mod definitions {
    pub use super::sentry::*;
}
