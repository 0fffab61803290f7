//! The sample repositories, their tickets, and what the scripted model says about them.

use std::path::PathBuf;

use crate::bedrock::Script;
use crate::jira::NewIssue;
use crate::sentry::NewError;

/// Owner of the sample repositories.
pub const OWNER: &str = "acme";

/// Names of the sample repositories; only the first needs a change for `SHOP-1`.
pub const REPOSITORIES: [&str; 3] = ["shop-api", "shop-web", "warehouse"];

/// Folder of the samples in the source tree.
pub fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("world/samples")
}

/// Files of a sample repository: path below its root and content, sorted by path.
pub fn files(repository: &str) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let root = directory().join(OWNER).join(repository);
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            // Left behind when somebody runs the sample by hand.
            if path.file_name().is_some_and(|name| name == "__pycache__" || name == "node_modules") {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(&root)?.to_string_lossy().replace('\\', "/");
                found.push((name, std::fs::read(&path)?));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The ticket with this key.
pub fn ticket(key: &str) -> anyhow::Result<NewIssue> {
    NewIssue::load(directory().join("tickets").join(format!("{key}.md")))
}

/// The model script for this ticket.
pub fn script(key: &str) -> anyhow::Result<Script> {
    Script::load(directory().join("scripts").join(format!("{key}.yaml")))
}

/// An error of `shop-api` in production: somebody sends a list where an object belongs. Many events of a few users, and an
/// address and a card number in its text. The model script `sentry` mends it.
pub fn error() -> NewError {
    let value = "'list' object has no attribute 'get' (order of jane.doe@mail.example, card 4111 1111 1111 1111)";
    NewError::new("shop-api", "AttributeError", value)
        .events(40, 7)
        .frame("/usr/lib/python3.13/site-packages/http/server.py", "handle_one_request", 436, "method()")
        .frame("shop/api.py", "_answer", 89, "status, answer = api.handle(self.command, self.path, body)")
        .frame("shop/api.py", "handle", 51, "return self._route(method, path, body or {})")
        .frame("shop/api.py", "_route", 69, "sku = body.get(\"sku\", \"\")")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::process::Command;

    use crate::bedrock::{Call, Conversation};

    use super::*;

    fn checkout(repository: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("directory");
        for (name, content) in files(repository).expect("files") {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            std::fs::write(path, content).expect("file");
        }
        directory
    }

    /// Runs all tests; gives the names of failed and of broken ones, and how many ran.
    fn run_tests(directory: &Path) -> (BTreeSet<String>, BTreeSet<String>, usize) {
        let output = Command::new("python3")
            .args(["-B", "-m", "unittest", "discover", "-s", "tests", "-t", "."])
            .current_dir(directory)
            .output()
            .expect("python3 runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let named = |kind: &str| {
            let id = |line: &str| Some(line.strip_prefix(kind)?.split_once(" (")?.1.trim_end_matches(')').to_owned());
            text.lines().filter_map(id).collect()
        };
        let ran = text.lines().find_map(|line| line.strip_prefix("Ran ")?.split_once(' ')?.0.parse().ok());
        (named("FAIL: "), named("ERROR: "), ran.unwrap_or_else(|| panic!("{text}")))
    }

    fn edit(directory: &Path, call: &Call) {
        let text = |name: &str| call.input[name].as_str().expect("edit_file takes path, old and new");
        let path = directory.join(text("path"));
        let before = std::fs::read_to_string(&path).expect("the edited file exists");
        assert_eq!(before.matches(text("old")).count(), 1, "{}: {:?} must be there once", text("path"), text("old"));
        std::fs::write(path, before.replacen(text("old"), text("new"), 1)).expect("write");
    }

    fn executions(script: &str) -> Vec<Conversation> {
        let script = super::script(script).expect("script");
        script.conversations.into_iter().filter(|c| c.agent.as_deref() == Some("execution")).collect()
    }

    #[test]
    fn each_scripted_task_is_red_by_assertion_and_then_green() {
        red_then_green("SHOP-1", 2);
        red_then_green("sentry", 1);
    }

    fn red_then_green(script: &str, tasks: usize) {
        let directory = checkout("shop-api");
        let (failed, broken, mut total) = run_tests(directory.path());
        assert!(failed.is_empty() && broken.is_empty(), "{failed:?} {broken:?}");
        assert_eq!(executions(script).len(), tasks);
        for conversation in executions(script) {
            let calls: Vec<&Call> = conversation.turns.iter().flat_map(|turn| &turn.calls).collect();
            let answer = &calls.last().expect("answer").input;
            let new: BTreeSet<String> = serde_json::from_value(answer["new_tests"].clone()).expect("names");
            let mut runs = Vec::new();
            for call in &calls {
                match call.tool.as_str() {
                    "edit_file" => edit(directory.path(), call),
                    "run_tests" => runs.push(run_tests(directory.path())),
                    _ => {}
                }
            }
            total += new.len();
            assert_eq!(runs, [(new, BTreeSet::new(), total), (BTreeSet::new(), BTreeSet::new(), total)]);
        }
    }

    #[test]
    fn the_other_repositories_are_green_too() {
        let (failed, broken, total) = run_tests(checkout("warehouse").path());
        assert!(failed.is_empty() && broken.is_empty() && total == 5, "{failed:?} {broken:?}");
        assert!(files("shop-web").expect("files").iter().any(|(name, _)| name == "src/format.js"));
    }

    #[test]
    fn the_ticket_and_its_script_load() {
        let ticket = ticket("SHOP-1").expect("ticket");
        assert_eq!((ticket.key.as_deref(), ticket.project()), (Some("SHOP-1"), Some("SHOP")));
        let agents: Vec<String> =
            script("SHOP-1").expect("script").conversations.into_iter().filter_map(|c| c.agent).collect();
        assert_eq!(agents, ["discovery", "planning", "execution", "execution"]);
    }

    #[test]
    fn the_sample_error_quotes_lines_that_are_there() {
        let files: Vec<(String, Vec<u8>)> = files("shop-api").expect("files");
        let own = error().frames.into_iter().filter(|frame| frame.in_app);
        for frame in own {
            let (_, content) = files.iter().find(|(name, _)| *name == frame.file).expect("the file exists");
            let text = String::from_utf8_lossy(content);
            let line = text.lines().nth(frame.line as usize - 1).expect("the line exists").trim();
            assert_eq!(line, frame.text, "{}:{}", frame.file, frame.line);
        }
    }
}
