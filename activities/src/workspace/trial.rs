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
use super::suite::{Canary, Fate, Nonce, Only, Run, Suite};
use super::symbols::{Additions, Missing};
use super::{hunks, lint, plain, support, text};
use crate::failure::ServiceError;
use crate::sandbox::Exit;

/// Files whose tests are looked at and beside which canaries are put.
const FILES: usize = 12;
/// Unchanged test files that are searched for a test which the change mends.
const SEARCHED: usize = 60;
/// Settings of tests that are searched for the names of other files.
const SETTINGS: usize = 40;
/// Tests and parts named in one sentence.
const NAMED: usize = 5;

/// What is tried.
pub(super) struct Trial<'a> {
    pub(super) suite: &'a Suite,
    pub(super) base_tree: &'a str,
    pub(super) head_tree: &'a str,
    /// All files that differ.
    pub(super) changed: &'a [Changed],
    /// The lines in which their code does: tests that stand beside it are those of the head on both sides.
    pub(super) diff: &'a str,
    /// The tests that were red and are green.
    pub(super) new: &'a [ProvenTest],
    /// Which of them are old, and green by the change alone.
    pub(super) mended: &'a BTreeSet<String>,
    /// The run of the base, in which those were red that the change mends.
    pub(super) base: &'a Run,
    /// The run in which the others were red.
    pub(super) red: &'a Run,
    /// What the change adds outside the tests.
    pub(super) added: &'a Additions,
}

/// A file with new tests.
struct Home<'a> {
    path: String,
    content: String,
    ids: Vec<&'a str>,
    looked: Option<Looked>,
    /// The runner finds its tests through another file.
    elsewhere: bool,
}

/// Bytes of the ids that are tried: they have to fit on a command line.
const TRIED_CAP: usize = 48 * 1024;

impl Trial<'_> {
    /// The tests that are tried.
    fn ids(&self) -> Vec<&str> {
        let mut room = TRIED_CAP;
        let ids = self.new.iter().map(|test| test.id.as_str());
        ids.take_while(|id| {
            let fits = id.len() < room;
            room = room.saturating_sub(id.len());
            fits
        })
        .collect()
    }

    /// Whether some test was red by an assertion before the change.
    fn asserted(&self) -> bool {
        let ids = self.ids();
        self.red.asserted(&ids) || self.base.asserted(&ids)
    }

    fn look<'b>(&self, path: &str, content: &str, ids: impl Iterator<Item = &'b str>) -> Option<Looked> {
        let titles: BTreeSet<&str> = ids.map(|id| self.suite.runner.title(id)).collect();
        let added = |name: &str| self.added.bring(name);
        Language::of(path).map(|language| assertions::look(language, content, &titles, &added))
    }
}

