//! The stand-in's own methods for what people do, on the web page or at their desk, and for planned trouble.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use chrono::Utc;

use super::GitHub;
use super::actions;
use super::faults::Fault;
use super::git::Git;
use super::git_objects::{Person, TreeChange};
use super::hub::Place;
use super::pull_life::NewPull;
use super::pushes::{Pusher, RefChange, refs_changed};
use super::reply::Failure;
use super::state::{App, Permission, Repository, User};
use crate::webhook::Delivery;

impl From<Failure> for anyhow::Error {
    fn from(failure: Failure) -> Self {
        anyhow!("GitHub says {}: {} {}", failure.status, failure.message, failure.errors.unwrap_or_default())
    }
}

impl GitHub {
    pub(super) fn place(&self, repo: &str) -> anyhow::Result<Place> {
        self.hub.place(repo).with_context(|| format!("the world's GitHub has no repository {repo}"))
    }

    /// Adds a repository. `source` is a directory whose files become the first commit on `main`, or an existing git
    /// repository (directory or URL), which is copied with all its branches.
    ///
    /// # Errors
    /// When git cannot read the source, or the repository exists.
    pub async fn add_repository(
        &self,
        owner: &str,
        name: &str,
        description: &str,
        source: &Path,
    ) -> anyhow::Result<()> {
        let full = format!("{owner}/{name}");
        anyhow::ensure!(self.hub.place(&full).is_none(), "{full} exists");
        let dir = self.hub.directory.join(owner).join(format!("{name}.git"));
        std::fs::create_dir_all(dir.parent().unwrap_or(&self.hub.directory))?;
        let is_url = source.to_str().is_some_and(|text| text.contains("://"));
        let is_git = is_url || source.join(".git").exists() || source.join("HEAD").is_file();
        let git = if is_git {
            let from = if is_url { source.to_path_buf() } else { source.canonicalize()? };
            Git::clone_from(from.to_str().context("the path is not UTF-8")?, dir).await?
        } else {
            let git = Git::init(dir).await?;
            git.import_directory(&source.canonicalize()?).await?;
            git
        };
        let default_branch = git.text(&["symbolic-ref", "--short", "HEAD"]).await?;
        let mut state = self.hub.state();
        state.user(owner, "Organization");
        let id = state.next_id();
        let repository = Repository {
            id,
            owner: owner.to_owned(),
            name: name.to_owned(),
            description: description.to_owned(),
            default_branch,
            created: Utc::now(),
            pushed: Utc::now(),
            actions: true,
            git,
            writing: Arc::default(),
            next_number: 0,
            pulls: BTreeMap::default(),
            comments: Vec::new(),
            reactions: Vec::new(),
            statuses: Vec::new(),
            suites: Vec::new(),
            checks: Vec::new(),
            runs: Vec::new(),
            jobs: Vec::new(),
            expired_logs: std::collections::BTreeSet::new(),
            forgets_logs: false,
        };
        state.repositories.insert(full.to_ascii_lowercase(), repository);
        Ok(())
    }

    /// Adds a person, or changes what the person may do. It holds for all repositories.
    pub fn add_user(&self, login: &str, permission: Permission) {
        let mut state = self.hub.state();
        let user = state.user(login, "User");
        state.users.insert(login.to_ascii_lowercase(), User { permission, ..user });
    }

    /// Adds an account of kind `Bot`, as other Apps have one.
    pub fn add_bot(&self, login: &str) {
        self.hub.state().user(login, "Bot");
    }

    /// A person opens a pull request of a branch into the default branch. Answers its number.
    ///
    /// # Errors
    /// When GitHub would refuse it: no such branch, no commits.
    pub async fn open_pull_request(&self, repo: &str, branch: &str, title: &str, by: &str) -> anyhow::Result<u64> {
        let place = self.place(repo)?;
        let new = new_pull(&place, branch, title);
        Ok(self.hub.clone().open_pull(&place, new, &Pusher::person(by)).await?.number)
    }

