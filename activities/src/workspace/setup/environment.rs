//! Variables and small files that lead package managers through the proxy while a set-up runs, and away from every network
//! afterwards.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;

use super::layers::Mount;
use crate::sandbox::Bind;

/// Port inside the sandbox that leads to the proxy.
pub(super) const PORT: u16 = 3128;
/// Where the sandbox shows the directory of the proxy's socket.
pub(super) const SOCKET_DIRECTORY: &str = "/run/proxy";
/// Where it shows the operator's certificates.
const CERTIFICATES: &str = "/run/certificates/ca.pem";
/// The same for Java.
const TRUST_STORE: &str = "/run/certificates/ca.jks";
/// For what package managers write meanwhile. Not in the check-out, which a set-up may tidy up.
pub(super) const CACHES: &str = "/run/caches";

/// Where each kind of dependencies is found inside, always at the same path: interpreters and build tools write it down.
pub(super) const DEPENDENCIES: &str = "/deps";
/// Python's virtual environment.
pub(super) const PYTHON: &str = "/deps/python";
/// Cargo's home.
pub(super) const CARGO: &str = "/deps/cargo";
/// Go's modules.
pub(super) const GO: &str = "/deps/go";
/// Go's compiled packages.
pub(super) const GO_BUILD: &str = "/deps/go-build";
/// What the layer has of them. Go writes into its cache even when it finds everything, so commands get one of their own that
/// links here.
pub(super) const GO_BUILD_SEED: &str = "/deps/go-build-seed";
/// Maven's local repository.
pub(super) const MAVEN: &str = "/deps/maven";
/// Gradle's home.
pub(super) const GRADLE: &str = "/deps/gradle";
/// Where commands have a cache of their own, which one of before 6.1 needs.
pub(super) const GRADLE_CACHES: &str = "/home/u/.gradle/caches";

type Variables = Vec<(String, String)>;

fn owned<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> Variables {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The search path, with Python's environment first. `path`: the sandbox's own.
fn path(path: &str) -> String {
    format!("{PYTHON}/bin:{path}")
}

/// Where package managers put things, while they run. `search`: the sandbox's path.
pub(super) fn writing(search: &str) -> Variables {
    let scratch = |name: &str| format!("{CACHES}/{name}");
    owned([
        ("PATH", path(search)),
        ("TMPDIR", scratch("tmp")),
        ("XDG_CACHE_HOME", scratch("cache")),
        ("npm_config_cache", scratch("cache/npm")),
        ("npm_config_update_notifier", "false".into()),
        ("npm_config_audit", "false".into()),
        ("npm_config_fund", "false".into()),
        ("PIP_NO_CACHE_DIR", "1".into()),
        ("PIP_NO_INPUT", "1".into()),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1".into()),
        ("UV_LINK_MODE", "copy".into()),
        ("UV_PYTHON_DOWNLOADS", "never".into()),
        ("UV_PROJECT_ENVIRONMENT", PYTHON.into()),
        ("POETRY_VIRTUALENVS_CREATE", "false".into()),
        ("YARN_CACHE_FOLDER", scratch("cache/yarn")),
        ("YARN_ENABLE_TELEMETRY", "0".into()),
        ("CARGO_HOME", CARGO.into()),
        ("CARGO_NET_GIT_FETCH_WITH_CLI", "false".into()),
        ("GOMODCACHE", GO.into()),
        ("GOCACHE", GO_BUILD.into()),
        ("GOTOOLCHAIN", "local".into()),
        ("GOFLAGS", "-modcacherw -buildvcs=false".into()),
        ("GRADLE_USER_HOME", GRADLE.into()),
        ("MAVEN_OPTS", format!("-Dmaven.repo.local={MAVEN}")),
    ])
}

/// The way to the registries. Each client reads other variables (tried with pip, uv, poetry, npm, pnpm,
/// Yarn 1 to 4, cargo, go, Maven and Gradle).
pub(super) fn online(certificates: Certificates) -> Variables {
    let proxy = format!("http://127.0.0.1:{PORT}");
    let names = [
        "HTTPS_PROXY",
        "https_proxy",
        "PIP_PROXY",
        "CARGO_HTTP_PROXY",
        "npm_config_proxy",
        "npm_config_https_proxy",
        "YARN_HTTPS_PROXY",
    ];
    let mut variables = owned(names.map(|name| (name, proxy.clone())));
    variables.extend(owned([
        ("UV_OFFLINE", "0".into()),
        ("CARGO_NET_OFFLINE", "false".into()),
        ("npm_config_offline", "false".into()),
        ("NODE_USE_ENV_PROXY", "1".into()),
        // Not `direct`: that asks the hosts of the modules themselves.
        ("GOPROXY", "https://proxy.golang.org".into()),
        ("GOSUMDB", "sum.golang.org".into()),
        // The simple interface is the one that mirrors have; else Poetry asks for one of PyPI's own.
        ("POETRY_PYPI_MIRROR_URL", "https://pypi.org/simple/".into()),
    ]));
    let mut java = format!("-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort={PORT}");
    if certificates == Certificates::Own {
        java.push_str(&format!(" -Djavax.net.ssl.trustStore={TRUST_STORE}"));
        let names = [
            "SSL_CERT_FILE",
            "NODE_EXTRA_CA_CERTS",
            "PIP_CERT",
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "CARGO_HTTP_CAINFO",
            "GIT_SSL_CAINFO",
            "npm_config_cafile",
        ];
        variables.extend(owned(names.map(|name| (name, CERTIFICATES.to_owned()))));
    }
    variables.extend(owned([("JAVA_TOOL_OPTIONS", java)]));
    variables
}

/// Whose certificates count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certificates {
    /// Those of the sandbox's system.
    System,
    /// Those of the operator, from [`certificates`].
    Own,
}

