//! One error that Sentry reports, from its first spike until it stays gone.
//!
//! Workflow type `sentry_issue`, id `sentry-<issue id>`, input [`ErrorReported`]. Signals: `reported` (the same issue again),
//! `cancel` is Temporal's own. Queries: `status`, `log`. Ends with [`ErrorEnd`].
//!
//! [`Watch::look_after`] is the business flow from top to bottom. Below its threshold an error has no effect at all.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use temporalio_common::ActivityDefinition;
use temporalio_common::data_converters::{RawValue, TemporalDeserializable};
use temporalio_common::error::ApplicationFailure;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    SyncWorkflowContext, WorkflowCancellationToken, WorkflowContext, WorkflowContextView, WorkflowResult,
    WorkflowTermination,
};

use crate::agent_run::{AgentWorkflow, decode_answer};
use crate::contract::agent::{AgentEnd, AgentInput, AgentName};
use crate::contract::analysis::ErrorAnalysis;
use crate::contract::ids::{EffectKey, Generation, TicketKey};
use crate::contract::jira::{FindReport, Jira, ReportBug, Reported, WriteComment};
use crate::contract::money::MicroUsd;
use crate::contract::policy::{Policy, PolicySource};
use crate::contract::sentry::{ErrorEvent, ErrorIssue, Level, LinkTicket, ReadError, Sentry};
use crate::contract::slack::{MessageRef, PostMessage, Slack};
use crate::contract::status::{LogEntry, Stage};
use crate::contract::tasks::Tasks;
use crate::contract::trigger::{ErrorReported, EventId, SENTRY_WORKFLOW, TicketLabelled};
use crate::kit::{self, CallError, Waited, now, wait_until};
use crate::messages::{self, Template};
use crate::policy::Family;

/// Label of every ticket that an error made.
pub const REPORT_LABEL: &str = "sentry-auto";
/// Entries kept in the log.
const LOG_ENTRIES: usize = 100;
/// First and longest pause between looks at the ticket.
const TICKET_POLLS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
/// Longest title in a ticket's summary, in characters.
const TITLE: usize = 80;

/// How the run of an error ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorEnd {
    /// Too few events; nothing was done.
    BelowThreshold {
        /// Events of the last 24 hours.
        events: u64,
        /// From how many on it counts.
        threshold: u64,
    },
    /// Somebody had resolved, ignored or archived it.
    NotUnresolved,
    /// Sentry does not know it any more.
    Deleted,
    /// There is no stack trace, or no Jira project: people were told, no ticket was made.
    ToldOnly(String),
    /// It stayed gone after the merge and was resolved in Sentry.
    Resolved(TicketKey),
    /// Its ticket ended without a merge.
    NotMended(TicketKey, String),
}

/// What the `status` query answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorStatus {
    /// What is going on, in words.
    pub doing: String,
    /// The issue, once it was read.
    pub issue: Option<ErrorIssue>,
    /// Its ticket.
    pub ticket: Option<TicketKey>,
    /// Spent on the analysis.
    pub spent: MicroUsd,
}

/// The `sentry_issue` workflow.
#[workflow]
pub struct SentryIssueWorkflow {
    input: Result<ErrorReported, String>,
    state: State,
}

#[derive(Default)]
struct State {
    policy: Policy,
    doing: String,
    issue: Option<ErrorIssue>,
    ticket: Option<TicketKey>,
    spent: MicroUsd,
    /// Reports that came while the run was at work.
    reports: u32,
    thread: Option<MessageRef>,
    occurrences: BTreeMap<String, u32>,
    log: VecDeque<LogEntry>,
}

#[workflow_methods]
impl SentryIssueWorkflow {
    #[init]
    fn new(_ctx: &WorkflowContextView, raw: RawValue) -> Self {
        Self { input: kit::decode(raw), state: State::default() }
    }

