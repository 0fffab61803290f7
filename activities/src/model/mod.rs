//! Language models on Amazon Bedrock: one turn of a conversation, bought once.

mod bedrock;
mod errors;
mod hand_over;
mod request;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod transcript;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use temporalio_client::{ActivityIdentifier, RpcOptions};
use temporalio_common::protos::TaskToken;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use workflows::agents::{self, untrusted};
use workflows::contract::failure::FailureKind;
use workflows::contract::model::{
    HAND_OVER, Lost, Remark, Reply, SUBMIT_ANSWER, Spending, Submitted, TakeTurn, TurnOutcome, definitions,
};
use workflows::contract::money::MicroUsd;
use workflows::contract::tools::ToolCall;

use crate::blobs::Blobs;
use crate::failure::ServiceError;
use crate::heartbeat::while_telling;
pub use bedrock::Bedrock;
use bedrock::Unanswered;
use hand_over::HandOver;
pub use settings::{Guardrail, PriceError, Prices, Settings, UsdPerMillion};
use stream::{Block, Received};
use transcript::{Told, Transcript};

/// Longest answer that is taken, in bytes of JSON: it travels through Temporal.
const LONGEST_ANSWER: usize = 64 * 1024;
/// Longest label of a call, in characters.
const LONGEST_LABEL: usize = 120;

/// The model, as an activity.
#[derive(Debug)]
pub struct ModelActivities {
    bedrock: Bedrock,
    prices: Prices,
    blobs: Blobs,
}

impl ModelActivities {
    /// Takes turns through `bedrock`, keeps transcripts and replies in `blobs`.
    pub fn new(bedrock: Bedrock, prices: Prices, blobs: Blobs) -> Self {
        Self { bedrock, prices, blobs: blobs.remembering() }
    }
}

#[activities]
impl ModelActivities {
    /// Takes one turn. A reply that was kept under the effect key is returned and not bought again.
    #[activity(definition = definitions::TakeTurn)]
    pub async fn take_turn(
        self: Arc<Self>,
        ctx: ActivityContext,
        turn: TakeTurn,
    ) -> Result<TurnOutcome, ActivityError> {
        let run = ctx.info().workflow_id.clone().unwrap_or_default();
        let meter = Meter::default();
        let ledger = Heartbeats { ctx: &ctx, meter: &meter };
        while_telling(&ctx, self.turn(&run, &turn, &ledger), || meter.spending()).await
    }
}

impl ModelActivities {
    async fn turn(&self, run: &str, turn: &TakeTurn, ledger: &impl Ledger) -> Result<TurnOutcome, ServiceError> {
        let key = turn.effect.digest();
        if let Some(kept) = self.blobs.get_named(&key).await? {
            let reply: Reply = serde_json::from_slice(&kept).map_err(|error| {
                ServiceError::new(FailureKind::Invalid, format!("the reply kept for {} does not decode", turn.effect))
                    .caused_by(error)
            })?;
            return Ok(TurnOutcome::Replied(Reply { kept: true, ..reply }));
        }
        let spec = agents::spec(turn.agent);
        let price = self.prices.of(&turn.model).map_err(|error| {
            let message =
                format!("{error}: add [prices.\"{}\"] to ticketwright.toml and restart the worker", turn.model);
            ServiceError::new(FailureKind::Invalid, message)
        })?;
        let transcript = Transcript::load(&self.blobs, spec, turn.head.as_ref()).await?;
        let asks = turn.hand_over.then(|| Remark::of_harness(hand_over::REQUEST));
        let remarks: Vec<Remark> = turn.remarks.iter().cloned().chain(asks).collect();
        let told = transcript.message(&self.blobs, spec, &turn.news, &remarks).await?;
        let messages = transcript.with(&told.sent);
        let body = request::body(spec, run, turn, &transcript.system, messages, self.bedrock.guardrail.as_ref());
        let needed = request::worst_case(&body, turn.max_tokens, &price);
        if needed > turn.limit {
            return Ok(TurnOutcome::OverLimit { needed });
        }
        let input = request::dearest_input(&body, &price);
        ledger.reserve(input).await?;
        let streamed = |bytes| ledger.book(input + request::dearest_output(bytes, &price));
        let received = match self.bedrock.ask(&turn.model, body, &streamed).await {
            Ok(received) => received,
            Err(Unanswered { billed: false, error }) => return Err(error),
            Err(Unanswered { billed: true, error }) => return Ok(lost(error, ledger.booked())),
        };
        let cost = price.cost(&received.usage);
        ledger.book(cost);
        // A reply that cannot be kept was paid for all the same.
        match self.keep(turn, &transcript, told, received, cost).await {
            Ok(reply) => Ok(TurnOutcome::Replied(reply)),
            Err(error) => Ok(lost(error, cost)),
        }
    }

