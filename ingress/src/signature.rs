//! Proof that a request comes from the service it names: HMAC-SHA256 over the raw bytes of the body, compared in constant
//! time.
//!
//! An empty secret must never get here: everybody can compute an HMAC with an empty key. [`crate::config::Secret`] rules it
//! out. None of the services signs its delivery id, so nothing that is not in the body may be trusted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::Secret;

/// How far the time of a Slack request may be away, to both sides.
/// <https://docs.slack.dev/authentication/verifying-requests-from-slack>
pub const SLACK_WINDOW: Duration = Duration::from_secs(300);

/// Why a request is not believed. Speaks to the person who set the webhook up; tells an attacker nothing new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// No signature header.
    #[error("the header {0} is missing")]
    Missing(&'static str),
    /// A signature of the wrong form, or over other bytes, or with another secret.
    #[error("the signature does not fit: compare the secret on both sides")]
    Wrong,
    /// A Slack request whose time is more than [`SLACK_WINDOW`] away: a replay, or a wrong clock.
    #[error("the request is more than 5 minutes old or from the future: compare the clocks")]
    Stale,
}

/// Checks GitHub's `X-Hub-Signature-256: sha256=<hex>`.
/// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>
pub fn github(secret: &Secret, headers: &HeaderMap, body: &[u8]) -> Result<(), Unsigned> {
    let sent = header(headers, "X-Hub-Signature-256")?;
    verify(secret, &[body], sent.strip_prefix("sha256=").ok_or(Unsigned::Wrong)?)
}

/// Checks Jira's `X-Hub-Signature: <method>=<hex>`; only sha256 is taken.
/// <https://developer.atlassian.com/cloud/jira/platform/webhooks/#secure-admin-webhooks>
pub fn jira(secret: &Secret, headers: &HeaderMap, body: &[u8]) -> Result<(), Unsigned> {
    let sent = header(headers, "X-Hub-Signature")?;
    verify(secret, &[body], sent.strip_prefix("sha256=").ok_or(Unsigned::Wrong)?)
}

/// Checks Sentry's `Sentry-Hook-Signature: <hex>`, without a prefix. `Sentry-Hook-Timestamp` is not signed and proves nothing.
/// <https://docs.sentry.io/organization/integrations/integration-platform/webhooks/#sentry-hook-signature>
pub fn sentry(secret: &Secret, headers: &HeaderMap, body: &[u8]) -> Result<(), Unsigned> {
    verify(secret, &[body], header(headers, "Sentry-Hook-Signature")?)
}

