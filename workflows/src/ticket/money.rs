//! The ticket as the owner of its agents' money: answers their asks, and asks a person when all of them wait. The agents stay
//! where they are meanwhile, at no cost, and go on in the same run.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use serde_json::{Value, json};
use temporalio_workflow::WaitConditionOptions;

use super::TicketWorkflow;
use super::flow::{Flow, Stop};
use super::ledger::Ledger;
use super::state::TicketState;
use crate::budget;
use crate::contract::access::Action;
use crate::contract::agent::{AgentSpent, Purse};
use crate::contract::money::MicroUsd;
use crate::contract::status::{Extension, ParkReason, Parked, Stage};
use crate::contract::trigger::ExtendBudget;
use crate::kit::{self, Waited, now, wait_until};
use crate::messages::{self, Template};
use crate::search_attributes::COST_USD;

/// Parts of the cap at which the cost is shown anew while an agent works.
const PARTS: u64 = 10;

/// What a ticket knows of its money beside the account itself.
#[derive(Default)]
pub(super) struct Money {
    pub(super) ledger: Ledger,
    /// What people added to the cap.
    pub(super) extensions: Vec<Extension>,
    /// It waits for a person to add money.
    pub(super) park: Option<MoneyPark>,
    /// An agent has told what it spent, and nobody looked at it yet.
    pub(super) news: bool,
    /// Parts of the cap that were shown as spent.
    pub(super) shown: u64,
    /// How much more it would have taken, when nobody added it in time.
    pub(super) lacked: Option<MicroUsd>,
    /// What is to be said about it, in order.
    announcements: VecDeque<Announcement>,
}

/// Where a ticket was when its agents ran out of money.
#[derive(Debug, Clone)]
pub(super) struct MoneyPark {
    /// Seconds since 1970.
    pub(super) since: i64,
    pub(super) stage: Stage,
    pub(super) doing: String,
}

/// Something to say, rendered at its time.
enum Announcement {
    Parked {
        text: String,
        blocks: Vec<Value>,
        comment: String,
    },
    /// The message that asks for money says something else now, and its button adds to the new cap.
    Asks {
        text: String,
        blocks: Vec<Value>,
    },
    GoesOn(String),
}

impl Money {
    /// While a person is asked for money, what else goes on is not where the ticket stands: it is kept for later. False when
    /// nobody is asked.
    pub(super) fn hold(&mut self, stage: Stage, doing: &str) -> bool {
        let Some(park) = self.park.as_mut().filter(|_| stage != Stage::Parked) else { return false };
        park.stage = stage;
        doing.clone_into(&mut park.doing);
        true
    }

    /// That park, or that there is none, is still how things are.
    fn stands(&self, park: Option<&MoneyPark>) -> bool {
        self.park.as_ref().map(|park| park.since) == park.map(|park| park.since)
    }

    /// Who added how much, or empty.
    pub(super) fn funded(&self) -> String {
        let added: Vec<String> = self.extensions.iter().map(|e| format!("{} more by {}", e.usd, e.by)).collect();
        added.join(", ")
    }

    /// The last extension, when it came since then.
    fn extension_since(&self, since: i64) -> Option<&Extension> {
        self.extensions.last().filter(|extension| extension.at >= since)
    }
}

impl Flow {
    /// From which the ticket's agents are paid.
    pub(super) fn purse(&self) -> Purse {
        let cap = self.read(|s| s.budget.cap);
        Purse { owner: self.ctx.workflow_id().to_owned(), tell_every: MicroUsd(cap.0 / PARTS).max(MicroUsd(1)) }
    }

    /// Beside the flow: answers asks, parks the ticket when all its agents wait, and lets it go on when they can. Never ends.
    pub(super) async fn mind_money(&self) -> Infallible {
        loop {
            let park = self.read(|s| s.money.park.clone());
            match self.await_money_matters(park.as_ref()).await {
                Waited::Fulfilled => {}
                Waited::Cancelled => std::future::pending::<()>().await,
                // A park that is over meanwhile was no wait in vain.
                Waited::TimedOut if !self.read(|s| s.money.stands(park.as_ref())) => {}
                Waited::TimedOut => {
                    self.log("nobody added money in time");
                    self.write(|s| {
                        s.money.lacked = s.budget.shortfall();
                        s.end_as(Stage::Abandoned);
                    });
                }
            }
            self.show_cost();
            let granted = self.answer_asks().await;
            let (is_parked, waits, stuck) =
                self.read(|s| (s.money.park.is_some(), s.budget.someone_waits(), s.budget.is_stuck()));
            if is_parked && (granted || !waits) {
                self.go_on();
            }
            if !is_parked && stuck {
                self.park_for_money();
            }
        }
    }

