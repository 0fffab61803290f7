//! A bare copy of each repository, shared by all its workspaces on this host: a cache that any worker can rebuild.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use workflows::contract::failure::FailureKind;
use workflows::contract::ids::{CommitSha, Digest, RepositoryName};
use workflows::contract::workspace::Workspace;

use super::cache::{self, Kept};
use super::git::{self, Git, Protocols};
use super::{Settings, area, bundle, disk, lock};
use crate::blobs::Blobs;
use crate::failure::ServiceError;
use crate::workspace::remote::Remote;

/// Attributes above all others: files go in and out byte for byte, and no repository's own driver is looked for.
const BYTE_EXACT: &str =
    "* -text !eol -ident -filter -working-tree-encoding !diff !merge !export-ignore !export-subst\n";

/// Most bytes of the files of a commit: a command has 5 GB of disk.
const LARGEST_CHECK_OUT: u64 = 4 << 30;
/// Bytes of git's list of the files of a commit.
const LIST: u64 = 256 << 20;

/// The cached copy of one repository. While it is held, it is not cleaned up.
pub(super) struct Mirror<'a> {
    pub(super) git: Git,
    repository: RepositoryName,
    settings: &'a Settings,
    remote: &'a dyn Remote,
    _in_use: File,
}

impl<'a> Mirror<'a> {
    /// Opens the copy, empty at first. `like`: a commit of the repository, for the length of its ids.
    pub(super) async fn open(
        settings: &'a Settings,
        remote: &'a dyn Remote,
        repository: &RepositoryName,
        like: &CommitSha,
    ) -> Result<Self, ServiceError> {
        settings.make_directories().map_err(disk)?;
        let directory = place(settings, repository);
        let in_use = lock::share(directory.with_extension(IN_USE)).await?;
        in_use.set_modified(SystemTime::now()).map_err(disk)?;
        if !is_whole(&directory) {
            let _held = lock::wait(directory.with_extension("lock")).await?;
            if !is_whole(&directory) {
                put_aside(&directory).map_err(disk)?;
                create(&directory, like).await?;
            }
        }
        Ok(Self { git: Git::bare(&directory), repository: repository.clone(), settings, remote, _in_use: in_use })
    }

    /// Of which repository.
    pub(super) fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// Makes sure that `commit` of the remote is here, and no larger than can be worked with.
    pub(super) async fn ensure_commit(&self, commit: &CommitSha) -> Result<(), ServiceError> {
        // The name also keeps the commit reachable, which bundles on top of it need.
        let name = format!("refs/ticketwright/bases/{commit}");
        if self.git.run(["rev-parse", "--verify", "--quiet", &name]).await.is_ok() {
            return Ok(());
        }
        let _held = lock::wait(self.git.git_dir().with_extension("lock")).await?;
        if self.git.run(["rev-parse", "--verify", "--quiet", &name]).await.is_ok() {
            return Ok(());
        }
        // Its own name comes last: whoever finds it need not look again.
        let fetching = format!("refs/ticketwright/fetching/{commit}");
        let fetched = self.fetch(&format!("+{commit}:{fetching}")).await;
        if let Err(error) = fetched {
            // A server that serves no commit by id has it on a branch, if at all.
            if error.kind != FailureKind::NotFound && error.kind != FailureKind::Unexpected {
                return Err(error);
            }
            self.fetch("+refs/heads/*:refs/remotes/origin/*").await?;
            self.git.run(["update-ref", &fetching, commit.as_str()]).await.map_err(|_| {
                ServiceError::new(FailureKind::NotFound, format!("{} has no commit {commit}", self.repository))
                    .caused_by(error)
            })?;
        }
        let sized = self.refuse_giant(commit).await;
        if sized.is_ok() {
            let named = self.git.run(["update-ref", &name, commit.as_str()]).await;
            named.map_err(git::GitFailed::unexpected)?;
        }
        self.git.run(["update-ref", "-d", &fetching]).await.map_err(git::GitFailed::unexpected)?;
        sized
    }

