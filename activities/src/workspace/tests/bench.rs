//! `make bench-workspace`: what calls on a large repository cost. Ends with an error when a bar is missed; `docs/benchmarks.md`
//! says what the numbers mean.

use std::fmt::Write as _;
use std::time::Instant;

use super::*;

/// Rounds whose median counts.
const ROUNDS: u32 = 9;

/// A repository of 200 MB: 4,000 sources of 10 to 30 KB, and large files that no packer makes smaller.
fn large(seed: &Path) {
    let mut state = 1u64;
    let mut next = || {
        // Numbers that look random and are the same in each run (xorshift).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for n in 0..4000u32 {
        let mut text = String::new();
        for line in 0..300 + n % 500 {
            let _ = writeln!(text, "def function_{line}(value):  # {:016x}", next());
        }
        put(seed, format!("src/package_{}/module_{n}.py", n % 80), text.as_bytes());
    }
    for n in 0..6 {
        let bytes: Vec<u8> = (0..2_250_000).flat_map(|_| next().to_le_bytes()).collect();
        put(seed, format!("assets/{n}.bin"), &bytes);
    }
}

/// Median of the rounds, in milliseconds.
struct Median(Vec<u128>);

impl Median {
    fn get(&self) -> u128 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures; run by make bench-workspace"]
#[expect(clippy::print_stdout, reason = "a table for people")]
async fn calls_on_a_large_repository_are_quick() {
    let bench = Bench::seeded(large).await;
    let base = bench.base();
    let files = std::fs::read_dir(bench.directory.path().join("seed")).unwrap();
    let bytes: u64 =
        files.filter_map(Result::ok).filter(|entry| entry.file_name() != ".git").map(|entry| size(&entry.path())).sum();
    println!("{} MB of files", bytes >> 20);

    let began = Instant::now();
    bench.call(&base, "list_files", json!({})).await.1.unwrap();
    println!("| mirror of a new worker, and its first call | {} ms | |", began.elapsed().as_millis());

    let mut missed = Vec::new();
    let mut report = |what: &str, median: &Median, bar: u128| {
        let took = median.get();
        println!("| {what} | {took} ms | {} |", if bar == u128::MAX { "none".to_owned() } else { format!("{bar} ms") });
        if took > bar {
            missed.push(format!("{what}: {took} ms"));
        }
    };
    let nothing = json!({"command": "true"});
    let (mut opened, mut fresh, mut read, mut searched) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut edited, mut written, mut ran) = (Vec::new(), Vec::new(), Vec::new());
    bench.call(&base, "run_command", nothing.clone()).await.1.unwrap();
    let mut now = base.clone();
    for round in 0..ROUNDS {
        let timed = async |times: &mut Vec<u128>, workspace: &Workspace, name: &str, input: Value| {
            let began = Instant::now();
            let (after, said) = bench.call(workspace, name, input).await;
            times.push(began.elapsed().as_millis());
            said.unwrap();
            after
        };
        let path = format!("src/package_{round}/module_{round}.py");
        timed(&mut opened, &now, "run_command", nothing.clone()).await;
        timed(&mut read, &now, "read_file", json!({"path": path})).await;
        timed(&mut searched, &now, "search_text", json!({"pattern": "function_7\\(", "path": "src/package_3"})).await;
        let edit = json!({"path": path, "old": "def function_0(value):", "new": format!("def edited_{round}(value):")});
        now = timed(&mut edited, &now, "edit_file", edit).await;
        let write = json!({"path": format!("notes/{round}.txt"), "content": "note\n"});
        now = timed(&mut written, &now, "write_file", write).await;
        now = timed(&mut ran, &now, "run_command", json!({"command": format!("echo {round} >> {path}")})).await;

        // A ticket that has no work tree yet, on a worker that has the mirror.
        let request = bench.request(&now, "run_command", nothing.clone()).await;
        let claim = Claim { workflow: format!("ticket-NEW-{round}"), ..bench.claim() };
        let began = Instant::now();
        bench.worker.call_tool_for(&claim, request).await.unwrap();
        fresh.push(began.elapsed().as_millis());
    }
    report("open a workspace and run a command, warm", &Median(opened), 1000);
    report("the same in a ticket that has no work tree yet", &Median(fresh), u128::MAX);
    report("read_file", &Median(read), 100);
    report("search_text in one folder", &Median(searched), 100);
    report("edit_file with its snapshot", &Median(edited), 300);
    report("write_file with its snapshot", &Median(written), 300);
    report("run_command that changes one file, with its snapshot", &Median(ran), 300);
    assert!(missed.is_empty(), "missed: {missed:?}");
}

fn size(path: &Path) -> u64 {
    if path.is_dir() { cache::bytes_of(path) } else { path.metadata().map_or(0, |found| found.len()) }
}
