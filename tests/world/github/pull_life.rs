//! The life of a pull request, whoever moves it: opened, made ready, merged, closed, reopened; with effects, webhooks
//! and GitHub Actions.

use std::sync::Arc;

use chrono::Utc;
use serde_json::json;

use super::actions::{self, Occasion};
use super::hub::{Hub, Place};
use super::pushes::{Pusher, RefChange, refs_changed};
use super::reply::Failure;
use super::state::Pull;

/// What a new pull request is made of.
#[derive(Debug, Clone)]
pub(super) struct NewPull {
    pub(super) title: Option<String>,
    pub(super) body: Option<String>,
    pub(super) head: String,
    pub(super) base: String,
    pub(super) draft: bool,
}

impl Hub {
    /// Changes a pull request's fields and its time.
    pub(super) fn change_pull(&self, place: &Place, number: u64, act: impl FnOnce(&mut Pull)) -> Result<(), Failure> {
        let found = self.with(place, |repository| {
            repository.pulls.get_mut(&number).map(|pull| {
                act(pull);
                pull.updated = Utc::now();
            })
        })?;
        found.ok_or_else(Failure::not_found)
    }

    /// Opens a pull request with all of GitHub's checks.
    pub(super) async fn open_pull(self: Arc<Self>, place: &Place, new: NewPull, by: &Pusher) -> Result<Pull, Failure> {
        // A push meanwhile must find the pull request, or the pull request the push.
        let _writing = place.writing.lock().await;
        let title = new.title.ok_or_else(|| Failure::field("PullRequest", "title", "missing_field"))?;
        let head = new.head.strip_prefix(&format!("{}:", place.owner)).unwrap_or(&new.head).to_owned();
        let head_sha = place.git.reference(&format!("refs/heads/{head}")).await;
        let head_sha = head_sha.ok_or_else(|| Failure::field("PullRequest", "head", "invalid"))?;
        let base_sha = place.git.reference(&format!("refs/heads/{}", new.base)).await;
        let base_sha = base_sha.ok_or_else(|| Failure::field("PullRequest", "base", "invalid"))?;
        if place.git.is_ancestor(&head_sha, &base_sha).await {
            let text = format!("No commits between {} and {head}", new.base);
            return Err(Failure::rule("PullRequest", text));
        }
        let pull = {
            let mut state = self.state();
            let id = state.next_id();
            let repository = state.repository_mut(&place.full).ok_or_else(Failure::not_found)?;
            let twin = |pull: &&Pull| pull.open && pull.own_branch() == Some(&head) && pull.base_branch == new.base;
            if repository.pulls.values().any(|pull| twin(&pull)) {
                let text = format!("A pull request already exists for {}:{head}.", place.owner);
                return Err(Failure::rule("PullRequest", text));
            }
            repository.next_number += 1;
            let number = repository.next_number;
            let pull = Pull {
                id,
                number,
                title,
                body: new.body,
                open: true,
                draft: new.draft,
                merged_by: None,
                merge_commit: None,
                head_branch: head,
                fork: None,
                head_sha,
                base_branch: new.base,
                base_sha,
                user: by.login.clone(),
                labels: Vec::new(),
                created: Utc::now(),
                updated: Utc::now(),
                closed: None,
            };
            repository.pulls.insert(number, pull.clone());
            pull
        };
        place.git.update_reference(&format!("refs/pull/{}/head", pull.number), &pull.head_sha, None).await?;
        if by.product {
            let detail = json!({
                "title": pull.title,
                "body": pull.body,
                "draft": pull.draft,
                "head": pull.head_branch,
                "head_sha": pull.head_sha,
                "base": pull.base_branch,
            });
            self.effect("pull_request.opened", place.issue(pull.number), detail);
        }
        self.announce_pull(place, pull.number, "opened", &by.login, json!({})).await;
        actions::start(&self, place, Occasion::pull(&pull, "opened", &by.login)).await;
        Ok(pull)
    }

    /// Opens a pull request from a person's fork: its commits are here, its branch is not.
    pub(super) async fn open_pull_of_fork(
        self: Arc<Self>,
        place: &Place,
        new: NewPull,
        head_sha: &str,
        by: &Pusher,
    ) -> Result<Pull, Failure> {
        let base_sha = place.git.reference(&format!("refs/heads/{}", new.base)).await;
        let base_sha = base_sha.ok_or_else(|| Failure::field("PullRequest", "base", "invalid"))?;
        let pull = {
            let mut state = self.state();
            let id = state.next_id();
            let repository = state.repository_mut(&place.full).ok_or_else(Failure::not_found)?;
            repository.next_number += 1;
            let pull = Pull {
                id,
                number: repository.next_number,
                title: new.title.unwrap_or_default(),
                body: new.body,
                open: true,
                draft: new.draft,
                merged_by: None,
                merge_commit: None,
                head_branch: new.head,
                fork: Some(by.login.clone()),
                head_sha: head_sha.to_owned(),
                base_branch: new.base,
                base_sha,
                user: by.login.clone(),
                labels: Vec::new(),
                created: Utc::now(),
                updated: Utc::now(),
                closed: None,
            };
            repository.pulls.insert(pull.number, pull.clone());
            pull
        };
        place.git.update_reference(&format!("refs/pull/{}/head", pull.number), &pull.head_sha, None).await?;
        self.announce_pull(place, pull.number, "opened", &by.login, json!({})).await;
        Ok(pull)
    }

