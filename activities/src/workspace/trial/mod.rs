//! Trials of the new tests, each a run of nothing but them: beside canaries and with the base's settings, with their assertions
//! turned, and with the change taken back part by part. What cheats do to a report, to an assertion or to the settings shows in
//! one of them.

mod settings;
mod turned;
mod undone;

use std::collections::{BTreeMap, BTreeSet};

use workflows::contract::workspace::{Evidence, ProvenTest};

use super::assertions::{self, Fault, Language, Looked};
use super::judge::Refusal;
use super::prove::Making;
use super::suite::{Canary, Nonce, Only, Run, Suite};
use super::symbols::Additions;
use super::text;
use super::trees::Changed;
use crate::failure::ServiceError;

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
    /// New tests that were red with a part of the change taken back; whether each such part only adds functions.
    only_added: BTreeMap<String, bool>,
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
        if self.is_late() {
            return Ok(Ok(late(evidence, LATE)));
        }
        if let Err(refusal) = self.beside_canaries(trial, &homes, &settings, &mut evidence, &mut seen).await? {
            return Ok(Err(refusal));
        }
        if self.is_late() {
            return Ok(Ok(late(evidence, &LATE[1..])));
        }
        if let Err(refusal) = self.turned(trial, &homes, !settings.is_empty(), &mut evidence, &seen).await? {
            return Ok(Err(refusal));
        }
        if self.is_late() {
            return Ok(Ok(late(evidence, &LATE[2..])));
        }
        if let Err(refusal) = self.taken_back(trial, &mut evidence, &mut seen).await? {
            return Ok(Err(refusal));
        }
        let by_absence = !trial.asserted() && !seen.asserted || seen.only_added.values().any(|only| *only);
        if by_absence && self.is_late() {
            return Ok(Ok(late(evidence, &LATE[3..])));
        }
        if by_absence && let Err(refusal) = self.hollow(trial, &mut evidence, &seen).await? {
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
}

/// The trials, in their order.
const LATE: &[&str] = &[
    "beside canaries and the base's settings",
    "with other expectations",
    "with the change taken back",
    "with functions that do nothing",
];

/// The evidence of a proof that had no time for some trials.
fn late(mut evidence: Evidence, left_out: &[&str]) -> Evidence {
    let what = left_out.join(", ");
    evidence.look_at.insert(0, format!("the suite takes so long that the new tests were not tried {what}"));
    evidence
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
