//! Webhooks of the Sentry stand-in.
//!
//! Source: "Webhooks", Sentry's integration platform documentation. `Sentry-Hook-Signature` is the bare hexadecimal
//! HMAC-SHA256 of the body with the integration's client secret; `Sentry-Hook-Timestamp` is not signed. Sentry waits a second
//! for an answer and does not try again.

use std::sync::{Arc, Mutex, MutexGuard};

use chrono::Utc;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::ORGANISATION;
use super::state::{Issue, State};
use crate::webhook::{Delivery, Webhooks, hmac_sha256_hex};

/// One webhook as it was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// `Sentry-Hook-Resource`.
    pub resource: String,
    /// `action` of the body.
    pub action: String,
    /// Id of the issue.
    pub issue: String,
    /// The exact bytes.
    pub body: Vec<u8>,
}

/// Sends in the order of what happened.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    webhooks: Webhooks,
    secret: String,
    sent: Arc<Mutex<Vec<Sent>>>,
    queue: mpsc::UnboundedSender<Sent>,
}

impl Outbox {
    /// Starts the sender; needs a Tokio runtime.
    pub(super) fn new(webhooks: &Webhooks, secret: &str) -> Self {
        let (queue, mut waiting) = mpsc::unbounded_channel::<Sent>();
        let outbox = Self { webhooks: webhooks.clone(), secret: secret.into(), sent: Arc::default(), queue };
        // The task must not keep the queue open: it ends when the last outbox is dropped.
        let (webhooks, secret) = (outbox.webhooks.clone(), outbox.secret.clone());
        tokio::spawn(async move {
            while let Some(next) = waiting.recv().await {
                deliver(&webhooks, &secret, &next).await;
            }
        });
        outbox
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.sent.lock().expect("no holder of this lock panics")
    }

    pub(super) fn sent(&self) -> Vec<Sent> {
        self.lock().clone()
    }

    pub(super) fn push(&self, resource: &str, action: &str, issue: &Issue, body: &Value) {
        let sent = Sent {
            resource: resource.to_owned(),
            action: action.to_owned(),
            issue: issue.id.clone(),
            body: body.to_string().into_bytes(),
        };
        self.lock().push(sent.clone());
        // Only fails when the runtime is shutting down, and then nobody listens.
        let _ = self.queue.send(sent);
    }

    pub(super) async fn redeliver(&self, index: usize) -> Option<Delivery> {
        let sent = self.lock().get(index).cloned()?;
        Some(deliver(&self.webhooks, &self.secret, &sent).await)
    }
}

async fn deliver(webhooks: &Webhooks, secret: &str, sent: &Sent) -> Delivery {
    let headers = vec![
        ("Content-Type".to_owned(), "application/json".to_owned()),
        ("Request-ID".to_owned(), uuid::Uuid::new_v4().simple().to_string()),
        ("Sentry-Hook-Resource".to_owned(), sent.resource.clone()),
        ("Sentry-Hook-Timestamp".to_owned(), Utc::now().timestamp().to_string()),
        ("Sentry-Hook-Signature".to_owned(), hmac_sha256_hex(secret, &sent.body)),
    ];
    webhooks.deliver("sentry", "/webhooks/sentry", headers, sent.body.clone()).await
}

fn envelope(state: &State, action: &str, data: Value) -> Value {
    json!({
        "action": action, "installation": {"uuid": state.installation}, "data": data,
        "actor": {"type": "application", "id": "sentry", "name": "Sentry"},
    })
}

/// Resource `issue`.
pub(super) fn issue_event(state: &State, action: &str, issue: &Issue) -> Value {
    let mut shown = state.common_json(issue);
    let path = format!("organizations/{ORGANISATION}/issues/{}/", issue.id);
    shown["url"] = json!(format!("{}/api/0/{path}", state.base_url));
    shown["web_url"] = json!(format!("{}/{path}", state.base_url));
    envelope(state, action, json!({"issue": shown}))
}

/// Resource `event_alert`, of the newest event.
pub(super) fn alert(state: &State, issue: &Issue) -> Value {
    let event_id = issue.event_id.as_deref().unwrap_or_default();
    let frames: Vec<Value> = issue
        .frames
        .iter()
        .map(|frame| json!({"filename": frame.file, "function": frame.function, "lineno": frame.line, "in_app": frame.in_app}))
        .collect();
    let path = format!("organizations/{ORGANISATION}/issues/{}/", issue.id);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this millennium are exact")]
    let timestamp = issue.last_seen.timestamp_millis() as f64 / 1000.0;
    let event = json!({
        "event_id": event_id, "issue_id": issue.id, "issue_url": format!("{}/api/0/{path}", state.base_url),
        "url": format!("{}/api/0/projects/{ORGANISATION}/{}/events/{event_id}/", state.base_url, issue.project),
        "web_url": format!("{}/{path}events/{event_id}/", state.base_url), "title": issue.title(), "culprit": issue.culprit(),
        "level": issue.level, "platform": issue.platform, "metadata": {"type": issue.kind, "value": issue.value},
        "exception": {"values": [{"type": issue.kind, "value": issue.value, "stacktrace": {"frames": frames}}]},
        "tags": [["environment", issue.environment], ["release", issue.release]], "timestamp": timestamp, "project": 1,
    });
    envelope(state, "triggered", json!({"event": event, "triggered_rule": "Many events"}))
}
