//! What a ticket's run knows. Signals write into the inbox only; the flow takes from it.

use std::collections::{BTreeMap, VecDeque};

use temporalio_workflow::WorkflowCancellationToken;

use super::money::Money;
use crate::budget::Budget;
use crate::ci_watch::CiProgress;
use crate::contract::access::Person;
use crate::contract::github::{Check, PullRequest, PullRequestState, Repository};
use crate::contract::ids::{BranchName, CommitSha, Digest, Generation, RepositoryName};
use crate::contract::jira::Ticket;
use crate::contract::money::MicroUsd;
use crate::contract::plan::{DiscoveryReport, Plan, PlannedTask, RankedRepository, TaskResult};
use crate::contract::policy::Policy;
use crate::contract::slack::MessageRef;
use crate::contract::status::{CheckLog, Parked, Stage};
use crate::contract::trigger::{
    Approve, ChecksChanged, Command, EventId, ExtendBudget, Joined, PullRequestChanged, Reject, RequestChanges, Steer,
    TicketInput,
};
use crate::contract::workspace::{Proof, Pushed, Workspace};
use crate::journal::{Journal, Occurrences};
use crate::messages;

/// Entries kept in the log.
const LOG_ENTRIES: usize = 200;
/// Remarks about ignored signals shown in the current details.
const NOTES: usize = 3;
/// Answers that wait to be posted; more at once are a flood, not a conversation.
const ANSWERS: usize = 5;
/// What people said to mind: so many remarks are kept, the newest ones, each of so many characters.
const GUIDANCE: (usize, usize) = (10, 4000);
/// Requests and remarks that wait to be judged; more at once are a flood.
const WAITING: usize = 10;
/// Longest remark in an answer to it, in characters.
const REMARK: usize = 120;
/// Longest request for changes, in characters.
const REQUEST: usize = 4000;

/// The run's state.
#[derive(Default)]
pub(super) struct TicketState {
    pub(super) input: TicketInput,
    /// Why the input did not decode.
    pub(super) fault: Option<String>,
    pub(super) generation: Option<Generation>,
    /// Id of the first run of this chain.
    pub(super) first_run: String,
    pub(super) policy: Policy,
    pub(super) ticket: Option<Ticket>,
    pub(super) began_at: i64,
    pub(super) stage: Stage,
    pub(super) doing: String,
    pub(super) parked: Option<Parked>,
    pub(super) report: Option<DiscoveryReport>,
    pub(super) candidates: Vec<RankedRepository>,
    pub(super) plan: Option<PlanVersion>,
    /// Why the plan has to be written again.
    pub(super) feedback: Option<String>,
    /// What people said to mind from now on.
    pub(super) guidance: VecDeque<String>,
    /// Those of them that no agent was given yet, with who said them.
    pub(super) unheard: Vec<Remark>,
    /// Remarks so far.
    pub(super) remarks: u32,
    pub(super) approval: Option<Approval>,
    pub(super) expires_at: i64,
    /// Seconds in which the work waited for a person.
    pub(super) waited_seconds: i64,
    /// Every branch this run may have made, noted before it is made.
    pub(super) branches: Vec<(RepositoryName, BranchName)>,
    pub(super) repositories: BTreeMap<RepositoryName, Delivery>,
    /// What could not be installed for the plan's repositories when it was shown, in words.
    pub(super) set_up: BTreeMap<RepositoryName, Vec<String>>,
    pub(super) tasks: Vec<Task>,
    pub(super) budget: Budget,
    pub(super) money: Money,
    pub(super) inbox: Inbox,
    pub(super) log: Journal<LOG_ENTRIES>,
    pub(super) notes: VecDeque<String>,
    /// What people who signalled in vain are told.
    pub(super) answers: VecDeque<(Person, String)>,
    /// A remark is not in the current details yet.
    pub(super) unshown: bool,
    pub(super) occurrences: Occurrences,
    pub(super) slack: SlackThread,
    pub(super) last_event_at: i64,
    /// Cancels the flow; made by the run.
    pub(super) cancel_token: Option<WorkflowCancellationToken>,
    pub(super) cancelled_by: Option<Person>,
    /// How it ends when its work is called off for another reason than a cancel.
    pub(super) ends_as: Option<Stage>,
    /// The run reports and cleans up; newer events begin another.
    pub(super) closing: bool,
    /// What the clean-up could not remove.
    pub(super) left_behind: Vec<String>,
    /// Who rejected, and why.
    pub(super) rejected: Option<Reject>,
    pub(super) updated_at: i64,
}

