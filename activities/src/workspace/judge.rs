//! Whether the runs of a proof hold together. Pure: from reports to a verdict, in words that help to mend the change.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use workflows::contract::workspace::ProvenTest;

use super::moves::{Moves, Settled};
use super::suite::{Broken, Canary, Failure, Fate, Run};
use super::symbols::{Additions, Missing};
use super::text;
use crate::sandbox::Exit;

/// Why there is no proof; for the model, and for a person when attempts are used up.
pub(super) type Refusal = String;

/// Tests named in one reason.
const NAMED: usize = 5;
/// Bytes of the id of a new test: it has to be told to the runner again.
const ID_CAP: usize = 2000;
/// Lines of output quoted where no test tells more.
const QUOTED_LINES: usize = 25;

/// What a change has to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// New tests that are red on the base and green on the head.
    RedToGreen,
    /// A green suite that demands no less than before.
    Green,
}

/// The runs of one proof.
pub(super) struct Runs<'a> {
    /// The base.
    pub(super) base: &'a Run,
    /// The head.
    pub(super) head: &'a Run,
    /// The base with the head's tests.
    pub(super) red: &'a Run,
    /// The head with the base's tests, when old test files were edited.
    pub(super) old: Option<&'a Run>,
}

/// What a change adds and takes away outside the tests, and which old tests it touches.
pub(super) struct Symbols<'a> {
    /// What it adds.
    pub(super) added: &'a Additions,
    /// What stood there before.
    pub(super) removed: &'a Additions,
    /// Ids of old tests whose own source differs.
    pub(super) touched: &'a BTreeSet<String>,
    /// Ids of old tests in files that differ.
    pub(super) near: &'a BTreeSet<String>,
    /// A snapshot was changed.
    pub(super) snapshots: bool,
    /// A snapshot or other data of the tests was changed.
    pub(super) data: bool,
    /// Old tests that are reported under other ids.
    pub(super) moves: &'a Moves,
}

/// What the runs prove.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// Tests that are red on the base and green on the head.
    pub(super) tests: Vec<ProvenTest>,
    /// Old tests that demand something else now, each with the line by which its old version fails.
    pub(super) other: Vec<(String, String)>,
    /// Old tests that were red on the base and are green, as they stand.
    pub(super) mended: Vec<String>,
    /// Old tests that only follow another name or parameter.
    pub(super) adapted: BTreeSet<String>,
    /// What a person is told of tests that are reported under other ids.
    pub(super) moved: Vec<String>,
}

/// The suite ran to its end on the base. A base without any test may end as it likes, but in time.
pub(super) fn whole_base(base: &Run, command: &str) -> Result<(), Refusal> {
    let nothing = base.report.tests.is_empty() && base.report.broken.is_empty() && base.report.unfinished.is_empty();
    if nothing && base.exit != Exit::TimedOut {
        return Ok(());
    }
    whole(base, "on the base, without your change", command)
}

