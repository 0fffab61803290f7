//! What a repository says about itself: `ticketwright.toml` of the base commit, or what its files suggest.

use serde::Deserialize;

use super::git::{Git, GitFailed};
use super::objects::Files;
use super::paths::InnerPath;
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
        let faulty = |why: String| format!("{FILE} of the base commit is faulty; a person must mend it: {why}");
        let written = show(git, commit, FILE).await?;
        match written.and_then(|text| toml::from_str(&text).map_err(|error| error.to_string())) {
            Ok(written) => repository = written,
            Err(why) => return Ok(Err(faulty(why))),
        }
    }
    if repository.test.is_none() {
        let package =
            if names.contains(&"package.json") { show(git, commit, "package.json").await? } else { Ok(String::new()) };
        let package = package.unwrap_or_default();
        let makefile =
            if names.contains(&"Makefile") { show(git, commit, "Makefile").await? } else { Ok(String::new()) };
        let makefile = makefile.unwrap_or_default();
        let pytest = tools.pytest || super::setup::brings_pytest(git, commit, &names).await?;
        repository.test = detect(&names, &package, &makefile, Tools { pytest });
    }
    Ok(Ok(repository))
}

/// Paths of all files of `commit` whose names are text. No settings, tests or manifests have others.
pub(super) async fn names(git: &Git, commit: &str) -> Result<Vec<String>, ServiceError> {
    let listed = git.run(["ls-tree", "-r", "-z", "--name-only", commit]).await.map_err(GitFailed::unexpected)?;
    let names = listed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| String::from_utf8(name.to_owned()).ok()).collect())
}

