//! Atlassian Document Format: checked with Atlassian's own schema, made from Markdown, read as plain text and as HTML.
//!
//! `atlassian-document-format-v1.json` is `json-schema/v1/full.json` of the npm package `@atlaskit/adf-schema`
//! (Apache-2.0), draft 4.

use std::fmt::Write as _;
use std::sync::LazyLock;

use jsonschema::Validator;
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Parser, Tag, TagEnd};
use serde_json::{Value, json};

use crate::escape::html;
use crate::specs::telling;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema: Value =
        serde_json::from_str(include_str!("atlassian-document-format-v1.json")).expect("Atlassian's schema is JSON");
    jsonschema::draft4::new(&schema).expect("Atlassian's schema compiles")
});

/// Checks a document as Jira does, in a body where it stands at the JSON pointer `at`; the error names the place that is wrong.
pub(super) fn check(document: &Value, at: &str) -> Result<(), String> {
    let told = |error| format!("{} (not a valid Atlassian document)", telling(&error, at));
    SCHEMA.validate(document).map_err(told)
}

/// A document from CommonMark: headings, paragraphs, lists, quotes, code, emphasis, links.
pub(super) fn from_markdown(markdown: &str) -> Value {
    let mut builder = Builder { stack: vec![node("doc")], marks: Vec::new() };
    for event in Parser::new(markdown) {
        builder.take(event);
    }
    let mut document = builder.stack.swap_remove(0);
    document["version"] = json!(1);
    document
}

fn node(kind: &str) -> Value {
    json!({"type": kind, "content": []})
}

/// Open nodes, outermost first, and the marks that apply to text now.
struct Builder {
    stack: Vec<Value>,
    marks: Vec<Value>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.text(&text),
            Event::Code(code) => {
                // ADF allows no other mark than a link beside `code`.
                let mut marks: Vec<Value> = self.marks.iter().filter(|m| m["type"] == "link").cloned().collect();
                marks.push(json!({"type": "code"}));
                self.inline(json!({"type": "text", "text": code.as_ref(), "marks": marks}));
            }
            Event::SoftBreak => self.text(" "),
            Event::HardBreak => self.inline(json!({"type": "hardBreak"})),
            Event::Rule => self.push(json!({"type": "rule"})),
            Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph => self.stack.push(node("paragraph")),
            Tag::Heading { level, .. } => {
                let mut heading = node("heading");
                heading["attrs"] = json!({"level": level_number(level)});
                self.stack.push(heading);
            }
            Tag::BlockQuote(_) => self.stack.push(node("blockquote")),
            Tag::CodeBlock(kind) => {
                let mut block = node("codeBlock");
                if let CodeBlockKind::Fenced(language) = kind
                    && !language.is_empty()
                {
                    block["attrs"] = json!({"language": language.as_ref()});
                }
                self.stack.push(block);
            }
            Tag::List(None) => self.stack.push(node("bulletList")),
            Tag::List(Some(_)) => self.stack.push(node("orderedList")),
            Tag::Item => self.stack.push(node("listItem")),
            Tag::Strong => self.marks.push(json!({"type": "strong"})),
            Tag::Emphasis => self.marks.push(json!({"type": "em"})),
            Tag::Strikethrough => self.marks.push(json!({"type": "strike"})),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.marks.push(json!({"type": "link", "attrs": {"href": dest_url.as_ref()}}));
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Strong | TagEnd::Emphasis | TagEnd::Strikethrough | TagEnd::Link | TagEnd::Image => {
                self.marks.pop();
            }
            TagEnd::Item => {
                self.close_loose_paragraph();
                self.close();
            }
            TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::BlockQuote(_) | TagEnd::CodeBlock | TagEnd::List(_) => {
                self.close();
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        let in_code = self.stack.last().is_some_and(|top| top["type"] == "codeBlock");
        let text = if in_code { text.trim_end_matches('\n') } else { text };
        if text.is_empty() {
            return;
        }
        let mut inline = json!({"type": "text", "text": text});
        if !in_code && !self.marks.is_empty() {
            inline["marks"] = json!(self.marks);
        }
        self.inline(inline);
    }

    /// Text of a tight list item comes without a paragraph; ADF wants one.
    fn inline(&mut self, inline: Value) {
        if self.stack.last().is_some_and(|top| top["type"] == "listItem") {
            let mut paragraph = node("paragraph");
            paragraph["loose"] = json!(true);
            self.stack.push(paragraph);
        }
        self.push(inline);
    }

