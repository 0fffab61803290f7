//! Read-only calls of `check`: one request, its status, headers and JSON.

use std::error::Error;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

/// Longest wait for one reply; a service gets more than one within its limit.
const TIMEOUT: Duration = Duration::from_secs(8);

/// A reply.
pub(super) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// Its JSON, or null.
    pub body: Value,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A client that says who asks.
pub(super) fn client() -> Result<Client, String> {
    let agent = concat!("ticketwright/", env!("CARGO_PKG_VERSION"));
    Client::builder().timeout(TIMEOUT).user_agent(agent).build().map_err(|error| error.to_string())
}

/// Sends `request`. The error says why there was no reply.
pub(super) async fn ask(request: RequestBuilder) -> Result<Answer, String> {
    let reply = request.send().await.map_err(why)?;
    let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
    let body = reply.bytes().await.map_err(why)?;
    Ok(Answer { status, headers, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}

/// The innermost cause: the outer ones only say that a request failed.
fn why(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
