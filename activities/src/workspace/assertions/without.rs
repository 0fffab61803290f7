//! Whether a source is another one without some of its tests, line for line.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{Kind, Language, bodies, lex};

/// Pairs of lines that are looked at: two files of four thousand lines each.
const MOST: usize = 16_000_000;
/// What an import begins with.
const IMPORTS: [&str; 6] = ["from ", "import ", "use ", "pub use ", "export ", "const "];
/// Words in an import that name nothing.
const EMPTY: [&str; 11] =
    ["import", "use", "pub", "export", "const", "from", "as", "static", "type", "require", "default"];

/// What of `after` is not `before` without tests that are `gone`: a clause for whoever made it. With a test goes what marks it, with
/// all tests of a block the block, and what was imported for them; everything else stays, in its order, as it was. `stays`: the base
/// has a test of this name that is not gone.
pub(in crate::workspace) fn more_than_less(
    language: Language,
    before: &str,
    after: &str,
    gone: &dyn Fn(&str) -> bool,
    stays: &dyn Fn(&str) -> bool,
) -> Option<String> {
    let old: Vec<&str> = before.lines().map(str::trim_end).collect();
    let new: Vec<&str> = after.lines().map(str::trim_end).collect();
    // A text that was cut ends so: what follows in the file is not here to be compared.
    let is_cut = [before, after].iter().any(|text| text.ends_with('\u{fffd}'));
    if is_cut || (old.len() + 1).saturating_mul(new.len() + 1) > MOST {
        return Some("it is too long to be compared".to_owned());
    }
    let may_go = may_go(language, before, &old, gone, stays);

    // Which beginnings of both tell the same.
    let width = new.len() + 1;
    let mut reached = vec![false; (old.len() + 1) * width];
    reached[0] = true;
    let mut last = (0, 0);
    for at in 0..=old.len() {
        for to in 0..width {
            if !reached[at * width + to] {
                continue;
            }
            last = last.max((to, at));
            let ours = new.get(to);
            if ours.is_some_and(|line| line.is_empty() || line.trim() == "pass") {
                reached[at * width + to + 1] = true;
            }
            let Some(theirs) = old.get(at) else { continue };
            if ours.is_some_and(|line| line == theirs || imports_no_more(line, theirs)) {
                reached[(at + 1) * width + to + 1] = true;
            }
            for end in &may_go[at] {
                reached[end * width + to] = true;
            }
        }
    }
    if reached[old.len() * width + new.len()] {
        return None;
    }
    let (to, at) = last;
    Some(match (new.get(to), old.get(at)) {
        (Some(line), theirs) if theirs.is_none() || !old[at..].contains(line) => {
            format!("`{}` is new or another", line.trim())
        }
        (_, Some(line)) => format!("`{}` is missing", line.trim()),
        _ => "its end is another".to_owned(),
    })
}

/// For each line, the lines before which it may be left out together with all up to there.
fn may_go(
    language: Language,
    before: &str,
    old: &[&str],
    gone: &dyn Fn(&str) -> bool,
    stays: &dyn Fn(&str) -> bool,
) -> Vec<Vec<usize>> {
    let tokens = lex(language, before);
    let found = bodies(language, &tokens);
    let lines = |body: &Range<usize>| {
        let last = &tokens[body.end - 1];
        tokens[body.start].line - 1..last.line + last.text.matches('\n').count()
    };
    // Something else that begins on the last line would go with it.
    let alone = |body: &Range<usize>| {
        let end = lines(body).end;
        tokens[body.end..].iter().take_while(|token| token.line <= end).all(|token| is_closing(token.text))
    };
    let tests: Vec<Range<usize>> =
        found.iter().filter(|(name, body)| gone(name) && alone(body)).map(|(_, body)| lines(body)).collect();
    let words: BTreeSet<&str> = found
        .iter()
        .filter(|(name, _)| gone(name))
        .flat_map(|(_, body)| &tokens[body.clone()])
        .filter(|token| token.kind == Kind::Word)
        .map(|token| token.text)
        .collect();
    let kept: Vec<usize> =
        found.iter().filter(|(name, _)| stays(name) && !gone(name)).map(|(_, body)| lines(body).start).collect();

    let mut may_go: Vec<Vec<usize>> = vec![Vec::new(); old.len()];
    for test in &tests {
        may_go[marked_from(language, old, test.start)].push(test.end);
    }
    for (at, line) in old.iter().enumerate() {
        if line.is_empty() {
            may_go[at].push(at + 1);
            continue;
        }
        let block = block(old, at);
        let inside = |line: usize| at < line && block.contains(&line);
        if tests.iter().any(|test| inside(test.start)) && !kept.iter().any(|test| inside(*test)) {
            may_go[marked_from(language, old, at)].push(block.end);
        }
        for import in imports(old, at) {
            let named = old[import.clone()].iter().flat_map(|line| imported(line));
            if named.into_iter().any(|name| words.contains(name)) {
                may_go[import.start].push(import.end);
            }
        }
    }
    may_go
}

