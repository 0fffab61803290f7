//! The few things every workflow needs beyond the SDK: calling activities and children with one classification of their
//! errors, waiting with a limit, and decoding what comes from outside without ever failing a workflow task.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use temporalio_common::data_converters::{
    GenericPayloadConverter, PayloadConverter, RawValue, SerializationContext, SerializationContextData,
    TemporalDeserializable, WorkflowSerializationContext,
};
use temporalio_common::error::{IncomingError, TimeoutType};
use temporalio_common::{ActivityDefinition, SignalDefinition, UntypedWorkflow, WorkflowDefinition};
use temporalio_workflow::workflows::select;
use temporalio_workflow::{
    ActivityExecutionError, ChildWorkflowExecutionError, ChildWorkflowOptions, ChildWorkflowStartError,
    ParentClosePolicy, SignalWorkflowOptions, SyncWorkflowContext, TimerOptions, WaitConditionOptions,
    WorkflowCancellationToken, WorkflowContext,
};

use crate::contract::failure::FailureKind;
use crate::policy::{Family, activity_options};

/// Why a call gave no result.
#[derive(Debug, Clone, PartialEq)]
pub enum CallError {
    /// This run is being cancelled; clean up.
    Cancelled,
    /// It failed for good.
    Failed(Failure),
}

/// A failed call.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What to do about it.
    pub kind: FailureKind,
    /// For people.
    pub message: String,
    /// How long the service asked us to wait.
    pub retry_after: Option<Duration>,
    /// What the last heartbeat told, when the attempt was lost with its worker.
    pub last_beat: Option<serde_json::Value>,
}

impl Failure {
    /// A failure of this kind, with words for people.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None, last_beat: None }
    }
}

/// Calls an activity under `token`.
pub async fn call<W, A>(
    ctx: &WorkflowContext<W>,
    token: &WorkflowCancellationToken,
    family: Family,
    summary: &str,
    activity: A,
    input: A::Input,
) -> Result<A::Output, CallError>
where
    A: ActivityDefinition,
    A::Input: Clone,
    A::Output: TemporalDeserializable,
{
    loop {
        let options = activity_options(family, token, summary);
        match ctx.execute_activity(Same(&activity), input.clone(), options).await {
            Ok(output) => return Ok(output),
            // A worker that was killed while cancelling reports a heartbeat time-out, so the token decides, not the error.
            Err(_) if token.is_cancelled() => return Err(CallError::Cancelled),
            // No worker was there to begin with it. Our own absence is not a failure of the service: ask again.
            Err(error) if never_began(&error) => {}
            Err(error) => return Err(classify_activity(&error, summary)),
        }
    }
}

/// An activity that can be called more than once: the definitions themselves cannot be copied.
struct Same<'a, A>(&'a A);

impl<A: ActivityDefinition> ActivityDefinition for Same<'_, A> {
    type Input = A::Input;
    type Output = A::Output;

    fn name(&self) -> &str {
        self.0.name()
    }
}

/// The time was up before any attempt: an attempt that failed, or was lost, is the time-out's cause.
fn never_began(error: &ActivityExecutionError) -> bool {
    error.as_timeout().is_some_and(|timeout| {
        matches!(timeout.timeout_type(), TimeoutType::ScheduleToClose | TimeoutType::ScheduleToStart)
            && timeout.cause().is_none()
            // One that was under way when the time was up has told something.
            && timeout.raw_last_heartbeat_details().is_none()
    })
}

/// Runs a child workflow to its end under `token`. `meanwhile` is polled beside it and may tell it things; it never ends.
pub async fn run_child<W, C>(
    ctx: &WorkflowContext<W>,
    token: &WorkflowCancellationToken,
    workflow: C,
    input: C::Input,
    id: String,
    summary: String,
    meanwhile: impl Future<Output = std::convert::Infallible>,
) -> Result<C::Output, CallError>
where
    C: WorkflowDefinition + 'static,
    C::Output: TemporalDeserializable + 'static,
{
    let options = ChildWorkflowOptions::builder()
        .workflow_id(id)
        .static_summary(summary)
        .cancellation_token(token.clone())
        .parent_close_policy(ParentClosePolicy::RequestCancel)
        .search_attributes(ctx.search_attributes())
        .build();
    let cancelled_or = |failure: Failure| {
        if token.is_cancelled() { CallError::Cancelled } else { CallError::Failed(failure) }
    };
    let started = match ctx.start_child_workflow(workflow, input, options).await {
        Ok(started) => started,
        Err(error) => return Err(cancelled_or(start_failure(&error))),
    };
    let mut result = started.result();
    let meanwhile = futures::FutureExt::fuse(meanwhile);
    futures::pin_mut!(meanwhile);
    select! {
        ended = result => ended.map_err(|error| cancelled_or(child_failure(&error))),
        never = meanwhile => match never {},
    }
}

fn start_failure(error: &ChildWorkflowStartError) -> Failure {
    Failure::new(FailureKind::Conflict, format!("could not start: {error}"))
}

