//! Checks a Converse request against the service model: required members, enums, patterns, order of roles, tools.
//!
//! Source: the `Converse` operation of the Bedrock Runtime API reference and its published service model. The
//! messages follow the service's own where they are known.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

const MEMBERS: &[&str] = &[
    "additionalModelRequestFields",
    "additionalModelResponseFieldPaths",
    "guardrailConfig",
    "inferenceConfig",
    "messages",
    "outputConfig",
    "performanceConfig",
    "promptVariables",
    "requestMetadata",
    "serviceTier",
    "system",
    "toolConfig",
];

/// At most this many cache points in one request.
const MAX_CACHE_POINTS: usize = 4;

type Checked<T = ()> = Result<T, String>;

/// Checks the whole body. The error is the text of a `ValidationException`.
pub(super) fn check(body: &Value) -> Checked {
    let body = body.as_object().ok_or("The request body must be a JSON object.")?;
    known_members(body, MEMBERS, "request")?;
    let messages = list(body.get("messages"), "messages")?;
    if messages.is_empty() {
        return Err("A conversation must start with a user message. Try again with a conversation that starts with a \
                    user message."
            .into());
    }
    if let Some(system) = body.get("system") {
        for block in list(Some(system), "system")? {
            let (kind, value) = union(block, &["text", "guardContent", "cachePoint"], "system")?;
            check_plain_block(kind, value, "system")?;
        }
    }
    let tools = match body.get("toolConfig") {
        Some(config) => Some(check_tools(config)?),
        None => None,
    };
    check_messages(messages, tools.is_some())?;
    if let Some(config) = body.get("inferenceConfig") {
        check_inference(config)?;
    }
    if let Some(metadata) = body.get("requestMetadata") {
        check_metadata(metadata)?;
    }
    if let Some(guardrail) = body.get("guardrailConfig") {
        check_guardrail(guardrail)?;
    }
    let points = count_cache_points(&Value::Object(body.clone()));
    if points > MAX_CACHE_POINTS {
        return Err(format!("You can specify a maximum of {MAX_CACHE_POINTS} cache points, but {points} were found."));
    }
    Ok(())
}

/// Names of the tools offered by a request.
pub(super) fn offered_tools(body: &Value) -> BTreeSet<&str> {
    let tools = body.pointer("/toolConfig/tools").and_then(Value::as_array);
    tools.into_iter().flatten().filter_map(|tool| tool.pointer("/toolSpec/name")?.as_str()).collect()
}

fn check_messages(messages: &[Value], has_tools: bool) -> Checked {
    let mut used = BTreeSet::new();
    let mut open: BTreeSet<String> = BTreeSet::new();
    for (at, message) in messages.iter().enumerate() {
        let place = format!("messages.{at}");
        let message = message.as_object().ok_or(format!("{place} must be an object."))?;
        known_members(message, &["role", "content"], &place)?;
        let role = text(message.get("role"), &format!("{place}.role"))?;
        let expected = if at % 2 == 0 { "user" } else { "assistant" };
        match role {
            "user" | "assistant" if role == expected => {}
            "user" | "assistant" if at == 0 => {
                return Err("A conversation must start with a user message.".into());
            }
            "user" | "assistant" => {
                return Err(format!("{place}: roles must alternate between \"user\" and \"assistant\"."));
            }
            _ => return Err(format!("{place}.role must satisfy enum value set: [user, assistant].")),
        }
        let content = list(message.get("content"), &format!("{place}.content"))?;
        if content.is_empty() {
            return Err(format!("The content field in the Message object at {place} is empty."));
        }
        let mut asked = BTreeSet::new();
        let mut answered = BTreeSet::new();
        for (index, block) in content.iter().enumerate() {
            let place = format!("{place}.content.{index}");
            match union(block, CONTENT, &place)? {
                ("toolUse", value) => {
                    if role != "assistant" {
                        return Err(format!("{place}: toolUse is allowed in assistant messages only."));
                    }
                    let id = check_tool_use(value, &place)?;
                    if !used.insert(id.clone()) {
                        return Err(format!("{place}: toolUse ids must be unique, found {id} again."));
                    }
                    asked.insert(id);
                }
                ("toolResult", value) => {
                    if role != "user" {
                        return Err(format!("{place}: toolResult is allowed in user messages only."));
                    }
                    let id = check_tool_result(value, &place)?;
                    if !answered.insert(id.clone()) {
                        return Err(format!("{place}: each toolUse must have a single result, found {id} twice."));
                    }
                }
                (kind, value) => check_plain_block(kind, value, &place)?,
            }
        }
        if role == "user" {
            if let Some(missing) = open.difference(&answered).next() {
                return Err(format!("Expected toolResult blocks at {place}.content for the following Ids: {missing}"));
            }
            if let Some(stray) = answered.difference(&open).next() {
                return Err(format!(
                    "The number of toolResult blocks at {place}.content exceeds the number of toolUse blocks of \
                     previous turn: {stray} was not asked."
                ));
            }
        }
        let about_tools = !(asked.is_empty() && answered.is_empty());
        if about_tools && !has_tools {
            return Err("The toolConfig field must be defined when using toolUse and toolResult content blocks.".into());
        }
        open = asked;
    }
    if messages.len().is_multiple_of(2) {
        return Err("The conversation must end with a user message.".into());
    }
    Ok(())
}

