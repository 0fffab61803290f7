//! What a repository says about itself: `ticketwright.toml` of the base commit, or what its files suggest.

use serde::Deserialize;

use super::git::Git;
use super::setup::Commands;
use super::suite::{java, node};
use crate::failure::ServiceError;

/// Name of the settings file, at the root. Always read from the base commit: a change cannot change how it is judged.
pub(super) const FILE: &str = "ticketwright.toml";

/// Commands of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Repository {
    /// Installs dependencies, with package registries in reach; detected if it is not there.
    pub(super) setup: Option<Commands>,
    /// Runs the whole suite.
    pub(super) test: Option<String>,
    /// Checks style; may fix with its own flags.
    pub(super) lint: Option<String>,
    /// Formats all files.
    pub(super) format: Option<String>,
    /// Where `test` writes a JUnit report, for runners whose output is not understood.
    pub(super) junit: Option<String>,
}

/// What the host's sandbox offers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tools {
    /// `python3 -c 'import pytest'` works.
    pub(super) pytest: bool,
}

/// The settings of `commit`, filled up with what its files suggest.
///
/// # Errors
/// Inner: the file is faulty, told for people.
pub(super) async fn read(git: &Git, commit: &str, tools: Tools) -> Result<Result<Repository, String>, ServiceError> {
    let listed = names(git, commit).await?;
    let names: Vec<&str> = listed.iter().map(String::as_str).collect();
    let mut repository = Repository::default();
    if names.contains(&FILE) {
        let text = show(git, commit, FILE).await?;
        match toml::from_str(&text) {
            Ok(written) => repository = written,
            Err(error) => {
                return Ok(Err(format!("{FILE} of the base commit is faulty; a person must mend it: {error}")));
            }
        }
    }
    if repository.test.is_none() {
        let package =
            if names.contains(&"package.json") { show(git, commit, "package.json").await? } else { String::new() };
        let makefile = if names.contains(&"Makefile") { show(git, commit, "Makefile").await? } else { String::new() };
        let pytest = tools.pytest || super::setup::brings_pytest(git, commit, &names).await?;
        repository.test = detect(&names, &package, &makefile, Tools { pytest });
    }
    Ok(Ok(repository))
}

/// Paths of all files of `commit`.
pub(super) async fn names(git: &Git, commit: &str) -> Result<Vec<String>, ServiceError> {
    let listed =
        git.run(["ls-tree", "-r", "-z", "--name-only", commit]).await.map_err(super::git::GitFailed::unexpected)?;
    Ok(String::from_utf8_lossy(&listed).split_terminator('\0').map(str::to_owned).collect())
}

