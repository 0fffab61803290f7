//! The front door: verified webhooks become a closed [`Trigger`](workflows::contract::trigger::Trigger), a trigger starts or
//! tells a workflow.
//!
//! `webhook` (verify, parse) -> `Trigger` -> [`dispatch`] -> [`start`] or a signal. An answer in the 200s means that Temporal
//! has accepted it: nothing is kept in memory.

pub mod access_log;
pub mod config;
pub mod dispatch;
pub mod server;
pub mod signature;
pub mod start;
pub mod webhook;
