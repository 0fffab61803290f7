//! Turns against a stand-in that speaks the real protocol: HTTP errors and `application/vnd.amazon.eventstream`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use aws_sdk_bedrockruntime::config::{BehaviorVersion, Builder, Credentials, SharedCredentialsProvider};
use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::StreamExt as _;
use workflows::contract::agent::AgentName;
use workflows::contract::ids::{Digest, EffectKey, Generation};
use workflows::contract::model::{CallOutput, CallResult, News};
use workflows::contract::money::{MicroUsd, Usage};

use super::*;

const RUN: &str = "ticket-SHOP-1/discovery";
const MODEL: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

/// What the stand-in does with the next request.
enum Play {
    Frames(Vec<Bytes>),
    /// These frames, then the connection breaks.
    Broken(Vec<Bytes>),
    /// These frames, then nothing more.
    Silent(Vec<Bytes>),
    Error(u16, &'static str, Option<&'static str>),
}

#[derive(Default)]
struct Fake {
    plays: Mutex<VecDeque<Play>>,
    requests: Mutex<Vec<(String, HeaderMap, Bytes)>>,
}

impl Fake {
    fn body(&self, n: usize) -> Bytes {
        self.requests.lock().unwrap()[n].2.clone()
    }

    fn json(&self, n: usize) -> Value {
        serde_json::from_slice(&self.body(n)).unwrap()
    }

