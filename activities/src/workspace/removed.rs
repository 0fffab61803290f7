//! Old tests that go with a change because the approved plan names them. What goes is exactly that: a name stands for one test or
//! one file, and all else in a file from which a test goes stays as it was.

use std::collections::{BTreeMap, BTreeSet};

use workflows::contract::plan::RemovedTest;
use workflows::contract::workspace::GoneTests;

use super::assertions::{self, Language};
use super::beside::Inline;
use super::judge::Refusal;
use super::moves::{Moves, family};
use super::prove::Making;
use super::suite::{Run, Suite};
use super::text;
use super::trees::Changed;
use crate::failure::ServiceError;

/// Characters of a line that is quoted.
const WIDTH: usize = 160;

/// What the approved plan lets go, and what of it went.
#[derive(Debug, Default)]
pub(super) struct Removed {
    /// Old ids that may be missing on the head.
    pub(super) ids: BTreeSet<String>,
    /// Files of tests that are gone as a whole.
    pub(super) files: BTreeSet<String>,
    /// Files that stay without some of their tests: the head's form, with the bodies of the base's tests that are in both. `None`:
    /// that is the head's form itself.
    pub(super) partly: BTreeMap<String, Option<String>>,
    /// For people.
    pub(super) told: Vec<GoneTests>,
}

impl Removed {
    /// Whether the base's form of this file says nothing on the head, or nothing that the head's form does not say.
    pub(super) fn is_settled(&self, path: &str) -> bool {
        self.files.contains(path) || matches!(self.partly.get(path), Some(None))
    }

    /// Whether the base's form of this file as a whole has no place on the head.
    pub(super) fn has(&self, path: &str) -> bool {
        self.files.contains(path) || self.partly.contains_key(path)
    }
}

impl Making<'_> {
    /// Looks which of the tests that the plan names went.
    pub(super) async fn removed(
        &self,
        suite: &Suite,
        (base, head): (&Run, &Run),
        (changed, inline, moves): (&[Changed], &[Inline], &Moves),
        (base_tree, head_tree): (&str, &str),
    ) -> Result<Result<Removed, Refusal>, ServiceError> {
        let mut removed = Removed::default();
        for named in &self.named {
            let Some(change) = changed.iter().find(|change| change.path == named.file && change.status != 'A') else {
                continue;
            };
            let path = &change.path;
            let is_gone = change.status == 'D';
            let (true, Some(language)) =
                (self.is_test(path) || inline.iter().any(|file| file.path == *path), Language::of(path))
            else {
                continue;
            };
            let before = self.content(base_tree, path, true).await?;
            let after = self.content(head_tree, path, !is_gone).await?;
            // What another file may hold as well is not of this one alone.
            let others = self.namesakes(base_tree, path).await?;
            let own = |id: &&String| {
                suite.runner.holds(path, &before, id)
                    && !head.report.tests.contains_key(*id)
                    && !moves.has(id)
                    && !others.iter().any(|(other, content)| suite.runner.holds(other, content, id))
            };
            let gone: Vec<&String> = base.report.tests.keys().filter(own).collect();
            let gone: Vec<&String> = if named.test.is_empty() {
                if !is_gone {
                    continue;
                }
                removed.files.insert(path.clone());
                gone
            } else {
                one_test(suite, named, gone, !is_gone && assertions::has(language, &after, &named.test))
            };
            if gone.is_empty() && !is_gone {
                continue;
            }
            removed.ids.extend(gone.iter().map(|id| (*id).clone()));
            let count = u32::try_from(gone.len()).unwrap_or(u32::MAX);
            removed.told.push(GoneTests { named: named.clone(), count });
            if is_gone || removed.partly.contains_key(path) {
                continue;
            }
            let is_reported = |name: &str| {
                head.report.tests.keys().any(|id| {
                    suite.runner.holds(path, &after, id) && assertions::is_title(language, suite.runner.title(id), name)
                })
            };
            if let Some(line) = assertions::more_than_tests(language, &before, &after, &is_reported) {
                return Ok(Err(format!(
                    "{path} loses tests that the plan names, so all else in it stays as it is, and `{}` is new or another. Take \
                     that back, and put what you add into another file.",
                    text::cap_line(&line, WIDTH)
                )));
            }
            let old = assertions::with_bodies_of(language, &after, &before);
            removed.partly.insert(path.clone(), Some(old).filter(|old| *old != after));
        }
        // A file of which every test is named one by one, and that is gone.
        for change in changed.iter().filter(|change| change.status == 'D' && self.is_test(&change.path)) {
            let path = &change.path;
            if !self.named.iter().any(|named| named.file == *path) || removed.files.contains(path) {
                continue;
            }
            let content = self.content(base_tree, path, true).await?;
            let mut held = base.report.tests.keys().filter(|id| suite.runner.holds(path, &content, id));
            if held.all(|id| removed.ids.contains(id)) {
                removed.files.insert(path.clone());
            }
        }
        Ok(Ok(removed))
    }

    /// Other files of the same name, with their text.
    async fn namesakes(&self, tree: &str, path: &str) -> Result<Vec<(String, String)>, ServiceError> {
        let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
        let mut found = Vec::new();
        for other in self.paths(tree).await? {
            if other != path && name(&other) == name(path) {
                let content = self.content(tree, &other, true).await?;
                found.push((other, content));
            }
        }
        Ok(found)
    }
}

/// The ids of the one test that is named. `is_there`: its source has a test of that name still. A title that several tests have
/// names none of them; their ids do.
fn one_test<'a>(suite: &Suite, named: &RemovedTest, gone: Vec<&'a String>, is_there: bool) -> Vec<&'a String> {
    let runner = suite.runner.as_ref();
    let by_id: Vec<&String> =
        gone.iter().copied().filter(|id| **id == named.test || family(runner, id) == named.test).collect();
    if !by_id.is_empty() {
        return by_id;
    }
    let gone: Vec<&String> = gone.into_iter().filter(|id| runner.title(id) == named.test).collect();
    let tests: BTreeSet<&str> = gone.iter().map(|id| family(runner, id)).collect();
    if is_there || tests.len() > 1 { Vec::new() } else { gone }
}
