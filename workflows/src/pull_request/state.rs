//! What a run of instructions knows. Signals write into the queue only; the desk takes from it.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::ci_watch::CiProgress;
use crate::contract::github::PullRequest;
use crate::contract::money::MicroUsd;
use crate::contract::policy::Policy;
use crate::contract::trigger::{ChecksChanged, Instructed};
use crate::journal::{Journal, Occurrences};

/// Entries kept in the log.
const LOG_ENTRIES: usize = 200;
/// Instructions that wait; more at once are a flood, not a conversation.
const WAITING: usize = 50;
/// Instructions of one login that wait: nobody, least of all an outsider whose rights are asked later, fills the queue alone.
const WAITING_EACH: usize = 5;
/// Nudges about heads that nobody watches yet.
const NUDGES: usize = 100;

/// Answer of the `status` query, and the run's result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PullRequestStatus {
    /// `owner/name`.
    pub repository: String,
    /// Number of the pull request.
    pub number: u64,
    /// What is going on, in words.
    pub doing: String,
    /// The comment that is worked on.
    pub comment: Option<u64>,
    /// Instructions that wait for their turn.
    pub waiting: usize,
    /// Instructions that were answered.
    pub answered: Vec<Answered>,
    /// Spent so far, in millionths of a US dollar.
    #[serde(rename = "spent_micro_usd")]
    pub spent: MicroUsd,
    /// Seconds since 1970 of the last news.
    pub updated_at: i64,
}

/// One answered instruction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// GitHub's id of the comment.
    pub comment: u64,
    /// Who asked.
    pub by: String,
    /// What it came to, in a few words.
    pub outcome: String,
    /// Link of the reply; empty when it could not be written.
    pub reply: String,
}

/// The run's state.
#[derive(Default)]
pub(super) struct State {
    /// The instruction that began the run; `None`: the input did not decode.
    pub(super) first: Option<Instructed>,
    /// Why the input did not decode.
    pub(super) fault: String,
    pub(super) policy: Policy,
    pub(super) queue: VecDeque<Instructed>,
    /// Comments that were taken up; a redelivery is dropped.
    seen: BTreeSet<u64>,
    /// Comments whose authors were shown that they are heard, or soon are.
    greeted: BTreeSet<u64>,
    pub(super) current: Option<Instructed>,
    /// The pull request as it was last read.
    pub(super) pull_request: Option<PullRequest>,
    pub(super) doing: String,
    pub(super) answered: Vec<Answered>,
    /// The account of the current instruction.
    pub(super) budget: Budget,
    /// Spent on instructions before.
    pub(super) spent: MicroUsd,
    pub(super) checks: Vec<ChecksChanged>,
    /// What the watch of our checks did, and nobody looked at yet.
    pub(super) ci_progress: VecDeque<CiProgress>,
    /// The last thing the current watch did.
    pub(super) last_progress: Option<CiProgress>,
    pub(super) children: Occurrences,
    pub(super) log: Journal<LOG_ENTRIES>,
    pub(super) updated_at: i64,
}

impl State {
    pub(super) fn new(input: Result<Instructed, String>) -> Self {
        match input {
            Ok(first) => Self {
                seen: [first.comment].into(),
                queue: [first.clone()].into(),
                first: Some(first),
                ..Self::default()
            },
            Err(fault) => Self { fault, ..Self::default() },
        }
    }

    /// Another instruction.
    pub(super) fn ask(&mut self, at: i64, asked: Instructed) {
        let here = |first: &Instructed| {
            first.number == asked.number && first.repository.as_str().eq_ignore_ascii_case(asked.repository.as_str())
        };
        if !self.first.as_ref().is_some_and(here) {
            self.record(at, format!("instruction for {}#{} ignored: not this one", asked.repository, asked.number));
        } else if self.seen.contains(&asked.comment) {
            self.record(at, format!("comment {} ignored: it came before", asked.comment));
        } else if self.queue.len() >= WAITING {
            self.record(at, format!("comment {} ignored: {WAITING} instructions wait already", asked.comment));
        } else if self.queue.iter().filter(|waiting| same_login(waiting, &asked)).count() >= WAITING_EACH {
            let who = asked.by.label();
            self.record(
                at,
                format!("comment {} ignored: {WAITING_EACH} instructions of {who} wait already", asked.comment),
            );
        } else {
            self.seen.insert(asked.comment);
            self.record(at, format!("comment {} of {} waits for its turn", asked.comment, asked.by.label()));
            self.queue.push_back(asked);
        }
    }

