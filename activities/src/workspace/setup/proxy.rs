//! The way out of a set-up: a proxy on a Unix socket, run by the worker outside the sandbox, that lets TLS connections to
//! listed hosts through and nothing else. It copies bytes and sees no content.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::allow::{Destination, Guard, Range, reachable};
use super::hello::{self, Hello};

/// Name of the socket in its directory.
pub(super) const SOCKET: &str = "socket";
/// Most bytes of a request's head.
const HEAD: usize = 8 * 1024;
/// Longest wait for a head, a ClientHello, an answer of DNS or a connection.
const STEP: Duration = Duration::from_secs(15);
/// Longest silence of a connection.
const SILENCE: Duration = Duration::from_secs(120);
/// Names that are kept for the log and the notes.
const NAMES: usize = 50;

/// What passes.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// Knows the hosts.
    pub(super) guard: Arc<dyn Guard>,
    /// Addresses that are fine although they are not public.
    pub(super) upstream_addresses: Vec<Range>,
    /// A proxy to go through, `host:port`; names are then resolved there.
    pub(super) upstream_proxy: Option<String>,
    /// Most bytes from the internet, of one set-up.
    pub(super) down: u64,
    /// Most bytes to the internet. Packages are fetched, so little needs to leave.
    pub(super) up: u64,
    /// Most connections at the same time.
    pub(super) connections: usize,
}

/// What went through, and what did not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    /// By host.
    pub(super) hosts: BTreeMap<String, Passed>,
    /// What was refused, and why.
    pub(super) refused: BTreeMap<String, String>,
    /// Hosts that could not be connected to, and why.
    pub(super) unreachable: BTreeMap<String, String>,
}

/// What went to and came from a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// Connections.
    pub(super) connections: u64,
    /// Bytes to it.
    pub(super) up: u64,
    /// Bytes from it.
    pub(super) down: u64,
}

/// A running proxy. Dropping it ends it and all its connections.
#[derive(Debug)]
pub(super) struct Proxy {
    task: JoinHandle<()>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    rules: Rules,
    traffic: Mutex<Traffic>,
    up: AtomicU64,
    down: AtomicU64,
    open: AtomicUsize,
}

impl Proxy {
    /// Listens on a socket in `directory`, which is bound into the sandbox.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub(super) fn start(directory: &Path, rules: Rules) -> io::Result<Self> {
        // A socket's path may have 107 bytes; through the descriptor it is short wherever the directory is.
        let opened = std::fs::File::open(directory)?;
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd()))?;
        // The sandbox's user connects; the directory decides who gets that far.
        std::fs::set_permissions(directory.join(SOCKET), std::fs::Permissions::from_mode(0o666))?;
        let state = Arc::new(State {
            rules,
            traffic: Mutex::default(),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            open: AtomicUsize::new(0),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { task, state })
    }

    /// What went through so far.
    pub(super) fn traffic(&self) -> Traffic {
        self.state.traffic().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    fn traffic(&self) -> std::sync::MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, host: &str, passed: Passed) {
        let mut traffic = self.traffic();
        let of_host = traffic.hosts.entry(host.to_owned()).or_default();
        of_host.connections += passed.connections;
        of_host.up += passed.up;
        of_host.down += passed.down;
    }

    fn refused(&self, asked: &str, why: &str) {
        // What was asked for is foreign text.
        let asked: String = asked.chars().filter(|c| !c.is_control()).take(100).collect();
        let refused = &mut self.traffic().refused;
        if refused.len() < NAMES {
            refused.insert(asked, why.to_owned());
        }
    }

    fn unreachable(&self, host: &str, why: String) {
        self.traffic().unreachable.insert(host.to_owned(), why);
    }
}

