//! What the Sentry stand-in remembers, and the JSON it shows of it.
//!
//! Shapes follow the published description of Sentry's API: "List an Organization's Issues", "Retrieve an Issue", "Retrieve an
//! Issue Event", "List an Issue's Hashes" and the external issues of the integration platform.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::issue::{Frame, NewError};
use super::{ORGANISATION, SCOPES};

/// Where an issue stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Open.
    Unresolved,
    /// Done, until it happens again.
    Resolved,
    /// Archived.
    Ignored,
}

impl Status {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::Resolved => "resolved",
            Self::Ignored => "ignored",
        }
    }

    fn substatus(self) -> Value {
        match self {
            Self::Unresolved => json!("ongoing"),
            Self::Resolved => Value::Null,
            Self::Ignored => json!("archived_until_escalating"),
        }
    }
}

/// A ticket named on an issue by the integration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Number of the link.
    pub id: u64,
    /// Project of the tracker.
    pub project: String,
    /// The ticket.
    pub identifier: String,
    /// Where it is.
    pub url: String,
}

/// A group of equal errors.
#[derive(Debug, Clone)]
pub struct Issue {
    /// Number as text.
    pub id: String,
    /// `SHOP-API-1`.
    pub short_id: String,
    /// Slug of the project.
    pub project: String,
    /// Class of the error.
    pub kind: String,
    /// What it says.
    pub value: String,
    /// Level, if Sentry knows one.
    pub level: Option<String>,
    /// Platform.
    pub platform: String,
    /// Frames, innermost last.
    pub frames: Vec<Frame>,
    /// Where it stands.
    pub status: Status,
    /// Hashes of its groups.
    pub hashes: BTreeSet<String>,
    /// Links that the integration made.
    pub links: Vec<Link>,
    /// Affected users.
    pub users: u64,
    /// Environment.
    pub environment: String,
    /// Release.
    pub release: String,
    /// When Sentry came to know that release.
    pub released: DateTime<Utc>,
    /// When it was seen first.
    pub first_seen: DateTime<Utc>,
    /// When it was seen last.
    pub last_seen: DateTime<Utc>,
    /// Id of the newest event; none is kept any more when absent.
    pub event_id: Option<String>,
    /// Times and numbers of events.
    events: Vec<(DateTime<Utc>, u64)>,
}

impl Issue {
    /// One line.
    pub fn title(&self) -> String {
        format!("{}: {}", self.kind, self.value)
    }

    /// Events ever.
    pub fn total(&self) -> u64 {
        self.events.iter().map(|(_, count)| count).sum()
    }

    /// The place, `shop/pricing.py in total`.
    pub fn culprit(&self) -> String {
        self.frames.last().map_or_else(String::new, |frame| format!("{} in {}", frame.file, frame.function))
    }

    pub(super) fn count(&mut self, at: DateTime<Utc>, events: u64, users: u64) {
        self.events.push((at, events));
        self.users += users;
        self.last_seen = at;
    }

    /// Events per hour, of the last 24 hours.
    pub(super) fn hours(&self, now: DateTime<Utc>) -> Vec<(i64, u64)> {
        let this_hour = now.timestamp() - now.timestamp().rem_euclid(3600);
        (0..24)
            .rev()
            .map(|back| {
                let begins = this_hour - back * 3600;
                let inside = |at: &DateTime<Utc>| (begins..begins + 3600).contains(&at.timestamp());
                (begins, self.events.iter().filter(|(at, _)| inside(at)).map(|(_, count)| count).sum())
            })
            .collect()
    }

