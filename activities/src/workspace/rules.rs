//! Where linters, formatters and type checkers are told what to ask for: marks in the code, and their settings.

use std::path::Path;

/// What switches a rule off at one place, in small letters and without white space.
pub(super) const RULE_SWITCHES: [&str; 24] = [
    "#noqa",
    "#ruff:noqa",
    "#flake8:noqa",
    "#type:ignore",
    "#pyright:ignore",
    "#pyright:basic",
    "#mypy:",
    "#pylint:disable",
    "#nosec",
    "#fmt:off",
    "#fmt:skip",
    "eslint-disable",
    "biome-ignore",
    "prettier-ignore",
    "@ts-ignore",
    "@ts-expect-error",
    "@ts-nocheck",
    "#[allow(",
    "#![allow(",
    "#[expect(",
    "allow(clippy::",
    "//nolint",
    "rubocop:disable",
    "@suppresswarnings",
];

/// Files that hold nothing but such settings, by how their name begins.
const SETTINGS: [&str; 26] = [
    "ruff.toml",
    ".ruff.toml",
    ".flake8",
    "mypy.ini",
    ".mypy.ini",
    ".pylintrc",
    "pylintrc",
    "pyrightconfig.json",
    ".bandit",
    ".isort.cfg",
    ".eslintrc",
    ".eslintignore",
    "eslint.config.",
    ".prettierrc",
    ".prettierignore",
    "prettier.config.",
    "biome.json",
    "tslint.json",
    ".golangci.",
    "clippy.toml",
    ".clippy.toml",
    "rustfmt.toml",
    ".rustfmt.toml",
    ".rubocop",
    "checkstyle.xml",
    ".pre-commit-config.",
];

/// Tables of these tools, where a file has others as well.
const TOOLS: [&str; 14] = [
    "ruff",
    "flake8",
    "mypy",
    "pylint",
    "pyright",
    "basedpyright",
    "ty",
    "bandit",
    "black",
    "isort",
    "pycodestyle",
    "pytest",
    "coverage",
    "lints",
];

/// What a file tells linters, formatters and type checkers; empty where it tells them nothing.
pub(super) fn rules_of(path: &str, content: &str) -> String {
    let name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if SETTINGS.iter().any(|settings| name.starts_with(settings)) {
        return content.to_owned();
    }
    match name {
        "pyproject.toml" | "setup.cfg" | "tox.ini" | "Cargo.toml" => tables(content),
        "package.json" => members(content),
        _ if name.starts_with("tsconfig") && name.ends_with(".json") => content.to_owned(),
        _ => String::new(),
    }
}

/// The tables of the tools, as they are written. A setting before the first table counts when it names a tool.
fn tables(content: &str) -> String {
    let of_tool = |words: &str| {
        let mut words = words.split(|c: char| !c.is_alphanumeric());
        words.any(|word| TOOLS.contains(&word))
    };
    let (mut inside, mut out) = (None, String::new());
    for line in content.lines().map(str::trim).filter(|line| !line.is_empty()) {
        // `[tool.ruff.lint]`, `[[tool.mypy.overrides]]`, `[mypy-shop.*]`; a list inside a table never ends in a bracket of its own.
        let header = line.split('#').next().unwrap_or_default().trim();
        if header.starts_with('[') && header.ends_with(']') && !header.contains([',', '"', '=']) {
            inside = Some(of_tool(header));
        }
        let key = line.split('=').next().unwrap_or_default();
        if inside.unwrap_or(false) || inside.is_none() && of_tool(key) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// The members of package.json that hold settings of tools.
fn members(content: &str) -> String {
    const MEMBERS: [&str; 4] = ["eslintConfig", "eslintIgnore", "prettier", "stylelint"];
    let parsed: serde_json::Value = serde_json::from_str(content).unwrap_or_default();
    let set = MEMBERS.iter().filter_map(|member| Some(format!("{member}: {}\n", parsed.get(member)?)));
    set.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_rules_are_told_from_the_rest() {
        const PROJECT: &str = "[project]\ndependencies = [\n  \"attrs\",\n]\n[tool.ruff.lint]\nselect = [\"E\"]\n";
        let more = PROJECT.replace("\"attrs\",", "\"attrs\",\n  \"ruff\",");
        assert_eq!(rules_of("pyproject.toml", PROJECT), rules_of("pyproject.toml", &more), "a dependency is no rule");
        let less = PROJECT.replace("\"E\"", "");
        assert_ne!(rules_of("pyproject.toml", PROJECT), rules_of("pyproject.toml", &less));
        let table = format!("{PROJECT}[[tool.mypy.overrides]] # later\nignore_errors = true\n");
        assert_ne!(rules_of("api/pyproject.toml", PROJECT), rules_of("api/pyproject.toml", &table));
        assert_ne!(rules_of("setup.cfg", "[metadata]\nname = a\n[mypy-shop.*]\nignore_errors = True\n"), "");
        assert_eq!(rules_of("setup.cfg", "[metadata]\nname = a\n[options]\ninstall_requires = b\n"), "");
        assert_ne!(rules_of("Cargo.toml", "[dependencies]\na = \"1\"\n[lints.clippy]\nall = \"allow\"\n"), "");
        assert_eq!(rules_of("Cargo.toml", "[dependencies]\na = \"1\"\n"), "");
        assert_ne!(rules_of("web/.eslintrc.json", "{}"), "");
        assert_ne!(rules_of("package.json", r#"{"eslintConfig": {"rules": {}}}"#), "");
        assert_eq!(rules_of("package.json", r#"{"dependencies": {"eslint": "9"}}"#), "");
        assert_eq!(rules_of("shop/ruff.py", "x = 1"), "");
    }
}
