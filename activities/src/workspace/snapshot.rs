//! From files to a snapshot: a tree byte for byte, a commit that is the same wherever it is made, and a bundle.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use workflows::contract::ids::CommitSha;
use workflows::contract::workspace::Workspace;

use super::apart::Apart;
use super::area::Checkout;
use super::bundle::Stored;
use super::git::{Git, GitFailed};
use super::mirror::Mirror;
use super::{attributes, bundle, disk, objects, text};
use crate::blobs::Blobs;
use crate::failure::ServiceError;
use crate::sandbox::DEEPEST;

/// Largest file of a snapshot: GitHub refuses files over 100 MB.
const LARGEST_FILE: u64 = 95 << 20;

/// Who and when, always the same: equal files on an equal base are an equal commit.
const FIXED: [(&str, &str); 6] = [
    ("GIT_AUTHOR_NAME", "Ticketwright"),
    ("GIT_AUTHOR_EMAIL", "ticketwright@users.noreply.github.com"),
    ("GIT_AUTHOR_DATE", "1000000000 +0000"),
    ("GIT_COMMITTER_NAME", "Ticketwright"),
    ("GIT_COMMITTER_EMAIL", "ticketwright@users.noreply.github.com"),
    ("GIT_COMMITTER_DATE", "1000000000 +0000"),
];

/// Most bytes of files that one call may change: no more than can be kept of one, since git keeps for days what it was given,
/// whatever becomes of the call.
const MOST_CHANGED: u64 = bundle::LARGEST;
/// Most bytes of all paths. Every list of them goes through memory.
const MOST_NAMES: usize = 64 << 20;
/// Bytes of git's list of all paths and of what changed, in a check-out of this size.
const LIST: u64 = 512 << 20;
/// Most files that git would trip over, to tell which of them are ignored.
const MOST_SUSPECTS: usize = 1_000;
/// Most bytes of paths of [`Walked::odd`].
const MOST_ODD: usize = 8 << 20;

/// Largest file with rules for git, which git reads whole.
pub(super) const LARGEST_RULES: u64 = 10 << 20;
/// Most files below a workspace, ignored ones included.
const MOST_FILES: u64 = 500_000;

/// What taking a snapshot came to.
pub(super) enum Taken {
    /// The workspace after the call; the very same when nothing changed.
    Snapshot(Workspace),
    /// The files cannot be kept; for the model, why and what to do.
    Refused(String),
}

/// Takes a snapshot of the files of `checkout`, which came from `before`. Ignored files are not part of it.
pub(super) async fn take(
    mirror: &Mirror<'_>,
    checkout: &Checkout,
    before: &Workspace,
    blobs: &Blobs,
) -> Result<Taken, ServiceError> {
    Ok(take_walked(mirror, checkout, before, blobs).await?.0)
}

/// As [`take`], and what lies there.
pub(super) async fn take_walked(
    mirror: &Mirror<'_>,
    checkout: &Checkout,
    before: &Workspace,
    blobs: &Blobs,
) -> Result<(Taken, Walked), ServiceError> {
    let walked = walk(checkout).await?;
    let refused = |why: String| Taken::Refused(why);
    if let Some(why) = walked.refused(checkout).await? {
        return Ok((refused(why), walked));
    }
    let Noted { submodules, changed, installed } = noted(checkout).await?;
    if let Some((path, _)) = submodules.iter().find(|(path, _)| has_files(&checkout.files.join(path))) {
        let path = text::shown(path.as_os_str().as_bytes());
        let why = format!("{path} is a submodule: files in it would be lost. Remove them, and write elsewhere.");
        return Ok((refused(why), walked));
    }
    if changed.is_empty() {
        let index = checkout.index();
        let same = Files { before: &checkout.tree, after: &checkout.tree, index: &index };
        return Ok((keep(mirror, checkout.apart()?, &same, before, blobs).await?, walked));
    }
    let changed = Arc::new(changed);
    if let Some(why) = too_much(checkout, changed.clone()).await? {
        return Ok((refused(why), walked));
    }
    let apart = checkout.apart()?;
    let git = apart.git(&checkout.git);
    let added = match installed {
        false => git.run(["add", "--all", "."]).await,
        true => add_own(&git, checkout, &changed).await,
    };
    match added {
        Err(failed) if failed.is_about_files(&changed) => {
            let said: String = failed.said.lines().take(3).collect::<Vec<_>>().join("; ");
            let why = format!("git cannot keep these files: {said}. Remove or rename them.");
            return Ok((refused(why), walked));
        }
        added => drop(added.map_err(GitFailed::unexpected)?),
    }
    if !submodules.is_empty() {
        // Their directories are empty here, and may go without meaning anything.
        let gone = |path: &Path| checkout.files.join(path).symlink_metadata().is_err();
        let gone = submodules.iter().filter(|(path, _)| gone(path)).map(|(path, object)| {
            let entry = format!("{} {object}\t", objects::SUBMODULE).into_bytes();
            [&entry, path.as_os_str().as_bytes(), b"\0"].concat()
        });
        let restore: Vec<u8> = gone.flatten().collect();
        if !restore.is_empty() {
            let restored = git.feed(["update-index", "-z", "--index-info"], &[], &restore).await;
            restored.map_err(GitFailed::unexpected)?;
        }
    }
    let tree = git.line(["write-tree"]).await.map_err(GitFailed::unexpected)?;
    let index = checkout.index();
    let files = Files { before: &checkout.tree, after: &tree, index: &index };
    let taken = keep(mirror, apart, &files, before, blobs).await?;
    Ok((taken, walked))
}

