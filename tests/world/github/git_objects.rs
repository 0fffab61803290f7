//! Commits, trees and diffs as values, and the writing of new objects.

use std::path::Path;

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use super::git::{Git, finish};

/// Author or committer of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    /// Display name.
    pub(super) name: String,
    /// E-mail address.
    pub(super) email: String,
    /// Unix time in seconds; written in UTC.
    pub(super) at: i64,
}

impl Person {
    /// As GitHub's `{name, email, date}`.
    pub(super) fn json(&self) -> Value {
        json!({"name": self.name, "email": self.email, "date": iso(self.at)})
    }

    fn line(&self) -> String {
        let clean = |text: &str| text.replace(['\n', '<', '>', '\0'], "").trim().to_owned();
        format!("{} <{}> {} +0000", clean(&self.name), clean(&self.email), self.at)
    }
}

/// Unix seconds as `2026-01-31T12:00:00Z`.
pub(super) fn iso(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A commit.
#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub(super) sha: String,
    pub(super) tree: String,
    pub(super) parents: Vec<String>,
    pub(super) author: Person,
    pub(super) committer: Person,
    /// Whole message, as stored.
    pub(super) message: String,
}

/// One entry of a tree.
#[derive(Debug, Clone)]
pub(super) struct TreeEntry {
    pub(super) mode: String,
    /// `blob`, `tree` or `commit` (submodule).
    pub(super) kind: String,
    pub(super) sha: String,
    /// Bytes; blobs only.
    pub(super) size: Option<u64>,
    pub(super) path: String,
}

/// One file of a diff.
#[derive(Debug, Clone)]
pub(super) struct FileDiff {
    pub(super) path: String,
    pub(super) previous: Option<String>,
    /// In GitHub's words: added, removed, modified, renamed, copied, changed.
    pub(super) status: &'static str,
    pub(super) sha: String,
    pub(super) additions: u64,
    pub(super) deletions: u64,
    /// Hunks without the file header; `None` for binary files.
    pub(super) patch: Option<String>,
}

/// A change to one path of a tree.
#[derive(Debug, Clone)]
pub(super) struct TreeChange {
    pub(super) path: String,
    /// New mode and object; `None` removes the path.
    pub(super) to: Option<(String, String)>,
}

const FORMAT: &str = "--format=%H%x00%T%x00%P%x00%an%x00%ae%x00%at%x00%cn%x00%ce%x00%ct%x00%B%x01";

impl Git {
    /// One commit.
    pub(super) async fn commit(&self, sha: &str) -> anyhow::Result<Commit> {
        self.commits(&["-1", sha]).await?.pop().context("no such commit")
    }

    /// Commits of a `git log` with these arguments, newest first unless they say otherwise.
    pub(super) async fn commits(&self, args: &[&str]) -> anyhow::Result<Vec<Commit>> {
        let mut all = vec!["log", "--no-color", "--no-show-signature", FORMAT];
        all.extend_from_slice(args);
        let text = self.text(&all).await?;
        Ok(text.split('\u{1}').filter_map(|record| parse_commit(record.trim_start_matches('\n'))).collect())
    }

    /// Entries below a tree-ish; with `recursive` all files and directories.
    pub(super) async fn tree(&self, treeish: &str, recursive: bool) -> anyhow::Result<Vec<TreeEntry>> {
        let mut args = vec!["ls-tree", "-z", "-l"];
        if recursive {
            args.extend(["-r", "-t"]);
        }
        args.push(treeish);
        let out = self.bytes(&args).await?;
        Ok(String::from_utf8_lossy(&out).split('\0').filter_map(parse_tree_entry).collect())
    }

    /// Files that differ between two commits, renames found, with hunks.
    pub(super) async fn diff(&self, base: &str, head: &str) -> anyhow::Result<Vec<FileDiff>> {
        let raw = self.bytes(&["diff", "--raw", "-z", "--abbrev=40", "-M", base, head]).await?;
        let mut files = parse_raw_diff(&String::from_utf8_lossy(&raw));
        let text = self.diff_text(base, head).await?;
        let mut patches: Vec<String> = split_patches(&text);
        if patches.len() != files.len() {
            // A change of type (file to link) prints two patches for one file: ask for each file alone.
            patches.clear();
            for file in &files {
                let mut args = vec!["diff", "--no-color", "--no-ext-diff", "-M", base, head, "--", &file.path];
                args.extend(file.previous.as_deref());
                patches.push(self.text(&args).await?);
            }
        }
        for (file, patch) in files.iter_mut().zip(patches) {
            let hunks = patch.find("\n@@ ").map(|at| patch[at + 1..].trim_end_matches('\n').to_owned());
            for line in hunks.iter().flat_map(|hunks| hunks.lines()) {
                file.additions += u64::from(line.starts_with('+'));
                file.deletions += u64::from(line.starts_with('-'));
            }
            file.patch = hunks;
        }
        Ok(files)
    }

    /// Unified diff between two commits.
    pub(super) async fn diff_text(&self, base: &str, head: &str) -> anyhow::Result<String> {
        self.text(&["diff", "--no-color", "--no-ext-diff", "-M", base, head]).await
    }

