//! Control groups: memory and processes counted for a whole tree by the kernel, on version 1 (one hierarchy per controller)
//! and version 2 (Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst).
//!
//! Groups are made below the worker's own, so that its limits hold for them too. Their names carry the worker's process
//! id and start time: what a killed worker left behind is found by the next.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::tree::start_time;

/// Groups that this process has made: part of their names.
static MADE: AtomicU64 = AtomicU64::new(0);

const PREFIX: &str = "ticketwright-";
/// Where the worker itself goes on version 2, whose groups hold either processes or groups.
const LEAF: &str = "ticketwright-worker";
/// Processes of bubblewrap itself, beside the command's.
const BUBBLEWRAP_PROCESSES: u64 = 4;

/// Where groups are made.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Home {
    /// A controller's own hierarchy.
    One { controller: Controller, directory: PathBuf },
    /// The unified hierarchy, with both controllers enabled.
    Two { directory: PathBuf },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Controller {
    Memory,
    Processes,
}

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "pids",
        }
    }
}

/// Makes a group for each command.
#[derive(Debug)]
pub(super) struct Groups {
    homes: Vec<Home>,
    memory: u64,
    processes: u64,
    /// Groups whose last process the kernel had not let go when they were to be removed.
    left: Mutex<Vec<PathBuf>>,
    /// The group of the next command, made while there was time.
    ready: Mutex<Option<Made>>,
}

/// The group of one command. Removed when dropped, once it is empty.
#[derive(Debug)]
pub(super) struct Group {
    groups: Arc<Groups>,
    made: Made,
}

#[derive(Debug, Default)]
struct Made {
    directories: Vec<PathBuf>,
    /// File that counts kills for lack of memory.
    kills: Option<PathBuf>,
}

impl Groups {
    /// Looks for what this process may make, and tries it. What may not be made is told in words for an operator.
    /// `may_move`: whether this process may move into another group for that.
    pub(super) fn find(memory: u64, processes: u64, may_move: bool) -> (Self, Vec<String>) {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (homes, mut missing) = homes(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
        let mut groups = Self::at(Vec::new(), memory, processes);
        for home in homes {
            groups.sweep(home.directory());
            let tried = groups.try_out(&home, may_move);
            match tried {
                Ok(()) => groups.homes.push(home),
                Err(error) => missing.push(format!("{} below {}: {error}", home.what(), home.directory().display())),
            }
        }
        (groups, missing)
    }

    fn at(homes: Vec<Home>, memory: u64, processes: u64) -> Self {
        Self { homes, memory, processes, left: Mutex::default(), ready: Mutex::default() }
    }

    /// None are made, wherever they could.
    pub(super) fn none() -> Self {
        Self::at(Vec::new(), 0, 0)
    }

    /// Whether the kernel counts a command's memory.
    pub(super) fn count_memory(&self) -> bool {
        self.homes.iter().any(|home| !matches!(home, Home::One { controller: Controller::Processes, .. }))
    }

    /// The group of one command.
    ///
    /// # Errors
    /// The system refuses what it allowed at the start.
    pub(super) fn make(self: &Arc<Self>) -> io::Result<Group> {
        // An operator may have tidied up.
        let ready = self.take_ready().filter(|made| made.directories.iter().all(|directory| directory.is_dir()));
        let made = ready.map_or_else(|| self.make_directories(), Ok)?;
        Ok(Group { groups: self.clone(), made })
    }

    /// Makes the group of the next command, which then need not wait for it, and removes what is left of earlier ones.
    pub(super) fn make_ready(&self) {
        self.remove_left();
        let Ok(mut ready) = self.ready.lock() else { return };
        if ready.is_none() {
            // Whoever needs it makes it, or tells why it cannot be made.
            *ready = self.make_directories().ok();
        }
    }

    fn take_ready(&self) -> Option<Made> {
        self.ready.lock().ok()?.take()
    }

    fn make_directories(&self) -> io::Result<Made> {
        let mut made = Made::default();
        let pid = std::process::id();
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{pid}-{}-{number}", start_time(pid).unwrap_or_default());
        for home in &self.homes {
            let directory = home.directory().join(&name);
            let limited = fs::create_dir(&directory).and_then(|()| {
                made.directories.push(directory.clone());
                home.limit(&directory, self.memory, self.processes)
            });
            if let Err(error) = limited {
                self.remove_all(made);
                return Err(error);
            }
            if let Some(file) = home.kills().filter(|_| made.kills.is_none()) {
                made.kills = Some(directory.join(file));
            }
        }
        Ok(made)
    }

    fn try_out(&self, home: &Home, may_move: bool) -> io::Result<()> {
        if let Home::Two { directory } = home {
            enable(directory, may_move)?;
        }
        let trial = Self::at(vec![home.clone()], self.memory, self.processes);
        trial.make_directories().map(|made| trial.remove_all(made))
    }

    /// Removes what workers that no longer run have left below `home`, and ends what still runs in it.
    fn sweep(&self, home: &Path) {
        let entries = fs::read_dir(home).into_iter().flatten().filter_map(Result::ok);
        for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
            let mut owner = name.strip_prefix(PREFIX).unwrap_or_default().split('-');
            let (Some(Ok(pid)), Some(started)) = (owner.next().map(str::parse::<u32>), owner.next()) else { continue };
            if start_time(pid).as_deref() == Some(started) {
                continue;
            }
            let directory = home.join(name);
            for process in processes_of(&directory).into_iter().filter(|process| process.as_raw() > 1) {
                let _ = kill(process, Signal::SIGKILL);
            }
            self.remove(directory);
        }
    }

