//! Work trees that are kept between calls: fast, and never believed.

use std::fs::File;
use std::time::SystemTime;

use super::*;

impl Bench {
    async fn run_as(&self, ticket: &str, workspace: &Workspace, command: &str) -> (Workspace, String) {
        let request = self.request(workspace, "run_command", json!({"command": command})).await;
        let claim = Claim { workflow: format!("{ticket}/execution/acme.shop/1"), ..self.claim() };
        let reply = self.worker.call_tool_for(&claim, request).await.unwrap();
        (reply.workspace, self.text(&reply.reply.output).await)
    }

    /// The kept trees.
    fn warm(&self) -> Vec<PathBuf> {
        let shelves = self.worker.settings.warm();
        let trees = |shelf: &String| {
            let shelf = shelves.join(shelf);
            names(&shelf).into_iter().map(move |name| shelf.join(name)).collect::<Vec<_>>()
        };
        names(&shelves).iter().flat_map(trees).collect()
    }
}

#[tokio::test]
async fn a_tree_stays_with_its_ticket_and_its_builds_with_it() {
    let bench = Bench::new().await;
    let which = "ls build 2>/dev/null; cat a.txt b.txt 2>/dev/null; true";
    let (one, _) = bench.run_as("one", &bench.base(), "mkdir build; touch build/cache; echo a > a.txt").await;
    assert_eq!(bench.warm().len(), 1);
    let two = bench.write(&one, "b.txt", "b\n").await;
    let (same, said) = bench.run_as("one", &two, which).await;
    assert!(said.ends_with("\ncache\na\nb"), "{said}");
    assert_eq!(same, two);
    let (_, said) = bench.run_as("one", &bench.base(), which).await;
    assert!(said.ends_with("\ncache"), "back at the start: {said}");

    let (_, said) = bench.run_as("two", &bench.base(), which).await;
    assert!(!said.contains("cache"), "another ticket has a tree of its own: {said}");
    assert_eq!(bench.warm().len(), 2);
    for tree in bench.warm() {
        let long_ago = SystemTime::now() - Duration::from_secs(3600);
        File::open(tree).unwrap().set_modified(long_ago).unwrap();
    }
    let (_, said) = bench.run_as("three", &one, which).await;
    assert!(
        said.ends_with("\na") && !said.contains("cache"),
        "one that nobody uses is taken over, without builds: {said}"
    );
    assert_eq!(bench.warm().len(), 2);
}

#[tokio::test]
async fn what_a_call_left_behind_is_found() {
    let leave = "printf 'x' >> shop/pricing.py; rm run.sh; echo new > new.txt; mkdir -p empty/below; rm -r tests; ln -s /etc tests; \
                 mkdir -p build; touch build/cache";
    let settings = format!("test = \"{leave}; true # python3 -m unittest\"\n");
    let files = [("shop/pricing.py", PRICING), ("tests/test_pricing.py", TESTS), ("ticketwright.toml", &settings)];
    let bench = Bench::with(&files).await;
    let base = bench.base();
    bench.call(&base, "run_tests", json!({})).await.1.unwrap();
    assert_eq!(bench.warm().len(), 1);
    let look = "git status --short; cat shop/pricing.py; find . -path ./.git -prune -o -print | sort";
    let (same, said) = bench.run_as("ticket-SHOP-1", &base, look).await;
    assert_eq!(same, base);
    assert!(said.contains(PRICING) && !said.contains("discountx"), "{said}");
    for gone in ["new.txt", "empty", " M ", "?? "] {
        assert!(!said.contains(gone), "{gone}: {said}");
    }
    assert!(said.contains("./tests/test_pricing.py\n") && said.contains("./run.sh\n"), "{said}");
    assert!(said.contains("./build/cache"), "builds stay: {said}");
}

#[tokio::test]
async fn a_change_that_hides_behind_an_old_date_is_seen() {
    let bench = Bench::with(&[("shop/pricing.py", PRICING)]).await;
    let old = "touch -d 2001-01-01 shop/pricing.py";
    let (same, _) = bench.run_as("one", &bench.base(), old).await;
    assert_eq!(same, bench.base());
    let (after, said) = bench.run_as("one", &same, &format!("sed -i s/price/prize/g shop/pricing.py; {old}")).await;
    assert!(said.starts_with("Files changed: M shop/pricing.py\n"), "{said}");
    let (_, read) = bench.call(&after, "read_file", json!({"path": "shop/pricing.py"})).await;
    assert!(read.unwrap().contains("prize - discount"));
}

#[tokio::test]
async fn two_names_of_one_file_are_two_files_in_the_next_call() {
    let bench = Bench::new().await;
    let (linked, _) = bench.run_as("one", &bench.base(), "ln run.sh twin.sh; chmod 600 shop/__init__.py").await;
    let (after, said) = bench.run_as("one", &linked, "echo more >> twin.sh; stat -c %a shop/__init__.py").await;
    assert!(said.starts_with("Files changed: M twin.sh\n") && said.contains("\n644"), "{said}");
    let other = bench.another_worker().await;
    let (there, _) = bench.call_on(&other, &linked, "run_command", json!({"command": "echo more >> twin.sh"})).await;
    assert_eq!(there, after);
}

#[tokio::test]
async fn a_call_that_ended_badly_keeps_nothing() {
    let bench = Bench::new().await;
    for command in ["git init -q inner", "mkdir build; sleep 60"] {
        let request = bench.request(&bench.base(), "run_command", json!({"command": command})).await;
        let request = WorkspaceCall { command_seconds: 1, ..request };
        assert!(bench.worker.call_tool_for(&bench.claim(), request).await.unwrap().reply.is_error);
        assert_eq!(bench.warm(), Vec::<PathBuf>::new(), "{command}");
    }
    // A nested repository in a folder that the repository ignores is a build's own.
    let (_, said) =
        bench.run_as("one", &bench.base(), "mkdir build; git init -q build/inner; truncate -s 200M build/big").await;
    assert!(said.starts_with("Exit code 0"), "{said}");
    assert_eq!(bench.warm().len(), 1);
}

#[tokio::test]
async fn trees_leave_by_age_and_size() {
    let bench = Bench::new().await;
    bench.run_as("one", &bench.base(), "true").await;
    pool::evict(&bench.worker.settings);
    assert_eq!(bench.warm().len(), 1);
    pool::evict(&Settings { warm_bytes: 1, ..bench.worker.settings.clone() });
    assert_eq!(bench.warm(), Vec::<PathBuf>::new());
    bench.run_as("one", &bench.base(), "true").await;
    let long_ago = SystemTime::now() - Duration::from_secs(8 * 24 * 3600);
    File::open(&bench.warm()[0]).unwrap().set_modified(long_ago).unwrap();
    pool::evict(&bench.worker.settings);
    assert_eq!(bench.warm(), Vec::<PathBuf>::new());
}