    /// Looks after the error until it is gone or nothing can be done.
    #[run(name = SENTRY_WORKFLOW)]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<ErrorEnd> {
        let input = match ctx.state(|s| s.input.clone()) {
            Ok(input) => input,
            Err(fault) => {
                let fault = format!("the input of {SENTRY_WORKFLOW} does not decode: {fault}");
                return Err(ApplicationFailure::non_retryable(fault).into());
            }
        };
        let generation = Generation::of_event(&input.event.id);
        let watch = Watch { ctx: ctx.clone(), token: ctx.cancellation_token(), input, generation };
        match watch.look_after().await {
            Ok(end) => {
                watch.enter(end.words());
                Ok(end)
            }
            Err(CallError::Cancelled) => Err(WorkflowTermination::cancelled()),
            Err(CallError::Failed(failure)) => {
                Err(ApplicationFailure::non_retryable(format!("{} The next sweep looks again.", failure.message))
                    .into())
            }
        }
    }

    /// The issue was reported again.
    #[signal(name = "reported")]
    pub fn reported(&mut self, _ctx: &mut SyncWorkflowContext<Self>, _raw: RawValue) {
        // Sentry is read again; what the report says does not matter.
        self.state.reports += 1;
    }

    /// Where it stands.
    #[query(name = "status")]
    pub fn status(&self, _ctx: &WorkflowContextView, _raw: RawValue) -> ErrorStatus {
        let State { doing, issue, ticket, spent, .. } = &self.state;
        ErrorStatus { doing: doing.clone(), issue: issue.clone(), ticket: ticket.clone(), spent: *spent }
    }

    /// What happened so far.
    #[query(name = "log")]
    pub fn log(&self, _ctx: &WorkflowContextView, _raw: RawValue) -> Vec<LogEntry> {
        self.state.log.iter().cloned().collect()
    }
}

impl ErrorEnd {
    fn words(&self) -> String {
        match self {
            Self::BelowThreshold { events, threshold } => {
                format!("{events} events in 24 hours, {threshold} are needed: nothing to do")
            }
            Self::NotUnresolved => "a person has resolved, ignored or archived it: nothing to do".to_owned(),
            Self::Deleted => "Sentry does not know it any more: nothing to do".to_owned(),
            Self::ToldOnly(why) => format!("told in Slack, no ticket: {why}"),
            Self::Resolved(ticket) => format!("stayed gone after {ticket}: resolved in Sentry"),
            Self::NotMended(ticket, how) => format!("{ticket} ended {how}: not mended"),
        }
    }
}

/// What is known of an issue after the first look.
enum Look {
    Counts(ErrorIssue),
    Ends(ErrorEnd),
}

struct Watch {
    ctx: WorkflowContext<SentryIssueWorkflow>,
    token: WorkflowCancellationToken,
    input: ErrorReported,
    generation: Generation,
}

impl Watch {
    /// The business flow.
    async fn look_after(&self) -> Result<ErrorEnd, CallError> {
        self.enter("reading the statistics");
        let policy: Policy = self.call(Family::Read, "read policy", PolicySource::read, ()).await?;
        self.write(|s| s.policy = policy);
        let issue = match self.look().await? {
            Look::Counts(issue) => issue,
            Look::Ends(end) => return Ok(end),
        };
        let event = self.call(Family::Read, "read the newest event", Sentry::latest_event, self.address()).await?;
        let known = self.known_report(&issue).await?;
        let ticket = match (known, event) {
            (Some(known), event) => self.add_evidence(&issue, event.as_ref(), known).await?,
            (None, Some(event)) if !event.frames.is_empty() => match self.report(&issue, &event).await? {
                Ok(ticket) => ticket,
                Err(end) => return Ok(end),
            },
            (None, _) => return Ok(self.tell_only(&issue, "Sentry has no stack trace of it").await),
        };
        loop {
            let merged_at = match self.await_ticket(&ticket).await? {
                Ok(merged_at) => merged_at,
                Err(how) => return Ok(ErrorEnd::NotMended(ticket, how)),
            };
            match self.await_quiet(&ticket, merged_at).await? {
                Some(end) => return Ok(end),
                None => self.seen_again(&ticket).await?,
            }
        }
    }

