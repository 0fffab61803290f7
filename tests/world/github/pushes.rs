//! What follows when refs have changed, by whichever door: effects, webhooks, pull requests, GitHub Actions.

use chrono::Utc;
use serde_json::{Value, json};

use super::actions::{self, Occasion};
use super::events::SharedHub;
use super::git_objects::{Commit, iso};
use super::hub::{Hub, Place};
use super::state::Pull;

/// One ref before and after.
#[derive(Debug, Clone)]
pub(super) struct RefChange {
    /// `refs/heads/main`.
    pub(super) name: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

/// Who changed the refs.
#[derive(Debug, Clone)]
pub(super) struct Pusher {
    pub(super) login: String,
    /// The product did it, so it counts as an effect.
    pub(super) product: bool,
}

impl Pusher {
    /// The product, by its token.
    pub(super) fn product(login: &str) -> Self {
        Self { login: login.to_owned(), product: true }
    }

    /// A person on the web page or at a desk.
    pub(super) fn person(login: &str) -> Self {
        Self { login: login.to_owned(), product: false }
    }
}

const ZEROS: &str = "0000000000000000000000000000000000000000";

/// Compares two listings of refs.
pub(super) fn changes(
    before: &std::collections::BTreeMap<String, String>,
    after: &std::collections::BTreeMap<String, String>,
) -> Vec<RefChange> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let change = |name: &String| RefChange {
        name: name.clone(),
        before: before.get(name).cloned(),
        after: after.get(name).cloned(),
    };
    names.into_iter().map(change).filter(|change| change.before != change.after).collect()
}

/// Tells everybody about changed refs. Call it while holding the repository's `writing` lock.
pub(super) async fn refs_changed(hub: &SharedHub, place: &Place, pusher: &Pusher, changes: &[RefChange]) {
    for change in changes {
        let Ok(()) = hub.with(place, |repository| repository.pushed = Utc::now()) else { return };
        let commits = hub.new_commits(place, change).await;
        hub.record_change(place, pusher, change, &commits).await;
        hub.announce_change(place, pusher, change, &commits).await;
        let Some(branch) = change.name.strip_prefix("refs/heads/") else { continue };
        if let Some(after) = &change.after {
            let occasion = Occasion::push(branch, after, change.before.as_deref(), &pusher.login);
            actions::start(hub, place, occasion).await;
        }
        for pull in hub.open_pulls(place, |pull| pull.own_branch() == Some(branch)) {
            head_moved(hub, place, pusher, &pull, change).await;
        }
        for pull in hub.open_pulls(place, |pull| pull.base_branch == branch) {
            base_moved(hub, place, pusher, &pull, change).await;
        }
    }
}

async fn head_moved(hub: &SharedHub, place: &Place, pusher: &Pusher, pull: &Pull, change: &RefChange) {
    let number = pull.number;
    let Some(after) = &change.after else {
        return end(hub, place, pusher, number, "its branch was deleted").await;
    };
    let changed = hub.with(place, |repository| {
        if let Some(pull) = repository.pulls.get_mut(&number) {
            pull.head_sha.clone_from(after);
            pull.updated = Utc::now();
        }
    });
    let _ = place.git.update_reference(&format!("refs/pull/{number}/head"), after, None).await;
    if changed.is_ok() {
        let more = json!({"before": change.before, "after": after});
        hub.announce_pull(place, number, "synchronize", &pusher.login, more).await;
        actions::start(
            hub,
            place,
            Occasion::pull(&Pull { head_sha: after.clone(), ..pull.clone() }, "synchronize", &pusher.login),
        )
        .await;
    }
}

async fn base_moved(hub: &SharedHub, place: &Place, pusher: &Pusher, pull: &Pull, change: &RefChange) {
    let Some(after) = &change.after else {
        return end(hub, place, pusher, pull.number, "its base branch was deleted").await;
    };
    // Somebody merged by hand and pushed: GitHub marks the pull request as merged.
    let merged = place.git.is_ancestor(&pull.head_sha, after).await;
    let _ = hub.with(place, |repository| {
        if let Some(pull) = repository.pulls.get_mut(&pull.number) {
            if merged {
                pull.merged_by = Some(pusher.login.clone());
                pull.merge_commit = Some(after.clone());
                pull.end();
            } else {
                pull.base_sha.clone_from(after);
            }
        }
    });
    if merged {
        if pusher.product {
            hub.effect("pull_request.merged", place.issue(pull.number), json!({"by": pusher.login, "sha": after}));
        }
        hub.announce_pull(place, pull.number, "closed", &pusher.login, json!({})).await;
    }
}

