//! REST: files of a repository, read and written. <https://docs.github.com/en/rest/repos/contents>

use base64::Engine as _;
use serde_json::{Value, json};

use super::events::SharedHub;
use super::git_objects::{Person, TreeChange, TreeEntry};
use super::hub::{Hub, Place};
use super::pushes::{RefChange, refs_changed};
use super::reply::{Answer, Call, Failure, Reply, encode_path};

/// Files above this are left out of JSON answers; only the raw media type carries them.
const JSON_LIMIT: u64 = 1024 * 1024;

/// `GET /repos/{owner}/{repo}/readme`.
pub(super) async fn readme(hub: &Hub, call: &Call, place: &Place) -> Answer {
    let commit = commit_of(call, place).await?;
    let root = place.git.tree(&commit, false).await?;
    let is_readme = |entry: &&TreeEntry| entry.kind == "blob" && entry.path.to_ascii_lowercase().starts_with("readme");
    let path = root.iter().find(is_readme).map(|entry| entry.path.clone()).ok_or_else(Failure::not_found)?;
    get(hub, call, place, &path).await
}

/// `GET /repos/{owner}/{repo}/contents/{path}`: a file or the entries of a directory.
pub(super) async fn get(hub: &Hub, call: &Call, place: &Place, path: &str) -> Answer {
    check_path(path)?;
    let commit = commit_of(call, place).await?;
    let reference = call.query("ref").unwrap_or(&place.default_branch);
    let path = path.trim_end_matches('/');
    let at = if path.is_empty() { commit.clone() } else { format!("{commit}:{path}") };
    match place.git.kind(&at).await.as_deref() {
        Some("tree" | "commit") => {
            let mut entries = place.git.tree(&at, false).await?;
            let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
            for entry in &mut entries {
                entry.path.insert_str(0, &prefix);
            }
            Ok(Reply::ok(entries.iter().map(|entry| view(hub, place, reference, entry)).collect()))
        }
        Some("blob") => {
            let entry = entry(place, &commit, path).await?.ok_or_else(Failure::not_found)?;
            let bytes = place.git.file(&commit, path).await.ok_or_else(Failure::not_found)?;
            if call.accepts("raw") {
                return Ok(Reply::raw("application/vnd.github.raw+json; charset=utf-8", bytes));
            }
            let mut file = view(hub, place, reference, &entry);
            let big = entry.size.unwrap_or_default() > JSON_LIMIT;
            file["encoding"] = json!(if big { "none" } else { "base64" });
            file["content"] = json!(if big { String::new() } else { wrapped_base64(&bytes) });
            Ok(Reply::ok(file))
        }
        _ => Err(Failure::not_found()),
    }
}

/// GitHub breaks base64 after 60 characters and ends it with a line end.
fn wrapped_base64(bytes: &[u8]) -> String {
    let text = base64::prelude::BASE64_STANDARD.encode(bytes);
    let mut wrapped = String::with_capacity(text.len() + text.len() / 60 + 1);
    for chunk in text.as_bytes().chunks(60) {
        wrapped.push_str(&String::from_utf8_lossy(chunk));
        wrapped.push('\n');
    }
    wrapped
}

fn view(hub: &Hub, place: &Place, reference: &str, entry: &TreeEntry) -> Value {
    let encoded = encode_path(&entry.path);
    let kind = match (entry.kind.as_str(), entry.mode.as_str()) {
        ("tree", _) => "dir",
        ("commit", _) => "submodule",
        (_, "120000") => "symlink",
        _ => "file",
    };
    let reference = encode_path(reference);
    let api = hub.api(&format!("/repos/{}", place.full));
    let url = format!("{api}/contents/{encoded}?ref={reference}");
    let page = if kind == "dir" { "tree" } else { "blob" };
    let html = format!("{}/{}/{page}/{reference}/{encoded}", hub.base, place.full);
    let git = format!("{api}/git/{page}s/{}", entry.sha);
    let download = (kind == "file").then(|| format!("{}/{}/raw/{reference}/{encoded}", hub.base, place.full));
    json!({
        "name": entry.path.rsplit('/').next(),
        "path": entry.path,
        "sha": entry.sha,
        "size": entry.size.unwrap_or(0),
        "url": url,
        "html_url": html,
        "git_url": git,
        "download_url": download,
        "type": kind,
        "_links": {"self": url, "git": git, "html": html},
    })
}

