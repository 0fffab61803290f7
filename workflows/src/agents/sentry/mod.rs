//! The sentry agent: from an error in production to its cause in the code.

use std::time::Duration;

use super::toolbox::{GET_ERROR, GET_ERROR_EVENT, GET_ERROR_STATISTICS, READ_REPOSITORY_FILE, SEARCH_CODE};
use super::{AgentSpec, decode, schema_of};
use crate::contract::agent::AgentName;
use crate::contract::analysis::ErrorAnalysis;
use crate::contract::money::MicroUsd;

/// The agent. Brief: `issue` ([`crate::contract::sentry::ErrorIssue`]) and `event` ([`crate::contract::sentry::ErrorEvent`]).
pub static SPEC: AgentSpec = AgentSpec {
    name: AgentName::Sentry,
    prompt: include_str!("prompt.md"),
    brief: include_str!("brief.md"),
    tools: &[&GET_ERROR, &GET_ERROR_EVENT, &GET_ERROR_STATISTICS, &SEARCH_CODE, &READ_REPOSITORY_FILE],
    answer: schema_of::<ErrorAnalysis>,
    reviews: false,
    check: |answer, _| {
        let analysis: ErrorAnalysis = decode(answer)?;
        if !(0.0..=1.0).contains(&analysis.confidence) {
            return Err(format!("confidence is {}: it goes from 0 to 1", analysis.confidence));
        }
        Ok(())
    },
    turns: 20,
    wall: Duration::from_secs(15 * 60),
    expected: MicroUsd(300_000),
};
