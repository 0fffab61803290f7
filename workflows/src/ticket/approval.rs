//! Waiting for a human's word on a plan, bound to the plan's hash.

use std::time::Duration;

use serde_json::json;

use super::flow::{Flow, Stop, park};
use super::state::{Approval, Decided};
use crate::contract::access::{Action, Person};
use crate::contract::github::{GitHub, ReadFile};
use crate::contract::status::{ParkReason, Stage};
use crate::contract::trigger::{Approve, RequestChanges};
use crate::kit::{Waited, now, wait_until};
use crate::messages::{self, Template};
use crate::policy::Family;

/// Fewest characters of a hash that name a plan.
const HASH_CHARACTERS: usize = 8;

/// Most characters of the earlier plan that the planning agent reads again.
const EARLIER_PLAN: usize = 12_000;

/// What people decided about a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is approved.
    Build,
    /// Another version is wanted.
    PlanAgain,
}

impl Flow {
    /// Shows the plan to people: Slack with buttons, Jira with links.
    pub(super) async fn ask_for_approval(&self) {
        let limit = i64::try_from(self.read(|s| s.policy.approval.expires_after_seconds)).unwrap_or(i64::MAX);
        let expires_at = now(&self.ctx).saturating_add(limit);
        self.write(|s| s.expires_at = expires_at);
        self.enter(Stage::AwaitingApproval, "waiting for a human");
        self.close_approval_message("replaced", json!({})).await;
        let view = self.view();
        let text = messages::render(Template::SlackApproval, &view, self.repositories_of_plan());
        let foot = messages::render(Template::SlackApprovalFoot, &view, json!({}));
        let blocks = messages::slack::approval(&text, &foot, self.key.as_str(), &view.plan_hash);
        let posted = self.post("approval", text, blocks).await;
        self.write(|s| s.slack.approval = posted);
        self.tell_jira("plan", Template::JiraPlan, json!({})).await;
    }

    /// Waits for a decision; parks when the time is up. A late approval of the unchanged plan counts, and so do changes.
    pub(super) async fn await_approval(&self) -> Result<Decision, Stop> {
        self.write(|s| s.inbox.resume());
        let undecided = self.read(|s| s.inbox.approvals.is_empty() && s.inbox.changes.is_empty());
        if self.read(|s| s.stage) == Stage::Parked && undecided {
            // A retry: the old message has lost its buttons, so people are asked anew.
            self.ask_for_approval().await;
        }
        loop {
            let left = self.read(|s| s.expires_at) - now(&self.ctx);
            let limit = Duration::from_secs(u64::try_from(left).unwrap_or_default());
            let began = now(&self.ctx);
            let waited = wait_until(&self.ctx, &self.token, limit, "approval expires", |w| {
                let inbox = &w.state.inbox;
                !inbox.approvals.is_empty() || !inbox.rejections.is_empty() || !inbox.changes.is_empty()
            })
            .await;
            self.waited_since(began);
            match waited {
                Waited::Cancelled => return Err(Stop::Cancelled),
                Waited::TimedOut => {
                    let message = "Nobody approved or rejected the plan in time. It can still be approved.";
                    return Err(park(ParkReason::PlanExpired, message));
                }
                Waited::Fulfilled => {}
            }
            self.heed_rejections().await?;
            if self.heed_changes().await? {
                return Ok(Decision::PlanAgain);
            }
            if let Some(approve) = self.write(|s| s.inbox.approvals.pop_front())
                && self.accept(approve).await?
            {
                return Ok(Decision::Build);
            }
        }
    }

    /// Ends the ticket when somebody who may has rejected its plan.
    pub(super) async fn heed_rejections(&self) -> Result<(), Stop> {
        while let Some(rejection) = self.write(|s| s.inbox.rejections.pop_front()) {
            let (by, hash) = (rejection.by.label(), rejection.plan_hash.as_deref());
            if hash.is_some() && !self.names_this_plan(hash, &rejection.by, "reject").await {
                continue;
            }
            let allowed = self.may(&rejection.by, Action::Command).await;
            if self.or_postpone(allowed, || vec![Decided::Reject(rejection.clone())])? {
                self.log(format!("rejected by {by}"));
                self.write(|s| s.rejected = Some(rejection));
                return Err(Stop::End(Stage::Rejected));
            }
        }
        Ok(())
    }

