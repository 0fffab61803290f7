//! From an error to a ticket at work: found again, or analysed and reported.

use serde_json::json;

use super::desk::Watch;
use super::{ErrorEnd, REPORT_LABEL};
use crate::agent_call::{self, Errand};
use crate::agent_run::decode_answer;
use crate::contract::agent::{AgentEnd, AgentName};
use crate::contract::analysis::ErrorAnalysis;
use crate::contract::ids::TicketKey;
use crate::contract::jira::{FindReport, Jira, ReportBug, Reported, WriteComment};
use crate::contract::money::MicroUsd;
use crate::contract::sentry::{ErrorEvent, ErrorIssue, Level, LinkTicket, Sentry};
use crate::contract::status::Stage;
use crate::contract::tasks::Tasks;
use crate::contract::trigger::{EventId, TicketLabelled};
use crate::kit::{CallError, now_milliseconds};
use crate::messages::{self, Template};
use crate::policy::Family;
use crate::search_attributes::COST_USD;

/// Longest title in a ticket's summary, in characters.
const TITLE: usize = 80;

impl Watch {
    /// The ticket that an earlier run made for this error: named on the issue itself, or found by fingerprint in Jira. Both
    /// outlive Temporal's retention.
    pub(super) async fn known_report(&self, issue: &ErrorIssue) -> Result<Option<Reported>, CallError> {
        let Some(project) = self.project(issue) else { return Ok(None) };
        let summary = "look for a ticket named on the issue";
        let linked = self.call(Family::Read, summary, Sentry::linked_ticket, issue.id.clone()).await?;
        let request = FindReport {
            project,
            fingerprint: issue.fingerprint.clone(),
            label: REPORT_LABEL.to_owned(),
            days: self.read(|s| s.policy.sentry.dedupe_days),
            linked,
        };
        self.call(Family::Read, "look for an earlier report", Jira::find_report, request).await
    }

    /// Analyses a new error, reports it as a bug, tells people and hands it over.
    pub(super) async fn report(
        &self,
        issue: &ErrorIssue,
        event: &ErrorEvent,
    ) -> Result<Result<TicketKey, ErrorEnd>, CallError> {
        let Some(project) = self.project(issue) else {
            let why = format!("[policy.sentry.projects] names no Jira project for {}", issue.project);
            return Ok(Err(self.tell_only(issue, &why).await?));
        };
        self.enter("finding out why it happens");
        let analysis = self.analyse(issue, event).await?;
        // That took minutes, and people work too.
        match self.read_issue().await? {
            None => return Ok(Err(ErrorEnd::Deleted)),
            Some(issue) if !issue.unresolved => return Ok(Err(ErrorEnd::NotUnresolved)),
            Some(_) => {}
        }
        self.enter("reporting it");
        let high = matches!(issue.level, Level::Fatal | Level::Error);
        let bug = ReportBug {
            project,
            summary: summary_of(issue),
            description: self.render(Template::ErrorBug, issue, json!({ "event": event, "analysis": analysis })),
            labels: vec![self.read(|s| s.policy.label.clone()), REPORT_LABEL.to_owned(), "error".to_owned()],
            priority: if high { "High" } else { "Medium" }.to_owned(),
            effect: self.effect("jira/bug"),
            fingerprint: issue.fingerprint.clone(),
        };
        let reported = match self.report_until_taken(issue, bug).await? {
            Ok(reported) => reported,
            Err(end) => return Ok(Err(end)),
        };
        self.write(|s| s.ticket = Some(reported.key.clone()));
        self.log(format!("reported as {}", reported.key));
        self.name_ticket(issue, &reported).await;
        let extra = json!({ "ticket": reported.key, "ticket_url": reported.url, "analysis": analysis, "why": "" });
        self.tell("reported", Template::SlackError, issue, extra, Some(&reported.url)).await;
        self.hand_over(&reported.key, issue).await?;
        Ok(Ok(reported.key))
    }

    /// Reports the bug. Where Jira refuses it, people are told once, and it is tried again until somebody has mended Jira: a run
    /// that failed here would pay for the analysis again at the next sweep.
    async fn report_until_taken(
        &self,
        issue: &ErrorIssue,
        bug: ReportBug,
    ) -> Result<Result<Reported, ErrorEnd>, CallError> {
        let summary = format!("report {} as a bug", issue.short_id);
        let mut waiting = None;
        loop {
            let failure = match self.call(Family::Effect, &summary, Jira::report_bug, bug.clone()).await {
                Ok(reported) => return Ok(Ok(reported)),
                Err(CallError::Cancelled) => return Err(CallError::Cancelled),
                Err(CallError::Failed(failure)) => failure.message,
            };
            let vigil = match &mut waiting {
                Some(vigil) => vigil,
                None => waiting.insert(self.tell_without_ticket(issue, &failure).await),
            };
            self.log(format!("Jira did not take the bug: {failure}"));
            vigil.end = ErrorEnd::ToldOnly(failure);
            if let Some(end) = self.keep_vigil(vigil).await? {
                return Ok(Err(end));
            }
        }
    }

