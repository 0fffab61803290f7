//! Literals in what an assertion compares, and others in their place.

use std::ops::Range;

use super::{Edit, Kind, Language, Token};

/// One side of a comparison.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// Its own literals, changed. Literals that are handed to a function are none of them: what it makes of another one is
    /// not known.
    pub(super) edits: Vec<Edit>,
    /// It has literals of its own, perhaps such as cannot be changed.
    pub(super) literal: bool,
    /// It has names: a value that is not known from the source.
    pub(super) named: bool,
}

/// Calls that make a value of their arguments and nothing else.
const MAKERS: [&str; 34] = [
    "approx",
    "Decimal",
    "Fraction",
    "Some",
    "Ok",
    "Err",
    "from",
    "vec",
    "BigInt",
    "BigDecimal",
    "set",
    "frozenset",
    "list",
    "tuple",
    "dict",
    "bytes",
    "closeTo",
    "objectContaining",
    "arrayContaining",
    "stringContaining",
    "valueOf",
    "of",
    "asList",
    "int",
    "int32",
    "int64",
    "uint",
    "uint32",
    "uint64",
    "float64",
    "Box",
    "Rc",
    "Arc",
    "date",
];

/// Those of them that stand for all values near to their first argument.
const NEARLY: [&str; 2] = ["approx", "closeTo"];

/// Words that are no names.
const PLAIN: [&str; 20] = [
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
    "new",
    "return",
    "typeof",
    "True",
    "False",
    "None",
    "true",
    "false",
    "null",
    "nil",
    "undefined",
    "as",
    "await",
];

