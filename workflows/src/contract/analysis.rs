//! What the agents ci, sentry and slack answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kind of failure a red check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedKind {
    /// A linter's rule.
    Lint,
    /// Formatting.
    Format,
    /// An import is missing.
    Import,
    /// A type is missing or wrong.
    Type,
    /// A dependency is not declared, or the lock file does not fit.
    Dependency,
    /// A test ran out of time.
    Timeout,
    /// Green when run again.
    Flaky,
    /// Red on the base branch too.
    BaseBranch,
    /// A test fails for what the code does.
    Logic,
    /// The code does not compile.
    Compile,
    /// The runner, the network, a registry.
    Infrastructure,
    /// A security scanner's finding.
    Security,
}

impl RedKind {
    /// The name, as people see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::Format => "format",
            Self::Import => "import",
            Self::Type => "type",
            Self::Dependency => "dependency",
            Self::Timeout => "timeout",
            Self::Flaky => "flaky",
            Self::BaseBranch => "base branch",
            Self::Logic => "logic",
            Self::Compile => "compile",
            Self::Infrastructure => "infrastructure",
            Self::Security => "security",
        }
    }
}

/// Answer of the ci agent: what is wrong, and what it changed in the workspace about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailureAnalysis {
    /// Kind of failure.
    pub kind: RedKind,
    /// Why it fails, in one or two sentences, with the place.
    pub root_cause: String,
    /// The change of this branch made it fail (and not, say, the base branch or the runner).
    pub caused_by_this_branch: bool,
    /// You mended it in the workspace. Only for import, type, dependency, timeout, lint and format; never for logic or compile.
    pub fixed: bool,
    /// What you changed and why, for the pull request; empty when nothing.
    #[serde(default)]
    pub change: String,
}

/// Answer of the sentry agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorAnalysis {
    /// What goes wrong, in one sentence.
    pub summary: String,
    /// Why, with the place in the code.
    pub root_cause: String,
    /// How sure you are, from 0 to 1.
    pub confidence: f64,
    /// Frames that matter, `path:line function`, most important first; at most 5.
    pub frames: Vec<String>,
    /// Whether a change of code can mend it.
    pub fixability: Fixability,
    /// The test that would show it: file, set-up, assertion.
    pub proposed_test: String,
    /// Repository the error comes from, `owner/name`; empty when you do not know.
    #[serde(default)]
    pub repository: String,
}

/// Whether a change of code can mend an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fixability {
    /// Yes, as far as the code was read.
    Likely,
    /// The cause is not certain.
    Possible,
    /// It comes from outside the code: data, a service, the network.
    Unlikely,
}

impl Fixability {
    /// The name, as people see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Likely => "likely",
            Self::Possible => "possible",
            Self::Unlikely => "unlikely",
        }
    }
}

/// Answer of the slack agent: words, and perhaps a command that the person has to confirm with a button.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MentionReply {
    /// What to say, at most 1,500 characters of plain text.
    pub text: String,
    /// A command that does what the person asked for; never done without their click.
    #[serde(default)]
    pub command: Option<ProposedCommand>,
}

/// A command to propose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposedCommand {
    /// Which.
    pub word: ProposedWord,
    /// The ticket, `PROJ-123`.
    pub ticket: String,
}

/// Commands that the slack agent may propose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProposedWord {
    /// Let a parked ticket try again.
    Retry,
    /// Stop and clean up.
    Cancel,
}
