//! A running sandbox: its processes, and how they are ended all together.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;

use super::raw;

/// Ticks, a hundred a second, in which bubblewrap has started its first process inside.
const SOON: u64 = 3_000;
/// Time the kernel gets to tear a process tree down. It needs one or two milliseconds, under load some hundred.
const TEAR_DOWN: Duration = Duration::from_secs(5);
const TEAR_DOWN_MILLISECONDS: i32 = 5_000;

/// bubblewrap and everything it started. Dropping it kills all and waits until nothing is left.
#[derive(Debug)]
pub(super) struct Tree {
    bubblewrap: Child,
    ended: AsyncFd<OwnedFd>,
    /// First process inside, as the host numbers it; 0 until bubblewrap has told.
    init: AtomicI32,
    /// Readable once that process has ended, which it does after all others inside.
    inside: OnceLock<AsyncFd<OwnedFd>>,
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
            std::fs::write(record, format!("{pid} {}\n", start_time(pid).unwrap_or_default()))?;
        }
        Ok(tree)
    }

    /// Notes the first process inside, once bubblewrap has told its id.
    pub(super) fn set_init(&self, pid: i32) {
        if self.init.swap(pid, Ordering::AcqRel) == pid {
            return;
        }
        let Ok(number) = u32::try_from(pid) else { return };
        // One that is gone needs no watch.
        let Ok(inside) = raw::pidfd_open(number).and_then(raw::watch) else { return };
        if let Some(record) = &self.record {
            let line = format!("{number} {}\n", start_time(number).unwrap_or_default());
            let noted =
                OpenOptions::new().append(true).open(record).and_then(|mut file| file.write_all(line.as_bytes()));
            if let Err(error) = noted {
                tracing::debug!(%error, "a command's first process could not be noted");
            }
        }
        let _ = self.inside.set(inside);
    }

    /// The first process inside; 0 until known.
    pub(super) fn init(&self) -> i32 {
        self.init.load(Ordering::Acquire)
    }

    /// Waits until bubblewrap has ended.
    pub(super) async fn ended(&self) -> io::Result<()> {
        self.ended.readable().await.map(|_| ())
    }

    /// Waits until nothing is left inside: bubblewrap ends as soon as the command has, and what the command left behind is then
    /// torn down with its namespace.
    ///
    /// # Errors
    /// Something waits in the kernel and does not end, killed or not.
    pub(super) async fn gone(&self) -> io::Result<()> {
        let Some(inside) = self.inside.get() else { return Ok(()) };
        if readable(inside).await? {
            return Ok(());
        }
        self.strike();
        if readable(inside).await? { Ok(()) } else { Err(self.stuck()) }
    }

    /// Kills everything and waits for bubblewrap's end. The death of the first process inside takes all others of its namespace
    /// along.
    ///
    /// # Errors
    /// bubblewrap waits in the kernel and does not end.
    pub(super) async fn kill(&self) -> io::Result<()> {
        if self.strike() && readable(&self.ended).await? {
            return Ok(());
        }
        self.strike_group();
        if readable(&self.ended).await? { Ok(()) } else { Err(self.stuck()) }
    }

    /// Takes bubblewrap, which has ended, off the kernel's list.
    pub(super) fn reap(&mut self) -> io::Result<ExitStatus> {
        let status = self.bubblewrap.wait()?;
        self.reaped = true;
        // When bubblewrap ended before the first process inside, that one becomes a child of the first process of this container.
        // If that is us, nobody else takes it off the list. It has ended, or it is told that it cannot be.
        if self.init() > 0 {
            let _ = waitpid(Pid::from_raw(self.init()), Some(WaitPidFlag::WNOHANG));
        }
        if let Some(record) = &self.record {
            let _ = std::fs::remove_file(record);
        }
        Ok(status)
    }

    /// Kills everything and waits for the end on this thread. Tells whether it came.
    pub(super) fn end_now(&mut self) -> bool {
        if self.reaped {
            return true;
        }
        let struck = self.strike();
        let within = |watch: &AsyncFd<OwnedFd>| raw::readable_within(watch.get_ref().as_fd(), TEAR_DOWN_MILLISECONDS);
        if !(struck && within(&self.ended)) {
            self.strike_group();
        }
        let inside_ended = self.inside.get().is_none_or(within);
        within(&self.ended) && self.reap().is_ok() && inside_ended
    }

    /// Kills the first process inside, if there is one.
    fn strike(&self) -> bool {
        if self.init() == 0
            // Nobody may have read yet what bubblewrap told.
            && let Some(init) = child_of(self.bubblewrap.id())
        {
            self.set_init(init);
        }
        self.inside.get().is_some() && kill(Pid::from_raw(self.init()), Signal::SIGKILL).is_ok()
    }

    /// Kills bubblewrap while it is being set up, or stuck: its death kills the inside by PDEATHSIG.
    fn strike_group(&self) {
        strike_group(self.bubblewrap.id());
    }

    fn stuck(&self) -> io::Error {
        let (bubblewrap, init) = (self.bubblewrap.id(), self.init());
        io::Error::other(format!(
            "processes {bubblewrap} and {init} cannot be ended: something in them waits in the kernel"
        ))
    }
}

