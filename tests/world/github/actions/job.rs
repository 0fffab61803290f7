//! One job: its steps one after the other, its log, its outputs.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Utc;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::expression::Scope;
use super::sandbox::{self, Ending, Room};
use super::steps::{check_out, variables};
use super::workflow::{Combination, Defaults, JobSpec, StepSpec, What};
use crate::github::events::SharedHub;
use crate::github::hub::Place;
use crate::github::state::Run;
use crate::github::views::time;

/// No job runs longer.
pub(super) const JOB_LIMIT: Duration = Duration::from_secs(600);

/// A log longer than this is cut.
const LOG_LIMIT: usize = 2 * 1024 * 1024;

/// Everything a job needs.
#[derive(Debug, Clone)]
pub(super) struct JobWork {
    pub(super) hub: SharedHub,
    pub(super) place: Place,
    pub(super) run: Run,
    pub(super) id: u64,
    pub(super) spec: JobSpec,
    pub(super) combination: Combination,
    pub(super) env: Map<String, Value>,
    pub(super) defaults: Defaults,
    /// `needs` context: result and outputs of the jobs before.
    pub(super) needs: Value,
    pub(super) stop: CancellationToken,
}

/// How a job ended.
#[derive(Debug, Clone)]
pub(super) struct JobEnd {
    /// `success`, `failure` or `cancelled`.
    pub(super) conclusion: &'static str,
    /// For the check's output: what failed.
    pub(super) summary: String,
    pub(super) outputs: Value,
}

/// What steps share while a job runs.
struct Progress {
    environment: BTreeMap<String, String>,
    scope: Scope,
    failed_step: Option<String>,
    deadline: tokio::time::Instant,
}

impl JobWork {
    /// Adds a line to the job's log.
    pub(super) fn log(&self, line: &str) {
        let stamp = Utc::now().format("%Y-%m-%dT%H:%M:%S%.6f");
        let _ = self.hub.with(&self.place, |repository| {
            let job = repository.jobs.iter_mut().find(|job| job.id == self.id);
            if let Some(job) = job.filter(|job| job.log.len() < LOG_LIMIT) {
                job.log.push_str(&format!("{stamp}0Z {line}\n"));
                if job.log.len() >= LOG_LIMIT {
                    job.log.push_str(&format!("{stamp}0Z ##[warning]The log is cut here.\n"));
                }
            }
        });
    }

    /// Sets the state of a step that people see.
    fn step(&self, number: usize, name: &str, status: &str, conclusion: Option<&str>) {
        let _ = self.hub.with(&self.place, |repository| {
            let Some(job) = repository.jobs.iter_mut().find(|job| job.id == self.id) else { return };
            let now = time(Utc::now());
            let before = job.steps.iter().position(|step| step["number"] == json!(number));
            let started = before.map_or_else(|| json!(now), |at| job.steps[at]["started_at"].clone());
            let step = json!({
                "name": name,
                "status": status,
                "conclusion": conclusion,
                "number": number,
                "started_at": started,
                "completed_at": (status == "completed").then_some(now),
            });
            match before {
                Some(at) => job.steps[at] = step,
                None => job.steps.push(step),
            }
        });
    }

    /// Runs the job to its end. Trouble of the runner itself fails the job with its words in the log.
    pub(super) async fn run(self) -> JobEnd {
        let root = self.hub.directory.join("_runner").join(self.run.id.to_string()).join(self.id.to_string());
        let end = match self.steps(&root).await {
            Ok(end) => end,
            Err(error) => {
                self.log(&format!("##[error]{error:#}"));
                JobEnd { conclusion: "failure", summary: format!("{error:#}"), outputs: json!({}) }
            }
        };
        let _ = tokio::fs::remove_dir_all(&root).await;
        end
    }

    async fn steps(&self, root: &std::path::Path) -> anyhow::Result<JobEnd> {
        self.step(1, "Set up job", "in_progress", None);
        self.log("##[group]Runner");
        self.log(&format!("Labels: {}", self.spec.labels.join(", ")));
        self.log("Sandbox: bubblewrap, no network; tools are those of this machine");
        self.log("##[endgroup]");
        if let Some(reason) = &self.spec.unsupported {
            anyhow::bail!("{reason}");
        }
        let room = Room::create(root.to_path_buf(), &self.place.name)?;
        let mut environment = sandbox::machine_environment(&room);
        environment.extend(variables(self, &room));
        let scope = Scope { contexts: self.contexts(), success: true, cancelled: false };
        let limit =
            self.spec.timeout_minutes.map_or(JOB_LIMIT, |minutes| Duration::from_secs(minutes * 60).min(JOB_LIMIT));
        let mut progress =
            Progress { environment, scope, failed_step: None, deadline: tokio::time::Instant::now() + limit };
        for fields in [&self.env, &self.spec.env] {
            self.add_environment(&mut progress, fields)?;
        }
        self.step(1, "Set up job", "completed", Some("success"));
        for (index, step) in self.spec.steps.iter().enumerate() {
            self.one_step(&room, &mut progress, index + 2, step).await?;
        }
        self.step(self.spec.steps.len() + 2, "Complete job", "completed", Some("success"));
        let mut outputs = Map::new();
        for (name, text) in &self.spec.outputs {
            outputs.insert(name.clone(), json!(progress.scope.fill(text.as_str().unwrap_or_default())?));
        }
        let conclusion = match (progress.scope.cancelled, progress.scope.success) {
            (true, _) => "cancelled",
            (false, true) => "success",
            (false, false) => "failure",
        };
        let summary = progress.failed_step.unwrap_or_else(|| format!("{} steps ran", self.spec.steps.len()));
        Ok(JobEnd { conclusion, summary, outputs: Value::Object(outputs) })
    }

