//! Activities that do nothing: a model that always reads one more file, and a file that is always there.

#![expect(dead_code, unreachable_pub, reason = "the SDK's macros make markers that nobody names")]

use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use workflows::contract::ids::Digest;
use workflows::contract::model::{self, Reply, Submitted, TakeTurn, TurnOutcome};
use workflows::contract::money::{MicroUsd, Usage};
use workflows::contract::tools::{self, ReadCall, ToolCall, ToolReply};

/// The model: calls `read_file` in each turn but the last, where it submits its answer.
pub struct NoOpModel {
    /// Turns of a run.
    pub(crate) turns: u32,
    /// What it submits.
    pub(crate) answer: serde_json::Value,
}

/// The tools.
pub struct NoOpTools;

#[activities]
impl NoOpModel {
    #[activity(definition = model::definitions::TakeTurn)]
    pub async fn take_turn(
        self: std::sync::Arc<Self>,
        _ctx: ActivityContext,
        turn: TakeTurn,
    ) -> Result<TurnOutcome, ActivityError> {
        let n = number(&turn);
        let answer = (n >= self.turns).then(|| Submitted { id: call_id(n), value: self.answer.clone() });
        Ok(TurnOutcome::Replied(Reply {
            head: Digest::of(format!("head {n}")),
            calls: if answer.is_some() { Vec::new() } else { vec![call(n)] },
            answer,
            stop: "tool_use".to_owned(),
            usage: Usage { input: 10, output: 100, cache_read: 10_000, cache_write: 1_000 },
            cost: MicroUsd(10_000),
            kept: false,
            handed_over: false,
            heard: 0,
        }))
    }
}

#[activities]
impl NoOpTools {
    #[activity(definition = tools::definitions::Read)]
    pub async fn read(_ctx: ActivityContext, call: ReadCall) -> Result<ToolReply, ActivityError> {
        Ok(ToolReply { output: Digest::of(call.call.input.as_str()), is_error: false })
    }
}

/// The call of turn `n`: another one in each turn, so that nobody takes them for a loop.
pub(crate) fn call(n: u32) -> ToolCall {
    ToolCall {
        id: call_id(n),
        name: "read_file".to_owned(),
        input: Digest::of(format!("input {n}")),
        label: format!("read_file acme/shop-api shop/part_{n}.py"),
    }
}

fn call_id(n: u32) -> String {
    format!("tooluse_{}", &Digest::of(format!("call {n}")).as_str()[..22])
}

/// An effect's key ends in the number of the turn.
fn number(turn: &TakeTurn) -> u32 {
    turn.effect.as_str().rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(u32::MAX)
}
