//! Settings of the ingress: secrets and addresses from the environment, label and branch template from the policy.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use secrecy::SecretString;
use serde::Deserialize;
use workflows::contract::policy::Policy;

use crate::webhook::branch::BranchTemplate;

/// The front door of Ticketwright: verified webhooks become Temporal workflows.
#[derive(Debug, Parser)]
#[command(name = "ingress", version)]
pub struct Options {
    /// Address to listen on.
    #[arg(long, env = "INGRESS_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Configuration file; its `[policy]` gives the label and the branch template.
    #[arg(long, env = "TICKETWRIGHT_CONFIG", default_value = "ticketwright.toml")]
    pub config: PathBuf,
    /// Secret of the Jira webhook.
    #[arg(long, env = "JIRA_WEBHOOK_SECRET", hide_env_values = true)]
    pub jira_webhook_secret: Option<SecretString>,
    /// Secret of the GitHub webhook.
    #[arg(long, env = "GITHUB_WEBHOOK_SECRET", hide_env_values = true)]
    pub github_webhook_secret: Option<SecretString>,
    /// Signing secret of the Slack app; absent: Slack is off.
    #[arg(long, env = "SLACK_SIGNING_SECRET", hide_env_values = true)]
    pub slack_signing_secret: Option<SecretString>,
    /// Jira account id of the bot, whose own changes are not triggers.
    #[arg(long, env = "JIRA_BOT_ACCOUNT_ID")]
    pub jira_bot_account_id: Option<String>,
}

/// Everything the routes need.
#[derive(Debug)]
pub struct Config {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Secret of the Jira webhook.
    pub jira_secret: SecretString,
    /// Secret of the GitHub webhook.
    pub github_secret: SecretString,
    /// Signing secret of the Slack app.
    pub slack_secret: Option<SecretString>,
    /// The label that hands a ticket over.
    pub label: String,
    /// Branch names of ours.
    pub branches: BranchTemplate,
    /// Account id of the bot.
    pub jira_bot: Option<String>,
}

/// Something is missing; the text says what, where to find it, and how to go on without.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Missing(String);

#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(default)]
    policy: Policy,
}

impl Config {
    /// Reads the settings; a missing required one is an error that names the variable.
    pub fn load(options: Options) -> anyhow::Result<Self> {
        let policy = match std::fs::read_to_string(&options.config) {
            Ok(text) => {
                toml::from_str::<File>(&text).with_context(|| format!("{} cannot be read", options.config.display()))?.policy
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Policy::default(),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", options.config.display())),
        };
        let jira_secret = required(
            options.jira_webhook_secret,
            "JIRA_WEBHOOK_SECRET",
            "It proves that ticket events come from Jira. You choose it: Settings > System > WebHooks > your webhook > Secret.",
        )?;
        let github_secret = required(
            options.github_webhook_secret,
            "GITHUB_WEBHOOK_SECRET",
            "It proves that check and pull request events come from GitHub. You choose it: Settings > Webhooks > Secret.",
        )?;
        Ok(Self {
            listen: options.listen,
            jira_secret,
            github_secret,
            slack_secret: options.slack_signing_secret,
            label: policy.label,
            branches: BranchTemplate::new(&policy.conventions.branch)?,
            jira_bot: options.jira_bot_account_id,
        })
    }
}

fn required(secret: Option<SecretString>, name: &str, help: &str) -> Result<SecretString, Missing> {
    use secrecy::ExposeSecret as _;
    secret
        .filter(|secret| !secret.expose_secret().is_empty())
        .ok_or_else(|| Missing(format!("{name} is missing.\n  {help}")))
}
