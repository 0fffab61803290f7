//! Every answer the ingress gives, and its status. Bodies are JSON and never tell an internal cause.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::config::Service;
use crate::dispatch::Outcome;
use crate::signature::Unsigned;
use crate::start::StartOutcome;

/// Seconds after which a sender may try again when Temporal is away.
const RETRY_AFTER: u64 = 15;

/// An answer.
#[derive(Debug)]
pub enum Reply {
    /// The process is up.
    Alive,
    /// Temporal is reachable.
    Ready,
    /// A workflow was started or told, or there was none to tell.
    Done(Outcome),
    /// Slack's click was taken: an empty 200 leaves the message as it is.
    Clicked,
    /// A message for the person who gave a command.
    Told(Value),
    /// The text with which Slack tests an address.
    Challenge(String),
    /// Not for us, and why.
    Ignored(String),
    /// The body is signed but cannot be read.
    Unreadable(String),
    /// The sender did not prove who it is.
    Unsigned(Unsigned),
    /// No such route.
    NotFound,
    /// The route exists, but not for this method.
    WrongMethod,
    /// The body took too long to arrive.
    TooSlow,
    /// The body is over the cap.
    TooLarge,
    /// A defect of ours.
    Broken,
    /// The route has no secret. 503, so that a sender that retries loses nothing once it is switched on.
    Off(Service),
    /// Temporal is away: try again.
    Unavailable,
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let (status, body) = self.parts();
        let mut response = match body {
            Some(body) => (status, Json(body)).into_response(),
            None => status.into_response(),
        };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        }
        response
    }
}

impl Reply {
    fn parts(self) -> (StatusCode, Option<Value>) {
        let error = |text: String| Some(json!({ "error": text }));
        match self {
            Self::Alive => (StatusCode::OK, Some(json!({"status": "ok"}))),
            Self::Ready => (StatusCode::OK, Some(json!({"status": "ready"}))),
            Self::Done(outcome) => {
                let (status, body) = done(outcome);
                (status, Some(body))
            }
            Self::Clicked => (StatusCode::OK, None),
            Self::Told(message) => (StatusCode::OK, Some(message)),
            Self::Challenge(challenge) => (StatusCode::OK, Some(json!({ "challenge": challenge }))),
            Self::Ignored(why) => (StatusCode::OK, Some(json!({ "ignored": why }))),
            Self::Unreadable(reason) => (StatusCode::BAD_REQUEST, error(reason)),
            Self::Unsigned(reason) => (StatusCode::UNAUTHORIZED, error(reason.to_string())),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                error("no such route: there are /webhooks/jira, /webhooks/github, /webhooks/sentry, /slack/commands, /slack/events, /slack/interactions, /healthz and /readyz".into()),
            ),
            Self::WrongMethod => (StatusCode::METHOD_NOT_ALLOWED, error("this route takes another method".into())),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, error("the request took too long to arrive".into())),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, error("the body is larger than 25 MiB".into())),
            Self::Broken => (StatusCode::INTERNAL_SERVER_ERROR, error("this is a defect; the log has the details".into())),
            Self::Off(service) => (
                StatusCode::SERVICE_UNAVAILABLE,
                error(format!("{service} is switched off here: set {} and restart the ingress", service.variable())),
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                error(format!("Temporal cannot be reached; nothing was done. Try again in {RETRY_AFTER} s")),
            ),
        }
    }
}

fn done(outcome: Outcome) -> (StatusCode, Value) {
    fn named(workflow_id: &str, outcome: &str) -> Value {
        let mut body = json!({"workflow_id": workflow_id, "outcome": outcome});
        if let Some(ticket) = workflow_id.strip_prefix("ticket-") {
            body["ticket"] = ticket.into();
        }
        body
    }
    match outcome {
        Outcome::Run(started) => {
            let mut body = named(&started.workflow_id, started.outcome.as_str());
            body["run_id"] = started.run_id.into();
            body["new"] = (started.outcome == StartOutcome::Started).into();
            (StatusCode::ACCEPTED, body)
        }
        Outcome::Told(run) => (StatusCode::ACCEPTED, named(&run, "told")),
        Outcome::Gathered(run) => (StatusCode::ACCEPTED, named(&run, "gathered")),
        Outcome::Closed(run, state) => {
            let mut body = named(&run, "closed");
            body["state"] = state.into();
            (StatusCode::OK, body)
        }
        Outcome::NoRun(run) => (StatusCode::OK, named(&run, "no_run")),
    }
}