fn is_closing(text: &str) -> bool {
    text.chars().all(|c| "(){}[];,".contains(c))
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// A line and what is indented deeper below it, with the brackets that close it.
fn block(old: &[&str], at: usize) -> Range<usize> {
    let depth = indentation(old[at]);
    let deeper = |line: &&str| line.is_empty() || indentation(line) > depth;
    let mut end = at + 1 + old[at + 1..].iter().take_while(|line| deeper(line)).count();
    if old.get(end).is_some_and(|line| indentation(line) == depth && is_closing(line.trim())) {
        end += 1;
    } else {
        // Blank lines belong to what follows.
        while end > at + 1 && old[end - 1].is_empty() {
            end -= 1;
        }
    }
    at..end
}

/// The first of the lines right above that mark what begins at `at`: decorators, attributes and comments.
fn marked_from(language: Language, old: &[&str], at: usize) -> usize {
    let depth = indentation(old[at]);
    let marks = ["@", "#[", language.comment(), "/**", "*"];
    let mut first = at;
    for line in (0..at).rev() {
        let text = old[line].trim();
        if text.is_empty() || indentation(old[line]) < depth {
            break;
        }
        if marks.iter().any(|mark| text.starts_with(mark)) && indentation(old[line]) <= depth + 1 {
            first = line;
        } else if indentation(old[line]) == depth && !is_closing(text) {
            // Another statement; what stands above it marks that.
            break;
        }
    }
    first
}

/// The import that begins at `at`, and each of its lines if it has several.
fn imports(old: &[&str], at: usize) -> Vec<Range<usize>> {
    let line = old[at].trim();
    let is_import = IMPORTS.iter().any(|word| line.starts_with(word))
        && (!(line.starts_with("const ") || line.starts_with("export "))
            || line.contains("require(")
            || line.contains(" from "));
    if !is_import {
        return Vec::new();
    }
    let mut depth = 0_usize;
    for (end, line) in old.iter().enumerate().skip(at) {
        depth += line.matches(['(', '{']).count();
        depth = depth.saturating_sub(line.matches([')', '}']).count());
        if depth == 0 {
            let whole = at..end + 1;
            let inner = (at + 1..end).map(|line| line..line + 1);
            return std::iter::once(whole).chain(inner).collect();
        }
    }
    Vec::new()
}

/// The names that a line of an import brings.
fn imported(line: &str) -> Vec<&str> {
    let names = if let Some((_, names)) = line.split_once(" import ") {
        names
    } else if let Some((names, _)) = line.split_once(" from ").or_else(|| line.split_once("= require(")) {
        names
    } else {
        line.trim_end_matches(['"', '\'', ';']).rsplit(['.', '/', ':']).next().unwrap_or(line)
    };
    names
        .split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$')
        .filter(|name| !name.is_empty() && !EMPTY.contains(name))
        .collect()
}

/// Whether `line` imports some of the names that `before` imports from the same place, and nothing else.
fn imports_no_more(line: &str, before: &str) -> bool {
    fn parts(line: &str) -> Option<(&str, Vec<&str>, &str)> {
        let (head, names, tail) = match line.split_once(" import ").filter(|_| line.starts_with("from ")) {
            Some((from, names)) => (from, names, ""),
            None => {
                let (head, rest) = line.split_once('{')?;
                let (names, tail) = rest.split_once('}')?;
                (head, names, tail)
            }
        };
        let names = names.trim().trim_start_matches('(').trim_end_matches(')');
        Some((head, names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect(), tail))
    }
    let (ours, theirs) = (line.trim(), before.trim());
    let imports =
        IMPORTS.iter().any(|word| ours.starts_with(word)) && !ours.starts_with("const ") || ours.contains("require(");
    match (parts(ours).filter(|_| imports && indentation(line) == indentation(before)), parts(theirs)) {
        (Some((head, names, tail)), Some((from, known, end))) => {
            (head, tail) == (from, end) && names.iter().all(|name| known.contains(name))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(language: Language, before: &str, after: &str, gone: &[&str]) -> Option<String> {
        let all = lex(language, before);
        let named: Vec<String> = bodies(language, &all).into_iter().map(|(name, _)| name.to_owned()).collect();
        let stays = |name: &str| {
            let is_test = name.to_lowercase().starts_with("test") || name.contains(' ');
            is_test && named.iter().any(|known| known == name)
        };
        more_than_less(language, before, after, &|name| gone.contains(&name), &stays)
    }

    const PYTHON: &str = "import unittest
from shop import (
    coupon,
    total,
)


class Cart(unittest.TestCase):
    def setUp(self):
        self.cart = [100]

    def test_total(self):
        self.assertEqual(total(self.cart), 100)

    # Five off.
    @unittest.skipIf(
        False, 'never'
    )
    def test_coupon(self):
        self.assertEqual(coupon(100), 95)

    def tearDown(self):
        self.assertEqual(self.cart, [100])


class Coupon(unittest.TestCase):
    def setUp(self):
        self.five = coupon(5)

    def test_five(self):
        self.assertEqual(self.five, 0)
";

    fn without(text: &str, parts: &[&str]) -> String {
        parts.iter().fold(text.to_owned(), |text, part| {
            assert!(text.contains(part), "{part}");
            text.replacen(part, "", 1)
        })
    }

    #[test]
    fn a_test_goes_with_what_marks_it_and_a_block_with_its_last_test() {
        let test = "    # Five off.\n    @unittest.skipIf(\n        False, 'never'\n    )\n    def test_coupon(self):\n        self.assertEqual(coupon(100), 95)\n\n";
        let (_, block) = PYTHON.split_once("\n\n\nclass Coupon").unwrap();
        let block = format!("\n\n\nclass Coupon{}", block.trim_end_matches('\n'));
        let all = ["test_coupon", "test_five"];
        for (parts, gone) in [
            (vec![test], &all[..1]),
            (vec![test, &block, "    coupon,\n"], &all),
            (vec!["    def test_five(self):\n        self.assertEqual(self.five, 0)\n"], &all[1..]),
            (vec![&*block], &all[1..]),
        ] {
            assert_eq!(fault(Language::Python, PYTHON, &without(PYTHON, &parts), gone), None, "{parts:?}");
        }
        let go = "package cart\n\nimport (\n\t\"strings\"\n\t\"testing\"\n)\n\nfunc TestA(t *testing.T) {\n\tt.Log(strings.ToUpper(\"a\"))\n}\n\nfunc TestB(t *testing.T) {\n\tt.Log(1)\n}\n";
        let left =
            without(go, &["\t\"strings\"\n", "func TestA(t *testing.T) {\n\tt.Log(strings.ToUpper(\"a\"))\n}\n\n"]);
        assert_eq!(fault(Language::Go, go, &left, &["TestA"]), None);
        let script = "import { a, b } from './x';\n\ndescribe('c', () => {\n  it('goes', () => {\n    expect(a()).toBe(1);\n  });\n\n  it('stays here', () => {\n    expect(b()).toBe(1);\n  });\n});\n";
        let left = without(script, &["a, ", "  it('goes', () => {\n    expect(a()).toBe(1);\n  });\n\n"]);
        assert_eq!(fault(Language::JavaScript, script, &left, &["goes"]), None);
    }

    #[test]
    fn nothing_else_goes_or_comes() {
        let gone = ["test_coupon", "test_five"];
        let test = "    def test_coupon(self):\n        self.assertEqual(coupon(100), 95)\n\n";
        let marks = "    # Five off.\n    @unittest.skipIf(\n        False, 'never'\n    )\n";
        let honest = without(PYTHON, &[marks, test]);
        assert_eq!(fault(Language::Python, PYTHON, &honest, &gone), None);
        for (name, after, because) in [
            (
                "defined twice",
                honest.replace(
                    "    def tearDown",
                    "    def test_total(self):\n        self.assertTrue(True)\n\n    def tearDown",
                ),
                "`def test_total(self):` is new",
            ),
            (
                "a hook",
                without(&honest, &["    def tearDown(self):\n        self.assertEqual(self.cart, [100])\n"]),
                "`def tearDown(self):` is missing",
            ),
            (
                "the class of others without its line",
                without(&honest, &["class Coupon(unittest.TestCase):\n"]),
                "`def setUp(self):` is new or another",
            ),
            (
                "an import that stays in use elsewhere",
                without(&honest, &["import unittest\n"]),
                "`import unittest` is missing",
            ),
            ("an order", honest.replace("[100])\n", "[100])\n        return\n"), "`return` is new"),
            ("a depth", honest.replace("        self.assertEqual(total", "         self.assertEqual(total"), "is new"),
            ("a mark that slips", without(PYTHON, &[test]), "`def test_coupon(self):` is missing"),
        ] {
            let fault = fault(Language::Python, PYTHON, &after, &gone);
            assert!(fault.as_ref().is_some_and(|fault| fault.contains(because)), "{name}: {fault:?}");
        }

        let cut = format!("{PYTHON}\u{fffd}");
        assert_eq!(fault(Language::Python, &cut, &cut, &gone), Some("it is too long to be compared".into()));

        let rust = "#[test]\n#[should_panic]\nfn test_a() {\n    a();\n}\n\n#[test]\nfn test_b() {\n    b();\n}\n";
        let left = without(rust, &["#[test]\nfn test_b() {\n    b();\n}\n"]);
        assert_eq!(fault(Language::Rust, rust, &left, &["test_b"]), None);
        let weaker = without(&left, &["#[should_panic]\n"]);
        assert!(fault(Language::Rust, rust, &weaker, &["test_b"]).is_some_and(|fault| fault.contains("should_panic")));

        let script = "describe('c', () => {\n  it('goes', () => {\n    a();\n  });\n  it('stays here', () => {\n    b();\n  });\n});\n";
        let left = without(script, &["  it('goes', () => {\n    a();\n  });\n"]);
        let mocked = left.replace("  });\n});", "  }); jest.mock('./b');\n});");
        assert!(
            fault(Language::JavaScript, script, &mocked, &["goes"]).is_some_and(|fault| fault.contains("jest.mock"))
        );
    }
}
