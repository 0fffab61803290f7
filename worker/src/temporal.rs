//! The Temporal server: connection, namespace, search attributes.
//!
//! Address, namespace and credentials come from Temporal's own variables and profiles (`TEMPORAL_ADDRESS`,
//! `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, `TEMPORAL_PROFILE`, ...), so a local server, a cluster and Temporal Cloud differ
//! by configuration only.

use std::error::Error;
use std::time::Duration;

use temporalio_client::envconfig::LoadClientConfigProfileOptions;
use temporalio_client::errors::ClientConnectError;
use temporalio_client::grpc::WorkflowService as _;
use temporalio_client::tonic::{Code, IntoRequest as _, Status};
use temporalio_client::{Client, ClientOptions, ConnectionOptions};
use temporalio_common::protos::temporal::api::enums::v1::IndexedValueType;
use temporalio_common::protos::temporal::api::operatorservice::v1::{
    AddSearchAttributesRequest, ListSearchAttributesRequest,
};
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeNamespaceRequest, DescribeNamespaceResponse,
};

use crate::problem::Problem;

/// Time to reach the server in one attempt.
const CONNECT: Duration = Duration::from_secs(5);
/// First and longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The search attributes by which people find tickets, with their types and the names of those.
pub(crate) const SEARCH_ATTRIBUTES: [(&str, IndexedValueType, &str); 5] = [
    ("TicketKey", IndexedValueType::Keyword, "Keyword"),
    ("Stage", IndexedValueType::Keyword, "Keyword"),
    ("Repositories", IndexedValueType::KeywordList, "KeywordList"),
    ("RequestedBy", IndexedValueType::Keyword, "Keyword"),
    ("CostUsd", IndexedValueType::Double, "Double"),
];

/// Where Temporal is, as its variables and profiles say.
#[derive(Clone)]
pub(crate) struct Address {
    connection: ConnectionOptions,
    client: ClientOptions,
}

impl Address {
    /// Reads Temporal's variables and profile file.
    ///
    /// # Errors
    /// They contradict each other, or the profile does not exist.
    pub(crate) fn from_environment() -> Result<Self, Problem> {
        let (mut connection, client) = ClientOptions::load_from_config(LoadClientConfigProfileOptions::default())
            .map_err(|error| {
                Problem::new("the Temporal connection is not configured well.")
                    .advice(error.to_string())
                    .advice("Check the TEMPORAL_* variables, or the profile: temporal config list")
            })?;
        connection.connect_timeout = Some(CONNECT);
        if connection.identity.is_empty() {
            connection.identity = format!("ticketwright-{}", std::process::id());
        }
        Ok(Self { connection, client })
    }

    /// Host and port, for people.
    pub(crate) fn target(&self) -> String {
        let target = &self.connection.target;
        let host = target.host_str().unwrap_or("(no host)");
        target.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.client.namespace
    }

    /// Which server and namespace, in words.
    pub(crate) fn named(&self) -> String {
        format!("Temporal at {}, namespace {},", self.target(), self.namespace())
    }

    /// Connects once.
    ///
    /// # Errors
    /// See [`ClientConnectError`].
    pub(crate) async fn connect(&self) -> Result<Client, ClientConnectError> {
        Client::connect(self.connection.clone(), self.client.clone()).await
    }