    fn within_a_day(&self, now: DateTime<Utc>) -> u64 {
        self.hours(now).iter().map(|(_, count)| count).sum()
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub base_url: String,
    pub projects: Vec<String>,
    pub issues: BTreeMap<String, Issue>,
    /// Old id -> the issue it was merged into.
    pub merged: BTreeMap<String, String>,
    pub scopes: BTreeSet<String>,
    /// Uuid of the installed integration that the token belongs to.
    pub installation: Option<String>,
    next_id: u64,
    now: DateTime<Utc>,
}

/// Slug of our integration.
pub(super) const APP: &str = "ticketwright";

impl State {
    pub(super) fn new(base_url: String) -> Self {
        Self {
            base_url,
            projects: Vec::new(),
            issues: BTreeMap::new(),
            merged: BTreeMap::new(),
            scopes: SCOPES.iter().map(|scope| (*scope).to_owned()).collect(),
            installation: Some(uuid::Uuid::new_v4().to_string()),
            next_id: 4_500_000,
            now: DateTime::UNIX_EPOCH,
        }
    }

    /// Now, later than every earlier answer by at least a millisecond.
    pub(super) fn tick(&mut self) -> DateTime<Utc> {
        let now = DateTime::from_timestamp_millis(Utc::now().timestamp_millis()).unwrap_or_default();
        self.now = now.max(self.now + TimeDelta::milliseconds(1));
        self.now
    }

    pub(super) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn event_id(&mut self) -> String {
        uuid::Uuid::new_v4().simple().to_string()
    }

    fn project_id(&mut self, slug: &str) -> usize {
        self.projects.iter().position(|known| known == slug).unwrap_or_else(|| {
            self.projects.push(slug.to_owned());
            self.projects.len() - 1
        })
    }

    pub(super) fn create(&mut self, new: NewError) -> Issue {
        self.project_id(&new.project);
        let (id, now, event_id) = (self.id(), self.tick(), self.event_id());
        let number = self.issues.values().filter(|issue| issue.project == new.project).count() + 1;
        let mut issue = Issue {
            id: id.to_string(),
            short_id: format!("{}-{number}", new.project.to_uppercase()),
            project: new.project,
            kind: new.kind,
            value: new.value,
            level: new.level,
            platform: new.platform,
            frames: new.frames,
            status: Status::Unresolved,
            hashes: BTreeSet::from([new.fingerprint]),
            links: Vec::new(),
            users: 0,
            environment: new.environment,
            release: new.release,
            released: now - TimeDelta::days(7),
            first_seen: now,
            last_seen: now,
            event_id: Some(event_id),
            events: Vec::new(),
        };
        issue.count(now, new.events, new.users);
        self.issues.insert(issue.id.clone(), issue.clone());
        issue
    }

    /// The issue, or the one it was merged into.
    pub(super) fn find(&self, id: &str) -> Option<&Issue> {
        self.issues.get(self.merged.get(id).map_or(id, String::as_str))
    }

    fn project_json(&self, slug: &str, platform: &str) -> Value {
        let id = self.projects.iter().position(|known| known == slug).unwrap_or_default() + 1;
        json!({"id": id.to_string(), "name": slug, "slug": slug, "platform": platform})
    }

    /// What lists, details and webhooks have in common.
    pub(super) fn common_json(&self, issue: &Issue) -> Value {
        json!({
            "id": issue.id, "shareId": null, "shortId": issue.short_id, "title": issue.title(), "culprit": issue.culprit(),
            "permalink": format!("{}/organizations/{ORGANISATION}/issues/{}/", self.base_url, issue.id),
            "logger": null, "level": issue.level, "status": issue.status.as_str(), "statusDetails": {},
            "substatus": issue.status.substatus(), "isPublic": false, "platform": issue.platform, "priority": "medium",
            "project": self.project_json(&issue.project, &issue.platform), "type": "error", "issueType": "error",
            "issueCategory": "error", "metadata": {"type": issue.kind, "value": issue.value}, "numComments": 0,
            "assignedTo": null, "isBookmarked": false, "isSubscribed": false, "subscriptionDetails": null, "hasSeen": false,
            "annotations": [], "count": issue.total().to_string(), "userCount": issue.users,
            "firstSeen": time(issue.first_seen), "lastSeen": time(issue.last_seen),
        })
    }

