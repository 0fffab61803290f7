//! JavaScript: npm, yarn and pnpm. Packages come without their scripts, which then run without network.

use serde_json::Value;

use super::{Files, Part, Plan, below, is_below, missing, outermost};
use crate::workspace::setup::pinned;
use crate::workspace::setup::tooling::Tooling;

const LOCKS: [&str; 4] = ["package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml"];

/// How Yarn from 2 on is told to make what Node finds, and to leave alone which other Yarn and which scripts a repository names.
const BERRY: &str = "export YARN_IGNORE_PATH=1 YARN_NODE_LINKER=node-modules YARN_ENABLE_SCRIPTS=false \
                     YARN_ENABLE_GLOBAL_CACHE=false YARN_CACHE_FOLDER=/run/caches/cache/berry\n";
/// Said when packages are installed that the lock file does not name.
const AHEAD: &str = "echo 'the lock file does not fit package.json' > .ticketwright-note";

pub(super) fn is_manifest(folders: &str, file: &str) -> bool {
    LOCKS.contains(&file)
        || is_plugin(folders, file)
        || folders.ends_with(".yarn/patches")
        || matches!(
            file,
            "package.json" | "pnpm-workspace.yaml" | ".npmrc" | ".yarnrc" | ".yarnrc.yml" | ".nvmrc" | ".pnpmfile.cjs"
        )
}

/// Whether a file is part of Yarn as a repository has it.
pub(super) fn is_plugin(folders: &str, file: &str) -> bool {
    // One lets dependencies name files to run.
    folders.contains(".yarn/plugins") && file.ends_with(".cjs") && file != "plugin-exec.cjs"
}

/// Adds each place with a lock file, and the outermost without one.
pub(super) fn detect(files: &Files, tooling: &Tooling, plan: &mut Plan) {
    let mut roots = outermost(files.directories_with(&LOCKS));
    for root in outermost(files.directories_with(&["package.json"])) {
        if !roots.iter().any(|known| is_below(&root, known) || known == &root) {
            roots.push(root);
        }
    }
    for root in roots {
        let json = package(files, &root);
        let some = |field: &str| json[field].as_object().is_some_and(|listed| !listed.is_empty());
        let needs =
            ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"].into_iter().any(some)
                || !json["workspaces"].is_null()
                || files.has(&below(&root, "pnpm-workspace.yaml"));
        if !needs {
            continue;
        }
        if files.entries.iter().any(|entry| entry.path.starts_with(&below(&root, "node_modules/"))) {
            // The repository keeps its packages itself.
            continue;
        }
        if tooling.has("npm") {
            plan.parts.push(part(files, tooling, &root));
        } else {
            plan.notes.push(missing("npm", &root, "package.json"));
        }
    }
}

fn package(files: &Files, root: &str) -> Value {
    serde_json::from_str(files.text(&below(root, "package.json"))).unwrap_or_default()
}

fn part(files: &Files, tooling: &Tooling, root: &str) -> Part {
    let has = |name: &str| files.has(&below(root, name));
    let is_manifest = |path: &&String| {
        is_below(root, path) && {
            let (folders, file) = super::split(path);
            is_manifest(folders, file)
        }
    };
    let manifests = files.texts.keys().filter(is_manifest).cloned().collect();
    let mut part = Part {
        root: root.to_owned(),
        manifests: Some(manifests),
        node_modules: true,
        tools: vec!["node".into(), "npm".into()],
        ..Part::default()
    };
    let rebuild = Some("npm rebuild --offline --foreground-scripts".to_owned());
    if has("pnpm-lock.yaml") {
        let pnpm = pnpm(files, root, tooling);
        part.title = "pnpm install".into();
        part.tools.push("pnpm".into());
        let install = format!(
            "{pnpm} install --ignore-scripts --ignore-pnpmfile --store-dir /run/caches/cache/pnpm --package-import-method copy"
        );
        part.online = format!("{install} --frozen-lockfile || {{ {AHEAD}; {install} --no-frozen-lockfile; }}");
        part.offline = Some(format!("npm_config_store_dir=/run/caches/cache/pnpm {pnpm} --recursive rebuild"));
    } else if has("yarn.lock") {
        let install = yarn_install(files, root, tooling);
        part.title = "yarn install".into();
        part.tools.push("yarn".into());
        let (strict, loose) = if is_berry(files, root) {
            ("--immutable", "--no-immutable")
        } else {
            ("--frozen-lockfile", "--pure-lockfile")
        };
        let preparation = preparation(files, root);
        part.online = format!("{preparation}{install} {strict} || {{ {AHEAD}; {install} {loose}; }}");
        part.offline = rebuild;
    } else if LOCKS.iter().any(|lock| has(lock)) {
        part.title = "npm ci".into();
        // A manifest that was just changed is ahead of its lock file; the tests of that change need its packages.
        part.online =
            format!("npm ci --ignore-scripts || {{ {AHEAD}; npm install --ignore-scripts --no-package-lock; }}");
        part.offline = rebuild;
    } else {
        part.title = "npm install".into();
        part.online = "npm install --ignore-scripts --no-package-lock".into();
        part.offline = rebuild;
    }
    if !root.is_empty() {
        part.title.push_str(&format!(" in {root}"));
    }
    part
}

