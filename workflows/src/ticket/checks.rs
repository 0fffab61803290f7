//! From pushed commits to green checks: one watch per pull request, which mends what it may; what our own change broke is done
//! again under its tests; what is left is a person's.

use std::convert::Infallible;

use temporalio_common::data_converters::RawValue;
use temporalio_workflow::WaitConditionOptions;
use temporalio_workflow::workflows::join_all;

use super::TicketWorkflow;
use super::flow::{Flow, Stop, park};
use super::state::{Delivery, Task};
use crate::ci_watch::{self, CiOutcome, CiProgress, CiReport, CiWatchInput, CiWatchWorkflow, Mending};
use crate::contract::agent::AgentName;
use crate::contract::github::{Check, CommitRef, GitHub, PullRequestState};
use crate::contract::ids::RepositoryName;
use crate::contract::money::MicroUsd;
use crate::contract::status::{ParkReason, Stage};
use crate::contract::trigger::ChecksChanged;
use crate::kit;
use crate::messages::checks::{For, diagnosed, late, links, names};
use crate::messages::slack::RedButtons;
use crate::patches;
use crate::policy::Family;

/// What a watch came to, for the ticket.
enum Watched {
    /// In words.
    Green(String),
    /// For a person: why, and the red checks.
    Red(String, Vec<Check>),
    /// The last task has to be done again; what it has to know.
    Redo(String),
    /// A person pushed to the branch.
    Moved,
}

impl Flow {
    /// Waits until the checks of every pull request are green.
    pub(super) async fn watch_ci(&self) -> Result<(), Stop> {
        let again = self.read(|s| s.stage) == Stage::Parked;
        self.enter_watch();
        if again {
            self.write(|s| s.repositories.values_mut().for_each(|delivery| delivery.ci_attempts = 0));
            self.follow_people().await?;
        }
        loop {
            if self.read(|s| !s.tasks.iter().all(Task::done)) {
                self.execute().await?;
                self.enter_watch();
            }
            if self.watch_once().await? {
                return Ok(());
            }
        }
    }

    fn enter_watch(&self) {
        let none_after = self.read(|s| s.policy.ci.none_after_seconds);
        self.enter(Stage::WatchingCi, format!("waiting for checks (none within {none_after} s: no CI)"));
    }

    /// Watches every pull request that is not green yet. False when there is new work, or a new head to watch.
    async fn watch_once(&self) -> Result<bool, Stop> {
        let waiting: Vec<Delivery> =
            self.read(|s| s.repositories.values().filter(|d| d.ci.is_empty()).cloned().collect());
        let shares = 1..=u64::try_from(waiting.len()).unwrap_or(1);
        let watches = waiting.iter().zip(shares.rev()).map(|(delivery, shares)| self.watch_one(delivery, shares));
        let outcomes = join_all(watches).await;
        let (mut red, mut settled, mut stopped) = (Vec::new(), true, None);
        for (delivery, outcome) in waiting.iter().zip(outcomes) {
            let name = &delivery.repository.name;
            let watched = match outcome {
                Ok(watched) => watched,
                Err(Stop::Cancelled) => return Err(Stop::Cancelled),
                // What the other watches came to counts all the same.
                Err(stop) => {
                    stopped.get_or_insert(stop);
                    continue;
                }
            };
            match watched {
                Watched::Green(words) => {
                    self.log(format!("{name}: {words}"));
                    self.update_delivery(name, |delivery| delivery.ci = words);
                }
                Watched::Red(words, checks) => {
                    self.update_delivery(name, |delivery| delivery.red = checks);
                    red.push(format!("{name}: {words}"));
                }
                Watched::Redo(failure) if self.reopen(name, &failure) => settled = false,
                Watched::Redo(failure) => red.push(format!("{name}: {failure}")),
                Watched::Moved => {
                    self.follow_people().await?;
                    settled = false;
                }
            }
        }
        match (red.is_empty(), stopped) {
            (false, _) => Err(park(ParkReason::CiFailed, red.join(" "))),
            (true, Some(stop)) => Err(stop),
            (true, None) => Ok(settled),
        }
    }

    /// A person has pushed to the branch, or decided about the pull request: that counts now.
    async fn follow_people(&self) -> Result<(), Stop> {
        let waiting: Vec<Delivery> =
            self.read(|s| s.repositories.values().filter(|d| d.ci.is_empty()).cloned().collect());
        for delivery in waiting {
            let Some(known) = &delivery.pull_request else { continue };
            let summary = format!("look at PR #{}", known.number);
            let pull_request = self.call(Family::Read, &summary, GitHub::get_pull_request, known.address()).await?;
            let name = delivery.repository.name.clone();
            if pull_request.head_sha != delivery.head {
                self.log(format!("{name}: a person pushed {}, its checks count now", pull_request.head_sha.short()));
            }
            let decided = match pull_request.state {
                PullRequestState::Open => "",
                PullRequestState::Closed => "closed by a person before CI was green",
                PullRequestState::Merged => "merged by a person before CI was green",
            };
            self.write(|s| {
                if !decided.is_empty() {
                    // Nothing is left to do again.
                    let of_it = s.tasks.iter_mut().filter(|task| task.plan.repository == name);
                    of_it.for_each(|task| task.redo = None);
                }
                if let Some(delivery) = s.repositories.get_mut(&name) {
                    delivery.head = pull_request.head_sha.clone();
                    decided.clone_into(&mut delivery.ci);
                    delivery.red.clear();
                }
            });
            self.keep(pull_request);
        }
        Ok(())
    }

