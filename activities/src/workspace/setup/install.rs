//! Runs a set-up: first with the registries in reach, then the packages' own scripts without them, and collects the result.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::allow::NOT_LISTED;
use super::environment::{self, CACHES, Certificates, DEPENDENCIES, PORT, SOCKET_DIRECTORY};
use super::layers::{self, Layer, Making};
use super::plan::{Part, Trial, quote};
use super::proxy::{Proxy, Rules, SOCKET, Traffic};
use super::stage::Stage;
use crate::failure::ServiceError;
use crate::sandbox::{self, Bind, Command, Exit, Finished, INSIDE};
use crate::workspace::area::{Area, remove_tree};
use crate::workspace::git::GitFailed;
use crate::workspace::mirror::Mirror;
use crate::workspace::paths::InnerPath;
use crate::workspace::{WorkspaceActivities, disk, lock, text};

/// Most bytes that are copied into each check-out.
const COPIES: u64 = 256 << 20;
/// Time for the packages' own scripts.
const OFFLINE: Duration = Duration::from_secs(120);
/// Longest note.
const NOTE: usize = 700;
/// Most bytes that are read of what a set-up leaves for people: other people's code may have written it.
const LONGEST_LEFT: u64 = 64 << 10;
/// Where a set-up leaves a line for people, in its root.
const LEFT_NOTE: &str = ".ticketwright-note";
/// Where a trial leaves the names of what is missing, in its root.
pub(super) const MISSING: &str = ".ticketwright-missing";
/// Times that a trial runs: a build names one thing after the other.
const TRIALS: usize = 6;
/// Most names that are taken of one trial, and bytes of one. Other people's code may have written them.
const MOST_MISSING: usize = 20;
const LONGEST_NAME: usize = 300;
/// Folders with installed packages that are shown instead of copied.
const ENVIRONMENTS: [&str; 2] = [".venv", "venv"];

/// What came of a set-up.
pub(super) enum Result {
    /// It is in the result's directory.
    Made(Layer),
    /// It failed by itself; a note for people and models.
    Failed(String),
    /// A registry could not be reached, or was out of order.
    Unreachable(String),
}

/// Installs `part` into the place of `making`.
pub(super) async fn install(
    activities: &WorkspaceActivities,
    area: &Area,
    mirror: &Mirror<'_>,
    part: &Part,
    stage: &Stage,
    making: &Arc<Making>,
) -> std::result::Result<Result, ServiceError> {
    let run = Run::new(activities, area, making.work.clone())?;
    stage.lay_out(&mirror.git, &run.files, &run.index).await?;
    let script = in_root(&part.root, &part.online);
    let started = Instant::now();
    let (finished, traffic) = run.online(&script).await?;
    tracing::info!(
        set_up = part.title,
        seconds = started.elapsed().as_secs(),
        exit = ?finished.exit,
        hosts = ?traffic.hosts,
        refused = ?traffic.refused,
        unreachable = ?traffic.unreachable,
        "a set-up used the registries"
    );
    if finished.exit != Exit::Code(0) {
        let (why, transient) = why(&finished, &traffic, activities.setup.settings.limit_seconds);
        let note = text::cap(&format!("Set-up failed, so nothing of it is installed: {}: {why}", part.title), NOTE);
        return Ok(if transient { Result::Unreachable(note) } else { Result::Failed(note) });
    }
    let mut layer = Layer { notes: part.notes.clone(), ..Layer::default() };
    if let Some(left) = run.left(&in_place(&part.root, LEFT_NOTE), LONGEST_LEFT).await? {
        let left = String::from_utf8_lossy(&left);
        layer.notes.push(text::cap(&format!("{}: {}", part.title, left.trim()), NOTE));
    }
    if let Some(script) = &part.offline {
        let finished = run.offline(&in_root(&part.root, script)).await?;
        if finished.exit != Exit::Code(0) {
            let (why, _) = why(&finished, &Traffic::default(), OFFLINE.as_secs());
            let note = format!("{} worked, but scripts of packages failed without network: {why}", part.title);
            layer.notes.push(text::cap(&note, NOTE));
        }
    }
    if let Some(trial) = &part.trial {
        match complete(part, trial, &run, mirror, stage, &making.work).await? {
            Completed::All => {}
            Completed::Without(missing) => {
                let note = format!("{} worked, but some of what runs tests cannot be had: {missing}", part.title);
                layer.notes.push(text::cap(&note, NOTE));
            }
            Completed::Unreachable(why) => {
                let note = format!("Set-up failed, so nothing of it is installed: {}: {why}", part.title);
                return Ok(Result::Unreachable(text::cap(&note, NOTE)));
            }
        }
    }
    match collect(part, &run, mirror, making, layer).await {
        Ok(layer) => Ok(Result::Made(layer)),
        Err(Trouble::Left(why)) => {
            let note = format!("Set-up failed, so nothing of it is installed: {}: {why}", part.title);
            Ok(Result::Failed(text::cap(&note, NOTE)))
        }
        Err(Trouble::Ours(error)) => Err(error),
    }
}

