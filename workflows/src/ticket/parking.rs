//! Waiting for a person to unblock a ticket. Nothing is thrown away, nothing is spent.

use std::time::Duration;

use serde_json::json;

use super::flow::{Flow, Stop};
use super::state::{Remark, TicketState};
use crate::contract::access::{Action, Person};
use crate::contract::agent::{AgentName, Steered};
use crate::contract::status::{CostLine, ParkReason, Parked, Stage};
use crate::contract::trigger::{Command, Steer};
use crate::kit::{self, Waited, now, wait_until};
use crate::messages::{self, Template};
use crate::patches;

impl Flow {
    /// Parks the ticket until somebody lets it go on; the step that stopped is done again then.
    pub(super) async fn park(&self, parked: Parked) -> Result<(), Stop> {
        let (reason, since) = (parked.reason, now(&self.ctx));
        self.leave_money_park();
        self.write(|s| {
            s.inbox.retries.clear();
            s.inbox.funded = false;
        });
        self.write(|s| s.parked = Some(parked.clone()));
        self.enter(Stage::Parked, format!("{}. {}", reason.as_str().replace('_', " "), parked.message));
        if reason == ParkReason::PlanExpired {
            self.close_approval_message("expired", json!({})).await;
        }
        let text = messages::render(Template::SlackParked, &self.view(), json!({}));
        let blocks = match self.red_buttons().filter(|_| reason == ParkReason::CiFailed) {
            Some(buttons) => messages::slack::red(&text, &buttons),
            None if reason == ParkReason::Budget => self.money_blocks(&text),
            None => messages::slack::parked(&text, self.key.as_str()),
        };
        let posted = self.post("parked", text.clone(), blocks).await;
        if reason == ParkReason::Budget && self.ctx.patched(patches::EXTEND_BUDGET) {
            self.write(|s| s.slack.money = posted.map(|posted| (posted, text)));
        }
        self.tell_jira("parked", Template::JiraParked, json!({})).await;
        self.await_person(reason).await?;
        if reason == ParkReason::Budget {
            self.take_raised_cap().await?;
            self.announce_money(since);
        }
        self.write(|s| s.parked = None);
        Ok(())
    }

    /// Counts the time since `began` as waiting for a person.
    pub(super) fn waited_since(&self, began: i64) {
        let waited = now(&self.ctx).saturating_sub(began);
        self.write(|s| s.waited_seconds += waited);
    }

    async fn await_person(&self, reason: ParkReason) -> Result<(), Stop> {
        let limit = Duration::from_secs(self.read(|s| s.policy.parked_for_seconds));
        loop {
            let late_approval_counts = reason == ParkReason::PlanExpired;
            let began = now(&self.ctx);
            let waited = wait_until(&self.ctx, &self.token, limit, "parked", |w| {
                let inbox = &w.state.inbox;
                !inbox.retries.is_empty()
                    || inbox.funded
                    || !inbox.rejections.is_empty()
                    || (late_approval_counts && !(inbox.approvals.is_empty() && inbox.changes.is_empty()))
            })
            .await;
            self.waited_since(began);
            match waited {
                Waited::Cancelled => return Err(Stop::Cancelled),
                Waited::TimedOut => return Err(Stop::End(Stage::Abandoned)),
                Waited::Fulfilled => {}
            }
            // The step that waits for a decision takes it from the inbox and judges it.
            if late_approval_counts && self.read(|s| !(s.inbox.approvals.is_empty() && s.inbox.changes.is_empty())) {
                return Ok(());
            }
            // Somebody is here: what could not be judged before is judged with it.
            self.write(|s| s.inbox.resume());
            self.heed_rejections().await?;
            if self.write(|s| std::mem::take(&mut s.inbox.funded)) {
                return Ok(());
            }
            if let Some(retry) = self.write(|s| s.inbox.retries.pop_front())
                && self.may(&retry.by, Action::Command).await?
            {
                self.log(format!("retry by {}", retry.by.label()));
                return Ok(());
            }
        }
    }

