//! Documents both ways: against Atlassian's own schema, with many generated inputs, and without losing a word.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::adf_read::markdown;
use super::adf_write::document;

pub(super) fn schema() -> jsonschema::Validator {
    let text = include_str!("testdata/atlassian-document-format-v1.json");
    let schema: Value = serde_json::from_str(text).unwrap();
    jsonschema::draft4::new(&schema).unwrap()
}

fn assert_accepted(schema: &jsonschema::Validator, text: &str) -> Value {
    let document = document(text);
    if !schema.is_valid(&document) {
        let fault = schema.iter_errors(&document).next().map(|fault| fault.to_string()).unwrap_or_default();
        panic!("{text:?}\n{document:#}\n{}", fault.chars().take(400).collect::<String>());
    }
    document
}

/// All text of a document, in order.
fn text_of(node: &Value) -> String {
    match node["text"].as_str() {
        Some(text) => text.to_owned(),
        None => node["content"].as_array().into_iter().flatten().map(text_of).collect::<Vec<_>>().join(" "),
    }
}

/// Numbers from a seed (xorshift, Marsaglia 2003): every run tries the same inputs.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

/// Writes Markdown of which every word is known.
struct Writer {
    dice: Dice,
    words: Vec<String>,
}

impl Writer {
    fn word(&mut self) -> String {
        self.words.push(format!("w{}w", self.words.len()));
        self.words.last().unwrap().clone()
    }

    fn inline(&mut self) -> String {
        let mut line = Vec::new();
        for _ in 0..=self.dice.roll(4) {
            let word = self.word();
            line.push(match self.dice.roll(9) {
                0 => format!("**{word}**"),
                1 => format!("*{word}*"),
                2 => format!("~~{word}~~"),
                3 => format!("`{word}`"),
                4 => format!("[{word}](https://shop.example/{})", self.dice.roll(9)),
                5 => format!("***{word}** {}*", self.word()),
                6 => format!("**`{word}`** [*{}*](docs/plan.md)", self.word()),
                7 => format!("<b>{word}</b> & {}", self.word()),
                _ => word,
            });
        }
        line.join(" ")
    }

    fn blocks(&mut self, depth: usize) -> String {
        let mut blocks = Vec::new();
        for _ in 0..=self.dice.roll(3) {
            let kind = self.dice.roll(if depth < 4 { 11 } else { 6 });
            blocks.push(self.block(kind, depth));
        }
        blocks.join("\n\n")
    }

    fn block(&mut self, kind: usize, depth: usize) -> String {
        match kind {
            0 => format!("{} {}", "#".repeat(1 + self.dice.roll(6)), self.inline()),
            1 => format!("```python\n{}\n  {}\n\n{}\n```", self.word(), self.word(), self.word()),
            2 => format!("| {} | {} |\n|---|:-:|\n| {} | |", self.inline(), self.word(), self.inline()),
            3 => "---".to_owned(),
            4 => format!("{}\\\n{}", self.inline(), self.inline()),
            5 => self.inline(),
            6 => prefixed(&self.blocks(depth + 1), "> ", "> "),
            7 => prefixed(&format!("[!warning] {}", self.blocks(depth + 1)), "> ", "> "),
            8 => {
                let items = (0..=self.dice.roll(3)).map(|_| self.blocks(depth + 1)).collect::<Vec<_>>();
                items.iter().map(|item| prefixed(item, "- ", "  ")).collect::<Vec<_>>().join("\n")
            }
            9 => {
                let items = (0..=self.dice.roll(3)).map(|_| self.blocks(depth + 1)).collect::<Vec<_>>();
                items.iter().map(|item| prefixed(item, "3. ", "   ")).collect::<Vec<_>>().join("\n\n")
            }
            _ => format!("- [x] {}\n- [ ] {}", self.inline(), self.inline()),
        }
    }
}