/// Two trees, and the index of the second.
pub(super) struct Files<'a> {
    pub(super) before: &'a str,
    pub(super) after: &'a str,
    pub(super) index: &'a Path,
}

/// The workspace with the files of a tree. `apart`: what of it is not in the mirror, and goes there if it is kept.
pub(super) async fn keep(
    mirror: &Mirror<'_>,
    apart: Apart,
    files: &Files<'_>,
    before: &Workspace,
    blobs: &Blobs,
) -> Result<Taken, ServiceError> {
    let tree = files.after;
    if before.snapshot.as_ref().is_some_and(|snapshot| snapshot.tree.as_str() == tree) {
        return Ok(Taken::Snapshot(before.clone()));
    }
    if mirror.tree_of(&before.base).await? == tree {
        return Ok(Taken::Snapshot(Workspace { snapshot: None, ..before.clone() }));
    }
    let git = apart.git(&mirror.git);
    if let Some(why) = refused_change(mirror, &apart, files, before).await? {
        return Ok(Taken::Refused(why));
    }
    let base = before.base.as_str();
    let commit = ["commit-tree", tree, "-p", base, "-m", "Snapshot"];
    let commit = git.feed(commit, &FIXED, &[]).await.map_err(GitFailed::unexpected)?;
    let commit = id(&String::from_utf8_lossy(&commit))?;
    Ok(match bundle::store(&git, before, commit, id(tree)?, blobs).await? {
        Stored::Snapshot(snapshot) => {
            apart.accept(mirror, &snapshot.commit).await?;
            Taken::Snapshot(Workspace { snapshot: Some(snapshot), ..before.clone() })
        }
        Stored::Refused(why) => Taken::Refused(why),
    })
}

/// What a change touches that it must not: submodules, and files that are kept elsewhere.
async fn refused_change(
    mirror: &Mirror<'_>,
    apart: &Apart,
    files: &Files<'_>,
    before: &Workspace,
) -> Result<Option<String>, ServiceError> {
    let args = ["diff-tree", "-r", "-z", "--no-renames", "--raw", files.before, files.after];
    let raw = apart.git(&mirror.git).run(args).await.map_err(GitFailed::unexpected)?;
    let mut fields = raw.split(|byte| *byte == 0);
    let mut written = Vec::new();
    while let (Some(meta), Some(path)) = (fields.next(), fields.next()) {
        // `:100644 100755 <old> <new> M`
        if meta.starts_with(b":160000") {
            return Ok(Some(format!(
                "{} Leave them as they were.",
                objects::in_submodule(Path::new(OsStr::from_bytes(path)))
            )));
        }
        if !meta.ends_with(b"D") {
            written.extend_from_slice(path);
            written.push(0);
        }
    }
    let scratch = files.index.parent().unwrap_or(files.index);
    let kept = attributes::kept_in_lfs(mirror, Some(apart), files.index, &before.base, scratch, &written).await?;
    Ok(kept.first().map(|path| attributes::lfs_refusal(path)))
}

fn id(text: &str) -> Result<CommitSha, ServiceError> {
    text.trim().parse().map_err(disk)
}

/// What git notes of a check-out.
struct Noted {
    /// Submodules, with their commits.
    submodules: Vec<(PathBuf, String)>,
    /// Files that are not what the index has, and files that it does not have; none that is ignored.
    changed: Vec<PathBuf>,
    /// Of the latter, some are left out: the set-up put them there.
    installed: bool,
}

