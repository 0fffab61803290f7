//! Python: uv, poetry, pipenv's lock file, requirements files, and the dependencies that pyproject.toml or setup.cfg list.
//! Wheels only, because building a package runs its code while the registries are in reach.

use std::collections::BTreeMap;

use super::super::environment::PYTHON;
use super::super::pinned;
use super::{Files, Part, Plan, below, missing, quote};
use crate::workspace::setup::tooling::Tooling;

/// Makes the environment. Its interpreter is the sandbox's own, at the same path later.
const ENVIRONMENT: &str = "python3 -m venv /deps/python\n";
/// Said when packages are installed that the lock file does not name.
const AHEAD: &str = "echo 'the lock file does not fit pyproject.toml' > .ticketwright-note";
/// Names of requirements files that tests need; others may be for other platforms and contradict them.
const REQUIREMENTS: [&str; 12] = [
    "requirements.txt",
    "requirements-dev.txt",
    "requirements_dev.txt",
    "requirements-test.txt",
    "requirements_test.txt",
    "requirements-tests.txt",
    "dev-requirements.txt",
    "test-requirements.txt",
    "requirements/base.txt",
    "requirements/dev.txt",
    "requirements/test.txt",
    "requirements/tests.txt",
];
/// Groups of dependencies that tests need.
const GROUPS: [&str; 6] = ["dev", "test", "tests", "testing", "develop", "development"];
/// The file we write for what other files list.
const LISTED: &str = ".ticketwright-requirements.txt";

pub(super) fn is_manifest(folders: &str, file: &str) -> bool {
    let of_requirements = |name: &str| {
        std::path::Path::new(name).extension().is_some_and(|extension| extension == "txt" || extension == "in")
            && (name.contains("requirements") || name.contains("constraints"))
    };
    matches!(
        file,
        "pyproject.toml"
            | "uv.lock"
            | "poetry.lock"
            | "Pipfile.lock"
            | "setup.cfg"
            | "setup.py"
            | "uv.toml"
            | "pip.conf"
    ) || of_requirements(file)
        || folders.rsplit('/').next() == Some("requirements") && file.ends_with(".txt")
}

/// Whether something is to be installed; pytest then comes along.
pub(super) fn plans(files: &Files) -> bool {
    roots(files).iter().any(|root| matches!(part(files, root, &Tooling::default()), Some(Ok(_))))
}

/// Adds the first place with Python dependencies; a virtual environment has one path.
pub(super) fn detect(files: &Files, tooling: &Tooling, plan: &mut Plan) {
    let roots = roots(files);
    let mut found = roots.iter().filter_map(|root| part(files, root, tooling).map(|part| (root, part)));
    let Some((root, first)) = found.next() else { return };
    match first {
        _ if !tooling.has("python3") => plan.notes.push(missing("python3", root, "pyproject.toml")),
        Ok(part) => plan.parts.push(part),
        Err(why) => plan.notes.push(why),
    }
    let others: Vec<&str> = found.map(|(root, _)| root.as_str()).take(5).collect();
    if !others.is_empty() {
        plan.notes.push(format!(
            "The Python dependencies of {} are not installed, only those of {}. `setup` in ticketwright.toml can name all.",
            others.join(", "),
            if root.is_empty() { "the root" } else { root }
        ));
    }
}

/// Directories that may have Python dependencies, outer ones first.
fn roots(files: &Files) -> Vec<String> {
    let names = ["uv.lock", "poetry.lock", "Pipfile.lock", "pyproject.toml", "setup.cfg", "setup.py"];
    let mut roots = files.directories_with(&names);
    let requirements = REQUIREMENTS.map(|name| name.rsplit('/').next().unwrap_or(name));
    for directory in files.directories_with(&requirements) {
        let directory = directory
            .strip_suffix("requirements")
            .map_or(directory.clone(), |outer| outer.trim_end_matches('/').to_owned());
        if !roots.contains(&directory) {
            roots.push(directory);
        }
    }
    roots.sort_by_key(|root| (root.matches('/').count() + usize::from(!root.is_empty()), root.clone()));
    roots.dedup();
    roots
}

