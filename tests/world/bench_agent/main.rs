//! `make bench-agent`: what the agent loop costs beside what it does, on a dev server with workers in this process.
//!
//! - `time`: a turn without work, as a ratio to two bare activities of the same size in the same run.
//! - `bytes`: what Temporal and the blob store keep, per byte of transcript.
//! - `price`: what the input costs with a prompt cache, as a ratio to the same input without one.
//!
//! Prints a table for each and ends with an error when a bar is missed. `docs/benchmarks.md` says what the numbers mean.

mod bare;
mod bytes;
mod chain;
mod corpus;
mod credentials;
mod no_op;
mod price;
mod rig;
mod stand_in;
mod table;
mod time;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use rig::Rig;
use table::Report;

/// Measures the agent loop.
#[derive(Debug, Parser)]
#[command(name = "bench_agent")]
struct Options {
    /// Measure only this; several may be named. Default: all.
    #[arg(value_enum)]
    only: Vec<Part>,
    /// Rounds whose median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Lengths of the conversations whose bytes are counted, in turns.
    #[arg(long, value_delimiter = ',', default_value = "50,100,200,400,800", value_parser = clap::value_parser!(u32).range(2..))]
    turns: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Time,
    Bytes,
    Price,
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    credentials::take()?;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let held = runtime.block_on(measure(&options))?;
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether every bar was held.
async fn measure(options: &Options) -> anyhow::Result<bool> {
    let wanted = |part| options.only.is_empty() || options.only.contains(&part);
    let rig = Rig::start().await?;
    let mut report = Report::default();
    if wanted(Part::Time) {
        time::measure(&rig, options.rounds, &mut report).await?;
    }
    if wanted(Part::Price) {
        price::measure(&rig, &mut report).await?;
    }
    if wanted(Part::Bytes) {
        bytes::measure(&rig, options.rounds, &options.turns, &mut report).await?;
    }
    report.finish()
}
