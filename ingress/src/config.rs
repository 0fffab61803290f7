//! Configuration of the ingress: one struct of options, read from the environment or the command line, and the parts of
//! `ticketwright.toml` that the ingress needs. Nothing else here reads the environment, but for the `TEMPORAL_*`
//! variables, which the Temporal SDK reads itself.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Parser;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use workflows::contract::policy::Policy;

use crate::branch::BranchTemplate;

/// Receives webhooks of Jira, GitHub, Sentry and Slack, verifies them, and starts or signals Temporal workflows.
///
/// The connection to Temporal is set by the standard TEMPORAL_* variables (TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE,
/// TEMPORAL_API_KEY, TEMPORAL_TLS_*, TEMPORAL_PROFILE); default localhost:7233, namespace default.
#[derive(Debug, Clone, Parser)]
#[command(name = "ingress", version)]
pub struct Options {
    /// Address to listen on.
    #[arg(long, env = "INGRESS_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Configuration file; else ticketwright.toml, if there is one.
    #[arg(long, env = "TICKETWRIGHT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Secret of the Jira webhook. Set but empty: Jira webhooks are off.
    #[arg(long, env = "JIRA_WEBHOOK_SECRET", hide_env_values = true)]
    pub jira_webhook_secret: Option<SecretString>,
    /// File that holds the secret of the Jira webhook.
    #[arg(long, env = "JIRA_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    pub jira_webhook_secret_file: Option<PathBuf>,
    /// Secret of the GitHub webhook. Set but empty: GitHub webhooks are off.
    #[arg(long, env = "GITHUB_WEBHOOK_SECRET", hide_env_values = true)]
    pub github_webhook_secret: Option<SecretString>,
    /// File that holds the secret of the GitHub webhook.
    #[arg(long, env = "GITHUB_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    pub github_webhook_secret_file: Option<PathBuf>,
    /// Signing secret of the Slack app. Set but empty: buttons, commands and mentions are off.
    #[arg(long, env = "SLACK_SIGNING_SECRET", hide_env_values = true)]
    pub slack_signing_secret: Option<SecretString>,
    /// File that holds the signing secret of the Slack app.
    #[arg(long, env = "SLACK_SIGNING_SECRET_FILE", value_name = "FILE")]
    pub slack_signing_secret_file: Option<PathBuf>,
    /// Client secret of the Sentry integration. Absent or empty: Sentry webhooks are off.
    #[arg(long, env = "SENTRY_CLIENT_SECRET", hide_env_values = true)]
    pub sentry_client_secret: Option<SecretString>,
    /// File that holds the client secret of the Sentry integration.
    #[arg(long, env = "SENTRY_CLIENT_SECRET_FILE", value_name = "FILE")]
    pub sentry_client_secret_file: Option<PathBuf>,
    /// Account id of our own Jira user; label changes made by it start nothing. Absent: everybody's do.
    #[arg(long, env = "JIRA_BOT_ACCOUNT_ID", value_name = "ID")]
    pub jira_bot_account_id: Option<String>,
    /// What to log, in the syntax of tracing's EnvFilter.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub log: String,
}

/// The configuration file that is read when none is named.
pub const DEFAULT_FILE: &str = "ticketwright.toml";

/// A secret that is not empty.
#[derive(Debug, Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a secret; `None` when it is empty.
    pub fn new(secret: SecretString) -> Option<Self> {
        (!secret.expose_secret().trim().is_empty()).then_some(Self(secret))
    }

    /// The secret's text, for computing signatures only.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// What the ingress runs with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Secret of the Jira webhook; `None`: the route is off.
    pub jira_secret: Option<Secret>,
    /// Secret of the GitHub webhook; `None`: the route is off.
    pub github_secret: Option<Secret>,
    /// Slack's signing secret; `None`: the route is off.
    pub slack_secret: Option<Secret>,
    /// Client secret of the Sentry integration; `None`: the route is off.
    pub sentry_secret: Option<Secret>,
    /// Label that hands a ticket over.
    pub label: String,
    /// How our branches are named.
    pub branches: BranchTemplate,
    /// How people call us in comments of pull requests, without `@`.
    pub handle: String,
    /// Account id of the bot in Jira; its own changes start nothing.
    pub jira_bot_account_id: Option<String>,
}

