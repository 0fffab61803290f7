//! The conversation of a pull request: who may have us work there, reactions, and comments that are written once.

use serde::Deserialize;
use serde_json::{Value, json};
use workflows::contract::github::{FindReply, PullRequestRef, React, WriteReply};
use workflows::contract::ids::{EffectKey, RepositoryName};

use super::answer::odd;
use super::client::GitHubClient;
use super::read::encoded;
use crate::failure::ServiceError;

/// Comments of one pull request that are looked through.
const COMMENTS: usize = 5_000;

#[derive(Debug, Deserialize)]
struct Permission {
    permission: String,
}

#[derive(Debug, Deserialize)]
struct Comment {
    id: u64,
    html_url: String,
    /// Absent when the account is gone.
    #[serde(default)]
    user: Option<User>,
}

#[derive(Debug, Deserialize)]
struct User {
    login: String,
}

impl GitHubClient {
    /// Whether somebody has write access. `maintain` shows as `write` here, `triage` as `read`, and a role of the
    /// organisation's own as what it builds on
    /// (<https://docs.github.com/en/rest/collaborators/collaborators#get-repository-permissions-for-a-user>).
    ///
    /// # Errors
    /// The repository is outside the organisation, or GitHub does not tell.
    pub async fn may_push(&self, repository: &RepositoryName, login: &str) -> Result<bool, ServiceError> {
        self.refuse_foreign(repository)?;
        let doing = format!("ask what {login} may do in {repository}");
        let route = format!("/repos/{repository}/collaborators/{}/permission", encoded(login));
        let answer = self.get(&doing, &route).await?;
        // Nobody of that name, or nobody that the repository knows.
        if answer.status == 404 {
            return Ok(false);
        }
        Ok(matches!(answer.into::<Permission>(&doing)?.permission.as_str(), "write" | "maintain" | "admin"))
    }

    /// GitHub answers 201 to a new reaction and 200 to one that is there.
    pub(super) async fn react(&self, reaction: &React) -> Result<(), ServiceError> {
        self.refuse_foreign(&reaction.repository)?;
        let doing = format!("react to comment {}", reaction.comment);
        let route = format!("/repos/{}/issues/comments/{}/reactions", reaction.repository, reaction.comment);
        let answer = self.post(&doing, &route, &json!({ "content": reaction.content })).await?;
        answer.into::<Value>(&doing).map(|_| ())
    }

    pub(super) async fn find_reply(&self, reply: &FindReply) -> Result<Option<String>, ServiceError> {
        let oldest = self.replies(&reply.pull_request, &reply.effect).await?.into_iter().next();
        Ok(oldest.map(|comment| comment.html_url))
    }

    pub(super) async fn write_reply(&self, reply: &WriteReply) -> Result<String, ServiceError> {
        let PullRequestRef { repository, number } = &reply.pull_request;
        if let Some(known) = self.replies(&reply.pull_request, &reply.effect).await?.into_iter().next() {
            return Ok(known.html_url);
        }
        let doing = format!("comment on #{number}");
        let body = format!("{}\n\n{}", reply.body, marker(&reply.effect));
        let route = format!("/repos/{repository}/issues/{number}/comments");
        let written: Comment = self.post(&doing, &route, &json!({ "body": body })).await?.into(&doing)?;
        // Another attempt may have run beside this one: the oldest stays, ours goes if it is younger.
        match self.replies(&reply.pull_request, &reply.effect).await?.into_iter().next() {
            Some(oldest) if oldest.id < written.id => {
                let doing = format!("delete the second copy of a comment on #{number}");
                let route = format!("/repos/{repository}/issues/comments/{}", written.id);
                let answer = self.delete(&doing, &route).await?;
                if answer.status != 404 {
                    answer.into::<Value>(&doing)?;
                }
                Ok(oldest.html_url)
            }
            _ => Ok(written.html_url),
        }
    }

    /// Our comments with this marker, oldest first. Others can copy a marker; it counts only under our name.
    async fn replies(&self, address: &PullRequestRef, effect: &EffectKey) -> Result<Vec<Comment>, ServiceError> {
        self.refuse_foreign(&address.repository)?;
        let doing = format!("read the comments of #{}", address.number);
        let route = format!("/repos/{}/issues/{}/comments", address.repository, address.number);
        let (comments, _) = self.all(&doing, &route, None, COMMENTS).await?;
        let marker = marker(effect);
        let marked = comments.into_iter().filter(|c| c["body"].as_str().is_some_and(|body| body.contains(&marker)));
        let marked: Vec<Comment> = marked
            .map(|comment| serde_json::from_value(comment).map_err(|error| odd(&doing, error)))
            .collect::<Result<_, _>>()?;
        if marked.is_empty() {
            return Ok(marked);
        }
        let me = self.who_am_i().await?;
        let ours = |comment: &Comment| {
            comment.user.as_ref().is_some_and(|user| {
                let login = user.login.strip_suffix("[bot]").unwrap_or(&user.login);
                login.eq_ignore_ascii_case(&me)
            })
        };
        let mut ours: Vec<Comment> = marked.into_iter().filter(ours).collect();
        ours.sort_by_key(|comment| comment.id);
        Ok(ours)
    }
}

/// Invisible on the page. A digest, since `--` in a key would end the comment.
fn marker(effect: &EffectKey) -> String {
    format!("<!-- ticketwright: {} -->", effect.digest())
}
