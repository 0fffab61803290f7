//! The vendors' own API descriptions, held against every request that reaches a stand-in and every answer it gives.
//!
//! A request that the description does not allow is refused and recorded as unexpected, so that each scenario proves the product's
//! requests. An answer that the description does not allow is recorded as unexpected too: a stand-in must speak the real
//! shape. The descriptions, where they come from and how they are renewed: `tests/specs/README.md`.

mod door;
mod parameter;
mod route;
mod schema;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::assert_same_calls;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::Method;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use parameter::Parameter;
pub(crate) use route::Route;
pub(crate) use schema::telling;
use schema::{Components, Direction, Schema};

/// Jira Cloud, REST v3.
pub(crate) static JIRA: LazyLock<Description> = LazyLock::new(|| {
    let official = include_str!("../../specs/jira-platform-v3.json");
    // Of every list in a query, Jira's texts say that it may be comma-separated.
    Description::read("jira", "/rest/api/3", official, Lists::CommaSeparated)
});

/// Sentry's web API.
pub(crate) static SENTRY: LazyLock<Description> = LazyLock::new(|| {
    let official = include_str!("../../specs/sentry.json");
    Description::read("sentry", "/api/0", official, Lists::Repeated)
});

/// Where a description says something else than the service does, and how we know.
const DEVIATIONS: &str = include_str!("../../specs/deviations.json");

/// How a list is written in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lists {
    /// `a=1&a=2`, the default of OpenAPI (style `form`, exploded).
    Repeated,
    /// That, or `a=1,2`.
    CommaSeparated,
}

/// The operations of one service.
#[derive(Debug)]
pub(crate) struct Description {
    /// Name of the service in the record of effects.
    service: &'static str,
    /// Prefix of every path, which a nested router does not see.
    base: &'static str,
    operations: Vec<Operation>,
}

/// What is described of one method on one path.
#[derive(Debug)]
pub(crate) struct Operation {
    method: Method,
    /// `/rest/api/3/issue/{issueIdOrKey}`.
    template: String,
    parameters: Vec<Parameter>,
    body: Option<Body>,
    answers: BTreeMap<u16, BTreeMap<String, Schema>>,
}

/// The body of a request, by content type.
#[derive(Debug)]
struct Body {
    is_required: bool,
    kinds: BTreeMap<String, Schema>,
}

/// One row of `deviations.json`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Deviation {
    /// The service.
    description: String,
    /// `PUT /api/0/...`, or a component's name.
    at: String,
    /// What is replaced below it, a JSON pointer.
    pointer: String,
    becomes: Value,
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers; a test holds that it is given"))]
    reason: String,
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers; a test holds that it is given"))]
    source: String,
}

fn deviations(service: &str) -> Vec<Deviation> {
    let all: Vec<Deviation> = serde_json::from_str(DEVIATIONS).expect("deviations.json has these members");
    all.into_iter().filter(|deviation| deviation.description == service).collect()
}

/// The place in a description that a deviation is about.
fn place<'d>(document: &'d mut Value, deviation: &Deviation) -> Option<&'d mut Value> {
    let below = match deviation.at.split_once(' ') {
        Some((method, template)) => document["paths"].get_mut(template)?.get_mut(method.to_lowercase())?,
        None => document["components"]["schemas"].get_mut(&deviation.at)?,
    };
    below.pointer_mut(&deviation.pointer)
}

impl Description {
    fn read(service: &'static str, base: &'static str, official: &str, lists: Lists) -> Self {
        let mut document: Value = serde_json::from_str(official).expect("a description is JSON");
        for deviation in deviations(service) {
            let place = place(&mut document, &deviation).expect("a deviation names a place that is there");
            place.clone_from(&deviation.becomes);
        }
        let schemas = &document["components"]["schemas"];
        let (asked, answered) =
            (Components::new(schemas, Direction::Request), Components::new(schemas, Direction::Answer));
        let mut operations = Vec::new();
        for (template, item) in members(&document["paths"]) {
            for (method, described) in members(item) {
                let method = method.to_uppercase().parse().expect("a key of a path item is a method");
                operations.push(Operation::read(method, template, described, lists, &asked, &answered));
            }
        }
        Self { service, base, operations }
    }

    /// The operation that a call is, the one with most literal segments if there are several.
    fn operation(&self, method: &Method, path: &str) -> Option<&Operation> {
        let matching = self.operations.iter().filter(|one| one.method == method && one.values(path).is_some());
        matching.min_by_key(|one| one.template.matches('{').count())
    }
}

