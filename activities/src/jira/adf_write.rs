//! Markdown to Atlassian Document Format, for writing
//! (<https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/>). Every result fits Atlassian's own JSON
//! schema; Jira refuses a comment that does not.

use pulldown_cmark::{CodeBlockKind, Event, LinkType, Options, Parser, Tag, TagEnd};
use serde_json::{Value, json};

/// Deepest nesting of lists, quotes and tables; what lies deeper joins the level above. Recursion over a document ends here.
const DEPTH: usize = 12;

/// What a list item may hold.
const IN_ITEM: &[&str] = &["paragraph", "bulletList", "orderedList", "codeBlock"];
/// What a quote may hold.
const IN_QUOTE: &[&str] = IN_ITEM;
/// What a panel may hold.
const IN_PANEL: &[&str] = &["paragraph", "heading", "bulletList", "orderedList", "codeBlock", "rule"];

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
    kind: &'static str,
    attributes: Option<Value>,
    content: Vec<Value>,
    /// Markdown has no such node here, but a block must hold the text.
    implied: bool,
}

/// A mark that Markdown has begun.
struct Mark {
    /// `None`: the format has no such mark, only the text stays.
    node: Option<Value>,
    /// Text to add where it ends.
    after: String,
}

#[derive(Default)]
struct Builder {
    done: Vec<Value>,
    open: Vec<Open>,
    /// For each block that Markdown has begun: whether it has a node of its own.
    begun: Vec<bool>,
    marks: Vec<Mark>,
    in_head: bool,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.text(&text),
            Event::Code(text) => self.code(&text),
            Event::SoftBreak => self.text(" "),
            Event::HardBreak => self.inline(json!({ "type": "hardBreak" })),
            Event::Rule => {
                self.close_implied();
                self.put(json!({ "type": "rule" }));
            }
            Event::TaskListMarker(done) => self.text(if done { "☑ " } else { "☐ " }),
            Event::Html(text) | Event::InlineHtml(text) => self.text(&text.replace('\n', " ")),
            Event::FootnoteReference(text) | Event::InlineMath(text) | Event::DisplayMath(text) => self.text(&text),
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => self.begin("paragraph", None),
            Tag::Heading { level, .. } => self.begin("heading", Some(json!({ "level": level as u8 }))),
            Tag::CodeBlock(CodeBlockKind::Fenced(language)) if !language.is_empty() => {
                self.begin("codeBlock", Some(json!({ "language": language.as_ref() })));
            }
            Tag::CodeBlock(_) => self.begin("codeBlock", None),
            Tag::BlockQuote(_) => self.begin_deeper("blockquote", None),
            Tag::List(Some(first)) => self.begin_deeper("orderedList", Some(json!({ "order": first }))),
            Tag::List(None) => self.begin_deeper("bulletList", None),
            Tag::Item => self.begin_with_parent("listItem"),
            Tag::Table(_) => self.begin_deeper("table", None),
            Tag::TableHead => {
                self.in_head = true;
                self.begin_with_parent("tableRow");
            }
            Tag::TableRow => self.begin_with_parent("tableRow"),
            Tag::TableCell => self.begin_with_parent(if self.in_head { "tableHeader" } else { "tableCell" }),
            Tag::Emphasis => self.mark("em"),
            Tag::Strong => self.mark("strong"),
            Tag::Strikethrough => self.mark("strike"),
            Tag::Link { link_type: LinkType::Email, dest_url, .. } => self.link(&format!("mailto:{dest_url}")),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => self.link(&dest_url),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Link | TagEnd::Image => {
                if let Some(mark) = self.marks.pop() {
                    self.text(&mark.after);
                }
            }
            TagEnd::Paragraph
            | TagEnd::HtmlBlock
            | TagEnd::Heading(_)
            | TagEnd::CodeBlock
            | TagEnd::BlockQuote(_)
            | TagEnd::List(_)
            | TagEnd::Item
            | TagEnd::Table
            | TagEnd::TableHead
            | TagEnd::TableRow
            | TagEnd::TableCell => {
                self.in_head &= tag != TagEnd::TableHead;
                self.close_implied();
                if self.begun.pop() == Some(true) {
                    self.close();
                }
            }
            _ => {}
        }
    }

    fn mark(&mut self, kind: &str) {
        self.marks.push(Mark { node: Some(json!({ "type": kind })), after: String::new() });
    }

    /// Only what leads to the web or a mailbox is a link; a path is shown as text, since it would lead nowhere in Jira.
    fn link(&mut self, url: &str) {
        let leads = ["https://", "http://", "mailto:"].iter().any(|scheme| url.starts_with(scheme));
        let node = leads.then(|| json!({ "type": "link", "attrs": { "href": url } }));
        let after = if leads || url.is_empty() { String::new() } else { format!(" ({url})") };
        self.marks.push(Mark { node, after });
    }

    fn text(&mut self, text: &str) {
        if self.open.last().is_some_and(|open| open.kind == "codeBlock") {
            self.put(json!({ "type": "text", "text": text }));
        } else if !text.is_empty() {
            let marks = self.marks.iter().filter_map(|mark| mark.node.clone()).collect();
            self.inline(text_node(text, marks));
        }
    }

    fn code(&mut self, text: &str) {
        if !text.is_empty() {
            // The code mark stands alone, or with a link.
            let marks = self.marks.iter().filter_map(|mark| mark.node.clone()).filter(|mark| mark["type"] == "link");
            self.inline(text_node(text, marks.chain([json!({ "type": "code" })]).collect()));
        }
    }

    /// Adds an inline node, inside a paragraph where the open node holds blocks only.
    fn inline(&mut self, node: Value) {
        if !self.open.last().is_some_and(|open| matches!(open.kind, "paragraph" | "heading")) {
            self.open.push(Open { kind: "paragraph", attributes: None, content: Vec::new(), implied: true });
        }
        self.put(node);
    }

    fn put(&mut self, node: Value) {
        match self.open.last_mut() {
            Some(open) => open.content.push(node),
            None => self.done.push(node),
        }
    }

    fn begin(&mut self, kind: &'static str, attributes: Option<Value>) {
        // Tight list items hold text directly in Markdown; a block after it ends that paragraph.
        self.close_implied();
        self.begun.push(true);
        self.open.push(Open { kind, attributes, content: Vec::new(), implied: false });
    }

    fn begin_deeper(&mut self, kind: &'static str, attributes: Option<Value>) {
        if self.open.len() < 2 * DEPTH { self.begin(kind, attributes) } else { self.begin_none() }
    }

    fn begin_with_parent(&mut self, kind: &'static str) {
        if self.begun.last() == Some(&true) { self.begin(kind, None) } else { self.begin_none() }
    }

    fn begin_none(&mut self) {
        self.close_implied();
        self.begun.push(false);
    }

    fn close_implied(&mut self) {
        if self.open.last().is_some_and(|open| open.implied) {
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(node) = self.open.pop().and_then(Open::into_node) {
            self.put(node);
        }
    }

    fn finish(mut self) -> Vec<Value> {
        while !self.open.is_empty() {
            self.close();
        }
        self.done
    }
}

