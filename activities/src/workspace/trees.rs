//! The trees that a proof compares and puts together: what differs between them, and one with files of another.

use super::git::GitFailed;
use super::judge::Refusal;
use super::prove::Making;
use super::{plain, repository, text};
use crate::failure::ServiceError;

/// Bytes of one file that are looked at. A longer one ends in a mark that no text has, like one that is no UTF-8.
const CONTENT_CAP: u64 = 8 << 20;
/// Bytes of a change that are looked at.
const DIFF_CAP: u64 = 32 << 20;

/// A file that differs between two trees.
pub(super) struct Changed {
    pub(super) path: String,
    pub(super) mode: String,
    object: String,
    /// `A`, `M`, `D` or `T`.
    pub(super) status: char,
}

impl Making<'_> {
    /// The text of a file of a tree; of one that is not `there`, nothing.
    pub(super) async fn content(&self, tree: &str, path: &str, there: bool) -> Result<String, ServiceError> {
        if !there {
            return Ok(String::new());
        }
        // Not asked for by its name, which may be one that git takes for a commit's.
        let Some(found) = self.originals_at(tree, &[path.to_owned()]).await?.pop() else { return Ok(String::new()) };
        let content = self.mirror.git.run_up_to(CONTENT_CAP, ["cat-file", "-p", &found.object]).await;
        let content = content.map_err(GitFailed::unexpected)?;
        let mut text = String::from_utf8_lossy(&content).into_owned();
        if u64::try_from(content.len()).is_ok_and(|read| read == CONTENT_CAP) {
            text.push('\u{fffd}');
        }
        Ok(text)
    }

    /// Paths of all files of a tree.
    pub(super) async fn paths(&self, tree: &str) -> Result<Vec<String>, ServiceError> {
        repository::names(&self.mirror.git, tree).await
    }

    /// The lines in which two trees differ, without any around them.
    pub(super) async fn diff(&self, from: &str, to: &str) -> Result<Result<String, Refusal>, ServiceError> {
        let diff = [
            "-c",
            "core.quotePath=false",
            "diff",
            "--no-ext-diff",
            "--no-textconv",
            "--no-renames",
            "--no-color",
            "--unified=0",
            from,
            to,
        ];
        let diff = self.mirror.git.run_up_to(DIFF_CAP, diff).await.map_err(GitFailed::unexpected)?;
        if u64::try_from(diff.len()).is_ok_and(|read| read == DIFF_CAP) {
            return Ok(Err(format!(
                "The change has more than {} MB of text, too much to be looked at. Leave out what is made by a program.",
                DIFF_CAP >> 20
            )));
        }
        Ok(Ok(String::from_utf8_lossy(&diff).into_owned()))
    }

    /// `tree` with other contents at some paths; `None` removes the file. Modes stay as they are.
    pub(super) async fn with_contents(
        &self,
        tree: &str,
        contents: &[(String, Option<String>)],
    ) -> Result<String, ServiceError> {
        let git = self.mirror.git.with_index(&self.area.path().join("overlay"));
        let failed = |failed: GitFailed| failed.unexpected();
        let mut files = Vec::new();
        for (path, content) in contents {
            let known = self.originals_at(tree, std::slice::from_ref(path)).await?.pop();
            let mode = known.map_or_else(|| "100644".to_owned(), |known| known.mode);
            let change = match content {
                Some(content) => {
                    let object =
                        git.feed(["hash-object", "-w", "--stdin"], &[], content.as_bytes()).await.map_err(failed)?;
                    let object = String::from_utf8_lossy(&object).trim_end().to_owned();
                    Changed { path: path.clone(), mode, object, status: 'M' }
                }
                None => Changed { path: path.clone(), mode: "0".into(), object: "0".repeat(tree.len()), status: 'D' },
            };
            files.push(change);
        }
        self.overlay(tree, files.iter()).await
    }

    /// What differs between two trees: for each file `:100644 100755 <old> <new> M` and its path, each ended by a NUL.
    async fn raw_changes(&self, from: &str, to: &str) -> Result<String, ServiceError> {
        let args = ["diff-tree", "-r", "-z", "--no-renames", "--raw", from, to];
        let raw = self.mirror.git.run(args).await.map_err(GitFailed::unexpected)?;
        Ok(String::from_utf8_lossy(&raw).into_owned())
    }

    pub(super) async fn changed(&self, from: &str, to: &str) -> Result<Vec<Changed>, ServiceError> {
        let raw = self.raw_changes(from, to).await?;
        let mut fields = raw.split_terminator('\0');
        let mut changed = Vec::new();
        while let (Some(meta), Some(path)) = (fields.next(), fields.next()) {
            // Told of by `unnamed`.
            if path.contains('\u{fffd}') {
                continue;
            }
            // `:100644 100755 <old> <new> M`
            let meta: Vec<&str> = meta.split(' ').collect();
            let [_, mode, _, object, status] = meta[..] else { continue };
            let status = status.chars().next().unwrap_or('M');
            changed.push(Changed { path: path.into(), mode: mode.into(), object: object.into(), status });
        }
        Ok(changed)
    }

    /// Files that differ under names which no other part of a proof can tell: they are not UTF-8, or look as if they were not.
    /// Documents go before a person.
    pub(super) async fn unnamed(&self, from: &str, to: &str) -> Result<Result<Vec<String>, Refusal>, ServiceError> {
        let raw = self.raw_changes(from, to).await?;
        let mut fields = raw.split_terminator('\0');
        let mut told = Vec::new();
        while let (Some(meta), Some(path)) = (fields.next(), fields.next()) {
            if !path.contains('\u{fffd}') {
                continue;
            }
            let shown = text::cap_line(path, 200);
            let is_file = [" 100644 ", " 000000 "].iter().any(|mode| meta.contains(mode));
            if plain::forbidden(path).is_some() || !is_file {
                return Ok(Err(format!(
                    "{shown} is changed, and its name is not plain text, so nothing can be said about it. Leave it as it is, or \
                     give it a name in UTF-8."
                )));
            }
            told.push(format!("{shown} has a name that is not plain text; nothing in it was looked at"));
        }
        Ok(Ok(told))
    }

    /// The files at the paths of `edited`, as `tree` has them.
    pub(super) async fn originals(&self, tree: &str, edited: &[&Changed]) -> Result<Vec<Changed>, ServiceError> {
        let paths: Vec<String> = edited.iter().map(|change| change.path.clone()).collect();
        self.originals_at(tree, &paths).await
    }

    pub(super) async fn originals_at(&self, tree: &str, paths: &[String]) -> Result<Vec<Changed>, ServiceError> {
        if paths.is_empty() {
            // Without a path git lists the root.
            return Ok(Vec::new());
        }
        let mut args = vec!["ls-tree", "-z", tree, "--"];
        args.extend(paths.iter().map(String::as_str));
        let listed = self.mirror.git.run(args).await.map_err(GitFailed::unexpected)?;
        let listed = String::from_utf8_lossy(&listed);
        // `100644 blob <id>\t<path>`
        let entry = |line: &str| {
            let (meta, path) = line.split_once('\t')?;
            let mut meta = meta.split(' ');
            let (mode, object) = (meta.next()?.to_owned(), meta.nth(1)?.to_owned());
            Some(Changed { path: path.to_owned(), mode, object, status: 'M' })
        };
        Ok(listed.split_terminator('\0').filter_map(entry).collect())
    }

    /// `tree` with some files of another.
    pub(super) async fn overlay(
        &self,
        tree: &str,
        files: impl Iterator<Item = &Changed>,
    ) -> Result<String, ServiceError> {
        let git = self.mirror.git.with_index(&self.area.path().join("overlay"));
        let failed = |failed: GitFailed| failed.unexpected();
        git.run(["read-tree", tree]).await.map_err(failed)?;
        let mut input = Vec::new();
        for file in files {
            input.extend_from_slice(format!("{} {}\t{}\0", file.mode, file.object, file.path).as_bytes());
        }
        git.feed(["update-index", "--replace", "-z", "--index-info"], &[], &input).await.map_err(failed)?;
        git.line(["write-tree"]).await.map_err(failed)
    }
}
