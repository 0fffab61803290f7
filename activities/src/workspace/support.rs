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

/// What of a mixed file says how the code is built, found or started; equal parts do the same.
pub(super) fn build_part(path: &str, content: &str) -> String {
    const PACKAGE: [&str; 10] =
        ["scripts", "main", "module", "browser", "exports", "imports", "bin", "type", "types", "gypfile"];
    const CARGO: [&str; 6] = ["lib", "bin", "features", "build-dependencies", "patch", "workspace"];
    let name = path.rsplit('/').next().unwrap_or(path);
    if name == "package.json" {
        let members = members(content).unwrap_or_default();
        let build = members.iter().filter(|(key, _)| PACKAGE.contains(key));
        return build.map(|(key, value)| format!("{key}: {value}\n")).collect();
    }
    if name == "setup.cfg" {
        return sections(content, &["options.entry_points", "options", "build_ext"]);
    }
    let Ok(table) = content.parse::<toml::Table>() else { return content.to_owned() };
    let at = |keys: &[&str]| {
        let mut value = table.get(*keys.first()?)?;
        for key in &keys[1..] {
            value = value.get(key)?;
        }
        Some(format!("{}: {value}\n", keys.join(".")))
    };
    match name {
        "Cargo.toml" => {
            let package = ["build", "links", "edition", "default-run", "autobins"];
            CARGO
                .iter()
                .filter_map(|key| at(&[key]))
                .chain(package.iter().filter_map(|key| at(&["package", key])))
                .collect()
        }
        "pyproject.toml" => [
            &["build-system"][..],
            &["project", "scripts"],
            &["project", "gui-scripts"],
            &["project", "entry-points"],
            &["tool", "poetry", "scripts"],
            &["tool", "poetry", "build"],
            &["tool", "setuptools"],
            &["tool", "hatch", "build"],
            &["tool", "poe"],
            &["tool", "pdm"],
        ]
        .iter()
        .filter_map(|keys| at(keys))
        .collect(),
        _ => String::new(),
    }
}

