//! Proof that a request comes from who it claims: HMAC-SHA256 over the raw bytes, compared in constant time.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Oldest and newest age of a Slack request, in seconds
/// (<https://api.slack.com/authentication/verifying-requests-from-slack>).
const SLACK_WINDOW: i64 = 300;

/// A signature is missing, malformed, wrong or too old. The sender learns no more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is missing, wrong or too old")]
pub struct BadSignature;

/// GitHub's `X-Hub-Signature-256` and Jira's `X-Hub-Signature`: `sha256=<hex>` over the body.
pub fn verify_hub(secret: &SecretString, header: Option<&str>, body: &[u8]) -> Result<(), BadSignature> {
    let hex = header.and_then(|header| header.strip_prefix("sha256=")).ok_or(BadSignature)?;
    verify(secret, hex, &[body])
}

/// Slack's `X-Slack-Signature`: `v0=<hex>` over `v0:<timestamp>:<body>`. `now` is seconds since 1970.
pub fn verify_slack(
    secret: &SecretString,
    header: Option<&str>,
    timestamp: Option<&str>,
    now: i64,
    body: &[u8],
) -> Result<(), BadSignature> {
    let hex = header.and_then(|header| header.strip_prefix("v0=")).ok_or(BadSignature)?;
    let timestamp = timestamp.ok_or(BadSignature)?;
    let sent: i64 = timestamp.parse().map_err(|_| BadSignature)?;
    if (now.saturating_sub(sent)).saturating_abs() > SLACK_WINDOW {
        return Err(BadSignature);
    }
    verify(secret, hex, &[b"v0:", timestamp.as_bytes(), b":", body])
}

fn verify(secret: &SecretString, signature: &str, message: &[&[u8]]) -> Result<(), BadSignature> {
    let secret = secret.expose_secret();
    // Anyone can compute an HMAC with an empty key.
    if secret.is_empty() {
        return Err(BadSignature);
    }
    let given = hex::decode(signature).map_err(|_| BadSignature)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| BadSignature)?;
    for part in message {
        mac.update(part);
    }
    mac.verify_slice(&given).map_err(|_| BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GITHUB_SECRET: &str = "It's a Secret to Everybody";

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[test]
    fn accepts_githubs_official_vector() {
        let header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(verify_hub(&secret(GITHUB_SECRET), Some(header), b"Hello, World!"), Ok(()));
        assert_eq!(verify_hub(&secret(GITHUB_SECRET), Some(header), b"Hello, World?"), Err(BadSignature));
    }

    #[test]
    fn accepts_atlassians_official_vector() {
        let header = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9";
        assert_eq!(verify_hub(&secret(GITHUB_SECRET), Some(header), b"Hello World!"), Ok(()));
    }

    #[test]
    fn accepts_slacks_official_vector_inside_its_window_only() {
        let key = secret("8f742231b10e8888abcd99yyyzzz85a5");
        let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        let header = Some("v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503");
        let sent = 1_531_420_618;
        let check = |now| verify_slack(&key, header, Some("1531420618"), now, body);
        assert_eq!(check(sent), Ok(()));
        assert_eq!(check(sent + SLACK_WINDOW), Ok(()));
        assert_eq!(check(sent + SLACK_WINDOW + 1), Err(BadSignature));
        assert_eq!(check(sent - SLACK_WINDOW - 1), Err(BadSignature));
    }

    #[test]
    fn refuses_what_is_missing_malformed_or_keyless() {
        let key = secret("k");
        for header in [None, Some(""), Some("sha1=00"), Some("sha256="), Some("sha256=zz"), Some("sha256=00")] {
            assert_eq!(verify_hub(&key, header, b"x"), Err(BadSignature), "{header:?}");
        }
        let of_empty_key = "sha256=".to_owned() + "0".repeat(64).as_str();
        assert_eq!(verify_hub(&secret(""), Some(&of_empty_key), b"x"), Err(BadSignature));
    }
}
