//! Slack: who we are, scopes, and membership of the channels we post to.

use activities::failure::ServiceError;
use activities::slack::SlackClient;
use workflows::contract::failure::FailureKind;

use super::Finding;
use crate::config::Config;

const SERVICE: &str = "Slack";

/// Scopes of the bot token, with what they are for.
const SCOPES: [(&str, &str); 5] = [
    ("app_mentions:read", "hear mentions"),
    ("chat:write", "post plans and news"),
    ("commands", "take /agent"),
    ("channels:read", "find the channels"),
    ("channels:history", "see what was posted before, so that nothing is posted twice"),
];

/// The app, for "From a manifest".
const MANIFEST: &str = include_str!("slack-manifest.yaml");

pub(super) async fn look(config: &Config) -> Finding {
    let Some(settings) = &config.slack else {
        return Finding::off(SERVICE, "off: approvals come by CLI and Web UI")
            .note("To switch it on: add [slack] to ticketwright.toml and set SLACK_BOT_TOKEN.");
    };
    let slack = match SlackClient::new(&settings.settings, settings.token.clone()) {
        Ok(slack) => slack,
        Err(error) => return Finding::bad(SERVICE, super::told(&error)),
    };
    let mut found = match slack.who_am_i().await {
        Ok(us) => with_scopes(Finding::good(SERVICE, format!("{} in workspace {}", us.user, us.team)), &us.scopes),
        Err(error) => return unusable(&error, &settings.settings.api_url),
    };
    let policy = &config.policy.slack;
    for channel in [policy.channel.as_str(), policy.errors.as_str()].into_iter().filter(|channel| !channel.is_empty()) {
        found = with_channel(found, channel, &slack.is_member(channel).await);
    }
    found
}

fn unusable(error: &ServiceError, api_url: &str) -> Finding {
    let found = Finding::bad(SERVICE, format!("nobody yet at {api_url}")).note(format!("✗ {}", super::told(error)));
    if error.kind != FailureKind::Unauthorized {
        return found.note("  Check api_url in [slack].");
    }
    let found = found
        .note("  Set SLACK_BOT_TOKEN: https://api.slack.com/apps > your app > OAuth & Permissions > Bot User OAuth Token.")
        .note("  No app yet? https://api.slack.com/apps?new_app=1 > From a manifest, with this text:");
    MANIFEST.lines().fold(found, |found, line| found.note(format!("    {line}")))
}

fn with_scopes(found: Finding, scopes: &[String]) -> Finding {
    if scopes.is_empty() {
        return found.note("Slack did not tell the token's scopes.");
    }
    SCOPES.iter().filter(|(scope, _)| !scopes.iter().any(|has| has == scope)).fold(found, |found, (scope, purpose)| {
        found.lacks(
            format!("scope {scope}, to {purpose}"),
            "Your app > OAuth & Permissions > Bot Token Scopes > Add; then reinstall it to the workspace.",
        )
    })
}

fn with_channel(found: Finding, channel: &str, member: &Result<bool, ServiceError>) -> Finding {
    match member {
        Ok(true) => found.note(format!("In {channel}.")),
        Ok(false) => found.lacks(
            format!("not in {channel}"),
            format!("In Slack, in {channel}: /invite @ticketwright (the bot's name)"),
        ),
        Err(error) if error.kind == FailureKind::NotFound => found.lacks(
            format!("no channel {channel} that the bot sees"),
            "Make it and invite the bot, or name another one under [policy.slack] in ticketwright.toml. A private one also \
             needs the scopes groups:read and groups:history.",
        ),
        // The refusal names the scope that is missing.
        Err(error) if error.kind == FailureKind::Unauthorized => found.lacks(
            format!("{channel} cannot be looked up: {}", super::told(error)),
            "Your app > OAuth & Permissions > Bot Token Scopes > Add; then reinstall it to the workspace.",
        ),
        Err(error) => {
            found.lacks(format!("{channel} cannot be looked up: {}", super::told(error)), "Run check again in a minute.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mark;
    use super::*;

    #[test]
    fn a_missing_scope_is_named_with_its_purpose() {
        let scopes = ["chat:write".to_owned(), "channels:read".to_owned()];
        let found = with_scopes(Finding::good(SERVICE, "x"), &scopes);
        assert_eq!((found.mark, found.notes.len()), (Mark::Bad, 6));
        assert_eq!(
            found.notes[4],
            "✗ scope channels:history, to see what was posted before, so that nothing is posted twice"
        );
    }

    #[test]
    fn a_channel_without_us_is_named_with_the_invitation() {
        let look = |member| with_channel(Finding::good(SERVICE, "x"), "#ai-agents", &member);
        assert_eq!(look(Ok(true)).mark, Mark::Good);
        let out = look(Ok(false));
        assert!(out.mark == Mark::Bad && out.notes[1].contains("/invite"), "{out:?}");
        assert_eq!(look(Err(ServiceError::new(FailureKind::NotFound, "no"))).mark, Mark::Bad);
    }

    #[test]
    fn a_channel_that_cannot_be_looked_up_is_lacking_with_the_scope() {
        let look =
            |kind, said| with_channel(Finding::good(SERVICE, "x"), "#ai-agents", &Err(ServiceError::new(kind, said)));
        let refused =
            look(FailureKind::Unauthorized, "Slack refused conversations.list: missing_scope (needs channels:read).");
        assert_eq!(refused.mark, Mark::Bad);
        assert!(refused.notes[0].contains("#ai-agents cannot be looked up"), "{refused:?}");
        assert!(
            refused.notes[0].contains("channels:read") && refused.notes[1].contains("Bot Token Scopes"),
            "{refused:?}"
        );
        assert_eq!(look(FailureKind::Unavailable, "Slack does not answer").mark, Mark::Bad);
    }

    #[test]
    fn a_token_that_is_refused_shows_the_manifest_with_every_scope() {
        let found =
            unusable(&ServiceError::new(FailureKind::Unauthorized, "Slack: invalid_auth"), "https://slack.com/api");
        for (scope, _) in SCOPES {
            assert!(found.notes.iter().any(|note| note.ends_with(&format!("- {scope}"))), "{scope}");
        }
    }
}
