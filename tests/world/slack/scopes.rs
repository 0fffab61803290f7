//! What each method demands of the token's scopes (the "Required scopes" of each page below
//! <https://docs.slack.dev/reference/methods>).

use super::state::State;

/// Scopes of the token at first. Private channels stay out of sight, as for an app made from our manifest.
pub(super) const AT_FIRST: [&str; 9] = [
    "app_mentions:read",
    "channels:history",
    "channels:read",
    "chat:write",
    "commands",
    "reactions:write",
    "usergroups:read",
    "users:read",
    "users:read.email",
];

/// Scopes a call needs. `types`: kinds of channels to be listed; `channel`: the id or name of the one it is about.
pub(super) fn needed(state: &State, method: &str, types: Option<&str>, channel: Option<&str>) -> Vec<&'static str> {
    let channel = channel.and_then(|channel| state.channel(channel));
    let one_of = |public: &'static str, private: &'static str, direct: &'static str| match channel {
        Some(channel) if channel.direct_with.is_some() => vec![direct],
        Some(channel) if channel.is_private => vec![private],
        _ => vec![public],
    };
    match method {
        "chat.postMessage" | "chat.update" | "chat.delete" | "chat.postEphemeral" => vec!["chat:write"],
        // One kind that is out of bounds refuses the whole list.
        "conversations.list" => kinds(types).filter_map(scope_of).collect(),
        "conversations.info" => one_of("channels:read", "groups:read", "im:read"),
        "conversations.history" | "conversations.replies" => one_of("channels:history", "groups:history", "im:history"),
        "reactions.add" => vec!["reactions:write"],
        "usergroups.users.list" => vec!["usergroups:read"],
        "users.info" | "users.list" => vec!["users:read"],
        _ => vec![],
    }
}

/// The kinds of channels to be listed: public ones unless others are named.
pub(super) fn kinds(types: Option<&str>) -> impl Iterator<Item = &str> {
    types.filter(|types| !types.is_empty()).unwrap_or("public_channel").split(',').map(str::trim)
}

fn scope_of(kind: &str) -> Option<&'static str> {
    match kind {
        "public_channel" => Some("channels:read"),
        "private_channel" => Some("groups:read"),
        "mpim" => Some("mpim:read"),
        "im" => Some("im:read"),
        _ => None,
    }
}
