//! A lease that nobody extends: the agent ends before the call that would exceed it.

use serde_json::json;
use workflows::contract::agent::AgentEnd;
use workflows::contract::money::MicroUsd;

use super::errand::{Errand, and, call, conversation, says, script};
use crate::scene::{Scene, play};

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_never_exceeded() {
    let looks = (1..=8).map(|n| call("task_status", json!({"ticket": format!("NOPE-{n}")})));
    let script = script([conversation("slack", "one call", looks), conversation("slack", "penniless", [])]);
    let scene = Scene::of_agents(&script, "").await.unwrap();
    let done = async {
        let penniless = Errand::slack("penniless").with("lease", 1);
        let result = penniless.run(&scene).await?;
        let AgentEnd::Budget { needed } = result.end else { anyhow::bail!("{:?}", result.end) };
        assert_eq!((result.spent, penniless.requests(&scene).len()), (MicroUsd(0), 0), "nothing was asked");

        // Enough for the first call at worst, and for some more at what calls really cost.
        let one = Errand::slack("one call").with("lease", needed.0);
        let result = one.run(&scene).await?;
        let AgentEnd::Budget { needed: next } = result.end else { anyhow::bail!("{:?}", result.end) };
        let paid = one.paid(&scene, "answered");
        assert_eq!(result.spent, paid);
        assert!(paid > MicroUsd(0) && paid <= needed, "{paid} of {needed}");
        assert!(paid + next > needed, "the next call, {next} at worst, would still have fitted");
        assert_eq!(one.requests(&scene).len(), usize::try_from(result.turns)?);
        scene.assert_script_was_played(&["one call"]);
        Ok(())
    };
    play(&scene, done.await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_that_are_lost_are_paid_from_the_lease_too() {
    let answer = |fault: serde_json::Value| and(says("Never heard."), json!({"fault": fault}));
    let script = script([
        conversation("slack", "cut for ever", [answer(json!({"cut_after_bytes": 200, "times": 1000}))]),
        conversation("slack", "penniless", []),
    ]);
    let scene = Scene::of_agents(&script, "").await.unwrap();
    let done = async {
        let result = Errand::slack("penniless").with("lease", 1).run(&scene).await?;
        let AgentEnd::Budget { needed } = result.end else { anyhow::bail!("{:?}", result.end) };
        let lease = MicroUsd(needed.0 + needed.0 / 3);
        let cut = Errand::slack("cut for ever").with("lease", lease.0);
        let result = cut.run(&scene).await?;
        assert!(matches!(result.end, AgentEnd::Budget { .. }), "{:?}", result.end);
        let billed = cut.paid(&scene, "faulted");
        assert!(billed > MicroUsd(0) && billed <= result.spent, "{billed} billed, {} booked", result.spent);
        assert!(result.spent <= lease, "{} of {lease}", result.spent);
        scene.assert_script_was_played(&["cut for ever"]);
        Ok(())
    };
    play(&scene, done.await).await;
}
