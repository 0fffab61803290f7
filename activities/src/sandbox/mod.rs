//! Runs other people's code: bubblewrap with every namespace, no network, no capability, system-call filters and limits.
//!
//! Nothing of the worker's environment, descriptors or files enters, so no secret can. What the host lacks is an error when
//! the sandbox is probed, never a weaker sandbox.

mod launcher;
mod output;
mod profile;
mod raw;
mod seccomp;
mod slots;
mod tree;
mod watch;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use workflows::contract::failure::FailureKind;

use crate::failure::ServiceError;
use launcher::Launcher;
use slots::Slots;
use tree::Tree;

pub use output::Output;
pub use profile::ROOT;
pub use tree::end_recorded;

/// What a sandbox may use. The defaults suit a worker with 4 GB of memory.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The bubblewrap program, 0.8 or later. Default `/usr/bin/bwrap`.
    pub bubblewrap: PathBuf,
    /// First of the user ids to run as when the worker is root; nothing else on the host should have them. Default 64,100.
    pub first_uid: u32,
    /// Sandboxes at the same time; as root each has its own user id. Default 64.
    pub slots: u32,
    /// Where workers that run as root note which of these ids are in use. Default `/run/ticketwright`.
    pub locks: PathBuf,
    /// Memory of a whole process tree, and of each process in it. Default 2 GB.
    pub memory_bytes: u64,
    /// Disk that a workspace may take; looked at every two seconds. Default 5 GB.
    pub disk_bytes: u64,
    /// Largest file. Default 1 GB.
    pub file_bytes: u64,
    /// Processes and threads. Default 256.
    pub processes: u64,
    /// Open files per process. Default 1,024.
    pub open_files: u64,
    /// Further directories with tools, visible at the same path, read-only.
    pub read_only: Vec<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bubblewrap: "/usr/bin/bwrap".into(),
            first_uid: 64_100,
            slots: 64,
            locks: "/run/ticketwright".into(),
            memory_bytes: 2 << 30,
            disk_bytes: 5 << 30,
            file_bytes: 1 << 30,
            processes: 256,
            open_files: 1024,
            read_only: Vec::new(),
        }
    }
}

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
    /// File that names the process group while it runs, for [`end_recorded`].
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
    /// It never started; bubblewrap's words.
    LaunchFailed(String),
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

/// A sandbox that was seen to work on this host. A clone shares its places.
#[derive(Debug, Clone)]
pub struct Sandbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    programs: Vec<Vec<u8>>,
    launcher: Launcher,
    slots: Slots,
}

impl Sandbox {
    /// Runs the real profile once.
    ///
    /// # Errors
    /// [`FailureKind::Unsupported`], with what is missing on this host and how to get it.
    pub async fn probe(settings: Settings) -> Result<Self, ServiceError> {
        let unsupported = |what: String| ServiceError::new(FailureKind::Unsupported, what);
        if !settings.bubblewrap.exists() {
            return Err(unsupported(format!(
                "{} is missing: install bubblewrap 0.8 or later",
                settings.bubblewrap.display()
            )));
        }
        let programs = seccomp::programs()
            .map_err(|error| unsupported("the system-call filters do not compile here".into()).caused_by(error))?;
        let launcher = Launcher::start()
            .map_err(|error| unsupported("the sandbox launcher cannot start a thread".into()).caused_by(error))?;
        let slots = Slots::new(settings.first_uid, settings.slots, &settings.locks).map_err(|error| {
            unsupported(format!("{} cannot be used to keep the sandboxes' users apart", settings.locks.display()))
                .caused_by(error)
        })?;
        let sandbox = Self(Arc::new(Inner { settings, programs, launcher, slots }));

        let look = "grep -q '^Seccomp:.2' /proc/self/status && grep -q '^NoNewPrivs:.1' /proc/self/status \
                    && [ -z \"$(ls /sys/class/net 2>/dev/null)\" ] && git --version && echo works";
        let finished = sandbox.run(Command::script(look, None, Duration::from_secs(30))).await?;
        let said = finished.stdout.text();
        match finished.exit {
            Exit::Code(0) if said.ends_with("works\n") => Ok(sandbox),
            Exit::LaunchFailed(why) => Err(unsupported(format!("the sandbox does not start: {why}{}", hint(&why)))),
            other => Err(unsupported(format!(
                "the sandbox starts but is not complete ({other:?}): {}. It needs bash, grep and git in /usr, and seccomp",
                said.trim_end()
            ))),
        }
    }

    /// The settings it was probed with.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// A user that a command may soon run as: files that belong to it need not change owner then. `None`: commands run as the
    /// user we are, or all are taken.
    pub fn spare_user(&self) -> Option<u32> {
        self.0.slots.spare()
    }

