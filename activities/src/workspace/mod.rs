//! Workspaces: copies of repositories in which agents work, the harness proves, and from which it pushes.
//!
//! A workspace is nothing but (repository, base commit, snapshot): each call builds the files anew from a cached mirror and
//! a bundle, works on them in the sandbox, and leaves a new snapshot. A call that dies half-way leaves nothing.

mod alone;
mod apart;
mod area;
mod assertions;
mod attributes;
mod beside;
mod bundle;
mod cache;
mod demands;
mod diff;
mod editing;
mod fix;
mod git;
mod hunks;
mod judge;
mod kept;
mod lint;
mod lock;
mod mirror;
mod moves;
mod objects;
mod paths;
mod plain;
mod pool;
mod prove;
mod push;
mod remote;
mod removed;
mod repository;
mod reviewed;
mod rules;
mod running;
mod setup;
mod snapshot;
mod suite;
mod support;
mod survey;
mod symbols;
mod text;
mod tidy;
mod tools;
mod trees;
mod trial;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use tokio::sync::OnceCell;
use workflows::contract::failure::FailureKind;
use workflows::contract::ids::{Digest, RepositoryName};
use workflows::contract::workspace::{
    Fix, Fixed, JudgedFix, ProofOutcome, Prove, Push, Pushed, Survey, SurveyRequest, Workspace, WorkspaceCall,
    WorkspaceReply, definitions,
};

use crate::blobs::Blobs;
use crate::failure::ServiceError;
use crate::heartbeat::while_beating;
use crate::sandbox::{Command, Exit, Finished, Sandbox};
use cache::Keeper;
use judge::Demand;
use mirror::Mirror;
use repository::Tools;
use setup::Setup;

pub use area::Claim;
pub use remote::{GitRemote, Remote};
pub use setup::{Destination, Range, Settings as SetupSettings, Tooling};

/// Where workspaces live and how repositories are reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Directory for mirrors and work trees: a cache, safe to remove while no worker runs. When the worker is root, other
    /// users must be able to pass through all directories above it, because commands run as such a user.
    pub directory: PathBuf,
    /// Let git speak plain HTTP, for a server on loopback. Default false: HTTPS only.
    pub allow_http: bool,
    /// Let git read and write repositories in local directories. Default false.
    pub allow_file: bool,
    /// Variables for git's transfers, as hosts behind a proxy need: `HTTPS_PROXY`, `GIT_SSL_CAINFO`.
    pub transfer_env: Vec<(String, String)>,
    /// `[workspace.setup]`: how dependencies are installed.
    pub setup: SetupSettings,
    /// Disk for copies of repositories. Over it, the one longest unused is removed; one in use stays. Default 20 GB.
    pub mirror_bytes: u64,
    /// Disk for work trees between two calls, with what builds left in them. Over it, the one longest unused is removed.
    /// Default 10 GB; 0 keeps none.
    pub warm_bytes: u64,
    /// Days after which a copy or a work tree that nobody used is removed. Default 7.
    pub keep_days: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            directory: "/var/lib/ticketwright/workspaces".into(),
            allow_http: false,
            allow_file: false,
            transfer_env: Vec::new(),
            setup: SetupSettings::default(),
            mirror_bytes: 20 << 30,
            warm_bytes: 10 << 30,
            keep_days: 7,
        }
    }
}

impl Settings {
    fn mirrors(&self) -> PathBuf {
        self.directory.join("mirrors")
    }

    fn work(&self) -> PathBuf {
        self.directory.join("work")
    }

    fn warm(&self) -> PathBuf {
        self.directory.join("warm")
    }

    fn keep(&self) -> Duration {
        Duration::from_secs(24 * 60 * 60) * self.keep_days
    }

    /// Makes the directories that are not there.
    fn make_directories(&self) -> std::io::Result<()> {
        for path in [self.directory.clone(), self.mirrors(), self.work(), self.warm()] {
            if !path.is_dir() {
                std::fs::create_dir_all(&path)?;
                lock::open_to_others(&path)?;
            }
        }
        Ok(())
    }
}

