//! Jira: who we are, what we may do, and the webhook.

use activities::failure::ServiceError;
use activities::jira::JiraClient;

use super::Finding;
use crate::config::Config;

const SERVICE: &str = "Jira";

/// What the bot's account does in every project it works for, with the names people see.
const PERMISSIONS: [(&str, &str); 4] = [
    ("BROWSE_PROJECTS", "Browse Projects"),
    ("ADD_COMMENTS", "Add Comments"),
    // Two attempts at one comment that met: the younger goes.
    ("DELETE_OWN_COMMENTS", "Delete Own Comments"),
    ("TRANSITION_ISSUES", "Transition Issues"),
];
/// What it does besides where errors of Sentry become bugs.
const TO_REPORT: (&str, &str) = ("CREATE_ISSUES", "Create Issues");

pub(super) async fn look(config: &Config) -> Finding {
    let url = config.jira.url.trim_end_matches('/');
    match look_with(config, url).await {
        Ok(found) => with_webhook(found, url, &config.policy.label),
        Err(error) => Finding::bad(SERVICE, url)
            .note(format!("✗ {}", super::told(&error)))
            .note("  Tokens: https://id.atlassian.com/manage-profile/security/api-tokens   The site: url in [jira]."),
    }
}

async fn look_with(config: &Config, url: &str) -> Result<Finding, ServiceError> {
    let jira = JiraClient::new(&config.jira, config.jira_auth.clone())?;
    let found = Finding::good(SERVICE, format!("{} at {url}", jira.myself().await?.display_name));
    let needed: Vec<_> = PERMISSIONS.into_iter().chain(config.sentry.as_ref().map(|_| TO_REPORT)).collect();
    let keys: Vec<&str> = needed.iter().map(|(key, _)| *key).collect();
    Ok(with_permissions(found, &needed, &jira.permissions(&keys).await?))
}

fn with_permissions(found: Finding, needed: &[(&str, &str)], granted: &[(String, bool)]) -> Finding {
    let has = |key: &str| granted.iter().any(|(name, granted)| name == key && *granted);
    needed.iter().filter(|(key, _)| !has(key)).fold(found, |found, (_, name)| {
        found.lacks(
            format!("permission {name}"),
            "Project settings > Permissions: add the bot's account (company-managed: to the permission scheme).",
        )
    })
}

/// Only administrators may see webhooks, and the bot should not be one: so this says how to make it.
fn with_webhook(found: Finding, url: &str, label: &str) -> Finding {
    found
        .note("Webhook, made by an administrator; without it tickets start by command line only:")
        .note(format!("  {url}/plugins/servlet/webhooks > Create: URL https://<your ingress>/webhooks/jira,"))
        .note(format!("  Secret = JIRA_WEBHOOK_SECRET, JQL: labels = \"{label}\", events: Issue created, updated"))
}

#[cfg(test)]
mod tests {
    use super::super::Mark;
    use super::*;

    #[test]
    fn a_missing_permission_is_named_as_jira_names_it() {
        let granted = PERMISSIONS.map(|(key, _)| (key.to_owned(), key != "ADD_COMMENTS"));
        let found = with_permissions(Finding::good(SERVICE, "x"), &PERMISSIONS, &granted);
        assert_eq!((found.mark, found.notes[0].as_str()), (Mark::Bad, "✗ permission Add Comments"));
        assert_eq!(found.notes.len(), 2);
    }
}
