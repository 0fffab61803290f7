//! The sandbox: the real profile run once, and what the kernel adds to it.

use std::fs;

use activities::sandbox::Sandbox;

use super::Finding;
use crate::config::Config;

const SERVICE: &str = "Sandbox";

pub(super) async fn look(config: &Config) -> Finding {
    let found = match Sandbox::probe(config.sandbox.clone()).await {
        Ok(_) => Finding::good(SERVICE, "a command ran without network, capabilities and the worker's files"),
        Err(error) => {
            return Finding::bad(SERVICE, "commands cannot run on this host")
                .note(format!("✗ {error}"))
                .note("  Or run ticketwright run --no-sandbox-queue here, and another worker where it works.");
        }
    };
    let found = match fs::read_to_string("/sys/kernel/security/lsm") {
        Ok(modules) if modules.split(',').any(|module| module.trim() == "landlock") => found,
        Ok(_) => found.note("No Landlock in this kernel: one layer less around files, the others hold."),
        Err(_) => found.note("Whether the kernel has Landlock cannot be seen here; the other layers hold without it."),
    };
    match fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") {
        Ok(controllers) if controllers.split_whitespace().any(|controller| controller == "memory") => found,
        _ => found.note("No memory cgroup here: memory is watched and limited per process instead."),
    }
}
