//! Doing the tasks: an agent works, the harness proves, one commit per task is pushed. Repositories go side by side, tasks of
//! one repository in order.

use std::time::Duration;

use serde_json::json;
use temporalio_workflow::WaitConditionOptions;
use temporalio_workflow::workflows::join_all;

use super::errand::{Answered, Job, Unanswered};
use super::flow::{Flow, Stop, park};
use super::state::{Delivery, Ready, Task};
use crate::agent_call;
use crate::contract::agent::AgentName;
use crate::contract::github::{GitHub, PullRequestState};
use crate::contract::ids::{CommitSha, Digest, RepositoryName};
use crate::contract::plan::TaskResult;
use crate::contract::status::{ParkReason, Stage};
use crate::contract::workspace::{
    Authority, Proof, ProofOutcome, Prove, Push, Survey, SurveyRequest, Workspace, Workspaces,
};
use crate::kit::{CallError, now};
use crate::messages::{counted, one_line, quiet, shorten};
use crate::patches;
use crate::policy::{Family, PROOF_RUNS, SET_UP};

/// Longest failure message in the log, in characters; the pull request has all of it.
const RED_WORDS: usize = 60;
/// Longest refusal, in characters.
const REFUSAL: usize = 4000;

impl Flow {
    /// Carries out the approved plan. Does what is left: done tasks stay done over a park.
    pub(super) async fn execute(&self) -> Result<(), Stop> {
        self.write(|s| {
            s.tasks.iter_mut().for_each(|task| task.stopped = false);
            s.repositories.values_mut().for_each(|delivery| delivery.active_seconds = 0);
        });
        let repositories: Vec<RepositoryName> = self.read(|s| s.repositories.keys().cloned().collect());
        let shares = u64::try_from(repositories.len()).unwrap_or(1);
        let ended = join_all(repositories.iter().map(|repository| self.execute_repository(repository, shares))).await;
        // A cancel outranks everything; otherwise the first stop is what the person hears.
        let mut first = None;
        for stop in ended.into_iter().filter_map(Result::err) {
            match stop {
                Stop::Cancelled => return Err(Stop::Cancelled),
                other => {
                    first.get_or_insert(other);
                }
            }
        }
        first.map_or(Ok(()), Err)
    }

    async fn execute_repository(&self, repository: &RepositoryName, shares: u64) -> Result<(), Stop> {
        let mine: Vec<usize> = self.read(|s| {
            let mine = s.tasks.iter().enumerate().filter(|(_, task)| &task.plan.repository == repository);
            mine.map(|(n, _)| n).collect()
        });
        let left = |position: usize| mine.iter().skip(position).copied();
        for (position, &n) in mine.iter().enumerate() {
            if self.read(|s| s.tasks.get(n).is_some_and(Task::done)) {
                continue;
            }
            let last = position + 1 == mine.len();
            let done = match self.await_dependencies(n).await {
                Ok(true) => {
                    // It works: while it does, nobody has to be asked for the money that others wait for.
                    self.write(|s| s.budget.between += 1);
                    let done = self.execute_task(n, repository, last, shares).await;
                    self.write(|s| s.budget.between = s.budget.between.saturating_sub(1));
                    done
                }
                // The repository that could not do its part says why.
                Ok(false) => {
                    self.stop(left(position));
                    return Ok(());
                }
                Err(stop) => Err(stop),
            };
            if let Err(stop) = done {
                // Everything behind it stops too; other repositories that depend on these see it.
                self.stop(left(position));
                return Err(stop);
            }
        }
        Ok(())
    }

    fn stop(&self, tasks: impl Iterator<Item = usize>) {
        self.write(|s| {
            for n in tasks {
                if let Some(task) = s.tasks.get_mut(n) {
                    task.stopped = true;
                }
            }
        });
    }

