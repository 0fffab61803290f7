//! The promise of the prompt cache: a run's next request begins with all that the last one had up to its last cache point.

use std::collections::HashMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::usage::{Part, Priced};

/// What each run sent last, and the requests that did not go on from there.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    last: HashMap<String, Vec<Piece>>,
    broken: Vec<String>,
}

/// A piece of a prompt: its digest, and how it begins, for the eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    digest: [u8; 32],
    begins: String,
    /// A tool or a block of the system prompt.
    is_head: bool,
}

impl Piece {
    fn of(part: Part<'_>) -> Option<Self> {
        let (kind, text) = match part {
            Part::Tool(text) => ("tool", text),
            Part::System(text) => ("system", text),
            Part::Role(text) => ("role", text),
            Part::Block(text) => ("block", text),
            Part::Point => return None,
        };
        let is_head = matches!(kind, "tool" | "system");
        let digest = Sha256::digest([kind, "\0", text].concat()).into();
        Some(Self { digest, begins: format!("{kind} {}", text.chars().take(120).collect::<String>()), is_head })
    }
}

impl Prefixes {
    /// Compares a request with the last one of its run, cache points left out. A conversation may begin anew, as after a
    /// hand-over; its tools and system prompt stay the same even then.
    pub(super) fn compare(&mut self, body: &Value, bytes: &[u8]) -> serde_json::Result<()> {
        let prompt: Priced<'_> = serde_json::from_slice(bytes)?;
        let (mut pieces, mut cached) = (Vec::new(), 0);
        for part in prompt.parts() {
            match Piece::of(part) {
                Some(piece) => pieces.push(piece),
                None => cached = pieces.len(),
            }
        }
        let run = format!("{} {}", body["requestMetadata"]["agent"], body["requestMetadata"]["run"]);
        let messages = body["messages"].as_array();
        let begins_anew = !messages.into_iter().flatten().any(|message| message["role"] == "assistant");
        if let Some(last) = self.last.get(&run) {
            let wanted = last.iter().filter(|piece| piece.is_head || !begins_anew);
            let differs = wanted.enumerate().find(|(at, piece)| pieces.get(*at) != Some(piece));
            if let Some((at, piece)) = differs {
                let found = pieces.get(at).map_or("nothing", |piece| &piece.begins);
                let number = messages.map_or(0, Vec::len);
                self.broken.push(format!(
                    "{run}, request of {number} messages: piece {at} was [{}] and is now [{found}]",
                    piece.begins
                ));
            }
        }
        pieces.truncate(cached);
        self.last.insert(run, pieces);
        Ok(())
    }

    /// Requests that did not begin with what was sent before.
    pub(super) fn broken(&self) -> &[String] {
        &self.broken
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sent(prefixes: &mut Prefixes, system: &str, messages: &Value) {
        let body = json!({
            "messages": messages,
            "requestMetadata": {"agent": "ci", "run": "r"},
            "system": [{"text": system}, {"cachePoint": {"type": "default"}}],
            "toolConfig": {"tools": [{"toolSpec": {"name": "read_log"}}]},
        });
        prefixes.compare(&body, body.to_string().as_bytes()).expect("readable");
    }

    fn said(role: &str, content: Value) -> Value {
        json!({"role": role, "content": content})
    }

    #[test]
    fn what_goes_on_from_the_last_cache_point_is_sound() {
        let point = json!({"cachePoint": {"type": "default"}});
        let mut prefixes = Prefixes::default();
        let first = said("user", json!([{"text": "a"}, point]));
        sent(&mut prefixes, "s", &json!([first]));
        // The point wanders on, and a message may grow behind it.
        let (then, answer) =
            (said("user", json!([{"text": "a"}, {"text": "more"}])), said("assistant", json!([{"text": "b"}])));
        sent(&mut prefixes, "s", &json!([then, answer, said("user", json!([{"text": "c"}, point]))]));
        // What stood behind the last point may be said otherwise.
        sent(&mut prefixes, "s", &json!([then, answer, said("user", json!([{"text": "c"}, {"text": "d"}]))]));
        // A hand-over begins anew.
        sent(&mut prefixes, "s", &json!([said("user", json!([{"text": "a, and what was done so far"}, point]))]));
        assert!(prefixes.broken().is_empty(), "{:?}", prefixes.broken());
    }

    #[test]
    fn another_byte_before_the_last_cache_point_is_told() {
        let point = json!({"cachePoint": {"type": "default"}});
        let mut prefixes = Prefixes::default();
        sent(&mut prefixes, "s", &json!([said("user", json!([{"text": "a"}, point]))]));
        let answer = said("assistant", json!([{"text": "b"}]));
        sent(
            &mut prefixes,
            "s",
            &json!([said("user", json!([{"text": "A"}])), answer, said("user", json!([{"text": "c"}]))]),
        );
        assert!(prefixes.broken()[0].contains(r#"was [block {"text":"a"}] and is now [block {"text":"A"}]"#));
        // Not even a conversation that begins anew changes tools or system.
        sent(&mut prefixes, "S", &json!([said("user", json!([{"text": "x"}]))]));
        assert_eq!(prefixes.broken().len(), 2, "{:?}", prefixes.broken());
    }
}
