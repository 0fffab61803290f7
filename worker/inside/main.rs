//! `ticketwright-inside`: the last step before other people's code, run inside the sandbox.
//!
//! - `confine [--processes NUMBER] [--write PATH]... -- COMMAND`: closes every path but these to writing with Landlock, where the
//!   kernel has it, and becomes the command.
//! - `forward PORT SOCKET -- COMMAND`: runs the command and carries its connections to 127.0.0.1:PORT to a Unix socket, which
//!   is the only way out of a network namespace without a network.
//! - `about`: how far the kernel's Landlock goes, and which version this is, for the worker's start.
//!
//! It ends as the command ends: 128 + n for signal n, 127 when there is no such program, 126 when it cannot be run. It is
//! a program of its own because bubblewrap must have made its mounts before Landlock forbids them, and small because it is
//! started with every command.

mod confine;
mod forward;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

// A third of a millisecond less with every command: with the unwinder in the program, the C library is the only one to be loaded.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a library is named in a block of foreign functions; there are none in it")]
#[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {}

/// What bash answers with when a program does not exist.
const NOT_FOUND: u8 = 127;
/// What bash answers with when a program cannot be run.
const NOT_RUNNABLE: u8 = 126;
/// Wrong use of this program: `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let cut = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
    let (own, command) = (&arguments[..cut], arguments.get(cut + 1..).unwrap_or_default());
    let words: Vec<&str> = own.iter().filter_map(|word| word.to_str()).collect();
    let ended = match (words.as_slice(), command) {
        (["about"], _) => confine::about().map(|line| say(&line)),
        (["confine", ..], [program, rest @ ..]) => confine::become_confined(&own[1..], program, rest),
        (["forward", port, _], [program, rest @ ..]) => match port.parse() {
            Ok(port) => forward::run(port, own[2].as_ref(), program, rest),
            Err(_) => Ok(usage()),
        },
        _ => Ok(usage()),
    };
    ended.unwrap_or_else(|error| {
        complain(&error.to_string());
        ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE })
    })
}

fn usage() -> ExitCode {
    complain("use: about | confine [--processes NUMBER] [--write PATH]... -- COMMAND | forward PORT SOCKET -- COMMAND");
    ExitCode::from(USAGE)
}

fn say(line: &str) -> ExitCode {
    // Whoever closed standard output does not want to know.
    let _ = writeln!(io::stdout(), "{line}");
    ExitCode::SUCCESS
}

fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "ticketwright-inside: {what}");
}

/// `program` could not be started: names it, which the system's own words do not.
fn not_started(program: &std::ffi::OsStr, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", program.display()))
}
