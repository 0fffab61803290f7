//! `make demo`: the main job, live, on this machine. A labelled ticket becomes a human-approved, CI-green pull request.

mod beside;
mod ci;
mod comment;
mod screen;
mod sentry;
mod story;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use world::bedrock::Script;
use world::jira::NewIssue;
use world::stack::{Observer, Stack, StackOptions, TemporalOptions, TemporalServer, project_root};

use screen::Screen;

/// Settings of the demo, as `make demo NAME=value` passes them.
#[derive(Debug, Parser)]
#[command(name = "demo", about = "Ticketwright from a labelled ticket to a green pull request, on this machine")]
struct Options {
    /// Repository to work on: a directory or git URL. Default: the sample `acme/shop-api` and its neighbours.
    #[arg(long, env = "REPO", default_value = "", hide_default_value = true)]
    repo: String,
    /// Ticket file (Markdown with front matter).
    #[arg(long, env = "TICKET", default_value = "", hide_default_value = true)]
    ticket: String,
    /// Model script. The format is described in tests/world/bedrock/SCRIPT.md.
    #[arg(long, env = "SCRIPT", default_value = "", hide_default_value = true)]
    script: String,
    /// `scripted`, or `bedrock` to use your own AWS credentials (this costs money).
    #[arg(long, env = "MODEL", default_value = "scripted")]
    model: String,
    /// `jira`: the flow as it is. `crash`: the worker is killed in the middle and started again.
    /// `ci`: red checks, mended by the repository's own fixer. `comment`: an instruction in a comment on somebody's pull request.
    /// `sentry`: an error in production becomes a bug, a change, and is gone.
    #[arg(long, env = "SCENARIO", default_value = "jira")]
    scenario: String,
    /// `1`: approve without waiting for you.
    #[arg(long, env = "YES", default_value = "", hide_default_value = true)]
    yes: String,
    /// Set by the Makefile: what was installed and built, one line.
    #[arg(long, env = "DEMO_PREPARED", default_value = "", hide = true)]
    prepared: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut options = Options::parse();
    // `make demo` passes every setting, the ones that were not given as empty.
    for (setting, default) in [(&mut options.model, "scripted"), (&mut options.scenario, "jira")] {
        if setting.is_empty() {
            default.clone_into(setting);
        }
    }
    let directory = std::env::temp_dir().join(format!("ticketwright-demo-{}", std::process::id()));
    let screen = Screen::default();
    let done = tokio::select! {
        done = run(&options, &directory, &screen) => done,
        () = stopped() => {
            screen.line("");
            screen.line("Stopped. Everything that ran is ended.");
            let _ = std::fs::remove_dir_all(&directory);
            return ExitCode::SUCCESS;
        }
    };
    match done {
        Ok(()) => {
            let _ = std::fs::remove_dir_all(&directory);
            ExitCode::SUCCESS
        }
        Err(error) => {
            screen.line("");
            screen.line(&format!("The demo stopped: {error:#}"));
            // A wrong setting stops it before anything runs.
            if directory.exists() {
                screen.line(&format!("  Logs: {}/*.log", directory.display()));
                screen.line("  Try again with more detail: TICKETWRIGHT_LOG=debug make demo");
            }
            ExitCode::FAILURE
        }
    }
}

/// Ctrl-C, or an orderly kill.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::hangup())) {
        (Ok(mut terminate), Ok(mut hangup)) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        },
        _ => drop(tokio::signal::ctrl_c().await),
    }
}

