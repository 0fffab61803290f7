//! The configuration: one TOML file, and secrets from the environment. Read once, checked as a whole, before anything starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use activities::github::{AppKey, GitHubAuth};
use activities::model::{self, PriceError, Prices, UsdPerMillion};
use activities::{access, github, jira, sandbox, sentry, slack, workspace};
use secrecy::SecretString;
use serde::Deserialize;
use workflows::contract::policy::Policy;

use crate::problem::Problem;
use crate::secrets::Environment;

/// Variable that names the configuration file.
pub(crate) const FILE_VARIABLE: &str = "TICKETWRIGHT_CONFIG";
/// The file that is read when none is named.
pub(crate) const DEFAULT_FILE: &str = "ticketwright.toml";

/// The file as it is written. Every section has its own documentation at its `Settings`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    github: Option<github::Settings>,
    jira: Option<jira::Settings>,
    /// Absent: Slack is off.
    slack: Option<slack::Settings>,
    bedrock: model::Settings,
    blobs: BlobSettings,
    workspace: workspace::Settings,
    sandbox: sandbox::Settings,
    access: access::Settings,
    policy: Policy,
    /// Model id -> US dollars per million tokens.
    prices: BTreeMap<String, UsdPerMillion>,
}

/// Where big values are kept.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BlobSettings {
    /// `s3://bucket/prefix`, `file:///absolute/path` or a path. All workers must see the same store. Default `data/blobs`.
    pub url: String,
}

impl Default for BlobSettings {
    fn default() -> Self {
        Self { url: "data/blobs".into() }
    }
}

impl BlobSettings {
    /// Where it is, for people: a directory from the root, and no name or password that somebody wrote into the address.
    pub(crate) fn place(&self) -> String {
        let Some((scheme, rest)) = self.url.split_once("://").filter(|(scheme, _)| *scheme != "file") else {
            let path = self.directory().unwrap_or_default();
            return std::path::absolute(&path).unwrap_or(path).display().to_string();
        };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        // Not only of what is before the first slash: a secret may have one in it.
        let rest = rest.rsplit('@').next().unwrap_or(rest);
        format!("{scheme}://{rest}").trim_end_matches('/').to_owned()
    }

    /// The directory, where it is one.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        match self.url.split_once("://") {
            None => Some(PathBuf::from(&self.url)),
            Some(("file", path)) => Some(PathBuf::from(path)),
            Some(_) => None,
        }
    }
}

/// What `check` looks at on this host, for which no secret is needed.
#[derive(Debug)]
pub(crate) struct Host {
    /// `[blobs]`.
    pub blobs: BlobSettings,
    /// `[workspace]`.
    pub workspace: workspace::Settings,
    /// `[sandbox]`.
    pub sandbox: sandbox::Settings,
}

/// All that the worker needs to know, complete and checked.
#[derive(Debug)]
pub(crate) struct Config {
    /// The file; the access rules are read from it again at every question.
    pub file: PathBuf,
    /// `[github]`.
    pub github: github::Settings,
    /// Token or App.
    pub github_auth: GitHubAuth,
    /// `[jira]`.
    pub jira: jira::Settings,
    /// The bot's account.
    pub jira_auth: jira::Auth,
    /// `[slack]` and the bot token; `None`: Slack is off.
    pub slack: Option<Slack>,
    /// Where Sentry is, and the token; `None`: Sentry is off.
    pub sentry: Option<Sentry>,
    /// `[bedrock]`.
    pub bedrock: model::Settings,
    /// `AWS_BEARER_TOKEN_BEDROCK` is set: it takes the place of an access key.
    pub has_bedrock_api_key: bool,
    /// `[prices]` on top of the built-in ones.
    pub prices: Prices,
    /// `[blobs]`.
    pub blobs: BlobSettings,
    /// `[workspace]`.
    pub workspace: workspace::Settings,
    /// `[sandbox]`.
    pub sandbox: sandbox::Settings,
    /// `[access]`, as it was at the start.
    pub access: access::Settings,
    /// `[policy]`.
    pub policy: Policy,
}

