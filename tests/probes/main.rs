//! `make sandbox-probes`: what a command must not be able to do, tried from inside the real sandbox.
//!
//! The sandbox is started as root (if we are) and as a normal user. Each probe has to hold; without a sandbox it has to get
//! through; and with one lock taken off (`shim.py` in bubblewrap's place, or a limit raised) exactly the probes of that lock have to
//! be lost. `make test` does the first, and three locks.
//!
//! Runs without the test harness, because it starts itself again as another user, with a planted word in its environment.

#![expect(clippy::needless_raw_string_hashes, reason = "probes are scripts, and written alike")]

mod abuse;
mod filesystem;
mod git;
mod host;
mod kernel;
mod network;
mod probe;
mod processes;
mod report;
mod secrets;
mod weaken;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use activities::sandbox::{self, Exit, Sandbox, Settings};
use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};

use abuse::{ABUSES, ALONE};
use host::{Host, Workspace};
use probe::{GROUPS, Outside, PRELUDE, Probe};
use report::{Outcome, Report};
use weaken::{ALL, ALL_LOOSE, Loose, Weakness};

/// The first of so many ids for the normal user. Nobody else on the host should have them; the sandbox's own begin at 64,100. Two
/// runs at once are two users: without a helper a user's processes count together.
const USERS: (u32, u32) = (64_000, 100);
/// Probes at the same time.
const AT_ONCE: usize = 4;
/// Time that one probe may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The locks that `make test` takes off.
const FEW: [Weakness; 3] = [Weakness::Network, Weakness::Seccomp, Weakness::Git];

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let held = match words.as_slice() {
        ["start", who, how_much, directory] => {
            let probed = runtime()?.block_on(probe_all(who, *how_much == "all", directory.as_ref()));
            probed.unwrap_or_else(|error| {
                Report::default().say(&format!("Sandbox started as {who}: {error:#}"));
                false
            })
        }
        ["hold", bubblewrap, files, script] => {
            runtime()?.block_on(abuse::hold(bubblewrap, files, script))?;
            true
        }
        // What cargo passes on is a filter by name, or an option of the harness we do not have.
        [filter, ..] if *filter != "all" && !filter.starts_with('-') && !"sandbox_probes".contains(filter) => true,
        _ => start_all(if words.contains(&"all") { "all" } else { "few" })?,
    };
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Starts this program as root and as a normal user, each with its own directory, word and mounts.
fn start_all(how_much: &str) -> anyhow::Result<bool> {
    let base = tempfile::tempdir()?;
    fs::set_permissions(base.path(), Permissions::from_mode(0o755))?;
    let program = base.path().join("probes");
    let own = std::env::current_exe()?;
    link(&own, &program)?;
    let helper = own.ancestors().skip(1).take(2).map(|directory| directory.join("ticketwright-inside"));
    if let Some(helper) = helper.into_iter().find(|path| path.is_file()) {
        link(&helper, &base.path().join("ticketwright-inside"))?;
    }
    let is_root = Command::new("id").arg("-u").output()?.stdout == b"0\n";
    let user = USERS.0 + std::process::id() % USERS.1;
    let id = user.to_string();
    let mut held = true;
    for who in if is_root { &["root", "user"][..] } else { &["user"] } {
        let directory = base.path().join(who);
        fs::create_dir(&directory)?;
        fs::set_permissions(&directory, Permissions::from_mode(0o755))?;
        let word = format!("secret-{}-{who}-of-the-worker", std::process::id());
        fs::write(directory.join("secret"), &word)?;
        let mut line: Vec<&str> = Vec::new();
        if is_root {
            line.extend(["unshare", "--mount", "--propagation", "private"]);
        }
        if is_root && *who == "user" {
            std::os::unix::fs::chown(&directory, Some(user), Some(user))?;
            std::os::unix::fs::chown(directory.join("secret"), Some(user), Some(user))?;
            line.extend(["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"]);
        }
        let mut start = Command::new("/bin/bash");
        // A descriptor that is passed on, as careless libraries have them.
        start.args(["-c", "exec 9< \"$1/secret\"; shift; exec \"$@\"", "bash"]).arg(&directory).args(&line);
        start.arg(&program).args(["start", who, how_much]).arg(&directory).env("P_SECRET", &word);
        // A user without a home of its own.
        start.env("XDG_CACHE_HOME", &directory).stdin(Stdio::null());
        held &= start.status()?.success();
    }
    sandbox::remove_all(base.path())?;
    Ok(held)
}

fn link(from: &Path, to: &Path) -> anyhow::Result<()> {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to)?;
    }
    Ok(fs::set_permissions(to, Permissions::from_mode(0o755))?)
}

