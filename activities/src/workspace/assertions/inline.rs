//! Rust's tests that stand beside the code, in a module at the end of its file.

use std::ops::Range;

use super::{Language, closing, lex};

/// The lines, from 1, of the last `#[cfg(test)] mod name { ... }` of a file that is in no other module.
pub(in crate::workspace) fn module(source: &str) -> Option<Range<usize>> {
    let tokens = lex(Language::Rust, source);
    let mark = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let starts = (0..tokens.len()).rev().find(|at| {
        let here = &tokens[*at..];
        here.len() > mark.len() + 1
            && here[0].first
            && here[0].column == 0
            && mark.iter().zip(here).all(|(word, token)| token.is(word))
            && here[mark.len() + 1].is("{")
    })?;
    let end = closing(&tokens, starts + mark.len() + 1)?;
    let after = tokens[end].line + 1;
    Some(tokens[starts].line..after)
}

/// The code of one file with the tests of another.
pub(in crate::workspace) fn combined(code: &str, tests: &str) -> String {
    let (lines, theirs): (Vec<&str>, Vec<&str>) = (code.lines().collect(), tests.lines().collect());
    let block = module(tests).map_or(&[][..], |block| &theirs[block.start - 1..block.end - 1]);
    let (before, after) = match module(code) {
        Some(block) => (&lines[..block.start - 1], &lines[block.end - 1..]),
        None => (&lines[..], &[][..]),
    };
    let mut all = [before, block, after].concat().join("\n");
    all.push('\n');
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "pub fn f() -> i64 {\n    1\n}\n\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn one() {}\n}\n";

    #[test]
    fn code_and_tests_of_a_file_are_told_apart() {
        assert_eq!(module(BASE), Some(5..10));
        assert_eq!(module("pub fn f() {}\n"), None);
        let head = BASE.replace("    1\n", "    2\n").replace("fn one", "fn two");
        assert_eq!(combined(BASE, &head), BASE.replace("fn one", "fn two"));
        assert_eq!(combined(&head, BASE), BASE.replace("    1\n", "    2\n"));
        let bare = "pub fn f() -> i64 {\n    1\n}\n";
        assert!(combined(bare, BASE).contains("fn one"));
        assert!(!combined(BASE, bare).contains("cfg(test)"));
    }
}
