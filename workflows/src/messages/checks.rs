//! Checks in sentences: what is red, why, and what was tried. Names of checks, logs and models are text from outside; on GitHub
//! and in Jira they may neither call people nor fill the page.

use super::{quiet, shorten};
use crate::ci_watch::Diagnosis;
use crate::contract::github::Check;

/// Longest text of a log, a model or a service inside a sentence, in characters.
const WORDS: usize = 1000;
/// Longest name of a check, in characters.
const NAME: usize = 100;
/// Checks that are named; of the others there is the number.
const NAMED: usize = 10;

/// Where a sentence is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// On GitHub, which acts on mentions and references; links look like `[test](https://...)`.
    GitHub,
    /// In Slack, in Jira and in a terminal, the same text; links look like `test (https://...)`.
    People,
}

/// Text of logs, models and services inside a sentence on GitHub: one line that calls nobody, without its last full stop.
pub fn words(text: &str) -> String {
    For::GitHub.words(text)
}

impl For {
    fn words(self, text: &str) -> String {
        self.show(text, WORDS).trim_end_matches('.').to_owned()
    }

    fn show(self, text: &str, characters: usize) -> String {
        let text = shorten(text, characters);
        if self == Self::GitHub { quiet(&text) } else { text }
    }
}

/// The checks' names, for every place.
pub fn names(checks: &[Check]) -> String {
    listed(checks, |check| For::GitHub.show(&check.name, NAME))
}

/// The checks' names, each with its link where it has one.
pub fn links(checks: &[Check], place: For) -> String {
    listed(checks, |check| {
        let name = place.show(&check.name, NAME);
        match (check.url.as_str(), place) {
            ("", _) => name,
            // A bracket in the name would end the link's text.
            (url, For::GitHub) => format!("[{}]({url})", name.replace('[', "(").replace(']', ")")),
            (url, For::People) => format!("{name} ({url})"),
        }
    })
}

fn listed(checks: &[Check], show: impl Fn(&Check) -> String) -> String {
    let mut shown: Vec<String> = checks.iter().take(NAMED).map(show).collect();
    if checks.len() > NAMED {
        shown.push(format!("and {} more", checks.len() - NAMED));
    }
    shown.join(", ")
}

/// These did not finish in time: `not finished in time: test (https://...)`. None at all: checks that the pull request had before
/// did not appear again.
pub fn late(checks: &[Check], place: For) -> String {
    match checks {
        [] => "no check appeared, though earlier commits had some".to_owned(),
        slow => format!("not finished in time: {}", links(slow, place)),
    }
}

/// `red after 3 attempts: test (https://...) (logic). Expects UTC. Tried: test run again`.
pub fn diagnosed(diagnosis: &Diagnosis, attempts: u32, place: For) -> String {
    let Diagnosis { checks, kind, cause, tried, .. } = diagnosis;
    let after = match attempts {
        0 => String::new(),
        1 => " after 1 attempt".to_owned(),
        n => format!(" after {n} attempts"),
    };
    let kind = kind.map(|kind| format!(" ({})", kind.as_str())).unwrap_or_default();
    let red = if checks.is_empty() { String::new() } else { format!(": {}", links(checks, place)) };
    let tried: Vec<String> = tried.iter().map(|tried| place.words(tried)).collect();
    let tried = if tried.is_empty() { String::new() } else { format!(". Tried: {}", tried.join("; ")) };
    format!("red{after}{red}{kind}. {}{tried}", place.words(cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::analysis::RedKind;
    use crate::contract::github::CheckState;

    fn check(name: &str) -> Check {
        Check {
            name: name.into(),
            state: CheckState::Failed,
            url: "https://x/1".into(),
            job: Some(1),
            summary: String::new(),
        }
    }

    #[test]
    fn a_diagnosis_says_what_is_red_why_and_what_was_tried() {
        let diagnosis = Diagnosis {
            checks: vec![check("test")],
            kind: Some(RedKind::Logic),
            cause: "expects UTC,\n@everyone gets local time.".into(),
            tried: vec!["test run again".into()],
            logs: Vec::new(),
        };
        let said = diagnosed(&diagnosis, 3, For::People);
        let expected = "red after 3 attempts: test (https://x/1) (logic). expects UTC, @everyone gets local time. Tried: test run \
                        again";
        assert_eq!(said, expected);
        let said = diagnosed(&diagnosis, 1, For::GitHub);
        assert!(said.starts_with("red after 1 attempt: [test](https://x/1) (logic). expects UTC, @"), "{said}");
        assert!(!said.contains("@everyone"), "{said}");
    }

    #[test]
    fn names_call_nobody_and_do_not_fill_the_page() {
        let mut many: Vec<Check> = (0..12).map(|n| check(&format!("test {n}"))).collect();
        many[0].name = format!("@acme/all fixes #3 {}", "x".repeat(300));
        for said in [names(&many), links(&many, For::GitHub), links(&many, For::People)] {
            assert!(said.contains("test 9") && !said.contains("test 10") && said.ends_with(", and 2 more"), "{said}");
            assert!(said.chars().count() < 500, "{said}");
        }
        for said in [names(&many), links(&many, For::GitHub)] {
            assert!(!said.contains("@acme") && !said.contains("#3"), "{said}");
        }
        assert_eq!(links(&[check("build [linux](x)")], For::GitHub), "[build (linux)(x)](https://x/1)");
    }

    #[test]
    fn what_is_late_is_named() {
        assert_eq!(late(&[check("test")], For::People), "not finished in time: test (https://x/1)");
        assert_eq!(late(&[], For::People), "no check appeared, though earlier commits had some");
    }
}
