//! What the Jira stand-in remembers, and the JSON it shows of it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::adf;

/// Ids of the one issue type scheme and priority scheme all projects share.
pub(super) const ISSUE_TYPES: [(&str, &str); 3] = [("10001", "Task"), ("10002", "Bug"), ("10003", "Story")];
/// Priorities with their ids, highest first.
pub(super) const PRIORITIES: [(&str, &str); 5] =
    [("1", "Highest"), ("2", "High"), ("3", "Medium"), ("4", "Low"), ("5", "Lowest")];
/// Id of a transition, and the status it leads to (which is also its name). All are open from everywhere.
pub(super) const TRANSITIONS: [(&str, &str); 4] =
    [("11", "To Do"), ("21", "In Progress"), ("31", "In Review"), ("41", "Done")];
/// Id of the first project; the others count on.
pub(super) const PROJECT_ID: u64 = 10_000;

/// Key and name of the category a status belongs to.
pub(super) fn category_of(status: &str) -> (&'static str, &'static str) {
    match status {
        "To Do" => ("new", "To Do"),
        "Done" => ("done", "Done"),
        _ => ("indeterminate", "In Progress"),
    }
}

/// A person, or the bot.
#[derive(Debug, Clone, Serialize)]
pub struct User {
    /// Atlassian account id.
    pub account_id: String,
    /// Name as shown.
    pub name: String,
    /// E-mail address.
    pub email: String,
}

/// A comment.
#[derive(Debug, Clone, Serialize)]
pub struct Comment {
    /// Numeric id as a string.
    pub id: String,
    /// Account id of who wrote it.
    pub author: String,
    /// The body as plain text.
    pub text: String,
    /// The body as it was sent (Atlassian Document Format).
    pub body: Value,
    /// Entity properties.
    pub properties: BTreeMap<String, Value>,
    /// When it was written.
    pub created: DateTime<Utc>,
    /// When it was last changed.
    pub updated: DateTime<Utc>,
}

/// A link from an issue to a page elsewhere.
#[derive(Debug, Clone, Serialize)]
pub struct RemoteLink {
    /// Numeric id.
    pub id: u64,
    /// The caller's own key; a second link with it replaces the first.
    pub global_id: Option<String>,
    /// Where it leads.
    pub url: String,
    /// Text of the link.
    pub title: String,
    /// The whole link as it was sent.
    pub sent: Value,
}

/// One change of some fields, as the changelog shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// Numeric id.
    pub id: u64,
    /// Account id.
    pub author: String,
    /// When.
    pub at: DateTime<Utc>,
    /// `items` of the changelog.
    pub items: Vec<Value>,
}

/// A ticket.
#[derive(Debug, Clone, Serialize)]
pub struct Issue {
    /// Numeric id.
    pub id: u64,
    /// `SHOP-1`.
    pub key: String,
    /// Title.
    pub summary: String,
    /// Description (Atlassian Document Format), or null.
    pub description: Value,
    /// Labels in the order they were added.
    pub labels: Vec<String>,
    /// Name of the priority.
    pub priority: String,
    /// Name of the type.
    pub issue_type: String,
    /// Name of the status.
    pub status: String,
    /// Account id.
    pub reporter: String,
    /// Comments, oldest first.
    pub comments: Vec<Comment>,
    /// Entity properties.
    pub properties: BTreeMap<String, Value>,
    /// Links to pages elsewhere.
    pub remote_links: Vec<RemoteLink>,
    /// Keys of issues this one relates to.
    pub links: Vec<String>,
    /// Changes, oldest first.
    pub history: Vec<Change>,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// When it was last changed.
    pub updated: DateTime<Utc>,
}

impl Issue {
    /// Key of the project.
    pub fn project(&self) -> &str {
        self.key.rsplit_once('-').map_or(self.key.as_str(), |(project, _)| project)
    }

    /// Number within the project.
    pub fn number(&self) -> u64 {
        self.key.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap_or_default()
    }

    /// The description as plain text.
    pub fn description_text(&self) -> String {
        adf::plain(&self.description)
    }
}

/// A project.
#[derive(Debug, Clone)]
pub(super) struct Project {
    pub id: u64,
    pub key: String,
    pub name: String,
    pub next_number: u64,
}

#[derive(Debug)]
pub(super) struct State {
    pub base_url: String,
    pub users: Vec<User>,
    pub projects: Vec<Project>,
    pub issues: BTreeMap<String, Issue>,
    pub next_id: u64,
    pub index_lag: TimeDelta,
    now: DateTime<Utc>,
}

/// Account id of the bot, whose credentials the product holds.
pub(super) const BOT: &str = "712020:ticketwright";