/// Text of a file of `commit`. Links are followed as long as they stay inside.
///
/// # Errors
/// Inner: why it cannot be read, a sentence.
pub(super) async fn show(git: &Git, commit: &str, path: &str) -> Result<Result<String, String>, ServiceError> {
    let path = match InnerPath::parse(path) {
        Ok(path) => path,
        Err(why) => return Ok(Err(why)),
    };
    let bytes = Files { git, tree: commit }.read(&path).await?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// What the files of a commit tell of its tools.
#[derive(Debug, Default)]
pub(super) struct Traits {
    /// Paths of all files.
    pub(super) names: Vec<String>,
    package: serde_json::Value,
    pyproject: toml::Table,
}

/// Endings of source files, and the language.
const LANGUAGES: [(&str, &str); 22] = [
    ("py", "Python"),
    ("ts", "TypeScript"),
    ("tsx", "TypeScript"),
    ("js", "JavaScript"),
    ("jsx", "JavaScript"),
    ("mjs", "JavaScript"),
    ("cjs", "JavaScript"),
    ("java", "Java"),
    ("kt", "Kotlin"),
    ("go", "Go"),
    ("rs", "Rust"),
    ("rb", "Ruby"),
    ("php", "PHP"),
    ("cs", "C#"),
    ("c", "C"),
    ("cc", "C++"),
    ("cpp", "C++"),
    ("hpp", "C++"),
    ("swift", "Swift"),
    ("scala", "Scala"),
    ("ex", "Elixir"),
    ("sh", "Shell"),
];

impl Traits {
    /// A file that cannot be read tells nothing.
    pub(super) async fn read(git: &Git, commit: &str) -> Result<Self, ServiceError> {
        Self::of(git, commit, names(git, commit).await?).await
    }

    /// As [`Self::read`], with the paths of all files.
    pub(super) async fn of(git: &Git, commit: &str, names: Vec<String>) -> Result<Self, ServiceError> {
        let mut traits = Self { names, ..Self::default() };
        if traits.has("package.json") {
            let text = show(git, commit, "package.json").await?.unwrap_or_default();
            traits.package = serde_json::from_str(&text).unwrap_or_default();
        }
        if traits.has("pyproject.toml") {
            let text = show(git, commit, "pyproject.toml").await?.unwrap_or_default();
            traits.pyproject = text.parse().unwrap_or_default();
        }
        Ok(traits)
    }

    /// Traits of these files, for tests.
    #[cfg(test)]
    pub(super) fn with(names: &[&str], package: &str, pyproject: &str) -> Self {
        Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            package: serde_json::from_str(package).unwrap_or_default(),
            pyproject: pyproject.parse().unwrap_or_default(),
        }
    }

    /// Whether there is this file.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|file| file == name)
    }

    fn begins(&self, prefix: &str) -> bool {
        self.names.iter().any(|file| file.starts_with(prefix))
    }

    /// `[tool.<name>]` of pyproject.toml.
    fn python_tool(&self, name: &str) -> bool {
        self.pyproject.get("tool").and_then(|tool| tool.get(name)).is_some()
    }

    /// A dependency of package.json.
    fn node_tool(&self, name: &str) -> bool {
        let listed = |field: &str| self.package[field].get(name).is_some();
        listed("devDependencies") || listed("dependencies")
    }

    fn ruff(&self) -> bool {
        self.has("ruff.toml") || self.has(".ruff.toml") || self.python_tool("ruff")
    }

    /// Commands that check style, one per linter.
    pub(super) fn lint(&self) -> Vec<&'static str> {
        let eslint = self.begins("eslint.config.") || self.begins(".eslintrc") || self.node_tool("eslint");
        let known = [
            (self.ruff(), "ruff check ."),
            (eslint, "npx --no-install eslint ."),
            (self.has("Cargo.toml"), "cargo clippy --all-targets --offline"),
        ];
        known.into_iter().filter_map(|(is_used, command)| is_used.then_some(command)).collect()
    }

    /// Commands that format all files, one per formatter.
    pub(super) fn format(&self) -> Vec<&'static str> {
        let black = self.python_tool("black");
        let prettier = self.begins(".prettierrc") || self.begins("prettier.config.") || self.node_tool("prettier");
        let known = [
            (black, "black ."),
            (!black && self.ruff(), "ruff format ."),
            (self.python_tool("isort"), "isort ."),
            (prettier, "npx --no-install prettier --write ."),
            (self.has("Cargo.toml"), "cargo fmt --all"),
            (self.has("go.mod"), "gofmt -l -w ."),
        ];
        known.into_iter().filter_map(|(is_used, command)| is_used.then_some(command)).collect()
    }

    /// The languages it is written in, the one with most files first; those with less than a tenth of the files are left out.
    pub(super) fn language(&self) -> Option<String> {
        let mut counts: Vec<(usize, &str)> = Vec::new();
        for name in &self.names {
            let Some((_, ending)) = name.rsplit_once('.') else { continue };
            let Some((_, language)) = LANGUAGES.iter().find(|(known, _)| *known == ending) else { continue };
            match counts.iter_mut().find(|(_, known)| known == language) {
                Some((count, _)) => *count += 1,
                None => counts.push((1, language)),
            }
        }
        counts.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let all: usize = counts.iter().map(|(count, _)| count).sum();
        let named: Vec<&str> =
            counts.iter().filter(|(count, _)| count * 10 >= all).take(3).map(|(_, language)| *language).collect();
        (!named.is_empty()).then(|| named.join(", "))
    }
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
    fn linters_formatters_and_languages_are_found_in_the_files() {
        let python =
            Traits::with(&["pyproject.toml", "a/b.py", "c.py", "run.sh"], "", "[tool.ruff]\nline-length = 100\n");
        assert_eq!((python.lint(), python.format()), (vec!["ruff check ."], vec!["ruff format ."]));
        assert_eq!(python.language().unwrap(), "Python, Shell");
        let package = r#"{"devDependencies": {"eslint": "9", "prettier": "3"}}"#;
        let node = Traits::with(&["package.json", "src/a.ts", "src/b.tsx", "tool.js"], package, "");
        assert_eq!(node.lint(), ["npx --no-install eslint ."]);
        assert_eq!(node.format(), ["npx --no-install prettier --write ."]);
        assert_eq!(node.language().unwrap(), "TypeScript, JavaScript");
        assert_eq!(Traits::with(&["README.md"], "", "").language(), None);
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
