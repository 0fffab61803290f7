//! What every instruction stands on: rights, reading, replies, and what people see of the run.

use std::convert::Infallible;
use std::time::Duration;

use serde_json::json;
use temporalio_common::data_converters::{RawValue, TemporalDeserializable};
use temporalio_common::{ActivityDefinition, SignalDefinition};
use temporalio_workflow::{
    MemoValue, SignalWorkflowOptions, WaitConditionOptions, WorkflowCancellationToken, WorkflowContext,
};

use super::PullRequestWorkflow;
use super::answer::Answer;
use super::state::{Answered, State};
use crate::branch::BranchTemplate;
use crate::budget::Budget;
use crate::contract::access::Via;
use crate::contract::github::{
    FindReply, GitHub, MayPush, PullRequest, PullRequestRef, PullRequestState, React, WriteReply,
};
use crate::contract::ids::{EffectKey, Generation};
use crate::contract::money::MicroUsd;
use crate::contract::policy::PolicySource;
use crate::contract::status::Stage;
use crate::contract::tasks::Tasks;
use crate::contract::trigger::{Instructed, Steer};
use crate::kit::{self, CallError, Waited};
use crate::messages::replies::{self, Reply};
use crate::policy::Family;
use crate::search_attributes::{COST_USD, REPOSITORIES, REQUESTED_BY};
use crate::ticket::TicketWorkflow;

/// First and longest pause before a ticket's run that did not answer is asked again.
const SILENCE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(640));

/// This run is being cancelled.
#[derive(Debug)]
pub(super) struct Cancelled;

/// Why an instruction was not carried out.
pub(super) enum Stop {
    /// This run is being cancelled.
    Cancelled,
    /// This run is being cancelled, after a commit was pushed: the answer says what is there.
    CancelledAfter(Box<Answer>),
    /// What the person is told.
    Told(String),
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Cancelled => Self::Cancelled,
            CallError::Failed(failure) => Self::Told(failure.message),
        }
    }
}

/// The ticket's signal `steer`, by name and payload alone.
struct SteerTicket;

impl SignalDefinition for SteerTicket {
    type Workflow = TicketWorkflow;
    type Input = RawValue;

    fn name(&self) -> &'static str {
        "steer"
    }
}

/// A running run.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) ctx: WorkflowContext<PullRequestWorkflow>,
    pub(super) token: WorkflowCancellationToken,
    pub(super) address: PullRequestRef,
}

impl Desk {
    /// Looks at the input and shows the run in the Web UI.
    pub(super) fn open(ctx: &WorkflowContext<PullRequestWorkflow>) -> Result<Self, String> {
        let (first, fault) = ctx.state(|w| (w.state.first.clone(), w.state.fault.clone()));
        let Some(first) = first else { return Err(format!("the input is no instruction: {fault}")) };
        let address = PullRequestRef { repository: first.repository.clone(), number: first.number };
        let desk = Self { ctx: ctx.clone(), token: ctx.cancellation_token(), address };
        desk.ctx.upsert_search_attributes([REPOSITORIES.value_set(vec![first.repository.to_string()])]);
        Ok(desk)
    }

    /// The same on a token of its own: a second cancel does not cut it short.
    pub(super) fn detached(&self) -> Self {
        Self { token: WorkflowCancellationToken::new(), ..self.clone() }
    }

