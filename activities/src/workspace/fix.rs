//! Runs the repository's own fixers in the sandbox: what `ticketwright.toml` names, else what its files suggest. No model is
//! involved, and nothing leaves the workspace.

use std::time::Duration;

use workflows::contract::workspace::{Fix, FixKind, Fixed};

use super::area::{Area, Claim};
use super::repository::{self, Repository, Traits};
use super::setup::FIXERS;
use super::snapshot::{self, Taken};
use super::{WorkspaceActivities, text};
use crate::failure::ServiceError;
use crate::sandbox::{Command, Exit};

/// Most bytes of a command and how it ended.
const WORDS: usize = 400;
/// Output kept of one fixer; only its last line is told.
const OUTPUT: usize = 16 * 1024;

impl WorkspaceActivities {
    /// Runs the fixers one after the other, from the same files however often it is repeated. One that fails stops nothing: a
    /// linter ends with an error when something is left that it cannot mend.
    pub(super) async fn fix_for(&self, claim: &Claim, request: Fix) -> Result<Fixed, ServiceError> {
        let Fix { workspace, kinds, command_seconds } = request;
        let area = Area::claim(&self.settings, claim).await?;
        let mirror = self.mirror(&workspace).await?;
        let tree = mirror.ensure(&workspace, &self.blobs, area.path()).await?;
        let base = workspace.base.as_str();
        let rules = workspace.approved();
        let settings = match repository::read(&mirror.git, rules.as_str(), self.tools().await?).await? {
            Ok(settings) => settings,
            Err(why) => return Ok(Fixed { workspace, commands: vec![why], changed: false }),
        };
        let files = Traits::read(&mirror.git, base).await?;
        let checkout = self.check_out(&area, &mirror, "fix", &tree, rules).await?;
        let mut commands = Vec::new();
        let mut kinds = kinds;
        if kinds.contains(&FixKind::Lockfile) && self.reaches_registries() {
            kinds.retain(|kind| *kind != FixKind::Lockfile);
            for fixer in FIXERS.iter().filter(|fixer| files.has(fixer.lock)) {
                let how = self.update_lock(&area, &mirror, &checkout, fixer).await?;
                commands.push(text::cap(&format!("{} ({how})", fixer.shown), WORDS));
            }
        }
        for fixer in fixers(&kinds, &settings, &files) {
            let limit = Duration::from_secs(command_seconds);
            let command = Command { output_cap: OUTPUT, ..checkout.script(&fixer, limit) };
            let finished = self.run(command).await?;
            let how = match &finished.exit {
                Exit::Code(0) => "exit 0".to_owned(),
                Exit::Code(code) => {
                    let said = finished.stdout.text();
                    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim();
                    format!("exit {code}: {}", text::cap_line(last, 200))
                }
                Exit::TimedOut => format!("stopped after {command_seconds} s"),
                Exit::OverLimit(which) => format!("stopped, over its limit of {which}"),
                Exit::NotStarted(why) => format!("not started: {why}"),
                Exit::Cancelled | Exit::LaunchFailed(_) => "not run".to_owned(),
            };
            commands.push(text::cap(&format!("{fixer} ({how})"), WORDS));
        }
        match snapshot::take(&mirror, &checkout, &workspace, &self.blobs).await? {
            Taken::Snapshot(after) => Ok(Fixed { changed: after != workspace, workspace: after, commands }),
            Taken::Refused(why) => {
                commands.push(why);
                Ok(Fixed { workspace, commands, changed: false })
            }
        }
    }
}

/// The commands, in the order they run: linters move code about, so formatters come after them.
fn fixers(kinds: &[FixKind], settings: &Repository, files: &Traits) -> Vec<String> {
    let wanted = |kind| kinds.contains(&kind);
    let mut commands: Vec<String> = Vec::new();
    let mut add = |condition: bool, command: &str| {
        if condition && !commands.iter().any(|known| known == command) {
            commands.push(command.to_owned());
        }
    };
    if wanted(FixKind::Lockfile) {
        add(files.has("package-lock.json"), "npm install --package-lock-only --ignore-scripts --no-audit --no-fund");
        add(files.has("pnpm-lock.yaml"), "pnpm install --lockfile-only --ignore-scripts --offline");
        add(files.has("yarn.lock"), "yarn install --mode=update-lockfile");
        add(files.has("uv.lock"), "uv lock");
        add(files.has("poetry.lock"), "poetry lock --no-interaction");
        add(files.has("Cargo.lock"), "cargo update --workspace --offline");
        add(files.has("go.sum"), "go mod tidy");
    }
    if wanted(FixKind::Lint) {
        match &settings.lint {
            Some(lint) => add(true, &mending(lint)),
            None => files.lint().into_iter().for_each(|lint| add(true, &mending(lint))),
        }
    }
    if wanted(FixKind::Format) {
        match &settings.format {
            Some(format) => add(true, format),
            None => files.format().into_iter().for_each(|format| add(true, format)),
        }
    }
    commands
}

