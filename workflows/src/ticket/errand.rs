//! Sending an agent on an errand of the ticket: its lease, what people said to mind, and what its end means.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::flow::{Flow, Stop, park};
use super::state::TicketState;
use crate::agent_call::{self, Errand};
use crate::agent_run::decode_answer;
use crate::contract::agent::{AgentEnd, AgentName, AgentResult};
use crate::contract::ids::RepositoryName;
use crate::contract::money::{MicroUsd, Usage};
use crate::contract::status::ParkReason;
use crate::contract::workspace::Workspace;
use crate::kit::CallError;
use crate::patches;

/// What an agent is to do for the ticket.
pub(super) struct Job<'a> {
    pub(super) agent: AgentName,
    /// Variables of its prompt; what people said to mind is added.
    pub(super) brief: Value,
    /// Where, for agents that work in a repository.
    pub(super) place: Option<(&'a RepositoryName, Workspace)>,
    /// Its first lease is one of so many parts of what is free.
    pub(super) shares: u64,
    /// Number of the task, from 1.
    pub(super) task: Option<usize>,
}

impl Job<'_> {
    /// Work in no repository, for all the money there is.
    pub(super) fn of(agent: AgentName, brief: Value) -> Self {
        Self { agent, brief, place: None, shares: 1, task: None }
    }
}

/// An agent's answer.
pub(super) struct Answered<T> {
    pub(super) answer: T,
    /// The files as it left them.
    pub(super) workspace: Option<Workspace>,
    /// Seconds in which it waited for money.
    pub(super) waited_seconds: u64,
}

/// An agent that came to no answer, and what it left in its workspace.
pub(super) struct Unanswered {
    pub(super) stop: Stop,
    pub(super) workspace: Option<Workspace>,
}

impl Unanswered {
    fn without_work(stop: Stop) -> Box<Self> {
        Box::new(Self { stop, workspace: None })
    }
}

impl From<Box<Unanswered>> for Stop {
    fn from(unanswered: Box<Unanswered>) -> Self {
        unanswered.stop
    }
}

impl Flow {
    /// Runs an agent to its answer and settles its lease.
    pub(super) async fn run_agent<T: DeserializeOwned>(&self, job: Job<'_>) -> Result<Answered<T>, Box<Unanswered>> {
        let Job { agent, mut brief, place, shares, task } = job;
        let whereabouts = place.as_ref().map_or_else(String::new, |(repository, _)| {
            format!("/{}.{}", repository.owner(), repository.name()).to_lowercase()
        });
        let base = format!("{}/{agent}{whereabouts}", self.ctx.workflow_id());
        let n = self.write(|s| s.occurrences.next(&format!("child {base}")));
        let id = format!("{base}/{n}");
        let lease = match self.write(|s| s.budget.lease(&id, shares)) {
            Some(lease) => lease,
            // It asks, and waits for what others give back or a person adds: nothing has to be done again then.
            None if self.ctx.patched(patches::ASK_LATER) => self.write(|s| s.budget.ask_later(&id)),
            None => return Err(Unanswered::without_work(self.out_of_money(None))),
        };
        let guidance: Vec<String> = self.write(|s| {
            s.money.ledger.open(&id, agent, place.as_ref().map(|(repository, _)| *repository), task);
            s.unheard.clear();
            s.guidance.iter().cloned().collect()
        });
        if let Some(brief) = brief.as_object_mut() {
            brief.insert("guidance".to_owned(), guidance.into());
        }
        let policy = self.read(|s| s.policy.clone());
        let errand = Errand {
            agent,
            ticket: Some(self.key.clone()),
            generation: self.generation.clone(),
            brief,
            workspace: place.map(|(_, workspace)| workspace),
            lease,
            purse: Some(self.purse()),
        };
        let title = format!("{}: {agent}", self.key);
        // A repository has an agent at work now, and is between two of them afterwards.
        let between = |s: &mut TicketState, begins: bool| match (task, begins) {
            (None, _) => {}
            (Some(_), true) => s.budget.between = s.budget.between.saturating_sub(1),
            (Some(_), false) => s.budget.between += 1,
        };
        self.write(|s| between(s, true));
        let ended = agent_call::call(&self.ctx, &self.token, &policy, id.clone(), title, errand).await;
        self.write(|s| between(s, false));
        match ended {
            Ok(Ok(result)) => {
                self.write(|s| {
                    s.budget.settle(&id, result.spent);
                    s.money.ledger.close(&id, result.spent, result.turns, result.usage);
                    s.heard(&result.heard);
                });
                self.answer_of(agent, result)
            }
            Ok(Err(error)) => {
                self.settle_dead(&id, &error);
                Err(Unanswered::without_work(error.into()))
            }
            Err(message) => {
                self.write(|s| {
                    s.budget.settle(&id, MicroUsd::default());
                    s.money.ledger.close(&id, MicroUsd::default(), 0, Usage::default());
                });
                Err(Unanswered::without_work(park(ParkReason::Upstream, message)))
            }
        }
    }

    /// Books a child that ended without a word. One that died cannot say what it spent: its whole lease counts as gone. One that
    /// was cancelled with its ticket spends nothing any more: what it told is what people see.
    pub(super) fn settle_dead(&self, id: &str, error: &CallError) {
        self.write(|s| {
            let spent = match error {
                CallError::Cancelled => {
                    let said = s.budget.said(id);
                    s.budget.settle(id, said);
                    said
                }
                CallError::Failed(_) => s.budget.forfeit(id),
            };
            s.money.ledger.close(id, spent, 0, Usage::default());
        });
    }

    fn answer_of<T: DeserializeOwned>(
        &self,
        agent: AgentName,
        result: AgentResult,
    ) -> Result<Answered<T>, Box<Unanswered>> {
        let AgentResult { end, workspace, turns, spent, waited_seconds, .. } = result;
        self.log(format!("{agent} agent: {turns} model turns, {spent}"));
        let stop = match end {
            AgentEnd::Answered(answer) => match decode_answer(answer) {
                Ok(answer) => return Ok(Answered { answer, workspace, waited_seconds }),
                Err(fault) => park(ParkReason::InvalidAnswer, fault),
            },
            AgentEnd::InvalidAnswer(fault) => park(
                ParkReason::InvalidAnswer,
                format!("The {agent} agent's answer did not fit after three tries: {fault}"),
            ),
            AgentEnd::Limit(limit) => park(ParkReason::Limit, format!("The {agent} agent stopped: {limit}.")),
            AgentEnd::Budget { needed } => self.out_of_money(Some(needed)),
            // What a cancelled agent spent is known; there is nothing else to be had of it.
            AgentEnd::Failed(_) if self.token.is_cancelled() => Stop::Cancelled,
            AgentEnd::Failed(message) => {
                park(ParkReason::Upstream, format!("The {agent} agent cannot go on: {message}"))
            }
        };
        Err(Box::new(Unanswered { stop, workspace }))
    }
}
