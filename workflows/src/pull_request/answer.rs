//! What an instruction comes to, as the reply a person reads.

use serde_json::{Value, json};

use crate::contract::github::{PullRequest, PullRequestState};
use crate::contract::plan::TaskResult;
use crate::contract::workspace::{Proof, Pushed};
use crate::messages::replies::Reply;
use crate::messages::shorten;

/// Longest outcome in the log, in characters.
const OUTCOME: usize = 200;

/// An answer, before it is written down.
pub(super) struct Answer {
    pub(super) template: Reply,
    /// Variables of the template, beside those that every reply has.
    pub(super) variables: Value,
    /// For log and status, in a few words.
    pub(super) outcome: String,
}

/// What was done, for [`Answer::done`].
pub(super) struct Done<'a> {
    pub(super) pull_request: &'a PullRequest,
    pub(super) result: &'a TaskResult,
    pub(super) proof: &'a Proof,
    pub(super) pushed: &'a Pushed,
    /// What CI said, a sentence.
    pub(super) ci: &'a str,
}

impl Answer {
    fn new(template: Reply, variables: Value, outcome: impl AsRef<str>) -> Self {
        Self { template, variables, outcome: shorten(outcome.as_ref(), OUTCOME) }
    }

    /// What we understand.
    pub(super) fn help() -> Self {
        Self::new(Reply::Help, json!({}), "no instruction: told what I understand")
    }

    /// The pull request is over.
    pub(super) fn over(pull_request: &PullRequest) -> Self {
        let state = if pull_request.state == PullRequestState::Merged { "merged" } else { "closed" };
        Self::new(Reply::Over, json!({ "state": state }), format!("the pull request is {state}"))
    }

    /// Its branch lies in a fork.
    pub(super) fn fork() -> Self {
        Self::new(Reply::Fork, json!({}), "the branch is in a fork")
    }

    /// Its branch is the default branch.
    pub(super) fn default_branch(pull_request: &PullRequest) -> Self {
        let variables = json!({ "branch": pull_request.head });
        Self::new(Reply::DefaultBranch, variables, "the branch is the default branch")
    }

    /// The running ticket takes it from here.
    pub(super) fn passed_on(ticket: &str, stage: &str) -> Self {
        let variables = json!({ "ticket": ticket, "stage": stage.replace('_', " ") });
        Self::new(Reply::PassedOn, variables, format!("passed on to {ticket}"))
    }

    /// The agent saw nothing to change.
    pub(super) fn unchanged(result: &TaskResult) -> Self {
        let variables = json!({ "summary": result.summary, "not_done": result.not_done });
        Self::new(Reply::Unchanged, variables, format!("nothing changed: {}", result.summary))
    }

    /// A commit is pushed.
    pub(super) fn done(done: &Done<'_>) -> Self {
        let Done { pull_request, result, proof, pushed, ci } = done;
        let repository_url = pull_request.url.rsplit_once("/pull/").map_or("", |(repository, _)| repository);
        let variables = json!({
            "summary": result.summary,
            "commit": pushed.sha.short(),
            "commit_url": format!("{repository_url}/commit/{}", pushed.sha),
            "branch": pull_request.head,
            "pushed": pushed,
            "proof": proof,
            "look_here": result.look_here.iter().take(3).collect::<Vec<_>>(),
            "not_done": result.not_done,
            "ci": ci,
        });
        Self::new(Reply::Done, variables, format!("pushed {}; {ci}", pushed.sha.short()))
    }

    /// It could not be done.
    pub(super) fn stopped(why: &str) -> Self {
        Self::new(Reply::Stopped, json!({ "why": why }), format!("stopped: {why}"))
    }
}