    fn close_loose_paragraph(&mut self) {
        if self.stack.last().is_some_and(|top| top.get("loose").is_some()) {
            self.close();
        }
    }

    fn push(&mut self, child: Value) {
        if let Some(content) = self.stack.last_mut().and_then(|top| top["content"].as_array_mut()) {
            content.push(child);
        }
    }

    fn close(&mut self) {
        if self.stack.len() < 2 {
            return;
        }
        if let Some(mut done) = self.stack.pop() {
            if let Some(map) = done.as_object_mut() {
                map.remove("loose");
            }
            // A nested list ends the loose paragraph before it.
            if matches!(done["type"].as_str(), Some("bulletList" | "orderedList")) {
                self.close_loose_paragraph();
            }
            self.push(done);
        }
    }
}

fn level_number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

fn children(node: &Value) -> &[Value] {
    node["content"].as_array().map_or(&[], Vec::as_slice)
}

/// The document as a person would type it: blocks on their own lines, list items with a dash, links with their target.
pub(super) fn plain(document: &Value) -> String {
    let mut text = String::new();
    plain_block(document, "", &mut text);
    text.trim_end().to_owned()
}

fn plain_block(node: &Value, indent: &str, out: &mut String) {
    match node["type"].as_str().unwrap_or_default() {
        "paragraph" | "heading" | "codeBlock" | "taskItem" | "decisionItem" => {
            let line: String = children(node).iter().map(plain_inline).collect();
            let _ = writeln!(out, "{}", line.replace('\n', &format!("\n{indent}")));
        }
        "bulletList" | "orderedList" => {
            for item in children(node) {
                let _ = write!(out, "{indent}- ");
                let deeper = format!("{indent}  ");
                for block in children(item) {
                    plain_block(block, &deeper, out);
                }
            }
        }
        "tableRow" => {
            let cells: Vec<String> = children(node).iter().map(plain).collect();
            let _ = writeln!(out, "{}", cells.join(" | "));
        }
        "rule" => out.push_str("----\n"),
        "blockCard" | "embedCard" => {
            let _ = writeln!(out, "{}", node["attrs"]["url"].as_str().unwrap_or_default());
        }
        _ => {
            if let Some(title) = node["attrs"]["title"].as_str() {
                let _ = writeln!(out, "{title}");
            }
            for block in children(node) {
                plain_block(block, indent, out);
            }
        }
    }
}

fn plain_inline(node: &Value) -> String {
    let attribute = |name: &str| node["attrs"][name].as_str().unwrap_or_default().to_owned();
    match node["type"].as_str().unwrap_or_default() {
        "text" => {
            let text = node["text"].as_str().unwrap_or_default();
            match link(node) {
                Some(href) if href != text => format!("{text} ({href})"),
                _ => text.to_owned(),
            }
        }
        "hardBreak" => "\n".into(),
        "mention" | "status" | "emoji" => attribute("text"),
        "inlineCard" => attribute("url"),
        _ => String::new(),
    }
}

fn link(text: &Value) -> Option<&str> {
    let marks = text["marks"].as_array()?;
    marks.iter().find(|mark| mark["type"] == "link")?["attrs"]["href"].as_str()
}

/// The document as HTML for the issue page. Everything from the document is escaped.
pub(super) fn to_html(node: &Value) -> String {
    let inside = || children(node).iter().map(to_html).collect::<String>();
    let attribute = |name: &str| html(node["attrs"][name].as_str().unwrap_or_default());
    match node["type"].as_str().unwrap_or_default() {
        "text" => text_html(node),
        "paragraph" => format!("<p>{}</p>", inside()),
        "heading" => {
            // The page's own title is the only h1.
            let level = node["attrs"]["level"].as_u64().unwrap_or(1).clamp(1, 5) + 1;
            format!("<h{level}>{}</h{level}>", inside())
        }
        "bulletList" => format!("<ul>{}</ul>", inside()),
        "orderedList" => format!("<ol>{}</ol>", inside()),
        "taskList" | "decisionList" => format!("<ul class=\"tasks\">{}</ul>", inside()),
        "taskItem" => {
            let mark = if node["attrs"]["state"] == "DONE" { "☑" } else { "☐" };
            format!("<li>{mark} {}</li>", inside())
        }
        "listItem" | "decisionItem" => format!("<li>{}</li>", inside()),
        "codeBlock" => format!("<pre><code>{}</code></pre>", inside()),
        "blockquote" => format!("<blockquote>{}</blockquote>", inside()),
        "panel" => format!("<div class=\"panel {}\"><div>{}</div></div>", attribute("panelType"), inside()),
        "expand" | "nestedExpand" => {
            format!("<details><summary>{}</summary>{}</details>", attribute("title"), inside())
        }
        "table" => format!("<table>{}</table>", inside()),
        "tableRow" => format!("<tr>{}</tr>", inside()),
        "tableHeader" => format!("<th>{}</th>", inside()),
        "tableCell" => format!("<td>{}</td>", inside()),
        "rule" => "<hr>".into(),
        "hardBreak" => "<br>".into(),
        "mention" => format!("<span class=\"mention\">{}</span>", attribute("text")),
        "emoji" => attribute("text"),
        "status" => format!("<span class=\"lozenge {}\">{}</span>", attribute("color"), attribute("text")),
        "inlineCard" | "blockCard" | "embedCard" => {
            let url = attribute("url");
            format!("<a href=\"{url}\">{url}</a>")
        }
        _ => inside(),
    }
}

