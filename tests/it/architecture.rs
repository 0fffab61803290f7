//! The arrows between crates and the short dependency list of the domain, read from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

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

/// Each of our packages with the names of its normal dependencies.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = world::stack::project_root().join("Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version=1", "--manifest-path"]).arg(manifest);
    let metadata: Value = serde_json::from_slice(&cargo.output().unwrap().stdout).unwrap();
    let list = |value: &Value| value.as_array().cloned().unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let normal = |package: &Value| {
        let all = list(&package["dependencies"]).into_iter();
        all.filter(|dependency| dependency["kind"].is_null()).map(|dependency| name(&dependency)).collect()
    };
    list(&metadata["packages"]).iter().map(|package| (name(package), normal(package))).collect()
}

#[test]
fn arrows_between_crates_never_point_back() {
    let all = dependencies();
    let ours: BTreeSet<&str> = all.keys().map(String::as_str).collect();
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("workflows", &[] as &[&str]),
        ("activities", &["workflows"]),
        ("ingress", &["workflows"]),
        ("worker", &["activities", "ingress", "workflows"]),
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