    /// The first who waits and was not shown yet that somebody listens.
    pub(super) fn stranger(&self) -> Option<&Instructed> {
        self.queue.iter().find(|waiting| !self.greeted.contains(&waiting.comment))
    }

    /// The author of this comment is shown that they are heard.
    pub(super) fn greeted(&mut self, comment: u64) {
        self.greeted.insert(comment);
    }

    /// Whether the author of this comment was shown it before.
    pub(super) fn knows(&self, comment: u64) -> bool {
        self.greeted.contains(&comment)
    }

    /// Notes a nudge once; they are coalesced per head.
    pub(super) fn nudge(&mut self, news: ChecksChanged) {
        if !self.checks.contains(&news) && self.checks.len() < NUDGES {
            self.checks.push(news);
        }
    }

    /// Adds a line to the log.
    pub(super) fn record(&mut self, at: i64, text: String) {
        self.updated_at = at;
        self.log.record(at, &text);
    }

    pub(super) fn status(&self) -> PullRequestStatus {
        PullRequestStatus {
            repository: self.first.as_ref().map(|first| first.repository.to_string()).unwrap_or_default(),
            number: self.first.as_ref().map_or(0, |first| first.number),
            doing: self.doing.clone(),
            comment: self.current.as_ref().map(|asked| asked.comment),
            waiting: self.queue.len(),
            answered: self.answered.clone(),
            spent: self.spent + self.budget.spent,
            updated_at: self.updated_at,
        }
    }
}

/// GitHub's logins differ in more than case.
fn same_login(one: &Instructed, other: &Instructed) -> bool {
    one.by.via == other.by.via && one.by.id.eq_ignore_ascii_case(&other.by.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::access::Person;
    use crate::contract::trigger::EventId;

    fn asked(number: u64, comment: u64) -> Instructed {
        Instructed {
            repository: "acme/shop-api".parse().unwrap(),
            number,
            comment,
            instruction: "go on".into(),
            by: Person::cli("ana"),
            event: EventId { id: format!("github-comment-{comment}"), at: 0 },
        }
    }

    #[test]
    fn each_comment_of_this_pull_request_waits_once() {
        let mut state = State::new(Ok(asked(3, 1)));
        for (number, comment) in [(3, 1), (3, 2), (3, 2), (4, 3), (3, 5)] {
            state.ask(0, asked(number, comment));
        }
        let waiting: Vec<u64> = state.queue.iter().map(|asked| asked.comment).collect();
        assert_eq!(waiting, [1, 2, 5]);
        assert!(state.log.entries().any(|entry| entry.text.contains("comment 2 ignored: it came before")));
        assert!(state.log.entries().any(|entry| entry.text.contains("acme/shop-api#4 ignored")));
    }

    #[test]
    fn nobody_fills_the_queue_alone() {
        let mut state = State::new(Ok(asked(3, 1)));
        let by = |login: &str, comment: u64| Instructed { by: Person::cli(login), ..asked(3, comment) };
        for comment in 100..200 {
            state.ask(0, by(if comment % 2 == 0 { "mallory" } else { "Mallory" }, comment));
        }
        assert_eq!(state.queue.len(), 1 + WAITING_EACH);
        state.ask(0, by("bo", 300));
        assert_eq!(state.queue.back().map(|waiting| waiting.comment), Some(300), "others are heard");
        for comment in 400..500 {
            state.ask(0, by(&format!("login{comment}"), comment));
        }
        assert_eq!(state.queue.len(), WAITING);
    }

    #[test]
    fn who_waits_is_greeted_once() {
        let mut state = State::new(Ok(asked(3, 1)));
        state.ask(0, asked(3, 2));
        state.queue.pop_front();
        assert_eq!(state.stranger().map(|waiting| waiting.comment), Some(2));
        state.greeted(2);
        assert!(state.stranger().is_none() && state.knows(2) && !state.knows(1));
    }
}
