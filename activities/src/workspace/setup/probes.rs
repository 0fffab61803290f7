//! What a set-up must not reach, tried from inside the sandbox with the way out that it really has. Each probe has to hold; with
//! one lock taken off, exactly the probes of that lock have to be lost.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use workflows::contract::ids::RepositoryName;

use super::allow::{AllowList, Destination, Guard};
use super::install::Run;
use super::proxy::Rules;
use super::*;
use crate::sandbox::Exit;
use crate::workspace::area::Claim;
use crate::workspace::remote::{GitRemote, Remote};

/// A lock that can be taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    /// A network namespace of its own.
    Namespace,
    /// Hosts are named, never given as addresses.
    Names,
    /// The list of hosts.
    List,
    /// The port that goes with a host.
    Ports,
    /// Addresses are on the public internet.
    Addresses,
    /// TLS asks for the host that was named.
    Hello,
    /// The cap on bytes that leave.
    Upload,
}

const ALL: [Lock; 7] =
    [Lock::Namespace, Lock::Names, Lock::List, Lock::Ports, Lock::Addresses, Lock::Hello, Lock::Upload];
/// On the list. Nobody resolves it: what the rules let through goes to another proxy, which leads everything to one server.
const LISTED: &str = "registry.example";
/// Most bytes up.
const CAP: u64 = 64 * 1024;