    /// Connects, and waits for a server that is not there yet.
    ///
    /// # Errors
    /// Waiting cannot help: the address or the credentials are wrong.
    pub(crate) async fn connect_patiently(&self) -> Result<Client, Problem> {
        let (mut pause, longest) = PAUSES;
        loop {
            let error = match self.connect().await {
                Ok(client) => return Ok(client),
                Err(error) => error,
            };
            if is_final(&error) {
                return Err(self.unreachable(&error));
            }
            let seconds = pause.as_secs();
            let reason = reason(&error);
            tracing::warn!(address = %self.target(), retry_in_seconds = seconds, %reason, "Temporal does not answer");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Why there is no connection, and what to do.
    pub(crate) fn unreachable(&self, error: &ClientConnectError) -> Problem {
        let problem = Problem::new(format!("Temporal at {} cannot be used.", self.target())).advice(reason(error));
        if is_final(error) {
            problem.advice("Check TEMPORAL_ADDRESS, TEMPORAL_API_KEY and the TEMPORAL_TLS_* variables.")
        } else {
            problem.advice("Start one with: temporal server start-dev   Or point TEMPORAL_ADDRESS to yours.")
        }
    }
}

fn is_final(error: &ClientConnectError) -> bool {
    match error {
        ClientConnectError::InvalidUri(_)
        | ClientConnectError::InvalidHeaders(_)
        | ClientConnectError::InvalidConfig(_) => true,
        ClientConnectError::SystemInfoCallError(status) => {
            matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied)
        }
        _ => false,
    }
}

/// Why there is no connection: the innermost cause, for the outer ones print as nested structures.
fn reason(error: &ClientConnectError) -> String {
    if let ClientConnectError::SystemInfoCallError(status) = error {
        return said(status);
    }
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The namespace we are connected to.
///
/// # Errors
/// It does not exist, or we may not see it.
pub(crate) async fn describe_namespace(client: &Client) -> Result<DescribeNamespaceResponse, Problem> {
    let namespace = client.options().namespace.clone();
    let request = DescribeNamespaceRequest { namespace: namespace.clone(), ..Default::default() };
    let described = client.clone().describe_namespace(request.into_request()).await;
    described.map(temporalio_client::tonic::Response::into_inner).map_err(|status| {
        let problem = Problem::new(format!("the Temporal namespace {namespace} cannot be used."));
        match status.code() {
            Code::NotFound => problem
                .advice("It does not exist. Create it with:")
                .advice(format!("temporal operator namespace create --namespace {namespace} --retention 90d")),
            _ => problem.advice(said(&status)).advice("Check TEMPORAL_NAMESPACE and what your key may do."),
        }
    })
}

/// Search attributes of the namespace that are missing, or have another type.
///
/// # Errors
/// The server does not let us look.
pub(crate) async fn missing_search_attributes(client: &Client) -> Result<Vec<&'static str>, Status> {
    let request = ListSearchAttributesRequest { namespace: client.options().namespace.clone() };
    let listed =
        client.connection().operator_service().list_search_attributes(request.into_request()).await?.into_inner();
    let has = |name: &str, kind: IndexedValueType| listed.custom_attributes.get(name) == Some(&(kind as i32));
    Ok(SEARCH_ATTRIBUTES.iter().filter(|(name, kind, _)| !has(name, *kind)).map(|(name, ..)| *name).collect())
}

/// Creates the search attributes that are missing, where we are allowed to.
///
/// # Errors
/// They are missing and we may not create them: without them no ticket can run.
pub(crate) async fn ensure_search_attributes(client: &Client) -> Result<(), Problem> {
    let namespace = client.options().namespace.clone();
    let missing = match missing_search_attributes(client).await {
        Ok(missing) if missing.is_empty() => return Ok(()),
        Ok(missing) => missing,
        Err(status) => {
            // Temporal Cloud does not let a worker look. What is missing shows in the first ticket.
            let create = create_line(&namespace, &SEARCH_ATTRIBUTES.map(|(name, ..)| name));
            tracing::warn!(reason = %said(&status), %create, "search attributes could not be checked");
            return Ok(());
        }
    };
    let wanted = SEARCH_ATTRIBUTES.iter().filter(|(name, ..)| missing.contains(name));
    let request = AddSearchAttributesRequest {
        namespace: namespace.clone(),
        search_attributes: wanted.map(|(name, kind, _)| ((*name).to_owned(), *kind as i32)).collect(),
    };
    match client.connection().operator_service().add_search_attributes(request.into_request()).await {
        Ok(_) => {
            tracing::info!(created = missing.join(", "), %namespace, "search attributes were created");
            Ok(())
        }
        // Another worker was faster.
        Err(status) if status.code() == Code::AlreadyExists => Ok(()),
        Err(status) => Err(Problem::new(format!(
            "search attributes are missing in namespace {namespace}: {}.",
            missing.join(", ")
        ))
        .advice(format!("People find tickets by them, and we may not create them ({}).", said(&status)))
        .advice("Create them with:")
        .advice(create_line(&namespace, &missing))),
    }
}

/// The command line that creates these search attributes.
pub(crate) fn create_line(namespace: &str, names: &[&str]) -> String {
    let wanted = SEARCH_ATTRIBUTES.iter().filter(|(name, ..)| names.contains(name));
    let flags = wanted.map(|(name, _, kind)| format!(" --name {name} --type {kind}")).collect::<String>();
    format!("temporal operator search-attribute create --namespace {namespace}{flags}")
}

/// What a gRPC status says, for people.
pub(crate) fn said(status: &Status) -> String {
    if status.message().is_empty() { status.code().to_string() } else { status.message().to_owned() }
}

#[cfg(test)]
mod tests {
    use workflows::search_attributes as declared;

    use super::*;

    #[test]
    fn the_list_has_what_the_workflows_declare() {
        let names = [
            declared::TICKET_KEY.name(),
            declared::STAGE.name(),
            declared::REPOSITORIES.name(),
            declared::REQUESTED_BY.name(),
            declared::COST_USD.name(),
        ];
        assert_eq!(SEARCH_ATTRIBUTES.map(|(name, ..)| name), names);
    }

    #[test]
    fn the_create_line_names_what_is_missing_only() {
        assert_eq!(
            create_line("prod", &["Stage", "CostUsd"]),
            "temporal operator search-attribute create --namespace prod --name Stage --type Keyword --name CostUsd --type Double"
        );
    }
}
