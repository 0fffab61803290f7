//! The connection to Bedrock: the official SDK, signing and reading streams, with retries off.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::retry::RetryConfig;
use aws_sdk_bedrockruntime::config::timeout::TimeoutConfig;
use aws_sdk_bedrockruntime::config::{
    Builder, ProvideCredentials as _, SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use serde_json::json;
use tokio::time::timeout;
use workflows::contract::failure::FailureKind;

use super::errors::Errors;
use super::request;
use super::settings::Settings;
use super::stream::{self, Received};
use crate::failure::ServiceError;

/// Time to reach Bedrock's address.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection to Bedrock in one region. Credentials are found when they are needed, and renewed by the SDK.
#[derive(Debug, Clone)]
pub struct Bedrock {
    client: Client,
    credentials: Option<SharedCredentialsProvider>,
    region: String,
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
        Self { client, credentials, region: settings.region.clone(), idle: settings.idle() }
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
        self.ask(model, body).await.map(drop)
    }

    /// Sends one request and reads its reply to the end.
    pub(super) async fn ask(&self, model: &str, body: Vec<u8>) -> Result<Received, ServiceError> {
        let errors = Errors { model, region: &self.region };
        let length = body.len().to_string();
        let body = Bytes::from(body);
        let call = self.client.converse_stream().model_id(model).customize().mutate_request(move |request| {
            // Runs before signing. Module `request` says why the body is ours.
            *request.body_mut() = SdkBody::from(body.clone());
            request.headers_mut().insert("content-length", length.clone());
            request.headers_mut().insert("content-type", "application/json");
        });
        let reply = timeout(self.idle, call.send()).await.map_err(|_| errors.silent(self.idle))?;
        stream::receive(reply.map_err(|error| errors.of_call(error))?, self.idle, &errors).await
    }
}