async fn end(hub: &SharedHub, place: &Place, pusher: &Pusher, number: u64, why: &str) {
    let _ = hub.with(place, |repository| repository.pulls.get_mut(&number).map(Pull::end));
    if pusher.product {
        hub.effect("pull_request.closed", place.issue(number), json!({"by": pusher.login, "because": why}));
    }
    hub.announce_pull(place, number, "closed", &pusher.login, json!({})).await;
}

impl Hub {
    /// Commits that a change brought, oldest first: those no other branch had.
    async fn new_commits(&self, place: &Place, change: &RefChange) -> Vec<Commit> {
        let Some(after) = &change.after else { return Vec::new() };
        let exclude = match &change.before {
            Some(before) => format!("^{before}"),
            None => format!("^refs/heads/{}", place.default_branch),
        };
        let args = ["--reverse", "--max-count=250", after, &exclude, "--"];
        match change.name == format!("refs/heads/{}", place.default_branch) && change.before.is_none() {
            true => place.git.commits(&["--reverse", "--max-count=250", after, "--"]).await.unwrap_or_default(),
            false => place.git.commits(&args).await.unwrap_or_default(),
        }
    }

    async fn record_change(&self, place: &Place, pusher: &Pusher, change: &RefChange, commits: &[Commit]) {
        let Some(branch) = change.name.strip_prefix("refs/heads/").filter(|_| pusher.product) else { return };
        let target = place.at(branch);
        match (&change.before, &change.after) {
            (None, Some(after)) => self.effect("branch.created", target.clone(), json!({"sha": after})),
            (Some(before), None) => return self.effect("branch.deleted", target, json!({"sha": before})),
            _ => {}
        }
        let Some(after) = change.after.as_ref().filter(|_| change.before.is_some() || !commits.is_empty()) else {
            return;
        };
        let from = match &change.before {
            Some(before) => Some(before.clone()),
            None => place.git.merge_base(after, &format!("refs/heads/{}", place.default_branch)).await,
        };
        let files = match from {
            Some(from) => place.git.diff(&from, after).await.unwrap_or_default(),
            None => Vec::new(),
        };
        let forced = match &change.before {
            Some(before) => !place.git.is_ancestor(before, after).await,
            None => false,
        };
        let commit = |commit: &Commit| {
            json!({
                "sha": commit.sha,
                "message": commit.message,
                "author": commit.author.json(),
                "parents": commit.parents,
            })
        };
        let detail = json!({
            "before": change.before,
            "after": after,
            "forced": forced,
            "by": pusher.login,
            "commits": commits.iter().map(commit).collect::<Vec<_>>(),
            "files": files.iter().map(|file| json!({"path": file.path, "status": file.status})).collect::<Vec<_>>(),
        });
        self.effect("commit.pushed", target, detail);
    }

    async fn announce_change(&self, place: &Place, pusher: &Pusher, change: &RefChange, commits: &[Commit]) {
        let (kind, short) = match change.name.strip_prefix("refs/heads/") {
            Some(branch) => ("branch", branch),
            None => ("tag", change.name.strip_prefix("refs/tags/").unwrap_or(&change.name)),
        };
        let named = json!({
            "ref": short, "ref_type": kind, "master_branch": place.default_branch, "pusher_type": "user",
        });
        if change.before.is_none() {
            self.announce(place, "create", &pusher.login, named.clone());
        } else if change.after.is_none() {
            self.announce(place, "delete", &pusher.login, named);
        }
        let commits: Vec<Value> = commits.iter().map(|commit| self.push_commit_view(place, commit)).collect();
        let before = change.before.as_deref().unwrap_or(ZEROS);
        let after = change.after.as_deref().unwrap_or(ZEROS);
        let forced = change.before.is_some() && change.after.is_some() && !place.git.is_ancestor(before, after).await;
        let payload = json!({
            "ref": change.name,
            "before": before,
            "after": after,
            "created": change.before.is_none(),
            "deleted": change.after.is_none(),
            "forced": forced,
            "base_ref": null,
            "compare": format!("{}/{}/compare/{before}...{after}", self.base, place.full),
            "head_commit": commits.last(),
            "commits": commits,
            "pusher": {"name": pusher.login, "email": format!("{}@acme.example", pusher.login)},
        });
        self.announce(place, "push", &pusher.login, payload);
    }

    fn push_commit_view(&self, place: &Place, commit: &Commit) -> Value {
        json!({
            "id": commit.sha,
            "tree_id": commit.tree,
            "distinct": true,
            "message": commit.message,
            "timestamp": iso(commit.committer.at),
            "url": format!("{}/{}/commit/{}", self.base, place.full, commit.sha),
            "author": {"name": commit.author.name, "email": commit.author.email},
            "committer": {"name": commit.committer.name, "email": commit.committer.email},
        })
    }
}
