//! Somebody mentioned the bot in Slack: the slack agent answers in the thread, or proposes a command behind a button.
//!
//! Workflow type `mention`, id `slack-<team>-<event id>`, input [`Mentioned`]. It ends with what was said. Who may ask is said by
//! the access rules, before a model is called. Nothing that the agent says has an effect of its own: a proposed command waits
//! for the person's click, and is judged like any other.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use temporalio_common::data_converters::RawValue;
use temporalio_common::error::ApplicationFailure;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    WorkflowCancellationToken, WorkflowContext, WorkflowContextView, WorkflowResult, WorkflowTermination,
};

use crate::agent_call::{self, Errand};
use crate::agent_run::decode_answer;
use crate::contract::access::{Access, Action, MayThey, Verdict};
use crate::contract::agent::{AgentEnd, AgentName};
use crate::contract::analysis::{MentionReply, ProposedWord};
use crate::contract::ids::{EffectKey, Generation};
use crate::contract::money::MicroUsd;
use crate::contract::policy::{Policy, PolicySource};
use crate::contract::slack::{PostMessage, Slack, TellPerson};
use crate::contract::trigger::{MENTION_WORKFLOW, Mentioned};
use crate::kit::{self, CallError};
use crate::messages::slack::{escape, proposal, section};
use crate::policy::Family;
use crate::search_attributes::COST_USD;

/// What was said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The text.
    pub text: String,
    /// What it cost, in millionths of a US dollar.
    #[serde(rename = "spent_micro_usd")]
    pub spent: MicroUsd,
}

/// The `mention` workflow.
#[workflow]
pub struct MentionWorkflow {
    input: Result<Mentioned, String>,
}

#[workflow_methods]
impl MentionWorkflow {
    #[init]
    fn new(_ctx: &WorkflowContextView, raw: RawValue) -> Self {
        Self { input: kit::decode(raw) }
    }

    /// Answers.
    #[run(name = MENTION_WORKFLOW)]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<Answered> {
        let mention = match ctx.state(|w| w.input.clone()) {
            Ok(mention) => mention,
            Err(fault) => {
                let fault = format!("the input of {MENTION_WORKFLOW} does not decode: {fault}");
                return Err(ApplicationFailure::non_retryable(fault).into());
            }
        };
        let generation = Generation::of_event(&mention.event.id);
        let talk = Talk { ctx: ctx.clone(), token: ctx.cancellation_token(), mention, generation };
        match talk.answer().await {
            Ok(answered) => Ok(answered),
            Err(CallError::Cancelled) => Err(WorkflowTermination::cancelled()),
            Err(CallError::Failed(failure)) => Err(ApplicationFailure::non_retryable(failure.message).into()),
        }
    }
}

/// A mention that is being answered.
struct Talk {
    ctx: WorkflowContext<MentionWorkflow>,
    token: WorkflowCancellationToken,
    mention: Mentioned,
    generation: Generation,
}

impl Talk {
    async fn answer(&self) -> Result<Answered, CallError> {
        self.ctx.set_current_details(format!("{} asks: {}", self.mention.by.label(), self.mention.text));
        if let Verdict::Refused(why) = self.may_they_ask().await? {
            return self.refuse(&why).await;
        }
        let policy: Policy =
            kit::call(&self.ctx, &self.token, Family::Read, "read policy", PolicySource::read, ()).await?;
        let (reply, spent) = self.ask(&policy).await?;
        self.ctx.upsert_search_attributes([COST_USD.value_set(spent.as_usd())]);
        let (text, blocks) = match reply {
            Ok(reply) => shown(reply),
            Err(fault) => {
                let text = format!(
                    "I could not answer: {}. `/agent help` shows what I understand without a model.",
                    escape(&fault)
                );
                (text.clone(), vec![section(&text)])
            }
        };
        let message = PostMessage {
            channel: self.mention.channel.clone(),
            thread: Some(self.mention.thread.clone()),
            effect: EffectKey::new(self.ctx.workflow_id(), &self.generation, "slack/answer", 1),
            text: text.clone(),
            blocks,
        };
        kit::call(&self.ctx, &self.token, Family::Effect, "answer in Slack", Slack::post_message, message).await?;
        self.ctx.set_current_details(format!("{} asked: {}\n\n{text}", self.mention.by.label(), self.mention.text));
        Ok(Answered { text, spent })
    }

