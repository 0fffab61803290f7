//! What the Slack stand-in remembers, and the JSON it shows of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};

use super::scopes;

/// Id of the workspace.
pub(super) const TEAM: &str = "T0ACME";
/// Id of the app.
pub(super) const APP: &str = "A0TICKETWRIGHT";
/// User id of the bot.
pub(super) const BOT: &str = "U0TICKETWRIGHT";
/// Bot id of the bot.
const BOT_ID: &str = "B0TICKETWRIGHT";

/// A person, or the bot.
#[derive(Debug, Clone, Serialize)]
pub struct User {
    /// `U0ANA`.
    pub id: String,
    /// Handle, as `ana`.
    pub name: String,
    /// Name as shown.
    pub real_name: String,
    /// E-mail address.
    pub email: String,
}

/// A channel.
#[derive(Debug, Clone, Serialize)]
pub struct Channel {
    /// `C0AIAGENTS`.
    pub id: String,
    /// Name without `#`; of direct messages `@ana`.
    pub name: String,
    /// Whether only its members see it.
    pub is_private: bool,
    /// Whether the bot was invited.
    pub bot_is_member: bool,
    /// Ids of the people in it.
    pub members: BTreeSet<String>,
    /// With whom the bot talks here alone: these are direct messages.
    pub direct_with: Option<String>,
}

impl Channel {
    /// How it is called in the record of effects.
    pub(super) fn label(&self) -> String {
        if self.direct_with.is_some() { self.name.clone() } else { format!("#{}", self.name) }
    }
}

/// A message, as it is now.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    /// Id of the channel.
    pub channel: String,
    /// Identity and time of the message within its channel.
    pub ts: String,
    /// `ts` of the thread's first message, for replies.
    pub thread_ts: Option<String>,
    /// User id of the author.
    pub user: String,
    /// Text; the fallback when there are blocks.
    pub text: String,
    /// Block Kit blocks.
    pub blocks: Vec<Value>,
    /// `{event_type, event_payload}`, or null.
    pub metadata: Value,
    /// Whether it was changed after it was posted.
    pub edited: bool,
    /// Reaction name to user ids.
    pub reactions: BTreeMap<String, Vec<String>>,
    /// Only this user sees it.
    pub ephemeral_to: Option<String>,
}

impl Message {
    /// All texts: the fallback and those of the blocks, one per line.
    pub fn all_text(&self) -> String {
        let mut texts = vec![self.text.clone()];
        self.blocks.iter().for_each(|block| collect(block, &mut texts));
        texts.join("\n")
    }

    /// Buttons and their action ids, values, labels.
    pub fn buttons(&self) -> Vec<Button> {
        let mut found = Vec::new();
        for block in &self.blocks {
            let elements = block["elements"].as_array().into_iter().flatten().chain(block.get("accessory"));
            found.extend(elements.filter(|element| element["type"] == "button").map(|element| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                Button {
                    block_id: text(&block["block_id"]),
                    action_id: text(&element["action_id"]),
                    value: text(&element["value"]),
                    label: text(&element["text"]["text"]),
                    url: element["url"].as_str().map(str::to_owned),
                    element: element.clone(),
                }
            }));
        }
        found
    }
}

/// A button of a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Button {
    /// Id of its block.
    pub block_id: String,
    /// Its action id.
    pub action_id: String,
    /// Its value.
    pub value: String,
    /// Its label.
    pub label: String,
    /// Page it opens.
    pub url: Option<String>,
    /// The whole element.
    pub element: Value,
}

fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                match (key.as_str(), inner) {
                    ("text", Value::String(text)) => texts.push(text.clone()),
                    ("value" | "block_id" | "action_id" | "url", _) => {}
                    _ => collect(inner, texts),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        _ => {}
    }
}

/// An open modal.
#[derive(Debug, Clone, Serialize)]
pub struct View {
    /// `V…`.
    pub id: String,
    /// Who sees it.
    pub user: String,
    /// The view as it was opened.
    pub view: Value,
    /// Errors the app answered the last submission with: block id to text.
    pub errors: Value,
}

/// Where a `response_url` leads.
#[derive(Debug, Clone)]
pub(super) struct ResponseUrl {
    pub channel: String,
    pub user: String,
    /// The message that was acted on; none for slash commands.
    pub ts: Option<String>,
    pub thread_ts: Option<String>,
    pub made: Instant,
    pub uses: u32,
}

