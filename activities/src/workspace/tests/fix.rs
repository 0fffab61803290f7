//! The repository's own fixers, run in the real sandbox.

use serde_json::json;
use workflows::contract::workspace::{Fix, FixKind};

use super::*;

/// A formatter that swaps two words.
const TIDY: &str = "import pathlib\nfor path in pathlib.Path('shop').glob('*.py'):\n    path.write_text(path.read_text().replace('price - discount', '-discount + price'))\n";

fn fix(workspace: &Workspace, kinds: &[FixKind]) -> Fix {
    Fix { workspace: workspace.clone(), kinds: kinds.to_vec(), command_seconds: 60 }
}

#[tokio::test]
async fn the_repositorys_formatter_mends_its_files() {
    let settings = "format = \"python3 tidy.py\"\nlint = \"echo two problems; exit 2\"\n";
    let files = [("shop/pricing.py", PRICING), ("tidy.py", TIDY), ("ticketwright.toml", settings)];
    let bench = Bench::with(&files).await;
    let request = fix(&bench.base(), &[FixKind::Format, FixKind::Lint]);
    let fixed = bench.worker.fix_for(&bench.claim(), request.clone()).await.unwrap();
    assert!(fixed.changed);
    assert_eq!(
        fixed.commands,
        ["echo two problems; exit 2 (exit 2: two problems)", "python3 tidy.py (exit 0)"],
        "a linter that finds more than it can mend stops nothing"
    );
    let (_, read) = bench.call(&fixed.workspace, "read_file", json!({"path": "shop/pricing.py"})).await;
    assert!(read.unwrap().contains("-discount + price"));

    // On another worker the same files come out, to the byte; run on its own result it changes nothing.
    let other = bench.another_worker().await;
    assert_eq!(other.fix_for(&bench.claim(), request).await.unwrap(), fixed);
    let again = other.fix_for(&bench.claim(), fix(&fixed.workspace, &[FixKind::Format])).await.unwrap();
    assert!(!again.changed && again.workspace == fixed.workspace);
}

#[tokio::test]
async fn without_a_fixer_nothing_runs_and_nothing_changes() {
    let bench = Bench::new().await;
    let kinds = [FixKind::Lint, FixKind::Format, FixKind::Lockfile];
    let fixed = bench.worker.fix_for(&bench.claim(), fix(&bench.base(), &kinds)).await.unwrap();
    assert!(!fixed.changed && fixed.commands.is_empty(), "{fixed:?}");
    assert_eq!(fixed.workspace, bench.base());
}

#[tokio::test]
async fn a_fixer_is_found_in_the_files_and_has_neither_network_nor_secrets() {
    let settings = "lint = \"env | grep -ci token; curl --max-time 5 https://example.com; echo x > seen\"\n";
    let bench = Bench::with(&[("go.mod", "module x\n"), ("a.go", "package x\nfunc  F( ) { }\n")]).await;
    let fixed = bench.worker.fix_for(&bench.claim(), fix(&bench.base(), &[FixKind::Format])).await.unwrap();
    assert_eq!(fixed.commands, ["gofmt -l -w . (exit 0)"]);
    assert!(fixed.changed);

    let bench = Bench::with(&[("ticketwright.toml", settings)]).await;
    let fixed = bench.worker.fix_for(&bench.claim(), fix(&bench.base(), &[FixKind::Lint])).await.unwrap();
    assert!(fixed.changed && fixed.commands[0].ends_with("(exit 0)"), "{:?}", fixed.commands);
}

#[tokio::test]
async fn a_faulty_settings_file_is_told() {
    let bench = Bench::with(&[("ticketwright.toml", "format = 7\n")]).await;
    let fixed = bench.worker.fix_for(&bench.claim(), fix(&bench.base(), &[FixKind::Format])).await.unwrap();
    assert!(!fixed.changed && fixed.commands[0].contains("a person must mend it"), "{:?}", fixed.commands);
}
