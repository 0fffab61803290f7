//! Money of a root run: what it may spend, what it spent, what its children hold.
//!
//! Every direct child that costs money is a holder, known by its workflow id: an agent, or a watch of checks with agents of its
//! own. A holder gets a first lease and asks for more when it needs it; an ask that does not fit waits here until money comes back or
//! a person adds some. Integer micro-dollars throughout: sums of floats drift.

use std::collections::BTreeMap;

use crate::contract::agent::{AgentSpent, BudgetAsk, BudgetGrant};
use crate::contract::money::MicroUsd;

/// A grant covers about so many calls like the one that was asked for, when there is enough: each ask costs events.
const CALLS: u64 = 10;
/// Most that one extension adds, in whole US dollars.
pub const LARGEST_EXTENSION: u64 = 1_000;

/// The account. `spent + leased` never exceeds `cap`, as long as children keep to their leases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budget {
    /// Hard cap.
    pub cap: MicroUsd,
    /// Paid for by children that have ended.
    pub spent: MicroUsd,
    holders: BTreeMap<String, Holder>,
    /// Numbers the asks, so that they are answered in their order.
    asked: u64,
}

/// A child that runs now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Holder {
    leased: MicroUsd,
    /// Its agents that have said something: itself, when it is one.
    agents: BTreeMap<String, Account>,
    /// The agent that spoke last.
    newest: Option<String>,
    waits: Option<Waiting>,
}

/// What one agent was told and has told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Account {
    /// What it may spend; unknown until it asks.
    lease: Option<MicroUsd>,
    /// What it says it spent.
    spent: MicroUsd,
}

/// An ask without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Waiting {
    nth: u64,
    ask: BudgetAsk,
}

impl Budget {
    /// An account with nothing spent.
    pub fn new(cap: MicroUsd) -> Self {
        Self { cap, ..Self::default() }
    }

    /// Held by children that run now.
    pub fn leased(&self) -> MicroUsd {
        self.holders.values().map(|holder| holder.leased).sum()
    }

    /// Neither spent nor leased.
    pub fn free(&self) -> MicroUsd {
        self.cap - self.spent - self.leased()
    }

    /// Spent so far, by what running children have told.
    pub fn spent_so_far(&self) -> MicroUsd {
        self.spent + self.holders.values().map(Holder::said).sum()
    }

    /// What a running child has told that it spent.
    pub fn said(&self, holder: &str) -> MicroUsd {
        self.holders.get(holder).map(Holder::said).unwrap_or_default()
    }

    /// Leases one of `shares` equal parts of what is free to a new holder; `None`, and no holder, when nothing is.
    pub fn lease(&mut self, holder: &str, shares: u64) -> Option<MicroUsd> {
        let part = MicroUsd(self.free().0 / shares.max(1));
        if part == MicroUsd::default() {
            return None;
        }
        self.holders.insert(holder.to_owned(), Holder { leased: part, ..Holder::default() });
        Some(part)
    }

    /// The same, but without money the holder begins with nothing and asks when it needs some.
    pub fn lease_or_ask_later(&mut self, holder: &str, shares: u64) -> MicroUsd {
        self.lease(holder, shares).unwrap_or_else(|| {
            self.holders.insert(holder.to_owned(), Holder::default());
            MicroUsd::default()
        })
    }

    /// A holder has ended: `spent` of its lease is gone, the rest is free again.
    pub fn settle(&mut self, holder: &str, spent: MicroUsd) {
        if self.holders.remove(holder).is_some() {
            self.spent += spent;
        }
    }

    /// A holder has died and cannot say what it spent: its whole lease with all grants counts as gone. Returns that.
    pub fn forfeit(&mut self, holder: &str) -> MicroUsd {
        let gone = self.holders.remove(holder).map(|holder| holder.leased).unwrap_or_default();
        self.spent += gone;
        gone
    }

    /// Notes what an agent says that it spent; `false`: nobody here knows it.
    pub fn tell(&mut self, told: &AgentSpent) -> bool {
        let Some(id) = self.holder_of(&told.agent) else { return false };
        self.holders.get_mut(&id).is_some_and(|holder| {
            holder.hear(&told.agent, told.spent);
            true
        })
    }