fn text_html(node: &Value) -> String {
    let mut text = html(node["text"].as_str().unwrap_or_default());
    for mark in node["marks"].as_array().into_iter().flatten() {
        let tag = match mark["type"].as_str().unwrap_or_default() {
            "strong" => "strong",
            "em" => "em",
            "code" => "code",
            "strike" => "s",
            "underline" => "u",
            "subsup" if mark["attrs"]["type"] == "sub" => "sub",
            "subsup" => "sup",
            "link" => {
                let href = mark["attrs"]["href"].as_str().unwrap_or_default();
                // A document may hold any scheme; only these may be clicked.
                if ["http://", "https://", "mailto:", "/"].iter().any(|scheme| href.starts_with(scheme)) {
                    text = format!("<a href=\"{}\">{text}</a>", html(href));
                }
                continue;
            }
            _ => continue,
        };
        text = format!("<{tag}>{text}</{tag}>");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKDOWN: &str = "# Totals\n\nThe **cart** is *wrong*, see `shop/pricing.py` and [docs](https://x.example/a).\n\n- one\n  - deep `x`\n- two **bold `code`**\n\n1. first\n\n   more\n\n> said\n\n```python\nassert total >= 0\n\nprint(1)\n```\n\n---\n";

    #[test]
    fn markdown_becomes_a_document_that_atlassians_schema_accepts() {
        let document = from_markdown(MARKDOWN);
        assert_eq!(check(&document, ""), Ok(()));
        assert_eq!(
            plain(&document),
            "Totals\nThe cart is wrong, see shop/pricing.py and docs (https://x.example/a).\n- one\n  - deep x\n- two \
             bold code\n- first\nmore\nsaid\nassert total >= 0\n\nprint(1)\n----"
        );
    }

    #[test]
    fn what_atlassian_refuses_is_refused() {
        let paragraph = |content: Value| json!({"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": content}]});
        let refused = [
            json!("a plain string"),
            json!({"type": "doc", "content": []}),
            paragraph(json!([{"type": "text", "text": ""}])),
            paragraph(json!([{"type": "text", "text": "x", "marks": [{"type": "code"}, {"type": "strong"}]}])),
            json!({"type": "doc", "version": 1, "content": [{"type": "heading", "attrs": {"level": 7}, "content": []}]}),
            json!({"type": "doc", "version": 1, "content": [{"type": "bulletList", "content": [
                {"type": "listItem", "content": [{"type": "text", "text": "x"}]}]}]}),
        ];
        for document in refused {
            assert!(check(&document, "").is_err(), "{document}");
        }
        assert_eq!(check(&json!({"type": "doc", "version": 1, "content": []}), ""), Ok(()));
    }

    #[test]
    fn html_shows_panels_and_links_and_escapes_the_rest() {
        let document = json!({"type": "doc", "version": 1, "content": [
            {"type": "panel", "attrs": {"panelType": "info"}, "content": [{"type": "paragraph", "content": [
                {"type": "text", "text": "<b>", "marks": [{"type": "link", "attrs": {"href": "https://x.example/?a&b"}}]},
                {"type": "text", "text": "no", "marks": [{"type": "link", "attrs": {"href": "javascript:x"}}]},
            ]}]},
        ]});
        assert_eq!(
            to_html(&document),
            "<div class=\"panel info\"><div><p><a href=\"https://x.example/?a&amp;b\">&lt;b&gt;</a>no</p></div></div>"
        );
    }
}
