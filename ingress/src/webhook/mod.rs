//! What the services send, each read by its own minimal structs. Unknown fields are ignored and nearly every field is
//! optional: the services add and drop fields without notice.

mod comment;
pub mod github;
pub mod jira;
pub mod sentry;
pub mod slack;
pub mod slack_command;
pub mod slack_event;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
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

/// Oldest event that may start anything. No sender tries a delivery again for longer; what is older was captured and sent again,
/// and the run it once started may be forgotten by now.
const OLDEST: TimeDelta = TimeDelta::hours(24);
/// How far a sender's clock may be ahead. The time of a run's newest event decides which later ones count, so one from the far
/// future would hide them all.
const AHEAD: TimeDelta = TimeDelta::hours(1);

/// Why an event of this time (milliseconds since 1970) starts nothing, if so. `again` is what a person can do about it.
fn untimely(at: i64, now: DateTime<Utc>, again: &str) -> Option<String> {
    let Some(time) = DateTime::from_timestamp_millis(at) else {
        return Some(format!("the event's time {at} is none: {again}"));
    };
    let written = time.to_rfc3339_opts(SecondsFormat::Secs, true);
    if time < now - OLDEST {
        Some(format!("the event is from {written}: too old to start anything; {again}"))
    } else if time > now + AHEAD {
        Some(format!("the event is from {written}, which is in the future: set the clocks, then {again}"))
    } else {
        None
    }
}

fn json<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(body).map_err(|error| Unreadable(format!("the body is not the JSON we expect: {error}")))
}
