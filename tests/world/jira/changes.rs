//! Every change of an issue, by people and by the product alike: state, effect, webhook.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::adf;
use super::outbox::{comment_event, issue_event};
use super::state::{BOT, Change, Comment, Issue, RemoteLink};
use super::{Jira, SERVICE};

/// Everything a new issue starts with; names are checked before.
#[derive(Debug)]
pub(super) struct Draft {
    pub project: String,
    /// Number to take, when it must be a certain one.
    pub number: Option<u64>,
    pub summary: String,
    pub description: Value,
    pub labels: Vec<String>,
    pub priority: String,
    pub issue_type: String,
    pub reporter: String,
    pub properties: BTreeMap<String, Value>,
}

/// A change of some fields; `None` leaves a field alone.
#[derive(Debug, Default)]
pub(super) struct Edit {
    pub summary: Option<String>,
    pub description: Option<Value>,
    pub labels: Option<Vec<String>>,
    pub priority: Option<String>,
    pub status: Option<&'static str>,
    pub properties: BTreeMap<String, Value>,
}

impl Jira {
    /// Records an effect when the product did it; what people do is not the product's effect.
    fn effect(&self, by: &str, kind: &str, key: &str, detail: Value) {
        if by == BOT {
            self.effects.record(SERVICE, kind, key, detail);
        }
    }

    pub(super) fn create(&self, by: &str, draft: Draft) -> Issue {
        let mut state = self.lock();
        let project = state.project(&draft.project);
        let number = draft.number.unwrap_or(project.next_number);
        project.next_number = project.next_number.max(number + 1);
        let at = state.tick();
        let issue = Issue {
            id: state.id(),
            key: format!("{}-{number}", draft.project),
            summary: draft.summary,
            description: draft.description,
            labels: draft.labels,
            priority: draft.priority,
            issue_type: draft.issue_type,
            status: "To Do".into(),
            reporter: draft.reporter,
            comments: Vec::new(),
            properties: draft.properties,
            remote_links: Vec::new(),
            links: Vec::new(),
            history: Vec::new(),
            created: at,
            updated: at,
        };
        state.issues.insert(issue.key.clone(), issue.clone());
        let body = issue_event(&mut state, "jira:issue_created", "issue_created", by, &issue, None);
        self.outbox.push("jira:issue_created", &issue.key, &body);
        drop(state);
        let detail = json!({
            "summary": issue.summary, "text": issue.description_text(), "labels": issue.labels, "author": by,
            "properties": issue.properties, "priority": issue.priority,
        });
        self.effect(by, "issue.created", &issue.key, detail);
        issue
    }

    /// Changes fields; nothing that stays the same is noted. `None` when there is no such issue.
    pub(super) fn edit(&self, by: &str, key: &str, edit: Edit) -> Option<()> {
        let mut state = self.lock();
        let at = state.tick();
        let id = state.id();
        let issue = state.find(key)?;
        let mut items = Vec::new();
        let mut set = |field: &str, old: &mut String, new: Option<String>| {
            if let Some(new) = new
                && new != *old
            {
                items.push(item(field, old, &new));
                *old = new;
            }
        };
        set("summary", &mut issue.summary, edit.summary);
        set("priority", &mut issue.priority, edit.priority);
        let moved = edit.status.is_some_and(|status| status != issue.status);
        set("status", &mut issue.status, edit.status.map(str::to_owned));
        let mut labels = issue.labels.join(" ");
        set("labels", &mut labels, edit.labels.as_ref().map(|labels| labels.join(" ")));
        issue.labels = labels.split_whitespace().map(str::to_owned).collect();
        if let Some(new) = edit.description
            && new != issue.description
        {
            items.push(item("description", &issue.description_text(), &adf::plain(&new)));
            issue.description = new;
        }
        issue.properties.extend(edit.properties);
        if items.is_empty() {
            return Some(());
        }
        issue.updated = at;
        issue.history.push(Change { id, author: by.to_owned(), at, items: items.clone() });
        let issue = issue.clone();
        let kind = if moved { "issue_generic" } else { "issue_updated" };
        let body = issue_event(&mut state, "jira:issue_updated", kind, by, &issue, Some((id, &items)));
        self.outbox.push("jira:issue_updated", &issue.key, &body);
        drop(state);
        if moved {
            let detail = json!({"status": issue.status, "from": items_from(&items), "author": by});
            self.effect(by, "issue.transitioned", &issue.key, detail);
        } else {
            self.effect(by, "issue.edited", &issue.key, json!({"author": by, "changes": items}));
        }
        Some(())
    }

