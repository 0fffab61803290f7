//! The execution agent: does one task of an approved plan in a workspace, tests first.

use std::time::Duration;

use super::toolbox::{EDIT_FILE, LIST_FILES, READ_WORKSPACE_FILE, RUN_COMMAND, RUN_TESTS, SEARCH_TEXT, WRITE_FILE};
use super::{AgentSpec, decode, schema_of};
use crate::contract::agent::AgentName;
use crate::contract::money::MicroUsd;
use crate::contract::plan::TaskResult;

/// The agent. Brief: `ticket_key`, `plan` ([`crate::contract::plan::Plan`]), `task` (one of its tasks), `attempt`, and `refusal`
/// of the last attempt or an empty text; `guidance`: what people said to mind.
pub static SPEC: AgentSpec = AgentSpec {
    name: AgentName::Execution,
    prompt: include_str!("prompt.md"),
    brief: include_str!("brief.md"),
    tools: &[&LIST_FILES, &READ_WORKSPACE_FILE, &SEARCH_TEXT, &EDIT_FILE, &WRITE_FILE, &RUN_COMMAND, &RUN_TESTS],
    answer: schema_of::<TaskResult>,
    check: |answer, _| decode::<TaskResult>(answer).map(|_| ()),
    turns: 60,
    wall: Duration::from_secs(2 * 60 * 60),
    expected: MicroUsd::dollars(5),
};
