//! Limits that the kernel does not count for a workspace, looked at while a command runs: disk, files, and where no control
//! group may be made, memory. A burst can pass them for a quarter of a second.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;

use super::Settings;
use super::groups::Group;
use super::tree::Tree;
use super::walk::walk;

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(250);
/// A workspace is walked through this often though its file system does not fill up: somebody else may make room there
/// as fast as the command takes it.
const LONGEST_TRUST: Duration = Duration::from_secs(4);
/// Part of the time that walking may take, as a divisor.
const WALKING_SHARE: u32 = 4;
/// Space that a command may not take from its host, even where nobody can tell which files have it: 512 MB.
const RESERVE: u64 = 512 << 20;
/// What a command must have taken before the host's lack of space is its own doing: 64 MB.
const OWN_DOING: u64 = 64 << 20;

/// Waits until the tree is over a limit, and says which. Never returns otherwise.
pub(super) async fn over_limit(tree: &Tree, settings: &Settings, group: &Group<'_>, places: Vec<PathBuf>) -> String {
    let (memory, disk, files) = (settings.memory_bytes, settings.disk_bytes, settings.files);
    let mut watched = Disk::new(places, disk, files);
    loop {
        tokio::time::sleep(PERIOD).await;
        if group.ran_out_of_memory() {
            return out_of_memory(memory);
        }
        let init = tree.init();
        let count_memory = !group.counts_memory();
        let look = move || {
            let inside = processes(init);
            let used = if count_memory { memory_of(&inside) } else { 0 };
            if used > memory {
                return (watched, Some(format!("memory: {} MB of {} MB", used >> 20, memory >> 20)));
            }
            let said = watched.look(&inside);
            (watched, said)
        };
        match tokio::task::spawn_blocking(look).await {
            Ok((_, Some(over))) => return over,
            Ok((next, None)) => watched = next,
            // Its thread was ended: the worker stops, and this future with it.
            Err(_) => return std::future::pending().await,
        }
    }
}

/// What a command is told that the kernel stopped.
pub(super) fn out_of_memory(allowed: u64) -> String {
    format!("memory: {} MB is all it may have, files in /tmp, /home/u and /dev/shm included", allowed >> 20)
}

/// What the writable directories of a command hold.
#[derive(Debug)]
struct Disk {
    places: Vec<PathBuf>,
    allowed: Usage,
    /// Free on the file systems when the command started, in bytes.
    at_start: u64,
    walked: Option<Walked>,
}

/// Bytes on disk, and files with directories.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Usage {
    bytes: u64,
    files: u64,
}

#[derive(Debug, Clone, Copy)]
struct Walked {
    found: Usage,
    /// What the file systems had left.
    free: Usage,
    at: Instant,
    took: Duration,
}

impl Disk {
    fn new(places: Vec<PathBuf>, bytes: u64, files: u64) -> Self {
        let at_start = free(&places).bytes;
        Self { places, allowed: Usage { bytes, files }, at_start, walked: None }
    }

    /// Walks only when enough was taken on the file systems for a limit to be near.
    fn look(&mut self, inside: &[u32]) -> Option<String> {
        if self.places.is_empty() {
            return None;
        }
        let now = free(&self.places);
        if now.bytes < RESERVE && self.at_start.saturating_sub(now.bytes) > OWN_DOING {
            return Some(format!("disk: the host has {} MB left", now.bytes >> 20));
        }
        if self.walked.is_some_and(|last| !self.is_due(last, now)) {
            return None;
        }
        let started = Instant::now();
        let mut found = Usage::default();
        for place in &self.places {
            match usage_of(place) {
                Ok(used) => found = Usage { bytes: found.bytes + used.bytes, files: found.files + used.files },
                Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {
                    return Some("disk: directories are nested too deep".into());
                }
                // The directory went away with the command's end.
                Err(_) => return None,
            }
        }
        found.bytes += deleted(inside, &self.places);
        self.walked = Some(Walked { found, free: now, at: started, took: started.elapsed() });
        let Usage { bytes, files } = self.allowed;
        if found.bytes > bytes {
            return Some(format!("disk: {} MB of {} MB", found.bytes >> 20, bytes >> 20));
        }
        (found.files > files).then(|| format!("disk: {} files of {files}", found.files))
    }

    fn is_due(&self, last: Walked, now: Usage) -> bool {
        let taken = |before: u64, now: u64| before.saturating_sub(now);
        let near = |taken: u64, used: u64, allowed: u64| taken > allowed.saturating_sub(used) / 2;
        let age = last.at.elapsed();
        if age < last.took * WALKING_SHARE {
            return false;
        }
        near(taken(last.free.bytes, now.bytes), last.found.bytes, self.allowed.bytes)
            || near(taken(last.free.files, now.files), last.found.files, self.allowed.files)
            || age > LONGEST_TRUST
    }
}

