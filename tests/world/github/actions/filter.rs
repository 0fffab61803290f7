//! Which events a workflow's `on` listens to: branches, paths and types.
//! <https://docs.github.com/en/actions/writing-workflows/workflow-syntax-for-github-actions#filter-pattern-cheat-sheet>

use serde_json::{Map, Value};

use super::workflow::texts;

/// What is known about an event when filters are asked.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// `push` or `pull_request`.
    pub(super) event: &'a str,
    /// `opened`, `synchronize`, ... of a pull request.
    pub(super) action: Option<&'a str>,
    /// Pushed branch, or base branch of the pull request.
    pub(super) branch: &'a str,
    /// Files that the push or the pull request changes.
    pub(super) files: &'a [String],
}

/// Types of `pull_request` that start a workflow when it names none.
const DEFAULT_TYPES: [&str; 3] = ["opened", "synchronize", "reopened"];

/// Whether a workflow listens to this event.
pub(super) fn listens(on: &Map<String, Value>, facts: &Facts<'_>) -> bool {
    let Some(filters) = on.get(facts.event) else { return false };
    let list = |name: &str| filters.get(name).map(|value| texts(Some(value)));
    if let Some(action) = facts.action {
        let types = list("types").unwrap_or_else(|| DEFAULT_TYPES.iter().map(|name| (*name).to_owned()).collect());
        if !types.iter().any(|name| name == action) {
            return false;
        }
    }
    let branch = match (list("branches"), list("branches-ignore")) {
        (Some(patterns), _) => any(&patterns, facts.branch),
        (None, Some(patterns)) => !any(&patterns, facts.branch),
        // `tags` alone means: no branches.
        (None, None) => facts.event != "push" || list("tags").is_none() && list("tags-ignore").is_none(),
    };
    let paths = match (list("paths"), list("paths-ignore")) {
        (Some(patterns), _) => facts.files.iter().any(|file| any(&patterns, file)),
        (None, Some(patterns)) => facts.files.is_empty() || facts.files.iter().any(|file| !any(&patterns, file)),
        (None, None) => true,
    };
    branch && paths
}

/// Whether the last pattern that fits is a positive one; `!` takes names out again.
fn any(patterns: &[String], name: &str) -> bool {
    let mut hit = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(negative) if glob(negative.as_bytes(), name.as_bytes()) => hit = false,
            None if glob(pattern.as_bytes(), name.as_bytes()) => hit = true,
            _ => {}
        }
    }
    hit
}

/// `*` stops at a slash, `**` does not, `?` makes the character before optional.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    match pattern {
        [] => name.is_empty(),
        [b'*', b'*', b'/', rest @ ..] => {
            glob(rest, name) || (0..name.len()).any(|at| name[at] == b'/' && glob(rest, &name[at + 1..]))
        }
        [b'*', b'*', rest @ ..] => (0..=name.len()).any(|at| glob(rest, &name[at..])),
        [b'*', rest @ ..] => {
            let end = name.iter().position(|byte| *byte == b'/').unwrap_or(name.len());
            (0..=end).any(|at| glob(rest, &name[at..]))
        }
        [byte, b'?', rest @ ..] => glob(rest, name) || name.first() == Some(byte) && glob(rest, &name[1..]),
        [byte, rest @ ..] => name.first() == Some(byte) && glob(rest, &name[1..]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{Facts, glob, listens};

    fn on(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn patterns_are_githubs() {
        for (pattern, name, fits) in [
            ("main", "main", true),
            ("feature/*", "feature/a", true),
            ("feature/*", "feature/a/b", false),
            ("feature/**", "feature/a/b", true),
            ("**/*.py", "a/b/c.py", true),
            ("**/*.py", "c.py", true),
            ("*.jsx?", "page.js", true),
            ("*.jsx?", "page.jsx", true),
            ("docs/**", "src/docs/x", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn branches_types_and_paths_are_filters() {
        let files = ["src/a.py".to_owned()];
        let push = Facts { event: "push", action: None, branch: "agent/SHOP-1/x", files: &files };
        let ready = Facts { event: "pull_request", action: Some("ready_for_review"), branch: "main", files: &files };
        let opened = Facts { action: Some("opened"), ..ready };
        let ready = Facts { action: Some("ready_for_review"), ..opened };
        assert!(listens(&on(json!({"push": {}})), &push));
        assert!(!listens(&on(json!({"push": {"branches": ["main"]}})), &push));
        assert!(listens(&on(json!({"push": {"branches": ["**", "!main"]}})), &push));
        assert!(!listens(&on(json!({"push": {"tags": ["v*"]}})), &push));
        assert!(!listens(&on(json!({"push": {"paths": ["docs/**"]}})), &push));
        assert!(!listens(&on(json!({"push": {"paths-ignore": ["src/**"]}})), &push));
        assert!(listens(&on(json!({"pull_request": {}})), &opened));
        assert!(!listens(&on(json!({"pull_request": {}})), &ready));
        assert!(listens(&on(json!({"pull_request": {"types": ["ready_for_review"]}})), &ready));
        assert!(!listens(&on(json!({"workflow_dispatch": {}})), &push));
    }
}
