//! One scenario: a world of its own, a namespace of its own, worker and ingress of its own, on the shared Temporal server.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use workflows::contract::status::{Stage, TicketStatus};
use world::effects::Effect;
use world::samples;
use world::stack::{Observer, Stack, StackOptions, TemporalOptions, TemporalServer};

/// Longest wait for a stage: far above what it takes, so that a slow machine does not fail a test.
pub(crate) const STAGE: Duration = Duration::from_secs(180);
/// The sample ticket.
pub(crate) const KEY: &str = "SHOP-1";
/// The repository its change belongs to.
pub(crate) const REPOSITORY: &str = "acme/shop-api";

/// Scenarios at work at the same time: each is three processes and the machine may have two cores.
static SEATS: Semaphore = Semaphore::const_new(3);
static SERVER: OnceCell<TemporalServer> = OnceCell::const_new();

pub(crate) struct Scene {
    pub(crate) stack: Stack,
    pub(crate) observer: Observer,
    directory: tempfile::TempDir,
    _seat: SemaphorePermit<'static>,
}

async fn server() -> anyhow::Result<&'static TemporalServer> {
    SERVER
        .get_or_try_init(async || {
            let directory = tempfile::tempdir()?.keep();
            TemporalServer::start(TemporalOptions { directory, port: 0, ui_port: 0 }).await
        })
        .await
}

impl Scene {
    /// The sample repositories and ticket (without its label), the scripted model, worker and ingress running.
    pub(crate) async fn start(policy: &str) -> anyhow::Result<Self> {
        Self::on(server().await?, policy).await
    }

    /// The same on a server that the test may kill.
    pub(crate) async fn on(server: &TemporalServer, policy: &str) -> anyhow::Result<Self> {
        let mut scene = Self::prepare(server, policy).await?;
        let world = &scene.stack.world;
        world.bedrock.set_script(samples::script(KEY)?);
        let mut ticket = samples::ticket(KEY)?;
        ticket.labels.clear();
        world.jira.create_issue("SHOP", ticket);
        scene.stack.start_ingress().await?;
        scene.stack.start_worker()?;
        Ok(scene)
    }

    /// What agents need by themselves: the sample repositories, a scripted model and a worker. `bedrock`: lines of that table
    /// of the worker's configuration.
    pub(crate) async fn of_agents(script: &Value, bedrock: &str) -> anyhow::Result<Self> {
        Self::of_agents_on(server().await?, script, bedrock).await
    }

    /// The same on a server that the test may kill.
    pub(crate) async fn of_agents_on(server: &TemporalServer, script: &Value, bedrock: &str) -> anyhow::Result<Self> {
        let mut scene = Self::prepare(server, "").await?;
        // A script is YAML, and every JSON text is one.
        let script = world::bedrock::Script::parse(&script.to_string(), scene.directory.path())?;
        scene.stack.world.bedrock.set_script(script);
        let file = scene.directory.path().join("ticketwright.toml");
        let configuration = std::fs::read_to_string(&file)?;
        std::fs::write(&file, configuration.replacen("[bedrock]\n", &format!("[bedrock]\n{bedrock}\n"), 1))?;
        scene.stack.start_worker()?;
        Ok(scene)
    }