/// Asks git once for all of it: each question goes through all files.
async fn noted(checkout: &Checkout) -> Result<Noted, ServiceError> {
    let args = ["ls-files", "-z", "-t", "--stage", "--modified", "--others", "--exclude-standard"];
    let listed = checkout.git.run_up_to(LIST, args).await.map_err(GitFailed::unexpected)?;
    let (mut submodules, mut changed, mut installed) = (Vec::new(), Vec::new(), false);
    for line in listed.split(|byte| *byte == 0) {
        // `H <mode> <object> 0 TAB <path>` of all, `C` and the same of what is not as noted, `? <path>` of what is not noted.
        let Some((tag, rest)) = line.split_at_checked(2) else { continue };
        if tag == b"? " {
            let path = Path::new(OsStr::from_bytes(rest));
            if is_installed(checkout, path) {
                installed = true;
            } else {
                changed.push(path.to_owned());
            }
            continue;
        }
        let Some(tab) = rest.iter().position(|byte| *byte == b'\t') else { continue };
        let path = Path::new(OsStr::from_bytes(&rest[tab + 1..]));
        let is_submodule = rest.starts_with(objects::SUBMODULE.as_bytes());
        if tag == b"C " {
            // The directory of a submodule is empty here, and may go without meaning anything.
            if !is_submodule || checkout.files.join(path).symlink_metadata().is_ok() {
                changed.push(path.to_owned());
            }
        } else if is_submodule && let Ok(meta) = std::str::from_utf8(&rest[..tab]) {
            let object = meta.split(' ').nth(1).unwrap_or_default();
            submodules.push((path.to_owned(), object.to_owned()));
        }
    }
    Ok(Noted { submodules, changed, installed })
}

/// Whether the set-up put something there.
fn is_installed(checkout: &Checkout, path: &Path) -> bool {
    checkout.prepared.copies().any(|copied| path.starts_with(copied))
}

/// `git add` for a change that no longer ignores all that the set-up put there: of that, it takes only what is tracked already.
async fn add_own(git: &Git, checkout: &Checkout, changed: &[PathBuf]) -> Result<Vec<u8>, GitFailed> {
    let mut paths = b":(top)\0".to_vec();
    for copied in checkout.prepared.copies() {
        paths.extend_from_slice(b":(top,exclude,literal)");
        paths.extend_from_slice(copied.as_os_str().as_bytes());
        paths.push(0);
    }
    let add = ["add", "--all", "--pathspec-from-file=-", "--pathspec-file-nul"];
    let added = git.feed(add, &[("GIT_LITERAL_PATHSPECS", "0")], &paths).await?;
    let tracked = changed.iter().filter(|path| is_installed(checkout, path));
    let tracked: Vec<u8> = tracked.flat_map(|path| [path.as_os_str().as_bytes(), b"\0"].concat()).collect();
    if !tracked.is_empty() {
        git.feed(["update-index", "--remove", "-z", "--stdin"], &[], &tracked).await?;
    }
    Ok(added)
}

/// Why what changed is more than can be kept, if it is. Files that were there before and are as they were do not count.
async fn too_much(checkout: &Checkout, changed: Arc<Vec<PathBuf>>) -> Result<Option<String>, ServiceError> {
    let files = checkout.files.clone();
    let measure = move || {
        let mut bytes = 0;
        for path in changed.iter() {
            let Ok(found) = files.join(path).symlink_metadata() else { continue };
            if found.is_file() {
                bytes += found.len();
                if let Some(why) = too_large(path, found.len()) {
                    return Some(why);
                }
            }
        }
        let (megabytes, most) = (bytes >> 20, MOST_CHANGED >> 20);
        (bytes > MOST_CHANGED).then(|| {
            format!(
                "The files that changed have {megabytes} MB; I can keep {most} MB of one call. Remove what is not needed, \
                 or write it where .gitignore says."
            )
        })
    };
    tokio::task::spawn_blocking(measure).await.map_err(disk)
}

