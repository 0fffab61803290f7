//! Troubles of the model's service: waited out and paid only as far as they were streamed, or final at once with what to do.

use serde_json::{Value, json};
use workflows::contract::agent::AgentEnd;
use workflows::contract::money::{MicroUsd, Usage};

use super::errand::{Errand, and, call, conversation, price, said, says, script};
use crate::scene::{Scene, play};

/// Trouble before anything was streamed: free.
const REFUSALS: [(&str, &str); 8] = [
    ("throttled for a second", r#"{"error": "ThrottlingException", "times": 2, "retry_after": 1}"#),
    ("throttled without a word", r#"{"error": "ThrottlingException"}"#),
    ("not ready", r#"{"error": "ModelNotReadyException"}"#),
    ("unavailable", r#"{"error": "ServiceUnavailableException"}"#),
    ("model timed out", r#"{"error": "ModelTimeoutException"}"#),
    ("internal", r#"{"error": "InternalServerException"}"#),
    ("model failed", r#"{"error": "ModelErrorException"}"#),
    ("stream failed at once", r#"{"error": "ModelStreamErrorException"}"#),
];

/// Trouble in the middle of a reply: paid as far as it came.
const LOSSES: [(&str, &str); 10] = [
    ("cut at the first byte", r#"{"cut_after_bytes": 0}"#),
    ("cut", r#"{"cut_after_bytes": 300}"#),
    ("stream failed", r#"{"mid_stream": "ModelStreamErrorException", "times": 2}"#),
    ("throttled in the middle", r#"{"mid_stream": "ThrottlingException"}"#),
    ("internal in the middle", r#"{"mid_stream": "InternalServerException"}"#),
    ("unavailable in the middle", r#"{"mid_stream": "ServiceUnavailableException"}"#),
    ("silent from the first byte", r#"{"silent_after_bytes": 0}"#),
    ("silent", r#"{"silent_after_bytes": 300}"#),
    ("no utf-8", r#"{"garbled": "invalid_utf8"}"#),
    ("half a character", r#"{"garbled": "lone_surrogate"}"#),
];

/// What no waiting mends, and what a person is told to do.
const FINAL: [(&str, &str, &str); 4] = [
    ("invalid", r#"{"error": "ValidationException"}"#, "Check that this id is an inference profile"),
    ("invalid in the middle", r#"{"mid_stream": "ValidationException"}"#, "Check that this id is an inference profile"),
    ("denied", r#"{"error": "AccessDeniedException"}"#, "Enable model access"),
    ("no such model", r#"{"error": "ResourceNotFoundException"}"#, "Put an inference profile of that region"),
];

fn fault(text: &str) -> Value {
    json!({"fault": serde_json::from_str::<Value>(text).unwrap()})
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_is_waited_out_and_paid_only_as_far_as_it_was_streamed() {
    let cases: Vec<(&str, &str)> = REFUSALS.into_iter().chain(LOSSES).collect();
    let conversations = cases.iter().map(|(case, trouble)| {
        let answer = and(says("Here it is."), json!({"say": "I have looked at all of it, and this is my answer."}));
        conversation("slack", case, [call("list_tasks", json!({})), and(answer, fault(trouble))])
    });
    let scene = Scene::of_agents(&script(conversations), "idle_seconds = 6").await.unwrap();
    let done = async {
        let runs = cases.iter().map(|(case, _)| waited_out(&scene, case));
        futures::future::try_join_all(runs).await?;
        scene.assert_script_was_played(&[]);
        Ok(())
    };
    play(&scene, done.await).await;
}

async fn waited_out(scene: &Scene, case: &str) -> anyhow::Result<()> {
    let errand = Errand::slack(case);
    let result = errand.run(scene).await?;
    assert_eq!(result.end, said("Here it is."), "{case}");
    assert_eq!(result.turns, 2, "{case}");
    assert_eq!(errand.turns(scene, "answered").len(), 2, "{case}");
    let (paid, lost) = (errand.paid(scene, "answered"), errand.paid(scene, "faulted"));
    if errand.turns(scene, "faulted").iter().all(|turn| turn.detail["usage"].is_null()) {
        assert_eq!(result.spent, paid, "{case}: a refusal is free");
        return Ok(());
    }
    assert!(result.spent >= paid + lost, "{case}: {} booked, {} were billed", result.spent, paid + lost);
    let most = paid + most_of_losses(scene, &errand);
    assert!(result.spent <= most, "{case}: {} booked, at most {most} can have been billed", result.spent);
    Ok(())
}

/// What the lost replies of a run cost at worst: their prompts at the dearest price, two bytes to a token and what the service adds, and
/// as much output as the whole reply has.
fn most_of_losses(scene: &Scene, errand: &Errand) -> MicroUsd {
    let price = price();
    let dearest = price.input.max(price.cache_write);
    let prompts = errand.requests(scene).into_iter().filter(|request| request.turn == 2);
    let losses = errand.turns(scene, "faulted").len();
    prompts
        .take(losses)
        .map(|request| {
            let input = Usage { input: tokens(request.body.to_string().len()) + 1_000, ..Usage::default() };
            let output = Usage { output: tokens(200), ..Usage::default() };
            workflows::contract::money::Price { input: dearest, ..price }.cost(&input) + price.cost(&output)
        })
        .sum()
}

fn tokens(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(2)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reply_is_waited_for_and_one_that_never_begins_is_asked_for_again() {
    // Longer than a worker may be silent towards Temporal, and shorter between two frames than Bedrock may be.
    let slow = json!({"say": "I think. ".repeat(64), "pace_ms": 500});
    let conversations = [
        conversation("slack", "slow", [and(says("At last."), slow)]),
        conversation("slack", "no reply", [and(says("At last."), json!({"hold": {"name": "no reply"}}))]),
    ];
    let scene = Scene::of_agents(&script(conversations), "idle_seconds = 6").await.unwrap();
    let done = async {
        let (slow, silent) = (Errand::slack("slow"), Errand::slack("no reply"));
        let (slowly, again) = tokio::try_join!(slow.run(&scene), silent.run(&scene))?;
        assert_eq!((slowly.end, again.end), (said("At last."), said("At last.")));
        assert_eq!((slow.requests(&scene).len(), silent.requests(&scene).len()), (1, 2));
        assert_eq!(slowly.spent, slow.paid(&scene, "finished"));
        assert!(again.spent > silent.paid(&scene, "finished"), "what was asked in vain may be billed");
        scene.assert_script_was_played(&[]);
        Ok(())
    };
    play(&scene, done.await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waiting_does_not_mend_is_final_at_once_and_says_what_to_do() {
    let conversations =
        FINAL.map(|(case, trouble, _)| conversation("slack", case, [and(says("Never said."), fault(trouble))]));
    let scene = Scene::of_agents(&script(conversations), "").await.unwrap();
    let done = async {
        let runs = FINAL.iter().map(|(case, _, told)| ends_at_once(&scene, case, told));
        futures::future::try_join_all(runs).await?;
        scene.assert_script_was_played(&FINAL.map(|(case, ..)| case));
        Ok(())
    };
    play(&scene, done.await).await;
}

async fn ends_at_once(scene: &Scene, case: &str, told: &str) -> anyhow::Result<()> {
    let errand = Errand::slack(case);
    let result = errand.run(scene).await?;
    assert!(matches!(&result.end, AgentEnd::Failed(message) if message.contains(told)), "{case}: {:?}", result.end);
    assert_eq!(errand.requests(scene).len(), 1, "{case}: nobody asks again");
    Ok(())
}
