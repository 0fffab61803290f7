//! System calls that builds and tests do not need are refused, whoever asks.

use crate::probe::{Outside, Probe};
use crate::weaken::Weakness::{self, Seccomp};

/// Refused by the filter alone.
const FILTER: &[Weakness] = &[Seccomp];

/// Without the filter, the kernel refuses it for lack of a capability.
const fn twice(name: &'static str, script: &'static str) -> Probe {
    Probe::new(name, script, &[]).root()
}

/// Without the filter, the answer depends on the kernel's settings.
const fn by_kernel(name: &'static str, script: &'static str) -> Probe {
    Probe { perhaps: FILTER, outside: Outside::Untold, ..Probe::new(name, script, &[]) }
}

/// Without the filter, anybody gets through.
const fn filtered(name: &'static str, script: &'static str) -> Probe {
    Probe::new(name, script, FILTER)
}

pub(crate) const PROBES: &[Probe] = &[
    filtered("to mount", "eperm 165 40 0 0 0 0 0; echo held"),
    filtered("to unmount", "eperm 166 39 0 0xffff; echo held"),
    twice("to change the root", "eperm 155 41 0 0; echo held"),
    filtered("to change the root directory", "eperm 161 51 0; echo held"),
    by_kernel("programs in the kernel", "eperm 321 280 9999 0 0; echo held"),
    by_kernel("rings of the kernel", "eperm 425 425 0 0; echo held"),
    filtered("the kernel's keys", "eperm 248 217 0 0 0 0 0; echo held"),
    filtered("key control", "eperm 250 219 9999 0 0 0 0; echo held"),
    filtered("performance counters", "eperm 298 241 0 0 0 0 0; echo held"),
    by_kernel("faults in user space", "eperm 323 282 1; echo held"),
    twice("a kernel module", "eperm 175 105 0 0 0; echo held"),
    twice("another kernel", "eperm 246 104 0 0xfffff 0 0; echo held"),
    filtered("swap space", "eperm 167 224 0 0xffffffff; echo held"),
    twice("to restart the host", "eperm 169 142 0 0 0 0; echo held"),
    filtered("another namespace", "eperm 308 268 -1 0; echo held"),
    filtered("namespaces by unshare", "eperm 272 97 0; echo held"),
    filtered("namespaces by clone", "eperm 56 220 0x10000200 0 0 0 0; echo held"),
    filtered("mounts by handle", "eperm 428 428 -1 0 0xffffff; echo held"),
    twice("file systems by handle", "eperm 430 430 0 0xff; echo held"),
    filtered("attributes of mounts", "eperm 442 442 -1 0 0xfffff 0 0; echo held"),
    by_kernel("quotas", "eperm 179 60 0xffff 0 0 0; echo held"),
    by_kernel("the kernel's log by system call", "eperm 103 116 10 0 0; echo held"),
    by_kernel("notices of all file accesses", "eperm 300 262 0xffffffff 0; echo held"),
    filtered("the clock", "eperm 227 112 9999 0; echo held"),
    twice("the time of day", "eperm 164 170 0 0; echo held"),
    twice("the host's name by system call", "eperm 170 161 0 -1; echo held"),
    twice("process accounting", "eperm 163 89 1; echo held"),
    filtered("execution without random addresses", "eperm 135 92 0x0040000; echo held"),
    filtered("memory policy", "eperm 237 235 0 0 99 0 0 0; echo held"),
    filtered("another process's pages", "eperm 279 239 0 0 0 0 0 0xff; echo held"),
    filtered("memory hidden from the kernel", "eperm 447 447 0xffff; echo held"),
    filtered("to compare processes", "eperm 312 272 999999 999999 0 0 0; echo held"),
    filtered("characters into a terminal", "eperm 16 29 -1 0x5412 0; echo held"),
    // The flags of clone3 lie in memory, so it does not exist: callers fall back to clone.
    filtered("clone3", r#"said=$(call 435 435 0 0); [ "$said" = "result -1 errno 38" ] || leak "$said"; echo held"#),
    filtered(
        "calls of another kind of program",
        r#"[ "$(uname -m)" = x86_64 ] || { echo held; exit; }
        said=$(call 0x40000027 0x40000027 2>&1); [ $? = 159 ] || leak "$said"; echo held"#,
    ),
    filtered(
        "the filters themselves",
        r#"grep -q '^Seccomp:.2$' /proc/self/status || leak "$(grep Seccomp: /proc/self/status)"; echo held"#,
    ),
];
