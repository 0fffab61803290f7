//! What agents are shown of a repository beside its files: what it says about itself, and what they changed.

use workflows::contract::ids::Digest;
use workflows::contract::workspace::{Conventions, Survey, Workspace};

use super::area::{Area, Claim};
use super::{WorkspaceActivities, git, repository, text};
use crate::failure::ServiceError;

/// Name of the files with conventions for agents, in any directory (<https://agents.md>).
const CONVENTIONS: &str = "AGENTS.md";
/// Files with conventions that are read.
const FILES: usize = 20;
/// Bytes of all of them.
const BYTES: usize = 32 * 1024;
/// Bytes of a change that its author reviews.
const DIFF: usize = 64 * 1024;
/// Notes.
const NOTES: usize = 20;

impl WorkspaceActivities {
    /// Looks at the base commit; the files are not checked out.
    pub(super) async fn survey_for(&self, claim: &Claim, workspace: Workspace) -> Result<Survey, ServiceError> {
        let area = Area::claim(&self.settings, claim).await?;
        let mirror = self.mirror(&workspace).await?;
        mirror.ensure(&workspace, &self.blobs, area.path()).await?;
        let commit = workspace.base.as_str();
        let names = repository::names(&mirror.git, commit).await?;
        let mut survey = Survey::default();
        let mut room = BYTES;
        for path in conventions(&names).into_iter().take(FILES) {
            let text = text::cap(&repository::show(&mirror.git, commit, path).await?, room);
            room = room.saturating_sub(text.len());
            survey.conventions.push(Conventions { path: path.to_owned(), text });
            if room == 0 {
                break;
            }
        }
        match repository::read(&mirror.git, commit, self.tools().await?).await? {
            Ok(found) => (survey.test, survey.lint, survey.format) = (found.test, found.lint, found.format),
            Err(why) => survey.notes.push(why),
        }
        survey.notes.truncate(NOTES);
        Ok(survey)
    }
}

impl WorkspaceActivities {
    /// All that was changed since the workspace's base, as people read it.
    pub(super) async fn diff_for(&self, claim: &Claim, workspace: Workspace) -> Result<Digest, ServiceError> {
        let area = Area::claim(&self.settings, claim).await?;
        let mirror = self.mirror(&workspace).await?;
        let tree = mirror.ensure(&workspace, &self.blobs, area.path()).await?;
        let diff = ["diff", "--no-ext-diff", "--no-textconv", "--no-color", "--stat=100", "--patch", "--find-renames"];
        let args = diff.into_iter().chain([workspace.base.as_str(), &tree]);
        let diff = mirror.git.run(args).await.map_err(git::GitFailed::unexpected)?;
        self.blobs.put(text::cap(&String::from_utf8_lossy(&diff), DIFF)).await
    }
}

/// The files with conventions, those of outer directories first.
fn conventions(names: &[String]) -> Vec<&str> {
    let mut found: Vec<&str> =
        names.iter().map(String::as_str).filter(|path| path.rsplit('/').next() == Some(CONVENTIONS)).collect();
    found.sort_by_key(|path| (path.matches('/').count(), *path));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conventions_of_outer_directories_come_first() {
        let names = ["web/app/AGENTS.md", "web/AGENTS.md", "AGENTS.md", "docs/AGENTS.md.txt", "api/AGENTS.md"];
        let names = names.map(str::to_owned);
        assert_eq!(conventions(&names), ["AGENTS.md", "api/AGENTS.md", "web/AGENTS.md", "web/app/AGENTS.md"]);
    }
}
