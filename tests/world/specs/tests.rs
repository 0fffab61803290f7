//! The descriptions themselves: everything compiles, deviations are still needed, rules of OpenAPI are kept.

use serde_json::json;

use super::*;

/// A stand-in answers every operation of its description, and no call that is not described.
pub(crate) fn assert_same_calls<S: Clone + Send + Sync + 'static>(description: &Description, routes: &[Route<S>]) {
    let operations = routes.iter().map(|route| route.operation(description).expect("a call that is described"));
    let mut answered: Vec<String> = operations.map(Operation::name).collect();
    let mut described: Vec<String> = description.operations.iter().map(Operation::name).collect();
    answered.sort_unstable();
    described.sort_unstable();
    assert_eq!(answered, described);
}

#[test]
fn every_schema_compiles() {
    for description in [&*JIRA, &*SENTRY] {
        for operation in &description.operations {
            let answers = operation.answers.values().flat_map(BTreeMap::values);
            for schema in operation.body.iter().flat_map(|body| body.kinds.values()).chain(answers) {
                // A schema is compiled when it is first used.
                let _ = schema.accepts(&json!([7]));
            }
            for parameter in &operation.parameters {
                let _ = parameter.faults(&["x".to_owned()]);
            }
        }
    }
}

#[test]
fn every_body_that_is_an_object_refuses_a_list() {
    for description in [&*JIRA, &*SENTRY] {
        let bodies = description.operations.iter().filter_map(|operation| Some((operation, operation.body.as_ref()?)));
        let mut seen = 0;
        for (operation, body) in bodies.filter(|(operation, _)| !operation.template.ends_with("{propertyKey}")) {
            for schema in body.kinds.values() {
                assert_ne!(schema.faults(&json!([])), Vec::<String>::new(), "{}", operation.name());
                seen += 1;
            }
        }
        assert!(seen >= 2, "{}: only {seen} bodies", description.service);
    }
}

#[test]
fn every_deviation_changes_what_the_official_file_says() {
    let files = [
        ("jira", include_str!("../../specs/jira-platform-v3.json")),
        ("sentry", include_str!("../../specs/sentry.json")),
    ];
    for (service, official) in files {
        let mut document: Value = serde_json::from_str(official).expect("json");
        for deviation in deviations(service) {
            let found = place(&mut document, &deviation).expect("the place of a deviation");
            assert_ne!(*found, deviation.becomes, "{} {}", deviation.at, deviation.pointer);
            assert!(deviation.reason.len() > 20 && deviation.source.len() > 20, "{}", deviation.at);
        }
    }
    let all: Vec<Deviation> = serde_json::from_str(DEVIATIONS).expect("json");
    assert!(all.iter().all(|deviation| files.iter().any(|(service, _)| deviation.description == *service)));
}

fn schema(described: Value, direction: Direction) -> Schema {
    Components::new(&json!({"Name": {"type": "string"}}), direction).schema(&described)
}

#[test]
fn null_is_for_nullable_values_only() {
    let described = json!({"type": "object", "properties": {
        "a": {"type": "string", "enum": ["x"], "nullable": true}, "b": {"$ref": "#/components/schemas/Name", "nullable": true}}});
    let schema = schema(described, Direction::Answer);
    assert!(schema.accepts(&json!({"a": null, "b": "x", "c": 1})));
    assert_eq!(
        schema.faults(&json!({"b": null})),
        ["at /b: null is not of type \"string\""],
        "beside a $ref nothing counts"
    );
    assert_eq!(schema.faults(&json!({"a": "y"})), ["at /a: \"y\" is not one of \"x\""]);
}

#[test]
fn read_only_members_are_for_answers_and_write_only_ones_for_requests() {
    let described = json!({"type": "object", "required": ["id", "secret"], "properties": {
        "id": {"type": "string", "readOnly": true}, "secret": {"type": "string", "writeOnly": true}}});
    let (asked, answered) = (schema(described.clone(), Direction::Request), schema(described, Direction::Answer));
    assert_eq!(asked.faults(&json!({"secret": "x", "id": "1"})), ["at /id: may not be sent: it is read-only"]);
    assert_eq!(asked.faults(&json!({"secret": "x"})), Vec::<String>::new());
    assert_eq!(answered.faults(&json!({"id": "1"})), Vec::<String>::new());
    assert_eq!(answered.faults(&json!({})), ["at /: \"id\" is missing"]);
}

#[test]
fn a_request_has_no_member_that_is_not_described_unless_that_is_allowed() {
    let closed = json!({"type": "object", "properties": {"a": {"type": "integer", "format": "int32"}}});
    let mut open = closed.clone();
    open["additionalProperties"] = json!(true);
    assert!(!schema(closed.clone(), Direction::Request).accepts(&json!({"b": 1})));
    assert!(schema(closed.clone(), Direction::Answer).accepts(&json!({"b": 1})));
    assert!(schema(open, Direction::Request).accepts(&json!({"b": 1})));
    let parts = json!({"allOf": [closed.clone(), {"type": "object", "properties": {"b": {"type": "integer"}}}]});
    assert!(schema(parts, Direction::Request).accepts(&json!({"a": 1, "b": 1})), "no part closes the whole");
    assert!(!schema(closed, Direction::Request).accepts(&json!({"a": 3_000_000_000_u64})), "more than 32 bits");
}

#[test]
fn lists_in_queries_are_written_as_the_service_reads_them() {
    let described = json!({"name": "id", "in": "query", "schema": {"type": "array", "items": {"type": "integer"}}});
    let components = Components::new(&json!({}), Direction::Request);
    let [commas, repeated] =
        [Lists::CommaSeparated, Lists::Repeated].map(|lists| Parameter::read(&described, lists, &components));
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(commas.faults(&texts(&["1,2", "3"])), Vec::<String>::new());
    assert_eq!(repeated.faults(&texts(&["1", "2"])), Vec::<String>::new());
    assert_eq!(repeated.faults(&texts(&["1,2"])), ["query parameter \"id\" at /0: \"1,2\" is not of type \"integer\""]);
}

#[test]
fn an_answer_has_a_described_status_and_shape() {
    let operation = JIRA.operation(&Method::GET, "/rest/api/3/issue/SHOP-1").expect("described");
    let faults =
        |status, body: Value| operation.faults_of_answer(status, Some("application/json"), body.to_string().as_bytes());
    assert_eq!(faults(200, json!({"id": "1", "fields": {"summary": "x"}})), Vec::<String>::new());
    assert_eq!(faults(200, json!({"id": 1})), ["answer at /id: 1 is not of type \"string\""]);
    assert_eq!(faults(201, json!({})), ["answer: status 201 is not described"]);
    assert_eq!(faults(404, json!({"anything": 1})), Vec::<String>::new());
    assert_eq!(
        operation.faults_of_answer(200, Some("text/html"), b"x"),
        ["answer: the content type \"text/html\" is not described"]
    );
}