/// What came of trials.
enum Completed {
    /// They miss nothing more, as far as they tell.
    All,
    /// These are still missing.
    Without(String),
    /// A registry could not be reached.
    Unreachable(String),
}

/// Tries what was installed, and gets what a trial names, until none names anything new.
async fn complete(
    part: &Part,
    trial: &Trial,
    run: &Run<'_>,
    mirror: &Mirror<'_>,
    stage: &Stage,
    work: &Path,
) -> std::result::Result<Completed, ServiceError> {
    let stage = stage.and(&trial.written);
    let (started, mut number, mut before) = (Instant::now(), 0, Vec::new());
    loop {
        number += 1;
        let place = work.join(format!("trial-{number}"));
        std::fs::create_dir(&place).and_then(|()| lock::open_to_others(&place)).map_err(disk)?;
        let tried = Run::new(run.activities, run.area, place)?;
        stage.lay_out(&mirror.git, &tried.files, &tried.index).await?;
        let finished = tried.try_offline(&run.deps, &in_root(&part.root, &trial.script)).await?;
        let left = tried.left(&in_place(&part.root, MISSING), LONGEST_LEFT).await?;
        let missing = names(&left.unwrap_or_default());
        tracing::info!(set_up = part.title, number, exit = ?finished.exit, ?missing, "a set-up was tried without network");
        if missing.is_empty() {
            return Ok(Completed::All);
        }
        let left = left_for_fetching(run.activities.setup.settings.limit(), started.elapsed());
        let Some(limit) = left.filter(|_| missing != before && number < TRIALS) else {
            return Ok(Completed::Without(missing.join(", ")));
        };
        // The names have no letters that mean something to bash.
        let script = format!("missing='{}'\n{}", missing.join(" "), trial.fetch);
        let rules = run.activities.setup.settings.rules();
        let (finished, traffic) = run.reaching_within(rules, &in_root(&part.root, &script), limit).await?;
        if finished.exit != Exit::Code(0)
            && let (why, true) = why(&finished, &traffic, limit.as_secs())
        {
            return Ok(Completed::Unreachable(why));
        }
        before = missing;
    }
}

/// How long the next fetch may take, `spent` after the first trial began. All fetches together get half of what the installation
/// before them had: with the trials between them they must end well inside the time of a whole set-up, or all of it is lost.
fn left_for_fetching(limit: Duration, spent: Duration) -> Option<Duration> {
    (limit / 2).checked_sub(spent).filter(|left| !left.is_zero())
}

/// The names that a trial left. What is no plain name is none.
fn names(left: &[u8]) -> Vec<String> {
    let left = String::from_utf8_lossy(left);
    let is_name = |line: &&str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        (1..=LONGEST_NAME).contains(&line.len()) && !line.starts_with('-') && line.bytes().all(plain)
    };
    let names: BTreeSet<&str> = left.lines().filter(is_name).collect();
    names.into_iter().take(MOST_MISSING).map(str::to_owned).collect()
}

/// A directory of files with the way out beside it.
pub(super) struct Run<'a> {
    activities: &'a WorkspaceActivities,
    area: &'a Area,
    /// The files, `/w` inside.
    pub(super) files: PathBuf,
    /// For git.
    pub(super) index: PathBuf,
    deps: PathBuf,
    caches: PathBuf,
    socket: PathBuf,
    certificates: Vec<Bind>,
}