    /// Notes an ask until [`Budget::answer`]; `false`: nobody here knows that agent. Of an agent's asks the newest counts.
    pub fn ask(&mut self, ask: BudgetAsk) -> bool {
        let Some(id) = self.holder_of(&ask.agent) else { return false };
        self.asked += 1;
        let nth = self.asked;
        self.holders.get_mut(&id).is_some_and(|holder| {
            // What an agent of a watch believes to hold counts until its first grant, and never beyond the watch's lease.
            let first = if id == ask.agent { holder.leased } else { ask.lease.min(holder.leased) };
            holder.hear(&ask.agent, ask.spent).lease.get_or_insert(first);
            let nth = holder.waits.take().filter(|earlier| earlier.ask.agent == ask.agent).map_or(nth, |e| e.nth);
            holder.waits = Some(Waiting { nth, ask });
            true
        })
    }

    /// Answers every ask that what is free covers, the oldest first: the agents and what they may spend from now on.
    pub fn answer(&mut self) -> Vec<(String, BudgetGrant)> {
        let mut grants = Vec::new();
        for id in self.waiting() {
            let (free, running) = (self.free(), u64::try_from(self.holders.len()).unwrap_or(1).max(1));
            // Generous with what nobody else lacks.
            let others: MicroUsd =
                self.holders.iter().filter(|(other, _)| **other != id).map(|(_, other)| other.missing()).sum();
            let spare = (free - others).0 / running;
            let Some(holder) = self.holders.get_mut(&id) else { continue };
            let missing = holder.missing();
            if missing > free {
                continue;
            }
            let Some(Waiting { ask, .. }) = holder.waits.take() else { continue };
            let more = if missing == MicroUsd::default() {
                missing
            } else {
                missing.max(MicroUsd(ask.need.0.saturating_mul(CALLS).min(spare)))
            };
            holder.leased += more;
            let account = holder.agents.entry(ask.agent.clone()).or_default();
            let lease = account.lease.unwrap_or_default() + more;
            account.lease = Some(lease);
            grants.push((ask.agent, BudgetGrant { lease }));
        }
        grants
    }

    /// Some ask can be answered now.
    pub fn is_answerable(&self) -> bool {
        let free = self.free();
        self.holders.values().any(|holder| holder.waits.is_some() && holder.missing() <= free)
    }

    /// Some holder waits for money.
    pub fn someone_waits(&self) -> bool {
        self.holders.values().any(|holder| holder.waits.is_some())
    }

    /// Every holder waits for money and none can have it: only a person helps.
    pub fn is_stuck(&self) -> bool {
        self.someone_waits() && !self.is_answerable() && self.holders.values().all(|holder| holder.waits.is_some())
    }

    /// The oldest ask without an answer.
    pub fn first_ask(&self) -> Option<&BudgetAsk> {
        let waiting = self.holders.values().filter_map(|holder| holder.waits.as_ref());
        waiting.min_by_key(|waiting| waiting.nth).map(|waiting| &waiting.ask)
    }

    /// The agent of a holder that spoke last.
    pub fn newest_agent(&self, holder: &str) -> Option<&str> {
        self.holders.get(holder)?.newest.as_deref()
    }

    /// The holder that answers for an agent: itself, or the nearest of its ancestors.
    pub fn holder_of(&self, agent: &str) -> Option<String> {
        let is_its =
            |id: &&String| agent.strip_prefix(id.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.holders.keys().filter(is_its).max_by_key(|id| id.len()).cloned()
    }

    /// Holders that wait, the longest waiting first.
    fn waiting(&self) -> Vec<String> {
        let mut waiting: Vec<(u64, &String)> =
            self.holders.iter().filter_map(|(id, holder)| Some((holder.waits.as_ref()?.nth, id))).collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, id)| id.clone()).collect()
    }
}

impl Holder {
    /// What its agents say they spent, never more than it holds.
    fn said(&self) -> MicroUsd {
        self.agents.values().map(|account| account.spent).sum::<MicroUsd>().min(self.leased)
    }

    /// One of its agents has told what it spent.
    fn hear(&mut self, agent: &str, spent: MicroUsd) -> &mut Account {
        let leased = self.leased;
        self.newest = Some(agent.to_owned());
        let account = self.agents.entry(agent.to_owned()).or_default();
        account.spent = account.spent.max(spent).min(leased);
        account
    }

    /// What its ask lacks.
    fn missing(&self) -> MicroUsd {
        let Some(Waiting { ask, .. }) = &self.waits else { return MicroUsd::default() };
        let lease = self.agents.get(&ask.agent).and_then(|account| account.lease).unwrap_or_default();
        ask.spent + ask.need - lease
    }
}

