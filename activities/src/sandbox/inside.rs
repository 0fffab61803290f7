//! The helper that goes inside, `ticketwright-inside`: found beside the worker, copied into the sandbox's `/etc`, run before the
//! command.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::command::Command;
use super::{ROOT, Settings};

/// Where commands find it.
pub const INSIDE: &str = "/etc/ticketwright-inside";

const NAME: &str = "ticketwright-inside";
/// What every command may write to; its workspace and writable binds come on top.
const WRITABLE: [&str; 3] = ["/tmp", "/home/u", "/dev/shm"];

/// The helper's file on the host, if there is one.
///
/// # Errors
/// Why there is none, for an operator.
pub(super) fn find(settings: &Settings) -> Result<PathBuf, String> {
    let candidates: Vec<PathBuf> = match &settings.inside {
        Some(path) => vec![path.clone()],
        None => {
            let program = env::current_exe().unwrap_or_default();
            // Tests and examples are built into directories below the programs.
            program.ancestors().skip(1).take(2).map(|directory| directory.join(NAME)).collect()
        }
    };
    let Some(found) = candidates.iter().find(|path| path.is_file()) else {
        let places: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
        return Err(format!("{NAME} is not there: {}", places.join(", ")));
    };
    let readable = || -> io::Result<PathBuf> {
        let path = found.canonicalize()?;
        // It is copied into the sandbox, so we must be able to read it. Where we are not, the other layers hold without it.
        File::open(&path)?;
        Ok(path)
    };
    readable().map_err(|error| format!("{}: {error}", found.display()))
}

/// `command` behind Landlock's rules: it may write where it can anyway, and nowhere else even if a mount should be lost.
/// `processes`: how many may run inside, where that is not limited from outside.
pub(super) fn confined(command: &Command, processes: Option<u64>) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![INSIDE.into(), "confine".into()];
    if let Some(processes) = processes {
        words.extend(["--processes".into(), processes.to_string().into()]);
    }
    let workspace = command.workspace.iter().map(|_| OsString::from(ROOT));
    let binds = command.binds.iter().filter(|bind| bind.writable).map(|bind| bind.to.clone().into_os_string());
    for path in WRITABLE.map(OsString::from).into_iter().chain(workspace).chain(binds) {
        words.extend(["--write".into(), path]);
    }
    words.push("--".into());
    words.extend(command.argv.iter().cloned());
    words
}

/// What the helper says about itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Landlock holds.
    Holds,
    /// The kernel has none.
    None,
    /// It was not made with this worker, so it may not understand what it is told.
    AnotherVersion,
    /// It is no answer.
    Trouble,
}

/// Reads what `about` prints: how far Landlock goes, and of which version the helper is. Its first releases left that out.
pub(super) fn answer(said: &str) -> Answer {
    let mut words = said.split_whitespace();
    let answer = match words.next() {
        Some("fully" | "partially") => Answer::Holds,
        Some("not") => Answer::None,
        _ => return Answer::Trouble,
    };
    if words.next() == Some(env!("CARGO_PKG_VERSION")) && words.next().is_none() {
        answer
    } else {
        Answer::AnotherVersion
    }
}

/// Whether the helper did not understand its own part of a command line.
pub(super) fn has_refused(said: &str) -> bool {
    ["ticketwright-inside: unknown option", "ticketwright-inside: use:"].iter().any(|begin| said.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use super::*;
    use crate::sandbox::Bind;

    #[test]
    fn the_rules_name_what_a_command_may_write() {
        let bind = |to: &str, writable| Bind { from: "/x".into(), to: to.into(), writable };
        let command = Command {
            binds: vec![bind("/w/.git", false), bind("/opt/cache", true)],
            ..Command::script("true", Some("/y".into()), Duration::ZERO)
        };
        let words: Vec<String> =
            confined(&command, Some(9)).into_iter().map(|word| word.into_string().unwrap()).collect();
        let expected = "/etc/ticketwright-inside confine --processes 9 --write /tmp --write /home/u --write /dev/shm --write /w \
                        --write /opt/cache -- /bin/bash -c true";
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn a_helper_of_another_version_is_told_apart() {
        let own = env!("CARGO_PKG_VERSION");
        assert_eq!(answer(&format!("fully {own}\n")), Answer::Holds);
        assert_eq!(answer(&format!("not {own}\n")), Answer::None);
        for other in ["fully\n", "partially 0.1.9\n", "not 9.0.0 more\n"] {
            assert_eq!(answer(other), Answer::AnotherVersion, "{other}");
        }
        assert_eq!(answer("bash: /etc/ticketwright-inside: No such file"), Answer::Trouble);
        assert_eq!(answer(""), Answer::Trouble);
    }

    #[test]
    fn a_helper_that_is_missing_is_named() {
        let missing = Settings { inside: Some("/nonexistent/helper".into()), ..Settings::default() };
        assert!(find(&missing).unwrap_err().contains("/nonexistent/helper"));
    }

    #[test]
    fn a_helper_that_cannot_be_read_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let helper = directory.path().join("helper");
        std::fs::write(&helper, "x").unwrap();
        let of = || find(&Settings { inside: Some(helper.clone()), ..Settings::default() });
        assert!(of().is_ok());
        std::fs::set_permissions(&helper, Permissions::from_mode(0o000)).unwrap();
        // Root reads everything.
        if !nix::unistd::geteuid().is_root() {
            let why = of().unwrap_err();
            assert!(why.contains("/helper: Permission denied"), "{why}");
        }
    }
}