/// What the trials found beside the evidence.
#[derive(Default)]
struct Seen {
    /// What could not be loaded beside the canaries.
    broken: BTreeSet<String>,
    /// With a part of the change taken back, a test failed by an assertion.
    asserted: bool,
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
        let mut seen = Seen::default();
        if let Err(refusal) = self.beside_canaries(trial, &homes, &settings, &mut evidence, &mut seen).await? {
            return Ok(Err(refusal));
        }
        if let Err(refusal) = self.turned(trial, &homes, !settings.is_empty(), &mut evidence, &seen).await? {
            return Ok(Err(refusal));
        }
        if let Err(refusal) = self.taken_back(trial, &mut evidence, &mut seen).await? {
            return Ok(Err(refusal));
        }
        if !trial.asserted()
            && !seen.asserted
            && let Err(refusal) = self.hollow(trial, &mut evidence).await?
        {
            return Ok(Err(refusal));
        }
        evidence.look_at.extend(unread(trial, &homes));
        Ok(Ok(evidence))
    }

    /// The files that hold the new tests: changed ones first, then, for tests that the change mends, others.
    async fn homes<'a>(&self, trial: &'a Trial<'_>) -> Result<Vec<Home<'a>>, ServiceError> {
        let mut open: BTreeSet<&str> = trial.ids().into_iter().collect();
        let changed: Vec<String> =
            trial.changed.iter().filter(|change| change.status != 'D').map(|change| change.path.clone()).collect();
        let others = self.paths(trial.head_tree).await?;
        let is_named = |path: &String| self.is_test(path) && !path.contains('\u{fffd}');
        let others = others.into_iter().filter(|path| is_named(path) && !changed.contains(path));
        let others: Vec<String> = others.filter(|path| Language::of(path).is_some()).take(SEARCHED).collect();
        let mut homes: Vec<Home<'a>> = Vec::new();
        for path in changed.iter().filter(|path| self.is_test(path) || path.ends_with(".rs")).chain(&others) {
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
            let looked = trial.look(path, &content, ids.iter().copied());
            homes.push(Home { path: path.clone(), content, ids, looked, elsewhere: false });
        }
        self.elsewhere(trial, &changed, &mut homes).await?;
        Ok(homes)
    }

    /// Tests that are not in the file in which their runner finds them, because it imports or inherits them: they are looked for
    /// by name in the other changed files of tests.
    async fn elsewhere<'a>(
        &self,
        trial: &'a Trial<'_>,
        changed: &[String],
        homes: &mut Vec<Home<'a>>,
    ) -> Result<(), ServiceError> {
        let runner = &trial.suite.runner;
        let mut open: Vec<&str> = trial.ids();
        open.retain(|id| {
            let read =
                |home: &Home<'_>| home.looked.as_ref().is_none_or(|it| it.assertions.contains_key(runner.title(id)));
            !homes.iter().any(|home| home.ids.contains(id) && read(home))
        });
        for path in changed.iter().filter(|path| self.is_test(path)) {
            let Some(language) = Language::of(path).filter(|it| *it != Language::Rust) else { continue };
            if open.is_empty() || homes.len() >= FILES || homes.iter().any(|home| home.path == *path) {
                continue;
            }
            let content = self.content(trial.head_tree, path, true).await?;
            let there = |id: &&str| assertions::has(language, &content, runner.title(id));
            let ids: Vec<&str> = open.iter().copied().filter(there).collect();
            if ids.is_empty() {
                continue;
            }
            open.retain(|id| !ids.contains(id));
            let looked = trial.look(path, &content, ids.iter().copied());
            homes.push(Home { path: path.clone(), content, ids, looked, elsewhere: true });
        }
        Ok(())
    }

    /// Test settings and support files that differ, as the base has them. They go before a person.
    async fn settings(
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
    async fn beside_canaries(
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
        let run = self.run_only(trial.suite, name, &tree, Some(&only(trial, homes, &canaries))).await?;

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

    /// With other expectations the new tests are red.
    async fn turned(
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

    /// Without this or that part of the change some new test is red.
    async fn taken_back(
        &mut self,
        trial: &Trial<'_>,
        evidence: &mut Evidence,
        seen: &mut Seen,
    ) -> Result<Result<(), Refusal>, ServiceError> {
        let started = Instant::now();
        let only = Only { ids: trial.ids(), ..Only::default() };
        let mut tried = 0_u32;
        let of_tests = |path: &str| self.is_test(path);
        for hunk in hunks::chosen(hunks::of_diff(trial.diff, &of_tests)) {
            // What one run may take is enough for all of these.
            if tried > 0 && started.elapsed() > self.limit {
                break;
            }
            let content = self.content(trial.head_tree, &hunk.path, true).await?;
            // Not UTF-8: it could not be written back as it was.
            if content.contains('\u{fffd}') {
                continue;
            }
            if hunk.path.ends_with(".rs") && inline::blocks(&content).iter().any(|tests| hunk.is_in(&tests.lines)) {
                continue;
            }
            let without = hunk.undone(&content);
            let tree = self.with_contents(trial.head_tree, &[(hunk.path.clone(), Some(without))]).await?;
            let name = format!("head without {}", hunk.place());
            let run = self.run_only(trial.suite, &name, &tree, Some(&only)).await?;
            let Some(mut noticed) = run.notices(&only.ids) else { continue };
            // An old test may fail now and then: where nothing else notices, it has to do so twice.
            let steady = only.ids.iter().any(|id| !run.report.passed(id) && !trial.mended.contains(*id));
            if noticed && !steady {
                let again = self.run_only(trial.suite, &format!("{name}, once more"), &tree, Some(&only)).await?;
                noticed = again.notices(&only.ids) == Some(true);
            }
            tried += 1;
            seen.asserted |= run.asserted(&only.ids);
            if noticed {
                evidence.undone += 1;
            } else if evidence.unnoticed.len() < lint::SHOWN {
                evidence.unnoticed.push(hunk.place());
            }
        }
        let code = |change: &&Changed| !self.is_test(&change.path) && !plain::is_text(&change.path);
        let code: Vec<&Changed> = trial.changed.iter().filter(code).collect();
        if evidence.undone > 0 || code.is_empty() {
            return Ok(Ok(()));
        }
        // What a test misses may be a part that was not tried, one of settings or data, or two parts each of which is enough.
        let mut contents = Vec::new();
        let mut kept = Vec::new();
        for change in code {
            match change.status {
                'A' => contents.push((change.path.clone(), None)),
                _ => kept.extend(self.originals(trial.base_tree, &[change]).await?),
            }
            if change.path.ends_with(".rs") {
                let base = self.content(trial.base_tree, &change.path, change.status != 'A').await?;
                let head = self.content(trial.head_tree, &change.path, change.status != 'D').await?;
                contents.retain(|(path, _)| *path != change.path);
                contents.push((change.path.clone(), Some(inline::combined(&base, &head))));
            }
        }
        let tree = self.overlay(trial.head_tree, kept.iter()).await?;
        let tree = self.with_contents(&tree, &contents).await?;
        let run = self.run_only(trial.suite, "head without all of its code", &tree, Some(&only)).await?;
        seen.asserted |= run.asserted(&only.ids);
        if only.ids.iter().any(|id| !run.report.passed(id)) {
            let sentence = if tried == 0 {
                "no part of the change could be taken back alone; without all of it a new test is red".to_owned()
            } else {
                format!("no new test misses any of {tried} parts of the change; without all of it one is red")
            };
            evidence.look_at.push(sentence);
            return Ok(Ok(()));
        }
        let parts = evidence.unnoticed.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        Ok(Err(format!(
            "No new test notices when your change is taken back ({parts}). The tests must fail without the code that they are for."
        )))
    }

    /// New tests that were red only because something did not exist are red, too, when it exists and does nothing.
    async fn hollow(
        &mut self,
        trial: &Trial<'_>,
        evidence: &mut Evidence,
    ) -> Result<Result<(), Refusal>, ServiceError> {
        let of_tests = |path: &str| self.is_test(path);
        let hunks = hunks::of_diff(trial.diff, &of_tests);
        let paths: BTreeSet<&str> = hunks.iter().map(|hunk| hunk.path.as_str()).collect();
        let mut contents = Vec::new();
        for path in paths {
            let Some(language) = Language::of(path) else { continue };
            let content = self.content(trial.head_tree, path, true).await?;
            let tests = if language == Language::Rust { inline::blocks(&content) } else { Vec::new() };
            let here = |line: usize| {
                !inline::has_line(&tests, line) && hunks.iter().any(|hunk| hunk.path == path && hunk.has_line(line))
            };
            let hollow = assertions::hollow(language, &content, &here).filter(|_| !content.contains('\u{fffd}'));
            contents.extend(hollow.map(|hollow| (path.to_owned(), Some(hollow))));
        }
        let unseen = "the new tests were red only because something did not exist; no assertion was seen to fail";
        if contents.is_empty() {
            evidence.look_at.push(unseen.to_owned());
            return Ok(Ok(()));
        }
        let tree = self.with_contents(trial.head_tree, &contents).await?;
        let only = Only { ids: trial.ids(), ..Only::default() };
        let run = self.run_only(trial.suite, "head with functions that do nothing", &tree, Some(&only)).await?;
        if !run.is_whole() || !run.report.broken.is_empty() {
            evidence.look_at.push(unseen.to_owned());
        } else if only.ids.iter().all(|id| run.report.passed(id)) {
            return Ok(Err(
                "Your new tests are red on the base only because something does not exist there: they still pass when every \
                 function that you add does nothing. Assert what it returns or changes."
                    .to_owned(),
            ));
        }
        Ok(Ok(()))
    }
}

impl Run {
    /// Whether one of these tests is red because a part of the code is not there. `None`: the run does not tell, for it was ended
    /// from outside, or what is left of the code cannot be built, whatever the tests ask for.
    fn notices(&self, ids: &[&str]) -> Option<bool> {
        if !matches!(self.exit, Exit::Code(_)) || self.report.doubt.is_some() {
            return None;
        }
        if ids.iter().all(|id| self.report.passed(id)) {
            return Some(false);
        }
        let red = |id: &&str| match self.report.tests.get(*id) {
            Some(fate) => *fate != Fate::Passed,
            None => {
                let broken = self.report.broken_for(id);
                self.report.unfinished.contains(*id)
                    || broken.is_some_and(|broken| Missing::of(&broken.failure.line).is_some())
            }
        };
        ids.iter().any(red).then_some(true)
    }
}

/// New tests of which no assertion was turned.
fn unread(trial: &Trial<'_>, homes: &[Home<'_>]) -> Vec<String> {
    let runner = &trial.suite.runner;
    let tried = trial.ids();
    let read = |id: &&str| {
        let title = runner.title(id);
        let homes = homes.iter().filter(|home| !home.elsewhere && home.ids.contains(id));
        let looked = homes.filter_map(|home| home.looked.as_ref());
        looked.into_iter().any(|looked| looked.red.contains(title))
    };
    let unread: Vec<&str> = tried.iter().copied().filter(|id| !read(id)).collect();
    let named = unread.iter().take(NAMED);
    let mut told: Vec<String> =
        named.map(|id| format!("{}: no assertion of it was turned", text::cap_line(id, 200))).collect();
    if unread.len() > NAMED {
        told.push(format!("{} more new tests had no assertion turned", unread.len() - NAMED));
    }
    if tried.len() < trial.new.len() {
        told.push(format!("{} of {} new tests were tried beside canaries and turned", tried.len(), trial.new.len()));
    }
    told
}

impl Making<'_> {
    /// Old tests still assert something: one that was emptied passes as long as it is there. Tells of tests that assert less
    /// than before.
    pub(super) async fn emptied(
        &self,
        suite: &Suite,
        base: &Run,
        edited: &[&str],
        (base_tree, head_tree): (&str, &str),
    ) -> Result<Result<Vec<String>, Refusal>, ServiceError> {
        let mut notes = Vec::new();
        let none = |_: &str| false;
        for path in edited {
            let Some(language) = Language::of(path) else { continue };
            let before = self.content(base_tree, path, true).await?;
            let after = self.content(head_tree, path, true).await?;
            let ids = base.report.with(|fate| *fate == Fate::Passed).into_iter();
            let titles: BTreeSet<&str> =
                ids.filter(|id| suite.runner.holds(path, &before, id)).map(|id| suite.runner.title(id)).collect();
            let (before, after) = (
                assertions::look(language, &before, &titles, &none),
                assertions::look(language, &after, &titles, &none),
            );
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
    let homes = homes.iter().filter(|home| !home.elsewhere);
    homes.filter_map(|home| suite.runner.canary(&home.path, of(home), &home.ids, &Nonce::new())).collect()
}

/// The new tests and the canaries.
fn only<'a>(trial: &'a Trial<'_>, homes: &'a [Home<'_>], canaries: &'a [Canary]) -> Only<'a> {
    let homes = || homes.iter().filter(|home| !home.elsewhere);
    let found: usize = homes().map(|home| home.ids.len()).sum();
    // Tests that come from files we did not find are not found in those that we did.
    let all = found == trial.ids().len();
    let files: Vec<&str> =
        homes().map(|home| home.path.as_str()).chain(canaries.iter().map(|it| it.path.as_str())).collect();
    // In the order of the alphabet, so that it does not tell which is which.
    let names: BTreeSet<&str> =
        canaries.iter().flat_map(|canary| [canary.passes.as_str(), canary.fails.as_str()]).collect();
    Only { ids: trial.ids(), files: if all { files } else { Vec::new() }, canaries: names.into_iter().collect() }
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
