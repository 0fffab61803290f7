//! The adapters: each declared activity as one service call, from input to contract type.

#![expect(missing_docs, reason = "the SDK's macros generate markers without documentation; our own items have theirs")]

pub mod access;
pub mod blobs;
#[cfg(test)]
mod capture;
pub mod failure;
pub mod github;
pub mod heartbeat;
mod http;
pub mod jira;
pub mod model;
pub mod plans;
pub mod policy;
pub mod sandbox;
pub mod sentry;
pub mod slack;
pub mod tasks;
pub mod tools;
pub mod workspace;
