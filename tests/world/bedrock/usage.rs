//! Token counts and the prompt cache, accounted as Bedrock does: prefixes up to a cache point, five minutes of life.
//!
//! Source: "Prompt caching for faster model inference", Amazon Bedrock User Guide: the order is tools, system,
//! messages; a hit renews the life; prefixes under the model's minimum are silently not cached.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::script::Counts;

/// A token is counted as this many bytes; close enough for English and code, and the same on every machine.
const BYTES_PER_TOKEN: usize = 4;

/// Life of a cached prefix without a hit.
const CACHE_LIFE: Duration = Duration::from_secs(300);

/// Shortest prefix that a model caches, in tokens: 4,096 of Opus 4.5 and Haiku 4.5, 1,024 of the Claude models before them.
fn cache_minimum(model: &str) -> usize {
    let late = ["claude-opus-4-5", "claude-haiku-4-5"];
    if late.iter().any(|name| model.contains(name)) { 4096 } else { 1024 }
}

/// Usage of one call as the service reports it; `input` excludes what the cache served or stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Tokens read at the full price.
    pub input_tokens: usize,
    /// Tokens of the answer.
    pub output_tokens: usize,
    /// All of them.
    pub total_tokens: usize,
    /// Tokens served from the cache.
    pub cache_read_input_tokens: usize,
    /// Tokens stored in the cache.
    pub cache_write_input_tokens: usize,
}

/// Tokens of so many bytes, rounded up.
pub(super) fn tokens(bytes: usize) -> usize {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

/// Prefixes seen, with the time of their last use.
#[derive(Debug, Default)]
pub(super) struct PromptCache {
    seen: HashMap<[u8; 32], Instant>,
}

/// The parts of a request that cost input tokens, as the bytes that were sent: key order counts, as in reality.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Priced<'a> {
    #[serde(borrow, default)]
    system: Vec<&'a RawValue>,
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    #[serde(borrow, default)]
    tool_config: Option<Tools<'a>>,
}

#[derive(Debug, Deserialize)]
struct Message<'a> {
    role: &'a str,
    #[serde(borrow)]
    content: Vec<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Tools<'a> {
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct MaybeCachePoint {
    #[serde(rename = "cachePoint")]
    cache_point: Option<serde::de::IgnoredAny>,
}

/// A piece of a prompt, as the bytes that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A tool.
    Tool(&'a str),
    /// A block of the system prompt.
    System(&'a str),
    /// A message begins.
    Role(&'a str),
    /// A block of a message.
    Block(&'a str),
    /// A cache point.
    Point,
}

impl Priced<'_> {
    /// All pieces, in the order in which prefixes are cached: tools, system, messages.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let tools = self.tool_config.iter().flat_map(|config| &config.tools).map(|tool| part(tool, Part::Tool));
        let system = self.system.iter().map(|block| part(block, Part::System));
        let messages = self.messages.iter().flat_map(|message| {
            let blocks = message.content.iter().map(|block| part(block, Part::Block));
            std::iter::once(Part::Role(message.role)).chain(blocks)
        });
        tools.chain(system).chain(messages)
    }
}

fn part<'a>(block: &'a RawValue, kind: fn(&'a str) -> Part<'a>) -> Part<'a> {
    let is_point = serde_json::from_str::<MaybeCachePoint>(block.get()).is_ok_and(|b| b.cache_point.is_some());
    if is_point { Part::Point } else { kind(block.get()) }
}

/// Reads the prompt and remembers where the cache points are.
#[derive(Default)]
struct Reader {
    hash: Sha256,
    bytes: usize,
    /// Length and digest of the prefix before each cache point.
    points: Vec<(usize, [u8; 32])>,
}

impl Reader {
    fn text(&mut self, text: &str) {
        self.hash.update((text.len() as u64).to_be_bytes());
        self.hash.update(text);
        self.bytes += text.len();
    }

    fn take(&mut self, part: Part<'_>) {
        match part {
            Part::Point => self.points.push((self.bytes, self.hash.clone().finalize().into())),
            Part::Tool(text) | Part::System(text) | Part::Role(text) | Part::Block(text) => self.text(text),
        }
    }
}

impl Usage {
    /// The counts that a script wants reported, the others as they are.
    #[must_use]
    pub(super) fn with(self, counts: Option<Counts>) -> Self {
        let Some(counts) = counts else { return self };
        let input_tokens = counts.input.unwrap_or(self.input_tokens);
        let output_tokens = counts.output.unwrap_or(self.output_tokens);
        let cache_read_input_tokens = counts.cache_read.unwrap_or(self.cache_read_input_tokens);
        let cache_write_input_tokens = counts.cache_write.unwrap_or(self.cache_write_input_tokens);
        let total_tokens = input_tokens + output_tokens + cache_read_input_tokens + cache_write_input_tokens;
        Self { input_tokens, output_tokens, total_tokens, cache_read_input_tokens, cache_write_input_tokens }
    }
}

