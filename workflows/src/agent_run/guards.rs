//! What keeps a model from running for ever: limits of turns and time, a look for repeated calls, the room of a conversation,
//! and what its ways to stop mean.

use std::time::Duration;

use crate::agents::AgentSpec;
use crate::contract::ids::Digest;
use crate::contract::model::{CallOutput, CallResult};
use crate::contract::policy::ModelChoice;
use crate::contract::status::{AgentProgress, SeenCall};
use crate::contract::tools::ToolCall;
use crate::kit::Failure;

/// The same call with the same result: so often, and the model is told.
pub(super) const REPEATS_TOLD: u32 = 3;
/// So often, and the agent is stopped.
pub(super) const REPEATS: u32 = 5;
/// Hand-overs of one run. A task that alone fills its model would be handed over for ever.
pub(super) const HAND_OVERS: u32 = 8;
/// Requests for a hand-over in a row before the agent gives up.
pub(super) const VAIN_HAND_OVERS: u32 = 3;
/// Calls that are remembered. A model that gets stuck does so with few.
const SEEN: usize = 32;
/// Turns before the last one at which the model is told.
const LAST_TURNS: u32 = 3;

/// Why the agent has to stop, if it has to.
pub(super) fn limit_reached(spec: &AgentSpec, progress: &AgentProgress) -> Option<String> {
    let (turns, seconds) = (progress.turns, progress.active_seconds);
    if turns >= spec.turns {
        Some(format!("{turns} model turns without an answer"))
    } else if seconds >= spec.wall.as_secs() {
        Some(format!("{} min of work without an answer", seconds / 60))
    } else {
        None
    }
}

/// Turns that it may still take.
pub(super) fn turns_left(spec: &AgentSpec, progress: &AgentProgress) -> u32 {
    spec.turns.saturating_sub(progress.turns)
}

/// Time that counts as work: what was counted before, and the time since then without the waits for money in it.
pub(super) fn worked(active_seconds: u64, since: Duration, waited_seconds: u64) -> Duration {
    Duration::from_secs(active_seconds) + since.saturating_sub(Duration::from_secs(waited_seconds))
}

/// Said with the second request for a hand-over.
pub(super) const NOTES_AGAIN: &str = "Your last reply gave no notes, or they were cut. Call hand_over alone, with the most \
    important things in at most 1,500 words.";

/// A word to the model before its turns run out.
pub(super) fn last_turns(spec: &AgentSpec, progress: &AgentProgress) -> Option<String> {
    let left = turns_left(spec, progress);
    (left <= LAST_TURNS).then(|| match left {
        1 => "This is your last turn. Submit your answer now, with what you have.".to_owned(),
        _ => format!("{left} turns are left, this one included. Come to an end and submit your answer."),
    })
}

/// The conversation fills six tenths of what the model can hold: results of one turn and a reply still fit in.
pub(super) fn is_full(model: &ModelChoice, progress: &AgentProgress) -> bool {
    progress.context_tokens.saturating_mul(10) > u64::from(model.context_tokens) * 6
}

/// How long to wait after a failure: what the service asks for, else a random part of `wait`, so that many agents do not come
/// back at once. `random`: any number.
pub(super) fn pause(failure: &Failure, wait: Duration, random: u64) -> Duration {
    let spread = |most: Duration| Duration::from_millis(random % (most.as_millis().try_into().unwrap_or(1000)).max(1));
    match failure.retry_after {
        Some(asked) => (asked + spread(asked / 10)).max(wait / 2),
        None => wait / 2 + spread(wait / 2),
    }
}

/// What makes two calls with their results the same.
pub(super) fn sameness(call: &ToolCall, result: &CallResult) -> Digest {
    let output = match &result.output {
        CallOutput::Blob(digest) => digest.as_str(),
        CallOutput::Text(text) => text,
    };
    Digest::of(format!("{}\n{}\n{output}", call.name, call.input))
}

/// Notes a call with its result; says how often both came.
pub(super) fn count(seen: &mut Vec<SeenCall>, what: &Digest) -> u32 {
    let times = match seen.iter().position(|known| known.what == *what) {
        Some(at) => seen.remove(at).times + 1,
        None => 1,
    };
    seen.push(SeenCall { what: what.clone(), times });
    if seen.len() > SEEN {
        seen.remove(0);
    }
    times
}

