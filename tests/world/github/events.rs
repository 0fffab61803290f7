//! Webhooks: bodies with the fields of GitHub's payloads, signed, sent in order per repository without holding up
//! the API reply. <https://docs.github.com/en/webhooks/webhook-events-and-payloads>

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::hub::{Hub, Place};
use super::state::{CheckRun, Comment, Run, Suite, node_id};
use super::views::{joined, time};
use crate::webhook::{Delivery, Webhooks, hmac_sha256_hex};

/// Path of the product's ingress that takes GitHub's webhooks.
pub(super) const INGRESS_PATH: &str = "/webhooks/github";

/// One ready request.
#[derive(Debug)]
struct Outgoing {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// One queue and one sending task per repository.
#[derive(Debug, Default)]
pub(super) struct Queues(Mutex<HashMap<String, mpsc::UnboundedSender<Outgoing>>>);

/// Headers of one delivery, signature included.
pub(super) fn signed_headers(event: &str, secret: &str, body: &[u8]) -> Vec<(String, String)> {
    let header = |name: &str, value: String| (name.to_owned(), value);
    vec![
        header("User-Agent", "GitHub-Hookshot/7a1c0de".into()),
        header("Content-Type", "application/json".into()),
        header("X-GitHub-Event", event.into()),
        header("X-GitHub-Delivery", uuid::Uuid::new_v4().to_string()),
        header("X-GitHub-Hook-ID", "1".into()),
        header("X-GitHub-Hook-Installation-Target-Type", "repository".into()),
        header("X-Hub-Signature-256", format!("sha256={}", hmac_sha256_hex(secret, body))),
    ]
}

async fn send(webhooks: &Webhooks, request: Outgoing) -> Delivery {
    webhooks.deliver("github", INGRESS_PATH, request.headers, request.body).await
}

impl Hub {
    /// Queues one event. `payload` gets `repository`, `organization` and `sender`.
    pub(super) fn announce(&self, place: &Place, event: &str, sender: &str, mut payload: Value) {
        payload["repository"] = self.repository(place).unwrap_or_default();
        payload["organization"] = self.organization(&place.owner);
        payload["sender"] = self.user(sender);
        let body = payload.to_string().into_bytes();
        let outgoing = Outgoing { headers: signed_headers(event, &self.webhook_secret, &body), body };
        let mut queues = self.queues.0.lock().expect("no one panics while holding the queues");
        let queue = queues.entry(place.full.clone()).or_insert_with(|| {
            let (sender, mut receiver) = mpsc::unbounded_channel();
            let webhooks = self.webhooks.clone();
            tokio::spawn(async move {
                while let Some(outgoing) = receiver.recv().await {
                    send(&webhooks, outgoing).await;
                }
            });
            sender
        });
        // The receiving task ends only with the runtime; then nobody waits for the event either.
        let _ = queue.send(outgoing);
    }

    fn organization(&self, login: &str) -> Value {
        let url = self.api(&format!("/orgs/{login}"));
        let user = self.state().user(login, "Organization");
        json!({
            "login": login,
            "id": user.id,
            "node_id": node_id("O", user.id),
            "url": url,
            "repos_url": format!("{url}/repos"),
            "events_url": format!("{url}/events"),
            "hooks_url": format!("{url}/hooks"),
            "issues_url": format!("{url}/issues"),
            "members_url": format!("{url}/members{{/member}}"),
            "public_members_url": format!("{url}/public_members{{/member}}"),
            "avatar_url": format!("{}/avatars/u/{}", self.base, user.id),
            "description": "",
        })
    }

    /// Sends an earlier delivery again: same body, same delivery id, as the "Redeliver" button does.
    pub(super) async fn redeliver(&self, index: usize) -> anyhow::Result<Delivery> {
        let earlier = self.deliveries().into_iter().nth(index);
        let earlier = earlier.ok_or_else(|| anyhow::anyhow!("there is no delivery {index}"))?;
        Ok(send(&self.webhooks, Outgoing { headers: earlier.headers, body: earlier.body }).await)
    }

    /// Everything that GitHub delivered so far.
    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        self.webhooks.log().into_iter().filter(|delivery| delivery.service == "github").collect()
    }

    /// `pull_request` with the pull request as it is now.
    pub(super) async fn announce_pull(&self, place: &Place, number: u64, action: &str, sender: &str, more: Value) {
        let Ok(pull) = self.full_pull_view(place, number).await else { return };
        let payload = joined(json!({"action": action, "number": number, "pull_request": pull}), more);
        self.announce(place, "pull_request", sender, payload);
    }

    /// `issue_comment` on a pull request.
    pub(super) async fn announce_comment(&self, place: &Place, comment: &Comment, action: &str, more: Value) {
        let Ok(issue) = self.issue_view(place, comment.number) else { return };
        let payload =
            joined(json!({"action": action, "issue": issue, "comment": self.comment_view(place, comment)}), more);
        self.announce(place, "issue_comment", &comment.user, payload);
    }

    /// `check_run`.
    pub(super) fn announce_check(&self, place: &Place, check: &CheckRun, action: &str, sender: &str) {
        let payload = json!({"action": action, "check_run": self.check_view(place, check)});
        self.announce(place, "check_run", sender, payload);
    }

    /// `check_suite`.
    pub(super) async fn announce_suite(&self, place: &Place, suite: &Suite, action: &str, sender: &str) {
        let view = self.suite_view(place, suite).await;
        self.announce(place, "check_suite", sender, json!({"action": action, "check_suite": view}));
    }

    /// `workflow_run`.
    pub(super) async fn announce_run(&self, place: &Place, run: &Run, action: &str) {
        let workflow = json!({
            "id": run.workflow_id,
            "name": run.name,
            "path": run.path,
            "state": "active",
            "url": self.api(&format!("/repos/{}/actions/workflows/{}", place.full, run.workflow_id)),
            "html_url": format!("{}/{}/blob/{}/{}", self.base, place.full, run.head_branch, run.path),
            "created_at": time(run.created),
            "updated_at": time(run.updated),
        });
        let view = self.run_view(place, run).await;
        let payload = json!({"action": action, "workflow_run": view, "workflow": workflow});
        self.announce(place, "workflow_run", &run.actor, payload);
    }
}

/// Shared by tasks that outlive the call that started them.
pub(super) type SharedHub = Arc<Hub>;

#[cfg(test)]
mod tests {
    use super::signed_headers;

    /// The vector of <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>.
    #[test]
    fn signature_is_githubs_own_example() {
        let headers = signed_headers("ping", "It's a Secret to Everybody", b"Hello, World!");
        let (_, signature) =
            headers.iter().find(|(name, _)| name == "X-Hub-Signature-256").expect("a signature header");
        assert_eq!(signature, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
    }
}
