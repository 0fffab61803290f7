//! The discovery agent: from a ticket to the repositories it concerns.

use std::time::Duration;

use super::toolbox::{LIST_REPOSITORIES, READ_REPOSITORY_FILE, REPOSITORY_TREE, SEARCH_CODE};
use super::{AgentSpec, decode, schema_of};
use crate::contract::agent::AgentName;
use crate::contract::money::MicroUsd;
use crate::contract::plan::DiscoveryReport;

/// The agent. Brief: `ticket` ([`crate::contract::jira::Ticket`]), `minimum_score`, `best`.
pub static SPEC: AgentSpec = AgentSpec {
    name: AgentName::Discovery,
    prompt: include_str!("prompt.md"),
    brief: include_str!("brief.md"),
    tools: &[&SEARCH_CODE, &LIST_REPOSITORIES, &REPOSITORY_TREE, &READ_REPOSITORY_FILE],
    answer: schema_of::<DiscoveryReport>,
    reviews: false,
    check: |answer, _| {
        let report: DiscoveryReport = decode(answer)?;
        for candidate in &report.repositories {
            if !(0.0..=1.0).contains(&candidate.score) {
                return Err(format!("score of {} is {}: scores go from 0 to 1", candidate.repository, candidate.score));
            }
        }
        Ok(())
    },
    turns: 30,
    wall: Duration::from_secs(30 * 60),
    expected: MicroUsd(500_000),
};
