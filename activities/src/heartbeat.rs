//! Keeps an activity's heart beating while it works, and decides what a cancellation does to the work.

use std::time::Duration;

use temporalio_common::data_converters::TemporalSerializable;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use tokio::time::{Instant, Interval};

use crate::failure::ServiceError;

/// Time between two heartbeats. Cancellation reaches an activity only through these; the worker sends at most one a second.
const INTERVAL: Duration = Duration::from_secs(1);
/// Longest time an effect goes on after it was cancelled: three calls that use their whole time, and some.
const TO_ITS_END: Duration = Duration::from_secs(30);

/// Runs work that may be dropped, beating every second: reads, model turns, and workspaces, which start again from what they
/// were given. On cancellation `work` is dropped and the activity ends as cancelled at once.
// Not `async`: the work goes to the heap before it could become part of the activity's own future.
pub fn while_beating<'a, T: Send + 'a>(
    ctx: &'a ActivityContext,
    work: impl Future<Output = Result<T, ServiceError>> + Send + 'a,
) -> impl Future<Output = Result<T, ActivityError>> + Send + 'a {
    let work = Box::pin(work);
    async move { beat_until(ctx, work, ctx.cancelled(), &mut tokio::time::interval(INTERVAL)).await }
}

/// As [`while_beating`], and each beat carries what `told` says then. The first beat comes after a second: what is told before
/// must not hold back what a worker that dies early has to say.
pub fn while_telling<'a, T: Send + 'a, D: TemporalSerializable + Send + Sync + 'static>(
    ctx: &'a ActivityContext,
    work: impl Future<Output = Result<T, ServiceError>> + Send + 'a,
    told: impl Fn() -> D + Send + Sync + 'a,
) -> impl Future<Output = Result<T, ActivityError>> + Send + 'a {
    let work = Box::pin(work);
    async move {
        let mut ticks = tokio::time::interval_at(Instant::now() + INTERVAL, INTERVAL);
        beat_until(&Telling { ctx, told }, work, ctx.cancelled(), &mut ticks).await
    }
}

/// Runs an effect, beating every second, to its end even when it is cancelled: a request on the wire cannot be called back,
/// and compensation that overtakes it finds nothing to undo. What was reached is then the activity's answer. After 30 s more
/// `work` is dropped and the activity ends as cancelled: the service has had time for every request that was sent.
pub fn to_its_end<'a, T: Send + 'a>(
    ctx: &'a ActivityContext,
    work: impl Future<Output = Result<T, ServiceError>> + Send + 'a,
) -> impl Future<Output = Result<T, ActivityError>> + Send + 'a {
    let work = Box::pin(work);
    async move {
        let given_up = long_after(ctx.cancelled(), TO_ITS_END);
        beat_until(ctx, work, given_up, &mut tokio::time::interval(INTERVAL)).await
    }
}

/// What the work needs of Temporal.
trait Activity: Sync {
    /// Which attempt this is, from 1.
    fn attempt(&self) -> u32;
    /// Tells that the work goes on.
    fn beat(&self) -> impl Future<Output = Result<(), ActivityError>> + Send;
}

impl Activity for ActivityContext {
    fn attempt(&self) -> u32 {
        self.info().attempt
    }

    async fn beat(&self) -> Result<(), ActivityError> {
        Ok(self.record_heartbeat(()).await?)
    }
}

/// An activity whose beats say something.
struct Telling<'a, F> {
    ctx: &'a ActivityContext,
    told: F,
}

impl<D: TemporalSerializable + Send + Sync + 'static, F: Fn() -> D + Sync> Activity for Telling<'_, F> {
    fn attempt(&self) -> u32 {
        self.ctx.info().attempt
    }

    async fn beat(&self) -> Result<(), ActivityError> {
        Ok(self.ctx.record_heartbeat((self.told)()).await?)
    }
}

async fn long_after(cancelled: impl Future<Output = ()>, wait: Duration) {
    cancelled.await;
    tokio::time::sleep(wait).await;
}

