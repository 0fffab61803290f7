//! GitHub's answers as far as we read them. Unknown fields are ignored.

use serde::Deserialize;
use workflows::contract::failure::FailureKind;
use workflows::contract::github::{PullRequest, PullRequestState};
use workflows::contract::ids::RepositoryName;

use crate::failure::ServiceError;

#[derive(Debug, Deserialize)]
pub(super) struct Reference {
    pub(super) object: Object,
}

#[derive(Debug, Deserialize)]
pub(super) struct Object {
    pub(super) sha: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct RepositoryReply {
    pub(super) default_branch: String,
    pub(super) html_url: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Contents {
    pub(super) sha: String,
    #[serde(default)]
    pub(super) content: String,
    #[serde(default)]
    pub(super) encoding: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Written {
    pub(super) commit: Object,
}

#[derive(Debug, Deserialize)]
pub(super) struct PullRequestReply {
    pub(super) number: u64,
    pub(super) node_id: String,
    pub(super) html_url: String,
    pub(super) title: String,
    #[serde(default)]
    pub(super) body: Option<String>,
    pub(super) state: String,
    #[serde(default)]
    pub(super) draft: bool,
    #[serde(default)]
    pub(super) merged_at: Option<String>,
    pub(super) head: Head,
    #[serde(default)]
    pub(super) base: Base,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Base {
    #[serde(rename = "ref")]
    pub(super) branch: String,
    #[serde(default)]
    pub(super) sha: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct HeadRepository {
    pub(super) full_name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Head {
    #[serde(rename = "ref")]
    pub(super) branch: String,
    pub(super) sha: String,
    /// Absent when the fork was deleted.
    #[serde(default)]
    pub(super) repo: Option<HeadRepository>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CheckRun {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) status: String,
    pub(super) conclusion: Option<String>,
    #[serde(default)]
    pub(super) html_url: Option<String>,
    #[serde(default)]
    pub(super) app: Option<App>,
    #[serde(default)]
    pub(super) output: Output,
}

/// What an app said about its check.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Output {
    #[serde(default)]
    pub(super) title: Option<String>,
    #[serde(default)]
    pub(super) summary: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct JobReply {
    #[serde(default)]
    pub(super) steps: Vec<StepReply>,
}

#[derive(Debug, Deserialize)]
pub(super) struct StepReply {
    pub(super) name: String,
    #[serde(default)]
    pub(super) conclusion: Option<String>,
    #[serde(default)]
    pub(super) started_at: Option<chrono::DateTime<chrono::Utc>>,
    #[serde(default)]
    pub(super) completed_at: Option<chrono::DateTime<chrono::Utc>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ChangedFile {
    pub(super) filename: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Status {
    pub(super) context: String,
    pub(super) state: String,
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) target_url: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Suite {
    pub(super) status: Option<String>,
    #[serde(default)]
    pub(super) latest_check_runs_count: u64,
    #[serde(default)]
    pub(super) app: Option<App>,
}

#[derive(Debug, Deserialize)]
pub(super) struct App {
    pub(super) slug: Option<String>,
}

impl PullRequestReply {
    pub(super) fn into_contract(self, repository: &RepositoryName) -> Result<PullRequest, ServiceError> {
        let state = match (self.state.as_str(), &self.merged_at) {
            (_, Some(_)) => PullRequestState::Merged,
            ("open", None) => PullRequestState::Open,
            _ => PullRequestState::Closed,
        };
        Ok(PullRequest {
            repository: repository.clone(),
            number: self.number,
            url: self.html_url,
            head: parsed(&self.head.branch)?,
            head_sha: parsed(&self.head.sha)?,
            draft: self.draft,
            state,
            base: self.base.branch,
            base_sha: self.base.sha.as_deref().map(parsed).transpose()?,
            title: self.title,
            fork: self.head.repo.is_none_or(|head| !head.full_name.eq_ignore_ascii_case(repository.as_str())),
        })
    }
}

/// An id of GitHub's as one of ours.
pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, ServiceError> {
    text.parse()
        .map_err(|fault: T::Err| ServiceError::new(FailureKind::Unexpected, format!("GitHub sent an odd id: {fault}")))
}
