//! The parts of a change, to be taken back one at a time.

use super::assertions::{Language, is_code};
use super::diff::named;
use super::plain::is_plain;
use super::text;

/// Parts tried in one proof.
const TRIED: usize = 12;

/// A part of a change: some lines of a file in its new form, and what stood there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hunk {
    /// The file.
    pub(super) path: String,
    /// First line in the new form, from 1; with no lines there, the line before.
    start: usize,
    /// How many.
    lines: usize,
    before: Vec<String>,
}

impl Hunk {
    /// `shop/pricing.py:42`
    pub(super) fn place(&self) -> String {
        format!("{}:{}", text::cap_line(&self.path, 200), self.start.max(1))
    }

    /// Whether this line of the new form belongs to it.
    pub(super) fn has_line(&self, line: usize) -> bool {
        (self.start..self.start + self.lines).contains(&line)
    }

    /// Whether it begins or ends in these lines of the new form.
    pub(super) fn is_in(&self, lines: &std::ops::Range<usize>) -> bool {
        lines.contains(&self.start) || self.lines > 0 && lines.contains(&(self.start + self.lines - 1))
    }

    /// Whether it adds lines and takes none away.
    pub(super) fn only_adds(&self) -> bool {
        self.lines > 0 && self.before.iter().all(|line| line.trim().is_empty())
    }

    /// Whether it does no more than name things: imports and exports. `content`: the file's new form.
    pub(super) fn only_names(&self, content: &str) -> bool {
        const WORDS: [&str; 9] =
            ["import ", "from ", "export {", "export *", "module.exports", "use ", "pub use ", "mod ", "pub mod "];
        let names = |line: &str| {
            let line = line.trim();
            let listed =
                line.chars().all(|c| c.is_alphanumeric() || "_,{}()[]; '\"".contains(c)) && !line.contains(' ');
            listed || WORDS.iter().any(|word| line.starts_with(word)) || line.starts_with("__all__")
        };
        let mut now = content.lines().skip(self.start.saturating_sub(1)).take(self.lines);
        now.all(names) && self.before.iter().all(|line| names(line))
    }

    /// The file's new form without this part.
    pub(super) fn undone(&self, content: &str) -> String {
        let mut lines: Vec<&str> = content.split('\n').collect();
        let from = if self.lines == 0 { self.start } else { self.start.saturating_sub(1) }.min(lines.len());
        let to = (from + self.lines).min(lines.len());
        lines.splice(from..to, self.before.iter().map(String::as_str));
        lines.join("\n")
    }
}

/// Reads `git diff --unified=0`: the parts that change code outside the tests, and more than its comments.
pub(super) fn of_diff(diff: &str, is_test: &dyn Fn(&str) -> bool) -> Vec<Hunk> {
    let mut hunks: Vec<(Hunk, Vec<String>)> = Vec::new();
    let mut path: Option<String> = None;
    let mut in_header = true;
    for line in diff.lines() {
        if line.starts_with("diff --git ") {
            (path, in_header) = (None, true);
        } else if in_header && let Some(name) = named(line) {
            path = Some(name).filter(|name| !is_test(name) && !is_plain(name));
        } else if let (Some(path), Some((start, lines))) = (&path, range(line)) {
            in_header = false;
            hunks.push((Hunk { path: path.clone(), start, lines, before: Vec::new() }, Vec::new()));
        } else if !in_header
            && path.is_some()
            && let Some((hunk, after)) = hunks.last_mut()
        {
            if let Some(removed) = line.strip_prefix('-') {
                hunk.before.push(removed.to_owned());
            } else if let Some(added) = line.strip_prefix('+') {
                after.push(added.to_owned());
            }
        }
    }
    let bare = |lines: &[String]| lines.iter().flat_map(|line| line.split_whitespace()).collect::<String>();
    let does_something = |(hunk, after): &(Hunk, Vec<String>)| {
        // Code that was formatted anew does what it did; in Python white space may be code.
        if !hunk.path.ends_with(".py") && bare(&hunk.before) == bare(after) {
            return false;
        }
        let code = |lines: &[String]| match Language::of(&hunk.path) {
            Some(language) => is_code(language, &lines.join("\n")),
            None => lines.iter().any(|line| !line.trim().is_empty()),
        };
        code(&hunk.before) || code(after)
    };
    let pieces = hunks.into_iter().flat_map(|(hunk, after)| cut(hunk, after));
    pieces.filter(does_something).map(|(hunk, _)| hunk).collect()
}