    fn remove(&self, directory: PathBuf) {
        let removed = fs::remove_dir(&directory);
        if removed.is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
            && let Ok(mut left) = self.left.lock()
        {
            left.push(directory);
        }
    }

    fn remove_all(&self, made: Made) {
        made.directories.into_iter().for_each(|directory| self.remove(directory));
    }

    fn remove_left(&self) {
        let left = self.left.lock().map(|mut left| std::mem::take(&mut *left)).unwrap_or_default();
        for directory in left {
            self.remove(directory);
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        if let Some(made) = self.take_ready() {
            self.remove_all(made);
        }
        // What is still not empty is the next worker's to sweep.
        self.remove_left();
    }
}

impl Group {
    /// Files to which a new process writes "0" to be in the group from its first moment on.
    ///
    /// # Errors
    /// The group is gone: an operator removed it.
    pub(super) fn doors(&self) -> io::Result<Vec<OwnedFd>> {
        let open = |(home, directory): (&Home, &PathBuf)| {
            // A thread that moves itself takes no lock of the whole host, which costs ten milliseconds where nobody held it lately.
            let door = if matches!(home, Home::One { .. }) { "tasks" } else { "cgroup.procs" };
            OpenOptions::new().write(true).open(directory.join(door)).map(OwnedFd::from)
        };
        self.groups.homes.iter().zip(&self.made.directories).map(open).collect()
    }

    /// Its directories.
    #[cfg(test)]
    pub(super) fn directories(&self) -> &[PathBuf] {
        &self.made.directories
    }

    /// Whether the kernel counts its memory.
    pub(super) fn counts_memory(&self) -> bool {
        self.made.kills.is_some()
    }

    /// Whether the kernel has killed a process of the group for lack of memory.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        let counted = self.made.kills.as_ref().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        let kills = |line: &str| line.strip_prefix("oom_kill ").and_then(|number| number.trim().parse::<u64>().ok());
        counted.lines().filter_map(kills).any(|number| number > 0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.groups.remove_all(std::mem::take(&mut self.made));
    }
}

impl Home {
    fn directory(&self) -> &Path {
        match self {
            Self::One { directory, .. } | Self::Two { directory } => directory,
        }
    }

    fn what(&self) -> &'static str {
        match self {
            Self::One { controller, .. } => controller.name(),
            Self::Two { .. } => "memory and pids",
        }
    }

