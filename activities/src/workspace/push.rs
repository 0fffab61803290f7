//! Puts one commit on a branch, on top of the commit where it must stand: a branch of our own by an approved plan, or the
//! branch of a pull request on the word of somebody who may push there.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use workflows::contract::access::{Person, Via};
use workflows::contract::failure::FailureKind;
use workflows::contract::ids::{CommitSha, Digest, RepositoryName, TicketKey};
use workflows::contract::money::MicroUsd;
use workflows::contract::plan::Plan;
use workflows::contract::workspace::{Authority, Push, Pushed};

use super::area::{Area, Claim};
use super::git::GitFailed;
use super::mirror::Mirror;
use super::paths::InnerPath;
use super::remote::GitRemote;
use super::{WorkspaceActivities, attributes, disk};
use crate::failure::ServiceError;

const NAME: &str = "Ticketwright";
const EMAIL: &str = "ticketwright@users.noreply.github.com";
/// The plan's copy on the branch, which is no part of the change.
const PLAN: &str = "PLAN.md";

impl WorkspaceActivities {
    /// Pushes once: the commit is a function of the request, and a branch that has it already is left alone.
    pub(super) async fn push_for(&self, claim: &Claim, request: Push) -> Result<Pushed, ServiceError> {
        let plan = self.check_authority(&request).await?;
        let area = Area::claim(&self.settings, claim).await?;
        let mirror = self.mirror(&request.workspace).await?;
        let tree = mirror.ensure(&request.workspace, &self.blobs, area.path()).await?;
        mirror.ensure_commit(&request.parent).await?;

        let commit =
            Change { mirror: &mirror, area: &area, request: &request, plan: plan.as_ref() }.commit(&tree).await?;
        let remote = self.remote.clone_url_and_credentials(&request.workspace.repository).await?;
        let (default, now) = look(&mirror, &remote, &request).await?;
        if default.as_deref() == Some(request.branch.as_str()) {
            return Err(invalid(format!("{} is the default branch; I never push to it", request.branch)));
        }
        if now.as_deref() == Some(commit.as_str()) {
            return counted(&mirror, &request.parent, commit).await;
        }
        if now.as_deref() != Some(request.parent.as_str()) {
            return Err(moved(&request, now.as_deref()));
        }
        let lease = format!("--force-with-lease=refs/heads/{}:{}", request.branch, request.parent);
        let refspec = format!("{commit}:refs/heads/{}", request.branch);
        let args = ["push", "--quiet", "--no-verify", &lease, &remote.url, &refspec];
        if let Err(failed) = mirror.git.transfer(args, &remote, mirror.protocols(), mirror.transfer_env()).await {
            // The branch may have moved between the look and the push, or the answer may have been lost.
            return match look(&mirror, &remote, &request).await?.1 {
                Some(now) if now == commit.as_str() => counted(&mirror, &request.parent, commit).await,
                now if now.as_deref() != Some(request.parent.as_str()) => Err(moved(&request, now.as_deref())),
                _ => Err(failed.of_transfer()),
            };
        }
        counted(&mirror, &request.parent, commit).await
    }

    /// What gives the right to push, asked again at the time of use: the plan that a human approved, `None` for an instruction.
    async fn check_authority(&self, request: &Push) -> Result<Option<Plan>, ServiceError> {
        match &request.authority {
            Authority::ApprovedPlan { hash, plan, .. } => {
                let plan = self.check_plan(request, hash, plan).await?;
                check_branch(request)?;
                Ok(Some(plan))
            }
            Authority::Commanded { by, comment } => {
                self.check_command(request, by, *comment).await?;
                Ok(None)
            }
        }
    }

    /// Only somebody who may push there themselves can have us push, and the commit says who that was.
    async fn check_command(&self, request: &Push, by: &Person, comment: u64) -> Result<(), ServiceError> {
        let repository = &request.workspace.repository;
        if by.via != Via::Github || !self.remote.may_push(repository, &by.id).await? {
            let message = format!("{} has no write access to {repository}; nothing was pushed", by.label());
            return Err(ServiceError::new(FailureKind::Unauthorized, message));
        }
        let named = |line: &str| line.strip_prefix("Instructed-by: ").is_some_and(|who| who == format!("@{}", by.id));
        let told = |line: &str| line.strip_prefix("Comment: ").is_some_and(|id| id == comment.to_string());
        if !request.message.lines().any(named) || !request.message.lines().any(told) {
            return Err(invalid("the commit message does not say who asked for it, and in which comment"));
        }
        Ok(())
    }

