//! The one loop that runs every agent: model turn, tool calls, model turn, ... until its typed answer.
//!
//! Workflow type `agent`, id `<parent id>/<agent>/<owner>.<repository>/<n>`. One activity per model turn, one per tool call,
//! so a crash continues at the exact call and a finished model call is never paid again. The transcript lives in the blob
//! store; only its head digest passes through here, so history grows by a constant per turn.
//!
//! Query: `progress`. Signals: none yet. Ends with an [`AgentResult`]; failures are values, so that what was spent is known.

use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;
use temporalio_common::data_converters::RawValue;
use temporalio_common::error::ApplicationFailure;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::workflows::join_all;
use temporalio_workflow::{
    ContinueAsNewOptions, WorkflowCancellationToken, WorkflowContext, WorkflowContextView, WorkflowResult,
    WorkflowTermination,
};

use crate::agents::toolbox::{Effect, Home};
use crate::agents::{self, AgentSpec};
use crate::contract::agent::{AgentEnd, AgentInput, AgentResult};
use crate::contract::failure::FailureKind;
use crate::contract::ids::EffectKey;
use crate::contract::model::{CallOutput, CallResult, Model, News, Reply, Submitted, TakeTurn, TurnOutcome};
use crate::contract::status::AgentProgress;
use crate::contract::tools::{ReadCall, ReadTools, ToolCall, ToolReply};
use crate::contract::workspace::{Workspace, WorkspaceCall, Workspaces};
use crate::kit::{self, CallError, Waited};
use crate::policy::Family;

/// Answers that do not fit before the agent gives up.
const BAD_ANSWERS: u32 = 3;

/// The `agent` workflow.
#[workflow]
pub struct AgentWorkflow {
    input: Result<AgentInput, String>,
    progress: AgentProgress,
}

#[workflow_methods]
impl AgentWorkflow {
    #[init]
    fn new(_ctx: &WorkflowContextView, raw: RawValue) -> Self {
        let input: Result<AgentInput, String> = kit::decode(raw);
        let progress = input.as_ref().ok().and_then(|input| input.progress.clone()).unwrap_or_default();
        Self { input, progress }
    }

    /// Runs the agent to its answer.
    #[run(name = "agent")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<AgentResult> {
        let input = match ctx.state(|s| s.input.clone()) {
            Ok(input) => input,
            Err(fault) => return Err(bad_input(&fault)),
        };
        let events = ctx.history_length();
        let run =
            Run { ctx: ctx.clone(), token: ctx.cancellation_token(), spec: agents::spec(input.agent), input, events };
        match run.to_the_answer().await {
            Ok(Outcome::Ended(end)) => Ok(run.result(end)),
            Ok(Outcome::ContinueAsNew) => {
                let progress = Some(ctx.state(|s| s.progress.clone()));
                let input = AgentInput { progress, ..run.input };
                let raw = RawValue::from_value(&input, ctx.payload_converter());
                match ctx.continue_as_new(raw, ContinueAsNewOptions::default())? {}
            }
            Err(Cancelled) => Err(WorkflowTermination::cancelled()),
        }
    }

    /// How far it got.
    #[query(name = "progress")]
    pub fn progress(&self, _ctx: &WorkflowContextView, _raw: RawValue) -> AgentProgress {
        self.progress.clone()
    }
}

fn bad_input(fault: &str) -> WorkflowTermination {
    ApplicationFailure::non_retryable(format!("the agent's input does not decode: {fault}")).into()
}

struct Run {
    ctx: WorkflowContext<AgentWorkflow>,
    token: WorkflowCancellationToken,
    spec: &'static AgentSpec,
    input: AgentInput,
    events: u32,
}

enum Outcome {
    Ended(AgentEnd),
    ContinueAsNew,
}

struct Cancelled;

impl Run {
    async fn to_the_answer(&self) -> Result<Outcome, Cancelled> {
        if self.progress(|p| p.news.is_none()) {
            let (brief, workspace) = (self.input.brief.clone(), self.input.workspace.clone());
            self.update(|p| {
                p.news = Some(News::Brief(brief));
                p.workspace = workspace;
            });
        }
        loop {
            if let Some(limit) = self.limit_reached() {
                return Ok(Outcome::Ended(AgentEnd::Limit(limit)));
            }
            if self.ctx.continue_as_new_suggested() || self.ctx.history_length() > self.events + 10_000 {
                return Ok(Outcome::ContinueAsNew);
            }
            let began = kit::now(&self.ctx);
            let reply = match self.take_turn().await? {
                Ok(reply) => reply,
                Err(end) => return Ok(Outcome::Ended(end)),
            };
            let step = self.react(&reply).await?;
            let seconds = kit::since(&self.ctx, began).as_secs();
            self.update(|p| p.active_seconds += seconds);
            match step {
                Ok(news) => self.update(|p| p.news = Some(news)),
                Err(end) => return Ok(Outcome::Ended(end)),
            }
        }
    }

