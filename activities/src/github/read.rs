//! Everything that only reads.

use base64::Engine as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use workflows::contract::failure::FailureKind;
use workflows::contract::github::{PullRequest, PullRequestRef, Repository};
use workflows::contract::ids::{BranchName, CommitSha, RepositoryName};

use super::client::GitHubClient;
use super::reply::{Contents, PullRequestReply, Reference, RepositoryReply, parsed};
use crate::failure::ServiceError;

/// Largest file that is read.
const FILE_LIMIT: usize = 256 * 1024;
/// What stays as it is in one segment of a path (RFC 3986, unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A repository in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryLine {
    /// `owner/name`.
    pub name: String,
    /// Description, or empty.
    pub description: String,
    /// Main language, or empty.
    pub language: String,
}

/// A hit of code search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeHit {
    /// `owner/name`.
    pub repository: String,
    /// Path.
    pub path: String,
    /// Lines around the words.
    pub fragments: Vec<String>,
}

/// A pull request in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequestLine {
    /// Number.
    pub number: u64,
    /// Title.
    pub title: String,
    /// `open`, `closed` or `merged`.
    pub state: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A path as URL segments.
pub(super) fn encoded(path: &str) -> String {
    path.split('/').map(|segment| utf8_percent_encode(segment, SEGMENT).to_string()).collect::<Vec<_>>().join("/")
}

impl GitHubClient {
    /// Repositories of the organisation that can be worked on, newest push first, at most `most`, and whether there may be more.
    pub async fn repositories(&self, most: usize) -> Result<(Vec<RepositoryLine>, bool), ServiceError> {
        let (doing, owner) = ("list repositories", encoded(&self.settings.organisation));
        let listed = match self.all(doing, &format!("/orgs/{owner}/repos?sort=pushed"), None, most).await {
            // The "organisation" is a person's account.
            Err(error) if error.kind == FailureKind::NotFound => {
                self.all(doing, &format!("/users/{owner}/repos?sort=pushed"), None, most).await
            }
            listed => listed,
        };
        let (repositories, more) = listed?;
        let line = |repository: &Value| RepositoryLine {
            name: text(&repository["full_name"]),
            description: text(&repository["description"]),
            language: text(&repository["language"]),
        };
        let usable = repositories.iter().filter(|repository| repository["archived"] != true);
        Ok((usable.map(line).collect(), more))
    }

    /// Searches the organisation's default branches, best hits first, at most 20.
    pub async fn search_code(
        &self,
        words: &str,
        repository: Option<&RepositoryName>,
    ) -> Result<Vec<CodeHit>, ServiceError> {
        let scope = match repository {
            Some(repository) => {
                self.refuse_foreign(repository)?;
                format!("repo:{repository}")
            }
            None => format!("org:{}", self.settings.organisation),
        };
        // Qualifiers in the words could leave the organisation, and an open quote would swallow ours.
        let words = words.replace([':', '"'], " ").split_whitespace().collect::<Vec<_>>().join(" ");
        if words.is_empty() {
            return Err(ServiceError::new(
                FailureKind::Invalid,
                "There are no words to search for. Give at least one.",
            ));
        }
        let doing = "search code";
        let query = utf8_percent_encode(&format!("{words} {scope}"), SEGMENT).to_string();
        let answer = self.get_with_matches(doing, &format!("/search/code?q={query}&per_page=20")).await?;
        let reply: Value = answer.into(doing)?;
        let hit = |item: &Value| CodeHit {
            repository: text(&item["repository"]["full_name"]),
            path: text(&item["path"]),
            fragments: item["text_matches"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|found| text(&found["fragment"]))
                .take(3)
                .collect(),
        };
        let hits = reply["items"].as_array().into_iter().flatten().map(hit);
        // Operators like OR may widen a search beyond its scope.
        let ours = |hit: &CodeHit| hit.repository.split_once('/').is_some_and(|(owner, _)| self.is_ours(owner));
        Ok(hits.filter(ours).collect())
    }

    /// Paths of all files of a repository's default branch, and whether GitHub left some out.
    pub async fn tree(&self, repository: &RepositoryName) -> Result<(Vec<String>, bool), ServiceError> {
        let head = self.repository(repository).await?.head;
        let route = format!("/repos/{repository}/git/trees/{head}?recursive=1");
        let reply: Value = self.get("read the tree", &route).await?.into("read the tree")?;
        let blobs = reply["tree"].as_array().into_iter().flatten().filter(|entry| entry["type"] == "blob");
        let paths = blobs.filter_map(|entry| entry["path"].as_str().map(str::to_owned)).collect();
        Ok((paths, reply["truncated"].as_bool().unwrap_or(false)))
    }

    /// Open and recent pull requests, newest first, at most 30.
    pub async fn pull_requests(&self, repository: &RepositoryName) -> Result<Vec<PullRequestLine>, ServiceError> {
        self.refuse_foreign(repository)?;
        let route = format!("/repos/{repository}/pulls?state=all&sort=updated&direction=desc&per_page=30");
        let list: Vec<PullRequestReply> = self.get("list pull requests", &route).await?.into("list pull requests")?;
        let line = |pr: PullRequestReply| PullRequestLine {
            number: pr.number,
            state: if pr.merged_at.is_some() { "merged".to_owned() } else { pr.state },
            title: pr.title,
        };
        Ok(list.into_iter().map(line).collect())
    }