const CONTENT: &[&str] = &[
    "text",
    "image",
    "document",
    "video",
    "audio",
    "toolUse",
    "toolResult",
    "guardContent",
    "cachePoint",
    "reasoningContent",
    "citationsContent",
    "searchResult",
];

fn check_plain_block(kind: &str, value: &Value, place: &str) -> Checked {
    match kind {
        "text" if text(Some(value), place)?.trim().is_empty() => {
            Err(format!("The text field in the ContentBlock object at {place} is blank. Add text and try again."))
        }
        "cachePoint" => {
            let point = value.as_object().ok_or(format!("{place}.cachePoint must be an object."))?;
            known_members(point, &["type", "ttl"], place)?;
            one_of(point.get("type"), &["default"], &format!("{place}.cachePoint.type"))?;
            match point.get("ttl") {
                Some(ttl) => one_of(Some(ttl), &["5m", "1h"], &format!("{place}.cachePoint.ttl")),
                None => Ok(()),
            }
        }
        "reasoningContent" => union(value, &["reasoningText", "redactedContent"], place).map(drop),
        _ => Ok(()),
    }
}

fn check_tool_use(value: &Value, place: &str) -> Checked<String> {
    let tool = value.as_object().ok_or(format!("{place}.toolUse must be an object."))?;
    known_members(tool, &["toolUseId", "name", "input", "type"], place)?;
    name_like(tool.get("name"), &format!("{place}.toolUse.name"), "")?;
    if !tool.get("input").is_some_and(Value::is_object) {
        return Err(format!("The format of the value at {place}.toolUse.input is invalid. Provide a json object."));
    }
    name_like(tool.get("toolUseId"), &format!("{place}.toolUse.toolUseId"), ".:").map(str::to_owned)
}

fn check_tool_result(value: &Value, place: &str) -> Checked<String> {
    let result = value.as_object().ok_or(format!("{place}.toolResult must be an object."))?;
    known_members(result, &["toolUseId", "content", "status", "type"], place)?;
    for block in list(result.get("content"), &format!("{place}.toolResult.content"))? {
        let (kind, value) = union(block, &["text", "json", "image", "document", "video", "searchResult"], place)?;
        if kind == "json" && !value.is_object() {
            return Err(format!("{place}.toolResult.content.json must be a json object."));
        }
        if kind == "text" {
            text(Some(value), place)?;
        }
    }
    if let Some(status) = result.get("status") {
        one_of(Some(status), &["success", "error"], &format!("{place}.toolResult.status"))?;
    }
    name_like(result.get("toolUseId"), &format!("{place}.toolResult.toolUseId"), ".:").map(str::to_owned)
}

