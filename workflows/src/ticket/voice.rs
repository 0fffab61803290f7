//! How a ticket speaks: Slack thread, Jira comments, pull request text, current details. A message that cannot be delivered
//! is noted and never stops the work.

use std::convert::Infallible;

use serde_json::{Value, json};
use temporalio_workflow::WaitConditionOptions;

use super::TicketWorkflow;
use super::flow::Flow;
use super::state::{Delivery, Task};
use crate::contract::access::{Person, Via};
use crate::contract::github::{EditPullRequest, GitHub};
use crate::contract::ids::RepositoryName;
use crate::contract::jira::{Jira, MoveTicket, Moved, WriteComment};
use crate::contract::plan::TaskResult;
use crate::contract::slack::{MessageRef, PostMessage, Slack, TellPerson, UpdateMessage};
use crate::kit::{self, CallError};
use crate::messages::{self, PullRequestView, SetUpView, TaskView, Template, TicketView};
use crate::policy::Family;

/// Most characters of the plan in a pull request's body; the rest of the body is about the proof.
const PLAN_IN_BODY: usize = 40_000;

impl Flow {
    /// Everything messages may show.
    pub(super) fn view(&self) -> TicketView {
        let now = kit::now(&self.ctx);
        self.read(|s| {
            let plan = s.plan.as_ref();
            TicketView {
                key: self.key.to_string(),
                url: s.ticket.as_ref().map(|t| t.url.clone()).unwrap_or_default(),
                summary: s.ticket.as_ref().map(|t| t.summary.clone()).unwrap_or_default(),
                requested_by: s
                    .input
                    .requested_by
                    .as_ref()
                    .map(|person| if person.name.is_empty() { person.id.clone() } else { person.name.clone() })
                    .unwrap_or_default(),
                stage: s.stage,
                doing: s.doing.clone(),
                parked: s.parked.clone(),
                candidates: s.candidates.clone(),
                plan: plan.map(|version| version.plan.clone()),
                plan_version: plan.map_or(0, |version| version.version),
                plan_hash: plan.map(|version| version.hash.short().to_owned()).unwrap_or_default(),
                hours: plan.map(|version| format!("{:.1}", version.plan.hours())).unwrap_or_default(),
                estimate: s.estimate().to_string(),
                approved_by: s.approval.as_ref().map(|approval| approval.by.label()).unwrap_or_default(),
                approved_at: s.approval.as_ref().map_or(0, |approval| approval.at),
                tasks: s.tasks.iter().map(task_view).collect(),
                set_up: s.set_up.iter().filter_map(|(repository, notes)| set_up_view(repository, notes)).collect(),
                pull_requests: s.repositories.values().filter_map(pull_request_view).collect(),
                spent: s.budget.spent_so_far().to_string(),
                cap: s.budget.cap.to_string(),
                rest: s.estimate_of_rest().map(|rest| rest.to_string()).unwrap_or_default(),
                expires_at: s.expires_at,
                run_url: s.run_url(),
                commands: s.commands(),
                slack_channel: s.policy.slack.channel.clone(),
                began_at: s.began_at,
                work_minutes: (now - s.began_at - s.waited_seconds + 59) / 60,
                waited_minutes: s.waited_seconds / 60,
            }
        })
    }

    pub(super) fn details(&self) -> String {
        let notes: Vec<String> = self.read(|s| s.notes.iter().cloned().collect());
        messages::render(Template::Details, &self.view(), json!({ "notes": notes }))
    }

    /// Says something in the ticket's Slack thread; the first message opens it.
    pub(super) async fn say(&self, step: &str, template: Template, extra: Value) {
        let text = messages::render(template, &self.view(), extra);
        let blocks = vec![messages::slack::section(&text)];
        self.post(step, text, blocks).await;
    }

    /// Posts a message with blocks; returns where it is.
    pub(super) async fn post(&self, step: &str, text: String, blocks: Vec<Value>) -> Option<MessageRef> {
        let (channel, root) = self.read(|s| (s.policy.slack.channel.clone(), s.slack.root.clone()));
        if channel.is_empty() {
            return None;
        }
        let message = PostMessage {
            channel: root.as_ref().map_or(channel, |root| root.channel.clone()),
            thread: root.map(|root| root.ts),
            effect: self.effect(&format!("slack/{step}")),
            text,
            blocks,
        };
        let summary = format!("tell Slack: {}", step.replace('_', " "));
        match self.call(Family::Effect, &summary, Slack::post_message, message).await {
            Ok(posted) => {
                self.write(|s| {
                    s.slack.root.get_or_insert_with(|| posted.clone());
                });
                Some(posted)
            }
            Err(error) => {
                self.undelivered("Slack", &error);
                None
            }
        }
    }

