//! The proof that a change does what it says: its new tests are red on the base and green on the head, and every test
//! that passed before still passes, unchanged in what it demands.
//!
//! Runs: the suite on the base; on the head; on the base with the head's tests; when old test files were edited, on the head
//! with the base's tests; then the trials of `trial.rs`, which run the new tests alone. Everything in a test's own process can
//! be forged in the end, so a proof says what was checked, not that cheating is impossible.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use workflows::contract::failure::FailureKind;
use workflows::contract::ids::{CommitSha, Digest};
use workflows::contract::plan::RemovedTest;
use workflows::contract::workspace::{
    Evidence, GoneTests, MARKS, Proof, ProofOutcome, Prove, ProvenTest, SuiteCount, Workspace, mark,
};

use super::area::{Area, Claim};
use super::assertions::Language;
use super::demands::Edits;
use super::judge::{Demand, Refusal, Symbols};
use super::mirror::Mirror;
use super::moves::Moves;
use super::repository::{self, is_test};
use super::running::Tally;
use super::suite::{Fate, NO_SUITE, Only, Run, Suite};
use super::symbols::Additions;
use super::trees::Changed;
use super::trial::Trial;
use super::{WorkspaceActivities, judge, lint, plain, support, text};
use crate::failure::ServiceError;

/// Longest reason.
pub(super) const REASON_CAP: usize = 4 * 1024;
/// Tests listed in a proof.
const LISTED: usize = 100;
/// Characters of a test's id, of the line with which it is red, and of a sentence to look at.
const LINE: usize = 300;
/// Bytes of all tests and sentences of a proof: it travels through the workflow's history.
const PROOF_CAP: usize = 64 * 1024;

/// Said of a change without any test.
const NO_TEST: &str = "No test file was added or changed. Write a test that fails without your change and passes with it, in a \
    file that is named like a test or lies in a folder of tests.";

/// One proof being made.
pub(super) struct Making<'a> {
    pub(super) activities: &'a WorkspaceActivities,
    pub(super) mirror: Mirror<'a>,
    pub(super) area: Area,
    pub(super) rules: CommitSha,
    pub(super) limit: Duration,
    /// Output of every run so far.
    pub(super) log: String,
    /// Its runs.
    pub(super) tally: Tally,
    /// Files that hold tests which the runner reported, and whose names do not tell.
    pub(super) tests: BTreeSet<String>,
    /// The suite ran to its end neither on the base nor on the head.
    never_whole: bool,
    /// Old tests that the approved plan lets go.
    pub(super) named: Vec<RemovedTest>,
    /// The refusal to come is one that no change of the agent's can mend.
    unmendable: bool,
    /// The suite is that of the commit whose rules people have approved, and not what was found in the change.
    approved_suite: bool,
}

/// What a proof rests on.
struct Made {
    command: String,
    new_tests: Vec<ProvenTest>,
    suite: SuiteCount,
    evidence: Evidence,
    removed: Vec<GoneTests>,
}

impl WorkspaceActivities {
    /// Makes the proof. Repeating it changes nothing but the log.
    pub(super) async fn prove_for(
        &self,
        claim: &Claim,
        request: Prove,
        demand: Demand,
    ) -> Result<ProofOutcome, ServiceError> {
        let (mut making, base_tree, head_tree) = self.making(claim, &request).await?;
        let red_on = commit_of(&request.base);
        let without_tests = request.without_tests.filter(|reason| !reason.trim().is_empty());
        let outcome = match making.unnamed(&base_tree, &head_tree).await? {
            Err(refusal) => Err(refusal),
            Ok(unnamed) => {
                let made = match &without_tests {
                    Some(reason) => making.make_without(&base_tree, &head_tree, reason).await?,
                    None if demand == Demand::Green => making.make_green(&base_tree, &head_tree).await?,
                    None => making.make(&base_tree, &head_tree, demand).await?,
                };
                made.map(|mut made| {
                    made.evidence.look_at.splice(0..0, unnamed);
                    made
                })
            }
        };
        let _ = writeln!(making.log, "== {} runs", making.tally.count);
        let log = self.blobs.put(std::mem::take(&mut making.log)).await?;
        Ok(match outcome {
            Ok(made) => {
                let all_new = u32::try_from(made.new_tests.len()).unwrap_or(u32::MAX);
                let marks = made.new_tests.iter().take(MARKS).map(|test| mark(&test.id)).collect();
                let Made { command, new_tests, suite, evidence, removed } = made.bounded();
                let mut proof = Proof {
                    command,
                    base: red_on,
                    new_tests,
                    all_new,
                    marks,
                    suite,
                    evidence,
                    without_tests,
                    removed,
                    log,
                    kept: None,
                };
                let text = serde_json::to_vec(&proof).map_err(|error| {
                    ServiceError::new(FailureKind::Unexpected, "a proof could not be written down").caused_by(error)
                })?;
                proof.kept = Some(self.blobs.put(text).await?);
                ProofOutcome::Proven(Box::new(proof))
            }
            Err(reason) => {
                ProofOutcome::Refused { reason: text::cap(&reason, REASON_CAP), log, unmendable: making.unmendable }
            }
        })
    }