    /// Reads the approved plan again: only what a human saw may be pushed.
    async fn check_plan(&self, request: &Push, hash: &Digest, plan: &Digest) -> Result<Plan, ServiceError> {
        if plan != hash {
            return Err(invalid(format!("the approval is for plan {}, not for {}", hash.short(), plan.short())));
        }
        // The store checks the digest, which is the hash.
        let bytes = self.blobs.get(plan).await?;
        let (plan, repositories, _cap): (Plan, Vec<RepositoryName>, MicroUsd) = serde_json::from_slice(&bytes)
            .map_err(|error| invalid(format!("blob {plan} is no approved plan")).caused_by(error))?;
        if repositories != plan.repositories() || !repositories.contains(&request.workspace.repository) {
            return Err(invalid(format!(
                "{} is not part of approved plan {}",
                request.workspace.repository,
                hash.short()
            )));
        }
        Ok(plan)
    }
}

/// The branch carries the ticket's key, as every branch of ours does.
fn check_branch(request: &Push) -> Result<(), ServiceError> {
    let Some(ticket) = &request.ticket else {
        return Err(invalid("an approved plan belongs to a ticket; the push names none"));
    };
    if names(request.branch.as_str(), ticket) {
        Ok(())
    } else {
        Err(invalid(format!("branch {} does not belong to {ticket}", request.branch)))
    }
}

fn names(branch: &str, ticket: &TicketKey) -> bool {
    let (branch, key) = (branch.to_lowercase(), ticket.as_str().to_lowercase());
    let alone = |at: usize| {
        let (before, after) = (&branch[..at], &branch[at + key.len()..]);
        !before.ends_with(|c: char| c.is_alphanumeric()) && !after.starts_with(|c: char| c.is_alphanumeric())
    };
    branch.match_indices(&key).any(|(at, _)| alone(at))
}

/// What a push is made of.
struct Change<'a> {
    mirror: &'a Mirror<'a>,
    area: &'a Area,
    request: &'a Push,
    /// `None`: an instruction, which lists no files.
    plan: Option<&'a Plan>,
}

