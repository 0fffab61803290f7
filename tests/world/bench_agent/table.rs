//! What was measured, line by line, and which bars were missed.

use std::io::Write as _;

/// Prints as it goes: some measurements take minutes.
#[derive(Debug, Default)]
pub(crate) struct Report {
    missed: Vec<String>,
}

impl Report {
    /// A line of text.
    pub(crate) fn line(&self, line: &str) -> anyhow::Result<()> {
        Ok(writeln!(std::io::stdout(), "{line}")?)
    }

    /// A measured value with the most it may be.
    pub(crate) fn bar(&mut self, what: &str, value: f64, most: f64) -> anyhow::Result<()> {
        let held = value <= most;
        if !held {
            self.missed.push(format!("{what}: {value:.3}, at most {most:.3}"));
        }
        self.line(&format!("  {} {what}: {value:.3} (at most {most:.3})", if held { "✓" } else { "✗" }))
    }

    /// Whether every bar was held; names those that were not.
    pub(crate) fn finish(self) -> anyhow::Result<bool> {
        self.line("")?;
        if self.missed.is_empty() {
            self.line("All bars held.")?;
            return Ok(true);
        }
        self.line("Missed:")?;
        for missed in &self.missed {
            self.line(&format!("  {missed}"))?;
        }
        Ok(false)
    }
}

/// The middle of some values; of an even number the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match (values.len() % 2, values.get(half), half.checked_sub(1).and_then(|n| values.get(n))) {
        (0, Some(upper), Some(lower)) => f64::midpoint(*upper, *lower),
        (_, Some(middle), _) => *middle,
        _ => f64::NAN,
    }
}

/// `part / whole`, of counts that are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "bytes and tokens of a benchmark")]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(vec![]).is_nan());
    }

    #[test]
    fn a_missed_bar_is_remembered() {
        let mut report = Report::default();
        report.bar("x", 1.3, 1.3).unwrap();
        assert!(report.missed.is_empty());
        report.bar("x", f64::NAN, 1.3).unwrap();
        assert!(!report.finish().unwrap(), "what could not be measured does not hold");
    }
}
