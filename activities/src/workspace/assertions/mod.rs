//! Finds the assertions of tests in their source, and turns them: expects another literal, or the opposite.
//!
//! A test that stays green with its assertions turned asserts nothing, whatever hides that: an object that equals everything,
//! a swallowed exception, a runner that reports what it likes. Only turns that no honest test survives are made: one side of an
//! equality that is a literal is changed, everything else is negated or left alone.

mod braces;
pub(super) mod inline;
mod lex;
mod literal;
mod python;
mod without;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub(super) use lex::Language;
use lex::{Kind, Token, lex};
pub(super) use without::more_than_less;

/// A change of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edit {
    at: Range<usize>,
    with: String,
}

impl Edit {
    fn insert(at: usize, with: &str) -> Self {
        Self { at: at..at, with: with.to_owned() }
    }

    fn replace(token: &Token<'_>, with: &str) -> Self {
        Self { at: token.at.clone(), with: with.to_owned() }
    }
}

/// An assertion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Assertion {
    line: usize,
    /// Index of its first token.
    at: usize,
    /// It compares literals with each other, and holds.
    constant: bool,
    /// `assert (x, "message")`: a pair is always true.
    pair: bool,
    /// What it expects, changed. Empty: it expects no literal.
    literals: Vec<Edit>,
    /// Its opposite. Empty: there is none.
    opposite: Vec<Edit>,
}

/// What is wrong with a test, before it has run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It asserts nothing.
    Nothing,
    /// All it asserts holds whatever the code does; the line of the first such assertion.
    Constant(usize),
    /// An assertion of a pair at this line.
    Pair(usize),
    /// At this line a failing assertion is caught and dropped.
    Swallowed(usize),
}

/// What the source of some tests tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// Faults, by the test's title.
    pub(super) faults: Vec<(String, Fault)>,
    /// The source with the assertions turned.
    pub(super) turned: String,
    /// The source with assertions negated and no literal changed: it compiles wherever the tests do.
    pub(super) negated: String,
    /// Literals that were changed in it.
    pub(super) literals: u32,
    /// Titles of the tests that must be red now.
    pub(super) red: BTreeSet<String>,
    /// How many assertions were found, by title. A test whose body was not found is not among them.
    pub(super) assertions: BTreeMap<String, usize>,
    /// What the tests call, but for what asks for something, by title.
    pub(super) calls: BTreeMap<String, BTreeSet<String>>,
}

/// Looks at the tests of these titles. `added`: whether the change brings a name itself, outside the tests; a call of it asks
/// for nothing, whatever its name.
pub(super) fn look(language: Language, source: &str, titles: &BTreeSet<&str>, added: &dyn Fn(&str) -> bool) -> Looked {
    let tokens = lex(language, source);
    let mut by_title: BTreeMap<&str, Vec<Range<usize>>> = BTreeMap::new();
    for (name, body) in bodies(language, &tokens) {
        if let Some(title) = titles.iter().find(|title| is_title(language, title, name)) {
            by_title.entry(title).or_default().push(body);
        }
    }
    let mut looked = Looked::default();
    let mut edits: Vec<Edit> = Vec::new();
    let mut negations: Vec<Edit> = Vec::new();
    for (title, bodies) in by_title {
        let mut all_turned = true;
        for body in bodies {
            let found = match language {
                Language::Python => python::assertions(&tokens, body.clone()),
                _ => braces::assertions(language, &tokens, body.clone()),
            };
            let swallowed = match language {
                Language::Python => python::swallowed(&tokens, body.clone()),
                _ => braces::swallowed(&tokens, body.clone()),
            };
            *looked.assertions.entry(title.to_owned()).or_default() += found.len();
            let calls = looked.calls.entry(title.to_owned()).or_default();
            calls.extend(called(&tokens[body.clone()]).filter(|name| !asks(name)).map(str::to_owned));
            let constant = found.iter().find(|assertion| assertion.constant);
            let elsewhere = asks_elsewhere(&tokens, &body, &found, added);
            let fault = if let Some(pair) = found.iter().find(|assertion| assertion.pair) {
                Some(Fault::Pair(pair.line))
            } else if let Some(line) = swallowed {
                Some(Fault::Swallowed(line))
            } else if let (Some(first), true) = (constant, found.iter().all(|assertion| assertion.constant)) {
                // What a helper asserts may still make a test of it.
                (!elsewhere).then_some(Fault::Constant(first.line))
            } else if found.is_empty() && !elsewhere {
                Some(Fault::Nothing)
            } else {
                None
            };
            looked.faults.extend(fault.map(|fault| (title.to_owned(), fault)));
            let literals: Vec<&Edit> = found.iter().flat_map(|assertion| &assertion.literals).collect();
            negations.extend(found.iter().flat_map(|assertion| &assertion.opposite).cloned());
            if literals.is_empty() {
                // The opposite of the first would hide the others, so all or none: each fails by itself.
                let opposite: Vec<&Edit> = found.iter().flat_map(|assertion| &assertion.opposite).collect();
                all_turned &= !opposite.is_empty();
                edits.extend(opposite.into_iter().cloned());
            } else {
                looked.literals += u32::try_from(literals.len()).unwrap_or(u32::MAX);
                edits.extend(literals.into_iter().cloned());
            }
        }
        if all_turned {
            looked.red.insert(title.to_owned());
        }
    }
    looked.turned = edited(source, edits);
    looked.negated = edited(source, negations);
    looked
}

