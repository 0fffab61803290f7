//! One line per request: time, request id, client, method, route, status, length, duration. Never bodies or secrets.

use std::net::SocketAddr;
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::Next;
use axum::response::Response;

/// Middleware that writes the line and gives every reply an `X-Request-Id`.
pub async fn log(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = uuid::Uuid::new_v4().to_string();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("(none)", MatchedPath::as_str).to_owned();
    let client = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.to_string()).unwrap_or_default();
    let mut response = next.run(request).await;
    let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
    tracing::info!(
        target: "access",
        request_id = %id,
        client,
        %method,
        route,
        status = response.status().as_u16(),
        length,
        duration_ms = began.elapsed().as_secs_f64() * 1000.0,
        "request"
    );
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}
