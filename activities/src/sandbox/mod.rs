//! Runs other people's code: bubblewrap with every namespace, no network, no capability, system-call filters and limits.
//!
//! Nothing of the worker's environment, descriptors or files enters, so no secret can. What the host lacks is an error when
//! the sandbox is probed, never a weaker sandbox.

mod command;
mod etc;
mod groups;
mod inside;
mod launcher;
mod output;
mod probe;
mod profile;
mod raw;
mod seccomp;
mod settings;
mod slots;
mod tree;
mod walk;
mod watch;

use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use nix::sys::memfd::{MFdFlags, memfd_create};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use workflows::contract::failure::FailureKind;

use crate::failure::ServiceError;
use etc::Etc;
use groups::{Group, Groups};
use launcher::Launcher;
use slots::Slots;
use tree::Tree;

pub use command::{Bind, Command, Errors, Exit, Finished};
pub use inside::INSIDE;
pub use output::Output;
pub use profile::ROOT;
pub use raw::limit;
pub use settings::Settings;
pub use tree::end_recorded;
pub use walk::remove_all;
pub(crate) use walk::{DEEPEST, walk};

/// A sandbox that was seen to work on this host. A clone shares its places.
#[derive(Debug, Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
    landlock: bool,
    /// Whether the kernel counts a sandbox's processes apart from all others of the same user, so that the limit is set inside.
    counts_alone: bool,
    warnings: Vec<String>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    /// The system-call filter.
    filter: Vec<u8>,
    launcher: Launcher,
    slots: Slots,
    groups: Arc<Groups>,
    etc: Etc,
    /// Whether the helper is in that `/etc`.
    helper: bool,
}

impl Sandbox {
    /// Runs the real profile once.
    ///
    /// # Errors
    /// [`FailureKind::Unsupported`], with what is missing on this host and how to get it.
    pub async fn probe(settings: Settings) -> Result<Self, ServiceError> {
        probe::run(settings, true).await
    }

    /// As [`Sandbox::probe`], for a process that is not to stay: it moves itself, and whoever started it, into no other control
    /// group.
    ///
    /// # Errors
    /// As there.
    pub async fn look(settings: Settings) -> Result<Self, ServiceError> {
        probe::run(settings, false).await
    }

    fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner), landlock: false, counts_alone: false, warnings: Vec::new() }
    }

    /// What of the second line of defence this host lacks, one sentence each, for an operator.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    fn use_landlock(&mut self) {
        self.landlock = true;
        self.counts_alone = counts_per_namespace(
            &nix::sys::utsname::uname()
                .map_or_else(|_| String::new(), |system| system.release().to_string_lossy().into_owned()),
        );
    }

    /// Where commands look for programs.
    pub fn path(&self) -> String {
        self.inner.settings.path()
    }

    /// Whether commands find the helper at [`INSIDE`]. Without it a set-up command cannot reach its proxy.
    pub fn has_helper(&self) -> bool {
        self.inner.helper
    }

    /// The settings it was probed with.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// A user that a command may soon run as: files that belong to it need not change owner then. `None`: commands run as the
    /// user we are, or all are taken.
    pub fn spare_user(&self) -> Option<u32> {
        self.inner.slots.spare()
    }

    /// Runs `command` to its end. Dropping the future kills everything it started before the drop returns; one file more may change
    /// its owner.
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
        let Inner { settings, launcher, slots, groups, .. } = &*self.inner;
        if let Some(why) = command.malformed() {
            return Ok(Finished::not_started(why.to_owned()));
        }
        // Whose files they are already, so that they need not change owner.
        let owner = command.workspace.as_ref().and_then(|path| path.symlink_metadata().ok()).map(|found| found.uid());
        let slot = Arc::new(slots.take(owner).await?);
        let writable: Vec<PathBuf> = command.writable().cloned().collect();
        // While the files change owner the rest is made ready.
        let giving = slot.uid().map(|uid| {
            let (owned, slot, stop) = (writable.clone(), slot.clone(), Stop::default());
            let told = stop.told();
            let give = move || {
                // Nobody else gets the id as long as files are given to it, also when nobody waits any more.
                let _slot = slot;
                owned.iter().try_for_each(|path| slots::give_to(uid, path, &told))
            };
            (tokio::task::spawn_blocking(give), stop)
        });
        let group = groups.make()?;
        let (status_pipe, process, output, errors) = self.prepare(&command, slot.uid(), &group)?;
        if let Some((giving, _stop)) = giving {
            match giving.await.map_err(io::Error::other)? {
                Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {
                    return Ok(Finished::not_started(format!("in its workspace {error}")));
                }
                given => given?,
            }
        }

        let started = Instant::now();
        let launched = match launcher.launch(process).await {
            // execve(2): one argument above 128 KB, or all of them above a quarter of the stack's limit.
            Err(error) if error.kind() == io::ErrorKind::ArgumentListTooLong => {
                return Ok(Finished::not_started(
                    "it is longer than 128 KB; write long files with a tool of their own".into(),
                ));
            }
            launched => launched?,
        };
        let mut tree = Tree::new(launched, command.record.clone())?;

        let running = async {
            let exit = tokio::select! {
                ended = tree.ended() => { ended?; None }
                () = tokio::time::sleep(command.limit) => Some(Exit::TimedOut),
                which = watch::over_limit(&tree, settings, &group, writable) => Some(Exit::OverLimit(which)),
            };
            if exit.is_some() {
                tree.kill().await?;
            }
            io::Result::Ok(exit)
        };
        // Whatever holds a pipe open and cannot be ended would keep us reading for ever, so this is told at once.
        let ended = async {
            let (forced, status) = tokio::try_join!(running, read_status(status_pipe, |init| tree.set_init(init)))?;
            tree.gone().await?;
            io::Result::Ok((forced, status))
        };
        let errors = async {
            match errors {
                Some(pipe) => output::capture(pipe, command.output_cap).await,
                None => Ok(Output::default()),
            }
        };
        let done = tokio::try_join!(ended, output::capture(output, command.output_cap), errors);
        let reaped = done.and_then(|done| Ok((done, tree.reap()?)));
        let (((forced, status), stdout, stderr), ended) = match reaped {
            Ok(all) => all,
            Err(error) => {
                if !tree.end_now() {
                    // What still runs keeps its place and its user, which nobody else must get.
                    std::mem::forget(slot);
                }
                return Err(error);
            }
        };
        let duration = started.elapsed();
        let starved = group.ran_out_of_memory();
        let next = groups.clone();
        tokio::task::spawn_blocking(move || {
            drop(group);
            next.make_ready();
        });
        drop(slot);

        let exit = match (forced, status) {
            // Also when the command went on without what the kernel had killed: its result is not to be trusted.
            _ if starved => Exit::OverLimit(watch::out_of_memory(settings.memory_bytes)),
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
        group: &Group,
    ) -> io::Result<(Receiver, std::process::Command, Receiver, Option<Receiver>)> {
        let Inner { settings, filter, etc, .. } = &*self.inner;
        let (status, status_inside) = pipe()?;
        let (output, output_inside) = pipe()?;
        let options = profile::options(command, settings, etc.directory());
        let descriptors = vec![memory_file(&options)?, status_inside, memory_file(filter)?];

        let mut process = std::process::Command::new(&settings.bubblewrap);
        // Without this the worker's environment could be read in /proc/1/environ.
        let counts_alone = self.counts_alone && uid.is_none();
        let argv = match self.landlock {
            true => inside::confined(command, counts_alone.then_some(settings.processes)),
            false => command.argv.clone(),
        };
        process.env_clear().args(profile::command_line(argv)).stdin(Stdio::null());
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
        let processes = match uid {
            Some(uid) => {
                process.uid(uid).gid(uid);
                Some(settings.processes)
            }
            None if counts_alone => None,
            None => Some(settings.processes + slots::tasks_of(nix::unistd::geteuid().as_raw())),
        };
        let limits = raw::Limits {
            data: settings.memory_bytes,
            file: settings.file_bytes,
            processes,
            open_files: settings.open_files,
        };
        raw::confine(&mut process, descriptors, group.doors()?, limits);
        Ok((status, process, output, errors))
    }
}

/// Tells a thread to stop when it is dropped.
#[derive(Debug, Default)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Becomes true.
    fn told(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Since Linux 5.14 `RLIMIT_NPROC` that is set inside a user namespace counts what runs in that namespace (user_namespaces(7)).
fn counts_per_namespace(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (5, 14))
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

#[cfg(test)]
pub(crate) mod tests;
