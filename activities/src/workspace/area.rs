//! A directory for one attempt of one activity: claimed under a lock, free of what older attempts left, removed at the end.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use temporalio_sdk::activities::ActivityInfo;
use workflows::contract::ids::{CommitSha, Digest};

use super::apart::Apart;
use super::git::{Git, GitFailed};
use super::mirror::Mirror;
use super::setup::Prepared;
use super::{Settings, disk, lock};
use crate::failure::ServiceError;
use crate::sandbox::{self, Bind, Command};

/// Whose directory it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Of which workflow.
    pub workflow: String,
    /// Which call of it.
    pub activity: String,
    /// Which attempt, from 1.
    pub attempt: u32,
}

impl Claim {
    /// The claim of a running activity.
    pub fn of(info: &ActivityInfo) -> Self {
        Self {
            workflow: info.workflow_id.clone().unwrap_or_default(),
            activity: format!("{}/{}", info.workflow_run_id.clone().unwrap_or_default(), info.activity_id),
            attempt: info.attempt,
        }
    }

    /// The ticket, or whatever the workflow above all others is about: its id is the first part of all theirs.
    pub(super) fn ticket(&self) -> String {
        let ticket = self.workflow.split('/').next().unwrap_or_default();
        Digest::of(ticket).as_str().chars().take(16).collect()
    }

    /// Name of the call's directories, without the attempt. Ids are foreign text, so they are hashed.
    pub(super) fn name(&self) -> String {
        Digest::of(format!("{}\0{}", self.workflow, self.activity)).as_str().chars().take(32).collect()
    }
}

/// The claimed directory. Dropping it removes it, on a thread of its own: a command may have left 500,000 files, and whoever
/// drops it has a heart to beat. Until it is gone, its lock is held.
#[derive(Debug)]
pub(super) struct Area {
    directory: PathBuf,
    lock: Option<File>,
}

impl Area {
    /// Ends what older attempts still run, then makes a directory for this one.
    pub(super) async fn claim(settings: &Settings, claim: &Claim) -> Result<Self, ServiceError> {
        // It is a cache, which somebody may have removed since the worker started.
        settings.make_directories().map_err(disk)?;
        let work = settings.work();
        let name = claim.name();
        let directory = work.join(format!("{name}.{}", claim.attempt));
        let lock_path = with(&directory, "lock");
        {
            let (work, directory) = (work.clone(), directory.clone());
            let older = move || end_older(&work, &name, &directory);
            tokio::task::spawn_blocking(older).await.map_err(disk)?;
        }
        let lock = lock::wait(lock_path).await?;
        let area = Self { directory, lock: Some(lock) };
        // A worker that was killed leaves its directory behind.
        remove_tree(&area.directory).map_err(disk)?;
        make(&area.directory).map_err(disk)?;
        Ok(area)
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.directory
    }

    /// File that names the process group this attempt runs.
    pub(super) fn group(&self) -> PathBuf {
        with(&self.directory, "group")
    }

    /// A new directory of this name inside.
    pub(super) fn make(&self, name: &str) -> Result<PathBuf, ServiceError> {
        let directory = self.directory.join(name);
        make(&directory).map_err(disk)?;
        Ok(directory)
    }

    /// Removes a directory of this name inside, if it can.
    pub(super) fn discard(&self, name: &str) {
        if let Err(error) = remove_tree(&self.directory.join(name)) {
            tracing::debug!(name, %error, "a directory of a run stays until the end of the call");
        }
    }

    /// Puts the files of `tree` into a directory `name`. `base`: the commit that git inside the sandbox compares with.
    pub(super) async fn check_out(
        &self,
        mirror: &Mirror<'_>,
        name: &str,
        tree: &str,
        base: &CommitSha,
    ) -> Result<Checkout, ServiceError> {
        let directory = self.make(name)?;
        prepare(&directory, None).map_err(disk)?;
        let checkout = self.open(mirror, &directory, tree, base);
        checkout.git.run(["read-tree", tree]).await.map_err(GitFailed::unexpected)?;
        checkout.git.run(["checkout-index", "--all", "--force", "--index"]).await.map_err(GitFailed::unexpected)?;
        checkout.show().await.map_err(disk)?;
        Ok(checkout)
    }

    /// The files in `directory`, whose index is at `tree`.
    pub(super) fn open(&self, mirror: &Mirror<'_>, directory: &Path, tree: &str, base: &CommitSha) -> Checkout {
        let files = directory.join("files");
        let git = mirror.git.with_index(&directory.join(INDEX)).with_work_tree(&files);
        let binds = vec![
            Bind { from: directory.join("view"), to: Path::new(sandbox::ROOT).join(".git"), writable: false },
            Bind { from: mirror.objects(), to: OBJECTS.into(), writable: false },
        ];
        let (directory, tree, base) = (directory.to_owned(), tree.to_owned(), base.clone());
        let (env, prepared, group) = (Vec::new(), Prepared::default(), self.group());
        Checkout { directory, files, git, binds, env, tree, prepared, base, group }
    }
}