/// Tests with their names and all their tokens.
fn bodies<'a>(language: Language, tokens: &[Token<'a>]) -> Vec<(&'a str, Range<usize>)> {
    match language {
        Language::Python => python::bodies(tokens),
        _ => braces::bodies(language, tokens),
    }
}

/// The source in which the functions that are declared in lines for which `here` holds do nothing. `None`: there are none, or
/// none that we know how to empty.
pub(super) fn hollow(language: Language, source: &str, here: &dyn Fn(usize) -> bool) -> Option<String> {
    let tokens = lex(language, source);
    let inner = match language {
        Language::Python => python::inner(&tokens),
        _ => braces::inner(language, &tokens),
    };
    let inner = inner.into_iter().filter(|(declared, _)| here(tokens[*declared].line));
    let edits: Vec<Edit> = inner
        .filter_map(|(declared, at)| {
            let with = match language {
                Language::Python => "return None".to_owned(),
                Language::JavaScript if !source[..at.start].ends_with('{') => "undefined".to_owned(),
                _ => braces::nothing(language, source, &tokens, declared, at.start)?,
            };
            Some(Edit { at, with: format!(" {with} ") })
        })
        .collect();
    (!edits.is_empty()).then(|| edited(source, edits))
}

/// Whether the test of this title is the same in two sources, but for white space and comments. One that is not found in both
/// is not.
pub(super) fn is_same(language: Language, before: &str, after: &str, title: &str) -> bool {
    let of = |source| {
        let tokens = lex(language, source);
        let bodies = bodies(language, &tokens).into_iter().filter(|(name, _)| is_title(language, title, name));
        let texts =
            bodies.flat_map(|(_, body)| tokens[body].iter().map(|token| token.text.to_owned()).collect::<Vec<_>>());
        texts.collect::<Vec<_>>()
    };
    let before = of(before);
    !before.is_empty() && before == of(after)
}

/// The tests of a source: their names, and their words without these, comments and white space.
pub(super) fn texts(language: Language, source: &str) -> Vec<(String, Vec<String>)> {
    let tokens = lex(language, source);
    let texts = bodies(language, &tokens).into_iter().map(|(name, body)| {
        let own = tokens[body.clone()].iter().position(|token| token.text.trim_matches(['"', '\'', '`']) == name);
        let words = tokens[body].iter().enumerate().filter(|(at, _)| Some(*at) != own);
        (name.to_owned(), words.map(|(_, token)| token.text.to_owned()).collect())
    });
    texts.collect()
}

/// What a test demands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Demanded {
    /// The literals that it expects, as they are written.
    pub(super) literals: Vec<String>,
    /// The lines of its assertions.
    pub(super) lines: Vec<String>,
    /// All words that stand in other lines of it.
    pub(super) elsewhere: BTreeSet<String>,
}

