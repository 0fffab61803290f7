//! Nothing that the worker knows enters. Whatever a script says, it leaks when the planted word is in what it printed.

use crate::probe::Probe;
use crate::weaken::Weakness::{CommandLine, Descriptors, Environment, Ipc, Pids, System};

pub(crate) const PROBES: &[Probe] = &[
    Probe::new("the worker's environment", r#"env; echo held"#, &[Environment]),
    Probe::new("the environment of the first process", r#"tr '\0' '\n' < /proc/1/environ; echo held"#, &[Environment]).untold().perhaps(&[Pids]),
    Probe::new("the environment of any process", r#"cat /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' | grep -a -m1 '^P_SECRET='; echo held"#, &[Environment]).perhaps(&[Pids]),
    Probe::new("arguments of any process", r#"cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' | grep -a -m1 'secret-[0-9]'; echo held"#, &[Pids]),
    Probe::new("bubblewrap's arguments", r#"
        tr '\0' '\n' < /proc/1/cmdline | grep -q -e '--die-with[-]parent' && leak "$(tr '\0' ' ' < /proc/1/cmdline)"; echo held"#, &[CommandLine]).untold(),
    Probe::new("a descriptor of the worker", r#"for fd in /proc/self/fd/*; do [ "${fd##*/}" -gt 2 ] && timeout 1 head -c 4000 "$fd" 2>/dev/null; done; echo held"#, &[Descriptors]),
    Probe::new("descriptors of other processes", r#"for fd in /proc/[0-9]*/fd/*; do
        case "$(readlink "$fd")" in "$P_DIR"*) timeout 1 head -c 4000 "$fd" 2>/dev/null;; esac; done; echo held"#, &[Descriptors]).perhaps(&[Pids]),
    Probe::new("a readable file of the host", r#"cat "$P_DIR/secret"; echo held"#, &[System]),
    Probe::new("the same by another process's root", r#"for root in /proc/[0-9]*/root; do cat "$root$P_DIR/secret" 2>/dev/null; done; echo held"#, &[System]).perhaps(&[Pids]),
    Probe::new("the same by another process's directory", r#"for cwd in /proc/[0-9]*/cwd; do cat "$cwd/../../../../../../../..$P_DIR/secret" 2>/dev/null; done; echo held"#, &[System]).perhaps(&[Pids]),
    Probe::new("the same by a link in the workspace", r#"ln -sf "$P_DIR/secret" way; cat way; rm -f way; echo held"#, &[System]),
    Probe::new("memory that the host shares", r#"python3 -c '
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True); libc.shmat.restype = ctypes.c_void_p
found = libc.shmget(int(os.environ["P_SHM"]), 0, 0)
at = libc.shmat(found, None, 0o10000) if found >= 0 else None
print(ctypes.string_at(at, 64).decode(errors="replace") if at else "none")' 2>&1; echo held"#, &[Ipc]),
    Probe::new("the list of what the host shares", r#"[ "$(wc -l < /proc/sysvipc/shm)" -le 1 ] || leak "$(cat /proc/sysvipc/shm)"; echo held"#, &[Ipc]),
    Probe::new("the host's users", r#"[ "$(wc -l < /etc/passwd)" = 2 ] || leak "$(head -3 /etc/passwd)"; echo held"#, &[]).perhaps(&[System]),
    Probe::new("keys of the host's own TLS", r#"must_fail ls /etc/ssl/private; [ "$(ls /etc/ssl)" ] && [ "$(ls /etc/ssl | grep -v -x -e certs -e openssl.cnf)" ] && leak "$(ls /etc/ssl)"; echo held"#, &[]).untold().perhaps(&[System]),
    Probe::new("home directories", r#"[ -z "$(ls -d /root/.[a-z]* /home/[!u]* 2>/dev/null)" ] || leak "$(ls -d /root /home/*)"; echo held"#, &[]).root().perhaps(&[System]),
    Probe::new("control sockets of the host", r#"
        for path in /var/run /run/docker.sock /run/dbus /run/systemd /run/user; do [ -e $path ] && leak $path; done; echo held"#, &[System]),
    Probe::new("the kernel's log", r#"must_fail dmesg; must_fail head -c 1 /dev/kmsg; echo held"#, &[]).untold(),
    Probe::new("the host's block devices", r#"[ -z "$(find /dev -type b 2>/dev/null)" ] || leak "$(find /dev -type b)"; must_fail ls /sys/block; echo held"#, &[System]),
];
