//! Installed dependencies on this worker's disk: made once per content of the lock files, shown read-only to every sandbox
//! that needs them, and removed when they grow old or too many. A cache; any worker can make them again.

use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::failure::ServiceError;
use crate::sandbox;
use crate::workspace::area::remove_tree;
use crate::workspace::{disk, lock};

/// Name of the description in a layer.
const DESCRIPTION: &str = "layer.json";

/// What Gradle makes of itself for the build logic of a repository, below its version: 140 MB, in ten seconds.
const GRADLE_JARS: &str = "generated-gradle-jars";

/// The directory of all layers.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    directory: PathBuf,
}

/// What a layer holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layer {
    /// What is shown where.
    pub(super) mounts: Vec<Mount>,
    /// Files that are copied into a check-out, by their path there; in the layer they lie in [`COPIES`].
    pub(super) copies: Vec<String>,
    /// What people and models should know.
    pub(super) notes: Vec<String>,
    /// Its size.
    pub(super) bytes: u64,
}

/// Where a layer keeps what is copied.
pub(super) const COPIES: &str = "copies";

/// A directory of a layer, and where the sandbox shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mount {
    /// In the layer.
    pub(super) from: String,
    /// Inside.
    pub(super) to: PathBuf,
}

/// A layer that nobody removes while this lives.
#[derive(Debug)]
pub(super) struct Held {
    /// Where it is.
    pub(super) directory: PathBuf,
    /// What it holds.
    pub(super) layer: Layer,
    _lock: File,
}

/// A layer being made, by us alone.
#[derive(Debug)]
pub(super) struct Making {
    /// An empty directory for the work; gone afterwards.
    pub(super) work: PathBuf,
    /// An empty directory for the result.
    pub(super) result: PathBuf,
    new: PathBuf,
    place: PathBuf,
    _lock: File,
}

/// A set-up that failed, remembered for a while.
#[derive(Debug, Serialize, Deserialize)]
struct Failed {
    note: String,
}

impl Layers {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Makes the directory, and removes what was being made when a worker died.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub(super) fn open(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        lock::open_to_others(&self.directory)?;
        for name in self.names("tmp") {
            if let Some(_held) = lock::try_now(&self.path(&name, "lock")) {
                let _ = remove_tree(&self.path(&name, "tmp"));
            }
        }
        Ok(())
    }

    fn path(&self, key: &str, extension: &str) -> PathBuf {
        self.directory.join(format!("{key}.{extension}"))
    }

    /// Keys with a file of this extension.
    fn names(&self, extension: &str) -> Vec<String> {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten().filter_map(Result::ok);
        let name = |entry: std::fs::DirEntry| {
            entry.file_name().to_str()?.strip_suffix(&format!(".{extension}")).map(str::to_owned)
        };
        entries.filter_map(name).collect()
    }

