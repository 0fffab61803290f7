//! Doing an instruction: an agent works on the branch, the harness checks, one commit is pushed.

use std::time::Duration;

use serde_json::json;

use super::answer::{Answer, Done};
use super::desk::{Desk, Stop};
use super::mending::Ended;
use crate::agent_call::{self, Errand};
use crate::agent_run::decode_answer;
use crate::contract::agent::{AgentEnd, AgentName, AgentResult};
use crate::contract::failure::FailureKind;
use crate::contract::github::PullRequest;
use crate::contract::ids::Generation;
use crate::contract::money::MicroUsd;
use crate::contract::plan::TaskResult;
use crate::contract::trigger::Instructed;
use crate::contract::workspace::{
    Authority, Proof, ProofOutcome, Prove, Push, Pushed, Survey, SurveyRequest, Workspace, Workspaces,
};
use crate::kit::{CallError, now};
use crate::messages::{one_line, quiet, shorten};
use crate::patches;
use crate::policy::{Family, PROOF_RUNS, SET_UP};

/// How often work is done again because the branch moved under it.
const ROUNDS: u32 = 2;
/// Longest subject of a commit, in characters.
const SUBJECT: usize = 72;

/// Work that is checked and not pushed yet.
pub(super) struct Made {
    head: Workspace,
    proof: Proof,
    pub(super) result: TaskResult,
    /// Seconds since 1970; part of the commit, so that pushing again makes the same commit.
    authored_at: i64,
}

