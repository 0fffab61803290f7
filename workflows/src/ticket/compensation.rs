//! How a ticket ends: with a report, or by undoing what it did, in reverse order. One path for every kind of cancel.

use serde_json::json;
use temporalio_workflow::WorkflowCancellationToken;

use super::flow::Flow;
use crate::contract::github::{BranchRef, GitHub, PullRequestState};
use crate::contract::ids::{BranchName, RepositoryName};
use crate::contract::status::Stage;
use crate::kit::CallError;
use crate::messages::Template;
use crate::policy::Family;

impl Flow {
    /// Ends the run in `end`. Runs on a token of its own: a second cancel cannot cut it in half.
    pub(super) async fn close(&self, end: Stage) {
        self.leave_money_park();
        self.write(|s| s.closing = true);
        let last = Self { token: WorkflowCancellationToken::new(), ..self.clone() };
        match end {
            Stage::Rejected | Stage::Cancelled => last.undo(end).await,
            Stage::Merged => last.move_ticket(last.read(|s| s.policy.jira.merged.clone())).await,
            _ => {}
        }
        let (by, comment) = last.read(|s| {
            let rejected = s.rejected.as_ref();
            let by =
                rejected.map(|r| &r.by).or(s.cancelled_by.as_ref()).map(super::super::contract::access::Person::label);
            (by.unwrap_or_default(), rejected.and_then(|r| r.comment.clone()).unwrap_or_default())
        });
        last.enter(end, "");
        last.close_money_message_for(end).await;
        let left_behind = last.read(|s| s.left_behind.join("; "));
        let (funded, lacked) = last.read(|s| (s.money.funded(), s.money.lacked.map(|lacked| lacked.to_string())));
        let extra = json!({
            "by": by, "comment": comment, "left_behind": left_behind, "funded": funded, "lacked": lacked,
        });
        last.say("end", Template::SlackEnd, extra.clone()).await;
        last.tell_jira("end", Template::JiraEnd, extra).await;
        last.show();
    }

    /// Closes pull requests and deletes branches, newest first. Looks them up by branch, so that an effect whose reply was
    /// lost is undone too.
    async fn undo(&self, end: Stage) {
        self.enter(Stage::CleaningUp, "closing pull requests and deleting branches");
        let (by, comment) = self.read(|s| {
            let rejected = s.rejected.as_ref();
            let by = rejected.map(|r| r.by.label()).unwrap_or_default();
            (by, rejected.and_then(|r| r.comment.clone()).unwrap_or_default())
        });
        let decision = if end == Stage::Rejected { "rejected" } else { "cancelled" };
        self.close_approval_message(decision, json!({ "by": by, "comment": comment })).await;
        let branches: Vec<(RepositoryName, BranchName)> = self.read(|s| s.branches.iter().rev().cloned().collect());
        for (repository, branch) in branches {
            if let Err(CallError::Failed(failure)) = self.undo_branch(&repository, &branch).await {
                self.log(format!("{repository} {branch} is left behind: {}", failure.message));
                self.write(|s| s.left_behind.push(format!("{branch} in {repository} ({})", failure.message)));
            }
        }
    }

    pub(super) async fn undo_branch(&self, repository: &RepositoryName, branch: &BranchName) -> Result<(), CallError> {
        let address = BranchRef { repository: repository.clone(), branch: branch.clone() };
        let short = repository.name();
        let summary = format!("find pull request of {branch}");
        let found = self.call(Family::Compensation, &summary, GitHub::find_pull_request, address.clone()).await?;
        if let Some(pull_request) = found
            && pull_request.state == PullRequestState::Open
        {
            let summary = format!("close PR #{} in {short}", pull_request.number);
            let closed =
                self.call(Family::Compensation, &summary, GitHub::close_pull_request, pull_request.address()).await?;
            self.log(format!("PR #{} closed", closed.number));
        }
        let summary = format!("delete branch in {short}");
        self.call(Family::Compensation, &summary, GitHub::delete_branch, address).await
    }
}
