//! Brings lock files in step with their manifests. That needs the registries, so it runs like a set-up: on manifests, away from
//! the check-out, and only the lock files come back.

use std::path::Path;

use super::install::{self, Run};
use super::plan::{self, Files, is_manifest, node, python};
use super::stage::{self, Stage};
use super::tooling::Tooling;
use crate::failure::ServiceError;
use crate::sandbox::Exit;
use crate::workspace::area::{Area, Checkout};
use crate::workspace::mirror::Mirror;
use crate::workspace::paths::InnerPath;
use crate::workspace::{WorkspaceActivities, disk, text};

/// Largest lock file.
const LARGEST: u64 = 32 << 20;

/// How a lock file is brought up to date.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Fixer {
    /// The file that says it is in use.
    pub(in super::super) lock: &'static str,
    /// The command, for people.
    pub(in super::super) shown: &'static str,
    /// The program, if it must be in the sandbox.
    program: &'static str,
    script: fn(&Files, &Tooling) -> String,
    /// What comes back.
    results: &'static [&'static str],
}

/// All of them. None runs code that the change brought: npm and its like run no scripts here, programs among the manifests are the
/// base's, and `go mod tidy` only reads imports.
pub(in super::super) const FIXERS: [Fixer; 7] = [
    Fixer {
        lock: "package-lock.json",
        shown: "npm install --package-lock-only",
        program: "npm",
        script: |_, _| "npm install --package-lock-only --ignore-scripts".to_owned(),
        results: &["package-lock.json"],
    },
    Fixer {
        lock: "pnpm-lock.yaml",
        shown: "pnpm install --lockfile-only",
        program: "npm",
        script: |files, tooling| {
            let pnpm = node::pnpm(files, "", tooling);
            format!("{pnpm} install --lockfile-only --no-frozen-lockfile --ignore-scripts --ignore-pnpmfile")
        },
        results: &["pnpm-lock.yaml"],
    },
    Fixer {
        lock: "yarn.lock",
        shown: "yarn install",
        program: "npm",
        script: |files, tooling| {
            let (preparation, install) = (node::preparation(files, ""), node::yarn_install(files, "", tooling));
            if preparation.is_empty() { install } else { format!("{preparation}{install} --no-immutable") }
        },
        results: &["yarn.lock"],
    },
    Fixer {
        lock: "uv.lock",
        shown: "uv lock",
        program: "python3",
        script: |_, tooling| format!("set -e\n{}\n$tool lock --no-build", python::uv(tooling)),
        results: &["uv.lock"],
    },
    Fixer {
        lock: "poetry.lock",
        shown: "poetry lock",
        program: "python3",
        script: |_, tooling| format!("set -e\n{}\n$tool lock --no-interaction", python::poetry(tooling)),
        results: &["poetry.lock"],
    },
    Fixer {
        lock: "Cargo.lock",
        shown: "cargo update --workspace",
        program: "cargo",
        script: |_, _| "cargo update --workspace".to_owned(),
        results: &["Cargo.lock"],
    },
    Fixer {
        lock: "go.sum",
        shown: "go mod tidy",
        program: "go",
        script: |_, _| "go mod tidy".to_owned(),
        results: &["go.mod", "go.sum"],
    },
];

impl WorkspaceActivities {
    /// Whether lock files can be brought up to date here at all.
    pub(in super::super) fn reaches_registries(&self) -> bool {
        self.setup.settings.enabled
    }

    /// Runs `fixer` on the manifests of the check-out's tree and takes over the lock files. Returns how it ended, for people.
    pub(in super::super) async fn update_lock(
        &self,
        area: &Area,
        mirror: &Mirror<'_>,
        checkout: &Checkout,
        fixer: &Fixer,
    ) -> Result<String, ServiceError> {
        let tooling = self.setup.tooling(&self.sandbox).await?;
        if !tooling.has(fixer.program) {
            return Ok(format!("not run: {} is not installed in the sandbox", fixer.program));
        }
        let files = stage::files(&mirror.git, &checkout.tree).await?;
        let of_base = stage::files(&mirror.git, checkout.base.as_str()).await?;
        let (files, _) = plan::with_programs_of(&of_base, files);
        let wanted = |path: &str| is_manifest(path) || fixer.program == "go" && path.ends_with(".go");
        let entries = files.entries.iter().filter(|entry| wanted(&entry.path)).cloned().collect();
        // Cargo reads no manifest whose targets are missing.
        let sources = files.entries.iter().filter(|entry| fixer.program == "cargo" && entry.path.ends_with(".rs"));
        let stage = Stage::with(entries, sources.map(|entry| entry.path.clone()).collect());
        let stage = stage.replacing(python::without_plugins(&files));

        let run = Run::new(self, area, area.make(&format!("lock-{}", fixer.lock))?)?;
        stage.lay_out(&mirror.git, &run.files, &run.index).await?;
        let (finished, traffic) = run.online(&(fixer.script)(&files, tooling)).await?;
        tracing::info!(fixer = fixer.shown, exit = ?finished.exit, hosts = ?traffic.hosts, refused = ?traffic.refused, "a lock file was updated");
        if finished.exit != Exit::Code(0) {
            let (why, _) = install::why(&finished, &traffic, self.setup.settings.limit_seconds);
            let why = text::cap_line(&why.replace('\n', " "), 200);
            return Ok(match finished.exit {
                Exit::Code(code) => format!("exit {code}: {why}"),
                _ => why,
            });
        }
        let (from, to, results) = (run.files.clone(), checkout.files.clone(), fixer.results);
        let taken = tokio::task::spawn_blocking(move || results.iter().try_for_each(|name| take(name, &from, &to)));
        Ok(match taken.await.map_err(disk)? {
            Ok(()) => "exit 0".to_owned(),
            Err(why) => format!("exit 0, but {why}"),
        })
    }
}

/// Takes a file over that a tool has written.
///
/// # Errors
/// Why not, for people.
fn take(name: &str, from: &Path, to: &Path) -> Result<(), String> {
    let path = InnerPath::parse(name)?;
    let content = path.read_up_to(from, LARGEST)?;
    let content = content.ok_or_else(|| format!("{name} has more than {} MB now", LARGEST >> 20))?;
    path.write(to, &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_without_end_is_not_read() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(from.path().join("go.sum"), "sum").unwrap();
        take("go.sum", from.path(), to.path()).unwrap();
        assert_eq!(std::fs::read(to.path().join("go.sum")).unwrap(), b"sum");
        let large = std::fs::File::create(from.path().join("uv.lock")).unwrap();
        large.set_len(LARGEST + 1).unwrap();
        assert!(take("uv.lock", from.path(), to.path()).unwrap_err().contains("more than"));
        assert!(!to.path().join("uv.lock").exists());
    }
}
