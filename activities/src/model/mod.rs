//! Language models on Amazon Bedrock: one turn of a conversation, bought once.

mod bedrock;
mod errors;
mod request;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod transcript;

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use workflows::agents::{self, untrusted};
use workflows::contract::failure::FailureKind;
use workflows::contract::model::{Reply, SUBMIT_ANSWER, Submitted, TakeTurn, TurnOutcome, definitions};
use workflows::contract::tools::ToolCall;

use crate::blobs::Blobs;
use crate::failure::ServiceError;
use crate::heartbeat::while_beating;
pub use bedrock::Bedrock;
pub use settings::{PriceError, Prices, Settings, UsdPerMillion};
use stream::{Block, Received};
use transcript::Transcript;

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
        Self { bedrock, prices, blobs }
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
        while_beating(&ctx, self.turn(&run, &turn)).await
    }
}

impl ModelActivities {
    async fn turn(&self, run: &str, turn: &TakeTurn) -> Result<TurnOutcome, ServiceError> {
        let key = turn.effect.digest();
        if let Some(kept) = self.blobs.get_named(&key).await? {
            let reply = serde_json::from_slice(&kept).map_err(|error| {
                ServiceError::new(FailureKind::Invalid, format!("the reply kept for {} does not decode", turn.effect))
                    .caused_by(error)
            })?;
            return Ok(TurnOutcome::Replied(reply));
        }
        let spec = agents::spec(turn.agent);
        let price = self.prices.of(&turn.model).map_err(|error| {
            let message =
                format!("{error}: add [prices.\"{}\"] to ticketwright.toml and restart the worker", turn.model);
            ServiceError::new(FailureKind::Invalid, message)
        })?;
        let transcript = Transcript::load(&self.blobs, spec, turn.head.as_ref()).await?;
        let news = transcript.message(&self.blobs, spec, &turn.news).await?;
        let body = request::body(spec, run, turn, &transcript.system, transcript.with(&news));
        let needed = request::worst_case(&body, turn.max_tokens, &price);
        if needed > turn.limit {
            return Ok(TurnOutcome::OverLimit { needed });
        }
        let received = self.bedrock.ask(&turn.model, body).await?;
        let said = self.keep_inputs(&transcript, &received).await?;
        let reply = Reply {
            head: transcript.extend(&self.blobs, news, said.content).await?,
            calls: said.calls,
            answer: said.answer,
            stop: received.stop,
            usage: received.usage,
            cost: price.cost(&received.usage),
            kept: false,
            handed_over: false,
        };
        // From here on the reply is ours: a crash before this line buys it again, one after it does not.
        self.blobs.put_named(&key, request::canonical(&json!(reply))).await?;
        Ok(TurnOutcome::Replied(reply))
    }

    /// Takes a reply apart: content to send again, calls to run, the answer.
    async fn keep_inputs(&self, transcript: &Transcript, received: &Received) -> Result<Said, ServiceError> {
        let mut taken: HashSet<String> = transcript.call_ids().map(str::to_owned).collect();
        let mut said = Said::default();
        for block in &received.blocks {
            match block {
                // Blank text is refused when it is sent again.
                Block::Text(text) if text.trim().is_empty() => {}
                Block::Text(text) => said.content.push(json!({"text": text})),
                Block::Reasoning(reasoning) => said.content.push(json!({"reasoningContent": reasoning})),
                Block::Call { id, name, input } => {
                    let id = free_id(id, &mut taken);
                    let value = parse_input(input);
                    // Only an object is taken back as the input of a call.
                    let echoed = if value.is_object() { value.clone() } else { json!({"not_an_object": input}) };
                    said.content.push(json!({"toolUse": {"toolUseId": id, "name": name, "input": echoed}}));
                    if name != SUBMIT_ANSWER {
                        let label = label(name, &value);
                        let input = self.blobs.put(request::canonical(&value)).await?;
                        said.calls.push(ToolCall { id, name: name.clone(), input, label });
                    } else if said.answer.is_none() {
                        said.answer = Some(Submitted { id, value: capped(value) });
                    }
                }
            }
        }
        Ok(said)
    }
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
    let numbered = (2..).map(|n| {
        let room: String = id.chars().take(56).collect();
        format!("{room}-{n}")
    });
    let free = std::iter::once(id.to_owned()).chain(numbered).find(|id| !taken.contains(id)).unwrap_or_default();
    taken.insert(free.clone());
    free
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
