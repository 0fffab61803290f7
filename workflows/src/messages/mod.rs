//! Every text we post, as template files: PLAN.md, the pull request, Jira comments, Slack messages, current details.
//!
//! Templates see one [`TicketView`] and, where named, a few extras. A variable that is missing is an error, found by the
//! tests here; at run time such a text says what is wrong instead of failing a workflow task.

pub mod checks;
mod evidence;
mod quiet;
pub mod replies;
pub mod slack;

use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;
use serde_json::Value;

pub use quiet::quiet;

use crate::agents::untrusted::visible;
use crate::contract::plan::{Plan, RankedRepository, TaskResult};
use crate::contract::status::{Parked, Stage};
use crate::contract::workspace::{Proof, Pushed};

/// What all messages about a ticket may show.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TicketView {
    /// Jira key.
    pub key: String,
    /// Link of the ticket.
    pub url: String,
    /// Its summary.
    pub summary: String,
    /// Who asked, or empty.
    pub requested_by: String,
    /// Stage.
    pub stage: Stage,
    /// What is going on, in words.
    pub doing: String,
    /// Why it is parked.
    pub parked: Option<Parked>,
    /// Repositories that were looked at, best first.
    pub candidates: Vec<RankedRepository>,
    /// The plan.
    pub plan: Option<Plan>,
    /// Its version, from 1.
    pub plan_version: u32,
    /// First eight characters of its hash.
    pub plan_hash: String,
    /// Its hours, rounded to a tenth.
    pub hours: String,
    /// Estimated cost, `$0.40`.
    pub estimate: String,
    /// Approver, or empty.
    pub approved_by: String,
    /// Seconds since 1970 of the approval.
    pub approved_at: i64,
    /// Tasks.
    pub tasks: Vec<TaskView>,
    /// Repositories in which tests may not run, with why.
    pub set_up: Vec<SetUpView>,
    /// Pull requests.
    pub pull_requests: Vec<PullRequestView>,
    /// Spent.
    pub spent: String,
    /// Hard cap.
    pub cap: String,
    /// What the tasks that are left may cost, or empty.
    pub rest: String,
    /// Seconds since 1970 when the plan expires; 0: not waiting.
    pub expires_at: i64,
    /// Link of the run in Temporal's Web UI, or empty.
    pub run_url: String,
    /// Command lines that work now.
    pub commands: Vec<String>,
    /// Where people approve, `#ai-agents`; empty without Slack.
    pub slack_channel: String,
    /// Seconds since 1970 when the run began.
    pub began_at: i64,
    /// Minutes of work so far, waiting for people left out.
    pub work_minutes: i64,
    /// Full minutes of waiting for people.
    pub waited_minutes: i64,
}

/// One task in a message.
#[derive(Debug, Clone, Serialize)]
pub struct TaskView {
    /// Id.
    pub id: String,
    /// Title.
    pub title: String,
    /// Repository.
    pub repository: String,
    /// Pushed.
    pub done: bool,
    /// Its proof.
    pub proof: Option<Proof>,
    /// Its commit.
    pub pushed: Option<Pushed>,
    /// What the agent said about it.
    pub result: Option<TaskResult>,
}

/// What could not be installed for a repository.
#[derive(Debug, Clone, Serialize)]
pub struct SetUpView {
    /// Its name, without the owner.
    pub repository: String,
    /// Why, one line each.
    pub notes: Vec<String>,
}

/// One pull request in a message.
#[derive(Debug, Clone, Serialize)]
pub struct PullRequestView {
    /// Repository.
    pub repository: String,
    /// Number.
    pub number: u64,
    /// Link.
    pub url: String,
    /// Link of PLAN.md on its branch.
    pub plan_url: String,
    /// Base branch.
    pub base: String,
    /// What CI said, in words; empty before.
    pub ci: String,
}

