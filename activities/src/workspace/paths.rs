//! Paths that a model names: inside the workspace, and nowhere else.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};

use super::text;
use crate::sandbox;

/// A path below the workspace's root, without `..` and without git's own folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InnerPath(PathBuf);

impl InnerPath {
    /// Checks a path. Also takes `/w/...`, as commands in the sandbox show it.
    ///
    /// # Errors
    /// A sentence for the model.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let inner = text.strip_prefix(sandbox::ROOT).filter(|rest| rest.starts_with('/')).unwrap_or(text);
        let inner = if inner.len() < text.len() { inner.trim_start_matches('/') } else { inner };
        let inner = text::meant(inner);
        let refused =
            |why: &str| Err(format!("{text:?} {why}. Give a path from the repository's root, like src/main.py."));
        if inner.contains(&0) || inner.len() > 4096 {
            return refused("is not a path");
        }
        let mut path = PathBuf::new();
        for component in Path::new(OsStr::from_bytes(&inner)).components() {
            match component {
                Component::CurDir => {}
                Component::Normal(name) if name.eq_ignore_ascii_case(".git") => {
                    return refused("is inside git's own folder");
                }
                Component::Normal(name) => path.push(name),
                Component::ParentDir => return refused("has .. in it"),
                Component::RootDir | Component::Prefix(_) => return refused("is absolute"),
            }
        }
        if path.as_os_str().is_empty() {
            return refused("names no file");
        }
        Ok(Self(path))
    }

    /// The path, relative.
    pub(super) fn as_path(&self) -> &Path {
        &self.0
    }

    /// The path as text.
    pub(super) fn shown(&self) -> String {
        text::shown(self.0.as_os_str().as_bytes())
    }

    /// The directories above it, the outermost first, and the path itself.
    pub(super) fn with_parents(&self) -> Vec<&Path> {
        let mut all: Vec<&Path> = self.0.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        all.reverse();
        all
    }

    /// Reads the file below `root`. Links are followed as long as they stay inside.
    ///
    /// # Errors
    /// A sentence for the model.
    pub(super) fn read(&self, root: &Path) -> Result<Vec<u8>, String> {
        let read = || {
            let mut bytes = Vec::new();
            self.opened(root)?.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|error| self.told(&error))
    }

    fn opened(&self, root: &Path) -> io::Result<File> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let file = File::from(openat2(top(root)?, &self.0, how)?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::from(Errno::EISDIR)) }
    }

    /// Reads the file below `root` if it has at most `cap` bytes; `None`: it has more. Links are followed as long as they stay
    /// inside.
    ///
    /// # Errors
    /// A sentence for the model.
    pub(super) fn read_up_to(&self, root: &Path, cap: u64) -> Result<Option<Vec<u8>>, String> {
        let read = || {
            let file = self.opened(root)?;
            if file.metadata()?.len() > cap {
                return Ok(None);
            }
            let mut bytes = Vec::new();
            file.take(cap + 1).read_to_end(&mut bytes)?;
            Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= cap))
        };
        read().map_err(|error: io::Error| self.told(&error))
    }

    /// Writes the whole file below `root`; directories are made. An existing file keeps its permissions. No link is followed.
    ///
    /// # Errors
    /// A sentence for the model.
    pub(super) fn write(&self, root: &Path, content: &[u8]) -> Result<(), String> {
        let write = || {
            let mut directory = top(root)?;
            for component in self.0.parent().into_iter().flat_map(Path::components) {
                match mkdirat(&directory, component.as_os_str(), Mode::from_bits_truncate(0o755)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                directory = open(&directory, component.as_os_str(), OFlag::O_PATH | OFlag::O_DIRECTORY)?;
            }
            let name = self.0.file_name().ok_or(Errno::EISDIR)?;
            let mut file = File::from(open(&directory, name, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NONBLOCK)?);
            if !file.metadata()?.is_file() {
                return Err(io::Error::from(Errno::EISDIR));
            }
            file.set_len(0)?;
            file.write_all(content)
        };
        write().map_err(|error| self.told(&error))
    }

    fn told(&self, error: &io::Error) -> String {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(errno) => self.sentence(errno),
            None => format!("{} cannot be used: {error}", self.shown()),
        }
    }

    /// What the model is told when this path cannot be used.
    pub(super) fn sentence(&self, errno: Errno) -> String {
        let path = self.shown();
        match errno {
            Errno::ENOENT => format!("{path} does not exist. Use list_files to see what does."),
            Errno::EISDIR => format!("{path} is not a regular file."),
            Errno::ENOTDIR => format!("A part of {path} is a file, not a directory."),
            Errno::EXDEV => format!("{path} leads out of the workspace."),
            Errno::ELOOP => format!("A part of {path} is a symbolic link. Name the file it points to."),
            _ => format!("{path} cannot be used: {}", errno.desc()),
        }
    }
}

