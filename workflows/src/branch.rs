//! Branch names as addresses: which ticket does `agent/SHOP-1/clamp-discounts-1a2b3c4d` belong to.
//!
//! Checks and pull requests are routed by the branch alone, so no table of branches exists. The template is the policy's
//! `conventions.branch`.

use std::str::FromStr;

use crate::contract::ids::{BranchName, TicketKey};

/// Length of a generation in a branch name, see [`crate::contract::ids::Generation`].
const GENERATION_DIGITS: usize = 8;

/// A template that can be read backwards. Placeholders: `{key}`, `{generation}`, and optionally `{slug}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchTemplate {
    parts: Vec<Part>,
}

/// What a branch name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OurBranch {
    /// The ticket it was made for.
    pub ticket: TicketKey,
    /// Which of the ticket's runs made it.
    pub generation: String,
    /// The branch itself.
    pub name: BranchName,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Key,
    Slug,
    Generation,
}

/// Why a template cannot be used. Speaks to the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("conventions.branch = {template:?} cannot be used: {reason}")]
pub struct InvalidTemplate {
    template: String,
    reason: String,
}

impl FromStr for BranchTemplate {
    type Err = InvalidTemplate;

    fn from_str(template: &str) -> Result<Self, InvalidTemplate> {
        let invalid = |reason: String| InvalidTemplate { template: template.to_owned(), reason };
        let parts = split(template).map_err(invalid)?;
        for (part, name) in [(Part::Key, "{key}"), (Part::Generation, "{generation}")] {
            match parts.iter().filter(|p| **p == part).count() {
                1 => {}
                0 => return Err(invalid(format!("it lacks {name}, so checks could not be routed to their ticket"))),
                _ => return Err(invalid(format!("it has {name} more than once"))),
            }
        }
        if parts.windows(2).any(|pair| !pair.iter().any(|part| matches!(part, Part::Literal(_)))) {
            return Err(invalid("two placeholders touch: put a - or / between them".into()));
        }
        let example = template.replace("{key}", "A-1").replace("{slug}", "s").replace("{generation}", "00000000");
        if let Err(error) = example.parse::<BranchName>() {
            return Err(invalid(error.to_string()));
        }
        Ok(Self { parts })
    }
}

impl BranchTemplate {
    /// Reads a branch name; `None`: not one of ours.
    pub fn read(&self, branch: &str) -> Option<OurBranch> {
        let name: BranchName = branch.parse().ok()?;
        let mut found = Found::default();
        if !fits(&self.parts, branch, &mut found) {
            return None;
        }
        Some(OurBranch { ticket: found.key?, generation: found.generation?, name })
    }
}

#[derive(Default)]
struct Found {
    key: Option<TicketKey>,
    generation: Option<String>,
}

/// Depth-first over the few ways to cut `rest`. A branch name has at most 200 bytes, all ASCII.
fn fits(parts: &[Part], rest: &str, found: &mut Found) -> bool {
    let Some((part, parts)) = parts.split_first() else { return rest.is_empty() };
    match part {
        Part::Literal(text) => rest.strip_prefix(text.as_str()).is_some_and(|rest| fits(parts, rest, found)),
        Part::Generation => {
            let Some((text, rest)) = rest.split_at_checked(GENERATION_DIGITS) else { return false };
            let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if hex && fits(parts, rest, found) {
                found.generation = Some(text.to_owned());
                return true;
            }
            false
        }
        Part::Key => (1..=rest.len()).rev().any(|length| {
            let Some((text, rest)) = rest.split_at_checked(length) else { return false };
            match text.parse::<TicketKey>() {
                Ok(key) if fits(parts, rest, found) => {
                    found.key = Some(key);
                    true
                }
                _ => false,
            }
        }),
        Part::Slug => {
            let longest = rest.find('/').unwrap_or(rest.len());
            (0..=longest).rev().any(|length| rest.get(length..).is_some_and(|rest| fits(parts, rest, found)))
        }
    }
}

fn split(template: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(start) = rest.find(['{', '}']) {
        let (literal, tail) = rest.split_at(start);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.to_owned()));
        }
        let inner = tail.strip_prefix('{').ok_or("a } without its {")?;
        let (name, after) = inner.split_once('}').ok_or("a { without its }")?;
        parts.push(match name {
            "key" => Part::Key,
            "slug" => Part::Slug,
            "generation" => Part::Generation,
            other => return Err(format!("{{{other}}} is unknown: there are {{key}}, {{slug}} and {{generation}}")),
        });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use crate::contract::ids::Generation;
    use crate::contract::policy::Policy;

    use super::*;

    fn read(template: &str, branch: &str) -> Option<(String, String)> {
        let template: BranchTemplate = template.parse().unwrap();
        template.read(branch).map(|ours| (ours.ticket.to_string(), ours.generation))
    }

    #[test]
    fn a_branch_made_by_the_default_template_is_read_back() {
        let template = Policy::default().conventions.branch;
        let generation = Generation::of_event("jira-1").to_string();
        for slug in ["clamp", "clamp-discounts-at-the-line-price", "a-1b2c3d4e", "x"] {
            let branch = template.replace("{key}", "SHOP-12").replace("{slug}", slug);
            let branch = branch.replace("{generation}", &generation);
            assert_eq!(read(&template, &branch), Some(("SHOP-12".into(), generation.clone())), "{branch}");
        }
    }

    #[test]
    fn branches_of_people_are_not_ours() {
        let template = "agent/{key}/{slug}-{generation}";
        for branch in [
            "main",
            "SHOP-1",
            "agent/SHOP-1",
            "agent/shop-1/x-1a2b3c4d",
            "agent/SHOP-0/x-1a2b3c4d",
            "agent/SHOP-1/x-1a2b3c4",
            "agent/SHOP-1/x-1A2B3C4D",
            "agent/SHOP-1/x-1a2b3c4d/y",
            "agent/SHOP-1/x/y-1a2b3c4d",
            "x/agent/SHOP-1/x-1a2b3c4d",
            "agent/SHOP-1/ü-1a2b3c4d",
            "",
        ] {
            assert_eq!(read(template, branch), None, "{branch}");
        }
    }

    #[test]
    fn other_templates_work_too() {
        for (template, branch) in [
            ("{key}-{generation}", "SHOP-1-1a2b3c4d"),
            ("bot/{generation}/{key}", "bot/1a2b3c4d/SHOP-1"),
            ("{slug}/{key}.{generation}", "a-b/SHOP-1.1a2b3c4d"),
            ("{slug}-{key}-{generation}-x", "fix-SHOP-9-it-SHOP-1-1a2b3c4d-x"),
        ] {
            assert_eq!(read(template, branch), Some(("SHOP-1".into(), "1a2b3c4d".into())), "{template}");
        }
    }

    #[test]
    fn a_template_that_cannot_be_read_back_is_refused_with_the_reason() {
        for (template, reason) in [
            ("agent/{key}/{slug}", "lacks {generation}"),
            ("agent/{slug}-{generation}", "lacks {key}"),
            ("{key}/{key}-{generation}", "more than once"),
            ("{key}{generation}", "touch"),
            ("{key}/{name}-{generation}", "{name} is unknown"),
            ("{key}/{generation", "without its }"),
            ("{key}/}{generation}", "without its {"),
            ("/{key}/{generation}", "not a valid branch name"),
            ("a b/{key}/{generation}", "not a valid branch name"),
        ] {
            let error = template.parse::<BranchTemplate>().unwrap_err().to_string();
            assert!(error.contains(reason), "{template}: {error}");
        }
    }
}
