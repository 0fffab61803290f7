//! The planning agent: from a ticket and a discovery report to a plan that a human can approve.

use std::time::Duration;

use serde_json::Value;

use super::toolbox::{
    GET_TICKET, LIST_PULL_REQUESTS, READ_REPOSITORY_FILE, REPOSITORY_TREE, SEARCH_CODE, SEARCH_TICKETS,
};
use super::{AgentSpec, decode, schema_of};
use crate::contract::agent::AgentName;
use crate::contract::ids::RepositoryName;
use crate::contract::money::MicroUsd;
use crate::contract::plan::Plan;

/// The agent. Brief: `ticket`, `repositories` (the ranked ones, best first), `approach`, and `feedback` on an earlier version
/// or an empty text; `guidance`: what people said to mind.
pub static SPEC: AgentSpec = AgentSpec {
    name: AgentName::Planning,
    prompt: include_str!("prompt.md"),
    brief: include_str!("brief.md"),
    tools: &[&READ_REPOSITORY_FILE, &REPOSITORY_TREE, &SEARCH_CODE, &LIST_PULL_REQUESTS, &GET_TICKET, &SEARCH_TICKETS],
    answer: schema_of::<Plan>,
    reviews: false,
    check: |answer, brief| {
        let plan: Plan = decode(answer)?;
        let faults = plan.faults(&known_repositories(brief));
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    },
    turns: 40,
    wall: Duration::from_secs(60 * 60),
    expected: MicroUsd::dollars(2),
};

fn known_repositories(brief: &Value) -> Vec<RepositoryName> {
    let ranked = brief.get("repositories").and_then(Value::as_array);
    let names = ranked.into_iter().flatten().filter_map(|r| r.get("repository")?.as_str()?.parse().ok());
    names.collect()
}
