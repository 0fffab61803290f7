//! Slack's doors over signed HTTP: every command, every button, mentions; and what comes stale, twice, or from the wrong person.

use std::time::{Duration, Instant};

use workflows::contract::status::Stage;
use world::bedrock::Script;
use world::effects::Effect;
use world::samples;
use world::webhook::{Delivery, hmac_sha256_hex};

use crate::scene::{KEY, STAGE, Scene, play};

/// Slack waits no longer for an answer to a command.
const PATIENCE: Duration = Duration::from_secs(3);

impl Scene {
    /// Somebody types `/agent ...`; the answer's text.
    pub(crate) async fn agent(&self, user: &str, text: &str) -> anyhow::Result<String> {
        self.agent_in("#ai-agents", user, text).await
    }

    /// The same in another channel, or in the direct messages with the bot (`@`).
    async fn agent_in(&self, channel: &str, user: &str, text: &str) -> anyhow::Result<String> {
        let began = Instant::now();
        let delivery = self.stack.world.slack.command(user, channel, "/agent", text).await?;
        anyhow::ensure!(delivery.status == 200, "/agent {text}: {} {}", delivery.status, delivery.answer);
        anyhow::ensure!(began.elapsed() < PATIENCE, "/agent {text} took {:?}", began.elapsed());
        let answer: serde_json::Value = serde_json::from_str(&delivery.answer)?;
        anyhow::ensure!(answer["response_type"] == "ephemeral" && answer["blocks"].is_array(), "{answer}");
        Ok(answer["text"].as_str().unwrap_or_default().to_owned())
    }

