//! Workspaces against a real repository in a local directory, with the real sandbox.

mod approved;
mod bad_input;
mod cheats;
mod demands;
mod fix;
mod hostile;
mod kept;
mod killed;
mod prove;
mod proving;
mod push;
mod removed;
mod runners;
mod setup;
mod snapshots;
mod table;
mod tools;
mod warm;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Value, json};
use workflows::contract::ids::{CommitSha, RepositoryName};
use workflows::contract::tools::ToolCall;

use super::*;

/// A survey of these files, for no work in particular.
fn survey_of(workspace: Workspace) -> SurveyRequest {
    SurveyRequest { workspace, near: Vec::new() }
}

const PRICING: &str = "def total(price, discount):\n    return price - discount\n";
const TESTS: &str = "import unittest

from shop.pricing import total


class Pricing(unittest.TestCase):
    def test_plain(self):
        self.assertEqual(total(100, 0), 100)

    def test_discount(self):
        self.assertEqual(total(100, 30), 70)
";

/// A repository, a worker on it, and a count of calls.
struct Bench {
    directory: tempfile::TempDir,
    origin: PathBuf,
    blobs: Blobs,
    worker: WorkspaceActivities,
    calls: AtomicU32,
}

/// Finds every repository in one directory.
struct LocalRemote(PathBuf);

#[async_trait]
impl Remote for LocalRemote {
    async fn clone_url_and_credentials(&self, _repository: &RepositoryName) -> Result<GitRemote, ServiceError> {
        let url = format!("file://{}", self.0.display());
        Ok(GitRemote { url, username: "x-access-token".into(), token: SecretString::from("ghp_secret_of_the_test") })
    }

    /// Ana may, nobody else.
    async fn may_push(&self, _repository: &RepositoryName, login: &str) -> Result<bool, ServiceError> {
        Ok(login == "ana")
    }
}

impl Bench {
    async fn new() -> Self {
        Self::with(&[("shop/pricing.py", PRICING), ("tests/test_pricing.py", TESTS)]).await
    }

    /// A repository with these files, beside the usual ones.
    async fn with(files: &[(&str, &str)]) -> Self {
        Self::seeded(|seed| {
            for (path, content) in files {
                put(seed, path, content.as_bytes());
            }
        })
        .await
    }

    /// A repository with what `fill` puts into its first commit, beside the usual files.
    async fn seeded(fill: impl FnOnce(&Path)) -> Self {
        let directory = crate::sandbox::tests::open_directory();
        let origin = directory.path().join("origin.git");
        let seed = directory.path().join("seed");
        std::fs::create_dir(&seed).unwrap();
        run_git(&seed, &["init", "--quiet", "--initial-branch=main"]);
        let usual = [("shop/__init__.py", ""), (".gitignore", "build/\n"), ("run.sh", "#!/bin/sh\necho ran\n")];
        for (path, content) in usual {
            put(&seed, path, content.as_bytes());
        }
        fill(&seed);
        std::os::unix::fs::symlink("shop", seed.join("link")).unwrap();
        std::fs::set_permissions(seed.join("run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        run_git(&seed, &["add", "--all"]);
        run_git(&seed, &["commit", "--quiet", "--message=Start"]);
        run_git(directory.path(), &["clone", "--quiet", "--bare", "seed", "origin.git"]);
        let blobs = Blobs::open(directory.path().join("blobs").to_str().unwrap()).unwrap();
        let worker = worker(&directory.path().join("worker"), &blobs, &origin).await;
        Self { directory, origin, blobs, worker, calls: AtomicU32::new(0) }
    }

    /// Another worker, with empty caches and the same blob store.
    async fn another_worker(&self) -> WorkspaceActivities {
        let n = self.calls.fetch_add(1, Ordering::Relaxed);
        worker(&self.directory.path().join(format!("worker-{n}")), &self.blobs, &self.origin).await
    }

    fn base(&self) -> Workspace {
        let base: CommitSha = self.git(&["rev-parse", "main"]).parse().unwrap();
        Workspace::at(repository(), base.clone(), base)
    }

    fn git(&self, args: &[&str]) -> String {
        run_git(&self.origin, args)
    }

    fn claim(&self) -> Claim {
        let n = self.calls.fetch_add(1, Ordering::Relaxed);
        Claim { workflow: "ticket-SHOP-1".into(), activity: n.to_string(), attempt: 1 }
    }

    async fn call_on(
        &self,
        worker: &WorkspaceActivities,
        workspace: &Workspace,
        name: &str,
        input: Value,
    ) -> (Workspace, Result<String, String>) {
        let request = self.request(workspace, name, input).await;
        let reply = worker.call_tool_for(&self.claim(), request).await.unwrap();
        let said = self.text(&reply.reply.output).await;
        (reply.workspace, if reply.reply.is_error { Err(said) } else { Ok(said) })
    }

    async fn call(&self, workspace: &Workspace, name: &str, input: Value) -> (Workspace, Result<String, String>) {
        self.call_on(&self.worker, workspace, name, input).await
    }

    async fn request(&self, workspace: &Workspace, name: &str, input: Value) -> WorkspaceCall {
        let input = self.blobs.put(input.to_string()).await.unwrap();
        let call = ToolCall { id: "t1".into(), name: name.into(), input, label: name.into() };
        WorkspaceCall { workspace: workspace.clone(), call, command_seconds: 60 }
    }

    /// The workspace with this file written.
    async fn write(&self, workspace: &Workspace, path: &str, content: &str) -> Workspace {
        let (after, said) = self.call(workspace, "write_file", json!({"path": path, "content": content})).await;
        said.unwrap();
        after
    }

    async fn text(&self, digest: &workflows::contract::ids::Digest) -> String {
        String::from_utf8(self.blobs.get(digest).await.unwrap().to_vec()).unwrap()
    }
}

fn put(root: &Path, path: impl AsRef<Path>, content: &[u8]) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn repository() -> RepositoryName {
    "acme/shop".parse().unwrap()
}

async fn worker(directory: &Path, blobs: &Blobs, origin: &Path) -> WorkspaceActivities {
    worker_with(crate::sandbox::Settings::default(), directory, blobs, origin).await
}

async fn worker_with(
    sandbox: crate::sandbox::Settings,
    directory: &Path,
    blobs: &Blobs,
    origin: &Path,
) -> WorkspaceActivities {
    // What these tests run needs nothing installed; those of the set-up phase have workers of their own.
    let setup = SetupSettings { enabled: false, ..SetupSettings::default() };
    let settings = Settings { directory: directory.to_owned(), allow_file: true, setup, ..Settings::default() };
    let sandbox = Sandbox::probe(sandbox).await.unwrap();
    WorkspaceActivities::open(settings, blobs.clone(), sandbox, Arc::new(LocalRemote(origin.to_owned()))).await.unwrap()
}

/// git as a developer would use it.
fn run_git(directory: &Path, args: &[&str]) -> String {
    let who = ["AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL"]
        .map(|v| (format!("GIT_{v}"), "dev@acme.example"));
    let output = Process::new("git")
        .args(["-c", "safe.directory=*"])
        .args(args)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs(who)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Waits until nothing is left below the work directory but `kept`: calls remove theirs behind their answer.
fn swept(work: &Path, kept: &[&str]) {
    let began = std::time::Instant::now();
    while names(work) != kept {
        assert!(began.elapsed() < Duration::from_secs(60), "still there: {:?}", names(work));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Names below `directory`.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