/// What somebody said to mind.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Remark {
    /// Its number, from 1.
    pub(super) n: u32,
    pub(super) by: Person,
    pub(super) text: String,
}

/// A version of the plan.
#[derive(Clone)]
pub(super) struct PlanVersion {
    pub(super) plan: Plan,
    pub(super) version: u32,
    pub(super) hash: Digest,
    /// The cap that is approved with it; later extensions are grants of their own.
    pub(super) cap: MicroUsd,
    /// PLAN.md as it was written.
    pub(super) text: String,
}

/// A human's word.
#[derive(Clone)]
pub(super) struct Approval {
    pub(super) by: Person,
    pub(super) at: i64,
    pub(super) hash: Digest,
}

/// What is delivered in one repository.
#[derive(Clone)]
pub(super) struct Delivery {
    pub(super) repository: Repository,
    pub(super) branch: BranchName,
    /// Where the branch stands.
    pub(super) head: CommitSha,
    pub(super) pull_request: Option<PullRequest>,
    /// What CI said, in words.
    pub(super) ci: String,
    /// Attempts to make CI green; a `retry` begins anew.
    pub(super) ci_attempts: u32,
    /// It has had checks: none on a later head is no sign that there is no CI.
    pub(super) had_checks: bool,
    /// What CI needed, for the pull request.
    pub(super) ci_notes: Vec<String>,
    /// The red checks that a person was called for.
    pub(super) red: Vec<Check>,
    /// What they printed last; kept for people until checks are red again.
    pub(super) red_logs: Vec<CheckLog>,
    /// Sum of active seconds in this repository.
    pub(super) active_seconds: u64,
}

impl Delivery {
    /// The branch as it is, by the rules of the commit it began on.
    pub(super) fn at_head(&self) -> Workspace {
        self.at(self.head.clone())
    }

    /// A commit of the branch, by the same rules.
    pub(super) fn at(&self, commit: CommitSha) -> Workspace {
        Workspace::at(self.repository.name.clone(), commit, self.repository.head.clone())
    }

    /// A branch on which nothing was done yet.
    pub(super) fn new(repository: Repository, branch: BranchName, head: CommitSha) -> Self {
        Self {
            repository,
            branch,
            head,
            pull_request: None,
            ci: String::new(),
            ci_attempts: 0,
            had_checks: false,
            ci_notes: Vec::new(),
            red: Vec::new(),
            red_logs: Vec::new(),
            active_seconds: 0,
        }
    }
}

/// One task and how far it is.
#[derive(Clone)]
pub(super) struct Task {
    pub(super) plan: PlannedTask,
    pub(super) attempts: u32,
    /// Files of the last attempt, whose work goes on.
    pub(super) workspace: Option<Workspace>,
    /// Proven, and not pushed yet.
    pub(super) ready: Option<Ready>,
    /// Why the last attempt was refused.
    pub(super) refusal: String,
    pub(super) result: Option<TaskResult>,
    pub(super) proof: Option<Proof>,
    pub(super) pushed: Option<Pushed>,
    /// It cannot be done, or what it depends on cannot.
    pub(super) stopped: bool,
    /// CI showed that it has to be done again: the commit it began on, against which it is proven anew.
    pub(super) redo: Option<CommitSha>,
}

/// Work that is proven and has to be pushed. Kept, so that a push that fails costs no second run of the agent.
#[derive(Clone)]
pub(super) struct Ready {
    pub(super) head: Workspace,
    pub(super) proof: Proof,
    pub(super) result: TaskResult,
    /// Seconds since 1970; part of the commit, so that pushing again makes the same commit.
    pub(super) authored_at: i64,
}

impl Task {
    pub(super) fn new(plan: PlannedTask) -> Self {
        Self {
            plan,
            attempts: 0,
            workspace: None,
            ready: None,
            refusal: String::new(),
            result: None,
            proof: None,
            pushed: None,
            stopped: false,
            redo: None,
        }
    }

    pub(super) fn done(&self) -> bool {
        self.pushed.is_some() && self.redo.is_none()
    }
}

/// The ticket's Slack thread.
#[derive(Clone, Default)]
pub(super) struct SlackThread {
    /// The first message.
    pub(super) root: Option<MessageRef>,
    /// The approval message whose buttons are live.
    pub(super) approval: Option<MessageRef>,
    /// The message that asks for money and whose buttons are live, and its text.
    pub(super) money: Option<(MessageRef, String)>,
}