    /// What lists and details have in common.
    fn shown_json(&self, issue: &Issue) -> Value {
        let mut json = self.common_json(issue);
        // An error without a level has this one here.
        json["level"] = json!(issue.level.as_deref().unwrap_or("unknown"));
        json["isUnhandled"] = json!(true);
        for name in
            ["priorityLockedAt", "seerFixabilityScore", "seerAutofixLastTriggered", "seerExplorerAutofixLastTriggered"]
        {
            json[name] = Value::Null;
        }
        json
    }

    /// An item of the list, its counts those of the last 24 hours.
    pub(super) fn listed_json(&self, issue: &Issue, now: DateTime<Utc>) -> Value {
        let mut json = self.shown_json(issue);
        json["count"] = json!(issue.within_a_day(now).to_string());
        json["lifetime"] = json!({
            "count": issue.total().to_string(), "userCount": issue.users, "firstSeen": time(issue.first_seen),
            "lastSeen": time(issue.last_seen),
        });
        json["stats"] = json!({"24h": issue.hours(now)});
        for name in ["filtered", "matchingEventId", "matchingEventEnvironment"] {
            json[name] = Value::Null;
        }
        json
    }

    pub(super) fn details_json(&self, issue: &Issue, now: DateTime<Utc>) -> Value {
        let mut json = self.shown_json(issue);
        json["stats"] = json!({"24h": issue.hours(now), "30d": []});
        json["activity"] = json!([]);
        json["seenBy"] = json!([]);
        json["userReportCount"] = json!(0);
        json["participants"] = json!([]);
        json["tags"] = json!([]);
        json["firstRelease"] = json!({"version": issue.release, "shortVersion": issue.release});
        json["lastRelease"] = json!({"version": issue.release, "shortVersion": issue.release});
        json
    }

    pub(super) fn event_json(&self, issue: &Issue, event_id: &str) -> Value {
        let frames: Vec<Value> = issue
            .frames
            .iter()
            .map(|frame| {
                json!({
                    "filename": frame.file, "absPath": format!("/srv/{}", frame.file), "module": null, "function": frame.function,
                    "lineNo": frame.line, "colNo": null, "inApp": frame.in_app, "vars": null,
                    "context": [[frame.line, frame.text]],
                })
            })
            .collect();
        let stacktrace = if frames.is_empty() {
            Value::Null
        } else {
            json!({"frames": frames, "framesOmitted": null, "hasSystemFrames": false})
        };
        let exception = json!({"type": issue.kind, "value": issue.value, "module": null, "threadId": null, "stacktrace": stacktrace});
        let tags: Vec<Value> = [
            ("environment", issue.environment.as_str()),
            ("level", issue.level.as_deref().unwrap_or("error")),
            ("release", &issue.release),
            ("user", "id:550747"),
        ]
        .iter()
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect();
        json!({
            "id": event_id, "groupID": issue.id, "eventID": event_id, "projectID": "1", "message": "", "title": issue.title(),
            "platform": issue.platform, "type": "error", "metadata": {"type": issue.kind, "value": issue.value}, "tags": tags,
            "dateCreated": time(issue.last_seen), "dateReceived": time(issue.last_seen), "dist": null, "size": 4096,
            "user": {"id": "550747", "email": "jane@mail.example", "ip_address": "192.168.1.1"},
            "release": {"version": issue.release, "dateCreated": time(issue.released)}, "errors": [], "fingerprints": issue.hashes, "location": null, "sdk": null,
            "culprit": issue.culprit(), "contexts": {}, "context": {}, "packages": {}, "occurrence": null, "_meta": {},
            "userReport": null, "sdkUpdates": [], "resolvedWith": [], "nextEventID": null, "previousEventID": null,
            "entries": [
                {"type": "exception", "data": {"values": [exception], "excOmitted": null, "hasSystemFrames": false}},
                {"type": "request", "data": {"method": "GET", "url": "https://shop.example/", "query": [], "headers": []}},
            ],
        })
    }

    pub(super) fn link_json(issue: &Issue, link: &Link) -> Value {
        json!({
            "id": link.id.to_string(), "issueId": issue.id, "serviceType": APP,
            "displayName": format!("{}#{}", link.project, link.identifier), "webUrl": link.url,
        })
    }
}

/// Sentry's way to write a moment.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
