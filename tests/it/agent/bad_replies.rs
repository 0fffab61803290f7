//! Replies that no model should give: each has its reaction, which a reader of the transcript understands.
//!
//! What the model is told next is what its next turn expects: a request that does not say it is refused by the stand-in, and the
//! run then ends as failed.

use serde_json::{Value, json};
use workflows::contract::agent::AgentEnd;
use world::bedrock::RecordedRequest;

use super::errand::{Errand, and, call, conversation, last_message, said, says, script};
use crate::scene::{Scene, play};

/// The last turn of an agent that was told this.
fn once_told(told: &str) -> Value {
    and(says("Mended."), json!({"expect": told}))
}

fn raw(tool: &str, input: &str) -> Value {
    json!({"tool": tool, "raw": input})
}

fn prose(text: &str) -> Value {
    json!({"say": text, "unforced": true})
}

/// A reply that stopped for this reason, in the middle of a call.
fn stopped(reason: &str) -> Value {
    json!({"say": "I look.", "stop": reason, "calls": [raw("task_status", r#"{"ticket": "SHO"#)]})
}

/// A case and its turns: bad replies that the model can mend, the last of which says what it was told.
type Mended = (&'static str, Vec<Value>);

/// Calls that cannot be run.
fn bad_calls() -> Vec<Mended> {
    let status = |ticket: &str| json!({"tool": "task_status", "input": {"ticket": ticket}});
    let many: Vec<Value> = (1..=20).map(|n| status(&format!("NOPE-{n}"))).collect();
    vec![
        (
            "unknown tool",
            vec![
                json!({"calls": [{"tool": "push", "input": {"force": true}, "unoffered": true}]}),
                once_told(r#"There is no tool "push". Your tools: task_status, list_tasks, task_log, submit_answer"#),
            ],
        ),
        (
            "unknown member",
            vec![
                call("task_status", json!({"ticket": "SHOP-1", "verbose": true})),
                once_told("The input of task_status does not fit: unknown field `verbose`"),
            ],
        ),
        (
            "wrong type",
            vec![
                call("task_status", json!({"ticket": 5})),
                once_told("The input of task_status does not fit: invalid type: integer `5`"),
            ],
        ),
        (
            "no json",
            vec![
                json!({"calls": [raw("task_status", r#"{"ticket": SHOP-1}"#)]}),
                once_told("The input of task_status does not fit: it is no JSON object"),
            ],
        ),
        (
            "no object",
            vec![
                json!({"calls": [raw("task_status", r#"["SHOP-1"]"#), raw("task_status", "7")]}),
                once_told("does not fit: it is no JSON object.*does not fit: it is no JSON object"),
            ],
        ),
        ("no input", vec![json!({"calls": [raw("list_tasks", "")]}), once_told("No ticket")]),
        ("twins", vec![json!({"calls": vec![json!({"tool": "list_tasks"}); 6]}), once_told("No ticket")]),
        (
            "odd names",
            vec![
                json!({"calls": [{"tool": "rm -rf /", "id": "an id, with spaces", "unoffered": true}]}),
                once_told(r#"There is no tool "rm_-rf__""#),
            ],
        ),
        (
            "twenty calls",
            vec![json!({"calls": many}), once_told("NOPE-16.*Not run: at most 16 calls of one reply are")],
        ),
        (
            "hand-over unasked",
            vec![
                json!({"calls": [{"tool": "hand_over", "input": {"done": "a", "decisions": "b", "open_questions": "c",
                                                                   "next_steps": "d"}}]}),
                once_told("Nobody asked for a hand-over. Go on with your task"),
            ],
        ),
    ]
}

/// Replies without a call.
fn bad_replies() -> Vec<Mended> {
    vec![
        ("empty once", vec![json!({"empty": true}), once_told("Your reply had no tool call")]),
        (
            "empty twice later",
            vec![
                call("list_tasks", json!({})),
                json!({"empty": true}),
                json!({"empty": true, "expect": "Your reply had no tool call"}),
                once_told("Your reply had no tool call"),
            ],
        ),
        ("blank text", vec![json!({"say": " \n ", "unforced": true}), once_told("Your reply had no tool call")]),
        (
            "prose",
            vec![prose("All tickets are fine."), once_told("no tool call. Use a tool, or finish with submit_answer")],
        ),
        (
            "half a call",
            vec![
                stopped("max_tokens"),
                once_told("This call was not run.*cut at its length limit.*smaller steps, with a tool call"),
            ],
        ),
        (
            "a call and a half",
            vec![
                json!({"stop": "max_tokens",
                       "calls": [{"tool": "list_tasks"}, raw("task_status", r#"{"ticket": "SHO"#)]}),
                once_told("This call was not run.*cut at its length limit. What came before the cut was run"),
            ],
        ),
        (
            "half a text",
            vec![
                json!({"say": "All tickets are", "stop": "max_tokens"}),
                once_told("cut at its length limit.*smaller steps, with a tool call"),
            ],
        ),
        (
            "malformed output",
            vec![
                json!({"say": "{{{", "stop": "malformed_model_output"}),
                once_told("could not be read.*a JSON object"),
            ],
        ),
        (
            "malformed call",
            vec![
                json!({"say": "I look.", "stop": "malformed_tool_use"}),
                once_told("could not be read.*a JSON object"),
            ],
        ),
        (
            "no room left",
            vec![
                json!({"say": "All", "stop": "model_context_window_exceeded"}),
                once_told("the conversation is too long"),
            ],
        ),
    ]
}

/// Answers that are none.
fn bad_answers() -> Vec<Mended> {
    vec![
        (
            "wrong answer",
            vec![
                call("submit_answer", json!({"txt": "Hm."})),
                call("submit_answer", json!({"text": "x".repeat(2000)})),
                once_told("text has 1 to 1,500 characters. Mend it and call submit_answer again"),
            ],
        ),
        (
            "answer that is a list",
            vec![
                json!({"calls": [raw("submit_answer", r#"["Everything is fine."]"#)]}),
                once_told("the answer is no JSON object. Mend it"),
            ],
        ),
        (
            "answer that is a text",
            vec![
                json!({"calls": [raw("submit_answer", "Everything is fine.")]}),
                once_told("the answer is no JSON object: Everything is fine.*Mend it"),
            ],
        ),
        (
            "enormous answer",
            vec![
                call("submit_answer", json!({"text": "x".repeat(70_000)})),
                once_told("the answer has 69 KB and at most 64 KB are taken: shorten it"),
            ],
        ),
        (
            "two answers",
            vec![
                json!({"calls": [{"tool": "submit_answer", "input": {}}, {"tool": "submit_answer", "input": {"text": "b"}}]}),
                once_told(
                    "This call was not run.*does not fit its schema|does not fit its schema.*This call was not run",
                ),
            ],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_reply_goes_back_with_what_is_wrong() {
    let cases: Vec<Mended> = [bad_calls(), bad_replies(), bad_answers()].concat();
    let conversations = cases.iter().map(|(case, turns)| conversation("slack", case, turns.clone()));
    let scene = Scene::of_agents(&script(conversations), "").await.unwrap();
    let done = async {
        let runs = cases.iter().map(async |(case, turns)| {
            let result = Errand::slack(case).run(&scene).await?;
            assert_eq!(result.end, said("Mended."), "{case}");
            assert_eq!(usize::try_from(result.turns).unwrap(), turns.len(), "{case}");
            anyhow::Ok(())
        });
        futures::future::try_join_all(runs).await?;
        scene.assert_script_was_played(&[]);
        Ok(())
    };
    play(&scene, done.await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_calls_with_one_id_are_both_answered() {
    let calls = json!([{"tool": "task_status", "input": {"ticket": "NOPE-1"}, "id": "tooluse_same"},
                       {"tool": "task_status", "input": {"ticket": "NOPE-2"}, "id": "tooluse_same"}]);
    let turns = [
        json!({"calls": calls}),
        json!({"calls": [{"tool": "list_tasks", "id": "tooluse_same"}]}),
        once_told("No ticket"),
    ];
    let scene = Scene::of_agents(&script([conversation("slack", "one id", turns)]), "").await.unwrap();
    let done = async {
        let errand = Errand::slack("one id");
        assert_eq!(errand.run(&scene).await?.end, said("Mended."));
        let told = last_message(&errand.requests(&scene)[1]);
        assert!(told.contains("NOPE-1") && told.contains("NOPE-2"), "{told}");
        scene.assert_script_was_played(&[]);
        Ok(())
    };
    play(&scene, done.await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_that_lead_nowhere_end_the_run_with_their_reason() {
    type Fits = fn(&AgentEnd) -> bool;
    let wrong = || call("submit_answer", json!({"text": ""}));
    let cases: [(&str, Vec<Value>, Fits); 6] = [
        (
            "guardrail",
            vec![json!({"say": "I cannot", "stop": "guardrail_intervened"})],
            |end| matches!(end, AgentEnd::Failed(why) if why.contains("guardrail") && why.contains("retry")),
        ),
        (
            "refusal",
            vec![json!({"say": "I will not", "stop": "content_filtered"})],
            |end| matches!(end, AgentEnd::Failed(why) if why.contains("refused") && why.contains("retry")),
        ),
        (
            "prose for ever",
            vec![prose("Fine."), prose("Still fine."), prose("Fine, I said.")],
            |end| matches!(end, AgentEnd::InvalidAnswer(why) if why.contains("3 replies in a row")),
        ),
        (
            "empty for ever",
            vec![json!({"empty": true}), json!({"empty": true}), json!({"empty": true})],
            |end| matches!(end, AgentEnd::InvalidAnswer(why) if why.contains("3 replies in a row")),
        ),
        (
            "cut for ever",
            vec![stopped("max_tokens"), stopped("max_tokens"), stopped("max_tokens")],
            |end| matches!(end, AgentEnd::InvalidAnswer(why) if why.contains("max_tokens")),
        ),
        (
            "wrong for ever",
            vec![wrong(), wrong(), wrong()],
            |end| matches!(end, AgentEnd::InvalidAnswer(why) if why.contains("1 to 1,500 characters")),
        ),
    ];
    let conversations = cases.iter().map(|(case, turns, _)| conversation("slack", case, turns.clone()));
    let guardrail = r#"guardrail = { id = "ab12cd34ef56", version = "DRAFT" }"#;
    let scene = Scene::of_agents(&script(conversations), guardrail).await.unwrap();
    let done = async {
        let runs = cases.iter().map(async |(case, turns, fits)| {
            let result = Errand::slack(case).forgetful().run(&scene).await?;
            assert!(fits(&result.end), "{case}: {:?}", result.end);
            assert_eq!(usize::try_from(result.turns).unwrap(), turns.len(), "{case}");
            anyhow::Ok(())
        });
        futures::future::try_join_all(runs).await?;
        let guarded =
            |request: &RecordedRequest| request.body["guardrailConfig"]["guardrailIdentifier"] == "ab12cd34ef56";
        assert!(scene.stack.world.bedrock.requests().iter().all(guarded), "every call goes through the guardrail");
        scene.assert_script_was_played(&[]);
        Ok(())
    };
    play(&scene, done.await).await;
}