fn top(root: &Path) -> io::Result<OwnedFd> {
    Ok(File::open(root)?.into())
}

/// Opens one component, which must not be a link.
fn open(directory: impl AsFd, name: &OsStr, flags: OFlag) -> nix::Result<OwnedFd> {
    let mut how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    if flags.contains(OFlag::O_CREAT) {
        how = how.mode(Mode::from_bits_truncate(0o644));
    }
    openat2(directory, Path::new(name), how)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn only_paths_inside_are_taken() {
        for (text, inner) in [("a/b.py", "a/b.py"), ("./a", "a"), ("/w/a/b", "a/b"), ("a//b", "a/b"), ("w/x", "w/x")] {
            assert_eq!(InnerPath::parse(text).unwrap().as_path(), Path::new(inner));
        }
        for bad in [
            "",
            ".",
            "/",
            "/w",
            "/w/",
            "../a",
            "a/../b",
            "/etc/passwd",
            ".git/config",
            "a/.GIT/x",
            "a\0b",
            "/workspace/a",
        ] {
            assert!(InnerPath::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn links_never_lead_out() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        let inside = tempfile::tempdir().unwrap();
        let root = inside.path();
        std::fs::create_dir(root.join("d")).unwrap();
        std::fs::write(root.join("d/real"), "r").unwrap();
        symlink(outside.path(), root.join("out")).unwrap();
        symlink(outside.path().join("secret"), root.join("file")).unwrap();
        symlink("real", root.join("d/near")).unwrap();
        symlink("/proc/self/root/etc/passwd", root.join("magic")).unwrap();

        let path = |text: &str| InnerPath::parse(text).unwrap();
        for text in ["out/secret", "file", "magic"] {
            assert!(path(text).read(root).unwrap_err().contains("leads out"), "{text}");
            assert!(path(text).write(root, b"x").is_err(), "{text}");
        }
        assert_eq!(path("d/near").read(root).unwrap(), b"r");
        assert!(path("d/near").write(root, b"x").unwrap_err().contains("symbolic link"));
        assert!(path("out/new").write(root, b"x").is_err());
        assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"s");
        assert!(!outside.path().join("new").exists());
    }

    #[test]
    fn writing_makes_directories_and_keeps_permissions() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let path = InnerPath::parse("a/b/run.sh").unwrap();
        path.write(root, b"first, longer").unwrap();
        std::fs::set_permissions(root.join("a/b/run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        path.write(root, b"second").unwrap();
        assert_eq!(path.read(root).unwrap(), b"second");
        assert_eq!(std::fs::metadata(root.join("a/b/run.sh")).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(path.read_up_to(root, 6).unwrap().unwrap(), b"second");
        assert_eq!(path.read_up_to(root, 5).unwrap(), None);
        assert!(InnerPath::parse("a/b").unwrap().read(root).unwrap_err().contains("not a regular file"));
        assert!(InnerPath::parse("a/none").unwrap().read(root).unwrap_err().contains("does not exist"));
    }
}
