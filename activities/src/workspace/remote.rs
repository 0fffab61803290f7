//! Where repositories come from: the only thing a workspace needs of GitHub.

use async_trait::async_trait;
use secrecy::SecretString;
use workflows::contract::ids::RepositoryName;

use crate::failure::ServiceError;

/// Address and credentials of a repository, for git.
#[derive(Debug, Clone)]
pub struct GitRemote {
    /// Clone URL without credentials: `https://github.com/acme/shop.git`.
    pub url: String,
    /// User name for HTTP; `x-access-token` for GitHub tokens.
    pub username: String,
    /// Token; empty: none is sent.
    pub token: SecretString,
}

/// Knows where repositories are. Asked before each transfer, since tokens expire.
#[async_trait]
pub trait Remote: Send + Sync {
    /// Address of `repository`, with a token that may read it and push to it.
    async fn clone_url_and_credentials(&self, repository: &RepositoryName) -> Result<GitRemote, ServiceError>;

    /// Whether the person with this GitHub login has write access to `repository` now.
    async fn may_push(&self, repository: &RepositoryName, login: &str) -> Result<bool, ServiceError>;
}