fn check_tools(config: &Value) -> Checked {
    let config = config.as_object().ok_or("toolConfig must be an object.")?;
    known_members(config, &["tools", "toolChoice"], "toolConfig")?;
    let tools = list(config.get("tools"), "toolConfig.tools")?;
    if tools.is_empty() {
        return Err("toolConfig.tools must have length greater than or equal to 1.".into());
    }
    let mut names = BTreeSet::new();
    for (at, tool) in tools.iter().enumerate() {
        let place = format!("toolConfig.tools.{at}");
        let (kind, value) = union(tool, &["toolSpec", "systemTool", "cachePoint"], &place)?;
        if kind != "toolSpec" {
            check_plain_block(kind, value, &place)?;
            continue;
        }
        let spec = value.as_object().ok_or(format!("{place}.toolSpec must be an object."))?;
        known_members(spec, &["name", "description", "inputSchema", "strict"], &place)?;
        let name = name_like(spec.get("name"), &format!("{place}.toolSpec.name"), "")?;
        if !names.insert(name) {
            return Err(format!("The tool {name} is already defined at {place}."));
        }
        if spec.get("description").is_some_and(|d| d.as_str().is_none_or(str::is_empty)) {
            return Err(format!("{place}.toolSpec.description must have length greater than or equal to 1."));
        }
        let schema = spec.get("inputSchema").and_then(|schema| schema.get("json"));
        if schema.and_then(|schema| schema.get("type")).and_then(Value::as_str) != Some("object") {
            return Err(format!(
                "The value at {place}.toolSpec.inputSchema.json.type must be one of the following: object."
            ));
        }
    }
    match config.get("toolChoice").map(|choice| union(choice, &["auto", "any", "tool"], "toolConfig.toolChoice")) {
        None => Ok(()),
        Some(Err(error)) => Err(error),
        Some(Ok(("tool", choice))) => {
            let name = name_like(choice.get("name"), "toolConfig.toolChoice.tool.name", "")?;
            if names.contains(name) {
                return Ok(());
            }
            Err(format!("The tool {name} in toolConfig.toolChoice is not among toolConfig.tools."))
        }
        Some(Ok(_)) => Ok(()),
    }
}

fn check_inference(config: &Value) -> Checked {
    let config = config.as_object().ok_or("inferenceConfig must be an object.")?;
    known_members(config, &["maxTokens", "temperature", "topP", "stopSequences"], "inferenceConfig")?;
    if config.get("maxTokens").is_some_and(|n| n.as_u64().is_none_or(|n| n < 1)) {
        return Err("inferenceConfig.maxTokens must be greater than or equal to 1.".into());
    }
    for member in ["temperature", "topP"] {
        if config.get(member).is_some_and(|n| n.as_f64().is_none_or(|n| !(0.0..=1.0).contains(&n))) {
            return Err(format!("inferenceConfig.{member} must be between 0 and 1."));
        }
    }
    Ok(())
}

/// `GuardrailStreamConfiguration`: identifier (id or ARN) and version (number or `DRAFT`), and two options.
fn check_guardrail(config: &Value) -> Checked {
    let config = config.as_object().ok_or("guardrailConfig must be an object.")?;
    known_members(
        config,
        &["guardrailIdentifier", "guardrailVersion", "streamProcessingMode", "trace"],
        "guardrailConfig",
    )?;
    let identifier = text(config.get("guardrailIdentifier"), "guardrailConfig.guardrailIdentifier")?;
    let is_id = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_arn = identifier.strip_prefix("arn:aws").and_then(|rest| rest.rsplit_once(":guardrail/"));
    if identifier.len() > 2048 || !(is_id(identifier) || is_arn.is_some_and(|(_, id)| is_id(id))) {
        return Err("guardrailConfig.guardrailIdentifier must be the id or the ARN of a guardrail.".into());
    }
    let version = text(config.get("guardrailVersion"), "guardrailConfig.guardrailVersion")?;
    let is_number =
        (1..=8).contains(&version.len()) && !version.starts_with('0') && version.bytes().all(|b| b.is_ascii_digit());
    if !is_number && version != "DRAFT" {
        return Err("guardrailConfig.guardrailVersion must be a number or DRAFT.".into());
    }
    if let Some(trace) = config.get("trace") {
        one_of(Some(trace), &["enabled", "disabled", "enabled_full"], "guardrailConfig.trace")?;
    }
    match config.get("streamProcessingMode") {
        Some(mode) => one_of(Some(mode), &["sync", "async"], "guardrailConfig.streamProcessingMode"),
        None => Ok(()),
    }
}

