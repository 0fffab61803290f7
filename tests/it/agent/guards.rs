//! What keeps a model from running for ever: turns, time, the same call over and over.

use serde_json::{Value, json};
use workflows::contract::agent::AgentEnd;

use super::errand::{Errand, and, call, conversation, said, says, script};
use crate::scene::{Scene, play};

/// An agent that has worked for so many seconds already.
fn after(case: &str, active_seconds: u64) -> Errand {
    let progress = json!({"head": null, "turns": 0, "spent": 0, "bad_answers": 0, "active_seconds": active_seconds,
                          "workspace": null, "news": null});
    Errand::slack(case).with("progress", progress)
}

fn ends_with_limit(end: &AgentEnd, why: &str) {
    assert!(matches!(end, AgentEnd::Limit(limit) if limit.contains(why)), "{end:?} is not: {why}");
}

fn status(n: usize) -> Value {
    call("task_status", json!({"ticket": format!("NOPE-{n}")}))
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_are_limited_and_the_model_is_told_before() {
    let told = |n: usize| match n {
        6 => json!({"expect": "3 turns are left, this one included"}),
        8 => json!({"expect": "This is your last turn. Submit your answer now"}),
        _ => json!({}),
    };
    let turns = (1..=8).map(|n| and(status(n), told(n)));
    let scene = Scene::of_agents(&script([conversation("slack", "endless", turns)]), "").await.unwrap();
    let done = async {
        let result = Errand::slack("endless").run(&scene).await?;
        ends_with_limit(&result.end, "8 model turns without an answer");
        assert_eq!(result.turns, 8);
        scene.assert_script_was_played(&[]);
        Ok(())
    };
    play(&scene, done.await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn active_time_is_limited_and_so_is_waiting_for_the_service() {
    let throttled = json!({"fault": {"error": "ThrottlingException", "retry_after": 400}});
    let conversations = [
        conversation("slack", "slow", [and(status(1), json!({"delay_ms": 1500})), says("Never said.")]),
        conversation("slack", "throttled", [and(says("Never said."), throttled)]),
    ];
    let scene = Scene::of_agents(&script(conversations), "").await.unwrap();
    let done = async {
        let slow = after("slow", 299).run(&scene).await?;
        ends_with_limit(&slow.end, "5 min of work without an answer");
        assert_eq!(slow.turns, 1);
        let throttled = Errand::slack("throttled").run(&scene).await?;
        ends_with_limit(&throttled.end, "asks to wait");
        scene.assert_script_was_played(&["slow", "throttled"]);
        Ok(())
    };
    play(&scene, done.await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_call_with_the_same_result_is_told_and_then_ends_the_run() {
    let look = || call("list_tasks", json!({}));
    let told = json!({"expect": "You made this call 3 times and got the same result each time: list_tasks. It will not change"});
    let stuck = [look(), look(), look(), and(look(), told.clone()), look()];
    let learns = [look(), look(), look(), and(says("Nothing runs."), told)];
    let conversations = [conversation("slack", "stuck", stuck), conversation("slack", "learns", learns)];
    let scene = Scene::of_agents(&script(conversations), "").await.unwrap();
    let done = async {
        let stuck = Errand::slack("stuck").forgetful().run(&scene).await?;
        ends_with_limit(&stuck.end, "5 times the same call with the same result: list_tasks");
        assert_eq!(Errand::slack("learns").run(&scene).await?.end, said("Nothing runs."));
        scene.assert_script_was_played(&[]);
        Ok(())
    };
    play(&scene, done.await).await;
}