    fn contexts(&self) -> Value {
        let matrix: Map<String, Value> = self.combination.iter().cloned().collect();
        json!({
            "github": super::steps::github_context(self),
            "env": {},
            "matrix": matrix,
            "strategy": {"fail-fast": self.spec.fail_fast},
            "steps": {},
            "needs": self.needs,
            "job": {"status": "success"},
            "runner": {"os": "Linux", "arch": "X64", "name": "world-runner"},
            "secrets": {},
            "vars": {},
            "inputs": {},
        })
    }

    fn add_environment(&self, progress: &mut Progress, fields: &Map<String, Value>) -> anyhow::Result<()> {
        for (name, text) in fields {
            let value = progress.scope.fill(text.as_str().unwrap_or_default())?;
            progress.scope.contexts["env"][name] = json!(value);
            progress.environment.insert(name.clone(), value);
        }
        Ok(())
    }

    async fn one_step(
        &self,
        room: &Room,
        progress: &mut Progress,
        number: usize,
        step: &StepSpec,
    ) -> anyhow::Result<()> {
        let title = progress.scope.fill(&step.title())?;
        if !progress.scope.holds(step.condition.as_deref())? {
            self.step(number, &title, "completed", Some("skipped"));
            self.remember(progress, step, "skipped", Map::new());
            return Ok(());
        }
        self.step(number, &title, "in_progress", None);
        let shared = (progress.environment.clone(), progress.scope.contexts["env"].clone());
        self.add_environment(progress, &step.env)?;
        let (ending, outputs) = match &step.what {
            What::Run(script) => self.command(room, progress, step, script).await?,
            What::Uses(action, inputs) => (self.action(room, progress, action, inputs).await?, Map::new()),
        };
        // A step's own `env` ends with it; what it wrote to GITHUB_ENV stays.
        (progress.environment, progress.scope.contexts["env"]) = shared;
        self.take_reports(room, progress)?;
        let (outcome, words) = match &ending {
            Ending::Exit(0) => ("success", None),
            Ending::Exit(code) => ("failure", Some(format!("Process completed with exit code {code}."))),
            Ending::TooLong => ("cancelled", Some("The job has exceeded its maximum execution time.".to_owned())),
            Ending::Cancelled => ("cancelled", Some("The operation was canceled.".to_owned())),
        };
        if let Some(words) = &words {
            self.log(&format!("##[error]{words}"));
        }
        let forgiven = outcome == "failure" && step.continue_on_error;
        let conclusion = if forgiven { "success" } else { outcome };
        self.step(number, &title, "completed", Some(conclusion));
        self.remember(progress, step, outcome, outputs);
        match conclusion {
            "failure" => {
                progress.scope.success = false;
                let what = format!("Step \"{title}\" failed: {}", words.unwrap_or_default());
                progress.failed_step.get_or_insert(what);
            }
            "cancelled" => {
                progress.scope.cancelled = true;
                progress.failed_step.get_or_insert(words.unwrap_or_default());
            }
            _ => {}
        }
        Ok(())
    }

    fn remember(&self, progress: &mut Progress, step: &StepSpec, outcome: &str, outputs: Map<String, Value>) {
        if let Some(id) = &step.id {
            let conclusion = if step.continue_on_error && outcome == "failure" { "success" } else { outcome };
            progress.scope.contexts["steps"][id] =
                json!({"outputs": outputs, "outcome": outcome, "conclusion": conclusion});
        }
    }

