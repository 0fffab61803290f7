//! Which turn of the script answers which request.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::request::offered_tools;
use super::script::{Conversation, Counts, Fault, Hold, Script, Turn};
use super::stream::Block;

/// The script and how far each of its conversations got.
#[derive(Debug, Default)]
pub(super) struct Book {
    script: Script,
    /// Identity of a run (see [`identity`]) to the conversation it holds.
    bound: HashMap<[u8; 32], Bound>,
    /// Turns answered per run.
    answered: HashMap<[u8; 32], BTreeMap<usize, Answered>>,
    /// How often a turn's fault was played, per run.
    faults: HashMap<([u8; 32], usize), u32>,
    /// Turns answered in any run.
    used: BTreeSet<(usize, usize)>,
}

/// The conversation of a run.
#[derive(Debug)]
struct Bound {
    /// Its number.
    conversation: usize,
    /// The run's first user message.
    first: String,
    /// All that identifies the run but the first message.
    source: [u8; 32],
}

/// A turn that was answered.
#[derive(Debug)]
struct Answered {
    /// Digest of the body it answered.
    body: [u8; 32],
    /// Digest of what it says, whatever the order of its keys.
    saying: [u8; 32],
    /// Assistant messages in that body.
    before: usize,
}

/// What the script says to a request.
#[derive(Debug)]
pub(super) struct Asked {
    pub conversation: Option<usize>,
    /// From 0.
    pub turn: usize,
    pub outcome: Outcome,
    pub content: Vec<Block>,
    pub stop: &'static str,
    pub delay: Duration,
    pub pace: Duration,
    pub hold: Option<Hold>,
    pub counts: Option<Counts>,
}

#[derive(Debug)]
pub(super) enum Outcome {
    /// `again`: the turn had been answered before; whether for the same bytes.
    Answered {
        again: Option<bool>,
    },
    Faulted(Fault),
    Refused(String),
}

impl Book {
    pub(super) fn new(script: Script) -> Self {
        Self { script, ..Self::default() }
    }

    /// Finds the turn for a checked request and notes that it was used.
    pub(super) fn ask(&mut self, body: &Value, bytes: &[u8]) -> Asked {
        let run = self.run_of(body);
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        let before = assistant_messages(body);
        // Clients may order the keys of a request anew each time: what counts as the same request is what it says.
        let saying: [u8; 32] = Sha256::digest(body.to_string()).into();
        let turn = self.turn_of(&run, before, &saying);
        let mut asked = Asked {
            conversation: None,
            turn,
            outcome: Outcome::Answered { again: None },
            content: Vec::new(),
            stop: "end_turn",
            delay: Duration::ZERO,
            pace: Duration::ZERO,
            hold: None,
            counts: None,
        };
        let agent = body.pointer("/requestMetadata/agent").and_then(Value::as_str);
        let Some(number) = self.bound.get(&run).map(|bound| bound.conversation).or_else(|| self.pick(agent, body))
        else {
            asked.outcome = Outcome::Refused(format!(
                "unexpected turn {}: no conversation is left for agent {}",
                turn + 1,
                agent.unwrap_or("(none named)"),
            ));
            return asked;
        };
        asked.conversation = Some(number);
        let conversation = &self.script.conversations[number];
        let reviewed = conversation.turns.last().filter(|_| turn == conversation.turns.len() && asks_for_review(body));
        let reviewed = reviewed.map(|last| Turn { calls: last.calls.clone(), ..Turn::default() });
        let Some(scripted) = conversation.turns.get(turn).or(reviewed.as_ref()) else {
            asked.outcome = Outcome::Refused(format!(
                "unexpected turn {} of {}, which has {}",
                turn + 1,
                title(number, conversation),
                conversation.turns.len()
            ));
            return asked;
        };
        let refusal = check(scripted, body)
            .map(|problem| format!("{}, turn {}: {problem}", title(number, conversation), turn + 1));
        let bound = || Bound { conversation: number, first: first_message(body), source: source(body) };
        self.bound.entry(run).or_insert_with(bound);
        if let Some(problem) = refusal {
            asked.outcome = Outcome::Refused(problem);
            return asked;
        }
        asked.stop = scripted.stop().as_str();
        asked.delay = Duration::from_millis(scripted.delay_ms);
        asked.pace = Duration::from_millis(scripted.pace_ms);
        asked.hold.clone_from(&scripted.hold);
        asked.counts = scripted.usage;
        asked.content = scripted.say.iter().map(|text| Block::Text(text.clone())).collect();
        asked.content.extend(scripted.calls.iter().enumerate().map(|(index, call)| {
            // The same request must get the same answer after a crash, ids included.
            let own_id = || {
                let place = [turn.to_be_bytes(), index.to_be_bytes()].concat();
                format!("tooluse_{}", hex::encode(&Sha256::digest([&run[..], &place].concat())[..11]))
            };
            Block::Call {
                id: call.id.clone().unwrap_or_else(own_id),
                tool: call.tool.clone(),
                input: call.raw.clone().unwrap_or_else(|| call.input.to_string()),
            }
        }));
        let played = self.faults.entry((run, turn)).or_default();
        if let Some(fault) = &scripted.fault
            && *played < fault.times()
        {
            *played += 1;
            asked.outcome = Outcome::Faulted(fault.clone());
            return asked;
        }
        let earlier = self.answered.entry(run).or_default().insert(turn, Answered { body: digest, saying, before });
        self.used.insert((number, turn));
        asked.outcome = Outcome::Answered { again: earlier.map(|earlier| earlier.body == digest) };
        asked
    }

