//! Bugs that we report ourselves: created once, and found again months later.
//!
//! Both keys, that of the effect and that of the error, are kept in one entity property, written in the very call that
//! creates the issue (`POST /issue`, member `properties`). JQL finds properties only for apps that declare them, so the search
//! goes by label and date, and the property of what it finds decides.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use workflows::contract::failure::FailureKind;
use workflows::contract::ids::TicketKey;
use workflows::contract::jira::{FindReport, ReportBug, Reported};
use workflows::messages::shorten;

use super::adf_write::document;
use super::client::JiraClient;
use super::ticket::cut;
use crate::failure::ServiceError;

/// Entity property of a report: `{"effect": ..., "fingerprint": ...}`.
const PROPERTY: &str = "ticketwright.report";
/// Longest summary, in characters; Jira's own limit.
const SUMMARY: usize = 255;
/// Longest description, in bytes of Markdown: Jira refuses documents of more than 32,767 characters.
const DESCRIPTION: usize = 24 * 1024;
/// Issues per page of a search.
const PAGE: usize = 100;
/// How far back an earlier attempt of ours may lie: an activity is tried for hours, not for weeks.
const ATTEMPTS_WITHIN: u32 = 14;
/// How many issues younger than the newest that the search knows are looked at one by one.
const UNINDEXED: u64 = 20;
/// So many numbers in a row without an issue: there are no younger ones. Numbers are skipped by issues that were deleted or that
/// we may not see.
const GAP: u64 = 3;

impl JiraClient {
    /// Creates the bug, or finds the one that an earlier attempt created.
    pub(super) async fn report_once(&self, bug: &ReportBug, is_first: bool) -> Result<Reported, ServiceError> {
        if let Some(earlier) = self.created_before(bug, is_first).await? {
            return Ok(earlier);
        }
        let doing = format!("report a bug in {}", bug.project);
        let mut body = json!({
            "fields": {
                "project": {"key": bug.project},
                "issuetype": {"name": "Bug"},
                "summary": shorten(&bug.summary, SUMMARY),
                "description": document(&cut(&bug.description, DESCRIPTION)),
                "labels": bug.labels,
                "priority": {"name": bug.priority},
            },
            "properties": [{"key": PROPERTY, "value": {"effect": bug.effect, "fingerprint": bug.fingerprint}}],
        });
        let created = match self.attempt(&doing, Method::POST, "issue", Some(&body)).await {
            // Refused as a whole, so nothing was created: the project has no such priority, or none at all.
            Err(refused) if refused.error.kind == FailureKind::Invalid && refused.fields == ["priority"] => {
                if let Some(fields) = body["fields"].as_object_mut() {
                    fields.remove("priority");
                }
                self.send(&doing, Method::POST, "issue", Some(&body)).await?
            }
            other => other.map_err(|refused| refused.error)?,
        };
        let key: Option<TicketKey> = created["key"].as_str().and_then(|key| key.parse().ok());
        let key = key.ok_or_else(|| {
            ServiceError::new(FailureKind::Unexpected, "Jira created an issue and did not say its key")
        })?;
        Ok(Reported { url: self.browse(&key), key, done: false })
    }

    async fn created_before(&self, bug: &ReportBug, is_first: bool) -> Result<Option<Reported>, ServiceError> {
        let ours = |property: &Value| property["effect"] == json!(bug.effect);
        // Any of the labels: people remove some.
        let labels: Vec<String> = bug.labels.iter().map(|label| quoted(label)).collect();
        if !labels.is_empty() {
            let jql = format!(
                "project = {} AND labels in ({}) AND created >= -{ATTEMPTS_WITHIN}d ORDER BY created DESC",
                quoted(&bug.project),
                labels.join(", ")
            );
            if let Some(found) = self.find_by_property(&jql, ours).await? {
                return Ok(Some(found));
            }
        }
        // The index lags: what the attempt before this one created a moment ago, the search may not know yet.
        if is_first { Ok(None) } else { self.find_unindexed(&bug.project, ours).await }
    }

    pub(super) async fn find_report(&self, request: &FindReport) -> Result<Option<Reported>, ServiceError> {
        if let Some(linked) = &request.linked
            && let Some(found) = self.still_counts(linked, request.days).await?
        {
            return Ok(Some(found));
        }
        let jql = format!(
            "project = {} AND labels = {} AND created >= -{}d ORDER BY created DESC",
            quoted(&request.project),
            quoted(&request.label),
            request.days
        );
        self.find_by_property(&jql, |property| property["fingerprint"] == json!(request.fingerprint)).await
    }

    /// The ticket that an error names, if it exists and is young enough.
    async fn still_counts(&self, ticket: &TicketKey, days: u32) -> Result<Option<Reported>, ServiceError> {
        let path = format!("issue/{ticket}?fields=status,created");
        let issue = match self.get(&format!("read {ticket}"), &path).await {
            Ok(issue) => issue,
            Err(error) if error.kind == FailureKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // Jira's zone has no colon: 2026-11-21T13:50:23.000+0000.
        let created = issue["fields"]["created"].as_str().unwrap_or_default();
        let created = DateTime::parse_from_str(created, "%Y-%m-%dT%H:%M:%S%.3f%z");
        let young = created.is_ok_and(|at| Utc::now().signed_duration_since(at) <= TimeDelta::days(days.into()));
        Ok(if young { self.reported(&issue) } else { None })
    }

    async fn find_by_property(
        &self,
        jql: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Option<Reported>, ServiceError> {
        let mut body = json!({ "jql": jql, "fields": ["status"], "properties": [PROPERTY], "maxResults": PAGE });
        loop {
            let page = self.send("search reports", Method::POST, "search/jql", Some(&body)).await?;
            let issues = page["issues"].as_array().into_iter().flatten();
            if let Some(found) =
                issues.filter(|issue| wanted(&issue["properties"][PROPERTY])).find_map(|i| self.reported(i))
            {
                return Ok(Some(found));
            }
            match page["nextPageToken"].as_str() {
                Some(token) if page["isLast"] != true => body["nextPageToken"] = json!(token),
                _ => return Ok(None),
            }
        }
    }

    /// Looks at the issues that are younger than the newest one that the search knows; reading by key knows no lag.
    async fn find_unindexed(
        &self,
        project: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Option<Reported>, ServiceError> {
        let jql = format!("project = {} ORDER BY key DESC", quoted(project));
        let body = json!({ "jql": jql, "fields": ["status"], "maxResults": 1 });
        let newest = self.send("find the newest issue", Method::POST, "search/jql", Some(&body)).await?;
        let newest = newest["issues"][0]["key"].as_str().and_then(|key| key.rsplit_once('-')?.1.parse::<u64>().ok());
        let newest = newest.unwrap_or_default();
        let mut last = newest;
        for number in newest + 1..=newest + UNINDEXED {
            let path = format!("issue/{project}-{number}?fields=status&properties={PROPERTY}");
            match self.get(&format!("read {project}-{number}"), &path).await {
                Ok(issue) if wanted(&issue["properties"][PROPERTY]) => return Ok(self.reported(&issue)),
                Ok(_) => last = number,
                Err(error) if error.kind != FailureKind::NotFound => return Err(error),
                Err(_) if number - last >= GAP => return Ok(None),
                Err(_) => {}
            }
        }
        Ok(None)
    }

    fn reported(&self, issue: &Value) -> Option<Reported> {
        let key: TicketKey = issue["key"].as_str()?.parse().ok()?;
        let done = issue["fields"]["status"]["statusCategory"]["key"] == "done";
        Some(Reported { url: self.browse(&key), key, done })
    }
}

/// A value in JQL.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
