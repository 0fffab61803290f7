//! What the tests of proofs share: runners in pinned versions, which come once from their registries into the user's cache, benches
//! whose sandbox shows them, and proofs of changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use workflows::contract::ids::Digest;
use workflows::contract::workspace::Proof;

use super::*;
use crate::workspace::lock;

/// What `pip` installs: pytest and all it needs, pinned.
const PYTEST: [&str; 5] = ["pytest==9.0.2", "iniconfig==2.3.0", "packaging==25.0", "pluggy==1.6.0", "pygments==2.19.2"];
const JEST: &str = "30.2.0";
const VITEST: &str = "4.0.15";
const MOCHA: &str = "11.7.5";

/// Files of a change; an empty content removes the file.
pub(super) type Change<'a> = Vec<(&'a str, String)>;
/// A change, and what its refusal says.
pub(super) type Cheat<'a> = (&'a str, Change<'a>, &'a str);

/// `name` in the user's cache, filled once by `fill`, where the sandbox's user may enter.
async fn cached(name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("a home directory")).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("ticketwright");
    fs::create_dir_all(&cache).unwrap();
    let _held = lock::wait(cache.join(format!("{name}.lock"))).await.unwrap();
    let ready = cache.join(name);
    if !ready.exists() {
        let half = cache.join(format!("{name}.half"));
        let _ = fs::remove_dir_all(&half);
        fs::create_dir(&half).unwrap();
        fill(&half);
        fs::rename(&half, &ready).unwrap();
    }
    let parts = names(&ready);
    visible(&ready, name, &parts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A directory, or a copy of these parts of it: root's home is closed to others, and the sandbox of a worker that is root runs as
/// somebody else.
fn visible(ready: &Path, name: &str, parts: &[&str]) -> PathBuf {
    let passable = |path: &Path| path.metadata().is_ok_and(|found| found.permissions().mode() & 0o001 != 0);
    if ready.ancestors().all(passable) {
        return ready.to_owned();
    }
    let copies = std::env::temp_dir().join("ticketwright-cache");
    let copy = copies.join(name);
    if !copy.exists() {
        fs::create_dir_all(&copies).unwrap();
        fs::set_permissions(&copies, fs::Permissions::from_mode(0o755)).unwrap();
        let half = copies.join(format!("{name}.{}", std::process::id()));
        fs::create_dir(&half).unwrap();
        for part in parts {
            // Without taking space where links can be made.
            let copied = ["-al", "-a"].iter().any(|how| {
                let _ = fs::remove_dir_all(half.join(part));
                Process::new("cp").arg(how).arg(ready.join(part)).arg(&half).status().unwrap().success()
            });
            assert!(copied, "the cache cannot be copied to {}", half.display());
        }
        // Another process may have been faster.
        let _ = fs::rename(&half, &copy);
    }
    copy
}

/// Runs it and returns what it prints.
fn said(program: &mut Process) -> String {
    let output = program.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{program:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said.trim_end().to_owned()
}

/// The first digits of what tells versions apart.
fn digest(of: &str) -> String {
    Digest::of(of).as_str()[..12].to_owned()
}

/// A virtual environment with pytest, for the sandbox's `/usr/bin/python3`.
async fn pytest() -> PathBuf {
    let name = format!("pytest-{}", digest(&PYTEST.join(" ")));
    let fill = |half: &Path| {
        let say = "import sys; print('%d.%d' % sys.version_info[:2])";
        let version = said(Process::new("/usr/bin/python3").args(["-c", say]));
        let packages = half.join(format!("lib/python{version}/site-packages"));
        fs::create_dir_all(half.join("bin")).unwrap();
        std::os::unix::fs::symlink("/usr/bin/python3", half.join("bin/python3")).unwrap();
        fs::write(half.join("pyvenv.cfg"), format!("home = /usr/bin\nversion = {version}\n")).unwrap();
        let install =
            ["-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary", ":all:", "--target"];
        said(Process::new("python3").args(install).arg(&packages).args(PYTEST));
    };
    cached(&name, fill).await
}

/// `node_modules` with all runners of JavaScript.
pub(super) async fn node_modules() -> PathBuf {
    let package =
        json!({"private": true, "dependencies": {"jest": JEST, "vitest": VITEST, "mocha": MOCHA}}).to_string();
    let fill = |directory: &Path| {
        fs::write(directory.join("package.json"), &package).unwrap();
        let install = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
        said(Process::new("npm").args(install).current_dir(directory));
    };
    cached(&format!("js-{}", digest(&package)), fill).await.join("node_modules")
}

/// A Maven repository that has what a project of `files`, with [`POM`], needs.
pub(super) async fn maven_repository(files: &[(&str, &str)]) -> PathBuf {
    let fill = |directory: &Path| {
        let project = tempfile::tempdir().unwrap();
        for (path, content) in files {
            put(project.path(), path, content.as_bytes());
        }
        let repository = format!("-Dmaven.repo.local={}", directory.display());
        said(Process::new("mvn").args(["-B", "-q", &repository, "test"]).current_dir(project.path()));
    };
    cached(&format!("m2-{}", digest(POM)), fill).await
}

/// What go compiles of its library for the tests here, and settings with a command that begins with it. The set-up would compile all
/// of that library for each bench anew, which takes longer than all proofs there.
pub(super) async fn go() -> (PathBuf, String) {
    const TEST: &str = "package cart\n\nimport (\n\t\"os\"\n\t\"strconv\"\n\t\"testing\"\n)\n\nfunc TestA(t *testing.T) {\n\tif _, err := os.ReadFile(\"x\"); err == nil {\n\t\tt.Error(strconv.Itoa(1))\n\t}\n}\n";
    let version = said(Process::new("go").arg("version"));
    let fill = |directory: &Path| {
        let module = tempfile::tempdir().unwrap();
        put(module.path(), "go.mod", b"module example.com/shop\n\ngo 1.21\n");
        put(module.path(), "cart/cart_test.go", TEST.as_bytes());
        said(Process::new("go").args(["test", "./..."]).env("GOCACHE", directory).current_dir(module.path()));
    };
    let cache = cached(&format!("go-{}", digest(&version)), fill).await;
    let begins = format!("[ -e \"$GOCACHE/README\" ] || cp -R {}/. \"$GOCACHE\"", cache.display());
    (cache, format!("setup = []\ntest = '{begins}; go test ./...'\n"))
}

/// The toolchain of Rust that runs this test, without its documentation.
pub(super) fn toolchain() -> PathBuf {
    let sysroot = said(Process::new("rustc").args(["--print", "sysroot"]));
    visible(Path::new(&sysroot), &format!("rust-{}", digest(&sysroot)), &["bin", "lib"])
}

/// The command of cargo with a toolchain.
pub(super) fn cargo(tools: &Path) -> String {
    format!("test = \"PATH={}:$PATH cargo test --offline\"\n", tools.join("bin").display())
}

/// The command with the runners at hand, as a layer of dependencies brings them.
pub(super) fn with_modules(modules: &Path, command: &str) -> String {
    let modules = modules.display();
    format!("test = \"mkdir -p node_modules && ln -sfn {modules}/* {modules}/.bin node_modules/ && {command}\"\n")
}

/// A bench whose sandbox also shows `tools`.
pub(super) async fn bench_with(files: &[(&str, &str)], tools: &[PathBuf]) -> Bench {
    let mut bench = Bench::with(files).await;
    let settings =
        Settings { directory: bench.directory.path().join("tools"), allow_file: true, ..Settings::default() };
    let shown = crate::sandbox::Settings { read_only: tools.to_vec(), ..crate::sandbox::Settings::default() };
    let sandbox = Sandbox::probe(shown).await.unwrap();
    let remote = Arc::new(LocalRemote(bench.origin.clone()));
    bench.worker = WorkspaceActivities::open(settings, bench.blobs.clone(), sandbox, remote).await.unwrap();
    bench
}

/// A bench of a small package with pytest, its tests and some more files.
pub(super) async fn pytest_bench(more: &[(&str, &str)]) -> Bench {
    let venv = pytest().await;
    let settings = format!("test = \"{}/bin/python3 -m pytest\"\n", venv.display());
    let mut files =
        vec![("shop/pricing.py", PRICING), ("tests/test_pricing.py", FUNCTIONS), ("ticketwright.toml", &settings)];
    files.extend(more);
    bench_with(&files, &[venv]).await
}

/// The proof of a change of these files; an empty content removes the file.
#[expect(clippy::print_stderr, reason = "the runs' output is shown where a test fails")]
pub(super) async fn proof_of(
    bench: &Bench,
    files: &[(&str, String)],
    without_tests: Option<&str>,
) -> Result<Proof, String> {
    let mut head = bench.base();
    for (path, content) in files {
        head = if content.is_empty() {
            bench.call(&head, "run_command", json!({"command": format!("rm {path}")})).await.0
        } else {
            bench.write(&head, path, content).await
        };
    }
    let without_tests = without_tests.map(str::to_owned);
    let request = Prove { base: bench.base(), head, command_seconds: 120, without_tests, removed_tests: Vec::new() };
    match bench.worker.prove_for(&bench.claim(), request, Demand::RedToGreen).await.unwrap() {
        ProofOutcome::Proven(proof) => {
            let log = bench.text(&proof.log).await;
            assert!(log.contains(" runs\n"), "{log}");
            Ok(*proof)
        }
        ProofOutcome::Refused { reason, log, .. } => {
            assert!(reason.len() <= 4096);
            eprintln!("{}", bench.text(&log).await);
            Err(reason)
        }
    }
}

pub(super) async fn all_refused(bench: &Bench, cheats: &[Cheat<'_>]) {
    for (name, files, because) in cheats {
        match proof_of(bench, files, None).await {
            Ok(proof) => panic!("{name}: accepted: {proof:?}"),
            Err(reason) => assert!(reason.contains(because), "{name}: {reason}"),
        }
    }
}

pub(super) fn with(text: &str, more: &str) -> String {
    format!("{text}{more}")
}

pub(super) const FIXED: &str = "def total(price, discount):\n    return max(price - discount, 0)\n";
pub(super) const FUNCTIONS: &str = "from shop.pricing import total


def test_plain():
    assert total(100, 0) == 100


def test_discount():
    assert total(100, 30) == 70
";
pub(super) const NEW_FUNCTION: &str = "

def test_discount_over_price():
    assert total(100, 600) == 0
";
/// A project with `JUnit`.
pub(super) const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>acme</groupId>
  <artifactId>shop</artifactId>
  <version>1</version>
  <properties>
    <maven.compiler.release>17</maven.compiler.release>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
  </properties>
  <dependencies>
    <dependency>
      <groupId>org.junit.jupiter</groupId>
      <artifactId>junit-jupiter</artifactId>
      <version>5.13.4</version>
      <scope>test</scope>
    </dependency>
  </dependencies>
  <build>
    <plugins>
      <plugin><artifactId>maven-resources-plugin</artifactId><version>3.3.1</version></plugin>
      <plugin><artifactId>maven-compiler-plugin</artifactId><version>3.14.1</version></plugin>
      <plugin><artifactId>maven-surefire-plugin</artifactId><version>3.5.4</version></plugin>
    </plugins>
  </build>
</project>
"#;