    /// An error that was reported before. While its ticket is at work there is nothing to add. What comes a whole quiet time
    /// after its merge means that it is back: the ticket gets the new evidence, once, and work on it begins anew. Work that a
    /// person ended stays ended.
    pub(super) async fn pick_up(
        &self,
        issue: &ErrorIssue,
        event: Option<&ErrorEvent>,
        known: Reported,
    ) -> Result<TicketKey, CallError> {
        self.write(|s| s.ticket = Some(known.key.clone()));
        self.log(format!("already reported as {}", known.key));
        let summary = format!("look at {}", known.key);
        let state = self.call(Family::Read, &summary, Tasks::ticket_state, known.key.clone()).await?;
        let back = match &state {
            Some(state) if state.running => false,
            // Until then the run waits for quiet, as the one did that reported it.
            Some(state) => {
                let quiet = self.read(|s| s.policy.sentry.quiet_seconds);
                let over = state.ended_at.map(|at| at.saturating_add_unsigned(quiet));
                state.ended_as(Stage::Merged) && over.is_none_or(|over| issue.last_seen > over)
            }
            // Temporal has forgotten the ticket, Jira has not.
            None => known.done,
        };
        if back {
            self.add_evidence(issue, event, &known).await?;
        }
        self.name_ticket(issue, &known).await;
        Ok(known.key)
    }

    /// After the merge, while the run was still watching.
    pub(super) async fn seen_again(&self, ticket: &TicketKey) -> Result<(), CallError> {
        let Some(issue) = self.read_issue().await? else { return Ok(()) };
        let event = self.newest_event().await?;
        let url = self.call(Family::Read, &format!("read {ticket}"), Jira::get_ticket, ticket.clone()).await?.url;
        let known = Reported { key: ticket.clone(), url, done: true };
        self.add_evidence(&issue, event.as_ref(), &known).await
    }

    async fn add_evidence(
        &self,
        issue: &ErrorIssue,
        event: Option<&ErrorEvent>,
        known: &Reported,
    ) -> Result<(), CallError> {
        let Reported { key, url, .. } = known;
        self.enter(format!("{key} was merged, but the error is back"));
        let comment = WriteComment {
            ticket: key.clone(),
            effect: self.effect("jira/evidence"),
            markdown: self.render(Template::ErrorEvidence, issue, json!({ "event": event })),
        };
        let summary = format!("add evidence to {key}");
        self.call(Family::Effect, &summary, Jira::write_comment, comment).await?;
        let why = "It is back after its ticket was merged.";
        let extra = json!({ "ticket": key, "ticket_url": url, "analysis": null, "why": why });
        self.tell("back", Template::SlackError, issue, extra, Some(url)).await;
        self.hand_over(key, issue).await
    }

    /// The sentry agent's analysis; `None` when it came to none: the bug is reported without it.
    async fn analyse(&self, issue: &ErrorIssue, event: &ErrorEvent) -> Result<Option<ErrorAnalysis>, CallError> {
        let agent = AgentName::Sentry;
        let policy = self.read(|s| s.policy.clone());
        let lease = MicroUsd(policy.budget.error_cap_micro_usd);
        let errand = Errand {
            agent,
            ticket: None,
            generation: self.generation.clone(),
            brief: json!({ "issue": issue, "event": event }),
            workspace: None,
            lease,
            purse: None,
        };
        let id = format!("{}/{agent}/{}", self.ctx.workflow_id(), self.generation);
        let title = format!("{}: {agent}", issue.short_id);
        let ended = match agent_call::call(&self.ctx, &self.token, &policy, id, title, errand).await {
            Ok(ended) => ended,
            Err(why) => return Ok(self.not_analysed(&why)),
        };
        let result = match ended {
            Ok(result) => result,
            Err(CallError::Cancelled) => return Err(CallError::Cancelled),
            Err(CallError::Failed(failure)) => {
                // A child that died cannot say what it spent: its whole lease counts as gone.
                self.write(|s| s.spent += lease);
                return Ok(self.not_analysed(&failure.message));
            }
        };
        self.write(|s| s.spent += result.spent);
        self.ctx.upsert_search_attributes([COST_USD.value_set(result.spent.as_usd())]);
        self.log(format!("{agent} agent: {} model turns, {}", result.turns, result.spent));
        if let Some(why) = agent_call::fault(&result.end) {
            return Ok(self.not_analysed(&why));
        }
        let AgentEnd::Answered(answer) = result.end else { return Ok(None) };
        decode_answer(answer).map_or_else(|fault| Ok(self.not_analysed(&fault)), |analysis| Ok(Some(analysis)))
    }

    fn not_analysed(&self, why: &str) -> Option<ErrorAnalysis> {
        self.log(format!("reported without an analysis: {why}"));
        None
    }

    /// Names the ticket on the issue, for people and for later runs. Without it the fingerprint in Jira is still found.
    async fn name_ticket(&self, issue: &ErrorIssue, reported: &Reported) {
        let link = LinkTicket { issue: issue.id.clone(), ticket: reported.key.clone(), url: reported.url.clone() };
        match self.call(Family::Effect, "name the ticket on the issue", Sentry::link_ticket, link).await {
            Err(CallError::Failed(failure)) => self.log(format!("not named on the issue: {}", failure.message)),
            Ok(_) | Err(CallError::Cancelled) => {}
        }
    }

    /// The one start function: Jira's own webhook about the label joins the same run.
    async fn hand_over(&self, ticket: &TicketKey, issue: &ErrorIssue) -> Result<(), CallError> {
        let labelled = TicketLabelled {
            ticket: ticket.clone(),
            event: EventId {
                id: format!("sentry-{}-{}-{}", issue.id, self.generation, self.occurrence("hand over")),
                at: now_milliseconds(&self.ctx),
            },
            by: None,
            summary: summary_of(issue),
        };
        let started = self.call(Family::Effect, &format!("start {ticket}"), Tasks::start_ticket, labelled).await?;
        self.log(format!("{} {}", started.workflow_id, if started.new { "started" } else { "joined" }));
        Ok(())
    }

    fn project(&self, issue: &ErrorIssue) -> Option<String> {
        self.read(|s| s.policy.sentry.projects.get(&issue.project).cloned())
    }
}

fn summary_of(issue: &ErrorIssue) -> String {
    format!("[AUTO] {}", messages::shorten(&issue.title, TITLE))
}