    /// A person changes one file on a branch of their own fork and opens a pull request. Answers its number.
    ///
    /// # Errors
    /// When git fails.
    pub async fn open_pull_request_of_fork(
        &self,
        repo: &str,
        branch: &str,
        (path, content): (&str, &str),
        title: &str,
        by: &str,
    ) -> anyhow::Result<u64> {
        let place = self.place(repo)?;
        let parent = place.git.resolve(&place.default_branch).await.context("the repository is empty")?;
        let sha = commit_file(&place, &parent, path, content, by).await?;
        let new = new_pull(&place, branch, title);
        Ok(self.hub.clone().open_pull_of_fork(&place, new, &sha, &Pusher::person(by)).await?.number)
    }

    /// Installs a GitHub App for everything: its id, its slug and the public half of its key (PEM). Answers the
    /// installation's id.
    pub fn set_app(&self, app_id: u64, slug: &str, public_pem: &str) -> u64 {
        let mut state = self.hub.state();
        let installation = state.next_id();
        state.app = Some(App {
            id: app_id,
            slug: slug.to_owned(),
            public_pem: public_pem.to_owned(),
            installation,
            created: Utc::now(),
        });
        installation
    }

    /// A person merges a pull request with the green button.
    ///
    /// # Errors
    /// When GitHub would refuse it: a draft, conflicts, closed.
    pub async fn merge_pull_request(&self, repo: &str, number: u64, by: &str) -> anyhow::Result<String> {
        let place = self.place(repo)?;
        Ok(self.hub.clone().merge_pull(&place, number, "merge", None, &Pusher::person(by)).await?)
    }

    /// A person closes a pull request without merging.
    ///
    /// # Errors
    /// When there is none.
    pub async fn close_pull_request(&self, repo: &str, number: u64, by: &str) -> anyhow::Result<()> {
        Ok(self.hub.close_pull(&self.place(repo)?, number, &Pusher::person(by)).await?)
    }

    /// A person comments on a pull request. Answers the comment's id.
    ///
    /// # Errors
    /// When there is no such pull request.
    pub async fn comment(&self, repo: &str, number: u64, body: &str, by: &str) -> anyhow::Result<u64> {
        Ok(self.hub.add_comment(&self.place(repo)?, number, body, &Pusher::person(by)).await?.id)
    }

    /// A person commits one file to a branch and pushes it. A branch that is not there begins at the default branch.
    /// Answers the new commit.
    ///
    /// # Errors
    /// When git fails.
    pub async fn push_commit(
        &self,
        repo: &str,
        branch: &str,
        path: &str,
        content: &str,
        by: &str,
    ) -> anyhow::Result<String> {
        let place = self.place(repo)?;
        let _writing = place.writing.lock().await;
        let name = format!("refs/heads/{branch}");
        let before = place.git.reference(&name).await;
        let parent = match &before {
            Some(sha) => sha.clone(),
            None => place.git.resolve(&place.default_branch).await.context("the repository is empty")?,
        };
        let sha = commit_file(&place, &parent, path, content, by).await?;
        place.git.update_reference(&name, &sha, None).await?;
        let change = RefChange { name, before, after: Some(sha.clone()) };
        refs_changed(&self.hub, &place, &Pusher::person(by), &[change]).await;
        Ok(sha)
    }

    /// A person deletes a branch; its open pull requests are closed.
    ///
    /// # Errors
    /// When git fails or there is no such branch.
    pub async fn delete_branch(&self, repo: &str, branch: &str, by: &str) -> anyhow::Result<()> {
        let place = self.place(repo)?;
        let _writing = place.writing.lock().await;
        let name = format!("refs/heads/{branch}");
        let before = place.git.reference(&name).await.with_context(|| format!("{repo} has no branch {branch}"))?;
        place.git.delete_reference(&name).await?;
        let change = RefChange { name, before: Some(before), after: None };
        refs_changed(&self.hub, &place, &Pusher::person(by), &[change]).await;
        Ok(())
    }