impl Change<'_> {
    /// The commit to push, of the files of `tree`; the parent itself when there is nothing to change.
    async fn commit(&self, tree: &str) -> Result<CommitSha, ServiceError> {
        let Self { mirror, request, .. } = self;
        let tree = self.without_removed(tree).await?;
        let before = mirror.tree_of(&request.parent).await?;
        if tree == before {
            return Ok(request.parent.clone());
        }
        self.refuse_unplanned_ci(&before, &tree).await?;
        self.refuse_large_file_storage(&before, &tree).await?;

        let date = format!("{} +0000", request.authored_at);
        let who = [
            ("GIT_AUTHOR_NAME", NAME),
            ("GIT_AUTHOR_EMAIL", EMAIL),
            ("GIT_AUTHOR_DATE", date.as_str()),
            ("GIT_COMMITTER_NAME", NAME),
            ("GIT_COMMITTER_EMAIL", EMAIL),
            ("GIT_COMMITTER_DATE", date.as_str()),
        ];
        let args = ["commit-tree", &tree, "-p", request.parent.as_str(), "-F", "-"];
        let message = not_skipping_ci(&request.message);
        let commit = mirror.git.feed(args, &who, message.as_bytes()).await.map_err(GitFailed::unexpected)?;
        String::from_utf8_lossy(&commit).trim().parse().map_err(disk)
    }

    /// The index of the tree to push.
    fn index(&self) -> PathBuf {
        self.area.path().join("push-index")
    }

    /// `tree` without the paths that the request removes.
    async fn without_removed(&self, tree: &str) -> Result<String, ServiceError> {
        let git = self.mirror.git.with_index(&self.index());
        git.run(["read-tree", tree]).await.map_err(GitFailed::unexpected)?;
        let mut remove = Vec::new();
        for path in &self.request.remove {
            let path = InnerPath::parse(path).map_err(invalid)?;
            // Mode 0 takes an entry out (git-update-index(1)); one that is not there stays away.
            let nothing = "0".repeat(self.request.parent.as_str().len());
            remove.extend_from_slice(format!("0 {nothing}\t").as_bytes());
            remove.extend_from_slice(path.as_path().as_os_str().as_encoded_bytes());
            remove.push(0);
        }
        git.feed(["update-index", "-z", "--index-info"], &[], &remove).await.map_err(GitFailed::unexpected)?;
        git.line(["write-tree"]).await.map_err(GitFailed::unexpected)
    }

    /// What CI runs on a push runs with the repository's secrets, before anybody reviews it. So a human must have seen in the
    /// plan that it changes.
    async fn refuse_unplanned_ci(&self, before: &str, after: &str) -> Result<(), ServiceError> {
        let repository = &self.request.workspace.repository;
        let tasks = self.plan.map_or(&[][..], |plan| &plan.tasks).iter().filter(|task| &task.repository == repository);
        let listed: Vec<InnerPath> =
            tasks.flat_map(|task| &task.files).filter_map(|file| InnerPath::parse(file).ok()).collect();
        let args = ["diff-tree", "-r", "-z", "--no-renames", "--name-only", before, after];
        let changed = self.mirror.git.run(args).await.map_err(GitFailed::unexpected)?;
        let mut changed = changed.split(|byte| *byte == 0).map(|path| Path::new(OsStr::from_bytes(path)));
        let unplanned = changed.find(|path| defines_ci(path) && !listed.iter().any(|file| file.as_path() == *path));
        match unplanned {
            None => Ok(()),
            Some(path) if self.plan.is_none() => Err(invalid(format!(
                "The change touches {} in {repository}, which says what CI runs with the repository's secrets. I change that only \
                 by an approved plan. Nothing was pushed.",
                path.display()
            ))),
            Some(path) => Err(invalid(format!(
                "The change touches {} in {repository}, which says what CI runs, and no task of the approved plan lists that \
                 file. Nothing was pushed. Request changes to the plan so that a task names it, or make that change yourself.",
                path.display()
            ))),
        }
    }

    /// A changed file that belongs into Git LFS would be pushed as it is, and break the repository for everybody.
    async fn refuse_large_file_storage(&self, before: &str, after: &str) -> Result<(), ServiceError> {
        let Self { mirror, area, request, .. } = self;
        let changed = ["diff-tree", "-r", "-z", "--no-renames", "--diff-filter=d", "--name-only", before, after];
        let changed = mirror.git.run(changed).await.map_err(GitFailed::unexpected)?;
        let kept = attributes::kept_in_lfs(mirror, None, &self.index(), &request.parent, area.path(), &changed).await?;
        match kept.first() {
            Some(path) => Err(invalid(attributes::lfs_refusal(path))),
            None => Ok(()),
        }
    }
}

/// The message without what makes GitHub start no workflow for it: a model may write `[skip ci]`, or quote somebody who did, and
/// a head without checks looks like one that needs none. The brackets become round, and the colon of the trailer `skip-checks:
/// true` goes (<https://docs.github.com/en/actions/how-tos/manage-workflow-runs/skip-workflow-runs>).
fn not_skipping_ci(message: &str) -> String {
    const SKIPS: [&str; 5] = ["skip ci", "ci skip", "no ci", "skip actions", "actions skip"];
    const TRAILER: &str = "skip-checks";
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = rest.find('[') {
        let (before, bracket) = rest.split_at(at);
        out.push_str(before);
        let inside = bracket[1..].split_once(']').map(|(inside, _)| inside);
        let skips = |inside: &&str| {
            let words = inside.replace('-', " ").to_ascii_lowercase();
            SKIPS.contains(&words.split_whitespace().collect::<Vec<_>>().join(" ").as_str())
        };
        if let Some(inside) = inside.filter(skips) {
            out.extend(["(", inside, ")"]);
            rest = &bracket[inside.len() + 2..];
        } else {
            out.push('[');
            rest = &bracket[1..];
        }
    }
    out.push_str(rest);
    let line = |line: &str| match line.split_once(':') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case(TRAILER) => format!("{name}{value}"),
        _ => line.to_owned(),
    };
    out.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// A workflow or an action of GitHub Actions, or what takes the place of their folder
/// (<https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax>).
fn defines_ci(path: &Path) -> bool {
    let mut parts = path.iter().map(OsStr::to_ascii_lowercase);
    let (first, second) = (parts.next(), parts.next());
    first.is_some_and(|first| first == ".github")
        && second.is_none_or(|second| second == "workflows" || second == "actions")
}

