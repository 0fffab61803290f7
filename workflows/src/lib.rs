//! The domain: what Ticketwright does, as deterministic Temporal workflows.
//!
//! Nothing here talks to the outside. Workflows say what should happen, [`contract`] declares the activities they need
//! as typed definitions, and the `activities` crate implements those.

#![expect(missing_docs, reason = "the SDK's macros generate markers without documentation; our own items have theirs")]

pub mod agent_call;
pub mod agent_run;
pub mod agents;
pub mod branch;
pub mod budget;
pub mod ci_rules;
pub mod ci_watch;
pub mod contract;
pub mod journal;
pub mod kit;
pub mod mention;
pub mod messages;
pub mod patches;
pub mod policy;
pub mod pull_request;
pub mod search_attributes;
pub mod sentry_issue;
pub mod sentry_sweep;
pub mod ticket;