async fn accept(listener: UnixListener, state: Arc<State>) {
    // The set ends its connections when it is dropped with this task.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let open = state.open.fetch_add(1, Ordering::Relaxed);
                    if open >= 2 * state.rules.connections {
                        // Without an answer: each that waits for one has a descriptor, which the worker needs elsewhere.
                        state.open.fetch_sub(1, Ordering::Relaxed);
                        continue;
                    }
                    let state = Arc::clone(&state);
                    connections.spawn(async move {
                        if open < state.rules.connections {
                            serve(client, &state).await;
                        } else {
                            turn_away(client).await;
                        }
                        state.open.fetch_sub(1, Ordering::Relaxed);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the set-up's proxy could not take a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers a connection that is one too many, once it has asked: closing before would reset it.
async fn turn_away(mut client: UnixStream) {
    if let Ok(Ok(_)) = tokio::time::timeout(STEP, read_head(&mut client)).await {
        refuse(client, "503 Service Unavailable", "too many connections at the same time").await;
    }
}

/// One connection, from its request to its end.
async fn serve(mut client: UnixStream, state: &State) {
    let Ok(Ok((request, early))) = tokio::time::timeout(STEP, read_head(&mut client)).await else { return };
    let admitted = authority(&request)
        .and_then(|authority| state.rules.guard.admit(authority).inspect_err(|why| state.refused(authority, why)));
    let host = match admitted {
        Ok(host) => host,
        Err(why) => return refuse(client, "403 Forbidden", &why).await,
    };
    let connected = match &state.rules.upstream_proxy {
        Some(proxy) => through(proxy, &host).await,
        None => connect(&host, &state.rules.upstream_addresses).await,
    };
    let mut server = match connected {
        Ok(server) => server,
        Err(Refused::NotAllowed(why)) => {
            state.refused(&host.to_string(), &why);
            return refuse(client, "403 Forbidden", &why).await;
        }
        Err(Refused::Unreachable(why)) => {
            state.unreachable(host.host(), why.clone());
            return refuse(client, "502 Bad Gateway", &why).await;
        }
    };
    if client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.is_err() {
        return;
    }
    let first = match tokio::time::timeout(
        STEP,
        read_hello(&mut client, early, |name| state.rules.guard.is_meant(&host, name)),
    )
    .await
    {
        Ok(Ok(first)) => first,
        Ok(Err(why)) => return state.refused(&host.to_string(), &why),
        Err(_) => return state.refused(&host.to_string(), "no TLS connection began"),
    };
    state.up.fetch_add(first.len() as u64, Ordering::Relaxed);
    if server.write_all(&first).await.is_err() {
        return;
    }
    state.count(host.host(), Passed { connections: 1, up: first.len() as u64, down: 0 });
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let up = copy(from_client, to_server, &state.up, state.rules.up, |up| {
        state.count(host.host(), Passed { up, ..Passed::default() });
    });
    let down = copy(from_server, to_client, &state.down, state.rules.down, |down| {
        state.count(host.host(), Passed { down, ..Passed::default() });
    });
    if let (Copied::OverCap, _) | (_, Copied::OverCap) = tokio::join!(up, down) {
        state.refused(&host.to_string(), "the set-up moved more bytes than it may");
    }
}

/// The head of a request, and what came behind it.
async fn read_head(client: &mut UnixStream) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((bytes, rest));
        }
        if bytes.len() > HEAD || client.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// The authority of `CONNECT <authority> HTTP/1.1`; exactly this line.
fn authority(head: &[u8]) -> Result<&str, String> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| "the request is not text".to_owned())?;
    match line.split(' ').collect::<Vec<_>>()[..] {
        ["CONNECT", authority, "HTTP/1.1" | "HTTP/1.0"] => Ok(authority),
        ["CONNECT", ..] => Err("the request does not name a host by its name".to_owned()),
        _ => Err("only CONNECT is served: use https".to_owned()),
    }
}

enum Refused {
    /// By the rules.
    NotAllowed(String),
    /// The network failed.
    Unreachable(String),
}