/// The remote's default branch, and where the request's branch stands.
async fn look(
    mirror: &Mirror<'_>,
    remote: &GitRemote,
    request: &Push,
) -> Result<(Option<String>, Option<String>), ServiceError> {
    let branch = format!("refs/heads/{}", request.branch);
    let args = ["ls-remote", "--symref", "--quiet", &remote.url, "HEAD", &branch];
    let printed = mirror.git.transfer(args, remote, mirror.protocols(), mirror.transfer_env()).await;
    let printed = printed.map_err(GitFailed::of_transfer)?;
    let printed = String::from_utf8_lossy(&printed);
    let (mut default, mut now) = (None, None);
    for (value, name) in printed.lines().filter_map(|line| line.split_once('\t')) {
        match value.strip_prefix("ref: refs/heads/") {
            Some(head) if name == "HEAD" => default = Some(head.to_owned()),
            None if name == branch => now = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok((default, now))
}

/// The pushed commit, with what it changed against its parent.
async fn counted(mirror: &Mirror<'_>, parent: &CommitSha, commit: CommitSha) -> Result<Pushed, ServiceError> {
    let args = ["diff-tree", "-r", "-z", "--numstat", "--no-renames", parent.as_str(), commit.as_str()];
    let printed = mirror.git.run(args).await.map_err(GitFailed::unexpected)?;
    let printed = String::from_utf8_lossy(&printed);
    let mut pushed = Pushed { sha: commit, files: 0, insertions: 0, deletions: 0 };
    for entry in printed.split_terminator('\0') {
        // `<added>\t<removed>\t<path>`, with `-` for files that are not text.
        let mut fields = entry.splitn(3, '\t');
        let (added, removed) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        if fields.next() != Some(PLAN) {
            pushed.files += 1;
            pushed.insertions += added.parse::<u32>().unwrap_or_default();
            pushed.deletions += removed.parse::<u32>().unwrap_or_default();
        }
    }
    Ok(pushed)
}

fn moved(request: &Push, now: Option<&str>) -> ServiceError {
    let (branch, repository) = (&request.branch, &request.workspace.repository);
    let now = match now {
        Some(now) => format!("is at {}", now.get(..8).unwrap_or(now)),
        None => "is gone".to_owned(),
    };
    ServiceError::new(
        FailureKind::Conflict,
        format!("{branch} of {repository} {now}, not at {}: somebody else changed it", request.parent.short()),
    )
}

fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::new(FailureKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ci_is_defined_by_workflows_actions_and_what_takes_their_place() {
        for ci in [
            ".github/workflows/ci.yml",
            ".github/actions/a/action.yml",
            ".GitHub/Workflows/x",
            ".github/workflows",
            ".github",
        ] {
            assert!(defines_ci(Path::new(ci)), "{ci}");
        }
        for other in
            ["", ".github/CODEOWNERS", ".github/dependabot.yml", "docs/.github/workflows/ci.yml", "workflows/ci.yml"]
        {
            assert!(!defines_ci(Path::new(other)), "{other}");
        }
    }

    #[test]
    fn no_message_switches_ci_off() {
        for (written, kept) in [
            ("Fix it [skip ci]", "Fix it (skip ci)"),
            (
                "[CI Skip] a [[no ci]] b [Skip  Actions][actions-skip]",
                "(CI Skip) a [(no ci)] b (Skip  Actions)(actions-skip)",
            ),
            ("Title\n\nBody\n\n\nskip-checks: true\n", "Title\n\nBody\n\n\nskip-checks true\n"),
            ("Title\n\n Skip-Checks :true", "Title\n\n Skip-Checks true"),
            ("Index a[0], a [link] [skip", "Index a[0], a [link] [skip"),
            ("[skip the ci] [noci]", "[skip the ci] [noci]"),
        ] {
            assert_eq!(not_skipping_ci(written), kept);
        }
    }

    #[test]
    fn a_branch_is_ours_when_it_names_the_ticket() {
        let ticket: TicketKey = "SHOP-1".parse().unwrap();
        for ours in ["agent/SHOP-1/clamp-1a2b", "SHOP-1", "ai/shop-1_x"] {
            assert!(names(ours, &ticket), "{ours}");
        }
        for other in ["main", "agent/SHOP-12/x", "agent/XSHOP-1/x", "SHOP", "agent/SHOP-2/SHOP-11"] {
            assert!(!names(other, &ticket), "{other}");
        }
    }
}
