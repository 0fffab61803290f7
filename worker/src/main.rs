//! The worker: carries tickets. `run` polls Temporal until it is told to stop, `check` looks at every service and says what is
//! missing.

mod check;
mod config;
mod problem;
mod proof;
mod remote;
mod runs;
mod schedule;
mod secrets;
mod store;
mod supervise;
mod telemetry;
mod temporal;
mod transcript;
mod workers;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use check::Spending;
use config::Config;
use problem::Problem;
use secrets::Environment;

/// A durable AI engineer: label a Jira ticket, approve the plan, get a pull request that is proven and green.
#[derive(Debug, Parser)]
#[command(name = "ticketwright", version, about)]
struct Arguments {
    /// Configuration file; else TICKETWRIGHT_CONFIG, else ticketwright.toml. Secrets come from the environment.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Carry tickets until SIGTERM. The default.
    Run {
        /// Leave sandboxed commands to another worker, on a host where the sandbox works.
        #[arg(long)]
        no_sandbox_queue: bool,
    },
    /// Print the conversation of an agent's run as Markdown.
    ///
    /// Needs a running worker (not for a digest), Temporal's variables and the worker's configuration; no secret of a service.
    Transcript {
        /// Workflow id of the run, such as ticket-SHOP-1/planning/1, or the digest of a conversation.
        run: String,
    },
    /// Print what was proven of a ticket's tasks, with the output of every run.
    ///
    /// Needs a running worker (not for a digest), Temporal's variables and the worker's configuration; no secret of a service.
    Proof {
        /// Key of the ticket, such as SHOP-1, or the digest of a proof, as a pull request names it.
        what: String,
    },
    /// Look at every service, read-only, and say what is missing and how to mend it.
    Check {
        /// Also ask each model for one token, about $0.0001 each.
        #[arg(long)]
        spend: bool,
    },
}

/// Exit code when a person has to mend the configuration or the host.
const NOT_CONFIGURED: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let works = matches!(arguments.command, None | Some(Command::Run { .. }));
    telemetry::start(works);
    match work(arguments) {
        Ok(code) => code,
        Err(error) => match error.downcast_ref::<Problem>() {
            Some(problem) => {
                // Nothing can be done about a closed standard error.
                drop(writeln!(std::io::stderr(), "{problem}"));
                ExitCode::from(NOT_CONFIGURED)
            }
            None => {
                tracing::error!(error = format!("{error:#}"), "the worker ends");
                ExitCode::FAILURE
            }
        },
    }
}

fn work(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // One TLS stack for all clients, chosen before any of them is made. It can only have been chosen already.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the async runtime")?;
    let outcome = runtime.block_on(async {
        let (file, environment) = (arguments.config.as_deref(), Environment::of_process());
        match arguments.command.unwrap_or(Command::Run { no_sandbox_queue: false }) {
            Command::Run { no_sandbox_queue } => {
                let config = Config::load(file, &environment)?;
                Box::pin(run(config, no_sandbox_queue)).await
            }
            Command::Transcript { run } => {
                let (blobs, file) = Config::load_blobs(file, &environment)?;
                let text = Box::pin(transcript::of(&blobs, &file, &run)).await?;
                std::io::stdout().write_all(text.as_bytes()).context("write the transcript")?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Proof { what } => {
                let (blobs, file) = Config::load_blobs(file, &environment)?;
                let text = Box::pin(proof::of(&blobs, &file, &what)).await?;
                std::io::stdout().write_all(text.as_bytes()).context("write the proof")?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Check { spend } => {
                let config = match Config::load(file, &environment) {
                    Ok(config) => config,
                    Err(problem) => return Err(without_services(file, &environment, problem).await),
                };
                let spending = if spend { Spending::OneTokenPerModel } else { Spending::Nothing };
                let (table, works) = Box::pin(check::run(&config, spending)).await;
                std::io::stdout().write_all(table.as_bytes()).context("write the table")?;
                Ok(if works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
        }
    });
    // What still runs has had its time: an activity that is cut runs again elsewhere.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

/// Shows what a check can see without the services, which are not configured well: that may be more to mend.
async fn without_services(file: Option<&Path>, environment: &Environment, problem: Problem) -> anyhow::Error {
    if let Ok(host) = Config::load_host(file, environment) {
        let table = Box::pin(check::run_without_services(&host)).await;
        // Nothing can be done about a closed standard output, and the problem is still to be told.
        drop(writeln!(std::io::stdout(), "{table}"));
    }
    problem.into()
}

async fn run(config: Config, no_sandbox_queue: bool) -> anyhow::Result<ExitCode> {
    if config.sentry.is_none() {
        tracing::info!("Sentry is off: SENTRY_AUTH_TOKEN is not set; tickets start from Jira and the command line");
    }
    if config.slack.is_none() {
        tracing::info!("Slack is off: there is no [slack] in the configuration; approvals come by CLI and Web UI");
    }
    let sandbox = match no_sandbox_queue {
        true => None,
        false => Some(workers::probe_sandbox(&config).await?),
    };
    let address = temporal::Address::from_environment()?;
    let client = address.connect_patiently().await?;
    temporal::describe_namespace(&client).await?;
    temporal::ensure_search_attributes(&client).await?;
    if config.sentry.is_some() {
        schedule::ensure_sweep(&client, Duration::from_secs(config.policy.sentry.sweep_seconds)).await?;
    }
    let mut config = config;
    // Command lines and links that people are shown must name the namespace that the runs are in.
    address.namespace().clone_into(&mut config.policy.temporal_namespace);
    let workers = workers::build(config, &client, sandbox).await?;
    let queues = workers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    tracing::info!(temporal = %address.target(), namespace = address.namespace(), %queues, "ready");
    supervise::run(workers).await?;
    Ok(ExitCode::SUCCESS)
}
