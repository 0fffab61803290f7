//! Sending an agent on an errand of its own: the `agent` workflow, started by hand, and what became of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use activities::model::Prices;
use anyhow::Context as _;
use serde_json::{Value, json};
use temporalio_client::{
    UntypedSignal, WorkflowCancelOptions, WorkflowGetResultOptions, WorkflowHandle, WorkflowQueryOptions,
    WorkflowSignalOptions, WorkflowStartOptions,
};
use temporalio_common::data_converters::{PayloadConverter, RawValue};
use workflows::agent_run::AgentWorkflow;
use workflows::contract::QUEUE;
use workflows::contract::agent::{AgentEnd, AgentInput, AgentResult};
use workflows::contract::money::{MicroUsd, Price, Usage};
use workflows::contract::status::AgentProgress;
use world::bedrock::RecordedRequest;
use world::effects::Effect;

use crate::scene::{REPOSITORY, STAGE, Scene};

/// The model of all errands: a short prefix is cached already.
pub(crate) const MODEL: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

/// One run of an agent.
#[derive(Debug, Clone)]
pub(crate) struct Errand {
    /// Workflow id.
    pub(crate) id: String,
    pub(crate) input: Value,
}

impl Errand {
    fn new(agent: &str, case: &str, brief: Value) -> Self {
        let model = json!({"id": MODEL, "max_tokens": 1000});
        let input = json!({"agent": agent, "generation": "0badcafe", "model": model, "brief": brief, "command_seconds": 300, "rules": AgentInput::RULES,
                           "lease": 5_000_000});
        Self { id: format!("errand/{agent}/{case}"), input }
    }

    /// The slack agent: eight turns, five minutes, tools that read.
    pub(crate) fn slack(case: &str) -> Self {
        Self::new("slack", case, json!({"by": "Ana", "text": format!("case {case}.")}))
    }

    /// The discovery agent: thirty turns, tools that read repositories.
    pub(crate) fn discovery(case: &str) -> Self {
        let ticket = json!({"key": "SHOP-1", "issue_type": "Bug", "priority": "High", "labels": ["AI"], "comments": [],
                            "summary": format!("case {case}."), "description": "Totals are wrong."});
        Self::new("discovery", case, json!({"ticket": ticket, "best": 5, "minimum_score": 0.3}))
    }

    /// The execution agent in a workspace on the newest commit of the sample repository.
    pub(crate) fn execution(scene: &Scene, case: &str) -> anyhow::Result<Self> {
        let repository = scene.stack.directory.join(format!("world/github/{REPOSITORY}.git"));
        let head = std::process::Command::new("git").arg("-C").arg(repository).args(["rev-parse", "HEAD"]).output()?;
        let base = String::from_utf8(head.stdout)?;
        let pull_request =
            json!({"number": 1, "repository": REPOSITORY, "head": "x", "base": "main", "title": "Mend totals"});
        let brief = json!({"instruction": format!("case {case}."), "by": "ana", "pull_request": pull_request, "attempt": 1,
                           "refusal": ""});
        let workspace = json!({"repository": REPOSITORY, "base": base.trim(), "snapshot": null});
        Ok(Self::new("execution", case, brief).with("workspace", workspace))
    }

    /// Another value of a member of the input.
    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.input[member] = value.into();
        self
    }

    /// It continues as new after every turn: whatever it has to remember travels along.
    pub(crate) fn forgetful(self) -> Self {
        self.with("history_events", 5)
    }

    fn handle(&self, scene: &Scene) -> WorkflowHandle<temporalio_client::Client, AgentWorkflow> {
        scene.observer.client().get_workflow_handle::<AgentWorkflow>(self.id.clone())
    }

    pub(crate) async fn start(&self, scene: &Scene) -> anyhow::Result<()> {
        let options = WorkflowStartOptions::new(QUEUE, self.id.clone()).build();
        scene.observer.client().start_workflow(AgentWorkflow::run, raw(&self.input), options).await?;
        Ok(())
    }

    /// Waits for the end of a run that was started.
    pub(crate) async fn end(&self, scene: &Scene) -> anyhow::Result<AgentResult> {
        let handle = self.handle(scene);
        let ended = tokio::time::timeout(STAGE, handle.get_result(WorkflowGetResultOptions::default())).await;
        let ended = ended.with_context(|| {
            let seen: Vec<String> =
                scene.stack.world.effects.all().iter().map(|e| format!("{} {}", e.kind, e.target)).collect();
            format!("{} did not end within {STAGE:?}; effects: {seen:?}", self.id)
        })?;
        ended.with_context(|| format!("{} ended without a result", self.id))
    }

    /// From its start to its end.
    pub(crate) async fn run(&self, scene: &Scene) -> anyhow::Result<AgentResult> {
        self.start(scene).await?;
        self.end(scene).await
    }

    pub(crate) async fn signal(&self, scene: &Scene, name: &str, message: &Value) -> anyhow::Result<()> {
        let signal = UntypedSignal::new(name);
        Ok(self.handle(scene).signal(signal, raw(message), WorkflowSignalOptions::default()).await?)
    }

    pub(crate) async fn cancel(&self, scene: &Scene) -> anyhow::Result<()> {
        Ok(self.handle(scene).cancel(WorkflowCancelOptions::default()).await?)
    }

    pub(crate) async fn progress(&self, scene: &Scene) -> anyhow::Result<AgentProgress> {
        let nothing = RawValue { payloads: Vec::new() };
        Ok(self.handle(scene).query(AgentWorkflow::progress, nothing, WorkflowQueryOptions::default()).await?)
    }

    /// What the model was asked in this run.
    pub(crate) fn requests(&self, scene: &Scene) -> Vec<RecordedRequest> {
        let all = scene.stack.world.bedrock.requests();
        all.into_iter().filter(|request| request.metadata["run"] == *self.id).collect()
    }

    /// What the stand-in of the model did in this run: `answered`, `finished`, `repeated`, `faulted`.
    pub(crate) fn turns(&self, scene: &Scene, kind: &str) -> Vec<Effect> {
        let all = scene.effects("bedrock", &format!("turn.{kind}"));
        all.into_iter().filter(|effect| effect.detail["run"] == *self.id).collect()
    }

    /// What the stand-in was paid for turns of this kind.
    pub(crate) fn paid(&self, scene: &Scene, kind: &str) -> MicroUsd {
        let turns = self.turns(scene, kind);
        turns.iter().map(|turn| price().cost(&usage(&turn.detail["usage"]))).sum()
    }
}

