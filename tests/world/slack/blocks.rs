//! Block Kit limits, checked as Slack checks them, with its kind of messages.
//!
//! Source: the Block Kit reference (blocks, block elements, composition objects) and the limits in Slack's own SDK for
//! Python.

use std::collections::BTreeSet;

use serde_json::Value;

/// Where blocks are shown: more fit into a modal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surface {
    Message,
    Modal,
}

/// All that is wrong, as Slack lists it; empty when nothing is.
pub(super) fn problems(blocks: &[Value], surface: Surface) -> Vec<String> {
    let mut check = Check::default();
    let limit = if surface == Surface::Message { 50 } else { 100 };
    if blocks.len() > limit {
        check.say(format!("no more than {limit} items allowed"), "/blocks");
    }
    let mut ids = BTreeSet::new();
    for (at, block) in blocks.iter().enumerate() {
        let place = format!("/blocks/{at}");
        check.block(block, &place);
        if let Some(id) = block["block_id"].as_str() {
            check.at_most(id, 255, &format!("{place}/block_id"));
            if !ids.insert(id) {
                check.say(format!("`block_id` must be unique, {id} was used twice"), &place);
            }
        }
    }
    check.problems
}

/// All that is wrong with a modal.
pub(super) fn view_problems(view: &Value) -> Vec<String> {
    let mut check = Check::default();
    if view["type"] != "modal" {
        check.say("must be `modal`".into(), "/view/type");
    }
    check.text(&view["title"], Kind::Plain, 24, "/view/title");
    for button in ["submit", "close"] {
        if let Some(text) = view.get(button) {
            check.text(text, Kind::Plain, 24, &format!("/view/{button}"));
        }
    }
    for (member, limit) in [("private_metadata", 3000), ("callback_id", 255)] {
        if let Some(text) = view[member].as_str() {
            check.at_most(text, limit, &format!("/view/{member}"));
        }
    }
    let blocks = view["blocks"].as_array().map_or(&[][..], Vec::as_slice);
    if blocks.is_empty() {
        check.say("no fewer than 1 items allowed".into(), "/view/blocks");
    }
    if blocks.iter().any(|block| block["type"] == "input") && view.get("submit").is_none() {
        check.say("`submit` is required when an `input` block is within the `blocks` array".into(), "/view");
    }
    check.problems.extend(problems(blocks, Surface::Modal));
    check.problems
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Any,
}

#[derive(Debug, Default)]
struct Check {
    problems: Vec<String>,
}

impl Check {
    fn say(&mut self, problem: String, place: &str) {
        self.problems.push(format!("{problem} [json-pointer:{place}]"));
    }

    fn at_most(&mut self, text: &str, limit: usize, place: &str) {
        if text.chars().count() > limit {
            self.say(format!("must be less than {} characters", limit + 1), place);
        }
    }

    fn at_least_one(&mut self, list: &[Value], limit: usize, place: &str) {
        if list.is_empty() {
            self.say("no fewer than 1 items allowed".into(), place);
        } else if list.len() > limit {
            self.say(format!("no more than {limit} items allowed"), place);
        }
    }

    fn text(&mut self, text: &Value, kind: Kind, limit: usize, place: &str) {
        match text["type"].as_str() {
            Some("plain_text") => {}
            Some("mrkdwn") if kind == Kind::Any => {}
            Some("mrkdwn") => return self.say("must be a `plain_text` object".into(), place),
            _ => return self.say("missing required field: text object".into(), place),
        }
        match text["text"].as_str() {
            None | Some("") => self.say("must be more than 0 characters".into(), &format!("{place}/text")),
            Some(text) => self.at_most(text, limit, &format!("{place}/text")),
        }
    }