/// What the file systems of `places` have left, each place for itself.
fn free(places: &[PathBuf]) -> Usage {
    places.iter().filter_map(|place| statvfs(place).ok()).fold(Usage::default(), |sum, system| {
        // Both are `u64` on 64-bit systems and 32 bits wide elsewhere.
        let (blocks, size) = (system.blocks_free(), system.fragment_size());
        Usage { bytes: sum.bytes + blocks * size, files: sum.files + system.files_free() }
    })
}

/// What all files below `directory` take. A file with several names counts once.
fn usage_of(directory: &Path) -> io::Result<Usage> {
    let mut used = Usage::default();
    let mut linked = HashSet::new();
    walk(directory, |_, data| {
        used.files += 1;
        if data.nlink() < 2 || data.is_dir() || linked.insert((data.dev(), data.ino())) {
            // `blocks` counts 512 bytes whatever the file system's block size is (stat(2)).
            used.bytes += data.blocks() * 512;
        }
        Ok(())
    })?;
    Ok(used)
}

/// Bytes of files without a name that processes hold open on the file systems of `places`.
fn deleted(inside: &[u32], places: &[PathBuf]) -> u64 {
    let devices: HashSet<u64> = places.iter().filter_map(|place| Some(place.metadata().ok()?.dev())).collect();
    open_files(inside)
        .filter(|data| data.nlink() == 0 && devices.contains(&data.dev()))
        .map(|data| data.blocks() * 512)
        .sum()
}

/// Each file that the processes hold open, once.
fn open_files(inside: &[u32]) -> impl Iterator<Item = std::fs::Metadata> {
    let mut seen = HashSet::new();
    inside
        .iter()
        .filter_map(|pid| std::fs::read_dir(format!("/proc/{pid}/fd")).ok())
        .flatten()
        .filter_map(|entry| std::fs::metadata(entry.ok()?.path()).ok())
        .filter(move |data| data.is_file() && seen.insert((data.dev(), data.ino())))
}

/// All processes in the PID namespace of `init`, as the host numbers them.
fn processes(init: i32) -> Vec<u32> {
    let namespace_of = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/pid"));
    let Some(inside) = u32::try_from(init).ok().filter(|init| *init > 0).and_then(|init| namespace_of(init).ok())
    else {
        return Vec::new();
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| namespace_of(*pid).is_ok_and(|namespace| namespace == inside))
        .collect()
}

/// Anonymous and shared memory of the processes, and files in memory that no directory shows, in bytes.
fn memory_of(inside: &[u32]) -> u64 {
    let status = inside.iter().filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).ok());
    let held: u64 = status.map(|status| resident(&status)).sum();
    // memfd_create(2): on a device of the kernel's own, the one that our own such files are on.
    let device =
        super::memory_file(&[]).map(std::fs::File::from).and_then(|file| file.metadata()).map(|data| data.dev());
    let unnamed = open_files(inside).filter(|data| device.as_ref().is_ok_and(|device| *device == data.dev()));
    held + unnamed.map(|data| data.blocks() * 512).sum::<u64>()
}

fn resident(status: &str) -> u64 {
    let kilobytes = |line: &str| line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
    status
        .lines()
        .filter(|line| line.starts_with("RssAnon:") || line.starts_with("RssShmem:"))
        .map(kilobytes)
        .sum::<u64>()
        * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_leaves_out_mapped_files() {
        let status =
            "Name:\tpython3\nVmRSS:\t   900 kB\nRssAnon:\t   600 kB\nRssFile:\t   200 kB\nRssShmem:\t   100 kB\n";
        assert_eq!(resident(status), 700 * 1024);
    }

    #[test]
    fn a_file_with_two_names_counts_once_and_one_without_a_name_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, vec![1; 1 << 20]).unwrap();
        let once = usage_of(directory.path()).unwrap();
        std::fs::hard_link(&path, directory.path().join("again")).unwrap();
        let twice = usage_of(directory.path()).unwrap();
        assert_eq!((twice.bytes, twice.files), (once.bytes, once.files + 1));

        let held = std::fs::File::open(&path).unwrap();
        let places = [directory.path().to_owned()];
        let before = deleted(&[std::process::id()], &places);
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(directory.path().join("again")).unwrap();
        // Other tests of this process may hold such files too.
        assert!(deleted(&[std::process::id()], &places) >= before.max(1 << 20));
        drop(held);
    }

    #[test]
    fn a_walk_is_due_when_half_of_what_is_left_was_taken() {
        let disk = Disk { places: Vec::new(), allowed: Usage { bytes: 100, files: 100 }, at_start: 0, walked: None };
        let usage = |bytes, files| Usage { bytes, files };
        let last = Walked { found: usage(40, 40), free: usage(1000, 1000), at: Instant::now(), took: Duration::ZERO };
        let due = |free| disk.is_due(last, free);
        assert_eq!([due(usage(970, 970)), due(usage(969, 1000)), due(usage(1000, 969))], [false, true, true]);
        let slow = Walked { took: Duration::from_secs(60), ..last };
        assert!(!disk.is_due(slow, usage(0, 0)), "walking does not take all the time there is");
    }
}