    async fn prepare(server: &TemporalServer, policy: &str) -> anyhow::Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let seat = SEATS.acquire().await?;
        let directory = tempfile::tempdir()?;
        let namespace = format!("scene-{}", uuid::Uuid::new_v4().simple());
        server.create_namespace(&namespace).await?;
        let options = StackOptions {
            directory: directory.path().to_owned(),
            world: ([127, 0, 0, 1], 0).into(),
            namespace: namespace.clone(),
            policy: match policy.contains("[policy.ci]") {
                true => policy.to_owned(),
                false => format!("{policy}\n[policy.ci]\npoll_seconds = 2\nnone_after_seconds = 30\n"),
            },
            real_bedrock: false,
        };
        let stack = Stack::prepare(options, server).await?;
        for name in samples::REPOSITORIES {
            let source = samples::directory().join("acme").join(name);
            stack.world.github.add_repository("acme", name, "", &source).await?;
        }
        let observer = Observer::connect(&server.address, &namespace).await?;
        Ok(Self { stack, observer, directory, _seat: seat })
    }

    /// Ana hands the ticket over.
    pub(crate) fn label(&self) {
        self.stack.world.jira.add_label(KEY, "AI", "ana");
    }

    pub(crate) async fn stage(&self, stage: Stage) -> anyhow::Result<TicketStatus> {
        self.observer.wait_for_stage(KEY, stage, STAGE).await
    }

    /// Waits until something holds.
    pub(crate) async fn eventually(
        &self,
        what: &str,
        done: impl AsyncFn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let began = std::time::Instant::now();
        while !done().await? {
            anyhow::ensure!(began.elapsed() < STAGE, "waited {STAGE:?} until {what}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Waits until the run has really ended: everyone told, nothing left to do.
    pub(crate) async fn closed(&self, status: &str) -> anyhow::Result<()> {
        let began = std::time::Instant::now();
        loop {
            let now = self.observer.describe(&format!("ticket-{KEY}")).await?;
            if now.contains(status) {
                return Ok(());
            }
            anyhow::ensure!(began.elapsed() < STAGE, "the run is {now}, not {status}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the work is presented: all messages are out.
    pub(crate) async fn ready(&self) -> anyhow::Result<TicketStatus> {
        let what = "ready for review, everyone told";
        let ready = |status: &TicketStatus| status.stage == Stage::ReadyForReview && self.jira_status() == "In Review";
        self.observer.wait_for(KEY, what, STAGE, ready).await
    }

    /// Waits until something is said in Slack.
    pub(crate) async fn said(&self, text: &str) -> anyhow::Result<()> {
        let wanted = text.to_owned();
        let said = move |effect: &Effect| {
            let posted = effect.service == "slack" && effect.kind == "message.posted";
            posted && effect.detail["text"].as_str().is_some_and(|said| said.contains(&wanted))
        };
        self.stack.world.effects.wait_for(text, STAGE, said).await?;
        Ok(())
    }

    pub(crate) fn jira_status(&self) -> String {
        self.stack.world.jira.issue(KEY).map(|issue| issue.status).unwrap_or_default()
    }

    /// Clicks a button of the approval message as a Slack user.
    pub(crate) async fn click(&self, user: &str, action: &str) -> anyhow::Result<()> {
        let limit = std::time::Instant::now();
        loop {
            let messages = self.stack.world.slack.messages("#ai-agents");
            let has_button = |message: &&world::slack::Message| message.buttons().iter().any(|b| b.action_id == action);
            if let Some(message) = messages.iter().find(has_button) {
                let delivery = self.stack.world.slack.click(user, &message.ts, action).await?;
                anyhow::ensure!(delivery.status == 200, "the click was answered {}", delivery.status);
                return Ok(());
            }
            anyhow::ensure!(limit.elapsed() < STAGE, "no {action} button in #ai-agents");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A signal by the Temporal CLI, exactly as a person types it.
    pub(crate) async fn signal_by_cli(&self, name: &str, input: Option<&str>) -> anyhow::Result<()> {
        self.signal_ticket_by_cli(KEY, name, input).await
    }

    pub(crate) async fn signal_ticket_by_cli(&self, key: &str, name: &str, input: Option<&str>) -> anyhow::Result<()> {
        let workflow = format!("ticket-{key}");
        let mut arguments = vec!["workflow", "signal", "-n", &self.stack.namespace, "-w", &workflow, "--name", name];
        if let Some(input) = input {
            arguments.extend(["--input", input]);
        }
        self.cli(&arguments).await
    }

    /// The Temporal CLI against this scene's server.
    pub(crate) async fn cli(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = std::process::Command::new(world::stack::temporal_cli()?);
        command.args(arguments).args(["--address", &self.stack.temporal_address]);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    pub(crate) fn effects(&self, service: &str, kind: &str) -> Vec<Effect> {
        self.stack.world.effects.of(service, kind)
    }

    /// Every message, comment and object exists once; no stand-in was asked something it does not know.
    pub(crate) fn assert_once(&self) {
        let world = &self.stack.world;
        let unexpected: Vec<String> =
            world.effects.unexpected().iter().map(|e| format!("{} {}", e.target, e.detail)).collect();
        assert!(unexpected.is_empty(), "unexpected calls: {unexpected:#?}");
        for (service, kind) in [("slack", "message.posted"), ("jira", "comment.created")] {
            let effects = self.effects(service, kind);
            let mut texts: Vec<&str> =
                effects.iter().filter_map(|e| e.detail.get("text").and_then(Value::as_str)).collect();
            let all = texts.len();
            texts.sort_unstable();
            texts.dedup();
            assert_eq!(all, texts.len(), "a {service} {kind} was repeated: {effects:#?}");
        }
        assert!(self.effects("github", "pull_request.opened").len() <= 1, "more than one pull request");
        assert!(self.effects("github", "branch.created").len() <= 1, "more than one branch");
    }

    /// Finished model calls were not made again.
    pub(crate) fn paid_turns(&self) -> usize {
        self.effects("bedrock", "turn.answered").len()
    }

    pub(crate) fn repeated_turns(&self) -> usize {
        self.effects("bedrock", "turn.repeated").len()
    }

    /// How many runs a ticket has had.
    pub(crate) async fn runs_of(&self, key: &str) -> anyhow::Result<usize> {
        Ok(self.observer.runs(&format!("WorkflowId = 'ticket-{key}'")).await?.len())
    }

    /// Keeps the histories of the scenario's runs as goldens, where `TICKETWRIGHT_GOLDENS` names a directory: of each workflow
    /// the newest run that is over, or of a ticket at rest; of an error every run, for each begins at another state of its
    /// ticket. See `replay.rs`.
    async fn keep_histories(&self) -> anyhow::Result<()> {
        let Some(goldens) = std::env::var_os("TICKETWRIGHT_GOLDENS") else {
            return Ok(());
        };
        // The harness names a test's thread after the test.
        let thread = std::thread::current();
        let test = thread.name().filter(|name| name.contains("::"));
        let test = test.context("histories are kept by a test's name: run with at least two test threads")?;
        let name = test.rsplit("::").next().unwrap_or_default();
        let directory = world::stack::project_root().join(goldens).join(name);
        // Without them Temporal does not understand what is asked below.
        self.observer.wait_until_ready(STAGE).await?;
        let at_rest = ["awaiting_approval", "parked", "ready_for_review"].map(|stage| format!("'{stage}'")).join(", ");
        for query in [
            "ExecutionStatus IN ('Completed', 'Failed', 'Canceled')".to_owned(),
            format!("WorkflowType = 'ticket' AND ExecutionStatus = 'Running' AND Stage IN ({at_rest})"),
        ] {
            let runs = self.observer.runs(&query).await?;
            for (at, run) in runs.iter().enumerate() {
                let mut name = file_name(&run.id);
                if run.kind == "sentry_issue" {
                    // Newest first.
                    let nth = runs[at..].iter().filter(|older| older.id == run.id).count();
                    name = format!("{name}_{nth}");
                }
                let path = directory.join(format!("{name}.pb"));
                let is_kept = run.kind != "agent" || test.starts_with("the_flow::") || is_rare(&run.id);
                // What was kept once stays.
                if is_kept && !path.exists() {
                    std::fs::create_dir_all(&directory)?;
                    std::fs::write(path, without_identities(self.observer.history(&run.id, &run.run_id).await?))?;
                }
            }
        }
        Ok(())
    }

    /// Logs of a failed scenario, for the assertion's text.
    pub(crate) fn logs(&self) -> String {
        let log =
            |name: &str| std::fs::read_to_string(self.directory.path().join(format!("{name}.log"))).unwrap_or_default();
        let tail = |text: String| {
            let lines: Vec<&str> = text.lines().rev().take(40).collect();
            lines.into_iter().rev().collect::<Vec<_>>().join("\n")
        };
        format!("--- worker\n{}\n--- ingress\n{}", tail(log("worker")), tail(log("ingress")))
    }
}

/// Ends a scenario: a failure shows the processes' logs, otherwise its histories are kept. Whatever it was about, no run may have
/// sent a prompt that the cache missed.
pub(crate) async fn play(scene: &Scene, done: anyhow::Result<()>) {
    let broken = scene.stack.world.bedrock.broken_prefixes();
    let done = match done {
        Ok(()) if !broken.is_empty() => Err(anyhow::anyhow!("prompts lost their prefix:\n  {}", broken.join("\n  "))),
        Ok(()) => scene.keep_histories().await,
        failed => failed,
    };
    if let Err(error) = done {
        panic!("{error:#}\n{}", scene.logs());
    }
}

/// The agent of this workflow id is none of those that every ticket has: one flow shows those well enough.
fn is_rare(agent: &str) -> bool {
    !agent.starts_with("ticket-") || agent.contains("/ci/")
}

/// A workflow's id as a file's name. Of runs of a schedule, whose ids end with their time, one is kept.
fn file_name(workflow_id: &str) -> String {
    let time = workflow_id.len().saturating_sub("-2026-11-21T12:00:00Z".len());
    let id = match workflow_id.split_at_checked(time) {
        Some((id, time)) if chrono::DateTime::parse_from_rfc3339(time.trim_start_matches('-')).is_ok() => id,
        _ => workflow_id,
    };
    id.chars().map(|c| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' }).collect()
}

/// A history without the names of the machines that made it: `<pid>@<host>` becomes letters of the same length, so that the
/// protobuf stays what it is.
fn without_identities(mut history: Vec<u8>) -> Vec<u8> {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let wanted = format!("@{}", host.trim());
    let mut from = 0;
    while let Some(at) = history[from..].windows(wanted.len()).position(|part| part == wanted.as_bytes()) {
        let at = from + at;
        let digits = history[..at].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        history[at - digits..at + wanted.len()].fill(b'w');
        from = at + wanted.len();
    }
    history
}
