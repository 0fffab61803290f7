//! Files of a tree, read from git's objects without a check-out.

use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use super::git::{Git, GitFailed};
use super::paths::InnerPath;
use crate::failure::ServiceError;

/// Largest file that is read for the model.
const LARGEST: u64 = 32 << 20;
/// Paths of a command line, which the system keeps below 2 MB: one has at most 4,096 bytes.
const ASKED: usize = 256;
/// Links that are followed on the way to one file, and bytes of one: as many as the system takes (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
const LONGEST_LINK: u64 = 4_096;
/// Bytes of a search's result that are looked at.
const FOUND_CAP: u64 = 4 << 20;
/// Time a search may take: a pattern can be built to take forever.
const SEARCH_LIMIT: Duration = Duration::from_secs(30);

/// How git's words about a faulty pattern begin.
const PATTERN: [&str; 2] = ["fatal: -e option", "fatal: command line"];

/// The files of a tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Files<'a> {
    pub(super) git: &'a Git,
    pub(super) tree: &'a str,
}

/// What a tree has at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// As git writes it: 100644, 100755, 120000 for a link, 040000 for a directory, 160000 for a submodule.
    pub(super) mode: String,
    pub(super) object: String,
}

impl Entry {
    pub(super) fn is_directory(&self) -> bool {
        self.mode == "040000"
    }

    pub(super) fn is_link(&self) -> bool {
        self.mode == "120000"
    }

    pub(super) fn is_submodule(&self) -> bool {
        self.mode == SUBMODULE
    }
}

/// Mode of a submodule.
pub(super) const SUBMODULE: &str = "160000";

/// What a search found.
#[derive(Debug)]
pub(super) enum Found {
    /// `path`, number and text of each line; not all if `cut`.
    Lines { lines: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>, cut: bool },
    /// The pattern is none; git's words.
    BadPattern(String),
    /// It took too long.
    TooLong,
}

