//! How many sandboxes run at once, and as which user each runs.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, lchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::walk::walk;

/// Time between two looks for a user id, when other workers of this host have them all.
const PERIOD: Duration = Duration::from_millis(100);

/// The free places. The kernel counts processes per user id, across sandboxes and workers: each running sandbox needs an
/// id that no other on this host has, so an id is taken by locking its file.
#[derive(Debug)]
pub(super) struct Slots {
    places: Arc<Semaphore>,
    first: u32,
    count: u32,
    /// Where the ids' files are; `None`: we are not root, and all run as the user we are.
    state: Option<PathBuf>,
}

/// One place, given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    id: Option<(u32, File)>,
    _place: OwnedSemaphorePermit,
}

impl Slots {
    /// `count` places, as root with the user ids from `first` on.
    ///
    /// `state`: where the ids' files are.
    pub(super) fn new(first: u32, count: u32, state: &Path) -> Self {
        let state = nix::unistd::geteuid().is_root().then(|| state.to_owned());
        Self { places: Arc::new(Semaphore::new(count as usize)), first, count, state }
    }

    /// Waits for a free place: as user `wanted`, if that id is one of ours and free.
    pub(super) async fn take(&self, wanted: Option<u32>) -> io::Result<Slot> {
        let place = self.places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let Some(state) = &self.state else { return Ok(Slot { id: None, _place: place }) };
        loop {
            let ids = self.first..self.first.saturating_add(self.count);
            for uid in wanted.filter(|uid| ids.contains(uid)).into_iter().chain(ids) {
                if let Some(file) = lock(state, uid)? {
                    return Ok(Slot { id: Some((uid, file)), _place: place });
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// A user id that is free now; `None`: we are not root, or all are taken.
    pub(super) fn spare(&self) -> Option<u32> {
        let state = self.state.as_ref()?;
        let mut ids = self.first..self.first.saturating_add(self.count);
        ids.find(|uid| lock(state, *uid).is_ok_and(|held| held.is_some()))
    }
}

/// The lock of a user id, if nobody holds it.
fn lock(state: &Path, uid: u32) -> io::Result<Option<File>> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(state.join(uid.to_string()))?;
    Ok(file.try_lock().is_ok().then_some(file))
}

impl Slot {
    /// The unprivileged user to switch to; `None`: we are not root and stay who we are.
    pub(super) fn uid(&self) -> Option<u32> {
        self.id.as_ref().map(|(uid, _)| *uid)
    }
}

/// Gives `path` and all below it to `uid`, until `stop` says that nobody needs it. Links themselves change owner, never what they
/// point to. What belongs to `uid` is not touched: a new time of change would make git read it again.
///
/// # Errors
/// [`io::ErrorKind::InvalidFilename`]: directories are nested deeper than can be followed. [`io::ErrorKind::Interrupted`]: it was
/// stopped.
pub(super) fn give_to(uid: u32, path: &Path, stop: &AtomicBool) -> io::Result<()> {
    walk(path, |path, data| {
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let is_given = data.uid() == uid && data.gid() == uid;
        if is_given { Ok(()) } else { lchown(path, Some(uid), Some(uid)) }
    })
}

/// Processes and threads that user `uid` has on this host now: they count against the limit of a sandbox that runs as the
/// same user.
pub(super) fn tasks_of(uid: u32) -> u64 {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter(|entry| entry.metadata().is_ok_and(|data| data.uid() == uid))
        .map(|entry| std::fs::read_dir(entry.path().join("task")).map_or(0, |tasks| tasks.count() as u64))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_changes_owner_once_nobody_needs_it() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), "x").unwrap();
        let (us, stop) = (nix::unistd::geteuid().as_raw(), AtomicBool::new(false));
        give_to(us, directory.path(), &stop).unwrap();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(give_to(us + 1, directory.path(), &stop).unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert_eq!(directory.path().metadata().unwrap().uid(), us);
    }
}
