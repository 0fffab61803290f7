//! Stand-in of Amazon Bedrock: `Converse` and `ConverseStream` with checked signatures, checked requests and a
//! scripted model that fails on extra turns and reports unused ones.

mod conversation;
mod delivery;
#[cfg(test)]
mod fault_tests;
mod holds;
mod prefix;
mod request;
mod script;
mod sigv4;
mod stream;
#[cfg(test)]
mod tests;
mod usage;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

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
use delivery::{Delivery, Step};
use holds::Holds;
pub use script::{Call, Conversation, Counts, Fault, Garbling, Hold, Moment, Pattern, Script, Stop, Turn};
use stream::{Answer, Block};
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
    prefixes: prefix::Prefixes,
    holds: Holds,
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
        let mut inner = self.lock();
        inner.holds = Holds::new(script.holds());
        inner.book = Book::new(script);
    }

    /// Waits until a request stands at this hold of the script.
    ///
    /// # Errors
    /// The script has no such hold, or no request came there in time.
    pub async fn held(&self, hold: &str, limit: Duration) -> anyhow::Result<()> {
        let holds = self.lock().holds.clone();
        holds.held(hold, limit).await
    }

    /// Lets the request at this hold go on. One that is not there yet will not stop.
    ///
    /// # Errors
    /// The script has no such hold.
    pub fn release(&self, hold: &str) -> anyhow::Result<()> {
        self.lock().holds.release(hold)
    }

    /// Requests that did not begin with the bytes that their run had sent before, up to the last cache point: the prompt
    /// cache missed them. Empty when the product keeps its prompts stable.
    pub fn broken_prefixes(&self) -> Vec<String> {
        self.lock().prefixes.broken().to_vec()
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
        if let Err(error) = inner.prefixes.compare(&body, call.body) {
            drop(inner);
            return Err(Box::new(self.invalid(call, &error.to_string(), body)));
        }
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
                let mut answer = Answer { content: asked.content, stop: asked.stop, usage: NOTHING, latency_ms: 0 };
                let steps = match delivery::steps(&answer, None, Some(&fault)) {
                    Ok(steps) => steps,
                    Err(problem) => {
                        drop(inner);
                        return Err(Box::new(self.invalid(call, &format!("scripted model: {problem}"), body)));
                    }
                };
                // What the service bills for a reply that is lost on its way: the prompt, and what was streamed.
                let streamed =
                    steps.iter().map(|step| if let Step::Send(bytes) = step { bytes.len() } else { 0 }).sum();
                let output = answer.content.iter().map(Block::bytes).sum::<usize>().min(streamed);
                let counted = inner.cache.account(call.model, call.body, output, Instant::now());
                drop(inner);
                answer.usage = counted.map_err(|error| Box::new(self.invalid(call, &error.to_string(), body)))?;
                detail["fault"] = json!(format!("{fault:?}"));
                detail["usage"] = json!(answer.usage);
                self.effects.record("bedrock", "turn.faulted", agent, detail);
                let delivery = Delivery { steps, delay: asked.delay, pace: asked.pace, holds: Holds::default() };
                Ok(Taken { answer, delivery, hold: None, fault: Some(fault), finished: None })
            }
            Outcome::Answered { again } => {
                let output: usize = asked.content.iter().map(Block::bytes).sum();
                let counted = inner.cache.account(call.model, call.body, output, Instant::now());
                let holds = inner.holds.clone();
                drop(inner);
                let counted = counted.map_err(|error| Box::new(self.invalid(call, &error.to_string(), body)))?;
                let usage = counted.with(asked.counts);
                detail["usage"] = json!(usage);
                if let Some(same_body) = again {
                    detail["same_body"] = json!(same_body);
                    self.effects.record("bedrock", "turn.repeated", agent.clone(), detail.clone());
                }
                self.effects.record("bedrock", "turn.answered", agent.clone(), detail.clone());
                let latency_ms = u64::try_from(asked.delay.as_millis()).unwrap_or(u64::MAX);
                let answer = Answer { content: asked.content, stop: asked.stop, usage, latency_ms };
                let steps = delivery::steps(&answer, asked.hold.as_ref(), None).unwrap_or_default();
                let delivery = Delivery { steps, delay: asked.delay, pace: asked.pace, holds };
                Ok(Taken { answer, delivery, hold: asked.hold, fault: None, finished: Some((agent, detail)) })
            }
        }
    }

    /// The whole answer is out.
    fn finished(&self, answer: Option<(String, Value)>) {
        if let Some((agent, detail)) = answer {
            self.effects.record("bedrock", "turn.finished", agent, detail);
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
    answer: Answer,
    delivery: Delivery,
    hold: Option<Hold>,
    fault: Option<Fault>,
    /// Agent and detail to record when the whole answer is out.
    finished: Option<(String, Value)>,
}

impl Taken {
    /// Waits at the places before the first byte.
    async fn begin(&self) {
        if let Some(hold) = self.hold.as_ref().filter(|hold| hold.at == Moment::Start) {
            self.delivery.holds.pass(&hold.name).await;
        }
    }

    /// Waits at the other places, for an answer that goes out in one piece.
    async fn whole(&self) {
        tokio::time::sleep(self.delivery.delay).await;
        for step in &self.delivery.steps {
            if let Step::Hold(name) = step {
                self.delivery.holds.pass(name).await;
            }
        }
    }
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
    taken.begin().await;
    taken.whole().await;
    match taken.fault {
        Some(Fault::MidStream { mid_stream, .. }) => bedrock.error(&mid_stream, "scripted trouble", None),
        Some(Fault::Silent { .. }) => std::future::pending().await,
        Some(_) => crate::faults::cut_connection(),
        None => {
            bedrock.finished(taken.finished);
            axum::Json(taken.answer.whole()).into_response()
        }
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
    taken.begin().await;
    let finished = taken.finished;
    taken.delivery.response(move || bedrock.finished(finished.clone()))
}

async fn unexpected(State(bedrock): State<Bedrock>, method: Method, uri: Uri, body: Bytes) -> Response {
    let call = format!("{method} {}", uri.path());
    bedrock.effects.record_unexpected("bedrock", call.clone(), json!(String::from_utf8_lossy(&body)));
    let message = format!("the world's Bedrock does not know {call}");
    (StatusCode::NOT_IMPLEMENTED, axum::Json(json!({"message": message}))).into_response()
}