    /// Keeps a reply under the effect key, and the conversation with it.
    async fn keep(
        &self,
        turn: &TakeTurn,
        transcript: &Transcript,
        told: Told,
        received: Received,
        cost: MicroUsd,
    ) -> Result<Reply, ServiceError> {
        let (usage, stop) = (received.usage, received.stop.clone());
        let reply =
            |head| Reply { head, calls: Vec::new(), answer: None, stop, usage, cost, kept: false, handed_over: false };
        let reply = if let (true, Some(head)) = (turn.hand_over, &turn.head) {
            match notes_in(&received) {
                Some(notes) => {
                    let head = transcript.begin_anew(&self.blobs, &notes).await?;
                    Reply { handed_over: true, ..reply(head) }
                }
                None => reply(head.clone()),
            }
        } else {
            let said = self.take_apart(transcript, &received).await?;
            let head = transcript.extend(&self.blobs, told, said.content).await?;
            Reply { calls: said.calls, answer: said.answer, ..reply(head) }
        };
        // From here on the reply is ours: a crash before this line buys it again, one after it does not.
        self.blobs.put_named(&turn.effect.digest(), request::canonical(&json!(reply))).await?;
        Ok(reply)
    }

    /// Takes a reply apart: content to send again, calls to run, the answer.
    async fn take_apart(&self, transcript: &Transcript, received: &Received) -> Result<Said, ServiceError> {
        let mut taken: HashSet<String> = transcript.call_ids().map(str::to_owned).collect();
        let mut said = Said::default();
        for (n, block) in received.blocks.iter().enumerate() {
            match block {
                // Blank text is refused when it is sent again.
                Block::Text(text) if text.trim().is_empty() => {}
                Block::Text(text) => said.content.push(json!({"text": text})),
                Block::Reasoning(reasoning) => said.content.push(json!({"reasoningContent": reasoning})),
                Block::Call { id, name, input } => {
                    let (id, name) = (free_id(id, &mut taken), sendable_name(name));
                    let value = parse_input(input);
                    let is_cut = received.stop == "max_tokens" && n + 1 == received.blocks.len() && !value.is_object();
                    if name == SUBMIT_ANSWER {
                        let input = transcript::echoed(value.clone());
                        said.content.push(json!({"toolUse": {"toolUseId": id, "name": name, "input": input}}));
                        if said.answer.is_none() && !is_cut {
                            said.answer = Some(Submitted { id, value: capped(value) });
                        }
                        continue;
                    }
                    let label = label(&name, &value);
                    let input = self.blobs.put(request::canonical(&value)).await?;
                    let (member, kept) = transcript::kept_input(&value, &input);
                    said.content.push(json!({"toolUse": {"toolUseId": id, "name": name, member: kept}}));
                    // Half a call is no call: it is answered as not run.
                    if !is_cut {
                        said.calls.push(ToolCall { id, name, input, label });
                    }
                }
            }
        }
        Ok(said)
    }
}

/// Where a turn tells what it spends, so that nothing is spent unseen.
trait Ledger: Sync {
    /// Tells what the request costs that goes out next, and returns when that is known elsewhere.
    fn reserve(&self, cost: MicroUsd) -> impl Future<Output = Result<(), ServiceError>> + Send;
    /// Tells what was spent so far.
    fn book(&self, cost: MicroUsd);
    /// What was told last.
    fn booked(&self) -> MicroUsd;
}

/// What a turn has spent.
#[derive(Debug, Default)]
struct Meter(AtomicU64);

impl Meter {
    fn spending(&self) -> Spending {
        Spending { cost: MicroUsd(self.0.load(Ordering::Relaxed)) }
    }
}

