//! Web pages for people: repository, file, pull request, commit, job log. Open without login; the world is on loopback.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::json;

use super::git_objects::iso;
use super::hub::{Hub, Place};
use super::markdown::{escape, html};
use super::reply::encode_path;
use super::state::{CheckRun, Pull};
use super::views::time;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#1f2328}\
a{color:#0969da;text-decoration:none}h1{font-size:1.5em;margin:.2em 0}h2{font-size:1.15em;border-bottom:1px solid #d1d9e0;margin-top:1.6em}\
.pill{color:#fff;border-radius:1em;padding:.1em .8em;font-size:.9em}.open{background:#1a7f37}.draft{background:#59636e}\
.merged{background:#8250df}.closed{background:#cf222e}.muted{color:#59636e}.box{border:1px solid #d1d9e0;border-radius:6px;padding:.4em 1em;margin:.6em 0}\
pre{background:#f6f8fa;padding:.8em;overflow:auto;border-radius:6px;font:13px/1.45 ui-monospace,monospace}code{background:#f6f8fa}\
.diff{padding:0}.diff span{display:block;padding:0 .8em}.add{background:#dafbe1}.del{background:#ffebe9}.hunk{background:#ddf4ff;color:#59636e}\
.file{background:#f6f8fa;font-weight:bold;border-top:1px solid #d1d9e0}.good{color:#1a7f37}.bad{color:#cf222e}table{border-collapse:collapse}td,th{border:1px solid #d1d9e0;padding:.2em .6em;text-align:left}";

/// Serves `GET` of a page; anything else is an unexpected call.
pub(super) async fn serve(hub: &Hub, method: &str, path: &str) -> Response {
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
    let parts: Vec<&str> = decoded.split('/').filter(|part| !part.is_empty()).collect();
    let page = match (method, parts.as_slice()) {
        ("GET" | "HEAD", []) => Some(home(hub)),
        ("GET" | "HEAD", [owner, name, rest @ ..]) => match hub.find(owner, name) {
            Ok(place) => below(hub, &place, rest).await,
            Err(_) => None,
        },
        ("GET" | "HEAD", _) => None,
        _ => {
            hub.effects.record_unexpected("github", format!("{method} {path}"), json!({}));
            return answer(
                StatusCode::NOT_IMPLEMENTED,
                "text/plain; charset=utf-8",
                format!("the stand-in of GitHub does not know {method} {path}"),
            );
        }
    };
    match page {
        Some((kind, text)) => answer(StatusCode::OK, kind, text),
        None => answer(StatusCode::NOT_FOUND, HTML, frame("Not found", "<h1>404</h1><p>There is no such page.</p>")),
    }
}

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

type Page = (&'static str, String);

fn answer(status: StatusCode, kind: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn frame(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style><body>{body}</body></html>\n"
    )
}

async fn below(hub: &Hub, place: &Place, rest: &[&str]) -> Option<Page> {
    match rest {
        [] | ["pulls"] => Some(repository(hub, place).await),
        ["tree", ..] => Some(repository(hub, place).await),
        ["blob" | "raw", reference_and_path @ ..] => blob(place, reference_and_path).await,
        ["pull", number] => match number.strip_suffix(".diff").or_else(|| number.strip_suffix(".patch")) {
            Some(number) => {
                let pull = hub.pull(place, number.parse().ok()?).ok()?;
                let fork = hub.fork_point(place, &pull).await;
                Some((TEXT, place.git.diff_text(&fork, &pull.head_sha).await.ok()? + "\n"))
            }
            None => pull_request(hub, place, number.parse().ok()?).await,
        },
        ["pull", number, "files" | "commits" | "checks"] => pull_request(hub, place, number.parse().ok()?).await,
        ["commit", sha] => commit(hub, place, sha).await,
        ["actions", "runs", run] => {
            let run = run.parse::<u64>().ok()?;
            let newest = hub.with(place, |r| r.jobs.iter().rfind(|job| job.run == run).map(|job| job.id)).ok()??;
            log(hub, place, newest)
        }
        ["actions", "runs", _, "job", id] => log(hub, place, id.parse().ok()?),
        _ => None,
    }
}

fn home(hub: &Hub) -> Page {
    let names: Vec<(String, String)> =
        hub.state().repositories.values().map(|r| (r.full_name(), r.description.clone())).collect();
    let item = |(name, about): &(String, String)| {
        format!(
            "<li><a href=\"{0}/{1}\">{1}</a> <span class=\"muted\">{2}</span></li>",
            hub.base,
            escape(name),
            escape(about)
        )
    };
    (HTML, frame("GitHub", &format!("<h1>Repositories</h1><ul>{}</ul>", names.iter().map(item).collect::<String>())))
}

async fn repository(hub: &Hub, place: &Place) -> Page {
    let root = format!("{}/{}", hub.base, place.full);
    let description = hub.with(place, |r| r.description.clone()).unwrap_or_default();
    let mut body = format!(
        "<h1>{}</h1><p>{}</p><pre>git clone {}</pre>",
        escape(&place.full),
        escape(&description),
        hub.clone_url(place)
    );
    let pulls = hub.with(place, |repository| repository.pulls.clone()).unwrap_or_default();
    body.push_str("<h2>Pull requests</h2><ul>");
    for pull in pulls.values().rev() {
        let (number, title) = (pull.number, escape(&pull.title));
        body.push_str(&format!("<li>{} <a href=\"{root}/pull/{number}\">#{number} {title}</a></li>", pill(pull)));
    }
    body.push_str("</ul><h2>Files</h2><ul>");
    for entry in place.git.tree(&place.default_branch, true).await.unwrap_or_default() {
        if entry.kind == "blob" {
            let path = encode_path(&entry.path);
            body.push_str(&format!(
                "<li><a href=\"{root}/blob/{}/{path}\">{}</a></li>",
                encode_path(&place.default_branch),
                escape(&entry.path)
            ));
        }
    }
    body.push_str("</ul>");
    (HTML, frame(&place.full, &body))
}

/// The reference may hold slashes: the longest beginning that is one counts.
async fn blob(place: &Place, parts: &[&str]) -> Option<Page> {
    for at in (1..parts.len()).rev() {
        if let Some(commit) = place.git.resolve(&parts[..at].join("/")).await
            && let Some(bytes) = place.git.file(&commit, &parts[at..].join("/")).await
        {
            return Some((TEXT, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    None
}

fn pill(pull: &Pull) -> String {
    let (class, word) = match (pull.merged(), pull.open, pull.draft) {
        (true, ..) => ("merged", "Merged"),
        (_, false, _) => ("closed", "Closed"),
        (_, _, true) => ("draft", "Draft"),
        _ => ("open", "Open"),
    };
    format!("<span class=\"pill {class}\">{word}</span>")
}

/// `event`: what ran it, `push` or `pull_request`; empty for other CI.
fn check_line(check: &CheckRun, event: &str) -> String {
    let (class, mark) = match check.conclusion.as_deref() {
        Some("success" | "neutral" | "skipped") => ("good", "✓"),
        Some(_) => ("bad", "✗"),
        None => ("muted", "•"),
    };
    let word = check.conclusion.as_deref().unwrap_or(check.status).replace('_', " ");
    let summary = check.summary.as_deref().unwrap_or_default();
    format!(
        "<li><span class=\"{class}\">{mark}</span> <a href=\"{}\">{}</a> <span class=\"muted\">{}{word}. {}</span></li>",
        escape(&check.details_url),
        escape(&check.name),
        if event.is_empty() { String::new() } else { format!("({}) ", escape(event)) },
        escape(summary),
    )
}

async fn pull_request(hub: &Hub, place: &Place, number: u64) -> Option<Page> {
    let pull = hub.pull(place, number).ok()?;
    let root = format!("{}/{}", hub.base, place.full);
    let files = hub.pull_files(place, &pull).await.ok()?;
    let (additions, deletions) =
        files.iter().fold((0, 0), |sum, file| (sum.0 + file.additions, sum.1 + file.deletions));
    let mut body = format!(
        "<p><a href=\"{root}\">{}</a></p><h1>{} <span class=\"muted\">#{number}</span></h1><p>{} <b>{}</b> wants to merge <code>{}</code> into <code>{}</code> · {} file{} <span class=\"good\">+{additions}</span> <span class=\"bad\">-{deletions}</span></p>",
        escape(&place.full),
        escape(&pull.title),
        pill(&pull),
        escape(&pull.user),
        escape(&pull.head_branch),
        escape(&pull.base_branch),
        files.len(),
        if files.len() == 1 { "" } else { "s" },
    );
    let described = pull.body.as_deref().filter(|text| !text.trim().is_empty());
    body.push_str(&format!(
        "<div class=\"box\">{}</div>",
        described.map_or_else(|| "<p class=\"muted\">No description.</p>".into(), html)
    ));

    body.push_str("<h2>Checks</h2><ul>");
    let checks = hub
        .with(place, |repository| {
            let event_of = |check: &CheckRun| {
                let run = repository.runs.iter().find(|run| run.suite == check.suite);
                run.map(|run| run.event.clone()).unwrap_or_default()
            };
            let checks = repository.checks_of(&pull.head_sha, true).into_iter();
            checks.map(|check| (event_of(&check), check)).collect::<Vec<_>>()
        })
        .ok()?;
    body.extend(checks.iter().map(|(event, check)| check_line(check, event)));
    for status in hub.latest_statuses(place, &pull.head_sha) {
        body.push_str(&format!(
            "<li>{}: {} {}</li>",
            escape(&status.context),
            escape(&status.state),
            escape(status.description.as_deref().unwrap_or_default())
        ));
    }
    body.push_str("</ul><h2>Commits</h2><ul>");
    for commit in super::rest_commits::between(place, &pull.base_sha, &pull.head_sha).await.ok()? {
        let title = commit.message.lines().next().unwrap_or_default();
        body.push_str(&format!(
            "<li><a href=\"{root}/commit/{}\"><code>{}</code></a> {} <span class=\"muted\">{}, {}</span></li>",
            commit.sha,
            &commit.sha[..7],
            escape(title),
            escape(&commit.author.name),
            iso(commit.author.at),
        ));
    }
    body.push_str("</ul><h2>Conversation</h2>");
    let comments = hub.with(place, |repository| repository.comments.clone()).ok()?;
    if !comments.iter().any(|comment| comment.number == number) {
        body.push_str("<p class=\"muted\">No comments yet.</p>");
    }
    for comment in comments.iter().filter(|comment| comment.number == number) {
        body.push_str(&format!(
            "<div class=\"box\" id=\"issuecomment-{}\"><b>{}</b> <span class=\"muted\">{}</span>{}</div>",
            comment.id,
            escape(&comment.user),
            time(comment.created),
            html(&comment.body),
        ));
    }
    if let (Some(by), Some(at)) = (&pull.merged_by, pull.closed) {
        body.push_str(&format!("<p class=\"muted\">Merged by {} at {}.</p>", escape(by), time(at)));
    }
    body.push_str("<h2>Changes</h2>");
    let fork = hub.fork_point(place, &pull).await;
    body.push_str(&diff(&place.git.diff_text(&fork, &pull.head_sha).await.ok()?));
    Some((HTML, frame(&format!("{} #{number}", pull.title), &body)))
}

fn diff(text: &str) -> String {
    let line = |line: &str| {
        let class = match line {
            line if line.starts_with("diff --git") => "file",
            line if line.starts_with("@@") => "hunk",
            line if line.starts_with("+++") || line.starts_with("---") || line.starts_with("index ") => "muted",
            line if line.starts_with('+') => "add",
            line if line.starts_with('-') => "del",
            _ => "same",
        };
        format!("<span class=\"{class}\">{}</span>", escape(if line.is_empty() { " " } else { line }))
    };
    format!("<pre class=\"diff\">{}</pre>", text.lines().map(line).collect::<String>())
}

async fn commit(hub: &Hub, place: &Place, sha: &str) -> Option<Page> {
    let sha = place.git.resolve(sha).await?;
    let commit = place.git.commit(&sha).await.ok()?;
    let shown = place.git.text(&["show", "--no-color", "--format=", "-M", &sha]).await.ok()?;
    let title = commit.message.lines().next().unwrap_or_default();
    let body = format!(
        "<p><a href=\"{}/{}\">{}</a></p><h1>{}</h1><p class=\"muted\"><code>{sha}</code> by {}, {}</p><pre>{}</pre>{}",
        hub.base,
        place.full,
        escape(&place.full),
        escape(title),
        escape(&commit.author.name),
        iso(commit.author.at),
        escape(&commit.message),
        diff(&shown),
    );
    Some((HTML, frame(title, &body)))
}

fn log(hub: &Hub, place: &Place, id: u64) -> Option<Page> {
    let job = hub.with(place, |repository| repository.jobs.iter().find(|job| job.id == id).cloned()).ok()??;
    let steps = job.steps.iter().map(|step| {
        let word = step["conclusion"].as_str().or(step["status"].as_str()).unwrap_or_default();
        format!("<li>{} <span class=\"muted\">{word}</span></li>", escape(step["name"].as_str().unwrap_or_default()))
    });
    // The log's colours are for terminals.
    let text = job.log.replace("\u{1b}[36;1m", "").replace("\u{1b}[0m", "");
    let body = format!(
        "<p><a href=\"{}/{}\">{}</a></p><h1>{}</h1><p class=\"muted\">{}</p><ul>{}</ul><pre>{}</pre>",
        hub.base,
        place.full,
        escape(&place.full),
        escape(&job.name),
        escape(job.conclusion.as_deref().unwrap_or(job.status)),
        steps.collect::<String>(),
        escape(&text),
    );
    Some((HTML, frame(&job.name, &body)))
}
