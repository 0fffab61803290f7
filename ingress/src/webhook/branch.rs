//! Finds the ticket in the name of one of our branches: no lookup table exists.

use workflows::contract::ids::TicketKey;

/// The branch template, `agent/{key}/{slug}-{generation}` by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchTemplate {
    before_key: String,
    after_key: String,
}

/// A template without the parts that routing needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the branch template {0:?} must contain {{key}} and {{generation}}, with a character other than a letter, digit or - after {{key}}")]
pub struct BadTemplate(String);

impl BranchTemplate {
    /// Reads a template of the policy.
    pub fn new(template: &str) -> Result<Self, BadTemplate> {
        let bad = || BadTemplate(template.to_owned());
        let (before, after) = template.split_once("{key}").ok_or_else(bad)?;
        let separated = after.starts_with(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '{' && c != '_');
        if !separated || !template.contains("{generation}") || before.contains('{') {
            return Err(bad());
        }
        let after_key: String = after.chars().take_while(|&c| c != '{').collect();
        Ok(Self { before_key: before.to_owned(), after_key })
    }

    /// The ticket of a branch that has our form.
    pub fn ticket(&self, branch: &str) -> Option<TicketKey> {
        let rest = branch.strip_prefix(self.before_key.as_str())?;
        let (key, _) = rest.split_once(self.after_key.as_str())?;
        key.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_key_from_our_branches_only() {
        let template = BranchTemplate::new("agent/{key}/{slug}-{generation}").unwrap();
        assert_eq!(template.ticket("agent/SHOP-1/clamp-1a2b3c4d").unwrap().as_str(), "SHOP-1");
        for other in ["main", "agent/", "agent/SHOP-1", "agent/shop-1/x-1", "feature/SHOP-1/x", "agent/../x"] {
            assert_eq!(template.ticket(other), None, "{other}");
        }
    }

    #[test]
    fn refuses_templates_that_cannot_be_read_back() {
        for bad in ["agent/{slug}-{generation}", "agent/{key}/{slug}", "agent/{key}-{generation}", "{slug}/{key}/{generation}"] {
            assert!(BranchTemplate::new(bad).is_err(), "{bad}");
        }
    }
}
