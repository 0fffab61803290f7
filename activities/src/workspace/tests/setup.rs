//! The set-up phase with the real registries: small packages come through the proxy, work without any network afterwards,
//! and nothing else is reached.

use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use workflows::contract::workspace::{Fix, FixKind};

use super::*;
use crate::workspace::setup::Settings as SetupSettings;

/// The way to the registries from here. Where a mirror serves them, its addresses and its certificates are needed.
fn registries() -> SetupSettings {
    let mut settings = SetupSettings::default();
    for host in settings.hosts() {
        let addresses = (host.as_str(), 443).to_socket_addrs().into_iter().flatten();
        settings.upstream_addresses.extend(addresses.map(|address| address.ip().to_string().parse::<Range>().unwrap()));
    }
    settings.ca_bundle = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from).filter(|path| path.is_file());
    settings
}

/// Rust's tools at a place that the sandbox's user may enter. Links take no space.
fn rust(below: &Path) -> PathBuf {
    let printed = Process::new("rustc").args(["--print", "sysroot"]).output().expect("these tests need rustc");
    let sysroot = PathBuf::from(String::from_utf8(printed.stdout).unwrap().trim());
    let place = below.join("rust");
    link_tree(&sysroot.join("bin"), &place.join("bin"));
    for entry in std::fs::read_dir(sysroot.join("lib")).unwrap().map(Result::unwrap) {
        // Documents and other targets are left out.
        if entry.file_name() == "rustlib" {
            let host = names(&entry.path()).into_iter().find(|name| name.starts_with(std::env::consts::ARCH)).unwrap();
            link_tree(&entry.path().join(&host), &place.join("lib/rustlib").join(host));
        } else {
            link_tree(&entry.path(), &place.join("lib").join(entry.file_name()));
        }
    }
    place
}

fn link_tree(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            link_tree(&entry.path(), &to.join(entry.file_name()));
        }
        return;
    }
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    if std::fs::hard_link(from, to).is_err() {
        std::fs::copy(from, to).unwrap();
    }
}

/// A directory that lives on between runs, for what takes long to fetch: in the user's cache, or where that is closed to the
/// sandbox's user, beside the temporary files.
fn kept(name: &str) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let open =
        |path: &Path| path.ancestors().all(|part| part.metadata().is_ok_and(|data| data.permissions().mode() & 1 == 1));
    let below = cache.filter(|path| path.is_dir() && open(path)).unwrap_or_else(std::env::temp_dir);
    let directory = below.join("ticketwright").join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

impl Bench {
    /// A repository with these files, on a worker with these settings.
    async fn set_up(files: &[(&str, &str)], setup: SetupSettings) -> Self {
        let mut bench = Self::with(files).await;
        let sandbox = Sandbox::probe(crate::sandbox::Settings::default()).await.unwrap();
        assert!(sandbox.has_helper(), "build ticketwright-inside first: cargo build --workspace");
        bench.replace_worker(setup, sandbox, None).await;
        bench
    }

    async fn replace_worker(&mut self, setup: SetupSettings, sandbox: Sandbox, layers: Option<PathBuf>) {
        let directory = self.directory.path().join("set-up");
        if let Some(layers) = layers {
            std::fs::create_dir(&directory).unwrap();
            std::os::unix::fs::symlink(layers, directory.join("layers")).unwrap();
        }
        let settings = Settings { directory, allow_file: true, setup, ..Settings::default() };
        let remote = Arc::new(LocalRemote(self.origin.clone()));
        self.worker = WorkspaceActivities::open(settings, self.blobs.clone(), sandbox, remote).await.unwrap();
    }

    async fn said_by(&self, workspace: &Workspace, command: &str) -> Result<String, String> {
        let mut request = self.request(workspace, "run_command", json!({"command": command})).await;
        // Compilers take their time on a busy host.
        request.command_seconds = 280;
        let reply = self.worker.call_tool_for(&self.claim(), request).await.unwrap();
        let said = self.text(&reply.reply.output).await;
        if reply.reply.is_error {
            return Err(said);
        }
        assert_eq!(&reply.workspace, workspace, "nothing that is installed becomes part of the files: {said}");
        Ok(said)
    }

    async fn notes(&self, workspace: &Workspace) -> Result<Vec<String>, ServiceError> {
        Ok(self.worker.survey_for(&self.claim(), survey_of(workspace.clone())).await?.notes)
    }

    fn layers(&self) -> Vec<String> {
        let all = names(&self.worker.settings.directory.join("layers"));
        all.into_iter().filter(|name| name.ends_with(".layer")).collect()
    }
}

