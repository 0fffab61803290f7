//! Looks at tickets as a person with the Temporal CLI or Web UI would: queries, listings, signals.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, Url, WorkflowDescribeOptions, WorkflowExecutionInfo,
    WorkflowFetchHistoryOptions, WorkflowListOptions, WorkflowQueryOptions,
};
use temporalio_common::data_converters::RawValue;
use workflows::contract::plan::Plan;
use workflows::contract::status::{CostReport, LogEntry, Stage, TicketStatus};
use workflows::pull_request::{PullRequestStatus, PullRequestWorkflow};
use workflows::sentry_issue::{ErrorStatus, SentryIssueWorkflow};
use workflows::ticket::TicketWorkflow;

use futures::StreamExt as _;

/// A client of one namespace.
#[derive(Clone)]
pub struct Observer {
    client: Client,
}

/// One run of a workflow, as listed.
#[derive(Debug, Clone)]
pub struct Run {
    /// Workflow id.
    pub id: String,
    /// Run id.
    pub run_id: String,
    /// Workflow type.
    pub kind: String,
    /// `Running`, `Completed`, `Canceled`, `ContinuedAsNew`, ...
    pub status: String,
}

impl Observer {
    /// Connects to a namespace of the server at `address` (`127.0.0.1:7233`).
    pub async fn connect(address: &str, namespace: &str) -> anyhow::Result<Self> {
        let url = Url::parse(&format!("http://{address}"))?;
        let options = ConnectionOptions::new(url).identity("observer").build();
        let connection = Connection::connect(options).await?;
        Ok(Self { client: Client::new(connection, ClientOptions::new(namespace).build())? })
    }

    /// The `status` query of a ticket's newest run. Needs a worker.
    pub async fn status(&self, key: &str) -> anyhow::Result<TicketStatus> {
        let handle = self.client.get_workflow_handle::<TicketWorkflow>(format!("ticket-{key}"));
        Ok(handle.query(TicketWorkflow::status, nothing(), WorkflowQueryOptions::default()).await?)
    }

    /// The `plan` query.
    pub async fn plan(&self, key: &str) -> anyhow::Result<Option<Plan>> {
        let handle = self.client.get_workflow_handle::<TicketWorkflow>(format!("ticket-{key}"));
        Ok(handle.query(TicketWorkflow::plan, nothing(), WorkflowQueryOptions::default()).await?)
    }

    /// The `cost` query.
    pub async fn cost(&self, key: &str) -> anyhow::Result<CostReport> {
        let handle = self.client.get_workflow_handle::<TicketWorkflow>(format!("ticket-{key}"));
        Ok(handle.query(TicketWorkflow::cost, nothing(), WorkflowQueryOptions::default()).await?)
    }

    /// The `log` query, everything.
    pub async fn log(&self, key: &str) -> anyhow::Result<Vec<LogEntry>> {
        let handle = self.client.get_workflow_handle::<TicketWorkflow>(format!("ticket-{key}"));
        Ok(handle.query(TicketWorkflow::log, nothing(), WorkflowQueryOptions::default()).await?)
    }

