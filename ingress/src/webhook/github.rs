//! GitHub's webhooks (<https://docs.github.com/en/webhooks/webhook-events-and-payloads>): checks and pull requests of our
//! own branches.

use serde::Deserialize;
use workflows::contract::github::PullRequestState;
use workflows::contract::ids::{BranchName, CommitSha, RepositoryName};
use workflows::contract::trigger::{ChecksChanged, PullRequestChanged, Trigger};

use super::branch::BranchTemplate;
use super::{Meaning, Unreadable};

#[derive(Debug, Deserialize)]
struct Payload {
    #[serde(default)]
    action: String,
    repository: Option<Repository>,
    sender: Option<Login>,
    pull_request: Option<PullRequest>,
    check_suite: Option<Suite>,
    check_run: Option<CheckRun>,
    workflow_run: Option<Suite>,
    // `status` events carry these at the top level.
    #[serde(default)]
    state: String,
    #[serde(default)]
    sha: String,
    #[serde(default)]
    branches: Vec<Branch>,
}

#[derive(Debug, Deserialize)]
struct Repository {
    full_name: String,
}

#[derive(Debug, Deserialize)]
struct Login {
    login: String,
}

#[derive(Debug, Deserialize)]
struct Branch {
    name: String,
}

#[derive(Debug, Deserialize)]
struct PullRequest {
    number: u64,
    state: String,
    #[serde(default)]
    merged: bool,
    head: Head,
}

#[derive(Debug, Deserialize)]
struct Head {
    #[serde(rename = "ref")]
    branch: String,
    sha: String,
}

#[derive(Debug, Deserialize)]
struct Suite {
    head_branch: Option<String>,
    head_sha: String,
}

#[derive(Debug, Deserialize)]
struct CheckRun {
    check_suite: Option<Suite>,
    head_sha: String,
}

/// Reads a webhook whose signature was verified. `event` is the `X-GitHub-Event` header.
pub fn read(event: &str, body: &[u8], branches: &BranchTemplate) -> Result<Meaning, Unreadable> {
    if event == "ping" {
        return Ok(Meaning::ignore("ping: the webhook is set up"));
    }
    let payload: Payload = serde_json::from_slice(body)?;
    let Some(repository) = &payload.repository else {
        return Ok(Meaning::ignore(format!("{event} is not about a repository")));
    };
    let repository: RepositoryName = repository.full_name.parse().map_err(|fault| Unreadable(format!("{fault}")))?;
    let completed = payload.action == "completed";
    match event {
        "pull_request" => read_pull_request(payload, repository, branches),
        "check_suite" if completed => checks(event, repository, payload.check_suite, branches),
        "workflow_run" if completed => checks(event, repository, payload.workflow_run, branches),
        "check_run" if completed => {
            let suite = payload.check_run.map(|run| Suite {
                head_branch: run.check_suite.and_then(|suite| suite.head_branch),
                head_sha: run.head_sha,
            });
            checks(event, repository, suite, branches)
        }
        "status" if payload.state != "pending" => {
            let ours = payload.branches.iter().find(|branch| branches.ticket(&branch.name).is_some());
            let suite = Suite { head_branch: ours.map(|branch| branch.name.clone()), head_sha: payload.sha };
            checks(event, repository, Some(suite), branches)
        }
        _ => Ok(Meaning::ignore(format!("{event} {} changes nothing for us", payload.action))),
    }
}

fn checks(
    event: &str,
    repository: RepositoryName,
    suite: Option<Suite>,
    branches: &BranchTemplate,
) -> Result<Meaning, Unreadable> {
    let Some(suite) = suite else {
        return Err(Unreadable(format!("{event} without its object")));
    };
    let Some(ticket) = suite.head_branch.as_deref().and_then(|branch| branches.ticket(branch)) else {
        return Ok(Meaning::ignore(format!("{event} of a branch that is not ours")));
    };
    let sha: CommitSha = suite.head_sha.parse().map_err(|fault| Unreadable(format!("{fault}")))?;
    Ok(Meaning::act(Trigger::ChecksChanged { ticket, news: ChecksChanged { repository, sha } }))
}

