//! Money in integer micro-dollars: sums of floats drift.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// An amount in millionths of a US dollar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MicroUsd(pub u64);

impl MicroUsd {
    /// Whole dollars.
    pub const fn dollars(usd: u64) -> Self {
        Self(usd * 1_000_000)
    }

    /// The amount as a float, for search attributes and people only.
    #[expect(clippy::cast_precision_loss, reason = "budgets are far below 2^53 micro-dollars")]
    pub fn as_usd(self) -> f64 {
        self.0 as f64 / 1_000_000.0
    }

    /// What is left of `self` after `spent`; never negative.
    #[must_use]
    pub fn saturating_sub(self, spent: Self) -> Self {
        Self(self.0.saturating_sub(spent.0))
    }
}

impl Add for MicroUsd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for MicroUsd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for MicroUsd {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.saturating_sub(other)
    }
}

impl std::iter::Sum for MicroUsd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

/// `$0.118`, or `$12.00` from one dollar on.
impl fmt::Display for MicroUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = if self.0 < 1_000_000 { 3 } else { 2 };
        write!(f, "${:.decimals$}", self.as_usd())
    }
}

/// Tokens of one or more model calls, as Bedrock counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Input tokens that were neither read from nor written to the prompt cache.
    pub input: u64,
    /// Tokens the model wrote.
    pub output: u64,
    /// Input tokens served from the prompt cache.
    pub cache_read: u64,
    /// Input tokens written to the prompt cache.
    pub cache_write: u64,
}

impl Usage {
    /// Tokens of the prompt, wherever they came from.
    pub fn prompt(&self) -> u64 {
        self.input + self.cache_read + self.cache_write
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input += other.input;
        self.output += other.output;
        self.cache_read += other.cache_read;
        self.cache_write += other.cache_write;
    }
}

/// Price of a model in micro-dollars per million tokens, which is the same number as dollars times 10^6 per million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Per million fresh input tokens.
    pub input: MicroUsd,
    /// Per million output tokens.
    pub output: MicroUsd,
    /// Per million input tokens read from the cache.
    pub cache_read: MicroUsd,
    /// Per million input tokens written to the cache.
    pub cache_write: MicroUsd,
}

impl Price {
    /// Cost of `usage`, rounded up so that a cap is never exceeded by rounding.
    pub fn cost(&self, usage: &Usage) -> MicroUsd {
        let part = |tokens: u64, per_million: MicroUsd| u128::from(tokens) * u128::from(per_million.0);
        let sum = part(usage.input, self.input)
            + part(usage.output, self.output)
            + part(usage.cache_read, self.cache_read)
            + part(usage.cache_write, self.cache_write);
        MicroUsd(u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_counts_every_kind_of_token_and_rounds_up() {
        let price = Price {
            input: MicroUsd::dollars(3),
            output: MicroUsd::dollars(15),
            cache_read: MicroUsd(300_000),
            cache_write: MicroUsd(3_750_000),
        };
        let usage = Usage { input: 1_000, output: 100, cache_read: 10_000, cache_write: 1_000 };
        assert_eq!(price.cost(&usage), MicroUsd(3_000 + 1_500 + 3_000 + 3_750));
        assert_eq!(price.cost(&Usage { input: 1, ..Usage::default() }), MicroUsd(3));
        assert_eq!(price.cost(&Usage { cache_read: 1, ..Usage::default() }), MicroUsd(1));
        assert_eq!(MicroUsd(118_000).to_string(), "$0.118");
        assert_eq!(MicroUsd::dollars(12).to_string(), "$12.00");
    }
}