/// Why a reply that the service stopped is the end, in words for people.
pub(super) fn stopped_by_service(stop: &str) -> Option<&'static str> {
    match stop {
        "guardrail_intervened" => Some(
            "the Bedrock guardrail stopped the model's reply. Look at the ticket's text and the guardrail's trace, then retry",
        ),
        "content_filtered" | "refusal" => {
            Some("the model refused to answer. Look at the ticket's text, change what it may object to, then retry")
        }
        _ => None,
    }
}

/// What a model is told whose reply was cut after some calls.
pub(super) const CUT_CALLS: &str =
    "Your reply was cut at its length limit. What came before the cut was run; say the rest again, in smaller steps.";

/// What a model is told whose reply has no call that can be run, by why it stopped.
pub(super) fn without_call(stop: &str) -> &'static str {
    match stop {
        "max_tokens" => {
            "Your reply was cut at its length limit, so nothing of it was run. Go on in smaller steps, with a tool call."
        }
        "model_context_window_exceeded" => {
            "Your reply was cut because the conversation is too long. Ask for less at once, with a tool call."
        }
        "malformed_model_output" | "malformed_tool_use" => {
            "Your reply could not be read. Say it again, with a tool call whose input is a JSON object."
        }
        _ => "Your reply had no tool call. Use a tool, or finish with submit_answer.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents;
    use crate::contract::agent::AgentName;
    use crate::contract::failure::FailureKind;
    use crate::contract::policy::Policy;

    #[test]
    fn the_model_hears_of_its_last_turns_and_is_stopped_after_them() {
        let spec = agents::spec(AgentName::Slack);
        let at = |turns| AgentProgress { turns, ..AgentProgress::default() };
        assert_eq!(last_turns(spec, &at(spec.turns - 4)), None);
        assert!(last_turns(spec, &at(spec.turns - 3)).unwrap().starts_with("3 turns are left"));
        assert!(last_turns(spec, &at(spec.turns - 1)).unwrap().contains("last turn"));
        assert_eq!(limit_reached(spec, &at(spec.turns - 1)), None);
        assert!(limit_reached(spec, &at(spec.turns)).unwrap().contains("without an answer"));
        let late = AgentProgress { active_seconds: spec.wall.as_secs(), ..AgentProgress::default() };
        assert!(limit_reached(spec, &late).unwrap().contains("min of work"));
    }

    #[test]
    fn a_wait_for_money_is_no_work_however_long() {
        let seconds = Duration::from_secs;
        assert_eq!(worked(60, seconds(7_205), 7_200), seconds(65));
        assert_eq!(worked(60, seconds(10), 0), seconds(70));
        assert_eq!(worked(0, seconds(5), 9), seconds(0));
    }

    #[test]
    fn a_conversation_is_full_at_six_tenths() {
        let model = Policy::default().models["execution"].clone();
        let with = |context_tokens| AgentProgress { context_tokens, ..AgentProgress::default() };
        assert!(!is_full(&model, &with(120_000)));
        assert!(is_full(&model, &with(120_001)));
    }

    #[test]
    fn waits_are_spread_and_never_shorter_than_asked() {
        let asked = |retry_after| Failure { retry_after, ..Failure::new(FailureKind::RateLimited, "") };
        let seconds = Duration::from_secs;
        for random in [0, 1, 999, 1000, u64::MAX] {
            let own = pause(&asked(None), seconds(8), random);
            assert!((seconds(4)..seconds(8)).contains(&own), "{own:?}");
            let theirs = pause(&asked(Some(seconds(20))), seconds(8), random);
            assert!((seconds(20)..seconds(22)).contains(&theirs), "{theirs:?}");
            assert_eq!(pause(&asked(Some(seconds(0))), seconds(8), random), seconds(4), "nobody asks again at once");
        }
    }

    #[test]
    fn only_the_same_call_with_the_same_result_counts() {
        let call = |name: &str, input: &str| ToolCall {
            id: "x".into(),
            name: name.into(),
            input: Digest::of(input),
            label: String::new(),
        };
        let result = |text: &str| CallResult { id: "x".into(), output: CallOutput::Text(text.into()), is_error: false };
        let mut seen = Vec::new();
        let mut count =
            |name: &str, input: &str, text: &str| count(&mut seen, &sameness(&call(name, input), &result(text)));
        assert_eq!(count("a", "1", "r"), 1);
        assert_eq!(count("a", "1", "r"), 2);
        assert_eq!(count("a", "1", "other"), 1);
        assert_eq!(count("a", "2", "r"), 1);
        assert_eq!(count("b", "1", "r"), 1);
        assert_eq!(count("a", "1", "r"), 3);
        for n in 0..100 {
            count("a", &n.to_string(), "r");
        }
        assert_eq!(seen.len(), SEEN);
    }
}
