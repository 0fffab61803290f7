//! From a ticket to a plan in draft pull requests.

use serde_json::json;

use super::errand::Job;
use super::flow::{Flow, Stop, park};
use super::state::{Delivery, PlanVersion, Task, TicketState};
use crate::contract::agent::AgentName;
use crate::contract::github::{CreateBranch, GitHub, OpenPullRequest, PullRequestState, WritePlan};
use crate::contract::ids::{BranchName, RepositoryName};
use crate::contract::jira::Jira;
use crate::contract::plan::{DiscoveryReport, Plan, RankedRepository};
use crate::contract::status::{ParkReason, Stage};
use crate::messages::{self, Template};
use crate::policy::Family;

/// Longest PLAN.md.
const PLAN_LIMIT: usize = 64 * 1024;

impl Flow {
    pub(super) async fn read_ticket(&self) -> Result<(), Stop> {
        let summary = format!("read {}", self.key);
        let ticket = self.call(Family::Read, &summary, Jira::get_ticket, self.key.clone()).await?;
        self.write(|s| s.ticket = Some(ticket));
        self.show();
        Ok(())
    }

    /// Finds the repositories.
    pub(super) async fn discover(&self) -> Result<(), Stop> {
        self.enter(Stage::Discovering, "looking for the repositories");
        if self.read(|s| s.report.is_some()) {
            // Asked again: a person has probably added to the ticket.
            self.read_ticket().await?;
        }
        let (ticket, policy) = self.read(|s| (s.ticket.clone(), s.policy.discovery.clone()));
        let brief = json!({ "ticket": ticket, "minimum_score": policy.minimum_score, "best": policy.best });
        let report: DiscoveryReport = self.run_agent(Job::of(AgentName::Discovery, brief)).await?.answer;
        let best = best_candidates(&report, policy.minimum_score, policy.best);
        let Some(first) = best.first() else {
            let message = format!(
                "No repository fits this ticket. {} Name the repository in the ticket (owner/name), then retry.",
                messages::one_line(&report.approach)
            );
            self.write(|s| s.report = Some(report));
            return Err(park(ParkReason::Unanswered, message));
        };
        self.log(format!(
            "{} looked at; {} fits best: {:.2} ({})",
            messages::counted(report.repositories.len(), "repository", "repositories"),
            first.repository,
            first.score,
            messages::shorten(&first.reason, 80)
        ));
        self.write(|s| {
            s.candidates = best;
            s.report = Some(report);
        });
        Ok(())
    }

    /// Writes the plan, or its next version.
    pub(super) async fn write_plan(&self) -> Result<(), Stop> {
        let again = self.read(|s| s.stage) == Stage::Parked;
        self.enter(Stage::Planning, "writing the plan");
        if again {
            // A person has probably added to the ticket.
            self.read_ticket().await?;
        }
        let brief = self.read(|s| {
            let changeable: Vec<_> = s.candidates.iter().take(s.policy.discovery.pull_requests).collect();
            json!({
                "ticket": s.ticket,
                "repositories": changeable,
                "approach": s.report.as_ref().map(|report| report.approach.clone()).unwrap_or_default(),
                "feedback": s.feedback.clone().unwrap_or_default(),
            })
        });
        let plan: Plan = self.run_agent(Job::of(AgentName::Planning, brief)).await?.answer;
        let cap = self.read(|s| s.budget.cap);
        let hash = plan.hash(cap);
        let tasks = plan.tasks.iter().cloned().map(Task::new);
        self.write(|s| {
            let version = s.plan.as_ref().map_or(1, |earlier| earlier.version + 1);
            s.tasks = tasks.collect();
            s.plan = Some(PlanVersion { plan: plan.clone(), version, hash, cap, text: String::new() });
            s.approval = None;
            // Nobody has seen this version yet, so nothing that waits can be about it.
            s.inbox.approvals.clear();
            s.inbox.changes.clear();
        });
        let text = messages::render(Template::Plan, &self.view(), json!({}));
        if text.len() > PLAN_LIMIT {
            let message =
                format!("The plan has {} KB; a plan a human can approve has at most 64 KB.", text.len() / 1024);
            return Err(park(ParkReason::InvalidAnswer, message));
        }
        self.write(|s| {
            if let Some(version) = s.plan.as_mut() {
                version.text = text;
            }
        });
        let summary = self.read(|s| s.plan.as_ref().map(|v| (v.version, v.hash.short().to_owned())));
        let (version, hash) = summary.unwrap_or_default();
        self.log(format!(
            "plan v{version} {hash}: {}, {} first, {:.1} h, est. {}, at most {cap}",
            messages::counted(plan.tasks.len(), "task", "tasks"),
            messages::counted(plan.tests.len(), "test", "tests"),
            plan.hours(),
            self.read(TicketState::estimate),
        ));
        Ok(())
    }

    /// Branch, PLAN.md and draft pull request in every repository that the plan changes.
    pub(super) async fn open_drafts(&self) -> Result<(), Stop> {
        let plan = self.read(|s| s.plan.clone());
        let Some(plan) = plan else {
            return Err(park(ParkReason::InvalidAnswer, "There is no plan."));
        };
        let wanted = plan.plan.repositories();
        self.drop_drafts_outside(&wanted).await?;
        for name in wanted {
            self.open_draft(&name, &plan).await?;
        }
        self.show();
        Ok(())
    }

