//! Where Atlassian documents stand in a request: Jira's description says nothing about what is in them, their own schema does.

use serde_json::Value;

use super::adf;

/// Fields whose value is a document.
const RICH: [&str; 2] = ["description", "environment"];

/// What is wrong with the documents in a body that was sent to this operation.
pub(super) fn faults(operation: &crate::specs::Operation, body: &Value) -> Vec<String> {
    let found = match operation.template() {
        // Any JSON is a property's value.
        path if path.ends_with("/properties/{propertyKey}") => Vec::new(),
        path if path.contains("/comment") => vec![("/body".to_owned(), &body["body"])],
        _ => of_issue(body),
    };
    found
        .into_iter()
        .filter_map(|(at, document)| adf::check(document, &at).err())
        .map(|e| format!("body {e}"))
        .collect()
}

/// Documents in `fields` and `update`, with their places.
fn of_issue(body: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (name, value) in body["fields"].as_object().into_iter().flatten() {
        // A custom field may be rich text too.
        let is_rich = RICH.contains(&name.as_str()) || value["type"] == "doc";
        if is_rich && !value.is_null() {
            found.push((format!("/fields/{name}"), value));
        }
    }
    for (name, operations) in body["update"].as_object().into_iter().flatten() {
        for (index, operation) in operations.as_array().into_iter().flatten().enumerate() {
            for (verb, value) in operation.as_object().into_iter().flatten() {
                let at = format!("/update/{name}/{index}/{verb}");
                if RICH.contains(&name.as_str()) && !value.is_null() {
                    found.push((at, value));
                } else if name == "comment" && verb != "remove" {
                    found.push((format!("{at}/body"), &value["body"]));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_found_in_fields_and_in_operations_on_them() {
        let body = json!({
            "fields": {"summary": "x", "description": {"type": "doc"}, "environment": null, "customfield_1": {"type": "doc"},
                "priority": {"name": "High"}},
            "update": {"comment": [{"add": {"body": 1}}, {"remove": {"id": "1"}}], "description": [{"set": 2}],
                "labels": [{"add": "x"}]},
        });
        let found: Vec<String> = of_issue(&body).into_iter().map(|(at, _)| at).collect();
        let wanted =
            ["/fields/customfield_1", "/fields/description", "/update/comment/0/add/body", "/update/description/0/set"];
        assert_eq!(found, wanted);
    }
}
