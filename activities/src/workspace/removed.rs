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
    /// Files that stay without some of their tests, and are as they were otherwise.
    pub(super) partly: BTreeSet<String>,
    /// For people.
    pub(super) told: Vec<GoneTests>,
}

impl Removed {
    /// Whether the base's form of this file has no place on the head, and demands nothing more there than the head's.
    pub(super) fn has(&self, path: &str) -> bool {
        self.files.contains(path) || self.partly.contains(path)
    }
}

/// A file of which the plan names tests.
struct Named<'a> {
    /// Its text on the base.
    before: String,
    /// Its text on the head; empty where it is gone.
    after: String,
    /// The ids that are its own and that the head does not have.
    gone: Vec<&'a String>,
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
        // Each is read once, however many of its tests are named.
        let mut read: BTreeMap<&str, Named<'_>> = BTreeMap::new();
        for named in &self.named {
            let Some(change) = changed.iter().find(|change| change.path == named.file && change.status != 'A') else {
                continue;
            };
            let path = &change.path;
            let is_gone = change.status == 'D';
            let Some(language) = Language::of(path) else { continue };
            if !read.contains_key(path.as_str()) {
                let before = self.content(base_tree, path, true).await?;
                // A source that is gone with the tests in it is none of the change's any more.
                let is_of_tests = self.is_test(path)
                    || inline.iter().any(|file| file.path == *path)
                    || is_gone && base.report.tests.keys().any(|id| suite.runner.holds(path, &before, id));
                if !is_of_tests {
                    continue;
                }
                let after = self.content(head_tree, path, !is_gone).await?;
                // What another file may hold as well is not of this one alone.
                let others = self.namesakes(base_tree, path).await?;
                let own = |id: &&String| {
                    suite.runner.holds(path, &before, id)
                        && !head.report.tests.contains_key(*id)
                        && !moves.has(id)
                        && !others.iter().any(|(other, content)| suite.runner.holds(other, content, id))
                };
                let gone = base.report.tests.keys().filter(own).collect();
                read.insert(path, Named { before, after, gone });
            }
            let Some(Named { after, gone, .. }) = read.get(path.as_str()) else { continue };
            let gone: Vec<&String> = if named.test.is_empty() {
                if !is_gone {
                    continue;
                }
                removed.files.insert(path.clone());
                gone.clone()
            } else {
                one_test(suite, named, gone, !is_gone && assertions::has(language, after, &named.test))
            };
            if gone.is_empty() && !is_gone {
                continue;
            }
            removed.ids.extend(gone.iter().map(|id| (*id).clone()));
            let count = u32::try_from(gone.len()).unwrap_or(u32::MAX);
            removed.told.push(GoneTests { named: named.clone(), count });
            if !is_gone {
                removed.partly.insert(path.clone());
            }
        }
        for path in &removed.partly {
            let (Some(language), Some(Named { before, after, .. })) = (Language::of(path), read.get(path.as_str()))
            else {
                continue;
            };
            // Code beside its tests may change.
            let beside = inline.iter().find(|file| file.path == *path);
            let before = beside.map_or(before, |file| &file.head_with_old_tests);
            let title = |id: &String, name: &str| assertions::is_title(language, suite.runner.title(id), name);
            let gone = |name: &str| removed.ids.iter().any(|id| title(id, name));
            let held = |id: &&String| !removed.ids.contains(*id) && suite.runner.holds(path, before, id);
            let held: Vec<&String> = base.report.tests.keys().filter(held).collect();
            let stays = |name: &str| held.iter().any(|id| title(id, name));
            if let Some(fault) = assertions::more_than_less(language, before, after, &gone, &stays) {
                return Ok(Err(format!(
                    "{path} loses tests that the plan names, so all else in it stays as it is, line for line, and {}. Take that \
                     back, and put what you add into another file.",
                    text::cap_line(&fault, WIDTH)
                )));
            }
        }
        // A file of which every test is named one by one, and that is gone.
        for change in changed.iter().filter(|change| change.status == 'D' && self.is_test(&change.path)) {
            let path = &change.path;
            if !self.named.iter().any(|named| named.file == *path) || removed.files.contains(path) {
                continue;
            }
            let content = match read.get(path.as_str()) {
                Some(named) => named.before.clone(),
                None => self.content(base_tree, path, true).await?,
            };
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
fn one_test<'a>(suite: &Suite, named: &RemovedTest, gone: &[&'a String], is_there: bool) -> Vec<&'a String> {
    let runner = suite.runner.as_ref();
    let by_id: Vec<&String> =
        gone.iter().copied().filter(|id| **id == named.test || family(runner, id) == named.test).collect();
    if !by_id.is_empty() {
        return by_id;
    }
    let gone: Vec<&String> = gone.iter().copied().filter(|id| runner.title(id) == named.test).collect();
    let tests: BTreeSet<&str> = gone.iter().map(|id| family(runner, id)).collect();
    if is_there || tests.len() > 1 { Vec::new() } else { gone }
}
