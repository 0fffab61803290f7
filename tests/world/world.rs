//! One listener that carries all stand-ins, each under its own path prefix.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::sentry::Sentry;
use crate::{bedrock::Bedrock, effects::Effects, github::GitHub, jira::Jira, slack::Slack, webhook::Webhooks};

/// Secrets that the product and the world share. Random per world, so that nothing works by accident.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// GitHub personal access token of the bot.
    pub github_token: String,
    /// Secret of the GitHub webhook.
    pub github_webhook_secret: String,
    /// E-mail of the Jira bot account.
    pub jira_email: String,
    /// API token of the Jira bot account.
    pub jira_token: String,
    /// Secret of the Jira webhook.
    pub jira_webhook_secret: String,
    /// Token of the Sentry integration.
    pub sentry_token: String,
    /// Client secret of the Sentry integration.
    pub sentry_client_secret: String,
    /// Slack bot token.
    pub slack_token: String,
    /// Slack signing secret.
    pub slack_signing_secret: String,
    /// AWS access key id for Bedrock.
    pub aws_access_key_id: String,
    /// AWS secret access key for Bedrock.
    pub aws_secret_access_key: String,
}

impl Credentials {
    /// Fresh random secrets.
    pub fn random() -> Self {
        let secret = |prefix: &str| format!("{prefix}{}", uuid::Uuid::new_v4().simple());
        Self {
            github_token: secret("ghp_"),
            github_webhook_secret: secret("gh-"),
            jira_email: "ticketwright@acme.example".into(),
            jira_token: secret("jira-"),
            jira_webhook_secret: secret("jwh-"),
            sentry_token: secret("sntrys_"),
            sentry_client_secret: secret(""),
            slack_token: secret("xoxb-"),
            slack_signing_secret: secret(""),
            aws_access_key_id: "AKIAWORLD0000000TEST".into(),
            aws_secret_access_key: secret("aws"),
        }
    }
}

/// How to start a [`World`].
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// Address to listen on; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Directory for the bare repositories and the Actions runner's checkouts.
    pub directory: PathBuf,
    /// Secrets shared with the product.
    pub credentials: Credentials,
}

/// The running stand-ins. Dropping it stops the listener.
#[derive(Debug)]
pub struct World {
    /// `http://127.0.0.1:<port>`.
    pub base_url: String,
    /// What the product did, in order.
    pub effects: Effects,
    /// What was delivered to the ingress.
    pub webhooks: Webhooks,
    /// Secrets shared with the product.
    pub credentials: Credentials,
    /// GitHub under `/github`.
    pub github: GitHub,
    /// Jira under `/jira`.
    pub jira: Jira,
    /// Sentry under `/sentry`.
    pub sentry: Sentry,
    /// Slack under `/slack`.
    pub slack: Slack,
    /// Bedrock under `/bedrock`.
    pub bedrock: Bedrock,
    server: tokio::task::JoinHandle<()>,
}

impl World {
    /// Starts every stand-in on one loopback listener.
    pub async fn start(options: WorldOptions) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind(options.listen).await?;
        let base_url = format!("http://{}", listener.local_addr()?);
        let effects = Effects::default();
        let webhooks = Webhooks::default();
        let credentials = options.credentials;
        let github = GitHub::new(&base_url, &options.directory.join("github"), &credentials, &effects, &webhooks)?;
        let jira = Jira::new(&base_url, &credentials, &effects, &webhooks);
        let sentry = Sentry::new(&base_url, &credentials, &effects, &webhooks);
        let slack = Slack::new(&base_url, &credentials, &effects, &webhooks);
        let bedrock = Bedrock::new(&credentials, &effects);
        let app = axum::Router::new()
            .route("/", axum::routing::get(async || axum::response::Html(include_str!("index.html"))))
            .nest("/github", github.router())
            .nest("/jira", jira.router())
            .nest("/sentry", sentry.router())
            .nest("/slack", slack.router())
            .nest("/bedrock", bedrock.router());
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!(%error, "the world's listener ended");
            }
        });
        Ok(Self { base_url, effects, webhooks, credentials, github, jira, sentry, slack, bedrock, server })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
    }
}