    async fn await_money_matters(&self, park: Option<&MoneyPark>) -> Waited {
        let called = |w: &TicketWorkflow| {
            let (budget, money) = (&w.state.budget, &w.state.money);
            let changed = if money.park.is_some() { !budget.someone_waits() } else { budget.is_stuck() };
            money.news || changed || budget.is_answerable() || !money.stands(park)
        };
        let Some(park) = park else {
            let options = WaitConditionOptions::builder().cancellation_token(self.token.clone()).build();
            let waited = self.ctx.wait_condition_with_options(called, options).await;
            return if waited.is_ok() { Waited::Fulfilled } else { Waited::Cancelled };
        };
        let limit = Duration::from_secs(self.read(|s| s.policy.parked_for_seconds));
        let left = limit.saturating_sub(kit::since(&self.ctx, park.since));
        wait_until(&self.ctx, &self.token, left, "parked", called).await
    }

    /// Leases more to whoever asked and can have it. True when somebody got something.
    async fn answer_asks(&self) -> bool {
        let grants = self.write(|s| s.budget.answer());
        let mut granted = false;
        for (agent, grant) in &grants {
            let name = agent.strip_prefix(self.ctx.workflow_id()).unwrap_or(agent).trim_start_matches('/');
            if kit::signal(&self.ctx, &self.ctx.cancellation_token(), agent, "budget_grant", grant).await {
                self.log(format!("{name} may spend {} in all", grant.lease));
                granted = true;
            } else {
                // It is gone, and what it was to have is there for others.
                self.log(format!("{name} is over and needs no money"));
                self.write(|s| s.budget.withdraw(agent));
            }
        }
        granted
    }

    /// Shows the cost when another part of the cap is spent. Only what agents tell while they work leads here.
    fn show_cost(&self) {
        if !self.write(|s| std::mem::take(&mut s.money.news)) {
            return;
        }
        let crossed = self.write(TicketState::cross_part);
        if crossed {
            let cost = self.read(|s| s.budget.spent_so_far().as_usd());
            self.ctx.upsert_search_attributes([COST_USD.value_set(cost)]);
            self.show();
        }
    }

    /// The cap was raised and still covers nobody's next call: what people see says so, with a button that works. True then.
    fn ask_again(&self) -> bool {
        let parked = self.write(|s| {
            s.money.park.as_ref().and(s.budget.lacks())?;
            let parked = Parked { reason: ParkReason::Budget, message: s.lack() };
            s.parked = Some(parked.clone());
            s.doing = format!("budget. {}", parked.message);
            Some(parked)
        });
        if parked.is_none() {
            return false;
        }
        self.show();
        let text = messages::render(Template::SlackParked, &self.view(), json!({}));
        let blocks = self.money_blocks(&text);
        self.write(|s| s.money.announcements.push_back(Announcement::Asks { text, blocks }));
        true
    }

    fn park_for_money(&self) {
        let since = now(&self.ctx);
        let parked = self.write(|s| {
            s.inbox.retries.clear();
            let parked = Parked { reason: ParkReason::Budget, message: s.lack() };
            s.money.park = Some(MoneyPark { since, stage: s.stage, doing: s.doing.clone() });
            s.parked = Some(parked.clone());
            parked
        });
        self.enter(Stage::Parked, format!("budget. {}", parked.message));
        let view = self.view();
        let text = messages::render(Template::SlackParked, &view, json!({}));
        let blocks = self.money_blocks(&text);
        let comment = messages::render(Template::JiraParked, &view, json!({}));
        self.write(|s| s.money.announcements.push_back(Announcement::Parked { text, blocks, comment }));
    }

    /// The text with buttons that add money, or end the ticket.
    pub(super) fn money_blocks(&self, text: &str) -> Vec<Value> {
        messages::slack::out_of_money(text, self.key.as_str(), self.read(|s| s.budget.cap))
    }

    /// The agents have money again: the ticket is where it was.
    fn go_on(&self) {
        let Some(park) = self.leave_money_park() else { return };
        self.enter(park.stage, park.doing);
        self.announce_money(park.since);
    }