impl<'a> Run<'a> {
    /// `work`: an empty directory.
    pub(super) fn new(
        activities: &'a WorkspaceActivities,
        area: &'a Area,
        work: PathBuf,
    ) -> std::result::Result<Self, ServiceError> {
        let make = |name: &str| {
            let path = work.join(name);
            std::fs::create_dir(&path).and_then(|()| lock::open_to_others(&path)).map_err(disk)?;
            Ok::<_, ServiceError>(path)
        };
        let (files, deps, caches) = (make("files")?, make("deps")?, make("caches")?);
        let (socket, certificates) = (make("proxy")?, make("certificates")?);
        for name in ["tmp", "cache"] {
            std::fs::create_dir(caches.join(name)).map_err(disk)?;
        }
        let certificates = match &activities.setup.settings.ca_bundle {
            Some(bundle) => environment::certificates(bundle, &certificates).map_err(|error| {
                let what = format!("ca_bundle {} under [workspace.setup] cannot be used: {error}", bundle.display());
                ServiceError::new(workflows::contract::failure::FailureKind::Unsupported, what)
            })?,
            None => Vec::new(),
        };
        Ok(Self { activities, area, index: work.join("index"), files, deps, caches, socket, certificates })
    }

    fn command(&self, script: &str) -> Command {
        let limit = self.activities.setup.settings.limit();
        let mut command = Command::script(script, Some(self.files.clone()), limit);
        for (from, to) in [(&self.deps, DEPENDENCIES), (&self.caches, CACHES)] {
            command.binds.push(Bind { from: from.clone(), to: to.into(), writable: true });
        }
        command.env = environment::writing(&self.activities.sandbox.path());
        command.record = Some(self.area.group());
        command
    }

    /// What a script left at a path of the files, if it is there, can be read and has at most `cap` bytes.
    async fn left(&self, path: &str, cap: u64) -> std::result::Result<Option<Vec<u8>>, ServiceError> {
        let Ok(path) = InnerPath::parse(path) else { return Ok(None) };
        let files = self.files.clone();
        let read = tokio::task::spawn_blocking(move || path.read_up_to(&files, cap));
        Ok(read.await.map_err(disk)?.ok().flatten())
    }

    /// Runs a script with the registries in reach.
    pub(super) async fn online(&self, script: &str) -> std::result::Result<(Finished, Traffic), ServiceError> {
        self.reaching(self.activities.setup.settings.rules(), script).await
    }

    /// Runs a script with what these rules let through in reach.
    pub(super) async fn reaching(
        &self,
        rules: Rules,
        script: &str,
    ) -> std::result::Result<(Finished, Traffic), ServiceError> {
        self.reaching_within(rules, script, self.activities.setup.settings.limit()).await
    }

    /// The same with a limit of its own.
    async fn reaching_within(
        &self,
        rules: Rules,
        script: &str,
        limit: Duration,
    ) -> std::result::Result<(Finished, Traffic), ServiceError> {
        // A socket of an earlier run is nobody's.
        let _ = std::fs::remove_file(self.socket.join(SOCKET));
        let proxy = Proxy::start(&self.socket, rules).map_err(disk)?;
        let mut command = Command { limit, ..self.command(script) };
        let forward = [INSIDE, "forward", &PORT.to_string(), &format!("{SOCKET_DIRECTORY}/{SOCKET}"), "--"];
        command.argv = forward.map(OsString::from).into_iter().chain(command.argv).collect();
        command.binds.push(Bind { from: self.socket.clone(), to: SOCKET_DIRECTORY.into(), writable: false });
        command.binds.extend(self.certificates.iter().cloned());
        let whose = if self.certificates.is_empty() { Certificates::System } else { Certificates::Own };
        command.env.extend(environment::online(whose));
        command.env.extend(self.activities.setup.settings.variables.iter().cloned());
        let finished = self.activities.run(command).await?;
        Ok((finished, proxy.traffic()))
    }

    /// Runs a script without any network.
    pub(super) async fn offline(&self, script: &str) -> std::result::Result<Finished, ServiceError> {
        self.activities.run(Command { limit: OFFLINE, ..self.command(script) }).await
    }

