//! `make bench-workspace`: what the calls of an agent cost on a repository of 200 MB, in a local directory, with the real sandbox.
//!
//! Prints a table and ends with an error when a bar is missed. `docs/benchmarks.md` says what the numbers mean.

#[path = "../bench_agent/table.rs"]
#[expect(dead_code, reason = "another benchmark compares counts, this one times")]
mod table;

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Instant;

use activities::blobs::Blobs;
use activities::failure::ServiceError;
use activities::sandbox::{self, Sandbox};
use activities::workspace::{Claim, GitRemote, Remote, Settings, SetupSettings, WorkspaceActivities};
use anyhow::Context as _;
use async_trait::async_trait;
use clap::Parser;
use secrecy::SecretString;
use serde_json::{Value, json};
use workflows::contract::ids::{CommitSha, RepositoryName};
use workflows::contract::tools::ToolCall;
use workflows::contract::workspace::{Workspace, WorkspaceCall};

use table::{Report, median};

/// Measures calls on workspaces.
#[derive(Debug, Parser)]
#[command(name = "bench_workspace")]
struct Options {
    /// Rounds, of all calls each.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=80))]
    rounds: u32,
}

/// What is measured, and the most milliseconds it may take, where there is a bar.
const CALLS: [(&str, Option<f64>); 7] = [
    ("open a workspace and run a command, warm", Some(1000.0)),
    ("the same in a ticket that has no work tree yet", None),
    ("read_file", Some(100.0)),
    ("search_text in one folder", Some(100.0)),
    ("edit_file with its snapshot", Some(300.0)),
    ("write_file with its snapshot", Some(300.0)),
    ("run_command that changes one file, with its snapshot", Some(300.0)),
];

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let held = runtime.block_on(measure(options.rounds))?;
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(rounds: u32) -> anyhow::Result<bool> {
    let mut report = Report::default();
    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
    let bench = Bench::open(directory.path()).await?;
    let base = bench.base.clone();
    let bytes = size(&directory.path().join("seed"), &[".git"])?;
    report.line(&format!("A repository of {} MB; medians of {rounds} rounds, in ms", bytes >> 20))?;

    let nothing = json!({"command": "true"});
    let began = Instant::now();
    bench.call("ticket-SHOP-1", &base, "list_files", json!({})).await?;
    report.line(&format!("  a new worker's mirror, and its first call: {:.0}", milliseconds(began)))?;
    bench.call("ticket-SHOP-1", &base, "run_command", nothing.clone()).await?;

    let mut times: [Vec<f64>; CALLS.len()] = Default::default();
    let mut now = base;
    for round in 0..rounds {
        let path = format!("src/package_{round}/module_{round}.py");
        let edit = json!({"path": path, "old": "def function_0(value):", "new": format!("def edited_{round}(value):")});
        let write = json!({"path": format!("notes/{round}.txt"), "content": "note\n"});
        let newcomer = format!("ticket-NEW-{round}");
        let calls = [
            ("ticket-SHOP-1", "run_command", nothing.clone()),
            // A ticket that has no work tree yet, on a worker that has the mirror.
            (&newcomer, "run_command", nothing.clone()),
            ("ticket-SHOP-1", "read_file", json!({"path": path})),
            ("ticket-SHOP-1", "search_text", json!({"pattern": "function_7\\(", "path": "src/package_3"})),
            ("ticket-SHOP-1", "edit_file", edit),
            ("ticket-SHOP-1", "write_file", write),
            ("ticket-SHOP-1", "run_command", json!({"command": format!("echo {round} >> {path}")})),
        ];
        for ((ticket, tool, input), times) in calls.into_iter().zip(&mut times) {
            let began = Instant::now();
            let after = bench.call(ticket, &now, tool, input).await?;
            times.push(milliseconds(began));
            now = after;
        }
    }
    for ((what, bar), times) in CALLS.into_iter().zip(times) {
        match bar {
            Some(most) => report.bar(what, median(times), most)?,
            None => report.line(&format!("    {what}: {:.3}", median(times)))?,
        }
    }
    report.finish()
}