async fn run(options: &Options, directory: &std::path::Path, screen: &Screen) -> anyhow::Result<()> {
    anyhow::ensure!(
        matches!(options.scenario.as_str(), "jira" | "sentry" | "ci" | "comment" | "crash"),
        "SCENARIO={} is unknown. There are: jira, sentry, ci, comment, crash.",
        options.scenario
    );
    anyhow::ensure!(
        options.repo.is_empty() || matches!(options.scenario.as_str(), "jira" | "crash"),
        "SCENARIO={} plays on the sample repository. Leave REPO= out.",
        options.scenario
    );
    screen.heading("Ticketwright demo");
    if !options.prepared.is_empty() {
        screen.line(&format!("  {}", options.prepared));
    }
    let ports = UsualPorts::take();
    let temporal = TemporalServer::start(TemporalOptions {
        directory: directory.join("temporal"),
        port: ports.or_any(7233),
        ui_port: ports.or_any(8233),
    })
    .await?;
    let stack_options = StackOptions {
        directory: directory.to_owned(),
        world: SocketAddr::from((Ipv4Addr::LOCALHOST, ports.or_any(4300))),
        namespace: "default".to_owned(),
        // A repository without CI of its own shows so within the demo's patience.
        policy: format!("[policy.ci]\npoll_seconds = 2\nnone_after_seconds = 20\n{}", sentry::POLICY),
        real_bedrock: options.model == "bedrock",
    };
    let mut stack = Stack::prepare(stack_options, &temporal).await?;
    let ticket = load_samples(options, &stack).await?;
    stack.start_ingress().await?;
    stack.start_worker()?;
    let observer = Observer::connect(&temporal.address, "default").await?;
    let base = &stack.world.base_url;
    let links = [
        ("Temporal Web UI", format!("{}/namespaces/default/workflows", temporal.ui_url)),
        ("Slack page", format!("{base}/slack")),
        ("Jira", format!("{base}/jira")),
        ("GitHub", format!("{base}/github")),
        ("Sentry", format!("{base}/sentry")),
    ];
    for (name, link) in &links {
        screen.link(name, link);
    }
    if options.model == "bedrock" {
        screen.line("  The model is Amazon Bedrock, on your AWS account: every $ below is real money.");
    } else {
        screen.line("  The model's answers come from a script; costs are what its tokens would cost on Bedrock.");
    }
    screen.line("");
    let to_read = if options.scenario == "comment" {
        comment::tell(&stack, &observer, screen, options.model != "bedrock").await?
    } else if options.scenario == "sentry" {
        let scripted = options.model != "bedrock";
        beside::of_ticket(&sentry::tell(&mut stack, &observer, screen, scripted, !options.yes.is_empty()).await?)
    } else {
        if options.scenario == "ci" {
            ci::prepare(&stack, &project_root().join("tests/world/samples"), screen).await?;
        }
        let began = Instant::now();
        let key = stack.world.jira.create_issue(ticket.project().unwrap_or("SHOP"), ticket.clone());
        let mut story = story::Story::new(&mut stack, &observer, screen, key.clone(), began);
        story.tell(!options.yes.is_empty(), options.scenario == "crash").await?;
        match options.scenario.as_str() {
            "ci" => ci::sum_up(&stack, screen).await?,
            "jira" => screen.line("  Try next: kill the worker in the middle: make demo SCENARIO=crash"),
            _ => screen.line("  Try next: an error in production, until it is gone: make demo SCENARIO=sentry"),
        }
        beside::of_ticket(&key)
    };
    if options.yes.is_empty() {
        screen.line("");
        screen.line("Look around; Ctrl-C ends the demo and everything it started.");
        for (name, link) in &links {
            screen.link(name, link);
        }
        beside::show(&stack, screen, "What was said and proven, in another terminal:", &to_read)?;
        std::future::pending::<()>().await;
    }
    screen
        .line("  All that the demo started is stopped, and its links and commands are gone with it. To look around: make demo without YES=1");
    Ok(())
}

/// Fills GitHub and Jira, and gives the model its script.
async fn load_samples(options: &Options, stack: &Stack) -> anyhow::Result<NewIssue> {
    let samples = project_root().join("tests/world/samples");
    let github = &stack.world.github;
    if options.repo.is_empty() {
        let repositories = [
            ("shop-api", "Cart, prices and orders of the shop, with an HTTP API"),
            ("shop-web", "Web front end of the shop"),
            ("warehouse", "Stock and shipping"),
        ];
        for (name, description) in repositories {
            github.add_repository("acme", name, description, &samples.join("acme").join(name)).await?;
        }
    } else {
        let name =
            options.repo.trim_end_matches('/').trim_end_matches(".git").rsplit('/').next().unwrap_or("repository");
        github.add_repository("acme", name, "Given with REPO=", &PathBuf::from(&options.repo)).await?;
    }
    let path = |given: &str, sample: &str| if given.is_empty() { samples.join(sample) } else { PathBuf::from(given) };
    let mut ticket = NewIssue::load(path(&options.ticket, "tickets/SHOP-1.md"))?;
    if !ticket.labels.iter().any(|label| label == "AI") {
        ticket.labels.push("AI".to_owned());
    }
    if let Some(project) = ticket.project() {
        stack.world.jira.add_project(project, project);
    }
    if options.model == "bedrock" {
        return Ok(ticket);
    }
    let script = path(&options.script, "scripts/SHOP-1.yaml");
    anyhow::ensure!(
        options.repo.is_empty() || !options.script.is_empty(),
        "REPO= needs SCRIPT=<file> for the scripted model, or MODEL=bedrock for a real one."
    );
    stack.world.bedrock.set_script(Script::load(&script).with_context(|| format!("script {}", script.display()))?);
    Ok(ticket)
}

/// The usual ports belong to one demo at a time: two that start together would both find them free.
struct UsualPorts(Option<std::fs::File>);

impl UsualPorts {
    /// Takes them unless another demo has them. Given back when dropped, or when the process dies.
    fn take() -> Self {
        let lock = std::env::temp_dir().join("ticketwright-demo.lock");
        let lock = std::fs::File::options().create(true).append(true).open(lock).ok();
        Self(lock.filter(|lock| lock.try_lock().is_ok()))
    }

    /// The usual port when it is ours and free, else any.
    fn or_any(&self, port: u16) -> u16 {
        let free = self.0.is_some() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if free { port } else { 0 }
    }
}

/// Longest time the demo waits for a stage that needs no person.
const STAGE_LIMIT: Duration = Duration::from_secs(300);
