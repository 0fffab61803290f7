//! The ingress as a process: reads its configuration, serves at once, connects to Temporal meanwhile, stops on SIGTERM.

#![expect(clippy::print_stderr, reason = "before the log exists, a person reads standard error")]

use std::process::ExitCode;

use clap::Parser;
use ingress::app::App;
use ingress::config::{LogFormat, Options};
use ingress::serve::serve;
use ingress::temporal::{Temporal, connection_from_environment};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Exit code when the configuration is at fault: restarting does not help.
const MISCONFIGURED: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("ingress: another TLS provider is installed already.");
        return ExitCode::FAILURE;
    }
    let options = Options::parse();
    if let Err(error) = log_to_stderr(&options) {
        eprintln!("ingress: RUST_LOG is not valid: {error}.\n  Example: RUST_LOG=info,ingress=debug");
        return ExitCode::from(MISCONFIGURED);
    }
    let settings = match options.settings() {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("ingress: {error}");
            return ExitCode::from(MISCONFIGURED);
        }
    };
    let (connection, client) = match connection_from_environment() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("ingress: {error}");
            return ExitCode::from(MISCONFIGURED);
        }
    };
    for line in settings.switched_off() {
        tracing::warn!("{line}");
    }
    let listen = settings.listen;
    let temporal = Temporal::default();
    let connecting = temporal.clone();
    tokio::spawn(async move { connecting.connect(connection, client).await });
    let result = async {
        let mut terminate = signal(SignalKind::terminate())?;
        let app = App::new(settings, temporal)?;
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            anyhow::anyhow!(
                "{listen} cannot be listened on: {error}.\n  INGRESS_LISTEN names the address; choose a free port"
            )
        })?;
        tracing::info!(address = %listener.local_addr()?, "listening");
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        };
        serve(listener, app, stop).await?;
        anyhow::Ok(())
    };
    match result.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ingress: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr(options: &Options) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&options.log)?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Text => subscriber.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => subscriber.json().init(),
    }
    Ok(())
}
