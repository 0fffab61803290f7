//! One ticket, from its label to merged pull requests.
//!
//! Workflow type `ticket`, id `ticket-<KEY>`, input [`TicketInput`] (`{"key":"PROJ-123"}` is enough).
//! Signals: `approve`, `reject`, `request_changes`, `steer`, `retry`, `extend_budget`, `cancel` from people; `trigger`,
//! `checks_changed`, `pull_request_changed` from the ingress, `ci_progress` from its own CI watches, `budget_ask` and
//! `agent_spent` from its agents. A signal that does not decode is recorded in the log and in the current details, never fatal.
//! Queries: `status`, `plan`, `cost`, `log` (optional number of last entries).
//! Ends with its [`TicketStatus`]; a native cancel ends it as cancelled after the same compensation.
//!
//! `Flow::carry` is the business flow from top to bottom.

mod approval;
mod checks;
mod compensation;
mod delivery;
mod errand;
mod execution;
mod flow;
mod ledger;
mod money;
mod parking;
mod planning;
mod set_up;
mod standing;
mod state;
mod voice;

use futures::FutureExt;
use serde::de::DeserializeOwned;
use temporalio_common::data_converters::RawValue;
use temporalio_common::error::ApplicationFailure;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::workflows::select;
use temporalio_workflow::{SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult};

use crate::budget;
use crate::ci_watch::{CiProgress, EndedAgent};
use crate::contract::access::Person;
use crate::contract::agent::{AgentSpent, BudgetAsk};
use crate::contract::plan::Plan;
use crate::contract::status::{CheckLog, CostReport, LogEntry, ParkReason, Stage, TaskProof, TicketStatus};
use crate::contract::trigger::{
    Approve, ChecksChanged, Command, ExtendBudget, Joined, PullRequestChanged, Reject, RequestChanges, Steer,
    TICKET_WORKFLOW, TicketInput,
};
use crate::kit;
use crate::messages::shorten;
use crate::patches;
use approval::Decision;
use flow::Flow;
use flow::Stop;
use state::TicketState;

/// Longest id of an unknown agent in the log, in characters.
const AGENT: usize = 200;

/// The `ticket` workflow.
#[workflow]
pub struct TicketWorkflow {
    state: TicketState,
}

impl Flow {
    /// The business flow.
    async fn carry(&self) -> Result<Stage, Stop> {
        self.insist(async || self.read_policy().await).await?;
        self.insist(async || self.read_ticket().await).await?;
        self.insist(async || self.discover().await).await?;
        loop {
            self.insist(async || self.write_plan().await).await?;
            self.insist(async || self.open_drafts().await).await?;
            self.try_set_up().await?;
            self.ask_for_approval().await;
            if self.insist(async || self.await_approval().await).await? == Decision::PlanAgain {
                continue;
            }
            if self.insist(async || self.plan_is_untouched().await).await? {
                break;
            }
        }
        self.begin_work().await;
        self.insist(async || self.execute().await).await?;
        self.insist(async || self.watch_ci().await).await?;
        self.insist(async || self.present().await).await?;
        self.insist(async || self.follow_to_merge().await).await
    }

    /// The flow, and beside it an ear for people (cancels, remarks, decisions that came when there was nothing to decide), the
    /// money of its agents, and what there is to say about it.
    async fn carry_and_attend(&self) -> Result<Stage, Stop> {
        let (carried, attended) = (self.carry().fuse(), self.attend().fuse());
        let (minded, announced) = (self.mind_money().fuse(), self.announce().fuse());
        futures::pin_mut!(carried, attended, minded, announced);
        let end = select! {
            end = carried => end,
            never = attended => match never {},
            never = minded => match never {},
            never = announced => match never {},
        };
        let called_off = self.read(|s| s.ends_as.filter(|_| s.cancelled_by.is_none()));
        match (end, called_off) {
            (Err(Stop::Cancelled), Some(stage)) if !self.ctx.cancellation_token().is_cancelled() => {
                Err(Stop::End(stage))
            }
            (end, _) => end,
        }
    }
}

#[workflow_methods]
impl TicketWorkflow {
    #[init]
    fn new(ctx: &WorkflowContextView, raw: RawValue) -> Self {
        Self { state: TicketState::new(kit::decode::<TicketInput>(raw), ctx.first_execution_run_id().to_owned()) }
    }