    /// Reads the issue and judges whether it counts. No effect.
    async fn look(&self) -> Result<Look, CallError> {
        let issue = self.call(Family::Read, "read the issue", Sentry::get_error, self.address()).await?;
        let Some(issue) = issue else { return Ok(Look::Ends(ErrorEnd::Deleted)) };
        self.write(|s| s.issue = Some(issue.clone()));
        if !issue.unresolved {
            return Ok(Look::Ends(ErrorEnd::NotUnresolved));
        }
        let threshold = self.read(|s| s.policy.sentry.thresholds.of(issue.level));
        if issue.events_24h < threshold {
            return Ok(Look::Ends(ErrorEnd::BelowThreshold { events: issue.events_24h, threshold }));
        }
        Ok(Look::Counts(issue))
    }

    /// The ticket that an earlier run made for this error: on the issue itself, or by fingerprint in Jira. Both outlive
    /// Temporal's retention.
    async fn known_report(&self, issue: &ErrorIssue) -> Result<Option<Reported>, CallError> {
        let Some(project) = self.project(issue) else { return Ok(None) };
        let request = FindReport {
            project,
            fingerprint: issue.fingerprint.clone(),
            label: REPORT_LABEL.to_owned(),
            days: self.read(|s| s.policy.sentry.dedupe_days),
        };
        self.call(Family::Read, "look for an earlier report", Jira::find_report, request).await
    }

    /// Analyses a new error, reports it as a bug, tells people and hands it over.
    async fn report(&self, issue: &ErrorIssue, event: &ErrorEvent) -> Result<Result<TicketKey, ErrorEnd>, CallError> {
        let Some(project) = self.project(issue) else {
            let why = format!("[policy.sentry.projects] names no Jira project for {}", issue.project);
            return Ok(Err(self.tell_only(issue, &why).await));
        };
        self.enter("finding out why it happens");
        let analysis = self.analyse(issue, event).await?;
        self.enter("reporting it");
        let high = matches!(issue.level, Level::Fatal | Level::Error);
        let bug = ReportBug {
            project,
            summary: format!("[AUTO] {}", messages::shorten(&issue.title, TITLE)),
            description: self.render(Template::ErrorBug, issue, json!({ "event": event, "analysis": analysis })),
            labels: vec![self.read(|s| s.policy.label.clone()), REPORT_LABEL.to_owned(), "error".to_owned()],
            priority: if high { "High" } else { "Medium" }.to_owned(),
            effect: self.effect("jira/bug"),
            fingerprint: issue.fingerprint.clone(),
        };
        let summary = format!("report {} as a bug", issue.short_id);
        let reported = self.call(Family::Effect, &summary, Jira::report_bug, bug).await?;
        self.write(|s| s.ticket = Some(reported.key.clone()));
        self.log(format!("reported as {}", reported.key));
        let link = LinkTicket { issue: issue.id.clone(), ticket: reported.key.clone(), url: reported.url.clone() };
        self.call(Family::Effect, "name the ticket on the issue", Sentry::link_ticket, link).await?;
        let extra = json!({ "ticket": reported.key, "ticket_url": reported.url, "analysis": analysis, "why": "" });
        self.tell("reported", Template::SlackError, issue, extra, Some(&reported.url)).await;
        self.hand_over(&reported.key, issue).await?;
        Ok(Ok(reported.key))
    }

