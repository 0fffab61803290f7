//! Trials of the new tests, each a run of nothing but them: beside canaries and with the base's settings, with their assertions
//! turned, and with the change taken back part by part. What cheats do to a report, to an assertion or to the settings shows in
//! one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Instant;

use workflows::contract::workspace::{Evidence, ProvenTest};

use super::assertions::{self, Fault, Language, Looked, inline};
use super::judge::{self, Refusal};
use super::prove::{Changed, Making};
use super::repository::is_test;
use super::suite::{Canary, Fate, Nonce, Only, Run, Suite};
use super::{hunks, lint, plain, support};
use crate::failure::ServiceError;
use crate::sandbox::Exit;

/// Files whose tests are looked at and beside which canaries are put.
const FILES: usize = 12;
/// Unchanged test files that are searched for a test which the change mends.
const SEARCHED: usize = 60;
/// Tests and parts named in one sentence.
const NAMED: usize = 5;

/// What is tried.
pub(super) struct Trial<'a> {
    pub(super) suite: &'a Suite,
    pub(super) base_tree: &'a str,
    pub(super) head_tree: &'a str,
    /// All files that differ.
    pub(super) changed: &'a [Changed],
    /// The lines in which they do.
    pub(super) diff: &'a str,
    /// The tests that were red and are green.
    pub(super) new: &'a [ProvenTest],
    /// The run in which they were red.
    pub(super) red: &'a Run,
}

/// A file with new tests.
struct Home<'a> {
    path: String,
    content: String,
    ids: Vec<&'a str>,
    looked: Option<Looked>,
}

impl Trial<'_> {
    fn ids(&self) -> Vec<&str> {
        self.new.iter().map(|test| test.id.as_str()).collect()
    }
}

