//! Work trees between two calls. One that a command ended well in is kept, with what its builds left behind, and the next call
//! of the same ticket goes on in it: git brings it to the snapshot of that call by the difference alone.
//!
//! What is kept is never believed. git compares every file with what it noted when it last read or wrote it, the time of change
//! included, which nothing inside a sandbox can set; what differs is written anew, and what belongs to no snapshot is removed.
//! Only files that the repository ignores stay, for the ticket that made them. Proofs use no kept tree.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use workflows::contract::ids::{CommitSha, Digest, RepositoryName};

use super::area::{self, Area, Checkout, Claim};
use super::cache::{self, Kept};
use super::git::GitFailed;
use super::mirror::Mirror;
use super::snapshot::Walked;
use super::{Settings, disk, lock, setup};
use crate::failure::ServiceError;

/// Trees that one ticket keeps of a repository: one to go on in, one for a command beside it.
const PER_TICKET: usize = 2;
/// After this time without use another ticket may take a tree over.
const IDLE: Duration = Duration::from_secs(300);
/// Beginning of the name of a tree that is being removed.
const ASIDE: &str = "aside";

/// Puts the files of `tree` into the area, from a kept tree where there is one. `owner`: the user to whom they belong if not.
pub(super) async fn check_out(
    settings: &Settings,
    claim: &Claim,
    area: &Area,
    mirror: &Mirror<'_>,
    tree: &str,
    base: &CommitSha,
    owner: Option<u32>,
) -> Result<Checkout, ServiceError> {
    let directory = area.path().join("call");
    if let Some(found) = take(&shelf(settings, mirror.repository()), &claim.ticket(), tree, &directory) {
        let checkout = area.open(mirror, &directory, tree, base);
        let owner = directory.join("files").symlink_metadata().map(|files| files.uid()).unwrap_or_default();
        let owner = (owner != nix::unistd::geteuid().as_raw()).then_some(owner);
        if owner.is_some() {
            // The command may have run as another user than the one the files were made for.
            chown(directory.join("git"), owner, owner).map_err(disk)?;
        }
        match freshen(&checkout, owner, found == Whose::Ours).await {
            Ok(()) => return Ok(checkout),
            Err(error) => tracing::debug!(%error, "a kept work tree cannot be used"),
        }
        let unusable = directory.clone();
        tokio::task::spawn_blocking(move || area::remove_tree(&unusable)).await.map_err(disk)?.map_err(disk)?;
    }
    area.make("call")?;
    area::prepare(&directory, owner).map_err(disk)?;
    let checkout = area.open(mirror, &directory, tree, base);
    bring(&checkout, owner).await?;
    Ok(checkout)
}

/// Brings the files to the tree of `checkout`: what is as git noted it stays, all else that is tracked is written.
async fn bring(checkout: &Checkout, owner: Option<u32>) -> Result<(), ServiceError> {
    // As the user to whom the files belong, so that they need not change owner, which git would see as a change.
    let git = checkout.git.as_user(owner);
    git.run(["read-tree", "--reset", "-u", &checkout.tree]).await.map_err(GitFailed::unexpected)?;
    checkout.show().await.map_err(disk)
}

async fn freshen(checkout: &Checkout, owner: Option<u32>, ours: bool) -> Result<(), ServiceError> {
    bring(checkout, owner).await?;
    // Empty directories, too: no snapshot has them.
    let mut args = vec!["ls-files", "-z", "--others", "--directory"];
    if ours {
        args.push("--exclude-standard");
    }
    let others = checkout.git.run(args).await.map_err(GitFailed::unexpected)?;
    let files = checkout.files.clone();
    let remove_all = move || {
        for path in others.split(|byte| *byte == 0).filter(|path| !path.is_empty()) {
            let path = path.strip_suffix(b"/").unwrap_or(path);
            remove(&files.join(OsStr::from_bytes(path)))?;
        }
        io::Result::Ok(())
    };
    tokio::task::spawn_blocking(remove_all).await.map_err(disk)?.map_err(disk)
}

fn remove(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() { area::remove_tree(path) } else { std::fs::remove_file(path) }
}

