//! GitHub: who we are, what the token or App may do, which repositories we see, and the webhook.

use std::time::{SystemTime, UNIX_EPOCH};

use activities::github::{AppKey, GitHubAuth, Settings};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::Finding;
use super::http::{Answer, ask, client};
use crate::config::Config;

const SERVICE: &str = "GitHub";

/// Permissions of an App: what we need, and at least how much of it. Comments on pull requests need no Issues: Pull requests
/// covers them, <https://docs.github.com/en/rest/issues/comments>. Without Workflows GitHub refuses a push that changes a
/// file below `.github/workflows`; without write access to Actions it refuses to run a job again (403),
/// <https://docs.github.com/en/rest/actions/workflow-runs#re-run-a-job-from-a-workflow-run>.
const PERMISSIONS: [(&str, &str, Need); 6] = [
    ("contents", "Contents", Need::Write),
    ("pull_requests", "Pull requests", Need::Write),
    ("workflows", "Workflows", Need::Write),
    ("checks", "Checks", Need::Read),
    ("statuses", "Commit statuses", Need::Read),
    ("actions", "Actions", Need::Write),
];

/// Scopes of a classic token, with what they are for.
const SCOPES: [(&str, &str); 2] = [
    ("repo", "read repositories and checks, run checks again, push branches and open pull requests"),
    ("workflow", "push changes of files below .github/workflows"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Read,
    Write,
}

pub(super) async fn look(config: &Config) -> Finding {
    let github = &config.github;
    let found = match client() {
        Err(why) => Err(unreachable(github, &why)),
        Ok(client) => match &config.github_auth {
            GitHubAuth::Token(token) => look_by_token(&client, github, token).await,
            GitHubAuth::App(app) => match app_token(app) {
                Ok(jwt) => look_by_app(&client, github, &jwt, app.installation).await,
                Err(why) => {
                    Err(Finding::bad(SERVICE, format!("the private key of App {} cannot be used: {why}", app.id)).note(
                        "  Set GITHUB_APP_PRIVATE_KEY_FILE to the .pem file: your App > Private keys > Generate.",
                    ))
                }
            },
        },
    };
    found.map_or_else(|bad| bad, |found| with_webhook(found, github))
}

async fn look_by_token(client: &Client, github: &Settings, token: &SecretString) -> Result<Finding, Finding> {
    let token = token.expose_secret();
    let user = expect_ok(github, ask(get(client, github, "/user", token)).await, "GITHUB_TOKEN")?;
    let login = user.body["login"].as_str().unwrap_or("?");
    let found = Finding::good(SERVICE, format!("{login} (token) at {}", github.web_url));
    let scopes = user.header("x-oauth-scopes").filter(|scopes| !scopes.is_empty());
    let owner = &github.organisation;
    let mut repositories = ask(get(client, github, &format!("/orgs/{owner}/repos?per_page=100"), token)).await;
    if matches!(&repositories, Ok(answer) if answer.status == 404) {
        repositories = ask(get(client, github, &format!("/users/{owner}/repos?per_page=100"), token)).await;
    }
    let found = match (scopes, probed(&repositories)) {
        (Some(scopes), _) => with_scopes(found, scopes, &github.web_url),
        // Classic tokens tell their scopes; a fine-grained one does not, so what it cannot do is tried.
        (None, Some((repository, branch))) => {
            let path = format!("/repos/{repository}/commits/{branch}/check-runs?per_page=1");
            let answer = ask(get(client, github, &path, token)).await;
            with_check_runs(found, &repository, &answer, &github.web_url)
        }
        (None, None) => found,
    };
    Ok(with_repositories(found, owner, repositories))
}

/// The repository whose check runs are tried, and its default branch: a private one if there is one, because anybody may read
/// the checks of a public one.
fn probed(repositories: &Result<Answer, String>) -> Option<(String, String)> {
    let answer = repositories.as_ref().ok().filter(|answer| answer.status == 200)?;
    let all = answer.body.as_array()?;
    let chosen = all.iter().find(|repository| repository["private"] == json!(true)).or_else(|| all.first())?;
    Some((chosen["full_name"].as_str()?.to_owned(), chosen["default_branch"].as_str()?.to_owned()))
}

async fn look_by_app(
    client: &Client,
    github: &Settings,
    jwt: &str,
    installation: Option<u64>,
) -> Result<Finding, Finding> {
    let app =
        expect_ok(github, ask(get(client, github, "/app", jwt)).await, "GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY")?;
    let name = app.body["name"].as_str().unwrap_or("?").to_owned();
    let slug = app.body["slug"].as_str().unwrap_or("?").to_owned();
    let found = Finding::good(SERVICE, format!("{name} (App) at {}", github.web_url));
    let owner = &github.organisation;
    let (path, which) = match installation {
        Some(id) => (format!("/app/installations/{id}"), format!("the App has no installation {id}")),
        None => (format!("/orgs/{owner}/installation"), format!("the App is not installed at {owner}")),
    };
    let mut answer = ask(get(client, github, &path, jwt)).await;
    if installation.is_none() && matches!(&answer, Ok(answer) if answer.status == 404) {
        answer = ask(get(client, github, &format!("/users/{owner}/installation"), jwt)).await;
    }
    match answer {
        Ok(Answer { status: 404, .. }) => {
            Ok(found.lacks(which, format!("{}/apps/{slug}/installations/new", github.web_url)))
        }
        answer => {
            let installation = expect_ok(github, answer, "GITHUB_APP_INSTALLATION_ID")?.body;
            let at = installation.pointer("/account/login").and_then(Value::as_str).unwrap_or("?");
            let found = with_permissions(found, &installation);
            if at.eq_ignore_ascii_case(&github.organisation) {
                return Ok(found);
            }
            Ok(found.lacks(
                format!("the installation is at {at}, and organisation is {}", github.organisation),
                "Set organisation in [github], or GITHUB_APP_INSTALLATION_ID to the other installation.",
            ))
        }
    }
}

fn get(client: &Client, github: &Settings, path: &str, token: &str) -> RequestBuilder {
    let request = client.get(format!("{}{path}", github.api_url.trim_end_matches('/'))).bearer_auth(token);
    request.header("accept", "application/vnd.github+json").header("x-github-api-version", "2022-11-28")
}

/// A token that proves to be the App, for ten minutes at most. GitHub allows a minute of clock difference.
fn app_token(app: &AppKey) -> Result<String, String> {
    let key =
        EncodingKey::from_rsa_pem(app.private_key.expose_secret().as_bytes()).map_err(|error| error.to_string())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?.as_secs();
    let claims = json!({"iss": app.id.to_string(), "iat": now.saturating_sub(60), "exp": now + 300});
    jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key).map_err(|error| error.to_string())
}

