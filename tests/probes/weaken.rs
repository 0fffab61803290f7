//! Profiles with one lock less: each must lose the probes of that lock and no others.

use activities::sandbox::Settings;

/// A lock that is taken off. `shim.py` takes it off by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weakness {
    /// The host's network namespace.
    Network,
    /// The host's processes.
    Pids,
    /// The host's shared memory.
    Ipc,
    /// The host's name.
    Hostname,
    /// The host's view of control groups.
    CgroupNames,
    /// No system-call filter.
    Seccomp,
    /// No system-call filter and no end to user namespaces.
    Nesting,
    /// `.git` can be written.
    Git,
    /// The host's directories.
    System,
    /// The worker's environment.
    Environment,
    /// Capabilities stay.
    Capabilities,
    /// `/` can be written.
    Remount,
    /// `/dev` can be written.
    RemountDev,
    /// Memory file systems without a size.
    Sizes,
    /// The worker's session.
    Session,
    /// A descriptor of the worker.
    Descriptors,
    /// Options on the command line.
    CommandLine,
    /// Root inside.
    UserIds,
}

/// All of them.
pub(crate) const ALL: [Weakness; 18] = [
    Weakness::Network,
    Weakness::Pids,
    Weakness::Ipc,
    Weakness::Hostname,
    Weakness::CgroupNames,
    Weakness::Seccomp,
    Weakness::Nesting,
    Weakness::Git,
    Weakness::System,
    Weakness::Environment,
    Weakness::Capabilities,
    Weakness::Remount,
    Weakness::RemountDev,
    Weakness::Sizes,
    Weakness::Session,
    Weakness::Descriptors,
    Weakness::CommandLine,
    Weakness::UserIds,
];

impl Weakness {
    /// Whether `listed` names it.
    pub(crate) fn is_in(self, listed: &[Self]) -> bool {
        listed.contains(&self) || self == Self::Nesting && listed.contains(&Self::Seccomp)
    }
}

/// A limit that is raised, by settings or by the command; or bubblewrap outliving the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loose {
    /// Memory.
    Memory,
    /// Disk.
    Disk,
    /// Number of files.
    Files,
    /// Size of a file.
    FileSize,
    /// Number of processes.
    Processes,
    /// Open files.
    OpenFiles,
    /// Wall time.
    Time,
    /// Bytes of output kept.
    Output,
    /// `--die-with-parent`.
    Parent,
}

/// All of them.
pub(crate) const ALL_LOOSE: [Loose; 9] = [
    Loose::Memory,
    Loose::Disk,
    Loose::Files,
    Loose::FileSize,
    Loose::Processes,
    Loose::OpenFiles,
    Loose::Time,
    Loose::Output,
    Loose::Parent,
];

/// Small limits, so that trying to pass them costs the host little.
pub(crate) fn small() -> Settings {
    Settings {
        memory_bytes: 300 << 20,
        disk_bytes: 40 << 20,
        files: 1_500,
        file_bytes: 16 << 20,
        processes: 100,
        open_files: 256,
        ..Settings::default()
    }
}

/// The small limits with this one raised. A raised limit is still small.
pub(crate) fn loosened(loose: Option<Loose>) -> Settings {
    let small = small();
    match loose {
        Some(Loose::Memory) => Settings { memory_bytes: 2 << 30, ..small },
        Some(Loose::Disk) => Settings { disk_bytes: 1 << 30, ..small },
        Some(Loose::Files) => Settings { files: 100_000, ..small },
        Some(Loose::FileSize) => Settings { file_bytes: 64 << 20, ..small },
        Some(Loose::Processes) => Settings { processes: 400, ..small },
        Some(Loose::OpenFiles) => Settings { open_files: 4096, ..small },
        Some(Loose::Time | Loose::Output | Loose::Parent) | None => small,
    }
}