/// `@@ -1,2 +3,4 @@`: first line and number of lines in the new form.
fn range(line: &str) -> Option<(usize, usize)> {
    let new = line.strip_prefix("@@ -")?.split(' ').nth(1)?.strip_prefix('+')?;
    let (start, lines) = new.split_once(',').unwrap_or((new, "1"));
    Some((start.parse().ok()?, lines.parse().ok()?))
}

/// Cuts a part where a blank line of the new form is followed by a line that stands as far left as any. What stood there before
/// goes with the first piece.
fn cut(hunk: Hunk, after: Vec<String>) -> Vec<(Hunk, Vec<String>)> {
    if after.is_empty() {
        return vec![(hunk, after)];
    }
    let indent = |line: &str| line.len() - line.trim_start().len();
    let least = after.iter().filter(|line| !line.trim().is_empty()).map(|line| indent(line)).min().unwrap_or_default();
    let mut pieces: Vec<(Hunk, Vec<String>)> = Vec::new();
    for (index, line) in after.iter().enumerate() {
        let begins = index == 0
            || after[index - 1].trim().is_empty()
                && !line.trim().is_empty()
                && indent(line) == least
                && !line.trim().starts_with(['}', ')', ']']);
        if begins {
            let start = hunk.start + index;
            let before = if index == 0 { hunk.before.clone() } else { Vec::new() };
            pieces.push((Hunk { path: hunk.path.clone(), start, lines: 0, before }, Vec::new()));
        }
        if let Some((piece, lines)) = pieces.last_mut() {
            piece.lines += 1;
            lines.push(line.clone());
        }
    }
    pieces
}

/// At most twelve of them, spread evenly.
pub(super) fn chosen(hunks: Vec<Hunk>) -> Vec<Hunk> {
    let all = hunks.len();
    if all <= TRIED {
        return hunks;
    }
    hunks
        .into_iter()
        .enumerate()
        .filter(|(n, _)| n * TRIED / all != (n + 1) * TRIED / all)
        .map(|(_, hunk)| hunk)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "diff --git a/shop/a.py b/shop/a.py
--- a/shop/a.py
+++ b/shop/a.py
@@ -2 +2 @@ def f():
-    return 1
+    return 2
@@ -5,0 +6 @@
+# words
@@ -8,2 +8,0 @@
-x = 1
-y = 2
diff --git a/tests/test_a.py b/tests/test_a.py
--- a/tests/test_a.py
+++ b/tests/test_a.py
@@ -1 +1 @@
-x
+y
diff --git a/README.md b/README.md
--- a/README.md
+++ b/README.md
@@ -1 +1 @@
-x
+y
";

    #[test]
    fn parts_of_the_code_are_taken_back() {
        let hunks = of_diff(DIFF, &crate::workspace::repository::is_test);
        assert_eq!(hunks.iter().map(Hunk::place).collect::<Vec<_>>(), ["shop/a.py:2", "shop/a.py:8"]);
        let new = "def f():\n    return 2\n\n\n\n# words\n\n\nz = 3\n";
        assert_eq!(hunks[0].undone(new), new.replace("return 2", "return 1"));
        assert_eq!(hunks[1].undone(new), new.replace("z = 3", "x = 1\ny = 2\nz = 3"));
    }

    #[test]
    fn a_new_file_is_taken_back_in_pieces() {
        let lines =
            ["import os", "", "", "def f():", "    a = 1", "", "    return a", "", "def g():", "    return 2", "# end"];
        let added: String = lines.iter().map(|line| format!("+{line}\n")).collect();
        let diff = format!(
            "diff --git a/a.py b/a.py\nnew file mode 100644\n--- /dev/null\n+++ b/a.py\n@@ -0,0 +1,{} @@\n{added}",
            lines.len()
        );
        let hunks = of_diff(&diff, &|_| false);
        assert_eq!(hunks.iter().map(Hunk::place).collect::<Vec<_>>(), ["a.py:1", "a.py:4", "a.py:9"]);
        let without = hunks[1].undone(&(lines.join("\n") + "\n"));
        assert!(without.contains("import os") && !without.contains("def f") && without.contains("def g"));
    }

    #[test]
    fn many_parts_are_thinned_out_evenly() {
        let hunk = |n| Hunk { path: "a".into(), start: n, lines: 1, before: vec![] };
        let kept = chosen((0..100).map(hunk).collect());
        assert_eq!(kept.len(), TRIED);
        assert!(kept.windows(2).all(|pair| (8..=9).contains(&(pair[1].start - pair[0].start))));
        assert_eq!(chosen((0..5).map(hunk).collect()).len(), 5);
    }
}