    /// Answers somebody whose word had no effect: a person in Slack alone, anybody else in the ticket's thread.
    pub(super) async fn answer(&self, person: &Person, step: &str, text: &str) {
        let shown = messages::slack::escape(&messages::one_line(text));
        if person.via != Via::Slack {
            self.post(step, shown.clone(), vec![messages::slack::section(&shown)]).await;
            return;
        }
        let (channel, root) = self.read(|s| (s.policy.slack.channel.clone(), s.slack.root.clone()));
        if channel.is_empty() {
            return;
        }
        // In the channel, where the buttons are: a note in a thread that the person has not open stays unseen.
        let channel = root.map_or(channel, |root| root.channel);
        let note = TellPerson { channel, thread: None, person: person.id.clone(), text: shown };
        let summary = format!("tell {}: {}", person.label(), step.replace('_', " "));
        if let Err(error) = self.call(Family::Effect, &summary, Slack::tell_person, note).await {
            self.undelivered("Slack", &error);
        }
    }

    /// Attends to people beside the flow: judges cancels, remarks and extensions of the budget, answers whoever decided when there was nothing to
    /// decide, shows remarks. Never ends.
    pub(super) async fn attend(&self) -> Infallible {
        loop {
            let options = WaitConditionOptions::builder().cancellation_token(self.token.clone()).build();
            let called = |w: &TicketWorkflow| {
                let state = &w.state;
                let inbox = &state.inbox;
                let money = state.money.park.is_some() && !(inbox.retries.is_empty() && inbox.rejections.is_empty());
                let said = !(inbox.cancels.is_empty() && inbox.steers.is_empty() && inbox.extensions.is_empty());
                state.unshown || !state.answers.is_empty() || said || money
            };
            if self.ctx.wait_condition_with_options(called, options).await.is_err() {
                std::future::pending::<Infallible>().await;
            }
            while let Some(cancel) = self.write(|s| s.inbox.cancels.pop_front()) {
                self.judge_cancel(cancel).await;
            }
            while let Some(steer) = self.write(|s| s.inbox.steers.pop_front()) {
                self.judge_steer(steer).await;
            }
            while let Some(extend) = self.write(|s| s.inbox.extensions.pop_front()) {
                self.judge_extension(extend).await;
            }
            self.attend_money_park().await;
            self.show();
            while let Some((person, text)) = self.write(|s| s.answers.pop_front()) {
                self.answer(&person, "declined", &format!("{text}.")).await;
            }
        }
    }

    /// Takes the buttons off the approval message and says what was decided.
    pub(super) async fn close_approval_message(&self, decision: &str, extra: Value) {
        let Some(message) = self.read(|s| s.slack.approval.clone()) else {
            return;
        };
        let view = self.view();
        let plan = messages::render(Template::SlackApproval, &view, self.repositories_of_plan());
        let mut variables = json!({ "decision": decision, "by": "", "at": 0, "comment": "" });
        if let (Some(variables), Value::Object(extra)) = (variables.as_object_mut(), extra) {
            variables.extend(extra);
        }
        let decided = messages::render(Template::SlackDecided, &view, variables);
        let blocks = messages::slack::decided(&plan, &decided);
        if self.update_message(message, decided, blocks).await {
            // Only now: were this cut short, the clean-up has to take the buttons off.
            self.write(|s| s.slack.approval = None);
        }
    }

    /// Has a message say something else; false when Slack did not take that, which is noted.
    pub(super) async fn update_message(&self, message: MessageRef, text: String, blocks: Vec<Value>) -> bool {
        let update = UpdateMessage { message, text, blocks };
        let updated = self.call(Family::Effect, "update Slack message", Slack::update_message, update).await;
        if let Err(error) = &updated {
            self.undelivered("Slack", error);
        }
        updated.is_ok()
    }

    /// Names of the plan's repositories, without their owner.
    pub(super) fn repositories_of_plan(&self) -> Value {
        let names: Vec<String> = self.read(|s| {
            let repositories = s.plan.as_ref().map(|version| version.plan.repositories()).unwrap_or_default();
            repositories.iter().map(|repository| repository.name().to_owned()).collect()
        });
        json!({ "repositories": names })
    }

    /// Comments on the ticket.
    pub(super) async fn tell_jira(&self, step: &str, template: Template, extra: Value) {
        self.comment(step, messages::render(template, &self.view(), extra)).await;
    }

    /// Comments on the ticket with a text that was rendered before.
    pub(super) async fn comment(&self, step: &str, markdown: String) {
        let comment = WriteComment { ticket: self.key.clone(), effect: self.effect(&format!("jira/{step}")), markdown };
        let summary = format!("comment on {}: {}", self.key, step.replace('_', " "));
        if let Err(error) = self.call(Family::Effect, &summary, Jira::write_comment, comment).await {
            self.undelivered("Jira", &error);
        }
    }

