//! Whether tests can run in the repositories of a plan: tried before people are asked, so that they decide with it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use temporalio_workflow::TimerOptions;
use temporalio_workflow::workflows::{join_all, select};

use super::flow::{Flow, Stop};
use super::state::Delivery;
use crate::contract::ids::RepositoryName;
use crate::contract::status::Stage;
use crate::contract::workspace::{Survey, SurveyRequest, Workspaces};
use crate::kit::{self, CallError};
use crate::messages::shorten;
use crate::patches;
use crate::policy::{Family, SET_UP};

/// Longest time that people wait for the plan because of this. What takes longer, or has no worker, goes on without.
const PATIENCE: Duration = Duration::from_secs(600);
/// Notes that are kept of a repository, and characters of each.
const NOTES: (usize, usize) = (3, 400);

impl Flow {
    /// Sets up the plan's repositories and keeps what fails for the message that asks for approval.
    pub(super) async fn try_set_up(&self) -> Result<(), Stop> {
        if !self.ctx.patched(patches::SET_UP_BEFORE_APPROVAL) {
            return Ok(());
        }
        self.enter(Stage::Planning, "looking whether tests can run in its repositories");
        let mut set_up = BTreeMap::new();
        for (repository, survey) in self.surveys_in_time().await? {
            let notes: Vec<String> = survey.set_up.iter().take(NOTES.0).map(|note| shorten(note, NOTES.1)).collect();
            if let Some(first) = notes.first() {
                self.log(format!("{repository}: tests may not run: {}", shorten(first, 200)));
            }
            set_up.insert(repository, notes);
        }
        self.write(|s| s.set_up = set_up);
        Ok(())
    }

    /// Surveys of all repositories of the plan; those that cannot be had in time are left out.
    async fn surveys_in_time(&self) -> Result<Vec<(RepositoryName, Survey)>, Stop> {
        let places: Vec<_> =
            self.read(|s| s.repositories.iter().map(|(name, d)| (name.clone(), Delivery::at_head(d))).collect());
        let (token, timer_token) = (self.token.child_token(), self.token.child_token());
        let surveys = join_all(places.into_iter().map(|(repository, workspace)| {
            let (ctx, token) = (&self.ctx, &token);
            let request = SurveyRequest { workspace, near: Vec::new() };
            async move {
                let (summary, family) = (format!("set up {}", repository.name()), Family::Sandbox { commands: SET_UP });
                let survey = kit::call(ctx, token, family, &summary, Workspaces::survey, request).await;
                (repository, survey)
            }
        }))
        .fuse();
        let options = TimerOptions::builder(PATIENCE).summary("the plan waits no longer for set-ups".to_owned());
        let timer = self.ctx.timer(options.cancellation_token(timer_token.clone()).build()).fuse();
        futures::pin_mut!(surveys, timer);
        let surveys = select! {
            surveys = surveys => {
                timer_token.cancel();
                surveys
            }
            _ = timer => {
                token.cancel();
                surveys.await
            }
        };
        if self.token.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        let mut had = Vec::new();
        for (repository, survey) in surveys {
            match survey {
                Ok(survey) => had.push((repository, survey)),
                // People can decide without. What is really wrong, the calls that follow will say.
                Err(CallError::Cancelled) => {
                    self.log(format!("{repository}: the set-up was not done within {} min", PATIENCE.as_secs() / 60));
                }
                Err(CallError::Failed(failure)) => {
                    self.log(format!("{repository} could not be set up: {}", failure.message));
                }
            }
        }
        Ok(had)
    }
}
