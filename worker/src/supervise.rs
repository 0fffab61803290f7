//! Runs the workers until they are told to stop, and ends the process when one of them cannot go on.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use temporalio_sdk::Worker;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Time that running activities get to finish after the signal to stop.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
/// After this the process ends whatever still runs: a shutdown may hang on a server that is gone, and an activity that is
/// killed runs again elsewhere.
const DEADLINE: Duration = Duration::from_secs(20);

/// Runs each worker on a thread of its own until SIGTERM or SIGINT, then lets running work finish. A second signal ends at
/// once.
///
/// # Errors
/// A worker ended by itself, with the cause; or work was still running at the deadline.
pub(crate) async fn run(workers: Vec<(&'static str, Worker)>) -> anyhow::Result<()> {
    let mut asked = Signals::listen()?;
    let (ended, mut ends) = mpsc::unbounded_channel();
    let mut stops: Vec<Box<dyn Fn() + Send>> = Vec::new();
    for (name, mut worker) in workers {
        stops.push(Box::new(worker.shutdown_handle()));
        let (handle, ended) = (Handle::current(), ended.clone());
        // The future of `Worker::run` stays on its thread; activities run on the shared runtime.
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let run = AssertUnwindSafe(|| handle.block_on(worker.run()).map_err(anyhow::Error::from));
                let outcome =
                    std::panic::catch_unwind(run).unwrap_or_else(|_| Err(anyhow!("it panicked; see the log above")));
                // Nobody listens any more when the process is ending.
                drop(ended.send((name, outcome)));
            })
            .with_context(|| format!("start the thread of the {name} worker"))?;
    }
    drop(ended);

    let stop_all = || stops.iter().for_each(|stop| stop());
    let mut failure = None;
    tokio::select! {
        signal = asked.next() => {
            tracing::info!(signal, grace_seconds = GRACE.as_secs(), "stopping: running work may finish");
        }
        Some((name, outcome)) = ends.recv() => failure = Some(untimely(name, outcome)),
    }
    stop_all();
    let all_ended = async {
        while let Some((name, outcome)) = ends.recv().await {
            if let Err(error) = outcome {
                tracing::error!(worker = name, error = format!("{error:#}"), "a worker did not stop cleanly");
                failure.get_or_insert(error.context(format!("the {name} worker did not stop cleanly")));
            }
        }
    };
    let late = tokio::select! {
        () = all_ended => None,
        () = tokio::time::sleep(DEADLINE) => Some(format!("work was still running {} s after the signal", DEADLINE.as_secs())),
        signal = asked.next() => Some(format!("{signal} came again while work was running")),
    };
    match (failure, late) {
        (Some(failure), _) => Err(failure),
        (None, Some(late)) => Err(anyhow!("{late}; Temporal runs it again on another worker")),
        (None, None) => {
            tracing::info!("stopped");
            Ok(())
        }
    }
}

/// A worker never ends by itself unless something is wrong.
fn untimely(name: &str, outcome: anyhow::Result<()>) -> anyhow::Error {
    match outcome {
        Ok(()) => anyhow!("the {name} worker ended by itself"),
        Err(error) => error.context(format!("the {name} worker cannot go on")),
    }
}

/// The signals that ask a process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listen to signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
