//! Keeps an activity's heart beating while it works, and stops it when it is cancelled.

use std::time::Duration;

use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::failure::ServiceError;

/// Time between two heartbeats. Cancellation reaches an activity only through these; the worker sends at most one a second.
const INTERVAL: Duration = Duration::from_secs(1);

/// Runs `work`, beating every second. On cancellation `work` is dropped and the activity ends as cancelled: put effects that
/// must not be cut in half behind a look-before-write, as every effect activity does.
pub async fn while_beating<T>(
    ctx: &ActivityContext,
    work: impl Future<Output = Result<T, ServiceError>>,
) -> Result<T, ActivityError> {
    tokio::pin!(work);
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            biased;
            () = ctx.cancelled() => return Err(ActivityError::cancelled()),
            done = &mut work => return done.map_err(ServiceError::into_activity_error),
            _ = ticks.tick() => ctx.record_heartbeat(()).await?,
        }
    }
}
