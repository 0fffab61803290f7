//! Text for the model: bounded, and cut where a person would cut.

/// Cuts `text` to at most `cap` bytes, with a note. The beginning stays.
pub(super) fn cap(text: &str, cap: usize) -> String {
    if text.len() <= cap {
        return text.to_owned();
    }
    let note = format!("\n[... cut, {} bytes in all]", text.len());
    let room = cap.saturating_sub(note.len());
    let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}{note}", &text[..end])
}

/// Cuts one line to at most `characters`.
pub(super) fn cap_line(line: &str, characters: usize) -> String {
    match line.char_indices().nth(characters) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.to_owned(),
    }
}

/// A path as text: bytes that are no UTF-8, and control characters, as `\xE9`.
pub(super) fn shown(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_ascii_control() { out.push_str(&format!("\\x{:02X}", u32::from(c))) } else { out.push(c) }
        }
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02X}")));
    }
    out
}

/// The path that [`shown`] shows as `text`.
pub(super) fn meant(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        out.extend_from_slice(before.as_bytes());
        match after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &after[2..];
            }
            None => {
                out.extend_from_slice(b"\\x");
                rest = after;
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    // Only what cannot be written otherwise is shown like this; all else means itself.
    let is_plain = |text: &str| !text.chars().any(|c| c.is_ascii_control());
    if std::str::from_utf8(&out).is_ok_and(is_plain) { text.as_bytes().to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_other_encodings_are_shown_and_understood() {
        for (bytes, text) in [
            (&b"caf\xE9.txt"[..], "caf\\xE9.txt"),
            (b"two\nlines", "two\\x0Alines"),
            ("caf\u{e9}".as_bytes(), "caf\u{e9}"),
            (b"a\\x41", "a\\x41"),
            (b"\\xzz", "\\xzz"),
        ] {
            assert_eq!(shown(bytes), text);
            assert_eq!(meant(text), bytes, "{text}");
        }
    }

    #[test]
    fn cuts_are_noted_and_never_inside_a_character() {
        assert_eq!(cap("short", 100), "short");
        let cut = cap(&"ä".repeat(100), 61);
        assert!(cut.len() <= 61 && cut.ends_with("[... cut, 200 bytes in all]"), "{cut}");
        assert_eq!(cap_line("abcdef", 3), "abc...");
        assert_eq!(cap_line("äöü", 3), "äöü");
    }
}