/// What came in and was not looked at yet.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) approvals: VecDeque<Approve>,
    pub(super) rejections: VecDeque<Reject>,
    pub(super) changes: VecDeque<RequestChanges>,
    pub(super) steers: VecDeque<Steer>,
    pub(super) retries: VecDeque<Command>,
    pub(super) cancels: VecDeque<Command>,
    pub(super) extensions: VecDeque<ExtendBudget>,
    /// The budget was extended for a ticket whose step found no money.
    pub(super) funded: bool,
    pub(super) checks: Vec<ChecksChanged>,
    pub(super) pull_request_news: u32,
    /// What the watches of our checks did.
    pub(super) ci_progress: VecDeque<CiProgress>,
    /// A newer event that arrived while the run was closing: the next generation.
    pub(super) next: Option<Joined>,
    /// Decisions whose makers' rights could not be asked. They are judged when a person lets the ticket go on.
    pub(super) postponed: Vec<Decided>,
}

/// A decision of a person.
#[derive(Clone)]
pub(super) enum Decided {
    Approve(Approve),
    Reject(Reject),
    Change(RequestChanges),
}

impl Inbox {
    /// Notes a request for changes.
    pub(super) fn request(&mut self, mut request: RequestChanges) {
        if self.changes.len() < WAITING {
            request.comment = request.comment.trim().chars().take(REQUEST).collect();
            self.changes.push_back(request);
        }
    }

    /// Keeps decisions that could not be judged, and with them all that wait behind them: the same question would fail again.
    pub(super) fn postpone(&mut self, decided: Vec<Decided>) {
        self.postponed.extend(decided);
        self.postponed.extend(self.rejections.drain(..).map(Decided::Reject));
        self.postponed.extend(self.changes.drain(..).map(Decided::Change));
        self.postponed.extend(self.approvals.drain(..).map(Decided::Approve));
    }

    /// Puts back what was postponed, before what came since.
    pub(super) fn resume(&mut self) {
        for decided in std::mem::take(&mut self.postponed).into_iter().rev() {
            match decided {
                Decided::Approve(approve) => self.approvals.push_front(approve),
                Decided::Reject(reject) => self.rejections.push_front(reject),
                Decided::Change(request) => self.changes.push_front(request),
            }
        }
    }

    /// Notes a remark.
    pub(super) fn steer(&mut self, steer: Steer) {
        if self.steers.len() < WAITING {
            self.steers.push_back(steer);
        }
    }

    /// Notes an extension of the budget.
    pub(super) fn extend(&mut self, extend: ExtendBudget) {
        self.extensions.push_back(extend);
    }

    /// So many extensions wait to be judged that no more are taken.
    pub(super) fn is_flooded(&self) -> bool {
        self.extensions.len() >= WAITING
    }

    /// Notes a nudge once; they are coalesced per head.
    pub(super) fn nudge(&mut self, news: ChecksChanged) {
        if !self.checks.contains(&news) && self.checks.len() < 100 {
            self.checks.push(news);
        }
    }
}

impl TicketState {
    pub(super) fn new(input: Result<TicketInput, String>, first_run: String) -> Self {
        let (input, fault) = match input {
            Ok(input) => (input, None),
            Err(fault) => (TicketInput::default(), Some(fault)),
        };
        let last_event_at = input.event.as_ref().map_or(0, |event| event.at);
        Self { input, fault, first_run, last_event_at, ..Self::default() }
    }

    /// Adds a line to the log.
    pub(super) fn record(&mut self, at: i64, text: String) {
        self.updated_at = at;
        self.log.record(at, &text);
    }

    /// Adds a line to the log and to the remarks that people see.
    pub(super) fn note(&mut self, at: i64, text: String) {
        self.notes.push_back(text.chars().take(300).collect());
        if self.notes.len() > NOTES {
            self.notes.pop_front();
        }
        self.unshown = true;
        self.record(at, text);
    }

    /// Notes a decision that changes nothing, and has its maker told once.
    pub(super) fn decline(&mut self, at: i64, by: &Person, text: String) {
        if !self.notes.contains(&text) && self.answers.len() < ANSWERS {
            self.answers.push_back((by.clone(), text.clone()));
        }
        self.note(at, text);
    }

