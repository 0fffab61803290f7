//! Every tool an agent can have: its name, what the model is told, its input schema, and where it runs.

use serde_json::Value;

use super::schema_of;
use crate::contract::tools::{
    EditFile, ErrorId, GetTicket, ListFiles, ListPullRequests, ListRepositories, ListTasks, ReadLog,
    ReadRepositoryFile, ReadWorkspaceFile, RepositoryTree, RunCommand, RunTests, SearchCode, SearchText, SearchTickets,
    TaskKey, TaskLog, WriteFile,
};

/// A tool.
#[derive(Debug)]
pub struct Tool {
    /// Name, `[a-zA-Z0-9_-]{1,64}`.
    pub name: &'static str,
    /// What it does, for the model.
    pub description: &'static str,
    /// JSON schema of its input.
    pub input: fn() -> Value,
    /// What it can change.
    pub effect: Effect,
    /// Which activity answers it.
    pub home: Home,
}

/// What a tool can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: calls of one reply run in parallel.
    Read,
    /// The files of the agent's workspace: calls run one after the other.
    WriteWorkspace,
}

/// Which activity answers a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// `tools.read`: GitHub, Jira, Sentry and our own runs.
    Services,
    /// `workspace.call_tool`: files and the sandbox.
    Workspace,
}

/// Looks for words in the organisation's code.
pub const SEARCH_CODE: Tool = Tool {
    name: "search_code",
    description: "Search the organisation's code on GitHub for words. Returns repository, path and matching lines.",
    input: schema_of::<SearchCode>,
    effect: Effect::Read,
    home: Home::Services,
};

/// Lists the organisation's repositories.
pub const LIST_REPOSITORIES: Tool = Tool {
    name: "list_repositories",
    description: "List the organisation's repositories with description and main language.",
    input: schema_of::<ListRepositories>,
    effect: Effect::Read,
    home: Home::Services,
};

/// Lists a repository's files on its default branch.
pub const REPOSITORY_TREE: Tool = Tool {
    name: "repository_tree",
    description: "List the files of a repository's default branch, optionally below one directory.",
    input: schema_of::<RepositoryTree>,
    effect: Effect::Read,
    home: Home::Services,
};

/// Reads a file of a repository's default branch.
pub const READ_REPOSITORY_FILE: Tool = Tool {
    name: "read_file",
    description: "Read a file from a repository's default branch, with line numbers.",
    input: schema_of::<ReadRepositoryFile>,
    effect: Effect::Read,
    home: Home::Services,
};

/// Lists a repository's open and recent pull requests.
pub const LIST_PULL_REQUESTS: Tool = Tool {
    name: "list_pull_requests",
    description: "List a repository's open and recently merged pull requests.",
    input: schema_of::<ListPullRequests>,
    effect: Effect::Read,
    home: Home::Services,
};

/// Reads a ticket.
pub const GET_TICKET: Tool = Tool {
    name: "get_ticket",
    description: "Read a Jira ticket with its comments.",
    input: schema_of::<GetTicket>,
    effect: Effect::Read,
    home: Home::Services,
};

/// Looks for tickets in the same project.
pub const SEARCH_TICKETS: Tool = Tool {
    name: "search_tickets",
    description: "Search tickets of the same Jira project for words.",
    input: schema_of::<SearchTickets>,
    effect: Effect::Read,
    home: Home::Services,
};

/// Lists the workspace's files.
pub const LIST_FILES: Tool = Tool {
    name: "list_files",
    description: "List the files of your workspace, optionally below one directory.",
    input: schema_of::<ListFiles>,
    effect: Effect::Read,
    home: Home::Workspace,
};

/// Reads a file of the workspace.
pub const READ_WORKSPACE_FILE: Tool = Tool {
    name: "read_file",
    description: "Read a file of your workspace, with line numbers.",
    input: schema_of::<ReadWorkspaceFile>,
    effect: Effect::Read,
    home: Home::Workspace,
};

/// Looks for a pattern in the workspace.
pub const SEARCH_TEXT: Tool = Tool {
    name: "search_text",
    description: "Search your workspace for an extended regular expression. Returns path, line number and line.",
    input: schema_of::<SearchText>,
    effect: Effect::Read,
    home: Home::Workspace,
};

/// Replaces one passage of a file.
pub const EDIT_FILE: Tool = Tool {
    name: "edit_file",
    description: "Replace a passage of a file in your workspace. `old` must occur exactly once; include enough context.",
    input: schema_of::<EditFile>,
    effect: Effect::WriteWorkspace,
    home: Home::Workspace,
};

/// Writes a whole file.
pub const WRITE_FILE: Tool = Tool {
    name: "write_file",
    description: "Create or overwrite a file of your workspace.",
    input: schema_of::<WriteFile>,
    effect: Effect::WriteWorkspace,
    home: Home::Workspace,
};

/// Runs a command in the sandbox.
pub const RUN_COMMAND: Tool = Tool {
    name: "run_command",
    description: "Run a bash command in your workspace. There is no network. Output is cut at 64 KB.",
    input: schema_of::<RunCommand>,
    effect: Effect::WriteWorkspace,
    home: Home::Workspace,
};

/// Runs the repository's tests.
pub const RUN_TESTS: Tool = Tool {
    name: "run_tests",
    description: "Run the repository's whole test suite in your workspace.",
    input: schema_of::<RunTests>,
    effect: Effect::WriteWorkspace,
    home: Home::Workspace,
};

/// Reads a part of a job's log.
pub const READ_LOG: Tool = Tool {
    name: "read_log",
    description: "Read a part of a CI job's log, cleaned of time stamps and colours. Without an offset: its last 300 lines.",
    input: schema_of::<ReadLog>,
    effect: Effect::Read,
    home: Home::Services,
};

/// Reads a Sentry issue.
pub const GET_ERROR: Tool = Tool {
    name: "get_issue",
    description: "Read a Sentry issue: title, level, counts, first and last seen.",
    input: schema_of::<ErrorId>,
    effect: Effect::Read,
    home: Home::Services,
};

/// Reads the newest event of a Sentry issue.
pub const GET_ERROR_EVENT: Tool = Tool {
    name: "get_event",
    description: "Read the newest event of a Sentry issue: message, stack frames, tags, release.",
    input: schema_of::<ErrorId>,
    effect: Effect::Read,
    home: Home::Services,
};

/// Reads how often a Sentry issue happened.
pub const GET_ERROR_STATISTICS: Tool = Tool {
    name: "get_issue_statistics",
    description: "Read how often a Sentry issue happened in each of the last 24 hours.",
    input: schema_of::<ErrorId>,
    effect: Effect::Read,
    home: Home::Services,
};

/// Where a ticket stands.
pub const TASK_STATUS: Tool = Tool {
    name: "task_status",
    description: "Where a ticket stands: stage, what is going on, progress, cost, links.",
    input: schema_of::<TaskKey>,
    effect: Effect::Read,
    home: Home::Services,
};

/// Lists running tickets.
pub const LIST_TASKS: Tool = Tool {
    name: "list_tasks",
    description: "List running tickets, newest first, optionally of one stage.",
    input: schema_of::<ListTasks>,
    effect: Effect::Read,
    home: Home::Services,
};

/// The last log entries of a ticket.
pub const TASK_LOG: Tool = Tool {
    name: "task_log",
    description: "The last entries of a ticket's log.",
    input: schema_of::<TaskLog>,
    effect: Effect::Read,
    home: Home::Services,
};