/// Lays the operator's certificates out for all clients. `scratch`: an empty directory.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub(super) fn certificates(bundle: &Path, scratch: &Path) -> io::Result<Vec<Bind>> {
    let pem = std::fs::read(bundle)?;
    let store = trust_store(&String::from_utf8_lossy(&pem))?;
    let copies = [("ca.pem", pem, CERTIFICATES), ("ca.jks", store, TRUST_STORE)];
    copies
        .into_iter()
        .map(|(name, content, to)| {
            let from = scratch.join(name);
            std::fs::write(&from, content)?;
            super::layers::readable(&from)?;
            Ok(Bind { from, to: to.into(), writable: false })
        })
        .collect()
}

/// A Java key store of trusted certificates (format JKS, version 2). Java checks its digest only when it is given a password,
/// so there is none.
fn trust_store(pem: &str) -> io::Result<Vec<u8>> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let mut entries = Vec::new();
    let mut count = 0u32;
    for block in pem.split(BEGIN).skip(1) {
        let body: String = block.split("-----END").next().unwrap_or_default().split_whitespace().collect();
        let der = base64::engine::general_purpose::STANDARD.decode(body).map_err(io::Error::other)?;
        let alias = format!("ca{count}");
        count += 1;
        entries.extend(2u32.to_be_bytes());
        entries.extend(u16::try_from(alias.len()).unwrap_or_default().to_be_bytes());
        entries.extend(alias.as_bytes());
        entries.extend(0u64.to_be_bytes());
        entries.extend([0, 5]);
        entries.extend(b"X.509");
        entries.extend(u32::try_from(der.len()).map_err(io::Error::other)?.to_be_bytes());
        entries.extend(der);
    }
    if count == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file holds no certificate"));
    }
    let digest = [0u8; 20];
    Ok([&0xfeed_feed_u32.to_be_bytes()[..], &2u32.to_be_bytes(), &count.to_be_bytes(), &entries, &digest].concat())
}

/// Variables for commands that find these mounts, and no network. `search`: the sandbox's path.
pub(super) fn offline(mounts: &[Mount], search: &str) -> Variables {
    let there = |path: &str| mounts.iter().any(|mount| mount.to == Path::new(path));
    let mut variables = Variables::new();
    if there(PYTHON) {
        variables.extend(owned([("PATH", path(search)), ("VIRTUAL_ENV", PYTHON.into())]));
    }
    if there(CARGO) {
        variables.extend(owned([("CARGO_HOME", CARGO.into())]));
    }
    if there(GO) {
        variables.extend(owned([("GOMODCACHE", GO.into()), ("GOSUMDB", "off".into())]));
    }
    if there(GO_BUILD) {
        variables.extend(owned([("GOCACHE", GO_BUILD.into())]));
    }
    if there(MAVEN) {
        variables.extend(owned([("MAVEN_OPTS", format!("-Dmaven.repo.local={MAVEN}"))]));
    }
    if mounts.iter().any(|mount| mount.to.ends_with("node_modules")) {
        // Scripts name a package manager. Whichever the sandbox has runs them; none may try to fetch the one that is meant.
        variables.extend(owned([
            ("SKIP_YARN_COREPACK_CHECK", "1".into()),
            ("YARN_IGNORE_PATH", "1".into()),
            ("npm_config_package_manager_strict", "false".into()),
            ("npm_config_manage_package_manager_versions", "false".into()),
        ]));
    }
    if there(GRADLE) {
        // Read-only caches have a variable of their own; the home stays writable.
        variables.extend(owned([("GRADLE_RO_DEP_CACHE", format!("{GRADLE}/caches"))]));
    }
    variables
}

/// Files in the sandbox's home that keep build tools from trying the network, where no variable does. `scratch`: a directory
/// for them.
///
/// # Errors
/// They cannot be written.
pub(super) fn offline_files(mounts: &[Mount], scratch: &Path) -> io::Result<Vec<Bind>> {
    let files = [
        (MAVEN, "settings.xml", "/home/u/.m2/settings.xml", "<settings><offline>true</offline></settings>\n"),
        (GRADLE, "offline.gradle", "/home/u/.gradle/init.d/offline.gradle", "gradle.startParameter.offline = true\n"),
    ];
    let mut binds = Vec::new();
    for (of, name, to, content) in files {
        if mounts.iter().any(|mount| mount.to == Path::new(of)) {
            let from: PathBuf = scratch.join(name);
            std::fs::write(&from, content)?;
            super::layers::readable(&from)?;
            binds.push(Bind { from, to: to.into(), writable: false });
        }
    }
    Ok(binds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_become_a_java_key_store() {
        let pem = "# two\n-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nBAU=\n-----END CERTIFICATE-----\n";
        let store = trust_store(pem).unwrap();
        assert_eq!(store[..12], [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 2]);
        assert!(store.windows(7).any(|w| w == [0, 0, 0, 3, 1, 2, 3]), "the first");
        assert!(store.windows(6).any(|w| w == [0, 0, 0, 2, 4, 5]), "the second");
        assert!(trust_store("nothing").is_err());
    }

    #[test]
    fn only_what_is_mounted_is_pointed_to() {
        let mount = |to: &str| Mount { from: "0".into(), to: to.into() };
        assert!(offline(&[mount("/w/.venv")], "/bin").is_empty());
        assert!(offline(&[mount("/w/a/node_modules")], "/bin").iter().all(|(name, _)| name != "PATH"));
        let python = offline(&[mount(PYTHON)], "/bin");
        assert!(python.iter().any(|(name, value)| name == "PATH" && value == "/deps/python/bin:/bin"));
        let go = offline(&[mount(GO), mount(GO_BUILD)], "/bin");
        assert_eq!(go.len(), 3);
    }
}
