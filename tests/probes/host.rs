//! What the probes look for on the host: a word, planted wherever a command might find it.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use activities::sandbox::{self, Bind, Settings};
use anyhow::Context as _;

/// Makes a segment of shared memory that anybody may read, and removes it at the end of its input.
const SHARE: &str = "
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True); libc.shmat.restype = ctypes.c_void_p
key, word = int(sys.argv[1]), sys.argv[2].encode()
found = libc.shmget(key, 4096, 0o1666)
ctypes.memmove(libc.shmat(found, None, 0), word, len(word))
print('ready', flush=True); sys.stdin.read(); libc.shmctl(found, 0, None)";

/// The planted word and where it is. Everything ends with it.
pub(crate) struct Host {
    /// Directory that others may enter, with the file `secret`, the socket `socket` and the shim.
    pub(crate) directory: PathBuf,
    /// The word. A probe whose output has it has leaked.
    pub(crate) word: String,
    /// What scripts are told, as variables.
    pub(crate) told: Vec<(String, String)>,
    children: Vec<Child>,
}

impl Drop for Host {
    fn drop(&mut self) {
        for child in &mut self.children {
            // The end of its input lets the one clean up; the other is killed.
            drop(child.stdin.take());
            if child.stdout.is_none() {
                let _ = child.kill();
            }
            let _ = child.wait();
        }
    }
}

impl Host {
    /// Plants `word`, which is in this process's environment already.
    pub(crate) fn plant(directory: &Path, word: &str) -> anyhow::Result<Self> {
        let pid = std::process::id();
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let port = tcp.local_addr()?.port();
        thread::spawn(move || tcp.incoming().for_each(drop));
        let tcp6 = TcpListener::bind("[::1]:0");
        let port6 = tcp6.as_ref().ok().and_then(|tcp| tcp.local_addr().ok()).map_or(9, |address| address.port());
        thread::spawn(move || tcp6.map(|tcp| tcp.incoming().for_each(drop)));

        let udp = UdpSocket::bind("127.0.0.1:0")?;
        let udp_port = udp.local_addr()?.port();
        let answer = word.to_owned();
        thread::spawn(move || {
            while let Ok((_, from)) = udp.recv_from(&mut [0; 64]) {
                let _ = udp.send_to(answer.as_bytes(), from);
            }
        });
        let name = format!("ticketwright-probe-{pid}");
        say(UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?, word);
        let socket = directory.join("socket");
        say(UnixListener::bind(&socket)?, word);
        fs::set_permissions(&socket, Permissions::from_mode(0o777))?;

        let key = 0x5450_0000 + i64::from(pid);
        let mut share = Command::new("/usr/bin/python3");
        share.args(["-c", SHARE, &key.to_string(), word]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut share = share.spawn().context("python3 in /usr/bin")?;
        let mut ready = [0; 6];
        std::io::Read::read_exact(share.stdout.as_mut().context("its output")?, &mut ready)?;
        let victim = Command::new("/bin/sleep").arg0(word).arg("3600").stdin(Stdio::null()).spawn()?;

        let told = [
            ("P_PORT", port.to_string()),
            ("P_PORT6", port6.to_string()),
            ("P_UDP", udp_port.to_string()),
            ("P_ABSTRACT", name),
            ("P_DIR", directory.display().to_string()),
            ("P_SHM", key.to_string()),
            ("P_PID", pid.to_string()),
            ("P_VICTIM", victim.id().to_string()),
        ];
        let told = told.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Ok(Self { directory: directory.to_owned(), word: word.to_owned(), told, children: vec![share, victim] })
    }

    /// A new workspace with a `.git`, and the bind that shows it.
    pub(crate) fn workspace(&self) -> anyhow::Result<Workspace> {
        let base = tempfile::Builder::new().prefix("w").tempdir_in(&self.directory)?;
        fs::set_permissions(base.path(), Permissions::from_mode(0o755))?;
        let (files, view) = (base.path().join("files"), base.path().join("view"));
        fs::create_dir(&files)?;
        let git = |arguments: &[&str]| -> anyhow::Result<()> {
            let mut git = Command::new("git");
            git.env_clear().env("PATH", "/usr/bin:/bin").env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", "/nonexistent");
            anyhow::ensure!(git.current_dir(&files).args(arguments).status()?.success(), "git {arguments:?}");
            Ok(())
        };
        git(&["init", "-q", "-b", "main"])?;
        git(&["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first"])?;
        copy(&files.join(".git"), &view)?;
        // Files of the view belong to the user that runs inside, so that only the mount keeps them.
        let everybody = Command::new("chmod").args(["-R", "a+rwX"]).arg(&view).status()?;
        anyhow::ensure!(everybody.success(), "chmod");
        Ok(Workspace { files, view, _base: base })
    }

    /// Puts the shim in bubblewrap's place.
    pub(crate) fn with_shim(&self, settings: Settings) -> anyhow::Result<Settings> {
        let shim = self.directory.join("bwrap");
        fs::write(&shim, include_str!("shim.py"))?;
        fs::set_permissions(&shim, Permissions::from_mode(0o755))?;
        self.weaken("none")?;
        Ok(Settings { bubblewrap: shim, ..settings })
    }

    /// Tells the shim which lock to take off.
    pub(crate) fn weaken(&self, name: &str) -> anyhow::Result<()> {
        Ok(fs::write(self.directory.join("weakness"), name)?)
    }
}

/// A place for commands, removed when dropped.
pub(crate) struct Workspace {
    /// The files.
    pub(crate) files: PathBuf,
    view: PathBuf,
    _base: tempfile::TempDir,
}

impl Workspace {
    /// The read-only `.git`.
    pub(crate) fn git(&self) -> Bind {
        Bind { from: self.view.clone(), to: Path::new(sandbox::ROOT).join(".git"), writable: false }
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(Command::new("cp").arg("-r").arg(from).arg(to).status()?.success(), "cp");
    Ok(())
}

fn say(listener: UnixListener, word: &str) {
    let word = word.to_owned();
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let _ = connection.write_all(word.as_bytes());
        }
    });
}