/// The suite is green on the head, but for what is red on the base in the same way, and nothing that passed on the base was
/// lost but what is `found_again`. Tells what a person should know of a suite that is not green.
///
/// A base that is red already must not block every change to it: what fails on both sides says nothing about the change.
pub(super) fn green(base: &Run, head: &Run, command: &str, found_again: &Moves) -> Result<Vec<String>, Refusal> {
    whole(head, "with your change", command)?;
    if head.report.snapshots > base.report.snapshots {
        return Err(format!(
            "The suite wrote {} with your change. A snapshot that the code writes itself expects whatever the code does: \
             assert values in the test instead.",
            count(head.report.snapshots as usize, "snapshot", "snapshots"),
        ));
    }
    let mut notes = Vec::new();
    for broken in &head.report.broken {
        let known = base.report.broken.iter().find(|known| known.name == broken.name);
        match known {
            Some(known) if known.failure.line == broken.failure.line => {
                notes.push(format!("{} cannot be loaded, before and after: {}", named(broken), broken.failure.line));
            }
            _ => {
                return Err(format!(
                    "{} cannot be loaded with your change, so its tests did not run: {}\n{}",
                    named(broken),
                    broken.failure.line,
                    broken.failure.text
                ));
            }
        }
    }
    let known = |id: &str| matches!(base.report.tests.get(id), Some(Fate::Failed(_)));
    let (before, failed): (Vec<_>, Vec<_>) = failures(head).partition(|(id, _)| known(id));
    if !failed.is_empty() {
        let mut reason = format!("{} with your change:\n", count(failed.len(), "test fails", "tests fail"));
        for (id, failure) in failed.iter().take(NAMED) {
            let before = match base.report.tests.get(*id) {
                Some(Fate::Passed) => "passed on the base",
                _ => "new",
            };
            let _ = writeln!(reason, "\n{id} ({before})\n{}", quote(failure));
        }
        more(&mut reason, failed.len());
        return Err(reason);
    }
    for (id, failure) in &before {
        let same = base.report.failure(id).is_some_and(|before| before.line == failure.line);
        let how = if same { "before and after" } else { "before, and in another way after" };
        notes.push(format!("{id} was red {how}: {}", failure.line));
    }
    // A runner that ends with an error although no test fails demands more, or was ended from inside.
    if let Exit::Code(code @ 1..) = head.exit
        && head.exit != base.exit
        && before.is_empty()
        && notes.is_empty()
        && !head.report.tests.is_empty()
    {
        return Err(format!(
            "No test fails with your change, and yet `{command}` ends with exit code {code}. Its last lines:\n{}",
            head.tail(QUOTED_LINES)
        ));
    }
    none_lost(base, head, found_again)?;
    none_silenced(base, head, found_again)?;
    Ok(notes)
}

fn named(broken: &Broken) -> &str {
    if broken.name.is_empty() { "The tests" } else { &broken.name }
}

/// Every test that passed on the base passes on the head, or is `found_again` there.
fn none_lost(base: &Run, head: &Run, found_again: &Moves) -> Result<(), Refusal> {
    let lost = base.report.with(|fate| *fate == Fate::Passed);
    let there = |id: &str| head.report.passed(id) || !head.report.tests.contains_key(id) && found_again.has(id);
    let lost: Vec<_> = lost.into_iter().filter(|id| !there(id)).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let mut reason = format!(
        "{} passed on the base and no longer {}. Tests may not be deleted, renamed or skipped: bring them back.\n",
        count(lost.len(), "test", "tests"),
        if lost.len() == 1 { "does" } else { "do" },
    );
    let mut gone = false;
    for id in lost.iter().take(NAMED) {
        gone |= !head.report.tests.contains_key(*id);
        let now = match head.report.tests.get(*id) {
            Some(Fate::Failed(failure)) => format!("fails: {}", failure.line),
            Some(_) => "is skipped".to_owned(),
            None => "is gone".to_owned(),
        };
        let _ = writeln!(reason, "- {id} {now}");
    }
    more(&mut reason, lost.len());
    if gone {
        reason.push_str(
            "If the task takes away what a test is for, the plan must name that test and a person approve it, or a person remove it on \
             the base branch; a change cannot remove its own judges.\n",
        );
    }
    Err(reason)
}

/// Every test that failed on the base still runs on the head, or is `found_again` there: one that is taken away shows no mending.
fn none_silenced(base: &Run, head: &Run, found_again: &Moves) -> Result<(), Refusal> {
    let runs = |id: &str| match head.report.tests.get(id) {
        Some(fate) => *fate != Fate::Skipped,
        None => found_again.has(id),
    };
    match failures(base).find(|(id, _)| !runs(id)) {
        Some((id, _)) => Err(format!(
            "{id} fails on the base, and with your change it does not run any more. Tests may not be deleted, renamed or \
             skipped: bring it back."
        )),
        None => Ok(()),
    }
}