/// Keeps the files of a call that ended well for the next one. `tree`: what git has noted of them; `walked`: what lies there now.
/// Nothing depends on it, so that what goes wrong is only told.
pub(super) async fn keep(
    settings: &Settings,
    claim: &Claim,
    mirror: &Mirror<'_>,
    checkout: &Checkout,
    tree: &str,
    walked: &Walked,
) {
    if settings.warm_bytes == 0 || walked.bytes > settings.warm_bytes || walked.is_odd_throughout {
        return;
    }
    let kept = async {
        if !walked.odd.is_empty() {
            drop_odd(checkout, &walked.odd).await?;
        }
        let shelf = shelf(settings, mirror.repository());
        let ticket = claim.ticket();
        let name = format!("{ticket}.{tree}.{}.{}", walked.bytes, cache::unique());
        let (directory, settings) = (checkout.directory.clone(), settings.clone());
        let put = move || {
            if !shelf.is_dir() {
                std::fs::create_dir_all(&shelf)?;
                lock::open_to_others(&shelf)?;
            }
            // Made anew for each call. Its going also notes the time.
            area::remove_tree(&directory.join("view"))?;
            area::remove_tree(&directory.join(setup::SCRATCH))?;
            std::fs::rename(&directory, shelf.join(name))?;
            let mut ours: Vec<_> = trees(&shelf).into_iter().filter(|found| found.ticket == ticket).collect();
            ours.sort_by_key(|found| std::cmp::Reverse(found.kept.used));
            ours.iter().skip(PER_TICKET).for_each(|found| put_aside(&found.kept.path));
            evict(&settings);
            io::Result::Ok(())
        };
        tokio::task::spawn_blocking(put).await.map_err(disk)?.map_err(disk)
    };
    if let Err(error) = kept.await {
        tracing::warn!(%error, "a work tree could not be kept for the next call");
    }
}

/// Removes tracked files that differ from fresh ones in a way that git does not note: other names of the same file, permissions
/// beside the executable bit. They are written anew when the tree is used again.
async fn drop_odd(checkout: &Checkout, odd: &[PathBuf]) -> Result<(), ServiceError> {
    let tracked = checkout.git.run(["ls-files", "-z"]).await.map_err(GitFailed::unexpected)?;
    let (files, odd) = (checkout.files.clone(), odd.to_vec());
    let drop_tracked = move || {
        let tracked: std::collections::HashSet<&[u8]> = tracked.split(|byte| *byte == 0).collect();
        for path in odd.iter().filter(|path| tracked.contains(path.as_os_str().as_bytes())) {
            std::fs::remove_file(files.join(path))?;
        }
        io::Result::Ok(())
    };
    tokio::task::spawn_blocking(drop_tracked).await.map_err(disk)?.map_err(disk)
}

/// Where the trees of a repository are.
fn shelf(settings: &Settings, repository: &RepositoryName) -> PathBuf {
    settings.warm().join(Digest::of(repository.as_str().to_lowercase()).as_str())
}

/// A kept tree, told by its name: `<ticket>.<tree>.<bytes>.<unique>`.
struct Found {
    ticket: String,
    tree: String,
    kept: Kept,
}

fn trees(shelf: &Path) -> Vec<Found> {
    let entries = std::fs::read_dir(shelf).into_iter().flatten().filter_map(Result::ok);
    let found = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let mut parts = name.split('.');
        let (ticket, tree, bytes) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
        let used = entry.metadata().ok()?.modified().ok()?;
        let kept = Kept { path: entry.path(), bytes, used };
        Some(Found { ticket: ticket.to_owned(), tree: tree.to_owned(), kept })
    });
    found.collect()
}

/// Who made a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    /// Another ticket: what its builds left must go.
    Theirs,
}

/// Moves the nearest tree to `to`. A rename has one winner, whoever else wants the tree.
fn take(shelf: &Path, ticket: &str, tree: &str, to: &Path) -> Option<Whose> {
    let now = SystemTime::now();
    let idle = |found: &Found| now.duration_since(found.kept.used).is_ok_and(|unused| unused > IDLE);
    let mut trees: Vec<_> = trees(shelf).into_iter().filter(|found| found.ticket == ticket || idle(found)).collect();
    trees.sort_by_key(|found| (found.ticket != ticket, found.tree != tree, std::cmp::Reverse(found.kept.used)));
    trees.into_iter().find_map(|found| {
        let whose = if found.ticket == ticket { Whose::Ours } else { Whose::Theirs };
        std::fs::rename(&found.kept.path, to).is_ok().then_some(whose)
    })
}

/// Removes trees that nobody has used for `settings.keep_days`, and the longest unused ones over `settings.warm_bytes`.
pub(super) fn evict(settings: &Settings) {
    let mut all = Vec::new();
    for shelf in std::fs::read_dir(settings.warm()).into_iter().flatten().filter_map(Result::ok) {
        all.extend(trees(&shelf.path()).into_iter().map(|found| found.kept));
        for entry in std::fs::read_dir(shelf.path()).into_iter().flatten().filter_map(Result::ok) {
            if entry.file_name().as_bytes().starts_with(ASIDE.as_bytes()) {
                let _ = area::remove_tree(&entry.path());
            }
        }
    }
    for path in cache::surplus(all, settings.warm_bytes, settings.keep()) {
        put_aside(&path);
    }
}

/// Removes a tree that nobody else has taken meanwhile.
fn put_aside(path: &Path) {
    let aside = path.with_file_name(format!("{ASIDE}-{}", cache::unique()));
    if std::fs::rename(path, &aside).is_ok()
        && let Err(error) = area::remove_tree(&aside)
    {
        tracing::warn!(tree = %aside.display(), %error, "a work tree that is no longer kept could not be removed");
    }
}
