//! One HTTP client and one reading of HTTP errors for the services that have no client library of their own.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use workflows::contract::failure::FailureKind;

use crate::failure::ServiceError;

/// Shorter than a heartbeat time-out (10 s), so that a dead attempt is over before the next one begins.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(8);

/// A client without retries: Temporal owns them.
pub(crate) fn client() -> Result<reqwest::Client, ServiceError> {
    reqwest::Client::builder()
        .timeout(TIMEOUT)
        .user_agent(concat!("ticketwright/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| {
            ServiceError::new(FailureKind::Unsupported, "no HTTP client can be made here").caused_by(error)
        })
}

/// A request that got no answer.
pub(crate) fn unanswered(service: &str, error: reqwest::Error) -> ServiceError {
    let error = error.without_url();
    let kind = if error.is_builder() { FailureKind::Invalid } else { FailureKind::Unavailable };
    ServiceError::new(kind, format!("{service} does not answer")).caused_by(error)
}

/// `Retry-After` in whole seconds (RFC 9110 section 10.2.3; none of our services sends a date).
pub(crate) fn retry_after(response: &Response) -> Option<Duration> {
    let header = response.headers().get("retry-after")?.to_str().ok()?;
    header.trim().parse().ok().map(Duration::from_secs)
}

/// The error of an answer that is no success. `detail` is the service's own text, shortened for people.
pub(crate) fn refused(
    service: &str,
    doing: &str,
    status: StatusCode,
    wait: Option<Duration>,
    detail: &str,
) -> ServiceError {
    let detail: String = detail.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
    let mut error = ServiceError::new(
        ServiceError::kind_of_status(status.as_u16()),
        format!("{service} answered {status} to \"{doing}\": {detail}"),
    );
    error.retry_after = wait;
    error
}
