//! From files to a snapshot: a tree byte for byte, a commit that is the same wherever it is made, and a bundle.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use workflows::contract::ids::CommitSha;
use workflows::contract::workspace::{Snapshot, Workspace};

use super::area::Checkout;
use super::disk;
use super::mirror::Mirror;
use crate::blobs::Blobs;
use crate::failure::ServiceError;

/// Largest file of a snapshot: GitHub refuses files over 100 MB.
const LARGEST_FILE: u64 = 95 << 20;

/// Who and when, always the same: equal files on an equal base are an equal commit.
const FIXED: [(&str, &str); 6] = [
    ("GIT_AUTHOR_NAME", "Ticketwright"),
    ("GIT_AUTHOR_EMAIL", "ticketwright@users.noreply.github.com"),
    ("GIT_AUTHOR_DATE", "1000000000 +0000"),
    ("GIT_COMMITTER_NAME", "Ticketwright"),
    ("GIT_COMMITTER_EMAIL", "ticketwright@users.noreply.github.com"),
    ("GIT_COMMITTER_DATE", "1000000000 +0000"),
];

/// What taking a snapshot came to.
pub(super) enum Taken {
    /// The workspace after the call; the very same when nothing changed.
    Snapshot(Workspace),
    /// The files cannot be kept; for the model, why and what to do.
    Refused(String),
}

/// Takes a snapshot of the files of `checkout`, which came from `before`. Ignored files are not part of it.
pub(super) async fn take(
    mirror: &Mirror<'_>,
    checkout: &Checkout,
    before: &Workspace,
    blobs: &Blobs,
) -> Result<Taken, ServiceError> {
    let files = checkout.files.clone();
    let audited = tokio::task::spawn_blocking(move || audit(&files, Path::new("")));
    if let Some(refused) = audited.await.map_err(disk)?.map_err(disk)? {
        return Ok(Taken::Refused(refused));
    }
    if let Err(failed) = checkout.git.run(["add", "--all", "."]).await {
        let said: String = failed.said.lines().take(3).collect::<Vec<_>>().join("; ");
        return Ok(Taken::Refused(format!("git cannot keep these files: {said}. Remove or rename them.")));
    }
    let tree = checkout.git.line(["write-tree"]).await.map_err(super::git::GitFailed::unexpected)?;
    keep(mirror, &tree, before, blobs).await.map(Taken::Snapshot)
}

/// The workspace with the files of `tree`, which is in the mirror.
async fn keep(mirror: &Mirror<'_>, tree: &str, before: &Workspace, blobs: &Blobs) -> Result<Workspace, ServiceError> {
    if before.snapshot.as_ref().is_some_and(|snapshot| snapshot.tree.as_str() == tree) {
        return Ok(before.clone());
    }
    if mirror.tree_of(&before.base).await? == tree {
        return Ok(Workspace { snapshot: None, ..before.clone() });
    }
    let base = before.base.as_str();
    let commit = ["commit-tree", tree, "-p", base, "-m", "Snapshot"];
    let commit = mirror.git.feed(commit, &FIXED, &[]).await.map_err(super::git::GitFailed::unexpected)?;
    let commit = id(&String::from_utf8_lossy(&commit))?;
    let bundle = blobs.put(bundle(mirror, &before.base, &commit).await?).await?;
    Ok(Workspace { snapshot: Some(Snapshot { commit, tree: id(tree)?, bundle }), ..before.clone() })
}

/// A git bundle with one commit on top of `base`. Written by hand, because `git bundle create` wants a reference, and
/// references are shared by all calls (format: gitformat-bundle(5)).
async fn bundle(mirror: &Mirror<'_>, base: &CommitSha, commit: &CommitSha) -> Result<Vec<u8>, ServiceError> {
    let pack = ["pack-objects", "--revs", "--thin", "--stdout", "--quiet", "--delta-base-offset", "--threads=1"];
    let revisions = format!("{commit}\n^{base}\n");
    let pack = mirror.git.feed(pack, &[], revisions.as_bytes()).await.map_err(super::git::GitFailed::unexpected)?;
    let header = match base.as_str().len() {
        64 => "# v3 git bundle\n@object-format=sha256\n",
        _ => "# v2 git bundle\n",
    };
    let mut bundle = format!("{header}-{base} base\n{commit} refs/ticketwright/snapshot\n\n").into_bytes();
    bundle.extend_from_slice(&pack);
    Ok(bundle)
}

