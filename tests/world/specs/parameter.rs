//! Parameters in paths and queries: texts that stand for values.

use serde_json::{Value, json};

use super::Lists;
use super::schema::{Components, Schema};

/// A described parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    name: String,
    is_in_path: bool,
    is_required: bool,
    /// How it is written, when it is a list.
    list: Option<Lists>,
    /// Schema of the whole.
    schema: Schema,
    /// Schema of one item; of the whole when it is no list.
    item: Schema,
}

impl Parameter {
    pub(super) fn read(described: &Value, lists: Lists, components: &Components) -> Self {
        let schema = &described["schema"];
        let is_list = schema["type"] == "array";
        let is_in_path = described["in"] == "path";
        assert!(
            is_in_path || described["in"] == "query",
            "only parameters in paths and queries are checked: {described}"
        );
        Self {
            name: described["name"].as_str().expect("a parameter has a name").to_owned(),
            is_in_path,
            is_required: described["required"] == true,
            list: is_list.then_some(lists),
            schema: components.schema(schema),
            item: components.schema(if is_list { &schema["items"] } else { schema }),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_in_path(&self) -> bool {
        self.is_in_path
    }

    /// What is wrong with the texts given for it.
    pub(super) fn faults(&self, given: &[String]) -> Vec<String> {
        let place = if self.is_in_path { "path" } else { "query" };
        let told = |fault: &str| format!("{place} parameter \"{}\" {fault}", self.name);
        let value = match (given, self.list) {
            ([], _) if self.is_required => return vec![told("is missing")],
            ([], _) => return Vec::new(),
            ([one], None) => self.value(one),
            (_, None) => return vec![told("is given more than once")],
            (many, Some(Lists::Repeated)) => many.iter().map(|text| self.value(text)).collect(),
            (many, Some(Lists::CommaSeparated)) => {
                many.iter().flat_map(|text| text.split(',')).map(|text| self.value(text)).collect()
            }
        };
        self.schema.faults(&value).iter().map(|fault| told(fault)).collect()
    }

    /// What a text stands for: the first reading that the schema accepts, else the one that tells most.
    fn value(&self, text: &str) -> Value {
        let mut readings = vec![json!(text)];
        readings.extend(text.parse::<i64>().ok().map(|number| json!(number)));
        readings.extend(text.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| json!(number)));
        readings.extend(text.parse::<bool>().ok().map(|flag| json!(flag)));
        let accepted = readings.iter().find(|value| self.item.accepts(value));
        let told = accepted.or_else(|| readings.iter().find(|value| !self.item.refuses_type(value)));
        told.cloned().unwrap_or_else(|| json!(text))
    }
}
