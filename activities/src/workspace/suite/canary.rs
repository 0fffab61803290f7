//! A pair of tests of the harness's own, one that passes and one that fails. A runner that does not report both as what they
//! are is not believed about the others.

use std::hash::{BuildHasher as _, RandomState};

/// Random words and numbers of one run. Nothing a repository holds can know them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::workspace) struct Nonce {
    seed: u64,
}

impl Nonce {
    /// A new one: the standard library's hasher has keys from the system's random numbers.
    pub(in crate::workspace) fn new() -> Self {
        Self { seed: RandomState::new().hash_one("nonce") }
    }

    /// A word of twelve small letters; the same for the same `n`. Neither tells which is which.
    pub(in crate::workspace) fn word(&self, n: u8) -> String {
        let mut rest = mixed(self.seed, n);
        let letter = |rest: &mut u64| {
            let letter = char::from(b'a' + u8::try_from(*rest % 26).unwrap_or_default());
            *rest /= 26;
            letter
        };
        (0..12).map(|_| letter(&mut rest)).collect()
    }

    /// Two texts one after the other, the first of them sometimes the second.
    pub(in crate::workspace) fn in_any_order(&self, one: &str, other: &str) -> String {
        let (first, second) = if mixed(self.seed, 255) & 1 == 0 { (one, other) } else { (other, one) };
        format!("{first}{second}")
    }

    /// A number of five digits; the same for the same `n`.
    pub(in crate::workspace) fn number(&self, n: u8) -> u64 {
        10_000 + mixed(self.seed, n) % 80_000
    }
}

/// The canaries beside the new tests of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::workspace) struct Canary {
    /// The file to write, from the repository's root: the test file itself or a new one beside it.
    pub(in crate::workspace) path: String,
    /// All of its content.
    pub(in crate::workspace) content: String,
    /// Part of the id of the test that passes. It occurs in no other id, because there is a word of the nonce in it.
    pub(in crate::workspace) passes: String,
    /// Part of the id of the test that fails.
    pub(in crate::workspace) fails: String,
}

/// SplitMix64, over the seed and a position.
fn mixed(seed: u64, n: u8) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(u64::from(n) + 1));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_stable_within_a_run_and_new_in_the_next() {
        let (one, two) = (Nonce::new(), Nonce::new());
        assert_eq!(one.word(1), one.word(1));
        assert_ne!(one.word(1), one.word(2));
        assert_ne!(one.word(1), two.word(1));
        assert!(one.word(3).len() == 12 && one.word(3).chars().all(|c| c.is_ascii_lowercase()));
        let orders: std::collections::BTreeSet<String> = (0..64).map(|_| Nonce::new().in_any_order("a", "b")).collect();
        assert_eq!(orders.len(), 2);
        assert!((10_000..90_000).contains(&one.number(1)));
    }
}
