//! A real Temporal dev server on a database file, tuned, with our search attributes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use super::process::{Process, free_port};
use super::project_root;

/// Where a server listens and keeps its data.
#[derive(Debug, Clone)]
pub struct TemporalOptions {
    /// Directory of database and log.
    pub directory: PathBuf,
    /// Port of the frontend; 0 picks a free one.
    pub port: u16,
    /// Port of the Web UI; 0 picks a free one.
    pub ui_port: u16,
}

/// A running dev server.
#[derive(Debug)]
pub struct TemporalServer {
    /// `127.0.0.1:7233`.
    pub address: String,
    /// `http://127.0.0.1:8233`.
    pub ui_url: String,
    cli: PathBuf,
    options: TemporalOptions,
    process: Option<Process>,
}

/// Path of a usable `temporal`; builds it on first use.
pub fn temporal_cli() -> anyhow::Result<PathBuf> {
    let script = project_root().join("tools/temporal/temporal.sh");
    let output = Command::new(&script).output().with_context(|| format!("run {}", script.display()))?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

impl TemporalServer {
    /// Starts a server and waits until it answers.
    pub async fn start(mut options: TemporalOptions) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&options.directory)?;
        if options.port == 0 {
            options.port = free_port()?;
        }
        if options.ui_port == 0 {
            options.ui_port = free_port()?;
        }
        let mut server = Self {
            address: format!("127.0.0.1:{}", options.port),
            ui_url: format!("http://127.0.0.1:{}", options.ui_port),
            cli: temporal_cli()?,
            options,
            process: None,
        };
        server.resume().await?;
        Ok(server)
    }

    /// Ends the server as a power cut would: SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops it in the middle of whatever it does, as a machine that is out of memory does: connections stay open, nobody
    /// answers. Only [`TemporalServer::kill`] ends this.
    pub fn freeze(&self) -> anyhow::Result<()> {
        let id = self.process.as_ref().context("the server does not run")?.id();
        let status = Command::new("kill").args(["-STOP", &id.to_string()]).status()?;
        anyhow::ensure!(status.success(), "kill -STOP {id} failed");
        Ok(())
    }

    /// Starts it (again) on the same file and ports.
    pub async fn resume(&mut self) -> anyhow::Result<()> {
        let directory = &self.options.directory;
        let mut command = Command::new(project_root().join("scripts/temporal-dev-server"));
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", directory)
            .env("TICKETWRIGHT_TEMPORAL", &self.cli)
            .env("TEMPORAL_DEV_DB", directory.join("temporal.db"))
            .env("TEMPORAL_DEV_PORT", self.options.port.to_string())
            .env("TEMPORAL_DEV_UI_PORT", self.options.ui_port.to_string());
        let process = Process::start("temporal", command, &directory.join("temporal.log"))?;
        process
            .wait_until("the Temporal server answers", Duration::from_secs(60), async || {
                let answer = self.command(&["operator", "cluster", "health"]).output();
                answer.is_ok_and(|output| output.status.success())
            })
            .await?;
        self.process = Some(process);
        Ok(())
    }

    /// Makes a namespace and waits until it can be used.
    pub async fn create_namespace(&self, name: &str) -> anyhow::Result<()> {
        let made = self.command(&["operator", "namespace", "create", "--retention", "90d", "-n", name]).output()?;
        anyhow::ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        for _ in 0..100 {
            if self.command(&["workflow", "list", "-n", name, "--limit", "1"]).output()?.status.success() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("namespace {name} cannot be used after 10 s")
    }

    /// The CLI against this server.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.cli);
        command.env_clear().env("HOME", &self.options.directory);
        command.args(arguments).args(["--address", &self.address, "--command-timeout", "10s"]);
        command
    }

    /// How a person here calls the CLI: with the address when it is not the default one.
    pub fn cli_prefix(&self) -> String {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path = std::env::split_paths(&path).any(|folder| folder.join("temporal") == self.cli);
        let cli = if on_path { "temporal".to_owned() } else { self.cli.display().to_string() };
        if self.options.port == 7233 { cli } else { format!("{cli} --address {}", self.address) }
    }

    /// Path of the CLI.
    pub fn cli(&self) -> &Path {
        &self.cli
    }
}