/// A service that sends to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Jira Cloud.
    Jira,
    /// GitHub.
    GitHub,
    /// Slack.
    Slack,
    /// Sentry.
    Sentry,
}

impl Service {
    /// The variable that holds its secret.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Jira => "JIRA_WEBHOOK_SECRET",
            Self::GitHub => "GITHUB_WEBHOOK_SECRET",
            Self::Slack => "SLACK_SIGNING_SECRET",
            Self::Sentry => "SENTRY_CLIENT_SECRET",
        }
    }

    /// Its section in ticketwright.toml.
    fn section(self) -> &'static str {
        match self {
            Self::Jira => "jira",
            Self::GitHub => "github",
            Self::Slack => "slack",
            Self::Sentry => "policy.sentry",
        }
    }

    fn proves(self) -> &'static str {
        match self {
            Self::Jira => {
                "It proves that labelled tickets come from your Jira. You choose it under Jira settings > System > WebHooks."
            }
            Self::GitHub => {
                "It proves that checks, pull requests and comments come from GitHub. You choose it under Settings > Webhooks of the organisation or App."
            }
            Self::Slack => {
                "It proves that clicks, commands and mentions come from Slack. Find it under Basic Information > App Credentials of your Slack app."
            }
            Self::Sentry => {
                "It proves that errors come from Sentry. Find it under Settings > Developer Settings > your integration > Credentials."
            }
        }
    }

    fn without(self) -> &'static str {
        match self {
            Self::Jira => "tickets then start by CLI only",
            Self::GitHub => "CI results are then found by slow polling only, and comments on pull requests not at all",
            Self::Slack => "approvals then work by CLI and Web UI only, and nobody hears commands and mentions",
            Self::Sentry => "errors are then found by the sweep only",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jira => "Jira",
            Self::GitHub => "GitHub",
            Self::Slack => "Slack",
            Self::Sentry => "Sentry",
        })
    }
}

/// Why the ingress cannot start, in words that end with what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A service is configured, but its secret is not set.
    #[error(
        "{variable} is missing.\n  {proves}\n  To run without {service}: remove [{section}] from {file}, or set {variable} to nothing; {without}.",
        variable = .service.variable(), proves = .service.proves(), section = .service.section(), without = .service.without()
    )]
    MissingSecret {
        /// Whose.
        service: Service,
        /// The configuration file.
        file: String,
    },
    /// No service at all.
    #[error(
        "JIRA_WEBHOOK_SECRET, GITHUB_WEBHOOK_SECRET, SLACK_SIGNING_SECRET and SENTRY_CLIENT_SECRET are missing.\n  Without any of them every request would be refused.\n  Set the secrets of the services that send to this ingress; .env.example says where to find them."
    )]
    NoService,
    /// The configuration file cannot be read.
    #[error(
        "{file} cannot be read: {error}.\n  TICKETWRIGHT_CONFIG names it. Copy ticketwright.example.toml there, or unset the variable to run with the defaults.",
        file = .file.display()
    )]
    Unreadable {
        /// Its path.
        file: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file of a secret cannot be read.
    #[error(
        "{variable}_FILE names {file}, which cannot be read: {error}.\n  Put the secret alone into that file, readable for this user, or set {variable} itself.",
        variable = .service.variable(), file = .file.display()
    )]
    UnreadableSecret {
        /// Whose.
        service: Service,
        /// Its path.
        file: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{file} is not valid.\n  {error}", file = .file.display(), error = .error.trim_end().replace('\n', "\n  "))]
    Invalid {
        /// Its path.
        file: PathBuf,
        /// What is wrong, and where.
        error: String,
    },
}

/// The parts of `ticketwright.toml` that matter here. The worker reads the rest.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    policy: Policy,
    jira: Option<toml::Table>,
    github: Option<toml::Table>,
    slack: Option<toml::Table>,
}

