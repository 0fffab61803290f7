//! Stand-in of Jira.

use crate::{effects::Effects, webhook::Webhooks, world::Credentials};

/// The stand-in; cloning shares its state.
#[derive(Debug, Clone)]
pub struct Jira;

impl Jira {
    /// Empty.
    pub fn new(_base_url: &str, _credentials: &Credentials, _effects: &Effects, _webhooks: &Webhooks) -> Self {
        Self
    }

    /// Routes below the stand-in's prefix.
    pub fn router(&self) -> axum::Router {
        axum::Router::new()
    }
}
