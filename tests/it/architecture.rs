//! The arrows between crates and the short dependency list of the domain, read from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Direct dependencies of the domain. None of them does I/O. A new one is a reviewed change to this list.
const DOMAIN: [&str; 11] = [
    "futures",
    "hex",
    "minijinja",
    "schemars",
    "serde",
    "serde_json",
    "sha2",
    "temporalio-common-wasm",
    "temporalio-macros",
    "temporalio-workflow",
    "thiserror",
];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = world::stack::project_root().join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap();
    let direct = |package: &cargo_metadata::Package| {
        let normal = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
        normal.map(|d| d.name.clone()).collect::<BTreeSet<_>>()
    };
    metadata.packages.iter().map(|package| (package.name.to_string(), direct(package))).collect()
}

#[test]
fn arrows_between_crates_never_point_back() {
    let all = dependencies();
    let ours: BTreeSet<&str> = all.keys().map(String::as_str).collect();
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("workflows", &[] as &[&str]),
        ("activities", &["workflows"]),
        ("ingress", &["workflows"]),
        ("worker", &["activities", "workflows"]),
        ("tests", &["activities", "ingress", "worker", "workflows"]),
    ]);
    assert_eq!(ours, allowed.keys().copied().collect(), "the five crates");
    for (package, needed) in &all {
        for other in needed.iter().filter(|other| ours.contains(other.as_str())) {
            assert!(allowed[package.as_str()].contains(&other.as_str()), "{package} must not depend on {other}");
        }
    }
}

#[test]
fn the_domain_depends_on_no_io_crate() {
    let domain = &dependencies()["workflows"];
    let expected: BTreeSet<String> = DOMAIN.iter().map(|&name| name.to_owned()).chain(["tracing".to_owned()]).collect();
    assert_eq!(domain, &expected);
}
