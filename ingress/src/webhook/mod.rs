//! One file per sender: raw bytes in, a [`Trigger`] or the reason to ignore them out.

pub mod branch;
pub mod github;
pub mod jira;
pub mod slack;

use workflows::contract::trigger::Trigger;

/// What a verified and readable request means.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// Something to do.
    Act(Box<Trigger>),
    /// Not for us, and why. Answered with 200, so that the sender does not repeat it.
    Ignore(String),
}

impl Meaning {
    fn act(trigger: Trigger) -> Self {
        Self::Act(Box::new(trigger))
    }

    fn ignore(why: impl Into<String>) -> Self {
        Self::Ignore(why.into())
    }
}

/// A body that cannot be read; the text names the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unreadable body: {0}")]
pub struct Unreadable(pub String);

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}