/// Slack, when it is on.
#[derive(Debug)]
pub(crate) struct Slack {
    /// `[slack]`.
    pub settings: slack::Settings,
    /// Bot token.
    pub token: SecretString,
}

/// Sentry, when it is on.
#[derive(Debug)]
pub(crate) struct Sentry {
    /// `SENTRY_URL` and `SENTRY_ORG`.
    pub settings: sentry::Settings,
    /// `SENTRY_AUTH_TOKEN`.
    pub token: SecretString,
}

/// Where Sentry is when `SENTRY_URL` says nothing else.
const SENTRY: &str = "https://sentry.io";

impl Config {
    /// Reads the file that is named by `argument`, else by `TICKETWRIGHT_CONFIG`, else [`DEFAULT_FILE`]. Only the last one may
    /// be absent.
    ///
    /// # Errors
    /// The first thing that is missing or wrong.
    pub(crate) fn load(argument: Option<&Path>, environment: &Environment) -> Result<Self, Problem> {
        let (text, path) = read(argument, environment)?;
        Self::parse(&text, path, environment)
    }

    /// The blob store alone, and the file that names it: what only reads blobs needs no secret of any service.
    ///
    /// # Errors
    /// The file cannot be read or used.
    pub(crate) fn load_blobs(
        argument: Option<&Path>,
        environment: &Environment,
    ) -> Result<(BlobSettings, PathBuf), Problem> {
        let (text, path) = read(argument, environment)?;
        let file: File = toml::from_str(&text).map_err(|error| unusable(&path, &error))?;
        Ok((file.blobs, path))
    }

    /// What concerns this host alone; every other section may be incomplete.
    ///
    /// # Errors
    /// The file cannot be read or used.
    pub(crate) fn load_host(argument: Option<&Path>, environment: &Environment) -> Result<Host, Problem> {
        let (text, path) = read(argument, environment)?;
        let file: File = toml::from_str(&text).map_err(|error| unusable(&path, &error))?;
        Ok(Host { blobs: file.blobs, workspace: file.workspace, sandbox: file.sandbox })
    }

    fn parse(text: &str, path: PathBuf, environment: &Environment) -> Result<Self, Problem> {
        let file: File = toml::from_str(text).map_err(|error| unusable(&path, &error))?;
        let github = file.github.filter(|github| !github.organisation.is_empty()).ok_or_else(|| {
            section_missing(
                "github",
                &path,
                "organisation = \"acme\"",
                "It says in whose repositories the work is done.",
            )
        })?;
        let jira = file.jira.filter(|jira| !jira.url.is_empty()).ok_or_else(|| {
            section_missing(
                "jira",
                &path,
                "url = \"https://acme.atlassian.net\"",
                "Every task starts from a Jira ticket; it says where they are.",
            )
        })?;
        let github_auth = github_auth(environment)?;
        let jira_auth = jira_auth(environment)?;
        let mut policy = file.policy;
        // A file that chooses one agent's model means to keep the others'.
        for (agent, choice) in Policy::default().models {
            policy.models.entry(agent).or_insert(choice);
        }
        let slack = match file.slack {
            Some(settings) => Some(Slack { settings, token: slack_token(environment, &path)? }),
            None => {
                policy.slack.channel.clear();
                policy.slack.errors.clear();
                None
            }
        };
        let sentry = sentry(environment)?;
        sentry::Redactor::new(&policy.sentry.redact).map_err(|error| {
            Problem::new(format!("{error}.")).advice(format!(
                "Mend it under [policy.sentry] in {}; https://docs.rs/regex/latest/regex/#syntax",
                path.display()
            ))
        })?;
        let prices = prices(&file.prices, &policy, &path)?;
        Ok(Self {
            file: path,
            github,
            github_auth,
            jira,
            jira_auth,
            slack,
            sentry,
            bedrock: file.bedrock,
            has_bedrock_api_key: environment.get("AWS_BEARER_TOKEN_BEDROCK").is_some(),
            prices,
            blobs: file.blobs,
            workspace: file.workspace,
            sandbox: file.sandbox,
            access: file.access,
            policy,
        })
    }
}