    /// The sentry agent's analysis; `None` when it came to none: the bug is reported without it.
    async fn analyse(&self, issue: &ErrorIssue, event: &ErrorEvent) -> Result<Option<ErrorAnalysis>, CallError> {
        let agent = AgentName::Sentry;
        let (model, lease, command_seconds) = self.read(|s| {
            let lease = MicroUsd(s.policy.budget.error_cap_micro_usd);
            (s.policy.models.get(agent.as_str()).cloned(), lease, s.policy.execution.command_seconds)
        });
        let Some(model) = model else {
            self.log("not analysed: the policy names no model for the sentry agent");
            return Ok(None);
        };
        let input = AgentInput {
            agent,
            ticket: None,
            generation: self.generation.clone(),
            model,
            brief: json!({ "issue": issue, "event": event }),
            workspace: None,
            command_seconds,
            lease,
            progress: None,
        };
        let raw = RawValue::from_value(&input, self.ctx.payload_converter());
        let id = format!("{}/{agent}/{}", self.ctx.workflow_id(), self.generation);
        let title = format!("{}: {agent}", issue.short_id);
        let nothing = std::future::pending();
        let ended = kit::run_child(&self.ctx, &self.token, AgentWorkflow::run, raw, id, title, nothing).await;
        let result = match ended {
            Ok(result) => result,
            Err(CallError::Cancelled) => return Err(CallError::Cancelled),
            Err(CallError::Failed(failure)) => {
                self.write(|s| s.spent += lease);
                self.log(format!("not analysed: {}", failure.message));
                return Ok(None);
            }
        };
        self.write(|s| s.spent += result.spent);
        self.log(format!("{agent} agent: {} model turns, {}", result.turns, result.spent));
        let why = match result.end {
            AgentEnd::Answered(answer) => match decode_answer(answer) {
                Ok(analysis) => return Ok(Some(analysis)),
                Err(fault) => fault,
            },
            AgentEnd::InvalidAnswer(fault) | AgentEnd::Failed(fault) | AgentEnd::Limit(fault) => fault,
            AgentEnd::Budget { needed } => format!("{lease} are used up, the next model call may cost {needed}"),
        };
        self.log(format!("not analysed: {why}"));
        Ok(None)
    }

    /// An error that was reported before is back: its ticket gets the new evidence, once, and work on it goes on or begins anew.
    async fn add_evidence(
        &self,
        issue: &ErrorIssue,
        event: Option<&ErrorEvent>,
        known: Reported,
    ) -> Result<TicketKey, CallError> {
        self.write(|s| s.ticket = Some(known.key.clone()));
        if known.done {
            self.enter(format!("{} is done, but the error is back", known.key));
            let comment = WriteComment {
                ticket: known.key.clone(),
                effect: self.effect("jira/evidence"),
                markdown: self.render(Template::ErrorEvidence, issue, json!({ "event": event })),
            };
            let summary = format!("add evidence to {}", known.key);
            self.call(Family::Effect, &summary, Jira::write_comment, comment).await?;
            let extra = json!({
                "ticket": known.key, "ticket_url": known.url, "analysis": null, "why": "It is back after its ticket was done."
            });
            self.tell("back", Template::SlackError, issue, extra, Some(&known.url)).await;
            self.hand_over(&known.key, issue).await?;
        } else {
            self.log(format!("already reported as {}", known.key));
        }
        let link = LinkTicket { issue: issue.id.clone(), ticket: known.key.clone(), url: known.url };
        self.call(Family::Effect, "name the ticket on the issue", Sentry::link_ticket, link).await?;
        Ok(known.key)
    }

    /// After the merge, while we were still watching.
    async fn seen_again(&self, ticket: &TicketKey) -> Result<(), CallError> {
        let issue = self.call(Family::Read, "read the issue", Sentry::get_error, self.address()).await?;
        let Some(issue) = issue else { return Ok(()) };
        let event = self.call(Family::Read, "read the newest event", Sentry::latest_event, self.address()).await?;
        let request = Reported { key: ticket.clone(), url: String::new(), done: true };
        let url = self.call(Family::Read, &format!("read {ticket}"), Jira::get_ticket, ticket.clone()).await?.url;
        self.add_evidence(&issue, event.as_ref(), Reported { url, ..request }).await?;
        Ok(())
    }

