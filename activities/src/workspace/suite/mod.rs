//! Runs a test suite, or some tests of it, in the sandbox and reads what became of each test.
//!
//! One file per runner, each an implementation of [`Runner`]; [`RUNNERS`] is asked in order which of them a command is for.

mod canary;
mod cargo;
mod events;
mod go;
pub(super) mod java;
mod junit;
pub(super) mod node;
mod python;
mod report;

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::area::{Area, Checkout};
use super::paths::InnerPath;
use super::repository::Repository;
use super::{WorkspaceActivities, disk};
use crate::failure::ServiceError;
use crate::sandbox::{Bind, Command, Exit};
use workflows::contract::failure::FailureKind;

pub(super) use canary::{Canary, Nonce};
pub(super) use report::{Broken, Failure, Fate, Report};

/// Output kept of one run: enough for `cargo test` and `go test -json` of a big suite.
const OUTPUT_CAP: usize = 8 << 20;
/// Where a run finds the harness, read-only.
const HARNESS: &str = "/run/harness";
/// Where a run may leave its report. A new, empty directory for each run.
const REPORT: &str = "/run/report";
/// Largest report file of a run.
const FILE_CAP: u64 = 64 << 20;
/// Largest report of a run, all files together.
const REPORT_CAP: u64 = 256 << 20;
/// Compiled dependencies, for runners that keep any there. The first run of a proof is that of the base; each later one has a
/// copy of what that left, so that no run can tell another anything.
const CACHE: &str = "/run/cache";

/// A test runner: how it is told what to run, and how it is read.
pub(super) trait Runner: Debug + Send + Sync {
    /// The script that runs `command`, a repository's own test command, so that [`Self::read`] understands it. With `only` it
    /// runs these tests and as few others as the runner allows, more is no fault: each test counts by its exact id in the
    /// report. A runner that cannot choose runs everything. The script may read `/run/harness` (see [`Self::harness`]) and
    /// must leave its report files in `/run/report`; never in the repository, where they would be part of the change.
    fn script(&self, command: &str, only: Option<&Only<'_>>) -> String;

    /// Variables beside the sandbox's own.
    fn env(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Files to put into `/run/harness`, as (name, content).
    fn harness(&self, _only: Option<&Only<'_>>) -> Vec<(String, String)> {
        Vec::new()
    }

    /// A file of the repository that a run writes and that must be empty before it.
    fn stale(&self) -> Option<&str> {
        None
    }

    /// Whether test `id` may be one of this file. Only of files for which this holds are canaries made and assertions turned,
    /// so a runner that cannot tell answers no.
    fn holds(&self, _path: &str, _content: &str, _id: &str) -> bool {
        false
    }

    /// The function, method or title in the source by which `id` is found there: `test_a` of
    /// `tests/test_a.py::Cart::test_a[1-2]`.
    fn title<'a>(&self, id: &'a str) -> &'a str {
        id
    }

    /// A passing and a failing test beside those of `path` (whose content is `content` and which holds `ids`): in the same
    /// file, or in a new one in the same directory, so that what is set up there applies to them too. They assert with
    /// numbers of the nonce and have words of it in their names, and nothing in a name tells which of them fails. `None`: this
    /// runner cannot have any here.
    fn canary(&self, _path: &str, _content: &str, _ids: &[&str], _nonce: &Nonce) -> Option<Canary> {
        None
    }

    /// What a person is shown of the output: without what only the harness asked for.
    fn shown(&self, output: String) -> String {
        output
    }

    /// Reads what a run left. What was not written by the runner itself must not count.
    fn read(&self, left: &Left<'_>) -> Report;
}

/// Tests to run, no others.
#[derive(Debug, Clone, Default)]
pub(super) struct Only<'a> {
    /// Their ids, as the runner reported them.
    pub(super) ids: Vec<&'a str>,
    /// The files that hold them, from the repository's root; those with canaries are among them.
    pub(super) files: Vec<&'a str>,
    /// Names of canaries: each is a part of one id.
    pub(super) canaries: Vec<&'a str>,
}