async fn entry(place: &Place, commit: &str, path: &str) -> Result<Option<TreeEntry>, Failure> {
    let out = place.git.bytes(&["ls-tree", "-z", "-l", commit, "--", path]).await?;
    if out.is_empty() {
        return Ok(None);
    }
    let parent = path.rsplit_once('/').map_or(commit.to_owned(), |(dir, _)| format!("{commit}:{dir}"));
    let name = path.rsplit('/').next().unwrap_or(path);
    let found = place.git.tree(&parent, false).await?.into_iter().find(|entry| entry.path == name);
    Ok(found.map(|entry| TreeEntry { path: path.to_owned(), ..entry }))
}

async fn commit_of(call: &Call, place: &Place) -> Result<String, Failure> {
    let reference = call.query("ref").unwrap_or(&place.default_branch);
    let missing = || Failure::new(404, format!("No commit found for the ref {reference}"));
    place.git.resolve(reference).await.ok_or_else(missing)
}

fn check_path(path: &str) -> Result<(), Failure> {
    let bad = path.split('/').any(|part| part == ".." || part == "." || part.eq_ignore_ascii_case(".git"));
    if bad { Err(Failure::new(422, "path contains a malformed path component")) } else { Ok(()) }
}

/// What PUT and DELETE have in common.
struct Change {
    message: String,
    branch: String,
    tip: String,
    author: Person,
    committer: Person,
    /// The file as it is on the branch.
    present: Option<TreeEntry>,
}

async fn change(hub: &Hub, call: &Call, place: &Place, path: &str, body: &Value) -> Result<Change, Failure> {
    check_path(path)?;
    let message = body["message"].as_str().filter(|message| !message.is_empty());
    let message = message.ok_or_else(|| Failure::new(422, "Invalid request.\n\n\"message\" wasn't supplied."))?;
    let branch = body["branch"].as_str().unwrap_or(&place.default_branch).to_owned();
    let branch = branch.strip_prefix("refs/heads/").map_or(branch.clone(), str::to_owned);
    let tip = place.git.reference(&format!("refs/heads/{branch}")).await;
    let tip = tip.ok_or_else(|| Failure::new(404, format!("Branch {branch} not found")))?;
    let fallback = hub.account_person(call.actor.login());
    let author = person(&body["author"], &person(&body["committer"], &fallback));
    let committer = person(&body["committer"], &fallback);
    let present = entry(place, &tip, path).await?;
    let supplied = body["sha"].as_str();
    match (&present, supplied) {
        (Some(_), None) => return Err(Failure::new(422, "Invalid request.\n\n\"sha\" wasn't supplied.")),
        (Some(entry), Some(sha)) if entry.sha != sha => {
            return Err(Failure::new(409, format!("{path} does not match {sha}")));
        }
        (None, Some(sha)) => return Err(Failure::new(409, format!("{path} does not match {sha}"))),
        _ => {}
    }
    Ok(Change { message: message.to_owned(), branch, tip, author, committer, present })
}

/// Author or committer from a body; whatever is missing is taken from `otherwise`.
pub(super) fn person(value: &Value, otherwise: &Person) -> Person {
    let text = |field: &str, otherwise: &str| value[field].as_str().unwrap_or(otherwise).to_owned();
    let at = value["date"].as_str().and_then(|date| chrono::DateTime::parse_from_rfc3339(date).ok());
    Person {
        name: text("name", &otherwise.name),
        email: text("email", &otherwise.email),
        at: at.map_or(otherwise.at, |at| at.timestamp()),
    }
}