    /// The same with what another run has installed, read-only.
    async fn try_offline(&self, installed: &Path, script: &str) -> std::result::Result<Finished, ServiceError> {
        let mut command = Command { limit: OFFLINE, ..self.command(script) };
        for bind in command.binds.iter_mut().filter(|bind| bind.to == Path::new(DEPENDENCIES)) {
            (bind.from, bind.writable) = (installed.to_owned(), false);
        }
        self.activities.run(command).await
    }
}

/// Why the result of a set-up cannot be collected.
enum Trouble {
    /// The host's disk, or git.
    Ours(ServiceError),
    /// What the commands left: in words, for people and models.
    Left(String),
}

impl From<ServiceError> for Trouble {
    fn from(error: ServiceError) -> Self {
        Self::Ours(error)
    }
}

/// A fault with `path`, which commands could make what they liked.
fn left(path: &Path) -> impl Fn(io::Error) -> Trouble + '_ {
    use io::ErrorKind::{OutOfMemory, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    move |error| match error.kind() {
        StorageFull | QuotaExceeded | ReadOnlyFilesystem | OutOfMemory => Trouble::Ours(disk(error)),
        // Input and output, and what the system or this process has no more descriptors for.
        _ if matches!(error.raw_os_error(), Some(libc::EIO | libc::EMFILE | libc::ENFILE)) => {
            Trouble::Ours(disk(error))
        }
        _ => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Trouble::Left(format!("what it left as {name} cannot be used: {error}"))
        }
    }
}

/// Moves what was made into the result. Commands may have left half a million files, so that a thread of its own looks at them; it
/// keeps the place, also when nobody waits for it any more.
async fn collect(
    part: &Part,
    run: &Run<'_>,
    mirror: &Mirror<'_>,
    making: &Arc<Making>,
    layer: Layer,
) -> std::result::Result<Layer, Trouble> {
    let (wanted, node_modules) = (part.deps.clone(), part.node_modules);
    let (files, deps, place) = (run.files.clone(), run.deps.clone(), making.clone());
    let moved = move || move_installed(&wanted, node_modules, &files, &deps, &place, layer);
    let layer = tokio::task::spawn_blocking(moved).await.map_err(disk)??;
    if part.manifests.is_some() {
        return Ok(layer);
    }
    let others = Others::list(run, mirror).await?;
    let (files, place) = (run.files.clone(), making.clone());
    tokio::task::spawn_blocking(move || keep_others(&others, &files, &place, layer)).await.map_err(disk)?
}

/// What is shown in its place.
fn move_installed(
    wanted: &[String],
    node_modules: bool,
    files: &Path,
    deps: &Path,
    making: &Making,
    mut layer: Layer,
) -> std::result::Result<Layer, Trouble> {
    let whole = wanted.iter().any(|path| path == DEPENDENCIES);
    let mut entries: Vec<_> =
        std::fs::read_dir(deps).map_err(left(deps))?.filter_map(std::result::Result::ok).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let to = Path::new(DEPENDENCIES).join(entry.file_name());
        let is_wanted = whole || wanted.iter().any(|path| Path::new(path) == to);
        if is_wanted && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            making.mount(&mut layer, &entry.path(), to).map_err(left(&entry.path()))?;
        }
    }
    if node_modules {
        for path in layers::directories_named(files, "node_modules", ".git") {
            let made = files.join(&path);
            std::fs::set_permissions(&made, Permissions::from_mode(0o755)).map_err(left(&made))?;
            for name in super::CACHES_OF_TOOLS {
                // Empty, as a place to mount something writable on.
                let cache = made.join(name);
                remove_tree(&cache).and_then(|()| std::fs::create_dir(&cache)).map_err(left(&cache))?;
            }
            making.mount(&mut layer, &made, Path::new(sandbox::ROOT).join(path)).map_err(left(&made))?;
        }
    }
    Ok(layer)
}

/// What a repository's own command left in the check-out beside its files.
struct Others {
    /// What git ignores.
    ignored: Vec<String>,
    /// What it does not.
    seen: Vec<String>,
}

