//! What the sandbox promises, tried from inside.

use std::future::Future as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::*;

const LIMIT: Duration = Duration::from_secs(60);

/// A directory that other users may enter, as a worker's must be.
pub(crate) fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

async fn sandbox() -> Sandbox {
    Sandbox::probe(Settings::default()).await.expect("these tests need bubblewrap 0.8 or later")
}

async fn run(script: &str) -> Finished {
    let directory = open_directory();
    sandbox().await.run(Command::script(script, Some(directory.path().into()), LIMIT)).await.unwrap()
}

/// Whether a process with `marker` among its arguments runs on this host.
fn runs(marker: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).any(|entry| {
        std::fs::read(entry.path().join("cmdline"))
            .is_ok_and(|line| line.split(|b| *b == 0).any(|word| word == marker.as_bytes()))
    })
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(LIMIT, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited in vain for: {what}"));
}

#[tokio::test]
async fn a_command_works_in_its_workspace_and_both_streams_come_in_order() {
    let directory = open_directory();
    std::fs::write(directory.path().join("in.txt"), "hello").unwrap();
    let script = "pwd; cat in.txt >&2; echo; echo out > out.txt; whoami; exit 3";
    let sandbox = sandbox().await;
    let finished = sandbox.run(Command::script(script, Some(directory.path().into()), LIMIT)).await.unwrap();
    assert_eq!(finished.stdout.text(), "/w\nhello\nagent\n");
    assert_eq!(finished.exit, Exit::Code(3));
    assert_eq!(std::fs::read_to_string(directory.path().join("out.txt")).unwrap(), "out\n");

    let apart = Command { errors: Errors::Apart, ..Command::script("echo a; echo b >&2", None, LIMIT) };
    let finished = sandbox.run(apart).await.unwrap();
    assert_eq!((finished.stdout.text().as_str(), finished.stderr.text().as_str()), ("a\n", "b\n"));
}

#[tokio::test]
async fn there_is_no_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let finished = run(&format!(
        "ls /sys/class/net 2>/dev/null; (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>&1 && echo connected; \
         (exec 3<>/dev/tcp/192.0.2.1/80) 2>&1 && echo connected; true"
    ))
    .await;
    let said = finished.stdout.text();
    assert!(said.contains("Connection refused") && said.contains("Network is unreachable"), "{said}");
    assert!(!said.contains("connected\n"), "{said}");
}

#[tokio::test]
async fn nothing_of_the_worker_enters() {
    // Cargo puts this into the environment of every test, as a deployment puts credentials into the worker's.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let finished = run(
        "env; cat /proc/[0-9]*/environ | tr '\\0' '\\n'; for p in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $p; done",
    )
    .await;
    let said = finished.stdout.text();
    assert!(!said.contains("CARGO_MANIFEST_DIR") && !said.contains("/tmp/."), "{said}");

    let descriptors = run("cd /proc/self/fd && echo *").await.stdout.text();
    let open: Vec<_> = descriptors.split_whitespace().collect();
    // Bash has the directory open while it expands the pattern.
    assert_eq!(open, ["0", "1", "2", "3"]);
    let processes = run("ls /proc | grep -c '^[0-9]*$'").await.stdout.text();
    assert!(processes.trim().parse::<u32>().unwrap() < 8, "{processes}");
}

#[tokio::test]
async fn the_host_cannot_be_read_outside_the_binds() {
    let outside = open_directory();
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "host secret").unwrap();
    let finished = run(&format!(
        "cat {0} /proc/1/root{0} /w/../{0} /etc/shadow 2>&1; ls /root /home /var /etc/ssh 2>&1; ln -s {0} link; cat link 2>&1; cat /etc/passwd",
        secret.display()
    ))
    .await;
    let said = finished.stdout.text();
    assert!(!said.contains("host secret"), "{said}");
    // Landlock refuses the way through another process even before the mounts do.
    let refused = said.matches("No such file or directory").count() + said.matches("Permission denied").count();
    assert_eq!(refused, 8, "{said}");
    assert!(!said.contains("daemon"), "the host's users are not listed: {said}");
}

#[tokio::test]
async fn only_the_workspace_can_be_written() {
    let finished = run(
        "for d in / /usr /usr/bin /etc /run /dev /proc/sys/kernel /home; do touch $d/x 2>/dev/null && echo wrote $d; done; \
         touch /w/x /tmp/x ~/x /dev/shm/x && echo fine",
    )
    .await;
    assert_eq!(finished.stdout.text(), "fine\n");
}