    /// A repository and the head of its default branch.
    pub async fn repository(&self, name: &RepositoryName) -> Result<Repository, ServiceError> {
        self.refuse_foreign(name)?;
        let doing = format!("read {name}");
        let reply: RepositoryReply = self.get(&doing, &format!("/repos/{name}")).await?.into(&doing)?;
        let head = self.branch_head(name, &reply.default_branch).await?.ok_or_else(|| {
            ServiceError::new(FailureKind::Invalid, format!("{name} is empty: it has no commit to start from"))
        })?;
        Ok(Repository { name: name.clone(), default_branch: reply.default_branch, head, url: reply.html_url })
    }

    /// Where a branch stands, if it exists.
    pub(super) async fn branch_head(
        &self,
        repository: &RepositoryName,
        branch: &str,
    ) -> Result<Option<CommitSha>, ServiceError> {
        self.refuse_foreign(repository)?;
        let doing = format!("read branch {branch}");
        let answer = self.get(&doing, &format!("/repos/{repository}/git/ref/heads/{}", encoded(branch))).await?;
        // 409: the repository has no commit yet.
        if matches!(answer.status, 404 | 409) {
            return Ok(None);
        }
        let reference: Reference = answer.into(&doing)?;
        parsed(&reference.object.sha).map(Some)
    }

    /// A file's text, if it exists.
    pub async fn file(
        &self,
        repository: &RepositoryName,
        at: &str,
        path: &str,
    ) -> Result<Option<String>, ServiceError> {
        Ok(self.contents(repository, at, path).await?.map(|(_, text)| text))
    }

    /// A file's blob id and text, if it exists.
    pub(super) async fn contents(
        &self,
        repository: &RepositoryName,
        at: &str,
        path: &str,
    ) -> Result<Option<(String, String)>, ServiceError> {
        self.refuse_foreign(repository)?;
        let doing = format!("read {path}");
        // Encoding leaves dots alone, and a server may follow `..` out of the repository.
        if path.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            let message = format!("{path:?} is no path inside a repository. Write it from the root, without . and ..");
            return Err(ServiceError::new(FailureKind::Invalid, message));
        }
        let reference =
            if at.is_empty() { String::new() } else { format!("?ref={}", utf8_percent_encode(at, SEGMENT)) };
        let answer = self.get(&doing, &format!("/repos/{repository}/contents/{}{reference}", encoded(path))).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        if answer.body.is_array() {
            return Err(ServiceError::new(FailureKind::Invalid, format!("{path} is a directory")));
        }
        let contents: Contents = answer.into(&doing)?;
        let packed: String = contents.content.split_whitespace().collect();
        let bytes = base64::engine::general_purpose::STANDARD.decode(packed);
        let bytes = bytes.ok().filter(|bytes| contents.encoding == "base64" && bytes.len() <= FILE_LIMIT);
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
            ServiceError::new(FailureKind::Invalid, format!("{path} is no text file of at most 256 KB"))
        })?;
        Ok(Some((contents.sha, text)))
    }

    /// A pull request as it stands.
    pub async fn pull_request(&self, request: &PullRequestRef) -> Result<PullRequest, ServiceError> {
        self.pull_request_reply(request).await?.into_contract(&request.repository)
    }

    pub(super) async fn pull_request_reply(&self, request: &PullRequestRef) -> Result<PullRequestReply, ServiceError> {
        self.refuse_foreign(&request.repository)?;
        let doing = format!("read PR #{}", request.number);
        self.get(&doing, &format!("/repos/{}/pulls/{}", request.repository, request.number)).await?.into(&doing)
    }

    /// All pull requests of a branch in any state, oldest first.
    pub(super) async fn pull_requests_of(
        &self,
        repository: &RepositoryName,
        branch: &BranchName,
    ) -> Result<Vec<PullRequestReply>, ServiceError> {
        self.refuse_foreign(repository)?;
        let head = utf8_percent_encode(&format!("{}:{branch}", repository.owner()), SEGMENT).to_string();
        let route = format!("/repos/{repository}/pulls?state=all&head={head}&per_page=100");
        let mut found: Vec<PullRequestReply> =
            self.get("find pull requests", &route).await?.into("find pull requests")?;
        // A server that does not know the filter would answer with everything.
        found.retain(|pr| pr.head.branch == branch.as_str());
        found.sort_by_key(|pr| pr.number);
        Ok(found)
    }

    /// The newest pull request of a branch.
    pub async fn find_pull_request(
        &self,
        repository: &RepositoryName,
        branch: &BranchName,
    ) -> Result<Option<PullRequest>, ServiceError> {
        let newest = self.pull_requests_of(repository, branch).await?.pop();
        newest.map(|pr| pr.into_contract(repository)).transpose()
    }
}
