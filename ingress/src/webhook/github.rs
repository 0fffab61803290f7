//! GitHub's webhooks: checks that finished, pull requests of our own branches that changed, and comments that call us.
//!
//! Shapes: <https://docs.github.com/en/webhooks/webhook-events-and-payloads>. Which ticket is told is decided by the branch
//! name alone; a branch of a fork is never ours, whatever it is called. Checks also go to whoever works on a pull request with
//! that head.

use serde::Deserialize;
use workflows::contract::github::PullRequestState;
use workflows::contract::ids::{CommitSha, RepositoryName};
use workflows::contract::trigger::{ChecksChanged, PullRequestChanged, Trigger};

use super::comment::{Comment, Issue};
use super::{Meaning, Unreadable, comment, json};
use crate::branch::{BranchTemplate, OurBranch};

/// Changes of a pull request that its ticket hears of.
const ACTIONS: [&str; 6] = ["opened", "closed", "reopened", "synchronize", "ready_for_review", "converted_to_draft"];

#[derive(Debug, Deserialize)]
struct Delivery {
    #[serde(default)]
    action: String,
    repository: Option<Repository>,
    sender: Option<User>,
    issue: Option<Issue>,
    comment: Option<Comment>,
    pull_request: Option<PullRequest>,
    check_suite: Option<CheckSuite>,
    check_run: Option<CheckRun>,
    workflow_run: Option<WorkflowRun>,
    // The event `status` has its fields at the top.
    sha: Option<String>,
    state: Option<String>,
    #[serde(default)]
    branches: Vec<Branch>,
}

#[derive(Debug, Deserialize)]
struct Repository {
    #[serde(default)]
    id: u64,
    full_name: String,
}

#[derive(Debug, Deserialize)]
struct User {
    #[serde(default)]
    login: String,
}

#[derive(Debug, Deserialize)]
struct Branch {
    name: String,
}

#[derive(Debug, Deserialize)]
struct PullRequest {
    number: u64,
    #[serde(default)]
    state: String,
    merged: Option<bool>,
    head: Head,
}

#[derive(Debug, Deserialize)]
struct Head {
    #[serde(rename = "ref")]
    branch: String,
    sha: String,
    /// Absent when the fork was deleted.
    repo: Option<Repository>,
}

#[derive(Debug, Deserialize)]
struct CheckSuite {
    head_branch: Option<String>,
    head_sha: Option<String>,
    #[serde(default)]
    pull_requests: Vec<OfChecks>,
}

#[derive(Debug, Deserialize)]
struct CheckRun {
    head_sha: String,
    check_suite: Option<CheckSuite>,
    #[serde(default)]
    pull_requests: Vec<OfChecks>,
}

/// An open pull request whose head was checked, in any repository of the fork network.
#[derive(Debug, Deserialize)]
struct OfChecks {
    number: u64,
    base: Side,
    head: Side,
}

#[derive(Debug, Deserialize)]
struct Side {
    repo: SideRepository,
}

#[derive(Debug, Deserialize)]
struct SideRepository {
    id: u64,
}

#[derive(Debug, Deserialize)]
struct WorkflowRun {
    #[serde(rename = "head_branch")]
    branch: Option<String>,
    #[serde(rename = "head_sha")]
    sha: String,
    #[serde(rename = "head_repository")]
    repository: Option<Repository>,
    #[serde(default)]
    pull_requests: Vec<OfChecks>,
}

/// Reads a delivery of the event named by the header `X-GitHub-Event`. `handle`: how people call us in comments, without `@`.
///
/// # Errors
/// When the body is not JSON of that shape, or an event that matters lacks what identifies it.
pub fn read(event: &str, body: &[u8], branches: &BranchTemplate, handle: &str) -> Result<Meaning, Unreadable> {
    if event == "ping" {
        return Meaning::ignored("ping: the webhook is set up and its signature fits");
    }
    if !["issue_comment", "pull_request", "check_suite", "check_run", "workflow_run", "status"].contains(&event) {
        return Meaning::ignored(format!("the event {event:?} is not about checks, pull requests or comments"));
    }
    let delivery: Delivery = json(body)?;
    match event {
        "issue_comment" if delivery.action != "created" => {
            Meaning::ignored(format!("the comment is {:?}, not new", delivery.action))
        }
        "issue_comment" => {
            let (issue, comment) = (required(delivery.issue, "issue")?, required(delivery.comment, "comment")?);
            let repository = required(delivery.repository, "repository")?.full_name.parse()?;
            comment::read(repository, &issue, &comment, handle)
        }
        "pull_request" => pull_request(delivery, branches),
        "status" => status(delivery, branches),
        _ if delivery.action != "completed" => {
            Meaning::ignored(format!("{event} is {:?}, not completed", delivery.action))
        }
        "check_suite" => {
            let suite = required(delivery.check_suite, event)?;
            let pull_requests = numbers(&suite.pull_requests, delivery.repository.as_ref());
            checks(delivery.repository, suite.head_branch, suite.head_sha, pull_requests, branches)
        }
        "check_run" => {
            let run = required(delivery.check_run, event)?;
            let pull_requests = numbers(&run.pull_requests, delivery.repository.as_ref());
            let branch = run.check_suite.and_then(|suite| suite.head_branch);
            checks(delivery.repository, branch, Some(run.head_sha), pull_requests, branches)
        }
        _ => {
            let run = required(delivery.workflow_run, event)?;
            if is_fork(run.repository.as_ref(), delivery.repository.as_ref()) {
                return Meaning::ignored("the branch is in a fork");
            }
            let pull_requests = numbers(&run.pull_requests, delivery.repository.as_ref());
            checks(delivery.repository, run.branch, Some(run.sha), pull_requests, branches)
        }
    }
}

