//! The ingress against a real Temporal server: what only the server can decide.

mod dev_server;
mod dispatch;
mod http;
mod start;