    pub(super) fn add_comment(
        &self,
        by: &str,
        key: &str,
        body: Value,
        properties: BTreeMap<String, Value>,
    ) -> Option<(Issue, Comment)> {
        let mut state = self.lock();
        let at = state.tick();
        let id = state.id().to_string();
        let issue = state.find(key)?;
        let text = adf::plain(&body);
        let comment = Comment { id, author: by.to_owned(), text, body, properties, created: at, updated: at };
        issue.comments.push(comment.clone());
        issue.updated = at;
        let issue = issue.clone();
        let event = comment_event(&mut state, "comment_created", &issue, &comment);
        self.outbox.push("comment_created", &issue.key, &event);
        drop(state);
        self.effect(by, "comment.created", &issue.key, comment_detail(&comment));
        Some((issue, comment))
    }

    pub(super) fn change_comment(
        &self,
        by: &str,
        key: &str,
        id: &str,
        body: Value,
        properties: BTreeMap<String, Value>,
    ) -> Option<(Issue, Comment)> {
        let mut state = self.lock();
        let at = state.tick();
        let issue = state.find(key)?;
        let comment = issue.comments.iter_mut().find(|comment| comment.id == id)?;
        comment.text = adf::plain(&body);
        comment.body = body;
        comment.properties.extend(properties);
        comment.updated = at;
        let comment = comment.clone();
        issue.updated = at;
        let issue = issue.clone();
        let event = comment_event(&mut state, "comment_updated", &issue, &comment);
        self.outbox.push("comment_updated", &issue.key, &event);
        drop(state);
        self.effect(by, "comment.updated", &issue.key, comment_detail(&comment));
        Some((issue, comment))
    }

    /// Removes a comment of the product's. `None` when there is none.
    pub(super) fn remove_comment(&self, key: &str, id: &str) -> Option<()> {
        let mut state = self.lock();
        let at = state.tick();
        let issue = state.find(key)?;
        let index = issue.comments.iter().position(|comment| comment.id == id)?;
        let comment = issue.comments.remove(index);
        issue.updated = at;
        let issue = issue.clone();
        let event = comment_event(&mut state, "comment_deleted", &issue, &comment);
        self.outbox.push("comment_deleted", &issue.key, &event);
        drop(state);
        self.effect(BOT, "comment.deleted", &issue.key, comment_detail(&comment));
        Some(())
    }

    /// Sets or (with `None`) removes an entity property. Tells whether it was there before.
    pub(super) fn set_property(&self, key: &str, name: &str, value: Option<Value>) -> Option<bool> {
        let mut state = self.lock();
        let issue = state.find(key)?;
        let key = issue.key.clone();
        let (before, kind) = match value.clone() {
            Some(value) => (issue.properties.insert(name.to_owned(), value), "property.set"),
            None => (issue.properties.remove(name), "property.removed"),
        };
        drop(state);
        if value.is_some() || before.is_some() {
            self.effect(BOT, kind, &key, json!({"property": name, "value": value}));
        }
        Some(before.is_some())
    }

    /// Adds a link or replaces the one with the same `globalId`. Gives its id and whether it is new.
    pub(super) fn set_remote_link(&self, key: &str, sent: Value) -> Option<(u64, bool)> {
        let mut state = self.lock();
        let fresh = state.id();
        let issue = state.find(key)?;
        let key = issue.key.clone();
        let text = |path: &str| sent.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let global_id = sent["globalId"].as_str().map(str::to_owned);
        let mut link = RemoteLink {
            id: fresh,
            global_id,
            url: text("/object/url"),
            title: text("/object/title"),
            sent: sent.clone(),
        };
        let same = |old: &&mut RemoteLink| link.global_id.is_some() && old.global_id == link.global_id;
        let existing = issue.remote_links.iter_mut().find(same);
        let is_new = existing.is_none();
        match existing {
            Some(old) => {
                link.id = old.id;
                *old = link.clone();
            }
            None => issue.remote_links.push(link.clone()),
        }
        drop(state);
        let detail = json!({"url": link.url, "title": link.title, "global_id": link.global_id, "new": is_new});
        self.effect(BOT, "remotelink.set", &key, detail);
        Some((link.id, is_new))
    }
}

fn item(field: &str, from: &str, to: &str) -> Value {
    json!({
        "field": field, "fieldtype": "jira", "fieldId": field,
        "from": null, "fromString": from, "to": null, "toString": to,
    })
}

fn items_from(items: &[Value]) -> Value {
    items.iter().find(|item| item["field"] == "status").map_or(Value::Null, |item| item["fromString"].clone())
}

fn comment_detail(comment: &Comment) -> Value {
    json!({"id": comment.id, "text": comment.text, "author": comment.author, "properties": comment.properties})
}