fn prefixed(text: &str, first: &str, rest: &str) -> String {
    let lines = text.lines().enumerate().map(|(n, line)| format!("{}{line}", if n == 0 { first } else { rest }));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn generated_markdown_fits_the_schema_and_loses_no_word_on_either_way() {
    let schema = schema();
    for seed in 1..=600 {
        let mut writer = Writer { dice: Dice::new(seed), words: Vec::new() };
        let text = writer.blocks(0);
        let document = assert_accepted(&schema, &text);
        let (written, read) = (text_of(&document), markdown(&document));
        for word in &writer.words {
            assert!(written.contains(word.as_str()), "{word} is lost on writing\n{text}\n{document:#}");
            assert!(read.contains(word.as_str()), "{word} is lost on reading\n{text}\n{document:#}\n{read}");
        }
        // What was read fits again: agents quote tickets in comments.
        assert_accepted(&schema, &read);
    }
}

#[test]
fn any_heap_of_marks_makes_a_document_that_fits_the_schema() {
    let pieces = [
        "#",
        "# ",
        ">",
        "> ",
        "- ",
        "1. ",
        "999999999. ",
        "  ",
        "    ",
        "\t",
        "\n",
        "\n\n",
        "```",
        "~~~",
        "`",
        "``",
        "*",
        "**",
        "_",
        "~~",
        "[",
        "](",
        ")",
        "![",
        "<",
        ">",
        "</b>",
        "<!--",
        "|",
        "|---|\n",
        "\\",
        "&amp;",
        "&",
        "[!info]",
        "[ ]",
        "[x]",
        "---",
        "===",
        "http://x",
        "<a@b.example>",
        "ä",
        "\u{202e}",
        "\u{0}",
        "x",
        "word",
        "\r\n",
        "[^1]",
        "$",
        ":",
    ];
    let schema = schema();
    for seed in 1..=2000 {
        let mut dice = Dice::new(seed);
        let text: String = (0..dice.roll(40)).map(|_| pieces[dice.roll(pieces.len())]).collect();
        assert_accepted(&schema, &text);
    }
}

#[test]
fn depth_has_an_end() {
    let schema = schema();
    for text in ["- ".repeat(3000) + "x", "> ".repeat(3000) + "x", "> - ".repeat(2000) + "x", "1. ".repeat(2000) + "x"]
    {
        let document = assert_accepted(&schema, &text);
        assert!(text_of(&document).contains('x'));
    }
    let mut deep = json!({"type": "paragraph", "content": [{"type": "text", "text": "x"}]});
    for _ in 0..60 {
        deep = json!({"type": "blockquote", "content": [deep]});
    }
    assert!(markdown(&json!({"type": "doc", "version": 1, "content": [deep]})).contains("[nested too deeply]"));
}

#[test]
fn code_keeps_its_lines_wherever_it_stands() {
    for text in
        ["```py\na\n\n  b\n```", "- x\n\n  ```py\n  a\n\n    b\n  ```", "> [!info] x\n> ```py\n> a\n>\n>   b\n> ```"]
    {
        let document = document(text);
        assert!(document.to_string().contains(r#""text":"a\n\n  b""#), "{text}\n{document:#}");
        assert!(document.to_string().contains(r#""language":"py""#));
    }
}

#[test]
fn a_quote_with_a_mark_becomes_a_panel() {
    let document = document("> [!success] **Ready for review**\n>\n> PR #1");
    assert_eq!(
        document["content"],
        json!([{"type": "panel", "attrs": {"panelType": "success"}, "content": [
            {"type": "paragraph", "content": [{"type": "text", "text": "Ready for review", "marks": [{"type": "strong"}]}]},
            {"type": "paragraph", "content": [{"type": "text", "text": "PR #1"}]},
        ]}])
    );
}

#[test]
fn only_web_and_mail_links_are_links() {
    let text = "[a](https://x/1) <m@x.example> [plan](docs/PLAN.md) [no](javascript:alert(1))";
    let document = document(text);
    let nodes = document["content"][0]["content"].as_array().unwrap();
    let linked: Vec<&str> = nodes.iter().filter_map(|node| node["marks"][0]["attrs"]["href"].as_str()).collect();
    assert_eq!(linked, ["https://x/1", "mailto:m@x.example"]);
    assert!(text_of(&document["content"][0]).contains("plan (docs/PLAN.md)"), "{document:#}");
}

#[test]
fn what_is_written_reads_back() {
    let text = "# Head\n\nplain **bold** and `code`\n\n- one\n  - deep\n\n    ```rust\n    fn x() {}\n    ```\n- two\n\n\
                3. three\n4. four\n\n```rust\nfn x() {\n    y();\n}\n```\n\n> quote\n> \n> more\n\n> [!info]\n> panel\n\n| a | b |\n|---|---|\n| 1 | `x` |\n\n---";
    assert_eq!(markdown(&document(text)), text.replace("  - deep\n\n    ```", "  - deep\n    ```"));
    assert_eq!(markdown(&Value::Null), "");
    assert_eq!(markdown(&json!("wiki text")), "wiki text");
}

/// What Jira's editor makes beyond what Markdown has.
#[test]
fn nodes_without_markdown_read_as_their_text() {
    let inline = |kind: &str, attrs: Value| json!({"type": kind, "attrs": attrs});
    let mut content = Vec::new();
    for (node, expected) in [
        (inline("mention", json!({"id": "5b10", "text": "@Ana"})), "@Ana"),
        (inline("mention", json!({"id": "5b10"})), "@5b10"),
        (inline("emoji", json!({"shortName": ":smile:", "text": "😄"})), "😄"),
        (inline("status", json!({"text": "Blocked", "color": "red"})), "[Blocked]"),
        (inline("date", json!({"timestamp": "1582152559000"})), "2020-02-19"),
        (inline("inlineCard", json!({"url": "https://x/1"})), "https://x/1"),
        (inline("mediaInline", json!({"id": "1", "collection": "", "alt": "log.txt"})), "[attachment: log.txt]"),
        (inline("inlineExtension", json!({"extensionKey": "k", "extensionType": "t", "text": "macro"})), "macro"),
        (json!({"type": "newThing", "content": [{"type": "text", "text": "future"}]}), "future"),
    ] {
        let paragraph = json!({"type": "paragraph", "content": [node]});
        content.push(paragraph.clone());
        assert_eq!(markdown(&json!({"type": "doc", "content": [paragraph]})), expected);
    }
    let text = |text: &str| json!({"type": "text", "text": text});
    let paragraph = |words: &str| json!({"type": "paragraph", "content": [text(words)]});
    let document = json!({"type": "doc", "version": 1, "content": [
        {"type": "taskList", "attrs": {"localId": "1"}, "content": [
            {"type": "taskItem", "attrs": {"localId": "2", "state": "DONE"}, "content": [text("done")]},
            {"type": "taskItem", "attrs": {"localId": "3", "state": "TODO"}, "content": [text("open")]},
        ]},
        {"type": "decisionList", "attrs": {"localId": "1"}, "content": [
            {"type": "decisionItem", "attrs": {"localId": "2", "state": "DECIDED"}, "content": [text("clamp")]},
        ]},
        {"type": "expand", "attrs": {"title": "Stack trace"}, "content": [paragraph("at line 7")]},
        {"type": "mediaSingle", "attrs": {"layout": "center"}, "content": [
            {"type": "media", "attrs": {"type": "file", "id": "1", "collection": "", "alt": "shot.png"}},
            {"type": "caption", "content": [text("The cart")]},
        ]},
        {"type": "layoutSection", "content": [{"type": "layoutColumn", "attrs": {"width": 50}, "content": [paragraph("left")]}]},
        {"type": "blockCard", "attrs": {"url": "https://x/2"}},
        {"type": "panel", "attrs": {"panelType": "error"}, "content": [paragraph("red")]},
        {"type": "newThing", "content": [text("future"), text(" node")]},
    ]});
    assert_eq!(
        markdown(&document),
        "- [x] done\n- [ ] open\n\n- clamp\n\n**Stack trace**\n\nat line 7\n\n[attachment: shot.png]\n\nThe cart\n\nleft\n\n\
         https://x/2\n\n> [!error]\n> red\n\nfuture node"
    );
}

/// JSON that is no document at all: other programs write to Jira, too.
#[test]
fn nonsense_is_read_without_harm() {
    for seed in 1..=500 {
        let mut dice = Dice::new(seed);
        let mut expected = String::new();
        let node = nonsense(&mut dice, 0, &mut expected);
        let read = markdown(&json!({"type": "doc", "content": [node]}));
        for word in expected.split_whitespace() {
            assert!(read.contains(word), "{word}\n{read}");
        }
    }
}

fn nonsense(dice: &mut Dice, depth: usize, expected: &mut String) -> Value {
    const KINDS: [&str; 20] = [
        "paragraph",
        "heading",
        "bulletList",
        "orderedList",
        "listItem",
        "taskList",
        "taskItem",
        "table",
        "tableRow",
        "tableCell",
        "blockquote",
        "panel",
        "expand",
        "mediaSingle",
        "caption",
        "layoutSection",
        "extension",
        "decisionList",
        "strange",
        "",
    ];
    if depth > 5 || dice.roll(4) == 0 {
        let word = format!("n{}n", expected.len());
        let _ = write!(expected, "{word} ");
        return json!({"type": "text", "text": word, "marks": [{"type": (["strong", "code", "link", "odd"])[dice.roll(4)]}]});
    }
    let content: Vec<Value> = (0..dice.roll(4)).map(|_| nonsense(dice, depth + 1, expected)).collect();
    json!({"type": KINDS[dice.roll(20)], "attrs": {"level": dice.roll(99), "title": 7, "order": "x"}, "content": content})
}