    /// A place to compare two sides of a change, and the trees of both.
    pub(super) async fn making(
        &self,
        claim: &Claim,
        request: &Prove,
    ) -> Result<(Making<'_>, String, String), ServiceError> {
        let area = Area::claim(&self.settings, claim).await?;
        let mirror = self.mirror(&request.head).await?;
        let base_tree = mirror.ensure(&request.base, &self.blobs, area.path()).await?;
        let head_tree = mirror.ensure(&request.head, &self.blobs, area.path()).await?;
        let making = Making {
            activities: self,
            mirror,
            area,
            rules: request.base.approved().clone(),
            limit: Duration::from_secs(request.command_seconds),
            log: String::new(),
            tally: Tally::default(),
            tests: BTreeSet::new(),
            never_whole: false,
            named: request.removed_tests.clone(),
            unmendable: false,
            approved_suite: false,
        };
        Ok((making, base_tree, head_tree))
    }
}

impl Made {
    /// Nothing in it is longer than a person reads or the workflow's history takes.
    fn bounded(mut self) -> Self {
        let all = self.new_tests.len();
        let mut room = PROOF_CAP;
        let look_at = std::mem::take(&mut self.evidence.look_at);
        for sentence in look_at.into_iter().map(|sentence| text::cap_line(&sentence, LINE)) {
            if self.evidence.look_at.len() < lint::SHOWN && !self.evidence.look_at.contains(&sentence) {
                room = room.saturating_sub(sentence.len());
                self.evidence.look_at.push(sentence);
            }
        }
        self.new_tests.truncate(LISTED);
        self.new_tests.retain_mut(|test| {
            if test.id.chars().count() > LINE {
                // What is cut off may be all that tells two tests apart.
                let digest = Digest::of(&test.id);
                test.id = format!("{}{}", text::cap_line(&test.id, LINE - 20), &digest.as_str()[..12]);
            }
            test.red = text::cap_line(&test.red, LINE);
            let size = test.id.len() + test.red.len();
            let fits = size <= room;
            room = room.saturating_sub(size);
            fits
        });
        let more = all - self.new_tests.len();
        if more > 0 {
            let sentence = format!("{more} more new tests are red before and green after, and not listed");
            self.evidence.look_at.insert(0, sentence);
            self.evidence.look_at.truncate(lint::SHOWN);
        }
        self
    }
}

/// What became of the suite's tests.
fn counted(run: &Run) -> SuiteCount {
    let count = |wanted: fn(&Fate) -> bool| u32::try_from(run.report.with(wanted).len()).unwrap_or(u32::MAX);
    SuiteCount {
        passed: count(|fate| *fate == Fate::Passed),
        failed: count(|fate| matches!(fate, Fate::Failed(_))),
        skipped: count(|fate| *fate == Fate::Skipped),
    }
}

/// The commit that holds a workspace's files.
fn commit_of(workspace: &Workspace) -> CommitSha {
    workspace.snapshot.as_ref().map_or(&workspace.base, |snapshot| &snapshot.commit).clone()
}