fn id(text: &str) -> Result<CommitSha, ServiceError> {
    text.trim().parse().map_err(disk)
}

/// Looks for what git would lose or trip over. Pipes, sockets and devices are removed; the rest is the model's to mend.
fn audit(root: &Path, below: &Path) -> io::Result<Option<String>> {
    let entries = match std::fs::read_dir(root.join(below)) {
        Ok(entries) => entries,
        Err(error) => return out_of_reach(below, error),
    };
    for entry in entries {
        let entry = entry?;
        let path = below.join(entry.file_name());
        let name = entry.file_name().as_bytes().to_ascii_lowercase();
        let at_top = below.as_os_str().is_empty();
        if at_top && entry.file_name().as_bytes() == b".git" {
            continue;
        }
        if name == b".git" || name == b"git~1" {
            return Ok(Some(format!(
                "{} is a git repository inside the repository; its files would be lost. Remove it, or only its git folder.",
                path.display()
            )));
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if let Some(refused) = audit(root, &path)? {
                return Ok(Some(refused));
            }
        } else if kind.is_file() {
            let size = match entry.metadata() {
                Ok(metadata) => metadata.len(),
                Err(error) => return out_of_reach(below, error),
            };
            if size > LARGEST_FILE {
                let (size, most) = (size >> 20, LARGEST_FILE >> 20);
                return Ok(Some(format!(
                    "{} has {size} MB; GitHub takes at most {most} MB. Remove it.",
                    path.display()
                )));
            }
        } else if !kind.is_symlink()
            && let Err(error) = std::fs::remove_file(entry.path())
        {
            return out_of_reach(below, error);
        }
    }
    Ok(None)
}

/// Closed directories and endless paths are the model's doing, and it can mend them; other errors are this host's.
fn out_of_reach(directory: &Path, error: io::Error) -> io::Result<Option<String>> {
    // The beginning tells which it is; an endless path would fill the reply.
    let shown: String = directory.display().to_string().chars().take(200).collect();
    let shown = if shown.is_empty() { "." } else { &shown };
    match error.kind() {
        io::ErrorKind::PermissionDenied => Ok(Some(format!(
            "{shown} cannot be read: its permissions keep me out. Let the command open it at its end (chmod -R u+rwX {shown}) or remove it."
        ))),
        io::ErrorKind::InvalidFilename => Ok(Some(format!(
            "The path that begins with {shown} is longer than a path may be. Let the command remove that directory."
        ))),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_closed_directory_is_told_to_the_model() {
        let directory = crate::sandbox::tests::open_directory();
        let closed = directory.path().join("a/closed");
        std::fs::create_dir_all(&closed).unwrap();
        std::fs::write(directory.path().join("a/file"), "x").unwrap();
        std::fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        let root = directory.path().to_owned();
        // Root may read everything, so this thread gives up being root where files are concerned.
        let look = std::thread::spawn(move || {
            nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
            audit(&root, Path::new(""))
        });
        let said = look.join().unwrap().unwrap().expect("refused");
        std::fs::set_permissions(&closed, Permissions::from_mode(0o755)).unwrap();
        assert!(said.starts_with("a/closed cannot be read") && said.contains("chmod -R u+rwX a/closed"), "{said}");
        assert_eq!(audit(directory.path(), Path::new("")).unwrap(), None, "open, it can be kept");
    }

    #[test]
    fn a_fault_of_the_disk_is_not_the_models() {
        let fault = io::Error::from(io::ErrorKind::StorageFull);
        assert!(out_of_reach(Path::new("a"), fault).is_err());
    }
}
