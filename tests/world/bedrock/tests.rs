//! The stand-in against AWS's own SDK for Rust, and the rules of the script.

use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::{BehaviorVersion, Credentials as AwsCredentials, Region, retry::RetryConfig};
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::types::{
    CachePointBlock, CachePointType, ContentBlock, ContentBlockDelta, ConversationRole, ConverseStreamOutput, Message,
    SystemContentBlock, Tool, ToolConfiguration, ToolInputSchema, ToolResultBlock, ToolResultContentBlock,
    ToolSpecification,
};
use aws_smithy_types::Document;

use super::*;

const MODEL: &str = "us.anthropic.claude-sonnet-4-20250514-v1:0";

/// A stand-in on a free port with a client of the official SDK.
pub(super) struct Stage {
    pub(super) bedrock: Bedrock,
    pub(super) effects: Effects,
    url: String,
    client: Client,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Stage {
    pub(super) async fn new(script: &str) -> Self {
        let credentials = Credentials::random();
        let effects = Effects::default();
        let bedrock = Bedrock::new(&credentials, &effects);
        bedrock.set_script(Script::parse(script, std::path::Path::new(".")).expect("script"));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("free port");
        let url = format!("http://{}{MOUNT}", listener.local_addr().expect("address"));
        let app = axum::Router::new().nest(MOUNT, bedrock.router());
        let server = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("server");
        });
        let client = client(&url, &credentials.aws_secret_access_key);
        Self { bedrock, effects, url, client, server }
    }

    /// Sends the transcript; the answer is the texts and tool calls, or the error's code and message.
    pub(super) async fn ask(&self, agent: &str, messages: &[Message]) -> Result<Reply, (String, String)> {
        let sent = self
            .client
            .converse_stream()
            .model_id(MODEL)
            .system(SystemContentBlock::Text("You are careful. ".repeat(400)))
            .system(SystemContentBlock::CachePoint(cache_point()))
            .set_messages(Some(messages.to_vec()))
            .tool_config(tools())
            .request_metadata("agent", agent)
            .request_metadata("run", "ticket-SHOP-1/x/1")
            .send()
            .await;
        let mut stream = sent.map_err(|error| described(&error))?.stream;
        let mut reply = Reply::default();
        loop {
            match stream.recv().await {
                Ok(Some(event)) => reply.take(event),
                Ok(None) => return Ok(reply),
                Err(error) => return Err(described(&error)),
            }
        }
    }
}

fn described<E: ProvideErrorMetadata + std::error::Error, R: std::fmt::Debug>(
    error: &SdkError<E, R>,
) -> (String, String) {
    let code = error.code().map_or_else(|| format!("{error:?}"), str::to_owned);
    (code, error.message().unwrap_or_default().to_owned())
}