/// What a run left behind.
pub(super) struct Left<'a> {
    /// Both output streams.
    pub(super) output: &'a str,
    /// How the command ended.
    pub(super) exit: &'a Exit,
    /// A word that only the harness of this run was told; `TICKETWRIGHT_NONCE` there.
    pub(super) nonce: &'a str,
    reports: &'a Path,
    files: &'a Path,
    /// Bytes of reports that may still be read.
    room: Cell<u64>,
    /// A report that is too large.
    over: RefCell<Option<String>>,
}

impl Left<'_> {
    /// A file of `/run/report`; empty when it is not there.
    pub(super) fn report(&self, name: &str) -> String {
        self.text_of(self.reports, name)
    }

    /// A file of the repository; empty when it is not there.
    pub(super) fn file(&self, path: &str) -> String {
        self.text_of(self.files, path)
    }

    /// A file below `root`, or nothing. Code under test may have put a link in its place, so no path leads out of `root`.
    fn text_of(&self, root: &Path, path: &str) -> String {
        let cap = FILE_CAP.min(self.room.get());
        let bytes = match InnerPath::parse(path).and_then(|path| path.read_up_to(root, cap)) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                self.over.replace(Some(format!(
                    "its report is larger than {} MB, or all its files than {} MB",
                    FILE_CAP >> 20,
                    REPORT_CAP >> 20
                )));
                return String::new();
            }
            Err(_) => return String::new(),
        };
        self.room.set(self.room.get().saturating_sub(bytes.len() as u64));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A run of the suite.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// What was reported.
    pub(super) report: Report,
    /// How the command ended.
    pub(super) exit: Exit,
    /// What it printed.
    pub(super) output: String,
    /// How long it might have run.
    pub(super) limit: Duration,
    /// How long it ran.
    pub(super) took: Duration,
}

impl Run {
    /// Last lines of the output, for a person or a model.
    pub(super) fn tail(&self, lines: usize) -> String {
        let all: Vec<&str> = self.output.trim_end().lines().collect();
        all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
    }
}

/// A suite: how it is run, and how it is read.
#[derive(Debug, Clone)]
pub(super) struct Suite {
    /// The command as people know it.
    pub(super) command: String,
    /// Its runner.
    pub(super) runner: Arc<dyn Runner>,
}

/// What is said where a repository has no suite.
pub(super) const NO_SUITE: &str = "I found no test command. A person must add one to ticketwright.toml on the base branch, \
                                   like test = \"python3 -m pytest\".";

/// Says whether a repository's test command is for this runner.
type Recognise = fn(&Repository, &str) -> Option<Arc<dyn Runner>>;

/// Who is asked about a command, in this order. A report that the repository names comes first, for it was asked for.
const RUNNERS: [Recognise; 6] =
    [junit::recognise, python::recognise, cargo::recognise, go::recognise, java::recognise, node::recognise];

impl Suite {
    /// The suite of `repository`.
    ///
    /// # Errors
    /// A sentence for people: no command, or a runner whose single tests cannot be read.
    pub(super) fn of(repository: &Repository) -> Result<Self, String> {
        let Some(command) = repository.test.clone() else {
            return Err(NO_SUITE.to_owned());
        };
        if let Some(path) = &repository.junit {
            InnerPath::parse(path).map_err(|why| format!("junit in ticketwright.toml: {why}"))?;
        }
        let Some(runner) = RUNNERS.iter().find_map(|recognise| recognise(repository, &command)) else {
            return Err(format!(
                "`{command}` does not tell me about single tests, so nothing can be proven. A person must add \
                 junit = \"path/of/the/report.xml\" to ticketwright.toml on the base branch."
            ));
        };
        Ok(Self { command, runner })
    }

