//! What a stand-in does with a description: it lets in what is described, and vouches for its own answers.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::{Description, Operation};
use crate::effects::Effects;

/// Largest body that is read, in bytes.
const LIMIT: usize = 32 * 1024 * 1024;

/// Why a request is not let in; it is in the record of effects already.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// 501 when there is no such operation, 400 when the request is not as described.
    pub(crate) status: StatusCode,
    /// What is wrong, in one line.
    pub(crate) message: String,
}

impl Description {
    /// Holds a request against the description. `beyond` tells what the service wants of a body that its description does not
    /// say, in lines as the description's own: `body at /a/b: ...`.
    pub(crate) async fn admit(
        &self,
        effects: &Effects,
        request: Request,
        beyond: impl FnOnce(&Operation, &Value) -> Vec<String>,
    ) -> Result<(&Operation, Request), Refusal> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, LIMIT).await.unwrap_or_default();
        let path = format!("{}{}", self.base, parts.uri.path());
        let query = parts.uri.query().unwrap_or_default();
        let call = format!("{} {}{}", parts.method, self.base, parts.uri);
        let text = String::from_utf8_lossy(&body);
        let Some(operation) = self.operation(&parts.method, &path) else {
            effects.record_unexpected(self.service, call.clone(), json!(text));
            let message = format!("the world's {} does not know {call}: it is not in the description", self.service);
            return Err(Refusal { status: StatusCode::NOT_IMPLEMENTED, message });
        };
        let mut faults = operation.faults(&path, query, kind(&parts.headers), &body);
        if faults.is_empty() && !body.is_empty() {
            faults.extend(beyond(operation, &serde_json::from_slice(&body).unwrap_or_default()));
        }
        if faults.is_empty() {
            return Ok((operation, Request::from_parts(parts, Body::from(body))));
        }
        effects.record_unexpected(self.service, call, json!({"not as described": faults, "body": text}));
        let message = format!("{}: {}", operation.name(), faults.join("; "));
        Err(Refusal { status: StatusCode::BAD_REQUEST, message })
    }

    /// Holds an answer against the description. It goes out as it is, but tests fail on the record.
    pub(crate) async fn vouch(&self, effects: &Effects, operation: &Operation, answer: Response) -> Response {
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, LIMIT).await.unwrap_or_default();
        let faults = operation.faults_of_answer(parts.status.as_u16(), kind(&parts.headers), &body);
        if !faults.is_empty() {
            let detail = json!({"not as described": faults, "status": parts.status.as_u16()});
            effects.record_unexpected(self.service, format!("answer to {}", operation.name()), detail);
        }
        Response::from_parts(parts, Body::from(body))
    }
}

fn kind(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}