    /// Asks the access rules in force now.
    async fn may_they_ask(&self) -> Result<Verdict, CallError> {
        let by = &self.mention.by;
        let question = MayThey { who: by.clone(), action: Action::Ask, ticket: None, requested_by: None };
        let summary = format!("check the rights of {}", by.label());
        kit::call(&self.ctx, &self.token, Family::Read, &summary, Access::may_they, question).await
    }

    /// Tells the person alone. In the channel: a note in a thread without replies stays unseen.
    async fn refuse(&self, why: &str) -> Result<Answered, CallError> {
        let by = &self.mention.by;
        let text =
            format!("Your mention was refused: {}. `/agent help` shows what works without a model.", escape(why));
        let note = TellPerson {
            channel: self.mention.channel.clone(),
            thread: None,
            person: by.id.clone(),
            text: text.clone(),
        };
        let summary = format!("tell {}: refused", by.label());
        kit::call(&self.ctx, &self.token, Family::Effect, &summary, Slack::tell_person, note).await?;
        self.ctx.set_current_details(format!("{} was refused: {why}", by.label()));
        Ok(Answered { text, spent: MicroUsd::default() })
    }

    /// The agent's reply, or why there is none, and what it cost.
    async fn ask(&self, policy: &Policy) -> Result<(Result<MentionReply, String>, MicroUsd), CallError> {
        let agent = AgentName::Slack;
        let lease = MicroUsd(policy.budget.mention_cap_micro_usd);
        let errand = Errand {
            agent,
            ticket: None,
            generation: self.generation.clone(),
            brief: json!({ "by": self.mention.by.label(), "text": self.mention.text }),
            workspace: None,
            lease,
            purse: None,
        };
        let id = format!("{}/{agent}/1", self.ctx.workflow_id());
        let title = format!("{}: {agent}", self.mention.by.label());
        let ended = match agent_call::call(&self.ctx, &self.token, policy, id, title, errand).await {
            Ok(ended) => ended,
            Err(message) => return Ok((Err(message), MicroUsd::default())),
        };
        let result = match ended {
            Ok(result) => result,
            Err(CallError::Cancelled) => return Err(CallError::Cancelled),
            // A child that died cannot say what it spent: its whole lease counts as gone.
            Err(CallError::Failed(failure)) => return Ok((Err(failure.message), lease)),
        };
        let reply = match (agent_call::fault(&result.end), result.end) {
            (None, AgentEnd::Answered(answer)) => decode_answer(answer),
            (fault, _) => Err(fault.unwrap_or_default()),
        };
        Ok((reply, result.spent))
    }
}

/// Text and blocks of a reply.
fn shown(reply: MentionReply) -> (String, Vec<Value>) {
    let text = escape(reply.text.trim());
    let blocks = match reply.command {
        None => vec![section(&text)],
        Some(command) => {
            let word = match command.word {
                ProposedWord::Retry => "retry",
                ProposedWord::Cancel => "cancel",
            };
            proposal(&text, &command.ticket, word)
        }
    };
    (text, blocks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::analysis::ProposedCommand;

    #[test]
    fn a_proposed_command_waits_behind_a_button() {
        let command = Some(ProposedCommand { word: ProposedWord::Retry, ticket: "SHOP-1".into() });
        let (text, blocks) = shown(MentionReply { text: " It is parked <now>. ".into(), command });
        assert_eq!(text, "It is parked &lt;now&gt;.");
        let button = &blocks[1]["elements"][0];
        assert_eq!(button["action_id"], "confirm_command");
        assert_eq!(button["value"], r#"{"ticket":"SHOP-1","word":"retry"}"#);
        assert_eq!(button["text"]["text"], "Retry SHOP-1");
        let (_, blocks) = shown(MentionReply { text: "Fine.".into(), command: None });
        assert_eq!(blocks.len(), 1);
    }
}