#[tokio::test]
async fn people_who_approve_are_told_what_is_not_installed_and_nothing_else() {
    let survey = async |setup: &str| {
        let file = format!("setup = \"{setup}\"\n");
        let bench = Bench::set_up(&[("ticketwright.toml", &file)], registries()).await;
        bench.worker.survey_for(&bench.claim(), bench.base()).await.unwrap()
    };
    let failed = survey("exit 7").await;
    assert_eq!((failed.set_up.len(), &failed.set_up), (1, &failed.notes));
    assert!(failed.set_up[0].ends_with("exit code 7, and nothing printed"), "{failed:?}");
    let worked = survey("echo x > built.txt").await;
    assert!(worked.set_up.is_empty() && worked.notes[0].contains("built.txt"), "{worked:?}");
}

/// Ways to other computers, none of which may work in `run_command`.
const NO_NETWORK: &str = "getent hosts pypi.org && echo found; (exec 3<>/dev/tcp/203.0.113.80/443) && echo connected; \
    (exec 3<>/dev/tcp/127.0.0.1/3128) && echo connected; python3 -m pip download six -d /tmp/six && echo fetched; \
    curl -sS --max-time 5 https://pypi.org && echo fetched; ls /run/proxy && echo proxy; true";

#[tokio::test]
async fn python_packages_come_from_the_index_and_stay_for_later_calls() {
    let test = "import iniconfig\n\ndef test_version():\n    assert iniconfig.IniConfig\n";
    let files = [
        ("requirements.txt", "iniconfig==2.0.0\n-e .\n"),
        ("tests/test_config.py", test),
        ("shop/pricing.py", PRICING),
    ];
    let bench = Bench::set_up(&files, registries()).await;
    let base = bench.base();
    let notes = bench.notes(&base).await.unwrap();
    assert_eq!(notes, ["Not installed: -e .. Modules of this repository are found where they lie."]);
    let said = bench.call(&base, "run_tests", json!({})).await.1.unwrap();
    assert!(said.contains("$ python3 -m pytest\n") && said.contains("1 passed"), "{said}");
    let look = "python3 -c 'import sys; print(sys.prefix)'; cd /tmp && python3 -c 'import shop.pricing'; \
                touch /deps/python/x 2>&1 | grep -c 'Read-only file system'";
    let said = bench.said_by(&base, look).await.unwrap();
    assert!(said.contains("/deps/python\n1"), "{said}");
    let said = bench.said_by(&base, NO_NETWORK).await.unwrap();
    assert!(["found\n", "connected\n", "fetched\n", "proxy\n"].iter().all(|word| !said.contains(word)), "{said}");
    assert_eq!(bench.layers().len(), 1);

    // A new requirement is there for the next call on those files, and for no other files.
    let more = bench.write(&base, "requirements.txt", "iniconfig==2.0.0\nsix==1.16.0\n").await;
    bench.said_by(&more, "python3 -c 'import six, iniconfig'").await.unwrap();
    assert!(bench.said_by(&base, "python3 -c 'import six'").await.unwrap_err().contains("No module named 'six'"));
    assert_eq!(bench.layers().len(), 2);

    // A requirement that does not exist: told once, and remembered.
    let wrong = bench.write(&base, "requirements.txt", "iniconfig==99.99\n").await;
    for _ in 0..2 {
        let said = bench.call(&wrong, "run_tests", json!({})).await.1.unwrap_err();
        assert!(
            said.starts_with("Set-up failed, so nothing of it is installed: pip install") && said.contains("99.99"),
            "{said}"
        );
    }
}

const LOCK: &str = r#"{"name":"shop","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{
"":{"name":"shop","version":"1.0.0","dependencies":{"is-number":"7.0.0"}},
"node_modules/is-number":{"version":"7.0.0","license":"MIT","engines":{"node":">=0.12.0"},
"integrity":"sha512-41Cifkg6e8TylSpdtTpeLVMqvSBEVzTttHvERD741+pnZ8ANv0004MRL43QKPDlK9cGvNp6NZWZUBlbGXYxxng=="}}}
"#;

