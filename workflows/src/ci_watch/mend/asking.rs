//! What rules cannot tell the ci agent is asked: why a check is red, and for a fix that leaves the tests what they are.

use std::time::Duration;

use serde_json::json;

use super::super::{EndedAgent, Mending, Watch};
use super::{Red, Stop};
use crate::agent_call::{self, Errand, Means};
use crate::agent_run::decode_answer;
use crate::contract::agent::{AgentEnd, AgentName, AgentResult, AgentSpent};
use crate::contract::analysis::{FailureAnalysis, RedKind};
use crate::contract::github::Check;
use crate::contract::money::MicroUsd;
use crate::contract::policy::ModelChoice;
use crate::contract::workspace::{Prove, Survey, SurveyRequest, Workspace, Workspaces};
use crate::kit::{CallError, Failure};
use crate::messages::{one_line, shorten};
use crate::patches;
use crate::policy::{Family, PROOF_RUNS, SET_UP};

/// Longest reason of a refused change in a diagnosis, in characters.
const REFUSAL: usize = 300;
/// Longest description of a change in its commit message and in the pull request, in characters.
const CHANGE: usize = 600;

impl Watch {
    /// Lets the ci agent find out why, and pushes what it may mend.
    pub(super) async fn ask_agent(
        &mut self,
        mending: &Mending,
        all: &[Check],
        reds: &[&Red],
        files: Vec<String>,
    ) -> Result<(), Stop> {
        let Some(first) = reds.first() else { return Err(self.escalate(all, None, String::new())) };
        let lease = mending.lease.saturating_sub(self.spent);
        let has_money = lease.0 > 0 || mending.purse.is_some();
        let (Some(model), true) = (mending.model.clone(), has_money) else {
            let cause = format!("{} No model may look further: its budget is used up.", first.cause());
            return Err(self.escalate(all, first.kind(), cause));
        };
        self.tell(true, format!("finding out why {} is red", first.check.name)).await;
        let checks: Vec<_> = reds
            .iter()
            .map(|red| json!({ "name": red.check.name, "state": "failed", "url": red.check.url, "job": red.check.job, "log": red.tail }))
            .collect();
        let survey = match self.ctx.patched(patches::SURVEY) {
            true => self.survey(files.clone()).await?,
            false => None,
        };
        let mut brief = json!({
            "repository": self.head.repository,
            "number": mending.pull_request.number,
            "sha": self.head.sha,
            "attempt": self.attempts + 1,
            "files": files,
            "checks": checks,
            "refusal": self.refusal,
            "guidance": mending.guidance,
        });
        agent_call::tell_survey(&mut brief, survey.as_ref());
        let (agent, ended) = self.run_agent(mending, model, lease, brief).await?;
        let told = |spent, turns| AgentSpent { agent, spent, turns };
        let (end, workspace) = match ended {
            Ok(result) => {
                self.spent += result.spent;
                self.ended = Some(EndedAgent { told: told(result.spent, result.turns), lost: false });
                self.work.turns += result.turns;
                self.work.usage += result.usage;
                self.work.heard.extend(result.heard);
                (result.end, result.workspace)
            }
            Err(failure) => {
                // A child that died cannot say what it spent: its whole lease counts as gone.
                self.spent += lease;
                self.work.lost = true;
                self.ended = Some(EndedAgent { told: told(lease, 0), lost: true });
                (AgentEnd::Failed(failure.message), None)
            }
        };
        // A cancelled agent says what it spent; its watch has nothing left to do.
        if mending.purse.is_some() && self.token.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        let fault = agent_call::fault(&end);
        let decoded: Result<FailureAnalysis, String> = match (fault, end) {
            (None, AgentEnd::Answered(answer)) => decode_answer(answer),
            (fault, _) => Err(format!("The ci agent found no cause: {}.", fault.unwrap_or_default())),
        };
        let analysis = match decoded {
            Ok(analysis) => analysis,
            Err(fault) => return Err(self.escalate(all, first.kind(), format!("{} {fault}", first.cause()))),
        };
        self.act_on(mending, all, first, &analysis, workspace).await
    }

