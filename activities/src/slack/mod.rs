//! Slack's Web API (<https://api.slack.com/web>): post once, update, tell one person.

mod client;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use workflows::contract::slack::{MessageRef, PostMessage, TellPerson, UpdateMessage, definitions};

use crate::heartbeat::to_its_end;
pub use client::{Identity, Settings, SlackClient};

/// Slack, as activities.
#[derive(Debug)]
pub struct SlackActivities {
    /// The connection.
    pub slack: SlackClient,
}

#[activities]
impl SlackActivities {
    /// Posts a message once: the effect key is kept in the message's metadata and looked for before posting.
    #[activity(definition = definitions::PostMessage)]
    pub async fn post_message(
        self: Arc<Self>,
        ctx: ActivityContext,
        message: PostMessage,
    ) -> Result<MessageRef, ActivityError> {
        to_its_end(&ctx, self.slack.post_once(&message)).await
    }

    /// Shows a note to one person.
    #[activity(definition = definitions::TellPerson)]
    pub async fn tell_person(self: Arc<Self>, ctx: ActivityContext, note: TellPerson) -> Result<(), ActivityError> {
        to_its_end(&ctx, self.slack.tell(&note)).await
    }

    /// Replaces a message's content; the same content twice changes nothing.
    #[activity(definition = definitions::UpdateMessage)]
    pub async fn update_message(
        self: Arc<Self>,
        ctx: ActivityContext,
        update: UpdateMessage,
    ) -> Result<(), ActivityError> {
        to_its_end(&ctx, self.slack.update(&update)).await
    }
}
