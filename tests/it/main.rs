//! Scenarios: the whole product as real processes around the world, on a real Temporal server, asserting on effects.

mod architecture;
mod cancelling;
mod crashes;
mod deliveries;
mod lost_replies;
mod parking;
mod replay;
mod scene;
mod the_flow;