/// A fix of red checks leaves the tests what they were: what passed still passes, what failed is not gone or skipped, and what
/// failed by an assertion does not pass for the only reason that it was edited. `old`: the head with the base's tests, when
/// old test files were edited.
pub(super) fn kept(base: &Run, head: &Run, old: Option<&Run>, command: &str) -> Result<(), Refusal> {
    whole(head, "with your change", command)?;
    none_lost(base, head, &Moves::default())?;
    none_silenced(base, head, &Moves::default())?;
    let Some(old) = old else { return Ok(()) };
    let asserts =
        |run: &Run, id: &str| matches!(run.report.tests.get(id), Some(Fate::Failed(failure)) if failure.asserted);
    let weakened = base.report.with(|fate| !matches!(fate, Fate::Skipped)).into_iter().filter(|id| {
        let fell = match base.report.tests.get(*id) {
            Some(Fate::Passed) => !old.report.passed(id),
            _ => asserts(base, id) && asserts(old, id),
        };
        fell && head.report.passed(id)
    });
    let weakened: Vec<&str> = weakened.collect();
    if weakened.is_empty() {
        return Ok(());
    }
    let mut reason = format!(
        "{} with your change, as on the base before it was edited. A failing demand is not mended by another demand: keep the \
         tests as they are.\n",
        count(weakened.len(), "test fails in its old version", "tests fail in their old version"),
    );
    old_versions(&mut reason, &weakened, old);
    Err(reason)
}

/// Why a proof is none whose only witness compares with what the change has written anew.
fn only_rewritten(id: &str, by_snapshot: bool) -> Refusal {
    if by_snapshot {
        format!(
            "Only snapshots tell your change from the base, as in {id}. What a snapshot expects was written by the code itself: \
             assert in a test what should come out."
        )
    } else {
        format!(
            "Only data or helpers of the tests tell your change from the base, as in {id}, whose own text is what it was. Assert \
             in a test what should come out."
        )
    }
}

/// Why new tests prove nothing: a line for each of the first of them.
fn not_red(faults: &[String]) -> Refusal {
    let mut reason =
        "Every new test must fail without your change, by an assertion or because it uses something that your change \
                      adds. These do not:\n"
            .to_owned();
    reason.push_str(&faults[..faults.len().min(NAMED)].join("\n"));
    reason.push('\n');
    more(&mut reason, faults.len());
    reason
}

/// Whether the runs came to an end, and tell themselves how.
fn can_be_judged(runs: &Runs<'_>) -> Result<(), Refusal> {
    if runs.red.exit == Exit::TimedOut {
        return Err(too_long(runs.red, "on the base with your tests"));
    }
    if let Some(old) = runs.old.filter(|old| old.exit == Exit::TimedOut) {
        return Err(too_long(old, "with your change and the old tests"));
    }
    if let Some(doubt) = &runs.red.report.doubt {
        return Err(format!(
            "The runner's report cannot be trusted on the base with your tests: {doubt}. A test must not end the process or write \
             reports. Its last lines:\n{}",
            runs.red.tail(QUOTED_LINES)
        ));
    }
    Ok(())
}

