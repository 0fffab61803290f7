//! Which system calls a sandboxed command may not make, compiled to the BPF programs that bubblewrap loads.

use libc::c_long;
use seccompiler::{BpfProgram, TargetArch, compile_from_json, sock_filter};
use serde_json::{Value, json};

/// Refused on every architecture: other processes' memory, mounts, kernel modules, keys, clocks, and kernel interfaces
/// that ordinary builds and tests never need.
const REFUSED: &[c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_bpf,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_mbind,
    libc::SYS_set_mempolicy,
    libc::SYS_set_mempolicy_home_node,
    libc::SYS_memfd_secret,
];

/// Exist on x86_64 only. The last three are `create_module`, `get_kernel_syms` and `query_module`, gone since Linux 2.6.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[c_long] = &[
    libc::SYS_modify_ldt,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
    174,
    177,
    178,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[c_long] = &[];

/// What a filter answers (seccomp(2)): fail the call with the number in the low bits, or end the process.
const ERRNO: u32 = 0x0005_0000;
const KILL: u32 = 0x8000_0000;
/// x32 calls carry the audit value of x86_64, and numbers from this bit on.
const X32: u32 = 0x4000_0000;
/// `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_AARCH64` of linux/audit.h.
const ARCHITECTURE: u32 = if cfg!(target_arch = "x86_64") { 0xC000_003E } else { 0xC000_00B7 };

