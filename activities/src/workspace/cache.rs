//! What the caches have in common: when they are looked over, and what leaves them first.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Settings, mirror, pool, setup, tidy};

/// Time between two looks: a look walks all mirrors.
const PERIOD: Duration = Duration::from_secs(600);

/// Looks the caches over now and then.
#[derive(Debug, Default)]
pub(super) struct Keeper(Mutex<Option<Instant>>);

impl Keeper {
    /// Looks them over in the background, if it is time.
    pub(super) fn tend(&self, settings: &Settings) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() > PERIOD) {
            *last = Some(Instant::now());
            let settings = settings.clone();
            tokio::spawn(async move {
                let looked = settings.clone();
                let evict = move || {
                    pool::evict(&looked);
                    mirror::evict(&looked);
                    setup::evict(&looked);
                };
                if tokio::task::spawn_blocking(evict).await.is_ok() {
                    tidy::tidy(&settings, tidy::UNTIDY).await;
                }
            });
        }
    }
}

/// Something in a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// When it was last of use.
    pub(super) used: SystemTime,
}

/// What has to go: all that was not used for `keep`, and of the rest what was not used longest, until `most` bytes are left.
pub(super) fn surplus(mut all: Vec<Kept>, most: u64, keep: Duration) -> Vec<PathBuf> {
    all.sort_by_key(|kept| std::cmp::Reverse(kept.used));
    let mut sum = 0u64;
    let mut is_surplus = |kept: &Kept| {
        sum = sum.saturating_add(kept.bytes);
        sum > most || kept.used.elapsed().is_ok_and(|unused| unused > keep)
    };
    all.into_iter().filter_map(|kept| is_surplus(&kept).then_some(kept.path)).collect()
}

/// Bytes on disk of all files below `directory`. Links are not followed.
pub(super) fn bytes_of(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        // `blocks` counts 512 bytes whatever the file system's block size is (stat(2)).
        .map(|(path, data)| if data.is_dir() { bytes_of(&path) } else { data.blocks() * 512 })
        .sum()
}

/// A name that no other worker of this host uses.
pub(super) fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{}-{now}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_goes_first() {
        let now = SystemTime::now();
        let kept = |name: &str, bytes, minutes: u64| Kept {
            path: name.into(),
            bytes,
            used: now - Duration::from_secs(60 * minutes),
        };
        let all = vec![kept("a", 40, 30), kept("b", 40, 1), kept("c", 40, 10), kept("d", 1, 100)];
        let hour = Duration::from_secs(3600);
        assert_eq!(surplus(all.clone(), 1000, hour), [PathBuf::from("d")]);
        assert_eq!(surplus(all.clone(), 80, hour), [PathBuf::from("a"), PathBuf::from("d")]);
        assert_eq!(surplus(all, 0, hour).len(), 4);
    }
}
