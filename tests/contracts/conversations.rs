//! Conversations in which the model adapter sends everything it can send: each agent's tools and brief, results good and bad,
//! thoughts of the model that go back to it, inputs that do not parse, what people say, refused answers, a hand-over.

#![expect(dead_code, unreachable_pub, reason = "the SDK's macros make markers that nobody names")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use activities::blobs::Blobs;
use activities::model::{Bedrock, Guardrail, ModelActivities, Prices, Settings};
use anyhow::Context as _;
use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::{Value, json};
use temporalio_client::{
    Client, WorkflowGetResultOptions, WorkflowHandle, WorkflowSignalOptions, WorkflowStartOptions,
};
use temporalio_common::data_converters::{PayloadConverter, RawValue};
use temporalio_macros::activities;
use temporalio_sdk::WorkerOptions;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use workflows::agent_run::AgentWorkflow;
use workflows::contract::agent::{AgentEnd, AgentInput, AgentName, Steered};
use workflows::contract::ids::Generation;
use workflows::contract::model::{HAND_OVER, SUBMIT_ANSWER};
use workflows::contract::money::MicroUsd;
use workflows::contract::policy::ModelChoice;
use workflows::contract::tools::{ReadCall, ToolReply, definitions};
use workflows::contract::{MODEL_QUEUE, QUEUE};

use crate::Request;
use crate::rig::Rig;

const MODEL: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

