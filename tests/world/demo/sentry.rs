//! `SCENARIO=sentry`: an error that nobody reported by hand, from its spike in production to the day it is gone.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use workflows::contract::ids::TicketKey;
use world::samples;
use world::stack::{Observer, Stack};

use crate::STAGE_LIMIT;
use crate::screen::Screen;
use crate::story::Story;

/// Where errors of the sample project are reported, and a quiet time of seconds where production has a day.
pub(crate) const POLICY: &str = "[policy.sentry]\nquiet_seconds = 8\n[policy.sentry.projects]\nshop-api = \"SHOP\"\n";

/// How often the run is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Plays the scenario and ends with what became of the error everywhere. Returns the ticket that it became.
pub(crate) async fn tell(
    stack: &mut Stack,
    observer: &Observer,
    screen: &Screen,
    scripted: bool,
    approve: bool,
) -> anyhow::Result<String> {
    if scripted {
        stack.world.bedrock.set_script(samples::script("sentry")?);
    }
    stack.world.jira.add_project("SHOP", "SHOP");
    observer.wait_until_ready(STAGE_LIMIT).await?;
    let began = Instant::now();
    let issue = stack.world.sentry.create_issue(samples::error());
    let error = stack.world.sentry.issue(&issue).context("the error is gone")?;
    screen.heading(&format!(
        "{}  {} in {}      {} events, {} users, never seen before",
        error.short_id,
        error.kind,
        error.culprit(),
        error.total(),
        error.users
    ));
    let mut told = Told { observer, screen, run: format!("sentry-{issue}"), began, lines: 0 };
    let ticket = told.until_reported().await?;
    screen.line("");
    Story::new(stack, observer, screen, ticket.to_string(), began).tell(approve, false).await?;

    screen.line("");
    screen.heading("Bo merges, and the error has to stay gone (8 s here, a day by default)");
    let github = &stack.world.github;
    let repository = "acme/shop-api";
    let open = github.pull_requests(repository).into_iter().find(|pr| pr.state == "open");
    let Some(pull_request) = open else { return Ok(ticket.to_string()) };
    github.merge_pull_request(repository, pull_request.number, "bo").await?;
    told.beat("merged; the run looks at the ticket every few seconds here, every minute to four hours by default");
    told.finish().await?;

    let analysis = observer.error_status(&told.run).await?.spent;
    let bug = stack.world.jira.issue(ticket.as_str()).context("the bug is gone")?;
    let error = stack.world.sentry.issue(&issue).context("the error is gone")?;
    screen.line("");
    screen.heading(&format!(
        "{} is {} at Sentry, {} is {} in Jira",
        error.short_id,
        error.status.as_str(),
        bug.key,
        bug.status
    ));
    screen.line(&format!("  Jira    {}  ({})", bug.summary, bug.labels.join(", ")));
    screen.line(&format!("  GitHub  PR #{}  {}, merged", pull_request.number, pull_request.title));
    for message in stack.world.slack.messages("#errors") {
        screen
            .line(&format!("  Slack   #errors: {}", message.text.lines().next().unwrap_or_default().replace('*', "")));
    }
    screen.line(&format!("  Money   {analysis} for the analysis, the ticket's is above"));
    screen.line("  What its text said of a customer (an address, a card number) left Sentry as [redacted].");
    screen.line("  Try next: red CI that is made green: make demo SCENARIO=ci");
    anyhow::ensure!(error.status.as_str() == "resolved", "the error is {}", error.status.as_str());
    Ok(ticket.to_string())
}

/// The run that looks after the error, as far as it was told.
struct Told<'a> {
    observer: &'a Observer,
    screen: &'a Screen,
    run: String,
    began: Instant,
    lines: usize,
}

impl Told<'_> {
    fn beat(&self, news: &str) {
        self.screen.beat(self.began.elapsed().as_secs(), "", news, "");
    }

    /// Until the bug is handed over.
    async fn until_reported(&mut self) -> anyhow::Result<TicketKey> {
        let at_work = async |told: &Self| {
            let status = told.observer.error_status(&told.run).await.ok()?;
            status.ticket.filter(|ticket| status.doing == format!("{ticket} is at work"))
        };
        self.follow(at_work).await
    }

    /// Until the run is over.
    async fn finish(&mut self) -> anyhow::Result<()> {
        self.follow(async |told: &Self| told.observer.newest_run(&told.run).await.ok()?.1.then_some(())).await
    }

    /// Shows new lines of the log until there is what is waited for.
    async fn follow<T>(&mut self, awaited: impl AsyncFn(&Self) -> Option<T>) -> anyhow::Result<T> {
        let mut moved = Instant::now();
        loop {
            anyhow::ensure!(moved.elapsed() < STAGE_LIMIT, "nothing happened for {} s", STAGE_LIMIT.as_secs());
            let found = awaited(self).await;
            let log = tokio::time::timeout(Duration::from_secs(5), self.observer.error_log(&self.run)).await;
            let log = log.ok().and_then(Result::ok).unwrap_or_default();
            for entry in log.iter().skip(self.lines) {
                self.beat(&entry.text);
                moved = Instant::now();
            }
            self.lines = self.lines.max(log.len());
            if let Some(found) = found {
                return Ok(found);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
