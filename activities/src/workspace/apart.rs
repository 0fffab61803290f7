//! What a call writes, kept apart from the copy of the repository until the call is accepted, as `git receive-pack` keeps what is
//! pushed (git-receive-pack(1), "Quarantine environment"). What is refused goes with the call.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use workflows::contract::ids::CommitSha;

use super::area::remove_tree;
use super::disk;
use super::git::Git;
use super::mirror::Mirror;
use crate::failure::ServiceError;

/// The objects of one call.
#[derive(Debug)]
pub(super) struct Apart {
    directory: PathBuf,
}

impl Apart {
    /// In this directory, made anew.
    pub(super) fn make(directory: PathBuf) -> Result<Self, ServiceError> {
        remove_tree(&directory).and_then(|()| std::fs::create_dir(&directory)).map_err(disk)?;
        Ok(Self { directory })
    }

    /// The same git, which writes here and reads from both.
    pub(super) fn git(&self, git: &Git) -> Git {
        git.writing_to(&self.directory)
    }

    /// Moves everything into the copy. `commit` is the last: whoever finds it there believes that all of it is.
    pub(super) async fn accept(self, mirror: &Mirror<'_>, commit: &CommitSha) -> Result<(), ServiceError> {
        let (from, to, commit) = (self.directory, mirror.objects(), commit.clone());
        let moved =
            tokio::task::spawn_blocking(move || move_all(&from, &to, &commit).and_then(|()| remove_tree(&from)));
        moved.await.map_err(disk)?.map_err(disk)
    }
}

fn move_all(from: &Path, to: &Path, commit: &CommitSha) -> io::Result<()> {
    // git's layout of loose objects and packs (gitrepository-layout(5)).
    let (folder, name) = commit.as_str().split_at(2);
    let last = Path::new(folder).join(name);
    for folder in folders(from)? {
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(from.join(&folder))? {
            files.push(folder.join(entry?.file_name()));
        }
        // git looks for packs by their index.
        files.sort_by_key(|file| file.extension() == Some(OsStr::new("idx")));
        for file in files.iter().filter(|file| **file != last) {
            move_one(from, to, file)?;
        }
    }
    if from.join(&last).exists() { move_one(from, to, &last) } else { Ok(()) }
}

/// The folders of objects: those of the first two digits, and that of packs.
fn folders(from: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.file_name() != "info" {
            folders.push(PathBuf::from(entry.file_name()));
        }
    }
    Ok(folders)
}

fn move_one(from: &Path, to: &Path, file: &Path) -> io::Result<()> {
    let place = to.join(file);
    match std::fs::rename(from.join(file), &place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        moved => return moved,
    }
    if let Some(folder) = place.parent() {
        match std::fs::create_dir(folder) {
            // The sandbox's user reads the objects, whatever our umask is.
            Ok(()) => std::fs::set_permissions(folder, Permissions::from_mode(0o755))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    std::fs::rename(from.join(file), place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_moved_and_the_commit_comes_last() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let commit: CommitSha = format!("ab{}", "1".repeat(38)).parse().unwrap();
        let (other, last) = (format!("ab/{}", "2".repeat(38)), format!("ab/{}", "1".repeat(38)));
        let all = [other.as_str(), "cd/3", "pack/pack-4.idx", "pack/pack-4.pack", &last];
        for file in all {
            std::fs::create_dir_all(from.join(file).parent().unwrap()).unwrap();
            std::fs::write(from.join(file), file).unwrap();
        }
        std::fs::create_dir_all(to.join("cd")).unwrap();
        std::fs::create_dir(from.join("info")).unwrap();
        // One that is there already is the same.
        std::fs::write(to.join("cd/3"), "cd/3").unwrap();
        // What cannot be moved keeps the commit back.
        std::fs::write(to.join("pack"), "").unwrap();
        assert!(move_all(&from, &to, &commit).is_err() && !to.join(&last).exists());
        std::fs::remove_file(to.join("pack")).unwrap();
        move_all(&from, &to, &commit).unwrap();
        assert!(all.iter().all(|file| std::fs::read_to_string(to.join(file)).unwrap() == *file));
        assert_eq!(to.join("ab").metadata().unwrap().permissions().mode() & 0o777, 0o755);
    }
}