/// A repository's own lint command, with the flag that lets the linters we know mend what they find.
fn mending(lint: &str) -> String {
    let flags = [("ruff check", "--fix"), ("eslint", "--fix"), ("stylelint", "--fix"), ("rubocop", "--autocorrect")];
    // Flags after `&&` or `;` would go to another command, so only a single one is changed.
    let single = !lint.contains(['&', ';', '|', '\n']);
    let missing = |(tool, flag): &&(&str, &str)| single && lint.contains(tool) && !lint.contains(flag);
    match flags.iter().find(missing) {
        Some((_, flag)) => format!("{lint} {flag}"),
        None if single && lint.starts_with("cargo clippy") && !lint.contains("--fix") => {
            lint.replacen("cargo clippy", "cargo clippy --fix --allow-dirty --allow-no-vcs", 1)
        }
        None => lint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixers_are_found_in_the_files() {
        let both = [FixKind::Format, FixKind::Lint];
        let none = Repository::default();
        let python = Traits::with(&["pyproject.toml"], "", "[tool.ruff]\nline-length = 100\n");
        assert_eq!(fixers(&both, &none, &python), ["ruff check . --fix", "ruff format ."]);
        let black = Traits::with(&["pyproject.toml", "ruff.toml"], "", "[tool.black]\n[tool.isort]\n");
        assert_eq!(fixers(&both, &none, &black), ["ruff check . --fix", "black .", "isort ."]);
        let node = Traits::with(&["package.json", ".prettierrc.json"], r#"{"devDependencies":{"eslint":"9"}}"#, "");
        assert_eq!(
            fixers(&both, &none, &node),
            ["npx --no-install eslint . --fix", "npx --no-install prettier --write ."]
        );
        let rust = Traits::with(&["Cargo.toml", "Cargo.lock"], "", "");
        assert_eq!(fixers(&[FixKind::Format], &none, &rust), ["cargo fmt --all"]);
        assert_eq!(fixers(&[FixKind::Lockfile], &none, &rust), ["cargo update --workspace --offline"]);
        let go = Traits::with(&["go.mod", "go.sum"], "", "");
        assert_eq!(fixers(&[FixKind::Format, FixKind::Lockfile], &none, &go), ["go mod tidy", "gofmt -l -w ."]);
        let locks =
            Traits::with(&["package-lock.json", "uv.lock", "poetry.lock", "yarn.lock", "pnpm-lock.yaml"], "", "");
        assert_eq!(fixers(&[FixKind::Lockfile], &none, &locks).len(), 5);
        assert!(fixers(&both, &none, &Traits::with(&["README.md"], "", "")).is_empty());
    }

    #[test]
    fn the_repositorys_own_commands_come_first_and_learn_to_mend() {
        let own = |lint: &str| Repository {
            lint: Some(lint.into()),
            format: Some("make fmt".into()),
            ..Repository::default()
        };
        let python = Traits::with(&["pyproject.toml"], "", "[tool.ruff]\n[tool.black]\n");
        let both = [FixKind::Lint, FixKind::Format];
        assert_eq!(fixers(&both, &own("ruff check src"), &python), ["ruff check src --fix", "make fmt"]);
        assert_eq!(fixers(&both, &own("make fmt"), &python), ["make fmt"]);
        for (lint, mended) in [
            ("npx eslint .", "npx eslint . --fix"),
            ("ruff check --fix .", "ruff check --fix ."),
            ("ruff check . && mypy .", "ruff check . && mypy ."),
            ("cargo clippy -- -D warnings", "cargo clippy --fix --allow-dirty --allow-no-vcs -- -D warnings"),
        ] {
            assert_eq!(mending(lint), mended);
        }
    }
}