    /// Runs `command` to its end. Dropping the future kills everything it started before the drop returns.
    ///
    /// # Errors
    /// [`FailureKind::Unsupported`] and [`FailureKind::Unavailable`]: the host could not run it at all.
    pub async fn run(&self, command: Command) -> Result<Finished, ServiceError> {
        let failed = |error: io::Error| {
            let kind = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => FailureKind::Unsupported,
                _ => FailureKind::Unavailable,
            };
            ServiceError::new(kind, format!("the sandbox could not run a command: {error}")).caused_by(error)
        };
        self.run_inner(command).await.map_err(failed)
    }

    async fn run_inner(&self, command: Command) -> io::Result<Finished> {
        let Inner { settings, launcher, slots, .. } = &*self.0;
        // Whose files they are already, so that they need not change owner.
        let owner = command.workspace.as_ref().and_then(|path| path.symlink_metadata().ok()).map(|found| found.uid());
        let slot = slots.take(owner).await?;
        if let Some(uid) = slot.uid() {
            let owned = command.workspace.iter().chain(command.binds.iter().filter(|b| b.writable).map(|b| &b.from));
            let owned: Vec<PathBuf> = owned.cloned().collect();
            blocking(move || owned.iter().try_for_each(|path| slots::give_to(uid, path))).await?;
        }

        let started = Instant::now();
        let (status_pipe, process, output, errors) = self.prepare(&command, slot.uid())?;
        let mut tree = Tree::new(launcher.launch(process).await?, command.record.clone())?;

        let running = async {
            let exit = tokio::select! {
                ended = tree.ended() => { ended?; None }
                () = tokio::time::sleep(command.limit) => Some(Exit::TimedOut),
                which = watch::over_limit(&tree, settings, command.workspace.clone()) => Some(Exit::OverLimit(which)),
            };
            if exit.is_some() {
                tree.kill();
            }
            io::Result::Ok(exit)
        };
        let errors = async {
            match errors {
                Some(pipe) => output::capture(pipe, command.output_cap).await,
                None => Ok(Output::default()),
            }
        };
        let (forced, status, stdout, stderr) = tokio::try_join!(
            running,
            read_status(status_pipe, |init| tree.set_init(init)),
            output::capture(output, command.output_cap),
            errors,
        )?;
        let ended = tree.reap()?;
        let duration = started.elapsed();
        drop(slot);

        let exit = match (forced, status) {
            (Some(forced), _) => forced,
            (None, Some(code)) => Exit::Code(code),
            (None, None) if tree::was_killed(ended) => Exit::Cancelled,
            (None, None) => {
                let said = if command.errors == Errors::Apart { stderr.text() } else { stdout.text() };
                Exit::LaunchFailed(said.trim().to_owned())
            }
        };
        Ok(Finished { exit, stdout, stderr, duration })
    }

    /// The process to start, and our ends of its pipes: status, output, error output.
    fn prepare(
        &self,
        command: &Command,
        uid: Option<u32>,
    ) -> io::Result<(Receiver, std::process::Command, Receiver, Option<Receiver>)> {
        let Inner { settings, programs, .. } = &*self.0;
        let (status, status_inside) = pipe()?;
        let (output, output_inside) = pipe()?;
        let options = profile::options(command, settings, programs.len());
        let mut descriptors = vec![memory_file(&options)?, status_inside];
        for program in programs {
            descriptors.push(memory_file(program)?);
        }
        for content in profile::files() {
            descriptors.push(memory_file(content.as_bytes())?);
        }

        let mut process = std::process::Command::new(&settings.bubblewrap);
        // Without this the worker's environment could be read in /proc/1/environ.
        process.env_clear().args(profile::command_line(command)).stdin(Stdio::null());
        let errors = match command.errors {
            Errors::WithOutput => {
                process.stderr(output_inside.try_clone()?);
                None
            }
            Errors::Apart => {
                let (errors, errors_inside) = pipe()?;
                process.stderr(errors_inside);
                Some(errors)
            }
        };
        process.stdout(output_inside);
        let shared = match uid {
            Some(uid) => {
                process.uid(uid).gid(uid);
                0
            }
            None => slots::tasks_of(nix::unistd::geteuid().as_raw()),
        };
        let limits = raw::Limits {
            data: settings.memory_bytes,
            file: settings.file_bytes,
            processes: settings.processes + shared,
            open_files: settings.open_files,
        };
        raw::confine(&mut process, descriptors, limits);
        Ok((status, process, output, errors))
    }
}

/// Reads bubblewrap's JSON: first the id of the process inside, at the end the exit code, if the command ever started.
async fn read_status(mut pipe: Receiver, on_init: impl Fn(i32)) -> io::Result<Option<i32>> {
    let number = |text: &str, name: &str| {
        let (_, rest) = text.split_once(&format!("\"{name}\":"))?;
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<i32>().ok()
    };
    let mut text = String::new();
    let mut chunk = [0; 1024];
    loop {
        let n = pipe.read(&mut chunk).await?;
        if n == 0 {
            return Ok(number(&text, "exit-code"));
        }
        text.push_str(&String::from_utf8_lossy(&chunk[..n]));
        // The number is complete once something follows it.
        if let Some(init) = number(&text, "child-pid").filter(|_| text.ends_with('\n')) {
            on_init(init);
        }
    }
}

fn pipe() -> io::Result<(Receiver, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    Ok((Receiver::from_owned_fd(reader.into())?, writer.into()))
}

/// A file in memory with `bytes`, to be read from its start.
fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = std::fs::File::from(memfd_create("sandbox", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    io::Seek::rewind(&mut file)?;
    Ok(file.into())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// What to do about bubblewrap's most common complaints.
fn hint(complaint: &str) -> &'static str {
    if complaint.contains("uid map") || complaint.contains("namespace") || complaint.contains("clone") {
        ". Allow unprivileged user namespaces: sysctl kernel.unprivileged_userns_clone=1 and \
         user.max_user_namespaces > 0; on Ubuntu 24.04 an AppArmor profile for bwrap; in a container seccomp=unconfined"
    } else if complaint.contains("Unknown option") {
        ". Install bubblewrap 0.8 or later"
    } else if complaint.contains("Permission denied") {
        ". Every directory above the workspaces must be open to other users (chmod o+x)"
    } else {
        ""
    }
}

#[cfg(test)]
pub(crate) mod tests;
