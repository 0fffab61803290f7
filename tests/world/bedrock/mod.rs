//! Stand-in of Amazon Bedrock: `Converse` and `ConverseStream` with checked signatures, checked requests and a
//! scripted model that fails on extra turns and reports unused ones.

mod conversation;
mod request;
mod script;
mod sigv4;
mod stream;
#[cfg(test)]
mod tests;
mod usage;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use chrono::Utc;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{effects::Effects, world::Credentials};
use conversation::{Book, Outcome};
pub use script::{Call, Conversation, Fault, Pattern, Script, Stop, Turn};
pub use usage::Usage;

/// Path prefix under which the world mounts this stand-in; part of what the client signed.
const MOUNT: &str = "/bedrock";

/// Largest request body taken, as the service's own limit for Converse.
const MAX_BODY: usize = 25 * 1024 * 1024;

/// One request as it was received and understood.
#[derive(Debug, Clone, Serialize)]
pub struct RecordedRequest {
    /// Model or inference profile id, decoded.
    pub model: String,
    /// `requestMetadata`, or null.
    pub metadata: Value,
    /// The whole body.
    pub body: Value,
    /// Number of the script's conversation, from 1; `None` when none fits.
    pub conversation: Option<usize>,
    /// Number of the turn within it, from 1.
    pub turn: usize,
}

/// The stand-in; cloning shares its state.
#[derive(Debug, Clone)]
pub struct Bedrock {
    access_key_id: String,
    secret_access_key: String,
    effects: Effects,
    state: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    book: Book,
    cache: usage::PromptCache,
    requests: Vec<RecordedRequest>,
}

impl Bedrock {
    /// A model with an empty script.
    pub fn new(credentials: &Credentials, effects: &Effects) -> Self {
        Self {
            access_key_id: credentials.aws_access_key_id.clone(),
            secret_access_key: credentials.aws_secret_access_key.clone(),
            effects: effects.clone(),
            state: Arc::default(),
        }
    }

    /// Routes below the stand-in's prefix.
    pub fn router(&self) -> axum::Router {
        axum::Router::new()
            .route("/model/{model}/converse-stream", post(converse_stream))
            .route("/model/{model}/converse", post(converse))
            .fallback(unexpected)
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(self.clone())
    }

    /// Replaces the script and forgets which conversations were held.
    pub fn set_script(&self, script: Script) {
        self.lock().book = Book::new(script);
    }

    /// Turns of the script that were never answered; empty when the product did all it was expected to.
    pub fn unused_turns(&self) -> Vec<String> {
        self.lock().book.unused_turns()
    }

    /// Every well-formed request so far, in order.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.lock().requests.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn error(&self, kind: &str, message: &str, retry_after: Option<u64>) -> Response {
        let status = match kind {
            "MissingAuthenticationTokenException"
            | "IncompleteSignatureException"
            | "UnrecognizedClientException"
            | "InvalidSignatureException" => 403,
            other => script::status_of(other).unwrap_or(500),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(json!({"message": message}))).into_response();
        let headers = response.headers_mut();
        let kind = format!("{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/");
        if let Ok(value) = kind.parse() {
            headers.insert("x-amzn-errortype", value);
        }
        if let Some(seconds) = retry_after {
            headers.insert("retry-after", seconds.into());
        }
        response
    }

    /// Checks and understands a call; the error is a finished reply.
    fn take(&self, call: &Received<'_>) -> Result<Taken, Box<Response>> {
        let signed = sigv4::Signed {
            method: "POST",
            path: &format!("{MOUNT}{}", call.uri.path()),
            query: call.uri.query().unwrap_or_default(),
            headers: call.headers,
            body: call.body,
        };
        if let Err(refusal) = sigv4::verify(&self.access_key_id, &self.secret_access_key, &signed, Utc::now()) {
            return Err(Box::new(self.error(refusal.kind, &refusal.message, None)));
        }
        let body: Value = serde_json::from_slice(call.body).unwrap_or(Value::Null);
        if let Err(message) = request::check(&body) {
            return Err(Box::new(self.invalid(call, &message, body)));
        }
        let metadata = body["requestMetadata"].clone();
        let mut inner = self.lock();
        let asked = inner.book.ask(&body, call.body);
        let recorded = RecordedRequest {
            model: call.model.to_owned(),
            metadata: metadata.clone(),
            body: body.clone(),
            conversation: asked.conversation.map(|n| n + 1),
            turn: asked.turn + 1,
        };
        inner.requests.push(recorded);
        let agent = metadata["agent"].as_str().unwrap_or("unnamed").to_owned();
        let mut detail = json!({
            "model": call.model, "conversation": asked.conversation.map(|n| n + 1), "turn": asked.turn + 1,
            "run": metadata["run"],
        });
        match asked.outcome {
            Outcome::Refused(message) => {
                drop(inner);
                Err(Box::new(self.invalid(call, &format!("scripted model: {message}"), body)))
            }
            Outcome::Faulted(Fault::Error { error, retry_after, .. }) => {
                drop(inner);
                detail["fault"] = json!(error);
                self.effects.record("bedrock", "turn.faulted", agent, detail);
                Err(Box::new(self.error(&error, "scripted trouble", retry_after)))
            }
            Outcome::Faulted(fault) => {
                detail["fault"] = json!(format!("{fault:?}"));
                drop(inner);
                self.effects.record("bedrock", "turn.faulted", agent, detail);
                let answer = stream::Answer { content: asked.content, stop: asked.stop, usage: NOTHING, latency_ms: 0 };
                Ok(Taken { answer, delay: asked.delay, fault: Some(fault) })
            }
            Outcome::Answered { again } => {
                let output: usize = asked.content.iter().map(|block| block.to_string().len()).sum();
                let usage = match inner.cache.account(call.model, call.body, output, Instant::now()) {
                    Ok(usage) => usage,
                    Err(error) => {
                        drop(inner);
                        return Err(Box::new(self.invalid(call, &error.to_string(), body)));
                    }
                };
                drop(inner);
                detail["usage"] = json!(usage);
                if let Some(same_body) = again {
                    detail["same_body"] = json!(same_body);
                    self.effects.record("bedrock", "turn.repeated", agent.clone(), detail.clone());
                }
                self.effects.record("bedrock", "turn.answered", agent, detail);
                let latency_ms = u64::try_from(asked.delay.as_millis()).unwrap_or(u64::MAX);
                let answer = stream::Answer { content: asked.content, stop: asked.stop, usage, latency_ms };
                Ok(Taken { answer, delay: asked.delay, fault: None })
            }
        }
    }

    fn invalid(&self, call: &Received<'_>, message: &str, body: Value) -> Response {
        let detail = json!({"error": message, "model": call.model, "body": body});
        self.effects.record_unexpected("bedrock", format!("POST {}", call.uri.path()), detail);
        self.error("ValidationException", message, None)
    }
}

