//! GitHub's REST and GraphQL APIs (<https://docs.github.com/en/rest>), through octocrab as transport: its authentication and
//! connection handling, our own small types for what comes back.

mod answer;
mod auth;
mod checks;
mod client;
mod conversation;
mod log;
mod read;
mod reply;
#[cfg(test)]
mod tests;
mod write;

use std::sync::Arc;

use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use workflows::contract::github::{
    BranchRef, Checks, CreateBranch, EditPullRequest, FindReply, JobLog, JobRef, MayPush, OpenPullRequest, PullRequest,
    PullRequestRef, React, ReadChecks, ReadFile, Repository, WritePlan, WriteReply, definitions,
};
use workflows::contract::ids::{CommitSha, RepositoryName};

use crate::heartbeat::{to_its_end, while_beating};
pub use auth::{AppKey, GitHubAuth};
pub use client::{GitHubClient, Settings};
pub use read::{CodeHit, PullRequestLine, RepositoryLine};

/// GitHub, as activities.
#[derive(Debug)]
pub struct GitHubActivities {
    /// The connection.
    pub github: Arc<GitHubClient>,
}

#[activities]
impl GitHubActivities {
    /// Reads a repository and the head of its default branch. No effect.
    #[activity(definition = definitions::GetRepository)]
    pub async fn get_repository(
        self: Arc<Self>,
        ctx: ActivityContext,
        name: RepositoryName,
    ) -> Result<Repository, ActivityError> {
        self.github.repository(&name).await.map_err(|error| error.into_activity_error(ctx.info().attempt))
    }

    /// Creates a branch, or finds it: 422 "already exists" is answered with its present head.
    #[activity(definition = definitions::CreateBranch)]
    pub async fn create_branch(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: CreateBranch,
    ) -> Result<CommitSha, ActivityError> {
        to_its_end(&ctx, self.github.create_branch(&request)).await
    }

    /// Writes PLAN.md; a branch that has this very content already is left alone.
    #[activity(definition = definitions::WritePlan)]
    pub async fn write_plan(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: WritePlan,
    ) -> Result<CommitSha, ActivityError> {
        to_its_end(&ctx, self.github.write_plan(&request)).await
    }

    /// Reads a file; `None` when it does not exist. No effect.
    #[activity(definition = definitions::ReadFile)]
    pub async fn read_file(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: ReadFile,
    ) -> Result<Option<String>, ActivityError> {
        let read = self.github.file(&request.repository, &request.at, &request.path);
        read.await.map_err(|error| error.into_activity_error(ctx.info().attempt))
    }

    /// Opens a draft pull request, or finds the one of this branch, closed ones included.
    #[activity(definition = definitions::OpenPullRequest)]
    pub async fn open_pull_request(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: OpenPullRequest,
    ) -> Result<PullRequest, ActivityError> {
        to_its_end(&ctx, self.github.open_pull_request(&request)).await
    }

    /// Reads a pull request. No effect.
    #[activity(definition = definitions::GetPullRequest)]
    pub async fn get_pull_request(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: PullRequestRef,
    ) -> Result<PullRequest, ActivityError> {
        self.github.pull_request(&request).await.map_err(|error| error.into_activity_error(ctx.info().attempt))
    }

    /// Sets title and body; unchanged text is not sent.
    #[activity(definition = definitions::EditPullRequest)]
    pub async fn edit_pull_request(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: EditPullRequest,
    ) -> Result<PullRequest, ActivityError> {
        to_its_end(&ctx, self.github.edit_pull_request(&request)).await
    }

    /// Takes a pull request out of draft; one that is out already is left alone.
    #[activity(definition = definitions::MarkReady)]
    pub async fn mark_ready(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: PullRequestRef,
    ) -> Result<PullRequest, ActivityError> {
        to_its_end(&ctx, self.github.mark_ready(&request)).await
    }

