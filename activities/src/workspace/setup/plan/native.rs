//! Rust and Go: what their tools fetch by themselves, without compiling or running any of it.

use super::super::environment::{CARGO, GO, GO_BUILD};
use super::{Files, MOST_ROOTS, Part, Plan, below, is_below, missing, outermost, quote, split};
use crate::workspace::setup::tooling::Tooling;

pub(super) fn is_manifest(folders: &str, file: &str) -> bool {
    let of_cargo = folders.rsplit('/').next() == Some(".cargo") && matches!(file, "config.toml" | "config");
    of_cargo || matches!(file, "Cargo.toml" | "Cargo.lock" | "go.mod" | "go.sum" | "go.work" | "go.work.sum")
}

/// Adds each outermost package or workspace; they share one home.
pub(super) fn cargo(files: &Files, tooling: &Tooling, plan: &mut Plan) {
    let roots = outermost(files.directories_with(&["Cargo.toml"]));
    let lists = |path: &String| has_dependencies(files.text(path));
    let manifests = files.manifests(|file| matches!(file, "Cargo.toml" | "Cargo.lock" | "config.toml" | "config"));
    let vendored =
        files.texts.iter().any(|(path, text)| split(path).0.ends_with(".cargo") && text.contains("vendored-sources"));
    if roots.is_empty() || vendored || !manifests.iter().any(lists) {
        return;
    }
    let Some(first) = roots.first() else { return };
    if !tooling.has("cargo") {
        plan.notes.push(missing("cargo", first, "Cargo.toml"));
        return;
    }
    let fetch = |root: &String| {
        let place = quote(&below("/w", root));
        let locked = if files.has(&below(root, "Cargo.lock")) { "cargo fetch --locked || " } else { "" };
        format!("cd {place}\n{locked}cargo fetch\n")
    };
    // Cargo reads no manifest whose targets are missing.
    let placeholders = files.entries.iter().filter(|entry| entry.path.ends_with(".rs")).map(|entry| entry.path.clone());
    plan.parts.push(Part {
        title: "cargo fetch".into(),
        online: format!("set -e\n{}", roots.iter().map(fetch).collect::<String>()),
        manifests: Some(manifests),
        placeholders: placeholders.collect(),
        deps: vec![CARGO.into()],
        tools: vec!["cargo".into()],
        ..Part::default()
    });
}

fn has_dependencies(text: &str) -> bool {
    let Ok(table) = text.parse::<toml::Table>() else { return false };
    let listed = |table: &toml::Table| {
        ["dependencies", "dev-dependencies", "build-dependencies"].iter().any(|name| {
            table.get(*name).and_then(toml::Value::as_table).is_some_and(|listed| {
                // Packages of the repository itself need no registry.
                listed.values().any(|value| value.get("path").is_none() && value.get("workspace").is_none())
            })
        })
    };
    let workspace = table.get("workspace").and_then(toml::Value::as_table);
    let targets = table.get("target").and_then(toml::Value::as_table);
    listed(&table)
        || workspace.is_some_and(listed)
        || targets.is_some_and(|targets| targets.values().filter_map(toml::Value::as_table).any(listed))
}

/// Adds all modules, and the compiled standard library, which every test needs and which takes longest.
pub(super) fn go(files: &Files, tooling: &Tooling, plan: &mut Plan) {
    let mut roots = files.directories_with(&["go.mod"]);
    let Some(first) = roots.first().cloned() else { return };
    if !tooling.has("go") {
        plan.notes.push(missing("go", &first, "go.mod"));
        return;
    }
    plan.parts.push(Part {
        title: "go build std".into(),
        online: "go build std".into(),
        manifests: Some(Vec::new()),
        deps: vec![GO_BUILD.into()],
        tools: vec!["go".into()],
        ..Part::default()
    });
    let vendored = |root: &String| files.entries.iter().any(|entry| entry.path == below(root, "vendor/modules.txt"));
    roots.retain(|root| files.text(&below(root, "go.mod")).contains("require") && !vendored(root));
    if roots.len() > MOST_ROOTS {
        plan.notes.push(format!("Of {} Go modules the first {MOST_ROOTS} are set up.", roots.len()));
        roots.truncate(MOST_ROOTS);
    }
    if roots.is_empty() {
        return;
    }
    let download = |root: &String| format!("cd {}\ngo mod download\n", quote(&below("/w", root)));
    let manifests = files.manifests(|file| file.starts_with("go."));
    plan.parts.push(Part {
        title: "go mod download".into(),
        online: format!("set -e\n{}", roots.iter().map(download).collect::<String>()),
        manifests: Some(manifests.into_iter().filter(|path| is_below("", path)).collect()),
        deps: vec![GO.into()],
        tools: vec!["go".into()],
        ..Part::default()
    });
}
