//! The ingress binary: listens at once, is ready when Temporal answers, ends in order on SIGTERM.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use ingress::config::{Config, Options};
use ingress::server::{Door, router};
use temporalio_client::envconfig::LoadClientConfigProfileOptions;
use temporalio_client::{Client, ClientOptions};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let config = match Config::load(Options::parse()) {
        Ok(config) => config,
        Err(error) => {
            complain(&error);
            return ExitCode::from(2);
        }
    };
    match serve(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    if config.slack_secret.is_none() {
        tracing::info!("Slack is off: SLACK_SIGNING_SECRET is not set. Approvals work by CLI and Web UI.");
    }
    let listener = tokio::net::TcpListener::bind(config.listen).await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let door = Arc::new(Door::new(config));
    let opening = tokio::spawn(open(Arc::clone(&door)));
    let app = router(door).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(asked_to_end()).await?;
    opening.abort();
    tracing::info!("ended");
    Ok(())
}

/// Connects to Temporal, for as long as it takes.
async fn open(door: Arc<Door>) {
    let mut pause = Duration::from_millis(250);
    loop {
        match connect().await {
            Ok(client) => {
                door.open(client);
                tracing::info!("Temporal answers; ready");
                return;
            }
            Err(error) => tracing::warn!(error = %format!("{error:#}"), "Temporal does not answer yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}

async fn connect() -> anyhow::Result<Client> {
    let (connection, options) = ClientOptions::load_from_config(LoadClientConfigProfileOptions::default())
        .map_err(|error| anyhow::anyhow!("the TEMPORAL_* settings cannot be used: {error}"))?;
    Ok(Client::connect(connection, options).await?)
}

async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupted = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted => {}
            }
        }
        Err(_) => {
            let _ = interrupted.await;
        }
    }
}

fn complain(error: &anyhow::Error) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "ingress: {error:#}");
}
