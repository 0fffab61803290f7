//! Captured output: beginning and end are kept, the middle is counted.

use std::collections::VecDeque;
use std::io;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

/// What a command wrote to one stream. At most the cap is kept, half from the beginning and half from the end: the first
/// error and the summary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
}

impl Output {
    /// Bytes the command wrote, kept or not.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether something was left out.
    pub fn is_cut(&self) -> bool {
        self.total > (self.head.len() + self.tail.len()) as u64
    }

    /// The kept bytes as text, with a note where something was left out.
    pub fn text(&self) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if !self.is_cut() {
            return String::from_utf8_lossy(&[&self.head[..], &tail].concat()).into_owned();
        }
        let left_out = self.total - (self.head.len() + self.tail.len()) as u64;
        let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&tail));
        format!("{head}\n[... {left_out} bytes left out ...]\n{tail}")
    }

    fn push(&mut self, bytes: &[u8], cap: usize) {
        self.total += bytes.len() as u64;
        let head_room = (cap / 2).saturating_sub(self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(head_room);
        self.head.extend_from_slice(head);
        let tail_cap = cap - cap / 2;
        // Of one chunk only its last bytes can stay.
        self.tail.extend(&rest[rest.len().saturating_sub(tail_cap)..]);
        let excess = self.tail.len().saturating_sub(tail_cap);
        self.tail.drain(..excess);
    }
}

/// Reads `pipe` to its end.
pub(super) async fn capture(mut pipe: Receiver, cap: usize) -> io::Result<Output> {
    let mut output = Output::default();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match pipe.read(&mut chunk).await? {
            0 => return Ok(output),
            n => output.push(&chunk[..n], cap),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_and_end_are_kept() {
        let mut output = Output::default();
        for chunk in ["0123", "4567", "89"] {
            output.push(chunk.as_bytes(), 6);
        }
        assert_eq!(output.text(), "012\n[... 4 bytes left out ...]\n789");
        assert_eq!(output.total(), 10);

        let mut whole = Output::default();
        whole.push(b"0123456789", 10);
        assert!(!whole.is_cut());
        assert_eq!(whole.text(), "0123456789");
    }
}
