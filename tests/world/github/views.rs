//! Accounts, repositories and commits as GitHub's JSON.

use serde_json::{Value, json};

use super::git_objects::{Commit, FileDiff};
use super::hub::{Hub, Place};
use super::reply::{Failure, encode_path};
use super::state::{Repository, User, node_id};

/// Time as GitHub writes it.
pub(super) fn time(at: chrono::DateTime<chrono::Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// One object of two: the fields of `more` come after those of `base`.
pub(super) fn joined(mut base: Value, more: Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more);
    }
    base
}

impl Hub {
    /// An account by login; unknown logins become plain users.
    pub(super) fn user(&self, login: &str) -> Value {
        let kind = if login.ends_with("[bot]") { "Bot" } else { "User" };
        let user = self.state().user(login, kind);
        self.user_view(&user)
    }

    pub(super) fn user_view(&self, user: &User) -> Value {
        let (login, id) = (&user.login, user.id);
        let api = self.api(&format!("/users/{login}"));
        json!({
            "login": login,
            "id": id,
            "node_id": node_id(if user.kind == "Organization" { "O" } else { "U" }, id),
            "avatar_url": format!("{}/avatars/u/{id}", self.base),
            "gravatar_id": "",
            "url": api,
            "html_url": format!("{}/{login}", self.base),
            "followers_url": format!("{api}/followers"),
            "following_url": format!("{api}/following{{/other_user}}"),
            "gists_url": format!("{api}/gists{{/gist_id}}"),
            "starred_url": format!("{api}/starred{{/owner}}{{/repo}}"),
            "subscriptions_url": format!("{api}/subscriptions"),
            "organizations_url": format!("{api}/orgs"),
            "repos_url": format!("{api}/repos"),
            "events_url": format!("{api}/events{{/privacy}}"),
            "received_events_url": format!("{api}/received_events"),
            "type": user.kind,
            "site_admin": false,
        })
    }

    /// A repository. The state is locked for the accounts, so pass a copy of what is needed.
    pub(super) fn repository(&self, place: &Place) -> Result<Value, Failure> {
        let repository = self.with(place, |repository| repository.clone())?;
        Ok(self.repository_view(&repository))
    }

    pub(super) fn repository_view(&self, repository: &Repository) -> Value {
        let full = repository.full_name();
        let owner = self.state().user(&repository.owner, "Organization");
        let api = self.api(&format!("/repos/{full}"));
        let html = format!("{}/{full}", self.base);
        let open = repository.pulls.values().filter(|pull| pull.open).count();
        let names = json!({
            "id": repository.id,
            "node_id": node_id("R", repository.id),
            "name": repository.name,
            "full_name": full,
            "private": true,
            "owner": self.user_view(&owner),
            "html_url": html,
            "description": if repository.description.is_empty() { Value::Null } else { json!(repository.description) },
            "fork": false,
            "url": api,
            "git_url": format!("git://{}/{full}.git", self.base.trim_start_matches("http://")),
            "ssh_url": format!("git@{}:{full}.git", self.base.trim_start_matches("http://")),
            "clone_url": format!("{html}.git"),
            "svn_url": html,
            "mirror_url": null,
        });
        let facts = json!({
            "homepage": null,
            "language": null,
            "size": 100,
            "forks": 0,
            "forks_count": 0,
            "stargazers_count": 0,
            "watchers": 0,
            "watchers_count": 0,
            "open_issues": open,
            "open_issues_count": open,
            "license": null,
            "topics": [],
            "default_branch": repository.default_branch,
            "is_template": false,
            "has_issues": true,
            "has_projects": false,
            "has_wiki": false,
            "has_pages": false,
            "has_downloads": false,
            "has_discussions": false,
            "archived": false,
            "disabled": false,
            "visibility": "private",
            "created_at": time(repository.created),
            "updated_at": time(repository.pushed),
            "pushed_at": time(repository.pushed),
            "permissions": {"admin": false, "maintain": false, "push": true, "triage": true, "pull": true},
            "allow_merge_commit": true,
            "allow_squash_merge": true,
            "allow_rebase_merge": true,
            "allow_auto_merge": false,
            "delete_branch_on_merge": false,
        });
        let mut view = joined(names, facts);
        let links = [
            ("archive", "/{archive_format}{/ref}"),
            ("assignees", "{/user}"),
            ("branches", "{/branch}"),
            ("collaborators", "{/collaborator}"),
            ("comments", "{/number}"),
            ("commits", "{/sha}"),
            ("compare", "/{base}...{head}"),
            ("contents", "/{+path}"),
            ("contributors", ""),
            ("deployments", ""),
            ("downloads", ""),
            ("events", ""),
            ("forks", ""),
            ("hooks", ""),
            ("issues", "{/number}"),
            ("keys", "{/key_id}"),
            ("labels", "{/name}"),
            ("languages", ""),
            ("merges", ""),
            ("milestones", "{/number}"),
            ("pulls", "{/number}"),
            ("releases", "{/id}"),
            ("stargazers", ""),
            ("statuses", "/{sha}"),
            ("subscribers", ""),
            ("subscription", ""),
            ("tags", ""),
            ("teams", ""),
        ];
        for (name, template) in links {
            view[format!("{name}_url")] = json!(format!("{api}/{name}{template}"));
        }
        view["archive_url"] = json!(format!("{api}/{{archive_format}}{{/ref}}"));
        view["blobs_url"] = json!(format!("{api}/git/blobs{{/sha}}"));
        view["git_commits_url"] = json!(format!("{api}/git/commits{{/sha}}"));
        view["git_refs_url"] = json!(format!("{api}/git/refs{{/sha}}"));
        view["git_tags_url"] = json!(format!("{api}/git/tags{{/sha}}"));
        view["trees_url"] = json!(format!("{api}/git/trees{{/sha}}"));
        view["issue_comment_url"] = json!(format!("{api}/issues/comments{{/number}}"));
        view["issue_events_url"] = json!(format!("{api}/issues/events{{/number}}"));
        view["notifications_url"] = json!(format!("{api}/notifications{{?since,all,participating}}"));
        view
    }