    /// Which turn a request asks for: the one after those it shows, and after empty replies, which leave no message that it
    /// could show. A request that was answered before asks for the same turn again.
    fn turn_of(&self, run: &[u8; 32], before: usize, saying: &[u8; 32]) -> usize {
        let Some(answered) = self.answered.get(run) else { return before };
        if let Some((turn, _)) = answered.iter().find(|(_, turn)| turn.saying == *saying) {
            return *turn;
        }
        let Some((turn, last)) = answered.iter().rev().find(|(_, turn)| turn.before <= before) else { return before };
        match before - last.before {
            0 if self.leaves_no_message(run, *turn) => turn + 1,
            shown => turn + shown,
        }
    }

    /// Identity of the request's run. An empty reply to the first message leaves no trace but a longer first message.
    fn run_of(&self, body: &Value) -> [u8; 32] {
        let run = identity(body);
        if self.bound.contains_key(&run) {
            return run;
        }
        let (source, first) = (source(body), first_message(body));
        let begun_empty = self.bound.iter().find(|(run, bound)| {
            let was_answered = self.answered.get(*run).is_some_and(|turns| turns.contains_key(&0));
            let began_empty = was_answered && self.leaves_no_message(run, 0);
            bound.source == source && began_empty && first.starts_with(&bound.first)
        });
        begun_empty.map_or(run, |(run, _)| *run)
    }

    /// The script has a reply there that no later request can show.
    fn leaves_no_message(&self, run: &[u8; 32], turn: usize) -> bool {
        let conversation = self.bound.get(run).and_then(|bound| self.script.conversations.get(bound.conversation));
        conversation.and_then(|conversation| conversation.turns.get(turn)).is_some_and(Turn::leaves_no_message)
    }

    /// The first conversation that fits and is free.
    fn pick(&self, agent: Option<&str>, body: &Value) -> Option<usize> {
        let text = opening(body);
        let taken: BTreeSet<usize> = self.bound.values().map(|bound| bound.conversation).collect();
        self.script.conversations.iter().enumerate().find_map(|(number, conversation)| {
            let free = conversation.repeat || !taken.contains(&number);
            let by_agent = match (&conversation.agent, agent) {
                (Some(wanted), Some(agent)) => wanted == agent,
                // A request that names no agent can only be recognised by its text.
                (Some(_), None) => conversation.matches.is_some(),
                (None, _) => true,
            };
            let by_text = conversation.matches.as_ref().is_none_or(|pattern| pattern.is_match(&text));
            (free && by_agent && by_text).then_some(number)
        })
    }

