//! One model turn: asked for until it is there, within time and money.

use std::time::Duration;

use temporalio_workflow::{WaitConditionOptions, WorkflowCancellationToken};

use super::{Cancelled, Run, Stop, guards};
use crate::contract::agent::{AgentEnd, AgentSpent, BudgetAsk, Purse};
use crate::contract::ids::EffectKey;
use crate::contract::model::{Model, Remark, Reply, Spending, TakeTurn, TurnOutcome};
use crate::contract::money::MicroUsd;
use crate::kit::{self, CallError, Failure, Waited};
use crate::policy::Family;

/// Replies in a row that were paid for and lost before the agent gives up: a store that takes no writes, a line that cuts every
/// stream would use up all the money.
const PAID_LOSSES: u32 = 5;
/// The first wait after a failure; the next ones double up to a minute.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Run {
    /// The model's next reply. Throttling and outages are waited out inside the wall limit, a lack of money for as long as it
    /// takes.
    pub(super) async fn take_turn(&self, hand_over: bool) -> Result<Reply, Stop> {
        let turn = self.progress(|p| p.turns + 1);
        let what = if hand_over { ", hand-over" } else { "" };
        let summary = format!("ask {} model (turn {turn}{what})", self.input.agent);
        let (began, waited) = (kit::now(&self.ctx), self.progress(|p| p.waited_seconds));
        let mut wait = FIRST_WAIT;
        let mut losses = 0;
        loop {
            let request = self.request(turn, hand_over)?;
            let asked = kit::call(&self.ctx, &self.token, Family::Model, &summary, Model::take_turn, request).await;
            let failure = match asked {
                Ok(TurnOutcome::Replied(reply)) => {
                    self.book(turn, &reply, hand_over);
                    self.tell_spending().await;
                    return Ok(reply);
                }
                Ok(TurnOutcome::OverLimit { needed }) => {
                    self.lease_more(needed).await?;
                    continue;
                }
                Ok(TurnOutcome::Lost(lost)) => {
                    self.book_lost(lost.cost);
                    Failure::new(lost.kind, lost.message)
                }
                Err(CallError::Cancelled) => return Err(Stop::Cancelled),
                Err(CallError::Failed(failure)) => {
                    self.update(|p| p.lost = MicroUsd::default());
                    let told = failure.last_beat.clone().and_then(|beat| serde_json::from_value::<Spending>(beat).ok());
                    if let Some(spending) = told {
                        self.book_lost(spending.cost);
                    }
                    failure
                }
            };
            if failure.kind.is_final() {
                return Err(Stop::End(AgentEnd::Failed(failure.message)));
            }
            losses += u32::from(self.progress(|p| p.lost != MicroUsd::default()));
            if self.is_guarded() && losses >= PAID_LOSSES {
                let why = format!("{losses} replies in a row were paid for and lost: {}", failure.message);
                return Err(Stop::End(AgentEnd::Failed(why)));
            }
            let pause = guards::pause(&failure, wait, self.ctx.random::<u64>());
            let since = kit::since(&self.ctx, began);
            let worked = self.progress(|p| guards::worked(p.active_seconds, since, p.waited_seconds - waited));
            if worked + pause > self.spec.wall {
                let limit = format!("{} min, the last of them waiting: {}", worked.as_secs() / 60, failure.message);
                return Err(Stop::End(AgentEnd::Limit(limit)));
            }
            if self.sleep(pause).await == Waited::Cancelled {
                return Err(Stop::Cancelled);
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// What is asked. A hand-over carries no remarks of people: they wait for the turn after it.
    fn request(&self, turn: u32, hand_over: bool) -> Result<TakeTurn, Stop> {
        let (head, news, spent, known_tokens) =
            self.progress(|p| (p.head.clone(), p.news.clone(), p.spent, p.context_tokens));
        let Some(news) = news else {
            return Err(Stop::End(AgentEnd::Failed("nothing to tell the model".to_owned())));
        };
        let mut remarks = Vec::new();
        self.progress(|p| {
            if hand_over {
                remarks.extend((p.vain_hand_overs > 0).then(|| Remark::of_harness(guards::NOTES_AGAIN)));
            } else {
                remarks.extend(p.notes.iter().cloned().map(Remark::of_harness));
                remarks.extend(guards::last_turns(self.spec, p).map(Remark::of_harness));
                remarks.extend(p.steered.iter().map(|s| Remark { by: Some(s.by.clone()), text: s.text.clone() }));
            }
        });
        Ok(TakeTurn {
            agent: self.input.agent,
            model: self.input.model.id.clone(),
            max_tokens: self.input.model.max_tokens,
            head,
            news,
            remarks,
            hand_over,
            effect: EffectKey::new(self.ctx.workflow_id(), &self.input.generation, "turn", turn),
            limit: self.lease() - spent,
            known_tokens,
        })
    }

    fn book(&self, turn: u32, reply: &Reply, hand_over: bool) {
        self.update(|p| {
            p.turns = turn;
            if reply.kept {
                // The attempt that was booked as lost has bought this very reply.
                p.spent = p.spent - p.lost;
            }
            p.lost = MicroUsd::default();
            p.spent += reply.cost;
            p.usage += reply.usage;
            p.context_tokens = reply.usage.prompt() + reply.usage.output;
            if !hand_over || reply.handed_over {
                p.head = Some(reply.head.clone());
                p.news = None;
            }
            if !hand_over {
                p.notes.clear();
                // A reply that an earlier attempt had bought knows no more than that attempt did.
                let heard = usize::try_from(reply.heard).unwrap_or(usize::MAX).min(p.steered.len());
                let told: Vec<u32> = p.steered.drain(..heard).map(|s| s.n).collect();
                p.heard.extend(told);
            }
        });
    }

    fn book_lost(&self, cost: MicroUsd) {
        self.update(|p| {
            p.spent += cost;
            p.lost = cost;
        });
    }

    /// All that may be spent.
    fn lease(&self) -> MicroUsd {
        self.input.lease + self.progress(|p| p.granted)
    }

    /// Asks the owner of the money for more, and waits until it comes. Without an owner the money is used up.
    async fn lease_more(&self, need: MicroUsd) -> Result<(), Stop> {
        let used_up = || Stop::End(AgentEnd::Budget { needed: need });
        let Some(purse) = &self.input.purse else { return Err(used_up()) };
        let spent = self.progress(|p| p.spent);
        let ask = BudgetAsk { agent: self.ctx.workflow_id().to_owned(), lease: self.lease(), spent, need };
        let is_there = kit::signal(&self.ctx, &self.token, &purse.owner, "budget_ask", &ask).await;
        if self.token.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        if !is_there {
            return Err(used_up());
        }
        let began = kit::now(&self.ctx);
        let (first, enough) = (self.input.lease, spent + need);
        let options = WaitConditionOptions::builder().cancellation_token(self.token.clone()).build();
        let granted =
            self.ctx.wait_condition_with_options(move |w| first + w.progress.granted >= enough, options).await;
        let seconds = kit::since(&self.ctx, began).as_secs();
        self.update(|p| {
            p.waited_seconds += seconds;
            p.told_spent = spent;
        });
        granted.map_err(|_| Stop::Cancelled)
    }

    /// Lets the owner of the money know, now and then, what was spent. One that is gone needs no telling.
    async fn tell_spending(&self) {
        let Some(purse) = &self.input.purse else { return };
        let (spent, told) = self.progress(|p| (p.spent, p.told_spent));
        if spent - told >= purse.tell_every && spent != told {
            self.tell(purse, &self.token).await;
        }
    }

    /// The last word of a run that is cancelled, and so has no result: what it spent since it told.
    pub(super) async fn tell_the_last(&self) {
        let Some(purse) = self.input.purse.as_ref().filter(|_| self.is_guarded()) else { return };
        if self.progress(|p| p.spent != p.told_spent) {
            // The run's own token is cancelled.
            self.tell(purse, &WorkflowCancellationToken::new()).await;
        }
    }

    async fn tell(&self, purse: &Purse, token: &WorkflowCancellationToken) {
        let (spent, turns) = self.update(|p| {
            p.told_spent = p.spent;
            (p.spent, p.turns)
        });
        let agent = self.ctx.workflow_id().to_owned();
        kit::signal(&self.ctx, token, &purse.owner, "agent_spent", &AgentSpent { agent, spent, turns }).await;
    }

    async fn sleep(&self, pause: Duration) -> Waited {
        kit::wait_until(&self.ctx, &self.token, pause, "wait before asking the model again", |_| false).await
    }
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Cancelled => Cancelled.into(),
            CallError::Failed(failure) => Self::End(AgentEnd::Failed(failure.message)),
        }
    }
}
