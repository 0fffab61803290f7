//! The one function that starts runs: of tickets, errors, instructions and mentions.
//!
//! A delivery may come twice, late, or together with twenty others. The rules that keep this harmless:
//! the workflow id is the business object; the request id is the event, so that Temporal itself drops a repeated start while that
//! run is the latest; a run remembers in its memo the time of the newest event it accepted, and older or equal events are
//! dropped; a closed run is followed by a new one only for an event that happened after it closed. Signal-with-start does
//! none of this: on a closed run it forks a new run with every delivery.
//!
//! Instructions differ: each is a matter of its own, two may come within GitHub's one second, and one may arrive when the run
//! it was written under has closed. Their times decide nothing; the run finds by its own reply on GitHub that one was done.

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
use workflows::contract::trigger::{
    ErrorReported, EventId, Instructed, Joined, MENTION_WORKFLOW, Mentioned, PULL_REQUEST_WORKFLOW, SENTRY_WORKFLOW,
    TICKET_WORKFLOW, TicketInput, TicketLabelled,
};

use crate::execution::{self, Execution, LAST_EVENT_AT, STAGE, Signal};
use crate::temporal::TemporalError;

/// How often a start that lost a race looks again. Each turn means that somebody else started or closed the run between
/// two of our calls; five in a row do not happen, but an endless loop must not either.
const LOOKS: usize = 5;
/// Longest title in the Web UI, in characters; Temporal takes 400 bytes.
const TITLE: usize = 100;

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