/// Every new test is red on the base for the right reason, and old tests demand no less than before. Where only a green
/// suite is asked for, new tests may be green on the base too; they are not listed then.
pub(super) fn proven(runs: &Runs<'_>, symbols: &Symbols<'_>, demand: Demand) -> Result<Judged, Refusal> {
    let additions = symbols.added;
    can_be_judged(runs)?;
    let settled = match runs.old {
        Some(old) => symbols.moves.settled(old, runs.red)?,
        None => Settled::default(),
    };
    let moved = |id: &str| settled.known.contains(id) && runs.red.report.passed(id);
    let known = |id: &str| runs.base.report.tests.contains_key(id) || moved(id);
    let new: Vec<&str> = runs.head.report.with(|_| true).into_iter().filter(|id| !known(id)).collect();
    let asserted = |id: &str| match runs.red.report.tests.get(id) {
        Some(Fate::Failed(failure)) if failure.asserted => Some(failure.line.clone()),
        _ => None,
    };
    // An old test whose demand was changed, and which the base fails by an assertion, proves as much as a new one.
    let sharpened = runs.base.report.with(|fate| *fate == Fate::Passed);
    let sharpened: Vec<_> =
        sharpened.into_iter().filter_map(|id| Some(ProvenTest { id: id.to_owned(), red: asserted(id)? })).collect();
    // A snapshot is written by the code itself: a new one is shown to a person, and proves nothing. The same holds for whatever
    // else a test compares with; what stands beside it in its own file is its own.
    let rewritten = |test: &ProvenTest| {
        let own = symbols.touched.contains(&test.id) || !symbols.data && symbols.near.contains(&test.id);
        by_snapshot(&test.red) || !own
    };
    let (rewritten, sharpened): (Vec<_>, Vec<_>) = sharpened.into_iter().partition(rewritten);

    // A test that was red before and that the change makes green, as it stands.
    let stands = |id: &str| runs.old.is_none_or(|old| old.report.passed(id));
    let mended = runs.base.report.with(|fate| matches!(fate, Fate::Failed(_))).into_iter();
    let mended = mended.filter(|id| runs.head.report.passed(id) && stands(id)).filter_map(|id| {
        let red = reason_of(runs.base.report.failure(id)?, additions).ok()?;
        Some(ProvenTest { id: id.to_owned(), red })
    });
    let mended: Vec<_> = mended.collect();

    let mut other = settled.other.clone();
    let mut adapted = Vec::new();
    if let Some(old) = runs.old {
        let fallen = runs.base.report.with(|fate| *fate == Fate::Passed).into_iter();
        let may_fall = |id: &str| symbols.moves.has_case(id) || symbols.moves.let_go.contains(id);
        let mut weakened = Vec::new();
        for id in fallen.filter(|id| !old.report.passed(id) && !may_fall(id)) {
            let known = sharpened.iter().chain(&rewritten).any(|test| test.id == id);
            let red = if known { None } else { follows(id, runs, symbols) };
            if !known && red.is_none() {
                weakened.push(id);
                continue;
            }
            // In a language that is compiled, every test of the package falls with the one that had to be edited.
            if known || symbols.touched.contains(id) {
                other.push((id.to_owned(), old_line(id, old).to_owned()));
                adapted.extend(red.map(|red| ProvenTest { id: id.to_owned(), red }));
            }
        }
        if !weakened.is_empty() {
            return Err(weakened_reason(&weakened, old));
        }
    }
    let nothing = new.is_empty() && sharpened.is_empty() && mended.is_empty() && adapted.is_empty();
    if let Some(test) = rewritten.first()
        && demand == Demand::RedToGreen
        && nothing
    {
        return Err(only_rewritten(&test.id, symbols.snapshots || by_snapshot(&test.red)));
    }
    if demand == Demand::RedToGreen && nothing {
        return Err(
            "There is no new test: the suite reports the same tests with and without your change. Add a test that \
                    fails without your change and passes with it, where the test command finds it."
                .to_owned(),
        );
    }

    let mut told = settled.told;
    if !symbols.snapshots {
        let others = rewritten.iter().filter(|test| !by_snapshot(&test.red)).take(NAMED);
        told.extend(
            others.map(|test| format!("{} compares with other data or helpers now", text::cap_line(&test.id, 200))),
        );
    }
    let mut tests = Vec::new();
    let mut faults = Vec::new();
    for id in new {
        if id.len() > ID_CAP {
            let id = text::cap_line(id, 100);
            faults.push(format!(
                "- {id} has a name of more than {ID_CAP} bytes: name its cases, as with `ids=` of pytest."
            ));
            continue;
        }
        match red_on_base(id, runs, additions) {
            Ok(red) => tests.push(ProvenTest { id: id.to_owned(), red }),
            Err(fault) => faults.push(format!("- {id} {fault}")),
        }
    }
    if demand == Demand::RedToGreen && !faults.is_empty() {
        return Err(not_red(&faults));
    }
    tests.extend(sharpened);
    let adapted_ids = adapted.iter().map(|test| test.id.clone()).collect();
    tests.extend(adapted);
    let mended_ids = mended.iter().map(|test| test.id.clone()).collect();
    tests.extend(mended);
    Ok(Judged { tests, other, mended: mended_ids, adapted: adapted_ids, moved: told })
}

