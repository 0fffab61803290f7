//! Whether this host can run the sandbox: the real profile run once, and what is missing said by name.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::Uid;
use workflows::contract::failure::FailureKind;

use super::command::{Command, Exit};
use super::etc::Etc;
use super::groups::Groups;
use super::inside::Answer;
use super::launcher::Launcher;
use super::slots::Slots;
use super::{INSIDE, Inner, Sandbox, Settings, inside, raw, seccomp};
use crate::failure::ServiceError;

/// The oldest bubblewrap that can close the user namespace behind itself (`--disable-userns`).
const OLDEST_BUBBLEWRAP: (u32, u32) = (0, 8);

/// How a worker comes to control groups. In a container (Docker 28, moby/moby#48828) its own is mounted read-only otherwise.
const GROUPS: &str = " To have them: run the worker as root, or as a systemd service with Delegate=memory pids; in a container as \
                      root with docker run --security-opt writable-cgroups=true (Docker 28 or later).";

/// What a command must find inside; prints one line for each that it does not find.
const LOOK: &str = r#"
status() { grep -q "^$1:.$2\$" /proc/self/status; }
for tool in grep ls git; do command -v $tool >/dev/null || echo "missing: $tool in /usr"; done
status Seccomp 2 || echo "missing: seccomp filters (CONFIG_SECCOMP_FILTER)"
status NoNewPrivs 1 || echo "missing: no_new_privs"
status CapEff 0000000000000000 || echo "missing: dropped capabilities"
[ -z "$(ls /sys/class/net 2>/dev/null)" ] || echo "missing: an empty /sys"
[ "$(grep -c : /proc/net/dev)" = 1 ] || echo "missing: a network namespace of its own"
"#;

/// See [`Sandbox::probe`].
pub(super) async fn run(settings: Settings, may_move: bool) -> Result<Sandbox, ServiceError> {
    if let Some(call) = raw::missing_call() {
        return Err(unsupported(format!("this kernel refuses {call}: run the worker where it is allowed")));
    }
    check_version(&settings.bubblewrap).await?;
    let filter = seccomp::program()
        .map_err(|error| unsupported("the system-call filter does not compile here".into()).caused_by(error))?;
    let launcher = Launcher::start()
        .map_err(|error| unsupported("the sandbox launcher cannot start a thread".into()).caused_by(error))?;
    let helper = inside::find(&settings);
    let (state, etc) = state(&settings, helper.as_deref().ok())?;
    let slots = Slots::new(settings.first_uid, settings.slots, &state);

    let mut warnings = Vec::new();
    let (groups, missing) = if settings.control_groups {
        Groups::find(settings.memory_bytes, settings.processes, may_move)
    } else {
        (Groups::none(), vec!["switched off by control_groups = false".into()])
    };
    if !missing.is_empty() {
        let then =
            if groups.count_memory() { "limits per process hold" } else { "memory is watched four times a second" };
        let what = if groups.count_memory() { "Not all control groups" } else { "No control groups" };
        // What a worker does for itself when it starts needs nobody.
        let by_itself = missing.iter().any(|why| why.contains("moves itself"));
        let remedy = if settings.control_groups && !by_itself { GROUPS } else { "" };
        warnings.push(format!("{what} ({}); {then}.{remedy}", missing.join("; ")));
    }
    if let Err(why) = &helper {
        warnings.push(format!("No Landlock ({why}); the other layers hold."));
    }
    let mib = settings.disk_bytes >> 20;
    warnings.push(format!(
        "Disk is a soft cap: a command is stopped a quarter of a second to some seconds after {mib} MB."
    ));
    let mut sandbox = Sandbox::new(Inner {
        settings,
        filter,
        launcher,
        slots,
        groups: Arc::new(groups),
        etc,
        helper: helper.is_ok(),
    });

    look(&sandbox).await?;
    if sandbox.has_helper()
        && let Some(why) = sandbox.try_landlock().await?
    {
        sandbox.warn(format!("No Landlock ({why}); the other layers hold."));
    }
    let us = nix::unistd::geteuid();
    if !sandbox.counts_alone && !us.is_root() {
        // As root each sandbox has a user of its own; the helper sets the limit inside, where it counts that sandbox only.
        sandbox.warn(format!("Processes of user {us} are counted together: commands side by side share one limit."));
    }
    for warning in warnings {
        sandbox.warn(warning);
    }
    Ok(sandbox)
}