impl Options {
    /// Reads the files and checks everything together.
    ///
    /// # Errors
    /// The first thing that is missing or wrong, in words.
    pub fn settings(self) -> Result<Settings, ConfigError> {
        let file = read(self.config.as_deref())?;
        let path = self.config.unwrap_or_else(|| DEFAULT_FILE.into());
        let invalid = |error: String| ConfigError::Invalid { file: path.clone(), error };
        if file.policy.label.trim().is_empty() || file.policy.label.contains(char::is_whitespace) {
            return Err(invalid("policy.label must be one word: labels in Jira have no spaces".into()));
        }
        let handle = file.policy.conventions.handle;
        if handle.is_empty() || !handle.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(invalid(
                "policy.conventions.handle must be a name without @: letters, digits and - only".into(),
            ));
        }
        let branches = file.policy.conventions.branch.parse().map_err(|error| invalid(format!("policy.{error}")))?;
        let secret = |service: Service, value, secret_file, section: Option<toml::Table>| {
            let secret = secret(service, value, secret_file)?;
            match (secret, section) {
                (Some(secret), _) => Ok(Secret::new(secret)),
                (None, None) => Ok(None),
                (None, Some(_)) => Err(ConfigError::MissingSecret { service, file: path.display().to_string() }),
            }
        };
        let jira_secret = secret(Service::Jira, self.jira_webhook_secret, self.jira_webhook_secret_file, file.jira)?;
        let github_secret =
            secret(Service::GitHub, self.github_webhook_secret, self.github_webhook_secret_file, file.github)?;
        let slack_secret =
            secret(Service::Slack, self.slack_signing_secret, self.slack_signing_secret_file, file.slack)?;
        // Sentry has no section in the file: it is on where its secret is.
        let sentry_secret = secret(Service::Sentry, self.sentry_client_secret, self.sentry_client_secret_file, None)?;
        let all = [&jira_secret, &github_secret, &slack_secret, &sentry_secret];
        if all.into_iter().all(Option::is_none) {
            return Err(ConfigError::NoService);
        }
        Ok(Settings {
            listen: self.listen,
            jira_secret,
            github_secret,
            slack_secret,
            sentry_secret,
            label: file.policy.label,
            branches,
            handle,
            jira_bot_account_id: self.jira_bot_account_id.filter(|id| !id.is_empty()),
        })
    }

    /// No service at all, any free port, whatever the environment of the test says.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 0).into(),
            config: None,
            jira_webhook_secret: None,
            jira_webhook_secret_file: None,
            github_webhook_secret: None,
            github_webhook_secret_file: None,
            slack_signing_secret: None,
            slack_signing_secret_file: None,
            sentry_client_secret: None,
            sentry_client_secret_file: None,
            jira_bot_account_id: None,
            log: "info".into(),
        }
    }
}

impl Settings {
    /// The secret of a service, if its route is on.
    pub fn secret(&self, service: Service) -> Option<&Secret> {
        match service {
            Service::Jira => self.jira_secret.as_ref(),
            Service::GitHub => self.github_secret.as_ref(),
            Service::Slack => self.slack_secret.as_ref(),
            Service::Sentry => self.sentry_secret.as_ref(),
        }
    }

    /// One line per route that is off, for the log at start.
    pub fn switched_off(&self) -> Vec<String> {
        [Service::Jira, Service::GitHub, Service::Slack, Service::Sentry]
            .into_iter()
            .filter(|service| self.secret(*service).is_none())
            .map(|service| format!("{service} is off: {} is not set; {}", service.variable(), service.without()))
            .collect()
    }
}

fn read(named: Option<&Path>) -> Result<File, ConfigError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => return Ok(File::default()),
        Err(error) => return Err(ConfigError::Unreadable { file: path.to_owned(), error }),
    };
    toml::from_str(&text).map_err(|error| ConfigError::Invalid { file: path.to_owned(), error: error.to_string() })
}

