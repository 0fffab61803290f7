//! Tickets as Markdown files with front matter; the format is described in `samples/tickets/README.md`.

use anyhow::Context;
use serde::Deserialize;

/// What a person fills in when they write a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewIssue {
    /// Key it must get; otherwise the next free one.
    #[serde(default)]
    pub key: Option<String>,
    /// Title.
    pub summary: String,
    /// Description in Markdown.
    #[serde(skip)]
    pub description_markdown: String,
    /// Labels, without spaces.
    #[serde(default)]
    pub labels: Vec<String>,
    /// `Highest`, `High`, `Medium`, `Low` or `Lowest`.
    #[serde(default = "medium")]
    pub priority: String,
    /// Name of the person who writes it.
    #[serde(default = "bo")]
    pub reporter: String,
    /// `Task`, `Bug` or `Story`.
    #[serde(default = "bug", rename = "type")]
    pub issue_type: String,
}

fn medium() -> String {
    "Medium".into()
}

fn bo() -> String {
    "bo".into()
}

fn bug() -> String {
    "Bug".into()
}

impl NewIssue {
    /// A bug without labels, of medium priority, written by Bo.
    pub fn new(summary: impl Into<String>, description_markdown: impl Into<String>) -> Self {
        Self {
            key: None,
            summary: summary.into(),
            description_markdown: description_markdown.into(),
            labels: Vec::new(),
            priority: medium(),
            reporter: bo(),
            issue_type: bug(),
        }
    }

    /// The same with a label.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.labels.push(label.into());
        self
    }

    /// Reads a ticket file.
    pub fn load(path: impl AsRef<std::path::Path>) -> anyhow::Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).with_context(|| format!("ticket {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("ticket {}", path.display()))
    }

    /// The same from text.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let (front, body) = text
            .strip_prefix("---\n")
            .and_then(|rest| rest.split_once("\n---\n"))
            .context("a ticket begins with front matter between two lines of three dashes")?;
        let mut ticket: Self = serde_yaml_ng::from_str(front)?;
        body.trim().clone_into(&mut ticket.description_markdown);
        Ok(ticket)
    }

    /// Project part of the key.
    pub fn project(&self) -> Option<&str> {
        self.key.as_deref()?.rsplit_once('-').map(|(project, _)| project)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_front_matter_and_body() {
        let ticket =
            NewIssue::parse("---\nkey: SHOP-1\nsummary: Wrong\nlabels: [cart]\n---\n\nBody\n").expect("ticket");
        let expected = NewIssue { key: Some("SHOP-1".into()), ..NewIssue::new("Wrong", "Body").label("cart") };
        assert_eq!(ticket, expected);
        assert_eq!(ticket.project(), Some("SHOP"));
        assert!(NewIssue::parse("no front matter").is_err());
        assert!(NewIssue::parse("---\nsummary: x\nlables: []\n---\n").is_err());
    }
}
