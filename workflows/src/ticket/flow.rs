//! What every step of the flow stands on: calls, children, stages, effect keys, and the way a run ends.

use temporalio_common::ActivityDefinition;
use temporalio_common::data_converters::{RawValue, TemporalDeserializable};
use temporalio_workflow::{
    ContinueAsNewOptions, MemoValue, WorkflowCancellationToken, WorkflowContext, WorkflowResult, WorkflowTermination,
};

use super::TicketWorkflow;
use super::state::TicketState;
use crate::contract::failure::FailureKind;
use crate::contract::ids::{EffectKey, Generation, TicketKey};
use crate::contract::money::MicroUsd;
use crate::contract::policy::{Policy, PolicySource};
use crate::contract::status::{ParkReason, Parked, Stage, TicketStatus};
use crate::kit::{self, CallError, Failure};
use crate::policy::Family;
use crate::search_attributes::{COST_USD, REPOSITORIES, REQUESTED_BY, STAGE, TICKET_KEY};

/// Why a step did not give its result.
pub(super) enum Stop {
    /// A person has to unblock it.
    Park(Parked),
    /// The ticket ends here.
    End(Stage),
    /// It is being cancelled.
    Cancelled,
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Cancelled => Self::Cancelled,
            CallError::Failed(failure) => upstream(&failure),
        }
    }
}

fn upstream(failure: &Failure) -> Stop {
    let reason = match failure.kind {
        FailureKind::Conflict => ParkReason::Conflict,
        _ => ParkReason::Upstream,
    };
    park(reason, failure.message.clone())
}

/// A stop for a person.
pub(super) fn park(reason: ParkReason, message: impl Into<String>) -> Stop {
    let message: String = message.into();
    Stop::Park(Parked { reason, message: message.chars().take(2000).collect() })
}

/// A running ticket.
#[derive(Clone)]
pub(super) struct Flow {
    pub(super) ctx: WorkflowContext<TicketWorkflow>,
    /// Everything the flow does hangs on this: the signal `cancel` cancels it, a native cancel its parent.
    pub(super) token: WorkflowCancellationToken,
    pub(super) key: TicketKey,
    pub(super) generation: Generation,
}

impl Flow {
    /// Reads the input and shows the ticket in the Web UI.
    pub(super) fn begin(ctx: &WorkflowContext<TicketWorkflow>) -> Result<Self, String> {
        let (input, fault) = ctx.state(|w| (w.state.input.clone(), w.state.fault.clone()));
        if let Some(fault) = fault {
            return Err(format!("the input is not like {{\"key\":\"PROJ-123\"}}: {fault}"));
        }
        let key: TicketKey = input.key.parse().map_err(|fault: crate::contract::ids::InvalidId| fault.to_string())?;
        let token = ctx.cancellation_token().child_token();
        // Started by the CLI there is no event: the id of the first run begins the generation. It outlives a reset.
        let first_run = ctx.state(|w| w.state.first_run.clone());
        let event = input.event.map_or(first_run, |event| event.id);
        let generation = Generation::of_event(&event);
        let flow = Self { ctx: ctx.clone(), token: token.clone(), key, generation: generation.clone() };
        let now = kit::now(ctx);
        let cancelled = flow.write(|s| {
            s.generation = Some(generation);
            s.began_at = now;
            s.cancel_token = Some(token.clone());
            s.policy = input.policy.unwrap_or_default();
            s.cancelled_by.is_some()
        });
        if cancelled {
            token.cancel();
        }
        let requested_by = input.requested_by.map_or_else(|| "command line".to_owned(), |person| person.label());
        flow.ctx.upsert_search_attributes([
            TICKET_KEY.value_set(flow.key.to_string()),
            REQUESTED_BY.value_set(requested_by),
        ]);
        flow.enter(Stage::Discovering, "reading policy and ticket");
        Ok(flow)
    }

    /// The cap of the policy in force now, when it is higher: a person has raised it, and lets the ticket go on.
    pub(super) async fn take_raised_cap(&self) -> Result<(), Stop> {
        let policy: Policy = self.call(Family::Read, "read the budget again", PolicySource::read, ()).await?;
        let raised = MicroUsd(policy.budget.ticket_cap_micro_usd);
        let before = self.read(|s| s.budget.cap);
        if raised > before {
            self.log(format!("the cap is raised from {before} to {raised}"));
            self.write(|s| s.budget.cap = raised);
        }
        Ok(())
    }

    /// The policy in force, unless the input brought one. First activity of every run.
    pub(super) async fn read_policy(&self) -> Result<(), Stop> {
        let given = self.read(|s| s.input.policy.clone());
        let policy: Policy = match given {
            Some(policy) => policy,
            None => self.call(Family::Read, "read policy", PolicySource::read, ()).await?,
        };
        self.write(|s| {
            s.budget.cap = MicroUsd(policy.budget.ticket_cap_micro_usd);
            s.policy = policy;
        });
        Ok(())
    }

