//! What a ticket's agents cost, one line per run: the rows of the `cost` query.

use std::collections::{BTreeMap, VecDeque};

use crate::contract::agent::AgentName;
use crate::contract::ids::RepositoryName;
use crate::contract::money::{MicroUsd, Usage};
use crate::contract::status::{CostLine, EarlierCost, TaskCost};

/// Lines kept; older ones are summed.
const LINES: usize = 200;

/// One line, and the sums of those that made room.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    lines: VecDeque<CostLine>,
    earlier: Option<EarlierCost>,
    /// Money and turns by number of the task, all lines.
    tasks: BTreeMap<usize, (MicroUsd, u32)>,
}

impl Ledger {
    /// A child begins that may cost money.
    pub(super) fn open(
        &mut self,
        id: &str,
        agent: AgentName,
        repository: Option<&RepositoryName>,
        task: Option<usize>,
    ) {
        self.lines.push_back(CostLine {
            id: id.to_owned(),
            agent,
            repository: repository.cloned(),
            task,
            turns: 0,
            usage: Usage::default(),
            spent: MicroUsd::default(),
            usd: String::new(),
            running: true,
        });
        if self.lines.len() <= LINES {
            return;
        }
        // One that still runs stays: its end has to find it.
        let oldest = self.lines.iter().position(|line| !line.running);
        if let Some(line) = oldest.and_then(|at| self.lines.remove(at)) {
            self.earlier.get_or_insert_with(EarlierCost::default).add(&line);
        }
    }

    /// A child has told how far it is.
    pub(super) fn tell(&mut self, id: &str, turns: u32) {
        if let Some(line) = self.running(id) {
            line.turns = line.turns.max(turns);
        }
    }

    /// A child has ended. One that asked no model leaves no line: a watch of green checks, an agent that could not start.
    pub(super) fn close(&mut self, id: &str, spent: MicroUsd, turns: u32, usage: Usage) {
        let Some(line) = self.running(id) else { return };
        if spent == MicroUsd::default() && line.turns.max(turns) == 0 {
            self.lines.retain(|line| line.id != id);
            return;
        }
        (line.running, line.spent, line.usage) = (false, spent, usage);
        line.turns = line.turns.max(turns);
        if let Some(task) = line.task {
            let turns = line.turns;
            let sum = self.tasks.entry(task).or_default();
            sum.0 += spent;
            sum.1 += turns;
        }
    }

    fn running(&mut self, id: &str) -> Option<&mut CostLine> {
        self.lines.iter_mut().rev().find(|line| line.id == id && line.running)
    }

    /// Children at work.
    pub(super) fn at_work(&self) -> impl Iterator<Item = &CostLine> {
        self.lines.iter().filter(|line| line.running)
    }

    /// All lines; `said`: what a running one has told that it spent.
    pub(super) fn lines(&self, said: impl Fn(&str) -> MicroUsd) -> Vec<CostLine> {
        let told = |line: &CostLine| {
            let spent = if line.running { said(&line.id) } else { line.spent };
            CostLine { spent, usd: spent.to_string(), ..line.clone() }
        };
        self.lines.iter().map(told).collect()
    }

    /// The sum of older lines.
    pub(super) fn earlier(&self) -> Option<EarlierCost> {
        let earlier = self.earlier.clone()?;
        Some(EarlierCost { usd: earlier.spent.to_string(), ..earlier })
    }

    /// Sums of the tasks that agents have ended work on; `titles` by number of the task, from 1.
    pub(super) fn tasks(&self, titles: &[String]) -> Vec<TaskCost> {
        let cost = |(&task, &(spent, turns)): (&usize, &(MicroUsd, u32))| {
            let title = task.checked_sub(1).and_then(|n| titles.get(n)).cloned().unwrap_or_default();
            TaskCost { task, title, turns, spent, usd: spent.to_string() }
        };
        self.tasks.iter().map(cost).collect()
    }

    /// What a task has cost so far.
    pub(super) fn of_task(&self, task: usize) -> MicroUsd {
        self.tasks.get(&task).map(|(spent, _)| *spent).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input: u64) -> Usage {
        Usage { input, ..Usage::default() }
    }

    #[test]
    fn a_task_is_the_sum_of_its_attempts_and_a_running_line_says_what_it_told() {
        let mut ledger = Ledger::default();
        let repository: RepositoryName = "acme/shop-api".parse().unwrap();
        for n in 1..=2 {
            let id = format!("t/execution/{n}");
            ledger.open(&id, AgentName::Execution, Some(&repository), Some(1));
            ledger.tell(&id, 2);
            ledger.close(&id, MicroUsd(1_000), 3, usage(7));
        }
        ledger.open("t/execution/3", AgentName::Execution, Some(&repository), Some(2));
        let lines = ledger.lines(|id| if id == "t/execution/3" { MicroUsd(5) } else { MicroUsd(0) });
        let shown: Vec<(u64, u32, bool)> = lines.iter().map(|line| (line.spent.0, line.turns, line.running)).collect();
        assert_eq!(shown, [(1_000, 3, false), (1_000, 3, false), (5, 0, true)]);
        assert_eq!(ledger.at_work().count(), 1);
        let tasks = ledger.tasks(&["Clamp".to_owned()]);
        assert_eq!(tasks.len(), 1);
        assert_eq!((tasks[0].title.as_str(), tasks[0].spent, tasks[0].turns), ("Clamp", MicroUsd(2_000), 6));
        assert_eq!(ledger.of_task(1), MicroUsd(2_000));
        ledger.open("t/ci/1", AgentName::Ci, Some(&repository), None);
        ledger.close("t/ci/1", MicroUsd(0), 0, Usage::default());
        assert_eq!(ledger.lines(|_| MicroUsd(0)).len(), 3, "green checks cost nothing");
    }

    #[test]
    fn old_lines_are_summed_and_nothing_is_lost() {
        let mut ledger = Ledger::default();
        ledger.open("first", AgentName::Ci, None, None);
        for n in 0..LINES + 10 {
            let id = format!("t/{n}");
            ledger.open(&id, AgentName::Execution, None, None);
            ledger.close(&id, MicroUsd(2), 1, usage(3));
        }
        let lines = ledger.lines(|_| MicroUsd(1));
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines[0].id, "first", "it still runs");
        let earlier = ledger.earlier().unwrap();
        assert_eq!((earlier.runs, earlier.spent, earlier.usage.input), (11, MicroUsd(22), 33));
        let sum: MicroUsd = lines.iter().map(|line| line.spent).sum();
        assert_eq!(sum + earlier.spent, MicroUsd(1 + 2 * (LINES as u64 + 10)));
    }
}
