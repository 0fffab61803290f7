//! Pushes: once, only with an approved plan, only onto what the run last saw.

use workflows::contract::access::Person;
use workflows::contract::ids::Digest;
use workflows::contract::money::MicroUsd;
use workflows::contract::plan::Plan;
use workflows::contract::workspace::Authority;

use super::*;

const BRANCH: &str = "agent/SHOP-1/clamp-1a2b";

/// A plan with a task in each of these repositories, which lists the files of its repository.
fn plan(repositories: &[&str], files: &[(&str, &str)]) -> Plan {
    let task = |(n, repository): (usize, &&str)| {
        let files = files.iter().filter(|(of, _)| of == repository);
        let files: Vec<&str> = files.map(|(_, file)| *file).collect();
        json!({
            "id": format!("t{n}"), "title": "Clamp", "repository": repository, "description": "d", "files": files,
            "tests": ["t"], "hours": 1.0,
        })
    };
    serde_json::from_value(json!({
        "title": "Clamp", "summary": "s", "scope_in": [], "architecture": "a", "tests": [], "risk": "r", "rollback": "b",
        "tasks": repositories.iter().enumerate().map(task).collect::<Vec<_>>(),
    }))
    .unwrap()
}

impl Bench {
    pub(super) async fn approved(&self, repository: &str) -> Authority {
        self.approved_with(&[repository], &[]).await
    }

    async fn approved_with(&self, repositories: &[&str], files: &[(&str, &str)]) -> Authority {
        let (plan, cap) = (plan(repositories, files), MicroUsd(12_000_000));
        let stored = self.blobs.put(serde_json::to_vec(&(&plan, plan.repositories(), cap)).unwrap()).await.unwrap();
        assert_eq!(stored, plan.hash(cap));
        Authority::ApprovedPlan { hash: stored.clone(), by: Person::cli("ana"), plan: stored }
    }

    /// A push of a fixed file onto a fresh branch that holds PLAN.md.
    pub(super) async fn push_request(&self) -> Push {
        let seed = self.directory.path().join("seed");
        run_git(&seed, &["checkout", "--quiet", "-b", BRANCH]);
        std::fs::write(seed.join("PLAN.md"), "# Plan\n").unwrap();
        run_git(&seed, &["add", "--all"]);
        run_git(&seed, &["commit", "--quiet", "--message=Plan"]);
        run_git(&seed, &["push", "--quiet", self.origin.to_str().unwrap(), BRANCH]);
        let parent: CommitSha = run_git(&seed, &["rev-parse", "HEAD"]).parse().unwrap();
        let start = Workspace { base: parent.clone(), ..self.base() };
        let content = "def total(price, discount):\n    return max(price - discount, 0)\n";
        Push {
            workspace: self.write(&start, "shop/pricing.py", content).await,
            branch: BRANCH.parse().unwrap(),
            parent,
            message: "Clamp discounts [skip ci]\n\nTicket: SHOP-1\n".into(),
            authored_at: 1_700_000_000,
            remove: vec!["PLAN.md".into()],
            authority: self.approved("acme/shop").await,
            ticket: Some("SHOP-1".parse().unwrap()),
        }
    }

    async fn push(&self, request: &Push) -> Result<Pushed, ServiceError> {
        self.worker.push_for(&self.claim(), request.clone()).await
    }
}

#[tokio::test]
async fn a_push_happens_once_and_is_the_same_commit_everywhere() {
    let bench = Bench::new().await;
    let request = bench.push_request().await;
    let pushed = bench.push(&request).await.unwrap();
    assert_eq!((pushed.files, pushed.insertions, pushed.deletions), (1, 1, 1));
    assert_eq!(bench.push(&request).await.unwrap(), pushed);
    let other = bench.another_worker().await;
    assert_eq!(other.push_for(&bench.claim(), request.clone()).await.unwrap(), pushed);

    assert_eq!(bench.git(&["rev-parse", BRANCH]), pushed.sha.as_str());
    assert_eq!(bench.git(&["rev-list", "--count", &format!("{}..{BRANCH}", request.parent)]), "1");
    assert_eq!(
        bench.git(&["log", "-1", "--format=%an <%ae>|%cn <%ce>|%aI|%cI|%B", BRANCH]),
        "Ticketwright <ticketwright@users.noreply.github.com>|Ticketwright <ticketwright@users.noreply.github.com>|\
         2023-11-14T22:13:20+00:00|2023-11-14T22:13:20+00:00|Clamp discounts (skip ci)\n\nTicket: SHOP-1"
    );
    let files = bench.git(&["ls-tree", "-r", "--name-only", BRANCH]);
    assert!(files.contains("shop/pricing.py") && !files.contains("PLAN.md"), "{files}");
    assert!(bench.git(&["ls-tree", BRANCH, "run.sh"]).starts_with("100755"));

    let unchanged = Push {
        workspace: Workspace { base: pushed.sha.clone(), ..bench.base() },
        parent: pushed.sha.clone(),
        ..request
    };
    let nothing = bench.push(&unchanged).await.unwrap();
    assert_eq!((nothing.sha, nothing.files), (pushed.sha, 0), "no empty commits");
}

