//! What a probe is: something that a command must not be able to do, tried.

use crate::weaken::Weakness;

/// Tried from inside by a script, which ends with the line `held` when it was refused, and says otherwise what came back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    /// What is tried.
    pub(crate) name: &'static str,
    /// Bash, after [`PRELUDE`].
    pub(crate) script: &'static str,
    /// Profiles that lose it.
    pub(crate) lost_by: &'static [Weakness],
    /// Profiles that lose it on some kernels, or for some users.
    pub(crate) perhaps: &'static [Weakness],
    /// Who gets through without any sandbox: shows that the probe can fail.
    pub(crate) outside: Outside,
}

/// Who gets through without a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outside {
    /// Everybody.
    Anybody,
    /// Root.
    Root,
    /// It depends on the host, or costs too much to try there.
    Untold,
}

impl Probe {
    /// Anybody gets through outside.
    pub(crate) const fn new(name: &'static str, script: &'static str, lost_by: &'static [Weakness]) -> Self {
        Self { name, script, lost_by, perhaps: &[], outside: Outside::Anybody }
    }

    /// Outside, only root gets through.
    pub(crate) const fn root(self) -> Self {
        Self { outside: Outside::Root, ..self }
    }

    /// What happens outside is not looked at.
    pub(crate) const fn untold(self) -> Self {
        Self { outside: Outside::Untold, ..self }
    }

    /// These may lose it too.
    pub(crate) const fn perhaps(self, perhaps: &'static [Weakness]) -> Self {
        Self { perhaps, ..self }
    }
}

/// What scripts are made of. `must_fail` runs a command that must not succeed. `write_to` makes a file in a directory and takes it
/// away again. `eperm` makes a system call, by its numbers on x86_64 and aarch64, that must be refused with EPERM: the arguments are
/// such that a kernel that lets it through answers something else and does nothing.
pub(crate) const PRELUDE: &str = r#"
leak() { echo "$*" | cut -c 1-300; exit 0; }
must_fail() { local said; said=$("$@" 2>&1) && leak "$1 worked: $said"; :; }
write_to() {
  python3 -c 'import os, sys
path = sys.argv[1] + "/.probe-of-ticketwright"
os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)); os.unlink(path)' "$1"
}
call() {
  python3 -c 'import ctypes, platform, sys
libc = ctypes.CDLL(None, use_errno=True)
numbers = [int(word, 0) for word in sys.argv[1:]]
number = numbers[0 if platform.machine() == "x86_64" else 1]
result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(n) for n in numbers[2:]])
print("result", result, "errno", ctypes.get_errno() if result == -1 else 0)' "$@"
}
eperm() { local said; said=$(call "$@"); [ "$said" = "result -1 errno 1" ] || leak "not refused: $said"; }
"#;

/// A group of probes as it is printed.
pub(crate) type Group = (&'static str, &'static [Probe]);

/// All that are scripts.
pub(crate) const GROUPS: [Group; 6] = [
    ("network", super::network::PROBES),
    ("secrets", super::secrets::PROBES),
    ("processes", super::processes::PROBES),
    ("filesystem", super::filesystem::PROBES),
    ("kernel surface", super::kernel::PROBES),
    ("git", super::git::PROBES),
];
