//! Tool calls: what the model is told, and that files follow the snapshot.

use super::*;

#[tokio::test]
async fn files_are_listed_read_and_searched() {
    let bench = Bench::new().await;
    let base = bench.base();
    let (after, listed) = bench.call(&base, "list_files", json!({})).await;
    let listed = listed.unwrap();
    assert!(listed.contains("shop/pricing.py\n") && listed.contains("tests/test_pricing.py\n"), "{listed}");
    assert!(!listed.contains(".git/"), "{listed}");
    assert_eq!(after, base, "reading changes nothing");

    let below = bench.call(&base, "list_files", json!({"path": "shop/"})).await.1.unwrap();
    assert_eq!(below, "2 files\nshop/__init__.py\nshop/pricing.py\n");
    let read = bench.call(&base, "read_file", json!({"path": "shop/pricing.py"})).await.1.unwrap();
    assert_eq!(read, "     1\tdef total(price, discount):\n     2\t    return price - discount\n");
    let part =
        bench.call(&base, "read_file", json!({"path": "link/pricing.py", "from_line": 2, "lines": 1})).await.1.unwrap();
    assert_eq!(part, "     2\t    return price - discount\n[lines 2 to 2 of 2]\n");
    let found = bench.call(&base, "search_text", json!({"pattern": "def (total|test_plain)"})).await.1.unwrap();
    assert_eq!(
        found,
        "shop/pricing.py:1:def total(price, discount):\ntests/test_pricing.py:7:    def test_plain(self):\n"
    );
    let none = bench.call(&base, "search_text", json!({"pattern": "nowhere", "path": "shop"})).await.1.unwrap();
    assert_eq!(none, "Nothing matches.");
}

#[tokio::test]
async fn a_file_that_is_named_like_a_commit_is_a_file() {
    let bench = Bench::new().await;
    let base = bench.base();
    // As `git describe` writes it: git takes such a name for the commit, whatever stands before it.
    let path = format!("notes/release-v1.2-14-g{}", &base.base.as_str()[..7]);
    let after = bench.write(&base, &path, "what is new\n").await;
    let copy = mirror::which(&bench.worker.settings, &repository());
    let read = bench.call(&after, "read_file", json!({"path": path})).await.1;
    assert_eq!(read.unwrap(), "     1\twhat is new\n");
    let edit = json!({"path": path, "old": "new", "new": "old"});
    let said = bench.call(&after, "edit_file", edit).await.1;
    assert_eq!(said.unwrap(), format!("Edited {path} at line 1."));
    assert_eq!(mirror::which(&bench.worker.settings, &repository()), copy, "the copy of the repository is whole");
}

#[tokio::test]
async fn links_are_followed_as_long_as_they_stay_inside() {
    let bench = Bench::seeded(|seed| {
        put(seed, "a/b/real", b"r\n");
        put(seed, "a/top", b"t\n");
        for (path, to) in [
            ("a/near", "b/real"),
            ("deep", "./a//b"),
            ("up", "deep/../top"),
            ("round", "around"),
            ("around", "round"),
            ("out", "../x"),
            ("far", "/etc/passwd"),
            ("gone", "a/none"),
            ("through", "a/top/x"),
            ("here", "."),
        ] {
            std::os::unix::fs::symlink(to, seed.join(path)).unwrap();
        }
    })
    .await;
    let base = bench.base();
    for (path, said) in [("a/near", "r"), ("deep/real", "r"), ("up", "t"), ("here/here/deep/real", "r")] {
        let read = bench.call(&base, "read_file", json!({"path": path})).await.1;
        assert_eq!(read.unwrap(), format!("     1\t{said}\n"), "{path}");
    }
    for (path, said) in [
        ("round", "symbolic link"),
        ("out", "leads out"),
        ("far", "leads out"),
        ("gone", "does not exist"),
        ("through", "through"),
        ("here", "not a regular file"),
        ("deep", "not a regular file"),
    ] {
        let read = bench.call(&base, "read_file", json!({"path": path})).await.1.unwrap_err();
        assert!(read.contains(said), "{path}: {read}");
    }
    let long = "a/".repeat(2_000) + "b";
    let read = bench.call(&base, "read_file", json!({"path": long})).await.1.unwrap_err();
    assert!(read.contains("does not exist"), "{read}");
}