#[tokio::test]
async fn dangerous_calls_are_refused_and_usual_tools_work() {
    let script = "unshare -U true 2>&1; mount -t tmpfs t /tmp 2>&1; \
        python3 -c 'import socket; socket.socket(socket.AF_PACKET)' 2>&1 | tail -1; \
        python3 -c 'import getpass, multiprocessing as m; print(getpass.getuser(), m.Pool(2).map(abs, [-1, -2]))'; \
        git init -q r && git -C r status --short && getent hosts localhost; grep CapEff /proc/self/status";
    let said = run(script).await.stdout.text();
    for expected in ["unshare failed", "PermissionError", "agent [1, 2]", "localhost", "CapEff:\t0000000000000000"] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
}

#[tokio::test]
async fn a_time_out_kills_the_whole_tree() {
    let marker = format!("86{}.1", std::process::id());
    let directory = open_directory();
    let script = format!("setsid sleep {marker} & (setsid sleep {marker} &) ; sleep {marker}");
    let command = Command::script(&script, Some(directory.path().into()), Duration::from_secs(2));
    let finished = sandbox().await.run(command).await.unwrap();
    assert_eq!(finished.exit, Exit::TimedOut);
    assert!(finished.duration < Duration::from_secs(20), "{:?}", finished.duration);
    assert!(!runs(&marker));
}

#[tokio::test]
async fn what_a_command_leaves_behind_ends_with_it() {
    let marker = format!("86{}.2", std::process::id());
    let finished = run(&format!("setsid sleep {marker} & echo started")).await;
    assert_eq!((finished.exit, finished.stdout.text().as_str()), (Exit::Code(0), "started\n"));
    assert!(finished.duration < Duration::from_secs(20), "{:?}", finished.duration);
    assert!(!runs(&marker));
}

#[tokio::test]
async fn dropping_the_run_kills_everything() {
    let marker = format!("86{}.3", std::process::id());
    let directory = open_directory();
    let script = format!("setsid sleep {marker} & touch up; sleep {marker}");
    let sandbox = sandbox().await;
    let run = sandbox.run(Command::script(&script, Some(directory.path().into()), LIMIT));
    let up = directory.path().join("up");
    tokio::select! {
        ended = run => panic!("ended by itself: {ended:?}"),
        () = until("the command to start", || up.exists() && runs(&marker)) => {}
    }
    assert!(!runs(&marker), "the drop returned with everything dead");
}