/// Resolves the name once, and connects to an address that was looked at: a second question could be answered otherwise.
async fn connect(host: &Destination, upstream: &[Range]) -> Result<TcpStream, Refused> {
    let unreachable = |why: String| Refused::Unreachable(format!("{} cannot be reached: {why}", host.host()));
    // With the dot at the end the name is whole: no search domain of this host is tried. `/etc/hosts` has names without it.
    let dotted = host.host().contains('.').then(|| format!("{}.", host.host()));
    let mut addresses: Vec<SocketAddr> = Vec::new();
    let mut why = String::new();
    for name in dotted.into_iter().chain([host.host().to_owned()]) {
        match tokio::time::timeout(STEP, tokio::net::lookup_host((name, host.port()))).await {
            Ok(Ok(found)) => addresses = found.collect(),
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => "DNS does not answer".clone_into(&mut why),
        }
        if !addresses.is_empty() {
            break;
        }
    }
    if addresses.is_empty() {
        return Err(unreachable(why));
    }
    let ips: Vec<_> = addresses.iter().map(SocketAddr::ip).collect();
    reachable(&ips, upstream).map_err(|why| Refused::NotAllowed(format!("{}: {why}", host.host())))?;
    let mut why = String::new();
    for address in addresses {
        match tokio::time::timeout(STEP, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = format!("{address}: {error}"),
            Err(_) => why = format!("{address} does not answer"),
        }
    }
    Err(unreachable(why))
}

/// A connection to `host` through another proxy.
async fn through(proxy: &str, host: &Destination) -> Result<TcpStream, Refused> {
    let unreachable = |why: String| Refused::Unreachable(format!("{} through {proxy}: {why}", host.host()));
    let step = async {
        let mut stream = TcpStream::connect(proxy).await?;
        let authority = format!("{}:{}", host.host(), host.port());
        stream.write_all(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n").as_bytes()).await?;
        let mut head = Vec::new();
        // Byte by byte: what comes behind the head is the server's.
        while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
            head.push(stream.read_u8().await?);
        }
        io::Result::Ok((stream, head))
    };
    match tokio::time::timeout(STEP, step).await {
        Ok(Ok((stream, head))) => {
            let line = String::from_utf8_lossy(&head);
            let line = line.lines().next().unwrap_or_default();
            match line.split(' ').nth(1) {
                Some("200") if line.starts_with("HTTP/1.") => Ok(stream),
                _ => Err(unreachable(format!("it answered {line:?}"))),
            }
        }
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Err(_) => Err(unreachable("it does not answer".to_owned())),
    }
}

/// The first bytes of the connection, once they are a ClientHello for a name that is meant.
async fn read_hello(
    client: &mut UnixStream,
    mut bytes: Vec<u8>,
    is_meant: impl Fn(&str) -> bool,
) -> Result<Vec<u8>, String> {
    loop {
        match hello::read(&bytes) {
            Hello::Names(name) if is_meant(&name) => return Ok(bytes),
            Hello::Names(name) => {
                let name: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
                return Err(format!("the connection asked for {name} in the end"));
            }
            Hello::Other => return Err("what followed was not a TLS connection with a server name".to_owned()),
            Hello::Partial if bytes.len() >= hello::MOST => return Err("the ClientHello is too long".to_owned()),
            Hello::Partial => match client.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return Err("no TLS connection began".to_owned()),
                Ok(_) => {}
            },
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Copied {
    Ended,
    OverCap,
}

/// Copies until the end, a long silence, or the cap of the whole set-up.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    total: &AtomicU64,
    cap: u64,
    count: impl Fn(u64),
) -> Copied {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let read = tokio::time::timeout(SILENCE, from.read(&mut buffer)).await;
        let length = match read {
            Ok(Ok(length)) if length > 0 => length,
            _ => {
                let _ = to.shutdown().await;
                return Copied::Ended;
            }
        };
        if total.fetch_add(length as u64, Ordering::Relaxed) + length as u64 > cap {
            let _ = to.shutdown().await;
            return Copied::OverCap;
        }
        if to.write_all(buffer.get(..length).unwrap_or_default()).await.is_err() {
            return Copied::Ended;
        }
        count(length as u64);
    }
}