    async fn fetch(&self, refspec: &str) -> Result<(), ServiceError> {
        let remote = self.remote.clone_url_and_credentials(&self.repository).await?;
        let args =
            ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", &remote.url, refspec];
        self.git
            .transfer(args, &remote, self.protocols(), &self.settings.transfer_env)
            .await
            .map(|_| ())
            .map_err(super::git::GitFailed::of_transfer)
    }

    /// Makes sure that the files of `workspace` are here, and returns their tree. `scratch`: a directory of the caller's own.
    pub(super) async fn ensure(
        &self,
        workspace: &Workspace,
        blobs: &Blobs,
        scratch: &Path,
    ) -> Result<String, ServiceError> {
        self.ensure_commit(&workspace.base).await?;
        if workspace.approved() != &workspace.base {
            self.ensure_commit(workspace.approved()).await?;
        }
        let Some(snapshot) = &workspace.snapshot else {
            // Its commit is here, so a tree that is not was lost.
            return self.look_for_tree(&workspace.base).await.map_err(git::GitFailed::missed);
        };
        // A commit is written after its files, so one that is here is complete.
        if !self.has(&snapshot.commit).await {
            bundle::load(self, snapshot, blobs, scratch).await?;
        }
        let tree = self.tree_of(&snapshot.commit).await?;
        if tree != snapshot.tree.as_str() {
            return Err(ServiceError::new(
                FailureKind::Invalid,
                format!("snapshot {} holds tree {tree}, not {}", snapshot.commit, snapshot.tree),
            ));
        }
        Ok(tree)
    }

    /// Whether a commit is here.
    pub(super) async fn has(&self, commit: &CommitSha) -> bool {
        self.git.run(["cat-file", "-e", &format!("{commit}^{{tree}}")]).await.is_ok()
    }

    /// The tree of a commit that is here.
    pub(super) async fn tree_of(&self, commit: &CommitSha) -> Result<String, ServiceError> {
        self.look_for_tree(commit).await.map_err(git::GitFailed::unexpected)
    }

    async fn look_for_tree(&self, commit: &CommitSha) -> Result<String, git::GitFailed> {
        self.git.line(["rev-parse", "--verify", "--quiet", &format!("{commit}^{{tree}}")]).await
    }

    /// Whether the files of a commit are more than a command could have on its disk.
    async fn refuse_giant(&self, commit: &CommitSha) -> Result<(), ServiceError> {
        let args = ["ls-tree", "-r", "-l", "-z", commit.as_str()];
        let listed = self.git.run_up_to(LIST, args).await.map_err(git::GitFailed::unexpected)?;
        // `100644 blob <object> <size> TAB <path>`
        let size = |line: &[u8]| {
            let meta = std::str::from_utf8(line.split(|byte| *byte == b'\t').next()?).ok()?;
            meta.split_ascii_whitespace().nth(3)?.parse::<u64>().ok()
        };
        let bytes = listed.split(|byte| *byte == 0).filter_map(size).fold(0, u64::saturating_add);
        if bytes <= LARGEST_CHECK_OUT {
            return Ok(());
        }
        let (megabytes, most) = (bytes >> 20, LARGEST_CHECK_OUT >> 20);
        Err(ServiceError::new(
            FailureKind::Invalid,
            format!(
                "the files of {} at {commit} have {megabytes} MB; I can work with {most} MB. Take large files out of the \
                 branch, or keep them in Git LFS; then retry.",
                self.repository
            ),
        ))
    }

    /// Which protocols the settings allow.
    pub(super) fn protocols(&self) -> Protocols {
        Protocols { http: self.settings.allow_http, file: self.settings.allow_file }
    }

    /// Variables for transfers.
    pub(super) fn transfer_env(&self) -> &[(String, String)] {
        &self.settings.transfer_env
    }

    /// The objects, which the sandbox may read.
    pub(super) fn objects(&self) -> PathBuf {
        self.git.git_dir().join("objects")
    }
}

/// Extension of the lock that every user of a copy shares; its time tells when that was last.
pub(super) const IN_USE: &str = "use";

/// Where the copy of a repository is.
fn place(settings: &Settings, repository: &RepositoryName) -> PathBuf {
    settings.mirrors().join(format!("{}.git", Digest::of(repository.as_str().to_lowercase())))
}

