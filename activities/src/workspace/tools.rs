//! The tools an agent has in a workspace. Wrong input and failing commands are replies that say what to do.

use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use workflows::contract::tools::{
    EditFile, ListFiles, ReadWorkspaceFile, RunCommand, RunTests, SearchText, ToolReply, WriteFile,
};
use workflows::contract::workspace::{Workspace, WorkspaceCall, WorkspaceReply};

use super::apart::Apart;
use super::area::{Area, Checkout, Claim};
use super::editing::Editor;
use super::git::GitFailed;
use super::mirror::Mirror;
use super::objects::{Files, Found};
use super::paths::InnerPath;
use super::snapshot::{self, Taken};
use super::{WorkspaceActivities, pool, repository, text};
use crate::failure::ServiceError;
use crate::sandbox::{Command, Exit, Finished};
use crate::tools::decoded;

/// Most bytes of a reply.
const REPLY_CAP: usize = 64 * 1024;
/// Lines that `read_file` shows at once.
const MOST_LINES: u32 = 2000;
/// Characters of one found or shown line.
const LINE_CAP: usize = 1000;

/// What a tool has to say; the error is also for the model.
type Reply = Result<String, String>;

/// Beginning of a file that stands for one in Git LFS
/// (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>).
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// A tool call at work.
struct Work<'a> {
    activities: &'a WorkspaceActivities,
    claim: &'a Claim,
    area: &'a Area,
    mirror: &'a Mirror<'a>,
    /// The files.
    tree: &'a str,
    workspace: &'a Workspace,
    limit: Duration,
}

impl WorkspaceActivities {
    /// Answers one call. A call that died half-way starts again from the same files.
    ///
    /// # Errors
    /// As of the activity `workspace.call_tool`, which makes `claim` of itself.
    pub async fn call_tool_for(&self, claim: &Claim, request: WorkspaceCall) -> Result<WorkspaceReply, ServiceError> {
        let WorkspaceCall { workspace, call, command_seconds } = request;
        let input = self.blobs.get(&call.input).await?;
        let area = Area::claim(&self.settings, claim).await?;
        let mirror = self.mirror(&workspace).await?;
        let tree = mirror.ensure(&workspace, &self.blobs, area.path()).await?;
        let work = Work {
            activities: self,
            claim,
            area: &area,
            mirror: &mirror,
            tree: &tree,
            workspace: &workspace,
            limit: Duration::from_secs(command_seconds),
        };
        let (reply, after) = work.answer(&call.name, &input).await?;
        let (said, is_error) = match reply {
            Ok(said) => (said, false),
            Err(said) => (said, true),
        };
        let output = self.blobs.put(text::cap(&said, REPLY_CAP)).await?;
        Ok(WorkspaceReply { workspace: after, reply: ToolReply { output, is_error } })
    }
}

