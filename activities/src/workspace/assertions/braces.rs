//! Tests and assertions of the languages with braces: JavaScript, Go, Rust, Java.

use std::ops::Range;

use super::literal::{Side, constant, farther, of_equality, side};
use super::{Assertion, Edit, Kind, Language, Token, closing, outside, split};

/// Tests with their names and all their tokens.
pub(super) fn bodies<'a>(language: Language, tokens: &[Token<'a>]) -> Vec<(&'a str, Range<usize>)> {
    (0..tokens.len()).filter_map(|index| body(language, tokens, index)).collect()
}

/// The test that is declared at `index`.
fn body<'a>(language: Language, tokens: &[Token<'a>], index: usize) -> Option<(&'a str, Range<usize>)> {
    let token = &tokens[index];
    let at = |index: usize| tokens.get(index);
    match language {
        Language::JavaScript => {
            if !["it", "test", "specify"].iter().any(|word| token.is(word)) {
                return None;
            }
            // `it.each(table)("title", ...)`, `test.only("title", ...)`
            let mut next = index + 1;
            while at(next)?.is(".") {
                let each = at(next + 1)?.is("each");
                next += 2;
                if each {
                    next = if at(next)?.is("(") { closing(tokens, next)? + 1 } else { next + 1 };
                }
            }
            let title = at(next + 1).filter(|title| tokens[next].is("(") && title.kind == Kind::Text)?;
            let text = title.text.trim_matches(['"', '\'', '`']);
            let end = closing(tokens, next)? + 1;
            Some((text, index..end))
        }
        Language::Go => {
            let name = at(index + 1).filter(|name| token.is("func") && name.kind == Kind::Word)?;
            let open = (index..tokens.len()).find(|at| tokens[*at].is("{"))?;
            Some((name.text, index..closing(tokens, open)? + 1))
        }
        Language::Rust => {
            let name = at(index + 1).filter(|name| token.is("fn") && name.kind == Kind::Word)?;
            // A function of the same name beside the tests is none of them.
            let attributes = attributes(tokens, index);
            let test = attributes.iter().any(|attribute| is_test(tokens, attribute.clone()));
            // A test that is meant to panic is green because of an assertion that fails.
            let panics = attributes.iter().any(|it| tokens[it.clone()].iter().any(|token| token.is("should_panic")));
            let open = (index..tokens.len()).find(|at| tokens[*at].is("{"))?;
            let end = closing(tokens, open)? + 1;
            (test && !panics).then_some((name.text, index..end))
        }
        Language::Java => {
            let declared = token.kind == Kind::Word
                && index > 0
                && tokens[index - 1].kind == Kind::Word
                && !matches!(tokens[index - 1].text, "new" | "return" | "throw" | "else")
                && at(index + 1)?.is("(");
            let close = closing(tokens, index + 1).filter(|_| declared)?;
            let open = (close + 1..tokens.len()).find(|at| tokens[*at].is("{") || tokens[*at].is(";"))?;
            let end = closing(tokens, open).filter(|_| tokens[open].is("{"))? + 1;
            Some((token.text, index..end))
        }
        Language::Python => None,
    }
}

