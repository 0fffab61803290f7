//! Limits that the kernel does not count for a whole tree without control groups: memory of all processes, size of the
//! workspace. Looked at while a command runs, so a burst can pass them for a moment.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Settings;
use super::tree::Tree;

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(500);
/// Looks at the processes per look at the files: walking a big workspace costs more.
const MEMORY_LOOKS_PER_WALK: u32 = 4;

/// Waits until the tree is over a limit, and says which. Never returns otherwise.
pub(super) async fn over_limit(tree: &Tree, settings: &Settings, workspace: Option<PathBuf>) -> String {
    let mut looks = 0u32;
    loop {
        tokio::time::sleep(PERIOD).await;
        let memory = memory_of(tree.init());
        if memory > settings.memory_bytes {
            return format!("memory: {} MB of {} MB", memory >> 20, settings.memory_bytes >> 20);
        }
        looks += 1;
        if let Some(workspace) = workspace.clone().filter(|_| looks.is_multiple_of(MEMORY_LOOKS_PER_WALK)) {
            let used = tokio::task::spawn_blocking(move || disk_of(&workspace)).await.unwrap_or_default();
            if used > settings.disk_bytes {
                return format!("disk: {} MB of {} MB", used >> 20, settings.disk_bytes >> 20);
            }
        }
    }
}

/// Anonymous and shared memory of all processes in the PID namespace of `init`, in bytes.
fn memory_of(init: i32) -> u64 {
    let namespace_of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid"));
    if init == 0 {
        return 0;
    }
    let Ok(inside) = namespace_of(&init.to_string()) else { return 0 };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
        .filter(|pid| namespace_of(pid).is_ok_and(|namespace| namespace == inside))
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).ok())
        .map(|status| resident(&status))
        .sum()
}

fn resident(status: &str) -> u64 {
    let kilobytes = |line: &str| line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
    status
        .lines()
        .filter(|line| line.starts_with("RssAnon:") || line.starts_with("RssShmem:"))
        .map(kilobytes)
        .sum::<u64>()
        * 1024
}

/// Bytes on disk of all files below `directory`. Links are not followed.
fn disk_of(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        // `blocks` counts 512 bytes whatever the file system's block size is (stat(2)).
        .map(|(path, data)| if data.is_dir() { disk_of(&path) } else { data.blocks() * 512 })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_leaves_out_mapped_files() {
        let status =
            "Name:\tpython3\nVmRSS:\t   900 kB\nRssAnon:\t   600 kB\nRssFile:\t   200 kB\nRssShmem:\t   100 kB\n";
        assert_eq!(resident(status), 700 * 1024);
    }
}
