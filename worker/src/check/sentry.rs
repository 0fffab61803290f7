//! Sentry: which organisation, what the token may do there, and the webhook.

use activities::failure::ServiceError;
use activities::sentry::{Organisation, SentryClient};
use workflows::contract::failure::FailureKind;

use super::Finding;
use crate::config::Config;

const SERVICE: &str = "Sentry";

/// Scopes of the token, with what they are for.
const SCOPES: [(&str, &str); 4] = [
    ("event:read", "read errors"),
    ("event:write", "resolve errors that stay away, and name their tickets on them"),
    ("project:read", "know their projects"),
    ("org:read", "read the organisation"),
];

pub(super) async fn look(config: &Config) -> Finding {
    let Some(sentry) = &config.sentry else {
        return Finding::off(SERVICE, "off: tickets start from Jira and the command line")
            .note("To switch it on: set SENTRY_AUTH_TOKEN and SENTRY_ORG.");
    };
    let settings = &sentry.settings;
    let url = settings.url.trim_end_matches('/');
    let found = match SentryClient::new(settings, sentry.token.clone()) {
        Ok(client) => client.organisation().await,
        Err(error) => Err(error),
    };
    match found {
        Ok(organisation) => {
            with_webhook(with_projects(with_scopes(&organisation, url), config), url, &settings.organisation)
        }
        Err(error) => unusable(&error, url, &settings.organisation),
    }
}

fn unusable(error: &ServiceError, url: &str, organisation: &str) -> Finding {
    let found = Finding::bad(SERVICE, url).note(format!("✗ {}", super::told(error)));
    match error.kind {
        FailureKind::Unauthorized => found
            .note(format!(
                "  Token: {url}/settings/{organisation}/developer-settings/ > Internal Integration, with Issue & Event:"
            ))
            .note("  read and write, Project: read, Organization: read. Its token is SENTRY_AUTH_TOKEN."),
        FailureKind::NotFound => found
            .note(format!("  SENTRY_ORG is {organisation}: compare it with the slug in Settings > General Settings.")),
        _ => found.note("  Check SENTRY_URL."),
    }
}

fn with_scopes(organisation: &Organisation, url: &str) -> Finding {
    let found = Finding::good(SERVICE, format!("organisation {} at {url}", organisation.name));
    let has = |scope: &str| organisation.scopes.iter().any(|granted| covers(granted, scope));
    SCOPES.iter().filter(|(scope, _)| !has(scope)).fold(found, |found, (scope, purpose)| {
        found.lacks(
            format!("scope {scope}, to {purpose}"),
            "Settings > Developer Settings > your integration > Permissions; a user's token has to be made anew.",
        )
    })
}

/// Sentry's scopes of one kind contain each other: admin, write, read.
fn covers(granted: &str, scope: &str) -> bool {
    let rank = |right: &str| ["read", "write", "admin"].iter().position(|known| *known == right);
    match (granted.split_once(':'), scope.split_once(':')) {
        (Some((kind, right)), Some((wanted, least))) => kind == wanted && rank(right) >= rank(least),
        _ => false,
    }
}

fn with_projects(found: Finding, config: &Config) -> Finding {
    if config.policy.sentry.projects.is_empty() {
        return found.note(
            "No project has a Jira project yet, so errors get a notice and no ticket: [policy.sentry.projects].",
        );
    }
    found
}

fn with_webhook(found: Finding, url: &str, organisation: &str) -> Finding {
    found
        .note("Webhook, in the same integration; without it errors are found by the sweep only:")
        .note(format!(
            "  {url}/settings/{organisation}/developer-settings/ > Webhook URL https://<your ingress>/webhooks/sentry,"
        ))
        .note("  Alert Rule Action on, Webhooks: issue. Its Client Secret is SENTRY_CLIENT_SECRET of the ingress.")
        .note("  Then make it the action of an issue alert, so that an old error that comes more often is heard of at once.")
}

#[cfg(test)]
mod tests {
    use super::super::Mark;
    use super::*;

    fn scopes(granted: &[&str]) -> Finding {
        let scopes = granted.iter().map(|scope| (*scope).to_owned()).collect();
        with_scopes(&Organisation { name: "Acme".into(), scopes }, "https://sentry.io")
    }

    #[test]
    fn each_missing_scope_is_named_with_its_purpose() {
        assert_eq!(scopes(&["event:read", "event:write", "project:read", "org:read"]).mark, Mark::Good);
        let found = scopes(&["event:read", "project:read", "org:read"]);
        assert_eq!((found.mark, found.notes.len()), (Mark::Bad, 2));
        assert!(found.notes[0].starts_with("✗ scope event:write, to resolve errors"), "{found:?}");
        assert_eq!(scopes(&[]).notes.len(), 8);
    }

    #[test]
    fn a_greater_right_contains_the_smaller_one() {
        assert_eq!(scopes(&["event:admin", "project:write", "org:admin"]).mark, Mark::Good);
        assert_eq!(scopes(&["event:admin", "project:write", "org:integrations"]).mark, Mark::Bad);
    }

    #[test]
    fn an_unusable_token_and_an_unknown_organisation_say_what_to_do() {
        let look = |kind| unusable(&ServiceError::new(kind, "no"), "https://sentry.io", "acme").notes.join("\n");
        assert!(look(FailureKind::Unauthorized).contains("https://sentry.io/settings/acme/developer-settings/"));
        assert!(look(FailureKind::NotFound).contains("SENTRY_ORG is acme"));
        assert!(look(FailureKind::Unavailable).contains("SENTRY_URL"));
    }
}