impl Making<'_> {
    #[expect(
        clippy::too_many_lines,
        reason = "the steps of a proof in their order, each on what those before it found"
    )]
    async fn make(
        &mut self,
        base_tree: &str,
        head_tree: &str,
        demand: Demand,
    ) -> Result<Result<Made, Refusal>, ServiceError> {
        let suite = match self.suite(head_tree).await? {
            Ok(suite) => suite,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let changed = self.changed(base_tree, head_tree).await?;
        let diff = match self.diff(base_tree, head_tree).await? {
            Ok(diff) => diff,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.declared(&changed, (base_tree, head_tree)).await?;
        let inline = self.inline(&changed, (base_tree, head_tree)).await?;

        let base = self.run_base(&suite, base_tree).await?;
        if demand == Demand::RedToGreen
            && let Err(refusal) = judge::whole_base(&base, &suite.command)
        {
            // Nothing of the change is in it, unless the command is the change's own.
            self.unmendable = self.approved_suite && !self.tally.troubled;
            return Ok(Err(refusal));
        }
        let head = self.run(&suite, "head", head_tree).await?;
        self.never_whole = !base.is_whole() && !head.is_whole();
        // A command that the change itself brought may be misspelt, and then the agent can mend it.
        let no_runner = base.has_no_runner() && head.has_no_runner();
        self.unmendable = self.approved_suite && !self.tally.troubled && no_runner;
        self.reported(&suite, [&base, &head], &changed, head_tree).await?;
        let mut moves = self.moves(&suite, (&base, &head), &changed, &inline, (base_tree, head_tree)).await?;
        let seen = (&changed[..], &inline[..], &moves);
        let removed = match self.removed(&suite, (&base, &head), seen, (base_tree, head_tree)).await? {
            Ok(removed) => removed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        moves.let_go.clone_from(&removed.ids);
        let green =
            judge::whole_base(&base, &suite.command).and_then(|()| judge::green(&base, &head, &suite.command, &moves));
        let mut look_at = match green {
            Ok(notes) => notes,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Err(refusal) =
            self.none_unloaded(&suite, (&base, &head), (&changed, &removed), (base_tree, head_tree)).await?
        {
            return Ok(Err(refusal));
        }
        let tests: Vec<&Changed> = changed.iter().filter(|change| self.is_test(&change.path)).collect();
        let tested = !inline.is_empty() || tests.iter().any(|change| change.status != 'D');
        let edited: Vec<&Changed> = tests.iter().copied().filter(|change| change.status != 'A').collect();
        let new: Vec<&str> = {
            let all = head.report.tests.keys().map(String::as_str);
            all.filter(|id| !base.report.tests.contains_key(*id)).collect()
        };
        // A file that was moved is not there twice: runners that import by name would refuse both.
        let elsewhere = |status: char| {
            let files = tests.iter().filter(move |change| change.status == status);
            files.filter(|change| moves.files.contains(&change.path)).map(|change| (change.path.clone(), None))
        };
        // With nothing but new files, nothing but new tests can be red.
        let only = Only { ids: new.clone(), ..Only::default() };
        let old_stay = edited.iter().all(|change| removed.has(&change.path))
            && inline.iter().all(|file| file.is_new || removed.has(&file.path));
        let only = old_stay.then_some(&only);
        let red = if tested && (only.is_none() || !new.is_empty()) {
            let with_tests =
                self.overlay(base_tree, tests.iter().copied().filter(|change| change.status != 'D')).await?;
            let mut beside = self.reached(&inline, (base_tree, head_tree)).await?;
            beside.extend(elsewhere('D'));
            let with_tests = self.with_contents(&with_tests, &beside).await?;
            let red = self.run_only(&suite, "base with your tests", &with_tests, only).await?;
            self.alone(&suite, red, &with_tests, (&new, &tests, &inline), (base_tree, head_tree)).await?
        } else {
            base.clone()
        };
        let old = if old_stay {
            None
        } else {
            let whole: Vec<&Changed> = edited.iter().copied().filter(|change| !removed.has(&change.path)).collect();
            let originals = self.originals(base_tree, &whole).await?;
            let with_old = self.overlay(head_tree, originals.iter()).await?;
            let edited = inline.iter().filter(|file| !file.is_new && !removed.has(&file.path));
            let beside = edited.map(|file| (file.path.clone(), Some(file.head_with_old_tests.clone())));
            let beside: Vec<_> = beside.chain(elsewhere('A')).collect();
            let with_old = self.with_contents(&with_old, &beside).await?;
            Some(self.run(&suite, "your change with the old tests", &with_old).await?)
        };

        let of_tests = |path: &str| is_test(path) || self.tests.contains(path);
        let code = self.code_of(&inline, base_tree, head_tree, &diff).await?;
        let taken = self.diff(head_tree, base_tree).await?;
        let (code, taken) = match code.and_then(|code| Ok((code, taken?))) {
            Ok(both) => both,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let additions = Additions::of_diff(&code, &of_tests);
        let removals = Additions::of_diff(&taken, &of_tests);
        let (touched, near) = self.touched(&suite, &base, &edited, &inline, (base_tree, head_tree)).await?;
        let runs = judge::Runs { base: &base, head: &head, red: &red, old: old.as_ref() };
        let snapshots = changed.iter().any(|change| lint::is_snapshot(&change.path));
        let data = snapshots || tests.iter().any(|change| Language::of(&change.path).is_none());
        let symbols = Symbols {
            added: &additions,
            removed: &removals,
            touched: &touched,
            near: &near,
            snapshots,
            data,
            moves: &moves,
        };
        let judged = match judge::proven(&runs, &symbols, demand) {
            Ok(judged) => judged,
            Err(_) if demand == Demand::RedToGreen && !tested => {
                return Ok(Err(NO_TEST.to_owned()));
            }
            Err(refusal) => return Ok(Err(refusal)),
        };
        let judged = match self.red_again(&suite, judged, base_tree, demand).await? {
            Ok(judged) => judged,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let known: Vec<&str> = {
            let beside = inline.iter().filter(|file| !file.is_new).map(|file| file.path.as_str());
            let files = edited.iter().filter(|change| change.status == 'M').map(|change| change.path.as_str());
            files.chain(beside).collect()
        };
        let mut demands = match self.demands(&suite, &judged, &known, (base_tree, head_tree), &removals).await? {
            Ok(demands) => demands,
            Err(refusal) if demand == Demand::RedToGreen => return Ok(Err(refusal)),
            Err(refusal) => vec![refusal],
        };
        match self.emptied(&suite, &base, &known, (base_tree, head_tree)).await? {
            Ok(notes) => look_at.extend(notes),
            Err(refusal) => return Ok(Err(refusal)),
        }
        let edits = Edits {
            files: &known,
            touched: &touched,
            adapted: &judged.adapted,
            old: old.as_ref(),
            added: &additions,
            removed: &removals,
        };
        match self.loosened(&suite, &edits, (base_tree, head_tree)).await? {
            Ok(notes) => demands.extend(notes),
            Err(refusal) if demand == Demand::RedToGreen => return Ok(Err(refusal)),
            Err(refusal) => demands.push(refusal),
        }
        let told = judged.moved;
        let mended: BTreeSet<String> = judged.mended.into_iter().collect();
        let new_tests = judged.tests;
        let mut evidence = Evidence::default();
        if demand == Demand::RedToGreen {
            let trial = Trial {
                suite: &suite,
                base_tree,
                head_tree,
                changed: &changed,
                diff: &code,
                new: &new_tests,
                mended: &mended,
                base: &base,
                red: &red,
                added: &additions,
            };
            match self.try_out(&trial).await? {
                Ok(found) => evidence = found,
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        evidence.look_at.extend(lint::snapshots(changed.iter().map(|change| change.path.as_str())));
        evidence.look_at.extend(changed.iter().filter_map(|change| plain::to_look_at(&change.path)));
        let of_tests = |path: &str| self.is_test(path);
        evidence.look_at.extend(lint::to_look_at(&diff, &of_tests));
        evidence.look_at.extend(self.helpers(&suite, &head, &changed, head_tree).await?);
        evidence.look_at.append(&mut look_at);
        let partly = removed.partly.iter();
        evidence
            .look_at
            .extend(partly.map(|path| format!("{path} lost tests that the plan names: see what went with them")));
        // What an old test demanded is what a person must see, whatever else there is.
        evidence.look_at.splice(0..0, demands.into_iter().chain(told));
        Ok(Ok(Made { command: suite.command, new_tests, suite: counted(&head), evidence, removed: removed.told }))
    }

    /// What keeps a change from being one of documents and settings: a path, and a clause about it.
    async fn no_document(
        &self,
        changed: &[Changed],
        (base_tree, head_tree): (&str, &str),
    ) -> Result<Option<(String, &'static str)>, ServiceError> {
        for change in changed {
            let path = &change.path;
            let mut why = plain::forbidden(path);
            if why.is_none() && support::is_mixed(path) {
                let before = self.content(base_tree, path, change.status != 'A').await?;
                let after = self.content(head_tree, path, change.status != 'D').await?;
                if support::part(path, &before) != support::part(path, &after) {
                    why = Some("changes settings of the tests");
                } else if support::build_part(path, &before) != support::build_part(path, &after) {
                    why = Some("changes what is built, found or started");
                }
            }
            if why.is_none() && matches!(change.mode.as_str(), "120000" | "160000") {
                why = Some("leads to other files");
            }
            if let Some(why) = why {
                return Ok(Some((path.clone(), why)));
            }
        }
        Ok(None)
    }

    /// A change that somebody asked for by itself: it needs no new test. Documents and settings are held to what they can break;
    /// where there is no suite, or none that runs, code that leaves the tests alone is shown as what nobody has run.
    async fn make_green(&mut self, base_tree: &str, head_tree: &str) -> Result<Result<Made, Refusal>, ServiceError> {
        let changed = self.changed(base_tree, head_tree).await?;
        if self.no_document(&changed, (base_tree, head_tree)).await?.is_none() {
            return self.make_documents(&changed, (base_tree, head_tree)).await;
        }
        let made = self.make(base_tree, head_tree, Demand::Green).await?;
        let Err(refusal) = made else { return Ok(made) };
        let leaves_tests = |change: &Changed| {
            let path = &change.path;
            let settings = path == repository::FILE || support::is_support(path) || support::is_mixed(path);
            !settings && !self.is_test(path) && !matches!(change.mode.as_str(), "120000" | "160000")
        };
        if !(refusal == NO_SUITE || self.never_whole) || !changed.iter().all(leaves_tests) {
            return Ok(Err(refusal));
        }
        let first = refusal.lines().next().unwrap_or_default();
        let mut evidence = Evidence::default();
        evidence.look_at.push(format!("nothing was run: {first}"));
        evidence.look_at.extend(changed.iter().filter_map(|change| plain::to_look_at(&change.path)));
        let (command, suite) = (String::new(), SuiteCount::default());
        Ok(Ok(Made { command, new_tests: Vec::new(), suite, evidence, removed: Vec::new() }))
    }

    /// A change that the plan says has no test: nothing but documents and settings.
    async fn make_without(
        &mut self,
        base_tree: &str,
        head_tree: &str,
        reason: &str,
    ) -> Result<Result<Made, Refusal>, ServiceError> {
        let changed = self.changed(base_tree, head_tree).await?;
        if let Some((path, why)) = self.no_document(&changed, (base_tree, head_tree)).await? {
            return Ok(Err(format!(
                "{path} {why}: the plan says that this task has no test because {}, so write a test or leave it alone.",
                text::cap_line(reason.trim().trim_end_matches('.'), 300)
            )));
        }
        self.make_documents(&changed, (base_tree, head_tree)).await
    }

    /// A change to documents and settings: the suite stays as it is. A repository without one is no obstacle.
    async fn make_documents(
        &mut self,
        changed: &[Changed],
        (base_tree, head_tree): (&str, &str),
    ) -> Result<Result<Made, Refusal>, ServiceError> {
        let mut evidence = Evidence::default();
        evidence.look_at.extend(changed.iter().filter_map(|change| plain::to_look_at(&change.path)));
        let programs = changed.iter().filter(|change| change.mode == "100755");
        evidence.look_at.extend(programs.map(|change| format!("{} may be run as a program", change.path)));
        let suite = match self.suite(head_tree).await? {
            Ok(suite) => suite,
            Err(why) => {
                // Nothing was run, and why must be seen; but where there is no suite, nobody misses one.
                if why != NO_SUITE {
                    evidence.look_at.insert(0, format!("nothing was run: {why}"));
                }
                let command = String::new();
                let suite = SuiteCount::default();
                return Ok(Ok(Made { command, new_tests: Vec::new(), suite, evidence, removed: Vec::new() }));
            }
        };
        let base = self.run_base(&suite, base_tree).await?;
        let head = self.run(&suite, "head", head_tree).await?;
        let judged = judge::whole_base(&base, &suite.command)
            .and_then(|()| judge::green(&base, &head, &suite.command, &Moves::default()));
        match judged {
            Ok(notes) => evidence.look_at.extend(notes),
            // A suite that does not run on either side says nothing about a change that is no code.
            Err(_) if !base.is_whole() && !head.is_whole() => {
                evidence.look_at.push(format!("`{}` runs to its end neither before nor after", suite.command));
            }
            Err(refusal) => return Ok(Err(refusal)),
        }
        Ok(Ok(Made {
            command: suite.command,
            new_tests: Vec::new(),
            suite: counted(&head),
            evidence,
            removed: Vec::new(),
        }))
    }

    /// Changed code among the tests that holds none: what they lean on.
    async fn helpers(
        &self,
        suite: &Suite,
        head: &Run,
        changed: &[Changed],
        head_tree: &str,
    ) -> Result<Vec<String>, ServiceError> {
        let mut helpers = Vec::new();
        let there = changed.iter().filter(|change| change.status != 'D' && Language::of(&change.path).is_some());
        for change in there.filter(|change| self.is_test(&change.path) && !support::is_support(&change.path)) {
            let content = self.content(head_tree, &change.path, true).await?;
            let mut ids = head.report.tests.keys();
            if !content.trim().is_empty() && !ids.any(|id| suite.runner.holds(&change.path, &content, id)) {
                helpers.push(format!("{} holds no test and stands among them", text::cap_line(&change.path, 200)));
            }
        }
        Ok(helpers)
    }

    /// The suite, as the base commit tells. A base without any test is judged by what the head brings.
    pub(super) async fn suite(&mut self, head_tree: &str) -> Result<Result<Suite, Refusal>, ServiceError> {
        let tools = self.activities.tools().await?;
        let git = &self.mirror.git;
        let of = |repository: Result<repository::Repository, String>| repository.and_then(|found| Suite::of(&found));
        let on_base = of(repository::read(git, self.rules.as_str(), tools).await?);
        self.approved_suite = on_base.is_ok();
        if self.approved_suite {
            return Ok(on_base);
        }
        let detected = of(repository::read(git, head_tree, tools).await?);
        let own_settings = git.run(["cat-file", "-e", &format!("{head_tree}:{}", repository::FILE)]).await.is_ok();
        let rules = git.run(["cat-file", "-e", &format!("{}:{}", self.rules.as_str(), repository::FILE)]).await.is_ok();
        // A change must not bring the rules by which it is judged.
        let suite = if own_settings { on_base } else { detected.or(on_base) };
        // Those that people have approved name no suite that can be run: no change of the agent's counts before they do.
        self.unmendable = suite.is_err() && rules;
        Ok(suite)
    }

    /// Whether this file is one of tests, by its name or by what the runner reported.
    pub(super) fn is_test(&self, path: &str) -> bool {
        is_test(path) || self.tests.contains(path)
    }

    /// Notes which changed files hold tests that were reported, whatever the files are called. Tests of Rust stand beside the
    /// code, and so may some of Vitest: such a file is one of code.
    pub(super) async fn reported(
        &mut self,
        suite: &Suite,
        runs: [&Run; 2],
        changed: &[Changed],
        head_tree: &str,
    ) -> Result<(), ServiceError> {
        for change in changed {
            let path = &change.path;
            let known = is_test(path) || Language::of(path).is_none_or(|language| language == Language::Rust);
            let mut ids = runs.into_iter().flat_map(|run| run.report.tests.keys());
            if known || !ids.any(|id| suite.runner.holds(path, "", id)) {
                continue;
            }
            let content = self.content(head_tree, path, change.status != 'D').await?;
            if !content.contains("import.meta.vitest") {
                self.tests.insert(path.clone());
            }
        }
        Ok(())
    }
}
