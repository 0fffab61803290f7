//! Language models on Amazon Bedrock: one turn of a conversation, bought once.

mod bedrock;
mod errors;
mod hand_over;
mod reading;
mod request;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod transcript;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use temporalio_client::{ActivityIdentifier, RpcOptions};
use temporalio_common::protos::TaskToken;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use workflows::agents::{self, untrusted};
use workflows::contract::failure::FailureKind;
use workflows::contract::ids::Digest;
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
pub use reading::conversation;
pub use settings::{Guardrail, PriceError, Prices, Settings, UsdPerMillion};
use stream::{Block, Received};
use transcript::{Told, Transcript};

/// Longest answer that is taken, in bytes of JSON: it travels through Temporal.
const LONGEST_ANSWER: usize = 64 * 1024;
/// Waits before a reply is kept once more.
const KEEP_AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(30)];
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
        match while_telling(&ctx, self.turn(&run, &turn, &ledger), || meter.spending()).await {
            // The worker goes down, or the run is cancelled. What was spent is told all the same.
            Err(ActivityError::Cancelled { .. }) if meter.spending() != Spending::default() => {
                let message = format!("the worker dropped the reply of {} and goes down", turn.model);
                Ok(lost(ServiceError::new(FailureKind::Unavailable, message), meter.spending().cost))
            }
            ended => ended,
        }
    }
}

impl ModelActivities {
    async fn turn(&self, run: &str, turn: &TakeTurn, ledger: &impl Ledger) -> Result<TurnOutcome, ServiceError> {
        let key = turn.effect.digest();
        if let Some(kept) = self.blobs.get_named(&key).await? {
            let reply = self.kept_reply(turn, &kept).await?;
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
        let remarks: Vec<Remark> = asks.into_iter().chain(turn.remarks.iter().cloned()).collect();
        let told = transcript.message(&self.blobs, spec, &turn.news, &remarks).await?;
        let messages = transcript.with(&told.sent);
        let body = request::body(spec, run, turn, &transcript.system, messages, self.bedrock.guardrail.as_ref());
        let new = request::canonical(&told.sent).len();
        let known = request::Known { tokens: turn.known_tokens, new_bytes: new };
        let needed = request::worst_case(&body, known, turn.max_tokens, &price);
        if needed > turn.limit {
            return Ok(TurnOutcome::OverLimit { needed });
        }
        let input = request::dearest_input(&body, known, &price);
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
        match patiently(|| self.keep(turn, &transcript, &told, &received, cost)).await {
            Ok(reply) => Ok(TurnOutcome::Replied(reply)),
            Err(error) => Ok(lost(error, cost)),
        }
    }

    /// The reply that was kept: by its digest, or as it is where 0.1.0 kept it.
    async fn kept_reply(&self, turn: &TakeTurn, kept: &Bytes) -> Result<Reply, ServiceError> {
        let unreadable = |error: serde_json::Error| {
            let what = format!("the reply kept for {} (named/{}) does not decode", turn.effect, turn.effect.digest());
            ServiceError::new(FailureKind::Invalid, what).caused_by(error)
        };
        match std::str::from_utf8(kept).ok().and_then(|text| text.parse::<Digest>().ok()) {
            Some(digest) => serde_json::from_slice(&self.blobs.get(&digest).await?).map_err(unreadable),
            None => serde_json::from_slice(kept).map_err(unreadable),
        }
    }

    /// Keeps a reply under the effect key, and the conversation with it.
    async fn keep(
        &self,
        turn: &TakeTurn,
        transcript: &Transcript,
        told: &Told,
        received: &Received,
        cost: MicroUsd,
    ) -> Result<Reply, ServiceError> {
        let (usage, stop) = (received.usage, received.stop.clone());
        let by_people = turn.remarks.iter().filter(|remark| remark.by.is_some()).count();
        let heard = u32::try_from(by_people).unwrap_or(u32::MAX);
        let (calls, answer, kept, handed_over) = Default::default();
        let reply = |head| Reply { head, calls, answer, stop, usage, cost, heard, kept, handed_over };
        let reply = if let (true, Some(head)) = (turn.hand_over, &turn.head) {
            match notes_in(received) {
                Some(notes) => {
                    let head = transcript.begin_anew(&self.blobs, &notes).await?;
                    Reply { handed_over: true, ..reply(head) }
                }
                // No notes: the conversation stays as it is. An answer is one all the same.
                None => Reply { answer: answer_in(received), ..reply(head.clone()) },
            }
        } else {
            let said = self.take_apart(transcript, received).await?;
            let head = transcript.extend(&self.blobs, told, said.content).await?;
            Reply { calls: said.calls, answer: said.answer, ..reply(head) }
        };
        let digest = self.blobs.put(request::canonical(&json!(reply))).await?;
        // From here on the reply is ours: a crash before this line buys it again, one after it does not.
        self.blobs.put_named(&turn.effect.digest(), digest.as_str().to_owned()).await?;
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

/// Tries for a while: what is kept here is paid for.
async fn patiently<T, F: Future<Output = Result<T, ServiceError>>>(keep: impl Fn() -> F) -> F::Output {
    for wait in KEEP_AGAIN {
        match keep().await {
            Err(error) if error.kind == FailureKind::Unavailable => {
                tracing::warn!(%error, "a reply cannot be kept; trying again in {} s", wait.as_secs());
                tokio::time::sleep(wait).await;
            }
            kept => return kept,
        }
    }
    keep().await
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
            Ok(answer) if answer.cancel_requested => {
                self.book(MicroUsd::default());
                Err(ServiceError::new(FailureKind::Unavailable, "the run was cancelled before the model was asked"))
            }
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

/// The answer in a reply, whatever else it holds.
fn answer_in(received: &Received) -> Option<Submitted> {
    received.blocks.iter().find_map(|block| match block {
        Block::Call { id, name, input } if name == SUBMIT_ANSWER => {
            Some(Submitted { id: id.clone(), value: capped(parse_input(input)) })
        }
        _ => None,
    })
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
