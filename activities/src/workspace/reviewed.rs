//! A change as its author reviews it: what changed in which file, then each file's lines, no more than a model reads well.
//!
//! A change may have a gigabyte of lines. They go through here as git prints them, and of each file only the beginning stays.

use std::ops::ControlFlow;

use super::git::{Git, GitFailed};
use super::text;
use crate::failure::ServiceError;

/// Bytes of all that is shown.
const ALL: usize = 64 * 1024;
/// Bytes of the list of files.
const LIST: u64 = 8 * 1024;
/// Bytes that every file shown gets, if it has as many.
const LEAST: usize = 1024;
/// Bytes of git's words that are read, and of these that are held.
const READ: usize = 256 << 20;
const HELD: usize = 8 << 20;
/// Bytes in which a cut says so.
const SAID: usize = 64;
/// How git begins what it says of a file. No line of a file begins so: each has a space, a sign or a backslash before it.
const BEGIN: &[u8] = b"diff --git ";

/// What differs between two trees.
pub(super) async fn change(git: &Git, from: &str, to: &str) -> Result<String, ServiceError> {
    let diff = ["diff", "--no-ext-diff", "--no-textconv", "--no-color", "--find-renames"];
    let with = |how| diff.into_iter().chain([how, from, to]);
    let list = git.run_up_to(LIST, with("--stat=100")).await.map_err(GitFailed::unexpected)?;
    let list_is_cut = u64::try_from(list.len()).is_ok_and(|read| read == LIST);
    let mut parts = Parts::default();
    git.run_through(with("--patch"), |printed| parts.take(printed)).await.map_err(GitFailed::unexpected)?;
    let mut shown = String::from_utf8_lossy(&list).into_owned();
    if list_is_cut {
        shown.push_str("\n[... cut, there are more files; list them with run_command: git diff HEAD --stat]\n");
    }
    shown.push('\n');
    let room = ALL.saturating_sub(shown.len());
    shown.push_str(&parts.shown(room));
    Ok(shown)
}

/// What git says of each file.
#[derive(Default)]
struct Parts {
    files: Vec<Part>,
    /// The beginning of a line that may turn out to be [`BEGIN`].
    line: Vec<u8>,
    /// What comes next goes on with a line that is known.
    is_inside: bool,
    read: usize,
    held: usize,
    is_cut: bool,
}

#[derive(Default)]
struct Part {
    beginning: Vec<u8>,
    bytes: usize,
}

impl Parts {
    fn take(&mut self, mut printed: &[u8]) -> ControlFlow<()> {
        self.read += printed.len();
        while !printed.is_empty() {
            let end = printed.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let (mut here, after) = printed.split_at(end.unwrap_or(printed.len()));
            printed = after;
            if !self.is_inside {
                let (beginning, rest) = here.split_at((BEGIN.len() - self.line.len()).min(here.len()));
                self.line.extend_from_slice(beginning);
                here = rest;
                if self.line.len() < BEGIN.len() && end.is_none() {
                    continue;
                }
                let line = std::mem::take(&mut self.line);
                if line == BEGIN {
                    self.files.push(Part::default());
                }
                self.add(&line);
            }
            self.add(here);
            self.is_inside = end.is_none();
        }
        if self.read < READ {
            return ControlFlow::Continue(());
        }
        self.is_cut = true;
        ControlFlow::Break(())
    }

    fn add(&mut self, bytes: &[u8]) {
        let Some(part) = self.files.last_mut() else { return };
        part.bytes += bytes.len();
        let room = ALL.saturating_sub(part.beginning.len()).min(HELD.saturating_sub(self.held));
        let kept = &bytes[..room.min(bytes.len())];
        part.beginning.extend_from_slice(kept);
        self.held += kept.len();
    }

    /// As many files as have room, each as far as it goes when all are treated alike.
    fn shown(&self, room: usize) -> String {
        let most = self.share(room);
        let limit = room.saturating_sub(2 * SAID);
        let (mut shown, mut left_out) = (String::new(), 0);
        for part in &self.files {
            let mut text = String::from_utf8_lossy(&part.beginning[..part.beginning.len().min(most)]).into_owned();
            if part.bytes > part.beginning.len().min(most) {
                let whole = text.rfind('\n').map_or(text.len(), |end| end + 1);
                text.truncate(whole);
                text.push_str(&format!("[... cut, {} bytes of this file in all]\n", part.bytes));
            }
            if shown.len() + text.len() > limit {
                left_out += 1;
            } else {
                shown.push_str(&text);
            }
        }
        if left_out > 0 || self.is_cut {
            let files = if self.is_cut { "more".to_owned() } else { left_out.to_string() };
            shown.push_str(&format!(
                "[... cut, {files} files are not here; see them with run_command: git diff HEAD]\n"
            ));
        }
        text::cap(&shown, room)
    }

    /// The most bytes for one file with which all have room, but no less than [`LEAST`].
    fn share(&self, room: usize) -> usize {
        let mut sizes: Vec<usize> = self.files.iter().map(|part| part.bytes).collect();
        sizes.sort_unstable();
        let (mut left, mut share) = (room.saturating_sub(2 * SAID), room);
        for (before, size) in sizes.iter().enumerate() {
            share = left / (sizes.len() - before);
            if *size > share {
                break;
            }
            left -= size;
            share = room;
        }
        if share == room { share } else { share.saturating_sub(SAID).max(LEAST) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// git's words of files with these many lines, given in pieces of `step` bytes.
    fn parts(lines: &[usize], step: usize) -> Parts {
        let mut said = Vec::new();
        for (number, lines) in lines.iter().enumerate() {
            said.extend_from_slice(format!("diff --git a/f{number} b/f{number}\n@@\n").as_bytes());
            said.extend_from_slice("+diff --git x\n".repeat(*lines).as_bytes());
        }
        let mut parts = Parts::default();
        for piece in said.chunks(step) {
            assert!(parts.take(piece).is_continue());
        }
        parts
    }

    #[test]
    fn a_large_file_hides_no_other() {
        for step in [1, 7, 4_096] {
            let shown = parts(&[1, 50_000, 2, 30_000, 3], step).shown(ALL);
            assert!(shown.len() <= ALL && shown.len() > ALL - 2_000, "{}", shown.len());
            let named = shown.lines().filter(|line| line.starts_with("diff --git ")).count();
            assert_eq!(named, 5);
            assert_eq!(shown.matches("[... cut").count(), 2);
            assert!(shown.ends_with("diff --git a/f4 b/f4\n@@\n+diff --git x\n+diff --git x\n+diff --git x\n"));
        }
    }

    #[test]
    fn what_has_room_is_whole_and_many_files_are_counted() {
        let whole = parts(&[3, 1, 2], 100).shown(ALL);
        assert!(!whole.contains("cut") && whole.matches("+diff").count() == 6, "{whole}");
        let shown = parts(&[200; 300], 1_000).shown(ALL);
        assert!(shown.len() <= ALL, "{}", shown.len());
        assert!(shown.contains("files are not here"), "{}", &shown[shown.len() - 200..]);
    }
}
