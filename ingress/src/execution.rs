//! A ticket's run as Temporal sees it, and signals to it. Raw gRPC, because the SDK's typed calls make up a request id per
//! call, and request ids are what makes a repeated delivery harmless.

use prost_wkt_types::Timestamp;
use temporalio_client::Client;
use temporalio_client::grpc::WorkflowService;
use temporalio_client::tonic::{Code, IntoRequest, Status};
use temporalio_common::data_converters::{SerializationContextData, TemporalDeserializable, TemporalSerializable};
use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads, WorkflowExecution};
use temporalio_common::protos::temporal::api::enums::v1::WorkflowExecutionStatus;
use temporalio_common::protos::temporal::api::query::v1::WorkflowQuery;
use temporalio_common::protos::temporal::api::workflow::v1::WorkflowExecutionInfo;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeWorkflowExecutionRequest, QueryWorkflowRequest, SignalWorkflowExecutionRequest,
};

use crate::temporal::TemporalError;

/// Memo field of a run: time of the newest event it accepted, milliseconds since 1970.
pub const LAST_EVENT_AT: &str = "last_event_at";
/// Search attribute: the ticket's stage.
pub const STAGE: &str = "Stage";

/// The latest run of a workflow id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Its run id.
    pub run_id: String,
    /// When it closed, milliseconds since 1970; `None`: it is running.
    pub closed_at: Option<i64>,
    /// Where the ticket stands, in one word: its stage, or what Temporal says when the run did not come to an end of its
    /// own (terminated, failed, timed_out).
    pub state: String,
    /// Time of the newest event it accepted.
    pub last_event_at: Option<i64>,
}

/// Looks at the latest run; `None`: there is none.
///
/// # Errors
/// When Temporal does not answer, or does not know the namespace.
pub async fn describe(client: &Client, workflow_id: &str) -> Result<Option<Execution>, TemporalError> {
    let request = DescribeWorkflowExecutionRequest {
        namespace: client.options().namespace.clone(),
        execution: Some(WorkflowExecution { workflow_id: workflow_id.to_owned(), run_id: String::new() }),
    };
    let answer = match client.clone().describe_workflow_execution(request.into_request()).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if is_missing_run(&status) => return Ok(None),
        Err(status) => return Err(status.into()),
    };
    let Some(info) = answer.workflow_execution_info else {
        return Err(TemporalError::Unavailable("the description of the run is empty".into()));
    };
    Ok(Some(read(client, info).await))
}

/// A signal to a workflow.
#[derive(Debug, Clone, Copy)]
pub struct Signal<'a> {
    /// To whom.
    pub workflow_id: &'a str,
    /// To which run; empty: the running one.
    pub run_id: &'a str,
    /// The signal's name.
    pub name: &'a str,
    /// The same id twice is one signal.
    pub request_id: &'a str,
}

/// Sends a signal; `false`: no such run, or it is closed.
///
/// # Errors
/// When Temporal does not take the signal for any other reason.
pub async fn signal(client: &Client, signal: Signal<'_>, input: Payload) -> Result<bool, TemporalError> {
    let request = SignalWorkflowExecutionRequest {
        namespace: client.options().namespace.clone(),
        workflow_execution: Some(WorkflowExecution {
            workflow_id: signal.workflow_id.to_owned(),
            run_id: signal.run_id.to_owned(),
        }),
        signal_name: signal.name.to_owned(),
        input: Some(Payloads { payloads: vec![input] }),
        identity: client.connection().identity().to_owned(),
        request_id: signal.request_id.to_owned(),
        ..Default::default()
    };
    match client.clone().signal_workflow_execution(request.into_request()).await {
        Ok(_) => Ok(true),
        Err(status) if is_missing_run(&status) => Ok(false),
        Err(status) => Err(status.into()),
    }
}

