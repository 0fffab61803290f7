//! Markdown to Atlassian Document Format, for writing. Every result fits Atlassian's own JSON schema (tested).

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use serde_json::{Value, json};

/// A document. A block quote that begins with `[!info]`, `[!success]`, `[!warning]` or `[!error]` becomes a panel.
pub(super) fn document(markdown: &str) -> Value {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut builder = Builder::default();
    for event in Parser::new_ext(markdown, options) {
        builder.take(event);
    }
    json!({ "type": "doc", "version": 1, "content": builder.finish() })
}

/// An open node and what it holds so far.
struct Open {
    node: Value,
    content: Vec<Value>,
}

#[derive(Default)]
struct Builder {
    done: Vec<Value>,
    open: Vec<Open>,
    marks: Vec<Value>,
    /// Inside a code block, where marks are not allowed.
    code: bool,
    /// Inside a table's head.
    head: bool,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.text(&text),
            Event::Code(text) => self.code_text(&text),
            Event::SoftBreak => self.text(" "),
            Event::HardBreak => self.inline(json!({ "type": "hardBreak" })),
            Event::Rule => self.block(json!({ "type": "rule" })),
            Event::TaskListMarker(done) => self.text(if done { "☑ " } else { "☐ " }),
            Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            Event::FootnoteReference(text) | Event::InlineMath(text) | Event::DisplayMath(text) => self.text(&text),
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => self.push(json!({ "type": "paragraph" })),
            Tag::Heading { level, .. } => {
                self.push(json!({ "type": "heading", "attrs": { "level": level_of(level) } }));
            }
            Tag::BlockQuote(_) => self.push(json!({ "type": "blockquote" })),
            Tag::CodeBlock(kind) => {
                self.code = true;
                match kind {
                    CodeBlockKind::Fenced(language) if !language.is_empty() => {
                        self.push(json!({ "type": "codeBlock", "attrs": { "language": language.as_ref() } }));
                    }
                    _ => self.push(json!({ "type": "codeBlock" })),
                }
            }
            Tag::List(Some(first)) => self.push(json!({ "type": "orderedList", "attrs": { "order": first } })),
            Tag::List(None) => self.push(json!({ "type": "bulletList" })),
            Tag::Item => self.push(json!({ "type": "listItem" })),
            Tag::Table(_) => self.push(json!({ "type": "table" })),
            Tag::TableHead => {
                self.head = true;
                self.push(json!({ "type": "tableRow" }));
            }
            Tag::TableRow => self.push(json!({ "type": "tableRow" })),
            Tag::TableCell => self.push(json!({ "type": if self.head { "tableHeader" } else { "tableCell" } })),
            Tag::Emphasis => self.marks.push(json!({ "type": "em" })),
            Tag::Strong => self.marks.push(json!({ "type": "strong" })),
            Tag::Strikethrough => self.marks.push(json!({ "type": "strike" })),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.marks.push(json!({ "type": "link", "attrs": { "href": dest_url.as_ref() } }));
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Link | TagEnd::Image => {
                self.marks.pop();
            }
            TagEnd::CodeBlock => {
                self.code = false;
                self.close();
            }
            TagEnd::TableHead => {
                self.head = false;
                self.close();
            }
            TagEnd::Paragraph
            | TagEnd::HtmlBlock
            | TagEnd::Heading(_)
            | TagEnd::BlockQuote(_)
            | TagEnd::List(_)
            | TagEnd::Item
            | TagEnd::Table
            | TagEnd::TableRow
            | TagEnd::TableCell => {
                self.close_wrapped();
                self.close();
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        // A text node must not be empty, and a code block ends with its last line, not with an empty one.
        let text = if self.code { text.strip_suffix('\n').unwrap_or(text) } else { text };
        if text.is_empty() {
            return;
        }
        let marks = if self.code { Vec::new() } else { self.marks.clone() };
        self.inline(text_node(text, marks));
    }

