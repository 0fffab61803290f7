//! The world's Bedrock alone on a listener, renewed for each run: it keeps every request, and those of a long conversation
//! are megabytes each.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use tower::ServiceExt as _;
use world::Credentials;
use world::bedrock::{Bedrock, Script};
use world::effects::Effects;

use crate::credentials;

/// A running stand-in.
pub(crate) struct StandIn {
    /// Where the adapter reaches it.
    pub(crate) url: String,
    current: Arc<Mutex<Current>>,
    server: tokio::task::JoinHandle<()>,
}

struct Current {
    bedrock: Bedrock,
    effects: Effects,
    router: axum::Router,
}

impl Current {
    fn with(script: Script) -> Self {
        let [(_, id), (_, secret), ..] = credentials::VARIABLES;
        let credentials = Credentials {
            aws_access_key_id: id.to_owned(),
            aws_secret_access_key: secret.to_owned(),
            ..Credentials::random()
        };
        let effects = Effects::default();
        let bedrock = Bedrock::new(&credentials, &effects);
        bedrock.set_script(script);
        let router = axum::Router::new().nest("/bedrock", bedrock.router());
        Self { bedrock, effects, router }
    }
}

impl StandIn {
    /// Listens on a free port of loopback, without a script.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}/bedrock", listener.local_addr()?);
        let current = Arc::new(Mutex::new(Current::with(Script::default())));
        let app = axum::Router::new().fallback(pass_on).with_state(Arc::clone(&current));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!(%error, "the stand-in's listener ended");
            }
        });
        Ok(Self { url, current, server })
    }

    /// Begins anew with this script: what was asked and cached before is forgotten.
    pub(crate) fn play(&self, script: Script) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Current::with(script);
    }

    /// The body of the last request.
    pub(crate) fn last_request(&self) -> Option<Value> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.bedrock.requests().pop().map(|request| request.body)
    }

    /// What it recorded.
    pub(crate) fn effects(&self) -> Effects {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).effects.clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass_on(State(current): State<Arc<Mutex<Current>>>, request: Request) -> Response {
    let router = current.lock().unwrap_or_else(PoisonError::into_inner).router.clone();
    router.oneshot(request).await.into_response()
}
