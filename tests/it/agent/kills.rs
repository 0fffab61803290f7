//! kill -9 of the worker at every boundary of twelve turns: the same answer, finished calls paid once.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use workflows::contract::agent::{AgentEnd, AgentResult};
use workflows::contract::ids::Digest;
use world::stack::{TemporalOptions, TemporalServer};

use super::errand::{Errand, and, call, conversation, last_message, runs, said, says, script, until};
use super::memory::{report, twelve_turns};
use crate::scene::{STAGE, Scene, play};

/// The turns at which the worker is killed.
const KILLED_AT: [usize; 3] = [2, 6, 11];

/// Where three of the agents are in their model call when the worker is killed: the request is out, half of the reply is in, all of
/// it is in and not recorded.
const MOMENTS: [&str; 3] = ["start", "middle", "end"];

fn hold(moment: &str, turn: usize) -> String {
    format!("{moment} of {turn}")
}

fn killed_asking(moment: &str) -> Value {
    let turns = twelve_turns().into_iter().zip(1..).map(|(scripted, turn)| {
        let is_killed = KILLED_AT.contains(&turn);
        let held = json!({"hold": {"name": hold(moment, turn), "at": moment}});
        if is_killed { and(scripted, held) } else { scripted }
    });
    conversation("discovery", moment, turns)
}

/// A command that takes long enough to be killed in, and that no other process of this machine has.
fn command(turn: usize) -> String {
    format!("sleep 3.0{turn:02}{}", std::process::id())
}

/// The fourth is in the middle of a command.
fn killed_working() -> Value {
    let turns = (1..=12).map(|turn| match turn {
        12 => call("submit_answer", json!({"summary": "Eleven steps, all done."})),
        turn if KILLED_AT.contains(&turn) => {
            call("run_command", json!({"command": format!("echo {turn} >> steps.txt; {}", command(turn))}))
        }
        turn => call("run_command", json!({"command": format!("echo {turn} >> steps.txt; cat steps.txt")})),
    });
    conversation("execution", "working", turns)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_at_every_boundary_of_twelve_turns_loses_and_doubles_nothing() {
    let conversations = MOMENTS.iter().map(|moment| killed_asking(moment)).chain([killed_working()]);
    let mut scene = Scene::of_agents(&script(conversations), "").await.unwrap();
    let done = killed_everywhere(&mut scene).await;
    play(&scene, done).await;
}

async fn killed_everywhere(scene: &mut Scene) -> anyhow::Result<()> {
    // They continue as new between the kills, too.
    let asking = MOMENTS.map(|moment| Errand::discovery(moment).with("history_events", 30));
    let working = Errand::execution(scene, "working")?;
    for errand in asking.iter().chain([&working]) {
        errand.start(scene).await?;
    }
    for turn in KILLED_AT {
        for moment in MOMENTS {
            scene.stack.world.bedrock.held(&hold(moment, turn), STAGE).await?;
        }
        until(&format!("the command of turn {turn}"), STAGE, || runs(&command(turn))).await?;
        scene.stack.kill_worker();
        until("the command to die with its worker", STAGE, || !runs(&command(turn))).await?;
        scene.stack.start_worker()?;
    }
    for errand in &asking {
        let result = errand.end(scene).await?;
        assert_eq!(result.end, AgentEnd::Answered(report()), "{}", errand.id);
        paid_once(scene, errand, &result, 12);
    }
    let result = working.end(scene).await?;
    assert_eq!(result.end, AgentEnd::Answered(json!({"summary": "Eleven steps, all done."})));
    // It reviews its change, too.
    paid_once(scene, &working, &result, 13);
    assert!(working.turns(scene, "repeated").is_empty(), "no model call was under way");
    // A command that died half-way left nothing behind: every step is in the file once.
    let told = last_message(&working.requests(scene)[10]);
    let steps: Vec<String> = (1..=10).map(|n| n.to_string()).collect();
    assert!(told.contains(&format!("\n{}\n", steps.join("\n"))), "{told}");
    scene.assert_script_was_played(&[]);
    Ok(())
}

fn paid_once(scene: &Scene, errand: &Errand, result: &AgentResult, turns: usize) {
    let id = &errand.id;
    assert_eq!(result.turns as usize, turns, "{id}");
    let repeated = errand.turns(scene, "repeated");
    assert!(repeated.len() <= KILLED_AT.len(), "{id}: {} calls repeated", repeated.len());
    assert!(repeated.iter().all(|turn| turn.detail["same_body"] == true), "{id}: {repeated:?}");
    assert_eq!(errand.turns(scene, "answered").len(), turns + repeated.len(), "{id}");
    let mut finished: BTreeMap<String, usize> = BTreeMap::new();
    for turn in errand.turns(scene, "finished") {
        *finished.entry(turn.detail["turn"].to_string()).or_default() += 1;
    }
    assert_eq!(finished.len(), turns, "{id}: {finished:?}");
    // Only the reply that was in, and not recorded yet, is bought again.
    let twice = finished.values().filter(|times| **times > 1).count();
    assert_eq!(twice, if id.ends_with("end") { KILLED_AT.len() } else { 0 }, "{id}: {finished:?}");
    let paid = errand.paid(scene, "finished");
    assert!(result.spent >= paid, "{id}: {} booked, {paid} paid", result.spent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_reply_is_never_bought_again() {
    let directory = tempfile::tempdir().unwrap();
    let options = TemporalOptions { directory: directory.path().join("temporal"), port: 0, ui_port: 0 };
    let mut server = TemporalServer::start(options).await.unwrap();
    let turns = [
        call("list_tasks", json!({})),
        and(call("list_tasks", json!({})), json!({"hold": {"name": "second", "at": "end"}})),
        says("Looked twice."),
    ];
    let script = script([conversation("slack", "recorded", turns)]);
    let mut scene = Scene::of_agents_on(&server, &script, "").await.unwrap();
    let done = killed_after_recording(&mut scene, &mut server).await;
    play(&scene, done).await;
}

/// The worker has recorded the reply, and dies before Temporal could hear of it: that server does not answer just then.
async fn killed_after_recording(scene: &mut Scene, server: &mut TemporalServer) -> anyhow::Result<()> {
    let errand = Errand::slack("recorded");
    errand.start(scene).await?;
    scene.stack.world.bedrock.held("second", STAGE).await?;
    let recorded = scene.stack.directory.join("blobs/named");
    let before = values_in(&recorded);
    server.freeze()?;
    scene.stack.world.bedrock.release("second")?;
    until("the reply to be recorded", STAGE, || values_in(&recorded) > before).await?;
    scene.stack.kill_worker();
    server.kill();
    server.resume().await?;
    scene.stack.start_worker()?;
    let result = errand.end(scene).await?;
    assert_eq!((result.end, result.turns), (said("Looked twice."), 3));
    assert_eq!(errand.requests(scene).len(), 3, "one request a turn");
    assert_eq!(result.spent, errand.paid(scene, "answered"), "what was booked as lost is given back");
    scene.assert_script_was_played(&[]);
    Ok(())
}

/// Number of values that a directory of the blob store has: files whose name is a digest. One that is being written has another
/// name until it is whole.
fn values_in(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.path() {
            path if path.is_dir() => values_in(&path),
            _ => usize::from(entry.file_name().to_string_lossy().parse::<Digest>().is_ok()),
        })
        .sum()
}
