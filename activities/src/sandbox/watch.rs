//! Limits that the kernel does not count for a workspace, looked at while a command runs: disk, files, and where no control
//! group may be made, memory. A burst can pass them for a quarter of a second.

use std::collections::{HashMap, HashSet};
use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
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
pub(super) async fn over_limit(tree: &Tree, settings: &Settings, group: &Group, places: Vec<PathBuf>) -> String {
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
            if count_memory {
                let in_memory = files_in_memory(init);
                if in_memory.files > files {
                    let said = format!("memory: {} files in /tmp, /home/u and /dev/shm of {files}", in_memory.files);
                    return (watched, Some(said));
                }
                let used = memory_of(&processes(init)) + in_memory.bytes;
                if used > memory {
                    return (watched, Some(format!("memory: {} MB of {} MB", used >> 20, memory >> 20)));
                }
            }
            let said = watched.look(init);
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
    /// Whether the last walk met directories that it could not look into.
    hides: bool,
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
        Self { places, allowed: Usage { bytes, files }, at_start, walked: None, hides: false }
    }

    /// Walks only when enough was taken on the file systems for a limit to be near. `init`: the first process inside.
    fn look(&mut self, init: i32) -> Option<String> {
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
        // A test may close a directory for a moment. What stays closed may hide anything.
        let open = std::mem::take(&mut self.hides);
        for place in &self.places {
            match usage_of(place, open) {
                Ok((used, hides)) => {
                    self.hides |= hides;
                    found = Usage { bytes: found.bytes + used.bytes, files: found.files + used.files };
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {
                    return Some("disk: directories are nested too deep".into());
                }
                // The directory went away with the command's end.
                Err(_) => return None,
            }
        }
        found.bytes += deleted(&processes(init), &self.places);
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
        self.hides
            || near(taken(last.free.bytes, now.bytes), last.found.bytes, self.allowed.bytes)
            || near(taken(last.free.files, now.files), last.found.files, self.allowed.files)
            || age > LONGEST_TRUST
    }
}

/// What the file systems of `places` have left for those who are not root, each system once.
fn free(places: &[PathBuf]) -> Usage {
    let mut seen = HashSet::new();
    let mut systems = places.iter().filter(|place| place.metadata().is_ok_and(|data| seen.insert(data.dev())));
    systems.by_ref().filter_map(|place| statvfs(place).ok()).fold(Usage::default(), |sum, system| {
        // Both are `u64` on 64-bit systems and 32 bits wide elsewhere.
        let (blocks, size) = (system.blocks_available(), system.fragment_size());
        Usage { bytes: sum.bytes + blocks * size, files: sum.files + system.files_available() }
    })
}

/// What all files below `directory` take, and whether some may be hidden: a worker that is not root cannot look into directories
/// that a command has closed, and the command can go on writing there. `open`: whether such are opened. A file with several
/// names counts once.
fn usage_of(directory: &Path, open: bool) -> io::Result<(Usage, bool)> {
    let mut used = Usage::default();
    let mut linked = HashSet::new();
    let mut hides = false;
    let us = nix::unistd::geteuid();
    walk(directory, |path, data| {
        if data.is_dir() && !us.is_root() && data.uid() == us.as_raw() && data.mode() & 0o500 != 0o500 {
            hides = true;
            if open {
                open_up(path, data.mode())?;
            }
        }
        used.files += 1;
        if data.nlink() < 2 || data.is_dir() || linked.insert((data.dev(), data.ino())) {
            // `blocks` counts 512 bytes whatever the file system's block size is (stat(2)).
            used.bytes += data.blocks() * 512;
        }
        Ok(())
    })?;
    Ok((used, hides))
}

/// Lets the owner into a directory, and into no other that has taken its name meanwhile.
fn open_up(directory: &Path, mode: u32) -> io::Result<()> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_DIRECTORY;
    let held = OpenOptions::new().read(true).custom_flags(flags).open(directory)?;
    let path = format!("/proc/self/fd/{}", held.as_raw_fd());
    std::fs::set_permissions(path, Permissions::from_mode(mode & 0o7777 | 0o700))
}

/// Bytes of files without a name that processes hold open, or have mapped, on the file systems of `places`.
fn deleted(inside: &[u32], places: &[PathBuf]) -> u64 {
    let devices: HashSet<u64> = places.iter().filter_map(|place| Some(place.metadata().ok()?.dev())).collect();
    let open =
        open_files(inside).filter(|data| data.nlink() == 0).map(|data| ((data.dev(), data.ino()), data.blocks() * 512));
    let maps = inside.iter().filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/maps")).ok());
    let mapped: Vec<_> =
        maps.flat_map(|maps| maps.lines().filter_map(mapped_without_name).collect::<Vec<_>>()).collect();
    let mut files: HashMap<(u64, u64), u64> = HashMap::new();
    for (file, bytes) in open.chain(mapped).filter(|((device, _), _)| devices.contains(device)) {
        let known = files.entry(file).or_default();
        *known = bytes.max(*known);
    }
    files.into_values().sum()
}

