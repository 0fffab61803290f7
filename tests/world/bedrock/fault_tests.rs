//! Bad replies, silence and holds, against AWS's own SDK for Rust.

use super::tests::{Stage, asked};
use super::*;

const LIMIT: Duration = Duration::from_secs(30);

/// A script of one conversation of the agent `ci`.
fn turns(turns: &str) -> String {
    format!("conversations: [{{agent: ci, turns: [{turns}]}}]")
}

#[tokio::test]
async fn calls_may_share_an_id_have_broken_inputs_and_unknown_names() {
    let calls = r#"{tool: read_file, id: same}, {tool: read_file, id: same, raw: '{"path": "sho'}, {tool: push, unoffered: true}"#;
    let stage = Stage::new(&turns(&format!("{{calls: [{calls}], stop: max_tokens}}"))).await;
    let reply = stage.ask("ci", &asked("x")).await.expect("reply");
    let calls: Vec<(&str, &str)> = reply.tools.iter().map(|(id, tool)| (id.as_str(), tool.as_str())).collect();
    assert_eq!((calls[0], calls[1], calls[2].1), (("same", "read_file"), ("same", "read_file"), "push"));
    assert_eq!(reply.inputs, r#"{}{"path": "sho{}"#);
    assert_eq!(reply.stop, "max_tokens");
    let stage = Stage::new(&turns("{calls: [{tool: read_file, unoffered: true}]}")).await;
    let (_, message) = stage.ask("ci", &asked("x")).await.expect_err("it is offered");
    assert!(message.contains("called as `unoffered`, but the request offers it"), "{message}");
}

#[tokio::test]
async fn an_empty_reply_counts_as_a_turn_though_no_message_shows_it() {
    let stage = Stage::new(&turns("{empty: true}, {empty: true}, {say: awake}")).await;
    let mut messages = asked("x");
    for _ in 0..2 {
        let reply = stage.ask("ci", &messages).await.expect("reply");
        assert_eq!((reply.text.as_str(), reply.stop.as_str()), ("", "end_turn"));
        let again = stage.ask("ci", &messages).await.expect("the same again");
        assert_eq!(again.text, "");
        let said = messages[0].content.clone();
        messages[0].content = [said, asked("are you there?")[0].content.clone()].concat();
    }
    assert_eq!(stage.bedrock.unused_turns(), ["conversation 1 (ci), turn 3"]);
}

#[tokio::test]
async fn a_turn_reports_the_counts_it_is_told_to() {
    let stage = Stage::new(&turns("{say: long, usage: {input: 150000, cache_read: 3}}")).await;
    let reply = stage.ask("ci", &asked("x")).await.expect("reply");
    assert_eq!((reply.usage.0, reply.usage.1), (150_000, 3));
    assert_eq!(stage.effects.of("bedrock", "turn.answered")[0].detail["usage"]["inputTokens"], 150_000);
}

#[tokio::test]
async fn a_garbled_fragment_is_an_error_for_the_client_and_the_next_try_is_sound() {
    for damage in ["invalid_utf8", "lone_surrogate"] {
        let stage = Stage::new(&turns(&format!("{{say: done, fault: {{garbled: {damage}}}}}"))).await;
        let error = stage.ask("ci", &asked("x")).await.expect_err(damage);
        assert!(!error.0.is_empty(), "{error:?}");
        assert_eq!(stage.ask("ci", &asked("x")).await.expect("reply").text, "done");
        assert!(stage.effects.of("bedrock", "turn.faulted")[0].detail["usage"]["inputTokens"].as_u64() > Some(0));
    }
}

#[tokio::test]
async fn a_silent_stream_stays_open_and_says_nothing() {
    let stage = Stage::new(&turns("{say: never heard, fault: {silent_after_bytes: 200}}")).await;
    let messages = asked("x");
    let waited = tokio::time::timeout(Duration::from_millis(300), stage.ask("ci", &messages)).await;
    assert!(waited.is_err(), "{waited:?}");
    assert_eq!(stage.ask("ci", &asked("x")).await.expect("reply").text, "never heard");
    assert_eq!(stage.effects.of("bedrock", "turn.finished").len(), 1);
}

#[tokio::test]
async fn trouble_behind_the_end_of_a_reply_fails_loudly() {
    for trouble in ["cut_after_bytes", "silent_after_bytes"] {
        let stage = Stage::new(&turns(&format!("{{say: short, fault: {{{trouble}: 50000}}}}"))).await;
        let (_, message) = stage.ask("ci", &asked("x")).await.expect_err("misuse");
        assert!(message.contains("after 50000 bytes, but the reply has only"), "{message}");
    }
}

#[tokio::test]
async fn a_request_stops_where_the_script_holds_it() {
    for (moment, finished) in [("start", 0), ("middle", 0), ("end", 1)] {
        let stage = Stage::new(&turns(&format!("{{say: done, hold: {{name: here, at: {moment}}}}}"))).await;
        let messages = asked("x");
        let story = async {
            stage.bedrock.held("here", LIMIT).await.expect("reached");
            assert_eq!(stage.effects.of("bedrock", "turn.finished").len(), finished, "{moment}");
            // The same request again, as after a kill, is not held.
            assert_eq!(stage.ask("ci", &messages).await.expect("reply").text, "done");
            stage.bedrock.release("here").expect("known");
        };
        let (reply, ()) = tokio::join!(stage.ask("ci", &messages), story);
        assert_eq!(reply.expect("reply").text, "done", "{moment}");
        assert_eq!(stage.effects.of("bedrock", "turn.repeated").len(), 1);
    }
}

#[tokio::test]
async fn requests_of_a_run_that_lose_their_prefix_are_told() {
    let stage = Stage::new(&turns("{say: I read., calls: [{tool: read_file}]}, {say: done}")).await;
    let first = asked("x");
    let reply = stage.ask("ci", &first).await.expect("reply");
    assert!(stage.bedrock.broken_prefixes().is_empty());
    let mut longer = reply.then(&first, "found");
    stage.ask("ci", &longer).await.expect("reply");
    assert!(stage.bedrock.broken_prefixes().is_empty(), "{:?}", stage.bedrock.broken_prefixes());
    longer[0] = asked("y")[0].clone();
    assert!(stage.ask("ci", &longer).await.is_err(), "another run");
}