impl Files<'_> {
    /// Paths of all files, or of those at and below `below`.
    pub(super) async fn list(&self, below: Option<&InnerPath>) -> Result<Vec<PathBuf>, ServiceError> {
        let mut args: Vec<&OsStr> = ["ls-tree", "-r", "-z", "--name-only", self.tree, "--"].map(OsStr::new).to_vec();
        args.extend(below.map(|path| path.as_path().as_os_str()));
        Ok(paths(&self.git.run(args).await.map_err(GitFailed::unexpected)?))
    }

    /// What is at these paths; what is not there is left out.
    pub(super) async fn entries(&self, at: &[&Path]) -> Result<HashMap<PathBuf, Entry>, ServiceError> {
        let mut entries = HashMap::new();
        for at in at.chunks(ASKED) {
            let mut args: Vec<&OsStr> = ["ls-tree", "-t", "-z", self.tree, "--"].map(OsStr::new).to_vec();
            args.extend(at.iter().map(|path| path.as_os_str()));
            let listed = self.git.run(args).await.map_err(GitFailed::unexpected)?;
            let found = listed.split(|byte| *byte == 0).filter_map(entry);
            entries.extend(found.filter(|(path, _)| at.contains(&path.as_path())));
        }
        Ok(entries)
    }

    /// The content of a file. Links are followed as long as they stay inside.
    ///
    /// # Errors
    /// Inner: a sentence for the model.
    pub(super) async fn read(&self, path: &InnerPath) -> Result<Result<Vec<u8>, String>, ServiceError> {
        let object = match self.follow(path).await? {
            Ok(entry) => entry.object,
            Err(why) => return Ok(Err(why)),
        };
        // The tree has it, so that the copy is not whole if git has not.
        let content = self.git.run_up_to(LARGEST + 1, ["cat-file", "blob", &object]).await;
        let content = content.map_err(GitFailed::missed)?;
        if u64::try_from(content.len()).is_ok_and(|read| read <= LARGEST) {
            return Ok(Ok(content));
        }
        let (shown, size) = (path.shown(), self.git.line(["cat-file", "-s", &object]).await);
        let size = size.map_err(GitFailed::unexpected)?;
        Ok(Err(format!("{shown} has {size} bytes, too much to read. Look at parts with run_command.")))
    }

    /// The file that a path leads to. git is asked by what trees list and never for `<tree>:<path>`: it takes a name like
    /// `v1.2-14-g2414721` for the commit of that number, whatever stands before it.
    ///
    /// # Errors
    /// Inner: a sentence for the model.
    async fn follow(&self, path: &InnerPath) -> Result<Result<Entry, String>, ServiceError> {
        let refused = |why: Errno| Ok(Err(path.sentence(why)));
        let mut ahead: VecDeque<OsString> = path.as_path().iter().map(OsString::from).collect();
        let (mut here, mut links, mut known) = (PathBuf::new(), 0, HashMap::new());
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                if !here.pop() {
                    return refused(Errno::EXDEV);
                }
                continue;
            }
            let at = here.join(name);
            if !known.contains_key(&at) {
                let mut asked = vec![at.clone()];
                for name in ahead.iter().take_while(|name| *name != "..") {
                    asked.push(asked[asked.len() - 1].join(name));
                }
                known = self.entries(&asked.iter().map(PathBuf::as_path).collect::<Vec<_>>()).await?;
            }
            let Some(entry) = known.remove(&at) else { return refused(Errno::ENOENT) };
            if entry.is_submodule() {
                return Ok(Err(in_submodule(&at)));
            }
            if entry.is_link() {
                links += 1;
                let target = self.git.run_up_to(LONGEST_LINK + 1, ["cat-file", "blob", &entry.object]).await;
                let target = target.map_err(GitFailed::missed)?;
                if links > MOST_LINKS {
                    return refused(Errno::ELOOP);
                }
                if u64::try_from(target.len()).is_ok_and(|read| read > LONGEST_LINK) {
                    return refused(Errno::ENAMETOOLONG);
                }
                if target.starts_with(b"/") {
                    return refused(Errno::EXDEV);
                }
                let names = target.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
                for name in names.rev() {
                    ahead.push_front(OsStr::from_bytes(name).to_owned());
                }
            } else if entry.is_directory() {
                here = at;
            } else if ahead.is_empty() {
                return Ok(Ok(entry));
            } else {
                return refused(Errno::ENOTDIR);
            }
        }
        refused(Errno::EISDIR)
    }

    /// Lines that match the extended regular expression `pattern`.
    pub(super) async fn search(&self, pattern: &str, below: Option<&InnerPath>) -> Result<Found, ServiceError> {
        let args = ["grep", "-n", "-z", "-I", "-E", "--no-color", "--no-textconv", "-e", pattern, self.tree, "--"];
        let mut args: Vec<&OsStr> = args.map(OsStr::new).to_vec();
        args.extend(below.map(|path| path.as_path().as_os_str()));
        let printed = match tokio::time::timeout(SEARCH_LIMIT, self.git.run_up_to(FOUND_CAP, args)).await {
            Err(_) => return Ok(Found::TooLong),
            Ok(Err(failed)) if failed.code == Some(1) => Vec::new(),
            Ok(Err(failed)) if PATTERN.iter().any(|begin| failed.said.starts_with(begin)) => {
                return Ok(Found::BadPattern(failed.said));
            }
            Ok(printed) => printed.map_err(GitFailed::unexpected)?,
        };
        let cut = u64::try_from(printed.len()).is_ok_and(|read| read == FOUND_CAP);
        // `<tree>:<path> NUL <number> NUL <text>`
        let tree = self.tree.len() + 1;
        let lines = printed.split(|byte| *byte == b'\n').filter_map(|line| {
            let mut fields = line.splitn(3, |byte| *byte == 0);
            let (path, number, text) = (fields.next()?.get(tree..)?, fields.next()?, fields.next()?);
            Some((path.to_owned(), number.to_owned(), text.to_owned()))
        });
        Ok(Found::Lines { lines: lines.collect(), cut })
    }
}

/// What the model is told of a path inside a submodule.
pub(super) fn in_submodule(submodule: &Path) -> String {
    let submodule = super::text::shown(submodule.as_os_str().as_bytes());
    format!("{submodule} is a submodule; its files are not here, so they cannot be read or changed.")
}

/// Paths that git printed with `-z`.
pub(super) fn paths(printed: &[u8]) -> Vec<PathBuf> {
    let named = printed.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    named.map(|path| OsString::from_vec(path.to_owned()).into()).collect()
}

/// `<mode> <type> <object> TAB <path>`
fn entry(line: &[u8]) -> Option<(PathBuf, Entry)> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let meta = std::str::from_utf8(&line[..tab]).ok()?;
    let mut meta = meta.split(' ');
    let (mode, object) = (meta.next()?.to_owned(), meta.nth(1)?.to_owned());
    Some((OsStr::from_bytes(&line[tab + 1..]).into(), Entry { mode, object }))
}