    /// Whether everything this task depends on is done; false when some of it will not be.
    async fn await_dependencies(&self, n: usize) -> Result<bool, Stop> {
        let needed = self.read(|s| s.tasks.get(n).map(|task| task.plan.depends_on.clone()).unwrap_or_default());
        let state_of = move |tasks: &[Task]| {
            let relevant: Vec<&Task> = tasks.iter().filter(|task| needed.contains(&task.plan.id)).collect();
            (relevant.iter().all(|task| task.done()), relevant.iter().any(|task| task.stopped))
        };
        let options = WaitConditionOptions::builder().cancellation_token(self.token.clone()).build();
        let check = state_of.clone();
        let settled = self.ctx.wait_condition_with_options(
            move |w| {
                let (done, stopped) = check(&w.state.tasks);
                done || stopped
            },
            options,
        );
        settled.await.map_err(|_| Stop::Cancelled)?;
        Ok(self.read(|s| state_of(&s.tasks).0))
    }

    /// Up to the policy's number of attempts; each refusal is told to the next.
    async fn execute_task(&self, n: usize, repository: &RepositoryName, last: bool, shares: u64) -> Result<(), Stop> {
        let (attempts, count, title, wall) = self.read(|s| {
            let title = s.tasks.get(n).map(|task| task.plan.title.clone()).unwrap_or_default();
            (s.policy.execution.attempts.max(1), s.tasks.len(), title, s.policy.execution.wall_seconds)
        });
        self.update_task(n, |task| task.attempts = 0);
        if self.read(|s| s.tasks.get(n).is_some_and(|task| task.ready.is_some())) {
            match self.push(n, repository, last).await {
                // Somebody changed the branch since: what was proven there has to be done on what is there now.
                Err(Stop::Park(parked)) if parked.reason == ParkReason::Conflict => {}
                done => return done,
            }
        }
        self.follow_branch(repository).await?;
        let survey = self.survey(n, repository).await?;
        for attempt in 1..=attempts {
            let began = now(&self.ctx);
            self.enter(Stage::Executing, format!("task {} of {count}: {title}, attempt {attempt}", n + 1));
            self.update_task(n, |task| task.attempts = attempt);
            let (base, Answered { answer: result, workspace, waited_seconds }) =
                self.attempt(n, repository, attempt, shares, survey.as_ref()).await?;
            let head = workspace.unwrap_or_else(|| base.clone());
            self.update_task(n, |task| task.workspace = Some(head.clone()));
            let outcome = match self.prove(n, &base, &head).await? {
                ProofOutcome::Proven(proof) => self.hold_to_first_proof(n, &head, proof),
                refused @ ProofOutcome::Refused { .. } => refused,
            };
            // Waiting for money is no work.
            let waited = i64::try_from(waited_seconds).unwrap_or(i64::MAX);
            let active = self.spend_time(repository, (now(&self.ctx) - began).saturating_sub(waited));
            match outcome {
                ProofOutcome::Proven(proof) => {
                    let authored_at = now(&self.ctx);
                    self.update_task(n, |task| task.ready = Some(Ready { head, proof: *proof, result, authored_at }));
                    return self.push(n, repository, last).await;
                }
                ProofOutcome::Refused { reason, unmendable, .. } => {
                    let first = reason.lines().next().unwrap_or_default();
                    self.log(format!("task {} attempt {attempt} refused: {first}", n + 1));
                    self.update_task(n, |task| task.refusal.clone_from(&reason));
                    if unmendable {
                        // Further attempts would cost money and end in the same words.
                        // What helps comes before the reason, whose end may be cut where it is shown.
                        let message = format!(
                            "Task {} of {count}, \"{title}\", cannot be proven, whatever the agent changes. This ticket keeps the \
                             rules and limits it began with: once what follows is mended, cancel it and label it again. {reason}",
                            n + 1
                        );
                        return Err(park(ParkReason::TaskFailed, message));
                    }
                }
            }
            if active > wall {
                let message = format!("{} min of work in {repository} without a finished task.", active / 60);
                return Err(park(ParkReason::Limit, message));
            }
        }
        let refusal = self.read(|s| s.tasks.get(n).map(|task| task.refusal.clone()).unwrap_or_default());
        let message =
            format!("Task {} of {count}, \"{title}\", was not proven in {attempts} attempts: {refusal}", n + 1);
        Err(park(ParkReason::TaskFailed, message))
    }

