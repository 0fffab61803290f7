//! Settings and support files of test runners. A proof is made with those of the base, so that a change cannot bring the rules
//! by which it is judged.

use serde_json::Value;

/// Files that hold nothing but settings of tests, or code that runs around all of them, by how their name begins.
const SUPPORT: [&str; 25] = [
    "conftest.py",
    "pytest.toml",
    ".pytest.toml",
    ".coveragerc",
    ".npmrc",
    "vite.config.",
    "pytest.ini",
    ".pytest.ini",
    "sitecustomize.py",
    "usercustomize.py",
    "pytest.py",
    "unittest.py",
    "jest.config.",
    "jest.setup.",
    "vitest.config.",
    "vitest.setup.",
    "vitest.workspace.",
    "setupTests.",
    "setup-tests.",
    "test-setup.",
    ".mocharc",
    "karma.conf.",
    "junit-platform.properties",
    ".nextest.toml",
    "nextest.toml",
];

/// Words in the headers of tables that are for test runners.
const TABLES: [&str; 6] = ["pytest", "tool:pytest", "unittest", "coverage", "testenv", "nose2"];
/// Tables of Cargo.toml that are for tests.
const CARGO_TABLES: [&str; 2] = ["test", "profile.test"];
/// Members of package.json that are for test runners.
const MEMBERS: [&str; 5] = ["jest", "vitest", "mocha", "ava", "scripts"];

/// Whether all of this file is for tests.
pub(super) fn is_support(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    SUPPORT.iter().any(|support| if support.ends_with('.') { name.starts_with(support) } else { name == *support })
        || path.starts_with(".config/nextest")
        || path.ends_with(".cargo/config.toml")
        || path.ends_with(".cargo/config")
        || name.starts_with(".mocharc")
}

/// Whether this file decides how code and tests alike are built or run, so that the base's form of it may not fit the change.
pub(super) fn shapes_tests(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let begins = ["tsconfig", "babel.config.", ".babelrc", ".swcrc", "build.gradle", "settings.gradle"];
    begins.iter().any(|begin| name.starts_with(begin)) || matches!(name, "pom.xml" | "noxfile.py" | "Makefile")
}

/// Whether a part of this file is for tests.
pub(super) fn is_mixed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    matches!(name, "pyproject.toml" | "setup.cfg" | "tox.ini" | "package.json" | "Cargo.toml")
}

/// The part of a mixed file that is for tests; equal parts are equal settings.
pub(super) fn part(path: &str, content: &str) -> String {
    if path.ends_with("package.json") {
        let parsed: Value = serde_json::from_str(content).unwrap_or_default();
        return MEMBERS
            .iter()
            .filter_map(|member| Some(format!("{member}: {}\n", of_package(&parsed, member)?)))
            .collect();
    }
    lines(content, true)
}

/// `head` with the part of `base`.
pub(super) fn with_part_of(path: &str, head: &str, base: &str) -> String {
    if path.ends_with("package.json") {
        let parsed = |content: &str| serde_json::from_str::<Value>(content).ok();
        let (Some(mut merged), Some(base)) = (parsed(head), parsed(base)) else { return head.to_owned() };
        if let Some(members) = merged.as_object_mut() {
            for member in MEMBERS {
                match base.get(member) {
                    Some(value) => members.insert(member.to_owned(), value.clone()),
                    None => members.remove(member),
                };
            }
        }
        return serde_json::to_string_pretty(&merged).unwrap_or_else(|_| head.to_owned());
    }
    format!("{}\n{}", lines(head, false), lines(base, true))
}

/// A member; of the scripts only those that run tests.
fn of_package(package: &Value, member: &str) -> Option<Value> {
    let value = package.get(member)?;
    if member != "scripts" {
        return Some(value.clone());
    }
    let scripts = value.as_object()?.iter().filter(|(name, _)| name.contains("test"));
    Some(scripts.map(|(name, script)| (name.clone(), script.clone())).collect::<serde_json::Map<_, _>>().into())
}

/// The lines of the tables for tests, or all others.
fn lines(content: &str, of_tests: bool) -> String {
    let (mut inside, mut in_tool, mut out) = (false, false, String::new());
    for line in content.lines() {
        let header = line.split('#').next().unwrap_or_default().trim();
        // `[tool.pytest.ini_options]`, `[tool:pytest]`, `[testenv:py3]`; a list in a table never ends in a bracket of its own.
        if line.starts_with('[') && header.ends_with(']') && !header.contains([',', '"', '=']) {
            let words = header.trim_matches(['[', ']']);
            in_tool = words == "tool";
            inside =
                TABLES.iter().any(|table| words.split(['.', ' ', ':']).any(|word| word == *table) || words == *table)
                    || CARGO_TABLES.contains(&words);
        }
        // `pytest.ini_options = { ... }` below `[tool]`
        let dotted = in_tool && line.trim_start().starts_with("pytest.");
        if (inside || dotted) == of_tests {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_tests_are_known() {
        for path in [
            "conftest.py",
            ".cargo/config.toml",
            "vite.config.ts",
            "a/conftest.py",
            "jest.config.ts",
            "src/setupTests.js",
            "pytest.ini",
            ".mocharc.json",
        ] {
            assert!(is_support(path), "{path}");
        }
        for path in ["tests/test_a.py", "my_conftest.py", "config.py", "jest.py", "conftest.pyc"] {
            assert!(!is_support(path), "{path}");
        }
    }

    #[test]
    fn a_mixed_file_takes_the_part_of_the_base() {
        let base = "[project]\nname = \"a\"\n\n[tool.pytest.ini_options]\naddopts = \"-q\"\n\n[tool.ruff]\nx = 1\n";
        let head = base.replace("name = \"a\"", "name = \"a\"\ndependencies = [\"b\"]");
        assert_eq!(part("pyproject.toml", base), part("pyproject.toml", &head));
        let head = head.replace("-q", "--deselect x");
        assert_ne!(part("pyproject.toml", base), part("pyproject.toml", &head));
        let merged = with_part_of("pyproject.toml", &head, base);
        assert!(merged.contains("dependencies") && merged.contains("-q") && !merged.contains("--deselect"), "{merged}");
        assert!(merged.parse::<toml::Table>().is_ok());

        let dotted = "[tool]\npytest.ini_options = { addopts = \"-q\" }\n";
        assert!(part("pyproject.toml", dotted).contains("addopts"));
        let cargo = "[package]\nname = \"a\"\n\n[[test]]\nname = \"b\"\nharness = false\n";
        assert!(part("Cargo.toml", cargo).contains("harness") && !part("Cargo.toml", cargo).contains("package"));

        let base = r#"{"scripts": {"test": "jest", "build": "x"}, "dependencies": {}}"#;
        let head =
            r#"{"scripts": {"test": "jest --passWithNoTests", "build": "y"}, "dependencies": {"a": "1"}, "jest": {}}"#;
        assert_ne!(part("package.json", base), part("package.json", head));
        let merged = with_part_of("package.json", head, base);
        assert!(merged.contains("\"a\": \"1\"") && !merged.contains("passWithNoTests"), "{merged}");
        assert_eq!(part("package.json", base), part("package.json", &merged));
    }
}
