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

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub(super) use lex::Language;
use lex::{Kind, Token, lex};

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
    /// Literals that were changed in it.
    pub(super) literals: u32,
    /// Titles of the tests that must be red now.
    pub(super) red: BTreeSet<String>,
    /// How many assertions were found, by title.
    pub(super) assertions: BTreeMap<String, usize>,
}

/// Looks at the tests of these titles.
pub(super) fn look(language: Language, source: &str, titles: &BTreeSet<&str>) -> Looked {
    let tokens = lex(language, source);
    let bodies = match language {
        Language::Python => python::bodies(&tokens),
        _ => braces::bodies(language, &tokens),
    };
    let mut by_title: BTreeMap<&str, Vec<Range<usize>>> = BTreeMap::new();
    for (name, body) in bodies {
        if let Some(title) = titles.iter().find(|title| is_title(language, title, name)) {
            by_title.entry(title).or_default().push(body);
        }
    }
    let mut looked = Looked::default();
    let mut edits: Vec<Edit> = Vec::new();
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
            let constant = found.iter().find(|assertion| assertion.constant);
            let fault = if let Some(pair) = found.iter().find(|assertion| assertion.pair) {
                Some(Fault::Pair(pair.line))
            } else if let Some(line) = swallowed {
                Some(Fault::Swallowed(line))
            } else if let (Some(first), true) = (constant, found.iter().all(|assertion| assertion.constant)) {
                // What a helper asserts may still make a test of it.
                (!asks_elsewhere(&tokens[body.clone()], found.len())).then_some(Fault::Constant(first.line))
            } else if found.is_empty() && !asks_elsewhere(&tokens[body.clone()], 0) {
                Some(Fault::Nothing)
            } else {
                None
            };
            looked.faults.extend(fault.map(|fault| (title.to_owned(), fault)));
            let literals: Vec<&Edit> = found.iter().flat_map(|assertion| &assertion.literals).collect();
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
    looked
}

/// Whether a text is more than comments and blank lines; strings that stand alone are documentation.
pub(super) fn is_code(language: Language, text: &str) -> bool {
    lex(language, text).iter().any(|token| token.kind != Kind::Text)
}

/// Whether a name in the source is that of a test. JavaScript's are sentences, and come after those of the blocks around them.
fn is_title(language: Language, title: &str, name: &str) -> bool {
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

/// Whether there are more calls that ask for something than the `known` ones.
fn asks_elsewhere(tokens: &[Token<'_>], known: usize) -> bool {
    let asking = tokens.iter().skip(2).filter(|token| {
        let word = token.text.to_lowercase();
        token.kind == Kind::Word && ASKING.iter().any(|asks| word.contains(asks))
    });
    asking.count() > known
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