    fn calls(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

async fn answer(State(fake): State<Arc<Fake>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    fake.requests.lock().unwrap().push((uri.path().to_owned(), headers, body));
    let play = fake.plays.lock().unwrap().pop_front().expect("no call is made that the test does not plan");
    let stream = |frames: Vec<std::io::Result<Bytes>>| {
        let body = Body::from_stream(futures::stream::iter(frames));
        ([("content-type", "application/vnd.amazon.eventstream")], body).into_response()
    };
    match play {
        Play::Frames(frames) => stream(frames.into_iter().map(Ok).collect()),
        Play::Broken(frames) => {
            let broken = Err(std::io::Error::other("cut by the test"));
            stream(frames.into_iter().map(Ok).chain([broken]).collect())
        }
        Play::Silent(frames) => {
            let frames = futures::stream::iter(frames.into_iter().map(Ok::<_, std::io::Error>));
            let body = Body::from_stream(frames.chain(futures::stream::pending()));
            ([("content-type", "application/vnd.amazon.eventstream")], body).into_response()
        }
        Play::Error(status, kind, retry_after) => {
            let status = StatusCode::from_u16(status).unwrap();
            let mut reply = (status, axum::Json(json!({"message": "because of the test."}))).into_response();
            reply.headers_mut().insert("x-amzn-errortype", format!("{kind}:http://internal/").parse().unwrap());
            if let Some(seconds) = retry_after {
                reply.headers_mut().insert("retry-after", seconds.parse().unwrap());
            }
            reply
        }
    }
}

struct Rig {
    fake: Arc<Fake>,
    model: ModelActivities,
    ledger: Kept,
    directory: tempfile::TempDir,
}

impl Rig {
    async fn turn(&self, turn: &TakeTurn) -> Result<TurnOutcome, ServiceError> {
        self.model.turn(RUN, turn, &self.ledger).await
    }
}

/// Keeps what was told, and how many requests had been made when it was reserved.
#[derive(Default)]
struct Kept {
    meter: Meter,
    reserved: Mutex<Vec<(usize, MicroUsd)>>,
    fake: Arc<Fake>,
}

impl Ledger for Kept {
    async fn reserve(&self, cost: MicroUsd) -> Result<(), ServiceError> {
        self.reserved.lock().unwrap().push((self.fake.calls(), cost));
        self.book(cost);
        Ok(())
    }

    fn book(&self, cost: MicroUsd) {
        self.meter.0.store(cost.0, Ordering::Relaxed);
    }

    fn booked(&self) -> MicroUsd {
        self.meter.spending().cost
    }
}

fn settings(address: &str) -> Settings {
    Settings { endpoint_url: Some(format!("http://{address}")), ..Settings::default() }
}

async fn rig(plays: Vec<Play>) -> Rig {
    let fake = Arc::new(Fake { plays: Mutex::new(plays.into()), ..Fake::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&fake));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let directory = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(directory.path().to_str().unwrap()).unwrap();
    let model = ModelActivities::new(bedrock(&settings(&address)), Prices::with(&BTreeMap::new()).unwrap(), blobs);
    let ledger = Kept { fake: Arc::clone(&fake), ..Kept::default() };
    Rig { fake, model, ledger, directory }
}

fn bedrock(settings: &Settings) -> Bedrock {
    let credentials = Credentials::new("AKIDTESTTESTTEST", "secret", None, None, "test");
    let config = Builder::new().behavior_version(BehaviorVersion::latest());
    Bedrock::with(config, Some(SharedCredentialsProvider::new(credentials)), settings)
}

fn frame(message_type: &str, kind: &str, payload: &Value) -> Bytes {
    let header = |name: &'static str, value: &str| Header::new(name, HeaderValue::String(value.to_owned().into()));
    let name = if message_type == "event" { ":event-type" } else { ":exception-type" };
    let message = Message::new(Bytes::from(payload.to_string()))
        .add_header(header(":message-type", message_type))
        .add_header(header(name, kind))
        .add_header(header(":content-type", "application/json"));
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).unwrap();
    bytes.into()
}

fn event(kind: &str, payload: Value) -> Bytes {
    frame("event", kind, &payload)
}

/// A reply with a text and calls, their inputs streamed in fragments of three characters.
fn reply(text: &str, calls: &[(&str, &str, &str)], stop: &str) -> Vec<Bytes> {
    let mut frames = vec![event("messageStart", json!({"role": "assistant"}))];
    let mut index = 0;
    if !text.is_empty() {
        frames.push(event("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": text}})));
        frames.push(event("contentBlockStop", json!({"contentBlockIndex": 0})));
        index = 1;
    }
    for (id, name, input) in calls {
        let start = json!({"toolUse": {"toolUseId": id, "name": name}});
        frames.push(event("contentBlockStart", json!({"contentBlockIndex": index, "start": start})));
        let chars: Vec<char> = input.chars().collect();
        for part in chars.chunks(3) {
            let delta = json!({"toolUse": {"input": part.iter().collect::<String>()}});
            frames.push(event("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta})));
        }
        frames.push(event("contentBlockStop", json!({"contentBlockIndex": index})));
        index += 1;
    }
    frames.push(event("messageStop", json!({"stopReason": stop})));
    let usage = json!({"inputTokens": 10, "outputTokens": 20, "totalTokens": 1130, "cacheReadInputTokens": 1000, "cacheWriteInputTokens": 100});
    frames.push(event("metadata", json!({"usage": usage, "metrics": {"latencyMs": 5}})));
    frames
}

fn read_call() -> Vec<Bytes> {
    reply("Looking.", &[("t1", "read_file", r#"{"repository":"acme/shop","path":"a.py"}"#)], "tool_use")
}

fn turn(n: u32, head: Option<Digest>, news: News) -> TakeTurn {
    TakeTurn {
        agent: AgentName::Discovery,
        remarks: Vec::new(),
        hand_over: false,
        model: MODEL.into(),
        max_tokens: 1000,
        head,
        news,
        effect: EffectKey::new("ticket-SHOP-1/discovery", &Generation::of_event("e"), "turn", n),
        limit: MicroUsd::dollars(12),
        known_tokens: 0,
    }
}

fn brief() -> News {
    News::Brief(json!({
        "ticket": {
            "key": "SHOP-1", "url": "http://jira/SHOP-1", "summary": "Total is wrong", "description": "It is negative.",
            "comments": [], "labels": ["AI"], "priority": "High", "issue_type": "Bug", "status": "To Do",
            "reporter": null, "links": [],
        },
        "minimum_score": 0.3,
        "best": 5,
    }))
}

fn results(calls: &[&str]) -> News {
    let result =
        |id: &&str| CallResult { id: (*id).to_owned(), output: CallOutput::Text("1 x = 1".into()), is_error: false };
    News::Results(calls.iter().map(result).collect())
}

async fn replied(rig: &Rig, turn: &TakeTurn) -> Reply {
    match rig.turn(turn).await.unwrap() {
        TurnOutcome::Replied(reply) => reply,
        other => panic!("{other:?}"),
    }
}

async fn lost(rig: &Rig, turn: &TakeTurn) -> Lost {
    match rig.turn(turn).await.unwrap() {
        TurnOutcome::Lost(lost) => lost,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_conversation_of_two_turns() {
    let submit = reply("", &[("t2", SUBMIT_ANSWER, r#"{"repositories":[]}"#)], "tool_use");
    let rig = rig(vec![Play::Frames(read_call()), Play::Frames(submit)]).await;

    let first = replied(&rig, &turn(1, None, brief())).await;
    assert_eq!((first.stop.as_str(), &first.answer), ("tool_use", &None));
    let [call] = first.calls.as_slice() else { panic!("{:?}", first.calls) };
    assert_eq!((call.id.as_str(), call.name.as_str()), ("t1", "read_file"));
    assert_eq!(call.label, "read_file acme/shop a.py");
    assert_eq!(rig.model.blobs.get(&call.input).await.unwrap(), r#"{"path":"a.py","repository":"acme/shop"}"#);
    assert_eq!(first.usage, Usage { input: 10, output: 20, cache_read: 1000, cache_write: 100 });
    // 10 x 3.30 + 20 x 16.50 + 1000 x 0.33 + 100 x 4.125 micro-dollars, rounded up.
    assert_eq!(first.cost, MicroUsd(1106));

    let output = rig.model.blobs.put("1 x = 1").await.unwrap();
    let result = CallResult { id: "t1".into(), output: CallOutput::Blob(output), is_error: false };
    let second = replied(&rig, &turn(2, Some(first.head), News::Results(vec![result]))).await;
    assert!(second.calls.is_empty());
    assert_eq!(second.answer, Some(Submitted { id: "t2".into(), value: json!({"repositories": []}) }));

    let (path, headers, _) = rig.fake.requests.lock().unwrap()[0].clone();
    assert_eq!(path, "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream");
    assert!(headers["authorization"].to_str().unwrap().contains("/us-east-1/bedrock/aws4_request"));
    let sent = rig.fake.json(0);
    assert_eq!(sent["requestMetadata"], json!({"agent": "discovery", "run": "ticket-SHOP-1/discovery"}));
    assert_eq!(sent["inferenceConfig"], json!({"maxTokens": 1000}));
    assert_eq!(sent["toolConfig"]["toolChoice"], json!({"any": {}}));
    let tools = sent["toolConfig"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().filter_map(|tool| tool.pointer("/toolSpec/name")?.as_str()).collect();
    assert_eq!(names, ["search_code", "list_repositories", "repository_tree", "read_file", SUBMIT_ANSWER, HAND_OVER]);
    assert_eq!(tools.last(), Some(&json!({"cachePoint": {"type": "default"}})));
    assert!(sent["messages"][0]["content"][0]["text"].as_str().unwrap().contains("Total is wrong"));

    let sent = rig.fake.json(1);
    assert_eq!(sent["messages"][1]["content"][0], json!({"text": "Looking."}));
    let text = "<untrusted source=\"read_file acme/shop a.py\">\n1 x = 1\n</untrusted>";
    let result = json!({"toolResult": {"toolUseId": "t1", "status": "success", "content": [{"text": text}]}});
    assert_eq!(sent["messages"][2]["content"][0], result);
}

#[tokio::test]
async fn a_later_request_begins_with_the_bytes_of_the_one_before_and_repeats_are_identical() {
    let more = || Play::Frames(reply("", &[("t2", "read_file", "{}"), ("t3", "list_repositories", "")], "tool_use"));
    let rig = rig(vec![Play::Frames(read_call()), more(), more(), more()]).await;
    let first = replied(&rig, &turn(1, None, brief())).await;
    let second = replied(&rig, &turn(2, Some(first.head.clone()), results(&["t1"]))).await;
    replied(&rig, &turn(3, Some(second.head.clone()), results(&["t2", "t3"]))).await;
    // The same turn under another key: asked again, with the same bytes.
    replied(&rig, &turn(4, Some(second.head), results(&["t2", "t3"]))).await;
    assert_eq!(rig.fake.body(2), rig.fake.body(3));

    let messages = |n: usize| {
        let body = String::from_utf8(rig.fake.body(n).to_vec()).unwrap();
        let (_, messages) = body.split_once(r#""messages":"#).unwrap();
        messages.split_once(r#","requestMetadata""#).unwrap().0.to_owned()
    };
    let point = r#",{"cachePoint":{"type":"default"}}"#;
    for n in 0..2 {
        let (before, after) = (messages(n), messages(n + 1));
        let (stored, _) = before.rsplit_once(point).unwrap();
        let (read, _) = after.split_once(point).unwrap();
        assert_eq!(read, stored.replace(point, ""), "the older cache point finds what turn {n} stored");
    }
    for n in 0..3 {
        let (before, after) = (rig.fake.json(n), rig.fake.json(n + 1));
        assert_eq!((&before["system"], &before["toolConfig"]), (&after["system"], &after["toolConfig"]));
    }
}

#[tokio::test]
async fn a_finished_reply_is_never_bought_again() {
    let rig = rig(vec![Play::Frames(read_call())]).await;
    let first = replied(&rig, &turn(1, None, brief())).await;
    assert_eq!(replied(&rig, &turn(1, None, brief())).await, Reply { kept: true, ..first });
    assert_eq!(rig.fake.calls(), 1);
}

#[tokio::test]
async fn a_call_that_may_cost_too_much_is_not_made() {
    let rig = rig(vec![]).await;
    // The reply alone: 1,000 tokens at 16.50 USD per million.
    let request = TakeTurn { limit: MicroUsd(16_500), ..turn(1, None, brief()) };
    let TurnOutcome::OverLimit { needed } = rig.turn(&request).await.unwrap() else { panic!("it was made") };
    assert!(needed > request.limit && needed < MicroUsd(100_000), "{needed}");
    assert_eq!(rig.fake.calls(), 0);
}

#[tokio::test]
async fn a_model_without_a_price_is_not_called() {
    let rig = rig(vec![]).await;
    let error = rig.turn(&TakeTurn { model: "mystery".into(), ..turn(1, None, brief()) }).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Invalid);
    assert!(error.message.contains("[prices.\"mystery\"]"), "{error}");
}

#[tokio::test]
async fn input_that_is_no_object_reaches_the_tool_and_can_be_sent_again() {
    let first = reply("", &[("t1", "read_file", r#"{"path": "a"#), ("t1", "read_file", "[1]")], "tool_use");
    let rig = rig(vec![Play::Frames(first), Play::Frames(read_call())]).await;
    let reply = replied(&rig, &turn(1, None, brief())).await;
    let ids: Vec<&str> = reply.calls.iter().map(|call| call.id.as_str()).collect();
    assert_eq!(ids, ["t1", "t1-2"], "two calls with one id get one each");
    assert_eq!(rig.model.blobs.get(&reply.calls[0].input).await.unwrap(), r#""{\"path\": \"a""#);
    assert_eq!(rig.model.blobs.get(&reply.calls[1].input).await.unwrap(), "[1]");
    // Only one of the two calls is answered: the other is told so, before the result that came.
    let next = replied(&rig, &turn(2, Some(reply.head), results(&["t1"]))).await;
    assert_eq!(next.calls[0].id, "t1-3");
    let sent = rig.fake.json(1);
    assert_eq!(sent["messages"][1]["content"][0]["toolUse"]["input"], json!({"not_an_object": "{\"path\": \"a"}));
    assert_eq!(sent["messages"][2]["content"][0]["toolResult"]["toolUseId"], "t1-2");
    assert_eq!(sent["messages"][2]["content"][0]["toolResult"]["status"], "error");
    assert_eq!(sent["messages"][2]["content"][1]["toolResult"]["toolUseId"], "t1");
}

#[tokio::test]
async fn an_empty_reply_leaves_roles_alternating() {
    let prose = reply("Done, I think.", &[], "end_turn");
    let rig =
        rig(vec![Play::Frames(reply(" ", &[], "end_turn")), Play::Frames(prose), Play::Frames(read_call())]).await;
    let empty = replied(&rig, &turn(1, None, brief())).await;
    assert!(empty.calls.is_empty() && empty.answer.is_none());
    let prose = replied(&rig, &turn(2, Some(empty.head), News::Remark("Use a tool.".into()))).await;
    replied(&rig, &turn(3, Some(prose.head), News::Remark("Use a tool, please.".into()))).await;
    let sent = rig.fake.json(2);
    let roles: Vec<&str> = sent["messages"].as_array().unwrap().iter().filter_map(|m| m["role"].as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
    assert_eq!(sent["messages"][0]["content"][1], json!({"text": "Use a tool."}));
}

#[tokio::test]
async fn a_call_that_was_cut_off_is_not_run() {
    let calls = [("t1", "read_file", r#"{"repository":"acme/shop","path":"a"}"#), ("t2", "read_file", r#"{"repo"#)];
    let cut_answer = reply("", &[("t3", SUBMIT_ANSWER, r#"{"repo"#)], "max_tokens");
    let plays = [reply("", &calls, "max_tokens"), cut_answer, read_call()].map(Play::Frames);
    let rig = rig(plays.into()).await;
    let first = replied(&rig, &turn(1, None, brief())).await;
    let ids: Vec<&str> = first.calls.iter().map(|call| call.id.as_str()).collect();
    assert_eq!(ids, ["t1"]);
    let second = replied(&rig, &turn(2, Some(first.head), results(&["t1"]))).await;
    assert_eq!((second.calls.len(), &second.answer), (0, &None), "half an answer is none");
    let sent = rig.fake.json(1);
    assert_eq!(sent["messages"][2]["content"][0]["toolResult"]["content"][0]["text"], transcript::NOT_RUN);
    replied(&rig, &turn(3, Some(second.head), News::Remark("Cut.".into()))).await;
    let sent = rig.fake.json(2);
    assert_eq!(sent["messages"][4]["content"][0]["toolResult"]["toolUseId"], "t3");
    assert_eq!(sent["messages"][4]["content"][1]["text"], "Cut.");
}

#[tokio::test]
async fn what_bedrock_would_not_take_back_is_made_fit() {
    let odd = reply("", &[("a b/ü", "read file?", "{}"), ("", "", "{}")], "tool_use");
    let rig = rig(vec![Play::Frames(odd), Play::Frames(read_call())]).await;
    let first = replied(&rig, &turn(1, None, brief())).await;
    let calls: Vec<(&str, &str)> = first.calls.iter().map(|call| (call.id.as_str(), call.name.as_str())).collect();
    assert_eq!(calls, [("a_b__", "read_file_"), ("unnamed", "unnamed")]);
    assert_eq!(sendable(&"x".repeat(100), |_| false).len(), 64);
}

#[tokio::test]
async fn what_people_and_the_harness_say_comes_after_the_results() {
    let rig = rig(vec![Play::Frames(read_call()), Play::Frames(read_call())]).await;
    let first = replied(&rig, &turn(1, None, brief())).await;
    let remarks = vec![
        Remark::of_harness("3 turns are left."),
        Remark { by: Some("Ana".into()), text: "mind the\u{202E} cache".into() },
    ];
    let request = TakeTurn { remarks, ..turn(2, Some(first.head), results(&["t1"])) };
    replied(&rig, &request).await;
    let content = rig.fake.json(1)["messages"][2]["content"].clone();
    assert_eq!(content[0]["toolResult"]["toolUseId"], "t1");
    assert_eq!(content[1]["text"], "3 turns are left.");
    assert_eq!(content[2]["text"], "Ana, who directs this work, says:\n> mind the cache\nMind it from now on.");
}

#[tokio::test]
async fn a_hand_over_begins_anew_with_the_task_and_the_notes() {
    let notes = r#"{"done":"read a.py","decisions":"clamp; Ana: mind the cache","open_questions":"none","next_steps":"answer"}"#;
    let hand_over = reply("", &[("t2", HAND_OVER, notes)], "tool_use");
    let vain = reply("I go on.", &[("t2", "read_file", "{}")], "tool_use");
    let plays = [read_call(), vain, hand_over, read_call()].map(Play::Frames);
    let rig = rig(plays.into()).await;
    let first = replied(&rig, &turn(1, None, brief())).await;
    let asked = |n| TakeTurn { hand_over: true, ..turn(n, Some(first.head.clone()), results(&["t1"])) };
    let vain = replied(&rig, &asked(2)).await;
    assert_eq!(
        (vain.handed_over, &vain.head, vain.calls.len()),
        (false, &first.head, 0),
        "the conversation is as it was"
    );
    let done = replied(&rig, &asked(3)).await;
    assert!(done.handed_over && done.head != first.head);
    let sent = rig.fake.json(2);
    assert_eq!(sent["messages"][2]["content"][0]["toolResult"]["toolUseId"], "t1");
    assert!(sent["messages"][2]["content"][1]["text"].as_str().unwrap().contains("Call hand_over, and nothing else"));
    assert_eq!(sent["toolConfig"], rig.fake.json(0)["toolConfig"], "the same tools: the prefix stays cached");

    replied(&rig, &turn(4, Some(done.head), News::Remark("Go on from your notes.".into()))).await;
    let sent = rig.fake.json(3);
    let messages = sent["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["content"][0], rig.fake.json(0)["messages"][0]["content"][0], "the task, word for word");
    let notes = messages[0]["content"][1]["text"].as_str().unwrap();
    assert!(notes.contains("## Decisions\nclamp; Ana: mind the cache"), "{notes}");
    assert_eq!(messages[0]["content"][2]["text"], "Go on from your notes.");
}

#[tokio::test]
async fn what_a_tool_read_or_wrote_is_stored_once_and_long_results_share_the_room() {
    let long = json!({"repository": "acme/shop", "path": "p".repeat(500)}).to_string();
    let calls = [("t1", "read_file", long.as_str()), ("t2", "read_file", "{}"), ("t3", "read_file", "{}")];
    let rig = rig(vec![Play::Frames(reply("", &calls, "tool_use")), Play::Frames(read_call())]).await;
    let first = replied(&rig, &turn(1, None, brief())).await;
    let node = String::from_utf8(rig.model.blobs.get(&first.head).await.unwrap().to_vec()).unwrap();
    assert!(!node.contains("ppppp"), "the input is in its own blob alone");
    let output = |text: String| async { CallOutput::Blob(rig.model.blobs.put(text).await.unwrap()) };
    let outputs = [output("a".repeat(60_000)).await, output("b".repeat(60_000)).await, output("c".into()).await];
    let results = outputs.into_iter().zip(["t1", "t2", "t3"]);
    let results = results.map(|(output, id)| CallResult { id: id.into(), output, is_error: false }).collect();
    let second = replied(&rig, &turn(2, Some(first.head), News::Results(results))).await;
    let node = String::from_utf8(rig.model.blobs.get(&second.head).await.unwrap().to_vec()).unwrap();
    assert!(node.len() < 2000, "{}", node.len());
    let content = rig.fake.json(1)["messages"][2]["content"].clone();
    let text = |n: usize| content[n]["toolResult"]["content"][0]["text"].as_str().unwrap().to_owned();
    let total: usize = (0..3).map(|n| text(n).len()).sum();
    assert!(total < 97 * 1024, "{total}");
    assert!(text(0).contains("[truncated: ") && text(0).contains("ask for a smaller part"), "{}", &text(0)[49_000..]);
    assert_eq!(text(2), "<untrusted source=\"read_file\">\nc\n</untrusted>");
    assert_eq!(rig.fake.json(1)["messages"][1]["content"][0]["toolUse"]["input"]["path"], "p".repeat(500));
}

#[tokio::test]
async fn a_reply_that_cannot_be_kept_was_paid_for() {
    let rig = rig(vec![Play::Frames(read_call())]).await;
    let named = rig.directory.path().join("sha256");
    std::fs::write(&named, "in the way").unwrap();
    let lost = lost(&rig, &turn(1, None, brief())).await;
    assert_eq!(lost.cost, MicroUsd(1106), "what the reply's own usage says");
    std::fs::remove_file(named).unwrap();
}

#[tokio::test]
async fn a_refused_request_costs_nothing() {
    let rig = rig(vec![Play::Error(429, "ThrottlingException", None)]).await;
    rig.turn(&turn(1, None, brief())).await.unwrap_err();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = settings(&listener.local_addr().unwrap().to_string());
    drop(listener);
    let unanswered = bedrock(&closed).ask(MODEL, b"{}".to_vec(), &|_| {}).await.unwrap_err();
    assert!(!unanswered.billed, "{:?}", unanswered.error);
}

#[tokio::test]
async fn every_call_goes_through_the_guardrail() {
    let mut rig = rig(vec![Play::Frames(read_call())]).await;
    rig.model.bedrock.guardrail = Some(Guardrail { id: "gr1".into(), version: "2".into() });
    replied(&rig, &turn(1, None, brief())).await;
    let expected = json!({"guardrailIdentifier": "gr1", "guardrailVersion": "2", "trace": "enabled"});
    assert_eq!(rig.fake.json(0)["guardrailConfig"], expected);
}

#[tokio::test]
async fn reasoning_goes_back_unmodified() {
    let delta = |delta: Value| {
        event("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"reasoningContent": delta}}))
    };
    let mut frames = vec![event("messageStart", json!({"role": "assistant"}))];
    frames.extend([
        delta(json!({"text": "Hmm, "})),
        delta(json!({"text": "so."})),
        delta(json!({"signature": "c2ln"})),
    ]);
    let secret = json!({"contentBlockIndex": 1, "delta": {"reasoningContent": {"redactedContent": "AAEC"}}});
    frames.push(event("contentBlockDelta", secret));
    let start = json!({"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t1", "name": "list_repositories"}}});
    frames.push(event("contentBlockStart", start));
    frames.extend(reply("", &[], "tool_use").split_off(1));
    let rig = rig(vec![Play::Frames(frames), Play::Frames(read_call())]).await;
    let first = replied(&rig, &turn(1, None, brief())).await;
    assert_eq!(rig.model.blobs.get(&first.calls[0].input).await.unwrap(), "{}");
    replied(&rig, &turn(2, Some(first.head), results(&["t1"]))).await;
    let content = rig.fake.json(1)["messages"][1]["content"].clone();
    let thought = json!({"reasoningContent": {"reasoningText": {"text": "Hmm, so.", "signature": "c2ln"}}});
    assert_eq!(content[0], thought);
    assert_eq!(content[1], json!({"reasoningContent": {"redactedContent": "AAEC"}}));
}

#[tokio::test]
async fn an_answer_that_is_too_long_comes_back_as_what_is_wrong_with_it() {
    let long = json!({"repositories": "x".repeat(70 * 1024)}).to_string();
    let rig = rig(vec![Play::Frames(reply("", &[("t1", SUBMIT_ANSWER, &long)], "tool_use"))]).await;
    let answer = replied(&rig, &turn(1, None, brief())).await.answer.unwrap();
    assert_eq!(answer.value, "the answer has 71 KB and at most 64 KB are taken: shorten it");
}

#[tokio::test]
async fn every_error_of_the_service_says_what_to_do() {
    use FailureKind::{Invalid, NotFound, RateLimited, Unauthorized, Unavailable, Unexpected};
    let table = [
        (429, "ThrottlingException", RateLimited, "asks to wait"),
        (429, "ModelNotReadyException", RateLimited, "asks to wait"),
        (408, "ModelTimeoutException", Unavailable, "could not serve"),
        (500, "InternalServerException", Unavailable, "could not serve"),
        (503, "ServiceUnavailableException", Unavailable, "could not serve"),
        (424, "ModelErrorException", Unavailable, "could not serve"),
        (400, "ValidationException", Invalid, "because of the test. Check that this id"),
        (403, "AccessDeniedException", Unauthorized, "Enable model access for us.anthropic"),
        (403, "UnrecognizedClientException", Unauthorized, "AWS_PROFILE"),
        (403, "ExpiredTokenException", Unauthorized, "may have expired"),
        (404, "ResourceNotFoundException", NotFound, "no model us.anthropic"),
        (502, "SomethingNew", Unavailable, "could not serve"),
        (301, "SomethingOdd", Unexpected, "failed for us.anthropic"),
    ];
    let plays = table.iter().map(|(status, kind, ..)| Play::Error(*status, kind, None)).collect();
    let rig = rig(plays).await;
    for (_, name, kind, words) in table {
        let error = rig.turn(&turn(1, None, brief())).await.unwrap_err();
        assert_eq!(error.kind, kind, "{name}: {error}");
        assert!(error.message.contains(words) && error.message.contains("us-east-1"), "{name}: {error}");
        assert_eq!(error.retry_after, None);
    }
    assert_eq!(rig.fake.calls(), table.len(), "nothing is retried in here");
}

#[tokio::test]
async fn a_retry_after_header_is_passed_on() {
    let rig = rig(vec![Play::Error(429, "ThrottlingException", Some("17"))]).await;
    let error = rig.turn(&turn(1, None, brief())).await.unwrap_err();
    assert_eq!(error.retry_after, Some(std::time::Duration::from_secs(17)));
}

#[tokio::test]
async fn a_reply_that_breaks_off_is_no_reply() {
    let start = || read_call().drain(..4).collect::<Vec<_>>();
    let with = |last: Bytes| start().into_iter().chain([last]).collect::<Vec<_>>();
    let exception = |kind: &str| Play::Frames(with(frame("exception", kind, &json!({"message": "because"}))));
    let half_a_frame = read_call()[4].slice(..20);
    let table = [
        (exception("throttlingException"), FailureKind::RateLimited),
        (exception("modelStreamErrorException"), FailureKind::Unavailable),
        (exception("internalServerException"), FailureKind::Unavailable),
        (exception("serviceUnavailableException"), FailureKind::Unavailable),
        (exception("validationException"), FailureKind::Invalid),
        (exception("somethingNewException"), FailureKind::Unavailable),
        (Play::Frames(start()), FailureKind::Unavailable),
        (Play::Frames(with(half_a_frame)), FailureKind::Unavailable),
        (Play::Broken(start()), FailureKind::Unavailable),
    ];
    let (plays, kinds): (Vec<Play>, Vec<FailureKind>) = table.into_iter().unzip();
    let rig = rig(plays.into_iter().chain([Play::Frames(read_call())]).collect()).await;
    for (n, kind) in kinds.into_iter().enumerate() {
        let lost = lost(&rig, &turn(1, None, brief())).await;
        assert_eq!(lost.kind, kind, "{n}: {}", lost.message);
        let (calls, reserved) = rig.ledger.reserved.lock().unwrap()[n];
        assert_eq!(calls, n, "told before the request went out");
        // The last connection breaks before anything of it is read, or after: both happen.
        assert!(
            lost.cost > reserved || n == 8 && lost.cost == reserved,
            "{n}: the known input and what was streamed is paid: {} of {reserved}",
            lost.cost
        );
        assert!(lost.cost < reserved + MicroUsd(800), "and no more: {} of {reserved}", lost.cost);
    }
    assert_eq!(replied(&rig, &turn(1, None, brief())).await.calls.len(), 1, "nothing of the broken replies was kept");
}

#[tokio::test]
async fn a_silent_reply_is_given_up() {
    let mut rig = rig(vec![Play::Silent(read_call().drain(..4).collect())]).await;
    rig.model.bedrock.idle = std::time::Duration::from_millis(50);
    let lost = lost(&rig, &turn(1, None, brief())).await;
    assert_eq!(lost.kind, FailureKind::Unavailable);
    assert!(lost.message.contains("was silent"), "{}", lost.message);
}

#[tokio::test]
async fn a_closed_port_and_missing_credentials_are_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = settings(&listener.local_addr().unwrap().to_string());
    drop(listener);
    let error = bedrock(&settings).smallest_call(MODEL).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unavailable, "{error}");
    assert_eq!(bedrock(&settings).find_credentials().await.unwrap(), "TEST");

    let config = Builder::new().behavior_version(BehaviorVersion::latest());
    let without = Bedrock::with(config, None, &settings);
    let error = without.smallest_call(MODEL).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unauthorized, "{error} {:?}", error.source);
    assert_eq!(without.find_credentials().await.unwrap_err().kind, FailureKind::Unauthorized);
}

#[tokio::test]
async fn a_conversation_cannot_begin_in_the_middle() {
    let rig = rig(vec![]).await;
    let error = rig.turn(&turn(1, None, results(&["t1"]))).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Invalid);
    let error = rig.turn(&turn(1, Some(Digest::of("nothing")), brief())).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::NotFound);
}

#[test]
fn labels_are_one_short_visible_line() {
    assert_eq!(label("run_command", &json!({"command": "pytest\n  -q \u{202E}x"})), "run_command pytest -q x");
    assert_eq!(label("edit_file", &json!({"path": "a.py", "old": "1", "new": "2"})), "edit_file a.py");
    assert_eq!(label("read_file", &json!("{\"pa")), "read_file");
    let long = label("search_code", &json!({"query": "x".repeat(500)}));
    assert_eq!(long.chars().count(), LONGEST_LABEL);
    assert!(long.ends_with('…'));
}
