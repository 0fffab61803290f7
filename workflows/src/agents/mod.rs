//! The agents, as data: a prompt, a brief, tools, limits and the type of the answer. One loop runs them all.
//!
//! Adding an agent: a folder here, a variant of [`AgentName`], a row in [`spec`].

pub mod ci;
pub mod discovery;
pub mod execution;
#[cfg(test)]
mod hostile;
pub mod planning;
pub mod sentry;
pub mod slack;
mod survey;
pub mod toolbox;
pub mod untrusted;

use std::time::Duration;

use minijinja::{Environment, UndefinedBehavior};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::contract::agent::AgentName;
use crate::contract::money::MicroUsd;
use toolbox::Tool;

/// What every agent is told after its own prompt.
const RULES: &str = include_str!("rules.md");
/// What an agent is told beside its own change, before its answer counts.
pub const REVIEW: &str = include_str!("review.md");

/// Everything that makes an agent.
#[derive(Debug)]
pub struct AgentSpec {
    /// Its name.
    pub name: AgentName,
    /// Its own part of the system prompt, Markdown.
    pub prompt: &'static str,
    /// Template of the first message; its variables are the brief.
    pub brief: &'static str,
    /// The whole of what it can do, in the order the model sees.
    pub tools: &'static [&'static Tool],
    /// JSON schema of its answer.
    pub answer: fn() -> Value,
    /// It is shown its whole change once, when its answer fits, before the answer counts.
    pub reviews: bool,
    /// Faults of an answer beyond its schema, told so that the model can mend them.
    pub check: fn(answer: &Value, brief: &Value) -> Result<(), String>,
    /// Most model turns.
    pub turns: u32,
    /// Most active time.
    pub wall: Duration,
    /// What a run usually costs, for estimates.
    pub expected: MicroUsd,
}

/// The agent of that name.
pub fn spec(name: AgentName) -> &'static AgentSpec {
    match name {
        AgentName::Discovery => &discovery::SPEC,
        AgentName::Planning => &planning::SPEC,
        AgentName::Execution => &execution::SPEC,
        AgentName::Ci => &ci::SPEC,
        AgentName::Sentry => &sentry::SPEC,
        AgentName::Slack => &slack::SPEC,
    }
}

/// All agents.
pub const ALL: [AgentName; 6] = [
    AgentName::Discovery,
    AgentName::Planning,
    AgentName::Execution,
    AgentName::Ci,
    AgentName::Sentry,
    AgentName::Slack,
];

/// A prompt template and its variables do not fit: a bug of ours, shown with the template's name and line.
#[derive(Debug, thiserror::Error)]
#[error("brief of the {agent} agent: {source}")]
pub struct BriefError {
    agent: AgentName,
    #[source]
    source: minijinja::Error,
}

impl AgentSpec {
    /// The system prompt: the agent's own, then the rules of all.
    pub fn system(&self) -> String {
        format!("{}\n{RULES}", self.prompt)
    }

    /// Renders the first message. A variable that is missing is an error, never an empty string; untrusted text goes through
    /// the `untrusted` filter, what people who direct the work said through `quoted`.
    pub fn render_brief(&self, brief: &Value) -> Result<String, BriefError> {
        let fail = |source| BriefError { agent: self.name, source };
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.add_filter("untrusted", untrusted::fence);
        environment.add_filter("quoted", untrusted::quoted);
        environment.add_filter("surveyed", survey::surveyed);
        environment.add_template("brief.md", self.brief).map_err(fail)?;
        environment.get_template("brief.md").and_then(|template| template.render(brief)).map_err(fail)
    }

    /// The tool with this name, if the agent has it.
    pub fn tool(&self, name: &str) -> Option<&'static Tool> {
        self.tools.iter().copied().find(|tool| tool.name == name)
    }
}

/// Schema of `T` as a tool's input schema: no `$schema` and no title, keys in sorted order.
pub fn schema_of<T: schemars::JsonSchema>() -> Value {
    let mut settings = schemars::generate::SchemaSettings::draft07();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(object) = schema.as_object_mut() {
        object.remove("title");
    }
    schema
}

/// Decodes an answer into its type; the error says where it does not fit.
fn decode<T: DeserializeOwned>(answer: &Value) -> Result<T, String> {
    // serde would take a list for the fields of an object, in their order.
    if !answer.is_object() {
        return Err(match answer {
            // The adapter's own words about an answer that is too long, or the start of what does not parse.
            Value::String(text) => {
                format!("the answer is no JSON object: {}", text.chars().take(200).collect::<String>())
            }
            _ => "the answer is no JSON object".to_owned(),
        });
    }
    serde_json::from_value(answer.clone()).map_err(|error| format!("the answer does not fit its schema: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_agent_has_distinct_tools_whose_schemas_are_objects() {
        for name in ALL {
            let spec = spec(name);
            assert_eq!(spec.name, name);
            for (n, tool) in spec.tools.iter().enumerate() {
                assert_eq!((tool.input)()["type"], "object", "{name} {}", tool.name);
                assert!(spec.tools.iter().skip(n + 1).all(|other| other.name != tool.name), "{name} {}", tool.name);
            }
            assert_eq!((spec.answer)()["type"], "object", "{name}");
        }
    }

    #[test]
    fn a_missing_variable_is_an_error() {
        let error = spec(AgentName::Discovery).render_brief(&serde_json::json!({})).unwrap_err();
        assert!(error.to_string().contains("discovery"), "{error}");
    }
}
