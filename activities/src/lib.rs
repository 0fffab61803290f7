//! The adapters: each declared activity as one service call, from input to contract type.

pub mod blobs;
pub mod failure;
pub mod heartbeat;
pub mod policy;
pub mod sandbox;
pub mod workspace;
