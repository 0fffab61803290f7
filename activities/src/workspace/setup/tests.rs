//! Where things are shown, and what a key depends on.

use std::os::unix::fs::symlink;

use super::*;
use plan::Entry;

#[test]
fn nothing_is_mounted_through_a_link_or_over_files() {
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path().join("files");
    std::fs::create_dir_all(files.join("kept/node_modules/a")).unwrap();
    std::fs::create_dir(directory.path().join("outside")).unwrap();
    symlink("../outside", files.join("web")).unwrap();
    std::fs::write(files.join("node_modules"), "a file").unwrap();
    let point = |place: &str| mount_point(&files, Path::new(place)).unwrap();
    assert!(!point("web/node_modules") && !point("node_modules") && !point("kept/node_modules"));
    assert!(point("app/node_modules") && files.join("app/node_modules").is_dir());
    assert!(std::fs::read_dir(directory.path().join("outside")).unwrap().next().is_none());
}

#[test]
fn the_key_follows_content_commands_and_tools() {
    let stage = |object: &str| {
        stage::Stage::with(vec![Entry { mode: "100644".into(), object: object.into(), path: "a".into() }], vec![])
    };
    let part = Part { title: "npm ci".into(), tools: vec!["npm".into()], ..Part::default() };
    let other = Part { online: "npm ci".into(), ..part.clone() };
    let moved = Part { placeholders: vec!["src/new.rs".into()], ..part.clone() };
    let usual = Settings::default();
    let (npm, more) = (Tooling::with(&["npm"]), Tooling::with(&["npm", "go"]));
    let first = key(&part, &stage("1"), &npm, &usual);
    assert_eq!(first, key(&part, &stage("1"), &more, &usual), "a tool it does not use");
    assert_eq!(first, key(&moved, &stage("1"), &npm, &usual), "a file whose content does not matter");
    assert_ne!(first, key(&part, &stage("2"), &npm, &usual));
    assert_ne!(first, key(&other, &stage("1"), &npm, &usual));
    let mirror = Settings { variables: vec![("PIP_INDEX_URL".into(), "https://a".into())], ..Settings::default() };
    assert_ne!(first, key(&part, &stage("1"), &npm, &mirror), "packages come from elsewhere");
    assert_ne!(first, key(&part, &stage("1"), &Tooling::default(), &usual), "npm is gone");
}

#[test]
fn settings_have_defaults_and_refuse_what_is_not_meant() {
    let settings: Settings = toml::from_str(
        "allow = [\"npm.acme.example\", \"pypi.acme.example:8443\"]\nupstream_addresses = [\"10.0.0.0/8\"]",
    )
    .unwrap();
    let hosts = settings.hosts();
    assert!(hosts.contains(&"pypi.org".to_owned()) && hosts.contains(&"pypi.acme.example:8443".to_owned()));
    assert!(settings.enabled && settings.limit_seconds == 420);
    for wrong in [
        "allow = [\"https://npm.acme.example\"]",
        "allow = [\"*.acme.example\"]",
        "upstream_addresses = [\"10\"]",
        "on = true",
    ] {
        assert!(toml::from_str::<Settings>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_file_set_is_asked_for_its_manifests_only() {
    let names = [
        "Cargo.toml",
        "src/lib.rs",
        "node_modules/a/package.json",
        "web/package.json",
        "testdata/go.mod",
        "requirements/dev.txt",
    ];
    let found: Vec<&str> = names.into_iter().filter(|name| plan::is_manifest(name)).collect();
    assert_eq!(found, ["Cargo.toml", "web/package.json", "requirements/dev.txt"]);
    assert!(Files::default().texts.is_empty());
}