#[tokio::test]
async fn faulty_calls_are_replies_that_say_what_to_do() {
    let bench = Bench::new().await;
    let base = bench.base();
    for (name, input, said) in [
        ("read_file", json!({"path": "../x"}), "has .."),
        ("read_file", json!({"path": "/etc/passwd"}), "is absolute"),
        ("read_file", json!({"path": "shop/none.py"}), "does not exist"),
        ("read_file", json!({"path": "shop"}), "not a regular file"),
        ("read_file", json!({"file": "x"}), "unknown field"),
        ("write_file", json!({"path": ".git/hooks/pre-push", "content": "x"}), "git's own folder"),
        ("write_file", json!({"path": "build/x", "content": "x"}), "ignored"),
        ("edit_file", json!({"path": "shop/pricing.py", "old": "absent", "new": "x"}), "does not occur"),
        (
            "edit_file",
            json!({"path": "shop/pricing.py", "old": "discount", "new": "x"}),
            "occurs 2 times in shop/pricing.py (lines 1, 2)",
        ),
        ("search_text", json!({"pattern": "("}), "not an extended regular expression"),
        ("list_files", json!({"path": "nowhere"}), "no files there"),
        ("deploy", json!({}), "There is no tool \"deploy\""),
        ("run_command", json!({"command": "exit 3"}), "exit code 3"),
    ] {
        let (after, reply) = bench.call(&base, name, input).await;
        let text = reply.unwrap_err();
        assert!(text.contains(said), "{name}: {text}");
        assert_eq!(after, base);
    }
}

#[tokio::test]
async fn edits_make_snapshots_that_another_worker_can_take_up() {
    let bench = Bench::new().await;
    let edit = json!({"path": "shop/pricing.py", "old": "price - discount", "new": "max(price - discount, 0)"});
    let (first, said) = bench.call(&bench.base(), "edit_file", edit).await;
    assert_eq!(said.unwrap(), "Edited shop/pricing.py at line 2.");
    assert!(first.snapshot.is_some());

    let other = bench.another_worker().await;
    let (same, read) = bench.call_on(&other, &first, "read_file", json!({"path": "shop/pricing.py"})).await;
    assert!(read.unwrap().contains("max(price - discount, 0)"));
    assert_eq!(same, first);

    // The same files by another way, on a worker with other caches, are the same snapshot to the byte.
    let back = bench.another_worker().await;
    let content = "def total(price, discount):\n    return max(price - discount, 0)\n";
    let (again, _) =
        bench.call_on(&back, &bench.base(), "write_file", json!({"path": "shop/pricing.py", "content": content})).await;
    assert_eq!(again, first);
    let (reverted, _) =
        bench.call_on(&other, &first, "write_file", json!({"path": "shop/pricing.py", "content": PRICING})).await;
    assert_eq!(reverted, bench.base(), "files like the base are the base");
}

#[tokio::test]
async fn commands_run_in_the_sandbox_and_their_files_are_kept() {
    let bench = Bench::new().await;
    let command = "sh run.sh && ./run.sh && readlink link && rm tests/test_pricing.py && mkdir -p a/b && printf 'x\\r\\n' > a/b/f \
                   && chmod +x a/b/f && ln -s /etc/passwd out && mkfifo pipe && mkdir build && touch build/x && git status --short && git log --oneline";
    let (after, said) = bench.call(&bench.base(), "run_command", json!({"command": command})).await;
    let said = said.unwrap();
    assert!(said.contains("ran\nran\nshop\n"), "{said}");
    assert!(said.contains("?? a/") && said.contains(" Start"), "git works inside: {said}");
    assert!(said.starts_with("Files changed: A a/b/f, A out, D tests/test_pricing.py\n"), "{said}");

    let other = bench.another_worker().await;
    let look = json!({"command": "stat -c '%A %n' a/b/f run.sh; od -c a/b/f; readlink out; ls"});
    let (same, said) = bench.call_on(&other, &after, "run_command", look).await;
    let said = said.unwrap();
    assert!(said.contains("-rwxr-xr-x a/b/f\n-rwxr-xr-x run.sh\n"), "{said}");
    assert!(said.contains("x  \\r  \\n") && said.contains("/etc/passwd"), "{said}");
    assert!(!said.contains("pipe") && !said.contains("build"), "{said}");
    assert_eq!(same, after);
    let (_, read) = bench.call(&after, "read_file", json!({"path": "out"})).await;
    assert!(read.unwrap_err().contains("leads out of the workspace"));
}