macro_rules! templates {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        /// The message templates.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Template {
            $($(#[$doc])* $name,)*
        }

        impl Template {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$name,)*];

            fn source(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$name => ($file, include_str!($file)),)*
                }
            }
        }
    };
}

templates! {
    /// PLAN.md.
    Plan = "plan.md";
    /// Body of the pull request, from draft to ready.
    PullRequest = "pull_request.md";
    /// Jira: the plan waits for approval.
    JiraPlan = "jira_plan.md";
    /// Jira: parked.
    JiraParked = "jira_parked.md";
    /// Jira: ready for review.
    JiraReady = "jira_ready.md";
    /// Jira: the end.
    JiraEnd = "jira_end.md";
    /// Slack: the plan waits for approval.
    SlackApproval = "slack_approval.md";
    /// Slack: small print under the buttons.
    SlackApprovalFoot = "slack_approval_foot.md";
    /// Slack: what replaces the buttons.
    SlackDecided = "slack_decided.md";
    /// Slack: work begins.
    SlackStarted = "slack_started.md";
    /// Slack: parked.
    SlackParked = "slack_parked.md";
    /// Slack: what replaces the buttons under a message that asks for money.
    SlackExtended = "slack_extended.md";
    /// Slack: ready for review.
    SlackReady = "slack_ready.md";
    /// Slack: the end.
    SlackEnd = "slack_end.md";
    /// Current details in Temporal's Web UI.
    Details = "details.md";
    /// Jira: description of the bug that an error becomes.
    ErrorBug = "error_bug.md";
    /// Jira: an error is back.
    ErrorEvidence = "error_evidence.md";
    /// Slack: an error.
    SlackError = "slack_error.md";
    /// Slack: what became of an error.
    SlackErrorEnd = "slack_error_end.md";
    /// Current details of an error's run.
    ErrorDetails = "error_details.md";
    /// A proof with the output of its runs, on the command line.
    Proof = "proof.md";
}

/// Renders a template with the view and extra variables.
pub fn render(template: Template, view: &TicketView, extra: Value) -> String {
    try_render(template, minijinja::context! { t => view, ..minijinja::Value::from_serialize(extra) })
        .unwrap_or_else(|error| format!("This message could not be written ({error}). The run goes on."))
}

/// Renders a template that is not about one ticket's run.
pub fn render_text(template: Template, variables: Value) -> String {
    try_render(template, minijinja::Value::from_serialize(variables))
        .unwrap_or_else(|error| format!("This message could not be written ({error}). The run goes on."))
}

fn try_render(template: Template, context: minijinja::Value) -> Result<String, minijinja::Error> {
    let (name, source) = template.source();
    let mut environment = environment();
    environment.add_template(name, source)?;
    let text = environment.get_template(name)?.render(context)?;
    Ok(text.trim().to_owned())
}

/// What every template may use.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.add_filter("plain", |text: String| one_line(&text));
    environment.add_filter("visible", |text: String| visible(&text));
    environment.add_filter("mrkdwn", |text: String| slack::escape(&one_line(&text)));
    environment.add_filter("cell", |text: String| one_line(&text).replace('|', "\\|"));
    environment.add_filter("quiet", |text: String| quiet(&text));
    environment.add_filter("code_span", |text: String| format!("`{}`", one_line(&text).replace('`', "'")));
    environment.add_filter("evidence", evidence::evidence);
    environment.add_filter("slack_date", slack::date);
    environment.add_filter("utc", slack::utc);
    environment.add_filter("code", |text: String| one_line(&text).replace("```", "'''"));
    environment.add_filter("short", |text: String| text.chars().take(8).collect::<String>());
    environment
}

/// Text from outside on one line, without invisible characters.
pub fn one_line(text: &str) -> String {
    visible(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `1 task`, `2 tasks`.
pub fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Text from outside on one line of at most `characters`.
pub fn shorten(text: &str, characters: usize) -> String {
    let text = one_line(text);
    if text.chars().count() <= characters {
        return text;
    }
    let kept: String = text.chars().take(characters.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests;
