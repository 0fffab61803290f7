//! Stand-in of Sentry: the web API below `/api/0`, signed webhooks of an internal integration, and a page to look at.

mod issue;
mod outbox;
mod page;
mod rest;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard};

use crate::effects::Effects;
use crate::faults::Faults;
use crate::webhook::{Delivery, Webhooks};
use crate::world::Credentials;
pub use issue::{Frame, NewError};
use outbox::Outbox;
pub use outbox::Sent;
use state::State;
pub use state::{Issue, Link, Status};

/// Name in the record of effects.
const SERVICE: &str = "sentry";
/// Slug of the one organisation.
pub const ORGANISATION: &str = "acme";
/// Scopes of the integration's token at the start.
pub const SCOPES: [&str; 4] = ["event:read", "event:write", "org:read", "project:read"];

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
pub struct Sentry {
    token: String,
    effects: Effects,
    outbox: Outbox,
    faults: Faults<Failure>,
    state: Arc<Mutex<State>>,
}

impl Sentry {
    /// A Sentry with the organisation `acme` and an installed integration. Needs a Tokio runtime (it sends webhooks).
    pub fn new(base_url: &str, credentials: &Credentials, effects: &Effects, webhooks: &Webhooks) -> Self {
        let base_url = format!("{}/sentry", base_url.trim_end_matches('/'));
        Self {
            token: credentials.sentry_token.clone(),
            effects: effects.clone(),
            outbox: Outbox::new(webhooks, &credentials.sentry_client_secret),
            faults: Faults::default(),
            state: Arc::new(Mutex::new(State::new(base_url))),
        }
    }

    /// Routes below the stand-in's prefix.
    pub fn router(&self) -> axum::Router {
        rest::router(self).merge(page::router(self))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// An error happens for the first time; the issue's id is returned. Webhook: `issue.created`, unless the error is a
    /// silent one.
    pub fn create_issue(&self, new: NewError) -> String {
        let silent = new.silent;
        let mut state = self.lock();
        let issue = state.create(new);
        if !silent {
            self.outbox.push("issue", "created", &issue, &outbox::issue_event(&state, "created", &issue));
        }
        issue.id
    }

    /// So many more events of so many other users. A resolved issue is open again first (webhook `issue.unresolved`); then the
    /// alert rule fires (webhook `event_alert`). Unknown issues change nothing.
    pub fn report_events(&self, id: &str, events: u64, users: u64) {
        let Some((issue, reopened)) = self.count_events(id, events, users) else { return };
        let state = self.lock();
        if reopened {
            self.outbox.push("issue", "unresolved", &issue, &outbox::issue_event(&state, "unresolved", &issue));
        }
        self.outbox.push("event_alert", "triggered", &issue, &outbox::alert(&state, &issue));
    }

    /// As [`Sentry::report_events`], without a webhook: only who asks finds out.
    pub fn report_events_silently(&self, id: &str, events: u64, users: u64) {
        self.count_events(id, events, users);
    }

    fn count_events(&self, id: &str, events: u64, users: u64) -> Option<(Issue, bool)> {
        let mut state = self.lock();
        let now = state.tick();
        let event_id = state.event_id();
        let issue = state.issues.get_mut(id)?;
        let reopened = issue.status == Status::Resolved;
        if reopened {
            issue.status = Status::Unresolved;
        }
        issue.count(now, events, users);
        issue.event_id = Some(event_id);
        Some((issue.clone(), reopened))
    }

    /// The next events of an issue come from this new release.
    pub fn deploy(&self, id: &str, release: &str) {
        let mut state = self.lock();
        let now = state.tick();
        if let Some(issue) = state.issues.get_mut(id) {
            release.clone_into(&mut issue.release);
            issue.released = now;
        }
    }

    /// A person resolves an issue. Webhook: `issue.resolved`.
    pub fn resolve(&self, id: &str) {
        self.set_status(id, Status::Resolved, "resolved");
    }

    /// A person opens an issue again. Webhook: `issue.unresolved`.
    pub fn unresolve(&self, id: &str) {
        self.set_status(id, Status::Unresolved, "unresolved");
    }

    /// A person archives an issue. Webhook: `issue.archived`.
    pub fn archive(&self, id: &str) {
        self.set_status(id, Status::Ignored, "archived");
    }

    fn set_status(&self, id: &str, status: Status, action: &str) -> Option<Issue> {
        let mut state = self.lock();
        let issue = state.issues.get_mut(id).filter(|issue| issue.status != status)?;
        issue.status = status;
        let issue = issue.clone();
        self.outbox.push("issue", action, &issue, &outbox::issue_event(&state, action, &issue));
        Some(issue)
    }

    /// A person deletes an issue. No webhook, as in reality.
    pub fn delete(&self, id: &str) {
        self.lock().issues.remove(id);
    }

    /// A person merges one issue into another: its old id answers with the other one from then on.
    pub fn merge(&self, id: &str, into: &str) {
        let mut state = self.lock();
        if let Some(merged) = state.issues.remove(id) {
            if let Some(target) = state.issues.get_mut(into) {
                target.hashes.extend(merged.hashes);
            }
            state.merged.insert(id.to_owned(), into.to_owned());
        }
    }

    /// The issue as it is now.
    pub fn issue(&self, id: &str) -> Option<Issue> {
        self.lock().issues.get(id).cloned()
    }

    /// All issues, by id.
    pub fn issues(&self) -> Vec<Issue> {
        self.lock().issues.values().cloned().collect()
    }

    /// The integration's token may do only this from now on.
    pub fn set_scopes(&self, scopes: &[&str]) {
        self.lock().scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    }

    /// The token is a person's from now on, and no app is installed: nothing can be linked.
    pub fn uninstall_app(&self) {
        self.lock().installation = None;
    }

    /// The next call whose `METHOD /path` contains `call` is refused. Repeat to refuse several times.
    pub fn fail_next(&self, call: &str, failure: Failure) {
        self.faults.refuse(call, failure);
    }

    /// The next call whose `METHOD /path` contains `call` has its effect, then the client's connection is cut.
    pub fn drop_reply_after_effect(&self, call: &str) {
        self.faults.lose_reply(call);
    }

    /// Webhooks sent so far, in order.
    pub fn sent(&self) -> Vec<Sent> {
        self.outbox.sent()
    }

    /// Sends a webhook again with the same body, as somebody who captured it could. `None` when there is no such webhook.
    pub async fn redeliver(&self, index: usize) -> Option<Delivery> {
        self.outbox.redeliver(index).await
    }
}
