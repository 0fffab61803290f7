//! JavaScript: npm, yarn and pnpm. Packages come without their scripts, which then run without network.

use super::{Files, Part, Plan, below, is_below, missing, outermost};
use crate::workspace::setup::tooling::Tooling;

const LOCKS: [&str; 4] = ["package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml"];

pub(super) fn is_manifest(file: &str) -> bool {
    LOCKS.contains(&file)
        || matches!(
            file,
            "package.json" | "pnpm-workspace.yaml" | ".npmrc" | ".yarnrc" | ".yarnrc.yml" | ".nvmrc" | ".pnpmfile.cjs"
        )
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
        let json: serde_json::Value =
            serde_json::from_str(files.text(&below(&root, "package.json"))).unwrap_or_default();
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
            plan.parts.push(part(files, tooling, &root, &json));
        } else {
            plan.notes.push(missing("npm", &root, "package.json"));
        }
    }
}

fn part(files: &Files, tooling: &Tooling, root: &str, package: &serde_json::Value) -> Part {
    let has = |name: &str| files.has(&below(root, name));
    let manifests = files.manifests(is_manifest).into_iter().filter(|path| is_below(root, path)).collect();
    let mut part = Part {
        root: root.to_owned(),
        manifests: Some(manifests),
        node_modules: true,
        tools: vec!["node".into(), "npm".into()],
        ..Part::default()
    };
    let rebuild = Some("npm rebuild --offline --foreground-scripts".to_owned());
    if has("pnpm-lock.yaml") {
        let wanted = pnpm_version(package, files.text(&below(root, "pnpm-lock.yaml")));
        // Each generation reads its own lock files.
        let installed = tooling
            .versions(&["pnpm".to_owned()])
            .any(|(_, version)| version.split('.').next() == wanted.split('.').next());
        let pnpm = if installed { "pnpm".to_owned() } else { format!("npx --yes pnpm@{wanted}") };
        part.title = "pnpm install".into();
        part.tools.push("pnpm".into());
        let install = format!(
            "{pnpm} install --ignore-scripts --ignore-pnpmfile --store-dir /run/caches/cache/pnpm --package-import-method copy"
        );
        part.online = format!("{install} --frozen-lockfile || {install} --no-frozen-lockfile");
        part.offline = Some(format!("npm_config_store_dir=/run/caches/cache/pnpm {pnpm} --recursive rebuild"));
    } else if has("yarn.lock") {
        let lock = files.text(&below(root, "yarn.lock"));
        part.title = "yarn install".into();
        part.tools.push("yarn".into());
        if lock.contains("__metadata:") {
            part.online =
                "export YARN_NODE_LINKER=node-modules YARN_ENABLE_SCRIPTS=false YARN_ENABLE_GLOBAL_CACHE=false \
                           YARN_CACHE_FOLDER=/run/caches/cache/berry YARN_ENABLE_IMMUTABLE_INSTALLS=false\n\
                           npx --yes @yarnpkg/cli-dist@4 install"
                    .into();
        } else {
            let yarn = program(tooling, "yarn", "1.22.22");
            part.online = format!(
                "{yarn} install --frozen-lockfile --ignore-scripts --non-interactive --no-progress \\\n\
                 || {yarn} install --pure-lockfile --ignore-scripts --non-interactive --no-progress"
            );
        }
        part.offline = rebuild;
    } else if LOCKS.iter().any(|lock| has(lock)) {
        part.title = "npm ci".into();
        // A manifest that was just changed is ahead of its lock file; the tests of that change need its packages.
        part.online =
            "npm ci --ignore-scripts || { echo 'the lock file does not fit package.json' > .ticketwright-note; \
                       npm install --ignore-scripts --no-package-lock; }"
                .into();
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

/// A package manager of the sandbox, or the same from the registry.
fn program(tooling: &Tooling, name: &str, version: &str) -> String {
    if tooling.has(name) { name.to_owned() } else { format!("npx --yes {name}@{version}") }
}

/// What `packageManager` names, or what reads this lock file.
fn pnpm_version(package: &serde_json::Value, lock: &str) -> String {
    let named = package["packageManager"].as_str().and_then(|named| named.strip_prefix("pnpm@"));
    let plain = |version: &&str| !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if let Some(version) = named.and_then(|named| named.split('+').next()).filter(plain) {
        return version.to_owned();
    }
    let format = lock.lines().find_map(|line| line.strip_prefix("lockfileVersion:")).unwrap_or_default();
    match format.trim().trim_matches(['\'', '"']).split('.').next() {
        Some("5") => "7".into(),
        Some("6") => "8".into(),
        _ => "9".into(),
    }
}
