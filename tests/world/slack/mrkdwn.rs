//! Messages as HTML: Slack's mrkdwn and the Block Kit blocks the page can show.

use serde_json::Value;

use super::state::State;
use crate::escape::html;

/// mrkdwn as HTML. Everything that is not markup is escaped.
pub(super) fn render(text: &str, state: &State) -> String {
    let mut out = String::new();
    // Odd parts are inside a fence.
    for (at, part) in text.split("```").enumerate() {
        if at % 2 == 1 {
            out += &format!("<pre>{}</pre>", html(&unescape(part.trim_matches('\n'))));
            continue;
        }
        let mut quoted = false;
        let lines: Vec<&str> =
            if at > 0 { part.strip_prefix('\n').unwrap_or(part) } else { part }.split('\n').collect();
        for (number, line) in lines.iter().enumerate() {
            let quote = line.strip_prefix("&gt;").or_else(|| line.strip_prefix('>'));
            if quote.is_some() != quoted {
                out += if quoted { "</blockquote>" } else { "<blockquote>" };
                quoted = !quoted;
            } else if number > 0 {
                out += "<br>";
            }
            out += &inline(quote.map_or(*line, str::trim_start), state);
        }
        if quoted {
            out += "</blockquote>";
        }
    }
    out
}

/// One line: code first (nothing is markup inside), then links, then emphasis.
fn inline(line: &str, state: &State) -> String {
    let mut out = String::new();
    let parts: Vec<&str> = line.split('`').collect();
    for (at, part) in parts.iter().enumerate() {
        if at % 2 == 1 && at + 1 < parts.len() {
            out += &format!("<code>{}</code>", html(&unescape(part)));
        } else {
            if at % 2 == 1 {
                out.push('`');
            }
            out += &links(part, state);
        }
    }
    out
}

fn links(text: &str, state: &State) -> String {
    let mut plain = String::new();
    let mut tags: Vec<String> = Vec::new();
    let mut rest = text;
    // Links become placeholders, so that `_` and `*` in an address are not emphasis; U+E000 is private use.
    while let Some((before, after)) = rest.split_once('<') {
        let Some((inside, after)) = after.split_once('>') else { break };
        plain += before;
        plain.push('\u{e000}');
        tags.push(link(inside, state));
        rest = after;
    }
    plain += rest;
    let mut shown = html(&unescape(&plain));
    for (mark, tag) in [('*', "b"), ('_', "i"), ('~', "s")] {
        shown = emphasis(&shown, mark, tag);
    }
    shown = emoji(&shown);
    for tag in tags {
        shown = shown.replacen('\u{e000}', &tag, 1);
    }
    shown
}

fn link(inside: &str, state: &State) -> String {
    let (target, label) = inside.split_once('|').map_or((inside, None), |(target, label)| (target, Some(label)));
    let mention = |name: &str| format!("<span class=\"mention\">{}</span>", html(name));
    if let Some(id) = target.strip_prefix('@') {
        return mention(&format!("@{}", state.user(id).map_or(id, |user| user.real_name.as_str())));
    }
    if let Some(id) = target.strip_prefix('#') {
        return mention(&format!("#{}", state.channel(id).map_or(id, |channel| channel.name.as_str())));
    }
    if let Some(special) = target.strip_prefix('!') {
        // <!date^1392734382^{date_short}|fallback> and <!here>
        return if special.starts_with("date^") {
            html(label.unwrap_or_default())
        } else {
            mention(&format!("@{special}"))
        };
    }
    let label = html(&unescape(label.unwrap_or(target)));
    let address = unescape(target);
    if ["http://", "https://", "mailto:"].iter().any(|scheme| address.starts_with(scheme)) {
        return format!("<a href=\"{}\" target=\"_blank\" rel=\"noreferrer\">{label}</a>", html(&address));
    }
    label
}

/// `*bold*` between word ends, as Slack reads it.
fn emphasis(text: &str, mark: char, tag: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(mark) {
        let (before, after) = (&rest[..start], &rest[start + 1..]);
        let opens = !before.chars().next_back().is_some_and(char::is_alphanumeric)
            && after.chars().next().is_some_and(|c| !c.is_whitespace() && c != mark);
        let end = after.match_indices(mark).map(|(at, _)| at).find(|at| {
            let inner_ok = !after[..*at].ends_with(char::is_whitespace) && *at > 0;
            inner_ok && !after[at + 1..].chars().next().is_some_and(char::is_alphanumeric)
        });
        match end {
            Some(end) if opens => {
                out += &format!("{before}<{tag}>{}</{tag}>", &after[..end]);
                rest = &after[end + 1..];
            }
            _ => {
                out += before;
                out.push(mark);
                rest = after;
            }
        }
    }
    out + rest
}

/// The few emoji a work message uses; others stay as written.
fn emoji(text: &str) -> String {
    const KNOWN: [(&str, &str); 14] = [
        (":white_check_mark:", "✅"),
        (":heavy_check_mark:", "✔️"),
        (":x:", "❌"),
        (":warning:", "⚠️"),
        (":hourglass_flowing_sand:", "⏳"),
        (":eyes:", "👀"),
        (":rotating_light:", "🚨"),
        (":memo:", "📝"),
        (":rocket:", "🚀"),
        (":moneybag:", "💰"),
        (":no_entry:", "⛔"),
        (":question:", "❓"),
        (":large_green_circle:", "🟢"),
        (":red_circle:", "🔴"),
    ];
    KNOWN.iter().fold(text.to_owned(), |text, (name, sign)| text.replace(name, sign))
}

/// The sign of a reaction.
pub(super) fn reaction(name: &str) -> String {
    emoji(&format!(":{name}:"))
}

