//! Bare repositories on disk, read and written by the git program with an environment that no user setting reaches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::io::AsyncWriteExt as _;

use super::git_objects::Person;

/// A repository directory that git commands run in.
#[derive(Debug, Clone)]
pub(super) struct Git {
    dir: PathBuf,
}

/// A `git` command without hooks and without the user's or the machine's configuration.
pub(super) fn git_command() -> tokio::process::Command {
    let mut command = tokio::process::Command::new("git");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()))
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C.UTF-8")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .args(["-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false", "-c", "safe.directory=*"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a prepared command, feeds it `input` and returns what it printed; fails with its error text.
pub(super) async fn finish(mut command: tokio::process::Command, input: Option<&[u8]>) -> anyhow::Result<Vec<u8>> {
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().context("git does not start")?;
    let output = match (input, child.stdin.take()) {
        (Some(bytes), Some(mut stdin)) => {
            let bytes = bytes.to_vec();
            // Writing beside reading: a command that answers before it has read everything must not block.
            let feed = tokio::spawn(async move {
                let _ = stdin.write_all(&bytes).await;
            });
            let output = child.wait_with_output().await?;
            feed.abort();
            output
        }
        _ => child.wait_with_output().await?,
    };
    if !output.status.success() {
        bail!("git ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

impl Git {
    /// Where the repository lies.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Creates an empty bare repository with `main` as its first branch.
    pub(super) async fn init(dir: PathBuf) -> anyhow::Result<Self> {
        let mut command = git_command();
        command.args(["init", "--quiet", "--bare", "--initial-branch=main"]).arg(&dir);
        finish(command, None).await?;
        let git = Self { dir };
        git.configure().await?;
        Ok(git)
    }

    /// Copies an existing repository (path or URL) with all its branches.
    pub(super) async fn clone_from(source: &str, dir: PathBuf) -> anyhow::Result<Self> {
        let mut command = git_command();
        command.args(["clone", "--quiet", "--bare", "--no-hardlinks", source]).arg(&dir);
        finish(command, None).await?;
        let git = Self { dir };
        git.configure().await?;
        Ok(git)
    }

    /// What GitHub's servers do too: pushes over HTTP, any reachable commit by its hash, `refs/pull` not writable.
    async fn configure(&self) -> anyhow::Result<()> {
        for (key, value) in [
            ("http.receivepack", "true"),
            ("http.uploadpack", "true"),
            ("uploadpack.allowAnySHA1InWant", "true"),
            ("uploadpack.allowFilter", "true"),
            ("receive.hideRefs", "refs/pull"),
            ("gc.auto", "0"),
        ] {
            self.text(&["config", key, value]).await?;
        }
        Ok(())
    }

    /// A command in this repository.
    pub(super) fn command(&self, args: &[&str]) -> tokio::process::Command {
        let mut command = git_command();
        command.arg("--git-dir").arg(&self.dir).args(args);
        command
    }

    /// Output as bytes.
    pub(super) async fn bytes(&self, args: &[&str]) -> anyhow::Result<Vec<u8>> {
        finish(self.command(args), None).await.with_context(|| format!("git {}", args.join(" ")))
    }

    /// Output as text without its last line end.
    pub(super) async fn text(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut text = String::from_utf8_lossy(&self.bytes(args).await?).into_owned();
        if text.ends_with('\n') {
            text.pop();
        }
        Ok(text)
    }

    /// Output of a command that reads `input`, trimmed.
    pub(super) async fn feed(&self, args: &[&str], input: &[u8]) -> anyhow::Result<String> {
        let out = finish(self.command(args), Some(input)).await.with_context(|| format!("git {}", args.join(" ")))?;
        Ok(String::from_utf8_lossy(&out).trim().to_owned())
    }

    /// Whether a command succeeds.
    pub(super) async fn succeeds(&self, args: &[&str]) -> bool {
        self.bytes(args).await.is_ok()
    }

    /// The commit a name means on GitHub: branch, tag, `heads/x`, full ref or (short) hash, in this order.
    pub(super) async fn resolve(&self, name: &str) -> Option<String> {
        if name.is_empty() || name.starts_with('-') || name.contains("..") || name.contains('@') && name.contains('{') {
            return None;
        }
        let hash = name.len() >= 7 && name.bytes().all(|b| b.is_ascii_hexdigit());
        let mut candidates = vec![format!("refs/heads/{name}"), format!("refs/tags/{name}"), format!("refs/{name}")];
        if name == "HEAD" || name.starts_with("refs/") || hash {
            candidates.push(name.to_owned());
        }
        for candidate in candidates {
            if let Ok(sha) = self.text(&["rev-parse", "--verify", "--quiet", &format!("{candidate}^{{commit}}")]).await
            {
                return Some(sha);
            }
        }
        None
    }

    /// What a full ref (`refs/heads/main`) points at.
    pub(super) async fn reference(&self, full: &str) -> Option<String> {
        self.text(&["show-ref", "--verify", "--hash", full]).await.ok().filter(|sha| !sha.is_empty())
    }

    /// All branches and tags with their hashes.
    pub(super) async fn references(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let text = self.text(&["for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags"]).await?;
        Ok(text.lines().filter_map(|line| line.split_once(' ')).map(|(n, s)| (n.to_owned(), s.to_owned())).collect())
    }

    /// Moves or creates a ref; with `old` only when it still points there (all zeros: does not exist).
    pub(super) async fn update_reference(&self, full: &str, new: &str, old: Option<&str>) -> anyhow::Result<()> {
        let mut args = vec!["update-ref", full, new];
        args.extend(old);
        self.text(&args).await.map(drop)
    }

    /// Removes a ref.
    pub(super) async fn delete_reference(&self, full: &str) -> anyhow::Result<()> {
        self.text(&["update-ref", "-d", full]).await.map(drop)
    }

    /// Type of an object, `None` when it is not there.
    pub(super) async fn kind(&self, object: &str) -> Option<String> {
        if object.starts_with('-') {
            return None;
        }
        self.text(&["cat-file", "-t", object]).await.ok()
    }

    /// Best common ancestor.
    pub(super) async fn merge_base(&self, one: &str, other: &str) -> Option<String> {
        self.text(&["merge-base", one, other]).await.ok()
    }

    /// Whether `old` is in the history of `new`.
    pub(super) async fn is_ancestor(&self, old: &str, new: &str) -> bool {
        self.succeeds(&["merge-base", "--is-ancestor", old, new]).await
    }

    /// Number of commits in a range like `a..b`.
    pub(super) async fn count(&self, range: &str) -> u64 {
        self.text(&["rev-list", "--count", range]).await.ok().and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// The tree of merging two commits, `None` on conflicts.
    pub(super) async fn merged_tree(&self, ours: &str, theirs: &str) -> Option<String> {
        let text = self.text(&["merge-tree", "--write-tree", ours, theirs]).await.ok()?;
        text.lines().next().map(str::to_owned)
    }

    /// Content of a file at a commit.
    pub(super) async fn file(&self, commit: &str, path: &str) -> Option<Vec<u8>> {
        self.bytes(&["cat-file", "blob", &format!("{commit}:{path}")]).await.ok()
    }

    /// Files of a directory become the first commit on `main`, always with the same author and date, so that its
    /// hash depends on the files only.
    pub(super) async fn import_directory(&self, source: &Path) -> anyhow::Result<()> {
        let index = tempfile::NamedTempFile::new_in(&self.dir)?.into_temp_path();
        std::fs::remove_file(&index)?;
        let mut add = git_command();
        add.arg("--git-dir").arg(&self.dir).arg("--work-tree").arg(source);
        add.args(["-c", "core.fileMode=true", "add", "--all", "."]).env("GIT_INDEX_FILE", &index).current_dir(source);
        finish(add, None).await?;
        let mut write = self.command(&["write-tree"]);
        write.env("GIT_INDEX_FILE", &index);
        let tree = String::from_utf8(finish(write, None).await?)?.trim().to_owned();
        let founder = Person { name: "Ana".into(), email: "ana@acme.example".into(), at: 1_760_000_000 };
        let commit = self.write_commit(&tree, &[], &founder, &founder, "Initial commit\n").await?;
        self.update_reference("refs/heads/main", &commit, None).await?;
        std::fs::remove_file(&index).ok();
        Ok(())
    }
}