impl Work<'_> {
    /// The reply, and the workspace after it.
    async fn answer(&self, name: &str, input: &[u8]) -> Result<(Reply, Workspace), ServiceError> {
        let unchanged = |reply| Ok((reply, self.workspace.clone()));
        match name {
            "list_files" => unchanged(match decoded::<ListFiles>(name, input) {
                Ok(input) => self.list_files(input).await?,
                Err(why) => Err(why),
            }),
            "read_file" => unchanged(match decoded::<ReadWorkspaceFile>(name, input) {
                Ok(input) => self.read_file(&input).await?,
                Err(why) => Err(why),
            }),
            "search_text" => unchanged(match decoded::<SearchText>(name, input) {
                Ok(input) => self.search_text(input).await?,
                Err(why) => Err(why),
            }),
            "edit_file" => match decoded::<EditFile>(name, input) {
                Ok(input) => self.edit_file(&input).await,
                Err(why) => unchanged(Err(why)),
            },
            "write_file" => match decoded::<WriteFile>(name, input) {
                Ok(input) => self.write_file(&input).await,
                Err(why) => unchanged(Err(why)),
            },
            "run_command" => match decoded::<RunCommand>(name, input) {
                Ok(input) => self.run_command(&input.command).await,
                Err(why) => unchanged(Err(why)),
            },
            "run_tests" => unchanged(match decoded::<RunTests>(name, input) {
                Ok(RunTests {}) => self.run_tests().await?,
                Err(why) => Err(why),
            }),
            _ => unchanged(Err(format!(
                "There is no tool {name:?} here. There are list_files, read_file, search_text, edit_file, write_file, \
                 run_command and run_tests."
            ))),
        }
    }

    fn files(&self) -> Files<'_> {
        Files { git: &self.mirror.git, tree: self.tree }
    }

    async fn list_files(&self, input: ListFiles) -> Result<Reply, ServiceError> {
        let below = match below(input.path.as_deref()) {
            Ok(below) => below,
            Err(why) => return Ok(Err(why)),
        };
        let names = self.files().list(below.as_ref()).await?;
        if names.is_empty() {
            return Ok(Err("There are no files there. Use list_files without a path to see all.".to_owned()));
        }
        let mut said = if names.len() == 1 { "1 file\n".to_owned() } else { format!("{} files\n", names.len()) };
        for name in names {
            let name = text::shown(name.as_os_str().as_bytes());
            if said.len() + name.len() > REPLY_CAP - 200 {
                said.push_str("[... more; give a path to see a part]\n");
                break;
            }
            said.push_str(&name);
            said.push('\n');
        }
        Ok(Ok(said))
    }

    async fn read_file(&self, input: &ReadWorkspaceFile) -> Result<Reply, ServiceError> {
        let path = match InnerPath::parse(&input.path) {
            Ok(path) => path,
            Err(why) => return Ok(Err(why)),
        };
        Ok(self.files().read(&path).await?.and_then(|bytes| part_of(&bytes, input)))
    }

    async fn search_text(&self, input: SearchText) -> Result<Reply, ServiceError> {
        let below = match below(input.path.as_deref()) {
            Ok(below) => below,
            Err(why) => return Ok(Err(why)),
        };
        let (lines, cut) = match self.files().search(&input.pattern, below.as_ref()).await? {
            Found::Lines { lines, cut } => (lines, cut),
            Found::TooLong => {
                return Ok(Err("The search took too long. Use a simpler pattern, or give a path.".to_owned()));
            }
            Found::BadPattern(why) => {
                return Ok(Err(format!("The pattern is not an extended regular expression: {why}")));
            }
        };
        if lines.is_empty() {
            return Ok(Ok("Nothing matches.".to_owned()));
        }
        let mut said = String::new();
        for (shown, (path, number, line)) in lines.iter().enumerate() {
            let (number, line) = (String::from_utf8_lossy(number), String::from_utf8_lossy(line));
            let line = text::cap_line(&format!("{}:{number}:{line}", text::shown(path)), LINE_CAP);
            if said.len() + line.len() > REPLY_CAP - 200 {
                let least = if cut { "at least " } else { "" };
                said.push_str(&format!(
                    "[... {least}{} more lines; narrow the pattern or give a path]\n",
                    lines.len() - shown
                ));
                break;
            }
            said.push_str(&line);
            said.push('\n');
        }
        Ok(Ok(said))
    }

    async fn edit_file(&self, input: &EditFile) -> Result<(Reply, Workspace), ServiceError> {
        let unchanged = |why| Ok((Err(why), self.workspace.clone()));
        let path = match InnerPath::parse(&input.path) {
            Ok(path) => path,
            Err(why) => return unchanged(why),
        };
        let content = match self.files().read(&path).await? {
            Ok(content) => content,
            Err(why) => return unchanged(why),
        };
        match edited(content, input) {
            Ok((content, line)) => self.write(&path, &content, format!("Edited {} at line {line}.", input.path)).await,
            Err(why) => unchanged(why),
        }
    }

    async fn write_file(&self, input: &WriteFile) -> Result<(Reply, Workspace), ServiceError> {
        match InnerPath::parse(&input.path) {
            Ok(path) => {
                let said = format!("Wrote {}, {} lines.", input.path, input.content.lines().count());
                self.write(&path, input.content.as_bytes(), said).await
            }
            Err(why) => Ok((Err(why), self.workspace.clone())),
        }
    }

    /// Writes a file and says `said`.
    async fn write(&self, path: &InnerPath, content: &[u8], said: String) -> Result<(Reply, Workspace), ServiceError> {
        let Self { mirror, area, tree, workspace, .. } = *self;
        let apart = Apart::make(area.path().join("objects"))?;
        let edited = match (Editor { mirror, area, apart: &apart, tree }).write(path, content).await? {
            Ok(edited) => edited,
            Err(why) => return Ok((Err(why), workspace.clone())),
        };
        let files = snapshot::Files { before: tree, after: &edited.tree, index: &edited.index };
        Ok(match snapshot::keep(mirror, apart, &files, workspace, &self.activities.blobs).await? {
            Taken::Snapshot(after) => (Ok(said), after),
            Taken::Refused(why) => (Err(why), workspace.clone()),
        })
    }

    async fn run_command(&self, command: &str) -> Result<(Reply, Workspace), ServiceError> {
        let checkout = self.check_out().await?;
        let finished = self.sandboxed(&checkout, command).await?;
        let mut reply = describe(&finished, self.limit);
        if let (Exit::OverLimit(_), Err(said)) = (&finished.exit, &reply) {
            // What it left may be more than a snapshot can take.
            let said = said.replacen('\n', "\nNothing was kept of what the command changed.\n", 1);
            return Ok((Err(said), self.workspace.clone()));
        }
        let (taken, walked) =
            snapshot::take_walked(self.mirror, &checkout, self.workspace, &self.activities.blobs).await?;
        let after = match taken {
            Taken::Snapshot(after) => after,
            Taken::Refused(why) => {
                let said = reply.unwrap_or_else(|said| said);
                return Ok((
                    Err(format!("{why} Nothing was kept of what the command changed.\n{said}")),
                    self.workspace.clone(),
                ));
            }
        };
        let tree = match &after.snapshot {
            Some(snapshot) => snapshot.tree.to_string(),
            None => self.mirror.tree_of(&after.base).await?,
        };
        if let (Some(changes), Ok(said) | Err(said)) = (self.changes(&tree).await?, &mut reply) {
            *said = format!("{changes}\n{said}");
        }
        if let Err(said) = &mut reply {
            // A command that failed may have missed what is not there.
            *said = format!("{}{said}", set_up_notes(&checkout));
        }
        if matches!(finished.exit, Exit::Code(_)) {
            pool::keep(&self.activities.settings, self.claim, self.mirror, &checkout, &tree, &walked).await;
        }
        Ok((reply, after))
    }

    async fn run_tests(&self) -> Result<Reply, ServiceError> {
        let tools = self.activities.tools().await?;
        let settings = match repository::read(&self.mirror.git, self.workspace.approved().as_str(), tools).await? {
            Ok(settings) => settings,
            Err(why) => return Ok(Err(why)),
        };
        let of_head = match settings.test {
            Some(_) => Ok(settings),
            None => repository::read(&self.mirror.git, self.tree, tools).await?,
        };
        let test = match of_head.map(|settings| settings.test) {
            Ok(Some(test)) => test,
            Ok(None) => {
                return Ok(Err(
                    "I found no test command: the repository has no ticketwright.toml with one, and no file that \
                               tells. Use run_command to run tests."
                        .to_owned(),
                ));
            }
            Err(why) => return Ok(Err(why)),
        };
        let checkout = self.check_out().await?;
        let finished = self.sandboxed(&checkout, &test).await?;
        if matches!(finished.exit, Exit::Code(_)) {
            // What tests write is not kept, but what they built serves the next run.
            let walked = snapshot::walk(&checkout).await?;
            if walked.refused(&checkout).await?.is_none() {
                pool::keep(&self.activities.settings, self.claim, self.mirror, &checkout, self.tree, &walked).await;
            }
        }
        let with_command = |said: String| format!("{}$ {test}\n{said}", set_up_notes(&checkout));
        Ok(describe(&finished, self.limit).map(with_command).map_err(with_command))
    }

    /// The files, for a command, with what they need installed.
    async fn check_out(&self) -> Result<Checkout, ServiceError> {
        let Self { activities, claim, area, mirror, tree, workspace, .. } = *self;
        let owner = activities.sandbox.spare_user();
        let mut checkout =
            pool::check_out(&activities.settings, claim, area, mirror, tree, &workspace.base, owner).await?;
        activities.prepare(area, mirror, workspace.approved(), &mut checkout).await?;
        Ok(checkout)
    }

    async fn sandboxed(&self, checkout: &Checkout, script: &str) -> Result<Finished, ServiceError> {
        // Room for notes, the first line and the changed files.
        let command = Command { output_cap: REPLY_CAP - 8192, ..checkout.script(script, self.limit) };
        self.activities.run(command).await
    }

    /// One line that names the files a command changed.
    async fn changes(&self, after: &str) -> Result<Option<String>, ServiceError> {
        if after == self.tree {
            return Ok(None);
        }
        let args = ["diff-tree", "-r", "-z", "--no-renames", "--name-status", self.tree, after];
        let listed = self.mirror.git.run(args).await.map_err(GitFailed::unexpected)?;
        let fields: Vec<&[u8]> = listed.split(|byte| *byte == 0).collect();
        let all = fields.chunks_exact(2);
        let (named, more) = (all.clone().take(20), all.len().saturating_sub(20));
        let named: Vec<String> = named
            .map(|pair| format!("{} {}", text::shown(pair[0]), text::cap_line(&text::shown(pair[1]), 200)))
            .collect();
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        Ok((!named.is_empty()).then(|| format!("Files changed: {}{rest}", named.join(", "))))
    }
}

