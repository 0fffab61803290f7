//! Real processes with a log file that are killed with SIGKILL and never outlive us.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use anyhow::Context as _;

type Job = (Command, mpsc::Sender<std::io::Result<Child>>);

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, its output in `log` (appended, so that a restart keeps what was said before).
    pub fn start(name: &str, command: Command, log: &Path) -> anyhow::Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let mut guarded = dying_with_us(&command);
        guarded.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = launch(guarded).with_context(|| format!("start {name}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Polls `ready` until it holds; fails with the log's tail when the process ends first or the time is up.
    pub async fn wait_until(&self, what: &str, limit: Duration, ready: impl AsyncFn() -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        while !ready().await {
            self.check()?;
            anyhow::ensure!(
                began.elapsed() <= limit,
                "{}: waited {:?} for: {what}. Its log ({}) ends:\n{}",
                self.name,
                began.elapsed(),
                self.log.display(),
                self.tail()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Fails with the end of its log when it has ended by itself.
    pub fn check(&self) -> anyhow::Result<()> {
        // Of a process that ended and was not waited for, the link cannot be read any more.
        let gone = !Path::new(&format!("/proc/{}/exe", self.id())).exists();
        anyhow::ensure!(!gone, "{} has ended. Its log ({}) ends:\n{}", self.name, self.log.display(), self.tail());
        Ok(())
    }

    fn tail(&self) -> String {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = said.lines().rev().take(15).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Asks it to end (SIGTERM) and waits at most `limit`; then SIGKILL.
    pub fn stop(mut self, limit: Duration) {
        let _ = Command::new("kill").args(["-TERM", &self.id().to_string()]).status();
        let began = Instant::now();
        while began.elapsed() < limit {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// SIGKILL by id, for processes that this test started indirectly.
pub fn kill_by_id(id: u32) {
    let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
}

/// A port that is free now.
pub fn free_port() -> std::io::Result<u16> {
    std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr().map(|address| address.port())
}

/// The same command under `setpriv --pdeathsig KILL`.
fn dying_with_us(command: &Command) -> Command {
    let mut guarded = Command::new("setpriv");
    guarded.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    // A cleared environment shows as explicit settings only; nothing of ours may leak into the product.
    guarded.env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            guarded.env(name, value);
        }
    }
    if let Some(directory) = command.get_current_dir() {
        guarded.current_dir(directory);
    }
    guarded
}

/// Starts a process on a thread that lives as long as this process: the death signal follows the thread.
fn launch(command: Command) -> std::io::Result<Child> {
    static LAUNCHER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let launcher = LAUNCHER.get_or_init(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("launcher".to_owned())
            .spawn(move || {
                for (mut command, answer) in inbox {
                    let _ = answer.send(command.spawn());
                }
            })
            .expect("a thread can be started");
        jobs
    });
    let (answer, started) = mpsc::channel();
    launcher.send((command, answer)).map_err(std::io::Error::other)?;
    started.recv().map_err(std::io::Error::other)?
}