    async fn attempt(
        &self,
        n: usize,
        repository: &RepositoryName,
        attempt: u32,
        shares: u64,
        survey: Option<&Survey>,
    ) -> Result<(Workspace, Answered<TaskResult>), Stop> {
        let (base, workspace, mut brief) = self.read(|s| {
            let task = s.tasks.get(n);
            let delivery = s.repositories.get(repository);
            let workspace = task.and_then(|task| task.workspace.clone()).or_else(|| Some(delivery?.at_head()));
            // Done again, a task is proven against the commit it first began on: its tests are red there.
            let base = delivery.map(|delivery| match task.and_then(|task| task.redo.clone()) {
                Some(first) => delivery.at(first),
                None => delivery.at_head(),
            });
            let brief = json!({
                "ticket_key": self.key,
                "plan": s.plan.as_ref().map(|version| &version.plan),
                "task": task.map(|task| &task.plan),
                "attempt": attempt,
                "refusal": task.map(|task| task.refusal.clone()).unwrap_or_default(),
            });
            (base, workspace, brief)
        });
        let (Some(base), Some(workspace)) = (base, workspace) else {
            return Err(park(ParkReason::Upstream, format!("{repository} has no branch to work on.")));
        };
        agent_call::tell_survey(&mut brief, survey);
        let place = Some((repository, workspace));
        let job = Job { agent: AgentName::Execution, brief, place, shares, task: Some(n + 1) };
        match self.run_agent(job).await {
            Ok(answered) => Ok((base, answered)),
            Err(unanswered) => {
                let Unanswered { stop, workspace } = *unanswered;
                // What was done so far goes on after a retry; an agent that never began has nothing new.
                if workspace.is_some() {
                    self.update_task(n, |task| task.workspace = workspace);
                }
                Err(stop)
            }
        }
    }

    /// A task that is done again keeps the tests of its first proof, and has to change something.
    fn hold_to_first_proof(&self, n: usize, head: &Workspace, proof: Box<Proof>) -> ProofOutcome {
        let first = self.read(|s| {
            let task = s.tasks.get(n).filter(|task| task.redo.is_some())?;
            task.proof.as_ref().map(|proof| (proof.clone(), task.refusal.clone()))
        });
        let Some((first, refusal)) = first else { return ProofOutcome::Proven(proof) };
        let log = proof.log.clone();
        if head.snapshot.is_none() {
            let reason = format!("You changed nothing, and CI stays red as it is. {refusal}");
            return ProofOutcome::Refused { reason: shorten_lines(&reason), log, unmendable: false };
        }
        match first.lost_in(&proof) {
            None => ProofOutcome::Proven(proof),
            Some(lost) => {
                let reason =
                    format!("{lost} belongs to the proof of this task and is no longer red before it: bring it back.");
                ProofOutcome::Refused { reason, log, unmendable: false }
            }
        }
    }

    /// Has the last task of a repository done again, because CI is red by its change. False when there is none.
    pub(super) fn reopen(&self, repository: &RepositoryName, failure: &str) -> bool {
        let reopened = self.write(|s| {
            let proven = |task: &&mut Task| &task.plan.repository == repository && task.done() && task.proof.is_some();
            let task = s.tasks.iter_mut().rfind(proven)?;
            task.redo = task.proof.as_ref().map(|proof| proof.base.clone());
            failure.clone_into(&mut task.refusal);
            (task.workspace, task.ready) = (None, None);
            Some(task.plan.title.clone())
        });
        if let Some(title) = &reopened {
            self.log(format!("CI is red by our own change: task \"{title}\" is done again under its tests"));
        }
        reopened.is_some()
    }

