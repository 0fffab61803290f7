//! What identifies a person or opens a door is taken out of Sentry's texts before anybody else sees them.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex, RegexBuilder};
use workflows::contract::failure::FailureKind;

use crate::failure::ServiceError;

/// What stands where something was taken out.
const MARK: &str = "[redacted]";
/// Largest compiled pattern of the policy, in bytes.
const PATTERN_LIMIT: usize = 1 << 20;

/// An address. The last part has letters only, so that `react@18.2.0/index.js` stays readable.
static EMAIL: LazyLock<Regex> =
    LazyLock::new(|| built_in(r"[\p{L}\p{N}._%+-]+(?:@|%40)(?:[\p{L}\p{N}-]+\.)+\p{L}{2,}"));

/// Tokens that show what they are: GitHub, GitLab, Slack, Stripe and OpenAI-like, AWS, Google, Sentry, JSON Web Tokens, and
/// what follows `Bearer` or `Basic`.
static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    built_in(
        r"(?x)
        (?i:\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/-]{16,}=*
        | \bgh[pousr]_[A-Za-z0-9]{16,} | \bgithub_pat_\w{16,} | \bglpat-[\w-]{16,}
        | \bxox[a-z]-[A-Za-z0-9-]{8,} | \b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}
        | \b(?:AKIA|ASIA)[0-9A-Z]{16}\b | \bAIza[\w-]{30,} | \bsntry[su]_[\w=+/-]{16,}
        | \beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?",
    )
});

/// A value that its name calls secret: `password=...`, `"api_key": "..."`, `?token=...`.
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    built_in(
        r#"(?xi)
        (?P<name> [\w-]*(?:password|passwd|pwd|secret|api[_-]?key|access[_-]?key|token|authorization|session[_-]?id)
            ["']? \s* [:=] \s*)
        (?P<value> "[^"]+" | '[^']+' | [^\s"'&,;()\[\]{}<>]+)"#,
    )
});

/// 13 to 19 digits, in groups or not (ISO/IEC 7812), that begin as cards do.
static CARD: LazyLock<Regex> = LazyLock::new(|| built_in(r"\b[2-6](?:[ -]?[0-9]){12,18}\b"));

#[expect(clippy::expect_used, reason = "the patterns are constants; a test compiles each of them")]
fn built_in(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern of ours compiles")
}

/// A pattern of the policy that is no regular expression.
#[derive(Debug, thiserror::Error)]
#[error("policy.sentry.redact has {pattern:?}, which is no regular expression: {error}")]
pub struct BadPattern {
    /// As configured.
    pattern: String,
    /// What is wrong with it.
    error: regex::Error,
}

impl From<BadPattern> for ServiceError {
    fn from(bad: BadPattern) -> Self {
        Self::new(FailureKind::Invalid, bad.to_string())
    }
}

/// The built-in patterns, and those of a policy.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    configured: Vec<Regex>,
}

impl Redactor {
    /// A redactor with these patterns beside the built-in ones.
    ///
    /// # Errors
    /// A pattern is no regular expression (syntax: <https://docs.rs/regex/latest/regex/#syntax>). Nothing is read then, rather
    /// than read unredacted.
    pub fn new(patterns: &[String]) -> Result<Self, BadPattern> {
        let compile = |pattern: &String| {
            let built = RegexBuilder::new(pattern).size_limit(PATTERN_LIMIT).build();
            built.map_err(|error| BadPattern { pattern: pattern.clone(), error })
        };
        Ok(Self { configured: patterns.iter().map(compile).collect::<Result<_, _>>()? })
    }

    /// The text without what must not be seen, at most `limit` characters of it.
    pub fn text(&self, text: &str, limit: usize) -> String {
        // Before it is cut: half a token would not be known as one.
        let mut clean = Cow::Borrowed(text);
        for pattern in self.configured.iter().chain([&*TOKEN]) {
            clean = replaced(clean, |text| pattern.replace_all(text, MARK));
        }
        clean = replaced(clean, |text| NAMED.replace_all(text, named));
        clean = replaced(clean, |text| EMAIL.replace_all(text, MARK));
        clean = replaced(clean, |text| CARD.replace_all(text, card));
        match clean.char_indices().nth(limit) {
            None => clean.into_owned(),
            Some((end, _)) => format!("{}…", &clean[..end]),
        }
    }
}