fn has_files(directory: &Path) -> bool {
    directory.symlink_metadata().is_ok_and(|found| found.is_dir())
        && std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

/// Why a file of this size cannot be kept, if it cannot.
pub(super) fn too_large(path: &Path, size: u64) -> Option<String> {
    let (megabytes, most) = (size >> 20, LARGEST_FILE >> 20);
    (size > LARGEST_FILE).then(|| {
        let path = text::shown(path.as_os_str().as_bytes());
        format!("{path} has {megabytes} MB; GitHub takes at most {most} MB. Remove it.")
    })
}

/// Why git is not given a file of rules.
pub(super) fn too_many_rules(path: &Path) -> String {
    let (path, most) = (text::shown(path.as_os_str().as_bytes()), LARGEST_RULES >> 20);
    format!("{path} has more than {most} MB of rules, too many for git.")
}

/// What lies in a check-out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Walked {
    /// On disk.
    pub(super) bytes: u64,
    /// Files with more than one name, or permissions that git does not note.
    pub(super) odd: Vec<PathBuf>,
    /// There are more of them than are listed.
    pub(super) is_odd_throughout: bool,
    files: u64,
    /// Bytes of all paths, and of those in `odd`.
    names: usize,
    odd_names: usize,
    /// What git would lose or trip over, and why, unless it is ignored: the path to ask for, and the sentence.
    suspects: Vec<(PathBuf, String)>,
    /// What ended the walk.
    refused: Option<String>,
}

/// Looks for what git would lose or trip over. Pipes, sockets and devices are removed; the rest is the model's to mend.
pub(super) async fn walk(checkout: &Checkout) -> Result<Walked, ServiceError> {
    let files = checkout.files.clone();
    let noted = checkout.index().metadata().map(|index| (index.mtime(), index.mtime_nsec())).map_err(disk)?;
    let walk = move || {
        let mut walked = Walked::default();
        walked.look(&files, noted).map(|()| walked)
    };
    tokio::task::spawn_blocking(walk).await.map_err(disk)?.map_err(disk)
}

impl Walked {
    /// What keeps these files from being kept.
    pub(super) async fn refused(&self, checkout: &Checkout) -> Result<Option<String>, ServiceError> {
        if self.refused.is_some() || self.suspects.is_empty() {
            return Ok(self.refused.clone());
        }
        // Builds leave such things in directories of their own, which the repository ignores.
        let asked = self.suspects.iter().map(|(path, _)| path.as_path());
        let ignored = attributes::ignored(&checkout.git, asked).await?;
        let kept = self.suspects.iter().find(|(path, _)| !ignored.contains(path));
        Ok(kept.map(|(_, why)| why.clone()))
    }

    /// `noted`: when git wrote its index, before the command began.
    fn look(&mut self, root: &Path, noted: (i64, i64)) -> io::Result<()> {
        // One directory is open at a time, and none of them waits on the stack.
        let mut left = vec![(PathBuf::new(), 0)];
        while let Some((below, depth)) = left.pop() {
            if depth > DEEPEST {
                let shown: String = text::shown(below.as_os_str().as_bytes()).chars().take(200).collect();
                self.refused = Some(format!(
                    "Directories are nested more than {DEEPEST} deep below {shown}. Let the command remove that directory."
                ));
            }
            if self.refused.is_some() {
                return Ok(());
            }
            let below_here = self.look_into(root, &below, noted)?;
            left.extend(below_here.into_iter().map(|path| (path, depth + 1)));
        }
        Ok(())
    }

