//! New tests on the base, one file at a time. Where tests are compiled, one error keeps all of a package's tests from running, and hides
//! what the compiler would say of the others.

use std::time::Instant;

use super::assertions::Language;
use super::beside::Inline;
use super::prove::Making;
use super::suite::{Fate, Only, Run, Suite};
use super::symbols::Missing;
use super::trees::Changed;
use crate::failure::ServiceError;

/// Files that are tried alone.
const FILES: usize = 6;

/// A file with new tests, and what stands there without them.
struct File<'a> {
    ids: Vec<&'a str>,
    path: String,
    without: Option<String>,
}

impl Making<'_> {
    /// `red`, the run of `tree`, which is the base with the head's tests, with what became of each new test in its file alone.
    pub(super) async fn alone(
        &mut self,
        suite: &Suite,
        mut red: Run,
        tree: &str,
        (new, tests, inline): (&[&str], &[&Changed], &[Inline]),
        (base_tree, head_tree): (&str, &str),
    ) -> Result<Run, ServiceError> {
        if red.report.broken.is_empty() || red.report.doubt.is_some() {
            return Ok(red);
        }
        let mut files: Vec<File<'_>> = Vec::new();
        let beside = inline.iter().map(|file| (&file.path, file.is_new, true));
        let changed = tests.iter().filter(|it| it.status != 'D').map(|it| (&it.path, it.status == 'A', false));
        for (path, is_new, is_code) in changed.chain(beside) {
            if !matches!(Language::of(path), Some(Language::Go | Language::Rust | Language::Java)) {
                continue;
            }
            let content = self.content(head_tree, path, true).await?;
            let ids: Vec<&str> = new.iter().copied().filter(|id| suite.runner.holds(path, &content, id)).collect();
            if ids.is_empty() || content.contains('\u{fffd}') {
                continue;
            }
            let before = self.content(base_tree, path, !is_new).await?;
            // A file that the code declares must be there.
            let without = (!is_new || is_code).then_some(before);
            files.push(File { ids, path: path.clone(), without });
        }
        if files.len() < 2 {
            return Ok(red);
        }
        let started = Instant::now();
        for alone in files.iter().take(FILES) {
            if started.elapsed() > self.limit {
                break;
            }
            let others = files.iter().filter(|file| file.path != alone.path);
            let others: Vec<_> = others.map(|file| (file.path.clone(), file.without.clone())).collect();
            let tree = self.with_contents(tree, &others).await?;
            let only = Only { ids: alone.ids.clone(), ..Only::default() };
            let run = self.run_only(suite, &format!("base with {} alone", alone.path), &tree, Some(&only)).await?;
            for id in &alone.ids {
                let fate = match (run.report.tests.get(*id), run.report.broken_for(id)) {
                    (Some(fate), _) => fate.clone(),
                    // What is missing now may be in one of the files that were left out.
                    (None, Some(broken)) if Missing::of(&broken.failure.line).is_none() => {
                        Fate::Failed(broken.failure.clone())
                    }
                    _ => continue,
                };
                red.report.tests.insert((*id).to_owned(), fate);
            }
        }
        Ok(red)
    }
}