fn read_pull_request(
    payload: Payload,
    repository: RepositoryName,
    branches: &BranchTemplate,
) -> Result<Meaning, Unreadable> {
    let Some(pull_request) = payload.pull_request else {
        return Err(Unreadable("pull_request without its object".to_owned()));
    };
    let Some(ticket) = branches.ticket(&pull_request.head.branch) else {
        return Ok(Meaning::ignore("pull_request of a branch that is not ours"));
    };
    if !matches!(payload.action.as_str(), "closed" | "reopened" | "synchronize" | "ready_for_review" | "converted_to_draft") {
        return Ok(Meaning::ignore(format!("pull_request {} changes nothing for us", payload.action)));
    }
    let branch: BranchName = pull_request.head.branch.parse().map_err(|fault| Unreadable(format!("{fault}")))?;
    let sha: CommitSha = pull_request.head.sha.parse().map_err(|fault| Unreadable(format!("{fault}")))?;
    let state = match (pull_request.state.as_str(), pull_request.merged) {
        (_, true) => PullRequestState::Merged,
        ("open", _) => PullRequestState::Open,
        _ => PullRequestState::Closed,
    };
    let by = payload.sender.map(|sender| sender.login).unwrap_or_default();
    let news = PullRequestChanged { repository, number: pull_request.number, branch, sha, state, by };
    Ok(Meaning::act(Trigger::PullRequestChanged { ticket, news }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SHA: &str = "81c0d1e281c0d1e281c0d1e281c0d1e281c0d1e2";

    fn read_json(event: &str, value: &Value) -> Result<Meaning, Unreadable> {
        let branches = BranchTemplate::new("agent/{key}/{slug}-{generation}").unwrap();
        read(event, value.to_string().as_bytes(), &branches)
    }

    #[test]
    fn finished_checks_of_our_branches_nudge_their_ticket() {
        let suite = json!({"head_branch": "agent/SHOP-1/clamp-1a2b3c4d", "head_sha": SHA});
        let repository = json!({"full_name": "acme/shop-api"});
        for (event, body) in [
            ("check_suite", json!({"action": "completed", "repository": repository, "check_suite": suite})),
            ("workflow_run", json!({"action": "completed", "repository": repository, "workflow_run": suite})),
            ("check_run", json!({"action": "completed", "repository": repository,
                                 "check_run": {"head_sha": SHA, "check_suite": suite}})),
            ("status", json!({"state": "success", "sha": SHA, "repository": repository,
                              "branches": [{"name": "agent/SHOP-1/clamp-1a2b3c4d"}]})),
        ] {
            let Ok(Meaning::Act(trigger)) = read_json(event, &body) else { panic!("{event}") };
            assert!(matches!(*trigger, Trigger::ChecksChanged { ticket, .. } if ticket.as_str() == "SHOP-1"), "{event}");
        }
        let requested = json!({"action": "requested", "repository": repository, "check_suite": suite});
        assert!(matches!(read_json("check_suite", &requested), Ok(Meaning::Ignore(_))));
        let other = json!({"action": "completed", "repository": repository,
                           "check_suite": {"head_branch": "main", "head_sha": SHA}});
        assert!(matches!(read_json("check_suite", &other), Ok(Meaning::Ignore(_))));
    }

    #[test]
    fn a_merged_pull_request_is_told_as_merged() {
        let body = json!({
            "action": "closed", "repository": {"full_name": "acme/shop-api"}, "sender": {"login": "ana"},
            "pull_request": {"number": 1, "state": "closed", "merged": true,
                             "head": {"ref": "agent/SHOP-1/clamp-1a2b3c4d", "sha": SHA}},
        });
        let Ok(Meaning::Act(trigger)) = read_json("pull_request", &body) else { panic!() };
        let Trigger::PullRequestChanged { news, .. } = *trigger else { panic!() };
        assert_eq!((news.state, news.by.as_str()), (PullRequestState::Merged, "ana"));
    }

    #[test]
    fn pings_and_foreign_events_are_ignored_and_odd_ones_unreadable() {
        assert!(matches!(read_json("ping", &json!({})), Ok(Meaning::Ignore(_))));
        assert!(matches!(read_json("star", &json!({"action": "created", "repository": {"full_name": "a/b"}})), Ok(Meaning::Ignore(_))));
        assert!(read_json("pull_request", &json!({"repository": {"full_name": "../x"}})).is_err());
        assert!(read_json("check_suite", &json!({"action": "completed", "repository": {"full_name": "a/b"}})).is_err());
    }
}