#[tokio::test]
async fn npm_packages_come_without_their_scripts_and_lock_files_are_brought_up_to_date() {
    let package = r#"{"name":"shop","version":"1.0.0","private":true,"dependencies":{"is-number":"7.0.0"},"scripts":{"postinstall":"touch /w/ran"}}"#;
    let bench = Bench::set_up(&[("package.json", package), ("package-lock.json", LOCK)], registries()).await;
    let base = bench.base();
    assert_eq!(bench.notes(&base).await.unwrap(), [""; 0]);
    let look = "node -e \"if (!require('is-number')(7)) process.exit(1)\" && touch node_modules/.cache/x node_modules/.vite/y && ls; \
                touch node_modules/x 2>&1 | grep -c 'Read-only'; npm ci 2>&1 | grep -c 'npm error'";
    let said = bench.said_by(&base, look).await.unwrap();
    assert!(said.contains("node_modules\npackage-lock.json") && !said.contains("\nran\n"), "{said}");

    // package.json is ahead of the lock file: the package is there all the same, and whoever fails hears why CI will be red.
    let ahead = package.replace("\"is-number\":\"7.0.0\"", "\"is-number\":\"7.0.0\",\"left-pad\":\"1.3.0\"");
    let ahead = bench.write(&base, "package.json", &ahead).await;
    bench.said_by(&ahead, "node -e \"require('left-pad')\"").await.unwrap();
    let said = bench.said_by(&ahead, "exit 3").await.unwrap_err();
    assert!(said.starts_with("npm ci: the lock file does not fit package.json\n"), "{said}");

    let request = Fix { workspace: ahead, kinds: vec![FixKind::Lockfile], command_seconds: 60 };
    let fixed = bench.worker.fix_for(&bench.claim(), request).await.unwrap();
    assert_eq!(fixed.commands, ["npm install --package-lock-only (exit 0)"]);
    let lock = bench.call(&fixed.workspace, "read_file", json!({"path": "package-lock.json"})).await.1.unwrap();
    assert!(fixed.changed && lock.contains("node_modules/left-pad"), "{lock}");
    assert_eq!(bench.notes(&base).await.unwrap(), [""; 0]);
    bench.said_by(&fixed.workspace, "npm ls --offline left-pad").await.unwrap();
}

#[tokio::test]
async fn crates_come_from_the_sparse_index() {
    let manifest =
        "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nitoa = \"1\"\n";
    let source = "#[test]\nfn prints() {\n    assert_eq!(itoa::Buffer::new().format(7), \"7\");\n}\n";
    let mut bench =
        Bench::with(&[("Cargo.toml", manifest), ("src/lib.rs", source), (".gitignore", "target/\nCargo.lock\n")]).await;
    let tools = rust(bench.directory.path());
    let sandbox = crate::sandbox::Settings { read_only: vec![tools], ..crate::sandbox::Settings::default() };
    let sandbox = Sandbox::probe(sandbox).await.unwrap();
    bench.replace_worker(registries(), sandbox, None).await;
    let base = bench.base();
    assert_eq!(bench.notes(&base).await.unwrap(), [""; 0]);
    let said = bench.said_by(&base, "cargo test --offline --quiet && ls $CARGO_HOME").await.unwrap();
    assert!(said.contains("1 passed") && said.contains("registry"), "{said}");
}

#[tokio::test]
async fn go_modules_come_through_the_module_proxy() {
    let module = "module example.com/shop\n\ngo 1.21\n\nrequire github.com/google/uuid v1.6.0\n";
    let sum = "github.com/google/uuid v1.6.0 h1:NIvaJDMOsjHA8n1jAhLSgzrAzy1Hgr+hNrb57e+94F0=\n\
               github.com/google/uuid v1.6.0/go.mod h1:TIyPZe4MgqvfeYDBFedMoGGpEw/LqOeaOT+nhxU+yHo=\n";
    let test = "package shop\n\nimport (\n\t\"testing\"\n\n\t\"github.com/google/uuid\"\n)\n\nfunc TestID(t *testing.T) {\n\tif len(uuid.NewString()) != 36 {\n\t\tt.Fatal()\n\t}\n}\n";
    let mut bench = Bench::with(&[("go.mod", module), ("go.sum", sum), ("shop_test.go", test)]).await;
    let sandbox = Sandbox::probe(crate::sandbox::Settings::default()).await.unwrap();
    // The compiled standard library takes a minute to make.
    bench.replace_worker(registries(), sandbox, Some(kept("go-layers"))).await;
    let base = bench.base();
    assert_eq!(bench.notes(&base).await.unwrap(), [""; 0]);
    let said = bench.said_by(&base, "go test ./... && go env GOPROXY GOMODCACHE").await.unwrap();
    assert!(said.contains("ok  \texample.com/shop") && said.contains("off\n/deps/go"), "{said}");
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "whoever reads the test's output should know what was not tried")]
async fn maven_tests_offline_and_no_test_runs_while_it_is_set_up() {
    if !Path::new("/usr/share/maven").exists() {
        println!("mvn is not installed here, so Maven's set-up was not tried");
        return;
    }
    let pom = "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion><groupId>example</groupId>\
<artifactId>shop</artifactId><version>1</version><properties><maven.compiler.source>17</maven.compiler.source>\
<maven.compiler.target>17</maven.compiler.target><project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>\
<reports>/deps/maven/reports</reports></properties><dependencies><dependency><groupId>junit</groupId><artifactId>junit</artifactId><version>4.13.2</version><scope>test</scope></dependency>\
</dependencies><build><plugins><plugin><artifactId>maven-surefire-plugin</artifactId><configuration>\
<reportsDirectory>${reports}</reportsDirectory></configuration></plugin></plugins></build></project>\n";
    let test = "import org.junit.*;\npublic class ShopTest {\n    @Test public void adds() { Assert.assertEquals(3, 1 + 2); }\n}\n";
    let files = [("pom.xml", pom), ("src/test/java/ShopTest.java", test), (".gitignore", "target/\n")];
    let mut bench = Bench::with(&files).await;
    let sandbox = Sandbox::probe(crate::sandbox::Settings::default()).await.unwrap();
    bench.replace_worker(registries(), sandbox, Some(kept("maven-layers"))).await;
    let base = bench.base();
    assert_eq!(bench.notes(&base).await.unwrap(), [""; 0]);
    let said = bench.said_by(&base, "ls /deps/maven; mvn --batch-mode -Dreports=/tmp/reports test").await.unwrap();
    assert!(said.contains("Tests run: 1, Failures: 0"), "{said}");
    // A test that ran while it was set up would have left them.
    assert!(!said.contains("\nreports\n"), "{said}");
}