    async fn prove(&self, n: usize, base: &Workspace, head: &Workspace) -> Result<ProofOutcome, Stop> {
        let (command_seconds, title, without_tests, removed_tests) = self.read(|s| {
            let of = |task: &Task| {
                let plan = &task.plan;
                (plan.title.clone(), plan.without_tests.trim().to_owned(), plan.removed_tests.clone())
            };
            let (title, reason, removed) = s.tasks.get(n).map(of).unwrap_or_default();
            (s.policy.execution.command_seconds, title, (!reason.is_empty()).then_some(reason), removed)
        });
        let summary = match &without_tests {
            None => format!("prove red to green: {title}"),
            Some(_) => format!("check a change without tests: {title}"),
        };
        let request = Prove { base: base.clone(), head: head.clone(), command_seconds, without_tests, removed_tests };
        let commands = Duration::from_secs(command_seconds * PROOF_RUNS);
        Ok(self.call(Family::Sandbox { commands }, &summary, Workspaces::prove, request).await?)
    }

    /// What the repository says about itself on its branch as it is now.
    async fn survey(&self, n: usize, repository: &RepositoryName) -> Result<Option<Survey>, Stop> {
        let (head, near) = self.read(|s| {
            let files = s.tasks.get(n).map(|task| task.plan.files.clone()).unwrap_or_default();
            (s.repositories.get(repository).map(Delivery::at_head), files)
        });
        let Some(workspace) = head.filter(|_| self.ctx.patched(patches::SURVEY)) else { return Ok(None) };
        let summary = format!("survey {}", repository.name());
        let family = Family::Sandbox { commands: SET_UP };
        match self.call(family, &summary, Workspaces::survey, SurveyRequest { workspace, near }).await {
            Ok(survey) => Ok(Some(survey)),
            Err(CallError::Cancelled) => Err(Stop::Cancelled),
            // The agent can do without. What is really wrong, the calls that follow will say.
            Err(CallError::Failed(failure)) => {
                self.log(format!("{} could not be surveyed: {}", repository.name(), failure.message));
                Ok(None)
            }
        }
    }

    /// Begins on the branch as it is now. A person may have pushed to it: their commits stay, so unfinished work that stands
    /// on the old head is done again.
    async fn follow_branch(&self, repository: &RepositoryName) -> Result<(), Stop> {
        let known = self.read(|s| {
            let delivery = s.repositories.get(repository)?;
            Some((delivery.pull_request.as_ref()?.address(), delivery.head.clone()))
        });
        let Some((address, head)) = known else { return Ok(()) };
        let summary = format!("look at the branch of PR #{}", address.number);
        let pull_request = self.call(Family::Read, &summary, GitHub::get_pull_request, address).await?;
        if pull_request.state != PullRequestState::Open {
            let message = format!("{} was closed by someone. Reopen it, then retry; or cancel.", pull_request.url);
            return Err(park(ParkReason::Conflict, message));
        }
        if pull_request.head_sha != head {
            self.log(format!(
                "{repository}: the branch moved to {}, going on from there",
                pull_request.head_sha.short()
            ));
        }
        self.write(|s| {
            if pull_request.head_sha != head {
                let open = s.tasks.iter_mut().filter(|task| &task.plan.repository == repository && !task.done());
                open.for_each(|task| {
                    task.workspace = None;
                    task.ready = None;
                });
            }
            if let Some(delivery) = s.repositories.get_mut(repository) {
                delivery.head = pull_request.head_sha.clone();
            }
        });
        self.keep(pull_request);
        Ok(())
    }

