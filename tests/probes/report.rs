//! What the probes came to, in lines.

use std::io::Write as _;

/// What one probe came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Its name.
    pub(crate) name: &'static str,
    /// What came back, if it was not refused.
    pub(crate) leak: Option<String>,
}

/// Prints as it goes, and knows in the end whether all was as it must be.
#[derive(Debug, Default)]
pub(crate) struct Report {
    held: usize,
    all: usize,
    faults: usize,
}

impl Report {
    /// Prints a line.
    pub(crate) fn say(&mut self, line: &str) {
        // Nobody reads a closed standard output.
        let _ = writeln!(std::io::stdout(), "{line}");
    }

    fn fault(&mut self, line: &str) {
        self.faults += 1;
        self.say(line);
    }

    /// A group in the real sandbox: all must hold.
    pub(crate) fn group(&mut self, name: &str, outcomes: &[Outcome]) {
        let held = outcomes.iter().filter(|outcome| outcome.leak.is_none()).count();
        self.say(&format!("  {name:<16} {held:>3}/{} held", outcomes.len()));
        for Outcome { name, leak } in outcomes {
            if let Some(leak) = leak {
                self.fault(&format!("    LEAK {name}: {leak}"));
            }
        }
        self.held += held;
        self.all += outcomes.len();
    }

    /// The sum of the groups.
    pub(crate) fn sum(&mut self) {
        self.say(&format!("  {}/{} held", self.held, self.all));
    }

    /// The scripts without a sandbox: none may hold.
    pub(crate) fn outside(&mut self, outcomes: &[Outcome]) {
        let through = outcomes.iter().filter(|outcome| outcome.leak.is_some()).count();
        self.say(&format!("  without a sandbox {through}/{} get through", outcomes.len()));
        for outcome in outcomes.iter().filter(|outcome| outcome.leak.is_none()) {
            self.fault(&format!("    CANNOT FAIL {}: refused without a sandbox too", outcome.name));
        }
    }

    /// A weakened profile: these must be lost, those may, no others.
    pub(crate) fn weakened(&mut self, profile: &str, outcomes: &[Outcome], must: &[&str], may: &[&str]) {
        let lost = outcomes.iter().filter(|outcome| outcome.leak.is_some()).count();
        self.say(&format!("  weakened: {profile:<24} loses {lost:>2}, must lose {}", must.len()));
        for Outcome { name, leak } in outcomes {
            match leak {
                None if must.contains(name) => self.fault(&format!("    NOT NOTICED {name}")),
                Some(leak) if !must.contains(name) && !may.contains(name) => {
                    self.fault(&format!("    LOST TOO {name}: {leak}"));
                }
                _ => {}
            }
        }
    }

    /// Prints the verdict.
    pub(crate) fn end(&mut self, who: &str) -> bool {
        let faults = self.faults;
        if faults > 0 {
            self.say(&format!("Sandbox started as {who}: {faults} not as it must be"));
        }
        faults == 0
    }
}
