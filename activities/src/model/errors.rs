//! What a failed call to Bedrock means for the caller, by the SDK's typed errors.
//!
//! Source: the errors of ConverseStream in the Bedrock Runtime API reference, and the common errors of AWS services.

use std::time::Duration;

use aws_sdk_bedrockruntime::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::operation::converse_stream::ConverseStreamError;
use aws_sdk_bedrockruntime::types::error::ConverseStreamOutputError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::event_stream::RawMessage;
use workflows::contract::failure::FailureKind;

use crate::failure::ServiceError;

/// Names the model and the region in every message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Errors<'a> {
    /// Model id.
    pub model: &'a str,
    /// AWS region.
    pub region: &'a str,
}

/// What went wrong, before it has words.
enum Trouble {
    Throttled,
    Down,
    Refused,
    /// The prompt is longer than the model's window.
    TooLong,
    /// Our credentials are good, but may not use this model.
    Denied,
    /// Our credentials are not good.
    Credentials,
    NoModel,
    Unknown,
}

impl Errors<'_> {
    /// Failure before the reply began.
    pub(super) fn of_call(&self, error: SdkError<ConverseStreamError, HttpResponse>) -> ServiceError {
        let said = error.message().unwrap_or_default().to_owned();
        let trouble = match &error {
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => Trouble::Down,
            SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) if lacks_credentials(&error) => {
                Trouble::Credentials
            }
            SdkError::DispatchFailure(_) => Trouble::Down,
            SdkError::ServiceError(service) => trouble_of(service.err(), service.raw().status().as_u16()),
            _ => Trouble::Unknown,
        };
        let wait = error.raw_response().and_then(|response| response.headers().get("retry-after"));
        let wait = wait.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
        let failure = ServiceError { retry_after: wait, ..self.failure(trouble, &said) };
        failure.caused_by(anyhow::anyhow!("{}", DisplayErrorContext(&error)))
    }

    /// Failure in the middle of the reply.
    pub(super) fn of_stream(&self, error: SdkError<ConverseStreamOutputError, RawMessage>) -> ServiceError {
        let said = error.message().unwrap_or_default().to_owned();
        let trouble = match &error {
            SdkError::ServiceError(service) => match service.err() {
                ConverseStreamOutputError::ThrottlingException(_) => Trouble::Throttled,
                ConverseStreamOutputError::ValidationException(_) => Trouble::Refused,
                // Internal, unavailable, a stream error of the model, or a kind newer than this SDK: the reply is lost, the
                // same request may well succeed.
                _ => Trouble::Down,
            },
            _ => return self.cut().caused_by(anyhow::anyhow!("{}", DisplayErrorContext(&error))),
        };
        self.failure(trouble, &said).caused_by(anyhow::anyhow!("{}", DisplayErrorContext(&error)))
    }

    /// The connection ended before the reply did.
    pub(super) fn cut(&self) -> ServiceError {
        let Self { model, region } = self;
        ServiceError::new(
            FailureKind::Unavailable,
            format!("Bedrock ({region}) broke off the reply of {model}; it is asked again"),
        )
    }

    /// Nothing came for too long.
    pub(super) fn silent(&self, idle: Duration) -> ServiceError {
        let Self { model, region } = self;
        ServiceError::new(
            FailureKind::Unavailable,
            format!(
                "Bedrock ({region}) was silent for {} s in the reply of {model}; it is asked again",
                idle.as_secs()
            ),
        )
    }

    fn failure(&self, trouble: Trouble, said: &str) -> ServiceError {
        let Self { model, region } = self;
        let said = if said.is_empty() { "no reason given" } else { said.trim_end_matches('.') };
        let said: String = said.chars().take(500).collect();
        let too_long = said.to_lowercase().contains("too long");
        let trouble = if matches!(trouble, Trouble::Refused) && too_long { Trouble::TooLong } else { trouble };
        let (kind, message) = match trouble {
            Trouble::Throttled => (
                FailureKind::RateLimited,
                format!("Bedrock ({region}) asks to wait before the next call of {model}: {said}"),
            ),
            Trouble::Down => (FailureKind::Unavailable, format!("Bedrock ({region}) could not serve {model}: {said}")),
            Trouble::TooLong => (
                FailureKind::Invalid,
                format!(
                    "The conversation is longer than {model} takes: {said}. Set context_tokens of this model in \
                     [policy.models] to what it can hold, or give the task in smaller parts, then retry"
                ),
            ),
            Trouble::Refused => (
                FailureKind::Invalid,
                format!(
                    "Bedrock ({region}) refused the request for {model}: {said}. Check that this id is an inference \
                     profile of your region ([policy.models] in ticketwright.toml), then retry"
                ),
            ),
            Trouble::Denied => (
                FailureKind::Unauthorized,
                format!(
                    "Bedrock does not let us use {model}: {said}. Enable model access for {model} in region {region} \
                     (Bedrock console > Model access), and allow bedrock:InvokeModelWithResponseStream"
                ),
            ),
            Trouble::Credentials => (
                FailureKind::Unauthorized,
                format!(
                    "AWS does not accept our credentials for Bedrock ({region}): {said}. Check AWS_PROFILE or \
                     AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; a session may have expired"
                ),
            ),
            Trouble::NoModel => (
                FailureKind::NotFound,
                format!(
                    "Bedrock has no model {model} in region {region}: {said}. Put an inference profile of that region \
                     into [policy.models] in ticketwright.toml"
                ),
            ),
            Trouble::Unknown => (FailureKind::Unexpected, format!("Bedrock ({region}) failed for {model}: {said}")),
        };
        ServiceError::new(kind, message)
    }
}

fn trouble_of(error: &ConverseStreamError, status: u16) -> Trouble {
    match error {
        ConverseStreamError::ThrottlingException(_) | ConverseStreamError::ModelNotReadyException(_) => {
            Trouble::Throttled
        }
        ConverseStreamError::ModelTimeoutException(_)
        | ConverseStreamError::InternalServerException(_)
        | ConverseStreamError::ServiceUnavailableException(_)
        | ConverseStreamError::ModelErrorException(_)
        | ConverseStreamError::ModelStreamErrorException(_) => Trouble::Down,
        ConverseStreamError::ValidationException(_) => Trouble::Refused,
        ConverseStreamError::ResourceNotFoundException(_) => Trouble::NoModel,
        ConverseStreamError::AccessDeniedException(_) => Trouble::Denied,
        other => match other.code() {
            // Errors that every AWS service has, and the operation's model does not list.
            Some(
                "UnrecognizedClientException"
                | "ExpiredTokenException"
                | "ExpiredToken"
                | "InvalidClientTokenId"
                | "InvalidSignatureException"
                | "IncompleteSignatureException"
                | "MissingAuthenticationTokenException",
            ) => Trouble::Credentials,
            Some("ServiceQuotaExceededException" | "TooManyRequestsException") => Trouble::Throttled,
            _ => match ServiceError::kind_of_status(status) {
                FailureKind::Unauthorized => Trouble::Denied,
                FailureKind::RateLimited => Trouble::Throttled,
                FailureKind::Unavailable => Trouble::Down,
                FailureKind::Invalid => Trouble::Refused,
                _ => Trouble::Unknown,
            },
        },
    }
}

/// No provider of the chain had credentials. The SDK has no type of its own for it that reaches us.
fn lacks_credentials(error: &SdkError<ConverseStreamError, HttpResponse>) -> bool {
    let text = DisplayErrorContext(error).to_string().to_ascii_lowercase();
    text.contains("credential") || text.contains("no identity")
}