fn client(url: &str, secret: &str) -> Client {
    let config = aws_sdk_bedrockruntime::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(AwsCredentials::new("AKIAWORLD0000000TEST", secret, None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(url)
        .build();
    Client::from_conf(config)
}

fn cache_point() -> CachePointBlock {
    CachePointBlock::builder().r#type(CachePointType::Default).build().expect("cache point")
}

fn tools() -> ToolConfiguration {
    let schema = Document::Object([("type".to_owned(), Document::String("object".into()))].into());
    let spec = ToolSpecification::builder()
        .name("read_file")
        .input_schema(ToolInputSchema::Json(schema))
        .build()
        .expect("tool");
    ToolConfiguration::builder().tools(Tool::ToolSpec(spec)).build().expect("tools")
}

fn user(content: ContentBlock) -> Message {
    Message::builder().role(ConversationRole::User).content(content).build().expect("message")
}

pub(super) fn asked(text: &str) -> Vec<Message> {
    vec![user(ContentBlock::Text(text.into()))]
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Reply {
    pub(super) text: String,
    pub(super) tools: Vec<(String, String)>,
    pub(super) inputs: String,
    pub(super) stop: String,
    /// Input, cache read, cache write.
    pub(super) usage: (i32, i32, i32),
}

impl Reply {
    fn take(&mut self, event: ConverseStreamOutput) {
        match event {
            ConverseStreamOutput::ContentBlockStart(start) => {
                let tool = start.start.expect("start").as_tool_use().expect("tool").clone();
                self.tools.push((tool.tool_use_id, tool.name));
            }
            ConverseStreamOutput::ContentBlockDelta(delta) => match delta.delta.expect("delta") {
                ContentBlockDelta::Text(text) => self.text += &text,
                ContentBlockDelta::ToolUse(tool) => self.inputs += &tool.input,
                other => panic!("{other:?}"),
            },
            ConverseStreamOutput::MessageStop(stop) => self.stop = stop.stop_reason.as_str().to_owned(),
            ConverseStreamOutput::Metadata(metadata) => {
                let usage = metadata.usage.expect("usage");
                let read = usage.cache_read_input_tokens.expect("cache read");
                self.usage = (usage.input_tokens, read, usage.cache_write_input_tokens.expect("cache write"));
            }
            _ => {}
        }
    }

    /// The transcript after this reply and a result for its call.
    pub(super) fn then(&self, before: &[Message], result: &str) -> Vec<Message> {
        let (id, name) = self.tools[0].clone();
        let call = aws_sdk_bedrockruntime::types::ToolUseBlock::builder()
            .tool_use_id(&id)
            .name(name)
            .input(Document::Object([("path".to_owned(), Document::String("shop/pricing.py".into()))].into()))
            .build()
            .expect("tool use");
        let answer = Message::builder()
            .role(ConversationRole::Assistant)
            .content(ContentBlock::Text(self.text.clone()))
            .content(ContentBlock::ToolUse(call))
            .build()
            .expect("message");
        let result = ToolResultBlock::builder()
            .tool_use_id(id)
            .content(ToolResultContentBlock::Text(result.into()))
            .build()
            .expect("result");
        [before, &[answer, user(ContentBlock::ToolResult(result))]].concat()
    }
}

const TWO_TURNS: &str = "
conversations:
  - agent: discovery
    match: SHOP-1
    turns:
      - say: I look for the pricing code, then I answer.
        calls: [{tool: read_file, input: {path: shop/pricing.py}}]
      - say: Found it.
        expect: def total
";

#[tokio::test]
async fn the_official_sdk_is_answered_turn_by_turn_with_cache_usage() {
    let stage = Stage::new(TWO_TURNS).await;
    let first = asked("Ticket SHOP-1");
    let reply = stage.ask("discovery", &first).await.expect("first turn");
    assert_eq!(reply.text, "I look for the pricing code, then I answer.");
    assert_eq!(reply.inputs, r#"{"path":"shop/pricing.py"}"#);
    assert_eq!(reply.stop, "tool_use");
    assert!(reply.usage.1 == 0 && reply.usage.2 > 1024, "{reply:?}");
    assert_eq!(stage.bedrock.unused_turns(), ["conversation 1 (discovery, /SHOP-1/), turn 2"]);

    let second = stage.ask("discovery", &reply.then(&first, "def total(): ...")).await.expect("second turn");
    assert_eq!((second.text.as_str(), second.stop.as_str()), ("Found it.", "end_turn"));
    assert_eq!(second.usage.1, reply.usage.2);
    assert!(stage.bedrock.unused_turns().is_empty());
    assert!(stage.effects.unexpected().is_empty());
    let answered = stage.effects.of("bedrock", "turn.answered");
    assert_eq!(answered[1].target, "discovery");
    assert_eq!(answered[1].detail["turn"], 2);
    let requests = stage.bedrock.requests();
    assert_eq!((requests[1].model.as_str(), requests[1].conversation), (MODEL, Some(1)));
    assert_eq!(requests[1].metadata["run"], "ticket-SHOP-1/x/1");
}

#[tokio::test]
async fn the_same_request_again_gets_the_same_answer_and_is_recorded_as_a_repeat() {
    let stage = Stage::new(TWO_TURNS).await;
    let first = stage.ask("discovery", &asked("Ticket SHOP-1")).await.expect("answer");
    let again = stage.ask("discovery", &asked("Ticket SHOP-1")).await.expect("answer");
    assert_eq!((first.text, first.tools), (again.text, again.tools));
    let repeats = stage.effects.of("bedrock", "turn.repeated");
    assert_eq!(repeats.len(), 1);
    assert_eq!(repeats[0].detail["turn"], 1);
}

#[tokio::test]
async fn extra_turns_strangers_and_unmet_expectations_fail_loudly() {
    let stage = Stage::new(TWO_TURNS).await;
    let first = asked("Ticket SHOP-1");
    let reply = stage.ask("discovery", &first).await.expect("first turn");
    let (code, message) = stage.ask("discovery", &reply.then(&first, "nothing")).await.expect_err("expectation");
    assert_eq!(code, "ValidationException");
    assert!(message.contains("does not match /def total/"), "{message}");
    let longer = reply.then(&reply.then(&first, "def total"), "more");
    // The third request repeats a tool use id, which Bedrock itself would refuse.
    assert!(stage.ask("discovery", &longer).await.expect_err("id").1.contains("must be unique"));
    let (_, message) = stage.ask("planning", &first).await.expect_err("stranger");
    assert!(message.contains("scripted model: unexpected turn 1: no conversation is left for agent planning"));
    let (_, message) = stage.ask("discovery", &asked("Another SHOP-1 run")).await.expect_err("used up");
    assert!(message.contains("no conversation is left"), "{message}");
    assert_eq!(stage.effects.unexpected().len(), 4);
}

#[tokio::test]
async fn a_turn_beyond_the_script_fails_loudly() {
    let stage = Stage::new("conversations: [{agent: ci, turns: [{say: a, calls: [{tool: read_file}]}]}]").await;
    let first = asked("red");
    let reply = stage.ask("ci", &first).await.expect("first turn");
    let (_, message) = stage.ask("ci", &reply.then(&first, "log")).await.expect_err("second turn");
    assert_eq!(message, "scripted model: unexpected turn 2 of conversation 1 (ci), which has 1");
}

#[tokio::test]
async fn a_script_that_calls_a_tool_nobody_offered_fails_loudly() {
    let stage = Stage::new("conversations: [{agent: ci, turns: [{calls: [{tool: push}]}]}]").await;
    let (_, message) = stage.ask("ci", &asked("red")).await.expect_err("tool");
    assert!(message.contains("it calls `push`, but the request offers {\"read_file\"}"), "{message}");
}

#[tokio::test]
async fn faults_come_first_then_the_answer() {
    let stage = Stage::new(
        "
conversations:
  - {agent: a, turns: [{say: done, fault: {error: ThrottlingException, times: 2, retry_after: 1}}]}
  - {agent: b, turns: [{say: done, fault: {mid_stream: ModelStreamErrorException}}]}
  - {agent: c, turns: [{say: done, fault: {cut_after_bytes: 150}}]}
",
    )
    .await;
    for _ in 0..2 {
        assert_eq!(stage.ask("a", &asked("x")).await.expect_err("throttled").0, "ThrottlingException");
    }
    let broken = stage.ask("b", &asked("x")).await.expect_err("broken").0;
    assert!(broken.contains("ModelStreamErrorException(ModelStreamErrorException"), "{broken}");
    stage.ask("c", &asked("x")).await.expect_err("cut");
    for agent in ["a", "b", "c"] {
        assert_eq!(stage.ask(agent, &asked("x")).await.expect("answer").text, "done");
    }
    assert_eq!(stage.effects.of("bedrock", "turn.faulted").len(), 4);
    assert_eq!(stage.effects.of("bedrock", "turn.answered").len(), 3);
    assert!(stage.effects.unexpected().is_empty());
}

#[tokio::test]
async fn the_whole_answer_is_given_without_a_stream_too() {
    let stage = Stage::new("conversations: [{match: hello, turns: [{say: Good morning., stop: max_tokens}]}]").await;
    let sent = stage.client.converse().model_id(MODEL).messages(asked("hello")[0].clone()).send().await;
    let output = sent.expect("answer");
    assert_eq!(output.stop_reason.as_str(), "max_tokens");
    let message = output.output.expect("output").as_message().expect("message").clone();
    assert_eq!(message.content, [ContentBlock::Text("Good morning.".into())]);
}

#[tokio::test]
async fn a_wrong_secret_is_refused_before_anything_else() {
    let stage = Stage::new(TWO_TURNS).await;
    let stranger = client(&stage.url, "wrong");
    let sent = stranger.converse().model_id(MODEL).messages(asked("x")[0].clone()).send().await;
    assert_eq!(sent.expect_err("refused").code(), Some("InvalidSignatureException"));
    assert!(stage.bedrock.requests().is_empty());
}
