//! The door: verified webhooks become a closed set of [`Trigger`](workflows::contract::trigger::Trigger)s, and each
//! trigger starts or signals one workflow.
//!
//! A request goes through [`signature`] (is it really from that service), [`webhook`] (what does it mean), and
//! [`dispatch`] (which workflow starts or is told). [`start`] holds the one function that starts runs. Raw JSON never
//! leaves this crate.

pub mod app;
pub mod config;
pub mod dispatch;
pub mod execution;
pub mod reply;
pub mod serve;
pub mod signature;
pub mod start;
pub mod tasks;
pub mod temporal;
pub mod webhook;

pub use workflows::branch;

mod access_log;
mod nudge;
mod slack_answer;
mod slack_cost;
mod slack_door;
mod slack_text;
#[cfg(test)]
mod tests;
