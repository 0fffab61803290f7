//! A conversation that fills what its model can hold begins anew with notes that the model makes of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use workflows::agents::{schema_of, untrusted};

/// Longest notes, in characters.
const LONGEST: usize = 32_000;

/// What goes over into the new conversation. The task itself does without the model's help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HandOver {
    /// What was done and found out so far, with paths, names and figures.
    pub done: String,
    /// What was decided, and why. What people said to mind, word for word.
    pub decisions: String,
    /// What is not known yet, and what was tried in vain.
    pub open_questions: String,
    /// What to do next, in order.
    pub next_steps: String,
}

/// What the model is told about the tool. It stands in every request: another list of tools would lose the cached prefix.
pub(super) const DESCRIPTION: &str =
    "Write down all you need to go on, when you are asked for a hand-over. Never otherwise.";

/// How the model is asked.
pub(super) const REQUEST: &str = "This conversation is about to fill what you can hold. It is cut here and goes on with your \
    task and with the notes that you make now; everything else is lost to you. Call hand_over, and nothing else.";

/// Schema of the tool's input.
pub(super) fn schema() -> Value {
    schema_of::<HandOver>()
}

/// The notes as the model reads them.
pub(super) fn as_text(notes: &HandOver) -> String {
    let HandOver { done, decisions, open_questions, next_steps } = notes;
    let text = format!(
        "## Done\n{done}\n\n## Decisions\n{decisions}\n\n## Open questions\n{open_questions}\n\n## Next steps\n{next_steps}"
    );
    // What was read in the conversation may stand in them again, word for word.
    let fenced = untrusted::fence_first(&text, "your own notes", LONGEST);
    format!("The conversation was cut here, because it filled what you can hold. These are your notes of it.\n{fenced}")
}
