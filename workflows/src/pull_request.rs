//! Instructions on one pull request: `@agent <instruction>` in its comments, one after the other.
//!
//! Workflow type `pull_request`, id `pr-<owner>.<repository>-<number>`, input [`Instructed`].
//! Signals: `instruct` with another [`Instructed`], `checks_changed` from the ingress, `ci_progress` from its CI watch. One that does not decode is noted in
//! the log, never fatal. Queries: `status`, `log` (optional number of last entries).
//! Ends with its [`PullRequestStatus`] when nothing is left to do; the next comment begins another run. What was answered
//! once is never done again: the answer on GitHub carries a key made of the comment alone, and is looked for first.
//!
//! `Desk::follow` is the business flow from top to bottom.

mod answer;
mod desk;
mod mending;
mod state;
mod work;

use futures::FutureExt as _;
use serde::de::DeserializeOwned;
use temporalio_common::data_converters::RawValue;
use temporalio_common::error::ApplicationFailure;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::workflows::select;
use temporalio_workflow::{
    SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult, WorkflowTermination,
};

use crate::ci_watch::CiProgress;
use crate::contract::status::LogEntry;
use crate::contract::trigger::{ChecksChanged, Instructed, PULL_REQUEST_WORKFLOW};
use crate::kit;
use answer::Answer;
use desk::{Cancelled, Desk, Stop};
use state::State;
pub use state::{Answered, PullRequestStatus};

/// The `pull_request` workflow.
#[workflow]
pub struct PullRequestWorkflow {
    state: State,
}

impl Desk {
    /// Instruction after instruction until none is left, and beside it a sign of life for those who wait.
    async fn serve(&self) -> Result<(), Cancelled> {
        self.read_policy().await?;
        let follow = async {
            // No await between the last look into the queue and the end.
            while let Some(asked) = self.next() {
                self.follow(&asked).await?;
            }
            Ok(())
        };
        let (followed, greeted) = (follow.fuse(), self.greet().fuse());
        futures::pin_mut!(followed, greeted);
        select! {
            end = followed => end,
            never = greeted => match never {},
        }
    }

    /// One instruction, from rights to reply.
    async fn follow(&self, asked: &Instructed) -> Result<(), Cancelled> {
        if !self.may_instruct(asked).await? || self.is_answered(asked).await? {
            return Ok(());
        }
        if !self.read(|s| s.knows(asked.comment)) {
            self.show_eyes(asked).await?;
        }
        match self.carry_out(asked).await {
            Ok(answer) => self.reply(asked, answer).await,
            Err(Stop::Told(why)) => self.reply(asked, Answer::stopped(&why)).await,
            Err(Stop::CancelledAfter(answer)) => {
                self.detached().reply(asked, *answer).await?;
                Err(Cancelled)
            }
            Err(Stop::Cancelled) => {
                self.detached().reply(asked, Answer::stopped("The run was cancelled.")).await?;
                Err(Cancelled)
            }
        }
    }

    /// What the instruction comes to.
    async fn carry_out(&self, asked: &Instructed) -> Result<Answer, Stop> {
        let pull_request = self.read_pull_request().await?;
        if let Some(refusal) = self.cannot_push_to(&pull_request).await? {
            return Ok(refusal);
        }
        if asked.instruction.is_empty() {
            return Ok(Answer::help());
        }
        if let Some(passed_on) = self.pass_on(asked, &pull_request).await? {
            return Ok(passed_on);
        }
        self.work(asked, pull_request).await
    }
}

#[workflow_methods]
impl PullRequestWorkflow {
    #[init]
    fn new(_ctx: &WorkflowContextView, raw: RawValue) -> Self {
        Self { state: State::new(kit::decode::<Instructed>(raw)) }
    }

    /// Follows instructions until none is left.
    #[run(name = PULL_REQUEST_WORKFLOW)]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<PullRequestStatus> {
        let desk = match Desk::open(ctx) {
            Ok(desk) => desk,
            Err(fault) => return Err(ApplicationFailure::non_retryable(fault).into()),
        };
        if desk.serve().await.is_err() {
            // A token of its own is never cancelled.
            let _: Result<(), Cancelled> = desk.detached().turn_away().await;
            return Err(WorkflowTermination::cancelled());
        }
        desk.rest();
        Ok(desk.read(State::status))
    }

    /// Somebody wrote `@agent ...` on this pull request.
    #[signal(name = "instruct")]
    pub fn instruct(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        if let Some(asked) = self.receive::<Instructed>(ctx, "instruct", raw) {
            let at = kit::sync_now(ctx);
            self.state.ask(at, asked);
        }
    }

    /// Checks of a head of this pull request finished.
    #[signal(name = "checks_changed")]
    pub fn checks_changed(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        if let Some(news) = self.receive::<ChecksChanged>(ctx, "checks_changed", raw) {
            self.state.nudge(news);
        }
    }

    /// The watch of our checks did something.
    #[signal(name = "ci_progress")]
    pub fn ci_progress(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        if let Some(progress) = self.receive::<CiProgress>(ctx, "ci_progress", raw) {
            self.state.ci_progress.push_back(progress);
        }
    }

    /// Where the instructions stand.
    #[query(name = "status")]
    pub fn status(&self, _ctx: &WorkflowContextView, _raw: RawValue) -> PullRequestStatus {
        self.state.status()
    }

    /// The last log entries; a number limits how many.
    #[query(name = "log")]
    pub fn log(&self, _ctx: &WorkflowContextView, raw: RawValue) -> Vec<LogEntry> {
        self.state.log.answer(raw)
    }

    /// Decodes a signal; what does not decode is noted.
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
                self.state.record(at, format!("signal {name} ignored, its payload does not fit: {fault}"));
                None
            }
        }
    }
}
