//! One exchange with GitHub, and what its errors mean for the caller.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use workflows::contract::failure::FailureKind;

use crate::failure::ServiceError;
use crate::http::TIMEOUT;

/// Least wait after a secondary rate limit that names none
/// (<https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit>).
const UNNAMED_WAIT: Duration = Duration::from_secs(60);

/// A body as it arrives.
pub(super) type RawBody = http_body_util::combinators::BoxBody<bytes::Bytes, octocrab::Error>;
type Raw = http::Response<RawBody>;

/// An answer, not judged yet.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
    limit: Limit,
}

/// Whether an answer is a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    /// It is none.
    Free,
    /// GitHub asks to wait; how long, if it said so.
    Wait(Option<Duration>),
}

impl Limit {
    /// How long GitHub asked us to wait.
    fn wait(self) -> Option<Duration> {
        match self {
            Self::Free => None,
            Self::Wait(wait) => wait,
        }
    }
}

/// Runs one call within the time of an HTTP call, authentication and body included.
pub(super) async fn within_time<T>(
    doing: &str,
    call: impl Future<Output = Result<T, octocrab::Error>>,
) -> Result<T, ServiceError> {
    match tokio::time::timeout(TIMEOUT, call).await {
        Ok(done) => done.map_err(|error| transport(doing, error)),
        Err(late) => {
            let message = format!("GitHub took more than {} s to {doing}", TIMEOUT.as_secs());
            Err(ServiceError::new(FailureKind::Unavailable, message).caused_by(late))
        }
    }
}

/// Sends one request and reads its answer whole.
pub(super) async fn exchange(
    doing: &str,
    sent: impl Future<Output = Result<Raw, octocrab::Error>>,
) -> Result<Answer, ServiceError> {
    let whole = async {
        let (parts, body) = sent.await?.into_parts();
        Ok((parts, body.collect().await?.to_bytes()))
    };
    let (parts, bytes) = within_time(doing, whole).await?;
    Ok(read(&parts, &bytes))
}

/// Sends one request whose good answer may be large: that is handed over as it arrives, any other is read whole.
pub(super) async fn exchange_streaming(
    doing: &str,
    sent: impl Future<Output = Result<Raw, octocrab::Error>>,
) -> Result<Result<RawBody, Answer>, ServiceError> {
    let begun = async {
        let (parts, body) = sent.await?.into_parts();
        if parts.status.is_success() {
            return Ok(Ok(body));
        }
        Ok(Err(read(&parts, &body.collect().await?.to_bytes())))
    };
    within_time(doing, begun).await
}

fn read(parts: &http::response::Parts, bytes: &[u8]) -> Answer {
    let status = parts.status.as_u16();
    let body = serde_json::from_slice(bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).chars().take(300).collect()));
    let limit = limit_of(status, &parts.headers, body["message"].as_str().unwrap_or_default());
    Answer { status, body, limit }
}

fn limit_of(status: u16, headers: &http::HeaderMap, message: &str) -> Limit {
    if !matches!(status, 403 | 429) {
        return Limit::Free;
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    if let Some(seconds) = header("retry-after") {
        return Limit::Wait(Some(Duration::from_secs(seconds)));
    }
    if header("x-ratelimit-remaining") == Some(0) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let wait =
            header("x-ratelimit-reset").map(|reset| Duration::from_secs(reset.saturating_sub(now).clamp(1, 3600)));
        return Limit::Wait(wait);
    }
    let message = message.to_lowercase();
    if status == 429 || message.contains("rate limit") || message.contains("abuse detection") {
        return Limit::Wait(Some(UNNAMED_WAIT));
    }
    Limit::Free
}

impl Answer {
    /// Success decodes, anything else is the error it means.
    pub(super) fn into<T: DeserializeOwned>(self, doing: &str) -> Result<T, ServiceError> {
        if !(200..300).contains(&self.status) {
            return Err(self.refusal(doing));
        }
        serde_json::from_value(self.body).map_err(|error| odd(doing, error))
    }

    /// What GitHub said, and what to do about it.
    pub(super) fn refusal(&self, doing: &str) -> ServiceError {
        let said = self.body["message"].as_str().unwrap_or_default();
        let detail = self.body["errors"][0]["message"].as_str().unwrap_or_default();
        refused(doing, self.status, self.limit, &format!("{said} {detail}"))
    }

    /// The refusal's words contain this.
    pub(super) fn says(&self, words: &str) -> bool {
        self.body.to_string().to_lowercase().contains(words)
    }

    /// The reply to a GraphQL query, which reports refusals with status 200.
    pub(super) fn into_graphql(self, doing: &str) -> Result<Value, ServiceError> {
        let data: Value = self.into(doing)?;
        let Some(fault) = data["errors"][0]["message"].as_str() else {
            return Ok(data);
        };
        let message = format!("GitHub refused to {doing}: {fault}");
        Err(match data["errors"][0]["type"].as_str() {
            Some("NOT_FOUND") => ServiceError::new(FailureKind::NotFound, message),
            Some("FORBIDDEN") => ServiceError::new(FailureKind::Unauthorized, message),
            Some("RATE_LIMITED") => ServiceError::rate_limited(message, Some(UNNAMED_WAIT)),
            _ => ServiceError::new(FailureKind::Invalid, message),
        })
    }
}

fn refused(doing: &str, status: u16, limit: Limit, said: &str) -> ServiceError {
    let kind = match limit {
        Limit::Wait(_) => FailureKind::RateLimited,
        Limit::Free => ServiceError::kind_of_status(status),
    };
    let next = match kind {
        FailureKind::Unauthorized if status == 401 => " Check GITHUB_TOKEN or the App's key.",
        FailureKind::Unauthorized => " The token or App lacks a permission: see `ticketwright check`.",
        _ => "",
    };
    let said: String = said.trim().trim_end_matches('.').chars().take(300).collect();
    let colon = if said.is_empty() { "" } else { ": " };
    let message = format!("GitHub answered {status} to \"{doing}\"{colon}{said}.{next}");
    ServiceError { retry_after: limit.wait(), ..ServiceError::new(kind, message) }
}

/// An answer that does not decode.
pub(super) fn odd(doing: &str, error: serde_json::Error) -> ServiceError {
    let message = format!("GitHub's answer to \"{doing}\" is not what its API promises");
    ServiceError::new(FailureKind::Unexpected, message).caused_by(error)
}

/// A call that octocrab could not finish. Making an App's token is a call inside the call; its refusal comes as an error.
pub(super) fn transport(doing: &str, error: octocrab::Error) -> ServiceError {
    let (kind, message) = match &error {
        octocrab::Error::GitHub { source, .. } => {
            let status = source.status_code.as_u16();
            let limit =
                source.headers.as_ref().map_or(Limit::Free, |headers| limit_of(status, headers, &source.message));
            return refused(doing, status, limit, &source.message);
        }
        octocrab::Error::JWT { .. } => {
            (FailureKind::Unauthorized, "GITHUB_APP_PRIVATE_KEY cannot sign: make a new key for the App".to_owned())
        }
        octocrab::Error::Uri { .. } | octocrab::Error::UriParse { .. } | octocrab::Error::Http { .. } => {
            (FailureKind::Invalid, format!("\"{doing}\" makes no valid request"))
        }
        octocrab::Error::Serde { .. } | octocrab::Error::Json { .. } => {
            (FailureKind::Unexpected, format!("GitHub's answer to \"{doing}\" is not what its API promises"))
        }
        _ => (FailureKind::Unavailable, format!("GitHub does not answer to \"{doing}\"")),
    };
    ServiceError::new(kind, message).caused_by(error)
}
