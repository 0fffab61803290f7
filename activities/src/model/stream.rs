//! A reply as it streams in: fragments are joined to content blocks in the shape in which they are sent again.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_bedrockruntime::operation::converse_stream::ConverseStreamOutput as Streaming;
use aws_sdk_bedrockruntime::types::{
    ContentBlockDelta, ContentBlockStart, ConverseStreamOutput as Event, ReasoningContentBlockDelta, TokenUsage,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::time::timeout;
use workflows::contract::money::Usage;

use super::errors::Errors;
use crate::failure::ServiceError;

/// A whole reply.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Received {
    /// Content blocks, in order.
    pub blocks: Vec<Block>,
    /// Why it stopped, in Bedrock's word.
    pub stop: String,
    /// Tokens.
    pub usage: Usage,
}

/// A content block.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Block {
    /// What the model said.
    Text(String),
    /// A tool it calls.
    Call {
        /// Id, by which the result refers to it.
        id: String,
        /// The tool.
        name: String,
        /// Input as it was streamed: JSON, when the model did not stumble.
        input: String,
    },
    /// What it thought; goes back unmodified, with its signature.
    Reasoning(Value),
}

/// Reads a reply to its end, and says how many bytes the model wrote so far. A silence longer than `idle` and an end without the closing events count as cut: what was
/// streamed before is worth nothing, for a call may be half.
pub(super) async fn receive(
    mut reply: Streaming,
    idle: Duration,
    errors: &Errors<'_>,
    streamed: &(dyn Fn(usize) + Sync),
) -> Result<Received, ServiceError> {
    let mut parts = Parts::default();
    let mut bytes = 0;
    loop {
        let event = timeout(idle, reply.stream.recv()).await.map_err(|_| errors.silent(idle))?;
        match event.map_err(|error| errors.of_stream(error))? {
            Some(event) => {
                bytes += size_of_output(&event);
                streamed(bytes);
                parts.take(event);
            }
            None => return parts.finish().ok_or_else(|| errors.cut()),
        }
    }
}

/// Bytes that the model wrote.
fn size_of_output(event: &Event) -> usize {
    match event {
        Event::ContentBlockStart(start) => match &start.start {
            Some(ContentBlockStart::ToolUse(tool)) => tool.name.len(),
            _ => 0,
        },
        Event::ContentBlockDelta(delta) => match &delta.delta {
            Some(ContentBlockDelta::Text(text)) => text.len(),
            Some(ContentBlockDelta::ToolUse(call)) => call.input.len(),
            Some(ContentBlockDelta::ReasoningContent(ReasoningContentBlockDelta::Text(text))) => text.len(),
            _ => 0,
        },
        _ => 0,
    }
}

#[derive(Default)]
struct Parts {
    blocks: BTreeMap<i32, Part>,
    stop: Option<String>,
    usage: Option<Usage>,
}

enum Part {
    Text(String),
    Call { id: String, name: String, input: String },
    Reasoning { text: String, signature: Option<String> },
    Redacted(Vec<u8>),
}

impl Parts {
    fn take(&mut self, event: Event) {
        match event {
            Event::ContentBlockStart(start) => {
                if let Some(ContentBlockStart::ToolUse(tool)) = start.start {
                    let part = Part::Call { id: tool.tool_use_id, name: tool.name, input: String::new() };
                    self.blocks.insert(start.content_block_index, part);
                }
            }
            Event::ContentBlockDelta(delta) => {
                if let Some(fragment) = delta.delta {
                    self.join(delta.content_block_index, fragment);
                }
            }
            Event::MessageStop(stop) => self.stop = Some(stop.stop_reason.as_str().to_owned()),
            Event::Metadata(metadata) => self.usage = metadata.usage.as_ref().map(usage_of),
            // Start and stop of messages and blocks carry nothing; an event newer than this SDK may be left out.
            _ => {}
        }
    }

    fn join(&mut self, index: i32, fragment: ContentBlockDelta) {
        match fragment {
            ContentBlockDelta::Text(more) => {
                match self.blocks.entry(index).or_insert_with(|| Part::Text(String::new())) {
                    Part::Text(text) => text.push_str(&more),
                    _ => tracing::warn!(index, "text inside another block of a reply was dropped"),
                }
            }
            ContentBlockDelta::ToolUse(more) => match self.blocks.get_mut(&index) {
                Some(Part::Call { input, .. }) => input.push_str(&more.input),
                _ => tracing::warn!(index, "input without a call in a reply was dropped"),
            },
            ContentBlockDelta::ReasoningContent(more) => self.join_reasoning(index, more),
            _ => tracing::warn!(index, "a kind of content that agents do not use was dropped"),
        }
    }

    fn join_reasoning(&mut self, index: i32, fragment: ReasoningContentBlockDelta) {
        let empty = || match &fragment {
            ReasoningContentBlockDelta::RedactedContent(_) => Part::Redacted(Vec::new()),
            _ => Part::Reasoning { text: String::new(), signature: None },
        };
        match (self.blocks.entry(index).or_insert_with(empty), fragment) {
            (Part::Reasoning { text, .. }, ReasoningContentBlockDelta::Text(more)) => text.push_str(&more),
            (Part::Reasoning { signature, .. }, ReasoningContentBlockDelta::Signature(more)) => {
                signature.get_or_insert_default().push_str(&more);
            }
            (Part::Redacted(bytes), ReasoningContentBlockDelta::RedactedContent(more)) => bytes.extend(more.as_ref()),
            _ => tracing::warn!(index, "reasoning of an unknown kind was dropped"),
        }
    }

    /// The whole reply; `None` when its closing events did not come.
    fn finish(self) -> Option<Received> {
        let blocks = self.blocks.into_values().map(Part::finish).collect();
        Some(Received { blocks, stop: self.stop?, usage: self.usage? })
    }
}

impl Part {
    fn finish(self) -> Block {
        match self {
            Self::Text(text) => Block::Text(text),
            Self::Call { id, name, input } => Block::Call { id, name, input },
            Self::Reasoning { text, signature: None } => Block::Reasoning(json!({"reasoningText": {"text": text}})),
            Self::Reasoning { text, signature: Some(signature) } => {
                Block::Reasoning(json!({"reasoningText": {"text": text, "signature": signature}}))
            }
            Self::Redacted(bytes) => Block::Reasoning(json!({"redactedContent": BASE64.encode(bytes)})),
        }
    }
}

/// Bedrock's `inputTokens` leaves out what the cache served or stored.
fn usage_of(usage: &TokenUsage) -> Usage {
    let count = |tokens: i32| u64::try_from(tokens).unwrap_or_default();
    Usage {
        input: count(usage.input_tokens),
        output: count(usage.output_tokens),
        cache_read: count(usage.cache_read_input_tokens.unwrap_or_default()),
        cache_write: count(usage.cache_write_input_tokens.unwrap_or_default()),
    }
}