/// Where a check-out has its index: in a folder that belongs to the owner of the files.
const INDEX: &str = "git/index";

/// Makes the folders of a check-out in `directory`, for files that belong to `owner`.
pub(super) fn prepare(directory: &Path, owner: Option<u32>) -> io::Result<()> {
    for name in ["files", "git"] {
        let folder = directory.join(name);
        std::fs::create_dir(&folder)?;
        std::fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
        if owner.is_some() {
            chown(&folder, owner, owner)?;
        }
    }
    Ok(())
}

impl Drop for Area {
    fn drop(&mut self) {
        let (directory, lock) = (std::mem::take(&mut self.directory), self.lock.take());
        aside(move || {
            let _held = &lock;
            if let Err(error) = remove_tree(&directory) {
                // Its lock file stays: the next worker to start finds it by that.
                tracing::warn!(directory = %directory.display(), %error, "a workspace's directory could not be removed");
                return;
            }
            let _ = std::fs::remove_file(with(&directory, "lock"));
        });
    }
}

/// Does `work` on a thread of its own. Where the system has no more threads, which a sandbox's processes may have used up, it is
/// done here: late is better than a panic while something is dropped.
pub(super) fn aside(work: impl Fn() + Send + Sync + 'static) {
    aside_by(std::thread::Builder::new(), work);
}

fn aside_by(thread: std::thread::Builder, work: impl Fn() + Send + Sync + 'static) {
    let work = Arc::new(work);
    let there = work.clone();
    if let Err(error) = thread.spawn(move || there()) {
        tracing::debug!(%error, "no thread for a directory that is removed");
        work();
    }
}

/// The files of a tree, ready for work.
#[derive(Debug)]
pub(super) struct Checkout {
    /// What holds all of it.
    pub(super) directory: PathBuf,
    /// The files.
    pub(super) files: PathBuf,
    /// git on them, with an index of its own.
    pub(super) git: Git,
    /// What the sandbox shows beside them.
    pub(super) binds: Vec<Bind>,
    /// Variables that tell commands about it.
    pub(super) env: Vec<(String, String)>,
    /// The tree they were checked out from.
    pub(super) tree: String,
    /// What is installed for it.
    pub(super) prepared: Prepared,
    /// The commit that git inside the sandbox compares with.
    pub(super) base: CommitSha,
    /// File that names the process group of a command.
    group: PathBuf,
}

impl Checkout {
    /// What git has noted of the files.
    pub(super) fn index(&self) -> PathBuf {
        self.directory.join(INDEX)
    }

    /// Where what is added to git lies until it is kept.
    pub(super) fn apart(&self) -> Result<Apart, ServiceError> {
        Apart::make(self.directory.join("objects"))
    }

    /// Makes the `.git` that the sandbox sees, for the index as it is now.
    pub(super) async fn show(&self) -> io::Result<()> {
        let (files, directory, base) = (self.files.clone(), self.directory.clone(), self.base.clone());
        let shown = tokio::task::spawn_blocking(move || {
            // Where the sandbox puts the view; made here, so that it belongs to no snapshot.
            match std::fs::create_dir(files.join(".git")) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            let view = directory.join("view");
            remove_tree(&view)?;
            make_view(&view, &base, Path::new(OBJECTS), &directory.join(INDEX))
        });
        shown.await.map_err(io::Error::other)?
    }

    /// A bash script in these files.
    pub(super) fn script(&self, script: &str, limit: Duration) -> Command {
        Command {
            binds: self.binds.clone(),
            env: self.env.clone(),
            record: Some(self.group.clone()),
            ..Command::script(script, Some(self.files.clone()), limit)
        }
    }
}

/// Where the sandbox shows the repository's objects.
const OBJECTS: &str = "/run/objects";

/// The `.git` that the sandbox sees: enough for status, diff, log and blame. Read-only, and nothing the sandbox could have
/// written is ever read.
fn make_view(view: &Path, base: &CommitSha, objects: &Path, index: &Path) -> io::Result<()> {
    make_repository(view, base, objects)?;
    write(&view.join("index"), &std::fs::read(index)?)
}

/// A repository without settings, on the objects of another. `objects`: where these are, for whoever reads it.
pub(super) fn make_repository(directory: &Path, head: &CommitSha, objects: &Path) -> io::Result<()> {
    let (version, format) =
        if head.as_str().len() == 64 { (1, "[extensions]\n\tobjectformat = sha256\n") } else { (0, "") };
    for name in ["", "refs", "objects", "objects/info"] {
        std::fs::create_dir(directory.join(name))?;
        std::fs::set_permissions(directory.join(name), Permissions::from_mode(0o755))?;
    }
    let config = format!("[core]\n\trepositoryformatversion = {version}\n\tbare = false\n{format}");
    write(&directory.join("HEAD"), format!("{head}\n").as_bytes())?;
    write(&directory.join("config"), config.as_bytes())?;
    write(&directory.join("objects/info/alternates"), format!("{}\n", objects.display()).as_bytes())
}

