//! Whether the sandbox's users get to a directory: started as root, commands run as users of their own, who must be able to pass
//! through every directory above.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Finding;

/// Whether commands run as other users than we are.
pub(super) fn others_run() -> bool {
    // Who this process acts as owns its directory there.
    fs::metadata("/proc/self").is_ok_and(|found| found.uid() == 0)
}

/// The directories above `path` through which others may not pass, the outermost first. A part that is not there yet counts for
/// nothing: the worker makes it open.
pub(super) fn closed_above(path: &Path) -> Vec<PathBuf> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let Some(above) = path.parent() else { return Vec::new() };
    // Links lead elsewhere, and the directories there count.
    let real = above.ancestors().find_map(|there| there.canonicalize().ok()).unwrap_or_else(|| above.to_owned());
    let mut closed: Vec<PathBuf> = real.ancestors().filter(|there| is_closed(there)).map(Path::to_owned).collect();
    closed.reverse();
    closed
}

/// Whether others may not pass through a directory.
pub(super) fn is_closed(directory: &Path) -> bool {
    directory.metadata().is_ok_and(|found| found.is_dir() && found.mode() & 0o001 == 0)
}

/// Says of `what`, as `[sandbox] state = /a/b`, that these directories close it, and how to open them.
pub(super) fn tell(found: Finding, what: &str, closed: &[PathBuf]) -> Finding {
    let names = |between: &str| {
        let names: Vec<String> = closed.iter().map(|directory| directory.display().to_string()).collect();
        names.join(between)
    };
    let is = if closed.len() == 1 { "is" } else { "are" };
    found.lacks(
        format!("{} {is} closed to the sandbox's users, who have to get to {what}", names(" and ")),
        format!("chmod o+x {}   Or name a directory there that others get to.", names(" ")),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_directories_that_are_closed_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let (open, closed) = (directory.path().join("open"), directory.path().join("open/closed"));
        fs::create_dir_all(closed.join("inner")).unwrap();
        for path in [directory.path(), &open, &closed.join("inner")] {
            mode(path, 0o755);
        }
        mode(&closed, 0o750);
        let real = closed.canonicalize().unwrap();
        let ours = |path: &Path| closed_above(path).into_iter().filter(|found| found.starts_with(&real)).count();
        assert_eq!((ours(&closed.join("inner/not/there")), ours(&closed)), (1, 0));
        assert_eq!(closed_above(&closed.join("inner/x")).last(), Some(&real));
        std::os::unix::fs::symlink(closed.join("inner"), open.join("link")).unwrap();
        assert_eq!(ours(&open.join("link/x")), 1, "the way leads through a link");

        let told = tell(Finding::good("Sandbox", "x"), "[sandbox] state = /a/b", &["/a".into(), "/a/b".into()]);
        assert_eq!(
            told.notes[0],
            "✗ /a and /a/b are closed to the sandbox's users, who have to get to [sandbox] state = /a/b"
        );
        assert!(told.notes[1].contains("chmod o+x /a /a/b "), "{told:?}");
    }
}
