//! The new tests with other expectations: they must be red.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::assertions::Language;
use super::super::judge;
use super::super::prove::Making;
use super::super::suite::{Canary, Run};
use super::{Home, NAMED, Refusal, Seen, Trial, canaries, only};
use crate::failure::ServiceError;
use crate::sandbox::Exit;
use workflows::contract::workspace::Evidence;

impl Making<'_> {
    /// With other expectations the new tests are red.
    pub(super) async fn turned(
        &mut self,
        trial: &Trial<'_>,
        homes: &[Home<'_>],
        settings_differ: bool,
        evidence: &mut Evidence,
        seen: &Seen,
    ) -> Result<Result<(), Refusal>, ServiceError> {
        let looked = |home: &Home<'_>| home.looked.as_ref().is_some_and(|looked| !looked.red.is_empty());
        if !homes.iter().any(looked) && !settings_differ {
            return Ok(Ok(()));
        }
        let turned =
            |home: &Home<'_>| home.looked.as_ref().map_or(home.content.clone(), |looked| looked.turned.clone());
        let (mut run, mut canaries) = self.run_turned(trial, homes, turned, "head with other expectations").await?;
        let breaks = |run: &Run| run.report.broken.iter().any(|broken| !seen.broken.contains(&broken.name));
        let mut literals = true;
        if breaks(&run) {
            let scripts = |home: &Home<'_>| {
                matches!(Language::of(&home.path), Some(Language::Python)) || home.path.ends_with("js")
            };
            if let Some(broken) = run.report.broken.iter().find(|broken| !seen.broken.contains(&broken.name))
                && homes.iter().all(scripts)
            {
                return Ok(Err(format!(
                    "With other expectations in the new tests, and nothing else changed, {} cannot be loaded: {}. What a file \
                     of tests does must not depend on its own text.",
                    if broken.name.is_empty() { "the suite" } else { &broken.name },
                    broken.failure.line
                )));
            }
            // Another literal may not fit in the types there; the opposite always does.
            let negated =
                |home: &Home<'_>| home.looked.as_ref().map_or(home.content.clone(), |looked| looked.negated.clone());
            literals = false;
            (run, canaries) = self.run_turned(trial, homes, negated, "head with the opposite expected").await?;
        }
        if breaks(&run) || !matches!(run.exit, Exit::Code(_)) {
            // This says nothing then, and is not claimed.
            evidence.look_at.push("the new tests could not be tried with other expectations".to_owned());
            return Ok(Ok(()));
        }
        let trusted = judge::whole(&run, "with other expectations", &trial.suite.command)
            .and_then(|()| judge::canaries(&run, &canaries));
        if let Err(refusal) = trusted {
            return Ok(Err(refusal));
        }
        let mut green = Vec::new();
        // A test of the same name in another file may be another one.
        for home in homes.iter().filter(|home| !home.elsewhere) {
            let Some(looked) = &home.looked else { continue };
            // Cases of one test share its assertions, and each may take another way through them: one red case is enough.
            let stays = |title: &&String| {
                let mut cases = home.ids.iter().filter(|id| trial.suite.runner.title(id) == **title);
                cases.all(|id| run.report.passed(id))
            };
            // Without its literals changed, only a test in which nothing but opposites were made must be red.
            let must = |title: &&String| literals || looked.assertions.get(*title).is_some_and(|count| *count == 1);
            green.extend(looked.red.iter().filter(must).filter(stays).map(|title| format!("{title} in {}", home.path)));
            evidence.flipped += if literals { looked.literals } else { 0 };
        }
        if green.is_empty() {
            return Ok(Ok(()));
        }
        let mut reason =
            "I changed what these tests expect, and they still pass, so their assertions do not decide. Assert on \
                          plain values, catch nothing, and let every assertion be reached:\n"
                .to_owned();
        for test in green.iter().take(NAMED) {
            let _ = writeln!(reason, "- {test}");
        }
        Ok(Err(reason))
    }

    /// Runs the new tests with their files as `of` has them, and the canaries of that run.
    async fn run_turned(
        &mut self,
        trial: &Trial<'_>,
        homes: &[Home<'_>],
        of: impl Fn(&Home<'_>) -> String,
        name: &str,
    ) -> Result<(Run, Vec<Canary>), ServiceError> {
        let sources: BTreeMap<&str, String> = homes.iter().map(|home| (home.path.as_str(), of(home))).collect();
        let canaries = canaries(trial.suite, homes, |home| &sources[home.path.as_str()]);
        let mut contents: BTreeMap<String, Option<String>> =
            sources.iter().map(|(path, content)| ((*path).to_owned(), Some(content.clone()))).collect();
        contents.extend(canaries.iter().map(|canary| (canary.path.clone(), Some(canary.content.clone()))));
        let contents: Vec<_> = contents.into_iter().collect();
        let tree = self.with_contents(trial.head_tree, &contents).await?;
        let run = self.run_only(trial.suite, name, &tree, Some(&only(trial, homes, &canaries))).await?;
        Ok((run, canaries))
    }
}
