//! Text into HTML, for the pages of the stand-ins.

/// Escapes text for element content and quoted attributes.
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_of_the_text_can_become_markup() {
        assert_eq!(super::html("<a href='\"x\"'>&"), "&lt;a href=&#39;&quot;x&quot;&#39;&gt;&amp;");
    }
}