fn unreachable(github: &Settings, why: &str) -> Finding {
    Finding::bad(SERVICE, format!("{} does not answer: {why}", github.api_url))
        .note("  Check api_url in [github] of ticketwright.toml.")
}

fn expect_ok(github: &Settings, answer: Result<Answer, String>, variables: &str) -> Result<Answer, Finding> {
    match answer {
        Ok(answer) if answer.status == 200 => Ok(answer),
        Ok(Answer { status: 401, .. }) => {
            Err(Finding::bad(SERVICE, format!("{} does not accept our credentials", github.api_url))
                .note(format!("  Check {variables}; a token may have expired: {}/settings/tokens", github.web_url)))
        }
        Ok(Answer { status, .. }) => Err(Finding::bad(SERVICE, format!("{} answered HTTP {status}", github.api_url))
            .note("  Check api_url in [github] of ticketwright.toml; GitHub Enterprise Server: https://<host>/api/v3")),
        Err(why) => Err(unreachable(github, &why)),
    }
}

fn with_scopes(found: Finding, scopes: &str, web_url: &str) -> Finding {
    let has = |wanted: &str| scopes.split(',').any(|scope| scope.trim() == wanted);
    SCOPES.iter().filter(|(scope, _)| !has(scope)).fold(found, |found, (scope, purpose)| {
        found.lacks(format!("scope {scope}, to {purpose} (the token has {scopes})"), classic_token(web_url))
    })
}

/// A fine-grained token has no permission for checks: <https://docs.github.com/en/rest/checks/runs> names Apps and classic
/// tokens only.
fn with_check_runs(found: Finding, repository: &str, answer: &Result<Answer, String>, web_url: &str) -> Finding {
    match answer {
        Ok(Answer { status: 200, .. }) => found
            .note("GitHub does not tell this token's permissions. It needs write access to actions, contents, pull requests and workflows."),
        Ok(Answer { status: 403, .. }) => found.lacks(
            format!("check runs of {repository} cannot be read with this token; a fine-grained one never can"),
            classic_token(web_url),
        ),
        Ok(Answer { status, .. }) => {
            found.note(format!("Whether check runs can be read is not known: {repository} answered HTTP {status}."))
        }
        Err(why) => found.note(format!("Whether check runs can be read is not known: {why}")),
    }
}

fn classic_token(web_url: &str) -> String {
    format!("Make a classic token with repo and workflow: {web_url}/settings/tokens, or use a GitHub App.")
}

fn with_repositories(found: Finding, owner: &str, answer: Result<Answer, String>) -> Finding {
    let Ok(Answer { status: 200, body, headers }) = answer else {
        return found.lacks(
            format!("{owner} cannot be seen"),
            "Check organisation in [github], and that the token may see it (SSO: authorise the token for the organisation).",
        );
    };
    let repositories: Vec<&Value> = body.as_array().into_iter().flatten().collect();
    let writable =
        repositories.iter().filter(|repository| repository.pointer("/permissions/push") != Some(&json!(false))).count();
    let more = if headers.contains_key("link") { " or more" } else { "" };
    if writable == 0 {
        return found.lacks(
            format!("no repository of {owner} that we may push to ({} seen)", repositories.len()),
            "Give the token's user write access to them.",
        );
    }
    found.note(format!("{owner}: {writable}{more} repositories to work on."))
}