/// Text of a file of `commit`.
pub(super) async fn show(git: &Git, commit: &str, path: &str) -> Result<String, ServiceError> {
    let object = format!("{commit}:{path}");
    let bytes = git.run(["cat-file", "blob", &object]).await.map_err(super::git::GitFailed::unexpected)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn detect(names: &[&str], package: &str, makefile: &str, tools: Tools) -> Option<String> {
    let has = |name: &str| names.contains(&name);
    let in_tests = names.iter().any(|name| name.starts_with("tests/") && name.ends_with(".py"));
    let python_test = |name: &&str| {
        let file = name.rsplit('/').next().unwrap_or_default();
        file.starts_with("test_") && file.ends_with(".py")
    };
    let marked = ["pyproject.toml", "setup.cfg", "setup.py", "pytest.ini", "tox.ini"].into_iter().any(has);
    if marked || in_tests || names.iter().any(python_test) {
        return Some(match (tools.pytest, in_tests, has("tests/__init__.py")) {
            (true, ..) => "python3 -m pytest".to_owned(),
            (false, true, true) => "python3 -m unittest discover -s tests -t .".to_owned(),
            (false, true, false) => "python3 -m unittest discover -s tests".to_owned(),
            (false, false, _) => "python3 -m unittest discover".to_owned(),
        });
    }
    if let Some(command) = node::detect(package, names).or_else(|| java::detect(names)) {
        return Some(command);
    }
    if has("Cargo.toml") {
        return Some("cargo test --offline".to_owned());
    }
    if has("go.mod") {
        return Some("go test ./...".to_owned());
    }
    makefile.lines().any(|line| line.starts_with("test:")).then(|| "make test".to_owned())
}

/// Whether `path` is a test or belongs to the tests: data, fixtures, settings below a folder of tests.
pub(super) fn is_test(path: &str) -> bool {
    let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
    let folder =
        |name: &str| matches!(name, "test" | "tests" | "__tests__" | "spec" | "specs" | "testdata" | "__snapshots__");
    let stem = file.split('.').next().unwrap_or_default();
    folders.split('/').any(folder)
        || file == "conftest.py"
        || (file.ends_with(".py") && (stem.starts_with("test_") || stem.ends_with("_test")))
        || file.ends_with("_test.go")
        || matches!(file, "tests.py" | "tests.rs")
        || (file.ends_with(".rs") && (stem.ends_with("_test") || stem.ends_with("_tests")))
        || [".test.", ".spec."].iter().any(|part| file.contains(part))
        || (is_script(file)
            && (stem == "test" || stem.starts_with("test-") || stem.ends_with("-test") || stem.ends_with("_test")))
        || (file.ends_with(".java") && ["Test", "Tests", "IT", "Spec"].iter().any(|end| stem.ends_with(end)))
        || (file.ends_with(".java") && stem.starts_with("Test"))
}

fn is_script(file: &str) -> bool {
    let ending = file.rsplit_once('.').map_or("", |(_, ending)| ending);
    matches!(ending, "js" | "mjs" | "cjs" | "jsx" | "ts" | "mts" | "cts" | "tsx")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_command_is_found_in_the_files() {
        let detect =
            |names: &[&str], pytest| detect(names, r#"{"scripts":{"test":"jest"}}"#, "test: a\n", Tools { pytest });
        assert_eq!(detect(&["pyproject.toml"], true).unwrap(), "python3 -m pytest");
        assert_eq!(detect(&["tests/test_a.py"], false).unwrap(), "python3 -m unittest discover -s tests");
        assert_eq!(
            detect(&["tests/test_a.py", "tests/__init__.py"], false).unwrap(),
            "python3 -m unittest discover -s tests -t ."
        );
        assert_eq!(detect(&["test_a.py"], false).unwrap(), "python3 -m unittest discover");
        assert_eq!(detect(&["package.json"], false).unwrap(), "npm test --silent");
        assert_eq!(super::detect(&["Cargo.toml"], "", "", Tools { pytest: false }).unwrap(), "cargo test --offline");
        assert_eq!(super::detect(&["go.mod"], "", "", Tools { pytest: false }).unwrap(), "go test ./...");
        assert_eq!(super::detect(&["Makefile"], "", "all:\ntest: x\n", Tools { pytest: false }).unwrap(), "make test");
        assert_eq!(super::detect(&["README.md"], "", "", Tools { pytest: true }), None);
    }

    #[test]
    fn tests_are_told_by_their_place_or_name() {
        for test in [
            "tests/data/a.json",
            "a/test_b.py",
            "b_test.py",
            "x/y_test.go",
            "src/a.test.ts",
            "src/test/java/A.java",
            "src/ATest.java",
            "src/AIT.java",
            "app/tests.py",
            "src/cart_tests.rs",
            "test.js",
            "src/a-test.mjs",
            "test-a.js",
        ] {
            assert!(is_test(test), "{test}");
        }
        for other in [
            "src/a.py",
            "latest.py",
            "src/contest.go",
            "attest/x.rs",
            "src/test.md.rs/x",
            "src/testing.py",
            "src/latest.js",
        ] {
            assert!(!is_test(other), "{other}");
        }
    }
}
