//! Goes through a directory that a stranger filled: without recursion, and also where paths are longer than the system takes.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};

/// Length of a path from which on the way goes on from an open directory. The system takes 4,096 (limits.h), names have 255.
const LONG: usize = 3_000;
/// Directories that may be open for that at once. Each stands for 3,000 bytes of nesting.
const OPEN: usize = 16;

/// Levels of directories that are followed. No honest tree has as many, and much that reads trees would run out of stack or
/// descriptors further down.
pub(crate) const DEEPEST: usize = 512;

/// A place to go on from. Its path holds while the directory is open.
struct Base {
    path: PathBuf,
    _open: Option<File>,
}

/// Calls `visit` for `root` and everything below it, links themselves and never what they point to. What vanishes meanwhile is
/// passed over.
///
/// # Errors
/// The first error of `visit`, or [`io::ErrorKind::InvalidFilename`]: directories are nested deeper than can be followed.
pub(crate) fn walk(root: &Path, mut visit: impl FnMut(&Path, &Metadata) -> io::Result<()>) -> io::Result<()> {
    let data = root.symlink_metadata()?;
    visit(root, &data)?;
    if !data.is_dir() {
        return Ok(());
    }
    let base = Rc::new(Base { path: root.to_owned(), _open: None });
    let mut open: Vec<Weak<Base>> = Vec::new();
    let mut left = vec![(base, PathBuf::new(), 0)];
    while let Some((base, below, depth)) = left.pop() {
        let mut path = base.path.join(&below);
        let (mut base, mut below) = (base, below);
        if below.as_os_str().len() > LONG {
            open.retain(|base| base.strong_count() > 0);
            if open.len() == OPEN {
                return Err(too_deep());
            }
            let directory =
                OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY).open(&path);
            let directory = match directory {
                Ok(directory) => directory,
                Err(error) if has_vanished(&error) => continue,
                Err(error) => return Err(error),
            };
            path = at(&directory, ".".as_ref());
            base = Rc::new(Base { path: path.clone(), _open: Some(directory) });
            below = PathBuf::new();
            open.push(Rc::downgrade(&base));
        }
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if has_vanished(&error) || error.kind() == io::ErrorKind::PermissionDenied => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let data = match entry.metadata() {
                Ok(data) => data,
                Err(error) if has_vanished(&error) || error.kind() == io::ErrorKind::PermissionDenied => continue,
                Err(error) => return Err(error),
            };
            match visit(&entry.path(), &data) {
                Err(error) if has_vanished(&error) => continue,
                visited => visited?,
            }
            if data.is_dir() && depth == DEEPEST {
                return Err(too_deep());
            }
            if data.is_dir() {
                left.push((base.clone(), below.join(entry.file_name()), depth + 1));
            }
        }
    }
    Ok(())
}

fn too_deep() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidFilename, "directories are nested too deep")
}

/// Removes `root` and everything below it, however deep: one directory is open at a time, no path is long and nothing recurses.
/// [`std::fs::remove_dir_all`] runs out of stack or descriptors on a tree that was made to do so. Nobody else may change the
/// tree meanwhile.
///
/// # Errors
/// [`io::ErrorKind::NotFound`]: there is no `root`. Otherwise the first file that cannot be removed.
pub fn remove_all(root: &Path) -> io::Result<()> {
    if !root.symlink_metadata()?.is_dir() {
        return std::fs::remove_file(root);
    }
    let (mut here, directories) = empty(root)?;
    // Each directory on the way down: its name, and what is left in it.
    let mut way = vec![(OsString::new(), directories)];
    while let Some((_, left)) = way.last_mut() {
        if let Some(name) = left.pop() {
            let (below, directories) = empty(&at(&here, &name))?;
            here = below;
            way.push((name, directories));
        } else if let Some((name, _)) = way.pop().filter(|_| !way.is_empty()) {
            here = File::open(at(&here, "..".as_ref()))?;
            std::fs::remove_dir(at(&here, &name))?;
        }
    }
    std::fs::remove_dir(root)
}

/// Removes everything in `directory` but its directories, whose names come back with the open directory.
fn empty(directory: &Path) -> io::Result<(File, Vec<OsString>)> {
    if !nix::unistd::geteuid().is_root() {
        // A command may have closed its own directories. What cannot be changed is told by what comes next.
        let _ = std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700));
    }
    let open = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY).open(directory)?;
    let mut directories = Vec::new();
    for entry in std::fs::read_dir(at(&open, ".".as_ref()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            directories.push(entry.file_name());
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok((open, directories))
}

/// The path of `name` in an open directory.
fn at(directory: &File, name: &OsStr) -> PathBuf {
    Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name)
}

fn has_vanished(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `levels` directories inside each other below `root`, a file in the last.
    fn nest(root: &Path, levels: usize, name: &str) {
        let script = format!(
            "import os\nos.chdir({root:?})\nfor _ in range({levels}):\n os.mkdir({name:?}); os.chdir({name:?})\nopen('last', 'w').write('x')"
        );
        assert!(std::process::Command::new("/usr/bin/python3").args(["-c", &script]).status().unwrap().success());
    }

    #[test]
    fn a_tree_is_removed_whatever_its_names() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        for path in ["removed-0-0/removed-0-1/a", "b/removed-0-0/c", "b/d/e"] {
            std::fs::create_dir_all(root.join(path)).unwrap();
            std::fs::write(root.join(path).join("file"), "x").unwrap();
        }
        std::fs::set_permissions(root.join("b"), std::fs::Permissions::from_mode(0o000)).unwrap();
        remove_all(&root).unwrap();
        assert!(!root.exists());
        assert_eq!(remove_all(&root).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_lies_beyond_the_longest_path_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        nest(directory.path(), 300, &"n".repeat(200));
        let (mut seen, mut last) = (0, false);
        walk(directory.path(), |path, _| {
            seen += 1;
            last |= path.file_name() == Some("last".as_ref());
            Ok(())
        })
        .unwrap();
        assert_eq!((seen, last), (302, true));
    }

    #[test]
    fn nesting_without_end_is_an_error_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/", directory.path().join("root")).unwrap();
        let mut seen = 0;
        walk(directory.path(), |_, _| {
            seen += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, 2);

        nest(directory.path(), 3_000, "d");
        let error = walk(directory.path(), |_, _| Ok(())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidFilename);

        remove_all(directory.path()).unwrap();
        assert!(!directory.path().exists());
        assert!(Path::new("/usr").exists());
    }
}
