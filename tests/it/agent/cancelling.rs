//! Cancelling an agent, whatever it is doing.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use super::errand::{Errand, and, call, conversation, runs, says, script, until};
use crate::scene::{STAGE, Scene, play};

/// The longest a cancelled agent may still be busy.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_agent_stops_its_command_within_ten_seconds() {
    // A number that no other command of this machine has.
    let command = format!("sleep 300.{}", std::process::id());
    let turns = [call("run_command", json!({"command": &command}))];
    let scene = Scene::of_agents(&script([conversation("execution", "long command", turns)]), "").await.unwrap();
    let done = async {
        let errand = Errand::execution(&scene, "long command")?;
        errand.start(&scene).await?;
        until("the command to run", STAGE, || runs(&command)).await?;
        let took = cancelled(&scene, &errand).await?;
        until("the command to be gone", STOPS_WITHIN.saturating_sub(took), || !runs(&command)).await?;
        scene.assert_script_was_played(&[]);
        Ok(())
    };
    play(&scene, done.await).await;
}

/// Cancels a run, and says how long it took to end.
async fn cancelled(scene: &Scene, errand: &Errand) -> anyhow::Result<Duration> {
    let began = Instant::now();
    errand.cancel(scene).await?;
    let end = errand.end(scene).await.err().context("it was cancelled, so it has no result")?;
    let took = began.elapsed();
    assert!(format!("{end:#}").contains("cancelled"), "{}: {end:#}", errand.id);
    assert!(took < STOPS_WITHIN, "{}: it took {took:?}", errand.id);
    Ok(took)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_agent_stops_asking_and_waiting() {
    let throttled = json!({"fault": {"error": "ThrottlingException", "retry_after": 120}});
    let conversations = [
        conversation(
            "slack",
            "asking",
            [and(says("Never heard."), json!({"hold": {"name": "asking", "at": "middle"}}))],
        ),
        conversation("slack", "waiting", [and(says("Never said."), throttled)]),
    ];
    let scene = Scene::of_agents(&script(conversations), "").await.unwrap();
    let done = async {
        let (asking, waiting) = (Errand::slack("asking"), Errand::slack("waiting"));
        asking.start(&scene).await?;
        waiting.start(&scene).await?;
        scene.stack.world.bedrock.held("asking", STAGE).await?;
        scene.stack.world.effects.wait_for("a refusal", STAGE, |effect| effect.kind == "turn.faulted").await?;
        tokio::try_join!(cancelled(&scene, &asking), cancelled(&scene, &waiting))?;
        assert_eq!((asking.requests(&scene).len(), waiting.requests(&scene).len()), (1, 1), "nobody asks again");
        scene.assert_script_was_played(&["waiting"]);
        Ok(())
    };
    play(&scene, done.await).await;
}
