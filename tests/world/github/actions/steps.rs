//! What steps are given and give back: variables, the `github` context, the checkout, and the files they report with.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::job::JobWork;
use super::sandbox::Room;
use crate::github::git::{finish, git_command};

/// Ref of a run as `GITHUB_REF` names it.
fn reference(work: &JobWork) -> (String, String) {
    match work.run.pull {
        Some(number) => (format!("refs/pull/{number}/merge"), format!("{number}/merge")),
        None => (format!("refs/heads/{}", work.run.head_branch), work.run.head_branch.clone()),
    }
}

/// The `GITHUB_*` and `RUNNER_*` variables.
/// <https://docs.github.com/en/actions/writing-workflows/choosing-what-your-workflow-does/store-information-in-variables#default-environment-variables>
pub(super) fn variables(work: &JobWork, room: &Room) -> BTreeMap<String, String> {
    let run = &work.run;
    let (full, name) = reference(work);
    let head = run.pull.map(|_| run.head_branch.clone()).unwrap_or_default();
    let pairs = [
        ("GITHUB_ACTIONS", "true".to_owned()),
        ("GITHUB_ACTOR", run.actor.clone()),
        ("GITHUB_API_URL", work.hub.api("")),
        ("GITHUB_BASE_REF", run.base_branch.clone().unwrap_or_default()),
        ("GITHUB_EVENT_NAME", run.event.clone()),
        ("GITHUB_HEAD_REF", head),
        ("GITHUB_JOB", work.spec.key.clone()),
        ("GITHUB_REF", full),
        ("GITHUB_REF_NAME", name),
        ("GITHUB_REF_TYPE", "branch".to_owned()),
        ("GITHUB_REPOSITORY", work.place.full.clone()),
        ("GITHUB_REPOSITORY_OWNER", work.place.owner.clone()),
        ("GITHUB_RUN_ATTEMPT", run.attempt.to_string()),
        ("GITHUB_RUN_ID", run.id.to_string()),
        ("GITHUB_RUN_NUMBER", run.number.to_string()),
        ("GITHUB_SERVER_URL", work.hub.base.clone()),
        ("GITHUB_SHA", run.head_sha.clone()),
        ("GITHUB_WORKFLOW", run.name.clone()),
        ("GITHUB_WORKSPACE", room.workspace.display().to_string()),
        ("RUNNER_ARCH", "X64".to_owned()),
        ("RUNNER_NAME", "world-runner".to_owned()),
        ("RUNNER_OS", "Linux".to_owned()),
        ("RUNNER_TEMP", room.temp.display().to_string()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The `github` context of expressions.
pub(super) fn github_context(work: &JobWork) -> Value {
    let run = &work.run;
    let (full, name) = reference(work);
    json!({
        "actor": run.actor,
        "base_ref": run.base_branch,
        "event_name": run.event,
        "event": {"number": run.pull, "pull_request": {"number": run.pull, "head": {"ref": run.head_branch, "sha": run.head_sha}}},
        "head_ref": run.pull.map(|_| &run.head_branch),
        "job": work.spec.key,
        "ref": full,
        "ref_name": name,
        "repository": work.place.full,
        "repository_owner": work.place.owner,
        "run_attempt": run.attempt,
        "run_id": run.id,
        "run_number": run.number,
        "server_url": work.hub.base,
        "sha": run.head_sha,
        "workflow": run.name,
    })
}

/// `actions/checkout`: the head commit (or another ref), one commit deep unless told.
pub(super) async fn check_out(
    work: &JobWork,
    room: &Room,
    reference: Option<String>,
    path: Option<String>,
    depth: Option<&str>,
) -> anyhow::Result<()> {
    let sha = match &reference {
        Some(name) => {
            let found = work.place.git.resolve(name).await;
            found.with_context(|| format!("A branch or tag with the name '{name}' could not be found"))?
        }
        None => work.run.head_sha.clone(),
    };
    let target = match &path {
        Some(path) => room.workspace.join(path),
        None => room.workspace.clone(),
    };
    anyhow::ensure!(target.starts_with(&room.workspace), "the checkout path leaves the workspace");
    std::fs::create_dir_all(&target)?;
    let source = format!("file://{}", work.place.git.dir().display());
    let run = async |args: &[&str]| {
        let mut command = git_command();
        command.current_dir(&target).args(args);
        finish(command, None).await
    };
    work.log(&format!("Syncing repository: {}", work.place.full));
    run(&["init", "--quiet", "--initial-branch=main", "."]).await?;
    match depth {
        Some("0") => {
            run(&["fetch", "--quiet", "--tags", &source, "+refs/heads/*:refs/remotes/origin/*"]).await?;
            run(&["fetch", "--quiet", &source, &sha]).await?;
        }
        depth => {
            let depth = format!("--depth={}", depth.and_then(|depth| depth.parse::<u32>().ok()).unwrap_or(1));
            run(&["fetch", "--quiet", "--no-tags", &depth, &source, &sha]).await?;
        }
    }
    run(&["checkout", "--quiet", "--detach", &sha]).await?;
    work.log(&format!("HEAD is now at {sha}"));
    Ok(())
}

/// Reads `name=value` lines and `name<<END` blocks.
pub(super) fn read_report(text: &str) -> Vec<(String, String)> {
    let mut lines = text.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let equals = line.find('=').unwrap_or(usize::MAX);
        match line.find("<<") {
            Some(at) if at < equals => {
                let end = &line[at + 2..];
                let block: Vec<&str> = lines.by_ref().take_while(|next| *next != end).collect();
                found.push((line[..at].to_owned(), block.join("\n")));
            }
            _ => found.extend(line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::read_report;

    #[test]
    fn reports_are_lines_and_blocks() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read_report("a=1\nb<<X\none\ntwo=2\nX\nc=x=y\n"),
            [pair("a", "1"), pair("b", "one\ntwo=2"), pair("c", "x=y")]
        );
    }
}
