//! REST: the conversation of pull requests: comments, reactions, labels. <https://docs.github.com/en/rest/issues>

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::hub::{Hub, Place};
use super::pushes::Pusher;
use super::reply::{Answer, Call, Failure, Reply};
use super::state::{Comment, Reaction, node_id};
use super::views::time;

const REACTIONS: [&str; 8] = ["+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"];

/// A comment longer than this is refused by GitHub.
const BODY_LIMIT: usize = 65_536;

fn number(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| Failure::not_found())
}

fn text_of(body: &Value) -> Result<&str, Failure> {
    let text = body["body"].as_str().filter(|text| !text.trim().is_empty());
    let text = text.ok_or_else(|| Failure::field("IssueComment", "body", "missing_field"))?;
    match text.chars().count() > BODY_LIMIT {
        true => Err(Failure::rule("IssueComment", "body is too long (maximum is 65536 characters)")),
        false => Ok(text),
    }
}

fn find(hub: &Hub, place: &Place, id: &str) -> Result<Comment, Failure> {
    let id = number(id)?;
    let found = hub.with(place, |repository| repository.comments.iter().find(|comment| comment.id == id).cloned())?;
    found.ok_or_else(Failure::not_found)
}

impl Hub {
    /// Adds a comment and tells everybody.
    pub(super) async fn add_comment(
        &self,
        place: &Place,
        number: u64,
        body: &str,
        by: &Pusher,
    ) -> Result<Comment, Failure> {
        self.pull(place, number)?;
        let id = self.next_id();
        let (user, now) = (by.login.clone(), Utc::now());
        let comment = Comment { id, number, user, body: body.to_owned(), created: now, updated: now };
        self.with(place, |repository| repository.comments.push(comment.clone()))?;
        self.change_pull(place, number, |_| {})?;
        if by.product {
            self.effect("comment.created", place.issue(number), json!({"id": id, "body": body}));
        }
        self.announce_comment(place, &comment, "created", json!({})).await;
        Ok(comment)
    }
}

/// `GET /repos/{owner}/{repo}/issues/{n}`: the pull request seen as an issue.
pub(super) fn get(hub: &Hub, place: &Place, n: &str) -> Answer {
    Ok(Reply::ok(hub.issue_view(place, number(n)?)?))
}

/// `GET /repos/{owner}/{repo}/issues/{n}/comments`, oldest first.
pub(super) fn comments(hub: &Hub, call: &Call, place: &Place, n: &str) -> Answer {
    let number = number(n)?;
    hub.pull(place, number)?;
    let since = call.query("since").and_then(|since| DateTime::parse_from_rfc3339(since).ok());
    let mut comments = hub.with(place, |repository| repository.comments.clone())?;
    comments.retain(|comment| comment.number == number && since.is_none_or(|since| comment.updated >= since));
    Ok(call.list(comments.iter().map(|comment| hub.comment_view(place, comment)).collect(), &hub.base))
}

/// `POST /repos/{owner}/{repo}/issues/{n}/comments`.
pub(super) async fn create_comment(hub: &Hub, call: &Call, place: &Place, n: &str) -> Answer {
    let body = call.json()?;
    let comment = hub.add_comment(place, number(n)?, text_of(&body)?, &call.pusher()).await?;
    Ok(Reply::created(hub.comment_view(place, &comment)))
}

/// `GET /repos/{owner}/{repo}/issues/comments/{id}`.
pub(super) fn get_comment(hub: &Hub, place: &Place, id: &str) -> Answer {
    Ok(Reply::ok(hub.comment_view(place, &find(hub, place, id)?)))
}

/// `PATCH /repos/{owner}/{repo}/issues/comments/{id}`.
pub(super) async fn update_comment(hub: &Hub, call: &Call, place: &Place, id: &str) -> Answer {
    let body = call.json()?;
    let text = text_of(&body)?.to_owned();
    let before = find(hub, place, id)?;
    let after = Comment { body: text.clone(), updated: Utc::now(), ..before.clone() };
    hub.with(place, |repository| {
        repository.comments.iter_mut().filter(|comment| comment.id == after.id).for_each(|c| *c = after.clone());
    })?;
    hub.effect(
        "comment.updated",
        place.issue(after.number),
        json!({"id": after.id, "body": text, "before": before.body}),
    );
    hub.announce_comment(place, &after, "edited", json!({"changes": {"body": {"from": before.body}}})).await;
    Ok(Reply::ok(hub.comment_view(place, &after)))
}

/// `DELETE /repos/{owner}/{repo}/issues/comments/{id}`.
pub(super) async fn delete_comment(hub: &Hub, _call: &Call, place: &Place, id: &str) -> Answer {
    let comment = find(hub, place, id)?;
    hub.with(place, |repository| repository.comments.retain(|other| other.id != comment.id))?;
    hub.effect("comment.deleted", place.issue(comment.number), json!({"id": comment.id, "body": comment.body}));
    hub.announce_comment(place, &comment, "deleted", json!({})).await;
    Ok(Reply::empty(204))
}