    /// What the repository says about itself; the agent can do without.
    async fn survey(&mut self, near: Vec<String>) -> Result<Option<Survey>, Stop> {
        let request = SurveyRequest { workspace: self.workspace(), near };
        let family = Family::Sandbox { commands: SET_UP };
        Ok(self.call(family, "survey the repository", Workspaces::survey, request).await?.ok())
    }

    async fn act_on(
        &mut self,
        mending: &Mending,
        all: &[Check],
        first: &Red,
        analysis: &FailureAnalysis,
        workspace: Option<Workspace>,
    ) -> Result<(), Stop> {
        let cause = shorten(&analysis.root_cause, 1000);
        match analysis.kind {
            RedKind::Logic | RedKind::Compile if analysis.caused_by_this_branch => {
                Err(self.give_back(first, analysis.kind, &cause))
            }
            RedKind::Infrastructure | RedKind::Flaky => self.wait_out_the_runner(all, &[&first.check], cause).await,
            RedKind::Logic | RedKind::Compile | RedKind::Security | RedKind::BaseBranch => {
                let not_ours = if analysis.caused_by_this_branch { "" } else { " It is not from this change." };
                Err(self.escalate(all, Some(analysis.kind), format!("{cause}{not_ours}")))
            }
            _ => match workspace.filter(|workspace| analysis.fixed && workspace.snapshot.is_some()) {
                Some(workspace) => self.push_if_honest(mending, all, analysis, workspace).await,
                None => Err(self.escalate(all, Some(analysis.kind), cause)),
            },
        }
    }

    /// A model's change that makes CI green by asking for less is no fix: that was an attempt, and the next one knows why.
    async fn push_if_honest(
        &mut self,
        mending: &Mending,
        all: &[Check],
        analysis: &FailureAnalysis,
        workspace: Workspace,
    ) -> Result<(), Stop> {
        let request = Prove {
            base: self.workspace(),
            head: workspace.clone(),
            command_seconds: mending.command_seconds,
            without_tests: None,
            removed_tests: Vec::new(),
        };
        let family = Family::Sandbox { commands: Duration::from_secs(mending.command_seconds * PROOF_RUNS) };
        let judged =
            match self.call(family, "look what the fix does to the tests", Workspaces::judge_fix, request).await? {
                Ok(judged) => judged,
                Err(failure) => {
                    let cause = format!("What would mend it cannot be judged: {}", failure.message);
                    return Err(self.escalate(all, Some(analysis.kind), cause));
                }
            };
        let Some(refusal) = judged.refusal else {
            return self.push(mending, workspace, &shorten(&analysis.change, CHANGE)).await;
        };
        self.attempts += 1;
        self.tried.push(format!("a change of the ci agent, refused: {}", one_line(&shorten(&refusal, REFUSAL))));
        self.tell(true, "the ci agent's change was refused: it makes CI ask for less".to_owned()).await;
        self.refusal = refusal;
        Ok(())
    }

    async fn run_agent(
        &mut self,
        mending: &Mending,
        model: ModelChoice,
        lease: MicroUsd,
        brief: serde_json::Value,
    ) -> Result<(String, Result<AgentResult, Failure>), Stop> {
        self.agents += 1;
        let repository = &self.head.repository;
        let whereabouts = format!("{}.{}", repository.owner(), repository.name()).to_lowercase();
        let id = format!("{}/ci/{whereabouts}/{}", self.ctx.workflow_id(), self.agents);
        let errand = Errand {
            agent: AgentName::Ci,
            ticket: mending.ticket.clone(),
            generation: mending.generation.clone(),
            brief,
            workspace: Some(self.workspace()),
            lease,
            purse: mending.purse.clone(),
        };
        let title = format!("ci agent: {} #{}", repository.name(), mending.pull_request.number);
        let means = Means { model, command_seconds: mending.command_seconds, history_events: mending.history_events };
        match agent_call::call_with(&self.ctx, &self.token, means, id.clone(), title, errand).await {
            Ok(result) => Ok((id, Ok(result))),
            Err(CallError::Failed(failure)) => Ok((id, Err(failure))),
            Err(CallError::Cancelled) => Err(Stop::Cancelled),
        }
    }
}