async fn refuse(mut client: UnixStream, status: &str, why: &str) {
    let body = format!("{why}\n");
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // Whoever is gone needs no answer.
    let _ = tokio::time::timeout(STEP, client.write_all(answer.as_bytes())).await;
    let _ = client.shutdown().await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use tokio::net::TcpListener;

    use super::super::allow::AllowList;
    use super::super::hello::tests::client_hello;
    use super::*;

    /// A server that greets with its first bytes returned, then echoes; counts connections.
    async fn server() -> (u16, Arc<AtomicU32>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        (port, seen)
    }

    fn rules(port: u16) -> Rules {
        let localhost = format!("localhost:{port}").parse().unwrap();
        Rules {
            guard: Arc::new(AllowList::new(&[localhost])),
            upstream_addresses: ["127.0.0.0/8", "::1"].map(|range| range.parse().unwrap()).to_vec(),
            upstream_proxy: None,
            down: 1 << 20,
            up: 1 << 20,
            connections: 4,
        }
    }

    struct Running {
        directory: tempfile::TempDir,
        proxy: Proxy,
    }

    impl Running {
        fn new(rules: Rules) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let proxy = Proxy::start(directory.path(), rules).unwrap();
            Self { directory, proxy }
        }

        async fn client(&self) -> UnixStream {
            UnixStream::connect(self.directory.path().join(SOCKET)).await.unwrap()
        }

        /// Sends a head, returns the stream and the head of the answer with its body, if it closes.
        async fn ask(&self, head: &str) -> (UnixStream, String) {
            let mut client = self.client().await;
            client.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"established\r\n\r\n") {
                if client.read_buf(&mut answer).await.unwrap() == 0 {
                    break;
                }
            }
            (client, String::from_utf8(answer).unwrap())
        }

        async fn open(&self, authority: &str) -> UnixStream {
            let (client, answer) = self.ask(&format!("CONNECT {authority} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            client
        }
    }

    async fn all(mut client: UnixStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = client.read_to_end(&mut bytes).await;
        bytes
    }

    #[tokio::test]
    async fn a_tls_connection_to_a_listed_host_passes_and_is_counted() {
        let (port, _) = server().await;
        let running = Running::new(rules(port));
        let mut client = running.open(&format!("LocalHost:{port}")).await;
        let hello = client_hello(&["localhost"], 100);
        // In two pieces, as long hellos come.
        client.write_all(&hello[..30]).await.unwrap();
        client.write_all(&hello[30..]).await.unwrap();
        client.write_all(b"then anything").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(all(client).await, [&hello[..], b"then anything"].concat());
        let bytes = hello.len() as u64 + 13;
        let traffic = running.proxy.traffic();
        assert_eq!(traffic.hosts["localhost"], Passed { connections: 1, up: bytes, down: bytes });
        assert!(traffic.refused.is_empty() && traffic.unreachable.is_empty());
    }

    #[tokio::test]
    async fn every_other_request_is_refused_before_anything_is_connected() {
        let (port, seen) = server().await;
        let running = Running::new(rules(port));
        for (request, why) in [
            ("GET http://pypi.org/ HTTP/1.1", "only CONNECT"),
            ("POST / HTTP/1.1", "only CONNECT"),
            ("connect pypi.org:443 HTTP/1.1", "only CONNECT"),
            ("CONNECT pypi.org:443 HTTP/2", "by its name"),
            ("CONNECT pypi.org:443", "by its name"),
            ("CONNECT pypi.org :443 HTTP/1.1", "by its name"),
            ("CONNECT pypi.org\t:443 HTTP/1.1", "by its name"),
            ("CONNECT localhost:PORT@evil.example HTTP/1.1", "by its name"),
            ("CONNECT evil.example@localhost:PORT HTTP/1.1", "by its name"),
            ("CONNECT 127.0.0.1:PORT HTTP/1.1", "by its name"),
            ("CONNECT [::1]:PORT HTTP/1.1", "by its name"),
            ("CONNECT 0x7f000001:PORT HTTP/1.1", "by its name"),
            ("CONNECT 2130706433:PORT HTTP/1.1", "by its name"),
            ("CONNECT 127.1:PORT HTTP/1.1", "by its name"),
            ("CONNECT localhost:22 HTTP/1.1", "port 22"),
            ("CONNECT localhost HTTP/1.1", "no port"),
            ("CONNECT evil.example:443 HTTP/1.1", "not on the list"),
            ("CONNECT localhost.evil.example:PORT HTTP/1.1", "not on the list"),
        ] {
            let request = request.replace("PORT", &port.to_string());
            let (_, answer) = running.ask(&format!("{request}\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains(why), "{request}: {answer}");
        }
        assert_eq!(seen.load(Ordering::SeqCst), 0);
        assert!(running.proxy.traffic().refused["evil.example:443"].contains("not on the list"));

        // Neither an endless head nor none at all is answered.
        let mut client = running.client().await;
        let _ = client.write_all(&vec![b'a'; 3 * HEAD]).await;
        assert!(all(client).await.is_empty());
        // Dot at the end and upper case are another spelling of the same name.
        running.open(&format!("LOCALHOST.:{port}")).await;
    }

    #[tokio::test]
    async fn only_the_name_that_was_asked_for_passes() {
        let (port, _) = server().await;
        let running = Running::new(rules(port));
        for first in [client_hello(&["evil.example"], 999), client_hello(&[], 999), b"GET / HTTP/1.1\r\n\r\n".to_vec()]
        {
            let mut client = running.open(&format!("localhost:{port}")).await;
            client.write_all(&first).await.unwrap();
            assert_eq!(all(client).await, b"", "nothing of it reached the server");
        }
        let traffic = running.proxy.traffic();
        assert!(traffic.hosts.is_empty() && traffic.refused.len() == 1, "{traffic:?}");
    }

    #[tokio::test]
    async fn addresses_inside_need_to_be_told() {
        let (port, seen) = server().await;
        let running = Running::new(Rules { upstream_addresses: Vec::new(), ..rules(port) });
        let (_, answer) = running.ask(&format!("CONNECT localhost:{port} HTTP/1.1\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("upstream_addresses"), "{answer}");
        assert_eq!(seen.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn what_cannot_be_reached_is_told_apart_from_what_is_not_allowed() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let running = Running::new(rules(closed));
        let (_, answer) = running.ask(&format!("CONNECT localhost:{closed} HTTP/1.1\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        let traffic = running.proxy.traffic();
        assert!(traffic.unreachable["localhost"].contains("cannot be reached") && traffic.refused.is_empty());
    }

    #[tokio::test]
    async fn bytes_and_connections_are_capped() {
        let (port, _) = server().await;
        let running = Running::new(Rules { up: 1000, connections: 1, ..rules(port) });
        let mut client = running.open(&format!("localhost:{port}")).await;
        let (_, answer) = running.ask("CONNECT pypi.org:443 HTTP/1.1\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        let hello = client_hello(&["localhost"], 999);
        client.write_all(&hello).await.unwrap();
        let _ = client.write_all(&[1; 4000]).await;
        let passed = all(client).await;
        assert!(passed.starts_with(&hello) && passed.len() <= 1000, "{}: the rest was over the cap", passed.len());
        let refused = running.proxy.traffic().refused;
        assert!(refused.values().any(|why| why.contains("more bytes")), "{refused:?}");
    }

    #[tokio::test]
    async fn connections_far_above_the_limit_take_no_descriptors() {
        let (port, _) = server().await;
        let running = Running::new(Rules { connections: 4, ..rules(port) });
        let socket = running.directory.path().join(SOCKET);
        let mut open = Vec::new();
        for _ in 0..100 {
            open.push(UnixStream::connect(&socket).await.unwrap());
        }
        let mut closed = 0;
        for client in &mut open {
            let mut byte = [0];
            let read = tokio::time::timeout(Duration::from_millis(50), client.read(&mut byte)).await;
            closed += usize::from(matches!(read, Ok(Ok(0))));
        }
        assert_eq!(closed, 100 - 2 * 4, "the others are asked what they want");
    }

    #[tokio::test]
    async fn another_proxy_can_be_on_the_way() {
        let (port, _) = server().await;
        let outer = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = outer.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            // The first is let through to the server, the second is not.
            let (mut stream, _) = outer.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            assert!(head[..length].starts_with(b"CONNECT localhost:"));
            stream.write_all(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n").await.unwrap();
            let mut inner = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut stream, &mut inner).await });
            let (mut stream, _) = outer.accept().await.unwrap();
            let _ = stream.read(&mut head).await.unwrap();
            stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await.unwrap();
        });
        let running =
            Running::new(Rules { upstream_proxy: Some(address), upstream_addresses: Vec::new(), ..rules(port) });
        let mut client = running.open(&format!("localhost:{port}")).await;
        let hello = client_hello(&["localhost"], 999);
        client.write_all(&hello).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(all(client).await, hello);
        let (_, answer) = running.ask(&format!("CONNECT localhost:{port} HTTP/1.1\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("407"), "{answer}");
    }
}
