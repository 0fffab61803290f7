//! The set-up phase: installs what a repository's lock files name, through a proxy that knows only package registries, into
//! layers that later commands see read-only and without any network.
//!
//! Detected set-ups see lock files and manifests, never source, and run no program that a change brought: programs among the
//! manifests are the base's. `setup` in `ticketwright.toml` sees everything, but all of it as the base commit has it. What is
//! left over is names: a model can put some bytes into the name of a package that it asks a registry for.

mod allow;
mod environment;
mod hello;
mod install;
mod layers;
mod lockfiles;
mod pinned;
pub(super) mod plan;
mod proxy;
mod stage;
mod tooling;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use workflows::contract::failure::FailureKind;
use workflows::contract::ids::{CommitSha, Digest};

use super::area::{Area, Checkout};
use super::mirror::Mirror;
use super::{WorkspaceActivities, disk, lock, repository};
use crate::failure::ServiceError;
use crate::sandbox::{self, Bind, Sandbox};
use allow::AllowList;
use layers::{Held, Layers};
use plan::{Files, Part, Plan};
use proxy::Rules;

pub use allow::{Destination, Range};
pub(super) use lockfiles::FIXERS;
pub use tooling::Tooling;

/// Changes when layers made by older versions of this program no longer fit.
const VERSION: u32 = 1;
/// Attempts at a registry that cannot be reached, before work goes on without it.
const ATTEMPTS: u32 = 3;
/// Directories of JavaScript's packages into which tools write while they run.
const CACHES_OF_TOOLS: [&str; 3] = [".cache", ".vite", ".vite-temp"];

/// How dependencies are installed.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether anything is installed at all. Default true.
    pub enabled: bool,
    /// Hosts beside the usual registries, as `host` or `host:port`. Exact names.
    pub allow: Vec<Destination>,
    /// Addresses that are not public and yet fine, as those of a company's mirror.
    pub upstream_addresses: Vec<Range>,
    /// A proxy that leads out of this network, as `host:port`.
    pub upstream_proxy: Option<String>,
    /// Certificates to trust instead of the system's, in PEM.
    pub ca_bundle: Option<PathBuf>,
    /// Variables for package managers while they install: `PIP_INDEX_URL`, `GOPROXY`. Repositories see them, so no secret.
    pub variables: Vec<(String, String)>,
    /// Seconds that installing one kind of dependencies may take. Default 7 minutes: an activity has 10 beside its commands.
    pub limit_seconds: u64,
    /// Most bytes from registries in that time. Default 4 GB.
    pub download_bytes: u64,
    /// Most bytes to them: requests, nothing else. Default 8 MB.
    pub upload_bytes: u64,
    /// Disk for installed dependencies; those unused for longest go first. Default 20 GB.
    pub layers_bytes: u64,
    /// Days after which unused ones go. Default 14.
    pub layers_days: u64,
    /// Seconds until a set-up that failed is tried again. Default 10 minutes.
    pub retry_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            allow: Vec::new(),
            upstream_addresses: Vec::new(),
            upstream_proxy: None,
            ca_bundle: None,
            variables: Vec::new(),
            limit_seconds: 420,
            download_bytes: 4 << 30,
            upload_bytes: 8 << 20,
            layers_bytes: 20 << 30,
            layers_days: 14,
            retry_seconds: 600,
        }
    }
}

impl Settings {
    /// The hosts a set-up may reach, for people.
    pub fn hosts(&self) -> Vec<String> {
        AllowList::new(&self.allow).hosts().map(ToString::to_string).collect()
    }

    fn rules(&self) -> Rules {
        Rules {
            guard: Arc::new(AllowList::new(&self.allow)),
            upstream_addresses: self.upstream_addresses.clone(),
            upstream_proxy: self.upstream_proxy.clone(),
            down: self.download_bytes,
            up: self.upload_bytes,
            connections: 128,
        }
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(self.limit_seconds)
    }
}

/// Name of the directory beside the files of a check-out for what goes with its layers.
pub(super) const SCRATCH: &str = "set-up";

/// Installs dependencies, and remembers what came of it.
#[derive(Debug)]
pub(super) struct Setup {
    settings: Settings,
    layers: Layers,
    tooling: OnceCell<Tooling>,
    /// How often a registry could not be reached, by key.
    unreachable: Mutex<HashMap<String, u32>>,
}

