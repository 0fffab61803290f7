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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_noted_and_never_inside_a_character() {
        assert_eq!(cap("short", 100), "short");
        let cut = cap(&"ä".repeat(100), 61);
        assert!(cut.len() <= 61 && cut.ends_with("[... cut, 200 bytes in all]"), "{cut}");
        assert_eq!(cap_line("abcdef", 3), "abc...");
        assert_eq!(cap_line("äöü", 3), "äöü");
    }
}
