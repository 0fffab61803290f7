//! REST: git's own objects and refs. <https://docs.github.com/en/rest/git>

use base64::Engine as _;
use serde_json::{Value, json};

use super::events::SharedHub;
use super::git_objects::{TreeChange, TreeEntry};
use super::hub::{Hub, Place};
use super::pushes::{RefChange, refs_changed};
use super::reply::{Answer, Call, Failure, Reply, encode_path};
use super::rest_contents::person;

async fn ref_view(hub: &Hub, place: &Place, full: &str, sha: &str) -> Value {
    let api = hub.api(&format!("/repos/{}/git", place.full));
    let kind = place.git.kind(sha).await.unwrap_or_else(|| "commit".into());
    json!({
        "ref": full,
        "node_id": format!("REF_kwDO{}", hex::encode(full)),
        "url": format!("{api}/{}", encode_path(full)),
        "object": {"sha": sha, "type": kind, "url": format!("{api}/{kind}s/{sha}")},
    })
}

/// `GET /repos/{owner}/{repo}/git/ref/{ref}`; the ref is `heads/main` or `tags/v1`.
pub(super) async fn get_ref(hub: &Hub, place: &Place, name: &str) -> Answer {
    let full = format!("refs/{}", name.strip_prefix("refs/").unwrap_or(name));
    let sha = place.git.reference(&full).await.ok_or_else(Failure::not_found)?;
    Ok(Reply::ok(ref_view(hub, place, &full, &sha).await))
}

/// `GET /repos/{owner}/{repo}/git/matching-refs/{ref}`.
pub(super) async fn matching_refs(hub: &Hub, call: &Call, place: &Place, name: &str) -> Answer {
    let prefix = format!("refs/{}", name.strip_prefix("refs/").unwrap_or(name));
    let mut found = Vec::new();
    for (full, sha) in place.git.references().await? {
        if full.starts_with(&prefix) {
            found.push(ref_view(hub, place, &full, &sha).await);
        }
    }
    Ok(call.list(found, &hub.base))
}

/// `POST /repos/{owner}/{repo}/git/refs`.
pub(super) async fn create_ref(hub: &SharedHub, call: &Call, place: &Place) -> Answer {
    let body = call.json()?;
    let full = body["ref"].as_str().unwrap_or_default().to_owned();
    let sha = body["sha"].as_str().unwrap_or_default().to_owned();
    if !full.starts_with("refs/") || full.split('/').count() < 3 {
        return Err(Failure::new(422, "Reference name must start with 'refs/' and contain at least two slashes."));
    }
    if !place.git.succeeds(&["check-ref-format", &full]).await {
        return Err(Failure::new(422, format!("{full} is not a valid ref name.")));
    }
    let _writing = place.writing.lock().await;
    if place.git.reference(&full).await.is_some() {
        return Err(Failure::new(422, "Reference already exists"));
    }
    if sha.len() != 40 || place.git.kind(&sha).await.is_none() {
        return Err(Failure::new(422, "Object does not exist"));
    }
    place.git.update_reference(&full, &sha, Some(&"0".repeat(40))).await?;
    let change = RefChange { name: full.clone(), before: None, after: Some(sha.clone()) };
    refs_changed(hub, place, &call.pusher(), &[change]).await;
    Ok(Reply::created(ref_view(hub, place, &full, &sha).await))
}

/// `PATCH /repos/{owner}/{repo}/git/refs/{ref}`.
pub(super) async fn update_ref(hub: &SharedHub, call: &Call, place: &Place, name: &str) -> Answer {
    let body = call.json()?;
    let full = format!("refs/{name}");
    let sha = body["sha"].as_str().unwrap_or_default().to_owned();
    let _writing = place.writing.lock().await;
    let missing = || Failure::new(422, "Reference does not exist");
    let before = place.git.reference(&full).await.ok_or_else(missing)?;
    if sha.len() != 40 || place.git.kind(&sha).await.is_none() {
        return Err(Failure::new(422, "Object does not exist"));
    }
    if body["force"] != json!(true) && !place.git.is_ancestor(&before, &sha).await {
        return Err(Failure::new(422, "Update is not a fast forward"));
    }
    if before != sha {
        place.git.update_reference(&full, &sha, Some(&before)).await?;
        let change = RefChange { name: full.clone(), before: Some(before), after: Some(sha.clone()) };
        refs_changed(hub, place, &call.pusher(), &[change]).await;
    }
    Ok(Reply::ok(ref_view(hub, place, &full, &sha).await))
}