    /// Switches GitHub Actions of a repository on or off. Off: pushes and pull requests start nothing.
    ///
    /// # Errors
    /// When there is no such repository.
    pub fn set_actions_enabled(&self, repo: &str, enabled: bool) -> anyhow::Result<()> {
        Ok(self.hub.with(&self.place(repo)?, |repository| repository.actions = enabled)?)
    }

    /// Time passes: the logs of all jobs that have ended by now are deleted.
    ///
    /// # Errors
    /// When there is no such repository.
    pub fn expire_logs(&self, repo: &str) -> anyhow::Result<()> {
        Ok(self.hub.with(&self.place(repo)?, |repository| {
            let ended = repository.jobs.iter().filter(|job| job.status == "completed").map(|job| job.id);
            repository.expired_logs = ended.collect();
        })?)
    }

    /// From now on logs are kept no longer than their jobs run, as with the shortest retention and a slow reader.
    ///
    /// # Errors
    /// When there is no such repository.
    pub fn forget_logs(&self, repo: &str) -> anyhow::Result<()> {
        Ok(self.hub.with(&self.place(repo)?, |repository| repository.forgets_logs = true)?)
    }

    /// A person cancels everything that runs on a commit; its jobs end as `cancelled`.
    ///
    /// # Errors
    /// When there is no such repository.
    pub fn cancel_runs(&self, repo: &str, sha: &str) -> anyhow::Result<()> {
        let running = self.hub.with(&self.place(repo)?, |repository| repository.runs.clone())?;
        running.iter().filter(|run| run.head_sha == sha).for_each(|run| run.stop.cancel());
        Ok(())
    }

    /// Another CI service reports a finished check on a commit.
    ///
    /// # Errors
    /// When there is no such repository.
    pub async fn report_check(
        &self,
        repo: &str,
        sha: &str,
        app: &str,
        name: &str,
        conclusion: &str,
        summary: &str,
    ) -> anyhow::Result<()> {
        let place = self.place(repo)?;
        actions::report(&self.hub, &place, sha, app, (name, conclusion, summary)).await;
        Ok(())
    }

    /// The next call whose `"<METHOD> <path>"` begins with `call` gets this error instead of an answer; nothing else
    /// happens. The path may leave out `/api/v3`: `POST /repos/acme/shop-api/pulls`.
    pub fn fail_next(&self, call: &str, status: u16, headers: &[(&str, &str)]) {
        let fault = Fault::error(call, status, headers);
        self.hub.faults.lock().expect("no one panics while holding the faults").push(fault);
    }

    /// The next call whose `"<METHOD> <path>"` begins with `call` is carried out, but the connection is cut before its
    /// caller learns of it. Works for git pushes too: `POST /acme/shop-api.git/git-receive-pack`.
    pub fn drop_reply_after_effect(&self, call: &str) {
        self.hub.faults.lock().expect("no one panics while holding the faults").push(Fault::cut(call));
    }

    /// Every webhook delivery that was answered, or given up, so far.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.hub.deliveries()
    }

    /// Sends a delivery again, with the same delivery id. `index` counts in [`Self::deliveries`].
    ///
    /// # Errors
    /// When there is no such delivery.
    pub async fn redeliver(&self, index: usize) -> anyhow::Result<Delivery> {
        self.hub.redeliver(index).await
    }
}

fn new_pull(place: &Place, branch: &str, title: &str) -> NewPull {
    NewPull {
        title: Some(title.to_owned()),
        body: None,
        head: branch.to_owned(),
        base: place.default_branch.clone(),
        draft: false,
    }
}

/// Writes a commit that changes one file. No branch has it yet.
async fn commit_file(place: &Place, parent: &str, path: &str, content: &str, by: &str) -> anyhow::Result<String> {
    let blob = place.git.write_blob(content.as_bytes()).await?;
    let change = TreeChange { path: path.to_owned(), to: Some(("100644".into(), blob)) };
    let tree = place.git.write_tree(Some(parent), &[change]).await?;
    let email = format!("{by}@acme.example");
    let person = Person { name: by.to_owned(), email, at: Utc::now().timestamp() };
    let message = format!("Change {path}\n");
    place.git.write_commit(&tree, &[parent.to_owned()], &person, &person, &message).await
}
