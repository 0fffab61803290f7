//! The model script: what the stand-in answers, turn by turn. The file format is described in `SCRIPT.md`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, bail};
use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};

/// All conversations the stand-in can hold. An empty script answers nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// In order of preference among those that fit a request equally.
    pub conversations: Vec<Conversation>,
}

/// One agent run, from its first request to its last answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversation {
    /// Fits requests whose `requestMetadata.agent` is this.
    pub agent: Option<String>,
    /// Fits requests whose system text and first user text match this.
    #[serde(rename = "match")]
    pub matches: Option<Pattern>,
    /// May serve any number of runs; otherwise exactly one.
    #[serde(default)]
    pub repeat: bool,
    /// The model's messages, in order.
    pub turns: Vec<Turn>,
}

/// One message of the model.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Text block that comes first.
    pub say: Option<String>,
    /// Tool calls, in order, after the text.
    #[serde(default)]
    pub calls: Vec<Call>,
    /// What the last user message must match (its texts, tool results included); else the request is refused loudly.
    pub expect: Option<Pattern>,
    /// Milliseconds until the first token.
    #[serde(default)]
    pub delay_ms: u64,
    /// Milliseconds between two frames of the stream.
    #[serde(default)]
    pub pace_ms: u64,
    /// Stop reason; by default `tool_use` with calls and `end_turn` without.
    pub stop: Option<Stop>,
    /// The reply has no content at all.
    #[serde(default)]
    pub empty: bool,
    /// The reply has no call though the request forces one.
    #[serde(default)]
    pub unforced: bool,
    /// Token counts to report in place of the counted ones.
    pub usage: Option<Counts>,
    /// Where the answer stops until a test lets it go on.
    pub hold: Option<Hold>,
    /// Trouble before the turn is finally answered.
    pub fault: Option<Fault>,
}

/// Token counts that a turn reports in place of the counted ones; those that are absent stay as counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Tokens read at the full price.
    pub input: Option<usize>,
    /// Tokens of the answer.
    pub output: Option<usize>,
    /// Tokens served from the cache.
    pub cache_read: Option<usize>,
    /// Tokens stored in the cache.
    pub cache_write: Option<usize>,
}

/// A place in an answer at which the first request that comes there stops.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Name by which a test waits for it and lets it go; unique in the script.
    pub name: String,
    /// Which place.
    #[serde(default)]
    pub at: Moment,
}

/// A place in an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// The request is there, nothing was answered.
    #[default]
    Start,
    /// Half of the frames are out.
    Middle,
    /// Every byte is out, the connection is not closed.
    End,
}

/// One tool call.
#[derive(Default, Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Name of a tool the request offers.
    pub tool: String,
    /// Its input; `{$file: path}` anywhere inside stands for that file's text.
    #[serde(default)]
    pub input: Value,
    /// YAML or JSON file beside the script that holds the whole input instead.
    pub input_file: Option<String>,
    /// The input's text as it is streamed instead: broken JSON, a half input, a list.
    pub raw: Option<String>,
    /// Id of the call instead of one of its own: two calls may have the same.
    pub id: Option<String>,
    /// The tool need not be offered.
    #[serde(default)]
    pub unoffered: bool,
}

/// Why the model stopped (`StopReason` of the service model).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the service's own")]
pub enum Stop {
    EndTurn,
    ToolUse,
    MaxTokens,
    StopSequence,
    GuardrailIntervened,
    ContentFiltered,
    MalformedModelOutput,
    MalformedToolUse,
    ModelContextWindowExceeded,
}

impl Stop {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EndTurn => "end_turn",
            Self::ToolUse => "tool_use",
            Self::MaxTokens => "max_tokens",
            Self::StopSequence => "stop_sequence",
            Self::GuardrailIntervened => "guardrail_intervened",
            Self::ContentFiltered => "content_filtered",
            Self::MalformedModelOutput => "malformed_model_output",
            Self::MalformedToolUse => "malformed_tool_use",
            Self::ModelContextWindowExceeded => "model_context_window_exceeded",
        }
    }
}

/// Trouble before a turn is answered, `times` times.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Fault {
    /// An HTTP error instead of an answer.
    Error {
        /// Exception name, as `ThrottlingException`.
        error: String,
        /// How often before the answer.
        #[serde(default = "once")]
        times: u32,
        /// `retry-after` header, in seconds.
        retry_after: Option<u64>,
    },
    /// The stream starts and an exception event ends it.
    MidStream {
        /// Exception name, as `ModelStreamErrorException`.
        mid_stream: String,
        /// How often before the answer.
        #[serde(default = "once")]
        times: u32,
    },
    /// The stream starts and the connection is cut.
    Cut {
        /// Bytes sent before the cut.
        cut_after_bytes: usize,
        /// How often before the answer.
        #[serde(default = "once")]
        times: u32,
    },
    /// The stream starts and falls silent; the connection stays open.
    Silent {
        /// Bytes sent before the silence.
        silent_after_bytes: usize,
        /// How often before the answer.
        #[serde(default = "once")]
        times: u32,
    },
    /// The whole answer is sent, its first fragment damaged so that no client can decode it.
    Garbled {
        /// The damage.
        garbled: Garbling,
        /// How often before the answer.
        #[serde(default = "once")]
        times: u32,
    },
}

