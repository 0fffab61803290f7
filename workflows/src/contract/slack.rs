//! What the domain needs of Slack.

use serde::{Deserialize, Serialize};
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

use super::ids::EffectKey;

/// A message to post once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostMessage {
    /// Channel name (`#ai-agents`) or id.
    pub channel: String,
    /// `ts` of the thread's first message; absent: a new message in the channel.
    #[serde(default)]
    pub thread: Option<String>,
    /// Kept in the message's metadata and looked for before posting.
    pub effect: EffectKey,
    /// Fallback text, and the whole message when `blocks` is empty.
    pub text: String,
    /// Block Kit blocks, at most 50.
    #[serde(default)]
    pub blocks: Vec<serde_json::Value>,
}

/// A message that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRef {
    /// Channel id.
    pub channel: String,
    /// The message's id in its channel.
    pub ts: String,
}

/// A message to change. Setting the same content again changes nothing, so no key is needed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateMessage {
    /// Which message.
    pub message: MessageRef,
    /// New fallback text.
    pub text: String,
    /// New blocks.
    #[serde(default)]
    pub blocks: Vec<serde_json::Value>,
}

/// A note that only one person sees. Slack forgets it, so it has no key; told twice is harmless.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TellPerson {
    /// Channel name or id.
    pub channel: String,
    /// `ts` of the thread.
    #[serde(default)]
    pub thread: Option<String>,
    /// Slack's id of the person.
    pub person: String,
    /// mrkdwn.
    pub text: String,
}

/// Slack, as activities.
pub struct Slack;

#[activity_definitions]
impl Slack {
    /// Posts a message once: looks for the effect key in the channel's (or thread's) recent metadata first.
    #[activity(name = "slack.post_message")]
    pub fn post_message(_message: PostMessage) -> Result<MessageRef, ActivityError> {
        unimplemented!()
    }

    /// Shows a note to one person (`chat.postEphemeral`).
    #[activity(name = "slack.tell_person")]
    pub fn tell_person(_note: TellPerson) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Replaces a message's content.
    #[activity(name = "slack.update_message")]
    pub fn update_message(_update: UpdateMessage) -> Result<(), ActivityError> {
        unimplemented!()
    }
}

/// The definitions, for the adapters that implement them: `#[activity(definition = ...)]`.
pub mod definitions {
    pub use super::slack::*;
}
