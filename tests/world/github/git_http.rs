//! git over smart HTTP, by git's own `http-backend` as CGI.

use std::process::Stdio;

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use tokio::io::AsyncWriteExt as _;

use super::events::SharedHub;
use super::git::git_command;
use super::pushes::{self, Pusher};

pub(super) fn is_git(path: &str) -> bool {
    path.contains(".git/")
}

fn status(code: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = code;
    if code == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert("www-authenticate", "Basic realm=\"GitHub\"".parse().expect("header"));
    }
    response
}

pub(super) async fn serve(hub: &SharedHub, request: Request, _cut: bool) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let Ok(actor) = hub.authenticate_git(&parts.headers) else { return status(StatusCode::UNAUTHORIZED, "Bad credentials") };
    let Some((repo, rest)) = path.trim_start_matches('/').split_once(".git/") else { return status(StatusCode::NOT_FOUND, "") };
    let Some(place) = hub.place(repo) else { return status(StatusCode::NOT_FOUND, "Repository not found.") };
    let Ok(body) = axum::body::to_bytes(body, 512 << 20).await else { return status(StatusCode::BAD_REQUEST, "") };
    let pushing = rest == "git-receive-pack";
    let guard = if pushing { Some(place.writing.clone().lock_owned().await) } else { None };
    let before = place.git.references().await.unwrap_or_default();
    let mut command = git_command();
    command
        .args(["-c", "http.receivepack=true", "http-backend"])
        .env("GIT_PROJECT_ROOT", place.git.dir())
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", format!("/{rest}"))
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("REMOTE_USER", actor.login())
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (header, name) in [("content-type", "CONTENT_TYPE"), ("content-encoding", "HTTP_CONTENT_ENCODING"), ("git-protocol", "HTTP_GIT_PROTOCOL")] {
        if let Some(value) = parts.headers.get(header).and_then(|v| v.to_str().ok()) {
            command.env(name, value);
        }
    }
    let Ok(mut child) = command.spawn() else { return status(StatusCode::INTERNAL_SERVER_ERROR, "no git") };
    let mut stdin = child.stdin.take().expect("piped");
    let feed = tokio::spawn(async move { let _ = stdin.write_all(&body).await; });
    let Ok(output) = child.wait_with_output().await else { return status(StatusCode::INTERNAL_SERVER_ERROR, "") };
    let _ = feed.await;
    if pushing {
        let after = place.git.references().await.unwrap_or_default();
        let changes = pushes::changes(&before, &after);
        pushes::refs_changed(hub, &place, &Pusher::product(actor.login()), &changes).await;
    }
    drop(guard);
    let split = output.stdout.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(0);
    let head = String::from_utf8_lossy(&output.stdout[..split]).into_owned();
    let mut response = Response::new(Body::from(output.stdout[(split + 4).min(output.stdout.len())..].to_vec()));
    for line in head.lines() {
        if let Some((name, value)) = line.split_once(": ") {
            if name == "Status" {
                let code = value.split(' ').next().and_then(|c| c.parse().ok()).unwrap_or(500);
                *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::OK);
            } else if let (Ok(n), Ok(v)) = (axum::http::HeaderName::try_from(name), value.parse()) {
                response.headers_mut().insert(n, v);
            }
        }
    }
    response
}
