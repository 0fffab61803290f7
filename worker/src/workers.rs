//! The composition root: adapters from configuration, and the three workers that serve them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use activities::access::AccessActivities;
use activities::blobs::Blobs;
use activities::failure::ServiceError;
use activities::github::{GitHubActivities, GitHubClient};
use activities::jira::{JiraActivities, JiraClient};
use activities::model::{Bedrock, ModelActivities};
use activities::plans::PlanActivities;
use activities::policy::PolicyActivities;
use activities::sandbox::Sandbox;
use activities::sentry::{Redactor, SentryActivities, SentryClient};
use activities::slack::{SlackActivities, SlackClient};
use activities::tasks::{Runs, TaskActivities};
use activities::tools::ReadToolActivities;
use activities::workspace::WorkspaceActivities;
use anyhow::Context as _;
use temporalio_client::Client;
use temporalio_sdk::runtime::RuntimeOptions;
use temporalio_sdk::runtime::worker_tuner::{FixedSizeSlotSupplier, TunerHolder, WorkerTuner};
use temporalio_sdk::{Runtime, Worker, WorkerOptions};
use workflows::agent_run::AgentWorkflow;
use workflows::ci_watch::CiWatchWorkflow;
use workflows::contract::{MODEL_QUEUE, QUEUE, SANDBOX_QUEUE};
use workflows::mention::MentionWorkflow;
use workflows::pull_request::PullRequestWorkflow;
use workflows::sentry_issue::SentryIssueWorkflow;
use workflows::sentry_sweep::SentrySweepWorkflow;
use workflows::ticket::TicketWorkflow;

use crate::config::{BlobSettings, Config};
use crate::problem::Problem;
use crate::remote::GitHubRemote;
use crate::runs::TemporalRuns;
use crate::supervise::GRACE;

/// A cancelled activity hears of it within this time: heartbeats are passed on at most this often.
const HEARTBEAT_THROTTLE: Duration = Duration::from_secs(1);
/// When a worker died, its runs go to another one within this time.
const STICKY: Duration = Duration::from_secs(3);
/// Calls to GitHub, Jira, Sentry and Slack at the same time.
const SERVICE_CALLS: usize = 50;
/// Model calls at the same time: they mostly wait.
const MODEL_CALLS: usize = 50;

/// Finds out whether the sandbox works here; `None` when another host does that work.
///
/// # Errors
/// It does not work, with what is missing.
pub(crate) async fn probe_sandbox(config: &Config) -> Result<Sandbox, Problem> {
    Sandbox::probe(config.sandbox.clone()).await.map_err(|error| {
        Problem::new("sandboxed commands cannot run on this host.")
            .advice(told(&error))
            .advice("To leave them to another host: ticketwright run --no-sandbox-queue")
    })
}