impl Open {
    /// The node, or nothing when it would be empty and Jira would show an empty box.
    fn into_node(self) -> Option<Value> {
        let Self { kind, attributes, content, .. } = self;
        let content = match kind {
            "paragraph" | "heading" => joined(content),
            "codeBlock" => return Some(node(kind, attributes, code_lines(&content))),
            "listItem" => {
                let mut content = fitted(content, IN_ITEM);
                // Jira's editor wants text before a list in a list.
                if content.first().is_none_or(|first| first["type"] != "paragraph" && first["type"] != "codeBlock") {
                    content.insert(0, node("paragraph", None, Vec::new()));
                }
                content
            }
            "tableCell" | "tableHeader" if content.is_empty() => vec![node("paragraph", None, Vec::new())],
            "blockquote" => return quote_or_panel(content),
            _ => content,
        };
        if content.is_empty() { None } else { Some(node(kind, attributes, content)) }
    }
}

fn quote_or_panel(mut content: Vec<Value>) -> Option<Value> {
    let Some(kind) = panel_of(&mut content) else {
        let content = fitted(content, IN_QUOTE);
        return if content.is_empty() { None } else { Some(node("blockquote", None, content)) };
    };
    let mut content = fitted(content, IN_PANEL);
    if content.is_empty() {
        content.push(node("paragraph", None, Vec::new()));
    }
    Some(node("panel", Some(json!({ "panelType": kind })), content))
}

