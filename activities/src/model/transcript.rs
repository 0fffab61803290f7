//! A conversation as a chain of blobs: each node holds what one turn added, and the digest of the node before it.
//!
//! Inputs and outputs of calls are blobs of their own, which the tools wrote and read: a node refers to them, so that every byte
//! is stored once. What is sent is made from the chain alone, so that a later turn sends the same bytes again, from whatever
//! machine.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use workflows::agents::{AgentSpec, untrusted};
use workflows::contract::failure::FailureKind;
use workflows::contract::ids::Digest;
use workflows::contract::model::{CallOutput, CallResult, News, Remark};

use super::hand_over::{self, HandOver};
use super::{label, request};
use crate::blobs::Blobs;
use crate::failure::ServiceError;

/// Shorter inputs of calls stand in the node itself: a reference would be longer.
const SHORT_INPUT: usize = 100;
/// Most text of all results of one turn, in bytes. Longer ones are cut, so that a conversation never outgrows its model between
/// two looks at its length.
const RESULTS: usize = 96 * 1024;

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Node {
    previous: Option<Digest>,
    /// The conversation that this one goes on from, after a hand-over; in the first node only. For people who look back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Digest>,
    /// The system prompt the conversation began with; in the first node only. A new version of the prompt does not change a
    /// conversation under way; one that changes a tool costs it its cached prefix, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    messages: Vec<Value>,
}

/// A conversation up to the last reply.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Transcript {
    head: Option<Digest>,
    /// The conversation that this one goes on from, after a hand-over.
    pub before: Option<Digest>,
    /// System prompt.
    pub system: String,
    messages: Vec<Value>,
    /// What people said in it, word for word.
    said: Vec<Value>,
}

/// A user message: as it is kept, and as it is sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    kept: Value,
    /// In Converse's shape.
    pub sent: Value,
}

impl Transcript {
    /// Loads the conversation that ends in `head`, or begins one for `spec`.
    pub(super) async fn load(blobs: &Blobs, spec: &AgentSpec, head: Option<&Digest>) -> Result<Self, ServiceError> {
        match head {
            Some(head) => Self::load_past(blobs, head).await,
            None => {
                Ok(Self { head: None, before: None, system: spec.system(), messages: Vec::new(), said: Vec::new() })
            }
        }
    }

    /// Loads the conversation that ends in `head`.
    pub(super) async fn load_past(blobs: &Blobs, head: &Digest) -> Result<Self, ServiceError> {
        let mut nodes = Vec::new();
        let mut next = Some(head.clone());
        while let Some(digest) = next.take() {
            let bytes = blobs.get(&digest).await?;
            let node: Node = serde_json::from_slice(&bytes).map_err(|error| {
                invalid(format!("blob {digest} is no part of a transcript: was the workflow started by hand?"))
                    .caused_by(error)
            })?;
            next.clone_from(&node.previous);
            nodes.push(node);
        }
        let (before, system) =
            nodes.last().map(|first| (first.before.clone(), first.system.clone())).unwrap_or_default();
        let system = system.unwrap_or_default();
        let (mut messages, mut said) = (Vec::new(), Vec::new());
        for mut message in nodes.into_iter().rev().flat_map(|node| node.messages) {
            for block in message["content"].as_array_mut().into_iter().flatten() {
                said.extend(block.get("said").is_some().then(|| block.clone()));
                fill_in(blobs, block).await?;
            }
            messages.push(message);
        }
        Ok(Self { head: Some(head.clone()), before, system, messages, said })
    }

    /// The messages, in Converse's shape.
    pub(super) fn messages(&self) -> &[Value] {
        &self.messages
    }

    /// All messages with `told` at the end, roles alternating: after a reply without content two user messages become one.
    pub(super) fn with(&self, told: &Value) -> Vec<Value> {
        let mut merged: Vec<Value> = Vec::with_capacity(self.messages.len() + 1);
        for message in self.messages.iter().chain([told]) {
            match merged.last_mut() {
                Some(last) if last["role"] == message["role"] => {
                    if let (Some(content), Some(more)) = (last["content"].as_array_mut(), message["content"].as_array())
                    {
                        content.extend(more.iter().cloned());
                    }
                }
                _ => merged.push(message.clone()),
            }
        }
        merged
    }