/// Whether nothing is missing that every copy has. Objects are looked for when they are needed.
fn is_whole(directory: &Path) -> bool {
    ["HEAD", "config", "info/attributes", "objects", "refs"].iter().all(|name| directory.join(name).exists())
}

/// A directory, told from all before and after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Which {
    device: u64,
    number: u64,
    /// Systems give a number that is free to the next directory.
    made: Option<SystemTime>,
}

/// Which directory the copy of a repository is now; a copy that was made anew is another.
pub(super) fn which(settings: &Settings, repository: &RepositoryName) -> Option<Which> {
    let found = place(settings, repository).metadata().ok()?;
    Some(Which { device: found.dev(), number: found.ino(), made: found.created().ok() })
}

/// Takes a copy that is not whole out of the way, so that the next call makes it anew. Calls that work with it now fail, and
/// are repeated. `seen`: the copy that is meant; if somebody has put another in its place, that one stays.
pub(super) async fn discard(
    settings: &Settings,
    repository: &RepositoryName,
    seen: Option<Which>,
) -> Result<(), ServiceError> {
    let directory = place(settings, repository);
    let _held = lock::wait(directory.with_extension("lock")).await?;
    if seen.is_some() && which(settings, repository) != seen {
        return Ok(());
    }
    put_aside(&directory).map_err(disk)
}

/// Moves a copy away at once and removes it at leisure.
fn put_aside(directory: &Path) -> io::Result<()> {
    let aside = directory.with_extension(format!("{}.{ASIDE}", cache::unique()));
    match std::fs::rename(directory, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        moved => moved?,
    }
    area::aside(move || drop(area::remove_tree(&aside)));
    Ok(())
}

/// Extension of a copy that is being removed.
const ASIDE: &str = "aside";

/// Removes copies that nobody has used for `settings.keep_days`, and the longest unused ones over `settings.mirror_bytes`. One
/// in use stays.
pub(super) fn evict(settings: &Settings) {
    let mut copies = Vec::new();
    for entry in std::fs::read_dir(settings.mirrors()).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        match path.extension().and_then(OsStr::to_str) {
            Some(ASIDE) => drop(area::remove_tree(&path)),
            Some("git") => {
                let used = path.with_extension(IN_USE).metadata().and_then(|found| found.modified());
                let used = used.unwrap_or(SystemTime::UNIX_EPOCH);
                copies.push(Kept { bytes: cache::bytes_of(&path), used, path });
            }
            _ => {}
        }
    }
    for path in cache::surplus(copies, settings.mirror_bytes, settings.keep()) {
        if let Some(_ours_alone) = lock::try_now(&path.with_extension(IN_USE))
            && let Err(error) = put_aside(&path)
        {
            tracing::warn!(mirror = %path.display(), %error, "an unused mirror could not be removed");
        }
    }
}

/// Makes an empty copy next to its place and moves it there, so that half a copy is never found.
async fn create(directory: &Path, like: &CommitSha) -> Result<(), ServiceError> {
    let new = directory.with_extension("new");
    let made = async {
        match tokio::fs::remove_dir_all(&new).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(anyhow::Error::from(error)),
            _ => {}
        }
        let object_format = if like.as_str().len() == 64 { "sha256" } else { "sha1" };
        git::init(&new, object_format).await.map_err(super::git::GitFailed::unexpected)?;
        lock::open_to_others(&new)?;
        tokio::fs::create_dir_all(new.join("info")).await?;
        // The sandbox's user reads these when it checks files out.
        for path in ["info", "refs", "objects"] {
            std::fs::set_permissions(new.join(path), Permissions::from_mode(0o755))?;
        }
        area::write(&new.join("info/attributes"), BYTE_EXACT.as_bytes())?;
        for path in ["HEAD", "config"] {
            std::fs::set_permissions(new.join(path), Permissions::from_mode(0o644))?;
        }
        tokio::fs::rename(&new, directory).await?;
        Ok(())
    };
    made.await.map_err(disk)
}
