//! AWS's own description of Bedrock checks our requests: `make test-contracts`.
//!
//! The real loop and the real model adapter hold conversations that use everything they can send; `bedrock.py` reads each request against botocore's
//! service model. What the description does not say (which model takes what) the stand-in in `tests/world/bedrock` knows.
//!
//! botocore comes from PyPI, once. Where it cannot be had this passes with a line that says so, unless
//! `TICKETWRIGHT_CONTRACTS=required`. Runs without the test harness, because it begins by starting again with credentials.

mod conversations;
#[path = "../world/bench_agent/credentials.rs"]
mod credentials;
mod faults;
#[path = "../world/bench_agent/rig.rs"]
mod rig;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What `python.sh` ends with when botocore cannot be had.
const NOT_TO_BE_HAD: i32 = 3;

/// A request as it went out.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Request {
    /// Name of the operation in the service's description.
    pub(crate) operation: &'static str,
    /// Model id, decoded from the path.
    pub(crate) model: String,
    /// Body.
    pub(crate) body: Value,
}

/// Something about a request that does not fit.
#[derive(Debug, Deserialize)]
pub(crate) struct Fault {
    /// Number of the request, from 1.
    pub(crate) line: usize,
    /// Where and what.
    pub(crate) fault: String,
}

/// The checker.
pub(crate) struct Botocore {
    python: PathBuf,
    script: PathBuf,
}

impl Botocore {
    /// `None`, and a line on standard error: it cannot be had here.
    fn find() -> anyhow::Result<Option<Self>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("contracts");
        let found = Command::new(folder.join("python.sh")).stderr(Stdio::inherit()).output()?;
        if found.status.code() == Some(NOT_TO_BE_HAD) {
            return Ok(None);
        }
        anyhow::ensure!(found.status.success(), "python.sh ended with {}", found.status);
        let python = String::from_utf8(found.stdout)?.trim().into();
        Ok(Some(Self { python, script: folder.join("bedrock.py") }))
    }

    /// Everything that does not fit about these requests.
    pub(crate) fn faults(&self, requests: &[Request]) -> anyhow::Result<Vec<Fault>> {
        let lines: Vec<String> = requests.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        let mut child =
            Command::new(&self.python).arg(&self.script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        // The script reads while it writes, so its output is taken beside: neither pipe may fill up.
        let mut input = child.stdin.take().context("standard input of the checker")?;
        let writer = std::thread::spawn(move || input.write_all((lines.join("\n") + "\n").as_bytes()));
        let output = child.wait_with_output()?;
        writer.join().map_err(|_| anyhow::anyhow!("the writing thread panicked"))??;
        anyhow::ensure!(matches!(output.status.code(), Some(0 | 1)), "bedrock.py ended with {}", output.status);
        let faults = String::from_utf8(output.stdout)?;
        let faults: Vec<Fault> = faults.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        anyhow::ensure!(faults.is_empty() == output.status.success(), "bedrock.py did not tell its faults");
        Ok(faults)
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !is_wanted(&arguments) {
        return Ok(ExitCode::SUCCESS);
    }
    credentials::take()?;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let Some(botocore) = Botocore::find()? else {
        let required = std::env::var("TICKETWRIGHT_CONTRACTS").is_ok_and(|value| value == "required");
        say(if required { "contracts: FAILED, botocore cannot be had" } else { "contracts: left out, see above" })?;
        return Ok(if required { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    };
    faults::each_planted_fault_is_found(&botocore)?;
    say("contracts: what does not fit is found ... ok")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let requests = runtime.block_on(conversations::hold())?;
    conversations::use_everything(&requests)?;
    let faults = botocore.faults(&requests)?;
    for Fault { line, fault } in &faults {
        say(&format!("contracts: request {line}: {fault}"))?;
        if let Some(request) = line.checked_sub(1).and_then(|n| requests.get(n)) {
            say(&format!("  {}", request.body))?;
        }
    }
    anyhow::ensure!(faults.is_empty(), "{} faults in {} requests", faults.len(), requests.len());
    say(&format!("contracts: {} requests fit AWS's description of ConverseStream ... ok", requests.len()))?;
    Ok(ExitCode::SUCCESS)
}

/// Whether these arguments of `cargo test -- ...`, which every test program gets, mean this one.
fn is_wanted(arguments: &[String]) -> bool {
    const WITH_VALUE: [&str; 6] = ["--test-threads", "--skip", "--format", "--color", "--logfile", "-Z"];
    let mut filters = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--list" || argument == "--ignored" {
            return false;
        }
        if WITH_VALUE.contains(&argument.as_str()) {
            arguments.next();
        } else if !argument.starts_with('-') {
            filters.push(argument);
        }
    }
    filters.is_empty() || filters.iter().any(|filter| "contracts".contains(filter.as_str()))
}

fn say(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
