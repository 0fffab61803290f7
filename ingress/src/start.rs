//! The one start function: an event about a ticket starts its workflow, joins the run that is there, or is dropped.
//!
//! Ids are a pure function of the ticket. A duplicate delivery joins the run and never forks it. A closed run is followed by
//! a new one only for an event that is newer than everything that run has seen and than its end.

use std::collections::HashMap;

use temporalio_client::grpc::WorkflowService;
use temporalio_client::tonic::{self, IntoRequest};
use temporalio_client::{Client, NamespacedClient};
use temporalio_common::data_converters::{PayloadConverter, RawValue};
use temporalio_common::protos::temporal::api::common::v1::{Memo, Payload, Payloads, WorkflowExecution, WorkflowType};
use temporalio_common::protos::temporal::api::enums::v1::{
    WorkflowExecutionStatus, WorkflowIdConflictPolicy, WorkflowIdReusePolicy,
};
use temporalio_common::protos::temporal::api::sdk::v1::UserMetadata;
use temporalio_common::protos::temporal::api::taskqueue::v1::TaskQueue;
use temporalio_common::protos::temporal::api::workflow::v1::{OnConflictOptions, WorkflowExecutionInfo};
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeWorkflowExecutionRequest, SignalWorkflowExecutionRequest, StartWorkflowExecutionRequest,
};
use temporalio_common::search_attributes::SearchAttributes;
use workflows::contract::QUEUE;
use workflows::contract::status::Stage;
use workflows::contract::trigger::{Joined, TICKET_WORKFLOW, TicketInput, TicketLabelled};
use workflows::search_attributes::{REQUESTED_BY, STAGE, TICKET_KEY};

/// Memo key under which a run keeps the time of the newest event it accepted.
const LAST_EVENT_AT: &str = "last_event_at";
/// Rounds of look-and-act before giving up: each round lost means that the run opened or closed in between.
const ROUNDS: usize = 5;

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Workflow id.
    pub workflow_id: String,
    /// Run that carries the ticket, if one does.
    pub run_id: String,
    /// What was done.
    pub outcome: Outcome,
}

/// What was done with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A new run began.
    Started,
    /// A run was there and was told.
    Joined,
    /// The event is not newer than what is known: a late or repeated delivery.
    Dropped,
}

/// Temporal did not accept it. The sender shall try again.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An RPC failed.
    #[error("Temporal does not accept requests: {0}")]
    Temporal(#[from] tonic::Status),
    /// The run opened and closed under us in every round.
    #[error("{0} keeps opening and closing; try again")]
    Unsteady(String),
}

/// Starts, joins or drops.
pub async fn start_ticket(client: &Client, labelled: &TicketLabelled) -> Result<Started, StartError> {
    let workflow_id = labelled.ticket.workflow_id();
    for _ in 0..ROUNDS {
        let started = |run_id: String, outcome| Started { workflow_id: workflow_id.clone(), run_id, outcome };
        match describe(client, &workflow_id).await? {
            None => {
                let (run_id, new) = start(client, labelled).await?;
                if new {
                    return Ok(started(run_id, Outcome::Started));
                }
            }
            Some(run) if run.is_running() => {
                if labelled.event.at <= run.last_event_at {
                    return Ok(started(run.run_id, Outcome::Dropped));
                }
                let joined = Joined { event: labelled.event.clone(), by: labelled.by.clone() };
                if signal(client, &workflow_id, "trigger", &joined).await? {
                    return Ok(started(run.run_id, Outcome::Joined));
                }
            }
            Some(run) => {
                if labelled.event.at <= run.last_event_at.max(run.closed_at) {
                    return Ok(started(run.run_id, Outcome::Dropped));
                }
                let (run_id, new) = start(client, labelled).await?;
                if new {
                    return Ok(started(run_id, Outcome::Started));
                }
            }
        }
        // Someone else was faster: look again and join.
    }
    Err(StartError::Unsteady(workflow_id))
}

/// A run as far as starting needs to know it.
#[derive(Debug, Clone)]
pub struct RunState {
    /// Run id.
    pub run_id: String,
    /// Where it stands.
    pub status: WorkflowExecutionStatus,
    /// Milliseconds since 1970 of the newest event it accepted; 0: none.
    pub last_event_at: i64,
    /// Milliseconds since 1970 of its end; 0: running.
    pub closed_at: i64,
    /// Stage from its memo.
    pub stage: String,
}

impl RunState {
    /// It has not ended.
    pub fn is_running(&self) -> bool {
        matches!(self.status, WorkflowExecutionStatus::Running | WorkflowExecutionStatus::Paused)
    }
}

