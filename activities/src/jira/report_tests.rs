//! Reports against a small scripted Jira: created once, whatever is lost, and found again by what identifies the error.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use workflows::contract::ids::{EffectKey, Generation};
use workflows::contract::jira::{FindReport, ReportBug};

use super::{Auth, JiraClient, Settings};
use crate::capture::{Call, Capture, Reply};

/// A project `SHOP` with the issues by number.
#[derive(Default)]
struct Project {
    issues: BTreeMap<u64, Value>,
    /// The search knows issues up to this number.
    indexed: Option<u64>,
    /// The project has no priority `High`.
    without_priority: bool,
}

type Shared = Arc<Mutex<Project>>;

fn shown(number: u64, issue: &Value, with_properties: bool) -> Value {
    let properties = if with_properties { issue["properties"].clone() } else { Value::Null };
    json!({"id": number.to_string(), "key": format!("SHOP-{number}"), "properties": properties, "fields": {"status": issue["status"], "created": issue["created"]}})
}

fn answer(project: &mut Project, call: &Call) -> Reply {
    match call.line.split('?').next().unwrap_or_default() {
        "POST /rest/api/3/search/jql" => {
            let known = project.issues.iter().rev().filter(|(n, _)| project.indexed.is_none_or(|last| **n <= last));
            let with_properties = call.json["properties"] == json!(["ticketwright.report"]);
            let all: Vec<Value> = known.map(|(n, issue)| shown(*n, issue, with_properties)).collect();
            // Pages of one issue, whatever was asked for.
            let start: usize = call.json["nextPageToken"].as_str().map_or(0, |token| token.parse().unwrap());
            let page: Vec<&Value> = all.iter().skip(start).take(1).collect();
            let is_last = start + 1 >= all.len();
            let mut reply = json!({"issues": page, "isLast": is_last});
            if !is_last {
                reply["nextPageToken"] = json!((start + 1).to_string());
            }
            Reply::ok(reply)
        }
        "POST /rest/api/3/issue" if project.without_priority && !call.json["fields"]["priority"].is_null() => {
            Reply::status(400, json!({"errorMessages": [], "errors": {"priority": "Field 'priority' cannot be set."}}))
        }
        "POST /rest/api/3/issue" if call.json["fields"]["project"]["key"] != "SHOP" => {
            Reply::status(400, json!({"errorMessages": [], "errors": {"project": "valid project is required"}}))
        }
        "POST /rest/api/3/issue" => {
            let number = project.issues.keys().max().copied().unwrap_or_default() + 1;
            let sent = &call.json["properties"][0];
            let properties = json!({ sent["key"].as_str().unwrap(): sent["value"] });
            project
                .issues
                .insert(number, json!({"properties": properties, "status": {"statusCategory": {"key": "new"}}}));
            Reply::status(201, json!({"id": number.to_string(), "key": format!("SHOP-{number}")}))
        }
        path => match path.strip_prefix("GET /rest/api/3/issue/SHOP-").and_then(|number| number.parse().ok()) {
            Some(number) => match project.issues.get(&number) {
                Some(issue) => Reply::ok(shown(number, issue, call.line.contains("properties=ticketwright.report"))),
                None => Reply::status(404, json!({"errorMessages": ["none"]})),
            },
            None => Reply::unplanned(call),
        },
    }
}

async fn jira() -> (Shared, Capture, JiraClient) {
    let project = Shared::default();
    project.lock().unwrap().issues.insert(40, json!({}));
    let kept = Arc::clone(&project);
    let server = Capture::start(move |call| answer(&mut kept.lock().unwrap(), call)).await;
    let settings = Settings { url: "https://acme.atlassian.net".into(), api_url: Some(server.url.clone()) };
    let jira = JiraClient::new(&settings, Auth::Bearer("t".to_owned().into())).unwrap();
    (project, server, jira)
}

fn bug(fingerprint: &str) -> ReportBug {
    ReportBug {
        project: "SHOP".into(),
        summary: "[AUTO] ZeroDivisionError:\n division by zero".into(),
        description: "It **breaks**.".into(),
        labels: vec!["AI".into(), "sentry-auto".into()],
        priority: "High".into(),
        effect: EffectKey::new(&format!("sentry-{fingerprint}"), &Generation::of_event("e"), "jira/report", 1),
        fingerprint: fingerprint.into(),
    }
}

#[tokio::test]
async fn a_bug_is_reported_with_its_keys_in_one_call_and_only_once() {
    let (_, server, jira) = jira().await;
    let first = jira.report_once(&bug("aa"), true).await.unwrap();
    let other = jira.report_once(&bug("bb"), true).await.unwrap();
    let again = jira.report_once(&bug("aa"), true).await.unwrap();
    assert_eq!((first.key.as_str(), first.url.as_str()), ("SHOP-41", "https://acme.atlassian.net/browse/SHOP-41"));
    assert_eq!(other.key.as_str(), "SHOP-42");
    assert_eq!(again, first);
    let created: Vec<Call> = server.calls().into_iter().filter(|call| call.line.ends_with("/issue")).collect();
    assert_eq!(created.len(), 2);
    let body = &created[0].json;
    assert_eq!(body["fields"]["summary"], "[AUTO] ZeroDivisionError: division by zero");
    assert_eq!(body["fields"]["issuetype"], json!({"name": "Bug"}));
    assert_eq!(body["fields"]["priority"], json!({"name": "High"}));
    assert_eq!(body["fields"]["labels"], json!(["AI", "sentry-auto"]));
    assert_eq!(body["properties"][0]["value"], json!({"effect": bug("aa").effect, "fingerprint": "aa"}));
    assert!(super::adf_tests::schema().is_valid(&body["fields"]["description"]), "{body}");
    let search = &server.calls()[0].json;
    assert_eq!(
        search["jql"],
        "project = \"SHOP\" AND labels in (\"AI\", \"sentry-auto\") AND created >= -14d ORDER BY created DESC"
    );
}