    /// The file that counts kills for lack of memory: both kinds have a line `oom_kill <n>`.
    fn kills(&self) -> Option<&'static str> {
        match self {
            Self::One { controller: Controller::Memory, .. } => Some("memory.oom_control"),
            Self::One { controller: Controller::Processes, .. } => None,
            Self::Two { .. } => Some("memory.events"),
        }
    }

    fn limit(&self, directory: &Path, memory: u64, processes: u64) -> io::Result<()> {
        let write = |file: &str, value: u64| fs::write(directory.join(file), value.to_string());
        let processes = processes + BUBBLEWRAP_PROCESSES;
        match self {
            Self::One { controller: Controller::Memory, .. } => {
                write("memory.limit_in_bytes", memory)?;
                // A kernel without swap accounting has no such file; then nothing of the group is swapped.
                write("memory.memsw.limit_in_bytes", memory).or_else(|_| write("memory.swappiness", 0))
            }
            Self::One { controller: Controller::Processes, .. } => write("pids.max", processes),
            Self::Two { .. } => {
                write("memory.max", memory)?;
                // Absent without swap.
                let _ = write("memory.swap.max", 0);
                // All or none: half a build is no result.
                write("memory.oom.group", 1)?;
                write("pids.max", processes)
            }
        }
    }
}

fn processes_of(directory: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).map(Pid::from_raw).collect()
}

/// Where the worker's own groups are, from `/proc/self/cgroup` (cgroups(7)) and `/proc/self/mountinfo` (proc_pid_mountinfo(5)),
/// and which controllers are nowhere.
fn homes(own: &str, mounts: &str) -> (Vec<Home>, Vec<String>) {
    let own: Vec<(&str, &str)> =
        own.lines().filter_map(|line| line.split_once(':')).filter_map(|(_, rest)| rest.split_once(':')).collect();
    let own_of = |controller: &str| {
        own.iter().find(|(names, _)| names.split(',').any(|name| name == controller)).map(|(_, path)| *path)
    };
    let mut homes = Vec::new();
    for controller in [Controller::Memory, Controller::Processes] {
        let name = controller.name();
        let mounted = mounts
            .lines()
            .filter_map(Mount::parse)
            .find(|mount| mount.kind == "cgroup" && mount.options.split(',').any(|option| option == name));
        if let (Some(mount), Some(path)) = (mounted, own_of(name))
            && let Some(directory) = mount.directory(path)
        {
            homes.push(Home::One { controller, directory });
        }
    }
    // Version 2 has what no hierarchy of version 1 has taken; a host with both gives it neither.
    if homes.is_empty()
        && let Some(mount) = mounts.lines().filter_map(Mount::parse).find(|mount| mount.kind == "cgroup2")
        && let Some(mut directory) = own_of("").and_then(|path| mount.directory(path))
    {
        // Where an earlier start of this service has moved it, below the group that is its own.
        if directory.ends_with(LEAF) {
            directory.pop();
        }
        homes.push(Home::Two { directory });
    }
    let has = |controller: Controller| {
        homes.iter().any(|home| match home {
            Home::One { controller: one, .. } => *one == controller,
            Home::Two { .. } => true,
        })
    };
    let absent = [Controller::Memory, Controller::Processes].into_iter().filter(|controller| !has(*controller));
    let missing = absent.map(|controller| format!("{}: no such control group is mounted", controller.name())).collect();
    (homes, missing)
}

struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (place, system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let mut system = system.split(' ');
        let (kind, options) = (system.next()?, system.nth(1)?);
        Some(Self { root, point, kind, options })
    }

    /// Where the group `path` is found below this mount; a container may see only a part of the hierarchy.
    fn directory(&self, path: &str) -> Option<PathBuf> {
        let rest = if self.root == "/" { path } else { path.strip_prefix(self.root)? };
        // A group outside of what the namespace shows.
        let outside = rest.split('/').any(|part| part == "..");
        (!outside).then(|| Path::new(self.point).join(rest.trim_start_matches('/')))
    }
}

