//! Brings lock files in step with their manifests. That needs the registries, so it runs like a set-up: on manifests, away from
//! the check-out, and only the lock files come back.

use super::install::{self, Run};
use super::plan::{self, is_manifest};
use super::stage::{self, Stage};
use crate::failure::ServiceError;
use crate::sandbox::Exit;
use crate::workspace::area::{Area, Checkout};
use crate::workspace::mirror::Mirror;
use crate::workspace::paths::InnerPath;
use crate::workspace::{WorkspaceActivities, text};

/// How a lock file is brought up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Fixer {
    /// The file that says it is in use.
    pub(in super::super) lock: &'static str,
    /// The command, for people.
    pub(in super::super) shown: &'static str,
    /// The program, if it must be in the sandbox.
    program: &'static str,
    script: &'static str,
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
        script: "npm install --package-lock-only --ignore-scripts",
        results: &["package-lock.json"],
    },
    Fixer {
        lock: "pnpm-lock.yaml",
        shown: "pnpm install --lockfile-only",
        program: "npm",
        script: "$(command -v pnpm || echo npx --yes pnpm@9) install --lockfile-only --no-frozen-lockfile --ignore-scripts --ignore-pnpmfile",
        results: &["pnpm-lock.yaml"],
    },
    Fixer {
        lock: "yarn.lock",
        shown: "yarn install",
        program: "npm",
        script: "if grep -q __metadata: yarn.lock; then npx --yes @yarnpkg/cli-dist@4 install --mode=update-lockfile; \
                 else $(command -v yarn || echo npx --yes yarn@1.22.22) install --ignore-scripts --non-interactive; fi",
        results: &["yarn.lock"],
    },
    Fixer {
        lock: "uv.lock",
        shown: "uv lock",
        program: "python3",
        script: "command -v uv >/dev/null || { python3 -m venv .ticketwright-tool && .ticketwright-tool/bin/python -m pip install \
                 --quiet --only-binary :all: uv && PATH=$PWD/.ticketwright-tool/bin:$PATH; }; uv lock --no-build",
        results: &["uv.lock"],
    },
    Fixer {
        lock: "poetry.lock",
        shown: "poetry lock",
        program: "python3",
        script: "command -v poetry >/dev/null || { python3 -m venv .ticketwright-tool && .ticketwright-tool/bin/python -m pip \
                 install --quiet --only-binary :all: poetry && PATH=$PWD/.ticketwright-tool/bin:$PATH; }; \
                 poetry lock --no-interaction",
        results: &["poetry.lock"],
    },
    Fixer {
        lock: "Cargo.lock",
        shown: "cargo update --workspace",
        program: "cargo",
        script: "cargo update --workspace",
        results: &["Cargo.lock"],
    },
    Fixer {
        lock: "go.sum",
        shown: "go mod tidy",
        program: "go",
        script: "go mod tidy",
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
        if !self.setup.tooling(&self.sandbox).await?.has(fixer.program) {
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

        let run = Run::new(self, area, area.make(&format!("lock-{}", fixer.lock))?)?;
        stage.lay_out(&mirror.git, &run.files, &run.index).await?;
        let (finished, traffic) = run.online(fixer.script).await?;
        tracing::info!(fixer = fixer.shown, exit = ?finished.exit, hosts = ?traffic.hosts, refused = ?traffic.refused, "a lock file was updated");
        if finished.exit != Exit::Code(0) {
            let (why, _) = install::why(&finished, &traffic, self.setup.settings.limit_seconds);
            let why = text::cap_line(&why.replace('\n', " "), 200);
            return Ok(match finished.exit {
                Exit::Code(code) => format!("exit {code}: {why}"),
                _ => why,
            });
        }
        for name in fixer.results {
            let taken = InnerPath::parse(name).and_then(|path| {
                let content = path.read(&run.files)?;
                path.write(&checkout.files, &content)
            });
            if let Err(why) = taken {
                return Ok(format!("exit 0, but {why}"));
            }
        }
        Ok("exit 0".to_owned())
    }
}