/// What is to be installed for `root`, if anything.
fn part(files: &Files, root: &str, tooling: &Tooling) -> Option<Result<Part, String>> {
    let has = |name: &str| files.has(&below(root, name));
    let manifests =
        files.texts.keys().filter(|path| is_manifest(super::split(path).0, super::split(path).1)).cloned().collect();
    let mut part = Part {
        root: root.to_owned(),
        manifests: Some(manifests),
        deps: vec![PYTHON.into()],
        tools: vec!["python3".into()],
        ..Part::default()
    };
    // The project itself is not installed: its source is not here. Its modules are found where they lie.
    let mut places = vec![below("/w", root)];
    let src = below(root, "src/");
    if files.entries.iter().any(|entry| entry.path.starts_with(&src) && entry.path.ends_with(".py")) {
        places.push(below("/w", &below(root, "src")));
    }
    let places: Vec<String> = places.iter().map(|place| quote(place.trim_end_matches('/'))).collect();
    // A package may run code whenever this interpreter starts, so that none is started any more, as long as the registries are in
    // reach: pytest comes first, in the version that the packages want if they want another.
    let begin = format!("{ENVIRONMENT}python -m pip install --quiet --only-binary :all: pytest=={}\n", pinned::PYTEST);
    let end = format!(
        "\nfor site in {PYTHON}/lib/python3*/site-packages; do printf '%s\\n' {} > \"$site/workspace.pth\"; done\n",
        places.join(" ")
    );
    if has("uv.lock") {
        part.title = "uv sync".into();
        part.tools.push("uv".into());
        part.online = format!(
            "set -e\n{}\nexport VIRTUAL_ENV={PYTHON}\n{begin}\
             sync='sync --inexact --no-install-project --no-install-workspace --no-install-local --no-build --quiet'\n\
             $tool $sync --locked --all-extras --all-groups \\\n\
             || {{ $tool $sync --all-extras --all-groups && {AHEAD}; }} || $tool $sync --frozen{end}",
            uv(tooling)
        );
        return Some(Ok(part));
    }
    if has("poetry.lock") {
        part.written = without_plugins(files);
        part.title = "poetry install".into();
        part.tools.push("poetry".into());
        part.online = format!(
            "set -e\n{}\n{begin}export VIRTUAL_ENV={PYTHON} POETRY_INSTALLER_ONLY_BINARY=:all:\n\
             install='install --no-root --no-directory --no-interaction --all-extras --quiet'\n\
             $tool $install || {{ $tool lock --no-interaction --quiet && $tool $install && {AHEAD}; }}{end}",
            poetry(tooling)
        );
        return Some(Ok(part));
    }

    let mut listed = Vec::new();
    let mut left_out = Vec::new();
    let mut arguments = Vec::new();
    if has("Pipfile.lock") {
        listed = pipenv(files.text(&below(root, "Pipfile.lock")));
    } else {
        for name in REQUIREMENTS.iter().filter(|name| has(name)) {
            arguments.push(format!("-r {name}"));
        }
        let project = pyproject(files.text(&below(root, "pyproject.toml")));
        listed.extend(project);
        listed.extend(setup_cfg(files.text(&below(root, "setup.cfg"))));
        let names_in_code = has("setup.py") && arguments.is_empty() && listed.is_empty();
        if names_in_code && files.text(&below(root, "setup.py")).contains("install_requires") {
            return Some(Err(format!(
                "{} lists dependencies in code, which is not run to find them. Add a requirements.txt, or name the command as \
                 `setup` in ticketwright.toml.",
                below(root, "setup.py")
            )));
        }
    }
    // Any file may include any other, so none is left as it is.
    for (path, text) in files.texts.iter().filter(|(path, _)| is_list(path)) {
        let (kept, foreign) = installable(text);
        part.written.insert(path.clone(), kept);
        left_out.extend(foreign.into_iter().filter(|_| super::is_below(root, path)));
    }
    let (listed, _) = installable(&listed.join("\n"));
    if !listed.is_empty() {
        part.written.insert(below(root, LISTED), listed.clone());
        arguments.push(format!("-r {LISTED}"));
    }
    if arguments.is_empty() {
        return None;
    }
    left_out.sort_unstable();
    left_out.dedup();
    if !left_out.is_empty() {
        part.notes.push(format!(
            "Not installed: {}. Modules of this repository are found where they lie.",
            left_out.join(", ")
        ));
    }
    let shown = if listed.is_empty() { arguments.join(" ") } else { "of the project's dependencies".to_owned() };
    part.title = format!("pip install {shown}");
    part.online =
        format!("set -e\n{begin}python -m pip install --quiet --only-binary :all: {}{end}", arguments.join(" "));
    Some(Ok(part))
}