/// A `trigger_id`: lives three seconds, works once.
#[derive(Debug, Clone)]
pub(super) struct Trigger {
    pub user: String,
    pub made: Instant,
    pub used: bool,
}

#[derive(Debug)]
pub(super) struct State {
    /// `http://…/slack`.
    pub base_url: String,
    /// Scopes of the bot token.
    pub scopes: Vec<String>,
    pub users: Vec<User>,
    pub channels: Vec<Channel>,
    pub user_groups: BTreeMap<String, Vec<String>>,
    /// In order of posting.
    pub messages: Vec<Message>,
    pub views: Vec<View>,
    pub responses: BTreeMap<String, ResponseUrl>,
    pub triggers: BTreeMap<String, Trigger>,
    last_micros: i64,
    next_id: u64,
}

impl State {
    pub(super) fn new(base_url: String) -> Self {
        let mut state = Self {
            base_url,
            scopes: scopes::AT_FIRST.map(str::to_owned).to_vec(),
            users: Vec::new(),
            channels: Vec::new(),
            user_groups: BTreeMap::new(),
            messages: Vec::new(),
            views: Vec::new(),
            responses: BTreeMap::new(),
            triggers: BTreeMap::new(),
            last_micros: 0,
            next_id: 0,
        };
        for (id, name, real_name) in
            [(BOT, "ticketwright", "Ticketwright"), ("U0ANA", "ana", "Ana"), ("U0BO", "bo", "Bo")]
        {
            state.add_user(id, name, real_name);
        }
        for (id, name) in [("C0AIAGENTS", "ai-agents"), ("C0ERRORS", "errors")] {
            state.add_channel(id, name, false, true);
        }
        state
    }

    pub(super) fn add_user(&mut self, id: &str, name: &str, real_name: &str) {
        let email = format!("{name}@acme.example");
        for channel in self.channels.iter_mut().filter(|channel| channel.direct_with.is_none()) {
            channel.members.insert(id.into());
        }
        self.users.push(User { id: id.into(), name: name.into(), real_name: real_name.into(), email });
    }

    /// A channel with everybody in it.
    pub(super) fn add_channel(&mut self, id: &str, name: &str, is_private: bool, bot_is_member: bool) {
        let members = self.users.iter().map(|user| user.id.clone()).collect();
        let (id, name) = (id.into(), name.into());
        self.channels.push(Channel { id, name, is_private, bot_is_member, members, direct_with: None });
    }

    /// Id of the direct messages between the bot and a person, by the person's id. They are opened by the first message.
    pub(super) fn direct(&mut self, user: &str) -> Option<String> {
        let person = self.users.iter().find(|known| known.id == user && known.id != BOT)?;
        let (name, user) = (format!("@{}", person.name), person.id.clone());
        if let Some(open) = self.channels.iter().find(|channel| channel.direct_with.as_ref() == Some(&user)) {
            return Some(open.id.clone());
        }
        let id = format!("D{}", user.trim_start_matches('U'));
        let (members, direct_with) = ([user.clone()].into(), Some(user));
        self.channels.push(Channel {
            id: id.clone(),
            name,
            is_private: true,
            bot_is_member: true,
            members,
            direct_with,
        });
        Some(id)
    }

    /// A new `ts`: now, later than every other one.
    pub(super) fn ts(&mut self) -> String {
        self.last_micros = chrono::Utc::now().timestamp_micros().max(self.last_micros + 1);
        format!("{}.{:06}", self.last_micros / 1_000_000, self.last_micros % 1_000_000)
    }