    /// Pushes what is proven. Content-addressed: pushed again, it makes the same commit.
    async fn push(&self, n: usize, repository: &RepositoryName, last: bool) -> Result<(), Stop> {
        let Some(Ready { head, proof, result, authored_at }) =
            self.read(|s| s.tasks.get(n).and_then(|task| task.ready.clone()))
        else {
            return Err(park(ParkReason::Upstream, format!("Task {} has nothing to push.", n + 1)));
        };
        let authority = self.authority().await?;
        let (delivery, id, title, template, keep_plan) = self.read(|s| {
            let (id, title) =
                s.tasks.get(n).map(|task| (one_line(&task.plan.id), task.plan.title.clone())).unwrap_or_default();
            let conventions = &s.policy.conventions;
            let delivery = s.repositories.get(repository).cloned();
            (delivery, id, title, conventions.commit.clone(), conventions.keep_plan)
        });
        let Some(delivery) = delivery else {
            return Err(park(ParkReason::Upstream, format!("{repository} has no branch to push to.")));
        };
        let subject = template
            .replace("{key}", self.key.as_str())
            .replace("{task}", &id)
            .replace("{title}", &quiet(&one_line(&title)));
        let message = format!(
            "{}\n\n{}\n\nTicket: {}\nTask: {id}\n",
            one_line(&subject),
            quiet(&one_line(&result.summary)),
            self.key
        );
        let request = Push {
            workspace: head,
            branch: delivery.branch,
            parent: delivery.head,
            message,
            authored_at,
            remove: if last && !keep_plan { vec!["PLAN.md".to_owned()] } else { vec![] },
            authority,
            ticket: Some(self.key.clone()),
        };
        let summary = format!("push task {} to {}", n + 1, repository.name());
        let family = Family::Sandbox { commands: Duration::from_secs(60) };
        let pushed = self.call(family, &summary, Workspaces::push, request).await?;
        let new = proof.count();
        let red = proof.new_tests.first().map(|test| shorten(&test.red, RED_WORDS)).unwrap_or_default();
        let proven = match &proof.without_tests {
            Some(reason) => format!("no test ({})", shorten(reason, RED_WORDS)),
            None => {
                format!("{} red on {} ({red}), green now", counted(new, "new test", "new tests"), proof.base.short())
            }
        };
        self.log(format!(
            "task {}: {proven}; suite {} passed; commit {}",
            n + 1,
            proof.suite.passed,
            pushed.sha.short()
        ));
        let sha: CommitSha = pushed.sha.clone();
        self.write(|s| {
            if let Some(delivery) = s.repositories.get_mut(repository) {
                delivery.head = sha;
            }
        });
        self.update_task(n, |task| {
            task.proof = Some(proof);
            task.result = Some(result);
            task.pushed = Some(pushed);
            task.workspace = None;
            task.ready = None;
            task.redo = None;
            task.refusal = String::new();
        });
        self.refresh_pull_request(repository).await;
        self.show();
        Ok(())
    }

    /// The right to push, made only here, from a recorded approval of the very plan that is carried out.
    async fn authority(&self) -> Result<Authority, Stop> {
        use crate::contract::plans::{KeepPlan, Plans};
        let (approval, plan) = self.read(|s| (s.approval.clone(), s.plan.clone()));
        let (Some(approval), Some(version)) = (approval, plan) else {
            return Err(park(ParkReason::Conflict, "The plan is not approved."));
        };
        if approval.hash != version.hash {
            return Err(park(ParkReason::Conflict, "The approval is for another version of the plan."));
        }
        let request = KeepPlan { plan: version.plan, cap: version.cap };
        let plan: Digest = self.call(Family::Read, "keep the approved plan", Plans::keep, request).await?;
        Ok(Authority::ApprovedPlan { hash: approval.hash, by: approval.by, plan })
    }

    /// The same right, for the CI watch: what was pushed before has shown that the plan is kept.
    pub(super) fn authority_of_approval(&self) -> Option<Authority> {
        let (approval, plan) = self.read(|s| (s.approval.clone(), s.plan.clone()));
        let (approval, version) = (approval?, plan?);
        let hash = approval.hash;
        (hash == version.hash).then(|| Authority::ApprovedPlan { plan: hash.clone(), hash, by: approval.by })
    }

    fn update_task(&self, n: usize, change: impl FnOnce(&mut Task)) {
        self.write(|s| {
            if let Some(task) = s.tasks.get_mut(n) {
                change(task);
            }
        });
    }

    fn spend_time(&self, repository: &RepositoryName, seconds: i64) -> u64 {
        let seconds = u64::try_from(seconds).unwrap_or_default();
        self.write(|s| {
            s.repositories.get_mut(repository).map_or(0, |delivery| {
                delivery.active_seconds += seconds;
                delivery.active_seconds
            })
        })
    }
}

/// A refusal as long as one may be.
fn shorten_lines(text: &str) -> String {
    text.chars().take(REFUSAL).collect()
}