/// The line with which an old test is red on the base in its new form, if both forms only follow the code: the new one needs
/// what the change adds, and the old one what it takes away, as with a function that has another name or parameter now.
fn follows(id: &str, runs: &Runs<'_>, symbols: &Symbols<'_>) -> Option<String> {
    let gone = Missing::of(&runs.old?.report.failure(id)?.line)?;
    let red = runs.red.report.failure(id)?;
    let needed = Missing::of(&red.line)?;
    let follows = runs.head.report.passed(id) && symbols.removed.add(&gone) && symbols.added.add(&needed);
    follows.then(|| red.line.clone())
}

/// Whether a test failed by a snapshot: of Jest, Vitest, syrupy or insta.
fn by_snapshot(line: &str) -> bool {
    let of_jest = line.contains("expect(") && line.contains("Snapshot(");
    of_jest
        || line.contains("Snapshot `")
        || line.contains("== [- snapshot]")
        || line.contains("snapshot assertion for")
}

/// The line with which a new test fails on the base, or what is wrong with it.
fn red_on_base(id: &str, runs: &Runs<'_>, additions: &Additions) -> Result<String, String> {
    if !runs.head.report.passed(id) {
        return Err("is skipped: a new test must run.".to_owned());
    }
    let failure = match runs.red.report.tests.get(id) {
        Some(Fate::Failed(failure)) => failure,
        Some(Fate::Passed) => {
            return Err("passes on the base already, so it does not test your change.".to_owned());
        }
        Some(Fate::Skipped) => return Err("is skipped on the base.".to_owned()),
        None => match runs.red.report.broken_for(id) {
            Some(broken) => &broken.failure,
            None if runs.red.report.unfinished.contains(id) => {
                return Err("ends the test process on the base instead of failing.".to_owned());
            }
            None => {
                return Err(format!(
                    "did not run on the base. Put it into a file of its own in the tests. The run there ended so:\n{}",
                    runs.red.tail(QUOTED_LINES)
                ));
            }
        },
    };
    reason_of(failure, additions)
}

/// The line of a failure that counts as red, or what is wrong with it.
fn reason_of(failure: &Failure, additions: &Additions) -> Result<String, String> {
    let line = failure.line.clone();
    if failure.asserted {
        return Ok(line);
    }
    match Missing::of(&line) {
        Some(missing) if additions.add(&missing) => Ok(line),
        Some(missing) => {
            Err(format!("fails on the base with `{line}`, but your change does not add {}.", missing.label()))
        }
        None => Err(format!(
            "fails on the base with `{line}`, which is no assertion. If this very error is the fault, catch it in the test \
             and assert that there was none, as with `assert!(false, ..)`, `expect(error).toBeUndefined()` or `fail(..)`."
        )),
    }
}

fn weakened_reason(weakened: &[&str], old: &Run) -> Refusal {
    let mut reason = format!(
        "You changed {} so that {} less: the old version fails with your change, and the new one passes without it. Keep old \
         tests as they are; if a demand really changes, assert the new one, so that the test fails on the base.\n",
        count(weakened.len(), "old test", "old tests"),
        if weakened.len() == 1 { "it demands" } else { "they demand" },
    );
    old_versions(&mut reason, weakened, old);
    reason
}

/// How a test fails in the version of the base.
fn old_line<'a>(id: &str, old: &'a Run) -> &'a str {
    match (old.report.tests.get(id), old.report.broken_for(id)) {
        (Some(Fate::Failed(failure)), _) => &failure.line,
        (_, Some(broken)) => &broken.failure.line,
        _ => "it does not run",
    }
}

/// How tests fail in the version of the base.
fn old_versions(reason: &mut String, weakened: &[&str], old: &Run) {
    for id in weakened.iter().take(NAMED) {
        let _ = writeln!(reason, "- {id}, old version: {}", old_line(id, old));
    }
    more(reason, weakened.len());
}

impl Run {
    /// The runner told of no test and of nothing that keeps one from running.
    pub(super) fn told_nothing(&self) -> bool {
        let report = &self.report;
        !report.ended && report.tests.is_empty() && report.broken.is_empty() && report.unfinished.is_empty()
    }

