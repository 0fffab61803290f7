//! Ids, parsed once at the edge. A value of one of these types is well-formed.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Why a text is not a valid id. Speaks to a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what}: {expected}")]
pub struct InvalidId {
    what: &'static str,
    text: String,
    expected: &'static str,
}

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    let text = text.chars().take(100).collect();
                    Err(InvalidId { what: $what, text, expected: $expected })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

string_id! {
    /// A Jira issue key, `PROJ-123`. Also the id of the task everywhere a person meets it.
    TicketKey, "ticket key", "a Jira key looks like PROJ-123", |t| {
        t.len() <= 64
            && t.split_once('-').is_some_and(|(project, number)| {
                project.starts_with(|c: char| c.is_ascii_uppercase())
                    && project.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
                    && !number.is_empty()
                    && !number.starts_with('0')
                    && number.bytes().all(|b| b.is_ascii_digit())
            })
    }
}

string_id! {
    /// Sentry's id of an issue, digits.
    SentryIssueId, "Sentry issue id", "a Sentry issue id has up to 20 digits", |t| {
        (1..=20).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit())
    }
}

string_id! {
    /// A GitHub repository, `owner/name`.
    RepositoryName, "repository name", "a repository looks like owner/name", |t| {
        let part = |p: &str| {
            !p.is_empty()
                && p.len() <= 100
                && p != "."
                && p != ".."
                && p.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        t.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
    }
}

string_id! {
    /// A full git commit id: 40 lower-case hex digits (SHA-1) or 64 (SHA-256 repositories).
    CommitSha, "commit id", "a commit id has 40 or 64 lower-case hex digits", |t| {
        matches!(t.len(), 40 | 64) && t.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    }
}

string_id! {
    /// SHA-256 of a blob's bytes, 64 lower-case hex digits: its name in the blob store.
    Digest, "blob digest", "a digest has 64 lower-case hex digits", |t| {
        t.len() == 64 && t.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    }
}

string_id! {
    /// A branch that Ticketwright made.
    BranchName, "branch name", "a branch has letters, digits and -_./ only", |t| {
        !t.is_empty()
            && t.len() <= 200
            && !t.starts_with(['/', '-', '.'])
            && !t.ends_with(['/', '.'])
            && !t.ends_with(".lock")
            && !t.contains("..")
            && !t.contains("//")
            && t.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
    }
}

impl TicketKey {
    /// Id of the workflow that carries this ticket.
    pub fn workflow_id(&self) -> String {
        format!("ticket-{self}")
    }

    /// Key of its project: `PROJ` of `PROJ-123`.
    pub fn project(&self) -> &str {
        self.0.split_once('-').map_or("", |(project, _)| project)
    }
}

impl SentryIssueId {
    /// Id of the workflow that looks after this error.
    pub fn workflow_id(&self) -> String {
        format!("sentry-{self}")
    }
}

impl RepositoryName {
    /// The part before the slash.
    pub fn owner(&self) -> &str {
        self.0.split_once('/').map_or("", |(owner, _)| owner)
    }

    /// Id of the workflow that works on a pull request on somebody's word.
    pub fn pull_request_workflow_id(&self, number: u64) -> String {
        format!("pr-{}.{}-{number}", self.owner(), self.name()).to_lowercase()
    }

    /// The part after the slash.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

impl CommitSha {
    /// The first eight digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl Digest {
    /// Digest of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(hex::encode(Sha256::digest(bytes.as_ref())))
    }

    /// The first eight digits: enough to tell plans apart, short enough to type.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

/// Which start of a business object a run belongs to: made from the event that began it, kept over continue-as-new and
/// reset, part of every effect key and of the branch name. Two runs for a re-labelled ticket never share effects.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(String);

impl Generation {
    /// The generation that `event` begins.
    pub fn of_event(event: &str) -> Self {
        Self(Digest::of(event).short().to_owned())
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Key of one effect on the outside world. Who writes with it looks for it first, so the effect happens once.
///
/// f(workflow id, generation, step, occurrence): stable over retries, crashes and replays, different for everything that
/// is meant to happen again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EffectKey(String);

impl EffectKey {
    /// Composes the key. `step` names what is done, `occurrence` counts how often the run has done it.
    pub fn new(workflow_id: &str, generation: &Generation, step: &str, occurrence: u32) -> Self {
        Self(format!("{workflow_id}/{generation}/{step}/{occurrence}"))
    }

    /// The key as text, at most a few hundred bytes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A fixed-length form for places with a length limit or without `/`.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl fmt::Display for EffectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_accept_what_the_services_use_and_refuse_the_rest() {
        for good in ["SHOP-1", "A1_B-99"] {
            assert_eq!(good.parse::<TicketKey>().unwrap().as_str(), good);
        }
        for bad in ["", "shop-1", "SHOP", "SHOP-", "SHOP-0", "SHOP-1/../x", "1SHOP-1", "SHOP-1 "] {
            assert!(bad.parse::<TicketKey>().is_err(), "{bad}");
        }
        assert!("acme/shop-api".parse::<RepositoryName>().is_ok());
        for bad in ["acme", "acme/", "/x", "a/b/c", "../x", "a/..", "a b/c"] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad}");
        }
        assert!("agent/SHOP-1/clamp-1a2b".parse::<BranchName>().is_ok());
        for bad in ["-x", "a..b", "a//b", "a b", "x.lock", "/x"] {
            assert!(bad.parse::<BranchName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_invalid_id_in_json_is_an_error_and_not_a_panic() {
        assert!(serde_json::from_str::<TicketKey>("\"../../etc\"").is_err());
    }
}