    /// Takes what people want to be different, if they may want it; then the plan has to be written again.
    async fn heed_changes(&self) -> Result<bool, Stop> {
        let mut wanted: Vec<RequestChanges> = vec![];
        while let Some(request) = self.write(|s| s.inbox.changes.pop_front()) {
            let hash = request.plan_hash.as_deref();
            if hash.is_some() && !self.names_this_plan(hash, &request.by, "ask for changes of").await {
                continue;
            }
            let allowed = self.may(&request.by, Action::Command).await;
            let all = || wanted.iter().chain([&request]).cloned().map(Decided::Change).collect();
            if self.or_postpone(allowed, all)? {
                self.log(format!(
                    "{} asks for changes: {}",
                    request.by.label(),
                    messages::shorten(&request.comment, 200)
                ));
                wanted.push(request);
            }
        }
        if wanted.is_empty() {
            return Ok(false);
        }
        let requests: Vec<String> =
            wanted.iter().map(|wish| format!("{} asks for changes: {}", wish.by.label(), wish.comment)).collect();
        let people: Vec<String> = wanted.iter().map(|wish| wish.by.label()).collect();
        let comments: Vec<&str> = wanted.iter().map(|wish| wish.comment.as_str()).collect();
        let extra = json!({ "by": people.join(", "), "comment": messages::shorten(&comments.join("; "), 300) });
        self.close_approval_message("changes", extra).await;
        self.write(|s| {
            let earlier = s.plan.as_ref().map_or("", |version| version.text.as_str());
            let earlier: String = earlier.chars().take(EARLIER_PLAN).collect();
            s.feedback = Some(format!("{}\n\nThe plan they read:\n\n{earlier}", requests.join("\n")));
            s.approval = None;
        });
        Ok(true)
    }

    /// Whether a decision is about the plan in force; a person who decided about another version is told.
    async fn names_this_plan(&self, given: Option<&str>, by: &Person, decision: &str) -> bool {
        let Some((version, hash)) = self.read(|s| s.plan.as_ref().map(|v| (v.version, v.hash.clone()))) else {
            return false;
        };
        let fits = match given {
            Some(given) => given.len() >= HASH_CHARACTERS && hash.as_str().starts_with(given),
            None => version == 1,
        };
        if !fits {
            let given = given.map_or_else(|| "no hash".to_owned(), |given| messages::shorten(given, 12));
            let text = format!(
                "{} wanted to {decision} plan {given}, but the plan is v{version} {}. Read that one and decide again.",
                by.label(),
                hash.short()
            );
            let at = now(&self.ctx);
            self.write(|s| s.note(at, text.clone()));
            self.show();
            self.answer(by, "wrong_plan", &text).await;
        }
        fits
    }

    /// Judges one approval. An approval of another version is answered, never stored.
    async fn accept(&self, approve: Approve) -> Result<bool, Stop> {
        let Some((version, hash)) = self.read(|s| s.plan.as_ref().map(|v| (v.version, v.hash.clone()))) else {
            return Ok(false);
        };
        if !self.names_this_plan(approve.plan_hash.as_deref(), &approve.by, "approve").await {
            return Ok(false);
        }
        let allowed = self.may(&approve.by, Action::Approve).await;
        if !self.or_postpone(allowed, || vec![Decided::Approve(approve.clone())])? {
            return Ok(false);
        }
        let at = now(&self.ctx);
        self.log(format!("approved by {} (plan v{version} {})", approve.by.label(), hash.short()));
        // Further clicks and lines about this plan have nothing left to decide.
        self.write(|s| {
            s.inbox.approvals.clear();
            s.approval = Some(Approval { by: approve.by, at, hash });
        });
        Ok(true)
    }

    /// Reads PLAN.md back: a human may have edited it instead of pressing a button. Then their text becomes the next plan.
    pub(super) async fn plan_is_untouched(&self) -> Result<bool, Stop> {
        let (deliveries, written) = self.read(|s| {
            let deliveries: Vec<_> = s.repositories.values().cloned().collect();
            (deliveries, s.plan.as_ref().map(|version| version.text.clone()).unwrap_or_default())
        });
        for delivery in deliveries {
            let request = ReadFile {
                repository: delivery.repository.name.clone(),
                at: delivery.branch.to_string(),
                path: "PLAN.md".to_owned(),
            };
            let found = self.call(Family::Read, "read PLAN.md back", GitHub::read_file, request).await?;
            let Some(found) = found else { continue };
            if found.trim() != written.trim() {
                self.log("PLAN.md was edited on the branch: the edited text becomes the next plan");
                self.close_approval_message("replaced", json!({})).await;
                self.write(|s| {
                    s.feedback = Some(format!("A person edited PLAN.md. Make the plan say exactly this:\n\n{found}"));
                    s.approval = None;
                });
                return Ok(false);
            }
        }
        // Somebody may have rejected the plan, or want another, while the approval was being judged.
        loop {
            self.heed_rejections().await?;
            if self.heed_changes().await? {
                return Ok(false);
            }
            if self.read(|s| s.inbox.rejections.is_empty() && s.inbox.changes.is_empty()) {
                return Ok(true);
            }
        }
    }

    /// What the access rules said. Where they could not be asked, the decisions are kept for the next try instead of lost.
    fn or_postpone(&self, allowed: Result<bool, Stop>, decided: impl FnOnce() -> Vec<Decided>) -> Result<bool, Stop> {
        if allowed.is_err() {
            self.write(|s| s.inbox.postpone(decided()));
        }
        allowed
    }

    /// Says that the work begins.
    pub(super) async fn begin_work(&self) {
        self.enter(Stage::Executing, "the plan is approved");
        let (by, at) = self.read(|s| s.approval.as_ref().map(|a| (a.by.label(), a.at))).unwrap_or_default();
        self.close_approval_message("approved", json!({ "by": by, "at": at })).await;
        self.say("started", Template::SlackStarted, json!({})).await;
        self.move_ticket(self.read(|s| s.policy.jira.approved.clone())).await;
    }
}
