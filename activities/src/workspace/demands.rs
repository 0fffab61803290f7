//! Old tests that demand something else than before: which of them a change touches, what a person is told of them, and when they
//! are no proof.

use std::collections::{BTreeMap, BTreeSet};

use super::assertions::{self, Fault, Language};
use super::beside::Inline;
use super::judge::{Demand, Judged, Refusal};
use super::prove::Making;
use super::removed::Removed;
use super::suite::{Fate, Only, Run, Suite};
use super::symbols::Additions;
use super::text;
use super::trees::Changed;
use crate::failure::ServiceError;

/// Old tests whose demand is shown one by one.
const SHOWN: usize = 12;
/// Characters of the line with which an old version fails.
const WIDTH: usize = 160;

/// Old tests that a change edits.
pub(super) struct Edits<'a> {
    /// Old files with tests.
    pub(super) files: &'a [&'a str],
    /// The tests whose own source differs.
    pub(super) touched: &'a BTreeSet<String>,
    /// Those that follow another name or parameter.
    pub(super) adapted: &'a BTreeSet<String>,
    /// The head with the base's tests.
    pub(super) old: Option<&'a Run>,
    /// What the change adds outside the tests, and what it takes away.
    pub(super) added: &'a Additions,
    pub(super) removed: &'a Additions,
}

impl Making<'_> {
    /// Ids of old tests whose own source differs between the trees, or was not found, and of all that stand in the same files.
    pub(super) async fn touched(
        &self,
        suite: &Suite,
        base: &Run,
        edited: &[&Changed],
        inline: &[Inline],
        (base_tree, head_tree): (&str, &str),
    ) -> Result<(BTreeSet<String>, BTreeSet<String>), ServiceError> {
        let (mut touched, mut near) = (BTreeSet::new(), BTreeSet::new());
        let beside = inline.iter().filter(|file| !file.is_new).map(|file| (&file.path, 'M'));
        let files = edited.iter().map(|it| (&it.path, it.status)).chain(beside);
        for (path, status) in files {
            let Some(language) = Language::of(path) else { continue };
            let before = self.content(base_tree, path, true).await?;
            let after = self.content(head_tree, path, status != 'D').await?;
            for id in base.report.tests.keys().filter(|id| suite.runner.holds(path, &before, id)) {
                near.insert(id.clone());
                if !assertions::is_same(language, &before, &after, suite.runner.title(id)) {
                    touched.insert(id.clone());
                }
            }
        }
        Ok((touched, near))
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

    /// A file of tests that could not be loaded on the base is not taken away, and not left without tests.
    pub(super) async fn none_unloaded(
        &self,
        suite: &Suite,
        (base, head): (&Run, &Run),
        (changed, removed): (&[Changed], &Removed),
        (base_tree, head_tree): (&str, &str),
    ) -> Result<Result<(), Refusal>, ServiceError> {
        if base.report.broken.is_empty() {
            return Ok(Ok(()));
        }
        for change in changed.iter().filter(|change| change.status != 'A' && self.is_test(&change.path)) {
            let path = &change.path;
            let Some(language) = Language::of(path).filter(|_| !removed.files.contains(path)) else { continue };
            let own = base.report.broken.iter().find(|broken| is_of(&broken.name, path));
            let gone = change.status == 'D';
            let of_all = || base.report.broken.iter().find(|broken| is_above(&broken.name, path)).filter(|_| gone);
            let Some(broken) = own.or_else(of_all) else { continue };
            if head.report.broken.iter().any(|known| known.name == broken.name && !gone) {
                continue;
            }
            let before = self.content(base_tree, path, true).await?;
            let after = self.content(head_tree, path, !gone).await?;
            let had = !assertions::texts(language, &before).is_empty();
            let has = head.report.tests.keys().any(|id| suite.runner.holds(path, &after, id));
            if had && (gone || !has) {
                return Ok(Err(format!(
                    "{path} cannot be loaded on the base, and with your change none of its tests runs. Tests may not be \
                     deleted, renamed or skipped: bring it back."
                )));
            }
        }
        Ok(Ok(()))
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

    /// Old tests that were edited although nothing asked for it, or beyond the name that they follow, demand no less. Tells which
    /// of their assertions are others now. `old`: the head with the base's tests.
    pub(super) async fn loosened(
        &self,
        suite: &Suite,
        edits: &Edits<'_>,
        (base_tree, head_tree): (&str, &str),
    ) -> Result<Result<Vec<String>, Refusal>, ServiceError> {
        let mut told = Vec::new();
        let renamed = |word: &str| edits.removed.bring(word) || edits.added.bring(word);
        let same = |_: &str| false;
        for path in edits.files {
            let Some((language, before, after)) = self.sides(path, (base_tree, head_tree)).await? else { continue };
            let mut seen = BTreeSet::new();
            for id in edits.touched.iter().filter(|id| suite.runner.holds(path, &before, id)) {
                let follows = edits.adapted.contains(id);
                let passes = edits.old.is_some_and(|old| old.report.passed(id));
                let title = suite.runner.title(id);
                if !(follows || passes) || !seen.insert(title) {
                    continue;
                }
                let (Some(was), Some(is)) =
                    (assertions::demanded(language, &before, title), assertions::demanded(language, &after, title))
                else {
                    continue;
                };
                let is_other: &dyn Fn(&str) -> bool = if follows { &renamed } else { &same };
                let bare = |line: &String| assertions::without_names(language, line, is_other);
                let known = |lines: &[String], line: &String| lines.iter().any(|known| bare(known) == bare(line));
                let lost: Vec<&String> = was.lines.iter().filter(|line| !known(&is.lines, line)).collect();
                let new = is.lines.iter().find(|line| !known(&was.lines, line)).map_or("nothing", String::as_str);
                let Some(line) = lost.first() else { continue };
                let (line, new) = (text::cap_line(line, WIDTH / 2), text::cap_line(new, WIDTH / 2));
                if is.is_less_than(&was) {
                    let why = if follows { "only follows another name" } else { "passes with your change as it was" };
                    return Ok(Err(format!(
                        "{title} in {path} demands less than before, and it {why}: `{line}` -> `{new}`. Keep what it demands."
                    )));
                }
                let how = if follows { "demands something else beside a name" } else { "was edited and need not be" };
                told.push(format!("{} {how}: `{line}` -> `{new}`", text::cap_line(id, WIDTH / 2)));
            }
        }
        let more = told.len().saturating_sub(SHOWN);
        told.truncate(SHOWN);
        if more > 0 {
            told.push(format!("{more} more old tests were edited"));
        }
        Ok(Ok(told))
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

/// Whether a file of tests is what a runner calls `name`: by its path, or as a module.
fn is_of(name: &str, path: &str) -> bool {
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem).replace('/', ".");
    !name.is_empty() && (path == name || stem == name || stem.ends_with(&format!(".{name}")))
}

/// Whether a file of tests lies in what a runner calls `name`: all of them, or a package that is compiled as a whole.
fn is_above(name: &str, path: &str) -> bool {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let compiled = matches!(Language::of(path), Some(Language::Go | Language::Rust | Language::Java));
    compiled && (name.is_empty() || folder.is_empty() || name == folder || name.ends_with(&format!("/{folder}")))
}

impl Run {
    /// Whether a test of these failed by an assertion.
    pub(super) fn asserted(&self, ids: &[&str]) -> bool {
        ids.iter().any(|id| matches!(self.report.tests.get(*id), Some(Fate::Failed(failure)) if failure.asserted))
    }
}