    fn limit_reached(&self) -> Option<String> {
        let (turns, seconds) = self.progress(|p| (p.turns, p.active_seconds));
        if turns >= self.spec.turns {
            Some(format!("{turns} model turns without an answer"))
        } else if seconds >= self.spec.wall.as_secs() {
            Some(format!("{} min of work without an answer", seconds / 60))
        } else {
            None
        }
    }

    /// One model turn. Throttling and outages are waited out inside the wall limit.
    async fn take_turn(&self) -> Result<Result<Reply, AgentEnd>, Cancelled> {
        let (turn, head, news, spent) = self.progress(|p| (p.turns + 1, p.head.clone(), p.news.clone(), p.spent));
        let Some(news) = news else {
            return Ok(Err(AgentEnd::Failed("nothing to tell the model".to_owned())));
        };
        let request = TakeTurn {
            agent: self.input.agent,
            model: self.input.model.id.clone(),
            max_tokens: self.input.model.max_tokens,
            head,
            news,
            remarks: Vec::new(),
            hand_over: false,
            effect: EffectKey::new(self.ctx.workflow_id(), &self.input.generation, "turn", turn),
            limit: self.input.lease.saturating_sub(spent),
        };
        let summary = format!("ask {} model (turn {turn})", self.input.agent);
        let mut wait = Duration::from_secs(2);
        let began = kit::now(&self.ctx);
        loop {
            let outcome =
                kit::call(&self.ctx, &self.token, Family::Model, &summary, Model::take_turn, request.clone()).await;
            match outcome {
                Ok(TurnOutcome::Replied(reply)) => {
                    self.update(|p| {
                        p.head = Some(reply.head.clone());
                        p.turns = turn;
                        p.spent += reply.cost;
                        p.news = None;
                    });
                    return Ok(Ok(reply));
                }
                Ok(TurnOutcome::Lost(lost)) => return Ok(Err(AgentEnd::Failed(lost.message))),
                Ok(TurnOutcome::OverLimit { needed }) => return Ok(Err(AgentEnd::Budget { needed })),
                Err(CallError::Cancelled) => return Err(Cancelled),
                Err(CallError::Failed(failure)) => {
                    if failure.kind.is_final() || kit::since(&self.ctx, began) > self.spec.wall {
                        return Ok(Err(AgentEnd::Failed(failure.message)));
                    }
                    let asked = match failure.kind {
                        FailureKind::RateLimited => failure.retry_after.unwrap_or(wait),
                        _ => wait,
                    };
                    let pause = asked.max(wait);
                    if self.sleep(pause, "wait before asking the model again").await == Waited::Cancelled {
                        return Err(Cancelled);
                    }
                    wait = (wait * 2).min(Duration::from_secs(60));
                }
            }
        }
    }

    async fn sleep(&self, pause: Duration, summary: &str) -> Waited {
        kit::wait_until(&self.ctx, &self.token, pause, summary, |_| false).await
    }

    /// What the model is told next, or the end.
    async fn react(&self, reply: &Reply) -> Result<Result<News, AgentEnd>, Cancelled> {
        let mut results = self.answer_calls(&reply.calls).await?;
        if let Some(submitted) = &reply.answer {
            match self.judge(submitted) {
                Ok(end) => return Ok(Err(end)),
                Err(refusal) => results.push(refusal),
            }
            let bad = self.update(|p| {
                p.bad_answers += 1;
                p.bad_answers
            });
            if bad >= BAD_ANSWERS {
                let fault = results.pop().map(|refusal| refusal.output);
                let fault = match fault {
                    Some(CallOutput::Text(text)) => text,
                    _ => String::new(),
                };
                return Ok(Err(AgentEnd::InvalidAnswer(fault)));
            }
        }
        if !results.is_empty() {
            return Ok(Ok(News::Results(results)));
        }
        let remark = match reply.stop.as_str() {
            "max_tokens" => "Your reply was cut at the length limit. Go on in smaller steps, with a tool call.",
            _ => "Your reply had no tool call. Use a tool, or finish with submit_answer.",
        };
        Ok(Ok(News::Remark(remark.to_owned())))
    }

    fn judge(&self, submitted: &Submitted) -> Result<AgentEnd, CallResult> {
        match (self.spec.check)(&submitted.value, &self.input.brief) {
            Ok(()) => Ok(AgentEnd::Answered(submitted.value.clone())),
            Err(fault) => {
                if !self.ctx.is_replaying() {
                    tracing::info!(run = self.ctx.workflow_id(), fault, "the answer goes back to the model");
                }
                Err(refusal(&submitted.id, format!("{fault}. Mend it and call submit_answer again.")))
            }
        }
    }

