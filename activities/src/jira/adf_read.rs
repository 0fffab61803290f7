//! Atlassian Document Format to Markdown, for reading
//! (<https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/>). Unknown nodes give their text.

use chrono::DateTime;
use serde_json::Value;

/// Deepest nesting that is followed; more is left out with a note.
const DEPTH: usize = 40;

/// The document as Markdown. `null` is empty, a plain string (API v2) is itself.
pub(super) fn markdown(document: &Value) -> String {
    match document {
        Value::String(text) => text.clone(),
        _ => blocks(document, 0).trim().to_owned(),
    }
}

fn children(node: &Value) -> impl Iterator<Item = &Value> {
    node["content"].as_array().into_iter().flatten()
}

fn kind_of(node: &Value) -> &str {
    node["type"].as_str().unwrap_or_default()
}

fn is_inline(node: &Value) -> bool {
    const INLINE: [&str; 10] = [
        "text",
        "hardBreak",
        "mention",
        "emoji",
        "inlineCard",
        "status",
        "date",
        "mediaInline",
        "inlineExtension",
        "placeholder",
    ];
    INLINE.contains(&kind_of(node))
}

/// The blocks of a node with a blank line between them. Neighbours that are inline share a line, wherever they stand.
fn blocks(node: &Value, depth: usize) -> String {
    if depth > DEPTH {
        return "[nested too deeply]".to_owned();
    }
    let mut blocks: Vec<String> = Vec::new();
    let mut in_line = false;
    for child in children(node) {
        let inline = is_inline(child);
        let text = if inline { inline_node(child, depth) } else { block(child, depth + 1) };
        match blocks.last_mut() {
            Some(line) if inline && in_line => line.push_str(&text),
            _ => blocks.push(text),
        }
        in_line = inline;
    }
    blocks.retain(|block| !block.trim().is_empty());
    blocks.join("\n\n")
}

fn block(node: &Value, depth: usize) -> String {
    let attribute = |name: &str| node["attrs"][name].as_str().unwrap_or_default();
    match kind_of(node) {
        "heading" => {
            let level = node["attrs"]["level"].as_u64().unwrap_or(1).clamp(1, 6);
            format!("{} {}", "#".repeat(usize::try_from(level).unwrap_or(1)), blocks(node, depth).replace('\n', " "))
        }
        "bulletList" | "orderedList" | "taskList" | "decisionList" => list(node, depth),
        "codeBlock" => {
            let text = blocks_of_code(node, depth);
            let fence = if text.contains("```") { "~~~~" } else { "```" };
            format!("{fence}{}\n{text}\n{fence}", attribute("language"))
        }
        "blockquote" => prefixed(&blocks(node, depth), "> ", "> "),
        "panel" => prefixed(&format!("[!{}]\n{}", attribute("panelType"), blocks(node, depth)), "> ", "> "),
        "expand" | "nestedExpand" => match (attribute("title"), blocks(node, depth)) {
            ("", inner) => inner,
            (title, inner) => format!("**{title}**\n\n{inner}"),
        },
        "rule" => "---".to_owned(),
        "table" => table(node, depth),
        "media" => attachment(node),
        "blockCard" | "embedCard" => attribute("url").to_owned(),
        _ => match blocks(node, depth) {
            inner if inner.is_empty() => attribute("text").to_owned(),
            inner => inner,
        },
    }
}

fn blocks_of_code(node: &Value, depth: usize) -> String {
    let line = |child: &Value| child["text"].as_str().map_or_else(|| block(child, depth + 1), str::to_owned);
    if depth > DEPTH { String::new() } else { children(node).map(line).collect() }
}

fn list(node: &Value, depth: usize) -> String {
    if depth > DEPTH {
        return "[nested too deeply]".to_owned();
    }
    let first = node["attrs"]["order"].as_u64().unwrap_or(1);
    let ordered = kind_of(node) == "orderedList";
    let item = |(n, item): (u64, &Value)| {
        if matches!(kind_of(item), "taskList" | "bulletList" | "orderedList") {
            // A list directly in a list is how task lists nest.
            return prefixed(&list(item, depth + 1), "  ", "  ");
        }
        let mark = match item["attrs"]["state"].as_str() {
            Some("DONE") => "- [x] ".to_owned(),
            Some("TODO") => "- [ ] ".to_owned(),
            _ if ordered => format!("{}. ", first.saturating_add(n)),
            _ => "- ".to_owned(),
        };
        // Below the text, not below the task's box: Markdown counts from there.
        let rest = " ".repeat(mark.len().min(if ordered { mark.len() } else { 2 }));
        let text = match kind_of(item) {
            "listItem" | "taskItem" | "blockTaskItem" | "decisionItem" => tight(item, depth + 1),
            _ if is_inline(item) => inline_node(item, depth),
            _ => block(item, depth + 1),
        };
        prefixed(&text, &mark, &rest)
    };
    (0..).zip(children(node)).map(item).collect::<Vec<_>>().join("\n")
}

