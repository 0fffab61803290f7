//! REST: commits and comparisons. <https://docs.github.com/en/rest/commits>

use serde_json::{Value, json};

use super::git_objects::Commit;
use super::hub::{Hub, Place};
use super::reply::{Answer, Call, Failure, Reply};

/// GitHub's words for a name that leads to no commit.
pub(super) fn no_commit(name: &str) -> Failure {
    Failure::new(422, format!("No commit found for SHA: {name}"))
}

/// `GET /repos/{owner}/{repo}/commits` with `sha`, `path`, `author`, `since`, `until`.
pub(super) async fn list(hub: &Hub, call: &Call, place: &Place) -> Answer {
    let start = call.query("sha").unwrap_or(&place.default_branch);
    let Some(sha) = place.git.resolve(start).await else { return Err(Failure::not_found()) };
    let mut args = vec!["--max-count=1000".to_owned(), sha];
    for (parameter, option) in [("author", "--author="), ("since", "--since="), ("until", "--until=")] {
        args.extend(call.query(parameter).map(|value| format!("{option}{value}")));
    }
    args.push("--".into());
    args.extend(call.query("path").map(str::to_owned));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let commits = place.git.commits(&args).await?;
    Ok(call.list(commits.iter().map(|commit| hub.commit_view(place, commit)).collect(), &hub.base))
}

/// `GET /repos/{owner}/{repo}/commits/{ref}` with its files, or its diff when asked for that media type.
pub(super) async fn get(hub: &Hub, call: &Call, place: &Place, name: &str) -> Answer {
    let sha = place.git.resolve(name).await.ok_or_else(|| no_commit(name))?;
    if call.accepts("vnd.github.sha") || call.accepts("v3.sha") {
        return Ok(Reply::raw("application/vnd.github.v3.sha; charset=utf-8", sha.into_bytes()));
    }
    let commit = place.git.commit(&sha).await?;
    let base = match commit.parents.first() {
        Some(parent) => parent.clone(),
        None => place.git.feed(&["hash-object", "-t", "tree", "-w", "--stdin"], b"").await?,
    };
    if call.accepts("diff") {
        let diff = place.git.diff_text(&base, &sha).await?;
        return Ok(Reply::raw("application/vnd.github.v3.diff; charset=utf-8", diff.into_bytes()));
    }
    let files = place.git.diff(&base, &sha).await?;
    let additions: u64 = files.iter().map(|file| file.additions).sum();
    let deletions: u64 = files.iter().map(|file| file.deletions).sum();
    let mut view = hub.commit_view(place, &commit);
    view["stats"] = json!({"total": additions + deletions, "additions": additions, "deletions": deletions});
    view["files"] = files.iter().map(|file| hub.file_view(place, &sha, file)).collect();
    Ok(Reply::ok(view))
}

/// `GET /repos/{owner}/{repo}/compare/{base}...{head}`; two dots are refused as on GitHub.
pub(super) async fn compare(hub: &Hub, call: &Call, place: &Place, range: &str) -> Answer {
    let (base, head) = range.split_once("...").ok_or_else(Failure::not_found)?;
    let own = |name: &str| {
        let short = name.strip_prefix(&format!("{}:", place.owner));
        short.unwrap_or(name).to_owned()
    };
    let (base, head) = (own(base), own(head));
    let base_sha = place.git.resolve(&base).await.ok_or_else(Failure::not_found)?;
    let head_sha = place.git.resolve(&head).await.ok_or_else(Failure::not_found)?;
    let no_ancestor = || Failure::new(404, format!("No common ancestor between {base} and {head}."));
    let fork = place.git.merge_base(&base_sha, &head_sha).await.ok_or_else(no_ancestor)?;
    if call.accepts("diff") {
        let diff = place.git.diff_text(&fork, &head_sha).await?;
        return Ok(Reply::raw("application/vnd.github.v3.diff; charset=utf-8", diff.into_bytes()));
    }
    let ahead = place.git.count(&format!("{base_sha}..{head_sha}")).await;
    let behind = place.git.count(&format!("{head_sha}..{base_sha}")).await;
    let commits = between(place, &base_sha, &head_sha).await?;
    let files = place.git.diff(&fork, &head_sha).await?;
    let status = match (ahead, behind) {
        (0, 0) => "identical",
        (_, 0) => "ahead",
        (0, _) => "behind",
        _ => "diverged",
    };
    let html = format!("{}/{}/compare/{base}...{head}", hub.base, place.full);
    let (page, link) = call.paged(commits.iter().map(|commit| hub.commit_view(place, commit)).collect(), &hub.base);
    // Files come with the first page only.
    let files: Vec<Value> = match call.page() {
        (1, _) => files.iter().take(300).map(|file| hub.file_view(place, &head_sha, file)).collect(),
        _ => Vec::new(),
    };
    Ok(Reply::ok(json!({
        "url": hub.api(&format!("/repos/{}/compare/{base}...{head}", place.full)),
        "html_url": html,
        "permalink_url": format!("{}/{}/compare/{base_sha}...{head_sha}", hub.base, place.full),
        "diff_url": format!("{html}.diff"),
        "patch_url": format!("{html}.patch"),
        "base_commit": hub.commit_view(place, &place.git.commit(&base_sha).await?),
        "merge_base_commit": hub.commit_view(place, &place.git.commit(&fork).await?),
        "status": status,
        "ahead_by": ahead,
        "behind_by": behind,
        "total_commits": ahead,
        "commits": page,
        "files": files,
    }))
    .link(link))
}

/// Commits of a head that its base has not, oldest first.
pub(super) async fn between(place: &Place, base: &str, head: &str) -> Result<Vec<Commit>, Failure> {
    Ok(place.git.commits(&["--reverse", "--topo-order", &format!("{base}..{head}"), "--"]).await?)
}