    /// Cancels the flow when the person may.
    pub(super) async fn judge_cancel(&self, cancel: Command) {
        match self.may(&cancel.by, Action::Command).await {
            Ok(true) => self.write(|s| s.cancel(cancel.by)),
            Ok(false) => {}
            Err(Stop::Park(parked)) => {
                let text = format!("cancel by {} could not be judged: {}", cancel.by.label(), parked.message);
                let at = now(&self.ctx);
                self.write(|s| s.note(at, text));
            }
            // Cancelled another way meanwhile.
            Err(Stop::Cancelled | Stop::End(_)) => {}
        }
    }

    /// Keeps in mind what the person said, when they may; a parked ticket goes on with it.
    pub(super) async fn judge_steer(&self, steer: Steer) {
        let (by, at) = (steer.by.label(), now(&self.ctx));
        match self.may(&steer.by, Action::Command).await {
            // The work was done while the rights were asked.
            Ok(true) if self.read(|s| s.stage) == Stage::ReadyForReview => {
                self.write(|s| s.too_late(at, &steer.by, &steer.text));
            }
            Ok(true) => {
                self.log(format!("{by} says to mind: {}", messages::shorten(&steer.text, 200)));
                let remark = self.write(|s| {
                    let remark = s.mind(&steer.by, &steer.text);
                    if s.money.park.is_some() {
                        // Agents that wait for money are there to hear it; nothing has to be tried again.
                        let lacks = format!("{} goes on with what {by} says once its budget is extended", s.key());
                        s.decline(at, &steer.by, lacks);
                    } else if s.stage == Stage::Parked {
                        s.inbox.retries.push_back(Command { by: steer.by });
                    }
                    remark
                });
                self.pass_on(remark).await;
            }
            Ok(false) => {}
            Err(Stop::Park(parked)) => {
                let text = format!("what {by} said could not be judged: {}", parked.message);
                self.write(|s| s.note(at, text));
            }
            // Cancelled meanwhile.
            Err(Stop::Cancelled | Stop::End(_)) => {}
        }
    }

    /// Lets the agents at work hear a remark before their next turn. One that is over needs none: the remark stays for the next.
    async fn pass_on(&self, remark: Remark) {
        let agents = self.read(TicketState::agents_at_work);
        if agents.is_empty() || !self.ctx.patched(patches::STEER_AGENTS) {
            return;
        }
        let steered = Steered { n: remark.n, by: remark.by.label(), text: remark.text };
        for agent in agents {
            kit::signal(&self.ctx, &self.ctx.cancellation_token(), &agent, "steer", &steered).await;
        }
    }

    /// Asks the access rules in force now; a refusal is told where the person looks.
    pub(super) async fn may(&self, who: &Person, action: Action) -> Result<bool, Stop> {
        use crate::contract::access::{Access, MayThey, Verdict};
        use crate::policy::Family;

        let requested_by = self.read(|s| s.input.requested_by.clone());
        let question = MayThey { who: who.clone(), action, ticket: Some(self.key.clone()), requested_by };
        let summary = format!("check the rights of {}", who.label());
        match self.call(Family::Read, &summary, Access::may_they, question).await? {
            Verdict::Allowed => Ok(true),
            Verdict::Refused(why) => {
                let at = now(&self.ctx);
                let text = format!("{} was refused: {why}", who.label());
                self.write(|s| s.note(at, text.clone()));
                self.show();
                self.answer(who, "refused", &text).await;
                Ok(false)
            }
        }
    }
}

impl TicketState {
    /// Agents that can be told something now. Those of a watch of checks are known once they have spoken.
    fn agents_at_work(&self) -> Vec<String> {
        let agent = |line: &CostLine| match line.agent {
            AgentName::Ci => self.budget.newest_agent(&line.id).map(str::to_owned),
            _ => Some(line.id.clone()),
        };
        self.money.ledger.at_work().filter_map(agent).collect()
    }
}
