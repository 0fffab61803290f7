//! What has to be installed for the files of a tree: told by lock files and manifests, or by `setup` in `ticketwright.toml`.

mod java;
mod native;
pub(super) mod node;
pub(super) mod python;

use std::collections::BTreeMap;

use serde::Serialize;

use super::tooling::Tooling;

/// Most places of one kind in a repository.
const MOST_ROOTS: usize = 8;
/// Most manifests that are looked at.
const MOST_MANIFESTS: usize = 2000;
/// Folders that hold other people's manifests, or no projects of their own.
const FOREIGN: [&str; 8] =
    ["node_modules", "vendor", "testdata", "fixtures", "__fixtures__", ".git", "third_party", "site-packages"];

/// A file of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Entry {
    /// `100644` or `100755`.
    pub(super) mode: String,
    /// Id of its content.
    pub(super) object: String,
    /// Path from the root.
    pub(super) path: String,
}

/// The files of a tree, and the content of its manifests.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    /// All regular files.
    pub(super) entries: Vec<Entry>,
    /// Text of those for which [`is_manifest`] holds.
    pub(super) texts: BTreeMap<String, String>,
}

impl Files {
    fn has(&self, path: &str) -> bool {
        self.entries.iter().any(|entry| entry.path == path)
    }

    fn text(&self, path: &str) -> &str {
        self.texts.get(path).map_or("", String::as_str)
    }

    /// Directories with a manifest of one of these names, outer ones first. The root is the empty path.
    fn directories_with(&self, names: &[&str]) -> Vec<String> {
        let mut found: Vec<String> = self
            .texts
            .keys()
            .filter_map(|path| {
                let (directory, file) = split(path);
                names.contains(&file).then(|| directory.to_owned())
            })
            .collect();
        found.sort_by_key(|directory| {
            (directory.matches('/').count() + usize::from(!directory.is_empty()), directory.clone())
        });
        found.dedup();
        found
    }

    /// Paths of manifests for which `wanted` holds of the file's name.
    fn manifests(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        self.texts.keys().filter(|path| wanted(split(path).1)).cloned().collect()
    }
}

/// Something to install, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Part {
    /// What people call it: `npm ci`.
    pub(super) title: String,
    /// Where in the repository; empty for its root.
    pub(super) root: String,
    /// Runs with the registries in reach, in the root.
    pub(super) online: String,
    /// Runs afterwards without any network: scripts of the packages. May fail.
    pub(super) offline: Option<String>,
    /// What shows that something is still missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trial: Option<Trial>,
    /// Paths of the files it sees. `None`: all.
    pub(super) manifests: Option<Vec<String>>,
    /// Files of the harness's own beside them.
    pub(super) written: BTreeMap<String, String>,
    /// Files that must exist, though what is in them does not matter. They are no part of the key.
    #[serde(skip)]
    pub(super) placeholders: Vec<String>,
    /// Directories below `/deps` that it fills, or `/deps` as a whole.
    pub(super) deps: Vec<String>,
    /// Whether directories of the name `node_modules` are part of what it makes.
    pub(super) node_modules: bool,
    /// The programs whose versions count.
    pub(super) tools: Vec<String>,
    /// What people and models should know.
    pub(super) notes: Vec<String>,
}

/// A build that tells what it lacks only when it runs, and would run other people's code then. It runs without any network, on
/// files of its own, and what is installed is read-only: nothing that it writes is there when the registries are in reach again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Trial {
    /// Runs without any network, and leaves a line for each thing that is missing in [`super::install::MISSING`]. May fail.
    pub(super) script: String,
    /// Files of the harness's own that only it sees.
    pub(super) written: BTreeMap<String, String>,
    /// Runs with the registries in reach, and gets what `$missing` names. May fail.
    pub(super) fetch: String,
}

/// What has to be installed.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// In this order.
    pub(super) parts: Vec<Part>,
    /// What cannot be, and why.
    pub(super) notes: Vec<String>,
}

/// The plan that a tree's own files suggest.
pub(super) fn detect(files: &Files, tooling: &Tooling) -> Plan {
    let mut plan = Plan::default();
    for detect in [python::detect, node::detect, native::cargo, native::go, java::maven, java::gradle] {
        detect(files, tooling, &mut plan);
    }
    plan
}

/// The plan of a repository that names its own commands. It sees all files and may fill every place.
pub(super) fn own(commands: &[String], tooling: &Tooling) -> Plan {
    if commands.iter().all(|command| command.trim().is_empty()) {
        return Plan::default();
    }
    // Commands that need no Python must not fail for a lack of it.
    let python = "python3 -m venv /deps/python || rm -rf /deps/python\n";
    let environment = if tooling.has("python3") { python } else { "" };
    let part = Part {
        title: format!("setup of ticketwright.toml ({})", commands.join("; ")),
        online: format!("set -e\n{environment}{}", commands.join("\n")),
        deps: vec![super::environment::DEPENDENCIES.into()],
        node_modules: true,
        tools: tooling.names(),
        ..Part::default()
    };
    Plan { parts: vec![part], notes: Vec::new() }
}