    /// Reads that stand side by side run in parallel, writes in order.
    async fn answer_calls(&self, calls: &[ToolCall]) -> Result<Vec<CallResult>, Cancelled> {
        let mut results = Vec::with_capacity(calls.len());
        let mut rest = calls;
        while !rest.is_empty() {
            let reads = rest.iter().take_while(|call| self.is_read(call)).count();
            let (batch, after) = rest.split_at(reads.max(1));
            for result in join_all(batch.iter().map(|call| self.answer_call(call))).await {
                results.push(result?);
            }
            rest = after;
        }
        Ok(results)
    }

    fn is_read(&self, call: &ToolCall) -> bool {
        self.spec.tool(&call.name).is_none_or(|tool| tool.effect == Effect::Read)
    }

    async fn answer_call(&self, call: &ToolCall) -> Result<CallResult, Cancelled> {
        let Some(tool) = self.spec.tool(&call.name) else {
            let known: Vec<&str> = self.spec.tools.iter().map(|tool| tool.name).collect();
            let text = format!("There is no tool {:?}. Your tools: {}, submit_answer.", call.name, known.join(", "));
            return Ok(refusal(&call.id, text));
        };
        let answered = match tool.home {
            Home::Services => {
                let request = ReadCall {
                    ticket: self.input.ticket.clone(),
                    issue: named(&self.input.brief, "/issue/id"),
                    repository: named(&self.input.brief, "/repository"),
                    call: call.clone(),
                };
                kit::call(&self.ctx, &self.token, Family::Read, &call.label, ReadTools::read, request).await
            }
            Home::Workspace => self.call_workspace(call).await,
        };
        match answered {
            Ok(ToolReply { output, is_error }) => {
                Ok(CallResult { id: call.id.clone(), output: CallOutput::Blob(output), is_error })
            }
            Err(CallError::Cancelled) => Err(Cancelled),
            Err(CallError::Failed(failure)) => {
                Ok(refusal(&call.id, format!("{} failed: {}. Go on without it.", call.name, failure.message)))
            }
        }
    }

    async fn call_workspace(&self, call: &ToolCall) -> Result<ToolReply, CallError> {
        let Some(workspace) = self.progress(|p| p.workspace.clone()) else {
            return Err(CallError::Failed(kit::Failure {
                kind: FailureKind::Invalid,
                message: "there is no workspace".to_owned(),
                retry_after: None,
            }));
        };
        let command_seconds = self.input.command_seconds;
        let family = Family::Sandbox { commands: Duration::from_secs(command_seconds) };
        let request = WorkspaceCall { workspace, call: call.clone(), command_seconds };
        let done = kit::call(&self.ctx, &self.token, family, &call.label, Workspaces::call_tool, request).await?;
        self.update(|p| p.workspace = Some(done.workspace));
        Ok(done.reply)
    }

    fn result(&self, end: AgentEnd) -> AgentResult {
        let (spent, turns, workspace): (_, _, Option<Workspace>) =
            self.progress(|p| (p.spent, p.turns, p.workspace.clone()));
        let (usage, waited_seconds, heard) = Default::default();
        AgentResult { end, spent, turns, workspace, usage, waited_seconds, heard }
    }

    fn progress<R>(&self, read: impl FnOnce(&AgentProgress) -> R) -> R {
        self.ctx.state(|s| read(&s.progress))
    }

    fn update<R>(&self, change: impl FnOnce(&mut AgentProgress) -> R) -> R {
        self.ctx.state_mut(|s| change(&mut s.progress))
    }
}

/// What the brief is about, in a field that whoever sends the agent has filled, never a text from outside.
fn named<T: FromStr>(brief: &Value, field: &str) -> Option<T> {
    brief.pointer(field)?.as_str()?.parse().ok()
}

fn refusal(id: &str, text: String) -> CallResult {
    CallResult { id: id.to_owned(), output: CallOutput::Text(text), is_error: true }
}

/// The answer, decoded into its type. It was checked before, so a fault here names a bug of ours.
pub fn decode_answer<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, String> {
    serde_json::from_value(answer).map_err(|error| format!("the agent's answer does not decode: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contract::ids::{RepositoryName, SentryIssueId};

    #[test]
    fn a_brief_names_what_tools_may_read() {
        let brief = json!({"repository": "acme/shop", "issue": {"id": "7", "title": "x"}});
        assert_eq!(named::<RepositoryName>(&brief, "/repository").unwrap().as_str(), "acme/shop");
        assert_eq!(named::<SentryIssueId>(&brief, "/issue/id").unwrap().as_str(), "7");
        assert_eq!(named::<SentryIssueId>(&json!({"issue": "SHOP-1"}), "/issue/id"), None);
    }
}
