//! The server name in a TLS ClientHello (RFC 8446, 4.1.2; RFC 6066, 3): what a client really asks for, behind whatever name it
//! gave the proxy.

/// Most bytes of a ClientHello. Those with post-quantum keys take about 2 KB.
pub(super) const MOST: usize = 32 * 1024;

/// What the bytes so far are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hello {
    /// A beginning; more must come.
    Partial,
    /// Whole: the name it asks for.
    Names(String),
    /// Whole, without a name; or something else.
    Other,
}

/// Reads the beginning of a connection.
pub(super) fn read(bytes: &[u8]) -> Hello {
    let mut message = Vec::new();
    let mut rest = bytes;
    // A handshake message may come in several records.
    loop {
        if let [1, a, b, c, ..] = message[..] {
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if length > MOST {
                return Hello::Other;
            }
            if let Some(body) = message.get(4..4 + length) {
                return server_name(body).map_or(Hello::Other, Hello::Names);
            }
        } else if message.first().is_some_and(|kind| *kind != 1) {
            return Hello::Other;
        }
        match rest {
            [] => return partial(bytes),
            [22, 3, _, high, low, after @ ..] => {
                let length = usize::from(*high) << 8 | usize::from(*low);
                if length == 0 {
                    return Hello::Other;
                }
                let Some((record, after)) = after.split_at_checked(length) else { return partial(bytes) };
                message.extend_from_slice(record);
                rest = after;
            }
            [22] | [22, 3] | [22, 3, _] | [22, 3, _, _] => return partial(bytes),
            _ => return Hello::Other,
        }
    }
}

fn partial(bytes: &[u8]) -> Hello {
    if bytes.len() >= MOST { Hello::Other } else { Hello::Partial }
}

/// The one name of type `host_name` in the extension `server_name`.
fn server_name(body: &[u8]) -> Option<String> {
    let mut reader = Reader(body);
    // Version and random, session, cipher suites, compression.
    reader.take(34)?;
    reader.vector(1)?;
    reader.vector(2)?;
    reader.vector(1)?;
    let mut extensions = Reader(reader.vector(2)?);
    let mut found = None;
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let content = extensions.vector(2)?;
        if kind != 0 {
            continue;
        }
        let mut names = Reader(Reader(content).vector(2)?);
        let is_host = names.number(1)? == 0;
        let name = names.vector(2)?;
        // A second name or a second extension could be what the server looks at.
        if !is_host || !names.0.is_empty() || found.is_some() {
            return None;
        }
        found = Some(String::from_utf8(name.to_vec()).ok()?.to_ascii_lowercase());
    }
    found
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A big-endian number of so many bytes.
    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// A vector whose length comes first, in so many bytes.
    fn vector(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let length = self.number(bytes)?;
        self.take(length)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn sized(bytes: usize, content: &[u8]) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        [&length[length.len() - bytes..], content].concat()
    }

    /// A ClientHello that names these hosts, in records of at most `record` bytes.
    pub(in super::super) fn client_hello(names: &[&str], record: usize) -> Vec<u8> {
        let mut extensions = [vec![0, 43], sized(2, &[2, 3, 4])].concat();
        for name in names {
            let entry = [vec![0], sized(2, name.as_bytes())].concat();
            extensions.extend([vec![0, 0], sized(2, &sized(2, &entry))].concat());
        }
        let body = [
            [3, 3].to_vec(),
            [7; 32].to_vec(),
            sized(1, &[1; 32]),
            sized(2, &[0x13, 1]),
            sized(1, &[0]),
            sized(2, &extensions),
        ]
        .concat();
        let message = [vec![1], sized(3, &body)].concat();
        message.chunks(record).flat_map(|part| [vec![22, 3, 1], sized(2, part)].concat()).collect()
    }

    #[test]
    fn the_name_is_found_in_whole_split_and_partial_hellos() {
        let whole = client_hello(&["PyPI.org"], 4096);
        assert_eq!(read(&whole), Hello::Names("pypi.org".into()));
        assert_eq!(read(&client_hello(&["pypi.org"], 20)), Hello::Names("pypi.org".into()));
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), Hello::Partial, "{length}");
        }
        let with_more = [whole, b"early data".to_vec()].concat();
        assert_eq!(read(&with_more), Hello::Names("pypi.org".into()));
    }

    #[test]
    fn everything_else_is_refused() {
        assert_eq!(read(&client_hello(&[], 4096)), Hello::Other, "no name");
        assert_eq!(read(&client_hello(&["a.example", "b.example"], 4096)), Hello::Other, "two names");
        for other in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"SSH-2.0-x\r\n",
            b"\x16\x03\x01\x00\x00",
            b"\x17\x03\x03\x00\x01x",
            b"\x16\x03\x01\x00\x04\x02\0\0\0",
            b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
            b"\x16\x03\x01\x00\x05\x01\0\0\x01\x03",
        ] {
            assert_eq!(read(other), Hello::Other, "{other:?}");
        }
        let endless = [22, 3, 1, 0, 1].iter().chain(&[1]).copied().collect::<Vec<u8>>();
        assert_eq!(read(&endless.repeat(MOST)), Hello::Other, "a message that never ends");
    }
}
