//! kill -9 of a worker in the middle of a command: nothing of it goes on, and the next worker comes to the same files.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::*;

/// Longest wait for something to happen.
const LIMIT: Duration = Duration::from_secs(60);
/// Where the other process finds its errand.
const ERRAND: &str = "TICKETWRIGHT_TEST_ERRAND";

/// A call for a worker in a process of its own.
#[derive(Serialize, Deserialize)]
struct Errand {
    directory: PathBuf,
    blobs: PathBuf,
    origin: PathBuf,
    activity: String,
    call: WorkspaceCall,
}

/// The worker that is killed: the first test, in another process.
async fn be_the_other_worker(errand: &Path) {
    let errand: Errand = serde_json::from_slice(&std::fs::read(errand).unwrap()).unwrap();
    let blobs = Blobs::open(errand.blobs.to_str().unwrap()).unwrap();
    let worker = worker(&errand.directory, &blobs, &errand.origin).await;
    let claim = Claim { workflow: "ticket-SHOP-1".into(), activity: errand.activity, attempt: 1 };
    worker.call_tool_for(&claim, errand.call).await.unwrap();
}

/// A process with this argument.
fn runs(marker: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).any(|entry| {
        std::fs::read(entry.path().join("cmdline"))
            .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == marker.as_bytes()))
    })
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LIMIT, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn start(errand: &Errand, file: &Path) -> Child {
    start_by(&mut Process::new(std::env::current_exe().unwrap()), errand, file)
}

fn start_by(program: &mut Process, errand: &Errand, file: &Path) -> Child {
    std::fs::write(file, serde_json::to_vec(errand).unwrap()).unwrap();
    program
        .args(["--exact", "workspace::tests::killed::the_next_worker_goes_on_where_a_killed_one_was"])
        .env(ERRAND, file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn the_next_worker_goes_on_where_a_killed_one_was() {
    if let Some(errand) = std::env::var_os(ERRAND) {
        return be_the_other_worker(Path::new(&errand)).await;
    }
    let bench = Bench::new().await;
    let directory = bench.directory.path().join("killed");
    let file = bench.directory.path().join("errand.json");
    let before = bench.write(&bench.base(), "a.txt", "a\n").await;
    // The first call leaves a work tree behind, which the second takes and dies in.
    let seconds = format!("4{}.5", std::process::id());
    let work = "mkdir -p build; echo half >> half.txt; echo b >> a.txt; rm -r shop";
    for (activity, command, dies) in
        [("first", "mkdir build".to_owned(), false), ("second", format!("{work}; sleep {seconds}"), true)]
    {
        let call = bench.request(&before, "run_command", json!({"command": command})).await;
        let call = WorkspaceCall { command_seconds: 600, ..call };
        let (blobs, origin) = (bench.directory.path().join("blobs"), bench.origin.clone());
        let errand = Errand { directory: directory.clone(), blobs, origin, activity: activity.into(), call };
        let mut child = start(&errand, &file);
        if dies {
            until("the command", || runs(&seconds));
            child.kill().unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(9));
            until("the end of the command", || !runs(&seconds));
        } else {
            assert!(child.wait().unwrap().success());
        }
    }
    let left = names(&directory.join("work"));
    assert!(left.iter().any(|name| name.ends_with(".1")), "{left:?}");

    // The repeated call, on a new worker on the same directory and on one that has nothing.
    let again = worker(&directory, &bench.blobs, &bench.origin).await;
    swept(&directory.join("work"), &[]);
    let command = json!({"command": format!("{work}; ls")});
    let request = bench.request(&before, "run_command", command.clone()).await;
    let claim = Claim { workflow: "ticket-SHOP-1".into(), activity: "second".into(), attempt: 2 };
    let here = again.call_tool_for(&claim, request).await.unwrap();
    let said = bench.text(&here.reply.output).await;
    assert!(said.starts_with("Files changed: M a.txt, A half.txt, D shop/__init__.py"), "{said}");
    let other = bench.another_worker().await;
    let (there, _) = bench.call_on(&other, &before, "run_command", command).await;
    assert_eq!(here.workspace, there);
    let (_, read) = bench.call(&there, "read_file", json!({"path": "half.txt"})).await;
    assert_eq!(read.unwrap(), "     1\thalf\n", "done once");
}

#[tokio::test]
async fn a_worker_killed_in_the_middle_of_a_blob_leaves_nothing_that_counts() {
    let bench = Bench::new().await;
    let base = bench.base();
    let directory = bench.directory.path().join("killed");
    let file = bench.directory.path().join("errand.json");
    let command = "python3 -c \"import random; open('big.bin', 'wb').write(random.Random(7).randbytes(3000000))\"";
    let call = bench.request(&base, "run_command", json!({"command": command})).await;
    let (blobs, origin) = (bench.directory.path().join("blobs"), bench.origin.clone());
    let errand = Errand { directory: directory.clone(), blobs: blobs.clone(), origin, activity: "cut".into(), call };
    // The system kills whoever writes past this size (SIGXFSZ): of all this worker writes itself, the bundle alone.
    let mut limited = Process::new("bash");
    limited.args(["-c", "ulimit -Sf 1024; exec \"$@\"", "-"]).arg(std::env::current_exe().unwrap());
    let status = start_by(&mut limited, &errand, &file).wait().unwrap();
    assert_eq!(status.signal(), Some(25), "{status:?}");
    let halves = || {
        let stored = blobs.join("sha256");
        let all = names(&stored).into_iter().flat_map(|folder| {
            let folder = stored.join(folder);
            names(&folder).into_iter().map(move |name| folder.join(name)).collect::<Vec<_>>()
        });
        all.filter(|path| path.metadata().unwrap().len() == 1 << 20).collect::<Vec<_>>()
    };
    let half = halves();
    assert_eq!(half.len(), 1, "{half:?}");

    let again = worker(&directory, &bench.blobs, &bench.origin).await;
    let request = bench.request(&base, "run_command", json!({"command": command})).await;
    let claim = Claim { workflow: "ticket-SHOP-1".into(), activity: "cut".into(), attempt: 2 };
    let here = again.call_tool_for(&claim, request).await.unwrap().workspace;
    let bundle = here.snapshot.clone().unwrap().bundle;
    assert!(bench.blobs.get(&bundle).await.unwrap().len() > 3_000_000);
    let other = bench.another_worker().await;
    let (there, said) = bench.call_on(&other, &here, "run_command", json!({"command": "stat -c %s big.bin"})).await;
    assert!(said.unwrap().ends_with("\n3000000"));
    assert_eq!(there, here);
}