impl Demanded {
    /// Whether `self` expects fewer literals than `before`, and one of those that it lost is not even bound to a name there.
    pub(super) fn is_less_than(&self, before: &Self) -> bool {
        let mut left = self.literals.clone();
        let lost = before.literals.iter().filter(|literal| match left.iter().position(|known| known == *literal) {
            Some(at) => {
                left.swap_remove(at);
                false
            }
            None => !literal.is_empty(),
        });
        let lost: Vec<&String> = lost.collect();
        let bound = |literal: &str| self.elsewhere.contains(literal.trim_start_matches('-'));
        self.literals.len() < before.literals.len() && lost.into_iter().any(|literal| !bound(literal))
    }
}

/// What the test of this title demands; `None`: it is not found.
pub(super) fn demanded(language: Language, source: &str, title: &str) -> Option<Demanded> {
    let tokens = lex(language, source);
    let lines: Vec<&str> = source.lines().collect();
    let mut demanded: Option<Demanded> = None;
    for (_, body) in bodies(language, &tokens).into_iter().filter(|(name, _)| is_title(language, title, name)) {
        let found = match language {
            Language::Python => python::assertions(&tokens, body.clone()),
            _ => braces::assertions(language, &tokens, body.clone()),
        };
        let demanded = demanded.get_or_insert_with(Demanded::default);
        let literals = found.iter().flat_map(|assertion| &assertion.literals);
        demanded.literals.extend(literals.map(|edit| source[edit.at.clone()].to_owned()));
        let asserting: BTreeSet<usize> = found.iter().map(|assertion| assertion.line).collect();
        let line = |at: &usize| lines.get(at.checked_sub(1)?).map(|line| line.trim().to_owned());
        demanded.lines.extend(asserting.iter().filter_map(line));
        let others = tokens[body].iter().filter(|token| !asserting.contains(&token.line));
        demanded.elsewhere.extend(others.map(|token| token.text.to_owned()));
    }
    demanded
}