    /// The layer of this key, if it was made.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub(super) async fn find(&self, key: &str) -> Result<Option<Held>, ServiceError> {
        let place = self.path(key, "layer");
        if !place.exists() {
            return Ok(None);
        }
        let lock = lock::share(self.path(key, "lock")).await?;
        let Some(layer) = described(&place) else { return Ok(None) };
        // Its age counts from the last use.
        if let Ok(description) = File::open(place.join(DESCRIPTION)) {
            let _ = description.set_modified(SystemTime::now());
        }
        Ok(Some(Held { directory: place, layer, _lock: lock }))
    }

    /// Whether the layer of this key was made, and can be read. Otherwise it is made anew.
    pub(super) fn there(&self, key: &str) -> bool {
        described(&self.path(key, "layer")).is_some()
    }

    /// Takes the place of a layer to make it. Waits while somebody else does.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub(super) async fn make(&self, key: &str) -> Result<Making, ServiceError> {
        let held = lock::wait(self.path(key, "lock")).await?;
        let new = self.path(key, "tmp");
        let (work, result) = (new.join("work"), new.join("result"));
        remove_tree(&new).map_err(disk)?;
        for directory in [&new, &work, &result] {
            std::fs::create_dir(directory).map_err(disk)?;
            std::fs::set_permissions(directory, Permissions::from_mode(0o755)).map_err(disk)?;
        }
        Ok(Making { work, result, new, place: self.path(key, "layer"), _lock: held })
    }

    /// Why the set-up of this key failed, within the last `period`.
    pub(super) fn failure(&self, key: &str, period: Duration) -> Option<String> {
        let path = self.path(key, "failed");
        let age = path.metadata().ok()?.modified().ok()?.elapsed().ok()?;
        let failed: Failed = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        (age < period).then_some(failed.note)
    }

    /// Remembers that the set-up of this key failed.
    pub(super) fn remember_failure(&self, key: &str, note: &str) {
        let text = serde_json::to_vec(&Failed { note: note.to_owned() }).unwrap_or_default();
        if let Err(error) = std::fs::write(self.path(key, "failed"), text) {
            tracing::warn!(%error, "a failed set-up could not be remembered");
        }
    }

    /// Removes layers that were not used for `age`, and the oldest of those over `bytes`. Those in use stay.
    pub(super) fn evict(&self, age: Duration, bytes: u64) {
        let mut layers: Vec<(Duration, String, u64)> = Vec::new();
        for key in self.names("layer") {
            let path = self.path(&key, "layer").join(DESCRIPTION);
            let unused = path
                .metadata()
                .and_then(|data| data.modified())
                .ok()
                .and_then(|at| at.elapsed().ok())
                .unwrap_or_default();
            // One that cannot be read is of no use to anybody.
            match described(&self.path(&key, "layer")) {
                Some(layer) => layers.push((unused, key, layer.bytes)),
                None => layers.push((Duration::MAX, key, 0)),
            }
        }
        layers.sort();
        let mut sum = 0u64;
        for (unused, key, size) in layers {
            sum = sum.saturating_add(size);
            if unused <= age && sum <= bytes {
                continue;
            }
            if let Some(_held) = lock::try_now(&self.path(&key, "lock")) {
                match self.discard(&key) {
                    Ok(()) => sum = sum.saturating_sub(size),
                    Err(error) => tracing::warn!(%error, key, "a layer of dependencies could not be removed"),
                }
            }
        }
        for key in self.names("failed") {
            let path = self.path(&key, "failed");
            let old = path.metadata().and_then(|data| data.modified()).ok().and_then(|at| at.elapsed().ok());
            if old.is_some_and(|old| old > age) {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// Removes a layer, so that half a layer is never found.
    fn discard(&self, key: &str) -> io::Result<()> {
        let away = self.path(key, "tmp");
        remove_tree(&away)?;
        std::fs::rename(self.path(key, "layer"), &away)?;
        remove_tree(&away)
    }
}

/// What is said of the layer in `place`.
fn described(place: &Path) -> Option<Layer> {
    serde_json::from_slice(&std::fs::read(place.join(DESCRIPTION)).ok()?).ok()
}

impl Making {
    /// Moves something that the work made into the result, and notes where it is to be shown.
    ///
    /// # Errors
    /// It cannot be moved.
    pub(super) fn mount(&self, layer: &mut Layer, made: &Path, to: PathBuf) -> io::Result<()> {
        let from = layer.mounts.len().to_string();
        // A directory that is closed to its own owner cannot be moved.
        std::fs::set_permissions(made, Permissions::from_mode(0o755))?;
        std::fs::rename(made, self.result.join(&from))?;
        layer.mounts.push(Mount { from, to });
        Ok(())
    }

    /// Puts the result in its place, whole and on disk.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn finish(&self, mut layer: Layer) -> io::Result<()> {
        layer.bytes = settle(&self.result)?;
        let description = self.result.join(DESCRIPTION);
        std::fs::write(&description, serde_json::to_vec(&layer).map_err(io::Error::other)?)?;
        // One call for the file system: a layer has tens of thousands of files.
        nix::unistd::syncfs(File::open(&self.result)?.as_fd())?;
        remove_tree(&self.place)?;
        std::fs::rename(&self.result, &self.place)?;
        if let Some(directory) = self.place.parent() {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.new) {
            tracing::warn!(%error, "what a set-up worked with could not be removed");
        }
    }
}

/// Makes files ours, readable for everybody and writable for nobody else, and counts their bytes. As root, no sandbox has
/// our user id, so none can change them even where they are not mounted read-only.
///
/// # Errors
/// [`io::ErrorKind::InvalidFilename`]: directories are nested deeper than can be followed.
fn settle(root: &Path) -> io::Result<u64> {
    let root_user = nix::unistd::geteuid().is_root();
    let mut bytes = 0;
    // A directory is opened up before it is read.
    sandbox::walk(root, |path, data| {
        if root_user {
            lchown(path, Some(0), Some(0))?;
        }
        if data.is_symlink() {
            return Ok(());
        }
        let mode = data.permissions().mode();
        let run = if data.is_dir() || mode & 0o111 != 0 { 0o111 } else { 0 };
        let wanted = 0o644 | run;
        if mode & 0o7777 != wanted {
            std::fs::set_permissions(path, Permissions::from_mode(wanted))?;
        }
        if !data.is_dir() {
            bytes += data.len();
        }
        Ok(())
    })?;
    Ok(bytes)
}

/// Lets the sandbox's user read a file of ours.
///
/// # Errors
/// The mode cannot be set.
pub(super) fn readable(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(0o644))
}