    /// The command that runs the tests is not there, so nothing was run.
    pub(super) fn has_no_runner(&self) -> bool {
        let missing = |line: &str| {
            ["pytest", "unittest"].iter().any(|name| line.trim_end().ends_with(&format!("No module named {name}")))
        };
        let gone = matches!(self.exit, Exit::Code(126 | 127));
        self.told_nothing() && (gone || matches!(self.exit, Exit::Code(1..)) && self.output.lines().any(missing))
    }

    /// The suite ran to its end and reported.
    pub(super) fn is_whole(&self) -> bool {
        whole(self, "", "").is_ok()
    }
}

/// The canaries of a run were reported as what they are.
pub(super) fn canaries(run: &Run, canaries: &[Canary]) -> Result<(), Refusal> {
    for canary in canaries {
        let fates = |name: &str| {
            run.report.tests.iter().filter(|(id, _)| id.contains(name)).map(|(_, fate)| fate).collect::<Vec<_>>()
        };
        let wrong = match (&fates(&canary.passes)[..], &fates(&canary.fails)[..]) {
            (passed @ [_, ..], failed @ [_, ..])
                // A fixture or mark of the file may run each of them several times.
                if passed.iter().all(|fate| **fate == Fate::Passed)
                    && failed.iter().all(|fate| matches!(fate, Fate::Failed(_))) =>
            {
                continue;
            }
            ([], _) | (_, []) => "the harness put a passing and a failing test there, and they were not both reported",
            (_, [Fate::Passed, ..]) => "a test of the harness that fails was reported as passed",
            _ => "a test of the harness was reported as what it is not",
        };
        return Err(format!(
            "The runner's report cannot be trusted beside {}: {wrong}. Something in the tests or their settings ends the \
             process, leaves tests out or changes reports: take it out. Last lines:\n{}",
            canary.path,
            run.tail(QUOTED_LINES)
        ));
    }
    Ok(())
}

pub(super) fn whole(run: &Run, place: &str, command: &str) -> Result<(), Refusal> {
    let why = match &run.exit {
        Exit::TimedOut => return Err(too_long(run, place)),
        Exit::OverLimit(which) => format!("it was over its limit of {which}"),
        Exit::NotStarted(why) => format!("it could not be started: {why}"),
        _ if run.report.doubt.is_some() => {
            return Err(format!(
                "The runner's report cannot be trusted {place}: {}. A test must not end the process or write reports, and \
                 `{command}` must end with its runner's exit code. Its last lines:\n{}",
                run.report.doubt.as_deref().unwrap_or_default(),
                run.tail(QUOTED_LINES)
            ));
        }
        _ if !run.report.unfinished.is_empty() => {
            format!("the process died in {}", unfinished(run))
        }
        _ if !run.report.ended => "it ended without a report of its tests".to_owned(),
        _ => return Ok(()),
    };
    Err(format!("`{command}` did not run to its end {place}: {why}. Its last lines:\n{}", run.tail(QUOTED_LINES)))
}

/// Why a run that was ended by its limit says nothing.
pub(super) fn too_long(run: &Run, place: &str) -> Refusal {
    let within = if run.report.unfinished.is_empty() { String::new() } else { format!(", in {}", unfinished(run)) };
    format!(
        "The suite takes more than {} s {place}{within}; a command may take no longer. If a test hangs or waits, mend it. If the \
         suite is slow by itself, a person must put a faster command into `test` of ticketwright.toml on the base branch, or give \
         commands more time in `execution.command_seconds` of the policy. Its last lines:\n{}",
        run.limit.as_secs(),
        run.tail(QUOTED_LINES)
    )
}

/// Tests that began and never ended, for a sentence.
fn unfinished(run: &Run) -> String {
    run.report.unfinished.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn failures(run: &Run) -> impl Iterator<Item = (&str, &Failure)> {
    run.report.tests.iter().filter_map(|(id, fate)| match fate {
        Fate::Failed(failure) => Some((id.as_str(), failure)),
        _ => None,
    })
}

fn quote(failure: &Failure) -> &str {
    if failure.text.is_empty() { &failure.line } else { &failure.text }
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn more(reason: &mut String, all: usize) {
    if all > NAMED {
        let _ = writeln!(reason, "and {} more.", all - NAMED);
    }
}