/// Everything that begins a run, or joins the running one.
struct Beginning {
    workflow_id: String,
    kind: &'static str,
    event: EventId,
    /// A newer event supersedes older ones. Otherwise each counts, and the run itself knows what it has done.
    superseding: bool,
    input: Payload,
    /// Signal to the running run, and what it says. `None`: the run reads for itself when its time has come.
    news: Option<(&'static str, Payload)>,
    /// Search attributes of kind keyword.
    attributes: Vec<(&'static str, String)>,
    /// One line for the Web UI. The server keeps it as it is, past the codec: it says who and where, never what people wrote
    /// to us.
    title: String,
}

/// Starts the ticket's workflow for an event, joins the running one, or drops the event.
///
/// # Errors
/// When Temporal does not answer or refuses; the same event may be tried again at any time.
pub async fn start_ticket(client: &Client, labelled: &TicketLabelled) -> Result<Started, TemporalError> {
    let TicketLabelled { ticket, event, by, summary } = labelled;
    let input =
        TicketInput { key: ticket.to_string(), event: Some(event.clone()), requested_by: by.clone(), policy: None };
    let joined = Joined { event: event.clone(), by: by.clone() };
    let mut attributes = vec![("TicketKey", ticket.to_string()), (STAGE, Stage::Discovering.to_string())];
    if let Some(by) = by {
        attributes.push(("RequestedBy", if by.name.is_empty() { by.id.clone() } else { by.name.clone() }));
    }
    let beginning = Beginning {
        workflow_id: ticket.workflow_id(),
        kind: TICKET_WORKFLOW,
        event: event.clone(),
        superseding: true,
        input: execution::encode(client, &input).await?,
        news: Some(("trigger", execution::encode(client, &joined).await?)),
        attributes,
        title: format!("{ticket} {summary}"),
    };
    start(client, beginning).await
}

/// Starts the run that looks after an error, unless one does.
///
/// # Errors
/// As [`start_ticket`].
pub async fn start_error(client: &Client, reported: &ErrorReported) -> Result<Started, TemporalError> {
    let beginning = Beginning {
        workflow_id: reported.issue.workflow_id(),
        kind: SENTRY_WORKFLOW,
        event: reported.event.clone(),
        superseding: true,
        input: execution::encode(client, reported).await?,
        news: None,
        attributes: vec![],
        title: format!("Sentry {} {}", reported.issue, reported.summary),
    };
    start(client, beginning).await
}

/// Starts the run that follows an instruction on a pull request, or hands the instruction to the running one.
///
/// # Errors
/// As [`start_ticket`].
pub async fn start_instruction(client: &Client, instructed: &Instructed) -> Result<Started, TemporalError> {
    let beginning = Beginning {
        workflow_id: instructed.repository.pull_request_workflow_id(instructed.number),
        kind: PULL_REQUEST_WORKFLOW,
        event: instructed.event.clone(),
        superseding: false,
        input: execution::encode(client, instructed).await?,
        news: Some(("instruct", execution::encode(client, instructed).await?)),
        attributes: vec![("RequestedBy", instructed.by.name.clone())],
        title: format!("{}#{} instruction by {}", instructed.repository, instructed.number, instructed.by.label()),
    };
    start(client, beginning).await
}

/// Starts the run that answers a mention.
///
/// # Errors
/// As [`start_ticket`].
pub async fn start_mention(client: &Client, mentioned: &Mentioned) -> Result<Started, TemporalError> {
    let beginning = Beginning {
        workflow_id: mentioned.workflow_id(),
        kind: MENTION_WORKFLOW,
        event: mentioned.event.clone(),
        superseding: true,
        input: execution::encode(client, mentioned).await?,
        // One run per mention: only a redelivery can meet it.
        news: None,
        attributes: vec![("RequestedBy", mentioned.by.name.clone())],
        title: format!("{} asks in {}", mentioned.by.label(), mentioned.channel),
    };
    start(client, beginning).await
}

async fn start(client: &Client, beginning: Beginning) -> Result<Started, TemporalError> {
    let Beginning { workflow_id, event, superseding, .. } = &beginning;
    for _ in 0..LOOKS {
        let latest = execution::describe(client, workflow_id).await?;
        let (run_id, outcome) = match latest {
            None => match begin(client, &beginning).await? {
                Some(run_id) => (run_id, StartOutcome::Started),
                None => continue,
            },
            Some(known) if *superseding && known.last_event_at.is_some_and(|last| event.at <= last) => {
                (known.run_id, StartOutcome::Dropped)
            }
            Some(Execution { run_id, closed_at: None, .. }) => {
                if !join(client, &beginning, &run_id).await? {
                    continue;
                }
                (run_id, StartOutcome::Joined)
            }
            Some(Execution { run_id, closed_at: Some(closed_at), .. }) if *superseding && event.at <= closed_at => {
                (run_id, StartOutcome::Dropped)
            }
            Some(_) => match begin(client, &beginning).await? {
                Some(run_id) => (run_id, StartOutcome::Started),
                None => continue,
            },
        };
        return Ok(Started { workflow_id: workflow_id.clone(), run_id, outcome });
    }
    Err(TemporalError::Unavailable(format!("{workflow_id} keeps starting and closing")))
}

/// Starts a run. `None`: another event began one a moment ago; the caller looks again. The server answers a repeated
/// request id as it answered the first time, so a duplicate that got here is told of the run it began.
async fn begin(client: &Client, beginning: &Beginning) -> Result<Option<String>, TemporalError> {
    let request = request(client, beginning).await?;
    let answer: StartWorkflowExecutionResponse =
        client.clone().start_workflow_execution(request.into_request()).await?.into_inner();
    Ok(answer.started.then_some(answer.run_id))
}

async fn join(client: &Client, beginning: &Beginning, run_id: &str) -> Result<bool, TemporalError> {
    let Beginning { workflow_id, event, news, .. } = beginning;
    let Some((name, news)) = news else { return Ok(true) };
    execution::signal(client, Signal { workflow_id, run_id, name, request_id: &event.id }, news.clone()).await
}

async fn request(client: &Client, beginning: &Beginning) -> Result<StartWorkflowExecutionRequest, TemporalError> {
    let Beginning { workflow_id, kind, event, input, attributes, title, .. } = beginning;
    let attributes = attributes.iter().map(|(name, value)| Ok(((*name).to_owned(), plain(value)?)));
    let title: String = title.trim_end().chars().take(TITLE).collect();
    Ok(StartWorkflowExecutionRequest {
        namespace: client.options().namespace.clone(),
        workflow_id: workflow_id.clone(),
        workflow_type: Some(WorkflowType { name: (*kind).into() }),
        task_queue: Some(TaskQueue { name: QUEUE.into(), ..Default::default() }),
        input: Some(Payloads { payloads: vec![input.clone()] }),
        identity: client.connection().identity().to_owned(),
        request_id: event.id.clone(),
        workflow_id_reuse_policy: WorkflowIdReusePolicy::AllowDuplicate.into(),
        workflow_id_conflict_policy: WorkflowIdConflictPolicy::UseExisting.into(),
        on_conflict_options: Some(OnConflictOptions { attach_request_id: true, ..Default::default() }),
        memo: Some(Memo { fields: [(LAST_EVENT_AT.to_owned(), execution::encode(client, &event.at).await?)].into() }),
        search_attributes: Some(SearchAttributes { indexed_fields: attributes.collect::<Result<_, TemporalError>>()? }),
        user_metadata: Some(UserMetadata { summary: Some(plain(&title)?), details: None }),
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
