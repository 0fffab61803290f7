//! Stand-in of Slack: the Web API, signed interactions, commands and events, and a page that looks like a chat.

mod blocks;
mod interact;
mod methods;
mod mrkdwn;
mod page;
mod scopes;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard};

use axum::routing::{any, post};
use serde_json::json;

use crate::faults::Faults;
use crate::webhook::Webhooks;
use crate::{effects::Effects, world::Credentials};
pub use interact::Sent;
use state::State;
pub use state::{Button, Channel, Message, User, View};

/// Name in the record of effects.
const SERVICE: &str = "slack";

/// A refusal in place of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// HTTP 429.
    RateLimited {
        /// `Retry-After` in seconds.
        retry_after: u64,
    },
    /// HTTP 200 with `ok: false` and this word, as `internal_error`.
    Error(String),
    /// Another HTTP status without a body.
    Http(u16),
}

/// The stand-in; cloning shares its state.
#[derive(Debug, Clone)]
pub struct Slack {
    token: String,
    signing_secret: String,
    effects: Effects,
    webhooks: Webhooks,
    faults: Faults<Failure>,
    sent: Arc<Mutex<Vec<Sent>>>,
    state: Arc<Mutex<State>>,
}

impl Slack {
    /// A workspace with the channels `#ai-agents` and `#errors`, and the people Ana and Bo.
    pub fn new(base_url: &str, credentials: &Credentials, effects: &Effects, webhooks: &Webhooks) -> Self {
        let base_url = format!("{}/slack", base_url.trim_end_matches('/'));
        Self {
            token: credentials.slack_token.clone(),
            signing_secret: credentials.slack_signing_secret.clone(),
            effects: effects.clone(),
            webhooks: webhooks.clone(),
            faults: Faults::default(),
            sent: Arc::default(),
            state: Arc::new(Mutex::new(State::new(base_url))),
        }
    }

    /// Routes below the stand-in's prefix.
    pub fn router(&self) -> axum::Router {
        axum::Router::new()
            .route("/api/{method}", any(methods::call))
            .route("/response/{id}", post(interact::respond))
            .merge(page::routes())
            .fallback(page::unexpected)
            .with_state(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Records what the app did to a message and releases the state, so that a waiting test sees both or neither.
    fn announce(&self, state: MutexGuard<'_, State>, kind: &str, message: &Message) {
        let target = state.channel(&message.channel).map(Channel::label).unwrap_or_default();
        drop(state);
        let detail = json!({
            "ts": message.ts, "thread_ts": message.thread_ts, "text": message.text, "blocks": message.blocks,
            "metadata": message.metadata, "user": message.ephemeral_to,
        });
        self.effects.record(SERVICE, kind, target, detail);
    }

    /// Adds a person.
    pub fn add_user(&self, id: &str, name: &str) {
        let mut real_name = name.to_owned();
        real_name[..name.chars().next().map_or(0, char::len_utf8)].make_ascii_uppercase();
        self.lock().add_user(id, name, &real_name);
    }

    /// Adds a group of users, as approvers.
    pub fn add_user_group(&self, id: &str, users: &[&str]) {
        self.lock().user_groups.insert(id.to_owned(), users.iter().map(|user| (*user).to_owned()).collect());
    }

    /// Adds a channel; the bot is not in it until [`Slack::invite`].
    pub fn add_channel(&self, id: &str, name: &str) {
        self.lock().add_channel(id, name, false, false);
    }

    /// Adds a private channel with the bot in it. To see it, the token needs `groups:read`; see [`Slack::set_scopes`].
    pub fn add_private_channel(&self, id: &str, name: &str) {
        self.lock().add_channel(id, name, true, true);
    }

    /// Replaces the scopes of the bot token.
    pub fn set_scopes(&self, scopes: &[&str]) {
        self.lock().scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    }

    /// Scopes of the bot token.
    pub fn scopes(&self) -> Vec<String> {
        self.lock().scopes.clone()
    }

    /// Invites the bot to a channel.
    pub fn invite(&self, channel: &str) {
        self.set_member(channel, true);
    }

    /// Removes the bot from a channel.
    pub fn kick(&self, channel: &str) {
        self.set_member(channel, false);
    }

    /// A person leaves a channel: what is shown to them alone cannot be shown there any more.
    pub fn leave(&self, user: &str, channel: &str) {
        let mut state = self.lock();
        let (user, id) = (state.user(user).map(|user| user.id.clone()), state.channel(channel).map(|c| c.id.clone()));
        if let (Some(user), Some(channel)) = (user, state.channels.iter_mut().find(|c| Some(&c.id) == id.as_ref())) {
            channel.members.remove(&user);
        }
    }

    fn set_member(&self, channel: &str, member: bool) {
        let mut state = self.lock();
        let id = state.channel(channel).map(|channel| channel.id.clone());
        if let Some(channel) = state.channels.iter_mut().find(|c| Some(&c.id) == id.as_ref()) {
            channel.bot_is_member = member;
        }
    }

    /// Messages of a channel (id or name), oldest first, replies and ephemeral ones included.
    pub fn messages(&self, channel: &str) -> Vec<Message> {
        let state = self.lock();
        let id = state.channel(channel).map(|channel| channel.id.clone()).unwrap_or_default();
        state.messages.iter().filter(|message| message.channel == id).cloned().collect()
    }

    /// What was written between the bot and a person alone, oldest first.
    pub fn direct_messages(&self, user: &str) -> Vec<Message> {
        let state = self.lock();
        let user = state.user(user).map(|user| user.id.clone());
        let direct = state.channels.iter().find(|channel| channel.direct_with.is_some() && channel.direct_with == user);
        let id = direct.map(|channel| channel.id.as_str()).unwrap_or_default();
        state.messages.iter().filter(|message| message.channel == id).cloned().collect()
    }

    /// A thread: its first message and the replies, oldest first.
    pub fn thread(&self, channel: &str, ts: &str) -> Vec<Message> {
        let in_thread = |m: &Message| m.ts == ts || m.thread_ts.as_deref() == Some(ts);
        self.messages(channel).into_iter().filter(in_thread).collect()
    }

    /// The newest message anywhere whose text or blocks contain `text`.
    pub fn find(&self, text: &str) -> Option<Message> {
        self.lock().messages.iter().rev().find(|message| message.all_text().contains(text)).cloned()
    }

    /// Open modals of a person.
    pub fn views(&self, user: &str) -> Vec<View> {
        let state = self.lock();
        let id = state.user(user).map(|user| user.id.clone());
        state.views.iter().filter(|view| Some(&view.user) == id.as_ref()).cloned().collect()
    }

    /// Requests sent to the app so far, in order; see [`Slack::redeliver`].
    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().expect("no holder of this lock panics").clone()
    }

    /// The next call of this method (`chat.postMessage`, or `response_url`) is refused. Repeat to refuse several times.
    pub fn fail_next(&self, method: &str, failure: Failure) {
        self.faults.refuse(method, failure);
    }

    /// The next successful call of this method has its effect, then the client's connection is cut.
    pub fn drop_reply_after_effect(&self, method: &str) {
        self.faults.lose_reply(method);
    }
}
