//! The record of everything the product did to the outside: tests and the demo read it, in order, with times.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

/// One thing that was done to a service, or one call that no stand-in expected (`unexpected: true`).
#[derive(Debug, Clone, Serialize)]
pub struct Effect {
    /// Time since the world began.
    pub at: Duration,
    /// `github`, `jira`, `sentry`, `slack` or `bedrock`.
    pub service: &'static str,
    /// What was done, in the service's own words: `pull_request.opened`, `comment.created`, `message.posted`.
    pub kind: String,
    /// The object it was done to: `acme/shop-api#1`, `SHOP-1`, `#ai-agents`.
    pub target: String,
    /// Everything else worth asserting on.
    pub detail: Value,
    /// The stand-in did not expect this call and answered it with an error.
    pub unexpected: bool,
}

/// Shared, append-only list of [`Effect`]s. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Effects {
    began: Instant,
    list: Arc<Mutex<Vec<Effect>>>,
    changed: tokio::sync::watch::Sender<usize>,
}

impl Default for Effects {
    fn default() -> Self {
        Self { began: Instant::now(), list: Arc::default(), changed: tokio::sync::watch::Sender::new(0) }
    }
}

impl Effects {
    /// Records a change made by the product.
    pub fn record(&self, service: &'static str, kind: impl Into<String>, target: impl Into<String>, detail: Value) {
        self.push(service, kind.into(), target.into(), detail, false);
    }

    /// Records a call that the stand-in cannot answer. Tests fail on these (see [`Effects::unexpected`]).
    pub fn record_unexpected(&self, service: &'static str, call: impl Into<String>, detail: Value) {
        self.push(service, "unexpected_call".into(), call.into(), detail, true);
    }

    fn push(&self, service: &'static str, kind: String, target: String, detail: Value, unexpected: bool) {
        let mut list = self.list.lock().expect("effects lock");
        list.push(Effect { at: self.began.elapsed(), service, kind, target, detail, unexpected });
        let n = list.len();
        drop(list);
        self.changed.send_replace(n);
    }

    /// All effects so far, in order.
    pub fn all(&self) -> Vec<Effect> {
        self.list.lock().expect("effects lock").clone()
    }

    /// Effects of one kind on one service.
    pub fn of(&self, service: &str, kind: &str) -> Vec<Effect> {
        self.all().into_iter().filter(|e| e.service == service && e.kind == kind).collect()
    }

    /// Calls that no stand-in expected.
    pub fn unexpected(&self) -> Vec<Effect> {
        self.all().into_iter().filter(|e| e.unexpected).collect()
    }

    /// A receiver that wakes on every new effect.
    pub fn watch(&self) -> tokio::sync::watch::Receiver<usize> {
        self.changed.subscribe()
    }

    /// Waits until an effect fulfils `pred`, or fails with the name of what was waited for and the effects seen.
    pub async fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        pred: impl Fn(&Effect) -> bool,
    ) -> anyhow::Result<Effect> {
        let mut changed = self.watch();
        let found = tokio::time::timeout(limit, async {
            loop {
                if let Some(e) = self.all().into_iter().find(|e| pred(e)) {
                    return e;
                }
                // The sender lives in `self`, so this only errs when the world is gone.
                if changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        })
        .await;
        found.map_err(|_| {
            let seen: Vec<String> =
                self.all().iter().map(|e| format!("{} {} {}", e.service, e.kind, e.target)).collect();
            anyhow::anyhow!("waited {limit:?} for {what}; effects so far:\n  {}", seen.join("\n  "))
        })
    }
}
