//! Approved plans, kept where the sandbox queue can check them.

use serde::{Deserialize, Serialize};
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

use super::ids::Digest;
use super::money::MicroUsd;
use super::plan::Plan;

/// A plan to keep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeepPlan {
    /// The plan.
    pub plan: Plan,
    /// The cap that was approved with it.
    pub cap: MicroUsd,
}

/// The store of approved plans, as an activity.
pub struct Plans;

#[activity_definitions]
impl Plans {
    /// Keeps the canonical form of a plan in the blob store; its digest is the plan's hash. Content-addressed, so doing it
    /// twice is the same.
    #[activity(name = "plans.keep")]
    pub fn keep(_request: KeepPlan) -> Result<Digest, ActivityError> {
        unimplemented!()
    }
}

/// The definitions, for the adapters that implement them: `#[activity(definition = ...)]`.
pub mod definitions {
    pub use super::plans::*;
}
