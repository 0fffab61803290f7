//! Why the worker cannot start: what is wrong, what it is for, and what to do. Printed as is, with exit code 2.

use std::fmt;

/// A fault of configuration or host that a person has to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    what: String,
    advice: Vec<String>,
}

impl Problem {
    /// `what` in one sentence, without a full stop of its own missing.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), advice: Vec::new() }
    }

    /// A line below it: what the thing is for, where to find it, how to run without it.
    #[must_use]
    pub(crate) fn advice(mut self, line: impl Into<String>) -> Self {
        self.advice.push(line.into());
        self
    }

    /// What is wrong, in one line.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// What to do, line by line.
    pub(crate) fn lines(&self) -> &[String] {
        &self.advice
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ticketwright: {}", self.what)?;
        self.advice.iter().try_for_each(|line| write!(f, "\n  {}", line.replace('\n', "\n  ")))
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_what_and_below_it_what_to_do() {
        let problem = Problem::new("X is missing.").advice("It proves Y.").advice("Two\nlines.");
        assert_eq!(problem.to_string(), "ticketwright: X is missing.\n  It proves Y.\n  Two\n  lines.");
    }
}