#[tokio::test]
async fn a_repositorys_own_commands_see_everything_and_reach_only_registries() {
    let settings = "setup = [\"python3 -m pip install --quiet six==1.16.0\", \"test -f run.sh && mkdir -p build && echo prepared > build/prepared.txt && touch left\"]\n\
                    test = \"cat build/prepared.txt; python3 -c 'import six'\"\n";
    let bench = Bench::set_up(&[("ticketwright.toml", settings)], registries()).await;
    let base = bench.base();
    let notes = bench.notes(&base).await.unwrap();
    assert_eq!(notes, ["Not kept of what `setup` made: left (git does not ignore it; add it to .gitignore)."]);
    // The head's own settings do not count.
    let changed = bench.write(&base, "ticketwright.toml", "setup = \"exit 9\"\ntest = \"exit 9\"\n").await;
    let (after, said) = bench.call(&changed, "run_tests", json!({})).await;
    assert!(said.unwrap().contains("prepared"), "what git ignores is in the check-out");
    assert_eq!(after, changed);

    let outside = "setup = \"getent hosts pypi.org && exit 0; (exec 3<>/dev/tcp/203.0.113.80/443) && exit 0; ls -a .git && exit 0; \
                   curl -sS https://example.com || curl -sS https://127.0.0.1 || curl -sS http://pypi.org || exit 5\"\n";
    let bench = Bench::set_up(&[("ticketwright.toml", outside)], registries()).await;
    let notes = bench.notes(&bench.base()).await.unwrap();
    let [note] = &notes[..] else { panic!("{notes:?}") };
    assert!(
        note.starts_with("Set-up failed")
            && note.contains("a set-up may not reach example.com. An operator can let it: allow = [\"example.com\"]"),
        "{note}"
    );
    assert!(note.contains("127.0.0.1:443 was refused: the request does not name a host by its name"), "{note}");

    let none =
        Bench::set_up(&[("ticketwright.toml", "setup = []\n"), ("requirements.txt", "six\n")], registries()).await;
    assert_eq!(none.notes(&none.base()).await.unwrap(), [""; 0]);
    assert!(none.layers().is_empty());
}

#[tokio::test]
async fn a_repositorys_own_commands_see_the_bases_manifests() {
    let settings = "setup = [\"grep -q base package.json && mkdir -p build && echo prepared > build/prepared.txt && rm -rf .ticketwright\"]\n";
    let files = [("ticketwright.toml", settings), ("package.json", "{\"name\": \"base\"}"), (".gitignore", "build/\n")];
    let bench = Bench::set_up(&files, registries()).await;
    let base = bench.base();
    assert_eq!(bench.notes(&base).await.unwrap(), [""; 0]);
    let written = "{\"name\": \"changed\", \"scripts\": {\"preinstall\": \"exit 9\"}}";
    let changed = bench.write(&base, "package.json", written).await;
    assert_eq!(bench.notes(&changed).await.unwrap(), [""; 0]);
    assert!(bench.said_by(&changed, "cat build/prepared.txt").await.unwrap().contains("prepared"));
    assert_eq!(bench.layers().len(), 1, "it did not run again");

    // A change that ignores less takes nothing of what was installed with it.
    let shown = bench.write(&changed, ".gitignore", "!build/\n").await;
    let command = json!({"command": "cat build/prepared.txt && echo x > other.txt && rm run.sh && mkdir run.sh && echo y > run.sh/z"});
    let (after, said) = bench.call(&shown, "run_command", command).await;
    let said = said.unwrap();
    assert!(said.starts_with("Files changed: A other.txt, D run.sh, A run.sh/z\n"), "{said}");
    let (same, _) = bench.call(&after, "run_command", json!({"command": "ls build"})).await;
    assert_eq!(same, after);
}