    /// An earlier version of the plan may have named repositories that this one leaves out.
    async fn drop_drafts_outside(&self, wanted: &[RepositoryName]) -> Result<(), Stop> {
        let dropped: Vec<_> = self.read(|s| {
            let all = s.repositories.iter().filter(|(name, _)| !wanted.contains(name));
            all.map(|(name, delivery)| (name.clone(), delivery.branch.clone())).collect()
        });
        for (name, branch) in dropped {
            self.log(format!("{name} is not in the plan any more: its draft is closed"));
            self.undo_branch(&name, &branch).await?;
            self.write(|s| {
                s.repositories.remove(&name);
                s.branches.retain(|(repository, known)| (repository, known) != (&name, &branch));
            });
        }
        Ok(())
    }

    async fn open_draft(&self, name: &RepositoryName, plan: &PlanVersion) -> Result<(), Stop> {
        let short = name.name();
        let delivery = match self.read(|s| s.repositories.get(name).cloned()) {
            Some(known) => known,
            None => self.create_branch(name, plan).await?,
        };
        let write = WritePlan {
            repository: name.clone(),
            branch: delivery.branch.clone(),
            content: plan.text.clone(),
            message: format!("{}: plan v{} {}", self.key, plan.version, plan.hash.short()),
        };
        let head = self.call(Family::Effect, &format!("write PLAN.md in {short}"), GitHub::write_plan, write).await?;
        self.write(|s| {
            s.repositories.insert(name.clone(), Delivery { head, ..delivery.clone() });
        });
        if delivery.pull_request.is_some() {
            self.refresh_pull_request(name).await;
            return Ok(());
        }
        let (title, body) = self.pull_request_text(name);
        let request = OpenPullRequest {
            repository: name.clone(),
            head: delivery.branch.clone(),
            base: delivery.repository.default_branch.clone(),
            title,
            body,
        };
        let summary = format!("open draft pull request in {short}");
        let pull_request = self.call(Family::Effect, &summary, GitHub::open_pull_request, request).await?;
        if pull_request.state != PullRequestState::Open {
            let message = format!("{} was closed by someone. Reopen it, then retry; or cancel.", pull_request.url);
            return Err(park(ParkReason::Conflict, message));
        }
        self.log(format!("draft PR {}", pull_request.url));
        self.keep(pull_request);
        Ok(())
    }

    async fn create_branch(&self, name: &RepositoryName, plan: &PlanVersion) -> Result<Delivery, Stop> {
        let short = name.name();
        let summary = format!("read repository {short}");
        let repository = self.call(Family::Read, &summary, GitHub::get_repository, name.clone()).await?;
        let branch = self.branch_name(&plan.plan.title)?;
        // Noted before it is made: a cancel in between must find it.
        self.write(|s| s.branches.push((name.clone(), branch.clone())));
        let request = CreateBranch { repository: name.clone(), branch: branch.clone(), from: repository.head.clone() };
        let summary = format!("create branch in {short}");
        let head = self.call(Family::Effect, &summary, GitHub::create_branch, request).await?;
        let delivery = Delivery::new(repository, branch, head);
        self.write(|s| {
            s.repositories.insert(name.clone(), delivery.clone());
        });
        Ok(delivery)
    }

    fn branch_name(&self, title: &str) -> Result<BranchName, Stop> {
        let template = self.read(|s| s.policy.conventions.branch.clone());
        let name = template
            .replace("{key}", self.key.as_str())
            .replace("{slug}", &slug(title))
            .replace("{generation}", &self.generation.to_string());
        name.parse().map_err(|fault| {
            park(ParkReason::Upstream, format!("The policy's branch template makes no usable name: {fault}."))
        })
    }
}

/// `Clamp discounts at the line price` -> `clamp-discounts-at-the-line-price`, at most 40 characters.
fn slug(title: &str) -> String {
    let mut slug = String::new();
    for word in title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        if slug.len() + word.len() + 1 > 40 {
            break;
        }
        if !slug.is_empty() {
            slug.push('-');
        }
        slug.push_str(&word.to_ascii_lowercase());
    }
    if slug.is_empty() { "change".to_owned() } else { slug }
}

fn best_candidates(report: &DiscoveryReport, minimum: f64, best: usize) -> Vec<RankedRepository> {
    let mut ranked: Vec<_> = report.repositories.iter().filter(|c| c.score >= minimum).cloned().collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.repository.cmp(&b.repository)));
    ranked.truncate(best.clamp(1, 10));
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_short_and_plain() {
        assert_eq!(slug("Clamp discounts at the line price"), "clamp-discounts-at-the-line-price");
        assert_eq!(slug("Ärger/../mit \u{202e}x"), "rger-mit-x");
        assert_eq!(slug("!!!"), "change");
        assert!(slug(&"word ".repeat(30)).len() <= 40);
    }
}
