//! Landlock: a second lock on writing, held by the kernel apart from mounts and namespaces (landlock(7)).
//!
//! Reading and running are left to the mounts. There are no rules for TCP: they know ports and no addresses, the namespace has no
//! network but its own loopback, and a test suite may listen there.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus,
};

/// The newest version whose rights these rules know; older kernels get what they have.
const VERSION: ABI = ABI::V5;
/// Device and process files are opened for writing by ordinary programs (`/dev/null`, `/proc/self/oom_score_adj`); nothing can
/// be made there.
const SPECIAL: [&str; 2] = ["/dev", "/proc"];

/// Confines this process to `options` and becomes the command.
///
/// # Errors
/// The program cannot be started. A kernel without Landlock is none: the caller was told by `about`.
pub(crate) fn become_confined(options: &[OsString], program: &OsStr, arguments: &[OsString]) -> io::Result<ExitCode> {
    let mut writable = Vec::new();
    let mut words = options.iter();
    while let Some(word) = words.next() {
        match (word.to_str(), words.next()) {
            (Some("--write"), Some(path)) => writable.push(PathBuf::from(path)),
            (Some("--processes"), Some(number)) => {
                let number = number.to_str().and_then(|number| number.parse().ok());
                limit_processes(number.ok_or_else(|| io::Error::other("--processes takes a number"))?)?;
            }
            _ => return Err(io::Error::other(format!("unknown option {}", word.display()))),
        }
    }
    restrict(&writable).map_err(|error| io::Error::other(format!("Landlock: {error}")))?;
    Err(crate::not_started(program, Command::new(program).args(arguments).exec()))
}

/// Bounds the processes and threads of this user in this user namespace.
fn limit_processes(number: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: number, rlim_max: number };
    #[expect(unsafe_code, reason = "getrlimit(2) and setrlimit(2) have no safe interface in the standard library")]
    // SAFETY: the pointers are to whole structures of ours, which the calls write and read.
    let set = unsafe {
        let mut own = limit;
        if libc::getrlimit(libc::RLIMIT_NPROC, &raw mut own) == 0 {
            limit.rlim_max = number.min(own.rlim_max);
            limit.rlim_cur = limit.rlim_max;
        }
        libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit)
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// One word on what the kernel holds, `fully`, `partially` or `not`, and our version: a worker of another one may ask for what
/// we do not know.
///
/// # Errors
/// The rules are refused for another reason than the kernel's age.
pub(crate) fn about() -> io::Result<String> {
    let status = restrict(&["/tmp".into()]).map_err(|error| io::Error::other(format!("Landlock: {error}")))?;
    let word = match status {
        RulesetStatus::FullyEnforced => "fully",
        RulesetStatus::PartiallyEnforced => "partially",
        RulesetStatus::NotEnforced => "not",
    };
    Ok(format!("{word} {}", env!("CARGO_PKG_VERSION")))
}

/// Paths that do not exist are left out: nothing can be written there either.
fn restrict(writable: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    let handled = AccessFs::from_write(VERSION);
    let mut rules = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(handled)?.create()?;
    let device = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    let special = SPECIAL.map(|path| (PathBuf::from(path), device));
    for (path, rights) in writable.iter().map(|path| (path.clone(), handled)).chain(special) {
        let Ok(opened) = PathFd::new(&path) else { continue };
        // A single file has no rights to make or remove anything below it.
        let rights = if path.is_dir() { rights } else { rights & AccessFs::from_file(VERSION) };
        rules = rules.add_rule(PathBeneath::new(opened, rights))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a thread of its own: the rules bind the calling thread for the rest of its life.
    #[test]
    fn the_kernel_takes_the_rules_or_the_answer_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (open, closed) = (directory.path().join("open"), directory.path().join("closed"));
        std::fs::create_dir(&open).unwrap();
        std::fs::create_dir(&closed).unwrap();
        std::thread::spawn(move || {
            let status = restrict(&[open.clone(), "/nonexistent".into()]).unwrap();
            std::fs::write(open.join("file"), "x").unwrap();
            std::fs::create_dir(open.join("directory")).unwrap();
            std::fs::rename(open.join("file"), open.join("directory/file")).unwrap();
            std::fs::write("/dev/null", "x").unwrap();
            let written = std::fs::write(closed.join("file"), "x");
            assert_eq!(written.is_ok(), status == RulesetStatus::NotEnforced, "{status:?} and {written:?}");
        })
        .join()
        .unwrap();
    }
}