/// Everything, as the user that this process runs as. Whether all was as it must be.
async fn probe_all(who: &str, all: bool, directory: &Path) -> anyhow::Result<bool> {
    let word = std::env::var("P_SECRET").context("the planted word")?;
    let host = Host::plant(directory, &word)?;
    let mut report = Report::default();
    report.say(&format!("Sandbox started as {who}"));
    let sandbox = Sandbox::probe(weaken::small()).await?;
    let has_landlock = !sandbox.warnings().iter().any(|warning| warning.starts_with("No Landlock"));
    sandbox.warnings().iter().for_each(|warning| report.say(&format!("  note: {warning}")));
    for (group, outcomes) in scripts(&sandbox, &host).await? {
        report.group(group, &outcomes);
    }
    report.group("abuse", &abuses(&sandbox, &host, None, all).await?);
    report.sum();

    if all {
        report.outside(&outside(&host, who == "root").await?);
    }
    let without_landlock =
        Settings { inside: Some("/nonexistent/ticketwright-inside".into()), ..host.with_shim(weaken::small())? };
    for weakness in ALL.into_iter().filter(|weakness| all || FEW.contains(weakness)) {
        host.weaken("none")?;
        let weak = Sandbox::probe(without_landlock.clone()).await?;
        host.weaken(&format!("{weakness:?}"))?;
        let outcomes: Vec<Outcome> =
            scripts(&weak, &host).await?.into_iter().flat_map(|(_, outcomes)| outcomes).collect();
        let of = |kind: fn(&Probe) -> &'static [Weakness]| -> Vec<&'static str> {
            let all = GROUPS.iter().flat_map(|(_, probes)| *probes);
            all.filter(|probe| weakness.is_in(kind(probe))).map(|probe| probe.name).collect()
        };
        report.weakened(&format!("{weakness:?}"), &outcomes, &of(|probe| probe.lost_by), &of(|probe| probe.perhaps));
    }
    if has_landlock {
        host.weaken("none")?;
        let weak = Sandbox::probe(host.with_shim(weaken::small())?).await?;
        host.weaken("Remount")?;
        let outcomes: Vec<Outcome> =
            scripts(&weak, &host).await?.into_iter().flat_map(|(_, outcomes)| outcomes).collect();
        report.weakened("Remount, with Landlock", &outcomes, &[], &[]);
    }
    for loose in ALL_LOOSE.into_iter().filter(|_| all) {
        host.weaken("none")?;
        let weak = Sandbox::probe(host.with_shim(weaken::loosened(Some(loose)))?).await?;
        host.weaken(if loose == Loose::Parent { "Parent" } else { "none" })?;
        let outcomes = abuses(&weak, &host, Some(loose), all).await?;
        let lost = ABUSES.iter().filter(|abuse| abuse.lost_by.contains(&loose)).map(|abuse| abuse.name);
        report.weakened(&format!("{loose:?}"), &outcomes, &lost.collect::<Vec<_>>(), &[]);
    }
    Ok(report.end(who))
}

/// All scripts, by group: groups side by side, each in a workspace of its own. As root a workspace belongs to one sandbox at a
/// time, and what is done to `.git` is seen by the next.
async fn scripts(sandbox: &Sandbox, host: &Host) -> anyhow::Result<Vec<(&'static str, Vec<Outcome>)>> {
    let groups = GROUPS.map(|(group, probes)| async move {
        let workspace = host.workspace()?;
        let mut outcomes = Vec::new();
        for probe in probes {
            outcomes.push(run(sandbox, host, &workspace, probe).await?);
        }
        anyhow::Ok((group, outcomes))
    });
    futures::future::try_join_all(groups).await
}

async fn run(sandbox: &Sandbox, host: &Host, workspace: &Workspace, probe: &'static Probe) -> anyhow::Result<Outcome> {
    let script = format!("{PRELUDE}\n{}", probe.script);
    let command = sandbox::Command {
        binds: vec![workspace.git()],
        env: host.told.clone(),
        ..sandbox::Command::script(&script, Some(workspace.files.clone()), LIMIT)
    };
    let finished = sandbox.run(command).await?;
    anyhow::ensure!(!matches!(finished.exit, Exit::LaunchFailed(_)), "{}: {:?}", probe.name, finished.exit);
    Ok(Outcome { name: probe.name, leak: leak(host, &finished.stdout.text()) })
}

/// What came back, if a script was not refused.
fn leak(host: &Host, said: &str) -> Option<String> {
    let has_held = said.lines().last() == Some("held") && !said.contains(&host.word);
    (!has_held).then(|| said.trim().replace('\n', " | ").chars().take(200).collect())
}

/// Abuses, the first of them each alone.
async fn abuses(sandbox: &Sandbox, host: &Host, loose: Option<Loose>, all: bool) -> anyhow::Result<Vec<Outcome>> {
    let run = |abuse: &'static abuse::Abuse| async move {
        let leak = abuse.leak(sandbox, host, loose, all).await.with_context(|| abuse.name)?;
        anyhow::Ok(Outcome { name: abuse.name, leak })
    };
    let (alone, others) = ABUSES.split_at(ALONE);
    let mut outcomes: Vec<Outcome> = futures::stream::iter(alone.iter().map(run)).buffered(1).try_collect().await?;
    let others: Vec<Outcome> = futures::stream::iter(others.iter().map(run)).buffered(AT_ONCE).try_collect().await?;
    outcomes.extend(others);
    Ok(outcomes)
}

/// Each script that should get through where nothing holds it, run by plain bash: what each came to.
async fn outside(host: &Host, is_root: bool) -> anyhow::Result<Vec<Outcome>> {
    let expected = |probe: &&'static Probe| match probe.outside {
        Outside::Anybody => true,
        Outside::Root => is_root,
        Outside::Untold => false,
    };
    let mut outcomes = Vec::new();
    for (_, probes) in GROUPS {
        let workspace = host.workspace()?;
        for probe in probes.iter().filter(expected) {
            let script = format!("{PRELUDE}\n{}", probe.script);
            let mut bash = tokio::process::Command::new("/bin/bash");
            bash.args(["-c", &script]).envs(host.told.iter().cloned()).current_dir(&workspace.files);
            bash.env("PATH", "/usr/local/bin:/usr/bin:/usr/sbin:/bin").stdin(Stdio::null()).kill_on_drop(true);
            let output = tokio::time::timeout(LIMIT, bash.output()).await.with_context(|| probe.name)??;
            outcomes.push(Outcome { name: probe.name, leak: leak(host, &String::from_utf8_lossy(&output.stdout)) });
        }
    }
    Ok(outcomes)
}
