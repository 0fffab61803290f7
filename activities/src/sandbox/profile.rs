//! What a sandboxed command finds around it: bubblewrap's arguments and the environment.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::{Command, Settings};

/// First descriptor that bubblewrap inherits: its arguments. They are not on the command line, which the command can read.
const ARGUMENTS_FD: usize = 3;
/// Where bubblewrap reports process id and exit code as JSON.
const STATUS_FD: usize = 4;
/// The system-call filter.
const FILTER_FD: usize = 5;

/// The workspace inside. Short and without any tenant's name.
pub const ROOT: &str = "/w";

/// Where commands look for programs.
pub(super) const PATH: &str = "/usr/local/go/bin:/usr/local/cargo/bin:/usr/local/bin:/usr/bin:/usr/sbin";

/// Everything off; the user namespace is closed for further nesting. `/dev/shm` is mounted before `/dev` turns read-only.
const ISOLATION: &str = "--unshare-all --unshare-user --disable-userns --uid 65534 --gid 65534 --cap-drop ALL \
    --die-with-parent --new-session --clearenv --hostname sandbox \
    --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/sbin /sbin --symlink usr/lib /lib --symlink usr/lib64 /lib64 \
    --proc /proc --dev /dev --perms 1777 --size 67108864 --tmpfs /dev/shm --remount-ro /dev \
    --perms 1777 --size 536870912 --tmpfs /tmp --size 536870912 --tmpfs /home/u --dir /run";

/// Tools stay quiet, leave no caches in the workspace, and fail at once instead of waiting for a network.
const ENVIRONMENT: [(&str, &str); 17] = [
    ("HOME", "/home/u"),
    ("USER", "agent"),
    ("SHELL", "/bin/bash"),
    ("LANG", "C.UTF-8"),
    ("TERM", "dumb"),
    ("CI", "true"),
    ("TMPDIR", "/tmp"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("PYTEST_ADDOPTS", "-p no:cacheprovider"),
    ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
    ("UV_OFFLINE", "1"),
    ("CARGO_NET_OFFLINE", "true"),
    ("GOPROXY", "off"),
    ("GOTOOLCHAIN", "local"),
    ("GOCACHE", "/tmp/go-cache"),
    ("npm_config_offline", "true"),
    ("npm_config_update_notifier", "false"),
];

/// bubblewrap's command line: only this is visible inside.
pub(super) fn command_line(argv: Vec<OsString>) -> Vec<OsString> {
    ["--args", &ARGUMENTS_FD.to_string(), "--"].map(OsString::from).into_iter().chain(argv).collect()
}

/// bubblewrap's options, NUL-separated, for the descriptor.
pub(super) fn options(command: &Command, settings: &Settings, etc: &Path) -> Vec<u8> {
    let mut options = Options::default();
    options.words(ISOLATION);
    options.add(["--ro-bind".as_ref(), etc.as_os_str(), "/etc".as_ref()]);
    for path in &settings.read_only {
        options.add(["--ro-bind-try".as_ref(), path.as_os_str(), path.as_os_str()]);
    }
    match &command.workspace {
        Some(directory) => options.add(["--bind".as_ref(), directory.as_os_str(), ROOT.as_ref()]),
        None => options.words("--dir /w"),
    }
    for bind in &command.binds {
        let how = if bind.writable { "--bind" } else { "--ro-bind" };
        options.add([how.as_ref(), bind.from.as_os_str(), bind.to.as_os_str()]);
    }
    // Last: mount points have been made by now.
    options.words("--remount-ro / --chdir /w");
    options.add(["--setenv".as_ref(), "PATH".as_ref(), settings.path().as_ref()]);
    for (name, value) in ENVIRONMENT {
        options.add(["--setenv", name, value].map(OsStr::new));
    }
    for (name, value) in &command.env {
        options.add(["--setenv", name, value].map(OsStr::new));
    }
    options.words(&format!("--json-status-fd {STATUS_FD} --add-seccomp-fd {FILTER_FD}"));
    options.0
}

#[derive(Default)]
struct Options(Vec<u8>);

impl Options {
    fn words(&mut self, words: &str) {
        for word in words.split_whitespace() {
            self.add([word.as_ref()]);
        }
    }

    fn add<const N: usize>(&mut self, words: [&OsStr; N]) {
        for word in words {
            self.0.extend_from_slice(word.as_encoded_bytes());
            self.0.push(0);
        }
    }
}