    /// A commit as `/repos/../commits/{ref}` shows it, without its files.
    pub(super) fn commit_view(&self, place: &Place, commit: &Commit) -> Value {
        let (full, sha) = (&place.full, &commit.sha);
        let api = self.api(&format!("/repos/{full}"));
        let html = format!("{}/{full}/commit", self.base);
        let parents: Vec<Value> = commit.parents.iter().map(|parent| {
            json!({"sha": parent, "url": format!("{api}/commits/{parent}"), "html_url": format!("{html}/{parent}")})
        }).collect();
        json!({
            "sha": sha,
            "node_id": format!("C_kwDO{sha}"),
            "url": format!("{api}/commits/{sha}"),
            "html_url": format!("{html}/{sha}"),
            "comments_url": format!("{api}/commits/{sha}/comments"),
            "commit": {
                "url": format!("{api}/git/commits/{sha}"),
                "author": commit.author.json(),
                "committer": commit.committer.json(),
                "message": commit.message,
                "comment_count": 0,
                "tree": {"sha": commit.tree, "url": format!("{api}/git/trees/{}", commit.tree)},
                "verification": unsigned(),
            },
            "author": self.account_of(&commit.author.email),
            "committer": self.account_of(&commit.committer.email),
            "parents": parents,
        })
    }

    /// A commit as `/repos/../git/commits/{sha}` shows it.
    pub(super) fn git_commit_view(&self, place: &Place, commit: &Commit) -> Value {
        let api = self.api(&format!("/repos/{}", place.full));
        let html = format!("{}/{}/commit", self.base, place.full);
        let parents: Vec<Value> = commit.parents.iter().map(|parent| {
            json!({"sha": parent, "url": format!("{api}/git/commits/{parent}"), "html_url": format!("{html}/{parent}")})
        }).collect();
        json!({
            "sha": commit.sha,
            "node_id": format!("C_kwDO{}", commit.sha),
            "url": format!("{api}/git/commits/{}", commit.sha),
            "html_url": format!("{html}/{}", commit.sha),
            "author": commit.author.json(),
            "committer": commit.committer.json(),
            "message": commit.message,
            "tree": {"sha": commit.tree, "url": format!("{api}/git/trees/{}", commit.tree)},
            "parents": parents,
            "verification": unsigned(),
        })
    }

    /// The account behind `<login>@...` or `<id>+<login>@users.noreply...`, null when nobody is known by it.
    fn account_of(&self, email: &str) -> Value {
        let local = email.split('@').next().unwrap_or_default();
        let login = local.split_once('+').map_or(local, |(_, login)| login).to_ascii_lowercase();
        let user = self.state().users.get(&login).cloned();
        user.map_or(Value::Null, |user| self.user_view(&user))
    }

    /// A file of a diff.
    pub(super) fn file_view(&self, place: &Place, commit: &str, file: &FileDiff) -> Value {
        let path = encode_path(&file.path);
        let mut view = json!({
            "sha": file.sha,
            "filename": file.path,
            "status": file.status,
            "additions": file.additions,
            "deletions": file.deletions,
            "changes": file.additions + file.deletions,
            "blob_url": format!("{}/{}/blob/{commit}/{path}", self.base, place.full),
            "raw_url": format!("{}/{}/raw/{commit}/{path}", self.base, place.full),
            "contents_url": format!("{}?ref={commit}", self.api(&format!("/repos/{}/contents/{path}", place.full))),
        });
        if let Some(patch) = &file.patch {
            view["patch"] = json!(patch);
        }
        if let Some(previous) = &file.previous {
            view["previous_filename"] = json!(previous);
        }
        view
    }
}

fn unsigned() -> Value {
    json!({"verified": false, "reason": "unsigned", "signature": null, "payload": null, "verified_at": null})
}
