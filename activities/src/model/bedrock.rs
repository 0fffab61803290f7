//! The connection to Bedrock: the official SDK, signing and reading streams, with retries off.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::retry::RetryConfig;
use aws_sdk_bedrockruntime::config::timeout::TimeoutConfig;
use aws_sdk_bedrockruntime::config::{
    Builder, ProvideCredentials as _, SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_sdk_bedrockruntime::error::{DisplayErrorContext, SdkError};
use aws_sdk_bedrockruntime::operation::converse_stream::ConverseStreamError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use serde_json::json;
use tokio::time::timeout;
use workflows::contract::failure::FailureKind;

use super::errors::Errors;
use super::request;
use super::settings::{Guardrail, Settings};
use super::stream::{self, Received};
use crate::failure::ServiceError;

/// Time to reach Bedrock's address.
const CONNECT: Duration = Duration::from_secs(5);

/// A request without a reply.
#[derive(Debug)]
pub(super) struct Unanswered {
    /// Why.
    pub error: ServiceError,
    /// It may have been worked on, and is paid for then.
    pub billed: bool,
}

/// The service refused the request, or it never left us: an answer that is an error is free, and so is a connection that was
/// never made. A connection that broke later may have carried it.
fn is_refused(error: &SdkError<ConverseStreamError, HttpResponse>) -> bool {
    match error {
        SdkError::ServiceError(_) | SdkError::ConstructionFailure(_) => true,
        SdkError::DispatchFailure(failure) => {
            let text = DisplayErrorContext(error).to_string().to_ascii_lowercase();
            let never_left = ["tcp connect", "dns", "connect timeout", "credential", "no identity"];
            failure.is_user() || never_left.iter().any(|sign| text.contains(sign))
        }
        _ => false,
    }
}

/// A connection to Bedrock in one region. Credentials are found when they are needed, and renewed by the SDK.
#[derive(Debug, Clone)]
pub struct Bedrock {
    client: Client,
    credentials: Option<SharedCredentialsProvider>,
    region: String,
    pub(super) guardrail: Option<Guardrail>,
    pub(super) idle: Duration,
}

impl Bedrock {
    /// Prepares the connection with the standard credential chain. Sends nothing to Bedrock.
    pub async fn connect(settings: &Settings) -> Self {
        let region = Region::new(settings.region.clone());
        let shared = aws_config::defaults(BehaviorVersion::latest()).region(region).load().await;
        Self::with(Builder::from(&shared), shared.credentials_provider(), settings)
    }

    /// Prepares the connection with these credentials.
    pub(super) fn with(config: Builder, credentials: Option<SharedCredentialsProvider>, settings: &Settings) -> Self {
        let mut config = config
            .region(Region::new(settings.region.clone()))
            // Temporal retries, after a new look at the budget; a retry in here would be paid for unseen.
            .retry_config(RetryConfig::disabled())
            // A long reply is fine as long as it flows: silence is limited, the whole is not.
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_credentials_provider(credentials.clone());
        config.set_endpoint_url(settings.endpoint_url.clone());
        let client = Client::from_conf(config.build());
        let (region, guardrail) = (settings.region.clone(), settings.guardrail.clone());
        Self { client, credentials, region, guardrail, idle: settings.idle() }
    }

    /// The region's name.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Finds credentials without using them; returns the last four characters of the access key's id.
    ///
    /// # Errors
    /// [`FailureKind::Unauthorized`]: no provider of the standard chain has any.
    pub async fn find_credentials(&self) -> Result<String, ServiceError> {
        let lacking = || {
            ServiceError::new(
                FailureKind::Unauthorized,
                "no AWS credentials were found: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give \
                 this host a role",
            )
        };
        let provider = self.credentials.as_ref().ok_or_else(lacking)?;
        let found = provider.provide_credentials().await.map_err(|error| lacking().caused_by(error))?;
        let id = found.access_key_id();
        Ok(id.get(id.len().saturating_sub(4)..).unwrap_or_default().to_owned())
    }

    /// The smallest call that shows whether `model` may be used: one token of reply. Costs a few micro-dollars.
    ///
    /// # Errors
    /// What keeps the model from being used, and how to mend it.
    pub async fn smallest_call(&self, model: &str) -> Result<(), ServiceError> {
        let body = request::canonical(&json!({
            "inferenceConfig": {"maxTokens": 1},
            "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
        }));
        self.ask(model, body, &|_| {}).await.map(drop).map_err(|unanswered| unanswered.error)
    }

    /// Sends one request and reads its reply to the end. `streamed` is told how many bytes came so far.
    pub(super) async fn ask(
        &self,
        model: &str,
        body: Vec<u8>,
        streamed: &(dyn Fn(usize) + Sync),
    ) -> Result<Received, Unanswered> {
        let errors = Errors { model, region: &self.region };
        let length = body.len().to_string();
        let body = Bytes::from(body);
        let call = self.client.converse_stream().model_id(model).customize().mutate_request(move |request| {
            // Runs before signing. Module `request` says why the body is ours.
            *request.body_mut() = SdkBody::from(body.clone());
            request.headers_mut().insert("content-length", length.clone());
            request.headers_mut().insert("content-type", "application/json");
        });
        let reply = match timeout(self.idle, call.send()).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => {
                let billed = !is_refused(&error);
                return Err(Unanswered { billed, error: errors.of_call(error) });
            }
            Err(_) => return Err(Unanswered { billed: true, error: errors.silent(self.idle) }),
        };
        let received = stream::receive(reply, self.idle, &errors, streamed).await;
        received.map_err(|error| Unanswered { billed: true, error })
    }
}