    fn code_text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        // The code mark stands alone, or with a link.
        let mut marks: Vec<Value> = self.marks.iter().filter(|mark| mark["type"] == "link").cloned().collect();
        marks.push(json!({ "type": "code" }));
        self.inline(text_node(text, marks));
    }

    /// Adds an inline node, inside a paragraph where the open node holds blocks only.
    fn inline(&mut self, node: Value) {
        let holds_blocks = self.open.last().is_none_or(|open| {
            matches!(open.node["type"].as_str(), Some("listItem" | "tableCell" | "tableHeader" | "blockquote"))
        });
        if holds_blocks {
            self.push(json!({ "type": "paragraph", "wrapped": true }));
        }
        if let Some(open) = self.open.last_mut() {
            open.content.push(node);
        }
    }

    fn block(&mut self, node: Value) {
        self.close_wrapped();
        match self.open.last_mut() {
            Some(open) => open.content.push(node),
            None => self.done.push(node),
        }
    }

    fn push(&mut self, node: Value) {
        // Tight list items hold text directly in Markdown; a block after it ends that paragraph.
        self.close_wrapped();
        self.open.push(Open { node, content: Vec::new() });
    }

    fn close_wrapped(&mut self) {
        if self.open.last().is_some_and(|open| open.node.get("wrapped").is_some()) {
            self.close();
        }
    }

    fn close(&mut self) {
        let Some(Open { mut node, mut content }) = self.open.pop() else {
            return;
        };
        if let Some(object) = node.as_object_mut() {
            object.remove("wrapped");
        }
        let kind = node["type"].as_str().unwrap_or_default().to_owned();
        match kind.as_str() {
            // What a list item, quote or cell may hold is narrower than Markdown: the rest becomes plain paragraphs.
            "listItem" => content = narrowed(content, &["paragraph", "bulletList", "orderedList", "codeBlock"]),
            "blockquote" => {
                if let Some(panel) = panel_of(&mut content) {
                    node = json!({ "type": "panel", "attrs": { "panelType": panel } });
                    content = narrowed(content, &["paragraph", "heading", "bulletList", "orderedList"]);
                } else {
                    content = narrowed(content, &["paragraph", "bulletList", "orderedList", "codeBlock"]);
                }
            }
            "paragraph" if content.is_empty() => return,
            _ => {}
        }
        let needs_content = matches!(kind.as_str(), "listItem" | "tableCell" | "tableHeader")
            || (kind == "blockquote" && content.is_empty());
        if needs_content
            && content.first().is_none_or(|first| first["type"] != "paragraph")
            && kind != "tableCell"
            && kind != "tableHeader"
        {
            content.insert(0, json!({ "type": "paragraph", "content": [] }));
        } else if content.is_empty() && needs_content {
            content.push(json!({ "type": "paragraph", "content": [] }));
        }
        if matches!(kind.as_str(), "bulletList" | "orderedList" | "table" | "tableRow") && content.is_empty() {
            return;
        }
        node["content"] = Value::Array(content);
        self.block(node);
    }

    fn finish(mut self) -> Vec<Value> {
        while !self.open.is_empty() {
            self.close();
        }
        self.done
    }
}

/// Takes `[!kind]` off the front of a quote.
fn panel_of(content: &mut Vec<Value>) -> Option<&'static str> {
    let text: String = {
        let first = content.first()?["content"].as_array()?;
        first.iter().filter_map(|node| node["text"].as_str()).collect()
    };
    let kind =
        ["info", "success", "warning", "error"].into_iter().find(|kind| text.starts_with(&format!("[!{kind}]")))?;
    // Markdown may split the mark over several text nodes: drop as many characters as it has.
    let mut left = kind.len() + 3;
    let nodes = content.first_mut()?["content"].as_array_mut()?;
    while left > 0 && !nodes.is_empty() {
        let text = nodes[0]["text"].as_str().unwrap_or_default().to_owned();
        let taken = text.chars().count().min(left);
        left -= taken;
        let rest: String = text.chars().skip(taken).collect();
        if rest.trim_start().is_empty() {
            nodes.remove(0);
        } else {
            nodes[0]["text"] = json!(rest.trim_start());
        }
        if taken == 0 {
            break;
        }
    }
    while nodes.first().is_some_and(|node| node["text"].as_str().is_some_and(|text| text.trim().is_empty())) {
        nodes.remove(0);
    }
    Some(kind)
}

/// Keeps the allowed kinds; any other node becomes a paragraph with its text.
fn narrowed(content: Vec<Value>, allowed: &[&str]) -> Vec<Value> {
    let keep = |node: Value| {
        if node["type"].as_str().is_some_and(|kind| allowed.contains(&kind)) {
            return node;
        }
        let text = text_of(&node);
        let inner = if text.is_empty() { vec![] } else { vec![text_node(&text, vec![])] };
        json!({ "type": "paragraph", "content": inner })
    };
    content.into_iter().map(keep).collect()
}

fn text_of(node: &Value) -> String {
    match node["text"].as_str() {
        Some(text) => text.to_owned(),
        None => node["content"].as_array().into_iter().flatten().map(text_of).collect::<Vec<_>>().join(" "),
    }
}

fn text_node(text: &str, marks: Vec<Value>) -> Value {
    let mut distinct: Vec<Value> = Vec::new();
    for mark in marks {
        if distinct.iter().all(|other| other["type"] != mark["type"]) {
            distinct.push(mark);
        }
    }
    if distinct.is_empty() {
        json!({ "type": "text", "text": text })
    } else {
        json!({ "type": "text", "text": text, "marks": distinct })
    }
}

fn level_of(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}