    /// Carries the ticket to its end.
    #[run(name = TICKET_WORKFLOW)]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<TicketStatus> {
        match Flow::begin(ctx) {
            Ok(flow) => {
                let outcome = flow.carry_and_attend().await;
                flow.conclude(outcome).await
            }
            Err(fault) => Err(ApplicationFailure::non_retryable(fault).into()),
        }
    }

    /// A person approves a plan: `{"by":"you","plan_hash":"4f2a91c7"}`.
    #[signal(name = "approve")]
    pub fn approve(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        if let Some(approve) = self.receive::<Approve>(ctx, "approve", raw)
            && self.is_decidable(ctx, "approve", &approve.by)
        {
            self.state.inbox.approvals.push_back(approve);
        }
    }

    /// A person rejects a plan: `{"by":"you","comment":"..."}`.
    #[signal(name = "reject")]
    pub fn reject(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        if let Some(reject) = self.receive::<Reject>(ctx, "reject", raw)
            && self.is_decidable(ctx, "reject", &reject.by)
        {
            self.state.inbox.rejections.push_back(reject);
        }
    }

    /// A person wants another plan: `{"by":"you","comment":"..."}`.
    #[signal(name = "request_changes")]
    pub fn request_changes(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        if let Some(request) = self.receive::<RequestChanges>(ctx, "request_changes", raw)
            && self.says_something(ctx, "ask for changes", &request.by, &request.comment)
            && self.is_decidable(ctx, "ask for changes", &request.by)
        {
            self.state.inbox.request(request);
        }
    }

    /// A person says what to mind from now on: `{"by":"you","text":"..."}`. While a plan is shown that is a request for
    /// changes; a parked ticket goes on with it; once the work is done, a comment on the pull request is what is heard.
    #[signal(name = "steer")]
    pub fn steer(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        if let Some(steer) = self.receive::<Steer>(ctx, "steer", raw)
            && self.says_something(ctx, "steer", &steer.by, &steer.text)
        {
            if self.state.is_closing() {
                self.decline(ctx, "steer", &steer.by, "it ends already");
            } else if self.state.stage == Stage::ReadyForReview {
                let instead = self.state.instead_of_steer();
                self.decline(ctx, "steer", &steer.by, &instead);
            } else if self.is_shown() {
                self.state.inbox.request(RequestChanges { by: steer.by, comment: steer.text, plan_hash: None });
            } else {
                self.state.inbox.steer(steer);
            }
        }
    }

    /// A person lets a parked ticket try again: `{"by":"you"}`.
    #[signal(name = "retry")]
    pub fn retry(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        if let Some(command) = self.receive::<Command>(ctx, "retry", raw) {
            if self.state.stage == Stage::Parked {
                self.state.inbox.retries.push_back(command);
            } else {
                self.decline(ctx, "let it try again", &command.by, "nothing waits for that");
            }
        }
    }

    /// A person adds money: `{"by":"you","usd":5}`. A ticket that waits for money goes on.
    #[signal(name = "extend_budget")]
    pub fn extend_budget(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        // First of all: in an older history it had no effect, not even a remark.
        if !ctx.patched(patches::EXTEND_BUDGET) {
            return;
        }
        if let Some(extend) = self.receive::<ExtendBudget>(ctx, "extend_budget", raw) {
            let why = if self.state.is_closing() {
                "it ends already".to_owned()
            } else if self.state.stage == Stage::ReadyForReview {
                "its work is done".to_owned()
            } else if budget::extension(extend.usd).is_none() {
                let (by, most, usd) = (extend.by.label(), budget::LARGEST_EXTENSION, extend.usd);
                let text =
                    format!("{by} could not extend the budget by ${usd}: more than $0 and at most ${most} at once");
                let at = kit::sync_now(ctx);
                return self.state.decline(at, &extend.by, text);
            } else if self.state.inbox.is_flooded() {
                "and others who extend it are not judged yet; say so again".to_owned()
            } else {
                return self.state.inbox.extend(extend);
            };
            self.decline(ctx, "extend the budget", &extend.by, &why);
        }
    }

    /// An agent needs more money than it was leased.
    #[signal(name = "budget_ask")]
    pub fn budget_ask(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        if let Some(ask) = self.receive::<BudgetAsk>(ctx, "budget_ask", raw) {
            let (at, agent) = (kit::sync_now(ctx), shorten(&ask.agent, AGENT));
            if self.state.budget.ask(ask) {
                self.state.note_waiting(at, &agent);
            } else {
                self.state.record(at, format!("{agent} asked for money and is no agent at work here"));
            }
        }
    }

    /// An agent says what it has spent so far.
    #[signal(name = "agent_spent")]
    pub fn agent_spent(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        if let Some(told) = self.receive::<AgentSpent>(ctx, "agent_spent", raw) {
            self.state.hear_spending(&told);
        }
    }

    /// A person cancels the ticket: `{"by":"you"}`.
    #[signal(name = "cancel")]
    pub fn cancel(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        if let Some(command) = self.receive::<Command>(ctx, "cancel", raw) {
            if self.state.is_closing() {
                self.decline(ctx, "cancel", &command.by, "it ends already");
            } else {
                self.state.inbox.cancels.push_back(command);
            }
        }
    }

    /// Another event about this ticket joined the run.
    #[signal(name = "trigger")]
    pub fn trigger(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        if let Some(joined) = self.receive::<Joined>(ctx, "trigger", raw) {
            let at = kit::sync_now(ctx);
            self.state.join(at, joined);
        }
    }

    /// Checks of one of our heads finished.
    #[signal(name = "checks_changed")]
    pub fn checks_changed(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        if let Some(news) = self.receive::<ChecksChanged>(ctx, "checks_changed", raw) {
            self.state.inbox.nudge(news);
        }
    }

    /// The watch of our checks did something.
    #[signal(name = "ci_progress")]
    pub fn ci_progress(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        if let Some(progress) = self.receive::<CiProgress>(ctx, "ci_progress", raw) {
            if let Some(EndedAgent { told, lost }) = &progress.ended {
                self.state.hear_end(told, *lost);
            }
            self.state.inbox.ci_progress.push_back(progress);
        }
    }

    /// One of our pull requests changed.
    #[signal(name = "pull_request_changed")]
    pub fn pull_request_changed(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        if let Some(news) = self.receive::<PullRequestChanged>(ctx, "pull_request_changed", raw) {
            self.state.inbox.pull_request_news += 1;
            self.state.watch_again(&news);
        }
    }

    /// Where the ticket stands.
    #[query(name = "status")]
    pub fn status(&self, _ctx: &WorkflowContextView, _raw: RawValue) -> TicketStatus {
        self.state.status()
    }

    /// The plan, or null.
    #[query(name = "plan")]
    pub fn plan(&self, _ctx: &WorkflowContextView, _raw: RawValue) -> Option<Plan> {
        self.state.plan.as_ref().map(|version| version.plan.clone())
    }

    /// The proofs of its tasks.
    #[query(name = "proofs")]
    pub fn proofs(&self, _ctx: &WorkflowContextView, _raw: RawValue) -> Vec<TaskProof> {
        self.state.proofs()
    }

    /// What it cost, line by line.
    #[query(name = "cost")]
    pub fn cost(&self, _ctx: &WorkflowContextView, _raw: RawValue) -> CostReport {
        self.state.cost()
    }

    /// The last log entries; a number limits how many.
    #[query(name = "log")]
    pub fn log(&self, _ctx: &WorkflowContextView, raw: RawValue) -> Vec<LogEntry> {
        self.state.log.answer(raw)
    }

    /// What a red check printed last, by GitHub's id of its job; null when it is not known.
    #[query(name = "check_log")]
    pub fn check_log(&self, _ctx: &WorkflowContextView, raw: RawValue) -> Option<CheckLog> {
        self.state.check_log(kit::decode(raw).ok()?)
    }

    /// A decision counts while its plan is shown, a rejection also while the ticket is parked. An early approval would approve a
    /// plan nobody has seen, a late decision (a second click) has nothing left to decide: both are noted and their maker is
    /// told.
    fn is_decidable(&mut self, ctx: &SyncWorkflowContext<Self>, name: &str, by: &Person) -> bool {
        let decidable = self.is_shown() || name == "reject" && self.state.stage == Stage::Parked;
        if !decidable {
            self.decline(ctx, name, by, "nothing waits for a decision");
        }
        decidable
    }

    /// A plan is there to be decided about.
    fn is_shown(&self) -> bool {
        let state = &self.state;
        let expired = state.stage == Stage::Parked
            && state.parked.as_ref().is_none_or(|parked| parked.reason == ParkReason::PlanExpired);
        state.plan.is_some() && (state.stage == Stage::AwaitingApproval || expired)
    }

    fn says_something(&mut self, ctx: &SyncWorkflowContext<Self>, what: &str, by: &Person, text: &str) -> bool {
        let says = !text.trim().is_empty();
        if !says {
            self.decline(ctx, what, by, "and no text came with it");
        }
        says
    }

    fn decline(&mut self, ctx: &SyncWorkflowContext<Self>, what: &str, by: &Person, why: &str) {
        let (at, stage) = (kit::sync_now(ctx), self.state.stage.as_str().replace('_', " "));
        let text = format!("{} could not {what}: {} is {stage}, {why}", by.label(), self.state.key());
        self.state.decline(at, by, text);
    }

    /// Decodes a signal; what does not decode is noted where people look.
    fn receive<T: DeserializeOwned>(
        &mut self,
        ctx: &mut SyncWorkflowContext<Self>,
        name: &str,
        raw: RawValue,
    ) -> Option<T> {
        match kit::decode(raw) {
            Ok(value) => Some(value),
            Err(fault) => {
                let at = kit::sync_now(ctx);
                self.state.note(at, format!("signal {name} ignored, its payload does not fit: {fault}"));
                None
            }
        }
    }
}
