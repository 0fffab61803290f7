//! A bare copy of each repository, shared by all its workspaces on this host: a cache that any worker can rebuild.

use std::path::{Path, PathBuf};

use workflows::contract::failure::FailureKind;
use workflows::contract::ids::{CommitSha, Digest, RepositoryName};
use workflows::contract::workspace::{Snapshot, Workspace};

use super::git::{self, Git, Protocols};
use super::{Settings, disk, lock};
use crate::blobs::Blobs;
use crate::failure::ServiceError;
use crate::workspace::remote::Remote;

/// Attributes above all others: files go in and out byte for byte, and no repository's own driver is looked for.
const BYTE_EXACT: &str =
    "* -text !eol -ident -filter -working-tree-encoding !diff !merge !export-ignore !export-subst\n";

/// The cached copy of one repository.
pub(super) struct Mirror<'a> {
    pub(super) git: Git,
    repository: RepositoryName,
    settings: &'a Settings,
    remote: &'a dyn Remote,
}

impl<'a> Mirror<'a> {
    /// Opens the copy, empty at first. `like`: a commit of the repository, for the length of its ids.
    pub(super) async fn open(
        settings: &'a Settings,
        remote: &'a dyn Remote,
        repository: &RepositoryName,
        like: &CommitSha,
    ) -> Result<Self, ServiceError> {
        let name = Digest::of(repository.as_str().to_lowercase());
        let directory = settings.mirrors().join(format!("{name}.git"));
        if !directory.join("HEAD").exists() {
            let _held = lock::wait(settings.mirrors().join(format!("{name}.lock"))).await?;
            if !directory.join("HEAD").exists() {
                create(&directory, like).await?;
            }
        }
        Ok(Self { git: Git::bare(&directory), repository: repository.clone(), settings, remote })
    }

    /// Makes sure that `commit` of the remote is here.
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
        let fetched = self.fetch(&format!("{commit}:{name}")).await;
        if let Err(error) = fetched {
            // A server that serves no commit by id has it on a branch, if at all.
            if error.kind != FailureKind::NotFound && error.kind != FailureKind::Unexpected {
                return Err(error);
            }
            self.fetch("+refs/heads/*:refs/remotes/origin/*").await?;
            self.git.run(["update-ref", &name, commit.as_str()]).await.map_err(|_| {
                ServiceError::new(FailureKind::NotFound, format!("{} has no commit {commit}", self.repository))
                    .caused_by(error)
            })?;
        }
        Ok(())
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
        let Some(snapshot) = &workspace.snapshot else {
            return self.tree_of(&workspace.base).await;
        };
        // A commit is written after its files, so one that is here is complete.
        if self.tree_of(&snapshot.commit).await.is_err() {
            self.unbundle(snapshot, blobs, scratch).await?;
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

    async fn unbundle(&self, snapshot: &Snapshot, blobs: &Blobs, scratch: &Path) -> Result<(), ServiceError> {
        let bytes = blobs.get(&snapshot.bundle).await?;
        let file = scratch.join("snapshot.bundle");
        tokio::fs::write(&file, &bytes).await.map_err(disk)?;
        let unbundled = self.git.run(["bundle".as_ref(), "unbundle".as_ref(), file.as_os_str()]).await;
        unbundled.map(|_| ()).map_err(super::git::GitFailed::unexpected)
    }

    /// The tree of a commit that is here.
    pub(super) async fn tree_of(&self, commit: &CommitSha) -> Result<String, ServiceError> {
        let tree = format!("{commit}^{{tree}}");
        self.git.line(["rev-parse", "--verify", "--quiet", &tree]).await.map_err(super::git::GitFailed::unexpected)
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
        tokio::fs::write(new.join("info/attributes"), BYTE_EXACT).await?;
        tokio::fs::rename(&new, directory).await?;
        Ok(())
    };
    made.await.map_err(disk)
}
