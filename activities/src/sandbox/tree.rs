//! A running sandbox: its processes, and how they are ended all together.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;

use super::raw;

/// Ticks, a hundred a second, in which bubblewrap has started its first process inside.
const SOON: u64 = 3_000;
/// Time the kernel gets to tear a process tree down, in milliseconds. It needs one or two.
const TEAR_DOWN_MILLISECONDS: i32 = 5_000;

/// Looks for an orphan that is being torn down, and the time between them: 100 ms together.
const ORPHAN_LOOKS: u32 = 50;
const ORPHAN_PERIOD: Duration = Duration::from_millis(2);

/// bubblewrap and everything it started. Dropping it kills all and waits until nothing is left.
#[derive(Debug)]
pub(super) struct Tree {
    bubblewrap: Child,
    ended: AsyncFd<OwnedFd>,
    /// First process inside, as the host numbers it; 0 until bubblewrap has told.
    init: AtomicI32,
    /// Readable once that process has ended, which it does after all others inside.
    inside: OnceLock<OwnedFd>,
    reaped: bool,
    record: Option<PathBuf>,
}

impl Tree {
    /// Takes charge of a started bubblewrap, and writes its process group to `record` for [`end_recorded`].
    pub(super) fn new(bubblewrap: Child, record: Option<PathBuf>) -> io::Result<Self> {
        let watch = raw::pidfd_open(bubblewrap.id()).and_then(raw::watch);
        let ended = match watch {
            Ok(ended) => ended,
            Err(error) => {
                end(bubblewrap);
                return Err(error);
            }
        };
        let tree = Self { bubblewrap, ended, init: AtomicI32::new(0), inside: OnceLock::new(), reaped: false, record };
        if let Some(record) = &tree.record {
            let pid = tree.bubblewrap.id();
            std::fs::write(record, format!("{pid} {}", start_time(pid).unwrap_or_default()))?;
        }
        Ok(tree)
    }

    /// Notes the first process inside, once bubblewrap has told its id.
    pub(super) fn set_init(&self, pid: i32) {
        self.init.store(pid, Ordering::Release);
        if let Some(Ok(inside)) = u32::try_from(pid).ok().map(raw::pidfd_open) {
            let _ = self.inside.set(inside);
        }
    }

    /// The first process inside; 0 until known.
    pub(super) fn init(&self) -> i32 {
        self.init.load(Ordering::Acquire)
    }

    /// Waits until bubblewrap has ended.
    pub(super) async fn ended(&self) -> io::Result<()> {
        self.ended.readable().await.map(|_| ())
    }

    /// How bubblewrap ended; waits for it.
    pub(super) fn reap(&mut self) -> io::Result<ExitStatus> {
        let status = self.bubblewrap.wait()?;
        self.reaped = true;
        // bubblewrap ends as soon as the command has; what the command left behind is then torn down with its namespace.
        if let Some(inside) = self.inside.get() {
            raw::readable_within(inside.as_fd(), TEAR_DOWN_MILLISECONDS);
        }
        self.reap_orphan();
        if let Some(record) = &self.record {
            let _ = std::fs::remove_file(record);
        }
        Ok(status)
    }

    /// When bubblewrap was killed before the first process inside, that one becomes a child of the first process of this
    /// container. If that is us, nobody else takes it off the kernel's list.
    fn reap_orphan(&self) {
        let init = self.init();
        let mut left = ORPHAN_LOOKS;
        while init > 0 && left > 0 {
            match waitpid(Pid::from_raw(init), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => std::thread::sleep(ORPHAN_PERIOD),
                // Taken, or not ours.
                _ => return,
            }
            left -= 1;
        }
    }

