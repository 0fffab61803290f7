//! A conversation as people read it.

use serde_json::Value;
use workflows::agents::untrusted::visible;
use workflows::contract::ids::Digest;

use super::transcript::Transcript;
use crate::blobs::Blobs;
use crate::failure::ServiceError;

/// The conversation that ends in `head` as Markdown, and those before it that were handed over, oldest first. What a terminal
/// would obey is left out.
///
/// # Errors
/// A blob of it is missing or altered; the message names it.
pub async fn conversation(blobs: &Blobs, head: &Digest) -> Result<String, ServiceError> {
    let mut parts = Vec::new();
    let mut next = Some(head.clone());
    while let Some(head) = next {
        let transcript = Transcript::load_past(blobs, &head).await?;
        parts.push(shown(&transcript));
        next = transcript.before;
    }
    parts.reverse();
    Ok(parts.join("\n\n# The conversation was handed over and goes on\n"))
}

fn shown(transcript: &Transcript) -> String {
    let mut text = format!("## System\n\n{}\n", transcript.system);
    for message in transcript.messages() {
        let who = if message["role"] == "assistant" { "Model" } else { "Harness" };
        text += &format!("\n## {who}\n");
        for block in message["content"].as_array().into_iter().flatten() {
            text += &format!("\n{}\n", block_of(block));
        }
    }
    visible(&text)
}

fn block_of(block: &Value) -> String {
    let text = |at: &str| block.pointer(at).and_then(Value::as_str).unwrap_or_default();
    if block.get("toolUse").is_some() {
        let input = block.pointer("/toolUse/input").map(|input| format!("{input:#}")).unwrap_or_default();
        return format!("Calls `{}` ({}):\n```json\n{input}\n```", text("/toolUse/name"), text("/toolUse/toolUseId"));
    }
    if block.get("toolResult").is_some() {
        let outcome = if text("/toolResult/status") == "error" { "Error of" } else { "Result of" };
        let output = text("/toolResult/content/0/text");
        return format!("{outcome} {}:\n{output}", text("/toolResult/toolUseId"));
    }
    if block.get("reasoningContent").is_some() {
        return format!("Thinks: {}", text("/reasoningContent/reasoningText/text"));
    }
    text("/text").to_owned()
}