/// Slack's own escapes: only these three.
fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// A text object.
pub(super) fn text_object(object: &Value, state: &State) -> String {
    let text = object["text"].as_str().unwrap_or_default();
    if object["type"] == "mrkdwn" { render(text, state) } else { emoji(&html(text)).replace('\n', "<br>") }
}

/// The blocks of a message. Buttons carry what the page's script needs to click them.
pub(super) fn blocks(blocks: &[Value], ts: &str, state: &State) -> String {
    blocks.iter().map(|block| one_block(block, ts, state)).collect()
}

fn one_block(block: &Value, ts: &str, state: &State) -> String {
    let list = |name: &str| block[name].as_array().map_or(&[][..], Vec::as_slice);
    match block["type"].as_str().unwrap_or_default() {
        "section" => {
            let text = block.get("text").map(|text| format!("<div>{}</div>", text_object(text, state)));
            let fields: String =
                list("fields").iter().map(|field| format!("<div>{}</div>", text_object(field, state))).collect();
            let fields = if fields.is_empty() { fields } else { format!("<div class=\"fields\">{fields}</div>") };
            let accessory = block.get("accessory").map(|e| element(e, block, ts)).unwrap_or_default();
            format!("<div class=\"section\"><div>{}{fields}</div>{accessory}</div>", text.unwrap_or_default())
        }
        "header" => format!("<div class=\"header\">{}</div>", text_object(&block["text"], state)),
        "context" => {
            let parts: Vec<String> = list("elements")
                .iter()
                .map(|part| match part["type"].as_str() {
                    Some("image") => image(part),
                    _ => format!("<span>{}</span>", text_object(part, state)),
                })
                .collect();
            format!("<div class=\"context\">{}</div>", parts.concat())
        }
        "actions" => {
            let parts: String = list("elements").iter().map(|part| element(part, block, ts)).collect();
            format!("<div class=\"actions\">{parts}</div>")
        }
        "input" => {
            let text = |value: &Value| html(value.as_str().unwrap_or_default());
            let name = format!("{} {}", text(&block["block_id"]), text(&block["element"]["action_id"]));
            format!(
                "<label class=\"field\">{}<textarea name=\"{name}\" rows=\"2\"></textarea></label>",
                text(&block["label"]["text"])
            )
        }
        "divider" => "<hr>".into(),
        "image" => image(block),
        "markdown" => format!("<div class=\"markdown\">{}</div>", html(block["text"].as_str().unwrap_or_default())),
        other => format!("<div class=\"context\">({} is not shown here)</div>", html(other)),
    }
}

fn image(image: &Value) -> String {
    let text = |name: &str| html(image[name].as_str().unwrap_or_default());
    format!("<img src=\"{}\" alt=\"{}\">", text("image_url"), text("alt_text"))
}

fn element(element: &Value, block: &Value, ts: &str) -> String {
    let text = |value: &Value| html(value.as_str().unwrap_or_default());
    if element["type"] != "button" {
        return format!("<span class=\"context\">({} is not shown here)</span>", text(&element["type"]));
    }
    let label = emoji(&text(&element["text"]["text"]));
    let data = format!(
        "class=\"button {}\" data-ts=\"{}\" data-block=\"{}\" data-action=\"{}\"",
        text(&element["style"]),
        html(ts),
        text(&block["block_id"]),
        text(&element["action_id"])
    );
    let confirm = match &element["confirm"] {
        Value::Null => String::new(),
        confirm => format!(" data-confirm=\"{}\"", text(&confirm["text"]["text"])),
    };
    match element["url"].as_str() {
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
            format!("<a {data} href=\"{}\" target=\"_blank\" rel=\"noreferrer\">{label}</a>", html(url))
        }
        _ => format!("<button {data}{confirm}>{label}</button>"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(text: &str) -> String {
        render(text, &State::new("http://slack.example".into()))
    }

    #[test]
    fn markup_becomes_html_and_nothing_else_does() {
        let cases = [
            ("*SHOP-1 is parked* and _waits_", "<b>SHOP-1 is parked</b> and <i>waits</i>"),
            ("2*3*4 and snake_case_name", "2*3*4 and snake_case_name"),
            ("`*not bold* <b>`", "<code>*not bold* &lt;b&gt;</code>"),
            ("a < b &amp;&amp; c &lt;script&gt;", "a &lt; b &amp;&amp; c &lt;script&gt;"),
            (
                "<@U0ANA> in <#C0ERRORS>",
                "<span class=\"mention\">@Ana</span> in <span class=\"mention\">#errors</span>",
            ),
            ("> said\nthen", "<blockquote>said</blockquote>then"),
            ("see\n```\na_b_c\n```\nend", "see<br><pre>a_b_c</pre>end"),
            (":white_check_mark: done", "✅ done"),
            ("<javascript:alert(1)|x>", "x"),
            ("un`even", "un`even"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text}");
        }
        assert_eq!(
            shown("*<http://x.example/a_b_c?d=1&amp;e=2|PR #1>*"),
            "<b><a href=\"http://x.example/a_b_c?d=1&amp;e=2\" target=\"_blank\" rel=\"noreferrer\">PR #1</a></b>"
        );
    }

    #[test]
    fn buttons_carry_what_a_click_needs() {
        let block = json!({"type": "actions", "block_id": "b1", "elements": [
            {"type": "button", "action_id": "approve", "style": "primary", "text": {"type": "plain_text", "text": "<Go>"}},
        ]});
        assert_eq!(
            blocks(&[block], "1.2", &State::new(String::new())),
            "<div class=\"actions\"><button class=\"button primary\" data-ts=\"1.2\" data-block=\"b1\" \
             data-action=\"approve\">&lt;Go&gt;</button></div>"
        );
    }
}
