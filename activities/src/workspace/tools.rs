//! The tools an agent has in a workspace. Wrong input and failing commands are replies that say what to do.

use std::time::Duration;

use workflows::contract::tools::{
    EditFile, ListFiles, ReadWorkspaceFile, RunCommand, RunTests, SearchText, ToolReply, WriteFile,
};
use workflows::contract::workspace::{Workspace, WorkspaceCall, WorkspaceReply};

use super::area::{Area, Checkout, Claim};
use super::mirror::Mirror;
use super::paths::InnerPath;
use super::snapshot::{self, Taken};
use super::{WorkspaceActivities, repository, text};
use crate::failure::ServiceError;
use crate::sandbox::{Command, Exit, Finished};
use crate::tools::decoded;

/// Most bytes of a reply.
const REPLY_CAP: usize = 64 * 1024;
/// Lines that `read_file` shows at once.
const MOST_LINES: u32 = 2000;
/// Characters of one found or shown line.
const LINE_CAP: usize = 1000;
/// Time a search may take: a pattern can be built to take forever.
const SEARCH_LIMIT: Duration = Duration::from_secs(30);

/// What a tool has to say; the error is also for the model.
type Reply = Result<String, String>;

/// A tool call at work.
struct Work<'a> {
    activities: &'a WorkspaceActivities,
    mirror: &'a Mirror<'a>,
    checkout: &'a Checkout,
    workspace: &'a Workspace,
    limit: Duration,
}