impl Hub {
    /// How an account signs a commit made on GitHub.
    pub(super) fn account_person(&self, login: &str) -> Person {
        let id = self.user(login)["id"].as_u64().unwrap_or_default();
        Person {
            name: login.to_owned(),
            email: format!("{id}+{login}@users.noreply.github.com"),
            at: chrono::Utc::now().timestamp(),
        }
    }
}

async fn commit(
    hub: &SharedHub,
    call: &Call,
    place: &Place,
    change: &Change,
    edit: TreeChange,
) -> Result<Value, Failure> {
    let tree = place.git.write_tree(Some(&change.tip), &[edit]).await?;
    let parents = [change.tip.clone()];
    let sha = place.git.write_commit(&tree, &parents, &change.author, &change.committer, &change.message).await?;
    let name = format!("refs/heads/{}", change.branch);
    place.git.update_reference(&name, &sha, Some(&change.tip)).await?;
    let moved = RefChange { name, before: Some(change.tip.clone()), after: Some(sha.clone()) };
    refs_changed(hub, place, &call.pusher(), &[moved]).await;
    Ok(hub.git_commit_view(place, &place.git.commit(&sha).await?))
}

/// `PUT /repos/{owner}/{repo}/contents/{path}`: 201 for a new file, 200 for a changed one.
pub(super) async fn put(hub: &SharedHub, call: &Call, place: &Place, path: &str) -> Answer {
    let body = call.json()?;
    let _writing = place.writing.lock().await;
    let change = change(hub, call, place, path, &body).await?;
    let content = body["content"].as_str();
    let content = content.ok_or_else(|| Failure::new(422, "Invalid request.\n\n\"content\" wasn't supplied."))?;
    let packed: String = content.split_whitespace().collect();
    let bytes = base64::prelude::BASE64_STANDARD.decode(packed);
    let bytes = bytes.map_err(|_| Failure::new(422, "content is not valid Base64"))?;
    let blob = place.git.write_blob(&bytes).await?;
    let mode = change.present.as_ref().map_or("100644", |entry| entry.mode.as_str()).to_owned();
    let edit = TreeChange { path: path.to_owned(), to: Some((mode, blob.clone())) };
    let commit = commit(hub, call, place, &change, edit).await?;
    let detail = json!({
        "path": path,
        "created": change.present.is_none(),
        "sha": blob,
        "commit": commit["sha"],
        "message": change.message,
        "content": String::from_utf8_lossy(&bytes),
    });
    hub.effect("file.written", place.at(&change.branch), detail);
    let tip = commit["sha"].as_str().unwrap_or_default();
    let entry = entry(place, tip, path).await?.ok_or_else(Failure::not_found)?;
    let status = if change.present.is_none() { 201 } else { 200 };
    Ok(Reply::with(status, json!({"content": view(hub, place, &change.branch, &entry), "commit": commit})))
}

/// `DELETE /repos/{owner}/{repo}/contents/{path}`.
pub(super) async fn delete(hub: &SharedHub, call: &Call, place: &Place, path: &str) -> Answer {
    let mut body = call.json()?;
    for field in ["message", "sha", "branch"] {
        if let (Some(value), true) = (call.query(field), body[field].is_null()) {
            body[field] = json!(value);
        }
    }
    let _writing = place.writing.lock().await;
    let change = change(hub, call, place, path, &body).await?;
    if change.present.is_none() {
        return Err(Failure::not_found());
    }
    let edit = TreeChange { path: path.to_owned(), to: None };
    let commit = commit(hub, call, place, &change, edit).await?;
    let detail = json!({"path": path, "deleted": true, "commit": commit["sha"], "message": change.message});
    hub.effect("file.written", place.at(&change.branch), detail);
    Ok(Reply::ok(json!({"content": null, "commit": commit})))
}
