//! What agents are shown of a repository beside its files: what it says about itself, and what they changed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use workflows::contract::ids::{CommitSha, Digest};
use workflows::contract::workspace::{Conventions, Survey, SurveyRequest, Workspace};

use super::area::{Area, Claim};
use super::git::GitFailed;
use super::mirror::Mirror;
use super::objects::Files;
use super::paths::InnerPath;
use super::repository::Traits;
use super::{WorkspaceActivities, attributes, disk, objects, repository, reviewed, text};
use crate::failure::ServiceError;

/// Name of the files with conventions for agents, in any directory (<https://agents.md>).
const CONVENTIONS: &str = "AGENTS.md";
/// Files with conventions that are read.
const FILES: usize = 20;
/// Bytes of all of them.
const BYTES: usize = 32 * 1024;
/// Names of further ones, and paths that the work is about.
const FURTHER: usize = 100;
const NEAR: usize = 200;
/// Characters of a path that is told: every call of a model pays for it, and a repository may have one of any length.
const PATH: usize = 200;
/// Notes.
const NOTES: usize = 20;
/// Paths that notes of one kind name.
const NAMED: usize = 5;

impl WorkspaceActivities {
    /// Looks at the base commit; the files are not checked out.
    pub(super) async fn survey_for(&self, claim: &Claim, request: SurveyRequest) -> Result<Survey, ServiceError> {
        let SurveyRequest { workspace, near } = request;
        let area = Area::claim(&self.settings, claim).await?;
        let mirror = self.mirror(&workspace).await?;
        mirror.ensure(&workspace, &self.blobs, area.path()).await?;
        let commit = workspace.base.as_str();
        let files = Files { git: &mirror.git, tree: commit };
        let paths = files.list(None).await?;
        let mut survey = Survey::default();
        // There may be any number of them, each compared with all that is near: nothing else on this thread may wait for that.
        let ordered = move || {
            let (found, too_long) = told(&conventions(&paths, &near));
            (found, too_long, paths)
        };
        let (found, too_long, paths) = tokio::task::spawn_blocking(ordered).await.map_err(disk)?;
        let (mut room, mut further) = (BYTES, Vec::new());
        for (number, shown) in found.into_iter().enumerate() {
            if number >= FILES || room == 0 {
                further.push(shown);
                continue;
            }
            match InnerPath::parse(&shown) {
                Ok(path) => match files.read(&path).await? {
                    Ok(content) => {
                        let text = text::cap(&String::from_utf8_lossy(&content), room);
                        room = room.saturating_sub(text.len());
                        survey.conventions.push(Conventions { path: shown, text });
                    }
                    Err(why) => survey.notes.push(why),
                },
                Err(why) => survey.notes.push(why),
            }
        }
        let more = too_long + further.len().saturating_sub(FURTHER);
        if more > 0 {
            survey.notes.push(format!("There are {more} more files named {CONVENTIONS}; list_files shows them."));
            further.truncate(FURTHER);
        }
        survey.further = further;
        match repository::read(&mirror.git, workspace.approved().as_str(), self.tools().await?).await? {
            Ok(found) => {
                let names = paths.iter().filter_map(|path| path.to_str().map(str::to_owned)).collect();
                let traits = Traits::of(&mirror.git, commit, names).await?;
                let detected = |commands: Vec<&str>| (!commands.is_empty()).then(|| commands.join(" && "));
                survey.test = found.test;
                survey.lint = found.lint.or_else(|| detected(traits.lint()));
                survey.format = found.format.or_else(|| detected(traits.format()));
                survey.language = traits.language();
            }
            Err(why) => survey.notes.push(why),
        }
        survey.notes.extend(absent(&mirror, &workspace.base, area.path()).await?);
        let tree = mirror.tree_of(&workspace.base).await?;
        let set_up = self.set_up(&area, &mirror, &tree, workspace.approved()).await?;
        survey.notes.extend(set_up.all);
        survey.set_up = set_up.failed;
        survey.notes.truncate(NOTES);
        Ok(survey)
    }
}

impl WorkspaceActivities {
    /// What was changed since the workspace's base, as people read it.
    pub(super) async fn diff_for(&self, claim: &Claim, workspace: Workspace) -> Result<Digest, ServiceError> {
        let area = Area::claim(&self.settings, claim).await?;
        let mirror = self.mirror(&workspace).await?;
        let tree = mirror.ensure(&workspace, &self.blobs, area.path()).await?;
        let change = reviewed::change(&mirror.git, workspace.base.as_str(), &tree).await?;
        self.blobs.put(change).await
    }
}

