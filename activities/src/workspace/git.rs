//! Runs git on the host so that nothing in a repository can run a program.
//!
//! The git directory lies outside the workspace, so no setting, hook or filter of a workspace is ever read; attributes name
//! drivers, and no driver is defined. The options below close what remains: hooks and monitors of submodules, other
//! protocols, prompts, and the user's and the system's own settings.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use workflows::contract::failure::FailureKind;

use super::remote::GitRemote;
use crate::failure::ServiceError;
use crate::sandbox;

/// Settings of every call.
const OPTIONS: [&str; 30] = [
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
    // A file over this size is never held in memory, and a pack is built in bounded memory whatever its files are.
    "core.bigFileThreshold=128m",
    "core.deltaBaseCacheLimit=96m",
    "pack.windowMemory=256m",
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

/// Longest time of a command on our own repository. Its files may have been made to take longer.
const LOCAL_LIMIT: Duration = Duration::from_secs(600);
/// Longest time of a transfer.
const TRANSFER_LIMIT: Duration = Duration::from_secs(1800);
/// Bytes of one piece of what git prints, and of what it says of errors, where it is handed on.
const PIECE: usize = 64 << 10;
const ERRORS: u64 = 64 << 10;
/// Most bytes of memory of one git process, without the packs, which it only maps (`RLIMIT_DATA`).
const MEMORY: u64 = 4 << 30;
/// Largest file that a git process writes: a pack, or a file of a check-out.
const LARGEST_WRITTEN: u64 = 20 << 30;

/// git with a repository, perhaps a work tree and an index of its own.
#[derive(Debug, Clone)]
pub(super) struct Git {
    /// The repository.
    directory: PathBuf,
    work_tree: Option<PathBuf>,
    index: Option<PathBuf>,
    /// Where it writes objects; `None`: into the repository.
    objects: Option<PathBuf>,
    /// The user it runs as; `None`: ours.
    user: Option<u32>,
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
        Self { directory: git_dir.to_owned(), work_tree: None, index: None, objects: None, user: None }
    }

    /// The same repository, with an index of its own.
    pub(super) fn with_index(&self, index: &Path) -> Self {
        Self { index: Some(index.to_owned()), ..self.clone() }
    }

    /// The same repository and index, with files.
    pub(super) fn with_work_tree(&self, work_tree: &Path) -> Self {
        Self { work_tree: Some(work_tree.to_owned()), ..self.clone() }
    }

    /// The same, with new objects in this directory.
    pub(super) fn writing_to(&self, objects: &Path) -> Self {
        Self { objects: Some(objects.to_owned()), ..self.clone() }
    }

    /// The same, run as this user, to whom the files and the index belong.
    pub(super) fn as_user(&self, user: Option<u32>) -> Self {
        Self { user, ..self.clone() }
    }

    /// The repository.
    pub(super) fn git_dir(&self) -> &Path {
        &self.directory
    }

    /// Runs a command, returns what it prints.
    pub(super) async fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Vec<u8>, GitFailed> {
        self.run_within(LOCAL_LIMIT, args).await
    }

    /// Runs a command that may take `limit`, returns what it prints.
    pub(super) async fn run_within<S: AsRef<OsStr>>(
        &self,
        limit: Duration,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Vec<u8>, GitFailed> {
        finish(self.command(args), &[], limit).await
    }

    /// Runs a command until it has printed `cap` bytes, and returns them; a repository can make git print without end.
    pub(super) async fn run_up_to<S: AsRef<OsStr>>(
        &self,
        cap: u64,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Vec<u8>, GitFailed> {
        let cap = usize::try_from(cap).unwrap_or(usize::MAX);
        let mut printed = Vec::new();
        let fill = |piece: &[u8]| {
            let room = cap - printed.len();
            printed.extend_from_slice(&piece[..piece.len().min(room)]);
            if printed.len() == cap { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        self.run_through(args, fill).await?;
        Ok(printed)
    }

    /// Runs a command and hands on what it prints, piece by piece, until `take` has enough.
    pub(super) async fn run_through<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), GitFailed> {
        let mut command = self.command(args);
        command.stdin(Stdio::null());
        let what = subcommand(&command);
        let outcome = async {
            let mut child = start(&mut command)?;
            let (out, errors) = (child.stdout.take(), child.stderr.take());
            // Having enough closes the pipe, which ends git at its next word.
            let taking = async {
                let Some(mut out) = out else { return Ok(true) };
                let mut piece = vec![0; PIECE];
                loop {
                    let read = out.read(&mut piece).await?;
                    if read == 0 || take(&piece[..read]).is_break() {
                        return io::Result::Ok(read == 0);
                    }
                }
            };
            let (is_all, said) = tokio::try_join!(taking, read(errors, ERRORS))?;
            io::Result::Ok((child.wait().await?, is_all, said))
        };
        match within(LOCAL_LIMIT, outcome).await {
            Ok((_, false, _)) => Ok(()),
            Ok((status, true, said)) => ended(what, status, Vec::new(), &said).map(drop),
            Err(error) => Err(not_run(what, &error)),
        }
    }

    /// Runs a command that reads a file.
    pub(super) async fn feed_file<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: File,
    ) -> Result<Vec<u8>, GitFailed> {
        let mut command = self.command(args);
        command.stdin(Stdio::from(input));
        finish(command, &[], LOCAL_LIMIT).await
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
        finish(command, input, LOCAL_LIMIT).await
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
        finish(command, &[], TRANSFER_LIMIT).await.map_err(|mut failed| {
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
            .env("GIT_DIR", &self.directory)
            .args(OPTIONS.iter().flat_map(|option| ["-c", option]))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .stdin(Stdio::piped())
            .kill_on_drop(true);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        if let Some(work_tree) = &self.work_tree {
            command.env("GIT_WORK_TREE", work_tree).current_dir(work_tree);
        }
        if let Some(index) = &self.index {
            command.env("GIT_INDEX_FILE", index);
        }
        if let Some(objects) = &self.objects {
            let beside = in_list(&self.directory.join("objects"));
            command.env("GIT_OBJECT_DIRECTORY", objects).env("GIT_ALTERNATE_OBJECT_DIRECTORIES", beside);
        }
        command.args(args);
        command
    }
}

/// A path in git's list of object directories, in which a colon ends one that is not quoted (git(1)).
fn in_list(path: &Path) -> OsString {
    let mut quoted = b"\"".to_vec();
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    OsString::from_vec(quoted)
}

/// Makes an empty bare repository without hooks.
pub(super) async fn init(directory: &Path, object_format: &str) -> Result<(), GitFailed> {
    let format = OsString::from(format!("--object-format={object_format}"));
    Git::bare(directory)
        .run([OsStr::new("init"), OsStr::new("--bare"), OsStr::new("--quiet"), OsStr::new("--template="), &format])
        .await
        .map(|_| ())
}

/// The least git that we work with: `cat-file -z` came with it.
const LEAST: (u32, u32) = (2, 38);

/// Looks for a git that we can work with.
///
/// # Errors
/// What is missing, for people.
pub(super) async fn probe() -> Result<(), String> {
    let (major, minor) = LEAST;
    let wanted = format!("install git {major}.{minor} or newer");
    let said = Git::bare(Path::new("/nonexistent")).line(["version"]).await;
    let said = said.map_err(|failed| format!("git does not start ({}): {wanted}", failed.said))?;
    if version(&said).is_some_and(|found| found >= LEAST) { Ok(()) } else { Err(format!("this is {said}: {wanted}")) }
}

/// `git version 2.39.5`
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.strip_prefix("git version ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

async fn finish(mut command: Command, input: &[u8], limit: Duration) -> Result<Vec<u8>, GitFailed> {
    let what = subcommand(&command);
    let outcome = async {
        let mut child = start(&mut command)?;
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
    match within(limit, outcome).await {
        Ok(Output { status, stdout, stderr }) => ended(what, status, stdout, &stderr),
        Err(error) => Err(not_run(what, &error)),
    }
}

/// Starts git, within its limits.
fn start(command: &mut Command) -> io::Result<Child> {
    let child = command.spawn()?;
    if let Some(id) = child.id() {
        // From outside, which spares a fork of this large process. git reads nothing of a repository so early.
        sandbox::limit(id, MEMORY, LARGEST_WRITTEN)?;
    }
    Ok(child)
}

/// Dropping what is not done ends its process.
async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::other(format!("it took longer than {} s", limit.as_secs()));
    tokio::time::timeout(limit, work).await.map_err(late)?
}

async fn read(pipe: Option<impl AsyncRead + Unpin>, cap: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(cap).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

fn ended(what: String, status: ExitStatus, stdout: Vec<u8>, stderr: &[u8]) -> Result<Vec<u8>, GitFailed> {
    if status.success() {
        return Ok(stdout);
    }
    Err(GitFailed { code: status.code(), what, said: String::from_utf8_lossy(stderr).trim().to_owned() })
}

fn not_run(what: String, error: &io::Error) -> GitFailed {
    GitFailed { code: None, what, said: error.to_string() }
}

/// The copy of a repository is not whole: files of it are gone or altered.
#[derive(Debug, thiserror::Error)]
#[error("objects are missing or altered")]
struct Damaged;

/// What git says about a repository whose files are gone or altered, in lower case.
const DAMAGE: [&str; 17] = [
    "unable to read",
    "could not read",
    "failed to read",
    "failed to unpack",
    "bad object",
    "bad tree object",
    "missing blob",
    "missing tree",
    "missing object",
    "is corrupt",
    "is empty",
    "invalid object",
    "not a git repository",
    "not a valid object",
    "not a tree object",
    "inflate",
    "unresolved delta",
];

/// The same failure of a repository of ours that turned out not to be whole.
pub(super) fn damaged(error: ServiceError) -> ServiceError {
    error.caused_by(Damaged)
}

/// Whether the copy of the repository must be made anew.
pub(super) fn is_damaged(error: &ServiceError) -> bool {
    error.source.as_ref().is_some_and(anyhow::Error::is::<Damaged>)
}

/// `git fetch` of a command line full of options.
fn subcommand(command: &Command) -> String {
    let name = command.as_std().get_args().nth(2 * OPTIONS.len());
    format!("git {}", name.unwrap_or_default().to_string_lossy())
}

/// What git says of a file that it cannot add, in lower case.
const OF_FILES: [&str; 5] =
    ["invalid path", "permission denied", "short read", "is a directory", "can only add regular files"];
/// What it says of this host beside such words.
const OF_HOST: [&str; 9] = [
    "no space left",
    "disk quota",
    "input/output error",
    "read-only file system",
    "too many open files",
    "out of memory",
    "temporary file",
    "loose object",
    "repository database",
];

/// A name as git's messages have it.
fn as_printed(name: &Path) -> String {
    let printed = name.as_os_str().as_bytes().iter().map(|byte| match byte {
        b'\t' | b'\n' => *byte,
        byte if byte.is_ascii_control() => b'?',
        byte => *byte,
    });
    String::from_utf8_lossy(&printed.collect::<Vec<u8>>()).into_owned()
}

/// What was said, without what each line has between quotes: names of files and references, which strangers choose.
fn unquoted(said: &str) -> String {
    let without = |line: &str| {
        let mut before = ' ';
        let opening = line.char_indices().find(|(_, here)| {
            // One inside a word is an apostrophe.
            let opens = matches!(here, '\'' | '"') && !before.is_alphanumeric();
            before = *here;
            opens
        });
        let Some((from, quote)) = opening else { return line.to_owned() };
        let to = line.rfind(quote).filter(|to| *to > from).unwrap_or(line.len());
        format!("{} {}", &line[..from], &line[to..])
    };
    said.lines().map(without).collect::<Vec<_>>().join("\n")
}

impl GitFailed {
    /// Whether a command that adds files failed because of what they are, not because of this host. `names`: those of the files
    /// that it was to add, which may hold words of their own.
    pub(super) fn is_about_files(&self, names: &[PathBuf]) -> bool {
        let mut said = self.said.clone();
        for name in names {
            let name = as_printed(name);
            if said.contains(&name) {
                // The ways in which git puts a name into what it says while it adds.
                let (single, double) = (format!("'{name}'"), format!("\"{name}\""));
                said = said.replace(&single, "''").replace(&double, "\"\"");
                said = said
                    .replace(&format!("indexing {name}"), "indexing")
                    .replace(&format!("error: {name}: "), "error: ");
            }
        }
        let said = said.to_lowercase();
        let any = |words: &[&str]| words.iter().any(|words| said.contains(words));
        // git ends with 128, or with 1 where it went on; a git that was killed has said nothing of use.
        self.code.is_some() && any(&OF_FILES) && !any(&OF_HOST)
    }

    /// For a command on our own repository: nothing of it is the caller's fault.
    pub(super) fn unexpected(self) -> ServiceError {
        let said = unquoted(&self.said).to_lowercase();
        // One that was killed or did not start may say anything about a repository that is whole.
        let is_damage = self.code.is_some() && DAMAGE.iter().any(|words| said.contains(words));
        let error = self.of_kind(FailureKind::Unexpected);
        if is_damage { damaged(error) } else { error }
    }

    /// For a command that looks for what must be in our own repository, and says nothing when it is not.
    pub(super) fn missed(self) -> ServiceError {
        let ended = self.code.is_some();
        let error = self.unexpected();
        if ended { damaged(error) } else { error }
    }

    /// For a command that talked to a remote.
    pub(super) fn of_transfer(self) -> ServiceError {
        let said = self.said.to_lowercase();
        let any = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let meaning = MEANINGS.iter().find(|meaning| any(meaning.said));
        let Some(Meaning { kind, next, .. }) = meaning else {
            return self.unexpected();
        };
        let error = self.of_kind(*kind);
        if next.is_empty() { error } else { ServiceError { message: format!("{next}\n{}", error.message), ..error } }
    }

    fn of_kind(self, kind: FailureKind) -> ServiceError {
        let said: String = self.said.chars().take(1000).collect();
        ServiceError::new(kind, format!("{} failed: {said}", self.what))
    }
}

/// What a remote's words mean for the caller.
struct Meaning {
    /// Any of these, in lower case.
    said: &'static [&'static str],
    kind: FailureKind,
    /// What happened and what a person can do about it; empty: nothing beyond what was said.
    next: &'static str,
}

/// The first that fits counts. Faults inside the server come first, since it rejects a push because of them, too; then refusals,
/// which quote rules and hooks with words of their own; then what curl and git say about the connection. GitHub's words:
/// <https://docs.github.com/en/repositories/configuring-branches-and-merges-in-your-repository/managing-rulesets/troubleshooting-rules>,
/// <https://docs.github.com/en/code-security/secret-scanning/working-with-secret-scanning-and-push-protection>.
const MEANINGS: [Meaning; 10] = [
    Meaning {
        // "error: object 81c0...: gitmodulesUrl: disallowed submodule url: -u./x", "fatal: fsck error in packed object"
        said: &["fsck error", "hasdotgit", "gitmodules"],
        kind: FailureKind::Invalid,
        next: "The repository holds what git refuses to take, because it can do harm. Remove it from the history; then retry.",
    },
    Meaning {
        said: &["internal server error", "fatal error in commit_refs", "cannot lock ref", "failed to update ref"],
        kind: FailureKind::Unavailable,
        next: "",
    },
    Meaning {
        // "refusing to allow a GitHub App to create or update workflow `...` without `workflows` permission"
        said: &["refusing to allow"],
        kind: FailureKind::Unauthorized,
        next: "We may not push changes of workflow files. Give a token the scope workflow, an App the permission Workflows: \
               read and write; then retry.",
    },
    Meaning {
        said: &["gh006", "protected branch"],
        kind: FailureKind::Unauthorized,
        next: "The branch is protected. Let our account push to it in the repository's branch rules; then retry.",
    },
    Meaning {
        said: &["error: 413"],
        kind: FailureKind::Invalid,
        next: "The push is larger than the server takes. Split the ticket, or keep large files out of the change.",
    },
    Meaning {
        said: &["[remote rejected]", "hook declined", "push declined", "gh013"],
        kind: FailureKind::Invalid,
        next: "A rule or hook of the repository refused the push. Change what it names, or except our branches from it; then \
               retry.",
    },
    Meaning {
        said: &["authentication failed", "could not read username", "error: 401", "error: 403", "permission to"],
        kind: FailureKind::Unauthorized,
        next: "The repository does not let us in. See `ticketwright check`; then retry.",
    },
    Meaning { said: &["error: 429"], kind: FailureKind::RateLimited, next: "" },
    Meaning {
        said: &[
            "could not resolve",
            "failed to connect",
            "timed out",
            "connection",
            "early eof",
            "error: 5",
            "hung up",
            "unexpected disconnect",
            "rpc failed",
        ],
        kind: FailureKind::Unavailable,
        next: "",
    },
    Meaning {
        said: &["not found", "does not exist", "not our ref", "couldn't find remote ref", "error: 404"],
        kind: FailureKind::NotFound,
        next: "",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(said: &str) -> ServiceError {
        GitFailed { code: Some(1), what: "git push".into(), said: said.into() }.of_transfer()
    }

    #[test]
    fn a_push_that_is_refused_for_good_is_final_and_says_what_to_do() {
        let rejected =
            |why: &str| format!("To https://github.com/acme/shop.git\n ! [remote rejected] 81c0 -> agent/x ({why})");
        let workflow = "refusing to allow a GitHub App to create or update workflow `.github/workflows/ci.yml` without \
                        `workflows` permission";
        let protected = "remote: error: GH006: Protected branch update failed for refs/heads/agent/x.\n\
                         remote: error: Changes must be made through a pull request. Connection to main is not found.\n";
        for (said, kind, next) in [
            (rejected(workflow), FailureKind::Unauthorized, "the scope workflow"),
            (
                protected.to_owned() + &rejected("protected branch hook declined"),
                FailureKind::Unauthorized,
                "branch rules",
            ),
            (rejected("pre-receive hook declined"), FailureKind::Invalid, "rule or hook"),
            (
                "remote: error: GH013: Repository rule violations found for refs/heads/agent/x.\n\
                 remote: - Push cannot contain secrets\n"
                    .to_owned()
                    + &rejected("push declined due to repository rule violations"),
                FailureKind::Invalid,
                "rule or hook",
            ),
            (
                "error: RPC failed; HTTP 413 curl 22 The requested URL returned error: 413".into(),
                FailureKind::Invalid,
                "larger",
            ),
            (
                "remote: Permission to acme/shop.git denied to bot.".into(),
                FailureKind::Unauthorized,
                "ticketwright check",
            ),
        ] {
            let error = meant(&said);
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.kind.is_final());
            assert!(error.message.contains(next) && error.message.contains(&said), "{error}");
        }
    }

    #[tokio::test]
    async fn objects_can_be_kept_apart_wherever_the_repository_lies() {
        let directory = tempfile::tempdir().unwrap();
        let (place, apart) = (directory.path().join("a:b \"c\" \\d"), directory.path().join("apart"));
        std::fs::create_dir(&apart).unwrap();
        init(&place, "sha1").await.unwrap();
        let git = Git::bare(&place);
        let write = ["hash-object", "-w", "--stdin"];
        let object = async |git: &Git, text: &str| {
            let object = git.feed(write, &[], text.as_bytes()).await.unwrap();
            String::from_utf8(object).unwrap().trim().to_owned()
        };
        let old = object(&git, "old").await;
        let both = git.writing_to(&apart);
        let new = object(&both, "new").await;
        for known in [&old, &new] {
            both.run(["cat-file", "-e", known]).await.unwrap();
        }
        assert!(git.run(["cat-file", "-e", &new]).await.is_err());
        // What the repository has is not written again.
        object(&both, "old").await;
        assert_eq!(std::fs::read_dir(&apart).unwrap().count(), 1);
    }

    #[test]
    fn an_old_git_is_told_from_a_new_one() {
        for (said, new) in [("git version 2.34.1", false), ("git version 2.38.0", true), ("git version 3.0.rc1", true)]
        {
            assert_eq!(version(said).unwrap() >= LEAST, new, "{said}");
        }
        assert_eq!(version("zsh: no git"), None);
    }

    #[test]
    fn only_what_is_said_of_files_is_told_to_the_model() {
        let failed = |code, said: &str| GitFailed { code, what: "git add".into(), said: said.into() };
        for said in [
            "error: open(\"object.py\"): Permission denied\nerror: unable to index file 'object.py'\nfatal: adding files failed",
            "error: invalid path 'git~1/x'\nerror: unable to add 'git~1/x' to index\nfatal: adding files failed",
            "error: short read while indexing big.log",
        ] {
            assert!(failed(Some(128), said).is_about_files(&[]), "{said}");
            assert!(!failed(None, said).is_about_files(&[]), "killed: {said}");
        }
        for said in [
            "error: unable to write file objects/ab/cd: No space left on device\nerror: a: failed to insert into database\n\
             error: unable to index file 'a'\nfatal: adding files failed",
            "error: insufficient permission for adding an object to repository database",
            "error: unable to create temporary file: Permission denied",
            "fatal: Out of memory, malloc failed",
            "",
        ] {
            assert!(!failed(Some(128), said).is_about_files(&[]), "{said}");
        }
    }

    #[test]
    fn words_in_names_say_nothing() {
        let failed = |said: String| GitFailed { code: Some(128), what: "git add".into(), said };
        for folder in
            ["loose object bad object", "out of memory", "a' bad object 'b", "c\" is corrupt", "line\nbad object"]
        {
            let name = format!("{folder}/.git::$INDEX_ALLOCATION");
            for said in [
                format!(
                    "error: invalid path '{name}'\nerror: unable to add '{name}' to index\nfatal: adding files failed"
                ),
                format!("error: open(\"{name}\"): Permission denied\nerror: unable to index file '{name}'"),
                format!("error: short read while indexing {name}"),
                format!("error: {name}: can only add regular files, symbolic links or git-directories"),
            ] {
                assert!(failed(said.clone()).is_about_files(&["other".into(), PathBuf::from(&name)]), "{said}");
            }
        }
        let name = "docs/permission denied";
        let full = format!("error: {name}: failed to insert into database\nerror: unable to index file '{name}'");
        assert!(!failed(full).is_about_files(&[name.into()]));

        for (said, damage) in [
            ("fatal: invalid path 'a bad object/x'", false),
            ("error: invalid path 'it's a bad object'", false),
            ("error: couldn't read tree 'x': object file 'objects/ab' is empty", true),
            ("fatal: bad object 'HEAD'", true),
            ("error: object file objects/ab/cd is empty", true),
        ] {
            assert_eq!(is_damaged(&failed(said.into()).unexpected()), damage, "{said}");
        }
    }

    #[test]
    fn a_git_that_was_killed_tells_nothing_of_damage() {
        let failed = |code| GitFailed { code, what: "git cat-file".into(), said: "fatal: unable to read 81c0".into() };
        assert!(is_damaged(&failed(Some(128)).unexpected()) && is_damaged(&failed(Some(1)).missed()));
        assert!(!is_damaged(&failed(None).unexpected()) && !is_damaged(&failed(None).missed()));
    }

    #[test]
    fn faults_of_the_server_and_the_line_are_retried() {
        for said in [
            "remote: Internal Server Error\n ! [remote rejected] 81c0 -> agent/x (Internal Server Error)",
            "remote: fatal error in commit_refs\n ! [remote rejected] 81c0 -> agent/x (failure)",
            "fatal: unable to access 'https://github.com/acme/shop.git/': The requested URL returned error: 503",
            "fatal: the remote end hung up unexpectedly",
            "error: RPC failed; curl 92 HTTP/2 stream 5 was not closed cleanly",
        ] {
            assert_eq!(meant(said).kind, FailureKind::Unavailable, "{said}");
        }
        assert_eq!(meant("The requested URL returned error: 429").kind, FailureKind::RateLimited);
        assert_eq!(meant("remote: Repository not found.").kind, FailureKind::NotFound);
        assert_eq!(meant("remote: something new").kind, FailureKind::Unexpected);
    }
}