/// Usage of an answer that is never finished and so never reported.
const NOTHING: Usage = Usage {
    input_tokens: 0,
    output_tokens: 0,
    total_tokens: 0,
    cache_read_input_tokens: 0,
    cache_write_input_tokens: 0,
};

struct Received<'a> {
    model: &'a str,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    body: &'a [u8],
}

/// A call that will be answered, or begun and broken off.
struct Taken {
    answer: stream::Answer,
    delay: Duration,
    fault: Option<Fault>,
}

async fn converse(
    State(bedrock): State<Bedrock>,
    Path(model): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let taken = match bedrock.take(&Received { model: &model, uri: &uri, headers: &headers, body: &body }) {
        Ok(taken) => taken,
        Err(response) => return *response,
    };
    tokio::time::sleep(taken.delay).await;
    match taken.fault {
        Some(Fault::MidStream { mid_stream, .. }) => bedrock.error(&mid_stream, "scripted trouble", None),
        Some(_) => crate::faults::cut_connection(),
        None => axum::Json(taken.answer.whole()).into_response(),
    }
}

async fn converse_stream(
    State(bedrock): State<Bedrock>,
    Path(model): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let taken = match bedrock.take(&Received { model: &model, uri: &uri, headers: &headers, body: &body }) {
        Ok(taken) => taken,
        Err(response) => return *response,
    };
    let mut frames: Vec<std::io::Result<Bytes>> = taken.answer.frames().into_iter().map(Ok).collect();
    match taken.fault {
        Some(Fault::Cut { cut_after_bytes, .. }) => {
            let mut all = frames.into_iter().flatten().collect::<Vec<Bytes>>().concat();
            all.truncate(cut_after_bytes);
            frames = vec![Ok(all.into()), Err(std::io::Error::other("stream cut on purpose"))];
        }
        Some(Fault::MidStream { mid_stream, .. }) => {
            frames.truncate(2);
            frames.push(Ok(stream::exception(&mid_stream, "scripted trouble")));
        }
        Some(Fault::Error { .. }) | None => {}
    }
    let delay = taken.delay;
    let paced = futures::stream::unfold((frames.into_iter(), delay), |(mut frames, wait)| async move {
        let frame = frames.next()?;
        tokio::time::sleep(wait).await;
        // Each frame on its own: a cut must not swallow what was sent before it.
        tokio::task::yield_now().await;
        Some((frame, (frames, Duration::ZERO)))
    });
    let mut response = Response::new(Body::from_stream(paced));
    response.headers_mut().insert("content-type", axum::http::HeaderValue::from_static(EVENT_STREAM));
    response
}

const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";

async fn unexpected(State(bedrock): State<Bedrock>, method: Method, uri: Uri, body: Bytes) -> Response {
    let call = format!("{method} {}", uri.path());
    bedrock.effects.record_unexpected("bedrock", call.clone(), json!(String::from_utf8_lossy(&body)));
    let message = format!("the world's Bedrock does not know {call}");
    (StatusCode::NOT_IMPLEMENTED, axum::Json(json!({"message": message}))).into_response()
}