/// What a person adds, as an amount: over 0, at most [`LARGEST_EXTENSION`], rounded to micro-dollars. `None`: nonsense.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked just before")]
#[expect(clippy::cast_precision_loss, reason = "the largest extension is far below 2^53")]
pub fn extension(usd: f64) -> Option<MicroUsd> {
    let fits = usd.is_finite() && usd > 0.0 && usd <= LARGEST_EXTENSION as f64;
    let amount = if fits { (usd * 1_000_000.0).round() as u64 } else { 0 };
    (amount > 0).then_some(MicroUsd(amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(agent: &str, lease: u64, spent: u64, need: u64) -> BudgetAsk {
        BudgetAsk { agent: agent.into(), lease: MicroUsd(lease), spent: MicroUsd(spent), need: MicroUsd(need) }
    }

    fn spent(agent: &str, spent: u64, turns: u32) -> AgentSpent {
        AgentSpent { agent: agent.into(), spent: MicroUsd(spent), turns }
    }

    #[test]
    fn leases_never_exceed_the_cap() {
        let mut budget = Budget::new(MicroUsd(100));
        let first = budget.lease("a", 2).unwrap();
        let second = budget.lease("b", 1).unwrap();
        assert_eq!((first, second), (MicroUsd(50), MicroUsd(50)));
        assert_eq!(budget.lease("c", 1), None);
        assert_eq!(budget.lease_or_ask_later("c", 1), MicroUsd(0));
        budget.settle("a", MicroUsd(20));
        budget.settle("a", MicroUsd(20));
        assert_eq!(budget.spent, MicroUsd(20), "a holder is settled once");
        assert_eq!(budget.lease("d", 1), Some(MicroUsd(30)));
    }

    #[test]
    fn an_ask_gets_about_ten_calls_and_never_more_than_is_there() {
        let mut budget = Budget::new(MicroUsd(1_000));
        budget.lease("t/execution/a.b/1", 2).unwrap();
        assert!(budget.ask(ask("t/execution/a.b/1", 500, 495, 10)));
        assert!(budget.is_answerable() && !budget.is_stuck());
        let grants = budget.answer();
        assert_eq!(grants, [("t/execution/a.b/1".to_owned(), BudgetGrant { lease: MicroUsd(600) })]);
        assert_eq!((budget.free(), budget.someone_waits()), (MicroUsd(400), false));
        // A generous grant leaves the others their part, what is missing is given in any case.
        budget.lease("t/execution/a.c/1", 400).unwrap();
        assert!(budget.ask(ask("t/execution/a.c/1", 1, 0, 300)));
        assert_eq!(budget.answer()[0].1.lease, MicroUsd(300));
        assert_eq!(budget.free(), MicroUsd(100));
    }

    #[test]
    fn an_ask_waits_for_what_others_give_back_and_is_stuck_when_all_wait() {
        let mut budget = Budget::new(MicroUsd(100));
        budget.lease("t/execution/a.b/1", 2).unwrap();
        budget.lease("t/execution/a.c/1", 1).unwrap();
        assert!(budget.ask(ask("t/execution/a.b/1", 50, 48, 20)));
        assert!(!budget.is_answerable() && !budget.is_stuck(), "the other one still works");
        assert_eq!(budget.answer(), []);
        let mut both = budget.clone();
        assert!(both.ask(ask("t/execution/a.c/1", 50, 50, 30)));
        assert!(both.is_stuck());
        assert_eq!(both.first_ask().unwrap().agent, "t/execution/a.b/1", "the oldest");
        both.cap += MicroUsd(48);
        assert_eq!(both.answer().len(), 2, "an extension that covers both answers both");
        budget.settle("t/execution/a.c/1", MicroUsd(10));
        assert_eq!(budget.answer()[0].1.lease, MicroUsd(90), "all that came back");
    }

    #[test]
    fn an_agent_of_a_watch_is_answered_for_its_watch() {
        let mut budget = Budget::new(MicroUsd(1_000));
        budget.lease("t/ci/a.b/1-1", 10).unwrap();
        let agent = "t/ci/a.b/1-1/ci/a.b/1";
        assert!(!budget.ask(ask("t/ci/a.b/1-10/ci/a.b/1", 100, 0, 1)), "another watch, though its id begins the same");
        assert!(!budget.ask(ask("x", 0, 0, 1)) && !budget.tell(&spent("x", 5, 1)));
        assert!(budget.tell(&spent(agent, 40, 2)));
        assert_eq!(budget.newest_agent("t/ci/a.b/1-1"), Some(agent));
        assert_eq!((budget.spent_so_far(), budget.said("t/ci/a.b/1-1")), (MicroUsd(40), MicroUsd(40)));
        assert!(budget.ask(ask(agent, 100, 90, 30)));
        assert_eq!(budget.answer()[0].1.lease, MicroUsd(400));
        assert_eq!(budget.forfeit("t/ci/a.b/1-1"), MicroUsd(400), "with its grants");
        assert_eq!((budget.spent, budget.leased()), (MicroUsd(400), MicroUsd(0)));
    }

    #[test]
    fn a_forged_lease_buys_nothing_and_a_repeated_ask_no_second_grant() {
        let mut budget = Budget::new(MicroUsd(100));
        budget.lease("t/planning/1", 2).unwrap();
        assert!(budget.ask(ask("t/planning/1", 1_000_000, 45, 10)));
        assert_eq!(budget.answer()[0].1.lease, MicroUsd(100).min(MicroUsd(50 + 50)));
        let before = budget.clone();
        assert!(budget.ask(ask("t/planning/1", 50, 45, 10)), "asked again before the grant was read");
        assert_eq!(budget.answer()[0].1.lease, MicroUsd(100));
        assert_eq!((budget.leased(), budget.free()), (before.leased(), before.free()));
    }

    #[test]
    fn cents_count_and_nonsense_is_none() {
        assert_eq!(extension(5.0), Some(MicroUsd::dollars(5)));
        assert_eq!(extension(0.1 + 0.2), Some(MicroUsd(300_000)));
        assert_eq!(extension(1000.0), Some(MicroUsd::dollars(1000)));
        for nonsense in [0.0, -5.0, 1000.01, 1e-9, f64::NAN, f64::INFINITY] {
            assert_eq!(extension(nonsense), None, "{nonsense}");
        }
    }

    /// Many random lives of an account: children that keep to their leases never bring it over its cap.
    #[test]
    fn the_cap_holds_whatever_happens() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        // xorshift64: Marsaglia, "Xorshift RNGs", 2003.
        let mut random = move |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below.max(1)
        };
        for _ in 0..500 {
            let mut budget = Budget::new(MicroUsd(random(10_000) + 1));
            // What each running child believes: lease and spent.
            let mut children: BTreeMap<String, (u64, u64)> = BTreeMap::new();
            let mut paid = 0;
            for step in 0..200 {
                let pick = children.keys().nth(usize::try_from(random(4)).unwrap()).cloned();
                match (random(7), pick) {
                    (0 | 1, _) => {
                        let id = format!("t/execution/a.b/{step}");
                        if let Some(lease) = budget.lease(&id, random(4)) {
                            children.insert(id, (lease.0, 0));
                        }
                    }
                    (2 | 3, Some(id)) => {
                        let (lease, spent) = children[&id];
                        let need = random(500);
                        if spent + need <= lease {
                            children.insert(id, (lease, spent + need));
                        } else {
                            assert!(budget.ask(ask(&id, lease, spent, need)));
                        }
                    }
                    (4, Some(id)) => {
                        let (_, said) = children[&id];
                        assert!(budget.tell(&spent(&id, said, 1)));
                    }
                    (5, Some(id)) => {
                        let (_, spent) = children.remove(&id).unwrap();
                        budget.settle(&id, MicroUsd(spent));
                        paid += spent;
                    }
                    (6, Some(id)) if random(10) == 0 => {
                        children.remove(&id);
                        paid += budget.forfeit(&id).0;
                    }
                    (6, _) if random(20) == 0 => budget.cap += MicroUsd(random(1_000)),
                    _ => {}
                }
                for (id, grant) in budget.answer() {
                    let (lease, spent) = children[&id];
                    assert!(grant.lease.0 >= lease, "a grant never takes away");
                    children.insert(id, (grant.lease.0, spent));
                }
                let leased: u64 = children.values().map(|(lease, _)| lease).sum();
                assert_eq!((budget.spent.0, budget.leased().0), (paid, leased), "step {step}");
                assert!(paid + leased <= budget.cap.0, "step {step}: {budget:?}");
                assert!(budget.spent_so_far() <= budget.cap);
                assert!(!budget.is_answerable(), "what fits was answered");
            }
        }
    }
}
