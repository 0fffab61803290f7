//! The ingress against a real Temporal server: what only the server can decide.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod dev_server;
mod dispatch;
mod http;
mod start;
