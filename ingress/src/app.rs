//! The routes. Each webhook route takes only requests that prove where they come from; the extractor `Signed` sees to
//! that, so no handler can forget it.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use workflows::contract::trigger::Trigger;

use crate::access_log::access_log;
use crate::config::{Secret, Service, Settings};
use crate::dispatch::{Dispatcher, Outcome};
use crate::reply::Reply;
use crate::signature::{self, Unsigned};
use crate::temporal::{Temporal, TemporalError};
use crate::webhook::{Meaning, Unreadable, delivery_id, github, jira, sentry};
use crate::{slack_answer, slack_door};

/// Largest body, GitHub's own cap: <https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap>.
pub const BODY_LIMIT: usize = 25 * 1024 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long Temporal may take before we answer "try again": below each sender's own limit of 1 s, 3 s, 10 s and
/// about 20 s.
/// Sentry unsubscribes a webhook that is late too often.
const SENTRY_DEADLINE: Duration = Duration::from_millis(800);
pub(crate) const SLACK_DEADLINE: Duration = Duration::from_millis(2500);
const GITHUB_DEADLINE: Duration = Duration::from_secs(8);
const JIRA_DEADLINE: Duration = Duration::from_secs(10);

/// What the handlers share. Cloning shares it.
#[derive(Debug, Clone)]
pub struct App {
    settings: Arc<Settings>,
    dispatcher: Dispatcher,
    http: reqwest::Client,
}

impl App {
    /// An application that uses this connection to Temporal, which may come up later.
    ///
    /// # Errors
    /// When the system's TLS set-up is unusable.
    pub fn new(settings: Settings, temporal: Temporal) -> Result<Self, reqwest::Error> {
        let http = slack_answer::http_client()?;
        Ok(Self { settings: Arc::new(settings), dispatcher: Dispatcher::new(temporal), http })
    }

    /// What hands triggers to Temporal.
    pub fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// All routes.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/webhooks/jira", post(from_jira))
            .route("/webhooks/github", post(from_github))
            .route("/webhooks/sentry", post(from_sentry))
            .route("/slack/interactions", post(slack_door::interaction))
            .route("/slack/commands", post(slack_door::command))
            .route("/slack/events", post(slack_door::event))
            .route("/healthz", get(|| async { Reply::Alive }))
            .route("/readyz", get(readiness))
            .fallback(|| async { Reply::NotFound })
            .method_not_allowed_fallback(|| async { Reply::WrongMethod })
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .layer(CatchPanicLayer::custom(|_| Reply::Broken.into_response()))
            .layer(axum::middleware::from_fn(access_log))
            .with_state(self.clone())
    }

    /// The client for answers to Slack.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Label that hands a ticket over.
    pub(crate) fn label(&self) -> &str {
        &self.settings.label
    }

    pub(crate) async fn dispatch(
        &self,
        trigger: Trigger,
        delivery: &str,
        deadline: Duration,
    ) -> Result<Outcome, TemporalError> {
        let result = tokio::time::timeout(deadline, self.dispatcher.dispatch(trigger, delivery)).await;
        let result =
            result.unwrap_or_else(|_| Err(TemporalError::Unavailable(format!("no answer within {deadline:?}"))));
        match &result {
            Ok(outcome) => tracing::info!(delivery, ?outcome, "dispatched"),
            Err(TemporalError::Unavailable(_)) => {
                tracing::warn!(delivery, error = ?result, "not dispatched; the sender is asked to try again");
            }
            Err(error) => tracing::error!(delivery, %error, "not dispatched; the sender is asked to try again"),
        }
        result
    }

    pub(crate) async fn handle(
        &self,
        meaning: Result<Meaning, Unreadable>,
        delivery: &str,
        deadline: Duration,
    ) -> Reply {
        match meaning {
            Ok(Meaning::Trigger(trigger)) => match self.dispatch(trigger, delivery, deadline).await {
                Ok(outcome) => Reply::Done(outcome),
                Err(_) => Reply::Unavailable,
            },
            Ok(Meaning::Ignored(why)) => Reply::Ignored(why),
            Err(Unreadable(reason)) => Reply::Unreadable(reason),
        }
    }
}