#[tokio::test]
async fn registries_that_cannot_be_reached_are_tried_again_and_then_done_without() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let setup = SetupSettings { upstream_proxy: Some(closed.to_string()), ..registries() };
    let files =
        [("requirements.txt", "six==1.16.0\n"), ("ticketwright.toml", "setup = \"curl -sS https://pypi.org\"\n")];
    let bench = Bench::set_up(&files, setup).await;
    let base = bench.base();
    for _ in 0..2 {
        let error = bench.notes(&base).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Unavailable);
        assert!(error.message.contains("pypi.org through"), "{}", error.message);
    }
    let notes = bench.notes(&base).await.unwrap();
    assert!(notes[0].starts_with("Set-up failed"), "{notes:?}");
    bench.said_by(&base, "echo works all the same").await.unwrap();

    let setup = SetupSettings { enabled: false, ..SetupSettings::default() };
    let off = Bench::set_up(&files, setup).await;
    assert_eq!(off.notes(&off.base()).await.unwrap(), [""; 0]);
}

const PNPM_LOCK: &str = "lockfileVersion: '9.0'

importers:

  .:
    dependencies:
      is-number:
        specifier: 7.0.0
        version: 7.0.0

packages:

  is-number@7.0.0:
    resolution: {integrity: sha512-41Cifkg6e8TylSpdtTpeLVMqvSBEVzTttHvERD741+pnZ8ANv0004MRL43QKPDlK9cGvNp6NZWZUBlbGXYxxng==}
    engines: {node: '>=0.12.0'}

snapshots:

  is-number@7.0.0: {}
";

const YARN_LOCK: &str = "# yarn lockfile v1


is-number@7.0.0:
  version \"7.0.0\"
  resolved \"https://registry.yarnpkg.com/is-number/-/is-number-7.0.0.tgz#7535345b896734d5f80c4d06c50955527a14f12b\"
  integrity sha512-41Cifkg6e8TylSpdtTpeLVMqvSBEVzTttHvERD741+pnZ8ANv0004MRL43QKPDlK9cGvNp6NZWZUBlbGXYxxng==
";

const UV_LOCK: &str = r#"version = 1
revision = 1
requires-python = ">=3.9"

[[package]]
name = "iniconfig"
version = "2.0.0"
source = { registry = "https://pypi.org/simple" }
wheels = [
    { url = "https://files.pythonhosted.org/packages/ef/a6/62565a6e1cf69e10f5727360368e451d4b7f58beeac6173dc9db836a5b46/iniconfig-2.0.0-py3-none-any.whl", hash = "sha256:b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374", size = 5892 },
]

[[package]]
name = "shop"
version = "1.0.0"
source = { virtual = "." }
dependencies = [
    { name = "iniconfig" },
]

[package.metadata]
requires-dist = [{ name = "iniconfig", specifier = "==2.0.0" }]
"#;

#[tokio::test]
async fn package_managers_that_the_sandbox_lacks_come_from_their_registry() {
    let package = r#"{"name":"shop","version":"1.0.0","private":true,"dependencies":{"is-number":"7.0.0"}}"#;
    let project = "[project]\nname = \"shop\"\nversion = \"1.0.0\"\nrequires-python = \">=3.9\"\ndependencies = [\"iniconfig==2.0.0\"]\n";
    let files = [
        ("a/package.json", package),
        ("a/pnpm-lock.yaml", PNPM_LOCK),
        ("b/package.json", package),
        ("b/yarn.lock", YARN_LOCK),
        ("pyproject.toml", project),
        ("uv.lock", UV_LOCK),
    ];
    let mut bench = Bench::with(&files).await;
    let sandbox = Sandbox::probe(crate::sandbox::Settings::default()).await.unwrap();
    bench.replace_worker(registries(), sandbox, Some(kept("package-managers-layers"))).await;
    let base = bench.base();
    assert_eq!(bench.notes(&base).await.unwrap(), [""; 0]);
    let look = "for d in a b; do (cd $d && node -e \"require('is-number')\" && test ! -w node_modules) || exit 1; done; \
                python3 -c 'import iniconfig, pytest'";
    bench.said_by(&base, look).await.unwrap();
}

/// A lock file of Yarn from 2 on, with the package as this generation notes it.
fn berry_lock(metadata: &str, package: &str, shop: &str) -> String {
    format!(
        "# This file is generated by running \"yarn install\" inside your project.\n# Manual changes might be lost - proceed with \
         caution!\n\n__metadata:\n{metadata}\n\n\"is-number@npm:7.0.0\":\n  version: 7.0.0\n  resolution: \"is-number@npm:7.0.0\"\n  checksum: \
         {package}\n  languageName: node\n  linkType: hard\n\n\"shop@workspace:.\":\n  version: 0.0.0-use.local\n  resolution: \
         \"shop@workspace:.\"\n  dependencies:\n    is-number: {shop}\n  languageName: unknown\n  linkType: soft\n"
    )
}

