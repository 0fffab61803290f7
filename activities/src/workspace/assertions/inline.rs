//! Rust's tests that stand beside the code: the items of a file that exist for tests only.

use std::ops::Range;

use super::{Kind, Language, Token, braces, closing, lex};

/// An item for tests only, with its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::workspace) struct Block {
    /// Its lines, from 1.
    pub(in crate::workspace) lines: Range<usize>,
    /// What it is: `mod tests`, `use std::fs;`, `fn adds`.
    name: String,
    /// `mod checks;`: its text is in a file of that name.
    file: Option<String>,
}

/// The items of a file, in no other item, that are compiled for tests only: under a `cfg` that asks for `test`, or tests themselves.
pub(in crate::workspace) fn blocks(source: &str) -> Vec<Block> {
    let tokens = lex(Language::Rust, source);
    let lines: Vec<&str> = source.lines().collect();
    let mut blocks: Vec<Block> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let start = at;
        let mut of_tests = false;
        while tokens.get(at).is_some_and(|token| token.is("#")) && tokens.get(at + 1).is_some_and(|open| open.is("[")) {
            let Some(close) = closing(&tokens, at + 1) else { return blocks };
            of_tests |= asks_for_test(&tokens, at + 2..close) || braces::is_test(&tokens, at + 2..close);
            at = close + 1;
        }
        let Some(end) = item_end(&tokens, at) else { return blocks };
        if of_tests && let (Some(first), Some(last)) = (tokens.get(start), tokens.get(end - 1)) {
            // A comment that documents it goes with it: nothing else may stand behind one.
            let documents =
                |line: &usize| lines.get(line - 2).is_some_and(|above| above.trim_start().starts_with("///"));
            let from = (2..=first.line).rev().take_while(documents).last().map_or(first.line, |line| line - 1);
            let last_line = last.line + last.text.matches('\n').count();
            // Two items of one line go together.
            let from = blocks.last().map_or(from, |before| from.max(before.lines.end));
            blocks.push(Block {
                lines: from..last_line + 1,
                name: named(&tokens[at..end]),
                file: file(&tokens[at..end]),
            });
        }
        at = end.max(at + 1);
    }
    blocks
}

/// Whether this line, from 1, is one of an item for tests.
pub(in crate::workspace) fn has_line(blocks: &[Block], line: usize) -> bool {
    blocks.iter().any(|block| block.lines.contains(&line))
}

/// Whether a file holds `mod name;` for tests only.
pub(in crate::workspace) fn declares_for_tests(source: &str, name: &str) -> bool {
    blocks(source).iter().any(|block| block.file.as_deref() == Some(name))
}

/// Whether all of a file is for tests, by an attribute of its own: `#![cfg(test)]`.
pub(in crate::workspace) fn is_all_for_tests(source: &str) -> bool {
    let tokens = lex(Language::Rust, source);
    let is = |at: usize, mark: &str| tokens.get(at).is_some_and(|token| token.is(mark));
    let mut at = 0;
    while is(at, "#") && is(at + 1, "!") && is(at + 2, "[") {
        let Some(close) = closing(&tokens, at + 2) else { return false };
        if asks_for_test(&tokens, at + 3..close) {
            return true;
        }
        at = close + 1;
    }
    false
}

/// The line that declares the module of this name, where there is one whose text is in a file: `pub mod tax;`.
pub(in crate::workspace) fn declaration(source: &str, name: &str) -> Option<String> {
    let tokens = lex(Language::Rust, source);
    let at = (0..tokens.len()).find(|at| {
        tokens[*at].is("mod")
            && tokens.get(at + 1).is_some_and(|named| named.is(name))
            && tokens.get(at + 2).is_some_and(|end| end.is(";"))
    })?;
    source.lines().nth(tokens[at].line - 1).map(|line| line.trim().to_owned())
}

/// The code of one file with the tests of another.
pub(in crate::workspace) fn combined(code: &str, tests: &str) -> String {
    let (ours, theirs) = (blocks(code), blocks(tests));
    let their_lines: Vec<&str> = tests.lines().collect();
    let text =
        |block: &Block| their_lines[block.lines.start - 1..(block.lines.end - 1).min(their_lines.len())].to_vec();
    let mut open: Vec<&Block> = theirs.iter().collect();
    let mut all: Vec<&str> = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let number = index + 1;
        match ours.iter().find(|block| block.lines.contains(&number)) {
            None => all.push(line),
            Some(block) if block.lines.start == number => {
                // Where the tests stood, those of the same name stand.
                if let Some(same) = open.iter().position(|other| other.name == block.name) {
                    all.extend(text(open.remove(same)));
                }
            }
            Some(_) => {}
        }
    }
    all.extend(open.into_iter().flat_map(text));
    let mut all = all.join("\n");
    all.push('\n');
    all
}