    /// The user message that tells the model `news` and `remarks`. Every call of the last reply gets a result, as Bedrock
    /// demands: one that `news` does not answer is told so.
    pub(super) async fn message(
        &self,
        blobs: &Blobs,
        spec: &AgentSpec,
        news: &News,
        remarks: &[Remark],
    ) -> Result<Told, ServiceError> {
        let begun = self.head.is_some();
        let mut content = Vec::new();
        match news {
            News::Brief(brief) if !begun => {
                let text = spec.render_brief(brief).map_err(|error| invalid(error.to_string()).caused_by(error))?;
                content.push(json!({"text": text}));
            }
            News::Results(results) if begun => content = self.results(blobs, results).await?,
            News::Remark(text) if begun => content.push(json!({"text": or_nothing(text)})),
            News::Brief(_) => return Err(invalid("a conversation under way cannot be briefed again")),
            News::Results(_) | News::Remark(_) => return Err(invalid("a conversation begins with a brief")),
        }
        content.extend(remarks.iter().map(|remark| match remark.by {
            Some(_) => json!({"text": spoken(remark), "said": true}),
            None => json!({"text": spoken(remark)}),
        }));
        let answered: Vec<Value> = content.iter().map(|block| block["toolResult"]["toolUseId"].clone()).collect();
        let mut all: Vec<Value> = self
            .open_calls()
            .filter_map(|call| call.get("toolUseId").filter(|id| !answered.contains(id)))
            .map(|id| json!({"toolResult": {"toolUseId": id, "status": "error", "content": [{"text": NOT_RUN}]}}))
            .collect();
        all.append(&mut content);
        // Results come before any text: Bedrock refuses a reply to calls that begins with something else.
        all.sort_by_key(|block| block.get("toolResult").is_none());
        let kept = json!({"role": "user", "content": all});
        for block in &mut all {
            fill_in(blobs, block).await?;
        }
        Ok(Told { kept, sent: json!({"role": "user", "content": all}) })
    }

    /// Results as they are kept. Where all of them together are too long, each gives up what is over its share.
    async fn results(&self, blobs: &Blobs, results: &[CallResult]) -> Result<Vec<Value>, ServiceError> {
        let mut sizes = Vec::with_capacity(results.len());
        for result in results {
            sizes.push(match &result.output {
                CallOutput::Blob(digest) => blobs.get(digest).await?.len(),
                CallOutput::Text(_) => 0,
            });
        }
        let share = share_of(RESULTS, &sizes);
        Ok(results
            .iter()
            .zip(sizes)
            .map(|(result, size)| self.result(result, (size > share).then_some(share)))
            .collect())
    }

    fn result(&self, result: &CallResult, first: Option<usize>) -> Value {
        let status = if result.is_error { "error" } else { "success" };
        let mut kept = json!({"toolUseId": result.id, "status": status});
        match &result.output {
            CallOutput::Text(text) => kept["content"] = json!([{"text": or_nothing(&untrusted::visible(text))}]),
            CallOutput::Blob(digest) => {
                let call = self.open_calls().find(|call| call["toolUseId"] == *result.id);
                let source = call.map(|call| label(call["name"].as_str().unwrap_or_default(), &call["input"]));
                kept["blob"] = json!(digest);
                kept["source"] = json!(source.unwrap_or_default());
                if let Some(first) = first {
                    kept["first"] = json!(first);
                }
            }
        }
        json!({"toolResult": kept})
    }

    /// Calls that the last reply made.
    fn open_calls(&self) -> impl Iterator<Item = &Value> {
        let last = self.messages.last().filter(|message| message["role"] == "assistant");
        let blocks = last.and_then(|message| message["content"].as_array()).into_iter().flatten();
        blocks.filter_map(|block| block.get("toolUse"))
    }

    /// Every call id so far: Bedrock wants them unique in the whole conversation.
    pub(super) fn call_ids(&self) -> impl Iterator<Item = &str> {
        let blocks = self.messages.iter().filter_map(|message| message["content"].as_array()).flatten();
        blocks.filter_map(|block| block.pointer("/toolUse/toolUseId")?.as_str())
    }

    /// Adds what was said and what came back; returns the new head. An empty reply adds no message, for an empty message
    /// cannot be sent again.
    pub(super) async fn extend(&self, blobs: &Blobs, told: &Told, reply: Vec<Value>) -> Result<Digest, ServiceError> {
        let mut messages = vec![told.kept.clone()];
        if !reply.is_empty() {
            messages.push(json!({"role": "assistant", "content": reply}));
        }
        let system = self.head.is_none().then(|| self.system.clone());
        let node = json!(Node { previous: self.head.clone(), before: None, system, messages });
        blobs.put(request::canonical(&node)).await
    }

    /// Begins the conversation anew, with its task and the notes that the model made of all the rest.
    pub(super) async fn begin_anew(&self, blobs: &Blobs, notes: &HandOver) -> Result<Digest, ServiceError> {
        let task = self.messages.first().and_then(|first| first.pointer("/content/0")).cloned().unwrap_or_default();
        let notes = json!({"text": hand_over::as_text(notes)});
        // What people said is not left to the model's notes.
        let content: Vec<Value> = [task].into_iter().chain(self.said.iter().cloned()).chain([notes]).collect();
        let messages = vec![json!({"role": "user", "content": content})];
        let node = Node { previous: None, before: self.head.clone(), system: Some(self.system.clone()), messages };
        blobs.put(request::canonical(&json!(node))).await
    }
}

