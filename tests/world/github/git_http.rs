//! git over smart HTTP: git's own server program behind HTTP, as a CGI.
//! <https://git-scm.com/docs/git-http-backend>, <https://git-scm.com/docs/http-protocol>

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context as _;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::{OnceCell, mpsc};

use super::access::Actor;
use super::events::SharedHub;
use super::git::git_command;
use super::hub::{Hub, Place};
use super::pushes::{Pusher, changes, refs_changed};

const SERVICES: [&str; 3] = ["/info/refs", "/git-upload-pack", "/git-receive-pack"];

/// Whether a path below the stand-in's prefix belongs to git. The `.git` may be left out, as on GitHub.
pub(super) fn is_git(path: &str) -> bool {
    split(path).is_some()
}

/// `/acme/shop-api.git/info/refs` as (owner, name, service).
fn split(path: &str) -> Option<(&str, &str, &'static str)> {
    let service = SERVICES.into_iter().find(|service| path.ends_with(service))?;
    let (owner, name) = path.strip_suffix(service)?.trim_start_matches('/').split_once('/')?;
    (!name.contains('/')).then(|| (owner, name.strip_suffix(".git").unwrap_or(name), service))
}

/// Serves one git request. A push is complete, with all that follows from it, before its reply ends; with `wait` before
/// its reply begins.
pub(super) async fn serve(hub: &SharedHub, request: Request, wait: bool) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let Some((owner, name, service)) = split(&path) else { return plain(StatusCode::NOT_FOUND, "Not Found") };
    let Ok(actor) = hub.authenticate_git(&parts.headers) else {
        let mut refused = plain(StatusCode::UNAUTHORIZED, "Invalid username or token.");
        refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"GitHub\""));
        return refused;
    };
    let Ok(place) = hub.find(owner, name) else { return plain(StatusCode::NOT_FOUND, "Repository not found.") };
    let push = service == "/git-receive-pack" || parts.uri.query().is_some_and(|q| q.contains("git-receive-pack"));
    if let Actor::Installation { token, .. } = &actor
        && hub.check_installation(token, &place.full, "contents", push).is_err()
    {
        return plain(StatusCode::FORBIDDEN, "Write access to repository not granted.");
    }
    let pusher = Pusher::product(actor.login());
    let result = Backend { hub: hub.clone(), place, pusher }.call(parts, body, service, wait).await;
    result.unwrap_or_else(|error| {
        tracing::error!("git over HTTP failed: {error:#}");
        plain(StatusCode::INTERNAL_SERVER_ERROR, "the stand-in of GitHub failed to run git")
    })
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

/// Path of `git-http-backend`, asked once.
async fn backend_program() -> anyhow::Result<PathBuf> {
    static PROGRAM: OnceCell<PathBuf> = OnceCell::const_new();
    let find = async || {
        let mut command = git_command();
        let out = super::git::finish(
            {
                command.arg("--exec-path");
                command
            },
            None,
        )
        .await?;
        let program = PathBuf::from(String::from_utf8(out)?.trim()).join("git-http-backend");
        anyhow::ensure!(program.exists(), "git has no http-backend at {}", program.display());
        Ok(program)
    };
    PROGRAM.get_or_try_init(find).await.cloned()
}

struct Backend {
    hub: SharedHub,
    place: Place,
    pusher: Pusher,
}

