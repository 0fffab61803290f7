//! The few system calls of the sandbox for which no safe wrapper is at hand. The only file with `unsafe`.
#![expect(unsafe_code, reason = "fork hooks and pidfds have no safe interface; each block states why it is sound")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `CLOSE_RANGE_CLOEXEC` of linux/close_range.h.
const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
/// Where descriptors wait while they are moved to their final numbers; above any of these.
const PARKING: RawFd = 100;

/// Limits of one process tree; zero forbids.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of data segment per process (`RLIMIT_DATA`).
    pub(super) data: u64,
    /// Bytes per file (`RLIMIT_FSIZE`).
    pub(super) file: u64,
    /// Processes and threads of the user (`RLIMIT_NPROC`). `None`: as many as we may have.
    pub(super) processes: Option<u64>,
    /// Open files per process (`RLIMIT_NOFILE`).
    pub(super) open_files: u64,
}

/// Makes `command` start as leader of its own process group, with `descriptors` as 3, 4, 5, ... and no other above 2,
/// under `limits`, in the control groups whose `cgroup.procs`, or `tasks` of the first version's, are open as `doors`. Keeps the
/// descriptors open until the command was started and dropped.
pub(super) fn confine(command: &mut Command, descriptors: Vec<OwnedFd>, doors: Vec<OwnedFd>, limits: Limits) {
    let values = [
        (libc::RLIMIT_CORE, Some(0)),
        (libc::RLIMIT_DATA, Some(limits.data)),
        (libc::RLIMIT_FSIZE, Some(limits.file)),
        (libc::RLIMIT_NPROC, limits.processes),
        (libc::RLIMIT_NOFILE, Some(limits.open_files)),
    ];
    let mut parked: Vec<RawFd> = vec![-1; descriptors.len()];
    let hook = move || -> io::Result<()> {
        // SAFETY: plain system calls on our own numbers; nothing here allocates or takes a lock, as the hook must not.
        unsafe {
            check(libc::setpgid(0, 0))?;
            for door in &doors {
                // "0" is the process that writes. The right to do so is that of the one who opened the file.
                check_size(libc::write(door.as_raw_fd(), c"0".as_ptr().cast(), 1))?;
            }
            // bubblewrap passes every descriptor it inherits on to the command.
            check_long(libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC))?;
            for (place, descriptor) in parked.iter_mut().zip(&descriptors) {
                *place = check(libc::fcntl(descriptor.as_raw_fd(), libc::F_DUPFD_CLOEXEC, PARKING))?;
            }
            for (target, place) in (3..).zip(&parked) {
                check(libc::dup2(*place, target))?;
            }
            for (resource, value) in values {
                let Some(value) = value else { continue };
                check(libc::setrlimit(resource, &libc::rlimit { rlim_cur: value, rlim_max: value }))?;
            }
        }
        Ok(())
    };
    // SAFETY: the hook runs between fork and exec and calls async-signal-safe functions only; its memory was allocated before.
    unsafe { command.pre_exec(hook) };
}

/// Limits the memory (`RLIMIT_DATA`) and the size of files (`RLIMIT_FSIZE`), in bytes, of a child that has just been started.
///
/// # Errors
/// The system refuses.
pub fn limit(child: u32, data: u64, file: u64) -> io::Result<()> {
    let child = libc::pid_t::try_from(child).map_err(io::Error::other)?;
    for (resource, bytes) in [(libc::RLIMIT_DATA, data), (libc::RLIMIT_FSIZE, file)] {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
        // SAFETY: prlimit(2) reads one valid structure and writes none. Nobody has waited for the child yet, so its number is
        // still its own.
        match check(unsafe { libc::prlimit(child, resource, &raw const limit, std::ptr::null_mut()) }) {
            // Its own limit is lower, and we may not raise it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            limited => drop(limited?),
        }
    }
    Ok(())
}

/// A descriptor that becomes readable when process `pid` ends.
///
/// # Errors
/// No such process, or a kernel before 5.3.
pub(super) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: pidfd_open(2) takes two integers and returns a new descriptor that nobody else owns.
    unsafe {
        let fd = check_long(libc::syscall(libc::SYS_pidfd_open, pid, 0))?;
        Ok(OwnedFd::from_raw_fd(RawFd::try_from(fd).map_err(io::Error::other)?))
    }
}

/// A system call that the sandbox cannot do without and this kernel, or the container's filter, refuses.
pub(super) fn missing_call() -> Option<&'static str> {
    if pidfd_open(std::process::id()).is_err() {
        return Some("pidfd_open (Linux 5.3)");
    }
    // SAFETY: a range above every possible descriptor: nothing is closed or marked.
    let marked =
        unsafe { libc::syscall(libc::SYS_close_range, libc::c_uint::MAX, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) };
    (marked < 0).then_some("close_range with CLOSE_RANGE_CLOEXEC (Linux 5.11)")
}

/// Hands `fd` to the runtime, to be awaited until it is readable.
///
/// # Errors
/// The runtime cannot watch more descriptors.
pub(super) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` stays open and the same for as long as the `AsyncFd` owns it.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(Into::into)
}

/// Waits until `fd` is readable, at most `milliseconds`. Tells whether it is.
pub(super) fn readable_within(fd: BorrowedFd<'_>, milliseconds: i32) -> bool {
    let mut wait = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd, and the count says one.
    unsafe { libc::poll(&raw mut wait, 1, milliseconds) > 0 }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_size(result: libc::ssize_t) -> io::Result<libc::ssize_t> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_long(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
