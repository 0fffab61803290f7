//! What a sandbox may use.

use std::env;
use std::path::PathBuf;

use serde::Deserialize;

use super::profile::PATH;

/// What a sandbox may use. The defaults suit a worker with 4 GB of memory.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The bubblewrap program, 0.8 or later. Default `/usr/bin/bwrap`.
    pub bubblewrap: PathBuf,
    /// The program `ticketwright-inside`. Default: beside the running program, or one directory up.
    pub inside: Option<PathBuf>,
    /// First of the user ids to run as when the worker is root; nothing else on the host should have them. Default 64,100.
    pub first_uid: u32,
    /// Sandboxes at the same time; as root each has its own user id. Default 64.
    pub slots: u32,
    /// Where the sandbox keeps its `/etc`, which is a copy of what is public in the host's with the program `inside`, and as root
    /// notes which of these ids are in use. One that is there must be the worker's own, closed to others' writing, on a file system
    /// that lets programs run, and as root every user must be able to pass through. Default as root `/var/lib/ticketwright/sandbox`
    /// (`/run` forbids programs on many hosts), else `ticketwright/sandbox` in the user's cache directory, or a directory for the
    /// user in the temporary one.
    #[serde(alias = "locks")]
    pub state: Option<PathBuf>,
    /// Whether commands get control groups where the worker may make them. Default true.
    pub control_groups: bool,
    /// Memory of a whole process tree, and of each process in it. Default 2 GB.
    pub memory_bytes: u64,
    /// Disk that a workspace may take; looked at four times a second. Default 5 GB.
    pub disk_bytes: u64,
    /// Files and directories that a workspace may have. Default 500,000.
    pub files: u64,
    /// Largest file. Default 1 GB.
    pub file_bytes: u64,
    /// Processes and threads. Default 256.
    pub processes: u64,
    /// Open files per process. Default 1,024.
    pub open_files: u64,
    /// Further directories with tools, visible at the same path, read-only. One that has a `bin` is searched for programs.
    pub read_only: Vec<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bubblewrap: "/usr/bin/bwrap".into(),
            inside: None,
            first_uid: 64_100,
            slots: 64,
            state: None,
            control_groups: true,
            memory_bytes: 2 << 30,
            disk_bytes: 5 << 30,
            files: 500_000,
            file_bytes: 1 << 30,
            processes: 256,
            open_files: 1024,
            read_only: Vec::new(),
        }
    }
}

impl Settings {
    /// Where [`Settings::state`] may be, the best first: whoever runs the worker may have no home, or that of another user.
    pub(super) fn states(&self) -> Vec<PathBuf> {
        if let Some(state) = &self.state {
            return vec![state.clone()];
        }
        let us = nix::unistd::geteuid();
        if us.is_root() {
            return vec!["/var/lib/ticketwright/sandbox".into()];
        }
        let variable = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
        let cache = cache.map(|cache| cache.join("ticketwright/sandbox"));
        cache.into_iter().chain([env::temp_dir().join(format!("ticketwright-sandbox-{us}"))]).collect()
    }

    /// Where commands look for programs.
    pub(super) fn path(&self) -> String {
        let own = self.read_only.iter().map(|directory| directory.join("bin")).filter(|directory| directory.is_dir());
        own.map(|directory| format!("{}:", directory.display())).collect::<String>() + PATH
    }
}
