//! What a repository's `.gitattributes` and `.gitignore` say.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use workflows::contract::ids::CommitSha;

use super::apart::Apart;
use super::area;
use super::disk;
use super::git::{Git, GitFailed};
use super::mirror::Mirror;
use super::text;
use crate::failure::ServiceError;

/// Which of `paths`, each ended by a NUL, are kept in Git LFS as the `.gitattributes` in `index` say. `apart`: where some of these
/// may be. `scratch`: a directory of the caller's own.
///
/// The mirror's own attributes switch every filter off, so the question goes to a repository without them. git only tells the
/// names of drivers, and none is defined.
pub(super) async fn kept_in_lfs(
    mirror: &Mirror<'_>,
    apart: Option<&Apart>,
    index: &Path,
    head: &CommitSha,
    scratch: &Path,
    paths: &[u8],
) -> Result<Vec<PathBuf>, ServiceError> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let repository = scratch.join("attributes");
    if !repository.is_dir() {
        area::make_repository(&repository, head, &mirror.objects()).map_err(disk)?;
    }
    let git = Git::bare(&repository).with_index(index).with_work_tree(scratch);
    let git = apart.map_or_else(|| git.clone(), |apart| apart.git(&git));
    let answer = git.feed(["check-attr", "-z", "--cached", "--stdin", "filter"], &[], paths).await;
    let answer = answer.map_err(GitFailed::unexpected)?;
    let fields: Vec<&[u8]> = answer.split(|byte| *byte == 0).collect();
    let kept = fields.chunks_exact(3).filter(|triple| triple[2] == b"lfs");
    Ok(kept.map(|triple| OsStr::from_bytes(triple[0]).into()).collect())
}

/// Which of `paths` the `.gitignore` files of `git`'s work tree name; none that its index has.
pub(super) async fn ignored(git: &Git, paths: impl IntoIterator<Item = &Path>) -> Result<Vec<PathBuf>, ServiceError> {
    let mut ignored = Vec::new();
    let mut left = vec![paths.into_iter().collect::<Vec<&Path>>()];
    while let Some(mut asked) = left.pop() {
        // A colon at the beginning means something else, and this command knows no literal paths.
        let named: Vec<u8> =
            asked.iter().flat_map(|path| [b"./", path.as_os_str().as_bytes(), b"\0"].concat()).collect();
        let args = ["check-ignore", "-z", "--stdin"];
        match git.feed(args, &[("GIT_LITERAL_PATHSPECS", "0")], &named).await {
            Ok(said) => {
                let plain = |path: &[u8]| path.strip_prefix(b"./").unwrap_or(path).to_owned();
                let paths = said.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(plain);
                ignored.extend(paths.map(|path| PathBuf::from(OsStr::from_bytes(&path))));
            }
            // None is.
            Err(failed) if failed.code == Some(1) => {}
            // Of a path inside a submodule git does not tell, nor of any other that is asked for with it.
            Err(failed) if failed.said.contains("is in submodule") => {
                if asked.len() > 1 {
                    left.push(asked.split_off(asked.len() / 2));
                    left.push(asked);
                }
            }
            Err(failed) => return Err(failed.unexpected()),
        }
    }
    Ok(ignored)
}

/// What the model is told of a change that git alone cannot make.
pub(super) fn lfs_refusal(path: &Path) -> String {
    let path = text::shown(path.as_os_str().as_bytes());
    format!("{path} is kept in Git LFS, which I cannot write to. Leave it as it is, or use another path.")
}
