//! Where a ticket stands, as people see it: status, cost, and the command lines that work now.

use super::state::{Task, TicketState};
use crate::agents;
use crate::contract::agent::AgentName;
use crate::contract::money::MicroUsd;
use crate::contract::status::{CostReport, CostTexts, ParkReason, Stage, TaskProof, TicketStatus};

impl TicketState {
    /// What the plan will cost by experience, never more than the cap.
    pub(super) fn estimate(&self) -> MicroUsd {
        let repositories = self.plan.as_ref().map_or(1, |version| version.plan.repositories().len() as u64);
        let execution = MicroUsd(agents::spec(AgentName::Execution).expected.0 * repositories);
        (self.budget.spent_so_far() + execution).min(self.budget.cap)
    }

    /// Command lines that work now.
    pub(super) fn commands(&self) -> Vec<String> {
        let line = |signal: &str, payload: String| {
            let namespace = match self.policy.temporal_namespace.as_str() {
                "" | "default" => String::new(),
                namespace => format!(" -n {namespace}"),
            };
            format!(
                "{} workflow signal{namespace} -w ticket-{} --name {signal} --input '{payload}'",
                self.policy.temporal_cli,
                self.key()
            )
        };
        let by_me = || r#"{"by":"you"}"#.to_owned();
        let approve = || {
            let hash = self.plan.as_ref().map_or("", |version| version.hash.short());
            line("approve", format!(r#"{{"by":"you","plan_hash":"{hash}"}}"#))
        };
        let parked_for = |reason| self.parked.as_ref().is_some_and(|parked| parked.reason == reason);
        let expired = parked_for(ParkReason::PlanExpired);
        match self.stage {
            Stage::AwaitingApproval => {
                let changes = r#"{"by":"you","comment":"what should be different"}"#.to_owned();
                let reject = r#"{"by":"you","comment":"why"}"#.to_owned();
                vec![approve(), line("request_changes", changes), line("reject", reject)]
            }
            Stage::Parked if expired => vec![approve(), line("retry", by_me()), line("cancel", by_me())],
            Stage::Parked if parked_for(ParkReason::Budget) => {
                let extend = r#"{"by":"you","usd":5}"#.to_owned();
                vec![line("extend_budget", extend), line("retry", by_me()), line("cancel", by_me())]
            }
            Stage::Parked => vec![line("retry", by_me()), line("cancel", by_me())],
            stage if stage.is_end() || stage == Stage::CleaningUp => vec![],
            _ => vec![line("cancel", by_me())],
        }
    }

    /// Link of the run in Temporal's Web UI, or empty.
    pub(super) fn run_url(&self) -> String {
        match self.policy.temporal_ui_url.trim_end_matches('/') {
            "" => String::new(),
            ui => format!("{ui}/namespaces/{}/workflows/ticket-{}", self.policy.temporal_namespace, self.key()),
        }
    }

    pub(super) fn status(&self) -> TicketStatus {
        let links = self.repositories.values().filter_map(|d| d.pull_request.as_ref()).map(|pr| pr.url.clone());
        TicketStatus {
            ticket: self.key().to_owned(),
            summary: self.ticket.as_ref().map(|t| t.summary.clone()).unwrap_or_default(),
            stage: self.stage,
            parked: self.parked.clone(),
            doing: self.doing.clone(),
            plan_hash: self.plan.as_ref().map(|version| version.hash.short().to_owned()),
            plan_version: self.plan.as_ref().map_or(0, |version| version.version),
            approved_by: self.approval.as_ref().map(|approval| approval.by.label()),
            tasks_done: self.tasks.iter().filter(|task| task.done()).count(),
            tasks: self.tasks.len(),
            pull_requests: links.collect(),
            spent: self.budget.spent_so_far(),
            cap: self.budget.cap,
            commands: self.commands(),
            updated_at: self.updated_at,
            ticket_url: self.ticket.as_ref().map(|t| t.url.clone()).unwrap_or_default(),
            run_url: self.run_url(),
        }
    }

    /// What was proven, task by task.
    pub(super) fn proofs(&self) -> Vec<TaskProof> {
        let proven = |task: &Task| {
            let (task, repository, proof) = (&task.plan.title, &task.plan.repository, task.proof.clone()?);
            Some(TaskProof { task: task.clone(), repository: repository.clone(), proof })
        };
        self.tasks.iter().filter_map(proven).collect()
    }

    /// What the ticket cost, line by line.
    pub(super) fn cost(&self) -> CostReport {
        let budget = &self.budget;
        let (cap, spent, leased, free) = (budget.cap, budget.spent_so_far(), budget.held(), budget.free());
        let titles: Vec<String> = self.tasks.iter().map(|task| task.plan.title.clone()).collect();
        CostReport {
            ticket: self.key().to_owned(),
            cap,
            spent,
            leased,
            free,
            usd: CostTexts {
                cap: cap.to_string(),
                spent: spent.to_string(),
                leased: leased.to_string(),
                free: free.to_string(),
            },
            agents: self.money.ledger.lines(|holder| budget.said(holder)),
            earlier: self.money.ledger.earlier(),
            tasks: self.money.ledger.tasks(&titles),
            extensions: self.money.extensions.clone(),
        }
    }

    /// What the tasks that are left will cost, as those did that are done; `None` before one is.
    pub(super) fn estimate_of_rest(&self) -> Option<MicroUsd> {
        let done = self.tasks.iter().enumerate().filter(|(_, task)| task.done());
        let costs: Vec<MicroUsd> = done.map(|(n, _)| self.money.ledger.of_task(n + 1)).collect();
        let (count, left) = (costs.len() as u64, (self.tasks.len() - costs.len()) as u64);
        let sum: MicroUsd = costs.into_iter().sum();
        (count > 0 && sum.0 > 0).then(|| MicroUsd(sum.0.saturating_mul(left) / count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::agent::AgentSpent;
    use crate::contract::status::Parked;
    use crate::contract::trigger::TicketInput;

    #[test]
    fn a_ticket_without_money_shows_the_line_that_adds_some_first() {
        let mut state = TicketState {
            input: TicketInput { key: "SHOP-7".into(), ..TicketInput::default() },
            stage: Stage::Parked,
            parked: Some(Parked { reason: ParkReason::Budget, message: String::new() }),
            ..TicketState::default()
        };
        state.policy.temporal_cli = "temporal".into();
        let commands = state.commands();
        assert_eq!(
            commands[0],
            r#"temporal workflow signal -w ticket-SHOP-7 --name extend_budget --input '{"by":"you","usd":5}'"#
        );
        assert!(commands[1].contains("--name retry") && commands[2].contains("--name cancel"), "{commands:?}");
    }

    #[test]
    fn the_sums_of_a_cost_report_fit_together() {
        let budget = crate::budget::Budget::new(MicroUsd::dollars(12));
        let mut state = TicketState { budget, ..TicketState::default() };
        state.budget.lease("t/discovery/1", 2).unwrap();
        state.money.ledger.open("t/discovery/1", AgentName::Discovery, None, None);
        state.hear_spending(&AgentSpent { agent: "t/discovery/1".into(), spent: MicroUsd::dollars(1), turns: 2 });
        let report = state.cost();
        assert_eq!(report.cap, report.spent + report.leased + report.free);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["leased_micro_usd"], 5_000_000);
        assert_eq!(json["usd"]["free"], "$6.00");
        assert_eq!(json["agents"][0]["running"], true);
        assert_eq!(json["agents"][0]["spent_micro_usd"], 1_000_000);
    }
}