    /// Stores a file's content.
    pub(super) async fn write_blob(&self, content: &[u8]) -> anyhow::Result<String> {
        self.feed(&["hash-object", "-w", "--stdin"], content).await
    }

    /// Stores a tree: `base` (or nothing) with `changes` applied.
    pub(super) async fn write_tree(&self, base: Option<&str>, changes: &[TreeChange]) -> anyhow::Result<String> {
        let index = tempfile::TempDir::new_in(self.dir())?;
        let index = index.path().join("index");
        if let Some(base) = base {
            self.indexed(&index, &["read-tree", base], None).await?;
        }
        let mut lines = Vec::new();
        for change in changes {
            let path = &change.path;
            match &change.to {
                Some((mode, sha)) if mode == "040000" => {
                    self.indexed(&index, &["rm", "-r", "-q", "--cached", "--ignore-unmatch", "--", path], None).await?;
                    self.indexed(&index, &["read-tree", &format!("--prefix={path}/"), sha], None).await?;
                }
                Some((mode, sha)) => lines.extend_from_slice(format!("{mode} {sha}\t{path}\0").as_bytes()),
                None => lines.extend_from_slice(format!("0 {:040}\t{path}\0", 0).as_bytes()),
            }
        }
        self.indexed(&index, &["update-index", "-z", "--add", "--replace", "--index-info"], Some(&lines)).await?;
        let tree = self.indexed(&index, &["write-tree"], None).await?;
        Ok(String::from_utf8_lossy(&tree).trim().to_owned())
    }

    async fn indexed(&self, index: &Path, args: &[&str], input: Option<&[u8]>) -> anyhow::Result<Vec<u8>> {
        let mut command = self.command(args);
        command.env("GIT_INDEX_FILE", index).current_dir(self.dir());
        finish(command, input).await.with_context(|| format!("git {}", args.join(" ")))
    }

    /// Stores a commit, byte for byte as given: no line end is added to the message, as on GitHub.
    pub(super) async fn write_commit(
        &self,
        tree: &str,
        parents: &[String],
        author: &Person,
        committer: &Person,
        message: &str,
    ) -> anyhow::Result<String> {
        let mut object = format!("tree {tree}\n");
        for parent in parents {
            object.push_str(&format!("parent {parent}\n"));
        }
        object.push_str(&format!("author {}\ncommitter {}\n\n{message}", author.line(), committer.line()));
        self.feed(&["hash-object", "-t", "commit", "-w", "--stdin"], object.as_bytes()).await
    }
}

fn parse_commit(record: &str) -> Option<Commit> {
    let mut parts = record.splitn(10, '\0').map(str::to_owned);
    let (sha, tree, parents) = (parts.next().filter(|sha| !sha.is_empty())?, parts.next()?, parts.next()?);
    let mut person = || Some(Person { name: parts.next()?, email: parts.next()?, at: parts.next()?.parse().ok()? });
    let (author, committer) = (person()?, person()?);
    let message = parts.next()?.trim_end_matches('\n').to_owned();
    Some(Commit {
        sha,
        tree,
        parents: parents.split_whitespace().map(str::to_owned).collect(),
        author,
        committer,
        message,
    })
}

fn parse_tree_entry(record: &str) -> Option<TreeEntry> {
    let (meta, path) = record.split_once('\t')?;
    let mut meta = meta.split_whitespace().map(str::to_owned);
    let (mode, kind, sha) = (meta.next()?, meta.next()?, meta.next()?);
    let size = meta.next().and_then(|size| size.parse().ok());
    Some(TreeEntry { mode, kind, sha, size, path: path.to_owned() })
}

/// `:oldmode newmode oldsha newsha STATUS\0path[\0newpath]\0`, repeated.
fn parse_raw_diff(raw: &str) -> Vec<FileDiff> {
    let mut fields = raw.split('\0');
    let mut files = Vec::new();
    while let Some(meta) = fields.next().filter(|meta| meta.starts_with(':')) {
        let parts: Vec<&str> = meta.split_whitespace().collect();
        let (Some(letter), Some(first)) = (parts.get(4).and_then(|s| s.chars().next()), fields.next()) else { break };
        let (old, new) = (parts[2].to_owned(), parts[3].to_owned());
        let (status, previous, path) = match letter {
            'A' => ("added", None, first.to_owned()),
            'D' => ("removed", None, first.to_owned()),
            'R' => ("renamed", Some(first.to_owned()), fields.next().unwrap_or_default().to_owned()),
            'C' => ("copied", Some(first.to_owned()), fields.next().unwrap_or_default().to_owned()),
            'T' => ("changed", None, first.to_owned()),
            _ => ("modified", None, first.to_owned()),
        };
        let sha = if letter == 'D' { old } else { new };
        files.push(FileDiff { path, previous, status, sha, additions: 0, deletions: 0, patch: None });
    }
    files
}

fn split_patches(text: &str) -> Vec<String> {
    let mut patches: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        match patches.last_mut() {
            Some(last) if !line.starts_with("diff --git ") => last.push_str(line),
            _ if line.starts_with("diff --git ") => patches.push(line.to_owned()),
            _ => {}
        }
    }
    patches
}
