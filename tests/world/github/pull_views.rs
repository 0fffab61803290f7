//! Pull requests, their comments and labels as GitHub's JSON.

use serde_json::{Value, json};

use super::hub::{Hub, Place};
use super::reply::{Failure, encode};
use super::state::{Comment, Pull, node_id};
use super::views::{joined, time};

impl Hub {
    /// What a list shows.
    pub(super) fn pull_view(&self, place: &Place, pull: &Pull) -> Result<Value, Failure> {
        let repository = self.repository(place)?;
        let (full, number) = (&place.full, pull.number);
        let api = self.api(&format!("/repos/{full}"));
        let html = format!("{}/{full}/pull/{number}", self.base);
        let (url, issue) = (format!("{api}/pulls/{number}"), format!("{api}/issues/{number}"));
        let owner = repository["owner"].clone();
        let side = |branch: &str, sha: &str| {
            json!({
                "label": format!("{}:{branch}", place.owner), "ref": branch, "sha": sha, "user": owner, "repo": repository,
            })
        };
        let mut head = side(&pull.head_branch, &pull.head_sha);
        if let Some(fork) = &pull.fork {
            let user = self.user(fork);
            let full = format!("{fork}/{}", place.name);
            let id = repository["id"].as_u64().unwrap_or_default() + 1_000_000;
            let of_fork = json!({
                "id": id, "name": place.name, "full_name": full, "owner": user, "fork": true,
                "html_url": format!("{}/{full}", self.base), "url": self.api(&format!("/repos/{full}")),
            });
            head["label"] = json!(format!("{fork}:{}", pull.head_branch));
            head["user"] = user;
            head["repo"] = joined(repository.clone(), of_fork);
        }
        let link = |href: &str| json!({"href": href});
        let addresses = json!({
            "url": url,
            "id": pull.id,
            "node_id": pull.node_id(),
            "html_url": html,
            "diff_url": format!("{html}.diff"),
            "patch_url": format!("{html}.patch"),
            "issue_url": issue,
            "commits_url": format!("{url}/commits"),
            "review_comments_url": format!("{url}/comments"),
            "review_comment_url": format!("{api}/pulls/comments{{/number}}"),
            "comments_url": format!("{issue}/comments"),
            "statuses_url": format!("{api}/statuses/{}", pull.head_sha),
        });
        let content = json!({
            "number": number,
            "state": if pull.open { "open" } else { "closed" },
            "locked": false,
            "title": pull.title,
            "user": self.user(&pull.user),
            "body": pull.body,
            "labels": self.labels_view(place, &pull.labels),
            "milestone": null,
            "active_lock_reason": null,
            "created_at": time(pull.created),
            "updated_at": time(pull.updated),
            "closed_at": pull.closed.map(time),
            "merged_at": pull.closed.filter(|_| pull.merged()).map(time),
            "merge_commit_sha": pull.merge_commit,
            "assignee": null,
            "assignees": [],
            "requested_reviewers": [],
            "requested_teams": [],
            "head": head,
            "base": side(&pull.base_branch, &pull.base_sha),
            "author_association": "COLLABORATOR",
            "auto_merge": null,
            "draft": pull.draft,
            "_links": {
                "self": link(&url),
                "html": link(&html),
                "issue": link(&issue),
                "comments": link(&format!("{issue}/comments")),
                "review_comments": link(&format!("{url}/comments")),
                "review_comment": link(&format!("{api}/pulls/comments{{/number}}")),
                "commits": link(&format!("{url}/commits")),
                "statuses": link(&format!("{api}/statuses/{}", pull.head_sha)),
            },
        });
        Ok(joined(addresses, content))
    }