/// Something to try: what it is, Python that returns what came back, and the locks without which it gets through.
struct Probe(&'static str, &'static str, &'static [Lock]);

const PROBES: [Probe; 13] = [
    Probe("a service of the host", "return socket.create_connection(('127.0.0.1', PORT), 3)", &[Lock::Namespace]),
    Probe("a service of the host by UDP", "return udp('127.0.0.1', UDP)", &[Lock::Namespace]),
    Probe("an address instead of a name", "return opened('127.0.0.1:443')", &[Lock::Names]),
    Probe(
        "an address in another spelling",
        "return [a for a in ('[::1]', '0x7f000001', '2130706433', '127.1', '127.0.0.1.') if opened(a + ':443')]",
        &[Lock::Names],
    ),
    Probe("a host that is not listed", "return opened('evil.example:443')", &[Lock::List]),
    Probe(
        "a host that is not listed, without the forwarder",
        "return opened('evil.example:443', straight())",
        &[Lock::List],
    ),
    Probe(
        "a host below a listed one",
        "return opened('a.registry.example:443') or opened('registry.example.evil.example:443')",
        &[],
    ),
    Probe("another port of a listed host", "return opened('registry.example:22')", &[Lock::Ports]),
    Probe("a name that leads inside", "return opened('localhost:%d' % PORT)", &[Lock::Addresses]),
    Probe("TLS for another host than the one that was named", "return echoed(hello('evil.example'))", &[Lock::Hello]),
    Probe("a connection without TLS", "return echoed(b'GET / HTTP/1.1\\r\\nHost: evil.example\\r\\n\\r\\n')", &[]),
    Probe("more bytes than may leave", "return sent()", &[Lock::Upload]),
    Probe("the proxy's place", "os.unlink('/run/proxy/socket'); return 'removed'", &[]),
];

/// What probes are made of.
const PRELUDE: &str = r#"
import os, socket, ssl, sys
PORT, UDP, CAP = (int(number) for number in sys.argv[1:4])

def udp(host, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1)
    s.sendto(b"hello", (host, port))
    return s.recv(100)

def forwarded():
    return socket.create_connection(("127.0.0.1", 3128), 5)

def straight():
    s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect("/run/proxy/socket")
    return s

def opened(authority, s=None):
    s = s or forwarded()
    s.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head and (more := s.recv(4096)):
        head += more
    return s if head.startswith(b"HTTP/1.1 200 ") else None

def hello(name):
    out = ssl.MemoryBIO()
    try:
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        return out.read()

def echoed(first):
    s = opened("registry.example:443"); s.settimeout(5); s.sendall(first)
    return s.recv(10)

def sent():
    s = opened("registry.example:443"); s.settimeout(5); s.sendall(hello("registry.example"))
    back = 0
    while back < 3 * CAP:
        s.sendall(b"x" * 4096)
        got = s.recv(65536)
        if not got:
            return None
        back += len(got)
    return back
"#;

/// Lets through what one lock would keep back.
#[derive(Debug)]
struct Loose(AllowList, Lock);

impl Guard for Loose {
    fn admit(&self, authority: &str) -> Result<Destination, String> {
        let refused = match self.0.admit(authority) {
            Err(why) if self.1 == Lock::Names && why.contains("by its name") => why,
            decided => return decided,
        };
        let (host, port) = authority.rsplit_once(':').ok_or(refused)?;
        Ok(Destination::unchecked(host, port.parse().map_err(|_| "no port".to_owned())?))
    }

    fn is_meant(&self, host: &Destination, name: &str) -> bool {
        self.1 == Lock::Hello || self.0.is_meant(host, name)
    }
}

/// The rules of a set-up whose only registry is [`LISTED`], and a name that leads to this host.
fn rules(off: Option<Lock>, host: &Host) -> Rules {
    let without = |lock| off == Some(lock);
    let destination = |text: &str| text.parse::<Destination>().unwrap();
    let mut listed = vec![destination(LISTED), destination(&format!("localhost:{}", host.tcp))];
    listed.extend(without(Lock::List).then(|| destination("evil.example")));
    listed.extend(without(Lock::Ports).then(|| destination("registry.example:22")));
    let list = AllowList::new(&listed);
    let guard: Arc<dyn Guard> = match off {
        Some(lock @ (Lock::Names | Lock::Hello)) => Arc::new(Loose(list, lock)),
        _ => Arc::new(list),
    };
    let inside = if without(Lock::Addresses) { &["127.0.0.0/8", "::1"][..] } else { &[] };
    Rules {
        guard,
        upstream_addresses: inside.iter().map(|range| range.parse().unwrap()).collect(),
        upstream_proxy: Some(host.proxy.clone()),
        down: 1 << 20,
        up: if without(Lock::Upload) { 1 << 20 } else { CAP },
        connections: 16,
    }
}

/// What this host offers.
struct Host {
    /// Answers what it is sent.
    tcp: u16,
    /// So does this.
    udp: u16,
    /// A proxy that leads everything to the first.
    proxy: String,
}

impl Host {
    async fn start() -> Self {
        let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = service.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = service.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        let datagrams = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let udp = datagrams.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut said = [0; 100];
            while let Ok((length, whose)) = datagrams.recv_from(&mut said).await {
                let _ = datagrams.send_to(&said[..length], whose).await;
            }
        });
        let outer = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = outer.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = outer.accept().await {
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await?);
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                    let mut server = TcpStream::connect(("127.0.0.1", tcp)).await?;
                    tokio::io::copy_bidirectional(&mut stream, &mut server).await
                });
            }
        });
        Self { tcp, udp, proxy }
    }
}

/// There is none.
struct Nowhere;

#[async_trait]
impl Remote for Nowhere {
    async fn clone_url_and_credentials(&self, _repository: &RepositoryName) -> Result<GitRemote, ServiceError> {
        Err(ServiceError::new(FailureKind::Unsupported, "a set-up asks for no repository".to_owned()))
    }

    async fn may_push(&self, _repository: &RepositoryName, _login: &str) -> Result<bool, ServiceError> {
        Ok(false)
    }
}

