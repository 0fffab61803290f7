//! Repositories and commands that are out of the ordinary: a bounded reply that says what it is, and the next call works.

use super::*;

impl Bench {
    /// The reply to a command that may run this long, on `worker`.
    async fn stopped(&self, worker: &WorkspaceActivities, seconds: u64, command: &str) -> String {
        let base = self.base();
        let request = self.request(&base, "run_command", json!({"command": command})).await;
        let request = WorkspaceCall { command_seconds: seconds, ..request };
        let reply = worker.call_tool_for(&self.claim(), request).await.unwrap();
        assert!(reply.reply.is_error);
        assert_eq!(reply.workspace, base);
        let said = self.text(&reply.reply.output).await;
        assert!(said.len() <= 64 * 1024, "{} bytes", said.len());
        said
    }
}

/// A repository with a submodule and files in Git LFS.
async fn unusual() -> Bench {
    const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
    Bench::seeded(|seed| {
        put(seed, ".gitattributes", b"*.psd filter=lfs diff=lfs merge=lfs -text\n");
        for n in 0..7 {
            put(seed, format!("art/{n}.psd"), POINTER.as_bytes());
        }
        std::fs::create_dir_all(seed.join("vendor/x")).unwrap();
        let gitlink = format!("160000,{},vendor/x", "1".repeat(40));
        run_git(seed, &["update-index", "--add", "--cacheinfo", &gitlink]);
        put(seed, ".gitmodules", b"[submodule \"x\"]\n\tpath = vendor/x\n\turl = https://example.com/x.git\n");
    })
    .await
}

#[tokio::test]
async fn submodules_are_told_and_never_touched() {
    let bench = unusual().await;
    let base = bench.base();
    let survey = bench.worker.survey_for(&bench.claim(), survey_of(base.clone())).await.unwrap();
    let said = "vendor/x is a submodule; its files are not here";
    assert!(survey.notes[0].starts_with(said), "{:?}", survey.notes);
    for (name, input) in [
        ("read_file", json!({"path": "vendor/x/lib.c"})),
        ("read_file", json!({"path": "vendor/x"})),
        ("write_file", json!({"path": "vendor/x/new.c", "content": "x"})),
        ("write_file", json!({"path": "vendor/x", "content": "x"})),
    ] {
        let (after, reply) = bench.call(&base, name, input).await;
        assert!(reply.unwrap_err().starts_with(said), "{name}");
        assert_eq!(after, base);
    }
    let gone = json!({"command": "rmdir vendor/x && echo changed > a.txt"});
    let (after, reply) = bench.call(&base, "run_command", gone).await;
    assert!(reply.unwrap().starts_with("Files changed: A a.txt\n"), "its empty folder means nothing");
    let (_, listed) = bench.call(&after, "list_files", json!({"path": "vendor"})).await;
    assert_eq!(listed.unwrap(), "1 file\nvendor/x\n");
    let said = bench.stopped(&bench.worker, 60, "echo x > vendor/x/lost.c").await;
    assert!(said.starts_with("vendor/x is a submodule: files in it would be lost"), "{said}");
    let said = bench.stopped(&bench.worker, 60, "rmdir vendor/x; echo x > vendor/x").await;
    assert!(said.starts_with("vendor/x is a submodule"), "{said}");
    let said = bench.stopped(&bench.worker, 60, "git init -q vendor/x").await;
    assert!(said.contains("vendor/x"), "{said}");
}

#[tokio::test]
async fn files_of_git_lfs_are_told_and_not_written() {
    let bench = unusual().await;
    let base = bench.base();
    let survey = bench.worker.survey_for(&bench.claim(), survey_of(base.clone())).await.unwrap();
    let kept: Vec<_> = survey.notes.iter().filter(|note| note.contains("Git LFS")).collect();
    assert_eq!(kept.len(), 6, "{kept:?}");
    assert!(kept[0].starts_with("art/0.psd is kept in Git LFS") && *kept[5] == "There are 2 more files in Git LFS.");
    let read = bench.call(&base, "read_file", json!({"path": "art/0.psd"})).await.1.unwrap();
    assert!(read.ends_with("[a pointer to Git LFS; the file itself is not here]\n"), "{read}");
    let (after, said) = bench.call(&base, "write_file", json!({"path": "art/new.psd", "content": "x"})).await;
    assert!(said.unwrap_err().starts_with("art/new.psd is kept in Git LFS"));
    assert_eq!(after, base);
    let said = bench.stopped(&bench.worker, 60, "echo x > art/3.psd").await;
    assert!(said.starts_with("art/3.psd is kept in Git LFS"), "{said}");
    let (_, said) = bench.call(&base, "run_command", json!({"command": "rm art/3.psd"})).await;
    assert!(said.unwrap().starts_with("Files changed: D art/3.psd\n"), "a pointer may go");
}