/// Asks a workflow's newest run. Answered by a worker: the caller limits the time.
///
/// # Errors
/// When there is no such run, no such query, or no answer that decodes.
pub async fn query<T>(
    client: &Client,
    workflow_id: &str,
    name: &str,
    input: Option<Payload>,
) -> Result<T, TemporalError>
where
    T: TemporalDeserializable + 'static,
{
    let request = QueryWorkflowRequest {
        namespace: client.options().namespace.clone(),
        execution: Some(WorkflowExecution { workflow_id: workflow_id.to_owned(), run_id: String::new() }),
        query: Some(WorkflowQuery {
            query_type: name.to_owned(),
            query_args: input.map(|input| Payloads { payloads: vec![input] }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let answer = client.clone().query_workflow(request.into_request()).await?.into_inner();
    let payload = answer.query_result.and_then(|mut result| result.payloads.pop());
    let payload = payload.ok_or_else(|| TemporalError::Refused(format!("{workflow_id} answered nothing to {name}")))?;
    let decoded = client.options().data_converter.from_payload(&SerializationContextData::None, payload).await;
    decoded.map_err(|error| TemporalError::Refused(format!("the answer to {name} does not decode: {error}")))
}

/// Encodes a value with the client's converter and codec.
pub(crate) async fn encode<T>(client: &Client, value: &T) -> Result<Payload, TemporalError>
where
    T: TemporalSerializable + 'static,
{
    let encoded = client.options().data_converter.to_payload(&SerializationContextData::None, value).await;
    encoded.map_err(|error| TemporalError::Refused(format!("the payload cannot be encoded: {error}")))
}

/// Milliseconds since 1970.
fn milliseconds(time: &Timestamp) -> i64 {
    time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000)
}

async fn read(client: &Client, info: WorkflowExecutionInfo) -> Execution {
    let closed_at = (!is_running(info.status())).then(|| info.close_time.as_ref().map_or(i64::MAX, milliseconds));
    let state = state_of(&info);
    let last_event_at = match info.memo.and_then(|mut memo| memo.fields.remove(LAST_EVENT_AT)) {
        Some(payload) => {
            let decoded = client.options().data_converter.from_payload(&SerializationContextData::None, payload).await;
            // A memo that somebody wrote by hand may hold anything; without a readable time every event counts as newer.
            decoded.ok()
        }
        None => None,
    };
    Execution {
        run_id: info.execution.map(|execution| execution.run_id).unwrap_or_default(),
        closed_at,
        state,
        last_event_at,
    }
}

fn is_running(status: WorkflowExecutionStatus) -> bool {
    matches!(status, WorkflowExecutionStatus::Running | WorkflowExecutionStatus::Paused)
}

/// Where the ticket of a run stands, in one word; see [`Execution::state`].
pub(crate) fn state_of(info: &WorkflowExecutionInfo) -> String {
    let attributes = info.search_attributes.as_ref();
    let stage = attributes
        .and_then(|attributes| attributes.indexed_fields.get(STAGE))
        .and_then(|payload| serde_json::from_slice::<String>(&payload.data).ok());
    match (info.status(), stage) {
        (WorkflowExecutionStatus::Failed, _) => "failed".into(),
        (WorkflowExecutionStatus::Terminated, _) => "terminated".into(),
        (WorkflowExecutionStatus::TimedOut, _) => "timed_out".into(),
        (WorkflowExecutionStatus::Canceled, _) => "cancelled".into(),
        (_, Some(stage)) => stage,
        (WorkflowExecutionStatus::Completed, None) => "completed".into(),
        (_, None) => "running".into(),
    }
}

/// A missing namespace is NotFound too, but that is a matter of set-up and must not look like a ticket without a run.
fn is_missing_run(status: &Status) -> bool {
    const NAMESPACE: &[u8] = b"NamespaceNotFoundFailure";
    status.code() == Code::NotFound && !status.details().windows(NAMESPACE.len()).any(|part| part == NAMESPACE)
}
