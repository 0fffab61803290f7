//! `ticketwright check`: every service looked at, read-only, with the exact next step for what is missing.

mod bedrock;
mod github;
mod http;
mod jira;
mod passage;
mod policy;
mod sandbox;
mod sentry;
mod slack;
mod storage;
mod temporal;

use std::fmt::Write as _;
use std::time::Duration;

use activities::failure::ServiceError;
use workflows::agents::untrusted::{visible, without_sequences};

use crate::config::{Config, Host};

/// Longest look at one service.
const LIMIT: Duration = Duration::from_secs(10);

/// Money may be spent, for calls that cannot be made without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spending {
    /// Nothing that costs money.
    Nothing,
    /// One token per model.
    OneTokenPerModel,
}

/// What was found at one service.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    service: &'static str,
    mark: Mark,
    /// Who we are there, or what is wrong.
    summary: String,
    /// What is missing, and what to do.
    notes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Good,
    Bad,
    Off,
}

impl Finding {
    fn good(service: &'static str, summary: impl Into<String>) -> Self {
        Self { service, mark: Mark::Good, summary: summary.into(), notes: Vec::new() }
    }

    fn bad(service: &'static str, summary: impl Into<String>) -> Self {
        Self { mark: Mark::Bad, ..Self::good(service, summary) }
    }

    fn off(service: &'static str, summary: impl Into<String>) -> Self {
        Self { mark: Mark::Off, ..Self::good(service, summary) }
    }

    /// A remark that changes nothing.
    fn note(mut self, line: impl Into<String>) -> Self {
        self.notes.push(line.into());
        self
    }

    /// Something is missing; `next` mends it.
    fn lacks(self, what: impl Into<String>, next: impl Into<String>) -> Self {
        let finding = self.note(format!("✗ {}", what.into())).note(format!("  {}", next.into()));
        Self { mark: Mark::Bad, ..finding }
    }
}

/// Looks at everything, in parallel. Returns the table, and whether all that is required works.
pub(crate) async fn run(config: &Config, spending: Spending) -> (String, bool) {
    let (temporal, github, jira, sentry, slack, bedrock, blobs, sandbox) = tokio::join!(
        within_limit("Temporal", temporal::look()),
        within_limit("GitHub", github::look(config)),
        within_limit("Jira", jira::look(config)),
        within_limit("Sentry", sentry::look(config)),
        within_limit("Slack", slack::look(config)),
        within_limit("Bedrock", bedrock::look(config, spending)),
        within_limit("Blobs", storage::look_at_blobs(&config.blobs)),
        within_limit("Sandbox", sandbox::look(&config.sandbox, &config.workspace.setup)),
    );
    let workspace = storage::look_at_workspace(&config.workspace.directory);
    let findings = [temporal, github, jira, sentry, slack, bedrock, blobs, workspace, sandbox, policy::look(config)];
    let works = findings.iter().all(|finding| finding.mark != Mark::Bad);
    let next = if works { READY.to_owned() } else { to_mend(&findings) };
    (table(&findings, &next), works)
}

/// Looks at what needs no secret of a service: Temporal, and this host. Returns the table.
pub(crate) async fn run_without_services(host: &Host) -> String {
    let (temporal, blobs, sandbox) = tokio::join!(
        within_limit("Temporal", temporal::look()),
        within_limit("Blobs", storage::look_at_blobs(&host.blobs)),
        within_limit("Sandbox", sandbox::look(&host.sandbox, &host.workspace.setup)),
    );
    let workspace = storage::look_at_workspace(&host.workspace.directory);
    table(
        &[temporal, blobs, workspace, sandbox],
        "The services were not looked at: their configuration is not complete.",
    )
}

const READY: &str = "Ready: label a ticket, or start one with\n  temporal workflow start --type ticket --task-queue ticketwright \
                     --workflow-id ticket-PROJ-123 --input '{\"key\":\"PROJ-123\"}'";

fn to_mend(findings: &[Finding]) -> String {
    let bad = findings.iter().filter(|finding| finding.mark == Mark::Bad).map(|finding| finding.service);
    format!("To mend: {}. Then run ticketwright check again.", bad.collect::<Vec<_>>().join(", "))
}

async fn within_limit(service: &'static str, look: impl Future<Output = Finding>) -> Finding {
    tokio::time::timeout(LIMIT, look).await.unwrap_or_else(|_| too_late(service))
}

/// An error for people, with its cause.
fn told(error: &ServiceError) -> String {
    match &error.source {
        Some(cause) => format!("{error} ({})", cause.root_cause()),
        None => error.to_string(),
    }
}

fn too_late(service: &'static str) -> Finding {
    Finding::bad(service, format!("no answer within {} s", LIMIT.as_secs()))
        .note("  Check the address and the network between here and there.")
}

/// The findings, and `next` below them.
fn table(findings: &[Finding], next: &str) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.mark {
            Mark::Good => '✓',
            Mark::Bad => '✗',
            Mark::Off => '–',
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{mark} {:<9} {}", finding.service, plain(&finding.summary));
        for note in finding.notes.iter().flat_map(|note| note.lines()) {
            let _ = writeln!(text, "{:12}{}", "", plain(note));
        }
    }
    let _ = writeln!(text, "\n{next}");
    text
}

/// What services and programs said, with nothing in it that a terminal would obey.
fn plain(text: &str) -> String {
    visible(&without_sequences(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_per_service_and_the_next_step_below_what_is_missing() {
        let findings = [
            Finding::good("Temporal", "127.0.0.1:7233, namespace default"),
            Finding::good("Jira", "Bot at https://x").lacks("permission to comment", "Project settings > Permissions"),
            Finding::off("Slack", "off"),
        ];
        let text = table(&findings, &to_mend(&findings));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "✓ Temporal  127.0.0.1:7233, namespace default");
        assert_eq!(lines[1], "✗ Jira      Bot at https://x");
        assert_eq!(lines[2], "            ✗ permission to comment");
        assert_eq!(lines[3], "              Project settings > Permissions");
        assert_eq!(lines[4], "– Slack     off");
        assert_eq!(lines[6], "To mend: Jira. Then run ticketwright check again.");
    }
    #[test]
    fn what_a_program_said_cannot_command_the_terminal() {
        let said = "mvn \u{1b}[1mApache Maven 3.8.7\u{1b}[m\u{7}, \u{1b}]0;title\u{7}x";
        let text = table(&[Finding::good("Sandbox", said).note(said)], "");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        assert!(text.starts_with("✓ Sandbox   mvn Apache Maven 3.8.7, "), "{text:?}");
    }
}