/// What a commit names and does not have: submodules, and files in Git LFS.
async fn absent(mirror: &Mirror<'_>, base: &CommitSha, scratch: &Path) -> Result<Vec<String>, ServiceError> {
    let listed = mirror.git.run(["ls-tree", "-r", "-z", base.as_str()]).await.map_err(GitFailed::unexpected)?;
    let (mut submodules, mut paths) = (Vec::new(), Vec::new());
    for line in listed.split(|byte| *byte == 0) {
        let Some(tab) = line.iter().position(|byte| *byte == b'\t') else { continue };
        let path = &line[tab + 1..];
        if line.starts_with(objects::SUBMODULE.as_bytes()) {
            submodules.push(text::shown(path));
        } else {
            paths.extend_from_slice(path);
            paths.push(0);
        }
    }
    let index = scratch.join("survey-index");
    mirror.git.with_index(&index).run(["read-tree", base.as_str()]).await.map_err(GitFailed::unexpected)?;
    let pointers = attributes::kept_in_lfs(mirror, &index, base, scratch, &paths).await?;
    let pointers: Vec<String> = pointers.iter().map(|path| text::shown(path.as_os_str().as_bytes())).collect();
    let mut notes = named(&submodules, |path| format!("{path} is a submodule; its files are not here."), "submodules");
    notes.extend(named(
        &pointers,
        |path| format!("{path} is kept in Git LFS; only a pointer is here, and it cannot be changed."),
        "files in Git LFS",
    ));
    Ok(notes)
}

/// A note for each of the first few, and one that counts the rest.
fn named(paths: &[String], note: impl Fn(&str) -> String, what: &str) -> Vec<String> {
    let mut notes: Vec<String> = paths.iter().take(NAMED).map(|path| note(path)).collect();
    if paths.len() > NAMED {
        notes.push(format!("There are {} more {what}.", paths.len() - NAMED));
    }
    notes
}

/// The files with conventions: the root's, those that hold for something in `near`, outer directories first, then the nearest to it.
fn conventions<'a>(paths: &'a [PathBuf], near: &[String]) -> Vec<&'a Path> {
    let near: Vec<&Path> = near.iter().take(NEAR).map(|path| Path::new(path.trim_start_matches("./"))).collect();
    let mut found: Vec<&Path> =
        paths.iter().map(PathBuf::as_path).filter(|path| path.file_name() == Some(OsStr::new(CONVENTIONS))).collect();
    found.sort_by_cached_key(|path| {
        let depth = path.components().count();
        let folder = path.parent().unwrap_or(Path::new(""));
        let holds = near.iter().any(|near| near.starts_with(folder));
        let distance = near.iter().map(|near| steps(folder, near)).min().unwrap_or_default();
        (!holds, if holds { 0 } else { distance }, depth, *path)
    });
    found
}

/// These paths as text, and how many were left out since they are too long to be told.
fn told(paths: &[&Path]) -> (Vec<String>, usize) {
    let shown = paths.iter().map(|path| text::shown(path.as_os_str().as_bytes()));
    let told: Vec<String> = shown.filter(|path| path.chars().count() <= PATH).collect();
    let too_long = paths.len() - told.len();
    (told, too_long)
}

/// Directories up and down from one path to another.
fn steps(from: &Path, to: &Path) -> usize {
    let shared = from.components().zip(to.components()).take_while(|(one, other)| one == other).count();
    from.components().count() + to.components().count() - 2 * shared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conventions_of_outer_directories_come_first() {
        let names = ["web/app/AGENTS.md", "web/AGENTS.md", "AGENTS.md", "docs/AGENTS.md.txt", "api/AGENTS.md"];
        let paths = names.map(PathBuf::from);
        let found = ["AGENTS.md", "api/AGENTS.md", "web/AGENTS.md", "web/app/AGENTS.md"];
        assert_eq!(conventions(&paths, &[]), found.map(Path::new));
    }

    #[test]
    fn a_path_that_is_too_long_is_counted_instead_of_told() {
        let longest = format!("{}/AGENTS.md", "d".repeat(PATH - "/AGENTS.md".len()));
        let longer = format!("d{longest}");
        // Each odd byte is shown as four characters.
        let odd = [&b"\xE9".repeat(PATH / 4)[..], b"/AGENTS.md"].concat();
        let paths =
            [Path::new("AGENTS.md"), Path::new(&longer), Path::new(OsStr::from_bytes(&odd)), Path::new(&longest)];
        assert_eq!(told(&paths), (vec!["AGENTS.md".to_owned(), longest.clone()], 2));
    }

    #[test]
    fn what_the_work_is_about_comes_before_the_rest() {
        let names = [
            "a/AGENTS.md",
            "AGENTS.md",
            "web/AGENTS.md",
            "web/app/AGENTS.md",
            "web/app/cart/deep/AGENTS.md",
            "web/lib/AGENTS.md",
            "z/y/AGENTS.md",
            "z/y/x/AGENTS.md",
        ];
        let paths = names.map(PathBuf::from);
        // One is there, one is new.
        let near = ["./web/app/cart/total.ts".to_owned(), "z/y/new/file.ts".to_owned()];
        let found = [
            "AGENTS.md",
            "web/AGENTS.md",
            "web/app/AGENTS.md",
            "z/y/AGENTS.md",
            "web/app/cart/deep/AGENTS.md",
            "z/y/x/AGENTS.md",
            "web/lib/AGENTS.md",
            "a/AGENTS.md",
        ];
        assert_eq!(conventions(&paths, &near), found.map(Path::new));
    }
}