/// The probes that get through without this lock.
async fn lost(off: Option<Lock>) -> Vec<&'static str> {
    let of_namespace = off == Some(Lock::Namespace);
    let directory = crate::sandbox::tests::open_directory();
    let usual = crate::sandbox::Settings::default();
    let sandbox = if of_namespace { shim(directory.path(), usual) } else { usual };
    let sandbox = Sandbox::probe(sandbox).await.unwrap();
    assert!(sandbox.has_helper(), "build ticketwright-inside first: cargo build --workspace");
    if of_namespace {
        // Not before: the sandbox looks for itself at its start.
        std::fs::write(directory.path().join("weakness"), "Network").unwrap();
    }
    let path = directory.path().join("worker");
    let settings = super::super::Settings { directory: path, ..super::super::Settings::default() };
    let blobs = crate::blobs::Blobs::open(directory.path().join("blobs").to_str().unwrap()).unwrap();
    let worker = WorkspaceActivities::open(settings, blobs, sandbox, Arc::new(Nowhere)).await.unwrap();
    let claim = Claim { workflow: "ticket-SHOP-1".into(), activity: "1".into(), attempt: 1 };
    let area = Area::claim(&worker.settings, &claim).await.unwrap();
    let host = Host::start().await;

    // Without its own namespace the forwarder would take a port of the host.
    let is_tried = |probe: &&Probe| !of_namespace || probe.2.contains(&Lock::Namespace);
    let mut lost = Vec::new();
    // Names are resolved by the proxy that is on the way, if one is.
    for straight in [false, true] {
        let tried = PROBES.iter().filter(is_tried).filter(|probe| straight == (probe.2 == [Lock::Addresses]));
        let script: String = tried.clone().map(|probe| script(probe, &host)).collect();
        if script.is_empty() {
            continue;
        }
        let run = Run::new(&worker, &area, area.make(if straight { "straight" } else { "through" }).unwrap()).unwrap();
        let mut rules = rules(off, &host);
        rules.upstream_proxy = rules.upstream_proxy.filter(|_| !straight);
        let finished = match of_namespace {
            true => run.offline(&script).await.unwrap(),
            false => run.reaching(rules, &script).await.unwrap().0,
        };
        let said = finished.stdout.text();
        assert_eq!(finished.exit, Exit::Code(0), "{said}");
        for Probe(name, ..) in tried {
            let line = |word: &str| said.lines().any(|line| line == format!("{word}: {name}"));
            assert_ne!(line("held"), line("lost"), "{name}: {said}");
            lost.extend(line("lost").then_some(*name));
        }
    }
    lost
}

/// Bash that runs a probe and tells `held` or `lost`.
fn script(Probe(name, body, _): &Probe, host: &Host) -> String {
    let program = format!(
        "{PRELUDE}\ndef probe():\n    {body}\ntry:\n    got = probe()\nexcept (OSError, AttributeError) as error:\n    got = None\n\
         print('lost' if got else 'held', sys.argv[4], sep=': ')\n"
    );
    let Host { tcp, udp, .. } = host;
    format!("python3 -c {} {tcp} {udp} {CAP} {}\n", plan::quote(&program), plan::quote(name))
}

/// Puts into bubblewrap's place what takes off the lock that the file `weakness` names.
fn shim(directory: &Path, settings: crate::sandbox::Settings) -> crate::sandbox::Settings {
    let bubblewrap = directory.join("bwrap");
    std::fs::write(&bubblewrap, include_str!("../../../../tests/probes/shim.py")).unwrap();
    std::fs::set_permissions(&bubblewrap, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(directory.join("weakness"), "none").unwrap();
    crate::sandbox::Settings { bubblewrap, ..settings }
}

#[tokio::test]
async fn a_set_up_reaches_listed_hosts_and_nothing_else() {
    assert_eq!(lost(None).await, [""; 0]);
}

#[tokio::test]
async fn without_a_lock_exactly_its_probes_are_lost() {
    for off in ALL {
        let expected: Vec<&str> = PROBES.iter().filter(|probe| probe.2.contains(&off)).map(|probe| probe.0).collect();
        assert_eq!(lost(Some(off)).await, expected, "{off:?}");
    }
}
