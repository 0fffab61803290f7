//! The money of a ticket: an agent that runs out of it waits in its run, a person adds some, and every cent is accounted for.

use std::collections::BTreeMap;
use std::time::Instant;

use activities::model::{Prices, UsdPerMillion};
use prost::Message as _;
use serde_json::json;
use temporalio_common::protos::temporal::api::history::v1::History;
use workflows::contract::agent::AgentName;
use workflows::contract::money::{MicroUsd, Usage};
use workflows::contract::status::{ParkReason, Stage};
use world::bedrock::{Call, Conversation, RecordedRequest, Turn};
use world::slack::Message;

use crate::scene::{KEY, REPOSITORY, STAGE, Scene, play};

/// The model of the execution agent: its worst case is one dollar per call, its real calls cost cents.
const DEAR: &str = "dear";
const DEAR_PRICE: UsdPerMillion = UsdPerMillion { input: 1.0, output: 1000.0, cache_read: 0.1, cache_write: 1.25 };
/// Enough for discovery, planning and the first calls of the execution agent.
const CAP: u64 = 1_450_000;

/// A policy whose cap is reached in the middle of the first task.
fn tight(first_lines: &str) -> String {
    let UsdPerMillion { input, output, cache_read, cache_write } = DEAR_PRICE;
    let others: String = [
        ("ci", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("discovery", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("planning", "us.anthropic.claude-opus-4-5-20251101-v1:0"),
        ("sentry", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("slack", "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
    ]
    .iter()
    .map(|(agent, model)| format!("{agent} = {{ id = \"{model}\" }}\n"))
    .collect();
    format!(
        "{first_lines}\n[policy.budget]\nticket_cap_micro_usd = {CAP}\n\
         [policy.models]\n{others}execution = {{ id = \"{DEAR}\", max_tokens = 1000 }}\n\
         [prices.{DEAR}]\ninput = {input:?}\noutput = {output:?}\ncache_read = {cache_read}\ncache_write = {cache_write}\n"
    )
}

impl Scene {
    /// What the stand-in has counted, at the prices in force.
    fn bill(&self) -> anyhow::Result<MicroUsd> {
        let prices = Prices::with(&BTreeMap::from([(DEAR.to_owned(), DEAR_PRICE)]))?;
        let cost = |effect: &world::effects::Effect| {
            let usage = &effect.detail["usage"];
            let tokens = |name: &str| usage[name].as_u64().unwrap_or_default();
            let usage = Usage {
                input: tokens("inputTokens"),
                output: tokens("outputTokens"),
                cache_read: tokens("cacheReadInputTokens"),
                cache_write: tokens("cacheWriteInputTokens"),
            };
            let model = effect.detail["model"].as_str().unwrap_or_default();
            Ok(prices.of(model)?.cost(&usage))
        };
        self.effects("bedrock", "turn.answered").iter().map(cost).sum()
    }

    fn asked_of(&self, agent: AgentName) -> Vec<RecordedRequest> {
        let requests = self.stack.world.bedrock.requests().into_iter();
        requests.filter(|request| request.metadata["agent"] == agent.as_str()).collect()
    }

    /// Approves the plan and waits until the ticket is parked for money.
    async fn out_of_money(&self) -> anyhow::Result<()> {
        self.label();
        self.stage(Stage::AwaitingApproval).await?;
        self.click("ana", "approve").await?;
        let parked = self.stage(Stage::Parked).await?;
        let reason = parked.parked.as_ref().map(|parked| parked.reason);
        anyhow::ensure!(reason == Some(ParkReason::Budget), "{parked:?}");
        anyhow::ensure!(parked.commands[0].contains("--name extend_budget"), "{:?}", parked.commands);
        Ok(())
    }

    /// Every history of the ticket and its agents is one that a worker without memory understands.
    async fn replays(&self) -> anyhow::Result<()> {
        for run in self.observer.runs("WorkflowType = 'ticket' OR WorkflowType = 'agent'").await? {
            let history = self.observer.history(&run.id, &run.run_id).await?;
            let replayed = crate::replay::replay(History::decode(history.as_slice())?).await;
            replayed.map_err(|error| anyhow::anyhow!("{}: {error}", run.id))?;
        }
        Ok(())
    }

    /// Waits until the message that asked for money has no button any more and says this.
    async fn no_buttons_for_money(&self, says: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let messages = self.stack.world.slack.messages("#ai-agents");
            let live = messages.iter().any(|m| m.buttons().iter().any(|button| button.action_id == "extend_budget"));
            if !live && messages.iter().any(|m| m.all_text().contains(says)) {
                return Ok(());
            }
            anyhow::ensure!(began.elapsed() < STAGE, "the message about money does not say {says:?}: {messages:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    fn first_task(&self) -> String {
        format!("ticket-{KEY}/execution/{}/1", REPOSITORY.replace('/', "."))
    }

    /// Waits for the message with the button that adds money.
    async fn asked_for_money(&self) -> anyhow::Result<Message> {
        let began = Instant::now();
        loop {
            let asks = |m: &Message| m.buttons().iter().any(|button| button.action_id == "extend_budget");
            if let Some(message) = self.stack.world.slack.messages("#ai-agents").into_iter().find(asks) {
                return Ok(message);
            }
            anyhow::ensure!(began.elapsed() < STAGE, "nobody was asked for money");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_out_of_money_waits_and_a_click_lets_the_same_run_go_on() {
    let mut scene = Scene::start(&tight("")).await.unwrap();
    let done = extended(&mut scene).await;
    play(&scene, done).await;
}

async fn extended(scene: &mut Scene) -> anyhow::Result<()> {
    scene.out_of_money().await?;
    let agent = scene.first_task();
    let (run, over) = scene.observer.newest_run(&agent).await?;
    assert!(!over, "the agent must wait in its run");
    let before = scene.asked_of(AgentName::Execution).len();
    assert!(before >= 1, "the cap was to be reached in the middle");
    let cost = scene.observer.cost(KEY).await?;
    assert_eq!(cost.spent + cost.leased + cost.free, cost.cap, "{cost:?}");
    assert_eq!(cost.leased, MicroUsd(0), "who waits gives back what it has not spent: {cost:?}");
    assert!(cost.agents.iter().any(|line| line.id == agent && line.running), "{cost:?}");

    // Trying again without more money is answered, and changes nothing.
    scene.signal_by_cli("retry", Some(r#"{"by":"bo"}"#)).await?;
    scene.said("bo (command line) let SHOP-1 try again").await?;
    assert_eq!(scene.observer.status(KEY).await?.stage, Stage::Parked);
    let asked = scene.asked_for_money().await?;
    let said = asked.all_text();
    let parked =
        "SHOP-1 is parked: what is left of the budget does not cover the next call.* Done: 0 of 2 tasks. Left: ";
    assert!(said.contains(parked), "{said}");
    // Nothing of it is in a worker's memory.
    scene.stack.kill_worker();
    scene.stack.start_worker()?;
    scene.click("ana", "extend_budget").await?;

    let ready = scene.ready().await?;
    assert_eq!(ready.cap, MicroUsd(CAP) + MicroUsd::dollars(5));
    assert_eq!(scene.observer.newest_run(&agent).await?.0, run, "the same run");
    assert_eq!(scene.observer.runs("WorkflowType = 'agent'").await?.len(), 4, "discovery, planning, one per task");
    assert_eq!(scene.repeated_turns(), 0, "no call was paid twice");
    assert!(scene.stack.world.bedrock.unused_turns().is_empty(), "{:?}", scene.stack.world.bedrock.unused_turns());
    assert!(scene.asked_of(AgentName::Execution).len() > before);
    let log = scene.observer.log(KEY).await?;
    let parked = log.iter().filter(|entry| entry.text.starts_with("parked: ")).count();
    assert_eq!(parked, 1, "{log:#?}");

    // What the stand-in counted is what the ticket says, everywhere.
    let (bill, cost) = (scene.bill()?, scene.observer.cost(KEY).await?);
    assert_eq!((cost.spent, ready.spent, cost.leased), (bill, bill, MicroUsd(0)), "{cost:#?}");
    assert_eq!(cost.agents.iter().map(|line| line.spent).sum::<MicroUsd>(), bill);
    assert_eq!(cost.tasks.iter().map(|task| task.task).collect::<Vec<_>>(), [1, 2]);
    let turns: u32 = cost.agents.iter().map(|line| line.turns).sum();
    assert_eq!(turns as usize, scene.paid_turns());
    assert!(cost.agents.iter().all(|line| line.usage.output > 0 && !line.running), "{cost:#?}");
    assert_eq!(cost.extensions.len(), 1);
    assert!(cost.extensions[0].by.contains("Slack") && cost.extensions[0].amount == MicroUsd::dollars(5), "{cost:#?}");
    let (low, high) = (bill.as_usd() - 1e-6, bill.as_usd() + 1e-6);
    let query = format!("WorkflowId = 'ticket-{KEY}' AND CostUsd > {low:.7} AND CostUsd < {high:.7}");
    let shown = async || Ok(scene.observer.runs(&query).await?.len() == 1);
    scene.eventually(&format!("CostUsd is {bill}"), shown).await?;
    let table = scene.agent("ana", "cost SHOP-1").await?;
    assert!(
        table.contains(&format!("{} of $6.45", cost.usd.spent)) && table.contains("execution shop-api task 2"),
        "{table}"
    );

    // The message has lost its buttons and says who added money.
    let messages = scene.stack.world.slack.messages("#ai-agents");
    let message = messages.iter().find(|message| message.ts == asked.ts).unwrap();
    assert!(message.buttons().is_empty() && message.all_text().contains("$5.00 more by"), "{message:#?}");
    let late = scene.agent("ana", "extend SHOP-1 1").await?;
    assert!(late.contains("$1.00 more are passed on to SHOP-1"), "{late}");
    scene.whispered("U0ANA", "could not extend the budget: SHOP-1 is ready for review").await?;
    scene.assert_once();
    scene.replays().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_money_is_told_and_the_button_adds_to_the_new_cap() {
    let scene = Scene::start(&tight("")).await.unwrap();
    play(&scene, too_little(&scene).await).await;
}

async fn too_little(scene: &Scene) -> anyhow::Result<()> {
    scene.out_of_money().await?;
    let first = scene.asked_for_money().await?;
    scene.signal_by_cli("extend_budget", Some(r#"{"by":"bo","usd":0.01}"#)).await?;
    scene.said("bo (command line) added $0.010 to SHOP-1, but ").await?;
    let status = scene.observer.status(KEY).await?;
    let message = status.parked.map(|parked| parked.message).unwrap_or_default();
    assert_eq!((status.stage, status.cap), (Stage::Parked, MicroUsd(CAP + 10_000)));
    assert!(message.contains(" of $1.46 are spent") && message.contains("more than is left"), "{message}");
    // The message in the channel says so too, and its button adds to what is the cap now.
    let began = Instant::now();
    loop {
        let asked = scene.asked_for_money().await?;
        assert_eq!(asked.ts, first.ts, "the same message");
        if asked.all_text().contains(" of $1.46 are spent") {
            break;
        }
        anyhow::ensure!(began.elapsed() < STAGE, "the message is as it was: {asked:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    scene.click("ana", "extend_budget").await?;
    let ready = scene.ready().await?;
    assert_eq!(ready.cap, MicroUsd(CAP + 5_010_000));
    scene.no_buttons_for_money("$5.00 more by").await?;
    assert_eq!(scene.observer.cost(KEY).await?.spent, scene.bill()?);
    scene.assert_once();
    scene.replays().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_that_wait_go_on_with_one_click() {
    let scene = Scene::start(&tight("")).await.unwrap();
    play(&scene, two_wait(&scene).await).await;
}

/// The sample's plan with a task of its own in the shop's web page, whose agent looks around for two turns.
fn two_repositories() -> anyhow::Result<world::bedrock::Script> {
    let mut script = world::samples::script(KEY)?;
    for conversation in &mut script.conversations {
        let agent = conversation.agent.clone().unwrap_or_default();
        for call in conversation.turns.iter_mut().flat_map(|turn| &mut turn.calls) {
            if call.tool != "submit_answer" {
                continue;
            }
            if agent == "discovery" {
                call.input["repositories"][1]["score"] = json!(0.8);
            }
            if agent == "planning" {
                let task = json!({
                    "id": "w1", "title": "Show what was taken off", "repository": "acme/shop-web", "description": "As the API says.",
                    "files": ["src/format.js"], "tests": ["a discount is never more than the price"], "hours": 1,
                });
                let tasks = call.input["tasks"].as_array_mut().expect("the sample's plan has tasks");
                tasks.push(task);
            }
        }
    }
    let look = |path: &str| Call { tool: "read_file".into(), input: json!({ "path": path }), ..Call::default() };
    let turn = |path: &str| Turn { calls: vec![look(path)], ..Turn::default() };
    // It is cancelled there.
    let endless = Turn { delay_ms: 600_000, ..turn("index.html") };
    let web = Conversation {
        agent: Some("execution".into()),
        matches: Some(serde_json::from_value(json!("w1: Show what was taken off"))?),
        repeat: false,
        turns: vec![turn("src/format.js"), turn("src/main.js"), turn("README.md"), endless],
    };
    script.conversations.insert(0, web);
    Ok(script)
}

async fn two_wait(scene: &Scene) -> anyhow::Result<()> {
    scene.stack.world.bedrock.set_script(two_repositories()?);
    scene.out_of_money().await?;
    let agents = ["shop-api", "shop-web"].map(|name| format!("ticket-{KEY}/execution/acme.{name}/1"));
    let cost = scene.observer.cost(KEY).await?;
    for agent in &agents {
        assert!(cost.agents.iter().any(|line| &line.id == agent && line.running), "{agent}: {cost:#?}");
    }
    assert_eq!((cost.leased, cost.spent + cost.free), (MicroUsd(0), cost.cap), "nobody keeps what it does not use");
    scene.click("ana", "extend_budget").await?;
    scene.no_buttons_for_money("$5.00 more by").await?;
    let began = Instant::now();
    loop {
        let log = scene.observer.log(KEY).await?;
        let granted = |name: &str| {
            let grant = format!("execution/acme.{name}/1 may spend ");
            log.iter().any(|entry| entry.text.starts_with(&grant))
        };
        if granted("shop-api") && granted("shop-web") {
            break;
        }
        anyhow::ensure!(began.elapsed() < STAGE, "one click is not enough: {log:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    scene.signal_by_cli("cancel", Some(r#"{"by":"bo"}"#)).await?;
    scene.observer.wait_for_stage(KEY, Stage::Cancelled, STAGE).await?;
    scene.closed("Completed").await?;
    crate::the_flow::assert_clean(scene).await;
    scene.replays().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_nobody_funds_is_abandoned_with_its_drafts() {
    let scene = Scene::start(&tight("parked_for_seconds = 3")).await.unwrap();
    play(&scene, unfunded(&scene).await).await;
}

async fn unfunded(scene: &Scene) -> anyhow::Result<()> {
    scene.label();
    scene.stage(Stage::AwaitingApproval).await?;
    scene.click("ana", "approve").await?;
    scene.observer.wait_for_stage(KEY, Stage::Abandoned, STAGE).await?;
    scene.closed("Completed").await?;
    assert!(scene.observer.describe(&scene.first_task()).await?.contains("Cancel"), "the agent ends with its ticket");
    let drafts = scene.stack.world.github.pull_requests(REPOSITORY);
    assert!(drafts.len() == 1 && drafts[0].draft && drafts[0].state == "open", "{drafts:?}");
    scene.said("is abandoned*: nobody added the $").await?;
    scene.no_buttons_for_money("SHOP-1 is over (abandoned)").await?;
    scene.assert_once();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_waits_for_money_can_be_cancelled() {
    let scene = Scene::start(&tight("")).await.unwrap();
    play(&scene, cancelled(&scene).await).await;
}

async fn cancelled(scene: &Scene) -> anyhow::Result<()> {
    scene.out_of_money().await?;
    scene.asked_for_money().await?;
    // The button under the message.
    scene.click("ana", "confirm_command").await?;
    scene.observer.wait_for_stage(KEY, Stage::Cancelled, STAGE).await?;
    scene.closed("Completed").await?;
    crate::the_flow::assert_clean(scene).await;
    let status = scene.observer.status(KEY).await?;
    assert_eq!(status.spent, scene.bill()?, "a cancelled agent did not spend its lease: {status:?}");
    scene.no_buttons_for_money("SHOP-1 is over (cancelled)").await?;
    scene.assert_once();
    scene.replays().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remark_reaches_the_agent_at_work_in_its_next_request() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, steered(&scene).await).await;
}

async fn steered(scene: &Scene) -> anyhow::Result<()> {
    // Long enough for a remark to be judged and passed on while the model thinks.
    let mut script = world::samples::script(KEY)?;
    let execution = |c: &&mut world::bedrock::Conversation| c.agent.as_deref() == Some("execution");
    script.conversations.iter_mut().find(execution).unwrap().turns[1].delay_ms = 8_000;
    scene.stack.world.bedrock.set_script(script);
    scene.label();
    scene.stage(Stage::AwaitingApproval).await?;
    scene.click("ana", "approve").await?;
    let second = async || Ok(scene.asked_of(AgentName::Execution).len() >= 2);
    scene.eventually("the execution agent takes its second turn", second).await?;
    let answer = scene.agent("ana", "steer SHOP-1 Mind the receipts, they round differently.").await?;
    assert!(answer.contains("passed on to SHOP-1"), "{answer}");
    scene.ready().await?;
    let requests = scene.asked_of(AgentName::Execution);
    let told =
        |request: &RecordedRequest| request.body.to_string().contains("Mind the receipts, they round differently.");
    let heard: Vec<bool> = requests.iter().map(told).collect();
    assert_eq!(heard[..3], [false, false, true], "the request after the remark has it: {heard:?}");
    let runs: Vec<&str> = requests.iter().filter_map(|request| request.metadata["run"].as_str()).collect();
    assert_eq!(runs[2], runs[1], "the agent that was at work");
    assert!(scene.stack.world.slack.find("came too late").is_none(), "it was heard");
    scene.assert_once();
    scene.replays().await?;
    Ok(())
}