/// What was installed for a check-out.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// What people and models should know, one line each: what could not be installed, and why.
    pub(super) notes: Vec<String>,
    /// Layers that must not go while the check-out is used.
    held: Vec<Held>,
}

impl Prepared {
    /// Files that were copied into the check-out, by their path there, and directories of such. They belong to no change, whatever
    /// its `.gitignore` says of them.
    pub(super) fn copies(&self) -> impl Iterator<Item = &Path> {
        self.held.iter().flat_map(|held| &held.layer.copies).map(Path::new)
    }
}

/// What people and models should know of a set-up, one line each.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// All of it.
    pub(super) all: Vec<String>,
    /// Those of them that say what is not installed.
    pub(super) failed: Vec<String>,
}

/// What became of one part.
enum Outcome {
    Installed(Held),
    Failed(String),
}

impl Setup {
    /// Makes the directory for layers, and removes what was half-made.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub(super) fn open(settings: Settings, directory: PathBuf) -> io::Result<Self> {
        let layers = Layers::new(directory);
        layers.open()?;
        Ok(Self { settings, layers, tooling: OnceCell::new(), unreachable: Mutex::default() })
    }

    /// What the sandbox has to install with; asked once.
    async fn tooling(&self, sandbox: &Sandbox) -> Result<&Tooling, ServiceError> {
        self.tooling.get_or_try_init(|| Tooling::of(sandbox)).await
    }

    /// Counts a failure to reach a registry; says whether to go on without it.
    fn given_up(&self, key: &str) -> bool {
        let mut unreachable = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        let times = unreachable.entry(key.to_owned()).or_default();
        *times += 1;
        let given_up = *times >= ATTEMPTS;
        if given_up {
            unreachable.remove(key);
        }
        given_up
    }
}

impl WorkspaceActivities {
    /// Puts the files of `tree` into a directory `name`, with what they need installed. `base`: the commit whose settings count.
    pub(super) async fn check_out(
        &self,
        area: &Area,
        mirror: &Mirror<'_>,
        name: &str,
        tree: &str,
        base: &CommitSha,
    ) -> Result<Checkout, ServiceError> {
        let mut checkout = area.check_out(mirror, name, tree, base).await?;
        self.prepare(area, mirror, base, &mut checkout).await?;
        Ok(checkout)
    }

    /// Installs what is missing of what `tree` needs. Notes for people.
    pub(super) async fn set_up(
        &self,
        area: &Area,
        mirror: &Mirror<'_>,
        tree: &str,
        base: &CommitSha,
    ) -> Result<Notes, ServiceError> {
        Ok(self.installed(area, mirror, tree, base).await?.1)
    }

    /// Lets the commands of `checkout` find what is installed for its files; installs what is missing.
    pub(super) async fn prepare(
        &self,
        area: &Area,
        mirror: &Mirror<'_>,
        base: &CommitSha,
        checkout: &mut Checkout,
    ) -> Result<(), ServiceError> {
        let (held, Notes { all: mut notes, .. }) = self.installed(area, mirror, &checkout.tree, base).await?;
        let files = checkout.files.clone();
        let search = self.sandbox.path();
        let shown = tokio::task::spawn_blocking(move || show_all(held, &files, &search));
        let (held, shown) = shown.await.map_err(disk)?.map_err(disk)?;
        notes.extend(shown.notes);
        checkout.binds.extend(shown.binds);
        checkout.env.extend(shown.env);
        checkout.prepared = Prepared { notes, held };
        Ok(())
    }

