//! Money of a root run: what it may spend, what it spent, what its children hold.
//!
//! Every direct child that costs money is a holder, known by its workflow id: an agent, or a watch of checks with agents of its
//! own. A holder gets a first lease and asks for more when it needs it. An ask that does not fit waits here until money comes back
//! or a person adds some, and gives back meanwhile what the agent has not spent. Integer micro-dollars throughout: sums of floats drift.

use std::collections::BTreeMap;

use crate::contract::agent::{AgentSpent, BudgetAsk, BudgetGrant};
use crate::contract::money::MicroUsd;

/// A grant covers about so many calls like the one that was asked for, when there is enough: each ask costs events.
const CALLS: u64 = 10;
/// Most that one extension adds, in whole US dollars.
pub const LARGEST_EXTENSION: u64 = 1_000;

/// The account. `spent + leased` stays within `cap` as long as children keep to their leases; a call that was lost is booked at
/// its worst case and may go beyond by that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budget {
    /// Hard cap.
    pub cap: MicroUsd,
    /// Paid for by children that have ended.
    pub spent: MicroUsd,
    /// Steps that will send another agent: while there are any, money may still be needed or come back without a person.
    pub between: u64,
    holders: BTreeMap<String, Holder>,
    /// Numbers the asks, so that they are answered in their order.
    asked: u64,
}

/// A child that runs now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Holder {
    /// What it was leased at its start.
    first: MicroUsd,
    /// Its agents that have said something: itself, when it is one.
    agents: BTreeMap<String, Account>,
    /// The agent that spoke last.
    newest: Option<String>,
    waits: Option<Waiting>,
}