fn check_metadata(metadata: &Value) -> Checked {
    let metadata = metadata.as_object().ok_or("requestMetadata must be an object.")?;
    if metadata.is_empty() || metadata.len() > 16 {
        return Err("requestMetadata must have between 1 and 16 entries.".into());
    }
    for (key, value) in metadata {
        let value = text(Some(value), &format!("requestMetadata.{key}"))?;
        let allowed = |s: &str| {
            s.len() <= 256
                && s.chars().all(|c| c.is_ascii_alphanumeric() || c.is_whitespace() || ":_@$#=/+,-.".contains(c))
        };
        if key.is_empty() || !allowed(key) || !allowed(value) {
            return Err(format!(
                "requestMetadata.{key} must satisfy regular expression pattern: [a-zA-Z0-9\\s:_@$#=/+,-.]{{0,256}}"
            ));
        }
    }
    Ok(())
}

fn count_cache_points(value: &Value) -> usize {
    match value {
        // Tool inputs and schemas are free JSON; a member of that name there is no cache point.
        Value::Object(map) => map
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "input" | "json"))
            .map(|(key, value)| usize::from(key == "cachePoint") + count_cache_points(value))
            .sum(),
        Value::Array(items) => items.iter().map(count_cache_points).sum(),
        _ => 0,
    }
}

fn known_members(map: &Map<String, Value>, known: &[&str], place: &str) -> Checked {
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("{place}: extraneous key [{key}] is not permitted.")),
        None => Ok(()),
    }
}

fn list<'a>(value: Option<&'a Value>, place: &str) -> Checked<&'a [Value]> {
    value.and_then(Value::as_array).map(Vec::as_slice).ok_or_else(|| format!("{place} must be a list."))
}

fn text<'a>(value: Option<&'a Value>, place: &str) -> Checked<&'a str> {
    value.and_then(Value::as_str).ok_or_else(|| format!("{place} must be a string."))
}

fn one_of(value: Option<&Value>, allowed: &[&str], place: &str) -> Checked {
    let value = text(value, place)?;
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(format!("{place} must satisfy enum value set: [{}].", allowed.join(", ")))
}

/// A tagged union: exactly one known member.
fn union<'a>(value: &'a Value, kinds: &[&str], place: &str) -> Checked<(&'a str, &'a Value)> {
    let map = value.as_object().ok_or_else(|| format!("{place} must be an object."))?;
    match (map.len(), map.iter().next()) {
        (1, Some((kind, value))) if kinds.contains(&kind.as_str()) => Ok((kind, value)),
        _ => Err(format!("{place} must set exactly one of the following members: {}.", kinds.join(", "))),
    }
}