    /// Runs it on the files of `checkout`, or `only` some tests. `name`: of this run, unique in `area`.
    pub(super) async fn run(
        &self,
        activities: &WorkspaceActivities,
        area: &Area,
        checkout: &Checkout,
        name: &str,
        limit: Duration,
        only: Option<&Only<'_>>,
    ) -> Result<Run, ServiceError> {
        let reports = area.make(&format!("{name}-report"))?;
        let harness = area.make(&format!("{name}-harness"))?;
        let env = self.runner.env();
        let caches = env.iter().any(|(_, value)| value.starts_with(CACHE));
        let cache = if caches { Some(cache_of(area, name).await?) } else { None };
        write_harness(&harness, &self.runner.harness(only)).map_err(disk)?;
        let stale = self.runner.stale().and_then(|path| InnerPath::parse(path).ok());
        if let Some(path) = stale.filter(|path| path.read(&checkout.files).is_ok()) {
            // A report that lies in the repository is not one of this run.
            let _ = path.write(&checkout.files, b"");
        }
        let nonce = Nonce::new().word(0);
        let mut command =
            Command { output_cap: OUTPUT_CAP, ..checkout.script(&self.runner.script(&self.command, only), limit) };
        for (from, to, writable) in [(&harness, HARNESS, false), (&reports, REPORT, true)] {
            command.binds.push(Bind { from: from.clone(), to: to.into(), writable });
        }
        if let Some(cache) = cache {
            command.binds.push(Bind { from: cache, to: CACHE.into(), writable: true });
        }
        command.env.push(("TICKETWRIGHT_NONCE".into(), nonce.clone()));
        for (name, value) in env {
            let known = command.env.iter_mut().find(|(known, _)| *known == name);
            match known {
                // What the set-up has compiled is worth more than an empty cache.
                Some(_) if matches!(name.as_str(), "GOCACHE" | "CARGO_TARGET_DIR") => {}
                Some((_, paths)) if name == "PYTHONPATH" => *paths = format!("{value}:{paths}"),
                Some((_, known)) => *known = value,
                None => command.env.push((name, value)),
            }
        }
        let started = Instant::now();
        let finished = activities.run(command).await?;
        let took = started.elapsed();
        let output = finished.stdout.text();
        area.discard(&format!("{name}-cache"));
        let (runner, exit, files) = (Arc::clone(&self.runner), finished.exit.clone(), checkout.files.clone());
        // A report may be large, and what is in it is up to the tests.
        let read = tokio::task::spawn_blocking(move || {
            let left = Left {
                output: &output,
                exit: &exit,
                nonce: &nonce,
                reports: &reports,
                files: &files,
                room: Cell::new(REPORT_CAP),
                over: RefCell::new(None),
            };
            let mut report = runner.read(&left);
            if let Some(over) = left.over.take() {
                report.doubt = Some(over);
            }
            (report, runner.shown(output))
        });
        let (mut report, output) = read.await.map_err(|error| {
            ServiceError::new(FailureKind::Unexpected, "a report could not be read").caused_by(error)
        })?;
        if report.doubt.is_none() && finished.exit == Exit::Code(0) {
            let failed =
                |fate: &&Fate| matches!(fate, Fate::Failed(failure) if !failure.line.starts_with(report::AGAIN));
            let failed = report.tests.values().filter(failed).count();
            if failed > 0 {
                report.doubt = Some(format!("it ended with exit code 0, and yet {failed} of its tests failed"));
            }
        }
        area.discard(&format!("{name}-report"));
        area.discard(&format!("{name}-harness"));
        Ok(Run { report, exit: finished.exit, output, limit, took })
    }
}

/// The cache of a run: the one of the proof for its first run, and for each other a copy of what that one left.
async fn cache_of(area: &Area, name: &str) -> Result<PathBuf, ServiceError> {
    const SHARED: &str = "cache";
    let seed = area.path().join(SHARED);
    if !seed.exists() {
        return area.make(SHARED);
    }
    if !nix::unistd::geteuid().is_root() {
        let seed = seed.clone();
        // What stays closed is told by what comes next.
        let _ = tokio::task::spawn_blocking(move || open_up(&seed)).await;
    }
    let own = format!("{name}-cache");
    let copy = area.path().join(&own);
    // With times, for cargo goes by them, and with owners.
    let copied = tokio::process::Command::new("cp")
        .args(["--archive", "--reflink=auto", "--no-target-directory", "--"])
        .args([&seed, &copy])
        .kill_on_drop(true)
        .output()
        .await
        .map_err(disk)?;
    if copied.status.success() {
        return Ok(copy);
    }
    let why = String::from_utf8_lossy(&copied.stderr).into_owned();
    if ["No space left", "quota", "Input/output error", "Read-only"].iter().any(|words| why.contains(words)) {
        return Err(disk(std::io::Error::other(why)));
    }
    // What tests left there is their own doing; without it the run only takes longer.
    tracing::info!(%why, "the cache of a run cannot be copied, so it begins with an empty one");
    area.discard(&own);
    area.make(&own)
}

