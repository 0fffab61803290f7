//! The schedule of the Sentry sweep: made or brought up to date whenever a worker starts.

use std::time::Duration;

use anyhow::Context as _;
use temporalio_client::schedules::{
    CreateScheduleOptions, ScheduleAction, ScheduleError, ScheduleOverlapPolicy, ScheduleSpec,
};
use temporalio_client::tonic::Code;
use temporalio_client::{Client, RpcOptions};
use workflows::contract::QUEUE;
use workflows::sentry_sweep::{SCHEDULE, SENTRY_SWEEP_WORKFLOW};

/// Sweeps every so often; a sweep that still runs is not overtaken. What a person paused stays paused.
///
/// # Errors
/// Temporal does not take the schedule.
pub(crate) async fn ensure_sweep(client: &Client, every: Duration) -> anyhow::Result<()> {
    let action = ScheduleAction::StartWorkflow {
        workflow_type: SENTRY_SWEEP_WORKFLOW.to_owned(),
        task_queue: QUEUE.to_owned(),
        workflow_id: SCHEDULE.to_owned(),
        input: None,
    };
    let spec = ScheduleSpec::from_interval(every);
    let options = CreateScheduleOptions::builder()
        .action(action.clone())
        .spec(spec.clone())
        .overlap_policy(ScheduleOverlapPolicy::Skip)
        .note("Looks through Sentry's unresolved issues. Kept by the workers: change sweep_seconds in [policy.sentry].")
        .build();
    match client.create_schedule(SCHEDULE, options).await {
        Ok(_) => {
            tracing::info!(schedule = SCHEDULE, every_seconds = every.as_secs(), "schedule was created");
            return Ok(());
        }
        Err(ScheduleError::Rpc(status)) if status.code() == Code::AlreadyExists => {}
        Err(error) => return Err(error).context("create the schedule of the Sentry sweep"),
    }
    let known = client.get_schedule_handle(SCHEDULE);
    let update = known.update(
        move |schedule| {
            schedule.set_spec(spec).set_action(action).set_overlap_policy(ScheduleOverlapPolicy::Skip);
        },
        RpcOptions::default(),
    );
    match update.await {
        // Another worker that starts just now was faster.
        Err(ScheduleError::Rpc(status)) if status.code() == Code::FailedPrecondition => Ok(()),
        updated => updated.context("update the schedule of the Sentry sweep"),
    }
}
