//! What every step stands on: reading Sentry, saying something, calling activities, and what people see of the run.

use serde_json::json;
use temporalio_common::ActivityDefinition;
use temporalio_common::data_converters::TemporalDeserializable;
use temporalio_workflow::{WorkflowCancellationToken, WorkflowContext};

use super::{SentryIssueWorkflow, State};
use crate::contract::ids::{EffectKey, Generation};
use crate::contract::sentry::{ErrorEvent, ErrorIssue, ReadError, Sentry};
use crate::contract::slack::{PostMessage, Slack};
use crate::contract::trigger::ErrorReported;
use crate::kit::{self, CallError, now};
use crate::messages::{self, Template};
use crate::policy::Family;

/// A run at work.
pub(super) struct Watch {
    pub(super) ctx: WorkflowContext<SentryIssueWorkflow>,
    pub(super) token: WorkflowCancellationToken,
    pub(super) input: ErrorReported,
    pub(super) generation: Generation,
}

impl Watch {
    /// The issue as it is now; `None`: Sentry does not know it any more.
    pub(super) async fn read_issue(&self) -> Result<Option<ErrorIssue>, CallError> {
        let issue = self.call(Family::Read, "read the issue", Sentry::get_error, self.address()).await?;
        if issue.is_some() {
            self.write(|s| s.issue.clone_from(&issue));
        }
        Ok(issue)
    }

    pub(super) async fn newest_event(&self) -> Result<Option<ErrorEvent>, CallError> {
        self.call(Family::Read, "read the newest event", Sentry::latest_event, self.address()).await
    }

    /// Says how it ended to those who were told of it.
    pub(super) async fn tell_end(&self, how: &str) {
        let (issue, ticket, told) = self.read(|s| (s.issue.clone(), s.ticket.clone(), s.thread.is_some()));
        if let Some(issue) = issue.filter(|_| told) {
            let extra = json!({ "how": how, "ticket": ticket });
            self.tell("end", Template::SlackErrorEnd, &issue, extra, None).await;
        }
    }

    /// Says something about the error in its thread in the errors channel; what cannot be said is noted.
    pub(super) async fn tell(
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
        let links = [("View ticket", ticket_url.unwrap_or_default()), ("View in Sentry", issue.url.as_str())];
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

    pub(super) fn render(&self, template: Template, issue: &ErrorIssue, extra: serde_json::Value) -> String {
        let mut variables = json!({ "issue": issue });
        if let (Some(variables), serde_json::Value::Object(extra)) = (variables.as_object_mut(), extra) {
            variables.extend(extra);
        }
        messages::render_text(template, variables)
    }

    fn address(&self) -> ReadError {
        ReadError { issue: self.input.issue.clone(), redact: self.read(|s| s.policy.sentry.redact.clone()) }
    }

    pub(super) fn occurrence(&self, step: &str) -> u32 {
        self.write(|s| s.occurrences.next(step))
    }

    pub(super) fn effect(&self, step: &str) -> EffectKey {
        EffectKey::new(self.ctx.workflow_id(), &self.generation, step, self.occurrence(step))
    }

    pub(super) async fn call<A>(
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
    pub(super) fn enter(&self, doing: impl Into<String>) {
        let doing = doing.into();
        self.log(doing.clone());
        self.write(|s| s.doing.clone_from(&doing));
        let variables = self
            .read(|s| json!({ "issue": s.issue, "doing": s.doing, "ticket": s.ticket, "spent": s.spent.to_string() }));
        self.ctx.set_current_details(messages::render_text(Template::ErrorDetails, variables));
    }

    pub(super) fn log(&self, text: impl Into<String>) {
        let (at, text) = (now(&self.ctx), text.into());
        if !self.ctx.is_replaying() {
            tracing::info!(run = self.ctx.workflow_id(), "{text}");
        }
        self.write(|s| s.log.record(at, &text));
    }

    pub(super) fn read<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        self.ctx.state(|w| read(&w.state))
    }

    pub(super) fn write<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        self.ctx.state_mut(|w| change(&mut w.state))
    }
}
