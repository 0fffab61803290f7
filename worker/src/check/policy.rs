//! The policy: who may approve, and what a ticket may spend.

use workflows::contract::money::MicroUsd;

use super::Finding;
use crate::config::Config;

pub(super) fn look(config: &Config) -> Finding {
    let (policy, access) = (&config.policy, &config.access);
    let cap = MicroUsd(policy.budget.ticket_cap_micro_usd);
    let hours = policy.approval.expires_after_seconds / 3600;
    let found = Finding::good(
        "Policy",
        format!("label {}, at most {cap} per ticket, plans wait {hours} h for approval", policy.label),
    );
    let found = if access.approvers.is_empty() {
        found.note("Approvers: everyone in the Slack workspace. To limit: [access] approvers = [\"U0123ABCD\"]")
    } else {
        found.note(format!("Approvers: {}.", access.approvers.join(", ")))
    };
    let found = if access.cli_may_approve {
        found.note("By command line too. To forbid: [access] cli_may_approve = false")
    } else {
        found
    };
    let found =
        found.note("Whoever can signal workflows in Temporal can claim any name: restrict access to Temporal itself.");
    if access.approver_other_than_requester {
        found.note("Approver and requester are told apart by their names in Slack and Jira, which often differ.")
    } else {
        found
    }
}