/// A list item's blocks. Only between two paragraphs a blank line is needed.
fn tight(item: &Value, depth: usize) -> String {
    if children(item).any(is_inline) {
        return blocks(item, depth);
    }
    let mut text = String::new();
    let mut after_paragraph = false;
    for child in children(item) {
        let block = block(child, depth + 1);
        let paragraph = kind_of(child) == "paragraph";
        if !text.is_empty() {
            text.push_str(if after_paragraph && paragraph { "\n\n" } else { "\n" });
        }
        text.push_str(&block);
        after_paragraph = paragraph;
    }
    text
}

fn table(node: &Value, depth: usize) -> String {
    let mut lines = Vec::new();
    for (n, row) in children(node).enumerate() {
        // In one line: Markdown's tables know no other blocks in cells.
        let cell = |cell: &Value| {
            let text = if is_inline(cell) { inline_node(cell, depth) } else { blocks(cell, depth + 1) };
            text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
        };
        let cells: Vec<String> = if is_inline(row) { vec![cell(row)] } else { children(row).map(cell).collect() };
        lines.push(format!("| {} |", cells.join(" | ")));
        if n == 0 {
            lines.push(format!("|{}", "---|".repeat(cells.len().max(1))));
        }
    }
    lines.join("\n")
}

/// Puts `first` before the first line and `rest` before all others; blank lines stay blank unless the prefix is a mark.
fn prefixed(text: &str, first: &str, rest: &str) -> String {
    let line = |(n, line): (usize, &str)| match (n, line) {
        (0, line) => format!("{first}{line}"),
        (_, "") if rest.trim().is_empty() => String::new(),
        (_, line) => format!("{rest}{line}"),
    };
    let lines: Vec<String> = text.lines().enumerate().map(line).collect();
    if lines.is_empty() { first.trim_end().to_owned() } else { lines.join("\n") }
}

fn inline_node(node: &Value, depth: usize) -> String {
    let attribute = |name: &str| node["attrs"][name].as_str().unwrap_or_default();
    let or = |first: &str, second: &str| attribute(if attribute(first).is_empty() { second } else { first }).to_owned();
    match kind_of(node) {
        "text" => marked(node),
        "hardBreak" => "\n".to_owned(),
        "mention" => format!("@{}", or("text", "id").trim_start_matches('@')),
        "emoji" => or("text", "shortName"),
        "inlineCard" => attribute("url").to_owned(),
        "status" => format!("[{}]", attribute("text")),
        "date" => date(attribute("timestamp")),
        "mediaInline" => attachment(node),
        "inlineExtension" | "placeholder" => attribute("text").to_owned(),
        _ => blocks(node, depth + 1),
    }
}

fn attachment(node: &Value) -> String {
    match node["attrs"]["alt"].as_str().unwrap_or_default() {
        "" => "[attachment]".to_owned(),
        alt => format!("[attachment: {alt}]"),
    }
}

/// Milliseconds since 1970, as the format keeps dates, as `2026-11-21`.
fn date(timestamp: &str) -> String {
    let date = timestamp.parse().ok().and_then(DateTime::from_timestamp_millis);
    date.map_or_else(|| timestamp.to_owned(), |date| date.format("%Y-%m-%d").to_string())
}

fn marked(node: &Value) -> String {
    let mut text = node["text"].as_str().unwrap_or_default().to_owned();
    for mark in node["marks"].as_array().into_iter().flatten() {
        text = match mark["type"].as_str().unwrap_or_default() {
            "code" if text.contains('`') => format!("`` {text} ``"),
            "code" => format!("`{text}`"),
            "strong" => format!("**{text}**"),
            "em" => format!("*{text}*"),
            "strike" => format!("~~{text}~~"),
            "link" => format!("[{text}]({})", mark["attrs"]["href"].as_str().unwrap_or_default()),
            _ => text,
        };
    }
    text
}
