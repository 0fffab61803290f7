//! `JUnit` reports, as most runners can write them: one `testcase` per test, with `failure`, `error` or `skipped` inside.
//!
//! There is no one standard. Read is what Ant's, Surefire's, Gradle's, jest-junit's, mocha's and Go's writers have in
//! common, plus Surefire's marks of a test that passed only when it was run again
//! (<https://maven.apache.org/surefire/maven-surefire-plugin/xsd/surefire-test-report.xsd>).

use quick_xml::Reader;
use quick_xml::escape::{resolve_predefined_entity, unescape};
use quick_xml::events::{BytesStart, Event};

use std::sync::Arc;

use super::report::AGAIN;
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

/// One `testcase`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    /// `classname`, often empty.
    pub(super) class: String,
    /// `name`.
    pub(super) name: String,
    /// What became of it.
    pub(super) fate: Fate,
}

/// Reads a report; an id is `class.name`, or the name where there is no class. A report that is cut off has not ended.
pub(super) fn read(xml: &str) -> Report {
    let (cases, ended) = cases(xml);
    let mut report = Report { ended, ..Report::default() };
    for Case { class, name, fate } in cases {
        let id = if class.is_empty() { name } else { format!("{class}.{name}") };
        report.note(&id, fate);
    }
    report
}

/// What a `testcase` says about its outcome.
struct Outcome {
    element: String,
    kind: String,
    message: String,
    text: String,
}