    /// A new number for ids.
    pub(super) fn number(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// A channel by id, `name` or `#name`.
    pub(super) fn channel(&self, id_or_name: &str) -> Option<&Channel> {
        let name = id_or_name.trim_start_matches('#');
        self.channels.iter().find(|channel| channel.id == id_or_name || channel.name == name)
    }

    /// A user by id, `name` or `@name`.
    pub(super) fn user(&self, id_or_name: &str) -> Option<&User> {
        let name = id_or_name.trim_start_matches('@');
        self.users.iter().find(|user| user.id == id_or_name || user.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn message(&mut self, channel: &str, ts: &str) -> Option<&mut Message> {
        self.messages.iter_mut().find(|message| message.channel == channel && message.ts == ts)
    }

    /// Adds a message; gives it its `ts` and its blocks their ids.
    pub(super) fn post(&mut self, mut message: Message) -> Message {
        message.ts = self.ts();
        message.blocks = self.with_block_ids(message.blocks);
        self.messages.push(message.clone());
        message
    }

    /// Slack gives blocks without an id one of its own.
    pub(super) fn with_block_ids(&mut self, mut blocks: Vec<Value>) -> Vec<Value> {
        for block in &mut blocks {
            if block.get("block_id").is_none() {
                block["block_id"] = json!(format!("b{}", self.number()));
            }
        }
        blocks
    }

    /// A message as the Web API shows it.
    pub(super) fn message_json(&self, message: &Message, with_metadata: bool) -> Value {
        let mut shown = json!({
            "type": "message",
            "user": message.user,
            "text": message.text,
            "ts": message.ts,
            "team": TEAM,
        });
        if message.user == BOT {
            shown["bot_id"] = json!(BOT_ID);
            shown["app_id"] = json!(APP);
            shown["bot_profile"] = json!({"id": BOT_ID, "app_id": APP, "name": "Ticketwright", "team_id": TEAM});
        }
        if !message.blocks.is_empty() {
            shown["blocks"] = json!(message.blocks);
        }
        if message.edited {
            shown["edited"] = json!({"user": message.user, "ts": message.ts});
        }
        if with_metadata && !message.metadata.is_null() {
            shown["metadata"] = message.metadata.clone();
        }
        if !message.reactions.is_empty() {
            let reactions: Vec<Value> = message
                .reactions
                .iter()
                .map(|(name, users)| json!({"name": name, "users": users, "count": users.len()}))
                .collect();
            shown["reactions"] = json!(reactions);
        }
        if let Some(parent) = &message.thread_ts {
            shown["thread_ts"] = json!(parent);
        }
        let replies: Vec<&Message> = self.replies(&message.channel, &message.ts).collect();
        if let Some(last) = replies.last() {
            shown["thread_ts"] = json!(message.ts);
            shown["reply_count"] = json!(replies.len());
            shown["latest_reply"] = json!(last.ts);
        }
        shown
    }

    /// Replies in a thread, oldest first, without those only one person sees.
    pub(super) fn replies<'a>(&'a self, channel: &'a str, ts: &'a str) -> impl Iterator<Item = &'a Message> {
        self.messages.iter().filter(move |message| {
            message.channel == channel && message.thread_ts.as_deref() == Some(ts) && message.ephemeral_to.is_none()
        })
    }

    pub(super) fn channel_json(&self, channel: &Channel) -> Value {
        if let Some(user) = &channel.direct_with {
            return json!({"id": channel.id, "is_im": true, "user": user, "is_archived": false});
        }
        json!({
            "id": channel.id, "name": channel.name, "name_normalized": channel.name, "is_channel": !channel.is_private,
            "is_group": channel.is_private, "is_private": channel.is_private, "is_archived": false, "is_member": channel.bot_is_member, "num_members": channel.members.len(),
        })
    }

    pub(super) fn user_json(&self, user: &User) -> Value {
        json!({
            "id": user.id, "team_id": TEAM, "name": user.name, "real_name": user.real_name, "deleted": false,
            "is_bot": user.id == BOT, "is_app_user": false, "is_admin": false, "is_restricted": false, "tz": "Etc/UTC",
            "profile": {"real_name": user.real_name, "display_name": user.name, "email": user.email},
        })
    }

    /// A new `response_url` for what a user did.
    pub(super) fn response_url(&mut self, mut response: ResponseUrl) -> String {
        let id = format!("{}-{}", self.number(), uuid::Uuid::new_v4().simple());
        response.uses = 0;
        let url = format!("{}/response/{id}", self.base_url);
        self.responses.insert(id, response);
        url
    }

    /// A new `trigger_id` for a user.
    pub(super) fn trigger(&mut self, user: &str) -> String {
        let id = format!("{}.{}", self.number(), uuid::Uuid::new_v4().simple());
        self.triggers.insert(id.clone(), Trigger { user: user.into(), made: Instant::now(), used: false });
        id
    }
}
