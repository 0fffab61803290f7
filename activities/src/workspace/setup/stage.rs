//! The files that a set-up sees: taken from git on the host, put into a directory of their own.

use std::collections::BTreeMap;
use std::path::Path;

use super::plan::{self, Entry, Files, Part};
use crate::failure::ServiceError;
use crate::workspace::disk;
use crate::workspace::git::{Git, GitFailed};

/// Largest manifest that is read; lock files of large projects have some megabytes.
const LARGEST: u64 = 32 << 20;

/// The files of a part.
#[derive(Debug)]
pub(super) struct Stage {
    /// What is checked out, by its id in git.
    entries: Vec<Entry>,
    /// What decides the result: the same without files whose content does not matter.
    pub(super) keyed: Vec<Entry>,
    /// Empty files.
    placeholders: Vec<String>,
    /// Files of the harness's own, by path.
    written: BTreeMap<String, String>,
}

/// The files of `tree` and the text of its manifests.
pub(super) async fn files(git: &Git, tree: &str) -> Result<Files, ServiceError> {
    let listed = git.run(["ls-tree", "-r", "-l", "-z", tree]).await.map_err(GitFailed::unexpected)?;
    let mut entries = Vec::new();
    for line in listed.split(|byte| *byte == 0) {
        // A path that is no text names nothing that a set-up asks for, and under another name it would be another file.
        let Ok(line) = std::str::from_utf8(line) else { continue };
        // `100644 blob <id> <size>\t<path>`; links and submodules are no files.
        let Some((meta, path)) = line.split_once('\t') else { continue };
        let meta: Vec<&str> = meta.split_whitespace().collect();
        let [mode @ ("100644" | "100755"), "blob", object, size] = meta[..] else { continue };
        let too_large = size.parse::<u64>().is_ok_and(|size| size > LARGEST);
        if !(too_large && plan::is_manifest(path)) {
            entries.push(Entry { mode: mode.into(), object: object.into(), path: path.into() });
        }
    }
    let manifests = plan::manifests(&entries);
    let asked: String = manifests.iter().map(|entry| format!("{}\n", entry.object)).collect();
    let mut texts = BTreeMap::new();
    if !manifests.is_empty() {
        let answer = git.feed(["cat-file", "--batch"], &[], asked.as_bytes()).await.map_err(GitFailed::unexpected)?;
        let mut rest = answer.as_slice();
        for entry in manifests {
            let Some((text, after)) = blob(rest) else { break };
            texts.insert(entry.path.clone(), String::from_utf8_lossy(text).into_owned());
            rest = after;
        }
    }
    Ok(Files { entries, texts })
}

/// The content of the first object of `cat-file --batch`, `<id> blob <size>\n<content>\n`, and what follows.
fn blob(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (head, rest) = bytes.split_at(end + 1);
    let size: usize = std::str::from_utf8(head).ok()?.trim_end().rsplit(' ').next()?.parse().ok()?;
    let (content, rest) = rest.split_at_checked(size)?;
    Some((content, rest.get(1..)?))
}

/// The stage of `part` for a tree with `files`. A part that sees everything sees the base's files, manifests included: their
/// scripts run while the registries are in reach.
pub(super) fn of(part: &Part, files: &Files, base: &Files) -> Stage {
    let entries: Vec<Entry> = match &part.manifests {
        Some(paths) => files.entries.iter().filter(|entry| paths.contains(&entry.path)).cloned().collect(),
        None => base.entries.clone(),
    };
    Stage { keyed: entries.clone(), entries, placeholders: part.placeholders.clone(), written: part.written.clone() }
}

impl Stage {
    /// A stage of files that a command needs with their content.
    pub(super) fn with(entries: Vec<Entry>, placeholders: Vec<String>) -> Self {
        Self { keyed: entries.clone(), entries, placeholders, written: BTreeMap::new() }
    }

    /// The same with these beside what the harness writes.
    pub(super) fn and(&self, written: &BTreeMap<String, String>) -> Self {
        let mut all = self.written.clone();
        all.extend(written.iter().map(|(path, content)| (path.clone(), content.clone())));
        let (entries, placeholders) = (self.entries.clone(), self.placeholders.clone());
        Self { keyed: self.keyed.clone(), entries, placeholders, written: all }
    }

    /// The same with these in place of what is checked out.
    pub(super) fn replacing(self, written: BTreeMap<String, String>) -> Self {
        Self { written, ..self }
    }

    /// Lays the files out in `directory`. `index`: a path for git to work with.
    pub(super) async fn lay_out(&self, git: &Git, directory: &Path, index: &Path) -> Result<(), ServiceError> {
        let git = git.with_index(index).with_work_tree(directory);
        let mut input = Vec::new();
        for Entry { mode, object, path } in &self.entries {
            input.extend_from_slice(format!("{mode} {object}\t{path}\0").as_bytes());
        }
        if !input.is_empty() {
            git.feed(["update-index", "--add", "-z", "--index-info"], &[], &input)
                .await
                .map_err(GitFailed::unexpected)?;
            git.run(["checkout-index", "--all", "--force"]).await.map_err(GitFailed::unexpected)?;
        }
        // Only regular files were checked out, so no path leads elsewhere.
        for path in &self.placeholders {
            let path = directory.join(path);
            if !path.exists() {
                write(&path, "").map_err(disk)?;
            }
        }
        for (path, content) in &self.written {
            write(&directory.join(path), content).map_err(disk)?;
        }
        Ok(())
    }
}

fn write(path: &Path, content: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, content)
}