impl Desk {
    /// From the instruction to what CI says about the commit.
    pub(super) async fn work(&self, asked: &Instructed, pull_request: PullRequest) -> Result<Answer, Stop> {
        let mut pull_request = pull_request;
        let mut round = 1;
        loop {
            let made = match self.make(asked, &pull_request, String::new()).await? {
                Ok(made) => made,
                Err(result) => return Ok(Answer::unchanged(&result)),
            };
            match self.push(asked, &pull_request, &made).await {
                Ok(pushed) if pushed.sha == pull_request.head_sha => return Ok(Answer::unchanged(&made.result)),
                Ok(pushed) => {
                    let Ended { said, cancelled } = self.until_green(asked, &pull_request, &pushed.sha).await;
                    let (result, proof) = (&made.result, &made.proof);
                    let done = Done { pull_request: &pull_request, result, proof, pushed: &pushed, ci: &said };
                    let answer = Answer::done(&done);
                    return if cancelled { Err(Stop::CancelledAfter(Box::new(answer))) } else { Ok(answer) };
                }
                // Somebody pushed meanwhile: what was checked has to be done on what is there now.
                Err(CallError::Failed(failure)) if failure.kind == FailureKind::Conflict && round < ROUNDS => {
                    round += 1;
                    self.log(failure.message);
                    pull_request = self.read_pull_request().await?;
                    if let Some(refusal) = self.cannot_push_to(&pull_request).await? {
                        return Ok(refusal);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Up to the policy's number of attempts; each refusal is told to the next, the first one what went wrong before. `Err`: the
    /// agent saw nothing to change.
    pub(super) async fn make(
        &self,
        asked: &Instructed,
        pull_request: &PullRequest,
        refusal: String,
    ) -> Result<Result<Made, TaskResult>, Stop> {
        let (attempts, wall) = self.read(|s| (s.policy.execution.attempts.max(1), s.policy.execution.wall_seconds));
        let repository = self.address.repository.clone();
        let head = pull_request.head_sha.clone();
        let base = Workspace::at(repository, head.clone(), pull_request.base_sha.clone().unwrap_or(head));
        let (mut workspace, mut refusal, began) = (base.clone(), refusal, now(&self.ctx));
        let before = u32::from(!refusal.is_empty());
        let survey = match self.ctx.patched(patches::SURVEY) {
            true => self.survey(base.clone(), paths_in(&asked.instruction)).await?,
            false => None,
        };
        for attempt in 1..=attempts {
            self.enter(format!("working on comment {}, attempt {attempt}", asked.comment));
            let mut brief = json!({
                "instruction": asked.instruction,
                "by": asked.by.id,
                "pull_request": pull_request,
                "attempt": attempt + before,
                "refusal": refusal,
            });
            agent_call::tell_survey(&mut brief, survey.as_ref());
            let (result, head) = self.run_agent(asked, brief, workspace).await?;
            let Some(head) = head.filter(|head| head.snapshot.is_some()) else { return Ok(Err(result)) };
            match self.check(&base, &head).await? {
                ProofOutcome::Proven(proof) => {
                    return Ok(Ok(Made { head, proof: *proof, result, authored_at: now(&self.ctx) }));
                }
                ProofOutcome::Refused { reason, unmendable, .. } => {
                    self.log(format!("attempt {attempt} refused: {}", reason.lines().next().unwrap_or_default()));
                    if unmendable {
                        return Err(Stop::Told(format!(
                            "No change can hold here. An instruction keeps the rules and limits it began with: once what follows is \
                             mended, give it again. {reason}"
                        )));
                    }
                    refusal = reason;
                }
            }
            workspace = head;
            let active = u64::try_from(now(&self.ctx) - began).unwrap_or_default();
            if active > wall {
                return Err(Stop::Told(format!("{} min of work without a change that holds.", active / 60)));
            }
        }
        Err(Stop::Told(format!("No change held in {attempts} attempts. The last one: {refusal}")))
    }

    /// What the repository says about itself; the agent can do without.
    async fn survey(&self, workspace: Workspace, near: Vec<String>) -> Result<Option<Survey>, Stop> {
        let summary = format!("survey {}", workspace.repository.name());
        let request = SurveyRequest { workspace, near };
        match self.call(Family::Sandbox { commands: SET_UP }, &summary, Workspaces::survey, request).await {
            Ok(survey) => Ok(Some(survey)),
            Err(CallError::Failed(failure)) => {
                self.log(format!("no survey: {}", failure.message));
                Ok(None)
            }
            Err(cancelled) => Err(cancelled.into()),
        }
    }

    async fn run_agent(
        &self,
        asked: &Instructed,
        brief: serde_json::Value,
        workspace: Workspace,
    ) -> Result<(TaskResult, Option<Workspace>), Stop> {
        let agent = AgentName::Execution;
        let Some(lease) = self.write(|s| s.budget.lease(agent.as_str(), 1)) else {
            return Err(self.out_of_money(None));
        };
        let errand = Errand {
            agent,
            ticket: None,
            generation: Generation::of_event(&asked.event.id),
            brief,
            workspace: Some(workspace),
            lease,
            purse: None,
        };
        let id = self.child(agent.as_str(), "");
        let title = format!("{}#{}: {agent}", self.address.repository.name(), self.address.number);
        let policy = self.read(|s| s.policy.clone());
        match agent_call::call(&self.ctx, &self.token, &policy, id, title, errand).await {
            Ok(Ok(result)) => {
                self.write(|s| s.budget.settle(agent.as_str(), result.spent));
                self.answer_of(result)
            }
            Ok(Err(error)) => {
                // A child that died cannot say what it spent: its whole lease counts as gone.
                self.write(|s| s.budget.forfeit(agent.as_str()));
                Err(error.into())
            }
            Err(message) => {
                self.write(|s| s.budget.settle(agent.as_str(), MicroUsd::default()));
                Err(Stop::Told(message))
            }
        }
    }

    fn answer_of(&self, result: AgentResult) -> Result<(TaskResult, Option<Workspace>), Stop> {
        let AgentResult { end, workspace, turns, spent, .. } = result;
        self.log(format!("agent: {turns} model turns, {spent}"));
        let fault = agent_call::fault(&end);
        Err(match (fault, end) {
            (None, AgentEnd::Answered(answer)) => match decode_answer(answer) {
                Ok(answer) => return Ok((answer, workspace)),
                Err(fault) => Stop::Told(fault),
            },
            (_, AgentEnd::Budget { needed }) => self.out_of_money(Some(needed)),
            (fault, _) => Stop::Told(format!("The agent came to no end: {}.", fault.unwrap_or_default())),
        })
    }

    fn out_of_money(&self, needed: Option<MicroUsd>) -> Stop {
        let (spent, cap) = self.read(|s| (s.budget.spent, s.budget.cap));
        let needed = needed.map_or_else(String::new, |needed| format!("; the next model call may cost {needed}"));
        Stop::Told(format!(
            "{spent} of {cap} for one instruction are spent{needed}. Ask for less at once, or raise instruction_cap_micro_usd \
             in [policy.budget]."
        ))
    }

    /// Checks by running the suite on both sides. New tests are listed where they turn from red to green.
    async fn check(&self, base: &Workspace, head: &Workspace) -> Result<ProofOutcome, Stop> {
        let command_seconds = self.read(|s| s.policy.execution.command_seconds);
        let request = Prove {
            base: base.clone(),
            head: head.clone(),
            command_seconds,
            without_tests: None,
            removed_tests: Vec::new(),
        };
        let commands = Duration::from_secs(command_seconds * PROOF_RUNS);
        Ok(self.call(Family::Sandbox { commands }, "run the suite on both sides", Workspaces::check, request).await?)
    }

    /// Content-addressed: pushed again, it makes the same commit. The activity asks once more whether the person may.
    pub(super) async fn push(
        &self,
        asked: &Instructed,
        pull_request: &PullRequest,
        made: &Made,
    ) -> Result<Pushed, CallError> {
        let summary = quiet(&one_line(&made.result.summary));
        let subject = summary.split_once(". ").map_or(summary.as_str(), |(first, _)| first);
        let message = format!(
            "{}\n\n{summary}\n\nAsked for in {}#issuecomment-{}\n\nInstructed-by: @{}\nComment: {}\n",
            shorten(subject.trim_end_matches('.'), SUBJECT),
            pull_request.url,
            asked.comment,
            asked.by.id,
            asked.comment,
        );
        let request = Push {
            workspace: made.head.clone(),
            branch: pull_request.head.clone(),
            parent: pull_request.head_sha.clone(),
            message,
            authored_at: made.authored_at,
            remove: vec![],
            authority: Authority::Commanded { by: asked.by.clone(), comment: asked.comment },
            ticket: None,
        };
        let family = Family::Sandbox { commands: Duration::from_secs(60) };
        let pushed = self.call(family, "push the change", Workspaces::push, request).await?;
        self.log(format!("pushed {} to {}", pushed.sha.short(), pull_request.head));
        Ok(pushed)
    }

    /// Id of the next child of this kind: `<run>/<kind>/<owner>.<repository>/[<suffix>-]<n>`.
    pub(super) fn child(&self, kind: &str, suffix: &str) -> String {
        let (owner, name) = (self.address.repository.owner(), self.address.repository.name());
        let base = format!("{}/{kind}/{owner}.{name}", self.ctx.workflow_id()).to_lowercase();
        let n = self.write(|s| s.children.next(&base));
        if suffix.is_empty() { format!("{base}/{n}") } else { format!("{base}/{suffix}-{n}") }
    }
}

/// Most paths that are taken from an instruction.
const PATHS: usize = 50;

/// What may be a path among the words of an instruction. Whoever gets them looks whether they are there.
fn paths_in(instruction: &str) -> Vec<String> {
    let is_between = |c: char| !(c.is_alphanumeric() || "._-/@+".contains(c));
    let words = instruction.split(is_between).map(|word| word.trim_end_matches('.'));
    words.filter(|word| word.contains('/')).take(PATHS).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_in_an_instruction() {
        let found = paths_in("In `web/app/total.ts`, and web/lib/: mend what README.md says of api/v2.");
        assert_eq!(found, ["web/app/total.ts", "web/lib/", "api/v2"]);
    }
}
