//! A repository that tries everything git can be made to run, and every way out of the workspace. Nothing of it runs on the
//! host, nothing outside is read or written.

use std::os::unix::fs::symlink;

use super::*;

/// Programs that git runs when a repository's own settings say so, each leaving `mark`.
fn settings(mark: &Path) -> String {
    let run = |name: &str| format!("touch {}/{name}", mark.display());
    format!(
        "[core]\n\tfsmonitor = {monitor}\n\thooksPath = hooks\n\tworktree = /\n\tsshCommand = {ssh}\n\teditor = {editor}\n\tpager = {pager}\n\
         [diff]\n\texternal = {external}\n[diff \"evil\"]\n\ttextconv = {textconv}\n\tcommand = {command}\n\
         [filter \"evil\"]\n\tclean = {clean}\n\tsmudge = {smudge}\n\tprocess = {process}\n\trequired = true\n\
         [merge \"evil\"]\n\tdriver = {merge}\n[gpg]\n\tprogram = {gpg}\n[commit]\n\tgpgSign = true\n\
         [protocol \"ext\"]\n\tallow = always\n[alias]\n\tadd = !{alias}\n",
        monitor = run("fsmonitor"),
        ssh = run("ssh"),
        editor = run("editor"),
        pager = run("pager"),
        external = run("external-diff"),
        textconv = run("textconv"),
        command = run("diff-command"),
        clean = run("clean"),
        smudge = run("smudge"),
        process = run("process"),
        merge = run("merge-driver"),
        gpg = run("gpg"),
        alias = run("alias"),
    )
}

/// Puts a hostile git directory at `at`.
fn plant(at: &Path, mark: &Path) {
    std::fs::create_dir_all(at.join("hooks")).unwrap();
    put(at, "config", settings(mark).as_bytes());
    for hook in ["pre-commit", "post-checkout", "post-index-change", "post-merge", "pre-push", "reference-transaction"]
    {
        put(at, format!("hooks/{hook}"), format!("#!/bin/sh\ntouch {}/{hook}\n", mark.display()).as_bytes());
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(at.join("hooks").join(hook), executable).unwrap();
    }
}

fn fill(seed: &Path, secret: &Path) {
    put(
        seed,
        ".gitattributes",
        b"* filter=evil diff=evil merge=evil text eol=crlf ident working-tree-encoding=latin-1 export-subst\n",
    );
    put(seed, "shop/.gitattributes", b"[attr]binary filter=lfs\n*.py filter=evil diff=evil\n");
    put(seed, "shop/pricing.py", PRICING.as_bytes());
    put(seed, "tests/test_pricing.py", TESTS.as_bytes());
    put(seed, ".mailmap", b"Evil <dev@acme.example>\n");
    put(seed, ".lfsconfig", b"[lfs]\n\turl = ext::sh -c true\n");
    symlink(secret, seed.join("out")).unwrap();
    symlink(secret.parent().unwrap(), seed.join("outside")).unwrap();
    symlink("shop", seed.join("inside")).unwrap();
    std::fs::create_dir_all(seed.join("vendor/x")).unwrap();
    run_git(seed, &["update-index", "--add", "--cacheinfo", &format!("160000,{},vendor/x", "1".repeat(40))]);
}

