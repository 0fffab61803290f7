//! Snapshots: what they hold, how they build on each other, and what happens when something of them or of the caches is gone.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::*;

/// The tree of a workspace's files.
fn tree(bench: &Bench, workspace: &Workspace) -> String {
    match &workspace.snapshot {
        Some(snapshot) => snapshot.tree.to_string(),
        None => bench.git(&["rev-parse", &format!("{}^{{tree}}", workspace.base)]),
    }
}

impl Bench {
    async fn run(&self, workspace: &Workspace, command: &str) -> (Workspace, Result<String, String>) {
        self.call(workspace, "run_command", json!({"command": command})).await
    }

    fn blob(&self, digest: &workflows::contract::ids::Digest) -> PathBuf {
        let name = digest.as_str();
        self.directory.path().join("blobs/sha256").join(&name[..2]).join(name)
    }

    /// Mirrors of the bench's own worker.
    fn mirror(&self) -> PathBuf {
        let mirrors = self.worker.settings.mirrors();
        let name = names(&mirrors).into_iter().find(|name| name.ends_with(".git")).unwrap();
        mirrors.join(name)
    }
}

#[tokio::test]
async fn all_kinds_of_change_are_the_same_files_on_every_worker() {
    let bench = Bench::seeded(|seed| {
        put(seed, "windows.txt", b"one\r\ntwo\r\n");
        put(seed, "folder/inner.txt", b"inner\n");
        put(seed, "file", b"file\n");
        put(seed, "old/name.txt", b"renamed\n");
    })
    .await;
    let long = "n".repeat(250);
    let command = format!(
        "head -c 3000000 /dev/urandom > big.bin; chmod +x big.bin; chmod -x run.sh; rm shop/__init__.py; \
         mv old/name.txt old/other.txt; rm -r folder; echo now a file > folder; rm file; mkdir file; echo x > file/inner; \
         printf 'three\\r\\n' >> windows.txt; rm link; ln -s old link; ln -s /etc out; mkdir empty; echo long > {long}; \
         printf x > \"$(printf 'r\\351sum\\351.txt')\"; printf 'a' > 'tab\tand\nline'"
    );
    let (after, said) = bench.run(&bench.base(), &command).await;
    let said = said.unwrap();
    assert!(said.contains("A r\\xE9sum\\xE9.txt") && said.contains("A tab\\x09and\\x0Aline"), "{said}");
    assert!(said.contains("A file/inner") && said.contains("D file,"), "{said}");

    let look = json!({"command": "find . -path ./.git -prune -o -type f -printf '%m %s %p\\n' -o -type l -printf '%l %p\\n' | sort; sha256sum big.bin"});
    let other = bench.another_worker().await;
    let (same, there) = bench.call_on(&other, &after, "run_command", look.clone()).await;
    let (warm, here) = bench.call(&after, "run_command", look).await;
    let without_time = |said: Result<String, String>| said.unwrap().split_once('\n').unwrap().1.to_owned();
    assert_eq!(without_time(there), without_time(here));
    assert_eq!((&same, &warm), (&after, &after));

    let (_, listed) = bench.call(&after, "list_files", json!({})).await;
    let listed = listed.unwrap();
    assert!(listed.contains("r\\xE9sum\\xE9.txt\n") && listed.contains("tab\\x09and\\x0Aline\n"), "{listed}");
    let (_, read) = bench.call(&after, "read_file", json!({"path": "r\\xE9sum\\xE9.txt"})).await;
    assert_eq!(read.unwrap(), "     1\tx\n");
    let (back, reverted) = bench
        .run(
            &after,
            &format!(
                "git checkout -q -f . 2>&1; rm -rf * .gitignore; git ls-files | head -0; ls {long} 2>/dev/null; true"
            ),
        )
        .await;
    reverted.unwrap();
    assert_ne!(back, after);
}

