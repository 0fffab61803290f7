//! Other processes are neither seen nor touched.

use crate::probe::Probe;
use crate::weaken::Weakness::{Capabilities, CgroupNames, Hostname, Nesting, Pids, Seccomp, Session, UserIds};

pub(crate) const PROBES: &[Probe] = &[
    Probe::new("the host's processes", r#"n=$(ls /proc | grep -c '^[0-9]*$'); [ "$n" -lt 8 ] || leak "$n processes"; echo held"#, &[Pids]),
    Probe::new("the worker's process", r#"[ -e "/proc/$P_PID/stat" ] && grep -qs probes "/proc/$P_PID/comm" && leak "$(cat "/proc/$P_PID/comm")"; echo held"#, &[Pids]),
    Probe::new("a signal to the worker", r#"kill -0 "$P_PID" 2>/dev/null && leak "pid $P_PID takes signals"; echo held"#, &[]).perhaps(&[Pids]),
    Probe::new("a signal to everything", r#"n=$(python3 -c 'import os
try: os.kill(int(os.environ["P_VICTIM"]), 0); print("reached")
except OSError as error: print(error.errno)'); [ "$n" = 3 ] || leak "$n"; echo held"#, &[Pids]),
    Probe::new("a session with the worker's terminal", r#"python3 -c 'import os, sys; sys.exit(os.getsid(0) != 0)' && leak "session 0"; must_fail sh -c 'exec < /dev/tty'; echo held"#, &[Session]).untold(),
    Probe::new("input from the worker", r#"[ -z "$(timeout 3 cat)" ] || leak "input"; [ "$(readlink /proc/self/fd/0)" = /dev/null ] || leak "$(readlink /proc/self/fd/0)"; echo held"#, &[]).untold(),
    Probe::new("effective capabilities", r#"grep -q '^CapEff:.0000000000000000$' /proc/self/status || leak "$(grep Cap /proc/self/status)"; echo held"#, &[Capabilities]).root(),
    Probe::new("capabilities to be had", r#"grep -Eq '^Cap(Bnd|Prm|Inh|Amb):.*[1-9a-f]' /proc/self/status && leak "$(grep Cap /proc/self/status)"; echo held"#, &[Capabilities]),
    Probe::new("new privileges by set-user-id programs", r#"grep -q '^NoNewPrivs:.1$' /proc/self/status || leak "$(grep NoNew /proc/self/status)"; echo held"#, &[]),
    Probe::new("to be root", r#"[ "$(id -u)" != 0 ] || leak "uid 0"; must_fail python3 -c 'import os; os.setuid(0)'; echo held"#, &[UserIds]).root(),
    Probe::new("another user's id", r#"must_fail python3 -c 'import os; os.setuid(1)'; must_fail python3 -c 'import os; os.setgroups([0])'; echo held"#, &[]).root().perhaps(&[UserIds]),
    Probe::new("a user namespace of its own", r#"must_fail unshare -U true; echo held"#, &[Nesting]).untold(),
    Probe::new("the host's name", r#"[ "$(uname -n)" = sandbox ] || leak "$(uname -n)"; echo held"#, &[Hostname]),
    Probe::new("the host's control groups", r#"grep -v ':/$' /proc/self/cgroup | grep -q . && leak "$(grep -v ':/$' /proc/self/cgroup | head -2)"; echo held"#, &[]).untold().perhaps(&[CgroupNames]),
    Probe::new("a better priority", r#"must_fail python3 -c 'import os; os.nice(-5)'; echo held"#, &[]).root().perhaps(&[Capabilities]),
    Probe::new("a higher limit", r#"must_fail bash -c 'ulimit -Hn 100000'; must_fail bash -c 'ulimit -Hu 100000'; echo held"#, &[]).untold().perhaps(&[Capabilities]),
    Probe::new("another process's memory by system call", r#"eperm 310 270 0 0 0 0 0 1; eperm 311 271 0 0 0 0 0 1; echo held"#, &[Seccomp]),
    Probe::new("to trace a process", r#"eperm 101 117 0 0 0 0; echo held"#, &[Seccomp]),
    Probe::new("another process's descriptors by system call", r#"eperm 438 438 -1 -1 1; echo held"#, &[Seccomp]),
];
