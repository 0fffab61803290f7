//! The ingress as a process: reads its configuration, serves at once, connects to Temporal meanwhile, stops on SIGTERM.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use ingress::app::App;
use ingress::config::Options;
use ingress::serve::serve;
use ingress::temporal::{Temporal, connection_from_environment};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Exit code when a person has to mend the configuration: restarting does not help.
const NOT_CONFIGURED: u8 = 2;

fn main() -> ExitCode {
    // One TLS stack for all clients, chosen before any of them is made. It can only have been chosen already.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let options = Options::parse();
    let (problem, code) = match work(options) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::NotConfigured(problem)) => (problem, ExitCode::from(NOT_CONFIGURED)),
        Err(Failure::Other(error)) => (format!("{error:#}"), ExitCode::FAILURE),
    };
    // Nothing can be done about a closed standard error.
    drop(writeln!(std::io::stderr(), "ingress: {problem}"));
    code
}

/// Why the process ends before it is told to.
enum Failure {
    /// In words that end with what to do.
    NotConfigured(String),
    Other(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

fn work(options: Options) -> Result<(), Failure> {
    log_to_stderr(&options.log).map_err(|error| {
        Failure::NotConfigured(format!("RUST_LOG is not valid: {error}.\n  Example: RUST_LOG=info,ingress=debug"))
    })?;
    let settings = options.settings().map_err(|error| Failure::NotConfigured(error.to_string()))?;
    let (connection, client) = connection_from_environment().map_err(Failure::NotConfigured)?;
    for line in settings.switched_off() {
        tracing::warn!("{line}");
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the async runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let listen = settings.listen;
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            Failure::NotConfigured(format!(
                "{listen} cannot be listened on: {error}.\n  INGRESS_LISTEN names the address; choose a free port of this host."
            ))
        })?;
        let temporal = Temporal::default();
        let app = App::new(settings, temporal.clone()).context("set up the client for answers to Slack")?;
        tokio::spawn(async move { temporal.connect(connection, client).await });
        tracing::info!(address = %listener.local_addr().context("read the address")?, "listening");
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        };
        serve(listener, app, stop).await.context("serve")?;
        Ok(())
    })
}

/// Logs lines for people on a terminal, JSON otherwise.
fn log_to_stderr(filter: &str) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(filter)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().flatten_event(true).with_span_list(false).init();
    }
    Ok(())
}