/// `DELETE /repos/{owner}/{repo}/git/refs/{ref}`.
pub(super) async fn delete_ref(hub: &SharedHub, call: &Call, place: &Place, name: &str) -> Answer {
    let full = format!("refs/{name}");
    let _writing = place.writing.lock().await;
    let missing = || Failure::new(422, "Reference does not exist");
    let before = place.git.reference(&full).await.ok_or_else(missing)?;
    if full == format!("refs/heads/{}", place.default_branch) {
        return Err(Failure::new(422, "Cannot delete the default branch"));
    }
    place.git.delete_reference(&full).await?;
    let change = RefChange { name: full, before: Some(before), after: None };
    refs_changed(hub, place, &call.pusher(), &[change]).await;
    Ok(Reply::empty(204))
}

/// `GET /repos/{owner}/{repo}/git/blobs/{sha}`.
pub(super) async fn get_blob(hub: &Hub, call: &Call, place: &Place, sha: &str) -> Answer {
    if place.git.kind(sha).await.as_deref() != Some("blob") {
        return Err(Failure::not_found());
    }
    let bytes = place.git.bytes(&["cat-file", "blob", sha]).await?;
    if call.accepts("raw") {
        return Ok(Reply::raw("application/vnd.github.raw+json; charset=utf-8", bytes));
    }
    Ok(Reply::ok(json!({
        "sha": sha,
        "node_id": format!("B_kwDO{sha}"),
        "size": bytes.len(),
        "url": hub.api(&format!("/repos/{}/git/blobs/{sha}", place.full)),
        "content": base64::prelude::BASE64_STANDARD.encode(bytes),
        "encoding": "base64",
    })))
}

/// `POST /repos/{owner}/{repo}/git/blobs`.
pub(super) async fn create_blob(hub: &Hub, call: &Call, place: &Place) -> Answer {
    let body = call.json()?;
    let content = body["content"].as_str().ok_or_else(|| Failure::field("Blob", "content", "missing_field"))?;
    let bytes = if body["encoding"] == json!("base64") {
        let packed: String = content.split_whitespace().collect();
        let bytes = base64::prelude::BASE64_STANDARD.decode(packed);
        bytes.map_err(|_| Failure::new(422, "content is not valid Base64"))?
    } else {
        content.as_bytes().to_vec()
    };
    let sha = place.git.write_blob(&bytes).await?;
    let url = hub.api(&format!("/repos/{}/git/blobs/{sha}", place.full));
    Ok(Reply::created(json!({"sha": sha, "url": url})))
}

fn tree_view(hub: &Hub, place: &Place, sha: &str, entries: &[TreeEntry]) -> Value {
    let api = hub.api(&format!("/repos/{}/git", place.full));
    let view = |entry: &TreeEntry| {
        let mut view = json!({"path": entry.path, "mode": entry.mode, "type": entry.kind, "sha": entry.sha});
        if let Some(size) = entry.size {
            view["size"] = json!(size);
        }
        if entry.kind != "commit" {
            view["url"] = json!(format!("{api}/{}s/{}", entry.kind, entry.sha));
        }
        view
    };
    let tree: Vec<Value> = entries.iter().map(view).collect();
    json!({"sha": sha, "url": format!("{api}/trees/{sha}"), "tree": tree, "truncated": false})
}

