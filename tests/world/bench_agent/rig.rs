//! The dev server, and workers in this process with the product's own settings.

use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use temporalio_client::Client;
use temporalio_sdk::runtime::RuntimeOptions;
use temporalio_sdk::runtime::worker_tuner::{FixedSizeSlotSupplier, TunerHolder};
use temporalio_sdk::{Runtime, Worker, WorkerOptions};
use world::stack::{Observer, TemporalOptions, TemporalServer};

/// A dev server of its own, in a directory that goes with it.
pub(crate) struct Rig {
    pub(crate) temporal: TemporalServer,
    pub(crate) directory: tempfile::TempDir,
    runtime: Runtime,
}

impl Rig {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let options = TemporalOptions { directory: directory.path().join("temporal"), port: 0, ui_port: 0 };
        let temporal = TemporalServer::start(options).await?;
        let runtime = Runtime::from_current_tokio(RuntimeOptions::default()).context("start Temporal's runtime")?;
        Ok(Self { temporal, directory, runtime })
    }

    /// A namespace of its own: queues have fixed names.
    pub(crate) async fn namespace(&self, name: &str) -> anyhow::Result<Observer> {
        self.temporal.create_namespace(name).await?;
        Observer::connect(&self.temporal.address, name).await
    }

    /// Serves these workers until [`Serving::stop`].
    pub(crate) fn serve(&self, client: &Client, workers: Vec<WorkerOptions>) -> anyhow::Result<Serving> {
        let mut serving = Serving { stops: Vec::new(), threads: Vec::new() };
        for options in workers {
            let mut worker = Worker::new(&self.runtime, client.clone(), as_in_production(options))?;
            serving.stops.push(Box::new(worker.shutdown_handle()));
            let handle = tokio::runtime::Handle::current();
            // A worker's future stays on its thread.
            let thread = std::thread::Builder::new().name(format!("worker-{}", worker.task_queue()));
            serving.threads.push(thread.spawn(move || handle.block_on(async move { Ok(worker.run().await?) }))?);
        }
        Ok(serving)
    }
}

/// Settings of `worker/src/workers.rs` that a turn's time can depend on.
fn as_in_production(mut options: WorkerOptions) -> WorkerOptions {
    options.max_heartbeat_throttle_interval = Duration::from_secs(1);
    options.default_heartbeat_throttle_interval = Duration::from_secs(1);
    options.sticky_queue_schedule_to_start_timeout = Duration::from_secs(3);
    options.graceful_shutdown_period = Some(Duration::from_secs(1));
    options.tuner = TunerHolder::builder()
        .workflow_task_slot_supplier(FixedSizeSlotSupplier::new(50))
        .activity_task_slot_supplier(FixedSizeSlotSupplier::new(50))
        .local_activity_task_slot_supplier(FixedSizeSlotSupplier::new(1))
        .nexus_task_slot_supplier(FixedSizeSlotSupplier::new(1))
        .build()
        .into();
    options
}

/// Running workers.
pub(crate) struct Serving {
    stops: Vec<Box<dyn Fn() + Send>>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Serving {
    /// Stops them and waits until they have ended.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stops.iter().for_each(|stop| stop());
        for thread in self.threads {
            let ended = tokio::task::spawn_blocking(move || thread.join()).await?;
            ended.map_err(|_| anyhow::anyhow!("a worker's thread panicked"))??;
        }
        Ok(())
    }
}