/// Takes `[!kind]` off the front of a quote's first paragraph.
fn panel_of(content: &mut Vec<Value>) -> Option<&'static str> {
    let first = content.first_mut().filter(|first| first["type"] == "paragraph")?["content"].as_array_mut()?;
    let front = first.first().filter(|front| front.get("marks").is_none())?["text"].as_str()?.to_owned();
    let taken = |kind: &'static str| Some((kind, front.strip_prefix("[!")?.strip_prefix(kind)?.strip_prefix(']')?));
    let (kind, rest) = ["info", "success", "warning", "error"].into_iter().find_map(taken)?;
    match rest.trim_start() {
        "" => drop(first.remove(0)),
        rest => first[0]["text"] = json!(rest),
    }
    if first.is_empty() {
        content.remove(0);
    }
    Some(kind)
}

/// Keeps the allowed kinds. Of a quote in a quote its blocks stay, of a heading its words, of a table its rows as lines.
fn fitted(content: Vec<Value>, allowed: &[&str]) -> Vec<Value> {
    let mut kept = Vec::new();
    for mut block in content {
        let kind = block["type"].as_str().unwrap_or_default().to_owned();
        let mut inner = || match block.get_mut("content").map(Value::take) {
            Some(Value::Array(inner)) => inner,
            _ => Vec::new(),
        };
        match kind.as_str() {
            kind if allowed.contains(&kind) => kept.push(block),
            "rule" => {}
            "heading" => kept.push(node("paragraph", None, inner())),
            "table" => kept.extend(inner().iter().map(row_as_paragraph)),
            _ => kept.extend(fitted(inner(), allowed)),
        }
    }
    kept
}

fn row_as_paragraph(row: &Value) -> Value {
    let cells = row["content"].as_array().into_iter().flatten().map(text_of).collect::<Vec<_>>().join(" | ");
    node("paragraph", None, vec![text_node(&cells, Vec::new())])
}

fn text_of(node: &Value) -> String {
    match node["text"].as_str() {
        Some(text) => text.to_owned(),
        None => node["content"].as_array().into_iter().flatten().map(text_of).collect(),
    }
}

/// Markdown hands out a code block's text in pieces, each with its line end; the last one belongs to the fence.
fn code_lines(content: &[Value]) -> Vec<Value> {
    let text: String = content.iter().filter_map(|piece| piece["text"].as_str()).collect();
    match text.strip_suffix('\n').unwrap_or(&text) {
        "" => Vec::new(),
        text => vec![text_node(text, Vec::new())],
    }
}

/// Puts neighbours with the same marks together: Markdown splits text at every possible mark.
fn joined(content: Vec<Value>) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::new();
    for next in content {
        let last = kept.last_mut().filter(|last| last["type"] == "text" && next["type"] == "text");
        match last.filter(|last| last.get("marks") == next.get("marks")) {
            Some(last) => {
                let text = format!(
                    "{}{}",
                    last["text"].as_str().unwrap_or_default(),
                    next["text"].as_str().unwrap_or_default()
                );
                last["text"] = json!(text);
            }
            None => kept.push(next),
        }
    }
    kept
}

fn node(kind: &str, attributes: Option<Value>, content: Vec<Value>) -> Value {
    let mut node = json!({ "type": kind, "content": content });
    if let Some(attributes) = attributes {
        node["attrs"] = attributes;
    }
    node
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