/// The workers, one per task queue, none of them polling yet. Without a sandbox nobody here polls the sandbox queue.
///
/// # Errors
/// The blob store cannot be used, or Temporal's runtime does not start.
pub(crate) async fn build(
    config: Config,
    client: &Client,
    sandbox: Option<Sandbox>,
) -> anyhow::Result<Vec<(&'static str, Worker)>> {
    let runtime = Runtime::from_current_tokio(RuntimeOptions::default()).context("start Temporal's runtime")?;
    let blobs = open_blobs(&config.blobs, &config.file).await?;
    let bedrock = Bedrock::connect(&config.bedrock).await;
    let github = Arc::new(GitHubClient::new(config.github, config.github_auth)?);
    let jira = Arc::new(JiraClient::new(&config.jira, config.jira_auth)?);
    let runs: Arc<dyn Runs> = Arc::new(TemporalRuns(client.clone()));
    let slack = config.slack.map(|slack| SlackClient::new(&slack.settings, slack.token)).transpose()?;
    let sentry =
        config.sentry.map(|sentry| SentryClient::new(&sentry.settings, sentry.token)).transpose()?.map(Arc::new);
    let redactor = Redactor::new(&config.policy.sentry.redact)?;

    let options = |queue: &str, calls: usize| {
        WorkerOptions::new(queue)
            .max_heartbeat_throttle_interval(HEARTBEAT_THROTTLE)
            .default_heartbeat_throttle_interval(HEARTBEAT_THROTTLE)
            .sticky_queue_schedule_to_start_timeout(STICKY)
            .graceful_shutdown_period(GRACE)
            .tuner(slots(calls))
    };
    // Workflows, and the calls that take seconds.
    let tickets = options(QUEUE, SERVICE_CALLS)
        .register_workflow::<TicketWorkflow>()?
        .register_workflow::<AgentWorkflow>()?
        .register_workflow::<CiWatchWorkflow>()?
        .register_workflow::<MentionWorkflow>()?
        .register_workflow::<PullRequestWorkflow>()?
        .register_workflow::<SentryIssueWorkflow>()?
        .register_workflow::<SentrySweepWorkflow>()?
        .register_activities(AccessActivities::new(config.file))
        .register_activities(GitHubActivities { github: Arc::clone(&github) })
        .register_activities(JiraActivities { jira: Arc::clone(&jira) })
        .register_activities(ReadToolActivities {
            github: Arc::clone(&github),
            jira,
            sentry: sentry.clone(),
            redactor,
            blobs: blobs.clone(),
            runs: Arc::clone(&runs),
        })
        .register_activities(TaskActivities { runs })
        .register_activities(PlanActivities { blobs: blobs.clone() })
        .register_activities(PolicyActivities { policy: config.policy });
    let tickets = match slack {
        Some(slack) => tickets.register_activities(SlackActivities { slack }),
        None => tickets,
    };
    let tickets = match sentry {
        Some(sentry) => tickets.register_activities(SentryActivities { sentry }),
        None => tickets,
    };
    let model = options(MODEL_QUEUE, MODEL_CALLS).register_activities(ModelActivities::new(
        bedrock,
        config.prices,
        blobs.clone(),
    ));
    let mut workers = vec![("tickets", tickets.build()), ("model", model.build())];
    if let Some(sandbox) = sandbox {
        let places = usize::try_from(sandbox.settings().slots).unwrap_or(1).min(2 * cores());
        let remote = Arc::new(GitHubRemote(github));
        let workspaces =
            WorkspaceActivities::open(config.workspace, blobs, sandbox, remote).await.map_err(|error| {
                Problem::new("workspaces cannot be used on this host.")
                    .advice(told(&error))
                    .advice("To leave them to another host: ticketwright run --no-sandbox-queue")
            })?;
        workers.push(("sandbox", options(SANDBOX_QUEUE, places).register_activities(workspaces).build()));
    }
    let worker = |(name, options)| {
        let worker =
            Worker::new(&runtime, client.clone(), options).with_context(|| format!("make the {name} worker"))?;
        Ok((name, worker))
    };
    workers.into_iter().map(worker).collect()
}

/// Opens the blob store and tries it: without it every ticket would fail at its first step.
pub(crate) async fn open_blobs(settings: &BlobSettings, file: &Path) -> Result<Blobs, Problem> {
    let unusable = |error: ServiceError| {
        Problem::new(format!("the blob store {} cannot be used.", settings.place()))
            .advice(told(&error))
            .advice(format!("Set url in [blobs] of {}.", file.display()))
    };
    let blobs = Blobs::open(&settings.url).map_err(unusable)?;
    blobs.probe().await.map_err(unusable)?;
    Ok(blobs)
}

/// More suites at once than this would only run into their time-outs.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn slots(calls: usize) -> WorkerTuner {
    TunerHolder::builder()
        .workflow_task_slot_supplier(FixedSizeSlotSupplier::new(50))
        .activity_task_slot_supplier(FixedSizeSlotSupplier::new(calls))
        .local_activity_task_slot_supplier(FixedSizeSlotSupplier::new(1))
        .nexus_task_slot_supplier(FixedSizeSlotSupplier::new(1))
        .build()
        .into()
}

/// What went wrong, with its cause.
pub(crate) fn told(error: &ServiceError) -> String {
    match &error.source {
        Some(cause) => format!("{error} ({cause:#})"),
        None => error.to_string(),
    }
}
