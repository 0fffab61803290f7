//! One line per request: time, request id, client address, method, route, status, response length, duration. Never bodies,
//! headers, query strings or raw paths: secrets and people's data travel there.

use std::net::SocketAddr;
use std::time::Instant;

use axum::body::HttpBody;
use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;
use uuid::Uuid;

/// Reply header with the id under which the log knows the request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Logs a request once it is answered, and gives it an id. An id sent by the client is not used: anybody could repeat one.
pub(crate) async fn access_log(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = Uuid::new_v4().to_string();
    let client = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.to_string());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = request.method().clone();
    let span = tracing::info_span!("request", request_id = %id);
    let mut response = next.run(request).instrument(span).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    tracing::info!(
        target: "access",
        request_id = %id,
        client = client.as_deref().unwrap_or("-"),
        %method,
        route = route.as_deref().unwrap_or("-"),
        status = response.status().as_u16(),
        length = response.body().size_hint().exact().unwrap_or_default(),
        duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "request"
    );
    response
}