    async fn watch_one(&self, delivery: &Delivery, shares: u64) -> Result<Watched, Stop> {
        let repository = &delivery.repository.name;
        let number = delivery.pull_request.as_ref().map_or(0, |pr| pr.number);
        let base = format!("{}/ci/{}.{}/{number}", self.ctx.workflow_id(), repository.owner(), repository.name());
        let base = base.to_lowercase().replacen(&self.ctx.workflow_id().to_lowercase(), self.ctx.workflow_id(), 1);
        let n = self.write(|s| s.occurrences.next(&format!("child {base}")));
        let id = format!("{base}-{n}");
        let commit = CommitRef { repository: repository.clone(), sha: delivery.head.clone() };
        // While it only waits for checks it holds nothing that others could use.
        let asks_later = self.ctx.patched(patches::ASK_LATER);
        let lease = self.write(|s| {
            s.money.ledger.open(&id, AgentName::Ci, Some(repository), None);
            let lease = if asks_later { None } else { s.budget.lease(&id, shares) };
            lease.unwrap_or_else(|| s.budget.ask_later(&id))
        });
        let mending = self.mending(delivery, lease);
        let told = self.read(|s| s.unheard.clone());
        let (policy, had_checks) = (self.read(|s| s.policy.ci.clone()), delivery.had_checks);
        let input = CiWatchInput { commit, policy, mending, had_checks };
        let raw = RawValue::from_value(&input, self.ctx.payload_converter());
        let title = format!("{}: CI of {} #{number}", self.key, repository.name());
        let attending = self.attend_watch(id.clone(), repository);
        let ended =
            kit::run_child(&self.ctx, &self.token, CiWatchWorkflow::run, raw, id.clone(), title, attending).await;
        self.take_progress(repository).await;
        let report: CiReport = match ended {
            Ok(report) => report,
            Err(error) => {
                self.settle_dead(&id, &error);
                return Err(error.into());
            }
        };
        self.write(|s| {
            // One that was cancelled does not know what its last agent spent; that agent has told.
            let said = if report.cancelled { s.budget.said(&id) } else { MicroUsd::default() };
            let spent = if report.work.lost {
                s.budget.forfeit(&id)
            } else {
                let spent = report.spent.max(said);
                s.budget.settle(&id, spent);
                spent
            };
            s.money.ledger.close(&id, spent, report.work.turns, report.work.usage);
            s.heard(&report.work.heard);
            // Only a ci agent costs money: it has read them.
            if report.spent != MicroUsd::default() {
                s.unheard.retain(|remark| !told.contains(remark));
            }
        });
        // What a cancelled watch spent is known; what it came to is nobody's any more.
        if report.cancelled {
            return Err(Stop::Cancelled);
        }
        Ok(self.judge(repository, report))
    }

    /// What the watch may do: the very right of the approved plan, and its share of the money.
    fn mending(&self, delivery: &Delivery, lease: MicroUsd) -> Option<Mending> {
        let authority = self.authority_of_approval()?;
        let pull_request = delivery.pull_request.as_ref()?;
        let base = match pull_request.base.as_str() {
            "" => delivery.repository.default_branch.clone(),
            base => base.to_owned(),
        };
        let policy = self.read(|s| s.policy.clone());
        Some(Mending {
            pull_request: pull_request.address(),
            branch: delivery.branch.clone(),
            base,
            approved: Some(delivery.repository.head.clone()),
            authority,
            ticket: Some(self.key.clone()),
            generation: self.generation.clone(),
            model: policy.models.get(AgentName::Ci.as_str()).cloned(),
            lease,
            purse: Some(self.purse()),
            history_events: policy.agents.history_events,
            command_seconds: policy.execution.command_seconds,
            attempts: delivery.ci_attempts,
            guidance: self.read(|s| s.guidance.iter().cloned().collect()),
            report_to: Some(self.ctx.workflow_id().to_owned()),
        })
    }