    /// The directories in the directory `below`.
    fn look_into(&mut self, root: &Path, below: &Path, noted: (i64, i64)) -> io::Result<Vec<PathBuf>> {
        let mut directories = Vec::new();
        let entries = match std::fs::read_dir(root.join(below)) {
            Ok(entries) => entries,
            Err(error) => return self.out_of_reach(below, error).map(|()| directories),
        };
        for entry in entries {
            let entry = entry?;
            let path = below.join(entry.file_name());
            let name = entry.file_name().as_bytes().to_ascii_lowercase();
            if below.as_os_str().is_empty() && entry.file_name().as_bytes() == b".git" {
                continue;
            }
            self.files += 1;
            if self.files > MOST_FILES {
                self.refused =
                    Some(format!("There are more than {MOST_FILES} files now. Let the command remove what it made."));
            }
            self.names += path.as_os_str().len();
            if self.names > MOST_NAMES {
                let most = MOST_NAMES >> 20;
                self.refused = Some(format!(
                    "The paths of all files have more than {most} MB now. Let the command remove what it made."
                ));
            }
            if self.suspects.len() > MOST_SUSPECTS {
                self.refused = Some(format!(
                    "There are more than {MOST_SUSPECTS} git folders inside the repository. Let the command remove them."
                ));
            }
            if self.refused.is_some() {
                return Ok(directories);
            }
            if name == b".git" || name == b"git~1" {
                let shown = text::shown(path.as_os_str().as_bytes());
                let why = format!(
                    "{shown} is a git repository inside the repository; its files would be lost. Remove it, or only its git \
                     folder."
                );
                let asked = if below.as_os_str().is_empty() { &path } else { below };
                self.suspects.push((asked.to_owned(), why));
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_file() {
                match entry.metadata() {
                    Ok(metadata) => self.look_at(root, &path, &metadata, noted)?,
                    Err(error) => return self.out_of_reach(below, error).map(|()| directories),
                }
            } else if !kind.is_symlink()
                && let Err(error) = std::fs::remove_file(entry.path())
            {
                return self.out_of_reach(below, error).map(|()| directories);
            }
        }
        Ok(directories)
    }

    fn look_at(&mut self, root: &Path, path: &Path, found: &Metadata, noted: (i64, i64)) -> io::Result<()> {
        // `blocks` counts 512 bytes whatever the file system's block size is (stat(2)).
        self.bytes += found.blocks() * 512;
        if found.nlink() > 1 || !matches!(found.mode() & 0o7777, 0o644 | 0o755) {
            self.odd_names += path.as_os_str().len();
            if self.odd_names > MOST_ODD {
                self.is_odd_throughout = true;
            } else {
                self.odd.push(path.to_owned());
            }
        }
        let holds_rules = path.file_name().is_some_and(|name| name == ".gitignore" || name == ".gitattributes");
        if holds_rules && found.len() > LARGEST_RULES {
            self.refused = Some(too_many_rules(path));
        }
        // git compares whole seconds. Changed in the second of the last look, and its time set back, a file would look the same.
        let changed = (found.ctime(), found.ctime_nsec());
        if changed >= noted && changed.0 == noted.0 && found.mtime() < noted.0 {
            // By its path: a file may be closed to its own owner, who may set its time all the same.
            let (now, follow) = (TimeSpec::UTIME_NOW, UtimensatFlags::NoFollowSymlink);
            if let Err(error) = utimensat(AT_FDCWD, &root.join(path), &now, &now, follow) {
                return self.out_of_reach(path, error.into());
            }
        }
        Ok(())
    }

    /// Closed directories and endless paths are the model's doing, and it can mend them; other errors are this host's.
    fn out_of_reach(&mut self, directory: &Path, error: io::Error) -> io::Result<()> {
        self.refused = Some(out_of_reach(directory, error)?);
        Ok(())
    }
}

fn out_of_reach(directory: &Path, error: io::Error) -> io::Result<String> {
    // The beginning tells which it is; an endless path would fill the reply.
    let shown: String = text::shown(directory.as_os_str().as_bytes()).chars().take(200).collect();
    let shown = if shown.is_empty() { "." } else { &shown };
    match error.kind() {
        io::ErrorKind::PermissionDenied => Ok(format!(
            "{shown} cannot be read: its permissions keep me out. Let the command open it at its end (chmod -R u+rwX {shown}) or remove it."
        )),
        io::ErrorKind::InvalidFilename => Ok(format!(
            "The path that begins with {shown} is longer than a path may be. Let the command remove that directory."
        )),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn looked(root: &Path) -> Option<String> {
        let mut walked = Walked::default();
        walked.look(root, (0, 0)).unwrap();
        walked.refused
    }

    #[test]
    fn a_closed_directory_is_told_to_the_model() {
        let directory = crate::sandbox::tests::open_directory();
        let closed = directory.path().join("a/closed");
        std::fs::create_dir_all(&closed).unwrap();
        std::fs::write(directory.path().join("a/file"), "x").unwrap();
        std::fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        let root = directory.path().to_owned();
        // Root may read everything, so this thread gives up being root where files are concerned.
        let look = std::thread::spawn(move || {
            nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
            looked(&root)
        });
        let said = look.join().unwrap().expect("refused");
        std::fs::set_permissions(&closed, Permissions::from_mode(0o755)).unwrap();
        assert!(said.starts_with("a/closed cannot be read") && said.contains("chmod -R u+rwX a/closed"), "{said}");
        assert_eq!(looked(directory.path()), None, "open, it can be kept");
    }

    #[test]
    fn directories_nested_deeper_than_a_command_may_have_them_are_told_to_the_model() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("d/".repeat(DEEPEST))).unwrap();
        assert_eq!(looked(directory.path()), None);
        std::fs::create_dir_all(directory.path().join("d/".repeat(1_500))).unwrap();
        let said = looked(directory.path()).expect("refused");
        assert!(said.starts_with("Directories are nested more than 512 deep below d/d/d"), "{said}");
        crate::sandbox::remove_all(&directory.path().join("d")).unwrap();
    }

    #[test]
    fn a_fault_of_the_disk_is_not_the_models() {
        let fault = io::Error::from(io::ErrorKind::StorageFull);
        assert!(out_of_reach(Path::new("a"), fault).is_err());
    }
}
