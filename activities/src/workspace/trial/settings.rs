//! The new tests beside a test that passes and one that fails, with the base's settings.

use super::super::prove::Making;
use super::super::{judge, support};
use super::{Home, Refusal, Seen, Trial, canaries, only};
use crate::failure::ServiceError;
use crate::sandbox::Exit;
use workflows::contract::workspace::Evidence;

/// Settings of tests that are searched for the names of other files.
const SETTINGS: usize = 40;

impl Making<'_> {
    /// Test settings and support files that differ, as the base has them. They go before a person.
    pub(super) async fn settings(
        &self,
        trial: &Trial<'_>,
        evidence: &mut Evidence,
    ) -> Result<Vec<(String, Option<String>)>, ServiceError> {
        let mut settings = Vec::new();
        let named = self.named(trial).await?;
        for change in trial.changed {
            let path = &change.path;
            let mixed = support::is_mixed(path);
            let support = support::is_support(path) || !mixed && self.is_set_up(trial, path, &named);
            if !support && !mixed {
                continue;
            }
            let before = self.content(trial.base_tree, path, change.status != 'A').await?;
            let after = self.content(trial.head_tree, path, change.status != 'D').await?;
            if mixed && support::part(path, &before) == support::part(path, &after) {
                continue;
            }
            // The first tests of a repository bring their settings.
            if trial.base.report.tests.is_empty() {
                evidence.look_at.push(format!("{path} brings how tests are run; the base has none to compare with"));
                continue;
            }
            let content = match (mixed, change.status) {
                (false, 'A') => None,
                (true, 'A' | 'M') => Some(support::with_part_of(path, &after, &before)),
                _ => Some(before),
            };
            evidence.look_at.push(format!("{path} changes how tests are run"));
            settings.push((path.clone(), content));
        }
        Ok(settings)
    }

    /// What the base's settings of tests name: files that are loaded before or around them.
    async fn named(&self, trial: &Trial<'_>) -> Result<Vec<String>, ServiceError> {
        let mut named = support::named("", &trial.suite.command);
        let paths = self.paths(trial.base_tree).await?;
        let settings = |path: &&String| support::is_support(path) || support::is_mixed(path);
        for path in paths.iter().filter(settings).take(SETTINGS) {
            let content = self.content(trial.base_tree, path, true).await?;
            let content = if support::is_mixed(path) { support::part(path, &content) } else { content };
            named.extend(support::named(path, &content));
        }
        Ok(named)
    }

    /// Whether the base's settings name this file, and it holds no test itself.
    fn is_set_up(&self, trial: &Trial<'_>, path: &str, named: &[String]) -> bool {
        let mut ids = trial.ids().into_iter().chain(trial.base.report.tests.keys().map(String::as_str));
        named.iter().any(|name| support::is_named(path, name)) && !ids.any(|id| trial.suite.runner.holds(path, "", id))
    }

    /// The new tests pass on the head with the base's settings, beside a test that passes and one that fails.
    pub(super) async fn beside_canaries(
        &mut self,
        trial: &Trial<'_>,
        homes: &[Home<'_>],
        settings: &[(String, Option<String>)],
        evidence: &mut Evidence,
        seen: &mut Seen,
    ) -> Result<Result<(), Refusal>, ServiceError> {
        let canaries = canaries(trial.suite, homes, |home| &home.content);
        if canaries.is_empty() && settings.is_empty() {
            return Ok(Ok(()));
        }
        let mut contents = settings.to_vec();
        contents.extend(canaries.iter().map(|canary| (canary.path.clone(), Some(canary.content.clone()))));
        let tree = self.with_contents(trial.head_tree, &contents).await?;
        let name = if settings.is_empty() { "head beside canaries" } else { "head with the base's test settings" };
        let chosen = only(trial, homes, &canaries);
        let mut run = self.run_only(trial.suite, name, &tree, Some(&chosen)).await?;
        if run.exit == Exit::TimedOut && !self.is_late() {
            // The same tests had time enough in the whole suite: the machine may be busy.
            run = self.run_only(trial.suite, &format!("{name}, once more"), &tree, Some(&chosen)).await?;
        }
        if run.exit == Exit::TimedOut {
            return Ok(Err(judge::too_long(&run, "with nothing but your new tests")));
        }

        seen.broken = run.report.broken.iter().map(|broken| broken.name.clone()).collect();

        let lost = trial.ids().into_iter().find(|id| !run.report.passed(id));
        let lost =
            lost.map(|id| (id, run.report.failure(id).map_or("it does not run", |failure| failure.line.as_str())));
        if let (Some((id, line)), false) = (lost, settings.is_empty()) {
            let names: Vec<&str> = settings.iter().map(|(path, _)| path.as_str()).collect();
            return Ok(Err(format!(
                "Your new tests need your changes to {}, which decide how tests are run: with these files as they are on the \
                 base, {id} does not pass: {line}. Leave them as they are, and put what a test needs into its own file.",
                names.join(", ")
            )));
        }
        let trusted = judge::whole(&run, "with nothing but your new tests", &trial.suite.command)
            .and_then(|()| judge::canaries(&run, &canaries));
        if let Err(refusal) = trusted {
            return Ok(Err(refusal));
        }
        if let Some((id, line)) = lost {
            return Ok(Err(format!(
                "{id} passes in the whole suite and not with nothing but the new tests: {line}. A test must not need that \
                 others ran before it."
            )));
        }
        evidence.canaries = !canaries.is_empty();
        evidence.base_settings = !trial.base.report.tests.is_empty() || settings.is_empty();
        Ok(Ok(()))
    }
}
