//! The body of a ConverseStream call, as bytes that depend on nothing but the conversation.
//!
//! A prompt is served from Bedrock's cache only when its beginning is the same, so keys are sorted, tools keep their order
//! and cache points are set by rule. The SDK's own serializer orders the keys of a JSON schema anew in every call (its
//! `Document` is a hash map); that is why the body is written here and the SDK signs it and reads the reply.

use serde_json::{Map, Value, json};
use workflows::agents::AgentSpec;
use workflows::contract::model::{HAND_OVER, SUBMIT_ANSWER, TakeTurn};
use workflows::contract::money::{MicroUsd, Price, Usage};

use super::hand_over;
use super::settings::Guardrail;

/// User messages that end in a cache point. Two: the last one stores this turn, the one before it finds what the turn before
/// stored, however many blocks lie between. With those after tools and system that is Bedrock's limit of four.
const ROLLING_POINTS: usize = 2;

/// Bytes of a request that count as one token in an estimate at worst. English and code have about four, digests and base64
/// about two.
const BYTES_PER_TOKEN: u64 = 2;
/// Tokens that the service adds of its own when there are tools. Source: Anthropic's documentation of tool use, up to 700.
const OF_THE_SERVICE: u64 = 1_000;

/// The whole body.
pub(super) fn body(
    spec: &AgentSpec,
    run: &str,
    turn: &TakeTurn,
    system: &str,
    messages: Vec<Value>,
    guardrail: Option<&Guardrail>,
) -> Vec<u8> {
    let mut body = json!({
        "inferenceConfig": {"maxTokens": turn.max_tokens.max(1)},
        "messages": with_cache_points(messages),
        "requestMetadata": {"agent": spec.name.as_str(), "run": metadata_value(run)},
        "system": [{"text": system}, cache_point()],
        "toolConfig": {"tools": tools(spec), "toolChoice": {"any": {}}},
    });
    if let Some(guardrail) = guardrail {
        body["guardrailConfig"] =
            json!({"guardrailIdentifier": guardrail.id, "guardrailVersion": guardrail.version, "trace": "enabled"});
    }
    canonical(&body)
}

/// What a call with this body costs at worst: everything is dear input, and the reply is as long as it may be.
pub(super) fn worst_case(body: &[u8], known: Known, max_tokens: u32, price: &Price) -> MicroUsd {
    dearest_input(body, known, price) + price.cost(&Usage { output: u64::from(max_tokens), ..Usage::default() })
}

/// What is known of a body's length in tokens.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// Of all but the newest message, as Bedrock counted; 0: not known.
    pub tokens: u64,
    /// Bytes of the newest message.
    pub new_bytes: usize,
}

/// What this body costs at worst before anything came back.
pub(super) fn dearest_input(body: &[u8], known: Known, price: &Price) -> MicroUsd {
    let dearest = price.input.max(price.cache_write).max(price.cache_read);
    let counted = match known.tokens {
        0 => tokens(body.len()) + OF_THE_SERVICE,
        measured => measured + tokens(known.new_bytes) + OF_THE_SERVICE,
    };
    let usage = Usage { input: counted, ..Usage::default() };
    Price { input: dearest, ..*price }.cost(&usage)
}

/// What so many bytes of a reply cost at worst.
pub(super) fn dearest_output(bytes: usize, price: &Price) -> MicroUsd {
    price.cost(&Usage { output: tokens(bytes), ..Usage::default() })
}

fn tokens(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).div_ceil(BYTES_PER_TOKEN)
}

/// The agent's tools in its own order, then the forced one through which it answers, then the one for long conversations.
fn tools(spec: &AgentSpec) -> Vec<Value> {
    let tool = |name: &str, description: &str, schema: Value| json!({"toolSpec": {"name": name, "description": description, "inputSchema": {"json": schema}}});
    let own = spec.tools.iter().map(|t| tool(t.name, t.description, (t.input)()));
    let submit =
        tool(SUBMIT_ANSWER, "Finish: submit your answer. Call it alone, once, when the work is done.", (spec.answer)());
    let hand_over = tool(HAND_OVER, hand_over::DESCRIPTION, hand_over::schema());
    own.chain([submit, hand_over, cache_point()]).collect()
}

fn with_cache_points(mut messages: Vec<Value>) -> Vec<Value> {
    let users = messages.iter_mut().rev().filter(|message| message["role"] == "user");
    for message in users.take(ROLLING_POINTS) {
        if let Some(content) = message["content"].as_array_mut() {
            content.push(cache_point());
        }
    }
    messages
}

fn cache_point() -> Value {
    json!({"cachePoint": {"type": "default"}})
}

/// `text` within the pattern of a metadata value, `[a-zA-Z0-9\s:_@$#=/+,-.]{0,256}` (API reference of Converse).
fn metadata_value(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":_@$#=/+,-. ".contains(c);
    text.chars().map(|c| if allowed(c) { c } else { '-' }).take(256).collect()
}

/// `value` as compact JSON with sorted keys. Sorted here and not by `serde_json`, whose order is a build feature.
pub(super) fn canonical(value: &Value) -> Vec<u8> {
    sorted(value).to_string().into_bytes()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            let pairs = keys.into_iter().filter_map(|key| Some((key.clone(), sorted(map.get(key)?))));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_fits_bedrocks_pattern() {
        assert_eq!(metadata_value("ticket-SHOP-1/execution/acme.shop/1"), "ticket-SHOP-1/execution/acme.shop/1");
        assert_eq!(metadata_value("ticket \"Ü\"\u{1F600}\n"), "ticket -----");
        assert_eq!(metadata_value(&"x".repeat(300)).len(), 256);
    }

    #[test]
    fn the_last_two_user_messages_end_in_a_cache_point() {
        let user = json!({"role": "user", "content": [{"text": "a"}]});
        let assistant = json!({"role": "assistant", "content": [{"text": "b"}]});
        let pointed = json!({"role": "user", "content": [{"text": "a"}, cache_point()]});
        let messages = vec![user.clone(), assistant.clone(), user.clone(), assistant.clone(), user.clone()];
        assert_eq!(with_cache_points(messages), [user, assistant.clone(), pointed.clone(), assistant, pointed]);
    }

    #[test]
    fn the_worst_case_takes_the_dearest_input_and_the_whole_reply() {
        let price = Price {
            input: MicroUsd(3_000_000),
            output: MicroUsd(15_000_000),
            cache_read: MicroUsd(300_000),
            cache_write: MicroUsd(3_750_000),
        };
        let known = |tokens, new_bytes| Known { tokens, new_bytes };
        assert_eq!(worst_case(&[0; 2_000], known(0, 500), 100, &price), MicroUsd(7_500 + 1_500));
        // What was measured counts, whatever the bytes say.
        assert_eq!(worst_case(&[0; 9_000], known(5_000, 2_000), 0, &price), MicroUsd(7_000 * 3_750 / 1_000));
    }

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value: Value = serde_json::from_str(r#"{"b":[{"z":1,"a":2}],"a":{"d":1,"c":"ü"}}"#).unwrap();
        assert_eq!(String::from_utf8(canonical(&value)).unwrap(), r#"{"a":{"c":"ü","d":1},"b":[{"a":2,"z":1}]}"#);
    }
}
