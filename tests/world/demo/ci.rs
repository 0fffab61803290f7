//! `SCENARIO=ci`: the sample ticket in a repository with a house rule that its change breaks. CI goes red on lint, the
//! repository's own fixer mends it, CI turns green.

use std::path::Path;

use anyhow::Context as _;
use world::effects::Effect;
use world::stack::Stack;

use crate::screen::Screen;

const REPOSITORY: &str = "acme/shop-api";

/// Bo adds the house rule to the sample repository, with its fixer and a step of CI.
pub(crate) async fn prepare(stack: &Stack, samples: &Path, screen: &Screen) -> anyhow::Result<()> {
    let files = [
        ("house_rules.py", "house_rules.py"),
        ("ticketwright.toml", "ticketwright.toml"),
        ("ci.yml", ".github/workflows/ci.yml"),
    ];
    for (sample, path) in files {
        let text = std::fs::read_to_string(samples.join("ci").join(sample)).with_context(|| sample.to_owned())?;
        stack.world.github.push_commit(REPOSITORY, "main", path, &text, "bo").await?;
    }
    screen.line(&format!(
        "  {REPOSITORY} has a house rule in CI's lint step (house_rules.py), and its fixer in ticketwright.toml."
    ));
    screen.line("");
    Ok(())
}

/// What happened to CI: red on which commit and why, what mended it, green on which, and what it cost.
pub(crate) async fn sum_up(stack: &Stack, screen: &Screen) -> anyhow::Result<()> {
    let github = &stack.world.github;
    let effects = &stack.world.effects;
    let pull_request = github.pull_requests(REPOSITORY).into_iter().next().context("there is no pull request")?;
    let fixes: Vec<Effect> = effects.of("github", "commit.pushed").into_iter().filter(is_fix).collect();
    let fix = fixes.last().context("CI was never mended")?;
    let before = fix.detail["before"].as_str().unwrap_or_default();
    screen.line("");
    screen.heading("What happened to CI");
    // A push and a pull request both run the job of one name.
    if let Some(check) = github.checks(REPOSITORY, before).iter().find(|check| failed(check)) {
        screen.line(&format!("  red    {} on {}", check.name, short(before)));
        let told = check.log.lines().filter(|line| line.contains("HR001"));
        told.for_each(|line| {
            screen.line(&format!("         {}", line.split_once("Z ").map_or(line, |(_, text)| text)));
        });
    }
    let what = fix.detail["commits"][0]["message"].as_str().unwrap_or_default();
    let what = what.lines().find(|line| line.starts_with("ran ")).unwrap_or("mended");
    screen.line(&format!("  fixed  {what}, commit {}", short(&pull_request.head_sha)));
    let checks = github.checks(REPOSITORY, &pull_request.head_sha);
    let green: Vec<&str> = checks
        .iter()
        .filter(|check| check.conclusion.as_deref() == Some("success"))
        .map(|check| check.name.as_str())
        .collect();
    screen.line(&format!("  green  {} on {}", unique(&green).join(", "), short(&pull_request.head_sha)));
    let asked = effects.of("bedrock", "turn.answered").iter().filter(|turn| turn.target == "ci").count();
    let calls = if asked == 0 { "no model call".to_owned() } else { format!("{asked} model calls") };
    screen.heading(&format!(
        "CI was red on lint and is green: {} of 3 attempts, {calls}, nobody had to look",
        fixes.len()
    ));
    screen.line("  Try next: an instruction in a comment on somebody's pull request: make demo SCENARIO=comment");
    anyhow::ensure!(!checks.iter().any(failed), "CI is not green");
    Ok(())
}

fn is_fix(effect: &Effect) -> bool {
    effect.detail["commits"].to_string().contains("Make CI green")
}

fn failed(check: &world::github::Check) -> bool {
    check.conclusion.as_deref() == Some("failure")
}

fn short(sha: &str) -> &str {
    sha.get(..8).unwrap_or(sha)
}

/// Each name once.
fn unique<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut once: Vec<&str> = Vec::new();
    for name in names {
        if !once.contains(name) {
            once.push(name);
        }
    }
    once
}