    fn block(&mut self, block: &Value, place: &str) {
        let list = |name: &str| block[name].as_array().map_or(&[][..], Vec::as_slice);
        match block["type"].as_str().unwrap_or_default() {
            "section" => {
                if block.get("text").is_none() && block.get("fields").is_none() {
                    self.say("missing required field: text or fields".into(), place);
                }
                if let Some(text) = block.get("text") {
                    self.text(text, Kind::Any, 3000, &format!("{place}/text"));
                }
                if block.get("fields").is_some() {
                    self.at_least_one(list("fields"), 10, &format!("{place}/fields"));
                    for (at, field) in list("fields").iter().enumerate() {
                        self.text(field, Kind::Any, 2000, &format!("{place}/fields/{at}"));
                    }
                }
                if let Some(accessory) = block.get("accessory") {
                    self.element(accessory, &format!("{place}/accessory"));
                }
            }
            "header" => self.text(&block["text"], Kind::Plain, 150, &format!("{place}/text")),
            "context" => {
                self.at_least_one(list("elements"), 10, &format!("{place}/elements"));
                for (at, element) in list("elements").iter().enumerate() {
                    let place = format!("{place}/elements/{at}");
                    match element["type"].as_str() {
                        Some("image") => self.image(element, &place),
                        _ => self.text(element, Kind::Any, 3000, &place),
                    }
                }
            }
            "actions" => {
                self.at_least_one(list("elements"), 25, &format!("{place}/elements"));
                let mut ids = BTreeSet::new();
                for (at, element) in list("elements").iter().enumerate() {
                    let place = format!("{place}/elements/{at}");
                    self.element(element, &place);
                    if let Some(id) = element["action_id"].as_str()
                        && !ids.insert(id)
                    {
                        self.say(format!("`action_id` \"{id}\" already exists in this block"), &place);
                    }
                }
            }
            "image" => self.image(block, place),
            "markdown" => match block["text"].as_str() {
                None | Some("") => self.say("missing required field: text".into(), place),
                Some(text) => self.at_most(text, 12_000, &format!("{place}/text")),
            },
            "input" => {
                self.text(&block["label"], Kind::Plain, 2000, &format!("{place}/label"));
                if let Some(hint) = block.get("hint") {
                    self.text(hint, Kind::Plain, 2000, &format!("{place}/hint"));
                }
                self.element(&block["element"], &format!("{place}/element"));
            }
            "divider" | "rich_text" => {}
            other => self.say(format!("unsupported type: {other}"), &format!("{place}/type")),
        }
    }

    fn image(&mut self, image: &Value, place: &str) {
        for (member, limit) in [("image_url", 3000), ("alt_text", 2000)] {
            match image[member].as_str() {
                Some(text) => self.at_most(text, limit, &format!("{place}/{member}")),
                None => self.say(format!("missing required field: {member}"), place),
            }
        }
    }

