//! Stand-in of Bedrock.

use crate::{effects::Effects, world::Credentials};

/// The stand-in; cloning shares its state.
#[derive(Debug, Clone)]
pub struct Bedrock;

impl Bedrock {
    /// Empty.
    pub fn new(_credentials: &Credentials, _effects: &Effects) -> Self {
        Self
    }

    /// Routes below the stand-in's prefix.
    pub fn router(&self) -> axum::Router {
        axum::Router::new()
    }
}