/// Lets `$tool` be uv in a script.
pub(in super::super) fn uv(tooling: &Tooling) -> String {
    tool("uv", &[("uv", pinned::UV)], tooling)
}

/// Lets `$tool` be Poetry in a script. To find out what a package without a wheel needs, it would run the package's own code; the
/// environment that it builds in cannot be made.
pub(in super::super) fn poetry(tooling: &Tooling) -> String {
    let packages = [("poetry", pinned::POETRY), ("poetry-plugin-pypi-mirror", pinned::POETRY_MIRROR)];
    format!("export VIRTUALENV_CREATOR=wheels-only\n{}", tool("poetry", &packages, tooling))
}

/// The projects of Poetry without the plugins that they want: it would install them, and run them at once.
pub(in super::super) fn without_plugins(files: &Files) -> BTreeMap<String, String> {
    let projects = files.texts.iter().filter(|(path, _)| super::split(path).1 == "pyproject.toml");
    let changed = projects.filter_map(|(path, text)| {
        let mut table = text.parse::<toml::Table>().ok()?;
        table.get_mut("tool")?.get_mut("poetry")?.as_table_mut()?.remove("requires-plugins")?;
        Some((path.clone(), table.to_string()))
    });
    changed.collect()
}

/// The sandbox's own, or wheels of the index, so it need not be in the image.
fn tool(name: &str, packages: &[(&str, &str)], tooling: &Tooling) -> String {
    if tooling.has(name) {
        return format!("tool={name}");
    }
    let packages: Vec<String> = packages.iter().map(|(name, version)| format!("{name}=={version}")).collect();
    format!(
        "python3 -m venv .ticketwright-tool\n.ticketwright-tool/bin/python -m pip install --quiet --only-binary :all: {}\n\
         tool=$PWD/.ticketwright-tool/bin/{name}",
        packages.join(" ")
    )
}

/// Whether a file lists requirements.
fn is_list(path: &str) -> bool {
    let extension = std::path::Path::new(path).extension();
    extension.is_some_and(|extension| extension == "txt" || extension == "in")
}