    /// The same, again until the answer has this part: listings lag a little behind.
    async fn agent_says(&self, user: &str, text: &str, part: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let answer = self.agent(user, text).await?;
            if answer.contains(part) {
                return Ok(());
            }
            anyhow::ensure!(began.elapsed() < Duration::from_secs(20), "/agent {text}: no {part:?} in {answer}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until somebody alone is told something.
    pub(crate) async fn whispered(&self, user: &str, text: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let messages = self.stack.world.slack.messages("#ai-agents");
            let to = |m: &&world::slack::Message| m.ephemeral_to.as_deref() == Some(user) && m.text.contains(text);
            if messages.iter().any(|m| to(&m)) {
                return Ok(());
            }
            let all: Vec<String> = messages.into_iter().filter(|m| m.ephemeral_to.is_some()).map(|m| m.text).collect();
            anyhow::ensure!(began.elapsed() < STAGE, "{user} was not told {text:?}, only {all:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until somebody is told something in their direct messages, by the bot itself.
    async fn told_directly(&self, user: &str, text: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let messages = self.stack.world.slack.direct_messages(user);
            if messages.iter().any(|message| message.ephemeral_to.is_none() && message.text.contains(text)) {
                return Ok(());
            }
            anyhow::ensure!(began.elapsed() < STAGE, "{user} was not told {text:?}, only {messages:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Clicks the newest button with this action after typing into the message's fields.
    pub(crate) async fn click_newest(
        &self,
        user: &str,
        action: &str,
        typed: &[(&str, &str, &str)],
    ) -> anyhow::Result<Delivery> {
        let began = Instant::now();
        loop {
            let messages = self.stack.world.slack.messages("#ai-agents");
            let has = |m: &&world::slack::Message| m.buttons().iter().any(|button| button.action_id == action);
            if let Some(message) = messages.iter().rev().find(has) {
                return self.stack.world.slack.click_with(user, &message.ts, action, typed).await;
            }
            anyhow::ensure!(began.elapsed() < STAGE, "no button {action}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn last_sent(&self) -> usize {
        self.stack.world.slack.sent().len() - 1
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_answered_in_time_and_do_what_they_say() {
    let mut scene = Scene::start("").await.unwrap();
    let done = commands(&mut scene).await;
    play(&scene, done).await;
}

async fn commands(scene: &mut Scene) -> anyhow::Result<()> {
    for (text, part) in [
        ("", "/agent request-changes"),
        ("help", "/agent status SHOP-1"),
        ("dance", "I don't know the command `dance`"),
        ("status", "needs a ticket"),
        ("cost", "needs a ticket"),
        ("extend SHOP-1 lots", "`lots` is no amount in US dollars"),
        ("logs SHOP-1 many", "not a number"),
        ("request-changes SHOP-1", "needs a ticket and a text"),
        ("list", "No ticket is running"),
        ("status SHOP-1", "I don't know SHOP-1"),
        ("retry SHOP-1", "I don't know SHOP-1"),
    ] {
        let answer = scene.agent("ana", text).await?;
        anyhow::ensure!(answer.contains(part), "/agent {text}: {answer}");
    }
    scene.label();
    let waiting = scene.stage(Stage::AwaitingApproval).await?;
    let hash = waiting.plan_hash.clone().unwrap_or_default();
    let status = scene.agent("ana", "status shop-1").await?;
    for part in [
        "*SHOP-1* · awaiting approval",
        "25 %",
        &format!("plan v1 `{hash}`"),
        "of $12.00",
        "last news",
        "|PR #1>",
        "|Jira>",
    ] {
        anyhow::ensure!(status.contains(part), "no {part:?} in {status}");
    }
    scene.agent_says("ana", "list", "*SHOP-1* · awaiting approval · started").await?;
    scene.agent_says("ana", "list awaiting approval", "*SHOP-1*").await?;
    scene.agent_says("ana", "list parked", "No ticket is parked").await?;
    scene.agent_says("ana", "status SHOP-11", "Did you mean *SHOP-1* (awaiting approval)?").await?;
    scene.agent_says("ana", "logs SHPO-1", "Did you mean *SHOP-1*").await?;
    scene.agent_says("ana", "logs SHOP-1 3", "last 3 log entries").await?;
    // A word that does not fit the moment is answered by the ticket, to its maker alone.
    scene.agent_says("bo", "retry SHOP-1", "retry is passed on to SHOP-1").await?;
    scene.whispered("U0BO", "could not let it try again").await?;
    without_a_worker(scene).await?;

    scene.agent_says("ana", "reject SHOP-1 not now", "Your rejection is passed on to SHOP-1").await?;
    let rejection = scene.last_sent();
    scene.stage(Stage::Rejected).await?;
    scene.closed("Completed").await?;
    let again = scene.stack.world.slack.redeliver(rejection).await.unwrap();
    // Temporal knows the request, so the answer is the first one's, and nothing happens.
    anyhow::ensure!(again.answer.contains("Your rejection is passed on to SHOP-1"), "{}", again.answer);
    let log = scene.observer.log(KEY).await?;
    assert_eq!(log.iter().filter(|entry| entry.text.starts_with("rejected by ana")).count(), 1, "{log:#?}");
    scene.agent_says("ana", "status SHOP-1", "*SHOP-1* · rejected").await?;
    scene.agent_says("ana", "list rejected", "*SHOP-1* · rejected · ended").await?;
    scene.agent_says("ana", "cancel SHOP-1", "there is nothing left to cancel").await?;
    scene.assert_once();
    Ok(())
}

/// No worker runs: what Temporal itself knows is still told, in time, and that it is all there is.
async fn without_a_worker(scene: &mut Scene) -> anyhow::Result<()> {
    scene.stack.kill_worker();
    for command in ["status SHOP-1", "logs SHOP-1 3"] {
        let answer = scene.agent("ana", command).await?;
        let says = answer.starts_with("*SHOP-1* · awaiting approval\nNo worker answers, so this is all I know.");
        anyhow::ensure!(says, "/agent {command}: {answer}");
    }
    scene.agent_says("ana", "list", "*SHOP-1* · awaiting approval · started").await?;
    scene.agent_says("ana", "status SHOP-11", "Did you mean *SHOP-1* (awaiting approval)?").await?;
    // A word waits for the worker.
    let retry = scene.agent("ana", "retry SHOP-1").await?;
    anyhow::ensure!(retry.contains("passed on to SHOP-1"), "{retry}");
    scene.stack.start_worker()?;
    scene.whispered("U0ANA", "could not let it try again").await
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_and_unsigned_requests_are_refused_on_every_route() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, stale(&scene).await).await;
}

async fn stale(scene: &Scene) -> anyhow::Result<()> {
    let secret = &scene.stack.world.credentials.slack_signing_secret;
    let http = reqwest::Client::new();
    let now = chrono::Utc::now().timestamp();
    for (path, body) in [
        ("/slack/commands", "text=help&user_id=U0ANA"),
        ("/slack/events", r#"{"type":"url_verification","challenge":"x"}"#),
        ("/slack/interactions", "payload=%7B%22type%22%3A%22view_closed%22%7D"),
    ] {
        for (age, with, expected) in [(0, secret.as_str(), 200), (400, secret, 401), (-400, secret, 401), (0, "x", 401)]
        {
            let time = (now - age).to_string();
            let signature = format!("v0={}", hmac_sha256_hex(with, format!("v0:{time}:{body}").as_bytes()));
            let request = http
                .post(format!("{}{path}", scene.stack.ingress_url))
                .header("X-Slack-Request-Timestamp", &time)
                .header("X-Slack-Signature", signature)
                .body(body);
            assert_eq!(request.send().await?.status().as_u16(), expected, "{path}, {age} s old");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requested_changes_lead_to_a_new_plan_and_a_new_approval() {
    let only_ana = "[access]\napprovers = [\"U0ANA\"]\ncommanders = [\"U0ANA\"]\naskers = [\"U0ANA\"]";
    let scene = Scene::start(only_ana).await.unwrap();
    play(&scene, changes(&scene).await).await;
}

/// The sample's script with a second plan, which the model writes only when it reads this remark.
fn with_second_plan(remark: &str) -> anyhow::Result<Script> {
    let mut script = samples::script(KEY)?;
    let yaml = format!("conversations:\n  - agent: planning\n    turns:\n      - {{expect: {remark:?}, say: x}}\n");
    let expect = Script::parse(&yaml, std::path::Path::new("."))?.conversations.remove(0).turns.remove(0).expect;
    let planning = script.conversations.iter().position(|c| c.agent.as_deref() == Some("planning")).unwrap();
    let mut again = script.conversations[planning].clone();
    let mut answer = again.turns.pop().unwrap();
    answer.expect = expect;
    answer.calls[0].input["summary"] = "The same, and the old error text stays.".into();
    again.turns = vec![answer];
    script.conversations.insert(planning + 1, again);
    Ok(script)
}

async fn changes(scene: &Scene) -> anyhow::Result<()> {
    let slack = &scene.stack.world.slack;
    scene.stack.world.bedrock.set_script(with_second_plan("Keep the old error text")?);
    scene.label();
    let first = scene.stage(Stage::AwaitingApproval).await?;
    // Who may not is told alone, and nothing happens.
    let wish: &[(&str, &str, &str)] = &[("changes", "text", "Keep the old error text.")];
    scene.click_newest("bo", "approve", &[]).await?;
    scene.whispered("U0BO", "was refused").await?;
    scene.click_newest("bo", "request_changes", wish).await?;
    // A mention costs money: who may not ask is told alone, and no model is called.
    let paid = scene.paid_turns();
    slack.say("bo", "#ai-agents", "<@U0TICKETWRIGHT> what about SHOP-1?", None).await?;
    scene.whispered("U0BO", "Your mention was refused: not on the list").await?;
    assert_eq!(scene.paid_turns(), paid, "a model was asked for somebody who may not ask");
    // Whom the channel cannot show it is told directly.
    slack.leave("bo", "#ai-agents");
    let answer = scene.agent_in("@", "bo", "cancel SHOP-1").await?;
    assert_eq!(answer, "Your cancel is passed on to SHOP-1; if it does not count, you are told why.");
    scene.told_directly("bo", "was refused: not on the list").await?;
    // Without a text there is nothing to ask for.
    scene.click_newest("ana", "request_changes", &[]).await?;
    scene.whispered("U0ANA", "Write what should be different").await?;
    scene.click_newest("ana", "view_logs", &[]).await?;
    scene.whispered("U0ANA", "log entries").await?;
    assert_eq!(scene.observer.status(KEY).await?.plan_hash, first.plan_hash);

    scene.click_newest("ana", "request_changes", wish).await?;
    let click = scene.last_sent();
    // Slack delivers it again: one request.
    slack.redeliver(click).await.unwrap();
    let second = |status: &workflows::contract::status::TicketStatus| {
        status.stage == Stage::AwaitingApproval && status.plan_version == 2
    };
    let second = scene.observer.wait_for(KEY, "plan v2", STAGE, second).await?;
    assert_ne!(second.plan_hash, first.plan_hash);
    let log = scene.observer.log(KEY).await?;
    assert_eq!(log.iter().filter(|entry| entry.text.contains("asks for changes")).count(), 1, "{log:#?}");
    let old = slack.find("asked for changes").expect("the first plan's message says what became of it");
    assert!(old.buttons().is_empty() && old.all_text().contains("Keep the old error text"), "{}", old.all_text());

    // The old plan cannot be approved any more.
    let hash = first.plan_hash.unwrap_or_default();
    scene.agent_says("ana", &format!("approve SHOP-1 {hash}"), "Your approval is passed on to SHOP-1").await?;
    scene.whispered("U0ANA", "Read that one and decide again").await?;
    scene.click_newest("ana", "approve", &[]).await?;
    let ready = scene.ready().await?;
    assert_eq!((ready.plan_version, ready.plan_hash), (2, second.plan_hash));
    let told = |effect: &&Effect| effect.detail["text"].as_str().is_some_and(|text| text.contains("was refused"));
    assert_eq!(scene.effects("slack", "message.posted").iter().filter(told).count(), 0, "a refusal is nobody else's");
    assert!(scene.stack.world.bedrock.unused_turns().is_empty(), "{:?}", scene.stack.world.bedrock.unused_turns());
    scene.assert_once();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_ticket_goes_on_with_what_a_person_says() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, steered(&scene).await).await;
}

async fn steered(scene: &Scene) -> anyhow::Result<()> {
    let bad = "conversations:\n  - agent: discovery\n    turns:\n      - calls: [{tool: submit_answer, input: {wrong: 1}}]\n      - calls: [{tool: submit_answer, input: {wrong: 2}}]\n      - calls: [{tool: submit_answer, input: {wrong: 3}}]\n";
    scene.stack.world.bedrock.set_script(Script::parse(bad, std::path::Path::new("."))?);
    scene.label();
    scene.stage(Stage::Parked).await?;
    // The buttons of the parked message.
    scene.click_newest("ana", "view_logs", &[]).await?;
    scene.whispered("U0ANA", "⏸ invalid answer").await?;
    scene.agent_says("ana", "status SHOP-1", "⏸ invalid answer").await?;
    scene.stack.world.bedrock.set_script(Script::parse(bad, std::path::Path::new("."))?);
    scene.click_newest("ana", "retry", &[]).await?;
    let parked_again = |status: &workflows::contract::status::TicketStatus| status.stage == Stage::Parked;
    let limit = Instant::now();
    while scene.paid_turns() < 6 {
        anyhow::ensure!(limit.elapsed() < STAGE, "the retry did not ask the model again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    scene.observer.wait_for(KEY, "parked again", STAGE, parked_again).await?;

    let mut script = samples::script(KEY)?;
    let yaml =
        "conversations:\n  - agent: discovery\n    turns:\n      - {expect: 'look into shop-api first', say: x}\n";
    let expect = Script::parse(yaml, std::path::Path::new("."))?.conversations.remove(0).turns.remove(0).expect;
    script.conversations[0].turns[0].expect = expect;
    scene.stack.world.bedrock.set_script(script);
    scene.agent_says("bo", "steer SHOP-1 Please look into shop-api first", "passed on to SHOP-1").await?;
    scene.stage(Stage::AwaitingApproval).await?;
    scene.agent_says("ana", "cancel SHOP-1", "cancel is passed on to SHOP-1").await?;
    scene.stage(Stage::Cancelled).await?;
    scene.closed("Completed").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mention_is_answered_once_and_its_command_waits_for_a_click() {
    let scene = Scene::start("").await.unwrap();
    play(&scene, mention(&scene).await).await;
}

async fn mention(scene: &Scene) -> anyhow::Result<()> {
    let slack = &scene.stack.world.slack;
    scene.label();
    scene.stage(Stage::AwaitingApproval).await?;
    let script = r#"conversations:
  - agent: slack
    match: stop SHOP-1
    turns:
      - calls: [{tool: task_status, input: {ticket: shop-1}}, {tool: task_log, input: {ticket: SHOP-1, last: 2}}, {tool: list_tasks, input: {}}]
      - expect: "stage: awaiting_approval"
        calls:
          - tool: submit_answer
            input: {text: "SHOP-1 waits for approval. Shall I stop it?", command: {word: cancel, ticket: SHOP-1}}
"#;
    scene.stack.world.bedrock.set_script(Script::parse(script, std::path::Path::new("."))?);
    let (message, delivery) = slack.say("ana", "#ai-agents", "<@U0TICKETWRIGHT> please stop SHOP-1", None).await?;
    let delivery = delivery.expect("a mention is an event");
    anyhow::ensure!(delivery.status == 202, "{} {}", delivery.status, delivery.answer);
    let event = scene.last_sent();
    for _ in 0..3 {
        let again = slack.redeliver(event).await.unwrap();
        anyhow::ensure!(!again.answer.contains("\"new\":true"), "{}", again.answer);
    }
    scene.said("Shall I stop it?").await?;
    let thread = slack.thread("#ai-agents", &message.ts);
    assert_eq!(thread.len(), 2, "one answer, in the thread: {thread:#?}");
    assert!(scene.stack.world.bedrock.unused_turns().is_empty(), "{:?}", scene.stack.world.bedrock.unused_turns());
    // Nothing happens before the click.
    assert_eq!(scene.observer.status(KEY).await?.stage, Stage::AwaitingApproval);
    scene.click_newest("ana", "confirm_command", &[]).await?;
    scene.whispered("U0ANA", "cancel is passed on to SHOP-1").await?;
    scene.stage(Stage::Cancelled).await?;
    let began = Instant::now();
    while scene.observer.runs("WorkflowType = 'mention' AND CostUsd > 0").await?.len() != 1 {
        anyhow::ensure!(began.elapsed() < STAGE, "the mention's cost cannot be looked up");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    scene.assert_once();

    // An agent that cannot answer says so.
    scene.stack.world.bedrock.set_script(Script::parse(
        "conversations:\n  - agent: slack\n    turns:\n      - calls: [{tool: submit_answer, input: {a: 1}}]\n      - calls: [{tool: submit_answer, input: {a: 2}}]\n      - calls: [{tool: submit_answer, input: {a: 3}}]\n",
        std::path::Path::new("."),
    )?);
    slack.say("bo", "#ai-agents", "<@U0TICKETWRIGHT> hello", None).await?;
    scene.said("I could not answer").await?;
    Ok(())
}