impl Operation {
    fn read(
        method: Method,
        template: &str,
        described: &Value,
        lists: Lists,
        asked: &Components,
        answered: &Components,
    ) -> Self {
        let list = |member: &str| described[member].as_array().cloned().unwrap_or_default();
        let kinds = |content: &Value, components: &Components| {
            members(content).map(|(kind, media)| (kind.clone(), components.schema(&media["schema"]))).collect()
        };
        let body = described
            .get("requestBody")
            .map(|body| Body { is_required: body["required"] == true, kinds: kinds(&body["content"], asked) });
        let answers = members(&described["responses"]).filter_map(|(status, answer)| {
            // `default` and `4XX` stand for no status that a stand-in gives by itself.
            Some((status.parse().ok()?, kinds(&answer["content"], answered)))
        });
        Self {
            method,
            template: template.to_owned(),
            parameters: list("parameters").iter().map(|one| Parameter::read(one, lists, asked)).collect(),
            body,
            answers: answers.collect(),
        }
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }

    /// The path as it is described, `/rest/api/3/issue/{issueIdOrKey}`.
    pub(crate) fn template(&self) -> &str {
        &self.template
    }

    /// Path parameters by name, when this path is one of this operation.
    fn values(&self, path: &str) -> Option<BTreeMap<&str, String>> {
        let (template, given): (Vec<&str>, Vec<&str>) = (self.template.split('/').collect(), path.split('/').collect());
        if template.len() != given.len() {
            return None;
        }
        let mut values = BTreeMap::new();
        for (wanted, given) in template.into_iter().zip(given) {
            match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) if !given.is_empty() => {
                    values.insert(name, percent_decode_str(given).decode_utf8().ok()?.into_owned());
                }
                _ if wanted == given => {}
                _ => return None,
            }
        }
        Some(values)
    }

    /// What is wrong with a request; nothing when it is as described.
    fn faults(&self, path: &str, query: &str, kind: Option<&str>, body: &[u8]) -> Vec<String> {
        let mut faults = self.faults_of_parameters(path, query);
        match (&self.body, body.is_empty()) {
            (None, true) => {}
            (None, false) => faults.push("body: this operation takes none".to_owned()),
            (Some(described), true) if described.is_required => faults.push("body: there is none".to_owned()),
            (Some(_), true) => {}
            (Some(described), false) => faults.extend(faults_of_content("body", &described.kinds, kind, body)),
        }
        faults
    }

    fn faults_of_parameters(&self, path: &str, query: &str) -> Vec<String> {
        let in_path = self.values(path).unwrap_or_default();
        let mut in_query: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            in_query.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        let mut faults = Vec::new();
        for parameter in &self.parameters {
            let given = if parameter.is_in_path() {
                in_path.get(parameter.name()).cloned().into_iter().collect()
            } else {
                in_query.remove(parameter.name()).unwrap_or_default()
            };
            faults.extend(parameter.faults(&given));
        }
        faults.extend(in_query.keys().map(|name| format!("query parameter \"{name}\" is not described")));
        faults
    }

    /// What is wrong with an answer. Refusals that are not described are the service's own affair.
    fn faults_of_answer(&self, status: u16, kind: Option<&str>, body: &[u8]) -> Vec<String> {
        match self.answers.get(&status) {
            Some(kinds) if kinds.is_empty() && status == 204 && !body.is_empty() => {
                vec!["answer: 204 has no body".to_owned()]
            }
            Some(kinds) if kinds.is_empty() || (status == 204 && body.is_empty()) => Vec::new(),
            Some(kinds) => faults_of_content("answer", kinds, kind, body),
            None if (200..300).contains(&status) => vec![format!("answer: status {status} is not described")],
            None => Vec::new(),
        }
    }
}

fn faults_of_content(what: &str, kinds: &BTreeMap<String, Schema>, kind: Option<&str>, content: &[u8]) -> Vec<String> {
    // Of `application/json; charset=utf-8` only the first part is described.
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let Some(schema) = kinds.get(kind) else {
        return vec![format!("{what}: the content type \"{kind}\" is not described")];
    };
    match serde_json::from_slice(content) {
        Ok(json) => schema.faults(&json).into_iter().map(|fault| format!("{what} {fault}")).collect(),
        Err(error) => vec![format!("{what}: not JSON: {error}")],
    }
}

fn members(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten()
}