/// The directory for the sandbox's own files, and its `/etc` in it.
fn state(settings: &Settings, helper: Option<&Path>) -> Result<(PathBuf, Etc), ServiceError> {
    let mut failed = None;
    for state in settings.states() {
        match open_state(&state).and_then(|()| Etc::make(&state, &settings.read_only, helper)) {
            Ok(etc) => return Ok((state, etc)),
            Err(error) => failed = Some((state, error)),
        }
    }
    let (state, error) = failed.unwrap_or_else(|| (PathBuf::new(), io::ErrorKind::NotFound.into()));
    let named = state.display();
    Err(unsupported(format!(
        "{named} cannot be used for the sandbox's own files ({error}): set [sandbox] state to a directory of the worker's own, or to \
         one that it can make"
    ))
    .caused_by(error))
}

/// Makes the directory. As root the sandbox's users pass through it and see no names; otherwise they are us. One that is there
/// stays as it is: it may be somebody else's.
fn open_state(state: &Path) -> io::Result<()> {
    let us = nix::unistd::geteuid();
    let mode = if us.is_root() { 0o711 } else { 0o700 };
    if let Some(above) = state.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(above)?;
    }
    match fs::DirBuilder::new().mode(mode).create(state) {
        // Whatever our umask is.
        Ok(()) => fs::set_permissions(state, Permissions::from_mode(mode))?,
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) => {}
    }
    match why_not(&state.metadata()?, us, statvfs(state)?.flags()) {
        Some(why) => Err(io::Error::new(io::ErrorKind::PermissionDenied, why)),
        None => Ok(()),
    }
}

/// Why a directory that is there cannot be the sandbox's own.
fn why_not(found: &Metadata, us: Uid, mounted: FsFlags) -> Option<String> {
    if !found.is_dir() {
        Some("it is no directory".into())
    } else if found.uid() != us.as_raw() {
        Some(format!("it belongs to user {}, the worker is {us}", found.uid()))
    } else if found.mode() & 0o022 != 0 {
        Some("others may write to it".into())
    } else if us.is_root() && found.mode() & 0o001 == 0 {
        Some("others may not pass through it; chmod o+x lets them".into())
    } else if mounted.contains(FsFlags::ST_NOEXEC) {
        // The helper in it has to run.
        Some("its file system is mounted noexec".into())
    } else {
        None
    }
}

async fn look(sandbox: &Sandbox) -> Result<(), ServiceError> {
    let script = format!("{LOOK}\necho looked");
    let finished = sandbox.run(Command::script(&script, None, Duration::from_secs(30))).await?;
    let said = finished.stdout.text();
    let missing: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("missing: ")).collect();
    match finished.exit {
        Exit::Code(0) if said == "looked\n" => Ok(()),
        Exit::Code(0) if !missing.is_empty() => {
            Err(unsupported(format!("the sandbox starts but is not complete, it lacks: {}", missing.join(", "))))
        }
        Exit::LaunchFailed(why) => Err(unsupported(format!("the sandbox does not start: {why}{}", hint(&why)))),
        other => Err(unsupported(format!(
            "the sandbox starts but bash does not work in it ({other}): {}. It needs bash, grep, ls and git in /usr",
            said.trim_end()
        ))),
    }
}

impl Sandbox {
    /// Lets the helper say how far Landlock goes, from inside, and uses it if it goes anywhere. Otherwise: why not.
    async fn try_landlock(&mut self) -> Result<Option<String>, ServiceError> {
        let about = Command::script(&format!("exec {INSIDE} about"), None, Duration::from_secs(30));
        let finished = self.run(about).await?;
        let said = finished.stdout.text();
        let another = || unsupported("ticketwright-inside is of another version: install both from one release".into());
        Ok(match (finished.exit, inside::answer(&said)) {
            (_, Answer::AnotherVersion) => return Err(another()),
            (Exit::Code(0), Answer::Holds) => {
                self.use_landlock();
                // Between two releases the version is the same, and yet what it is told may not be.
                let confined = self.run(Command::script("exit 0", None, Duration::from_secs(30))).await?;
                if confined.exit != Exit::Code(0) && inside::has_refused(&confined.stdout.text()) {
                    return Err(another());
                }
                None
            }
            (Exit::Code(0), Answer::None) => Some("this kernel has none, it came with 5.13".to_owned()),
            (exit, _) => Some(format!("{INSIDE} does not run: {exit}, {}", said.trim())),
        })
    }
}