    /// The one start function: Jira's own webhook about the label joins the same run.
    async fn hand_over(&self, ticket: &TicketKey, issue: &ErrorIssue) -> Result<(), CallError> {
        let labelled = TicketLabelled {
            ticket: ticket.clone(),
            event: EventId {
                id: format!("sentry-{}-{}-{}", issue.id, self.generation, self.occurrence("hand over")),
                at: now(&self.ctx).saturating_mul(1000),
            },
            by: None,
            summary: format!("[AUTO] {}", messages::shorten(&issue.title, TITLE)),
        };
        let started = self.call(Family::Effect, &format!("start {ticket}"), Tasks::start_ticket, labelled).await?;
        self.log(format!("{} {}", started.workflow_id, if started.new { "started" } else { "joined" }));
        Ok(())
    }

    /// Waits for the ticket's end: when it was merged (seconds since 1970), or how else it ended.
    async fn await_ticket(&self, ticket: &TicketKey) -> Result<Result<i64, String>, CallError> {
        self.enter(format!("{ticket} is at work"));
        let quiet = Duration::from_secs(self.read(|s| s.policy.sentry.quiet_seconds).max(1));
        let mut pause = TICKET_POLLS.0.min(quiet);
        loop {
            let summary = format!("look at {ticket}");
            let state = self.call(Family::Read, &summary, Tasks::ticket_state, ticket.clone()).await?;
            match state {
                // Forgotten, or it never began: its label was taken off before we handed it over.
                None => return Ok(Err("unknown to Temporal".to_owned())),
                Some(state) if !state.running => {
                    let merged = state.status.as_ref().is_some_and(|status| status.stage == Stage::Merged)
                        || state.state == Stage::Merged.as_str();
                    let how = state.status.map_or(state.state, |status| status.stage.to_string());
                    return Ok(if merged { Ok(now(&self.ctx)) } else { Err(how) });
                }
                Some(_) => {}
            }
            match wait_until(&self.ctx, &self.token, pause, "look at the ticket again", |_| false).await {
                Waited::Cancelled => return Err(CallError::Cancelled),
                _ => pause = (pause * 2).min(TICKET_POLLS.1),
            }
        }
    }

    /// Waits until the error stays gone; `None`: it was seen again.
    async fn await_quiet(&self, ticket: &TicketKey, merged_at: i64) -> Result<Option<ErrorEnd>, CallError> {
        let quiet = self.read(|s| s.policy.sentry.quiet_seconds);
        self.enter(format!("{ticket} is merged, waiting whether the error stays gone"));
        let (reports, mut since) = (self.read(|s| s.reports), merged_at);
        loop {
            let left = since.saturating_add_unsigned(quiet).saturating_sub(now(&self.ctx));
            let limit = Duration::from_secs(u64::try_from(left).unwrap_or_default().max(1));
            let waited =
                wait_until(&self.ctx, &self.token, limit, "it stays gone", |w| w.state.reports > reports).await;
            if waited == Waited::Cancelled {
                return Err(CallError::Cancelled);
            }
            let issue = self.call(Family::Read, "read the issue", Sentry::get_error, self.address()).await?;
            let Some(issue) = issue else { return Ok(Some(ErrorEnd::Deleted)) };
            self.write(|s| s.issue = Some(issue.clone()));
            if !issue.unresolved {
                self.tell_end(&issue, "A person has resolved it in Sentry.").await;
                return Ok(Some(ErrorEnd::NotUnresolved));
            }
            if issue.last_seen > merged_at {
                // Releases take a while: what the old one still reports is no proof. It counts once a whole quiet time
                // has passed since the merge, or somebody reported it.
                if waited == Waited::Fulfilled || since > merged_at {
                    return Ok(None);
                }
                since = issue.last_seen;
                continue;
            }
            self.call(Family::Effect, "resolve the issue", Sentry::resolve, issue.id.clone()).await?;
            self.tell_end(&issue, "It stayed gone after the merge: resolved in Sentry.").await;
            return Ok(Some(ErrorEnd::Resolved(ticket.clone())));
        }
    }

    async fn tell_only(&self, issue: &ErrorIssue, why: &str) -> ErrorEnd {
        let extra = json!({ "ticket": "", "ticket_url": "", "analysis": null, "why": format!("No ticket: {why}.") });
        self.tell("told", Template::SlackError, issue, extra, None).await;
        ErrorEnd::ToldOnly(why.to_owned())
    }