    fn element(&mut self, element: &Value, place: &str) {
        if let Some(id) = element["action_id"].as_str() {
            self.at_most(id, 255, &format!("{place}/action_id"));
        }
        match element["type"].as_str().unwrap_or_default() {
            "button" => {
                self.text(&element["text"], Kind::Plain, 75, &format!("{place}/text"));
                for (member, limit) in [("value", 2000), ("url", 3000), ("accessibility_label", 75)] {
                    if let Some(value) = element.get(member) {
                        match value.as_str() {
                            Some(text) => self.at_most(text, limit, &format!("{place}/{member}")),
                            None => self.say("must be a string".into(), &format!("{place}/{member}")),
                        }
                    }
                }
                if element.get("style").is_some_and(|style| style != "primary" && style != "danger") {
                    self.say("must be one of `primary`, `danger`".into(), &format!("{place}/style"));
                }
            }
            "static_select" | "multi_static_select" | "radio_buttons" | "checkboxes" | "overflow" => {
                let options = element["options"].as_array().map_or(&[][..], Vec::as_slice);
                if element.get("option_groups").is_none() {
                    self.at_least_one(options, 100, &format!("{place}/options"));
                }
                for (at, option) in options.iter().enumerate() {
                    let place = format!("{place}/options/{at}");
                    self.text(&option["text"], Kind::Any, 75, &format!("{place}/text"));
                    match option["value"].as_str() {
                        Some(value) => self.at_most(value, 150, &format!("{place}/value")),
                        None => self.say("missing required field: value".into(), &place),
                    }
                }
            }
            "plain_text_input"
            | "number_input"
            | "users_select"
            | "channels_select"
            | "conversations_select"
            | "datepicker"
            | "timepicker" => {
                if let Some(text) = element.get("placeholder") {
                    self.text(text, Kind::Plain, 150, &format!("{place}/placeholder"));
                }
            }
            "image" => self.image(element, place),
            other => self.say(format!("unsupported type: {other}"), &format!("{place}/type")),
        }
        if let Some(confirm) = element.get("confirm") {
            self.text(&confirm["title"], Kind::Plain, 100, &format!("{place}/confirm/title"));
            self.text(&confirm["text"], Kind::Any, 300, &format!("{place}/confirm/text"));
            for button in ["confirm", "deny"] {
                self.text(&confirm[button], Kind::Plain, 30, &format!("{place}/confirm/{button}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(kind: &str, length: usize) -> Value {
        json!({"type": kind, "text": "x".repeat(length)})
    }

    fn button(member: &str, value: Value) -> Value {
        let mut button = json!({"type": "button", "text": text("plain_text", 7), "action_id": "approve"});
        button[member] = value;
        json!({"type": "actions", "elements": [button]})
    }

    #[test]
    fn what_is_within_the_limits_passes() {
        let good = [
            json!({"type": "header", "text": text("plain_text", 150)}),
            json!({"type": "section", "text": text("mrkdwn", 3000), "fields": vec![text("mrkdwn", 2000); 10]}),
            json!({"type": "divider"}),
            json!({"type": "input", "label": text("plain_text", 1), "element": {"type": "plain_text_input"}}),
            json!({"type": "context", "elements": vec![text("mrkdwn", 10); 10]}),
            button("value", json!("v".repeat(2000))),
            button("style", json!("danger")),
        ];
        assert_eq!(problems(&good, Surface::Message), Vec::<String>::new());
    }

    #[test]
    fn every_limit_is_held() {
        let bad = [
            json!({"type": "section", "text": text("mrkdwn", 3001)}),
            json!({"type": "section", "text": text("mrkdwn", 0)}),
            json!({"type": "section"}),
            json!({"type": "section", "fields": vec![text("mrkdwn", 1); 11]}),
            json!({"type": "section", "text": "plain string"}),
            json!({"type": "header", "text": text("plain_text", 151)}),
            json!({"type": "header", "text": text("mrkdwn", 5)}),
            json!({"type": "context", "elements": vec![text("mrkdwn", 1); 11]}),
            json!({"type": "actions", "elements": []}),
            button("text", text("plain_text", 76)),
            button("text", text("mrkdwn", 5)),
            button("value", json!("v".repeat(2001))),
            button("value", json!({"run": 1})),
            button("action_id", json!("a".repeat(256))),
            button("style", json!("default")),
            button("confirm", json!({"title": text("plain_text", 101)})),
            json!({"type": "input", "label": text("mrkdwn", 1), "element": {"type": "plain_text_input"}}),
            json!({"type": "markdown", "text": "x".repeat(12_001)}),
            json!({"type": "poll"}),
        ];
        for block in bad {
            let found = problems(std::slice::from_ref(&block), Surface::Message);
            assert!(found.first().is_some_and(|problem| problem.contains("[json-pointer:/blocks/0")), "{block}");
        }
        let divider = || json!({"type": "divider"});
        assert_eq!(problems(&vec![divider(); 51], Surface::Message).len(), 1);
        let twice = json!({"type": "divider", "block_id": "b"});
        assert_eq!(problems(&[twice.clone(), twice], Surface::Message).len(), 1);
        let two = button("value", json!("v"))["elements"][0].clone();
        assert_eq!(problems(&[json!({"type": "actions", "elements": [two, two]})], Surface::Message).len(), 1);
    }

    #[test]
    fn a_modal_needs_a_title_and_a_way_to_submit_inputs() {
        let input = json!({"type": "input", "label": text("plain_text", 5), "element": {"type": "plain_text_input"}});
        let mut view = json!({"type": "modal", "title": text("plain_text", 24), "blocks": [input]});
        assert!(view_problems(&view)[0].contains("`submit` is required"));
        view["submit"] = text("plain_text", 4);
        assert_eq!(view_problems(&view), Vec::<String>::new());
        view["title"] = text("plain_text", 25);
        assert!(view_problems(&view)[0].contains("less than 25"));
    }
}