/// A call's input as it is kept in the transcript: short ones as they are, others by the blob that the tool reads.
pub(super) fn kept_input(input: &Value, blob: &Digest) -> (&'static str, Value) {
    if input.is_object() && input.to_string().len() <= SHORT_INPUT {
        ("input", input.clone())
    } else {
        ("inputBlob", json!(blob))
    }
}

/// Only an object is taken back by Bedrock as the input of a call.
pub(super) fn echoed(input: Value) -> Value {
    if input.is_object() { input } else { json!({"not_an_object": input}) }
}

/// Puts the text of blobs in the place of references to them, and leaves out what is for us alone.
async fn fill_in(blobs: &Blobs, block: &mut Value) -> Result<(), ServiceError> {
    if let Some(block) = block.as_object_mut() {
        block.remove("said");
    }
    if let Some(call) = block.get_mut("toolUse").and_then(Value::as_object_mut)
        && let Some(digest) = call.remove("inputBlob")
    {
        let bytes = blobs.get(&digest_of(digest)?).await?;
        let input = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
        call.insert("input".to_owned(), echoed(input));
    }
    if let Some(result) = block.get_mut("toolResult").and_then(Value::as_object_mut)
        && let Some(digest) = result.remove("blob")
    {
        let bytes = blobs.get(&digest_of(digest)?).await?;
        let source = result.remove("source").unwrap_or_default();
        let first = result.remove("first").and_then(|first| usize::try_from(first.as_u64()?).ok());
        let text = untrusted::fence_first(
            &or_nothing(&cut(&bytes, first.unwrap_or(bytes.len()))),
            source.as_str().unwrap_or_default(),
            usize::MAX,
        );
        result.insert("content".to_owned(), json!([{"text": text}]));
    }
    Ok(())
}

fn digest_of(value: Value) -> Result<Digest, ServiceError> {
    serde_json::from_value(value)
        .map_err(|error| invalid("a transcript refers to a blob by what is no digest").caused_by(error))
}

/// The first bytes of an output as text, with a note where it was cut.
fn cut(bytes: &[u8], first: usize) -> String {
    let (kept, rest) = bytes.split_at(first.min(bytes.len()));
    let text = String::from_utf8_lossy(kept);
    if rest.is_empty() {
        return text.into_owned();
    }
    // The cut may go through a character.
    let text = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
    format!("{text}\n[truncated: {} more bytes; ask for a smaller part]", rest.len())
}

/// The longest that none of `sizes` has to be cut below so that all together fit into `room`.
fn share_of(room: usize, sizes: &[usize]) -> usize {
    let mut sorted = sizes.to_vec();
    sorted.sort_unstable();
    let mut left = room;
    for (n, &size) in sorted.iter().enumerate() {
        let share = left / (sorted.len() - n);
        if size > share {
            return share;
        }
        left -= size;
    }
    usize::MAX
}

/// Told about a call that was not run: a second `submit_answer`, or one that was cut off.
pub(super) const NOT_RUN: &str = "This call was not run. Call it again if you need it.";

/// A remark in words for the model. What a person says is theirs to say, but invisible characters are nobody's.
fn spoken(remark: &Remark) -> String {
    match &remark.by {
        Some(by) => {
            let by: String = untrusted::visible(by).replace('\n', " ").chars().take(100).collect();
            format!(
                "{by}, who directs this work, says:\n{}\nMind it from now on.",
                untrusted::quoted(remark.text.clone())
            )
        }
        None => or_nothing(&untrusted::visible(&remark.text)),
    }
}

/// Blank text is refused by Bedrock.
fn or_nothing(text: &str) -> String {
    if text.trim().is_empty() { "(nothing)".to_owned() } else { text.to_owned() }
}

fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::new(FailureKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_that_fit_are_not_cut_and_the_longest_give_way_first() {
        assert_eq!(share_of(100, &[]), usize::MAX);
        assert_eq!(share_of(100, &[50, 50]), usize::MAX);
        assert_eq!(share_of(100, &[10, 200]), 90);
        assert_eq!(share_of(100, &[200, 200]), 50);
        assert_eq!(share_of(100, &[0, 90, 90, 10]), 45);
    }

    #[test]
    fn a_cut_never_ends_in_half_a_character() {
        assert_eq!(cut("aüb".as_bytes(), 4), "aüb");
        assert_eq!(cut("aüb".as_bytes(), 2), "a\n[truncated: 2 more bytes; ask for a smaller part]");
        assert_eq!(cut(b"a\xff\xfeb", 4), "a\u{FFFD}\u{FFFD}b");
    }
}