    async fn tell_end(&self, issue: &ErrorIssue, how: &str) {
        let extra = json!({ "how": how, "ticket": self.read(|s| s.ticket.clone()) });
        self.tell("end", Template::SlackErrorEnd, issue, extra, None).await;
    }

    /// Says something about the error in its thread in the errors channel; what cannot be said is noted.
    async fn tell(
        &self,
        step: &str,
        template: Template,
        issue: &ErrorIssue,
        extra: serde_json::Value,
        ticket_url: Option<&str>,
    ) {
        let (channel, root) = self.read(|s| (s.policy.slack.errors.clone(), s.thread.clone()));
        if channel.is_empty() {
            return;
        }
        let text = self.render(template, issue, extra);
        let mut links = vec![("View in Sentry", issue.url.as_str())];
        links.extend(ticket_url.map(|url| ("View ticket", url)));
        let message = PostMessage {
            channel: root.as_ref().map_or(channel, |root| root.channel.clone()),
            thread: root.map(|root| root.ts),
            effect: self.effect(&format!("slack/{step}")),
            blocks: messages::slack::with_links(&text, &links),
            text,
        };
        match self.call(Family::Effect, "tell Slack about the error", Slack::post_message, message).await {
            Ok(posted) => self.write(|s| {
                s.thread.get_or_insert(posted);
            }),
            Err(CallError::Failed(failure)) => self.log(format!("Slack was not told: {}", failure.message)),
            Err(CallError::Cancelled) => {}
        }
    }

    fn render(&self, template: Template, issue: &ErrorIssue, extra: serde_json::Value) -> String {
        let mut variables = json!({ "issue": issue });
        if let (Some(variables), serde_json::Value::Object(extra)) = (variables.as_object_mut(), extra) {
            variables.extend(extra);
        }
        messages::render_text(template, variables)
    }

    fn address(&self) -> ReadError {
        ReadError { issue: self.input.issue.clone(), redact: self.read(|s| s.policy.sentry.redact.clone()) }
    }

    fn project(&self, issue: &ErrorIssue) -> Option<String> {
        self.read(|s| s.policy.sentry.projects.get(&issue.project).cloned())
    }

    fn occurrence(&self, step: &str) -> u32 {
        self.write(|s| {
            let n = s.occurrences.entry(step.to_owned()).or_default();
            *n += 1;
            *n
        })
    }

    fn effect(&self, step: &str) -> EffectKey {
        EffectKey::new(self.ctx.workflow_id(), &self.generation, step, self.occurrence(step))
    }

    async fn call<A>(
        &self,
        family: Family,
        summary: &str,
        activity: A,
        input: impl Into<A::Input>,
    ) -> Result<A::Output, CallError>
    where
        A: ActivityDefinition,
        A::Input: Clone,
        A::Output: TemporalDeserializable,
    {
        kit::call(&self.ctx, &self.token, family, summary, activity, input.into()).await
    }

    /// Shows what is going on: log and current details.
    fn enter(&self, doing: impl Into<String>) {
        let doing = doing.into();
        self.log(doing.clone());
        self.write(|s| s.doing.clone_from(&doing));
        let variables = self
            .read(|s| json!({ "issue": s.issue, "doing": s.doing, "ticket": s.ticket, "spent": s.spent.to_string() }));
        self.ctx.set_current_details(messages::render_text(Template::ErrorDetails, variables));
    }

    fn log(&self, text: impl Into<String>) {
        let (at, text) = (now(&self.ctx), text.into());
        if !self.ctx.is_replaying() {
            tracing::info!(run = self.ctx.workflow_id(), "{text}");
        }
        self.write(|s| {
            s.log.push_back(LogEntry { at, text: text.chars().take(500).collect() });
            if s.log.len() > LOG_ENTRIES {
                s.log.pop_front();
            }
        });
    }

    fn read<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        self.ctx.state(|w| read(&w.state))
    }

    fn write<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        self.ctx.state_mut(|w| change(&mut w.state))
    }
}