/// The folder a model asks about; `None`: all.
fn below(path: Option<&str>) -> Result<Option<InnerPath>, String> {
    match path.map(|path| path.trim_end_matches('/')) {
        None | Some("" | "." | "/w") => Ok(None),
        Some(path) => InnerPath::parse(path).map(Some),
    }
}

/// The lines that the model asks for.
fn part_of(bytes: &[u8], input: &ReadWorkspaceFile) -> Reply {
    if bytes.iter().take(8000).any(|byte| *byte == 0) {
        return Err(format!("{} is not text; it has {} bytes.", input.path, bytes.len()));
    }
    let content = String::from_utf8_lossy(bytes);
    let all = content.lines().count();
    let from = input.from_line.unwrap_or(1).max(1) as usize;
    let wanted = input.lines.unwrap_or(MOST_LINES).clamp(1, MOST_LINES) as usize;
    if all == 0 {
        return Ok(format!("{} is empty.", input.path));
    }
    if from > all {
        return Err(format!("{} has {all} lines; from_line {from} is behind its end.", input.path));
    }
    let mut said = String::new();
    let mut last = from - 1;
    for (number, line) in (1..).zip(content.lines()).skip(from - 1).take(wanted) {
        let line = text::cap_line(line, LINE_CAP);
        if said.len() + line.len() > REPLY_CAP - 200 {
            break;
        }
        said.push_str(&format!("{number:>6}\t{line}\n"));
        last = number;
    }
    if from > 1 || last < all {
        said.push_str(&format!("[lines {from} to {last} of {all}]\n"));
    }
    if bytes.starts_with(POINTER) {
        said.push_str("[a pointer to Git LFS; the file itself is not here]\n");
    }
    Ok(said)
}