/// What one agent was told and has told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Account {
    /// What it may spend.
    lease: MicroUsd,
    /// What it says it spent, never more than that.
    spent: MicroUsd,
    turns: u32,
    /// It is over: what it did not spend is not its own any more.
    ended: bool,
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

    /// Held by children that run now, what they have spent of it included.
    pub fn leased(&self) -> MicroUsd {
        self.holders.values().map(Holder::leased).sum()
    }

    /// Held by children that run now, beyond what they say they spent.
    pub fn held(&self) -> MicroUsd {
        self.holders.values().map(Holder::unspent).sum()
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

    /// Model turns of all agents of a running child, by what they have told.
    pub fn turns(&self, holder: &str) -> u32 {
        self.holders.get(holder).map_or(0, |holder| holder.agents.values().map(|account| account.turns).sum())
    }

    /// Leases one of `shares` equal parts of what is free to a new holder; `None`, and no holder, when nothing is, or somebody
    /// waits for it.
    pub fn lease(&mut self, holder: &str, shares: u64) -> Option<MicroUsd> {
        let part = MicroUsd(self.free().0 / shares.max(1));
        if part == MicroUsd::default() || self.someone_waits() {
            return None;
        }
        self.holders.insert(holder.to_owned(), Holder { first: part, ..Holder::default() });
        Some(part)
    }

    /// A new holder that begins with nothing: its agents ask when they need some.
    pub fn ask_later(&mut self, holder: &str) -> MicroUsd {
        self.holders.insert(holder.to_owned(), Holder::default());
        MicroUsd::default()
    }

    /// A holder has ended: `spent` of its lease is gone, the rest is free again.
    pub fn settle(&mut self, holder: &str, spent: MicroUsd) {
        if self.holders.remove(holder).is_some() {
            self.spent += spent;
        }
    }

    /// A holder has died and cannot say what it spent: its whole lease with all grants counts as gone. Returns that.
    pub fn forfeit(&mut self, holder: &str) -> MicroUsd {
        let gone = self.holders.remove(holder).map(|holder| holder.leased()).unwrap_or_default();
        self.spent += gone;
        gone
    }

    /// Notes what an agent says that it spent; `false`: nobody here knows it.
    pub fn tell(&mut self, told: &AgentSpent) -> bool {
        self.hear(told, false)
    }

    /// An agent of a watch has ended, with what it spent in all; `lost`: it died, and all it held counts as gone. Its ask is over.
    pub fn ended(&mut self, told: &AgentSpent, lost: bool) -> bool {
        let heard = self.hear(told, lost);
        self.withdraw(&told.agent);
        heard
    }

    fn hear(&mut self, told: &AgentSpent, lost: bool) -> bool {
        let Some(id) = self.holder_of(&told.agent) else { return false };
        self.holders.get_mut(&id).is_some_and(|holder| {
            let account = holder.hear(&told.agent, told.spent);
            account.turns = account.turns.max(told.turns);
            if lost {
                account.spent = account.lease;
            }
            true
        })
    }

    /// An agent that needs no answer any more, because it is over: what it did not spend is free again.
    pub fn withdraw(&mut self, agent: &str) {
        let Some(id) = self.holder_of(agent) else { return };
        let Some(holder) = self.holders.get_mut(&id) else { return };
        if let Some(account) = holder.agents.get_mut(agent) {
            account.lease = account.spent;
            account.ended = true;
        }
        holder.waits.take_if(|waiting| waiting.ask.agent == agent);
    }

    /// Notes an ask until [`Budget::answer`]; `false`: nobody here knows that agent. Of an agent's asks the newest counts. An agent
    /// that waits spends nothing: what it holds beyond what it spent is free for whoever can use it.
    pub fn ask(&mut self, ask: BudgetAsk) -> bool {
        let Some(id) = self.holder_of(&ask.agent) else { return false };
        self.asked += 1;
        let nth = self.asked;
        self.holders.get_mut(&id).is_some_and(|holder| {
            let account = holder.hear(&ask.agent, ask.spent);
            account.lease = account.spent;
            let nth = holder.waits.take().filter(|earlier| earlier.ask.agent == ask.agent).map_or(nth, |e| e.nth);
            holder.waits = Some(Waiting { nth, ask });
            true
        })
    }

    /// Answers every ask that what is free covers, the oldest first: the agents and what they may spend from now on.
    pub fn answer(&mut self) -> Vec<(String, BudgetGrant)> {
        let mut grants = Vec::new();
        for id in self.waiting() {
            let free = self.free();
            let sharing = u64::try_from(self.holders.len()).unwrap_or(1).saturating_add(self.between).max(1);
            // Generous with what nobody else lacks.
            let others: MicroUsd =
                self.holders.iter().filter(|(other, _)| **other != id).map(|(_, other)| other.missing()).sum();
            let spare = (free - others).0 / sharing;
            let Some(holder) = self.holders.get_mut(&id) else { continue };
            let missing = holder.missing();
            if missing > free {
                continue;
            }
            let Some(Waiting { ask, .. }) = holder.waits.take() else { continue };
            let more = missing.max(MicroUsd(ask.need.0.saturating_mul(CALLS).min(spare)));
            let account = holder.agents.entry(ask.agent.clone()).or_default();
            account.lease += more;
            grants.push((ask.agent, BudgetGrant { lease: account.lease }));
        }
        grants
    }

    /// Some ask can be answered now.
    pub fn is_answerable(&self) -> bool {
        self.shortfall() == Some(MicroUsd::default())
    }

    /// How much more has to be free for some ask to be answered; `None`: nobody asks.
    pub fn shortfall(&self) -> Option<MicroUsd> {
        let free = self.free();
        let waiting = self.holders.values().filter(|holder| holder.waits.is_some());
        waiting.map(|holder| holder.missing() - free).min()
    }

    /// The same, when it is something: what a person would have to add.
    pub fn lacks(&self) -> Option<MicroUsd> {
        self.shortfall().filter(|lacks| *lacks > MicroUsd::default())
    }

    /// Some holder waits for money.
    pub fn someone_waits(&self) -> bool {
        self.holders.values().any(|holder| holder.waits.is_some())
    }

    /// Somebody waits for money, and nobody is at work who could give some back or need some: only a person helps.
    pub fn is_stuck(&self) -> bool {
        let works = self.between > 0 || self.held() > MicroUsd::default();
        self.someone_waits() && !self.is_answerable() && !works
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
    /// All it holds.
    fn leased(&self) -> MicroUsd {
        self.unclaimed() + self.agents.values().map(|account| account.lease).sum()
    }

    /// What it holds of its first lease for an agent that has not spoken yet. Its agents work one after the other.
    fn unclaimed(&self) -> MicroUsd {
        let at_work = self.agents.values().any(|account| !account.ended);
        if at_work { MicroUsd::default() } else { self.first - self.said() }
    }

    /// What its agents say they spent.
    fn said(&self) -> MicroUsd {
        self.agents.values().map(|account| account.spent).sum()
    }

    /// What it may still spend.
    fn unspent(&self) -> MicroUsd {
        self.leased() - self.said()
    }

    /// One of its agents has told what it spent.
    fn hear(&mut self, agent: &str, spent: MicroUsd) -> &mut Account {
        let lease = self.unclaimed();
        self.newest = Some(agent.to_owned());
        let account = self.agents.entry(agent.to_owned()).or_insert_with(|| Account { lease, ..Account::default() });
        account.spent = account.spent.max(spent).min(account.lease);
        account
    }

    /// What its ask lacks.
    fn missing(&self) -> MicroUsd {
        let Some(Waiting { ask, .. }) = &self.waits else { return MicroUsd::default() };
        let lease = self.agents.get(&ask.agent).map(|account| account.lease).unwrap_or_default();
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
        assert_eq!(budget.ask_later("c"), MicroUsd(0));
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
        assert_eq!(grants, [("t/execution/a.b/1".to_owned(), BudgetGrant { lease: MicroUsd(595) })]);
        assert_eq!((budget.free(), budget.someone_waits()), (MicroUsd(405), false));
        // A generous grant leaves the others their part, what is missing is given in any case.
        budget.lease("t/execution/a.c/1", 400).unwrap();
        assert!(budget.ask(ask("t/execution/a.c/1", 1, 0, 300)));
        assert_eq!(budget.answer()[0].1.lease, MicroUsd(300));
        assert_eq!(budget.free(), MicroUsd(105));
    }

    #[test]
    fn an_ask_waits_for_what_others_give_back_and_is_stuck_when_all_wait() {
        let mut budget = Budget::new(MicroUsd(100));
        budget.lease("t/execution/a.b/1", 2).unwrap();
        budget.lease("t/execution/a.c/1", 1).unwrap();
        assert!(budget.ask(ask("t/execution/a.b/1", 50, 48, 20)));
        assert!(!budget.is_answerable() && !budget.is_stuck(), "the other one still works");
        assert_eq!((budget.answer(), budget.shortfall()), (vec![], Some(MicroUsd(18))));
        assert_eq!(budget.lease("t/execution/a.d/1", 1), None, "older asks come first");
        let mut both = budget.clone();
        assert!(both.ask(ask("t/execution/a.c/1", 50, 50, 30)));
        assert!(both.is_stuck());
        assert_eq!(both.first_ask().unwrap().agent, "t/execution/a.b/1", "the oldest");
        both.between = 1;
        assert!(!both.is_stuck(), "a repository between two agents works");
        both.cap += MicroUsd(48);
        assert_eq!(both.answer().len(), 2, "an extension that covers both answers both");
        budget.settle("t/execution/a.c/1", MicroUsd(10));
        assert_eq!(budget.answer()[0].1.lease, MicroUsd(90), "all that came back");
    }

    #[test]
    fn what_waiting_agents_have_not_spent_is_there_for_all() {
        let mut budget = Budget::new(MicroUsd(12_000));
        budget.lease("t/execution/a.b/1", 2).unwrap();
        budget.lease("t/execution/a.c/1", 1).unwrap();
        assert!(budget.ask(ask("t/execution/a.b/1", 6_000, 5_200, 1_100)));
        assert!(!budget.is_answerable(), "800 are free, the other one works");
        assert!(budget.ask(ask("t/execution/a.c/1", 6_000, 5_200, 1_100)));
        assert_eq!(budget.free(), MicroUsd(1_600));
        let grant = BudgetGrant { lease: MicroUsd(6_300) };
        assert_eq!(budget.answer(), [("t/execution/a.b/1".to_owned(), grant)]);
        assert!(!budget.is_stuck(), "one goes on");
        assert!(budget.ask(ask("t/execution/a.b/1", 6_300, 6_000, 1_100)));
        assert!(budget.is_stuck());
        assert_eq!(budget.shortfall(), Some(MicroUsd(300)));
    }

    #[test]
    fn an_agent_of_a_watch_is_answered_for_its_watch() {
        let mut budget = Budget::new(MicroUsd(1_000));
        assert_eq!(budget.ask_later("t/ci/a.b/1-1"), MicroUsd(0));
        let (first, second) = ("t/ci/a.b/1-1/ci/a.b/1", "t/ci/a.b/1-1/ci/a.b/2");
        assert!(!budget.ask(ask("t/ci/a.b/1-10/ci/a.b/1", 100, 0, 1)), "another watch, though its id begins the same");
        assert!(!budget.ask(ask("x", 0, 0, 1)) && !budget.tell(&spent("x", 5, 1)));
        assert!(budget.ask(ask(first, 0, 0, 30)));
        assert_eq!(budget.answer()[0].1.lease, MicroUsd(300));
        assert!(budget.tell(&spent(first, 40, 2)));
        assert_eq!(budget.newest_agent("t/ci/a.b/1-1"), Some(first));
        assert_eq!((budget.spent_so_far(), budget.said("t/ci/a.b/1-1")), (MicroUsd(40), MicroUsd(40)));
        // What the first agent leaves is free, what it spent is not.
        assert!(budget.ended(&spent(first, 90, 3), false));
        assert_eq!((budget.free(), budget.held()), (MicroUsd(910), MicroUsd(0)));
        assert!(budget.ask(ask(second, 0, 0, 30)));
        assert_eq!(budget.answer()[0].1.lease, MicroUsd(300));
        assert!(budget.tell(&spent(second, 10, 4)));
        assert_eq!((budget.turns("t/ci/a.b/1-1"), budget.said("t/ci/a.b/1-1")), (7, MicroUsd(100)), "of both");
        assert_eq!(budget.forfeit("t/ci/a.b/1-1"), MicroUsd(390), "with its grants");
        assert_eq!((budget.spent, budget.leased()), (MicroUsd(390), MicroUsd(0)));
    }

    #[test]
    fn a_watch_that_waits_for_checks_keeps_nobody_waiting() {
        let mut budget = Budget::new(MicroUsd(100));
        budget.lease("t/ci/a.b/1-1", 1).unwrap();
        budget.ask_later("t/ci/a.c/1-1");
        let agent = "t/ci/a.b/1-1/ci/a.b/1";
        assert!(budget.ask(ask(agent, 100, 90, 30)));
        assert!(budget.is_stuck(), "the other watch holds nothing that could come back");
        assert!(budget.ended(&spent(agent, 90, 1), false));
        assert!(!budget.someone_waits(), "who is over asks for nothing");
        assert_eq!(budget.lease("t/execution/a.b/2", 1), None, "what is left of its own lease is the watch's");
    }

    #[test]
    fn an_agent_that_is_gone_before_its_grant_leaves_the_money() {
        let mut budget = Budget::new(MicroUsd(100));
        budget.ask_later("t/ci/a.b/1-1");
        let agent = "t/ci/a.b/1-1/ci/a.b/1";
        assert!(budget.ask(ask(agent, 0, 0, 30)));
        assert_eq!(budget.answer().len(), 1);
        budget.withdraw(agent);
        assert_eq!((budget.free(), budget.someone_waits()), (MicroUsd(100), false));
        assert!(budget.ended(&spent(agent, 0, 0), true), "known all the same");
        assert_eq!(budget.forfeit("t/ci/a.b/1-1"), MicroUsd(0));
    }

    #[test]
    fn a_forged_lease_buys_nothing_and_a_repeated_ask_no_second_grant() {
        let mut budget = Budget::new(MicroUsd(100));
        budget.lease("t/planning/1", 2).unwrap();
        assert!(budget.ask(ask("t/planning/1", 1_000_000, 45, 10)));
        assert_eq!(budget.answer()[0].1.lease, MicroUsd(100));
        let before = budget.clone();
        assert!(budget.ask(ask("t/planning/1", 50, 45, 10)), "asked again before the grant was read");
        assert_eq!(budget.answer()[0].1.lease, MicroUsd(100));
        assert_eq!((budget.leased(), budget.free()), (before.leased(), before.free()));
    }

    #[test]
    fn a_lost_call_beyond_the_lease_is_covered_by_the_grant() {
        let mut budget = Budget::new(MicroUsd(1_000));
        budget.lease("t/planning/1", 10).unwrap();
        assert!(budget.ask(ask("t/planning/1", 100, 120, 50)));
        assert!(budget.answer()[0].1.lease >= MicroUsd(170), "what it waits for");
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
        let holder = |agent: &str| agent.trim_end_matches("/ci/1").to_owned();
        for _ in 0..500 {
            let mut budget = Budget::new(MicroUsd(random(10_000) + 1));
            // What each running agent believes, lease and spent, and whether it waits.
            let mut agents: BTreeMap<String, (u64, u64, bool)> = BTreeMap::new();
            let mut paid = 0;
            for step in 0..200 {
                let pick = agents.keys().nth(usize::try_from(random(4)).unwrap()).cloned();
                match (random(8), pick) {
                    (0, _) => {
                        let id = format!("t/execution/a.b/{step}");
                        if let Some(lease) = budget.lease(&id, random(4)) {
                            agents.insert(id, (lease.0, 0, false));
                        }
                    }
                    (1, _) => {
                        let watch = format!("t/ci/a.b/{step}");
                        budget.ask_later(&watch);
                        agents.insert(format!("{watch}/ci/1"), (0, 0, false));
                    }
                    (2..=4, Some(id)) if !agents[&id].2 => {
                        let (lease, spent, _) = agents[&id];
                        let need = random(500) + 1;
                        let fits = spent + need <= lease;
                        agents.insert(id.clone(), (lease, if fits { spent + need } else { spent }, !fits));
                        assert!(fits || budget.ask(ask(&id, lease, spent, need)));
                    }
                    (5, Some(id)) => {
                        let (_, said, _) = agents[&id];
                        assert!(budget.tell(&spent(&id, said, 1)));
                    }
                    (6, Some(id)) => {
                        let (_, said, _) = agents.remove(&id).unwrap();
                        if random(2) == 0 {
                            budget.ended(&spent(&id, said, 1), false);
                        }
                        budget.settle(&holder(&id), MicroUsd(said));
                        paid += said;
                    }
                    (7, Some(id)) if random(10) == 0 => {
                        agents.remove(&id);
                        paid += budget.forfeit(&holder(&id)).0;
                    }
                    (7, _) if random(20) == 0 => budget.cap += MicroUsd(random(1_000)),
                    _ => {}
                }
                for (id, grant) in budget.answer() {
                    let (lease, spent, waits) = agents[&id];
                    assert!(waits && grant.lease.0 > lease, "a grant never takes away");
                    agents.insert(id, (grant.lease.0, spent, false));
                }
                // Who waits holds what it has spent.
                let leased: u64 = agents.values().map(|(lease, spent, waits)| if *waits { spent } else { lease }).sum();
                assert_eq!((budget.spent.0, budget.leased().0), (paid, leased), "step {step}");
                assert!(paid + leased <= budget.cap.0, "step {step}: {budget:?}");
                assert!(budget.spent_so_far() + budget.held() + budget.free() == budget.cap);
                assert!(!budget.is_answerable(), "what fits was answered");
                let all_wait = agents.values().all(|(lease, spent, waits)| *waits || lease == spent);
                assert!(!budget.is_stuck() || all_wait, "step {step}: somebody works");
            }
        }
    }
}