fn replaced(text: Cow<'_, str>, replace: impl Fn(&str) -> Cow<'_, str>) -> Cow<'_, str> {
    match replace(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(changed) => Cow::Owned(changed),
    }
}

/// Code is full of `token = next_token`: only a quoted value or one with a digit counts.
fn named(found: &Captures<'_>) -> String {
    let (name, value) = (&found["name"], &found["value"]);
    let quoted = value.starts_with(['"', '\'']);
    if value.contains(MARK) || !(quoted || value.len() >= 6 && value.contains(|c: char| c.is_ascii_digit())) {
        return found[0].to_owned();
    }
    format!("{name}{MARK}")
}

fn card(found: &Captures<'_>) -> String {
    if passes_luhn(&found[0]) { MARK.to_owned() } else { found[0].to_owned() }
}

/// ISO/IEC 7812-1 annex B. Other characters than digits are skipped.
fn passes_luhn(text: &str) -> bool {
    let digits = text.chars().rev().filter_map(|c| c.to_digit(10));
    let sum: u32 = digits
        .enumerate()
        .map(|(at, digit)| match (at % 2, digit * 2) {
            (0, _) => digit,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(text: &str) -> String {
        Redactor::default().text(text, 1000)
    }

    #[test]
    fn addresses_tokens_and_card_numbers_are_taken_out() {
        for (text, expected) in [
            ("no user jane.doe+x@mail.example.com here", "no user [redacted] here"),
            ("jürgen@münchen.example", "[redacted]"),
            ("GET /reset?email=jane.doe%40mail.example&x=1", "GET /reset?email=[redacted]&x=1"),
            ("https://bot:pw@db.internal.example/x", "https://bot:[redacted]/x"),
            ("Authorization: Bearer abcdefghijklmnop.qrs", "Authorization: [redacted]"),
            ("ghp_0123456789abcdefABCDEF", "[redacted]"),
            ("key AKIAIOSFODNN7EXAMPLE refused", "key [redacted] refused"),
            ("xoxb-12345678-abcdefgh", "[redacted]"),
            ("jwt eyJhbGciOiJI.eyJzdWIiOiIx.sig_-1 bad", "jwt [redacted] bad"),
            ("/pay?token=a1b2c3d4&x=1", "/pay?token=[redacted]&x=1"),
            ("{\"password\": \"hunter\"}", "{\"password\": [redacted]}"),
            ("card 4111 1111 1111 1111 declined", "card [redacted] declined"),
            ("card 5500-0000-0000-0004, 378282246310005", "card [redacted], [redacted]"),
        ] {
            assert_eq!(clean(text), expected);
        }
    }

    #[test]
    fn what_only_looks_like_it_stays() {
        for text in [
            "node_modules/react@18.2.0/index.js",
            "shop-api@1.4.2",
            "token = next_token(stream)",
            "basic authentication is off",
            "4111 1111 1111 1112 is no card",
            "order 1763700000123 at 10.0.0.1",
            "ZeroDivisionError: division by zero",
            "81c0d1e2f3a4b5c6d7e8f9011223344556677889",
        ] {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn the_policys_patterns_count_beside_the_built_in_ones_and_a_bad_one_stops_all() {
        let redactor = Redactor::new(&[r"ACC-\d+".to_owned()]).unwrap();
        assert_eq!(redactor.text("ACC-77 of a@b.example", 100), "[redacted] of [redacted]");
        let error = Redactor::new(&["(".to_owned()]).unwrap_err();
        assert!(error.to_string().starts_with("policy.sentry.redact has \"(\""), "{error}");
        assert_eq!(ServiceError::from(error).kind, FailureKind::Invalid);
    }

    #[test]
    fn text_is_cut_after_it_was_redacted() {
        assert_eq!(Redactor::default().text("mail jane@mail.example now", 9), "mail [red…");
        assert_eq!(Redactor::default().text("äöü", 3), "äöü");
    }
}