    pub(super) fn read<R>(&self, read: impl FnOnce(&TicketState) -> R) -> R {
        self.ctx.state(|w| read(&w.state))
    }

    pub(super) fn write<R>(&self, change: impl FnOnce(&mut TicketState) -> R) -> R {
        self.ctx.state_mut(|w| change(&mut w.state))
    }

    pub(super) fn log(&self, text: impl Into<String>) {
        let (now, text) = (kit::now(&self.ctx), text.into());
        if !self.ctx.is_replaying() {
            tracing::info!(ticket = %self.key, "{text}");
        }
        self.write(|s| s.record(now, text));
    }

    /// Calls an activity on the flow's token.
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

    /// The key of the next effect of this step.
    pub(super) fn effect(&self, step: &str) -> EffectKey {
        let occurrence = self.write(|s| s.occurrences.next(step));
        EffectKey::new(self.ctx.workflow_id(), &self.generation, step, occurrence)
    }

    /// Moves to a stage and shows it: search attributes, memo, current details.
    pub(super) fn enter(&self, stage: Stage, doing: impl Into<String>) {
        let doing = doing.into();
        self.log(if doing.is_empty() { stage.to_string() } else { format!("{stage}: {doing}") });
        if self.write(|s| s.money.hold(stage, &doing)) {
            return;
        }
        self.write(|s| {
            s.stage = stage;
            s.doing = doing;
            s.cross_part();
            if stage != Stage::Parked {
                s.parked = None;
            }
        });
        let (cost, repositories) = self.read(|s| {
            let repositories: Vec<String> = s.repositories.keys().map(ToString::to_string).collect();
            (s.budget.spent_so_far().as_usd(), repositories)
        });
        self.ctx.upsert_search_attributes([
            STAGE.value_set(stage.to_string()),
            COST_USD.value_set(cost),
            REPOSITORIES.value_set(repositories),
        ]);
        self.show();
    }

    /// Refreshes memo and current details: what a person sees even when no worker answers queries.
    pub(super) fn show(&self) {
        let status = self.read(TicketState::status);
        let memo = [
            ("stage", MemoValue::new(status.stage.to_string())),
            ("cost_usd", MemoValue::new(status.spent.as_usd())),
            ("last_event_at", MemoValue::new(self.read(|s| s.last_event_at))),
            ("next_command", MemoValue::new(status.commands.first().cloned().unwrap_or_default())),
            ("pull_requests", MemoValue::new(status.pull_requests)),
        ];
        // Plain values always serialise; a failure here would only cost the mirror, never the run.
        if let Err(error) = self.ctx.upsert_memo(memo.map(|(key, value)| (key, Some(value)))) {
            self.log(format!("memo not updated: {error}"));
        }
        self.ctx.set_current_details(self.details());
        self.write(|s| s.unshown = false);
    }

    /// Does a step until it succeeds; what parks it waits for a person, and then the step is done again.
    pub(super) async fn insist<T>(&self, step: impl AsyncFn() -> Result<T, Stop>) -> Result<T, Stop> {
        loop {
            let mut parked = match step().await {
                Err(Stop::Park(parked)) => parked,
                done => return done,
            };
            // What fails while it waits parks it once more. It never ends a ticket, and never undoes its work.
            loop {
                match self.park(parked).await {
                    Ok(()) => break,
                    Err(Stop::Park(again)) => parked = again,
                    Err(end) => return Err(end),
                }
            }
        }
    }

    /// The end of the run: undo or report, then look once more for a newer event.
    pub(super) async fn conclude(self, outcome: Result<Stage, Stop>) -> WorkflowResult<TicketStatus> {
        let end = match outcome {
            Ok(stage) | Err(Stop::End(stage)) => stage,
            Err(Stop::Cancelled) => Stage::Cancelled,
            // `insist` turns these into a wait; were one left over, the work would stay where it is.
            Err(Stop::Park(_)) => Stage::Abandoned,
        };
        self.close(end).await;
        // No await after this look.
        if let Some(next) = self.write(|s| s.inbox.next.take()) {
            let input = self.read(|s| s.next_input(next));
            let raw = RawValue::from_value(&input, self.ctx.payload_converter());
            match self.ctx.continue_as_new(raw, ContinueAsNewOptions::default())? {}
        }
        if self.ctx.cancellation_token().is_cancelled() {
            return Err(WorkflowTermination::cancelled());
        }
        Ok(self.read(TicketState::status))
    }
}