fn unusable(path: &Path, error: &toml::de::Error) -> Problem {
    Problem::new(format!("{} cannot be used.", path.display()))
        .advice(error.to_string().trim_end().to_owned())
        .advice("Every setting is documented in ticketwright.example.toml.")
}

/// The configuration file's text, and where it is.
fn read(argument: Option<&Path>, environment: &Environment) -> Result<(String, PathBuf), Problem> {
    let named = argument.map(Path::to_owned).or_else(|| environment.get(FILE_VARIABLE).map(PathBuf::from));
    let path = named.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => String::new(),
        Err(error) => {
            return Err(Problem::new(format!("{} cannot be read ({error}).", path.display()))
                .advice(format!("It is the configuration file. {FILE_VARIABLE} or --config names another one."))
                .advice("A documented example is ticketwright.example.toml."));
        }
    };
    Ok((text, path))
}

fn section_missing(section: &str, path: &Path, example: &str, purpose: &str) -> Problem {
    Problem::new(format!("[{section}] is missing from {}.", path.display()))
        .advice(purpose)
        .advice(format!("Add:   [{section}]\n       {example}"))
        .advice("A documented example is ticketwright.example.toml.")
}

fn github_auth(environment: &Environment) -> Result<GitHubAuth, Problem> {
    if let Some(token) = environment.secret("GITHUB_TOKEN")? {
        return Ok(GitHubAuth::Token(token));
    }
    let Some(id) = environment.get("GITHUB_APP_ID") else {
        return Err(Problem::new("GITHUB_TOKEN is missing.")
            .advice("It reads repositories and checks, runs jobs again, pushes branches, opens pull requests and answers comments. Make a")
            .advice("classic token with repo and workflow, as the bot's account, at https://github.com/settings/tokens; a fine-grained one")
            .advice("cannot read checks.")
            .advice("To use a GitHub App instead: set GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY_FILE. It needs Contents, Pull")
            .advice("requests, Workflows, Actions: read and write; Checks, Commit statuses: read-only."));
    };
    let number = |name: &str, text: &str| {
        text.parse::<u64>().map_err(|_| {
            Problem::new(format!("{name} is not a number.")).advice(
                "Find it at https://github.com/settings/apps > your App; the installation's is the end of its URL.",
            )
        })
    };
    let id = number("GITHUB_APP_ID", id)?;
    // Without it the App's installation in the organisation is looked up.
    let installation = environment.get("GITHUB_APP_INSTALLATION_ID");
    let installation = installation.map(|text| number("GITHUB_APP_INSTALLATION_ID", text)).transpose()?;
    let private_key = environment.secret("GITHUB_APP_PRIVATE_KEY")?.ok_or_else(|| {
        Problem::new("GITHUB_APP_PRIVATE_KEY is missing.")
            .advice(
                "It proves that we are the App of GITHUB_APP_ID. Make one under your App > Private keys > Generate.",
            )
            .advice("Set GITHUB_APP_PRIVATE_KEY_FILE to the .pem file.")
            .advice("To use a token instead: set GITHUB_TOKEN.")
    })?;
    Ok(GitHubAuth::App(AppKey { id, private_key, installation }))
}

