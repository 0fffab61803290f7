//! The routes. What a request gets: wrong signature 401, too large 413, unreadable 400, irrelevant 200, accepted 202,
//! Temporal down 503 (the sender tries again), anything else 404.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use secrecy::SecretString;
use serde_json::json;
use temporalio_client::Client;
use workflows::contract::trigger::Trigger;

use crate::access_log;
use crate::config::Config;
use crate::dispatch::{Dispatched, dispatch};
use crate::signature::{BadSignature, verify_hub, verify_slack};
use crate::start::StartError;
use crate::webhook::{Meaning, Unreadable, github, jira, slack};

/// GitHub's payload limit (<https://docs.github.com/en/webhooks/webhook-events-and-payloads>); nobody sends more.
const BODY_LIMIT: usize = 25 * 1024 * 1024;

/// What the routes share.
#[derive(Debug)]
pub struct Door {
    config: Config,
    /// Set once Temporal answers.
    temporal: OnceLock<Client>,
    http: reqwest::Client,
}

impl Door {
    /// A door that is not ready yet.
    pub fn new(config: Config) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(3)).build().unwrap_or_default();
        Self { config, temporal: OnceLock::new(), http }
    }

    /// Temporal answers: requests are served from now on.
    pub fn open(&self, client: Client) {
        let _ = self.temporal.set(client);
    }

    fn client(&self) -> Result<&Client, Refusal> {
        self.temporal.get().ok_or_else(|| Refusal::Unavailable("Temporal is not reached yet".to_owned()))
    }

    async fn take(&self, meaning: &Meaning) -> Result<Result<Dispatched, String>, Refusal> {
        match meaning {
            Meaning::Ignore(why) => Ok(Err(why.clone())),
            Meaning::Act(trigger) => Ok(Ok(self.dispatch(trigger).await?)),
        }
    }

    async fn dispatch(&self, trigger: &Trigger) -> Result<Dispatched, Refusal> {
        Ok(dispatch(self.client()?, trigger).await?)
    }
}

/// The application.
pub fn router(door: Arc<Door>) -> Router {
    Router::new()
        .route("/webhooks/jira", post(jira_webhook))
        .route("/webhooks/github", post(github_webhook))
        .route("/slack/interactions", post(slack_interaction))
        .route("/healthz", get(async || Json(json!({"status": "alive"}))))
        .route("/readyz", get(ready))
        .fallback(async || (StatusCode::NOT_FOUND, Json(json!({"error": "no such route"}))))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(axum::middleware::from_fn(access_log::log))
        .with_state(door)
}

async fn jira_webhook(State(door): State<Arc<Door>>, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    verify_hub(&door.config.jira_secret, text(&headers, "x-hub-signature"), &body)?;
    let meaning = jira::read(&body, &door.config.label, door.config.jira_bot.as_deref())?;
    Ok(answer(door.take(&meaning).await?))
}

async fn github_webhook(State(door): State<Arc<Door>>, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    verify_hub(&door.config.github_secret, text(&headers, "x-hub-signature-256"), &body)?;
    let event = text(&headers, "x-github-event").unwrap_or_default();
    let meaning = github::read(event, &body, &door.config.branches)?;
    Ok(answer(door.take(&meaning).await?))
}

async fn slack_interaction(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let secret: &SecretString = door.config.slack_secret.as_ref().ok_or(Refusal::SlackIsOff)?;
    let now = chrono::Utc::now().timestamp();
    let (signature, sent) = (text(&headers, "x-slack-signature"), text(&headers, "x-slack-request-timestamp"));
    verify_slack(secret, signature, sent, now, &body)?;
    let interaction = slack::read(&body)?;
    let taken = door.take(&interaction.meaning).await?;
    if let (Ok(Dispatched { remark: Some(remark), .. }), Some(url)) = (&taken, interaction.response_url) {
        // Slack waits 3 s for us; its answer to the person may take its own time.
        let message = json!({"response_type": "ephemeral", "replace_original": false, "text": remark});
        let request = door.http.post(url).json(&message);
        tokio::spawn(async move {
            if let Err(error) = request.send().await {
                tracing::warn!(error = %error.without_url(), "the person who clicked was not told");
            }
        });
    }
    // Slack shows any body as a message, so a click is answered with none.
    Ok(StatusCode::OK.into_response())
}

async fn ready(State(door): State<Arc<Door>>) -> Response {
    use temporalio_client::grpc::WorkflowService;
    use temporalio_client::tonic::IntoRequest;
    use temporalio_common::protos::temporal::api::workflowservice::v1::GetSystemInfoRequest;

    let Some(client) = door.temporal.get() else {
        return Refusal::Unavailable("Temporal is not reached yet".to_owned()).into_response();
    };
    let asked = client.clone();
    let asking = async move { asked.clone().get_system_info(GetSystemInfoRequest::default().into_request()).await };
    match tokio::time::timeout(Duration::from_secs(2), asking).await {
        Ok(Ok(_)) => Json(json!({"status": "ready"})).into_response(),
        _ => Refusal::Unavailable("Temporal does not answer".to_owned()).into_response(),
    }
}

fn answer(taken: Result<Dispatched, String>) -> Response {
    match taken {
        Ok(dispatched) if dispatched.accepted => (StatusCode::ACCEPTED, Json(dispatched.answer)).into_response(),
        Ok(dispatched) => Json(dispatched.answer).into_response(),
        Err(why) => Json(json!({"ignored": why})).into_response(),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Why a request is not served. Bodies never leak causes.
#[derive(Debug)]
enum Refusal {
    BadSignature,
    Unreadable(String),
    Unavailable(String),
    SlackIsOff,
}

impl From<BadSignature> for Refusal {
    fn from(_: BadSignature) -> Self {
        Self::BadSignature
    }
}

impl From<Unreadable> for Refusal {
    fn from(error: Unreadable) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<StartError> for Refusal {
    fn from(error: StartError) -> Self {
        tracing::error!(error = %error, "a verified webhook was not accepted; its sender tries again");
        Self::Unavailable("Temporal does not accept it now".to_owned())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let refuse = |status: StatusCode, why: String| (status, Json(json!({"error": why}))).into_response();
        match self {
            Self::BadSignature => refuse(StatusCode::UNAUTHORIZED, BadSignature.to_string()),
            Self::Unreadable(why) => refuse(StatusCode::BAD_REQUEST, why),
            Self::Unavailable(why) => {
                let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, why);
                response.headers_mut().insert("retry-after", axum::http::HeaderValue::from_static("5"));
                response
            }
            Self::SlackIsOff => refuse(
                StatusCode::NOT_FOUND,
                "Slack is off here: set SLACK_SIGNING_SECRET to switch it on".to_owned(),
            ),
        }
    }
}
