//! Written is the workspace, and memory of limited size.

use crate::probe::Probe;
use crate::weaken::Weakness::{Remount, RemountDev, Seccomp, Sizes, System};

/// Everything that makes a writable root.
const ROOT: &[crate::weaken::Weakness] = &[Remount];

pub(crate) const PROBES: &[Probe] = &[
    Probe::new("to write to /", r#"must_fail write_to /; echo held"#, ROOT).root(),
    Probe::new("to write to /usr", r#"for d in /usr /usr/bin /usr/lib /usr/local; do must_fail write_to $d; done; echo held"#, &[]).root(),
    Probe::new("to write to /etc", r#"must_fail write_to /etc; must_fail sh -c 'echo x >> /etc/passwd.probe && rm /etc/passwd.probe'; echo held"#, &[]).root(),
    Probe::new("to write to /run", r#"must_fail write_to /run; echo held"#, ROOT).root(),
    Probe::new("to write to /home", r#"must_fail write_to /home; echo held"#, ROOT).root(),
    Probe::new("to write to /dev", r#"must_fail write_to /dev; echo held"#, &[RemountDev]).root(),
    Probe::new("to write to /proc/sys", r#"[ -w /proc/sys/kernel/hostname ] && sh -c 'cat /proc/sys/kernel/hostname > /proc/sys/kernel/hostname' 2>/dev/null && leak written; echo held"#, &[]).root(),
    Probe::new("to write to /sys", r#"must_fail ls /sys/kernel; echo held"#, &[System]),
    Probe::new("to give the system's files another mode", r#"must_fail chmod --reference=/usr/bin/env /usr/bin/env; echo held"#, &[]).root(),
    Probe::new("a device file", r#"must_fail mknod null c 1 3; rm -f null; echo held"#, &[]).root(),
    Probe::new("another owner for a file", r#"touch mine; must_fail chown 1 mine; rm -f mine; echo held"#, &[]).root(),
    Probe::new("the size of /tmp", r#"s=$(df -k --output=size /tmp | tail -1); [ "$s" -le 524288 ] || leak "$s KB"; echo held"#, &[Sizes]).untold().perhaps(&[System]),
    Probe::new("the size of the home directory", r#"s=$(df -k --output=size ~ | tail -1); [ "$s" -le 524288 ] || leak "$s KB"; echo held"#, &[Sizes]).untold().perhaps(&[System]),
    Probe::new("the size of shared memory", r#"s=$(df -k --output=size /dev/shm | tail -1); [ "$s" -le 65536 ] || leak "$s KB"; echo held"#, &[Sizes]).untold(),
    Probe::new("a file beside the workspace", r#"must_fail write_to "$P_DIR"; must_fail write_to ..; echo held"#, ROOT).perhaps(&[System]),
    Probe::new("a file through a link out", r#"ln -sfn "$P_DIR" out; must_fail write_to out; rm -f out; echo held"#, &[]).perhaps(&[System]),
    Probe::new("the host's mounts", r#"n=$(wc -l < /proc/self/mountinfo); [ "$n" -lt 60 ] || leak "$n mounts"; [ -e /work ] && leak /work; [ -e /root ] && leak /root; [ -e /var ] && leak /var; echo held"#, &[System]),
    Probe::new("files by their handles", r#"eperm 304 265 -1 0 0; eperm 303 264 -1 0 0 0 0xffff; echo held"#, &[Seccomp]),
    Probe::new("to take the host's own view back", r#"must_fail chroot /proc/1/root true; must_fail python3 -c 'import os; os.chroot("/proc/self/root")'; echo held"#, &[]).root().perhaps(&[Seccomp]),
];
