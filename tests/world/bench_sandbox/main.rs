//! `make bench-sandbox`: what the sandbox costs beside bubblewrap alone, and beside no sandbox.
//!
//! - `launch`: a command that does nothing, in our sandbox, in plain bubblewrap with the same namespaces started as the same user,
//!   and by itself; one after the other, so that a busy machine slows all three.
//! - `build`: a C project compiled inside and outside, one after the other.
//!
//! Prints a table for each and ends with an error when a bar is missed. `docs/benchmarks.md` says what the numbers mean.

#[path = "../bench_agent/table.rs"]
#[expect(dead_code, reason = "the other benchmark compares counts, this one times")]
mod table;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use activities::sandbox::{self, Exit, Sandbox, Settings};
use clap::Parser;
use tempfile::TempDir;

use table::{Report, median};

/// Measures the sandbox.
#[derive(Debug, Parser)]
#[command(name = "bench_sandbox")]
struct Options {
    /// Launches of each kind.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    launches: u32,
    /// Builds of each kind.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    builds: u32,
}

/// The user of what runs beside the sandbox, when we are root. The sandbox's own begin right behind it.
const USER: u32 = 64_099;
/// A launch may take so many times what bubblewrap alone takes.
const LAUNCH: f64 = 1.5;
/// A build may take so many times what it takes outside.
const BUILD: f64 = 1.05;
/// Files of the C project.
const FILES: u32 = 40;
/// Functions in each of them: enough to make the compiler work.
const FUNCTIONS: u32 = 120;

/// The namespaces of our profile, the second user namespace that closes the first one included, and the mounts that anything
/// needs to run; without its hardening, files, limits and filters.
const PLAIN: &str = "--unshare-all --unshare-user --disable-userns --die-with-parent --clearenv --ro-bind /usr /usr --symlink usr/bin /bin \
    --symlink usr/lib /lib --symlink usr/lib64 /lib64 --proc /proc --dev /dev --tmpfs /tmp --";

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // On a thread of the runtime, as the worker's activities are.
    let held = runtime.block_on(runtime.spawn(measure(options)))??;
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(options: Options) -> anyhow::Result<bool> {
    let mut report = Report::default();
    let sandbox = Sandbox::probe(Settings::default()).await?;
    sandbox.warnings().iter().try_for_each(|warning| report.line(&format!("note: {warning}")))?;
    launch(&sandbox, options.launches, &mut report).await?;
    build(&sandbox, options.builds, &mut report).await?;
    report.finish()
}

/// Starts of a command that does nothing, in milliseconds.
async fn launch(sandbox: &Sandbox, rounds: u32, report: &mut Report) -> anyhow::Result<()> {
    let directory = open_directory()?;
    let (mut ours, mut plain, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    // The first starts fill caches.
    for round in 0..rounds + 5 {
        let started = Instant::now();
        let command = sandbox::Command {
            argv: vec!["/bin/true".into()],
            ..sandbox::Command::script("", Some(directory.path().into()), Duration::from_secs(30))
        };
        let finished = sandbox.run(command).await?;
        anyhow::ensure!(finished.exit == Exit::Code(0), "{:?}", finished.exit);
        let in_ours = milliseconds(started);
        let in_plain = run("/usr/bin/bwrap", PLAIN.split_whitespace().chain(["/bin/true"]), directory.path())?;
        let in_bare = run("/bin/true", [], directory.path())?;
        if round >= 5 {
            ours.push(in_ours);
            plain.push(in_plain);
            bare.push(in_bare);
        }
    }
    report.line(&format!("\nStart of a command, {rounds} of each, in ms      p50      p95"))?;
    for (what, times) in [("our sandbox", &ours), ("plain bubblewrap", &plain), ("no sandbox", &bare)] {
        report.line(&format!("  {what:<38} {:>8.2} {:>8.2}", median(times.clone()), percentile(times, 95)))?;
    }
    report.bar("our sandbox : plain bubblewrap, p50", median(ours) / median(plain), LAUNCH)
}

/// Builds of a C project, in seconds.
async fn build(sandbox: &Sandbox, rounds: u32, report: &mut Report) -> anyhow::Result<()> {
    let directory = open_directory()?;
    let script = "rm -rf out; mkdir out; for f in *.c; do cc -O2 -c $f -o out/$f.o || exit 1; done; cc out/*.o -o out/all && out/all";
    for file in 0..FILES {
        fs::write(directory.path().join(format!("part{file}.c")), source(file))?;
    }
    let main: String = (0..FILES).map(|file| format!("int part{file}(int); ")).collect();
    let calls: String = (0..FILES).map(|file| format!(" + part{file}({file})")).collect();
    fs::write(directory.path().join("main.c"), format!("{main}\nint main(void) {{ return (0{calls}) == 42; }}\n"))?;

    let (mut inside, mut outside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let started = Instant::now();
        let command = sandbox::Command::script(script, Some(directory.path().into()), Duration::from_secs(300));
        let finished = sandbox.run(command).await?;
        anyhow::ensure!(finished.exit == Exit::Code(0), "{:?} {}", finished.exit, finished.stdout.text());
        let in_sandbox = milliseconds(started) / 1000.0;
        give_away(directory.path())?;
        let by_itself = run("/bin/bash", ["-c", script], directory.path())? / 1000.0;
        if round > 0 {
            inside.push(in_sandbox);
            outside.push(by_itself);
            ratios.push(in_sandbox / by_itself);
        }
    }
    report.line(&format!("\nBuild of {FILES} files of C, {rounds} of each, in s      p50"))?;
    report.line(&format!("  {:<38} {:>8.2}", "inside", median(inside)))?;
    report.line(&format!("  {:<38} {:>8.2}", "outside", median(outside)))?;
    report.bar("inside : outside, median of the rounds", median(ratios), BUILD)
}

/// Runs a program to its end as the user beside the sandbox; the time in milliseconds.
fn run<'a>(program: &str, arguments: impl IntoIterator<Item = &'a str>, directory: &Path) -> anyhow::Result<f64> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).env_clear().env("PATH", "/usr/bin:/bin").env("TMPDIR", "/tmp");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    if is_root()? {
        command.uid(USER).gid(USER);
    }
    let started = Instant::now();
    let status = command.status()?;
    anyhow::ensure!(status.success(), "{program}: {status}");
    Ok(milliseconds(started))
}

/// Who owns the process's own directory in `/proc` is who we are.
fn is_root() -> anyhow::Result<bool> {
    Ok(std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self")?) == 0)
}

/// The sandbox has made the files its user's own.
fn give_away(directory: &Path) -> anyhow::Result<()> {
    if !is_root()? {
        return Ok(());
    }
    chown(directory, Some(USER), Some(USER))?;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        chown(&path, Some(USER), Some(USER))?;
        if path.is_dir() {
            give_away(&path)?;
        }
    }
    Ok(())
}

fn open_directory() -> anyhow::Result<TempDir> {
    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
    Ok(directory)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// The value below which `percent` of the values are.
fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// A file of the project.
fn source(file: u32) -> String {
    let function = |n: u32| {
        format!(
            "static int f{n}(int x) {{ int s = {n}; for (int i = 0; i < x % 97; i++) {{ s = s * 31 + (i ^ x); if (s % {} == 3) s -= i; }} return s; }}\n",
            n + file + 2
        )
    };
    let functions: String = (0..FUNCTIONS).map(function).collect();
    let calls: String = (0..FUNCTIONS).map(|n| format!(" + f{n}(x + {n})")).collect();
    format!("#include <stdio.h>\n#include <stdlib.h>\n{functions}int part{file}(int x) {{ return 0{calls}; }}\n")
}
