//! Planned trouble: one error reply, or a connection that is cut after the effect has happened.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use super::hub::Hub;
use super::reply::{Failure, respond};

/// What goes wrong, once, for the first call that fits.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    /// `POST /repos/acme/shop-api/pulls`: method and the beginning of the path.
    call: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Error { status: u16, headers: Vec<(String, String)> },
    CutAfterEffect,
}

impl Fault {
    pub(super) fn error(call: &str, status: u16, headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { call: call.to_owned(), kind: Kind::Error { status, headers } }
    }

    pub(super) fn cut(call: &str) -> Self {
        Self { call: call.to_owned(), kind: Kind::CutAfterEffect }
    }
}

impl Hub {
    /// Takes the error planned for this call. `path` is the whole path below the stand-in's prefix.
    pub(super) fn planned_error(&self, method: &str, path: &str) -> Option<Response> {
        let fault = self.take(method, path, |kind| matches!(kind, Kind::Error { .. }))?;
        let Kind::Error { status, headers } = fault.kind else { return None };
        let message = match status {
            403 | 429 => "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
            500.. => "Server Error",
            _ => "planned by the test",
        };
        let mut response = respond(Err(Failure::new(status, message)));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
                response.headers_mut().insert(name, value);
            }
        }
        Some(response)
    }

    /// Whether the reply to this call is to be lost.
    pub(super) fn planned_cut(&self, method: &str, path: &str) -> bool {
        self.take(method, path, |kind| matches!(kind, Kind::CutAfterEffect)).is_some()
    }

    fn take(&self, method: &str, path: &str, of: impl Fn(&Kind) -> bool) -> Option<Fault> {
        let full = format!("{method} {path}");
        let short = format!("{method} {}", path.strip_prefix("/api/v3").unwrap_or(path));
        let mut faults = self.faults.lock().expect("no one panics while holding the faults");
        let fits = |fault: &Fault| full.starts_with(&fault.call) || short.starts_with(&fault.call);
        let at = faults.iter().position(|fault| of(&fault.kind) && fits(fault))?;
        Some(faults.remove(at))
    }
}

/// A reply whose body breaks before its first byte: the server closes the connection, and the client cannot know
/// what happened.
pub(super) fn cut() -> Response {
    let broken = futures::stream::once(async { Err::<bytes::Bytes, _>(std::io::Error::other("connection cut")) });
    Response::new(Body::from_stream(broken))
}
