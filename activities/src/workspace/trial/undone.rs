//! The new tests without the change, or with functions that do nothing: some of them must be red.

use std::collections::BTreeSet;
use std::time::Instant;

use super::super::assertions::{self, Language, inline};
use super::super::prove::Making;
use super::super::suite::{Fate, Only, Run};
use super::super::symbols::Missing;
use super::super::trees::Changed;
use super::super::{hunks, lint, plain, text};
use super::{NAMED, Refusal, Seen, Trial};
use crate::failure::ServiceError;
use crate::sandbox::Exit;
use workflows::contract::workspace::Evidence;

impl Making<'_> {
    /// Without this or that part of the change some new test is red.
    pub(super) async fn taken_back(
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
            if tried > 0 && (started.elapsed() > self.limit || self.is_late()) {
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
            let empty = |language| assertions::hollow(language, &content, &|line| hunk.has_line(line)).is_some();
            let adds = hunk.only_adds() && Language::of(&hunk.path).is_some_and(empty);
            for id in only.ids.iter().filter(|id| noticed && !run.report.passed(id)) {
                // What cannot be built any more says nothing about one test.
                if adds || run.report.tests.contains_key(*id) && !hunk.only_names(&content) {
                    *seen.only_added.entry((*id).to_owned()).or_insert(true) &= adds;
                }
            }
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
    pub(super) async fn hollow(
        &mut self,
        trial: &Trial<'_>,
        evidence: &mut Evidence,
        seen: &Seen,
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
        let asserted = trial.asserted() || seen.asserted;
        if contents.is_empty() {
            evidence.look_at.extend((!asserted).then(|| unseen.to_owned()));
            return Ok(Ok(()));
        }
        let tree = self.with_contents(trial.head_tree, &contents).await?;
        let only = Only { ids: trial.ids(), ..Only::default() };
        let run = self.run_only(trial.suite, "head with functions that do nothing", &tree, Some(&only)).await?;
        if !run.is_whole() || !run.report.broken.is_empty() {
            evidence.look_at.extend((!asserted).then(|| unseen.to_owned()));
            return Ok(Ok(()));
        }
        // Where a test asserts that something is there, its absence looks like any other fault.
        let asks = |id: &&&str| run.report.passed(id) && (!asserted || seen.only_added.get(**id) == Some(&true));
        let asking: Vec<&&str> = only.ids.iter().filter(asks).collect();
        if asking.len() == only.ids.len() {
            return Ok(Err(
                "Your new tests are red on the base only because something does not exist there: they still pass when every \
                 function that you add does nothing. Assert what it returns or changes."
                    .to_owned(),
            ));
        }
        let named = asking.into_iter().filter(|_| asserted).take(NAMED);
        evidence.look_at.extend(named.map(|id| {
            format!("{} only asks whether something exists: it passes when that does nothing", text::cap_line(id, 200))
        }));
        if !asserted && evidence.flipped == 0 && !run.asserted(&only.ids) {
            evidence.look_at.push(unseen.to_owned());
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
