//! Stand-in of Jira Cloud: REST v3, signed webhooks, and pages to look at.

mod adf;
mod changes;
mod documents;
mod issues;
mod jql;
mod outbox;
mod page;
mod rest;
mod search;
mod state;
#[cfg(test)]
mod tests;
mod ticket;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::TimeDelta;

use crate::faults::Faults;
use crate::webhook::{Delivery, Webhooks};
use crate::{effects::Effects, world::Credentials};
use changes::{Draft, Edit};
use outbox::Outbox;
pub use outbox::Sent;
use state::State;
pub use state::{Change, Comment, Issue, RemoteLink, User};
pub use ticket::NewIssue;

/// Name in the record of effects.
const SERVICE: &str = "jira";

/// A refusal in place of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u64>,
}

/// The stand-in; cloning shares its state.
#[derive(Debug, Clone)]
pub struct Jira {
    email: String,
    token: String,
    effects: Effects,
    outbox: Outbox,
    faults: Faults<Failure>,
    state: Arc<Mutex<State>>,
}

impl Jira {
    /// A Jira with the project `SHOP` and the people Ana and Bo. Needs a Tokio runtime (it sends webhooks).
    pub fn new(base_url: &str, credentials: &Credentials, effects: &Effects, webhooks: &Webhooks) -> Self {
        let base_url = format!("{}/jira", base_url.trim_end_matches('/'));
        Self {
            email: credentials.jira_email.clone(),
            token: credentials.jira_token.clone(),
            effects: effects.clone(),
            outbox: Outbox::new(webhooks, &credentials.jira_webhook_secret),
            faults: Faults::default(),
            state: Arc::new(Mutex::new(State::new(base_url, &credentials.jira_email))),
        }
    }

    /// Routes below the stand-in's prefix.
    pub fn router(&self) -> axum::Router {
        rest::router(self).merge(page::router(self))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Adds a project; `SHOP` is there from the start.
    pub fn add_project(&self, key: &str, name: &str) {
        name.clone_into(&mut self.lock().project(key).name);
    }

    /// A person writes a ticket; the key is returned. Webhook: `jira:issue_created`.
    pub fn create_issue(&self, project: &str, new: NewIssue) -> String {
        let reporter = self.lock().user(&new.reporter);
        let number = new.key.as_deref().and_then(|key| key.strip_prefix(project)?.strip_prefix('-')?.parse().ok());
        let draft = Draft {
            project: project.to_owned(),
            number,
            summary: new.summary,
            description: adf::from_markdown(&new.description_markdown),
            labels: new.labels,
            priority: new.priority,
            issue_type: new.issue_type,
            reporter: reporter.clone(),
            properties: BTreeMap::default(),
        };
        self.create(&reporter, draft).key
    }

    /// A person adds a label. Webhook: `jira:issue_updated`. Unknown issues and labels already there change nothing.
    pub fn add_label(&self, key: &str, label: &str, by: &str) {
        self.relabel(key, by, |labels| {
            if !labels.iter().any(|l| l == label) {
                labels.push(label.to_owned());
            }
        });
    }

    /// A person removes a label. Webhook: `jira:issue_updated`.
    pub fn remove_label(&self, key: &str, label: &str, by: &str) {
        self.relabel(key, by, |labels| labels.retain(|l| l != label));
    }

    fn relabel(&self, key: &str, by: &str, change: impl FnOnce(&mut Vec<String>)) {
        let Some(mut labels) = self.issue(key).map(|issue| issue.labels) else { return };
        change(&mut labels);
        self.edit_as(key, by, Edit { labels: Some(labels), ..Edit::default() });
    }

    /// A person changes the title. Webhook: `jira:issue_updated`.
    pub fn set_summary(&self, key: &str, summary: &str, by: &str) {
        self.edit_as(key, by, Edit { summary: Some(summary.to_owned()), ..Edit::default() });
    }

    /// A person rewrites the description. Webhook: `jira:issue_updated`.
    pub fn set_description(&self, key: &str, markdown: &str, by: &str) {
        self.edit_as(key, by, Edit { description: Some(adf::from_markdown(markdown)), ..Edit::default() });
    }

    /// A person moves the issue to a status of the workflow. Webhook: `jira:issue_updated`.
    pub fn move_to(&self, key: &str, status: &str, by: &str) {
        let status =
            state::TRANSITIONS.iter().find(|(_, name)| name.eq_ignore_ascii_case(status)).map(|(_, name)| *name);
        self.edit_as(key, by, Edit { status, ..Edit::default() });
    }

    fn edit_as(&self, key: &str, by: &str, edit: Edit) {
        let by = self.lock().user(by);
        self.edit(&by, key, edit);
    }

    /// A person comments (Markdown); the comment's id is returned. Webhook: `comment_created`.
    pub fn comment(&self, key: &str, text: &str, by: &str) -> Option<String> {
        let by = self.lock().user(by);
        self.add_comment(&by, key, adf::from_markdown(text), BTreeMap::default()).map(|(_, comment)| comment.id)
    }

    /// Relates two issues to each other.
    pub fn link(&self, one: &str, other: &str) {
        let mut state = self.lock();
        for (from, to) in [(one, other), (other, one)] {
            if let Some(issue) = state.find(from) {
                issue.links.push(to.to_owned());
            }
        }
    }

    /// The issue as it is now.
    pub fn issue(&self, key: &str) -> Option<Issue> {
        self.lock().find(key).cloned()
    }

    /// All issues, by key.
    pub fn issues(&self) -> Vec<Issue> {
        self.lock().issues.values().cloned().collect()
    }

    /// Account id of a person by name.
    pub fn account_id(&self, name: &str) -> String {
        self.lock().user(name)
    }

    /// Account id of the bot.
    pub fn bot(&self) -> &'static str {
        state::BOT
    }

    /// The next call whose `METHOD /path` contains `call` is refused. Repeat to refuse several times.
    pub fn fail_next(&self, call: &str, failure: Failure) {
        self.faults.refuse(call, failure);
    }

    /// The next call whose `METHOD /path` contains `call` has its effect, then the client's connection is cut.
    pub fn drop_reply_after_effect(&self, call: &str) {
        self.faults.lose_reply(call);
    }

    /// Search does not find issues younger than this, as the real index lags; `reconcileIssues` finds them.
    pub fn set_index_lag(&self, lag: Duration) {
        self.lock().index_lag = TimeDelta::from_std(lag).unwrap_or(TimeDelta::MAX);
    }

    /// Webhooks sent so far, in order; retries are not listed again.
    pub fn sent(&self) -> Vec<Sent> {
        self.outbox.sent()
    }

    /// Sends a webhook again with the same identifier and body. `None` when there is no such webhook.
    pub async fn redeliver(&self, index: usize) -> Option<Delivery> {
        self.outbox.redeliver(index).await
    }
}
