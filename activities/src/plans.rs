//! Keeps approved plans where the sandbox queue can check a push against them.

use std::sync::Arc;

use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use workflows::contract::ids::Digest;
use workflows::contract::plans::{KeepPlan, definitions};

use crate::blobs::Blobs;

/// The store of approved plans.
#[derive(Debug)]
pub struct PlanActivities {
    /// Where they are kept.
    pub blobs: Blobs,
}

#[activities]
impl PlanActivities {
    /// Keeps a plan's canonical form under its digest. Content-addressed: doing it twice is the same.
    #[activity(definition = definitions::Keep)]
    pub async fn keep(self: Arc<Self>, ctx: ActivityContext, request: KeepPlan) -> Result<Digest, ActivityError> {
        self.blobs
            .put(request.plan.canonical(request.cap))
            .await
            .map_err(|error| error.into_activity_error(ctx.info().attempt))
    }
}