/// The heartbeats of the activity. The server keeps the last one, and hands it to the workflow when the worker is lost.
struct Heartbeats<'a> {
    ctx: &'a ActivityContext,
    meter: &'a Meter,
}

impl Ledger for Heartbeats<'_> {
    async fn reserve(&self, cost: MicroUsd) -> Result<(), ServiceError> {
        self.book(cost);
        // Not by the context's own heartbeat, which is sent some time later: a worker killed in between would have spent
        // money that nobody knows of.
        let token = TaskToken::from(self.ctx.info().task_token.clone());
        let client = self.ctx.client();
        let handle = client.get_async_activity_handle(ActivityIdentifier::from_task_token(token));
        match handle.heartbeat(Some(self.meter.spending()), RpcOptions::default()).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let why = "Temporal does not take note of what the next model call may cost, so it was not made";
                Err(ServiceError::new(FailureKind::Unavailable, why).caused_by(error))
            }
        }
    }

    fn book(&self, cost: MicroUsd) {
        self.meter.0.store(cost.0, Ordering::Relaxed);
    }

    fn booked(&self) -> MicroUsd {
        self.meter.spending().cost
    }
}

fn lost(error: ServiceError, cost: MicroUsd) -> TurnOutcome {
    tracing::warn!(%error, source = ?error.source, %cost, "the reply of a model was lost");
    TurnOutcome::Lost(Lost { cost, kind: error.kind, message: error.message })
}

/// The notes of a hand-over, if the reply has some.
fn notes_in(received: &Received) -> Option<HandOver> {
    received.blocks.iter().find_map(|block| match block {
        Block::Call { name, input, .. } if name == HAND_OVER => serde_json::from_str(input).ok(),
        _ => None,
    })
}

/// A reply, taken apart.
#[derive(Default)]
struct Said {
    content: Vec<Value>,
    calls: Vec<ToolCall>,
    answer: Option<Submitted>,
}

/// The id itself, or with a number behind it when a call had it before: two calls with one id could never be answered.
fn free_id(id: &str, taken: &mut HashSet<String>) -> String {
    let id = sendable(id, |c| "_.:-".contains(c));
    let numbered = (2..).map(|n| {
        let room: String = id.chars().take(56).collect();
        format!("{room}-{n}")
    });
    let free = std::iter::once(id.clone()).chain(numbered).find(|id| !taken.contains(id)).unwrap_or_default();
    taken.insert(free.clone());
    free
}

/// A tool's name as it may be sent again.
fn sendable_name(name: &str) -> String {
    sendable(name, |c| "_-".contains(c))
}

/// `text` within the pattern of ids and names, `[a-zA-Z0-9...]{1,64}` (API reference of Converse, ToolUseBlock).
fn sendable(text: &str, also: impl Fn(char) -> bool) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || also(c) { c } else { '_' };
    let text: String = text.chars().map(fits).take(64).collect();
    if text.is_empty() { "unnamed".to_owned() } else { text }
}

/// The input as JSON. What does not parse is kept as a text, so that the tool can say what is wrong with it; a tool without
/// parameters may be called without any input.
fn parse_input(input: &str) -> Value {
    if input.trim().is_empty() {
        return json!({});
    }
    serde_json::from_str(input).unwrap_or_else(|_| Value::String(input.to_owned()))
}

/// An answer beyond the limit becomes a text that says so: it fits no schema, and the model is told why.
fn capped(answer: Value) -> Value {
    let bytes = answer.to_string().len();
    if bytes <= LONGEST_ANSWER {
        return answer;
    }
    let (long, limit) = (bytes.div_ceil(1024), LONGEST_ANSWER / 1024);
    Value::String(format!("the answer has {long} KB and at most {limit} KB are taken: shorten it"))
}

/// A call in a few words: the tool, and the parts of its input that tell calls apart.
fn label(name: &str, input: &Value) -> String {
    let telling = ["repository", "path", "key", "query", "pattern", "text", "command"];
    let parts = telling.iter().filter_map(|key| input.get(key)?.as_str());
    let whole = std::iter::once(name).chain(parts).collect::<Vec<_>>().join(" ");
    let words = untrusted::visible(&whole);
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST_LABEL {
        return line;
    }
    line.chars().take(LONGEST_LABEL - 1).chain(['…']).collect()
}
