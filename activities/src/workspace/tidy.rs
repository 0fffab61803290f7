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
/// Time that packing one copy may take, and the time after one that failed: it takes the whole copy's room on the disk.
const LIMIT: Duration = Duration::from_secs(4 * 60 * 60);
const AGAIN: Duration = Duration::from_secs(24 * 60 * 60);
/// Extension of the note that packing failed.
const FAILED: &str = "untidy";
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
        // Alone with it, nobody writes what is half there.
        let alone = lock::try_now(&looked.with_extension(IN_USE));
        remove_cut(&looked, if alone.is_some() { Duration::ZERO } else { CUT });
        is_untidy(&looked, untidy) && !has_just_failed(&looked)
    });
    if !is_untidy.await.map_err(disk)? {
        return Ok(());
    }
    let tidied = pack(copy, days).await;
    let note = copy.with_extension(FAILED);
    let _ = if tidied.is_ok() { std::fs::remove_file(note) } else { std::fs::write(note, "") };
    tidied
}

async fn pack(copy: &Path, days: u32) -> Result<(), ServiceError> {
    let git = Git::bare(copy);
    if let Some(_alone) = lock::try_now(&copy.with_extension(IN_USE)) {
        // No reference holds a snapshot. Whoever goes on from one that is gone loads it again.
        let expire = format!("--expire={days}.days.ago");
        git.run(["prune", expire.as_str()]).await.map_err(GitFailed::unexpected)?;
    }
    // Nothing is lost by the rest, so that calls may go on meanwhile.
    let _in_use = lock::share(copy.with_extension(IN_USE)).await?;
    let pack = ["repack", "-a", "-d", "-q", "--keep-unreachable"];
    git.run_within(LIMIT, pack).await.map_err(GitFailed::unexpected).map(drop)
}

/// Whether packing failed a short time ago, and is not to be tried again yet.
fn has_just_failed(copy: &Path) -> bool {
    let failed = copy.with_extension(FAILED).metadata().and_then(|note| note.modified());
    failed.is_ok_and(|failed| failed.elapsed().is_ok_and(|age| age < AGAIN))
}

fn is_untidy(copy: &Path, untidy: Untidy) -> bool {
    let count = |folder: &str, ending: &str| {
        let found = std::fs::read_dir(copy.join(folder)).into_iter().flatten().filter_map(Result::ok);
        found.filter(|entry| entry.file_name().to_string_lossy().ends_with(ending)).count()
    };
    count("objects/pack", ".pack") > untidy.packs || count("objects/17", "") * SPREAD > untidy.loose
}

/// Removes what a git that was killed left of a pack, if it is older than `age`: `tmp_*`, and `.tmp-*` where it was about to get its
/// name.
fn remove_cut(copy: &Path, age: Duration) {
    for entry in std::fs::read_dir(copy.join("objects/pack")).into_iter().flatten().filter_map(Result::ok) {
        let changed = entry.metadata().and_then(|found| found.modified()).unwrap_or_else(|_| SystemTime::now());
        let is_old = changed.elapsed().is_ok_and(|found| found > age);
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if is_old && (name.starts_with("tmp_") || name.starts_with(".tmp-")) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_of_a_pack_goes_and_nothing_else() {
        let copy = tempfile::tempdir().unwrap();
        let packs = copy.path().join("objects/pack");
        std::fs::create_dir_all(&packs).unwrap();
        let all = ["tmp_pack_ab", ".tmp-17-pack-cd.pack", "pack-ef.pack", "pack-ef.idx"];
        for name in all {
            std::fs::write(packs.join(name), "x").unwrap();
        }
        let left = || {
            let mut names: Vec<_> =
                std::fs::read_dir(&packs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        remove_cut(copy.path(), CUT);
        assert_eq!(left().len(), all.len(), "somebody may work on them");
        remove_cut(copy.path(), Duration::ZERO);
        assert_eq!(left(), ["pack-ef.idx", "pack-ef.pack"]);
    }

    #[tokio::test]
    async fn packing_that_failed_waits_a_day() {
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("copy.git");
        // No repository at all, with more packs than is tidy.
        std::fs::create_dir_all(copy.join("objects/pack")).unwrap();
        std::fs::write(copy.join("objects/pack/pack-1.pack"), "x").unwrap();
        let untidy = Untidy { packs: 0, loose: 1 };
        assert!(tidy_one(&copy, 7, untidy).await.is_err());
        tidy_one(&copy, 7, untidy).await.unwrap();
        let past = SystemTime::now() - 2 * AGAIN;
        std::fs::File::options().append(true).open(copy.with_extension(FAILED)).unwrap().set_modified(past).unwrap();
        assert!(tidy_one(&copy, 7, untidy).await.is_err());
    }
}
