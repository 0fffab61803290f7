//! Snapshots on their way: git bundles in the blob store, each with what is new since the one before it.
//!
//! The format is git's own (gitformat-bundle(5)), written and read by hand: `git bundle` wants references for the commits on
//! both ends, and references are shared by all calls. A bundle that builds on another names that one's blob in the comment
//! of its prerequisite, so whoever has the last finds them all.

use std::path::Path;

use bytes::Bytes;
use workflows::contract::failure::FailureKind;
use workflows::contract::ids::{CommitSha, Digest};
use workflows::contract::workspace::{Snapshot, Workspace};

use super::disk;
use super::git::{Git, GitFailed};
use super::mirror::Mirror;
use crate::blobs::Blobs;
use crate::failure::ServiceError;

/// Bundles that build on each other. Then one holds all since the base again, without what came and went.
const CHAIN: u32 = 16;
/// Bundles that are read one on the other at most: where all since the base is too large for one, the chain goes on.
const LONGEST: usize = 1000;
/// Most bytes of a bundle, which goes through memory.
pub(super) const LARGEST: u64 = 256 << 20;

/// What storing a commit came to.
pub(super) enum Stored {
    Snapshot(Snapshot),
    /// It is too large; for the model, why and what to do.
    Refused(String),
}

/// Stores the commit of the snapshot after `before`. `git`: has its objects.
pub(super) async fn store(
    git: &Git,
    before: &Workspace,
    commit: CommitSha,
    tree: CommitSha,
    blobs: &Blobs,
) -> Result<Stored, ServiceError> {
    let base = &before.base;
    let all = format!("{commit}\n^{base}\n");
    let mut revisions = all.clone();
    let mut previous = before.snapshot.as_ref();
    if let Some(before) = previous {
        // The tree, since only the trees of ancestors go without saying.
        revisions.push_str(&format!("^{}\n", before.tree));
        let is_end = (before.builds_on + 1).is_multiple_of(CHAIN);
        if is_end && size(git, &all).await? <= LARGEST {
            previous = None;
            revisions = all;
        }
    }
    let bytes = size(git, &revisions).await?;
    if bytes > LARGEST {
        let (bytes, most) = (bytes >> 20, LARGEST >> 20);
        let why = format!("The change has {bytes} MB; I can keep {most} MB of one call. Remove what is not needed.");
        return Ok(Stored::Refused(why));
    }
    let mut header = match base.as_str().len() {
        64 => "# v3 git bundle\n@object-format=sha256\n".to_owned(),
        _ => "# v2 git bundle\n".to_owned(),
    };
    header.push_str(&format!("-{base} base\n"));
    if let Some(previous) = previous {
        header.push_str(&format!("-{} {}\n", previous.commit, previous.bundle));
    }
    header.push_str(&format!("{commit} refs/ticketwright/snapshot\n\n"));
    let pack = ["pack-objects", "--revs", "--thin", "--stdout", "--quiet", "--delta-base-offset", "--threads=1"];
    let pack = git.feed(pack, &[], revisions.as_bytes()).await.map_err(GitFailed::unexpected)?;
    let mut bundle = header.into_bytes();
    bundle.extend_from_slice(&pack);
    let bundle = blobs.put(bundle).await?;
    let builds_on = previous.map_or(0, |previous| previous.builds_on + 1);
    Ok(Stored::Snapshot(Snapshot { commit, tree, bundle, builds_on }))
}

/// Bytes that the objects of these revisions take.
async fn size(git: &Git, revisions: &str) -> Result<u64, ServiceError> {
    let args = ["rev-list", "--objects", "--disk-usage", "--stdin"];
    let printed = git.feed(args, &[], revisions.as_bytes()).await.map_err(GitFailed::unexpected)?;
    String::from_utf8_lossy(&printed).trim().parse().map_err(disk)
}

/// Puts a snapshot into the mirror, with all it builds on. `scratch`: a directory of the caller's own.
pub(super) async fn load(
    mirror: &Mirror<'_>,
    snapshot: &Snapshot,
    blobs: &Blobs,
    scratch: &Path,
) -> Result<(), ServiceError> {
    let named = |error: ServiceError| ServiceError {
        message: format!("snapshot {} of {} cannot be had: {}", snapshot.tree, mirror.repository(), error.message),
        ..error
    };
    let mut packs = Vec::new();
    let mut next = Some(snapshot.bundle.clone());
    while let Some(digest) = next {
        if packs.len() >= LONGEST {
            let why = format!("it builds on more than {LONGEST} bundles");
            return Err(named(ServiceError::new(FailureKind::Invalid, why)));
        }
        let bytes = blobs.get(&digest).await.map_err(named)?;
        let Some(Bundle { builds_on, pack }) = Bundle::parse(&bytes) else {
            let why = format!("blob {digest} is no bundle of ours");
            return Err(named(ServiceError::new(FailureKind::Invalid, why)));
        };
        let file = scratch.join(format!("bundle-{}", packs.len()));
        tokio::fs::write(&file, &pack).await.map_err(disk)?;
        packs.push(file);
        next = match builds_on {
            Some((commit, bundle)) if !mirror.has(&commit).await => Some(bundle),
            _ => None,
        };
    }
    for pack in packs.iter().rev() {
        let file = std::fs::File::open(pack).map_err(disk)?;
        // Its objects appear all at once, whatever ends us meanwhile.
        let args = ["index-pack", "--stdin", "--fix-thin", "--threads=1"];
        mirror.git.feed_file(args, file).await.map_err(GitFailed::unexpected)?;
        std::fs::remove_file(pack).map_err(disk)?;
    }
    Ok(())
}

/// A bundle, read.
struct Bundle {
    /// The commit of another snapshot, and its blob.
    builds_on: Option<(CommitSha, Digest)>,
    pack: Bytes,
}

impl Bundle {
    fn parse(bytes: &Bytes) -> Option<Self> {
        let end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
        let header = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = header.lines();
        lines.next().filter(|line| line.starts_with("# v") && line.ends_with(" git bundle"))?;
        let builds_on = lines.find_map(|line| {
            let (commit, comment) = line.strip_prefix('-')?.split_once(' ')?;
            Some((commit.parse().ok()?, comment.parse().ok()?))
        });
        Some(Self { builds_on, pack: bytes.slice(end + 2..) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_tells_what_it_builds_on() {
        let (base, before) = ("1".repeat(40), "2".repeat(40));
        let alone = format!("# v2 git bundle\n-{base} base\n{before} refs/x\n\nPACK\n\n");
        let alone = Bundle::parse(&Bytes::from(alone)).unwrap();
        assert_eq!((alone.builds_on, &alone.pack[..]), (None, &b"PACK\n\n"[..]));
        let digest = Digest::of("bundle");
        let more = format!("# v2 git bundle\n-{base} base\n-{before} {digest}\n{base} refs/x\n\nPACK");
        let more = Bundle::parse(&Bytes::from(more)).unwrap();
        assert_eq!(more.builds_on, Some((before.parse().unwrap(), digest)));
        assert!(Bundle::parse(&Bytes::from("PACK")).is_none());
    }
}
