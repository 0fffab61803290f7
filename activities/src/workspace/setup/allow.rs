//! Which hosts a set-up may reach, and at which addresses: an exact list, and nothing inside this network unless told so.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::Deserialize;

/// How the reason ends when a host is not on the list.
pub(super) const NOT_LISTED: &str = "is not on the list of allowed hosts";
/// The port of a host without one.
const HTTPS: u16 = 443;

/// What the package managers of the usual registries ask for. Exact names: a suffix would let in what anybody may register.
const REGISTRIES: [&str; 15] = [
    "pypi.org",
    "files.pythonhosted.org",
    "registry.npmjs.org",
    "registry.yarnpkg.com",
    "repo.yarnpkg.com",
    "index.crates.io",
    "static.crates.io",
    "proxy.golang.org",
    "sum.golang.org",
    "repo.maven.apache.org",
    "repo1.maven.org",
    "plugins.gradle.org",
    "plugins-artifacts.gradle.org",
    "services.gradle.org",
    "downloads.gradle.org",
];

/// A host and a port, as a client may name them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Destination {
    /// Lower case, without a dot at the end.
    host: String,
    port: u16,
}

impl Destination {
    /// The host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

#[cfg(test)]
impl Destination {
    /// Whatever it is.
    pub(super) fn unchecked(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            HTTPS => f.write_str(&self.host),
            port => write!(f, "{}:{port}", self.host),
        }
    }
}

impl FromStr for Destination {
    type Err = String;

    /// `host` or `host:port`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
                (host, port.parse().map_err(|_| format!("{text:?} has no valid port"))?)
            }
            Some(_) => return Err(format!("{text:?} is not a host name, or host:port")),
            None => (text, HTTPS),
        };
        Ok(Self { host: name(host).ok_or_else(|| format!("{text:?} is not a host name, or host:port"))?, port })
    }
}

impl TryFrom<String> for Destination {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A DNS name in one spelling; nothing for everything else, above all for addresses in any of their spellings
/// (`127.1`, `0x7f000001`, `2130706433`, `[::1]`).
fn name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A last label that begins with a digit is never a top-level domain, and inet_aton(3) would read it as an address.
    let named = text.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_lowercase()));
    (text.len() <= 253 && named && text.split('.').all(label)).then_some(text)
}

/// Who decides about the connections of a set-up.
pub(super) trait Guard: fmt::Debug + Send + Sync {
    /// What the authority of a CONNECT request names, if it may be reached.
    ///
    /// # Errors
    /// Why not, for people.
    fn admit(&self, authority: &str) -> Result<Destination, String>;

    /// Whether a connection to `host` may ask the server there for `name`.
    fn is_meant(&self, host: &Destination, name: &str) -> bool;
}

/// The hosts a set-up may reach.
#[derive(Debug, Clone)]
pub(super) struct AllowList(BTreeSet<Destination>);

impl AllowList {
    /// The usual registries, and `more`.
    pub(super) fn new(more: &[Destination]) -> Self {
        let usual = REGISTRIES.iter().filter_map(|host| host.parse().ok());
        Self(usual.chain(more.iter().cloned()).collect())
    }

    /// All of them.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Destination> {
        self.0.iter()
    }
}

impl Guard for AllowList {
    /// The port must be there (RFC 9110, 9.3.6).
    fn admit(&self, authority: &str) -> Result<Destination, String> {
        if !authority.contains(':') {
            return Err("the request names no port".to_owned());
        }
        let asked: Destination =
            authority.parse().map_err(|_| "the request does not name a host by its name".to_owned())?;
        if self.0.contains(&asked) {
            Ok(asked)
        } else if self.0.iter().any(|known| known.host == asked.host) {
            Err(format!("port {} of {} is not allowed", asked.port, asked.host))
        } else {
            Err(format!("{} {NOT_LISTED}", asked.host))
        }
    }

    fn is_meant(&self, host: &Destination, name: &str) -> bool {
        host.host == name
    }
}

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Range {
    first: IpAddr,
    bits: u8,
}

impl Range {
    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |first: u128, other: u128, width: u8| {
            let shift = u32::from(width.saturating_sub(self.bits));
            first.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0)
        };
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(other)) => same(u32::from(first).into(), u32::from(other).into(), 32),
            (IpAddr::V6(first), IpAddr::V6(other)) => same(first.into(), other.into(), 128),
            _ => false,
        }
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a range of addresses, like 10.0.0.0/8");
        let (first, bits) = text.split_once('/').map_or((text, None), |(first, bits)| (first, Some(bits)));
        let first: IpAddr = first.parse().map_err(|_| wrong())?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if bits > most {
            return Err(wrong());
        }
        Ok(Self { first, bits })
    }
}