fn reaction_view(hub: &Hub, reaction: &Reaction) -> Value {
    json!({
        "id": reaction.id,
        "node_id": node_id("REA", reaction.id),
        "user": hub.user(&reaction.user),
        "content": reaction.content,
        "created_at": time(reaction.created),
    })
}

/// 201 for a new reaction, 200 for one that was there already.
fn add_reaction(hub: &Hub, call: &Call, place: &Place, subject: String, target: String) -> Answer {
    let body = call.json()?;
    let content = body["content"].as_str().unwrap_or_default();
    if !REACTIONS.contains(&content) {
        return Err(Failure::field("Reaction", "content", "invalid"));
    }
    let user = call.actor.login().to_owned();
    let same = |r: &&Reaction| r.subject == subject && r.user == user && r.content == content;
    let there = hub.with(place, |repository| repository.reactions.iter().find(same).cloned())?;
    if let Some(reaction) = there {
        return Ok(Reply::ok(reaction_view(hub, &reaction)));
    }
    let reaction = Reaction { id: hub.next_id(), subject, user, content: content.to_owned(), created: Utc::now() };
    hub.with(place, |repository| repository.reactions.push(reaction.clone()))?;
    hub.effect("reaction.created", target, json!({"subject": reaction.subject, "content": reaction.content}));
    Ok(Reply::created(reaction_view(hub, &reaction)))
}

/// `POST /repos/{owner}/{repo}/issues/{n}/reactions`.
pub(super) fn react(hub: &Hub, call: &Call, place: &Place, n: &str) -> Answer {
    let number = number(n)?;
    hub.pull(place, number)?;
    add_reaction(hub, call, place, format!("issues/{number}"), place.issue(number))
}

/// `POST /repos/{owner}/{repo}/issues/comments/{id}/reactions`.
pub(super) fn react_to_comment(hub: &Hub, call: &Call, place: &Place, id: &str) -> Answer {
    let comment = find(hub, place, id)?;
    add_reaction(hub, call, place, format!("comments/{}", comment.id), place.issue(comment.number))
}

/// `GET /repos/{owner}/{repo}/issues/comments/{id}/reactions`.
pub(super) fn comment_reactions(hub: &Hub, call: &Call, place: &Place, id: &str) -> Answer {
    let subject = format!("comments/{}", find(hub, place, id)?.id);
    let mut reactions = hub.with(place, |repository| repository.reactions.clone())?;
    reactions.retain(|reaction| reaction.subject == subject);
    Ok(call.list(reactions.iter().map(|reaction| reaction_view(hub, reaction)).collect(), &hub.base))
}

/// `GET /repos/{owner}/{repo}/issues/{n}/labels`.
pub(super) fn labels(hub: &Hub, place: &Place, n: &str) -> Answer {
    let pull = hub.pull(place, number(n)?)?;
    Ok(Reply::ok(hub.labels_view(place, &pull.labels)))
}

async fn relabel(
    hub: &Hub,
    call: &Call,
    place: &Place,
    number: u64,
    action: &str,
    name: &str,
    labels: Vec<String>,
) -> Answer {
    hub.change_pull(place, number, |pull| pull.labels.clone_from(&labels))?;
    let detail = json!({"changed": {"labels": {action: name}}, "labels": labels});
    hub.effect("pull_request.updated", place.issue(number), detail);
    let label = hub.labels_view(place, &[name.to_owned()])[0].clone();
    hub.announce_pull(place, number, action, call.actor.login(), json!({"label": label})).await;
    Ok(Reply::ok(hub.labels_view(place, &labels)))
}

/// `POST /repos/{owner}/{repo}/issues/{n}/labels`.
pub(super) async fn add_labels(hub: &Hub, call: &Call, place: &Place, n: &str) -> Answer {
    let number = number(n)?;
    let given: Value = serde_json::from_slice(&call.body).map_err(|_| Failure::new(400, "Problems parsing JSON"))?;
    let names = given.as_array().or_else(|| given["labels"].as_array());
    let names = names.ok_or_else(|| Failure::new(422, "Invalid request.\n\n\"labels\" wasn't supplied."))?;
    for name in names.iter().filter_map(Value::as_str) {
        let mut labels = hub.pull(place, number)?.labels;
        if !labels.iter().any(|label| label == name) {
            labels.push(name.to_owned());
            relabel(hub, call, place, number, "labeled", name, labels).await?;
        }
    }
    labels(hub, place, n)
}

/// `DELETE /repos/{owner}/{repo}/issues/{n}/labels/{name}`.
pub(super) async fn remove_label(hub: &Hub, call: &Call, place: &Place, n: &str, name: &str) -> Answer {
    let number = number(n)?;
    let mut labels = hub.pull(place, number)?.labels;
    let at = labels.iter().position(|label| label == name);
    labels.remove(at.ok_or_else(|| Failure::new(404, "Label does not exist"))?);
    relabel(hub, call, place, number, "unlabeled", name, labels).await
}
