//! The sandbox: the real profile run once, and what the host adds to it.

use activities::sandbox::Sandbox;

use super::Finding;
use crate::config::Config;

const SERVICE: &str = "Sandbox";

pub(super) async fn look(config: &Config) -> Finding {
    match Sandbox::probe(config.sandbox.clone()).await {
        Ok(sandbox) => {
            let found = Finding::good(SERVICE, "a command ran without network, capabilities and the worker's files");
            sandbox.warnings().iter().fold(found, |found, warning| found.note(warning.as_str()))
        }
        Err(error) => Finding::bad(SERVICE, "commands cannot run on this host")
            .note(format!("✗ {error}"))
            .note("  Or run ticketwright run --no-sandbox-queue here, and another worker where it works."),
    }
}
