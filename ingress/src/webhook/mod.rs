//! What the services send, each read by its own minimal structs. Unknown fields are ignored and nearly every field is
//! optional: the services add and drop fields without notice.

mod comment;
pub mod github;
pub mod jira;
pub mod slack;
pub mod slack_command;
pub mod slack_event;

use sha2::{Digest, Sha256};
use workflows::contract::trigger::Trigger;

use crate::config::Service;

/// What a delivery means to us.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// A workflow starts or is told.
    Trigger(Trigger),
    /// Nothing, and why.
    Ignored(String),
}

impl Meaning {
    fn ignored(why: impl Into<String>) -> Result<Self, Unreadable> {
        Ok(Self::Ignored(why.into()))
    }
}

/// A signed body that cannot be read, with the reason in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

impl From<workflows::contract::ids::InvalidId> for Unreadable {
    fn from(error: workflows::contract::ids::InvalidId) -> Self {
        Self(error.to_string())
    }
}

/// Id of a delivery, made from its signed content: equal for every redelivery, and nobody can replay a captured body
/// under a fresh id. The services' own delivery ids are headers, which no signature covers.
pub fn delivery_id(service: Service, body: &[u8]) -> String {
    let mut digest = hex::encode(Sha256::digest(body));
    digest.truncate(32);
    format!("{}-{digest}", service.to_string().to_lowercase())
}

fn json<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(body).map_err(|error| Unreadable(format!("the body is not the JSON we expect: {error}")))
}
