//! A port inside that leads to a Unix socket outside. Bytes are copied as they are: what may be reached is decided by the
//! proxy that listens on the socket.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

/// Bytes carried at once.
const CHUNK: usize = 64 * 1024;
/// Stack of a copying thread: the chunk lies on the heap, and package managers open many connections.
const STACK: usize = 64 * 1024;
/// Pause after a refused `accept`, so that a lack of descriptors does not turn into a busy loop.
const PAUSE: Duration = Duration::from_millis(20);

/// Listens on 127.0.0.1:`port`, runs the command until it ends, and ends like it.
///
/// # Errors
/// The port is taken, or the program cannot be started.
pub(crate) fn run(port: u16, socket: &Path, program: &OsStr, arguments: &[OsString]) -> io::Result<ExitCode> {
    // Before the command starts, so that its first connection finds somebody.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map_err(|error| io::Error::other(format!("127.0.0.1:{port}: {error}")))?;
    let socket = socket.to_owned();
    thread::Builder::new().spawn(move || accept(&listener, &socket))?;
    let status = Command::new(program).args(arguments).status().map_err(|error| crate::not_started(program, error))?;
    // Open connections end with this process.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

fn accept(listener: &TcpListener, socket: &Path) {
    for connection in listener.incoming() {
        let carried = connection.and_then(|inside| carry(inside, socket));
        // A connection that could not be carried was closed, which its client reports.
        if carried.is_err() {
            thread::sleep(PAUSE);
        }
    }
}

/// Two threads for a connection: each direction ends by itself, as a client may stop sending and go on reading.
fn carry(inside: TcpStream, socket: &Path) -> io::Result<()> {
    // Requests of a package manager are short and wait for their answer.
    inside.set_nodelay(true)?;
    let outside = UnixStream::connect(socket)?;
    let (inside_again, outside_again) = (inside.try_clone()?, outside.try_clone()?);
    let builder = || thread::Builder::new().stack_size(STACK);
    builder().spawn(move || {
        if copy(&inside, &outside).is_err() {
            // The reader of the other direction must not wait for an answer that nobody will send.
            let _ = inside.shutdown(Shutdown::Both);
        }
        let _ = outside.shutdown(Shutdown::Write);
    })?;
    builder().spawn(move || {
        if copy(&outside_again, &inside_again).is_err() {
            let _ = outside_again.shutdown(Shutdown::Both);
        }
        let _ = inside_again.shutdown(Shutdown::Write);
    })?;
    Ok(())
}

/// Copies until the reader is at its end.
fn copy<'a, R, W>(from: &'a R, to: &'a W) -> io::Result<()>
where
    &'a R: io::Read,
    &'a W: io::Write,
{
    let (mut from, mut to) = (from, to);
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&chunk[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn pair(socket: &Path) -> (TcpStream, UnixStream) {
        let proxy = UnixListener::bind(socket).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (inside, _) = listener.accept().unwrap();
        carry(inside, socket).unwrap();
        (client, proxy.accept().unwrap().0)
    }

    #[test]
    fn a_client_that_stopped_sending_still_reads_the_answer() {
        let directory = tempfile::tempdir().unwrap();
        let (mut client, mut proxy) = pair(&directory.path().join("socket"));
        client.write_all(b"request").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut request = String::new();
        proxy.read_to_string(&mut request).unwrap();
        assert_eq!(request, "request");

        let answer = vec![7; 3 << 20];
        let sent = answer.clone();
        let writer = thread::spawn(move || proxy.write_all(&sent));
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        writer.join().unwrap().unwrap();
        assert_eq!(received, answer);
    }

    #[test]
    fn a_proxy_that_closes_is_seen_by_the_client() {
        let directory = tempfile::tempdir().unwrap();
        let (mut client, proxy) = pair(&directory.path().join("socket"));
        drop(proxy);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
    }

    #[test]
    fn it_ends_as_its_command_ends() {
        let run =
            |script: &str| run(0, Path::new("/nonexistent"), "sh".as_ref(), &["-c".into(), script.into()]).unwrap();
        assert_eq!(run("exit 7"), ExitCode::from(7));
        assert_eq!(run("kill -9 $$"), ExitCode::from(137));
        let missing = super::run(0, Path::new("/nonexistent"), "/nonexistent/program".as_ref(), &[]).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(missing.to_string().contains("/nonexistent/program"), "{missing}");
    }
}
