//! What a run remembers of its own doing: the log that people read, and how often it has done each step.

use std::collections::{BTreeMap, VecDeque};

use temporalio_common::data_converters::RawValue;

use crate::contract::status::LogEntry;
use crate::kit;

/// Longest entry, in characters.
const ENTRY: usize = 500;

/// The last `MOST` entries of a run's log.
#[derive(Debug, Default)]
pub struct Journal<const MOST: usize>(VecDeque<LogEntry>);

impl<const MOST: usize> Journal<MOST> {
    /// Adds a line; the oldest makes room.
    pub fn record(&mut self, at: i64, text: &str) {
        self.0.push_back(LogEntry { at, text: text.chars().take(ENTRY).collect() });
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &LogEntry> {
        self.0.iter()
    }

    /// Answer of a `log` query: the last entries; a number as its input limits how many.
    pub fn answer(&self, raw: RawValue) -> Vec<LogEntry> {
        let last = kit::decode::<usize>(raw).unwrap_or(usize::MAX);
        self.0.iter().skip(self.0.len().saturating_sub(last)).cloned().collect()
    }
}

/// How often a run has done each step: part of the keys of its effects, and of the ids of its children.
#[derive(Debug, Default)]
pub struct Occurrences(BTreeMap<String, u32>);

impl Occurrences {
    /// Counts the step once more; the first time is 1.
    pub fn next(&mut self, step: &str) -> u32 {
        let n = self.0.entry(step.to_owned()).or_default();
        *n += 1;
        *n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_makes_room_and_a_long_one_is_cut() {
        let mut journal = Journal::<2>::default();
        for (at, text) in [(1, "a"), (2, "b"), (3, &*"c".repeat(ENTRY + 1))] {
            journal.record(at, text);
        }
        let kept: Vec<(i64, usize)> = journal.entries().map(|entry| (entry.at, entry.text.len())).collect();
        assert_eq!(kept, [(2, 1), (3, ENTRY)]);
    }

    #[test]
    fn each_step_is_counted_from_one() {
        let mut occurrences = Occurrences::default();
        assert_eq!(["push", "push", "say"].map(|step| occurrences.next(step)), [1, 2, 1]);
    }
}
