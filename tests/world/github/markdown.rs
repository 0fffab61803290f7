//! Markdown to HTML, as much as pull request descriptions and comments use. Everything else shows as text; no HTML of
//! the source gets through except folded sections.

/// Escapes text for HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Renders a document.
pub(super) fn html(source: &str) -> String {
    let mut out = String::new();
    let mut open: Vec<&'static str> = Vec::new();
    let mut lines = source.lines().peekable();
    let mut hidden = false;
    while let Some(line) = lines.next() {
        let text = line.trim();
        // Hidden markers: `<!-- ... -->`, also over several lines.
        if hidden || text.starts_with("<!--") {
            hidden = !text.contains("-->");
            continue;
        }
        if let Some(language) = text.strip_prefix("```") {
            close(&mut out, &mut open);
            out.push_str(&format!("<pre class=\"code {}\">", escape(language)));
            for code in lines.by_ref().take_while(|code| code.trim() != "```") {
                out.push_str(&escape(code));
                out.push('\n');
            }
            out.push_str("</pre>\n");
            continue;
        }
        if text.is_empty() {
            close(&mut out, &mut open);
            continue;
        }
        if is_fold_tag(text) {
            close(&mut out, &mut open);
            out.push_str(&fold_tag(text));
            continue;
        }
        let level = text.bytes().take_while(|byte| *byte == b'#').count();
        if (1..=6).contains(&level) && text.as_bytes().get(level) == Some(&b' ') {
            close(&mut out, &mut open);
            out.push_str(&format!("<h{level}>{}</h{level}>\n", inline(&text[level + 1..])));
        } else if text.len() >= 3 && text.bytes().all(|byte| byte == b'-' || byte == b'*') {
            close(&mut out, &mut open);
            out.push_str("<hr>\n");
        } else if let Some(item) = text.strip_prefix("- ").or_else(|| text.strip_prefix("* ")) {
            switch(&mut out, &mut open, "ul");
            out.push_str(&format!("<li{}>{}</li>\n", indent(line), task(item)));
        } else if let Some(item) = numbered(text) {
            switch(&mut out, &mut open, "ol");
            out.push_str(&format!("<li{}>{}</li>\n", indent(line), inline(item)));
        } else if let Some(quote) = text.strip_prefix('>') {
            switch(&mut out, &mut open, "blockquote");
            out.push_str(&format!("{}<br>\n", inline(quote.trim())));
        } else if text.starts_with('|') {
            let next = lines.peek().map(|next| next.trim()).unwrap_or_default();
            let heads = open.last() != Some(&"table") && next.starts_with('|') && next.contains("--");
            switch(&mut out, &mut open, "table");
            let rule = text.bytes().all(|byte| matches!(byte, b'|' | b'-' | b':' | b' '));
            if !rule {
                let tag = if heads { "th" } else { "td" };
                let cells =
                    text.trim_matches('|').split('|').map(|cell| format!("<{tag}>{}</{tag}>", inline(cell.trim())));
                out.push_str(&format!("<tr>{}</tr>\n", cells.collect::<String>()));
            }
        } else {
            if open.is_empty() {
                switch(&mut out, &mut open, "p");
            }
            out.push_str(&inline(text));
            out.push('\n');
        }
    }
    close(&mut out, &mut open);
    out
}

fn close(out: &mut String, open: &mut Vec<&'static str>) {
    while let Some(tag) = open.pop() {
        out.push_str(&format!("</{tag}>\n"));
    }
}

fn switch(out: &mut String, open: &mut Vec<&'static str>, tag: &'static str) {
    if open.last() != Some(&tag) {
        close(out, open);
        out.push_str(&format!("<{tag}>"));
        open.push(tag);
    }
}

fn indent(line: &str) -> String {
    let depth = line.len() - line.trim_start().len();
    if depth >= 2 { format!(" style=\"margin-left:{}em\"", depth / 2) } else { String::new() }
}

fn task(item: &str) -> String {
    match (item.strip_prefix("[ ] "), item.strip_prefix("[x] ").or_else(|| item.strip_prefix("[X] "))) {
        (Some(rest), _) => format!("<input type=\"checkbox\" disabled> {}", inline(rest)),
        (_, Some(rest)) => format!("<input type=\"checkbox\" checked disabled> {}", inline(rest)),
        _ => inline(item),
    }
}

fn numbered(text: &str) -> Option<&str> {
    let (number, rest) = text.split_once(". ")?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(rest)
}

fn is_fold_tag(text: &str) -> bool {
    ["<details", "</details>", "<summary>"].iter().any(|tag| text.starts_with(tag))
}

fn fold_tag(text: &str) -> String {
    let mut safe = escape(text);
    for tag in ["details", "/details", "summary", "/summary"] {
        safe = safe.replace(&format!("&lt;{tag}&gt;"), &format!("<{tag}>"));
    }
    safe.push('\n');
    safe
}

/// Code, bold, italics and links inside a line.
fn inline(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['`', '*', '[', '<']) {
        out.push_str(&escape(&rest[..at]));
        rest = &rest[at..];
        let (piece, after) = marked(rest);
        out.push_str(&piece);
        rest = after;
    }
    out.push_str(&escape(rest));
    out
}

fn marked(text: &str) -> (String, &str) {
    for (mark, tag) in [("`", "code"), ("**", "b"), ("*", "i")] {
        if let Some((inside, after)) = text.strip_prefix(mark).and_then(|rest| rest.split_once(mark))
            && !inside.is_empty()
            && !(mark == "*" && inside.starts_with(' '))
        {
            let inside = if tag == "code" { escape(inside) } else { inline(inside) };
            return (format!("<{tag}>{inside}</{tag}>"), after);
        }
    }
    if let Some((words, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once("]("))
        && let Some((url, after)) = rest.split_once(')')
        && (url.starts_with("http://") || url.starts_with("https://") || url.starts_with('/') || url.starts_with('#'))
    {
        return (format!("<a href=\"{}\">{}</a>", escape(url), inline(words)), after);
    }
    if let Some((url, after)) = text.strip_prefix('<').and_then(|rest| rest.split_once('>'))
        && url.starts_with("http")
    {
        return (format!("<a href=\"{0}\">{0}</a>", escape(url)), after);
    }
    let mut letters = text.chars();
    let first = letters.next().map(|letter| escape(&letter.to_string())).unwrap_or_default();
    (first, letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::html;

    #[test]
    fn descriptions_are_readable_and_harmless() {
        let source = "<!-- marker -->\n## Why\nTotals go *negative*: `a<b`, see [SHOP-1](http://x/1).\n\n- [x] done\n- [ ] open\n\n| a | b |\n|---|---|\n| 1 | **2** |\n\n```diff\n-x\n```\n<script>alert(1)</script> [x](javascript:1)";
        assert_eq!(
            html(source),
            "<h2>Why</h2>\n<p>Totals go <i>negative</i>: <code>a&lt;b</code>, see <a href=\"http://x/1\">SHOP-1</a>.\n</p>\n<ul><li><input type=\"checkbox\" checked disabled> done</li>\n<li><input type=\"checkbox\" disabled> open</li>\n</ul>\n<table><tr><th>a</th><th>b</th></tr>\n<tr><td>1</td><td><b>2</b></td></tr>\n</table>\n<pre class=\"code diff\">-x\n</pre>\n<p>&lt;script&gt;alert(1)&lt;/script&gt; [x](javascript:1)\n</p>\n"
        );
    }
}