#[tokio::test]
async fn names_in_another_encoding_can_be_worked_with() {
    let name = OsStr::from_bytes(b"docs/caf\xE9.txt");
    let bench = Bench::seeded(|seed| {
        put(seed, name, b"strong coffee\n");
        put(seed, "shop/pricing.py", PRICING.as_bytes());
        put(seed, "tests/test_pricing.py", TESTS.as_bytes());
    })
    .await;
    let base = bench.base();
    let shown = "docs/caf\\xE9.txt";
    let listed = bench.call(&base, "list_files", json!({"path": "docs"})).await.1.unwrap();
    assert_eq!(listed, format!("1 file\n{shown}\n"));
    let found = bench.call(&base, "search_text", json!({"pattern": "coffee"})).await.1.unwrap();
    assert_eq!(found, format!("{shown}:1:strong coffee\n"));
    let edit = json!({"path": shown, "old": "strong", "new": "weak"});
    let (edited, said) = bench.call(&base, "edit_file", edit).await;
    assert_eq!(said.unwrap(), format!("Edited {shown} at line 1."));
    let (same, said) = bench.run(&edited, "cat docs/*").await;
    assert!(said.unwrap().contains("weak coffee"));
    assert_eq!(same, edited);
    let request =
        Prove { base: base.clone(), head: edited, command_seconds: 60, without_tests: None, removed_tests: Vec::new() };
    let outcome = bench.worker.prove_for(&bench.claim(), request, Demand::Green).await.unwrap();
    assert!(matches!(outcome, ProofOutcome::Proven(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_folder_in_another_encoding_keeps_nobody_from_surveying() {
    let bench = Bench::seeded(|seed| {
        put(seed, OsStr::from_bytes(b"caf\xE9/AGENTS.md"), b"Speak softly.\n");
        put(seed, OsStr::from_bytes(b"caf\xE9/package.json"), b"{}\n");
        put(seed, "CLAUDE.md", b"Use tabs.\n");
        std::os::unix::fs::symlink("CLAUDE.md", seed.join("AGENTS.md")).unwrap();
        std::fs::create_dir(seed.join("out")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", seed.join("out/AGENTS.md")).unwrap();
        put(seed, "settings.toml", b"test = \"make check\"\nlint = \"make lint\"\n");
        std::os::unix::fs::symlink("settings.toml", seed.join("ticketwright.toml")).unwrap();
        put(seed, "go.mod", b"module shop\n");
        put(seed, "main.go", b"package main\n");
        put(seed, "big/AGENTS.md", "long\n".repeat(10_000).as_bytes());
        put(seed, "zeta/deep/AGENTS.md", b"Never here.\n");
    })
    .await;
    let survey = bench.worker.survey_for(&bench.claim(), survey_of(bench.base())).await.unwrap();
    let shown: Vec<_> = survey.conventions.iter().map(|found| (found.path.as_str(), found.text.len())).collect();
    assert_eq!(shown, [("AGENTS.md", 10), ("big/AGENTS.md", 32 * 1024 - 10)]);
    assert_eq!(survey.conventions[0].text, "Use tabs.\n");
    assert_eq!(survey.further, ["caf\\xE9/AGENTS.md", "out/AGENTS.md", "zeta/deep/AGENTS.md"]);
    let near = SurveyRequest { near: vec!["zeta/deep/new.go".into()], ..survey_of(bench.base()) };
    let nearer = bench.worker.survey_for(&bench.claim(), near).await.unwrap();
    assert_eq!(nearer.conventions[1].text, "Never here.\n");
    assert_eq!((survey.test.as_deref(), survey.lint.as_deref()), (Some("make check"), Some("make lint")));
    assert_eq!(
        (survey.format.as_deref(), survey.language.as_deref()),
        (Some("gofmt -l -w ."), Some("Go, Shell, Python"))
    );
    assert!(!survey.conventions.iter().any(|found| found.text.contains("root:")));
    let worker = bench.another_worker().await;
    let fixed = Fix {
        workspace: bench.base(),
        kinds: vec![workflows::contract::workspace::FixKind::Lint],
        command_seconds: 60,
    };
    worker.fix_for(&bench.claim(), fixed).await.unwrap();
}

#[tokio::test]
async fn a_copy_is_packed_anew_while_it_is_used() {
    let bench = Bench::new().await;
    let mut now = bench.base();
    for n in 0..4 {
        now = bench.write(&now, &format!("notes/{n}.txt"), &format!("note {n}\n")).await;
    }
    let other = bench.another_worker().await;
    bench.call_on(&other, &now, "list_files", json!({})).await.1.unwrap();
    let mirrors = other.settings.mirrors();
    let copy = names(&mirrors).into_iter().find(|name| name.ends_with(".git")).unwrap();
    let folder = mirrors.join(copy).join("objects/pack");
    let packs = || names(&folder).iter().filter(|name| name.ends_with(".pack")).count();
    let (before, cut) = (packs(), folder.join("tmp_pack_cut"));
    assert!(before >= 4, "{before}");
    let old = std::time::SystemTime::now() - Duration::from_secs(2 * 24 * 60 * 60);
    std::fs::File::create(&cut).unwrap().set_modified(old).unwrap();
    tidy::tidy(&other.settings, tidy::UNTIDY).await;
    assert_eq!((packs(), cut.exists()), (before, false));
    let held = other.mirror(&now).await.unwrap();
    tidy::tidy(&other.settings, tidy::Untidy { packs: 2, loose: 1000 }).await;
    assert_eq!(packs(), 1);
    assert!(held.has(&now.snapshot.clone().unwrap().commit).await, "what no reference holds stays");
    drop(held);
    let read = bench.call_on(&other, &now, "read_file", json!({"path": "notes/3.txt"})).await.1.unwrap();
    assert_eq!(read, "     1\tnote 3\n");
}

#[tokio::test]
async fn a_copy_that_somebody_made_anew_is_not_thrown_away_again() {
    let bench = Bench::new().await;
    bench.call(&bench.base(), "list_files", json!({})).await.1.unwrap();
    let settings = &bench.worker.settings;
    let first = mirror::which(settings, &repository());
    mirror::discard(settings, &repository(), first).await.unwrap();
    assert_eq!(mirror::which(settings, &repository()), None);
    bench.call(&bench.base(), "list_files", json!({})).await.1.unwrap();
    let second = mirror::which(settings, &repository());
    // Another call saw the first fail.
    mirror::discard(settings, &repository(), first).await.unwrap();
    assert_eq!(mirror::which(settings, &repository()), second);
    assert!(second.is_some() && first.is_some());
}

#[tokio::test]
async fn a_snapshot_holds_what_is_new_and_builds_on_a_bounded_chain() {
    let bench = Bench::new().await;
    let (mut now, said) = bench.run(&bench.base(), "head -c 1000000 /dev/urandom > early.bin").await;
    said.unwrap();
    let first = now.snapshot.clone().unwrap();
    assert!(bench.blobs.get(&first.bundle).await.unwrap().len() > 1_000_000);
    assert!(!serde_json::to_string(&first).unwrap().contains("builds_on"), "the first looks as it always did");
    let mut lengths = vec![first.builds_on];
    for n in 1..=18 {
        now = bench.write(&now, &format!("notes/{n}.txt"), &format!("note {n}\n")).await;
        let snapshot = now.snapshot.as_ref().unwrap();
        lengths.push(snapshot.builds_on);
        let size = bench.blobs.get(&snapshot.bundle).await.unwrap().len();
        assert_eq!(size > 1_000_000, snapshot.builds_on == 0, "{n}: {size}");
        if [1, 15, 16, 18].contains(&n) {
            let other = bench.another_worker().await;
            let (_, said) = bench.call_on(&other, &now, "list_files", json!({"path": "notes"})).await;
            assert!(said.unwrap().starts_with(&format!("{n} file")));
        }
    }
    assert_eq!(lengths, (0..16).chain(0..3).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_blob_that_is_gone_cut_or_altered_is_named() {
    let bench = Bench::new().await;
    let first = bench.write(&bench.base(), "a.txt", "first\n").await;
    let second = bench.write(&first, "a.txt", "second\n").await;
    let of_first = first.snapshot.unwrap().bundle;
    let blob = bench.blob(&of_first);
    let whole = std::fs::read(&blob).unwrap();
    let failure = async || {
        let other = bench.another_worker().await;
        let request = bench.request(&second, "list_files", json!({})).await;
        other.call_tool_for(&bench.claim(), request).await.unwrap_err()
    };
    for (damage, kind, words) in [
        (None, FailureKind::NotFound, "is not in the store"),
        (Some(&whole[..whole.len() / 2]), FailureKind::Invalid, "was altered"),
        (Some(&b"something else"[..]), FailureKind::Invalid, "was altered"),
    ] {
        match damage {
            None => std::fs::remove_file(&blob).unwrap(),
            Some(bytes) => std::fs::write(&blob, bytes).unwrap(),
        }
        let error = failure().await;
        assert_eq!(error.kind, kind, "{error}");
        let named = error.message.contains("snapshot") && error.message.contains(of_first.as_str());
        assert!(named && error.message.contains(words), "{error}");
    }
    std::fs::remove_file(&blob).unwrap();
    // A worker that died while it wrote leaves half a file of another name; the repeated call writes it whole.
    std::fs::write(format!("{}#1", blob.display()), &whole[..whole.len() / 2]).unwrap();
    let again = bench.write(&bench.base(), "a.txt", "first\n").await;
    assert_eq!(again.snapshot.unwrap().bundle, of_first);
    assert_eq!(std::fs::read(&blob).unwrap(), whole);
    let other = bench.another_worker().await;
    let (_, read) = bench.call_on(&other, &second, "read_file", json!({"path": "a.txt"})).await;
    assert_eq!(read.unwrap(), "     1\tsecond\n");
}

#[tokio::test]
async fn the_whole_cache_may_go_while_the_worker_runs() {
    let bench = Bench::new().await;
    let (before, _) = bench.run(&bench.base(), "echo one > one.txt; mkdir build; touch build/x").await;
    std::fs::remove_dir_all(&bench.worker.settings.directory).unwrap();
    let (after, said) = bench.run(&before, "cat one.txt; echo two > two.txt").await;
    assert!(said.unwrap().ends_with("\none"));
    std::fs::remove_dir_all(&bench.worker.settings.directory).unwrap();
    let written = bench.write(&before, "two.txt", "two\n").await;
    assert_eq!(tree(&bench, &written), tree(&bench, &after));
    let other = bench.another_worker().await;
    let (on_other, _) = bench.call_on(&other, &before, "run_command", json!({"command": "echo two > two.txt"})).await;
    assert_eq!(on_other, after, "equal to the byte, wherever it is done");
}

#[tokio::test]
async fn a_mirror_that_is_not_whole_is_made_anew() {
    let bench = Bench::new().await;
    let base = bench.base();
    let changed = bench.write(&base, "a.txt", "a\n").await;
    let listed = bench.call(&changed, "list_files", json!({})).await.1.unwrap();
    let list = async || {
        let request = bench.request(&changed, "list_files", json!({})).await;
        let claim = bench.claim();
        let work = || bench.worker.call_tool_for(&claim, request.clone());
        let reply = bench.worker.soundly(&repository(), work).await.unwrap();
        bench.text(&reply.reply.output).await
    };
    for half in ["refs", "HEAD", "info/attributes"] {
        let path = bench.mirror().join(half);
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
        assert_eq!(list().await, listed, "without {half}");
    }
    // Objects are missed when they are needed.
    let objects = bench.mirror().join("objects");
    std::fs::remove_dir_all(&objects).unwrap();
    std::fs::create_dir(&objects).unwrap();
    assert_eq!(list().await, listed, "without objects");
    for pack in names(&bench.mirror().join("objects/pack")) {
        std::fs::write(bench.mirror().join("objects/pack").join(pack), "garbage").unwrap();
    }
    for folder in names(&bench.mirror().join("objects")).into_iter().filter(|name| name.len() == 2) {
        for object in names(&bench.mirror().join("objects").join(&folder)) {
            let object = bench.mirror().join("objects").join(&folder).join(object);
            std::fs::set_permissions(&object, std::fs::Permissions::from_mode(0o644)).unwrap();
            std::fs::write(object, "garbage").unwrap();
        }
    }
    assert_eq!(list().await, listed, "with garbage for objects");
    let read = bench.call(&changed, "read_file", json!({"path": "a.txt"})).await.1.unwrap();
    assert_eq!(read, "     1\ta\n");
}

#[tokio::test]
async fn mirrors_that_nobody_uses_are_removed_and_those_in_use_stay() {
    let bench = Bench::new().await;
    let base = bench.base();
    bench.call(&base, "list_files", json!({})).await.1.unwrap();
    let small = Settings { mirror_bytes: 1, ..bench.worker.settings.clone() };
    let held = bench.worker.mirror(&base).await.unwrap();
    mirror::evict(&small);
    assert!(bench.mirror().join("HEAD").exists(), "in use");
    drop(held);
    mirror::evict(&bench.worker.settings);
    assert!(bench.mirror().join("HEAD").exists(), "there is room");
    mirror::evict(&small);
    assert!(!names(&small.mirrors()).iter().any(|name| name.ends_with(".git")));
    bench.call(&base, "list_files", json!({})).await.1.unwrap();
}

#[tokio::test]
async fn twenty_thousand_files_are_kept() {
    let bench = Bench::new().await;
    let make = "import os\nfor d in range(20):\n  os.makedirs(f'many/{d}')\n  for f in range(1000):\n    open(f'many/{d}/{f}', 'w').write(str(f))\n";
    let (after, said) = bench.run(&bench.base(), &format!("python3 -c \"{make}\"")).await;
    let said = said.unwrap();
    assert!(said.contains(" and 19980 more\n"), "{said}");
    let edited = bench.write(&after, "many/7/7", "7777\n").await;
    let read = bench.call(&edited, "read_file", json!({"path": "many/7/7"})).await.1.unwrap();
    assert_eq!(read, "     1\t7777\n");
    let listed = bench.call(&edited, "list_files", json!({"path": "many/19"})).await.1.unwrap();
    assert!(listed.starts_with("1000 files\n"), "{listed}");
}
