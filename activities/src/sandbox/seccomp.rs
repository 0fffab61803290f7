//! Which system calls a sandboxed command may not make, compiled to the BPF programs that bubblewrap loads.

use seccompiler::{BpfProgram, TargetArch, compile_from_json, sock_filter};
use serde_json::{Value, json};

/// Refused on every architecture: other processes' memory, mounts, kernel modules, keys, clocks, and kernel interfaces
/// that ordinary builds and tests never need.
const REFUSED: &str = "ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp mount umount2 \
    pivot_root chroot swapon swapoff reboot bpf io_uring_setup io_uring_enter io_uring_register add_key request_key \
    keyctl perf_event_open userfaultfd init_module finit_module delete_module kexec_load kexec_file_load setns unshare \
    open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr quotactl quotactl_fd acct syslog \
    open_by_handle_at name_to_handle_at fanotify_init fanotify_mark lookup_dcookie nfsservctl settimeofday \
    clock_settime clock_adjtime adjtimex sethostname setdomainname vhangup move_pages migrate_pages mbind \
    set_mempolicy set_mempolicy_home_node memfd_secret";

/// Exist on x86_64 only.
const REFUSED_X86_64: &str =
    "modify_ldt iopl ioperm uselib ustat sysfs _sysctl create_module get_kernel_syms query_module";

/// `CLONE_NEW*` bits: mount, cgroup, UTS, IPC, user, PID and network namespaces.
const NAMESPACE_FLAGS: [u32; 7] =
    [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
/// `TIOCSTI` and `TIOCLINUX`: push characters into a terminal.
const TERMINAL_IOCTLS: [u32; 2] = [0x5412, 0x541C];
/// `AF_UNIX`, `AF_INET`, `AF_INET6`, `AF_NETLINK`.
const ALLOWED_FAMILIES: [u32; 4] = [1, 2, 10, 16];

/// The programs for the machine we run on; each is loaded on top of the others.
///
/// # Errors
/// A system call's name is not known on this architecture: a fault of this file.
pub(super) fn programs() -> Result<Vec<Vec<u8>>, seccompiler::Error> {
    let x86_64 = cfg!(target_arch = "x86_64");
    let mut programs = compile(if x86_64 { TargetArch::x86_64 } else { TargetArch::aarch64 })?;
    if x86_64 {
        programs.push(refuse_x32());
    }
    Ok(programs.iter().map(|program| bytes(program)).collect())
}

fn compile(arch: TargetArch) -> Result<Vec<BpfProgram>, seccompiler::Error> {
    let rules = rules(matches!(arch, TargetArch::x86_64)).to_string();
    Ok(compile_from_json(rules.as_bytes(), arch)?.into_values().collect())
}

fn rules(x86_64: bool) -> Value {
    let arg =
        |index: u8, kind: &str, op: Value, value: u32| json!({"index": index, "type": kind, "op": op, "val": value});
    let only_x86_64 = if x86_64 { REFUSED_X86_64 } else { "" };
    let mut refused: Vec<Value> =
        REFUSED.split_whitespace().chain(only_x86_64.split_whitespace()).map(|name| json!({"syscall": name})).collect();
    for flag in NAMESPACE_FLAGS {
        refused.push(json!({"syscall": "clone", "args": [arg(0, "qword", json!({"masked_eq": flag}), flag)]}));
    }
    for request in TERMINAL_IOCTLS {
        refused.push(json!({"syscall": "ioctl", "args": [arg(1, "dword", json!("eq"), request)]}));
    }
    let other_family = ALLOWED_FAMILIES.map(|family| arg(0, "dword", json!("ne"), family));
    refused.push(json!({"syscall": "socket", "args": other_family}));
    let personality = [0, u32::MAX].map(|value| arg(0, "dword", json!("ne"), value));
    refused.push(json!({"syscall": "personality", "args": personality}));
    json!({
        "eperm": {"mismatch_action": "allow", "match_action": {"errno": libc::EPERM}, "filter": refused},
        // The flags of clone3 lie in memory, out of a filter's reach; callers fall back to clone on ENOSYS.
        "enosys": {
            "mismatch_action": "allow",
            "match_action": {"errno": libc::ENOSYS},
            "filter": [{"syscall": "clone3"}],
        },
    })
}

/// x32 calls carry the audit value of x86_64 and other numbers, so the filters above would miss them: kill them.
fn refuse_x32() -> BpfProgram {
    let instruction = |code, jf, k| sock_filter { code, jt: 0, jf, k };
    vec![
        instruction(0x20, 0, 0),           // load the system call's number
        instruction(0x35, 1, 0x4000_0000), // at least the x32 bit? else skip one
        instruction(0x06, 0, 0x8000_0000), // SECCOMP_RET_KILL_PROCESS
        instruction(0x06, 0, 0x7fff_0000), // SECCOMP_RET_ALLOW
    ]
}

/// `struct sock_filter` as the kernel reads it: u16 code, u8 jt, u8 jf, u32 k, in native byte order.
fn bytes(program: &[sock_filter]) -> Vec<u8> {
    program
        .iter()
        .flat_map(|i| {
            let [code_0, code_1] = i.code.to_ne_bytes();
            let [k_0, k_1, k_2, k_3] = i.k.to_ne_bytes();
            [code_0, code_1, i.jt, i.jf, k_0, k_1, k_2, k_3]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_compiles_for_both_architectures() {
        for arch in [TargetArch::x86_64, TargetArch::aarch64] {
            let programs = compile(arch).unwrap();
            assert_eq!(programs.len(), 2);
            assert!(programs.iter().any(|program| program.len() > 300), "{arch:?}");
        }
    }
}