    fn judge(&self, repository: &RepositoryName, report: CiReport) -> Watched {
        let CiReport { outcome, head, attempts, spent, notes, had_checks, .. } = report;
        if spent != MicroUsd::default() {
            self.log(format!("{repository}: making CI green cost {spent}"));
        }
        let before = self.read(|s| s.repositories.get(repository).map_or(0, |delivery| delivery.ci_attempts));
        self.update_delivery(repository, |delivery| {
            if let Some(head) = head {
                delivery.head = head;
            }
            delivery.ci_attempts = attempts.max(before);
            delivery.had_checks |= had_checks;
            keep_notes(&mut delivery.ci_notes, notes);
            match &outcome {
                CiOutcome::Ours(ours) => {
                    delivery.red = vec![ours.check.clone()];
                    delivery.red_logs = ours.log.iter().cloned().collect();
                }
                CiOutcome::Escalated(diagnosis) => delivery.red_logs.clone_from(&diagnosis.logs),
                _ => {}
            }
        });
        match outcome {
            CiOutcome::Green(checks) => Watched::Green(format!("CI green ({})", names(&checks))),
            CiOutcome::NoChecks => Watched::Green("no CI on this repository".to_owned()),
            CiOutcome::Red(checks) => {
                let red = links(&checks, For::People);
                Watched::Red(format!("red: {red}. Fix it on the branch or in CI, then retry."), checks)
            }
            CiOutcome::TimedOut(checks) => {
                Watched::Red(format!("{}. Look at it, then retry.", late(&checks, For::People)), checks)
            }
            CiOutcome::Unreadable(why) => Watched::Red(format!("checks cannot be read: {why}"), Vec::new()),
            CiOutcome::Ours(ours) => Watched::Redo(ours.failure),
            CiOutcome::Moved => Watched::Moved,
            CiOutcome::Escalated(diagnosis) => {
                let red = diagnosed(&diagnosis, attempts, For::People);
                Watched::Red(format!("CI is {red}. Fix it on the branch or in CI, then retry."), diagnosis.checks)
            }
        }
    }

    /// Beside a watch: passes nudges about the head on to it, and shows what it does. A closed child needs none.
    async fn attend_watch(&self, child: String, repository: &RepositoryName) -> Infallible {
        loop {
            let options = WaitConditionOptions::builder().cancellation_token(self.token.clone()).build();
            let name = repository.clone();
            let called = move |w: &TicketWorkflow| {
                let state = &w.state;
                let head = state.repositories.get(&name).map(|delivery| &delivery.head);
                state.inbox.checks.iter().any(|news| news.repository == name && Some(&news.sha) == head)
                    || state.inbox.ci_progress.iter().any(|progress| progress.repository == name)
            };
            if self.ctx.wait_condition_with_options(called, options).await.is_err() {
                std::future::pending::<Infallible>().await;
            }
            self.take_progress(repository).await;
            let head = self.read(|s| s.repositories.get(repository).map(|delivery| delivery.head.clone()));
            let Some(sha) = head else { continue };
            let news = ChecksChanged { repository: repository.clone(), sha };
            let told = self.write(|s| {
                let before = s.inbox.checks.len();
                s.inbox.checks.retain(|other| other != &news);
                s.inbox.checks.len() < before
            });
            if !told {
                continue;
            }
            if !ci_watch::nudge(&self.ctx, child.clone(), &news).await {
                self.log("the CI watch is over, nobody to tell");
            }
        }
    }

    /// Takes over what a watch did: where the branch stands, attempts, notes, and what people see.
    async fn take_progress(&self, repository: &RepositoryName) {
        let of_it = |progress: &CiProgress| &progress.repository == repository;
        while let Some(progress) = self.write(|s| {
            let at = s.inbox.ci_progress.iter().position(of_it)?;
            s.inbox.ci_progress.remove(at)
        }) {
            let CiProgress { head, attempts, fixing, doing, notes, .. } = progress;
            let changed = self.write(|s| {
                let delivery = s.repositories.get_mut(repository)?;
                let changed = delivery.head != head;
                (delivery.head, delivery.ci_attempts) = (head, attempts);
                keep_notes(&mut delivery.ci_notes, notes);
                Some(changed)
            });
            let stage = if fixing { Stage::FixingCi } else { Stage::WatchingCi };
            self.enter(stage, format!("{}: {doing}", repository.name()));
            if changed == Some(true) {
                self.refresh_pull_request(repository).await;
            }
        }
    }

    /// The buttons of a message about red checks.
    pub(super) fn red_buttons(&self) -> Option<RedButtons> {
        self.read(|s| {
            let delivery = s.reddest()?;
            let with_log = || delivery.red_logs.iter().map(|log| log.job);
            let job =
                delivery.red.iter().filter_map(|check| check.job).find(|job| with_log().any(|known| known == *job));
            Some(RedButtons {
                ticket: self.key.to_string(),
                pull_request: delivery.pull_request.as_ref().map(|pr| pr.url.clone()).unwrap_or_default(),
                job: job.map(|job| (delivery.repository.name.to_string(), job)),
            })
        })
    }

    fn update_delivery(&self, repository: &RepositoryName, change: impl FnOnce(&mut Delivery)) {
        self.write(|s| {
            if let Some(delivery) = s.repositories.get_mut(repository) {
                change(delivery);
            }
        });
    }
}

/// A watch tells all its notes each time.
fn keep_notes(known: &mut Vec<String>, notes: Vec<String>) {
    for note in notes {
        if !known.contains(&note) {
            known.push(note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_kept_once() {
        let mut known = vec!["a".to_owned()];
        keep_notes(&mut known, vec!["a".into(), "b".into()]);
        assert_eq!(known, ["a", "b"]);
    }
}