/// Whether an attribute keeps its item out of all but tests: `cfg(test)`, `cfg(all(test, unix))`.
fn asks_for_test(tokens: &[Token<'_>], attribute: Range<usize>) -> bool {
    let inside = &tokens[attribute];
    let mut around: Vec<&str> = Vec::new();
    if !inside.first().is_some_and(|word| word.is("cfg")) {
        return false;
    }
    for (at, token) in inside.iter().enumerate() {
        match token.text {
            "(" => around.push(if at == 0 { "" } else { inside[at - 1].text }),
            ")" => {
                around.pop();
            }
            "test" if token.kind == Kind::Word && around.iter().all(|of| matches!(*of, "cfg" | "all")) => return true,
            _ => {}
        }
    }
    false
}

/// The index behind the item that begins at `start`.
fn item_end(tokens: &[Token<'_>], start: usize) -> Option<usize> {
    // Of these a brace at the end is a part of the value, or of a list of names.
    const VALUES: [&str; 4] = ["use", "static", "const", "type"];
    const BLOCKS: [&str; 9] = ["fn", "mod", "impl", "trait", "struct", "enum", "union", "extern", "macro_rules"];
    let first = tokens.get(start)?;
    if first.is("#") {
        // `#![allow(x)]`
        return Some(tokens.get(start + 2).filter(|open| open.is("[")).and_then(|_| closing(tokens, start + 2))? + 1);
    }
    let head = || tokens[start..].iter().take(8).take_while(|token| !["{", "=", ";"].iter().any(|end| token.is(end)));
    let block = head().any(|token| BLOCKS.iter().any(|word| token.is(word)));
    let value = head().any(|token| VALUES.iter().any(|word| token.is(word)));
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.text {
            _ if token.kind != Kind::Mark => {}
            "{" if depth == 0 && (block || !value) => return Some(closing(tokens, at)? + 1),
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.checked_sub(1)?,
            ";" if depth == 0 => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// What an item is, without its visibility.
fn named(item: &[Token<'_>]) -> String {
    const KINDS: [&str; 8] = ["mod", "fn", "struct", "enum", "trait", "const", "static", "type"];
    let kind = (0..item.len().min(8)).find(|at| KINDS.iter().any(|kind| item[*at].is(kind)));
    let words: Vec<&str> = match kind {
        Some(at) => item[at..].iter().take(2).map(|token| token.text).collect(),
        None => item.iter().take_while(|token| !token.is("{")).map(|token| token.text).collect(),
    };
    words.join(" ")
}

/// The file that a declaration is for: `checks` of `mod checks;`.
fn file(item: &[Token<'_>]) -> Option<String> {
    let [.., word, name, end] = item else { return None };
    (word.is("mod") && end.is(";")).then(|| name.text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "pub fn f() -> i64 {\n    1\n}\n\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn one() {}\n}\n";

    fn lines(source: &str) -> Vec<Range<usize>> {
        blocks(source).into_iter().map(|block| block.lines).collect()
    }

    #[test]
    fn code_and_tests_of_a_file_are_told_apart() {
        assert_eq!(lines(BASE), [Range { start: 5, end: 10 }]);
        assert!(lines("pub fn f() {}\n").is_empty());
        let head = BASE.replace("    1\n", "    2\n").replace("fn one", "fn two");
        assert_eq!(combined(BASE, &head), BASE.replace("fn one", "fn two"));
        assert_eq!(combined(&head, BASE), BASE.replace("    1\n", "    2\n"));
        let bare = "pub fn f() -> i64 {\n    1\n}\n";
        assert!(combined(bare, BASE).contains("fn one"));
        assert!(!combined(BASE, bare).contains("cfg(test)"));
    }

    #[test]
    fn tests_of_every_form_are_no_code() {
        for (tests, code) in [
            ("#[cfg(test)]\n#[allow(clippy::unwrap_used)]\nmod tests {\n}", "fn g() {}"),
            (
                "#[allow(dead_code)]\n#[cfg(test)]\npub(crate) mod tests {\n    const X: [u8; 2] = [1; 2];\n}",
                "const Y: u8 = 1;",
            ),
            ("#[cfg(all(test, feature = \"x\"))]\nmod tests {\n}", "#[cfg(not(test))]\nfn g() {}"),
            ("/// Their doc.\n/// Two lines.\n#[cfg(test)]\nmod tests {}", "/// Of g.\nfn g() {}"),
            ("#[cfg(test)]\nmod checks;", "mod cart;"),
            ("#[cfg(test)]\nuse std::fs::{read, write};", "use std::fs::{self};"),
            ("#[cfg(test)]\nimpl Cart {\n    fn empty() {}\n}", "#[cfg(any(test, feature = \"x\"))]\nimpl Cart {}"),
            ("#[test]\nfn adds() {\n    let _ = \"}\";\n}", "#[inline]\nfn g<T: Fn(u8) -> [u8; 2]>(x: T) {}"),
            ("#[tokio::test(flavor = \"x\")]\nasync fn adds() {}", "#![allow(x)]\nstatic A: Cart = Cart { a: 1 };"),
        ] {
            let count = tests.lines().count();
            let source = format!("{code}\n{tests}\n{code}\n");
            let from = code.lines().count() + 1;
            assert_eq!(lines(&source), [Range { start: from, end: from + count }], "{source}");
        }
        let two = "#[cfg(test)]\nmod tests {\n    // one\n}\nfn f() {}\n#[cfg(test)]\nmod more {\n}\n";
        assert_eq!(lines(two), [1..5, 6..9]);
        let other = "fn f() {}\n#[cfg(test)]\nmod more {\n    // other\n}\n";
        assert_eq!(combined(two, other), "fn f() {}\n#[cfg(test)]\nmod more {\n    // other\n}\n");
        assert!(declares_for_tests("mod a;\n#[cfg(test)]\nmod checks;\n", "checks"));
        assert!(!declares_for_tests("mod a;\n#[cfg(test)]\nmod checks;\n", "a"));
        assert!(is_all_for_tests("//! Words.\n#![allow(x)]\n#![cfg(test)]\nuse a;\n") && !is_all_for_tests(BASE));
        assert_eq!(
            declaration("use a;\npub(crate) mod tax; // later\n", "tax").unwrap(),
            "pub(crate) mod tax; // later"
        );
        assert_eq!(declaration("mod tax {}\n", "tax"), None);
    }
}
