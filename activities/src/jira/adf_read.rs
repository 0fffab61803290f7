//! Atlassian Document Format to Markdown, for reading
//! (<https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/>). Unknown nodes give their text.

use serde_json::Value;

/// Deepest nesting that is followed; more is left out with a note.
const DEPTH: usize = 40;

/// The document as Markdown. `null` is empty, a plain string (API v2) is itself.
pub(super) fn markdown(document: &Value) -> String {
    match document {
        Value::String(text) => text.clone(),
        _ => blocks(document, "", 0).trim().to_owned(),
    }
}

fn children(node: &Value) -> impl Iterator<Item = &Value> {
    node["content"].as_array().into_iter().flatten()
}

fn blocks(node: &Value, indent: &str, depth: usize) -> String {
    if depth > DEPTH {
        return format!("{indent}[too deep]\n");
    }
    children(node).map(|child| block(child, indent, depth + 1)).collect::<Vec<_>>().join("\n")
}

fn block(node: &Value, indent: &str, depth: usize) -> String {
    let kind = node["type"].as_str().unwrap_or_default();
    let attribute = |name: &str| node["attrs"][name].as_str().unwrap_or_default();
    match kind {
        "paragraph" => format!("{indent}{}\n", inline(node, depth)),
        "heading" => {
            let level = node["attrs"]["level"].as_u64().unwrap_or(1).clamp(1, 6);
            let marks = "#".repeat(usize::try_from(level).unwrap_or(1));
            format!("{indent}{marks} {}\n", inline(node, depth))
        }
        "bulletList" | "orderedList" | "taskList" | "decisionList" => list(node, kind, indent, depth),
        "codeBlock" => {
            let text: String = children(node).filter_map(|child| child["text"].as_str()).collect();
            format!("{indent}```{}\n{text}\n{indent}```\n", attribute("language"))
        }
        "blockquote" | "panel" | "expand" | "nestedExpand" => {
            let title = attribute("title");
            let title = if title.is_empty() { String::new() } else { format!("{indent}> **{title}**\n") };
            let inner = blocks(node, "", depth);
            let quoted: Vec<String> = inner.trim_end().lines().map(|line| format!("{indent}> {line}")).collect();
            format!("{title}{}\n", quoted.join("\n"))
        }
        "rule" => format!("{indent}---\n"),
        "table" => table(node, indent, depth),
        "mediaSingle" | "mediaGroup" => format!("{indent}[attachment]\n"),
        "blockCard" | "embedCard" => format!("{indent}{}\n", attribute("url")),
        "text" | "hardBreak" | "mention" | "emoji" | "inlineCard" | "status" | "date" => {
            format!("{indent}{}\n", inline_node(node, depth))
        }
        _ => blocks(node, indent, depth),
    }
}

fn list(node: &Value, kind: &str, indent: &str, depth: usize) -> String {
    let mut lines = String::new();
    for (n, item) in children(node).enumerate() {
        let mark = match (kind, item["attrs"]["state"].as_str()) {
            ("orderedList", _) => format!("{}. ", n + 1),
            ("taskList", Some("DONE")) => "- [x] ".to_owned(),
            ("taskList", _) => "- [ ] ".to_owned(),
            _ => "- ".to_owned(),
        };
        let deeper = format!("{indent}{}", " ".repeat(mark.len().min(3)));
        let is_inline =
            children(item).all(|child| matches!(child["type"].as_str(), Some("text" | "hardBreak" | "mention")));
        let inner = if is_inline { inline(item, depth) } else { blocks(item, &deeper, depth) };
        lines.push_str(&format!("{indent}{mark}{}\n", inner.trim()));
    }
    lines
}

fn table(node: &Value, indent: &str, depth: usize) -> String {
    let mut lines = Vec::new();
    for (n, row) in children(node).enumerate() {
        let cells: Vec<String> = children(row)
            .map(|cell| blocks(cell, "", depth).split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|"))
            .collect();
        lines.push(format!("{indent}| {} |", cells.join(" | ")));
        if n == 0 {
            lines.push(format!("{indent}|{}", "---|".repeat(cells.len())));
        }
    }
    lines.join("\n") + "\n"
}

fn inline(node: &Value, depth: usize) -> String {
    if depth > DEPTH {
        return "[too deep]".to_owned();
    }
    children(node).map(|child| inline_node(child, depth + 1)).collect()
}

fn inline_node(node: &Value, depth: usize) -> String {
    let attribute = |name: &str| node["attrs"][name].as_str().unwrap_or_default();
    match node["type"].as_str().unwrap_or_default() {
        "text" => marked(node),
        "hardBreak" => "\n".to_owned(),
        "mention" => format!("@{}", attribute("text").trim_start_matches('@')),
        "emoji" => attribute(if attribute("text").is_empty() { "shortName" } else { "text" }).to_owned(),
        "inlineCard" => attribute("url").to_owned(),
        "status" => format!("[{}]", attribute("text")),
        "date" => attribute("timestamp").to_owned(),
        _ => inline(node, depth),
    }
}

fn marked(node: &Value) -> String {
    let mut text = node["text"].as_str().unwrap_or_default().to_owned();
    for mark in node["marks"].as_array().into_iter().flatten() {
        text = match mark["type"].as_str().unwrap_or_default() {
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
