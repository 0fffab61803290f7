//! Tells a ticket's way as it happens, and ends with what was delivered.

use std::time::{Duration, Instant};

use workflows::contract::money::MicroUsd;
use workflows::contract::status::{Stage, TicketStatus};
use world::stack::{Observer, Stack};

use crate::screen::Screen;
use crate::{STAGE_LIMIT, beside};

/// How often the ticket is looked at.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) struct Story<'a> {
    stack: &'a mut Stack,
    observer: &'a Observer,
    screen: &'a Screen,
    key: String,
    began: Instant,
    told: usize,
    told_commands: bool,
    approved: bool,
    told_cost: String,
    told_stage: String,
    waited_for_person: Duration,
}

impl<'a> Story<'a> {
    pub(crate) fn new(
        stack: &'a mut Stack,
        observer: &'a Observer,
        screen: &'a Screen,
        key: String,
        began: Instant,
    ) -> Self {
        Self {
            stack,
            observer,
            screen,
            key,
            began,
            told: 0,
            told_commands: false,
            approved: false,
            told_cost: String::new(),
            told_stage: String::new(),
            waited_for_person: Duration::ZERO,
        }
    }

    /// Follows the ticket until it is ready for review (or over), then sums up.
    pub(crate) async fn tell(&mut self, approve: bool, crash: bool) -> anyhow::Result<()> {
        let summary = self.stack.world.jira.issue(&self.key).map(|issue| issue.summary).unwrap_or_default();
        self.screen.heading(&format!("{}  \"{summary}\"      labelled AI in Jira", self.key));
        let title = "In another terminal, while this runs: what planning said, and when a task is done, its proof:";
        beside::show(self.stack, self.screen, title, &beside::of_ticket(&self.key))?;
        self.webhook().await?;
        let killed = crash;
        let mut crash = crash;
        let mut moved = Instant::now();
        let mut asked: Option<Instant> = None;
        loop {
            let status = tokio::time::timeout(Duration::from_secs(5), self.observer.status(&self.key)).await;
            if let Ok(Ok(status)) = status {
                if self.news(&status).await? {
                    moved = Instant::now();
                }
                match status.stage {
                    Stage::AwaitingApproval => {
                        asked.get_or_insert_with(Instant::now);
                        self.ask(&status, approve).await?;
                        moved = Instant::now();
                    }
                    Stage::Executing if crash => {
                        crash = false;
                        self.waited_for_person += asked.take().map_or(Duration::ZERO, |asked| asked.elapsed());
                        self.crash()?;
                    }
                    Stage::ReadyForReview if status.doing.contains("waiting") => {
                        return self.sum_up(&status, killed).await;
                    }
                    Stage::Parked => {
                        let why = status.parked.map(|parked| parked.message).unwrap_or_default();
                        anyhow::bail!("{} is parked: {why}", self.key);
                    }
                    stage if stage.is_end() => {
                        self.screen.line(&format!("  {} ended as {stage}.", self.key));
                        return Ok(());
                    }
                    _ => {
                        self.waited_for_person += asked.take().map_or(Duration::ZERO, |asked| asked.elapsed());
                    }
                }
            }
            self.stack.alive()?;
            anyhow::ensure!(moved.elapsed() < STAGE_LIMIT, "nothing happened for {} s", STAGE_LIMIT.as_secs());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The accepted webhook.
    async fn webhook(&self) -> anyhow::Result<()> {
        let limit = Instant::now();
        loop {
            if let Some(delivery) = self.stack.world.webhooks.log().into_iter().find(|d| d.service == "jira") {
                anyhow::ensure!(
                    delivery.status == 202,
                    "the ingress answered {} to the webhook: {}",
                    delivery.status,
                    delivery.answer
                );
                let news = format!("webhook accepted (signature ok) for the run ticket-{}", self.key);
                self.screen.beat(self.seconds(), "webhook", &news, "");
                return Ok(());
            }
            anyhow::ensure!(limit.elapsed() < Duration::from_secs(60), "the webhook was not delivered within 60 s");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Prints new log lines; tells whether there were any.
    async fn news(&mut self, status: &TicketStatus) -> anyhow::Result<bool> {
        let log = self.observer.log(&self.key).await.unwrap_or_default();
        let fresh: Vec<String> = log.iter().skip(self.told).map(|entry| entry.text.clone()).collect();
        self.told = self.told.max(log.len());
        for text in &fresh {
            let (stage, news) = text.split_once(": ").unwrap_or(("", text.as_str()));
            let stage_is_known = stage.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !stage.is_empty();
            let (stage, news) =
                if stage_is_known { (stage.replace('_', " "), news) } else { (String::new(), text.as_str()) };
            let cost = status.spent.to_string();
            let changed = cost != self.told_cost && status.spent != MicroUsd::default();
            let shown = if stage == self.told_stage { "" } else { stage.as_str() };
            self.screen.beat(self.seconds(), shown, news, if changed { &cost } else { "" });
            self.told_cost = cost;
            if !stage.is_empty() {
                self.told_stage = stage;
            }
        }
        Ok(!fresh.is_empty())
    }

    /// Shows how to approve; or does it as Ana with the button on the Slack page.
    async fn ask(&mut self, status: &TicketStatus, approve: bool) -> anyhow::Result<()> {
        let posted = self.stack.world.slack.messages("#ai-agents");
        let with_buttons =
            posted.iter().find(|message| message.buttons().iter().any(|button| button.action_id == "approve"));
        if !self.told_commands && (with_buttons.is_some() || status.plan_hash.is_some()) {
            self.told_commands = true;
            if approve {
                self.screen.under("YES=1: approving on the Slack page, as Ana");
            } else {
                let slack = format!("{}/slack", self.stack.world.base_url);
                self.screen.prompt(&format!("Waiting for you. Approve on the Slack page {slack} or with:"));
                let me = std::env::var("USER").unwrap_or_else(|_| "you".to_owned());
                let line = status.commands.first().cloned().unwrap_or_default();
                self.screen.under(&line.replace(r#""by":"you""#, &format!(r#""by":"{me}""#)));
            }
        }
        if approve
            && !self.approved
            && let Some(message) = with_buttons
        {
            self.approved = true;
            let ts = message.ts.clone();
            self.stack.world.slack.click("ana", &ts, "approve").await?;
        }
        Ok(())
    }

    fn crash(&mut self) -> anyhow::Result<()> {
        self.stack.kill_worker();
        self.screen.beat(self.seconds(), "crash", "worker killed with SIGKILL; starting it again", "");
        self.stack.start_worker()
    }

    /// The pull request, its diff, proof, CI and cost.
    async fn sum_up(&self, status: &TicketStatus, crashed: bool) -> anyhow::Result<()> {
        let github = &self.stack.world.github;
        for link in &status.pull_requests {
            let Some((repository, number)) = pull_request_of(link) else { continue };
            let Some(pr) = github.pull_requests(&repository).into_iter().find(|pr| pr.number == number) else {
                continue;
            };
            let diff = github.diff(&repository, number).await?;
            self.screen.line("");
            self.screen.heading(&format!("PR #{number}  {}", pr.title));
            self.screen.line(&format!("  {link}"));
            self.screen.line("");
            let ci = self.ci_of(&repository).await;
            self.screen.heading("  How it was proven");
            for line in proof_in(&pr.body, &ci) {
                self.screen.line(&format!("  {line}"));
            }
            self.screen.line("");
            self.screen.line(&format!("  {ci}"));
            self.screen.line("");
            self.screen.diff(&diff);
            self.screen.line("");
            let count = |mark: char, head: &str| {
                diff.lines().filter(|line| line.starts_with(mark) && !line.starts_with(head)).count()
            };
            let waited = self.waited_for_person.as_secs();
            self.screen.heading(&format!(
                "PR #{number}  +{} -{}, {}, proof attached, {ci}, {}, {} ({} of it waiting for approval)",
                count('+', "+++"),
                count('-', "---"),
                workflows::messages::counted(status.tasks_done, "task", "tasks"),
                status.spent,
                duration(self.seconds()),
                duration(waited),
            ));
        }
        if crashed {
            let turns = |kind: &str| self.stack.world.effects.of("bedrock", kind).len();
            let (answered, again) = (turns("turn.answered"), turns("turn.repeated"));
            self.screen.line(&format!(
                "  The worker was killed in the middle: one branch, one pull request; {answered} model calls, {again} of them repeated."
            ));
        }
        Ok(())
    }

    /// What the run's log says of a repository's CI.
    async fn ci_of(&self, repository: &str) -> String {
        let log = self.observer.log(&self.key).await.unwrap_or_default();
        let said = log.iter().rev().find_map(|entry| entry.text.strip_prefix(&format!("{repository}: ")));
        said.unwrap_or("CI not known").to_owned()
    }

    fn seconds(&self) -> u64 {
        self.began.elapsed().as_secs()
    }
}

/// What a pull request says of its proof, without what only works on GitHub's page or is told elsewhere here.
fn proof_in<'a>(body: &'a str, ci: &str) -> Vec<&'a str> {
    let section = body.lines().skip_while(|line| *line != "## How it was proven").skip(1);
    let section = section.take_while(|line| !line.starts_with("## ") && !line.starts_with("<details>"));
    section.filter(|line| !line.is_empty() && *line != ci && !line.starts_with("Every run in full:")).collect()
}

/// `36 s`, `23 min 21 s`
fn duration(seconds: u64) -> String {
    if seconds < 100 { format!("{seconds} s") } else { format!("{} min {} s", seconds / 60, seconds % 60) }
}

/// `http://.../acme/shop-api/pull/1` -> (`acme/shop-api`, 1)
fn pull_request_of(link: &str) -> Option<(String, u64)> {
    let (path, number) = link.rsplit_once("/pull/")?;
    let mut parts = path.rsplitn(3, '/');
    let (name, owner) = (parts.next()?, parts.next()?);
    Some((format!("{owner}/{name}"), number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_proof_of_a_pull_request_is_shown() {
        let body = "Clamps discounts.\n\n## How it was proven\n\n- `t`: red at `81c0d1e2` (`-5 != 0`), green here\n\n\
                    The whole suite on the last commit: 61 passed. Checked by the harness, not by the model, and besides:\n\
                    - 3 literals in the assertions were changed, and the tests went red\n\n\
                    Every run in full: `ticketwright proof abc`\n\nNo new test misses these parts of the change:\n- `a.py:7`\n\n\
                    CI green (lint, test)\n\n## Tasks\n\n- [x] Clamp\n";
        let shown = proof_in(body, "CI green (lint, test)");
        assert_eq!(shown.len(), 5, "{shown:?}");
        assert!(shown[1].ends_with("and besides:") && shown[2].starts_with("- 3 literals"), "{shown:?}");
        assert_eq!(shown[4], "- `a.py:7`");
        assert!(proof_in("Nothing was proven.", "").is_empty());
    }
}
