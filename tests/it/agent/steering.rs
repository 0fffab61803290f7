//! People who have something to say while an agent works: its model hears it before its next turn.

use serde_json::{Value, json};

use super::errand::{Errand, and, call, conversation, last_message, said, says, script};
use crate::scene::{STAGE, Scene, play};

fn remark(n: u32, by: &str, text: &str) -> Value {
    json!({"n": n, "by": by, "text": text})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_say_is_told_with_the_next_results() {
    let turns = [
        and(call("list_tasks", json!({})), json!({"hold": {"name": "asked"}})),
        and(
            says("Minded."),
            json!({"expect": "No ticket.*Ana, who directs this work, says:\n> Leave the API alone.\n.*Ben, who directs this \
                              work, says:\n> No new dependency."}),
        ),
    ];
    let scene = Scene::of_agents(&script([conversation("slack", "steered", turns)]), "").await.unwrap();
    let done = async {
        let errand = Errand::slack("steered").forgetful();
        errand.start(&scene).await?;
        scene.stack.world.bedrock.held("asked", STAGE).await?;
        errand.signal(&scene, "steer", &json!("not what the agent understands")).await?;
        errand.signal(&scene, "steer", &remark(4, "Ana", "Leave the API alone.")).await?;
        errand.signal(&scene, "steer", &remark(5, "Ben", "No new dependency.")).await?;
        scene.stack.world.bedrock.release("asked")?;
        let result = errand.end(&scene).await?;
        assert_eq!(result.end, said("Minded."));
        assert_eq!(result.heard, [4, 5]);
        scene.assert_script_was_played(&[]);
        Ok(())
    };
    play(&scene, done.await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_while_the_service_throttles_is_told_when_it_answers() {
    let throttled = json!({"fault": {"error": "ThrottlingException", "retry_after": 3}});
    let turns = [call("list_tasks", json!({})), and(says("Minded."), throttled)];
    let scene = Scene::of_agents(&script([conversation("slack", "throttled", turns)]), "").await.unwrap();
    let done = async {
        let errand = Errand::slack("throttled");
        errand.start(&scene).await?;
        scene.stack.world.effects.wait_for("a refusal", STAGE, |effect| effect.kind == "turn.faulted").await?;
        errand.signal(&scene, "steer", &remark(1, "Ana", "Only open tickets.")).await?;
        let result = errand.end(&scene).await?;
        assert_eq!((result.end, result.heard), (said("Minded."), vec![1]));
        let requests = errand.requests(&scene);
        let told: Vec<bool> =
            requests.iter().map(|request| last_message(request).contains("Only open tickets.")).collect();
        assert_eq!(told, [false, false, true], "told once, with the request that is answered");
        scene.assert_script_was_played(&[]);
        Ok(())
    };
    play(&scene, done.await).await;
}