fn jira_auth(environment: &Environment) -> Result<jira::Auth, Problem> {
    let email = environment.get("JIRA_EMAIL").ok_or_else(|| {
        Problem::new("JIRA_EMAIL is missing.")
            .advice("It is the address of the Jira user as whom Ticketwright reads tickets and comments on them.")
            .advice("Make a user for it, who may browse projects, add comments, delete own comments and transition issues, or use")
            .advice("yours to try it out; its token goes into JIRA_API_TOKEN.")
    })?;
    let token = environment.secret("JIRA_API_TOKEN")?.ok_or_else(|| {
        Problem::new("JIRA_API_TOKEN is missing.")
            .advice(format!("It reads tickets and comments on them as {email}. Make one, signed in as that user, at"))
            .advice("https://id.atlassian.com/manage-profile/security/api-tokens")
            .advice("There is no running without Jira: every task starts from a ticket.")
    })?;
    Ok(jira::Auth::Token { email: email.to_owned(), token })
}

fn slack_token(environment: &Environment, path: &Path) -> Result<SecretString, Problem> {
    environment.secret("SLACK_BOT_TOKEN")?.ok_or_else(|| {
        Problem::new("SLACK_BOT_TOKEN is missing.")
            .advice("It posts plans for approval and answers questions. Find it under OAuth & Permissions > Bot User OAuth Token of your Slack app.")
            .advice(format!(
                "To run without Slack: remove [slack] from {}; approvals then work by CLI and Web UI only.",
                path.display()
            ))
    })
}

fn sentry(environment: &Environment) -> Result<Option<Sentry>, Problem> {
    let Some(token) = environment.secret("SENTRY_AUTH_TOKEN")? else { return Ok(None) };
    let organisation = environment.get("SENTRY_ORG").ok_or_else(|| {
        Problem::new("SENTRY_ORG is missing.")
            .advice("It is the slug of the organisation in Sentry whose errors are looked after: Settings > General Settings.")
            .advice("To run without Sentry: unset SENTRY_AUTH_TOKEN.")
    })?;
    let url = environment.get("SENTRY_URL").unwrap_or(SENTRY);
    if !(url.starts_with("https://") || url.starts_with("http://")) {
        return Err(Problem::new(format!("SENTRY_URL is {url}, which is no address."))
            .advice("Example: https://de.sentry.io, or unset it for https://sentry.io."));
    }
    let settings = sentry::Settings { url: url.to_owned(), organisation: organisation.to_owned() };
    Ok(Some(Sentry { settings, token }))
}

