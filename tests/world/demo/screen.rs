//! The terminal: plain lines when output is not a terminal, colours when it is.

use std::io::{IsTerminal, Write};

/// Where the demo writes.
#[derive(Debug)]
pub(crate) struct Screen {
    colours: bool,
}

impl Default for Screen {
    fn default() -> Self {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colours }
    }
}

impl Screen {
    /// A line.
    pub(crate) fn line(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        // A closed pipe is no reason to stop what the demo started in an orderly way.
        let _ = writeln!(out, "{text}");
        let _ = out.flush();
    }

    /// A bold line.
    pub(crate) fn heading(&self, text: &str) {
        self.line(&self.paint("1", text));
    }

    /// A line of the story: time since the label, stage, news, cost.
    pub(crate) fn beat(&self, seconds: u64, stage: &str, news: &str, cost: &str) {
        let stage = self.paint("36", &format!("{stage:<17}"));
        let gap = if cost.is_empty() { String::new() } else { self.paint("2", &format!("  (together {cost})")) };
        self.line(&format!("  {:02}:{:02}  {stage} {news}{gap}", seconds / 60, seconds % 60));
    }

    /// A link on a line of its own.
    pub(crate) fn link(&self, name: &str, link: &str) {
        self.line(&format!("  {name:<16} {}", self.paint("4", link)));
    }

    /// What waits for a person.
    pub(crate) fn prompt(&self, text: &str) {
        self.line(&format!("         {}", self.paint("1;33", text)));
    }

    /// A line below a beat.
    pub(crate) fn under(&self, text: &str) {
        self.line(&format!("         {text}"));
    }

    /// A diff with coloured lines.
    pub(crate) fn diff(&self, diff: &str) {
        for line in diff.lines() {
            let colour = match line.as_bytes().first() {
                Some(b'+') if !line.starts_with("+++") => "32",
                Some(b'-') if !line.starts_with("---") => "31",
                Some(b'@') => "36",
                _ => "2",
            };
            self.line(&format!("  {}", self.paint(colour, line)));
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
