//! One REST call and its answer, in GitHub's words.

use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};

use super::access::Actor;

/// A call that passed authentication.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Decoded path segments below `/api/v3`.
    pub(super) path: Vec<String>,
    /// Decoded query.
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) actor: Actor,
}

impl Call {
    /// A query parameter.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|v| !v.is_empty())
    }

    /// The body as an object.
    pub(super) fn json(&self) -> Result<Value, Failure> {
        if self.body.is_empty() {
            return Ok(json!({}));
        }
        match serde_json::from_slice::<Value>(&self.body) {
            Ok(value @ Value::Object(_)) => Ok(value),
            Ok(_) => Err(Failure::new(422, "Invalid request.\n\nFor 'links/0/schema', nil is not an object.")),
            Err(_) => Err(Failure::new(400, "Problems parsing JSON")),
        }
    }

    /// Whether `Accept` names this media type part.
    pub(super) fn accepts(&self, part: &str) -> bool {
        self.headers.get_all(header::ACCEPT).iter().any(|value| value.to_str().is_ok_and(|value| value.contains(part)))
    }

    /// Page number and size (30 unless told, 100 at most).
    pub(super) fn page(&self) -> (usize, usize) {
        let number = |name| self.query(name).and_then(|n| n.parse::<usize>().ok());
        (number("page").unwrap_or(1).max(1), number("per_page").unwrap_or(30).clamp(1, 100))
    }

    /// The asked page of a list, and the `Link` header that leads to its neighbours.
    pub(super) fn paged<T>(&self, list: Vec<T>, base: &str) -> (Vec<T>, Option<String>) {
        let (page, size) = self.page();
        let last = list.len().div_ceil(size).max(1);
        let url = |number: usize| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            for (key, value) in self.query.iter().filter(|(key, _)| key != "page") {
                query.append_pair(key, value);
            }
            query.append_pair("page", &number.to_string());
            let path: Vec<String> = self.path.iter().map(|segment| encode(segment)).collect();
            format!("{base}/api/v3/{}?{}", path.join("/"), query.finish())
        };
        let mut links = Vec::new();
        if page > 1 {
            links.push(format!("<{}>; rel=\"prev\"", url(page - 1)));
        }
        if page < last {
            links.push(format!("<{}>; rel=\"next\"", url(page + 1)));
            links.push(format!("<{}>; rel=\"last\"", url(last)));
        }
        if page > 1 {
            links.push(format!("<{}>; rel=\"first\"", url(1)));
        }
        let items = list.into_iter().skip((page - 1) * size).take(size).collect();
        (items, (!links.is_empty()).then(|| links.join(", ")))
    }

    /// A plain list as an answer.
    pub(super) fn list(&self, list: Vec<Value>, base: &str) -> Reply {
        let (items, link) = self.paged(list, base);
        Reply::ok(Value::Array(items)).link(link)
    }
}

/// Percent-encodes one path segment.
pub(super) fn encode(segment: &str) -> String {
    const KEEP: percent_encoding::AsciiSet =
        percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    percent_encoding::utf8_percent_encode(segment, &KEEP).to_string()
}

/// Percent-encodes a path, leaving its slashes.
pub(super) fn encode_path(path: &str) -> String {
    path.split('/').map(encode).collect::<Vec<_>>().join("/")
}

/// A good answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// 200 with JSON.
    pub(super) fn ok(value: Value) -> Self {
        Self::with(200, value)
    }

    /// 201 with JSON.
    pub(super) fn created(value: Value) -> Self {
        Self::with(201, value)
    }

    /// JSON with a status.
    pub(super) fn with(status: u16, value: Value) -> Self {
        let headers = vec![("content-type", "application/json; charset=utf-8".to_owned())];
        Self { status, headers, body: value.to_string().into_bytes() }
    }

    /// No body.
    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Bytes of another type.
    pub(super) fn raw(content_type: &str, body: Vec<u8>) -> Self {
        Self { status: 200, headers: vec![("content-type", content_type.to_owned())], body }
    }

    /// Adds a `Link` header when there is one.
    pub(super) fn link(mut self, link: Option<String>) -> Self {
        self.headers.extend(link.map(|link| ("link", link)));
        self
    }
}

/// An error answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: u16,
    pub(super) message: String,
    pub(super) errors: Option<Value>,
}

impl Failure {
    /// A status with GitHub's message for it.
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), errors: None }
    }

    /// What GitHub says for anything that is not there or not visible.
    pub(super) fn not_found() -> Self {
        Self::new(404, "Not Found")
    }

    /// 422 with the `errors` list: a field of a resource is wrong.
    pub(super) fn field(resource: &str, field: &str, code: &str) -> Self {
        let errors = json!([{"resource": resource, "field": field, "code": code}]);
        Self { status: 422, message: "Validation Failed".into(), errors: Some(errors) }
    }

    /// 422 with the `errors` list: a rule in words.
    pub(super) fn rule(resource: &str, message: impl Into<String>) -> Self {
        let errors = json!([{"resource": resource, "code": "custom", "message": message.into()}]);
        Self { status: 422, message: "Validation Failed".into(), errors: Some(errors) }
    }

    /// As an answer.
    pub(super) fn reply(self) -> Reply {
        let mut body = json!({
            "message": self.message,
            "documentation_url": "https://docs.github.com/rest",
            "status": self.status.to_string(),
        });
        if let Some(errors) = self.errors {
            body["errors"] = errors;
        }
        Reply::with(self.status, body)
    }
}

impl From<anyhow::Error> for Failure {
    /// A git command failed where it should not: the stand-in's own fault, so 500 with the whole chain.
    fn from(error: anyhow::Error) -> Self {
        Self::new(500, format!("the stand-in of GitHub failed: {error:#}"))
    }
}

/// What a handler returns.
pub(super) type Answer = Result<Reply, Failure>;

/// Turns an answer into HTTP.
pub(super) fn respond(answer: Answer) -> Response {
    let reply = answer.unwrap_or_else(Failure::reply);
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in reply.headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().append(name, value);
        }
    }
    response
}