/// Copies a file, a link or a directory. What is there already stays.
///
/// # Errors
/// Reading or writing failed.
pub(super) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let data = from.symlink_metadata()?;
    if data.is_symlink() {
        return match symlink(std::fs::read_link(from)?, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        };
    }
    if data.is_dir() {
        match std::fs::create_dir(to) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // A link in this place would lead the copies elsewhere.
        if !to.symlink_metadata()?.is_dir() {
            return Ok(());
        }
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            copy_tree(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if to.symlink_metadata().is_err() {
        std::fs::copy(from, to)?;
    }
    Ok(())
}

/// Makes a cache of Go at `to` whose entries are links to those of `from`, which commands see at `seen`.
///
/// # Errors
/// Reading or writing failed.
pub(super) fn link_farm(from: &Path, to: &Path, seen: &Path) -> io::Result<()> {
    std::fs::create_dir(to)?;
    for shelf in std::fs::read_dir(from)? {
        let shelf = shelf?;
        if !shelf.file_type()?.is_dir() {
            continue;
        }
        let (name, place) = (shelf.file_name(), to.join(shelf.file_name()));
        std::fs::create_dir(&place)?;
        for entry in std::fs::read_dir(shelf.path())? {
            let entry = entry?.file_name();
            symlink(seen.join(&name).join(&entry), place.join(&entry))?;
        }
    }
    // Go throws out what was not used for five days, and looks for it once a day, as this file tells.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    std::fs::write(to.join("trim.txt"), now.to_string())
}

/// Whether the Gradle whose home `from` was knows no read-only cache of dependencies: those before 6.1, as Debian has one.
pub(super) fn is_of_old_gradle(from: &Path) -> bool {
    let versions = std::fs::read_dir(from.join("caches")).into_iter().flatten().filter_map(Result::ok);
    versions.filter_map(|entry| entry.file_name().into_string().ok()).any(|name| {
        let mut numbers = name.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        matches!((numbers.next(), numbers.next()), (Some(major), Some(minor)) if (major, minor) < (6, 1))
    })
}

/// Makes caches for Gradle at `to`: what it writes into is copied, packages and what it makes of itself for build logic are links to
/// those of `from`, which commands see at `seen`.
///
/// # Errors
/// Reading or writing failed.
pub(super) fn gradle_farm(from: &Path, to: &Path, seen: &Path) -> io::Result<()> {
    std::fs::create_dir(to)?;
    for shelf in std::fs::read_dir(from)? {
        let shelf = shelf?;
        let is_modules = shelf.file_name().to_string_lossy().starts_with("modules-");
        if !shelf.file_type()?.is_dir() || !is_modules && !shelf.path().join(GRADLE_JARS).is_dir() {
            continue;
        }
        let place = to.join(shelf.file_name());
        std::fs::create_dir(&place)?;
        for entry in std::fs::read_dir(shelf.path())? {
            let name = entry?.file_name();
            let (made, place) = (shelf.path().join(&name), place.join(&name));
            if name.to_string_lossy().starts_with("files-") || name == GRADLE_JARS {
                link_files(&made, &place, &seen.join(shelf.file_name()).join(&name))?;
            } else if is_modules {
                copy_tree(&made, &place)?;
            }
        }
    }
    Ok(())
}

/// Makes directories as those of `from`, with links to its files, which commands see below `seen`. Locks are left out.
fn link_files(from: &Path, to: &Path, seen: &Path) -> io::Result<()> {
    sandbox::walk(from, |path, data| {
        let below = path.strip_prefix(from).map_err(io::Error::other)?;
        match data.is_dir() {
            true => std::fs::create_dir_all(to.join(below)),
            false if below.extension().is_some_and(|extension| extension == "lock") => Ok(()),
            false => symlink(seen.join(below), to.join(below)),
        }
    })
}

/// Bytes of all files below a path; links are not followed. What cannot be looked at has no end.
pub(super) fn size_of(path: &Path) -> u64 {
    let mut bytes = 0u64;
    let walked = sandbox::walk(path, |_, data| {
        bytes += if data.is_dir() { 0 } else { data.len() };
        Ok(())
    });
    if walked.is_ok() { bytes } else { u64::MAX }
}

/// Directories of this name below `root`, none inside another, by their path there. Links are not followed.
pub(super) fn directories_named(root: &Path, name: &str, skip: &str) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        for entry in std::fs::read_dir(root.join(&below)).into_iter().flatten().filter_map(Result::ok) {
            let path = below.join(entry.file_name());
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) || entry.file_name() == skip {
                continue;
            }
            if entry.file_name() == name {
                found.insert(path);
            } else {
                open.push(path);
            }
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers() -> (tempfile::TempDir, Layers) {
        let directory = tempfile::tempdir().unwrap();
        let layers = Layers::new(directory.path().join("layers"));
        layers.open().unwrap();
        (directory, layers)
    }

    async fn made(layers: &Layers, key: &str, bytes: usize) {
        let making = layers.make(key).await.unwrap();
        let made = making.work.join("made");
        std::fs::create_dir(&made).unwrap();
        std::fs::write(made.join("file"), vec![b'x'; bytes]).unwrap();
        std::fs::set_permissions(made.join("file"), Permissions::from_mode(0o4700)).unwrap();
        let mut layer = Layer::default();
        making.mount(&mut layer, &made, "/deps/python".into()).unwrap();
        making.finish(layer).unwrap();
    }

    #[tokio::test]
    async fn a_layer_whose_description_is_lost_is_made_anew() {
        let (_directory, layers) = layers();
        for lost in ["", "{\"mounts\":", "{}"] {
            made(&layers, "a", 10).await;
            std::fs::write(layers.path("a", "layer").join(DESCRIPTION), lost).unwrap();
            assert!(layers.find("a").await.unwrap().is_none() && !layers.there("a"), "{lost}");
        }
        made(&layers, "a", 10).await;
        assert!(layers.there("a"));
        std::fs::write(layers.path("a", "layer").join(DESCRIPTION), "").unwrap();
        layers.evict(Duration::from_secs(3600), 1 << 20);
        assert!(!layers.path("a", "layer").exists(), "nobody can use it");
    }

    #[test]
    fn an_old_gradle_gets_links_to_packages_and_copies_of_what_it_writes() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        for path in [
            "caches/modules-2/files-2.1/a/a.jar",
            "caches/modules-2/metadata-2.36/module.bin",
            "caches/4.4.1/generated-gradle-jars/gradle-api.jar",
            "caches/4.4.1/generated-gradle-jars/x.lock",
            "caches/4.4.1/scripts/b",
        ] {
            let path = home.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        assert!(is_of_old_gradle(&home));
        let to = directory.path().join("to");
        gradle_farm(&home.join("caches"), &to, Path::new("/deps/gradle/caches")).unwrap();
        for path in ["modules-2/files-2.1/a/a.jar", "4.4.1/generated-gradle-jars/gradle-api.jar"] {
            assert_eq!(std::fs::read_link(to.join(path)).unwrap(), Path::new("/deps/gradle/caches").join(path));
        }
        assert!(!to.join("modules-2/metadata-2.36/module.bin").is_symlink());
        assert!(!to.join("4.4.1/generated-gradle-jars/x.lock").exists() && !to.join("4.4.1/scripts").exists());

        for (version, old) in [("6.0.1", true), ("6.1", false), ("9.3.1", false), ("jars-9", false)] {
            let home = directory.path().join(version);
            std::fs::create_dir_all(home.join("caches").join(version)).unwrap();
            assert_eq!(is_of_old_gradle(&home), old, "{version}");
        }
    }

    #[tokio::test]
    async fn a_layer_is_found_whole_or_not_at_all() {
        let (_directory, layers) = layers();
        assert!(layers.find("a").await.unwrap().is_none());
        made(&layers, "a", 10).await;
        let held = layers.find("a").await.unwrap().unwrap();
        assert_eq!(held.layer.bytes, 10);
        let file = held.directory.join(&held.layer.mounts[0].from).join("file");
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o7777,
            0o755,
            "readable for all, and no set-user-id"
        );
        assert!(!layers.path("a", "tmp").exists());

        // Given up half-way, by an error and by the death of the worker.
        drop(layers.make("b").await.unwrap());
        assert!(layers.find("b").await.unwrap().is_none() && !layers.path("b", "tmp").exists());
        let making = layers.make("c").await.unwrap();
        let left = making.new.clone();
        layers.open().unwrap();
        assert!(left.exists(), "somebody works in it");
        drop(making);
        std::fs::create_dir(&left).unwrap();
        layers.open().unwrap();
        assert!(!left.exists());
    }

    #[tokio::test]
    async fn old_layers_and_those_over_the_limit_go_unless_they_are_used() {
        let (_directory, layers) = layers();
        let age = |key: &str, seconds| {
            let description = File::open(layers.path(key, "layer").join(DESCRIPTION)).unwrap();
            description.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        };
        for (key, seconds) in [("new", 10), ("middle", 20), ("old", 30), ("ancient", 9000)] {
            made(&layers, key, 100).await;
            age(key, seconds);
        }
        let kept = || {
            let mut names = layers.names("layer");
            names.sort();
            names
        };
        layers.evict(Duration::from_secs(3600), 1000);
        assert_eq!(kept(), ["middle", "new", "old"]);
        let held = layers.find("old").await.unwrap().unwrap();
        age("old", 30);
        layers.evict(Duration::from_secs(3600), 150);
        assert_eq!(kept(), ["new", "old"], "one is in use");
        drop(held);
        layers.evict(Duration::from_secs(3600), 150);
        assert_eq!(kept(), ["new"]);
    }

    #[test]
    fn failures_are_remembered_for_a_while() {
        let (_directory, layers) = layers();
        layers.remember_failure("a", "npm ci: no such package");
        assert_eq!(layers.failure("a", Duration::from_secs(60)).unwrap(), "npm ci: no such package");
        assert_eq!(layers.failure("a", Duration::ZERO), None);
        assert_eq!(layers.failure("b", Duration::from_secs(60)), None);
    }

    #[test]
    fn copies_follow_no_links_and_replace_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(path("from/build/deep")).unwrap();
        std::fs::write(path("from/build/deep/a"), "a").unwrap();
        symlink("/etc/passwd", path("from/build/link")).unwrap();
        std::fs::create_dir_all(path("outside")).unwrap();
        std::fs::create_dir_all(path("to/build")).unwrap();
        symlink(path("outside"), path("to/build/deep")).unwrap();
        copy_tree(&path("from/build"), &path("to/build")).unwrap();
        assert!(std::fs::read_dir(path("outside")).unwrap().next().is_none());
        assert_eq!(std::fs::read_link(path("to/build/link")).unwrap(), Path::new("/etc/passwd"));

        std::fs::create_dir_all(path("work/web/node_modules/a/node_modules")).unwrap();
        std::fs::create_dir_all(path("work/node_modules")).unwrap();
        symlink("/etc", path("work/link")).unwrap();
        let found = directories_named(&path("work"), "node_modules", ".git");
        assert_eq!(found, [Path::new("node_modules"), Path::new("web/node_modules")]);
    }
}
