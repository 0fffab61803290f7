//! Tools that agents may call: their inputs, and the activity that answers read-only ones.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

use super::ids::{Digest, RepositoryName, SentryIssueId, TicketKey};

/// One call of a tool by a model. The input was not validated yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Bedrock's id of the call.
    pub id: String,
    /// The tool's name as the model said it.
    pub name: String,
    /// JSON input in the blob store.
    pub input: Digest,
    /// The call in a few words, for logs and the Web UI: `read_file shop/pricing.py`. At most 120 characters.
    pub label: String,
}

/// What a tool call came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolReply {
    /// Text for the model, in the blob store; at most 64 KB, cut with a visible note.
    pub output: Digest,
    /// The call failed; the text says why and what to do.
    pub is_error: bool,
}

/// A read-only tool call, outside any workspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadCall {
    /// The ticket the agent works for; absent where none is involved.
    #[serde(default)]
    pub ticket: Option<TicketKey>,
    /// The error it looks into: no other one is read. Absent where none is involved.
    #[serde(default)]
    pub issue: Option<SentryIssueId>,
    /// The repository it works on: no other one's logs are read. Absent where none is involved.
    #[serde(default)]
    pub repository: Option<RepositoryName>,
    /// What.
    pub call: ToolCall,
}

/// Read-only tools over GitHub and Jira, as an activity.
pub struct ReadTools;

#[activity_definitions]
impl ReadTools {
    /// Answers one read-only tool call. Wrong input and missing objects are replies with `is_error`, not failures.
    #[activity(name = "tools.read")]
    pub fn read(_call: ReadCall) -> Result<ToolReply, ActivityError> {
        unimplemented!()
    }
}

/// Input of `search_code`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchCode {
    /// Words to look for in the organisation's code.
    pub query: String,
    /// Only in this repository, `owner/name`.
    #[serde(default)]
    pub repository: Option<RepositoryName>,
}

/// Input of `list_repositories`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListRepositories {}

/// Input of `repository_tree`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepositoryTree {
    /// `owner/name`.
    pub repository: RepositoryName,
    /// Only below this directory.
    #[serde(default)]
    pub path: Option<String>,
}

/// Input of `read_file` outside a workspace.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadRepositoryFile {
    /// `owner/name`.
    pub repository: RepositoryName,
    /// Path from the repository's root.
    pub path: String,
}

/// Input of `list_pull_requests`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListPullRequests {
    /// `owner/name`.
    pub repository: RepositoryName,
}

/// Input of `get_ticket`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetTicket {
    /// Jira key.
    pub key: TicketKey,
}

/// Input of `search_tickets`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchTickets {
    /// Words to look for in the ticket's own project.
    pub text: String,
}

/// Input of `list_files`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListFiles {
    /// Only below this directory.
    #[serde(default)]
    pub path: Option<String>,
}

/// Input of `read_file` in a workspace.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadWorkspaceFile {
    /// Path from the repository's root.
    pub path: String,
    /// First line to show, counted from 1.
    #[serde(default)]
    pub from_line: Option<u32>,
    /// Number of lines; at most 2,000.
    #[serde(default)]
    pub lines: Option<u32>,
}

/// Input of `search_text`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchText {
    /// Extended regular expression.
    pub pattern: String,
    /// Only below this path.
    #[serde(default)]
    pub path: Option<String>,
}

/// Input of `edit_file`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EditFile {
    /// Path from the repository's root.
    pub path: String,
    /// Text to replace; must occur exactly once.
    pub old: String,
    /// Text to put in its place.
    pub new: String,
}

/// Input of `write_file`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteFile {
    /// Path from the repository's root; directories are made.
    pub path: String,
    /// The whole content.
    pub content: String,
}

/// Input of `run_command`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunCommand {
    /// A bash command, run in the repository's root inside the sandbox: no network.
    pub command: String,
}

/// Input of `run_tests`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunTests {}

/// Input of `read_log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadLog {
    /// Repository, `owner/name`.
    pub repository: RepositoryName,
    /// Id of the job.
    pub job: u64,
    /// First line to read, from 1; absent: the last 300 lines.
    #[serde(default)]
    pub line: Option<usize>,
}

/// Input of `get_issue`, `get_event` and `get_issue_statistics`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorId {
    /// Sentry's id of the issue, digits.
    pub issue: String,
}

/// Input of `task_status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskKey {
    /// The ticket, `PROJ-123`.
    pub ticket: String,
}

/// Input of `list_tasks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListTasks {
    /// Only tickets in this stage, `awaiting_approval` for example.
    #[serde(default)]
    pub stage: Option<String>,
}

/// Input of `task_log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskLog {
    /// The ticket, `PROJ-123`.
    pub ticket: String,
    /// How many entries, at most 50.
    #[serde(default)]
    pub last: Option<usize>,
}

/// The definitions, for the adapters that implement them: `#[activity(definition = ...)]`.
pub mod definitions {
    pub use super::read_tools::*;
}
