//! What the input costs with the prompt cache, as a ratio to the same tokens without one. The stand-in keeps the cache's books
//! as Bedrock does: prefixes up to a cache point, from 1,024 tokens on, five minutes of life.

use std::collections::BTreeMap;
use std::time::Duration;

use activities::model::Prices;
use serde_json::Value;
use workflows::contract::money::{Price, Usage};
use workflows::contract::status::Stage;
use world::effects::Effects;
use world::samples;
use world::stack::{Stack, StackOptions};

use crate::chain::{self, MODEL};
use crate::corpus::{self, Kind};
use crate::rig::Rig;
use crate::stand_in::StandIn;
use crate::table::{Report, ratio};

/// The most that input may cost of what it costs without a cache.
const BAR: f64 = 0.3;
/// Lengths of the conversations with a bar. The agent's limit is 40.
const TURNS: [u32; 2] = [12, 40];
/// Longest wait for a stage of the sample ticket.
const STAGE: Duration = Duration::from_secs(180);

pub(crate) async fn measure(rig: &Rig, report: &mut Report) -> anyhow::Result<()> {
    let price = Prices::with(&BTreeMap::new())?.of(MODEL)?;
    report.line("Price of input with the prompt cache, by uncached price")?;
    report.line("  run                turns      fresh    written       read    ratio")?;
    let observer = rig.namespace("bench-price").await?;
    let mut effective = Vec::new();
    for count in TURNS {
        let turns = corpus::turns(Kind::Sources, count)?;
        let blobs = tempfile::tempdir_in(rig.directory.path())?;
        let stand_in = StandIn::start().await?;
        let serving = rig.serve(observer.client(), chain::workers(&stand_in.url, blobs.path(), &turns).await?)?;
        let runs = chain::hold(observer.client(), &stand_in, &format!("price-{count}"), &turns).await?;
        serving.stop().await?;
        anyhow::ensure!(runs == 1, "{count} turns are more than the agent's limit");
        for bill in bills(&stand_in.effects()) {
            effective.push((count, tell("planning", &bill, &price, report)?));
        }
    }
    for bill in sample(rig).await? {
        tell(&format!("SHOP-1 {}", bill.agent), &bill, &price, report)?;
    }
    for (count, ratio) in effective {
        report.bar(&format!("price of input, {count} turns"), ratio, BAR)?;
    }
    Ok(())
}

/// Input of a run.
struct Bill {
    agent: String,
    turns: u32,
    usage: Usage,
}

/// What the stand-in billed, per run and in the order in which the runs began.
fn bills(effects: &Effects) -> Vec<Bill> {
    let mut bills: Vec<(String, Bill)> = Vec::new();
    for turn in effects.of("bedrock", "turn.answered") {
        let run = turn.detail["run"].as_str().unwrap_or_default();
        let tokens = |name: &str| turn.detail["usage"][name].as_u64().unwrap_or_default();
        let usage = Usage {
            input: tokens("inputTokens"),
            output: 0,
            cache_read: tokens("cacheReadInputTokens"),
            cache_write: tokens("cacheWriteInputTokens"),
        };
        match bills.iter_mut().find(|(known, _)| known == run) {
            Some((_, bill)) => {
                bill.turns += 1;
                bill.usage += usage;
            }
            None => bills.push((run.to_owned(), Bill { agent: turn.target, turns: 1, usage })),
        }
    }
    bills.into_iter().map(|(_, bill)| bill).collect()
}

/// A line of the table; returns the ratio.
fn tell(run: &str, bill: &Bill, price: &Price, report: &Report) -> anyhow::Result<f64> {
    let Usage { input, cache_write, cache_read, .. } = bill.usage;
    let effective = effective(&bill.usage, price);
    let turns = bill.turns;
    report.line(&format!("  {run:<18} {turns:>5} {input:>10} {cache_write:>10} {cache_read:>10} {effective:>8.3}"))?;
    Ok(effective)
}

fn effective(usage: &Usage, price: &Price) -> f64 {
    let input = Usage { output: 0, ..*usage };
    let uncached = Usage { input: usage.prompt(), ..Usage::default() };
    ratio(price.cost(&input).0, price.cost(&uncached).0)
}

/// The sample ticket, from its label to the work being ready: worker, ingress, world.
async fn sample(rig: &Rig) -> anyhow::Result<Vec<Bill>> {
    let namespace = "bench-sample";
    let observer = rig.namespace(namespace).await?;
    let options = StackOptions {
        directory: rig.directory.path().join("sample"),
        world: ([127, 0, 0, 1], 0).into(),
        namespace: namespace.to_owned(),
        policy: "[policy.ci]\npoll_seconds = 2\nnone_after_seconds = 30\n".to_owned(),
        real_bedrock: false,
    };
    let mut stack = Stack::prepare(options, &rig.temporal).await?;
    for name in samples::REPOSITORIES {
        let source = samples::directory().join("acme").join(name);
        stack.world.github.add_repository("acme", name, "", &source).await?;
    }
    stack.world.bedrock.set_script(samples::script("SHOP-1")?);
    let mut ticket = samples::ticket("SHOP-1")?;
    ticket.labels.push("AI".to_owned());
    stack.start_ingress().await?;
    stack.start_worker()?;
    observer.wait_until_ready(STAGE).await?;
    stack.world.jira.create_issue("SHOP", ticket);
    let planned = observer.wait_for_stage("SHOP-1", Stage::AwaitingApproval, STAGE).await?;
    let plan = serde_json::to_value(&planned)?;
    approve(rig, namespace, &plan)?;
    observer.wait_for_stage("SHOP-1", Stage::ReadyForReview, STAGE).await?;
    Ok(bills(&stack.world.effects))
}

/// Approves by command line, as a person does.
fn approve(rig: &Rig, namespace: &str, status: &Value) -> anyhow::Result<()> {
    let hash = &status["plan_hash"];
    let input = serde_json::json!({"by": "ana", "plan_hash": hash}).to_string();
    let arguments =
        ["workflow", "signal", "-n", namespace, "-w", "ticket-SHOP-1", "--name", "approve", "--input", &input];
    let signalled = rig.temporal.command(&arguments).output()?;
    anyhow::ensure!(signalled.status.success(), "{}", String::from_utf8_lossy(&signalled.stderr));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use workflows::contract::money::MicroUsd;

    use super::*;

    #[test]
    fn a_bill_sums_the_turns_of_its_run() {
        let effects = Effects::default();
        for (run, read) in [("a", 0), ("b", 5), ("a", 90)] {
            let usage = json!({"inputTokens": 10, "cacheReadInputTokens": read, "cacheWriteInputTokens": 1});
            effects.record("bedrock", "turn.answered", "planning", json!({"run": run, "usage": usage}));
        }
        let bills = bills(&effects);
        assert_eq!(bills.len(), 2);
        assert_eq!((bills[0].turns, bills[0].usage.input, bills[0].usage.cache_read), (2, 20, 90));
    }

    #[test]
    fn reading_from_the_cache_costs_a_tenth() {
        let price = Price {
            input: MicroUsd::dollars(3),
            output: MicroUsd::dollars(15),
            cache_read: MicroUsd(300_000),
            cache_write: MicroUsd(3_750_000),
        };
        let read = Usage { cache_read: 1_000_000, output: 7, ..Usage::default() };
        assert!((effective(&read, &price) - 0.1).abs() < 1e-9);
        let written = Usage { cache_write: 1_000_000, ..Usage::default() };
        assert!((effective(&written, &price) - 1.25).abs() < 1e-9);
    }
}