    pub(super) fn unused_turns(&self) -> Vec<String> {
        let mut unused = Vec::new();
        for (number, conversation) in self.script.conversations.iter().enumerate() {
            for turn in 0..conversation.turns.len() {
                if !self.used.contains(&(number, turn)) {
                    unused.push(format!("{}, turn {}", title(number, conversation), turn + 1));
                }
            }
        }
        unused
    }
}

fn title(number: usize, conversation: &Conversation) -> String {
    let agent = conversation.agent.as_deref().unwrap_or("any agent");
    match &conversation.matches {
        Some(pattern) => format!("conversation {} ({agent}, /{}/)", number + 1, pattern.as_str()),
        None => format!("conversation {} ({agent})", number + 1),
    }
}

/// Whether a scripted turn makes sense as the answer to this request.
fn check(turn: &Turn, body: &Value) -> Option<String> {
    if let Some(pattern) = &turn.expect {
        let last = body["messages"].as_array().and_then(|messages| messages.last()).map(texts).unwrap_or_default();
        if !pattern.is_match(&last) {
            return Some(format!("the last user message does not match /{}/:\n{last}", pattern.as_str()));
        }
    }
    let offered = offered_tools(body);
    if let Some(call) = turn.calls.iter().find(|call| !call.unoffered && !offered.contains(call.tool.as_str())) {
        return Some(format!("it calls `{}`, but the request offers {offered:?}", call.tool));
    }
    if let Some(call) = turn.calls.iter().find(|call| call.unoffered && offered.contains(call.tool.as_str())) {
        return Some(format!("`{}` is called as `unoffered`, but the request offers it", call.tool));
    }
    let choice = &body["toolConfig"]["toolChoice"];
    if turn.unforced && choice.get("any").is_none() && choice.get("tool").is_none() {
        return Some("the turn is `unforced`, but the request forces no call".into());
    }
    if turn.may_lack_a_call() && turn.calls.is_empty() {
        return None;
    }
    match choice.pointer("/tool/name").and_then(Value::as_str) {
        Some(forced) if turn.calls.is_empty() || turn.calls.iter().any(|call| call.tool != forced) => {
            Some(format!("the request forces `{forced}`"))
        }
        None if choice.get("any").is_some() && turn.calls.is_empty() => {
            Some("the request forces a tool call, the turn has none".into())
        }
        _ => None,
    }
}

/// A run is known by its agent, run id, system prompt and first user message, none of which change while it runs.
fn identity(body: &Value) -> [u8; 32] {
    Sha256::digest([&source(body)[..], first_message(body).as_bytes()].concat()).into()
}

/// What is known of a run beside its first message.
fn source(body: &Value) -> [u8; 32] {
    let known =
        json!([body.pointer("/requestMetadata/agent"), body.pointer("/requestMetadata/run"), body.get("system")]);
    Sha256::digest(known.to_string()).into()
}

/// Its texts: cache points wander from turn to turn and are no part of what was said.
fn first_message(body: &Value) -> String {
    body.pointer("/messages/0").map(texts).unwrap_or_default()
}

/// System text and first user text, which `match` is tried on.
fn opening(body: &Value) -> String {
    format!("{}\n{}", texts(&body["system"]), texts(&body["messages"][0]))
}

/// All texts inside a value, tool results and their JSON included, one per line.
fn texts(value: &Value) -> String {
    match value {
        Value::Object(map) => map
            .iter()
            .filter_map(|(key, value)| match (key.as_str(), value) {
                ("text", Value::String(text)) => Some(text.clone()),
                ("json", value) => Some(value.to_string()),
                (_, Value::Object(_) | Value::Array(_)) => Some(texts(value)),
                _ => None,
            })
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("\n"),
        Value::Array(items) => items.iter().map(texts).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

/// The last message shows an agent its change, before its answer counts.
fn asks_for_review(body: &Value) -> bool {
    let last = body["messages"].as_array().and_then(|messages| messages.last()).map(texts).unwrap_or_default();
    last.contains(workflows::agents::REVIEW.trim())
}

fn assistant_messages(body: &Value) -> usize {
    let messages = body["messages"].as_array();
    messages.into_iter().flatten().filter(|message| message["role"] == "assistant").count()
}