/// A repository and a worker on it.
struct Bench {
    blobs: Blobs,
    worker: WorkspaceActivities,
    base: Workspace,
}

/// Finds the one repository in a directory.
struct LocalRemote(PathBuf);

#[async_trait]
impl Remote for LocalRemote {
    async fn clone_url_and_credentials(&self, _repository: &RepositoryName) -> Result<GitRemote, ServiceError> {
        let url = format!("file://{}", self.0.display());
        Ok(GitRemote { url, username: String::new(), token: SecretString::from("") })
    }

    async fn may_push(&self, _repository: &RepositoryName, _login: &str) -> Result<bool, ServiceError> {
        Ok(false)
    }
}

impl Bench {
    async fn open(directory: &Path) -> anyhow::Result<Self> {
        let seed = directory.join("seed");
        fs::create_dir(&seed)?;
        fill(&seed)?;
        git(&seed, &["init", "--quiet", "--initial-branch=main"])?;
        git(&seed, &["add", "--all"])?;
        git(
            &seed,
            &["-c", "user.name=Ana", "-c", "user.email=ana@acme.example", "commit", "--quiet", "--message=Start"],
        )?;
        git(directory, &["clone", "--quiet", "--bare", "seed", "origin.git"])?;
        let origin = directory.join("origin.git");
        let base: CommitSha = git(&origin, &["rev-parse", "main"])?.trim().parse()?;
        let base = Workspace::at("acme/shop".parse()?, base.clone(), base);

        let blobs = Blobs::open(directory.join("blobs").to_str().context("a path in UTF-8")?)?;
        let sandbox = Sandbox::probe(sandbox::Settings::default()).await?;
        let setup = SetupSettings { enabled: false, ..SetupSettings::default() };
        let settings = Settings { directory: directory.join("worker"), allow_file: true, setup, ..Settings::default() };
        let worker = WorkspaceActivities::open(settings, blobs.clone(), sandbox, Arc::new(LocalRemote(origin))).await?;
        Ok(Self { blobs, worker, base })
    }

    /// The workspace after a call, which must succeed.
    async fn call(&self, ticket: &str, before: &Workspace, tool: &str, input: Value) -> anyhow::Result<Workspace> {
        let input = self.blobs.put(input.to_string()).await?;
        let call = ToolCall { id: "call".into(), name: tool.into(), input, label: tool.into() };
        let call = WorkspaceCall { workspace: before.clone(), call, command_seconds: 60 };
        let claim = Claim { workflow: ticket.into(), activity: uuid::Uuid::new_v4().to_string(), attempt: 1 };
        let reply = self.worker.call_tool_for(&claim, call).await?;
        if reply.reply.is_error {
            let said = self.blobs.get(&reply.reply.output).await?;
            anyhow::bail!("{tool}: {}", String::from_utf8_lossy(&said));
        }
        Ok(reply.workspace)
    }
}

/// 4,000 sources of 10 to 30 KB, and large files that no packer makes smaller: 200 MB.
fn fill(seed: &Path) -> anyhow::Result<()> {
    let mut state = 1_u64;
    let mut next = || {
        // Numbers that look random and are the same in each run (xorshift).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for n in 0..4000_u32 {
        let mut text = String::new();
        for line in 0..300 + n % 500 {
            writeln!(text, "def function_{line}(value):  # {:016x}", next())?;
        }
        let folder = seed.join(format!("src/package_{}", n % 80));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("module_{n}.py")), text)?;
    }
    fs::create_dir(seed.join("assets"))?;
    for n in 0..6 {
        let bytes: Vec<u8> = (0..2_250_000).flat_map(|_| next().to_le_bytes()).collect();
        fs::write(seed.join(format!("assets/{n}.bin")), bytes)?;
    }
    Ok(())
}

fn git(directory: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new("git");
    command
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.output()?;
    anyhow::ensure!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Bytes of all files below `directory` but those in the folders `without`.
fn size(directory: &Path, without: &[&str]) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let data = entry.metadata()?;
        if !data.is_dir() {
            bytes += data.len();
        } else if !without.iter().any(|name| entry.file_name() == *name) {
            bytes += size(&entry.path(), without)?;
        }
    }
    Ok(bytes)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
