//! Text that others had a hand in, made harmless where GitHub acts on what it reads: a mention notifies people, "fixes
//! owner/name#3" closes somebody's issue at merge, a tag can end our own frame.
//!
//! Mentions: <https://docs.github.com/en/get-started/writing-on-github>, closing keywords:
//! <https://docs.github.com/en/issues/tracking-your-work-with-issues/using-issues/linking-a-pull-request-to-an-issue>.
//! Code spans and blocks stay as they are: GitHub reads neither mentions nor references there.

/// Invisible, and enough to break a word that GitHub would act on.
const WORD_JOINER: char = '\u{2060}';

const CLOSING: [&str; 9] = ["close", "closes", "closed", "fix", "fixes", "fixed", "resolve", "resolves", "resolved"];

/// Markdown that looks the same and makes GitHub do nothing.
pub fn quiet(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for (n, piece) in code_and_prose(text).enumerate() {
        if n % 2 == 1 { out.push_str(piece) } else { prose(piece, &mut out) }
    }
    out
}

/// Prose, code, prose, code, ...: a run of backticks opens code that the next run of the same length ends. Without such an
/// end it is prose.
fn code_and_prose(text: &str) -> impl Iterator<Item = &str> {
    let mut pieces = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while let Some(found) = text[at..].find('`') {
        let open = at + found;
        let ticks = text[open..].bytes().take_while(|byte| *byte == b'`').count();
        let Some(end) = closing_run(text, open + ticks, ticks) else {
            at = open + ticks;
            continue;
        };
        pieces.push(&text[begin..open]);
        pieces.push(&text[open..end]);
        (begin, at) = (end, end);
    }
    pieces.push(&text[begin..]);
    pieces.into_iter()
}

fn closing_run(text: &str, from: usize, ticks: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = text[at..].find('`') {
        let start = at + found;
        let run = text[start..].bytes().take_while(|byte| *byte == b'`').count();
        if run == ticks {
            return Some(start + run);
        }
        at = start + run;
    }
    None
}

fn prose(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        if word > 0 {
            let (name, after) = rest.split_at(word);
            if closes(name, after) {
                out.push_str(&name[..1]);
                out.push(WORD_JOINER);
                out.push_str(&name[1..]);
            } else {
                out.push_str(name);
            }
            rest = after;
            continue;
        }
        let after = &rest[first.len_utf8()..];
        let next = after.chars().next();
        match first {
            '<' if next.is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) => {
                out.push_str("&lt;");
            }
            '@' if next.is_some_and(|c| c.is_ascii_alphanumeric()) => out.extend(['@', WORD_JOINER]),
            '#' if next.is_some_and(|c| c.is_ascii_digit()) => out.extend(['#', WORD_JOINER]),
            other => out.push(other),
        }
        rest = after;
    }
}

/// `fixes` before `#3`, `owner/name#3`, `GH-3` or a link.
fn closes(word: &str, after: &str) -> bool {
    if !CLOSING.iter().any(|keyword| word.eq_ignore_ascii_case(keyword)) {
        return false;
    }
    let after = after.strip_prefix(':').unwrap_or(after);
    let target = after.trim_start();
    let target = target.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    target.contains('#') || target.starts_with("gh-") || target.starts_with("http")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible(text: &str) -> String {
        text.replace(WORD_JOINER, "|")
    }

    #[test]
    fn nobody_is_notified_and_nothing_is_closed() {
        assert_eq!(visible(&quiet("Ask @acme/everyone, see #3.")), "Ask @|acme/everyone, see #|3.");
        assert_eq!(visible(&quiet("Fixes acme/other#3")), "F|ixes acme/other#|3");
        assert_eq!(
            visible(&quiet("resolves: https://github.com/a/b/issues/1")),
            "r|esolves: https://github.com/a/b/issues/1"
        );
        assert_eq!(visible(&quiet("closed GH-12")), "c|losed GH-12");
        assert_eq!(quiet("fixes the total, prefix, a @ b, C# and <= 3"), "fixes the total, prefix, a @ b, C# and <= 3");
    }

    #[test]
    fn our_frame_cannot_be_ended() {
        assert_eq!(quiet("</details><img src=x> <!-- x"), "&lt;/details>&lt;img src=x> &lt;!-- x");
    }

    #[test]
    fn code_stays_as_it_is() {
        assert_eq!(quiet("`@pytest.fixture`"), "`@pytest.fixture`");
        assert_eq!(quiet("```\n@x <b> ` #1\n``` ä"), "```\n@x <b> ` #1\n``` ä");
        assert_eq!(visible(&quiet("`@open and ``two @x`` `")), "`@open and ``two @x`` `");
        assert_eq!(visible(&quiet("it's ` @a")), "it's ` @|a");
    }
}
