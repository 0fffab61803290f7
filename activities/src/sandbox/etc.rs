//! `/etc` inside: what is public of the host's, a few files of ours and the helper, put together once and shown with a single mount.
//! Each mount of its own costs a tenth of a millisecond with every command, and there would be a dozen.
//!
//! A copy is named by what it was made of, so workers of one host share it, and a worker that starts after the host's certificates
//! changed makes a new one.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use workflows::contract::ids::Digest;

use super::INSIDE;
use super::walk::{remove_all, walk};

/// Parts of the host's `/etc` that tools in `/usr` point into. Nothing about the host's users or network.
/// Of Maven's only how it starts: its settings may hold passwords. Of TLS only what is public: a host's keys may lie beside it.
const SHOWN: [&str; 8] = [
    "alternatives",
    "ssl/certs",
    "ssl/openssl.cnf",
    "ca-certificates",
    "ld.so.cache",
    "localtime",
    "maven/m2.conf",
    "maven/logging",
];

/// What replaces the rest.
const FILES: [(&str, &str); 5] = [
    ("passwd", "root:x:0:0:root:/root:/usr/sbin/nologin\nagent:x:65534:65534:agent:/home/u:/bin/bash\n"),
    ("group", "root:x:0:\nagent:x:65534:\n"),
    ("hosts", "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    ("gitconfig", "[safe]\n\tdirectory = /w\n[core]\n\tpager = cat\n"),
];

/// Copies that this process has begun: part of their names while they are made.
static MADE: AtomicU64 = AtomicU64::new(0);

const HOST: &str = "/etc";
const PREFIX: &str = "etc-";
/// One being made has this before its name.
const UNFINISHED: &str = "new-";
/// A copy that nobody uses is removed when it is older: a worker between finding and holding it must not lose it.
const KEPT: Duration = Duration::from_secs(3600);
/// Tries to hold a copy that others remove.
const TRIES: usize = 3;

/// The copy, held for as long as this lives.
#[derive(Debug)]
pub(super) struct Etc {
    directory: PathBuf,
    _held: File,
}

impl Etc {
    /// Finds or makes the copy in `state`, with the `helper` in its place. `mounts`: what else is shown inside, to which a place is
    /// given if it is below `/etc`.
    ///
    /// # Errors
    /// `state` cannot be written.
    pub(super) fn make(state: &Path, mounts: &[PathBuf], helper: Option<&Path>) -> io::Result<Self> {
        Self::of(Path::new(HOST), state, mounts, helper)
    }

    fn of(host: &Path, state: &Path, mounts: &[PathBuf], helper: Option<&Path>) -> io::Result<Self> {
        let mut parts = parts(host, mounts)?;
        if let (Some(from), Ok(to)) = (helper, Path::new(INSIDE).strip_prefix(HOST)) {
            // Whatever the umask was when it was installed, the sandbox's users may run it.
            let what = What::File { from: from.to_owned(), data: from.metadata()?, mode: 0o755 };
            parts.push(Part { to: to.to_owned(), what });
        }
        let directory = state.join(name_of(&parts));
        remove_unused(state, &directory);
        for _ in 0..TRIES {
            if let Some(held) = hold(&directory) {
                if is_whole(&parts, &directory) {
                    return Ok(Self { directory, _held: held });
                }
                // Whoever cleans up has removed a part of it. Others may still show it, so that it goes when they have ended.
                put_aside(&directory)?;
            }
            make(&parts, state, &directory)?;
        }
        Err(io::Error::other(format!("{} is removed by somebody as soon as it is made", directory.display())))
    }

    /// To be shown as `/etc`.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// An entry of the copy, below `/etc`.
struct Part {
    to: PathBuf,
    what: What,
}

enum What {
    Directory,
    File { from: PathBuf, data: Metadata, mode: u32 },
    Link(PathBuf),
    Text(&'static str),
}

/// All of it, parents first.
fn parts(host: &Path, mounts: &[PathBuf]) -> io::Result<Vec<Part>> {
    let mut parts = Vec::new();
    for name in SHOWN.iter().map(PathBuf::from).chain(java_settings(host)) {
        // What it leads to, as a mount would show; links further down stay links.
        let Ok(from) = host.join(&name).canonicalize() else { continue };
        add_parents(&mut parts, &name);
        let mut closed: Vec<PathBuf> = Vec::new();
        walk(&from, |path, data| {
            if closed.iter().any(|closed| path.starts_with(closed)) {
                return Ok(());
            }
            let below = path.strip_prefix(&from).map_err(io::Error::other)?;
            let to = if below == Path::new("") { name.clone() } else { name.join(below) };
            let what = if data.is_symlink() {
                What::Link(fs::read_link(path)?)
            } else if !is_public(data) {
                if data.is_dir() {
                    closed.push(path.to_owned());
                }
                return Ok(());
            } else if data.is_dir() {
                What::Directory
            } else if data.is_file() {
                What::File { from: path.to_owned(), data: data.clone(), mode: data.mode() & 0o777 }
            } else {
                return Ok(());
            };
            parts.push(Part { to, what });
            Ok(())
        })?;
    }
    parts.extend(FILES.map(|(name, text)| Part { to: name.into(), what: What::Text(text) }));
    for mount in mounts.iter().filter_map(|mount| mount.strip_prefix(HOST).ok()) {
        add_parents(&mut parts, mount);
        let what = if Path::new(HOST).join(mount).is_dir() { What::Directory } else { What::Text("") };
        parts.push(Part { to: mount.to_owned(), what });
    }
    Ok(parts)
}

fn add_parents(parts: &mut Vec<Part>, name: &Path) {
    let mut parents: Vec<&Path> = name.ancestors().skip(1).filter(|parent| *parent != Path::new("")).collect();
    parents.reverse();
    parts.extend(parents.into_iter().map(|parent| Part { to: parent.to_owned(), what: What::Directory }));
}

/// Whether any user of the host may read it: others' files stay out even if we may.
fn is_public(data: &Metadata) -> bool {
    let needed = if data.is_dir() { 0o005 } else { 0o004 };
    data.mode() & needed == needed
}

/// Debian's Java keeps its settings in `/etc/java-<version>-openjdk` and does not start without them.
fn java_settings(host: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(host).into_iter().flatten().filter_map(Result::ok);
    let is_java = |name: &OsStr| name.to_string_lossy().starts_with("java-");
    let mut names: Vec<PathBuf> =
        entries.map(|entry| entry.file_name()).filter(|name| is_java(name)).map(PathBuf::from).collect();
    names.sort();
    names
}

/// The copy's name: the same parts, unchanged, have the same.
fn name_of(parts: &[Part]) -> String {
    let mut said: Vec<String> = Vec::new();
    for Part { to, what } in parts {
        let mut line = format!("{} ", to.display());
        // Writing to a string does not fail.
        let _ = match what {
            What::Directory => write!(line, "directory"),
            What::File { data, .. } => write!(line, "{} {} {} {}", data.dev(), data.ino(), data.size(), data.ctime())
                .and_then(|()| write!(line, ".{}", data.ctime_nsec())),
            What::Link(target) => write!(line, "-> {}", target.display()),
            What::Text(text) => write!(line, "{text:?}"),
        };
        said.push(line);
    }
    said.sort();
    let digest: String = Digest::of(said.join("\n")).as_str().chars().take(32).collect();
    format!("{PREFIX}{digest}")
}

/// Makes the copy beside its place and moves it there whole. One that somebody else has made meanwhile is as good.
fn make(parts: &[Part], state: &Path, directory: &Path) -> io::Result<()> {
    let unfinished = unfinished(state);
    let moved = fill(&unfinished, parts).and_then(|()| fs::rename(&unfinished, directory));
    if moved.is_err() {
        let _ = remove_all(&unfinished);
    }
    if directory.is_dir() { Ok(()) } else { moved }
}

/// A name for what is not a whole copy, or no longer one.
fn unfinished(state: &Path) -> PathBuf {
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let unfinished = state.join(format!("{UNFINISHED}{}-{number}", std::process::id()));
    // A process of the same number may have been killed at it.
    let _ = remove_all(&unfinished);
    unfinished
}

/// Takes the name from a copy, at once: half of one must never be found under it. Where it is now.
fn put_aside(directory: &Path) -> io::Result<PathBuf> {
    let aside = unfinished(directory.parent().unwrap_or(directory));
    match fs::rename(directory, &aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(aside),
    }
}

/// Whether all parts are there, as large as they were.
fn is_whole(parts: &[Part], directory: &Path) -> bool {
    let mut seen = HashSet::new();
    // Of two with one name the later is there.
    parts.iter().rev().filter(|part| seen.insert(&part.to)).all(|Part { to, what }| {
        let there = directory.join(to).symlink_metadata();
        match (what, there) {
            (What::Directory | What::Link(_), there) => there.is_ok(),
            (What::Text(text), there) => there.is_ok_and(|there| there.len() == text.len() as u64),
            // It may have changed, or gone from the host, between our look and the copying.
            (What::File { from, data, .. }, Ok(there)) => there.len() == data.len() || !is_as_before(from, data),
            (What::File { from, .. }, Err(_)) => !from.exists(),
        }
    })
}

fn is_as_before(from: &Path, data: &Metadata) -> bool {
    from.metadata()
        .is_ok_and(|now| (now.len(), now.ctime(), now.ctime_nsec()) == (data.len(), data.ctime(), data.ctime_nsec()))
}

fn fill(root: &Path, parts: &[Part]) -> io::Result<()> {
    let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
    fs::create_dir(root)?;
    for Part { to, what } in parts {
        let to = root.join(to);
        let made = match what {
            What::Directory => fs::create_dir(&to).and_then(|()| open(&to, 0o755)),
            What::File { from, mode, .. } => fs::copy(from, &to).and_then(|_| open(&to, *mode)),
            What::Link(target) => symlink(target, &to),
            What::Text(text) => fs::write(&to, text).and_then(|()| open(&to, 0o644)),
        };
        match made {
            // The parent of several.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Removed from the host a moment ago.
            Err(error) if error.kind() == io::ErrorKind::NotFound && matches!(what, What::File { .. }) => {}
            made => made.map_err(|error| {
                let copied = match what {
                    What::File { from, .. } => format!("{} as {}", from.display(), to.display()),
                    _ => to.display().to_string(),
                };
                io::Error::new(error.kind(), format!("{copied}: {error}"))
            })?,
        }
    }
    open(root, 0o755)?;
    // A host that stops now must not come back with the name and half of the files.
    Ok(nix::unistd::syncfs(File::open(root)?)?)
}

/// The copy, if it is there. While it is held nobody removes it.
fn hold(directory: &Path) -> Option<File> {
    let held = File::open(directory).ok()?;
    held.lock_shared().ok()?;
    // It may have been removed before it was locked.
    let (ours, there) = (held.metadata().ok()?, directory.metadata().ok()?);
    ((ours.dev(), ours.ino()) == (there.dev(), there.ino())).then_some(held)
}

/// Removes copies but `wanted` that are old and held by nobody, and what a killed maker has left.
fn remove_unused(state: &Path, wanted: &Path) {
    for path in fs::read_dir(state).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_ours = name.starts_with(PREFIX) || name.starts_with(UNFINISHED);
        let age = path.metadata().and_then(|data| data.modified()).ok().and_then(|made| made.elapsed().ok());
        if !is_ours || path == wanted || age.is_none_or(|age| age < KEPT) {
            continue;
        }
        if let Ok(held) = File::open(&path)
            && held.try_lock().is_ok()
            && let Err(error) = put_aside(&path).and_then(|aside| remove_all(&aside))
        {
            tracing::debug!(%error, path = %path.display(), "an old /etc could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host with a public certificate, a key that only root may read, and a link.
    fn host() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let (host, state) = (directory.path().join("host"), directory.path().join("state"));
        fs::create_dir_all(host.join("ssl/certs")).unwrap();
        fs::create_dir_all(host.join("ssl/private")).unwrap();
        fs::create_dir_all(host.join("java-17-openjdk")).unwrap();
        fs::create_dir(&state).unwrap();
        fs::write(host.join("ssl/certs/one.pem"), "public").unwrap();
        fs::write(host.join("ssl/certs/key.pem"), "secret").unwrap();
        fs::set_permissions(host.join("ssl/certs/key.pem"), Permissions::from_mode(0o600)).unwrap();
        fs::write(host.join("ssl/private/key.pem"), "secret").unwrap();
        // A closed directory among what is shown, with all kinds of things that look public in it.
        fs::create_dir_all(host.join("ssl/certs/private/folder/below")).unwrap();
        fs::write(host.join("ssl/certs/private/open.pem"), "secret").unwrap();
        symlink("open.pem", host.join("ssl/certs/private/link.pem")).unwrap();
        fs::set_permissions(host.join("ssl/certs/private"), Permissions::from_mode(0o700)).unwrap();
        fs::write(host.join("java-17-openjdk/jvm.cfg"), "-server").unwrap();
        fs::write(host.join("passwd"), "somebody").unwrap();
        symlink("one.pem", host.join("ssl/certs/link.pem")).unwrap();
        symlink("ssl/certs/one.pem", host.join("localtime")).unwrap();
        (directory, host, state)
    }

    fn listing(root: &Path) -> Vec<String> {
        let mut names = Vec::new();
        walk(root, |path, _| {
            names.push(path.strip_prefix(root).unwrap().display().to_string());
            Ok(())
        })
        .unwrap();
        names.sort();
        names
    }

    #[test]
    fn it_holds_what_is_public_and_nothing_of_the_hosts_users() {
        let (_directory, host, state) = host();
        let etc = Etc::of(&host, &state, &["/etc/tools/company".into(), "/opt/tools".into()], None).unwrap();
        let expected = [
            "",
            "gitconfig",
            "group",
            "hosts",
            "java-17-openjdk",
            "java-17-openjdk/jvm.cfg",
            "localtime",
            "nsswitch.conf",
            "passwd",
            "ssl",
            "ssl/certs",
            "ssl/certs/link.pem",
            "ssl/certs/one.pem",
            "tools",
            "tools/company",
        ];
        assert_eq!(listing(etc.directory()), expected);
        let text = |name: &str| fs::read_to_string(etc.directory().join(name)).unwrap();
        assert_eq!(text("localtime"), "public");
        assert!(text("passwd").starts_with("root:"), "{}", text("passwd"));
        assert!(etc.directory().join("localtime").symlink_metadata().unwrap().is_file());
        assert!(etc.directory().join("ssl/certs/link.pem").symlink_metadata().unwrap().is_symlink());
    }

    #[test]
    fn the_helper_is_in_it_for_everybody() {
        let (directory, host, state) = host();
        let closed = directory.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::write(closed.join("helper"), "first").unwrap();
        for (path, mode) in [(closed.join("helper"), 0o700), (closed.clone(), 0o700)] {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        let of = || Etc::of(&host, &state, &[], Some(&closed.join("helper"))).unwrap();
        let first = of();
        let inside = |etc: &Etc| etc.directory().join("ticketwright-inside");
        assert_eq!(inside(&first).metadata().unwrap().mode() & 0o777, 0o755);

        // Another is installed while workers run: they keep theirs.
        fs::remove_file(closed.join("helper")).unwrap();
        fs::write(closed.join("helper"), "second").unwrap();
        let second = of();
        let text = |etc: &Etc| fs::read_to_string(inside(etc)).unwrap();
        assert_eq!((text(&first), text(&second)), ("first".into(), "second".into()));
    }

    #[test]
    fn half_of_a_copy_is_made_anew() {
        let (_directory, host, state) = host();
        let first = Etc::of(&host, &state, &[], None).unwrap();
        let whole = listing(first.directory());
        for lost in ["passwd", "ssl/certs/one.pem", "ssl/certs/link.pem"] {
            fs::remove_file(first.directory().join(lost)).unwrap();
            let again = Etc::of(&host, &state, &[], None).unwrap();
            assert_eq!((again.directory(), listing(again.directory())), (first.directory(), whole.clone()), "{lost}");
        }
        fs::write(first.directory().join("ssl/certs/one.pem"), "").unwrap();
        let again = Etc::of(&host, &state, &[], None).unwrap();
        assert_eq!(fs::read(again.directory().join("ssl/certs/one.pem")).unwrap(), b"public");
    }

    #[test]
    fn a_copy_that_is_removed_loses_its_name_first() {
        let (_directory, host, state) = host();
        let first = Etc::of(&host, &state, &[], None).unwrap();
        let aside = put_aside(first.directory()).unwrap();
        assert!(!first.directory().exists() && aside.join("passwd").exists());
        assert!(
            aside.file_name().unwrap().to_string_lossy().starts_with(UNFINISHED),
            "it goes with what is unfinished"
        );
        put_aside(first.directory()).unwrap();
    }

    #[test]
    fn it_is_made_once_and_again_when_the_host_changes() {
        let (_directory, host, state) = host();
        let first = Etc::of(&host, &state, &[], None).unwrap();
        let again = Etc::of(&host, &state, &[], None).unwrap();
        assert_eq!(first.directory(), again.directory());

        fs::write(host.join("ssl/certs/two.pem"), "public").unwrap();
        let changed = Etc::of(&host, &state, &[], None).unwrap();
        assert_ne!(first.directory(), changed.directory());

        // Old ones go when nobody holds them.
        drop(again);
        let past = std::time::SystemTime::now() - 2 * KEPT;
        for directory in [first.directory(), changed.directory()] {
            File::open(directory).unwrap().set_modified(past).unwrap();
        }
        let (old, new) = (first.directory().to_owned(), changed.directory().to_owned());
        let _other = Etc::of(&host, &state, &["/etc/x".into()], None).unwrap();
        assert!(old.is_dir() && new.is_dir(), "both are held");
        drop(first);
        let _other = Etc::of(&host, &state, &["/etc/x".into()], None).unwrap();
        assert!(!old.exists() && new.is_dir(), "one is held");
    }
}
