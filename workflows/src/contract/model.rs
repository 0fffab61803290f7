//! What the domain needs of a language model: one turn of a conversation that lives in the blob store.

use serde::{Deserialize, Serialize};
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

use super::agent::AgentName;
use super::failure::FailureKind;
use super::ids::{Digest, EffectKey};
use super::money::{MicroUsd, Usage};
use super::tools::ToolCall;

/// One turn: what is new goes to the model, its reply is added to the transcript.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TakeTurn {
    /// Which agent speaks; its prompt, tools and answer schema follow from it.
    pub agent: AgentName,
    /// Bedrock inference profile or model id.
    pub model: String,
    /// Most tokens of the reply.
    pub max_tokens: u32,
    /// Head of the transcript; `None` on the first turn.
    pub head: Option<Digest>,
    /// What is new since the last reply.
    pub news: News,
    /// What the harness and people say beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<Remark>,
    /// The model is asked for a hand-over instead of its next step: the conversation begins anew with it, and takes less room.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hand_over: bool,
    /// Key of this call: a finished reply is kept under it and never paid for again.
    pub effect: EffectKey,
    /// What this call may cost at most.
    pub limit: MicroUsd,
    /// Tokens of the conversation up to and with the last reply, as it was measured then; 0: not known.
    #[serde(default)]
    pub known_tokens: u64,
}

/// What the model is told in this turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// The first turn: variables of the agent's prompt. Ticket text and other untrusted values are fenced when rendered.
    Brief(serde_json::Value),
    /// Answers to the calls of the last reply, in their order.
    Results(Vec<CallResult>),
    /// A remark of the harness: the reply had no tool call, was cut off.
    Remark(String),
}

/// Something said beside the answers to calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// Who says it; absent: the harness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What.
    pub text: String,
}

impl Remark {
    /// A remark of the harness.
    pub fn of_harness(text: impl Into<String>) -> Self {
        Self { by: None, text: text.into() }
    }
}

/// The answer to one tool call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallResult {
    /// Id of the call.
    pub id: String,
    /// The text.
    pub output: CallOutput,
    /// It is an error.
    pub is_error: bool,
}

/// Text of a tool result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOutput {
    /// In the blob store.
    Blob(Digest),
    /// Short and ours: validation errors, refusals. Never the words of a service or a process.
    Text(String),
}

/// What came of a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnOutcome {
    /// The model replied.
    Replied(Reply),
    /// The reply was lost after the request had gone out. It is paid for as far as it came.
    Lost(Lost),
    /// The call was not made: at worst it would cost more than its limit.
    OverLimit {
        /// What it would cost at worst.
        needed: MicroUsd,
    },
}

/// A reply that was lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    /// What it cost: the known input at the dearest price, and what was streamed.
    pub cost: MicroUsd,
    /// What to do about it.
    pub kind: FailureKind,
    /// For people.
    pub message: String,
}

/// A model's reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// New head of the transcript, this reply included.
    pub head: Digest,
    /// Tool calls, in order, `submit_answer` not among them.
    pub calls: Vec<ToolCall>,
    /// Input of `submit_answer`, when it was called: at most 64 KB.
    pub answer: Option<Submitted>,
    /// Why it stopped: `tool_use`, `end_turn`, `max_tokens`, ... as Bedrock says it.
    pub stop: String,
    /// Tokens.
    pub usage: Usage,
    /// Price of this turn.
    pub cost: MicroUsd,
    /// Remarks of people that its request carried, the first ones.
    #[serde(default)]
    pub heard: u32,
    /// An earlier attempt bought it and was lost before it could tell.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// `head` is a conversation that begins anew with the model's hand-over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub handed_over: bool,
}

/// What a model turn tells with its heartbeats, from just before its request goes out: were it lost, this was spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spending {
    /// The known input at the dearest price, and what was streamed so far.
    pub cost: MicroUsd,
}

/// A submitted answer, not yet validated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submitted {
    /// Id of the call.
    pub id: String,
    /// Its input.
    pub value: serde_json::Value,
}

/// Name of the forced tool through which every agent answers.
pub const SUBMIT_ANSWER: &str = "submit_answer";

/// Name of the tool through which a model hands over a conversation that has grown too long.
pub const HAND_OVER: &str = "hand_over";

/// The model, as an activity on the model queue.
pub struct Model;

#[activity_definitions]
impl Model {
    /// Takes one turn, in one attempt: the loop asks again, after a new look at the money. A reply that was kept under the
    /// effect key is returned, not bought again. Its heartbeats carry [`Spending`].
    #[activity(name = "model.take_turn")]
    pub fn take_turn(_turn: TakeTurn) -> Result<TurnOutcome, ActivityError> {
        unimplemented!()
    }
}

/// The definitions, for the adapters that implement them: `#[activity(definition = ...)]`.
pub mod definitions {
    pub use super::model::*;
}
