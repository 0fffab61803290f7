//! The world: stateful stand-ins of GitHub, Jira, Sentry, Slack and Amazon Bedrock for tests and the demo.
//!
//! Each stand-in speaks the real protocol on loopback, keeps state, records every effect it was asked for with its
//! time, signs its webhooks as the real service does, and answers a call it does not know with a loud error.
//! Production code knows only base URLs and credentials.

#![recursion_limit = "256"]
#![expect(clippy::expect_used, reason = "a stand-in that breaks must stop its test at once")]

pub mod bedrock;
pub mod effects;
pub mod escape;
pub mod faults;
pub mod github;
pub mod jira;
pub mod samples;
pub mod sentry;
pub mod slack;
mod specs;
pub mod stack;
pub mod webhook;

mod world;
pub use world::{Credentials, World, WorldOptions};
