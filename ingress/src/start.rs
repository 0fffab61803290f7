//! The one function that starts tickets.
//!
//! A delivery may come twice, late, or together with twenty others. The rules that keep this harmless:
//! the workflow id is the ticket; the request id is the event, so that Temporal itself drops a repeated start while that
//! run is the latest; a run remembers in its memo the time of the newest event it accepted, and older or equal events are
//! dropped; a closed run is followed by a new one only for an event that happened after it closed. Signal-with-start does
//! none of this: on a closed run it forks a new run with every delivery.

use temporalio_client::Client;
use temporalio_client::grpc::WorkflowService;
use temporalio_client::tonic::IntoRequest;
use temporalio_common::data_converters::{
    GenericPayloadConverter, PayloadConverter, SerializationContext, SerializationContextData,
};
use temporalio_common::protos::temporal::api::common::v1::{Memo, Payload, Payloads, SearchAttributes, WorkflowType};
use temporalio_common::protos::temporal::api::enums::v1::{WorkflowIdConflictPolicy, WorkflowIdReusePolicy};
use temporalio_common::protos::temporal::api::sdk::v1::UserMetadata;
use temporalio_common::protos::temporal::api::taskqueue::v1::TaskQueue;
use temporalio_common::protos::temporal::api::workflow::v1::OnConflictOptions;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    StartWorkflowExecutionRequest, StartWorkflowExecutionResponse,
};
use workflows::contract::QUEUE;
use workflows::contract::status::Stage;
use workflows::contract::trigger::{Joined, TICKET_WORKFLOW, TicketInput, TicketLabelled};

use crate::execution::{self, Execution, LAST_EVENT_AT, STAGE, Signal};
use crate::temporal::TemporalError;

/// How often a start that lost a race looks again. Each turn means that somebody else started or closed the run between
/// two of our calls; five in a row do not happen, but an endless loop must not either.
const LOOKS: usize = 5;

/// What a start came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// `ticket-<KEY>`.
    pub workflow_id: String,
    /// The run that was started, joined, or already knew the event.
    pub run_id: String,
    /// What happened.
    pub outcome: StartOutcome,
}

/// What a start did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartOutcome {
    /// This event began a run. Of duplicates that arrive within the same moment every one may say so; there is one run.
    Started,
    /// The running run was told of the event.
    Joined,
    /// The event is not newer than what the latest run knows, or than its end: nothing happened.
    Dropped,
}

impl StartOutcome {
    /// Wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Joined => "joined",
            Self::Dropped => "dropped",
        }
    }
}

/// Starts the ticket's workflow for an event, joins the running one, or drops the event.
///
/// # Errors
/// When Temporal does not answer or refuses; the same event may be tried again at any time.
pub async fn start_ticket(client: &Client, labelled: &TicketLabelled) -> Result<Started, TemporalError> {
    let workflow_id = labelled.ticket.workflow_id();
    let event = &labelled.event;
    for _ in 0..LOOKS {
        let latest = execution::describe(client, &workflow_id).await?;
        let (run_id, outcome) = match latest {
            None => match begin(client, &workflow_id, labelled).await? {
                Some(run_id) => (run_id, StartOutcome::Started),
                None => continue,
            },
            Some(known) if known.last_event_at.is_some_and(|last| event.at <= last) => {
                (known.run_id, StartOutcome::Dropped)
            }
            Some(Execution { run_id, closed_at: None, .. }) => {
                if !join(client, &workflow_id, &run_id, labelled).await? {
                    continue;
                }
                (run_id, StartOutcome::Joined)
            }
            Some(Execution { run_id, closed_at: Some(closed_at), .. }) if event.at <= closed_at => {
                (run_id, StartOutcome::Dropped)
            }
            Some(_) => match begin(client, &workflow_id, labelled).await? {
                Some(run_id) => (run_id, StartOutcome::Started),
                None => continue,
            },
        };
        return Ok(Started { workflow_id, run_id, outcome });
    }
    Err(TemporalError::Unavailable(format!("{workflow_id} keeps starting and closing")))
}

/// Starts a run. `None`: another event began one a moment ago; the caller looks again. The server answers a repeated
/// request id as it answered the first time, so a duplicate that got here is told of the run it began.
async fn begin(client: &Client, workflow_id: &str, labelled: &TicketLabelled) -> Result<Option<String>, TemporalError> {
    let request = request(client, workflow_id, labelled).await?;
    let answer: StartWorkflowExecutionResponse =
        client.clone().start_workflow_execution(request.into_request()).await?.into_inner();
    Ok(answer.started.then_some(answer.run_id))
}

async fn join(
    client: &Client,
    workflow_id: &str,
    run_id: &str,
    labelled: &TicketLabelled,
) -> Result<bool, TemporalError> {
    let signal = Signal { workflow_id, run_id, name: "trigger", request_id: &labelled.event.id };
    let joined = Joined { event: labelled.event.clone(), by: labelled.by.clone() };
    execution::signal(client, signal, &joined).await
}

async fn request(
    client: &Client,
    workflow_id: &str,
    labelled: &TicketLabelled,
) -> Result<StartWorkflowExecutionRequest, TemporalError> {
    let TicketLabelled { ticket, event, by, summary } = labelled;
    let input =
        TicketInput { key: ticket.to_string(), event: Some(event.clone()), requested_by: by.clone(), policy: None };
    let mut attributes = vec![("TicketKey", ticket.as_str()), (STAGE, Stage::Discovering.as_str())];
    if let Some(by) = by {
        attributes.push(("RequestedBy", if by.name.is_empty() { &by.id } else { &by.name }));
    }
    let attributes = attributes.into_iter().map(|(name, value)| Ok((name.to_owned(), plain(value)?)));
    let title = format!("{ticket} {summary}");
    Ok(StartWorkflowExecutionRequest {
        namespace: client.options().namespace.clone(),
        workflow_id: workflow_id.to_owned(),
        workflow_type: Some(WorkflowType { name: TICKET_WORKFLOW.into() }),
        task_queue: Some(TaskQueue { name: QUEUE.into(), ..Default::default() }),
        input: Some(Payloads { payloads: vec![execution::encode(client, &input).await?] }),
        identity: client.connection().identity().to_owned(),
        request_id: event.id.clone(),
        workflow_id_reuse_policy: WorkflowIdReusePolicy::AllowDuplicate.into(),
        workflow_id_conflict_policy: WorkflowIdConflictPolicy::UseExisting.into(),
        on_conflict_options: Some(OnConflictOptions { attach_request_id: true, ..Default::default() }),
        memo: Some(Memo { fields: [(LAST_EVENT_AT.to_owned(), execution::encode(client, &event.at).await?)].into() }),
        search_attributes: Some(SearchAttributes { indexed_fields: attributes.collect::<Result<_, TemporalError>>()? }),
        user_metadata: Some(UserMetadata { summary: Some(plain(title.trim_end())?), details: None }),
        ..Default::default()
    })
}

/// Encodes what the server itself reads: never through the codec.
fn plain(value: &str) -> Result<Payload, TemporalError> {
    let converter = PayloadConverter::default();
    let context = SerializationContext::new(&SerializationContextData::None, &converter);
    let payload = converter.to_payload(&context, &value.to_owned());
    payload.map_err(|error| TemporalError::Refused(format!("the payload cannot be encoded: {error}")))
}
