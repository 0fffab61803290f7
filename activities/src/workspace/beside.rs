//! Rust's tests that stand beside the code: one side's tests with the other side's code.

use std::collections::BTreeMap;

use super::assertions::inline;
use super::judge::Refusal;
use super::prove::Making;
use super::repository::is_test;
use super::trees::Changed;
use crate::failure::ServiceError;

/// Files above a new one that are searched for its declaration.
const ABOVE: usize = 8;

/// A file of Rust whose own tests change, with code of one side and tests of the other.
pub(super) struct Inline {
    pub(super) path: String,
    /// The base does not have the file.
    pub(super) is_new: bool,
    /// The code of the base with the tests of the head.
    pub(super) base_with_new_tests: String,
    /// The code of the head with the tests of the base.
    pub(super) head_with_old_tests: String,
}

impl Making<'_> {
    /// Notes which changed files of Rust are for tests only, whatever they are called: those that say so themselves, and those that
    /// are declared for tests only, like `#[cfg(test)] mod checks;`.
    pub(super) async fn declared(
        &mut self,
        changed: &[Changed],
        (base_tree, head_tree): (&str, &str),
    ) -> Result<(), ServiceError> {
        for change in changed.iter().filter(|it| it.path.ends_with(".rs") && !is_test(&it.path)) {
            let tree = if change.status == 'D' { base_tree } else { head_tree };
            let content = self.content(tree, &change.path, true).await?;
            if inline::is_all_for_tests(&content) || self.is_below_tests(tree, &change.path).await? {
                self.tests.insert(change.path.clone());
            }
        }
        Ok(())
    }

    /// Whether the module of this file, or one that it is in, is declared for tests only.
    async fn is_below_tests(&self, tree: &str, path: &str) -> Result<bool, ServiceError> {
        let mut path = path.to_owned();
        for _ in 0..ABOVE {
            let Some((name, parent, content)) = self.parent(tree, &path).await? else { return Ok(false) };
            if inline::declares_for_tests(&content, &name) {
                return Ok(true);
            }
            path = parent;
        }
        Ok(false)
    }

    /// The name of a file's module, and the file that declares it, with its text.
    async fn parent(&self, tree: &str, path: &str) -> Result<Option<(String, String, String)>, ServiceError> {
        let Some((name, parents)) = parents(path) else { return Ok(None) };
        for parent in self.originals_at(tree, &parents).await? {
            let content = self.content(tree, &parent.path, true).await?;
            if inline::declaration(&content, &name).is_some() {
                return Ok(Some((name, parent.path, content)));
            }
        }
        Ok(None)
    }

    /// Files of Rust with code, whose own tests change.
    pub(super) async fn inline(
        &self,
        changed: &[Changed],
        (base_tree, head_tree): (&str, &str),
    ) -> Result<Vec<Inline>, ServiceError> {
        let mut found = Vec::new();
        let files = changed.iter().filter(|it| matches!(it.status, 'A' | 'M') && it.path.ends_with(".rs"));
        for change in files.filter(|it| !self.is_test(&it.path)) {
            let is_new = change.status == 'A';
            let base = self.content(base_tree, &change.path, !is_new).await?;
            let head = self.content(head_tree, &change.path, true).await?;
            if is_new && inline::blocks(&head).is_empty() {
                continue;
            }
            let base_with_new_tests = inline::combined(&base, &head);
            if base_with_new_tests.trim_end() != base.trim_end() {
                let head_with_old_tests = inline::combined(&head, &base);
                found.push(Inline { path: change.path.clone(), is_new, base_with_new_tests, head_with_old_tests });
            }
        }
        Ok(found)
    }

    /// The lines in which the code differs. Where tests stand beside it, git may see one change that goes through both; so both sides
    /// have the head's tests here.
    pub(super) async fn code_of(
        &self,
        files: &[Inline],
        base_tree: &str,
        head_tree: &str,
        diff: &str,
    ) -> Result<Result<String, Refusal>, ServiceError> {
        let known = files.iter().filter(|file| !file.is_new);
        let contents: Vec<_> = known.map(|file| (file.path.clone(), Some(file.base_with_new_tests.clone()))).collect();
        if contents.is_empty() {
            return Ok(Ok(diff.to_owned()));
        }
        let base = self.with_contents(base_tree, &contents).await?;
        self.diff(&base, head_tree).await
    }

    /// The base's files with the head's tests beside their code. A file that the base does not have holds nothing but its tests, and
    /// is declared as on the head, for otherwise nothing would find them there.
    pub(super) async fn reached(
        &self,
        files: &[Inline],
        (base_tree, head_tree): (&str, &str),
    ) -> Result<Vec<(String, Option<String>)>, ServiceError> {
        let mut contents: BTreeMap<String, String> =
            files.iter().map(|file| (file.path.clone(), file.base_with_new_tests.clone())).collect();
        for file in files.iter().filter(|file| file.is_new) {
            let mut path = file.path.clone();
            for _ in 0..ABOVE {
                let Some((name, parent, declaring)) = self.parent(head_tree, &path).await? else { break };
                let known = match contents.get(&parent) {
                    Some(known) => known.clone(),
                    None => {
                        let there = !self.originals_at(base_tree, std::slice::from_ref(&parent)).await?.is_empty();
                        self.content(base_tree, &parent, there).await?
                    }
                };
                if inline::declaration(&known, &name).is_some() {
                    break;
                }
                let declaration = inline::declaration(&declaring, &name).unwrap_or_default();
                contents.insert(parent.clone(), format!("{}\n{declaration}\n", known.trim_end()));
                path = parent;
            }
        }
        Ok(contents.into_iter().map(|(path, content)| (path, Some(content))).collect())
    }
}

/// The module that a file of Rust is, and the files that may declare it.
fn parents(path: &str) -> Option<(String, Vec<String>)> {
    let stem = path.strip_suffix(".rs")?;
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    let (folder, name) = stem.rsplit_once('/')?;
    if matches!(name, "lib" | "main") {
        return None;
    }
    let within = ["mod", "lib", "main"].map(|file| format!("{folder}/{file}.rs"));
    Some((name.to_owned(), std::iter::once(format!("{folder}.rs")).chain(within).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_declared_above_it() {
        let (name, files) = parents("shop/src/cart/tax.rs").unwrap();
        assert_eq!(name, "tax");
        assert_eq!(
            files,
            ["shop/src/cart.rs", "shop/src/cart/mod.rs", "shop/src/cart/lib.rs", "shop/src/cart/main.rs"]
        );
        assert_eq!(parents("src/cart/mod.rs").unwrap().0, "cart");
        assert_eq!(parents("src/lib.rs"), None);
    }
}