/// Its checksum since Yarn 4.
const BERRY_SUM: &str = "10c0/b4686d0d3053146095ccd45346461bc8e53b80aeb7671cc52a4de02dbbf7dc0d1d2a986e2fe4ae206984b4d34ef37e8b795ebc4f4295c978373e6575e295d811";
const BERRY_PATCH: &str = "diff --git a/patched.js b/patched.js
new file mode 100644
index 0000000000000000000000000000000000000000..a5ab59d9ee16b0ad9c8ee6cd29ed4ad4a1bd0c42
--- /dev/null
+++ b/patched.js
@@ -0,0 +1,1 @@
+module.exports = 7;
";

#[tokio::test]
async fn yarn_of_each_generation_makes_what_node_finds() {
    let package = r#"{"name":"shop","version":"1.0.0","private":true,"dependencies":{"is-number":"7.0.0"},"scripts":{"postinstall":"echo ${HTTPS_PROXY:-offline} >> node_modules/ran"}}"#;
    let patch = "patch:is-number@npm%3A7.0.0#~/.yarn/patches/is-number.patch";
    let patched = package.replace("\"7.0.0\"", &format!("\"{patch}\""));
    let second = berry_lock(
        "  version: 4\n  cacheKey: 7",
        "eec6e506c6de472af4bdfd0cc477e8aeb76f0a7066c8680fcdfed5324ee31a7d2b59d22313007c58aa80eb937f0c40eefdceedb851997d46b490b49f87160369",
        "7.0.0",
    );
    let third = berry_lock(
        "  version: 6\n  cacheKey: 8",
        "456ac6f8e0f3111ed34668a624e45315201dff921e5ac181f8ec24923b99e9f32ca1a194912dc79d539c97d33dba17dc635202ff0b2cf98326f608323276d27a",
        "7.0.0",
    );
    let fourth = berry_lock("  version: 8\n  cacheKey: 10c0", BERRY_SUM, &format!("\"{patch}\"")).replacen(
        "\"shop@",
        &format!(
            "\"is-number@{patch}\":\n  version: 7.0.0\n  resolution: \"is-number@{patch}::version=7.0.0&hash=322d69\"\n  checksum: \
             10c0/914b6de565a738175c7f06a1c1f3585877f76ba5e16e6566a02dba6c0266c7fd72d9232cd30437260dfc415b96855eb5be87612370fa6024cf77cf7f773b7c79\n  \
             languageName: node\n  linkType: hard\n\n\"shop@"
        ),
        1,
    );
    let later = berry_lock("  version: 10\n  cacheKey: 10c0", BERRY_SUM, "\"npm:7.0.0\"");
    let files = [
        ("a/package.json", package),
        ("a/yarn.lock", &second),
        ("b/package.json", package),
        ("b/yarn.lock", &third),
        ("c/package.json", &patched),
        ("c/yarn.lock", &fourth),
        ("c/.yarn/patches/is-number.patch", BERRY_PATCH),
        // The Yarn it names, and that it wants none of Node's directories, both do not count.
        ("c/.yarnrc.yml", "nodeLinker: pnp\nyarnPath: .yarn/releases/yarn-4.0.0.cjs\n"),
        ("d/package.json", package),
        ("d/yarn.lock", &later),
    ];
    let mut bench = Bench::with(&files).await;
    let sandbox = Sandbox::probe(crate::sandbox::Settings::default()).await.unwrap();
    bench.replace_worker(registries(), sandbox, Some(kept("yarn-layers"))).await;
    let base = bench.base();
    assert_eq!(bench.notes(&base).await.unwrap(), [""; 0], "no lock file had to be changed");
    let look = "for d in a b c d; do (cd $d && node -e \"require('is-number')\" && test ! -w node_modules && test \"$(cat node_modules/ran)\" = offline) || exit 1; done; \
                cd c && node -e \"if (require('is-number/patched') !== 7) process.exit(1)\"";
    bench.said_by(&base, look).await.unwrap();

    let ahead = package.replace("\"7.0.0\"", "\"7.0.0\",\"left-pad\":\"1.3.0\"");
    let ahead = bench.write(&base, "d/package.json", &ahead).await;
    bench.said_by(&ahead, "cd d && node -e \"require('left-pad')\"").await.unwrap();
    let said = bench.said_by(&ahead, "exit 3").await.unwrap_err();
    assert!(said.starts_with("yarn install in d: the lock file does not fit package.json\n"), "{said}");
}

