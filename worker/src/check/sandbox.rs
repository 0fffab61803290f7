//! The sandbox: the real profile run once, and what the host adds to it.

use std::time::Duration;

use activities::sandbox::Sandbox;
use activities::workspace::Tooling;

use super::Finding;
use crate::config::Config;

const SERVICE: &str = "Sandbox";
/// Longest wait for programs that tell their version.
const PATIENCE: Duration = Duration::from_secs(6);

pub(super) async fn look(config: &Config) -> Finding {
    match Sandbox::look(config.sandbox.clone()).await {
        Ok(sandbox) => {
            let found = Finding::good(SERVICE, "a command ran without network, capabilities and the worker's files");
            let found = sandbox.warnings().iter().fold(found, |found, warning| found.note(warning.as_str()));
            set_up(config, &sandbox, found).await
        }
        Err(error) => Finding::bad(SERVICE, "commands cannot run on this host")
            .note(format!("✗ {error}"))
            .note("  Or run ticketwright run --no-sandbox-queue here, and another worker where it works."),
    }
}

/// What repositories' dependencies are installed with, and from where.
async fn set_up(config: &Config, sandbox: &Sandbox, found: Finding) -> Finding {
    let settings = &config.workspace.setup;
    if !settings.enabled {
        return found.note("Dependencies of repositories are not installed: enabled = false under [workspace.setup].");
    }
    if !sandbox.has_helper() {
        return found.note("Dependencies of repositories cannot be installed without ticketwright-inside.");
    }
    let found = match tokio::time::timeout(PATIENCE, Tooling::of(sandbox)).await {
        Ok(Ok(tooling)) => tooling.lines().into_iter().fold(found, Finding::note),
        Ok(Err(error)) => found.note(format!("Which tools it has could not be asked: {error}")),
        Err(_) => found.note("Which tools it has could not be asked in time."),
    };
    found.note(format!("Set-ups may reach {}.", settings.hosts().join(", ")))
}