/// A secret from its variable, else from the file that is named.
fn secret(
    service: Service,
    value: Option<SecretString>,
    file: Option<PathBuf>,
) -> Result<Option<SecretString>, ConfigError> {
    match (value, file) {
        (Some(value), _) => Ok(Some(value)),
        (None, None) => Ok(None),
        (None, Some(file)) => match std::fs::read_to_string(&file) {
            // Editors and `echo` end a file with a line break that belongs to no secret.
            Ok(content) => Ok(Some(content.trim().into())),
            Err(error) => Err(ConfigError::UnreadableSecret { service, file, error }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(config: Option<PathBuf>) -> Options {
        Options { config, jira_webhook_secret: Some("j".to_owned().into()), ..Options::for_tests() }
    }

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ticketwright.toml");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    #[test]
    fn without_a_file_every_default_holds_and_unset_or_empty_secrets_switch_off() {
        let settings =
            Options { slack_signing_secret: Some(String::new().into()), ..options(None) }.settings().unwrap();
        assert_eq!(settings.label, "AI");
        assert!(settings.jira_secret.is_some() && settings.github_secret.is_none() && settings.slack_secret.is_none());
        let off = settings.switched_off();
        assert_eq!(off.len(), 3);
        assert!(off[2].contains("SENTRY_CLIENT_SECRET is not set; errors"), "{off:?}");
        assert!(off[1].contains("SLACK_SIGNING_SECRET is not set; approvals"), "{off:?}");
    }

    #[test]
    fn the_file_gives_label_and_template_and_leaves_the_rest_to_the_worker() {
        let (_directory, path) = file(
            "[policy]\nlabel = \"robot\"\n[policy.conventions]\nbranch = \"r/{key}/{generation}\"\n[jira]\nurl = \"https://acme.atlassian.net\"\n[bedrock]\nregion = \"x\"\n",
        );
        let settings = options(Some(path)).settings().unwrap();
        assert_eq!(settings.label, "robot");
        assert!(settings.branches.read("r/SHOP-1/1a2b3c4d").is_some());
    }

    #[test]
    fn a_secret_may_come_from_a_file() {
        let (_directory, path) = file("from file\n");
        let from_file = Options { github_webhook_secret_file: Some(path), ..options(None) }.settings().unwrap();
        assert_eq!(from_file.github_secret.unwrap().expose(), "from file");
        let missing = Options { github_webhook_secret_file: Some("/nowhere/s".into()), ..options(None) };
        let error = missing.settings().unwrap_err().to_string();
        assert!(error.starts_with("GITHUB_WEBHOOK_SECRET_FILE names /nowhere/s, which cannot be read"), "{error}");
    }

    #[test]
    fn the_documented_examples_name_every_variable_and_can_be_used() {
        use clap::CommandFactory;
        let documented = include_str!("../../.env.example");
        let compose = include_str!("../../docker-compose.temporal.yml");
        for argument in Options::command().get_arguments() {
            let Some(variable) = argument.get_env().and_then(|variable| variable.to_str()) else { continue };
            assert!(documented.contains(&format!("{variable}=")), ".env.example lacks {variable}");
            assert!(
                compose.contains(&format!(" {variable}:")),
                "the ingress of docker-compose.temporal.yml lacks {variable}"
            );
        }
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../ticketwright.example.toml");
        let secret = || Some("s".to_owned().into());
        let options = Options {
            github_webhook_secret: secret(),
            slack_signing_secret: secret(),
            ..options(Some(example.into()))
        };
        assert_eq!(options.settings().unwrap().label, "AI");
    }

    #[test]
    fn what_is_missing_or_wrong_is_said_with_the_way_out() {
        let (_directory, path) = file("[github]\norganisation = \"acme\"\n");
        let error = options(Some(path.clone())).settings().unwrap_err().to_string();
        assert!(error.starts_with("GITHUB_WEBHOOK_SECRET is missing.\n  It proves"), "{error}");
        assert!(error.contains("remove [github]"), "{error}");
        let none = Options { jira_webhook_secret: None, ..options(None) };
        assert!(none.settings().unwrap_err().to_string().contains("JIRA_WEBHOOK_SECRET"));
        for (text, expected) in [
            ("[policy]\nlabell = \"x\"\n", "labell"),
            ("[policy]\nlabel = \"two words\"\n", "one word"),
            (
                "[policy.conventions]\nbranch = \"{key}\"\n",
                "policy.conventions.branch = \"{key}\" cannot be used: it lacks",
            ),
            ("policy = 1", "policy"),
        ] {
            let (_directory, path) = file(text);
            let error = options(Some(path)).settings().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let missing = options(Some("/nonexistent/t.toml".into())).settings().unwrap_err().to_string();
        assert!(missing.contains("TICKETWRIGHT_CONFIG"), "{missing}");
    }

    #[test]
    fn secrets_stay_out_of_debug_output() {
        let options = Options { jira_webhook_secret: Some("hunter2".to_owned().into()), ..options(None) };
        assert!(!format!("{options:?}").contains("hunter2"));
        assert!(!format!("{:?}", options.settings().unwrap()).contains("hunter2"));
    }
}