impl Others {
    async fn list(run: &Run<'_>, mirror: &Mirror<'_>) -> std::result::Result<Self, ServiceError> {
        let git = mirror.git.with_index(&run.index).with_work_tree(&run.files);
        let list = async |ignored: &[&str]| {
            let args = ["ls-files", "-z", "--others", "--directory", "--no-empty-directory"].iter().chain(ignored);
            let listed = git.run(args).await.map_err(GitFailed::unexpected)?;
            let listed = String::from_utf8_lossy(&listed);
            let paths = listed.split_terminator('\0').map(|path| path.trim_end_matches('/').to_owned());
            Ok::<Vec<String>, ServiceError>(paths.filter(|path| !path.ends_with('\u{fffd}')).collect())
        };
        let ignored = list(&["--ignored", "--exclude-per-directory=.gitignore"]).await?;
        Ok(Self { ignored, seen: list(&["--exclude-per-directory=.gitignore"]).await? })
    }
}

/// What git ignores is kept, since it never becomes part of a change.
fn keep_others(
    others: &Others,
    files: &Path,
    making: &Making,
    mut layer: Layer,
) -> std::result::Result<Layer, Trouble> {
    let mut room = COPIES;
    let mut too_large = Vec::new();
    for path in others.ignored.iter().filter(|path| !path.starts_with(".git/")) {
        let made = files.join(path);
        let is_environment = ENVIRONMENTS.iter().any(|name| path.rsplit('/').next() == Some(name));
        if is_environment && made.is_dir() && !made.is_symlink() {
            making.mount(&mut layer, &made, Path::new(sandbox::ROOT).join(path)).map_err(left(&made))?;
            continue;
        }
        let size = layers::size_of(&made);
        if size > room {
            too_large.push(path.as_str());
            continue;
        }
        room -= size;
        let to = making.result.join(layers::COPIES).join(path);
        std::fs::create_dir_all(to.parent().unwrap_or(&to)).map_err(left(&made))?;
        std::fs::rename(&made, to).map_err(left(&made))?;
        layer.copies.push(path.clone());
    }
    let mut name = |paths: &[&str], why: &str| {
        if !paths.is_empty() {
            let shown = paths.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            layer.notes.push(text::cap(&format!("Not kept of what `setup` made: {shown} ({why})."), NOTE));
        }
    };
    name(&too_large, "larger than 256 MB");
    name(&others.seen.iter().map(String::as_str).collect::<Vec<_>>(), "git does not ignore it; add it to .gitignore");
    Ok(layer)
}

/// `script` in a directory of the check-out.
fn in_root(root: &str, script: &str) -> String {
    if root.is_empty() { script.to_owned() } else { format!("cd {}\n{script}", quote(root)) }
}

fn in_place(root: &str, name: &str) -> String {
    if root.is_empty() { name.to_owned() } else { format!("{root}/{name}") }
}

/// Why a set-up failed, and whether it may work later without anybody doing anything.
pub(super) fn why(finished: &Finished, traffic: &Traffic, seconds: u64) -> (String, bool) {
    let output = finished.stdout.text();
    let said = match &finished.exit {
        Exit::Code(code) if output.trim().is_empty() => format!("exit code {code}, and nothing printed"),
        Exit::TimedOut => format!("it was stopped after {seconds} s"),
        Exit::OverLimit(which) => format!("it was stopped, over its limit of {which}"),
        Exit::NotStarted(why) => format!("it could not be started: {why}"),
        _ => last_words(&output),
    };
    if !traffic.refused.is_empty() {
        return (format!("{} It ended so: {said}", refusal(&traffic.refused)), false);
    }
    if matches!(finished.exit, Exit::TimedOut | Exit::OverLimit(_) | Exit::NotStarted(_)) {
        return (said, false);
    }
    if !traffic.unreachable.is_empty() {
        let list = traffic.unreachable.iter().take(5).map(|(host, why)| format!("{host}: {why}"));
        return (format!("{said} ({})", list.collect::<Vec<_>>().join("; ")), true);
    }
    let out_of_order = [
        "502 Bad Gateway",
        "503 Service",
        "504 Gateway",
        "500 Internal Server Error",
        "429 Too Many",
        "E503",
        "E502",
        "E500",
        "E429",
    ];
    let transient = out_of_order.iter().any(|mark| output.contains(mark));
    (said, transient)
}

