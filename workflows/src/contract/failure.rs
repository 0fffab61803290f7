//! Why a call failed, in terms of what the caller should do. Workflows branch on the kind, never on text.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Kind of a failed activity; the `type` of its Temporal failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The object does not exist, or we may not know that it does. Final.
    NotFound,
    /// Credentials are missing, expired or lack a permission. Final until a person mends them.
    Unauthorized,
    /// The service asked us to wait. Retried after the time it named.
    RateLimited,
    /// The object changed under us. Final for this call; the caller reads again.
    Conflict,
    /// The service, or our own check before the call, refused the input. Final.
    Invalid,
    /// The service does not answer or failed inside. Retried.
    Unavailable,
    /// This host cannot do it: a tool or kernel feature is missing. Retried, perhaps on another host.
    Unsupported,
    /// Anything else. Retried a few times.
    Unexpected,
}

impl FailureKind {
    /// Every kind, in wire order.
    pub const ALL: [Self; 8] = [
        Self::NotFound,
        Self::Unauthorized,
        Self::RateLimited,
        Self::Conflict,
        Self::Invalid,
        Self::Unavailable,
        Self::Unsupported,
        Self::Unexpected,
    ];

    /// Name on the wire: the `type` of the Temporal application failure.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Unauthorized => "unauthorized",
            Self::RateLimited => "rate_limited",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
            Self::Unsupported => "unsupported",
            Self::Unexpected => "unexpected",
        }
    }

    /// The kind with this wire name; anything unknown counts as [`FailureKind::Unexpected`].
    pub fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.name() == name).unwrap_or(Self::Unexpected)
    }

    /// Trying the same call again cannot help.
    pub fn is_final(self) -> bool {
        matches!(self, Self::NotFound | Self::Unauthorized | Self::Conflict | Self::Invalid)
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