#[tokio::test]
async fn what_git_would_lose_is_refused() {
    let bench = Bench::new().await;
    for (command, said) in [
        ("git init -q inner && touch inner/x", "inner/.git is a git repository inside"),
        ("mkdir -p d/.GIT && touch d/.GIT/x", "d/.GIT is a git repository"),
        ("truncate -s 200M big", "big has 200 MB"),
        // Words that git has for a full disk and a broken repository, in a name that it refuses.
        (
            "mkdir 'loose object bad object' && touch 'loose object bad object/.git::$INDEX_ALLOCATION'",
            "git cannot keep these files",
        ),
        (
            "d=$(printf '%0200d' 0); for n in $(seq 25); do mkdir $d && cd $d || exit 1; done",
            "is longer than a path may be. Let the command remove that directory.",
        ),
    ] {
        let (after, reply) = bench.call(&bench.base(), "run_command", json!({"command": command})).await;
        let text = reply.unwrap_err();
        assert!(text.contains(said), "{text}");
        assert_eq!(after, bench.base());
    }
}

#[tokio::test]
async fn a_hostile_repository_runs_nothing_on_the_host() {
    let mark = tempfile::tempdir().unwrap();
    let bench = Bench::with(&[
        (".gitattributes", "* filter=evil diff=evil merge=evil text eol=crlf\n"),
        ("shop/pricing.py", PRICING),
    ])
    .await;
    let evil = format!("touch {}", mark.path().join("ran").display());
    let command = format!(
        "git config --global x.y z; git config core.fsmonitor '{evil}'; rm -rf .git; mkdir -p .git/hooks; echo '{evil}' > .git/hooks/pre-commit; \
         printf '[filter \"evil\"]\\n clean = {evil}\\n smudge = {evil}\\n' > .gitconfig; echo more >> shop/pricing.py; true"
    );
    let (after, said) = bench.call(&bench.base(), "run_command", json!({"command": command})).await;
    said.unwrap();
    let (_, read) = bench.call(&after, "read_file", json!({"path": "shop/pricing.py"})).await;
    assert!(read.unwrap().contains("more"));
    let (_, bytes) = bench.call(&after, "run_command", json!({"command": "grep -c $'\\r' shop/pricing.py"})).await;
    assert!(bytes.unwrap_err().contains("\n0"), "files come byte for byte, whatever attributes say");
    assert_eq!(names(mark.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_call_that_died_half_way_is_done_again_from_the_start() {
    let bench = Bench::new().await;
    let command = json!({"command": "ls; echo half > half.txt; if [ -e go ]; then true; else sleep 3600; fi"});
    let request = bench.request(&bench.base(), "run_command", command).await;
    let claim = bench.claim();
    let area = bench.worker.settings.work();
    let half = || walk(&area).into_iter().any(|path| path.ends_with("files/half.txt"));
    let first = bench.worker.call_tool_for(&claim, request);
    tokio::select! {
        _ = first => panic!("ended by itself"),
        () = async { while !half() { tokio::task::yield_now().await } } => {}
    }
    swept(&area, &[]);

    let command = json!({"command": "ls; echo done > done.txt"});
    let request = bench.request(&bench.base(), "run_command", command).await;
    let second = Claim { attempt: 2, ..claim };
    let reply = bench.worker.call_tool_for(&second, request).await.unwrap();
    let said = bench.text(&reply.reply.output).await;
    assert!(said.starts_with("Files changed: A done.txt\n") && !said.contains("half.txt"), "{said}");
}

#[tokio::test]
async fn a_newer_attempt_ends_the_older_one() {
    let bench = Bench::new().await;
    let request = bench.request(&bench.base(), "run_command", json!({"command": "sleep 3600"})).await;
    let first_claim = bench.claim();
    let second_claim = Claim { attempt: 2, ..first_claim.clone() };
    let area = bench.worker.settings.work();
    let second = async {
        while !names(&area).iter().any(|name| name.ends_with(".1.group")) {
            tokio::task::yield_now().await;
        }
        let request = bench.request(&bench.base(), "run_command", json!({"command": "echo second"})).await;
        bench.worker.call_tool_for(&second_claim, request).await
    };
    let (first, second) = tokio::join!(bench.worker.call_tool_for(&first_claim, request), second);
    assert_eq!(first.unwrap_err().kind, FailureKind::Unavailable);
    assert!(bench.text(&second.unwrap().reply.output).await.contains("second"));
    swept(&area, &[]);
}

#[tokio::test]
async fn a_killed_workers_leftovers_are_swept() {
    let bench = Bench::new().await;
    let work = bench.worker.settings.work();
    std::fs::create_dir_all(work.join("dead.1/call/files")).unwrap();
    std::fs::write(work.join("dead.1.lock"), "").unwrap();
    std::fs::write(work.join("dead.1.group"), "1 1").unwrap();
    std::fs::create_dir(work.join("alive.1")).unwrap();
    let held = lock::try_now(&work.join("alive.1.lock")).unwrap();
    let _again = worker(&bench.worker.settings.directory, &bench.blobs, &bench.origin).await;
    swept(&work, &["alive.1", "alive.1.lock"]);
    drop(held);
}

#[tokio::test]
async fn tests_run_by_the_base_commits_command() {
    let bench = Bench::with(&[
        ("shop/pricing.py", PRICING),
        ("tests/test_pricing.py", TESTS),
        ("ticketwright.toml", "setup = []\ntest = \"echo prepared; python3 -m unittest discover -s tests\"\n"),
    ])
    .await;
    let changed = bench.write(&bench.base(), "ticketwright.toml", "test = \"echo fine\"\n").await;
    let (after, said) = bench.call(&changed, "run_tests", json!({})).await;
    let said = said.unwrap();
    assert!(said.contains("prepared\n") && said.contains("Ran 2 tests"), "{said}");
    assert_eq!(after, changed, "what tests write is not kept");

    let detected = Bench::new().await;
    let red = detected.write(&detected.base(), "shop/pricing.py", "def total(price, discount):\n    return 1\n").await;
    let said = detected.call(&red, "run_tests", json!({})).await.1.unwrap_err();
    assert!(said.starts_with("$ python3 -m ") && said.contains("FAILED"), "{said}");
}

#[tokio::test]
async fn what_cannot_be_had_is_a_failure_of_a_kind() {
    let bench = Bench::new().await;
    let absent = Workspace { base: "1".repeat(40).parse().unwrap(), ..bench.base() };
    let request = bench.request(&absent, "list_files", json!({})).await;
    let error = bench.worker.call_tool_for(&bench.claim(), request).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::NotFound);
    assert!(!format!("{error:?}").contains("ghp_secret"), "{error:?}");

    std::fs::remove_dir_all(&bench.origin).unwrap();
    let other = bench.another_worker().await;
    let base: CommitSha = "2".repeat(40).parse().unwrap();
    let request = bench.request(&Workspace { base, ..absent }, "list_files", json!({})).await;
    let error = other.call_tool_for(&bench.claim(), request).await.unwrap_err();
    assert_ne!(error.kind, FailureKind::Invalid, "{error}");
}

/// A server that asks for credentials, and tells what it was sent.
struct Guard(std::net::TcpListener);

#[async_trait]
impl Remote for Guard {
    async fn clone_url_and_credentials(&self, _repository: &RepositoryName) -> Result<GitRemote, ServiceError> {
        let url = format!("http://{}/acme/shop.git", self.0.local_addr().unwrap());
        Ok(GitRemote { url, username: "x-access-token".into(), token: SecretString::from("ghp_secret_of_the_test") })
    }

    async fn may_push(&self, _repository: &RepositoryName, _login: &str) -> Result<bool, ServiceError> {
        Ok(false)
    }
}

#[tokio::test]
async fn the_token_goes_by_header_and_into_no_message() {
    let bench = Bench::new().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let guard = listener.try_clone().unwrap();
    let served = std::thread::spawn(move || {
        use std::io::{BufRead as _, Write as _};
        let (mut stream, _) = guard.accept().unwrap();
        let lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
        let request: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        request.join("\n")
    });
    let settings = Settings { directory: bench.directory.path().join("http"), allow_http: true, ..Settings::default() };
    let sandbox = bench.worker.sandbox.clone();
    let worker =
        WorkspaceActivities::open(settings.clone(), bench.blobs.clone(), sandbox.clone(), Arc::new(Guard(listener)))
            .await
            .unwrap();
    let request = bench.request(&bench.base(), "list_files", json!({})).await;
    let error = worker.call_tool_for(&bench.claim(), request.clone()).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unauthorized, "{error}");
    let sent = served.join().unwrap();
    // "x-access-token:ghp_secret_of_the_test" in base64 (RFC 7617).
    let basic = "eC1hY2Nlc3MtdG9rZW46Z2hwX3NlY3JldF9vZl90aGVfdGVzdA==";
    assert!(sent.contains(&format!("Authorization: Basic {basic}")), "{sent}");
    for secret in ["ghp_secret", basic] {
        assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
    }

    // Plain HTTP is an exception for loopback, to be asked for.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let strict = Settings { allow_http: false, ..settings };
    let worker =
        WorkspaceActivities::open(strict, bench.blobs.clone(), sandbox, Arc::new(Guard(listener))).await.unwrap();
    let error = worker.call_tool_for(&bench.claim(), request).await.unwrap_err();
    assert!(error.message.contains("transport 'http' not allowed"), "{error}");
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    entries
        .flat_map(|entry| {
            let directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if directory { walk(&entry.path()) } else { vec![entry.path()] }
        })
        .collect()
}
