//! Webhooks of the Jira stand-in: bodies, signature, headers, Jira's own retries.
//!
//! Source: "Webhooks", Jira Cloud platform documentation: admin webhooks carry `X-Hub-Signature`, an identifier that
//! stays the same when a delivery is retried, and a retry count; bodies are shaped like REST v2.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::state::{Comment, Issue, Rich, State};
use crate::webhook::{Delivery, Webhooks, hmac_sha256_hex};

/// Jira retries this often; the real one waits 5 to 15 minutes in between.
const RETRIES: u32 = 5;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// One webhook as it was sent first.
#[derive(Debug, Clone)]
pub struct Sent {
    /// `X-Atlassian-Webhook-Identifier`.
    pub identifier: String,
    /// `webhookEvent` of the body.
    pub event: String,
    /// Key of the issue.
    pub key: String,
    /// The exact bytes.
    pub body: Vec<u8>,
}

/// Sends in the order of the changes; retries do not hold up what comes after.
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
                if failed(&deliver(&webhooks, &secret, &next, 0).await) {
                    let (webhooks, secret) = (webhooks.clone(), secret.clone());
                    tokio::spawn(async move {
                        for retry in 1..=RETRIES {
                            tokio::time::sleep(RETRY_AFTER).await;
                            if !failed(&deliver(&webhooks, &secret, &next, retry).await) {
                                break;
                            }
                        }
                    });
                }
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

    pub(super) fn push(&self, event: &str, key: &str, body: &Value) {
        let identifier = uuid::Uuid::new_v4().to_string();
        let body = body.to_string().into_bytes();
        let sent = Sent { identifier, event: event.to_owned(), key: key.to_owned(), body };
        self.lock().push(sent.clone());
        // Only fails when the runtime is shutting down, and then nobody listens.
        let _ = self.queue.send(sent);
    }

    pub(super) async fn redeliver(&self, index: usize) -> Option<Delivery> {
        let sent = self.lock().get(index).cloned()?;
        Some(deliver(&self.webhooks, &self.secret, &sent, 1).await)
    }
}

fn failed(delivery: &Delivery) -> bool {
    delivery.status == 0 || delivery.status >= 500
}

async fn deliver(webhooks: &Webhooks, secret: &str, sent: &Sent, retry: u32) -> Delivery {
    let mut headers = vec![
        ("Content-Type".to_owned(), "application/json".to_owned()),
        ("User-Agent".to_owned(), "Atlassian HttpClient".to_owned()),
        ("X-Atlassian-Webhook-Identifier".to_owned(), sent.identifier.clone()),
        ("X-Atlassian-Webhook-Flow".to_owned(), "Primary".to_owned()),
        ("X-Hub-Signature".to_owned(), signature(secret, &sent.body)),
    ];
    if retry > 0 {
        headers.push(("X-Atlassian-Webhook-Retry".to_owned(), retry.to_string()));
    }
    webhooks.deliver("jira", "/webhooks/jira", headers, sent.body.clone()).await
}

/// `X-Hub-Signature` of a body.
pub(super) fn signature(secret: &str, body: &[u8]) -> String {
    format!("sha256={}", hmac_sha256_hex(secret, body))
}

/// `jira:issue_created` and `jira:issue_updated`. `changelog` is its number and items.
pub(super) fn issue_event(
    state: &mut State,
    event: &str,
    kind: &str,
    by: &str,
    issue: &Issue,
    changelog: Option<(u64, &[Value])>,
) -> Value {
    let mut body = json!({
        "timestamp": state.tick().timestamp_millis(),
        "webhookEvent": event,
        "issue_event_type_name": kind,
        "user": state.user_json(by),
        "issue": {
            "id": issue.id.to_string(),
            "self": format!("{}/rest/api/2/{}", state.base_url, issue.id),
            "key": issue.key,
            "fields": state.fields_json(issue, Rich::Strings),
        },
    });
    if let Some((id, items)) = changelog {
        body["changelog"] = json!({"id": id.to_string(), "items": items});
    }
    body
}

/// `comment_created` and `comment_updated`. As in reality there is no `user` beside the comment's author, and the issue
/// comes with few fields.
pub(super) fn comment_event(state: &mut State, event: &str, issue: &Issue, comment: &Comment) -> Value {
    let all = state.fields_json(issue, Rich::Strings);
    let few: serde_json::Map<String, Value> = ["summary", "issuetype", "project", "assignee", "priority", "status"]
        .into_iter()
        .map(|name| (name.to_owned(), all[name].clone()))
        .collect();
    json!({
        "timestamp": state.tick().timestamp_millis(),
        "webhookEvent": event,
        "eventType": "primaryAction",
        "comment": state.comment_json(issue, comment, Rich::Strings),
        "issue": {
            "id": issue.id.to_string(),
            "self": format!("{}/rest/api/2/{}", state.base_url, issue.id),
            "key": issue.key,
            "fields": few,
        },
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn signs_atlassians_published_vector() {
        assert_eq!(
            super::signature("It's a Secret to Everybody", b"Hello World!"),
            "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
        );
    }
}