    /// Keeps what somebody said to mind.
    pub(super) fn mind(&mut self, by: &Person, text: &str) -> Remark {
        let text: String = text.trim().chars().take(GUIDANCE.1).collect();
        self.guidance.push_back(format!("{}: {text}", by.label()));
        if self.guidance.len() > GUIDANCE.0 {
            self.guidance.pop_front();
        }
        self.remarks += 1;
        let remark = Remark { n: self.remarks, by: by.clone(), text };
        self.unheard.push(remark.clone());
        if self.unheard.len() > GUIDANCE.0 {
            self.unheard.remove(0);
        }
        remark
    }

    /// An agent has ended: these remarks it was told while it worked.
    pub(super) fn heard(&mut self, remarks: &[u32]) {
        self.unheard.retain(|remark| !remarks.contains(&remark.n));
    }

    /// The work is done, and nobody reads remarks any more: who said something is told where to say it now.
    pub(super) fn return_unheard(&mut self, at: i64) {
        for Remark { by, text, .. } in std::mem::take(&mut self.unheard) {
            self.too_late(at, &by, &text);
        }
    }

    /// Answers a remark for which no agent is left.
    pub(super) fn too_late(&mut self, at: i64, by: &Person, text: &str) {
        let (who, key, instead) = (by.label(), self.key(), self.instead_of_steer());
        let said = messages::shorten(text, REMARK);
        let text = format!("What {who} said came too late for {key}: \"{said}\". To have it done, {instead}");
        self.decline(at, by, text);
    }

    /// Where an instruction is heard once the work is done.
    pub(super) fn instead_of_steer(&self) -> String {
        format!("comment @{} <what to do> on the pull request", self.policy.conventions.handle)
    }

    /// Somebody pushed to a pull request whose checks are watched, or closed it: its watch is to look at once. Before that stage
    /// nobody watches, and what we push ourselves is known.
    pub(super) fn watch_again(&mut self, news: &PullRequestChanged) {
        let watching = matches!(self.stage, Stage::WatchingCi | Stage::FixingCi);
        let Some(delivery) = self.repositories.get(&news.repository).filter(|_| watching) else { return };
        let of_it = delivery.pull_request.as_ref().is_some_and(|pr| pr.number == news.number);
        if of_it && (news.sha != delivery.head || news.state != PullRequestState::Open) {
            let (repository, sha) = (news.repository.clone(), delivery.head.clone());
            self.inbox.nudge(ChecksChanged { repository, sha });
        }
    }

    /// The repository for which a person is called: one with red checks, else the first that is not green.
    pub(super) fn reddest(&self) -> Option<&Delivery> {
        let mut open = self.repositories.values().filter(|delivery| delivery.ci.is_empty());
        open.clone().find(|delivery| !delivery.red.is_empty()).or_else(|| open.next())
    }

    /// What a red check printed last.
    pub(super) fn check_log(&self, job: u64) -> Option<CheckLog> {
        let mut logs = self.repositories.values().flat_map(|delivery| &delivery.red_logs);
        logs.find(|log| log.job == job).cloned()
    }

    /// The flow is being undone or is over.
    pub(super) fn is_closing(&self) -> bool {
        self.closing || self.stage.is_end()
    }

    pub(super) fn cancel(&mut self, by: Person) {
        if self.cancelled_by.is_none() && !self.is_closing() {
            self.cancelled_by = Some(by);
            self.call_off();
        }
    }

    /// Stops what runs; then the ticket ends so, unless a person has cancelled it.
    pub(super) fn end_as(&mut self, stage: Stage) {
        self.ends_as.get_or_insert(stage);
        self.call_off();
    }

    fn call_off(&self) {
        if let Some(token) = &self.cancel_token {
            token.cancel();
        }
    }

    pub(super) fn join(&mut self, at: i64, joined: Joined) {
        if joined.event.at <= self.last_event_at {
            self.record(at, format!("event {} ignored: not newer than the last one", joined.event.id));
            return;
        }
        self.last_event_at = joined.event.at;
        if self.is_closing() {
            self.record(at, "labelled again while closing: a new run follows".to_owned());
            self.inbox.next = Some(joined);
        } else if self.stage == Stage::Parked {
            self.record(at, "labelled again: trying again".to_owned());
            let by = joined.by.unwrap_or_else(|| Person::cli("Jira"));
            self.inbox.retries.push_back(Command { by });
        } else {
            self.record(at, "labelled again: already at work".to_owned());
        }
    }

