//! Splits source text of the languages we know into words, literals and marks: enough to find assertions, no more.

use std::ops::Range;

/// A language whose assertions are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::workspace) enum Language {
    /// Python 3.
    Python,
    /// JavaScript and TypeScript.
    JavaScript,
    /// Go.
    Go,
    /// Rust.
    Rust,
    /// Java and Kotlin, as far as they look alike.
    Java,
}

impl Language {
    /// By the file's extension.
    pub(in crate::workspace) fn of(path: &str) -> Option<Self> {
        Some(match path.rsplit_once('.')?.1 {
            "py" => Self::Python,
            "js" | "jsx" | "mjs" | "cjs" | "ts" | "tsx" | "mts" | "cts" => Self::JavaScript,
            "go" => Self::Go,
            "rs" => Self::Rust,
            "java" | "kt" => Self::Java,
            _ => return None,
        })
    }

    /// Where a comment to the end of the line begins.
    pub(in crate::workspace) fn comment(self) -> &'static str {
        if self == Self::Python { "#" } else { "//" }
    }
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or keyword.
    Word,
    /// A number.
    Number,
    /// A string that is nothing but its text.
    Text,
    /// A single character in quotes.
    Character,
    /// A template, an f-string, a regular expression: a literal that is not changed.
    Woven,
    /// An operator, a bracket, a comma.
    Mark,
}

/// A piece of source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    pub(super) at: Range<usize>,
    /// Line, from 1.
    pub(super) line: usize,
    /// Characters before it on its line; only meaningful for the first of a line.
    pub(super) column: usize,
    /// It is the first of its line.
    pub(super) first: bool,
}

impl Token<'_> {
    pub(super) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Mark) && self.text == text
    }
}

/// Marks of more than one character, longest first.
const MARKS: [&str; 27] = [
    "===", "!==", "...", "<<=", ">>=", "**=", "==", "!=", "<=", ">=", "&&", "||", "=>", "->", "::", ":=", "+=", "-=",
    "*=", "/=", "<-", "..", "++", "--", "??", "?.", "<<",
];

/// The tokens of `source`, without comments.
pub(super) fn lex(language: Language, source: &str) -> Vec<Token<'_>> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let (mut at, mut line, mut line_start) = (0, 1, 0);
    let mut seen_line = 0;
    while let Some(c) = source[at..].chars().next() {
        let rest = &source[at..];
        if c == '\n' {
            at += 1;
            line += 1;
            line_start = at;
            continue;
        }
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        if rest.starts_with(language.comment()) {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        if language != Language::Python && rest.starts_with("/*") {
            let length = rest.find("*/").map_or(rest.len(), |end| end + 2);
            line += rest[..length].matches('\n').count();
            at += length;
            continue;
        }
        let (kind, length) = token(language, rest, tokens.last());
        let text = &rest[..length];
        let first = seen_line != line;
        seen_line = line;
        tokens.push(Token { kind, text, at: at..at + length, line, column: at - line_start, first });
        let breaks = text.matches('\n').count();
        if breaks > 0 {
            line += breaks;
            line_start = at + text.rfind('\n').unwrap_or_default() + 1;
            seen_line = line;
        }
        at += length;
    }
    tokens
}

/// Kind and length of the token that `rest` begins with.
fn token(language: Language, rest: &str, before: Option<&Token<'_>>) -> (Kind, usize) {
    if let Some(found) = string(language, rest, before) {
        return found;
    }
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let c = rest.chars().next().unwrap_or(' ');
    if c.is_ascii_digit() {
        return (Kind::Number, number(rest));
    }
    if word(c) {
        return (Kind::Word, rest.find(|c| !word(c)).unwrap_or(rest.len()));
    }
    let length = MARKS.iter().find(|mark| rest.starts_with(**mark)).map_or(c.len_utf8(), |mark| mark.len());
    (Kind::Mark, length)
}

fn number(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut end = 1;
    while let Some(&b) = bytes.get(end) {
        let next_is_digit = bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        let after_exponent = matches!(bytes[end - 1], b'e' | b'E') && !rest.starts_with("0x");
        if b.is_ascii_alphanumeric()
            || b == b'_'
            || (b == b'.' && next_is_digit)
            || (matches!(b, b'+' | b'-') && after_exponent)
        {
            end += 1;
        } else {
            break;
        }
    }
    end
}