    /// Closes a pull request; a closed or merged one is left alone.
    #[activity(definition = definitions::ClosePullRequest)]
    pub async fn close_pull_request(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: PullRequestRef,
    ) -> Result<PullRequest, ActivityError> {
        to_its_end(&ctx, self.github.close_pull_request(&request)).await
    }

    /// Finds the newest pull request of a branch, in any state. No effect.
    #[activity(definition = definitions::FindPullRequest)]
    pub async fn find_pull_request(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: BranchRef,
    ) -> Result<Option<PullRequest>, ActivityError> {
        while_beating(&ctx, self.github.find_pull_request(&request.repository, &request.branch)).await
    }

    /// Deletes a branch; a missing one is fine.
    #[activity(definition = definitions::DeleteBranch)]
    pub async fn delete_branch(self: Arc<Self>, ctx: ActivityContext, request: BranchRef) -> Result<(), ActivityError> {
        to_its_end(&ctx, self.github.delete_branch(&request)).await
    }

    /// Whether a person has write access. No effect.
    #[activity(definition = definitions::MayPush)]
    pub async fn may_push(self: Arc<Self>, ctx: ActivityContext, question: MayPush) -> Result<bool, ActivityError> {
        let asked = self.github.may_push(&question.repository, &question.login);
        asked.await.map_err(|error| error.into_activity_error(ctx.info().attempt))
    }

    /// Leaves a reaction; GitHub keeps one of a kind per person.
    #[activity(definition = definitions::React)]
    pub async fn react(self: Arc<Self>, ctx: ActivityContext, reaction: React) -> Result<(), ActivityError> {
        to_its_end(&ctx, self.github.react(&reaction)).await
    }

    /// Writes a comment once; looks for its marker first.
    #[activity(definition = definitions::WriteReply)]
    pub async fn write_reply(
        self: Arc<Self>,
        ctx: ActivityContext,
        reply: WriteReply,
    ) -> Result<String, ActivityError> {
        to_its_end(&ctx, self.github.write_reply(&reply)).await
    }

    /// Looks for a comment by its marker. No effect.
    #[activity(definition = definitions::FindReply)]
    pub async fn find_reply(
        self: Arc<Self>,
        ctx: ActivityContext,
        reply: FindReply,
    ) -> Result<Option<String>, ActivityError> {
        while_beating(&ctx, self.github.find_reply(&reply)).await
    }

    /// Reads all checks of a commit, and whether it still is the head of its pull request. No effect.
    #[activity(definition = definitions::ReadChecks)]
    pub async fn read_checks(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: ReadChecks,
    ) -> Result<Checks, ActivityError> {
        self.github.checks(&request).await.map_err(|error| error.into_activity_error(ctx.info().attempt))
    }

    /// Reads where a branch stands; `None` when it does not exist. No effect.
    #[activity(definition = definitions::BranchHead)]
    pub async fn branch_head(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: BranchRef,
    ) -> Result<Option<CommitSha>, ActivityError> {
        let read = self.github.branch_head(&request.repository, request.branch.as_str());
        read.await.map_err(|error| error.into_activity_error(ctx.info().attempt))
    }

    /// Lists the files that a pull request changes. No effect.
    #[activity(definition = definitions::ChangedFiles)]
    pub async fn changed_files(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: PullRequestRef,
    ) -> Result<Vec<String>, ActivityError> {
        self.github.changed_files(&request).await.map_err(|error| error.into_activity_error(ctx.info().attempt))
    }

    /// Reads the end of the failing step's log. No effect.
    #[activity(definition = definitions::JobLog)]
    pub async fn job_log(self: Arc<Self>, ctx: ActivityContext, job: JobRef) -> Result<JobLog, ActivityError> {
        self.github.job_log(&job).await.map_err(|error| error.into_activity_error(ctx.info().attempt))
    }

    /// Runs a finished job again; one that runs already is left alone.
    #[activity(definition = definitions::RerunJob)]
    pub async fn rerun_job(self: Arc<Self>, ctx: ActivityContext, job: JobRef) -> Result<(), ActivityError> {
        to_its_end(&ctx, self.github.rerun_job(&job)).await
    }
}
