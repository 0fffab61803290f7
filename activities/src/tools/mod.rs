//! The read-only tools of the agents: GitHub, Jira, Sentry and our own tickets as readable text.
//!
//! Wrong input and missing objects are replies the model can act on; outages are failures that Temporal retries.

mod tasks;
#[cfg(test)]
mod tests;
mod text;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use workflows::contract::failure::FailureKind;
use workflows::contract::github::JobRef;
use workflows::contract::ids::{RepositoryName, SentryIssueId, TicketKey};
use workflows::contract::tools::{
    ErrorId, GetTicket, ListPullRequests, ListRepositories, ReadCall, ReadLog, ReadRepositoryFile, RepositoryTree,
    SearchCode, SearchTickets, ToolReply, definitions,
};

use crate::blobs::Blobs;
use crate::failure::ServiceError;
use crate::github::GitHubClient;
use crate::jira::JiraClient;
use crate::sentry::{Redactor, SentryClient};
use crate::tasks::Runs;

/// Repositories in a listing.
const REPOSITORIES: usize = 200;

/// Read-only tools, as an activity.
pub struct ReadToolActivities {
    /// Code.
    pub github: Arc<GitHubClient>,
    /// Tickets.
    pub jira: Arc<JiraClient>,
    /// Errors; `None`: Sentry is off.
    pub sentry: Option<Arc<SentryClient>>,
    /// What is taken out of Sentry's texts.
    pub redactor: Redactor,
    /// Inputs and outputs.
    pub blobs: Blobs,
    /// Our own tickets.
    pub runs: Arc<dyn Runs>,
}

#[activities]
impl ReadToolActivities {
    /// Answers one read-only tool call.
    #[activity(definition = definitions::Read)]
    pub async fn read(self: Arc<Self>, ctx: ActivityContext, call: ReadCall) -> Result<ToolReply, ActivityError> {
        self.answer(&call).await.map_err(|error| error.into_activity_error(ctx.info().attempt))
    }
}

/// Why a call has no result.
enum Trouble {
    /// The model can do something about it.
    Told(String),
    /// The service is down or refuses us.
    Failed(ServiceError),
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::Told(why)
    }
}

impl From<ServiceError> for Trouble {
    fn from(error: ServiceError) -> Self {
        match error.kind {
            FailureKind::NotFound | FailureKind::Invalid | FailureKind::Conflict => Self::Told(error.message),
            _ => Self::Failed(error),
        }
    }
}

impl ReadToolActivities {
    async fn answer(&self, call: &ReadCall) -> Result<ToolReply, ServiceError> {
        let input = self.blobs.get(&call.call.input).await?;
        let (output, is_error) = match self.run(call, &input).await {
            Ok(output) => (output, false),
            Err(Trouble::Told(why)) => (why, true),
            Err(Trouble::Failed(error)) => return Err(error),
        };
        let output = self.blobs.put(text::capped(output)).await?;
        Ok(ToolReply { output, is_error })
    }

