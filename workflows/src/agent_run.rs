//! The one loop that runs every agent: model turn, tool calls, model turn, ... until its typed answer.
//!
//! Workflow type `agent`, id `<parent id>/<agent>/<owner>.<repository>/<n>`. One activity per model turn, one per tool call,
//! so a crash continues at the exact call and a finished model call is never paid again. The transcript lives in the blob
//! store; only its head digest passes through here, so history grows by a constant per turn.
//!
//! Query: `progress`. Signals: `steer` ([`Steered`]) is told to the model before its next turn, `budget_grant`
//! ([`BudgetGrant`]) answers the agent's own `budget_ask`. Ends with an [`AgentResult`]; failures are values, so that what was
//! spent is known.

mod calls;
mod guards;
mod turn;

use std::time::Duration;

use serde_json::Value;
use temporalio_common::data_converters::RawValue;
use temporalio_common::error::ApplicationFailure;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ContinueAsNewOptions, SyncWorkflowContext, WorkflowCancellationToken, WorkflowContext, WorkflowContextView,
    WorkflowResult, WorkflowTermination,
};

use crate::agents::{self, AgentSpec};
use crate::contract::agent::{AgentEnd, AgentInput, AgentResult, BudgetGrant, Steered};
use crate::contract::model::{CallOutput, CallResult, News, Reply, Submitted};
use crate::contract::status::AgentProgress;
use crate::contract::workspace::{Workspace, Workspaces};
use crate::kit::{self, CallError};
use crate::policy::Family;

/// Answers that do not fit before the agent gives up.
const BAD_ANSWERS: u32 = 3;
/// Replies in a row without a tool call before the agent gives up.
const SILENT_REPLIES: u32 = 3;
/// Part of the wall limit that one step counts at most: a model call and its tools take less, unless no worker is there.
const LONGEST_STEP: u64 = 4;
/// What people said and the model was not told yet; more at once are a flood.
const STEERED: usize = 20;

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
        let run = Run {
            ctx: ctx.clone(),
            token: ctx.cancellation_token(),
            spec: agents::spec(input.agent),
            events: ctx.history_length(),
            input,
        };
        match run.to_the_answer().await {
            Ok(Outcome::Ended(end)) => Ok(run.result(run.or_answered(end))),
            Ok(Outcome::ContinueAsNew) => {
                let progress = Some(ctx.state(|s| s.progress.clone()));
                let input = AgentInput { progress, ..run.input };
                let raw = RawValue::from_value(&input, ctx.payload_converter());
                match ctx.continue_as_new(raw, ContinueAsNewOptions::default())? {}
            }
            Err(Cancelled) => {
                run.tell_the_last().await;
                Err(WorkflowTermination::cancelled())
            }
        }
    }

    /// Somebody says what to mind: `{"n":1,"by":"Ana","text":"..."}`.
    #[signal(name = "steer")]
    pub fn steer(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        let Some(steered) = receive::<Steered>(ctx, "steer", raw) else { return };
        if self.progress.steered.len() < STEERED {
            self.progress.steered.push(steered);
        } else if !ctx.is_replaying() {
            tracing::warn!(
                run = ctx.workflow_id(),
                n = steered.n,
                "a remark came when {STEERED} waited; it is not told"
            );
        }
    }

    /// The owner of the money leases more: `{"lease":2000000}`, all that may be spent from now on, in micro-dollars.
    #[signal(name = "budget_grant")]
    pub fn budget_grant(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        if let Some(grant) = receive::<BudgetGrant>(ctx, "budget_grant", raw) {
            let first = self.input.as_ref().map(|input| input.lease).unwrap_or_default();
            self.progress.granted = grant.lease - first;
        }
    }

    /// How far it got.
    #[query(name = "progress")]
    pub fn progress(&self, _ctx: &WorkflowContextView, _raw: RawValue) -> AgentProgress {
        self.progress.clone()
    }
}

fn receive<T: serde::de::DeserializeOwned>(
    ctx: &SyncWorkflowContext<AgentWorkflow>,
    name: &str,
    raw: RawValue,
) -> Option<T> {
    let decoded = kit::decode(raw);
    if let (Err(fault), false) = (&decoded, ctx.is_replaying()) {
        tracing::warn!(run = ctx.workflow_id(), "signal {name} ignored, its payload does not fit: {fault}");
    }
    decoded.ok()
}

fn bad_input(fault: &str) -> WorkflowTermination {
    ApplicationFailure::non_retryable(format!("the agent's input does not decode: {fault}")).into()
}