/// Serves the workspace activities.
pub struct WorkspaceActivities {
    settings: Settings,
    blobs: Blobs,
    sandbox: Sandbox,
    remote: Arc<dyn Remote>,
    tools: OnceCell<Tools>,
    setup: Setup,
    keeper: Keeper,
}

impl WorkspaceActivities {
    /// Makes the directories, removes what workers that are gone left behind, and tries a command in a work tree.
    ///
    /// # Errors
    /// [`FailureKind::Unsupported`]: the directory cannot be used, with what to change.
    pub async fn open(
        settings: Settings,
        blobs: Blobs,
        sandbox: Sandbox,
        remote: Arc<dyn Remote>,
    ) -> Result<Self, ServiceError> {
        let directory = settings.directory.display().to_string();
        let unsupported = |why: String| ServiceError::new(FailureKind::Unsupported, why);
        let unusable = |error: std::io::Error| {
            unsupported(format!("{directory} cannot hold workspaces: make it a directory we may write to"))
                .caused_by(error)
        };
        git::probe().await.map_err(unsupported)?;
        // Git and bubblewrap start in other directories.
        let settings = Settings { directory: std::path::absolute(&settings.directory).map_err(unusable)?, ..settings };
        settings.make_directories().and_then(|()| lock::open_to_others(&settings.directory)).map_err(unusable)?;
        area::sweep(&settings);
        let setup = Setup::open(settings.setup.clone(), settings.directory.join("layers")).map_err(unusable)?;

        let claim = Claim { workflow: "start".into(), activity: std::process::id().to_string(), attempt: 1 };
        let area = area::Area::claim(&settings, &claim).await?;
        let files = area.make("files")?;
        let keeper = Keeper::default();
        keeper.tend(&settings);
        let tried = sandbox.run(Command::script("touch seen", Some(files.clone()), Duration::from_secs(30))).await?;
        match tried.exit {
            Exit::Code(0) if files.join("seen").exists() => {}
            other => {
                return Err(unsupported(format!(
                    "the sandbox cannot work in {directory} ({other}): its user must be able to pass through every \
                     directory above; ticketwright check names those that are closed. Open them (chmod o+x), or choose another directory"
                )));
            }
        }
        Ok(Self { settings, blobs, sandbox, remote, tools: OnceCell::new(), setup, keeper })
    }

    async fn mirror(&self, workspace: &Workspace) -> Result<Mirror<'_>, ServiceError> {
        self.keeper.tend(&self.settings);
        Mirror::open(&self.settings, &*self.remote, &workspace.repository, &workspace.base).await
    }

    /// Does `work` on a repository, once more when its copy here turns out not to be whole: somebody removed files of it, or
    /// the disk lost them. Then it is made anew.
    async fn soundly<T, W: Future<Output = Result<T, ServiceError>>>(
        &self,
        repository: &RepositoryName,
        work: impl Fn() -> W,
    ) -> Result<T, ServiceError> {
        let seen = mirror::which(&self.settings, repository);
        match work().await {
            Err(error) if git::is_damaged(&error) => {
                tracing::warn!(%repository, %error, "the copy of a repository is not whole; it is made anew");
                mirror::discard(&self.settings, repository, seen).await?;
                work().await
            }
            done => done,
        }
    }

    /// Runs a command that a repository or a model chose, to an end that is its own.
    async fn run(&self, command: Command) -> Result<Finished, ServiceError> {
        let finished = self.sandbox.run(command).await?;
        match &finished.exit {
            Exit::Cancelled => {
                Err(ServiceError::new(FailureKind::Unavailable, "a newer attempt of this call ended the command"))
            }
            Exit::LaunchFailed(why) => {
                Err(ServiceError::new(FailureKind::Unsupported, format!("the sandbox does not start: {why}")))
            }
            _ => Ok(finished),
        }
    }

    /// What the sandbox offers; asked once.
    async fn tools(&self) -> Result<Tools, ServiceError> {
        let ask = || async {
            let pytest = Command::script("python3 -c 'import pytest'", None, Duration::from_secs(60));
            let pytest = self.sandbox.run(pytest).await?.exit == Exit::Code(0);
            Ok(Tools { pytest })
        };
        self.tools.get_or_try_init(ask).await.copied()
    }
}