/// Requests of all conversations, in order.
pub(crate) async fn hold() -> anyhow::Result<Vec<Request>> {
    let rig = Rig::start().await?;
    let observer = rig.namespace("contracts").await?;
    let fake = Arc::<Fake>::default();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&fake));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let blobs = Blobs::open(rig.directory.path().join("blobs").to_str().context("a path in UTF-8")?)?;
    let guardrail = Some(Guardrail { id: "gr1abc2def".to_owned(), version: "DRAFT".to_owned() });
    let settings = Settings { endpoint_url: Some(url), guardrail, ..Settings::default() };
    let bedrock = Bedrock::connect(&settings).await;
    let model = ModelActivities::new(bedrock, Prices::with(&BTreeMap::new())?, blobs.clone());
    let tools = ShortTools { blobs };
    let workers = vec![
        WorkerOptions::new(QUEUE).register_workflow::<AgentWorkflow>()?.register_activities(tools).build(),
        WorkerOptions::new(MODEL_QUEUE).register_activities(model).build(),
    ];
    let client = observer.client();
    // Ana speaks before the agent is at work, so its model hears her in its first turn.
    let first = begin(client, AgentName::Discovery, "discovery", 200_000).await?;
    let steered = Steered { n: 1, by: "Ana".to_owned(), text: "Mind the rounding.".to_owned() };
    let raw = RawValue::from_value(&steered, &PayloadConverter::default());
    first.signal(AgentWorkflow::steer, raw, WorkflowSignalOptions::default()).await?;
    let serving = rig.serve(client, workers)?;

    let prose = || reply(&[json!({"text": "I think so."})], &[], "end_turn");
    let end = self::end(&first, &fake, vec![thoughtful(), clumsy(), prose(), report()]).await?;
    anyhow::ensure!(matches!(end, AgentEnd::Answered(_)), "discovery ended: {end:?}");
    // A model that can hold next to nothing hands over after its first turn.
    let short = begin(client, AgentName::Discovery, "hand-over", 30).await?;
    let end = self::end(&short, &fake, vec![thoughtful(), notes(), report()]).await?;
    anyhow::ensure!(matches!(end, AgentEnd::Answered(_)), "discovery ended after a hand-over: {end:?}");
    for agent in workflows::agents::ALL.into_iter().filter(|agent| *agent != AgentName::Discovery) {
        let bad = || reply(&[json!({"text": "Done."})], &[("t9", SUBMIT_ANSWER, r#"{"no": 1}"#)], "tool_use");
        let run = begin(client, agent, agent.as_str(), 200_000).await?;
        let end = self::end(&run, &fake, vec![bad(), bad(), bad()]).await?;
        anyhow::ensure!(matches!(end, AgentEnd::InvalidAnswer(_)), "{agent} ended: {end:?}");
    }
    serving.stop().await?;
    server.abort();
    let requests = fake.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(requests)
}

/// Begins a run whose model can hold so many tokens.
async fn begin(client: &Client, agent: AgentName, name: &str, context_tokens: u32) -> anyhow::Result<Run> {
    let input = AgentInput {
        agent,
        ticket: Some("SHOP-1".parse()?),
        generation: Generation::of_event("contracts"),
        model: ModelChoice { id: MODEL.to_owned(), max_tokens: 1000, context_tokens },
        brief: brief(agent),
        workspace: None,
        command_seconds: 300,
        lease: MicroUsd::dollars(12),
        purse: None,
        rules: AgentInput::RULES,
        history_events: AgentInput::default_history_events(),
        progress: None,
    };
    let input = RawValue::from_value(&input, &PayloadConverter::default());
    // Longer than a metadata value may be, with characters that it may not have.
    let id = format!("ticket-SHOP-1/{name}/{}", "[{\"Größe\"}]/".repeat(20));
    client.start_workflow(AgentWorkflow::run, input, WorkflowStartOptions::new(QUEUE, id.clone()).build()).await?;
    Ok(client.get_workflow_handle(id))
}

/// How a run ends whose model says this, turn by turn.
async fn end(run: &Run, fake: &Fake, replies: Vec<Vec<Value>>) -> anyhow::Result<AgentEnd> {
    fake.replies.lock().unwrap_or_else(PoisonError::into_inner).extend(replies);
    Ok(run.get_result(WorkflowGetResultOptions::default()).await?.end)
}

/// A run of an agent.
type Run = WorkflowHandle<Client, AgentWorkflow>;

/// Fails when the conversations leave out something that the adapter can send: then the check would say little.
pub(crate) fn use_everything(requests: &[Request]) -> anyhow::Result<()> {
    let all = json!(requests.iter().map(|request| &request.body).collect::<Vec<_>>()).to_string();
    let parts = [
        "\"toolChoice\":",
        "\"cachePoint\":{\"type\":\"default\"}",
        "\"status\":\"error\"",
        "\"status\":\"success\"",
        "\"reasoningText\":",
        "\"signature\":",
        "\"redactedContent\":",
        "\"requestMetadata\":",
        "\"not_an_object\":",
        "\"maxTokens\":",
        "\"guardrailConfig\":",
        "Mind the rounding.",
        "Fixed.amount is the cause.",
    ];
    for part in parts {
        anyhow::ensure!(all.contains(part), "no request has {part}");
    }
    Ok(())
}

/// The service: says what it is told to say.
#[derive(Default)]
struct Fake {
    replies: Mutex<VecDeque<Vec<Value>>>,
    requests: Mutex<Vec<Request>>,
}

/// The tools: a file is always there, a listing never.
pub struct ShortTools {
    blobs: Blobs,
}

#[activities]
impl ShortTools {
    #[activity(definition = definitions::Read)]
    pub async fn read(self: Arc<Self>, _ctx: ActivityContext, call: ReadCall) -> Result<ToolReply, ActivityError> {
        let is_error = call.call.name != "read_file";
        let text = if is_error { "" } else { "    1  x = 1\n    2  # \u{1F600}" };
        Ok(ToolReply { output: self.blobs.put(text).await?, is_error })
    }
}

async fn answer(State(fake): State<Arc<Fake>>, uri: Uri, body: Bytes) -> Response {
    let model = uri.path().strip_prefix("/model/").and_then(|rest| rest.strip_suffix("/converse-stream"));
    let model = percent_encoding::percent_decode_str(model.unwrap_or_default()).decode_utf8_lossy().into_owned();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let request = Request { operation: "ConverseStream", model, body };
    fake.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    let reply = fake.replies.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or_default();
    let frames: Vec<u8> = reply.iter().flat_map(frame).collect();
    ([("content-type", "application/vnd.amazon.eventstream")], frames).into_response()
}

/// An event `{kind: payload}` in Amazon's event stream encoding.
#[expect(clippy::expect_used, reason = "events are written in this file, and far below the frame limit of 24 MB")]
fn frame(event: &Value) -> Vec<u8> {
    let (kind, payload) = event.as_object().and_then(|event| event.iter().next()).expect("an event has one member");
    let header = |name: &'static str, value: &str| Header::new(name, HeaderValue::String(value.to_owned().into()));
    let message = Message::new(payload.to_string())
        .add_header(header(":message-type", "event"))
        .add_header(header(":event-type", kind))
        .add_header(header(":content-type", "application/json"));
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).expect("a short message can be framed");
    bytes
}

/// A reply from its deltas and calls.
fn reply(deltas: &[Value], calls: &[(&str, &str, &str)], stop: &str) -> Vec<Value> {
    let mut events = vec![json!({"messageStart": {"role": "assistant"}})];
    for (index, delta) in deltas.iter().enumerate() {
        events.push(json!({"contentBlockDelta": {"contentBlockIndex": index, "delta": delta}}));
    }
    for (n, (id, name, input)) in calls.iter().enumerate() {
        let index = deltas.len() + n;
        let start = json!({"toolUse": {"toolUseId": id, "name": name}});
        events.push(json!({"contentBlockStart": {"contentBlockIndex": index, "start": start}}));
        let delta = json!({"toolUse": {"input": input}});
        events.push(json!({"contentBlockDelta": {"contentBlockIndex": index, "delta": delta}}));
        events.push(json!({"contentBlockStop": {"contentBlockIndex": index}}));
    }
    events.push(json!({"messageStop": {"stopReason": stop}}));
    let usage = json!({"inputTokens": 10, "outputTokens": 20, "totalTokens": 30});
    events.push(json!({"metadata": {"usage": usage, "metrics": {"latencyMs": 5}}}));
    events
}

/// Thoughts, one of them redacted, a text, and two calls.
fn thoughtful() -> Vec<Value> {
    let deltas = [
        json!({"reasoningContent": {"text": "Hm."}}),
        json!({"reasoningContent": {"redactedContent": "AAEC"}}),
        json!({"text": "I look."}),
    ];
    let mut events = reply(
        &deltas,
        &[("t1", "read_file", r#"{"repository":"acme/shop","path":"a.py"}"#), ("t2", "list_repositories", "")],
        "tool_use",
    );
    // The signature comes last in its block.
    let signature = json!({"reasoningContent": {"signature": "c2ln"}});
    events.insert(2, json!({"contentBlockDelta": {"contentBlockIndex": 0, "delta": signature}}));
    events
}

/// Inputs that are no objects, and one id for two calls: as long as an id can be.
fn clumsy() -> Vec<Value> {
    let id = "x".repeat(64);
    reply(
        &[],
        &[(&id, "read_file", r#"{"path": "a"#), (&id, "read_file", "[1]"), ("t1", "no_such_tool", "{}")],
        "max_tokens",
    )
}

/// What a conversation is handed over with.
fn notes() -> Vec<Value> {
    let notes = json!({
        "done": "Fixed.amount is the cause.", "decisions": "None.", "open_questions": "None.", "next_steps": "Report.",
    });
    reply(&[], &[("t7", HAND_OVER, &notes.to_string())], "tool_use")
}

/// An answer that discovery is taken at.
fn report() -> Vec<Value> {
    let answer = json!({"repositories": [], "complexity": "low", "approach": "Clamp it."});
    reply(&[], &[("t8", SUBMIT_ANSWER, &answer.to_string())], "tool_use")
}

/// Something for each agent to begin with.
fn brief(agent: AgentName) -> Value {
    let ticket = json!({
        "key": "SHOP-1", "url": "http://jira/SHOP-1", "summary": "Total is wrong", "description": "It is negative.",
        "comments": [{"author": "Bo", "body": "Since \u{202E}Monday."}], "labels": ["AI"], "priority": "High",
        "issue_type": "Bug", "status": "To Do", "reporter": null, "links": [],
    });
    match agent {
        AgentName::Discovery => json!({"ticket": ticket, "minimum_score": 0.3, "best": 5}),
        AgentName::Planning => json!({"ticket": ticket, "repositories": [], "approach": "Clamp it.", "feedback": ""}),
        AgentName::Execution => json!({
            "ticket_key": "SHOP-1", "plan": {"summary": "s"}, "attempt": 1, "refusal": "",
            "task": {"id": "t1", "title": "Clamp", "description": "Clamp it.", "files": ["a.py"], "tests": ["zero"]},
        }),
        AgentName::Ci => json!({
            "number": 3, "repository": "acme/shop", "sha": "81c0d1e", "attempt": 1, "files": ["a.py"], "refusal": "",
            "checks": [{"name": "test", "job": 7, "log": "1 failed"}],
        }),
        AgentName::Sentry => json!({
            "issue": {
                "id": "7", "short_id": "SHOP-7", "level": "error", "project": "shop-api", "platform": "python",
                "events_24h": 40, "users": 7, "title": "AttributeError", "culprit": "shop.api",
            },
            "event": {
                "release": "1.0", "environment": "production", "message": "no attribute",
                "frames": [{"path": "a.py", "line": 1, "function": "f", "in_app": true, "text": "x.get()"}],
            },
        }),
        AgentName::Slack => json!({"by": "ana", "text": "Where is SHOP-1?"}),
    }
}
