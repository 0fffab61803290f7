//! One file of a tree written, without a check-out.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::apart::Apart;
use super::area::Area;
use super::git::{Git, GitFailed};
use super::mirror::Mirror;
use super::objects::{self, Entry, Files};
use super::paths::InnerPath;
use super::snapshot::{LARGEST_RULES, too_large, too_many_rules};
use super::{attributes, disk};
use crate::failure::ServiceError;

/// Where files of a tree are written.
pub(super) struct Editor<'a> {
    pub(super) mirror: &'a Mirror<'a>,
    pub(super) area: &'a Area,
    /// Where new objects go.
    pub(super) apart: &'a Apart,
    pub(super) tree: &'a str,
}

/// A tree with one file written.
pub(super) struct Edited {
    pub(super) tree: String,
    /// Its index.
    pub(super) index: PathBuf,
}

impl Editor<'_> {
    /// Writes a whole file. An existing one keeps its executable bit; no link is followed; what the repository ignores is not
    /// written.
    ///
    /// # Errors
    /// Inner: a sentence for the model.
    pub(super) async fn write(&self, path: &InnerPath, content: &[u8]) -> Result<Result<Edited, String>, ServiceError> {
        let files = Files { git: &self.mirror.git, tree: self.tree };
        let above = path.with_parents();
        let ignores: Vec<PathBuf> =
            above.iter().map(|path| path.parent().unwrap_or(Path::new("")).join(".gitignore")).collect();
        let asked: Vec<&Path> = above.iter().copied().chain(ignores.iter().map(PathBuf::as_path)).collect();
        let entries = files.entries(&asked).await?;
        for part in &above {
            let Some(entry) = entries.get(*part) else { break };
            let is_last = *part == path.as_path();
            if entry.is_submodule() {
                return Ok(Err(objects::in_submodule(part)));
            }
            if entry.is_link() {
                return Ok(Err(path.sentence(Errno::ELOOP)));
            }
            if entry.is_directory() == is_last {
                return Ok(Err(path.sentence(if is_last { Errno::EISDIR } else { Errno::ENOTDIR })));
            }
        }
        if let Some(why) = too_large(path.as_path(), content.len() as u64) {
            return Ok(Err(why));
        }
        let before = entries.get(path.as_path());
        if before.is_none() {
            let ignores: Vec<(&Path, &Entry)> =
                ignores.iter().filter_map(|path| Some((path.as_path(), entries.get(path)?))).collect();
            if let Some(why) = self.ignored(path, &ignores).await? {
                return Ok(Err(why));
            }
        }
        let git = &self.apart.git(&self.mirror.git);
        let object = git.feed(["hash-object", "-w", "--stdin"], &[], content).await.map_err(GitFailed::unexpected)?;
        let object = String::from_utf8_lossy(&object).trim().to_owned();
        let mode = before.map_or("100644", |before| before.mode.as_str());
        let index = self.area.path().join("edit-index");
        let tree = put(&git.with_index(&index), self.tree, mode, &object, path).await?;
        if tree == self.tree && before.is_none_or(|before| before.object != object) {
            return Ok(Err(format!("git keeps no file named {}. Use another path.", path.shown())));
        }
        Ok(Ok(Edited { tree, index }))
    }

    /// For the model, why a path is not kept: the tree's own `.gitignore` files, of which these are the ones that count, name it.
    /// git reads them from files.
    async fn ignored(&self, path: &InnerPath, ignores: &[(&Path, &Entry)]) -> Result<Option<String>, ServiceError> {
        // git reads no ignore file through a link.
        let regular: Vec<_> = ignores.iter().filter(|(_, entry)| entry.mode.starts_with("100")).collect();
        if regular.is_empty() {
            return Ok(None);
        }
        let root = self.area.make("ignores")?;
        for (name, entry) in regular {
            let args = ["cat-file", "blob", &entry.object];
            let content = self.mirror.git.run_up_to(LARGEST_RULES + 1, args).await.map_err(GitFailed::unexpected)?;
            if u64::try_from(content.len()).is_ok_and(|read| read > LARGEST_RULES) {
                return Ok(Some(too_many_rules(name)));
            }
            let file = root.join(name);
            if let Some(folder) = file.parent() {
                std::fs::create_dir_all(folder).map_err(disk)?;
            }
            std::fs::write(file, content).map_err(disk)?;
        }
        let git = self.mirror.git.with_index(&self.area.path().join("no-index")).with_work_tree(&root);
        let ignored = attributes::ignored(&git, [path.as_path()]).await?;
        Ok((!ignored.is_empty()).then(|| {
            let path = path.shown();
            format!("{path} is ignored by the repository's .gitignore, so it was not kept. Use another path.")
        }))
    }
}

/// `tree` with `object` at `path`. `git` has an index of its own.
async fn put(git: &Git, tree: &str, mode: &str, object: &str, path: &InnerPath) -> Result<String, ServiceError> {
    git.run(["read-tree", tree]).await.map_err(GitFailed::unexpected)?;
    let mut entry = format!("{mode} {object}\t").into_bytes();
    entry.extend_from_slice(path.as_path().as_os_str().as_bytes());
    entry.push(0);
    git.feed(["update-index", "-z", "--index-info"], &[], &entry).await.map_err(GitFailed::unexpected)?;
    git.line(["write-tree"]).await.map_err(GitFailed::unexpected)
}