#[tokio::test]
async fn yarn_runs_no_file_that_a_dependency_names() {
    let package =
        r#"{"name":"shop","version":"1.0.0","private":true,"dependencies":{"made":"exec:./.yarn/patches/make.js"}}"#;
    let make = "const fs = require('fs');\nfs.writeFileSync('/run/caches/ran', '');\n\
                fs.writeFileSync(execEnv.buildDir + '/package.json', JSON.stringify({name: 'made', version: '1.0.0'}));\n";
    let lock = "__metadata:\n  version: 8\n  cacheKey: 10c0\n";
    let files = [("package.json", package), ("yarn.lock", lock), (".yarn/patches/make.js", make)];
    let bench = Bench::set_up(&files, registries()).await;
    let notes = bench.notes(&bench.base()).await.unwrap();
    assert!(notes.len() == 1 && notes[0].contains("Set-up failed") && notes[0].contains("exec"), "{notes:?}");
}

#[tokio::test]
async fn lock_files_of_yarn_and_uv_are_brought_up_to_date() {
    let package = r#"{"name":"shop","version":"1.0.0","private":true,"dependencies":{"is-number":"7.0.0"}}"#;
    let project = "[project]\nname = \"shop\"\nversion = \"1.0.0\"\nrequires-python = \">=3.9\"\ndependencies = [\"iniconfig==2.0.0\"]\n";
    let lock = berry_lock("  version: 8\n  cacheKey: 10c0", BERRY_SUM, "\"npm:7.0.0\"");
    let files = [("package.json", package), ("yarn.lock", &lock), ("pyproject.toml", project), ("uv.lock", UV_LOCK)];
    let mut bench = Bench::with(&files).await;
    let sandbox = Sandbox::probe(crate::sandbox::Settings::default()).await.unwrap();
    bench.replace_worker(registries(), sandbox, Some(kept("lock-layers"))).await;
    let base = bench.base();
    let more = package.replace("\"7.0.0\"", "\"7.0.0\",\"left-pad\":\"1.3.0\"");
    let ahead = bench.write(&base, "package.json", &more).await;
    let more = project.replace("==2.0.0\"", "==2.0.0\", \"six==1.16.0\"");
    let ahead = bench.write(&ahead, "pyproject.toml", &more).await;

    let request = Fix { workspace: ahead, kinds: vec![FixKind::Lockfile], command_seconds: 60 };
    let fixed = bench.worker.fix_for(&bench.claim(), request).await.unwrap();
    assert_eq!(fixed.commands, ["yarn install (exit 0)", "uv lock (exit 0)"]);
    let yarn = bench.call(&fixed.workspace, "read_file", json!({"path": "yarn.lock"})).await.1.unwrap();
    assert!(yarn.contains("left-pad@npm:1.3.0") && yarn.contains("version: 8"), "of the same generation: {yarn}");
    let uv = bench.call(&fixed.workspace, "read_file", json!({"path": "uv.lock"})).await.1.unwrap();
    assert!(uv.contains("name = \"six\""), "{uv}");
}

