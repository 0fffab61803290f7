//! The whole product around a world: a Temporal dev server, the worker and the ingress as real processes.
//!
//! Demo and scenarios use the same pieces. Processes die with the process that started them, whatever its end.

mod observer;
mod process;
mod temporal;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use crate::world::{World, WorldOptions};
pub use observer::{Observer, Run};
pub use process::{Process, free_port, kill_by_id};
pub use temporal::{TemporalOptions, TemporalServer, temporal_cli};

/// How to start a [`Stack`].
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// Directory of this stack: repositories, blobs, workspaces, logs.
    pub directory: PathBuf,
    /// Where the world listens; port 0 picks a free one.
    pub world: std::net::SocketAddr,
    /// Temporal namespace; must exist.
    pub namespace: String,
    /// Lines of the `[policy]` table: durations in seconds where production has hours.
    pub policy: String,
    /// Use the person's own Bedrock instead of the scripted one.
    pub real_bedrock: bool,
}

/// A world with the product running on it.
#[derive(Debug)]
pub struct Stack {
    /// The stand-ins.
    pub world: World,
    /// Temporal's address, `127.0.0.1:7233`.
    pub temporal_address: String,
    /// Its namespace.
    pub namespace: String,
    /// Base URL of the ingress.
    pub ingress_url: String,
    /// Directory of this stack.
    pub directory: PathBuf,
    worker: Option<Process>,
    ingress: Option<Process>,
    options: StackOptions,
}

