//! Where the workspaces' git finds GitHub.

use std::sync::Arc;

use activities::failure::ServiceError;
use activities::github::GitHubClient;
use activities::workspace::{GitRemote, Remote};
use async_trait::async_trait;
use workflows::contract::ids::RepositoryName;

/// GitHub, as workspaces need it. A token is made for each transfer, since those of an App expire.
pub(crate) struct GitHubRemote(pub Arc<GitHubClient>);

#[async_trait]
impl Remote for GitHubRemote {
    async fn clone_url_and_credentials(&self, repository: &RepositoryName) -> Result<GitRemote, ServiceError> {
        let (url, username, token) = self.0.push_credentials(repository).await?;
        Ok(GitRemote { url, username, token })
    }

    async fn may_push(&self, repository: &RepositoryName, login: &str) -> Result<bool, ServiceError> {
        self.0.may_push(repository, login).await
    }
}
