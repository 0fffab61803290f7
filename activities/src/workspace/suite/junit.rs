//! JUnit reports, as most runners can write them: one `testcase` per test, with `failure`, `error` or `skipped` inside.

use std::sync::Arc;

use super::{Failure, Fate, Left, Only, Report, Runner};
use crate::workspace::repository::Repository;

/// A runner that writes a report at this path of the repository. Which tests it runs cannot be chosen.
#[derive(Debug)]
struct Junit(String);

pub(super) fn recognise(repository: &Repository, _: &str) -> Option<Arc<dyn Runner>> {
    repository.junit.clone().map(|path| Arc::new(Junit(path)) as Arc<dyn Runner>)
}

impl Runner for Junit {
    fn script(&self, command: &str, _only: Option<&Only<'_>>) -> String {
        command.to_owned()
    }

    fn stale(&self) -> Option<&str> {
        Some(&self.0)
    }

    fn read(&self, left: &Left<'_>) -> Report {
        read(&left.file(&self.0))
    }
}

/// Reads a report. Only what a proof needs: names, outcomes and messages; everything else is passed over.
pub(super) fn read(xml: &str) -> Report {
    let mut report = Report {
        ended: xml.trim_end().ends_with("</testsuites>") || xml.trim_end().ends_with("</testsuite>"),
        ..Report::default()
    };
    let mut rest = xml;
    while let Some(start) = rest.find("<testcase") {
        let from = &rest[start..];
        let Some(tag_end) = end_of_tag(from) else { break };
        let tag = &from[..tag_end];
        let (body, after) = if tag.ends_with('/') {
            ("", &from[tag_end..])
        } else {
            match from.find("</testcase>") {
                Some(end) => (from.get(tag_end + 1..end).unwrap_or_default(), &from[end..]),
                None => break,
            }
        };
        let name = attribute(tag, "name").unwrap_or_default();
        let class = attribute(tag, "classname").unwrap_or_default();
        let id = if class.is_empty() { name } else { format!("{class}.{name}") };
        report.note(&id, fate(body));
        rest = after;
    }
    report
}

fn fate(body: &str) -> Fate {
    let inside = |element: &str| body.find(&format!("<{element}")).map(|at| &body[at..]);
    if let Some(element) = inside("failure").or_else(|| inside("error")) {
        let tag = end_of_tag(element).map_or(element, |end| &element[..end]);
        let content = element.get(tag.len() + 1..).unwrap_or_default();
        let text = unescape(content.split("</").next().unwrap_or_default().trim());
        let text = text.trim_start_matches("<![CDATA[").trim_end_matches("]]>").to_owned();
        let kind = attribute(tag, "type").unwrap_or_default();
        let message = attribute(tag, "message").filter(|message| !message.is_empty());
        let line = message.unwrap_or_else(|| text.clone()).lines().next().unwrap_or_default().to_owned();
        // Runners name the exception in the type, the message or the text: AssertionError, AssertionFailedError, assert.
        let asserted = tag.starts_with("<failure")
            && [kind.as_str(), &line, &text]
                .iter()
                .any(|part| part.to_lowercase().contains("assert") || part.contains("expect("));
        return Fate::Failed(Failure { asserted, line, text });
    }
    if inside("skipped").is_some() { Fate::Skipped } else { Fate::Passed }
}

/// Position of the `>` that closes the first tag, not of one inside an attribute.
fn end_of_tag(from: &str) -> Option<usize> {
    let mut quote = None;
    from.char_indices().find_map(|(at, c)| match (quote, c) {
        (None, '>') => Some(at),
        (None, '"' | '\'') => {
            quote = Some(c);
            None
        }
        (Some(q), c) if q == c => {
            quote = None;
            None
        }
        _ => None,
    })
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let at = tag.find(&format!(" {name}="))? + name.len() + 2;
    let quote = tag[at..].chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let value = tag[at + 1..].split(quote).next()?;
    Some(unescape(value))
}

fn unescape(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    text.replace("&#10;", "\n").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_read() {
        let report = read(
            r#"<?xml version="1.0"?><testsuites><testsuite name="a">
<testcase classname="cart" name="adds &gt; 1" time="0.1"/>
<testcase classname="cart" name="clamps"><failure message="expected -5 to be 0" type="AssertionError">at x
  &lt;y&gt;</failure></testcase>
<testcase classname="cart" name="breaks"><error message="TypeError: a.b is not a function"></error></testcase>
<testcase classname="cart" name="later"><skipped/></testcase>
</testsuite></testsuites>
"#,
        );
        assert!(report.ended && report.passed("cart.adds > 1"));
        assert_eq!(report.tests["cart.later"], Fate::Skipped);
        assert!(
            matches!(&report.tests["cart.clamps"], Fate::Failed(f) if f.asserted && f.line == "expected -5 to be 0")
        );
        assert!(matches!(&report.tests["cart.breaks"], Fate::Failed(f) if !f.asserted));
        assert!(!read("").ended);
        assert!(!read("<testsuite><testcase name=\"a\"").ended);
    }
}