#[tokio::test]
async fn a_lost_reply_is_made_up_for_even_when_the_search_does_not_know_the_issue_yet() {
    let (project, server, jira) = jira().await;
    let first = jira.report_once(&bug("aa"), true).await.unwrap();
    jira.report_once(&bug("bb"), true).await.unwrap();
    project.lock().unwrap().indexed = Some(40);
    assert_eq!(jira.report_once(&bug("aa"), false).await.unwrap().key, first.key);
    // The number in between is of an issue that was deleted.
    project.lock().unwrap().issues.insert(44, json!({}));
    let third = jira.report_once(&bug("cc"), false).await.unwrap();
    assert_eq!(third.key.as_str(), "SHOP-45");
    let created = server.lines().iter().filter(|line| line.ends_with("/issue")).count();
    assert_eq!(created, 3);
}

#[tokio::test]
async fn a_priority_that_the_project_lacks_is_left_out_and_other_faults_are_final() {
    let (project, server, jira) = jira().await;
    project.lock().unwrap().without_priority = true;
    assert_eq!(jira.report_once(&bug("aa"), true).await.unwrap().key.as_str(), "SHOP-41");
    let last = server.calls().pop().unwrap();
    assert!(last.json["fields"]["priority"].is_null() && !last.json["properties"].is_null(), "{}", last.json);
    project.lock().unwrap().without_priority = false;
    let error = jira.report_once(&ReportBug { project: "NONE".into(), ..bug("zz") }, true).await.unwrap_err();
    assert!(error.message.contains("project: valid project is required"), "{error}");
}

#[tokio::test]
async fn a_report_is_found_by_what_identifies_the_error_the_newest_first() {
    let (project, server, jira) = jira().await;
    let wanted = |fingerprint: &str| FindReport {
        project: "SHOP".into(),
        fingerprint: fingerprint.into(),
        label: "sentry-auto".into(),
        days: 90,
        linked: None,
    };
    assert_eq!(jira.find_report(&wanted("aa")).await.unwrap(), None);
    for (occurrence, fingerprint) in (1..).zip(["aa", "bb", "aa", "cc"]) {
        let effect = EffectKey::new("x", &Generation::of_event("e"), "jira/report", occurrence);
        jira.report_once(&ReportBug { effect, ..bug(fingerprint) }, true).await.unwrap();
    }
    let found = jira.find_report(&wanted("aa")).await.unwrap().unwrap();
    assert!(found.key.as_str() == "SHOP-43" && !found.done, "{found:?}");
    project.lock().unwrap().issues.get_mut(&43).unwrap()["status"] = json!({"statusCategory": {"key": "done"}});
    assert!(jira.find_report(&wanted("aa")).await.unwrap().unwrap().done);
    let jql = server.calls().pop().unwrap().json["jql"].clone();
    assert_eq!(jql, "project = \"SHOP\" AND labels = \"sentry-auto\" AND created >= -90d ORDER BY created DESC");
    assert_eq!(jira.find_report(&wanted("dd")).await.unwrap(), None);
}

#[tokio::test]
async fn a_linked_ticket_counts_without_the_search_while_it_is_young_enough() {
    let (project, _server, jira) = jira().await;
    let reported = jira.report_once(&bug("aa"), true).await.unwrap();
    project.lock().unwrap().indexed = Some(0);
    let wanted = FindReport {
        project: "SHOP".into(),
        fingerprint: "aa".into(),
        label: "sentry-auto".into(),
        days: 90,
        linked: Some(reported.key.clone()),
    };
    let number: u64 = reported.key.as_str().rsplit_once('-').unwrap().1.parse().unwrap();
    let born = |at: chrono::DateTime<chrono::Utc>| {
        let created = at.format("%Y-%m-%dT%H:%M:%S%.3f%z").to_string();
        project.lock().unwrap().issues.get_mut(&number).unwrap()["created"] = json!(created);
    };
    born(chrono::Utc::now() - chrono::TimeDelta::days(89));
    assert_eq!(jira.find_report(&wanted).await.unwrap(), Some(reported));
    born(chrono::Utc::now() - chrono::TimeDelta::days(91));
    assert_eq!(jira.find_report(&wanted).await.unwrap(), None);
    let deleted = FindReport { linked: Some("SHOP-999".parse().unwrap()), ..wanted };
    assert_eq!(jira.find_report(&deleted).await.unwrap(), None);
}