#[tokio::test]
async fn commands_without_end_or_measure_are_stopped() {
    let bench = Bench::new().await;
    let small = crate::sandbox::Settings { disk_bytes: 50 << 20, processes: 64, ..Default::default() };
    let worker = worker_with(small, &bench.directory.path().join("small"), &bench.blobs, &bench.origin).await;
    let said = bench.stopped(&worker, 1, "sleep 1000").await;
    assert!(said.starts_with("The command was stopped after 1 s"), "{said}");
    let said = bench.stopped(&worker, 2, "yes 'a line without end'").await;
    assert!(said.starts_with("The command was stopped after 2 s") && said.contains("a line without end"), "{said}");
    let said = bench.stopped(&worker, 3, "fork() { fork | fork & }; fork; sleep 1000").await;
    assert!(said.starts_with("The command "), "{said}");
    let fill = "n=0; while head -c 5000000 /dev/zero > f$n; do n=$((n+1)); sleep 0.05; done; exit 1";
    let said = bench.stopped(&worker, 60, fill).await;
    assert!(said.contains("disk") || said.contains("No space left"), "{said}");
    let said = bench.stopped(&worker, 60, "truncate -s 1G big").await;
    assert!(said.starts_with("big has 1024 MB; GitHub takes at most 95 MB."), "{said}");
    let said = bench.stopped(&worker, 60, "truncate -s 50M .gitignore").await;
    assert!(said.starts_with(".gitignore has more than 10 MB of rules"), "{said}");
    let (after, said) = bench.call_on(&worker, &bench.base(), "run_command", json!({"command": "echo fine"})).await;
    assert!(said.unwrap().contains("fine"));
    assert_eq!(after, bench.base());
    swept(&worker.settings.work(), &[]);
}

#[tokio::test]
async fn a_suite_that_hangs_is_stopped() {
    let bench = Bench::with(&[("ticketwright.toml", "test = \"sleep 1000 # go test\"\n")]).await;
    let request = bench.request(&bench.base(), "run_tests", json!({})).await;
    let request = WorkspaceCall { command_seconds: 1, ..request };
    let reply = bench.worker.call_tool_for(&bench.claim(), request).await.unwrap();
    assert!(bench.text(&reply.reply.output).await.contains("was stopped after 1 s"));
}

#[tokio::test]
async fn a_search_without_measure_is_cut() {
    let line = "needle ".repeat(20) + "\n";
    let bench = Bench::with(&[("hay.txt", &line.repeat(50_000))]).await;
    let found = bench.call(&bench.base(), "search_text", json!({"pattern": "needle"})).await.1.unwrap();
    assert!(found.len() <= 64 * 1024 && found.contains("[... at least "), "{}", &found[found.len() - 100..]);
}

