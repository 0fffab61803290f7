//! The reply as `application/vnd.amazon.eventstream`: framing, fragments, exception events.
//!
//! Source: "Amazon event stream encoding" in the Smithy specification and the `ConverseStream` operation.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;
use serde_json::{Value, json};

use super::script::Garbling;
use super::usage::Usage;

/// Characters per text delta.
const TEXT_FRAGMENT: usize = 24;
/// Characters per fragment of a tool input.
const INPUT_FRAGMENT: usize = 48;

/// A block of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Block {
    /// What the model says.
    Text(String),
    /// A tool it calls.
    Call {
        id: String,
        tool: String,
        /// The input's text, JSON unless the script wants it broken.
        input: String,
    },
}

impl Block {
    /// Bytes that count as output.
    pub(super) fn bytes(&self) -> usize {
        self.whole().to_string().len()
    }

    /// The block in the shape of a Converse message. An input that is no JSON cannot be told otherwise than as a text.
    fn whole(&self) -> Value {
        match self {
            Self::Text(text) => json!({"text": text}),
            Self::Call { id, tool, input } => {
                let input = serde_json::from_str(input).unwrap_or_else(|_| json!(input));
                json!({"toolUse": {"toolUseId": id, "name": tool, "input": input}})
            }
        }
    }
}

/// One complete answer of the model.
#[derive(Debug)]
pub(super) struct Answer {
    /// Content blocks.
    pub content: Vec<Block>,
    pub stop: &'static str,
    pub usage: Usage,
    pub latency_ms: u64,
}

impl Answer {
    /// The body of a `Converse` reply.
    pub(super) fn whole(&self) -> Value {
        let content: Vec<Value> = self.content.iter().map(Block::whole).collect();
        json!({
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": self.stop,
            "usage": self.usage,
            "metrics": {"latencyMs": self.latency_ms},
        })
    }

    /// The frames of a `ConverseStream` reply, in order.
    pub(super) fn frames(&self) -> Vec<Bytes> {
        let mut frames = vec![event("messageStart", &json!({"role": "assistant"}))];
        for (index, block) in self.content.iter().enumerate() {
            match block {
                Block::Call { id, tool, input } => {
                    let start = json!({"toolUse": {"toolUseId": id, "name": tool}});
                    frames.push(event("contentBlockStart", &json!({"contentBlockIndex": index, "start": start})));
                    // As the real service does, the first fragment of an input is empty.
                    for part in std::iter::once(String::new()).chain(fragments(input, INPUT_FRAGMENT)) {
                        frames.push(delta(index, &json!({"toolUse": {"input": part}})));
                    }
                }
                Block::Text(text) => {
                    for part in fragments(text, TEXT_FRAGMENT) {
                        frames.push(delta(index, &json!({"text": part})));
                    }
                }
            }
            frames.push(event("contentBlockStop", &json!({"contentBlockIndex": index})));
        }
        frames.push(event("messageStop", &json!({"stopReason": self.stop})));
        let metrics = json!({"latencyMs": self.latency_ms});
        frames.push(event("metadata", &json!({"usage": self.usage, "metrics": metrics})));
        frames
    }
}

/// An exception event, which ends a stream that had begun. `name` as in `ModelStreamErrorException`.
pub(super) fn exception(name: &str, message: &str) -> Bytes {
    let mut chars = name.chars();
    let lower_first = chars.next().map(|c| c.to_ascii_lowercase()).into_iter().chain(chars).collect::<String>();
    let headers = [(":exception-type", lower_first), (":message-type", "exception".into())];
    encode(headers.into(), json!({"message": message}).to_string())
}

/// A fragment of text whose frame is sound and whose text no client can decode.
pub(super) fn garbled(damage: Garbling) -> Bytes {
    let broken: &[u8] = match damage {
        Garbling::InvalidUtf8 => b"\xff\xfe",
        Garbling::LoneSurrogate => b"\\ud83d",
    };
    let payload = [br#"{"contentBlockIndex":0,"delta":{"text":""#, broken, br#""}}"#].concat();
    encode(vec![(":event-type", "contentBlockDelta".into()), (":message-type", "event".into())], payload)
}

fn delta(index: usize, fragment: &Value) -> Bytes {
    event("contentBlockDelta", &json!({"contentBlockIndex": index, "delta": fragment}))
}

fn event(kind: &str, payload: &Value) -> Bytes {
    encode(vec![(":event-type", kind.into()), (":message-type", "event".into())], payload.to_string())
}

fn encode(headers: Vec<(&'static str, String)>, payload: impl Into<Bytes>) -> Bytes {
    let mut message = Message::new(payload);
    for (name, value) in headers.into_iter().chain([(":content-type", "application/json".to_owned())]) {
        message = message.add_header(Header::new(name, HeaderValue::String(value.into())));
    }
    let mut buffer = Vec::new();
    write_message_to(&message, &mut buffer).expect("a scripted reply is far below the frame limit of 24 MB");
    buffer.into()
}

fn fragments(text: &str, size: usize) -> impl Iterator<Item = String> {
    let chars: Vec<char> = text.chars().collect();
    chars.chunks(size).map(|part| part.iter().collect()).collect::<Vec<String>>().into_iter()
}

#[cfg(test)]
mod tests {
    use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};

    use super::*;

    fn header<'a>(message: &'a Message, name: &str) -> &'a str {
        let header = message.headers().iter().find(|h| h.name().as_str() == name).expect("header");
        header.value().as_string().expect("string header").as_str()
    }

    #[test]
    fn frames_decode_to_the_same_answer() {
        let input =
            json!({"path": "shop/pricing.py", "text": "größer als der Preis, also viel länger als ein Fragment"});
        let tool = Block::Call { id: "tooluse_1".into(), tool: "read_file".into(), input: input.to_string() };
        let said = "I look for the pricing code, which is where the discount is applied.";
        let usage = Usage {
            input_tokens: 10,
            output_tokens: 5,
            total_tokens: 15,
            cache_read_input_tokens: 0,
            cache_write_input_tokens: 0,
        };
        let answer = Answer { content: vec![Block::Text(said.into()), tool], stop: "tool_use", usage, latency_ms: 1 };
        let mut wire = bytes::BytesMut::from(&answer.frames().concat()[..]);
        let (mut kinds, mut text, mut json_text) = (Vec::new(), String::new(), String::new());
        let mut decoder = MessageFrameDecoder::new();
        while let DecodedFrame::Complete(message) = decoder.decode_frame(&mut wire).expect("valid frame") {
            assert_eq!(header(&message, ":message-type"), "event");
            let payload: Value = serde_json::from_slice(message.payload()).expect("json payload");
            text += payload.pointer("/delta/text").and_then(Value::as_str).unwrap_or_default();
            json_text += payload.pointer("/delta/toolUse/input").and_then(Value::as_str).unwrap_or_default();
            kinds.push(header(&message, ":event-type").to_owned());
        }
        assert!(wire.is_empty());
        assert_eq!(text, said);
        assert_eq!(serde_json::from_str::<Value>(&json_text).expect("input"), input);
        kinds.dedup();
        assert_eq!(
            kinds,
            [
                "messageStart",
                "contentBlockDelta",
                "contentBlockStop",
                "contentBlockStart",
                "contentBlockDelta",
                "contentBlockStop",
                "messageStop",
                "metadata"
            ]
        );
    }
}
