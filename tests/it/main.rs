//! Scenarios: the whole product as real processes around the world, on a real Temporal server, asserting on effects.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test stops where it fails")]

mod agent;
mod architecture;
mod cancelling;
mod check;
mod ci;
mod comments;
mod crashes;
mod deliveries;
mod execution;
mod lost_replies;
mod money;
mod parking;
mod replay;
mod scene;
mod sentry;
mod slack;
mod the_flow;