/// What the model costs.
pub(crate) fn price() -> Price {
    Prices::with(&BTreeMap::new()).unwrap().of(MODEL).unwrap()
}

fn usage(told: &Value) -> Usage {
    let count = |name: &str| told[name].as_u64().unwrap_or_default();
    Usage {
        input: count("inputTokens"),
        output: count("outputTokens"),
        cache_read: count("cacheReadInputTokens"),
        cache_write: count("cacheWriteInputTokens"),
    }
}

fn raw(value: &Value) -> RawValue {
    RawValue::from_value(value, &PayloadConverter::default())
}

/// A script of these conversations.
pub(crate) fn script(conversations: impl IntoIterator<Item = Value>) -> Value {
    json!({"conversations": conversations.into_iter().collect::<Vec<_>>()})
}

/// The conversation of [`Errand`]s with this case.
pub(crate) fn conversation(agent: &str, case: &str, turns: impl IntoIterator<Item = Value>) -> Value {
    json!({"agent": agent, "match": format!("case {case}\\."), "turns": turns.into_iter().collect::<Vec<_>>()})
}

/// A turn that calls one tool.
pub(crate) fn call(tool: &str, input: Value) -> Value {
    json!({"calls": [{"tool": tool, "input": input}]})
}

/// The slack agent's last turn.
pub(crate) fn says(text: &str) -> Value {
    call("submit_answer", json!({"text": text}))
}

/// `turn` with more members.
pub(crate) fn and(mut turn: Value, more: Value) -> Value {
    for (member, value) in more.as_object().into_iter().flatten() {
        turn[member] = value.clone();
    }
    turn
}

/// The end of a slack agent that said this.
pub(crate) fn said(text: &str) -> AgentEnd {
    AgentEnd::Answered(json!({"text": text}))
}

/// All texts that a request's last user message has.
pub(crate) fn last_message(request: &RecordedRequest) -> String {
    request.body["messages"].as_array().and_then(|messages| messages.last()).map(texts).unwrap_or_default()
}

/// All texts inside a part of a request.
pub(crate) fn texts(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let text = map.get("text").and_then(Value::as_str).map(str::to_owned);
            text.into_iter()
                .chain(map.values().map(texts))
                .filter(|text| !text.is_empty())
                .collect::<Vec<_>>()
                .join("\n")
        }
        Value::Array(items) => items.iter().map(texts).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while !holds() {
        anyhow::ensure!(began.elapsed() < limit, "waited {limit:?} for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Whether a process runs on this machine whose command line has these words.
pub(crate) fn runs(words: &str) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok()).any(|line| {
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(words)
    })
}

/// Where the worker's blob store keeps the blob with this digest.
pub(crate) fn blob(directory: &Path, digest: &str) -> PathBuf {
    directory.join("blobs/sha256").join(&digest[..2]).join(digest)
}

impl Scene {
    /// Every turn of the script was asked for, and nothing else; of turns that never come their conversations' cases are named.
    pub(crate) fn assert_script_was_played(&self, never: &[&str]) {
        let world = &self.stack.world;
        let unexpected: Vec<String> =
            world.effects.unexpected().iter().map(|e| format!("{} {}", e.target, e.detail["error"])).collect();
        assert!(unexpected.is_empty(), "unexpected calls: {unexpected:#?}");
        let is_meant = |turn: &String| never.iter().any(|case| turn.contains(&format!("case {case}\\.")));
        let unused: Vec<String> = world.bedrock.unused_turns().into_iter().filter(|turn| !is_meant(turn)).collect();
        assert!(unused.is_empty(), "turns nobody asked for: {unused:#?}");
    }
}