/// What stands in the brackets of the attributes of the function that is declared at `index`.
fn attributes(tokens: &[Token<'_>], index: usize) -> Vec<Range<usize>> {
    const BEFORE: [&str; 9] = ["pub", "async", "unsafe", "const", "extern", "(", ")", "crate", "super"];
    let mut found = Vec::new();
    let mut at = index;
    while at > 0 {
        let token = &tokens[at - 1];
        if BEFORE.iter().any(|word| token.is(word)) || token.kind == Kind::Text {
            at -= 1;
        } else if token.is("]") {
            let close = at - 1;
            let opens = |at: &usize| tokens[*at].is("[") && closing(tokens, *at) == Some(close);
            let Some(open) = (1..close).rev().find(opens).filter(|open| tokens[open - 1].is("#")) else { break };
            found.push(open + 1..close);
            at = open - 1;
        } else {
            break;
        }
    }
    found
}

/// `test`, `tokio::test(flavor = "x")`, `rstest`, `test_case(1)`.
pub(super) fn is_test(tokens: &[Token<'_>], attribute: Range<usize>) -> bool {
    let path = tokens[attribute].iter().take_while(|token| token.kind == Kind::Word || token.is("::"));
    let name = path.last().map_or("", |name| name.text);
    name.contains("test") || name == "quickcheck"
}

/// Functions: the token that declares them, and where in the source what stands in their braces is.
pub(super) fn inner(language: Language, tokens: &[Token<'_>]) -> Vec<(usize, Range<usize>)> {
    let word = match language {
        Language::Go => "func",
        Language::Rust => "fn",
        Language::JavaScript => {
            let functions = (0..tokens.len()).filter_map(|at| of_script(tokens, at).map(|inner| (at, inner)));
            return functions.collect();
        }
        Language::Java => {
            let inner = bodies(language, tokens).into_iter().filter_map(|(_, body)| {
                let parameters = closing(tokens, body.start + 1)?;
                between(tokens, parameters).map(|inner| (body.start, inner))
            });
            return inner.collect();
        }
        Language::Python => return Vec::new(),
    };
    let declared = (0..tokens.len()).filter(|at| tokens[*at].is(word));
    let inner = declared.filter_map(|at| {
        let name = (at + 1..tokens.len().min(at + 12)).find(|at| {
            tokens[*at].kind == Kind::Word && tokens.get(*at + 1).is_some_and(|next| next.is("(") || next.is("<"))
        })?;
        let open = (name..tokens.len()).find(|at| tokens[*at].is("("))?;
        between(tokens, closing(tokens, open)?).map(|inner| (at, inner))
    });
    inner.collect()
}

/// The statement of a function that does nothing: it returns what its type has for nothing, so that a test which only calls it stays
/// green. `inner`: where what stands in its braces begins. `None`: it is a constructor, which has to do something.
pub(super) fn nothing(
    language: Language,
    source: &str,
    tokens: &[Token<'_>],
    declared: usize,
    inner: usize,
) -> Option<String> {
    let head = declared..tokens.iter().position(|token| token.at.start >= inner).unwrap_or(tokens.len());
    let plain = match language {
        Language::Python | Language::JavaScript => "return undefined;".to_owned(),
        Language::Rust => {
            let returns = outside(tokens, head).into_iter().any(|at| tokens[at].is("->"));
            if returns { "Default::default()".to_owned() } else { String::new() }
        }
        Language::Go => {
            let name = (head.start + 1..head.end)
                .find(|at| tokens[*at].kind == Kind::Word && tokens.get(at + 1).is_some_and(|next| next.is("(")))?;
            let results = closing(tokens, name + 1)? + 1..head.end.checked_sub(1)?;
            let text = |range: &Range<usize>| &source[tokens[range.start].at.start..tokens[range.end - 1].at.end];
            let types: Vec<Range<usize>> = match tokens.get(results.start) {
                _ if results.is_empty() => Vec::new(),
                Some(open) if open.is("(") => split(tokens, results.start + 1..results.end - 1, ","),
                _ => vec![results],
            };
            // `(total int, err error)`: they have names, and their zero values already.
            let named = |range: &Range<usize>| {
                range.len() > 1 && tokens[range.start].kind == Kind::Word && tokens[range.start + 1].kind == Kind::Word
            };
            if types.iter().any(named) {
                "return".to_owned()
            } else {
                let values = types.iter().enumerate().map(|(n, range)| format!("var nothing{n} {}; ", text(range)));
                let names: Vec<String> = (0..types.len()).map(|n| format!("nothing{n}")).collect();
                format!("{}return {}", values.collect::<String>(), names.join(", ")).trim_end().to_owned()
            }
        }
        Language::Java => match tokens[declared.checked_sub(1)?].text {
            "public" | "private" | "protected" => return None,
            "void" => String::new(),
            "boolean" => "return false;".to_owned(),
            "int" | "long" | "short" | "byte" | "char" | "float" | "double" => "return 0;".to_owned(),
            _ => "return null;".to_owned(),
        },
    };
    Some(plain)
}

/// What stands in the function of JavaScript that begins at `at`: one with a name, a method, or what an arrow leads to.
fn of_script(tokens: &[Token<'_>], at: usize) -> Option<Range<usize>> {
    const BEFORE: [&str; 5] = ["async", "static", "get", "set", "*"];
    const NO_NAMES: [&str; 8] = ["if", "for", "while", "switch", "catch", "with", "function", "return"];
    let token = &tokens[at];
    if token.is("=>") {
        let first = tokens.get(at + 1)?;
        if first.is("{") {
            return between(tokens, at + 1);
        }
        let mut last = at + 1;
        while let Some(next) = tokens.get(last) {
            if matches!(next.text, ";" | "," | ")" | "]" | "}") && next.kind == Kind::Mark
                || next.first && last > at + 1
            {
                break;
            }
            let opens = matches!(next.text, "(" | "[" | "{") && next.kind == Kind::Mark;
            last = if opens { closing(tokens, last)? + 1 } else { last + 1 };
        }
        return (last > at + 1).then(|| first.at.start..tokens[last - 1].at.end);
    }
    let name = if token.is("function") {
        (at + 1..at + 4).find(|at| tokens.get(at + 1).is_some_and(|open| open.is("(")))?
    } else {
        at
    };
    let method = token.kind == Kind::Word
        && !NO_NAMES.contains(&token.text)
        && (token.first || at > 0 && BEFORE.iter().any(|word| tokens[at - 1].is(word)));
    if !token.is("function") && !method {
        return None;
    }
    let open = tokens.get(name + 1).filter(|open| open.is("(")).map(|_| name + 1)?;
    let close = closing(tokens, open)?;
    // A type may stand between, `{` right behind means a body for sure.
    let body = tokens.get(close + 1)?;
    (body.is("{") || body.is(":") && token.is("function")).then(|| between(tokens, close))?
}

/// Where what stands in the first braces after `from` is; a `;` before them ends the search.
fn between(tokens: &[Token<'_>], from: usize) -> Option<Range<usize>> {
    let open = (from..tokens.len()).find(|at| tokens[*at].is("{") || tokens[*at].is(";"))?;
    let close = closing(tokens, open).filter(|_| tokens[open].is("{"))?;
    Some(tokens[open].at.end..tokens[close].at.start)
}

/// The assertions in `body`.
pub(super) fn assertions(language: Language, tokens: &[Token<'_>], body: Range<usize>) -> Vec<Assertion> {
    let found = body.clone().filter_map(|index| {
        let found = match language {
            Language::JavaScript => expected(tokens, index, body.end).or_else(|| of_node(tokens, index)),
            Language::Go => condition(tokens, index).or_else(|| testify(tokens, index)),
            Language::Rust => macros(tokens, index),
            Language::Java => junit(tokens, index),
            Language::Python => None,
        };
        found.map(|it| Assertion { line: tokens[index].line, at: index, ..it })
    });
    let mut found: Vec<Assertion> = found.collect();
    let unreached: Vec<Range<usize>> = body.clone().filter_map(|at| raising(tokens, at)).collect();
    for assertion in found.iter_mut().filter(|it| unreached.iter().any(|block| block.contains(&it.at))) {
        assertion.literals.clear();
        assertion.opposite.clear();
    }
    found
}

/// The function that is called to raise an error, as in `expect(() => { ... }).toThrow()` and `assertThrows(E.class, () -> { ... })`.
/// What stands in it behind the call that raises is never reached.
fn raising(tokens: &[Token<'_>], index: usize) -> Option<Range<usize>> {
    let open = index + 1;
    let named = ["assertThrows", "assertThrowsExactly", "assertThatThrownBy", "throws", "rejects", "Panics"];
    let close = tokens.get(open).filter(|token| token.is("(")).and_then(|_| closing(tokens, open))?;
    let thrown = || {
        let after = tokens[close + 1..].iter().take(4);
        after.take_while(|token| token.kind == Kind::Word || token.is(".")).any(|token| {
            token.kind == Kind::Word && (token.text.starts_with("toThrow") || token.is("rejects") || token.is("throw"))
        })
    };
    let raises = named.iter().any(|name| tokens[index].is(name)) || tokens[index].is("expect") && thrown();
    raises.then_some(open + 1..close)
}

/// The arguments of the call whose bracket is at `open`.
fn arguments(tokens: &[Token<'_>], open: usize) -> Option<(Vec<Range<usize>>, usize)> {
    let close = tokens.get(open).filter(|token| token.is("(")).and_then(|_| closing(tokens, open))?;
    Some((split(tokens, open + 1..close, ","), close))
}

fn sides(language: Language, tokens: &[Token<'_>], arguments: &[Range<usize>]) -> Vec<Side> {
    arguments.iter().map(|argument| side(language, tokens, argument.clone(), false)).collect()
}

/// Matchers of Jest, Vitest and Chai that compare with a literal for equality, or look for one in a text.
const MATCHERS: [&str; 23] = [
    "toBe",
    "toEqual",
    "toStrictEqual",
    "toHaveLength",
    "toMatch",
    "toMatchObject",
    "toBeCloseTo",
    "toThrow",
    "toThrowError",
    "toHaveBeenCalledWith",
    "toHaveBeenLastCalledWith",
    "toHaveBeenCalledTimes",
    "toHaveReturnedWith",
    "toHaveTextContent",
    "toHaveValue",
    "equal",
    "equals",
    "eql",
    "eq",
    "lengthOf",
    "toHaveProperty",
    "toHaveAttribute",
    "members",
];

/// `expect(value).not.toBe(3)`, and `expect(value).to.equal(3)` of Chai.
fn expected(tokens: &[Token<'_>], index: usize, end: usize) -> Option<Assertion> {
    const JS: Language = Language::JavaScript;
    let (actual, close) = arguments(tokens, index + 1).filter(|_| tokens[index].is("expect"))?;
    let mut at = close + 1;
    let mut words: Vec<usize> = Vec::new();
    let mut wanted = None;
    while at + 1 < end && tokens[at].is(".") {
        words.push(at + 1);
        at += 2;
        if let Some((arguments, close)) = arguments(tokens, at) {
            wanted = Some(arguments);
            at = close + 1;
        }
    }
    let last = *words.last()?;
    let not = words.iter().copied().find(|word| tokens[*word].is("not"));
    let actual = sides(JS, tokens, &actual);
    let wanted = sides(JS, tokens, wanted.as_deref().unwrap_or_default());
    let named = actual.iter().chain(&wanted).any(|side| side.named);
    let constant = !named && actual.iter().any(|side| side.literal);
    let snapshot = tokens[last].text.contains("Snapshot");
    if constant || snapshot {
        return Some(Assertion { constant, ..Assertion::default() });
    }
    let first_only = matches!(tokens[last].text, "toBeCloseTo");
    let looked_at = if first_only { wanted.get(..1).unwrap_or_default() } else { &wanted[..] };
    let literals: Vec<Edit> = if MATCHERS.contains(&tokens[last].text) && not.is_none() {
        let edits = looked_at.iter().flat_map(|side| side.edits.clone()).collect();
        if first_only { farther(tokens, edits) } else { edits }
    } else {
        Vec::new()
    };
    let opposite = match not {
        Some(not) => Edit { at: tokens[not].at.start..tokens[not + 1].at.end, with: String::new() },
        None => Edit::insert(tokens[last].at.start, "not."),
    };
    Some(Assertion { literals, opposite: vec![opposite], ..Assertion::default() })
}

/// `assert.equal(a, b)` and the like of Node.
fn of_node(tokens: &[Token<'_>], index: usize) -> Option<Assertion> {
    const OPPOSITES: [(&str, &str); 6] = [
        ("equal", "notEqual"),
        ("strictEqual", "notStrictEqual"),
        ("deepEqual", "notDeepEqual"),
        ("deepStrictEqual", "notDeepStrictEqual"),
        ("match", "doesNotMatch"),
        ("notStrictEqual", "strictEqual"),
    ];
    if !tokens[index].is("assert") {
        return None;
    }
    let method = tokens.get(index + 1).filter(|dot| dot.is(".")).and(tokens.get(index + 2));
    let open = if method.is_some() { index + 3 } else { index + 1 };
    let (arguments, _) = arguments(tokens, open)?;
    let name = method.map_or("ok", |method| method.text);
    if name == "ok" {
        return truth(Language::JavaScript, tokens, arguments.first()?);
    }
    let (_, opposite) = OPPOSITES.iter().find(|(known, _)| *known == name)?;
    let sides = sides(Language::JavaScript, tokens, arguments.get(..2)?);
    let constant = constant(&sides);
    let literals = if name.starts_with("not") { Vec::new() } else { of_equality(&sides) };
    let opposite = if constant { Vec::new() } else { vec![Edit::replace(&tokens[index + 2], opposite)] };
    Some(Assertion { constant, literals, opposite, ..Assertion::default() })
}

/// An assertion that an expression holds: `left == right` with a literal, or whatever it is, negated.
fn truth(language: Language, tokens: &[Token<'_>], range: &Range<usize>) -> Option<Assertion> {
    compared(language, tokens, range.clone(), &["==", "==="])
}

/// An expression that holds on the head. `equal`: the marks of a comparison in which a literal may be changed.
fn compared(language: Language, tokens: &[Token<'_>], range: Range<usize>, equal: &[&str]) -> Option<Assertion> {
    let (first, last) = (tokens.get(range.start)?, tokens.get(range.end.checked_sub(1)?)?);
    let top = outside(tokens, range.clone());
    let marks = ["==", "===", "!=", "!==", "<", ">", "<=", ">=", "&&", "||", "!", "=>", "?"];
    let comparing: Vec<usize> = top.into_iter().filter(|index| marks.contains(&tokens[*index].text)).collect();
    let whole = side(language, tokens, range.clone(), false);
    let never = range.len() == 1 && first.is("false");
    let constant = !whole.named && whole.literal && !never;
    let literals = match comparing[..] {
        [at] if equal.contains(&tokens[at].text) => {
            let left = side(language, tokens, range.start..at, false);
            of_equality(&[left, side(language, tokens, at + 1..range.end, false)])
        }
        _ => Vec::new(),
    };
    let opposite = vec![Edit::insert(first.at.start, "!("), Edit::insert(last.at.end, ")")];
    let opposite = if constant || never { Vec::new() } else { opposite };
    Some(Assertion { constant, literals, opposite, ..Assertion::default() })
}

/// `if got != want { t.Errorf(...) }`: what must not hold.
fn condition(tokens: &[Token<'_>], index: usize) -> Option<Assertion> {
    const FAILING: [&str; 6] = ["Error", "Errorf", "Fatal", "Fatalf", "Fail", "FailNow"];
    if !tokens[index].is("if") {
        return None;
    }
    // The block begins with a brace that is in no bracket and belongs to no composite literal.
    let open = (index + 1..tokens.len()).find(|at| {
        tokens[*at].is("{")
            && closing(tokens, *at).is_some_and(|close| {
                tokens.get(close + 1).is_none_or(|next| next.first || next.is("else") || next.is("}"))
            })
    })?;
    let close = closing(tokens, open)?;
    // In the block itself: of two conditions, one in the other, only the inner one decides.
    let direct = outside(tokens, open + 1..close);
    let fails = direct.windows(2).any(|two| {
        tokens[two[0]].is(".")
            && FAILING.contains(&tokens[two[1]].text)
            && tokens.get(two[1] + 1).is_some_and(|next| next.is("("))
    });
    if !fails {
        return None;
    }
    let condition = split(tokens, index + 1..open, ";").pop()?;
    compared(Language::Go, tokens, condition, &["!="])
}

/// `assert.Equal(t, 3, got)` and `require.True(t, ok)` of testify.
fn testify(tokens: &[Token<'_>], index: usize) -> Option<Assertion> {
    const OPPOSITES: [(&str, &str); 13] = [
        ("Equal", "NotEqual"),
        ("EqualValues", "NotEqualValues"),
        ("NotEqual", "Equal"),
        ("True", "False"),
        ("False", "True"),
        ("Nil", "NotNil"),
        ("NotNil", "Nil"),
        ("NoError", "Error"),
        ("Error", "NoError"),
        ("Empty", "NotEmpty"),
        ("NotEmpty", "Empty"),
        ("Contains", "NotContains"),
        ("NotContains", "Contains"),
    ];
    const EQUAL: [&str; 6] = ["Equal", "EqualValues", "Exactly", "Len", "EqualError", "ErrorContains"];
    if !(tokens[index].is("assert") || tokens[index].is("require")) || !tokens.get(index + 1)?.is(".") {
        return None;
    }
    let name = tokens.get(index + 2)?;
    let (arguments, _) = arguments(tokens, index + 3)?;
    let sides = sides(Language::Go, tokens, arguments.get(1..3.min(arguments.len()))?);
    let plain = name.text.trim_end_matches('f');
    let constant = constant(&sides);
    let literals = if EQUAL.contains(&plain) { of_equality(&sides) } else { Vec::new() };
    let opposite = OPPOSITES.iter().find(|(known, _)| *known == name.text && !constant);
    let opposite = opposite.map_or(Vec::new(), |(_, opposite)| vec![Edit::replace(name, opposite)]);
    Some(Assertion { constant, literals, opposite, ..Assertion::default() })
}

/// `assert!`, `assert_eq!`, `assert_ne!`, and those with `debug_` before.
fn macros(tokens: &[Token<'_>], index: usize) -> Option<Assertion> {
    let name = tokens[index].text.trim_start_matches("debug_");
    if !tokens.get(index + 1)?.is("!") || !matches!(name, "assert" | "assert_eq" | "assert_ne") {
        return None;
    }
    let (arguments, _) = arguments(tokens, index + 2)?;
    if name == "assert" {
        return truth(Language::Rust, tokens, arguments.first()?);
    }
    let sides = sides(Language::Rust, tokens, arguments.get(..2)?);
    let constant = constant(&sides);
    let literals = if name == "assert_eq" { of_equality(&sides) } else { Vec::new() };
    let opposite = if name == "assert_eq" { "assert_ne" } else { "assert_eq" };
    let opposite = if constant { Vec::new() } else { vec![Edit::replace(&tokens[index], opposite)] };
    Some(Assertion { constant, literals, opposite, ..Assertion::default() })
}

/// `assertEquals(3, got)` of JUnit, `assertThat(got).isEqualTo(3)` of AssertJ.
fn junit(tokens: &[Token<'_>], index: usize) -> Option<Assertion> {
    const OPPOSITES: [(&str, &str); 7] = [
        ("assertEquals", "assertNotEquals"),
        ("assertNotEquals", "assertEquals"),
        ("assertTrue", "assertFalse"),
        ("assertFalse", "assertTrue"),
        ("assertNull", "assertNotNull"),
        ("assertNotNull", "assertNull"),
        ("assertSame", "assertNotSame"),
    ];
    const JAVA: Language = Language::Java;
    let name = tokens[index].text;
    let (arguments, close) = arguments(tokens, index + 1)?;
    if name == "assertThat" {
        let method = tokens.get(close + 2).filter(|_| tokens[close + 1].is("."))?;
        let known = matches!(method.text, "isEqualTo" | "hasSize" | "isSameAs" | "hasMessage" | "hasToString");
        let (wanted, _) = self::arguments(tokens, close + 3)?;
        let wanted = sides(JAVA, tokens, &wanted);
        let literals = if known { wanted.into_iter().flat_map(|side| side.edits).collect() } else { Vec::new() };
        return Some(Assertion { literals, ..Assertion::default() });
    }
    let array = name == "assertArrayEquals" || name == "assertIterableEquals";
    let opposite = OPPOSITES.iter().find(|(known, _)| *known == name);
    if opposite.is_none() && !array {
        return None;
    }
    let equality = array || name == "assertEquals" || name == "assertSame";
    let count = if equality || name == "assertNotEquals" { 2 } else { 1 };
    let sides = sides(JAVA, tokens, arguments.get(..count)?);
    // JUnit 4 has the message first: three arguments that begin with a text are no comparison of the first two.
    let message_first =
        arguments.len() == 3 && tokens[arguments[0].start].kind == Kind::Text && arguments[0].len() == 1;
    let constant = !message_first && constant(&sides) && !(name == "assertTrue" && tokens[index + 2].is("false"));
    let mut literals = if equality && !message_first { of_equality(&sides) } else { Vec::new() };
    // `assertEquals(3.0, got, 0.01)`
    if arguments.get(2).is_some_and(|third| tokens[third.start].kind == Kind::Number) {
        literals = farther(tokens, literals);
    }
    let opposite = opposite.filter(|_| !constant);
    let opposite = opposite.map_or(Vec::new(), |(_, opposite)| vec![Edit::replace(&tokens[index], opposite)]);
    Some(Assertion { constant, literals, opposite, ..Assertion::default() })
}

/// The line of an empty `catch` after a block that asserts, or where a panic is dropped.
pub(super) fn swallowed(tokens: &[Token<'_>], body: Range<usize>) -> Option<usize> {
    body.clone().find_map(|index| {
        let token = &tokens[index];
        // `recover()` of Go, and nobody looks at what it returns.
        let before = index.checked_sub(1).map_or("", |before| tokens[before].text);
        let dropped = matches!(before, "{" | ";" | "defer") || token.first;
        let called = tokens.get(index + 1).is_some_and(|open| open.is("("))
            && tokens.get(index + 2).is_some_and(|close| close.is(")"));
        if token.is("recover") && called && (dropped || before == "=" && index > 1 && tokens[index - 2].is("_")) {
            return Some(token.line);
        }
        if !token.is("catch") || index == 0 || !tokens[index - 1].is("}") {
            return None;
        }
        let mut open = index + 1;
        if tokens.get(open)?.is("(") {
            // What cannot be the failure of an assertion may be dropped.
            let close = closing(tokens, open)?;
            let typed = tokens[open + 1..close].iter().filter(|token| token.kind == Kind::Word).count() > 1;
            let any = ["Throwable", "Error", "AssertionError", "any", "unknown", "AssertionFailedError"];
            if typed && !tokens[open + 1..close].iter().any(|token| any.contains(&token.text)) {
                return None;
            }
            open = close + 1;
        }
        let empty = tokens.get(open)?.is("{") && closing(tokens, open)? == open + 1;
        let tried = (body.start..index).rev().find(|at| tokens[*at].is("try"))?;
        let asserts = tokens[tried..index].iter().any(|token| token.text.starts_with("assert") || token.is("expect"));
        (empty && asserts).then_some(token.line)
    })
}
