//! Who may approve and command. The rules are read from the configuration file at each question, so that a removed approver
//! cannot approve for as long as a run lives.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use workflows::contract::access::{Action, MayThey, Verdict, Via, definitions};
use workflows::contract::failure::FailureKind;

use crate::failure::ServiceError;

/// The `[access]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Slack user ids that may approve plans. Default empty: everyone in the workspace.
    pub approvers: Vec<String>,
    /// Slack user ids that may reject, request changes, steer, retry and cancel. Default empty: everyone in the workspace.
    pub commanders: Vec<String>,
    /// Slack user ids whose mentions a model answers. Default empty: everyone in the workspace.
    pub askers: Vec<String>,
    /// Whether somebody with Temporal's CLI or Web UI may decide. Default true. It stops those who say who they are: a signal
    /// by hand can claim to come from any person in Slack, so who must not approve must not reach Temporal.
    pub cli_may_approve: bool,
    /// Whether the approver must be another person than the requester. Default false. Names are compared as the services give
    /// them, and a person's display name in Jira is seldom their handle in Slack.
    pub approver_other_than_requester: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            approvers: vec![],
            commanders: vec![],
            askers: vec![],
            cli_may_approve: true,
            approver_other_than_requester: false,
        }
    }
}

/// The part of the configuration file that matters here.
#[derive(Debug, Default, Deserialize)]
struct File {
    access: Option<Settings>,
}

/// The access rules, as an activity.
#[derive(Debug)]
pub struct AccessActivities {
    config: PathBuf,
    /// The file was there once: when it goes, the rules in it do not turn into "everyone may".
    seen: AtomicBool,
    /// It had an `[access]` once: without one it is half written, because an editor empties a file before it writes it.
    ruled: AtomicBool,
}

#[activities]
impl AccessActivities {
    /// Whether a person may do something now. No effect.
    #[activity(definition = definitions::MayThey)]
    pub async fn may_they(self: Arc<Self>, ctx: ActivityContext, question: MayThey) -> Result<Verdict, ActivityError> {
        let settings = self.settings().await.map_err(|error| error.into_activity_error(ctx.info().attempt))?;
        Ok(settings.judge(&question))
    }
}

impl AccessActivities {
    /// Reads the rules from this configuration file. One that never was there means the defaults; one that is gone, or cannot be
    /// read, lets nobody in until a person mends it.
    pub fn new(config: PathBuf) -> Self {
        let seen = AtomicBool::new(config.exists());
        let access = std::fs::read_to_string(&config).ok().and_then(|text| toml::from_str::<File>(&text).ok()?.access);
        Self { config, seen, ruled: AtomicBool::new(access.is_some()) }
    }

