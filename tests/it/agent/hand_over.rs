//! A conversation that fills what its model can hold begins anew with the task and the model's own notes.

use serde_json::{Value, json};
use workflows::contract::agent::AgentEnd;

use super::errand::{Errand, and, call, conversation, said, says, script, texts};
use crate::scene::{REPOSITORY, STAGE, Scene, play};

fn full(turn: Value) -> Value {
    and(turn, json!({"usage": {"input": 150_000}}))
}

fn notes(done: &str) -> Value {
    let input = json!({"done": done, "decisions": "Look at tickets only.", "open_questions": "Which one?",
                       "next_steps": "Read the log."});
    and(call("hand_over", input), json!({"expect": "about to fill what you can hold"}))
}

fn status(n: usize) -> Value {
    call("task_status", json!({"ticket": format!("NOPE-{n}")}))
}

/// The conversation that goes on from these notes.
fn goes_on(done: &str, turns: impl IntoIterator<Item = Value>) -> Value {
    json!({"agent": "slack", "match": format!("{done}\n"), "turns": turns.into_iter().collect::<Vec<_>>()})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_conversation_is_handed_over_as_often_as_it_takes() {
    let conversations = [
        conversation("slack", "long", [full(status(1)), notes("First notes")]),
        goes_on("First notes", [full(status(2)), notes("Second notes")]),
        goes_on("Second notes", [status(3), and(says("Found it."), json!({"expect": "NOPE-3"}))]),
    ];
    let scene = Scene::of_agents(&script(conversations), "").await.unwrap();
    let done = async {
        let errand = Errand::slack("long").forgetful();
        let result = errand.run(&scene).await?;
        assert_eq!(result.end, said("Found it."));
        assert_eq!(result.turns, 6, "a hand-over is a turn");
        let requests = errand.requests(&scene);
        for (at, kept, dropped) in [(2, "First notes", "NOPE-1"), (4, "Second notes", "NOPE-2")] {
            let messages = &requests[at].body["messages"];
            assert_eq!(messages.as_array().unwrap().len(), 1, "{messages}");
            let first = texts(&messages[0]);
            assert!(first.contains("case long."), "the task is kept: {first}");
            assert!(first.contains(kept) && first.contains("Look at tickets only."), "so are the notes: {first}");
            assert!(!first.contains(dropped), "all else is left behind: {first}");
        }
        for (at, whole) in [(&*errand.id, true), ("nothing/that/runs", false)] {
            let output = tokio::task::block_in_place(|| scene.stack.ticketwright(&["transcript", at]))?;
            let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert_eq!(output.status.success(), whole, "{error}");
            if !whole {
                assert!(error.contains("is no run of an agent") && error.contains("temporal workflow list"), "{error}");
                continue;
            }
            // All of it, the conversations that were handed over first.
            let places = ["case long.", "NOPE-1", "handed over and goes on", "NOPE-2", "Second notes", "Found it."];
            let found = places.map(|part| text.find(part));
            assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{found:?}\n{text}");
        }
        scene.assert_script_was_played(&[]);
        Ok(())
    };
    play(&scene, done.await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_say_meanwhile_is_told_in_the_new_conversation() {
    let held = and(notes("First notes"), json!({"hold": {"name": "handing over"}}));
    let answer = and(
        says("Minded."),
        json!({"expect": "Go on from your notes.*Ana, who directs this work, says:\n> Only open ones."}),
    );
    let conversations = [conversation("slack", "steered", [full(status(1)), held]), goes_on("First notes", [answer])];
    let mut scene = Scene::of_agents(&script(conversations), "").await.unwrap();
    let done = async {
        let errand = Errand::slack("steered");
        errand.start(&scene).await?;
        scene.stack.world.bedrock.held("handing over", STAGE).await?;
        errand.signal(&scene, "steer", &json!({"n": 1, "by": "Ana", "text": "Only open ones."})).await?;
        // And the worker dies in the hand-over.
        scene.stack.kill_worker();
        scene.stack.start_worker()?;
        let result = errand.end(&scene).await?;
        assert_eq!((result.end, result.heard), (said("Minded."), vec![1]));
        assert_eq!(errand.turns(&scene, "repeated").len(), 1);
        scene.assert_script_was_played(&[]);
        Ok(())
    };
    let done = done.await;
    play(&scene, done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_does_not_hand_over_is_stopped() {
    let vain = full(json!({"say": "I would rather go on.", "unforced": true}));
    let conversations = [conversation("slack", "vain", [full(status(1)), vain])];
    let scene = Scene::of_agents(&script(conversations), "").await.unwrap();
    let done = async {
        let errand = Errand::slack("vain");
        let result = errand.run(&scene).await?;
        assert!(
            matches!(&result.end, AgentEnd::Limit(why) if why.contains("asked 3 times for notes")),
            "{:?}",
            result.end
        );
        assert_eq!(errand.turns(&scene, "repeated").len(), 2);
        // The conversation is left as it was, so the same question comes three times, and is paid for three times.
        assert_eq!(errand.turns(&scene, "answered").len(), 4);
        assert_eq!(result.spent, errand.paid(&scene, "answered"));
        scene.assert_script_was_played(&[]);
        Ok(())
    };
    play(&scene, done.await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_is_handed_over_for_ever_is_stopped() {
    let number = |n: usize| format!("Notes number {n}.");
    let read = |n: usize| call("read_file", json!({"repository": REPOSITORY, "path": format!("gone-{n}.py")}));
    let fills = |n: usize| [full(read(n)), notes(&number(n))];
    let again = (1..=8).map(|n| and(goes_on(&number(n), fills(n + 1)), json!({"agent": "discovery"})));
    let conversations = [conversation("discovery", "endless", fills(1))].into_iter().chain(again);
    let scene = Scene::of_agents(&script(conversations), "").await.unwrap();
    let done = async {
        let result = Errand::discovery("endless").with("lease", 50_000_000).run(&scene).await?;
        assert!(
            matches!(&result.end, AgentEnd::Limit(why) if why.contains("even after 8 hand-overs")),
            "{:?}",
            result.end
        );
        scene.assert_script_was_played(&[]);
        Ok(())
    };
    play(&scene, done.await).await;
}
