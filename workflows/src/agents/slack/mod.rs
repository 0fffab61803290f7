//! The slack agent: answers somebody who mentioned the bot.

use std::time::Duration;

use super::toolbox::{LIST_TASKS, TASK_LOG, TASK_STATUS};
use super::{AgentSpec, decode, schema_of};
use crate::contract::agent::AgentName;
use crate::contract::analysis::MentionReply;
use crate::contract::ids::TicketKey;
use crate::contract::money::MicroUsd;

/// The agent. Brief: `by` (a name) and `text` (what they wrote).
pub static SPEC: AgentSpec = AgentSpec {
    name: AgentName::Slack,
    prompt: include_str!("prompt.md"),
    brief: include_str!("brief.md"),
    tools: &[&TASK_STATUS, &LIST_TASKS, &TASK_LOG],
    answer: schema_of::<MentionReply>,
    reviews: false,
    check: |answer, _| {
        let reply: MentionReply = decode(answer)?;
        if let Some(command) = &reply.command {
            command.ticket.parse::<TicketKey>().map_err(|fault| fault.to_string())?;
        }
        if reply.text.trim().is_empty() || reply.text.chars().count() > 1500 {
            return Err("text has 1 to 1,500 characters".to_owned());
        }
        Ok(())
    },
    turns: 8,
    wall: Duration::from_secs(5 * 60),
    expected: MicroUsd(100_000),
};
