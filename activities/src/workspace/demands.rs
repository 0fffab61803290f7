//! Old tests that demand something else than before: which of them a change touches, what a person is told of them, and when they
//! are no proof.

use std::collections::{BTreeMap, BTreeSet};

use super::assertions::{self, Fault, Language};
use super::beside::Inline;
use super::judge::{Demand, Judged, Refusal};
use super::prove::Making;
use super::suite::{Fate, Only, Run, Suite};
use super::symbols::Additions;
use super::text;
use super::trees::Changed;
use crate::failure::ServiceError;

/// Old tests whose demand is shown one by one.
const SHOWN: usize = 12;
/// Characters of the line with which an old version fails.
const WIDTH: usize = 160;

impl Making<'_> {
    /// Ids of old tests whose own source differs between the trees, or was not found.
    pub(super) async fn touched(
        &self,
        suite: &Suite,
        base: &Run,
        edited: &[&Changed],
        inline: &[Inline],
        (base_tree, head_tree): (&str, &str),
    ) -> Result<BTreeSet<String>, ServiceError> {
        let mut touched = BTreeSet::new();
        let beside = inline.iter().filter(|file| !file.is_new).map(|file| (&file.path, 'M'));
        let files = edited.iter().map(|it| (&it.path, it.status)).chain(beside);
        for (path, status) in files {
            let Some(language) = Language::of(path) else { continue };
            let before = self.content(base_tree, path, true).await?;
            let after = self.content(head_tree, path, status != 'D').await?;
            for id in base.report.tests.keys().filter(|id| suite.runner.holds(path, &before, id)) {
                if !assertions::is_same(language, &before, &after, suite.runner.title(id)) {
                    touched.insert(id.clone());
                }
            }
        }
        Ok(touched)
    }

    /// Runs the old tests that the change makes green on the base once more: one that is red now and then proves nothing.
    pub(super) async fn red_again(
        &mut self,
        suite: &Suite,
        mut judged: Judged,
        base_tree: &str,
        demand: Demand,
    ) -> Result<Result<Judged, Refusal>, ServiceError> {
        if judged.mended.is_empty() || demand != Demand::RedToGreen {
            return Ok(Ok(judged));
        }
        let ids: Vec<&str> = judged.mended.iter().map(String::as_str).collect();
        let only = Only { ids, ..Only::default() };
        let again = self.run_only(suite, "base once more", base_tree, Some(&only)).await?;
        let unsteady: Vec<String> = judged.mended.iter().filter(|id| again.report.passed(id)).cloned().collect();
        judged.tests.retain(|test| !unsteady.contains(&test.id));
        match unsteady.first() {
            Some(id) if judged.tests.is_empty() => Ok(Err(format!(
                "{id} fails on the base only now and then, so it does not show what your change does. Add a test that always \
                 fails without your change."
            ))),
            _ => Ok(Ok(judged)),
        }
    }

    /// What a person is told of old tests that demand something else now. An old test whose assertions were put aside for others
    /// is no proof by itself.
    pub(super) async fn demands(
        &self,
        suite: &Suite,
        judged: &Judged,
        edited: &[&str],
        (base_tree, head_tree): (&str, &str),
        removed: &Additions,
    ) -> Result<Result<Vec<String>, Refusal>, ServiceError> {
        if judged.other.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let gone = self.put_aside(suite, judged, edited, (base_tree, head_tree), removed).await?;
        let only_these = judged.tests.iter().all(|test| gone.contains(&test.id));
        if let (Some(id), true) = (gone.first(), only_these) {
            return Ok(Err(format!(
                "{id} no longer tests what it tested: none of what it called is in it any more. Bring the old test back, and \
                 write a new one for what your change adds."
            )));
        }
        let told = judged.other.iter().take(SHOWN).map(|(id, line)| {
            let what = if gone.contains(id) { "tested something else" } else { "demanded something else" };
            let id = text::cap_line(id, WIDTH - 20);
            format!("{id} existed and {what}; its old version fails now: {}", text::cap_line(line, WIDTH - 50))
        });
        let mut told: Vec<String> = told.collect();
        if judged.other.len() > SHOWN {
            told.push(format!("{} more old tests demanded something else", judged.other.len() - SHOWN));
        }
        Ok(Ok(told))
    }

    /// The language of a file, and its text on the base and on the head.
    async fn sides(
        &self,
        path: &str,
        (base_tree, head_tree): (&str, &str),
    ) -> Result<Option<(Language, String, String)>, ServiceError> {
        let Some(language) = Language::of(path) else { return Ok(None) };
        let before = self.content(base_tree, path, true).await?;
        Ok(Some((language, before, self.content(head_tree, path, true).await?)))
    }

    /// Old tests that call nothing any more of what they called, although it is still there.
    async fn put_aside(
        &self,
        suite: &Suite,
        judged: &Judged,
        edited: &[&str],
        (base_tree, head_tree): (&str, &str),
        removed: &Additions,
    ) -> Result<BTreeSet<String>, ServiceError> {
        let mut gone = BTreeSet::new();
        for path in edited {
            let Some((language, before, after)) = self.sides(path, (base_tree, head_tree)).await? else { continue };
            let ids: Vec<&String> = judged.other.iter().map(|(id, _)| id).collect();
            let ids: Vec<&String> = ids.into_iter().filter(|id| suite.runner.holds(path, &before, id)).collect();
            let titles: BTreeSet<&str> = ids.iter().map(|id| suite.runner.title(id)).collect();
            let calls = |source: &str| -> BTreeMap<String, BTreeSet<String>> {
                assertions::look(language, source, &titles, &|_| false).calls
            };
            let (before, after) = (calls(&before), calls(&after));
            for id in ids {
                let title = suite.runner.title(id);
                let (Some(before), Some(after)) = (before.get(title), after.get(title)) else { continue };
                let missed = |name: &String| !after.contains(name) && !removed.bring(name);
                if !before.is_empty() && before.iter().all(missed) {
                    gone.insert(id.clone());
                }
            }
        }
        Ok(gone)
    }

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
            let Some((language, before, after)) = self.sides(path, (base_tree, head_tree)).await? else { continue };
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

impl Run {
    /// Whether a test of these failed by an assertion.
    pub(super) fn asserted(&self, ids: &[&str]) -> bool {
        ids.iter().any(|id| matches!(self.report.tests.get(*id), Some(Fate::Failed(failure)) if failure.asserted))
    }
}
