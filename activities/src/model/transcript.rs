//! A conversation as a chain of blobs: each node holds what one turn added, and the digest of the node before it.
//!
//! Messages are kept in the shape in which Converse takes and gives them, so that a later turn sends the same bytes again.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use workflows::agents::AgentSpec;
use workflows::contract::failure::FailureKind;
use workflows::contract::ids::Digest;
use workflows::contract::model::{CallOutput, CallResult, News};

use super::request;
use crate::blobs::Blobs;
use crate::failure::ServiceError;

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Node {
    previous: Option<Digest>,
    /// The system prompt the conversation began with; in the first node only. A new version of the prompt does not change a
    /// conversation under way, nor its cached prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    messages: Vec<Value>,
}

/// A conversation up to the last reply.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Transcript {
    head: Option<Digest>,
    /// System prompt.
    pub system: String,
    messages: Vec<Value>,
}

impl Transcript {
    /// Loads the conversation that ends in `head`, or begins one for `spec`.
    pub(super) async fn load(blobs: &Blobs, spec: &AgentSpec, head: Option<&Digest>) -> Result<Self, ServiceError> {
        let mut nodes = Vec::new();
        let mut next = head.cloned();
        while let Some(digest) = next.take() {
            let bytes = blobs.get(&digest).await?;
            let node: Node = serde_json::from_slice(&bytes).map_err(|error| {
                invalid(format!("blob {digest} is no part of a transcript: was the workflow started by hand?"))
                    .caused_by(error)
            })?;
            next.clone_from(&node.previous);
            nodes.push(node);
        }
        let system = nodes.last().and_then(|first| first.system.clone()).unwrap_or_else(|| spec.prompt.to_owned());
        let messages = nodes.into_iter().rev().flat_map(|node| node.messages).collect();
        Ok(Self { head: head.cloned(), system, messages })
    }

    /// All messages with `news` at the end, roles alternating: after a reply without content two user messages become one.
    pub(super) fn with(&self, news: &Value) -> Vec<Value> {
        let mut merged: Vec<Value> = Vec::with_capacity(self.messages.len() + 1);
        for message in self.messages.iter().chain([news]) {
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

    /// The user message that tells the model `news`. Every call of the last reply gets a result, as Bedrock demands: one
    /// that `news` does not answer is told so.
    pub(super) async fn message(&self, blobs: &Blobs, spec: &AgentSpec, news: &News) -> Result<Value, ServiceError> {
        let begun = self.head.is_some();
        let mut content = Vec::new();
        match news {
            News::Brief(brief) if !begun => {
                let text = spec.render_brief(brief).map_err(|error| invalid(error.to_string()).caused_by(error))?;
                content.push(json!({"text": text}));
            }
            News::Results(results) if begun => {
                for result in results {
                    content.push(tool_result(result, text_of(blobs, &result.output).await?));
                }
            }
            News::Remark(text) if begun => content.push(json!({"text": or_nothing(text)})),
            News::Brief(_) => return Err(invalid("a conversation under way cannot be briefed again")),
            News::Results(_) | News::Remark(_) => return Err(invalid("a conversation begins with a brief")),
        }
        let answered: Vec<Value> = content.iter().map(|block| block["toolResult"]["toolUseId"].clone()).collect();
        let mut all: Vec<Value> = self
            .open_calls()
            .filter(|id| !answered.contains(id))
            .map(|id| json!({"toolResult": {"toolUseId": id, "status": "error", "content": [{"text": NOT_RUN}]}}))
            .collect();
        all.append(&mut content);
        // Results come before any text: Bedrock refuses a reply to calls that begins with something else.
        all.sort_by_key(|block| block.get("toolResult").is_none());
        Ok(json!({"role": "user", "content": all}))
    }

    /// Ids of the calls that the last reply made.
    fn open_calls(&self) -> impl Iterator<Item = Value> {
        let last = self.messages.last().filter(|message| message["role"] == "assistant");
        let blocks = last.and_then(|message| message["content"].as_array()).into_iter().flatten();
        blocks.filter_map(|block| block.pointer("/toolUse/toolUseId").cloned())
    }

    /// Every call id so far: Bedrock wants them unique in the whole conversation.
    pub(super) fn call_ids(&self) -> impl Iterator<Item = &str> {
        let blocks = self.messages.iter().filter_map(|message| message["content"].as_array()).flatten();
        blocks.filter_map(|block| block.pointer("/toolUse/toolUseId")?.as_str())
    }

    /// Adds what was said and what came back; returns the new head. An empty reply adds no message, for an empty message
    /// cannot be sent again.
    pub(super) async fn extend(&self, blobs: &Blobs, news: Value, reply: Vec<Value>) -> Result<Digest, ServiceError> {
        let mut messages = vec![news];
        if !reply.is_empty() {
            messages.push(json!({"role": "assistant", "content": reply}));
        }
        let system = self.head.is_none().then(|| self.system.clone());
        let node = json!(Node { previous: self.head.clone(), system, messages });
        blobs.put(request::canonical(&node)).await
    }
}

/// Told about a call that nobody answered, a second `submit_answer` for one.
const NOT_RUN: &str = "This call was not run. Call it again if you need it.";

fn tool_result(result: &CallResult, text: String) -> Value {
    let status = if result.is_error { "error" } else { "success" };
    json!({"toolResult": {"toolUseId": result.id, "status": status, "content": [{"text": text}]}})
}

async fn text_of(blobs: &Blobs, output: &CallOutput) -> Result<String, ServiceError> {
    Ok(match output {
        CallOutput::Blob(digest) => or_nothing(&String::from_utf8_lossy(&blobs.get(digest).await?)),
        CallOutput::Text(text) => or_nothing(text),
    })
}

/// Blank text is refused by Bedrock.
fn or_nothing(text: &str) -> String {
    if text.trim().is_empty() { "(nothing)".to_owned() } else { text.to_owned() }
}

fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::new(FailureKind::Invalid, message)
}
