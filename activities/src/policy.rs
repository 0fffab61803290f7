//! The policy in force, as read from the configuration file.

use std::sync::Arc;

use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use workflows::contract::policy::{Policy, definitions};

/// Serves the policy that the worker was started with.
#[derive(Debug)]
pub struct PolicyActivities {
    /// The policy in force.
    pub policy: Policy,
}

#[activities]
impl PolicyActivities {
    /// The policy in force. No effect.
    #[activity(definition = definitions::Read)]
    pub async fn read(self: Arc<Self>, _ctx: ActivityContext) -> Result<Policy, ActivityError> {
        Ok(self.policy.clone())
    }
}