    async fn installed(
        &self,
        area: &Area,
        mirror: &Mirror<'_>,
        tree: &str,
        base: &CommitSha,
    ) -> Result<(Vec<Held>, Notes), ServiceError> {
        if !self.setup.settings.enabled {
            return Ok((Vec::new(), Notes::default()));
        }
        let own = match repository::read(&mirror.git, base.as_str(), self.tools().await?).await? {
            Ok(repository) => repository.setup,
            // Whoever needs the settings says what is wrong with them.
            Err(_) => None,
        };
        let files = stage::files(&mirror.git, tree).await?;
        // Nothing to install is the most common case, and needs no program.
        if own.is_none() && files.texts.is_empty() {
            return Ok((Vec::new(), Notes::default()));
        }
        let tooling = self.setup.tooling(&self.sandbox).await?;
        let (files, of_base, replaced) = if own.is_some() || files.texts.keys().any(|path| plan::is_program(path)) {
            let of_base = stage::files(&mirror.git, base.as_str()).await?;
            let (files, replaced) = plan::with_programs_of(&of_base, files);
            (files, of_base, replaced)
        } else {
            (files, Files::default(), Vec::new())
        };
        let Plan { mut parts, mut notes } = match &own {
            Some(commands) => plan::own(commands.lines(), tooling),
            None => plan::detect(&files, tooling),
        };
        let mut failed = notes.clone();
        if !replaced.is_empty() {
            let named = replaced.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
            let said = "Changed here, but dependencies are installed by what the base commit has of it, since it can name programs";
            notes.push(super::text::cap(&format!("{said}: {named}."), 700));
        }
        if own.is_some() && !parts.is_empty() {
            // What the change adds to them comes without any script; its places are shown over those of `setup`.
            let changed = plan::detect(&files, tooling).parts.into_iter().filter(|part| part.differs(&files, &of_base));
            parts.extend(changed);
        }
        let mut all = Vec::new();
        for part in &parts {
            let stage = stage::of(part, &files, &of_base);
            let key = key(part, &stage, tooling, &self.setup.settings);
            match self.layer(area, mirror, part, &stage, &key).await? {
                Outcome::Installed(held) => {
                    notes.extend(held.layer.notes.iter().cloned());
                    all.push(held);
                }
                Outcome::Failed(note) => {
                    failed.push(note.clone());
                    notes.push(note);
                }
            }
        }
        Ok((all, Notes { all: notes, failed }))
    }

    /// The layer of a part: the one that is there, or a new one.
    async fn layer(
        &self,
        area: &Area,
        mirror: &Mirror<'_>,
        part: &Part,
        stage: &stage::Stage,
        key: &str,
    ) -> Result<Outcome, ServiceError> {
        let Setup { settings, layers, .. } = &self.setup;
        let retry = Duration::from_secs(settings.retry_seconds);
        loop {
            if let Some(held) = layers.find(key).await? {
                return Ok(Outcome::Installed(held));
            }
            if let Some(note) = layers.failure(key, retry) {
                return Ok(Outcome::Failed(note));
            }
            let making = Arc::new(layers.make(key).await?);
            // Somebody else may have made it while we waited for the place.
            if layers.there(key) || layers.failure(key, retry).is_some() {
                continue;
            }
            match install::install(self, area, mirror, part, stage, &making).await? {
                install::Result::Made(layer) => {
                    let finished = tokio::task::spawn_blocking(move || making.finish(layer)).await.map_err(disk)?;
                    match finished {
                        Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {
                            layers.remember_failure(key, &format!("{}: in what it installed {error}.", part.title));
                            continue;
                        }
                        finished => finished.map_err(disk)?,
                    }
                    let (layers, age) = (layers.clone(), Duration::from_secs(settings.layers_days * 24 * 3600));
                    let bytes = settings.layers_bytes;
                    tokio::task::spawn_blocking(move || layers.evict(age, bytes)).await.map_err(disk)?;
                }
                install::Result::Failed(note) => layers.remember_failure(key, &note),
                install::Result::Unreachable(note) => {
                    if self.setup.given_up(key) {
                        layers.remember_failure(key, &note);
                    } else {
                        return Err(ServiceError::new(FailureKind::Unavailable, note));
                    }
                }
            }
        }
    }
}

/// Removes layers that have been unused for too long, and the oldest of too many.
pub(super) fn evict(settings: &super::Settings) {
    let age = Duration::from_secs(settings.setup.layers_days * 24 * 3600);
    Layers::new(settings.directory.join("layers")).evict(age, settings.setup.layers_bytes);
}

/// The name of a part's layer: a digest of all that decides what is installed.
fn key(part: &Part, stage: &stage::Stage, tooling: &Tooling, settings: &Settings) -> String {
    let tools: BTreeMap<&str, &str> = tooling.versions(&part.tools).collect();
    let all = serde_json::json!({
        "version": VERSION,
        "architecture": std::env::consts::ARCH,
        "part": part,
        "files": stage.keyed,
        "tools": tools,
        "variables": settings.variables,
        "certificates": settings.ca_bundle,
        "hosts": settings.hosts(),
    });
    Digest::of(all.to_string()).as_str().chars().take(40).collect()
}

/// Whether what is installed for `commit` brings pytest. `names`: its files.
pub(super) async fn brings_pytest(git: &super::git::Git, commit: &str, names: &[&str]) -> Result<bool, ServiceError> {
    if !names.iter().any(|name| plan::is_manifest(name)) {
        return Ok(false);
    }
    Ok(plan::brings_pytest(&stage::files(git, commit).await?))
}

