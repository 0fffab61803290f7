//! Schemas of OpenAPI 3.0 as JSON Schema: what they say about requests and what about answers.
//!
//! Source: OpenAPI 3.0.3, "Schema Object" (<https://spec.openapis.org/oas/v3.0.3#schema-object>): `nullable`, `readOnly` and
//! `writeOnly` are its own; what stands beside a `$ref` is ignored; `exclusiveMinimum` is a flag.

use std::sync::OnceLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, ValidationError, Validator};
use serde_json::{Map, Value, json};

/// Which way a body goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// To the service: read-only members may not be sent, nor members that are not described.
    Request,
    /// From the service: write-only members do not come back; a service may add members.
    Answer,
}

/// The components of a description, translated for one direction.
#[derive(Debug)]
pub(super) struct Components {
    direction: Direction,
    schemas: Value,
}

/// A schema, compiled when it is first used.
#[derive(Debug)]
pub(super) struct Schema {
    json: Value,
    compiled: OnceLock<Validator>,
}

impl Components {
    pub(super) fn new(schemas: &Value, direction: Direction) -> Self {
        let schemas = map(schemas, |schema| translated(schema, direction, Place::Alone));
        Self { direction, schemas }
    }

    /// A schema of the description that may refer to these components.
    pub(super) fn schema(&self, described: &Value) -> Schema {
        let body = if described.is_object() { translated(described, self.direction, Place::Alone) } else { json!({}) };
        let mut json = json!({"allOf": [body]});
        if refers(&json) {
            json["$defs"] = self.schemas.clone();
        }
        Schema { json, compiled: OnceLock::new() }
    }
}

impl Schema {
    fn validator(&self) -> &Validator {
        self.compiled.get_or_init(|| {
            jsonschema::options().with_draft(Draft::Draft202012).build(&self.json).expect("a described schema compiles")
        })
    }

    /// `at /a/b: what the rule is`, of everything that breaks one.
    pub(super) fn faults(&self, value: &Value) -> Vec<String> {
        self.validator().iter_errors(value).map(|error| telling(&error, "")).collect()
    }

    pub(super) fn accepts(&self, value: &Value) -> bool {
        self.validator().is_valid(value)
    }

    /// The value as a whole has another type.
    pub(super) fn refuses_type(&self, value: &Value) -> bool {
        let mut errors = self.validator().iter_errors(value);
        errors.any(|error| matches!(error.kind(), ValidationErrorKind::Type { .. }) && path(&error).is_empty())
    }
}

/// Whether a schema is one of several that hold together; then none of them may close the object for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Alone,
    Together,
}

fn map(object: &Value, change: impl Fn(&Value) -> Value) -> Value {
    object.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), change(value))).collect()
}

fn refers(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.contains_key("$ref") || members.values().any(refers),
        Value::Array(items) => items.iter().any(refers),
        _ => false,
    }
}

/// Another keyword than these stops the test: it would go unchecked.
fn translated(schema: &Value, direction: Direction, place: Place) -> Value {
    let Value::Object(described) = schema else { return schema.clone() };
    if let Some(reference) = described.get("$ref") {
        let name = reference.as_str().and_then(|reference| reference.strip_prefix("#/components/schemas/"));
        return json!({"$ref": format!("#/$defs/{}", name.expect("a reference names a component"))});
    }
    let within = |value: &Value, place: Place| translated(value, direction, place);
    let mut out = Map::new();
    for (keyword, value) in described {
        let value = match keyword.as_str() {
            "properties" => {
                map(value, |member| if hidden(member, direction) { json!(false) } else { within(member, Place::Alone) })
            }
            "items" | "additionalProperties" | "not" => within(value, Place::Alone),
            "allOf" => {
                let parts = value.as_array().map_or(&[][..], Vec::as_slice);
                let place = if parts.len() > 1 { Place::Together } else { place };
                parts.iter().map(|part| within(part, place)).collect()
            }
            "anyOf" | "oneOf" => value.as_array().into_iter().flatten().map(|part| within(part, place)).collect(),
            "required" => {
                let is_hidden =
                    |name: &Value| hidden(&described["properties"][name.as_str().unwrap_or_default()], direction);
                value.as_array().into_iter().flatten().filter(|name| !is_hidden(name)).cloned().collect()
            }
            "type" | "enum" | "minimum" | "maximum" | "minLength" | "maxLength" | "uniqueItems" => value.clone(),
            "format" => {
                if value == "int32" {
                    out.entry("minimum").or_insert(json!(i32::MIN));
                    out.entry("maximum").or_insert(json!(i32::MAX));
                }
                continue;
            }
            "nullable" | "readOnly" | "writeOnly" => continue,
            other => panic!("the keyword {other} of a description is not translated"),
        };
        out.insert(keyword.clone(), value);
    }
    let is_open = !out.contains_key("properties") || out.contains_key("additionalProperties");
    if direction == Direction::Request && !is_open && place == Place::Alone {
        out.insert("additionalProperties".to_owned(), json!(false));
    }
    let out = Value::Object(out);
    if described.get("nullable") == Some(&json!(true)) { json!({"anyOf": [{"type": "null"}, out]}) } else { out }
}

/// Members that do not go this way.
fn hidden(member: &Value, direction: Direction) -> bool {
    let flag = match direction {
        Direction::Request => "readOnly",
        Direction::Answer => "writeOnly",
    };
    member.get(flag) == Some(&json!(true))
}

/// An error in one line: the JSON pointer, below `base`, and the rule that is broken there. Where there are alternatives, it is the
/// fault of the one that was most likely meant.
pub(crate) fn telling(error: &ValidationError<'_>, base: &str) -> String {
    let error = likeliest(error);
    let pointer = format!("{base}{}", path(error));
    let pointer = if pointer.is_empty() { "/" } else { &pointer };
    let text = error.instance().to_string();
    let rule = match error.kind() {
        ValidationErrorKind::FalseSchema => "may not be sent: it is read-only".to_owned(),
        ValidationErrorKind::Required { property } => format!("{property} is missing"),
        _ if text.chars().count() <= 80 => error.to_string(),
        _ => error.masked_with("it").to_string(),
    };
    format!("at {pointer}: {rule}")
}

fn path<'e>(error: &'e ValidationError<'_>) -> &'e str {
    error.instance_path().as_str()
}

fn likeliest<'e, 'i>(error: &'e ValidationError<'i>) -> &'e ValidationError<'i> {
    let (ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context }) = error.kind() else {
        return error;
    };
    let own_type = format!("{}/type", path(error));
    let depth = |error: &ValidationError<'_>| path(likeliest(error)).matches('/').count();
    // A member `type` of another value, or another kind of value: that alternative was not meant.
    let was_meant = |fault: &ValidationError<'_>| {
        let other_kind = matches!(fault.kind(), ValidationErrorKind::Type { .. }) && path(fault) == path(error);
        path(fault) != own_type && !other_kind
    };
    let alternatives = context.iter().filter(|faults| faults.iter().all(was_meant));
    let deepest = |faults: &'e Vec<ValidationError<'static>>| faults.iter().max_by_key(|fault| depth(fault));
    match alternatives.filter_map(deepest).max_by_key(|fault| depth(fault)) {
        Some(fault) => likeliest(fault),
        None => error,
    }
}
