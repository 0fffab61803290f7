//! Cancelling an agent in the middle of a tool.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use super::errand::{Errand, call, conversation, runs, script, until};
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
        let began = Instant::now();
        errand.cancel(&scene).await?;
        let end = errand.end(&scene).await.err().context("it was cancelled, so it has no result")?;
        let took = began.elapsed();
        assert!(format!("{end:#}").contains("cancelled"), "{end:#}");
        assert!(took < STOPS_WITHIN, "it took {took:?}");
        until("the command to be gone", STOPS_WITHIN.saturating_sub(took), || !runs(&command)).await?;
        scene.assert_script_was_played(&[]);
        Ok(())
    };
    play(&scene, done.await).await;
}