fn child_failure(error: &ChildWorkflowExecutionError) -> Failure {
    Failure::new(FailureKind::Unexpected, error.to_string())
}

fn classify_activity(error: &ActivityExecutionError, summary: &str) -> CallError {
    if let Some(timeout) = error.as_timeout() {
        let last = match timeout.cause() {
            Some(IncomingError::Application(last)) => format!("; the last attempt said: {last}"),
            _ => String::new(),
        };
        let message = format!("\"{summary}\" did not succeed in time{last}. Retry when the service is back.");
        let last_beat = timeout.last_heartbeat_details().ok().flatten();
        return CallError::Failed(Failure { last_beat, ..Failure::new(FailureKind::Unavailable, message) });
    }
    let failure = match error.cause() {
        Some(IncomingError::Application(failure)) => Failure {
            kind: FailureKind::from_name(failure.type_name().unwrap_or_default()),
            message: failure.to_string(),
            retry_after: failure.next_retry_delay(),
            last_beat: None,
        },
        _ => Failure::new(FailureKind::Unexpected, error.to_string()),
    };
    CallError::Failed(failure)
}

/// Sends a signal to another run, of whatever type, and says whether that run is there to hear it.
pub async fn signal<W>(
    ctx: &WorkflowContext<W>,
    token: &WorkflowCancellationToken,
    to: &str,
    name: &'static str,
    message: &impl serde::Serialize,
) -> bool {
    // A value that does not serialise would be a bug of ours, and is then an empty signal.
    let value = serde_json::to_value(message).unwrap_or_default();
    let raw = RawValue::from_value(&value, ctx.payload_converter());
    let summary = name.replace('_', " ");
    let options = SignalWorkflowOptions::builder().summary(summary).cancellation_token(token.clone()).build();
    ctx.external_workflow(to.to_owned(), None).signal(Named(name), raw, options).await.is_ok()
}

/// A signal known by its name alone.
struct Named(&'static str);

impl SignalDefinition for Named {
    type Workflow = UntypedWorkflow;
    type Input = RawValue;

    fn name(&self) -> &str {
        self.0
    }
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The condition holds.
    Fulfilled,
    /// The time is up.
    TimedOut,
    /// The token was cancelled.
    Cancelled,
}

/// Waits until `condition` holds, at most `limit`. The SDK's wait has no limit, and dropping a timer does not cancel it.
pub async fn wait_until<W>(
    ctx: &WorkflowContext<W>,
    token: &WorkflowCancellationToken,
    limit: Duration,
    summary: &str,
    mut condition: impl FnMut(&W) -> bool,
) -> Waited {
    // A timer for something that is already so would only be noise in the history.
    if ctx.state(&mut condition) {
        return Waited::Fulfilled;
    }
    let timer_token = token.child_token();
    let mut timer = ctx.timer(
        TimerOptions::builder(limit).summary(summary.to_owned()).cancellation_token(timer_token.clone()).build(),
    );
    let options = WaitConditionOptions::builder().cancellation_token(token.clone()).build();
    select! {
        fulfilled = ctx.wait_condition_with_options(condition, options) => match fulfilled {
            Ok(()) => { timer_token.cancel(); Waited::Fulfilled }
            Err(_) => Waited::Cancelled,
        },
        _ = timer => if token.is_cancelled() { Waited::Cancelled } else { Waited::TimedOut },
    }
}

/// Decodes what came from outside (input, signal), whatever it is: one JSON value or nothing.
pub fn decode<T: DeserializeOwned>(raw: RawValue) -> Result<T, String> {
    let converter = PayloadConverter::default();
    let data = SerializationContextData::Workflow(WorkflowSerializationContext::new());
    let context = SerializationContext::new(&data, &converter);
    match raw.payloads.len() {
        1 => converter
            .from_payloads::<serde_json::Value>(&context, raw.payloads)
            .map_err(|error| error.to_string())
            .and_then(|value| serde_json::from_value(value).map_err(|error| error.to_string())),
        n => Err(format!("expected one JSON value, got {n}")),
    }
}

/// Time since `began` (seconds since 1970) on the workflow's clock.
pub fn since<W>(ctx: &WorkflowContext<W>, began: i64) -> Duration {
    Duration::from_secs(u64::try_from(now(ctx) - began).unwrap_or_default())
}

/// Milliseconds since 1970 on the workflow's clock: the time of an event that a run itself makes.
pub fn now_milliseconds<W>(ctx: &WorkflowContext<W>) -> i64 {
    milliseconds(ctx.workflow_time())
}

/// Seconds since 1970 on the workflow's clock, for signal handlers.
pub fn sync_now<W>(ctx: &SyncWorkflowContext<W>) -> i64 {
    milliseconds(ctx.workflow_time()).div_euclid(1000)
}

fn milliseconds(time: Option<SystemTime>) -> i64 {
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or_default()
}

/// Seconds since 1970 on the workflow's clock.
pub fn now<W>(ctx: &WorkflowContext<W>) -> i64 {
    now_milliseconds(ctx).div_euclid(1000)
}
