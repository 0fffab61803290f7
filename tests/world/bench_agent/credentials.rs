//! AWS credentials of nobody, for this process. The adapter looks for them in the environment, which cannot change while a
//! process runs, so the program starts again in its own place.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// They open nothing but a stand-in, and leave out what belongs to the person who runs this.
pub(crate) const VARIABLES: [(&str, &str); 5] = [
    ("AWS_ACCESS_KEY_ID", "AKIABENCH0000000TEST"),
    ("AWS_SECRET_ACCESS_KEY", "opens-a-stand-in-only"),
    ("AWS_CONFIG_FILE", "/dev/null"),
    ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
];

/// Returns in the process that has them.
pub(crate) fn take() -> anyhow::Result<()> {
    if VARIABLES.iter().all(|(name, value)| std::env::var(name).is_ok_and(|has| has == *value)) {
        return Ok(());
    }
    let mut again = Command::new(std::env::current_exe()?);
    again.args(std::env::args_os().skip(1)).envs(VARIABLES);
    for other in ["AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK", "AWS_ENDPOINT_URL"] {
        again.env_remove(other);
    }
    // Only returns when it fails.
    Err(again.exec().into())
}
