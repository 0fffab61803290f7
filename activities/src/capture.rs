//! A small HTTP server for tests of the adapters: keeps what it was sent and answers what the test says.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// `GET /repos/acme/shop?per_page=1`.
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    /// JSON body, else null.
    pub(crate) json: Value,
    /// Body as it came.
    pub(crate) text: String,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// What to answer.
#[derive(Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Option<Value>,
    text: Option<Vec<u8>>,
}

impl Reply {
    pub(crate) fn text(text: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: None, text: Some(text.into()) }
    }

    pub(crate) fn ok(body: Value) -> Self {
        Self::status(200, body)
    }

    pub(crate) fn status(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body: Some(body), text: None }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: None, text: None }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// For a call that the test did not plan: no success, and visible in the error.
    pub(crate) fn unplanned(call: &Call) -> Self {
        Self::status(418, serde_json::json!({"message": format!("unplanned {}", call.line)}))
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap();
        let mut response = match (self.body, self.text) {
            (Some(body), _) => (status, axum::Json(body)).into_response(),
            (None, Some(text)) => (status, text).into_response(),
            (None, None) => status.into_response(),
        };
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    }
}

/// The server; it lives as long as the test's runtime.
#[derive(Clone)]
pub(crate) struct Capture {
    pub(crate) url: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Capture {
    pub(crate) async fn start(answer: impl FnMut(&Call) -> Reply + Send + 'static) -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(Mutex::new(answer));
        let kept = Arc::clone(&calls);
        let handler = async move |request: Request| {
            let call = received(request).await;
            kept.lock().unwrap().push(call.clone());
            (answer.lock().unwrap())(&call)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handler)).await });
        Self { url, calls }
    }

    /// All calls so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// The request lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.calls().into_iter().map(|call| call.line).collect()
    }

    /// The calls that change something.
    pub(crate) fn writes(&self) -> Vec<Call> {
        self.calls().into_iter().filter(|call| !call.line.starts_with("GET ")).collect()
    }
}

async fn received(request: Request) -> Call {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    Call {
        line: format!("{} {}", parts.method, parts.uri),
        headers: parts.headers,
        json: serde_json::from_slice(&body).unwrap_or_default(),
        text: String::from_utf8_lossy(&body).into_owned(),
    }
}

/// URL of a server that reads a request's beginning and hangs up.
pub(crate) async fn hangs_up() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let _ = connection.read(&mut [0; 64]).await;
        }
    });
    url
}
