//! What is talked about: this project's own sources, so that texts are as long, as repetitive and as compressible as those
//! that agents read. Each turn has another text.

use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use world::stack::project_root;

/// Bytes of a turn: what the model says, the input of its call, and what the tool gives back.
const TURN: usize = 4096;
/// Of these, what the model says.
const SAID: usize = 512;

/// Folders with sources.
const FOLDERS: [&str; 5] = ["workflows", "activities", "worker", "ingress", "tests"];

/// What the texts are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Source code with line numbers, as `read_file` gives it back, and prose from its comments.
    Sources,
    /// Random printable characters: no compressor finds anything in them but that a byte has 8 bits and they take 6.5.
    Random,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    /// What the model says.
    pub(crate) said: String,
    /// The file it asks for; another one in each turn.
    pub(crate) path: String,
    /// What the tool gives back.
    pub(crate) output: String,
}

impl Turn {
    /// Input of the call.
    pub(crate) fn input(&self) -> Value {
        json!({"repository": "acme/shop-api", "path": self.path})
    }
}

/// So many turns. When the sources are used up they begin again, at other places.
pub(crate) fn turns(kind: Kind, count: u32) -> anyhow::Result<Vec<Turn>> {
    let (mut code, mut prose) = match kind {
        Kind::Sources => {
            let files = sources()?;
            (Stream::new(numbered(&files)), Stream::new(comments(&files)))
        }
        Kind::Random => (Stream::new(random(1, 4_000_000)), Stream::new(random(2, 500_000))),
    };
    let turn = |n| {
        let path = format!("shop/module_{:02}/part_{n}.py", n % 40);
        let mut turn = Turn { said: prose.take(SAID), path, output: String::new() };
        let used = turn.said.len() + turn.input().to_string().len();
        turn.output = code.take(TURN.saturating_sub(used));
        turn
    };
    Ok((1..=count).map(turn).collect())
}

/// A text that is handed out piece by piece.
struct Stream {
    text: String,
    at: usize,
}

impl Stream {
    fn new(text: String) -> Self {
        Self { text, at: 0 }
    }

    /// The next piece of at most so many bytes; shorter only by a part of a character.
    fn take(&mut self, bytes: usize) -> String {
        if self.at + bytes > self.text.len() {
            // Not from the very beginning: no piece is to come twice.
            self.at = self.text.ceil_char_boundary(bytes / 2 + self.at % 97);
        }
        let end = self.text.floor_char_boundary(self.at + bytes);
        let piece = self.text.get(self.at..end).unwrap_or_default().to_owned();
        self.at = end;
        piece
    }
}

/// The Rust files, in the order of their paths.
fn sources() -> anyhow::Result<Vec<String>> {
    let mut paths = Vec::new();
    let mut open: Vec<_> = FOLDERS.iter().map(|folder| project_root().join(folder)).collect();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let read = |path: &Path| Ok(std::fs::read_to_string(path)?);
    paths.iter().map(|path| read(path)).collect()
}

/// Each file with line numbers, as the tool `read_file` shows it.
fn numbered(files: &[String]) -> String {
    let lines = files.iter().flat_map(|file| file.lines().enumerate());
    lines.map(|(n, line)| format!("{:>5}  {line}\n", n + 1)).collect()
}

/// What the comments say.
fn comments(files: &[String]) -> String {
    let lines = files.iter().flat_map(|file| file.lines());
    let words = lines.filter_map(|line| line.trim_start().strip_prefix("//"));
    words.map(|words| format!("{} ", words.trim_start_matches(['/', '!']).trim())).collect()
}

/// Random printable ASCII without what JSON escapes; the same on every machine.
fn random(seed: u8, bytes: usize) -> String {
    let alphabet: Vec<char> = (' '..='~').filter(|c| !matches!(c, '"' | '\\')).collect();
    let mut text = String::with_capacity(bytes);
    for block in 0u64.. {
        let hash = Sha256::new().chain_update([seed]).chain_update(block.to_be_bytes()).finalize();
        text.extend(hash.iter().filter_map(|byte| alphabet.get(usize::from(*byte) % alphabet.len())));
        if text.len() >= bytes {
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn turns_have_four_kilobytes_and_differ() {
        for kind in [Kind::Sources, Kind::Random] {
            let turns = turns(kind, 900).unwrap();
            for turn in &turns {
                let bytes = turn.said.len() + turn.input().to_string().len() + turn.output.len();
                assert!((TURN - 8..=TURN).contains(&bytes), "{bytes}");
            }
            let outputs: HashSet<&str> = turns.iter().map(|turn| turn.output.as_str()).collect();
            let said: HashSet<&str> = turns.iter().map(|turn| turn.said.as_str()).collect();
            assert_eq!((outputs.len(), said.len()), (900, 900));
        }
    }
}
