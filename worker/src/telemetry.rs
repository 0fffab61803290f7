//! Logs: lines for people on a terminal, JSON otherwise. `RUST_LOG` chooses what is shown.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// What is logged when `RUST_LOG` is not set. The AWS SDK tells of every credential look-up at `info`.
const DEFAULT_FILTER: &str =
    "info,aws_config=warn,aws_smithy_runtime=warn,temporalio_sdk_core=warn,temporalio_client=warn";

/// What is logged then by a command that prints an answer: it says itself what is wrong.
const ANSWERING_FILTER: &str = "error";

/// Starts logging to standard error, so that standard output stays free for answers. `works`: this is a worker, which has no
/// other way to tell what it does.
pub(crate) fn start(works: bool) {
    let default = if works { DEFAULT_FILTER } else { ANSWERING_FILTER };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber can only be a test's: it keeps its own.
    let started = if std::io::stderr().is_terminal() {
        log.with_target(false).try_init()
    } else {
        log.json().flatten_event(true).with_span_list(false).try_init()
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging was started before");
    }
}