impl PromptCache {
    /// Accounts for one call at `now`. `model` separates caches: a prefix is cached per model.
    pub(super) fn account(
        &mut self,
        model: &str,
        body: &[u8],
        output_bytes: usize,
        now: Instant,
    ) -> serde_json::Result<Usage> {
        let mut reader = Reader::default();
        reader.hash.update(model);
        let prompt: Priced<'_> = serde_json::from_slice(body)?;
        prompt.parts().for_each(|part| reader.take(part));
        let cached: Vec<(usize, [u8; 32])> = reader
            .points
            .iter()
            .map(|(bytes, key)| (tokens(*bytes), *key))
            .filter(|(n, _)| *n >= cache_minimum(model))
            .collect();
        self.seen.retain(|_, used| now.duration_since(*used) < CACHE_LIFE);
        let read = cached.iter().rev().find(|(_, key)| self.seen.contains_key(key)).map_or(0, |(n, _)| *n);
        let stored = cached.last().map_or(0, |(n, _)| *n);
        for (_, key) in cached {
            self.seen.insert(key, now);
        }
        let all = tokens(reader.bytes);
        let output_tokens = tokens(output_bytes);
        Ok(Usage {
            input_tokens: all - stored,
            output_tokens,
            total_tokens: all + output_tokens,
            cache_read_input_tokens: read,
            cache_write_input_tokens: stored - read,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(system: &str, turns: usize) -> Vec<u8> {
        let point = r#"{"cachePoint":{"type":"default"}}"#;
        let message = r#"{"role":"user","content":[{"text":"hello there"}]}"#;
        let messages = vec![message; turns].join(",");
        format!(r#"{{"system":[{{"text":"{system}"}},{point}],"messages":[{messages}]}}"#).into_bytes()
    }

    #[test]
    fn the_second_call_reads_what_the_first_stored_until_it_is_forgotten() {
        let mut cache = PromptCache::default();
        let now = Instant::now();
        let long = "s".repeat(8000);
        let first = cache.account("m", &body(&long, 1), 40, now).expect("usage");
        assert_eq!((first.cache_write_input_tokens, first.cache_read_input_tokens), (2003, 0));
        assert_eq!(first.output_tokens, 10);
        let second = cache.account("m", &body(&long, 2), 40, now + Duration::from_secs(299)).expect("usage");
        assert_eq!((second.cache_write_input_tokens, second.cache_read_input_tokens), (0, 2003));
        assert_eq!(second.total_tokens, second.input_tokens + 2003 + 10);
        let other = cache.account("other", &body(&long, 2), 40, now + Duration::from_secs(299)).expect("usage");
        assert_eq!(other.cache_read_input_tokens, 0);
        let late = cache.account("m", &body(&long, 2), 40, now + Duration::from_secs(600)).expect("usage");
        assert_eq!((late.cache_write_input_tokens, late.cache_read_input_tokens), (2003, 0));
    }

    #[test]
    fn a_hit_renews_the_life_of_a_prefix() {
        let mut cache = PromptCache::default();
        let (now, long) = (Instant::now(), "s".repeat(8000));
        for seconds in [0, 200, 400, 600] {
            let usage = cache.account("m", &body(&long, 1), 0, now + Duration::from_secs(seconds)).expect("usage");
            assert_eq!(usage.cache_read_input_tokens > 0, seconds > 0, "after {seconds} s");
        }
        let late = cache.account("m", &body(&long, 1), 0, now + Duration::from_secs(900)).expect("usage");
        assert_eq!(late.cache_read_input_tokens, 0, "300 s after the last hit it is forgotten");
    }

    #[test]
    fn each_model_has_its_own_shortest_prefix() {
        for (model, minimum) in [
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 1024),
            ("us.anthropic.claude-opus-4-1-20250805-v1:0", 1024),
            ("us.anthropic.claude-opus-4-5-20251101-v1:0", 4096),
            ("us.anthropic.claude-haiku-4-5-20251001-v1:0", 4096),
        ] {
            let now = Instant::now();
            // The block around the text has eleven bytes.
            for (text, is_stored) in [(minimum * 4 - 16, false), (minimum * 4 - 11, true)] {
                let usage = PromptCache::default().account(model, &body(&"s".repeat(text), 1), 0, now).expect("usage");
                assert_eq!(usage.cache_write_input_tokens >= minimum, is_stored, "{model} {text}: {usage:?}");
            }
        }
    }

    #[test]
    fn a_script_may_report_other_counts() {
        let counted = PromptCache::default().account("m", &body("short", 1), 40, Instant::now()).expect("usage");
        let counts = Counts { input: Some(150_000), output: None, cache_read: Some(7), cache_write: None };
        let told = counted.with(Some(counts));
        assert_eq!((told.input_tokens, told.output_tokens, told.cache_read_input_tokens), (150_000, 10, 7));
        assert_eq!(told.total_tokens, 150_017);
        assert_eq!(counted.with(None), counted);
    }

    #[test]
    fn another_byte_in_the_prefix_misses_and_a_short_prefix_is_never_cached() {
        let mut cache = PromptCache::default();
        let now = Instant::now();
        let long = "s".repeat(8000);
        cache.account("m", &body(&long, 1), 0, now).expect("usage");
        let changed = cache.account("m", &body(&format!("{long}x"), 1), 0, now).expect("usage");
        assert_eq!(changed.cache_read_input_tokens, 0);
        for _ in 0..2 {
            let short = cache.account("m", &body("short", 1), 0, now).expect("usage");
            assert_eq!((short.cache_write_input_tokens, short.cache_read_input_tokens), (0, 0));
        }
    }
}
