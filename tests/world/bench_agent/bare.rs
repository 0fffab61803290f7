//! The loop without the loop: a workflow that calls the same two activities in turn, with the same inputs and options, and
//! does nothing else. What the agent takes longer is what it costs.

#![expect(unreachable_pub, reason = "the SDK's macros make public markers")]

use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{WorkflowContext, WorkflowResult};
use workflows::contract::agent::AgentInput;
use workflows::contract::ids::EffectKey;
use workflows::contract::model::{CallOutput, CallResult, Model, News, TakeTurn, TurnOutcome};
use workflows::contract::tools::{ReadCall, ReadTools, ToolReply};
use workflows::policy::{Family, activity_options};

/// The bare workflow.
#[workflow]
#[derive(Default)]
pub struct BareWorkflow;

#[workflow_methods]
impl BareWorkflow {
    /// Takes turns until the model submits its answer; returns how many.
    #[run(name = "bench_bare")]
    pub async fn run(ctx: &mut WorkflowContext<Self>, input: AgentInput) -> WorkflowResult<u32> {
        let token = ctx.cancellation_token();
        let (mut head, mut news) = (None, News::Brief(input.brief));
        let mut turn = 0;
        loop {
            turn += 1;
            let request = TakeTurn {
                agent: input.agent,
                model: input.model.id.clone(),
                max_tokens: input.model.max_tokens,
                head: head.take(),
                news,
                remarks: Vec::new(),
                hand_over: false,
                known_tokens: 0,
                effect: EffectKey::new(ctx.workflow_id(), &input.generation, "turn", turn),
                limit: input.lease,
            };
            let summary = format!("ask {} model (turn {turn})", input.agent);
            let options = activity_options(Family::Model, &token, &summary);
            let outcome = ctx.execute_activity(Model::take_turn, request, options).await?;
            let TurnOutcome::Replied(reply) = outcome else { return Ok(turn) };
            let Some(call) = reply.calls.into_iter().next() else { return Ok(turn) };
            let options = activity_options(Family::Read, &token, &call.label);
            let id = call.id.clone();
            let request = ReadCall { ticket: input.ticket.clone(), issue: None, repository: None, call };
            let ToolReply { output, is_error } = ctx.execute_activity(ReadTools::read, request, options).await?;
            head = Some(reply.head);
            news = News::Results(vec![CallResult { id, output: CallOutput::Blob(output), is_error }]);
        }
    }
}
