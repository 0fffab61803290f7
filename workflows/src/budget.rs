//! Money of a root run: what it may spend, what it spent, what its agents hold.

use serde::{Deserialize, Serialize};

use crate::contract::money::MicroUsd;

/// The account. `spent + leased` never exceeds `cap`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Hard cap.
    pub cap: MicroUsd,
    /// Paid for.
    pub spent: MicroUsd,
    /// Held by agents that run now.
    pub leased: MicroUsd,
}

impl Budget {
    /// Takes one of `shares` equal parts of what is free; `None` when nothing is.
    pub fn lease(&mut self, shares: u64) -> Option<MicroUsd> {
        let free = self.cap - self.spent - self.leased;
        let part = MicroUsd(free.0 / shares.max(1));
        if part == MicroUsd::default() {
            return None;
        }
        self.leased += part;
        Some(part)
    }

    /// Gives a lease back: `spent` of it is gone.
    pub fn settle(&mut self, lease: MicroUsd, spent: MicroUsd) {
        self.leased = self.leased - lease;
        self.spent += spent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_never_exceed_the_cap() {
        let mut budget = Budget { cap: MicroUsd(100), ..Budget::default() };
        let first = budget.lease(2).unwrap();
        let second = budget.lease(1).unwrap();
        assert_eq!((first, second), (MicroUsd(50), MicroUsd(50)));
        assert_eq!(budget.lease(1), None);
        budget.settle(first, MicroUsd(20));
        assert_eq!(budget.lease(1), Some(MicroUsd(30)));
    }
}