/// Whether `watch` is readable before the time for a tear-down is over.
async fn readable(watch: &AsyncFd<OwnedFd>) -> io::Result<bool> {
    match tokio::time::timeout(TEAR_DOWN, watch.readable()).await {
        Ok(ready) => ready.map(|_| true),
        Err(_) => Ok(false),
    }
}

/// Kills the process group of `bubblewrap`, and a first process inside that has just left it behind. What to wait for.
fn strike_group(bubblewrap: u32) -> Vec<OwnedFd> {
    let started = start_time(bubblewrap).unwrap_or_default();
    if let Ok(group) = i32::try_from(bubblewrap) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    end_orphans(bubblewrap, &started)
}

/// Ends a bubblewrap that nobody has taken charge of, and what runs inside.
pub(super) fn end(mut bubblewrap: Child) {
    let watch = raw::pidfd_open(bubblewrap.id());
    if let (Some(init), Ok(watch)) = (child_of(bubblewrap.id()), &watch) {
        let _ = kill(Pid::from_raw(init), Signal::SIGKILL);
        raw::readable_within(watch.as_fd(), TEAR_DOWN_MILLISECONDS);
    }
    for inside in strike_group(bubblewrap.id()) {
        raw::readable_within(inside.as_fd(), TEAR_DOWN_MILLISECONDS);
    }
    if watch.is_ok_and(|watch| raw::readable_within(watch.as_fd(), TEAR_DOWN_MILLISECONDS)) {
        let _ = bubblewrap.wait();
    }
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
        if !self.end_now() {
            tracing::error!(error = %self.stuck(), "a command goes on");
        }
    }
}

/// Whether the tree was ended from outside: by a newer attempt, or an operator.
pub(super) fn was_killed(status: ExitStatus) -> bool {
    status.signal().is_some()
}

/// Ends what `record` names, bubblewrap and the first process inside, if they are still those: process ids are used again, so the
/// start time must match. Tells whether nothing is left.
pub fn end_recorded(record: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(record) else { return true };
    let mut lines = text.lines().filter_map(|line| {
        let (pid, started) = line.split_once(' ')?;
        Some((pid.parse::<u32>().ok()?, started))
    });
    let Some((bubblewrap, started)) = lines.next() else { return true };
    let mut inside: Vec<(u32, OwnedFd)> = lines.filter_map(|(pid, started)| still(pid, started)).collect();
    let mut watches = Vec::new();
    if let Some((_, watch)) = still(bubblewrap, started) {
        let told = child_of(bubblewrap).and_then(|pid| u32::try_from(pid).ok());
        inside.extend(told.and_then(|pid| Some((pid, raw::pidfd_open(pid).ok()?))));
        watches.push(watch);
        watches.extend(strike_group(bubblewrap));
    }
    for (pid, watch) in inside {
        if let Ok(pid) = i32::try_from(pid) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        watches.push(watch);
    }
    watches.extend(end_orphans(bubblewrap, started));
    watches.iter().all(|watch| raw::readable_within(watch.as_fd(), TEAR_DOWN_MILLISECONDS))
}

/// The process and a watch on it, if it is the one that `started` then.
fn still(pid: u32, started: &str) -> Option<(u32, OwnedFd)> {
    let watch = raw::pidfd_open(pid).ok()?;
    (start_time(pid).as_deref() == Some(started)).then_some((pid, watch))
}

/// A worker that dies in the very moment of a launch takes bubblewrap along, and the first process inside waits for it for ever:
/// it stands in bubblewrap's group, whose number is given to nobody while it lives, and started right after it. What to wait for.
fn end_orphans(group: u32, started: &str) -> Vec<OwnedFd> {
    let ticks = |time: &str| time.parse::<u64>().ok();
    let Some(began) = ticks(started) else { return Vec::new() };
    let mut ended = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(watch) = raw::pidfd_open(pid) else { continue };
        let Some(fields) = entry.path().to_str().and_then(stat) else { continue };
        let soon = fields.started.as_deref().and_then(ticks).is_some_and(|time| (began..began + SOON).contains(&time));
        if fields.group == Some(group)
            && soon
            && let Ok(pid) = i32::try_from(pid)
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            ended.push(watch);
        }
    }
    ended
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