impl Backend {
    async fn call(self, parts: Parts, body: Body, service: &str, wait: bool) -> anyhow::Result<Response> {
        let header = |name: HeaderName| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let mut command = tokio::process::Command::new(backend_program().await?);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()))
            .env("HOME", "/nonexistent")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_COUNT", "2")
            .env("GIT_CONFIG_KEY_0", "core.hooksPath")
            .env("GIT_CONFIG_VALUE_0", "/dev/null")
            .env("GIT_CONFIG_KEY_1", "safe.directory")
            .env("GIT_CONFIG_VALUE_1", "*")
            .env("GIT_PROJECT_ROOT", &self.hub.directory)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", format!("/{}.git{service}", self.place.full))
            .env("REQUEST_METHOD", parts.method.as_str())
            .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
            .env("CONTENT_TYPE", header(header::CONTENT_TYPE))
            .env("HTTP_CONTENT_ENCODING", header(header::CONTENT_ENCODING))
            .env("GIT_PROTOCOL", header(HeaderName::from_static("git-protocol")))
            .env("REMOTE_USER", &self.pusher.login)
            .env("REMOTE_ADDR", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(length) = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()) {
            command.env("CONTENT_LENGTH", length);
        }
        let pushing = service == "/git-receive-pack";
        let guard = if pushing { Some(self.place.writing.clone().lock_owned().await) } else { None };
        let before = if pushing { self.place.git.references().await? } else { BTreeMap::default() };
        let mut child = command.spawn().context("git-http-backend does not start")?;
        let mut stdin = child.stdin.take().context("no input of git-http-backend")?;
        let mut stdout = BufReader::new(child.stdout.take().context("no output of git-http-backend")?);
        let mut stderr = child.stderr.take().context("no error output of git-http-backend")?;
        tokio::spawn(async move {
            let mut chunks = body.into_data_stream();
            while let Some(Ok(chunk)) = chunks.next().await {
                if stdin.write_all(&chunk).await.is_err() {
                    break;
                }
            }
            let _ = stdin.shutdown().await;
        });
        let complaints = tokio::spawn(async move {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text).await;
            text
        });
        let (status, headers) = cgi_head(&mut stdout).await?;
        let (sender, receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(16);
        // A task of its own: a push goes on to its end, with its webhooks, when the pusher hangs up meanwhile.
        let rest = tokio::spawn(async move {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = stdout.read(&mut buffer).await {
                if !wait {
                    let _ = sender.send(Ok(Bytes::copy_from_slice(&buffer[..length]))).await;
                }
            }
            let _ = child.wait().await;
            let complaints = complaints.await.unwrap_or_default();
            if !complaints.trim().is_empty() {
                tracing::debug!(repository = %self.place.full, "git-http-backend says: {}", complaints.trim());
            }
            if guard.is_some()
                && let Ok(after) = self.place.git.references().await
            {
                refs_changed(&self.hub, &self.place, &self.pusher, &changes(&before, &after)).await;
            }
            drop(guard);
            // The reply ends when the sender goes: after the effects.
            drop(sender);
        });
        if wait {
            rest.await.context("the push's task ended unexpectedly")?;
        }
        let stream = futures::stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
        let mut response = Response::new(Body::from_stream(stream));
        *response.status_mut() = status;
        for (name, value) in headers {
            response.headers_mut().insert(name, value);
        }
        Ok(response)
    }
}

/// Reads the head of a CGI answer: header lines up to an empty one; `Status` is the HTTP status.
async fn cgi_head(
    stdout: &mut BufReader<tokio::process::ChildStdout>,
) -> anyhow::Result<(StatusCode, Vec<(HeaderName, HeaderValue)>)> {
    let mut status = StatusCode::OK;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        anyhow::ensure!(stdout.read_line(&mut line).await? > 0, "git-http-backend ended without an answer");
        let line = line.trim_end();
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').context("git-http-backend sent a bad header")?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            status = value.split(' ').next().unwrap_or_default().parse()?;
        } else {
            headers.push((name.parse()?, value.parse()?));
        }
    }
}

impl Hub {
    /// Address that git clones from and pushes to.
    pub(super) fn clone_url(&self, place: &Place) -> String {
        format!("{}/{}.git", self.base, place.full)
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn paths_of_git_are_recognised() {
        assert_eq!(split("/acme/shop-api.git/info/refs"), Some(("acme", "shop-api", "/info/refs")));
        assert_eq!(split("/acme/shop-api/git-receive-pack"), Some(("acme", "shop-api", "/git-receive-pack")));
        assert_eq!(split("/acme/shop-api/pull/1"), None);
        assert_eq!(split("/acme/x/y/info/refs"), None);
    }
}
