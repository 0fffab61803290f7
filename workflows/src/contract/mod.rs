//! What the parts of Ticketwright say to each other: ids, triggers, decisions, status, failures, and the activities the
//! domain needs, one file per service.
//!
//! Everything here crosses Temporal as JSON. New fields get `#[serde(default)]`; names on the wire are never reused.

pub mod access;
pub mod agent;
pub mod analysis;
pub mod failure;
pub mod github;
pub mod ids;
pub mod jira;
pub mod model;
pub mod money;
pub mod plan;
pub mod plans;
pub mod policy;
pub mod sentry;
pub mod slack;
pub mod status;
pub mod tasks;
pub mod tools;
pub mod trigger;
pub mod workspace;

/// Task queue of the workflows and of the calls to GitHub, Jira and Slack.
pub const QUEUE: &str = "ticketwright";
/// Task queue of model calls, so that slow replies never hold up anything else.
pub const MODEL_QUEUE: &str = "ticketwright-model";
/// Task queue of workspaces and sandboxed commands: only hosts with a working sandbox poll it.
pub const SANDBOX_QUEUE: &str = "ticketwright-sandbox";