struct Run {
    ctx: WorkflowContext<AgentWorkflow>,
    token: WorkflowCancellationToken,
    spec: &'static AgentSpec,
    input: AgentInput,
    /// Length of the history when this run began.
    events: u32,
}

enum Outcome {
    Ended(AgentEnd),
    ContinueAsNew,
}

struct Cancelled;

/// Why a step has no result.
enum Stop {
    Cancelled,
    End(AgentEnd),
}

impl From<Cancelled> for Stop {
    fn from(Cancelled: Cancelled) -> Self {
        Self::Cancelled
    }
}

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
            if let Some(limit) = self.progress(|p| guards::limit_reached(self.spec, p)) {
                return Ok(Outcome::Ended(AgentEnd::Limit(limit)));
            }
            let long = self.ctx.history_length() > self.events.saturating_add(self.input.history_events);
            if self.ctx.continue_as_new_suggested() || long {
                return Ok(Outcome::ContinueAsNew);
            }
            let (began, waited) = (kit::now(&self.ctx), self.progress(|p| p.waited_seconds));
            let stepped = self.step().await;
            let seconds = kit::since(&self.ctx, began).as_secs();
            // Waits for money are nobody's work, and a step that takes very long has waited for a worker.
            let most = self.spec.wall.as_secs() / LONGEST_STEP;
            self.update(|p| p.active_seconds += seconds.saturating_sub(p.waited_seconds - waited).min(most));
            match stepped {
                Ok(()) => {}
                Err(Stop::Cancelled) => return Err(Cancelled),
                Err(Stop::End(end)) => return Ok(Outcome::Ended(end)),
            }
        }
    }

    /// One model turn and what follows from it.
    async fn step(&self) -> Result<(), Stop> {
        let full = self.progress(|p| guards::is_full(&self.input.model, p) && guards::turns_left(self.spec, p) > 1);
        let hand_over = self.is_guarded() && full;
        let reply = self.take_turn(hand_over).await?;
        if self.is_guarded()
            && let Some(why) = guards::stopped_by_service(&reply.stop)
        {
            return Err(Stop::End(AgentEnd::Failed(why.to_owned())));
        }
        let news = if hand_over { self.handed_over(&reply)? } else { Some(self.react(&reply).await?) };
        if news.is_some() {
            self.update(|p| p.news = news);
        }
        Ok(())
    }

    /// It began with guards, and not under the rules of 0.1.0.
    fn is_guarded(&self) -> bool {
        self.input.rules >= 1
    }

    /// A conversation that has grown too long begins anew with what the model wrote down for itself. An answer that fits is as
    /// good as at any time.
    fn handed_over(&self, reply: &Reply) -> Result<Option<News>, Stop> {
        if let Some(submitted) = reply.answer.as_ref().filter(|submitted| self.fault_of(submitted).is_none()) {
            return Err(Stop::End(AgentEnd::Answered(submitted.value.clone())));
        }
        let (done, vain) = self.update(|p| {
            if reply.handed_over {
                p.hand_overs += 1;
                p.vain_hand_overs = 0;
                p.context_tokens = 0;
                // What it read before is lost to it: to read it once more is no repetition.
                p.seen.clear();
            } else {
                p.vain_hand_overs += 1;
            }
            (p.hand_overs, p.vain_hand_overs)
        });
        if done > guards::HAND_OVERS || vain >= guards::VAIN_HAND_OVERS {
            let limit = match vain {
                0 => format!("the work is longer than its model can hold, even after {} hand-overs", done - 1),
                _ => format!(
                    "the conversation fills its model, which was asked {vain} times for notes (stop: {})",
                    reply.stop
                ),
            };
            return Err(Stop::End(AgentEnd::Limit(limit)));
        }
        Ok(reply.handed_over.then(|| News::Remark("Go on from your notes.".to_owned())))
    }

    /// What the model is told next, or the end.
    async fn react(&self, reply: &Reply) -> Result<News, Stop> {
        // A good answer is not lost for what was looked up beside it.
        if let Some(submitted) = reply.answer.as_ref().filter(|_| self.is_guarded())
            && self.to_review().is_none()
            && reply.calls.iter().all(|call| self.is_read(call))
            && self.fault_of(submitted).is_none()
        {
            return Err(Stop::End(AgentEnd::Answered(submitted.value.clone())));
        }
        let mut results = self.answer_calls(&reply.calls).await?;
        if let Some(submitted) = &reply.answer {
            results.push(self.judge(submitted).await?);
        }
        if !results.is_empty() {
            self.update(|p| {
                p.silent_replies = 0;
                if reply.stop == "max_tokens" {
                    p.notes.push(guards::CUT_CALLS.to_owned());
                }
            });
            return Ok(News::Results(results));
        }
        let silent = self.update(|p| {
            p.silent_replies += 1;
            p.silent_replies
        });
        if self.is_guarded() && silent >= SILENT_REPLIES {
            let fault = format!("{silent} replies in a row without a usable tool call (stop: {})", reply.stop);
            return Err(Stop::End(AgentEnd::InvalidAnswer(fault)));
        }
        Ok(News::Remark(guards::without_call(&reply.stop).to_owned()))
    }

    fn fault_of(&self, submitted: &Submitted) -> Option<String> {
        (self.spec.check)(&submitted.value, &self.input.brief).err()
    }

    /// The workspace with a change that its author has not reviewed yet, where that is asked for.
    fn to_review(&self) -> Option<Workspace> {
        let asked = self.input.rules >= 2 && self.spec.reviews;
        self.progress(|p| {
            let open = asked && p.answer.is_none() && guards::turns_left(self.spec, p) > 1;
            p.workspace.clone().filter(|workspace| open && workspace.snapshot.is_some())
        })
    }

    /// The end with an answer that fits; the first time, the change itself for a last look.
    async fn accept(&self, submitted: &Submitted) -> Result<CallResult, Stop> {
        let end = || Stop::End(AgentEnd::Answered(submitted.value.clone()));
        let Some(workspace) = self.to_review() else { return Err(end()) };
        let family = Family::Sandbox { commands: Duration::from_secs(60) };
        let summary = format!("show the {} agent its change", self.input.agent);
        let diff = match kit::call(&self.ctx, &self.token, family, &summary, Workspaces::diff, workspace).await {
            Ok(diff) => diff,
            Err(CallError::Cancelled) => return Err(Stop::Cancelled),
            // The harness proves the change in any case; a review that cannot be is no reason to lose it.
            Err(CallError::Failed(_)) => return Err(end()),
        };
        self.update(|p| {
            p.answer = Some(submitted.value.clone());
            p.notes.push(agents::REVIEW.trim().to_owned());
        });
        Ok(CallResult { id: submitted.id.clone(), output: CallOutput::Blob(diff), is_error: false })
    }

    /// What was answered before the review counts, when the review itself comes to no end.
    fn or_answered(&self, end: AgentEnd) -> AgentEnd {
        let answer = self.progress(|p| p.answer.clone());
        match (end, answer) {
            (end @ AgentEnd::Answered(_), _) | (end, None) => end,
            (_, Some(answer)) => AgentEnd::Answered(answer),
        }
    }

    /// The end with a good answer or a look at the change, else what is wrong with it.
    async fn judge(&self, submitted: &Submitted) -> Result<CallResult, Stop> {
        let Some(fault) = self.fault_of(submitted) else { return self.accept(submitted).await };
        if !self.ctx.is_replaying() {
            tracing::info!(run = self.ctx.workflow_id(), fault, "the answer goes back to the model");
        }
        let bad = self.update(|p| {
            p.bad_answers += 1;
            p.bad_answers
        });
        let told = format!("{fault}. Mend it and call submit_answer again.");
        if bad >= BAD_ANSWERS {
            return Err(Stop::End(AgentEnd::InvalidAnswer(told)));
        }
        Ok(refusal(&submitted.id, told))
    }

    fn result(&self, end: AgentEnd) -> AgentResult {
        self.progress(|p| AgentResult {
            end,
            spent: p.spent,
            turns: p.turns,
            workspace: p.workspace.clone(),
            usage: p.usage,
            waited_seconds: p.waited_seconds,
            heard: p.heard.clone(),
        })
    }

    fn progress<R>(&self, read: impl FnOnce(&AgentProgress) -> R) -> R {
        self.ctx.state(|s| read(&s.progress))
    }

    fn update<R>(&self, change: impl FnOnce(&mut AgentProgress) -> R) -> R {
        self.ctx.state_mut(|s| change(&mut s.progress))
    }
}

fn refusal(id: &str, text: String) -> CallResult {
    CallResult { id: id.to_owned(), output: CallOutput::Text(text), is_error: true }
}

/// The answer, decoded into its type. It was checked before, so a fault here names a bug of ours.
pub fn decode_answer<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, String> {
    serde_json::from_value(answer).map_err(|error| format!("the agent's answer does not decode: {error}"))
}