    async fn run(&self, call: &ReadCall, input: &[u8]) -> Result<String, Trouble> {
        let (ticket, tool) = (call.ticket.as_ref(), call.call.name.as_str());
        match tool {
            "search_code" => {
                let SearchCode { query, repository } = decoded(tool, input)?;
                Ok(text::hits(&self.github.search_code(&query, repository.as_ref()).await?))
            }
            "list_repositories" => {
                let ListRepositories {} = decoded(tool, input)?;
                let (repositories, more) = self.github.repositories(REPOSITORIES).await?;
                Ok(text::repositories(&repositories, more))
            }
            "repository_tree" => {
                let RepositoryTree { repository, path } = decoded(tool, input)?;
                let (paths, truncated) = self.github.tree(&repository).await?;
                Ok(text::tree(&paths, path.as_deref(), truncated))
            }
            "read_file" => {
                let ReadRepositoryFile { repository, path } = decoded(tool, input)?;
                let file = self.github.file(&repository, "", path.trim_start_matches('/')).await?;
                let missing = || Trouble::Told(format!("{repository} has no file {path}. repository_tree lists them."));
                file.map(|file| text::numbered(&file)).ok_or_else(missing)
            }
            "list_pull_requests" => {
                let ListPullRequests { repository } = decoded(tool, input)?;
                Ok(text::pull_requests(&self.github.pull_requests(&repository).await?))
            }
            "read_log" => {
                let ReadLog { repository, job, line } = decoded(tool, input)?;
                same_repository(call.repository.as_ref(), &repository)?;
                let gone = || Trouble::Told(format!("GitHub has no log of job {job} of {repository} any more."));
                self.github.log_part(&JobRef { repository: repository.clone(), job }, line).await?.ok_or_else(gone)
            }
            "get_ticket" => {
                let GetTicket { key } = decoded(tool, input)?;
                same_project(of_ticket(ticket)?, &key)?;
                Ok(text::ticket(&self.jira.ticket(&key).await?))
            }
            "search_tickets" => {
                let SearchTickets { text: words } = decoded(tool, input)?;
                let found = self.jira.search(of_ticket(ticket)?.project(), &words).await?;
                Ok(if found.is_empty() { "No ticket has these words.".to_owned() } else { found.join("\n") })
            }
            "task_status" => tasks::status(&*self.runs, decoded(tool, input)?).await,
            "list_tasks" => tasks::list(&*self.runs, decoded(tool, input)?).await,
            "task_log" => tasks::log(&*self.runs, decoded(tool, input)?).await,
            "get_issue" => {
                let id = error_id(call, input)?;
                let issue = self.sentry()?.issue(&id, &self.redactor).await?;
                issue.map(|issue| text::error_issue(&issue)).ok_or_else(|| gone(&id))
            }
            "get_event" => {
                let id = error_id(call, input)?;
                let event = self.sentry()?.latest_event(&id, &self.redactor).await?;
                event.map(|event| text::error_event(&event)).ok_or_else(|| gone(&id))
            }
            "get_issue_statistics" => {
                let id = error_id(call, input)?;
                let hours = self.sentry()?.statistics(&id).await?;
                hours.map(|hours| text::statistics(&hours)).ok_or_else(|| gone(&id))
            }
            other => Err(Trouble::Told(format!("There is no tool {other:?} here."))),
        }
    }

    fn sentry(&self) -> Result<&SentryClient, Trouble> {
        self.sentry.as_deref().ok_or_else(|| Trouble::Told("Sentry is switched off here.".to_owned()))
    }
}

/// The issue that is asked for, if the agent may read it.
fn error_id(call: &ReadCall, input: &[u8]) -> Result<SentryIssueId, Trouble> {
    let ErrorId { issue } = decoded(&call.call.name, input)?;
    let asked: SentryIssueId = issue.parse().map_err(|error| Trouble::Told(format!("{error}: {issue:?} is none.")))?;
    match &call.issue {
        Some(ours) if *ours != asked => {
            Err(Trouble::Told(format!("You look into issue {ours}; issue {asked} cannot be read.")))
        }
        _ => Ok(asked),
    }
}

/// A log of another repository may hold what the readers of this one must not see, and text in a log can ask for it.
fn same_repository(ours: Option<&RepositoryName>, asked: &RepositoryName) -> Result<(), Trouble> {
    match ours {
        Some(ours) if !ours.as_str().eq_ignore_ascii_case(asked.as_str()) => {
            Err(Trouble::Told(format!("You work on {ours}; logs of {asked} cannot be read.")))
        }
        _ => Ok(()),
    }
}

fn gone(id: &SentryIssueId) -> Trouble {
    Trouble::Told(format!("Sentry has nothing for issue {id}: it was deleted, merged into another one, or never was."))
}

/// The input of a call in its type, else what is wrong with it, for the model.
pub(crate) fn decoded<T: DeserializeOwned>(tool: &str, input: &[u8]) -> Result<T, String> {
    // Asked for first: serde would take a list for the fields of an object, in their order.
    let object: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_slice(input);
    object
        .map_err(|_| "it is no JSON object".to_owned())
        .and_then(|object| serde_json::from_value(object.into()).map_err(|error| error.to_string()))
        .map_err(|fault| format!("The input of {tool} does not fit: {fault}. Mend it and call again."))
}

/// The ticket that an agent works for: only tickets of its project are shown.
fn of_ticket(ticket: Option<&TicketKey>) -> Result<&TicketKey, Trouble> {
    ticket.ok_or_else(|| Trouble::Told("You work for no ticket, so there are none to read.".to_owned()))
}

/// A ticket of another project may be one that the asker must not see.
fn same_project(ours: &TicketKey, asked: &TicketKey) -> Result<(), Trouble> {
    if ours.project() == asked.project() {
        return Ok(());
    }
    Err(Trouble::Told(format!(
        "{asked} is in another project than {ours}; only tickets of {} can be read.",
        ours.project()
    )))
}
