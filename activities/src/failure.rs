//! The only place where a service's error becomes retryable, final, or "retry after n seconds" for Temporal.

use std::time::Duration;

use temporalio_sdk::ApplicationFailure;
use temporalio_sdk::activities::ActivityError;
use temporalio_sdk::error::ApplicationErrorCategory;
use workflows::contract::failure::FailureKind;

/// Attempts at a call that fails in a way we do not understand. What is broken stays broken, and somebody must be told.
const UNEXPECTED_ATTEMPTS: u32 = 5;

/// What a service call came to when it failed, by what the caller should do. The text names the service, says what
/// happened and what to do next; it reaches people, so it never holds a secret.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    /// What to do about it.
    pub kind: FailureKind,
    /// For people.
    pub message: String,
    /// How long the service asked us to wait.
    pub retry_after: Option<Duration>,
    /// The cause, for the log.
    #[source]
    pub source: Option<anyhow::Error>,
}

impl ServiceError {
    /// An error without a cause of its own.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None, source: None }
    }

    /// The service asked us to wait.
    pub fn rate_limited(message: impl Into<String>, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..Self::new(FailureKind::RateLimited, message) }
    }

    /// Keeps the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind for an HTTP status of a service that follows the usual meanings. 429 and 403 with rate headers are the
    /// caller's to tell apart.
    pub fn kind_of_status(status: u16) -> FailureKind {
        match status {
            401 | 403 => FailureKind::Unauthorized,
            404 | 410 => FailureKind::NotFound,
            409 | 412 => FailureKind::Conflict,
            429 => FailureKind::RateLimited,
            408 | 425 | 500..=599 => FailureKind::Unavailable,
            400..=499 => FailureKind::Invalid,
            _ => FailureKind::Unexpected,
        }
    }
}

impl ServiceError {
    /// The failure that Temporal records of this attempt, counted from 1. (`From` is taken: the SDK turns every error into an
    /// untyped, retryable failure.)
    pub fn into_activity_error(self, attempt: u32) -> ActivityError {
        let (kind, retry_after) = (self.kind, self.retry_after);
        // The retry policy cannot bound one kind, so the last attempt says that it was the last.
        let is_final = kind.is_final() || kind == FailureKind::Unexpected && attempt >= UNEXPECTED_ATTEMPTS;
        // Being asked to wait is normal: no error metric, no alert.
        let category = match kind {
            FailureKind::RateLimited => ApplicationErrorCategory::Benign,
            _ => ApplicationErrorCategory::Unspecified,
        };
        ActivityError::application(
            ApplicationFailure::builder(anyhow::Error::new(self))
                .type_name(kind.name().to_owned())
                .non_retryable(is_final)
                .category(category)
                .maybe_next_retry_delay(retry_after)
                .build(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_understands_is_tried_five_times_and_outages_for_ever() {
        let is_final = |kind, attempt| match ServiceError::new(kind, "x").into_activity_error(attempt) {
            ActivityError::Application(failure) => failure.is_non_retryable(),
            other => panic!("{other:?}"),
        };
        for (kind, attempt, expected) in [
            (FailureKind::Unexpected, 1, false),
            (FailureKind::Unexpected, 4, false),
            (FailureKind::Unexpected, 5, true),
            (FailureKind::Unexpected, 6, true),
            (FailureKind::Unavailable, 1000, false),
            (FailureKind::RateLimited, 1000, false),
            (FailureKind::Unsupported, 1000, false),
            (FailureKind::Invalid, 1, true),
        ] {
            assert_eq!(is_final(kind, attempt), expected, "{kind} at attempt {attempt}");
        }
    }
}
