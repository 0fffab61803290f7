//! The tool calls of one reply, each an activity.

use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;
use temporalio_workflow::workflows::join_all;

use super::{Run, Stop, guards, refusal};
use crate::agents::toolbox::{Effect, Home};
use crate::contract::agent::AgentEnd;
use crate::contract::failure::FailureKind;
use crate::contract::model::{CallOutput, CallResult, HAND_OVER};
use crate::contract::tools::{ReadCall, ReadTools, ToolCall, ToolReply};
use crate::contract::workspace::{WorkspaceCall, Workspaces};
use crate::kit::{self, CallError, Failure};
use crate::policy::Family;

/// Calls of one reply that are run.
const CALLS: usize = 16;

impl Run {
    /// Reads that stand side by side run in parallel, writes in order.
    pub(super) async fn answer_calls(&self, calls: &[ToolCall]) -> Result<Vec<CallResult>, Stop> {
        let mut results = Vec::with_capacity(calls.len());
        let most = if self.is_guarded() { CALLS } else { usize::MAX };
        let (mut rest, too_many) = calls.split_at(calls.len().min(most));
        while !rest.is_empty() {
            let reads = rest.iter().take_while(|call| self.is_read(call)).count();
            let (batch, after) = rest.split_at(reads.max(1));
            for result in join_all(batch.iter().map(|call| self.answer_call(call))).await {
                results.push(result?);
            }
            rest = after;
        }
        if self.is_guarded() {
            self.look_for_repeats(calls, &results)?;
        }
        results.extend(too_many.iter().map(|call| {
            refusal(&call.id, format!("Not run: at most {CALLS} calls of one reply are. Call it again if you need it."))
        }));
        Ok(results)
    }

    pub(super) fn is_read(&self, call: &ToolCall) -> bool {
        self.spec.tool(&call.name).is_none_or(|tool| tool.effect == Effect::Read)
    }

    async fn answer_call(&self, call: &ToolCall) -> Result<CallResult, Stop> {
        if call.name == HAND_OVER {
            return Ok(refusal(&call.id, "Nobody asked for a hand-over. Go on with your task.".to_owned()));
        }
        let Some(tool) = self.spec.tool(&call.name) else {
            let known: Vec<&str> = self.spec.tools.iter().map(|tool| tool.name).collect();
            let text = format!("There is no tool {:?}. Your tools: {}, submit_answer.", call.name, known.join(", "));
            return Ok(refusal(&call.id, text));
        };
        let answered = match tool.home {
            Home::Services => {
                let request = ReadCall {
                    ticket: self.input.ticket.clone(),
                    issue: named(&self.input.brief, "/issue/id"),
                    repository: named(&self.input.brief, "/repository"),
                    call: call.clone(),
                };
                kit::call(&self.ctx, &self.token, Family::Read, &call.label, ReadTools::read, request).await
            }
            Home::Workspace => self.call_workspace(call).await,
        };
        match answered {
            Ok(ToolReply { output, is_error }) => {
                Ok(CallResult { id: call.id.clone(), output: CallOutput::Blob(output), is_error })
            }
            // Wrong input and missing objects are replies; what is missing or invalid here is something of ours, a blob most
            // likely, and no model can do anything about it.
            Err(CallError::Failed(Failure { kind: FailureKind::NotFound | FailureKind::Invalid, message, .. }))
                if self.is_guarded() =>
            {
                Err(Stop::End(AgentEnd::Failed(format!("{} failed: {message}", call.name))))
            }
            Err(CallError::Failed(failure)) => {
                // Its words may be those of a service or of a process in the sandbox: they are for people.
                if !self.ctx.is_replaying() {
                    tracing::warn!(
                        run = self.ctx.workflow_id(),
                        tool = call.name,
                        "a tool failed: {}",
                        failure.message
                    );
                }
                Ok(refusal(&call.id, format!("{} failed and does not work now. Go on without it.", call.name)))
            }
            Err(cancelled @ CallError::Cancelled) => Err(cancelled.into()),
        }
    }

    async fn call_workspace(&self, call: &ToolCall) -> Result<ToolReply, CallError> {
        let Some(workspace) = self.progress(|p| p.workspace.clone()) else {
            return Err(CallError::Failed(Failure::new(FailureKind::Unexpected, "there is no workspace")));
        };
        let command_seconds = self.input.command_seconds;
        let family = Family::Sandbox { commands: Duration::from_secs(command_seconds) };
        let request = WorkspaceCall { workspace, call: call.clone(), command_seconds };
        let done = kit::call(&self.ctx, &self.token, family, &call.label, Workspaces::call_tool, request).await?;
        self.update(|p| {
            if p.workspace.as_ref() != Some(&done.workspace) {
                // On other files the same call is another one.
                p.seen.clear();
            }
            p.workspace = Some(done.workspace);
        });
        Ok(done.reply)
    }

    /// The same call with the same result, over and over, is a model that got stuck: it is told, then stopped.
    /// Twins in one reply count once: the model did not know the result yet.
    fn look_for_repeats(&self, calls: &[ToolCall], results: &[CallResult]) -> Result<(), Stop> {
        let mut seen_in_this = Vec::new();
        for (call, result) in calls.iter().zip(results) {
            let what = guards::sameness(call, result);
            if seen_in_this.contains(&what) {
                continue;
            }
            let times = self.update(|p| guards::count(&mut p.seen, &what));
            seen_in_this.push(what);
            if times >= guards::REPEATS {
                let limit = format!("{times} times the same call with the same result: {}", call.label);
                return Err(Stop::End(AgentEnd::Limit(limit)));
            }
            if times == guards::REPEATS_TOLD {
                let note = format!(
                    "You made this call {times} times and got the same result each time: {}. It will not change. Do \
                     something else, or submit your answer.",
                    call.label
                );
                self.update(|p| p.notes.push(note));
            }
        }
        Ok(())
    }
}

/// What the brief is about, in a field that whoever sends the agent has filled, never a text from outside.
fn named<T: FromStr>(brief: &Value, field: &str) -> Option<T> {
    brief.pointer(field)?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contract::ids::{RepositoryName, SentryIssueId};

    #[test]
    fn a_brief_names_what_tools_may_read() {
        let brief = json!({"repository": "acme/shop", "issue": {"id": "7", "title": "x"}});
        assert_eq!(named::<RepositoryName>(&brief, "/repository").unwrap().as_str(), "acme/shop");
        assert_eq!(named::<SentryIssueId>(&brief, "/issue/id").unwrap().as_str(), "7");
        assert_eq!(named::<SentryIssueId>(&json!({"issue": "SHOP-1"}), "/issue/id"), None);
    }
}