    /// Has the message that asks for money say that there is some, and who added it since `since`.
    pub(super) fn announce_money(&self, since: i64) {
        let extension = self.read(|s| s.money.extension_since(since).cloned());
        let text =
            messages::render(Template::SlackExtended, &self.view(), json!({ "over": "", "extension": extension }));
        self.write(|s| s.money.announcements.push_back(Announcement::GoesOn(text)));
    }

    /// Nobody is asked for money any more, whatever comes now.
    pub(super) fn leave_money_park(&self) -> Option<MoneyPark> {
        let park = self.write(|s| s.money.park.take())?;
        self.waited_since(park.since);
        self.write(|s| {
            s.inbox.retries.clear();
            s.parked = None;
        });
        Some(park)
    }

    /// Beside the flow, so that a slow Slack holds up no agent: says what there is to say about money. Never ends.
    pub(super) async fn announce(&self) -> Infallible {
        loop {
            let options = WaitConditionOptions::builder().cancellation_token(self.token.clone()).build();
            let called = |w: &TicketWorkflow| !w.state.money.announcements.is_empty();
            if self.ctx.wait_condition_with_options(called, options).await.is_err() {
                std::future::pending::<()>().await;
            }
            match self.write(|s| s.money.announcements.pop_front()) {
                Some(Announcement::Parked { text, blocks, comment }) => {
                    let posted = self.post("parked", text.clone(), blocks).await;
                    self.write(|s| s.slack.money = posted.map(|posted| (posted, text)));
                    self.comment("parked", comment).await;
                }
                Some(Announcement::Asks { text, blocks }) => self.renew_money_message(text, blocks).await,
                Some(Announcement::GoesOn(text)) => self.close_money_message(text).await,
                None => {}
            }
        }
    }

    async fn renew_money_message(&self, text: String, blocks: Vec<Value>) {
        let renewed = self.write(|s| {
            let (message, shown) = s.slack.money.as_mut()?;
            shown.clone_from(&text);
            Some(message.clone())
        });
        let Some(message) = renewed else { return };
        self.update_message(message, text, blocks).await;
    }

    /// The ticket ends, and needs no money any more.
    pub(super) async fn close_money_message_for(&self, end: Stage) {
        if self.read(|s| s.slack.money.is_some()) {
            let over = json!({ "over": end.as_str() });
            let text = messages::render(Template::SlackExtended, &self.view(), over);
            self.close_money_message(text).await;
        }
    }

    /// Takes the buttons off the message that asks for money and says how it went on.
    async fn close_money_message(&self, decided: String) {
        let Some((message, text)) = self.read(|s| s.slack.money.clone()) else { return };
        let blocks = messages::slack::decided(&text, &decided);
        if self.update_message(message.clone(), decided, blocks).await {
            // Only now: were this cut short, the end of the ticket has to take the buttons off.
            self.write(|s| s.slack.money.take_if(|(shown, _)| *shown == message));
        }
    }

