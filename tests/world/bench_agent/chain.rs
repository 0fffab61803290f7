//! A conversation of any length with the planning agent: the real loop and the real model activity against the stand-in, and a
//! tool that knows the corpus. The agent stops at its turn limit; the next run goes on where it stopped.

#![expect(dead_code, unreachable_pub, reason = "the SDK's macros make markers that nobody names")]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use activities::blobs::Blobs;
use activities::model::{Bedrock, ModelActivities, Prices, Settings};
use anyhow::Context as _;
use serde_json::{Value, json};
use temporalio_client::{Client, WorkflowGetResultOptions, WorkflowQueryOptions, WorkflowStartOptions};
use temporalio_common::data_converters::{PayloadConverter, RawValue};
use temporalio_macros::activities;
use temporalio_sdk::WorkerOptions;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use workflows::agent_run::AgentWorkflow;
use workflows::contract::agent::{AgentEnd, AgentInput, AgentName};
use workflows::contract::ids::Generation;
use workflows::contract::money::MicroUsd;
use workflows::contract::plan::DiscoveryReport;
use workflows::contract::policy::ModelChoice;
use workflows::contract::status::AgentProgress;
use workflows::contract::tools::{ReadCall, ToolReply, definitions};
use workflows::contract::{MODEL_QUEUE, QUEUE};
use world::bedrock::{Call, Conversation, Script};
use world::samples;

use crate::corpus::Turn;
use crate::stand_in::StandIn;

/// The model that is asked, and priced.
pub(crate) const MODEL: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

/// The errand: plan the sample ticket. Money and context never end it.
pub(crate) fn input() -> anyhow::Result<AgentInput> {
    let ticket = samples::ticket("SHOP-1")?;
    // Through its type, which fills in what the sample leaves out.
    let report = json!(serde_json::from_value::<DiscoveryReport>(sample("SHOP-1/discovery.yaml")?)?);
    let brief = json!({
        "ticket": {
            "key": "SHOP-1", "url": "http://127.0.0.1/browse/SHOP-1", "summary": ticket.summary,
            "description": ticket.description_markdown, "comments": [], "labels": ticket.labels,
            "priority": ticket.priority, "issue_type": ticket.issue_type, "status": "To Do", "links": [],
        },
        "repositories": report["repositories"], "approach": report["approach"], "feedback": "",
    });
    let model = ModelChoice { id: MODEL.to_owned(), max_tokens: 16_000, context_tokens: u32::MAX };
    Ok(AgentInput {
        agent: AgentName::Planning,
        ticket: Some("SHOP-1".parse()?),
        generation: Generation::of_event("bench"),
        model,
        brief,
        workspace: None,
        command_seconds: 300,
        lease: MicroUsd::dollars(1_000_000),
        purse: None,
        rules: AgentInput::RULES,
        history_events: AgentInput::default_history_events(),
        progress: None,
    })
}

/// A plan that is taken as the answer.
pub(crate) fn plan() -> anyhow::Result<Value> {
    sample("SHOP-1/plan.yaml")
}

fn sample(name: &str) -> anyhow::Result<Value> {
    let path = samples::directory().join("scripts").join(name);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(serde_yaml_ng::from_str(&text)?)
}

/// What the model says: a file in each turn, the plan in the last.
fn script(turns: &[Turn]) -> anyhow::Result<Script> {
    let turn = |said: &str, tool: &str, input: Value| world::bedrock::Turn {
        say: Some(said.to_owned()),
        calls: vec![Call { tool: tool.to_owned(), input, ..Call::default() }],
        ..world::bedrock::Turn::default()
    };
    let (last, before) = turns.split_last().context("a conversation has turns")?;
    let mut all: Vec<_> = before.iter().map(|t| turn(&t.said, "read_file", t.input())).collect();
    all.push(turn(&last.said, "submit_answer", plan()?));
    // Each run of the chain has a name of its own, and takes up the conversation where it is.
    let conversation = Conversation { agent: Some("planning".to_owned()), matches: None, repeat: true, turns: all };
    Ok(Script { conversations: vec![conversation] })
}

/// The tool: the corpus by path, kept in the blob store as the real one keeps what it read.
pub struct CorpusTools {
    texts: HashMap<String, String>,
    blobs: Blobs,
}

#[activities]
impl CorpusTools {
    #[activity(definition = definitions::Read)]
    pub async fn read(self: Arc<Self>, _ctx: ActivityContext, call: ReadCall) -> Result<ToolReply, ActivityError> {
        let input = self.blobs.get(&call.call.input).await?;
        let input: Value = serde_json::from_slice(&input)?;
        let text =
            input["path"].as_str().and_then(|path| self.texts.get(path)).context("the corpus has no such file")?;
        Ok(ToolReply { output: self.blobs.put(text.clone()).await?, is_error: false })
    }
}

/// The workers of a conversation: the product's loop and model, the corpus as the tool.
pub(crate) async fn workers(url: &str, blobs: &Path, turns: &[Turn]) -> anyhow::Result<Vec<WorkerOptions>> {
    let blobs = Blobs::open(blobs.to_str().context("a path in UTF-8")?)?;
    let settings = Settings { endpoint_url: Some(url.to_owned()), ..Settings::default() };
    let model = ModelActivities::new(Bedrock::connect(&settings).await, Prices::with(&BTreeMap::new())?, blobs.clone());
    let texts = turns.iter().map(|turn| (turn.path.clone(), turn.output.clone())).collect();
    let tools = CorpusTools { texts, blobs };
    Ok(vec![
        WorkerOptions::new(QUEUE).register_workflow::<AgentWorkflow>()?.register_activities(tools).build(),
        WorkerOptions::new(MODEL_QUEUE).register_activities(model).build(),
    ])
}

/// Holds the conversation to its end. Ids of the runs are `<name>-<n>`, from 1; returns how many there were.
pub(crate) async fn hold(client: &Client, stand_in: &StandIn, name: &str, turns: &[Turn]) -> anyhow::Result<usize> {
    let script = script(turns)?;
    let mut progress: Option<AgentProgress> = None;
    for n in 1.. {
        stand_in.play(script.clone());
        let input = AgentInput { progress: progress.take(), ..input()? };
        let input = RawValue::from_value(&input, &PayloadConverter::default());
        let options = WorkflowStartOptions::new(QUEUE, format!("{name}-{n}")).build();
        let handle = client.start_workflow(AgentWorkflow::run, input, options).await?;
        let ended = handle.get_result(WorkflowGetResultOptions::default()).await;
        let unexpected = stand_in.effects().unexpected();
        if let Some(call) = unexpected.first() {
            anyhow::bail!("the stand-in did not expect {}: {}", call.target, call.detail["error"]);
        }
        match ended?.end {
            AgentEnd::Answered(_) => return Ok(n),
            AgentEnd::Limit(_) => {
                let nothing = RawValue { payloads: Vec::new() };
                let reached = handle.query(AgentWorkflow::progress, nothing, WorkflowQueryOptions::default()).await?;
                // What the guards counted is the old run's own.
                let AgentProgress { head, news, .. } = reached;
                progress = Some(AgentProgress { head, news, ..AgentProgress::default() });
            }
            other => anyhow::bail!("the agent ended: {other:?}"),
        }
    }
    unreachable!("the loop ends with its conversation")
}