#[tokio::test]
async fn nothing_of_a_hostile_repository_runs_or_leads_out() {
    let host = crate::sandbox::tests::open_directory();
    let (mark, secret) = (host.path().join("marks"), host.path().join("secret/file"));
    std::fs::create_dir(&mark).unwrap();
    std::fs::set_permissions(&mark, std::fs::Permissions::from_mode(0o777)).unwrap();
    put(host.path(), "secret/file", b"the secret\n");
    let bench = Bench::seeded(|seed| fill(seed, &secret)).await;
    // The server's copy is hostile, too.
    plant(&bench.origin.join("evil"), &mark);
    let base = bench.base();

    let survey = bench.worker.survey_for(&bench.claim(), survey_of(base.clone())).await.unwrap();
    assert!(survey.notes.iter().any(|note| note.contains("vendor/x is a submodule")), "{survey:?}");
    for (name, input) in [
        ("list_files", json!({})),
        ("search_text", json!({"pattern": "secret"})),
        ("read_file", json!({"path": "out"})),
        ("read_file", json!({"path": "outside/file"})),
        ("write_file", json!({"path": "out", "content": "x"})),
        ("write_file", json!({"path": "outside/new", "content": "x"})),
        ("edit_file", json!({"path": "outside/file", "old": "secret", "new": "x"})),
        ("write_file", json!({"path": "shop/.GIT/config", "content": "x"})),
        ("write_file", json!({"path": "shop/git~1/config", "content": "x"})),
        ("write_file", json!({"path": "shop/.g\u{200c}it/config", "content": "x"})),
    ] {
        let (after, reply) = bench.call(&base, name, input.clone()).await;
        let text = reply.clone().unwrap_or_else(|said| said);
        assert!(!text.contains("the secret"), "{name} {input}: {text}");
        assert!(reply.is_err() || after == base, "{name} {input}: {text}");
        assert_eq!(after, base, "{name} {input}: {text}");
    }
    let edit = json!({"path": "shop/pricing.py", "old": "price - discount", "new": "max(price - discount, 0)"});
    let (edited, said) = bench.call(&base, "edit_file", edit).await;
    said.unwrap();

    // What a command leaves: repositories with settings, where git of the host might look.
    let evil = settings(&mark);
    for (place, kept) in
        [("nest/.git", false), ("vendor/x/.git", false), ("build/nest/.git", true), ("shop/.GIT", false)]
    {
        let command = format!(
            "mkdir -p {place}/hooks {place}/objects {place}/refs; cat > {place}/config <<'END'\n{evil}END\n\
             echo 'ref: refs/heads/main' > {place}/HEAD; printf '#!/bin/sh\\ntouch {}/nested-hook\\n' > {place}/hooks/post-index-change; \
             chmod +x {place}/hooks/*; touch {place}/../file; ls -a",
            mark.display()
        );
        let (after, said) = bench.call(&edited, "run_command", json!({"command": command})).await;
        assert_eq!(said.is_ok(), kept, "{place}: {said:?}");
        assert_eq!(after, edited, "{place}: {said:?}");
    }
    let secret_folder = secret.parent().unwrap().display();
    for command in [
        // Objects of another repository, a git folder that is a link, and one that a file names.
        format!(
            "mkdir -p vendor/x/.git/objects/info vendor/x/.git/refs; echo 'ref: refs/heads/main' > vendor/x/.git/HEAD; \
             echo {secret_folder} > vendor/x/.git/objects/info/alternates"
        ),
        format!("mkdir nest && ln -s {secret_folder} nest/.git"),
        format!("ln -s {secret_folder} vendor/x/.git"),
        format!("rmdir vendor/x && ln -s {secret_folder} vendor/x"),
        format!("mkdir nest && echo gitdir: {secret_folder} > nest/.git"),
    ] {
        let (after, said) = bench.call(&edited, "run_command", json!({"command": command})).await;
        assert!(said.is_err(), "{command}: {said:?}");
        assert_eq!(after, edited, "{command}");
    }
    for command in [
        "rm -rf tests && ln -s /etc tests",
        "mv .gitattributes old && ln -s /etc/passwd .gitattributes && ln -sf /etc/passwd .gitignore",
        "rm -rf .git; echo gitdir: /tmp > .git; git config --global core.fsmonitor 'touch /tmp/x'; echo more > more.txt",
    ] {
        let (after, _) = bench.call(&edited, "run_command", json!({"command": command})).await;
        let (_, said) =
            bench.call(&after, "run_command", json!({"command": "git status --short; git diff | head -3; true"})).await;
        said.unwrap();
        let (_, read) = bench.call(&after, "read_file", json!({"path": "tests/passwd"})).await;
        assert!(read.is_err());
    }
    let (tested, said) = bench.call(&edited, "run_tests", json!({})).await;
    said.unwrap();
    assert_eq!(tested, edited);
    let request = Prove {
        base: base.clone(),
        head: edited.clone(),
        command_seconds: 60,
        without_tests: None,
        removed_tests: Vec::new(),
    };
    bench.worker.prove_for(&bench.claim(), request.clone(), Demand::Green).await.unwrap();
    bench.worker.judge_fix_for(&bench.claim(), request).await.unwrap();
    let kinds = vec![workflows::contract::workspace::FixKind::Format, workflows::contract::workspace::FixKind::Lint];
    let fix = Fix { workspace: edited.clone(), kinds, command_seconds: 60 };
    bench.worker.fix_for(&bench.claim(), fix).await.unwrap();

    let request = bench.push_request().await;
    let pushed = bench.worker.push_for(&bench.claim(), request).await.unwrap();
    assert_eq!(pushed.files, 1);

    assert_eq!(names(&mark), Vec::<String>::new(), "programs ran on the host");
    assert_eq!(names(secret.parent().unwrap()), ["file"], "nothing was written outside");
    assert_eq!(std::fs::read(&secret).unwrap(), b"the secret\n");
}