/// Of a list of requirements what may be installed, one a line, and what may not: directories, checkouts and other hosts, which
/// cannot work here, and options that would let pip build packages, which runs their code. Lines are those that pip sees.
fn installable(text: &str) -> (String, Vec<String>) {
    // Python's str.splitlines().
    let ends = ['\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];
    let (mut kept, mut left_out, mut whole) = (String::new(), Vec::new(), String::new());
    for line in text.split(ends).chain([""]) {
        let is_comment = line.trim_start().starts_with('#');
        if line.ends_with('\\') && !is_comment {
            whole.push_str(line.trim_matches('\\'));
            continue;
        }
        if !is_comment {
            whole.push_str(line);
        }
        let line = std::mem::take(&mut whole);
        let line = line.split(" #").next().unwrap_or_default().split("\t#").next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if is_local(line) || line.starts_with('-') && !is_harmless(line) {
            left_out.push(line.to_owned());
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    (kept, left_out)
}

/// Whether a line with an option is a single one that is about where packages come from, or names another list.
fn is_harmless(line: &str) -> bool {
    let words: Vec<&str> =
        line.split(|c: char| c.is_whitespace() || c == '=').filter(|word| !word.is_empty()).collect();
    match words[..] {
        ["-r" | "--requirement" | "-c" | "--constraint", list] => is_list(list),
        ["-i" | "--index-url" | "--extra-index-url" | "--trusted-host", from] => !from.starts_with('-'),
        ["--pre" | "--prefer-binary" | "--require-hashes"] => true,
        _ => false,
    }
}

/// Whether a requirement is a directory, a checkout or a URL instead of a package of the index.
fn is_local(line: &str) -> bool {
    ["-e", "--editable", ".", "/", "file:", "git+", "hg+", "svn+", "bzr+"].iter().any(|begin| line.starts_with(begin))
        || line.contains(" @ file:")
        || line.contains(" @ git+")
        || line.contains("@ git+")
}

/// What `[project]` and the groups for development list (PEP 621, PEP 735).
fn pyproject(text: &str) -> Vec<String> {
    let Ok(table) = text.parse::<toml::Table>() else { return Vec::new() };
    let strings = |value: Option<&toml::Value>| -> Vec<String> {
        value
            .and_then(toml::Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(toml::Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let project = table.get("project");
    let mut listed = strings(project.and_then(|project| project.get("dependencies")));
    let groups = [project.and_then(|project| project.get("optional-dependencies")), table.get("dependency-groups")];
    for group in GROUPS {
        for from in groups.into_iter().flatten() {
            let mut open = vec![group.to_owned()];
            let mut seen = Vec::new();
            while let Some(name) = open.pop() {
                listed.extend(strings(from.get(&name)));
                let entries = from.get(&name).and_then(toml::Value::as_array).into_iter().flatten();
                let included = entries.filter_map(|entry| entry.get("include-group")?.as_str().map(str::to_owned));
                seen.push(name);
                open.extend(included.filter(|name| !seen.contains(name)));
            }
        }
    }
    // Poetry's own table, when there is no lock file.
    let poetry = table.get("tool").and_then(|tool| tool.get("poetry"));
    let tables = [
        poetry.and_then(|poetry| poetry.get("dependencies")),
        poetry.and_then(|poetry| poetry.get("dev-dependencies")),
        poetry.and_then(|poetry| poetry.get("group")?.get("dev")?.get("dependencies")),
        poetry.and_then(|poetry| poetry.get("group")?.get("test")?.get("dependencies")),
    ];
    for (name, version) in tables.into_iter().flatten().filter_map(toml::Value::as_table).flatten() {
        let version = version.as_str().or_else(|| version.get("version")?.as_str());
        if name != "python" {
            listed.push(format!("{name}{}", version.map(of_poetry).unwrap_or_default()));
        }
    }
    listed.sort();
    listed.dedup();
    listed
}

/// Poetry's `^1.2.3` and `~1.2` in pip's words.
fn of_poetry(version: &str) -> String {
    let first = |version: &str| version.split('.').next().and_then(|part| part.parse::<u64>().ok());
    match version.trim() {
        "*" => String::new(),
        caret if caret.starts_with('^') => {
            let low = caret.trim_start_matches('^');
            match first(low) {
                Some(0) => {
                    let minor = low.split('.').nth(1).and_then(|part| part.parse::<u64>().ok()).unwrap_or(0);
                    format!(">={low},<0.{}", minor + 1)
                }
                Some(major) => format!(">={low},<{}", major + 1),
                None => String::new(),
            }
        }
        tilde if tilde.starts_with('~') && !tilde.starts_with("~=") => {
            format!(">={0},=={1}.*", &tilde[1..], short(&tilde[1..]))
        }
        plain if plain.starts_with(|c: char| c.is_ascii_digit()) => format!("=={plain}"),
        other => other.to_owned(),
    }
}

/// The first two parts of a version.
fn short(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// The lists of `[options]` and of the extras for development.
fn setup_cfg(text: &str) -> Vec<String> {
    let (mut section, mut key) = (String::new(), String::new());
    let mut listed = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            (section, key) = (name.to_owned(), String::new());
            continue;
        }
        let mut value = trimmed;
        if !line.starts_with(char::is_whitespace) {
            let Some((name, rest)) = trimmed.split_once('=') else { continue };
            (key, value) = (name.trim().to_owned(), rest.trim());
        }
        let wanted = section == "options" && key == "install_requires"
            || section == "options.extras_require" && GROUPS.contains(&key.as_str());
        if wanted && !value.is_empty() {
            listed.push(value.to_owned());
        }
    }
    listed
}

/// The packages of pipenv's lock file, for use and for development.
fn pipenv(text: &str) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let packages = ["default", "develop"].iter().filter_map(|group| json[group].as_object()).flatten();
    let mut listed: Vec<String> = packages
        .filter_map(|(name, package)| {
            let marker = package["markers"].as_str().map(|marker| format!("; {marker}")).unwrap_or_default();
            Some(format!("{name}{}{marker}", package["version"].as_str()?))
        })
        .collect();
    listed.sort();
    listed.dedup();
    listed
}
