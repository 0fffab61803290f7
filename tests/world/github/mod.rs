//! Stand-in of GitHub.

use crate::{effects::Effects, webhook::Webhooks, world::Credentials};

/// The stand-in; cloning shares its state.
#[derive(Debug, Clone)]
pub struct GitHub;

impl GitHub {
    /// Empty.
    pub fn new(
        _base_url: &str,
        _directory: &std::path::Path,
        _credentials: &Credentials,
        _effects: &Effects,
        _webhooks: &Webhooks,
    ) -> anyhow::Result<Self> {
        Ok(Self)
    }

    /// Routes below the stand-in's prefix.
    pub fn router(&self) -> axum::Router {
        axum::Router::new()
    }
}