    /// Moves the ticket by status name; a workflow without that status is noted.
    pub(super) async fn move_ticket(&self, status: String) {
        if status.is_empty() {
            return;
        }
        let request = MoveTicket { ticket: self.key.clone(), status: status.clone() };
        let summary = format!("move {} to {status}", self.key);
        match self.call(Family::Effect, &summary, Jira::move_ticket, request).await {
            Ok(Moved::Done | Moved::Already) => {}
            Ok(Moved::NoTransition { available }) => {
                self.log(format!("{} has no way to {status:?} from here (only: {})", self.key, available.join(", ")));
            }
            Err(error) => self.undelivered("Jira", &error),
        }
    }

    /// Title and body of a pull request, as things stand.
    pub(super) fn pull_request_text(&self, repository: &RepositoryName) -> (String, String) {
        let view = self.view();
        let extra = self.read(|s| {
            let tasks: Vec<&Task> = s.tasks.iter().filter(|task| &task.plan.repository == repository).collect();
            let results = || tasks.iter().filter_map(|task| task.result.as_ref());
            let delivery = s.repositories.get(repository);
            json!({
                "tasks": tasks.iter().map(|task| task_view(task)).collect::<Vec<_>>(),
                "base": delivery.map(|d| d.repository.default_branch.clone()).unwrap_or_default(),
                "ci": delivery.map(|d| d.ci.clone()).unwrap_or_default(),
                "ci_notes": delivery.map(|d| d.ci_notes.clone()).unwrap_or_default(),
                "look_here": places(results()),
                "not_done": results().flat_map(|r| &r.not_done).collect::<Vec<_>>(),
                "plan_text": s.plan.as_ref().map(|version| folded(&version.text)).unwrap_or_default(),
            })
        });
        let title = view.plan.as_ref().map(|plan| messages::one_line(&plan.title)).unwrap_or_default();
        let body = messages::render(Template::PullRequest, &view, extra);
        (format!("{}: {title}", self.key), body)
    }

    /// Brings a pull request's text up to date.
    pub(super) async fn refresh_pull_request(&self, repository: &RepositoryName) {
        let address = self.read(|s| {
            s.repositories
                .get(repository)
                .and_then(|d| d.pull_request.as_ref())
                .map(super::super::contract::github::PullRequest::address)
        });
        let Some(pull_request) = address else {
            return;
        };
        let (title, body) = self.pull_request_text(repository);
        let edit = EditPullRequest { pull_request, title, body };
        let summary = format!("update pull request in {}", repository.name());
        match self.call(Family::Effect, &summary, GitHub::edit_pull_request, edit).await {
            Ok(pull_request) => self.keep(pull_request),
            Err(error) => self.undelivered("GitHub", &error),
        }
    }

    pub(super) fn undelivered(&self, service: &str, error: &CallError) {
        if let CallError::Failed(failure) = error {
            let now = kit::now(&self.ctx);
            let text = format!("{service} was not told: {}", failure.message);
            self.write(|s| s.note(now, text));
        }
    }
}

fn set_up_view(repository: &RepositoryName, notes: &[String]) -> Option<SetUpView> {
    (!notes.is_empty()).then(|| SetUpView { repository: repository.name().to_owned(), notes: notes.to_vec() })
}

fn task_view(task: &Task) -> TaskView {
    TaskView {
        id: task.plan.id.clone(),
        title: task.plan.title.clone(),
        repository: task.plan.repository.to_string(),
        done: task.done(),
        proof: task.proof.clone(),
        pushed: task.pushed.clone(),
        result: task.result.clone(),
    }
}

/// The plan as it fits into a pull request's body, which has at most 65,536 characters.
fn folded(text: &str) -> String {
    if text.chars().count() <= PLAN_IN_BODY {
        return text.to_owned();
    }
    let kept: String = text.chars().take(PLAN_IN_BODY).collect();
    let whole_lines = kept.rsplit_once('\n').map_or(kept.as_str(), |(lines, _)| lines);
    format!("{whole_lines}\n\nThe plan is longer than fits here; PLAN.md on the branch has all of it.")
}

/// At most three places that deserve a human's eyes; what is said of one file stands together.
fn places<'a>(results: impl Iterator<Item = &'a TaskResult>) -> Vec<Value> {
    let mut places: Vec<(&str, Vec<&str>)> = Vec::new();
    for place in results.flat_map(|result| &result.look_here) {
        match places.iter_mut().find(|(path, _)| *path == place.path) {
            Some((_, why)) if why.contains(&place.why.as_str()) => {}
            Some((_, why)) => why.push(&place.why),
            None => places.push((&place.path, vec![&place.why])),
        }
    }
    places.into_iter().take(3).map(|(path, why)| json!({ "path": path, "why": why.join("; ") })).collect()
}

fn pull_request_view(delivery: &Delivery) -> Option<PullRequestView> {
    let pull_request = delivery.pull_request.as_ref()?;
    Some(PullRequestView {
        repository: delivery.repository.name.to_string(),
        number: pull_request.number,
        url: pull_request.url.clone(),
        plan_url: format!("{}/blob/{}/PLAN.md", delivery.repository.url, delivery.branch),
        base: delivery.repository.default_branch.clone(),
        ci: delivery.ci.clone(),
    })
}