    /// Input of the run that follows this one.
    pub(super) fn next_input(&self, next: Joined) -> TicketInput {
        let key = self.input.key.clone();
        let event = Some(EventId { id: next.event.id, at: next.event.at });
        TicketInput { key, event, requested_by: next.by, policy: None }
    }

    pub(super) fn key(&self) -> &str {
        &self.input.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> TicketState {
        let mut state = TicketState {
            input: TicketInput { key: "SHOP-1".into(), ..TicketInput::default() },
            ..TicketState::default()
        };
        state.policy.conventions.handle = "agent".into();
        state
    }

    #[test]
    fn a_remark_that_no_agent_was_given_is_answered() {
        let mut state = state();
        let long = "x".repeat(3000);
        state.mind(&Person::cli("ana"), &long);
        assert!(state.guidance[0].ends_with(&long), "an instruction of 4,000 characters is heard as a whole");
        state.return_unheard(7);
        state.return_unheard(8);
        assert_eq!(state.answers.len(), 1, "{:?}", state.answers);
        let (by, text) = &state.answers[0];
        assert_eq!(by, &Person::cli("ana"));
        assert!(text.contains("came too late for SHOP-1") && text.contains("comment @agent <what to do>"), "{text}");
        assert!(state.log.entries().any(|entry| entry.text.contains("came too late")));
    }

    #[test]
    fn what_an_agent_was_told_while_it_worked_is_heard() {
        let mut state = state();
        let first = state.mind(&Person::cli("ana"), "the cache");
        let second = state.mind(&Person::cli("bo"), "the names");
        assert_eq!((first.n, second.n), (1, 2));
        state.heard(&[1, 7]);
        assert_eq!(state.unheard, [second]);
        assert_eq!(state.guidance.len(), 2, "later agents are told all the same");
    }

    #[test]
    fn the_repository_with_red_checks_is_shown() {
        let mut state = state();
        for name in ["acme/api", "acme/shop", "acme/web"] {
            let head: CommitSha = "8be1".repeat(10).parse().unwrap();
            let name: RepositoryName = name.parse().unwrap();
            let (default_branch, url) = ("main".to_owned(), String::new());
            let repository = Repository { name: name.clone(), default_branch, head: head.clone(), url };
            state.repositories.insert(name, Delivery::new(repository, "agent/SHOP-1/x".parse().unwrap(), head));
        }
        let shown = |state: &TicketState| state.reddest().map(|delivery| delivery.repository.name.to_string());
        assert_eq!(shown(&state).as_deref(), Some("acme/api"));
        let red = |n: usize, state: &mut TicketState| {
            let check = serde_json::json!({"name": "test", "state": "failed", "url": ""});
            let delivery = state.repositories.values_mut().nth(n).unwrap();
            delivery.red = vec![serde_json::from_value(check).unwrap()];
        };
        red(1, &mut state);
        assert_eq!(shown(&state).as_deref(), Some("acme/shop"), "the first only waits");
        state.repositories.values_mut().for_each(|delivery| delivery.ci = "green".into());
        assert_eq!(shown(&state), None);
    }

    #[test]
    fn decisions_that_could_not_be_judged_come_back_in_their_order() {
        let mut inbox = Inbox::default();
        let approve = |id: &str| Approve { by: Person::cli(id), plan_hash: None, comment: None };
        let change = |id: &str| RequestChanges { by: Person::cli(id), comment: "more".into(), plan_hash: None };
        inbox.approvals.push_back(approve("dee"));
        inbox.rejections.push_back(Reject { by: Person::cli("eve"), comment: None, plan_hash: None });
        inbox.postpone(vec![
            Decided::Change(change("ana")),
            Decided::Approve(approve("bo")),
            Decided::Change(change("cy")),
        ]);
        let waiting = inbox.approvals.len() + inbox.changes.len() + inbox.rejections.len();
        assert_eq!(waiting, 0, "what waits behind them would only fail as well");
        inbox.resume();
        inbox.resume();
        let approvals: Vec<_> = inbox.approvals.iter().map(|approve| approve.by.id.as_str()).collect();
        let changes: Vec<_> = inbox.changes.iter().map(|change| change.by.id.as_str()).collect();
        assert_eq!((approvals, changes, inbox.rejections.len()), (vec!["bo", "dee"], vec!["ana", "cy"], 1));
    }
}