    /// What a single pull request shows: with counts and whether it can be merged.
    pub(super) async fn full_pull_view(&self, place: &Place, number: u64) -> Result<Value, Failure> {
        let pull = self.pull(place, number)?;
        let view = self.pull_view(place, &pull)?;
        let files = self.pull_files(place, &pull).await?;
        let commits = place.git.count(&format!("{}..{}", pull.base_sha, pull.head_sha)).await;
        let comments = self.with(place, |r| r.comments.iter().filter(|c| c.number == number).count())?;
        let mergeable = match pull.open {
            true => Some(place.git.merged_tree(&pull.base_sha, &pull.head_sha).await.is_some()),
            false => None,
        };
        let state = match mergeable {
            None => "unknown",
            Some(false) => "dirty",
            Some(true) if pull.draft => "draft",
            Some(true) => match self.combined_state(place, &pull.head_sha) {
                "success" | "none" => "clean",
                _ => "unstable",
            },
        };
        let more = json!({
            "merged": pull.merged(),
            "mergeable": mergeable,
            "rebaseable": mergeable,
            "mergeable_state": state,
            "merged_by": pull.merged_by.as_deref().map(|login| self.user(login)),
            "comments": comments,
            "review_comments": 0,
            "maintainer_can_modify": false,
            "commits": commits,
            "additions": files.iter().map(|file| file.additions).sum::<u64>(),
            "deletions": files.iter().map(|file| file.deletions).sum::<u64>(),
            "changed_files": files.len(),
        });
        Ok(joined(view, more))
    }

    /// Where the pull request left its base: its diff starts there.
    pub(super) async fn fork_point(&self, place: &Place, pull: &Pull) -> String {
        place.git.merge_base(&pull.base_sha, &pull.head_sha).await.unwrap_or_else(|| pull.base_sha.clone())
    }

    pub(super) async fn pull_files(
        &self,
        place: &Place,
        pull: &Pull,
    ) -> Result<Vec<super::git_objects::FileDiff>, Failure> {
        Ok(place.git.diff(&self.fork_point(place, pull).await, &pull.head_sha).await?)
    }

    /// The pull request seen as an issue, as `issue_comment` events carry it.
    pub(super) fn issue_view(&self, place: &Place, number: u64) -> Result<Value, Failure> {
        let pull = self.pull(place, number)?;
        let api = self.api(&format!("/repos/{}", place.full));
        let html = format!("{}/{}/pull/{number}", self.base, place.full);
        Ok(json!({
            "url": format!("{api}/issues/{number}"),
            "repository_url": api,
            "labels_url": format!("{api}/issues/{number}/labels{{/name}}"),
            "comments_url": format!("{api}/issues/{number}/comments"),
            "events_url": format!("{api}/issues/{number}/events"),
            "html_url": html,
            "id": pull.id,
            "node_id": pull.node_id(),
            "number": number,
            "title": pull.title,
            "user": self.user(&pull.user),
            "labels": self.labels_view(place, &pull.labels),
            "state": if pull.open { "open" } else { "closed" },
            "locked": false,
            "assignee": null,
            "assignees": [],
            "milestone": null,
            "comments": self.with(place, |r| r.comments.iter().filter(|c| c.number == number).count())?,
            "created_at": time(pull.created),
            "updated_at": time(pull.updated),
            "closed_at": pull.closed.map(time),
            "author_association": "COLLABORATOR",
            "draft": pull.draft,
            "pull_request": {
                "url": format!("{api}/pulls/{number}"),
                "html_url": html,
                "diff_url": format!("{html}.diff"),
                "patch_url": format!("{html}.patch"),
                "merged_at": pull.closed.filter(|_| pull.merged()).map(time),
            },
            "body": pull.body,
        }))
    }

    pub(super) fn comment_view(&self, place: &Place, comment: &Comment) -> Value {
        let api = self.api(&format!("/repos/{}/issues", place.full));
        let (id, number) = (comment.id, comment.number);
        json!({
            "id": id,
            "node_id": node_id("IC", id),
            "url": format!("{api}/comments/{id}"),
            "html_url": format!("{}/{}/pull/{number}#issuecomment-{id}", self.base, place.full),
            "issue_url": format!("{api}/{number}"),
            "user": self.user(&comment.user),
            "created_at": time(comment.created),
            "updated_at": time(comment.updated),
            "author_association": "COLLABORATOR",
            "body": comment.body,
        })
    }

    pub(super) fn labels_view(&self, place: &Place, labels: &[String]) -> Value {
        let view = |name: &String| {
            let id = name.bytes().fold(7_u64, |sum, byte| (sum * 31 + u64::from(byte)) % 1_000_000_007);
            json!({
                "id": id,
                "node_id": node_id("LA", id),
                "url": self.api(&format!("/repos/{}/labels/{}", place.full, encode(name))),
                "name": name,
                "color": "ededed",
                "default": false,
                "description": null,
            })
        };
        labels.iter().map(view).collect()
    }
}
