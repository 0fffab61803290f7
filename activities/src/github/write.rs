//! Everything that changes GitHub. Each looks before it writes, or takes "already exists" for an answer.

use base64::Engine as _;
use serde_json::{Value, json};
use workflows::contract::failure::FailureKind;
use workflows::contract::github::{
    BranchRef, CreateBranch, EditPullRequest, OpenPullRequest, PullRequest, PullRequestRef, WritePlan,
};
use workflows::contract::ids::CommitSha;

use super::client::GitHubClient;
use super::read::encoded;
use super::reply::{PullRequestReply, Written, parsed};
use crate::failure::ServiceError;

/// The only file that may be written before a plan is approved.
const PLAN_FILE: &str = "PLAN.md";
/// How often a lost race for it is run again.
const RACES: u32 = 3;

impl GitHubClient {
    pub(super) async fn create_branch(&self, request: &CreateBranch) -> Result<CommitSha, ServiceError> {
        self.refuse_foreign(&request.repository)?;
        let doing = format!("create branch {}", request.branch);
        let body = json!({ "ref": format!("refs/heads/{}", request.branch), "sha": request.from });
        let answer = self.post(&doing, &format!("/repos/{}/git/refs", request.repository), &body).await?;
        if answer.status == 422 && answer.says("already exists") {
            let head = self.branch_head(&request.repository, request.branch.as_str()).await?;
            return head.ok_or_else(|| answer.refusal(&doing));
        }
        answer.into::<Value>(&doing)?;
        Ok(request.from.clone())
    }

    pub(super) async fn write_plan(&self, request: &WritePlan) -> Result<CommitSha, ServiceError> {
        let (repository, doing) = (&request.repository, "write PLAN.md");
        let mut races = 0;
        loop {
            let found = self.contents(repository, request.branch.as_str(), PLAN_FILE).await?;
            if found.as_ref().is_some_and(|(_, text)| *text == request.content) {
                let head = self.branch_head(repository, request.branch.as_str()).await?;
                return head.ok_or_else(|| {
                    ServiceError::new(FailureKind::NotFound, format!("branch {} is gone", request.branch))
                });
            }
            let mut body = json!({
                "message": request.message,
                "content": base64::engine::general_purpose::STANDARD.encode(&request.content),
                "branch": request.branch,
            });
            if let Some((sha, _)) = found {
                body["sha"] = json!(sha);
            }
            let answer = self.put(doing, &format!("/repos/{repository}/contents/{PLAN_FILE}"), &body).await?;
            // Another attempt wrote between our look and our write: 409 for a stale sha, 422 for one that is now needed.
            let raced = answer.status == 409 || (answer.status == 422 && answer.says("sha"));
            if !raced || races == RACES {
                return parsed(&answer.into::<Written>(doing)?.commit.sha);
            }
            races += 1;
        }
    }

    pub(super) async fn open_pull_request(&self, request: &OpenPullRequest) -> Result<PullRequest, ServiceError> {
        let repository = &request.repository;
        if let Some(known) = self.find_pull_request(repository, &request.head).await? {
            return Ok(known);
        }
        let doing = format!("open a pull request for {}", request.head);
        let body = json!({
            "title": request.title,
            "body": request.body,
            "head": request.head,
            "base": request.base,
            "draft": true,
        });
        let answer = self.post(&doing, &format!("/repos/{repository}/pulls"), &body).await?;
        if answer.status == 422 && answer.says("already exists") {
            let known = self.find_pull_request(repository, &request.head).await?;
            return known.ok_or_else(|| answer.refusal(&doing));
        }
        let opened: PullRequestReply = answer.into(&doing)?;
        // Another attempt may have run beside this one: the oldest stays, ours goes if it is younger.
        let oldest = self.pull_requests_of(repository, &request.head).await?.into_iter().next();
        match oldest {
            Some(oldest) if oldest.number < opened.number => {
                let ours = PullRequestRef { repository: repository.clone(), number: opened.number };
                self.close_pull_request(&ours).await?;
                oldest.into_contract(repository)
            }
            _ => opened.into_contract(repository),
        }
    }

    pub(super) async fn edit_pull_request(&self, request: &EditPullRequest) -> Result<PullRequest, ServiceError> {
        let address = &request.pull_request;
        let now = self.pull_request_reply(address).await?;
        // The web editor sends CRLF; we only ever send LF.
        let body = now.body.as_deref().unwrap_or_default().replace("\r\n", "\n");
        if now.title == request.title && body == request.body {
            return now.into_contract(&address.repository);
        }
        self.patch_pull_request(address, &json!({ "title": request.title, "body": request.body })).await
    }

    pub(super) async fn close_pull_request(&self, address: &PullRequestRef) -> Result<PullRequest, ServiceError> {
        let now = self.pull_request_reply(address).await?;
        if now.state != "open" {
            return now.into_contract(&address.repository);
        }
        self.patch_pull_request(address, &json!({ "state": "closed" })).await
    }

    async fn patch_pull_request(&self, address: &PullRequestRef, body: &Value) -> Result<PullRequest, ServiceError> {
        let doing = format!("change PR #{}", address.number);
        let route = format!("/repos/{}/pulls/{}", address.repository, address.number);
        let changed: PullRequestReply = self.patch(&doing, &route, body).await?.into(&doing)?;
        changed.into_contract(&address.repository)
    }

    pub(super) async fn mark_ready(&self, address: &PullRequestRef) -> Result<PullRequest, ServiceError> {
        let now = self.pull_request_reply(address).await?;
        if !now.draft || now.state != "open" {
            return now.into_contract(&address.repository);
        }
        let query = json!({
            "query": "mutation($id: ID!) { markPullRequestReadyForReview(input: {pullRequestId: $id}) { pullRequest { isDraft } } }",
            "variables": { "id": now.node_id },
        });
        self.graphql("mark the pull request ready for review", &query).await?;
        self.pull_request(address).await
    }

    pub(super) async fn delete_branch(&self, request: &BranchRef) -> Result<(), ServiceError> {
        self.refuse_foreign(&request.repository)?;
        let doing = format!("delete branch {}", request.branch);
        let route = format!("/repos/{}/git/refs/heads/{}", request.repository, encoded(request.branch.as_str()));
        let answer = self.delete(&doing, &route).await?;
        if answer.status == 404 || (answer.status == 422 && answer.says("does not exist")) {
            return Ok(());
        }
        answer.into::<Value>(&doing).map(|_| ())
    }
}
