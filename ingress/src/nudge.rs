//! Coalescing of check events. A push with forty checks brings forty events within seconds; each is but a nudge to read
//! GitHub again, so one signal at once and one after the storm do.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use workflows::contract::trigger::ChecksChanged;

/// One head, and the run that waits for its checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nudge {
    /// Workflow id.
    pub(crate) target: String,
    pub(crate) news: ChecksChanged,
}

/// Heads that were signalled a moment ago, and whether news came since.
#[derive(Debug, Default)]
pub(crate) struct Nudges {
    recent: Mutex<HashMap<String, (Nudge, Since)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Nothing,
    News,
}

impl Nudges {
    /// Notes an event. `true`: the first for its head, the caller signals now and calls [`Self::due`] after a while.
    /// `false`: noted for that later signal.
    pub(crate) fn note(&self, nudge: &Nudge) -> bool {
        let mut recent = self.lock();
        match recent.get_mut(&key(nudge)) {
            Some((_, since)) => {
                *since = Since::News;
                false
            }
            None => {
                recent.insert(key(nudge), (nudge.clone(), Since::Nothing));
                true
            }
        }
    }

    /// After a while: `true` when news came meanwhile, the caller signals again and comes back; `false` ends it.
    pub(crate) fn due(&self, nudge: &Nudge) -> bool {
        let mut recent = self.lock();
        match recent.get_mut(&key(nudge)) {
            Some((_, since @ Since::News)) => {
                *since = Since::Nothing;
                true
            }
            Some((_, Since::Nothing)) => {
                recent.remove(&key(nudge));
                false
            }
            None => false,
        }
    }

    /// Everything that waits for its later signal, for the moment before the process ends.
    pub(crate) fn drain(&self) -> Vec<Nudge> {
        let mut recent = self.lock();
        let waiting = recent.drain().filter(|(_, (_, since))| *since == Since::News);
        waiting.map(|(_, (nudge, _))| nudge).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Nudge, Since)>> {
        // Every critical section is a single map operation: a poisoned lock still guards a whole map.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(nudge: &Nudge) -> String {
    format!("{} {} {}", nudge.target, nudge.news.repository, nudge.news.sha)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nudge(sha: char) -> Nudge {
        let sha = sha.to_string().repeat(40).parse().unwrap();
        let news = ChecksChanged { repository: "acme/shop-api".parse().unwrap(), sha };
        Nudge { target: "ticket-SHOP-1".into(), news }
    }

    #[test]
    fn a_storm_is_one_signal_at_once_and_one_after() {
        let nudges = Nudges::default();
        assert!(nudges.note(&nudge('a')));
        for _ in 0..40 {
            assert!(!nudges.note(&nudge('a')));
        }
        assert!(nudges.note(&nudge('b')), "another head is another matter");
        assert!(nudges.due(&nudge('a')));
        assert!(!nudges.due(&nudge('a')), "nothing came since");
        assert!(nudges.note(&nudge('a')), "a new storm begins with a signal at once");
    }

    #[test]
    fn what_still_waits_at_the_end_is_not_lost() {
        let nudges = Nudges::default();
        nudges.note(&nudge('a'));
        nudges.note(&nudge('b'));
        nudges.note(&nudge('b'));
        assert_eq!(nudges.drain(), vec![nudge('b')]);
        assert!(nudges.drain().is_empty());
    }
}