    /// Waits until a ticket's status fulfils `pred`; fails with the last status and log.
    pub async fn wait_for(
        &self,
        key: &str,
        what: &str,
        limit: Duration,
        pred: impl Fn(&TicketStatus) -> bool,
    ) -> anyhow::Result<TicketStatus> {
        let began = Instant::now();
        loop {
            let last = match tokio::time::timeout(Duration::from_secs(5), self.status(key)).await {
                Ok(Ok(status)) if pred(&status) => return Ok(status),
                Ok(Ok(status)) => format!("{status:#?}"),
                Ok(Err(error)) => format!("{error:#}"),
                Err(_) => "the worker did not answer within 5 s".to_owned(),
            };
            if began.elapsed() > limit {
                let log = tokio::time::timeout(Duration::from_secs(5), self.log(key)).await;
                let log = log.ok().and_then(Result::ok).unwrap_or_default();
                let lines: Vec<String> = log.into_iter().map(|entry| entry.text).collect();
                anyhow::bail!("{key}: waited {limit:?} for {what}; last: {last}\nlog:\n  {}", lines.join("\n  "));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits for a stage.
    pub async fn wait_for_stage(&self, key: &str, stage: Stage, limit: Duration) -> anyhow::Result<TicketStatus> {
        self.wait_for(key, &format!("stage {stage}"), limit, |status| status.stage == stage).await
    }

    /// The `status` query of a pull request's newest run of instructions. Needs a worker.
    pub async fn instruction_status(&self, workflow_id: &str) -> anyhow::Result<PullRequestStatus> {
        let handle = self.client.get_workflow_handle::<PullRequestWorkflow>(workflow_id.to_owned());
        Ok(handle.query(PullRequestWorkflow::status, nothing(), WorkflowQueryOptions::default()).await?)
    }

    /// Its `log` query, everything.
    pub async fn instruction_log(&self, workflow_id: &str) -> anyhow::Result<Vec<LogEntry>> {
        let handle = self.client.get_workflow_handle::<PullRequestWorkflow>(workflow_id.to_owned());
        Ok(handle.query(PullRequestWorkflow::log, nothing(), WorkflowQueryOptions::default()).await?)
    }

    /// The `status` query of the newest run that looks after an error. Needs a worker.
    pub async fn error_status(&self, workflow_id: &str) -> anyhow::Result<ErrorStatus> {
        let handle = self.client.get_workflow_handle::<SentryIssueWorkflow>(workflow_id.to_owned());
        Ok(handle.query(SentryIssueWorkflow::status, nothing(), WorkflowQueryOptions::default()).await?)
    }

    /// Its `log` query, everything.
    pub async fn error_log(&self, workflow_id: &str) -> anyhow::Result<Vec<LogEntry>> {
        let handle = self.client.get_workflow_handle::<SentryIssueWorkflow>(workflow_id.to_owned());
        Ok(handle.query(SentryIssueWorkflow::log, nothing(), WorkflowQueryOptions::default()).await?)
    }

    /// Run id of a workflow's newest run, and whether it is over.
    pub async fn newest_run(&self, workflow_id: &str) -> anyhow::Result<(String, bool)> {
        let handle = self.client.get_workflow_handle::<TicketWorkflow>(workflow_id.to_owned());
        let description = handle.describe(WorkflowDescribeOptions::default()).await.context("describe")?;
        let over = format!("{:?}", description.status()) != "Running";
        Ok((description.run_id().to_owned(), over))
    }

    /// Waits until the first worker has created the search attributes: runs that carry them cannot start before, and GitHub
    /// delivers an event that was refused only when a person asks for it.
    pub async fn wait_until_ready(&self, limit: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        while let Err(error) = self.runs("RequestedBy = 'nobody' AND CostUsd = 0").await {
            anyhow::ensure!(began.elapsed() < limit, "the worker has not created the search attributes: {error:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// All runs that match a visibility query, newest first.
    pub async fn runs(&self, query: &str) -> anyhow::Result<Vec<Run>> {
        let mut found = self.client.list_workflows(query, WorkflowListOptions::builder().limit(100).build());
        let mut runs = Vec::new();
        while let Some(execution) = found.next().await {
            let execution = execution?;
            runs.push(Run {
                id: execution.id().to_owned(),
                run_id: execution.run_id().to_owned(),
                kind: execution.workflow_type().to_owned(),
                status: format!("{:?}", execution.status()),
            });
        }
        Ok(runs)
    }

    /// Status of a workflow's newest run, without a worker.
    pub async fn describe(&self, workflow_id: &str) -> anyhow::Result<String> {
        let handle = self.client.get_workflow_handle::<TicketWorkflow>(workflow_id.to_owned());
        let description = handle.describe(WorkflowDescribeOptions::default()).await.context("describe")?;
        Ok(format!("{:?}", description.status()))
    }

    /// The history of a run, as protobuf bytes: the format of replay goldens.
    pub async fn history(&self, workflow_id: &str, run_id: &str) -> anyhow::Result<Vec<u8>> {
        use temporalio_common::protos::temporal::api::history::v1::History;
        let namespace = self.client.options().namespace.clone();
        let run = WorkflowExecutionInfo::builder().namespace(namespace).workflow_id(workflow_id).run_id(run_id).build();
        let handle = run.bind_untyped(self.client.clone());
        let events = handle.fetch_history(WorkflowFetchHistoryOptions::default()).into_events().await?;
        Ok(prost::Message::encode_to_vec(&History { events }))
    }

    /// The underlying client.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

fn nothing() -> RawValue {
    RawValue { payloads: Vec::new() }
}