/// Opens what the owner's own tests closed to him, so that it can be read.
fn open_up(root: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    // A directory is opened before it is read.
    crate::sandbox::walk(root, |path, data| {
        let wanted = if data.is_dir() { 0o700 } else { 0o400 };
        let mode = data.permissions().mode();
        if data.is_symlink() || mode & wanted == wanted {
            return Ok(());
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode | wanted))
    })
}

/// Puts the harness into `directory`, readable for the sandbox's user.
fn write_harness(directory: &Path, files: &[(String, String)]) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))?;
    for (name, text) in files {
        let path = directory.join(name);
        if let Some(folder) = path.parent().filter(|folder| *folder != directory) {
            std::fs::create_dir_all(folder)?;
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
        }
        std::fs::write(&path, text)?;
        let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// The names of programs and other words in a command, without the directories before them.
fn words(command: &str) -> impl Iterator<Item = &str> {
    let apart = |c: char| c.is_whitespace() || "&|;()\"'`".contains(c);
    command.split(apart).filter_map(|word| word.rsplit('/').next()).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tests_closed_in_a_cache_can_be_read() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        let (closed, file) = (directory.path().join("tmp/closed"), directory.path().join("tmp/closed/file"));
        std::fs::create_dir_all(&closed).unwrap();
        std::fs::write(&file, "x").unwrap();
        for path in [&file, &closed] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)).unwrap();
        }
        open_up(directory.path()).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&closed), mode(&file)), (0o700, 0o400));
    }

    #[test]
    fn a_suite_is_told_by_its_command() {
        let suite = |test: &str, junit: Option<&str>| {
            Suite::of(&Repository { test: Some(test.into()), junit: junit.map(Into::into), ..Repository::default() })
        };
        let unittest = suite("cd app && python3 -m unittest discover", None).unwrap();
        assert_eq!(
            unittest.runner.script(&unittest.command, None),
            "cd app && python3 -m ticketwright_unittest discover"
        );
        assert_eq!(unittest.command, "cd app && python3 -m unittest discover");
        let go = suite("go test ./...", None).unwrap();
        assert_eq!(go.runner.script(&go.command, None), "go test -json -count=1 ./...");
        assert!(format!("{:?}", suite("cargo test", None).unwrap().runner).contains("Cargo"));
        assert!(format!("{:?}", suite("npm test", Some("r.xml")).unwrap().runner).contains("r.xml"));
        assert!(suite("npm test", Some("../r.xml")).unwrap_err().contains("has .. in it"));
        assert!(suite("make test", None).unwrap_err().contains("junit"));
        assert!(Suite::of(&Repository::default()).unwrap_err().contains("ticketwright.toml"));
    }

    #[test]
    fn a_report_that_is_too_large_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("small"), "abc").unwrap();
        std::fs::File::create(directory.path().join("sparse")).unwrap().set_len(FILE_CAP + 1).unwrap();
        let left = Left {
            output: "",
            exit: &Exit::Code(0),
            nonce: "",
            reports: directory.path(),
            files: directory.path(),
            room: Cell::new(5),
            over: RefCell::new(None),
        };
        assert_eq!(left.report("small"), "abc");
        assert!(left.report("none").is_empty() && left.over.borrow().is_none());
        assert_eq!(left.file("small"), "", "there is room for two more bytes");
        assert!(left.over.take().unwrap().contains("larger than 64 MB"));
        left.room.set(REPORT_CAP);
        assert_eq!(left.report("sparse"), "");
        assert!(left.over.take().is_some());
    }
}