/// The file after the edit, and the line where it was made.
fn edited(content: Vec<u8>, input: &EditFile) -> Result<(Vec<u8>, usize), String> {
    let content = String::from_utf8(content)
        .map_err(|_| format!("{} is not UTF-8 text; use run_command to change it.", input.path))?;
    if input.old.is_empty() {
        return Err("`old` is empty. Give the text to replace, or use write_file for a new file.".to_owned());
    }
    // Models write \n; a file with \r\n keeps its line ends.
    let windows = content.contains("\r\n") && !input.old.contains('\r') && !content.contains(&input.old);
    let adapt = |text: &str| if windows { text.replace('\n', "\r\n") } else { text.to_owned() };
    let (old, new) = (adapt(&input.old), adapt(&input.new));
    if old == new {
        return Err("`old` and `new` are the same.".to_owned());
    }
    let places: Vec<usize> = content.match_indices(&old).map(|(at, _)| at).collect();
    let line_of = |at: usize| content[..at].matches('\n').count() + 1;
    match places[..] {
        [] => Err(format!(
            "`old` does not occur in {}. Read the file again and copy the text exactly, with its white space.",
            input.path
        )),
        [at] => Ok((content.replacen(&old, &new, 1).into_bytes(), line_of(at))),
        _ => {
            let lines: Vec<String> = places.iter().take(10).map(|at| line_of(*at).to_string()).collect();
            Err(format!(
                "`old` occurs {} times in {} (lines {}). Add lines around it until it occurs once.",
                places.len(),
                input.path,
                lines.join(", ")
            ))
        }
    }
}

/// What could not be installed, a line each.
fn set_up_notes(checkout: &Checkout) -> String {
    checkout.prepared.notes.iter().map(|note| format!("{note}\n")).collect()
}

fn describe(finished: &Finished, limit: Duration) -> Reply {
    let said = finished.stdout.text();
    let said = if said.trim().is_empty() { "(no output)" } else { said.trim_end() };
    let seconds = finished.duration.as_secs_f64();
    match &finished.exit {
        Exit::Code(0) => Ok(format!("Exit code 0 after {seconds:.1} s.\n{said}")),
        Exit::Code(code) => Err(format!("The command failed with exit code {code} after {seconds:.1} s.\n{said}")),
        Exit::TimedOut => Err(format!(
            "The command was stopped after {} s, the longest it may run. Run less at a time.\n{said}",
            limit.as_secs()
        )),
        Exit::OverLimit(which) => Err(format!("The command was stopped, over its limit of {which}.\n{said}")),
        Exit::NotStarted(why) => Err(format!("The command was not started: {why}.")),
        Exit::Cancelled | Exit::LaunchFailed(_) => Err(said.to_owned()),
    }
}
