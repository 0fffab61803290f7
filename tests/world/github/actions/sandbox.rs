//! Runs one command of a job for real: in bubblewrap, without network, with the job's directory as the only place it
//! can write to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio_util::sync::CancellationToken;

/// Directories of one job.
#[derive(Debug, Clone)]
pub(super) struct Room {
    /// Everything below is writable inside the sandbox.
    pub(super) root: PathBuf,
    /// `$GITHUB_WORKSPACE`.
    pub(super) workspace: PathBuf,
    /// `$RUNNER_TEMP`: scripts and the files that commands report through.
    pub(super) temp: PathBuf,
    /// `$HOME`.
    pub(super) home: PathBuf,
}

impl Room {
    /// Makes the directories.
    pub(super) fn create(root: PathBuf, repository: &str) -> anyhow::Result<Self> {
        let room = Self {
            workspace: root.join("work").join(repository).join(repository),
            temp: root.join("temp"),
            home: root.join("home"),
            root,
        };
        for dir in [&room.workspace, &room.temp, &room.home] {
            std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        Ok(room)
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// Exit status.
    Exit(i32),
    /// Longer than allowed.
    TooLong,
    /// Somebody cancelled the run.
    Cancelled,
}

/// Variables that tell version managers on this machine where their tools are; `$HOME` is another one in the sandbox.
const TOOL_HOMES: [(&str, &str); 2] = [("RUSTUP_HOME", ".rustup"), ("PYENV_ROOT", ".pyenv")];

/// Environment that every command gets.
pub(super) fn machine_environment(room: &Room) -> BTreeMap<String, String> {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".into());
    let mut environment = BTreeMap::from([
        ("PATH".to_owned(), path),
        ("HOME".to_owned(), room.home.display().to_string()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("CI".to_owned(), "true".to_owned()),
    ]);
    for (name, below_home) in TOOL_HOMES {
        let usual = std::env::var_os("HOME").map(|home| Path::new(&home).join(below_home));
        let place = std::env::var_os(name).map(PathBuf::from).or(usual).filter(|place| place.is_dir());
        environment.extend(place.map(|place| (name.to_owned(), place.display().to_string())));
    }
    environment
}

/// Runs `program` and hands every line it prints (both streams, in order) to `line`.
pub(super) async fn run(
    room: &Room,
    directory: &Path,
    environment: &BTreeMap<String, String>,
    program: &[String],
    limit: Duration,
    stop: &CancellationToken,
    mut line: impl FnMut(&str),
) -> anyhow::Result<Ending> {
    let mut command = tokio::process::Command::new("bwrap");
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.args(["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]);
    command.args(["--ro-bind", "/", "/", "--tmpfs", "/tmp", "--bind"]).arg(&room.root).arg(&room.root);
    command.args(["--dev", "/dev", "--proc", "/proc", "--clearenv", "--chdir"]).arg(directory);
    for (name, value) in environment {
        command.args(["--setenv", name, value]);
    }
    // The shell joins both streams, so that lines stay in the order they were printed in.
    command.args(["--", "/bin/sh", "-c", "exec \"$@\" 2>&1", "sh"]).args(program);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env("PATH", path);
    let mut child = command.spawn().context("bubblewrap (bwrap) does not start; GitHub Actions needs it")?;
    let stdout = child.stdout.take().context("no output of bwrap")?;
    let stderr = child.stderr.take().context("no error output of bwrap")?;
    let mut printed = BufReader::new(stdout).split(b'\n');
    let mut complaints = BufReader::new(stderr).lines();
    let deadline = tokio::time::sleep(limit);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            next = printed.next_segment() => match next? {
                Some(bytes) => line(String::from_utf8_lossy(&bytes).trim_end_matches('\r')),
                None => break,
            },
            () = &mut deadline => {
                child.kill().await?;
                return Ok(Ending::TooLong);
            }
            () = stop.cancelled() => {
                child.kill().await?;
                return Ok(Ending::Cancelled);
            }
        }
    }
    let status = child.wait().await?;
    while let Ok(Some(complaint)) = complaints.next_line().await {
        line(&complaint);
    }
    Ok(Ending::Exit(status.code().unwrap_or(137)))
}