#[tokio::test]
async fn a_branch_that_moved_is_a_conflict() {
    let bench = Bench::new().await;
    let request = bench.push_request().await;
    let main = bench.git(&["rev-parse", "main"]);
    bench.git(&["update-ref", &format!("refs/heads/{BRANCH}"), &main]);
    let error = bench.push(&request).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Conflict);
    assert!(error.message.contains(&main[..8]), "{error}");
    assert_eq!(bench.git(&["rev-parse", BRANCH]), main, "what somebody else pushed stays");

    bench.git(&["update-ref", "-d", &format!("refs/heads/{BRANCH}")]);
    let error = bench.push(&request).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Conflict);
    assert!(error.message.contains("is gone"), "{error}");
}

#[tokio::test]
async fn only_an_approved_plan_opens_the_door() {
    let bench = Bench::new().await;
    let request = bench.push_request().await;
    let Authority::ApprovedPlan { hash, by, plan } = request.authority.clone() else { panic!("not a plan") };

    let other_repository = bench.approved("acme/other").await;
    let other_plan = Authority::ApprovedPlan { hash: Digest::of("else"), by: by.clone(), plan };
    let absent = Authority::ApprovedPlan { hash: Digest::of("absent"), by: by.clone(), plan: Digest::of("absent") };
    let text = bench.blobs.put("no plan").await.unwrap();
    let no_plan = Authority::ApprovedPlan { hash: text.clone(), by, plan: text };
    for (authority, kind, said) in [
        (other_repository, FailureKind::Invalid, "acme/shop is not part"),
        (other_plan, FailureKind::Invalid, "the approval is for plan"),
        (absent, FailureKind::NotFound, "is not in the store"),
        (no_plan, FailureKind::Invalid, "is no approved plan"),
    ] {
        let error = bench.push(&Push { authority, ..request.clone() }).await.unwrap_err();
        assert_eq!(error.kind, kind);
        assert!(error.message.contains(said), "{error}");
    }
    // An altered blob is not what was approved.
    let file = bench.directory.path().join("blobs/sha256").join(&hash.as_str()[..2]).join(hash.as_str());
    std::fs::write(file, "another plan").unwrap();
    let error = bench.push(&request).await.unwrap_err();
    assert!(error.kind == FailureKind::Invalid && error.message.contains("was altered"), "{error}");
    assert_eq!(bench.git(&["rev-parse", BRANCH]), request.parent.as_str());
}

#[tokio::test]
async fn only_our_own_branches_are_written() {
    let bench = Bench::new().await;
    let request = bench.push_request().await;
    for branch in ["main", "agent/SHOP-2/x-1", "release"] {
        let error = bench.push(&Push { branch: branch.parse().unwrap(), ..request.clone() }).await.unwrap_err();
        assert!(error.kind == FailureKind::Invalid && error.message.contains("does not belong to SHOP-1"), "{error}");
    }
    bench.git(&["symbolic-ref", "HEAD", &format!("refs/heads/{BRANCH}")]);
    let error = bench.push(&request).await.unwrap_err();
    assert!(error.kind == FailureKind::Invalid && error.message.contains("default branch"), "{error}");
}

#[tokio::test]
async fn a_push_that_a_hook_refuses_is_final_and_told_in_its_words() {
    let bench = Bench::new().await;
    let request = bench.push_request().await;
    let hook = bench.origin.join("hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\necho 'tickets are frozen until Monday' >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = bench.push(&request).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Invalid, "{error}");
    assert!(error.message.starts_with("A rule or hook of the repository refused the push."), "{error}");
    assert!(error.message.contains("frozen until Monday"), "{error}");
    assert_eq!(bench.git(&["rev-parse", BRANCH]), request.parent.as_str());
}

#[tokio::test]
async fn ci_definitions_change_only_by_a_plan_that_lists_them() {
    let workflow = ".github/workflows/ci.yml";
    let bench =
        Bench::with(&[(workflow, "on: push\n"), ("shop/pricing.py", PRICING), ("tests/test_pricing.py", TESTS)]).await;
    let request = bench.push_request().await;
    let on = async |path: &str| {
        let workspace = bench.write(&request.workspace, path, "on: pull_request_target\n").await;
        Push { workspace, ..request.clone() }
    };
    let unlisted =
        [on(workflow).await, on(".github/workflows/new.yml").await, on(".github/actions/setup/action.yml").await];
    let removing = Push { remove: vec!["PLAN.md".into(), workflow.into()], ..request.clone() };
    for (push, path) in unlisted.iter().chain([&removing]).zip([workflow, "new.yml", "action.yml", workflow]) {
        let error = bench.push(push).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Invalid);
        assert!(error.message.contains(path) && error.message.contains("no task of the approved plan"), "{error}");
    }
    assert_eq!(bench.git(&["rev-parse", BRANCH]), request.parent.as_str());

    let elsewhere = bench.approved_with(&["acme/other", "acme/shop"], &[("acme/other", workflow)]).await;
    let error = bench.push(&Push { authority: elsewhere, ..on(workflow).await }).await.unwrap_err();
    assert!(error.message.contains("no task of the approved plan"), "{error}");
    let listed = bench.approved_with(&["acme/shop"], &[("acme/shop", "./.github/workflows/ci.yml")]).await;
    let pushed = bench.push(&Push { authority: listed, ..on(workflow).await }).await.unwrap();
    assert_eq!(bench.git(&["show", &format!("{}:{workflow}", pushed.sha)]), "on: pull_request_target");
}