/// Looks at a workflow's newest run without needing a worker.
pub async fn describe(client: &Client, workflow_id: &str) -> Result<Option<RunState>, tonic::Status> {
    let request = DescribeWorkflowExecutionRequest {
        namespace: client.namespace(),
        execution: Some(WorkflowExecution { workflow_id: workflow_id.to_owned(), run_id: String::new() }),
        ..Default::default()
    };
    match client.clone().describe_workflow_execution(request.into_request()).await {
        Ok(answer) => Ok(answer.into_inner().workflow_execution_info.map(|info| state_of(&info))),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

fn state_of(info: &WorkflowExecutionInfo) -> RunState {
    let memo = |key: &str| {
        let payload = info.memo.as_ref().and_then(|memo| memo.fields.get(key));
        payload.and_then(|payload| serde_json::from_slice::<serde_json::Value>(&payload.data).ok())
    };
    let closed = info.close_time.as_ref().map_or(0, |time| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000);
    RunState {
        run_id: info.execution.as_ref().map(|execution| execution.run_id.clone()).unwrap_or_default(),
        status: info.status(),
        last_event_at: memo(LAST_EVENT_AT).and_then(|value| value.as_i64()).unwrap_or_default(),
        closed_at: closed,
        stage: memo("stage").and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default(),
    }
}

/// Starts the run; tells whether it is new. The request id is the event's id, so Temporal itself knows a repeated start.
async fn start(client: &Client, labelled: &TicketLabelled) -> Result<(String, bool), tonic::Status> {
    let input = TicketInput {
        key: labelled.ticket.to_string(),
        event: Some(labelled.event.clone()),
        requested_by: labelled.by.clone(),
        policy: None,
    };
    let requested_by = labelled.by.as_ref().map_or_else(|| "Jira".to_owned(), |person| person.label());
    let attributes = SearchAttributes::new([
        TICKET_KEY.value_set(labelled.ticket.to_string()),
        STAGE.value_set(Stage::Discovering.to_string()),
        REQUESTED_BY.value_set(requested_by),
    ]);
    let memo = HashMap::from([(LAST_EVENT_AT.to_owned(), payload(&labelled.event.at))]);
    let title: String = format!("{} {}", labelled.ticket, labelled.summary).chars().take(200).collect();
    let request = StartWorkflowExecutionRequest {
        namespace: client.namespace(),
        workflow_id: labelled.ticket.workflow_id(),
        workflow_type: Some(WorkflowType { name: TICKET_WORKFLOW.to_owned() }),
        task_queue: Some(TaskQueue { name: QUEUE.to_owned(), ..Default::default() }),
        input: Some(Payloads { payloads: vec![payload(&input)] }),
        identity: client.identity(),
        request_id: labelled.event.id.clone(),
        workflow_id_reuse_policy: WorkflowIdReusePolicy::AllowDuplicate.into(),
        workflow_id_conflict_policy: WorkflowIdConflictPolicy::UseExisting.into(),
        on_conflict_options: Some(OnConflictOptions { attach_request_id: true, ..Default::default() }),
        memo: Some(Memo { fields: memo }),
        search_attributes: Some(attributes.into_proto()),
        user_metadata: Some(UserMetadata { summary: Some(payload(&title)), ..Default::default() }),
        ..Default::default()
    };
    let answer = client.clone().start_workflow_execution(request.into_request()).await?.into_inner();
    Ok((answer.run_id, answer.started))
}

/// Signals a workflow; false when there is none that runs.
pub async fn signal(
    client: &Client,
    workflow_id: &str,
    name: &str,
    value: &impl serde::Serialize,
) -> Result<bool, tonic::Status> {
    let request = SignalWorkflowExecutionRequest {
        namespace: client.namespace(),
        workflow_execution: Some(WorkflowExecution { workflow_id: workflow_id.to_owned(), run_id: String::new() }),
        signal_name: name.to_owned(),
        input: Some(Payloads { payloads: vec![payload(value)] }),
        identity: client.identity(),
        // The server drops a signal whose request id it has seen: our own RPC retries must not double it.
        request_id: uuid::Uuid::new_v4().to_string(),
        ..Default::default()
    };
    match client.clone().signal_workflow_execution(request.into_request()).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(false),
        Err(status) => Err(status),
    }
}

/// A JSON payload, as the CLI and the worker's default converter write it.
fn payload<T: serde::Serialize>(value: &T) -> Payload {
    let json = serde_json::to_value(value).unwrap_or_default();
    let raw = RawValue::from_value(&json, &PayloadConverter::default());
    raw.payloads.into_iter().next().unwrap_or_default()
}
