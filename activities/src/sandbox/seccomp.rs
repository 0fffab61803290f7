//! Which system calls a sandboxed command may not make, compiled to the BPF programs that bubblewrap loads.

use std::collections::BTreeMap;

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

/// What a filter answers (seccomp(2)): fail the call with the number in the low bits, end the process, or let it go on.
const ERRNO: u32 = 0x0005_0000;
const KILL: u32 = 0x8000_0000;
const ALLOW: u32 = 0x7fff_0000;
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

/// Calls that only some arguments make dangerous: [`rules`] has a rule for each.
const ASKED: [c_long; 4] = [libc::SYS_clone, libc::SYS_ioctl, libc::SYS_socket, libc::SYS_personality];

/// The program for the machine we run on.
///
/// Calls are told apart by their numbers first, in a tree of our own; only those in question come to what the library makes of the
/// rules on arguments. Loading a program costs the kernel a try of every call on it, of both architectures' where there are two,
/// and bubblewrap loads it twice: a list instead of a tree costs three tenths of a millisecond with every command.
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

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Allowed,
    /// EPERM.
    Refused,
    /// ENOSYS: callers fall back to an older call.
    Absent,
    /// The end of the process.
    Killed,
    /// The rules on arguments decide.
    Asked,
}

/// The numbers from each on up to the next, and what becomes of them. clone3 has its flags in memory, out of a filter's reach. Numbers
/// of x32 mean other calls.
fn ranges(refused: &[c_long]) -> Vec<(u32, Fate)> {
    let mut from = BTreeMap::from([(0, Fate::Allowed), (X32, Fate::Killed)]);
    let listed = refused.iter().map(|call| (*call, Fate::Refused));
    let others = ASKED.map(|call| (call, Fate::Asked)).into_iter().chain([(libc::SYS_clone3, Fate::Absent)]);
    for (call, fate) in listed.chain(others) {
        from.insert(number(call), fate);
        from.entry(number(call).saturating_add(1)).or_insert(Fate::Allowed);
    }
    let mut ranges: Vec<(u32, Fate)> = from.into_iter().collect();
    ranges.dedup_by_key(|(_, fate)| *fate);
    ranges
}

/// Answers to calls by their numbers, kills calls of another architecture, and lets those in question come to what follows.
fn by_number(refused: &[c_long]) -> BpfProgram {
    // Instructions of linux/bpf_common.h: load a word, jump if equal. `struct seccomp_data`: the number at 0, the architecture at 4.
    let load = |at| sock_filter { code: 0x20, jt: 0, jf: 0, k: at };
    let same = sock_filter { code: 0x15, jt: 1, jf: 0, k: ARCHITECTURE };
    let mut program = vec![load(4), same, answer(KILL), load(0)];
    program.extend(tree(&ranges(refused)));
    // Forward to the first instruction behind all of these.
    let end = program.len();
    for (at, instruction) in program.iter_mut().enumerate().filter(|(_, instruction)| instruction.code == JUMP) {
        instruction.k = u32::try_from(end - at - 1).unwrap_or(u32::MAX);
    }
    program
}

/// Jump, with no condition.
const JUMP: u16 = 0x05;

/// Finds the range of the number that was loaded. Jumps on a condition reach 255 instructions, so that there are 128 ranges at most.
fn tree(ranges: &[(u32, Fate)]) -> BpfProgram {
    match ranges {
        [] => Vec::new(),
        [(_, fate)] => vec![match fate {
            Fate::Allowed => answer(ALLOW),
            Fate::Refused => answer(ERRNO | libc::EPERM.unsigned_abs()),
            Fate::Absent => answer(ERRNO | libc::ENOSYS.unsigned_abs()),
            Fate::Killed => answer(KILL),
            Fate::Asked => sock_filter { code: JUMP, jt: 0, jf: 0, k: 0 },
        }],
        _ => {
            let (below, above) = ranges.split_at(ranges.len() / 2);
            let (smaller, greater) = (tree(below), tree(above));
            let from = above.first().map_or(u32::MAX, |(from, _)| *from);
            let over = u8::try_from(smaller.len()).unwrap_or(u8::MAX);
            // Jump if at least.
            let branch = sock_filter { code: 0x35, jt: over, jf: 0, k: from };
            [vec![branch], smaller, greater].concat()
        }
    }
}

/// Ends the program.
fn answer(k: u32) -> sock_filter {
    sock_filter { code: 0x06, jt: 0, jf: 0, k }
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

    /// What a parent is told by, in the low bits of clone's flags.
    const SIGCHLD: u32 = 0x11;
    const EPERM: u32 = ERRNO | libc::EPERM.unsigned_abs();

    #[test]
    fn each_listed_call_is_refused_and_no_other() {
        assert!(ranges(&refused()).len() <= 128, "jumps reach 255 instructions");
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

    /// The kernel tries every call when a program is loaded.
    #[test]
    fn a_call_is_answered_after_a_dozen_instructions() {
        let program = compiled().unwrap();
        let steps = |call| {
            let (mut at, mut count) = (0, 1);
            while program[at].code != 0x06 && program[at].code != JUMP {
                let sock_filter { code, jt, jf, k } = program[at];
                let jump = match code {
                    0x15 => usize::from(jt),
                    0x35 => usize::from(if call >= k { jt } else { jf }),
                    _ => 0,
                };
                (at, count) = (at + 1 + jump, count + 1);
            }
            count
        };
        let most = (0..1000).map(steps).max();
        assert!(most <= Some(12), "{most:?}");
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