/// Lets groups below `home` have memory and process limits. A group of version 2 that holds processes cannot do that, so the
/// worker, if it is alone with the processes that started it, moves into a group below.
fn enable(home: &Path, may_move: bool) -> io::Result<()> {
    let enabled = || fs::read_to_string(home.join("cgroup.subtree_control")).unwrap_or_default();
    let is_complete =
        |text: &str| ["memory", "pids"].iter().all(|name| text.split_whitespace().any(|word| word == *name));
    if is_complete(&enabled()) {
        return Ok(());
    }
    let offered = fs::read_to_string(home.join("cgroup.controllers")).unwrap_or_default();
    if !is_complete(&offered) {
        let why = format!("only \"{}\" were handed to this group, memory and pids are needed", offered.trim());
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    let write = || fs::write(home.join("cgroup.subtree_control"), "+memory +pids");
    if write().is_ok() {
        return Ok(());
    }
    let ours = ancestry();
    let inside = processes_of(home);
    if inside.iter().any(|process| !ours.contains(process)) {
        let why = "the worker shares its group with other processes; start it in one of its own, systemd: Delegate=memory pids";
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
    }
    if !may_move {
        let why = "the worker moves itself into a group of its own when it starts; a check moves nothing";
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
    }
    let leaf = home.join(LEAF);
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for process in inside {
        fs::write(leaf.join("cgroup.procs"), process.to_string())?;
    }
    write()
}

/// This process and those it descends from, as far as they can be seen.
fn ancestry() -> Vec<Pid> {
    let mut all = vec![Pid::this()];
    while let Some(last) = all.last().copied().filter(|pid| pid.as_raw() > 1) {
        let status = fs::read_to_string(format!("/proc/{last}/status")).unwrap_or_default();
        let parent =
            status.lines().find_map(|line| line.strip_prefix("PPid:")).and_then(|text| text.trim().parse().ok());
        match parent {
            Some(parent) if parent > 0 => all.push(Pid::from_raw(parent)),
            _ => break,
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
        30 23 0:26 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n\
        31 23 0:27 / /sys/fs/cgroup/cpu rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n\
        32 23 0:28 /docker/af /sys/fs/cgroup/pids ro shared:11 - cgroup cgroup rw,pids\n\
        33 23 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    fn read(directory: &Path, file: &str) -> String {
        fs::read_to_string(directory.join(file)).unwrap_or_default()
    }

    #[test]
    fn the_workers_own_groups_are_found_in_both_versions() {
        let (found, missing) = homes("9:pids:/docker/af/x\n4:memory:/service\n0::/\n", MOUNTS);
        let one = |controller, directory: &str| Home::One { controller, directory: directory.into() };
        let expected = [
            one(Controller::Memory, "/sys/fs/cgroup/memory/service"),
            one(Controller::Processes, "/sys/fs/cgroup/pids/x"),
        ];
        assert_eq!((found.as_slice(), missing.len()), (expected.as_slice(), 0));

        let unified = "33 23 0:29 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let (found, missing) = homes("0::/system.slice/ticketwright.service\n", unified);
        let directory = "/sys/fs/cgroup/system.slice/ticketwright.service".into();
        assert_eq!((found, missing.len()), (vec![Home::Two { directory }], 0));

        assert_eq!(homes("0::/../other\n", unified).0, []);
        let (found, missing) = homes("", "");
        assert_eq!((found.len(), missing.len()), (0, 2));
    }

    /// The files of a group are made by the kernel; here writing makes them.
    #[test]
    fn limits_are_written_as_each_version_reads_them() {
        let directory = tempfile::tempdir().unwrap();
        let home = |name: &str| {
            let home = directory.path().join(name);
            fs::create_dir(&home).unwrap();
            home
        };
        let (memory, pids, both) = (home("memory"), home("pids"), home("both"));
        let homes = vec![
            Home::One { controller: Controller::Memory, directory: memory },
            Home::One { controller: Controller::Processes, directory: pids },
            Home::Two { directory: both },
        ];
        let groups = Arc::new(Groups::at(homes, 1 << 20, 10));
        let group = groups.make().unwrap();
        let [memory, pids, both] = group.directories() else { panic!("{group:?}") };
        assert_eq!(read(memory, "memory.limit_in_bytes"), "1048576");
        assert_eq!(read(memory, "memory.memsw.limit_in_bytes"), "1048576");
        assert_eq!(read(pids, "pids.max"), "14");
        let files = ["memory.max", "memory.swap.max", "memory.oom.group", "pids.max"].map(|file| read(both, file));
        assert_eq!(files, ["1048576", "0", "1", "14"]);

        assert!(!group.ran_out_of_memory());
        fs::write(memory.join("memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n").unwrap();
        assert!(group.ran_out_of_memory());
        assert!(group.doors().is_err(), "the kernel has not made the files of these");
    }

    #[test]
    fn the_next_group_is_ready_and_goes_with_its_maker() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::One { controller: Controller::Processes, directory: directory.path().to_owned() };
        let groups = Arc::new(Groups::at(vec![home], 1 << 20, 10));
        let there = || fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
        groups.make_ready();
        groups.make_ready();
        let ready = there();
        assert_eq!(ready.len(), 1);
        let group = groups.make().unwrap();
        assert_eq!(group.directories(), ready);
        groups.make_ready();
        let next = there().into_iter().find(|path| !ready.contains(path)).unwrap();
        // Somebody tidies up. The files in it are the kernel's, and go with the directory; here they are ours.
        fs::remove_dir_all(&next).unwrap();
        let other = groups.make().unwrap();
        assert!(other.directories()[0].is_dir() && other.directories()[0] != next);
    }

    #[test]
    fn what_a_dead_worker_left_is_swept_and_the_living_keep_theirs() {
        let directory = tempfile::tempdir().unwrap();
        let (me, started) = (std::process::id(), start_time(std::process::id()).unwrap());
        let names = [format!("{PREFIX}{me}-{started}-0"), format!("{PREFIX}{me}-1-0"), LEAF.into(), "other".into()];
        for name in &names {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        Groups::none().sweep(directory.path());
        let left = names.each_ref().map(|name| directory.path().join(name).exists());
        assert_eq!(left, [true, false, true, true]);
    }

    #[test]
    fn version_two_is_enabled_where_memory_and_pids_were_handed_over() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path();
        let error = enable(home, true).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        fs::write(home.join("cgroup.controllers"), "cpu memory pids").unwrap();
        enable(home, true).unwrap();
        assert_eq!(read(home, "cgroup.subtree_control"), "+memory +pids");
        fs::write(home.join("cgroup.subtree_control"), "memory pids").unwrap();
        enable(home, true).unwrap();
        assert_eq!(read(home, "cgroup.subtree_control"), "memory pids", "nothing is left to do");
    }

    #[test]
    fn a_worker_that_moved_itself_before_has_its_home_one_level_up() {
        let mounts = "33 23 0:29 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let (homes, missing) = homes("0::/system.slice/tw.service/ticketwright-worker\n", mounts);
        assert_eq!(homes, [Home::Two { directory: "/sys/fs/cgroup/system.slice/tw.service".into() }]);
        assert!(missing.is_empty());
    }

    #[test]
    fn a_first_process_is_moved_too() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("cgroup.procs"), "1\n2\n").unwrap();
        assert_eq!(processes_of(directory.path()), [Pid::from_raw(1), Pid::from_raw(2)]);
    }

    #[test]
    fn a_group_that_others_live_in_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path();
        fs::write(home.join("cgroup.controllers"), "memory pids").unwrap();
        // A directory in its place refuses to be written, as the kernel does while the group has processes.
        fs::create_dir(home.join("cgroup.subtree_control")).unwrap();
        fs::write(home.join("cgroup.procs"), format!("{}\n999999999\n", std::process::id())).unwrap();
        let error = enable(home, true).unwrap_err();
        assert!(error.to_string().contains("Delegate="), "{error}");
        assert!(!home.join(LEAF).exists());

        fs::write(home.join("cgroup.procs"), format!("{}\n", std::process::id())).unwrap();
        assert!(enable(home, false).unwrap_err().to_string().contains("a check moves nothing"));
        assert!(!home.join(LEAF).exists());
        enable(home, true).unwrap_err();
        assert_eq!(read(&home.join(LEAF), "cgroup.procs"), std::process::id().to_string());
    }
}