/// Pull requests of this repository from one of its own branches; nobody of ours works on others.
fn numbers(pull_requests: &[OfChecks], repository: Option<&Repository>) -> Vec<u64> {
    let here = |side: &Side| repository.is_some_and(|repository| repository.id == side.repo.id);
    pull_requests.iter().filter(|pr| here(&pr.base) && here(&pr.head)).map(|pr| pr.number).collect()
}

fn pull_request(delivery: Delivery, branches: &BranchTemplate) -> Result<Meaning, Unreadable> {
    if !ACTIONS.contains(&delivery.action.as_str()) {
        return Meaning::ignored(format!("the action {:?} changes nothing for a ticket", delivery.action));
    }
    let pull_request = required(delivery.pull_request, "pull_request")?;
    let repository = required(delivery.repository, "repository")?;
    if pull_request.head.repo.as_ref().is_none_or(|head| head.full_name != repository.full_name) {
        return Meaning::ignored("the branch is in a fork");
    }
    let Some(ours) = branches.read(&pull_request.head.branch) else {
        return not_ours(&pull_request.head.branch);
    };
    let state = match (pull_request.merged.unwrap_or(false), pull_request.state.as_str()) {
        (true, _) => PullRequestState::Merged,
        (false, "closed") => PullRequestState::Closed,
        (false, _) => PullRequestState::Open,
    };
    let news = PullRequestChanged {
        repository: repository.full_name.parse()?,
        number: pull_request.number,
        branch: ours.name,
        sha: pull_request.head.sha.parse()?,
        state,
        by: delivery.sender.map(|sender| sender.login).unwrap_or_default(),
    };
    Ok(Meaning::Trigger(Trigger::PullRequestChanged { ticket: ours.ticket, news }))
}

fn status(delivery: Delivery, branches: &BranchTemplate) -> Result<Meaning, Unreadable> {
    if delivery.state.as_deref() == Some("pending") {
        return Meaning::ignored("the status is pending");
    }
    // GitHub lists the branches whose head is this commit, at most ten.
    match delivery.branches.into_iter().find_map(|branch| branches.read(&branch.name)) {
        Some(ours) => nudge(Some(ours), vec![], delivery.repository, delivery.sha),
        None => Meaning::ignored("the status is on none of our branches"),
    }
}

fn checks(
    repository: Option<Repository>,
    branch: Option<String>,
    sha: Option<String>,
    pull_requests: Vec<u64>,
    branches: &BranchTemplate,
) -> Result<Meaning, Unreadable> {
    let ours = branch.as_deref().and_then(|branch| branches.read(branch));
    match branch {
        _ if ours.is_some() || !pull_requests.is_empty() => nudge(ours, pull_requests, repository, sha),
        Some(branch) => not_ours(&branch),
        // GitHub leaves the branch out for checks of forks.
        None => Meaning::ignored("the checks name no branch"),
    }
}

fn nudge(
    ours: Option<OurBranch>,
    pull_requests: Vec<u64>,
    repository: Option<Repository>,
    sha: Option<String>,
) -> Result<Meaning, Unreadable> {
    let repository: RepositoryName = required(repository, "repository")?.full_name.parse()?;
    let sha: CommitSha = required(sha, "sha")?.parse()?;
    Ok(Meaning::Trigger(Trigger::ChecksChanged {
        ticket: ours.map(|ours| ours.ticket),
        pull_requests,
        news: ChecksChanged { repository, sha },
    }))
}

