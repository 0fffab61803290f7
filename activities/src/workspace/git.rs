//! Runs git on the host so that nothing in a repository can run a program.
//!
//! The git directory lies outside the workspace, so no setting, hook or filter of a workspace is ever read; attributes name
//! drivers, and no driver is defined. The options below close what remains: hooks and monitors of submodules, other
//! protocols, prompts, and the user's and the system's own settings.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use base64::Engine as _;
use secrecy::ExposeSecret as _;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use workflows::contract::failure::FailureKind;

use super::remote::GitRemote;
use crate::failure::ServiceError;

/// Settings of every call.
const OPTIONS: [&str; 27] = [
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.protectNTFS=true",
    "core.protectHFS=true",
    "core.symlinks=true",
    "core.autocrlf=false",
    // The sandbox's user reads the objects, whatever our umask is.
    "core.sharedRepository=0644",
    "diff.ignoreSubmodules=all",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "push.recurseSubmodules=no",
    "status.submoduleSummary=false",
    "protocol.allow=never",
    "transfer.fsckObjects=true",
    // Harmless faults in the history of old repositories, which GitHub serves.
    "fetch.fsck.zeroPaddedFilemode=ignore",
    "fetch.fsck.badTimezone=ignore",
    "fetch.fsck.missingSpaceBeforeDate=ignore",
    "fetch.fsck.missingNameBeforeEmail=ignore",
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgSign=false",
    "log.showSignature=false",
    "http.followRedirects=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
];

/// Which protocols git may speak beside HTTPS.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Protocols {
    pub(super) http: bool,
    pub(super) file: bool,
}

/// git with a repository, perhaps a work tree and an index of its own.
#[derive(Debug, Clone)]
pub(super) struct Git {
    git_dir: PathBuf,
    work_tree: Option<PathBuf>,
    index: Option<PathBuf>,
}

/// A git command that ended with an error.
#[derive(Debug)]
pub(super) struct GitFailed {
    /// Its exit code; `None`: killed by a signal, or not started.
    pub(super) code: Option<i32>,
    /// `git <subcommand>`.
    what: String,
    /// What it said, without secrets.
    pub(super) said: String,
}

impl Git {
    /// git on the bare repository `git_dir`.
    pub(super) fn bare(git_dir: &Path) -> Self {
        Self { git_dir: git_dir.to_owned(), work_tree: None, index: None }
    }

    /// The same repository, with an index of its own.
    pub(super) fn with_index(&self, index: &Path) -> Self {
        Self { index: Some(index.to_owned()), ..self.clone() }
    }

    /// The same repository and index, with files.
    pub(super) fn with_work_tree(&self, work_tree: &Path) -> Self {
        Self { work_tree: Some(work_tree.to_owned()), ..self.clone() }
    }

    /// The repository.
    pub(super) fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// Runs a command, returns what it prints.
    pub(super) async fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Vec<u8>, GitFailed> {
        finish(self.command(args), &[]).await
    }

    /// Runs a command that prints one line.
    pub(super) async fn line<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<String, GitFailed> {
        let printed = self.run(args).await?;
        Ok(String::from_utf8_lossy(&printed).trim_end().to_owned())
    }

