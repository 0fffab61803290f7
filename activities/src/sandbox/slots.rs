//! How many sandboxes run at once, and as which user each runs.

use std::os::unix::fs::lchown;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The free user ids. The kernel counts processes per user id, across sandboxes: each running one needs its own.
#[derive(Debug)]
pub(super) struct Slots {
    places: Arc<Semaphore>,
    free: Arc<Mutex<Vec<u32>>>,
}

/// One place, given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    uid: Option<u32>,
    free: Arc<Mutex<Vec<u32>>>,
    _place: OwnedSemaphorePermit,
}

impl Slots {
    /// `count` places; with user ids from `first` on when we are root, else all as the user we are.
    pub(super) fn new(first: u32, count: u32) -> Self {
        let ids = if nix::unistd::geteuid().is_root() {
            (first..first.saturating_add(count)).rev().collect()
        } else {
            Vec::new()
        };
        Self { places: Arc::new(Semaphore::new(count as usize)), free: Arc::new(Mutex::new(ids)) }
    }

    /// Waits for a free place. `None` never happens: the semaphore is never closed.
    pub(super) async fn take(&self) -> Option<Slot> {
        let place = self.places.clone().acquire_owned().await.ok()?;
        let uid = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Some(Slot { uid, free: self.free.clone(), _place: place })
    }
}

impl Slot {
    /// The unprivileged user to switch to; `None`: we are not root and stay who we are.
    pub(super) fn uid(&self) -> Option<u32> {
        self.uid
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(uid) = self.uid {
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(uid);
        }
    }
}

/// Gives `path` and all below it to `uid`. Links themselves change owner, never what they point to.
pub(super) fn give_to(uid: u32, path: &Path) -> std::io::Result<()> {
    lchown(path, Some(uid), Some(uid))?;
    if path.symlink_metadata()?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give_to(uid, &entry?.path())?;
        }
    }
    Ok(())
}

/// Processes and threads that user `uid` has on this host now: they count against the limit of a sandbox that runs as the
/// same user.
pub(super) fn tasks_of(uid: u32) -> u64 {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter(|entry| {
            use std::os::unix::fs::MetadataExt as _;
            entry.metadata().is_ok_and(|data| data.uid() == uid)
        })
        .map(|entry| std::fs::read_dir(entry.path().join("task")).map_or(0, |tasks| tasks.count() as u64))
        .sum()
}
