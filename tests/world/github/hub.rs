//! What every part of the stand-in shares: addresses, secrets, memory, the webhook queues and the planned faults.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;

use super::events::Queues;
use super::faults::Fault;
use super::git::Git;
use super::reply::Failure;
use super::state::{Pull, Repository, State};
use crate::{effects::Effects, webhook::Webhooks};

/// Login of the account that the personal access token belongs to.
pub(super) const BOT: &str = "ticketwright";

/// Shared by all handlers and tasks of one stand-in.
pub(super) struct Hub {
    /// Address of the web pages, `http://127.0.0.1:<port>/github`. The REST root is `<base>/api/v3`.
    pub(super) base: String,
    pub(super) directory: PathBuf,
    pub(super) token: String,
    pub(super) webhook_secret: String,
    pub(super) effects: Effects,
    pub(super) webhooks: Webhooks,
    pub(super) queues: Queues,
    pub(super) faults: Mutex<Vec<Fault>>,
    /// As many jobs run at once as there are permits.
    pub(super) runners: Arc<tokio::sync::Semaphore>,
    /// Counts checks and runs that came to an end.
    pub(super) runs_finished: tokio::sync::watch::Sender<u64>,
    state: Mutex<State>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Hub").field("base", &self.base).field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// A repository that was found: its name as written by its owner, and its git directory.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// `acme/shop-api`.
    pub(super) full: String,
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) default_branch: String,
    pub(super) git: Git,
    pub(super) writing: Arc<tokio::sync::Mutex<()>>,
}

impl Hub {
    pub(super) fn new(
        base: String,
        directory: PathBuf,
        secrets: &crate::Credentials,
        effects: &Effects,
        webhooks: &Webhooks,
    ) -> Arc<Self> {
        let hub = Arc::new(Self {
            base,
            directory,
            token: secrets.github_token.clone(),
            webhook_secret: secrets.github_webhook_secret.clone(),
            effects: effects.clone(),
            webhooks: webhooks.clone(),
            queues: Queues::default(),
            faults: Mutex::default(),
            runners: Arc::new(tokio::sync::Semaphore::new(4)),
            runs_finished: tokio::sync::watch::Sender::new(0),
            state: Mutex::default(),
        });
        hub.state().user(BOT, "User");
        hub
    }

    /// The memory. Never held across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no handler panics while it holds the state")
    }

    /// Finds a repository by owner and name, in any case of letters.
    pub(super) fn find(&self, owner: &str, name: &str) -> Result<Place, Failure> {
        self.place(&format!("{owner}/{name}")).ok_or_else(Failure::not_found)
    }

    /// Finds a repository by full name.
    pub(super) fn place(&self, full: &str) -> Option<Place> {
        let state = self.state();
        let repository = state.repository(full)?;
        Some(Place {
            full: repository.full_name(),
            owner: repository.owner.clone(),
            name: repository.name.clone(),
            default_branch: repository.default_branch.clone(),
            git: repository.git.clone(),
            writing: repository.writing.clone(),
        })
    }

    /// Reads or changes a repository's memory.
    pub(super) fn with<T>(&self, place: &Place, act: impl FnOnce(&mut Repository) -> T) -> Result<T, Failure> {
        self.state().repository_mut(&place.full).map(act).ok_or_else(Failure::not_found)
    }

    /// A copy of a pull request.
    pub(super) fn pull(&self, place: &Place, number: u64) -> Result<Pull, Failure> {
        self.with(place, |repository| repository.pulls.get(&number).cloned())?.ok_or_else(Failure::not_found)
    }

    /// Open pull requests that merge this branch, or that merge into it.
    pub(super) fn open_pulls(&self, place: &Place, of: impl Fn(&Pull) -> bool) -> Vec<Pull> {
        let open = |repository: &mut Repository| {
            repository.pulls.values().filter(|pull| pull.open && of(pull)).cloned().collect()
        };
        self.with(place, open).unwrap_or_default()
    }

    pub(super) fn next_id(&self) -> u64 {
        self.state().next_id()
    }

    /// Records a change the product made.
    pub(super) fn effect(&self, kind: &str, target: String, detail: Value) {
        self.effects.record("github", kind, target, detail);
    }

    /// Address of a REST resource: `/repos/acme/shop-api` below the API root.
    pub(super) fn api(&self, path: &str) -> String {
        format!("{}/api/v3{path}", self.base)
    }
}

impl Place {
    /// `acme/shop-api#1`.
    pub(super) fn issue(&self, number: u64) -> String {
        format!("{}#{number}", self.full)
    }

    /// `acme/shop-api@main`.
    pub(super) fn at(&self, branch: &str) -> String {
        format!("{}@{branch}", self.full)
    }
}