impl TryFrom<String> for Range {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Whether every one of `addresses` may be connected to. One bad one spoils the answer: a name that leads to the inside
/// now and then is not to be trusted at all.
///
/// # Errors
/// Why not, for people.
pub(super) fn reachable(addresses: &[IpAddr], upstream: &[Range]) -> Result<(), String> {
    let told = |address: &IpAddr| upstream.iter().any(|range| range.contains(*address));
    match addresses.iter().find(|address| !is_global(**address) && !told(address)) {
        Some(inside) => Err(format!(
            "its address {inside} is not on the public internet; if your registries are there, add it to \
             upstream_addresses under [workspace.setup]"
        )),
        None if addresses.is_empty() => Err("its name has no address".to_owned()),
        None => Ok(()),
    }
}

/// Whether an address is on the public internet (IANA's registries of special-purpose addresses, RFC 6890).
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_global_v4(address),
        IpAddr::V6(address) => is_global_v6(address),
    }
}

#[expect(clippy::unnested_or_patterns, reason = "a row for each range reads as the registry does")]
fn is_global_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127, ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            | (224..=255, ..)
    );
    !special
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let last_four = || {
        let [.., high, low] = segments;
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        // Mapped, and translated by NAT64: what is inside counts.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_global_v4(last_four()),
        // 6to4 carries its address behind the prefix.
        [0x2002, high, low, ..] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            is_global_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Protocol assignments with Teredo, and documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Only 2000::/3 is given out.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_hosts_by_name_are_admitted() {
        let list = AllowList::new(&["mirror.acme.example:8443".parse().unwrap()]);
        assert_eq!(list.admit("pypi.org:443").unwrap().host(), "pypi.org");
        assert_eq!(list.admit("PyPI.ORG.:443").unwrap().host(), "pypi.org", "one spelling for all");
        assert_eq!(list.admit("mirror.acme.example:8443").unwrap().port(), 8443);
        for (asked, why) in [
            ("10.0.0.1:443", "by its name"),
            ("[::1]:443", "by its name"),
            ("0x7f000001:443", "by its name"),
            ("2130706433:443", "by its name"),
            ("127.1:443", "by its name"),
            ("pypi.org:443@evil.example", "by its name"),
            ("user@pypi.org:443", "by its name"),
            ("pypi.org\t:443", "by its name"),
            ("pypi.org..:443", "by its name"),
            ("pypi.org:443:443", "by its name"),
            ("pypi.org:", "by its name"),
            ("pypi.org:99999", "by its name"),
            ("pypi.org", "no port"),
            ("pypi.org:22", "port 22 of pypi.org"),
            ("pypi.org:80", "port 80 of pypi.org"),
            ("mirror.acme.example:443", "port 443"),
            ("evil.example:443", "not on the list"),
            ("pypi.org.evil.example:443", "not on the list"),
            ("xpypi.org:443", "not on the list"),
            ("localhost:443", "not on the list"),
        ] {
            let said = list.admit(asked).unwrap_err();
            assert!(said.contains(why), "{asked:?}: {said}");
        }
    }

    #[test]
    fn settings_name_hosts_and_ranges() {
        for wrong in ["https://pypi.org", "10.0.0.1", "*.acme.example", "a b", "", "."] {
            assert!(wrong.parse::<Destination>().is_err(), "{wrong:?}");
        }
        assert_eq!("pypi.org".parse::<Destination>().unwrap().to_string(), "pypi.org");
        for wrong in ["10.0.0.0/33", "10.0.0/8", "::/129", "x", "10.0.0.0/"] {
            assert!(wrong.parse::<Range>().is_err(), "{wrong:?}");
        }
        let range: Range = "10.1.0.0/16".parse().unwrap();
        assert!(range.contains("10.1.255.1".parse().unwrap()) && !range.contains("10.2.0.1".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Range>().unwrap().contains("192.168.1.1".parse().unwrap()));
        assert!("fd00::/8".parse::<Range>().unwrap().contains("fd12::1".parse().unwrap()));
        assert!(!"::/0".parse::<Range>().unwrap().contains("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn addresses_inside_are_refused_unless_told() {
        let addresses = |all: &[&str]| all.iter().map(|a| a.parse().unwrap()).collect::<Vec<IpAddr>>();
        for global in ["151.101.0.223", "2a04:4e42::223", "::ffff:151.101.0.223", "64:ff9b::9765:df"] {
            assert_eq!(reachable(&addresses(&[global]), &[]), Ok(()), "{global}");
        }
        for inside in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.0.2.1",
            "192.168.0.1",
            "198.19.0.1",
            "203.0.113.80",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(reachable(&addresses(&[inside]), &[]).unwrap_err().contains("upstream_addresses"), "{inside}");
        }
        // One address of two leads inside: a name that is bound anew between two questions.
        assert!(reachable(&addresses(&["151.101.0.223", "10.0.0.1"]), &[]).is_err());
        let told: Range = "10.0.0.0/8".parse().unwrap();
        assert_eq!(reachable(&addresses(&["151.101.0.223", "10.0.0.1"]), &[told]), Ok(()));
        assert!(reachable(&[], &[told]).unwrap_err().contains("no address"));
    }
}
