//! Tests that are no longer reported under their ids: moved, renamed, or cases of a test whose parameters are others now. What
//! the old ones demand is asked of the old ones themselves, in the run of the change with the base's tests.

use std::collections::{BTreeMap, BTreeSet};

use super::assertions::{self, Language};
use super::beside::Inline;
use super::judge::Refusal;
use super::prove::Making;
use super::suite::{Fate, Run, Runner, Suite};
use super::symbols;
use super::text;
use super::trees::Changed;
use crate::failure::ServiceError;

/// Sentences about moved tests and changed cases.
const SHOWN: usize = 12;
/// Characters of an id in such a sentence.
const WIDTH: usize = 120;

/// Where tests are found again that ran on the base and are not reported on the head.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// The old id and the new one of a test with the same text.
    pub(super) moved: BTreeMap<String, String>,
    /// Old ids of cases, by their test, which has other cases now.
    cases: BTreeMap<String, BTreeSet<String>>,
    /// Cases that are new, by their test.
    new_cases: BTreeMap<String, BTreeSet<String>>,
    /// Test files that are gone, and new ones that have their tests.
    pub(super) files: Vec<String>,
    /// Old ids that are gone because the approved plan names them.
    pub(super) let_go: BTreeSet<String>,
}

/// What the runs say about them.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// For a person.
    pub(super) told: Vec<String>,
    /// Old cases that no longer hold, with the line by which they fail; new ones show what is demanded instead.
    pub(super) other: Vec<(String, String)>,
    /// New ids that stand for old ones and need not be red on the base.
    pub(super) known: BTreeSet<String>,
}

/// A test in its file, without its name.
struct Text {
    id: String,
    path: String,
    is_new: bool,
    words: Vec<String>,
    /// What its words are bound to in its file.
    bound: BTreeMap<String, Bound>,
}

/// What a name stands for in a file of tests.
#[derive(Debug, PartialEq, Eq)]
enum Bound {
    /// What the file itself defines.
    Here,
    /// What it imports: the last part of where from, if that can be told.
    From(String),
}

impl Text {
    /// Whether this test means by all its names what `other` means by them. Where a module lies may change with the test.
    fn means_the_same(&self, other: &Self) -> bool {
        other.bound.iter().all(|(name, now)| match (self.bound.get(name), now) {
            (None | Some(Bound::From(_)), Bound::Here) => false,
            (Some(Bound::From(from)), Bound::From(to)) => from.is_empty() || to.is_empty() || from == to,
            _ => true,
        })
    }
}

impl Moves {
    /// Whether this test is found again, or may be gone.
    pub(super) fn has(&self, id: &str) -> bool {
        self.moved.contains_key(id) || self.has_case(id) || self.let_go.contains(id)
    }

    /// Whether it is an old case of a test that has other cases now.
    pub(super) fn has_case(&self, id: &str) -> bool {
        self.cases.values().any(|ids| ids.contains(id))
    }

    /// What became of them. `old`: the head with the base's tests; `red`: the base with the head's.
    pub(super) fn settled(&self, old: &Run, red: &Run) -> Result<Settled, Refusal> {
        let mut settled = Settled::default();
        let mut told = Vec::new();
        let cut = |id: &str| text::cap_line(id, WIDTH);
        for (id, new) in &self.moved {
            if !old.report.passed(id) {
                return Err(format!(
                    "{id} is {new} now, and where it was it does not pass with your change. Keep it where it is, or move it in a \
                     change of its own."
                ));
            }
            settled.known.insert(new.clone());
            told.push(format!("{} is {} now, with the same text", cut(id), cut(new)));
        }
        let none = BTreeSet::new();
        for (test, gone) in &self.cases {
            let new = self.new_cases.get(test).unwrap_or(&none);
            let fallen: Vec<&String> = gone.iter().filter(|id| !old.report.passed(id)).collect();
            let red: BTreeSet<&String> = new.iter().filter(|id| !red.report.passed(id)).collect();
            if !fallen.is_empty() && red.is_empty() || new.len() < gone.len() {
                return Err(format!(
                    "{test} has lost {} of its cases, as {}, and no new one demands more. Bring them back; where the demand \
                     itself changed, the new case must fail on the base.",
                    gone.len(),
                    gone.iter().next().map_or("", String::as_str),
                ));
            }
            for id in &fallen {
                let line = old.report.failure(id).map_or("it does not run", |failure| failure.line.as_str());
                settled.other.push(((*id).clone(), line.to_owned()));
            }
            // One for one: a case under another name asks for nothing new.
            let stay = gone.len() - fallen.len();
            if stay > 0 {
                told.push(format!("{} has other cases now in place of {stay} that still hold", cut(test)));
            }
            let green: Vec<&String> = new.iter().filter(|id| !red.contains(id)).collect();
            settled.known.extend(green.into_iter().take(stay).cloned());
        }
        let more = told.len().saturating_sub(SHOWN);
        told.truncate(SHOWN);
        if more > 0 {
            told.push(format!("{more} more tests were moved or have other cases"));
        }
        settled.told = told;
        Ok(settled)
    }
}