/// What is wrong with a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Garbling {
    /// Bytes that are no UTF-8.
    InvalidUtf8,
    /// Half of a surrogate pair, as when a character beyond the basic plane is cut in two.
    LoneSurrogate,
}

impl Fault {
    /// How often before the answer.
    pub fn times(&self) -> u32 {
        match self {
            Self::Error { times, .. }
            | Self::MidStream { times, .. }
            | Self::Cut { times, .. }
            | Self::Silent { times, .. }
            | Self::Garbled { times, .. } => *times,
        }
    }
}

fn once() -> u32 {
    1
}

/// HTTP status of each exception of the operation, from the service model.
pub(super) fn status_of(exception: &str) -> Option<u16> {
    Some(match exception {
        "ValidationException" => 400,
        "AccessDeniedException" => 403,
        "ResourceNotFoundException" => 404,
        "ModelTimeoutException" => 408,
        "ModelErrorException" | "ModelStreamErrorException" => 424,
        "ThrottlingException" | "ModelNotReadyException" => 429,
        "InternalServerException" => 500,
        "ServiceUnavailableException" => 503,
        _ => return None,
    })
}

/// A regular expression, searched anywhere in the text; `.` also matches line ends.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Whether the text contains a match.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let regex = regex::RegexBuilder::new(&text).dot_matches_new_line(true).build();
        regex.map(Self).map_err(serde::de::Error::custom)
    }
}

impl Script {
    /// Reads a script and the files it names. A script that cannot work is refused here, with the turn's place.
    pub fn load(path: impl AsRef<Path>) -> anyhow::Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).with_context(|| format!("model script {}", path.display()))?;
        let directory = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, directory).with_context(|| format!("model script {}", path.display()))
    }

    /// The same from text; files are looked up in `directory`.
    pub fn parse(text: &str, directory: &Path) -> anyhow::Result<Self> {
        let mut script: Self = serde_yaml_ng::from_str(text)?;
        let mut holds = BTreeSet::new();
        for (c, conversation) in script.conversations.iter_mut().enumerate() {
            if conversation.agent.is_none() && conversation.matches.is_none() {
                bail!("conversation {} has neither `agent` nor `match`", c + 1);
            }
            for (t, turn) in conversation.turns.iter_mut().enumerate() {
                let place = format!("conversation {}, turn {}", c + 1, t + 1);
                if let Some(hold) = &turn.hold
                    && !holds.insert(hold.name.clone())
                {
                    bail!("{place}: the hold `{}` is there twice", hold.name);
                }
                turn.complete(directory).with_context(|| place)?;
            }
        }
        Ok(script)
    }
}

impl Script {
    /// Names of all its holds.
    pub(super) fn holds(&self) -> impl Iterator<Item = &str> {
        let turns = self.conversations.iter().flat_map(|conversation| &conversation.turns);
        turns.filter_map(|turn| Some(turn.hold.as_ref()?.name.as_str()))
    }
}

impl Turn {
    fn complete(&mut self, directory: &Path) -> anyhow::Result<()> {
        let says_nothing = self.say.as_deref().is_none_or(str::is_empty) && self.calls.is_empty();
        if says_nothing && !self.empty {
            bail!("a turn needs `say` or `calls`, or `empty: true`");
        }
        if self.empty && !says_nothing {
            bail!("an empty turn says nothing and calls nothing");
        }
        if self.unforced && !self.calls.is_empty() {
            bail!("a turn with calls is not `unforced`");
        }
        if matches!(self.fault, Some(Fault::Garbled { .. })) && self.empty {
            bail!("an empty turn has no fragment that could be garbled");
        }
        if self.usage == Some(Counts { input: None, output: None, cache_read: None, cache_write: None }) {
            bail!("`usage` needs `input`, `output`, `cache_read` or `cache_write`");
        }
        if let Some(Fault::Error { error: name, .. } | Fault::MidStream { mid_stream: name, .. }) = &self.fault
            && status_of(name).is_none()
        {
            bail!("`{name}` is no exception of the service");
        }
        for call in &mut self.calls {
            let named = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            let is_name = call.tool.len() <= 64 && call.tool.chars().all(named);
            if call.tool.is_empty() || !(is_name || call.unoffered) {
                bail!("`{}` is no tool name", call.tool);
            }
            let inputs = [!call.input.is_null(), call.input_file.is_some(), call.raw.is_some()];
            if inputs.into_iter().filter(|given| *given).count() > 1 {
                bail!("`{}` has more than one of `input`, `input_file` and `raw`", call.tool);
            }
            if call.id.as_deref().is_some_and(|id| !(1..=64).contains(&id.len())) {
                bail!("the id of a call has 1 to 64 characters");
            }
            if let Some(file) = &call.input_file {
                let text = read(directory, file)?;
                // YAML 1.2 contains JSON, so one parser reads both.
                call.input = serde_yaml_ng::from_str(&text).with_context(|| file.clone())?;
            }
            insert_files(&mut call.input, directory)?;
            if call.input.is_null() {
                call.input = Value::Object(Map::new());
            }
            if !call.input.is_object() {
                bail!("the input of `{}` must be a mapping", call.tool);
            }
        }
        Ok(())
    }