/// The source with other names in place of some: white space and the names that `is_other` tells do not count.
pub(super) fn without_names(language: Language, line: &str, is_other: &dyn Fn(&str) -> bool) -> String {
    let tokens = lex(language, line);
    let words = tokens.iter().map(|token| if is_other(token.text) { "_" } else { token.text });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether the source has a test of this title.
pub(super) fn has(language: Language, source: &str, title: &str) -> bool {
    bodies(language, &lex(language, source)).iter().any(|(name, _)| is_title(language, title, name))
}

/// Whether a text is more than comments and blank lines; strings that stand alone are documentation.
pub(super) fn is_code(language: Language, text: &str) -> bool {
    lex(language, text).iter().any(|token| token.kind != Kind::Text)
}

/// Whether a name in the source is that of a test. JavaScript's are sentences, and come after those of the blocks around them.
pub(super) fn is_title(language: Language, title: &str, name: &str) -> bool {
    title == name
        || language == Language::JavaScript
            && !name.is_empty()
            && title.strip_suffix(name).is_some_and(|before| before.ends_with([' ', '>']))
}

/// Words that ask for something: of helpers, of libraries we do not know, of tests that fail by themselves.
const ASKING: [&str; 16] = [
    "assert", "expect", "verify", "should", "check", "ensure", "raises", "fail", "must", "require", "panic", "unwrap",
    "throws", "error", "fatal", "matches",
];

/// Whether a word asks for something.
fn asks(word: &str) -> bool {
    let word = word.to_lowercase();
    ASKING.iter().any(|asks| word.contains(asks))
}

/// What is called, as a function or a macro.
fn called<'a>(tokens: &'a [Token<'a>]) -> impl Iterator<Item = &'a str> {
    tokens
        .windows(2)
        .skip(2)
        .filter(|two| two[0].kind == Kind::Word && (two[1].is("(") || two[1].is("!")))
        .map(|two| two[0].text)
}

/// Whether a test calls what asks for something, beside the assertions that were `found` in it. A name is no call, and what the
/// test binds itself or the change brings asks for nothing.
fn asks_elsewhere(
    tokens: &[Token<'_>],
    body: &Range<usize>,
    found: &[Assertion],
    added: &dyn Fn(&str) -> bool,
) -> bool {
    const BINDING: [&str; 7] = ["let", "const", "var", "mut", "for", "as", "lambda"];
    let bound = |name: &str| {
        (body.start..body.end).any(|at| {
            let next = tokens.get(at + 1).filter(|_| at + 1 < body.end);
            tokens[at].kind == Kind::Word
                && tokens[at].text == name
                && (next.is_some_and(|next| next.is("=") || next.is(":="))
                    || at > body.start && BINDING.iter().any(|word| tokens[at - 1].is(word)))
        })
    };
    // What `expect(...)` or `assert.equal(...)` are made of.
    let of = |assertion: &Assertion| match tokens[assertion.at].is("if") {
        // `if got != want { t.Error(got) }` of Go, with all that stands in it.
        true => (assertion.at..body.end)
            .find(|at| {
                tokens[*at].is("{")
                    && closing(tokens, *at).is_some_and(|close| close + 1 >= body.end || tokens[close + 1].first)
            })
            .and_then(|open| closing(tokens, open))
            .unwrap_or(assertion.at),
        false => assertion.at + 2,
    };
    let known: Vec<Range<usize>> = found.iter().map(|assertion| assertion.at..of(assertion) + 1).collect();
    let known = |at: usize| known.iter().any(|range| range.contains(&at));
    // `require('../src/cart')`
    let loads = |at: usize| tokens[at].is("require") && tokens.get(at + 1).is_some_and(|open| open.is("("));
    (body.start + 2..body.end).any(|at| {
        let token = &tokens[at];
        let next = tokens.get(at + 1).filter(|_| at + 1 < body.end);
        // `x.should.equal(3)`
        let property = token.is("should") && tokens[at - 1].is(".");
        let call = next.is_some_and(|next| next.is("(") || next.is("!"));
        token.kind == Kind::Word
            && (call || property)
            && asks(token.text)
            && !known(at)
            && !loads(at)
            && !bound(token.text)
            && !added(token.text)
    })
}

/// The source with these edits, which do not overlap.
fn edited(source: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|edit| (edit.at.start, edit.at.end));
    edits.dedup();
    let mut out = String::with_capacity(source.len() + 64);
    let mut done = 0;
    for edit in edits {
        if edit.at.start < done {
            continue;
        }
        out.push_str(&source[done..edit.at.start]);
        out.push_str(&edit.with);
        done = edit.at.end;
    }
    out.push_str(&source[done..]);
    out
}

/// The index of the bracket that closes the one at `open`.
fn closing(tokens: &[Token<'_>], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        if token.kind == Kind::Mark {
            match token.text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        return Some(index);
                    }
                }
                _ => {}
            }
        }
    }
    None
}

/// The parts of `range` between marks `at` that are in no bracket. Empty parts are left out.
fn split(tokens: &[Token<'_>], range: Range<usize>, at: &str) -> Vec<Range<usize>> {
    let (mut parts, mut start, mut depth) = (Vec::new(), range.start, 0_usize);
    for index in range.clone() {
        match tokens[index].text {
            "(" | "[" | "{" if tokens[index].kind == Kind::Mark => depth += 1,
            ")" | "]" | "}" if tokens[index].kind == Kind::Mark => depth = depth.saturating_sub(1),
            text if text == at && depth == 0 && tokens[index].kind == Kind::Mark => {
                parts.push(start..index);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(start..range.end);
    parts.retain(|part| !part.is_empty());
    parts
}

/// Indexes of the tokens of `range` that are in no bracket.
fn outside(tokens: &[Token<'_>], range: Range<usize>) -> Vec<usize> {
    let mut depth = 0_usize;
    let mut found = Vec::new();
    for index in range {
        let token = &tokens[index];
        match token.text {
            "(" | "[" | "{" if token.kind == Kind::Mark => depth += 1,
            ")" | "]" | "}" if token.kind == Kind::Mark => depth = depth.saturating_sub(1),
            _ if depth == 0 => found.push(index),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests;
