//! The sandbox: the real profile run once, and what the host adds to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use activities::sandbox::{Sandbox, Settings};
use activities::workspace::{SetupSettings, Tooling};

use super::{Finding, passage};

const SERVICE: &str = "Sandbox";
/// Longest wait for programs that tell their version.
const PATIENCE: Duration = Duration::from_secs(6);

pub(super) async fn look(settings: &Settings, set_up: &SetupSettings) -> Finding {
    let others_run = passage::others_run();
    let found = match Sandbox::look(settings.clone()).await {
        Ok(sandbox) => {
            let found = Finding::good(SERVICE, "a command ran without network, capabilities and the worker's files");
            let found = sandbox.warnings().iter().fold(found, |found, warning| found.note(warning.as_str()));
            with_closed(tools(set_up, &sandbox, found).await, settings, others_run)
        }
        Err(error) => {
            let found = Finding::bad(SERVICE, "commands cannot run on this host").note(format!("✗ {error}"));
            with_closed(found, settings, others_run)
                .note("  Or run ticketwright run --no-sandbox-queue here, and another worker where it works.")
        }
    };
    with_missing(found, &settings.read_only)
}

/// Names the directories that keep the sandbox's users from what the settings name. `others_run`: commands run as other users.
fn with_closed(found: Finding, settings: &Settings, others_run: bool) -> Finding {
    if !others_run {
        return found;
    }
    let state = settings.state.iter().map(|path| (path, "state"));
    let tools = settings.read_only.iter().map(|path| (path, "read_only"));
    state.chain(tools).fold(found, |found, (path, name)| match closed(path) {
        closed if closed.is_empty() => found,
        closed => passage::tell(found, &format!("[sandbox] {name} = {}", path.display()), &closed),
    })
}

/// The closed directories on the way to `path`, and itself if it is one.
fn closed(path: &Path) -> Vec<PathBuf> {
    let mut closed = passage::closed_above(path);
    if passage::is_closed(path) {
        closed.push(path.to_owned());
    }
    closed
}

/// Tools that are not where the settings say are no reason not to start: commands that need them will say so, to a model.
fn with_missing(found: Finding, read_only: &[PathBuf]) -> Finding {
    read_only.iter().filter(|path| !path.exists()).fold(found, |found, path| {
        let named = path.display();
        found.note(format!(
            "[sandbox] read_only names {named}, which is not there: commands do without it. Mend or remove it."
        ))
    })
}

/// What repositories' dependencies are installed with, and from where.
async fn tools(settings: &SetupSettings, sandbox: &Sandbox, found: Finding) -> Finding {
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Mark;
    use super::*;

    #[test]
    fn what_lies_below_a_closed_directory_is_told_with_that_directory() {
        let directory = tempfile::tempdir().unwrap();
        let closed = directory.path().canonicalize().unwrap();
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
        let (state, tools) = (closed.join("state"), closed.join("tools"));
        let settings = Settings { state: Some(state.clone()), read_only: vec![tools.clone()], ..Settings::default() };
        let found = Finding::bad(SERVICE, "x");
        assert_eq!(with_closed(found.clone(), &settings, false), found);
        let told = with_closed(found, &settings, true).notes;
        for (name, path) in [("state", &state), ("read_only", &tools)] {
            let what = format!("[sandbox] {name} = {}", path.display());
            assert!(told.iter().any(|note| note.ends_with(&what)), "{told:?}");
        }
        assert_eq!(told.iter().filter(|note| note.contains(&format!("chmod o+x {} ", closed.display()))).count(), 2);
    }

    #[test]
    fn tools_that_are_not_there_are_named_and_stop_nothing() {
        let found = with_missing(Finding::good(SERVICE, "x"), &["/".into(), "/nowhere/tools".into()]);
        assert_eq!((found.mark, found.notes.len()), (Mark::Good, 1));
        assert!(
            found.notes[0].starts_with("[sandbox] read_only names /nowhere/tools, which is not there"),
            "{found:?}"
        );
    }
}