async fn from_jira(State(app): State<App>, delivery: Signed<FromJira>) -> Reply {
    let settings = &app.settings;
    let rules = jira::Rules {
        label: &settings.label,
        bot_account_id: settings.jira_bot_account_id.as_deref(),
        now: chrono::Utc::now(),
    };
    app.handle(jira::read(&delivery.body, rules), &delivery.id, JIRA_DEADLINE).await
}

async fn from_github(State(app): State<App>, delivery: Signed<FromGitHub>) -> Reply {
    let Some(event) = delivery.headers.get("X-GitHub-Event").and_then(|event| event.to_str().ok()) else {
        return Reply::Unreadable("the header X-GitHub-Event is missing".into());
    };
    let meaning = github::read(event, &delivery.body, &app.settings.branches, &app.settings.handle);
    app.handle(meaning, &delivery.id, GITHUB_DEADLINE).await
}

async fn from_sentry(State(app): State<App>, delivery: Signed<FromSentry>) -> Reply {
    let Some(resource) = delivery.headers.get("Sentry-Hook-Resource").and_then(|resource| resource.to_str().ok())
    else {
        return Reply::Unreadable("the header Sentry-Hook-Resource is missing".into());
    };
    let meaning = sentry::read(resource, &delivery.body, chrono::Utc::now());
    app.handle(meaning, &delivery.id, SENTRY_DEADLINE).await
}

async fn readiness(State(app): State<App>) -> Reply {
    match app.dispatcher.temporal().check().await {
        Ok(()) => Reply::Ready,
        Err(error) => {
            tracing::warn!(%error, "not ready");
            Reply::Unavailable
        }
    }
}

/// A service that signs its requests.
pub(crate) trait Sender: Send + Sync + 'static {
    const SERVICE: Service;

    fn verify(secret: &Secret, headers: &HeaderMap, body: &[u8]) -> Result<(), Unsigned>;
}

struct FromJira;
struct FromGitHub;
pub(crate) struct FromSlack;
struct FromSentry;

impl Sender for FromJira {
    const SERVICE: Service = Service::Jira;

    fn verify(secret: &Secret, headers: &HeaderMap, body: &[u8]) -> Result<(), Unsigned> {
        signature::jira(secret, headers, body)
    }
}

impl Sender for FromGitHub {
    const SERVICE: Service = Service::GitHub;

    fn verify(secret: &Secret, headers: &HeaderMap, body: &[u8]) -> Result<(), Unsigned> {
        signature::github(secret, headers, body)
    }
}

impl Sender for FromSlack {
    const SERVICE: Service = Service::Slack;

    fn verify(secret: &Secret, headers: &HeaderMap, body: &[u8]) -> Result<(), Unsigned> {
        signature::slack(secret, headers, body, SystemTime::now())
    }
}

impl Sender for FromSentry {
    const SERVICE: Service = Service::Sentry;

    fn verify(secret: &Secret, headers: &HeaderMap, body: &[u8]) -> Result<(), Unsigned> {
        signature::sentry(secret, headers, body)
    }
}

/// A request that is proven to come from `S`: switched on, within the cap, signed.
pub(crate) struct Signed<S> {
    headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Id of the delivery, equal for every redelivery.
    pub(crate) id: String,
    sender: PhantomData<S>,
}

impl<S: Sender> FromRequest<App> for Signed<S> {
    type Rejection = Reply;

    async fn from_request(request: Request, app: &App) -> Result<Self, Reply> {
        let secret = app.settings.secret(S::SERVICE).ok_or(Reply::Off(S::SERVICE))?;
        let headers = request.headers().clone();
        let body = tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, app)).await;
        let body = body.map_err(|_| Reply::TooSlow)?.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Reply::TooLarge
            } else {
                Reply::Unreadable("the body did not arrive whole".into())
            }
        })?;
        S::verify(secret, &headers, &body).map_err(|reason| {
            tracing::warn!(sender = %S::SERVICE, %reason, "refused");
            Reply::Unsigned(reason)
        })?;
        let id = delivery_id(S::SERVICE, &body);
        Ok(Self { headers, body, id, sender: PhantomData })
    }
}