/// The lines of some sections.
fn sections(content: &str, wanted: &[&str]) -> String {
    let mut inside = false;
    let lines = content.lines().filter(|line| {
        if let Some(header) = line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = wanted.contains(&header);
        }
        inside
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// `head` with the part of `base`.
pub(super) fn with_part_of(path: &str, head: &str, base: &str) -> String {
    if path.ends_with("package.json") {
        let (Some(ours), Some(base)) = (members(head), members(base)) else { return head.to_owned() };
        // In the order of the head: the order of conditions in `exports` decides which of them holds.
        let of_base = |key: &str| base.iter().find(|(known, _)| *known == key).copied();
        let kept = ours.iter().filter_map(
            |(key, value)| {
                if MEMBERS.contains(key) { of_base(key) } else { Some((*key, *value)) }
            },
        );
        let added =
            base.iter().copied().filter(|(key, _)| MEMBERS.contains(key) && !ours.iter().any(|(ours, _)| ours == key));
        let all: Vec<String> = kept.chain(added).map(|(key, value)| format!("  \"{key}\": {value}")).collect();
        return format!("{{\n{}\n}}\n", all.join(",\n"));
    }
    format!("{}\n{}", lines(head, false), lines(base, true))
}

/// The members of an object of JSON, as they are written. `None`: it is none.
fn members(content: &str) -> Option<Vec<(&str, &str)>> {
    serde_json::from_str::<Value>(content).ok()?.is_object().then_some(())?;
    let inner = content.trim_start_matches('\u{feff}').trim().strip_prefix('{')?.strip_suffix('}')?;
    let (mut found, mut start, mut colon) = (Vec::new(), 0, None);
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, c) in inner.char_indices().chain(std::iter::once((inner.len(), ','))) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.checked_sub(1)?,
            ':' if depth == 0 && colon.is_none() => colon = Some(at),
            ',' if depth == 0 => {
                if let Some(colon) = colon.take() {
                    let key = inner[start..colon].trim().strip_prefix('"')?.strip_suffix('"')?;
                    found.push((key, inner[colon + 1..at].trim()));
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    Some(found)
}

/// Files that the settings of a test runner name, as paths from the repository's root, perhaps without an ending: what it loads before
/// or around the tests. `path` is that of the settings, or of a file next to which its names lie.
pub(super) fn named(path: &str, content: &str) -> Vec<String> {
    const KEYS: [&str; 19] = [
        "setupFiles",
        "setupFilesAfterEnv",
        "globalSetup",
        "globalTeardown",
        "testEnvironment",
        "environment",
        "resolver",
        "runner",
        "testRunner",
        "reporters",
        "reporter",
        "snapshotSerializers",
        "preset",
        "extends",
        "require",
        "import",
        "file",
        "loader",
        "r",
    ];
    const PYTHON: [&str; 2] = ["pytest_plugins", "p"];
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let of_python = [".py", ".ini", ".toml", ".cfg"].iter().any(|end| path.ends_with(end));
    let mut found = Vec::new();
    for key in if of_python { &PYTHON[..] } else { &KEYS[..] } {
        for (at, _) in content.match_indices(key) {
            let (before, after) = (&content[..at], &content[at + key.len()..]);
            let word = |c: char| c.is_alphanumeric() || c == '_';
            let flag = before.ends_with('-');
            let assigned = after.trim_start_matches(['"', '\'', ' ']).starts_with([':', '=']);
            // `-p` and `-r` are nothing but flags; an import of JavaScript is no setting.
            let means = flag || assigned && key.len() > 1;
            if before.ends_with(word) || after.starts_with(word) || !means {
                continue;
            }
            // To the end of the list or of the line; what follows a flag is one name.
            let value = after.trim_start_matches(['"', '\'', ' ', '\t', ':', '=']);
            let end = if value.starts_with(['[', '(']) {
                value.find([']', ')'])
            } else if value.starts_with('\n') {
                // A list of YAML: its lines begin with a dash.
                let lines = value.lines().skip(1).take_while(|line| line.trim_start().starts_with("- "));
                Some(1 + lines.map(|line| line.len() + 1).sum::<usize>())
            } else {
                value.find('\n')
            };
            let value = &value[..end.unwrap_or(value.len()).min(value.len())];
            let parts = value.split(|c: char| c.is_whitespace() || "\"'`,[](){}=".contains(c));
            let parts = parts.filter(|part| !part.is_empty()).take(if flag { 1 } else { usize::MAX });
            found.extend(parts.filter_map(|part| from_root(folder, part)));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// A name in settings as a path from the repository's root: `<rootDir>/test/setup.js`, `./setup`, `tests.plugin`.
fn from_root(folder: &str, name: &str) -> Option<String> {
    let name = name.trim_end_matches(';');
    let inner = name.strip_prefix("<rootDir>").unwrap_or(name).trim_start_matches(['/', '.']).trim_end_matches('/');
    let plain = !inner.is_empty() && inner.chars().all(|c| c.is_alphanumeric() || "_-./@".contains(c));
    let module =
        plain && !name.contains('/') && !name.starts_with('.') && inner.contains('.') && !inner.ends_with("js");
    // A plug-in of Python has the name of a module.
    let ends = [".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".json", ".py"].iter().any(|end| inner.ends_with(end));
    let inner = if module && !ends { inner.replace('.', "/") } else { inner.to_owned() };
    plain.then(|| if folder.is_empty() { inner.clone() } else { format!("{folder}/{inner}") })
}

/// Whether a file is what settings name as `named`: the ending, and `index`, may be left out.
pub(super) fn is_named(path: &str, named: &str) -> bool {
    let stem = |path: &str| {
        path.rsplit_once('.').filter(|(_, end)| !end.contains('/')).map_or(path, |(stem, _)| stem).to_owned()
    };
    path == named
        || stem(path) == named
        || stem(path) == format!("{named}/index")
        || stem(path) == format!("{named}/__init__")
}

/// A member; of the scripts only those that run tests.
fn of_package(package: &Value, member: &str) -> Option<Value> {
    let value = package.get(member)?;
    if member != "scripts" {
        return Some(value.clone());
    }
    let scripts = value.as_object()?.iter().filter(|(name, _)| name.contains("test"));
    let scripts: serde_json::Map<_, _> = scripts.map(|(name, script)| (name.clone(), script.clone())).collect();
    (!scripts.is_empty()).then(|| scripts.into())
}

/// The lines of the tables for tests, or all others.
fn lines(content: &str, of_tests: bool) -> String {
    let (mut inside, mut in_tool, mut opened, mut out) = (false, false, false, String::new());
    for line in content.lines() {
        let header = line.split('#').next().unwrap_or_default().trim();
        // `[tool.pytest.ini_options]`, `[tool:pytest]`, `[testenv:py3]`; a list in a table never ends in a bracket of its own.
        if line.starts_with('[') && header.ends_with(']') && !header.contains([',', '"', '=']) {
            let words = header.trim_matches(['[', ']']);
            (in_tool, opened) = (words == "tool", false);
            inside =
                TABLES.iter().any(|table| words.split(['.', ' ', ':']).any(|word| word == *table) || words == *table)
                    || CARGO_TABLES.contains(&words);
        }
        // `pytest.ini_options = { ... }` below `[tool]`
        let dotted = in_tool && line.trim_start().starts_with("pytest.");
        if dotted && of_tests {
            // As a table of its own: below another one it would belong to that.
            let line = line.trim_start().trim_start_matches("pytest.");
            out.push_str(if std::mem::replace(&mut opened, true) { "" } else { "[tool.pytest]\n" });
            out.push_str(line);
            out.push('\n');
        } else if (inside || dotted) == of_tests {
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
        let base = format!("{dotted}\n[tool.ruff]\nx = 1\n");
        let head = base.replace("-q", "--deselect x");
        let merged = with_part_of("pyproject.toml", &head, &base).parse::<toml::Table>().unwrap();
        assert_eq!(merged["tool"]["pytest"]["ini_options"]["addopts"].as_str(), Some("-q"), "{merged:?}");
        assert!(merged["tool"]["ruff"].get("x").is_some() && merged["tool"]["ruff"].get("pytest").is_none());
        let cargo = "[package]\nname = \"a\"\n\n[[test]]\nname = \"b\"\nharness = false\n";
        assert!(part("Cargo.toml", cargo).contains("harness") && !part("Cargo.toml", cargo).contains("package"));

        let base = r#"{"scripts": {"test": "jest", "build": "x"}, "dependencies": {}}"#;
        let head =
            r#"{"scripts": {"test": "jest --passWithNoTests", "build": "y"}, "dependencies": {"a": "1"}, "jest": {}}"#;
        assert_ne!(part("package.json", base), part("package.json", head));
        let merged = with_part_of("package.json", head, base);
        assert!(merged.contains("\"a\": \"1\"") && !merged.contains("passWithNoTests"), "{merged}");
        assert_eq!(part("package.json", base), part("package.json", &merged));
        let order =
            r#"{"exports": {"import": "./a,b.mjs", "default": "./a\"}.js"}, "a": [1, {"b": 2}], "jest": {"x": 1}}"#;
        let merged = with_part_of("package.json", order, r#"{"scripts": {"test": "jest"}}"#);
        let expected = "{\n  \"exports\": {\"import\": \"./a,b.mjs\", \"default\": \"./a\\\"}.js\"},\n  \"a\": [1, {\"b\": 2}],\n  \"scripts\": {\"test\": \"jest\"}\n}\n";
        assert_eq!(merged, expected);
    }

    #[test]
    fn what_is_built_or_started_is_no_mere_setting() {
        let differs = |path: &str, before: &str, after: &str| build_part(path, before) != build_part(path, after);
        let package = r#"{"name": "a", "version": "1", "scripts": {"build": "x"}, "exports": {"a": 1, "b": 2}}"#;
        assert!(differs("package.json", package, &package.replace("\"x\"", "\"x\", \"postinstall\": \"y\"")));
        assert!(differs("package.json", package, &package.replace(r#"{"a": 1, "b": 2}"#, r#"{"b": 2, "a": 1}"#)));
        assert!(!differs("package.json", package, &package.replace("\"version\": \"1\"", "\"version\": \"2\"")));
        let cargo = "[package]\nname = \"a\"\nversion = \"1\"\n";
        assert!(differs("Cargo.toml", cargo, &format!("{cargo}build = \"x.rs\"\n")));
        assert!(differs("a/Cargo.toml", cargo, &format!("{cargo}[lib]\npath = \"x.rs\"\n")));
        assert!(!differs("Cargo.toml", cargo, &format!("{cargo}license = \"MIT\"\n[dependencies]\nb = \"1\"\n")));
        let python = "[project]\nname = \"a\"\n";
        assert!(differs("pyproject.toml", python, &format!("{python}[build-system]\nrequires = [\"x\"]\n")));
        assert!(!differs("pyproject.toml", python, &format!("{python}[tool.ruff]\nline-length = 100\n")));
        assert!(differs("setup.cfg", "", "[options.entry_points]\nconsole_scripts =\n  a = b:c\n"));
    }

    #[test]
    fn settings_name_what_runs_around_the_tests() {
        let jest = "module.exports = {\n  setupFilesAfterEnv: ['<rootDir>/test/setup.js', './more'],\n  collectCoverageFrom: ['src/cart.js'],\n};\n";
        let found = named("jest.config.js", jest);
        assert!(found.iter().any(|it| is_named("test/setup.js", it)) && found.iter().any(|it| is_named("more.ts", it)));
        assert!(!found.iter().any(|it| is_named("src/cart.js", it)), "{found:?}");
        let mocha = "require:\n  - ./test/hooks\nfile: ./test/before.cjs\nspec: test/*.js\n";
        let found = named("app/.mocharc.yml", mocha);
        assert!(
            ["app/test/before.cjs", "app/test/hooks.js"].iter().all(|path| found.iter().any(|it| is_named(path, it)))
        );
        let scripts = "scripts: {\"test\":\"mocha --require ./test/hooks -r tools/x.js test/cart.test.js\"}\n";
        let found = named("package.json", scripts);
        assert!(
            found.iter().any(|it| is_named("test/hooks.js", it)) && found.iter().any(|it| is_named("tools/x.js", it))
        );
        let plugins = named("conftest.py", "import shop\npytest_plugins = [\"tests.plugin\", 'shop']\n");
        assert!(plugins.iter().any(|it| is_named("tests/plugin.py", it)), "{plugins:?}");
        assert!(
            named("jest.setup.js", "import { total } from './src/cart';\nconst x = require('./src/tax');\n").is_empty()
        );
        assert!(named("pytest.ini", "addopts = -q -p tools.report\n").iter().any(|it| is_named("tools/report.py", it)));
    }
}