/// How pnpm is started: the sandbox's own where it reads this lock file, else the registry's.
pub(in super::super) fn pnpm(files: &Files, root: &str, tooling: &Tooling) -> String {
    let lock = files.text(&below(root, "pnpm-lock.yaml"));
    let wanted = named(&package(files, root), "pnpm").unwrap_or_else(|| {
        let format = lock.lines().find_map(|line| line.strip_prefix("lockfileVersion:")).unwrap_or_default();
        let generation = format.trim().trim_matches(['\'', '"']).split('.').next().and_then(|part| part.parse().ok());
        pinned::pnpm(generation.unwrap_or(u32::MAX)).to_owned()
    });
    // Each generation reads its own lock files.
    let generation = |version: &str| version.split('.').next().map(str::to_owned);
    let installed =
        tooling.versions(&["pnpm".to_owned()]).any(|(_, version)| generation(version) == generation(&wanted));
    if installed { "pnpm".to_owned() } else { format!("npx --yes pnpm@{wanted}") }
}

/// Whether the lock file is one of Yarn from 2 on.
fn is_berry(files: &Files, root: &str) -> bool {
    files.text(&below(root, "yarn.lock")).contains("__metadata:")
}

/// The version of Yarn from 2 on, as the repository names it or its lock file tells.
fn berry(files: &Files, root: &str) -> Option<String> {
    if !is_berry(files, root) {
        return None;
    }
    let named = named(&package(files, root), "yarn").filter(|version| !version.starts_with("1."));
    Some(named.unwrap_or_else(|| {
        let lock = files.text(&below(root, "yarn.lock"));
        let mut lines = lock.lines().skip_while(|line| !line.starts_with("__metadata:"));
        let generation = lines.find_map(|line| line.trim().strip_prefix("version:")?.trim().parse().ok());
        pinned::berry(generation.unwrap_or(u32::MAX)).to_owned()
    }))
}

/// Whether this Yarn runs files that a dependency names by `exec:` even where scripts are switched off.
fn runs_files(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    matches!((numbers.next(), numbers.next()), (Some(4), Some(minor)) if minor < 14)
}

/// What comes before Yarn in a script. Where it would run files, a later one that refuses them goes first, in a copy.
pub(in super::super) fn preparation(files: &Files, root: &str) -> String {
    let Some(version) = berry(files, root) else { return String::new() };
    let mut script = BERRY.to_owned();
    if runs_files(&version) {
        let careful =
            format!("npx --yes @yarnpkg/cli-dist@{} install --mode=skip-build --no-immutable", pinned::berry(u32::MAX));
        script.push_str("mkdir /run/caches/first && cp -r . /run/caches/first || exit 1\n");
        script.push_str(&format!(
            "(cd /run/caches/first && {careful} > said) || {{ cat /run/caches/first/said; exit 1; }}\n"
        ));
    }
    script
}

/// How Yarn installs, without any script: before 2 as the sandbox has it.
pub(in super::super) fn yarn_install(files: &Files, root: &str, tooling: &Tooling) -> String {
    let Some(version) = berry(files, root) else {
        let installed = tooling.versions(&["yarn".to_owned()]).any(|(_, version)| version.starts_with("1."));
        let yarn = if installed { "yarn".to_owned() } else { format!("npx --yes yarn@{}", pinned::YARN) };
        return format!("{yarn} install --ignore-scripts --non-interactive --no-progress");
    };
    // `enableScripts` is about packages only; the scripts of the project itself would run all the same.
    let no_scripts = if version.starts_with("2.") { "--skip-builds" } else { "--mode=skip-build" };
    format!("npx --yes @yarnpkg/cli-dist@{version} install {no_scripts}")
}

/// The version of a package manager that `packageManager` names, if it is a whole one.
fn named(package: &Value, manager: &str) -> Option<String> {
    let version = package["packageManager"].as_str()?.strip_prefix(manager)?.strip_prefix('@')?.split('+').next()?;
    let is_whole = version.split('.').count() == 3
        && version.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    is_whole.then(|| version.to_owned())
}