/// The cases up to the end, or to where the text is no XML any more, and whether it was the end.
pub(super) fn cases(xml: &str) -> (Vec<Case>, bool) {
    let mut reader = Reader::from_str(xml);
    let mut cases = Vec::new();
    let mut open: Option<(String, String, Vec<Outcome>)> = None;
    // Names of the elements that are open; text belongs to an outcome only directly inside of it.
    let mut path: Vec<String> = Vec::new();
    let mut seen = false;
    loop {
        let Ok(event) = reader.read_event() else { return (cases, false) };
        match event {
            Event::Start(tag) => {
                let name = name_of(&tag);
                begin(&tag, &name, &path, &mut open);
                seen = true;
                path.push(name);
            }
            Event::Empty(tag) => {
                let name = name_of(&tag);
                begin(&tag, &name, &path, &mut open);
                seen = true;
                if name == "testcase" {
                    cases.extend(open.take().map(close));
                }
            }
            Event::End(_) => {
                if path.pop().as_deref() == Some("testcase") {
                    cases.extend(open.take().map(close));
                }
            }
            Event::Text(text) => say(&mut open, &path, &text.decode().unwrap_or_default()),
            Event::CData(text) => say(&mut open, &path, &text.decode().unwrap_or_default()),
            Event::GeneralRef(reference) => {
                if let Ok(Some(c)) = reference.resolve_char_ref() {
                    say(&mut open, &path, c.encode_utf8(&mut [0; 4]));
                } else if let Some(text) = reference.decode().ok().as_deref().and_then(resolve_predefined_entity) {
                    say(&mut open, &path, text);
                }
            }
            Event::Eof => return (cases, seen && path.is_empty()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

fn begin(tag: &BytesStart<'_>, name: &str, path: &[String], open: &mut Option<(String, String, Vec<Outcome>)>) {
    match (name, open) {
        ("testcase", open) => {
            *open = Some((attribute(tag, "classname"), attribute(tag, "name"), Vec::new()));
        }
        (
            "failure" | "error" | "skipped" | "flakyFailure" | "flakyError" | "rerunFailure" | "rerunError",
            Some((.., outcomes)),
        ) if path.last().is_some_and(|parent| parent == "testcase") => {
            let (kind, message) = (attribute(tag, "type"), attribute(tag, "message"));
            outcomes.push(Outcome { element: name.to_owned(), kind, message, text: String::new() });
        }
        _ => {}
    }
}

fn say(open: &mut Option<(String, String, Vec<Outcome>)>, path: &[String], text: &str) {
    if let (Some((.., outcomes)), Some(inner)) = (open, path.last())
        && let Some(outcome) = outcomes.last_mut().filter(|outcome| outcome.element == *inner)
    {
        outcome.text.push_str(text);
    }
}

fn close((class, name, outcomes): (String, String, Vec<Outcome>)) -> Case {
    let is = |names: &[&str]| outcomes.iter().find(|outcome| names.contains(&outcome.element.as_str()));
    let fate = if let Some(outcome) = is(&["failure", "error"]) {
        Fate::Failed(failure(outcome))
    } else if let Some(outcome) = is(&["flakyFailure", "flakyError", "rerunFailure", "rerunError"]) {
        let told = failure(outcome);
        let line = format!("{AGAIN}; before: {}", told.line);
        Fate::Failed(Failure { asserted: false, line, text: told.text })
    } else if is(&["skipped"]).is_some() {
        Fate::Skipped
    } else {
        Fate::Passed
    };
    Case { class, name, fate }
}

fn failure(outcome: &Outcome) -> Failure {
    let text = outcome.text.trim().to_owned();
    let said = if outcome.message.trim().is_empty() { &text } else { &outcome.message };
    let line = said.trim().lines().next().unwrap_or_default().to_owned();
    // Runners name the exception in the type, the message or the text: AssertionError, AssertionFailedError, assert.
    let asserted = outcome.element == "failure"
        && [outcome.kind.as_str(), &line, &text].iter().any(|part| {
            part.to_lowercase().contains("assert") || part.contains("expect(") || part.contains("ComparisonFailure")
        });
    Failure { asserted, line, text }
}

fn name_of(tag: &BytesStart<'_>) -> String {
    String::from_utf8_lossy(tag.local_name().as_ref()).into_owned()
}

/// An attribute's value. Line ends in it are kept, other than XML says: writers put whole messages there.
fn attribute(tag: &BytesStart<'_>, name: &str) -> String {
    let Ok(Some(attribute)) = tag.try_get_attribute(name) else { return String::new() };
    let raw = String::from_utf8_lossy(&attribute.value).into_owned();
    unescape(&raw).map_or_else(|_| raw.clone(), std::borrow::Cow::into_owned)
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
<testcase name="alone"><system-out>&lt;failure&gt;</system-out></testcase>
</testsuite></testsuites>
"#,
        );
        assert!(report.ended && report.passed("cart.adds > 1") && report.passed("alone"));
        assert_eq!(report.tests["cart.later"], Fate::Skipped);
        let Fate::Failed(failure) = &report.tests["cart.clamps"] else { panic!("{report:?}") };
        assert!(failure.asserted && failure.line == "expected -5 to be 0");
        assert_eq!(failure.text, "at x\n  <y>");
        assert!(matches!(&report.tests["cart.breaks"], Fate::Failed(f) if !f.asserted));
    }

    #[test]
    fn what_only_looks_like_a_case_is_none() {
        for (xml, passed) in [
            (r#"<testsuite><!-- <testcase name="a"/> --></testsuite>"#, false),
            (r#"<testsuite><system-out><![CDATA[<testcase name="a"/>]]></system-out></testsuite>"#, false),
            (r#"<testsuite name='<testcase name="a"/>'></testsuite>"#, false),
            ("<testsuite><testcase name='a'  ></testcase></testsuite>", true),
            (r#"<testsuite><testcase name="a"><failure message="<skipped/>"/></testcase></testsuite>"#, false),
            (r#"<testsuite><testcase name="a"><failure>&#60;/failure></failure></testcase></testsuite>"#, false),
            (r#"<testsuite><testcase name="a"><properties><failure/></properties></testcase></testsuite>"#, true),
            (r#"<x:testsuite xmlns:x="u"><x:testcase name="a"/></x:testsuite>"#, true),
        ] {
            let report = read(xml);
            assert!(report.ended, "{xml}");
            assert_eq!(report.passed("a"), passed, "{xml}");
        }
    }

    #[test]
    fn a_report_that_is_cut_off_has_not_ended() {
        for cut in [
            "",
            "no XML",
            "<testsuite><testcase name=\"a\"",
            "<testsuite><testcase name=\"a\"/>",
            "<testsuite><testcase name=\"a\"></testsuite>",
            "<testsuite><testcase name=\"a\"/></testsuite><testsuite>",
        ] {
            assert!(!read(cut).ended, "{cut}");
        }
    }

    #[test]
    fn a_test_that_was_run_again_did_not_pass() {
        let again = r#"<testsuite><testcase name="a" classname="p.T"><flakyFailure message="expected: 1"
            type="java.lang.AssertionError"><stackTrace>at</stackTrace></flakyFailure></testcase></testsuite>"#;
        let Fate::Failed(failure) = &read(again).tests["p.T.a"] else { panic!("it passed") };
        assert!(!failure.asserted);
        assert_eq!(failure.line, "it passed only when it was run again; before: expected: 1");
    }
}