/// Whether the tree's dependencies bring pytest along.
pub(super) fn brings_pytest(files: &Files) -> bool {
    python::plans(files)
}

/// Whether a file tells what has to be installed.
pub(super) fn is_manifest(path: &str) -> bool {
    let (folders, file) = split(path);
    if folders.split('/').any(|folder| FOREIGN.contains(&folder)) {
        return false;
    }
    python::is_manifest(folders, file)
        || node::is_manifest(folders, file)
        || native::is_manifest(folders, file)
        || java::is_manifest(folders, file)
}

/// Whether a manifest is, or names, a program that its tool runs while it installs. What the base has of these counts, as its
/// `ticketwright.toml` does, since the tree's are a model's.
pub(in crate::workspace) fn is_program(path: &str) -> bool {
    let (folders, file) = split(path);
    let folder = folders.rsplit('/').next();
    let settings = [".npmrc", ".yarnrc", ".yarnrc.yml", ".pnpmfile.cjs"];
    java::is_build_script(folders, file)
        || file.ends_with(java::CATALOG)
        || settings.contains(&file)
        || node::is_plugin(folders, file)
        || matches!(folder, Some(".cargo" | ".mvn"))
        || matches!(file, "pom.xml" | "setup.py" | "pip.conf" | "uv.toml")
}

/// Whether two versions of a program do the same: of a `pom.xml` only the dependencies differ, which are names and versions, and
/// of Gradle's catalogues, which name plugins, only the versions.
fn does_the_same(path: &str, base: &str, tree: &str) -> bool {
    base == tree
        || split(path).1 == "pom.xml" && java::without_dependencies(base) == java::without_dependencies(tree)
        || path.ends_with(java::CATALOG) && java::differ_in_versions(base, tree)
}

/// The files of a tree, its programs replaced by the base's; the paths of those that were.
pub(super) fn with_programs_of(base: &Files, mut tree: Files) -> (Files, Vec<String>) {
    let of_base: BTreeMap<&str, &Entry> = base.entries.iter().map(|entry| (entry.path.as_str(), entry)).collect();
    let mut replaced = Vec::new();
    tree.entries.retain_mut(|entry| {
        if !is_manifest(&entry.path) || !is_program(&entry.path) {
            return true;
        }
        let path = entry.path.clone();
        let known = of_base.get(path.as_str()).filter(|_| base.texts.contains_key(&path));
        let text = tree.texts.get(&path).map_or("", String::as_str);
        if known.is_some_and(|known| known.object == entry.object || does_the_same(&path, base.text(&path), text)) {
            return true;
        }
        replaced.push(path.clone());
        tree.texts.remove(&path);
        let Some(known) = known else { return false };
        tree.texts.insert(path, base.text(&known.path).to_owned());
        *entry = (*known).clone();
        true
    });
    (tree, replaced)
}

impl Part {
    /// Whether a file it sees is another one at the base.
    pub(super) fn differs(&self, tree: &Files, base: &Files) -> bool {
        let object = |files: &Files, path: &str| {
            files.entries.iter().find(|entry| entry.path == path).map(|entry| entry.object.clone())
        };
        self.manifests.iter().flatten().any(|path| object(tree, path) != object(base, path))
    }
}

/// The manifests of a tree, at most so many as are looked at.
pub(super) fn manifests(entries: &[Entry]) -> Vec<&Entry> {
    entries.iter().filter(|entry| is_manifest(&entry.path)).take(MOST_MANIFESTS).collect()
}

/// Directory, which may be empty, and name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// A path below a root, which may be empty.
fn below(root: &str, path: &str) -> String {
    if root.is_empty() { path.to_owned() } else { format!("{root}/{path}") }
}

/// Whether `path` lies in `root`.
fn is_below(root: &str, path: &str) -> bool {
    root.is_empty() || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'))
}

/// Leaves out directories below others of the list, which is sorted by depth.
fn outermost(directories: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for directory in directories {
        if !kept.iter().any(|outer| is_below(outer, &directory)) {
            kept.push(directory);
        }
    }
    kept.truncate(MOST_ROOTS);
    kept
}

/// A word of a bash script.
pub(super) fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// What to say when a program is not there.
fn missing(tool: &str, root: &str, file: &str) -> String {
    format!("{} needs {tool}, which is not installed in the sandbox; nothing of it is set up.", below(root, file))
}

#[cfg(test)]
mod tests;