    /// Runs a command that reads `input`, under further variables.
    pub(super) async fn feed<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        env: &[(&str, &str)],
        input: &[u8],
    ) -> Result<Vec<u8>, GitFailed> {
        let mut command = self.command(args);
        command.envs(env.iter().copied());
        finish(command, input).await
    }

    /// Runs a command that talks to `remote`. The token goes by environment: command lines can be read by every user.
    pub(super) async fn transfer<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        remote: &GitRemote,
        protocols: Protocols,
        env: &[(String, String)],
    ) -> Result<Vec<u8>, GitFailed> {
        let mut command = self.command(args);
        command.envs(env.iter().map(|(name, value)| (name, value)));
        let allowed = [("https", true), ("http", protocols.http), ("file", protocols.file)];
        let allowed: Vec<_> = allowed.into_iter().filter(|(_, allow)| *allow).map(|(name, _)| name).collect();
        command.env("GIT_ALLOW_PROTOCOL", allowed.join(":"));
        let token = remote.token.expose_secret();
        if !token.is_empty() {
            let basic = base64::engine::general_purpose::STANDARD.encode(format!("{}:{token}", remote.username));
            // Bound to the URL, so that it is sent nowhere else.
            command
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", format!("http.{}.extraHeader", remote.url))
                .env("GIT_CONFIG_VALUE_0", format!("Authorization: Basic {basic}"));
        }
        finish(command, &[]).await.map_err(|mut failed| {
            if !token.is_empty() {
                failed.said = failed.said.replace(token, "[token]");
            }
            failed
        })
    }

    fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("git");
        command
            .env_clear()
            .envs([
                ("PATH", "/usr/local/bin:/usr/bin:/bin"),
                ("HOME", "/nonexistent"),
                ("LC_ALL", "C"),
                ("GIT_CONFIG_NOSYSTEM", "1"),
                ("GIT_CONFIG_GLOBAL", "/dev/null"),
                ("GIT_ATTR_NOSYSTEM", "1"),
                ("GIT_TERMINAL_PROMPT", "0"),
                ("GIT_ASKPASS", "/bin/false"),
                ("GIT_EDITOR", "/bin/false"),
                ("GIT_PAGER", "cat"),
                ("GIT_OPTIONAL_LOCKS", "0"),
                ("GIT_LITERAL_PATHSPECS", "1"),
                ("GIT_ALLOW_PROTOCOL", "https"),
            ])
            .env("GIT_DIR", &self.git_dir)
            .args(OPTIONS.iter().flat_map(|option| ["-c", option]))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .stdin(Stdio::piped())
            .kill_on_drop(true);
        if let Some(work_tree) = &self.work_tree {
            command.env("GIT_WORK_TREE", work_tree).current_dir(work_tree);
        }
        if let Some(index) = &self.index {
            command.env("GIT_INDEX_FILE", index);
        }
        command.args(args);
        command
    }
}

/// Makes an empty bare repository without hooks.
pub(super) async fn init(directory: &Path, object_format: &str) -> Result<(), GitFailed> {
    let format = OsString::from(format!("--object-format={object_format}"));
    Git::bare(directory)
        .run([OsStr::new("init"), OsStr::new("--bare"), OsStr::new("--quiet"), OsStr::new("--template="), &format])
        .await
        .map(|_| ())
}

async fn finish(mut command: Command, input: &[u8]) -> Result<Vec<u8>, GitFailed> {
    let what = subcommand(&command);
    let outcome = async {
        let mut child = command.spawn()?;
        let stdin = child.stdin.take();
        let write = async {
            if let Some(mut stdin) = stdin {
                // A command that ends early closes its input; its exit code tells the story.
                let _ = stdin.write_all(input).await;
            }
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), write);
        output
    };
    match outcome.await {
        Ok(Output { status, stdout, .. }) if status.success() => Ok(stdout),
        Ok(Output { status, stderr, .. }) => {
            let said = String::from_utf8_lossy(&stderr).trim().to_owned();
            Err(GitFailed { code: status.code(), what, said })
        }
        Err(error) => Err(GitFailed { code: None, what, said: error.to_string() }),
    }
}

/// `git fetch` of a command line full of options.
fn subcommand(command: &Command) -> String {
    let name = command.as_std().get_args().nth(2 * OPTIONS.len());
    format!("git {}", name.unwrap_or_default().to_string_lossy())
}

impl GitFailed {
    /// For a command on our own repository: nothing of it is the caller's fault.
    pub(super) fn unexpected(self) -> ServiceError {
        self.of_kind(FailureKind::Unexpected)
    }

    /// For a command that talked to a remote.
    pub(super) fn of_transfer(self) -> ServiceError {
        let said = self.said.to_lowercase();
        let any = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let kind = if any(&[
            "authentication failed",
            "could not read username",
            "error: 401",
            "error: 403",
            "permission to",
        ]) {
            FailureKind::Unauthorized
        } else if any(&[
            "could not resolve",
            "failed to connect",
            "timed out",
            "connection",
            "early eof",
            "error: 5",
            "hung up",
        ]) {
            FailureKind::Unavailable
        } else if any(&["not found", "does not exist", "not our ref", "couldn't find remote ref", "error: 404"]) {
            FailureKind::NotFound
        } else {
            FailureKind::Unexpected
        };
        self.of_kind(kind)
    }

    fn of_kind(self, kind: FailureKind) -> ServiceError {
        let said: String = self.said.chars().take(1000).collect();
        ServiceError::new(kind, format!("{} failed: {said}", self.what))
    }
}