#[tokio::test]
async fn a_command_that_cannot_start_is_the_models_to_mend() {
    let bench = Bench::with(&[("a.txt", "a\n")]).await;
    for (command, expected) in [("printf '\0'".to_owned(), "NUL byte"), ("x".repeat(200_000), "longer than 128 KB")] {
        let said = bench.stopped(&bench.worker, 60, &command).await;
        assert!(said.contains("The command was not started") && said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn directories_without_end_are_removed_and_the_next_worker_starts() {
    let bench = Bench::with(&[("a.txt", "a\n")]).await;
    let nest =
        "python3 -c '\nimport os, time\nfor n in range(40000): os.mkdir(\"d\"); os.chdir(\"d\")\ntime.sleep(60)'";
    let said = bench.stopped(&bench.worker, 60, nest).await;
    assert!(said.contains("nested too deep"), "{said}");
    // Removed beside the call, by a thread of its own.
    let began = std::time::Instant::now();
    while std::fs::read_dir(bench.worker.settings.work()).unwrap().filter_map(Result::ok).count() > 0 {
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "the directories are still there");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let again = WorkspaceActivities::open(
        bench.worker.settings.clone(),
        bench.blobs.clone(),
        bench.worker.sandbox.clone(),
        Arc::new(LocalRemote(bench.origin.clone())),
    );
    again.await.unwrap();
}

#[tokio::test]
async fn a_large_file_that_was_always_there_keeps_nothing_from_being_kept() {
    let bench = Bench::seeded(|seed| {
        put(seed, "assets/small.bin", b"x");
        std::fs::File::create(seed.join("assets/video.bin")).unwrap().set_len(97 << 20).unwrap();
    })
    .await;
    let (after, said) = bench.call(&bench.base(), "run_command", json!({"command": "echo x > a.txt"})).await;
    assert!(said.unwrap().starts_with("Files changed: A a.txt\n"));
    let (same, said) = bench
        .call(&after, "run_command", json!({"command": "touch assets/video.bin; cp assets/video.bin build"}))
        .await;
    let said = said.unwrap_err();
    assert!(said.starts_with("build has 97 MB; GitHub takes at most 95 MB."), "{said}");
    assert_eq!(same, after);
    let (_, said) =
        bench.call(&after, "run_command", json!({"command": "touch assets/video.bin; echo y > b.txt"})).await;
    assert!(said.unwrap().starts_with("Files changed: A b.txt\n"));
    let (_, said) = bench.call(&after, "run_command", json!({"command": "echo y >> assets/video.bin"})).await;
    assert!(said.unwrap_err().starts_with("assets/video.bin has 97 MB"));
}

/// Bytes of all objects of the mirror.
fn objects(bench: &Bench) -> u64 {
    let mirrors = bench.worker.settings.mirrors();
    names(&mirrors).iter().filter(|name| name.ends_with(".git")).map(|name| cache::bytes_of(&mirrors.join(name))).sum()
}

#[tokio::test]
async fn what_is_too_much_for_one_call_leaves_nothing_in_the_mirror() {
    let bench = Bench::new().await;
    bench.call(&bench.base(), "list_files", json!({})).await.1.unwrap();
    let before = objects(&bench);
    let fill = "mkdir -p build; for i in 1 2 3 4 5 6 7; do truncate -s 80M f$i; head -c 3M /dev/urandom >> f$i; done";
    let said = bench.stopped(&bench.worker, 60, fill).await;
    assert!(said.starts_with("The files that changed have 581 MB; I can keep 256 MB of one call."), "{said}");
    let grown = objects(&bench) - before;
    assert!(grown < 1 << 20, "{grown} bytes stay of what was not kept");
    // Refused only after git has read all of it.
    let workspace = bench.write(&bench.base(), ".gitattributes", "*.bin filter=lfs\n").await;
    let before = objects(&bench);
    let pointed = json!({"command": "head -c 3M /dev/urandom > f.bin; head -c 3M /dev/urandom > f"});
    let (same, said) = bench.call(&workspace, "run_command", pointed).await;
    assert!(said.unwrap_err().starts_with("f.bin is kept in Git LFS"));
    let grown = objects(&bench) - before;
    assert!(same == workspace && grown < 1 << 20, "{grown} bytes stay of what was refused");

    let (_, said) = bench.call(&bench.base(), "run_command", json!({"command": format!("{fill}; mv f? build")})).await;
    assert!(said.unwrap().starts_with("Exit code 0"), "ignored files are not kept and do not count");
}

#[tokio::test]
async fn paths_have_a_measure() {
    let bench = Bench::new().await;
    let long = "import os\nd = '/'.join(['n' * 250] * 14)\nos.makedirs(d)\nos.chdir(d)\n[open(f'{n}', 'w').close() for n in range(20000)]";
    let said = bench.stopped(&bench.worker, 60, &format!("python3 -c \"{long}\"")).await;
    assert!(said.starts_with("The paths of all files have more than 64 MB now."), "{said}");
    let nested = "for i in $(seq 1100); do mkdir -p build/$i/.git; done";
    let said = bench.stopped(&bench.worker, 60, nested).await;
    assert!(said.starts_with("There are more than 1000 git folders"), "{said}");
}

#[tokio::test]
async fn a_closed_file_whose_time_was_set_back_is_told() {
    let bench = Bench::new().await;
    let closed = "touch -d 2000-01-01 shop/pricing.py; chmod 0 shop/pricing.py";
    let request = bench.request(&bench.base(), "run_command", json!({"command": closed})).await;
    let reply = bench.worker.call_tool_for(&bench.claim(), request).await.unwrap();
    let said = bench.text(&reply.reply.output).await;
    assert!(!reply.reply.is_error || said.contains("shop/pricing.py"), "{said}");
}

#[tokio::test]
async fn gigabytes_of_output_are_read_and_cut() {
    let bench = Bench::new().await;
    let print = json!({"command": "head -c 2G /dev/zero"});
    let request = bench.request(&bench.base(), "run_command", print).await;
    let reply = bench.worker.call_tool_for(&bench.claim(), request).await.unwrap();
    let said = bench.text(&reply.reply.output).await;
    assert!(said.starts_with("Exit code 0") && said.len() <= 64 * 1024, "{} bytes", said.len());
}