/// Reads `range`. `keywords`: values after `name=` are compared too.
pub(super) fn side(language: Language, tokens: &[Token<'_>], range: Range<usize>, keywords: bool) -> Side {
    let mut side = Side::default();
    // `name or "nobody"`: which of them counts is not known.
    let mut either = false;
    // For each open bracket, whether literals inside belong to the side, and whether it is one of what is compared only nearly.
    let mut own = vec![(true, false)];
    let mut truths: Vec<(bool, Edit)> = Vec::new();
    for index in range.clone() {
        let token = &tokens[index];
        let before = (index > range.start).then(|| &tokens[index - 1]);
        let (inside, _) = own.last().copied().unwrap_or((true, false));
        match token.kind {
            Kind::Mark => match token.text {
                "||" | "&&" | "??" => either = true,
                "(" => {
                    let called = before.filter(|token| {
                        token.kind == Kind::Word && !PLAIN.contains(&token.text) || token.is(")") || token.is("]")
                    });
                    let nearly = called.is_some_and(|name| NEARLY.contains(&name.text));
                    own.push((inside && called.is_none_or(|name| MAKERS.contains(&name.text)), nearly));
                }
                "[" => {
                    let indexed = before.is_some_and(|token| {
                        token.kind == Kind::Word && !PLAIN.contains(&token.text)
                            || token.is(")")
                            || token.is("]")
                            || token.kind == Kind::Text
                    });
                    own.push((inside && !indexed, false));
                }
                "{" => own.push((inside, false)),
                // What follows says how near.
                "," => {
                    if let Some((inside, true)) = own.last_mut() {
                        *inside = false;
                    }
                }
                ")" | "]" | "}" if own.len() > 1 => {
                    own.pop();
                }
                _ => {}
            },
            Kind::Word => match token.text {
                "or" | "and" if language == Language::Python => either = true,
                "True" | "true" | "False" | "false" if inside => {
                    side.literal = true;
                    let (now, with) = match token.text {
                        "True" => (true, "False"),
                        "true" => (true, "false"),
                        "False" => (false, "True"),
                        _ => (false, "true"),
                    };
                    truths.push((now, Edit::replace(token, with)));
                }
                "None" | "null" | "undefined" if inside && language_has_any(language) => {
                    side.literal = true;
                    side.edits.push(Edit::replace(token, "\"~\""));
                }
                "nil" | "None" | "null" => side.literal = true,
                word if !PLAIN.contains(&word) => side.named |= !MAKERS.contains(&word),
                _ => {}
            },
            Kind::Woven => side.named = true,
            Kind::Number | Kind::Text | Kind::Character => {
                // `pair.0` of Rust, `places=3` of Python.
                let member = before.is_some_and(|token| token.is("."));
                let named = before.is_some_and(|token| token.is("=")) && !keywords;
                if inside && !member && !named {
                    side.literal = true;
                    let nearly = own.iter().any(|(_, nearly)| *nearly);
                    let with = if nearly { far(token) } else { None };
                    side.edits.extend(with.or_else(|| other(language, token)).filter(|_| !asked(tokens, index)));
                }
            }
        }
    }
    // `{True, False}` with both swapped is the same set.
    if truths.windows(2).all(|pair| pair[0].0 == pair[1].0) {
        side.edits.extend(truths.into_iter().map(|(_, edit)| edit));
    }
    if either {
        side.edits.clear();
    }
    side
}

/// Whether a method is called on the literal at `index`, which may make the same of another one: `"a,b".split(",")[0]`.
fn asked(tokens: &[Token<'_>], index: usize) -> bool {
    const KEEPING: [&str; 6] = ["to_string", "to_owned", "into", "as_str", "to_vec", "clone"];
    tokens.get(index + 1).is_some_and(|next| next.is("."))
        && tokens.get(index + 2).is_some_and(|method| !KEEPING.contains(&method.text))
}

/// Whether any value may stand where another stood.
fn language_has_any(language: Language) -> bool {
    matches!(language, Language::Python | Language::JavaScript)
}

/// The same edits with numbers so far off that no tolerance spans the distance.
pub(super) fn farther(tokens: &[Token<'_>], edits: Vec<Edit>) -> Vec<Edit> {
    let number = |edit: &Edit| {
        let at = tokens.binary_search_by_key(&edit.at.start, |token| token.at.start).ok()?;
        far(&tokens[at])
    };
    edits.into_iter().map(|edit| number(&edit).unwrap_or(edit)).collect()
}

/// A number far from this one: with a tolerance, whether absolute or a part of the number, the next one may be equal.
fn far(token: &Token<'_>) -> Option<Edit> {
    let text = token.text;
    let based = text.starts_with('0') && text[1..].starts_with(|c: char| c.is_ascii_alphabetic());
    if token.kind != Kind::Number || based {
        return None;
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let number: u64 = text[..end].replace('_', "").parse().ok()?;
    // An exponent would bring it near again.
    let rest = text[end..].split(['e', 'E']).next().unwrap_or_default();
    Some(Edit::replace(token, &format!("{}{rest}", number.checked_mul(3)?.checked_add(1_000_003)?)))
}

/// Patterns that match nothing, in place of the texts that `range` is made of. At the end of a text a mark may be one of several
/// ways to match, or one time more than none.
pub(super) fn unmatched(tokens: &[Token<'_>], range: Range<usize>) -> Vec<Edit> {
    let texts = tokens[range].iter().filter(|token| token.kind == Kind::Text);
    let edits = texts.map(|token| {
        let prefix: String = token.text.chars().take_while(char::is_ascii_alphabetic).collect();
        Edit::replace(token, &format!("{prefix}\"(?!)\""))
    });
    edits.collect()
}

/// Another literal in place of this one. All numbers move in one direction, so that a set of them becomes another set.
fn other(language: Language, token: &Token<'_>) -> Option<Edit> {
    // What comes after these may not fit.
    const LAST: [u64; 7] = [127, 255, 32_767, 65_535, 2_147_483_647, 4_294_967_295, 9_223_372_036_854_775_807];
    match token.kind {
        Kind::Number => {
            let text = token.text;
            if text.starts_with('0') && text[1..].starts_with(|c: char| c.is_ascii_alphabetic()) {
                return None;
            }
            let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let number: u64 = text[..digits].parse().ok()?;
            let next = if LAST.contains(&number) { number - 2 } else { number.checked_add(1)? };
            Some(Edit::replace(token, &format!("{next}{}", &text[digits..])))
        }
        Kind::Text => {
            let hashes = token.text.len() - token.text.trim_end_matches('#').len();
            let quotes = token.text.trim_end_matches('#');
            let quote =
                if quotes.ends_with("\"\"\"") && quotes.len() >= 6 || quotes.ends_with("'''") && quotes.len() >= 6 {
                    3
                } else {
                    1
                };
            // `""""""` ends in three quotes and so does `"a" """"`; only Python and Java have them.
            let quote = if matches!(language, Language::Python | Language::Java) { quote } else { 1 };
            let at = token.at.end.checked_sub(hashes + quote)?;
            Some(Edit::insert(at, "~"))
        }
        Kind::Character => {
            let with = if token.text.ends_with("q'") { "x" } else { "q" };
            let prefix = token.text.find('\'')?;
            Some(Edit::replace(token, &format!("{}'{with}'", &token.text[..prefix])))
        }
        _ => None,
    }
}

/// What changes a comparison for equality: the literals of the one side that has any, when the other is a value of the code.
pub(super) fn of_equality(sides: &[Side]) -> Vec<Edit> {
    match sides {
        [one, other] if one.literal && !other.literal && other.named => one.edits.clone(),
        [other, one] if one.literal && !other.literal && other.named => one.edits.clone(),
        _ => Vec::new(),
    }
}

/// Whether nothing but literals is compared.
pub(super) fn constant(sides: &[Side]) -> bool {
    !sides.is_empty() && sides.iter().all(|side| side.literal && !side.named)
}