/// Poetry, for a sandbox that has it: made once, since it has three dozen dependencies.
async fn poetry() -> PathBuf {
    let place = kept("poetry-2.2.1");
    let _held = crate::workspace::lock::wait(place.with_extension("lock")).await.unwrap();
    if !place.join("ready").exists() {
        crate::workspace::area::remove_tree(&place).unwrap();
        let run = |program: &Path, args: &[&str]| {
            let output = Process::new(program).args(args).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        // The sandbox's own, not another one in front of it.
        run(Path::new("/usr/bin/python3"), &["-m", "venv", place.to_str().unwrap()]);
        let packages = ["poetry==2.2.1", "poetry-plugin-pypi-mirror==0.6.5"];
        run(
            &place.join("bin/python"),
            &[&["-m", "pip", "install", "--quiet", "--only-binary", ":all:"], &packages[..]].concat(),
        );
        std::fs::write(place.join("ready"), "").unwrap();
    }
    place
}

const POETRY_PROJECT: &str = "[tool.poetry]
name = \"shop\"
version = \"1.0.0\"
description = \"\"
authors = []
package-mode = false
[tool.poetry.dependencies]
python = \">=3.9\"
iniconfig = \"2.0.0\"
";

const POETRY_LOCK: &str = r#"# This file is automatically @generated by Poetry 2.2.1 and should not be changed by hand.

[[package]]
name = "iniconfig"
version = "2.0.0"
description = "brain-dead simple config-ini parsing"
optional = false
python-versions = ">=3.7"
groups = ["main"]
files = [
    {file = "iniconfig-2.0.0-py3-none-any.whl", hash = "sha256:b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374"},
    {file = "iniconfig-2.0.0.tar.gz", hash = "sha256:2d91e135bf72d31a410b17c16da610a82cb55f6b0477d1a902134b24a455b8b3"},
]

[metadata]
lock-version = "2.1"
python-versions = ">=3.9"
content-hash = "64badbcf048970dd69b03d40b98df2426d4245dbc28a2daf2d8dac96817832e2"
"#;

#[tokio::test]
async fn poetry_installs_what_its_lock_file_names_and_brings_it_up_to_date() {
    let mut bench = Bench::with(&[("pyproject.toml", POETRY_PROJECT), ("poetry.lock", POETRY_LOCK)]).await;
    // Once as it comes from the index, once as the image has it.
    let fetched = Sandbox::probe(crate::sandbox::Settings::default()).await.unwrap();
    bench.replace_worker(registries(), fetched, Some(kept("poetry-layers"))).await;
    let base = bench.base();
    assert_eq!(bench.notes(&base).await.unwrap(), [""; 0]);
    bench.said_by(&base, "python3 -c 'import iniconfig, pytest'").await.unwrap();

    std::fs::remove_dir_all(bench.directory.path().join("set-up")).unwrap();
    let shown = crate::sandbox::Settings { read_only: vec![poetry().await], ..crate::sandbox::Settings::default() };
    let installed = Sandbox::probe(shown).await.unwrap();
    bench.replace_worker(registries(), installed, Some(kept("poetry-layers"))).await;
    let ahead = bench.write(&base, "pyproject.toml", &format!("{POETRY_PROJECT}six = \"1.16.0\"\n")).await;
    bench.said_by(&ahead, "python3 -c 'import iniconfig, six'").await.unwrap();
    let said = bench.said_by(&ahead, "exit 3").await.unwrap_err();
    assert!(said.starts_with("poetry install: the lock file does not fit pyproject.toml\n"), "{said}");

    let request = Fix { workspace: ahead, kinds: vec![FixKind::Lockfile], command_seconds: 60 };
    let fixed = bench.worker.fix_for(&bench.claim(), request).await.unwrap();
    assert_eq!(fixed.commands, ["poetry lock (exit 0)"]);
    let lock = bench.call(&fixed.workspace, "read_file", json!({"path": "poetry.lock"})).await.1.unwrap();
    assert!(lock.contains("name = \"six\"") && !lock.contains("[package.source]"), "{lock}");

    // There is no wheel of it, and what its setup.py says is not asked.
    let source = format!("{POETRY_PROJECT}docopt = \"0.6.2\"\n");
    let source = bench.write(&base, "pyproject.toml", &source).await;
    let request = Fix { workspace: source, kinds: vec![FixKind::Lockfile], command_seconds: 60 };
    let fixed = bench.worker.fix_for(&bench.claim(), request).await.unwrap();
    assert!(!fixed.changed && fixed.commands[0].contains("wheels-only"), "{:?}", fixed.commands);
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "whoever reads the test's output should know what was not tried")]
async fn gradle_builds_offline_with_what_was_resolved() {
    if !Path::new("/usr/share/gradle").exists() {
        println!("gradle is not installed here, so Gradle's set-up was not tried");
        return;
    }
    let build = "apply from: '../gradle/conventions.gradle'\ndependencies {\n    testImplementation 'junit:junit:4.13.2'\n    \
                 testRuntimeOnly 'org.opentest4j:opentest4j:1.3.0'\n}\n";
    let test = "import org.junit.*;\npublic class ShopTest {\n    @Test public void adds() throws Exception {\n        \
                Class.forName(\"org.opentest4j.AssertionFailedError\");\n        Assert.assertEquals(3, 1 + 2);\n    }\n}\n";
    let files = [
        ("settings.gradle", "include 'app'\n"),
        ("gradle/conventions.gradle", "apply plugin: 'java'\nrepositories { mavenCentral() }\n"),
        ("app/build.gradle", build),
        ("app/src/test/java/ShopTest.java", test),
        (".gitignore", "build/\n.gradle/\n"),
    ];
    let mut bench = Bench::with(&files).await;
    let sandbox = Sandbox::probe(crate::sandbox::Settings::default()).await.unwrap();
    bench.replace_worker(registries(), sandbox, Some(kept("gradle-layers"))).await;
    let base = bench.base();
    assert_eq!(bench.notes(&base).await.unwrap(), [""; 0]);
    let said =
        bench.said_by(&base, "gradle --no-daemon --console=plain test && cat app/build/test-results/test/*.xml").await;
    assert!(said.as_ref().is_ok_and(|said| said.contains("tests=\"1\" skipped=\"0\" failures=\"0\"")), "{said:?}");

    // A script that a change brought is not run while the registries are in reach.
    let made = bench.layers();
    let changed = bench.write(&base, "app/build.gradle", &format!("{build}new File('/w/ran').text = 'x'\n")).await;
    let notes = bench.said_by(&changed, "exit 3").await.unwrap_err();
    assert!(notes.contains("app/build.gradle") && bench.layers() == made, "{notes}");
}