/// Device, inode and end of a file that a line of `/proc/<pid>/maps` (proc_pid_maps(5)) shows as deleted:
/// `7f0-7f1 rw-s 00001000 fd:01 1234 /path (deleted)`.
fn mapped_without_name(line: &str) -> Option<((u64, u64), u64)> {
    let mut fields = line.strip_suffix(" (deleted)")?.split_ascii_whitespace();
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (from, to) = fields.next()?.split_once('-')?;
    let offset = hex(fields.nth(1)?)?;
    let (major, minor) = fields.next()?.split_once(':')?;
    let inode = fields.next()?.parse().ok().filter(|inode| *inode > 0)?;
    let device = nix::sys::stat::makedev(hex(major)?, hex(minor)?);
    Some(((device, inode), offset + hex(to)?.checked_sub(hex(from)?)?))
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

/// What the file systems in memory hold that a sandbox has for itself. `init`: its first process.
fn files_in_memory(init: i32) -> Usage {
    let mut used = Usage::default();
    for place in ["tmp", "home/u", "dev/shm"] {
        let (inside, host) = (format!("/proc/{init}/root/{place}"), format!("/{place}"));
        let device = |path: &str| std::fs::metadata(path).ok().map(|data| data.dev());
        // Until the sandbox has its own root, this is the host's.
        if init > 0
            && device(&inside) != device(&host)
            && let Ok(system) = statvfs(inside.as_str())
        {
            let blocks = system.blocks().saturating_sub(system.blocks_free());
            used.bytes += blocks * system.fragment_size();
            used.files += system.files().saturating_sub(system.files_free());
        }
    }
    used
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
        let (once, _) = usage_of(directory.path(), false).unwrap();
        std::fs::hard_link(&path, directory.path().join("again")).unwrap();
        let (twice, _) = usage_of(directory.path(), false).unwrap();
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
    fn two_places_on_one_file_system_have_its_space_once() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().to_owned();
        let (one, two) = (free(std::slice::from_ref(&place)), free(&[place.clone(), place.clone()]));
        // Others write meanwhile.
        assert!(two.bytes < one.bytes + one.bytes / 2, "{one:?} {two:?}");
        let system = statvfs(&place).unwrap();
        let for_all = system.blocks_free() * system.fragment_size();
        assert!(one.bytes <= for_all, "without what is root's");
    }

    #[test]
    fn a_mapped_file_without_a_name_is_read_from_the_maps() {
        let line = "7f0000000000-7f0000200000 rw-s 00001000 fd:01 1234                       /w/a b (deleted)";
        let device = nix::sys::stat::makedev(0xfd, 1);
        assert_eq!(mapped_without_name(line), Some(((device, 1234), 0x20_1000)));
        assert_eq!(mapped_without_name("7f00-7f01 r-xp 00000000 fd:01 1234  /usr/bin/bash"), None);
    }

    #[test]
    fn a_directory_that_stays_closed_is_opened_and_counted() {
        let directory = crate::sandbox::tests::open_directory();
        let closed = directory.path().join("closed");
        std::fs::create_dir(&closed).unwrap();
        std::fs::write(closed.join("big"), vec![1; 3 << 20]).unwrap();
        let close = || std::fs::set_permissions(&closed, Permissions::from_mode(0o300)).unwrap();
        close();
        let root = directory.path().to_owned();
        if nix::unistd::geteuid().is_root() {
            // Root looks into everything.
            assert!(usage_of(&root, false).unwrap().0.bytes >= 3 << 20);
            return;
        }
        let (hidden, hides) = usage_of(&root, false).unwrap();
        assert!(hides && hidden.bytes < 3 << 20);
        let (found, _) = usage_of(&root, true).unwrap();
        assert!(found.bytes >= 3 << 20);
    }

    #[test]
    fn a_walk_is_due_when_half_of_what_is_left_was_taken() {
        let disk = Disk {
            places: Vec::new(),
            allowed: Usage { bytes: 100, files: 100 },
            at_start: 0,
            walked: None,
            hides: false,
        };
        let usage = |bytes, files| Usage { bytes, files };
        let last = Walked { found: usage(40, 40), free: usage(1000, 1000), at: Instant::now(), took: Duration::ZERO };
        let due = |free| disk.is_due(last, free);
        assert_eq!([due(usage(970, 970)), due(usage(969, 1000)), due(usage(1000, 969))], [false, true, true]);
        let slow = Walked { took: Duration::from_secs(60), ..last };
        assert!(!disk.is_due(slow, usage(0, 0)), "walking does not take all the time there is");
    }
}