/// The same tricks work on git as people use it: the test above tests something.
#[test]
fn plain_git_runs_the_programs_of_a_hostile_repository() {
    let host = tempfile::tempdir().unwrap();
    let mark = host.path().join("marks");
    std::fs::create_dir(&mark).unwrap();
    let tree = host.path().join("tree");
    put(&tree, ".gitattributes", b"* filter=evil diff=evil merge=evil\n");
    put(&tree, "a.txt", b"a\n");
    run_git(&tree, &["init", "--quiet"]);
    run_git(&tree, &["add", "--all"]);
    run_git(&tree, &["commit", "--quiet", "--message=Start"]);
    plant(&tree.join(".git"), &mark);
    let config = settings(&mark).replace("\tworktree = /\n", "").replace("hooksPath = hooks", "hooksPath = .git/hooks");
    // A filter that speaks the long protocol comes before the others, and ends git when it does not.
    let lines = config.lines().filter(|line| !line.contains("process = ") && !line.contains("required"));
    let config = lines.collect::<Vec<_>>().join("\n") + "\n";
    put(&tree, ".git/config", config.as_bytes());
    put(&tree, "a.txt", b"changed\n");
    for args in [&["status"][..], &["diff"], &["diff", "--no-ext-diff"], &["checkout", "--", "a.txt"], &["stash"]] {
        let _ = Process::new("git").args(args).current_dir(&tree).output().unwrap();
    }
    let ran = names(&mark);
    for program in ["fsmonitor", "diff-command", "textconv", "clean", "smudge", "post-index-change"] {
        assert!(ran.iter().any(|name| name == program), "{program}: {ran:?}");
    }
}

/// What git itself refuses to take from a server.
#[tokio::test]
async fn trees_that_git_refuses_are_told_by_name() {
    let bench = Bench::new().await;
    let blob = |content: &str| {
        std::fs::write(bench.origin.join("blob"), content).unwrap();
        bench.git(&["hash-object", "-w", "blob"])
    };
    let tree = |entry: String| {
        std::fs::write(bench.origin.join("tree"), entry).unwrap();
        run_git(&bench.origin, &["config", "core.protectNTFS", "false"]);
        let made = Process::new("git")
            .args(["-c", "safe.directory=*", "mktree", "--missing"])
            .current_dir(&bench.origin)
            .stdin(std::fs::File::open(bench.origin.join("tree")).unwrap())
            .output()
            .unwrap();
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    };
    let hook = tree(format!("100755 blob {}\tpost-checkout\n", blob("#!/bin/sh\n")));
    let modules = blob("[submodule \"x\"]\n\tpath = x\n\turl = -u./x\n");
    let ext = blob("[submodule \"../../x\"]\n\tpath = x\n\turl = ext::sh -c true\n");
    for (what, entry) in [
        ("hasDotgit", format!("040000 tree {hook}\t.git\n")),
        ("hasDotgit", format!("040000 tree {hook}\t.GIT\n")),
        ("hasDotgit", format!("040000 tree {hook}\tgit~1\n")),
        ("gitmodules", format!("100644 blob {modules}\t.gitmodules\n")),
        ("gitmodules", format!("100644 blob {ext}\t.gitmodules\n")),
        ("gitmodules", format!("120000 blob {modules}\t.gitmodules\n")),
    ] {
        let tree = tree(entry.clone());
        let commit = bench.git(&["commit-tree", &tree, "-m", "Evil"]);
        bench.git(&["update-ref", "refs/heads/evil", &commit]);
        let evil = Workspace { base: commit.parse().unwrap(), ..bench.base() };
        let request = bench.request(&evil, "list_files", json!({})).await;
        let error = bench.worker.call_tool_for(&bench.claim(), request).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Invalid, "{entry}: {error}");
        let named = error.message.starts_with("The repository holds what git refuses to take");
        assert!(named && error.message.contains(what), "{entry}: {error}");
    }
    bench.call(&bench.base(), "list_files", json!({})).await.1.unwrap();
}