    /// Closes without merging.
    pub(super) async fn close_pull(&self, place: &Place, number: u64, by: &Pusher) -> Result<(), Failure> {
        self.change_pull(place, number, Pull::end)?;
        if by.product {
            self.effect("pull_request.closed", place.issue(number), json!({"by": by.login}));
        }
        self.announce_pull(place, number, "closed", &by.login, json!({})).await;
        Ok(())
    }

    /// Opens a closed pull request again; not a merged one, nor one whose branch is gone.
    pub(super) async fn reopen_pull(self: &Arc<Self>, place: &Place, number: u64, by: &Pusher) -> Result<(), Failure> {
        let _writing = place.writing.lock().await;
        let pull = self.pull(place, number)?;
        let head = place.git.reference(&format!("refs/heads/{}", pull.head_branch)).await;
        let base = place.git.reference(&format!("refs/heads/{}", pull.base_branch)).await;
        let (Some(head), Some(base), false) = (head, base, pull.merged()) else {
            return Err(Failure::rule("PullRequest", "state cannot be changed. The pull request cannot be reopened."));
        };
        self.change_pull(place, number, |pull| {
            (pull.open, pull.closed, pull.head_sha, pull.base_sha) = (true, None, head, base);
        })?;
        if by.product {
            let detail = json!({"changed": {"state": {"from": "closed"}}, "state": "open"});
            self.effect("pull_request.updated", place.issue(number), detail);
        }
        self.announce_pull(place, number, "reopened", &by.login, json!({})).await;
        let pull = self.pull(place, number)?;
        actions::start(self, place, Occasion::pull(&pull, "reopened", &by.login)).await;
        Ok(())
    }

    /// Turns a draft into a pull request for review, or back.
    pub(super) async fn set_draft(
        self: &Arc<Self>,
        place: &Place,
        number: u64,
        draft: bool,
        by: &Pusher,
    ) -> Result<(), Failure> {
        let pull = self.pull(place, number)?;
        if !pull.open {
            return Err(Failure::new(422, "Pull request is closed"));
        }
        if pull.draft == draft {
            return Ok(());
        }
        self.change_pull(place, number, |pull| pull.draft = draft)?;
        let action = if draft { "converted_to_draft" } else { "ready_for_review" };
        if by.product {
            let kind = if draft { "pull_request.updated" } else { "pull_request.ready_for_review" };
            self.effect(kind, place.issue(number), json!({"draft": draft, "head_sha": pull.head_sha}));
        }
        self.announce_pull(place, number, action, &by.login, json!({})).await;
        let pull = self.pull(place, number)?;
        actions::start(self, place, Occasion::pull(&pull, action, &by.login)).await;
        Ok(())
    }

    /// Merges by `merge`, `squash` or `rebase` (the last only where it is a fast forward). Answers the new tip.
    pub(super) async fn merge_pull(
        self: Arc<Self>,
        place: &Place,
        number: u64,
        method: &str,
        words: Option<(String, String)>,
        by: &Pusher,
    ) -> Result<String, Failure> {
        let _writing = place.writing.lock().await;
        let pull = self.pull(place, number)?;
        if !pull.open {
            return Err(Failure::new(405, "Pull Request is not mergeable"));
        }
        if pull.draft {
            return Err(Failure::new(405, "Pull Request is still a draft"));
        }
        let tree = place.git.merged_tree(&pull.base_sha, &pull.head_sha).await;
        let tree = tree.ok_or_else(|| Failure::new(405, "Pull Request is not mergeable"))?;
        let (title, text) = words.unwrap_or_else(|| match method {
            "squash" => (format!("{} (#{number})", pull.title), pull.body.clone().unwrap_or_default()),
            _ => {
                let from = format!("{}/{}", place.owner, pull.head_branch);
                (format!("Merge pull request #{number} from {from}"), pull.title.clone())
            }
        });
        let message = format!("{title}\n\n{text}").trim_end().to_owned();
        let person = self.account_person(&by.login);
        let parents = match method {
            "merge" => vec![pull.base_sha.clone(), pull.head_sha.clone()],
            "squash" => vec![pull.base_sha.clone()],
            "rebase" if place.git.is_ancestor(&pull.base_sha, &pull.head_sha).await => Vec::new(),
            "rebase" => return Err(Failure::new(405, "This branch can't be rebased")),
            _ => return Err(Failure::field("PullRequest", "merge_method", "invalid")),
        };
        let sha = match method {
            "rebase" => pull.head_sha.clone(),
            _ => place.git.write_commit(&tree, &parents, &person, &person, &message).await?,
        };
        let name = format!("refs/heads/{}", pull.base_branch);
        place.git.update_reference(&name, &sha, Some(&pull.base_sha)).await?;
        self.change_pull(place, number, |pull| {
            pull.merged_by = Some(by.login.clone());
            pull.merge_commit = Some(sha.clone());
            pull.end();
        })?;
        if by.product {
            let detail = json!({"by": by.login, "sha": sha, "method": method});
            self.effect("pull_request.merged", place.issue(number), detail);
        }
        self.announce_pull(place, number, "closed", &by.login, json!({})).await;
        let change = RefChange { name, before: Some(pull.base_sha), after: Some(sha.clone()) };
        refs_changed(&self, place, by, &[change]).await;
        Ok(sha)
    }
}