impl WorkspaceActivities {
    /// Answers one call. A call that died half-way starts again from the same files.
    pub(super) async fn call_tool_for(
        &self,
        claim: &Claim,
        request: WorkspaceCall,
    ) -> Result<WorkspaceReply, ServiceError> {
        let WorkspaceCall { workspace, call, command_seconds } = request;
        let input = self.blobs.get(&call.input).await?;
        let area = Area::claim(&self.settings, claim).await?;
        let mirror = self.mirror(&workspace).await?;
        let tree = mirror.ensure(&workspace, &self.blobs, area.path()).await?;
        let checkout = match call.name.as_str() {
            "run_command" | "run_tests" => self.check_out(&area, &mirror, "call", &tree, &workspace.base).await?,
            // Nothing runs, so nothing needs to be installed.
            _ => area.check_out(&mirror, "call", &tree, &workspace.base).await?,
        };
        let work = Work {
            activities: self,
            mirror: &mirror,
            checkout: &checkout,
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
            "read_file" => unchanged(decoded(name, input).and_then(|input| self.read_file(&input))),
            "search_text" => unchanged(match decoded::<SearchText>(name, input) {
                Ok(input) => self.search_text(input).await?,
                Err(why) => Err(why),
            }),
            "edit_file" => {
                let edited = decoded::<EditFile>(name, input)
                    .and_then(|input| self.edit_file(&input).map(|said| (said, input.path)));
                self.keep_file(edited).await
            }
            "write_file" => {
                let written = decoded::<WriteFile>(name, input)
                    .and_then(|input| self.write_file(&input).map(|said| (said, input.path)));
                self.keep_file(written).await
            }
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

    async fn list_files(&self, input: ListFiles) -> Result<Reply, ServiceError> {
        let below = match input.path.as_deref().map(|path| path.trim_end_matches('/')) {
            None | Some("" | "." | "/w") => None,
            Some(path) => match InnerPath::parse(path) {
                Ok(path) => Some(path),
                Err(why) => return Ok(Err(why)),
            },
        };
        let mut args = vec!["ls-files".as_ref(), "-z".as_ref(), "--cached".as_ref(), "--".as_ref()];
        args.extend(below.as_ref().map(|path| path.as_path().as_os_str()));
        let listed = self.checkout.git.run(args).await.map_err(super::git::GitFailed::unexpected)?;
        let listed = String::from_utf8_lossy(&listed);
        let names: Vec<&str> = listed.split_terminator('\0').collect();
        if names.is_empty() {
            return Ok(Err("There are no files there. Use list_files without a path to see all.".to_owned()));
        }
        let mut said = format!("{} files\n", names.len());
        for name in names {
            if said.len() + name.len() > REPLY_CAP - 200 {
                said.push_str("[... more; give a path to see a part]\n");
                break;
            }
            said.push_str(name);
            said.push('\n');
        }
        Ok(Ok(said))
    }

    fn read_file(&self, input: &ReadWorkspaceFile) -> Reply {
        let bytes = InnerPath::parse(&input.path)?.read(&self.checkout.files)?;
        if bytes.iter().take(8000).any(|byte| *byte == 0) {
            return Err(format!("{} is not text; it has {} bytes.", input.path, bytes.len()));
        }
        let content = String::from_utf8_lossy(&bytes);
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
        Ok(said)
    }

    async fn search_text(&self, input: SearchText) -> Result<Reply, ServiceError> {
        let below = match input.path.as_deref().map(|path| path.trim_end_matches('/')) {
            None | Some("" | "." | "/w") => None,
            Some(path) => match InnerPath::parse(path) {
                Ok(path) => Some(path),
                Err(why) => return Ok(Err(why)),
            },
        };
        let mut args: Vec<&std::ffi::OsStr> =
            ["grep", "--cached", "-n", "-I", "-E", "--no-color", "--no-textconv", "-e", &input.pattern, "--"]
                .map(AsRef::as_ref)
                .to_vec();
        args.extend(below.as_ref().map(|path| path.as_path().as_os_str()));
        let found = match tokio::time::timeout(SEARCH_LIMIT, self.checkout.git.run(args)).await {
            Err(_) => return Ok(Err("The search took too long. Use a simpler pattern, or give a path.".to_owned())),
            Ok(Err(failed)) if failed.code == Some(1) => return Ok(Ok("Nothing matches.".to_owned())),
            Ok(Err(failed)) if failed.code == Some(128) => {
                return Ok(Err(format!("The pattern is not an extended regular expression: {}", failed.said)));
            }
            Ok(found) => found.map_err(super::git::GitFailed::unexpected)?,
        };
        let found = String::from_utf8_lossy(&found);
        let lines: Vec<&str> = found.lines().collect();
        let mut said = String::new();
        for (shown, line) in lines.iter().enumerate() {
            let line = text::cap_line(line, LINE_CAP);
            if said.len() + line.len() > REPLY_CAP - 200 {
                said.push_str(&format!(
                    "[... {} more lines; narrow the pattern or give a path]\n",
                    lines.len() - shown
                ));
                break;
            }
            said.push_str(&line);
            said.push('\n');
        }
        Ok(Ok(said))
    }

    fn edit_file(&self, input: &EditFile) -> Reply {
        let path = InnerPath::parse(&input.path)?;
        let content = String::from_utf8(path.read(&self.checkout.files)?)
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
            [at] => {
                path.write(&self.checkout.files, content.replacen(&old, &new, 1).as_bytes())?;
                Ok(format!("Edited {} at line {}.", input.path, line_of(at)))
            }
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

    fn write_file(&self, input: &WriteFile) -> Reply {
        InnerPath::parse(&input.path)?.write(&self.checkout.files, input.content.as_bytes())?;
        Ok(format!("Wrote {}, {} lines.", input.path, input.content.lines().count()))
    }

    /// After a file was written: the new snapshot, or the old one and why.
    async fn keep_file(&self, written: Result<(String, String), String>) -> Result<(Reply, Workspace), ServiceError> {
        let (said, path) = match written {
            Ok(written) => written,
            Err(why) => return Ok((Err(why), self.workspace.clone())),
        };
        let after = match snapshot::take(self.mirror, self.checkout, self.workspace, &self.activities.blobs).await? {
            Taken::Snapshot(after) => after,
            Taken::Refused(why) => return Ok((Err(why), self.workspace.clone())),
        };
        let inner = InnerPath::parse(&path).map(|path| path.as_path().to_owned()).unwrap_or_default();
        let kept = self
            .checkout
            .git
            .run(["ls-files".as_ref(), "--error-unmatch".as_ref(), "--".as_ref(), inner.as_os_str()])
            .await;
        if kept.is_err() {
            let why =
                format!("{path} is ignored by the repository's .gitignore, so it was not kept. Use another path.");
            return Ok((Err(why), self.workspace.clone()));
        }
        Ok((Ok(said), after))
    }

    async fn run_command(&self, command: &str) -> Result<(Reply, Workspace), ServiceError> {
        let finished = self.sandboxed(command).await?;
        let mut reply = describe(&finished, self.limit);
        let after = match snapshot::take(self.mirror, self.checkout, self.workspace, &self.activities.blobs).await? {
            Taken::Snapshot(after) => after,
            Taken::Refused(why) => {
                let said = reply.unwrap_or_else(|said| said);
                return Ok((
                    Err(format!("{why} Nothing was kept of what the command changed.\n{said}")),
                    self.workspace.clone(),
                ));
            }
        };
        let changes = self.changes(&after).await?;
        if let (Some(changes), Ok(said) | Err(said)) = (changes, &mut reply) {
            *said = format!("{changes}\n{said}");
        }
        if let Err(said) = &mut reply {
            // A command that failed may have missed what is not there.
            *said = format!("{}{said}", self.set_up_notes());
        }
        Ok((reply, after))
    }

    async fn run_tests(&self) -> Result<Reply, ServiceError> {
        let tools = self.activities.tools().await?;
        let settings = match repository::read(&self.mirror.git, self.workspace.base.as_str(), tools).await? {
            Ok(settings) => settings,
            Err(why) => return Ok(Err(why)),
        };
        let of_head = match settings.test {
            Some(_) => Ok(settings),
            None => repository::read(&self.mirror.git, &self.checkout.tree, tools).await?,
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
        let finished = self.sandboxed(&test).await?;
        let with_command = |said: String| format!("{}$ {test}\n{said}", self.set_up_notes());
        Ok(describe(&finished, self.limit).map(with_command).map_err(with_command))
    }

    /// What could not be installed, a line each.
    fn set_up_notes(&self) -> String {
        self.checkout.prepared.notes.iter().map(|note| format!("{note}\n")).collect()
    }

    async fn sandboxed(&self, script: &str) -> Result<Finished, ServiceError> {
        // Room for notes, the first line and the changed files.
        let command = Command { output_cap: REPLY_CAP - 8192, ..self.checkout.script(script, self.limit) };
        self.activities.run(command).await
    }

    /// One line that names the files a command changed.
    async fn changes(&self, after: &Workspace) -> Result<Option<String>, ServiceError> {
        let tree = match &after.snapshot {
            Some(snapshot) => snapshot.tree.to_string(),
            None => self.mirror.tree_of(&after.base).await?,
        };
        let args = ["diff-tree", "-r", "-z", "--no-renames", "--name-status", &self.checkout.tree, &tree];
        let listed = self.mirror.git.run(args).await.map_err(super::git::GitFailed::unexpected)?;
        let listed = String::from_utf8_lossy(&listed);
        let fields: Vec<&str> = listed.split_terminator('\0').collect();
        let all: Vec<String> = fields.chunks_exact(2).map(|pair| pair.join(" ")).collect();
        let named = all.iter().take(20).cloned().collect::<Vec<_>>().join(", ");
        let rest = if all.len() > 20 { format!(" and {} more", all.len() - 20) } else { String::new() };
        Ok((!all.is_empty()).then(|| format!("Files changed: {named}{rest}")))
    }
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
        Exit::OverLimit(which) => Err(format!("The command was stopped: it used too much {which}.\n{said}")),
        Exit::Cancelled | Exit::LaunchFailed(_) => Err(said.to_owned()),
    }
}