/// 1 to 64 of letters, digits, `_`, `-` and `more`.
fn name_like<'a>(value: Option<&'a Value>, place: &str, more: &str) -> Checked<&'a str> {
    let name = text(value, place)?;
    let ok = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || more.contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(ok) {
        return Ok(name);
    }
    Err(format!("{place} must satisfy regular expression pattern: [a-zA-Z0-9_{more}-]{{1,64}}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({
            "system": [{"text": "You plan."}, {"cachePoint": {"type": "default"}}],
            "messages": [
                {"role": "user", "content": [{"text": "SHOP-1"}]},
                {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t.1:a", "name": "read_file", "input": {}}}]},
                {"role": "user", "content": [
                    {"toolResult": {"toolUseId": "t.1:a", "content": [{"text": "x"}], "status": "success"}},
                    {"cachePoint": {"type": "default"}}
                ]},
            ],
            "toolConfig": {
                "tools": [{"toolSpec": {"name": "read_file", "inputSchema": {"json": {"type": "object"}}}}],
                "toolChoice": {"tool": {"name": "read_file"}},
            },
            "inferenceConfig": {"maxTokens": 100, "temperature": 0.0},
            "requestMetadata": {"agent": "planning", "run": "ticket-SHOP-1/planning/acme.shop-api/1"},
        })
    }

    #[test]
    fn a_complete_request_passes() {
        assert_eq!(check(&good()), Ok(()));
        assert_eq!(offered_tools(&good()), BTreeSet::from(["read_file"]));
    }

    #[test]
    fn each_broken_rule_is_named() {
        let cases: [(&str, Value, &str); 16] = [
            ("/messages", json!([]), "start with a user message"),
            ("/messages/0/role", json!("assistant"), "start with a user message"),
            ("/messages/1/role", json!("user"), "alternate"),
            ("/messages/1/role", json!("system"), "enum value set"),
            ("/messages/0/content", json!([]), "is empty"),
            ("/messages/0/content/0/text", json!("  "), "blank"),
            ("/messages/1/content/0/toolUse/toolUseId", json!("has space"), "regular expression"),
            ("/messages/1/content/0/toolUse/input", json!("{}"), "json object"),
            ("/messages/2/content/0/toolResult/toolUseId", json!("other"), "for the following Ids: t.1:a"),
            ("/messages/2/content/0/toolResult/status", json!("failed"), "enum value set"),
            ("/toolConfig/tools/0/toolSpec/name", json!("read.file"), "regular expression"),
            ("/toolConfig/tools/0/toolSpec/inputSchema/json", json!({}), "json.type"),
            ("/toolConfig/toolChoice/tool/name", json!("write_file"), "not among"),
            ("/toolConfig/tools", json!([]), "length greater"),
            ("/inferenceConfig/maxTokens", json!(0), "greater than or equal to 1"),
            ("/requestMetadata", json!({"run": "a{b}"}), "requestMetadata.run"),
        ];
        for (path, value, expected) in cases {
            let mut body = good();
            *body.pointer_mut(path).expect("path of the good request") = value;
            let error = check(&body).expect_err(path);
            assert!(error.contains(expected), "{path}: {error}");
        }
    }

    #[test]
    fn a_guardrail_needs_its_id_and_version() {
        let with = |guardrail: Value| {
            let mut body = good();
            body["guardrailConfig"] = guardrail;
            check(&body)
        };
        let arn = "arn:aws:bedrock:us-east-1:123456789012:guardrail/ab12cd34ef56";
        for identifier in ["ab12cd34ef56", arn] {
            assert_eq!(with(json!({"guardrailIdentifier": identifier, "guardrailVersion": "DRAFT"})), Ok(()));
        }
        assert_eq!(
            with(json!({"guardrailIdentifier": "ab12", "guardrailVersion": "3", "trace": "enabled",
                        "streamProcessingMode": "async"})),
            Ok(())
        );
        for (guardrail, fault) in [
            (json!({"guardrailVersion": "1"}), "guardrailIdentifier must be a string"),
            (json!({"guardrailIdentifier": "ab12"}), "guardrailVersion must be a string"),
            (json!({"guardrailIdentifier": "My guard", "guardrailVersion": "1"}), "id or the ARN"),
            (json!({"guardrailIdentifier": "ab12", "guardrailVersion": "0"}), "a number or DRAFT"),
            (json!({"guardrailIdentifier": "ab12", "guardrailVersion": "1", "trace": "on"}), "enum value set"),
            (json!({"guardrailIdentifier": "ab12", "guardrailVersion": "1", "mode": "sync"}), "extraneous key"),
        ] {
            let said = with(guardrail).expect_err(fault);
            assert!(said.contains(fault), "{said}");
        }
    }

    #[test]
    fn tools_are_required_when_tool_blocks_are_sent_and_unknown_members_are_refused() {
        let mut body = good();
        body.as_object_mut().expect("object").remove("toolConfig");
        assert!(check(&body).expect_err("no tools").contains("toolConfig field must be defined"));
        let mut body = good();
        body["max_tokens"] = json!(1);
        assert!(check(&body).expect_err("extra").contains("extraneous key [max_tokens]"));
        let mut body = good();
        body["messages"].as_array_mut().expect("list").pop();
        assert!(check(&body).expect_err("ends with assistant").contains("end with a user message"));
        let mut body = good();
        body["system"] = json!(vec![json!({"cachePoint": {"type": "default"}}); 4]);
        assert!(check(&body).expect_err("cache points").contains("maximum of 4"));
    }
}