impl Making<'_> {
    /// Makes the trials.
    pub(super) async fn try_out(&mut self, trial: &Trial<'_>) -> Result<Result<Evidence, Refusal>, ServiceError> {
        let mut evidence = Evidence::default();
        let homes = self.homes(trial).await?;
        if let Err(refusal) = faultless(&homes, trial) {
            return Ok(Err(refusal));
        }
        let settings = self.settings(trial, &mut evidence).await?;
        if let Err(refusal) = self.beside_canaries(trial, &homes, &settings, &mut evidence).await? {
            return Ok(Err(refusal));
        }
        if let Err(refusal) = self.turned(trial, &homes, !settings.is_empty(), &mut evidence).await? {
            return Ok(Err(refusal));
        }
        if let Err(refusal) = self.taken_back(trial, &mut evidence).await? {
            return Ok(Err(refusal));
        }
        Ok(Ok(evidence))
    }

    /// The files that hold the new tests: changed ones first, then, for tests that the change mends, others.
    async fn homes<'a>(&self, trial: &'a Trial<'_>) -> Result<Vec<Home<'a>>, ServiceError> {
        let mut open: BTreeSet<&str> = trial.new.iter().map(|test| test.id.as_str()).collect();
        let changed: Vec<String> =
            trial.changed.iter().filter(|change| change.status != 'D').map(|change| change.path.clone()).collect();
        let others = self.paths(trial.head_tree).await?;
        let others = others.into_iter().filter(|path| is_test(path) && !changed.contains(path));
        let others: Vec<String> = others.filter(|path| Language::of(path).is_some()).take(SEARCHED).collect();
        let mut homes: Vec<Home<'a>> = Vec::new();
        for path in changed.iter().filter(|path| is_test(path) || path.ends_with(".rs")).chain(&others) {
            if open.is_empty() || homes.len() == FILES {
                break;
            }
            let content = self.content(trial.head_tree, path, true).await?;
            let ids: Vec<&str> =
                open.iter().copied().filter(|id| trial.suite.runner.holds(path, &content, id)).collect();
            if ids.is_empty() {
                continue;
            }
            open.retain(|id| !ids.contains(id));
            let titles: BTreeSet<&str> = ids.iter().map(|id| trial.suite.runner.title(id)).collect();
            let looked = Language::of(path).map(|language| assertions::look(language, &content, &titles));
            homes.push(Home { path: path.clone(), content, ids, looked });
        }
        Ok(homes)
    }

    /// Test settings and support files that differ, as the base has them. They go before a person.
    async fn settings(
        &self,
        trial: &Trial<'_>,
        evidence: &mut Evidence,
    ) -> Result<Vec<(String, Option<String>)>, ServiceError> {
        let mut settings = Vec::new();
        for change in trial.changed {
            let path = &change.path;
            let (support, mixed) = (support::is_support(path), support::is_mixed(path));
            if !support && !mixed {
                continue;
            }
            let before = self.content(trial.base_tree, path, change.status != 'A').await?;
            let after = self.content(trial.head_tree, path, change.status != 'D').await?;
            if mixed && support::part(path, &before) == support::part(path, &after) {
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

    /// The new tests pass on the head with the base's settings, beside a test that passes and one that fails.
    async fn beside_canaries(
        &mut self,
        trial: &Trial<'_>,
        homes: &[Home<'_>],
        settings: &[(String, Option<String>)],
        evidence: &mut Evidence,
    ) -> Result<Result<(), Refusal>, ServiceError> {
        let canaries = canaries(trial.suite, homes, |home| &home.content);
        if canaries.is_empty() && settings.is_empty() {
            return Ok(Ok(()));
        }
        let mut contents = settings.to_vec();
        contents.extend(canaries.iter().map(|canary| (canary.path.clone(), Some(canary.content.clone()))));
        let tree = self.with_contents(trial.head_tree, &contents).await?;
        let name = if settings.is_empty() { "head beside canaries" } else { "head with the base's test settings" };
        let run = self.run_only(trial.suite, name, &tree, Some(&only(trial, homes, &canaries))).await?;

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
        evidence.base_settings = true;
        Ok(Ok(()))
    }

    /// With other expectations the new tests are red.
    async fn turned(
        &mut self,
        trial: &Trial<'_>,
        homes: &[Home<'_>],
        settings_differ: bool,
        evidence: &mut Evidence,
    ) -> Result<Result<(), Refusal>, ServiceError> {
        let looked = |home: &Home<'_>| home.looked.as_ref().is_some_and(|looked| !looked.red.is_empty());
        if !homes.iter().any(looked) && !settings_differ {
            return Ok(Ok(()));
        }
        let turned =
            |home: &Home<'_>| home.looked.as_ref().map_or(home.content.clone(), |looked| looked.turned.clone());
        let sources: BTreeMap<&str, String> = homes.iter().map(|home| (home.path.as_str(), turned(home))).collect();
        let canaries = canaries(trial.suite, homes, |home| &sources[home.path.as_str()]);
        let mut contents: BTreeMap<String, Option<String>> =
            sources.iter().map(|(path, content)| ((*path).to_owned(), Some(content.clone()))).collect();
        contents.extend(canaries.iter().map(|canary| (canary.path.clone(), Some(canary.content.clone()))));
        let contents: Vec<_> = contents.into_iter().collect();
        let tree = self.with_contents(trial.head_tree, &contents).await?;
        let only = only(trial, homes, &canaries);
        let run = self.run_only(trial.suite, "head with other expectations", &tree, Some(&only)).await?;

        let ran = matches!(run.exit, Exit::Code(_));
        if ran && run.report.broken.is_empty() {
            let trusted = judge::whole(&run, "with other expectations", &trial.suite.command)
                .and_then(|()| judge::canaries(&run, &canaries));
            if let Err(refusal) = trusted {
                return Ok(Err(refusal));
            }
        } else {
            // The other literal does not fit there: then this says nothing, and is not claimed.
            return Ok(Ok(()));
        }
        let mut green = Vec::new();
        for home in homes {
            let Some(looked) = &home.looked else { continue };
            // Cases of one test share its assertions, and each may take another way through them: one red case is enough.
            let stays = |title: &&String| {
                let mut cases = home.ids.iter().filter(|id| trial.suite.runner.title(id) == **title);
                cases.all(|id| run.report.passed(id))
            };
            green.extend(looked.red.iter().filter(stays).map(|title| format!("{title} in {}", home.path)));
            evidence.flipped += looked.literals;
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

    /// Without this or that part of the change some new test is red.
    async fn taken_back(
        &mut self,
        trial: &Trial<'_>,
        evidence: &mut Evidence,
    ) -> Result<Result<(), Refusal>, ServiceError> {
        let started = Instant::now();
        let only = Only { ids: trial.ids(), ..Only::default() };
        let mut tried = 0_u32;
        let all = hunks::of_diff(trial.diff);
        let chosen = hunks::chosen(all.clone());
        // Whether some part of what was changed is not among those that are tried.
        let mut left_out = chosen.len() < all.len()
            || trial.changed.iter().any(|change| {
                let weighs = !is_test(&change.path) && !plain::is_text(&change.path);
                weighs && !all.iter().any(|hunk| hunk.path == change.path)
            });
        for hunk in chosen {
            // What one run may take is enough for all of these.
            if tried > 0 && started.elapsed() > self.limit {
                left_out = true;
                break;
            }
            let content = self.content(trial.head_tree, &hunk.path, true).await?;
            // Not UTF-8: it could not be written back as it was.
            if content.contains('\u{fffd}') {
                continue;
            }
            if hunk.path.ends_with(".rs") && inline::module(&content).is_some_and(|tests| hunk.is_in(&tests)) {
                continue;
            }
            let without = hunk.undone(&content);
            let tree = self.with_contents(trial.head_tree, &[(hunk.path.clone(), Some(without))]).await?;
            let name = format!("head without {}", hunk.place());
            let run = self.run_only(trial.suite, &name, &tree, Some(&only)).await?;
            tried += 1;
            if trial.ids().into_iter().any(|id| !run.report.passed(id)) {
                evidence.undone += 1;
            } else if evidence.unnoticed.len() < lint::SHOWN {
                evidence.unnoticed.push(hunk.place());
            }
        }
        if tried == 0 || evidence.undone > 0 {
            return Ok(Ok(()));
        }
        if left_out {
            evidence.look_at.push(format!("{tried} parts of the change were taken back, and no new test missed one"));
            return Ok(Ok(()));
        }
        let parts = evidence.unnoticed.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        Ok(Err(format!(
            "No new test notices when a part of your change is taken back ({parts}). The tests must fail without the code that \
             they are for."
        )))
    }
}

impl Making<'_> {
    /// Old tests still assert something: one that was emptied passes as long as it is there. Tells of tests that assert less
    /// than before.
    pub(super) async fn emptied(
        &self,
        suite: &Suite,
        base: &Run,
        edited: &[&Changed],
        (base_tree, head_tree): (&str, &str),
    ) -> Result<Result<Vec<String>, Refusal>, ServiceError> {
        let mut notes = Vec::new();
        for change in edited.iter().filter(|change| change.status == 'M') {
            let path = &change.path;
            let Some(language) = Language::of(path) else { continue };
            let before = self.content(base_tree, path, true).await?;
            let after = self.content(head_tree, path, true).await?;
            let ids = base.report.with(|fate| *fate == Fate::Passed).into_iter();
            let titles: BTreeSet<&str> =
                ids.filter(|id| suite.runner.holds(path, &before, id)).map(|id| suite.runner.title(id)).collect();
            let (before, after) =
                (assertions::look(language, &before, &titles), assertions::look(language, &after, &titles));
            for (title, fault) in &after.faults {
                if !before.faults.iter().any(|(known, _)| known == title) {
                    let how = match fault {
                        Fault::Nothing => "asserts nothing any more",
                        Fault::Constant(_) => "compares nothing but constants now",
                        Fault::Pair(_) => "asserts a pair now, which always holds",
                        Fault::Swallowed(_) => "drops its own failure now",
                    };
                    return Ok(Err(format!(
                        "{title} in {path} {how}. Old tests must stay what they were: bring it back."
                    )));
                }
            }
            for (title, count) in &before.assertions {
                if after.assertions.get(title).is_some_and(|now| now < count) {
                    notes.push(format!("{title} in {path} has fewer assertions than before"));
                }
            }
        }
        Ok(Ok(notes))
    }
}

/// Canaries beside the tests of each file, whose source `of` tells.
fn canaries<'a>(suite: &Suite, homes: &'a [Home<'_>], of: impl Fn(&'a Home<'_>) -> &'a String) -> Vec<Canary> {
    homes.iter().filter_map(|home| suite.runner.canary(&home.path, of(home), &home.ids, &Nonce::new())).collect()
}

/// The new tests and the canaries.
fn only<'a>(trial: &'a Trial<'_>, homes: &'a [Home<'_>], canaries: &'a [Canary]) -> Only<'a> {
    let found: usize = homes.iter().map(|home| home.ids.len()).sum();
    // Tests that come from files we did not find are not found in those that we did.
    let all = found == trial.new.len();
    let files: Vec<&str> =
        homes.iter().map(|home| home.path.as_str()).chain(canaries.iter().map(|it| it.path.as_str())).collect();
    let names = canaries.iter().flat_map(|canary| [canary.passes.as_str(), canary.fails.as_str()]);
    Only { ids: trial.ids(), files: if all { files } else { Vec::new() }, canaries: names.collect() }
}

/// No new test is one that asserts nothing.
fn faultless(homes: &[Home<'_>], trial: &Trial<'_>) -> Result<(), Refusal> {
    for home in homes {
        let Some(looked) = &home.looked else { continue };
        for (title, fault) in &looked.faults {
            let asserted = || {
                let ids = home.ids.iter().filter(|id| trial.suite.runner.title(id) == title);
                ids.copied().any(|id| trial.red.report.failure(id).is_some_and(|failure| failure.asserted))
            };
            let path = &home.path;
            let what = match fault {
                // Red by an assertion on the base, so there is one, where we do not see it.
                Fault::Nothing if asserted() => continue,
                Fault::Nothing => {
                    format!("{title} in {path} asserts nothing. Assert what the code returns or changes.")
                }
                Fault::Constant(line) => {
                    format!(
                        "{path}:{line} compares constants, so {title} holds whatever the code does. Assert what the code returns."
                    )
                }
                Fault::Pair(line) => format!(
                    "{path}:{line} asserts a pair, `assert (x, \"message\")`, which always holds. Write `assert x, \"message\"`."
                ),
                Fault::Swallowed(line) => format!(
                    "{path}:{line} catches what the assertions before it raise and drops it, so {title} cannot fail. Catch \
                     nothing there, or only the error that you expect of the code."
                ),
            };
            return Err(what);
        }
    }
    Ok(())
}