/// Writes a file that other users may read, whatever our umask is.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    std::fs::write(path, content)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o644))
}

/// Removes what workers that are gone left behind.
pub(super) fn sweep(settings: &Settings) {
    for entry in std::fs::read_dir(settings.work()).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if path.extension() == Some(OsStr::new("lock")) {
            remove_if_left(&path.with_extension(""));
        }
    }
}

/// Ends what the call's older attempts still run, and removes the directories of others where nobody works any more. A newer
/// attempt than ours is left alone: we are the one that woke late.
fn end_older(work: &Path, name: &str, ours: &Path) {
    let number = |path: &Path| path.extension().and_then(OsStr::to_str).and_then(|attempt| attempt.parse::<u32>().ok());
    for entry in std::fs::read_dir(work).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        let of_this_call = entry.file_name().to_string_lossy().starts_with(&format!("{name}."));
        let is_older = number(&path.with_extension("")) < number(ours);
        match path.extension().and_then(OsStr::to_str) {
            Some("group") if of_this_call && is_older => {
                sandbox::end_recorded(&path);
            }
            Some("lock") if of_this_call && path.with_extension("") != ours => remove_if_left(&path.with_extension("")),
            _ => {}
        }
    }
}

fn remove_if_left(directory: &Path) {
    if let Some(_held) = lock::try_now(&with(directory, "lock")) {
        let group = with(directory, "group");
        if !sandbox::end_recorded(&group) {
            tracing::warn!(directory = %directory.display(), "what an older attempt started cannot be ended; its files stay");
            return;
        }
        if let Err(error) = remove_tree(directory) {
            tracing::warn!(directory = %directory.display(), %error, "what an older attempt left cannot be removed");
            return;
        }
        let _ = std::fs::remove_file(group);
        let _ = std::fs::remove_file(with(directory, "lock"));
    }
}

fn with(directory: &Path, extension: &str) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

fn make(directory: &Path) -> io::Result<()> {
    std::fs::create_dir(directory)?;
    lock::open_to_others(directory)
}

/// Removes `directory` if it is there, whatever code under test has made of it.
pub(super) fn remove_tree(directory: &Path) -> io::Result<()> {
    match sandbox::remove_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && directory.symlink_metadata().is_err() => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_worker_left_is_swept_however_deep_it_is_nested() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings { directory: directory.path().to_owned(), ..Settings::default() };
        settings.make_directories().unwrap();
        let left = settings.work().join("call.1");
        std::fs::create_dir(&left).unwrap();
        std::fs::write(with(&left, "lock"), "").unwrap();
        // More than a thread's stack has room for, and far more than the descriptors a process may have.
        let nest = "import os, sys\nos.chdir(sys.argv[1])\nfor _ in range(20000): os.mkdir('d'); os.chdir('d')";
        assert!(
            std::process::Command::new("/usr/bin/python3").args(["-c", nest]).arg(&left).status().unwrap().success()
        );
        sweep(&settings);
        assert!(!left.exists() && !with(&left, "lock").exists());
    }

    #[test]
    fn what_has_to_go_goes_also_where_there_are_no_more_threads() {
        let directory = tempfile::tempdir().unwrap();
        let left = directory.path().join("left");
        std::fs::create_dir(&left).unwrap();
        let path = left.clone();
        // No system has room for such a stack.
        let refused = std::thread::Builder::new().stack_size(1 << 60);
        aside_by(refused, move || remove_tree(&path).unwrap());
        assert!(!left.exists());
    }

    #[test]
    fn an_attempt_that_woke_late_leaves_newer_ones_alone() {
        let work = tempfile::tempdir().unwrap();
        let ours = work.path().join("call.2");
        let running: Vec<_> = [1, 3, 10]
            .into_iter()
            .map(|attempt| {
                use std::os::unix::process::CommandExt as _;
                let child = std::process::Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
                let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
                let started = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_owned();
                let record = work.path().join(format!("call.{attempt}.group"));
                std::fs::write(record, format!("{} {started}\n", child.id())).unwrap();
                child
            })
            .collect();
        end_older(work.path(), "call", &ours);
        let ended: Vec<bool> = running
            .into_iter()
            .map(|mut child| {
                let ended = child.try_wait().unwrap().is_some();
                let _ = child.kill();
                child.wait().unwrap();
                ended
            })
            .collect();
        assert_eq!(ended, [true, false, false]);
    }
}
