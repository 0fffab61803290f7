//! What an agent's run keeps: its history, which continues as new without a seam, and its blobs, whose loss has a name.

use serde_json::{Value, json};
use workflows::contract::agent::{AgentEnd, AgentResult};

use super::errand::{Errand, and, blob, call, conversation, script};
use crate::scene::{REPOSITORY, STAGE, Scene, play};

/// Files that the model reads, one a turn.
const FILES: [&str; 11] = [
    "README.md",
    "AGENTS.md",
    "ticketwright.toml",
    "shop/api.py",
    "shop/cart.py",
    "shop/catalogue.py",
    "shop/cli.py",
    "shop/discounts.py",
    "shop/money.py",
    "shop/pricing.py",
    "shop/receipt.py",
];

/// Eleven files are read, then the discovery agent answers.
pub(super) fn twelve_turns() -> Vec<Value> {
    let read = |path: &&str| {
        let turn = call("read_file", json!({"repository": REPOSITORY, "path": path}));
        and(turn, json!({"say": format!("Next I read {path}, as it may hold where totals are worked out.")}))
    };
    FILES.iter().map(read).chain([call("submit_answer", report())]).collect()
}

/// The discovery agent's answer.
pub(super) fn report() -> Value {
    let candidate = json!({"repository": REPOSITORY, "score": 0.9, "reason": "It works out totals.", "files": []});
    json!({"repositories": [candidate], "dependencies": [], "complexity": "low", "approach": "Clamp the discount."})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_continues_as_new_shows_no_seam() {
    let mut seen: Vec<(AgentResult, Vec<Value>)> = Vec::new();
    // With the same id in two worlds, everything that is sent can be compared byte for byte.
    for history_events in [10_000, 30] {
        let scene = Scene::of_agents(&script([conversation("discovery", "seams", twelve_turns())]), "").await.unwrap();
        let done = async {
            let errand = Errand::discovery("seams").with("history_events", history_events);
            let result = errand.run(&scene).await?;
            assert_eq!(result.end, AgentEnd::Answered(report()));
            let query = format!("WorkflowId = '{}'", errand.id);
            let began = std::time::Instant::now();
            // Newest first; the listing follows some time after the runs.
            let runs = loop {
                let runs = scene.observer.runs(&query).await?;
                if runs.first().is_some_and(|run| run.status == "Completed") {
                    break runs;
                }
                anyhow::ensure!(began.elapsed() < STAGE, "no completed run is listed: {runs:?}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            };
            let earlier: Vec<&str> = runs.iter().skip(1).map(|run| run.status.as_str()).collect();
            assert!(earlier.iter().all(|status| *status == "ContinuedAsNew"), "{earlier:?}");
            assert_eq!(earlier.len() > 1, history_events == 30, "{} runs", runs.len());
            scene.assert_script_was_played(&[]);
            seen.push((result, errand.requests(&scene).into_iter().map(|request| request.body).collect()));
            Ok(())
        };
        play(&scene, done.await).await;
    }
    let [(whole, asked), (parts, asked_in_parts)] = seen.try_into().unwrap();
    assert_eq!(asked, asked_in_parts);
    assert_eq!(whole, parts, "answer, spend, turns and tokens");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_and_an_altered_blob_are_named() {
    for (case, lose) in [("missing", true), ("altered", false)] {
        let held = and(call("submit_answer", report()), json!({"hold": {"name": "second"}}));
        let turns = [call("read_file", json!({"repository": REPOSITORY, "path": "README.md"})), held];
        let mut scene = Scene::of_agents(&script([conversation("discovery", case, turns)]), "").await.unwrap();
        let done = async {
            let errand = Errand::discovery(case);
            errand.start(&scene).await?;
            scene.stack.world.bedrock.held("second", STAGE).await?;
            let head = errand.progress(&scene).await?.head.expect("the first turn is over");
            // A worker remembers what it stored lately; another one does not.
            scene.stack.kill_worker();
            let path = blob(&scene.stack.directory, head.as_str());
            anyhow::ensure!(path.is_file(), "{} is not there", path.display());
            if lose {
                std::fs::remove_file(&path)?;
            } else {
                std::fs::write(&path, "something else")?;
            }
            scene.stack.start_worker()?;
            let result = errand.end(&scene).await?;
            let named = |why: &String| why.contains(head.as_str()) && (why.contains("altered") != lose);
            assert!(matches!(&result.end, AgentEnd::Failed(why) if named(why)), "{case}: {:?}", result.end);
            assert_eq!(errand.turns(&scene, "finished").len(), 1, "what is broken is not asked about");
            Ok(())
        };
        let done = done.await;
        play(&scene, done).await;
    }
}
