//! Tests and assertions of Python: functions, `assert`, the methods of unittest, pytest and mock.

use std::ops::Range;

use super::literal::{Side, constant, farther, of_equality, side, unmatched};
use super::{Assertion, Edit, Kind, Language, Token, closing, outside, split};

const PYTHON: Language = Language::Python;

/// Functions with their names and all their tokens.
pub(super) fn bodies<'a>(tokens: &[Token<'a>]) -> Vec<(&'a str, Range<usize>)> {
    let mut bodies = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let Some(name) = tokens.get(index + 1).filter(|name| token.is("def") && name.kind == Kind::Word) else {
            continue;
        };
        let column = if token.first { token.column } else { tokens[index.saturating_sub(1)].column };
        bodies.push((name.text, index..block_end(tokens, index, column)));
    }
    bodies
}

/// Functions: the token that declares them, and where in the source their statements stand.
pub(super) fn inner(tokens: &[Token<'_>]) -> Vec<(usize, Range<usize>)> {
    let inner = bodies(tokens).into_iter().filter_map(|(_, body)| {
        let top = outside(tokens, body.start..body.end);
        let colon = top.into_iter().find(|at| tokens[*at].is(":"))?;
        let (first, last) = (tokens.get(colon + 1)?, tokens.get(body.end - 1)?);
        (colon + 1 < body.end).then_some((body.start, first.at.start..last.at.end))
    });
    inner.collect()
}

/// Where the block that begins at `start` ends: at the first line that is indented no deeper than `column`.
fn block_end(tokens: &[Token<'_>], start: usize, column: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(start) {
        if index > start && token.first && depth == 0 && token.column <= column {
            return index;
        }
        match token.text {
            "(" | "[" | "{" if token.kind == Kind::Mark => depth += 1,
            ")" | "]" | "}" if token.kind == Kind::Mark => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    tokens.len()
}

/// Where the statement at `start` ends.
fn statement_end(tokens: &[Token<'_>], start: usize, body_end: usize) -> usize {
    let mut depth = 0_usize;
    for index in start + 1..body_end {
        let token = &tokens[index];
        if depth == 0 && (token.first && !tokens[index - 1].is("\\") || token.is(";")) {
            return index;
        }
        match token.text {
            "(" | "[" | "{" if token.kind == Kind::Mark => depth += 1,
            ")" | "]" | "}" if token.kind == Kind::Mark => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    body_end
}

/// The assertions in `body`.
pub(super) fn assertions(tokens: &[Token<'_>], body: Range<usize>) -> Vec<Assertion> {
    let mut found = Vec::new();
    let unreached: Vec<Range<usize>> = body.clone().filter_map(|at| raising(tokens, at, body.end)).collect();
    for index in body.clone() {
        let token = &tokens[index];
        if token.is("assert") && (token.first || tokens[index - 1].is(":") || tokens[index - 1].is(";")) {
            let end = statement_end(tokens, index, body.end);
            found.extend(plain(tokens, index + 1..end).map(|it| Assertion { line: token.line, at: index, ..it }));
        } else if token.kind == Kind::Word && tokens.get(index + 1).is_some_and(|next| next.is("(")) {
            let Some(close) = closing(tokens, index + 1) else { continue };
            let arguments = split(tokens, index + 2..close, ",");
            found.extend(called(tokens, index, &arguments).map(|it| Assertion { line: token.line, at: index, ..it }));
        }
    }
    for assertion in found.iter_mut().filter(|it| unreached.iter().any(|block| block.contains(&it.at))) {
        assertion.literals.clear();
        assertion.opposite.clear();
    }
    found
}

/// The block of `with pytest.raises(...):` at `index`. What stands in it behind the call that raises is never reached, and an assertion
/// that raises there is what is wanted.
fn raising(tokens: &[Token<'_>], index: usize, end: usize) -> Option<Range<usize>> {
    const RAISING: [&str; 3] = ["raises", "assertRaises", "assertRaisesRegex"];
    let with = tokens.get(index).filter(|token| token.is("with") && token.first)?;
    let block_end = block_end(tokens, index, with.column).min(end);
    let colon = outside(tokens, index..block_end).into_iter().find(|at| tokens[*at].is(":"))?;
    let raises = tokens[index..colon].iter().any(|token| RAISING.iter().any(|name| token.is(name)));
    raises.then_some(colon + 1..block_end)
}

/// `assert <expression>[, <message>]`.
fn plain(tokens: &[Token<'_>], range: Range<usize>) -> Option<Assertion> {
    let expression = split(tokens, range, ",").into_iter().next()?;
    let first = &tokens[expression.start];
    let whole = closing(tokens, expression.start).is_some_and(|close| close + 1 == expression.end);
    let pair = first.is("(") && whole && split(tokens, expression.start + 1..expression.end - 1, ",").len() > 1;
    let last = &tokens[expression.end - 1];
    let opposite = vec![Edit::insert(first.at.start, "not ("), Edit::insert(last.at.end, ")")];
    let top = outside(tokens, expression.clone());
    let equals: Vec<usize> = top.iter().copied().filter(|index| tokens[*index].is("==")).collect();
    let joined = ["!=", "<", ">", "<=", ">=", "and", "or", "not", "in", "is", "if", "else", "lambda"];
    let joined = top.iter().any(|index| joined.iter().any(|word| tokens[*index].is(word)));
    let whole_side = side(PYTHON, tokens, expression.clone(), false);
    let never = expression.len() == 1 && ["False", "None", "0"].contains(&first.text);
    let constant = !never && !whole_side.named && whole_side.literal && !pair;
    let literals = match equals[..] {
        [at] if !joined => of_equality(&[
            side(PYTHON, tokens, expression.start..at, false),
            side(PYTHON, tokens, at + 1..expression.end, false),
        ]),
        _ => Vec::new(),
    };
    let opposite = if never || constant || pair { Vec::new() } else { opposite };
    Some(Assertion { constant, pair, literals, opposite, ..Assertion::default() })
}

/// Methods that compare their first two arguments for equality, or look for a literal.
const EQUAL: [&str; 17] = [
    "assertEqual",
    "assertEquals",
    "assertAlmostEqual",
    "assertAlmostEquals",
    "assertListEqual",
    "assertDictEqual",
    "assertTupleEqual",
    "assertSequenceEqual",
    "assertSetEqual",
    "assertCountEqual",
    "assertMultiLineEqual",
    "assertRegex",
    "assert_equal",
    "assert_array_equal",
    "assert_almost_equal",
    "assertIs",
    "assertRaisesRegex",
];

/// Methods and their opposites.
const OPPOSITES: [(&str, &str); 16] = [
    ("assertTrue", "assertFalse"),
    ("assertFalse", "assertTrue"),
    ("assertNotEqual", "assertEqual"),
    ("assertIn", "assertNotIn"),
    ("assertNotIn", "assertIn"),
    ("assertIsNone", "assertIsNotNone"),
    ("assertIsNotNone", "assertIsNone"),
    ("assertIs", "assertIsNot"),
    ("assertIsNot", "assertIs"),
    ("assertGreater", "assertLessEqual"),
    ("assertGreaterEqual", "assertLess"),
    ("assertLess", "assertGreaterEqual"),
    ("assertLessEqual", "assertGreater"),
    ("assertIsInstance", "assertNotIsInstance"),
    ("assertNotIsInstance", "assertIsInstance"),
    ("assertEqual", "assertNotEqual"),
];

/// A call: a method of unittest, of a mock, or `raises(..., match=...)`.
fn called(tokens: &[Token<'_>], index: usize, arguments: &[Range<usize>]) -> Option<Assertion> {
    let name = tokens[index].text;
    let sides = |keywords: bool| -> Vec<Side> {
        arguments.iter().map(|argument| side(PYTHON, tokens, argument.clone(), keywords)).collect()
    };
    if name == "raises" || name == "assertRaises" || name == "assertWarns" {
        let wanted = arguments.iter().find(|argument| tokens[argument.start].is("match"));
        let literals = wanted.map_or(Vec::new(), |argument| unmatched(tokens, argument.clone()));
        return Some(Assertion { literals, ..Assertion::default() });
    }
    if name.starts_with("assert_called") || name.starts_with("assert_any_call") || name.starts_with("assert_has_calls")
    {
        let literals = sides(true).into_iter().flat_map(|side| side.edits).collect();
        return Some(Assertion { literals, ..Assertion::default() });
    }
    let opposite = OPPOSITES.iter().find(|(known, _)| *known == name);
    let opposite = opposite.map_or(Vec::new(), |(_, opposite)| vec![Edit::replace(&tokens[index], opposite)]);
    if EQUAL.contains(&name) {
        let sides = sides(false);
        let compared = sides.get(..2)?;
        let constant = constant(compared) && name != "assertRaisesRegex";
        let tolerance =
            |argument: &Range<usize>| tokens[argument.start].is("delta") || tokens[argument.start].is("places");
        let literals = if name.ends_with("Regex") {
            unmatched(tokens, arguments.get(1)?.clone())
        } else if name.to_lowercase().contains("almost") || arguments.iter().any(tolerance) {
            farther(tokens, of_equality(compared))
        } else {
            of_equality(compared)
        };
        let opposite = if constant { Vec::new() } else { opposite };
        return Some(Assertion { constant, literals, opposite, ..Assertion::default() });
    }
    if opposite.is_empty() {
        return None;
    }
    let sides = sides(false);
    let count = if matches!(name, "assertTrue" | "assertFalse" | "assertIsNone" | "assertIsNotNone") { 1 } else { 2 };
    let compared = sides.get(..count)?;
    // `assertTrue(False)` never holds: it marks a place that is not reached.
    let never =
        count == 1 && name == "assertTrue" && arguments.first().is_some_and(|first| tokens[first.start].is("False"));
    let constant = constant(compared) && !never;
    let opposite = if constant || never { Vec::new() } else { opposite };
    // `assertTrue(total(1) == 2)`: as a comparison of its own.
    let inner = (name == "assertTrue").then(|| plain(tokens, arguments.first()?.clone())).flatten();
    let literals = inner.map_or(Vec::new(), |inner| inner.literals);
    Some(Assertion { constant, literals, opposite, ..Assertion::default() })
}

/// The line of an `except` that drops whatever an assertion before it raises.
pub(super) fn swallowed(tokens: &[Token<'_>], body: Range<usize>) -> Option<usize> {
    const ALL: [&str; 4] = ["Exception", "BaseException", "AssertionError", "Error"];
    body.clone().find_map(|index| {
        let token = &tokens[index];
        let handler = token.is("except") && token.first;
        let colon = (index..body.end).find(|at| handler && tokens[*at].is(":"))?;
        let caught = &tokens[index + 1..colon];
        if !caught.is_empty() && !caught.iter().any(|token| ALL.contains(&token.text)) {
            return None;
        }
        let end = block_end(tokens, index, token.column).min(body.end);
        let dropped = tokens[colon + 1..end].iter().all(|token| {
            ["pass", "...", "continue", "return", "None"].iter().any(|word| token.is(word)) || token.kind == Kind::Text
        });
        let tried = (body.start..index).rev().find(|at| tokens[*at].is("try") && tokens[*at].column == token.column)?;
        let asserts =
            tokens[tried..index].iter().any(|token| token.kind == Kind::Word && token.text.starts_with("assert"));
        (dropped && asserts).then_some(token.line)
    })
}
