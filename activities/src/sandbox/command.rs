//! A command to run, and how it ended.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::output::Output;

/// A command to run.
#[derive(Debug, Clone)]
pub struct Command {
    /// Program and arguments. The program is looked up on the sandbox's own path.
    pub argv: Vec<OsString>,
    /// Directory that is writable at `/w`, where the command starts. As root it changes owner. `None`: an empty, read-only one.
    pub workspace: Option<PathBuf>,
    /// Further directories and files of the host.
    pub binds: Vec<Bind>,
    /// Variables beside the sandbox's own.
    pub env: Vec<(String, String)>,
    /// Wall time.
    pub limit: Duration,
    /// Bytes of output kept per stream.
    pub output_cap: usize,
    /// Where error output goes.
    pub errors: Errors,
    /// File that names the process group while it runs, for [`super::end_recorded`].
    pub record: Option<PathBuf>,
}

impl Command {
    /// A bash script, in `workspace`, with both streams in one: what a person sees in a terminal.
    pub fn script(script: &str, workspace: Option<PathBuf>, limit: Duration) -> Self {
        Self {
            argv: ["/bin/bash", "-c", script].map(OsString::from).to_vec(),
            workspace,
            binds: Vec::new(),
            env: Vec::new(),
            limit,
            output_cap: 64 * 1024,
            errors: Errors::WithOutput,
            record: None,
        }
    }

    /// What of the host it may write to.
    pub(super) fn writable(&self) -> impl Iterator<Item = &PathBuf> {
        self.workspace.iter().chain(self.binds.iter().filter(|bind| bind.writable).map(|bind| &bind.from))
    }

    /// Why no system call could carry it: a NUL byte ends an argument, and the rest would be bubblewrap's next option.
    pub(super) fn malformed(&self) -> Option<&'static str> {
        let paths = self.binds.iter().flat_map(|bind| [&bind.from, &bind.to]).chain(&self.workspace);
        let texts = self.env.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        let arguments = self.argv.iter().map(|argument| argument.as_bytes());
        let mut all = arguments.chain(texts).chain(paths.map(|path| Path::as_os_str(path).as_bytes()));
        if self.argv.is_empty() {
            return Some("there is no program to run");
        }
        all.any(|bytes| bytes.contains(&0)).then_some("it contains a NUL byte")
    }
}

/// Where error output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errors {
    /// Into [`Finished::stdout`], in the order it was written.
    WithOutput,
    /// Into [`Finished::stderr`].
    Apart,
}

/// A directory or file of the host, visible inside.
#[derive(Debug, Clone)]
pub struct Bind {
    /// On the host.
    pub from: PathBuf,
    /// Inside; absolute.
    pub to: PathBuf,
    /// As root, a writable one changes owner.
    pub writable: bool,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// By itself. A signal comes out as 128 + its number, which `exit` can also say.
    Code(i32),
    /// It ran longer than its limit; everything it started was killed.
    TimedOut,
    /// It took more memory or disk than it may, as told; everything was killed.
    OverLimit(String),
    /// Somebody ended it from outside: a newer attempt of the same call, or an operator.
    Cancelled,
    /// It was not tried, since it could never start as it is: why, for whoever wrote it.
    NotStarted(String),
    /// It never started; bubblewrap's words.
    LaunchFailed(String),
}

/// For people and models.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::TimedOut => f.write_str("stopped, it ran longer than it may"),
            Self::OverLimit(which) => write!(f, "over its limit of {which}"),
            Self::Cancelled => f.write_str("ended from outside"),
            Self::NotStarted(why) => write!(f, "not started: {why}"),
            Self::LaunchFailed(why) => write!(f, "the sandbox did not start: {why}"),
        }
    }
}

/// A command that has ended, and everything it started with it.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How.
    pub exit: Exit,
    /// Standard output, both streams with [`Errors::WithOutput`].
    pub stdout: Output,
    /// Error output with [`Errors::Apart`].
    pub stderr: Output,
    /// Wall time it took.
    pub duration: Duration,
}

impl Finished {
    /// A command that was not even tried.
    pub(super) fn not_started(why: String) -> Self {
        let (stdout, stderr) = (Output::default(), Output::default());
        Self { exit: Exit::NotStarted(why), stdout, stderr, duration: Duration::ZERO }
    }
}