    /// Kills everything and waits until nothing is left. The death of the first process inside takes all others of its
    /// namespace along, and bubblewrap ends only when that is done.
    pub(super) fn kill(&self) {
        let bubblewrap = self.bubblewrap.id();
        // Nobody may have read yet what bubblewrap told.
        let init = match self.init() {
            0 => child_of(bubblewrap),
            init => Some(init),
        };
        let inside = init.and_then(|init| raw::pidfd_open(u32::try_from(init).ok()?).ok());
        if let Some(init) = init {
            let _ = kill(Pid::from_raw(init), Signal::SIGKILL);
            if raw::readable_within(self.ended.get_ref().as_fd(), TEAR_DOWN_MILLISECONDS) {
                return;
            }
        }
        // Still being set up, or bubblewrap itself is stuck: its death kills the inside by PDEATHSIG.
        if let Ok(group) = i32::try_from(bubblewrap) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        raw::readable_within(self.ended.get_ref().as_fd(), TEAR_DOWN_MILLISECONDS);
        if let Some(inside) = inside {
            raw::readable_within(inside.as_fd(), TEAR_DOWN_MILLISECONDS);
        }
    }
}

/// Ends a bubblewrap that nobody has taken charge of, and what runs inside.
pub(super) fn end(mut bubblewrap: Child) {
    let watch = raw::pidfd_open(bubblewrap.id());
    if let (Some(init), Ok(watch)) = (child_of(bubblewrap.id()), &watch) {
        let _ = kill(Pid::from_raw(init), Signal::SIGKILL);
        raw::readable_within(watch.as_fd(), TEAR_DOWN_MILLISECONDS);
    }
    let _ = bubblewrap.kill();
    let _ = bubblewrap.wait();
}

/// The process that `parent` has started, if it has.
fn child_of(parent: u32) -> Option<i32> {
    let entries = std::fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let mut processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // Field 4 of proc_pid_stat(5), the second after the name.
    processes.find(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(1)?.parse().ok()) == Some(parent)
    })
}

impl Drop for Tree {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            let _ = self.reap();
        }
    }
}

/// Whether the tree was ended from outside: by a newer attempt, or an operator.
pub(super) fn was_killed(status: ExitStatus) -> bool {
    status.signal().is_some()
}

/// Ends the process group that `record` names, if it is still that one. Process ids are used again, so the start time must match.
pub fn end_recorded(record: &Path) {
    let Ok(text) = std::fs::read_to_string(record) else { return };
    let Some((pid, started)) = text.split_once(' ') else { return };
    let Ok(pid) = pid.parse::<u32>() else { return };
    if start_time(pid).is_some_and(|now| now == started)
        && let Ok(group) = i32::try_from(pid)
    {
        let watch = raw::pidfd_open(pid);
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        if let Ok(watch) = watch {
            raw::readable_within(watch.as_fd(), TEAR_DOWN_MILLISECONDS);
        }
        return;
    }
    end_orphans(pid, started);
}

/// A worker that dies in the very moment of a launch takes bubblewrap along, and the first process inside waits for it for ever:
/// it stands in bubblewrap's group, whose number is given to nobody while it lives, and started right after it.
fn end_orphans(group: u32, started: &str) {
    let ticks = |time: &str| time.parse::<u64>().ok();
    let Some(began) = ticks(started) else { return };
    for entry in std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Some(fields) = entry.path().to_str().and_then(stat) else { continue };
        let soon = fields.started.as_deref().and_then(ticks).is_some_and(|time| (began..began + SOON).contains(&time));
        if fields.group == Some(group) && soon {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// When the process started: ticks since boot.
pub(super) fn start_time(pid: u32) -> Option<String> {
    stat(&format!("/proc/{pid}"))?.started
}

/// Some of `/proc/<pid>/stat` (proc_pid_stat(5)).
struct Stat {
    /// Field 5, the process group.
    group: Option<u32>,
    /// Field 22, ticks since boot when the process started.
    started: Option<String>,
}

fn stat(process: &str) -> Option<Stat> {
    let stat = std::fs::read_to_string(format!("{process}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the fields after it are numbers.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let started = fields.get(19).map(|time| (*time).to_owned());
    Some(Stat { group: fields.get(2).and_then(|group| group.parse().ok()), started })
}