#[activities]
impl WorkspaceActivities {
    /// Runs one tool call, from the same files however often it is repeated.
    #[activity(definition = definitions::CallTool)]
    pub async fn call_tool(
        self: Arc<Self>,
        ctx: ActivityContext,
        call: WorkspaceCall,
    ) -> Result<WorkspaceReply, ActivityError> {
        let claim = Claim::of(ctx.info());
        let work = || self.call_tool_for(&claim, call.clone());
        while_beating(&ctx, self.soundly(&call.workspace.repository, work)).await
    }

    /// Looks a repository over; no effect outside the caches.
    #[activity(definition = definitions::Survey)]
    pub async fn survey(
        self: Arc<Self>,
        ctx: ActivityContext,
        request: SurveyRequest,
    ) -> Result<Survey, ActivityError> {
        let claim = Claim::of(ctx.info());
        let work = || self.survey_for(&claim, request.clone());
        while_beating(&ctx, self.soundly(&request.workspace.repository, work)).await
    }

    /// Shows a change; no effect but its text in the blob store.
    #[activity(definition = definitions::Diff)]
    pub async fn diff(self: Arc<Self>, ctx: ActivityContext, workspace: Workspace) -> Result<Digest, ActivityError> {
        let claim = Claim::of(ctx.info());
        let work = || self.diff_for(&claim, workspace.clone());
        while_beating(&ctx, self.soundly(&workspace.repository, work)).await
    }

    /// Makes a proof; no effect but the log.
    #[activity(definition = definitions::Prove)]
    pub async fn prove(self: Arc<Self>, ctx: ActivityContext, request: Prove) -> Result<ProofOutcome, ActivityError> {
        let claim = Claim::of(ctx.info());
        let work = || self.prove_for(&claim, request.clone(), Demand::RedToGreen);
        while_beating(&ctx, self.soundly(&request.head.repository, work)).await
    }

    /// Runs the suite on both sides of a change; no effect but the log.
    #[activity(definition = definitions::Check)]
    pub async fn check(self: Arc<Self>, ctx: ActivityContext, request: Prove) -> Result<ProofOutcome, ActivityError> {
        let claim = Claim::of(ctx.info());
        let work = || self.prove_for(&claim, request.clone(), Demand::Green);
        while_beating(&ctx, self.soundly(&request.head.repository, work)).await
    }

    /// Runs the repository's own fixers; no effect outside the workspace.
    #[activity(definition = definitions::Fix)]
    pub async fn fix(self: Arc<Self>, ctx: ActivityContext, request: Fix) -> Result<Fixed, ActivityError> {
        let claim = Claim::of(ctx.info());
        let work = || self.fix_for(&claim, request.clone());
        while_beating(&ctx, self.soundly(&request.workspace.repository, work)).await
    }

    /// Looks whether a fix leaves the tests what they were; no effect but the log.
    #[activity(definition = definitions::JudgeFix)]
    pub async fn judge_fix(self: Arc<Self>, ctx: ActivityContext, request: Prove) -> Result<JudgedFix, ActivityError> {
        let claim = Claim::of(ctx.info());
        let work = || self.judge_fix_for(&claim, request.clone());
        while_beating(&ctx, self.soundly(&request.head.repository, work)).await
    }

    /// Pushes one commit; looks first, and a branch that has it is left alone.
    #[activity(definition = definitions::Push)]
    pub async fn push(self: Arc<Self>, ctx: ActivityContext, request: Push) -> Result<Pushed, ActivityError> {
        let claim = Claim::of(ctx.info());
        let work = || self.push_for(&claim, request.clone());
        while_beating(&ctx, self.soundly(&request.workspace.repository, work)).await
    }
}

/// A fault of this host's disk.
fn disk(error: impl Into<anyhow::Error>) -> ServiceError {
    ServiceError::new(FailureKind::Unavailable, "the workspaces' disk cannot be used: check space and permissions")
        .caused_by(error)
}

#[cfg(test)]
mod tests;