/// The launcher has done its part, and whoever ordered never looks.
#[tokio::test]
async fn a_sandbox_that_was_started_for_nobody_ends() {
    let marker = format!("86{}.6", std::process::id());
    let sandbox = sandbox().await;
    let mut run = Box::pin(sandbox.run(Command::script(&format!("sleep {marker}"), None, LIMIT)));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    while !runs(&marker) {
        // Polled only until the order is with the launcher's thread, by chance also further.
        assert!(run.as_mut().poll(&mut context).is_pending());
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(run);
    assert!(!runs(&marker));
}

#[tokio::test]
async fn a_newer_attempt_ends_the_older_ones_group() {
    let marker = format!("86{}.4", std::process::id());
    let directory = open_directory();
    let record = directory.path().join("group");
    let script = format!("sleep {marker}");
    let command = Command { record: Some(record.clone()), ..Command::script(&script, None, LIMIT) };
    let sandbox = sandbox().await;
    let ends = async {
        until("the command to start", || record.exists() && runs(&marker)).await;
        tokio::task::spawn_blocking({
            let record = record.clone();
            move || end_recorded(&record)
        })
        .await
        .unwrap();
    };
    let (finished, ()) = tokio::join!(sandbox.run(command), ends);
    assert_eq!(finished.unwrap().exit, Exit::Cancelled);
    assert!(!record.exists());

    // A process id that was used again is left alone.
    std::fs::write(&record, format!("{} 1", std::process::id())).unwrap();
    end_recorded(&record);
}

#[tokio::test]
async fn what_a_worker_left_in_the_moment_of_a_launch_is_ended_too() {
    use std::os::unix::process::CommandExt as _;
    let marker = format!("86{}.5", std::process::id());
    let directory = open_directory();
    let record = directory.path().join("group");
    // A leader that is gone, as a bubblewrap that died with its worker, and a member of its group that waits for it.
    let mut leader = std::process::Command::new("sh")
        .args(["-c", &format!("sleep {marker} & read line")])
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let started = tree::start_time(leader.id()).unwrap();
    until("the member to start", || runs(&marker)).await;
    drop(leader.stdin.take());
    leader.wait().unwrap();
    std::fs::write(&record, format!("{} {started}", leader.id())).unwrap();
    end_recorded(&record);
    until("the member to end", || !runs(&marker)).await;
}

#[tokio::test]
async fn output_is_capped_and_counted() {
    let finished = run("echo first; head -c 50000000 /dev/zero | tr '\\0' x; echo; echo last").await;
    let text = finished.stdout.text();
    assert_eq!(finished.stdout.total(), 50_000_012);
    assert!(text.len() < 70_000 && text.starts_with("first\n") && text.ends_with("\nlast\n"));
    assert!(text.contains("bytes left out"));
}

#[tokio::test]
async fn a_fork_bomb_is_bounded() {
    let script = r#"python3 -c '
import os, time
n = 0
try:
    while n < 5000:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        n += 1
except BlockingIOError:
    print("stopped at", n)
'"#;
    let said = run(script).await.stdout.text();
    let stopped = said.trim().strip_prefix("stopped at ").unwrap_or_else(|| panic!("{said}")).parse::<u32>().unwrap();
    assert!(stopped <= 256, "{stopped}");
}

#[tokio::test]
async fn memory_and_file_size_are_bounded() {
    let script =
        "python3 -c 'bytearray(3 << 30)' 2>&1 | tail -1; head -c 2000000000 /dev/zero > big; stat -c %s big; rm big";
    let said = run(script).await.stdout.text();
    assert!(said.contains("MemoryError") && said.contains("1073741824"), "{said}");
}

#[tokio::test]
async fn a_workspace_that_outgrows_its_disk_is_stopped() {
    let directory = open_directory();
    let sandbox = Sandbox::probe(Settings { disk_bytes: 10 << 20, ..Settings::default() }).await.unwrap();
    let script = "for i in 1 2 3 4; do head -c 5000000 /dev/zero > f$i; done; sleep 60";
    let finished = sandbox.run(Command::script(script, Some(directory.path().into()), LIMIT)).await.unwrap();
    assert!(matches!(&finished.exit, Exit::OverLimit(which) if which.starts_with("disk: ")), "{:?}", finished.exit);
}

#[tokio::test]
async fn what_cannot_start_is_told_apart_from_what_fails() {
    let sandbox = sandbox().await;
    let absent = Command::script("true", Some("/nonexistent/workspace".into()), LIMIT);
    let refused = sandbox.run(absent).await;
    match refused {
        Ok(finished) => assert!(matches!(finished.exit, Exit::LaunchFailed(_)), "{:?}", finished.exit),
        // As root, the workspace is handed over before bubblewrap looks for it.
        Err(error) => assert_eq!(error.kind, FailureKind::Unsupported),
    }
    let bind = Bind { from: "/nonexistent/file".into(), to: "/run/file".into(), writable: false };
    let finished = sandbox.run(Command { binds: vec![bind], ..Command::script("true", None, LIMIT) }).await.unwrap();
    assert!(
        matches!(&finished.exit, Exit::LaunchFailed(why) if why.contains("/nonexistent/file")),
        "{:?}",
        finished.exit
    );
}

#[tokio::test]
async fn what_no_system_call_can_carry_never_becomes_an_option_of_bubblewrap() {
    let sandbox = sandbox().await;
    let smuggled = [("X".to_owned(), "y\0--bind\0/\0/host".to_owned())].to_vec();
    let commands = [
        (Command { env: smuggled, ..Command::script("ls /host", None, LIMIT) }, "NUL byte"),
        (Command::script("echo \0", None, LIMIT), "NUL byte"),
        (Command::script(&"x".repeat(200_000), None, LIMIT), "longer than 128 KB"),
        (Command { argv: Vec::new(), ..Command::script("", None, LIMIT) }, "no program"),
    ];
    for (command, expected) in commands {
        let exit = sandbox.run(command).await.unwrap().exit;
        assert!(matches!(&exit, Exit::NotStarted(why) if why.contains(expected)), "{exit:?}");
    }
}

/// What the sandbox says of `script`, in a new workspace, under `settings`.
async fn run_under(settings: Settings, script: &str) -> Finished {
    let directory = open_directory();
    let sandbox = Sandbox::probe(settings).await.unwrap();
    sandbox.run(Command::script(script, Some(directory.path().into()), LIMIT)).await.unwrap()
}

fn assert_over(finished: &Finished, which: &str) {
    let held = matches!(&finished.exit, Exit::OverLimit(said) if said.starts_with(which));
    assert!(held, "{which}: {:?} {}", finished.exit, finished.stdout.text());
}

/// Each process stays below its own limit, all of them do not.
const MANY_HOGS: &str =
    "for i in 1 2 3 4; do python3 -c 'import time; b = bytearray(b\"x\") * (90 << 20); time.sleep(60)' & done; wait";

#[tokio::test]
async fn the_memory_of_all_processes_together_is_bounded() {
    let settings = Settings { memory_bytes: 200 << 20, ..Settings::default() };
    assert_over(&run_under(settings.clone(), MANY_HOGS).await, "memory: ");
    let watched = Settings { control_groups: false, ..settings.clone() };
    assert_over(&run_under(watched.clone(), MANY_HOGS).await, "memory: ");
    // Files in memory that no directory shows and no process has mapped.
    let unnamed = "python3 -c '
import os, time
for n in range(4):
    f = os.memfd_create(str(n))
    for _ in range(90): os.write(f, bytes(1 << 20))
time.sleep(60)'";
    assert_over(&run_under(watched.clone(), unnamed).await, "memory: ");
    let files = "head -c 300000000 /dev/zero > /tmp/big; sleep 60";
    assert_over(&run_under(watched.clone(), files).await, "memory: ");
    let few = Settings { files: 2_000, ..watched };
    let flood = "cd /tmp; for n in $(seq 5000); do : > $n; done; sleep 60";
    assert_over(&run_under(few, flood).await, "memory: 5");

    let sandbox = Sandbox::probe(settings.clone()).await.unwrap();
    if sandbox.inner.groups.count_memory() {
        let big_build = run_under(settings, "head -c 300000000 /dev/zero > /tmp/big; echo $?; sleep 1").await;
        assert_over(&big_build, "memory: 200 MB is all it may have, files in /tmp");
    }
}

#[tokio::test]
async fn a_flood_of_files_and_nesting_without_end_are_stopped() {
    let settings = Settings { files: 2_000, ..Settings::default() };
    let flood = "python3 -c '
import time
for n in range(6000): open(str(n), \"w\")
time.sleep(60)'";
    let flooded = run_under(settings, flood).await;
    assert_over(&flooded, "disk: ");
    assert!(matches!(&flooded.exit, Exit::OverLimit(which) if which.ends_with(" files of 2000")), "{:?}", flooded.exit);

    let nest = "python3 -c '
import os, time
for n in range(3000): os.mkdir(\"d\"); os.chdir(\"d\")
time.sleep(60)'";
    let directory = open_directory();
    let sandbox = sandbox().await;
    let command = |script: &str| Command::script(script, Some(directory.path().into()), LIMIT);
    assert_over(&sandbox.run(command(nest)).await.unwrap(), "disk: directories are nested too deep");
    let next = sandbox.run(command("true")).await.unwrap().exit;
    let is_told = matches!(&next, Exit::NotStarted(why) if why.contains("nested too deep"));
    assert!(is_told || next == Exit::Code(0), "{next:?}");
    remove_all(directory.path()).unwrap();
}

#[tokio::test]
async fn files_without_a_name_count_as_disk() {
    let settings = Settings { disk_bytes: 10 << 20, ..Settings::default() };
    let script = "exec 7> hidden; rm hidden; head -c 30000000 /dev/zero >&7; sleep 60";
    assert_over(&run_under(settings, script).await, "disk: ");
}

#[tokio::test]
async fn a_control_group_goes_with_its_command() {
    let sandbox = sandbox().await;
    let group = sandbox.inner.groups.make().unwrap();
    let directories = group.directories().to_vec();
    assert!(directories.iter().all(|directory| directory.exists()));
    drop(group);
    until("the groups to go", || {
        sandbox.inner.groups.make().unwrap();
        directories.iter().all(|directory| !directory.exists())
    })
    .await;
    if !directories.is_empty() {
        let inside = sandbox.run(Command::script("cat /proc/self/cgroup", None, LIMIT)).await.unwrap().stdout.text();
        assert!(!inside.contains("ticketwright"), "the host's groups have no names inside: {inside}");
    }
}

#[tokio::test]
async fn what_is_left_of_a_killed_bubblewrap_is_taken_off_the_kernels_list() {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let directory = open_directory();
    let record = directory.path().join("group");
    let marker = format!("86{}.5", std::process::id());
    let command = Command { record: Some(record.clone()), ..Command::script(&format!("sleep {marker}"), None, LIMIT) };
    let sandbox = sandbox().await;
    let ends = async {
        until("the command to start", || record.exists() && runs(&marker)).await;
        let children = children();
        tokio::task::spawn_blocking(move || end_recorded(&record)).await.unwrap();
        children
    };
    let (finished, before) = tokio::join!(sandbox.run(command), ends);
    assert_eq!(finished.unwrap().exit, Exit::Cancelled);
    let zombie =
        |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains("(bwrap) Z"));
    until("no zombie", || !children().iter().any(|pid| !before.contains(pid) && zombie(pid))).await;
    nix::sys::prctl::set_child_subreaper(false).unwrap();
}

/// Processes whose parent we are.
fn children() -> Vec<u32> {
    let line = format!("PPid:\t{}\n", std::process::id());
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let ours =
        |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|text| text.contains(&line));
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(ours).collect()
}

/// A program in place of bubblewrap. It says a good version and does `rest` with bubblewrap's arguments.
fn shim(directory: &Path, version: &str, rest: &str) -> Settings {
    let path = directory.join("bwrap");
    let script = format!("#!/bin/bash\n[ \"$1\" = --version ] && {{ echo 'bubblewrap {version}'; exit 0; }}\n{rest}\n");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Settings { bubblewrap: path, ..Settings::default() }
}

/// Takes some of bubblewrap's options away, or replaces them, as a host does that lacks something.
fn with(pattern: &str, replacement: &str) -> String {
    format!(
        "exec /usr/bin/python3 -c '
import os, re, sys
options = re.sub({pattern:?}.encode(), {replacement:?}.encode(), os.read(3, 1 << 20))
changed = os.memfd_create(\"options\", 0)
os.write(changed, options)
os.lseek(changed, 0, 0)
os.dup2(changed, 3)
os.execv(\"/usr/bin/bwrap\", [\"bwrap\", *sys.argv[1:]])' \"$@\""
    )
}

#[tokio::test]
async fn a_host_that_lacks_a_piece_is_told_which() {
    let directory = open_directory();
    let refuses = |line: &str| format!("echo 'bwrap: {line}' >&2; exit 1");
    let cases = [
        ("0.6.1", String::new(), "version 0.6.1, which is too old: install bubblewrap 0.8"),
        ("?", String::new(), "does not tell a version"),
        (
            "0.8.0",
            refuses(
                "No permissions to create new namespace, likely because the kernel does not allow non-privileged user namespaces.",
            ),
            "Allow unprivileged user namespaces",
        ),
        ("0.8.0", refuses("setting up uid map: Permission denied"), "AppArmor"),
        ("0.8.0", refuses("Unknown option --disable-userns"), "Install bubblewrap 0.8"),
        ("0.8.0", refuses("prctl(PR_SET_SECCOMP): Invalid argument"), "CONFIG_SECCOMP_FILTER"),
        ("0.8.0", with("--add-seccomp-fd.[0-9]+.", ""), "lacks: seccomp filters"),
        (
            "0.8.0",
            with("--unshare-all.", "--unshare-ipc\0--unshare-pid\0--unshare-uts\0"),
            "a network namespace of its own",
        ),
    ];
    for (version, rest, expected) in cases {
        let error = Sandbox::probe(shim(directory.path(), version, &rest)).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Unsupported);
        assert!(error.message.contains(expected), "{expected} in {error}");
    }
    let missing = Settings { bubblewrap: "/nonexistent/bwrap".into(), ..Settings::default() };
    let error = Sandbox::probe(missing).await.unwrap_err();
    assert!(error.kind == FailureKind::Unsupported && error.message.contains("install bubblewrap"), "{error}");
}

#[tokio::test]
async fn what_the_second_line_lacks_is_a_warning() {
    let settings = Settings { control_groups: false, inside: Some("/nonexistent/x".into()), ..Settings::default() };
    let sandbox = Sandbox::probe(settings).await.unwrap();
    let all = sandbox.warnings().join("\n");
    for expected in ["No control groups", "No Landlock (ticketwright-inside is not there: /nonexistent/x)", "soft cap"]
    {
        assert!(all.contains(expected), "{expected} in {all}");
    }
    assert!(!sandbox.has_helper());
}

#[tokio::test]
async fn a_helper_that_was_not_made_with_this_worker_is_named_at_the_start() {
    let directory = open_directory();
    let helper = directory.path().join("helper");
    let settings = Settings { inside: Some(helper.clone()), ..Settings::default() };
    let version = env!("CARGO_PKG_VERSION");
    for script in [
        "echo fully".to_owned(),
        format!(
            "[ \"$1\" = about ] && echo fully {version} || {{ echo 'ticketwright-inside: unknown option --x'; exit 126; }}"
        ),
    ] {
        std::fs::write(&helper, format!("#!/bin/bash\n{script}\n")).unwrap();
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = Sandbox::probe(settings.clone()).await.unwrap_err();
        let expected = "ticketwright-inside is of another version: install both from one release";
        assert_eq!(error.message, expected, "{script}");
    }
}