fn is_fork(head: Option<&Repository>, base: Option<&Repository>) -> bool {
    matches!((head, base), (Some(head), Some(base)) if head.full_name != base.full_name)
}

fn not_ours(branch: &str) -> Result<Meaning, Unreadable> {
    Meaning::ignored(format!("the branch {:?} is not one of ours", branch.chars().take(200).collect::<String>()))
}

fn required<T>(value: Option<T>, field: &str) -> Result<T, Unreadable> {
    value.ok_or_else(|| Unreadable(format!("the field {field} is missing")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SHA: &str = "81c0d1e2f3a4b5c6d7e8f9011223344556677889";
    const BRANCH: &str = "agent/SHOP-1/clamp-discounts-1a2b3c4d";

    fn sha() -> &'static str {
        SHA
    }

    fn template() -> BranchTemplate {
        "agent/{key}/{slug}-{generation}".parse().unwrap()
    }

    fn read_json(event: &str, body: &Value) -> Result<Meaning, Unreadable> {
        read(event, body.to_string().as_bytes(), &template(), "agent")
    }

    fn trigger(event: &str, body: &Value) -> Trigger {
        match read_json(event, body).unwrap() {
            Meaning::Trigger(trigger) => trigger,
            other @ Meaning::Ignored(_) => panic!("{event}: {other:?}"),
        }
    }

    fn ignored(event: &str, body: &Value) -> String {
        match read_json(event, body).unwrap() {
            Meaning::Ignored(why) => why,
            other @ Meaning::Trigger(_) => panic!("{event}: {other:?}"),
        }
    }

    fn fixture() -> Value {
        serde_json::from_str(include_str!("../testdata/github_pull_request.json")).unwrap()
    }

    #[test]
    fn a_merged_pull_request_is_told_to_its_ticket() {
        let Trigger::PullRequestChanged { ticket, news } = trigger("pull_request", &fixture()) else { panic!() };
        assert_eq!(ticket.as_str(), "SHOP-1");
        assert_eq!(news.state, PullRequestState::Merged);
        assert_eq!((news.number, news.by.as_str(), news.branch.as_str()), (1, "ana", BRANCH));
        assert_eq!(news.repository.as_str(), "acme/shop-api");
    }

    #[test]
    fn state_and_action_are_read() {
        for (action, state, merged, expected) in [
            ("closed", "closed", json!(false), PullRequestState::Closed),
            ("closed", "closed", json!(null), PullRequestState::Closed),
            ("reopened", "open", json!(false), PullRequestState::Open),
            ("synchronize", "open", json!(false), PullRequestState::Open),
            ("opened", "open", json!(false), PullRequestState::Open),
            ("ready_for_review", "open", json!(false), PullRequestState::Open),
        ] {
            let mut body = fixture();
            body["action"] = json!(action);
            body["pull_request"]["state"] = json!(state);
            body["pull_request"]["merged"] = merged;
            let Trigger::PullRequestChanged { news, .. } = trigger("pull_request", &body) else { panic!() };
            assert_eq!(news.state, expected, "{action}");
        }
    }

    #[test]
    fn a_branch_of_a_fork_or_a_person_is_not_ours() {
        let mut body = fixture();
        body["pull_request"]["head"]["repo"]["full_name"] = json!("mallory/shop-api");
        assert!(ignored("pull_request", &body).contains("fork"));
        body["pull_request"]["head"]["repo"] = json!(null);
        assert!(ignored("pull_request", &body).contains("fork"));
        let mut body = fixture();
        body["pull_request"]["head"]["ref"] = json!("fix-typo");
        assert!(ignored("pull_request", &body).contains("not one of ours"));
        body["action"] = json!("labeled");
        assert!(ignored("pull_request", &body).contains("labeled"));
    }

    #[test]
    fn finished_checks_of_every_kind_nudge_the_ticket() {
        let repository = json!({"full_name": "acme/shop-api"});
        let suite = json!({"head_branch": BRANCH, "head_sha": sha(), "conclusion": "success"});
        for (event, body) in [
            ("check_suite", json!({"action": "completed", "check_suite": suite, "repository": repository})),
            (
                "check_run",
                json!({"action": "completed", "repository": repository,
                       "check_run": {"name": "test", "head_sha": sha(), "check_suite": suite}}),
            ),
            (
                "workflow_run",
                json!({"action": "completed", "repository": repository,
                       "workflow_run": {"head_branch": BRANCH, "head_sha": sha(), "head_repository": repository}}),
            ),
            (
                "status",
                json!({"state": "failure", "sha": sha(), "repository": repository,
                       "branches": [{"name": "main"}, {"name": BRANCH}]}),
            ),
        ] {
            let Trigger::ChecksChanged { ticket: Some(ticket), news, .. } = trigger(event, &body) else {
                panic!("{event}")
            };
            assert_eq!((ticket.as_str(), news.sha.as_str()), ("SHOP-1", sha()), "{event}");
        }
    }

    #[test]
    fn checks_of_anybodys_branch_nudge_who_works_on_its_pull_request() {
        let repository = json!({"id": 7, "full_name": "acme/shop-api"});
        let side = |id: u64| json!({"repo": {"id": id}});
        let pull_requests = json!([
            {"number": 3, "base": side(7), "head": side(7)},
            {"number": 4, "base": side(8), "head": side(7)},
            {"number": 5, "base": side(7), "head": side(9)},
        ]);
        let suite = json!({"head_branch": "faster-cart", "head_sha": sha(), "pull_requests": pull_requests});
        for (event, body) in [
            ("check_suite", json!({"action": "completed", "check_suite": suite, "repository": repository})),
            (
                "check_run",
                json!({"action": "completed", "repository": repository, "check_run":
                    {"head_sha": sha(), "check_suite": suite, "pull_requests": pull_requests}}),
            ),
            (
                "workflow_run",
                json!({"action": "completed", "repository": repository, "workflow_run": {"head_branch": "faster-cart",
                    "head_sha": sha(), "head_repository": repository, "pull_requests": pull_requests}}),
            ),
        ] {
            let Trigger::ChecksChanged { ticket, pull_requests, news } = trigger(event, &body) else {
                panic!("{event}")
            };
            assert_eq!((ticket, pull_requests, news.sha.as_str()), (None, vec![3], sha()), "{event}");
        }
    }

    #[test]
    fn a_new_comment_is_read_and_other_changes_of_comments_are_not() {
        let mut body = json!({
            "action": "created", "repository": {"full_name": "acme/shop-api"},
            "issue": {"number": 3, "pull_request": {}},
            "comment": {"id": 77, "body": "@agent go on", "created_at": "2026-11-21T06:00:00Z",
                        "user": {"login": "ana", "type": "User"}},
        });
        let Trigger::Instructed(instructed) = trigger("issue_comment", &body) else { panic!() };
        assert_eq!((instructed.number, instructed.instruction.as_str()), (3, "go on"));
        for action in ["edited", "deleted"] {
            body["action"] = json!(action);
            assert!(ignored("issue_comment", &body).contains("not new"));
        }
        let empty = json!({"action": "created", "repository": {"full_name": "acme/shop-api"}});
        assert!(read_json("issue_comment", &empty).unwrap_err().to_string().contains("issue"));
    }

    #[test]
    fn unfinished_checks_and_foreign_branches_are_ignored() {
        let repository = json!({"full_name": "acme/shop-api"});
        let fork = json!({"full_name": "mallory/shop-api"});
        for (event, body, why) in [
            ("check_run", json!({"action": "created", "check_run": {"head_sha": sha()}}), "not completed"),
            ("check_suite", json!({"action": "completed", "check_suite": {"head_branch": null}}), "no branch"),
            ("check_suite", json!({"action": "completed", "check_suite": {"head_branch": "main"}}), "not one of ours"),
            ("status", json!({"state": "pending", "branches": [{"name": BRANCH}]}), "pending"),
            ("status", json!({"state": "success", "branches": [{"name": "main"}]}), "none of our branches"),
            (
                "workflow_run",
                json!({"action": "completed", "repository": repository,
                       "workflow_run": {"head_branch": BRANCH, "head_sha": sha(), "head_repository": fork}}),
                "fork",
            ),
            ("push", json!({}), "push"),
            ("ping", json!({"zen": "Keep it logically awesome."}), "ping"),
        ] {
            let said = ignored(event, &body);
            assert!(said.contains(why), "{event}: {said}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let completed = |sha: &str| {
            json!({"action": "completed", "repository": {"full_name": "acme/shop-api"},
                   "check_suite": {"head_branch": BRANCH, "head_sha": sha}})
        };
        assert!(read_json("check_suite", &completed("HEAD")).unwrap_err().to_string().contains("commit id"));
        assert!(
            read_json("check_suite", &json!({"action": "completed"})).unwrap_err().to_string().contains("check_suite")
        );
        let form = read("check_suite", b"payload=%7B%7D", &template(), "agent").unwrap_err().to_string();
        assert!(form.contains("JSON"), "{form}");
        let mut body = fixture();
        body["repository"]["full_name"] = json!("acme/../x");
        body["pull_request"]["head"]["repo"]["full_name"] = json!("acme/../x");
        assert!(read_json("pull_request", &body).unwrap_err().to_string().contains("repository name"));
    }
}
