//! Pages.
use super::events::SharedHub;
use axum::response::{IntoResponse, Response};
pub(super) async fn serve(_hub: &SharedHub, _method: &str, path: &str) -> Response {
    path.to_owned().into_response()
}