/// `GET /repos/{owner}/{repo}/git/trees/{tree}`; any value of `recursive` counts, as on GitHub.
pub(super) async fn get_tree(hub: &Hub, call: &Call, place: &Place, name: &str) -> Answer {
    let commit = place.git.resolve(name).await;
    let treeish = match commit {
        Some(commit) => format!("{commit}^{{tree}}"),
        None if place.git.kind(name).await.as_deref() == Some("tree") => name.to_owned(),
        None => return Err(Failure::not_found()),
    };
    let sha = place.git.text(&["rev-parse", &treeish]).await?;
    let entries = place.git.tree(&sha, call.query("recursive").is_some()).await?;
    Ok(Reply::ok(tree_view(hub, place, &sha, &entries)))
}

/// `POST /repos/{owner}/{repo}/git/trees`.
pub(super) async fn create_tree(hub: &Hub, call: &Call, place: &Place) -> Answer {
    let body = call.json()?;
    let base = body["base_tree"].as_str();
    if let Some(base) = base
        && !matches!(place.git.kind(base).await.as_deref(), Some("tree" | "commit"))
    {
        return Err(Failure::new(422, "base_tree is not a valid tree oid"));
    }
    let entries = body["tree"].as_array().filter(|entries| !entries.is_empty());
    let entries = entries.ok_or_else(|| Failure::new(422, "Invalid tree info"))?;
    let mut changes = Vec::new();
    for entry in entries {
        let path = entry["path"].as_str().filter(|path| !path.is_empty() && !path.starts_with('/'));
        let path = path.ok_or_else(|| Failure::new(422, "tree.path contains a malformed path component"))?.to_owned();
        let mode = entry["mode"].as_str().unwrap_or("100644").to_owned();
        if !["100644", "100755", "040000", "160000", "120000"].contains(&mode.as_str()) {
            return Err(Failure::new(422, format!("Must supply a valid tree.mode, not {mode}")));
        }
        let to = match (&entry["content"], &entry["sha"]) {
            (Value::String(content), _) => Some((mode, place.git.write_blob(content.as_bytes()).await?)),
            (_, Value::String(sha)) if place.git.kind(sha).await.is_some() || mode == "160000" => {
                Some((mode, sha.clone()))
            }
            (_, Value::String(sha)) => {
                return Err(Failure::new(422, format!("tree.sha {sha} is not a valid blob")));
            }
            // `"sha": null` removes the path.
            _ => None,
        };
        changes.push(TreeChange { path, to });
    }
    let sha = place.git.write_tree(base, &changes).await?;
    let entries = place.git.tree(&sha, false).await?;
    Ok(Reply::created(tree_view(hub, place, &sha, &entries)))
}

/// `GET /repos/{owner}/{repo}/git/commits/{sha}`.
pub(super) async fn get_commit(hub: &Hub, place: &Place, sha: &str) -> Answer {
    if sha.len() != 40 || place.git.kind(sha).await.as_deref() != Some("commit") {
        return Err(Failure::not_found());
    }
    Ok(Reply::ok(hub.git_commit_view(place, &place.git.commit(sha).await?)))
}

/// `POST /repos/{owner}/{repo}/git/commits`.
pub(super) async fn create_commit(hub: &Hub, call: &Call, place: &Place) -> Answer {
    let body = call.json()?;
    let message = body["message"].as_str().ok_or_else(|| Failure::field("Commit", "message", "missing_field"))?;
    let tree = body["tree"].as_str().unwrap_or_default();
    if tree.len() != 40 || place.git.kind(tree).await.as_deref() != Some("tree") {
        return Err(Failure::new(422, "Tree SHA does not exist"));
    }
    let mut parents = Vec::new();
    for parent in body["parents"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if parent.len() != 40 || place.git.kind(parent).await.as_deref() != Some("commit") {
            return Err(Failure::new(422, "Parent SHA does not exist or is not a commit object"));
        }
        parents.push(parent.to_owned());
    }
    let author = person(&body["author"], &hub.account_person(call.actor.login()));
    let committer = person(&body["committer"], &author);
    let sha = place.git.write_commit(tree, &parents, &author, &committer, message).await?;
    Ok(Reply::created(hub.git_commit_view(place, &place.git.commit(&sha).await?)))
}
