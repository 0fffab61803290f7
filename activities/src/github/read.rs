//! Everything that only reads.

use base64::Engine as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use workflows::contract::failure::FailureKind;
use workflows::contract::github::{Check, CheckState, Checks, CommitRef, PullRequest, PullRequestRef, Repository};
use workflows::contract::ids::{BranchName, CommitSha, RepositoryName};

use super::client::GitHubClient;
use super::reply::{CheckRun, Contents, PullRequestReply, Reference, RepositoryReply, Status, Suite, parsed};
use crate::failure::ServiceError;

/// Largest file that is read.
const FILE_LIMIT: usize = 256 * 1024;
/// What stays as it is in one segment of a path (RFC 3986, unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Who we are at GitHub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Login, or the App's slug.
    pub login: String,
}

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

/// A path as URL segments.
pub(super) fn encoded(path: &str) -> String {
    path.split('/').map(|segment| utf8_percent_encode(segment, SEGMENT).to_string()).collect::<Vec<_>>().join("/")
}

impl GitHubClient {
    /// Who we are: the token's user, or the App's installation.
    pub async fn who_am_i(&self) -> Result<Identity, ServiceError> {
        let answer = self.get("who am I", "/user").await?;
        if answer.status == 403 {
            // An installation token has no user.
            return Ok(Identity { login: "the App's installation".to_owned() });
        }
        let user: Value = answer.into("who am I")?;
        Ok(Identity { login: user["login"].as_str().unwrap_or_default().to_owned() })
    }

    /// Repositories of the organisation, at most `most`.
    pub async fn repositories(&self, most: usize) -> Result<Vec<RepositoryLine>, ServiceError> {
        let route = format!("/orgs/{}/repos", encoded(&self.settings.organisation));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let line = |repository: &Value| RepositoryLine {
            name: text(&repository["full_name"]),
            description: text(&repository["description"]),
            language: text(&repository["language"]),
        };
        Ok(self.all("list repositories", &route, None, most).await?.iter().map(line).collect())
    }

    /// Searches the organisation's default branches.
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
        // Qualifiers in the words could leave the organisation.
        let words: Vec<&str> = words.split_whitespace().filter(|word| !word.contains(':')).collect();
        let query = utf8_percent_encode(&format!("{} {scope}", words.join(" ")), SEGMENT).to_string();
        let reply: Value =
            self.get("search code", &format!("/search/code?q={query}&per_page=20")).await?.into("search code")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
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
        Ok(reply["items"].as_array().into_iter().flatten().map(hit).collect())
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

    /// Check runs of every app, commit statuses, and suites of Actions that have not made their runs yet.
    pub async fn checks(&self, commit: &CommitRef) -> Result<Checks, ServiceError> {
        self.refuse_foreign(&commit.repository)?;
        let base = format!("/repos/{}/commits/{}", commit.repository, commit.sha);
        let mut checks: Vec<Check> = Vec::new();
        let mut runs: Vec<CheckRun> = Vec::new();
        for run in
            self.all("read check runs", &format!("{base}/check-runs?filter=latest"), Some("check_runs"), 1000).await?
        {
            runs.push(decoded(run)?);
        }
        // Two workflows may use one name; a re-run has a higher id.
        runs.sort_by_key(|run| run.id);
        for run in runs {
            let state = state_of(&run.status, run.conclusion.as_deref());
            let check = Check { name: run.name, state, url: run.html_url.unwrap_or_default() };
            merge(&mut checks, check);
        }
        let status: Value = self.get("read statuses", &format!("{base}/status")).await?.into("read statuses")?;
        for status in status["statuses"].as_array().cloned().unwrap_or_default() {
            let status: Status = decoded(status)?;
            let state = match status.state.as_str() {
                "success" => CheckState::Passed,
                "pending" => CheckState::Pending,
                _ => CheckState::Failed,
            };
            merge(&mut checks, Check { name: status.context, state, url: status.target_url.unwrap_or_default() });
        }
        let suites = self.all("read check suites", &format!("{base}/check-suites"), Some("check_suites"), 100).await?;
        for suite in suites {
            let suite: Suite = decoded(suite)?;
            let app = suite.app.and_then(|app| app.slug).unwrap_or_default();
            // Jobs that need others get their check run late: the suite knows that more is to come. Suites without any run
            // belong to apps that watch the repository but do nothing.
            let working =
                matches!(suite.status.as_deref(), Some("queued" | "in_progress" | "waiting" | "pending" | "requested"));
            if working && (suite.latest_check_runs_count > 0 || app == "github-actions") {
                merge(
                    &mut checks,
                    Check { name: format!("{app} suite"), state: CheckState::Pending, url: String::new() },
                );
            }
        }
        checks.sort_by(|a, b| a.name.cmp(&b.name));
        checks.truncate(100);
        Ok(Checks { checks })
    }
}

/// Keeps the worst news about a name: a push and a pull request may run the same job.
fn merge(checks: &mut Vec<Check>, news: Check) {
    let rank = |state: CheckState| match state {
        CheckState::Passed => 0,
        CheckState::Cancelled => 1,
        CheckState::Failed => 2,
        CheckState::Pending => 3,
    };
    match checks.iter_mut().find(|check| check.name == news.name) {
        Some(known) if rank(news.state) > rank(known.state) => *known = news,
        Some(_) => {}
        None => checks.push(news),
    }
}

fn state_of(status: &str, conclusion: Option<&str>) -> CheckState {
    match (status, conclusion) {
        ("completed", Some("success" | "skipped" | "neutral")) => CheckState::Passed,
        ("completed", Some("cancelled" | "stale")) => CheckState::Cancelled,
        ("completed", _) => CheckState::Failed,
        _ => CheckState::Pending,
    }
}

fn decoded<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, ServiceError> {
    serde_json::from_value(value).map_err(|error| {
        ServiceError::new(FailureKind::Unexpected, "GitHub's checks are not what its API promises").caused_by(error)
    })
}
