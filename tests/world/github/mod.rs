//! Stand-in of GitHub, in the shape of a GitHub Enterprise Server: REST below `/api/v3`, GraphQL at `/api/graphql`, git
//! over smart HTTP at `/<owner>/<repo>.git`, web pages beside it. Repositories are real git repositories; GitHub
//! Actions really runs the commands of a repository's workflow files, in a sandbox without network.
//!
//! The REST API is the one of <https://docs.github.com/en/rest>, version 2022-11-28. A call the stand-in does not know
//! is answered with 501 and recorded as unexpected.
//!
//! Effects of the product, by kind, with the target in brackets: `branch.created`, `branch.deleted`, `commit.pushed`
//! (`acme/shop-api@branch`; any change of a branch, also by the contents API, which records `file.written` too),
//! `pull_request.opened`, `.updated`, `.ready_for_review`, `.closed`, `.merged`, `comment.created`, `.updated`,
//! `.deleted`, `reaction.created` (`acme/shop-api#1`), `status.created` (`acme/shop-api@<sha>`), `run.rerun`,
//! `job.rerun`, `run.cancelled` (`acme/shop-api@branch`). What people do by the methods of [`GitHub`] is not an effect.

mod access;
mod actions;
mod check_views;
mod events;
mod faults;
mod git;
mod git_http;
mod git_objects;
mod graphql;
mod hub;
mod looks;
mod markdown;
mod pages;
mod people;
mod pull_life;
mod pull_views;
mod pushes;
mod reply;
mod rest;
mod rest_actions;
mod rest_apps;
mod rest_checks;
mod rest_commits;
mod rest_contents;
mod rest_git;
mod rest_issues;
mod rest_pulls;
mod rest_repositories;
mod rest_search;
mod state;
mod views;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use crate::{effects::Effects, webhook::Webhooks, world::Credentials};

pub use looks::{Check, PullRequest, PullRequestComment};
pub use state::Permission;

/// The stand-in; cloning shares its state. Its methods are what people do, and what tests look at.
#[derive(Debug, Clone)]
pub struct GitHub {
    hub: Arc<hub::Hub>,
}

impl GitHub {
    /// An empty GitHub that keeps its repositories below `directory`. `base_url` is the world's address; every link the
    /// stand-in gives out begins with `<base_url>/github`.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(
        base_url: &str,
        directory: &Path,
        credentials: &Credentials,
        effects: &Effects,
        webhooks: &Webhooks,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let base = format!("{}/github", base_url.trim_end_matches('/'));
        Ok(Self { hub: hub::Hub::new(base, directory.canonicalize()?, credentials, effects, webhooks) })
    }

    /// Routes below the stand-in's prefix.
    pub fn router(&self) -> axum::Router {
        // One entry for everything: refs and paths hold slashes in the middle of REST paths, which the router's own
        // patterns cannot express.
        axum::Router::new().fallback(rest::entry).with_state(self.hub.clone())
    }
}