/// `CLONE_NEW*` bits: mount, cgroup, UTS, IPC, user, PID and network namespaces.
const NAMESPACE_FLAGS: [u32; 7] =
    [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
/// `TIOCSTI` and `TIOCLINUX`: push characters into a terminal.
const TERMINAL_IOCTLS: [u32; 2] = [0x5412, 0x541C];
/// `AF_UNIX`, `AF_INET`, `AF_INET6`, `AF_NETLINK`.
const ALLOWED_FAMILIES: [u32; 4] = [1, 2, 10, 16];

/// The program for the machine we run on.
///
/// Calls that are refused whatever their arguments have one instruction each, made here, before what the library makes of the
/// rules: loading a program costs the kernel a try of every call on it, bubblewrap loads it twice, and the library's five
/// instructions for each call and a program for each answer cost half a millisecond with every command.
///
/// # Errors
/// A system call's name is not known on this architecture: a fault of this file.
pub(super) fn program() -> Result<Vec<u8>, seccompiler::Error> {
    Ok(bytes(&compiled()?))
}

fn compiled() -> Result<BpfProgram, seccompiler::Error> {
    let here = if cfg!(target_arch = "x86_64") { TargetArch::x86_64 } else { TargetArch::aarch64 };
    let mut program = by_number(&refused());
    program.extend(by_arguments(here)?);
    Ok(program)
}

fn refused() -> Vec<c_long> {
    REFUSED.iter().chain(REFUSED_HERE).copied().collect()
}

/// Refuses `calls` with EPERM, and clone3, whose flags lie in memory out of a filter's reach, with ENOSYS: callers fall back to
/// clone. Kills calls of another architecture or of x32, whose numbers mean other calls. All others come to what follows. At
/// most 250 calls.
fn by_number(calls: &[c_long]) -> BpfProgram {
    // Instructions of linux/bpf_common.h: load a word, jump if equal, jump if at least, jump, return.
    let load = |at| sock_filter { code: 0x20, jt: 0, jf: 0, k: at };
    let jump = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let (equal, at_least) = (0x15, 0x35);
    let skip = |count| sock_filter { code: 0x05, jt: 0, jf: 0, k: count };
    let answer = |k| sock_filter { code: 0x06, jt: 0, jf: 0, k };
    // How many instructions a jump passes over.
    let over = |count: usize| u8::try_from(count).unwrap_or(u8::MAX);

    let errno = |number: i32| answer(ERRNO | number.unsigned_abs());
    let answers = [errno(libc::EPERM), errno(libc::ENOSYS), answer(KILL)];
    // Places of the answers behind the list and the jump over them.
    let (refuse, absent, kill) = (1, 2, 3);
    let count = calls.len();
    // `struct seccomp_data`: the call's number at 0, the architecture at 4.
    let mut program = vec![load(4), jump(equal, 0, over(count + 3 + kill), ARCHITECTURE), load(0)];
    program.push(jump(at_least, over(count + 1 + kill), 0, X32));
    program.push(jump(equal, over(count + absent), 0, number(libc::SYS_clone3)));
    for (at, call) in calls.iter().enumerate() {
        program.push(jump(equal, over(count - at - 1 + refuse), 0, number(*call)));
    }
    program.push(skip(3));
    program.extend(answers);
    program
}

/// Numbers are small and positive; another is none and never met.
fn number(call: c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

/// Refuses calls that some arguments make dangerous, and lets all others through.
fn by_arguments(arch: TargetArch) -> Result<BpfProgram, seccompiler::Error> {
    Ok(compile_from_json(rules().to_string().as_bytes(), arch)?.into_values().flatten().collect())
}

fn rules() -> Value {
    let arg =
        |index: u8, kind: &str, op: Value, value: u32| json!({"index": index, "type": kind, "op": op, "val": value});
    let mut refused = Vec::new();
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
    json!({"eperm": {"mismatch_action": "allow", "match_action": {"errno": libc::EPERM}, "filter": refused}})
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

    /// What a program answers to a call: the kernel's interpreter, as far as our programs go.
    fn answer(program: &[sock_filter], architecture: u32, call: u32, arguments: [u64; 2]) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let jump = |holds| usize::from(if holds { jt } else { jf });
            match code {
                0x20 => {
                    let half =
                        |of: u64, high: bool| (if high { of >> 32 } else { of & 0xffff_ffff }).try_into().unwrap();
                    loaded = match k {
                        0 => call,
                        4 => architecture,
                        16 | 20 => half(arguments[0], k == 20),
                        24 | 28 => half(arguments[1], k == 28),
                        other => panic!("loads {other}"),
                    };
                }
                0x05 => at += k as usize,
                0x15 => at += jump(loaded == k),
                0x35 => at += jump(loaded >= k),
                0x25 => at += jump(loaded > k),
                0x54 => loaded &= k,
                0x06 => return k,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    const ALLOW: u32 = 0x7fff_0000;
    /// What a parent is told by, in the low bits of clone's flags.
    const SIGCHLD: u32 = 0x11;
    const EPERM: u32 = ERRNO | libc::EPERM.unsigned_abs();

    #[test]
    fn each_listed_call_is_refused_and_no_other() {
        assert!(refused().len() <= 250, "jumps reach 255 instructions");
        let program = compiled().unwrap();
        for call in 0..1000 {
            let expected = if call == number(libc::SYS_clone3) {
                ERRNO | libc::ENOSYS.unsigned_abs()
            } else if refused().iter().any(|listed| number(*listed) == call) {
                EPERM
            } else {
                ALLOW
            };
            // An ordinary fork, ioctl, personality, and a socket of this host.
            let arguments = [u64::from(call == number(libc::SYS_socket)), 0];
            assert_eq!(answer(&program, ARCHITECTURE, call, arguments), expected, "call {call}");
        }
        assert_eq!(answer(&program, ARCHITECTURE, X32 | 0x27, [0, 0]), KILL);
        assert_eq!(answer(&program, 0x4000_0003, 20, [0, 0]), KILL, "i386");
    }

    #[test]
    fn calls_are_refused_for_their_arguments() {
        let program = compiled().unwrap();
        let answer = |call, arguments| answer(&program, ARCHITECTURE, number(call), arguments);
        for flag in NAMESPACE_FLAGS {
            assert_eq!(answer(libc::SYS_clone, [u64::from(flag | SIGCHLD), 0]), EPERM, "{flag:#x}");
        }
        assert_eq!(answer(libc::SYS_clone, [u64::from(0x0100_0000 | SIGCHLD), 0]), ALLOW);
        for request in TERMINAL_IOCTLS {
            assert_eq!(answer(libc::SYS_ioctl, [0, u64::from(request)]), EPERM);
            assert_eq!(
                answer(libc::SYS_ioctl, [0, u64::from(request) | 0x100_0000_0000]),
                EPERM,
                "the kernel takes 32 bits"
            );
        }
        for family in 0..64 {
            let expected = if ALLOWED_FAMILIES.contains(&family) { ALLOW } else { EPERM };
            assert_eq!(answer(libc::SYS_socket, [u64::from(family), 0]), expected, "family {family}");
        }
        assert_eq!(answer(libc::SYS_personality, [0x0004_0000, 0]), EPERM, "ADDR_NO_RANDOMIZE");
    }

    #[test]
    fn the_rules_compile_for_both_architectures() {
        for arch in [TargetArch::x86_64, TargetArch::aarch64] {
            assert!(by_arguments(arch).unwrap().len() > 20, "{arch:?}");
        }
    }
}