fn prices(configured: &BTreeMap<String, UsdPerMillion>, policy: &Policy, path: &Path) -> Result<Prices, Problem> {
    let problem = |error: PriceError| {
        let problem = Problem::new(format!("{error}."));
        match error {
            PriceError::Absurd { model, .. } => problem.advice(format!("Mend [prices.\"{model}\"] in {}.", path.display())),
            PriceError::Unknown { model } => problem
                .advice("Find it at https://aws.amazon.com/bedrock/pricing (US dollars per million tokens) and add, with its numbers:")
                .advice(format!("[prices.\"{model}\"]\ninput = ...\noutput = ...\ncache_read = ...\ncache_write = ..."))
                .advice(format!("Or choose another model under [policy.models] in {}.", path.display())),
        }
    };
    let prices = Prices::with(configured).map_err(problem)?;
    policy.models.values().try_for_each(|choice| prices.of(&choice.id).map(drop)).map_err(problem)?;
    Ok(prices)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    const COMPLETE: &str = "[github]\norganisation = 'acme'\n[jira]\nurl = 'https://acme.atlassian.net'\n";
    const SECRETS: [(&str, &str); 4] = [
        ("GITHUB_TOKEN", "ghp_secret"),
        ("JIRA_EMAIL", "bot@acme.example"),
        ("JIRA_API_TOKEN", "jira-secret"),
        ("SLACK_BOT_TOKEN", "xoxb-secret"),
    ];

    const APP: [(&str, &str); 2] = [("GITHUB_APP_ID", "7"), ("GITHUB_APP_INSTALLATION_ID", "8")];

    fn parse(text: &str, secrets: &[(&str, &str)]) -> Result<Config, Problem> {
        Config::parse(text, "ticketwright.toml".into(), &Environment::of(secrets))
    }

    #[test]
    fn a_store_is_named_without_what_is_secret_in_its_address() {
        let place = |url: &str| BlobSettings { url: url.into() }.place();
        assert_eq!(place("s3://AKIA7:secret@bucket/tickets/?key=secret"), "s3://bucket/tickets");
        assert_eq!(place("s3://AKIA7:se/cret@bucket/x"), "s3://bucket/x");
        assert_eq!(place("s3://bucket"), "s3://bucket");
        assert_eq!(place("file:///var/lib/x y"), "/var/lib/x y");
        assert!(place("data/blobs").starts_with('/') && place("data/blobs").ends_with("/data/blobs"));
    }

    #[test]
    fn a_complete_file_without_slack_switches_slack_off() {
        let config = parse(COMPLETE, &SECRETS).unwrap();
        assert!(config.slack.is_none());
        assert_eq!((config.policy.slack.channel.as_str(), config.policy.slack.errors.as_str()), ("", ""));
        assert!(matches!(config.jira_auth, jira::Auth::Token { email, .. } if email == "bot@acme.example"));
        let with_slack = parse(&format!("{COMPLETE}[slack]\n[policy.slack]\nchannel = '#bots'"), &SECRETS).unwrap();
        assert_eq!(with_slack.policy.slack.channel, "#bots");
        assert_eq!(with_slack.slack.unwrap().token.expose_secret(), "xoxb-secret");
    }

    const EXAMPLE: &str = include_str!("../../ticketwright.example.toml");

    /// The documented example with every default written out: there a line `# name = value` shows one.
    fn example_in_full() -> String {
        let shows_default = |line: &str| {
            let name = line.strip_prefix("# ").and_then(|rest| rest.split_once(" = ")).map(|(name, _)| name);
            name.is_some_and(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        };
        let lines = EXAMPLE.lines();
        lines
            .map(|line| if shows_default(line) { line.trim_start_matches("# ") } else { line })
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn the_documented_example_can_be_used_and_shows_the_true_defaults() {
        let as_it_is = parse(EXAMPLE, &SECRETS).unwrap();
        assert_eq!(as_it_is.policy, Policy::default());
        let in_full = example_in_full();
        assert!(in_full.len() + 80 < EXAMPLE.len(), "hardly a default is shown");
        let shown = parse(&in_full, &SECRETS).unwrap();
        assert_eq!(format!("{shown:?}"), format!("{as_it_is:?}"));
    }

    #[test]
    fn the_documented_example_shows_every_setting_of_the_policy() {
        fn paths(table: &toml::Table, at: &str) -> Vec<String> {
            let below = |(name, value): (&String, &toml::Value)| match value.as_table() {
                Some(table) => paths(table, &format!("{at}.{name}")),
                None => vec![format!("{at}.{name}")],
            };
            table.iter().flat_map(below).collect()
        }
        let file: toml::Table = example_in_full().parse().unwrap();
        let shown = paths(file["policy"].as_table().unwrap(), "policy");
        let all = paths(&toml::Table::try_from(Policy::default()).unwrap(), "policy");
        assert!(all.iter().any(|path| path == "policy.sentry.thresholds.fatal"), "{all:?}");
        let missing: Vec<&String> = all.iter().filter(|path| !shown.contains(path)).collect();
        assert!(missing.is_empty(), "ticketwright.example.toml lacks {missing:?}");
    }

    #[test]
    fn what_is_missing_is_named_with_where_to_find_it() {
        let table = [
            ("", &SECRETS[..], "[github] is missing from ticketwright.toml."),
            ("[github]\norganisation = 'acme'", &SECRETS[..], "[jira] is missing from ticketwright.toml."),
            (COMPLETE, &SECRETS[1..], "GITHUB_TOKEN is missing."),
            (COMPLETE, &[("GITHUB_APP_ID", "7")], "GITHUB_APP_PRIVATE_KEY is missing."),
            (COMPLETE, &APP, "GITHUB_APP_PRIVATE_KEY is missing."),
            (COMPLETE, &[("GITHUB_APP_ID", "seven")], "GITHUB_APP_ID is not a number."),
            (COMPLETE, &SECRETS[..1], "JIRA_EMAIL is missing."),
            (COMPLETE, &SECRETS[..2], "JIRA_API_TOKEN is missing."),
            (
                "[github]\norganisation = 'acme'\n[jira]\nurl = 'https://x'\n[slack]",
                &SECRETS[..3],
                "SLACK_BOT_TOKEN is missing.",
            ),
        ];
        for (text, secrets, what) in table {
            let problem = parse(text, secrets).unwrap_err();
            assert_eq!(problem.what(), what);
            assert!(!problem.lines().is_empty(), "{problem}");
        }
    }

    #[test]
    fn sentry_is_on_with_a_token_and_an_organisation() {
        let with = |more: &[(&'static str, &'static str)]| parse(COMPLETE, &[&SECRETS[..], more].concat());
        assert!(with(&[("SENTRY_ORG", "acme")]).unwrap().sentry.is_none());
        let on = with(&[("SENTRY_AUTH_TOKEN", "sntrys_x"), ("SENTRY_ORG", "acme")]).unwrap().sentry.unwrap();
        assert_eq!((on.settings.url.as_str(), on.settings.organisation.as_str()), ("https://sentry.io", "acme"));
        assert!(!format!("{on:?}").contains("sntrys_x"));
        let problem = with(&[("SENTRY_AUTH_TOKEN", "x")]).unwrap_err();
        assert_eq!(problem.what(), "SENTRY_ORG is missing.");
        let problem =
            with(&[("SENTRY_AUTH_TOKEN", "x"), ("SENTRY_ORG", "acme"), ("SENTRY_URL", "sentry.io")]).unwrap_err();
        assert_eq!(problem.what(), "SENTRY_URL is sentry.io, which is no address.");
    }

    #[test]
    fn a_pattern_to_redact_that_is_none_stops_the_start() {
        let problem = parse(&format!("{COMPLETE}[policy.sentry]\nredact = ['(']\n"), &SECRETS).unwrap_err();
        assert!(problem.what().starts_with("policy.sentry.redact has \"(\""), "{problem}");
    }

    #[test]
    fn a_misspelt_setting_is_shown_with_its_line() {
        let problem = parse(&format!("{COMPLETE}[bedrok]\nregion = 'x'"), &SECRETS).unwrap_err();
        assert_eq!(problem.what(), "ticketwright.toml cannot be used.");
        assert!(problem.lines()[0].contains("bedrok") && problem.lines()[0].contains("line 5"), "{problem}");
    }

    #[test]
    fn a_model_without_a_price_stops_the_start() {
        let text = format!("{COMPLETE}[policy.models]\ndiscovery = {{ id = 'nova' }}\n");
        let problem = parse(&text, &SECRETS).unwrap_err();
        assert_eq!(problem.what(), "model nova has no price, so no budget can be kept.");
        let priced = format!("{text}[prices.nova]\ninput = 1\noutput = 2.5\ncache_read = 0.1\ncache_write = 1.25\n");
        let chosen = parse(&priced, &SECRETS).unwrap().policy.models;
        assert_eq!(chosen["discovery"].id, "nova");
        assert_eq!(chosen["planning"], Policy::default().models["planning"], "the other agents keep theirs");
    }

    #[test]
    fn a_named_file_that_is_absent_is_a_problem_and_secrets_stay_out_of_debug_output() {
        let environment = Environment::of(&SECRETS);
        let problem = Config::load(Some(Path::new("/nowhere/x.toml")), &environment).unwrap_err();
        assert!(problem.what().starts_with("/nowhere/x.toml cannot be read"), "{problem}");
        let shown = format!("{:?}", parse(&format!("{COMPLETE}[slack]"), &SECRETS).unwrap());
        assert!(!shown.contains("secret\"") && !shown.contains("ghp_"), "{shown}");
    }
}
