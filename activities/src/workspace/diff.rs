//! Names of files in the headers of a `git diff`.

/// The file that a line `+++ b/path` names. git quotes a name with quotes, backslashes or control characters.
pub(super) fn named(header: &str) -> Option<String> {
    let name = header.strip_prefix("+++ ")?;
    if let Some(name) = name.strip_prefix("b/") {
        // After a name with blanks git puts a tab.
        return Some(name.strip_suffix('\t').unwrap_or(name).to_owned());
    }
    let quoted = name.trim_end().strip_prefix('"')?.strip_suffix('"')?;
    unquoted(quoted)?.strip_prefix("b/").map(str::to_owned)
}

/// `a\"b\303\251` without its escapes. `None`: it is not UTF-8.
fn unquoted(text: &str) -> Option<String> {
    let mut out: Vec<u8> = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match rest.next()? {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'a' => 7,
            b'b' => 8,
            b'v' => 11,
            b'f' => 12,
            digit @ b'0'..=b'3' => {
                let digits = [digit, rest.next()?, rest.next()?].map(|digit| digit.wrapping_sub(b'0'));
                digits.iter().fold(0_u8, |value, digit| value.wrapping_mul(8).wrapping_add(*digit))
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_however_they_are_written() {
        for (header, name) in [
            ("+++ b/shop/a.py", Some("shop/a.py")),
            ("+++ b/a b.py\t", Some("a b.py")),
            ("+++ b/\u{e9}.py", Some("\u{e9}.py")),
            ("+++ \"b/\\303\\251\\\"\\t.py\"", Some("\u{e9}\"\t.py")),
            ("+++ \"b/\\351.py\"", None),
            ("+++ /dev/null", None),
            ("--- a/x", None),
        ] {
            assert_eq!(named(header).as_deref(), name, "{header}");
        }
    }
}