fn with_permissions(found: Finding, installation: &Value) -> Finding {
    let page = installation["html_url"].as_str().unwrap_or("the App's settings").to_owned();
    let enough = |key: &str, need: Need| match installation["permissions"][key].as_str() {
        Some("write" | "admin") => true,
        Some("read") => need == Need::Read,
        _ => false,
    };
    let missing = PERMISSIONS.iter().filter(|(key, _, need)| !enough(key, *need));
    let found = missing.fold(found, |found, (_, name, need)| {
        let level = if *need == Need::Write { "read and write" } else { "read-only" };
        found.lacks(
            format!("permission {name}: {level}"),
            format!("Your App > Permissions & events > Repository permissions; then accept it at {page}"),
        )
    });
    match installation["repository_selection"].as_str() {
        Some("selected") => found.note(format!("Works on the repositories selected at {page}")),
        _ => found.note("Works on all repositories."),
    }
}

/// Whether a webhook exists, only an administrator of the organisation may see.
fn with_webhook(found: Finding, github: &Settings) -> Finding {
    found
        .note("Webhook, so that CI is heard of at once and not only at the next poll:")
        .note(format!(
            "  {}/organizations/{}/settings/hooks > Add: URL https://<your ingress>/webhooks/github,",
            github.web_url, github.organisation
        ))
        .note("  application/json, Secret = GITHUB_WEBHOOK_SECRET, events: Check suites, Check runs, Statuses, Pull requests, Issue comments")
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::super::Mark;
    use super::*;

    fn good() -> Finding {
        Finding::good(SERVICE, "x")
    }

    const WEB: &str = "https://github.com";

    fn answer(status: u16, body: Value) -> Result<Answer, String> {
        Ok(Answer { status, headers: HeaderMap::new(), body })
    }

    #[test]
    fn a_classic_token_needs_repo_and_workflow() {
        assert_eq!(with_scopes(good(), "read:org, repo, workflow", WEB), good());
        let bad = with_scopes(good(), "public_repo, workflow", WEB);
        assert_eq!(bad.mark, Mark::Bad);
        assert_eq!(
            bad.notes,
            [
                "✗ scope repo, to read repositories and checks, run checks again, push branches and open pull requests (the token has public_repo, workflow)",
                "  Make a classic token with repo and workflow: https://github.com/settings/tokens, or use a GitHub App."
            ]
        );
        assert!(with_scopes(good(), "repo", WEB).notes[0].starts_with("✗ scope workflow, to push"));
    }

    #[test]
    fn a_token_that_cannot_read_checks_is_found_before_a_ticket_meets_it() {
        let public = json!({"full_name": "acme/site", "default_branch": "main", "private": false});
        let private = json!({"full_name": "acme/shop-api", "default_branch": "trunk", "private": true});
        let of = |full: &str, branch: &str| Some((full.to_owned(), branch.to_owned()));
        assert_eq!(probed(&answer(200, json!([public, private]))), of("acme/shop-api", "trunk"));
        assert_eq!(probed(&answer(200, json!([public]))), of("acme/site", "main"));
        assert_eq!(probed(&answer(404, Value::Null)), None);

        let look = |status| with_check_runs(good(), "acme/shop-api", &answer(status, Value::Null), WEB);
        assert_eq!(look(200).mark, Mark::Good);
        assert_eq!(look(404).mark, Mark::Good, "an empty repository tells nothing");
        let refused = look(403);
        assert_eq!(refused.mark, Mark::Bad);
        assert!(refused.notes[0].starts_with("✗ check runs of acme/shop-api cannot be read"), "{refused:?}");
        assert!(refused.notes[1].contains("classic token with repo and workflow"), "{refused:?}");
    }

    #[test]
    fn an_app_that_may_only_read_is_told_what_it_lacks() {
        let installation = json!({
            "html_url": "https://github.com/organizations/acme/settings/installations/1", "repository_selection": "selected",
            "permissions": {"contents": "read", "pull_requests": "write", "issues": "write", "checks": "read", "statuses": "read"},
        });
        let found = with_permissions(good(), &installation);
        let lacking: Vec<&String> = found.notes.iter().filter(|note| note.starts_with('✗')).collect();
        assert_eq!(
            lacking,
            [
                "✗ permission Contents: read and write",
                "✗ permission Workflows: read and write",
                "✗ permission Actions: read and write"
            ]
        );
    }

    #[test]
    fn repositories_that_cannot_be_pushed_to_do_not_count() {
        let found = with_repositories(
            good(),
            "acme",
            answer(200, json!([{"permissions": {"push": true}}, {"permissions": {"push": false}}])),
        );
        assert_eq!(found.notes, ["acme: 1 repositories to work on."]);
        assert_eq!(with_repositories(good(), "acme", answer(200, json!([]))).mark, Mark::Bad);
        assert!(with_repositories(good(), "acme", answer(404, Value::Null)).notes[0].contains("acme cannot be seen"));
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        assert!(app_token(&AppKey { id: 7, private_key: "not a key".into(), installation: Some(8) }).is_err());
    }
}
