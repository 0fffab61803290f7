//! The only place where a service's error becomes retryable, final, or "retry after n seconds" for Temporal.

use std::time::Duration;

use temporalio_sdk::ApplicationFailure;
use temporalio_sdk::activities::ActivityError;
use temporalio_sdk::error::ApplicationErrorCategory;
use workflows::contract::failure::FailureKind;

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
    /// The failure that Temporal records. (`From` is taken: the SDK turns every error into an untyped, retryable failure.)
    pub fn into_activity_error(self) -> ActivityError {
        let (kind, retry_after) = (self.kind, self.retry_after);
        // Being asked to wait is normal: no error metric, no alert.
        let category = match kind {
            FailureKind::RateLimited => ApplicationErrorCategory::Benign,
            _ => ApplicationErrorCategory::Unspecified,
        };
        ActivityError::application(
            ApplicationFailure::builder(anyhow::Error::new(self))
                .type_name(kind.name().to_owned())
                .non_retryable(kind.is_final())
                .category(category)
                .maybe_next_retry_delay(retry_after)
                .build(),
        )
    }
}
