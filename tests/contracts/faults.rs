//! The checker is worth something only if it finds what is wrong: a good request, spoilt in one place at a time.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{Botocore, Request};

/// A request with everything in it that ours can have.
fn good() -> Request {
    let body = json!({
        "system": [{"text": "You plan."}, {"cachePoint": {"type": "default"}}],
        "messages": [
            {"role": "user", "content": [{"text": "SHOP-1"}]},
            {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}},
                {"reasoningContent": {"redactedContent": "AAEC"}},
                {"toolUse": {"toolUseId": "t.1:a", "name": "read_file", "input": {"path": "a"}}},
            ]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "t.1:a", "content": [{"text": "x"}], "status": "error"}},
                {"cachePoint": {"type": "default"}},
            ]},
        ],
        "toolConfig": {
            "tools": [
                {"toolSpec": {"name": "read_file", "description": "Reads.", "inputSchema": {"json": {"type": "object"}}}},
                {"cachePoint": {"type": "default"}},
            ],
            "toolChoice": {"any": {}},
        },
        "guardrailConfig": {"guardrailIdentifier": "gr1abc", "guardrailVersion": "3"},
        "inferenceConfig": {"maxTokens": 100},
        "requestMetadata": {"agent": "planning", "run": "ticket-SHOP-1/planning/acme.shop-api/1"},
    });
    let model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0".to_owned();
    Request { operation: "ConverseStream", model, body }
}

/// Spoils the good request at each place of a table, and compares what is said.
pub(crate) fn each_planted_fault_is_found(botocore: &Botocore) -> anyhow::Result<()> {
    let long = "x".repeat(65);
    // Place of an object, a member of it, what it becomes (null: it is left out), words of the fault.
    let table: [(&str, &str, Value, &str); 20] = [
        ("", "mesages", json!([]), "Unknown parameter in input: \"mesages\""),
        ("/inferenceConfig", "max_tokens", json!(1), "Unknown parameter in inferenceConfig: \"max_tokens\""),
        ("/inferenceConfig", "maxTokens", json!("100"), "Invalid type for parameter inferenceConfig.maxTokens"),
        ("/inferenceConfig", "maxTokens", json!(0), "valid min value: 1"),
        ("/inferenceConfig", "temperature", json!(1.5), "1.5 is more than 1"),
        ("/messages/0", "role", json!("human"), "'human' is none of user, assistant"),
        ("/messages/2/content/1/cachePoint", "type", json!("ephemeral"), "'ephemeral' is none of default"),
        ("/messages/2/content/0/toolResult", "status", json!("failed"), "'failed' is none of success, error"),
        ("/messages/2/content/0/toolResult", "toolUseId", Value::Null, "Missing required parameter"),
        ("/messages/1/content/2/toolUse", "toolUseId", json!(long), "65 characters are more than 64"),
        ("/messages/1/content/2/toolUse", "toolUseId", json!("has space"), "'has space' does not match"),
        ("/messages/1/content/2/toolUse", "name", json!("read.file"), "'read.file' does not match"),
        ("/messages/1/content/2", "text", json!("and a text"), "Invalid number of parameters set for tagged union"),
        ("/messages/1/content/1/reasoningContent", "redactedContent", json!("not base64"), "is no base64"),
        ("/toolConfig", "tools", json!([]), "Invalid length for parameter toolConfig.tools"),
        ("/toolConfig/tools/0/toolSpec", "inputSchema", json!({"type": "object"}), "Unknown parameter in toolConfig"),
        ("/toolConfig/toolChoice", "any", json!("yes"), "Invalid type for parameter toolConfig.toolChoice.any"),
        ("/guardrailConfig", "guardrailVersion", json!("latest"), "'latest' does not match"),
        ("/requestMetadata", "run", json!("a{b}"), "'a{b}' does not match"),
        ("", "modelId", json!("m"), "modelId: belongs into the uri"),
    ];
    let mut requests = vec![good()];
    for (place, member, value, _) in &table {
        let mut request = good();
        let object = request.body.pointer_mut(place).and_then(Value::as_object_mut).context(*place)?;
        match value {
            Value::Null => drop(object.remove(*member)),
            value => drop(object.insert((*member).to_owned(), value.clone())),
        }
        requests.push(request);
    }
    let mut metadata = good();
    metadata.body["requestMetadata"] = (0..17).map(|n| (format!("k{n}"), json!("v"))).collect();
    requests.push(metadata);
    let expected = table.iter().map(|(.., words)| *words).chain(["17 entries are more than 16"]);

    let faults = botocore.faults(&requests)?;
    let of = |line: usize| -> Vec<&str> {
        faults.iter().filter(|fault| fault.line == line).map(|fault| fault.fault.as_str()).collect()
    };
    anyhow::ensure!(of(1).is_empty(), "the good request does not fit: {:?}", of(1));
    for (n, words) in expected.enumerate() {
        let told = of(n + 2);
        anyhow::ensure!(told.iter().any(|fault| fault.contains(words)), "{words:?} is not found, but {told:?}");
    }
    Ok(())
}