/// How commands find what is installed.
#[derive(Debug, Default)]
struct Shown {
    binds: Vec<Bind>,
    env: Vec<(String, String)>,
    /// For people and models.
    notes: Vec<String>,
}

/// Lets the commands of a check-out with these files find all layers. `search`: the sandbox's path. Copies files, so it blocks.
fn show_all(held: Vec<Held>, files: &Path, search: &str) -> io::Result<(Vec<Held>, Shown)> {
    let scratch = files.with_file_name(SCRATCH);
    // A check-out that is used again has one of its last use.
    super::area::remove_tree(&scratch)?;
    std::fs::create_dir(&scratch)?;
    lock::open_to_others(&scratch)?;
    let mut shown = Shown::default();
    for held in &held {
        show(held, files, &scratch, &mut shown)?;
        shown.env.extend(environment::offline(&held.layer.mounts, search));
        shown.binds.extend(environment::offline_files(&held.layer.mounts, &scratch)?);
    }
    Ok((held, shown))
}

/// Lets commands find a layer. `scratch`: a directory for what goes with it.
fn show(held: &Held, files: &Path, scratch: &Path, shown: &mut Shown) -> io::Result<()> {
    for mount in &held.layer.mounts {
        let from = held.directory.join(&mount.from);
        if let Ok(place) = mount.to.strip_prefix(sandbox::ROOT)
            && !mount_point(files, place)?
        {
            let place = place.display();
            shown.notes.push(format!(
                "{place} holds something already, so what was installed for it is not shown there. Remove it to have that."
            ));
            continue;
        }
        if mount.to == Path::new(environment::GO_BUILD) {
            let cache = scratch.join("go-build");
            layers::link_farm(&from, &cache, Path::new(environment::GO_BUILD_SEED))?;
            shown.binds.push(Bind { from, to: environment::GO_BUILD_SEED.into(), writable: false });
            shown.binds.push(Bind { from: cache, to: mount.to.clone(), writable: true });
            continue;
        }
        if mount.to == Path::new(environment::GRADLE) && layers::is_of_old_gradle(&from) {
            let cache = scratch.join("gradle");
            layers::gradle_farm(&from.join("caches"), &cache, &mount.to.join("caches"))?;
            shown.binds.push(Bind { from: cache, to: environment::GRADLE_CACHES.into(), writable: true });
        }
        shown.binds.push(Bind { from: from.clone(), to: mount.to.clone(), writable: false });
        for name in CACHES_OF_TOOLS.iter().filter(|name| from.join(name).is_dir()) {
            let cache = scratch.join(format!("cache-{}", shown.binds.len()));
            std::fs::create_dir(&cache)?;
            shown.binds.push(Bind { from: cache, to: mount.to.join(name), writable: true });
        }
    }
    for path in &held.layer.copies {
        let place = Path::new(path);
        if place.parent().is_none_or(|parent| directories(files, parent).unwrap_or(false)) {
            layers::copy_tree(&held.directory.join(layers::COPIES).join(path), &files.join(path))?;
        }
    }
    Ok(())
}

/// Makes an empty directory to mount something on. False: the repository has something else there.
fn mount_point(files: &Path, place: &Path) -> io::Result<bool> {
    if !directories(files, place)? {
        return Ok(false);
    }
    Ok(std::fs::read_dir(files.join(place))?.next().is_none())
}

/// Makes the directories of a path below `files`, through no link. False: something else is in the way.
fn directories(files: &Path, place: &Path) -> io::Result<bool> {
    let mut path = files.to_owned();
    for part in place.components() {
        path.push(part);
        match path.symlink_metadata() {
            Ok(data) if data.is_dir() => {}
            Ok(_) => return Ok(false),
            Err(_) => std::fs::create_dir(&path)?,
        }
    }
    Ok(true)
}

/// The `setup` of a `ticketwright.toml`: one command or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Commands {
    /// One.
    One(String),
    /// Several, of which the first that fails ends the set-up. None: nothing is installed.
    List(Vec<String>),
}

impl Commands {
    fn lines(&self) -> &[String] {
        match self {
            Self::One(command) => std::slice::from_ref(command),
            Self::List(commands) => commands,
        }
    }
}

#[cfg(test)]
mod probes;
#[cfg(test)]
mod tests;
