//! Replies to instructions in a pull request's conversation, and what the Web UI shows of such a run.

use serde_json::Value;

use super::environment;

/// The templates. Every reply may use `by` (GitHub login), `handle`, `spent` and `cap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// What we understand.
    Help,
    /// The pull request is closed or merged.
    Over,
    /// The branch lies in a fork.
    Fork,
    /// The branch is the default branch.
    DefaultBranch,
    /// A running ticket takes it from here.
    PassedOn,
    /// Nothing to change.
    Unchanged,
    /// A commit is pushed, CI has spoken.
    Done,
    /// It could not be done.
    Stopped,
    /// Current details in Temporal's Web UI.
    Details,
}

impl Reply {
    fn source(self) -> (&'static str, &'static str) {
        match self {
            Self::Help => ("reply_help.md", include_str!("reply_help.md")),
            Self::Over => ("reply_over.md", include_str!("reply_over.md")),
            Self::Fork => ("reply_fork.md", include_str!("reply_fork.md")),
            Self::DefaultBranch => ("reply_default_branch.md", include_str!("reply_default_branch.md")),
            Self::PassedOn => ("reply_passed_on.md", include_str!("reply_passed_on.md")),
            Self::Unchanged => ("reply_unchanged.md", include_str!("reply_unchanged.md")),
            Self::Done => ("reply_done.md", include_str!("reply_done.md")),
            Self::Stopped => ("reply_stopped.md", include_str!("reply_stopped.md")),
            Self::Details => ("reply_details.md", include_str!("reply_details.md")),
        }
    }
}

/// Renders a template.
pub fn render(reply: Reply, variables: &Value) -> String {
    try_render(reply, variables)
        .unwrap_or_else(|error| format!("This message could not be written ({error}). The run goes on."))
}

fn try_render(reply: Reply, variables: &Value) -> Result<String, minijinja::Error> {
    let (name, source) = reply.source();
    let mut environment = environment();
    environment.add_template(name, source)?;
    Ok(environment.get_template(name)?.render(variables)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn variables() -> Value {
        json!({
            "by": "ana", "handle": "agent", "spent": "$0.118", "cap": "$6.00", "state": "merged", "branch": "faster-cart",
            "ticket": "SHOP-1", "stage": "awaiting approval", "summary": "Totals are cached. See @acme/all, fixes #3.",
            "not_done": ["The docs."], "why": "No change held in 3 attempts.", "commit": "81c0d1e2",
            "commit_url": "http://git/acme/shop-api/commit/81c0d1e2", "ci": "CI is green (lint, test)",
            "pushed": {"files": 2, "insertions": 14, "deletions": 3},
            "look_here": [{"path": "shop/cart.py", "why": "The cache is never emptied."}],
            "proof": {
                "command": "python3 -m unittest", "base": "8be1".repeat(10), "suite": {"passed": 43, "failed": 0, "skipped": 1},
                "new_tests": [{"id": "tests.test_cart.Cached", "red": "AssertionError: 2 != 1"}], "log": "ab".repeat(32),
            },
            "status": {"repository": "acme/shop-api", "number": 3, "doing": "working", "comment": 7, "waiting": 1,
                       "answered": [{"comment": 6, "by": "Bo (GitHub)", "outcome": "pushed 5a77b02", "reply": "http://c/9"}]},
            "current": {"by": "ana (GitHub)", "text": "cache totals"}, "url": "http://git/acme/shop-api/pull/3",
        })
    }

    #[test]
    fn every_reply_renders_and_calls_nobody_by_accident() {
        for reply in [
            Reply::Help,
            Reply::Over,
            Reply::Fork,
            Reply::DefaultBranch,
            Reply::PassedOn,
            Reply::Unchanged,
            Reply::Done,
            Reply::Stopped,
            Reply::Details,
        ] {
            let text = try_render(reply, &variables()).unwrap_or_else(|error| panic!("{reply:?}: {error:#}"));
            assert!(!text.is_empty() && !text.contains("\n\n\n"), "{reply:?} has a hole:\n{text}");
            assert!(text.lines().all(|line| !line.starts_with("@agent")), "{reply:?} calls ourselves:\n{text}");
            assert!(!text.contains("@acme") && !text.contains("#3."), "{reply:?}:\n{text}");
        }
    }

    #[test]
    fn a_reply_says_what_was_pushed_and_how_it_was_checked() {
        let text = try_render(Reply::Done, &variables()).unwrap();
        for part in [
            "[`81c0d1e2`](http://git/acme/shop-api/commit/81c0d1e2)",
            "+14 -3 in 2 files",
            "CI is green (lint, test).",
            "- `tests.test_cart.Cached`: red at `8be18be1` (AssertionError: 2 != 1), green now",
            "43 passed, 0 failed, 1 skipped",
            "$0.118 of $6.00",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let mut plain = variables();
        plain["proof"]["new_tests"] = json!([]);
        plain["look_here"] = json!([]);
        plain["not_done"] = json!([]);
        let text = try_render(Reply::Done, &plain).unwrap();
        assert!(!text.contains("red at") && !text.contains("\n\n\n"), "{text}");
    }
}
