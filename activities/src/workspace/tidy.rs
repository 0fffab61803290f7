//! Keeps the copies of repositories tidy. Each file of a snapshot is an object of its own, each loaded snapshot a pack, and git
//! looks through all of them each time it starts.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::git::{Git, GitFailed};
use super::mirror::IN_USE;
use super::{Settings, disk, lock};
use crate::failure::ServiceError;

/// What a copy may hold before it is packed anew.
#[derive(Debug, Clone, Copy)]
pub(super) struct Untidy {
    /// Packs.
    pub(super) packs: usize,
    /// Objects that are in no pack.
    pub(super) loose: usize,
}

/// Below this nothing is felt.
pub(super) const UNTIDY: Untidy = Untidy { packs: 50, loose: 20_000 };
/// Age of half a pack, after which nobody works on it any more.
const CUT: Duration = Duration::from_secs(24 * 60 * 60);
/// Directories into which git spreads loose objects, evenly.
const SPREAD: usize = 256;

/// Packs each copy that holds more than `untidy` into one pack. What goes wrong is only told.
pub(super) async fn tidy(settings: &Settings, untidy: Untidy) {
    let found = std::fs::read_dir(settings.mirrors()).into_iter().flatten().filter_map(Result::ok);
    let copies: Vec<PathBuf> =
        found.map(|entry| entry.path()).filter(|path| path.extension() == Some(OsStr::new("git"))).collect();
    for copy in copies {
        if let Err(error) = tidy_one(&copy, settings.keep_days, untidy).await {
            tracing::warn!(mirror = %copy.display(), %error, "a mirror could not be tidied up");
        }
    }
}

async fn tidy_one(copy: &Path, days: u32, untidy: Untidy) -> Result<(), ServiceError> {
    let Some(_once) = lock::try_now(&copy.with_extension("tidy")) else { return Ok(()) };
    let looked = copy.to_owned();
    let is_untidy = tokio::task::spawn_blocking(move || {
        remove_cut(&looked);
        is_untidy(&looked, untidy)
    });
    if !is_untidy.await.map_err(disk)? {
        return Ok(());
    }
    let git = Git::bare(copy);
    if let Some(_alone) = lock::try_now(&copy.with_extension(IN_USE)) {
        // No reference holds a snapshot. Whoever goes on from one that is gone loads it again.
        let expire = format!("--expire={days}.days.ago");
        git.run(["prune", expire.as_str()]).await.map_err(GitFailed::unexpected)?;
    }
    // Nothing is lost by the rest, so that calls may go on meanwhile.
    let _in_use = lock::share(copy.with_extension(IN_USE)).await?;
    let pack = ["repack", "-a", "-d", "-q", "--keep-unreachable"];
    git.run(pack).await.map_err(GitFailed::unexpected).map(drop)
}

fn is_untidy(copy: &Path, untidy: Untidy) -> bool {
    let count = |folder: &str, ending: &str| {
        let found = std::fs::read_dir(copy.join(folder)).into_iter().flatten().filter_map(Result::ok);
        found.filter(|entry| entry.file_name().to_string_lossy().ends_with(ending)).count()
    };
    count("objects/pack", ".pack") > untidy.packs || count("objects/17", "") * SPREAD > untidy.loose
}

/// Removes what a git that was killed left of a pack.
fn remove_cut(copy: &Path) {
    for entry in std::fs::read_dir(copy.join("objects/pack")).into_iter().flatten().filter_map(Result::ok) {
        let changed = entry.metadata().and_then(|found| found.modified()).unwrap_or_else(|_| SystemTime::now());
        let is_old = changed.elapsed().is_ok_and(|age| age > CUT);
        if is_old && entry.file_name().to_string_lossy().starts_with("tmp_") {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