    pub(super) fn read<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        self.ctx.state(|w| read(&w.state))
    }

    pub(super) fn write<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        self.ctx.state_mut(|w| change(&mut w.state))
    }

    pub(super) fn log(&self, text: impl Into<String>) {
        let (now, text) = (kit::now(&self.ctx), text.into());
        if !self.ctx.is_replaying() {
            tracing::info!(repository = %self.address.repository, number = self.address.number, "{text}");
        }
        self.write(|s| s.record(now, text));
    }

    pub(super) async fn call<A>(
        &self,
        family: Family,
        summary: &str,
        activity: A,
        input: impl Into<A::Input>,
    ) -> Result<A::Output, CallError>
    where
        A: ActivityDefinition,
        A::Input: Clone,
        A::Output: TemporalDeserializable,
    {
        kit::call(&self.ctx, &self.token, family, summary, activity, input.into()).await
    }

    /// Says what is going on: log, memo, current details.
    pub(super) fn enter(&self, doing: impl Into<String>) {
        let doing = doing.into();
        self.log(doing.clone());
        self.write(|s| s.doing = doing);
        self.show();
    }

    /// Refreshes search attributes, memo and current details.
    pub(super) fn show(&self) {
        let status = self.read(State::status);
        self.ctx.upsert_search_attributes([COST_USD.value_set(status.spent.as_usd())]);
        let memo = [
            ("doing", MemoValue::new(status.doing.clone())),
            ("cost_usd", MemoValue::new(status.spent.as_usd())),
            ("waiting", MemoValue::new(status.waiting)),
        ];
        // Plain values always serialise; a failure here would only cost the mirror, never the run.
        if let Err(error) = self.ctx.upsert_memo(memo.map(|(key, value)| (key, Some(value)))) {
            self.log(format!("memo not updated: {error}"));
        }
        let details = self.read(|s| {
            let current = s.current.as_ref().map(|asked| json!({ "by": asked.by.label(), "text": asked.instruction }));
            let url = s.pull_request.as_ref().map(|pr| pr.url.clone()).unwrap_or_default();
            json!({ "status": status, "current": current, "url": url, "spent": status.spent.to_string() })
        });
        self.ctx.set_current_details(replies::render(Reply::Details, &details));
    }

    /// The policy in force; a run keeps it. It is read until it is there: without it nothing can be done.
    pub(super) async fn read_policy(&self) -> Result<(), Cancelled> {
        loop {
            match self.call(Family::Read, "read policy", PolicySource::read, ()).await {
                Ok(policy) => {
                    self.write(|s| s.policy = policy);
                    return Ok(());
                }
                Err(CallError::Cancelled) => return Err(Cancelled),
                Err(CallError::Failed(failure)) => self.log(format!("no policy: {}", failure.message)),
            }
        }
    }

    /// The next instruction, with an account of its own.
    pub(super) fn next(&self) -> Option<Instructed> {
        let asked = self.write(|s| {
            let asked = s.queue.pop_front()?;
            s.spent += s.budget.spent;
            let cap = MicroUsd(s.policy.budget.instruction_cap_micro_usd);
            s.budget = Budget::new(cap);
            s.current = Some(asked.clone());
            Some(asked)
        })?;
        self.ctx.upsert_search_attributes([REQUESTED_BY.value_set(asked.by.label())]);
        self.enter(format!("comment {} of {}: {}", asked.comment, asked.by.label(), asked.instruction));
        Some(asked)
    }

    /// Nothing is left to do.
    pub(super) fn rest(&self) {
        self.write(|s| {
            s.current = None;
            s.doing.clear();
        });
        self.show();
    }

    /// Beside the work: shows people whose instructions wait that they are heard. Others' leave the queue. Never ends.
    pub(super) async fn greet(&self) -> Infallible {
        loop {
            let options = WaitConditionOptions::builder().cancellation_token(self.token.clone()).build();
            let called = |w: &PullRequestWorkflow| w.state.stranger().is_some();
            if self.ctx.wait_condition_with_options(called, options).await.is_err() {
                std::future::pending::<Infallible>().await;
            }
            let Some(asked) = self.write(|s| s.stranger().cloned().inspect(|asked| s.greeted(asked.comment))) else {
                continue;
            };
            match self.may_instruct(&asked).await {
                Ok(true) if self.show_eyes(&asked).await.is_ok() => {}
                Ok(false) => self.write(|s| s.queue.retain(|waiting| waiting.comment != asked.comment)),
                Ok(true) | Err(Cancelled) => match std::future::pending::<Infallible>().await {},
            }
        }
    }

    /// Answers those whose turn never comes, because the run is cancelled.
    pub(super) async fn turn_away(&self) -> Result<(), Cancelled> {
        // The one whose turn it was has no answer yet, if it was not even told that somebody is at it.
        let mut unanswered = self.write(|s| s.current.take());
        while let Some(asked) = unanswered.take().or_else(|| self.next()) {
            if self.may_instruct(&asked).await? && !self.is_answered(&asked).await? {
                self.reply(&asked, Answer::stopped("The run was cancelled before its turn came.")).await?;
            }
        }
        Ok(())
    }

    /// Only people with write access have us work. Others get no effect at all, not even a reaction.
    pub(super) async fn may_instruct(&self, asked: &Instructed) -> Result<bool, Cancelled> {
        let (comment, who) = (asked.comment, asked.by.label());
        if asked.by.via != Via::Github {
            self.log(format!("comment {comment} ignored: {who} is nobody GitHub knows"));
            return Ok(false);
        }
        let repository = self.address.repository.clone();
        let question = MayPush { repository: repository.clone(), login: asked.by.id.clone() };
        let summary = format!("ask whether {} may push", asked.by.id);
        match self.call(Family::Read, &summary, GitHub::may_push, question).await {
            Ok(true) => Ok(true),
            Ok(false) => {
                self.log(format!("comment {comment} ignored: {who} has no write access to {repository}"));
                Ok(false)
            }
            Err(CallError::Cancelled) => Err(Cancelled),
            Err(CallError::Failed(failure)) => {
                self.log(format!("comment {comment} ignored, rights cannot be asked: {}", failure.message));
                Ok(false)
            }
        }
    }

    /// An earlier run has answered this comment: the event was delivered again.
    pub(super) async fn is_answered(&self, asked: &Instructed) -> Result<bool, Cancelled> {
        let look = FindReply { pull_request: self.address.clone(), effect: self.reply_key(asked) };
        match self.call(Family::Read, "look for an earlier reply", GitHub::find_reply, look).await {
            Ok(None) => Ok(false),
            Ok(Some(link)) => {
                self.log(format!("comment {} ignored: it is answered, {link}", asked.comment));
                Ok(true)
            }
            Err(CallError::Cancelled) => Err(Cancelled),
            // Doing it twice is worse than not at all, and GitHub has not answered for an hour.
            Err(CallError::Failed(failure)) => {
                self.log(format!("comment {} ignored, replies cannot be read: {}", asked.comment, failure.message));
                Ok(true)
            }
        }
    }

    /// Made of the comment alone, so that every run finds it.
    fn reply_key(&self, asked: &Instructed) -> EffectKey {
        let comment = Generation::of_event(&format!("comment {}", asked.comment));
        EffectKey::new(self.ctx.workflow_id(), &comment, "reply", 1)
    }

    /// The person sees at once that somebody is at it.
    pub(super) async fn show_eyes(&self, asked: &Instructed) -> Result<(), Cancelled> {
        self.write(|s| s.greeted(asked.comment));
        let reaction =
            React { repository: self.address.repository.clone(), comment: asked.comment, content: "eyes".to_owned() };
        match self.call(Family::Effect, "react with eyes", GitHub::react, reaction).await {
            Ok(()) => Ok(()),
            Err(CallError::Cancelled) => Err(Cancelled),
            Err(CallError::Failed(failure)) => {
                self.log(format!("no reaction: {}", failure.message));
                Ok(())
            }
        }
    }

    pub(super) async fn read_pull_request(&self) -> Result<PullRequest, Stop> {
        let summary = format!("look at PR #{}", self.address.number);
        let read = self.call(Family::Read, &summary, GitHub::get_pull_request, self.address.clone()).await?;
        self.write(|s| s.pull_request = Some(read.clone()));
        Ok(read)
    }

    /// Why nothing can be pushed to this pull request, if so.
    pub(super) async fn cannot_push_to(&self, pull_request: &PullRequest) -> Result<Option<Answer>, Stop> {
        if pull_request.state != PullRequestState::Open {
            return Ok(Some(Answer::over(pull_request)));
        }
        if pull_request.fork {
            return Ok(Some(Answer::fork()));
        }
        let name = self.address.repository.clone();
        let repository = self.call(Family::Read, "read the repository", GitHub::get_repository, name).await?;
        let default = pull_request.head.as_str() == repository.default_branch;
        Ok(default.then(|| Answer::default_branch(pull_request)))
    }

    /// Hands the instruction to the ticket whose run works on this branch, if there is one. Anybody can name a branch like
    /// ours, so the run must say that this pull request is its own.
    pub(super) async fn pass_on(&self, asked: &Instructed, pull_request: &PullRequest) -> Result<Option<Answer>, Stop> {
        let template = self.read(|s| s.policy.conventions.branch.parse::<BranchTemplate>());
        let Some(ours) = template.ok().and_then(|template| template.read(pull_request.head.as_str())) else {
            return Ok(None);
        };
        let summary = format!("look at {}", ours.ticket);
        let mut pause = SILENCE.0;
        let status = loop {
            let state = self.call(Family::Read, &summary, Tasks::ticket_state, ours.ticket.clone()).await?;
            let Some(task) = state.filter(|task| task.running) else { return Ok(None) };
            if let Some(status) = task.status {
                break status;
            }
            // A run that does not answer may own the branch, or not: neither a push nor a word to it is right before it says so.
            if pause > SILENCE.1 {
                let ticket = &ours.ticket;
                return Err(Stop::Told(format!("{ticket} runs and does not say whether this branch is its own.")));
            }
            self.enter(format!("waiting for {} to say whether this branch is its own", ours.ticket));
            let waited = kit::wait_until(&self.ctx, &self.token, pause, "ask the ticket again", |_| false).await;
            if waited == Waited::Cancelled {
                return Err(Stop::Cancelled);
            }
            pause *= 2;
        };
        if !(status.pull_requests.contains(&pull_request.url) && is_at_work(status.stage)) {
            return Ok(None);
        }
        let stage = status.stage.as_str();
        let steer = Steer { by: asked.by.clone(), text: asked.instruction.clone() };
        let raw = RawValue::from_value(&steer, self.ctx.payload_converter());
        let options = SignalWorkflowOptions::builder().summary(format!("steer {}", ours.ticket)).build();
        let told = self.ctx.external_workflow(ours.ticket.workflow_id(), None).signal(SteerTicket, raw, options).await;
        match told {
            Ok(()) => Ok(Some(Answer::passed_on(ours.ticket.as_str(), stage))),
            Err(_) if self.token.is_cancelled() => Err(Stop::Cancelled),
            // It ended a moment ago: the branch is free.
            Err(error) => {
                self.log(format!("{} took no word: {error}", ours.ticket));
                Ok(None)
            }
        }
    }

    /// Writes the reply, once.
    pub(super) async fn reply(&self, asked: &Instructed, answer: Answer) -> Result<(), Cancelled> {
        let Answer { template, mut variables, outcome } = answer;
        if let Some(variables) = variables.as_object_mut() {
            self.read(|s| {
                variables.insert("by".to_owned(), json!(asked.by.id));
                variables.insert("handle".to_owned(), json!(s.policy.conventions.handle));
                variables.insert("spent".to_owned(), json!(s.budget.spent.to_string()));
                variables.insert("cap".to_owned(), json!(s.budget.cap.to_string()));
            });
        }
        let reply = WriteReply {
            pull_request: self.address.clone(),
            effect: self.reply_key(asked),
            body: replies::render(template, &variables),
        };
        let written = self.call(Family::Effect, "reply", GitHub::write_reply, reply).await;
        let link = match written {
            Ok(link) => link,
            Err(CallError::Cancelled) => return Err(Cancelled),
            Err(CallError::Failed(failure)) => {
                self.log(format!("no reply: {}", failure.message));
                String::new()
            }
        };
        self.log(format!("comment {} answered: {outcome}", asked.comment));
        let answered = Answered { comment: asked.comment, by: asked.by.label(), outcome, reply: link };
        self.write(|s| {
            s.answered.push(answered);
            s.current = None;
        });
        self.show();
        Ok(())
    }
}

/// The ticket's run writes to its branch, or waits to.
fn is_at_work(stage: Stage) -> bool {
    !stage.is_end() && !matches!(stage, Stage::ReadyForReview | Stage::CleaningUp)
}
