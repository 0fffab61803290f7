//! The runs of a proof: each on fresh files, written down in its log, and made once more where a busy machine may have ended it.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use workflows::policy::PROOF_RUNS;

use super::judge;
use super::prove::Making;
use super::suite::{Only, Run, Suite};
use crate::failure::ServiceError;
use crate::sandbox::Exit;

/// Output of one run that the log of a proof keeps.
const LOG_CAP: usize = 1 << 20;

/// What is known of the runs so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// How many there were.
    pub(super) count: u32,
    /// How long they took, without the first.
    spent: Duration,
    /// The set-up told of something, so that what does not run may run another time.
    pub(super) troubled: bool,
    /// Some run has told of tests.
    told: bool,
    /// How long the suite took on the base.
    base_took: Duration,
}

impl Making<'_> {
    /// The suite on the base, which has nothing of the change: what does not run to its end there may have met a busy machine, and
    /// gets a second run before anybody is told.
    pub(super) async fn run_base(&mut self, suite: &Suite, tree: &str) -> Result<Run, ServiceError> {
        let mut base = self.run_once(suite, "base", tree, None).await?;
        if judge::whole_base(&base, &suite.command).is_err() || matches!(base.exit, Exit::NotStarted(_)) {
            base = self.run_once(suite, "base once more", tree, None).await?;
        }
        self.tally.base_took = base.took;
        Ok(base)
    }

    /// Runs the whole suite on the files of a tree.
    pub(super) async fn run(&mut self, suite: &Suite, name: &str, tree: &str) -> Result<Run, ServiceError> {
        self.run_only(suite, name, tree, None).await
    }

    /// Runs some tests, or all. `name`: of this run, unique in its proof. A run that a busy machine may have ended is made once more:
    /// no change is refused for that.
    pub(super) async fn run_only(
        &mut self,
        suite: &Suite,
        name: &str,
        tree: &str,
        only: Option<&Only<'_>>,
    ) -> Result<Run, ServiceError> {
        let run = self.run_once(suite, name, tree, only).await?;
        let fell_silent = self.tally.told && run.told_nothing();
        if ended_outside(&run.exit, fell_silent, self.tally.base_took, self.limit) && !self.is_late() {
            return self.run_once(suite, &format!("{name}, once more"), tree, only).await;
        }
        Ok(run)
    }

    async fn run_once(
        &mut self,
        suite: &Suite,
        name: &str,
        tree: &str,
        only: Option<&Only<'_>>,
    ) -> Result<Run, ServiceError> {
        // A number: the name of a run may hold a path of any length.
        let folder = format!("run-{}", self.tally.count);
        let started = Instant::now();
        let checkout = self.activities.check_out(&self.area, &self.mirror, &folder, tree, &self.rules).await?;
        self.tally.troubled |= !checkout.prepared.notes.is_empty();
        for note in &checkout.prepared.notes {
            let _ = writeln!(self.log, "== {note}");
        }
        let run = suite.run(self.activities, &self.area, &checkout, &folder, self.limit, only).await?;
        drop(checkout);
        self.area.discard(&folder);
        // The first one waits for the set-up, which has time of its own.
        self.tally.spent += if self.tally.count == 0 { Duration::ZERO } else { started.elapsed() };
        self.tally.count += 1;
        self.tally.told |= !run.told_nothing();
        let what = if only.is_some() { ", new tests only" } else { "" };
        let _ = writeln!(self.log, "== {} on {name}{what}: {}", suite.command, run.exit);
        self.log.push_str(&shortened(run.output.trim_end()));
        self.log.push('\n');
        Ok(run)
    }

    /// Whether the runs so far leave no time for one that takes as long as it may.
    pub(super) fn is_late(&self) -> bool {
        // One for the first, one for the next, and one to spare.
        let runs = u32::try_from(PROOF_RUNS.saturating_sub(3)).unwrap_or_default();
        self.tally.spent > self.limit.saturating_mul(runs)
    }
}

/// Whether a busy machine may have ended a run. `fell_silent`: it told of nothing, and the same suite has told of tests before.
fn ended_outside(exit: &Exit, fell_silent: bool, base_took: Duration, limit: Duration) -> bool {
    match exit {
        // Where the base was quick, it is the change that hangs.
        Exit::TimedOut => base_took > limit / 4,
        // Not started, or killed.
        Exit::NotStarted(_) | Exit::Code(137) => true,
        Exit::Code(1..) => fell_silent,
        _ => false,
    }
}

/// The beginning and the end of what a run printed.
fn shortened(output: &str) -> String {
    if output.len() <= LOG_CAP {
        return output.to_owned();
    }
    let at = |at: usize| (0..=at).rev().find(|at| output.is_char_boundary(*at)).unwrap_or_default();
    let (head, tail) = (at(LOG_CAP / 2), at(output.len() - LOG_CAP / 2));
    format!("{}\n[... {} bytes left out ...]\n{}", &output[..head], tail - head, &output[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_busy_machine_may_have_ended_runs_again() {
        let limit = Duration::from_secs(100);
        let (quick, slow) = (Duration::from_secs(25), Duration::from_secs(26));
        for (exit, fell_silent, base_took, again) in [
            (Exit::Code(0), false, slow, false),
            (Exit::Code(0), true, slow, false),
            // Tests that fail are what a proof asks for.
            (Exit::Code(1), false, slow, false),
            (Exit::Code(1), true, quick, true),
            (Exit::Code(127), true, quick, true),
            (Exit::Code(137), false, quick, true),
            (Exit::NotStarted("busy".into()), false, quick, true),
            (Exit::TimedOut, false, quick, false),
            (Exit::TimedOut, true, quick, false),
            (Exit::TimedOut, false, slow, true),
            (Exit::OverLimit("memory".into()), true, slow, false),
            (Exit::Cancelled, true, slow, false),
        ] {
            assert_eq!(
                ended_outside(&exit, fell_silent, base_took, limit),
                again,
                "{exit:?}, {fell_silent}, {base_took:?}"
            );
        }
    }
}