fn string(language: Language, rest: &str, before: Option<&Token<'_>>) -> Option<(Kind, usize)> {
    match language {
        Language::Python => {
            let prefix = rest.find(|c: char| !c.is_ascii_alphabetic()).filter(|n| *n <= 2)?;
            let (letters, body) = rest.split_at(prefix);
            if !letters.chars().all(|c| "rRbBuUfFtT".contains(c)) {
                return None;
            }
            let raw = letters.contains(['r', 'R']);
            let length = ["\"\"\"", "'''", "\"", "'"].iter().find_map(|quote| quoted(body, quote, raw))?;
            let woven = letters.contains(['f', 'F', 't', 'T']);
            Some((if woven { Kind::Woven } else { Kind::Text }, prefix + length))
        }
        Language::JavaScript => {
            if let Some(length) = quoted(rest, "`", false) {
                return Some((if rest[..length].contains("${") { Kind::Woven } else { Kind::Text }, length));
            }
            if rest.starts_with('/') && expression_begins(before) {
                return pattern(rest).map(|length| (Kind::Woven, length));
            }
            ["\"", "'"].iter().find_map(|quote| quoted(rest, quote, false)).map(|length| (Kind::Text, length))
        }
        Language::Go => {
            let text = quoted(rest, "`", true).or_else(|| quoted(rest, "\"", false));
            text.map(|length| (Kind::Text, length)).or_else(|| Some((Kind::Character, quoted(rest, "'", false)?)))
        }
        Language::Rust => {
            let raw = rest.strip_prefix('b').unwrap_or(rest);
            if let Some(body) = raw.strip_prefix('r') {
                let hashes = body.len() - body.trim_start_matches('#').len();
                if body[hashes..].starts_with('"') {
                    let close = format!("\"{}", "#".repeat(hashes));
                    let start = rest.len() - body.len() + hashes + 1;
                    let end = rest[start..].find(&close)? + start + close.len();
                    return Some((Kind::Text, end));
                }
            }
            if raw.starts_with('"') {
                return quoted(raw, "\"", false).map(|length| (Kind::Text, rest.len() - raw.len() + length));
            }
            // `'a'` and `'\n'` are characters, `'a` is a lifetime.
            let mut inner = raw.strip_prefix('\'')?.chars();
            let first = inner.next()?;
            (first == '\\' || inner.next() == Some('\'')).then_some(())?;
            quoted(raw, "'", false).map(|length| (Kind::Character, rest.len() - raw.len() + length))
        }
        Language::Java => {
            let text = quoted(rest, "\"\"\"", false).or_else(|| quoted(rest, "\"", false));
            text.map(|length| (Kind::Text, length)).or_else(|| Some((Kind::Character, quoted(rest, "'", false)?)))
        }
    }
}

/// Length of a string that begins with `quote`, with both quotes. One that never ends reaches to the end of its line.
fn quoted(rest: &str, quote: &str, raw: bool) -> Option<usize> {
    let body = rest.strip_prefix(quote)?;
    let many_lines = quote.len() == 3 || quote == "`";
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        if c == '\n' && !many_lines && !escaped {
            return Some(quote.len() + at);
        }
        if escaped {
            escaped = false;
        } else if c == '\\' && !(raw && quote == "`") {
            // A raw string of Python may not end in a backslash either.
            escaped = true;
        } else if body[at..].starts_with(quote) {
            return Some(at + 2 * quote.len());
        }
    }
    Some(rest.len())
}

/// Whether a slash after `before` begins a regular expression and is no division.
fn expression_begins(before: Option<&Token<'_>>) -> bool {
    match before {
        None => true,
        Some(token) => match token.kind {
            Kind::Mark => !matches!(token.text, ")" | "]" | "}"),
            Kind::Word => matches!(token.text, "return" | "case" | "typeof" | "in" | "of"),
            _ => false,
        },
    }
}

/// Length of a regular expression with its flags; `None`: it does not end on its line.
fn pattern(rest: &str) -> Option<usize> {
    let (mut escaped, mut in_set) = (false, false);
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '\n' => return None,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => in_set = true,
            ']' => in_set = false,
            '/' if !in_set => {
                let flags = rest[at + 1..].find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len() - at - 1);
                return Some(at + 1 + flags);
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(language: Language, source: &str) -> Vec<(Kind, &str)> {
        lex(language, source).into_iter().map(|token| (token.kind, token.text)).collect()
    }

    #[test]
    fn literals_are_told_from_the_rest() {
        use Kind::{Character, Mark, Number, Text, Word, Woven};
        for (language, source, expected) in [
            (Language::Python, "x == b'a\\'' # 'c'", vec![(Word, "x"), (Mark, "=="), (Text, "b'a\\''")]),
            (Language::Python, "f'{x}' 1.5e-3", vec![(Woven, "f'{x}'"), (Number, "1.5e-3")]),
            (Language::Python, "\"\"\"a\n\"b\"\"\" y", vec![(Text, "\"\"\"a\n\"b\"\"\""), (Word, "y")]),
            (Language::JavaScript, "a / 2 /* '*/", vec![(Word, "a"), (Mark, "/"), (Number, "2")]),
            (Language::JavaScript, "(/a[/]'/g)", vec![(Mark, "("), (Woven, "/a[/]'/g"), (Mark, ")")]),
            (Language::JavaScript, "`a${b}`", vec![(Woven, "`a${b}`")]),
            (Language::Go, "got != `a\\`", vec![(Word, "got"), (Mark, "!="), (Text, "`a\\`")]),
            (
                Language::Rust,
                "'a' &'b r#\"x\"y\"#",
                vec![(Character, "'a'"), (Mark, "&"), (Mark, "'"), (Word, "b"), (Text, "r#\"x\"y\"#")],
            ),
            (Language::Rust, "1..3_u8", vec![(Number, "1"), (Mark, ".."), (Number, "3_u8")]),
            (Language::Java, "'x' + \"y\"", vec![(Character, "'x'"), (Mark, "+"), (Text, "\"y\"")]),
        ] {
            assert_eq!(kinds(language, source), expected, "{source}");
        }
        let tokens = lex(Language::Python, "def f():\n    pass\n");
        let pass = tokens.last().unwrap();
        assert_eq!((pass.line, pass.column, pass.first), (2, 4, true));
        assert!(!lex(Language::Python, "'never ends\nx").is_empty());
    }
}