    /// The reply leaves nothing that could be sent again: it is empty, or its text is blank.
    pub(super) fn leaves_no_message(&self) -> bool {
        self.calls.is_empty() && self.say.as_deref().is_none_or(|text| text.trim().is_empty())
    }

    /// The reply is of a kind that a request for a call may get: it stopped before a call could come.
    pub(super) fn may_lack_a_call(&self) -> bool {
        let stopped_early = !matches!(self.stop(), Stop::EndTurn | Stop::ToolUse | Stop::StopSequence);
        self.unforced || self.empty || stopped_early
    }

    /// Stop reason of the answer.
    pub fn stop(&self) -> Stop {
        self.stop.unwrap_or(if self.calls.is_empty() { Stop::EndTurn } else { Stop::ToolUse })
    }
}

fn insert_files(value: &mut Value, directory: &Path) -> anyhow::Result<()> {
    match value {
        Value::Object(map) => {
            if let (1, Some(Value::String(file))) = (map.len(), map.get("$file")) {
                *value = Value::String(read(directory, file)?);
                return Ok(());
            }
            map.values_mut().try_for_each(|inner| insert_files(inner, directory))
        }
        Value::Array(items) => items.iter_mut().try_for_each(|inner| insert_files(inner, directory)),
        _ => Ok(()),
    }
}

fn read(directory: &Path, file: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(directory.join(file)).with_context(|| format!("file {file} beside the script"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        format!("{:#}", Script::parse(text, Path::new(".")).expect_err("refused"))
    }

    #[test]
    fn files_beside_the_script_become_inputs() {
        let directory = tempfile::tempdir().expect("directory");
        std::fs::write(directory.path().join("answer.yaml"), "score: 0.9\nbody: {$file: body.txt}\n").expect("file");
        std::fs::write(directory.path().join("body.txt"), "two\nlines\n").expect("file");
        std::fs::write(
            directory.path().join("script.yaml"),
            "conversations:\n- agent: ci\n  turns:\n  - calls: [{tool: submit_answer, input_file: answer.yaml}]\n",
        )
        .expect("file");
        let script = Script::load(directory.path().join("script.yaml")).expect("script");
        let turn = &script.conversations[0].turns[0];
        assert_eq!(turn.calls[0].input, serde_json::json!({"score": 0.9, "body": "two\nlines\n"}));
        assert_eq!(turn.stop(), Stop::ToolUse);
    }

    #[test]
    fn a_script_that_cannot_work_is_refused_with_its_place() {
        let with = |turn: &str| format!("conversations: [{{agent: ci, turns: [{turn}]}}]");
        assert!(refused(&with("{}")).contains("conversation 1, turn 1: a turn needs `say` or `calls`"));
        assert!(refused(&with("{say: a, fault: {error: Oops}}")).contains("no exception of the service"));
        assert!(refused(&with("{say: a, expect: '('}")).contains("unclosed group"));
        assert!(refused(&with("{say: a, stop: tired}")).contains("unknown variant"));
        assert!(refused(&with("{calls: [{tool: 'read.file'}]}")).contains("no tool name"));
        assert!(refused(&with("{calls: [{tool: x, input: {a: {$file: gone.txt}}}]}")).contains("gone.txt"));
        assert!(refused(&with("{says: a}")).contains("unknown field"));
        assert!(refused(&with("{say: a, empty: true}")).contains("says nothing"));
        assert!(refused(&with("{calls: [{tool: x}], unforced: true}")).contains("not `unforced`"));
        assert!(refused(&with("{empty: true, fault: {garbled: invalid_utf8}}")).contains("no fragment"));
        assert!(refused(&with("{say: a, usage: {}}")).contains("`usage` needs"));
        assert!(refused(&with("{say: a, usage: {tokens: 1}}")).contains("unknown field"));
        assert!(refused(&with("{calls: [{tool: x, raw: '[', input: {a: 1}}]}")).contains("more than one of"));
        assert!(refused(&with("{calls: [{tool: x, id: ''}]}")).contains("1 to 64"));
        assert!(refused(&with("{say: a, hold: {name: h}}, {say: b, hold: {name: h}}")).contains("`h` is there twice"));
        assert!(refused(&with("{say: a, hold: {name: h, at: once}}")).contains("unknown variant"));
        assert!(refused("conversations: [{turns: []}]").contains("neither `agent` nor `match`"));
    }
}