impl Making<'_> {
    /// Looks for tests that the head does not report in the files that changed.
    pub(super) async fn moves(
        &self,
        suite: &Suite,
        (base, head): (&Run, &Run),
        changed: &[Changed],
        inline: &[Inline],
        (base_tree, head_tree): (&str, &str),
    ) -> Result<Moves, ServiceError> {
        let gone = base.report.with(|fate| *fate != Fate::Skipped).into_iter();
        let gone: BTreeSet<&str> = gone.filter(|id| !head.report.tests.contains_key(*id)).collect();
        let mut moves = Moves::default();
        if gone.is_empty() || !head.is_whole() {
            return Ok(moves);
        }
        let new: BTreeSet<&str> = head.report.with(|fate| *fate == Fate::Passed).into_iter().collect();
        let new: BTreeSet<&str> = new.into_iter().filter(|id| !base.report.tests.contains_key(*id)).collect();
        let runner = suite.runner.as_ref();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for change in changed {
            let path = &change.path;
            if !self.is_test(path) && !inline.iter().any(|file| file.path == *path) {
                continue;
            }
            let Some(language) = Language::of(path) else { continue };
            let sides = [
                (&gone, base_tree, change.status != 'A', &mut before),
                (&new, head_tree, change.status != 'D', &mut after),
            ];
            for (ids, tree, there, found) in sides {
                let content = self.content(tree, path, there).await?;
                texts(runner, language, (path, change.status == 'A' || change.status == 'D'), &content, ids, found);
            }
        }
        let family = |id: &str| family(runner, id).to_owned();
        for text in &before {
            let same = |other: &&Text| {
                let (from, to) = (family(&text.id), family(&other.id));
                from != to
                    && text.words == other.words
                    && text.means_the_same(other)
                    && text.id[from.len()..] == other.id[to.len()..]
            };
            let free = |other: &&Text| !moves.moved.values().any(|taken| *taken == other.id);
            if let Some(other) = after.iter().filter(same).find(free) {
                moves.moved.insert(text.id.clone(), other.id.clone());
                let files = [text, other].into_iter().filter(|text| text.is_new).map(|text| text.path.clone());
                moves.files.extend(files);
            } else if after.iter().any(|other| is_case(runner, &text.id, &other.id)) {
                moves.cases.entry(family(&text.id)).or_default().insert(text.id.clone());
            }
        }
        for test in moves.cases.keys() {
            let new = after.iter().filter(|text| family(&text.id) == *test).map(|text| text.id.clone());
            moves.new_cases.insert(test.clone(), new.collect());
        }
        Ok(moves)
    }
}

/// The texts of the tests `ids` that stand in a file.
fn texts(
    runner: &dyn Runner,
    language: Language,
    (path, is_new): (&str, bool),
    content: &str,
    ids: &BTreeSet<&str>,
    found: &mut Vec<Text>,
) {
    let mut bodies: Option<Vec<(String, Vec<String>)>> = None;
    for id in ids.iter().filter(|id| runner.holds(path, content, id)) {
        let bodies = bodies.get_or_insert_with(|| assertions::texts(language, content));
        let title = runner.title(id);
        let words = bodies.iter().find(|(name, _)| assertions::is_title(language, title, name)).map(|(_, words)| words);
        let Some(words) = words.cloned() else { continue };
        let bound = bound(content, &words);
        found.push(Text { id: (*id).to_owned(), path: path.to_owned(), is_new, words, bound });
    }
}

/// What the words of a test are bound to in the lines of its file.
fn bound(content: &str, words: &[String]) -> BTreeMap<String, Bound> {
    let name = |word: &&String| word.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let words: BTreeSet<&String> = words.iter().filter(name).collect();
    let mut bound = BTreeMap::new();
    for line in content.lines().map(str::trim) {
        let imports = ["import ", "from ", "use ", "pub use "].iter().any(|word| line.starts_with(word))
            || line.contains("require(")
            || line.contains("} from ");
        let has = |word: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word);
        for word in words.iter().filter(|word| has(word)) {
            if imports {
                bound.entry((*word).clone()).or_insert_with(|| Bound::From(source(line, word)));
            } else if symbols::defines(line, word) {
                bound.insert((*word).clone(), Bound::Here);
            }
        }
    }
    bound
}

/// The last part of where an import takes `word` from: `pricing` of `from shop.pricing import total` and of
/// `import { total } from '../shop/pricing.js'`. Empty: it cannot be told.
fn source(line: &str, word: &str) -> String {
    let quoted = line.rsplit(['\'', '"', '`']).nth(1).filter(|_| line.contains(['\'', '"']));
    if let Some(path) = quoted {
        let name = path.rsplit('/').next().unwrap_or(path);
        return name.split('.').next().unwrap_or(name).to_owned();
    }
    let python = line.strip_prefix("from ").and_then(|rest| rest.split_once(" import "));
    match python {
        Some((module, _)) if !module.ends_with(word) => module.rsplit('.').next().unwrap_or(module).trim().to_owned(),
        _ => String::new(),
    }
}

/// The id of a test without what tells its cases apart: `tests/a.py::test_a` of `tests/a.py::test_a[1-2]`.
pub(super) fn family<'a>(runner: &dyn Runner, id: &'a str) -> &'a str {
    let title = runner.title(id);
    // The title is a part of the id; where it stands tells more than what it says.
    let start = (title.as_ptr() as usize).wrapping_sub(id.as_ptr() as usize);
    id.get(..start.saturating_add(title.len())).unwrap_or(id)
}

/// Whether two ids are cases of one test.
fn is_case(runner: &dyn Runner, one: &str, other: &str) -> bool {
    let test = family(runner, one);
    test.len() < one.len() && test == family(runner, other)
}