    /// Raises the cap when the person may. What waits for money goes on.
    pub(super) async fn judge_extension(&self, extend: ExtendBudget) {
        let by = extend.by.label();
        let Some(amount) = budget::extension(extend.usd) else { return };
        match self.may(&extend.by, Action::Approve).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(Stop::Park(parked)) => {
                let (at, why) = (now(&self.ctx), parked.message);
                let text =
                    format!("{by} extended the budget by {amount}, which could not be judged; say so again. {why}");
                return self.write(|s| s.decline(at, &extend.by, text));
            }
            // Cancelled meanwhile.
            Err(Stop::Cancelled | Stop::End(_)) => return,
        }
        let (at, before) = (now(&self.ctx), self.read(|s| s.budget.cap));
        if extend.cap.is_some_and(|cap| cap != before) {
            let text =
                format!("{by} wanted to add {amount}, but the cap is {before} already. To add more, say so again");
            return self.write(|s| s.decline(at, &extend.by, text));
        }
        self.log(format!("{by} extended the budget by {amount} to {}", before + amount));
        self.write(|s| s.extend(by.clone(), amount, at));
        if self.ask_again() {
            self.write(|s| {
                let text = format!("{by} added {amount} to {}, but {}", s.key(), s.lack());
                s.decline(at, &extend.by, text);
            });
        }
    }

    /// A ticket whose agents wait for money is told to try again, or rejected.
    pub(super) async fn attend_money_park(&self) {
        while self.read(|s| s.money.park.is_some())
            && let Some(retry) = self.write(|s| s.inbox.retries.pop_front())
        {
            let by = retry.by.label();
            let tried = match self.may(&retry.by, Action::Command).await {
                Ok(true) => {
                    self.write(|s| s.inbox.resume());
                    self.take_raised_cap().await
                }
                Ok(false) => continue,
                Err(stop) => Err(stop),
            };
            let at = now(&self.ctx);
            match tried {
                Ok(()) => {
                    if self.ask_again() {
                        self.write(|s| {
                            let text = format!("{by} let {} try again, but {}", s.key(), s.lack());
                            s.decline(at, &retry.by, text);
                        });
                    }
                }
                Err(Stop::Park(parked)) => {
                    let text = format!("retry by {by} did not work; say so again. {}", parked.message);
                    self.write(|s| s.decline(at, &retry.by, text));
                }
                Err(Stop::Cancelled | Stop::End(_)) => return,
            }
        }
        if self.read(|s| s.money.park.is_none()) {
            return;
        }
        match self.heed_rejections().await {
            Err(Stop::End(end)) => self.write(|s| s.end_as(end)),
            Err(Stop::Park(parked)) => {
                let at = now(&self.ctx);
                let text = format!("a rejection could not be judged and waits for a retry: {}", parked.message);
                self.write(|s| s.note(at, text));
            }
            Ok(()) | Err(Stop::Cancelled) => {}
        }
    }

    /// A stop for a step that found no money to begin with.
    pub(super) fn out_of_money(&self, needed: Option<MicroUsd>) -> Stop {
        super::flow::park(ParkReason::Budget, self.read(|s| s.lack_of(needed)))
    }
}

impl TicketState {
    /// An agent has told what it spent so far. Others than those at work are not listened to.
    pub(super) fn hear_spending(&mut self, told: &AgentSpent) {
        if self.budget.tell(told) {
            self.note_account(&told.agent);
        }
    }

    /// An agent of a watch has ended, with what it spent in all.
    pub(super) fn hear_end(&mut self, told: &AgentSpent, lost: bool) {
        if self.budget.ended(told, lost) {
            self.note_account(&told.agent);
        }
    }

    fn note_account(&mut self, agent: &str) {
        let Some(holder) = self.budget.holder_of(agent) else { return };
        self.money.ledger.tell(&holder, self.budget.turns(&holder));
        self.money.news = true;
    }

    /// Shows that an agent waits for money that others at work hold.
    pub(super) fn note_waiting(&mut self, at: i64, agent: &str) {
        let Some(lacks) = self.budget.lacks() else { return };
        if !self.budget.is_stuck() {
            let held = self.budget.held();
            self.note(at, format!("{agent} waits for {lacks} more than is free; {held} are held by others at work"));
        }
    }

    /// Adds to the cap. A step that found no money and waits for some goes on as after a retry.
    fn extend(&mut self, by: String, amount: MicroUsd, at: i64) {
        self.budget.cap += amount;
        self.money.extensions.push(Extension { by, amount, usd: amount.to_string(), at });
        let for_money = self.parked.as_ref().is_some_and(|parked| parked.reason == ParkReason::Budget);
        let waits = self.stage == Stage::Parked && for_money && self.money.park.is_none();
        self.inbox.funded |= waits;
    }

    /// What there is too little of, for the oldest ask.
    fn lack(&self) -> String {
        self.lack_of(self.budget.first_ask().map(|ask| ask.need))
    }

    fn lack_of(&self, needed: Option<MicroUsd>) -> String {
        let (spent, cap) = (self.budget.spent_so_far(), self.budget.cap);
        let lacks = self.budget.lacks().map_or_else(String::new, |lacks| format!(", {lacks} more than is left"));
        let needed =
            needed.map_or_else(String::new, |needed| format!("; the next model call may cost {needed}{lacks}"));
        format!(
            "{spent} of {cap} are spent{needed}. Extend the budget, or raise ticket_cap_micro_usd in [policy.budget] and retry."
        )
    }

