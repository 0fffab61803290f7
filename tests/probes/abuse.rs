//! Commands that take more than they may. Each is bounded, also where a limit is raised.

use std::ffi::OsString;
use std::fs::DirEntry;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use activities::sandbox::{Command, Exit, Finished, Sandbox};
use anyhow::Context as _;

use crate::host::Host;
use crate::weaken::Loose;

/// What is tried, and which raised limit loses it.
pub(crate) struct Abuse {
    /// What is tried.
    pub(crate) name: &'static str,
    /// Raised limits that lose it.
    pub(crate) lost_by: &'static [Loose],
    how: How,
}

enum How {
    /// The script says `held`.
    Held(&'static str),
    /// The script is stopped; the text says why.
    Over(&'static str, &'static str),
    /// The script runs longer than it may, and nothing of it stays. `MARK` in it is an argument by which it is found.
    TimedOut(&'static str),
    /// The script leaves something behind that must end with it.
    Left(&'static str),
    /// Nobody waits for the script any more.
    Dropped(&'static str),
    /// The worker is killed while the script runs.
    Killed(&'static str),
    /// The script prints `BYTES` bytes, more than is kept, and the worker's memory does not grow with them.
    Printed(&'static str),
    /// A command that is too long never starts.
    TooLong,
    /// The first script has all that it gets when it makes a file `full`, and keeps it until there is a file `done`. Meanwhile the
    /// second runs in a sandbox beside it, and says `held`.
    Beside(&'static str, &'static str),
    /// The script leaves writers behind, and no file changes once the run has ended.
    Writers(&'static str),
}

/// All of them.
pub(crate) const ABUSES: &[Abuse] = &[
    abuse(
        "forks without end",
        &[Loose::Processes],
        How::Held(
            "python3 -c '
import os, time
n = 0
try:
    while n < 200:
        if os.fork() == 0: time.sleep(20); os._exit(0)
        n += 1
    print(\"leak\")
except BlockingIOError: print(\"held\")'",
        ),
    ),
    abuse(
        "threads without end",
        &[Loose::Processes],
        How::Held(
            "python3 -c '
import threading, time
threading.stack_size(65536)
try:
    for n in range(200): threading.Thread(target=time.sleep, args=(20,), daemon=True).start()
    print(\"leak\", flush=True)
except RuntimeError: print(\"held\", flush=True)
import os; os._exit(0)'",
        ),
    ),
    abuse(
        "takes a neighbour's processes",
        &[],
        How::Beside(
            "python3 -c '
import os, time
try:
    for n in range(2000):
        if os.fork() == 0: time.sleep(25); os._exit(0)
except BlockingIOError:
    open(\"full\", \"w\").close()
    end = time.time() + 20
    while not os.path.exists(\"done\") and time.time() < end: time.sleep(0.05)'",
            "python3 -c '
import os, time
try:
    for n in range(40):
        if os.fork() == 0: time.sleep(1); os._exit(0)
    print(\"held\")
except BlockingIOError: print(\"leak\")'",
        ),
    ),
    abuse(
        "opens files without end",
        &[Loose::OpenFiles],
        How::Held(
            "python3 -c '
try:
    kept = [open(\"/dev/null\") for n in range(2000)]
    print(\"leak\")
except OSError: print(\"held\")'",
        ),
    ),
    abuse(
        "one large file",
        &[Loose::FileSize],
        How::Held(
            "head -c 33000000 /dev/zero > large 2>/dev/null; s=$(stat -c %s large); rm large; [ \"$s\" -le 16777216 ] && echo held",
        ),
    ),
    abuse("a dump of memory", &[], How::Held("[ \"$(ulimit -Hc)\" = 0 ] && echo held")),
    abuse(
        "memory of one process",
        &[Loose::Memory],
        How::Held("python3 -c 'b = bytearray(500 << 20)' 2>/dev/null && echo leak || echo held"),
    ),
    abuse(
        "memory of many processes",
        &[Loose::Memory],
        How::Over(
            "memory: ",
            "for i in 1 2 3 4 5; do python3 -c 'import time; b = bytearray(b\"x\") * (80 << 20); time.sleep(4)' & done; wait",
        ),
    ),
    abuse(
        "memory without a name",
        &[Loose::Memory],
        How::Over(
            "memory: ",
            "python3 -c '
import os, time
kept = [os.memfd_create(str(n)) for n in range(30)]
for f in kept:
    for at in range(15): os.pwrite(f, b\"x\" * (1 << 20), at << 20)
time.sleep(4)'",
        ),
    ),
    abuse(
        "fills the disk",
        &[Loose::Disk],
        How::Over("disk: ", "for i in 1 2 3 4 5; do head -c 15000000 /dev/zero > f$i; done; sleep 8"),
    ),
    abuse(
        "fills the disk with files without a name",
        &[Loose::Disk],
        How::Over(
            "disk: ",
            "for i in 11 12 13 14 15; do eval \"exec $i> gone\"; rm gone; head -c 15000000 /dev/zero >&$i; done; sleep 8",
        ),
    ),
    abuse(
        "makes files without end",
        &[Loose::Files],
        How::Over(
            "disk: ",
            "python3 -c '\nimport time\nfor n in range(4000): open(str(n), \"w\").close()\ntime.sleep(8)'",
        ),
    ),
    abuse(
        "nests directories without end",
        &[],
        How::Over(
            "disk: ",
            "python3 -c '\nimport os, time\nfor n in range(1200): os.mkdir(\"d\"); os.chdir(\"d\")\ntime.sleep(8)'",
        ),
    ),
    abuse("hangs", &[Loose::Time], How::TimedOut("sleep MARK")),
    abuse(
        "hangs with descendants in sessions of their own",
        &[Loose::Time],
        How::TimedOut("trap '' TERM HUP; setsid sleep MARK & (setsid sleep MARK &) ; sleep MARK"),
    ),
    abuse("leaves a daemon behind", &[], How::Left("setsid sleep MARK > /dev/null 2>&1 & echo started")),
    abuse(
        "leaves writers behind",
        &[],
        How::Writers(
            "for n in $(seq 60); do (while :; do echo x >> file$n; done) > /dev/null 2>&1 & done; sleep 0.3; exit 0",
        ),
    ),
    abuse("nobody waits for it any more", &[], How::Dropped("setsid sleep MARK & sleep MARK")),
    abuse("its worker is killed", &[Loose::Parent], How::Killed("sleep MARK")),
    abuse("prints without end", &[Loose::Output], How::Printed("head -c BYTES /dev/zero")),
    abuse("is longer than the system takes", &[], How::TooLong),
];

/// Seconds that a marked command sleeps: long against everything else, unless the raised time is waited for.
const LONG: &str = "4";
/// Bytes of output that are kept.
const KEPT: usize = 10_000;
/// Bytes that are printed, and in the whole form, where that takes some seconds.
const PRINTED: u64 = 200_000_000;
const PRINTED_IN_ALL: u64 = 10 << 30;
/// Bytes by which the worker's memory may grow meanwhile: it does other things, too.
const GROWN: u64 = 64 << 20;

/// Commands that were marked.
static MARKS: AtomicU64 = AtomicU64::new(0);

/// How many of the first abuses must run alone: they use up what all of a user's sandboxes share.
pub(crate) const ALONE: usize = 3;

const fn abuse(name: &'static str, lost_by: &'static [Loose], how: How) -> Abuse {
    Abuse { name, lost_by, how }
}

impl Abuse {
    /// `None`: held. Otherwise what came back.
    pub(crate) async fn leak(
        &self,
        sandbox: &Sandbox,
        host: &Host,
        loose: Option<Loose>,
        all: bool,
    ) -> anyhow::Result<Option<String>> {
        let workspace = host.workspace()?;
        let mark = format!("{LONG}.{}{:06}", std::process::id(), MARKS.fetch_add(1, Ordering::Relaxed));
        let limit = match (&self.how, loose) {
            (How::TimedOut(_), Some(Loose::Time)) => 20_000,
            (How::TimedOut(_), _) => 1_000,
            (How::Printed(_), _) => 120_000,
            _ => 30_000,
        };
        // Once: where a limit is raised, few show the same.
        let printed = if all && loose.is_none() { PRINTED_IN_ALL } else { PRINTED };
        let command = |script: &str| {
            let cap = if loose == Some(Loose::Output) { 1 << 20 } else { KEPT };
            let script = script.replace("MARK", &mark).replace("BYTES", &printed.to_string());
            let limit = Duration::from_millis(limit);
            Command { output_cap: cap, ..Command::script(&script, Some(workspace.files.clone()), limit) }
        };
        let told = |finished: &Finished| format!("{:?} {}", finished.exit, finished.stdout.text());
        let leak = match &self.how {
            How::Held(script) => {
                let finished = sandbox.run(command(script)).await?;
                (finished.stdout.text().lines().last() != Some("held")).then(|| told(&finished))
            }
            How::Over(which, script) => {
                let finished = sandbox.run(command(script)).await?;
                let is_stopped = matches!(&finished.exit, Exit::OverLimit(said) if said.starts_with(which));
                (!is_stopped).then(|| told(&finished))
            }
            How::TimedOut(script) => {
                let finished = sandbox.run(command(script)).await?;
                (finished.exit != Exit::TimedOut || is_running(&mark)).then(|| told(&finished))
            }
            How::Left(script) => {
                let finished = sandbox.run(command(script)).await?;
                (finished.exit != Exit::Code(0) || is_running(&mark)).then(|| told(&finished))
            }
            How::Dropped(script) => {
                tokio::select! {
                    finished = sandbox.run(command(script)) => return Ok(Some(told(&finished?))),
                    started = until(|| is_running(&mark)) => started?,
                }
                is_running(&mark).then(|| "it runs on".to_owned())
            }
            How::Killed(script) => {
                let mut worker = worker(sandbox, &workspace.files, &script.replace("MARK", &mark))?;
                let started = until(|| is_running(&mark)).await;
                worker.kill()?;
                worker.wait()?;
                started.context("the worker's command did not start")?;
                let killed = Instant::now();
                until(|| !is_running(&mark)).await?;
                // By itself it ends after four seconds.
                (killed.elapsed() > Duration::from_millis(1_500)).then(|| "it ran to its end".to_owned())
            }
            How::Printed(script) => {
                let before = most_memory()?;
                let finished = sandbox.run(command(script)).await?;
                let (kept, grown) = (finished.stdout.text().len(), most_memory()? - before);
                let is_held = kept <= KEPT + 100 && grown <= GROWN && finished.stdout.total() == printed;
                (!is_held).then(|| {
                    let total = finished.stdout.total();
                    format!("{:?}, {kept} bytes kept of {total}, {grown} more in memory", finished.exit)
                })
            }
            How::TooLong => {
                let finished = sandbox.run(command(&"x".repeat(200_000))).await?;
                (!matches!(finished.exit, Exit::NotStarted(_))).then(|| told(&finished))
            }
            How::Beside(first, second) => {
                let beside = host.workspace()?;
                let neighbour = Command { workspace: Some(beside.files.clone()), ..command(second) };
                let (full, done) = (workspace.files.join("full"), workspace.files.join("done"));
                let meanwhile = async {
                    until(|| full.exists()).await.context("nothing was used up")?;
                    let finished = sandbox.run(neighbour).await;
                    std::fs::write(&done, "")?;
                    anyhow::Ok(finished)
                };
                let (bomb, finished) = tokio::join!(sandbox.run(command(first)), meanwhile);
                activities::sandbox::remove_all(&beside.files)?;
                bomb?;
                match finished? {
                    Ok(finished) => (finished.stdout.text().lines().last() != Some("held")).then(|| told(&finished)),
                    Err(error) => Some(error.to_string()),
                }
            }
            How::Writers(script) => {
                let finished = sandbox.run(command(script)).await?;
                let before = sizes(&workspace.files)?;
                // Whoever still writes does so thousands of times in this time.
                std::thread::sleep(Duration::from_millis(200));
                (before != sizes(&workspace.files)? || before.len() < 2).then(|| told(&finished))
            }
        };
        activities::sandbox::remove_all(&workspace.files)?;
        Ok(leak)
    }
}

/// The files in a directory, and how long each is.
fn sizes(directory: &Path) -> anyhow::Result<Vec<(OsString, u64)>> {
    let sized = |entry: std::io::Result<DirEntry>| {
        let entry = entry?;
        Ok((entry.file_name(), entry.metadata()?.len()))
    };
    let mut sizes: Vec<_> = std::fs::read_dir(directory)?.map(sized).collect::<anyhow::Result<_>>()?;
    sizes.sort();
    Ok(sizes)
}

/// A worker of its own, this program again, that runs `script`.
fn worker(sandbox: &Sandbox, files: &Path, script: &str) -> anyhow::Result<Child> {
    let mut worker = std::process::Command::new(std::env::current_exe()?);
    worker.arg("hold").arg(&sandbox.settings().bubblewrap).arg(files).arg(script);
    Ok(worker.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?)
}

/// What that worker does.
pub(crate) async fn hold(bubblewrap: &str, files: &str, script: &str) -> anyhow::Result<()> {
    let settings = activities::sandbox::Settings { bubblewrap: bubblewrap.into(), ..crate::weaken::small() };
    let sandbox = Sandbox::probe(settings).await?;
    sandbox.run(Command::script(script, Some(files.into()), Duration::from_secs(30))).await?;
    Ok(())
}

/// Whether a process of the host has `mark` among its arguments.
fn is_running(mark: &str) -> bool {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let has_mark =
        |line: Vec<u8>| line.split(|byte| *byte == 0).collect::<Vec<_>>() == [b"sleep", mark.as_bytes(), b""];
    all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok()).any(has_mark)
}

/// The most bytes that this process ever had in memory (`VmHWM`, proc_pid_status(5)).
fn most_memory() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes << 10)
}

async fn until(condition: impl Fn() -> bool) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs(15);
    while !condition() {
        anyhow::ensure!(Instant::now() < end, "waited in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