    async fn command(
        &self,
        room: &Room,
        progress: &mut Progress,
        step: &StepSpec,
        script: &str,
    ) -> anyhow::Result<(Ending, Map<String, Value>)> {
        let script = progress.scope.fill(script)?;
        let choose = |own: &Option<String>, job: &Option<String>, all: &Option<String>| {
            own.clone().or_else(|| job.clone()).or_else(|| all.clone())
        };
        let shell = choose(&step.shell, &self.spec.defaults.shell, &self.defaults.shell);
        let directory = choose(&step.directory, &self.spec.defaults.directory, &self.defaults.directory);
        let directory = match directory {
            Some(directory) => room.workspace.join(progress.scope.fill(&directory)?),
            None => room.workspace.clone(),
        };
        anyhow::ensure!(directory.is_dir(), "the working directory {} is not there", directory.display());
        let file = room.temp.join(format!("{}.sh", uuid::Uuid::new_v4().simple()));
        std::fs::write(&file, &script)?;
        let file = file.display().to_string();
        // The commands of https://docs.github.com/en/actions/writing-workflows/workflow-syntax-for-github-actions#defaultsrunshell
        let program: Vec<&str> = match shell.as_deref() {
            None => vec!["bash", "-e", &file],
            Some("bash") => vec!["bash", "--noprofile", "--norc", "-eo", "pipefail", &file],
            Some("sh") => vec!["sh", "-e", &file],
            Some("python") => vec!["python3", &file],
            Some(other) => anyhow::bail!("this runner does not know the shell {other}"),
        };
        let program: Vec<String> = program.into_iter().map(str::to_owned).collect();
        let first = script.trim().lines().next().unwrap_or_default();
        self.log(&format!("##[group]Run {first}"));
        for line in script.trim_end().lines() {
            self.log(&format!("\u{1b}[36;1m{line}\u{1b}[0m"));
        }
        let shown = program[..program.len() - 1].join(" ");
        self.log(&format!("shell: {shown} {{0}}"));
        let own: Vec<String> = progress.scope.contexts["env"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("  {name}: {}", value.as_str().unwrap_or_default()))
            .collect();
        if !own.is_empty() {
            self.log("env:");
            for line in &own {
                self.log(line);
            }
        }
        self.log("##[endgroup]");
        let output = room.temp.join("output");
        std::fs::write(&output, "")?;
        let mut environment = progress.environment.clone();
        for name in ["GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"] {
            let file = room.temp.join(name.trim_start_matches("GITHUB_").to_lowercase());
            std::fs::OpenOptions::new().create(true).append(true).open(&file)?;
            environment.insert(name.to_owned(), file.display().to_string());
        }
        let own_limit = step.timeout_minutes.map_or(JOB_LIMIT, |minutes| Duration::from_secs(minutes * 60));
        let limit = own_limit.min(progress.deadline.saturating_duration_since(tokio::time::Instant::now()));
        // Steps with `if: always()` still run after a cancellation.
        let stop = if progress.scope.cancelled { CancellationToken::new() } else { self.stop.clone() };
        let ending =
            sandbox::run(room, &directory, &environment, &program, limit, &stop, |line| self.log(line)).await?;
        let outputs = super::steps::read_report(&std::fs::read_to_string(&output).unwrap_or_default());
        Ok((ending, outputs.into_iter().map(|(name, value)| (name, json!(value))).collect()))
    }

    async fn action(
        &self,
        room: &Room,
        progress: &Progress,
        action: &str,
        inputs: &Map<String, Value>,
    ) -> anyhow::Result<Ending> {
        let name = action.split('@').next().unwrap_or(action);
        self.log(&format!("##[group]Run {action}"));
        if !inputs.is_empty() {
            self.log("with:");
        }
        let mut filled = BTreeMap::new();
        for (input, value) in inputs {
            let text = super::workflow::text_of(Some(value)).unwrap_or_default();
            // Keys of caches use functions that only caches need.
            let text = if name.starts_with("actions/cache") { text } else { progress.scope.fill(&text)? };
            self.log(&format!("  {input}: {text}"));
            filled.insert(input.as_str(), text);
        }
        self.log("##[endgroup]");
        match name {
            "actions/checkout" => {
                let text = |input: &str| filled.get(input).cloned().filter(|text| !text.is_empty());
                check_out(self, room, text("ref"), text("path"), text("fetch-depth").as_deref()).await?;
                Ok(Ending::Exit(0))
            }
            "actions/setup-python" | "actions/setup-node" | "actions/setup-go" | "actions/setup-java" => {
                self.log("The tools of this machine are used.");
                Ok(Ending::Exit(0))
            }
            "actions/cache" | "actions/cache/restore" | "actions/cache/save" => {
                self.log("Cache not found. Nothing is kept between jobs here.");
                Ok(Ending::Exit(0))
            }
            _ => {
                self.log(&format!(
                    "##[error]Unable to resolve action `{action}`: this runner has checkout, setup-python, setup-node, setup-go, setup-java and cache only."
                ));
                Ok(Ending::Exit(1))
            }
        }
    }

    /// What the step wrote to `GITHUB_ENV` and `GITHUB_PATH` holds for the steps after it.
    fn take_reports(&self, room: &Room, progress: &mut Progress) -> anyhow::Result<()> {
        let file = room.temp.join("env");
        for (name, value) in super::steps::read_report(&std::fs::read_to_string(&file).unwrap_or_default()) {
            progress.scope.contexts["env"][&name] = json!(value);
            progress.environment.insert(name, value);
        }
        let file = room.temp.join("path");
        for line in std::fs::read_to_string(&file).unwrap_or_default().lines().filter(|line| !line.is_empty()) {
            let path = progress.environment.entry("PATH".into()).or_default();
            if !path.split(':').any(|part| part == line) {
                *path = format!("{line}:{path}");
            }
        }
        Ok(())
    }
}