/// Checks Slack's `X-Slack-Signature: v0=<hex>` over `v0:<time>:<body>`, and the time itself against `now`.
/// <https://docs.slack.dev/authentication/verifying-requests-from-slack>
pub fn slack(secret: &Secret, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Result<(), Unsigned> {
    let time = header(headers, "X-Slack-Request-Timestamp")?;
    let sent = header(headers, "X-Slack-Signature")?;
    verify(secret, &[b"v0:", time.as_bytes(), b":", body], sent.strip_prefix("v0=").ok_or(Unsigned::Wrong)?)?;
    // After the signature: only a holder of the secret learns that the time is the problem.
    let seconds: u64 = time.parse().map_err(|_| Unsigned::Wrong)?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if now.abs_diff(seconds) > SLACK_WINDOW.as_secs() { Err(Unsigned::Stale) } else { Ok(()) }
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Unsigned> {
    headers.get(name).ok_or(Unsigned::Missing(name))?.to_str().map_err(|_| Unsigned::Wrong)
}

fn verify(secret: &Secret, message: &[&[u8]], sent: &str) -> Result<(), Unsigned> {
    let sent = hex::decode(sent).map_err(|_| Unsigned::Wrong)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).map_err(|_| Unsigned::Wrong)?;
    for part in message {
        mac.update(part);
    }
    mac.verify_slice(&sent).map_err(|_| Unsigned::Wrong)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned().into()).unwrap()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    /// Published by GitHub with its description of the header.
    #[test]
    fn github_official_vector() {
        let secret = secret("It's a Secret to Everybody");
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let check = |value: &str, body: &[u8]| github(&secret, &headers(&[("x-hub-signature-256", value)]), body);
        assert_eq!(check(good, b"Hello, World!"), Ok(()));
        assert_eq!(check(good, b"Hello, World"), Err(Unsigned::Wrong));
        assert_eq!(check(&good.replace("sha256=", "sha1="), b"Hello, World!"), Err(Unsigned::Wrong));
        assert_eq!(check("sha256=", b"Hello, World!"), Err(Unsigned::Wrong));
        assert_eq!(check("sha256=zz", b"Hello, World!"), Err(Unsigned::Wrong));
        assert_eq!(check(&good[..good.len() - 2], b"Hello, World!"), Err(Unsigned::Wrong), "a prefix is not enough");
        assert_eq!(github(&secret, &HeaderMap::new(), b"Hello, World!"), Err(Unsigned::Missing("X-Hub-Signature-256")));
    }

    /// Published by Atlassian; no comma in the body.
    #[test]
    fn jira_official_vector() {
        let secret = secret("It's a Secret to Everybody");
        let good = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9";
        let check = |value: &str| jira(&secret, &headers(&[("x-hub-signature", value)]), b"Hello World!");
        assert_eq!(check(good), Ok(()));
        assert_eq!(check("sha1=2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"), Err(Unsigned::Wrong));
        assert_eq!(jira(&secret, &HeaderMap::new(), b"x"), Err(Unsigned::Missing("X-Hub-Signature")));
    }

    /// Sentry publishes none: GitHub's and Atlassian's are HMAC-SHA256 over the body too, and stand here without their prefix.
    #[test]
    fn sentry_takes_the_bare_hex_of_the_same_vectors() {
        let secret = secret("It's a Secret to Everybody");
        let good = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let check = |value: &str, body: &[u8]| sentry(&secret, &headers(&[("sentry-hook-signature", value)]), body);
        assert_eq!(check(good, b"Hello, World!"), Ok(()));
        assert_eq!(check("a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9", b"Hello World!"), Ok(()));
        assert_eq!(check(good, b"Hello, World! "), Err(Unsigned::Wrong));
        for wrong in ["", "zz", &format!("sha256={good}"), &good[..62]] {
            assert_eq!(check(wrong, b"Hello, World!"), Err(Unsigned::Wrong), "{wrong}");
        }
        let unsigned = headers(&[("sentry-hook-timestamp", "1763700000")]);
        assert_eq!(sentry(&secret, &unsigned, b"x"), Err(Unsigned::Missing("Sentry-Hook-Signature")));
    }

    /// Published by Slack with its description of the header.
    #[test]
    fn slack_official_vector_and_its_window() {
        let secret = secret("8f742231b10e8888abcd99yyyzzz85a5");
        let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        let signed = headers(&[
            ("x-slack-request-timestamp", "1531420618"),
            ("x-slack-signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
        ]);
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        for (now, expected) in [
            (1_531_420_618, Ok(())),
            (1_531_420_918, Ok(())),
            (1_531_420_919, Err(Unsigned::Stale)),
            (1_531_420_318, Ok(())),
            (1_531_420_317, Err(Unsigned::Stale)),
        ] {
            assert_eq!(slack(&secret, &signed, body, at(now)), expected, "now = {now}");
        }
        let mut moved = signed.clone();
        moved.insert("x-slack-request-timestamp", HeaderValue::from_static("1531420919"));
        assert_eq!(slack(&secret, &moved, body, at(1_531_420_919)), Err(Unsigned::Wrong), "the time is signed too");
        let unsigned = headers(&[("x-slack-request-timestamp", "1531420618")]);
        assert_eq!(slack(&secret, &unsigned, body, at(1_531_420_618)), Err(Unsigned::Missing("X-Slack-Signature")));
    }
}