/// `work` until it is done, or until `given_up`. What is done counts, even when both happen together.
async fn beat_until<T>(
    activity: &impl Activity,
    mut work: impl Future<Output = Result<T, ServiceError>> + Unpin,
    given_up: impl Future<Output = ()>,
    ticks: &mut Interval,
) -> Result<T, ActivityError> {
    tokio::pin!(given_up);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done.map_err(|error| error.into_activity_error(activity.attempt())),
            () = &mut given_up => return Err(ActivityError::cancelled()),
            _ = ticks.tick() => activity.beat().await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::Router;
    use axum::extract::State;
    use axum::routing::any;
    use tokio::sync::Notify;
    use workflows::contract::failure::FailureKind;

    use super::*;
    use crate::http;

    /// An activity without Temporal, which tells of each beat.
    #[derive(Default)]
    struct Alone {
        beaten: Notify,
    }

    impl Activity for Alone {
        fn attempt(&self) -> u32 {
            1
        }

        async fn beat(&self) -> Result<(), ActivityError> {
            self.beaten.notify_one();
            Ok(())
        }
    }

    /// A server that takes a request, and answers when it is let.
    #[derive(Default)]
    struct Slow {
        received: Notify,
        may_answer: Notify,
        done: AtomicU32,
    }

    async fn slow() -> (Arc<Slow>, String) {
        let slow = Arc::<Slow>::default();
        let handler = async |State(slow): State<Arc<Slow>>| {
            slow.received.notify_one();
            slow.may_answer.notified().await;
            slow.done.fetch_add(1, Ordering::SeqCst);
            "written"
        };
        let app = Router::new().fallback(any(handler)).with_state(slow.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (slow, url)
    }

    async fn write(url: String) -> Result<String, ServiceError> {
        let lost = |error| http::unanswered("The server", error);
        http::client()?.post(url).send().await.map_err(lost)?.text().await.map_err(lost)
    }

    fn ticks() -> Interval {
        tokio::time::interval(INTERVAL)
    }

    fn is_cancelled<T>(ended: &Result<T, ActivityError>) -> bool {
        matches!(ended, Err(ActivityError::Cancelled { .. }))
    }

    #[tokio::test]
    async fn a_request_on_the_wire_ends_before_a_cancelled_effect_does() {
        let (server, url) = slow().await;
        let (activity, cancel) = (Alone::default(), Notify::new());
        let effect = async {
            let given_up = long_after(cancel.notified(), TO_ITS_END);
            let ended = beat_until(&activity, Box::pin(write(url)), given_up, &mut ticks()).await;
            (ended, server.done.load(Ordering::SeqCst))
        };
        let story = async {
            server.received.notified().await;
            cancel.notify_one();
            // One beat may be an old one; the second comes when the cancellation has been seen.
            activity.beaten.notified().await;
            activity.beaten.notified().await;
            assert_eq!(server.done.load(Ordering::SeqCst), 0, "the request is still on the wire");
            server.may_answer.notify_one();
        };
        let ((ended, done), ()) = tokio::join!(effect, story);
        assert_eq!(ended.unwrap(), "written", "what was reached is the answer");
        assert_eq!(done, 1, "the server was done before the activity was");
    }

    #[tokio::test]
    async fn an_effect_that_never_ends_is_given_up_some_time_after_the_cancellation() {
        let work = Box::pin(std::future::pending::<Result<(), ServiceError>>());
        let (wait, begun) = (Duration::from_millis(50), Instant::now());
        let ended = beat_until(&Alone::default(), work, long_after(std::future::ready(()), wait), &mut ticks()).await;
        assert!(is_cancelled(&ended), "{ended:?}");
        assert!(begun.elapsed() >= wait);
    }

    #[tokio::test]
    async fn other_work_is_dropped_when_it_is_cancelled() {
        let dropped = Arc::new(());
        let held = dropped.clone();
        let work = Box::pin(async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok(())
        });
        let ended = beat_until(&Alone::default(), work, std::future::ready(()), &mut ticks()).await;
        assert!(is_cancelled(&ended), "{ended:?}");
        assert_eq!(Arc::strong_count(&dropped), 1, "nothing of it is left");
    }

    #[tokio::test]
    async fn what_is_done_counts_though_it_was_cancelled() {
        let given_up = || std::future::ready(());
        let done = beat_until(&Alone::default(), Box::pin(async { Ok(7) }), given_up(), &mut ticks()).await;
        assert_eq!(done.unwrap(), 7);
        let refused = async { Err::<(), _>(ServiceError::new(FailureKind::Invalid, "no")) };
        let ended = beat_until(&Alone::default(), Box::pin(refused), given_up(), &mut ticks()).await;
        assert!(matches!(ended, Err(ActivityError::Application(_))), "{ended:?}");
    }
}