    /// Notes how much of the cap is spent; true when another part of it is.
    pub(super) fn cross_part(&mut self) -> bool {
        let part = self.budget.spent_so_far().0.saturating_mul(PARTS) / self.budget.cap.0.max(1);
        part > std::mem::replace(&mut self.money.shown, part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    #[test]
    fn what_goes_on_while_a_person_is_asked_is_kept_for_later() {
        let mut money = Money::default();
        assert!(!money.hold(Stage::Executing, "task 1"));
        money.park = Some(MoneyPark { since: 7, stage: Stage::Executing, doing: "task 1".into() });
        assert!(!money.hold(Stage::Parked, "budget"), "that is shown");
        assert!(money.hold(Stage::FixingCi, "task 2"));
        let park = money.park.unwrap();
        assert_eq!((park.stage, park.doing.as_str()), (Stage::FixingCi, "task 2"));
    }

    #[test]
    fn a_park_that_is_over_is_not_the_next_one() {
        let park = |since| MoneyPark { since, stage: Stage::Executing, doing: String::new() };
        let mut money = Money { park: Some(park(7)), ..Money::default() };
        assert!(money.stands(Some(&park(7))) && !money.stands(Some(&park(5))) && !money.stands(None));
        money.park = None;
        assert!(money.stands(None) && !money.stands(Some(&park(7))), "its timer ends no ticket");
    }

    #[test]
    fn only_who_added_money_since_the_park_is_named_and_all_of_them_at_the_end() {
        let mut state = TicketState::default();
        state.extend("Ana (Slack)".into(), MicroUsd::dollars(5), 100);
        assert!(state.money.extension_since(101).is_none(), "that was for an earlier one");
        assert_eq!(state.money.extension_since(100).unwrap().by, "Ana (Slack)");
        state.extend("Bo (Slack)".into(), MicroUsd::dollars(1), 200);
        assert_eq!(state.money.funded(), "$5.00 more by Ana (Slack), $1.00 more by Bo (Slack)");
    }

    #[test]
    fn what_is_lacking_counts_what_is_free() {
        let mut state = TicketState { budget: Budget::new(MicroUsd::dollars(12)), ..TicketState::default() };
        state.budget.lease("t/a/1", 1).unwrap();
        let (spent, need) = (MicroUsd::dollars(11), MicroUsd(1_150_000));
        let ask = |agent: &str| crate::contract::agent::BudgetAsk { agent: agent.into(), lease: spent, spent, need };
        assert!(state.budget.ask(ask("t/a/1")));
        state.note_waiting(7, "t/a/1");
        assert!(state.notes.is_empty(), "a person is asked for that");
        assert!(
            state.lack().starts_with(
                "$11.00 of $12.00 are spent; the next model call may cost $1.15, $0.150 more than is left. Extend"
            ),
            "{}",
            state.lack()
        );
        state.budget.between = 1;
        state.note_waiting(7, "t/a/1");
        assert!(state.notes[0].starts_with("t/a/1 waits for $0.150 more than is free"), "{:?}", state.notes);
    }

    #[test]
    fn the_cost_is_shown_anew_with_every_tenth_of_the_cap() {
        let mut state = TicketState { budget: Budget::new(MicroUsd(1_000)), ..TicketState::default() };
        state.budget.lease("t/a/1", 1).unwrap();
        let shown = [50, 99, 100, 140, 250, 1_000].map(|spent| {
            state.budget.tell(&AgentSpent { agent: "t/a/1".into(), spent: MicroUsd(spent), turns: 1 });
            state.cross_part()
        });
        assert_eq!(shown, [false, false, true, false, true, true]);
    }

    #[test]
    fn an_extension_wakes_a_step_that_found_no_money_and_only_that() {
        let mut state = TicketState { budget: Budget::new(MicroUsd::dollars(12)), ..TicketState::default() };
        state.extend("Ana (Slack)".into(), MicroUsd::dollars(5), 7);
        assert!(!state.inbox.funded, "nothing waits");
        state.stage = Stage::Parked;
        state.parked = Some(Parked { reason: ParkReason::CiFailed, message: String::new() });
        state.extend("Ana (Slack)".into(), MicroUsd(500_000), 8);
        assert!(!state.inbox.funded);
        state.parked = Some(Parked { reason: ParkReason::Budget, message: String::new() });
        state.extend("Ana (Slack)".into(), MicroUsd(500_000), 9);
        assert!(state.inbox.funded);
        assert_eq!(state.budget.cap, MicroUsd::dollars(18));
        assert_eq!(state.money.extensions.len(), 3);
        assert_eq!(state.money.extensions[0].usd, "$5.00");
        assert!(
            state.lack_of(Some(MicroUsd(90_000))).starts_with("$0.000 of $18.00 are spent; the next model call may")
        );
    }
}