    async fn settings(&self) -> Result<Settings, ServiceError> {
        let unreadable = |why: String| {
            let message = format!("the access rules in {} cannot be read: {why}", self.config.display());
            // Retried: a person is editing the file. Nobody is let in meanwhile.
            ServiceError::new(FailureKind::Unavailable, message)
        };
        match tokio::fs::read_to_string(&self.config).await {
            Ok(text) => {
                self.seen.store(true, Ordering::Relaxed);
                match toml::from_str::<File>(&text).map_err(|error| unreadable(error.to_string()))?.access {
                    Some(access) => {
                        self.ruled.store(true, Ordering::Relaxed);
                        Ok(access)
                    }
                    None if self.ruled.load(Ordering::Relaxed) => Err(unreadable(
                        "[access] is gone from it. Put it back, empty if everyone may, or restart the workers".into(),
                    )),
                    None => Ok(Settings::default()),
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.seen.load(Ordering::Relaxed) => {
                Ok(Settings::default())
            }
            Err(error) => Err(unreadable(error.to_string())),
        }
    }
}

impl Settings {
    fn judge(&self, question: &MayThey) -> Verdict {
        let who = &question.who;
        let refused = |why: &str| Verdict::Refused(why.to_owned());
        let own = question.requested_by.as_ref().is_some_and(|requester| {
            requester == who || (!who.name.is_empty() && requester.name.eq_ignore_ascii_case(&who.name))
        });
        if question.action == Action::Approve && self.approver_other_than_requester && own {
            return refused("the approver must be another person than the requester");
        }
        let allowed = match question.action {
            Action::Approve => &self.approvers,
            Action::Command => &self.commanders,
            Action::Ask => &self.askers,
        };
        match who.via {
            Via::Cli if self.cli_may_approve => Verdict::Allowed,
            Via::Cli => refused("decisions by command line are switched off (access.cli_may_approve)"),
            Via::Slack if allowed.is_empty() || allowed.contains(&who.id) => Verdict::Allowed,
            Via::Slack => refused("not on the list in [access]"),
            // Labelling a ticket again lets a parked one try again; it decides nothing else. An instruction on a pull request was
            // passed on by a run that asked GitHub whether its author may write there.
            Via::Jira | Via::Github if question.action == Action::Command => Verdict::Allowed,
            Via::Jira | Via::Github => refused("plans are approved in Slack or on the command line"),
        }
    }
}

#[cfg(test)]
mod tests {
    use workflows::contract::access::Person;

    use super::*;

    fn ask(settings: &Settings, who: Person, action: Action) -> bool {
        let requested_by = Some(Person { via: Via::Jira, id: "bo-1".into(), name: "Bo".into() });
        let question = MayThey { who, action, ticket: "SHOP-1".parse().ok(), requested_by };
        settings.judge(&question) == Verdict::Allowed
    }

    fn slack(id: &str, name: &str) -> Person {
        Person { via: Via::Slack, id: id.into(), name: name.into() }
    }

    #[test]
    fn by_default_everyone_in_slack_and_the_command_line_may() {
        let settings = Settings::default();
        assert!(ask(&settings, slack("U0ANA", "ana"), Action::Approve));
        assert!(ask(&settings, Person::cli("you"), Action::Approve));
        let by_github = || Person { via: Via::Github, id: "ana".into(), name: String::new() };
        assert!(!ask(&settings, by_github(), Action::Approve));
        assert!(ask(&settings, by_github(), Action::Command));
    }

    #[test]
    fn lists_and_switches_narrow_it() {
        let settings = Settings {
            approvers: vec!["U0ANA".into()],
            cli_may_approve: false,
            approver_other_than_requester: true,
            ..Settings::default()
        };
        assert!(ask(&settings, slack("U0ANA", "ana"), Action::Approve));
        assert!(!ask(&settings, slack("U0BO", "bo"), Action::Approve));
        assert!(!ask(&settings, Person::cli("you"), Action::Approve));
        let everyone = Settings { approvers: vec![], ..settings };
        assert!(!ask(&everyone, slack("U0BO", "bo"), Action::Approve));
        assert!(ask(&everyone, slack("U0BO", "bo"), Action::Command));
        assert!(ask(&everyone, slack("U0BO", "bo"), Action::Ask));
        let few = Settings { askers: vec!["U0ANA".into()], ..everyone };
        assert!(ask(&few, slack("U0ANA", "ana"), Action::Ask));
        assert!(!ask(&few, slack("U0BO", "bo"), Action::Ask));
        assert!(ask(&few, slack("U0BO", "bo"), Action::Command));
    }

    #[tokio::test]
    async fn the_file_is_read_at_each_question() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("ticketwright.toml");
        let access = AccessActivities::new(config.clone());
        assert_eq!(access.settings().await.unwrap(), Settings::default());
        std::fs::write(&config, "[access]\napprovers = [\"U1\"]\n[policy]\nlabel = \"AI\"\n").unwrap();
        assert_eq!(access.settings().await.unwrap().approvers, ["U1"]);
        std::fs::write(&config, "[access]\napprover = 1").unwrap();
        assert!(access.settings().await.is_err());
        std::fs::remove_file(&config).unwrap();
        assert_eq!(access.settings().await.unwrap_err().kind, FailureKind::Unavailable);
    }

    #[tokio::test]
    async fn a_configuration_that_is_half_written_lets_nobody_in() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("ticketwright.toml");
        std::fs::write(&config, "[access]\napprovers = [\"U1\"]\n").unwrap();
        let from_the_start = AccessActivities::new(config.clone());
        std::fs::write(&config, "").unwrap();
        assert_eq!(from_the_start.settings().await.unwrap_err().kind, FailureKind::Unavailable);
        // A file that never had rules needs none, until it gets some.
        let access = AccessActivities::new(config.clone());
        assert_eq!(access.settings().await.unwrap(), Settings::default());
        std::fs::write(&config, "[access]\napprovers = [\"U1\"]\n").unwrap();
        assert_eq!(access.settings().await.unwrap().approvers, ["U1"]);
        std::fs::write(&config, "[policy]\n").unwrap();
        let error = access.settings().await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Unavailable);
        assert!(error.message.contains("Put it back"), "{error}");
        std::fs::write(&config, "[access]\n").unwrap();
        assert_eq!(access.settings().await.unwrap(), Settings::default());
    }

    #[tokio::test]
    async fn a_configuration_that_vanishes_lets_nobody_in() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("ticketwright.toml");
        std::fs::write(&config, "[access]\napprovers = [\"U1\"]\n").unwrap();
        let access = AccessActivities::new(config.clone());
        std::fs::remove_file(&config).unwrap();
        assert!(access.settings().await.is_err());
    }
}