/// What the proxy did not let through, and what an operator can do about it.
fn refusal(refused: &BTreeMap<String, String>) -> String {
    let (unlisted, others): (Vec<_>, Vec<_>) = refused.iter().take(5).partition(|(_, why)| why.ends_with(NOT_LISTED));
    let hosts: Vec<&str> = unlisted.into_iter().map(|(host, _)| host.strip_suffix(":443").unwrap_or(host)).collect();
    let mut told = Vec::new();
    if !hosts.is_empty() {
        let values: Vec<String> = hosts.iter().map(|host| format!("\"{host}\"")).collect();
        told.push(format!(
            "a set-up may not reach {}. An operator can let it: allow = [{}] under [workspace.setup] of the worker's ticketwright.toml.",
            hosts.join(", "),
            values.join(", ")
        ));
    }
    told.extend(others.into_iter().map(|(host, why)| format!("{host} was refused: {why}.")));
    told.join(" ")
}

/// The lines that say what went wrong: those marked as errors, else the last ones.
fn last_words(output: &str) -> String {
    let lines: Vec<&str> = output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let marked = |line: &&&str| {
        let line = line.to_ascii_lowercase();
        ["error", "npm error", "fatal", "[error]", "go: "].iter().any(|mark| line.starts_with(mark))
    };
    let noise = |line: &&&str| line.contains("A complete log of this run") || line.contains("npm-debug");
    let errors: Vec<&str> = lines.iter().filter(marked).filter(|line| !noise(line)).copied().take(4).collect();
    if errors.is_empty() {
        lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join(" / ")
    } else {
        errors.join(" / ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Output;

    #[test]
    fn what_was_refused_comes_first_with_the_setting_that_allows_it() {
        let refused = |host: &str, why: String| (host.to_owned(), why);
        let not_listed = |host: &str| refused(&format!("{host}:443"), format!("{host} {NOT_LISTED}"));
        let inside = refused("npm.acme.example:443", "npm.acme.example: 10.0.0.7 is not public".into());
        let all =
            [not_listed("git.acme.example"), refused("a.example:8443", format!("a.example {NOT_LISTED}")), inside];
        let traffic = Traffic { refused: all.into_iter().collect(), ..Traffic::default() };
        for exit in [Exit::Code(1), Exit::TimedOut] {
            let finished =
                Finished { exit, stdout: Output::default(), stderr: Output::default(), duration: Duration::ZERO };
            let (told, later) = why(&finished, &traffic, 420);
            let first = "a set-up may not reach a.example:8443, git.acme.example. An operator can let it: allow = \
                         [\"a.example:8443\", \"git.acme.example\"] under [workspace.setup]";
            assert!(told.starts_with(first) && !later, "{told}");
            assert!(told.contains(" npm.acme.example:443 was refused: ") && told.contains(" It ended so: "), "{told}");
        }
    }

    #[test]
    fn fetches_share_half_of_the_limit() {
        let left =
            |spent| left_for_fetching(Duration::from_secs(420), Duration::from_secs(spent)).map(|left| left.as_secs());
        assert_eq!([left(0), left(120), left(210), left(500)], [Some(210), Some(90), None, None]);
    }

    #[test]
    fn what_is_missing_is_taken_by_plain_names_only() {
        let left = b"a.b:c-d:jar:1.0_2\na.b:c-d:jar:1.0_2\n\n'; curl x; '\n$(id)\n-Dx:y:jar:1\na b\n\xff\n";
        assert_eq!(names(left), ["a.b:c-d:jar:1.0_2"]);
        let many: String = (0..99).map(|n| format!("a:b:jar:{n}\n")).collect();
        assert_eq!(names(many.as_bytes()).len(), MOST_MISSING);
        assert!(names("x".repeat(LONGEST_NAME + 1).as_bytes()).is_empty());
    }

    #[test]
    fn the_lines_that_say_what_went_wrong_are_told() {
        let npm = "npm warn x\nnpm error code E404\nnpm error 404 Not Found - GET https://registry/x\nnpm error A complete log of this run can be found in: /w\n";
        assert_eq!(last_words(npm), "npm error code E404 / npm error 404 Not Found - GET https://registry/x");
        assert_eq!(last_words("a\n\nb\nc\nd\n"), "b / c / d");
        assert_eq!(last_words(""), "");
    }
}