impl Stack {
    /// Starts the world and prepares the product's configuration; [`Stack::start_ingress`] and [`Stack::start_worker`] follow.
    pub async fn prepare(options: StackOptions, temporal: &TemporalServer) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&options.directory)?;
        // Started as root, the sandbox runs as another user, who has to reach the workspaces.
        std::fs::set_permissions(&options.directory, std::fs::Permissions::from_mode(0o755))?;
        let world = World::start(WorldOptions {
            listen: options.world,
            directory: options.directory.join("world"),
            credentials: crate::world::Credentials::random(),
        })
        .await?;
        let ingress_url = format!("http://127.0.0.1:{}", free_port()?);
        world.webhooks.set_target(&ingress_url);
        let stack = Self {
            world,
            temporal_address: temporal.address.clone(),
            namespace: options.namespace.clone(),
            ingress_url,
            directory: options.directory.clone(),
            worker: None,
            ingress: None,
            options,
        };
        std::fs::write(stack.config_path(), stack.configuration(temporal))?;
        Ok(stack)
    }

    /// Starts the ingress and waits until it is ready.
    pub async fn start_ingress(&mut self) -> anyhow::Result<()> {
        let mut command = self.product("ingress")?;
        let listen = self.ingress_url.trim_start_matches("http://");
        let credentials = &self.world.credentials;
        command
            .env("INGRESS_LISTEN", listen)
            .env("GITHUB_WEBHOOK_SECRET", &credentials.github_webhook_secret)
            .env("JIRA_WEBHOOK_SECRET", &credentials.jira_webhook_secret)
            .env("SENTRY_CLIENT_SECRET", &credentials.sentry_client_secret)
            .env("SLACK_SIGNING_SECRET", &credentials.slack_signing_secret);
        let process = Process::start("ingress", command, &self.log_path("ingress"))?;
        let ready = format!("{}/readyz", self.ingress_url);
        let http = reqwest::Client::new();
        process
            .wait_until("ingress is ready", Duration::from_secs(30), async || {
                http.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success())
            })
            .await?;
        self.ingress = Some(process);
        Ok(())
    }

    /// Starts the worker. It needs no readiness: Temporal keeps its tasks.
    pub fn start_worker(&mut self) -> anyhow::Result<()> {
        let mut command = self.product("ticketwright")?;
        let credentials = &self.world.credentials;
        command
            .env("GITHUB_TOKEN", &credentials.github_token)
            .env("JIRA_EMAIL", &credentials.jira_email)
            .env("JIRA_API_TOKEN", &credentials.jira_token)
            .env("SENTRY_AUTH_TOKEN", &credentials.sentry_token)
            .env("SENTRY_ORG", crate::sentry::ORGANISATION)
            .env("SENTRY_URL", format!("{}/sentry", self.world.base_url))
            .env("SLACK_BOT_TOKEN", &credentials.slack_token);
        if self.options.real_bedrock {
            let own = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_"));
            command.envs(own);
        } else {
            command
                .env("AWS_ACCESS_KEY_ID", &credentials.aws_access_key_id)
                .env("AWS_SECRET_ACCESS_KEY", &credentials.aws_secret_access_key)
                .env("AWS_EC2_METADATA_DISABLED", "true");
        }
        self.worker = Some(Process::start("worker", command, &self.log_path("worker"))?);
        Ok(())
    }

    /// Ends the worker as a power cut would: SIGKILL.
    pub fn kill_worker(&mut self) {
        self.worker = None;
    }

    /// Ends the ingress as a power cut would: SIGKILL.
    pub fn kill_ingress(&mut self) {
        self.ingress = None;
    }

    /// Fails when worker or ingress have ended by themselves, with the end of their log.
    pub fn alive(&self) -> anyhow::Result<()> {
        self.worker.iter().chain(&self.ingress).try_for_each(Process::check)
    }

    /// The worker's process, while it runs.
    pub fn worker(&mut self) -> Option<&mut Process> {
        self.worker.as_mut()
    }

    /// Runs `ticketwright` to its end with these arguments, `check` for example, and returns its output.
    pub fn ticketwright(&self, arguments: &[&str]) -> anyhow::Result<std::process::Output> {
        let mut command = self.product("ticketwright")?;
        let credentials = &self.world.credentials;
        command
            .args(arguments)
            .env("GITHUB_TOKEN", &credentials.github_token)
            .env("JIRA_EMAIL", &credentials.jira_email)
            .env("JIRA_API_TOKEN", &credentials.jira_token)
            .env("SENTRY_AUTH_TOKEN", &credentials.sentry_token)
            .env("SENTRY_ORG", crate::sentry::ORGANISATION)
            .env("SENTRY_URL", format!("{}/sentry", self.world.base_url))
            .env("SLACK_BOT_TOKEN", &credentials.slack_token)
            .env("AWS_ACCESS_KEY_ID", &credentials.aws_access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &credentials.aws_secret_access_key)
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command.output().with_context(|| format!("run ticketwright {}", arguments.join(" ")))
    }

    /// How a person calls `ticketwright` beside this stack, with its Temporal and its worker's configuration, which holds no secret.
    pub fn line_beside(&self) -> anyhow::Result<String> {
        let namespace = match self.namespace.as_str() {
            "default" => String::new(),
            namespace => format!(" TEMPORAL_NAMESPACE={}", quoted(namespace)),
        };
        let (program, file) = (binary("ticketwright")?, self.config_path());
        Ok(format!(
            "TEMPORAL_ADDRESS={}{namespace} {} --config {}",
            self.temporal_address,
            quoted(&program.to_string_lossy()),
            quoted(&file.to_string_lossy())
        ))
    }

    /// Where a process of this stack writes its log.
    pub fn log_path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.log"))
    }

    fn config_path(&self) -> PathBuf {
        self.directory.join("ticketwright.toml")
    }

    /// A product binary with a clean environment.
    fn product(&self, name: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(binary(name)?);
        command.env_clear();
        let kept = ["PATH", "HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR"];
        command.envs(kept.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command
            .env("TICKETWRIGHT_CONFIG", self.config_path())
            .env("TEMPORAL_ADDRESS", &self.temporal_address)
            .env("TEMPORAL_NAMESPACE", &self.namespace)
            .env("RUST_LOG", std::env::var("TICKETWRIGHT_LOG").unwrap_or_else(|_| "info".to_owned()))
            .current_dir(&self.directory);
        Ok(command)
    }

    fn configuration(&self, temporal: &TemporalServer) -> String {
        let world = &self.world.base_url;
        let directory = self.directory.display();
        let bedrock = if self.options.real_bedrock {
            format!("region = {:?}", std::env::var("AWS_REGION").unwrap_or_else(|_| "us-east-1".to_owned()))
        } else {
            format!("region = \"us-east-1\"\nendpoint_url = \"{world}/bedrock\"")
        };
        format!(
            r#"[github]
api_url = "{world}/github/api/v3"
web_url = "{world}/github"
organisation = "acme"

[jira]
url = "{world}/jira"

[slack]
api_url = "{world}/slack/api"

[bedrock]
{bedrock}

[blobs]
url = "file://{directory}/blobs"

[workspace]
directory = "{directory}/workspaces"
allow_http = true

[policy]
temporal_ui_url = "{ui}"
temporal_namespace = "{namespace}"
temporal_cli = "{cli}"
{policy}
"#,
            ui = temporal.ui_url,
            namespace = self.namespace,
            cli = temporal.cli_prefix(),
            policy = self.options.policy,
        )
    }
}

/// A binary that was built beside this one.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let found = here.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built: run `cargo build --workspace` first"))
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%=".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The repository's root, where `scripts/` and `tools/` are.
pub fn project_root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