impl State {
    pub(super) fn new(base_url: String, bot_email: &str) -> Self {
        let bot = User { account_id: BOT.into(), name: "Ticketwright".into(), email: bot_email.into() };
        let mut state = Self {
            base_url,
            users: vec![bot],
            projects: Vec::new(),
            issues: BTreeMap::new(),
            next_id: 10_000,
            index_lag: TimeDelta::zero(),
            now: DateTime::UNIX_EPOCH,
        };
        state.user("ana");
        state.user("bo");
        state.project("SHOP");
        state
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

    /// Account id of a person by name or account id; a stranger gets an account.
    pub(super) fn user(&mut self, who: &str) -> String {
        let known = self.users.iter().find(|u| u.account_id == who || u.name.eq_ignore_ascii_case(who));
        if let Some(user) = known {
            return user.account_id.clone();
        }
        let lower = who.to_lowercase();
        let mut name = who.to_owned();
        name[..who.chars().next().map_or(0, char::len_utf8)].make_ascii_uppercase();
        let account_id = format!("712020:{lower}");
        self.users.push(User { account_id: account_id.clone(), name, email: format!("{lower}@acme.example") });
        account_id
    }

    /// The project with this key, made when it is not there.
    pub(super) fn project(&mut self, key: &str) -> &mut Project {
        let at = self.projects.iter().position(|project| project.key == key).unwrap_or_else(|| {
            let mut name = key.to_lowercase();
            name[..key.chars().next().map_or(0, char::len_utf8)].make_ascii_uppercase();
            let id = PROJECT_ID + self.projects.len() as u64;
            self.projects.push(Project { id, key: key.to_owned(), name, next_number: 1 });
            self.projects.len() - 1
        });
        &mut self.projects[at]
    }

    /// The issue with this key (any case) or id.
    pub(super) fn find(&mut self, key_or_id: &str) -> Option<&mut Issue> {
        let id = key_or_id.parse::<u64>().ok();
        self.issues.values_mut().find(|issue| issue.key.eq_ignore_ascii_case(key_or_id) || Some(issue.id) == id)
    }

    /// A person as REST v3 (and the webhooks) show them.
    pub(super) fn user_json(&self, account_id: &str) -> Value {
        let user = self.users.iter().find(|user| user.account_id == account_id);
        json!({
            "self": format!("{}/rest/api/3/user?accountId={account_id}", self.base_url),
            "accountId": account_id,
            "accountType": if account_id == BOT { "app" } else { "atlassian" },
            "emailAddress": user.map(|user| &user.email),
            "displayName": user.map(|user| &user.name),
            "active": true,
            "timeZone": "Etc/UTC",
        })
    }

    pub(super) fn project_json(&self, key: &str) -> Value {
        let Some(project) = self.projects.iter().find(|project| project.key == key) else { return Value::Null };
        json!({
            "self": format!("{}/rest/api/3/project/{}", self.base_url, project.id),
            "id": project.id.to_string(),
            "key": project.key,
            "name": project.name,
            "projectTypeKey": "software",
            "simplified": false,
            "isPrivate": false,
        })
    }

    pub(super) fn status_json(&self, status: &str) -> Value {
        let id = TRANSITIONS.iter().position(|(_, name)| *name == status).unwrap_or_default() + 10_000;
        let (category, category_name) = category_of(status);
        let category_id = match category {
            "new" => 2,
            "done" => 3,
            _ => 4,
        };
        json!({
            "self": format!("{}/rest/api/3/status/{id}", self.base_url),
            "id": id.to_string(),
            "name": status,
            "description": "",
            "statusCategory": {
                "self": format!("{}/rest/api/3/statuscategory/{category_id}", self.base_url),
                "id": category_id, "key": category, "name": category_name, "colorName": "blue-gray",
            },
        })
    }

    fn named(&self, what: &str, table: &[(&str, &str)], name: &str) -> Value {
        let id = table.iter().find(|(_, known)| *known == name).map_or("0", |(id, _)| id);
        json!({"self": format!("{}/rest/api/3/{what}/{id}", self.base_url), "id": id, "name": name})
    }

    /// Every field of an issue. Rich text as documents (`v3`) or, in webhooks, as plain strings.
    pub(super) fn fields_json(&self, issue: &Issue, rich: Rich) -> Value {
        let description = match (rich, &issue.description) {
            (_, Value::Null) => Value::Null,
            (Rich::Documents, document) => document.clone(),
            (Rich::Strings, _) => json!(issue.description_text()),
        };
        let mut issue_type = self.named("issuetype", &ISSUE_TYPES, &issue.issue_type);
        issue_type["subtask"] = json!(false);
        let links: Vec<Value> = issue.links.iter().filter_map(|key| self.link_json(key)).collect();
        json!({
            "summary": issue.summary,
            "description": description,
            "labels": issue.labels,
            "project": self.project_json(issue.project()),
            "issuetype": issue_type,
            "priority": self.named("priority", &PRIORITIES, &issue.priority),
            "status": self.status_json(&issue.status),
            "reporter": self.user_json(&issue.reporter),
            "creator": self.user_json(&issue.reporter),
            "assignee": null,
            "created": time(issue.created),
            "updated": time(issue.updated),
            "resolution": null,
            "issuelinks": links,
            "subtasks": [],
            "attachment": [],
            "components": [],
            "fixVersions": [],
        })
    }

    fn link_json(&self, key: &str) -> Option<Value> {
        let other = self.issues.get(key)?;
        Some(json!({
            "id": other.id.to_string(),
            "type": {"id": "10003", "name": "Relates", "inward": "relates to", "outward": "relates to"},
            "outwardIssue": {
                "id": other.id.to_string(),
                "key": other.key,
                "self": format!("{}/rest/api/3/issue/{}", self.base_url, other.id),
                "fields": {"summary": other.summary, "status": self.status_json(&other.status)},
            },
        }))
    }

    pub(super) fn comment_json(&self, issue: &Issue, comment: &Comment, rich: Rich) -> Value {
        let (version, body) = match rich {
            Rich::Documents => (3, comment.body.clone()),
            Rich::Strings => (2, json!(comment.text)),
        };
        json!({
            "self": format!("{}/rest/api/{version}/issue/{}/comment/{}", self.base_url, issue.id, comment.id),
            "id": comment.id,
            "author": self.user_json(&comment.author),
            "updateAuthor": self.user_json(&comment.author),
            "body": body,
            "created": time(comment.created),
            "updated": time(comment.updated),
            "jsdPublic": true,
        })
    }
}

/// How rich text is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rich {
    /// REST v3.
    Documents,
    /// Webhooks, which are shaped like REST v2.
    Strings,
}

/// Jira's way to write a moment.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}
