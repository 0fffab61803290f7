//! The connection to Temporal: made in the background, retried until it stands, absent meanwhile.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use temporalio_client::envconfig::LoadClientConfigProfileOptions;
use temporalio_client::grpc::WorkflowService;
use temporalio_client::tonic::{Code, IntoRequest, Status};
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions};
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeNamespaceRequest;

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the question "are you there" may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// Pauses between attempts double from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Why Temporal did not do what was asked. In every case the sender's delivery is still worth sending again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TemporalError {
    /// Not connected, down, overloaded or too slow.
    #[error("Temporal cannot be reached: {0}")]
    Unavailable(String),
    /// Reached, but set up in another way than this ingress: a person has to act.
    #[error("Temporal refuses: {0}")]
    Refused(String),
}

impl From<Status> for TemporalError {
    fn from(status: Status) -> Self {
        let text = format!("{:?}: {}", status.code(), status.message());
        match status.code() {
            Code::InvalidArgument if status.message().contains("search attribute") => Self::Refused(format!(
                "{text}. Create the search attributes: temporal operator search-attribute create --name TicketKey --type Keyword --name Stage --type Keyword --name Repositories --type KeywordList --name RequestedBy --type Keyword --name CostUsd --type Double"
            )),
            Code::InvalidArgument
            | Code::NotFound
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::Unimplemented => Self::Refused(text),
            _ => Self::Unavailable(text),
        }
    }
}

/// How to connect, from the standard `TEMPORAL_*` variables and profile files.
///
/// # Errors
/// In words, when the variables contradict each other or name a file that cannot be read.
pub fn connection_from_environment() -> Result<(ConnectionOptions, ClientOptions), String> {
    let (mut connection, client) =
        ClientOptions::load_from_config(LoadClientConfigProfileOptions::default()).map_err(|error| {
            format!("the connection to Temporal is not set up well: {error}.\n  See the TEMPORAL_* variables and https://docs.temporal.io/develop/environment-configuration")
        })?;
    connection.identity = format!("ticketwright-ingress@{}", std::process::id());
    connection.connect_timeout = Some(CONNECT_TIMEOUT);
    Ok((connection, client))
}

/// A client that may not be there yet. Cloning shares it.
#[derive(Clone, Default)]
pub struct Temporal {
    client: Arc<OnceLock<Client>>,
}

impl std::fmt::Debug for Temporal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Temporal").field("connected", &self.client.get().is_some()).finish()
    }
}

impl From<Client> for Temporal {
    fn from(client: Client) -> Self {
        Self { client: Arc::new(OnceLock::from(client)) }
    }
}

impl Temporal {
    /// The client.
    ///
    /// # Errors
    /// While the first connection does not stand yet. Later interruptions show as errors of the calls.
    pub fn client(&self) -> Result<&Client, TemporalError> {
        self.client.get().ok_or_else(|| TemporalError::Unavailable("not connected yet".into()))
    }

    /// Connects, again and again until it works.
    pub async fn connect(&self, connection: ConnectionOptions, options: ClientOptions) {
        let mut pause = FIRST_PAUSE;
        loop {
            match attempt(connection.clone(), options.clone()).await {
                Ok(client) => {
                    tracing::info!(address = %connection.target, namespace = %options.namespace, "connected to Temporal");
                    // Already set only when called twice; the first connection then stays.
                    let _ = self.client.set(client);
                    return;
                }
                Err(error) => {
                    tracing::warn!(address = %connection.target, error, retry_in = ?pause, "Temporal cannot be reached");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Asks Temporal whether it is there and knows our namespace, within 2 s.
    ///
    /// # Errors
    /// When it does not answer, or does not know the namespace.
    pub async fn check(&self) -> Result<(), TemporalError> {
        let mut service = self.client()?.clone();
        let request = DescribeNamespaceRequest { namespace: service.options().namespace.clone(), ..Default::default() };
        let answer = tokio::time::timeout(CHECK_TIMEOUT, service.describe_namespace(request.into_request())).await;
        answer.map_err(|_| TemporalError::Unavailable("no answer within 2 s".into()))??;
        Ok(())
    }
}

async fn attempt(connection: ConnectionOptions, options: ClientOptions) -> Result<Client, String> {
    let connection = tokio::time::timeout(CONNECT_TIMEOUT, Connection::connect(connection))
        .await
        .map_err(|_| "no answer within 10 s".to_owned())?
        .map_err(|error| error.to_string())?;
    Client::new(connection, options).map_err(|error| error.to_string())
}