#[tokio::test]
async fn files_of_git_lfs_are_refused_by_name() {
    let bench = Bench::with(&[("shop/pricing.py", PRICING)]).await;
    let request = bench.push_request().await;
    // No tool writes a file that Git LFS keeps; this one came before the rule.
    let workspace = bench.write(&request.workspace, "data.bin", "raw").await;
    let workspace = bench.write(&workspace, ".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n").await;
    let error = bench.push(&Push { workspace, ..request }).await.unwrap_err();
    assert!(error.kind == FailureKind::Invalid && error.message.contains("data.bin is kept in Git LFS"), "{error}");
}

/// A push of a fixed file onto somebody's branch, asked for by `login`.
async fn commanded(bench: &Bench, login: &str) -> Push {
    let seed = bench.directory.path().join("seed");
    run_git(&seed, &["checkout", "--quiet", "-b", "faster-cart"]);
    run_git(&seed, &["commit", "--quiet", "--allow-empty", "--message=Begin"]);
    run_git(&seed, &["push", "--quiet", bench.origin.to_str().unwrap(), "faster-cart"]);
    let parent: CommitSha = run_git(&seed, &["rev-parse", "HEAD"]).parse().unwrap();
    let start = Workspace { base: parent.clone(), ..bench.base() };
    Push {
        workspace: bench.write(&start, "shop/pricing.py", "def total(price, discount):\n    return 0\n").await,
        branch: "faster-cart".parse().unwrap(),
        parent,
        message: format!("Give everything away\n\nInstructed-by: @{login}\nComment: 77\n"),
        authored_at: 1_700_000_000,
        remove: vec![],
        authority: Authority::Commanded {
            by: Person { via: workflows::contract::access::Via::Github, id: login.into(), name: String::new() },
            comment: 77,
        },
        ticket: None,
    }
}

#[tokio::test]
async fn an_instruction_of_somebody_with_write_access_is_pushed_once() {
    let bench = Bench::new().await;
    let request = commanded(&bench, "ana").await;
    let pushed = bench.push(&request).await.unwrap();
    assert_eq!(bench.push(&request).await.unwrap(), pushed);
    assert_eq!(bench.git(&["rev-parse", "faster-cart"]), pushed.sha.as_str());
    assert_eq!(bench.git(&["log", "-1", "--format=%(trailers)", "faster-cart"]), "Instructed-by: @ana\nComment: 77");

    let stale = Push { message: request.message.replace("everything", "nothing"), ..request };
    assert_eq!(bench.push(&stale).await.unwrap_err().kind, FailureKind::Conflict, "the branch moved");
}

#[tokio::test]
async fn an_instruction_opens_no_other_door() {
    let bench = Bench::new().await;
    let request = commanded(&bench, "ana").await;
    let Authority::Commanded { by, comment } = request.authority.clone() else { panic!("not commanded") };
    let said_by = |by: Person| Authority::Commanded { by, comment };

    let outsider = said_by(Person { id: "mallory".into(), ..by.clone() });
    let elsewhere = said_by(Person { via: workflows::contract::access::Via::Slack, ..by.clone() });
    for authority in [outsider, elsewhere] {
        let error = bench.push(&Push { authority, ..request.clone() }).await.unwrap_err();
        assert!(error.kind == FailureKind::Unauthorized && error.message.contains("no write access"), "{error}");
    }
    let silent = Push { message: "Give everything away\n".into(), ..request.clone() };
    assert!(bench.push(&silent).await.unwrap_err().message.contains("who asked for it"));
    let other = Push { authority: Authority::Commanded { by, comment: 78 }, ..request.clone() };
    assert!(bench.push(&other).await.unwrap_err().message.contains("in which comment"));

    let ci = bench.write(&request.workspace, ".github/workflows/x.yml", "on: push\n").await;
    let error = bench.push(&Push { workspace: ci, ..request.clone() }).await.unwrap_err();
    assert!(error.message.contains("only by an approved plan"), "{error}");
    let main = bench.git(&["rev-parse", "main"]).parse().unwrap();
    let default = Push { branch: "main".parse().unwrap(), parent: main, ..request.clone() };
    let error = bench.push(&default).await.unwrap_err();
    assert!(error.message.contains("default branch"), "{error}");
    assert_eq!(bench.git(&["rev-parse", "faster-cart"]), request.parent.as_str());
}