fn unsupported(what: String) -> ServiceError {
    ServiceError::new(FailureKind::Unsupported, what)
}

async fn check_version(bubblewrap: &Path) -> Result<(), ServiceError> {
    let (major, minor) = OLDEST_BUBBLEWRAP;
    let install = format!("install bubblewrap {major}.{minor} or later");
    let named = bubblewrap.display();
    let mut version = tokio::process::Command::new(bubblewrap);
    version.arg("--version").env_clear().kill_on_drop(true);
    let output = match tokio::time::timeout(Duration::from_secs(10), version.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(unsupported(format!("{named} is missing: {install}")));
        }
        Ok(Err(error)) => return Err(unsupported(format!("{named} cannot be run: {error}; {install}"))),
        Err(_) => return Err(unsupported(format!("{named} --version does not answer; {install}"))),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let found = said.trim().rsplit(' ').next().unwrap_or_default();
    let mut numbers = found.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(a)), Some(Ok(b))) if (a, b) >= OLDEST_BUBBLEWRAP => Ok(()),
        (Some(Ok(_)), Some(Ok(_))) => {
            Err(unsupported(format!("{named} is version {found}, which is too old: {install}")))
        }
        _ => Err(unsupported(format!("{named} does not tell a version: {install}"))),
    }
}

/// What to do about bubblewrap's most common complaints.
fn hint(complaint: &str) -> &'static str {
    if complaint.contains("Unknown option") {
        ". Install bubblewrap 0.8 or later"
    } else if complaint.contains("mount proc") {
        ". The container hides parts of /proc: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
         --security-opt systempaths=unconfined; in Kubernetes procMount: Unmasked"
    } else if ["uid map", "namespace", "clone", "No permissions", "userns"].iter().any(|word| complaint.contains(word))
    {
        ". Allow unprivileged user namespaces: sysctl kernel.unprivileged_userns_clone=1 and \
         user.max_user_namespaces > 0; on Ubuntu 24.04 an AppArmor profile for bwrap; docker run \
         --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined"
    } else if complaint.contains("seccomp") || complaint.contains("SECCOMP") {
        ". The kernel needs CONFIG_SECCOMP_FILTER"
    } else if complaint.contains("Permission denied") {
        ". Every directory above what it names must let other users pass (chmod o+x); ticketwright check says which does not"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_there_keeps_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("above/state");
        open_state(&state).unwrap();
        open_state(&state).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o7777;
        assert_eq!(mode(&state), if nix::unistd::geteuid().is_root() { 0o711 } else { 0o700 });
        for (there, accepted) in [(0o1777, false), (0o775, false), (0o755, true)] {
            fs::set_permissions(&state, Permissions::from_mode(there)).unwrap();
            assert_eq!(open_state(&state).is_ok(), accepted, "{there:o}");
            assert_eq!(mode(&state), there);
        }
        let file = directory.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(open_state(&file).unwrap_err().to_string().contains("no directory"));
    }

    #[test]
    fn a_file_system_without_programs_is_told() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let why = |mounted| why_not(&directory.path().metadata().unwrap(), nix::unistd::geteuid(), mounted);
        assert_eq!(why(FsFlags::ST_NOSUID | FsFlags::ST_NOEXEC), Some("its file system is mounted noexec".into()));
        assert_eq!(why(FsFlags::ST_NOSUID), None);
    }

    #[test]
    fn what_containers_refuse_has_advice() {
        for complaint in [
            "bwrap: Can't mount proc on /newroot/proc: Operation not permitted",
            "bwrap: No permissions to create new namespace, likely because the kernel does not allow non-privileged user namespaces",
        ] {
            let advice = hint(complaint);
            for option in ["seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined"] {
                assert!(advice.contains(option), "{complaint}: {advice}");
            }
        }
    }
}
